//! One client: lines in, lines out, both bounded.

use interprocess::local_socket::traits::StreamCommon;
use interprocess::os::unix::uds_local_socket::Stream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use sys::Interest;

/// The longest request, in bytes: a command and the name of a delta need a fraction of it.
const LONGEST: usize = 4 * 1024;
/// So much is read ahead of one client's requests: the others want to be heard too.
const GULP: usize = 4 * 1024;
/// While so many bytes are not read by the client, it is not asked for more.
const UNREAD: usize = 16 * 1024;

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
    /// So much of the input has become requests. It goes in one piece before more is read.
    taken: usize,
    output: VecDeque<u8>,
    talk: Talk,
    /// The other side has closed its end for writing.
    at_end: bool,
    heard: u64,
    /// The last turn that it had, 0 before the first.
    turn: u64,
}

impl Client {
    pub(crate) fn new(stream: Stream, rights: Rights, now: u64) -> Client {
        let (input, output) = (Vec::new(), VecDeque::new());
        let (talk, taken, at_end) = (Talk::Open, 0, false);
        Client { stream, rights, input, taken, output, talk, at_end, heard: now, turn: 0 }
    }

    pub(crate) fn rights(&self) -> Rights {
        self.rights
    }

    pub(crate) fn last_heard(&self) -> u64 {
        self.heard
    }

    /// It has had this turn.
    pub(crate) fn has_had(&mut self, turn: u64) {
        self.turn = turn;
    }

    /// The last turn that it had.
    pub(crate) fn last_turn(&self) -> u64 {
        self.turn
    }

    /// Whether the parent owes it an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.talk == Talk::Waiting
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
            Talk::Open => self.at_end && self.taken == self.input.len() && self.output.is_empty(),
            Talk::Waiting => false,
        }
    }

    pub(crate) fn read(&mut self, now: u64) {
        if self.talk != Talk::Open || self.output.len() >= UNREAD {
            return;
        }
        self.input.drain(..self.taken);
        self.taken = 0;
        let mut buffer = [0; GULP];
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
        let input = &self.input[self.taken..];
        let end = match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => end,
            None if input.len() >= LONGEST => {
                self.talk = Talk::Ended;
                let message = "the request has no end: a line of words is expected";
                return Some(Err(status::answer::refused("too_long", message)));
            }
            // `echo -n status` is a request too.
            None if self.at_end && !input.is_empty() => input.len(),
            None => return None,
        };
        let line = String::from_utf8_lossy(&input[..end]);
        let words = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        self.taken = (self.taken + end + 1).min(self.input.len());
        Some(Ok(words))
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

    /// Writes what the other side takes; whether it took anything.
    pub(crate) fn write(&mut self) -> bool {
        let before = self.output.len();
        while !self.output.is_empty() {
            let (first, _) = self.output.as_slices();
            match (&self.stream).write(first) {
                Ok(n) if n > 0 => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    self.talk = Talk::Broken;
                    break;
                }
            }
        }
        if self.output.is_empty() {
            self.output.shrink_to(GULP); // or it would keep what it once needed for as long as it stays
        }
        self.output.len() < before
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    fn client() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Client::new(Stream::from(OwnedFd::from(ours)), Rights::Ask, 0), theirs)
    }

    fn requests(client: &mut Client) -> Vec<String> {
        std::iter::from_fn(|| client.next_request()).map(|request| request.unwrap()).collect()
    }

    #[test]
    fn requests_may_come_together_in_pieces_and_without_an_end() {
        let (mut client, mut theirs) = client();
        theirs.write_all(b"ping\n\n  a \t b\r\nsta").unwrap();
        client.read(1);
        assert_eq!(requests(&mut client), ["ping", "", "a b"]);
        theirs.write_all(b"tus\nhealth").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        client.read(2);
        assert_eq!(requests(&mut client), ["status", "health"]);
        assert!(client.is_done());
    }

    #[test]
    fn what_is_not_read_is_bounded_and_so_is_a_request() {
        let (mut client, mut theirs) = client();
        theirs.write_all(&b"\n".repeat(3 * GULP)).unwrap();
        client.read(1);
        assert!(client.input.len() <= 2 * GULP);
        while client.next_request().is_some() {
            client.say(&"x".repeat(1000));
        }
        assert!(client.output.len() < UNREAD + 1000);
        assert_eq!(client.interest(), Some(Interest::Write));

        let (mut client, mut theirs) = self::client();
        theirs.write_all(&b"x".repeat(2 * LONGEST)).unwrap();
        client.read(1);
        assert!(matches!(client.next_request(), Some(Err(why)) if why.contains("too_long")));
        assert!(client.next_request().is_none() && client.is_done());
    }

    #[test]
    fn a_delayed_answer_is_no_last_word() {
        let (mut client, mut theirs) = client();
        theirs.write_all(b"reload\nping\n").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        client.read(1);
        assert_eq!(client.next_request(), Some(Ok("reload".into())));
        client.wait();
        assert!(client.next_request().is_none() && !client.is_done() && client.is_waiting());
        client.say("{}\n");
        assert_eq!(requests(&mut client), ["ping"]);
        assert!(client.write() && client.is_done());
    }
}
