//! Fork, in a process that provably has one thread; children, signalled by pidfd; reaping.
//!
//! The child of a process with several threads may call nothing but async-signal-safe functions
//! until it execs (POSIX, fork): whatever lock another thread held at that moment stays locked in
//! the child for ever. So [`fork`] counts the threads and refuses, which no care can forget. It
//! never waits for a child; [`reap`] asks with `WNOHANG`.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{self, ForkResult};
use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use crate::Signal;

/// On which side of the fork we are.
pub enum Fork {
    /// The process that forked, and its new child.
    Parent(Child),
    /// The new process, with every signal blocked until [`Newborn::unblock_signals`].
    Child(Newborn),
}

/// Why there was no fork.
#[derive(Debug)]
pub enum ForkError {
    /// This process has so many threads; it must have one.
    Threads(u64),
    /// Threads could not be counted: `/proc/self/task` could not be read.
    Uncounted(io::Error),
    /// The kernel refused.
    Kernel(io::Error),
}

impl std::fmt::Display for ForkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ForkError::Threads(n) => write!(
                f,
                "this process has {n} threads and must have one: a lock held by another thread \
                 would stay locked in the child for ever"
            ),
            ForkError::Uncounted(e) => {
                write!(f, "cannot count threads in /proc/self/task: {e}; mount /proc")
            }
            ForkError::Kernel(e) => write!(f, "fork: {e}"),
        }
    }
}

impl std::error::Error for ForkError {}

/// This process's number of threads, from the link count of `/proc/self/task` (2 µs; a directory
/// has two links and one more for each folder in it).
pub fn threads() -> io::Result<u64> {
    let links = std::fs::metadata("/proc/self/task")?.nlink();
    links
        .checked_sub(2)
        .filter(|n| *n > 0)
        .ok_or_else(|| io::Error::other(format!("it has {links} links")))
}

/// This process's id.
pub fn pid() -> i32 {
    unistd::getpid().as_raw()
}

/// A child process, held by its pidfd: a signal reaches it or nobody, never a stranger that got
/// its number.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

impl Child {
    /// The process id, for people and for [`reap`]'s answer.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal. A child that is gone already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let none: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the pidfd is open for as long as `self` lives, and a null siginfo is allowed
        // (pidfd_send_signal(2)).
        let rc = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal.number(),
                none,
                0,
            )
        };
        match Errno::result(rc) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// A process that has just been forked: it dies with its parent, and its signals are blocked.
pub struct Newborn {
    mask: SigSet,
}

impl Newborn {
    /// Opens the signals again. Call it when the parent's registrations are dropped and one's own
    /// are made: until then a signal would go to the parent's self-pipe.
    pub fn unblock_signals(self) {
        // Cannot fail: the mask is one that was in force before.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
    }

    /// Gives the process a name for `ps` and `top`, cut to 15 bytes.
    pub fn name(&self, name: &str) {
        if let Ok(name) = CString::new(name) {
            let _ = prctl::set_name(&name); // only a label
        }
    }
}

/// Forks, if this process has exactly one thread.
///
/// The child has all signals blocked and is killed by the kernel when its parent dies, even if it
/// is stopped or stuck (`PR_SET_PDEATHSIG`; the parent is compared with the one that forked, since
/// it may have died in between). A child that was stopped before it had run at all is not tied
/// yet: it leaves when it is continued.
pub fn fork() -> Result<Fork, ForkError> {
    match threads() {
        Ok(1) => {}
        Ok(n) => return Err(ForkError::Threads(n)),
        Err(e) => return Err(ForkError::Uncounted(e)),
    }
    // or both sides would print what is buffered now
    let _ = io::stdout().flush();
    let kernel = |e: Errno| ForkError::Kernel(e.into());
    let mut mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask)).map_err(kernel)?;
    let parent = unistd::getpid();
    // SAFETY: this process has one thread, counted above, so no lock is held by another one, and
    // the child may call whatever it likes.
    let forked = unsafe { unistd::fork() };
    match forked {
        Ok(ForkResult::Child) => {
            // SIGKILL ends a stopped process too.
            let tied = prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            if tied.is_err() || unistd::getppid() != parent {
                exit(1);
            }
            Ok(Fork::Child(Newborn { mask }))
        }
        Ok(ForkResult::Parent { child }) => {
            let pidfd = pidfd(child.as_raw());
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
            match pidfd {
                Ok(pidfd) => Ok(Fork::Parent(Child { pid: child.as_raw(), pidfd })),
                Err(e) => {
                    // Not reaped yet, so the number is still its own.
                    let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
                    Err(ForkError::Kernel(e))
                }
            }
        }
        Err(e) => {
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
            Err(kernel(e))
        }
    }
}

pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers in, a new descriptor or an error out.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The exit code of a child that panicked.
const PANICKED: i32 = 101;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It left with this exit code.
    Exited(i32),
    /// A signal of this number ended it.
    Killed(i32),
}

impl Ended {
    /// Whether it ended by something that it did itself: a panic, or a signal that the kernel or
    /// abort(3) gives for that. Others kill with other signals.
    pub fn is_own_fault(self) -> bool {
        match self {
            Ended::Exited(code) => code == PANICKED,
            Ended::Killed(signal) => {
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGABRT].contains(&signal)
            }
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exited(code) => write!(f, "exit {code}"),
            Ended::Killed(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// The next child that has ended, if there is one. Never waits. Fifty deaths at once are one
/// SIGCHLD, so call it until it answers `None`.
pub fn reap() -> Option<(i32, Ended)> {
    // Not nix's waitpid: it answers EINVAL for a child that a real-time signal killed, when that
    // child is reaped already, and its death would never be heard of.
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours and lives until the call is over.
        match Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) }) {
            Ok(0) => return None,
            Ok(pid) if libc::WIFEXITED(status) => {
                return Some((pid, Ended::Exited(libc::WEXITSTATUS(status))));
            }
            Ok(pid) if libc::WIFSIGNALED(status) => {
                return Some((pid, Ended::Killed(libc::WTERMSIG(status))));
            }
            // A stopped child is not a dead child; a signal is no answer.
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return None, // ECHILD: there are no children
        }
    }
}

/// Plays a child's whole life and ends the process with the code that `body` returns: nothing
/// that stands further up the stack runs, in particular no `Drop` of the parent's, also when
/// `body` panics (then the code is 101).
pub fn role(body: impl FnOnce() -> i32) -> ! {
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(PANICKED);
    let _ = io::stdout().flush();
    exit(code)
}

/// Ends the process at once, without handlers and destructors.
fn exit(code: i32) -> ! {
    #[cfg(coverage_of_children)]
    crate::coverage::write();
    // SAFETY: _exit(2) may be called at any time.
    unsafe { libc::_exit(code) }
}
