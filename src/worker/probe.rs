//! The probe: an update without documents, posted to see whether Solr could be fed. It changes
//! nothing there.

use std::time::{Duration, Instant};

use config::Config;
use scoreboard::Trouble;

use crate::node::{Forms, Request};
use crate::receipt::judge_plain;
use crate::scout;
use crate::secrets::Credentials;
use crate::wire::Wire;

/// However little time is left, a seed has so much.
const LEAST: Duration = Duration::from_millis(100);

/// Sees whether an update would be taken: some seed answers, has the collection, and takes the
/// credentials; and each shard's leader can be reached. It tries each seed once and waits no longer than the configured times; else it
/// says why, in one line with the URL and the remedy. It starts no thread.
pub fn probe(config: &Config) -> Result<(), String> {
    with(config, &Credentials::read(&config.solr)?, None)
}

/// The same, in `most` all in all if that is given: no seed waits for more than its part of what is
/// left.
pub(crate) fn with(
    config: &Config,
    credentials: &Credentials,
    most: Option<Duration>,
) -> Result<(), String> {
    let forms = Forms::new(&config.solr);
    let seeds = &config.solr.urls;
    let begin = Instant::now();
    let mut reasons = Vec::new();
    for (n, seed) in seeds.iter().enumerate() {
        let mut solr = config.solr.clone();
        if let Some(most) = most {
            let left = most.saturating_sub(begin.elapsed()) / (seeds.len() - n) as u32;
            let left = left.max(LEAST);
            solr.timeout = solr.timeout.min(left);
            solr.connect_timeout = solr.connect_timeout.min(left);
        }
        let wire = Wire::new(&solr, credentials);
        let node = forms.any(seed);
        let reply = wire.post(node.url(Request::Probe), b"[]");
        match reply.and_then(|reply| judge_plain(&reply)) {
            Ok(()) => return leaders(config, &wire, seed, &forms),
            Err(wait) => reasons.push((wait.trouble == Trouble::Passing, node.describe(&wait))),
        }
    }
    // A node that answers knows more than one that does not.
    reasons.sort_by_key(|(passing, _)| *passing);
    Err(match reasons.into_iter().next() {
        Some((true, reason)) => format!("{reason}; start Solr there, or set solr.urls"),
        Some((false, reason)) => reason,
        None => "no seeds: set solr.urls".into(),
    })
}

/// Sees whether each shard's leader can be reached from here. Its address is what the node itself
/// has registered, and that may be a name that only the cluster's own machines know.
fn leaders(config: &Config, wire: &Wire, seed: &str, forms: &Forms) -> Result<(), String> {
    if config.solr.routing == config::Routing::Any {
        return Ok(());
    }
    let Ok(cluster) = scout::ask(wire, seed, &config.solr.collection, config.solr.timeout) else {
        return Ok(()); // then documents go to any node, or wait
    };
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
