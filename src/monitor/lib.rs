//! The monitor: answers on the sockets, from the scoreboard and the spool's folders alone, so it
//! answers while the parent or every worker hangs, and says so.
//!
//! One poll loop, no thread. A client that is slow, silent, floods or never reads costs its own
//! few kilobytes and nobody else's time. What changes something is passed on to the parent; the
//! monitor itself changes nothing.

mod client;
mod folders;
mod rates;
mod sight;

use config::Config;
use interprocess::local_socket::traits::{Listener as _, Stream as _};
use interprocess::os::unix::uds_local_socket::Listener;
use orders::{Answer, Command, Message, Plea};
use scoreboard::Board;
use slog::{Logger, debug, error};
use spool::Spool;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use sys::clock::now_ms;
use sys::socket::{Received, Sent, receive_message, send_message};
use sys::{Interest, Newborn, Signal, Signals};

use client::{Client, Rights};
use sight::Sight;

/// So many clients at once; then the one that has been silent longest goes.
const CLIENTS: usize = 1024;
/// While a delta is active the counts are looked at so often, for the rates, in milliseconds.
const LOOK: u64 = 1_000;
/// While none is.
const LOOK_IDLE: u64 = 5_000;
/// When told to leave, answers have so long to be read, in milliseconds.
const GOODBYE: u64 = 500;

/// What a monitor starts its life with.
pub struct Seat {
    /// The configuration of its generation.
    pub config: Config,
    /// Where deltas lie.
    pub spool: Spool,
    /// The scoreboard.
    pub board: Board,
    /// To the parent and back.
    pub pipe: OwnedFd,
    /// The listening status socket.
    pub status: OwnedFd,
    /// The listening control socket.
    pub control: OwnedFd,
    /// Its log.
    pub log: Logger,
    /// What is left to do of its birth.
    pub newborn: Newborn,
}

/// A monitor's whole life; the exit code.
pub fn run(seat: Seat) -> i32 {
    seat.newborn.name("monitor");
    let signals = match Signals::watch(&[Signal::Terminate]) {
        Ok(signals) => signals,
        Err(e) => {
            error!(seat.log, "no signals"; "error" => %e);
            return 1;
        }
    };
    seat.newborn.unblock_signals();
    let mut monitor = Monitor {
        // From a descriptor there is no name to be reclaimed: dropping it unlinks nothing.
        listeners: [
            (Listener::from(seat.status), Rights::Ask),
            (Listener::from(seat.control), Rights::Command),
        ],
        pipe: seat.pipe,
        signals,
        sight: Sight::new(seat.config, seat.spool, seat.board),
        clients: BTreeMap::new(),
        next_client: 0,
        waiting: BTreeMap::new(),
        next_command: 0,
        log: seat.log,
    };
    monitor.tell(&Plea::Ready);
    monitor.serve()
}

struct Monitor {
    listeners: [(Listener, Rights); 2],
    pipe: OwnedFd,
    signals: Signals,
    sight: Sight,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    /// Commands that the parent has not answered yet: its number → the client.
    waiting: BTreeMap<u64, u64>,
    next_command: u64,
    log: Logger,
}

impl Monitor {
    fn serve(&mut self) -> i32 {
        let mut leave_by = None;
        loop {
            let now = now_ms();
            if leave_by.is_some_and(|by| now >= by || !self.owes_answers()) {
                return 0;
            }
            let look = if self.sight.is_busy() { LOOK } else { LOOK_IDLE };
            let due = leave_by.unwrap_or(now + look).saturating_sub(now);
            let ready = self.wait(due, leave_by.is_some());
            self.sight.look();
            if leave_by.is_none() && self.hear_parent() {
                leave_by = Some(now_ms() + GOODBYE);
            }
            if !self.signals.take().is_empty() {
                leave_by.get_or_insert(now_ms() + GOODBYE);
            }
            for n in 0..2 {
                if ready.listeners[n] && leave_by.is_none() {
                    self.accept(n);
                }
            }
            self.converse(&ready.clients);
        }
    }

    fn owes_answers(&self) -> bool {
        self.clients.values().any(Client::owes)
    }

    fn wait(&self, ms: u64, leaving: bool) -> Ready {
        let mut descriptors = vec![(self.signals.as_fd(), Interest::Read)];
        let mut ids = Vec::new();
        if !leaving {
            descriptors.push((self.pipe.as_fd(), Interest::Read));
            descriptors.extend(self.listeners.iter().map(|(l, _)| (l.as_fd(), Interest::Read)));
        }
        let first = descriptors.len();
        for (id, client) in &self.clients {
            if let Some(interest) = client.interest() {
                descriptors.push((client.as_fd(), interest));
                ids.push(*id);
            }
        }
        let polled = sys::poll(&descriptors, Some(Duration::from_millis(ms))).unwrap_or_default();
        let is_ready = |n: usize| polled.get(n).is_some_and(|p| p.readable || p.writable);
        Ready {
            listeners: [!leaving && is_ready(2), !leaving && is_ready(3)],
            clients: ids
                .into_iter()
                .enumerate()
                .filter(|(n, _)| is_ready(first + n))
                .map(|(_, id)| id)
                .collect(),
        }
    }

    // --- clients --------------------------------------------------------------------------------

    fn accept(&mut self, n: usize) {
        let (listener, rights) = &self.listeners[n];
        // Both generations' monitors wait on one socket: another may have been quicker.
        while let Ok(stream) = listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.clients.len() >= CLIENTS {
                let longest =
                    self.clients.iter().min_by_key(|(_, c)| c.last_heard()).map(|(id, _)| *id);
                longest.map(|id| self.clients.remove(&id));
            }
            self.clients.insert(self.next_client, Client::new(stream, *rights, now_ms()));
            self.next_client += 1;
        }
    }

    /// Reads what the clients ask, answers, and lets those go that are done.
    fn converse(&mut self, ready: &[u64]) {
        for id in ready {
            let Some(mut client) = self.clients.remove(id) else { continue };
            client.read(now_ms());
            while let Some(request) = client.next_request() {
                match request {
                    Ok(words) => self.answer(*id, &mut client, &words),
                    Err(refusal) => client.say(&refusal),
                }
            }
            client.write();
            if !client.is_done() {
                self.clients.insert(*id, client);
            }
        }
    }

    fn answer(&mut self, id: u64, client: &mut Client, words: &str) {
        match (words, client.rights()) {
            ("", _) | ("help", _) => {
                let commands: &[&str] = match client.rights() {
                    Rights::Ask => &["status", "health", "ping", "help"],
                    Rights::Command => &["status", "health", "ping", "help", "reload", "stop"],
                };
                client.say(&status::answer::done("help", commands));
            }
            ("ping", _) => client.say(&status::answer::done("ping", "pong")),
            ("status", _) => client.say(&status::answer::status(&self.sight.document())),
            ("health", _) => client.say(&status::answer::health(&self.sight.document().health)),
            ("reload", Rights::Command) => self.command(id, client, Command::Reload),
            ("stop", Rights::Command) => self.command(id, client, Command::Stop),
            ("reload" | "stop", Rights::Ask) => {
                let message = format!("{words} is for the control socket");
                client.say(&status::answer::refused("not_permitted", &message));
            }
            _ => {
                let message = format!("{}: no such command, try help", status::page::plain(words));
                client.say(&status::answer::refused("no_such_command", &message));
            }
        }
    }

    // --- the parent -----------------------------------------------------------------------------

    fn command(&mut self, id: u64, client: &mut Client, command: Command) {
        let number = self.next_command;
        self.next_command += 1;
        debug!(self.log, "command"; "command" => format!("{command:?}"), "peer" => client.peer());
        if self.tell(&Plea::Command { number, command }) {
            self.waiting.insert(number, id);
            client.wait();
        } else {
            let message = "the parent takes no commands at present";
            client.say(&status::answer::refused("parent_busy", message));
        }
    }

    fn tell(&self, plea: &Plea) -> bool {
        send_message(self.pipe.as_fd(), &plea.encode()) == Sent::Done
    }

    /// Hands on the parent's answers. Answers whether the parent says goodbye.
    fn hear_parent(&mut self) -> bool {
        loop {
            match receive_message(self.pipe.as_fd()) {
                Received::Nothing => return false,
                Received::Closed => return true,
                Received::Message(bytes) => match Answer::decode(&bytes) {
                    Ok(answer) => self.pass_on(answer),
                    Err(e) => error!(self.log, "the parent speaks in riddles"; "error" => %e),
                },
            }
        }
    }

    fn pass_on(&mut self, answer: Answer) {
        let Some(id) = self.waiting.remove(&answer.number) else { return };
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.say(&match &answer.result {
            Ok(()) => "{\"ok\":true}\n".to_owned(),
            Err((code, message)) => status::answer::refused(code, message),
        });
        client.write();
    }
}

struct Ready {
    listeners: [bool; 2],
    clients: Vec<u64>,
}
