//! What is newer than what: deltas that wait, are cancelled, fail and are retried in an order that is not
//! theirs, with clocks that do not agree. The later delta wins, and its lines are not called superseded.

use serde_json::Value;

use crate::common::{Daemon, FakeSolr, Mode, Site, ask, wait_for};

const HOUR: i64 = 3_600_000;

/// Waits until so many deltas, or parts of them, are settled.
#[track_caller]
fn settled(daemon: &Daemon, count: u64) {
    daemon.wait("they are settled", |status| {
        status["totals"]["deltas"] == count && status["spool"]["active"].is_null()
    });
}

/// The last of the history: lines, documents, superseded.
fn last(site: &Site) -> [u64; 3] {
    let answer = ask(&site.control_socket(), "history 1").expect("the daemon answers");
    ["lines", "docs", "superseded"].map(|name| answer["history"][0][name].as_u64().unwrap())
}

/// A line for each of these documents.
fn lines(ids: &[&str], p: u32, more: &str) -> String {
    ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"p\":{p}{more}}}\n")).collect()
}

fn prices(solr: &FakeSolr, ids: &[&str]) -> Vec<Value> {
    let docs = solr.docs();
    ids.iter().map(|id| docs[*id]["p"].clone()).collect()
}

#[test]
fn a_cancelled_delta_is_newer_than_what_was_under_way_and_older_than_what_comes_after() {
    for restart in [false, true] {
        let solr = FakeSolr::in_mode(Mode::Stall);
        let site = Site::new(solr.url());
        let mut daemon = Daemon::start(&site);
        let ids = ["x", "y", "z"];
        site.hand_over("a.jsonl", lines(&ids, 1, ""));
        daemon.wait("a is claimed", |status| status["spool"]["active"]["name"] == "a.jsonl");
        site.hand_over("b.jsonl", lines(&ids, 2, ""));
        match restart {
            false => drop(site.run(&["cancel", "b.jsonl"]).code(0)),
            true => {
                daemon.kill();
                site.run(&["cancel", "b.jsonl"]).code(0);
                daemon = Daemon::start(&site);
            }
        }
        solr.turn(Mode::Up);
        daemon.wait("a is settled", |_| site.is_done("a.jsonl"));
        site.hand_over("c.jsonl", lines(&["y"], 3, ""));
        daemon.wait("c is settled", |_| site.is_done("c.jsonl"));
        assert_eq!(prices(&solr, &ids), [1, 3, 1]);
        site.run(&["retry", "b.jsonl"]).code(0);
        settled(&daemon, 3);
        assert_eq!(prices(&solr, &ids), [2, 3, 2]);
        assert_eq!(last(&site), [3, 2, 1]);
        daemon.stop();
    }
}

#[test]
fn what_is_rejected_of_a_delta_is_older_than_the_rest_of_it() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(
        "workers = { count = 1, partition = 'id' }\nbatch.docs = 1\nbatch.in_flight = 1",
    );
    let daemon = Daemon::start(&site);
    // The first line of x is rejected; then the delta stands still, and another is cancelled.
    solr.play([fake_solr::Play::Well, fake_solr::Play::Hold]);
    let bad = lines(&["x"], 0, ",\"bad\":1");
    site.hand_over("a.jsonl", bad + &lines(&["u", "v"], 1, "") + &lines(&["x"], 1, ""));
    wait_for("it stands still", || solr.under_way() > 0);
    site.hand_over("b.jsonl", lines(&["v"], 2, ""));
    site.run(&["cancel", "b.jsonl"]).code(0);
    solr.release();
    daemon.wait("a is settled", |_| site.is_done("a.jsonl"));
    assert_eq!(site.rejects("a.jsonl").len(), 1);
    solr.mend();
    site.run(&["retry", "--all"]).code(0);
    settled(&daemon, 3);
    assert_eq!(prices(&solr, &["x", "v"]), [1, 2]);
    daemon.stop();
}

#[test]
fn what_was_retried_is_known_while_a_cancelled_rest_is_all_that_is_left() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.count = 1\nbatch.docs = 5\nspool.max_rejects = 1");
    let daemon = Daemon::start(&site);
    let ids: Vec<String> = (0..50).map(|n| format!("i{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for (p, name) in [(1, "a.jsonl"), (2, "b.jsonl")] {
        site.hand_over(name, lines(&ids, p, ",\"bad\":1"));
    }
    settled(&daemon, 2);
    assert!(["a.jsonl", "b.jsonl"].iter().all(|n| site.names("failed").contains(&n.to_string())));
    solr.mend();
    for name in ["a.jsonl", "b.jsonl"] {
        std::fs::remove_file(site.spool(format!("rejected/{name}.rejected.jsonl"))).unwrap();
    }
    site.run(&["retry", "a.jsonl"]).code(0);
    settled(&daemon, 3);
    let delivered = solr.ids();
    assert!(delivered.len() > 10, "most were not tried: {delivered:?}");
    let taken = solr.taken();
    solr.turn(Mode::Slow(std::time::Duration::from_millis(50)));
    site.run(&["retry", "b.jsonl"]).code(0);
    wait_for("some of it is delivered", || solr.taken() >= taken + 5);
    site.run(&["cancel", "b.jsonl"]).code(0);
    assert!(site.names("failed").contains(&"b.jsonl".to_owned()), "it was over too soon");
    solr.turn(Mode::Up);
    site.run(&["retry", "b.jsonl"]).code(0);
    settled(&daemon, 5);
    assert!(site.is_done("b.jsonl"));
    assert_eq!(last(&site)[2], 0, "nothing is superseded");
    daemon.stop();
}

#[test]
fn the_later_delta_wins_though_solrs_clock_is_another() {
    for ahead in [-HOUR, HOUR] {
        let solr = FakeSolr::up();
        solr.set_clock(ahead);
        let site = Site::new(solr.url());
        let daemon = Daemon::start(&site);
        site.hand_over("0.jsonl", lines(&["o"], 0, ""));
        settled(&daemon, 1);
        let ids = ["x", "y"];
        for (p, name) in [(1, "a.jsonl"), (2, "b.jsonl")] {
            site.hand_over(name, lines(&ids, p, ",\"bad\":1"));
            settled(&daemon, 1 + u64::from(p));
        }
        solr.mend();
        site.run(&["retry", "a.jsonl"]).code(0);
        settled(&daemon, 4);
        site.hand_over("c.jsonl", lines(&["y"], 3, ""));
        settled(&daemon, 5);
        site.run(&["retry", "b.jsonl"]).code(0);
        settled(&daemon, 6);
        assert_eq!((prices(&solr, &ids), last(&site)), (vec![2.into(), 3.into()], [2, 1, 1]));
        daemon.stop();
    }
}

#[test]
fn a_line_is_newer_than_what_another_program_wrote_before_it_came() {
    let solr = FakeSolr::up();
    solr.set_clock(-HOUR);
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(&["o"], 1, ""));
    settled(&daemon, 1);
    let pause = || std::thread::sleep(std::time::Duration::from_millis(60));
    pause(); // nobody hears of a version meanwhile
    solr.write("x", serde_json::json!({"id": "x", "p": 1}));
    pause();
    site.hand_over("b.jsonl", lines(&["x", "y"], 2, ",\"bad\":1"));
    settled(&daemon, 2);
    pause();
    solr.write("y", serde_json::json!({"id": "y", "p": 3}));
    solr.mend();
    site.run(&["retry", "b.jsonl"]).code(0);
    settled(&daemon, 3);
    assert_eq!((prices(&solr, &["x", "y"]), last(&site)), (vec![2.into(), 3.into()], [2, 1, 1]));
    daemon.stop();
}

#[test]
fn a_line_that_is_no_document_is_newer_than_the_line_before_and_older_than_the_one_behind() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers = { count = 1, partition = 'id' }\nspool.max_rejects = '80%'");
    let daemon = Daemon::start(&site);
    solr.play([fake_solr::Play::Hold]);
    let bad = ",\"n\":{\"inc\":1},\"_version_\":1";
    let text = lines(&["x", "y"], 1, "") + &lines(&["x", "y"], 2, bad) + &lines(&["x"], 3, "");
    site.hand_over("a.jsonl", text);
    wait_for("the first are under way", || solr.under_way() > 0);
    std::thread::sleep(std::time::Duration::from_millis(30)); // what can be read is
    solr.release();
    settled(&daemon, 1);
    let rejects = site.rejects("a.jsonl");
    let as_of: Vec<i64> = rejects.iter().map(|r| r["as_of"].as_i64().unwrap()).collect();
    let version = |id| solr.version(id).unwrap();
    assert!(as_of[0] < version("x"), "{as_of:?}, {}", version("x"));
    assert!(as_of[1] >= version("y"), "{as_of:?}, {}", version("y"));
    assert_eq!(rejects.len(), 2);
    daemon.stop();
}

#[test]
fn what_a_cancelled_retry_has_made_without_an_answer_is_no_newer_than_it() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    // After an answer that was lost nobody asks again before the test is over.
    site.configure("workers.count = 1\nretry = { first = '10m', most = '10m' }");
    let daemon = Daemon::start(&site);
    for (p, name) in [(1, "a.jsonl"), (2, "b.jsonl")] {
        site.hand_over(name, lines(&["d"], p, ",\"bad\":1"));
        settled(&daemon, p.into());
    }
    solr.mend();
    solr.play([fake_solr::Play::CloseAfter]);
    site.run(&["retry", "a.jsonl"]).code(0);
    wait_for("it is carried out", || solr.taken() == 1);
    site.run(&["cancel", "a.jsonl"]).code(0);
    assert_eq!(site.rejects("a.jsonl").len(), 1);
    daemon.stop();
    let daemon = Daemon::start(&site);
    site.run(&["retry", "b.jsonl"]).code(0);
    settled(&daemon, 1);
    assert_eq!((prices(&solr, &["d"]), last(&site)), (vec![2.into()], [1, 1, 0]));
    daemon.stop();
}

#[test]
fn what_was_rejected_of_a_delta_that_grew_is_as_new_as_what_it_grew_by() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '100ms'\nspool.poll = '200ms'");
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", lines(&["o", "e"], 1, ",\"bad\":1"));
    settled(&daemon, 1);
    site.hand_over("y.jsonl", lines(&["d", "e"], 5, ",\"bad\":1"));
    settled(&daemon, 2);
    // Claimed after y: this is newer, and the first two lines of x are older.
    let done = std::fs::File::options().append(true).open(site.spool("done/x.jsonl"));
    std::io::Write::write_all(&mut done.unwrap(), lines(&["d"], 2, ",\"bad\":1").as_bytes())
        .unwrap();
    settled(&daemon, 3);
    solr.mend();
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 4);
    assert_eq!(prices(&solr, &["o", "e", "d"]), [1, 1, 2]);
    site.run(&["retry", "y.jsonl"]).code(0);
    settled(&daemon, 5);
    assert_eq!(
        (prices(&solr, &["o", "e", "d"]), last(&site)),
        (vec![1.into(), 5.into(), 2.into()], [2, 1, 1])
    );
    daemon.stop();
}
