//! What `sys::Signals` promises.
#![allow(clippy::disallowed_methods, reason = "tests run processes; nothing here is forked")]

mod common;

use common::{Running, play, scene};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::Pid;

#[test]
fn a_signal_to_the_child_does_not_wake_the_parent() {
    // Were it to wake it, the parent would hear Terminate.
    let said = play(&["signal-a-newborn"]);
    assert!(said.starts_with("the parent hears [Child]\n"), "{said}");
}

#[test]
fn signals_arrive_after_newborn_unblock() {
    let said = play(&["signal-a-newborn"]);
    assert!(said.ends_with("the child: exit 7\n"), "{said}");
}

#[test]
fn signals_blocked_by_whoever_started_us_are_heard() {
    // The mask of this test's thread, which the process inherits.
    let blocked = SigSet::from(Signal::SIGTERM);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).expect("a mask");
    let mut running = Running::start(scene(&["watch-blocked-signals"]));
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&blocked), None).expect("a mask");
    assert_eq!(running.line().as_deref(), Some("ready"));
    let pid = Pid::from_raw(running.process.id() as i32);
    kill(pid, Signal::SIGTERM).expect("it lives");
    assert_eq!(running.line().as_deref(), Some("heard [Terminate]"));
}
