//! How long to wait before the next try: exponential, with full jitter, bounded. It only says how
//! long; whoever waits does so where leaving can interrupt it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The waits between the tries of one thing, each from a wider range than the one before.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) fn new(retry: &config::Retry) -> Backoff {
        Backoff { first: retry.first, most: retry.most, tries: 0 }
    }

    /// The next wait: anything from a tenth of the bound up to the bound. Workers that lost Solr at
    /// the same moment must not come back at the same moment.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.tries = self.tries.saturating_add(1);
        bound.mul_f64(0.1 + 0.9 * dice())
    }

    fn bound(&self) -> Duration {
        self.first.saturating_mul(1 << self.tries.min(24)).min(self.most)
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A number from 0 to 1. The standard library's hash keys are random in every thread, which is all
/// the chance that jitter needs.
fn dice() -> f64 {
    RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_most_and_differ() {
        let (first, most) = (Duration::from_millis(200), Duration::from_secs(30));
        let mut backoff = Backoff::new(&config::Retry { first, most });
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits[0] <= first && waits[1] <= 2 * first && waits[2] <= 4 * first);
        assert!(waits.iter().all(|w| *w <= most && *w >= first / 10));
        assert!(waits[100..].iter().any(|w| *w > most / 2));
        assert!(waits[100..].iter().any(|w| *w < most / 2));
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
