//! Failover: the node that leads is killed, paused, restarted under load, and ZooKeeper goes and
//! comes again. Nothing is lost, nothing old comes back, and how long it took is told beside what
//! Solr itself took. (`make failover`: all of it, ten rounds each. Else FAILOVER_ROUNDS,
//! or one, and only a killed and a paused leader.)
//!
//! Solr's own time is what an onlooker sees that posts a document to the other node every 50 ms.
//! No time is asserted: it is printed, for a person.

mod load;
mod watch;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ::cluster::{Key, Layout};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{self, Collection, solrcloud};
use crate::common::{Daemon, Process, Site, assert_same, wait_for};
use load::Load;
use watch::{OBSERVER, Watch};

/// How long Solr may take to come round.
const MINUTES: Duration = Duration::from_secs(300);

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, for longer than its session with ZooKeeper lasts.
    Pause,
    /// SIGTERM, and started again once it is gone and another leads.
    Restart,
    /// SIGKILL of ZooKeeper, for longer than the sessions last.
    ZooKeeper,
}

/// Where the load's documents belong.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    /// All to shard1: its leader's fault stops all of the delivery, so that it can be timed.
    Shard1,
    /// To both shards, and nobody else posts.
    Both,
}

#[test]
fn a_killed_leader_loses_nothing() {
    campaign("failover-kill", &[Fault::Kill], Over::Shard1, "");
}

#[test]
fn a_paused_leader_loses_nothing_and_brings_nothing_old_back() {
    campaign("failover-pause", &[Fault::Pause], Over::Shard1, "");
}

#[test]
#[ignore = "takes minutes: make failover"]
fn a_restarted_leader_loses_nothing() {
    campaign("failover-restart", &[Fault::Restart], Over::Shard1, "");
}

#[test]
#[ignore = "takes minutes: make failover"]
fn zookeeper_gone_and_back_loses_nothing() {
    // With less, Solr itself may lose what it has confirmed: back from ZooKeeper's absence a leader
    // takes updates alone (rf 1), and a replica that has not got them may lead after it.
    campaign("failover-zookeeper", &[Fault::ZooKeeper], Over::Shard1, "solr.min_rf = 2");
}

#[test]
#[ignore = "takes minutes: make failover"]
fn deltas_over_both_shards_lose_nothing() {
    let faults = [Fault::Kill, Fault::Pause, Fault::Restart];
    campaign("failover-both", &faults, Over::Both, "");
}

fn rounds() -> usize {
    let rounds = std::env::var("FAILOVER_ROUNDS").map(|r| r.parse().expect("a number of rounds"));
    rounds.unwrap_or(1)
}

fn campaign(name: &str, faults: &[Fault], over: Over, changes: &str) {
    let collection = Collection::make(name);
    let site = collection.site();
    // as shipped: the other tests' short times would flatter
    site.configure(&format!("retry = {{ first = '200ms', most = '30s' }}\n{changes}"));
    let layout = collection.state().1.collection.layout;
    let mut load = Load::new(Box::new(ids(layout, over, "offer")));
    let daemon = Daemon::start(&site);
    for round in 1..=rounds() {
        for fault in faults {
            let times = strike(*fault, over, &collection, &site, &daemon, &mut load);
            tell(*fault, round, over, times);
            compare(&collection, &load, &format!("{fault:?}, round {round}"));
        }
    }
    // What still wanders about in the cluster has had its time.
    std::thread::sleep(Duration::from_secs(5));
    collection.wait_until_all_are_active();
    compare(&collection, &load, "at the end");
    summary();
    let status = daemon.status();
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    let totals = &status["totals"];
    let counts = ["rejected", "worker_deaths", "worker_hangs"].map(|count| &totals[count]);
    assert_eq!(counts, [0, 0, 0], "rejected, deaths, hangs");
    daemon.stop();
}

/// Ids that begin so, the same in each run.
fn ids(layout: Layout, over: Over, prefix: &'static str) -> impl Iterator<Item = String> + Send {
    let fits = move |id: &String| {
        let shard = layout.shard_of(&Key { id, ..Key::default() });
        over == Over::Both || shard.is_some_and(|n| layout.shards[n].name == "shard1")
    };
    (0..).map(move |n| format!("{prefix}-{n:07}")).filter(fits)
}

// --- a round --------------------------------------------------------------------------------------

/// A node with its fault, over when this is dropped, whatever the test came to.
struct Struck {
    node: String,
    process: Process,
}

impl Struck {
    fn now(fault: Fault, collection: &Collection) -> Struck {
        let node = match fault {
            Fault::ZooKeeper => "zk".to_owned(),
            _ => solrcloud(&["leader", collection.name(), "shard1"]),
        };
        let pid = solrcloud(&["pid", &node]).parse().expect("a pid");
        Struck { node, process: Process::of(pid).expect("it runs") }
    }

    fn strike(&self, fault: Fault) {
        self.process.signal(match fault {
            Fault::Kill | Fault::ZooKeeper => Signal::SIGKILL,
            Fault::Pause => Signal::SIGSTOP,
            Fault::Restart => Signal::SIGTERM,
        });
    }

    /// A node that is not this one.
    fn other<'a>(&self, collection: &'a Collection) -> &'a str {
        &collection.urls()[usize::from(self.node == "1")]
    }
}

impl Drop for Struck {
    fn drop(&mut self) {
        solrcloud(&["start", &self.node]); // it wakes one that is paused
    }
}

/// When it was all right again, in seconds after the fault.
struct Times {
    solr: f64,
    delivery: f64,
    retries: u64,
    /// The longest silence of each after that, while the node came back.
    later: [f64; 2],
}

/// One fault under load, from before it until all is delivered and all replicas are active.
fn strike(
    fault: Fault,
    over: Over,
    collection: &Collection,
    site: &Site,
    daemon: &Daemon,
    load: &mut Load,
) -> Times {
    let struck = Struck::now(fault, collection);
    let watch = Watch::default();
    let times = std::thread::scope(|scope| {
        let _stop = watch.stops_when_dropped();
        scope.spawn(|| load.run(site, &watch));
        scope.spawn(|| watch.delivery(&site.status_socket()));
        if over == Over::Shard1 {
            let url = format!("{}/{}", struck.other(collection), collection.name());
            let layout = collection.state().1.collection.layout;
            let id = ids(layout, over, OBSERVER).next().expect("there is one");
            scope.spawn(|| watch.solr(scope, url, id));
        }
        wait_for("all goes well", || watch.goes_well(over, Duration::from_secs(1)));

        let retries = |status: Value| status["totals"]["retries"].as_u64().unwrap();
        let before = retries(daemon.status());
        let at = Instant::now();
        struck.strike(fault);
        match fault {
            // A session lasts 4 s, and is found to be over at most 2 s later.
            Fault::Kill | Fault::Pause | Fault::ZooKeeper => {
                std::thread::sleep(Duration::from_secs(8));
            }
            Fault::Restart => wait_for("the node ends", || !struck.process.is_alive()),
        }
        let comes_back = |struck| {
            drop(struck);
            collection.wait_until_all_are_active();
        };
        let mut struck = Some(struck);
        if fault == Fault::ZooKeeper {
            struck.take().into_iter().for_each(comes_back);
        }
        let by = Instant::now() + MINUTES;
        let mut revived = false;
        while !watch.goes_well(over, Duration::from_secs(2)) {
            assert!(Instant::now() < by, "waited {MINUTES:?} in vain: all goes well again");
            // After ZooKeeper's absence a replica may think that it leads, and never recover: an
            // operator restarts its node then.
            let hopeless = fault == Fault::ZooKeeper && at.elapsed() > MINUTES / 3;
            if hopeless && !std::mem::replace(&mut revived, true) {
                collection.revive();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let ([solr, delivery], then) = (watch.silences(at, Instant::now()), Instant::now());
        let retries = retries(daemon.status()) - before;
        struck.take().into_iter().for_each(comes_back);
        std::thread::sleep(Duration::from_secs(1));
        let later = watch.silences(then, Instant::now()).map(|s| s.length.as_secs_f64());
        let after = |end: Instant| end.saturating_duration_since(at).as_secs_f64();
        Times { solr: after(solr.end), delivery: after(delivery.end), retries, later }
    });
    collection.wait_until_all_are_active();
    daemon.wait("all is delivered", |status| status["totals"]["deltas"] == load.handed_over());
    collection.wait_until_all_are_active();
    times
}

/// Every document is there with its last value, and each shard's replicas have the same.
fn compare(collection: &Collection, load: &Load, when: &str) {
    let ours = |mut docs: BTreeMap<String, Value>| {
        docs.retain(|id, _| !id.starts_with(OBSERVER));
        docs
    };
    println!("{when}: {} documents, {} deltas", load.docs().len(), load.handed_over());
    assert_same(&ours(collection.docs()), load.docs());
    for (shard, replicas) in collection.replicas() {
        let docs: Vec<_> = replicas
            .iter()
            .map(|r| ours(collection.docs_in(&cluster::core(r), "&distrib=false")))
            .collect();
        assert_eq!(docs.len(), 2, "{shard}");
        assert_same(&docs[1], &docs[0]);
    }
}

// --- what is told ---------------------------------------------------------------------------------

static TOLD: Mutex<Vec<(Fault, f64)>> = Mutex::new(Vec::new());

fn tell(fault: Fault, round: usize, over: Over, times: Times) {
    let Times { solr, delivery, retries, later } = times;
    if over == Over::Both {
        return println!("{fault:?} over both shards, round {round}: {retries} retries");
    }
    println!(
        "{fault:?}, round {round}: Solr back after {solr:.2} s, delivery after {delivery:.2} s \
         ({:+.2} s), {retries} retries; longest silence later {:.2} s, {:.2} s",
        delivery - solr,
        later[0],
        later[1],
    );
    TOLD.lock().unwrap_or_else(|e| e.into_inner()).push((fault, delivery - solr));
}

/// Of each fault so far, how much later than Solr itself the delivery went on.
fn summary() {
    let told = TOLD.lock().unwrap_or_else(|e| e.into_inner());
    println!("\nseconds from Solr's own recovery to the first document delivered");
    println!("{:12}{:>7}{:>9}{:>9}{:>9}", "fault", "rounds", "least", "median", "worst");
    for fault in [Fault::Kill, Fault::Pause, Fault::Restart, Fault::ZooKeeper] {
        let mut all: Vec<f64> = told.iter().filter(|t| t.0 == fault).map(|t| t.1).collect();
        all.sort_by(f64::total_cmp);
        let (Some(least), Some(worst)) = (all.first(), all.last()) else { continue };
        let (rounds, median) = (all.len(), all[all.len() / 2]);
        let fault = format!("{fault:?}");
        println!("{fault:12}{rounds:>7}{least:>+9.2}{median:>+9.2}{worst:>+9.2}");
    }
}
