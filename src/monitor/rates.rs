//! How fast it goes: a sample of the counts each second, for a minute.

use std::collections::VecDeque;

const MINUTE: u64 = 60_000;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: u64,
    docs: u64,
    claim: u64,
    bytes_done: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: VecDeque<Sample>,
}

impl Rates {
    /// Takes a sample at `at` monotonic milliseconds: documents and deletes confirmed so far, and
    /// how far the delta of this claim is.
    pub(crate) fn take(&mut self, at: u64, docs: u64, claim: u64, bytes_done: u64) {
        if !self.is_due(at) {
            return;
        }
        self.samples.push_back(Sample { at, docs, claim, bytes_done });
        // One older than a minute is kept, to measure from.
        while self.samples.get(1).is_some_and(|s| s.at + MINUTE <= at) {
            self.samples.pop_front();
        }
    }

    /// Whether it is time for another sample.
    pub(crate) fn is_due(&self, at: u64) -> bool {
        self.samples.back().is_none_or(|last| at >= last.at + 500)
    }

    /// Documents a second over the last `span` milliseconds, or as long as it is known.
    pub(crate) fn docs_per_s(&self, span: u64, now: u64, docs: u64) -> f64 {
        let from = now.saturating_sub(span);
        let before = self.samples.iter().rev().find(|s| s.at <= from).or(self.samples.front());
        match before {
            Some(s) if now > s.at => {
                docs.saturating_sub(s.docs) as f64 * 1000.0 / (now - s.at) as f64
            }
            _ => 0.0,
        }
    }

    /// Seconds until `bytes` are done of the delta of this claim, at the speed of the last minute.
    pub(crate) fn eta_s(&self, now: u64, claim: u64, bytes_done: u64, bytes: u64) -> Option<f64> {
        let since = self.samples.iter().find(|s| s.claim == claim)?;
        let (ms, done) = (now.checked_sub(since.at)?, bytes_done.checked_sub(since.bytes_done)?);
        let left = bytes.saturating_sub(bytes_done);
        (ms > 0 && done > 0).then(|| left as f64 * ms as f64 / done as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_over_the_span_asked_for() {
        let mut rates = Rates::default();
        for s in 0..=120 {
            // 10 documents a second for a minute, then 100.
            let docs = if s <= 60 { s * 10 } else { 600 + (s - 60) * 100 };
            rates.take(s * 1000, docs, 1, s * 50);
        }
        assert_eq!(rates.docs_per_s(10_000, 120_000, 6600), 100.0);
        assert_eq!(rates.docs_per_s(60_000, 120_000, 6600), 100.0);
        assert_eq!(rates.eta_s(120_000, 1, 6000, 7000), Some(20.0));
        assert_eq!(rates.eta_s(120_000, 2, 6000, 7000), None);
        assert!(rates.samples.len() < 70);
    }
}
