//! The lock around the lanes, and who is woken when they change: the post threads for work, the
//! scout for a look, the main thread for room.
//!
//! The main thread never waits here: it asks whether there is room before it reads on, and that is
//! the back-pressure. What it asks for each line is an atomic, not the lock.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use cluster::Cluster;
use scoreboard::Turns;

use crate::batch::Batch;
use crate::lanes::{Back, Lanes, Learnt, Look, Take, Ticket};
use crate::node::Errand;
use crate::receipt::Wait;

/// A request that is made when there is nothing to wake a thread earlier is at most so far off.
const LONGEST: Duration = Duration::from_secs(3600);

/// Who waits for another worker looks so often, whatever happens.
const IN_LINE: Duration = Duration::from_millis(20);

/// What main thread, post threads and scout share.
pub(crate) struct Queue {
    lanes: Mutex<Lanes>,
    work: Condvar,
    look: Condvar,
    room: AtomicBool,
    known: AtomicBool,
    layout: AtomicU64,
    turns: Turns,
    /// Whether a post thread waits for another worker.
    in_line: AtomicBool,
    main: UnixStream,
}

impl Queue {
    /// `main` wakes the main thread when it is written to; it is non-blocking.
    pub(crate) fn new(lanes: Lanes, turns: Turns, main: UnixStream) -> Queue {
        let (room, known) = (lanes.has_room(now()).into(), lanes.is_known().into());
        Queue {
            lanes: Mutex::new(lanes),
            work: Condvar::new(),
            look: Condvar::new(),
            room,
            known,
            layout: AtomicU64::new(0),
            turns,
            in_line: AtomicBool::new(false),
            main,
        }
    }

    /// There is something for the main thread.
    pub(crate) fn wake_main(&self) {
        let _ = (&self.main).write(&[1]); // a full pipe wakes as well
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Does something to the lanes and wakes whom it concerns, but no post thread.
    fn quietly<T>(&self, f: impl FnOnce(&mut Lanes) -> T) -> T {
        let mut lanes = self.lock();
        let before = lanes.next_look(now());
        let result = f(&mut lanes);
        self.let_go(lanes, before);
        result
    }

    /// The same, and the post threads too.
    fn change<T>(&self, f: impl FnOnce(&mut Lanes) -> T) -> T {
        let result = self.quietly(f);
        self.work.notify_all();
        result
    }

    /// The same, and the one that is in line.
    fn change_work<T>(&self, f: impl FnOnce(&mut Lanes) -> T) -> T {
        let result = self.change(f);
        if self.in_line.load(Relaxed) {
            self.turns.ring();
        }
        result
    }

    /// Gives the lock back; tells scout and main thread what is new for them.
    fn let_go(&self, lanes: MutexGuard<'_, Lanes>, look: Option<u64>) {
        let room = lanes.has_room(now());
        let had_room = self.room.swap(room, Relaxed);
        self.layout.store(lanes.layout(), Relaxed);
        let known = lanes.is_known();
        let was_known = self.known.swap(known, Relaxed);
        let is_new = lanes.next_look(now()) != look;
        drop(lanes);
        if is_new {
            self.look.notify_all();
        }
        if room && !had_room || known && !was_known {
            self.wake_main();
        }
    }

    /// Whether more should be read.
    pub(crate) fn has_room(&self) -> bool {
        self.room.load(Relaxed)
    }

    /// Whether it is known where documents go.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Relaxed)
    }

    /// The number of the layout that is routed by.
    pub(crate) fn layout(&self) -> u64 {
        self.layout.load(Relaxed)
    }

    pub(crate) fn sight(&self) -> (u64, Option<Arc<Cluster>>) {
        self.lock().sight()
    }

    pub(crate) fn wants_more(&self, lane: usize) -> bool {
        self.lock().wants_more(lane)
    }

    pub(crate) fn most_docs(&self) -> usize {
        self.lock().most_docs()
    }

    pub(crate) fn push(&self, batch: Batch) -> Back {
        let back = self.quietly(|lanes| lanes.push(batch));
        match self.in_line.load(Relaxed) {
            true => self.turns.ring(),
            false => self.work.notify_one(),
        }
        back
    }

    pub(crate) fn push_plain(&self, errand: Errand) {
        self.change_work(|lanes| lanes.push_plain(errand));
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.change(|lanes| lanes.set_busy(busy, now()));
    }

    /// From now on nothing more is sent and nothing waited for: all comes back as it is.
    pub(crate) fn halt(&self) {
        self.change_work(|lanes| lanes.halt(true, now()));
    }

    /// Takes [`Queue::halt`] back.
    pub(crate) fn go_on(&self) {
        self.change_work(|lanes| lanes.halt(false, now()));
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.lock().is_halted()
    }

    pub(crate) fn is_backing_off(&self) -> bool {
        self.lock().is_backing_off(now())
    }

    /// The next thing for post thread `who` to do; waits for it.
    pub(crate) fn take(&self, who: usize) -> Take {
        let mut lanes = self.lock();
        loop {
            let (at, before) = (now(), lanes.next_look(now()));
            let rung = self.turns.rung();
            let until = match lanes.take(who, at) {
                Take::Nothing(until) => until,
                // One of us in line is enough; when that one goes, the next comes.
                Take::Turn(until) if !self.in_line.swap(true, Relaxed) => {
                    drop(lanes);
                    let most =
                        until.map_or(IN_LINE, |u| Duration::from_millis(u.saturating_sub(at)));
                    self.turns.wait(rung, most.min(IN_LINE));
                    self.in_line.store(false, Relaxed);
                    lanes = self.lock();
                    continue;
                }
                Take::Turn(until) => until,
                take => {
                    let has_more = lanes.has_more();
                    self.let_go(lanes, before);
                    if has_more && !self.in_line.load(Relaxed) {
                        self.work.notify_one();
                    }
                    return take;
                }
            };
            let time =
                until.map_or(LONGEST, |u| Duration::from_millis(u.saturating_sub(at).max(1)));
            lanes = self.work.wait_timeout(lanes, time).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    pub(crate) fn worked(&self, ticket: &Ticket, who: usize, took: Duration, size: (usize, usize)) {
        self.quietly(|lanes| lanes.worked(ticket, who, took, size, now()));
    }

    /// Whoever releases a ticket takes what is next, and calls others if there is more.
    pub(crate) fn release(&self, ticket: &Ticket, who: usize) {
        self.quietly(|lanes| lanes.release(ticket, who, now()));
    }

    pub(crate) fn failed(
        &self,
        ticket: &Ticket,
        who: usize,
        batch: Option<Batch>,
        wait: &Wait,
    ) -> Back {
        self.change_work(|lanes| lanes.failed(ticket, who, batch, wait, now()))
    }

    pub(crate) fn again(&self, errand: Errand) {
        self.change_work(|lanes| lanes.again(errand));
    }

    pub(crate) fn suspect(
        &self,
        ticket: &Ticket,
        who: usize,
        batch: Batch,
        wait: Option<&Wait>,
    ) -> Back {
        self.change_work(|lanes| lanes.suspect(ticket, who, batch, wait, now()))
    }

    pub(crate) fn has_added(&self, ticket: &Ticket) {
        self.lock().has_added(ticket);
    }

    pub(crate) fn adds(&self, ticket: &Ticket) -> u64 {
        self.lock().adds(ticket)
    }

    /// The nodes to ask anything, the likeliest first.
    pub(crate) fn whom_to_ask(&self) -> Vec<String> {
        self.lock().whom_to_ask(None, now())
    }

    /// Whom to ask about the cluster, where this one answered last; waits until it is time to.
    pub(crate) fn wait_for_a_look(&self, last: Option<&str>) -> Vec<String> {
        let mut lanes = self.lock();
        loop {
            let at = now();
            let time = match lanes.next_look(at) {
                Some(due) if due <= at => return lanes.whom_to_ask(last, at),
                Some(due) => Duration::from_millis(due - at),
                None => LONGEST,
            };
            lanes = self.look.wait_timeout(lanes, time).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    pub(crate) fn learn(&self, look: Look) -> Learnt {
        self.change_work(|lanes| lanes.learn(look, now()))
    }
}

fn now() -> u64 {
    sys::clock::now_ms()
}
