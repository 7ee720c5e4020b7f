//! Whose turn it is at a shard's leader: how many requests each worker has under way to it, and
//! since when it waits to send one more. Two requests at once cost a busy leader more than one
//! after the other, whichever worker they come from.
//!
//! It is advice between workers that trust nobody: what a stopped or dead one has left there counts
//! for a short time only, and nobody waits for ever.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sys::Bell;

use crate::{Board, WorkerCell};

/// Lanes that are told apart; those beyond share.
pub const LANES: usize = 64;
/// Nodes that are told apart in the count of what was added.
const NODES: usize = 256;
/// A worker that has shown no life for so many milliseconds takes nobody's turn, and one that has
/// waited for so long takes its own.
const PATIENCE: u64 = 2000;

/// For so many milliseconds at most a worker may go on at a leader while another one waits: to
/// change is not for nothing.
const QUANTUM: u64 = 200;

// What stands in a worker's cell for each lane, in words; the bell; and what is kept when another
// worker takes the cell over: a count for each node.
const UNDER_WAY: usize = 0;
const BEGUN: usize = LANES;
const WAITS: usize = 2 * LANES;
const BELL: usize = 3 * LANES;
const ADDS: usize = BELL + 1;
/// The words it takes in a worker's cell.
pub(crate) const WORDS: usize = ADDS + NODES;

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

    /// The scoreboard.
    pub fn board(&self) -> Board {
        self.board
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

    /// The others that have shown life lately. (A heartbeat far ahead of the clock is scribbled.)
    fn living(&self, now: u64) -> impl Iterator<Item = WorkerCell> + use<> {
        self.others().filter(move |cell| now.abs_diff(cell.heartbeat()) < PATIENCE)
    }

    /// A new worker has the cell: nothing is under way, and it waits nowhere.
    pub(crate) fn take_over(cell: &WorkerCell) {
        cell.turns()[..ADDS].iter().for_each(|word| word.store(0, Relaxed));
    }

    fn adds_at<'a>(cell: &'a WorkerCell, node: &str) -> &'a AtomicU64 {
        let mut hasher = DefaultHasher::new(); // the same in every process
        node.hash(&mut hasher);
        &cell.turns()[ADDS + (hasher.finish() % NODES as u64) as usize]
    }

    fn word(cell: &WorkerCell, what: usize, lane: usize) -> &'static AtomicU64 {
        &cell.turns()[what + lane % LANES]
    }

    fn waits(cell: &WorkerCell, lane: usize) -> u64 {
        Turns::word(cell, WAITS, lane).load(Relaxed)
    }

    fn bell(cell: &WorkerCell) -> Bell {
        Bell::over(&cell.turns()[BELL])
    }

    /// For how long one may go on while another waits: with many workers not so long, or the last
    /// of them would lose patience before its turn.
    fn quantum(&self, now: u64) -> u64 {
        let waiting = self.living(now).count() as u64;
        QUANTUM.min(PATIENCE / 2 / waiting.max(1))
    }

    /// The requests that living workers but this one have under way on a lane, at `now` (monotonic
    /// milliseconds). Those of one whose oldest has taken longer than `stuck` and our patience do
    /// not count: whatever holds it up, the leader may be well.
    pub fn of_others(&self, lane: usize, stuck: u64, now: u64) -> usize {
        let most = stuck.max(PATIENCE);
        let on_it = self
            .living(now)
            .filter(|cell| now.abs_diff(Turns::word(cell, BEGUN, lane).load(Relaxed)) < most);
        let count = |cell: WorkerCell| Turns::word(&cell, UNDER_WAY, lane).load(Relaxed);
        on_it.map(|cell| count(cell).min(1000) as usize).sum()
    }

    /// Whether it is another worker's turn on a lane before one that waits since `since`.
    pub fn is_another_first(&self, lane: usize, since: u64, now: u64) -> bool {
        let due = self.quantum(now)..PATIENCE;
        self.living(now).any(|cell| {
            let waits = Turns::waits(&cell, lane);
            waits != 0 && waits < since && due.contains(&now.saturating_sub(waits))
        })
    }

    /// Since when this one waits; 0: it does not.
    pub fn waits_since(&self, lane: usize) -> u64 {
        Turns::waits(&self.own, lane)
    }

    /// Whether it has waited for so long that it takes its turn.
    pub fn is_overdue(&self, lane: usize, now: u64) -> bool {
        let since = self.waits_since(lane);
        since != 0 && now.saturating_sub(since) >= PATIENCE
    }

    /// This one waits since then; 0: no longer.
    pub fn set_waits(&self, lane: usize, since: u64) {
        Turns::word(&self.own, WAITS, lane).store(since, Relaxed);
    }

    /// This one has so many requests under way, the oldest since `begun`.
    pub fn set_under_way(&self, lane: usize, count: usize, begun: u64) {
        Turns::word(&self.own, BEGUN, lane).store(begun, Relaxed);
        Turns::word(&self.own, UNDER_WAY, lane).store(count as u64, Relaxed);
    }

    /// It has begun a request on this lane, so it waits for that no longer. `all`: nor for any
    /// other, since none of its threads is free.
    pub fn has_begun(&self, lane: usize, all: bool, now: u64) {
        self.set_waits(lane, 0);
        if all {
            self.leave_every_line(now);
        }
    }

    /// This one does not wait on a lane (any more): others may go.
    pub fn leave_line(&self, lane: usize, now: u64) {
        if self.waits_since(lane) != 0 {
            self.set_waits(lane, 0);
            self.pass_on(lane, false, now);
        }
    }

    /// The same on all lanes.
    pub fn leave_every_line(&self, now: u64) {
        (0..LANES).for_each(|lane| self.leave_line(lane, now));
    }

    /// This node has taken documents of ours.
    pub fn has_added(&self, node: &str) {
        Turns::adds_at(&self.own, node).fetch_add(1, Relaxed);
    }

    /// How often it has taken documents of any worker since the daemon began.
    pub fn adds(&self, node: &str) -> u64 {
        let cells = self.board.worker_cells();
        cells.fold(0, |sum, cell| sum.wrapping_add(Turns::adds_at(&cell, node).load(Relaxed)))
    }

    /// One of this worker's requests on a lane is over: tells who has waited for that the longest.
    /// `has_more`: this worker would go on there.
    pub fn pass_on(&self, lane: usize, has_more: bool, now: u64) {
        let least = if has_more { self.quantum(now) } else { 0 };
        let waiting = self.living(now).map(|cell| (Turns::waits(&cell, lane), cell));
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
        b.set_under_way(1, 2, 9_990);
        c.set_under_way(1, 1, 9_990);
        assert_eq!([a, b, c].map(|one| one.of_others(1, 0, 10_000)), [3, 1, 2]);
        assert_eq!(a.of_others(2, 0, 10_000), 0);
        b.cell().set_heartbeat(11_500);
        b.set_under_way(1, 2, 11_500);
        assert_eq!(a.of_others(1, 9_000, 12_500), 2, "nobody has seen the third one for long");
        c.cell().take_over();
        assert_eq!(b.of_others(1, 0, 10_000), 0);
    }

    #[test]
    fn a_request_that_hangs_keeps_nobody_else_from_the_leader() {
        let [a, b, _] = workers();
        b.set_under_way(1, 1, 10_000);
        b.cell().set_heartbeat(12_000);
        assert_eq!(a.of_others(1, 0, 11_999), 1);
        assert_eq!(a.of_others(1, 0, 12_000), 0, "this leader is quicker than that");
        assert_eq!(a.of_others(1, 9_000, 12_000), 1, "this one is not");
    }

    #[test]
    fn what_any_worker_has_added_is_seen_by_all() {
        let [a, b, _] = workers();
        a.has_added("http://a/solr/x_shard1_replica_n1");
        b.has_added("http://a/solr/x_shard1_replica_n1");
        b.has_added("http://b/solr/x_shard2_replica_n2");
        let adds = || [a, b].map(|one| one.adds("http://a/solr/x_shard1_replica_n1"));
        assert_eq!(adds(), [2, 2]);
        b.cell().take_over();
        assert_eq!(adds(), [2, 2], "a new worker takes nothing away");
    }

    #[test]
    fn with_many_workers_each_has_less_time() {
        let board = Board::new().unwrap();
        board.parent().set_slots_most(32);
        let turns: Vec<Turns> = (0..32).map(|slot| board.turns(1, slot)).collect();
        turns.iter().for_each(|one| one.cell().set_heartbeat(10_000));
        assert!(31 * turns[0].quantum(10_000) < PATIENCE);
        assert_eq!(turns[0].quantum(20_000), QUANTUM, "when they are gone, it has all of it");
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
        // It takes another lane's turn with its last thread, so this one is the other's.
        c.set_waits(2, 10_002);
        c.has_begun(2, false, 10_011);
        assert_eq!((c.waits_since(1), c.waits_since(2)), (10_002, 0), "another thread is in line");
        c.has_begun(2, true, 10_011);
        assert_eq!([a, b, c].map(|one| one.rung()), [0, 1, 1]);
        assert_eq!((c.waits_since(1), c.waits_since(2)), (0, 0));
    }

    #[test]
    fn what_others_scribble_makes_nobody_stumble() {
        let [a, b, _] = workers();
        b.set_under_way(1, 5, 10_000);
        b.cell().set_heartbeat(u64::MAX);
        assert_eq!(a.of_others(1, 0, 10_000), 0, "or it would take our turn for ever");
        b.cell().set_heartbeat(10_000);
        assert_eq!(a.of_others(1, 0, 10_000), 5);
        b.cell().turns().iter().for_each(|word| word.store(u64::MAX, Relaxed));
        assert_eq!(a.of_others(1, 0, 10_000), 0);
        assert!(!a.is_another_first(1, 10_000, 10_000));
        a.pass_on(1, false, 10_000);
        a.posted();
    }
}
