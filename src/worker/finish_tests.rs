use super::*;
use crate::testing::{config, no_log};
use convert::Converter;
use fake_solr::FakeSolr;
use scoreboard::Board;
use std::time::Instant;

const ORIGIN: Origin = Origin { claim: 7, lowest: 0, highest: 0 };

fn shop(dir: &std::path::Path, config: config::Config) -> Shop {
    let spool = spool::Spool::at(dir);
    spool.prepare().unwrap();
    let board = Board::new().unwrap();
    let (cell, log) = (board.worker(1, 0), no_log());
    Shop {
        exec: None,
        converter: Converter::new(&config).unwrap(),
        config,
        spool,
        board,
        cell,
        log,
    }
}

fn order(of: u32, failed: bool) -> orders::Finish {
    let (key, kind, guarded, begin, passed) = Default::default();
    let name = "x.jsonl".into();
    orders::Finish { claim: 7, of, key, kind, guarded, begin, name, failed, passed }
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
    let found =
        shop.spool.open_claimed(Kind::Delta, "x.jsonl".as_ref()).unwrap().metadata().unwrap();
    for share in 0..2 {
        let bytes_read = if share == 0 { 6 } else { 3 };
        let counts =
            Counts { lines: 5, docs: 3 + share, rejected: 2, bytes_read, ..Counts::default() };
        let records: String =
            (0..2).map(|n| format!("{{\"line\":{}}}\n", 2 * n + share + 1)).collect();
        std::fs::write(shop.spool.rejects(7, share as u32), records.clone() + "{\"line\":99}\n")
            .unwrap();
        let rejects = records.len() as u64;
        let mark = Checkpoint { line: 10, offset: 9, rejects, counts, ..Checkpoint::default() };
        let identity = Identity::of(7, share as u32, 2, &found);
        mark.save(&shop.spool.checkpoint(7, share as u32), &identity).unwrap();
    }
    for round in 1..=2 {
        let order = order(2, false);
        let sums = run(&mut Finish::new(order, &shop), &shop, &mut posts);
        assert_eq!(
            sums,
            FinishTurn::Done {
                sums: Sums { lines: 10, docs: 7, rejected: 4, ..Sums::default() },
                origins: vec![ORIGIN]
            }
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
    let order = order(3, true);
    let end = run(&mut Finish::new(order, &shop), &shop, &mut posts);
    assert_eq!(end, FinishTurn::Done { sums: Sums::default(), origins: vec![ORIGIN] });
    let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref())).unwrap();
    assert_eq!(merged, "{\"line\":2}\n");
    assert!(solr.lock().requests.is_empty());
}

#[test]
fn rejects_that_are_there_and_cannot_be_read_are_waited_for_and_not_lost() {
    let record = "{\"line\":2,\"claim\":3,\"raw\":\"x\"}\n";
    for kind in [Kind::Rejects, Kind::Rest] {
        let dir = tempfile::tempdir().unwrap();
        let shop = shop(dir.path(), config(&["http://localhost:9/solr"]));
        let (board, log) = (shop.board.turns(1, 0), &shop.log);
        let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
        // (A link is not followed: as good as a file of which the permission is missing, which is
        // no hindrance to root.)
        let (name, elsewhere) = (std::ffi::OsStr::new("x.jsonl"), dir.path().join("elsewhere"));
        std::fs::write(&elsewhere, record).unwrap();
        let path = match kind {
            Kind::Rejects => shop.spool.active().join(".retry~x.jsonl"),
            _ => shop.spool.rejected_file(name),
        };
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let order = orders::Finish { kind, ..order(1, true) };
        let mut finish = Finish::new(order, &shop);
        for _ in 0..200 {
            let turn = finish.turn(&shop, &mut posts, sys::clock::now_ms());
            assert!(matches!(turn, FinishTurn::Again | FinishTurn::Wait(_)), "{turn:?}");
            std::thread::yield_now();
        }
        std::fs::rename(&elsewhere, &path).unwrap();
        assert!(matches!(run(&mut finish, &shop, &mut posts), FinishTurn::Done { .. }));
        let there = std::fs::read_to_string(shop.spool.rejected_file(name)).unwrap();
        assert_eq!(there, record, "{kind:?}");
    }
}

/// A delta of two lines, all of it read by one share that has rejected the second.
fn all_in(shop: &Shop) -> orders::Finish {
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n{}\n").unwrap();
    let found =
        shop.spool.open_claimed(Kind::Delta, "x.jsonl".as_ref()).unwrap().metadata().unwrap();
    let record = "{\"line\":2}\n";
    std::fs::write(shop.spool.rejects(7, 0), record).unwrap();
    let counts = Counts { lines: 2, docs: 1, rejected: 1, bytes_read: 6, ..Counts::default() };
    let rejects = record.len() as u64;
    let mark = Checkpoint { line: 2, offset: 6, rejects, counts, ..Checkpoint::default() };
    mark.save(&shop.spool.checkpoint(7, 0), &Identity::of(7, 0, 1, &found)).unwrap();
    order(1, false)
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
    let found =
        shop.spool.open_claimed(Kind::Delta, "x.jsonl".as_ref()).unwrap().metadata().unwrap();
    let (path, identity) = (shop.spool.checkpoint(7, 0), Identity::of(7, 0, 1, &found));
    assert_eq!(Checkpoint::load(&path, &identity).unwrap(), None, "it begins anew");
    assert_eq!(counts_at(&path).unwrap().unwrap().lines, 2, "but counts once");
    assert_eq!(std::fs::read_dir(shop.spool.rejected()).unwrap().count(), 0);
}

#[test]
fn a_delta_that_a_later_one_has_passed_is_settled_as_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let (board, log) = (shop.board.turns(1, 0), &shop.log);
    let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
    let order = orders::Finish { passed: vec![0], ..all_in(&shop) };
    let path = shop.spool.active().join("x.jsonl");
    std::fs::write(&path, "{}\n{}\n{}\n").unwrap();
    let end = run(&mut Finish::new(order, &shop), &shop, &mut posts);
    assert!(matches!(end, FinishTurn::Done { sums, .. } if sums.lines == 2), "{end:?}");
}

#[test]
fn the_rest_of_a_share_that_was_passed_is_as_old_as_its_end_and_of_another_as_the_failure() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let (board, log) = (shop.board.turns(1, 0), &shop.log);
    let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
    let order = orders::Finish { of: 3, failed: true, passed: vec![0, 2], ..all_in(&shop) };
    let path = shop.spool.checkpoint(7, 0);
    let of = Identity { of: 3, ..Checkpoint::found(&path).unwrap().unwrap().0 };
    let mark = Checkpoint { line: 2, offset: 6, version: 55, ..Checkpoint::default() };
    mark.save(&path, &of).unwrap();
    let begun = Checkpoint { version: 44, ..Checkpoint::default() };
    begun.save(&shop.spool.checkpoint(7, 1), &Identity { share: 1, ..of }).unwrap();
    // The third one's checkpoint is gone: nobody knows what is newer than its lines.
    run(&mut Finish::new(order, &shop), &shop, &mut posts);
    let progress = Progress::load(&shop.spool.progress(7)).unwrap().unwrap();
    let as_of = [0, 1, 2].map(|share| progress.as_of(share));
    assert_eq!((as_of[0], as_of[2]), (55, NOTHING));
    assert!(as_of[1] == progress.as_of && as_of[1] > 55, "{progress:?}");
}

#[test]
fn of_a_delta_that_grew_before_it_was_given_up_is_known_how_far_it_was_and_of_no_other() {
    for (text, known) in [
        (Some("{}\n{}\n"), true),
        (Some("{}\n{}\n{}\n"), true),
        (Some("{}\n{}\n{"), true),
        (Some("{}\n{}"), false), // cut
        (None, false),           // another
    ] {
        let dir = tempfile::tempdir().unwrap();
        let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
        let (board, log) = (shop.board.turns(1, 0), &shop.log);
        let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
        let order = orders::Finish { failed: true, ..all_in(&shop) };
        let path = shop.spool.active().join("x.jsonl");
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => {
                std::fs::copy(&path, path.with_extension("new")).unwrap();
                std::fs::rename(path.with_extension("new"), &path).unwrap();
            }
        }
        // What was known before it was retried is not believed either.
        let stale = Progress { inode: found(&shop).ino(), ..Progress::default() };
        stale.save(&shop.spool.progress(7)).unwrap();
        assert!(matches!(
            run(&mut Finish::new(order, &shop), &shop, &mut posts),
            FinishTurn::Done { .. }
        ));
        let progress = Progress::load(&shop.spool.progress(7)).unwrap();
        let stands = progress.map(|p| (p.shares[0].line, p.shares[0].offset, p.shares[0].bytes));
        assert_eq!(stands, known.then_some((2, 6, 6)), "{text:?}");
        let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref()));
        assert_eq!(merged.unwrap(), "{\"line\":2}\n", "it stays rejected");
    }
}

#[test]
fn what_a_delta_has_sent_is_known_though_it_was_to_be_read_anew_when_it_was_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let (board, log) = (shop.board.turns(1, 0), &shop.log);
    let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
    let order = all_in(&shop);
    Intents::open(&shop.spool.intents(7, 0), 0, || ()).unwrap().write(&[(0, 5, "a")]).unwrap();
    let finish = Finish::new(order, &shop);
    finish.begin_anew(&shop).unwrap();
    let order = orders::Finish { failed: true, ..finish.order };
    run(&mut Finish::new(order, &shop), &shop, &mut posts);
    let progress = Progress::load(&shop.spool.progress(7)).unwrap().unwrap();
    assert_eq!(
        (progress.shares[0].line, &progress.shares[0].sent),
        (0, &vec![(0, 5, "a".to_owned())])
    );
}

#[test]
fn a_delta_that_goes_on_growing_is_given_up_and_never_settled() {
    for (even, kind) in [(true, Kind::Delta), (true, Kind::Rest), (false, Kind::Delta)] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&["http://localhost:1/solr"]);
        config.spool.settle = Duration::from_secs(2);
        let shop = shop(dir.path(), config);
        let (board, log) = (shop.board.turns(1, 0), &shop.log);
        let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
        let order = orders::Finish { of: 2, kind, ..all_in(&shop) };
        let path = shop.spool.active().join("x.jsonl");
        let text = "{}\n{}\n{}\n";
        std::fs::write(&path, text).unwrap();
        let size = if even { 6 } else { 9 };
        let mark = Checkpoint { line: size / 3, offset: size, ..Checkpoint::default() };
        for share in if even { 0..2 } else { 1..2 } {
            let of = Identity { size, ..Identity::of(7, share, 2, &found(&shop)) };
            mark.save(&shop.spool.checkpoint(7, share), &of).unwrap();
        }
        let mut finish = Finish::new(order, &shop);
        let mut lines = 3;
        let end = loop {
            let now = lines * 1_000; // a line each second
            lines += 1;
            std::fs::write(&path, "{}\n".repeat(lines as usize)).unwrap();
            let end = loop {
                match finish.turn(&shop, &mut posts, now) {
                    FinishTurn::Again => {}
                    end => break end,
                }
            };
            if !matches!(end, FinishTurn::Wait(_)) {
                break end;
            }
            assert!(lines < 1_000, "for ever");
        };
        assert!(spoiled(end).contains("goes on growing: have its writer close it"));
        assert_eq!(lines, 3 + PATIENCE * 2 + 1);
    }
}

/// The delta as it is.
fn found(shop: &Shop) -> Metadata {
    shop.spool.look_at_claimed(Kind::Delta, "x.jsonl".as_ref()).unwrap()
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
    assert_eq!(end, FinishTurn::Done { sums, origins: vec![ORIGIN] });
    let merged = std::fs::read_to_string(shop.spool.rejected_file("x.jsonl".as_ref())).unwrap();
    assert_eq!(merged, "{\"line\":2}\n");
}

#[test]
fn a_delta_whose_folder_is_away_is_waited_for_and_not_taken_for_removed() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let (board, log) = (shop.board.turns(1, 0), &shop.log);
    let mut posts = Posts::start(&shop.config, &Default::default(), board, None, log).unwrap();
    for failed in [false, true] {
        let order = orders::Finish { failed, ..all_in(&shop) };
        let (active, away) = (shop.spool.active(), dir.path().join("away"));
        std::fs::rename(&active, &away).unwrap();
        let mut finish = Finish::new(order, &shop);
        let mut now = 1_000;
        while finish.held().is_none() {
            let turn = finish.turn(&shop, &mut posts, now);
            assert!(matches!(turn, FinishTurn::Again), "{turn:?}");
            now += 1;
        }
        std::fs::rename(&away, &active).unwrap();
        assert!(matches!(run(&mut finish, &shop, &mut posts), FinishTurn::Done { .. }));
        assert!(!finish.was_told);
        let progress = Progress::load(&shop.spool.progress(7)).unwrap();
        assert_eq!(progress.map(|p| p.shares[0].line), failed.then_some(2));
    }
}

/// What the finisher says of the delta of [`all_in`], after this has happened to it.
fn after(change: impl FnOnce(&std::path::Path)) -> (FinishTurn, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let mut posts =
        Posts::start(&shop.config, &Default::default(), shop.board.turns(1, 0), None, &shop.log)
            .unwrap();
    let order = all_in(&shop);
    change(&shop.spool.active().join("x.jsonl"));
    let end = run(&mut Finish::new(order, &shop), &shop, &mut posts);
    let rejected = std::fs::read_dir(shop.spool.rejected()).unwrap();
    (end, rejected.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
}

fn spoiled(end: FinishTurn) -> String {
    match end {
        FinishTurn::Spoiled(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delta_in_whose_place_another_stands_is_given_up_whatever_its_size() {
    for text in ["{}\n{}\n", "{}\n", "{}\n{}\n{}\n"] {
        let (end, rejected) = after(|path| {
            std::fs::write(path.with_extension("new"), text).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        });
        let reason = spoiled(end);
        assert!(reason.starts_with("x.jsonl was replaced by another file"), "{reason}");
        assert!(reason.contains("hand it over again (lines that count"), "{reason}");
        assert!(rejected.is_empty(), "it is not settled: {rejected:?}");
    }
    let (end, _) = after(|path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    });
    assert!(spoiled(end).contains("replaced by something that is no file"));
}

#[test]
fn a_delta_that_is_cut_after_all_of_it_was_read_is_delivered() {
    let (end, rejected) = after(|path| {
        std::fs::File::options().write(true).open(path).unwrap().set_len(3).unwrap();
    });
    assert!(matches!(end, FinishTurn::Done { sums: Sums { lines: 2, .. }, .. }), "{end:?}");
    assert_eq!(rejected, ["x.jsonl.rejected.jsonl"]);
}

#[test]
fn a_delta_of_which_one_share_has_read_less_than_another_is_given_up_if_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(dir.path(), config(&["http://localhost:1/solr"]));
    let mut posts =
        Posts::start(&shop.config, &Default::default(), shop.board.turns(1, 0), None, &shop.log)
            .unwrap();
    let order = orders::Finish { of: 2, ..all_in(&shop) };
    let path = shop.spool.active().join("x.jsonl");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
    let found = shop.spool.look_at_claimed(Kind::Delta, "x.jsonl".as_ref()).unwrap();
    let save = |claim, share, size, mark: Checkpoint| {
        let identity = Identity { size, ..Identity::of(claim, share, 2, &found) };
        mark.save(&shop.spool.checkpoint(claim, share), &identity).unwrap();
    };
    save(7, 0, 6, Checkpoint { line: 2, offset: 6, ..Checkpoint::default() });
    save(7, 1, 3, Checkpoint { line: 1, offset: 3, ..Checkpoint::default() });
    let end = run(&mut Finish::new(order, &shop), &shop, &mut posts);
    assert!(spoiled(end).contains("cut short, from 6 bytes to 3, while"));
}
