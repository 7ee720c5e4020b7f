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
use std::path::{Path, PathBuf};
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
    /// Of a file that is opened anew when that is asked for.
    anew: Option<Anew>,
    /// What each line begins with.
    before: &'static [u8],
}

/// To the beginning of the terminal's line, and away with what stands there (console_codes(4)).
const CLEAR: &[u8] = b"\r\x1b[K";

/// When a file was renamed, it is opened again by its name: by each process for itself, before its next
/// line, once somebody has raised the count.
struct Anew {
    path: PathBuf,
    asked: &'static AtomicU64,
    /// The count at which it was opened last.
    done: AtomicU64,
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
        Ok(Sink { way, dropped: &DROPPED, torn: AtomicBool::new(false), anew: None, before: b"" })
    }

    /// A file, appended to.
    pub fn file(path: &Path) -> io::Result<Sink> {
        let (way, torn) = (Way::Plain(open(path)?), AtomicBool::new(false));
        Ok(Sink { way, dropped: &DROPPED, torn, anew: None, before: b"" })
    }

    /// The same file, which is opened anew at `path` whenever that count changes: on a shared page, by
    /// all processes that have inherited it.
    pub fn opened_anew(self, path: &Path, asked: &'static AtomicU64) -> Sink {
        let done = AtomicU64::new(asked.load(Ordering::Relaxed));
        Sink { anew: Some(Anew { path: path.to_owned(), asked, done }), ..self }
    }

    /// The same sink, counting what it drops there: on a shared page, for all processes together.
    pub fn counting_in(self, dropped: &'static AtomicU64) -> Sink {
        Sink { dropped, ..self }
    }

    /// The same terminal, where something is drawn beside ([`Sink::draw`]): a line clears it first.
    pub fn clearing(self) -> Sink {
        Sink { before: CLEAR, ..self }
    }

    /// Shows a text, which is no line, in place of the one before. If there is no room for it now, it is
    /// not shown.
    pub fn draw(&self, text: &str) {
        let _ = self.write(&[CLEAR, text.as_bytes()].concat());
    }

    /// How many lines could not be written so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes one line, whole or not at all. A line too long is cut, between two characters.
    pub fn line(&self, line: &[u8]) {
        self.open_anew();
        let mut changed = self.before.to_vec();
        if self.torn.load(Ordering::Relaxed) {
            changed.push(b'\n');
        }
        let cut = line.len() > LINE - changed.len();
        let line = if cut || !changed.is_empty() {
            let room = LINE - changed.len() - "…\n".len();
            let end = if cut { boundary(line, room) } else { line.len() };
            changed.extend_from_slice(&line[..end]);
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

    /// Another thread that writes meanwhile has the one file or the other. Where there is none to be had,
    /// the old one is better than none.
    fn open_anew(&self) {
        let (Some(Anew { path, asked, done }), Way::Plain(file)) = (&self.anew, &self.way) else {
            return;
        };
        let asked = asked.load(Ordering::Relaxed);
        if done.swap(asked, Ordering::Relaxed) == asked {
            return;
        }
        if let Ok(new) = open(path) {
            // SAFETY: both are open, and `file` goes on owning its number: what it leads to changes, in
            // one step (dup(2)). No memory is involved.
            unsafe { libc::dup3(new.as_raw_fd(), file.as_raw_fd(), libc::O_CLOEXEC) };
            self.torn.store(false, Ordering::Relaxed);
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

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The end of the last whole character within so many bytes of UTF-8.
fn boundary(text: &[u8], most: usize) -> usize {
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (0..=most).rev().find(|at| !is_inside(*at)).unwrap_or(0)
}
