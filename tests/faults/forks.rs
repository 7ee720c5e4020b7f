//! Tens of thousands of workers are forked, come to be ready, and go: by a reload, or killed. At the
//! end the parent has what it had at the beginning.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::common::{Daemon, FakeSolr, Process, Site, wait_for_some};
use crate::options::number;

const WORKERS: usize = 16;
/// So often each slot's worker is killed before a reload; the next one would come late.
const KILLS: usize = 2;

/// What must not grow.
#[derive(Debug, PartialEq, Eq)]
struct Has {
    children: usize,
    tasks: usize,
    descriptors: Vec<String>,
    /// KiB of memory mapped shared, in so many mappings (proc(5), `maps`).
    shared: (u64, usize),
}

impl Has {
    fn now(parent: Process) -> Has {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", parent.pid)).unwrap();
        let size = |line: &str| -> Option<u64> {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let number = |hex| u64::from_str_radix(hex, 16).ok();
            rest.get(3..4).filter(|how| *how == "s")?;
            Some((number(to)? - number(from)?) / 1024)
        };
        let shared: Vec<u64> = maps.lines().filter_map(size).collect();
        Has {
            children: parent.children().len(),
            tasks: parent.tasks(),
            descriptors: parent.descriptors(),
            shared: (shared.iter().sum(), shared.len()),
        }
    }
}

/// A process's resident memory in KiB.
fn resident(process: Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it lives");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Workers that are ready: they have all their threads.
fn ready(daemon: &Daemon, threads: usize, but: &BTreeSet<Process>) -> Vec<Process> {
    wait_for_some("every worker is ready", || {
        let children = daemon.parent.children().into_iter();
        let workers =
            children.filter(|child| !but.contains(child) && child.name().starts_with("worker"));
        let ready: Vec<Process> = workers.filter(|worker| worker.tasks() == threads).collect();
        (ready.len() == WORKERS).then_some(ready)
    })
}

#[test]
#[ignore = "takes ten minutes: make faults-forks"]
fn fifty_thousand_workers_come_and_go_and_nothing_is_left_of_them() {
    let goal: usize = number("FORKS").unwrap_or(50_000);
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(&format!("workers.count = {WORKERS}"));
    let daemon = Daemon::start(&site);
    let threads = wait_for_some("they have their threads", || {
        let tasks: BTreeSet<usize> = daemon.workers().iter().map(|w| w.tasks()).collect();
        let first = *tasks.first()?;
        (tasks.len() == 1 && first > 1 && solr.asked() >= WORKERS).then_some(first)
    });
    let (mut forks, mut before) = (WORKERS, None);
    let reloads = |daemon: &Daemon| daemon.status()["parent"]["reloads"].as_u64();
    while forks < goal {
        let count = reloads(&daemon);
        let mut gone: BTreeSet<Process> = daemon.parent.children().into_iter().collect();
        daemon.parent.signal(Signal::SIGHUP);
        daemon.wait("it has reloaded", |status| status["parent"]["reloads"].as_u64() > count);
        for _ in 0..KILLS {
            let workers = ready(&daemon, threads, &gone);
            workers.iter().for_each(|worker| worker.signal(Signal::SIGKILL));
            gone.extend(workers);
            forks += WORKERS;
        }
        ready(&daemon, threads, &gone);
        forks += WORKERS;
        // What a first reload opens once and for all is no leak.
        if before.is_none() && forks > WORKERS * 10 {
            before = Some((settled(&daemon), resident(daemon.parent)));
        }
    }
    let (had, memory) = before.expect("there were more than one round");
    let has = wait_for_some("all is as before", || {
        let has = settled(&daemon);
        (has == had).then_some(has)
    });
    println!(
        "{forks} workers forked and ready; the parent has {} children, {} descriptors, {:?} KiB \
         shared, as before; resident {memory} KiB then, {} KiB now",
        has.children,
        has.descriptors.len(),
        has.shared,
        resident(daemon.parent),
    );
    let status = daemon.status();
    assert_eq!(
        (&status["parent"]["reload_failures"], &status["totals"]["worker_hangs"]),
        (&0.into(), &0.into())
    );
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it still delivers", |status| status["totals"]["deltas"] == 1);
    daemon.stop();
}

/// When the generation before is gone.
fn settled(daemon: &Daemon) -> Has {
    wait_for_some("the generation before is gone", || {
        let has = Has::now(daemon.parent);
        (has.children == WORKERS + 1).then_some(has)
    })
}
