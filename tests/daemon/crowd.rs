//! Crowds at the sockets, strangers among them: whoever may ask gets an answer, nobody gets more than his
//! share of the monitor, and who may not command cannot.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{
    DAEMON, Daemon, Delta, FakeSolr, Mode, PATIENCE, Process, Run, Site, ask, finish, skipped,
    wait_for,
};

/// As many as the monitor has seats and more.
const CROWD: usize = 1_000;
/// What the crowd may cost the monitor, in KiB: much less than the same crowd could send.
const MEMORY: u64 = 40 * 1024;

/// The crowd's own descriptors are more than a process has by default.
fn room_for_a_crowd() {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([&format!("--pid={}", std::process::id()), "--nofile=8192:"]);
    assert!(prlimit.status().expect("prlimit, of util-linux, is there").success());
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(process: Process) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A monitor while it is beset.
struct Beset<'a> {
    site: &'a Site,
    daemon: &'a Daemon,
    monitor: Process,
    memory: u64,
}

impl Beset<'_> {
    fn new<'a>(site: &'a Site, daemon: &'a Daemon) -> Beset<'a> {
        site.check_updater(&[]).code(0); // what it needs anyway it has now
        let monitor = daemon.monitor();
        Beset { site, daemon, monitor, memory: peak_kib(monitor) }
    }

    /// Others are answered, the plugin and the administrator.
    #[track_caller]
    fn others_are_answered(&self) {
        self.site.check_updater(&["-t", "10"]).code(0);
        self.site.run(&["status"]).code(0);
        assert!(ask(&self.site.control_socket(), "history").unwrap()["ok"] == true);
    }

    /// And it has cost little.
    #[track_caller]
    fn little_was_spent(&self) {
        let more = peak_kib(self.monitor).saturating_sub(self.memory);
        assert!(more < MEMORY, "{more} KiB more");
        let open = self.monitor.descriptors().len();
        assert!(open < 1024 + 64, "{open} descriptors");
        assert_eq!(self.daemon.monitor(), self.monitor, "it is still the same");
    }
}

#[test]
fn a_thousand_idle_clients_and_a_thousand_slow_ones_make_nobody_wait() {
    room_for_a_crowd();
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let beset = Beset::new(&site, &daemon);
    let _idle: Vec<UnixStream> = (0..CROWD).map(|_| connect(&site.status_socket())).collect();
    beset.others_are_answered();
    // A byte each, and then another, and never a whole word.
    let mut slow: Vec<UnixStream> = (0..CROWD).map(|_| connect(&site.status_socket())).collect();
    for byte in *b"stat" {
        slow.iter_mut().for_each(|stream| drop(stream.write(&[byte])));
        beset.others_are_answered();
    }
    // Who has just come has a seat, though he is slow.
    let last = slow.last_mut().unwrap();
    last.write_all(b"us\n").unwrap();
    let mut line = String::new();
    BufReader::new(last).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"ok\":true,\"status\":{"), "{line}");
    beset.little_was_spent();
    daemon.stop();
}

#[test]
fn a_thousand_who_ask_and_never_read_cost_little_memory() {
    room_for_a_crowd();
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let beset = Beset::new(&site, &daemon);
    let mut rude: Vec<UnixStream> = (0..CROWD).map(|_| connect(&site.status_socket())).collect();
    for round in 0..3 {
        for stream in &mut rude {
            stream.set_nonblocking(true).unwrap();
            while stream.write(&b"status\nmetrics\n".repeat(200)).is_ok_and(|n| n > 0) {}
        }
        if round != 1 {
            beset.others_are_answered();
        }
    }
    let used =
        || std::fs::read_to_string(format!("/proc/{}/schedstat", beset.monitor.pid)).unwrap();
    wait_for("it has made all the answers that it will make", || {
        let before = used();
        std::thread::sleep(Duration::from_millis(500));
        used() == before
    });
    beset.little_was_spent();
    daemon.stop();
}

#[test]
fn a_gigabyte_without_a_newline_is_cut_short_and_costs_nobody_anything() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let beset = Beset::new(&site, &daemon);
    for socket in [site.status_socket(), site.control_socket()] {
        let mut endless = connect(&socket);
        endless.set_write_timeout(Some(PATIENCE)).unwrap();
        let (piece, mut sent) = (vec![b'x'; 64 * 1024], 0);
        // The end comes long before the gigabyte's.
        while sent < 1 << 30 && endless.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        assert!(sent < 8 << 20, "{sent} bytes were taken");
        beset.others_are_answered();
    }
    beset.little_was_spent();
    daemon.stop();
}

#[test]
fn connections_opened_and_closed_as_fast_as_can_be_lock_nobody_out() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let beset = Beset::new(&site, &daemon);
    let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (over, opened, socket) = (&over, &opened, site.status_socket());
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // (Where the queue is full it is refused.)
                    let Ok(mut stream) = UnixStream::connect(&socket) else { continue };
                    if n == 0 {
                        let _ = stream.write(b"status\n"); // and does not stay for the answer
                    }
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while opened.load(Ordering::Relaxed) < 10_000 {
                beset.others_are_answered();
            }
        }));
        over.store(true, Ordering::Relaxed);
        answered.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    });
    beset.little_was_spent();
    wait_for("nobody's seat is left", || beset.monitor.descriptors().len() < 40);
    daemon.stop();
}

// --- strangers ----------------------------------------------------------------------------------

/// Runs one of our programs as somebody who has no right to anything here.
fn as_nobody(site: &Site, program: &Path, arguments: &[&str]) -> Run {
    // He may not be allowed to where it was built.
    let here = site.path(program.file_name().unwrap());
    if !here.exists() {
        std::fs::copy(program, &here).unwrap();
    }
    let mut stranger = Command::new("setpriv"); // of util-linux
    stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    finish(stranger.arg(here).args(arguments), b"")
}

#[test]
fn a_stranger_may_ask_and_cannot_command() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let mode = |socket: &Path| socket.metadata().unwrap().mode() & 0o7777;
    let (status, control) = (site.status_socket(), site.control_socket());
    assert_eq!((mode(&status), mode(&control)), (0o666, 0o660));
    if !nix::unistd::geteuid().is_root() {
        skipped("not root: nobody else could be, so no stranger has tried the sockets");
        return daemon.stop();
    }
    std::fs::set_permissions(site.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let plugin = Path::new(DAEMON).with_file_name("check_updater");
    let [status, control] = [&status, &control].map(|path| path.to_str().unwrap());
    let ours = Path::new(DAEMON);

    as_nobody(&site, &plugin, &["-s", status]).code(0).says("UPDATER OK");
    as_nobody(&site, ours, &["-s", status, "status"]).code(0).says("all is well");
    // On the one he is heard and refused, at the other not even heard.
    for command in ["pause", "resume", "reload", "stop"] {
        as_nobody(&site, ours, &["-s", status, command]).code(1).says("is for the control socket");
        as_nobody(&site, ours, &["-s", control, command]).code(1).says("you may not");
    }
    as_nobody(&site, ours, &["-s", status, "drop", "--all"]).code(1).says("control socket");
    as_nobody(&site, ours, &["-s", control, "status"]).code(1).says("you may not");
    as_nobody(&site, &plugin, &["-s", control]).code(3).says("UPDATER UNKNOWN");
    let state = daemon.status();
    assert_eq!((&state["state"], &state["parent"]["reloads"]), (&json!("running"), &json!(0)));
    daemon.stop();
}

// --- what happens to the monitor, and around it ---------------------------------------------------

/// Asks once; `None`: the connection ended without an answer. It is never refused.
fn ask_once(socket: &Path) -> Option<Value> {
    let mut stream = connect(socket); // a refusal would be a panic
    let mut line = String::new();
    let asked = stream.write_all(b"status\n");
    asked.and_then(|()| BufReader::new(stream).read_line(&mut line)).ok()?;
    serde_json::from_str(&line).ok()
}

#[test]
fn while_the_monitor_is_replaced_who_asks_waits_or_asks_once_more() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    for round in 1..=10 {
        let monitor = daemon.monitor();
        monitor.signal(Signal::SIGKILL);
        // At any time of its replacement.
        let answers: Vec<Option<Value>> = (0..5).map(|_| ask_once(&site.status_socket())).collect();
        let by_another = |answer: &Value| answer["status"]["monitor"]["pid"] != monitor.pid;
        assert!(answers.iter().flatten().any(by_another), "{answers:?}");
        let lost = answers.iter().filter(|answer| answer.is_none()).count();
        assert!(lost <= 1, "one request may go down with it: {answers:?}");
        let status = daemon.wait("it is counted", |s| s["monitor"]["restarts"] == round);
        assert_eq!(status["totals"]["worker_deaths"], 0);
    }
    daemon.stop();
}

#[test]
fn a_parent_that_stands_still_is_told_and_so_is_a_solr_that_is_away() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(
        "health.stall = { warning = '1s', critical = '3s' }\n\
         health.solr = { warning = '1s', critical = '2s' }",
    );
    let daemon = Daemon::start(&site);
    solr.turn(Mode::Down);
    site.hand_over("x.jsonl", Delta::offers(0..100, 1).text);
    let away = |status: &Value| status["health"]["reasons"][0]["code"] == "solr";
    let status = daemon.wait("Solr's absence is told", away);
    assert_eq!(status["solr"]["reachable"], false);
    site.check_updater(&["-t", "10"]).code(2).says("Solr unreachable for ");
    site.run(&["status"]).code(0).says("UNREACHABLE");

    daemon.parent.freeze();
    let still = |status: &Value| {
        let reasons = status["health"]["reasons"].as_array().unwrap();
        reasons.iter().any(|r| r["code"] == "stall" && r["severity"] == "critical")
    };
    daemon.wait("the parent's stand is told", still);
    site.check_updater(&["-t", "10"]).code(2).says("the parent has given no sign of life for ");
    site.run(&["status"]).code(0).says("the parent has given no sign of life for ");
    // A command cannot be carried out now, and whoever waits for it keeps nobody.
    let mut waits = connect(&site.control_socket());
    waits.write_all(b"pause\n").unwrap();
    site.check_updater(&["-t", "10"]).code(2);
    daemon.parent.signal(Signal::SIGCONT);
    let mut answer = String::new();
    BufReader::new(waits).read_line(&mut answer).unwrap();
    assert_eq!(answer, "{\"ok\":true}\n");
    solr.turn(Mode::Up);
    site.run(&["resume"]).code(0);
    daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
    daemon.wait("all is well", |status| status["health"]["state"] == "ok");
    daemon.stop();
}

/// Another daemon that is to have this one's sockets: with a spool of its own.
fn rival(site: &Site, solr: &FakeSolr) -> Site {
    let rival = Site::new(solr.url());
    rival.configure(&format!(
        "monitor.status.socket = '{}'\nmonitor.control.socket = '{}'",
        site.status_socket().display(),
        site.control_socket().display()
    ));
    rival
}

#[test]
fn a_living_daemons_sockets_are_its_own_though_its_monitor_stands_and_its_files_are_removed() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let monitor = daemon.monitor();
    let rival = rival(&site, &solr);
    let refused = || rival.run(&["run"]).code(75).says(site.status_socket().to_str().unwrap());
    monitor.freeze();
    refused();
    // Not even a queue that is full for ever makes room.
    let full: Vec<UnixStream> = (0..3_000)
        .map_while(|_| {
            let stream = nix::sys::socket::socket(
                nix::sys::socket::AddressFamily::Unix,
                nix::sys::socket::SockType::Stream,
                nix::sys::socket::SockFlag::SOCK_NONBLOCK,
                None,
            )
            .ok()?;
            let address = nix::sys::socket::UnixAddr::new(&site.status_socket()).unwrap();
            use std::os::fd::AsRawFd;
            nix::sys::socket::connect(stream.as_raw_fd(), &address).ok()?;
            Some(UnixStream::from(stream))
        })
        .collect();
    refused();
    drop(full);
    monitor.signal(Signal::SIGCONT);
    // Somebody clears up with a broom.
    std::fs::remove_file(site.status_socket()).unwrap();
    std::fs::remove_file(site.control_socket()).unwrap();
    refused();
    assert!(!site.status_socket().exists() && !site.control_socket().exists());
    daemon.parent.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended(), Some(0));
    let left: Vec<String> = std::fs::read_dir(site.path("")).unwrap().map(name).collect();
    assert!(!left.iter().any(|name| name.contains(".sock")), "{left:?}");
    Daemon::start(&site).stop();
}

fn name(entry: std::io::Result<std::fs::DirEntry>) -> String {
    entry.unwrap().file_name().into_string().unwrap()
}

#[test]
fn of_two_daemons_that_start_at_once_one_has_a_dead_ones_sockets() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let rival = rival(&site, &solr);
    let start = |site: &Site| {
        let mut run = site.command(&["run"]);
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for _ in 0..8 {
        // What a dead one leaves.
        Daemon::start(&site).kill();
        let mut both = [start(&site), start(&rival)];
        let mut loser = None;
        wait_for("one gives up", || {
            let ended = |n: usize| (n, both[n].try_wait().unwrap());
            loser = [0, 1].map(ended).into_iter().find_map(|(n, code)| Some((n, code?)));
            loser.is_some()
        });
        let (n, code) = loser.unwrap();
        assert_eq!(code.code(), Some(75));
        let winner = both[1 - n].id();
        let pid =
            || ask(&site.status_socket(), "status").map(|a| a["status"]["parent"]["pid"].clone());
        wait_for("the other one answers", || pid() == Some(winner.into()));
        let process = Process::of(winner as i32).unwrap();
        process.signal(Signal::SIGTERM);
        assert!(both[1 - n].wait().unwrap().success());
    }
}

/// What is asked while others deliver is answered; no time is measured here (`make bench-status` does).
#[test]
fn one_connection_asks_for_as_long_as_there_is_work() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(2)));
    let site = Site::new(solr.url());
    site.configure("workers.count = 4\nbatch.docs = 50");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..5_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    let mut stream = BufReader::new(connect(&site.status_socket()));
    let (mut asked, by, mut docs, mut line) = (0, Instant::now() + PATIENCE, 0, String::new());
    while docs < 5_000 {
        assert!(Instant::now() < by, "{docs} documents after {asked} answers");
        stream.get_mut().write_all(b"status\n").unwrap();
        line.clear();
        stream.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        let now = answer["status"]["totals"]["docs"].as_u64().unwrap();
        assert!(now >= docs, "what was said is not taken back");
        (docs, asked) = (now, asked + 1);
    }
    assert!(asked > 50, "{asked} answers");
    stream.get_mut().write_all(b"ping\n").unwrap();
    stream.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "{\"ok\":true,\"ping\":\"pong\"}\n");
    daemon.stop();
}
