//! Where a thread sits in the kernel: the proof that it hangs, and on what.

use nix::libc;
use std::fmt;

/// The system call that a thread is in, and the kernel function in which it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seat {
    /// In this system call, waiting in that function (`/proc/PID/syscall`, `/proc/PID/wchan`).
    Call(i64, String),
    /// Not waiting in a call.
    Running,
    /// This kernel does not tell.
    Untold,
}

impl Seat {
    /// Of the process or thread with this id.
    pub(crate) fn of(id: i32) -> Seat {
        let read = |what| std::fs::read_to_string(format!("/proc/{id}/{what}"));
        let Ok(syscall) = read("syscall") else { return Seat::Untold };
        match syscall.split_whitespace().next().map(str::parse) {
            Some(Ok(number)) if number >= 0 => {
                let wchan = read("wchan").unwrap_or_default();
                Seat::Call(number, if wchan == "0" { String::new() } else { wchan })
            }
            _ => Seat::Running,
        }
    }

    /// It waits for a lock, as far as one can see.
    pub(crate) fn may_be_a_lock(&self) -> bool {
        matches!(self, Seat::Call(libc::SYS_futex, _) | Seat::Untold)
    }

    /// It waits for room in a pipe, as far as one can see.
    pub(crate) fn may_be_a_write(&self) -> bool {
        matches!(self, Seat::Call(libc::SYS_write, _) | Seat::Untold)
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seat::Call(number, wchan) => {
                let name = match *number {
                    libc::SYS_futex => "futex",
                    libc::SYS_write => "write",
                    _ => "another",
                };
                write!(f, "syscall {number} {name}")?;
                if wchan.is_empty() { Ok(()) } else { write!(f, ", {wchan}") }
            }
            Seat::Running => write!(f, "runs"),
            Seat::Untold => write!(f, "(/proc does not tell)"),
        }
    }
}
