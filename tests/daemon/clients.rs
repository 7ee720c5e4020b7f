//! Clients without manners: whoever may open the status socket may not take the monitor away.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Daemon, FakeSolr, PATIENCE, Process, Site, ask, wait_for};

/// Sets the limit of open files of a process, soft and hard.
fn limit_files(process: Process, most: u32) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={}", process.pid), format!("--nofile={most}:{most}")]);
    assert!(prlimit.status().expect("prlimit, of util-linux, is there").success());
}

/// A daemon whose monitor may have so many files open.
fn with_few_files(site: &Site, most: u32) -> Daemon {
    let daemon = Daemon::start(site);
    limit_files(daemon.parent, most);
    let first = daemon.monitor();
    first.signal(Signal::SIGKILL);
    daemon.wait("there is another monitor", |status| status["monitor"]["pid"] != first.pid);
    daemon
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn many(socket: &Path, n: usize) -> Vec<UnixStream> {
    (0..n).map(|_| connect(socket)).collect()
}

/// Processor time that a process has used, in ticks of 10 ms (proc(5), fields 14 and 15).
fn ticks(process: Process) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
    let fields = text[text.rfind(')').unwrap() + 1..].split_ascii_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

#[track_caller]
fn rests(process: Process) {
    let before = ticks(process);
    std::thread::sleep(Duration::from_secs(2));
    let used = ticks(process) - before;
    assert!(used < 60, "{used} of 200 ticks used by a process that has nothing to do");
}

fn resident_kb(process: Process) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What comes until the end of file.
fn rest_of(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end of file comes");
    text
}

#[test]
fn more_silent_clients_than_descriptors_lock_nobody_out() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = with_few_files(&site, 256);
    let monitor = daemon.monitor();
    let _silent = many(&site.status_socket(), 400);
    site.check_updater(&["-t", "5"]).code(0);
    rests(monitor);

    // The limit may also fall while they are there.
    limit_files(monitor, 128);
    site.check_updater(&["-t", "5"]).code(0);
    let _more = many(&site.status_socket(), 200);
    site.check_updater(&["-t", "5"]).code(0);
    rests(monitor);
    assert_eq!(daemon.monitor(), monitor);
    daemon.stop();
}

#[test]
fn three_hundred_who_ask_and_never_read_cost_little_memory_and_nobody_elses_time() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let monitor = daemon.monitor();
    let before = resident_kb(monitor);
    let ask_on = |streams: &mut Vec<UnixStream>| {
        for stream in streams.iter_mut() {
            stream.set_nonblocking(true).unwrap();
            while stream.write(&b"status\n".repeat(1000)).is_ok() {}
        }
    };
    let mut rude = many(&site.status_socket(), 300);
    for _ in 0..5 {
        ask_on(&mut rude);
        let asked = Instant::now();
        site.check_updater(&["-t", "5"]).code(0);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    rests(monitor);
    let more = resident_kb(monitor).saturating_sub(before);
    assert!(more < 64 * 1024, "{more} kB more");
    daemon.stop();
}

#[test]
fn empty_lines_without_end_cost_nobody_elses_time() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let mut flood: Vec<UnixStream> = many(&site.status_socket(), 20);
    let by = Instant::now() + Duration::from_secs(2);
    let mut answers = vec![0; 1 << 20];
    while Instant::now() < by {
        for stream in &mut flood {
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&[b'\n'; 64 * 1024]);
            let _ = stream.read(&mut answers);
        }
        let asked = Instant::now();
        assert!(ask(&site.status_socket(), "ping").is_some());
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    daemon.stop();
}

#[test]
fn strangers_do_not_drive_out_an_administrator_who_waits_for_his_reload() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = with_few_files(&site, 256);
    daemon.parent.freeze();
    let mut administrator = BufReader::new(connect(&site.control_socket()));
    administrator.get_mut().write_all(b"ping\nreload\n").unwrap();
    let mut answer = String::new();
    administrator.read_line(&mut answer).unwrap(); // so the other line has been read
    let idle = connect(&site.control_socket());
    // Neither from his own socket,
    let colleagues = many(&site.control_socket(), 60);
    // nor from the one that is open to all.
    let strangers = many(&site.status_socket(), 400);
    assert_eq!(ask(&site.control_socket(), "ping").unwrap()["ping"], "pong");
    assert_eq!(rest_of(idle), "", "who does not wait makes room");
    daemon.parent.signal(Signal::SIGCONT);
    answer.clear();
    administrator.read_line(&mut answer).unwrap();
    assert_eq!(answer, "{\"ok\":true}\n");
    drop((colleagues, strangers));
    daemon.stop();
}

#[test]
fn what_was_asked_behind_a_reload_is_answered_and_then_comes_the_end() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.write_config("workers.count = 0\n");
    let monitor = daemon.monitor();
    let descriptors = monitor.descriptors();
    for words in ["reload\nping\n", "reload\n", "reload\nreload\nping"] {
        let mut stream = connect(&site.control_socket());
        stream.write_all(words.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answers = rest_of(stream);
        let of = |words: &str| answers.lines().filter(|line| line.contains(words)).count();
        assert_eq!(of("\"ok\":false"), words.matches("reload").count(), "{answers}");
        assert_eq!(of("pong"), words.matches("ping").count(), "{answers}");
    }
    // The other end open, as a person types it.
    let mut stream = connect(&site.control_socket());
    stream.write_all(b"reload\nping\n").unwrap();
    let answers = BufReader::new(&stream).lines().take(2).map(Result::unwrap);
    assert!(answers.last().unwrap().contains("pong"));
    drop(stream);
    // (At the first count the one who asked for the monitor's pid may still have had a seat.)
    wait_for("no seat is left behind", || monitor.descriptors().len() <= descriptors.len());
    daemon.stop();
}

#[test]
fn a_thousand_requests_at_once_are_all_answered() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let mut stream = connect(&site.status_socket());
    // So many that answers wait for the client, and requests for the answers to be read.
    stream.write_all(&b"status\n".repeat(1000)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    for n in 0..1000 {
        match answers.next().expect("there is no end") {
            Ok(line) => assert!(line.starts_with("{\"ok\":true"), "{line}"),
            Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("no answer after {n}"),
            Err(e) => panic!("{e}"),
        }
    }
    stream.write_all(b"ping\n").unwrap();
    assert!(answers.next().unwrap().unwrap().contains("pong"));
    daemon.stop();
}
