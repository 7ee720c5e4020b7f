//! Whatever dies, at whatever moment: no line is lost, and nothing is left behind.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{
    Daemon, Delta, FakeSolr, Mode, PATIENCE, Process, Site, assert_same, wait_for,
};

/// A Solr slow enough for something to happen in mid-delta.
const SLOW: Mode = Mode::Slow(Duration::from_millis(20));

#[test]
fn a_killed_worker_loses_no_line() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let daemon = Daemon::start(&site);
    let old = Delta::offers(15_000..16_000, 1);
    site.hand_over("a.jsonl", &old.text);
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);

    solr.turn(SLOW);
    let mut delta = Delta::offers(0..15_000, 2);
    for id in old.docs.keys() {
        delta.delete(id);
    }
    site.hand_over("b.jsonl", &delta.text);
    for kill in 1..=6 {
        let so_far = old.lines + delta.lines * kill / 8;
        wait_for("the delta is so far", || solr.taken() >= so_far);
        daemon.workers()[kill % 2].signal(Signal::SIGKILL);
    }
    assert_eq!(solr.looked_up(), 0);
    let status = daemon.wait("b is settled", |status| status["totals"]["deltas"] == 2);
    assert_same(&solr.docs(), &delta.docs);
    assert!(solr.looked_up() > 0, "what the dead may have sent is looked at");
    assert_eq!(status["totals"]["worker_deaths"], 6);
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    // A worker that dies in mid-delta does its last lines again, but counts none twice.
    assert_eq!(status["totals"]["lines"], (old.lines + delta.lines) as u64);
    daemon.stop();
}

#[test]
fn any_signal_to_a_worker_loses_nothing() {
    use Signal::*;
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20\nworkers.count = 5"); // five, or their slots' backoff would be long
    let daemon = Daemon::start(&site);
    let signals =
        [SIGTERM, SIGABRT, SIGSEGV, SIGSTOP, SIGHUP, SIGINT, SIGBUS, SIGUSR1, SIGALRM, SIGQUIT];
    let mut expected = Delta::default();
    for (n, signal) in (0..).zip(signals) {
        let delta = Delta::offers(n * 1_000..(n + 1) * 1_000, 1);
        let before = solr.taken();
        site.hand_over(&format!("{n}.jsonl"), &delta.text);
        wait_for("it is under way", || solr.taken() > before + 100);
        let worker = daemon.workers()[n as usize % 5];
        match signal {
            SIGSTOP => {
                worker.freeze();
                worker.signal(SIGKILL);
            }
            _ => worker.signal(signal),
        }
        expected.docs.extend(delta.docs);
        daemon.wait(&format!("{signal}: it is settled"), |status| {
            status["totals"]["deltas"] == n + 1
        });
    }
    assert_same(&solr.docs(), &expected.docs);
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    daemon.up();
    daemon.stop();
}

#[test]
fn any_signal_to_the_monitor_loses_nothing() {
    use Signal::*;
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    let daemon = Daemon::start(&site);
    let mut expected = Delta::default();
    for (n, signal) in (0..).zip([SIGTERM, SIGABRT, SIGSEGV, SIGSTOP, SIGHUP]) {
        let delta = Delta::offers(n * 500..(n + 1) * 500, 1);
        site.hand_over(&format!("{n}.jsonl"), &delta.text);
        daemon.wait("it is claimed", |status| {
            status["totals"]["docs"].as_u64() > Some(n as u64 * 500)
        });
        let monitor = daemon.monitor();
        match signal {
            SIGSTOP => {
                monitor.freeze();
                monitor.signal(SIGKILL);
            }
            _ => monitor.signal(signal),
        }
        expected.docs.extend(delta.docs);
        daemon.wait(&format!("{signal}: it is settled"), |status| {
            status["totals"]["deltas"] == n + 1
        });
    }
    assert_same(&solr.docs(), &expected.docs);
    daemon.stop();
}

#[test]
fn the_children_of_a_killed_parent_are_gone_within_a_second_stopped_ones_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.count = 3");
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 3);
    solr.turn(Mode::Stall);
    site.hand_over("x.jsonl", &Delta::offers(0..5_000, 1).text);
    wait_for("workers wait for Solr", || solr.requests() >= 3);
    let children = daemon.parent.children();
    assert_eq!(children.len(), 4);
    daemon.workers()[0].freeze();
    daemon.monitor().freeze();
    daemon.parent.signal(Signal::SIGKILL);
    let killed = Instant::now();
    wait_for("the children are gone", || !children.iter().any(|child| child.is_alive()));
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(1), "they took {took:?}");
}

#[test]
fn a_new_daemon_goes_on_from_the_checkpoints_of_a_killed_one() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(40)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let delta = Delta::offers(0..20_000, 1);
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &delta.text);
    // Which takes three seconds or more; a checkpoint is written every second.
    wait_for("most of the delta is there", || solr.taken() >= delta.lines / 4 * 3);
    daemon.kill();
    let before = solr.taken();
    assert!(before < delta.lines, "it was too late to be killed");

    let daemon = Daemon::start(&site);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    let again = solr.taken() - delta.lines;
    assert!(again < before / 2, "{again} of {before} lines were sent again");
    assert_eq!(site.names("done"), ["x.jsonl"]);
    daemon.stop();
}

#[test]
fn a_new_daemon_with_another_number_of_workers_finishes_the_delta_of_a_killed_one() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.count = 3");
    let delta = Delta::offers(0..6_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    for count in [3, 1, 4] {
        site.configure(&format!("batch.docs = 50\nspool.settle = '10ms'\nworkers.count = {count}"));
        let daemon = Daemon::start(&site);
        if count == 4 {
            daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
            daemon.stop();
        } else {
            let so_far = solr.taken() + 1_500;
            wait_for("it is under way", || solr.taken() >= so_far);
            daemon.kill();
        }
    }
    assert_same(&solr.docs(), &delta.docs);
}

#[test]
fn a_stopped_daemon_has_checkpoints_and_its_delta_goes_on_with_the_next() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let mut delta = Delta::default();
    for n in 0..10_000 {
        match n % 100 {
            7 => delta.line("no JSON"),
            _ => delta.doc(serde_json::json!({"id": n.to_string()})),
        };
    }
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("the delta is half way", || solr.taken() >= delta.lines / 2);
    daemon.stop();
    let before = solr.taken();
    let daemon = Daemon::start(&site);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    let again = solr.taken() - delta.docs.len();
    assert!(
        again * 20 < before,
        "stopped at a batch boundary, yet {again} of {before} were sent again"
    );
    let rejected: Vec<u64> =
        site.rejects("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(rejected, (0..100).map(|n| n * 100 + 8).collect::<Vec<u64>>(), "each once");
    daemon.stop();
}

#[test]
fn a_daemon_waits_for_what_a_dead_one_has_left_behind() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let lock = std::fs::File::create(site.spool(".lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let daemon = Daemon::spawn(&site);
    std::thread::sleep(Duration::from_millis(500));
    assert!(daemon.parent.is_alive() && !site.status_socket().exists());
    drop(lock);
    daemon.up();
    daemon.stop();
}

#[test]
fn a_hung_worker_is_killed_and_replaced() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    // As short as it may be: ten seconds more than Solr's time-out.
    site.configure(
        "workers.hang_timeout = '12s'\nsolr.timeout = '2s'\nsolr.connect_timeout = '1s'\nbatch.docs = 50",
    );
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..4_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 500);
    let worker: Process = daemon.workers()[0];
    worker.freeze();
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert!(!worker.is_alive());
    assert_eq!(status["totals"]["worker_hangs"], 1, "{PATIENCE:?}");
    assert_same(&solr.docs(), &delta.docs);
    daemon.stop();
}
