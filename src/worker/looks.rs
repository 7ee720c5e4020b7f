//! What the lanes make of the cluster: when to look, whom to ask, and what follows from what is seen.

use std::sync::Arc;

use cluster::{Cluster, Collection, Layout};
use scoreboard::Trouble;
use slog::{info, warn};

use super::{ANY, Lanes};
use crate::batch::Batch;
use crate::lane::{Lane, TRY_AT_LEAST, UnderWay};
use crate::receipt::Wait;

/// The cluster is not asked more often than this, in milliseconds.
pub(super) const LOOKS_APART: u64 = 500;
/// A request that is under way for so long makes us look whether its leader still leads.
pub(super) const SLOW: u64 = 1000;
/// While there is work, the cluster is looked at again after so long: an alias may be moved, and no
/// answer would say so.
const LOOK_AGAIN: u64 = 60_000;
pub(super) const LOOK_AGAIN_ALIAS: u64 = 10_000;

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

impl Lanes {
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

    pub(super) fn has_work(&self) -> bool {
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
        self.tell_another_collection(&cluster.collection);
        self.cluster = Some(cluster);
        self.set_any();
        learnt
    }

    /// What is delivered from now on does not go where what was delivered before went.
    fn tell_another_collection(&self, now: &Collection) {
        let Some(before) = self.cluster.as_ref().map(|cluster| &cluster.collection) else { return };
        if before.name != now.name {
            info!(self.log, "the alias stands for another collection"; "now" => &now.name,
                "before" => &before.name);
        } else if before.created.is_some() && before.created != now.created {
            warn!(self.log, "the collection was deleted and made anew: what Solr has confirmed before \
                is not in it, so hand over again what is missing"; "collection" => &now.name);
        }
    }

    /// Makes the lanes of another layout; gives back what waited in the old ones.
    fn lay_out(&mut self, layout: Layout, now: u64) -> Vec<Batch> {
        let old = self.lanes.split_off(1);
        (0..=old.len()).for_each(|lane| self.turns.set_under_way(lane, 0, 0));
        self.turns.leave_every_line(now);
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
        let bytes: usize = returned.iter().map(Batch::held).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        // One shard in trouble must not take all threads.
        let most = match layout.shards.len() {
            0 | 1 => self.in_flight,
            _ => (self.in_flight - 1).max(1),
        };
        for shard in &layout.shards {
            let name = Some(shard.name.clone());
            let lane = Lane::new(name, most, self.workers, &self.retry);
            self.lanes.push(lane);
        }
        self.number += 1;
        self.climb = None;
        self.trouble_over(ANY, now);
        self.show();
        self.layout = Some(layout);
        returned
    }
}
