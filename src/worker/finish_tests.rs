use super::*;
use crate::convert::Converter;
use crate::fake_solr::{FakeSolr, config, no_log};
use scoreboard::Board;
use std::time::Instant;

fn shop(dir: &std::path::Path, config: config::Config) -> Shop {
    let spool = spool::Spool::at(dir);
    spool.prepare().unwrap();
    let board = Board::new().unwrap();
    let (cell, log) = (board.worker(1, 0), no_log());
    Shop { converter: Converter::new(&config), config, spool, board, cell, log }
}

fn run(finish: &mut Finish, shop: &Shop, posts: &mut Posts) -> Sums {
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(10));
        while let Some(answer) = posts.answer() {
            if let crate::post::Answer::Commit(true) = answer {
                finish.committed();
            }
        }
        match finish.turn(shop, posts, sys::clock::now_ms()) {
            FinishTurn::Done(sums) => return sums,
            _ => std::thread::yield_now(),
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
    let mut posts = Posts::start(&shop.config, None, shop.cell, &shop.log).unwrap();
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n{}\n{}\n").unwrap();
    let found = shop.spool.open_delta("x.jsonl".as_ref()).unwrap().metadata().unwrap();
    for share in 0..2 {
        let counts = Counts { lines: 5, docs: 3 + share, rejected: 2, ..Counts::default() };
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
        assert_eq!(sums, Sums { lines: 10, docs: 7, rejected: 4, ..Sums::default() });
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
    let mut posts = Posts::start(&shop.config, None, shop.cell, &shop.log).unwrap();
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n").unwrap();
    std::fs::write(shop.spool.rejects(7, 1), "{\"line\":2}\n{\"li").unwrap();
    let order = orders::Finish { claim: 7, of: 3, name: "x.jsonl".into(), failed: true };
    assert_eq!(run(&mut Finish::new(order, &shop), &shop, &mut posts), Sums::default());
    let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref())).unwrap();
    assert_eq!(merged, "{\"line\":2}\n");
    assert!(solr.lock().requests.is_empty());
}
