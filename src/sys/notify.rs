//! What a service manager says to the process that it started, and a word back to it (sd_notify(3)),
//! by one datagram that is never waited for.
//!
//! Not by a library: those at hand send with a blocking socket, and a service manager that does
//! not read must not stop the parent.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use nix::time::{ClockId, clock_gettime};
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use crate::socket::Sent;

/// What it says to us alone, by the environment.
#[derive(Default)]
pub struct Told {
    /// Where it listens; `None`: nobody asked, or there is no such address.
    pub notifier: Option<Notifier>,
    /// A sign of life has to come before this has passed; `None`: none is asked of this process.
    pub watchdog: Option<Duration>,
}

impl Told {
    /// Takes it out of the environment, and with it where our secrets lie: no child speaks for this
    /// process, or finds them. To be called at start.
    pub fn take() -> Told {
        let address = take(c"NOTIFY_SOCKET");
        let [period, pid] = [c"WATCHDOG_USEC", c"WATCHDOG_PID"].map(|name| number(take(name)));
        take(c"CREDENTIALS_DIRECTORY");
        // (sd_watchdog_enabled(3): without a pid it is for whoever reads it.)
        let is_ours = pid.is_none_or(|pid| pid == Ok(crate::pid() as u64));
        let period = period.and_then(Result::ok).filter(|period| is_ours && *period > 0);
        Told {
            notifier: address.and_then(|address| Notifier::to(&address)),
            watchdog: period.map(Duration::from_micros),
        }
    }
}

/// A number, if there is something; an error: it is none.
fn number(value: Option<Vec<u8>>) -> Option<Result<u64, ()>> {
    let text = value.map(String::from_utf8)?;
    Some(text.map_err(drop).and_then(|text| text.parse().map_err(drop)))
}

/// Takes a variable out of the environment, and what it said out of the memory that a child has a
/// copy of and /proc/PID/environ shows.
fn take(name: &CStr) -> Option<Vec<u8>> {
    debug_assert_eq!(crate::threads().ok(), Some(1));
    let key = OsStr::from_bytes(name.to_bytes());
    let value = std::env::var_os(key)?.into_vec();
    // SAFETY: the name ends with a NUL, and at start there is no other thread that changes anything.
    let at = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: called at start, by the only thread there is.
    unsafe { std::env::remove_var(key) };
    if !at.is_null() {
        // SAFETY: these bytes are what the value was read from. They are the process's own and stay:
        // whoever takes a variable away frees none that the process was started with.
        unsafe { std::ptr::write_bytes(at, 0, value.len()) };
    }
    Some(value)
}

/// Where the service manager listens.
pub struct Notifier {
    socket: OwnedFd,
    to: UnixAddr,
}

impl Notifier {
    /// At the socket of this path; one that begins with `@` is abstract (unix(7)).
    fn to(address: &[u8]) -> Option<Notifier> {
        let to = match address.split_first()? {
            (b'@', name) => UnixAddr::new_abstract(name),
            (b'/', _) => UnixAddr::new(address),
            _ => return None, // nothing else is defined that this system has
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok()?;
        Some(Notifier { socket, to: to.ok()? })
    }

    /// Sends lines such as `READY=1`, all of them or none.
    pub fn send(&self, lines: &str) -> Sent {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match sendto(self.socket.as_raw_fd(), lines.as_bytes(), &self.to, flags) {
            Ok(_) => Sent::Done,
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR) => Sent::Full,
            Err(_) => Sent::Gone,
        }
    }
}

/// The monotonic clock in microseconds: a reload is told with its beginning, which is compared with
/// when it was asked for.
pub fn monotonic_usec() -> u64 {
    // It exists on every Linux (clock_gettime(2)).
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.map(|t| Duration::from(t).as_micros() as u64).unwrap_or(0)
}
