//! The parent's decisions: an event comes in with the time, actions go out. Nothing here touches
//! the world, so a model checker can walk through it (`model`), and production runs the same code.
//!
//! What it holds to: a share is dealt to one living worker at most; a share of a later delta only when
//! the same one of every earlier delta is in; deltas settle in the order of their claims; nothing is waited for without
//! a deadline; what a child says is believed only where it fits what the child was told; a reload
//! changes nothing until every child of the new generation is ready.

use orders::{Answer, Command, Done, Order, Origin, Plea, Report, Share, Sums};
use spool::{Kind, Settled};
use std::collections::{BTreeMap, VecDeque};
use sys::Ended;

use crate::delta::{Cancel, Delta, Finish};
use crate::slots::{Post, Slots};

/// A child, by the parent's own number for it: never used twice, unlike a pid.
pub(crate) type ChildId = u64;

/// How long a child may take to say that it is ready, in milliseconds.
const START: u64 = 30_000;
/// How long those may take to leave that have nothing to finish.
const GOODBYE: u64 = 5_000;
/// How long the monitor may take for its last answers when the daemon ends.
const LAST_WORDS: u64 = 900;
/// How long after an error in the spool the next try is.
const AGAIN: u64 = 1_000;
/// So many deltas are open at once at most, the oldest and what runs ahead of it.
const OPEN: usize = 8;
/// A worker that dies so often before the daemon was ever ready ends it.
const STILLBORN: u32 = 5;

/// What the machine must know of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub(crate) workers: u32,
    /// In milliseconds.
    pub(crate) stop_timeout: u64,
    /// Whether a failed delta holds back those behind it.
    pub(crate) stop_on_failed: bool,
}

/// What has happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Nothing but the time that has passed.
    Time,
    /// SIGHUP.
    Hangup,
    /// SIGTERM or SIGINT; or, for `feed`, everything is delivered.
    Leave,
    /// The configuration has been read again, after [`Action::Configure`].
    Configured(Result<Plan, String>),
    /// A delta has been claimed, or taken up again. `follows`: it is divided as the one before it, and
    /// may run ahead; `passed`: shares of it are in, and a later delta's were begun.
    Claimed { claim: u64, kind: Kind, shares: u32, follows: bool, passed: Vec<u32> },
    /// A person gives a delta up: one that is open, or one that is to be taken up again. Whoever
    /// asked is answered when it is settled.
    Cancel { claim: u64, asker: Option<Asker> },
    /// [`Action::Settle`] is done.
    Settled,
    /// [`Action::Settle`] could not be done.
    NotSettled,
    /// There was no fork for [`Action::Fork`].
    NotForked { child: ChildId, reason: String },
    /// A child has ended.
    Reaped { child: ChildId, ended: Ended },
    /// A child's heartbeat has stood still for too long.
    Silent { child: ChildId },
    /// A worker dies, or hangs, while it converts this line; that is told before it is reaped, or
    /// silent.
    Suspect { child: ChildId, line: u64 },
    /// A worker says something.
    Report { child: ChildId, report: Report },
    /// The monitor says something.
    Plea { child: ChildId, plea: Plea },
    /// A child says something that does not read.
    Garbled { child: ChildId },
    /// A child has closed its end of the pipe: nothing can be said to it, or heard of it, any more.
    HungUp { child: ChildId },
    /// A person has seen to a failed delta.
    Looked,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Fork a child for this post.
    Fork { child: ChildId, post: Post, generation: u64 },
    /// Hand it an order.
    Send { child: ChildId, order: Order },
    /// Do in the spool what it was asked for, and answer.
    Ask { child: ChildId, number: u64, command: Command },
    /// Answer the command that it passed on.
    Answer { child: ChildId, answer: Answer },
    /// Close its pipe: it is to leave.
    Close { child: ChildId },
    /// SIGKILL.
    Kill { child: ChildId },
    /// Read the configuration again.
    Configure,
    /// The configuration that was read is in force.
    Adopt,
    /// The configuration that was read is not taken.
    Refuse { reason: String },
    /// Move the oldest delta to where it belongs.
    Settle { claim: u64, settled: Settled, sums: Sums, origins: Vec<Origin> },
    /// All children are ready, for the first time.
    Ready,
    /// All children are gone: end with this code.
    Exit { code: i32 },
    /// Tell the operator.
    Tell(Tell),
}

/// What an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tell {
    Died {
        post: Post,
        ended: Ended,
        failures: u32,
    },
    Hung {
        post: Post,
    },
    /// It had this line in hand, by its index; whether that is rejected from now on.
    Suspect {
        post: Post,
        line: u64,
        poison: bool,
    },
    NotReady {
        post: Post,
    },
    Overdue {
        post: Post,
    },
    Refused {
        post: Post,
        reason: String,
    },
    Babble {
        post: Post,
    },
    GivenUp {
        claim: u64,
        reason: String,
    },
    /// A person gives it up.
    Cancelled {
        claim: u64,
    },
    NotForked {
        post: Post,
        reason: String,
    },
    Fatal {
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    /// Forked; must be ready by then.
    Starting(u64),
    Ready,
    /// Told to leave, or about to end by itself; killed then.
    Leaving(u64),
    /// SIGKILL is sent; only the reaping is missing.
    Killed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Child {
    post: Post,
    life: Life,
    /// It was told to leave.
    leaving: bool,
    /// When it said that it was ready.
    ready: Option<u64>,
    /// Since when it has had something to do.
    busy: Option<u64>,
}

/// Who waits for an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    pub(crate) monitor: ChildId,
    pub(crate) number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Reload {
    None,
    /// The file is being read.
    Reading,
    /// The new generation is coming up.
    Starting(Slots, Plan),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Starting,
    Running,
    /// Workers leave, then the monitor.
    Draining,
    /// With this exit code.
    Ended(i32),
}

/// The supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    plan: Plan,
    monitor: bool,
    phase: Phase,
    exit: i32,
    slots: Slots,
    children: BTreeMap<ChildId, Child>,
    next_child: ChildId,
    reload: Reload,
    /// Reloads asked for while one is under way, or the old generation is still leaving.
    again: bool,
    askers: Vec<Asker>,
    /// Those that are claimed and not settled, the oldest first. That one alone is finished and settled.
    deltas: VecDeque<Delta>,
    /// Claims that are to be given up when their turn comes.
    doomed: Vec<u64>,
    /// Who waits for an open delta, or one of those, to be given up.
    cancellers: Vec<(u64, Asker)>,
    sums: SumsWord,
    origins: Vec<Origin>,
    pub(crate) holding: bool,
    /// A person wants nothing to be sent for now.
    pub(crate) paused: bool,
    pub(crate) deaths: u64,
    pub(crate) hangs: u64,
}

/// The sums of the delta that is about to be settled, as plain numbers.
type SumsWord = [u64; 6];

impl Machine {
    /// A daemon that has not begun. `monitor`: whether it has one (`feed` has none).
    pub(crate) fn new(plan: Plan, monitor: bool) -> Machine {
        Machine {
            slots: Slots::new(1, plan.workers, monitor),
            plan,
            monitor,
            phase: Phase::Starting,
            exit: 0,
            children: BTreeMap::new(),
            next_child: 1,
            reload: Reload::None,
            again: false,
            askers: Vec::new(),
            deltas: VecDeque::new(),
            doomed: Vec::new(),
            cancellers: Vec::new(),
            sums: [0; 6],
            origins: Vec::new(),
            holding: false,
            paused: false,
            deaths: 0,
            hangs: 0,
        }
    }

    /// Takes in an event; answers what is to be done, in this order.
    pub(crate) fn step(&mut self, event: Event, now: u64) -> Vec<Action> {
        let mut todo = Vec::new();
        if let Phase::Ended(_) = self.phase {
            return todo;
        }
        match event {
            Event::Time => {}
            Event::Hangup => self.ask_reload(None, &mut todo),
            Event::Leave => self.drain(now, &mut todo),
            Event::Configured(Ok(plan)) => self.configured(plan),
            Event::Configured(Err(reason)) => self.refuse_reload("config", reason, now, &mut todo),
            Event::Claimed { claim, kind, shares, follows, passed } => {
                let delta = Delta::new(claim, kind, shares).following(follows);
                self.claimed(delta.passed_by(&passed));
            }
            Event::Cancel { claim, asker } => self.cancel(claim, asker, &mut todo),
            Event::Settled => self.settled(now, &mut todo),
            Event::NotSettled => {
                if let Some(oldest) = self.deltas.front_mut() {
                    oldest.set_finish(Finish::Settle(now + AGAIN));
                }
            }
            Event::NotForked { child, reason } => {
                let post = self.children.get(&child).map(|c| c.post);
                if let Some(post) = post {
                    todo.push(Action::Tell(Tell::NotForked { post, reason: reason.clone() }));
                }
                self.lost(child, now, reason, &mut todo);
            }
            Event::Reaped { child, ended } => self.reaped(child, ended, now, &mut todo),
            Event::Silent { child } => self.silent(child, &mut todo),
            Event::Suspect { child, line } => self.suspect(child, line, &mut todo),
            Event::Report { child, report } => self.report(child, report, now, &mut todo),
            Event::Plea { child, plea } => self.plea(child, plea, now, &mut todo),
            Event::Garbled { child } => self.garbled(child, &mut todo),
            Event::HungUp { child } => self.hung_up(child, now),
            Event::Looked => self.holding = false,
        }
        self.overdue(now, &mut todo);
        self.fill(now, &mut todo);
        self.switch(now, &mut todo);
        self.deal(now, &mut todo);
        self.settle(now, &mut todo);
        self.next_reload(&mut todo);
        self.end(now, &mut todo);
        todo
    }

    /// When something is due, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let lives = self.children.values().filter_map(|c| match c.life {
            Life::Starting(by) | Life::Leaving(by) => Some(by),
            Life::Ready | Life::Killed => None,
        });
        let filling = matches!(self.phase, Phase::Starting | Phase::Running);
        let slots = self.slots.iter().filter(|_| filling).filter_map(|s| s.due());
        let settle = self.deltas.front().into_iter().filter_map(|d| match d.finish() {
            Finish::Settle(at) => Some(at),
            Finish::NotYet | Finish::Waiting | Finish::Held(_) => None,
        });
        lives.chain(slots).chain(settle).min()
    }

    /// Whether a delta may be claimed now.
    pub(crate) fn wants_delta(&self) -> bool {
        self.may_take_up() && !self.holding && !self.paused
    }

    /// Whether one may be taken up again that was claimed before: a hold is for those that come.
    pub(crate) fn may_take_up(&self) -> bool {
        self.phase == Phase::Running && (self.deltas.is_empty() || self.may_run_ahead())
    }

    /// Whether a worker could begin with one more delta, if that is divided as those that are open.
    fn may_run_ahead(&self) -> bool {
        let is_free = |share: &u32| self.deltas.iter().all(|d| d.may_be_passed(*share));
        let shares = self.deltas.back().map_or(0, Delta::of);
        self.is_to_run_ahead() && self.deltas.len() < OPEN && (0..shares).any(|s| is_free(&s))
    }

    /// Whether later deltas are begun before earlier ones are settled. Not if their fate decides whether
    /// they are begun at all.
    fn is_to_run_ahead(&self) -> bool {
        !self.holding && !self.plan.stop_on_failed
    }

    /// The oldest delta that is not settled yet.
    pub(crate) fn delta(&self) -> Option<&Delta> {
        self.deltas.front()
    }

    /// The one of this claim.
    fn open(&mut self, claim: u64) -> Option<&mut Delta> {
        self.deltas.iter_mut().find(|delta| delta.claim == claim)
    }

    /// The slots of the generation at work.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The children that have something to do, and since when: a heartbeat is expected of them.
    pub(crate) fn busy(&self) -> impl Iterator<Item = (ChildId, u64)> {
        let lives = |c: &Child| !matches!(c.life, Life::Killed);
        self.children.iter().filter_map(move |(id, c)| Some((*id, c.busy.filter(|_| lives(c))?)))
    }

    /// Whether `child` has said that it is ready, and is not on its way out.
    pub(crate) fn is_ready(&self, child: ChildId) -> bool {
        self.children.get(&child).is_some_and(|c| c.life == Life::Ready)
    }

    /// Whether not all have been ready yet.
    pub(crate) fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    /// Whether the daemon is on its way out.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining | Phase::Ended(_))
    }

    // --- children -------------------------------------------------------------------------------

    /// Fills the slots that are due, of the generation at work and of the one that is coming up.
    fn fill(&mut self, now: u64, todo: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Starting | Phase::Running) {
            return;
        }
        let coming = match &mut self.reload {
            Reload::Starting(slots, _) => Some(slots),
            Reload::None | Reload::Reading => None,
        };
        for slots in std::iter::once(&mut self.slots).chain(coming) {
            let generation = slots.generation;
            for slot in slots.iter_mut().filter(|s| s.due().is_some_and(|due| due <= now)) {
                let child = self.next_child;
                self.next_child += 1;
                slot.holder = Some(child);
                let life = Life::Starting(now + START);
                self.children.insert(
                    child,
                    Child { post: slot.post, life, leaving: false, ready: None, busy: None },
                );
                todo.push(Action::Fork { child, post: slot.post, generation });
            }
        }
    }

    fn leave(&mut self, child: ChildId, by: u64, todo: &mut Vec<Action>) {
        if let Some(c) = self.children.get_mut(&child) {
            match c.life {
                Life::Starting(_) | Life::Ready => {
                    (c.life, c.leaving) = (Life::Leaving(by), true);
                    todo.push(Action::Close { child });
                }
                // A shorter stop_timeout may be in force by now.
                Life::Leaving(before) => c.life = Life::Leaving(before.min(by)),
                Life::Killed => {}
            }
        }
    }

    fn kill(&mut self, child: ChildId, todo: &mut Vec<Action>) {
        if let Some(c) = self.children.get_mut(&child) {
            if c.life != Life::Killed {
                c.life = Life::Killed;
                todo.push(Action::Kill { child });
            }
        }
    }

    /// Those that had to be ready, or gone, by now.
    fn overdue(&mut self, now: u64, todo: &mut Vec<Action>) {
        let late = |c: &Child| match c.life {
            Life::Starting(by) if by <= now => Some(Tell::NotReady { post: c.post }),
            Life::Leaving(by) if by <= now => Some(Tell::Overdue { post: c.post }),
            Life::Starting(_) | Life::Leaving(_) | Life::Ready | Life::Killed => None,
        };
        let late: Vec<_> =
            self.children.iter().filter_map(|(id, c)| Some((*id, late(c)?))).collect();
        for (child, tell) in late {
            todo.push(Action::Tell(tell));
            self.kill(child, todo);
        }
    }

    fn silent(&mut self, child: ChildId, todo: &mut Vec<Action>) {
        let Some(c) = self.children.get(&child) else { return };
        if c.life != Life::Killed {
            self.hangs += 1;
            todo.push(Action::Tell(Tell::Hung { post: c.post }));
            self.kill(child, todo);
        }
    }

    fn garbled(&mut self, child: ChildId, todo: &mut Vec<Action>) {
        let Some(c) = self.children.get(&child) else { return };
        todo.push(Action::Tell(Tell::Babble { post: c.post }));
        self.kill(child, todo);
    }

    /// It is about to end: no share is for it any more. If it does not end, it is killed.
    fn hung_up(&mut self, child: ChildId, now: u64) {
        let Some(c) = self.children.get_mut(&child) else { return };
        if matches!(c.life, Life::Starting(_) | Life::Ready) {
            c.life = Life::Leaving(now + GOODBYE);
        }
    }

    fn reaped(&mut self, child: ChildId, ended: Ended, now: u64, todo: &mut Vec<Action>) {
        let Some(c) = self.children.get(&child) else { return };
        if c.leaving || self.is_draining() {
            self.children.remove(&child);
            self.gone(child);
            return;
        }
        let (post, ready) = (c.post, c.ready);
        let lived = ready.map_or(0, |since| now.saturating_sub(since));
        let failures = match self.slots.of(child) {
            Some(slot) => slot.vacate(now, lived),
            None => 0,
        };
        self.deaths += u64::from(matches!(post, Post::Worker(_)));
        todo.push(Action::Tell(Tell::Died { post, ended, failures }));
        self.lost(child, now, format!("{} died before it was ready: {ended}", name(post)), todo);
        if self.phase == Phase::Starting && failures >= STILLBORN {
            let reason =
                format!("{} died {failures} times before it was ready: {ended}", name(post));
            self.fail(1, reason, now, todo);
        }
    }

    fn suspect(&mut self, child: ChildId, line: u64, todo: &mut Vec<Action>) {
        // One that is killed because it hangs may die of the line first: that is no second death.
        let Some(c) = self.children.get(&child).filter(|c| c.life != Life::Killed) else { return };
        let post = c.post;
        if !self.deltas.is_empty() {
            // It has a share of one at most.
            let poison = self.deltas.iter_mut().any(|delta| delta.suspect(child, line));
            todo.push(Action::Tell(Tell::Suspect { post, line, poison }));
        }
    }

    /// A child is gone that should not be. If it was one of a coming generation, that will not be.
    fn lost(&mut self, child: ChildId, now: u64, reason: String, todo: &mut Vec<Action>) {
        self.children.remove(&child);
        self.gone(child);
        let failures = self.slots.of(child).map_or(0, |slot| slot.vacate(now, 0));
        if self.phase == Phase::Starting && failures >= STILLBORN {
            self.fail(1, reason.clone(), now, todo);
        }
        if let Reload::Starting(slots, _) = &self.reload {
            if slots.holders().contains(&child) {
                self.refuse_reload("start", reason, now, todo);
            }
        }
    }

    fn gone(&mut self, child: ChildId) {
        self.deltas.iter_mut().for_each(|delta| delta.gone(child));
        self.askers.retain(|a| a.monitor != child);
        self.cancellers.retain(|(_, a)| a.monitor != child);
    }

    fn ready(&mut self, child: ChildId, now: u64, todo: &mut Vec<Action>) {
        let Some(c) = self.children.get_mut(&child) else { return };
        if matches!(c.life, Life::Starting(_)) {
            (c.life, c.ready) = (Life::Ready, Some(now));
            if c.post == Post::Monitor {
                c.busy = Some(now); // a sign of life is always expected of it
            }
        }
        if self.phase == Phase::Starting && self.all_ready(&self.slots) {
            self.phase = Phase::Running;
            todo.push(Action::Ready);
        }
    }

    fn all_ready(&self, slots: &Slots) -> bool {
        slots.iter().all(|s| s.holder.is_some_and(|child| self.is_ready(child)))
    }

    /// A child cannot work and says why.
    fn refused(&mut self, child: ChildId, reason: String, now: u64, todo: &mut Vec<Action>) {
        let Some(c) = self.children.get(&child) else { return };
        let post = c.post;
        let coming = matches!(&self.reload, Reload::Starting(s, _) if s.holders().contains(&child));
        if self.phase == Phase::Starting {
            // A daemon's child finds fault with the configuration, a feed's with Solr, too.
            self.fail(if self.monitor { 78 } else { 1 }, reason, now, todo);
        } else if coming {
            self.refuse_reload("start", reason, now, todo);
        } else if !c.leaving {
            // It ends by itself now, and is tried again later.
            todo.push(Action::Tell(Tell::Refused { post, reason }));
        }
    }

    // --- what children say ----------------------------------------------------------------------

    fn report(&mut self, child: ChildId, report: Report, now: u64, todo: &mut Vec<Action>) {
        let believed = match report {
            Report::Ready => return self.ready(child, now, todo),
            Report::Refused(reason) => return self.refused(child, reason, now, todo),
            Report::ShareDone { claim, share, bounded } => {
                self.open(claim).is_some_and(|d| d.share_in(share, bounded, child))
            }
            Report::ShareFailed { claim, share, reason } => {
                self.share_failed(child, claim, share, reason, todo)
            }
            Report::Finished { claim, sums, origins } => {
                self.finished(child, claim, sums, origins, now, todo)
            }
            Report::Grown { claim } => self.open(claim).is_some_and(|d| d.grown(child)),
            Report::Spoiled { claim, reason } => self.spoiled(child, claim, reason, todo),
        };
        match self.children.get_mut(&child) {
            Some(c) if believed => c.busy = None,
            _ => self.garbled(child, todo),
        }
    }

    fn share_failed(
        &mut self,
        child: ChildId,
        claim: u64,
        share: u32,
        reason: String,
        todo: &mut Vec<Action>,
    ) -> bool {
        let Some(delta) = self.open(claim) else { return false };
        let first = delta.failed.is_none();
        if !delta.share_failed(share, child, reason.clone()) {
            return false;
        }
        if first {
            todo.push(Action::Tell(Tell::GivenUp { claim, reason }));
            self.abandon(claim, todo);
        }
        true
    }

    /// Tells those who have shares of a delta that it is given up.
    fn abandon(&self, claim: u64, todo: &mut Vec<Action>) {
        let Some(delta) = self.deltas.iter().find(|d| d.claim == claim) else { return };
        let order = Order::Abandon { claim };
        // One that leaves gives its share back anyhow.
        let stays = |child: &ChildId| self.children.get(child).is_some_and(|c| !c.leaving);
        let others = delta.holders().into_iter().filter(stays);
        todo.extend(others.map(|child| Action::Send { child, order: order.clone() }));
    }

    fn spoiled(
        &mut self,
        child: ChildId,
        claim: u64,
        reason: String,
        todo: &mut Vec<Action>,
    ) -> bool {
        let Some(delta) = self.open(claim) else { return false };
        if !delta.spoiled(child, reason.clone()) {
            return false;
        }
        todo.push(Action::Tell(match delta.cancelled {
            true => Tell::Cancelled { claim },
            false => Tell::GivenUp { claim, reason },
        }));
        true
    }

    fn finished(
        &mut self,
        child: ChildId,
        claim: u64,
        sums: Sums,
        origins: Vec<Origin>,
        now: u64,
        todo: &mut Vec<Action>,
    ) -> bool {
        let Some(delta) = self.deltas.front_mut().filter(|d| d.claim == claim) else {
            return false;
        };
        if delta.finish() != Finish::Held(child) {
            return false;
        }
        let Sums { lines, docs, deletes, skipped, rejected, superseded } = sums;
        self.sums = [lines, docs, deletes, skipped, rejected, superseded];
        self.origins = origins;
        delta.set_finish(Finish::Settle(now));
        if delta.is_unwanted() {
            let (late, others) = self.cancellers.drain(..).partition(|(of, _)| *of == claim);
            self.cancellers = others;
            self.answer_all(late, Err(too_late()), todo);
        }
        true
    }

    fn plea(&mut self, child: ChildId, plea: Plea, now: u64, todo: &mut Vec<Action>) {
        match plea {
            Plea::Ready => self.ready(child, now, todo),
            Plea::Refused(reason) => self.refused(child, reason, now, todo),
            Plea::Command { number, command: Command::Stop } => {
                let result = Ok(Done::default());
                todo.push(Action::Answer { child, answer: Answer { number, result } });
                self.drain(now, todo);
            }
            Plea::Command { number, command: Command::Reload } => {
                self.ask_reload(Some(Asker { monitor: child, number }), todo);
            }
            Plea::Command { number, .. } if self.is_draining() => {
                let answer = Answer { number, result: Err(draining()) };
                todo.push(Action::Answer { child, answer });
            }
            Plea::Command { number, command } => todo.push(Action::Ask { child, number, command }),
        }
    }

    // --- the delta ------------------------------------------------------------------------------

    fn claimed(&mut self, mut delta: Delta) {
        if self.doomed.contains(&delta.claim) {
            self.doomed.retain(|doomed| *doomed != delta.claim);
            delta.cancel();
        }
        self.deltas.push_back(delta);
    }

    /// A person gives a delta up.
    fn cancel(&mut self, claim: u64, asker: Option<Asker>, todo: &mut Vec<Action>) {
        match self.open(claim) {
            None => self.doomed.push(claim),
            Some(delta) => {
                let was_failed = delta.failed.is_some();
                match delta.cancel() {
                    Cancel::TooLate => {
                        todo.extend(asker.map(|a| Action::Answer {
                            child: a.monitor,
                            answer: Answer { number: a.number, result: Err(too_late()) },
                        }));
                        return;
                    }
                    Cancel::Asked(at_it) => {
                        // If it leaves, the next one is told.
                        let stays =
                            |child: &ChildId| self.children.get(child).is_some_and(|c| !c.leaving);
                        let order = Order::Abandon { claim };
                        let at_it = at_it.filter(stays);
                        todo.extend(at_it.map(|child| Action::Send { child, order }));
                    }
                    Cancel::Done if was_failed => {}
                    Cancel::Done => {
                        todo.push(Action::Tell(Tell::Cancelled { claim }));
                        self.abandon(claim, todo);
                    }
                }
            }
        }
        self.cancellers.extend(asker.map(|asker| (claim, asker)));
    }

    /// Deals what waits to the workers that are free: the finishing of the oldest delta, and each share to
    /// the slot of its number, the oldest delta's first.
    ///
    /// A share of a later delta is dealt only when the same share of every earlier one is in: every line of
    /// that is confirmed, or its reject is dated and on the disk, and its checkpoint is. So of any document
    /// the earlier deltas are done with when a later one's first line of it is sent, and no checkpoint of a
    /// later delta is written while an earlier one is open for that share.
    fn deal(&mut self, now: u64, todo: &mut Vec<Action>) {
        if self.phase != Phase::Running {
            return;
        }
        self.deal_finish(now, todo);
        for n in 0..self.deltas.len() {
            // None is begun beyond one that is given up before that is settled: how old its rest is, is
            // said then, and nothing of it may be in Solr in a later version.
            let goes_ahead = self.is_to_run_ahead() && self.deltas[n].follows;
            if n > 0 && !(goes_ahead && self.deltas.range(..n).all(|d| d.failed.is_none())) {
                break;
            }
            for share in self.deltas[n].waiting() {
                if self.deltas.range(..n).all(|earlier| earlier.may_be_passed(share)) {
                    if let Some(child) = self.free(share % self.slots.workers, now) {
                        self.deal_share(n, share, child, todo);
                    }
                }
            }
        }
    }

    /// Deals a share of the n-th delta.
    fn deal_share(&mut self, n: usize, share: u32, child: ChildId, todo: &mut Vec<Action>) {
        self.deltas.range_mut(..n).for_each(|earlier| earlier.pass(share));
        let delta = &mut self.deltas[n];
        delta.deal(share, child);
        let (claim, of, kind, poison) = (delta.claim, delta.of(), delta.kind, delta.poison(share));
        // The loop knows the rest of what belongs to the claim.
        let end = delta.is_bounded().then_some(0);
        let (guarded, key, begin, version, name) =
            (true, None, Default::default(), 0, Default::default());
        let share =
            Share { claim, share, of, key, poison, kind, guarded, begin, end, version, name };
        todo.push(Action::Send { child, order: Order::Deal(share) });
    }

    fn deal_finish(&mut self, now: u64, todo: &mut Vec<Action>) {
        if self.deltas.front().map(Delta::finish) != Some(Finish::Waiting) {
            return;
        }
        let Some(child) = (0..self.slots.workers).find_map(|slot| self.free(slot, now)) else {
            return;
        };
        let Some(delta) = self.deltas.front_mut() else { return };
        delta.set_finish(Finish::Held(child));
        let finish = orders::Finish {
            claim: delta.claim,
            of: delta.of(),
            key: None,
            kind: delta.kind,
            guarded: true,
            begin: Default::default(),
            name: Default::default(),
            failed: delta.failed.is_some(),
            passed: delta.passed().iter().map(|share| u64::from(*share)).collect(),
        };
        todo.push(Action::Send { child, order: Order::Finish(finish) });
        if delta.is_unwanted() {
            let order = Order::Abandon { claim: delta.claim };
            todo.push(Action::Send { child, order });
        }
    }

    /// Who sits in a worker's slot, if it has nothing to do; from now on it has.
    fn free(&mut self, slot: u32, now: u64) -> Option<ChildId> {
        let child = self.slots.worker(slot)?;
        let c = self.children.get_mut(&child)?;
        let is_free = c.life == Life::Ready && c.busy.is_none();
        is_free.then(|| {
            c.busy = Some(now);
            child
        })
    }

    fn settle(&mut self, now: u64, todo: &mut Vec<Action>) {
        let Some(delta) = self.deltas.front_mut() else { return };
        if !matches!(delta.finish(), Finish::Settle(at) if at <= now) {
            return;
        }
        // Until the loop answers Settled or NotSettled.
        delta.set_finish(Finish::Settle(u64::MAX));
        let settled = if delta.failed.is_some() { Settled::Failed } else { Settled::Done };
        let [lines, docs, deletes, skipped, rejected, superseded] = self.sums;
        let sums = Sums { lines, docs, deletes, skipped, rejected, superseded };
        let (claim, origins) = (delta.claim, self.origins.clone());
        todo.push(Action::Settle { claim, settled, sums, origins });
    }

    fn settled(&mut self, now: u64, todo: &mut Vec<Action>) {
        self.holding |= self.is_to_hold();
        let Some(delta) = self.deltas.pop_front() else { return };
        let (done, others) =
            self.cancellers.drain(..).partition(|(claim, _)| *claim == delta.claim);
        self.cancellers = others;
        self.answer_all(done, Ok(Done::default()), todo);
        if self.holding && !self.monitor {
            self.drain(now, todo); // no reload can tell `feed`, or a `retry` by itself, to go on
        }
    }

    /// Whether no delta is to be taken after the oldest one until a person has looked. Whoever
    /// cancels one has; and rejected lines that could not be retried are rejected lines still.
    pub(crate) fn is_to_hold(&self) -> bool {
        let failed = |d: &Delta| d.failed.is_some() && !d.cancelled && d.kind != Kind::Rejects;
        self.plan.stop_on_failed && self.deltas.front().is_some_and(failed)
    }

    fn answer_all(
        &self,
        askers: Vec<(u64, Asker)>,
        result: Result<Done, (String, String)>,
        todo: &mut Vec<Action>,
    ) {
        todo.extend(askers.into_iter().map(|(_, asker)| Action::Answer {
            child: asker.monitor,
            answer: Answer { number: asker.number, result: result.clone() },
        }));
    }

    // --- reload ---------------------------------------------------------------------------------

    fn ask_reload(&mut self, asker: Option<Asker>, todo: &mut Vec<Action>) {
        if self.is_draining() {
            if let Some(a) = asker {
                let answer = Answer { number: a.number, result: Err(draining()) };
                todo.push(Action::Answer { child: a.monitor, answer });
            }
            return;
        }
        if let (Some(a), true) = (asker, self.reload != Reload::None) {
            // The file has been read already, perhaps before it was changed, and the monitor that
            // passes this on leaves when that reload is done.
            let result = Err(("busy".into(), "another reload is under way: ask again".into()));
            let answer = Answer { number: a.number, result };
            todo.push(Action::Answer { child: a.monitor, answer });
            return;
        }
        self.askers.extend(asker);
        self.again = true;
    }

    /// Begins a reload that was asked for, when nothing of the last one is left.
    fn next_reload(&mut self, todo: &mut Vec<Action>) {
        let settled = self.phase == Phase::Running
            && self.reload == Reload::None
            && self.children.keys().all(|child| self.slots.holders().contains(child));
        if self.again && settled {
            self.again = false;
            self.reload = Reload::Reading;
            todo.push(Action::Configure);
        }
    }

    fn configured(&mut self, plan: Plan) {
        if self.reload == Reload::Reading {
            let mut slots = Slots::new(self.slots.generation + 1, plan.workers, self.monitor);
            slots.inherit(&self.slots);
            self.reload = Reload::Starting(slots, plan);
        }
    }

    /// The new generation is not taken: its children are sent away, the old ones stay.
    fn refuse_reload(&mut self, code: &str, reason: String, now: u64, todo: &mut Vec<Action>) {
        let coming = std::mem::replace(&mut self.reload, Reload::None);
        if let Reload::Starting(slots, _) = &coming {
            for child in slots.holders() {
                self.leave(child, now + GOODBYE, todo);
            }
        }
        if coming != Reload::None {
            todo.push(Action::Refuse { reason: reason.clone() });
            self.answer(Err((code.into(), reason)), todo);
        }
    }

    fn answer(&mut self, result: Result<Done, (String, String)>, todo: &mut Vec<Action>) {
        for asker in std::mem::take(&mut self.askers) {
            let answer = Answer { number: asker.number, result: result.clone() };
            todo.push(Action::Answer { child: asker.monitor, answer });
        }
    }

    /// When all of the new generation are ready, it takes over; the old one leaves.
    fn switch(&mut self, now: u64, todo: &mut Vec<Action>) {
        let Reload::Starting(slots, _) = &self.reload else { return };
        if self.phase != Phase::Running || !self.all_ready(slots) {
            return;
        }
        let Reload::Starting(slots, plan) = std::mem::replace(&mut self.reload, Reload::None)
        else {
            return;
        };
        todo.push(Action::Adopt);
        self.answer(Ok(Done::default()), todo);
        let old = std::mem::replace(&mut self.slots, slots);
        let stop = self.plan.stop_timeout;
        self.plan = plan;
        self.holding = false;
        for slot in old.iter() {
            let Some(child) = slot.holder else { continue };
            let by = if slot.post == Post::Monitor { GOODBYE } else { stop };
            self.leave(child, now + by, todo);
        }
    }

    // --- the end --------------------------------------------------------------------------------

    /// Begins to leave: workers first; the monitor answers until they are gone.
    fn drain(&mut self, now: u64, todo: &mut Vec<Action>) {
        if self.is_draining() {
            return;
        }
        self.phase = Phase::Draining;
        self.again = false;
        self.answer(Err(draining()), todo);
        let cancellers = std::mem::take(&mut self.cancellers);
        self.answer_all(cancellers, Err(draining()), todo);
        self.reload = Reload::None;
        // What is killed at this time is gone before stop_timeout is over.
        let by = now + self.plan.stop_timeout.saturating_sub(1_000).max(self.plan.stop_timeout / 2);
        let workers: Vec<ChildId> = self
            .children
            .iter()
            .filter(|(_, c)| c.post != Post::Monitor)
            .map(|(id, _)| *id)
            .collect();
        for child in workers {
            self.leave(child, by, todo);
        }
    }

    fn fail(&mut self, code: i32, reason: String, now: u64, todo: &mut Vec<Action>) {
        self.exit = code;
        todo.push(Action::Tell(Tell::Fatal { reason }));
        self.drain(now, todo);
    }

    fn end(&mut self, now: u64, todo: &mut Vec<Action>) {
        if self.phase != Phase::Draining {
            return;
        }
        if self.children.values().all(|c| c.post == Post::Monitor) {
            let monitors: Vec<ChildId> = self.children.keys().copied().collect();
            for child in monitors {
                self.leave(child, now + LAST_WORDS, todo);
            }
        }
        if self.children.is_empty() {
            self.phase = Phase::Ended(self.exit);
            todo.push(Action::Exit { code: self.exit });
        }
    }
}

/// What is answered to whoever cancels what is delivered.
fn too_late() -> (String, String) {
    ("too_late".into(), "all of it is delivered, it is about to be settled".into())
}

/// What is answered to whoever comes too late.
fn draining() -> (String, String) {
    ("draining".into(), "the daemon is stopping".into())
}

/// A post's name, for people.
pub(crate) fn name(post: Post) -> String {
    match post {
        Post::Worker(slot) => format!("worker {slot}"),
        Post::Monitor => "the monitor".into(),
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "model/mod.rs"]
mod model;
