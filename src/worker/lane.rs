//! One lane, on the way to one leader (or to any node): what waits in it, what is under way, and
//! when the next may be sent.

use std::collections::VecDeque;
use std::sync::Arc;

use scoreboard::{Trouble, Turns};

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::flow::Flow;
use crate::node::Node;
use crate::receipt::Wait;

/// While the cluster says that a shard's leader is up, the tries are not further apart.
pub(crate) const TRY_AT_LEAST: u64 = 1000;
/// So many batches may wait in a lane before it has enough.
const ENOUGH: usize = 1;

/// With so many waiting, one that is well stops the reading: a leader that is a little slower than
/// the others would else fill the memory.
const PLENTY: usize = 4;

/// One lane.
pub(crate) struct Lane {
    /// `None`: any.
    pub(crate) shard: Option<String>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) at: usize,
    /// Tries since the last that worked.
    pub(crate) tries: u32,
    pub(crate) waiting: VecDeque<Batch>,
    /// Batches of one document each that is tried again by itself, and when.
    pub(crate) suspects: Vec<(u64, Batch)>,
    pub(crate) under_way: Vec<UnderWay>,
    /// So many of ours may be under way, at most.
    pub(crate) most: usize,
    /// And so many of all workers'.
    pub(crate) flow: Flow,
    pub(crate) backoff: Backoff,
    pub(crate) not_before: u64,
    /// It was told to slow down: nothing shortens that.
    pub(crate) told_to_wait: bool,
    /// When the log was last told of a trouble; 0: never.
    pub(crate) told: u64,
    pub(crate) trouble: Option<Standing>,
}

/// A request.
pub(crate) struct UnderWay {
    /// The post thread on it.
    pub(crate) who: usize,
    pub(crate) since: u64,
    pub(crate) node: Arc<Node>,
    /// How many there were then with it, of all workers.
    pub(crate) at_once: usize,
}

/// A trouble that is not over.
pub(crate) struct Standing {
    pub(crate) since: u64,
    /// Whether the log was told of this one.
    pub(crate) is_told: bool,
    pub(crate) trouble: Trouble,
    pub(crate) reason: String,
}

impl Lane {
    /// `shard`'s lane, or anybody's. `most`: requests of ours at the same time, of so many `workers`.
    pub(crate) fn new(
        shard: Option<String>,
        most: usize,
        workers: usize,
        retry: &config::Retry,
    ) -> Lane {
        Lane {
            shard,
            nodes: Vec::new(),
            at: 0,
            tries: 0,
            waiting: VecDeque::new(),
            suspects: Vec::new(),
            under_way: Vec::new(),
            most,
            flow: Flow::new(most.saturating_mul(workers)),
            backoff: Backoff::new(retry),
            not_before: 0,
            told_to_wait: false,
            told: 0,
            trouble: None,
        }
    }

    pub(crate) fn wants_more(&self) -> bool {
        // One that is sick has enough with anything; with nothing on it, nobody would see it get well.
        let is_due = self.tries == 0 || !self.has_work();
        is_due && !self.nodes.is_empty() && self.waiting.len() < ENOUGH
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.under_way.is_empty() || !self.suspects.is_empty()
    }

    /// Whether one more of ours may be under way. In trouble it is one at a time, and beside one
    /// that is stuck there is none.
    pub(crate) fn may_begin(&self, now: u64) -> bool {
        let allowed = if self.tries > 0 { 1 } else { self.most };
        self.under_way.len() < allowed && !self.is_stuck(now)
    }

    fn is_stuck(&self, now: u64) -> bool {
        let stuck = self.flow.stuck();
        self.under_way.iter().any(|one| now.saturating_sub(one.since) > stuck)
    }

    /// Whether more for it would only lie about. One that is sick stops nobody else.
    pub(crate) fn has_plenty(&self, now: u64) -> bool {
        let is_well = self.tries == 0 && !self.nodes.is_empty() && !self.is_stuck(now);
        is_well && self.waiting.len() >= PLENTY
    }

    /// Whether one more of all workers' may be under way, and ours is next. If not, it is said that
    /// we wait. In trouble everybody tries for himself.
    pub(crate) fn has_turn(&self, index: usize, (level, turns): (usize, &Turns), now: u64) -> bool {
        let tries = self.tries > 0 && !self.told_to_wait;
        if tries || turns.is_overdue(index, now) {
            return true;
        }
        let since = match turns.waits_since(index) {
            0 => now.max(1),
            since => since,
        };
        let at_once = turns.of_others(index, self.flow.stuck(), now) + self.under_way.len();
        let may =
            at_once < self.flow.allowed().min(level) && !turns.is_another_first(index, since, now);
        if !may {
            turns.set_waits(index, since);
        }
        may
    }

    /// Since when its oldest request is under way; 0: there is none.
    pub(crate) fn begun(&self) -> u64 {
        self.under_way.iter().map(|one| one.since).min().unwrap_or(0)
    }

    pub(crate) fn is_well(&mut self) {
        self.tries = 0;
        self.not_before = 0;
        self.told_to_wait = false;
        self.backoff.reset();
    }

    pub(crate) fn wake(&mut self, now: u64) {
        if !self.told_to_wait {
            self.not_before = now;
        }
    }

    pub(crate) fn failed(&mut self, node: &Arc<Node>, wait: &Wait, saw: bool, now: u64) {
        self.flow.cut(now);
        self.tries += 1;
        // The next node's turn, unless another thread has seen to that.
        if self.nodes.get(self.at % self.nodes.len().max(1)) == Some(node) {
            self.at = (self.at + 1) % self.nodes.len().max(1);
        }
        self.told_to_wait = wait.retry_after.is_some() || wait.overload;
        // The other nodes first; only then there is a reason to wait.
        if self.tries as usize % self.nodes.len().max(1) != 0 && !self.told_to_wait {
            return;
        }
        let mut time = self.backoff.next();
        if let Some(told) = wait.retry_after {
            // Not sooner; and not all workers in the same moment.
            time = time.max(told + time.min(told / 4));
        }
        let mut time = time.as_millis() as u64;
        if self.shard.is_some() && saw && !self.told_to_wait && wait.trouble == Trouble::Passing {
            time = time.min(TRY_AT_LEAST);
        }
        self.not_before = now + time;
    }
}
