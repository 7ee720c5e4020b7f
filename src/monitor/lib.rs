//! The monitor: answers on the sockets, and by HTTP where that is asked for, from the scoreboard and the spool's folders alone, so it
//! answers while the parent or every worker hangs, and says so.
//!
//! One poll loop, no thread. A client that is slow, silent, floods or never reads costs its own
//! few kilobytes and nobody else's time: a turn accepts so many, answers so many requests of each,
//! and makes the document once, however many ask for it. What changes something is passed on to the
//! parent; the monitor itself changes nothing.

mod client;
mod clients;
mod diary;
mod folders;
mod http;
mod listing;
mod metrics;
mod rates;
mod sight;
mod trouble;
mod words;

use config::Config;
use interprocess::local_socket::traits::{Listener as _, Stream as _};
use interprocess::os::unix::uds_local_socket::Listener;
use orders::{Answer, Command, Done, Message, Plea};
use scoreboard::Board;
use slog::{Logger, error, info, warn};
use spool::Spool;
use status::{Document, Level};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use sys::clock::now_ms;
use sys::confine::{Reach, log_folder};
use sys::socket::{Received, Sent, receive_message, send_message};
use sys::{Interest, Newborn, Signal, Signals};

use client::{Client, Rights};
use clients::Clients;
use http::{Path, Server};
use sight::Sight;
use words::Request;

/// So many requests of one client are answered in one turn; in a crowd, of more clients than that, one.
const REQUESTS: usize = 8;
/// An answer is good for so long, in milliseconds, if nothing has moved on.
const GOOD: u64 = 10;
/// Answering takes so long in one turn, in milliseconds; then newcomers are let in and poll is asked again.
const TURN: u64 = 5;
/// Where nobody can be accepted nobody is, for so long, in milliseconds.
const DEAF: u64 = 100;
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
    /// The page's listening socket, if there is a page.
    pub http: Option<OwnedFd>,
    /// Its log.
    pub log: Logger,
    /// What is left to do of its birth.
    pub newborn: Newborn,
}

/// Answers `rejects` or `history`, in words as on the socket, where no daemon runs: the line that
/// its monitor would say.
pub fn without_daemon(spool: &Spool, line: &str) -> String {
    match words::read(line) {
        Ok(request) => listing::answer(spool, &request),
        Err(refusal) => status::answer::refused(refusal.code, &refusal.message),
    }
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
    let limit = sys::limits::raise_open_files();
    let http = seat.http.map(|listener| Server::on(listener, limit));
    if let Err(e) = sys::confine::confine(&reach(&seat.spool, seat.config.log.file.as_deref())) {
        warn!(seat.log, "not confined"; "error" => %e);
    }
    let mut monitor = Monitor {
        // From a descriptor there is no name to be reclaimed: dropping it unlinks nothing.
        listeners: [
            (Listener::from(seat.status), Rights::Ask),
            (Listener::from(seat.control), Rights::Command),
        ],
        pipe: seat.pipe,
        signals,
        sight: Sight::new(seat.config, seat.spool.clone(), seat.board),
        spool: seat.spool,
        clients: Clients::under(left_to_clients(limit, http.as_ref())),
        http,
        again: BTreeSet::new(),
        turns: 0,
        deaf_until: 0,
        answers: None,
        waiting: BTreeMap::new(),
        next_command: 0,
        log: seat.log,
    };
    monitor.tell(&Plea::Ready);
    monitor.serve()
}

/// So many descriptors are not the page's.
fn left_to_clients(limit: u64, http: Option<&Server>) -> u64 {
    limit - http.map_or(0, |_| http::seats(limit) as u64).min(limit)
}

/// What it still reaches when it has begun: it reads the spool, and writes nothing but its log, which may be rotated.
/// Its sockets are the parent's, handed to it; what it asks of /proc is asked without opening anything.
fn reach(spool: &Spool, log: Option<&std::path::Path>) -> Reach {
    // Of the folders any may be a link to another one.
    let read = [spool.dir().to_owned()].into_iter().chain(spool.folders()).collect();
    Reach { read, write: log_folder(log).into_iter().collect(), connects: false }
}

struct Monitor {
    listeners: [(Listener, Rights); 2],
    /// The page, if there is one. Taken out while it is talked with.
    http: Option<Server>,
    pipe: OwnedFd,
    signals: Signals,
    sight: Sight,
    spool: Spool,
    clients: Clients,
    /// Those who are to be heard whatever poll says: with requests left over, or just answered by
    /// the parent.
    again: BTreeSet<u64>,
    /// How often clients were answered.
    turns: u64,
    /// No listener is waited for until then.
    deaf_until: u64,
    /// What was made for whoever asks, this turn or a moment ago.
    answers: Option<Answers>,
    /// Commands that the parent has not answered yet: its number → the client, and what the answer
    /// says that was done.
    waiting: BTreeMap<u64, (u64, Option<&'static str>)>,
    next_command: u64,
    log: Logger,
}

/// The answers that are the same for everybody, each a line.
struct Answers {
    /// When, on the monotonic clock, in milliseconds.
    made: u64,
    marks: sight::Marks,
    status: String,
    health: String,
    document: Document,
    metrics: OnceCell<String>,
    /// What was asked for by HTTP: the code and the body.
    http: BTreeMap<Path, (u16, Rc<str>)>,
}

impl Monitor {
    fn serve(&mut self) -> i32 {
        let mut leave_by = None;
        loop {
            let now = now_ms();
            if leave_by.is_some_and(|by| now >= by || !self.owes_answers()) {
                return 0;
            }
            let by = leave_by.unwrap_or(now + self.sight.next_look());
            let ready = match self.wait(now, by, leave_by.is_some()) {
                Ok(ready) => ready,
                // EINVAL: the limit has fallen under what is open. Or the kernel has no memory.
                Err(e) => {
                    if !self.run_short(&e) {
                        let signals = [(self.signals.as_fd(), Interest::Read)];
                        let _ = sys::poll(&signals, Some(Duration::from_millis(DEAF)));
                    }
                    Ready::default()
                }
            };
            self.sight.look(&self.log);
            if leave_by.is_none() && self.hear_parent() {
                leave_by = Some(now_ms() + GOODBYE);
            }
            if !self.signals.take().is_empty() {
                leave_by.get_or_insert(now_ms() + GOODBYE);
            }
            // Before newcomers: who has spoken is not silent.
            self.converse(ready.clients);
            self.converse_by_http(ready.http);
            for n in 0..2 {
                if ready.listeners[n] && leave_by.is_none() {
                    self.accept(n);
                }
            }
            if ready.http_listener && leave_by.is_none() {
                self.accept_by_http();
            }
        }
    }

    fn owes_answers(&self) -> bool {
        let by_http = self.http.as_ref().is_some_and(Server::owes);
        by_http || !self.again.is_empty() || self.clients.iter().any(|(_, client)| client.owes())
    }

    fn wait(&self, now: u64, by: u64, leaving: bool) -> io::Result<Ready> {
        let mut descriptors = vec![(self.signals.as_fd(), Interest::Read)];
        if !leaving {
            descriptors.push((self.pipe.as_fd(), Interest::Read));
        }
        let listeners = descriptors.len();
        let is_deaf = now < self.deaf_until;
        if !leaving && !is_deaf {
            descriptors.extend(self.listeners.iter().map(|(l, _)| (l.as_fd(), Interest::Read)));
            descriptors.extend(self.http.iter().map(|http| (http.listener(), Interest::Read)));
        }
        let first = descriptors.len();
        let mut ids = Vec::new();
        for (id, client) in self.clients.iter() {
            if let Some(interest) = client.interest() {
                descriptors.push((client.as_fd(), interest));
                ids.push(id);
            }
        }
        let clients = ids.len();
        for (id, connection, interest) in self.http.iter().flat_map(Server::connections) {
            descriptors.push((connection, interest));
            ids.push(id);
        }
        let by =
            self.http.as_ref().and_then(Server::deadline).map_or(by, |time_up| time_up.min(by));
        let by = match () {
            () if !self.again.is_empty() || self.http.as_ref().is_some_and(Server::is_busy) => now,
            () if is_deaf => by.min(self.deaf_until),
            () => by,
        };
        let polled = sys::poll(&descriptors, Some(Duration::from_millis(by.saturating_sub(now))))?;
        let is_ready = |n: usize| polled[n].readable || polled[n].writable;
        let listens = |n: usize| listeners + n < first && is_ready(listeners + n);
        let of = |from: usize, ids: &[u64]| -> Vec<u64> {
            let ids = ids.iter().enumerate();
            ids.filter(|(n, _)| is_ready(from + n)).map(|(_, id)| *id).collect()
        };
        Ok(Ready {
            listeners: [0, 1].map(listens),
            clients: of(first, &ids[..clients]),
            http_listener: listens(2),
            http: of(first + clients, &ids[clients..]),
        })
    }

    // --- clients --------------------------------------------------------------------------------

    fn accept(&mut self, n: usize) {
        for _ in 0..self.clients.newcomers(self.listeners[n].1) {
            let (listener, rights) = &self.listeners[n];
            match listener.accept() {
                Ok(stream) if stream.set_nonblocking(true).is_ok() => {
                    self.clients.admit(stream, *rights, now_ms());
                }
                Ok(_) => {}
                // Both generations' monitors wait on one socket: another may have been quicker.
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(e) if self.run_short(&e) => {}
                Err(_) => return,
            }
        }
    }

    /// Lets clients go where descriptors have run out; whether there is one again. If not, the
    /// listeners are left alone for a while: poll would report them again and again.
    fn run_short(&mut self, error: &io::Error) -> bool {
        let is_limit =
            sys::limits::is_out_of_files(error) || error.kind() == ErrorKind::InvalidInput;
        let limit = sys::limits::raise_open_files();
        // Who came by HTTP goes first.
        if is_limit && self.http.as_mut().is_some_and(|http| http.shed(limit)) {
            return true;
        }
        if is_limit && self.clients.shed(left_to_clients(limit, self.http.as_ref())) {
            return true;
        }
        let now = now_ms();
        if now >= self.deaf_until + LOOK_IDLE {
            warn!(self.log, "nobody can be accepted"; "error" => %error);
        }
        self.deaf_until = now + DEAF;
        false
    }

    /// Reads what the clients ask, answers, and lets those go that are done.
    fn converse(&mut self, ready: Vec<u64>) {
        let (now, marks) = (now_ms(), self.sight.marks());
        let is_good = |answers: &Answers| now < answers.made + GOOD && answers.marks == marks;
        self.answers = self.answers.take().filter(is_good);
        let mut turn = std::mem::take(&mut self.again);
        turn.extend(ready);
        self.turns += 1;
        let requests = if turn.len() > REQUESTS { 1 } else { REQUESTS };
        let by = now_ms() + TURN;
        for id in self.clients.by_turn(turn) {
            if now_ms() >= by {
                self.again.insert(id);
                continue;
            }
            let Some(mut client) = self.clients.take(id) else { continue };
            client.has_had(self.turns);
            if self.converse_with(id, &mut client, requests) {
                self.again.insert(id);
            }
            if !client.is_done() {
                self.clients.put(id, client);
            }
        }
    }

    /// Until neither a request nor an answer moves any more, or it is the others' turn; whether it
    /// is that. Writing makes room for the answer to a request that was read long ago, of which
    /// poll knows nothing.
    fn converse_with(&mut self, id: u64, client: &mut Client, requests: usize) -> bool {
        client.read(now_ms());
        let mut left = requests;
        loop {
            let before = left;
            while left > 0 {
                match client.next_request() {
                    Some(Ok(words)) => self.answer(id, client, &words),
                    Some(Err(refusal)) => client.say(&refusal),
                    None => break,
                }
                left -= 1;
            }
            let moved = client.write() || left < before;
            if left == 0 || !moved {
                return left == 0;
            }
        }
    }

    /// Made once a turn, however many ask, and not again in a moment in which nothing has moved: it is the
    /// same for all.
    fn answers(&mut self) -> &mut Answers {
        let sight = &mut self.sight;
        self.answers.get_or_insert_with(|| {
            let (made, marks) = (now_ms(), sight.marks());
            let document = sight.document();
            Answers {
                made,
                marks,
                status: status::answer::status(&document),
                health: status::answer::health(&document.health),
                metrics: OnceCell::new(),
                http: BTreeMap::new(),
                document,
            }
        })
    }

    fn metrics(&mut self) -> &str {
        let (durations, log_dropped) = (self.sight.durations(), self.sight.log_dropped());
        let Answers { document, metrics, .. } = self.answers();
        metrics.get_or_init(|| metrics::text(document, &durations, log_dropped))
    }

    fn answer(&mut self, id: u64, client: &mut Client, line: &str) {
        let request = match words::read(line) {
            Ok(request) => request,
            Err(refusal) => {
                client.say(&status::answer::refused(refusal.code, &refusal.message));
                return;
            }
        };
        if client.rights() == Rights::Ask && !request.is_question() {
            let command = line.split(' ').next().unwrap_or_default();
            let message = format!("{command} is for the control socket");
            client.say(&status::answer::refused("not_permitted", &message));
            return;
        }
        match request {
            Request::Help => {
                let commands = if client.rights() == Rights::Ask { &[] } else { words::COMMANDS };
                let all = [words::QUESTIONS, commands].concat();
                client.say(&status::answer::done("help", &all));
            }
            Request::Ping => client.say(&status::answer::done("ping", "pong")),
            Request::Status => client.say(&self.answers().status),
            Request::Health => client.say(&self.answers().health),
            Request::Metrics => client.say(self.metrics()),
            Request::Command(command) => self.command(id, client, command),
            Request::Rejects(_) | Request::History(_) => {
                client.say(&listing::answer(&self.spool, &request));
            }
        }
    }

    // --- http -----------------------------------------------------------------------------------

    fn accept_by_http(&mut self) {
        let Some(http) = &mut self.http else { return };
        if let Err(e) = http.accept(now_ms()) {
            self.run_short(&e);
        }
    }

    fn converse_by_http(&mut self, ready: Vec<u64>) {
        let Some(mut http) = self.http.take() else { return };
        http.converse(ready, now_ms(), |request| self.answer_by_http(request.path));
        self.http = Some(http);
    }

    /// As [`Monitor::answers`]: made once a turn.
    fn answer_by_http(&mut self, path: Path) -> http::Answer {
        let (code, body) = match self.answers().http.get(&path) {
            Some(made) => made.clone(),
            None => {
                let (code, body) = self.found(path);
                let made = (code, Rc::from(body));
                self.answers().http.insert(path, made.clone());
                made
            }
        };
        http::Answer::to(path, code, body)
    }

    fn found(&mut self, path: Path) -> (u16, String) {
        match path {
            Path::Page => (200, http::PAGE.to_owned()),
            Path::Status => (200, self.answers().document.to_line()),
            Path::Metrics => (200, self.metrics().to_owned()),
            Path::Health => {
                let health = &self.answers().document.health;
                let code = if health.state == Level::Critical { 503 } else { 200 };
                (code, status::page::verdict(health))
            }
            Path::History => match listing::history(&self.spool, words::HISTORY) {
                Ok(line) => (200, line),
                Err(refusal) => (503, status::answer::refused(refusal.code, &refusal.message)),
            },
        }
    }

    // --- the parent -----------------------------------------------------------------------------

    fn command(&mut self, id: u64, client: &mut Client, command: Command) {
        let number = self.next_command;
        self.next_command += 1;
        info!(self.log, "command"; "command" => format!("{command:?}"), "peer" => client.peer());
        let name = match command {
            Command::Reload | Command::Stop | Command::Cancel(_) => None,
            Command::Pause | Command::Resume => None,
            Command::Retry { .. } => Some("retry"),
            Command::Drop(_) => Some("dropped"),
        };
        let may_wait = self.waiting.len() < self.clients.may_wait();
        if may_wait && self.tell(&Plea::Command { number, command }) {
            self.waiting.insert(number, (id, name));
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

    /// What the client asked meanwhile comes next, and its end may have come: it is heard again.
    fn pass_on(&mut self, answer: Answer) {
        self.sight.look_anew();
        self.answers = None;
        let Some((id, name)) = self.waiting.remove(&answer.number) else { return };
        let Some(client) = self.clients.get_mut(id) else { return };
        client.say(&match (&answer.result, name) {
            (Ok(Done { deltas, rejects }), Some(name)) => {
                let done = BTreeMap::from([("deltas", deltas), ("rejects", rejects)]);
                status::answer::done(name, &done)
            }
            (Ok(_), None) => "{\"ok\":true}\n".to_owned(),
            (Err((code, message)), _) => status::answer::refused(code, message),
        });
        self.again.insert(id);
    }
}

#[derive(Default)]
struct Ready {
    listeners: [bool; 2],
    clients: Vec<u64>,
    http_listener: bool,
    http: Vec<u64>,
}
