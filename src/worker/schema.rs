//! The collection's schema, as a worker has it: by which lines are refused before they are sent. A thread
//! of its own reads it, when it starts and when it is asked to; it never posts and judges no line.
//!
//! Nobody is held up for long where it cannot be read: then nothing is held against it, and Solr judges
//! alone. And no line is lost to an old copy: before one is refused, the copy must be fresh.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use convert::{Schema, Scratch};
use slog::{Logger, debug, info, warn};

use crate::queue::Queue;
use crate::receipt::{NO_COLLECTION, Reply, Wait};
use crate::wire::Wire;

/// A node that has not answered by then is not asked further; the next one is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines wait so long for a schema at most while Solr could take them, in milliseconds.
const HOLD: u64 = 3_000;
/// So old a copy may be when a line is refused by it, and no older than its delta's beginning.
const FRESH: u64 = 1_000;
/// An older one is read again, in the background, when there is work.
const OLD: u64 = 60_000;
/// What was asked for so long ago has come to nothing.
const ASKED_LONG_AGO: u64 = 60_000;
/// After a try that failed, where there is work.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What thread and main thread share.
pub(crate) struct SchemaCopy {
    state: Mutex<State>,
    changed: Condvar,
    /// Counts what was published.
    number: AtomicU64,
    /// Whether it is known what there is to know.
    settled: AtomicBool,
    /// When the last reading that came to something began.
    begun: AtomicU64,
}

struct State {
    schema: Option<Arc<Schema>>,
    wanted: bool,
    busy: bool,
}

impl SchemaCopy {
    pub(crate) fn new() -> SchemaCopy {
        SchemaCopy {
            state: Mutex::new(State { schema: None, wanted: true, busy: false }),
            changed: Condvar::new(),
            number: AtomicU64::new(0),
            settled: AtomicBool::new(false),
            begun: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn want(&self) {
        self.lock().wanted = true;
        self.changed.notify_all();
    }

    fn wait_until_wanted(&self) {
        let mut state = self.lock();
        while !state.wanted {
            state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        state.wanted = false;
    }

    /// Takes what a reading that began then has come to.
    fn publish(&self, schema: Option<Arc<Schema>>, begun: u64) {
        self.lock().schema = schema;
        self.begun.store(begun, Relaxed);
        self.settled.store(true, Relaxed);
        self.number.fetch_add(1, Relaxed);
    }

    /// A reading has failed for now. Where there is work it is tried again soon.
    fn fail(&self) {
        let mut state = self.lock();
        if self.settled.swap(false, Relaxed) {
            state.schema = None; // nobody knows whether it still holds
            self.number.fetch_add(1, Relaxed);
        }
        if state.busy {
            state =
                self.changed.wait_timeout(state, TRY_AGAIN).unwrap_or_else(|e| e.into_inner()).0;
            state.wanted = true;
        }
    }
}

/// The thread's own things.
pub(crate) struct Reader {
    pub(crate) copy: Arc<SchemaCopy>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) wire: Wire,
    pub(crate) collection: String,
    /// It tells what it has come to: one of the workers does, for all.
    pub(crate) tells: bool,
    pub(crate) log: Logger,
}

impl Reader {
    /// The thread's whole life.
    pub(crate) fn run(self) {
        let mut told = None;
        let life = std::panic::AssertUnwindSafe(|| {
            loop {
                self.copy.wait_until_wanted();
                self.read(&mut told);
            }
        });
        if std::panic::catch_unwind(life).is_err() {
            // Without it there is nothing to hold lines against, and no more.
            self.copy.publish(None, u64::MAX);
            self.queue.wake_main();
        }
    }

    fn read(&self, told: &mut Option<String>) {
        let begun = sys::clock::now_ms();
        let mut never = None;
        for node in self.queue.whom_to_ask() {
            match ask(&self.wire, &node, &self.collection, PATIENCE) {
                Ok(schema) => {
                    self.tell(told, schema.certain.because.clone().unwrap_or_default(), false);
                    self.copy.publish(Some(Arc::new(schema)), begun);
                    return self.queue.wake_main();
                }
                Err(Unread::Never(reason)) => never = never.or(Some(reason)),
                Err(Unread::NotNow(reason)) => {
                    debug!(self.log, "no word about the schema"; "reason" => reason);
                }
            }
        }
        match never {
            Some(reason) => {
                self.tell(told, reason, true);
                self.copy.publish(None, begun);
                self.queue.wake_main();
            }
            None => self.copy.fail(),
        }
    }

    /// Says once what lines are held against.
    fn tell(&self, told: &mut Option<String>, reason: String, is_blind: bool) {
        if !self.tells || told.as_ref() == Some(&reason) {
            return;
        }
        match (is_blind, reason.as_str()) {
            (true, reason) => {
                warn!(self.log, "the schema cannot be read, so no line is held against it";
                "reason" => reason)
            }
            (false, "") => debug!(self.log, "lines are held against the schema"),
            (false, why) => info!(self.log, "not all of a line can be held against the schema";
                "because" => why),
        }
        *told = Some(reason);
    }
}

/// The main thread's side.
pub(crate) struct InHand {
    copy: Arc<SchemaCopy>,
    number: Cell<u64>,
    schema: Cell<Option<Arc<Schema>>>,
    /// Since when lines wait for it.
    waits: Cell<Option<u64>>,
    /// When it was asked for, for a line that it refuses.
    asked: Cell<Option<u64>>,
    refreshed: Cell<u64>,
    /// An older copy refuses nothing.
    not_before: Cell<u64>,
}

impl InHand {
    pub(crate) fn new(copy: Arc<SchemaCopy>) -> InHand {
        let (number, schema, waits, asked, refreshed) = Default::default();
        InHand { copy, number, schema, waits, asked, refreshed, not_before: Cell::new(0) }
    }

    /// There is work from now on, or none.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.copy.lock().busy = busy;
        self.waits.set(None);
        if busy && !self.copy.settled.load(Relaxed) {
            self.copy.want();
        }
    }

    /// A delta begins: whoever handed it over may have mended the schema just before.
    pub(crate) fn begin(&self, now: u64) {
        self.not_before.set(now);
        self.asked.set(None);
    }

    /// Has an old copy read again; nobody waits for that.
    pub(crate) fn refresh(&self, now: u64) {
        let last = self.copy.begun.load(Relaxed).max(self.refreshed.get());
        // (While it is not known the thread tries by itself.)
        if self.copy.settled.load(Relaxed) && last.saturating_add(OLD) < now {
            self.refreshed.set(now);
            self.copy.want();
        }
    }

    /// Whether documents may go their way: the schema is known, or was waited for long enough. While
    /// nothing could be sent anyway, that is no waiting.
    pub(crate) fn is_ready(&self, could_send: bool, now: u64) -> bool {
        if self.copy.settled.load(Relaxed) {
            self.waits.set(None);
            return true;
        }
        if self.waits.get().is_none() && could_send {
            self.waits.set(Some(now));
        }
        self.waits.get().is_some_and(|since| now >= since + HOLD)
    }

    /// Room to convert lines in, which are held against the schema of now.
    pub(crate) fn scratch(&self) -> Scratch {
        let number = self.copy.number.load(Relaxed);
        if self.number.replace(number) != number {
            self.schema.set(self.copy.lock().schema.clone());
        }
        let schema = self.schema.take();
        self.schema.set(schema.clone());
        Scratch::with(schema)
    }

    /// Whether a line may be refused by the schema of the last scratch. If not, it is read anew: the line
    /// is to be converted again, when that has come to something.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        if self.copy.number.load(Relaxed) != self.number.get() {
            return false; // there is a newer one
        }
        let begun = self.copy.begun.load(Relaxed);
        let was_asked = |asked| begun >= asked && asked + ASKED_LONG_AGO >= now;
        let was_asked = self.asked.get().is_some_and(was_asked);
        let is_new = begun.saturating_add(FRESH) >= now && begun >= self.not_before.get();
        if was_asked || is_new {
            self.asked.set(None);
            return true;
        }
        if self.asked.get().is_none_or(|asked| asked + ASKED_LONG_AGO < now) {
            self.asked.set(Some(now));
            self.copy.want();
        }
        false
    }
}

/// Why there is no schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Nobody will say: not this user, or not this Solr.
    Never(String),
    /// Nobody can say at present.
    NotNow(String),
}

impl Unread {
    pub(crate) fn into_reason(self) -> String {
        match self {
            Unread::Never(reason) | Unread::NotNow(reason) => reason,
        }
    }
}

/// Asks a node for the schema and what stands before it, for so long at most each.
pub(crate) fn ask(
    wire: &Wire,
    node: &str,
    collection: &str,
    most: Duration,
) -> Result<Schema, Unread> {
    let get = |what: &str| {
        let url = format!("{node}/{collection}/{what}");
        wire.look_up(&url).and_then(|()| wire.get(&url, most))
    };
    let not_now = |wait: Wait| Unread::NotNow(format!("{node}: {}", wait.reason));
    let schema = judge(get("schema?wt=json&indent=off").map_err(not_now)?, node, "schema-read")?;
    let config = get("config?expandParams=true&wt=json&indent=off").map_err(not_now)?;
    let chain = match judge(config, node, "config-read") {
        Ok(config) => Some(config),
        Err(Unread::Never(_)) => None, // then nobody knows what changes the documents before
        Err(not_now) => return Err(not_now),
    };
    Schema::read(&schema, chain.as_deref()).map_err(|why| Unread::Never(format!("{node}: {why}")))
}

fn judge(reply: Reply, node: &str, right: &str) -> Result<Vec<u8>, Unread> {
    let is_json = reply.content_type.contains("json");
    match reply.status {
        200 if is_json => Ok(reply.body),
        status @ (401 | 403) => {
            Err(Unread::Never(format!("{node}: may not (HTTP {status}): give this user {right}")))
        }
        404 if !is_json => Err(Unread::NotNow(format!("{node}: {NO_COLLECTION}"))),
        status @ (200..=428 | 430..=499) => {
            Err(Unread::Never(format!("{node}: HTTP {status}, and no schema")))
        }
        status => Err(Unread::NotNow(format!("{node}: HTTP {status}"))),
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
