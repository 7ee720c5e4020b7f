//! The scout: a thread that looks how the cluster is, when there is a reason to, so that documents
//! find their shard's leader. It never posts and judges no document.
//!
//! Any node that answers is good enough. What it has seen goes to the lanes, and where a request is
//! under way to a node that leads no longer (a paused one answers nothing, for minutes), it is cut.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use cluster::{Cluster, Unread};
use scoreboard::LeadersCell;
use slog::{Logger, debug, info};

use crate::lanes::Look;
use crate::post::Answer;
use crate::queue::Queue;
use crate::receipt::{NO_COLLECTION, Reply, Wait, credentials_not_taken};
use crate::wire::{Breaker, Wire};

/// A node that has not answered by then is not asked further; the next one is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The scout's own things.
pub(crate) struct Scout {
    pub(crate) queue: Arc<Queue>,
    pub(crate) wire: Wire,
    pub(crate) collection: String,
    /// Of each post thread.
    pub(crate) breakers: Vec<Breaker>,
    pub(crate) answers: Sender<Answer>,
    /// Where it is told who leads, by one of the workers.
    pub(crate) leaders: Option<LeadersCell>,
    pub(crate) log: Logger,
    /// Who answered last.
    pub(crate) last: Option<String>,
}

impl Scout {
    /// The thread's whole life.
    pub(crate) fn run(mut self) {
        let (answers, queue) = (self.answers.clone(), Arc::clone(&self.queue));
        let life = std::panic::AssertUnwindSafe(|| {
            loop {
                let nodes = self.queue.wait_for_a_look(self.last.as_deref());
                let look = self.look(nodes);
                self.teach(look);
            }
        });
        if std::panic::catch_unwind(life).is_err() {
            let _ = answers.send(Answer::Broken);
            queue.wake_main();
        }
    }

    fn teach(&mut self, look: Look) {
        if let (Look::Seen(cluster), Some(cell)) = (&look, self.leaders) {
            cell.write(leaders(cluster));
        }
        let learnt = self.queue.learn(look);
        for who in learnt.cut {
            info!(self.log, "a request is given up: its node leads no longer");
            self.breakers.get(who).into_iter().for_each(Breaker::cut);
        }
        for batch in learnt.returned {
            let _ = self.answers.send(Answer::Batch(batch));
        }
        self.queue.wake_main();
    }

    /// Asks one node after the other until one knows.
    fn look(&mut self, nodes: Vec<String>) -> Look {
        let mut failed = None;
        let mut blind = None;
        for node in nodes {
            match ask(&self.wire, &node, &self.collection, PATIENCE) {
                Ok(cluster) => {
                    self.last = Some(node);
                    return Look::Seen(Arc::new(cluster));
                }
                Err(Fault::Blind(reason)) => blind = blind.or(Some(reason)),
                Err(Fault::Wait(wait, reason)) => {
                    debug!(self.log, "no word about the cluster"; "reason" => &reason);
                    // A node that answers knows more than one that does not.
                    let standing = wait.trouble == scoreboard::Trouble::Standing;
                    if failed.is_none() || standing {
                        failed = Some((wait, reason));
                    }
                }
            }
        }
        match (blind, failed) {
            (Some(reason), _) => Look::Blind(reason),
            (None, Some((wait, reason))) => Look::Failed { wait, reason },
            (None, None) => {
                let reason = "no node to ask: set solr.urls".to_owned();
                Look::Failed { wait: Wait::standing(reason.clone()), reason }
            }
        }
    }
}

/// Asks a node for the cluster's state, for so long at most.
pub(crate) fn ask(
    wire: &Wire,
    node: &str,
    collection: &str,
    most: Duration,
) -> Result<Cluster, Fault> {
    let url =
        format!("{node}/admin/collections?action=CLUSTERSTATUS&collection={collection}&wt=json");
    let told = |wait: Wait| {
        let reason = match wait.reason.as_str() {
            NO_COLLECTION => format!(
                "collection {collection} not found at {node}: create it or set solr.collection"
            ),
            reason => format!("{node}: {reason}"),
        };
        Fault::Wait(wait, reason)
    };
    let reply = wire.look_up(&url).and_then(|()| wire.get(&url, most));
    read(&reply.map_err(told)?, collection).map_err(|fault| match fault {
        Fault::Wait(wait, _) => told(wait),
        Fault::Blind(reason) => Fault::Blind(format!("{node}: {reason}")),
    })
}

/// Why a node's answer is no cluster's state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody will say: not this user, or there is no cluster.
    Blind(String),
    /// Nobody can say at present, in words for people.
    Wait(Wait, String),
}

fn read(reply: &Reply, collection: &str) -> Result<Cluster, Fault> {
    let wait = |wait: Wait| Err(Fault::Wait(wait, String::new()));
    let json = reply.content_type.contains("json");
    match (reply.status, cluster::read(&reply.body, collection)) {
        (401, _) => wait(Wait::standing(credentials_not_taken(""))),
        (403, _) => Err(Fault::Blind(
            "may not read the cluster's state (HTTP 403): give this user collection-admin-read, \
             and documents go straight to their leaders"
                .into(),
        )),
        (404, _) => Err(Fault::Blind(
            "no cluster's state here (HTTP 404): name Solr itself in solr.urls, and documents go \
             straight to their leaders"
                .into(),
        )),
        (200, Ok(cluster)) => Ok(cluster),
        (200 | 400, Err(Unread::NoCollection)) => wait(Wait::standing(NO_COLLECTION)),
        (_, Err(Unread::NotCloud)) => Err(Fault::Blind("this Solr is no SolrCloud".into())),
        (status, _) if !json || status != 200 => wait(Wait::passing(format!("HTTP {status}"))),
        (_, Err(Unread::Other(why))) => wait(Wait::passing(why)),
        (status, _) => wait(Wait::passing(format!("HTTP {status}"))),
    }
}

/// The shards' names and their leaders.
fn leaders(cluster: &Cluster) -> impl Iterator<Item = (&str, &str)> {
    let collection = &cluster.collection;
    let shards = collection.layout.shards.iter().zip(&collection.leaders);
    shards.filter_map(|(shard, leader)| Some((shard.name.as_str(), leader.as_deref()?)))
}
