//! The versions that a share's late lines were given: what is theirs is not newer than they are.
//!
//! Solr counts versions up within a millisecond, so those of one run of lines are mostly neighbours,
//! and are kept as such: from the first to the last. Where there are too many gaps the smallest are
//! closed: what another program wrote in such a moment is then taken for ours.

use std::collections::BTreeMap;

/// So many runs of neighbours are told apart.
const MOST: usize = if cfg!(test) { 64 } else { 1 << 18 };
/// A millisecond, as Solr makes versions of its clock (org.apache.solr.update.VersionInfo).
const MS: u64 = 1 << 20;

/// Some versions.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The last of each run of neighbours, by its first.
    runs: BTreeMap<u64, u64>,
    /// Those that are not written down.
    unwritten: Vec<(u64, u64)>,
}

impl Given {
    /// There was this one too.
    pub(crate) fn add(&mut self, version: u64) {
        if self.has(version) {
            return;
        }
        match self.unwritten.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(version) => *last = version,
            _ => self.unwritten.push((version, version)),
        }
        self.insert(version, version);
    }

    /// These were written down.
    pub(crate) fn add_run(&mut self, (first, last): (u64, u64)) {
        if first <= last {
            self.insert(first, last);
        }
    }

    fn insert(&mut self, mut first: u64, mut last: u64) {
        // What begins within it, or right behind it, becomes part of it; and it of what ends there.
        while let Some((at, end)) = self.runs.range(..=last.saturating_add(1)).next_back() {
            let (at, end) = (*at, *end);
            if end.saturating_add(1) < first {
                break;
            }
            self.runs.remove(&at);
            (first, last) = (first.min(at), last.max(end));
        }
        self.runs.insert(first, last);
        let mut gap = MS;
        while self.runs.len() > MOST {
            self.close(gap);
            gap = gap.saturating_mul(4);
        }
    }

    /// Closes the gaps that are no wider than this.
    fn close(&mut self, gap: u64) {
        let mut closed: Vec<(u64, u64)> = Vec::new();
        for (first, last) in std::mem::take(&mut self.runs) {
            match closed.last_mut() {
                Some((_, before)) if first - *before <= gap => *before = last,
                _ => closed.push((first, last)),
            }
        }
        self.runs = closed.into_iter().collect();
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, version: u64) -> bool {
        self.runs.range(..=version).next_back().is_some_and(|(_, last)| version <= *last)
    }

    /// The lowest and the highest.
    pub(crate) fn ends(&self) -> Option<(u64, u64)> {
        let (first, _) = self.runs.first_key_value()?;
        let (_, last) = self.runs.last_key_value()?;
        Some((*first, *last))
    }

    /// Those that are not written down yet, to be written now.
    pub(crate) fn take_unwritten(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.unwritten)
    }

    /// These could not be written down.
    pub(crate) fn put_back(&mut self, unwritten: Vec<(u64, u64)>) {
        self.unwritten.splice(0..0, unwritten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_again_in_whatever_order_they_came() {
        let all = [5, 7, 6, 100, 101, 4, 99, 50, u64::MAX];
        let mut given = Given::default();
        assert_eq!(given.ends(), None);
        all.iter().chain(&all).for_each(|version| given.add(*version));
        for version in (0..110).chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(given.has(version), all.contains(&version), "{version}");
        }
        assert_eq!(given.runs.len(), 4);
        assert_eq!(given.ends(), Some((4, u64::MAX)));
        let written = given.take_unwritten();
        let mut again = Given::default();
        written.iter().for_each(|run| again.add_run(*run));
        again.add_run((3, 2)); // scribbled
        assert_eq!(again.take_unwritten(), []);
        assert_eq!(again.runs, given.runs);
        given.add(102);
        given.put_back(written[..1].to_vec());
        assert_eq!(given.take_unwritten(), [written[0], (102, 102)]);
    }

    #[test]
    fn of_too_many_none_is_forgotten_and_the_smallest_gaps_are_closed() {
        let mut given = Given::default();
        given.add(1);
        let all: Vec<u64> = (0..MOST as u64 * 3).map(|n| 1000 * MS + n * 2).collect();
        all.iter().for_each(|version| given.add(*version));
        given.add(9000 * MS);
        assert!(given.runs.len() <= MOST && all.iter().all(|version| given.has(*version)));
        assert!(given.has(1) && !given.has(2) && !given.has(999 * MS) && !given.has(8000 * MS));
    }
}
