//! What a service manager hears (sd_notify(3)), and that it hears it of the parent alone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Daemon, Delta, FakeSolr, Manager, Mode, Process, Site, wait_for};

/// The daemon, told that somebody listens there, and what else there is in these words of a shell.
fn watched(site: &Site, address: &str, more: &str) -> Daemon {
    let daemon = site.command(&["run"]);
    let mut command = Command::new("sh");
    // The shell becomes the daemon, so its pid is the daemon's.
    let words = format!("{more} exec \"$0\" \"$@\"");
    command.args(["-c", &words]).arg(daemon.get_program()).args(daemon.get_args());
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("NOTIFY_SOCKET", address).env("CREDENTIALS_DIRECTORY", "/run/credentials/ours");
    let log = std::fs::File::options().create(true).append(true).open(site.log()).unwrap();
    Daemon::spawn_by(command, site, log.into())
}

/// A place, whoever watches over its daemon, and that, up.
fn with_manager(solr: &FakeSolr, changes: &str, more: &str) -> (Site, Manager, Daemon) {
    let site = Site::new(solr.url());
    site.configure(changes);
    let path = site.path("notify");
    let manager = Manager::at(&path);
    let daemon = watched(&site, path.to_str().unwrap(), more);
    manager.hears_line("READY=1", 0);
    (site, manager, daemon)
}

/// What a process was started with and still has of it (proc(5), `environ`).
fn environment(process: Process) -> String {
    let bytes = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a process holds a datagram socket of the Unix family: the only one there is speaks to the
/// manager. (/proc/net/unix: type in the fifth column, inode in the seventh.)
fn can_notify(process: Process) -> bool {
    const DATAGRAM: &str = "0002";
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let fields = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let inodes: Vec<String> = fields
        .filter(|f| f.get(4) == Some(&DATAGRAM))
        .filter_map(|f| Some(format!("socket:[{}]", f.get(6)?)))
        .collect();
    let folder = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
    let links = folder.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    links.into_iter().any(|link| inodes.iter().any(|inode| Path::new(inode) == link))
}

#[test]
fn ready_is_said_when_workers_and_monitor_are_and_never_of_a_configuration_that_is_wrong() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (path, missing) = (site.path("notify"), site.path("password"));
    let manager = Manager::at(&path);
    let credentials =
        format!("solr.username = 'feeder'\nsolr.password_file = '{}'", missing.display());
    site.configure(&credentials);
    let daemon = watched(&site, path.to_str().unwrap(), "");
    assert_eq!(daemon.ended(), Some(78));
    let heard = manager.heard();
    assert!(!heard.iter().any(|notice| notice.says("READY=1")), "{heard:?}");
    let (at, _) = manager.hears_line("STOPPING=1", 0);
    let (_, why) = manager.hears_status("stopping: ", at);
    assert!(why.value("STATUS").unwrap().contains("solr.password_file"), "{why:?}");

    std::fs::write(missing, "secret\n").unwrap();
    let before = manager.count();
    let daemon = watched(&site, path.to_str().unwrap(), "");
    manager.hears_line("READY=1", before);
    let status = daemon.status();
    let is_there = |worker: &serde_json::Value| !worker["pid"].is_null();
    assert!(status["workers"].as_array().unwrap().iter().all(is_there), "{status}");
    assert_eq!(daemon.parent.children().len(), 3, "two workers and the monitor");
    daemon.stop();
}

#[test]
fn a_reload_is_told_with_its_beginning_and_its_end_and_one_that_is_refused_with_the_reason() {
    let solr = FakeSolr::up();
    let (site, manager, daemon) = with_manager(&solr, "", "");
    let now = sys::notify::monotonic_usec;
    let mut from = manager.count();
    for (changes, status) in
        [("", "0 waiting"), ("workers.count = 0", "workers.count = 0: need at least 1"), ("", "")]
    {
        site.configure(changes);
        let asked = now();
        daemon.parent.signal(Signal::SIGHUP);
        let (begun, notice) = manager.hears_line("RELOADING=1", from);
        let since: u64 = notice.value("MONOTONIC_USEC").unwrap().parse().unwrap();
        assert!((asked..=now()).contains(&since), "{asked} {notice:?}");
        let (over, notice) = manager.hears_line("READY=1", begun + 1);
        let line = notice.value("STATUS").unwrap();
        assert!(line.contains(status), "{notice:?}");
        let is_refused = changes.contains('0');
        assert_eq!(line.contains("running on the old configuration"), is_refused, "{line}");
        from = over + 1;
    }
    daemon.stop();
}

#[test]
fn a_stop_is_told_with_how_long_it_may_take() {
    let solr = FakeSolr::up();
    let (_site, manager, daemon) = with_manager(&solr, "workers.stop_timeout = '40s'", "");
    let before = manager.count();
    daemon.stop();
    let (at, notice) = manager.hears_line("STOPPING=1", before);
    assert_eq!(notice.value("EXTEND_TIMEOUT_USEC"), Some("45000000"));
    manager.hears_status("stopping", at);
}

#[test]
fn the_parents_loop_feeds_the_watchdog_and_nothing_else_does() {
    let solr = FakeSolr::up();
    let (_site, manager, daemon) = with_manager(
        &solr,
        "",
        "WATCHDOG_PID=$$; WATCHDOG_USEC=400000; export WATCHDOG_PID WATCHDOG_USEC;",
    );
    let (first, _) = manager.hears_line("WATCHDOG=1", 0);
    manager.hears_line("WATCHDOG=1", first + 1);
    let children = daemon.parent.children();
    daemon.parent.freeze();
    let before = manager.count();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(manager.count(), before, "a parent that stands still gives no sign of life");
    assert!(children.len() == 3 && children.iter().all(|child| child.is_alive()));
    daemon.parent.signal(Signal::SIGCONT);
    manager.hears_line("WATCHDOG=1", before);
    assert_eq!(daemon.status()["parent"]["threads"], 1);
    daemon.stop();
}

#[test]
fn a_watchdog_that_is_for_another_process_is_not_fed() {
    let solr = FakeSolr::up();
    let words = "WATCHDOG_PID=1; WATCHDOG_USEC=100000; export WATCHDOG_PID WATCHDOG_USEC;";
    let (site, manager, daemon) = with_manager(&solr, "", words);
    for n in 0..3 {
        site.hand_over(&format!("{n}.jsonl"), format!("{{\"id\":\"{n}\"}}\n"));
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n + 1);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(!manager.heard().iter().any(|notice| notice.says("WATCHDOG=1")));
    daemon.stop();
}

#[test]
fn no_child_can_speak_to_the_manager_or_sees_what_is_said_to_the_parent() {
    let solr = FakeSolr::up();
    let words = "WATCHDOG_PID=$$; WATCHDOG_USEC=54321000; export WATCHDOG_PID WATCHDOG_USEC;";
    let (site, manager, daemon) = with_manager(&solr, "", words);
    assert!(can_notify(daemon.parent), "or this test sees nothing");
    for round in 0..2 {
        // Those of the generation before are on their way out.
        wait_for("one generation is left", || daemon.parent.children().len() == 3);
        let children = daemon.parent.children();
        for child in children {
            let environment = environment(child);
            assert!(environment.contains("TMPDIR="), "or this test sees nothing");
            let notify = site.path("notify");
            for secret in [notify.to_str().unwrap(), "54321000", "/run/credentials/ours"] {
                assert!(!environment.contains(secret), "{} sees {secret}", child.name());
            }
            assert!(!can_notify(child), "{}", child.name());
        }
        if round == 0 {
            let before = manager.count();
            daemon.parent.signal(Signal::SIGHUP);
            manager.hears_line("READY=1", before);
        }
    }
    let parent = daemon.parent.pid;
    daemon.stop();
    let heard = manager.heard();
    assert!(heard.iter().all(|notice| notice.pid == parent), "{heard:?}");
}

#[test]
fn an_abstract_address_is_one_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let name = format!("su-notify-{}", std::process::id());
    let manager = Manager::abstract_at(&name);
    let daemon = watched(&site, &format!("@{name}"), "");
    manager.hears_line("READY=1", 0);
    daemon.stop();
    manager.hears_line("STOPPING=1", 0);
}

#[test]
fn a_manager_that_is_gone_stops_nothing() {
    let solr = FakeSolr::up();
    for (address, is_bound) in [("notify", true), ("nobody", false), ("", false)] {
        let site = Site::new(solr.url());
        let path = site.path(address);
        let manager = is_bound.then(|| Manager::at(&path));
        let address = if address.is_empty() { "no address" } else { path.to_str().unwrap() };
        let daemon = watched(&site, address, "WATCHDOG_USEC=20000; export WATCHDOG_USEC;");
        daemon.up();
        drop(manager); // and its socket stays, refusing
        site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
        site.run(&["reload"]).code(0);
        daemon.stop();
    }
}

#[test]
fn a_manager_that_does_not_read_holds_nothing_up_and_misses_nothing_that_counts() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let path = site.path("notify");
    let manager = Manager::at(&path);
    // Signs of life fill its queue (net.unix.max_dgram_qlen) before anybody is ready.
    let daemon =
        watched(&site, path.to_str().unwrap(), "WATCHDOG_USEC=2000; export WATCHDOG_USEC;");
    daemon.up();
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    std::thread::sleep(Duration::from_secs(1));
    daemon.parent.signal(Signal::SIGHUP);
    daemon.wait("it has reloaded", |status| status["parent"]["reloads"] == 1);
    let (begun, _) = manager.hears_line("RELOADING=1", 0);
    manager.hears_line("READY=1", begun + 1);
    daemon.stop(); // and nobody reads that either
}

#[test]
fn the_line_for_people_says_what_is_delivered_and_what_is_wrong_and_no_name_speaks_through_it() {
    let solr = FakeSolr::up();
    let health = "health.solr = { warning = '1s', critical = '2s' }\nbatch.docs = 50";
    let (site, manager, daemon) = with_manager(&solr, health, "");
    solr.turn(Mode::Slow(Duration::from_millis(50)));
    let before = manager.count();
    let name = "x\nWATCHDOG=trigger\ny.jsonl";
    site.hand_over(name, &Delta::offers(0..20_000, 1).text);
    let (at, _) = manager.hears_status("delivering x?WATCHDOG=trigger?y.jsonl (", before);
    manager.hears("a rate", at, |notice| {
        let rate = notice.value("STATUS").and_then(|line| line.split(", ").nth(1));
        rate.is_some_and(|rate| rate.ends_with(" docs/s") && !rate.starts_with('0'))
    });
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    let (at, _) = manager.hears_status("docs/s, 1 waiting", at);
    solr.turn(Mode::Down);
    let (at, _) = manager.hears_status("Solr has taken nothing for ", at);
    solr.turn(Mode::Up);
    let (at, _) = manager.hears_status("0 waiting, 2 settled", at);
    site.run(&["pause"]).code(0);
    let (at, _) = manager.hears_status("paused; ", at);
    site.run(&["resume"]).code(0);
    manager.hears("it is well again", at, |n| n.value("STATUS") == Some("0 waiting, 2 settled"));
    assert!(!manager.heard().iter().any(|notice| notice.value("WATCHDOG").is_some()));
    daemon.stop();
}
