//! A lane: the way to one target, and how it goes on it. So far there is one lane, to any live node
//! by way of the seeds; a lane for each shard's leader comes beside it.
//!
//! All post threads of a worker share a lane, and its troubles are logged once, not by each of them
//! and not at each try.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use slog::{Logger, info, warn};

use crate::receipt::{NO_COLLECTION, Wait};

/// A trouble that lasts is told again after so many milliseconds.
const TELL_AGAIN: u64 = 30_000;

/// The way to one target.
pub(crate) struct Lane {
    seeds: Vec<Seed>,
    at: AtomicUsize,
    collection: String,
    trouble: Mutex<Option<Standing>>,
    log: Logger,
}

struct Seed {
    base: String,
    update: String,
    plain: String,
    commit: String,
}

/// A trouble that is not over.
struct Standing {
    since: u64,
    told: u64,
}

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Documents and deletes.
    Update,
    /// Nothing, to see whether it would be taken.
    Probe,
    /// A hard commit.
    Commit,
}

impl Lane {
    pub(crate) fn new(solr: &config::Solr, log: Logger) -> Lane {
        let seed = |base: &String| {
            // Whatever the collection's own defaults are, this is the form that is read.
            let plain =
                format!("{base}/{}/update?wt=json&json.nl=flat&indent=off", solr.collection);
            let within = match solr.commit {
                config::Commit::Within(time) => format!("&commitWithin={}", time.as_millis()),
                config::Commit::Delta | config::Commit::None => String::new(),
            };
            Seed {
                base: base.clone(),
                update: format!("{plain}&versions=true{within}"),
                commit: format!("{plain}&commit=true"),
                plain,
            }
        };
        Lane {
            seeds: solr.urls.iter().map(seed).collect(),
            at: AtomicUsize::new(0),
            collection: solr.collection.clone(),
            trouble: Mutex::new(None),
            log,
        }
    }

    /// How many nodes there are to try.
    pub(crate) fn seeds(&self) -> usize {
        self.seeds.len()
    }

    /// Which seed's turn it is.
    pub(crate) fn seed(&self) -> usize {
        self.at.load(Relaxed) % self.seeds.len()
    }

    pub(crate) fn url(&self, seed: usize, request: Request) -> &str {
        let seed = &self.seeds[seed];
        match request {
            Request::Update => &seed.update,
            Request::Probe => &seed.plain,
            Request::Commit => &seed.commit,
        }
    }

    /// Why a request waits, with the place it was about.
    pub(crate) fn describe(&self, seed: usize, wait: &Wait) -> String {
        let base = &self.seeds[seed].base;
        match wait.reason.as_str() {
            NO_COLLECTION => format!(
                "collection {} not found at {base}: create it or set solr.collection",
                self.collection
            ),
            reason => format!("{base}: {reason}"),
        }
    }

    /// It did not work at this seed: the next one's turn, unless another thread has seen to that.
    pub(crate) fn failed(&self, seed: usize, reason: &str, now: u64) {
        let next = (seed + 1) % self.seeds.len();
        let _ = self.at.compare_exchange(seed, next, Relaxed, Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(|e| e.into_inner());
        match &mut *trouble {
            None => {
                warn!(self.log, "Solr takes nothing, waiting"; "reason" => reason);
                *trouble = Some(Standing { since: now, told: now });
            }
            Some(t) if now.saturating_sub(t.told) >= TELL_AGAIN => {
                t.told = now;
                let away = now.saturating_sub(t.since) / 1000;
                warn!(self.log, "Solr takes nothing, waiting"; "reason" => reason, "for_s" => away);
            }
            Some(_) => {}
        }
    }

    /// It worked.
    pub(crate) fn worked(&self, now: u64) {
        let mut trouble = self.trouble.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(t) = trouble.take() {
            let away = now.saturating_sub(t.since) as f64 / 1000.0;
            info!(self.log, "Solr takes updates again"; "away_s" => format!("{away:.1}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(urls: &[&str]) -> Lane {
        let urls = urls.iter().map(|u| u.to_string()).collect();
        let config = config::Config::for_feed(urls, "offers".into()).unwrap();
        Lane::new(&config.solr, Logger::root(slog::Discard, slog::o!()))
    }

    #[test]
    fn seeds_take_turns_and_two_threads_that_failed_skip_none() {
        let lane = lane(&["http://a/solr", "http://b/solr", "http://c/solr"]);
        assert_eq!(lane.seed(), 0);
        lane.failed(0, "x", 0);
        lane.failed(0, "x", 0);
        assert_eq!(lane.seed(), 1);
        lane.failed(1, "x", 0);
        lane.failed(2, "x", 0);
        assert_eq!(lane.seed(), 0);
    }

    #[test]
    fn what_is_wrong_names_the_place_and_the_remedy() {
        let lane = lane(&["http://a/solr"]);
        assert_eq!(
            lane.describe(0, &Wait::passing("connection refused")),
            "http://a/solr: connection refused"
        );
        assert_eq!(
            lane.describe(0, &Wait::standing(NO_COLLECTION)),
            "collection offers not found at http://a/solr: create it or set solr.collection"
        );
        assert_eq!(
            lane.url(0, Request::Update),
            "http://a/solr/offers/update?wt=json&json.nl=flat&indent=off&versions=true&commitWithin=10000"
        );
    }
}
