//! Where log lines go: standard error or a file, written to without ever being held up by it.
//!
//! A stalled journal must not be a stalled supervisor, so a line that cannot be written at once is
//! dropped and counted. How not to wait depends on what the descriptor is: a pipe or a terminal is
//! opened again, non-blocking, through `/proc` (`O_NONBLOCK` on the inherited one would hit
//! everybody who shares it); a socket takes `MSG_DONTWAIT`; a file is written.

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Interest, poll};

/// The longest line: as much as a pipe takes whole or not at all (PIPE_BUF, pipe(7)).
pub const LINE: usize = 4096;

enum Way {
    /// Opened so that it never waits.
    NonBlocking(File),
    /// A socket: the flag goes with each send.
    Socket(OwnedFd),
    /// Could not be opened again: ask before each write whether there is room.
    Asked(File),
    /// An ordinary file.
    Plain(File),
}

/// A place for log lines.
pub struct Sink {
    way: Way,
    dropped: &'static AtomicU64,
    /// A full disk has taken the beginning of a line: the next one must not go on there.
    torn: AtomicBool,
}

/// Counts for all sinks of a process that name no counter of their own.
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Sink {
    /// Standard error.
    pub fn stderr() -> io::Result<Sink> {
        let file: File = io::stderr().as_fd().try_clone_to_owned()?.into();
        let kind = file.metadata()?.file_type();
        let way = if kind.is_socket() {
            Way::Socket(file.into())
        } else if kind.is_fifo() || kind.is_char_device() {
            let again = OpenOptions::new()
                .append(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open("/proc/self/fd/2");
            again.map_or(Way::Asked(file), Way::NonBlocking)
        } else {
            Way::Plain(file)
        };
        Ok(Sink { way, dropped: &DROPPED, torn: AtomicBool::new(false) })
    }

    /// A file, appended to.
    pub fn file(path: &Path) -> io::Result<Sink> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let (way, torn) = (Way::Plain(file), AtomicBool::new(false));
        Ok(Sink { way, dropped: &DROPPED, torn })
    }

    /// The same sink, counting what it drops there: on a shared page, for all processes together.
    pub fn counting_in(self, dropped: &'static AtomicU64) -> Sink {
        Sink { dropped, ..self }
    }

    /// How many lines could not be written so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes one line, whole or not at all. A line too long is cut.
    pub fn line(&self, line: &[u8]) {
        let mut changed = Vec::new();
        if self.torn.load(Ordering::Relaxed) {
            changed.push(b'\n');
        }
        let cut = line.len() > LINE - changed.len();
        let line = if cut || !changed.is_empty() {
            changed.extend_from_slice(if cut { &line[..LINE - 5] } else { line });
            changed.extend_from_slice(if cut { "…\n".as_bytes() } else { b"" });
            &changed[..]
        } else {
            line
        };
        match self.write(line) {
            Ok(n) if n == line.len() => self.torn.store(false, Ordering::Relaxed),
            written => {
                if written.is_ok_and(|n| n > 0) {
                    self.torn.store(true, Ordering::Relaxed);
                }
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn write(&self, line: &[u8]) -> io::Result<usize> {
        match &self.way {
            Way::NonBlocking(file) | Way::Plain(file) => { file }.write(line),
            Way::Socket(fd) => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(fd.as_raw_fd(), line, flags).map_err(io::Error::from)
            }
            Way::Asked(file) => {
                match poll(&[(file.as_fd(), Interest::Write)], Some(std::time::Duration::ZERO)) {
                    Ok(found) if found[0].writable => { file }.write(line),
                    _ => Err(Errno::EAGAIN.into()),
                }
            }
        }
    }
}
