//! What the monitor sees: the status document, put together from the scoreboard and the folders.
//!
//! Whatever a killed or scribbling process left on the page is a number to be shown, never one to
//! be trusted with an index, a length or a sum that could overflow.

use config::{Config, Limits as Pair};
use scoreboard::{
    Board, Counts, Durations, Held, PosterCell, Trouble, WorkerCell, WorkerState as Doing,
};
use slog::Logger;
use spool::Spool;
use status::{
    Active, Document, Health, Incoming, Limits, Memory, Monitor, Parent, Rates as Speeds, Reason,
    Rejected, Severity, Solr, State, Thresholds, Totals, Worker, WorkerState, code,
};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use sys::clock::{now_ms, wall_ms};

use crate::diary::Diary;
use crate::folders::{Folders, Found};
use crate::rates::Rates;
use crate::trouble::{Losses, converter_trouble, spool_trouble};

const PROGRAM: &str = concat!("solr-updater ", env!("CARGO_PKG_VERSION"));

pub(crate) struct Sight {
    config: Config,
    spool: Spool,
    board: Board,
    folders: Folders,
    rates: Rates,
    memory: Memory,
    losses: Losses,
    diary: Diary,
    /// The claim at work and how many deltas were settled, at the last look: when these change, files have moved.
    moved: (u64, u64),
    next_verdict: u64,
}

/// What moves on while something is done: as long as it is the same, an answer a moment old is as good as new.
pub(crate) type Marks = [u64; Counts::LEN + 9];

/// What stands on the page for one slot, both generations' cells together.
struct Place {
    counts: Counts,
    posts: u64,
    retries: u64,
    bytes_posted: u64,
}

/// Seconds from one monotonic moment to a later one.
fn age_s(now: u64, then: u64) -> f64 {
    now.saturating_sub(then) as f64 / 1000.0
}

impl Sight {
    pub(crate) fn new(config: Config, spool: Spool, board: Board) -> Sight {
        Sight {
            config,
            spool,
            board,
            folders: Folders::default(),
            rates: Rates::default(),
            memory: Memory::default(),
            losses: Losses::default(),
            diary: Diary::default(),
            moved: (0, 0),
            next_verdict: 0,
        }
    }

    /// How long it may be until the next look, in milliseconds.
    pub(crate) fn next_look(&self) -> u64 {
        match self.is_busy() || self.folders.is_counting() || !self.diary.is_empty() {
            true => crate::LOOK,
            false => crate::LOOK_IDLE,
        }
    }

    /// Whether a delta is active.
    fn is_busy(&self) -> bool {
        self.board.parent().claim() != 0
    }

    /// Takes a sample for the rates, gives a sign of life, and judges now and then, so that a
    /// reason has its beginning, and is in the log, also when nobody asks.
    pub(crate) fn look(&mut self, log: &Logger) {
        let now = now_ms();
        self.board.monitor().set_heartbeat(now);
        if now >= self.next_verdict {
            let document = self.document();
            self.diary.tell(&document.health.reasons, log);
            // What is over is told soon.
            let is_soon = self.folders.is_counting() || !self.diary.is_empty();
            self.next_verdict = now + if is_soon { crate::LOOK } else { crate::LOOK_IDLE };
        }
        if !self.rates.is_due(now) {
            return;
        }
        let totals = self.board.totals();
        let claim = self.board.parent().claim();
        let docs = totals.docs.wrapping_add(totals.deletes);
        self.rates.take(now_ms(), docs, claim, self.board.bytes_done(claim));
    }

    /// How far all is.
    pub(crate) fn marks(&self) -> Marks {
        let parent = self.board.parent();
        let mut marks = [0; Counts::LEN + 9];
        let (counts, rest) = marks.split_at_mut(Counts::LEN);
        counts.copy_from_slice(&self.board.totals().to_array());
        rest.copy_from_slice(&[
            parent.claim(),
            parent.deltas(),
            parent.paused(),
            parent.holding(),
            parent.draining(),
            parent.generation(),
            parent.reloads(),
            parent.reload_failures(),
            parent.worker_deaths(),
        ]);
        marks
    }

    /// The parent has carried out a command: whoever asks next sees what came of it.
    pub(crate) fn look_anew(&mut self) {
        self.folders.look_anew();
    }

    /// Everything, now.
    pub(crate) fn document(&mut self) -> Document {
        let parent = self.board.parent();
        let moved = (parent.claim(), parent.deltas());
        if moved != std::mem::replace(&mut self.moved, moved) {
            self.folders.look_anew();
        }
        let found = self.folders.look(&self.spool).clone();
        let (now, wall) = (now_ms(), wall_ms());
        let cell = self.board.parent();
        let workers = (0..self.slots()).map(|slot| self.worker(slot, now)).collect();
        let totals = self.totals();
        let docs = totals.docs.wrapping_add(totals.deletes);
        let thresholds = thresholds(&self.config);
        let mut document = Document {
            version: status::VERSION,
            program: PROGRAM.into(),
            state: self.state(),
            time: status::rfc3339(wall / 1000),
            health: Health::new(Vec::new(), thresholds.clone()),
            parent: self.parent(now),
            monitor: Monitor { pid: sys::pid() as u32, restarts: cell.monitor_restarts() },
            spool: self.spool(&found, now, wall),
            workers,
            rates: Speeds {
                docs_per_s_10s: self.rates.docs_per_s(10_000, now, docs),
                docs_per_s_60s: self.rates.docs_per_s(60_000, now, docs),
            },
            totals,
            solr: self.solr(now),
        };
        let mut reasons = status::health(&document, &thresholds);
        self.add_what_the_document_does_not_say(&found, &mut reasons);
        self.memory.remember(&mut reasons, &document.time);
        document.health = Health::new(reasons, thresholds);
        document
    }

    /// How long requests took, of all workers there ever were.
    pub(crate) fn durations(&self) -> Durations {
        let posters = self.board.worker_cells().flat_map(|cell| cell.posters());
        posters.fold(Durations::default(), |sum, poster| sum.plus(poster.durations()))
    }

    /// Log lines that could not be written.
    pub(crate) fn log_dropped(&self) -> u64 {
        self.board.log_dropped().load(std::sync::atomic::Ordering::Relaxed)
    }

    fn slots(&self) -> usize {
        (self.board.parent().slots() as usize).min(scoreboard::SLOTS)
    }

    fn state(&self) -> State {
        let cell = self.board.parent();
        if cell.draining() != 0 {
            State::Draining
        } else if cell.paused() != 0 {
            State::Paused
        } else if cell.holding() != 0 {
            State::Holding
        } else {
            State::Running
        }
    }

    fn parent(&self, now: u64) -> Parent {
        let cell = self.board.parent();
        // Asked of the kernel, not of the parent: it may stand still.
        let tasks = std::fs::metadata(format!("/proc/{}/task", cell.pid())).ok();
        let threads = tasks.and_then(|t| t.nlink().checked_sub(2)).filter(|n| *n > 0);
        let refused = cell.reload_refused() != 0;
        Parent {
            pid: cell.pid() as u32,
            threads: threads.map(|n| n as u32),
            started: status::rfc3339(cell.started() / 1000),
            uptime_s: age_s(now, cell.started_monotonic()),
            heartbeat_age_s: age_s(now, cell.heartbeat()),
            generation: cell.generation(),
            config: self.config.path.display().to_string(),
            reloads: cell.reloads(),
            reload_failures: cell.reload_failures(),
            last_reload_error: refused.then(|| self.board.reload_error().read()),
        }
    }

    fn spool(&self, found: &Found, now: u64, wall: u64) -> status::Spool {
        let cell = self.board.parent();
        // The monitor may be younger than what waits; the parent knows.
        let told = Some(cell.oldest_seen()).filter(|seen| *seen != 0);
        let oldest = found.oldest_seen.into_iter().chain(told).min();
        let active = self.active(now, wall);
        status::Spool {
            dir: self.spool.dir().display().to_string(),
            incoming: Incoming {
                files: found.incoming_files,
                bytes: found.incoming_bytes,
                oldest_age_s: oldest.map(|seen| age_s(wall, seen)),
            },
            ignored: found.ignored,
            failed: found.failed,
            rejected: Rejected { files: found.rejected_files, lines: found.rejected_lines },
            active_files: cell.active_files(),
            active,
        }
    }

    fn active(&self, now: u64, wall: u64) -> Option<Active> {
        let cell = self.board.parent();
        let claim = Some(cell.claim()).filter(|claim| *claim != 0)?;
        let bytes = cell.active_bytes();
        let bytes_done = self.board.bytes_done(claim).min(bytes);
        Some(Active {
            name: self.board.active_name().read(),
            bytes,
            bytes_done,
            age_s: age_s(wall, cell.active_seen()),
            eta_s: self.rates.eta_s(now, claim, bytes_done, bytes),
        })
    }

    // --- workers --------------------------------------------------------------------------------

    fn place(&self, slot: usize) -> Place {
        let cells = [self.board.worker(0, slot), self.board.worker(1, slot)];
        let sum = |get: fn(&PosterCell) -> u64| {
            let posters = cells.iter().flat_map(WorkerCell::posters);
            posters.map(|p| get(&p)).fold(0u64, u64::wrapping_add)
        };
        Place {
            counts: cells[0].tally().total().plus(cells[1].tally().total()),
            posts: sum(PosterCell::posts),
            retries: sum(PosterCell::retries),
            bytes_posted: sum(PosterCell::bytes_posted),
        }
    }

    fn worker(&self, slot: usize, now: u64) -> Worker {
        let seat = self.board.slot(slot);
        let cell = self.board.worker(seat.generation(), slot);
        let place = self.place(slot);
        let pid = Some(seat.pid() as u32).filter(|pid| *pid != 0);
        let state = match (pid, cell.state()) {
            (None, _) => WorkerState::Dead,
            (_, Doing::Idle) => WorkerState::Idle,
            (_, Doing::Converting) => WorkerState::Converting,
            (_, Doing::Posting) => WorkerState::Posting,
            (_, Doing::BackingOff) => WorkerState::BackingOff,
        };
        Worker {
            slot: slot as u32,
            pid,
            generation: seat.generation(),
            state,
            heartbeat_age_s: age_s(now, cell.heartbeat()),
            restarts: seat.restarts(),
            lines: place.counts.lines,
            docs: place.counts.docs,
            rejected: place.counts.rejected,
            posts: place.posts,
            retries: place.retries,
            in_flight: cell.in_flight(),
        }
    }

    fn totals(&self) -> Totals {
        let counts = self.board.totals();
        let parent = self.board.parent();
        let most = (parent.slots_most() as usize).min(scoreboard::SLOTS);
        let places: Vec<Place> = (0..most).map(|slot| self.place(slot)).collect();
        let sum = |get: fn(&Place) -> u64| places.iter().map(get).fold(0u64, u64::wrapping_add);
        Totals {
            deltas: parent.deltas(),
            lines: counts.lines,
            docs: counts.docs,
            deletes: counts.deletes,
            skipped: counts.skipped,
            rejected: counts.rejected,
            superseded: counts.superseded,
            duplicate_ids: counts.duplicate_ids,
            posts: sum(|p| p.posts),
            retries: sum(|p| p.retries),
            bytes_read: counts.bytes_read,
            bytes_posted: sum(|p| p.bytes_posted),
            worker_deaths: parent.worker_deaths(),
            worker_hangs: parent.worker_hangs(),
        }
    }

    // --- Solr -----------------------------------------------------------------------------------

    /// The workers of the generation at work.
    fn cells(&self) -> Vec<WorkerCell> {
        let generation = self.board.parent().generation();
        (0..self.slots()).map(|slot| self.board.worker(generation, slot)).collect()
    }

    fn solr(&self, now: u64) -> Solr {
        let cells = self.cells();
        let last_ok = cells.iter().map(WorkerCell::last_ok).max().unwrap_or(0);
        let latest = cells.iter().max_by_key(|c| c.last_trouble());
        let trouble = latest.filter(|c| c.last_trouble() > last_ok);
        let parent = self.board.parent();
        let began = if self.is_busy() { parent.active_since().max(parent.resumed()) } else { 0 };
        let since = last_ok.max(began);
        let reachable = match trouble.map(WorkerCell::trouble) {
            Some(Trouble::Passing) => Some(false),
            Some(Trouble::Standing | Trouble::None) => Some(true),
            None => (last_ok != 0).then_some(true),
        };
        Solr {
            collection: self.config.solr.collection.clone(),
            reachable,
            last_ok_age_s: (since != 0).then(|| age_s(now, since)),
            last_error: trouble.map(|c| c.last_error().read()),
            leaders: self.leaders(),
        }
    }

    fn leaders(&self) -> BTreeMap<String, String> {
        self.board.leaders(self.board.parent().generation()).read().into_iter().collect()
    }

    fn add_what_the_document_does_not_say(&mut self, found: &Found, reasons: &mut Vec<Reason>) {
        // What does not pass by itself is not waited for: no such collection, no right to write.
        let standing =
            |c: &&WorkerCell| c.trouble() == Trouble::Standing && c.last_trouble() > c.last_ok();
        if let Some(cell) = self.cells().iter().find(standing) {
            reasons.retain(|r| r.code != code::SOLR);
            let words = format!("Solr takes nothing: {}", cell.last_error().read());
            reasons.push(Reason::new(code::SOLR, Severity::Critical, words));
        }
        if let Some(words) =
            spool_trouble(found, &self.spool, self.board.parent().spool_trouble(), &self.cells())
        {
            // Who cannot write posts nothing either, and it is not Solr that is silent then.
            let intends = |c: &WorkerCell| matches!(c.held(), Some((Held::Intend, _)));
            if self.solr(now_ms()).last_error.is_none() || self.cells().iter().any(intends) {
                reasons.retain(|r| r.code != code::SOLR);
            }
            reasons.push(Reason::new(code::SPOOL, Severity::Critical, words));
        }
        if let Some(words) = converter_trouble(&self.cells()) {
            reasons.push(Reason::new(code::CONVERT, Severity::Critical, words));
        }
        if let Some(lost) = self.losses.look(self.log_dropped(), now_ms()) {
            let words = format!("{lost} log lines lost: standard error or log.file takes no more");
            reasons.push(Reason::new(code::LOG, Severity::Warning, words));
        }
    }
}

fn thresholds(config: &Config) -> Thresholds {
    let seconds = |pair: &Pair<Duration>| {
        Limits::new(pair.warning.as_secs_f64(), pair.critical.as_secs_f64())
    };
    Thresholds {
        lag: seconds(&config.health.lag),
        solr: seconds(&config.health.solr),
        rejected: Limits::new(config.health.rejected.warning, config.health.rejected.critical),
        stall: seconds(&config.health.stall),
    }
}
