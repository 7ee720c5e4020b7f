//! What the daemon says when it is asked, and who may ask what.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{
    DAEMON, Daemon, Delta, FakeSolr, Mode, Site, ask, assert_same, finish, wait_for,
};

#[test]
fn status_page_and_json() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &Delta::offers(0..1_234, 1).text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);

    let page = site.run(&["status"]).code(0);
    for words in
        ["OK: all is well", "2 of 2 alive", "1,234 documents", "idle, waiting for deltas in "]
    {
        assert!(page.stdout.contains(words), "{words:?}: {}", page.stdout);
    }
    assert_eq!(page.stderr, "");
    let json = site.run(&["status", "--json"]).code(0);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&document["version"], &document["state"]), (&json!(1), &json!("running")));
    assert_eq!(document["parent"]["pid"], daemon.parent.pid);
    assert_eq!(document["parent"]["config"], site.config().to_str().unwrap());
    assert_eq!(document["solr"]["collection"], "c");
    // Every member that INTERFACE promises, with the types that the plugin reads.
    let answer = json!({"ok": true, "status": document}).to_string();
    assert!(matches!(status::Answer::parse(answer.as_bytes()), Ok(status::Answer::Status(_))));
    assert_eq!(site.run(&["-s", site.control_socket().to_str().unwrap(), "status"]).code, Some(0));
    daemon.stop();
}

#[test]
fn where_no_daemon_is_nobody_answers_and_it_is_said_so() {
    let site = Site::new("http://127.0.0.1:1/solr");
    for command in ["status", "reload", "stop"] {
        let run = site.run(&[command]).code(1).says("no daemon runs there");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    site.check_updater(&[]).code(2).says("UPDATER CRITICAL - no daemon: ");
}

#[test]
fn the_status_socket_does_not_take_commands() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let workers = daemon.workers();
    for command in ["stop", "reload"] {
        let answer = ask(&site.status_socket(), command).unwrap();
        assert_eq!(
            (&answer["ok"], &answer["error"]["code"]),
            (&json!(false), &json!("not_permitted"))
        );
        site.run(&["-s", site.status_socket().to_str().unwrap(), command])
            .code(1)
            .says("control socket");
    }
    assert_eq!(daemon.workers(), workers);
    for socket in [site.status_socket(), site.control_socket()] {
        let health = ask(&socket, "health").unwrap();
        assert_eq!((&health["ok"], &health["health"]["state"]), (&json!(true), &json!("ok")));
        assert_eq!(ask(&socket, "ping").unwrap()["ping"], "pong");
        assert!(
            ask(&socket, "help").unwrap()["help"].as_array().is_some_and(|words| words.len() >= 4)
        );
        assert_eq!(ask(&socket, "dance").unwrap()["error"]["code"], "no_such_command");
    }
    daemon.stop();
}

#[test]
fn a_client_that_is_silent_floods_or_never_reads_costs_nobody_else_anything() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let silent: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(site.status_socket()).unwrap()).collect();
    let mut never_reads = UnixStream::connect(site.status_socket()).unwrap();
    never_reads.set_nonblocking(true).unwrap();
    while never_reads.write(&b"status\n".repeat(100)).is_ok() {}
    let mut endless = UnixStream::connect(site.status_socket()).unwrap();
    endless.set_nonblocking(true).unwrap();
    let _ = endless.write(&[b'x'; 100_000]);
    for _ in 0..20 {
        site.check_updater(&["-t", "5"]).code(0);
    }
    drop((silent, never_reads, endless));
    daemon.stop();
}

#[test]
fn stop_waits_until_the_daemon_is_gone() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(10)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let delta = Delta::offers(0..10_000, 1);
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 500);
    let mut daemon = Some(daemon);
    for _ in 0..5 {
        let stopped = daemon.take().expect("one is always running");
        let children = stopped.parent.children();
        let stop = site.run(&["stop"]).code(0);
        // Whoever starts the next one in this moment must not meet the last.
        let next = Daemon::spawn(&site);
        assert!(!stopped.parent.is_alive(), "the daemon is still there: {stop:?}");
        assert!(!children.iter().any(|child| child.is_alive()), "a child is still there: {stop:?}");
        assert_eq!(stopped.ended(), Some(0));
        next.up();
        daemon = Some(next);
    }
    let daemon = daemon.expect("one is always running");
    daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
    assert_same(&solr.docs(), &delta.docs);
    daemon.stop();
}

#[test]
fn a_second_daemon_is_refused_with_the_pid_of_the_first() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let pid = format!("(pid {})", daemon.parent.pid);
    let second = site.run(&["run"]).code(75).says(&pid);
    assert_eq!(second.stderr.lines().count(), 1, "{second:?}");
    // Other sockets make no other spool of it.
    site.configure(&format!(
        "monitor.status.socket = '{0}/s2'\nmonitor.control.socket = '{0}/c2'",
        site.path("").display()
    ));
    site.run(&["run"]).code(75).says(&pid);
    assert!(!site.path("s2").exists() && !site.path("c2").exists());
    daemon.up();
    daemon.stop();
}

#[test]
fn a_dead_daemons_socket_is_taken_over_a_living_ones_never() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    daemon.kill();
    assert!(
        site.status_socket().exists() && site.control_socket().exists(),
        "nobody was left to remove them"
    );
    let daemon = Daemon::start(&site);

    let other = Site::new(solr.url());
    other.configure(&format!("monitor.control.socket = '{}'", site.control_socket().display()));
    other.run(&["run"]).code(75).says(site.control_socket().to_str().unwrap());
    assert!(!other.status_socket().exists(), "nothing is half started");
    assert_eq!(daemon.status()["parent"]["pid"], daemon.parent.pid);
    site.run(&["reload"]).code(0);
    daemon.stop();

    // Not a daemon's, but somebody lives there.
    let _listener = UnixListener::bind(site.control_socket()).unwrap();
    site.run(&["run"]).code(75).says(site.control_socket().to_str().unwrap());
    assert!(std::fs::metadata(site.control_socket()).unwrap().file_type().is_socket());
    assert!(!site.status_socket().exists(), "nothing is half started");
}

#[test]
fn a_shell_completes_commands() {
    let site = Site::new("http://127.0.0.1:1/solr");
    for shell in ["zsh", "fish"] {
        site.run(&["completions", shell]).code(0).says("history");
    }
    site.run(&["completions", "csh"]).code(2).says("possible values: bash");
    let script = site.run(&["completions", "bash"]).code(0).stdout;
    let asked = r#"
        COMP_WORDS=(solr-updater re) COMP_CWORD=1
        complete=$(complete -p solr-updater | sed 's/.*-F \([^ ]*\).*/\1/')
        $complete solr-updater re solr-updater
        echo "${COMPREPLY[@]}""#;
    let run = finish(Command::new("bash").arg("-c").arg(script + asked), b"").code(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("reload resume rejects retry\n", ""));
}

#[test]
fn the_live_view_shows_the_status_until_q_and_gives_the_terminal_back() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", Delta::offers(0..1_234, 1).text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    // A terminal, by util-linux.
    let watch = format!(
        "stty rows 40 columns 100; {DAEMON} -c {} status --watch; stty -a",
        site.config().display()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &watch, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1");
    let run = finish(&mut terminal, b"q").code(0);
    for words in ["OK: all is well", "q quits", "docs/s", "\x1b[?1049h", "\x1b[?1049l", " icanon "]
    {
        assert!(run.stdout.contains(words), "{words:?}: {run:?}");
    }
    assert!(!run.stdout.contains("\x1b[38;"), "NO_COLOR: {run:?}");
    // Without a terminal it is pages, until nobody reads.
    let mut watch = site.command(&["status", "--watch"]);
    let mut child = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_page = |line: &std::io::Result<String>| line.as_ref().unwrap().contains("all is well");
    assert!(lines.by_ref().filter(is_page).take(2).count() == 2, "one after the other");
    drop(lines);
    assert!(child.wait().unwrap().success());
    daemon.stop();
    let run = site.run(&["status", "--watch"]).code(1).says("no daemon runs there");
    assert_eq!(run.stdout, "");
    site.run(&["status", "--watch", "--json"]).code(2);
}

#[test]
fn the_live_view_follows_the_terminals_size_and_goes_on_while_the_daemon_is_away() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    // (By its socket: who has the configuration on his command line is taken for the daemon's.)
    let line = format!(
        "tty; stty rows 40 columns 100; {DAEMON} -s {} status --watch",
        site.status_socket().display()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    let out = std::fs::File::create(site.path("screen")).unwrap();
    let mut child = terminal.stdin(Stdio::piped()).stdout(out).spawn().unwrap();
    let screen =
        || String::from_utf8_lossy(&std::fs::read(site.path("screen")).unwrap()).into_owned();
    wait_for("it is shown", || screen().contains("q quits"));
    assert!(screen().contains("\x1b[38;"), "it has colours");
    let tty = screen().lines().next().unwrap().trim().to_owned();
    let resize = |rows: &str| {
        let size = ["-F", &tty, "rows", rows, "columns", "60"];
        assert!(Command::new("stty").args(size).status().unwrap().success());
    };
    resize("20");
    wait_for("it is drawn anew, to the last row", || screen().contains("\x1b[20;1H"));

    // Another daemon takes its place, and the view finds it.
    daemon.kill();
    wait_for("it is told", || screen().contains("ANSWER:"));
    let before = screen().len();
    let daemon = Daemon::start(&site);
    let mut rows = ["20", "21"].into_iter().cycle();
    wait_for("it is shown again", || {
        resize(rows.next().unwrap()); // what is on the screen already is not drawn again but then
        screen()[before..].contains("all is well")
    });
    child.stdin.take().unwrap().write_all(b"q").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(screen().contains("\x1b[?1049l"));
    daemon.stop();
}
