//! The converter's process: started, written to and read from without ever waiting, and ended with all that
//! it has started.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use sys::program::{Tied, open_wide, tie, unread};
use sys::{Interest, poll};

/// What is ours alone: who may tell systemd that the daemon is up, secrets, sockets.
const NOT_ITS_OWN: &[&str] = &[
    "NOTIFY_SOCKET",
    "CREDENTIALS_DIRECTORY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "MAINPID",
];
/// A killed process is waited for so long at most: one that is stuck in the kernel goes when it can.
const LAST: Duration = Duration::from_secs(1);
/// One that has nothing to do any more has so long to end by itself.
const FAREWELL: Duration = Duration::from_millis(200);
/// Read at once.
const CHUNK: usize = 256 << 10;

/// Where its standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stderr {
    Read,
    Inherit,
}

/// A running converter.
pub(crate) struct Process {
    child: Child,
    tied: Tied,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    /// Nothing more comes from it.
    is_silent: bool,
    /// It was waited for: its numbers may be another's by now.
    is_reaped: bool,
}

/// What a read has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    Bytes,
    Nothing,
    End,
}

impl Process {
    pub(crate) fn start(words: &[String], stderr: Stderr) -> io::Result<Process> {
        let (program, arguments) = words.split_first().expect("a configuration has the program");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(if stderr == Stderr::Read { Stdio::piped() } else { Stdio::inherit() });
        for name in NOT_ITS_OWN {
            command.env_remove(name);
        }
        tie(&mut command);
        // or a signal to us could run our handlers in it
        let mut child = sys::with_signals_blocked(|| command.spawn())??;
        let tied = match Tied::of(&child) {
            Ok(tied) => tied,
            Err(e) => {
                let _ = child.kill();
                return Err(e);
            }
        };
        let stdin = child.stdin.take().expect("it was asked for");
        let stdout = child.stdout.take().expect("it was asked for");
        let stderr = child.stderr.take();
        let (is_silent, is_reaped, stdin) = (false, false, Some(stdin));
        let process = Process { child, tied, stdin, stdout, stderr, is_silent, is_reaped };
        process.open_pipes()?;
        Ok(process)
    }

    fn open_pipes(&self) -> io::Result<()> {
        self.stdin.iter().try_for_each(|pipe| open_wide(pipe.as_fd()))?;
        self.stderr.iter().try_for_each(|pipe| open_wide(pipe.as_fd()))?;
        open_wide(self.stdout.as_fd())
    }

    /// Writes what there is room for; how much that was. Nobody who reads is no error: its end tells.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(stdin) = &mut self.stdin else { return 0 };
        let mut written = 0;
        while written < bytes.len() {
            match stdin.write(&bytes[written..]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.stdin = None;
                    break;
                }
            }
        }
        written
    }

    /// It gets no more lines, and is to end.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// How much of what was written it has not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.stdin.as_ref().and_then(|pipe| unread(pipe.as_fd()).ok()).unwrap_or(0)
    }

    /// Whether it would run now, if it were let: what is silent on a busy machine may not have had its turn.
    pub(crate) fn is_at_work(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        // (proc(5): the state stands behind the name, which stands in brackets.)
        let state =
            stat.ok().and_then(|stat| stat[stat.rfind(')')? + 1..].trim_start().chars().next());
        matches!(state, Some('R' | 'D'))
    }

    /// Reads what is there, once.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> Got {
        match self.is_silent {
            true => Got::End,
            false => {
                let got = read(&mut self.stdout, into);
                self.is_silent = got == Got::End;
                got
            }
        }
    }

    /// The same from its standard error.
    pub(crate) fn read_errors(&mut self, into: &mut Vec<u8>) -> Got {
        let Some(stderr) = &mut self.stderr else { return Got::End };
        let got = read(stderr, into);
        if got == Got::End {
            self.stderr = None;
        }
        got
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.tied.has_ended()
    }

    /// Ends it and all that it has started, and says how it ended; `None`: it does not, not even so.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        self.stdin = None;
        if !self.is_reaped {
            let had_ended = self.has_ended();
            self.tied.kill();
            if !had_ended {
                let _ = poll(&[(self.tied.as_fd(), Interest::Read)], Some(LAST));
            }
        }
        let status = self.child.try_wait().ok().flatten();
        self.is_reaped |= status.is_some();
        status
    }

    /// It has nothing to do any more: it may end by itself, but not for long.
    pub(crate) fn part(&mut self) {
        self.close();
        let _ = poll(&[(self.tied.as_fd(), Interest::Read)], Some(FAREWELL));
    }

    /// Waits for its end, not for long: nothing more comes from it.
    pub(crate) fn await_end(&self) {
        let _ = poll(&[(self.tied.as_fd(), Interest::Read)], Some(LAST));
    }

    /// What to wait for: its answers and errors, its end, and room for what is to be written.
    pub(crate) fn watched(&self, unsent: bool, may_read: bool) -> Vec<(BorrowedFd<'_>, Interest)> {
        let mut watched = vec![(self.tied.as_fd(), Interest::Read)];
        if may_read && !self.is_silent {
            watched.push((self.stdout.as_fd(), Interest::Read));
        }
        watched.extend(self.stderr.iter().map(|pipe| (pipe.as_fd(), Interest::Read)));
        if unsent {
            watched.extend(self.stdin.iter().map(|pipe| (pipe.as_fd(), Interest::Write)));
        }
        watched
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads what is there, up to a chunk, behind what is there already.
fn read(pipe: &mut impl Read, into: &mut Vec<u8>) -> Got {
    let before = into.len();
    let read = pipe.take(CHUNK as u64).read_to_end(into);
    match read {
        _ if into.len() > before => Got::Bytes, // and the next read tells what ended this one
        Err(e) if e.kind() == ErrorKind::WouldBlock => Got::Nothing,
        Ok(_) | Err(_) => Got::End,
    }
}
