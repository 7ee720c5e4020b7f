//! The page's server: HTTP/1.1 on one TCP socket, for browsers, Prometheus and probes. It answers what
//! anybody may ask on the status socket, and the history; it takes no commands.
//!
//! It is part of the monitor's one loop, and has seats of its own: whoever fills them drives out
//! others that came by HTTP, never a client of the sockets. A connection costs its few kilobytes and
//! has a deadline for whatever it is at; a body is the same bytes for all who ask in one turn.

mod answer;
mod connection;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::Interest;

pub(crate) use answer::{Answer, PAGE};
use connection::Connection;
pub(crate) use request::{Path, Request};

/// So many at once, at most.
const MOST: usize = 128;
/// So many, even if there are few descriptors.
const FEWEST: usize = 4;
/// So many are accepted in one turn.
const ACCEPTS: usize = 32;
/// So many requests of one connection are answered in one turn.
const REQUESTS: usize = 8;

/// How many connections there may be under this limit of open files: an eighth is theirs.
pub(crate) fn seats(limit: u64) -> usize {
    ((limit / 8) as usize).clamp(FEWEST, MOST)
}

pub(crate) struct Server {
    listener: TcpListener,
    is_loopback: bool,
    seats: usize,
    by_id: BTreeMap<u64, Connection>,
    next: u64,
    /// Those who are to be heard whatever poll says: with requests left over.
    again: BTreeSet<u64>,
}

impl Server {
    /// Nobody yet; `limit` is that of open files.
    pub(crate) fn on(listener: OwnedFd, limit: u64) -> Server {
        let listener = TcpListener::from(listener);
        let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        Server {
            listener,
            is_loopback,
            seats: seats(limit),
            by_id: BTreeMap::new(),
            next: 0,
            again: BTreeSet::new(),
        }
    }

    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// What to poll for, beside the listener.
    pub(crate) fn connections(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, Interest)> {
        self.by_id.iter().map(|(id, c)| (*id, c.as_fd(), c.interest()))
    }

    /// When somebody's time is up.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.by_id.values().map(Connection::deadline).min()
    }

    /// Whether somebody is to be heard whatever poll says.
    pub(crate) fn is_busy(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether an answer is on its way.
    pub(crate) fn owes(&self) -> bool {
        self.is_busy() || self.by_id.values().any(Connection::owes)
    }

    /// Reads what they ask, answers, and lets those go that are done or have had their time.
    pub(crate) fn converse(
        &mut self,
        ready: Vec<u64>,
        now: u64,
        mut answer: impl FnMut(&Request) -> Answer,
    ) {
        let mut turn = std::mem::take(&mut self.again);
        turn.extend(ready);
        for id in turn {
            let Some(connection) = self.by_id.get_mut(&id) else { continue };
            if connection.converse(REQUESTS, now, &mut answer) {
                self.again.insert(id);
            }
        }
        for connection in self.by_id.values_mut().filter(|c| c.deadline() <= now) {
            connection.expire(now);
        }
        self.by_id.retain(|_, connection| !connection.is_over());
    }

    /// Takes in those who knock; the one that has been silent longest loses its seat where there is
    /// none. An error: there is no descriptor left, or worse.
    pub(crate) fn accept(&mut self, now: u64) -> io::Result<()> {
        // Nobody loses the seat before there was a turn to hear him.
        for _ in 0..ACCEPTS.min(self.seats / 2) {
            match self.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    let _ = stream.set_nodelay(true); // an answer is written in two pieces
                    while self.by_id.len() >= self.seats && self.let_go() {}
                    let connection = Connection::new(stream, self.is_loopback, now);
                    self.by_id.insert(self.next, connection);
                    self.next += 1;
                }
                Ok(_) => {}
                // Both generations' monitors wait on one socket: another may have been quicker.
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// This limit of open files holds now; whether anybody had to go, or went since a descriptor is
    /// wanted.
    pub(crate) fn shed(&mut self, limit: u64) -> bool {
        let before = self.by_id.len();
        self.seats = seats(limit);
        while self.by_id.len() > self.seats && self.let_go() {}
        self.by_id.len() < before || self.let_go()
    }

    fn let_go(&mut self) -> bool {
        let longest = self.by_id.iter().min_by_key(|(_, c)| c.last_heard()).map(|(id, _)| *id);
        longest.and_then(|id| self.by_id.remove(&id)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn server(limit: u64) -> (Server, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (Server::on(listener.into(), limit), address)
    }

    fn turn(server: &mut Server, now: u64) {
        server.accept(now).unwrap();
        let ids = server.by_id.keys().copied().collect();
        server.converse(ids, now, |_| Answer::to(Path::Health, 200, "well\n".into()));
    }

    #[test]
    fn the_longest_silent_make_room_and_who_asks_is_answered() {
        let (mut server, address) = server(64);
        assert_eq!(server.seats, 8);
        let silent: Vec<TcpStream> =
            (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut asking = TcpStream::connect(address).unwrap();
        asking.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        (0..10).for_each(|now| turn(&mut server, now));
        assert!(server.by_id.len() <= 8);
        let mut told = String::new();
        asking.read_to_string(&mut told).unwrap();
        assert!(told.ends_with("well\n"), "{told}");
        drop(silent);
    }

    #[test]
    fn time_is_up_for_the_silent_and_descriptors_run_out() {
        let (mut server, address) = server(1024);
        let silent: Vec<TcpStream> =
            (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        (0..3).for_each(|now| turn(&mut server, now));
        assert_eq!(server.by_id.len(), 20);
        assert!(server.shed(64));
        assert_eq!(server.by_id.len(), 8);
        assert!(server.shed(64));
        assert_eq!(server.by_id.len(), 7);
        let by = server.deadline().unwrap();
        server.converse(Vec::new(), by + 10, |_| unreachable!("nobody asks"));
        assert_eq!((server.by_id.len(), server.deadline()), (0, None));
        assert!(!server.shed(64), "nobody is left");
        drop(silent);
    }
}
