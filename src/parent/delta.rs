//! An open delta: who has which share of it, and what is left to do before it is settled.

use std::collections::{BTreeMap, BTreeSet};

use spool::Kind;

use crate::machine::ChildId;

/// A line that has ended so many workers is rejected.
const DEADLY: u32 = 2;
/// No share is handed over with more such lines than this: a message has its bounds.
const POISON: usize = 64;

/// Where a share is. It is dealt to one worker at a time, and to another only when the first is
/// known to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Share {
    Waiting,
    Held(ChildId),
    In,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Finish {
    /// Shares are out, or wait for a worker.
    NotYet,
    /// All shares are in: a worker must commit and merge the rejects.
    Waiting,
    /// A worker is at it.
    Held(ChildId),
    /// The parent may settle it, not before this time (after an error).
    Settle(u64),
}

/// A claimed delta, until it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Delta {
    pub(crate) claim: u64,
    pub(crate) kind: Kind,
    /// Its shares are those of the delta before it, and a worker may go on from that one to this.
    pub(crate) follows: bool,
    shares: Vec<Share>,
    /// Shares of which a later delta's were dealt: from now on they stay as they are.
    passed: BTreeSet<u32>,
    /// Its shares end at one place, as far as is known.
    is_bounded: bool,
    finish: Finish,
    /// Lines that workers had in hand when they died of it, by share and index, and how many did.
    suspects: BTreeMap<(u32, u64), u32>,
    /// Why it is given up as a whole.
    pub(crate) failed: Option<String>,
    /// A person gave it up.
    pub(crate) cancelled: bool,
    /// A person wants to give it up while it is being finished: that depends on whoever is at it.
    unwanted: bool,
}

/// What comes of a person's word that a delta is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// It is.
    Done,
    /// It will be, if whoever finishes it waits for it to stand still: this child, or the next.
    Asked(Option<ChildId>),
    /// Every line of it is delivered.
    TooLate,
}

impl Delta {
    pub(crate) fn new(claim: u64, kind: Kind, shares: u32) -> Delta {
        Delta {
            claim,
            kind,
            follows: false,
            shares: vec![Share::Waiting; shares as usize],
            passed: BTreeSet::new(),
            is_bounded: true,
            finish: Finish::NotYet,
            suspects: BTreeMap::new(),
            failed: None,
            cancelled: false,
            unwanted: false,
        }
    }

    /// The same, if `follows` a delta that a worker may go on from to this one.
    pub(crate) fn following(self, follows: bool) -> Delta {
        Delta { follows, ..self }
    }

    /// The same, of which an earlier daemon has seen these shares come in, and a later delta's begin.
    pub(crate) fn passed_by(mut self, shares: &[u32]) -> Delta {
        for share in shares {
            if let Some(state) = self.shares.get_mut(*share as usize) {
                *state = Share::In;
                self.passed.insert(*share);
            }
        }
        self.look();
        self
    }

    pub(crate) fn of(&self) -> u32 {
        self.shares.len() as u32
    }

    /// How many shares are in.
    pub(crate) fn done(&self) -> u32 {
        self.shares.iter().filter(|s| **s == Share::In).count() as u32
    }

    /// The shares that can be dealt. None of a delta that is given up.
    pub(crate) fn waiting(&self) -> Vec<u32> {
        if self.failed.is_some() {
            return Vec::new();
        }
        let waits = |(n, share): (usize, &Share)| (*share == Share::Waiting).then_some(n as u32);
        self.shares.iter().enumerate().filter_map(waits).collect()
    }

    /// Whether a later delta's share of this number may be dealt: this one's is in, all of them end where
    /// it does, and nobody is at it who may yet say that it has grown.
    pub(crate) fn may_be_passed(&self, share: u32) -> bool {
        let is_asked = matches!(self.finish, Finish::Held(_)) && self.passed.is_empty();
        let is_in = self.shares.get(share as usize) == Some(&Share::In);
        is_in && self.is_bounded && self.failed.is_none() && !is_asked
    }

    /// A later delta's share of this number is dealt.
    pub(crate) fn pass(&mut self, share: u32) {
        self.passed.insert(share);
    }

    /// The shares of which a later delta's were dealt.
    pub(crate) fn passed(&self) -> &BTreeSet<u32> {
        &self.passed
    }

    /// Whether its shares are to end where its claim says.
    pub(crate) fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    pub(crate) fn deal(&mut self, share: u32, to: ChildId) {
        self.shares[share as usize] = Share::Held(to);
    }

    /// `child` dies, or hangs, of this line of its share, it seems. Answers whether the line is to be
    /// rejected from now on.
    pub(crate) fn suspect(&mut self, child: ChildId, line: u64) -> bool {
        let Some(share) = self.shares.iter().position(|s| *s == Share::Held(child)) else {
            return false;
        };
        let deaths = self.suspects.entry((share as u32, line)).or_default();
        *deaths += 1;
        *deaths >= DEADLY
    }

    /// The lines of a share that are to be rejected unread.
    pub(crate) fn poison(&self, share: u32) -> Vec<u64> {
        let lines = self.suspects.range((share, 0)..=(share, u64::MAX));
        // If there are more, the last ones: the first are behind the mark.
        let deadly = lines.rev().filter(|(_, n)| **n >= DEADLY).map(|((_, line), _)| *line);
        deadly.take(POISON).collect()
    }

    /// Who has shares of it.
    pub(crate) fn holders(&self) -> Vec<ChildId> {
        let holder = |share: &Share| match share {
            Share::Held(child) => Some(*child),
            Share::Waiting | Share::In => None,
        };
        self.shares.iter().filter_map(holder).collect()
    }

    /// `child` says that its share is in, and whether it ends where it was to. Believed only of the one
    /// that has it.
    pub(crate) fn share_in(&mut self, share: u32, bounded: bool, child: ChildId) -> bool {
        match self.shares.get_mut(share as usize) {
            Some(held) if *held == Share::Held(child) => *held = Share::In,
            _ => return false,
        }
        self.is_bounded &= bounded;
        self.look();
        true
    }

    /// `child` gives its share back, for the delta's own fault: it is given up.
    pub(crate) fn share_failed(&mut self, share: u32, child: ChildId, reason: String) -> bool {
        match self.shares.get_mut(share as usize) {
            Some(held) if *held == Share::Held(child) => *held = Share::Waiting,
            _ => return false,
        }
        self.failed.get_or_insert(reason);
        self.look();
        true
    }

    /// `child` is gone: what it had waits again.
    pub(crate) fn gone(&mut self, child: ChildId) {
        for share in &mut self.shares {
            if *share == Share::Held(child) {
                *share = Share::Waiting;
            }
        }
        if self.finish == Finish::Held(child) {
            self.finish = Finish::Waiting;
        }
        self.look();
    }

    /// `child`, who was to finish it, says that it has grown: every share must be read again.
    /// Believed only of the one that is at it, and not of a delta that a later one has passed: read once
    /// more, it would bring back the old.
    pub(crate) fn grown(&mut self, child: ChildId) -> bool {
        let at_it = self.finish == Finish::Held(child);
        if !at_it || self.failed.is_some() || !self.passed.is_empty() {
            return false;
        }
        self.is_bounded = false; // it is read to its end, wherever that comes to be
        self.shares.fill(Share::Waiting);
        self.finish = Finish::NotYet;
        if self.unwanted {
            self.cancel();
        }
        true
    }

    /// A person gives it up. Not when every line of it is done: then it is about to be settled, unless
    /// it goes on growing.
    pub(crate) fn cancel(&mut self) -> Cancel {
        if self.failed.is_some() {
            return Cancel::Done;
        }
        let at_it = match self.finish {
            Finish::NotYet => {
                self.failed = Some("cancelled".into());
                self.cancelled = true;
                self.look();
                return Cancel::Done;
            }
            Finish::Waiting => None,
            Finish::Held(child) => Some(child),
            Finish::Settle(_) => return Cancel::TooLate,
        };
        self.unwanted = true;
        Cancel::Asked(at_it)
    }

    /// Whether whoever is to finish it must hear that it is given up.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted && self.failed.is_none()
    }

    /// `child`, who was to finish it, says that it is not what was read: it is given up, and to be
    /// finished as such. Believed only of the one that is at it.
    pub(crate) fn spoiled(&mut self, child: ChildId, reason: String) -> bool {
        if self.finish != Finish::Held(child) || self.failed.is_some() {
            return false;
        }
        self.cancelled = self.unwanted;
        self.failed = Some(if self.unwanted { "cancelled".into() } else { reason });
        self.finish = Finish::Waiting;
        true
    }

    fn look(&mut self) {
        let all_in = self.shares.iter().all(|s| *s == Share::In);
        let given_up = self.failed.is_some() && self.holders().is_empty();
        if self.finish == Finish::NotYet && (all_in || given_up) {
            self.finish = Finish::Waiting;
        }
    }

    pub(crate) fn finish(&self) -> Finish {
        self.finish
    }

    pub(crate) fn set_finish(&mut self, finish: Finish) {
        self.finish = finish;
    }
}

#[cfg(test)]
impl Delta {
    pub(crate) fn is_in(&self, share: u32) -> bool {
        self.shares[share as usize] == Share::In
    }

    /// For the model: the same delta by other numbers, as if all this had been at another time.
    pub(crate) fn restate(
        &mut self,
        child: impl Fn(ChildId) -> ChildId,
        time: impl Fn(u64) -> u64,
    ) {
        self.suspects.values_mut().for_each(|deaths| *deaths = (*deaths).min(DEADLY));
        for share in &mut self.shares {
            if let Share::Held(holder) = share {
                *holder = child(*holder);
            }
        }
        self.finish = match self.finish {
            Finish::Held(holder) => Finish::Held(child(holder)),
            Finish::Settle(at) => Finish::Settle(time(at)),
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_goes_to_a_second_worker_only_when_the_first_is_gone() {
        let mut delta = Delta::new(1, Kind::Delta, 2);
        delta.deal(0, 10);
        assert_eq!(delta.waiting(), [1]);
        assert!(!delta.share_in(0, true, 11), "said by one that does not have it");
        delta.gone(11);
        assert_eq!(delta.waiting(), [1]);
        delta.gone(10);
        assert_eq!(delta.waiting(), [0, 1]);
    }

    #[test]
    fn a_line_that_two_workers_died_of_is_rejected() {
        let mut delta = Delta::new(1, Kind::Delta, 2);
        delta.deal(1, 10);
        assert!(!delta.suspect(11, 7), "it has no share");
        assert!(!delta.suspect(10, 7));
        delta.gone(10);
        delta.deal(1, 11);
        assert!(!delta.suspect(11, 9), "another line");
        delta.gone(11);
        assert!(delta.poison(1).is_empty());
        delta.deal(1, 12);
        assert!(delta.suspect(12, 7));
        assert_eq!((delta.poison(0), delta.poison(1)), (vec![], vec![7]));
    }

    #[test]
    fn it_is_finished_when_the_last_share_is_in() {
        let mut delta = Delta::new(1, Kind::Delta, 2);
        delta.deal(0, 10);
        delta.deal(1, 11);
        assert!(delta.share_in(0, true, 10));
        assert_eq!(delta.finish(), Finish::NotYet);
        assert!(delta.share_in(1, true, 11));
        assert_eq!(delta.finish(), Finish::Waiting);
        delta.set_finish(Finish::Held(10));
        delta.gone(10);
        assert_eq!(delta.finish(), Finish::Waiting);
    }

    #[test]
    fn a_delta_that_has_grown_is_dealt_again() {
        let mut delta = Delta::new(1, Kind::Delta, 2);
        delta.deal(0, 10);
        delta.deal(1, 11);
        assert!(!delta.grown(10), "said before it was to be finished");
        assert!(delta.share_in(0, true, 10) && delta.share_in(1, true, 11));
        assert!(!delta.grown(10), "nobody is at it");
        delta.set_finish(Finish::Held(10));
        assert!(!delta.grown(11), "said by one that is not at it");
        assert!(delta.grown(10));
        assert_eq!((delta.waiting(), delta.finish()), (vec![0, 1], Finish::NotYet));
        assert!(!delta.grown(10), "said twice");
        delta.deal(0, 10);
        delta.deal(1, 11);
        assert!(delta.share_in(1, true, 11) && delta.share_in(0, true, 10));
        assert_eq!(delta.finish(), Finish::Waiting);
    }

    #[test]
    fn a_delta_that_is_not_what_was_read_is_finished_as_one_given_up() {
        let mut delta = Delta::new(1, Kind::Delta, 1);
        delta.deal(0, 10);
        assert!(!delta.spoiled(10, "cut".into()), "said before it was to be finished");
        assert!(delta.share_in(0, true, 10));
        delta.set_finish(Finish::Held(10));
        assert!(!delta.spoiled(11, "cut".into()), "said by one that is not at it");
        assert!(delta.spoiled(10, "cut".into()));
        assert_eq!((delta.finish(), delta.failed.as_deref()), (Finish::Waiting, Some("cut")));
        assert!(delta.waiting().is_empty());
        delta.set_finish(Finish::Held(11));
        assert!(!delta.spoiled(11, "again".into()));
        assert_eq!(delta.finish(), Finish::Held(11));
    }

    #[test]
    fn a_delta_given_up_is_not_dealt_again_whatever_is_said() {
        let mut delta = Delta::new(1, Kind::Delta, 1);
        delta.deal(0, 10);
        assert!(delta.share_failed(0, 10, "torn".into()));
        delta.set_finish(Finish::Held(10));
        assert!(!delta.grown(10));
        assert_eq!(delta.finish(), Finish::Held(10));
    }

    #[test]
    fn a_person_may_give_it_up_until_every_line_is_done() {
        let mut delta = Delta::new(1, Kind::Delta, 2);
        delta.deal(0, 10);
        assert_eq!((delta.cancel(), delta.cancel()), (Cancel::Done, Cancel::Done));
        assert_eq!((delta.finish(), delta.waiting()), (Finish::NotYet, vec![]));
        assert!(delta.share_failed(0, 10, "given up".into()));
        assert_eq!((delta.finish(), delta.failed.as_deref()), (Finish::Waiting, Some("cancelled")));
        let mut done = Delta::new(1, Kind::Delta, 1);
        done.deal(0, 10);
        assert!(done.share_in(0, true, 10));
        done.set_finish(Finish::Settle(7));
        assert_eq!(done.cancel(), Cancel::TooLate);
        assert!(!done.cancelled && done.failed.is_none());
        let mut fresh = Delta::new(1, Kind::Delta, 2);
        assert_eq!(fresh.cancel(), Cancel::Done);
        assert_eq!(fresh.finish(), Finish::Waiting, "nobody has begun it");
    }

    #[test]
    fn a_person_may_give_up_what_grows_and_grows() {
        for spoiled in [true, false] {
            let mut delta = Delta::new(1, Kind::Delta, 1);
            delta.deal(0, 10);
            assert!(delta.share_in(0, true, 10) && !delta.is_unwanted());
            assert_eq!(delta.cancel(), Cancel::Asked(None));
            delta.set_finish(Finish::Held(10));
            assert_eq!(delta.cancel(), Cancel::Asked(Some(10)));
            assert!(delta.is_unwanted() && delta.failed.is_none(), "it may be delivered yet");
            match spoiled {
                true => assert!(delta.spoiled(10, "the delta is given up".into())),
                false => assert!(delta.grown(10)),
            }
            assert_eq!((delta.finish(), delta.cancelled), (Finish::Waiting, true));
            assert_eq!((delta.failed.as_deref(), delta.is_unwanted()), (Some("cancelled"), false));
            assert!(delta.waiting().is_empty());
        }
    }

    #[test]
    fn a_delta_given_up_is_finished_when_nobody_holds_a_share_of_it() {
        let mut delta = Delta::new(1, Kind::Delta, 3);
        delta.deal(0, 10);
        delta.deal(1, 11);
        assert!(delta.share_failed(0, 10, "torn".into()));
        assert!(delta.waiting().is_empty());
        assert_eq!(delta.finish(), Finish::NotYet);
        delta.gone(11);
        assert_eq!(delta.finish(), Finish::Waiting);
    }
}
