//! `pause` and `resume`: what is under way is sent to its end, nothing more, and nothing is lost by it.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, ask, assert_same, wait_for};

/// Waits until nothing is under way any more; how much Solr has taken by then.
#[track_caller]
fn at_rest(daemon: &Daemon, solr: &FakeSolr) -> usize {
    daemon.wait("nothing is under way", |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.iter().all(|w| w["state"] == "idle" && w["in_flight"] == 0)
    });
    solr.taken()
}

#[test]
fn a_pause_stops_a_delta_at_a_batch_and_outlives_whoever_dies() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(5)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nspool.poll = '200ms'");
    let mut daemon = Daemon::start(&site);
    let delta = Delta::offers(0..20_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 1_000);
    site.run(&["pause"]).code(0).says("paused: nothing is sent until");
    let so_far = at_rest(&daemon, &solr);
    assert!(so_far < 15_000, "it was over too soon: {so_far}");
    let status = daemon.status();
    let reason = &status["health"]["reasons"][0];
    assert_eq!(
        [&status["state"], &status["health"]["state"], &reason["code"]],
        ["paused", "warning", "paused"]
    );
    site.check_updater(&[]).code(1).says("UPDATER WARNING - paused: nothing is sent until");
    site.run(&["status"]).code(0).says("paused, with x.jsonl");
    // Neither what comes, nor a reload, nor a death goes on with it.
    site.hand_over("y.jsonl", "{\"id\":\"y\"}\n");
    site.run(&["pause"]).code(0);
    site.run(&["reload"]).code(0);
    daemon.wait("the new generation is at it", |s| s["parent"]["generation"] == 2);
    at_rest(&daemon, &solr);
    let before = daemon.status();
    let worker = before["workers"][0]["pid"].as_i64().unwrap();
    sys_kill(worker);
    daemon.wait("another one is there", |status| {
        status["totals"]["worker_deaths"] == 1
            && status["workers"].as_array().unwrap().iter().all(|w| w["state"] == "idle")
    });
    daemon.kill();
    daemon = Daemon::start(&site);
    assert_eq!(daemon.status()["state"], "paused");
    daemon.wait("x is taken up", |status| status["spool"]["active"]["name"] == "x.jsonl");
    at_rest(&daemon, &solr);
    assert_eq!(solr.taken(), so_far, "nothing was sent");
    assert_eq!(site.names("incoming"), ["y.jsonl"]);

    site.run(&["resume"]).code(0).says("resumed");
    daemon.wait("all is settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!(daemon.status()["state"], "running");
    let mut expected = delta.docs.clone();
    expected.insert("y".into(), json!({"id": "y"}));
    assert_same(&solr.docs(), &expected);
    daemon.kill();
    let daemon = Daemon::start(&site);
    assert_eq!(daemon.status()["state"], "running", "it was ended for good");
    daemon.stop();
}

#[test]
fn a_paused_delta_can_be_cancelled_and_a_paused_daemon_stopped() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(5)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", Delta::offers(0..20_000, 1).text);
    wait_for("it is under way", || solr.taken() > 1_000);
    let control = |words| ask(&site.control_socket(), words).expect("the daemon answers");
    assert_eq!(control("pause"), json!({"ok": true}));
    let so_far = at_rest(&daemon, &solr);
    site.run(&["cancel", "x.jsonl"]).code(0);
    assert_eq!((site.names("failed"), solr.taken()), (vec!["x.jsonl".to_owned()], so_far));
    site.run(&["retry", "x.jsonl"]).code(0);
    assert_eq!(daemon.status()["spool"]["active"], Value::Null, "that waits, too");
    assert_eq!(ask(&site.status_socket(), "resume").unwrap()["error"]["code"], "not_permitted");
    assert_eq!(control("resume"), json!({"ok": true}));
    daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
    assert_eq!(solr.taken(), 20_000);
    control("pause");
    daemon.stop();
}

fn sys_kill(pid: i64) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
}
