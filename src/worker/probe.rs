//! The probe: an update without documents, posted to see whether Solr could be fed. It changes
//! nothing there.

use std::time::{Duration, Instant};

use config::Config;
use scoreboard::Trouble;

use crate::node::{Forms, Request};
use crate::receipt::judge_plain;
use crate::secrets::Credentials;
use crate::wire::Wire;

/// However little time is left, a seed has so much.
const LEAST: Duration = Duration::from_millis(100);

/// Sees whether an update would be taken: some seed answers, has the collection, and takes the
/// credentials. It tries each seed once and waits no longer than the configured times; else it
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
            Ok(()) => return Ok(()),
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

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
