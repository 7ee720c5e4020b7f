use super::*;
use crate::convert::Converter;
use crate::testing::{config, no_log};
use fake_solr::FakeSolr;
use scoreboard::Board;
use std::time::Instant;

fn shop(dir: &std::path::Path, config: config::Config) -> Shop {
    let spool = spool::Spool::at(dir);
    spool.prepare().unwrap();
    let board = Board::new().unwrap();
    let (cell, log) = (board.worker(1, 0), no_log());
    Shop { converter: Converter::new(&config), config, spool, board, cell, log }
}

fn run(finish: &mut Finish, shop: &Shop, posts: &mut Posts) -> FinishTurn {
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(10));
        while let Some(answer) = posts.answer() {
            if let crate::post::Answer::Commit(true) = answer {
                finish.committed();
            }
        }
        match finish.turn(shop, posts, sys::clock::now_ms()) {
            FinishTurn::Again | FinishTurn::Wait(_) => std::thread::yield_now(),
            end => return end,
        }
    }
}

#[test]
fn finishing_commits_adds_up_and_merges_and_may_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.solr.commit = config::Commit::Delta;
    let shop = shop(dir.path(), config);
    let mut posts =
        Posts::start(&shop.config, &Default::default(), shop.board.turns(1, 0), None, &shop.log)
            .unwrap();
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n{}\n{}\n").unwrap();
    let found = shop.spool.open_delta("x.jsonl".as_ref()).unwrap().metadata().unwrap();
    for share in 0..2 {
        let bytes_read = if share == 0 { 6 } else { 3 };
        let counts =
            Counts { lines: 5, docs: 3 + share, rejected: 2, bytes_read, ..Counts::default() };
        let records: String =
            (0..2).map(|n| format!("{{\"line\":{}}}\n", 2 * n + share + 1)).collect();
        std::fs::write(shop.spool.rejects(7, share as u32), records.clone() + "{\"line\":99}\n")
            .unwrap();
        let mark = Checkpoint { rejects: records.len() as u64, counts, ..Checkpoint::default() };
        let identity = Identity::of(7, share as u32, 2, &found);
        mark.save(&shop.spool.checkpoint(7, share as u32), &identity).unwrap();
    }
    for round in 1..=2 {
        let order = orders::Finish { claim: 7, of: 2, name: "x.jsonl".into(), failed: false };
        let sums = run(&mut Finish::new(order, &shop), &shop, &mut posts);
        assert_eq!(
            sums,
            FinishTurn::Done(Sums { lines: 10, docs: 7, rejected: 4, ..Sums::default() })
        );
        let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref())).unwrap();
        assert_eq!(merged, "{\"line\":1}\n{\"line\":2}\n{\"line\":3}\n{\"line\":4}\n");
        assert_eq!(solr.lock().requests.len(), round);
        assert!(solr.lock().requests[0].0.contains("commit=true"));
    }
}

#[test]
fn a_failed_delta_is_not_committed_and_keeps_the_rejects_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.solr.commit = config::Commit::Delta;
    let shop = shop(dir.path(), config);
    let mut posts =
        Posts::start(&shop.config, &Default::default(), shop.board.turns(1, 0), None, &shop.log)
            .unwrap();
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n").unwrap();
    std::fs::write(shop.spool.rejects(7, 1), "{\"line\":2}\n{\"li").unwrap();
    let order = orders::Finish { claim: 7, of: 3, name: "x.jsonl".into(), failed: true };
    let end = run(&mut Finish::new(order, &shop), &shop, &mut posts);
    assert_eq!(end, FinishTurn::Done(Sums::default()));
    let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref())).unwrap();
    assert_eq!(merged, "{\"line\":2}\n");
    assert!(solr.lock().requests.is_empty());
}

/// A delta of two lines, all of it read by one share that has rejected the second.
fn all_in(shop: &Shop) -> orders::Finish {
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n{}\n").unwrap();
    let found = shop.spool.open_delta("x.jsonl".as_ref()).unwrap().metadata().unwrap();
    let record = "{\"line\":2}\n";
    std::fs::write(shop.spool.rejects(7, 0), record).unwrap();
    let counts = Counts { lines: 2, docs: 1, rejected: 1, bytes_read: 6, ..Counts::default() };
    let rejects = record.len() as u64;
    let mark = Checkpoint { line: 2, offset: 6, rejects, counts, quiet: false };
    mark.save(&shop.spool.checkpoint(7, 0), &Identity::of(7, 0, 1, &found)).unwrap();
    orders::Finish { claim: 7, of: 1, name: "x.jsonl".into(), failed: false }
}

#[test]
fn a_delta_with_more_in_it_than_was_read_is_read_again_when_it_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&["http://localhost:1/solr"]);
    config.spool.settle = Duration::from_secs(2);
    let shop = shop(dir.path(), config);
    let mut posts =
        Posts::start(&shop.config, &Default::default(), shop.board.turns(1, 0), None, &shop.log)
            .unwrap();
    let mut finish = Finish::new(all_in(&shop), &shop);
    let path = shop.spool.active().join("x.jsonl");
    let mut turn = |now| loop {
        match finish.turn(&shop, &mut posts, now) {
            FinishTurn::Again => {}
            end => return end,
        }
    };
    std::fs::write(&path, "{}\n{}\n{}\n").unwrap();
    let wait = |ms| FinishTurn::Wait(Duration::from_millis(ms));
    assert_eq!(turn(1_000), wait(2_000));
    assert_eq!(turn(2_000), wait(1_000));
    std::fs::write(&path, "{}\n{}\n{}\n{}\n").unwrap();
    assert_eq!(turn(2_500), wait(2_000));
    assert_eq!(turn(4_499), wait(1));
    assert_eq!(turn(4_500), FinishTurn::Grown);
    let found = shop.spool.open_delta("x.jsonl".as_ref()).unwrap().metadata().unwrap();
    let (path, identity) = (shop.spool.checkpoint(7, 0), Identity::of(7, 0, 1, &found));
    assert_eq!(Checkpoint::load(&path, &identity).unwrap(), None, "it begins anew");
    assert_eq!(counts_at(&path).unwrap().unwrap().lines, 2, "but counts once");
    assert_eq!(std::fs::read_dir(shop.spool.rejected()).unwrap().count(), 0);
}

#[test]
fn a_delta_that_was_taken_away_is_finished_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let mut posts =
        Posts::start(&shop.config, &Default::default(), shop.board.turns(1, 0), None, &shop.log)
            .unwrap();
    let order = all_in(&shop);
    std::fs::remove_file(shop.spool.active().join("x.jsonl")).unwrap();
    let end = run(&mut Finish::new(order, &shop), &shop, &mut posts);
    let sums = Sums { lines: 2, docs: 1, rejected: 1, ..Sums::default() };
    assert_eq!(end, FinishTurn::Done(sums));
    let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref())).unwrap();
    assert_eq!(merged, "{\"line\":2}\n");
}
