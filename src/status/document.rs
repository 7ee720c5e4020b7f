//! The document as INTERFACE.md shows it, member by member and in that order: what is printed here is
//! read by programs of other people. Members are added, never renamed and never given another meaning; a member
//! added later needs `#[serde(default)]`, because a new plugin must read an old daemon's answer while a package
//! is upgraded. Members not known here are ignored on reading.
//!
//! Units stand in the names: `_s` are seconds with a fraction ([`crate::seconds`] makes them of a `Duration`),
//! finite and never negative (JSON has no NaN; it would be printed as null and not be read back). An `Option` is `null`
//! where a thing is not known, never left out. Words (names, errors) may hold anything a producer or Solr put there;
//! whoever prints them cleans them (see [`crate::page::plain`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The version of the document written and read here. It changes only when an old reader would go wrong.
pub const VERSION: u32 = 1;

/// The status document: all that the monitor knows at one moment.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// Name and version of the program, as in `solr-updater 0.1.0`.
    pub program: String,
    /// What the daemon as a whole is about.
    pub state: State,
    /// When this was written, RFC 3339 in UTC (see [`crate::rfc3339`]).
    pub time: String,
    /// The verdict on all that follows.
    pub health: Health,
    /// The process that forks and deals.
    pub parent: Parent,
    /// The process that wrote this.
    pub monitor: Monitor,
    /// The deltas on disk.
    pub spool: Spool,
    /// One for each slot, in slot order; while generations change a slot may stand here twice.
    pub workers: Vec<Worker>,
    /// Counted since the daemon started, over the death of any child.
    pub totals: Totals,
    /// How fast it goes.
    pub rates: Rates,
    /// The other side.
    pub solr: Solr,
}

/// Says what the daemon as a whole is about.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It delivers, or waits for deltas.
    Running,
    /// A person said `pause`: no delta is dealt until `resume`.
    Paused,
    /// A delta failed and `on_failed = "stop"`: no delta is dealt until a person has looked.
    Holding,
    /// It finishes what is in hand and leaves.
    Draining,
}

/// The verdict: the worst of the reasons, and the thresholds they were found with.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Health {
    /// As bad as the worst reason.
    pub state: Level,
    /// Worst first; among equals the cause before what it causes.
    pub reasons: Vec<Reason>,
    /// The `[health]` table of the configuration in force.
    pub thresholds: Thresholds,
}

/// A health state: `ok`, or as bad as the worst reason.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No reason to worry.
    Ok,
    /// Somebody should look at it by day.
    Warning,
    /// Somebody should get up.
    Critical,
}

/// How bad one reason is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should look at it by day.
    Warning,
    /// Somebody should get up.
    Critical,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Level {
        match severity {
            Severity::Warning => Level::Warning,
            Severity::Critical => Level::Critical,
        }
    }
}

/// One thing that is not as it should be.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Reason {
    /// One of [`crate::code`]; programs may match on it, and must expect codes they do not know.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line for a person. Up to the first `": "` it stands alone, which is what fits a pager.
    pub message: String,
    /// When a reason of this code and severity first appeared, RFC 3339; `null` where nobody remembers.
    pub since: Option<String>,
}

impl Reason {
    /// Makes a reason that nobody has remembered yet ([`crate::Memory`] fills in `since`).
    pub fn new(code: &str, severity: Severity, message: impl Into<String>) -> Reason {
        Reason { code: code.to_owned(), severity, message: message.into(), since: None }
    }
}

/// What the daemon itself calls warning and critical: the `[health]` table.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Seconds of lag; above them it is bad.
    pub lag: Limits<f64>,
    /// Seconds without an answer from Solr while there is work; above them it is bad.
    pub solr: Limits<f64>,
    /// Lines in `rejected/`; at or above them it is bad.
    pub rejected: Limits<u64>,
    /// Seconds since the last heartbeat, the parent's or a busy worker's; above them it is bad.
    pub stall: Limits<f64>,
}

impl Default for Thresholds {
    /// INTERFACE.md's default configuration.
    fn default() -> Thresholds {
        Thresholds {
            lag: Limits::new(300.0, 1800.0),
            solr: Limits::new(15.0, 60.0),
            rejected: Limits::new(1, 1000),
            stall: Limits::new(10.0, 60.0),
        }
    }
}

/// A pair of limits; `null` for one that is switched off.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Limits<T> {
    /// From here on it is a warning.
    pub warning: Option<T>,
    /// From here on it is critical.
    pub critical: Option<T>,
}

impl<T> Limits<T> {
    /// A pair with both limits in force.
    pub fn new(warning: T, critical: T) -> Limits<T> {
        Limits { warning: Some(warning), critical: Some(critical) }
    }
}

/// The parent, as the monitor sees it from outside.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Parent {
    /// Its process id.
    pub pid: u32,
    /// Its threads, as /proc counts them; anything but 1 is a fault. `null` where they could not be counted.
    pub threads: Option<u32>,
    /// When it started, RFC 3339.
    pub started: String,
    /// Seconds since then.
    pub uptime_s: f64,
    /// Seconds since its loop last came round; it beats every 5 s at least.
    pub heartbeat_age_s: f64,
    /// The generation dealt to; 1 from the start, one more with each reload that was taken.
    pub generation: u64,
    /// The path of the configuration file.
    pub config: String,
    /// Reloads that were taken.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reload_failures: u64,
    /// Why the last reload was refused (file, line, column, reason); `null` when it was taken, or there was none.
    pub last_reload_error: Option<String>,
}

/// The monitor, which speaks of itself.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Its process id.
    pub pid: u32,
    /// How often it had to be replaced.
    pub restarts: u64,
}

/// What lies in the spool's folders.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Spool {
    /// The spool's path.
    pub dir: String,
    /// Deltas that wait.
    pub incoming: Incoming,
    /// Entries of `incoming/` that are no delta and are left alone.
    pub ignored: u64,
    /// Deltas in `failed/`.
    pub failed: u64,
    /// What lies in `rejected/`.
    pub rejected: Rejected,
    /// The oldest delta claimed and not settled.
    pub active: Option<Active>,
    /// How many deltas are claimed and not settled; more than one with `partition = "id"`.
    pub active_files: u64,
}

/// The queue: deltas that wait to be claimed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Incoming {
    /// How many.
    pub files: u64,
    /// Their size on disk together, in bytes.
    pub bytes: u64,
    /// Seconds since the oldest of them, or of what else waits to be claimed (to be retried, or appended
    /// after it was delivered), was first seen; `null` when nothing waits.
    pub oldest_age_s: Option<f64>,
}

/// What nobody has retried or dropped yet.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Files in `rejected/`.
    pub files: u64,
    /// Lines in them.
    pub lines: u64,
}

/// The delta being delivered.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Active {
    /// Its file name.
    pub name: String,
    /// Its size in bytes, of the file as it lies there.
    pub bytes: u64,
    /// How much of that is done; never more than `bytes`.
    pub bytes_done: u64,
    /// Seconds since it was first seen, in `incoming/` already.
    pub age_s: f64,
    /// Seconds it will take at this speed; `null` while nobody can tell.
    pub eta_s: Option<f64>,
}

impl Active {
    /// How much is done in whole per cent, 100 only when all of it is; `None` for an empty file.
    pub fn percent(&self) -> Option<u64> {
        let done = u128::from(self.bytes_done) * 100;
        let percent = done.checked_div(u128::from(self.bytes))?;
        Some(percent.min(100) as u64)
    }
}

/// A slot and who holds it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Worker {
    /// The slot's number, from 0.
    pub slot: u32,
    /// The worker's process id; `null` while the slot is empty.
    pub pid: Option<u32>,
    /// The generation the worker belongs to.
    pub generation: u64,
    /// What it is at.
    pub state: WorkerState,
    /// Seconds since its last sign of life.
    pub heartbeat_age_s: f64,
    /// How often the slot's worker had to be replaced.
    pub restarts: u64,
    /// Lines of its shares it has been through, since the daemon started, as all counts below.
    pub lines: u64,
    /// Documents confirmed by Solr.
    pub docs: u64,
    /// Lines rejected.
    pub rejected: u64,
    /// Requests that carried documents.
    pub posts: u64,
    /// Of these, the ones sent again.
    pub retries: u64,
    /// Requests under way now.
    pub in_flight: u64,
}

/// Says what a worker is at.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It waits for a delta.
    Idle,
    /// It reads and converts lines.
    Converting,
    /// It waits for Solr to take a batch.
    Posting,
    /// Solr did not take a batch; it waits before it tries again.
    BackingOff,
    /// Nobody holds the slot.
    Dead,
}

/// These are counts since the daemon started; they survive the death of any child.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Deltas settled, whether to `done/` or to `failed/`.
    pub deltas: u64,
    /// Lines done, empty ones too.
    pub lines: u64,
    /// Documents confirmed.
    pub docs: u64,
    /// Deletes confirmed.
    pub deletes: u64,
    /// Lines that became nothing.
    pub skipped: u64,
    /// Lines rejected.
    pub rejected: u64,
    /// Retried lines that a newer document had overtaken.
    pub superseded: u64,
    /// Documents with more than one line in a delta.
    pub duplicate_ids: u64,
    /// Requests that carried documents.
    pub posts: u64,
    /// Of these, the ones sent again.
    pub retries: u64,
    /// Bytes of deltas read, uncompressed.
    pub bytes_read: u64,
    /// Bytes of request bodies sent.
    pub bytes_posted: u64,
    /// Workers that died unasked.
    pub worker_deaths: u64,
    /// Workers killed because their heartbeat had stopped.
    pub worker_hangs: u64,
}

/// These are documents and deletes confirmed per second.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Over the last 10 s.
    pub docs_per_s_10s: f64,
    /// Over the last 60 s.
    pub docs_per_s_60s: f64,
}

/// What the workers know of Solr.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Solr {
    /// The collection's name.
    pub collection: String,
    /// Whether the last attempt got through to a Solr, whatever that then said; `null` before the first attempt.
    pub reachable: Option<bool>,
    /// Seconds since Solr last took what it was sent, or since the present work began if that is later; `null` when
    /// neither has happened.
    pub last_ok_age_s: Option<f64>,
    /// What went wrong since Solr last took something, with the URL it was about; `null` once it takes things again.
    pub last_error: Option<String>,
    /// Shard → URL of its leader; empty while not known.
    pub leaders: BTreeMap<String, String>,
}

impl Document {
    /// The document on one line of JSON, newline at the end included.
    pub fn to_line(&self) -> String {
        crate::answer::line(self)
    }

    /// The lag in seconds: the time since the oldest delta not settled was first seen; 0 when there is none.
    pub fn lag_s(&self) -> f64 {
        let active = self.spool.active.as_ref().map_or(0.0, |active| active.age_s);
        active.max(self.spool.incoming.oldest_age_s.unwrap_or(0.0))
    }

    /// The number of deltas that wait to be claimed.
    pub fn queue(&self) -> u64 {
        self.spool.incoming.files
    }

    /// Says whether any delta is not settled.
    pub fn has_work(&self) -> bool {
        self.spool.active.is_some() || self.spool.active_files > 0 || self.queue() > 0
    }

    /// The number of slots, whoever holds them.
    pub fn slots(&self) -> usize {
        self.workers.iter().map(|worker| worker.slot).collect::<BTreeSet<_>>().len()
    }

    /// The number of slots held by a living worker, of whatever generation.
    pub fn workers_alive(&self) -> usize {
        let alive = self.workers.iter().filter(|worker| worker.state != WorkerState::Dead);
        alive.map(|worker| worker.slot).collect::<BTreeSet<_>>().len()
    }

    /// How many seconds Solr has owed an answer: 0 while nobody wants one, `None` where it is not known.
    ///
    /// A worker wants one when it has a request under way or backs off from one. When no worker does (all dead, say),
    /// one is still wanted if the last attempt failed and there is work that nobody told the daemon to leave alone.
    /// A delta whose lines all become nothing wants none, so a quiet Solr is no fault then.
    pub fn solr_silence_s(&self) -> Option<f64> {
        let asked = self.workers.iter().any(|worker| match worker.state {
            WorkerState::Posting | WorkerState::BackingOff => true,
            WorkerState::Idle | WorkerState::Converting => worker.in_flight > 0,
            WorkerState::Dead => false,
        });
        let free = match self.state {
            State::Running | State::Draining => true,
            State::Paused | State::Holding => false,
        };
        let wanted = asked || (free && self.has_work() && self.solr.reachable == Some(false));
        if wanted { self.solr.last_ok_age_s } else { Some(0.0) }
    }
}
