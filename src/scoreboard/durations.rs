//! How long requests took: a histogram, counted by the thread that made them and read by the monitor.

use std::sync::atomic::Ordering::Relaxed;

use crate::atomic::AtomicU64;

/// The upper ends of the buckets, in milliseconds; what takes longer is in one more.
pub const BOUNDS_MS: [u64; 13] =
    [2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];
/// So many buckets.
pub const BUCKETS: usize = BOUNDS_MS.len() + 1;
/// So many words it takes on the page: the buckets, and the sum in microseconds.
pub(crate) const WORDS: usize = BUCKETS + 1;

/// Numbers of requests by how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many, bucket by bucket.
    pub counts: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Durations {
    /// Those of both. It wraps, as all that is read of the page.
    pub fn plus(self, other: Durations) -> Durations {
        Durations {
            counts: std::array::from_fn(|n| self.counts[n].wrapping_add(other.counts[n])),
            sum_us: self.sum_us.wrapping_add(other.sum_us),
        }
    }

    pub(crate) fn read(words: &[AtomicU64]) -> Durations {
        Durations {
            counts: std::array::from_fn(|n| words[n].load(Relaxed)),
            sum_us: words[BUCKETS].load(Relaxed),
        }
    }

    /// Counts one. `words` has one writer.
    pub(crate) fn add(words: &[AtomicU64], took: std::time::Duration) {
        let us = took.as_micros() as u64;
        let bucket = BOUNDS_MS.partition_point(|bound| bound * 1_000 < us);
        for (word, more) in [(&words[bucket], 1), (&words[BUCKETS], us)] {
            word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_request_counts_in_the_first_bucket_that_holds_it() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        for us in [0, 2_000, 2_001, 60_000_000, 60_000_001] {
            Durations::add(&words, Duration::from_micros(us));
        }
        let read = Durations::read(&words);
        let mut counts = [0; BUCKETS];
        (counts[0], counts[1], counts[BUCKETS - 2], counts[BUCKETS - 1]) = (2, 1, 1, 1);
        assert_eq!(read, Durations { counts, sum_us: 120_004_002 });
        assert_eq!(read.plus(read).counts[0], 4);
    }
}
