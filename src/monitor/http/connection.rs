//! One connection: heads in, answers out, both bounded, and a deadline for whatever it is at. One
//! request is read when the answer before it is on its way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use sys::Interest;

use super::answer::Answer;
use super::request::{self, Head, LONGEST, Refusal, Request};

/// It may be silent between two requests for so long, in milliseconds.
const IDLE: u64 = 30_000;
/// A head that has begun is whole after so long.
const HEAD: u64 = 10_000;
/// An answer is read after so long.
const READ: u64 = 30_000;
/// What is still being sent is thrown away for so long, so that the last answer arrives: a connection
/// closed with bytes in it is reset, and the other side loses what it has not read (RFC 9112, 9.6).
const PARTING: u64 = 2_000;
/// And so many bytes of it.
const THROWN: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// Nothing of the next request is there.
    Idle,
    /// Some of it is.
    Hearing,
    /// The answer goes out; whether another request may come after it.
    Answering { keep: bool },
    /// The last word is said.
    Parting,
    /// It is gone, or is to go.
    Over,
}

pub(crate) struct Connection {
    stream: TcpStream,
    /// The socket is bound to a loopback address.
    is_loopback: bool,
    input: Vec<u8>,
    head: Vec<u8>,
    body: Rc<str>,
    /// So many bytes of head and body are written.
    written: usize,
    thrown: usize,
    talk: Talk,
    deadline: u64,
    heard: u64,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, is_loopback: bool, now: u64) -> Connection {
        Connection {
            stream,
            is_loopback,
            input: Vec::new(),
            head: Vec::new(),
            body: Rc::from(""),
            written: 0,
            thrown: 0,
            talk: Talk::Idle,
            deadline: now + IDLE,
            heard: now,
        }
    }

    pub(crate) fn last_heard(&self) -> u64 {
        self.heard
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What to poll for.
    pub(crate) fn interest(&self) -> Interest {
        match self.talk {
            Talk::Answering { .. } => Interest::Write,
            Talk::Idle | Talk::Hearing | Talk::Parting | Talk::Over => Interest::Read,
        }
    }

    /// Whether an answer is on its way.
    pub(crate) fn owes(&self) -> bool {
        matches!(self.talk, Talk::Answering { .. })
    }

    /// Whether nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        self.talk == Talk::Over
    }

    /// Its time is up. Who has begun to ask is told so.
    pub(crate) fn expire(&mut self, now: u64) {
        match self.talk {
            Talk::Hearing => {
                let words = "the request did not come to its end in time";
                let refusal = Refusal { code: 408, words, is_head: false, keep: false };
                self.say(&Answer::refusal(&refusal), false, false, now);
                self.write(now);
            }
            Talk::Idle | Talk::Answering { .. } | Talk::Parting | Talk::Over => {
                self.talk = Talk::Over;
            }
        }
    }

    /// Goes on until nothing moves any more, or so many requests are answered: then it is the others'
    /// turn, and this one's again later, which is the answer.
    pub(crate) fn converse(
        &mut self,
        requests: usize,
        now: u64,
        mut answer: impl FnMut(&Request) -> Answer,
    ) -> bool {
        let mut left = requests;
        while left > 0 {
            let moved = match self.talk {
                Talk::Idle | Talk::Hearing => match self.next_request(now) {
                    Some(judged) => {
                        left -= 1;
                        self.answer(judged, now, &mut answer);
                        true
                    }
                    None => self.read(now),
                },
                Talk::Answering { .. } => self.write(now),
                Talk::Parting => self.throw_away(),
                Talk::Over => false,
            };
            if !moved {
                return false;
            }
        }
        true
    }

    fn answer(
        &mut self,
        judged: Result<Request, Refusal>,
        now: u64,
        answer: &mut impl FnMut(&Request) -> Answer,
    ) {
        match judged {
            Ok(request) => self.say(&answer(&request), request.is_head, request.keep, now),
            Err(refusal) => {
                self.say(&Answer::refusal(&refusal), refusal.is_head, refusal.keep, now);
            }
        }
    }

    /// The next whole request, taken out of what has come.
    fn next_request(&mut self, now: u64) -> Option<Result<Request, Refusal>> {
        if self.input.is_empty() {
            return None;
        }
        match request::read(&self.input, self.is_loopback) {
            Head::Unfinished => {
                if self.talk == Talk::Idle {
                    (self.talk, self.deadline) = (Talk::Hearing, now + HEAD);
                }
                None
            }
            Head::Whole(length, judged) => {
                self.input.drain(..length);
                Some(judged)
            }
        }
    }

    fn read(&mut self, now: u64) -> bool {
        let mut buffer = [0; 4096];
        let room = buffer.len().min(LONGEST - self.input.len().min(LONGEST - 1));
        match (&self.stream).read(&mut buffer[..room]) {
            Ok(n) if n > 0 => {
                self.input.extend_from_slice(&buffer[..n]);
                self.heard = now;
                true
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                self.talk = Talk::Over;
                false
            }
        }
    }

    fn say(&mut self, answer: &Answer, is_head: bool, keep: bool, now: u64) {
        self.head = answer.head(keep).into_bytes();
        self.body = if is_head { Rc::from("") } else { Rc::clone(&answer.body) };
        self.written = 0;
        (self.talk, self.deadline) = (Talk::Answering { keep }, now + READ);
    }

    /// Writes what the other side takes; whether it took anything.
    fn write(&mut self, now: u64) -> bool {
        let body = self.written.saturating_sub(self.head.len());
        let rest = match self.head.get(self.written..) {
            Some(rest) if !rest.is_empty() => rest,
            Some(_) | None => &self.body.as_bytes()[body..],
        };
        if rest.is_empty() {
            self.answered(now);
            return true;
        }
        match (&self.stream).write(rest) {
            Ok(n) if n > 0 => {
                self.written += n;
                true
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                self.talk = Talk::Over;
                false
            }
        }
    }

    fn answered(&mut self, now: u64) {
        (self.head, self.body, self.written) = (Vec::new(), Rc::from(""), 0);
        match self.talk {
            Talk::Answering { keep: true } => {
                // What is there of the next one has its time from now on.
                (self.talk, self.deadline) = (Talk::Idle, now + IDLE);
                self.input.shrink_to(0); // or who has asked at length once would keep the room for it
            }
            _ => {
                let _ = self.stream.shutdown(Shutdown::Write); // else the end is not seen, and comes anyway
                (self.talk, self.deadline) = (Talk::Parting, now + PARTING);
                self.input = Vec::new();
            }
        }
    }

    fn throw_away(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match (&self.stream).read(&mut buffer) {
            Ok(n) if n > 0 && self.thrown < THROWN => {
                self.thrown += n;
                true
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                self.talk = Talk::Over;
                false
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Path;
    use std::net::TcpListener;

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Connection::new(ours, true, 0), theirs)
    }

    fn converse(connection: &mut Connection, now: u64) -> usize {
        let mut answered = 0;
        connection.converse(8, now, |_| {
            answered += 1;
            Answer::to(Path::Health, 200, "well\n".into())
        });
        answered
    }

    /// Until the bytes that were written are there: a loopback takes a moment.
    #[track_caller]
    fn converse_until(connection: &mut Connection, now: u64, so: impl Fn(&Connection) -> bool) {
        for _ in 0..2_000 {
            converse(connection, now);
            if so(connection) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("waited in vain: {:?}", connection.talk);
    }

    #[test]
    fn a_head_has_its_time_and_so_has_silence_and_an_answer_that_nobody_reads() {
        let (mut connection, mut theirs) = pair();
        assert_eq!(connection.deadline(), IDLE);
        theirs.write_all(b"GET / HT").unwrap();
        converse_until(&mut connection, 100, |c| c.talk == Talk::Hearing);
        assert_eq!(connection.deadline(), 100 + HEAD);
        // More of it is no more time.
        theirs.write_all(b"TP/1.1\r\nHost: ").unwrap();
        converse_until(&mut connection, 200, |c| c.input.len() > 10);
        assert_eq!(connection.deadline(), 100 + HEAD);
        connection.expire(100 + HEAD);
        assert!(connection.owes() || connection.talk == Talk::Parting);
        converse_until(&mut connection, 100 + HEAD, |c| c.talk == Talk::Parting);
        connection.expire(100 + HEAD + PARTING);
        assert!(connection.is_over());
        drop(connection);
        let mut told = String::new();
        theirs.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("Connection: close"), "{told}");

        let (mut connection, _theirs) = pair();
        connection.expire(IDLE);
        assert!(connection.is_over(), "who says nothing is told nothing");
    }

    #[test]
    fn requests_may_come_together_and_each_is_answered_in_turn() {
        let (mut connection, mut theirs) = pair();
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        theirs.write_all(&request.repeat(20)).unwrap();
        let mut answered = 0;
        while answered < 20 {
            answered += converse(&mut connection, 1);
        }
        theirs.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        converse_until(&mut connection, 1, |c| c.talk == Talk::Parting);
        let mut told = String::new();
        theirs.read_to_string(&mut told).unwrap();
        assert_eq!(told.matches("well\n").count(), 21, "{told}");
        assert_eq!(told.matches("Connection: close").count(), 1);
    }

    #[test]
    fn what_is_read_ahead_is_bounded() {
        let (mut connection, mut theirs) = pair();
        theirs.set_nonblocking(true).unwrap();
        let _ = theirs.write(&[b'x'; 4 * LONGEST]);
        converse_until(&mut connection, 1, |c| c.talk == Talk::Parting || c.is_over());
        assert!(connection.input.capacity() <= 2 * LONGEST);
    }
}
