//! What the parent writes on the scoreboard, once each turn. It reads nothing of it back.

use sys::clock::now_ms;

use crate::slots::Post;
use crate::{Active, Parent};

/// What the parent counts itself.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) deltas: u64,
    pub(crate) reloads: u64,
    pub(crate) reload_failures: u64,
    pub(crate) slots_most: u64,
}

impl Parent {
    pub(crate) fn publish(&self) {
        let cell = self.board.parent();
        cell.set_threads(sys::threads().unwrap_or(0));
        cell.set_draining(self.machine.is_draining().into());
        cell.set_holding(self.machine.holding.into());
        // Workers go by it: what a child has scribbled over it holds for one turn.
        cell.set_paused(self.machine.paused.into());
        cell.set_worker_deaths(self.machine.deaths);
        cell.set_worker_hangs(self.machine.hangs);
        cell.set_deltas(self.counters.deltas);
        cell.set_reloads(self.counters.reloads);
        cell.set_reload_failures(self.counters.reload_failures);
        cell.set_spool_trouble(self.settling.told().or(self.producer.trouble()));
        self.publish_delta();
        self.publish_slots();
        // Last: the turn is through. (In which order a reader sees these is not promised.)
        cell.set_heartbeat(now_ms());
    }

    fn publish_delta(&self) {
        let cell = self.board.parent();
        cell.set_oldest_seen(self.producer.oldest_seen().unwrap_or(0));
        cell.set_active_files(self.active.len() as u64);
        if let (Some(Active { claim, since }), Some(delta)) =
            (self.active.front(), self.machine.delta())
        {
            // Claimed later, it may have been seen sooner: it waited for a name before its own.
            let seen = self.claims().map(|claim| claim.seen).min();
            cell.set_active_bytes(claim.bytes);
            cell.set_active_since(*since);
            cell.set_active_seen(seen.unwrap_or(claim.seen));
            cell.set_shares(delta.of().into());
            cell.set_shares_done(delta.done().into());
            cell.set_claim(claim.number);
        } else {
            cell.set_claim(0);
        }
    }

    fn publish_slots(&self) {
        let slots = self.machine.slots();
        let cell = self.board.parent();
        cell.set_generation(slots.generation);
        cell.set_slots(slots.workers.into());
        for slot in slots.iter() {
            let pid = slot.holder.and_then(|child| self.crew.pid(child)).unwrap_or(0) as u64;
            let ready = slot.holder.is_some_and(|child| self.machine.is_ready(child));
            match slot.post {
                Post::Monitor => {
                    cell.set_monitor_pid(pid);
                    cell.set_monitor_restarts(slot.restarts);
                }
                Post::Worker(number) => {
                    let place = self.board.slot(number as usize);
                    place.set_pid(pid);
                    place.set_restarts(slot.restarts);
                    place.set_generation(slots.generation);
                    place.set_ready(ready.into());
                }
            }
        }
    }
}
