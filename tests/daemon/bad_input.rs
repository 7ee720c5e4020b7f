//! What an operator gets wrong: a clear line that names the place and the remedy, the right exit
//! code, and nothing half started.

use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::Pid;

use crate::common::{FakeSolr, Run, Site, finish, skipped, wait_for};

const CONFIG: i32 = 78;
const TAKEN: i32 = 75;

/// A site where nothing listens: it is never asked.
fn site() -> Site {
    Site::new("http://127.0.0.1:1/solr")
}

/// `run` is refused: with this code, in one line with all these words, and nothing is left of it.
#[track_caller]
fn refused(site: &Site, code: i32, words: &[&str]) {
    refused_by(site, site.command(&["run"]), code, words);
}

#[track_caller]
fn refused_by(site: &Site, mut command: Command, code: i32, words: &[&str]) {
    let there = [site.status_socket(), site.control_socket()].map(|socket| socket.exists());
    let run = ended(&mut command).code(code);
    assert_eq!(run.stdout, "");
    assert_eq!(run.stderr.lines().count(), 1, "one line: {run:#?}");
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} is missing: {}", run.stderr);
    }
    let now = [site.status_socket(), site.control_socket()].map(|socket| socket.exists());
    assert_eq!(now, there, "sockets are as they were: {}", run.stderr);
}

/// Runs a command to its end and sees that no process is left of it.
#[track_caller]
fn ended(command: &mut Command) -> Run {
    let run = finish(command.process_group(0), b"");
    let group = Pid::from_raw(run.pid as i32);
    wait_for("no process is left", || killpg(group, None) == Err(Errno::ESRCH));
    run
}

/// Where a text stands in the configuration: `FILE:LINE:COLUMN`.
fn place(site: &Site, text: &str) -> String {
    let config = std::fs::read_to_string(site.config()).unwrap();
    let at = config.find(text).expect("it stands there");
    let line = config[..at].matches('\n').count() + 1;
    let column = at - config[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
    format!("{}:{line}:{column}: ", site.config().display())
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let site = site();
    std::fs::remove_file(site.config()).unwrap();
    let path = site.config().display().to_string();
    refused(&site, CONFIG, &[&path, "there is no such file", "--config"]);
    std::fs::create_dir(site.config()).unwrap();
    refused(&site, CONFIG, &[&path, "is a folder"]);
    std::fs::remove_dir(site.config()).unwrap();
    nix::unistd::mkfifo(&site.config(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&site, CONFIG, &[&path, "is no regular file"]);
    assert!(!site.spool(".lock").exists(), "the spool is not touched");
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_place() {
    let site = site();
    for (change, text, words) in [
        ("workers.cuont = 3", "cuont", "unknown key workers.cuont; did you mean count?"),
        ("workers.count = 'four'", "\"four\"", "need a whole number"),
        ("workers.count = 0", "0", "workers.count = 0: need at least 1"),
        ("spool.settle = '2 parsecs'", "\"2 parsecs\"", "such as \"2s\""),
        ("colour.red = 1", "[colour]", "unknown section [colour]"),
    ] {
        site.configure(change);
        // A value's first character may stand elsewhere before: its key leads to it.
        let key = change.split(['.', ' ']).nth(1).unwrap();
        let lead = if text == "0" { format!("{key} = {text}") } else { text.to_owned() };
        let mut place = place(&site, &lead);
        if text == "0" {
            place = place.replace(":1: ", ":9: ");
        }
        refused(&site, CONFIG, &[&place, words]);
        let check = site.run(&["check"]).code(CONFIG);
        assert!(check.stderr.starts_with(&place) && check.stderr.contains('^'), "{check:?}");
    }
    site.configure("");
    site.run(&["check"]).code(0).says("the configuration is right");
}

#[test]
fn every_mistake_is_told_at_once() {
    let site = site();
    site.configure("workers.count = 0\nspool.settle = 5\nbatch.docs = 'many'");
    let run = site.run(&["run"]).code(CONFIG);
    assert_eq!(run.stderr.lines().count(), 3, "{run:?}");
    for key in ["workers.count", "spool.settle", "batch.docs"] {
        assert!(run.stderr.contains(key), "{run:?}");
    }
}

#[test]
fn a_wrong_command_line() {
    let site = site();
    for arguments in [&["dance"][..], &["run", "--fast"], &["feed"], &[]] {
        let run = ended(&mut site.command(arguments));
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("Usage: "), "{run:?}");
    }
}

#[test]
fn a_socket_path_that_is_too_long() {
    let site = site();
    let long = format!("{}/{}", site.path("").display(), "s".repeat(100));
    site.configure(&format!("monitor.status.socket = '{long}'"));
    let place = place(&site, &format!("\"{long}\""));
    refused(&site, CONFIG, &[&place, "has at most 107", "choose a shorter one"]);
}

#[test]
fn a_socket_that_is_in_use() {
    let site = site();
    for socket in [site.status_socket(), site.control_socket()] {
        let listener = UnixListener::bind(&socket).unwrap();
        refused(&site, TAKEN, &[socket.to_str().unwrap(), "in use", "set another path"]);
        drop(listener);
        std::fs::remove_file(&socket).unwrap();
        std::fs::write(&socket, "precious").unwrap();
        refused(&site, TAKEN, &[socket.to_str().unwrap(), "something else than a socket"]);
        assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
        std::fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn a_socket_in_a_place_that_cannot_be() {
    let site = site();
    let socket = site.config().join("s"); // in a file
    site.configure(&format!("monitor.control.socket = '{}'", socket.display()));
    refused(&site, CONFIG, &[socket.to_str().unwrap()]);
    site.configure("monitor.control.group = 'no-such-group-here'");
    refused(&site, CONFIG, &["there is no group no-such-group-here", "make it"]);
}

#[test]
fn a_log_file_that_cannot_be_written() {
    let site = site();
    site.configure(&format!("log.file = '{}'", site.path("tmp").display()));
    refused(&site, CONFIG, &[site.path("tmp").to_str().unwrap(), "log.file"]);
}

#[test]
fn a_secret_that_cannot_be_read() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let missing = site.path("password").display().to_string();
    site.configure(&format!("solr.username = 'feeder'\nsolr.password_file = '{missing}'"));
    // The workers read it: so there are lines of the log before the one that counts.
    let run = ended(&mut site.command(&["run"])).code(CONFIG);
    assert!(run.stderr.lines().last().is_some_and(|line| line.contains(&missing)), "{run:?}");
    assert!(!site.status_socket().exists() && !site.control_socket().exists());
}

#[test]
fn a_spool_that_is_a_file() {
    let site = site();
    std::fs::remove_dir_all(site.path("spool")).unwrap();
    std::fs::write(site.path("spool"), "").unwrap();
    refused(&site, CONFIG, &[site.path("spool").to_str().unwrap(), "set spool.dir"]);
    std::fs::remove_file(site.path("spool")).unwrap();
    std::fs::create_dir(site.path("spool")).unwrap();
    std::fs::write(site.spool("active"), "").unwrap();
    refused(
        &site,
        CONFIG,
        &[site.spool("active").to_str().unwrap(), "is not a folder: move it away"],
    );
}

/// `run` in a mount namespace of its own, after this script there; `None`: this machine does not
/// let us.
fn mounted(site: &Site, script: &str) -> Option<Command> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", &format!("{script} && exec \"$@\""), "sh"]);
        command
    };
    let mut attempt = unshare(script);
    attempt.arg("true");
    if attempt.status().is_ok_and(|status| status.success()) {
        let run = site.command(&["run"]);
        let mut command = unshare(script);
        command.arg(run.get_program()).args(run.get_args());
        return Some(command);
    }
    skipped("this user may not mount anything here (unshare --mount)");
    None
}

#[test]
fn a_spool_on_a_read_only_file_system() {
    let site = site();
    let spool = site.path("spool").display().to_string();
    let Some(command) = mounted(&site, &format!("mount -t tmpfs -o ro tmpfs {spool}")) else {
        return;
    };
    refused_by(&site, command, CONFIG, &[&spool, "Read-only file system", "mount it writable"]);
}

#[test]
fn a_spool_with_a_folder_on_another_file_system() {
    let site = site();
    let done = site.spool("done").display().to_string();
    let Some(command) = mounted(&site, &format!("mkdir -p {done} && mount -t tmpfs tmpfs {done}"))
    else {
        return;
    };
    refused_by(&site, command, CONFIG, &[&done, "is on another file system", "must be on one"]);
}
