//! The probe: an update without documents, posted to see whether Solr could be fed; and all that can be
//! seen before there is one. It changes nothing there.

use std::time::{Duration, Instant};

use cluster::Cluster;
use config::Config;
use scoreboard::Trouble;

use crate::node::{Forms, Node, Request};
use crate::receipt::{Wait, judge_plain};
use crate::schema;
use crate::scout;
use crate::secrets::Credentials;
use crate::wire::Wire;

/// However little time is left, a seed has so much.
const LEAST: Duration = Duration::from_millis(100);

/// Sees whether an update would be taken: some seed answers, has the collection, and takes the
/// credentials; and each shard's leader can be reached. It tries each seed once, all in all for `most`: no
/// seed waits for more than its part of what is left. Else it says why, in one line with the URL and the
/// remedy. It starts no thread.
pub(crate) fn probe(
    config: &Config,
    credentials: &Credentials,
    most: Duration,
) -> Result<(), String> {
    let forms = Forms::new(&config.solr);
    let seeds = &config.solr.urls;
    let begin = Instant::now();
    let mut reasons = Vec::new();
    for (n, seed) in seeds.iter().enumerate() {
        let mut solr = config.solr.clone();
        let left = most.saturating_sub(begin.elapsed()) / (seeds.len() - n) as u32;
        let left = left.max(LEAST);
        solr.timeout = solr.timeout.min(left);
        solr.connect_timeout = solr.connect_timeout.min(left);
        let wire = Wire::new(&solr, credentials);
        let node = forms.any(seed);
        let reply = wire.post(node.url(Request::Probe), b"[]");
        match reply.and_then(|reply| judge_plain(&reply)) {
            Ok(()) => return leaders(config, &wire, seed, &forms),
            Err(wait) => reasons.push((wait.trouble == Trouble::Passing, in_words(&node, &wait))),
        }
    }
    // A node that answers knows more than one that does not.
    reasons.sort_by_key(|(passing, _)| *passing);
    let reason = reasons.into_iter().next();
    Err(reason.map_or_else(|| "no seeds: set solr.urls".into(), |(_, reason)| reason))
}

/// What `check --solr` has seen.
pub struct Survey {
    /// Seeds that take no updates, by their URLs, each with why; others do.
    pub dead: Vec<(String, String)>,
    /// The shard with the fewest replicas that take updates, and how many; where that can be read.
    pub replicas: Option<(String, usize)>,
    /// The schema, or why it cannot be read.
    pub schema: Result<convert::Schema, String>,
}

/// Whoever stands at a terminal waits no longer for one node.
const PATIENCE: Duration = Duration::from_secs(4);

/// Looks at all that there is to see before the first document: every seed, each shard's leader, the schema.
/// Where no seed takes updates, or a leader cannot be reached, it says why, in a line for each.
pub fn survey(config: &Config) -> Result<Survey, Vec<String>> {
    let credentials = Credentials::read(&config.solr).map_err(|why| vec![why])?;
    let mut solr = config.solr.clone();
    solr.timeout = solr.timeout.min(PATIENCE);
    solr.connect_timeout = solr.connect_timeout.min(PATIENCE);
    let forms = Forms::new(&solr);
    let wire = Wire::new(&solr, &credentials);
    let (mut dead, mut answering) = (Vec::new(), Vec::new());
    let mut seed = None;
    for url in &solr.urls {
        let node = forms.any(url);
        let probe = node.url(Request::Probe);
        let reply = wire.look_up(probe).and_then(|()| wire.post(probe, b"[]"));
        match reply.and_then(|reply| judge_plain(&reply)) {
            Ok(()) => seed = seed.or(Some(url)),
            Err(wait) => {
                if wait.trouble == Trouble::Standing {
                    answering.push(url);
                }
                dead.push((url.clone(), in_words(&node, &wait)));
            }
        }
    }
    let ask = |url: &String| scout::ask(&wire, url, &solr.collection, PATIENCE).ok();
    let cluster = seed.or(answering.first().copied()).and_then(ask);
    if cluster.as_ref().is_some_and(|cluster| cluster.collection.read_only) {
        let told = "is read-only, so every update is answered 403: set its readOnly to false";
        return Err(vec![format!("collection {} {told}", solr.collection)]);
    }
    let Some(seed) = seed else { return Err(dead.into_iter().map(|(_, why)| why).collect()) };
    if let Some(cluster) = &cluster {
        reach_leaders(config, &wire, cluster, &forms).map_err(|why| vec![why])?;
    }
    let replicas = cluster.and_then(|cluster| {
        let collection = cluster.collection;
        let shards = collection.layout.shards.into_iter().zip(collection.replicas);
        shards.map(|(shard, count)| (shard.name, count)).min_by_key(|(_, count)| *count)
    });
    let schema = schema::ask(&wire, seed, &solr.collection, PATIENCE);
    Ok(Survey { dead, replicas, schema: schema.map_err(schema::Unread::into_reason) })
}

/// Why a seed takes no updates, and what to do.
fn in_words(node: &Node, wait: &Wait) -> String {
    match wait.trouble {
        Trouble::Passing => {
            format!("{}; start Solr there, or set solr.urls", node.describe(wait))
        }
        _ => node.describe(wait),
    }
}

/// Sees whether each shard's leader can be reached from here.
fn leaders(config: &Config, wire: &Wire, seed: &str, forms: &Forms) -> Result<(), String> {
    if config.solr.routing == config::Routing::Any {
        return Ok(());
    }
    match scout::ask(wire, seed, &config.solr.collection, config.solr.timeout) {
        Ok(cluster) => reach_leaders(config, wire, &cluster, forms),
        Err(_) => Ok(()), // then documents go to any node, or wait
    }
}

/// The same, of a cluster that was seen. A leader's address is what the node itself
/// has registered, and that may be a name that only the cluster's own machines know.
fn reach_leaders(
    config: &Config,
    wire: &Wire,
    cluster: &Cluster,
    forms: &Forms,
) -> Result<(), String> {
    if config.solr.routing == config::Routing::Any {
        return Ok(());
    }
    for core in cluster.collection.leaders.iter().flatten() {
        let node = forms.leader(core);
        let url = node.url(Request::Probe);
        if let Err(wait) = wire.look_up(url).and_then(|()| wire.post(url, b"[]")) {
            return Err(format!(
                "{}; the cluster says that it leads a shard: make it reachable from here, or set \
                 solr.routing = \"any\"",
                node.describe(&wait)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
