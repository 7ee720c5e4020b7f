//! The lanes: one for each shard, on the way to its leader, and one to any live node for what
//! nobody but Solr can route. Each has its own queue, its own number of requests under way and its
//! own backoff, so that a sick shard stops nobody else; together they are bounded by bytes.
//!
//! No thread, no clock, no socket here: what happened goes in with its time, what to do comes out.
//! [`crate::queue`] has the lock around it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, Layout};
use scoreboard::{Trouble, Turns, WorkerCell};
use slog::{Logger, info, warn};

use crate::batch::Batch;
use crate::climb::Climb;
use crate::flow::Rate;
use crate::lane::{Lane, Standing, UnderWay};
use crate::node::{Errand, Forms, Node};
use crate::receipt::Wait;
use looks::LOOKS_APART;

pub(crate) use looks::{Learnt, Look};

/// A trouble that lasts is told again after so many milliseconds.
const TELL_AGAIN: u64 = 30_000;
/// One that comes and goes is told so often at most.
const TELL_AT_MOST: u64 = 5_000;
/// Between two tries of a document at which Solr itself failed, in milliseconds.
const APART: u64 = 2000;

/// The lane of what nobody but Solr can route.
pub(crate) const ANY: usize = 0;

/// What is to be done, by whom it is asked for.
#[derive(Debug)]
pub(crate) enum Take {
    /// Bring this batch there.
    Batch(Batch, Ticket),
    /// Post this, which has no documents.
    Plain(Errand, Ticket),
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
#[expect(clippy::large_enum_variant, reason = "handed on at once, never kept")]
pub(crate) enum Back {
    /// It waits in its lane.
    Kept,
    /// It belongs elsewhere, or nowhere for now: back to where it came from.
    Returned(Batch),
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
    plain: VecDeque<Errand>,
    /// The post threads that have a ticket, of whatever layout.
    on_it: BTreeSet<usize>,
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
            on_it: BTreeSet::new(),
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
        let any = Lane::new(None, lanes.in_flight, lanes.workers, &lanes.retry);
        lanes.lanes.push(any);
        lanes.set_any();
        lanes
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
    pub(crate) fn has_room(&self, now: u64) -> bool {
        let mut lanes = self.lanes.iter();
        !self.halted
            && self.bytes < self.most_bytes
            && !self.lanes.iter().any(|lane| lane.has_plenty(now))
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
        self.bytes += batch.held();
        self.lanes[batch.lane].waiting.push_back(batch);
        Back::Kept
    }

    pub(crate) fn push_plain(&mut self, errand: Errand) {
        self.plain.push_back(errand);
    }

    pub(crate) fn halt(&mut self, halted: bool, now: u64) {
        self.halted = halted;
        self.turns.leave_every_line(now);
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
        if !self.plain.is_empty() {
            let any = &self.lanes[ANY];
            if any.not_before <= now {
                if let Some(errand) = self.plain.pop_front() {
                    return Take::Plain(errand, self.ticket(ANY, who, now));
                }
            }
            later(self.lanes[ANY].not_before);
        }
        let rate = self.rate.wait(now);
        let count = self.lanes.len();
        let level = self.level();
        for n in 0..count {
            let index = (self.next + n) % count;
            let lane = &mut self.lanes[index];
            let due = lane.suspects.iter().position(|(at, _)| *at <= now);
            lane.suspects.iter().map(|(at, _)| *at).filter(|at| *at > now).for_each(&mut later);
            // Without nodes a look at the cluster will tell, and who is under way comes back.
            let has_work = due.is_some() || !lane.waiting.is_empty();
            let may_begin = has_work && !lane.nodes.is_empty() && lane.may_begin(now);
            let not_before = rate.unwrap_or(0).max(lane.not_before);
            if !may_begin || not_before > now {
                // (With more lanes than are told apart, it would be another's place in line.)
                if count <= scoreboard::LANES {
                    self.turns.leave_line(index, now);
                }
                if may_begin {
                    later(not_before);
                }
                continue;
            }
            if !lane.has_turn(index, (level, &self.turns), now) {
                others_turn = true;
                continue;
            }
            let batch = match due {
                Some(due) => Some(lane.suspects.swap_remove(due).1),
                None => lane.waiting.pop_front(),
            };
            let Some(batch) = batch else { continue };
            self.bytes = self.bytes.saturating_sub(batch.held());
            self.rate.spend(batch.open());
            self.next = (index + 1) % count;
            return Take::Batch(batch, self.ticket(index, who, now));
        }
        if others_turn { Take::Turn(wake) } else { Take::Nothing(wake) }
    }

    fn take_back(&mut self, who: usize) -> Take {
        if let Some(errand) = self.plain.pop_front() {
            return Take::Plain(errand, self.ticket(ANY, who, 0));
        }
        let suspects = self.lanes.iter_mut().find_map(|l| l.suspects.pop().map(|(_, b)| b));
        match suspects.or_else(|| self.lanes.iter_mut().find_map(|l| l.waiting.pop_front())) {
            Some(batch) => {
                self.bytes = self.bytes.saturating_sub(batch.held());
                Take::Batch(batch, self.ticket(ANY, who, 0))
            }
            None => Take::Nothing(None),
        }
    }

    fn ticket(&mut self, lane: usize, who: usize, now: u64) -> Ticket {
        let layout = self.number;
        let at = &mut self.lanes[lane];
        let others = self.turns.of_others(lane, at.flow.stuck(), now);
        let node = Arc::clone(&at.nodes[at.at % at.nodes.len()]);
        let at_once = others + at.under_way.len() + 1;
        at.under_way.push(UnderWay { who, since: now, node: Arc::clone(&node), at_once });
        self.turns.set_under_way(lane, at.under_way.len(), at.begun());
        self.on_it.insert(who);
        self.turns.has_begun(lane, self.on_it.len() >= self.in_flight, now);
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
        lane.under_way.iter_mut().filter(|one| one.who == who).for_each(|one| one.since = now);
        let (count, begun) = (lane.under_way.len(), lane.begun());
        self.turns.set_under_way(ticket.lane, count, begun);
        let Some(lane) = self.at(ticket) else { return };
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
        self.on_it.remove(&who);
        if let Some(lane) = self.at(ticket) {
            lane.under_way.retain(|one| one.who != who);
            let (left, has_more) = (lane.under_way.len(), !lane.waiting.is_empty());
            let begun = lane.begun();
            self.turns.set_under_way(ticket.lane, left, begun);
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
    pub(crate) fn again(&mut self, errand: Errand) {
        self.plain.push_front(errand);
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

    /// How often the ticket's node has taken documents, of any worker.
    /// It has taken documents. (Deletes are no witness: what an update chain needs for documents may be
    /// away while they pass.)
    pub(crate) fn has_added(&self, ticket: &Ticket) {
        self.turns.has_added(&ticket.node.name);
    }

    pub(crate) fn adds(&self, ticket: &Ticket) -> u64 {
        self.turns.adds(&ticket.node.name)
    }

    fn put_back(&mut self, ticket: &Ticket, batch: Batch, due: Option<u64>) -> Back {
        if self.halted || self.at(ticket).is_none() {
            return Back::Returned(batch);
        }
        self.bytes += batch.held();
        let lane = &mut self.lanes[ticket.lane];
        match due {
            Some(due) => lane.suspects.push((due, batch)),
            None => lane.waiting.push_front(batch),
        }
        Back::Kept
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
            let away = (now.saturating_sub(t.since) as f64 / 100.0).round() / 10.0;
            match &lane.shard {
                Some(shard) => info!(self.log, "{shard} takes updates again"; "away_s" => away),
                // Where its shards are known, they speak for themselves.
                None if self.discovers && !self.is_blind => {
                    info!(self.log, "Solr answers again"; "away_s" => away);
                }
                None => info!(self.log, "Solr takes updates again"; "away_s" => away),
            }
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

#[path = "looks.rs"]
mod looks;

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
