//! The parent: one thread for its whole life, one poll loop, nothing in it that can block.
//!
//! It forks workers and the monitor into slots, claims deltas and deals their shares, reaps,
//! settles, and sleeps in poll(2) on signals, on the spool's inotify, on one pipe for each child
//! and on deadlines. It opens no delta, no connection, resolves no name and parses no line; it
//! never waits for one child. Its decisions are [`machine`]'s; here they are carried out.
//!
//! Everything that runs before a fork lives in this crate and below it, and nothing here may start
//! a thread: the manifest, `clippy.toml`, the link check and [`sys::fork`] see to it. Nothing in
//! [`Parent`] has a `Drop` that touches the outside world, since it runs in every child too.

mod asked;
mod bar;
mod board;
mod crew;
mod delta;
mod machine;
mod manager;
mod producer;
mod reload;
mod settle;
mod slots;
mod start;
mod tell;
mod trouble;

use config::Config;
use scoreboard::Board;
use slog::{Logger, info, warn};
use spool::{Claim, Division, Kind, Settled, Spool, SpoolLock};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use sys::clock::{now_ms, wall_ms};
use sys::{Fork, Interest, Newborn, Signal, Signals};

use crew::Crew;
use machine::{Action, ChildId, Event, Machine, Tell};
use manager::Manager;
use producer::Producer;
use reload::Candidate;
use slots::Post;
use trouble::Trouble;

pub use orders::Sums;
pub use start::{Options, StartError, Task, lock};

/// The loop turns at least so often, for its heartbeat, in milliseconds.
const TICK: u64 = 5_000;
/// Woken so much later than asked, the parent itself had stood still.
const STALL: u64 = 1_000;
/// While no delta can be claimed for want of room, a worker is asked to make some so often, in
/// milliseconds.
const PRUNE: u64 = 5_000;

/// Who we are, now that [`Parent::run`] has returned.
pub enum Role {
    /// A worker, just forked.
    Worker(WorkerSeat),
    /// The monitor, just forked.
    Monitor(MonitorSeat),
    /// The parent, and all is over.
    Parent(Outcome),
}

/// What a worker starts its life with.
pub struct WorkerSeat {
    /// The configuration of its generation.
    pub config: Config,
    /// Where deltas lie.
    pub spool: Spool,
    /// To be kept: while a child lives, the spool is not free.
    pub lock: Arc<SpoolLock>,
    /// The scoreboard.
    pub board: Board,
    /// Its generation.
    pub generation: u64,
    /// Its slot.
    pub slot: u32,
    /// To the parent and back.
    pub pipe: OwnedFd,
    /// Its log.
    pub log: Logger,
    /// What is left to do of its birth.
    pub newborn: Newborn,
    /// Whether somebody at a terminal waits for its work.
    pub is_awaited: bool,
}

/// What a monitor starts its life with.
pub struct MonitorSeat {
    /// The configuration of its generation.
    pub config: Config,
    /// Where deltas lie.
    pub spool: Spool,
    /// To be kept: while a child lives, the spool is not free.
    pub lock: Arc<SpoolLock>,
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

/// How it all ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// Why, if it did not go well.
    pub reason: Option<String>,
    /// What was settled, in order. Who waits asks for it, a daemon keeps no list.
    pub settled: Vec<Settlement>,
}

/// A delta that was settled.
#[derive(Debug)]
pub struct Settlement {
    /// Its name where it is now.
    pub name: OsString,
    /// What was claimed of it.
    pub kind: Kind,
    /// Done or failed.
    pub settled: Settled,
    /// What became of its lines.
    pub sums: Sums,
    /// Why it failed.
    pub reason: Option<String>,
}

/// The listening sockets. The parent binds them and never accepts: so they survive the monitor.
struct Listeners {
    status: start::Seat,
    control: start::Seat,
    /// The page's, if there is one.
    http: Option<OwnedFd>,
}

/// A claim that is not settled.
struct Active {
    claim: Claim,
    /// When it was claimed or taken up again.
    since: u64,
}

/// The parent.
pub struct Parent {
    config: Config,
    /// The configuration of the generation that is coming up, and its log.
    candidate: Option<Candidate>,
    task: Task,
    spool: Spool,
    lock: Arc<SpoolLock>,
    board: Board,
    log: Logger,
    sink: Arc<logs::Sink>,
    signals: Signals,
    listeners: Option<Listeners>,
    manager: Manager,
    producer: Producer,
    settling: Trouble,
    /// Claims of an earlier daemon, to be taken up again.
    open: VecDeque<Claim>,
    /// The claims that are not settled, the oldest first, as the machine has them.
    active: VecDeque<Active>,
    /// What is under way is older than something that was cancelled while it waited.
    has_open_run: bool,
    crew: Crew,
    machine: Machine,
    /// What persons have asked for and is not done yet.
    asked: VecDeque<asked::Asked>,
    /// No heartbeat is judged before: the parent itself had stood still.
    excused: u64,
    /// When the loop was last woken.
    last_turn: u64,
    reason: Option<String>,
    settled: Vec<Settlement>,
    /// The last error in writing the history, an errno; 0: all is well.
    history_error: i32,
    /// What was told of why children are not confined.
    not_confined: Option<String>,
    counters: board::Counters,
    /// When it next says how far it is, where somebody waits for that.
    next_word: u64,
    /// What `feed` has to do.
    meter: Option<bar::Meter>,
    /// Where that is shown.
    bar: Option<bar::Bar>,
    /// While the disk is full: when a worker is asked to make room, at the earliest.
    next_prune: u64,
}

impl Parent {
    /// Runs the daemon. Returns once in every process, like fork: in the parent when all is over,
    /// in each child when it has just been forked.
    pub fn run(mut self) -> Role {
        // Nothing has happened yet: the slots are filled.
        let mut events = VecDeque::from([Event::Time]);
        if let Task::Cancel(_) = self.task {
            let doomed = self.open.iter().map(|claim| claim.number);
            events.extend(doomed.map(|claim| Event::Cancel { claim, asker: None }));
        }
        loop {
            while let Some(event) = events.pop_front() {
                let actions = self.machine.step(event, now_ms());
                match self.carry_out(actions) {
                    ControlFlow::Continue(more) => events.extend(more),
                    ControlFlow::Break(role) => return role,
                }
                if events.is_empty() {
                    events.extend(self.next_delta());
                }
            }
            self.publish();
            self.keep_the_manager_informed();
            events = self.wait();
        }
    }

    /// Sleeps until something happens or is due, and gathers what it was.
    fn wait(&mut self) -> VecDeque<Event> {
        let before = now_ms();
        let producer = match self.machine.wants_delta() {
            true if self.active.is_empty() => self.producer.deadline(),
            true if self.may_claim_ahead() => self.producer.deadline_ahead(before),
            true | false => None,
        };
        let asked = (!self.asked.is_empty()).then_some(0);
        let manager = self.manager.deadline();
        let frame = self.bar.as_ref().map(bar::Bar::next);
        let producers = [producer, self.producer.next_scan()];
        let due = [self.machine.deadline(), asked, manager, frame].into_iter().chain(producers);
        let wake = due.flatten().fold(before + TICK, u64::min).max(before);
        let timeout = Duration::from_millis(wake.saturating_sub(before));

        let mut descriptors = vec![(self.signals.as_fd(), Interest::Read)];
        descriptors.extend(self.producer.watch().map(|fd| (fd, Interest::Read)));
        let watched = descriptors.len();
        descriptors.extend(self.crew.descriptors());
        let polled = sys::poll(&descriptors, Some(timeout));
        drop(descriptors);
        // poll(2) fails for want of memory only: then everything is looked at.
        let polled = polled.unwrap_or_default();
        let ready = |n: usize| polled.get(n).is_none_or(|p| p.readable || p.writable);

        let now = now_ms();
        if self.task != Task::Serve && now >= self.next_word {
            self.next_word = now + TICK;
            self.say_progress(now);
        }
        self.draw(now);
        // In poll, or before it, in a system call that the spool's file system held up.
        let stood = (now - wake.min(now)).max(before.saturating_sub(self.last_turn));
        if stood > STALL {
            self.excused = now + self.config.workers.hang_timeout.as_millis() as u64;
            info!(self.log, "stood still"; "for_ms" => stood);
        }
        self.last_turn = now;
        let mut events = VecDeque::from([Event::Time]);
        if ready(0) {
            self.take_signals(&mut events);
        }
        if watched > 1 && ready(1) {
            self.producer.read_watch(now, wall_ms());
        }
        self.producer.scan_if_due(now, wall_ms(), &self.log);
        events.extend(self.crew.hear());
        events.extend(self.silent(now));
        events.extend(self.go_on());
        events
    }

    fn take_signals(&mut self, events: &mut VecDeque<Event>) {
        for signal in self.signals.take() {
            match signal {
                // The terminal that waits is gone.
                Signal::Hangup if self.task != Task::Serve => events.push_back(Event::Leave),
                Signal::Hangup => events.push_back(Event::Hangup),
                Signal::Terminate | Signal::Interrupt => events.push_back(Event::Leave),
                _ => {}
            }
        }
        // Whatever woke us: fifty deaths are one SIGCHLD.
        while let Some((pid, ended)) = sys::reap() {
            events.extend(self.died_of(pid, ended));
            match self.crew.bury(pid) {
                // What it said before it died still counts.
                Some((child, last_words)) => {
                    events.extend(last_words);
                    events.push_back(Event::Reaped { child, ended });
                }
                None => info!(self.log, "reaped a stranger"; "pid" => pid, "ended" => %ended),
            }
        }
    }

    /// The line that a worker died of, if it looks so: by a fault of its own, while it had one in
    /// hand. Whoever kills one from outside says nothing of a line.
    fn died_of(&self, pid: i32, ended: sys::Ended) -> Option<Event> {
        let child = self.crew.child(pid)?;
        let (generation, slot) = self.crew.worker(child)?;
        let line = self.board.worker(generation, slot as usize).hand().checked_sub(1)?;
        ended.is_own_fault().then_some(Event::Suspect { child, line })
    }

    /// Those whose heartbeat has stood still for `hang_timeout`: a busy worker's, one of its post
    /// threads', or the monitor's.
    fn silent(&self, now: u64) -> Vec<Event> {
        if now < self.excused {
            return Vec::new();
        }
        let limit = self.config.workers.hang_timeout.as_millis() as u64;
        let silent = |(child, since): (ChildId, u64)| {
            let stood = |at: u64| {
                // Its sign may be later than this turn of the loop, and is none to come: only what
                // is later than a clock that is read after it is scribbled.
                let now = now_ms();
                let sign = if at > now { since } else { at.max(since) };
                now.saturating_sub(sign) > limit
            };
            let mut events = Vec::new();
            let silent = match self.crew.worker(child) {
                None => stood(self.board.monitor().heartbeat()),
                Some((generation, slot)) => {
                    let cell = self.board.worker(generation, slot as usize);
                    let mut posters = cell.posters().map(|p| p.request_since());
                    let hangs = stood(cell.heartbeat());
                    if let (true, Some(line)) = (hangs, cell.hand().checked_sub(1)) {
                        events.push(Event::Suspect { child, line });
                    }
                    hangs || posters.any(|at| at != 0 && stood(at))
                }
            };
            events.extend(silent.then_some(Event::Silent { child }));
            events
        };
        self.machine.busy().flat_map(silent).collect()
    }

    /// The next delta, if one may be begun.
    fn next_delta(&mut self) -> Option<Event> {
        if !self.machine.may_take_up() {
            return None;
        }
        let is_first = self.active.is_empty();
        let claim = match self.open.front() {
            Some(next) if !is_first && !self.may_follow(next) => return None,
            Some(_) => self.open.pop_front()?,
            None if !self.machine.wants_delta() => return None,
            None if !is_first && !self.may_claim_ahead() => return None,
            None => {
                let (division, version) = (start::division(&self.config), self.highest_version());
                let (spool, log) = (&self.spool, &self.log);
                match self.producer.claim(spool, division, version, !is_first, now_ms(), log) {
                    Some(claim) => claim,
                    None if !is_first => return None,
                    None => {
                        self.ask_for_room(now_ms());
                        return self.producer.is_exhausted().then_some(Event::Leave);
                    }
                }
            }
        };
        let follows = !is_first && self.may_follow(&claim);
        info!(self.log, "delta claimed"; "delta" => %claim.name.to_string_lossy(), "bytes" => claim.bytes,
            "claim" => claim.number, "shares" => claim.shares);
        let Claim { number, kind, shares, ref passed, .. } = claim;
        let event = Event::Claimed { claim: number, kind, shares, follows, passed: passed.clone() };
        self.active.push_back(Active { claim, since: now_ms() });
        if is_first {
            self.name_the_oldest();
        }
        Some(event)
    }

    /// The status tells the oldest delta's name.
    fn name_the_oldest(&self) {
        if let Some(Active { claim, .. }) = self.active.front() {
            self.board.active_name().write(&claim.name.to_string_lossy());
        }
    }

    /// Whether a delta may be begun before those are settled that are open. Not by `feed`, for what is
    /// appended meanwhile would be nobody's. And not while a delta that was cancelled when it waited is
    /// compared with what is written until these are settled: all of that is older, and this would be newer.
    /// And only where lines are divided by the document's own id: by another member, a delete and a document
    /// may be in two shares, and one may be overtaken by the other.
    fn may_run_ahead(&self, key: Option<&String>) -> bool {
        let is_by_id = key == Some(&self.config.solr.unique_key);
        is_by_id && self.task == Task::Serve && !self.has_open_run
    }

    /// Whether this one may be.
    fn may_follow(&self, claim: &Claim) -> bool {
        let is_alike = self.active.back().is_some_and(|last| last.claim.is_alike(claim));
        is_alike && self.may_run_ahead(claim.key.as_ref())
    }

    /// Whether one may be that is not claimed yet.
    fn may_claim_ahead(&self) -> bool {
        let Division { shares, key } = start::division(&self.config);
        let alike = |last: &Claim| last.end.is_some() && (last.shares, &last.key) == (shares, &key);
        let is_alike = self.active.back().is_some_and(|last| alike(&last.claim));
        self.open.is_empty() && is_alike && self.may_run_ahead(key.as_ref())
    }

    /// All that is claimed, the oldest first.
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.active.iter().map(|active| &active.claim).chain(&self.open)
    }

    /// The claim of this number, if it is not settled.
    fn claim(&self, number: u64) -> Option<&Claim> {
        self.claims().find(|claim| claim.number == number)
    }

    /// No delta can be claimed for want of room: a worker makes some, if there is what may go.
    fn ask_for_room(&mut self, now: u64) {
        let full = |errno| spool::is_full(&std::io::Error::from_raw_os_error(errno));
        let is_full = self.producer.trouble().is_some_and(|(_, errno)| full(errno));
        if !is_full || now < self.next_prune {
            return;
        }
        let workers = self.machine.slots().iter().filter(|slot| slot.post != Post::Monitor);
        let ready = workers.filter_map(|slot| slot.holder).find(|c| self.machine.is_ready(*c));
        if let Some(child) = ready {
            self.next_prune = now + PRUNE;
            self.crew.send(child, &orders::Order::Prune);
        }
    }

    /// The highest version in any receipt so far, as the workers say: a number, and not one that
    /// Solr could not have given within a day.
    pub(crate) fn highest_version(&self) -> u64 {
        let heard = self.board.highest_version().max(self.board.parent().version());
        credible(heard).unwrap_or(0)
    }

    /// How new all is that Solr has.
    pub(crate) fn as_of(&self) -> u64 {
        credible(self.board.as_of(wall_ms(), now_ms())).unwrap_or(wall_ms() << 20)
    }

    // --- carrying out ---------------------------------------------------------------------------

    fn carry_out(&mut self, actions: Vec<Action>) -> ControlFlow<Role, Vec<Event>> {
        let mut events = Vec::new();
        for action in actions {
            match action {
                Action::Fork { child, post, generation } => {
                    events.extend(self.fork(child, post, generation)?);
                }
                Action::Send { child, order } => self.crew.send(child, &self.named(order)),
                Action::Answer { child, answer } => {
                    self.publish(); // or who is told would see the status of before
                    self.crew.send(child, &answer);
                }
                Action::Ask { child, number, command } => {
                    events.extend(self.asked(child, number, &command));
                }
                Action::Close { child } => self.crew.close(child),
                Action::Kill { child } => self.crew.kill(child, &self.log),
                Action::Configure => events.push(self.configure()),
                Action::Adopt => self.adopt(),
                Action::Refuse { reason } => self.refuse(&reason),
                Action::Settle { claim, settled, sums, origins } => {
                    events.push(self.settle(claim, settled, sums, &origins));
                }
                Action::Ready => self.ready(),
                Action::Tell(tell) => self.tell(tell),
                Action::Exit { code } => return ControlFlow::Break(self.leave(code)),
            }
        }
        ControlFlow::Continue(events)
    }

    /// In the parent: whether there was no fork. In the child: the end of this loop.
    fn fork(
        &mut self,
        child: ChildId,
        post: Post,
        generation: u64,
    ) -> ControlFlow<Role, Option<Event>> {
        let (ours, theirs) = match sys::socket::pair() {
            Ok(pair) => pair,
            Err(e) => return self.not_forked(child, format!("no pipe: {e}")),
        };
        if let Post::Worker(slot) = post {
            self.counters.slots_most = self.counters.slots_most.max(u64::from(slot) + 1);
            self.board.parent().set_slots_most(self.counters.slots_most);
        }
        match sys::fork() {
            Ok(Fork::Parent(process)) => {
                self.crew.hire(child, post, generation, process, ours);
                ControlFlow::Continue(None)
            }
            Ok(Fork::Child(newborn)) => {
                drop(ours);
                ControlFlow::Break(self.seat(post, generation, theirs, newborn))
            }
            Err(e) => self.not_forked(child, e.to_string()),
        }
    }

    fn not_forked(&self, child: ChildId, reason: String) -> ControlFlow<Role, Option<Event>> {
        ControlFlow::Continue(Some(Event::NotForked { child, reason }))
    }

    /// In the child: what it takes along of the parent's. All else is dropped as `run` returns.
    fn seat(&mut self, post: Post, generation: u64, pipe: OwnedFd, newborn: Newborn) -> Role {
        let coming = generation != self.machine.slots().generation;
        if let Some(candidate) = self.candidate.take().filter(|_| coming) {
            (self.config, self.log) = (candidate.config, candidate.log);
            if let Some(listeners) = &mut self.listeners {
                listeners.http = candidate.http;
            }
        }
        let (config, log) = (self.config.clone(), self.log.clone());
        let (spool, lock, board) = (self.spool.clone(), self.lock.clone(), self.board);
        match (post, self.listeners.take()) {
            (Post::Monitor, Some(Listeners { status, control, http })) => {
                let (status, control) = (status.listener, control.listener);
                Role::Monitor(MonitorSeat {
                    log: log.new(slog::o!("role" => "monitor")),
                    config,
                    spool,
                    lock,
                    board,
                    pipe,
                    status,
                    control,
                    http,
                    newborn,
                })
            }
            (Post::Worker(slot), _) => Role::Worker(WorkerSeat {
                log: log.new(slog::o!("role" => format!("worker {slot}"))),
                config,
                spool,
                lock,
                board,
                generation,
                slot,
                pipe,
                newborn,
                is_awaited: matches!(self.task, Task::Feed(_) | Task::Retry),
            }),
            (Post::Monitor, None) => unreachable!("there is no monitor without its sockets"),
        }
    }

    /// The machine knows numbers; here is the name that belongs to the claim, and how it is to be
    /// delivered.
    fn named(&self, mut order: orders::Order) -> orders::Order {
        match &mut order {
            orders::Order::Deal(share) => {
                let Some(claim) = self.claim(share.claim) else { return order };
                (share.end, share.version) = (share.end.and(claim.end), claim.version);
                (share.guarded, share.begin) = (claim.guarded, claim.begin);
                (share.name, share.key) = (claim.name.clone(), claim.key.clone());
            }
            orders::Order::Finish(finish) => {
                let Some(claim) = self.claim(finish.claim) else { return order };
                (finish.guarded, finish.begin) = (claim.guarded, claim.begin);
                (finish.name, finish.key) = (claim.name.clone(), claim.key.clone());
            }
            orders::Order::Abandon { .. } | orders::Order::Prune => {}
        }
        order
    }

    /// There is no monitor that could be asked. (At a terminal there is a bar.)
    fn say_progress(&mut self, now: u64) {
        if self.bar.is_some() {
            return;
        }
        let totals = self.board.totals();
        let Some(progress) = self.progress(now) else {
            return info!(self.log, "delivering"; "docs" => totals.docs, "deletes" => totals.deletes,
                "rejects" => totals.rejected);
        };
        let eta = progress.eta_s.map_or("unknown".into(), |s| format!("{s} s"));
        info!(self.log, "delivering"; "delta" => &progress.name, "percent" => progress.percent(),
            "docs" => totals.docs, "deletes" => totals.deletes, "rejects" => totals.rejected,
            "docs_per_s" => progress.docs_per_s, "eta" => eta);
        if let Some(reason) = &progress.trouble {
            warn!(self.log, "waiting"; "reason" => reason);
        }
    }

    fn ready(&mut self) {
        info!(self.log, "ready"; "workers" => self.config.workers.count,
            "spool" => %self.spool.dir().display(), "collection" => &self.config.solr.collection);
        self.say_where_the_page_is();
        self.tell_over();
        self.tell_confinement();
    }

    /// Once, and again when a reload has made it another matter.
    fn tell_confinement(&mut self) {
        let now = tell::not_confined(&self.config);
        if let Some(words) = now.as_ref().filter(|_| now != self.not_confined) {
            info!(self.log, "{words}");
        }
        self.not_confined = now;
    }

    fn say_where_the_page_is(&self) {
        if let (Some(address), Task::Serve) = (self.config.monitor.http, &self.task) {
            info!(self.log, "the page is up"; "url" => format!("http://{address}/"));
        }
    }

    fn tell(&mut self, tell: Tell) {
        if let Tell::Fatal { reason } = &tell {
            self.reason = Some(reason.clone());
        }
        let name = |claim| self.claim(claim).map(|claim| claim.name.clone()).unwrap_or_default();
        tell::tell(&self.log, &tell, name);
    }

    fn leave(&mut self, code: i32) -> Role {
        self.publish();
        self.keep_the_manager_informed(); // all may have been gone at once
        if let Some(bar) = &self.bar {
            bar.clear();
        }
        self.producer.leave(&self.log);
        if let Some(Listeners { status, control, .. }) = &self.listeners {
            status.clear();
            control.clear();
        }
        if self.task == Task::Serve {
            info!(self.log, "stopped"; "code" => code);
        }
        Role::Parent(Outcome {
            code,
            reason: self.reason.take(),
            settled: std::mem::take(&mut self.settled),
        })
    }
}

/// A version, if Solr could have given it within a day.
fn credible(version: u64) -> Option<u64> {
    const DAY: u64 = 86_400_000;
    Some(version).filter(|version| *version < (wall_ms() + DAY) << 20)
}
