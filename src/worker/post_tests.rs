use super::*;
use crate::batch::Kind;
use convert::Converted;

use crate::lanes::{Lanes, Look};
use crate::testing::{config as config_of, no_log};
use cluster::{Cluster, Collection, Layout, Router, Shard};
use fake_solr::{FakeSolr, Play, nobody};
use scoreboard::{Board, Trouble, WorkerCell};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// One post thread's things, and a queue that it alone takes from.
struct Office {
    poster: Poster,
    answers: Receiver<Answer>,
    cell: WorkerCell,
}

/// Everything goes to any node.
fn config(urls: &[&str]) -> config::Config {
    let mut config = config_of(urls);
    config.solr.routing = config::Routing::Any;
    config
}

fn office(config: &config::Config) -> Office {
    let (sender, answers) = channel();
    let board = Board::new().unwrap();
    board.parent().set_slots_most(1);
    let turns = board.turns(1, 0);
    let cell = turns.cell();
    let lanes = Lanes::new(config, turns, sys::clock::now_ms(), &no_log());
    let poster = Poster {
        who: 0,
        queue: Arc::new(Queue::new(lanes, turns, UnixStream::pair().unwrap().0)),
        wire: Wire::new(&config.solr, &Default::default()),
        cell: cell.poster(0),
        min_rf: config.solr.min_rf,
        unique_key: config.solr.unique_key.clone(),
        highest: Highest::new(turns.board(), cell),
        answers: sender,
        buffer: Vec::new(),
        told: false,
        log: no_log(),
    };
    Office { poster, answers, cell }
}

/// The same, with one shard that this Solr leads.
fn office_of_leader(solr: &FakeSolr) -> Office {
    let office = office(&config_of(&[&solr.url]));
    let layout = Layout {
        collection: "offers".into(),
        router: Router::CompositeId { field: None },
        shards: vec![Shard { name: "shard1".into(), range: None }],
    };
    let cluster = Cluster {
        live: vec![solr.url.clone()],
        collection: Collection {
            name: "offers".into(),
            alias: false,
            layout,
            leaders: vec![Some(format!("{}/offers_shard1_replica_n1", solr.url))],
            replicas: Vec::new(),
            read_only: false,
            created: None,
        },
    };
    office.poster.queue.learn(Look::Seen(Arc::new(cluster)));
    office
}

impl Office {
    /// How often the leader has taken documents.
    fn adds(&mut self) -> u64 {
        let queue = Arc::clone(&self.poster.queue);
        let (layout, _) = queue.sight();
        let mut next = batch(1, &[]);
        (next.layout, next.lane) = (layout, 1);
        next.close();
        assert!(matches!(queue.push(next), Back::Kept));
        let Take::Batch(_, ticket) = queue.take(0) else { panic!() };
        let adds = queue.adds(&ticket);
        queue.release(&ticket, 0);
        adds
    }

    /// Brings a batch to Solr, however often it is put back.
    fn deliver(&mut self, batch: &mut Batch) {
        let queue = Arc::clone(&self.poster.queue);
        let mut sent = std::mem::take(batch);
        let (layout, cluster) = queue.sight();
        (sent.layout, sent.lane) = (layout, usize::from(cluster.is_some()));
        sent.close();
        assert!(matches!(queue.push(sent), Back::Kept));
        loop {
            let Take::Batch(taken, ticket) = queue.take(0) else { panic!() };
            if let Some(done) = self.poster.deliver(taken, &ticket) {
                *batch = done;
                return;
            }
        }
    }
}

/// Documents d0, d1, …; those that are named here are bad.
fn batch(n: usize, bad: &[usize]) -> Batch {
    let mut batch = Batch::default();
    for d in 0..n {
        let id = format!("d{d}");
        let more = if bad.contains(&d) { r#","bad":1"# } else { "" };
        let line = format!(r#"{{"id":"{id}"{more}}}"#);
        batch.push((d as u64, 0), line.as_bytes(), &crate::batch::tests::doc(&id), 0);
    }
    batch
}

fn outcomes(batch: &Batch) -> Vec<char> {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Open => '?',
        Outcome::Confirmed => '+',
        Outcome::Superseded => '=',
        Outcome::Rejected { .. } => '-',
    };
    batch.entries.iter().map(|e| letter(&e.outcome)).collect()
}

#[test]
fn a_document_at_fault_is_found_and_all_others_are_delivered() {
    for bad in [&[][..], &[0], &[9], &[4], &[3, 4], &[0, 5, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
        let solr = FakeSolr::start();
        let mut office = office(&config(&[&solr.url]));
        let mut batch = batch(10, bad);
        office.deliver(&mut batch);
        for (n, letter) in outcomes(&batch).into_iter().enumerate() {
            assert_eq!(letter, if bad.contains(&n) { '-' } else { '+' }, "{bad:?}");
        }
        assert_eq!(solr.ids().len(), 10 - bad.len());
        assert_eq!(office.poster.cell.posts(), solr.lock().requests.len() as u64);
        if let Some(first) = bad.first() {
            let Outcome::Rejected { status, reason } = &batch.entries[*first].outcome else {
                panic!("{batch:?}")
            };
            assert_eq!(
                (*status, &**reason),
                (400, &*format!("ERROR: [doc=d{first}] unknown field 'bad'"))
            );
        }
    }
}

#[test]
fn many_at_fault_cost_no_more_than_two_requests_each() {
    let solr = FakeSolr::start();
    let mut office = office(&config(&[&solr.url]));
    let bad: Vec<usize> = (0..64).step_by(2).collect();
    let mut batch = batch(64, &bad);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch).iter().filter(|o| **o == '-').count(), bad.len());
    assert!(solr.lock().requests.len() <= 2 * 64, "{}", solr.lock().requests.len());
}

#[test]
fn a_message_that_names_nobody_is_bisected() {
    // As `Document is missing mandatory uniqueKey field: id`, which does not say which.
    let solr = FakeSolr::start();
    let fault =
        Play::Answer(400, "application/json", r#"{"error":{"msg":"no id","code":400}}"#.into());
    let mut office = office(&config(&[&solr.url]));
    let mut batch = batch(4, &[]);
    // The whole, its first half, the first of that: at fault. Everything else is well.
    solr.play([fault.clone(), fault.clone(), fault]);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['-', '+', '+', '+']);
    assert_eq!(batch.entries[0].attempts, 3);
    assert_eq!(batch.entries[3].attempts, 2);
}

#[test]
fn a_body_too_large_is_sent_in_parts() {
    let solr = FakeSolr::start();
    let too_large = Play::Answer(413, "text/html", "<html>".into());
    let mut office = office(&config(&[&solr.url]));
    let mut batch = batch(4, &[]);
    solr.play([too_large.clone(), too_large.clone(), too_large]);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['-', '+', '+', '+']);
    assert!(matches!(batch.entries[0].outcome, Outcome::Rejected { status: 413, .. }));
}

#[test]
fn a_body_at_which_the_connection_breaks_is_sent_in_parts_too() {
    // A proxy that finds it too large says 413 and hangs up; the 413 is lost with the connection.
    let solr = FakeSolr::start();
    let mut office = office(&config(&[&solr.url]));
    let mut batch = Batch::default();
    for id in ["a", "b", "c", "d"] {
        let line = format!(r#"{{"id":"{id}","long":"{}"}}"#, "x".repeat(400_000));
        batch.push((0, 0), line.as_bytes(), &crate::batch::tests::doc(id), 0);
    }
    solr.lock().refuse_over = Some(900_000);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '+', '+']);
    assert_eq!(solr.ids().len(), 4);
}

#[test]
fn what_may_pass_is_waited_out_and_nothing_is_rejected() {
    let solr = FakeSolr::start();
    let html = |status| Play::Answer(status, "text/html", "<html>".into());
    let mut office = office(&config(&[&solr.url]));
    solr.play([
        Play::CloseAfter,
        Play::Lost,
        html(500),
        html(503),
        html(429),
        html(400),
        html(404),
        html(401),
        html(302),
        Play::Answer(200, "application/json", "{}".into()),
        Play::Answer(
            400,
            "application/json",
            r#"{"error":{"msg":"Cannot parse provided JSON: x"}}"#.into(),
        ),
    ]);
    let mut batch = batch(3, &[1]);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '-', '+']);
    assert_eq!(solr.ids(), ["d0", "d2"]);
    assert_eq!(office.poster.cell.retries(), 11);
    assert_eq!(office.cell.trouble(), Trouble::None);
    let last = office.cell.last_error().read();
    assert!(last.contains("Cannot parse provided JSON"), "{last}");
}

#[test]
fn another_seed_is_tried_before_anything_waits() {
    let solr = FakeSolr::start();
    let mut config = config(&[&nobody(), &nobody(), &solr.url]);
    config.retry = config::Retry { first: Duration::from_secs(60), most: Duration::from_secs(60) };
    let mut office = office(&config);
    let begin = Instant::now();
    let mut first = batch(2, &[]);
    office.deliver(&mut first);
    assert_eq!(outcomes(&first), ['+', '+']);
    assert!(begin.elapsed() < Duration::from_secs(6)); // a tenth of the first backoff
    let posts = office.poster.cell.posts();
    office.deliver(&mut batch(2, &[]));
    assert_eq!(office.poster.cell.posts(), posts + 1, "it stays with the seed that works");
}

#[test]
fn leaving_interrupts_a_backoff_at_once_and_sends_nothing_more() {
    let mut config = config(&[&nobody()]);
    config.retry =
        config::Retry { first: Duration::from_secs(600), most: Duration::from_secs(600) };
    let Office { poster, answers, cell } = office(&config);
    let queue = Arc::clone(&poster.queue);
    std::thread::spawn(move || poster.run());
    let mut sent = batch(2, &[]);
    sent.close();
    queue.push(sent);
    let begin = Instant::now();
    while !queue.is_backing_off() {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    assert!(cell.last_error().read().ends_with(": connection refused"));
    assert_eq!((cell.trouble(), cell.poster(0).request_since()), (Trouble::Passing, 0));
    queue.halt();
    let Ok(Answer::Batch(batch)) = answers.recv_timeout(Duration::from_secs(5)) else { panic!() };
    assert_eq!((outcomes(&batch), cell.poster(0).posts()), (vec!['?', '?'], 1));
    queue.push_plain(Errand::Commit);
    let answer = answers.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(answer, Answer::Commit(false)));
    assert_eq!(cell.poster(0).posts(), 1);
}

#[test]
fn a_halt_in_the_middle_of_a_search_keeps_what_is_known() {
    let solr = FakeSolr::start();
    let mut office = office(&config(&[&solr.url]));
    let mut batch = batch(4, &[]);
    let fault = Play::Answer(400, "application/json", r#"{"error":{"msg":"x","code":400}}"#.into());
    solr.play([fault, Play::Well, Play::Answer(503, "text/html", String::new())]);
    let queue = Arc::clone(&office.poster.queue);
    let watched = solr.clone();
    std::thread::spawn(move || {
        watched.wait(|state| state.requests.len() >= 3);
        queue.halt();
    });
    solr.lock().always = Some(Play::Answer(503, "text/html", String::new()));
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '?', '?']);
}

#[test]
fn a_thread_that_breaks_down_says_so() {
    let solr = FakeSolr::start();
    let Office { poster, answers, .. } = office(&config(&[&solr.url]));
    let queue = Arc::clone(&poster.queue);
    let mut torn = batch(1, &[]);
    torn.entries[0].kind = Kind::Delete; // whatever: what comes next is an index out of bounds
    torn.entries.extend((0..1).map(|_| batch(200, &[]).entries.pop().unwrap()));
    torn.close();
    torn.parts.insert(0, 0..1); // so that it is not the whole that is sent
    torn.parts[1] = 1..2;
    std::thread::spawn(move || poster.run());
    queue.push(torn);
    let answer = answers.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(answer, Answer::Broken));
}

#[test]
fn a_leaders_receipt_names_the_document_at_fault() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let bad = [0, 17, 18, 400, 998, 999];
    let mut batch = batch(1000, &bad);
    office.deliver(&mut batch);
    for (n, letter) in outcomes(&batch).into_iter().enumerate() {
        assert_eq!(letter, if bad.contains(&n) { '-' } else { '+' }, "{n}");
    }
    assert_eq!(solr.ids().len(), 994);
    assert!(solr.lock().requests.len() <= 7, "{}", solr.lock().requests.len());
    assert!(batch.entries.iter().all(|e| e.attempts <= 7));
}

#[test]
fn where_replicas_are_asked_for_a_refusal_confirms_nothing() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    office.poster.min_rf = 2;
    let mut batch = batch(4, &[2]);
    let rest = Play::Answer(
        200,
        "application/json",
        r#"{"responseHeader":{"rf":2,"status":0},"adds":["d0",1,"d1",2]}"#.into(),
    );
    let last = Play::Answer(
        200,
        "application/json",
        r#"{"responseHeader":{"rf":2,"status":0},"adds":["d3",1]}"#.into(),
    );
    // All; what is before the one that Solr names; that one; what is behind it.
    solr.play([Play::Well, rest, Play::Well, last]);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '-', '+']);
    assert_eq!(solr.lock().requests.len(), 4);
}

#[test]
fn a_leader_that_passes_documents_on_is_looked_at_and_then_believed() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let answer = r#"{"responseHeader":{"rf":1,"status":0},"adds":["d0",0]}"#;
    let forwarded = Play::Answer(200, "application/json", answer.into());
    solr.play([forwarded.clone(), forwarded]);
    let mut batch = batch(1, &[]);
    office.deliver(&mut batch);
    assert_eq!((outcomes(&batch), batch.entries[0].attempts), (vec!['+'], 2));
}

#[test]
fn a_document_at_which_solr_itself_fails_is_rejected_while_others_pass() {
    let mut batch = batch(4, &[]);
    batch.close();
    let node = crate::node::Forms::new(&config(&["http://a/solr"]).solr).leader("http://a/core");
    let failure = |applied| Verdict::Wait {
        wait: Wait::passing("HTTP 500: NullPointerException"),
        applied,
        suspect: true,
    };
    let mut others = 0;
    let mut steps = Vec::new();
    // Solr fails at d1 whenever it gets it.
    for _ in 0..100 {
        if batch.parts.is_empty() {
            assert!(batch.witness().is_some_and(|n| n != 1));
            others += 1; // the witness
            batch.parts.extend(batch.suspects.drain(..).rev().map(|n| n..n + 1));
        }
        let Some(part) = batch.parts.last().cloned() else { break };
        let verdict = match part.contains(&1) {
            true => failure(1usize.saturating_sub(part.start)),
            false => Verdict::Confirmed,
        };
        let step = batch.apply(verdict, part, &node, others);
        if step == Step::On {
            others += 1;
        }
        steps.push(step);
    }
    assert_eq!(outcomes(&batch), ['+', '-', '+', '+']);
    let Outcome::Rejected { status: 500, reason } = &batch.entries[1].outcome else { panic!() };
    assert_eq!(&**reason, "HTTP 500: NullPointerException (5 tries, while others passed)");
    assert!(steps.len() < 15, "{steps:?}");
}

#[test]
fn deletes_that_pass_are_no_witness_against_a_document() {
    let solr = FakeSolr::start();
    let mut office = office_of_leader(&solr);
    let mut delete = Batch::default();
    let gone = Converted::Delete { id: "d9".into(), route: None, body: br#"{"id":"d9"}"# };
    delete.push((0, 0), br#"{"delete":{"id":"d9"}}"#, &gone, 0);
    for (mut batch, adds) in [(delete, 0), (batch(1, &[]), 1)] {
        office.deliver(&mut batch);
        assert_eq!(outcomes(&batch), ['+']);
        assert_eq!(office.adds(), adds);
    }
}

#[test]
fn a_solr_that_fails_at_everything_makes_no_reject() {
    let mut batch = batch(8, &[]);
    batch.close();
    let node = crate::node::Forms::new(&config(&["http://a/solr"]).solr).leader("http://a/core");
    let mut steps = 0;
    for _ in 1..2000 {
        if batch.parts.is_empty() {
            batch.parts.extend(batch.suspects.drain(..).rev().map(|n| n..n + 1));
        }
        let Some(part) = batch.parts.last().cloned() else { break };
        let wait = Wait::passing("HTTP 500: No space left on device");
        let verdict = Verdict::Wait { wait, applied: 0, suspect: true };
        let step = batch.apply(verdict, part, &node, 0);
        assert!(matches!(step, Step::Wait(_) | Step::Later(_)), "it waits after each");
        steps += 1;
    }
    assert_eq!(steps, 1999);
    assert_eq!(outcomes(&batch), ['?'; 8]);
}

#[test]
fn deletes_and_adds_keep_their_order() {
    let solr = FakeSolr::start();
    let mut office = office(&config(&[&solr.url]));
    let mut batch = batch(1, &[]);
    let delete = |id: &'static str, body: &'static str| Converted::Delete {
        id: id.into(),
        route: None,
        body: body.as_bytes(),
    };
    batch.push((1, 0), b"x", &delete("d0", r#"{"id":"d0"}"#), 0);
    batch.push((2, 0), br#"{"id":"d1"}"#, &crate::batch::tests::doc("d1"), 0);
    office.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '+']);
    assert_eq!(solr.ids(), ["d1"]);
}

fn ids(names: &[&str]) -> Batch {
    let mut b = crate::batch::tests::batch(names);
    b.close();
    b
}

fn leader() -> Node {
    let config = config::Config::for_feed(vec!["http://a/solr".into()], "offers".into());
    crate::node::Forms::new(&config.unwrap().solr).leader("http://a/solr/core")
}

#[test]
fn rv10_a_refusal_takes_one_part_only() {
    let mut batch = ids(&["a", "b", "c", "d", "e", "f"]);
    batch.parts = vec![4..6, 2..4, 0..2];
    let fault = Verdict::AtFault { status: 400, message: "m".into(), applied: Some(0) };
    batch.apply(fault, 0..2, &leader(), 0);
    assert_eq!(batch.parts, [4..6, 2..4, 1..2]);
}

#[test]
fn rv11_the_witness_is_the_last_word_about_its_id() {
    let mut batch = ids(&["x", "y", "x", "bad"]);
    batch.settle(0..1, &Outcome::Confirmed);
    batch.settle(2..3, &Outcome::Confirmed);
    assert_eq!(batch.witness(), Some(2));
}

#[test]
fn rv12_no_later_line_of_an_id_overtakes_a_suspect() {
    let mut batch = ids(&["x", "y", "x"]);
    batch.parts = vec![1..3, 0..1];
    let wait = Verdict::Wait { wait: Wait::passing("500"), applied: 0, suspect: true };
    batch.apply(wait, 0..1, &leader(), 0);
    assert_eq!(batch.parts.last(), Some(&(0..1)), "{:?} {:?}", batch.parts, batch.suspects);
}

#[test]
fn rv13_suspects_keep_their_order() {
    let mut batch = ids(&["x", "x"]);
    batch.parts = vec![];
    batch.suspects = vec![0, 1];
    // as deliver does
    batch.parts.extend(batch.suspects.drain(..).rev().map(|n| n..n + 1));
    assert_eq!(batch.parts.last(), Some(&(0..1)));
}

#[test]
fn what_was_not_sent_has_not_failed() {
    let mut batch = batch(2, &[]);
    batch.parts = vec![1..2, 0..1];
    // Solr has taken all that it was sent, and failed afterwards.
    let wait = Verdict::Wait { wait: Wait::passing("500"), applied: 1, suspect: true };
    assert!(matches!(batch.apply(wait, 0..1, &leader(), 0), Step::Wait(_)));
    assert_eq!((outcomes(&batch), batch.parts.last()), (vec!['+', '?'], Some(&(1..2))));
    assert_eq!(batch.entries[1].failures, 0);
}

#[path = "guarded_tests.rs"]
mod guarded;
