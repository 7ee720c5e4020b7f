//! What may be carried out once only (`inc`, `add`, a `_version_`) is carried out once, whoever dies and
//! whatever Solr leaves unsaid.

use std::time::Duration;

use fake_solr::Play;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

/// A Solr slow enough for something to happen in mid-delta.
const SLOW: Mode = Mode::Slow(Duration::from_millis(10));

/// Answers that leave it open what was done, between others that do not.
fn doubts(solr: &FakeSolr) {
    let answers = |n: usize| match n % 11 {
        3 => Play::CloseAfter,
        6 => Play::Lost,
        8 => Play::Answer(503, "application/json", "{}".into()),
        _ => Play::Well,
    };
    solr.play((0..2_000).map(answers));
}

/// A delta that counts each of these up by one.
fn count_up(ids: usize) -> String {
    let line = |n| format!("{{\"id\":\"c{n:05}\",\"n\":{{\"inc\":1}}}}\n");
    (0..ids).map(line).collect()
}

#[test]
fn each_line_counts_once_whoever_is_killed() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let mut daemon = Daemon::start(&site);
    doubts(&solr);
    let rounds = 4;
    for round in 1..=rounds {
        let before = solr.taken();
        site.hand_over(&format!("{round}.jsonl"), count_up(3_000));
        for kill in 1..=3 {
            wait_for("the delta is so far", || solr.taken() >= before + 700 * kill);
            if kill == round {
                daemon.kill();
                daemon = Daemon::start(&site);
            } else {
                daemon.workers()[kill % 2].signal(Signal::SIGKILL);
            }
        }
        wait_for("it is settled", || site.is_done(&format!("{round}.jsonl")));
    }
    let counts = solr.docs();
    let other: Vec<_> = counts.values().filter(|doc| doc["n"] != rounds).take(5).collect();
    assert!(counts.len() == 3_000 && other.is_empty(), "{} documents: {other:?}", counts.len());
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    wait_for("nothing is left behind", || site.names("active") == [".last-claim"]);
    daemon.stop();
}

#[test]
fn what_stood_before_a_count_does_not_undo_it_when_lines_are_read_again() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    // One worker: the lines of one id keep their order.
    site.configure("batch.docs = 50\nworkers.count = 1\nspool.max_rejects = '50%'");
    let daemon = Daemon::start(&site);
    let ids = 600;
    let mut delta = Delta::default();
    let line = |delta: &mut Delta, n: usize, more: Value| {
        let mut doc = json!({"id": format!("c{n:05}")});
        doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        delta.line(&doc.to_string());
    };
    (0..ids).for_each(|n| line(&mut delta, n, json!({"n": 100, "name": "old"})));
    (0..ids).for_each(|n| line(&mut delta, n, json!({"n": {"inc": 1}})));
    (0..ids).for_each(|n| line(&mut delta, n, json!({"name": {"set": "new"}, "bad": n % 50 == 7})));
    (0..ids).for_each(|n| line(&mut delta, n, json!({"n": {"inc": 2}})));
    let text = delta.text.replace(",\"bad\":false", "").replace("\"bad\":false,", "");
    doubts(&solr);
    site.hand_over("x.jsonl", text);
    // In the middle of each pass: whoever comes then begins with lines of the passes before.
    let so_far: [fn(&Value) -> bool; 3] =
        [|doc| doc["n"] == 101, |doc| doc["name"] == "new", |doc| doc["n"] == 103];
    for so_far in so_far {
        wait_for("the delta is so far", || solr.docs().get("c00300").is_some_and(so_far));
        daemon.workers()[0].signal(Signal::SIGKILL);
    }
    wait_for("it is settled", || site.is_done("x.jsonl"));
    let mut expected = Delta::default();
    for n in 0..ids {
        let name = if n % 50 == 7 { "old" } else { "new" };
        expected.doc(json!({"id": format!("c{n:05}"), "n": 103, "name": name}));
    }
    assert_same(&solr.docs(), &expected.docs);
    let lines: Vec<u64> =
        site.rejects("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    let bad: Vec<u64> =
        (0..ids).filter(|n| n % 50 == 7).map(|n| (2 * ids + n + 1) as u64).collect();
    assert_eq!(lines, bad);
    daemon.stop();
}
