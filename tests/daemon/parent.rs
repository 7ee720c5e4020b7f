//! The parent has one thread for its whole life, and nothing stops it.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Process, Site, assert_same, wait_for};

/// Looks all the time how many tasks a process has.
struct Sampler {
    over: Arc<AtomicBool>,
    thread: JoinHandle<(usize, BTreeSet<usize>)>,
}

impl Sampler {
    fn watch(process: Process) -> Sampler {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let (mut looks, mut seen) = (0, BTreeSet::new());
            while !until.load(Ordering::Relaxed) {
                seen.insert(process.tasks());
                looks += 1;
                std::thread::sleep(Duration::from_micros(500));
            }
            (looks, seen)
        });
        Sampler { over, thread }
    }

    /// How often it looked, and what numbers it saw.
    fn end(self) -> (usize, BTreeSet<usize>) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn the_parent_has_one_task_at_start_under_load_after_reload_after_deaths_and_in_drain() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(10)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let daemon = Daemon::spawn(&site);
    let sampler = Sampler::watch(daemon.parent);
    daemon.up();
    let delta = Delta::offers(0..10_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("there is load", || solr.taken() > 1_000);
    site.run(&["reload"]).code(0);
    wait_for("there is load again", || solr.taken() > 3_000);
    daemon.workers()[0].signal(Signal::SIGKILL);
    daemon.monitor().signal(Signal::SIGKILL);
    wait_for("there is load again", || solr.taken() > 5_000);
    let status = daemon.up();
    assert_eq!(status["parent"]["threads"], 1);
    assert_eq!(
        (&status["monitor"]["restarts"], &status["totals"]["worker_deaths"]),
        (&1.into(), &1.into())
    );
    daemon.parent.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended(), Some(0));
    let (looks, seen) = sampler.end();
    assert!(looks > 100, "{looks} looks");
    // Nothing stands in /proc any more when it has ended.
    assert!(seen.contains(&1) && seen.iter().all(|tasks| *tasks <= 1), "{seen:?}");
}

/// The writing end of a pipe that takes no byte more, and the reading end, which is to be kept.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut file = std::fs::File::from(write.try_clone().unwrap());
    while file.write(&[b'x'; 4096]).is_ok() {}
    while file.write(b"x").is_ok() {}
    fcntl(write.as_fd(), FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (read, write)
}

#[test]
fn a_parent_whose_stderr_is_a_full_pipe_goes_on() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (_read, write) = full_pipe();
    let daemon = Daemon::spawn_logging_to(&site, Stdio::from(write));
    daemon.up();
    let mut expected = Delta::default();
    for n in 0..3 {
        let delta = Delta::offers(n * 500..(n + 1) * 500, 1);
        site.hand_over(&format!("{n}.jsonl"), &delta.text);
        daemon.workers()[0].signal(Signal::SIGKILL);
        expected.docs.extend(delta.docs);
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n + 1);
    }
    assert_same(&solr.docs(), &expected.docs);
    let status = daemon.up();
    let reasons = status["health"]["reasons"].as_array().unwrap();
    assert!(
        reasons.iter().any(|reason| reason["code"] == "log"),
        "lost log lines are told: {reasons:?}"
    );
    site.run(&["reload"]).code(0);
    daemon.parent.signal(Signal::SIGHUP);
    daemon.wait("it has reloaded twice", |status| status["parent"]["reloads"] == 2);
    daemon.stop();
}

#[test]
fn a_parent_whose_children_are_all_stopped_goes_on_reaping_dealing_and_answering_signals() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(10)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.count = 3\nworkers.stop_timeout = '3s'");
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &Delta::offers(0..10_000, 1).text);
    wait_for("it is under way", || solr.taken() > 500);
    let workers = daemon.workers();
    let mut all = workers.clone();
    all.push(daemon.monitor());
    all.iter().for_each(|child| child.freeze());

    // Reaping: the dead one is replaced. Dealing: the new one has its share, so Solr gets it.
    solr.turn(Mode::Up); // what was under way is answered
    std::thread::sleep(Duration::from_millis(200));
    let before = solr.taken();
    workers[1].signal(Signal::SIGKILL);
    wait_for("the dead one is reaped", || workers[1].state().is_none());
    wait_for("another has its place", || {
        daemon.parent.children().iter().any(|child| !all.contains(child))
    });
    wait_for("and its share", || solr.taken() > before + 500);

    // Signals.
    let children = daemon.parent.children();
    daemon.parent.signal(Signal::SIGTERM);
    let told = Instant::now();
    assert_eq!(daemon.ended(), Some(0));
    let took = told.elapsed();
    assert!(took < Duration::from_secs(3 + 2), "stop_timeout is 3 s, but it took {took:?}");
    assert!(!children.iter().any(|child| child.is_alive()));
}

#[test]
fn an_idle_daemon_sleeps() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    let workers = daemon.workers();
    std::thread::sleep(Duration::from_millis(500));
    let woken = |process: &Process| -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.pid)).unwrap();
        let of_task = |task: std::fs::DirEntry| -> u64 {
            let text = std::fs::read_to_string(task.path().join("status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse().unwrap()
        };
        tasks.map(|task| of_task(task.unwrap())).sum()
    };
    let all = || -> Vec<u64> { workers.iter().chain([&daemon.parent]).map(woken).collect() };
    let before = all();
    std::thread::sleep(Duration::from_secs(3));
    let since: Vec<u64> = all().iter().zip(before).map(|(now, before)| now - before).collect();
    let (parent, workers) = since.split_last().unwrap();
    assert!(*parent <= 2, "the parent woke {parent} times in 3 s");
    assert_eq!(workers, [0, 0], "a worker without work has no reason to wake");
    daemon.stop();
}
