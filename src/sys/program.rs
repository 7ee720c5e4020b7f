//! Programs that a process starts and keeps beside it, at the ends of pipes: they see nothing of ours but
//! what is handed to them, and end with us.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use crate::fork::pidfd;
use crate::{Interest, poll};

/// What a pipe to a program holds, where the system lets it.
const PIPE: i32 = 1 << 20;

/// Has a program begin as if nobody had been there before: in a process group of its own, with no signal
/// blocked or ignored, and of our descriptors none but 0, 1 and 2. And it is killed by the kernel when the
/// thread that starts it is gone, whatever that died of: so it is started by the main thread. (What it
/// starts itself is not: that finds its pipe closed.)
pub fn tie(command: &mut Command) {
    let parent = unistd::getpid();
    command.process_group(0);
    let begin = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        if unistd::getppid() != parent {
            return Err(Errno::ESRCH.into()); // it died in between
        }
        for number in 1..=libc::SIGRTMAX() {
            // SAFETY: async-signal-safe, and the default needs no handler. Some refuse, which says
            // that nobody can have changed them.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        // What others have left open for us, too. (Not before Linux 5.11, and then ours close by themselves.)
        // SAFETY: plain numbers, and nothing is closed before the exec.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    };
    // SAFETY: it runs between fork and exec in the child of a process with threads: it allocates nothing,
    // takes no lock, and all it calls are system calls.
    unsafe { command.pre_exec(begin) };
}

/// A program that was started after [`tie`], and not waited for: so its numbers are its own.
#[derive(Debug)]
pub struct Tied {
    pidfd: OwnedFd,
    group: i32,
}

impl Tied {
    /// Holds one that has just been started.
    pub fn of(child: &Child) -> io::Result<Tied> {
        let group = child.id() as i32;
        Ok(Tied { pidfd: pidfd(group)?, group })
    }

    /// Whether it has ended. What it started may live.
    pub fn has_ended(&self) -> bool {
        let polled = poll(&[(self.pidfd.as_fd(), Interest::Read)], Some(Duration::ZERO));
        polled.is_ok_and(|polled| polled[0].readable)
    }

    /// Ends it, and all in its process group. Only before it is waited for.
    pub fn kill(&self) {
        let group = nix::unistd::Pid::from_raw(self.group);
        // Whoever is gone already is no error.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
}

impl AsFd for Tied {
    /// Readable from its end on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Our end of a pipe to a program: it never makes us wait, and holds much.
pub fn open_wide(pipe: BorrowedFd<'_>) -> io::Result<()> {
    // (The system may have a lower limit, and then it holds less.)
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE));
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// How many bytes stand in a pipe that nobody has read. Either end may ask.
pub fn unread(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open while it is borrowed, and FIONREAD writes one int, which is ours.
    Errno::result(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut bytes) })?;
    Ok(bytes as usize)
}
