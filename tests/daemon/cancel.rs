//! `cancel`: what is delivered stays, the rest goes to `failed/`, and `retry` goes on with it.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_solr::FakeCluster;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, ask, assert_same, wait_for};

#[track_caller]
fn control(site: &Site, words: &str) -> Value {
    ask(&site.control_socket(), words).expect("the daemon answers")
}

/// How often each id was taken that was taken more than once.
fn twice(solr: &FakeSolr) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    solr.order().into_iter().for_each(|id| *times.entry(id).or_insert(0) += 1);
    times.retain(|_, times| *times > 1);
    times
}

/// The last of the history: name, outcome, lines.
fn last(site: &Site) -> (Value, Value, Value) {
    let answer = control(site, "history 1");
    let entry = &answer["history"][0];
    (entry["name"].clone(), entry["outcome"].clone(), entry["lines"].clone())
}

#[test]
fn what_is_delivered_stays_and_nothing_of_it_is_delivered_twice_by_a_retry() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(5)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.count = 3");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::offers(0..20_000, 1);
    delta.line("no JSON"); // the last one, so that it is not read before
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 3_000);
    site.run(&["cancel", "x.jsonl"]).code(0).says("cancelled: x.jsonl");
    assert_eq!(site.names("failed"), ["x.jsonl"]);
    let so_far = solr.taken();
    assert!(so_far < 19_000, "it was over too soon: {so_far}");
    let (name, outcome, lines) = last(&site);
    assert_eq!((name, outcome), (json!("x.jsonl"), json!("cancelled")));
    assert_eq!(lines, so_far, "what is delivered is counted");
    let status = daemon.status();
    assert_eq!(
        (&status["spool"]["active"], &status["totals"]["docs"]),
        (&Value::Null, &json!(so_far))
    );
    // The next one is not held up.
    site.hand_over("y.jsonl", "{\"id\":\"y\"}\n");
    daemon.wait("the next is settled", |_| site.is_done("y.jsonl"));
    assert_eq!(solr.taken(), so_far + 1);

    site.run(&["retry", "x.jsonl"]).code(0).says("to be retried: 1 failed delta");
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 3);
    assert!(site.is_done("x.jsonl"));
    let mut docs = solr.docs();
    docs.remove("y");
    assert_same(&docs, &delta.docs);
    assert_eq!(twice(&solr), BTreeMap::new());
    assert_eq!(
        (&status["totals"]["docs"], &status["totals"]["rejected"]),
        (&json!(20_001), &json!(1))
    );
    assert_eq!(status["totals"]["lines"], 20_002);
    assert_eq!(status["totals"]["bytes_read"], delta.text.len() + 11);
    assert_eq!(site.rejects("x.jsonl")[0]["line"], 20_001);
    assert_eq!(last(&site).2, 20_001 - so_far, "what this run has done");
    assert_eq!(site.names("failed"), [""; 0]);
    let rest: Vec<String> = site.names("active");
    assert_eq!(rest, [".last-claim"]);
    daemon.stop();
}

#[test]
fn what_one_shard_has_confirmed_is_not_sent_again_because_another_has_not() {
    let cluster = FakeCluster::start(2);
    let site = Site::for_collection(cluster.urls(), "c");
    site.configure("batch.docs = 50\nworkers.count = 3");
    let daemon = Daemon::start(&site);
    cluster.node(0).turn(Mode::Down);
    let delta = Delta::offers(0..4_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    let theirs = delta.docs.keys().filter(|id| cluster.shard_of(id) == 1).count();
    wait_for("shard2 has all of its documents", || cluster.node(1).taken() == theirs);
    site.run(&["cancel", "x.jsonl"]).code(0);
    cluster.node(0).turn(Mode::Up);
    site.run(&["retry", "x.jsonl"]).code(0);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 2);
    assert_same(&cluster.docs(), &delta.docs);
    assert_eq!((cluster.taken(), &status["totals"]["docs"]), (4_000, &json!(4_000)));
    daemon.stop();
}

#[test]
fn a_waiting_delta_is_cancelled_before_a_line_of_it_is_read() {
    let solr = FakeSolr::in_mode(Mode::Stall);
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"a\"}\n");
    daemon.wait("a is claimed", |status| status["spool"]["active"]["name"] == "a.jsonl");
    for name in ["b.jsonl", "c d.jsonl"] {
        site.hand_over(name, format!("{{\"id\":\"{name}\"}}\n"));
    }
    assert_eq!(control(&site, "cancel c d.jsonl"), json!({"ok": true}));
    assert_eq!(last(&site), (json!("c d.jsonl"), json!("cancelled"), json!(0)));
    assert_eq!(
        (site.names("incoming"), site.is_done("c d.jsonl")),
        (vec!["b.jsonl".to_owned()], false)
    );
    solr.turn(Mode::Up);
    daemon.wait("b is settled", |_| site.is_done("b.jsonl"));
    assert_eq!(solr.order(), ["a", "b.jsonl"]);
    site.run(&["retry", "c d.jsonl"]).code(0);
    daemon.wait("c is settled", |_| site.is_done("c d.jsonl"));
    assert_eq!(solr.order(), ["a", "b.jsonl", "c d.jsonl"]);
    daemon.stop();
}

#[test]
fn a_delta_that_waits_for_solr_is_cancelled_at_once() {
    let solr = FakeSolr::in_mode(Mode::Down);
    let site = Site::new(solr.url());
    site.configure("retry = { first = '10s', most = '20s' }");
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", Delta::offers(0..5_000, 1).text);
    daemon.wait("it backs off", |status| status["solr"]["reachable"] == false);
    site.run(&["cancel", "x.jsonl"]).code(0);
    assert!(site.names("failed").contains(&"x.jsonl".to_owned()));
    solr.turn(Mode::Up);
    site.run(&["retry", "x.jsonl"]).code(0);
    daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
    assert_eq!((solr.docs().len(), twice(&solr).len()), (5_000, 0));
    daemon.stop();
}

#[test]
fn what_cannot_be_cancelled_is_told_with_the_remedy() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    std::fs::write(site.spool("incoming/notes.txt"), "").unwrap();
    std::fs::create_dir(site.spool("incoming/folder.jsonl")).unwrap();
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    for name in ["x.jsonl", "nobody.jsonl", "folder.jsonl"] {
        site.run(&["cancel", name]).code(1).says("neither waits nor is it being delivered");
    }
    for arguments in [
        &["cancel"][..],
        &["cancel", "--all"],
        &["cancel", "incoming/x.jsonl"],
        &["cancel", "notes.txt"],
    ] {
        site.run(arguments).code(2);
    }
    assert_eq!(control(&site, "cancel nobody.jsonl")["error"]["code"], "unknown_delta");
    assert_eq!(control(&site, "cancel")["error"]["code"], "bad_request");
    assert_eq!(
        ask(&site.status_socket(), "cancel x.jsonl").unwrap()["error"]["code"],
        "not_permitted"
    );
    daemon.stop();
    site.run(&["cancel", "nobody.jsonl"]).code(1).says("neither waits nor is it being delivered");
}

/// What the checkpoints of all shares count.
fn checkpointed(site: &Site, what: &str) -> usize {
    let names = site.names("active").into_iter().filter(|name| name.ends_with(".checkpoint"));
    let texts =
        names.filter_map(|name| std::fs::read_to_string(site.spool("active").join(name)).ok());
    let count = |text: String| -> Option<usize> {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("count-{what}=")))?;
        line.parse().ok()
    };
    texts.filter_map(count).sum()
}

#[test]
fn without_a_daemon_the_command_line_does_it() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(60)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.count = 2");
    let mut delta = Delta::default();
    delta.line("no JSON").line("no JSON either");
    let offers = Delta::offers(0..10_000, 1);
    delta.text.push_str(&offers.text);
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &delta.text);
    site.hand_over("y.jsonl", "{\"id\":\"y\"}\n");
    wait_for("checkpoints say how far it is", || {
        checkpointed(&site, "rejected") == 2 && checkpointed(&site, "docs") > 1_000
    });
    daemon.kill();
    let before = checkpointed(&site, "docs");
    solr.turn(Mode::Up);
    site.run(&["cancel", "y.jsonl"]).code(0).says("cancelled: y.jsonl");
    site.run(&["cancel", "x.jsonl"]).code(0).says("cancelled: x.jsonl");
    let failed = site.names("failed");
    assert_eq!(failed, ["x.jsonl", "y.jsonl"]);
    assert_eq!(site.rejects("x.jsonl").len(), 2, "what was rejected is kept");
    assert_eq!(solr.docs().get("y"), None);
    let taken = solr.taken();

    // And the retry: what is rejected again makes it 1.
    let run = site.run(&["retry", "x.jsonl"]).code(1).says("rejected lines retried: 2 lines");
    assert!(run.stdout.contains(" 2 rejected"), "{run:?}");
    assert_same(&solr.docs(), &offers.docs);
    assert!(site.is_done("x.jsonl"));
    let again = solr.taken() - taken;
    assert!(again <= 10_000 - before, "it went on: {again} more after {before}");
    assert_eq!(
        site.rejects("x.jsonl").iter().map(|r| r["line"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );
    site.run(&["retry", "y.jsonl"]).code(0).says("y.jsonl: 1 lines, 1 documents");
    assert_eq!(solr.docs().len(), 10_001);
}

#[test]
fn whoever_dies_while_a_delta_is_cancelled_loses_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.count = 2");
    for round in 0..12 {
        solr.turn(Mode::Slow(Duration::from_millis(3)));
        let delta = Delta::offers(0..6_000, round);
        let name = format!("{round}.jsonl");
        let mut daemon = Daemon::start(&site);
        let taken = solr.taken();
        site.hand_over(&name, &delta.text);
        wait_for("it is under way", || solr.taken() > taken + 500);
        let socket = site.control_socket();
        let cancel = {
            let words = format!("cancel {name}");
            std::thread::spawn(move || ask(&socket, &words))
        };
        std::thread::sleep(Duration::from_millis(u64::from(round) * 3));
        match round % 3 {
            0 => daemon.workers()[0].signal(Signal::SIGKILL),
            1 => daemon.monitor().signal(Signal::SIGKILL),
            _ => {
                daemon.kill();
                daemon = Daemon::start(&site);
            }
        }
        let _ = cancel.join().unwrap(); // answered or not
        solr.turn(Mode::Up);
        let is_there = |folder: &str| site.names(folder).contains(&name);
        daemon.wait("it is somewhere", |_| is_there("failed") || is_there("done"));
        if is_there("failed") {
            site.run(&["retry", &name]).code(0);
            daemon.wait("it is settled", |_| is_there("done"));
        }
        assert_same(&solr.docs(), &delta.docs);
        assert_eq!((site.names("failed"), site.names("rejected")), (vec![], vec![]), "{round}");
        daemon.stop();
    }
}

#[test]
fn what_stood_before_a_count_does_not_undo_it_when_its_delta_was_given_up_by_a_dying_worker() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let cluster = FakeCluster::start(2);
        let site = Site::for_collection(cluster.urls(), "c");
        site.configure("workers = { count = 1, partition = 'id', stop_timeout = '4s' }");
        let daemon = Daemon::start(&site);
        let [first, counted] = [0, 1].map(|shard| cluster.ids_of(shard, 1).remove(0));
        site.hand_over("0.jsonl", "");
        daemon.wait("Solr has been tried", |status| {
            site.is_done("0.jsonl") && status["solr"]["reachable"] == true
        });
        // The first line is not answered, so the mark and every checkpoint stay before it.
        cluster.node(0).turn(Mode::Hold);
        let line = |id: &str, n: &str| format!("{{\"id\":\"{id}\",\"n\":{n}}}\n");
        let counts = line(&counted, "100") + &line(&counted, "{\"inc\":1}");
        site.hand_over("x.jsonl", line(&first, "0") + &counts);
        wait_for("it has counted", || cluster.docs().get(&counted).is_some_and(|d| d["n"] == 101));
        let mut cancel = site.command(&["cancel", "x.jsonl"]).spawn().unwrap();
        wait_for("it is given up", || {
            std::fs::read_to_string(site.log()).unwrap().contains("delta cancelled")
        });
        daemon.workers()[0].signal(signal);
        assert!(cancel.wait().unwrap().success());
        assert_eq!(site.names("failed"), ["x.jsonl"]);
        cluster.node(0).turn(Mode::Up);
        site.run(&["retry", "x.jsonl"]).code(0);
        daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
        assert_eq!(cluster.docs()[&counted]["n"], 101, "{signal}: {:?}", cluster.order());
        daemon.stop();
    }
}
