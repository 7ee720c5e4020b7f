//! A worker, forked in the one way or the other. It dies with this process in both.

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill as send};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::io;

use crate::Way;

/// Forks a child that lives for `body`; its pid.
pub(crate) fn fork(way: Way, body: impl FnOnce()) -> io::Result<i32> {
    match way {
        Way::Thread => fork_as_everybody_does(body),
        Way::Child => match sys::fork().map_err(io::Error::other)? {
            sys::Fork::Parent(child) => Ok(child.pid()),
            sys::Fork::Child(newborn) => sys::role(|| {
                newborn.unblock_signals();
                body();
                0
            }),
        },
    }
}

#[expect(unsafe_code, reason = "the demonstration of the bug that sys::fork makes impossible")]
fn fork_as_everybody_does(body: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: none, and that is the point: with a second thread in this process the child may call
    // nothing but async-signal-safe functions (POSIX, fork), and logging is not one of them.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            // It may hang soon, and must not outlive the demonstration.
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            sys::role(|| {
                body();
                0
            })
        }
    }
}

/// Whether a child has ended by itself; it is reaped then.
pub(crate) fn has_ended(pid: i32) -> io::Result<bool> {
    Ok(waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG))? != WaitStatus::StillAlive)
}

/// Kills a child that has not been reaped, and reaps it.
pub(crate) fn kill(pid: i32) -> io::Result<()> {
    send(Pid::from_raw(pid), Signal::SIGKILL)?;
    waitpid(Pid::from_raw(pid), None)?;
    Ok(())
}
