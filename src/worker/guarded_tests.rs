//! What may be carried out once only, brought to a Solr that does not always say what it has done.

use super::*;
use crate::batch::tests::doc_that;
use crate::intents::Intents;
use convert::Repeat;
use serde_json::json;
use tempfile::TempDir;

/// A batch of such documents, and where it is written down what they are for.
struct Guarded {
    batch: Batch,
    dir: TempDir,
}

fn guarded(lines: &[(&str, &str)]) -> Guarded {
    let dir = tempfile::tempdir().unwrap();
    let mut batch = Batch::default();
    for (n, (id, more)) in lines.iter().enumerate() {
        let line = format!(r#"{{"id":"{id}",{more}}}"#);
        let repeat = match more.contains("_version_") {
            true => Repeat::Versioned(0),
            false => Repeat::Counts,
        };
        assert!(batch.push((n as u64, 0), line.as_bytes(), &doc_that(id, repeat), 0));
    }
    batch.intents = Some(Arc::new(Intents::open(&dir.path().join("intents"), 0, || ()).unwrap()));
    Guarded { batch, dir }
}

const COUNT: &str = r#""n":{"inc":1}"#;

fn counting() -> Guarded {
    guarded(&[("a", COUNT), ("b", COUNT), ("c", COUNT)])
}

fn counts(solr: &FakeSolr) -> Vec<i64> {
    solr.docs().values().map(|doc| doc["n"].as_i64().unwrap()).collect()
}

/// Somebody else's update.
fn another_writes(solr: &FakeSolr, body: &str) {
    let wire = Wire::new(&config(&[&solr.url]).solr, &Default::default());
    let url = format!("{}/offers/update", solr.url);
    assert_eq!(wire.post(&url, body.as_bytes()).unwrap().status, 200);
}

#[test]
fn what_was_carried_out_without_an_answer_is_not_carried_out_again() {
    for routing in ["leader", "any"] {
        let solr = FakeSolr::start();
        let mut office = match routing {
            "leader" => office_of_leader(&solr),
            _ => office(&config(&[&solr.url])),
        };
        another_writes(&solr, r#"[{"id":"a","n":1},{"id":"b","n":1},{"id":"c","n":1}]"#);
        for round in 2..6 {
            let mut all = counting();
            solr.play([Play::CloseAfter, Play::CloseAfter, Play::Lost, Play::CloseAfter]);
            office.deliver(&mut all.batch);
            assert_eq!(outcomes(&all.batch), ['+', '+', '+'], "{routing}");
            assert_eq!(counts(&solr), [round; 3], "{routing}");
        }
    }
}

#[test]
fn what_is_not_there_yet_is_made_once() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut all = counting();
    solr.play([Play::CloseAfter]);
    office.deliver(&mut all.batch);
    assert_eq!((outcomes(&all.batch), counts(&solr)), (vec!['+', '+', '+'], vec![1; 3]));
}

#[test]
fn the_bad_among_them_is_found_and_the_others_are_carried_out_once() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut all = guarded(&[("a", COUNT), ("b", r#""bad":1,"n":{"inc":1}"#), ("c", COUNT)]);
    solr.play([Play::CloseAfter]);
    office.deliver(&mut all.batch);
    assert_eq!((outcomes(&all.batch), counts(&solr)), (vec!['+', '-', '+'], vec![1, 1]));
}

#[test]
fn another_write_in_between_is_counted_upon() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut all = counting();
    solr.play([Play::Hold]);
    std::thread::scope(|scope| {
        scope.spawn(|| office.deliver(&mut all.batch));
        solr.wait(|seen| !seen.requests.is_empty());
        another_writes(&solr, r#"[{"id":"b","n":5}]"#);
        solr.release();
    });
    assert_eq!((outcomes(&all.batch), counts(&solr)), (vec!['+', '+', '+'], vec![1, 6, 1]));
}

#[test]
fn a_version_of_its_own_is_solrs_to_judge_and_an_answer_that_was_lost_is_no_conflict() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut all = guarded(&[("a", r#""_version_":-1"#), ("b", r#""_version_":5"#)]);
    solr.play([Play::CloseAfter]);
    office.deliver(&mut all.batch);
    assert_eq!(outcomes(&all.batch), ['+', '-']);
    let Outcome::Rejected { status: 409, reason } = &all.batch.entries[1].outcome else { panic!() };
    assert_eq!(&**reason, "version conflict for b expected=5 actual=-1");
}

#[test]
fn nothing_is_sent_before_it_is_written_down() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut all = counting();
    let moved = all.dir.path().with_extension("away");
    std::fs::rename(all.dir.path(), &moved).unwrap();
    std::thread::scope(|scope| {
        let cell = office.cell;
        scope.spawn(|| office.deliver(&mut all.batch));
        while !cell.last_error().read().contains("cannot be written down") {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(solr.requests(), 0);
        std::fs::rename(&moved, all.dir.path()).unwrap();
    });
    assert_eq!((outcomes(&all.batch), counts(&solr)), (vec!['+', '+', '+'], vec![1; 3]));
}

#[test]
fn after_a_death_the_same_is_sent_and_solr_refuses_what_it_has() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut first = counting();
    office.deliver(&mut first.batch);
    // Whoever sent that died before it was told; a and b were carried out, c was not.
    another_writes(&solr, r#"{"delete":{"id":"c"}}"#);
    let mut again = counting();
    let found = Arc::new(Intents::open(&first.dir.path().join("intents"), 0, || ()).unwrap());
    for n in 0..3 {
        again.batch.guards[n].version = found.version(n as u64);
        again.batch.entries[n].doubtful = true;
    }
    again.batch.intents = Some(found);
    office.deliver(&mut again.batch);
    assert_eq!((outcomes(&again.batch), counts(&solr)), (vec!['+', '+', '+'], vec![1; 3]));
    assert_eq!(solr.docs()["c"], json!({"id": "c", "n": 1}));
}

/// The same lines once more, as whoever finds what was written down of them.
fn found_again(first: &Guarded) -> Guarded {
    let mut again = counting();
    let path = first.dir.path().join("intents");
    let found = Arc::new(Intents::open(&path, 0, || ()).unwrap());
    for n in 0..3 {
        again.batch.guards[n].version = found.version(n as u64);
        again.batch.entries[n].doubtful = again.batch.guards[n].version.is_some();
    }
    again.batch.intents = Some(found);
    again
}

#[test]
fn after_a_death_what_was_carried_out_is_looked_up_and_not_sent() {
    for routing in ["leader", "any"] {
        let solr = FakeSolr::start();
        let mut office = match routing {
            "leader" => office_of_leader(&solr),
            _ => office(&config(&[&solr.url])),
        };
        let mut first = counting();
        office.deliver(&mut first.batch);
        another_writes(&solr, r#"{"delete":{"id":"b"}}"#);
        let mut again = found_again(&first);
        let (requests, looked_up) = (solr.requests(), solr.looked_up());
        office.deliver(&mut again.batch);
        assert_eq!((outcomes(&again.batch), counts(&solr)), (vec!['+', '+', '+'], vec![1; 3]));
        let new = (solr.requests() - requests, solr.looked_up() - looked_up);
        assert_eq!(new, (1, 1), "{routing}: only b is sent");
    }
}

#[test]
fn what_another_was_quicker_at_was_not_carried_out_whoever_asks_later() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut first = counting();
    solr.play([Play::Hold]);
    std::thread::scope(|scope| {
        scope.spawn(|| office.deliver(&mut first.batch));
        solr.wait(|seen| !seen.requests.is_empty());
        another_writes(&solr, r#"[{"id":"b","n":5}]"#);
        solr.release();
    });
    let written = std::fs::read_to_string(first.dir.path().join("intents")).unwrap();
    let of_b: Vec<&str> = written.lines().filter(|line| line.starts_with("[1")).collect();
    assert_eq!(of_b[..2], [r#"[1,-1,"b"]"#, "[1]"], "{written}");
    assert_eq!(of_b.len(), 3);
}

#[test]
fn what_was_written_down_and_not_sent_is_sent_by_whoever_comes_next() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut first = counting();
    // Turned away at the door, and the worker is to leave before the next try.
    let busy = Play::Answer(429, "application/json", "{}".into());
    solr.play([busy.clone(), busy.clone(), busy]);
    std::thread::scope(|scope| {
        let queue = Arc::clone(&office.poster.queue);
        scope.spawn(|| office.deliver(&mut first.batch));
        solr.wait(|seen| !seen.requests.is_empty());
        queue.halt();
    });
    assert_eq!(outcomes(&first.batch), ['?', '?', '?']);
    let again = found_again(&first);
    assert!(again.batch.entries.iter().all(|entry| !entry.doubtful));
    // Another's write is no sign that it was carried out.
    let mut office = office_of_leader(&solr);
    solr.play_no_more();
    let mut again = again;
    another_writes(&solr, r#"[{"id":"a","n":7}]"#);
    office.deliver(&mut again.batch);
    assert_eq!((outcomes(&again.batch), counts(&solr)), (vec!['+', '+', '+'], vec![8, 1, 1]));
}
