//! The page's server: what is answered by HTTP, to whom, and what no client can do to it.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{
    Daemon, Delta, FakeSolr, PATIENCE, Reply, Site, ask, exchange, get, own_address, skipped,
    wait_for, wait_for_some,
};
use crate::metrics::parsed;

/// The configuration with a page at this address, and these changes.
fn configure(site: &Site, address: SocketAddr, changes: &str) {
    site.configure(&format!("monitor.http = '{address}'\n{changes}"));
}

/// A daemon with a page.
fn with_page(site: &Site, changes: &str) -> (Daemon, SocketAddr) {
    let address = own_address();
    configure(site, address, changes);
    (Daemon::start(site), address)
}

fn code(address: SocketAddr, path: &str) -> u16 {
    get(address, path).expect("an answer").code
}

/// What comes back for a head of these lines, and all that comes after it.
fn told(address: SocketAddr, lines: &str) -> String {
    exchange(address, format!("{}\r\n\r\n", lines.replace('\n', "\r\n")))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn every_path_is_answered_and_says_what_it_is() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    let mut delta = Delta::offers(0..1_500, 1);
    delta.line("no JSON");
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    for (path, kind, words) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/status", "application/json", "\"version\":1"),
        ("/history", "application/json", "\"x.jsonl\""),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
        ("/healthz", "text/plain; charset=utf-8", "WARNING: 1 line rejected"),
    ] {
        let reply = get(address, path).unwrap();
        assert_eq!((reply.code, reply.header("content-type")), (200, kind), "{path}");
        assert!(reply.body.contains(words), "{path}: {}", reply.body);
        assert!(reply.header("content-security-policy").starts_with("default-src 'none'; "));
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "",
            "nobody else's page may read it"
        );

        // HEAD: the same, and no body.
        let head =
            told(address, &format!("HEAD {path} HTTP/1.1\nHost: {address}\nConnection: close"));
        let (head, body) = head.split_once("\r\n\r\n").expect("a head");
        assert_eq!(body, "", "{path}");
        assert!(head.contains(&format!("Content-Type: {kind}")), "{head}");
    }

    let document: Value = serde_json::from_str(&get(address, "/status").unwrap().body).unwrap();
    let asked = ask(&site.status_socket(), "status").unwrap();
    for part in ["totals", "spool", "solr", "monitor"] {
        let members =
            |of: &Value| -> Vec<String> { of[part].as_object().unwrap().keys().cloned().collect() };
        assert_eq!(members(&document), members(&asked["status"]), "{part}");
    }
    assert_eq!(document["totals"]["docs"], 1_500);
    let history: Value = serde_json::from_str(&get(address, "/history").unwrap().body).unwrap();
    assert_eq!(history["history"], ask(&site.control_socket(), "history").unwrap()["history"]);
    if let Some(samples) = parsed(&get(address, "/metrics").unwrap().body) {
        assert_eq!(samples["solr_updater_documents_total"], 1_500.0);
    }
    daemon.stop();
}

#[test]
fn nothing_else_is_answered_and_nothing_is_done_by_http() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    let missing = get(address, "/reload").unwrap();
    assert_eq!((missing.code, missing.header("content-type")), (404, "text/plain; charset=utf-8"));
    assert!(missing.body.contains("/healthz"), "{}", missing.body);
    for path in ["/pause", "/stop", "/status/", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"] {
        assert_eq!(code(address, path), 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = told(address, &format!("{method} /status HTTP/1.1\nHost: {address}"));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
    // A body is not taken for the next request, and whoever sends one, short or long, reads the answer to its end.
    for length in [3, 30_000, 900_000] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
        let answer = exchange(address, head + &"GET".repeat(length / 3));
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
    let smuggled =
        format!("GET / HTTP/1.1\nHost: {address}\nContent-Length: 3\n\nGET /status HTTP/1.1");
    assert_eq!(told(address, &smuggled).matches("HTTP/1.1 200").count(), 1);
    for (junk, code) in [
        ("status\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /status HTTP/2.0\r\n\r\n", 505),
        ("\u{16}\u{3}\u{1}\u{2}", 400),
    ] {
        assert!(exchange(address, junk).starts_with(&format!("HTTP/1.1 {code} ")), "{junk:?}");
    }
    let status = daemon.status();
    assert_eq!((&status["state"], &status["parent"]["reloads"]), (&"running".into(), &0.into()));
    daemon.stop();
}

#[test]
fn the_code_of_healthz_says_whether_somebody_should_get_up() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) =
        with_page(&site, "health.rejected = { warning = 1, critical = 2 }\nspool.max_rejects = 9");
    let healthz = || get(address, "/healthz").map(|reply| (reply.code, reply.body)).unwrap();
    assert_eq!(healthz(), (200, "OK: all is well\n".to_owned()));
    site.hand_over("a.jsonl", "no JSON\n");
    wait_for("a warning is no failure", || {
        let (code, words) = healthz();
        words.starts_with("WARNING: 1 line rejected") && words.contains(" (since 20") && code == 200
    });
    site.hand_over("b.jsonl", "no JSON\n");
    wait_for("what is critical is one", || {
        let (code, words) = healthz();
        words.starts_with("CRITICAL: 2 lines rejected") && code == 503
    });
    daemon.stop();
}

#[test]
fn the_page_answers_while_the_parent_stands_still_and_says_so() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "health.stall = { warning = '6s', critical = '6s' }");
    daemon.parent.freeze();
    wait_for("the stall is told", || {
        let reply = get(address, "/healthz").expect("the page answers all the time");
        reply.code == 503 && reply.body.contains("parent")
    });
    assert_eq!(code(address, "/"), 200);
    daemon.parent.signal(Signal::SIGCONT);
    wait_for("all is well again", || code(address, "/healthz") == 200);
    daemon.stop();
}

#[test]
fn a_connection_stays_for_the_next_request_unless_it_is_told_to_go() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    let mut stream = connect(address);
    let mut from = BufReader::new(stream.try_clone().unwrap());
    for path in ["/healthz", "/nothing", "/status", "/", "/metrics"] {
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
            .unwrap();
        let reply = Reply::read(&mut from, false).expect("an answer on the same connection");
        assert_eq!(reply.code, if path == "/nothing" { 404 } else { 200 });
        assert_eq!(reply.header("connection"), "");
    }
    // A hundred at once, in pieces that have nothing to do with where one ends.
    let many = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(100);
    for piece in many.as_bytes().chunks(1_001) {
        stream.write_all(piece).unwrap();
    }
    for _ in 0..100 {
        assert_eq!(
            Reply::read(&mut from, false).expect("each is answered").body,
            "OK: all is well\n"
        );
    }
    let last = format!("HEAD /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(last.as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut from, true).unwrap().header("connection"), "close");
    assert!(Reply::read(&mut from, false).is_none(), "the end");
    assert!(told(address, "GET /healthz HTTP/1.0").ends_with("all is well\n"), "and it ends");
    daemon.stop();
}

#[test]
fn a_page_that_was_led_here_by_another_name_reads_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    for (host, code) in [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:9984", 200),
        ("[::1]:9984", 200),
        ("evil.example", 421),
        ("evil.example:9984", 421),
        ("localhost.evil.example", 421),
        ("192.0.2.1:9984", 421),
    ] {
        for path in ["/status", "/"] {
            let answer =
                told(address, &format!("GET {path} HTTP/1.1\nHost: {host}\nConnection: close"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{host}: {answer}");
            assert_eq!(answer.contains("workers"), code == 200, "{host}");
        }
    }
    daemon.stop();

    // At an address that others reach it has whatever name they have for it.
    let free = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
    configure(&site, free, "");
    let daemon = Daemon::start(&site);
    let here = SocketAddr::new("127.0.0.1".parse().unwrap(), free.port());
    let answer = told(here, "GET /healthz HTTP/1.1\nHost: updater.example\nConnection: close");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    daemon.stop();
}

#[test]
fn a_head_without_end_is_refused_and_a_slow_one_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    let begin = format!("GET / HTTP/1.1\r\nHost: {address}\r\n");
    for head in [
        format!("{begin}Cookie: {}", "x".repeat(1 << 20)),
        format!("{begin}{}", "a: b\r\n".repeat(10_000)),
        format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000)),
    ] {
        let answer = exchange(address, head);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    // A byte now and then is no reason to wait for ever.
    let mut slow = connect(address);
    slow.write_all(begin.as_bytes()).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut answer = [0; 12];
    wait_for("it is told that its time is up", || {
        let _ = slow.write(b"x");
        slow.read_exact(&mut answer).is_ok()
    });
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(code(address, "/healthz"), 200);
    daemon.stop();
}

#[test]
fn two_hundred_silent_connections_lock_nobody_out() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    let monitor = daemon.monitor();
    let silent: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    let half: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = connect(address);
            let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: loc");
            stream
        })
        .collect();
    // Who asks and reads nothing: what is owed to them is bounded by their seats.
    let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(500);
    let rude: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = connect(address);
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(request.as_bytes());
            stream
        })
        .collect();
    for path in ["/", "/status", "/metrics", "/healthz", "/history"] {
        assert_eq!(code(address, path), 200);
        // (Who came before is accepted before.)
        assert!(monitor.descriptors().len() < 128 + 40, "{:?}", monitor.descriptors());
    }
    // Nor out of the sockets: those have seats of their own.
    for _ in 0..20 {
        assert!(ask(&site.status_socket(), "ping").is_some());
        site.check_updater(&["-t", "5"]).code(0);
    }
    assert_eq!(daemon.monitor(), monitor);
    drop((silent, half, rude));
    wait_for("the seats are left again", || monitor.descriptors().len() < 30);
    daemon.stop();
}

#[test]
fn a_killed_monitor_costs_the_page_one_request() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    for _ in 0..3 {
        let monitor = daemon.monitor();
        let kept = connect(address);
        monitor.signal(Signal::SIGKILL);
        wait_for("it is gone", || !monitor.is_alive());
        // Nobody is refused: the socket is the parent's.
        let reply =
            get(address, "/status").expect("it waits for the next monitor, and is answered");
        let status: Value = serde_json::from_str(&reply.body).unwrap();
        assert_ne!(status["monitor"]["pid"], monitor.pid);
        drop(kept);
    }
    daemon.stop();
}

#[test]
fn a_new_daemon_has_the_address_of_a_killed_one_at_once() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, address) = with_page(&site, "");
    let mut kept = connect(address);
    kept.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    Reply::read(&mut BufReader::new(&kept), false).unwrap();
    daemon.kill();
    let daemon = Daemon::start(&site);
    assert_eq!(code(address, "/healthz"), 200);
    daemon.stop();
}

#[test]
fn a_reload_moves_the_page_turns_it_off_and_on() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, first) = with_page(&site, "");
    let second = own_address();
    configure(&site, second, "");
    site.run(&["reload"]).code(0);
    assert_eq!(code(second, "/healthz"), 200);
    wait_for("the old address is free", || get(first, "/healthz").is_none());

    // The same address: it answers all the time.
    for _ in 0..3 {
        let reloads = daemon.status()["parent"]["reloads"].as_u64();
        daemon.parent.signal(Signal::SIGHUP);
        daemon.wait("it has reloaded", |status| {
            assert!(TcpStream::connect(second).is_ok(), "nobody is refused");
            status["parent"]["reloads"].as_u64() > reloads
        });
    }
    site.configure("");
    site.run(&["reload"]).code(0);
    wait_for("there is no page", || get(second, "/healthz").is_none());
    configure(&site, first, "");
    site.run(&["reload"]).code(0);
    assert_eq!(code(first, "/healthz"), 200);
    let log = daemon.tail_of_log();
    assert!(log.contains(&format!("the page is up, url: http://{first}/")), "{log}");
    daemon.stop();
}

#[test]
fn a_reload_to_an_address_in_use_is_refused_and_the_page_stays() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (daemon, first) = with_page(&site, "");
    let taken = own_address();
    let other = TcpListener::bind(taken).unwrap();
    configure(&site, taken, "");
    let reload = site.run(&["reload"]).code(1);
    let words =
        format!("{}: monitor.http = \"{taken}\": cannot listen there: ", site.config().display());
    assert!(reload.stderr.contains(&words) && reload.stderr.contains("in use"), "{reload:?}");
    assert_eq!(code(first, "/healthz"), 200);
    assert!(get(first, "/healthz").unwrap().body.contains("old configuration"));
    // What overlaps with it is its own, and that is said.
    configure(&site, SocketAddr::new("0.0.0.0".parse().unwrap(), first.port()), "");
    site.run(&["reload"]).code(1).says("they overlap: restart the daemon, or change the port too");

    // A configuration that fails later gives the new address back.
    let third = own_address();
    configure(&site, third, "solr.username = 'x'\nsolr.password_file = '/nowhere'");
    site.run(&["reload"]).code(1);
    wait_for("it is free", || TcpListener::bind(third).is_ok());
    drop(other);
    configure(&site, taken, "");
    site.run(&["reload"]).code(0);
    assert_eq!(code(taken, "/healthz"), 200);
    daemon.stop();
}

#[test]
fn an_address_that_cannot_be_had_is_told_at_the_start() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let taken = own_address();
    let _other = TcpListener::bind(taken).unwrap();
    for (address, exit, words) in [
        (taken, 75, "stop who has it (ss -ltnp sport = :9984 says who), or set another address"),
        ("192.0.2.1:9984".parse().unwrap(), 78, "this machine has no such address"),
    ] {
        configure(&site, address, "");
        let run = site.run(&["run"]).code(exit);
        let place = format!(
            "{}: monitor.http = \"{address}\": cannot listen there",
            site.config().display()
        );
        assert!(run.stderr.contains(&place) && run.stderr.contains(words), "{run:?}");
        assert!(!site.status_socket().exists() && !site.control_socket().exists());
    }
}

#[test]
fn the_page_is_there_by_ipv6_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let address = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(free) => free.local_addr().unwrap(),
        Err(e) => return skipped(&format!("no IPv6 here: {e}")),
    };
    configure(&site, address, "");
    let daemon = Daemon::start(&site);
    let reply = wait_for_some("it answers", || get(address, "/healthz"));
    assert_eq!((reply.code, reply.body.as_str()), (200, "OK: all is well\n"));
    let answer = told(address, "GET / HTTP/1.1\nHost: evil.example");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    daemon.stop();
}

#[test]
fn check_warns_of_a_page_that_others_reach() {
    let site = Site::new("http://127.0.0.1:1/solr");
    let said = |address: &str| {
        configure(&site, address.parse().unwrap(), "");
        site.run(&["check"]).code(0).stdout
    };
    for own in ["127.0.0.1:9984", "[::1]:9984"] {
        assert!(!said(own).contains("note:"), "{own}");
    }
    for (open, whom) in
        [("0.0.0.0:9984", "any of this machine's addresses"), ("192.0.2.1:80", "it")]
    {
        let said = said(open);
        let words = format!(
            "monitor.http = \"{open}\": whoever reaches {whom} reads the status, without a password"
        );
        assert!(said.contains(&words) && said.contains("^^^"), "{said}");
    }
}
