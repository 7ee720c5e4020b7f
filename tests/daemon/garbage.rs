//! Garbage wherever something foreign is read by a living process: random bytes in the scoreboard,
//! requests on the sockets, answers to the plugin. (`tests/fuzz` has what reads bytes as such.)

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Process, Site, assert_same, wait_for};

/// The memory that a parent and its children share, to be written into from outside.
struct Shared {
    memory: File,
    ranges: Vec<(u64, u64)>,
}

impl Shared {
    fn of(parent: Process) -> Shared {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", parent.pid)).unwrap();
        let range = |line: &str| {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let number = |hex| u64::from_str_radix(hex, 16).ok();
            rest.starts_with("rw-s").then_some((number(from)?, number(to)?))
        };
        let ranges: Vec<(u64, u64)> = maps.lines().filter_map(range).collect();
        assert!(!ranges.is_empty(), "it shares no memory:\n{maps}");
        // (Our own child's: nobody needs to be root for it.)
        let memory = OpenOptions::new().write(true).open(format!("/proc/{}/mem", parent.pid));
        Shared { memory: memory.unwrap(), ranges }
    }

    fn scribble(&self, words: usize, rng: &mut fastrand::Rng) {
        for _ in 0..words {
            let (from, to) = self.ranges[rng.usize(..self.ranges.len())];
            let at = from + rng.u64(..(to - from) / 8) * 8;
            let word = match rng.u8(..5) {
                0 => 0,
                1 => u64::MAX,
                2 => rng.u64(..100),
                3 => 1 << rng.u8(..64),
                _ => rng.u64(..),
            };
            self.memory.write_all_at(&word.to_ne_bytes(), at).unwrap();
        }
    }
}

#[test]
fn random_bytes_in_the_scoreboard_stop_nobody_for_good_and_lose_nothing() {
    let solr = FakeSolr::start();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    let daemon = Daemon::start(&site);
    let shared = Shared::of(daemon.parent);
    let mut rng = fastrand::Rng::with_seed(11);
    let mut expected = Delta::default();
    for round in 0..40u32 {
        let delta = Delta::offers(0..200, round);
        site.hand_over(&format!("{round:02}.jsonl"), &delta.text);
        expected = delta;
        for _ in 0..10 {
            shared.scribble([3, 50, 2_000][rng.usize(..3)], &mut rng);
            assert!(daemon.parent.is_alive(), "{}", daemon.tail_of_log());
            assert_eq!(daemon.parent.tasks(), 1);
        }
        match round % 10 {
            3 => daemon.parent.signal(Signal::SIGHUP),
            7 => {
                let children = daemon.parent.children();
                children[rng.usize(..children.len())].signal(Signal::SIGKILL);
            }
            _ => {}
        }
        // Whatever it says, it answers (a monitor that is being replaced may hang up once).
        daemon.status();
        wait_for("it answers", || site.run(&["status"]).stdout.len() > 100);
    }
    daemon.wait("all is delivered", |_| site.is_done("39.jsonl"));
    assert_same(&solr.docs(), &expected.docs);
    assert_eq!((site.names("failed"), site.names("rejected")), (vec![], vec![]));
    // It reads what it is told, too.
    site.run(&["reload"]).code(0);
    daemon.stop();
}

/// What somebody may say on a socket: some of it means something.
fn request(rng: &mut fastrand::Rng) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "status",
        "health",
        "metrics",
        "STATUS",
        "sta",
        "stop",
        "reload now",
        "history",
        "rejects x",
        "\0",
        "",
        " ",
        "status\r",
        "{\"request\":\"status\"}",
        "GET / HTTP/1.1",
        "é",
        "status status",
        "\u{1b}[2J",
    ];
    let mut request = WORDS[rng.usize(..WORDS.len())].as_bytes().to_vec();
    match rng.u8(..4) {
        0 => request.extend((0..rng.usize(..300)).map(|_| rng.u8(..)).filter(|b| *b != b'\n')),
        1 => request.extend(std::iter::repeat_n(b'x', rng.usize(..100_000))),
        2 => request.truncate(rng.usize(..=request.len())),
        _ => {}
    }
    request
}

#[test]
fn whatever_is_said_on_the_status_socket_is_answered_in_a_line_of_json_or_as_metrics_or_not_at_all()
{
    let solr = FakeSolr::start();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let monitor = daemon.monitor();
    let mut rng = fastrand::Rng::with_seed(5);
    let mut answered = 0;
    for _ in 0..400 {
        let mut stream = UnixStream::connect(site.status_socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let requests: Vec<Vec<u8>> = (0..rng.usize(..4)).map(|_| request(&mut rng)).collect();
        for request in &requests {
            // It may be sent away in the middle of it.
            let _ = stream.write_all(request).and_then(|()| stream.write_all(b"\n"));
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let mut lines = said.split_inclusive(|byte| *byte == b'\n');
        while let Some(line) = lines.next() {
            // The one answer that is no JSON: metrics.
            if line.starts_with(b"# ") {
                assert!(lines.any(|line| line == b"# EOF\n"), "it ends in the middle");
                answered += 1;
                continue;
            }
            let answer: Value = serde_json::from_slice(line).unwrap_or_else(|e| {
                panic!("{e}: {:?} to {requests:?}", String::from_utf8_lossy(line))
            });
            assert!(answer["ok"].is_boolean(), "{answer}");
            answered += 1;
        }
    }
    assert!(answered > 200, "{answered}");
    assert_eq!(daemon.monitor(), monitor, "it is the same");
    daemon.stop();
}

#[test]
fn whatever_a_socket_answers_the_plugin_has_a_state_and_a_line() {
    let solr = FakeSolr::start();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let good = json!({"ok": true, "status": daemon.status()}).to_string() + "\n";
    daemon.stop();
    // In the place of the daemon's.
    let _ = std::fs::remove_file(site.status_socket());
    let listener = UnixListener::bind(site.status_socket()).unwrap();
    let mut rng = fastrand::Rng::with_seed(9);
    let mut states = BTreeSet::new();
    for n in 0..150 {
        let mut answer = good.clone().into_bytes();
        for _ in 0..rng.usize(..=3) * usize::from(n > 0) {
            let at = rng.usize(..answer.len());
            match rng.u8(..4) {
                0 => answer.truncate(at.max(1)),
                1 => answer[at] = rng.u8(..),
                2 => drop(answer.splice(at..(at + 5).min(answer.len()), *b"null,")),
                _ => drop(answer.splice(at..at, *b"18446744073709551616")),
            }
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = String::new();
                let _ = BufReader::new(&stream).read_line(&mut request);
                let _ = stream.write_all(&answer);
            });
            let run = site.check_updater(&[]);
            let first = run.stdout.lines().next().unwrap_or_default();
            let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][run.code.unwrap() as usize];
            let begin = format!("UPDATER {word} - ");
            assert!(first.starts_with(&begin), "{first} to {}", String::from_utf8_lossy(&answer));
            assert!(!run.stdout.contains(['\u{1b}', '\0']), "{:?}", run.stdout);
            states.insert(run.code);
        });
    }
    assert!(states.contains(&Some(0)) && states.contains(&Some(3)), "{states:?}");
}
