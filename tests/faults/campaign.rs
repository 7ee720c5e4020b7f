//! The campaign: bursts of faults while deltas are fed, and a quiet point after each, at which the
//! referee looks at everything.
//!
//! In a burst each hand makes its faults in a thread of its own, at moments of its own, so that they
//! meet in every way: one does things to the daemon's processes, one to Solr and ZooKeeper, one
//! fills the disk, one has the proxy spoil requests.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::chronicle::Chronicle;
use crate::cloud;
use crate::common::cluster::Collection;
use crate::common::{Disk, Site};
use crate::crew::Crew;
use crate::evidence::Evidence;
use crate::kind::{Kind, random, seconds};
use crate::ledger::Ledger;
use crate::mischief::{Mischief, Plan};
use crate::options::Options;
use crate::proxy::Proxy;
use crate::referee::Verdict;
use crate::stream::Stream;
use crate::table::Outcome;
use crate::watch::Watch;

/// A burst is no longer.
const BURST: Duration = Duration::from_secs(120);
/// So many deltas wait in `incoming/`.
const AHEAD: usize = 3;
/// The spool's disk, in MiB.
const DISK: u32 = 192;
/// Nothing was confirmed for so long: it hangs. (After ZooKeeper was gone, Solr may take some minutes.)
const HANGS: Duration = Duration::from_secs(300);
/// Nor may all of it take so long.
const FOR_EVER: Duration = Duration::from_secs(900);

/// The configuration of a campaign: as shipped, but where a minute would be waited for nothing.
fn base(options: &Options) -> String {
    format!(
        "workers.partition = '{}'
        workers.hang_timeout = '30s'
        workers.stop_timeout = '25s'
        solr.timeout = '15s'
        retry = {{ first = '200ms', most = '5s' }}
        spool.keep = {{ files = 1000000, age = '7d', bytes = '100GiB' }}",
        options.partition
    )
}

#[test]
#[ignore = "needs a SolrCloud, and takes as long as it is told: make faults"]
fn nothing_is_lost_and_nothing_old_comes_back() {
    let options = Options::read();
    println!("seed {}", options.seed);
    let evidence = Evidence::of(options.seed);
    let collection = Collection::make("faults");
    let mischief = Arc::new(Mischief::new(random(options.seed, "proxy", 0)));
    let ledger = Arc::new(Ledger::default());
    let proxy = Proxy::before(collection.urls(), Arc::clone(&mischief), ledger.clone());
    let site = Site::for_collection(proxy.urls(), collection.name());
    let mut left_out = Vec::new();
    let disk = disk(&site, &options, &mut left_out);
    let chronicle = Chronicle::new(&evidence.folder.join("faults.log"));
    let watch = Watch::default();
    let _kept = KeptInPanic { evidence: &evidence, site: &site };
    let crew = Crew::start(&site, base(&options), &chronicle, &watch);
    let mut campaign = Campaign {
        stream: Mutex::new(Stream::new(options.seed, options.inc)),
        options: &options,
        collection: &collection,
        site: &site,
        disk: disk.as_ref(),
        mischief: &mischief,
        ledger: &ledger,
        chronicle: &chronicle,
        evidence: &evidence,
        crew,
        verdict: Verdict::default(),
        seen: 0,
        revived: 0,
        burst: AtomicBool::new(false),
    };
    let begin = Instant::now();
    let rounds = std::thread::scope(|scope| {
        let _stop = watch.stops_when_dropped();
        scope.spawn(|| watch.run(&site.status_socket()));
        campaign.run(begin)
    });
    let Campaign { stream, crew, verdict, revived, .. } = campaign;
    let told = crew.stop();
    let good = verdict.is_good() && told.others.is_empty();
    let outcome = Outcome {
        options: &options,
        length: begin.elapsed(),
        rounds,
        deltas: stream.lock().unwrap_or_else(|e| e.into_inner()).number(),
        chronicle: &chronicle,
        requests_hit: mischief.made(),
        counts: ledger.counts(),
        verdict: &verdict,
        told: &told,
        watch: &watch,
        left_out: &left_out,
        revived,
    };
    println!("\n{}", outcome.table());
    verdict.others.iter().chain(&told.others).for_each(|other| println!("{other}"));
    if !verdict.wrong.is_empty() {
        println!("what was wrong: {}", evidence.folder.join("verdict.txt").display());
    }
    assert!(good, "SEED={}: the evidence is in {}", options.seed, evidence.folder.display());
    evidence.keep_log(&site);
}

/// Keeps what there is when the test panics, before it is all removed.
struct KeptInPanic<'a> {
    evidence: &'a Evidence,
    site: &'a Site,
}

impl Drop for KeptInPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.evidence.keep_site(self.site);
            println!("the evidence is in {}", self.evidence.folder.display());
        }
    }
}

/// A disk of the spool's own, if one may be had here and is wanted.
fn disk(site: &Site, options: &Options, left_out: &mut Vec<String>) -> Option<Disk> {
    if !options.kinds.contains(&Kind::DiskFull) {
        return None;
    }
    let disk = Disk::mount(&site.spool(""), &format!("size={DISK}m"));
    std::fs::create_dir_all(site.spool("incoming")).expect("a folder to hand over to");
    disk.map_err(|why| {
        println!("the disk is never full in this campaign: {why}");
        left_out.push(format!("disk-full: {why}"));
    })
    .ok()
}

struct Campaign<'a> {
    options: &'a Options,
    collection: &'a Collection,
    site: &'a Site,
    disk: Option<&'a Disk>,
    mischief: &'a Mischief,
    ledger: &'a Ledger,
    chronicle: &'a Chronicle,
    evidence: &'a Evidence,
    stream: Mutex<Stream>,
    crew: Crew<'a>,
    verdict: Verdict,
    /// So many deltas the referee has seen.
    seen: u32,
    /// So many nodes had to be restarted, since Solr did not come round by itself.
    revived: usize,
    /// Faults are being made, and deltas handed over.
    burst: AtomicBool,
}

impl Campaign<'_> {
    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Bursts and quiet points until the time is over or something is wrong. Answers how many.
    fn run(&mut self, begin: Instant) -> u64 {
        let mut round = 0;
        loop {
            round += 1;
            let left = self.options.length.saturating_sub(begin.elapsed());
            let length = if left < BURST * 3 / 2 { left } else { BURST };
            let (burst, before) = (Instant::now(), self.ledger.counts());
            self.burst(round, length);
            self.quiet();
            let documents = self.ledger.counts().documents - before.documents;
            println!(
                "round {round}: {:3.0} s of faults, all of it {:3.0} s; {documents} documents sent, {} deltas{}",
                length.as_secs_f64(),
                burst.elapsed().as_secs_f64(),
                self.seen,
                if self.verdict.is_good() { "" } else { "; SOMETHING IS WRONG" },
            );
            let over = begin.elapsed() + Duration::from_secs(10) > self.options.length;
            if over || !self.verdict.is_good() {
                return round;
            }
        }
    }

    // --- a burst ----------------------------------------------------------------------------------

    fn burst(&mut self, round: u64, length: Duration) {
        let hands = self.hands(round);
        let names: Vec<&str> = hands.iter().map(|kind| kind.name()).collect();
        self.chronicle.say(&format!("round {round}: {}", names.join(" ")));
        self.burst.store(true, Relaxed);
        let of = |names: &[&str]| -> Vec<Kind> {
            hands.iter().copied().filter(|kind| names.contains(&kind.hand())).collect()
        };
        let Campaign { options, crew, stream, site, disk, mischief, chronicle, burst, .. } = self;
        let (site, disk, mischief, chronicle) = (*site, *disk, *mischief, *chronicle);
        let (stream, burst, seed) = (&*stream, &*burst, options.seed);
        let random = |purpose: &str| random(seed, purpose, round);
        // In some rounds faults come thick and fast, in others there is time to deliver something.
        let pace = [0.6, 1.2, 3.0][random("pace").usize(..3)];
        let pause = |from: f64, to: f64| (from * pace, to * pace);
        std::thread::scope(|scope| {
            scope.spawn(|| feed(stream, site, burst));
            scope.spawn(|| {
                let ours = of(&["worker", "monitor", "parent", "reload"]);
                let mut lane = Lane::new(burst, random("ours"), ours, pause(0.05, 2.0));
                while let Some(kind) = lane.next(|| crew.look()) {
                    crew.strike(kind, &mut lane.rng);
                }
            });
            scope.spawn(|| {
                let solr = of(&["solr", "zookeeper"]);
                let mut lane = Lane::new(burst, random("solr"), solr, pause(3.0, 15.0));
                while let Some(kind) = lane.next(|| ()) {
                    cloud::strike(kind, chronicle, &mut lane.rng);
                }
            });
            scope.spawn(|| {
                let mut lane = Lane::new(burst, random("net"), of(&["net"]), pause(0.5, 5.0));
                while let Some(kind) = lane.next(|| ()) {
                    spoil(kind, mischief, chronicle, &mut lane.rng);
                }
            });
            scope.spawn(|| {
                let Some(disk) = disk else { return };
                let mut lane = Lane::new(burst, random("disk"), of(&["disk"]), pause(4.0, 20.0));
                while let Some(kind) = lane.next(|| ()) {
                    fill(kind, disk, chronicle, &mut lane.rng);
                }
            });
            std::thread::sleep(length);
            burst.store(false, Relaxed);
        });
    }

    /// In most rounds one hand or another rests, so that each is seen alone, too.
    fn hands(&self, round: u64) -> Vec<Kind> {
        let mut rng = random(self.options.seed, "hands", round);
        let mut resting: Vec<&str> = Vec::new();
        for hand in ["worker", "monitor", "parent", "reload", "solr", "zookeeper", "disk", "net"] {
            if round > 1 && rng.u8(..4) == 0 {
                resting.push(hand);
            }
        }
        let all = &self.options.kinds;
        let working: Vec<Kind> =
            all.iter().copied().filter(|kind| !resting.contains(&kind.hand())).collect();
        if working.is_empty() { all.clone() } else { working }
    }

    // --- a quiet point ----------------------------------------------------------------------------

    /// All faults are over; all that was handed over is delivered; the referee looks.
    fn quiet(&mut self) {
        self.mischief.set(None);
        self.crew.heal();
        self.wait_until_delivered();
        if !self.collection.are_all_active_within(HANGS / 3) {
            self.revive();
        }
        self.collection.wait_until_all_are_active();
        self.chronicle.look_for_recoveries(self.ledger);
        let stream = &mut *self.stream.lock().unwrap_or_else(|e| e.into_inner());
        let names = stream.names_after(self.seen);
        self.verdict.look_into_spool(self.site, &names, &stream.expected.bad);
        self.verdict.look(self.collection, stream, self.ledger);
        self.evidence.keep_verdict(&self.verdict, self.ledger);
        if !self.verdict.is_good() {
            let status = self.crew.status().unwrap_or_default().to_string();
            self.evidence.keep(self.site, &self.crew.processes(), &status);
            return;
        }
        self.seen = stream.number();
        stream.all_is_seen();
        self.ledger.forget();
        for name in names {
            let _ = std::fs::remove_file(self.site.spool("done").join(&name));
            let rejects = self.site.spool("rejected").join(format!("{name}.rejected.jsonl"));
            let _ = std::fs::remove_file(rejects);
        }
    }

    /// Solr may not come round by itself: an operator would restart such a node.
    fn revive(&mut self) {
        let nodes = self.collection.revive();
        self.chronicle.say(&format!(
            "{nodes} nodes had to be restarted: a replica of theirs did not recover"
        ));
        self.revived += nodes;
    }

    fn wait_until_delivered(&mut self) {
        let last = self.stream().names_after(self.seen).pop();
        let (begin, mut since, mut before) = (Instant::now(), Instant::now(), 0);
        let mut revived = false;
        let arrived = |folder: &str, site: &Site| {
            let names = site.names(folder).into_iter();
            names.filter(|name| name.ends_with(".jsonl") && !name.starts_with('.')).count()
        };
        while last.is_some() && arrived("incoming", self.site) + arrived("active", self.site) > 0 {
            self.crew.look();
            let confirmed = self.ledger.counts().confirmed;
            if confirmed != before {
                (since, before) = (Instant::now(), confirmed);
            }
            // (A leader that cannot pass on what it has taken confirms that all the same, again and again.)
            let hangs = since.elapsed() > HANGS / 3 || begin.elapsed() > HANGS;
            if hangs && !std::mem::replace(&mut revived, true) {
                self.revive();
                since = Instant::now();
            }
            if since.elapsed() > HANGS || begin.elapsed() > FOR_EVER {
                let status = self.crew.status().unwrap_or_default().to_string();
                self.evidence.keep(self.site, &self.crew.processes(), &status);
                let folder = self.evidence.folder.display();
                panic!(
                    "SEED={}: the delivery hangs; the evidence is in {folder}",
                    self.options.seed
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

// --- the hands ------------------------------------------------------------------------------------

/// One after the other, of some kinds, with pauses.
struct Lane<'a> {
    burst: &'a AtomicBool,
    rng: fastrand::Rng,
    kinds: Vec<Kind>,
    pause: (f64, f64),
}

impl<'a> Lane<'a> {
    fn new(
        burst: &'a AtomicBool,
        rng: fastrand::Rng,
        kinds: Vec<Kind>,
        pause: (f64, f64),
    ) -> Lane<'a> {
        Lane { burst, rng, kinds, pause }
    }

    /// The next fault, when it is time for it; `None`: the burst is over.
    fn next(&mut self, mut meanwhile: impl FnMut()) -> Option<Kind> {
        let by = Instant::now() + seconds(&mut self.rng, self.pause.0, self.pause.1);
        while Instant::now() < by || self.kinds.is_empty() {
            if !self.burst.load(Relaxed) {
                return None;
            }
            meanwhile();
            std::thread::sleep(Duration::from_millis(20));
        }
        Kind::choose(&self.kinds, &mut self.rng).filter(|_| self.burst.load(Relaxed))
    }
}

/// Hands deltas over as long as the burst lasts.
fn feed(stream: &Mutex<Stream>, site: &Site, burst: &AtomicBool) {
    while burst.load(Relaxed) {
        let waiting = site.names("incoming");
        if waiting.iter().filter(|name| !name.starts_with('.')).count() < AHEAD {
            let delta = stream.lock().unwrap_or_else(|e| e.into_inner()).next();
            // A producer tries again until there is room.
            while site.try_hand_over(&delta.name, &delta.text).is_err() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn spoil(kind: Kind, mischief: &Mischief, chronicle: &Chronicle, rng: &mut fastrand::Rng) {
    let node = if rng.bool() { None } else { Some(rng.usize(..2)) };
    let chance = [0.1, 0.3, 1.0][rng.usize(..3)];
    let _fault = chronicle.begin(kind, &format!("node {node:?}, {chance} of the requests"));
    mischief.set(Some(Plan { kind, node, chance }));
    std::thread::sleep(seconds(rng, 0.3, 4.0));
    mischief.set(None);
}

fn fill(kind: Kind, disk: &Disk, chronicle: &Chronicle, rng: &mut fastrand::Rng) {
    let free = if rng.bool() { 0 } else { rng.u64(..200_000) };
    let _fault = chronicle.begin(kind, &format!("{free} bytes are left"));
    if let Err(e) = disk.fill(free) {
        chronicle.say(&format!("the disk cannot be filled: {e}"));
    }
    std::thread::sleep(seconds(rng, 0.5, 8.0));
    disk.free();
}
