//! What `sys::fork`, `sys::role` and `sys::reap` promise.
#![allow(clippy::disallowed_methods, reason = "tests run processes; nothing here is forked")]

mod common;

use common::{Running, play, scene, within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

#[test]
fn fork_refuses_beside_a_thread() {
    let said = play(&["fork-beside-a-thread"]);
    assert_eq!(
        said,
        "beside a thread: this process has 2 threads and must have one: a lock held by another \
         thread would stay locked in the child for ever\nalone: exit 0\n"
    );
}

/// Kills this process in the end: one that is stopped would stay for ever, should the test fail.
struct Kill(i32);

impl Drop for Kill {
    fn drop(&mut self) {
        if sys::files::process_start(self.0).is_some() {
            let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL); // it may be gone by now
        }
    }
}

#[test]
fn a_child_dies_with_its_parent_even_when_stopped() {
    for stopped in [false, true] {
        let mut parent = Running::start(scene(&["live-with-a-child"]));
        let child: i32 = parent.line().expect("a pid").parse().expect("a pid");
        let _end = Kill(child);
        if stopped {
            kill(Pid::from_raw(child), Signal::SIGSTOP).expect("it lives");
            let stat = format!("/proc/{child}/stat");
            let is_stopped = || std::fs::read_to_string(&stat).is_ok_and(|s| s.contains(") T "));
            within(Duration::from_secs(5), is_stopped);
        }
        parent.process.kill().expect("it lives"); // SIGKILL
        parent.process.wait().expect("it is ours");
        within(Duration::from_secs(1), || sys::files::process_start(child).is_none());
    }
}

#[test]
fn a_child_whose_parent_is_gone_at_once_is_gone_too_whoever_adopts_it() {
    assert_eq!(play(&["adopt-orphans"]), "all are gone\n");
}

#[test]
fn fifty_deaths_at_once_are_all_reaped() {
    assert_eq!(play(&["fifty-deaths"]), "signals: [Child]\nreaped: 50\n");
}

#[test]
fn a_stopped_child_is_no_dead_child() {
    let said = play(&["stop-and-death-by", "15"]);
    assert_eq!(said, "stopped: None\ncontinued: Killed(15)\n");
}

#[test]
fn a_child_that_a_real_time_signal_killed_is_reaped_too() {
    let said = play(&["stop-and-death-by", "37"]);
    assert_eq!(said, "stopped: None\ncontinued: Killed(37)\n");
}

#[test]
fn a_panic_in_a_role_runs_no_drop_of_the_parent() {
    let folder = tempfile::tempdir().expect("a folder");
    let pidfile = folder.path().join("pid");
    let said = play(&["panic-in-a-role", pidfile.to_str().expect("text")]);
    assert_eq!(said, "exit 101, pidfile: true\n");
    assert!(!pidfile.exists(), "the parent's own drop ran when the parent left");
}

#[test]
fn stdout_is_not_printed_twice() {
    assert_eq!(play(&["print-and-fork"]), "once, child, parent\n");
}

#[test]
fn forked_children_do_not_leak_fds() {
    let said = play(&["count-fds"]);
    let (before, after) = said.trim().split_once(", after ").expect("two numbers");
    assert_eq!(before, format!("before {after}"));
}
