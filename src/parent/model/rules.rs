//! What holds in every state, whatever has happened; and that from every state all comes to rest if
//! from now on nothing more happens to it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use crate::machine::*;
use crate::slots::LONGEST_WAIT;

use super::Setup;
use super::lies::Lie;
use super::moves::{File, Move};
use super::world::{Budget, Fault, Kid, NOW, World};

/// No deadline lies further ahead: neither to be ready, nor to leave, nor to fill a slot.
const FARTHEST: u64 = if START > LONGEST_WAIT { START } else { LONGEST_WAIT };
/// More steps than it takes from anywhere to rest.
const PATIENCE: usize = 1_000;

impl World {
    pub(super) fn has_no(&self, faults: &[Fault]) -> bool {
        self.fault.is_none_or(|fault| !faults.contains(&fault))
    }

    /// Whether it goes on, and as it should.
    fn goes_on(&self) -> bool {
        self.exit.is_none() && self.fault.is_none()
    }

    pub(super) fn nothing_waits_without_a_deadline(&self) -> bool {
        if !self.goes_on() {
            return true;
        }
        let due = self.machine.deadline();
        let in_time = |by: u64| by <= NOW + FARTHEST && due.is_some_and(|due| due <= by);
        let busy: Vec<ChildId> = self.machine.busy().map(|(child, _)| child).collect();
        let waited_for = |(id, kid): (&ChildId, &Kid)| {
            let by_the_clock = match self.machine.children[id].life {
                Life::Starting(by) | Life::Leaving(by) => in_time(by),
                Life::Ready => !kid.told && kid.ready && !kid.hung_up,
                Life::Killed => return kid.killed, // the kernel sees to it
            };
            // A heartbeat is expected of whoever has something to do, and always of the monitor.
            let has_to_do = kid.hand.is_some() || (kid.post == Post::Monitor && kid.ready);
            by_the_clock && (!has_to_do || kid.told || busy.contains(id))
        };
        let filling = !self.machine.is_draining();
        let mut vacant = self.machine.slots.iter().filter_map(|slot| slot.due());
        let settle = match self.machine.delta().map(Delta::finish) {
            Some(Finish::Settle(at)) if !self.settling => in_time(at),
            _ => true,
        };
        self.kids.iter().all(waited_for) && (!filling || vacant.all(in_time)) && settle
    }

    /// Else the loop would turn without a rest.
    pub(super) fn nothing_that_is_due_is_left_undone(&self) -> bool {
        !self.goes_on() || self.machine.deadline().is_none_or(|due| due > NOW)
    }

    pub(super) fn who_has_no_slot_is_leaving(&self) -> bool {
        let mut seated = self.machine.slots.holders();
        if let Reload::Starting(slots, _) = &self.machine.reload {
            seated.extend(slots.holders());
        }
        let workers = self.machine.children.values().any(|c| c.post != Post::Monitor);
        let is_leaving = |(id, child): (&ChildId, &Child)| {
            let stays = match self.machine.is_draining() {
                false => seated.contains(id),
                true => child.post == Post::Monitor && workers, // to the end, to answer
            };
            stays || matches!(child.life, Life::Leaving(_) | Life::Killed)
        };
        !self.goes_on() || self.machine.children.iter().all(is_leaving)
    }

    pub(super) fn who_drains_is_through_in_time(&self) -> bool {
        let Some(over_by) = self.over_by else { return true };
        let in_time = |child: &Child| match child.life {
            Life::Leaving(by) => by <= over_by,
            Life::Killed => true,
            Life::Starting(_) | Life::Ready => false,
        };
        let mut workers = self.machine.children.values().filter(|c| c.post != Post::Monitor);
        !self.goes_on() || workers.all(in_time)
    }

    /// What happens next where all behave: children are ready, do what they are told, and go when
    /// they are to go; the configuration reads and the delta settles. Nothing: the world is at rest.
    fn behave(&self) -> Option<Move> {
        let first = |is: fn(&Kid) -> bool| self.kids.iter().find(|(_, k)| is(k)).map(|(id, _)| *id);
        let ends = |kid: &Kid| kid.killed || kid.told || kid.refused || kid.hung_up || kid.dying;
        if self.exit.is_some() {
            None
        } else if self.reading {
            Some(Move::Read(File::Same))
        } else if self.settling {
            Some(Move::Settle(true))
        } else if let Some(child) = first(ends) {
            Some(Move::Die(child))
        } else if let Some(child) = first(|kid| !kid.ready) {
            Some(Move::Ready(child))
        } else if let Some(child) = first(|kid| kid.hand.is_some()) {
            Some(Move::Work(child))
        } else if self.machine.deadline().is_some_and(|due| due < u64::MAX) {
            Some(Move::Pass)
        } else if !self.machine.monitor && self.machine.wants_delta() {
            Some(Move::Leave) // all that `feed` was given is delivered
        } else {
            None
        }
    }

    /// Whether all is done: nothing claimed, everybody in place, everybody answered. A daemon is at
    /// rest then, a `feed` has to end.
    fn is_at_rest(&self) -> bool {
        let works = self.machine.phase == Phase::Running
            && self.machine.reload == Reload::None
            && !self.machine.again
            && self.kids.len() == self.machine.slots.iter().count()
            && self.all_are_ready()
            && self.ready
            && self.machine.monitor;
        let open = self.deltas.len() + self.machine.deltas.len();
        let done = open == 0 && self.asked.is_empty();
        self.exit.is_some() || (works && done)
    }
}

/// The states of which it is known that all comes to rest from there.
#[derive(Default)]
pub(super) struct Known(Mutex<HashSet<u64>>);

impl Known {
    /// Whether all comes to rest from here. Each state is walked from but once, since the next one
    /// on its way is another that was asked of, or will be.
    pub(super) fn comes_to_rest(&self, world: &World, setup: &Setup, lie: Lie) -> bool {
        let mut world = world.clone();
        let mut way = Vec::new();
        while way.len() < PATIENCE && world.fault.is_none() {
            // What is left of the budget makes no difference to one that behaves.
            let endless = Budget::ENDLESS;
            world.left =
                Budget { mishaps: endless, asks: endless, claims: endless, passes: endless };
            let mut hasher = DefaultHasher::new();
            world.hash(&mut hasher);
            way.push(hasher.finish());
            let next = world.behave();
            let known = self.0.lock().expect("no rule panics").contains(&hasher.finish());
            match next {
                Some(next) if !known => world = world.after(&next, setup, lie),
                None if !known && !world.is_at_rest() => return false,
                _ => {
                    self.0.lock().expect("no rule panics").extend(way);
                    return true;
                }
            }
        }
        false
    }
}
