//! Whose turn it is at a shard's leader: how many requests each worker has under way to it, and
//! since when it waits to send one more. Two requests at once cost a busy leader more than one
//! after the other, whichever worker they come from.
//!
//! It is advice between workers that trust nobody: what a stopped or dead one has left there counts
//! for a short time only, and nobody waits for ever.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sys::Bell;

use crate::{Board, WorkerCell};

/// Lanes that are told apart; those beyond share.
const LANES: usize = 64;
/// A worker that has shown no life for so many milliseconds takes nobody's turn, and one that has
/// waited for so long takes its own.
const PATIENCE: u64 = 2000;

/// For so many milliseconds a worker may go on at a leader while another one waits: to change is not
/// for nothing.
const QUANTUM: u64 = 200;

/// The words it takes in a worker's cell.
pub(crate) const WORDS: usize = 2 * LANES + 1;

/// One worker's view: its own part, and those of the others.
#[derive(Clone, Copy)]
pub struct Turns {
    board: Board,
    own: WorkerCell,
    leads: bool,
}

/// What all workers have posted since the daemon began; it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// Bytes of request bodies.
    pub bytes: u64,
    /// Requests answered or failed.
    pub requests: u64,
}

impl Turns {
    pub(crate) fn of(board: Board, own: WorkerCell, leads: bool) -> Turns {
        Turns { board, own, leads }
    }

    /// The worker's own part of the scoreboard.
    pub fn cell(&self) -> WorkerCell {
        self.own
    }

    /// Whether this is the one worker that sees to the level.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// How many requests at once a leader is worth; 0: nobody has looked.
    pub fn level(&self) -> usize {
        self.board.level().load(Relaxed).min(100_000) as usize
    }

    /// Says how many.
    pub fn set_level(&self, level: usize) {
        self.board.level().store(level as u64, Relaxed);
    }

    /// What all workers have posted.
    pub fn posted(&self) -> Posted {
        let posters = self.board.worker_cells().flat_map(|cell| cell.posters());
        posters.fold(Posted { bytes: 0, requests: 0 }, |sum, poster| Posted {
            bytes: sum.bytes.wrapping_add(poster.bytes_posted()),
            requests: sum.requests.wrapping_add(poster.posts()),
        })
    }

    fn others(&self) -> impl Iterator<Item = WorkerCell> + use<> {
        let own = self.own;
        self.board.worker_cells().filter(move |cell| !std::ptr::eq(cell.words, own.words))
    }

    fn under_way(cell: &WorkerCell, lane: usize) -> &'static AtomicU64 {
        &cell.turns()[lane % LANES]
    }

    fn waits(cell: &WorkerCell, lane: usize) -> &'static AtomicU64 {
        &cell.turns()[LANES + lane % LANES]
    }

    fn bell(cell: &WorkerCell) -> Bell {
        Bell::over(&cell.turns()[2 * LANES])
    }

    /// The requests that living workers but this one have under way on a lane, at `now` (monotonic
    /// milliseconds).
    pub fn of_others(&self, lane: usize, now: u64) -> usize {
        let living = self.others().filter(|c| now.saturating_sub(c.heartbeat()) < PATIENCE);
        living.map(|cell| Turns::under_way(&cell, lane).load(Relaxed).min(1000) as usize).sum()
    }

    /// Whether it is another worker's turn on a lane before one that waits since `since`.
    pub fn is_another_first(&self, lane: usize, since: u64, now: u64) -> bool {
        self.others().any(|cell| {
            let waits = Turns::waits(&cell, lane).load(Relaxed);
            waits != 0 && waits < since && (QUANTUM..PATIENCE).contains(&now.saturating_sub(waits))
        })
    }

    /// Since when this one waits; 0: it does not.
    pub fn waits_since(&self, lane: usize) -> u64 {
        Turns::waits(&self.own, lane).load(Relaxed)
    }

    /// Whether it has waited for so long that it takes its turn.
    pub fn is_overdue(&self, lane: usize, now: u64) -> bool {
        let since = self.waits_since(lane);
        since != 0 && now.saturating_sub(since) >= PATIENCE
    }

    /// This one waits since then; 0: no longer.
    pub fn set_waits(&self, lane: usize, since: u64) {
        Turns::waits(&self.own, lane).store(since, Relaxed);
    }

    /// This one has so many requests under way.
    pub fn set_under_way(&self, lane: usize, count: usize) {
        Turns::under_way(&self.own, lane).store(count as u64, Relaxed);
    }

    /// It waits for nothing any more, for it has begun a request on this lane: where it waited
    /// otherwise, others may go.
    pub fn has_begun(&self, lane: usize, now: u64) {
        for n in 0..LANES {
            if self.waits_since(n) != 0 {
                self.set_waits(n, 0);
                if n != lane % LANES {
                    self.pass_on(n, false, now);
                }
            }
        }
    }

    /// One of this worker's requests on a lane is over: tells who has waited for that the longest.
    /// `has_more`: this worker would go on there.
    pub fn pass_on(&self, lane: usize, has_more: bool, now: u64) {
        let least = if has_more { QUANTUM } else { 0 };
        let waits = |cell: &WorkerCell| Turns::waits(cell, lane).load(Relaxed);
        let waiting = self.others().map(|cell| (waits(&cell), cell));
        let fresh = waiting.filter(|(since, _)| {
            *since != 0 && (least..PATIENCE).contains(&now.saturating_sub(*since))
        });
        if let Some((_, first)) = fresh.min_by_key(|(since, _)| *since) {
            Turns::bell(&first).ring();
        }
    }

    /// Wakes this worker's own thread that waits.
    pub fn ring(&self) {
        Turns::bell(&self.own).ring();
    }

    /// How often its bell was rung.
    pub fn rung(&self) -> u32 {
        Turns::bell(&self.own).rung()
    }

    /// Waits until it is rung again after it was rung so often, for so long at most.
    pub fn wait(&self, rung: u32, most: Duration) {
        Turns::bell(&self.own).wait(rung, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three workers of one generation, all alive at 10,000.
    fn workers() -> [Turns; 3] {
        let board = Board::new().unwrap();
        board.parent().set_slots_most(3);
        let turns = [0, 1, 2].map(|slot| board.turns(1, slot));
        turns.iter().for_each(|one| one.cell().set_heartbeat(10_000));
        turns
    }

    #[test]
    fn requests_of_all_living_workers_count() {
        let [a, b, c] = workers();
        b.set_under_way(1, 2);
        c.set_under_way(1, 1);
        assert_eq!([a, b, c].map(|one| one.of_others(1, 10_000)), [3, 1, 2]);
        assert_eq!(a.of_others(2, 10_000), 0);
        b.cell().set_heartbeat(11_500);
        assert_eq!(a.of_others(1, 12_500), 2, "nobody has seen the third one for long");
        c.cell().take_over();
        assert_eq!(b.of_others(1, 10_000), 0);
    }

    #[test]
    fn who_has_waited_longest_is_next_but_nobody_is_waited_for_long() {
        let [a, b, c] = workers();
        b.set_waits(1, 10_005);
        c.set_waits(1, 10_002);
        assert!(!a.is_another_first(1, 10_007, 10_010), "it may go on for a little");
        assert!(a.is_another_first(1, 10_210, 10_210));
        assert!(b.is_another_first(1, b.waits_since(1), 10_210));
        assert!(!c.is_another_first(1, c.waits_since(1), 10_210));
        assert!(!a.is_another_first(2, 10_210, 10_210));
        assert!(!c.is_overdue(1, 12_001) && c.is_overdue(1, 12_002));
        assert!(!a.is_another_first(1, 12_500, 12_500), "they will not come any more");
    }

    #[test]
    fn a_request_that_ends_wakes_the_next_and_nobody_else() {
        let [a, b, c] = workers();
        b.set_waits(1, 10_005);
        c.set_waits(1, 10_002);
        a.pass_on(1, true, 10_010);
        a.pass_on(1, false, 10_010);
        a.pass_on(2, false, 10_010);
        assert_eq!([a, b, c].map(|one| one.rung()), [0, 0, 1]);
        // It takes another lane's turn first, so this one is the other's.
        c.set_waits(2, 10_002);
        c.has_begun(2, 10_011);
        assert_eq!([a, b, c].map(|one| one.rung()), [0, 1, 1]);
        assert_eq!((c.waits_since(1), c.waits_since(2)), (0, 0));
    }

    #[test]
    fn what_others_scribble_makes_nobody_stumble() {
        let [a, b, _] = workers();
        b.cell().turns().iter().for_each(|word| word.store(u64::MAX, Relaxed));
        assert_eq!(a.of_others(1, 10_000), 1000);
        assert!(!a.is_another_first(1, 10_000, 10_000));
        a.pass_on(1, false, 10_000);
        a.posted();
    }
}
