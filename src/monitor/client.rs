//! One client: lines in, lines out, both bounded.

use interprocess::local_socket::traits::StreamCommon;
use interprocess::os::unix::uds_local_socket::Stream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use sys::Interest;

/// The longest request, in bytes.
const LONGEST: usize = 64 * 1024;
/// So much is read of one client in one turn: the others want to be heard too.
const GULP: usize = 64 * 1024;
/// While so many bytes are not read by the client, it is not asked for more.
const UNREAD: usize = 1024 * 1024;

/// What a client may do, by the socket that it came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Ask.
    Ask,
    /// Ask and command.
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// It may ask.
    Open,
    /// It waits for the parent's answer; answers come in the order of the questions.
    Waiting,
    /// It has said its last word.
    Ended,
    /// It is gone, or is to go.
    Broken,
}

pub(crate) struct Client {
    stream: Stream,
    rights: Rights,
    input: Vec<u8>,
    output: VecDeque<u8>,
    talk: Talk,
    /// The other side has closed its end for writing.
    at_end: bool,
    heard: u64,
}

impl Client {
    pub(crate) fn new(stream: Stream, rights: Rights, now: u64) -> Client {
        let (input, output) = (Vec::new(), VecDeque::new());
        Client { stream, rights, input, output, talk: Talk::Open, at_end: false, heard: now }
    }

    pub(crate) fn rights(&self) -> Rights {
        self.rights
    }

    pub(crate) fn last_heard(&self) -> u64 {
        self.heard
    }

    /// Who it is, for the log; a user namespace may hide it.
    pub(crate) fn peer(&self) -> String {
        let creds = self.stream.peer_creds();
        creds.ok().and_then(|c| c.pid()).map_or("unknown".into(), |pid| format!("pid {pid}"))
    }

    /// What to poll for; `None`: nothing now.
    pub(crate) fn interest(&self) -> Option<Interest> {
        let hears = self.talk == Talk::Open && !self.at_end && self.output.len() < UNREAD;
        match (hears, self.output.is_empty()) {
            (true, true) => Some(Interest::Read),
            (true, false) => Some(Interest::ReadWrite),
            (false, false) => Some(Interest::Write),
            (false, true) => None,
        }
    }

    /// Whether it waits for an answer, or has one to read.
    pub(crate) fn owes(&self) -> bool {
        self.talk != Talk::Broken && !self.output.is_empty()
    }

    /// Whether nothing more will come of it.
    pub(crate) fn is_done(&self) -> bool {
        match self.talk {
            Talk::Broken => true,
            Talk::Ended => self.output.is_empty(),
            Talk::Open => self.at_end && self.input.is_empty() && self.output.is_empty(),
            Talk::Waiting => false,
        }
    }

    pub(crate) fn read(&mut self, now: u64) {
        if self.talk != Talk::Open || self.output.len() >= UNREAD {
            return;
        }
        let mut buffer = [0; 4096];
        while self.input.len() < GULP {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => {
                    self.at_end = true;
                    return;
                }
                Ok(n) => {
                    self.heard = now;
                    self.input.extend_from_slice(&buffer[..n]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.talk = Talk::Broken;
                    return;
                }
            }
        }
    }

    /// The next whole request, its words one blank apart; or, once, why there is none any more.
    pub(crate) fn next_request(&mut self) -> Option<Result<String, String>> {
        if self.talk != Talk::Open || self.output.len() >= UNREAD {
            return None;
        }
        let end = match self.input.iter().position(|byte| *byte == b'\n') {
            Some(end) => end,
            None if self.input.len() >= LONGEST => {
                self.talk = Talk::Ended;
                let message = "the request has no end: a line of words is expected";
                return Some(Err(status::answer::refused("too_long", message)));
            }
            // `echo -n status` is a request too.
            None if self.at_end && !self.input.is_empty() => self.input.len(),
            None => return None,
        };
        let rest = self.input.split_off((end + 1).min(self.input.len()));
        let line = std::mem::replace(&mut self.input, rest);
        let line = String::from_utf8_lossy(&line).into_owned();
        Some(Ok(line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.output.extend(line.as_bytes());
        if self.talk == Talk::Waiting {
            self.talk = Talk::Open;
        }
    }

    /// It is answered later, by [`Client::say`].
    pub(crate) fn wait(&mut self) {
        self.talk = Talk::Waiting;
    }

    pub(crate) fn write(&mut self) {
        while !self.output.is_empty() {
            let (first, _) = self.output.as_slices();
            match (&self.stream).write(first) {
                Ok(n) if n > 0 => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    self.talk = Talk::Broken;
                    return;
                }
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
