//! The main thread's loop: hears orders, does a turn of the work in hand, tells reports, and waits
//! in one place.
//!
//! It never waits for Solr (post threads do), never for the parent (a report that does not fit is
//! kept), and never for longer than a second while there is work, so its heartbeat says the truth.
//! Without work it sleeps until somebody wants something.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use exec::Exec;
use orders::{Message, Order, Report};
use scoreboard::{Held, WorkerState};
use slog::{Logger, error, info, warn};
use sys::socket::{Received, Sent, receive_message, send_message};
use sys::{Interest, Signals, poll};

use crate::Home;
use crate::finish::{Finish, FinishTurn, prune};
use crate::hold::Hold;
use crate::post::Answer;
use crate::posts::Posts;
use crate::share::{Share, Shop, Turn, Unopened};

/// A busy worker turns its loop at least so often.
const BEAT: Duration = Duration::from_secs(1);
/// So long, and at most half of `stop_timeout`, a leaving worker waits for answers to requests that
/// are under way. What is not answered by then will be sent again, by another one.
const FAREWELL: Duration = Duration::from_secs(10);
/// While the disk is full `done/` is pruned so often, in milliseconds.
const PRUNE: u64 = 5_000;
/// Why a share is not delivered that was abandoned.
const REASON: &str = "the delta is given up";

/// The loop and what it looks after.
pub(crate) struct Desk {
    pub(crate) shop: Shop,
    pub(crate) pipe: OwnedFd,
    pub(crate) signals: Signals,
    pub(crate) posts: Posts,
    work: Work,
    /// Orders that come after the work in hand.
    waiting: VecDeque<Order>,
    /// What the parent has had no room for.
    reports: VecDeque<Report>,
    /// The last claim that was given up while it was here, or about to come.
    abandoned: Option<u64>,
    /// While the disk is full: not before.
    next_prune: u64,
    /// The spool that is all it may touch.
    home: Home,
}

enum Work {
    Nothing,
    /// A share that the machine does not let us open yet.
    Opening(Box<orders::Share>, Hold),
    Share(Box<Share>),
    Finish(Box<Finish>),
}

/// Why the loop ends, and with which exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The pipe was closed, or SIGTERM came.
    InOrder,
    /// The parent said something that does not read.
    Garbled,
    /// A post thread is gone.
    Broken,
    /// The spool is another one than that which it may touch.
    Astray,
}

/// When the loop must turn again.
enum Next {
    Now,
    After(Duration),
    /// When somebody wants something.
    OnEvent,
}

impl Desk {
    pub(crate) fn new(shop: Shop, pipe: OwnedFd, signals: Signals, posts: Posts) -> Desk {
        let (work, waiting) = (Work::Nothing, VecDeque::new());
        let (reports, abandoned) = (VecDeque::from([Report::Ready]), None);
        let (next_prune, home) = (0, None);
        Desk { shop, pipe, signals, posts, work, waiting, reports, abandoned, next_prune, home }
    }

    /// All that it may touch is this spool.
    pub(crate) fn confined_to(&mut self, home: Home) {
        self.home = home;
    }

    /// The worker's life, and its exit code.
    pub(crate) fn run(mut self) -> i32 {
        let why = loop {
            self.shop.cell.set_heartbeat(sys::clock::now_ms());
            if let Err(why) = self.hear().and_then(|()| self.take_answers()) {
                break why;
            }
            self.look_after_converter();
            if self.is_astray() {
                break Leave::Astray;
            }
            let next = self.turn();
            if let Err(why) = self.tell() {
                break why;
            }
            self.shop.cell.set_state(self.state());
            self.shop.cell.set_held(self.held());
            self.make_room();
            self.wait(next);
        };
        self.leave(why)
    }

    /// Takes in signals and orders.
    fn hear(&mut self) -> Result<(), Leave> {
        if !self.signals.take().is_empty() {
            return Err(Leave::InOrder);
        }
        loop {
            match receive_message(self.pipe.as_fd()) {
                Received::Nothing => return Ok(()),
                Received::Closed => return Err(Leave::InOrder),
                Received::Message(bytes) => match Order::decode(&bytes) {
                    Ok(Order::Abandon { claim }) => self.abandon(claim),
                    Ok(order) => self.waiting.push_back(order),
                    Err(_) => return Err(Leave::Garbled),
                },
            }
        }
    }

    /// A delta is given up: the open share of it, and those that wait. What has been reported
    /// already stays so. One that is being finished is delivered, unless it grows and grows.
    fn abandon(&mut self, claim: u64) {
        self.abandoned = Some(claim);
        for order in std::mem::take(&mut self.waiting) {
            match order {
                Order::Deal(share) if share.claim == claim => {
                    self.reports.push_back(failed(&share, REASON));
                }
                order => self.waiting.push_back(order),
            }
        }
        match &mut self.work {
            Work::Share(share) if share.order().claim == claim => {
                share.give_up(REASON, &self.posts);
            }
            Work::Opening(share, _) if share.claim == claim => {
                self.reports.push_back(failed(share, REASON));
                self.work = Work::Nothing;
            }
            _ => {}
        }
    }

    /// Takes in what the post threads have done.
    fn take_answers(&mut self) -> Result<(), Leave> {
        while let Some(answer) = self.posts.answer() {
            match (answer, &mut self.work) {
                (Answer::Batch(batch), Work::Share(share)) => {
                    share.take_in(&batch, &self.shop, &mut self.posts, sys::clock::now_ms());
                    self.posts.recycle(batch);
                }
                (Answer::Versions(found), Work::Share(share)) => share.take_in_versions(found),
                (Answer::Commit(true), Work::Finish(finish)) => finish.committed(),
                (Answer::Broken, _) => return Err(Leave::Broken),
                (Answer::Batch(_) | Answer::Commit(_) | Answer::Probe | Answer::Versions(_), _) => {
                }
            }
        }
        Ok(())
    }

    /// Whether another spool has been mounted in the place of the one that it may touch. Whatever it
    /// begins there fails, and would be taken for the delta's fault. One that is forked anew may.
    fn is_astray(&self) -> bool {
        let begins = matches!(self.work, Work::Nothing) && !self.waiting.is_empty();
        let is_denied = || self.held().is_some_and(|(_, errno)| errno == sys::files::EACCES);
        match self.home {
            Some(home) if begins || is_denied() => {
                self.shop.spool.identity().is_ok_and(|found| found != home)
            }
            _ => false,
        }
    }

    /// The operator's own converter has nothing to do without an open share, but may say something, or end.
    fn look_after_converter(&mut self) {
        if let (Some(exec), false) = (&mut self.shop.exec, matches!(self.work, Work::Share(_))) {
            let _ = exec.pump(true, sys::clock::now_ms());
        }
    }

    /// One turn of the work in hand.
    fn turn(&mut self) -> Next {
        let now = sys::clock::now_ms();
        match &mut self.work {
            Work::Nothing => return self.begin(),
            Work::Opening(share, hold) => match hold.left(now) {
                Some(left) => return Next::After(left),
                None => {
                    let share = share.clone();
                    self.open(*share, now);
                }
            },
            Work::Share(share) => match share.turn(&mut self.shop, &mut self.posts, now) {
                Turn::Again => {}
                Turn::Wait(time) => return Next::After(time),
                Turn::Done => {
                    let (bounded, order) = (share.is_bounded(), share.order());
                    let (claim, share) = (order.claim, order.share);
                    self.end_with(Report::ShareDone { claim, share, bounded });
                }
                Turn::Failed(reason) => {
                    tell_failed(&self.shop.log, share.order(), &reason);
                    let report = failed(share.order(), &reason);
                    self.end_with(report);
                }
            },
            Work::Finish(finish)
                if finish.is_growing() && self.abandoned == Some(finish.claim()) =>
            {
                let (claim, reason) = (finish.claim(), REASON.into());
                self.end_with(Report::Spoiled { claim, reason });
            }
            Work::Finish(finish) => match finish.turn(&self.shop, &mut self.posts, now) {
                FinishTurn::Again => {}
                FinishTurn::Wait(time) => return Next::After(time),
                FinishTurn::Done { sums, origins } => {
                    let claim = finish.claim();
                    self.end_with(Report::Finished { claim, sums, origins });
                }
                FinishTurn::Grown => {
                    let claim = finish.claim();
                    self.end_with(Report::Grown { claim });
                }
                FinishTurn::Spoiled(reason) => {
                    let claim = finish.claim();
                    self.end_with(Report::Spoiled { claim, reason });
                }
            },
        }
        Next::Now
    }

    fn end_with(&mut self, report: Report) {
        self.work = Work::Nothing;
        if self.waiting.is_empty() {
            self.posts.set_busy(false);
        }
        self.reports.push_back(report);
    }

    /// Begins the next work, if there is any.
    fn begin(&mut self) -> Next {
        let next = self.waiting.pop_front();
        if next.is_some() {
            self.posts.set_busy(true);
        }
        match next {
            None => return Next::OnEvent,
            Some(Order::Deal(share)) => self.open(share, sys::clock::now_ms()),
            Some(Order::Finish(order)) => {
                self.work = Work::Finish(Box::new(Finish::new(order, &self.shop)));
            }
            Some(Order::Abandon { .. }) => {} // it was heard when it came
            Some(Order::Prune) => {
                prune(&self.shop);
                self.posts.set_busy(!self.waiting.is_empty());
            }
        }
        Next::Now
    }

    fn open(&mut self, order: orders::Share, now: u64) {
        match Share::open(order.clone(), &self.shop, &self.posts, now) {
            Ok(share) => self.work = Work::Share(Box::new(share)),
            Err(Unopened::Fault(reason)) => {
                tell_failed(&self.shop.log, &order, &reason);
                self.end_with(failed(&order, &reason));
            }
            Err(Unopened::Machine(error)) => {
                let (retry, log) = (&self.shop.config.retry, &self.shop.log);
                let mut hold = match std::mem::replace(&mut self.work, Work::Nothing) {
                    Work::Opening(_, hold) => hold,
                    _ => Hold::new(Held::Open, retry, log),
                };
                hold.failed(&error, now);
                self.work = Work::Opening(Box::new(order), hold);
            }
        }
    }

    /// Sends the reports that fit.
    fn tell(&mut self) -> Result<(), Leave> {
        while let Some(report) = self.reports.front() {
            match send_message(self.pipe.as_fd(), &report.encode()) {
                Sent::Done => drop(self.reports.pop_front()),
                Sent::Full => return Ok(()),
                Sent::Gone => return Err(Leave::InOrder),
            }
        }
        Ok(())
    }

    fn state(&self) -> WorkerState {
        match &self.work {
            Work::Nothing => WorkerState::Idle,
            Work::Opening(..) => WorkerState::Converting,
            // It waits for a person, not for Solr.
            Work::Share(_) if self.shop.is_paused() && self.posts.is_idle() => WorkerState::Idle,
            _ if self.posts.is_backing_off() => WorkerState::BackingOff,
            Work::Share(share) if share.is_reading() && self.posts.has_room() => {
                WorkerState::Converting
            }
            Work::Share(_) | Work::Finish(_) => WorkerState::Posting,
        }
    }

    /// What holds it up: the machine, not Solr.
    fn held(&self) -> Option<(Held, i32)> {
        match &self.work {
            Work::Nothing => None,
            Work::Opening(_, hold) => hold.told(),
            Work::Share(share) => share.held(),
            Work::Finish(finish) => finish.held(),
        }
    }

    /// Prunes `done/` where the disk is full: it may make the room that is missing.
    fn make_room(&mut self) {
        let full = |errno| spool::is_full(&std::io::Error::from_raw_os_error(errno));
        let now = sys::clock::now_ms();
        if self.held().is_some_and(|(_, errno)| full(errno)) && now >= self.next_prune {
            self.next_prune = now + PRUNE;
            prune(&self.shop);
        }
    }

    fn wait(&self, next: Next) {
        let timeout = match next {
            Next::Now => Some(Duration::ZERO),
            Next::After(time) => Some(time.min(BEAT)),
            Next::OnEvent => None,
        };
        let pipe = match self.reports.is_empty() {
            true => Interest::Read,
            false => Interest::ReadWrite,
        };
        let mut watched = vec![
            (self.pipe.as_fd(), pipe),
            (self.signals.as_fd(), Interest::Read),
            (self.posts.as_fd(), Interest::Read),
        ];
        watched.extend(self.shop.exec.iter().flat_map(Exec::watched));
        // An error here (ENOMEM) turns the loop once more, and that is what it would have done.
        let _ = poll(&watched, timeout);
    }

    /// Leaves in order: nothing more is sent; what is under way is waited for, not for long; what
    /// is known is written down.
    fn leave(mut self, why: Leave) -> i32 {
        match why {
            Leave::InOrder => {}
            Leave::Garbled => error!(self.shop.log, "the parent said what does not read, leaving"),
            Leave::Broken => error!(self.shop.log, "a post thread broke down, leaving"),
            Leave::Astray => warn!(
                self.shop.log,
                "the spool is another one than when this worker \
                                                   began, leaving to be replaced"
            ),
        }
        self.posts.halt();
        let patience = FAREWELL.min(self.shop.config.workers.stop_timeout / 2);
        let until = sys::clock::now_ms() + patience.as_millis() as u64;
        while why == Leave::InOrder && !self.posts.is_idle() {
            let now = sys::clock::now_ms();
            self.shop.cell.set_heartbeat(now);
            if now >= until {
                info!(self.shop.log, "left a request unanswered");
                break;
            }
            let left = Duration::from_millis(until - now).min(BEAT);
            let _ = poll(&[(self.posts.as_fd(), Interest::Read)], Some(left));
            if self.take_answers().is_err() {
                break;
            }
        }
        if let Work::Share(share) = &mut self.work {
            if let Err(e) = share.leave(&self.shop, &self.posts, sys::clock::now_ms()) {
                warn!(self.shop.log, "left without a checkpoint, work will be repeated"; "error" => %e);
            }
        }
        self.shop.cell.set_state(WorkerState::Idle);
        self.shop.cell.set_held(None);
        match why {
            Leave::InOrder => 0,
            Leave::Garbled | Leave::Broken | Leave::Astray => 1,
        }
    }

    /// Posts an empty update, to see whether Solr would take one, before there is a delta.
    pub(crate) fn probe(&mut self) {
        self.posts.probe();
    }
}

fn tell_failed(log: &Logger, order: &orders::Share, reason: &str) {
    warn!(log, "share failed"; "delta" => %order.name.to_string_lossy(), "share" => order.share,
        "reason" => reason);
}

fn failed(share: &orders::Share, reason: &str) -> Report {
    Report::ShareFailed { claim: share.claim, share: share.share, reason: reason.into() }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
