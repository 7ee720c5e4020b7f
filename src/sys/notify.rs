//! A word to systemd (sd_notify(3)), by one datagram that is never waited for.
//!
//! Not by a library: those at hand send with a blocking socket, and a service manager that does
//! not read must not stop the parent.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Where the service manager listens.
pub struct Notifier {
    socket: OwnedFd,
    to: UnixAddr,
}

impl Notifier {
    /// From `NOTIFY_SOCKET`, which is taken out of the environment, so that no child speaks for
    /// this process. `None`: nobody asked.
    pub fn from_environment() -> Option<Notifier> {
        let path = std::env::var_os("NOTIFY_SOCKET")?;
        debug_assert_eq!(crate::threads().ok(), Some(1));
        // SAFETY: called at start, by the only thread there is.
        unsafe { std::env::remove_var("NOTIFY_SOCKET") };
        let bytes = path.as_bytes();
        let to = match bytes.strip_prefix(b"@") {
            Some(name) => UnixAddr::new_abstract(name),
            None => UnixAddr::new(bytes),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok()?;
        Some(Notifier { socket, to: to.ok()? })
    }

    /// Sends lines such as `READY=1`. What does not fit now is lost.
    pub fn send(&self, lines: &str) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendto(self.socket.as_raw_fd(), lines.as_bytes(), &self.to, flags)?;
        Ok(())
    }
}
