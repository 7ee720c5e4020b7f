//! The bugs of others: what went wrong in daemons that fork workers, for years, in production. Those
//! that could happen here, and the test that would see it; where none of the rest of the tests did,
//! it is in this file.
//!
//! | whose bug | test |
//! | --- | --- |
//! | gunicorn #3509, #3529, uWSGI #2387, #1149, #1369, openvas #491, cvmfs #3995: a fork beside a thread that logs | `fork_refuses_beside_a_thread` (sys), `the_parent_has_one_task_…`, tests/link-check, docs/deadlock |
//! | gunicorn #3648, haproxy #738, 67e371ea: a reload leaks threads, descriptors | `a_thousand_reloads_leak_nothing` |
//! | haproxy #1792, Kong #6904: old generations pile up, shutting down for ever | [`an_old_generation_that_hangs_is_ended_and_keeps_no_sibling`]; the machine's model |
//! | haproxy 709cde6d: a reload in a reload | `a_reload_in_a_reload_comes_after_it`; the machine's model |
//! | haproxy #3229: signals stay blocked after a reload, or a fork, that failed | `a_bad_reload_keeps_the_old_configuration_and_says_so`, [`a_parent_out_of_descriptors_forks_again_when_it_has_some`] |
//! | httpd CVE-2007-3304, CVE-2012-0031, CVE-2019-0211, PHP CVE-2021-21703: the parent believes what a child wrote | [`a_pid_scribbled_on_the_page_is_never_signalled`] |
//! | httpd CVE-2014-0226: a torn read of the status | tests/latch, `a_scribbled_length_is_no_trouble` (scoreboard) |
//! | httpd 6b05a451: a thread of a child's takes the child's signals | [`signals_to_a_worker_are_its_main_threads`] |
//! | httpd CVE-2007-3303, PHP CVE-2015-9253: a child makes the parent fork without a rest | `the_first_replacement_comes_at_once_a_crash_loop_ever_later` (parent) |
//! | httpd, uWSGI: backing off by sleep | clippy.toml; the machine's model (nothing that is due is left undone) |
//! | uWSGI #2535, PHP #13437, #17912: a lock in shared memory dies with its holder | `a_writer_killed_between_any_two_stores_…` (tests/latch) |
//! | nginx, klangk #1533: orphans of a killed parent keep the port | `the_children_of_a_killed_parent_are_gone_within_a_second_stopped_ones_too` |
//! | nginx afad2191: an orphan looks for parent 1, and a subreaper has adopted it | `a_child_whose_parent_is_gone_at_once_is_gone_too_whoever_adopts_it` (sys) |
//! | nginx 450659e6: a storm of SIGCHLD hurries the kill | `a_storm_of_deaths_brings_no_deadline_nearer` (parent) |
//! | a sibling that keeps a pipe's end delays the end-of-file | [`an_old_generation_that_hangs_is_ended_and_keeps_no_sibling`] |
//! | unicorn: after a suspend all look hung | [`a_daemon_that_was_suspended_kills_nobody`] |
//! | Postfix, gunicorn #1584: a child nobody knows is reaped, or one is taken from its owner | [`a_strangers_death_is_nobodys`]; the parent starts no program (clippy.toml) |
//! | Postfix: a stopped child is taken for a dead one; a report of a pid's former owner | `a_stopped_child_is_no_dead_child` (sys); children have numbers of our own, never used twice |
//! | PostgreSQL 017_shm: a second daemon while an orphan lives, and the file that says so removed | `a_daemon_waits_for_what_a_dead_one_has_left_behind`, [`a_second_daemon_is_refused_though_the_lock_file_is_removed`] |
//! | gpdb #1662, OpenSSH CVE-2024-6387, a6a740a4: a handler does what no handler may | [`signals_that_come_while_it_stops_change_nothing`]; handlers set a flag (sys) |
//! | asio #349, Serenity #2718: the child's signal arrives at the parent | `a_signal_to_the_child_does_not_wake_the_parent` (sys) |
//! | sozu, #534: no waitpid, so zombies; a restarted worker that never listens | `a_thousand_reloads_leak_nothing`, `any_signal_to_the_monitor_loses_nothing` |
//! | sozu: a length in a frame brings the parent down | `garbage_is_refused_and_never_trusted_with_a_length` (orders) |
//! | sozu: a living daemon's socket is deleted; bind, and only then chmod | `a_dead_daemons_socket_is_taken_over_a_living_ones_never`, `listen_sets_exactly_the_mode_whatever_the_umask` (sys) |
//! | a stalled journal stops the supervisor | `a_parent_whose_stderr_is_a_full_pipe_goes_on` |

use std::os::unix::fs::FileExt;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Process, Site, assert_same, wait_for};

/// A Solr slow enough for something to happen in mid-delta.
const SLOW: Mode = Mode::Slow(Duration::from_millis(20));

/// A process that has nothing to do with it.
struct Bystander(Child);

impl Bystander {
    fn start() -> Bystander {
        Bystander(Command::new("sleep").arg("600").spawn().unwrap())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fills the page that a process shares with the whole daemon with this word.
fn scribble(process: Process, word: u64) {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid)).unwrap();
    let page = maps.lines().find(|line| line.contains(" rw-s ") && line.contains("/dev/zero"));
    let range = page.expect("it shares a page").split(' ').next().unwrap();
    let (from, to) = range.split_once('-').unwrap();
    let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
    let memory = std::fs::File::options().write(true).open(format!("/proc/{}/mem", process.pid));
    let words = word.to_ne_bytes().repeat((to - from) as usize / 8);
    memory.unwrap().write_all_at(&words, from).unwrap();
}

#[test]
fn a_pid_scribbled_on_the_page_is_never_signalled() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.stop_timeout = '5s'");
    let mut bystander = Bystander::start();
    let pid = u64::from(bystander.0.id());
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..8_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    for round in 1..=4 {
        wait_for("it is under way", || solr.taken() > round * 1_000);
        let [first, second] = daemon.workers()[..] else { panic!("there are two workers") };
        let twice = if round % 2 == 0 { pid << 32 } else { 0 };
        scribble(first, pid | twice);
        second.signal(Signal::SIGKILL);
        if round % 2 == 0 {
            first.freeze(); // so that it has to be killed
            daemon.parent.signal(Signal::SIGHUP);
        }
    }
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    scribble(daemon.workers()[0], pid);
    daemon.stop();
    assert_eq!(bystander.0.try_wait().unwrap(), None, "it was none of their business");
}

#[test]
fn a_daemon_that_was_suspended_kills_nobody() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    // As short as it may be: ten seconds more than Solr's time-out.
    site.configure(
        "workers.hang_timeout = '12s'\nsolr.timeout = '2s'\nsolr.connect_timeout = '1s'\nbatch.docs = 50",
    );
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..6_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 500);
    let mut all = daemon.workers();
    all.push(daemon.monitor());
    daemon.parent.freeze();
    all.iter().for_each(|child| child.freeze());
    std::thread::sleep(Duration::from_secs(13)); // longer than hang_timeout
    daemon.parent.signal(Signal::SIGCONT);
    // It is the first to look at them: they have shown no life for longer than they may.
    wait_for("it has noticed", || daemon.tail_of_log().contains("stood still"));
    all.iter().for_each(|child| child.signal(Signal::SIGCONT));
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(
        (&status["totals"]["worker_hangs"], &status["monitor"]["restarts"]),
        (&0.into(), &0.into())
    );
    assert!(all.iter().all(|child| child.is_alive()));
    daemon.stop();
}

#[test]
fn a_strangers_death_is_nobodys() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    // What a process forks before it becomes the daemon is a child of the daemon's.
    let run = site.command(&["run"]);
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 60 & exec \"$@\"", "sh"]).arg(run.get_program());
    command.args(run.get_args()).current_dir(site.path(""));
    let log = std::fs::File::create(site.log()).unwrap();
    let daemon = Daemon::spawn_by(command, &site, log.into());
    let mut children = daemon.workers();
    children.push(daemon.monitor());
    let all = daemon.parent.children();
    let [stranger] = all.iter().filter(|child| !children.contains(child)).collect::<Vec<_>>()[..]
    else {
        panic!("{all:?} are not {children:?} and one more");
    };
    let delta = Delta::offers(0..4_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 500);
    stranger.signal(Signal::SIGKILL);
    daemon.workers()[0].signal(Signal::SIGKILL);
    wait_for("it is reaped", || stranger.state().is_none());
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(status["totals"]["worker_deaths"], 1);
    assert!(daemon.tail_of_log().contains("reaped a stranger"));
    daemon.stop();
}

#[test]
fn an_old_generation_that_hangs_is_ended_and_keeps_no_sibling() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50\nworkers.stop_timeout = '5s'");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..10_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 500);
    // The second was forked when the first one's pipe was there: it must not have an end of it.
    let [first, second] = daemon.workers()[..] else { panic!("there are two workers") };
    second.freeze();
    daemon.parent.signal(Signal::SIGHUP);
    wait_for("the first has left", || !first.is_alive());
    assert!(second.is_alive(), "the other one had to be ended first");
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert!(!second.is_alive(), "it had a share");
    assert_eq!((&status["parent"]["reloads"], daemon.parent.children().len()), (&1.into(), 3));
    site.run(&["reload"]).code(0);
    daemon.stop();
}

#[test]
fn signals_that_come_while_it_stops_change_nothing() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let delta = Delta::offers(0..4_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    for so_far in [300, 900, 1_500] {
        let daemon = Daemon::start(&site);
        wait_for("it is under way", || solr.taken() > so_far);
        let children = daemon.parent.children();
        while daemon.parent.is_alive() {
            for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGCHLD] {
                daemon.parent.signal(signal);
                children.iter().for_each(|child| child.signal(Signal::SIGTERM));
            }
        }
        daemon.stop();
    }
    let daemon = Daemon::start(&site);
    daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
    assert_same(&solr.docs(), &delta.docs);
    daemon.stop();
}

/// Sets how many files a process may have open, or takes that back.
fn limit_files(process: Process, most: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={}", process.pid), format!("--nofile={most}:")]);
    assert!(prlimit.status().expect("prlimit, of util-linux, is there").success());
}

#[test]
fn a_parent_out_of_descriptors_forks_again_when_it_has_some() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let has = |fd: &u32| std::fs::exists(format!("/proc/{}/fd/{fd}", daemon.parent.pid)).unwrap();
    let free = (0..).find(|fd| !has(fd)).expect("there is no end to numbers");
    limit_files(daemon.parent, &free.to_string());
    daemon.workers()[0].signal(Signal::SIGKILL);
    wait_for("it cannot fork", || daemon.tail_of_log().contains("no fork, trying again later"));
    limit_files(daemon.parent, "1024");
    daemon.up();
    // Whatever it had blocked to fork, it hears again.
    daemon.parent.signal(Signal::SIGHUP);
    daemon.wait("it has reloaded", |status| status["parent"]["reloads"] == 1);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(solr.order(), ["x"]);
    daemon.stop();
}

#[test]
fn a_second_daemon_is_refused_though_the_lock_file_is_removed() {
    let solr = FakeSolr::in_mode(SLOW);
    let site = Site::new(solr.url());
    site.configure("batch.docs = 50");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..4_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.taken() > 500);
    std::fs::remove_file(site.spool(".lock")).unwrap();
    site.run(&["run"]).code(75);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(status["totals"]["lines"], delta.lines);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(solr.taken(), delta.lines, "nothing was sent twice");
    daemon.stop();
}

#[test]
fn signals_to_a_worker_are_its_main_threads() {
    const SIGTERM: u64 = 1 << (Signal::SIGTERM as u64 - 1); // as /proc writes a mask
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    for worker in daemon.workers() {
        assert!(worker.tasks() > 1, "it posts by threads of its own");
        for task in std::fs::read_dir(format!("/proc/{}/task", worker.pid)).unwrap() {
            let task = task.unwrap();
            let text = std::fs::read_to_string(task.path().join("status")).unwrap();
            let mask = text.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            let blocked = u64::from_str_radix(mask.trim(), 16).unwrap() & SIGTERM != 0;
            let is_main = task.file_name().to_str() == Some(&worker.pid.to_string());
            assert_eq!(blocked, !is_main, "SIGTERM in {text}");
        }
    }
    daemon.stop();
}
