//! What was not delivered, and what a person does about it.

use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Site, ask};

/// The answer to a request on the control socket.
#[track_caller]
fn control(site: &Site, words: &str) -> Value {
    ask(&site.control_socket(), words).expect("the daemon answers")
}

/// Lines of which so many in a row are refused after the first `good` ones; then good ones again.
fn avalanche(good: usize, bad: usize, lines: usize) -> Delta {
    let mut delta = Delta::default();
    for n in 0..lines {
        let id = format!("d{n:06}");
        match (good..good + bad).contains(&n) {
            true => delta.line(&json!({"id": id, "bad_i": n}).to_string()),
            false => delta.doc(json!({"id": id, "price_i": n})),
        };
    }
    delta
}

/// Hands over a delta with more rejects than `max_rejects`, and waits until it has failed.
fn fail(site: &Site, daemon: &Daemon, name: &str) {
    let before = daemon.status()["totals"]["deltas"].as_u64();
    site.hand_over(name, &avalanche(50, 200, 20_000).text);
    daemon.wait("it has failed", |status| status["totals"]["deltas"].as_u64() > before);
    assert!(site.names("failed").contains(&name.to_owned()), "{:?}", site.names("failed"));
}

#[test]
fn what_is_dropped_is_gone_for_good() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 100\nbatch.docs = 100");
    let daemon = Daemon::start(&site);
    for name in ["a.jsonl", "b.jsonl", "c.jsonl"] {
        fail(&site, &daemon, name);
    }
    site.hand_over("d.jsonl", "no JSON\n{\"id\":\"d\"}\n");
    daemon.wait("all are settled", |status| status["totals"]["deltas"] == 4);
    daemon.wait("they are seen", |status| {
        status["spool"]["failed"] == 3 && status["spool"]["rejected"]["files"] == 4
    });
    site.run(&["drop", "a.jsonl"])
        .code(0)
        .says("dropped: 1 failed delta, the rejected lines of 1 delta");
    let visible = |folder: &str| {
        let names = site.names(folder).into_iter().filter(|name| !name.starts_with('.'));
        names.collect::<Vec<_>>()
    };
    assert_eq!(visible("failed"), ["b.jsonl", "c.jsonl"]);
    assert_eq!(site.rejects("a.jsonl"), [Value::Null; 0]);
    assert_eq!(
        control(&site, "drop b.jsonl"),
        json!({"ok": true, "dropped": {"deltas": 1, "rejects": 1}})
    );
    // Without the daemon, the command line does it.
    daemon.stop();
    site.run(&["drop", "--all"])
        .code(0)
        .says("dropped: 1 failed delta, the rejected lines of 2 deltas");
    assert_eq!((site.names("failed"), site.names("rejected")), (vec![], vec![]));
    assert_eq!(site.names("done"), ["d.jsonl"], "what was delivered stays");
    site.run(&["drop", "--all"]).code(0).says("dropped: nothing");

    let daemon = Daemon::start(&site);
    let status = daemon.status();
    let spool = &status["spool"];
    assert_eq!((&spool["failed"], &spool["rejected"]["lines"]), (&json!(0), &json!(0)));
    site.check_updater(&[]).code(0);
    daemon.stop();
}

#[test]
fn who_names_what_is_not_there_is_told_the_remedy() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    for arguments in [&["drop"][..], &["drop", "x.jsonl", "--all"], &["drop", "failed/x.jsonl"]] {
        site.run(arguments).code(2);
    }
    for _ in 0..2 {
        site.run(&["drop", "x.jsonl"]).code(1).says("`solr-updater rejects`");
    }
    let code = |words: &str| control(&site, words)["error"]["code"].clone();
    assert_eq!(code("drop x.jsonl"), "unknown_delta");
    assert_eq!(
        (code("drop"), code("drop x.jsonl --all")),
        (json!("bad_request"), json!("bad_request"))
    );
    let refused = ask(&site.status_socket(), "drop --all").unwrap();
    assert_eq!(refused["error"]["code"], "not_permitted");
    daemon.stop();
    site.run(&["drop", "x.jsonl"]).code(1).says("`solr-updater rejects`");
}

#[test]
fn dropping_the_failed_delta_ends_the_hold() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 100\nspool.on_failed = 'stop'\nbatch.docs = 100");
    let daemon = Daemon::start(&site);
    fail(&site, &daemon, "a.jsonl");
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
    let status = daemon.wait("it holds", |status| {
        status["state"] == "holding" && status["spool"]["incoming"]["files"] == 1
    });
    let reasons = status["health"]["reasons"].as_array().unwrap();
    let said = reasons.iter().find(|reason| reason["code"] == "holding").unwrap();
    assert!(said["message"].as_str().unwrap().contains("`solr-updater drop`"), "{said}");
    site.run(&["drop", "a.jsonl"]).code(0);
    daemon.wait("it goes on", |status| status["state"] == "running" && site.is_done("b.jsonl"));
    daemon.stop();
}

#[test]
fn a_hold_for_a_delta_that_a_person_has_taken_away_ends_as_it_is_told() {
    for command in ["retry", "drop"] {
        let solr = FakeSolr::up();
        let site = Site::new(solr.url());
        site.configure("spool.max_rejects = 100\nspool.on_failed = 'stop'\nbatch.docs = 100");
        let daemon = Daemon::start(&site);
        fail(&site, &daemon, "a.jsonl");
        site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
        daemon.wait("it holds", |status| status["state"] == "holding");
        std::fs::remove_file(site.spool("failed/a.jsonl")).unwrap();
        std::fs::remove_file(site.spool("rejected/a.jsonl.rejected.jsonl")).unwrap();
        site.run(&[command, "a.jsonl"]).code(1).says("it is not in failed/");
        daemon.wait("it goes on", |s| s["state"] == "running" && site.is_done("b.jsonl"));
        daemon.stop();
    }
}

#[test]
fn a_hold_survives_a_restart_and_ends_with_the_retry() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 100\nspool.on_failed = 'stop'\nbatch.docs = 100");
    let daemon = Daemon::start(&site);
    fail(&site, &daemon, "a.jsonl");
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
    daemon.wait("it holds", |status| status["state"] == "holding");
    daemon.kill();
    let daemon = Daemon::spawn(&site);
    daemon.wait("it holds still", |status| {
        status["state"] == "holding" && status["spool"]["incoming"]["files"] == 1
    });
    assert!(!site.is_done("b.jsonl"));
    solr.mend();
    site.run(&["retry", "a.jsonl"]).code(0);
    daemon.wait("all is delivered", |status| {
        status["state"] == "running" && site.is_done("a.jsonl") && site.is_done("b.jsonl")
    });
    daemon.stop();
    let daemon = Daemon::start(&site);
    daemon.stop();
}

#[test]
fn what_cannot_be_dropped_keeps_the_others_from_nothing_and_is_told() {
    let solr = FakeSolr::up();
    let (site, faults) = Site::new(solr.url()).with_faults();
    site.configure("spool.max_rejects = 100\nspool.on_failed = 'stop'\nbatch.docs = 100");
    let daemon = Daemon::start(&site);
    fail(&site, &daemon, "b.jsonl");
    for name in ["a.jsonl", "c.jsonl"] {
        std::fs::write(site.spool("failed").join(name), "{\"id\":\"x\"}\n").unwrap();
    }
    faults.are(&["unlink 5 failed/a.jsonl"]);
    let told = "1 of 3 deltas are left as they were, the others are dropped";
    site.run(&["drop", "--all"]).code(1).says("a.jsonl: Input/output error").says(told);
    assert_eq!(site.names("failed"), ["a.jsonl"]);
    site.hand_over("d.jsonl", "{\"id\":\"d\"}\n");
    daemon.wait("nothing is held any more", |_| site.is_done("d.jsonl"));
    // A retry goes the same way: nobody knows how far a is.
    faults.are(&[]);
    site.hand_over("e.jsonl", "{\"id\":\"e\",\"bad\":1}\n");
    daemon.wait("it is rejected", |_| site.rejects("e.jsonl").len() == 1);
    daemon.wait("it is settled", |status| status["spool"]["active"].is_null());
    solr.mend();
    let told = "1 of 2 deltas are left as they were, the others are to be retried";
    site.run(&["retry", "--all"]).code(1).says("nobody knows how far it was").says(told);
    daemon.wait("e is retried", |_| solr.ids().contains(&"e".to_owned()));
    daemon.stop();
    site.run(&["retry", "--all"]).code(1).says("nobody knows how far it was");
    site.run(&["drop", "--all"]).code(0).says("1 failed delta");
}
