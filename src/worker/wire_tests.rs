use super::*;
use crate::testing::config;
use fake_solr::{FakeSolr, Play, nobody};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

fn wire(change: impl FnOnce(&mut config::Config)) -> Wire {
    let mut config = config(&["http://localhost:1/solr"]);
    change(&mut config);
    Wire::new(&config.solr, &Credentials::default())
}

fn post(wire: &Wire, url: &str) -> Result<Reply, String> {
    wire.post(&format!("{url}/offers/update?versions=true"), b"[]").map_err(|wait| wait.reason)
}

#[test]
fn answers_come_whole_over_one_connection() {
    let solr = FakeSolr::start();
    let wire = wire(|_| {});
    for status in [200, 400, 503, 200] {
        solr.play([Play::Answer(status, "text/html; charset=x", "y".repeat(100_000))]);
        let reply = post(&wire, &solr.url).unwrap();
        assert_eq!((reply.status, reply.body.len()), (status, 100_000));
        assert_eq!(reply.content_type, "text/html; charset=x");
    }
    assert_eq!(solr.lock().connections, 1);
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let solr = FakeSolr::start();
    for status in [301, 302, 303, 307, 308] {
        solr.play([Play::Answer(status, "text/html", String::new())]);
        assert_eq!(post(&wire(|_| {}), &solr.url).unwrap().status, status);
    }
    assert_eq!(solr.lock().requests.len(), 5);
}

#[test]
fn what_goes_wrong_is_said_in_a_persons_words() {
    let wire = wire(|c| c.solr.timeout = Duration::from_millis(300));
    assert_eq!(post(&wire, &nobody()).unwrap_err(), "connection refused");
    let solr = FakeSolr::start();
    solr.play([Play::Silence(Duration::from_secs(3))]);
    let begin = Instant::now();
    assert_eq!(post(&wire, &solr.url).unwrap_err(), "no answer in time");
    assert!(begin.elapsed() < Duration::from_secs(2));
    let hangs_up = || {
        solr.play([Play::CloseAfter]);
        post(&wire, &solr.url).unwrap_err()
    };
    let hint = " (does it speak https? then solr.urls must say so)";
    assert_eq!(hangs_up(), format!("connection closed without an answer{hint}"));
    post(&wire, &solr.url).unwrap();
    assert_eq!(hangs_up(), "connection closed without an answer");
    let unknown = post(&wire, "http://host.invalid:8983/solr").unwrap_err();
    assert!(unknown.contains("lookup"), "{unknown}");
}

#[test]
fn an_answer_that_never_ends_is_cut() {
    let solr = FakeSolr::start();
    solr.play([Play::Answer(200, "application/json", "x".repeat(LONGEST_ANSWER as usize + 1))]);
    let reason = post(&wire(|_| {}), &solr.url).unwrap_err();
    assert!(reason.starts_with("the answer (HTTP 200) broke off"), "{reason}");
}

#[test]
fn the_credentials_travel_with_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "abc").unwrap();
    let solr = FakeSolr::start();
    let mut config = config(&[&solr.url]);
    config.solr.token_file = Some(path);
    let credentials = Credentials::read(&config.solr).unwrap();
    let wire = Wire::new(&config.solr, &credentials);
    post(&wire, &solr.url).unwrap();
    solr.play([Play::Answer(200, "application/json", "{}".into())]);
    wire.get(&solr.url, Duration::from_secs(9)).unwrap();
    let head = |n: usize| solr.lock().requests[n].0.to_ascii_lowercase();
    assert!(head(0).starts_with("post ") && head(1).starts_with("get "));
    for head in [head(0), head(1)] {
        assert!(head.contains("authorization: bearer abc\r\n"), "{head}");
    }
    assert!(head(0).contains("content-type: application/json\r\n"), "{}", head(0));
}

#[test]
fn names_are_kept_and_serve_on_when_the_look_up_fails() {
    let names = Names::default();
    let addresses = names.look_up("localhost:8983".into()).unwrap();
    assert!(!addresses.is_empty());
    let long_ago = Instant::now().checked_sub(NAMES_LAST * 2).unwrap();
    let mut known = names.known.lock().unwrap();
    known.insert("host.invalid:1".into(), (long_ago, addresses.clone()));
    drop(known);
    assert_eq!(names.look_up("host.invalid:1".into()).unwrap(), addresses);
    // A name server that fails slowly is not asked again for each post.
    assert!(names.known.lock().unwrap()["host.invalid:1"].0.elapsed() < NAMES_LAST);
    assert!(names.look_up("host.invalid:2".into()).is_err());
}

/// Runs in a process of its own, where no other test's threads come and go.
#[test]
fn ureq_starts_no_thread() {
    const ALONE: &str = "SOLR_UPDATER_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = std::thread::current().name().unwrap().to_owned();
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--test-threads=1"])
            .env(ALONE, "1")
            .env("HTTP_PROXY", "http://127.0.0.1:1") // which nobody may follow
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let solr = FakeSolr::start();
    let wire = wire(|_| {});
    let url = solr.url.replace("127.0.0.1", "localhost");
    post(&wire, &url).unwrap(); // the fake's thread for this connection
    let (most, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watcher = std::thread::spawn({
        let (most, over) = (Arc::clone(&most), Arc::clone(&over));
        move || {
            while !over.load(SeqCst) {
                most.fetch_max(sys::threads().unwrap(), SeqCst);
            }
        }
    });
    let before = sys::threads().unwrap();
    for _ in 0..500 {
        post(&wire, &url).unwrap();
    }
    // Nor does whoever reads what the system trusts; there may be nothing.
    let _ = Credentials::read(&config(&["https://localhost:1/solr"]).solr);
    over.store(true, SeqCst);
    watcher.join().unwrap();
    assert_eq!((most.load(SeqCst), before), (before, before));
}

#[test]
fn what_was_looked_up_is_known_when_it_is_posted() {
    let solr = FakeSolr::start();
    let wire = wire(|_| {});
    let url = solr.url.replace("127.0.0.1", "localhost");
    wire.look_up(&url).unwrap();
    let known = |wire: &Wire| wire.names.known.lock().unwrap().values().next().unwrap().0;
    let since = known(&wire);
    post(&wire, &url).unwrap();
    assert_eq!(known(&wire), since, "the post did not look it up again");
    assert!(wire.look_up("http://host.invalid:8983/solr").unwrap_err().reason.contains("lookup"));
}

#[test]
fn a_get_takes_no_longer_than_it_may_and_shares_the_connection() {
    let solr = FakeSolr::start();
    let wire = wire(|c| c.solr.timeout = Duration::from_secs(60));
    post(&wire, &solr.url).unwrap();
    let state = "{\"cluster\":".repeat(1_000_000); // 11 MB
    solr.play([Play::Answer(200, "application/json", state.clone())]);
    let reply = wire.get(&solr.url, Duration::from_secs(50)).unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, state.len()));
    assert_eq!(solr.lock().connections, 1);
    solr.play([Play::Silence(Duration::from_secs(20))]);
    let (begin, most) = (Instant::now(), Duration::from_millis(100));
    assert_eq!(wire.get(&solr.url, most).unwrap_err().reason, "no answer in time");
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn what_is_under_way_can_be_cut_and_the_next_request_goes_its_way() {
    let solr = FakeSolr::start();
    let wire = wire(|c| c.solr.timeout = Duration::from_secs(60));
    let breaker = wire.breaker();
    for _ in 0..3 {
        breaker.cut(); // nothing is under way
        post(&wire, &solr.url).unwrap();
        solr.play([Play::Silence(Duration::from_secs(40))]);
        let seen = solr.lock().requests.len();
        let cutter = std::thread::spawn({
            let (solr, breaker) = (solr.clone(), breaker.clone());
            move || {
                solr.wait(|state| state.requests.len() > seen);
                breaker.cut();
                breaker.cut();
            }
        });
        let begin = Instant::now();
        assert_eq!(post(&wire, &solr.url).unwrap_err(), GIVEN_UP);
        assert!(begin.elapsed() < Duration::from_secs(20), "it waited for the answer");
        cutter.join().unwrap();
        breaker.cut();
    }
    post(&wire, &solr.url).unwrap();
    // One for each request that was cut, and the one after the last.
    assert_eq!(solr.lock().connections, 4);
}

#[test]
fn cuts_and_requests_may_meet_anyhow() {
    // However the two meet, each request comes to an end, and each one ends as what it was.
    let solr = FakeSolr::start();
    let wire = wire(|c| c.solr.timeout = Duration::from_secs(60));
    let (breaker, over) = (wire.breaker(), Arc::new(AtomicBool::new(false)));
    let cutter = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            // Sooner and later, however busy the machine.
            for wait in (0..10).map(|n| Duration::from_micros(100 << n)).cycle() {
                if over.load(SeqCst) {
                    return;
                }
                breaker.cut();
                std::thread::sleep(wait);
            }
        }
    });
    let (mut answered, mut given_up) = (0, 0);
    while answered < 10 || given_up < 10 {
        match post(&wire, &solr.url) {
            Ok(reply) => {
                assert_eq!(reply.status, 200);
                answered += 1;
            }
            Err(reason) => {
                assert_eq!(reason, GIVEN_UP);
                given_up += 1;
            }
        }
    }
    over.store(true, SeqCst);
    cutter.join().unwrap();
    post(&wire, &solr.url).unwrap();
}

#[test]
fn a_connection_is_kept_for_each_of_many_hosts() {
    let nodes: Vec<FakeSolr> = (0..30).map(|_| FakeSolr::start()).collect();
    let wire = wire(|_| {});
    for _ in 0..3 {
        nodes.iter().for_each(|node| drop(post(&wire, &node.url).unwrap()));
    }
    assert!(nodes.iter().all(|node| node.lock().connections == 1));
}
