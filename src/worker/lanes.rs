//! The lanes: one for each shard, on the way to its leader, and one to any live node for what
//! nobody but Solr can route. Each has its own queue, its own number of requests under way and its
//! own backoff, so that a sick shard stops nobody else; together they are bounded by bytes.
//!
//! No thread, no clock, no socket here: what happened goes in with its time, what to do comes out.
//! [`crate::queue`] has the lock around it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, Layout};
use scoreboard::{Trouble, Turns, WorkerCell};
use slog::{Logger, info, warn};

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::climb::Climb;
use crate::flow::{Flow, Rate};
use crate::node::{Forms, Node, Request};
use crate::receipt::Wait;

/// A trouble that lasts is told again after so many milliseconds.
const TELL_AGAIN: u64 = 30_000;
/// One that comes and goes is told so often at most.
const TELL_AT_MOST: u64 = 5_000;
/// While the cluster says that a shard's leader is up, the tries are not further apart.
const TRY_AT_LEAST: u64 = 1000;
/// The cluster is not asked more often than this, in milliseconds.
const LOOKS_APART: u64 = 500;
/// A request that is under way for so long makes us look whether its leader still leads.
const SLOW: u64 = 1000;
/// While there is work, the cluster is looked at again after so long: an alias may be moved, and no
/// answer would say so.
const LOOK_AGAIN: u64 = 60_000;
const LOOK_AGAIN_ALIAS: u64 = 10_000;
/// Between two tries of a document at which Solr itself failed, in milliseconds.
const APART: u64 = 2000;
/// So many batches may wait in a lane before it has enough.
const ENOUGH: usize = 1;

/// The lane of what nobody but Solr can route.
pub(crate) const ANY: usize = 0;

/// What is to be done, by whom it is asked for.
#[derive(Debug)]
pub(crate) enum Take {
    /// Bring this batch there.
    Batch(Batch, Ticket),
    /// Post this, which has no documents.
    Plain(Request, Ticket),
    /// Nothing before this time, if any.
    Nothing(Option<u64>),
    /// The same; or earlier, when another worker leaves a leader to us.
    Turn(Option<u64>),
}

/// Leave to post on a lane; each is given back.
#[derive(Debug)]
pub(crate) struct Ticket {
    lane: usize,
    layout: u64,
    pub(crate) node: Arc<Node>,
}

/// What became of a batch that was not finished.
#[derive(Debug)]
pub(crate) enum Back {
    /// It waits in its lane.
    Kept,
    /// It belongs elsewhere, or nowhere for now: back to where it came from.
    Returned(Batch),
}

struct Lane {
    /// `None`: any.
    shard: Option<String>,
    nodes: Vec<Arc<Node>>,
    at: usize,
    /// Tries since the last that worked.
    tries: u32,
    waiting: VecDeque<Batch>,
    /// Batches of one document each that is tried again by itself, and when.
    suspects: Vec<(u64, Batch)>,
    under_way: Vec<UnderWay>,
    /// Ours that may be under way, and what all workers' may be.
    most: usize,
    flow: Flow,
    backoff: Backoff,
    not_before: u64,
    /// It was told to slow down: nothing shortens that.
    told_to_wait: bool,
    /// How often it has taken documents.
    adds: u64,
    /// When the log was last told of a trouble; 0: never.
    told: u64,
    trouble: Option<Standing>,
}

/// A request.
struct UnderWay {
    /// The post thread on it.
    who: usize,
    since: u64,
    node: Arc<Node>,
    /// How many there were then with it, of all workers.
    at_once: usize,
}

/// A trouble that is not over.
struct Standing {
    since: u64,
    /// Whether the log was told of this one.
    is_told: bool,
    trouble: Trouble,
    reason: String,
}

/// What a look at the cluster came to.
#[derive(Debug)]
pub(crate) enum Look {
    /// This is how it is.
    Seen(Arc<Cluster>),
    /// Nobody says; any node is to pass on what it is sent, for this reason.
    Blind(String),
    /// Nobody answers, or not with the cluster's state.
    Failed { wait: Wait, reason: String },
}

/// What follows from a look.
#[derive(Debug, Default)]
pub(crate) struct Learnt {
    /// Batches that were routed by a layout that is no more.
    pub(crate) returned: Vec<Batch>,
    /// Post threads whose request goes to a node that leads no longer.
    pub(crate) cut: Vec<usize>,
}

/// All lanes of one worker.
pub(crate) struct Lanes {
    forms: Forms,
    seeds: Vec<String>,
    /// Whether the cluster's state is asked for at all.
    discovers: bool,
    in_flight: usize,
    workers: usize,
    most_bytes: usize,
    /// A batch of so many documents or bytes tells how quick a leader is.
    whole: (usize, usize),
    rate: Rate,
    /// Of the one worker that sees to it, for all.
    climb: Option<Climb>,
    retry: config::Retry,
    lanes: Vec<Lane>,
    plain: VecDeque<Request>,
    next: usize,
    bytes: usize,
    layout: Option<Layout>,
    number: u64,
    cluster: Option<Arc<Cluster>>,
    is_blind: bool,
    looked: Option<u64>,
    /// Whether the last look saw the cluster.
    saw: bool,
    asked: bool,
    /// Whether the main thread has work.
    busy: bool,
    /// Nothing is routed before the next look.
    must_look: bool,
    halted: bool,
    cell: WorkerCell,
    turns: Turns,
    log: Logger,
}

impl Lanes {
    pub(crate) fn new(config: &config::Config, turns: Turns, now: u64, log: &Logger) -> Lanes {
        let discovers = config.solr.routing == config::Routing::Leader;
        let usual = usize::try_from(config.batch.bytes).unwrap_or(usize::MAX / 16);
        let mut lanes = Lanes {
            forms: Forms::new(&config.solr),
            seeds: config.solr.urls.clone(),
            discovers,
            in_flight: (config.batch.in_flight as usize).clamp(1, scoreboard::POSTERS),
            workers: config.workers.count as usize,
            most_bytes: usual.saturating_mul(8).max(8 << 20),
            whole: (config.batch.docs as usize / 2, usual / 2),
            rate: Rate::new(config.solr.max_docs_per_s, config.workers.count, now),
            climb: None,
            retry: config.retry,
            lanes: Vec::new(),
            plain: VecDeque::new(),
            next: 0,
            bytes: 0,
            layout: None,
            number: 0,
            cluster: None,
            is_blind: !discovers,
            looked: None,
            saw: false,
            asked: false,
            busy: false,
            must_look: false,
            halted: false,
            cell: turns.cell(),
            turns,
            log: log.clone(),
        };
        let any = lanes.lane(None, lanes.in_flight);
        lanes.lanes.push(any);
        lanes.set_any();
        lanes
    }

    fn lane(&self, shard: Option<String>, most: usize) -> Lane {
        Lane {
            shard,
            nodes: Vec::new(),
            at: 0,
            tries: 0,
            waiting: VecDeque::new(),
            suspects: Vec::new(),
            under_way: Vec::new(),
            most,
            flow: Flow::new(most.saturating_mul(self.workers)),
            backoff: Backoff::new(&self.retry),
            not_before: 0,
            told_to_wait: false,
            adds: 0,
            told: 0,
            trouble: None,
        }
    }

    /// Any node: the live ones first, and never without the seeds.
    fn set_any(&mut self) {
        let live = self.cluster.iter().flat_map(|c| &c.live).filter(|_| self.discovers);
        let mut names: Vec<&String> = Vec::new();
        for name in live.chain(&self.seeds) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let nodes: Vec<_> = names.into_iter().map(|n| Arc::new(self.forms.any(n))).collect();
        let any = &mut self.lanes[ANY];
        if any.nodes != nodes {
            (any.nodes, any.at) = (nodes, 0);
        }
    }

    // --- the main thread's side -----------------------------------------------------------------

    /// The cluster whose layout is routed by, and its number. Without one, everything goes to any
    /// node.
    pub(crate) fn sight(&self) -> (u64, Option<Arc<Cluster>>) {
        (self.number, self.cluster.clone())
    }

    pub(crate) fn layout(&self) -> u64 {
        self.number
    }

    /// Whether more should be read: some lane that is well has not enough.
    pub(crate) fn has_room(&self) -> bool {
        let mut lanes = self.lanes.iter();
        !self.halted
            && self.bytes < self.most_bytes
            && match self.lanes.len() {
                1 => lanes.any(Lane::wants_more),
                _ => lanes.skip(1).any(Lane::wants_more),
            }
    }

    /// Whether it is known where documents go.
    pub(crate) fn is_known(&self) -> bool {
        (self.is_blind || self.cluster.is_some()) && !self.must_look
    }

    /// The main thread has work from now on, or none. An alias may have been moved since the last
    /// work, and no answer would say so.
    pub(crate) fn set_busy(&mut self, busy: bool, now: u64) {
        let was_busy = std::mem::replace(&mut self.busy, busy);
        let begins = busy && !was_busy;
        if let Some(climb) = self.climb.as_mut().filter(|_| busy != was_busy) {
            climb.begin_anew();
            self.turns.set_level(climb.level());
        }
        let alias = self.cluster.as_ref().is_some_and(|c| c.collection.alias);
        let old = self.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOKS_APART);
        self.must_look |= begins && alias && old;
        if !busy {
            // Whoever has work sees for himself; a trouble that nobody looks at any more is no news.
            let idle = self.lanes.iter_mut().filter(|lane| !lane.has_work());
            idle.for_each(|lane| lane.trouble = None);
            self.show();
        }
    }

    /// Whether this lane would send a batch soon.
    pub(crate) fn wants_more(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(Lane::wants_more)
    }

    pub(crate) fn most_docs(&self) -> usize {
        self.rate.most_docs()
    }

    /// Takes a batch; gives it back if it was routed by another layout.
    pub(crate) fn push(&mut self, batch: Batch) -> Back {
        if batch.layout != self.number || batch.lane >= self.lanes.len() {
            return Back::Returned(batch);
        }
        self.bytes += batch.bytes();
        self.lanes[batch.lane].waiting.push_back(batch);
        Back::Kept
    }

    pub(crate) fn push_plain(&mut self, request: Request) {
        self.plain.push_back(request);
    }

    pub(crate) fn halt(&mut self, halted: bool) {
        self.halted = halted;
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Whether anything is to be sent.
    pub(crate) fn has_more(&self) -> bool {
        let waits = |lane: &Lane| !lane.waiting.is_empty() || !lane.suspects.is_empty();
        !self.plain.is_empty() || self.lanes.iter().any(waits)
    }

    /// Whether all that is to be sent waits for its next try.
    pub(crate) fn is_backing_off(&self, now: u64) -> bool {
        let unknown = self.busy && !self.is_known() && self.looked.is_some();
        let mut waits = unknown || !self.plain.is_empty() && self.lanes[ANY].not_before > now;
        for lane in &self.lanes {
            if !lane.under_way.is_empty() {
                return false;
            }
            if !lane.waiting.is_empty() || !lane.suspects.is_empty() {
                if lane.tries == 0 {
                    return false;
                }
                waits = true;
            }
        }
        waits
    }

    // --- the post threads' side -----------------------------------------------------------------

    /// What post thread `who` is to do now. Halted, everything is handed out, for nobody to send.
    pub(crate) fn take(&mut self, who: usize, now: u64) -> Take {
        if self.halted {
            return self.take_back(who);
        }
        let mut wake = None;
        let mut others_turn = false;
        let mut later = |at: u64| wake = Some(wake.map_or(at, |w: u64| w.min(at)));
        if let Some(request) = self.plain.front().copied() {
            let any = &self.lanes[ANY];
            if any.not_before <= now {
                self.plain.pop_front();
                return Take::Plain(request, self.ticket(ANY, who, now));
            }
            later(any.not_before);
        }
        let rate = self.rate.wait(now);
        let count = self.lanes.len();
        let level = self.level();
        for n in 0..count {
            let index = (self.next + n) % count;
            let lane = &mut self.lanes[index];
            let due = lane.suspects.iter().position(|(at, _)| *at <= now);
            if lane.nodes.is_empty() || (lane.waiting.is_empty() && lane.suspects.is_empty()) {
                continue; // a look at the cluster will tell
            }
            lane.suspects.iter().map(|(at, _)| *at).filter(|at| *at > now).for_each(&mut later);
            if due.is_none() && lane.waiting.is_empty() {
                continue;
            }
            if lane.not_before > now {
                later(lane.not_before);
                continue;
            }
            if !lane.may_begin(now) {
                continue; // who is on it comes back
            }
            if !lane.has_turn(index, (level, &self.turns), now) {
                others_turn = true;
                continue;
            }
            if let Some(at) = rate {
                later(at);
                continue;
            }
            let batch = match due {
                Some(due) => Some(lane.suspects.swap_remove(due).1),
                None => lane.waiting.pop_front(),
            };
            let Some(batch) = batch else { continue };
            self.bytes = self.bytes.saturating_sub(batch.bytes());
            self.rate.spend(batch.open());
            self.next = (index + 1) % count;
            self.turns.has_begun(index, now);
            return Take::Batch(batch, self.ticket(index, who, now));
        }
        if others_turn { Take::Turn(wake) } else { Take::Nothing(wake) }
    }

    fn take_back(&mut self, who: usize) -> Take {
        if let Some(request) = self.plain.pop_front() {
            return Take::Plain(request, self.ticket(ANY, who, 0));
        }
        let suspects = self.lanes.iter_mut().find_map(|l| l.suspects.pop().map(|(_, b)| b));
        match suspects.or_else(|| self.lanes.iter_mut().find_map(|l| l.waiting.pop_front())) {
            Some(batch) => {
                self.bytes = self.bytes.saturating_sub(batch.bytes());
                Take::Batch(batch, self.ticket(ANY, who, 0))
            }
            None => Take::Nothing(None),
        }
    }

    fn ticket(&mut self, lane: usize, who: usize, now: u64) -> Ticket {
        let layout = self.number;
        let others = self.turns.of_others(lane, now);
        let at = &mut self.lanes[lane];
        let node = Arc::clone(&at.nodes[at.at % at.nodes.len()]);
        let at_once = others + at.under_way.len() + 1;
        at.under_way.push(UnderWay { who, since: now, node: Arc::clone(&node), at_once });
        self.turns.set_under_way(lane, at.under_way.len());
        Ticket { lane, layout, node }
    }

    /// The ticket's lane, if its layout still stands.
    fn at(&mut self, ticket: &Ticket) -> Option<&mut Lane> {
        let stands = ticket.layout == self.number;
        self.lanes.get_mut(ticket.lane).filter(|_| stands)
    }

    /// A request was answered well: it took so long, and was a batch of this size (0: no batch).
    pub(crate) fn worked(
        &mut self,
        ticket: &Ticket,
        who: usize,
        took: Duration,
        (docs, bytes): (usize, usize),
        now: u64,
    ) {
        self.cell.set_last_ok(now);
        let whole = docs > 0 && (docs >= self.whole.0 || bytes >= self.whole.1);
        let Some(lane) = self.at(ticket) else { return };
        let at_once = lane.under_way.iter().find(|one| one.who == who).map(|one| one.at_once);
        if let Some(at_once) = at_once.filter(|_| whole) {
            lane.flow.worked(took, at_once >= lane.flow.allowed(), now);
        }
        if docs > 0 {
            lane.adds += 1;
        }
        lane.under_way.iter_mut().filter(|one| one.who == who).for_each(|one| one.since = now);
        if lane.told_to_wait && lane.not_before > now {
            return; // it was sent before the lane was told to slow down
        }
        lane.is_well();
        let index = ticket.lane;
        self.trouble_over(index, now);
        if docs > 0 {
            self.find_level(now);
        }
    }

    /// How many requests at once a leader gets, of all workers. Before anybody has looked, two are
    /// under way to the cluster: one travels while the other is worked on.
    fn level(&self) -> usize {
        match self.turns.level() {
            0 if self.lanes.len() > 2 => 1,
            0 => 2,
            level => level,
        }
    }

    /// Sees to it that a leader gets as many requests at once as are worth it.
    fn find_level(&mut self, now: u64) {
        if !self.turns.leads() {
            return;
        }
        let lanes = self.lanes.len().saturating_sub(1).max(1);
        let level = self.level();
        let most = self.lanes.last().map_or(1, |lane| lane.most * self.workers);
        let climb = self.climb.get_or_insert_with(|| Climb::new(level, most));
        if self.lanes.iter().any(|lane| lane.tries > 0) {
            climb.begin_anew();
        } else {
            climb.observe(now, self.turns.posted(), lanes);
        }
        self.turns.set_level(climb.level());
    }

    /// The thread is done with the ticket.
    pub(crate) fn release(&mut self, ticket: &Ticket, who: usize, now: u64) {
        if let Some(lane) = self.at(ticket) {
            lane.under_way.retain(|one| one.who != who);
            let (left, has_more) = (lane.under_way.len(), !lane.waiting.is_empty());
            self.turns.set_under_way(ticket.lane, left);
            self.turns.pass_on(ticket.lane, has_more, now);
        }
    }

    /// A request was not answered as it should. `suspect`: it may be the document's fault, and is
    /// tried again by itself at this time.
    pub(crate) fn failed(
        &mut self,
        ticket: &Ticket,
        who: usize,
        batch: Option<Batch>,
        wait: &Wait,
        now: u64,
    ) -> Back {
        self.release(ticket, who, now);
        self.rate.give_back(batch.as_ref().map_or(0, Batch::open));
        let reason = ticket.node.describe(wait);
        self.cell.last_error().write(&reason);
        self.cell.set_last_trouble(now);
        self.asked |= self.discovers && wait.stale;
        let saw = self.saw;
        // What a node that leads no longer has failed at says nothing of the one that does.
        if let Some(lane) = self.at(ticket).filter(|lane| lane.nodes.contains(&ticket.node)) {
            lane.failed(&ticket.node, wait, saw, now);
            self.tell(ticket.lane, wait.trouble, reason, now);
        }
        match batch {
            Some(batch) => self.put_back(ticket, batch, None),
            None => Back::Kept,
        }
    }

    /// A post without documents is tried again.
    pub(crate) fn again(&mut self, request: Request) {
        self.plain.push_front(request);
    }

    /// Solr failed at what is left of this batch, each by itself. The lane may be well; what is left
    /// is tried again later.
    pub(crate) fn suspect(
        &mut self,
        ticket: &Ticket,
        who: usize,
        batch: Batch,
        wait: Option<&Wait>,
        now: u64,
    ) -> Back {
        self.release(ticket, who, now);
        if let Some(wait) = wait {
            let reason = ticket.node.describe(wait);
            self.cell.last_error().write(&reason);
            self.cell.set_last_trouble(now);
            if self.at(ticket).is_some_and(|lane| !lane.has_work()) {
                // Nothing else tells whether it is the document or Solr.
                self.tell(ticket.lane, wait.trouble, reason, now);
            }
        }
        self.put_back(ticket, batch, Some(now + APART))
    }

    /// How often the ticket's lane has taken documents.
    pub(crate) fn adds(&mut self, ticket: &Ticket) -> u64 {
        self.at(ticket).map_or(0, |lane| lane.adds)
    }

    fn put_back(&mut self, ticket: &Ticket, batch: Batch, due: Option<u64>) -> Back {
        if self.halted || self.at(ticket).is_none() {
            return Back::Returned(batch);
        }
        self.bytes += batch.bytes();
        let lane = &mut self.lanes[ticket.lane];
        match due {
            Some(due) => lane.suspects.push((due, batch)),
            None => lane.waiting.push_front(batch),
        }
        Back::Kept
    }

    // --- the cluster ----------------------------------------------------------------------------

    /// When the cluster is to be looked at; `None`: not before something happens.
    pub(crate) fn next_look(&self, now: u64) -> Option<u64> {
        if !self.discovers || self.halted {
            return None;
        }
        let Some(looked) = self.looked else { return Some(now) };
        let soon = looked + LOOKS_APART;
        if !self.has_work() {
            return None; // an idle worker sleeps
        }
        let ill = |lane: &Lane| match lane.nodes.is_empty() {
            true => self.busy || lane.has_work(),
            false => lane.tries > 0 && lane.has_work(),
        };
        let unseen = !self.saw && !self.is_blind;
        let no_shard = self.layout.as_ref().is_some_and(|layout| layout.shards.is_empty());
        if self.asked || self.must_look || unseen || no_shard || self.lanes.iter().any(ill) {
            return Some(soon);
        }
        let under_way = self.lanes.iter().flat_map(|lane| &lane.under_way);
        let slow = under_way.map(|one| (one.since + SLOW).max(soon)).min();
        let alias = self.cluster.as_ref().is_some_and(|c| c.collection.alias);
        let age = if alias { LOOK_AGAIN_ALIAS } else { LOOK_AGAIN };
        Some(slow.map_or(looked + age, |slow| slow.min(looked + age)))
    }

    fn has_work(&self) -> bool {
        self.busy || !self.plain.is_empty() || self.lanes.iter().any(Lane::has_work)
    }

    /// The nodes to ask, the likeliest first: who answered `last`, and at the end those that a lane
    /// has trouble with. A paused node that is asked costs seconds.
    pub(crate) fn whom_to_ask(&self, last: Option<&str>, now: u64) -> Vec<String> {
        let mut names: Vec<_> = self.lanes[ANY].nodes.iter().map(|n| n.name.clone()).collect();
        names.sort_by_key(|name| (self.has_trouble_with(name, now), Some(name.as_str()) != last));
        names
    }

    /// Whether a shard's leader is on this node, and has failed or been silent for long.
    fn has_trouble_with(&self, node: &str, now: u64) -> bool {
        self.lanes[ANY + 1..].iter().any(|lane| {
            let slow = |one: &UnderWay| now.saturating_sub(one.since) >= SLOW;
            let core_on = |name: &str| name.strip_prefix(node).is_some_and(|r| r.starts_with('/'));
            (lane.tries > 0 || lane.under_way.iter().any(slow))
                && lane.nodes.iter().any(|leader| core_on(&leader.name))
        })
    }

    /// Takes in what a look has shown.
    pub(crate) fn learn(&mut self, look: Look, now: u64) -> Learnt {
        self.looked = Some(now);
        self.asked = false;
        match look {
            Look::Seen(cluster) => self.learn_cluster(cluster, now),
            Look::Blind(reason) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    warn!(self.log, "the cluster's state cannot be read, documents go to any node";
                        "reason" => reason);
                }
                (self.saw, self.must_look) = (false, false);
                self.trouble_over(ANY, now);
                Learnt::default()
            }
            Look::Failed { .. } if !self.has_work() => {
                self.saw = false;
                Learnt::default() // nobody waits, and nobody will look again
            }
            Look::Failed { wait, reason } => {
                self.saw = false;
                self.cell.last_error().write(&reason);
                self.cell.set_last_trouble(now);
                self.tell(ANY, wait.trouble, reason, now);
                Learnt::default()
            }
        }
    }

    fn learn_cluster(&mut self, cluster: Arc<Cluster>, now: u64) -> Learnt {
        let mut learnt = Learnt::default();
        (self.is_blind, self.must_look) = (false, false);
        if !std::mem::replace(&mut self.saw, true) {
            self.lanes[ANY].wake(now);
            if self.lanes[ANY].tries == 0 {
                self.trouble_over(ANY, now);
            }
        }
        let layout = &cluster.collection.layout;
        if self.layout.as_ref() != Some(layout) {
            learnt.returned = self.lay_out(layout.clone(), now);
        }
        for (n, leader) in cluster.collection.leaders.iter().enumerate() {
            let node = leader.as_ref().map(|core| Arc::new(self.forms.leader(core)));
            let Some(lane) = self.lanes.get_mut(n + 1) else { break };
            if lane.nodes.first() != node.as_ref() {
                if node.is_some() {
                    lane.told_to_wait = false; // another was
                    lane.wake(now);
                    lane.backoff.reset();
                }
                lane.nodes = node.into_iter().collect();
            }
            // At every look: a thread may have been between two requests at the last.
            if let Some(leader) = lane.nodes.first() {
                let old = lane.under_way.iter().filter(|one| one.node != *leader);
                learnt.cut.extend(old.map(|one| one.who));
            }
            if lane.nodes.is_empty() && (self.busy || lane.has_work()) {
                let shard = lane.shard.clone().unwrap_or_default();
                let reason = format!("{shard} has no leader: see why its nodes are down");
                self.cell.last_error().write(&reason);
                self.cell.set_last_trouble(now);
                self.tell(n + 1, Trouble::Passing, reason, now);
            } else if let Some(lane) = self.lanes.get_mut(n + 1) {
                if lane.tries == 0 && !lane.has_work() && lane.trouble.is_some() {
                    self.trouble_over(n + 1, now);
                    continue;
                }
                // Its leader is up, the cluster says: no long waits.
                let passes = lane.trouble.as_ref().is_none_or(|t| t.trouble == Trouble::Passing);
                if !lane.told_to_wait && passes {
                    lane.not_before = lane.not_before.min(now + TRY_AT_LEAST);
                }
            }
        }
        self.cluster = Some(cluster);
        self.set_any();
        learnt
    }

    /// Makes the lanes of another layout; gives back what waited in the old ones.
    fn lay_out(&mut self, layout: Layout, now: u64) -> Vec<Batch> {
        let old = self.lanes.split_off(1);
        (0..=old.len()).for_each(|lane| self.turns.set_under_way(lane, 0));
        let mut returned: Vec<Batch> = Vec::new();
        for lane in old {
            returned.extend(lane.waiting);
            returned.extend(lane.suspects.into_iter().map(|(_, batch)| batch));
        }
        // What was anybody's may have a lane now.
        returned.extend(self.lanes[ANY].waiting.drain(..));
        returned.extend(self.lanes[ANY].suspects.drain(..).map(|(_, batch)| batch));
        self.lanes[ANY].under_way.clear();
        self.lanes[ANY].is_well();
        let bytes: usize = returned.iter().map(Batch::bytes).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        // One shard in trouble must not take all threads.
        let most = match layout.shards.len() {
            0 | 1 => self.in_flight,
            _ => (self.in_flight - 1).max(1),
        };
        for shard in &layout.shards {
            let lane = self.lane(Some(shard.name.clone()), most);
            self.lanes.push(lane);
        }
        self.number += 1;
        self.climb = None;
        self.trouble_over(ANY, now);
        self.show();
        self.layout = Some(layout);
        returned
    }

    // --- what is told ---------------------------------------------------------------------------

    /// A trouble of a lane, for the log (once, and again when it lasts) and the status.
    fn tell(&mut self, lane: usize, trouble: Trouble, reason: String, now: u64) {
        let Some(at) = self.lanes.get_mut(lane) else { return };
        let who = at.shard.as_deref().unwrap_or("Solr").to_owned();
        let lasts = at.trouble.as_ref().is_some_and(|t| t.is_told);
        let pause = if lasts { TELL_AGAIN } else { TELL_AT_MOST };
        let tell = at.told == 0 || now.saturating_sub(at.told) >= pause;
        let since = at.trouble.as_ref().map_or(now, |t| t.since);
        if tell {
            at.told = now.max(1);
            let away = now.saturating_sub(since) / 1000;
            warn!(self.log, "{who} takes nothing, waiting"; "reason" => &reason, "for_s" => away);
        }
        let is_told = tell || lasts;
        at.trouble = Some(Standing { since, is_told, trouble, reason });
        self.show();
    }

    fn trouble_over(&mut self, lane: usize, now: u64) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let Some(t) = lane.trouble.take() else { return };
        if t.is_told {
            let away = now.saturating_sub(t.since) as f64 / 1000.0;
            let who = lane.shard.as_deref().unwrap_or("Solr");
            info!(self.log, "{who} takes updates again"; "away_s" => format!("{away:.1}"));
        }
        self.show();
    }

    /// The worst trouble there is, on the scoreboard.
    fn show(&self) {
        let rank = |trouble: Trouble| match trouble {
            Trouble::None => 0,
            Trouble::Passing => 1,
            Trouble::Standing => 2,
        };
        let all = self.lanes.iter().filter_map(|lane| lane.trouble.as_ref());
        let worst = all.max_by_key(|t| rank(t.trouble));
        self.cell.set_trouble(worst.map_or(Trouble::None, |t| t.trouble));
        if let Some(t) = worst {
            self.cell.last_error().write(&t.reason);
        }
    }
}

impl Lane {
    fn wants_more(&self) -> bool {
        // One that is sick has enough with anything; with nothing on it, nobody would see it get well.
        let is_due = self.tries == 0 || !self.has_work();
        is_due && !self.nodes.is_empty() && self.waiting.len() < ENOUGH
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.under_way.is_empty() || !self.suspects.is_empty()
    }

    /// Whether one more of ours may be under way. In trouble it is one at a time, and beside one
    /// that is stuck there is none.
    fn may_begin(&self, now: u64) -> bool {
        let allowed = if self.tries > 0 { 1 } else { self.most };
        let stuck = self.flow.stuck();
        self.under_way.len() < allowed
            && !self.under_way.iter().any(|one| now.saturating_sub(one.since) > stuck)
    }

    /// Whether one more of all workers' may be under way, and ours is next. If not, it is said that
    /// we wait. In trouble everybody tries for himself.
    fn has_turn(&self, index: usize, (level, turns): (usize, &Turns), now: u64) -> bool {
        if self.tries > 0 || turns.is_overdue(index, now) {
            return true;
        }
        let since = match turns.waits_since(index) {
            0 => now.max(1),
            since => since,
        };
        let at_once = turns.of_others(index, now) + self.under_way.len();
        let may =
            at_once < self.flow.allowed().min(level) && !turns.is_another_first(index, since, now);
        if !may {
            turns.set_waits(index, since);
        }
        may
    }

    fn is_well(&mut self) {
        self.tries = 0;
        self.not_before = 0;
        self.told_to_wait = false;
        self.backoff.reset();
    }

    fn wake(&mut self, now: u64) {
        if !self.told_to_wait {
            self.not_before = now;
        }
    }

    fn failed(&mut self, node: &Arc<Node>, wait: &Wait, saw: bool, now: u64) {
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
        let time = self.backoff.next().max(wait.retry_after.unwrap_or(Duration::ZERO));
        let mut time = time.as_millis() as u64;
        if self.shard.is_some() && saw && !self.told_to_wait && wait.trouble == Trouble::Passing {
            time = time.min(TRY_AT_LEAST);
        }
        self.not_before = now + time;
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
