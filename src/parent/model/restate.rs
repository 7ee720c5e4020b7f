//! The same state by other numbers. Only the order of children's numbers matters to the machine,
//! and how far a time lies ahead; so the children are numbered from 1, the clock is set back, the
//! generation at work is always the same one, and what no decision depends on is left out. What is
//! equal then need be looked at only once: without this there would be no end to it.

use crate::machine::*;
use crate::slots::WELL;

use super::world::{AT_WORK, Hand, NOW, OLDEST, World};

impl World {
    /// Puts it as if it were [`NOW`].
    pub(super) fn restate(&mut self, now: u64) {
        let ids: Vec<ChildId> = self.machine.children.keys().copied().collect();
        let child = |id| ids.binary_search(&id).map_or(0, |at| at as u64 + 1);
        let time = |at: u64| match at {
            u64::MAX => u64::MAX, // never
            at => at.saturating_sub(now - NOW),
        };
        let at_work = self.machine.slots.generation;
        // Of a delta that is settled nobody speaks any more.
        let claims: Vec<u64> = self.deltas.iter().map(|truth| truth.claim).collect();
        let claim = |of| OLDEST + claims.iter().position(|claim| *claim == of).unwrap_or(0) as u64;
        self.machine.restate(child, claim, time);
        self.deltas.iter_mut().for_each(|truth| truth.claim = claim(truth.claim));
        for (id, mut kid) in std::mem::take(&mut self.kids) {
            if let Some(Hand::Share(of, _) | Hand::Finish { claim: of, .. }) = &mut kid.hand {
                *of = claim(*of);
            }
            kid.generation = (kid.generation + AT_WORK).saturating_sub(at_work);
            self.kids.insert(child(id), kid);
        }
        self.asked.iter_mut().for_each(|(monitor, _)| *monitor = child(*monitor));
        self.asked.sort_unstable();
        self.over_by = self.over_by.map(time);
    }
}

impl Machine {
    fn restate(
        &mut self,
        child: impl Fn(ChildId) -> ChildId + Copy,
        claim: impl Fn(u64) -> u64,
        time: impl Fn(u64) -> u64 + Copy,
    ) {
        // Waits grow with the failures, but only before the daemon was ever ready is there an end.
        let most_failures = if self.phase == Phase::Starting { STILLBORN } else { 2 };
        self.slots.restate(AT_WORK, child, time, most_failures);
        if let Reload::Starting(slots, _) = &mut self.reload {
            slots.restate(AT_WORK + 1, child, time, most_failures);
        }
        for delta in &mut self.deltas {
            delta.claim = claim(delta.claim);
            delta.restate(child, time);
        }
        for (id, mut kid) in std::mem::take(&mut self.children) {
            kid.life = match kid.life {
                Life::Starting(by) => Life::Starting(time(by)),
                Life::Leaving(by) => Life::Leaving(time(by)),
                life @ (Life::Ready | Life::Killed) => life,
            };
            kid.ready = kid.ready.map(|since| time(since).max(NOW - WELL));
            kid.busy = kid.busy.map(|_| NOW);
            self.children.insert(child(id), kid);
        }
        let cancellers = self.cancellers.iter_mut().map(|(_, asker)| asker);
        let all = self.askers.iter_mut().chain(cancellers);
        all.for_each(|asker| asker.monitor = child(asker.monitor));
        self.next_child = self.children.len() as u64 + 1;
        (self.sums, self.origins) = Default::default();
        (self.deaths, self.hangs) = (0, 0);
    }
}
