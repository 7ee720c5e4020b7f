//! The world around the machine, with a truth of its own: who lives, who holds what, what has been
//! delivered. It carries out what the machine says, as the loop in `lib.rs` does, and notes the
//! first thing that should never happen.

use std::collections::BTreeSet;

use crate::machine::*;

use super::lies::Lie;

/// What the clock shows in every state: all times are kept as if it were so late.
pub(super) const NOW: u64 = 1_000_000;
/// What the generation at work is called in every state; the one that comes up is the next.
pub(super) const AT_WORK: u64 = 2;

/// The oldest delta's claim number in every state; those of later ones follow.
pub(super) const OLDEST: u64 = 7;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) machine: Machine,
    /// The living.
    pub(super) kids: BTreeMap<ChildId, Kid>,
    /// The claimed deltas as they really stand, the oldest first.
    pub(super) deltas: VecDeque<Truth>,
    /// [`Action::Configure`] is to be answered.
    pub(super) reading: bool,
    /// [`Action::Settle`] is to be answered.
    pub(super) settling: bool,
    /// The commands that are not answered yet, of living monitors, by the monitor's number.
    pub(super) asked: Vec<(ChildId, u64)>,
    /// [`Action::Ready`] has come.
    pub(super) ready: bool,
    /// When the last worker must be gone, or killed, since the daemon was told to leave.
    pub(super) over_by: Option<u64>,
    pub(super) exit: Option<i32>,
    /// What may still happen to it.
    pub(super) left: Budget,
    pub(super) fault: Option<Fault>,
}

/// A living child.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kid {
    pub(super) post: Post,
    pub(super) generation: u64,
    /// It has said so.
    pub(super) ready: bool,
    /// It has said that it cannot work, so it ends by itself.
    pub(super) refused: bool,
    /// It has closed its end of the pipe: nothing is heard of it any more.
    pub(super) hung_up: bool,
    /// Its pipe was closed.
    pub(super) told: bool,
    /// It was sent SIGKILL.
    pub(super) killed: bool,
    /// It dies, or hangs, of a line.
    pub(super) dying: bool,
    pub(super) hand: Option<Hand>,
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Hand {
    /// Of this claim, this share.
    Share(u64, u32),
    /// `passed`: it was told that a later delta has passed this one.
    Finish { claim: u64, failed: bool, passed: bool },
}

impl Hand {
    pub(super) fn claim(self) -> u64 {
        match self {
            Hand::Share(claim, _) | Hand::Finish { claim, .. } => claim,
        }
    }
}

/// A claimed delta.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Truth {
    pub(super) claim: u64,
    /// It is divided as the one before it, of which nobody minds what becomes.
    pub(super) follows: bool,
    /// Shares of which a later one's have been dealt.
    pub(super) passed: BTreeSet<u32>,
    /// A share of it ended where the others need not.
    pub(super) strayed: bool,
    /// Which shares have been delivered.
    pub(super) done: Vec<bool>,
    /// A worker has found the delta itself at fault.
    pub(super) failed: bool,
    /// A worker has finished it since.
    pub(super) finished: bool,
    /// How many workers have died of a line, by share and line; more than two are as good as two.
    pub(super) deadly: BTreeMap<(u32, u64), u8>,
}

impl Truth {
    pub(super) fn new(claim: u64, shares: u32, follows: bool) -> Truth {
        Truth {
            claim,
            follows,
            passed: BTreeSet::new(),
            strayed: false,
            done: vec![false; shares as usize],
            failed: false,
            finished: false,
            deadly: BTreeMap::new(),
        }
    }

    pub(super) fn is_in(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    /// The lines of a share that are to be rejected unread.
    pub(super) fn poison(&self, share: u32) -> Vec<u64> {
        let lines = self.deadly.iter().filter(|((of, _), deaths)| *of == share && **deaths >= 2);
        lines.map(|((_, line), _)| *line).collect()
    }
}

/// How much may still happen, so that there is an end to it; [`Budget::ENDLESS`]: no end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Deaths nobody asked for, forks that fail, refusals, hangs, lies, failed and grown deltas.
    pub(super) mishaps: u8,
    /// Reloads, and stop by command.
    pub(super) asks: u8,
    pub(super) claims: u8,
    /// Times that the clock goes on to the next deadline, or far.
    pub(super) passes: u8,
}

impl Budget {
    pub(super) const ENDLESS: u8 = u8::MAX;
}

/// What should never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    /// A share, or the finishing, is given to one while another living one has it.
    TwoHands,
    /// An order to one that is not ready, has one, or is to leave.
    BadOrder,
    /// Two children for one place on the scoreboard.
    TwoInASeat,
    /// A delta settled that is not delivered, or not found at fault; or twice.
    NotDelivered,
    /// A line is to be rejected unread of which fewer than two have died, or is not and two have.
    NotPoison,
    /// A share dealt of a later delta while the same one of an earlier delta is not in, or that may still
    /// be read anew; or beyond one that is given up.
    RanAhead,
    /// One of a delta that must wait until those before it are settled.
    NoBarrier,
    /// A delta finished or settled before an older one.
    OutOfOrder,
    /// A delta settled that somebody is at.
    StillInHand,
    /// An answer nobody waits for.
    AnsweredTwice,
    /// An answer that the status would deny.
    AnsweredTooSoon,
    /// Ready, or a new generation in force, before all of it are ready.
    NotAllReady,
    /// Ready for the second time.
    ReadyTwice,
    /// The end, and somebody lives.
    EndedTooSoon,
    /// A living child of which the machine does not know, or the other way round.
    Forgotten,
}

impl World {
    pub(super) fn new(plan: Plan, monitor: bool, left: Budget, lie: Lie) -> World {
        let mut world = World {
            machine: Machine::new(plan, monitor),
            kids: BTreeMap::new(),
            deltas: VecDeque::new(),
            reading: false,
            settling: false,
            asked: Vec::new(),
            ready: false,
            over_by: None,
            exit: None,
            left,
            fault: None,
        };
        world.step(lie, Event::Time, NOW);
        world
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Has the machine take in an event, and does what it says.
    pub(super) fn step(&mut self, lie: Lie, event: Event, now: u64) {
        let actions = lie.step(&mut self.machine, event, now);
        let mut answered = false;
        for action in actions {
            match &action {
                Action::Answer { .. } => answered = true,
                Action::Adopt | Action::Refuse { .. } if answered => {
                    self.fault(Fault::AnsweredTooSoon);
                }
                _ => {}
            }
            self.carry_out(action);
        }
        if !self.kids.keys().eq(self.machine.children.keys()) {
            self.fault(Fault::Forgotten);
        }
        if self.machine.is_draining() {
            self.over_by.get_or_insert(now + self.machine.plan.stop_timeout);
        }
        self.restate(now);
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Fork { child, post, generation } => self.fork(child, post, generation),
            Action::Send { child, order } => self.send(child, order),
            Action::Answer { child, answer } => {
                match self.asked.iter().position(|asked| *asked == (child, answer.number)) {
                    Some(at) => drop(self.asked.remove(at)),
                    // Whoever asked is gone, and its monitor is about to be.
                    None => self.fault(Fault::AnsweredTwice),
                }
            }
            Action::Close { child } => self.with(child, |kid| kid.told = true),
            Action::Kill { child } => self.with(child, |kid| kid.killed = true),
            Action::Configure => self.reading = true,
            Action::Adopt => {
                if !self.all_are_ready() {
                    self.fault(Fault::NotAllReady);
                }
            }
            Action::Settle { claim, settled, .. } => self.settle(claim, settled),
            Action::Ready => {
                if !self.all_are_ready() {
                    self.fault(Fault::NotAllReady);
                }
                if std::mem::replace(&mut self.ready, true) {
                    self.fault(Fault::ReadyTwice);
                }
            }
            Action::Exit { code } => {
                self.exit = Some(code);
                if !self.kids.is_empty() {
                    self.fault(Fault::EndedTooSoon);
                }
            }
            // (What a person does to settled deltas is not walked through: it is the spool's.)
            Action::Refuse { .. } | Action::Ask { .. } | Action::Tell(_) => {}
        }
    }

    fn with(&mut self, child: ChildId, change: impl Fn(&mut Kid)) {
        match self.kids.get_mut(&child) {
            Some(kid) => change(kid),
            None => self.fault(Fault::Forgotten),
        }
    }

    fn fork(&mut self, child: ChildId, post: Post, generation: u64) {
        // Of two generations side by side, each has cells of its own: the even and the odd one.
        let same = |kid: &Kid| (kid.post, kid.generation % 2) == (post, generation % 2);
        if self.kids.values().any(same) {
            self.fault(Fault::TwoInASeat);
        }
        let kid = Kid {
            post,
            generation,
            ready: false,
            refused: false,
            hung_up: false,
            told: false,
            killed: false,
            dying: false,
            hand: None,
        };
        self.kids.insert(child, kid);
    }

    fn send(&mut self, child: ChildId, order: Order) {
        let hand = match order {
            Order::Deal(share) => {
                if self.truth(share.claim).is_none_or(|t| t.poison(share.share) != share.poison) {
                    self.fault(Fault::NotPoison);
                }
                self.run_ahead(share.claim, share.share);
                Hand::Share(share.claim, share.share)
            }
            Order::Finish(orders::Finish { claim, failed, passed, .. }) => {
                let oldest = self.deltas.front();
                if oldest.is_none_or(|t| t.claim != claim) {
                    self.fault(Fault::OutOfOrder);
                } else if oldest
                    .is_some_and(|t| !t.passed.iter().map(|s| u64::from(*s)).eq(passed.clone()))
                {
                    self.fault(Fault::RanAhead);
                }
                Hand::Finish { claim, failed, passed: !passed.is_empty() }
            }
            // A worker may heed it or be done before it has read it.
            Order::Abandon { .. } | Order::Prune => return,
        };
        let mut hands = self.kids.values().filter_map(|kid| kid.hand);
        let double = match hand {
            Hand::Share(claim, n) => {
                let is_in = self.truth(claim).is_none_or(|truth| truth.done[n as usize]);
                is_in || hands.any(|other| other == hand)
            }
            Hand::Finish { claim, .. } => hands.any(|other| other.claim() == claim),
        };
        if double {
            self.fault(Fault::TwoHands);
        }
        let Some(kid) = self.kids.get_mut(&child) else { return self.fault(Fault::Forgotten) };
        let free = kid.ready && kid.hand.is_none() && !kid.told && !kid.killed;
        kid.hand = Some(hand);
        if !free {
            self.fault(Fault::BadOrder);
        }
    }

    pub(super) fn truth(&self, claim: u64) -> Option<&Truth> {
        self.deltas.iter().find(|truth| truth.claim == claim)
    }

    /// Whether somebody has a share of another delta than the oldest.
    pub(super) fn is_ahead(&self) -> bool {
        let of_later = |hand| matches!(hand, Hand::Share(claim, _) if claim > OLDEST);
        self.kids.values().any(|kid| kid.hand.is_some_and(of_later))
    }

    /// A share is dealt: what of that to think of the deltas before it.
    fn run_ahead(&mut self, claim: u64, share: u32) {
        let Some(n) = self.deltas.iter().position(|truth| truth.claim == claim) else { return };
        // Whoever finishes one may yet say that it has grown, unless it was told of this.
        let asked = |claim: u64| {
            let asked = Some(Hand::Finish { claim, failed: false, passed: false });
            self.kids.values().any(|kid| kid.hand == asked)
        };
        let over = |t: &Truth| t.done[share as usize] && !t.failed && !t.strayed && !asked(t.claim);
        let ahead = !self.deltas.range(..n).all(over);
        let barrier = n > 0
            && (self.machine.plan.stop_on_failed
                || self.deltas.range(1..=n).any(|truth| !truth.follows));
        if ahead {
            self.fault(Fault::RanAhead);
        }
        if barrier {
            self.fault(Fault::NoBarrier);
        }
        for truth in self.deltas.range_mut(..n) {
            truth.passed.insert(share);
        }
    }

    fn settle(&mut self, claim: u64, settled: Settled) {
        if std::mem::replace(&mut self.settling, true) {
            self.fault(Fault::NotDelivered);
        }
        if self.kids.values().any(|kid| kid.hand.is_some_and(|hand| hand.claim() == claim)) {
            self.fault(Fault::StillInHand);
        }
        if self.deltas.front().is_none_or(|truth| truth.claim != claim) {
            self.fault(Fault::OutOfOrder);
        }
        let well = self.truth(claim).is_some_and(|truth| match settled {
            Settled::Done => !truth.failed && truth.done.iter().all(|done| *done),
            Settled::Failed => truth.failed,
        });
        if !well || !self.truth(claim).is_some_and(|truth| truth.finished) {
            self.fault(Fault::NotDelivered);
        }
    }

    /// Whether every slot of the generation at work has a child that has said that it is ready.
    pub(super) fn all_are_ready(&self) -> bool {
        let ready = |kid: &Kid| kid.ready && !kid.told && !kid.killed;
        let mut holders = self.machine.slots.iter().map(|slot| slot.holder);
        holders.all(|child| child.and_then(|child| self.kids.get(&child)).is_some_and(ready))
    }
}
