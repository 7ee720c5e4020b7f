//! Signals: a handler only sets a flag and wakes the loop by a byte in a pipe (self-pipe, by
//! signal-hook); and a way to do something with all of them blocked.

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use signal_hook::{SigId, consts, flag, low_level};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: reload.
    Hangup,
    /// SIGTERM: leave in order.
    Terminate,
    /// SIGINT: leave in order, from a terminal.
    Interrupt,
    /// SIGCHLD: a child has ended.
    Child,
    /// SIGABRT: leave now, and a core dump may say where it hung.
    Abort,
    /// SIGKILL: end.
    Kill,
    /// SIGCONT: go on. (A stopped process does not see any other signal but SIGKILL.)
    Continue,
}

impl Signal {
    pub(crate) fn number(self) -> i32 {
        match self {
            Signal::Hangup => consts::SIGHUP,
            Signal::Terminate => consts::SIGTERM,
            Signal::Interrupt => consts::SIGINT,
            Signal::Child => consts::SIGCHLD,
            Signal::Abort => consts::SIGABRT,
            Signal::Kill => libc::SIGKILL,
            Signal::Continue => consts::SIGCONT,
        }
    }
}

/// The signals one process waits for, as a descriptor for `poll`.
///
/// Dropping it takes the registrations back; the signals are then ignored (signal-hook leaves its
/// handler in place, and resetting to the default behind its back would keep it from ever being
/// installed again).
pub struct Signals {
    pipe: OwnedFd,
    watched: Vec<(Signal, Arc<AtomicBool>)>,
    registered: Vec<SigId>,
}

impl Signals {
    /// Registers for these signals, and opens them: whoever started this process may have had them
    /// blocked, and a mask is inherited.
    pub fn watch(signals: &[Signal]) -> io::Result<Signals> {
        let flags = nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK;
        let (pipe, wake) = nix::unistd::pipe2(flags)?;
        let mut this = Signals { pipe, watched: Vec::new(), registered: Vec::new() };
        let mut opened = SigSet::empty();
        for signal in signals {
            let raised = Arc::new(AtomicBool::new(false));
            // The flag first: the byte must never be seen before it.
            let id = flag::register(signal.number(), Arc::clone(&raised))?;
            this.registered.push(id);
            let id = low_level::pipe::register(signal.number(), wake.try_clone()?)?;
            this.registered.push(id);
            this.watched.push((*signal, raised));
            let number = nix::sys::signal::Signal::try_from(signal.number())?;
            opened.add(number);
        }
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&opened), None)?;
        Ok(this)
    }

    /// The signals that have come since the last call, each once.
    pub fn take(&self) -> Vec<Signal> {
        let mut buffer = [0; 64];
        while matches!(nix::unistd::read(&self.pipe, &mut buffer), Ok(n) if n > 0) {}
        let came = |raised: &AtomicBool| raised.swap(false, Ordering::SeqCst);
        self.watched.iter().filter(|(_, raised)| came(raised)).map(|(signal, _)| *signal).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}

/// Runs `work` with every signal blocked. A thread inherits the mask of the one that starts it:
/// post threads are started in here, or half of the process's SIGTERMs would run on them.
pub fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let done = work();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(done)
}
