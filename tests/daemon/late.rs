//! Producers that go on with a file when they have handed it over: what they append is delivered,
//! whenever it comes, and nothing old comes back with it; what they cut off or replace is told.

use std::fs::File;
use std::io::Write;

use serde_json::json;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

/// Looked at soon.
const SOON: &str = "spool.settle = '100ms'\nspool.poll = '200ms'\n";

/// A file under its own name, of which the producer still has this.
fn hand_over_open(site: &Site, name: &str, text: &str) -> File {
    let hidden = site.spool("incoming").join(format!(".{name}"));
    let mut file = File::create(&hidden).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    std::fs::rename(hidden, site.spool("incoming").join(name)).unwrap();
    file
}

fn settled(daemon: &Daemon, deltas: u64) {
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == deltas);
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.log()).unwrap()
}

#[test]
fn what_a_producer_had_buffered_when_it_renamed_is_delivered_when_it_closes() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "");
    settled(&daemon, 1);
    assert_eq!(site.names("done"), ["x.jsonl"], "an empty delta is delivered at once");

    let delta = Delta::offers(0..1_000, 1);
    file.write_all(delta.text.as_bytes()).unwrap();
    drop(file);
    settled(&daemon, 2);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(site.names("done"), ["x.jsonl"]);
    assert_eq!(std::fs::read_to_string(site.spool("done/x.jsonl")).unwrap(), delta.text);
    let line = "a delta has grown after it was delivered, what is new is delivered when it stands still: \
                hand it over when it is closed, delta: x.jsonl, bytes: ";
    assert_eq!(log(&site).matches(line).count(), 1, "{}", log(&site));
    daemon.stop();
}

#[test]
fn what_is_appended_to_a_delivered_delta_is_delivered_and_nothing_old_comes_back() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\",\"n_i\":1}\nno JSON\n");
    settled(&daemon, 1);
    site.hand_over("y.jsonl", "{\"id\":\"a\",\"n_i\":2}\n");
    settled(&daemon, 2);
    for n in 0..3 {
        write!(file, "{{\"id\":\"b{n}\"}}\nnor is this\n").unwrap();
        settled(&daemon, 3 + n);
    }
    let docs = solr.docs();
    assert_eq!(docs.keys().collect::<Vec<_>>(), ["a", "b0", "b1", "b2"]);
    assert_eq!(docs["a"], json!({"id": "a", "n_i": 2}), "the later delta wins, still");
    assert_eq!(solr.order(), ["a", "a", "b0", "b1", "b2"], "nothing is sent twice");
    // It is one delta still, and has its rejects of each time.
    assert_eq!(site.names("done"), ["x.jsonl", "y.jsonl"]);
    let lines: Vec<_> = site.rejects("x.jsonl").iter().map(|r| r["line"].clone()).collect();
    assert_eq!(lines, [2, 4, 6, 8]);
    daemon.stop();
}

#[test]
fn a_line_that_grows_after_it_was_delivered_fails_the_rest_and_says_which() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b\",\"na");
    settled(&daemon, 1);
    file.write_all(b"me_s\":\"b\"}\n{\"id\":\"c\"}\n").unwrap();
    settled(&daemon, 2);
    assert_eq!((solr.order(), site.names("failed")), (vec!["a".into()], vec!["x.jsonl".into()]));
    assert!(log(&site).contains("line 2 has grown: hand that line over anew"));
    site.hand_over("z.jsonl", "{\"id\":\"a\",\"n_i\":2}\n");
    settled(&daemon, 3);
    // Who retries it goes on from there, too: what was delivered before does not come back.
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 5); // its rest, and its rejected line
    assert_eq!((solr.order().join(" "), site.names("failed")), ("a a c".into(), vec![]));
    assert_eq!(solr.docs()["a"]["n_i"], 2);
    let reasons = site.rejects("x.jsonl");
    assert_eq!(reasons.len(), 1, "the half of a line: {reasons:?}");
    assert!(log(&site).contains("a line has grown since it was read, and its rest is passed over"));
    daemon.stop();
}

#[test]
fn a_failed_delta_that_grows_once_more_brings_nothing_old_back() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\",\"n_i\":1}\n{\"id\":\"b");
    settled(&daemon, 1);
    site.hand_over("y.jsonl", "{\"id\":\"a\",\"n_i\":2}\n");
    settled(&daemon, 2);
    file.write_all(b"\"}\n{\"id\":\"c\"}\n").unwrap();
    settled(&daemon, 3);
    assert_eq!(site.names("failed"), ["x.jsonl"]);
    file.write_all(b"{\"id\":\"d\"}\nno JSON\n").unwrap();
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 5); // its rest, and its rejected line
    assert_eq!((solr.order().len(), solr.docs()["a"]["n_i"].clone()), (4, json!(2)));
    assert_eq!(solr.docs().keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    let lines: Vec<_> = site.rejects("x.jsonl").iter().map(|r| r["line"].clone()).collect();
    assert_eq!(lines, [2, 5], "they are numbered as in the file");
    daemon.stop();
}

#[test]
fn a_failed_delta_that_was_cut_is_not_gone_on_with_by_guess() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b");
    settled(&daemon, 1);
    file.write_all(b"\"}\n").unwrap();
    settled(&daemon, 2);
    file.set_len(11).unwrap();
    site.run(&["retry", "x.jsonl"]).code(1).says("solr-updater retry --force x.jsonl");
    assert_eq!((solr.order().len(), site.names("failed")), (1, vec!["x.jsonl".into()]));
    daemon.stop();
}

#[test]
fn where_the_rest_of_a_delta_begins_is_known_after_a_kill_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\",\"n_i\":1}\n");
    settled(&daemon, 1);
    site.hand_over("y.jsonl", "{\"id\":\"a\",\"n_i\":2}\n");
    settled(&daemon, 2);
    solr.turn(Mode::Stall);
    file.write_all(b"{\"id\":\"b\"}\n{\"id\":\"c\"}\n").unwrap();
    daemon.wait("the rest is claimed", |s| s["spool"]["active"]["name"] == "x.jsonl");
    daemon.kill();
    solr.turn(Mode::Up);
    let daemon = Daemon::start(&site);
    settled(&daemon, 1);
    assert_eq!(solr.docs()["a"]["n_i"], 2);
    assert_eq!(solr.docs().len(), 3);
    daemon.stop();
}

#[test]
fn a_delta_that_is_waited_for_since_it_grows_can_be_cancelled() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '10m'\nworkers.count = 2");
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 2);
    solr.turn(Mode::Stall);
    let before = solr.requests();
    // The second share has nothing in it, and is in at once.
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\"}\n");
    wait_for("the first share is under way", || solr.requests() > before);
    wait_for("the second is in", || {
        let mark = std::fs::read_to_string(site.spool("active/.share-1-1.checkpoint"));
        mark.is_ok_and(|mark| mark.contains("\noffset=11\n"))
    });
    file.write_all(b"{\"id\":\"b\"}\n").unwrap();
    solr.turn(Mode::Up);
    wait_for("it is waited for", || log(&site).contains("it is read again when it stands still"));
    site.run(&["cancel", "x.jsonl"]).code(0);
    assert_eq!((site.names("failed"), solr.order().len()), (vec!["x.jsonl".into()], 1));
    site.run(&["retry", "x.jsonl"]).code(0);
    daemon.wait("the rest is delivered", |_| site.is_done("x.jsonl"));
    assert_eq!(solr.order(), ["a", "b"]);
    daemon.stop();
}

#[test]
fn a_delta_that_is_written_into_the_file_of_the_last_one_and_linked_is_delivered_once() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    let (outbox, incoming) = (site.path("outbox"), site.spool("incoming/x.jsonl"));
    for (n, text) in ["{\"id\":\"a\"}\n", "{\"id\":\"b\"}\n{\"id\":\"c\"}\n"].iter().enumerate() {
        std::fs::write(&outbox, text).unwrap();
        std::fs::hard_link(&outbox, &incoming).unwrap();
        settled(&daemon, n as u64 + 1);
    }
    wait_for("it is told", || {
        log(&site).contains("has grown after it was delivered, and has another name")
    });
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    settled(&daemon, 3);
    let mut order = solr.order();
    order.sort();
    assert_eq!(order, ["a", "b", "c", "z"]);
    assert_eq!(site.names("done"), ["x.jsonl", "x~2.jsonl", "z.jsonl"]);
    daemon.stop();
}

#[test]
fn what_is_appended_when_the_daemon_ends_is_told() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '10m'\nspool.poll = '200ms'");
    let daemon = Daemon::start(&site);
    let mut file = hand_over_open(&site, "x.jsonl", "{\"id\":\"a\"}\n");
    settled(&daemon, 1);
    file.write_all(b"{\"id\":\"b\"}\n").unwrap();
    wait_for("it is seen", || log(&site).contains("what is new is delivered when it stands still"));
    let waits = |s: &serde_json::Value| s["spool"]["incoming"]["oldest_age_s"].as_f64() > Some(0.1);
    daemon.wait("it is what waits for the longest", waits);
    daemon.stop();
    let words = "what a delta has grown by after it was delivered is not delivered: hand that over, delta: x";
    assert_eq!(log(&site).matches(words).count(), 1, "{}", log(&site));
}

/// Does something to a delta while its lines wait for Solr; what its name has become.
fn meanwhile(change: impl FnOnce(&Site, &File)) -> (Site, Delta, String) {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 2);
    solr.turn(Mode::Stall);
    let before = solr.requests();
    let delta = Delta::offers(0..1_000, 1);
    let file = hand_over_open(&site, "x.jsonl", &delta.text);
    wait_for("both shares are under way", || solr.requests() >= before + 2);
    change(&site, &file);
    solr.turn(Mode::Up);
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    settled(&daemon, 2);
    assert!(solr.docs().contains_key("z"), "the next one is delivered");
    daemon.wait("the failed one is told", |s| s["spool"]["failed"] == 1);
    site.check_updater(&[]).code(1).says("1 delta failed");
    daemon.stop();
    let log = log(&site);
    (site, delta, log)
}

#[test]
fn a_delta_that_is_cut_short_while_it_is_delivered_fails_and_says_so() {
    let (site, delta, log) = meanwhile(|_, file| file.set_len(1_000).unwrap());
    assert_eq!(site.names("failed"), ["x.jsonl"]);
    let words =
        format!("was cut short while it was delivered, from {} bytes to 1000", delta.text.len());
    assert!(log.contains(&words), "{log}");
}

#[test]
fn a_delta_in_whose_place_another_comes_while_it_is_delivered_fails_and_both_are_kept() {
    let (site, delta, log) = meanwhile(|site, _| {
        std::fs::write(site.path("new"), "{\"id\":\"new\"}\n").unwrap();
        std::fs::rename(site.path("new"), site.spool("active/x.jsonl")).unwrap();
    });
    assert_eq!(site.names("failed"), ["x.jsonl"]);
    let kept = std::fs::read_to_string(site.spool("failed/x.jsonl")).unwrap();
    assert_eq!((kept.as_str(), delta.lines), ("{\"id\":\"new\"}\n", 1_000));
    assert!(log.contains("x.jsonl was replaced by another file while it was delivered"), "{log}");
}
