//! Whatever may happen next: all that the loop in `lib.rs` can feed into the machine. What several
//! children say may come between any two of the machine's own steps, and in any order; and what a
//! child said may be heard when the machine has told it to leave already.

use crate::machine::*;
use crate::slots::WELL;

use super::Setup;
use super::lies::Lie;
use super::world::{Budget, Hand, Kid, NOW, OLDEST, Truth, World};

const ORIGIN: Origin = Origin { claim: OLDEST, lowest: 0, highest: 0 };

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// The clock goes on to the next deadline.
    Pass,
    /// It goes on for so long that a child has lived well.
    PassLong,
    /// A child is ready.
    Ready(ChildId),
    /// It cannot work.
    Refuse(ChildId),
    /// It could not be forked.
    NotForked(ChildId),
    /// A worker does what it has in hand.
    Work(ChildId),
    /// It has read its share further than was said, or not so far.
    Stray(ChildId),
    /// It finds the delta at fault, or gives its share back because it was told to.
    Fail(ChildId),
    /// It finds that the delta has grown.
    Grow(ChildId),
    /// It finds that the delta is not what was read.
    Spoil(ChildId),
    /// It says what it was not asked for.
    Lie(ChildId, Lied),
    /// It closes its pipe, and lives on.
    HangUp(ChildId),
    /// Its heartbeat stands still.
    Silent(ChildId),
    /// A worker dies, or hangs, of this line; what comes of that is another move.
    Suspect(ChildId, u64),
    /// It ends.
    Die(ChildId),
    /// SIGHUP.
    Hangup,
    /// SIGTERM.
    Leave,
    /// Somebody has a monitor pass on a command.
    Reload(ChildId),
    Stop(ChildId),
    /// The configuration has been read.
    Read(File),
    /// The delta was moved to its place, or could not be.
    Settle(bool),
    /// The next delta is claimed; one that is divided as that before it, or another one.
    Claim {
        follows: bool,
    },
}

/// What stands in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Same,
    /// Another number of workers, and another time to stop.
    Other,
    Bad,
}

/// What a child says that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lied {
    Garbled,
    /// A share is in that it does not have.
    Share,
    /// One of another delta.
    Claim,
    /// A share that it does not have cannot be delivered.
    Failed,
    Finished,
    Grown,
    Spoiled,
}

const LIES: [Lied; 7] = [
    Lied::Garbled,
    Lied::Share,
    Lied::Claim,
    Lied::Failed,
    Lied::Finished,
    Lied::Grown,
    Lied::Spoiled,
];

impl World {
    /// All that may happen now.
    pub(super) fn moves(&self, setup: &Setup, moves: &mut Vec<Move>) {
        if self.fault.is_some() || self.exit.is_some() {
            return;
        }
        for (id, kid) in &self.kids {
            self.moves_of(*id, kid, setup, moves);
        }
        let busy = self.machine.busy().map(|(id, _)| id);
        moves.extend(busy.filter(|id| self.kids.contains_key(id)).map(Move::Silent));
        if self.reading {
            moves.extend([File::Same, File::Other, File::Bad].map(Move::Read));
        }
        if self.settling {
            moves.extend([true, false].map(Move::Settle));
        }
        match self.machine.deadline() {
            Some(at) if at < u64::MAX => moves.push(Move::Pass),
            _ => {}
        }
        if self.machine.deadline().is_none_or(|at| at > NOW + WELL) {
            moves.push(Move::PassLong);
        }
        // The loop claims when it has nothing else to do.
        if self.machine.wants_delta() && !self.reading && !self.settling {
            moves.push(Move::Claim { follows: false });
            if !self.deltas.is_empty() {
                moves.push(Move::Claim { follows: true });
            }
        }
        moves.push(Move::Hangup);
        if !self.machine.is_draining() {
            moves.push(Move::Leave);
        }
        moves.retain(|next| self.left.clone().pay(self.price(next)));
    }

    fn moves_of(&self, id: ChildId, kid: &Kid, setup: &Setup, moves: &mut Vec<Move>) {
        moves.push(Move::Die(id));
        if !kid.ready {
            moves.push(Move::NotForked(id));
        }
        // One that was killed because it hangs may die of its own fault first: that is the same death.
        if kid.post != Post::Monitor && (!kid.dying || kid.killed) {
            moves.extend((0..setup.lines).map(|line| Move::Suspect(id, line)));
        }
        let is_heard = !kid.hung_up && !kid.refused;
        if !is_heard || (!setup.late && (kid.told || kid.killed)) {
            return;
        }
        if !kid.ready {
            moves.extend([Move::Ready(id), Move::Refuse(id)]);
        }
        if kid.post == Post::Monitor {
            moves.push(Move::Lie(id, Lied::Garbled));
            if kid.ready {
                moves.extend([Move::Reload(id), Move::Stop(id)]);
            }
        } else {
            // All of them end the same way, and are tried where there is time for it.
            let lies = if setup.all_lies { &LIES[..] } else { &LIES[..1] };
            moves.extend(lies.iter().map(|lied| Move::Lie(id, *lied)));
        }
        match kid.hand {
            Some(Hand::Share(..)) => {
                moves.extend([Move::Work(id), Move::Fail(id)]);
                moves.extend(setup.strays.then_some(Move::Stray(id)));
            }
            Some(Hand::Finish { failed: false, passed, .. }) => {
                moves.extend([Move::Work(id), Move::Spoil(id)]);
                moves.extend((!passed).then_some(Move::Grow(id)));
            }
            Some(Hand::Finish { failed: true, .. }) => moves.push(Move::Work(id)),
            None => {}
        }
        if !kid.told {
            moves.push(Move::HangUp(id));
        }
    }

    /// What it takes of the budget.
    fn price(&self, next: &Move) -> Price {
        match next {
            Move::Pass | Move::PassLong => Price::Pass,
            Move::Claim { .. } => Price::Claim,
            Move::Hangup | Move::Reload(_) | Move::Stop(_) => Price::Ask,
            Move::Refuse(_) | Move::NotForked(_) | Move::Lie(..) | Move::HangUp(_) => Price::Mishap,
            Move::Fail(_) | Move::Grow(_) | Move::Silent(_) | Move::Settle(false) => Price::Mishap,
            Move::Spoil(_) | Move::Suspect(..) | Move::Stray(_) => Price::Mishap,
            Move::Die(id) => match &self.kids[id] {
                kid if kid.told || kid.killed || kid.refused || kid.hung_up => Price::Nothing,
                kid if kid.dying => Price::Nothing,
                _ => Price::Mishap,
            },
            Move::Ready(_) | Move::Work(_) | Move::Leave => Price::Nothing,
            Move::Read(_) | Move::Settle(true) => Price::Nothing,
        }
    }

    /// The world after that.
    pub(super) fn after(&self, next: &Move, setup: &Setup, lie: Lie) -> World {
        let mut world = self.clone();
        world.left.pay(self.price(next));
        let now = match next {
            Move::Pass => self.machine.deadline().expect("something is due"),
            Move::PassLong => NOW + WELL,
            _ => NOW,
        };
        let event = world.event(next, setup);
        world.step(lie, event, now);
        world
    }

    /// Lets it happen in the world; what the machine hears of it.
    fn event(&mut self, next: &Move, setup: &Setup) -> Event {
        match *next {
            Move::Pass | Move::PassLong => Event::Time,
            Move::Ready(child) => {
                self.kid(child).ready = true;
                self.says(child, Report::Ready, Plea::Ready)
            }
            Move::Refuse(child) => {
                self.kid(child).refused = true;
                self.says(child, Report::Refused("no".into()), Plea::Refused("no".into()))
            }
            Move::NotForked(child) => {
                self.kids.remove(&child);
                Event::NotForked { child, reason: "no memory".into() }
            }
            Move::Work(child) => Event::Report { child, report: self.work(child, true) },
            Move::Stray(child) => Event::Report { child, report: self.work(child, false) },
            Move::Fail(child) => Event::Report { child, report: self.fail(child) },
            Move::Grow(child) => {
                let claim = self.take_hand(child).claim();
                let truth = self.truth_mut(claim);
                truth.done.fill(false);
                truth.strayed = true;
                Event::Report { child, report: Report::Grown { claim } }
            }
            Move::Spoil(child) => {
                let (claim, reason) = (self.take_hand(child).claim(), "cut short".into());
                self.truth_mut(claim).failed = true;
                Event::Report { child, report: Report::Spoiled { claim, reason } }
            }
            Move::Lie(child, lied) => self.lie(child, lied, setup),
            Move::HangUp(child) => {
                self.kid(child).hung_up = true;
                Event::HungUp { child }
            }
            Move::Silent(child) => Event::Silent { child },
            Move::Suspect(child, line) => {
                let kid = self.kid(child);
                let counts = !kid.killed && !std::mem::replace(&mut kid.dying, true);
                if let (true, Some(Hand::Share(claim, share))) = (counts, kid.hand) {
                    let deaths = self.truth_mut(claim).deadly.entry((share, line)).or_default();
                    *deaths = (*deaths + 1).min(2);
                }
                Event::Suspect { child, line }
            }
            Move::Die(child) => {
                self.kids.remove(&child);
                self.asked.retain(|(monitor, _)| *monitor != child);
                Event::Reaped { child, ended: Ended::Killed(9) }
            }
            Move::Hangup => Event::Hangup,
            Move::Leave => Event::Leave,
            Move::Reload(child) => self.ask(child, Command::Reload),
            Move::Stop(child) => self.ask(child, Command::Stop),
            Move::Read(file) => {
                self.reading = false;
                Event::Configured(match file {
                    File::Same => Ok(self.machine.plan.clone()),
                    File::Other => Ok(setup.other_plan()),
                    File::Bad => Err("x.toml:1:1: no".into()),
                })
            }
            Move::Settle(works) => {
                self.settling = false;
                if works {
                    self.deltas.pop_front();
                }
                if works { Event::Settled } else { Event::NotSettled }
            }
            Move::Claim { follows } => {
                let (claim, shares) = (OLDEST + self.deltas.len() as u64, setup.shares);
                self.deltas.push_back(Truth::new(claim, shares, follows));
                let passed = Vec::new();
                Event::Claimed { claim, kind: Kind::Delta, shares, follows, passed }
            }
        }
    }

    fn kid(&mut self, child: ChildId) -> &mut Kid {
        self.kids.get_mut(&child).expect("it lives")
    }

    fn truth_mut(&mut self, claim: u64) -> &mut Truth {
        let mut open = self.deltas.iter_mut();
        open.find(|truth| truth.claim == claim).expect("whoever is at work is at work on it")
    }

    fn take_hand(&mut self, child: ChildId) -> Hand {
        self.kid(child).hand.take().expect("it has something in hand")
    }

    fn says(&self, child: ChildId, report: Report, plea: Plea) -> Event {
        match self.kids[&child].post {
            Post::Worker(_) => Event::Report { child, report },
            Post::Monitor => Event::Plea { child, plea },
        }
    }

    fn work(&mut self, child: ChildId, bounded: bool) -> Report {
        match self.take_hand(child) {
            Hand::Share(claim, share) => {
                let truth = self.truth_mut(claim);
                truth.done[share as usize] = true;
                truth.strayed |= !bounded;
                Report::ShareDone { claim, share, bounded }
            }
            Hand::Finish { claim, .. } => {
                self.truth_mut(claim).finished = true;
                Report::Finished { claim, sums: Sums::default(), origins: vec![ORIGIN] }
            }
        }
    }

    fn fail(&mut self, child: ChildId) -> Report {
        let Hand::Share(claim, share) = self.take_hand(child) else {
            unreachable!("it has a share in hand")
        };
        self.truth_mut(claim).failed = true;
        Report::ShareFailed { claim, share, reason: "torn".into() }
    }

    fn lie(&mut self, child: ChildId, lied: Lied, setup: &Setup) -> Event {
        let hand = self.kids[&child].hand;
        let (claim, sums) = (hand.map_or(OLDEST, Hand::claim), Sums::default());
        let bounded = true;
        // With its own share and claim it would be no lie; there is one share too many to name.
        let share = (0..=setup.shares).find(|n| hand != Some(Hand::Share(claim, *n))).unwrap_or(0);
        let own = if let Some(Hand::Share(_, own)) = hand { own } else { 0 };
        let report = match lied {
            Lied::Garbled => return Event::Garbled { child },
            Lied::Share => Report::ShareDone { claim, share, bounded },
            Lied::Claim => Report::ShareDone { claim: claim + 1, share: own, bounded },
            Lied::Failed => Report::ShareFailed { claim, share, reason: "a lie".into() },
            Lied::Finished if matches!(hand, Some(Hand::Finish { .. })) => {
                Report::Finished { claim: claim + 1, sums, origins: vec![ORIGIN] }
            }
            Lied::Finished => Report::Finished { claim, sums, origins: vec![ORIGIN] },
            Lied::Grown if matches!(hand, Some(Hand::Finish { .. })) => {
                Report::Grown { claim: claim + 1 }
            }
            Lied::Grown => Report::Grown { claim },
            Lied::Spoiled if matches!(hand, Some(Hand::Finish { .. })) => {
                Report::Spoiled { claim: claim + 1, reason: "a lie".into() }
            }
            Lied::Spoiled => Report::Spoiled { claim, reason: "a lie".into() },
        };
        Event::Report { child, report }
    }

    fn ask(&mut self, child: ChildId, command: Command) -> Event {
        let free = |number: &u64| !self.asked.contains(&(child, *number));
        let number = (0..).find(free).expect("there is no end to numbers");
        self.asked.push((child, number));
        Event::Plea { child, plea: Plea::Command { number, command } }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Price {
    Nothing,
    Mishap,
    Ask,
    Claim,
    Pass,
}

impl Budget {
    /// Pays, if there is enough left.
    fn pay(&mut self, price: Price) -> bool {
        let left = match price {
            Price::Nothing => return true,
            Price::Mishap => &mut self.mishaps,
            Price::Ask => &mut self.asks,
            Price::Claim => &mut self.claims,
            Price::Pass => &mut self.passes,
        };
        let enough = *left > 0;
        if enough && *left != Budget::ENDLESS {
            *left -= 1;
        }
        enough
    }
}
