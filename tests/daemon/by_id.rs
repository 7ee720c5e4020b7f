//! `partition = "id"`: all lines of a document are one worker's, so the last one wins, in every order of
//! deaths and reloads.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

const SLOW: Mode = Mode::Slow(Duration::from_millis(10));

const BY_ID: &str =
    "batch.docs = 50\nworkers = { count = 3, partition = 'id' }\nspool.max_rejects = '50%'";

/// Each of these documents again and again, now and then as a delete, and lines that are none.
fn repeated(ids: usize, times: usize) -> Delta {
    let mut delta = Delta::default();
    for time in 0..times {
        for n in 0..ids {
            let id = format!("r{n:04}");
            match (n + time * 3) % 11 {
                7 => delta.delete(&id),
                8 => delta.line("").doc(json!({"id": id, "time": time})),
                9 => delta.line(r#"{"id":"cut""#).doc(json!({"time": time, "id": id})),
                _ => delta.doc(json!({"id": id, "time": time})),
            };
        }
    }
    delta
}

#[test]
fn the_last_line_of_a_document_wins_whoever_is_killed() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure(BY_ID);
    let mut daemon = Daemon::start(&site);
    let delta = repeated(500, 6);
    site.hand_over("x.jsonl", &delta.text);
    for kill in 1..=4 {
        wait_for("the delta is so far", || solr.taken() >= 500 * kill);
        match kill {
            3 => {
                daemon.kill();
                daemon = Daemon::start(&site);
            }
            _ => daemon.workers()[kill % 3].signal(Signal::SIGKILL),
        }
    }
    wait_for("it is settled", || site.is_done("x.jsonl"));
    assert_same(&solr.docs(), &delta.docs);
    let bad = delta.text.lines().enumerate().filter(|(_, line)| *line == r#"{"id":"cut""#);
    let bad: Vec<u64> = bad.map(|(n, _)| n as u64 + 1).collect();
    let told: Vec<u64> =
        site.rejects("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(told, bad);
    daemon.stop();
}

#[test]
fn each_line_has_one_worker() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(BY_ID);
    let daemon = Daemon::start(&site);
    let delta = repeated(300, 3);
    site.hand_over("x.jsonl", &delta.text);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    let totals = &status["totals"];
    let empty = delta.text.lines().filter(|line| line.is_empty()).count();
    let bad = site.rejects("x.jsonl").len();
    let counts = ["lines", "skipped", "rejected"].map(|name| totals[name].as_u64().unwrap());
    assert_eq!(counts, [delta.lines, empty, bad].map(|n| n as u64));
    assert_eq!(totals["bytes_read"], delta.text.len());
    let shares = status["workers"].as_array().unwrap();
    assert!(shares.iter().all(|worker| worker["docs"].as_u64() > Some(100)), "{shares:?}");
    daemon.stop();
}

#[test]
fn a_delta_stays_divided_as_it_was_when_the_configuration_changes() {
    let line = "batch.docs = 50\nworkers = { count = 2, partition = 'line' }";
    for (before, after) in [(BY_ID, line), (line, BY_ID)] {
        let solr = FakeSolr::in_mode(SLOW);
        let site = Site::new(solr.url());
        site.configure(before);
        let daemon = Daemon::start(&site);
        let delta = Delta::offers(0..4_000, 1);
        site.hand_over("x.jsonl", &delta.text);
        wait_for("the delta is so far", || solr.taken() >= 1_000);
        site.configure(after);
        site.run(&["reload"]).code(0);
        wait_for("the delta is so far", || solr.taken() >= 2_000);
        daemon.kill();
        let daemon = Daemon::start(&site);
        wait_for("it is settled", || site.is_done("x.jsonl"));
        assert_same(&solr.docs(), &delta.docs);
        daemon.stop();
    }
}

#[test]
fn where_lines_go_by_number_a_repeated_id_is_counted_and_told() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.count = 3");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::offers(0..3_000, 1);
    for n in [5, 5, 17, 2_999] {
        delta.line(&json!({"id": format!("offer-{n:06}"), "price_i": 9}).to_string());
    }
    delta.delete("offer-000100");
    site.hand_over("x.jsonl", &delta.text);
    wait_for("the delta is so far", || solr.taken() >= 1_000);
    // Whatever is sent again is no repetition.
    daemon.workers()[1].signal(Signal::SIGKILL);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(status["totals"]["duplicate_ids"], 5);
    assert_eq!(status["health"]["state"], "ok", "it is no alarm");
    let log = std::fs::read_to_string(site.log()).unwrap();
    assert!(log.contains("ids stand on several lines"), "{log}");
    site.hand_over("y.jsonl", Delta::offers(0..3_000, 1).text);
    let status = daemon.wait("y is settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!(status["totals"]["duplicate_ids"], 5, "another delta repeats no id");
    daemon.stop();
}
