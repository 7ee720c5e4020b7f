//! Reload: the new configuration works, or the old one goes on.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

/// Writes `workers.count = 0` into the configuration; answers where a reader finds it.
fn spoil(site: &Site) -> String {
    let text = std::fs::read_to_string(site.config()).unwrap().replace("count = 2", "count = 0");
    site.write_config(&text);
    let line = text.lines().position(|line| line == "count = 0").expect("count is there") + 1;
    format!("{}:{line}:9: workers.count = 0: need at least 1", site.config().display())
}

#[test]
fn a_thousand_reloads_leak_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    // What a first reload opens once and for all is no leak.
    site.run(&["reload"]).code(0);
    wait_for("the first generation is gone", || daemon.parent.children().len() == 3);
    let have =
        || (daemon.parent.tasks(), daemon.parent.descriptors(), daemon.parent.children().len());
    let before = have();
    for round in 0..50 {
        let reloads = daemon.status()["parent"]["reloads"].as_u64();
        for _ in 0..20 {
            daemon.parent.signal(Signal::SIGHUP);
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon.wait("it has reloaded", |status| status["parent"]["reloads"].as_u64() > reloads);
        if round % 10 == 0 {
            site.hand_over(&format!("{round}.jsonl"), format!("{{\"id\":\"{round}\"}}\n"));
        }
    }
    daemon.wait("the deltas are settled", |status| status["totals"]["deltas"] == 5);
    wait_for("all is as before", || have() == before);
    let status = daemon.status();
    assert!(status["parent"]["reloads"].as_u64() >= Some(51), "{}", status["parent"]);
    assert_eq!(status["parent"]["reload_failures"], 0);
    assert_eq!(
        (&status["totals"]["worker_deaths"], &status["monitor"]["restarts"]),
        (&0.into(), &0.into())
    );
    daemon.stop();
}

#[test]
fn a_bad_reload_keeps_the_old_configuration_and_says_so() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let workers = daemon.workers();
    let mistake = spoil(&site);

    let reload = site.run(&["reload", "-s", site.control_socket().to_str().unwrap()]).code(1);
    assert!(reload.stderr.contains(&mistake), "{reload:?}");
    let status = daemon.status();
    assert_eq!(status["parent"]["last_reload_error"], mistake.as_str());
    assert_eq!(
        (&status["parent"]["generation"], &status["parent"]["reload_failures"]),
        (&1.into(), &1.into())
    );
    assert_eq!(daemon.workers(), workers);
    let check = site.check_updater(&[]).code(1);
    assert!(
        check.stdout.starts_with("UPDATER WARNING - running on the old configuration"),
        "{check:?}"
    );
    assert!(daemon.tail_of_log().contains(&mistake));

    // Signals still work, and so does the daemon.
    daemon.parent.signal(Signal::SIGHUP);
    daemon.wait("it is refused again", |status| status["parent"]["reload_failures"] == 2);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("a delta is settled", |status| status["totals"]["deltas"] == 1);
    site.configure("workers.count = 3");
    site.run(&["reload"]).code(0);
    let status = daemon.up();
    assert_eq!(status["parent"]["last_reload_error"], serde_json::Value::Null);
    assert_eq!(status["workers"].as_array().unwrap().len(), 3);
    site.check_updater(&[]).code(0);

    site.write_config("no TOML at all");
    daemon.parent.signal(Signal::SIGHUP);
    daemon.wait("it is refused", |status| status["parent"]["reload_failures"] == 3);
    daemon.stop();
}

#[test]
fn a_generation_that_cannot_start_is_not_taken() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let children = daemon.parent.children();
    let missing = site.path("password").display().to_string();
    site.configure(&format!("solr.username = 'feeder'\nsolr.password_file = '{missing}'"));
    let reload = site.run(&["reload"]).code(1);
    assert!(reload.stderr.contains(&missing), "{reload:?}");
    wait_for("those that came are gone", || daemon.parent.children() == children);
    let status = daemon.status();
    assert!(status["parent"]["last_reload_error"].as_str().unwrap().contains(&missing));
    std::fs::write(&missing, "secret\n").unwrap();
    site.run(&["reload"]).code(0);
    daemon.stop();
}

#[test]
fn what_needs_a_restart_is_said_and_not_taken() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let (status, control) = (site.status_socket(), site.control_socket());
    let other = site.path("other");
    for (change, name) in [
        (format!("spool.dir = '{}'", other.display()), "spool.dir"),
        (format!("monitor.status.socket = '{}'", other.display()), "sockets"),
    ] {
        site.configure(&change);
        let reload = site.run(&["reload", "-s", control.to_str().unwrap()]).code(1);
        assert!(reload.stderr.contains(name) && reload.stderr.contains("restart"), "{reload:?}");
        assert!(!other.exists() && status.exists());
    }
    daemon.stop();
}

#[test]
fn sigterm_during_a_reload_works() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    for wait in [0, 2, 5, 10, 20] {
        let daemon = Daemon::start(&site);
        daemon.parent.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(wait));
        daemon.stop();
    }
}

#[test]
fn a_reload_changes_the_number_of_workers_mid_delta() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(10)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..10_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    for count in [4, 1, 3] {
        let so_far = solr.taken() + 1_500;
        wait_for("it is under way", || solr.taken() > so_far);
        site.configure(&format!("batch.docs = 50\nworkers.count = {count}"));
        site.run(&["reload"]).code(0);
        assert_eq!(daemon.up()["workers"].as_array().unwrap().len(), count);
    }
    assert!(!site.is_done("x.jsonl"), "it was over too soon");
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(status["totals"]["lines"], delta.lines);
    daemon.stop();
}

#[test]
fn the_reload_that_repairs_a_wrong_url_can_finish() {
    let (solr, wrong) = (FakeSolr::up(), FakeSolr::in_mode(Mode::Down));
    let site = Site::new(solr.url());
    let slow = "retry = { first = '10s', most = '20s' }\nworkers.stop_timeout = '60s'";
    site.configure(&format!("solr.urls = ['{}']\n{slow}", wrong.url()));
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n{\"id\":\"y\"}\n");
    daemon.wait("it backs off", |status| status["solr"]["reachable"] == false);
    site.configure(slow);
    site.run(&["reload"]).code(0);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(solr.docs().len(), 2);
    daemon.stop();
}
