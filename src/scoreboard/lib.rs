//! The scoreboard: one shared page on which every process writes how it goes and the monitor
//! reads it, even while a writer is stopped, stuck or dead.
//!
//! Atomics only: no pointer, no lock, nothing a killed process could leave behind shut. Every
//! field has one writer (of a generation: see `level`). What must be read together stands in a [`Latch`]. The parent reads
//! numbers from it (heartbeats), never a pid, an index or a length, and the monitor believes
//! nothing but numbers and short text either.

mod durations;
mod latch;
#[cfg(test)]
mod latch_tests;
mod turns;

/// What the latch is made of.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
}

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

pub use durations::{BOUNDS_MS, BUCKETS, Durations};
pub use latch::{Latch, Text};
pub use turns::{LANES, Posted, Turns};

/// Workers in a generation, at most.
pub const SLOTS: usize = 256;
/// Post threads in a worker, at most.
pub const POSTERS: usize = 16;
/// Shards whose leaders are told, at most.
pub const LEADERS: usize = 64;

/// What a worker counts, for each share and over its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines that are done, empty ones too.
    pub lines: u64,
    /// Documents that Solr has confirmed.
    pub docs: u64,
    /// Deletes that Solr has confirmed.
    pub deletes: u64,
    /// Lines that become nothing.
    pub skipped: u64,
    /// Lines that can never be delivered.
    pub rejected: u64,
    /// Retried lines that a newer document had made void.
    pub superseded: u64,
    /// Lines whose id stood in the delta before.
    pub duplicate_ids: u64,
    /// Bytes of the lines that are done.
    pub bytes_read: u64,
}

impl Counts {
    /// How many numbers these are.
    pub const LEN: usize = 8;

    /// As an array, in the order of the fields.
    pub fn to_array(self) -> [u64; Self::LEN] {
        [
            self.lines,
            self.docs,
            self.deletes,
            self.skipped,
            self.rejected,
            self.superseded,
            self.duplicate_ids,
            self.bytes_read,
        ]
    }

    /// The other way round.
    pub fn from_array(a: [u64; Self::LEN]) -> Counts {
        Counts {
            lines: a[0],
            docs: a[1],
            deletes: a[2],
            skipped: a[3],
            rejected: a[4],
            superseded: a[5],
            duplicate_ids: a[6],
            bytes_read: a[7],
        }
    }

    /// Field by field, with `f`.
    pub fn zip(self, other: Counts, f: impl Fn(u64, u64) -> u64) -> Counts {
        let (a, b) = (self.to_array(), other.to_array());
        Counts::from_array(std::array::from_fn(|i| f(a[i], b[i])))
    }

    /// The sum. It wraps: a child may have scribbled on the page, and nobody may stumble over it.
    pub fn plus(self, other: Counts) -> Counts {
        self.zip(other, u64::wrapping_add)
    }
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It has no share.
    Idle,
    /// It reads and converts lines.
    Converting,
    /// It waits for Solr's word.
    Posting,
    /// Solr refused for now, and the next try is not yet due.
    BackingOff,
}

impl WorkerState {
    fn from_word(word: u64) -> WorkerState {
        match word {
            1 => WorkerState::Converting,
            2 => WorkerState::Posting,
            3 => WorkerState::BackingOff,
            _ => WorkerState::Idle,
        }
    }
}

/// Why Solr takes nothing at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The last request was answered well.
    None,
    /// It may pass: no connection, a time-out, an overload.
    Passing,
    /// It will not pass by itself: no such collection, no right to write.
    Standing,
}

/// What the parent does with its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolStep {
    /// It looks into `incoming/`.
    Look,
    /// It claims a delta.
    Claim,
    /// It moves a delta out of `active/`.
    Settle,
    /// It claims what was appended to a delta in `done/`.
    ClaimLate,
}

impl SpoolStep {
    fn from_word(word: u64) -> SpoolStep {
        match word {
            0 => SpoolStep::Look,
            1 => SpoolStep::Claim,
            2 => SpoolStep::Settle,
            _ => SpoolStep::ClaimLate,
        }
    }
}

/// What a worker cannot do at present, and tries again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Open the delta, or what belongs to its share.
    Open,
    /// Read the delta.
    Read,
    /// Write its checkpoint or its rejects.
    Write,
    /// Write down what it is about to send that may be carried out once only.
    Intend,
    /// Merge the rejects of a delta.
    Merge,
    /// Finish a delta, in any other way.
    Finish,
    /// Convert: the operator's own converter does not work. [`WorkerCell::converter_error`] says why.
    Convert,
}

impl Held {
    fn from_word(word: u64) -> Held {
        match word {
            0 => Held::Open,
            1 => Held::Read,
            2 => Held::Write,
            3 => Held::Intend,
            4 => Held::Merge,
            5 => Held::Finish,
            _ => Held::Convert,
        }
    }
}

/// The scoreboard. A copy of it is the same page.
#[derive(Clone, Copy)]
pub struct Board {
    words: &'static [AtomicU64],
}

// Where things stand on the page, in words.
const MONITOR_AT: usize = 56;
const PARENT: usize = 64;
const SLOT: usize = 4;
const NAMES: usize = Text::WORDS;
const SLOTS_AT: usize = PARENT;
const TEXTS_AT: usize = SLOTS_AT + SLOTS * SLOT;
const WORKERS_AT: usize = TEXTS_AT + 2 * NAMES;
const TALLY: usize = 4 + 2 * Counts::LEN;
const POSTER: usize = 4 + durations::WORDS;
const WORKER_HELD: usize = 8;
/// When its highest version was raised.
const WORKER_RAISED: usize = 9;
const WORKER_TALLY: usize = 10;
const WORKER_ERROR: usize = WORKER_TALLY + Latch::<TALLY>::WORDS;
const WORKER_CONVERTER: usize = WORKER_ERROR + Text::WORDS;
const WORKER_POSTERS: usize = WORKER_CONVERTER + Text::WORDS;
const WORKER_TURNS: usize = WORKER_POSTERS + POSTERS * POSTER;
const WORKER: usize = WORKER_TURNS + turns::WORDS;
const LEADERS_AT: usize = WORKERS_AT + 2 * SLOTS * WORKER;
const LEADERS_WORDS: usize = 1 + LEADERS * Text::WORDS;
const WORDS: usize = LEADERS_AT + 2 * LEADERS_WORDS;

impl Board {
    /// Maps the page. To be called before the first fork.
    pub fn new() -> io::Result<Board> {
        Ok(Board { words: sys::shared_words(WORDS)? })
    }

    /// The parent's part.
    pub fn parent(&self) -> ParentCell {
        ParentCell { words: &self.words[..MONITOR_AT] }
    }

    /// Log lines that could not be written, by any process: the one number here that has many
    /// writers, each adding to it.
    pub fn log_dropped(&self) -> &'static AtomicU64 {
        &self.words[PARENT - 1]
    }

    /// How often the parent has asked that the log's file be opened anew. Whoever logs looks here.
    pub fn log_opened(&self) -> &'static AtomicU64 {
        &self.words[PARENT - 3]
    }

    /// The monitor's part.
    pub fn monitor(&self) -> MonitorCell {
        MonitorCell { words: &self.words[MONITOR_AT..PARENT - 3] }
    }

    /// How many requests at once a leader is worth, as a worker has found it.
    pub(crate) fn level(&self) -> &'static AtomicU64 {
        &self.words[PARENT - 2]
    }

    /// What the parent says of slot `slot`.
    ///
    /// # Panics
    /// At [`SLOTS`] and beyond.
    pub fn slot(&self, slot: usize) -> SlotCell {
        assert!(slot < SLOTS, "slot {slot}");
        let at = SLOTS_AT + slot * SLOT;
        SlotCell { words: &self.words[at..at + SLOT] }
    }

    /// The active delta's name, written by the parent.
    pub fn active_name(&self) -> Text {
        Text::over(&self.words[TEXTS_AT..TEXTS_AT + NAMES])
    }

    /// Why the last reload was refused, written by the parent.
    pub fn reload_error(&self) -> Text {
        Text::over(&self.words[TEXTS_AT + NAMES..TEXTS_AT + 2 * NAMES])
    }

    /// The part of the worker in `slot`; two generations live side by side during a reload, and
    /// even and odd ones have cells of their own.
    ///
    /// # Panics
    /// At [`SLOTS`] and beyond.
    pub fn worker(&self, generation: u64, slot: usize) -> WorkerCell {
        assert!(slot < SLOTS, "slot {slot}");
        let at = WORKERS_AT + ((generation % 2) as usize * SLOTS + slot) * WORKER;
        WorkerCell { words: &self.words[at..at + WORKER] }
    }

    /// How the worker in `slot` takes turns with all others.
    ///
    /// # Panics
    /// At [`SLOTS`] and beyond.
    pub fn turns(&self, generation: u64, slot: usize) -> Turns {
        Turns::of(*self, self.worker(generation, slot), slot == 0)
    }

    /// Who leads which shard, as the worker in slot 0 of this generation has found it.
    pub fn leaders(&self, generation: u64) -> LeadersCell {
        let at = LEADERS_AT + (generation % 2) as usize * LEADERS_WORDS;
        LeadersCell { words: &self.words[at..at + LEADERS_WORDS] }
    }

    /// What all workers, living and dead, of all generations have counted since the daemon began.
    pub fn totals(&self) -> Counts {
        self.worker_cells().fold(Counts::default(), |sum, cell| sum.plus(cell.tally().total()))
    }

    /// How far the active delta is, in bytes of its file, if it is the one of this claim: the mean of its
    /// shares' marks. Of those that are in the workers may have gone on to a later delta: they count whole.
    pub fn bytes_done(&self, claim: u64) -> u64 {
        let cell = self.parent();
        if claim == 0 || claim != cell.claim() {
            return 0;
        }
        let (bytes, mut marks) = (cell.active_bytes(), BTreeMap::new());
        for tally in self.worker_cells().map(|cell| cell.tally()) {
            // (The last of all shares is whoever finishes it.)
            if tally.claim == claim && tally.share != u64::MAX {
                let mark = marks.entry(tally.share).or_insert(0);
                *mark = tally.offset.max(*mark);
            }
        }
        let (shares, done) = (cell.shares().max(1), cell.shares_done());
        let seen = marks.values().filter(|mark| **mark >= bytes).count() as u64;
        let gone = u128::from(done.saturating_sub(seen)) * u128::from(bytes);
        let sum = marks.values().fold(gone, |sum, mark| sum.saturating_add(u128::from(*mark)));
        (sum / u128::from(shares)).min(bytes.into()) as u64
    }

    /// What all workers, living and dead, have counted of one share.
    pub fn known(&self, claim: u64, share: u64) -> Counts {
        self.worker_cells()
            .map(|cell| cell.tally())
            .filter(|tally| (tally.claim, tally.share) == (claim, share))
            .fold(Counts::default(), |known, tally| known.zip(tally.counts, u64::max))
    }

    /// The highest version in any receipt of this daemon's; 0: there was none yet.
    pub fn highest_version(&self) -> u64 {
        self.worker_cells().map(|cell| cell.highest_version()).max().unwrap_or(0)
    }

    /// How new all is that Solr has at this moment, `now` in monotonic milliseconds: the highest
    /// version in any receipt, and as much more as Solr's clock has gone since, for a version has it in
    /// its upper bits (org.apache.solr.update.VersionInfo.getNewClock). What Solr gives from now on is
    /// higher. As long as there was no receipt (a daemon that has just begun, or documents that Solr
    /// passes on) it is by our own clock: `wall`, in milliseconds since 1970.
    pub fn as_of(&self, wall: u64, now: u64) -> u64 {
        let version = self.worker_cells().map(|cell| cell.version_by(now)).max().unwrap_or(0);
        let version = if version == 0 { wall << 20 } else { version };
        version.max(self.parent().version())
    }

    /// The part of every worker there ever was, of both generations. (Cells that nobody has
    /// written to are not touched, or the page would take memory for them.)
    pub fn worker_cells(&self) -> impl Iterator<Item = WorkerCell> + use<> {
        let this = *self;
        let most = (self.parent().slots_most() as usize).min(SLOTS);
        (0..2).flat_map(move |generation| (0..most).map(move |slot| this.worker(generation, slot)))
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $at:literal $get:ident $set:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $get(&self) -> u64 {
                self.words[$at].load(Relaxed)
            }
            #[doc = concat!("Writes what [`Self::", stringify!($get), "`] reads.")]
            pub fn $set(&self, value: u64) {
                self.words[$at].store(value, Relaxed)
            }
        )*
    };
}

/// The parent's part: it alone writes here, and reads nothing back.
#[derive(Clone, Copy)]
pub struct ParentCell {
    words: &'static [AtomicU64],
}

impl ParentCell {
    fields! {
        /// When its loop last turned, monotonic milliseconds.
        0 heartbeat set_heartbeat;
        /// Its process id.
        1 pid set_pid;
        /// Its number of threads.
        2 threads set_threads;
        /// When it started, milliseconds since 1970.
        3 started set_started;
        /// The same moment on the monotonic clock.
        4 started_monotonic set_started_monotonic;
        /// The number of the generation at work, from 1.
        5 generation set_generation;
        /// Reloads that were taken.
        6 reloads set_reloads;
        /// Reloads that were refused.
        7 reload_failures set_reload_failures;
        /// 1 while it drains.
        8 draining set_draining;
        /// 1 while it is paused.
        9 paused set_paused;
        /// How many slots there are.
        10 slots set_slots;
        /// The monitor's process id, 0 while there is none.
        11 monitor_pid set_monitor_pid;
        /// How often the monitor was replaced after a death.
        12 monitor_restarts set_monitor_restarts;
        /// Workers that died, since the start.
        13 worker_deaths set_worker_deaths;
        /// Workers that were killed because they hung.
        14 worker_hangs set_worker_hangs;
        /// Deltas settled since the start.
        15 deltas set_deltas;
        /// When the oldest delta that waits was first seen, milliseconds since 1970; 0: none waits.
        16 oldest_seen set_oldest_seen;
        /// The active delta's claim number, 0 while there is none.
        17 claim set_claim;
        /// The active delta's size in bytes.
        18 active_bytes set_active_bytes;
        /// When the active delta was claimed (or taken up again), monotonic milliseconds.
        19 active_since set_active_since;
        /// How many shares the active delta has.
        20 shares set_shares;
        /// How many of them are in.
        21 shares_done set_shares_done;
        /// 1 if the last reload was refused.
        23 reload_refused set_reload_refused;
        /// When the active delta was first seen, milliseconds since 1970.
        24 active_seen set_active_seen;
        /// The most slots that any generation had: nothing was ever written beyond.
        27 slots_most set_slots_most;
        /// 1 while no delta is begun because one has failed (`on_failed = "stop"`).
        26 holding set_holding;
        /// When it was resumed last, monotonic milliseconds; 0: it was not.
        29 resumed set_resumed;
        /// How many deltas are claimed and not settled.
        28 active_files set_active_files;
        /// The highest version in any receipt of an earlier daemon.
        40 version set_version;
    }
}

impl ParentCell {
    /// What the parent cannot do with its spool at present, and the errno of that.
    pub fn spool_trouble(&self) -> Option<(SpoolStep, i32)> {
        let (errno, step) = unpack(self.words[25].load(Relaxed))?;
        Some((SpoolStep::from_word(step), errno))
    }

    /// Says what; `None`: all is well.
    pub fn set_spool_trouble(&self, trouble: Option<(SpoolStep, i32)>) {
        let word = trouble.map_or(0, |(step, errno)| pack(errno, step as u64));
        self.words[25].store(word, Relaxed);
    }
}

/// An errno and what it is about as one word, so that they belong together; never 0.
fn pack(errno: i32, about: u64) -> u64 {
    (about + 1) << 32 | u64::from(errno as u32)
}

fn unpack(word: u64) -> Option<(i32, u64)> {
    Some((word as u32 as i32, (word >> 32).checked_sub(1)?))
}

/// The monitor's part. (While generations change there are two, and they say the same.)
#[derive(Clone, Copy)]
pub struct MonitorCell {
    words: &'static [AtomicU64],
}

impl MonitorCell {
    fields! {
        /// When its loop last turned, monotonic milliseconds.
        0 heartbeat set_heartbeat;
    }
}

/// What the parent says of one slot.
#[derive(Clone, Copy)]
pub struct SlotCell {
    words: &'static [AtomicU64],
}

impl SlotCell {
    fields! {
        /// The process id of its holder, 0 while there is none.
        0 pid set_pid;
        /// How often its holder was replaced after a death.
        1 restarts set_restarts;
        /// The holder's generation.
        2 generation set_generation;
        /// 1 once its holder has said that it is ready.
        3 ready set_ready;
    }
}

/// What a worker tells of its share and its life, all of it from one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// The claim number of the delta it has a share of, or had last.
    pub claim: u64,
    /// Which share.
    pub share: u64,
    /// The mark's place in the delta, in bytes of uncompressed text.
    pub offset: u64,
    /// What was counted before this share.
    pub base: Counts,
    /// What this share has counted, from its first line on.
    pub counts: Counts,
}

impl Tally {
    /// What this cell has counted since the daemon began.
    pub fn total(&self) -> Counts {
        self.base.plus(self.counts)
    }

    /// This tally at the beginning (or the taking up again) of a share of which `known` has been
    /// counted already, here, by another worker or before the daemon started. So the total never
    /// falls, and what is done a second time counts once.
    pub fn begin(self, claim: u64, share: u64, offset: u64, known: Counts) -> Tally {
        let base = self.total().zip(known, u64::wrapping_sub);
        Tally { claim, share, offset, base, counts: known }
    }

    /// This tally when the share has come as far as `offset` and `counts`.
    pub fn reach(self, offset: u64, counts: Counts) -> Tally {
        let counts = self.counts.zip(counts, u64::max);
        Tally { offset: self.offset.max(offset), counts, ..self }
    }
}

/// One worker's part.
#[derive(Clone, Copy)]
pub struct WorkerCell {
    words: &'static [AtomicU64],
}

impl WorkerCell {
    fields! {
        /// When its main thread last showed life, monotonic milliseconds.
        0 heartbeat set_heartbeat;
        /// Requests under way.
        2 in_flight set_in_flight;
        /// When Solr last took something, monotonic milliseconds; 0: never.
        3 last_ok set_last_ok;
        /// When something last went wrong with Solr, monotonic milliseconds; 0: never.
        4 last_trouble set_last_trouble;
        /// The line that it is converting, by its index in the delta and one; 0: none.
        6 hand set_hand;
    }

    /// The highest version in its receipts, and those of who had the cell before.
    pub fn highest_version(&self) -> u64 {
        self.words[7].load(Relaxed)
    }

    /// There was this version in a receipt, at this time, monotonic milliseconds. (Any of its threads
    /// may say so.)
    pub fn raise_version(&self, version: u64, now: u64) {
        if version > self.highest_version() {
            // The time first: whoever reads the version finds no earlier one.
            self.words[WORKER_RAISED].fetch_max(now, Relaxed);
            self.words[7].fetch_max(version, Release);
        }
    }

    /// The highest version that Solr must have come to by now, as far as this cell knows. (A thousandth
    /// of the time is left out: no two clocks go the same.)
    fn version_by(&self, now: u64) -> u64 {
        let version = self.words[7].load(Acquire);
        let passed = now.saturating_sub(self.words[WORKER_RAISED].load(Relaxed));
        match passed.saturating_sub(passed / 1000 + 2) {
            _ if version == 0 => 0,
            0 => version,
            passed => version.max((version >> 20).saturating_add(passed).min(u64::MAX >> 20) << 20),
        }
    }

    /// Why Solr takes nothing, or not all, at present.
    pub fn trouble(&self) -> Trouble {
        match self.words[5].load(Relaxed) {
            1 => Trouble::Passing,
            2 => Trouble::Standing,
            _ => Trouble::None,
        }
    }

    /// Says why.
    pub fn set_trouble(&self, trouble: Trouble) {
        let word = match trouble {
            Trouble::None => 0,
            Trouble::Passing => 1,
            Trouble::Standing => 2,
        };
        self.words[5].store(word, Relaxed)
    }

    /// What last went wrong with Solr, in words.
    pub fn last_error(&self) -> Text {
        Text::over(&self.words[WORKER_ERROR..WORKER_CONVERTER])
    }

    /// Why the operator's own converter does not work, in words.
    pub fn converter_error(&self) -> Text {
        Text::over(&self.words[WORKER_CONVERTER..WORKER_POSTERS])
    }

    /// What it is doing.
    pub fn state(&self) -> WorkerState {
        WorkerState::from_word(self.words[1].load(Relaxed))
    }

    /// Says what it is doing.
    pub fn set_state(&self, state: WorkerState) {
        let word = match state {
            WorkerState::Idle => 0,
            WorkerState::Converting => 1,
            WorkerState::Posting => 2,
            WorkerState::BackingOff => 3,
        };
        self.words[1].store(word, Relaxed)
    }

    /// What it cannot do because of the machine, and the errno of that.
    pub fn held(&self) -> Option<(Held, i32)> {
        let (errno, what) = unpack(self.words[WORKER_HELD].load(Relaxed))?;
        Some((Held::from_word(what), errno))
    }

    /// Says what; `None`: nothing holds it up.
    pub fn set_held(&self, held: Option<(Held, i32)>) {
        let word = held.map_or(0, |(what, errno)| pack(errno, what as u64));
        self.words[WORKER_HELD].store(word, Relaxed);
    }

    fn latch(&self) -> Latch<TALLY> {
        Latch::over(&self.words[WORKER_TALLY..WORKER_ERROR])
    }

    /// Its share and its counts.
    pub fn tally(&self) -> Tally {
        let w = self.latch().read();
        let counts = |at: usize| Counts::from_array(std::array::from_fn(|i| w[at + i]));
        Tally {
            claim: w[0],
            share: w[1],
            offset: w[2],
            base: counts(4),
            counts: counts(4 + Counts::LEN),
        }
    }

    /// Publishes share and counts.
    pub fn publish(&self, tally: &Tally) {
        let mut w = [0; TALLY];
        (w[0], w[1], w[2]) = (tally.claim, tally.share, tally.offset);
        w[4..4 + Counts::LEN].copy_from_slice(&tally.base.to_array());
        w[4 + Counts::LEN..].copy_from_slice(&tally.counts.to_array());
        self.latch().write(&w);
    }

    /// The part of its post thread `n`.
    ///
    /// # Panics
    /// At [`POSTERS`] and beyond.
    pub fn poster(&self, n: usize) -> PosterCell {
        assert!(n < POSTERS, "post thread {n}");
        let at = WORKER_POSTERS + n * POSTER;
        PosterCell { words: &self.words[at..at + POSTER] }
    }

    /// All its post threads' parts.
    pub fn posters(&self) -> impl Iterator<Item = PosterCell> + use<> {
        let this = *self;
        (0..POSTERS).map(move |n| this.poster(n))
    }

    pub(crate) fn turns(&self) -> &'static [AtomicU64] {
        &self.words[WORKER_TURNS..]
    }

    /// Makes the cell whole for a new holder: its predecessor may have died in the middle of a
    /// write. Counts stay.
    pub fn take_over(&self) {
        self.latch().repair();
        self.set_in_flight(0);
        self.set_hand(0);
        self.set_state(WorkerState::Idle);
        self.set_trouble(Trouble::None);
        self.set_held(None);
        self.last_error().repair();
        self.converter_error().repair();
        self.posters().for_each(|poster| poster.set_request_since(0));
        Turns::take_over(self);
    }
}

/// One post thread's part.
#[derive(Clone, Copy)]
pub struct PosterCell {
    words: &'static [AtomicU64],
}

impl PosterCell {
    fields! {
        /// When the request under way began, monotonic milliseconds; 0: none is under way.
        0 request_since set_request_since;
        /// Requests answered or failed.
        1 posts set_posts;
        /// Requests that were sent again.
        2 retries set_retries;
        /// Bytes of request bodies sent.
        3 bytes_posted set_bytes_posted;
    }

    /// How long its requests with documents took.
    pub fn durations(&self) -> Durations {
        Durations::read(&self.words[4..])
    }

    /// One took so long.
    pub fn add_duration(&self, took: std::time::Duration) {
        Durations::add(&self.words[4..], took);
    }
}

/// Who leads which shard: as many as there is room for, and only what is short enough.
#[derive(Clone, Copy)]
pub struct LeadersCell {
    words: &'static [AtomicU64],
}

impl LeadersCell {
    fn line(&self, n: usize) -> Text {
        let at = 1 + n * Text::WORDS;
        Text::over(&self.words[at..at + Text::WORDS])
    }

    /// Makes the cell whole for a new writer, and empty.
    pub fn take_over(&self) {
        self.words[0].store(0, Relaxed);
        (0..LEADERS).map(|n| self.line(n)).for_each(|line| line.repair());
    }

    /// Writes the shards' names and their leaders' URLs.
    pub fn write<'a>(&self, leaders: impl Iterator<Item = (&'a str, &'a str)>) {
        let lines = leaders
            .map(|(shard, url)| format!("{shard} {url}"))
            .filter(|line| line.len() <= Text::BYTES);
        let mut count = 0;
        for (n, line) in lines.take(LEADERS).enumerate() {
            self.line(n).write(&line);
            count = n as u64 + 1;
        }
        self.words[0].store(count, Relaxed);
    }

    /// Reads them. Neither has a space in it.
    pub fn read(&self) -> Vec<(String, String)> {
        let count = (self.words[0].load(Relaxed) as usize).min(LEADERS);
        let lines = (0..count).map(|n| self.line(n).read());
        lines.filter_map(|l| l.split_once(' ').map(|(s, u)| (s.into(), u.into()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_goes_on_counting_where_the_dead_worker_stopped() {
        let counts = |lines| Counts { lines, ..Counts::default() };
        let first = Tally::default().begin(1, 0, 0, counts(0)).reach(500, counts(50));
        // The checkpoint stood at 40 when it died: ten lines are done again, and count once.
        let second = first.begin(1, 0, 400, counts(50));
        assert_eq!(second.total().lines, 50);
        assert_eq!(second.reach(450, counts(45)).total().lines, 50);
        assert_eq!(second.reach(700, counts(70)).total().lines, 70);
    }

    #[test]
    fn a_share_that_goes_from_cell_to_cell_and_back_is_counted_once() {
        let counts = |lines| Counts { lines, ..Counts::default() };
        let board = Board::new().unwrap();
        board.parent().set_slots_most(1);
        for (generation, lines) in [(1, 20), (2, 35), (3, 50)] {
            let cell = board.worker(generation, 0);
            cell.publish(
                &cell.tally().begin(7, 0, 0, board.known(7, 0)).reach(lines, counts(lines)),
            );
        }
        assert_eq!(board.totals().lines, 50);
    }

    #[test]
    fn totals_count_since_the_daemon_started() {
        let counts = |lines| Counts { lines, ..Counts::default() };
        // Taken up by a new daemon at line 40 of a share: those 40 were another daemon's.
        let taken_up = Tally::default().begin(1, 0, 400, counts(40));
        assert_eq!(taken_up.total().lines, 0);
        let done = taken_up.reach(1000, counts(100));
        assert_eq!(done.total().lines, 60);
        assert_eq!(done.begin(2, 0, 0, counts(0)).reach(10, counts(1)).total().lines, 61);
    }

    #[test]
    fn the_highest_version_is_that_of_all_workers_there_ever_were() {
        let board = Board::new().unwrap();
        board.parent().set_slots_most(2);
        assert_eq!((board.highest_version(), board.as_of(1000, 5)), (0, 1000 << 20));
        board.worker(1, 0).raise_version(5, 7);
        board.worker(1, 0).set_hand(77);
        assert_eq!(board.highest_version(), 5);
        board.worker(2, 1).raise_version(9, 7);
        board.worker(2, 1).raise_version(7, 9);
        assert_eq!(board.as_of(1000, 9), 9);
        board.parent().set_version(8);
        assert_eq!(board.as_of(1000, 9), 9);
        board.parent().set_version(11);
        assert_eq!(board.as_of(1000, 9), 11);
        board.worker(2, 1).take_over();
        assert_eq!(board.highest_version(), 9);
    }

    #[test]
    fn how_new_all_is_goes_on_with_the_time_and_is_never_ahead_of_solr() {
        let board = Board::new().unwrap();
        board.parent().set_slots_most(2);
        let version = (5_000_000 << 20) + 77;
        board.worker(1, 0).raise_version(version, 1_000);
        board.worker(1, 1).raise_version(4_000_000 << 20, 1_000);
        for now in [0, 999, 1_000, 1_002] {
            assert_eq!(board.as_of(0, now), version);
        }
        assert_eq!(board.as_of(0, 1_100), (5_000_098) << 20);
        let hour = 3_600_000;
        assert_eq!(board.as_of(0, 1_000 + hour), (5_000_000 + hour - 3_602) << 20);
        // It is known better since.
        board.worker(1, 1).raise_version((5_000_000 + hour - 9_000) << 20, 1_000 + hour);
        board.worker(1, 0).raise_version(3, 1_000 + hour); // an older document's
        assert_eq!(board.as_of(0, 1_000 + hour), (5_000_000 + hour - 3_602) << 20);
        board.worker(1, 1).raise_version(u64::MAX, 0); // scribbled
        assert_eq!(board.as_of(0, u64::MAX), u64::MAX);
    }

    #[test]
    fn what_holds_somebody_up_is_told_with_its_error_in_one_word() {
        let board = Board::new().unwrap();
        let (parent, worker) = (board.parent(), board.worker(1, 3));
        assert_eq!((parent.spool_trouble(), worker.held()), (None, None));
        for errno in [0, 28, -1, i32::MAX] {
            for step in [SpoolStep::Look, SpoolStep::Claim, SpoolStep::Settle, SpoolStep::ClaimLate]
            {
                parent.set_spool_trouble(Some((step, errno)));
                assert_eq!(parent.spool_trouble(), Some((step, errno)));
            }
            for held in [
                Held::Open,
                Held::Read,
                Held::Write,
                Held::Intend,
                Held::Merge,
                Held::Finish,
                Held::Convert,
            ] {
                worker.set_held(Some((held, errno)));
                assert_eq!(worker.held(), Some((held, errno)));
            }
        }
        parent.set_spool_trouble(None);
        worker.take_over();
        assert_eq!((parent.spool_trouble(), worker.held()), (None, None));
    }

    #[test]
    fn cells_do_not_overlap() {
        let board = Board::new().unwrap();
        for generation in 0..2 {
            for slot in [0, 1, SLOTS - 1] {
                let cell = board.worker(generation, slot);
                let mark = generation * 1000 + slot as u64 + 1;
                cell.set_heartbeat(mark);
                cell.publish(&Tally { claim: mark, ..Tally::default() });
                cell.poster(POSTERS - 1).set_posts(mark);
                cell.last_error().write(&"x".repeat(300));
                cell.converter_error().write(&"y".repeat(300));
            }
        }
        board.parent().set_pid(7);
        board.slot(SLOTS - 1).set_pid(8);
        board.active_name().write("offers.jsonl");
        board.reload_error().write("no");
        for generation in 0..2 {
            for slot in [0, 1, SLOTS - 1] {
                let cell = board.worker(generation, slot);
                let mark = generation * 1000 + slot as u64 + 1;
                assert_eq!(cell.heartbeat(), mark);
                assert_eq!(cell.tally().claim, mark);
                assert_eq!(cell.poster(POSTERS - 1).posts(), mark);
            }
        }
        assert_eq!(board.parent().pid(), 7);
        assert_eq!(board.slot(SLOTS - 1).pid(), 8);
        assert_eq!(board.active_name().read(), "offers.jsonl");
        assert_eq!(board.reload_error().read(), "no");
    }
}
