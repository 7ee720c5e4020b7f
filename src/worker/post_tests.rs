use super::*;
use crate::batch::Kind;
use crate::convert::Converted;
use crate::fake_solr::{FakeSolr, Play, config, no_log, nobody};
use scoreboard::Board;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

fn poster(config: &config::Config) -> (Poster, Receiver<Answer>) {
    let (sender, answers) = channel();
    let poster = Poster {
        queue: Arc::default(),
        lane: Arc::new(Lane::new(&config.solr, no_log())),
        wire: Wire::new(&config.solr, None),
        cell: Board::new().unwrap().worker(1, 0).poster(0),
        backoff: Backoff::new(&config.retry),
        min_rf: config.solr.min_rf,
        answers: sender,
        wake: UnixStream::pair().unwrap().0,
        buffer: Vec::new(),
    };
    (poster, answers)
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
        Outcome::Rejected { .. } => '-',
    };
    batch.entries.iter().map(|e| letter(&e.outcome)).collect()
}

#[test]
fn a_document_at_fault_is_found_and_all_others_are_delivered() {
    for bad in [&[][..], &[0], &[9], &[4], &[3, 4], &[0, 5, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
        let solr = FakeSolr::start();
        let (mut poster, _answers) = poster(&config(&[&solr.url]));
        let mut batch = batch(10, bad);
        poster.deliver(&mut batch);
        for (n, letter) in outcomes(&batch).into_iter().enumerate() {
            assert_eq!(letter, if bad.contains(&n) { '-' } else { '+' }, "{bad:?}");
        }
        assert_eq!(solr.ids().len(), 10 - bad.len());
        assert_eq!(poster.cell.posts(), solr.lock().requests.len() as u64);
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
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
    let bad: Vec<usize> = (0..64).step_by(2).collect();
    let mut batch = batch(64, &bad);
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch).iter().filter(|o| **o == '-').count(), bad.len());
    assert!(solr.lock().requests.len() <= 2 * 64, "{}", solr.lock().requests.len());
}

#[test]
fn a_message_that_names_nobody_is_bisected() {
    // As `Document is missing mandatory uniqueKey field: id`, which does not say which.
    let solr = FakeSolr::start();
    let fault =
        Play::Answer(400, "application/json", r#"{"error":{"msg":"no id","code":400}}"#.into());
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
    let mut batch = batch(4, &[]);
    // The whole, its first half, the first of that: at fault. Everything else is well.
    solr.play([fault.clone(), fault.clone(), fault]);
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['-', '+', '+', '+']);
    assert_eq!(batch.entries[0].attempts, 3);
    assert_eq!(batch.entries[3].attempts, 2);
}

#[test]
fn a_body_too_large_is_sent_in_parts() {
    let solr = FakeSolr::start();
    let too_large = Play::Answer(413, "text/html", "<html>".into());
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
    let mut batch = batch(4, &[]);
    solr.play([too_large.clone(), too_large.clone(), too_large]);
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['-', '+', '+', '+']);
    assert!(matches!(batch.entries[0].outcome, Outcome::Rejected { status: 413, .. }));
}

#[test]
fn a_body_at_which_the_connection_breaks_is_sent_in_parts_too() {
    // A proxy that finds it too large says 413 and hangs up; the 413 is lost with the connection.
    let solr = FakeSolr::start();
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
    let mut batch = Batch::default();
    for id in ["a", "b", "c", "d"] {
        let line = format!(r#"{{"id":"{id}","long":"{}"}}"#, "x".repeat(400_000));
        batch.push((0, 0), line.as_bytes(), &crate::batch::tests::doc(id), 0);
    }
    solr.lock().refuse_over = Some(900_000);
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '+', '+']);
    assert_eq!(solr.ids().len(), 4);
}

#[test]
fn what_may_pass_is_waited_out_and_nothing_is_rejected() {
    let solr = FakeSolr::start();
    let html = |status| Play::Answer(status, "text/html", "<html>".into());
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
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
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '-', '+']);
    assert_eq!(solr.ids(), ["d0", "d2"]);
    assert_eq!(poster.cell.retries(), 11);
    assert_eq!(poster.cell.trouble(), Trouble::None);
    let last = poster.cell.last_error().read();
    assert!(last.contains("Cannot parse provided JSON"), "{last}");
}

#[test]
fn another_seed_is_tried_before_anything_waits() {
    let solr = FakeSolr::start();
    let mut config = config(&[&nobody(), &nobody(), &solr.url]);
    config.retry = config::Retry { first: Duration::from_secs(60), most: Duration::from_secs(60) };
    let (mut poster, _answers) = poster(&config);
    let begin = Instant::now();
    let mut first = batch(2, &[]);
    poster.deliver(&mut first);
    assert_eq!(outcomes(&first), ['+', '+']);
    assert!(begin.elapsed() < Duration::from_secs(6)); // a tenth of the first backoff
    let posts = poster.cell.posts();
    poster.deliver(&mut batch(2, &[]));
    assert_eq!(poster.cell.posts(), posts + 1, "it stays with the seed that works");
}

#[test]
fn leaving_interrupts_a_backoff_at_once_and_sends_nothing_more() {
    let mut config = config(&[&nobody()]);
    config.retry =
        config::Retry { first: Duration::from_secs(600), most: Duration::from_secs(600) };
    let (poster, answers) = poster(&config);
    let (queue, cell) = (Arc::clone(&poster.queue), poster.cell);
    std::thread::spawn(move || poster.run());
    queue.push(Job::Batch(batch(2, &[])));
    let begin = Instant::now();
    while cell.backing_off() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    assert!(cell.last_error().read().ends_with(": connection refused"));
    assert_eq!((cell.trouble(), cell.request_since()), (Trouble::Passing, 0));
    queue.halt();
    let Ok(Answer::Batch(batch)) = answers.recv_timeout(Duration::from_secs(5)) else { panic!() };
    assert_eq!((outcomes(&batch), cell.posts()), (vec!['?', '?'], 1));
    queue.push(Job::Commit);
    let answer = answers.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(answer, Answer::Commit(false)));
    assert_eq!(cell.posts(), 1);
}

#[test]
fn a_halt_in_the_middle_of_a_search_keeps_what_is_known() {
    let solr = FakeSolr::start();
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
    let mut batch = batch(4, &[]);
    let fault = Play::Answer(400, "application/json", r#"{"error":{"msg":"x","code":400}}"#.into());
    solr.play([fault, Play::Well, Play::Answer(503, "text/html", String::new())]);
    let queue = Arc::clone(&poster.queue);
    let watched = solr.clone();
    std::thread::spawn(move || {
        watched.wait(|state| state.requests.len() >= 3);
        queue.halt();
    });
    solr.lock().always = Some(Play::Answer(503, "text/html", String::new()));
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '?', '?']);
}

#[test]
fn a_thread_that_breaks_down_says_so() {
    let solr = FakeSolr::start();
    let (mut poster, answers) = poster(&config(&[&solr.url]));
    poster.cell = Board::new().unwrap().worker(1, 0).poster(0);
    let queue = Arc::clone(&poster.queue);
    let mut torn = batch(1, &[]);
    torn.entries[0].kind = Kind::Delete; // whatever: what comes next is an index out of bounds
    torn.entries.extend((0..1).map(|_| batch(200, &[]).entries.pop().unwrap()));
    std::thread::spawn(move || poster.run());
    queue.push(Job::Batch(torn));
    let answer = answers.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(answer, Answer::Broken));
}

#[test]
fn deletes_and_adds_keep_their_order() {
    let solr = FakeSolr::start();
    let (mut poster, _answers) = poster(&config(&[&solr.url]));
    let mut batch = batch(1, &[]);
    let delete = |id: &'static str, body: &'static str| Converted::Delete {
        id: id.into(),
        route: None,
        body: body.as_bytes(),
    };
    batch.push((1, 0), b"x", &delete("d0", r#"{"id":"d0"}"#), 0);
    batch.push((2, 0), br#"{"id":"d1"}"#, &crate::batch::tests::doc("d1"), 0);
    poster.deliver(&mut batch);
    assert_eq!(outcomes(&batch), ['+', '+', '+']);
    assert_eq!(solr.ids(), ["d1"]);
}
