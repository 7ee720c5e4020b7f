//! How many requests a leader is given at the same time, and how many documents a second: additive
//! increase, multiplicative decrease, as TCP does it; and a bucket of tokens.

use std::time::Duration;

/// A request that took less, in milliseconds, is no sign of a leader that is overloaded.
const QUICK: f64 = 100.0;

/// The number of requests that one lane may have under way.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    allowed: f64,
    most: usize,
    /// Smoothed time of a request and its mean deviation, in milliseconds (RFC 6298).
    time: f64,
    deviation: f64,
    /// When it was last cut, monotonic milliseconds.
    cut: u64,
}

impl Flow {
    /// It begins with one and never goes beyond `most`.
    pub(crate) fn new(most: usize) -> Flow {
        Flow { allowed: 1.0, most: most.max(1), time: 0.0, deviation: 0.0, cut: 0 }
    }

    pub(crate) fn allowed(&self) -> usize {
        (self.allowed as usize).clamp(1, self.most)
    }

    /// A whole batch was answered well after `took`; `busy`: as many as allowed were under way.
    pub(crate) fn worked(&mut self, took: Duration, busy: bool, now: u64) {
        let took = took.as_secs_f64() * 1000.0;
        if self.time == 0.0 {
            (self.time, self.deviation) = (took, took / 2.0);
        }
        let slow =
            took > QUICK && took > 2.0 * self.time && took > self.time + 4.0 * self.deviation;
        if slow {
            self.cut(now);
        } else if busy {
            self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most as f64);
        }
        self.deviation += ((took - self.time).abs() - self.deviation) / 4.0;
        self.time += (took - self.time) / 8.0;
    }

    /// It was told to slow down, or did not answer. One cut for all that was under way then.
    pub(crate) fn cut(&mut self, now: u64) {
        if now.saturating_sub(self.cut) as f64 >= self.time {
            self.cut = now;
            self.allowed = (self.allowed / 2.0).max(1.0);
        }
    }

    /// A request that takes so long, in milliseconds, is stuck: it gets no company.
    pub(crate) fn stuck(&self) -> u64 {
        (8.0 * self.time).max(1000.0) as u64
    }
}

/// `max_docs_per_s`: one worker's part of it.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    per_s: f64,
    /// Documents that may be sent now; below 0 after a batch that was more.
    tokens: f64,
    at: u64,
}

impl Rate {
    /// `max` of all `workers` together; 0: no limit.
    pub(crate) fn new(max: u64, workers: u32, now: u64) -> Rate {
        Rate { per_s: max as f64 / f64::from(workers.max(1)), tokens: 0.0, at: now }
    }

    /// The most documents that one batch should have: what a second lets through.
    pub(crate) fn most_docs(&self) -> usize {
        if self.per_s > 0.0 { (self.per_s as usize).max(1) } else { usize::MAX }
    }

    /// When the next batch may be sent; `None`: now.
    pub(crate) fn wait(&mut self, now: u64) -> Option<u64> {
        if self.per_s <= 0.0 {
            return None;
        }
        let passed = now.saturating_sub(self.at) as f64 / 1000.0;
        // A tenth of a second is saved up at most: a rate, not a budget.
        self.tokens = (self.tokens + passed * self.per_s).min((self.per_s / 10.0).max(1.0));
        self.at = now;
        (self.tokens < 0.0).then(|| now + (-self.tokens / self.per_s * 1000.0).ceil() as u64)
    }

    /// So many documents were not taken after all.
    pub(crate) fn give_back(&mut self, docs: usize) {
        if self.per_s > 0.0 {
            self.tokens += docs as f64;
        }
    }

    /// So many documents are sent.
    pub(crate) fn spend(&mut self, docs: usize) {
        if self.per_s > 0.0 {
            self.tokens -= docs as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn it_grows_by_one_each_round_and_is_halved() {
        let mut flow = Flow::new(4);
        assert_eq!(flow.allowed(), 1);
        flow.worked(MS(10), false, 0);
        assert_eq!(flow.allowed(), 1, "nobody has asked for more");
        for _ in 0..20 {
            flow.worked(MS(10), true, 0);
        }
        assert_eq!(flow.allowed(), 4);
        flow.cut(1000);
        flow.cut(1001);
        assert_eq!(flow.allowed(), 2, "once for all that was under way");
        flow.cut(2000);
        flow.cut(3000);
        assert_eq!(flow.allowed(), 1);
    }

    #[test]
    fn a_leader_that_becomes_slow_gets_less_and_one_that_always_was_does_not() {
        let mut flow = Flow::new(4);
        for n in 0..40 {
            flow.worked(MS(900 + n % 3 * 50), true, n * 1000);
        }
        assert_eq!(flow.allowed(), 4);
        flow.worked(MS(9000), true, 50_000);
        assert_eq!(flow.allowed(), 2);
        let mut quick = Flow::new(4);
        (0..40).for_each(|n| quick.worked(MS(5), true, n * 10));
        quick.worked(MS(90), true, 500);
        assert_eq!(quick.allowed(), 4, "a hundredth of a second is no overload");
    }

    #[test]
    fn a_rate_is_kept_over_time_and_a_pause_saves_up_nothing() {
        let mut rate = Rate::new(1000, 2, 0);
        assert_eq!(rate.most_docs(), 500);
        let (mut now, mut sent) = (0, 0);
        while now < 60_000 {
            match rate.wait(now) {
                Some(later) => now = later.max(now + 1),
                None => {
                    rate.spend(100);
                    sent += 100;
                }
            }
        }
        assert!((29_900..=30_200).contains(&sent), "{sent}");
        let pause = now + 3_600_000;
        let mut burst = 0;
        while rate.wait(pause).is_none() {
            rate.spend(1);
            burst += 1;
        }
        assert!(burst <= 51, "{burst}");
        assert_eq!(Rate::new(0, 4, 0).wait(5), None);
        assert_eq!(Rate::new(1, 4, 0).most_docs(), 1);
    }
}
