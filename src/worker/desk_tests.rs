//! A whole worker but for the fork: a desk on a thread, a spool, a Solr of a test's size, and the
//! test in the parent's place.

use super::*;
use crate::testing::{config, no_log};
use convert::Converter;
use fake_solr::{FakeSolr, Play, nobody};
use scoreboard::{Board, Tally, WorkerCell};
use spool::{Checkpoint, Spool};
use std::ffi::OsString;
use std::thread::JoinHandle;
use std::time::Instant;

struct Office {
    dir: tempfile::TempDir,
    spool: Spool,
    board: Board,
    config: config::Config,
}

struct Worker {
    pipe: Option<OwnedFd>,
    thread: JoinHandle<i32>,
    cell: WorkerCell,
}

impl Office {
    fn new(config: config::Config) -> Office {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let board = Board::new().unwrap();
        board.parent().set_slots_most(4);
        Office { dir, spool, board, config }
    }

    fn delta(&self, name: &str, text: impl AsRef<[u8]>) -> OsString {
        std::fs::write(self.spool.active().join(name), text).unwrap();
        name.into()
    }

    fn hire(&self, slot: usize) -> Worker {
        let (pipe, theirs) = sys::socket::pair().unwrap();
        let cell = self.board.worker(1, slot);
        cell.take_over();
        let shop = Shop {
            converter: Converter::new(&self.config).unwrap(),
            exec: None,
            config: self.config.clone(),
            spool: self.spool.clone(),
            board: self.board,
            cell,
            log: no_log(),
        };
        let turns = self.board.turns(1, slot);
        let posts =
            Posts::start(&self.config, &Default::default(), turns, None, &shop.log).unwrap();
        let signals = Signals::watch(&[sys::Signal::Hangup]).unwrap(); // which never comes
        let thread = std::thread::spawn(|| Desk::new(shop, theirs, signals, posts).run());
        let worker = Worker { pipe: Some(pipe), thread, cell };
        assert_eq!(worker.report(), Report::Ready);
        worker
    }

    fn rejected(&self, name: &str) -> Vec<serde_json::Value> {
        let path = self.spool.rejected_file(name.as_ref());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

impl Worker {
    fn order(&self, order: Order) {
        let pipe = self.pipe.as_ref().unwrap().as_fd();
        assert_eq!(send_message(pipe, &order.encode()), Sent::Done);
    }

    fn deal(&self, share: u32, of: u32, name: &str) {
        self.deal_from(share, of, name, (0, 0));
    }

    fn deal_from(&self, share: u32, of: u32, name: &str, (line, offset): (u64, u64)) {
        let begin = spool::Begin { line, offset };
        self.order(Order::Deal(orders::Share { claim: 7, share, of, begin, ..blank(name) }));
    }

    fn finish(&self, of: u32, name: &str, failed: bool) -> orders::Sums {
        let order = orders::Finish { of, failed, ..blank_finish(name) };
        self.order(Order::Finish(order));
        match self.report() {
            Report::Finished { claim: 7, sums, .. } => sums,
            other => panic!("{other:?}"),
        }
    }

    fn report(&self) -> Report {
        let pipe = self.pipe.as_ref().unwrap().as_fd();
        let begin = Instant::now();
        loop {
            match receive_message(pipe) {
                Received::Message(bytes) => return Report::decode(&bytes).unwrap(),
                Received::Closed => panic!("the worker is gone"),
                Received::Nothing => {
                    assert!(begin.elapsed() < Duration::from_secs(20), "no report");
                    poll(&[(pipe, Interest::Read)], Some(Duration::from_millis(100))).unwrap();
                }
            }
        }
    }

    fn done(&self, share: u32) {
        assert_eq!(self.report(), Report::ShareDone { claim: 7, share, bounded: false });
    }

    /// The parent closes the pipe.
    fn dismiss(mut self) -> i32 {
        self.pipe = None;
        self.thread.join().unwrap()
    }
}

/// All of this delta.
fn blank(name: &str) -> orders::Share {
    let (key, poison, kind, guarded, begin, end, version) = Default::default();
    let name = name.into();
    orders::Share {
        claim: 7,
        share: 0,
        of: 1,
        key,
        poison,
        kind,
        guarded,
        begin,
        end,
        version,
        name,
    }
}

fn blank_finish(name: &str) -> orders::Finish {
    let (key, kind, guarded, begin, failed, passed) = Default::default();
    orders::Finish { claim: 7, of: 1, key, kind, guarded, begin, name: name.into(), failed, passed }
}

fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(|i| line(i) + "\n").collect()
}

#[test]
fn a_delta_goes_all_the_way_and_the_bad_lines_are_told() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.docs = 10;
    config.spool.max_line = 100;
    let office = Office::new(config);
    let mut text = lines(1000, |i| match i % 100 {
        17 => format!(r#"{{"id":"d{i}","bad":1}}"#),
        18 => format!(r#"{{"id":"d{i}""#),
        19 => String::new(),
        20 => format!(r#"{{"delete":{{"id":"gone{i}"}}}}"#),
        21 => format!(r#"{{"id":"d{i}","long":"{}"}}"#, "x".repeat(100)),
        22 => r#"{"id":["d"]}"#.into(),
        _ => format!(r#"{{"id":"d{i}"}}"#),
    });
    text.push_str(r#"{"id":"last""#);
    office.delta("x.jsonl", &text);
    let workers: Vec<Worker> = (0..3).map(|slot| office.hire(slot)).collect();
    (0..3).for_each(|share| workers[share as usize].deal(share, 3, "x.jsonl"));
    (0..3).for_each(|share| workers[share as usize].done(share));
    let sums = workers[1].finish(3, "x.jsonl", false);
    let expected = orders::Sums {
        lines: 1001,
        docs: 940,
        deletes: 10,
        skipped: 10,
        rejected: 41,
        superseded: 0,
    };
    assert_eq!(sums, expected);
    assert_eq!(solr.ids().len(), 940);
    let totals = office.board.totals();
    assert_eq!((totals.lines, totals.docs, totals.rejected), (1001, 940, 41));
    assert_eq!(totals.bytes_read, text.len() as u64);

    let rejected = office.rejected("x.jsonl");
    let all: Vec<&str> = text.split('\n').collect();
    assert_eq!(rejected.len(), 41);
    for record in &rejected {
        let index = record["line"].as_u64().unwrap() as usize - 1;
        let expected = match index % 100 {
            _ if index == 1000 => ("parse", None),
            17 => ("solr", Some(400)),
            18 | 21 => ("parse", None),
            22 => ("convert", None),
            other => panic!("line {other}"),
        };
        assert_eq!((record["stage"].as_str().unwrap(), record["status"].as_u64()), expected);
        assert_eq!(record["delta"], "x.jsonl");
        let before: usize = all[..index].iter().map(|l| l.len() + 1).sum();
        assert_eq!(record["offset"].as_u64().unwrap() as usize, before);
        match index % 100 {
            21 => assert_eq!(
                (&record["length"], &record["raw"]),
                (&all[index].len().into(), &serde_json::Value::Null)
            ),
            _ => assert_eq!(record["raw"].as_str().unwrap(), all[index]),
        }
    }
    let numbers: Vec<u64> = rejected.iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted());
    workers.into_iter().for_each(|w| assert_eq!(w.dismiss(), 0));
}

#[test]
fn an_empty_delta_is_done_at_once() {
    let office = Office::new(config(&[&nobody()]));
    office.delta("x.jsonl", "");
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert_eq!(worker.finish(1, "x.jsonl", false), orders::Sums::default());
    assert!(!office.spool.rejected_file("x.jsonl".as_ref()).exists());
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn the_end_of_a_share_closes_its_batch_at_once() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.delay = Duration::from_secs(600);
    let office = Office::new(config);
    office.delta("x.jsonl", r#"{"id":"a"}"#);
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_batch_larger_than_the_window_does_not_wait_for_itself() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch = config::Batch {
        docs: 100_000,
        bytes: 1 << 30,
        delay: Duration::from_secs(600),
        in_flight: 1,
    };
    config.solr.timeout = Duration::from_secs(60); // the test's Solr takes its time for so many
    let office = Office::new(config);
    office.delta("x.jsonl", lines(70_000, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert_eq!(solr.lock().requests.len(), 2);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn blanks_around_short_commands_do_not_fill_the_memory() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.bytes = 10_000;
    config.batch.delay = Duration::from_secs(600);
    let office = Office::new(config);
    let blanks = " ".repeat(9_000);
    office.delta("x.jsonl", lines(50, |i| format!(r#"{blanks}{{"delete":{{"id":"d{i}"}}}}"#)));
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert_eq!(solr.lock().requests.len(), 10, "five lines are four times batch.bytes");
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn lines_that_become_nothing_do_not_hold_each_other_up() {
    let office = Office::new(config(&[&nobody()]));
    office.delta("x.jsonl", "\n".repeat(5 * 65_536));
    let worker = office.hire(0);
    let begin = Instant::now();
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(worker.cell.tally().counts.skipped, 5 * 65_536);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_delta_that_grows_while_it_is_delivered_is_delivered_whole_or_fails() {
    for (more, whole) in [("{\"id\":\"b\"}\n", true), ("", false)] {
        let solr = FakeSolr::start();
        let office = Office::new(config(&[&solr.url]));
        let text = if whole { "{\"id\":\"a\"}\n" } else { "{\"id\":\"a\"}" };
        let name = office.delta("x.jsonl", text);
        solr.play([Play::Silence(Duration::from_millis(300))]);
        let worker = office.hire(0);
        worker.deal(0, 1, "x.jsonl");
        solr.wait(|state| !state.requests.is_empty());
        office.delta("x.jsonl", format!("{text}{more}{}", if whole { "" } else { " \n" }));
        match (worker.report(), whole) {
            (Report::ShareDone { .. }, true) => {
                assert_eq!(solr.ids(), ["a", "b"]);
                assert_eq!(worker.finish(1, "x.jsonl", false).docs, 2, "it need not be read again");
            }
            (Report::ShareFailed { reason, .. }, false) => {
                assert!(
                    reason.contains("line 1 has grown") && reason.contains("by rename"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((worker.dismiss(), name.len()), (0, 7));
    }
}

#[test]
fn what_is_appended_when_a_share_is_in_is_delivered_and_every_reject_told_once() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.spool.settle = Duration::from_millis(50);
    let office = Office::new(config);
    let text = lines(900, |i| match i % 100 {
        17 | 18 => "no JSON".into(),
        _ => format!(r#"{{"id":"d{i}"}}"#),
    });
    // The half of a line, which is the last of share 0 and for now no JSON, is among the first.
    let before = text.match_indices('\n').nth(799).unwrap().0 + 4;
    office.delta("x.jsonl", &text[..before]);
    let worker = office.hire(0);
    worker.deal(0, 2, "x.jsonl");
    worker.done(0);
    office.delta("x.jsonl", &text);
    worker.deal(1, 2, "x.jsonl");
    worker.done(1);
    let order = orders::Finish { of: 2, ..blank_finish("x.jsonl") };
    worker.order(Order::Finish(order));
    assert_eq!(worker.report(), Report::Grown { claim: 7 });
    for share in 0..2 {
        worker.deal(share, 2, "x.jsonl");
        worker.done(share);
    }
    let sums = worker.finish(2, "x.jsonl", false);
    let expected = orders::Sums { lines: 900, docs: 882, rejected: 18, ..Default::default() };
    assert_eq!(sums, expected);
    assert_eq!(solr.ids().len(), 882);
    let numbers: Vec<u64> =
        office.rejected("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    let told: Vec<u64> = (0..900).filter(|i| matches!(i % 100, 17 | 18)).map(|i| i + 1).collect();
    assert_eq!(numbers, told);
    assert_eq!(office.board.totals().lines, 900);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn what_was_appended_after_the_end_is_read_from_there_and_nothing_before_it() {
    for (before, after, ids) in [
        ("{\"id\":\"a\"}\nno JSON\n", "{\"id\":\"c\"}\nnor this\n{\"id\":\"e\"}", &["c", "e"]),
        (
            "{\"id\":\"a\"}\n{\"id\":\"b\"}",
            "\r\n{\"id\":\"c\"}\nno JSON\n{\"id\":\"e\"}\n",
            &["c", "e"],
        ),
    ] {
        let solr = FakeSolr::start();
        let office = Office::new(config(&[&solr.url]));
        office.delta("x.jsonl", format!("{before}{after}"));
        let worker = office.hire(0);
        for share in 0..2 {
            worker.deal_from(share, 2, "x.jsonl", (2, before.len() as u64));
            worker.done(share);
        }
        let sums = worker.finish(2, "x.jsonl", false);
        assert_eq!((sums.lines, sums.docs), (3, 2));
        let (_, (mark, _)) = Checkpoint::found(&office.spool.checkpoint(7, 0)).unwrap().unwrap();
        let end = (before.len() + after.len()) as u64;
        assert_eq!((mark.line, mark.offset), (5, end), "and a next rest would begin there");
        let mut sent = solr.ids();
        sent.sort();
        assert_eq!(sent, ids);
        let told: Vec<_> = office.rejected("x.jsonl").iter().map(|r| r["line"].clone()).collect();
        assert_eq!(told, [4]);
        assert_eq!(worker.dismiss(), 0);
    }
}

#[test]
fn what_was_appended_to_a_line_that_was_taken_for_whole_is_given_up() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    office.delta("x.jsonl", "{\"id\":\"a\",\"n\":1}\n{\"id\":\"c\"}\n");
    let worker = office.hire(0);
    worker.deal_from(0, 1, "x.jsonl", (1, 9));
    match worker.report() {
        Report::ShareFailed { claim: 7, share: 0, reason } => {
            assert!(reason.contains("line 1 has grown: hand that line over anew"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((solr.ids().len(), worker.dismiss()), (0, 0));
}

#[test]
fn what_is_left_of_a_late_claim_is_divided_as_it_was_though_the_line_before_it_was_unfinished() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    let before = "{\"id\":\"a\"}\n{\"id\":\"b\"}";
    let after = "\n{\"id\":\"c\"}\n{\"id\":\"d\"}\n{\"id\":\"e\"}\n";
    office.delta("x.jsonl", format!("{before}{after}"));
    let worker = office.hire(0);
    // One share was begun, and another not, when it was given up.
    let begin = spool::Begin { line: 2, offset: before.len() as u64 };
    worker.deal_from(0, 2, "x.jsonl", (begin.line, begin.offset));
    worker.done(0);
    let order = orders::Finish { of: 2, begin, failed: true, ..blank_finish("x.jsonl") };
    worker.order(Order::Finish(order));
    assert!(matches!(worker.report(), Report::Finished { .. }));
    for share in 0..2 {
        let rest = orders::Share { share, of: 2, kind: spool::Kind::Rest, ..blank("x.jsonl") };
        worker.order(Order::Deal(rest));
        worker.done(share);
    }
    assert_eq!(solr.order(), ["c", "e", "d"]);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_delta_that_is_cut_short_while_it_is_read_is_given_up() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    office.delta("x.jsonl", lines(10, |i| format!(r#"{{"id":"d{i}"}}"#)));
    solr.play([Play::Silence(Duration::from_millis(300))]);
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    solr.wait(|state| !state.requests.is_empty());
    let file = std::fs::File::options().write(true).open(office.spool.active().join("x.jsonl"));
    file.unwrap().set_len(22).unwrap();
    match worker.report() {
        Report::ShareFailed { claim: 7, share: 0, reason } => {
            assert!(
                reason.contains("cut short") && reason.contains("from 120 bytes to 22"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_delta_that_is_cut_short_between_two_lines_ahead_of_the_reading_is_given_up_too() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.docs = 10;
    let office = Office::new(config);
    office.delta("x.jsonl", lines(40_000, |i| format!(r#"{{"id":"{i:05}"}}"#)));
    // It reads no further than there is room to post.
    solr.play([Play::Silence(Duration::from_millis(300))]);
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    solr.wait(|state| !state.requests.is_empty());
    let file = std::fs::File::options().write(true).open(office.spool.active().join("x.jsonl"));
    file.unwrap().set_len(15 * 30_000).unwrap();
    match worker.report() {
        Report::ShareFailed { claim: 7, share: 0, reason } => {
            assert!(reason.contains("from 600000 bytes to 450000"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((solr.ids().len(), worker.dismiss()), (30_000, 0));
}

#[test]
fn utf_16_fails_the_delta_and_a_byte_order_mark_does_not() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    office.delta("x.jsonl", "\u{feff}{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    let utf_16: Vec<u8> =
        "\u{feff}{\"id\":\"c\"}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    office.delta("y.jsonl", utf_16);
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert_eq!(worker.finish(1, "x.jsonl", false).docs, 2);
    worker.deal(0, 1, "y.jsonl");
    match worker.report() {
        Report::ShareFailed { reason, .. } => {
            assert!(reason.contains("cannot read y.jsonl: it is UTF-16"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((solr.ids(), worker.dismiss()), (vec!["a".into(), "b".into()], 0));
}

#[test]
fn a_worker_that_leaves_loses_nothing_and_the_next_goes_on_from_its_checkpoint() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.docs = 10;
    config.batch.in_flight = 3;
    let office = Office::new(config);
    let bad = |i: usize| i % 50 == 3;
    let text = lines(5000, |i| match bad(i) {
        true => format!(r#"{{"id":"d{i}","bad":1}}"#),
        false => format!(r#"{{"id":"d{i}"}}"#),
    });
    office.delta("x.jsonl", &text);
    let mut rounds = 0;
    loop {
        rounds += 1;
        let worker = office.hire(0);
        let before = solr.lock().requests.len();
        worker.deal(0, 1, "x.jsonl");
        if rounds > 4 {
            worker.done(0);
            let sums = worker.finish(1, "x.jsonl", false);
            assert_eq!((sums.lines, sums.docs, sums.rejected), (5000, 4900, 100));
            assert_eq!(worker.dismiss(), 0);
            break;
        }
        solr.wait(|state| state.requests.len() > before + 40);
        // The first batch may be the last to be answered: the mark waits for it.
        let cell = worker.cell;
        solr.wait(|_| cell.tally().counts.lines > 0);
        assert_eq!(worker.dismiss(), 0);
        let counts = Checkpoint::counts_at(&office.spool.checkpoint(7, 0)).unwrap().unwrap();
        assert!(counts.lines > 0 && counts.lines < 5000, "{counts:?}");
        assert_eq!(counts.lines, counts.docs + counts.rejected);
    }
    assert_eq!(solr.ids().len(), 4900);
    let numbers: Vec<u64> =
        office.rejected("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (0..5000).filter(|i| bad(*i)).map(|i| i as u64 + 1).collect();
    assert_eq!(numbers, expected);
    assert_eq!(office.board.totals().lines, 5000);
    // What the checkpoints counted was not sent again, beyond what was under way.
    let posted: usize = solr.lock().requests.iter().map(|r| r.1.matches("\"id\"").count()).sum();
    assert!(posted < 5000 * 2, "{posted}");
}

#[test]
fn the_mark_stays_before_what_solr_has_not_confirmed() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.docs = 10;
    config.batch.in_flight = 4;
    let office = Office::new(config);
    office.delta("x.jsonl", lines(200, |i| format!(r#"{{"id":"d{i}"}}"#)));
    // Whichever batch comes first is lost, again and again, while others go through.
    solr.play([Play::Silence(Duration::from_millis(1500))]);
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    solr.wait(|state| state.docs.len() >= 30);
    let tally: Tally = worker.cell.tally();
    let confirmed = solr.ids();
    for line in 0..tally.counts.lines {
        assert!(confirmed.contains(&format!("d{line}")), "line {line} was counted too early");
    }
    assert!(tally.counts.lines < 200);
    worker.done(0);
    assert_eq!(worker.cell.tally().counts.docs, 200);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn leaving_waits_for_no_backoff() {
    let mut config = config(&[&nobody()]);
    config.retry =
        config::Retry { first: Duration::from_secs(600), most: Duration::from_secs(600) };
    let office = Office::new(config);
    office.delta("x.jsonl", lines(10_000, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    let begin = Instant::now();
    while worker.cell.state() != WorkerState::BackingOff {
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", worker.cell.state());
        std::thread::sleep(Duration::from_millis(1));
    }
    let begin = Instant::now();
    assert_eq!(worker.dismiss(), 0);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn a_delta_that_is_given_up_ends_at_once_though_solr_is_away() {
    let mut config = config(&[&nobody()]);
    config.retry =
        config::Retry { first: Duration::from_secs(600), most: Duration::from_secs(600) };
    let office = Office::new(config);
    office.delta("x.jsonl", lines(10_000, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let worker = office.hire(0);
    worker.deal(0, 2, "x.jsonl");
    worker.deal(1, 2, "x.jsonl");
    let begin = Instant::now();
    while worker.cell.state() != WorkerState::BackingOff {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.order(Order::Abandon { claim: 7 });
    let mut given_up: Vec<u32> = (0..2)
        .map(|_| match worker.report() {
            Report::ShareFailed { claim: 7, share, reason } => {
                assert_eq!(reason, "the delta is given up");
                share
            }
            other => panic!("{other:?}"),
        })
        .collect();
    given_up.sort();
    assert_eq!(given_up, [0, 1]);
    assert_eq!(worker.finish(2, "x.jsonl", true), orders::Sums::default());
    // And it can work again.
    let solr = FakeSolr::start_at(&office.config.solr.urls[0]);
    office.delta("y.jsonl", lines(10, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let share = orders::Share { claim: 8, ..blank("y.jsonl") };
    worker.order(Order::Deal(share));
    assert_eq!(worker.report(), Report::ShareDone { claim: 8, share: 0, bounded: false });
    assert_eq!(solr.ids().len(), 10);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn too_many_rejects_stop_the_delta() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.batch.docs = 100;
    let office = Office::new(config);
    office.delta(
        "x.jsonl",
        lines(100_000, |i| match i % 5 {
            0 => "nonsense".to_string(),
            _ => format!(r#"{{"id":"d{i}"}}"#),
        }),
    );
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    match worker.report() {
        Report::ShareFailed { claim: 7, share: 0, reason } => {
            assert!(
                reason.ends_with("lines rejected, more than max_rejects = \"10%\""),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    let sums = worker.finish(1, "x.jsonl", true);
    assert!(sums.lines >= 1000 && sums.lines < 20_000, "{sums:?}");
    assert_eq!(office.rejected("x.jsonl").len() as u64, sums.rejected);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_delta_that_cannot_be_read_fails_with_its_reason() {
    let office = Office::new(config(&[&nobody()]));
    std::os::unix::fs::symlink("/etc/passwd", office.spool.active().join("link.jsonl")).unwrap();
    let worker = office.hire(0);
    for name in ["gone.jsonl", "link.jsonl"] {
        worker.deal(0, 1, name);
        match worker.report() {
            Report::ShareFailed { reason, .. } => {
                assert!(reason.starts_with(&format!("cannot read {name}: ")), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn solr_away_rejects_nothing_and_delivers_all_when_it_is_back() {
    let office = Office::new(config(&[&nobody()]));
    office.delta("x.jsonl", lines(3000, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    let begin = Instant::now();
    while worker.cell.trouble() != scoreboard::Trouble::Passing {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
    let solr = FakeSolr::start_at(&office.config.solr.urls[0]);
    worker.done(0);
    assert_eq!(solr.ids().len(), 3000);
    assert_eq!(worker.finish(1, "x.jsonl", false).rejected, 0);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn checkpoints_that_cannot_be_written_hold_the_share_and_lose_nothing() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    office.delta("x.jsonl", lines(100, |i| format!(r#"{{"id":"d{i}"}}"#)));
    // Something stands in the place of the checkpoint: writing it fails.
    let path = office.spool.checkpoint(7, 0);
    let beside = path.with_extension("tmp");
    std::fs::create_dir(&beside).unwrap();
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    solr.wait(|state| state.docs.len() == 100);
    std::thread::sleep(Duration::from_millis(100));
    let pipe = worker.pipe.as_ref().unwrap().as_fd();
    assert_eq!(receive_message(pipe), Received::Nothing, "done without a checkpoint");
    std::fs::remove_dir(&beside).unwrap();
    worker.done(0);
    assert!(path.exists());
    assert_eq!(worker.dismiss(), 0);
    drop(office.dir);
}

#[test]
fn a_message_that_does_not_read_ends_the_worker() {
    let office = Office::new(config(&[&nobody()]));
    let worker = office.hire(0);
    let pipe = worker.pipe.as_ref().unwrap().as_fd();
    assert_eq!(send_message(pipe, b"what?"), Sent::Done);
    assert_eq!(worker.thread.join().unwrap(), 1);
}

#[test]
fn an_idle_worker_does_not_wake() {
    let office = Office::new(config(&[&nobody()]));
    let worker = office.hire(0);
    std::thread::sleep(Duration::from_millis(50));
    let beat = worker.cell.heartbeat();
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(worker.cell.heartbeat(), beat);
    assert_eq!(worker.cell.state(), WorkerState::Idle);
    assert_eq!(worker.dismiss(), 0);
}

/// A delta of which a line is given up, and carried out when a later one of its document is done: what is
/// made of it when it is looked at. `meanwhile` something happens to the file.
fn given_up(name: &str, meanwhile: impl FnOnce(&std::fs::File)) -> (FakeSolr, Office, Worker) {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    (config.batch.docs, config.batch.in_flight) = (1, 1);
    config.solr.timeout = Duration::from_millis(300);
    let office = Office::new(config);
    let lines = [r#"{"id":"x","v":1}"#, r#"{"id":"x","v":2}"#, r#"{"id":"y","v":1}"#];
    let text = lines.join("\n").into_bytes();
    office.delta(
        name,
        match spool::Packing::of(name.as_ref()) {
            spool::Packing::None => text,
            spool::Packing::Gzip => crate::unpack::testing::gzip(&text),
            spool::Packing::Zstd => crate::unpack::testing::zstd(&text),
        },
    );
    // x is given up and sent again, then its second line; meanwhile y takes its time.
    let silence = Play::Silence(Duration::from_secs(1));
    let plays = [Play::Hold, Play::Well, Play::Well];
    solr.play(plays.into_iter().chain(std::iter::repeat_n(silence, 8)));
    let worker = office.hire(0);
    worker.deal(0, 1, name);
    let x = |seen: &fake_solr::Seen<'_>| seen.docs.get("x").map(|doc| doc["v"].clone());
    solr.wait(|seen| x(seen) == Some(2.into()));
    meanwhile(
        &std::fs::File::options().write(true).open(office.spool.active().join(name)).unwrap(),
    );
    solr.release();
    solr.wait(|seen| x(seen) == Some(1.into()));
    (solr, office, worker)
}

#[test]
fn what_was_given_up_and_comes_late_does_not_stay() {
    for name in ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"] {
        let (solr, _office, worker) = given_up(name, |_| {});
        worker.done(0);
        assert_eq!(solr.docs()["x"]["v"], 2, "what came late is overwritten");
        let sums = worker.finish(1, name, false);
        assert_eq!((sums.lines, sums.docs, sums.rejected), (3, 3, 0), "each line counts once");
        assert_eq!(worker.dismiss(), 0);
    }
}

#[test]
fn a_compressed_delta_that_is_cut_before_it_is_looked_at_again_fails_and_is_not_waited_for() {
    let (_solr, _office, worker) = given_up("x.jsonl.gz", |file| file.set_len(12).unwrap());
    match worker.report() {
        Report::ShareFailed { reason, .. } => {
            assert!(reason.contains("x.jsonl.gz cannot be read once more: it ends in"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_doubt_outlives_the_worker_that_had_it() {
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    (config.batch.docs, config.batch.in_flight) = (1, 1);
    config.solr.timeout = Duration::from_millis(300);
    let office = Office::new(config);
    let lines = [r#"{"id":"x","v":1}"#, r#"{"id":"x","v":2}"#, r#"{"id":"y","v":1}"#];
    office.delta("x.jsonl", lines.join("\n"));
    // x is given up and sent again, then its second line, which is confirmed; y is not.
    let silence = Play::Silence(Duration::from_secs(1));
    let plays = [Play::Hold, Play::Well, Play::Well];
    solr.play(plays.into_iter().chain(std::iter::repeat_n(silence, 100)));
    let first = office.hire(0);
    first.deal(0, 1, "x.jsonl");
    let x = |seen: &fake_solr::Seen<'_>| seen.docs.get("x").map(|doc| doc["v"].clone());
    solr.wait(|seen| x(seen) == Some(2.into()) && seen.requests.len() > 4);
    assert_eq!(first.dismiss(), 0);
    let mark = Checkpoint::counts_at(&office.spool.checkpoint(7, 0)).unwrap().unwrap();
    assert_eq!(mark.docs, 2, "both lines of x are behind the mark");
    // Only now the first request is carried out.
    solr.release();
    solr.wait(|seen| x(seen) == Some(1.into()));
    solr.play_no_more();
    let second = office.hire(0);
    second.deal(0, 1, "x.jsonl");
    second.done(0);
    assert_eq!(solr.docs()["x"]["v"], 2, "what came late is overwritten");
    assert!(!office.spool.doubts(7, 0).exists());
    assert_eq!(second.dismiss(), 0);
}

#[test]
fn what_a_dead_worker_may_have_sent_is_doubted_though_its_delta_has_grown() {
    for quiet in [false, true] {
        let solr = FakeSolr::start();
        let office = Office::new(config(&[&solr.url]));
        office.delta("x.jsonl", lines(100, |i| format!(r#"{{"id":"d{i}"}}"#)));
        let found = office.spool.look_at_claimed(Default::default(), "x.jsonl".as_ref()).unwrap();
        let of = spool::Identity::of(7, 0, 1, &found);
        let counts = scoreboard::Counts { lines: 10, docs: 10, ..Default::default() };
        let mark = Checkpoint { line: 10, offset: 110, counts, quiet, ..Checkpoint::default() };
        let path = office.spool.checkpoint(7, 0);
        mark.save(&path, &spool::Identity { size: of.size - 1, ..of }).unwrap();
        let worker = office.hire(0);
        worker.deal(0, 1, "x.jsonl");
        worker.done(0);
        assert_eq!((solr.ids().len(), solr.looked_up() > 0), (100, !quiet));
        assert_eq!(office.board.totals().lines, 90, "ten were counted by then");
        assert_eq!(worker.dismiss(), 0);
    }
}

#[test]
fn what_nobody_doubts_is_not_looked_at() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    office.delta("x.jsonl", lines(100, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let worker = office.hire(0);
    worker.deal(0, 1, "x.jsonl");
    worker.done(0);
    assert_eq!(solr.looked_up(), 0);
    assert_eq!(worker.dismiss(), 0);
}

#[test]
fn a_line_that_ends_whoever_converts_it_is_rejected_unread() {
    let solr = FakeSolr::start();
    let office = Office::new(config(&[&solr.url]));
    office.delta("x.jsonl", lines(10, |i| format!(r#"{{"id":"d{i}"}}"#)));
    let worker = office.hire(0);
    worker.order(Order::Deal(orders::Share { poison: vec![3, 8], ..blank("x.jsonl") }));
    worker.done(0);
    let sums = worker.finish(1, "x.jsonl", false);
    assert_eq!((sums.lines, sums.docs, sums.rejected), (10, 8, 2));
    let rejected = office.rejected("x.jsonl");
    let told: Vec<_> = rejected.iter().map(|r| (&r["line"], &r["raw"])).collect();
    assert_eq!(
        told,
        [(&4.into(), &r#"{"id":"d3"}"#.into()), (&9.into(), &r#"{"id":"d8"}"#.into())]
    );
    assert_eq!(worker.cell.hand(), 0);
    assert_eq!(worker.dismiss(), 0);
}
