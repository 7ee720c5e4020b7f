//! The versions that a share's late lines were given: what is theirs is not newer than they are.
//!
//! Solr counts versions up within a millisecond, so those of one run of lines are mostly neighbours,
//! and are kept as such: from the first to the last, with the claim that their lines first had (a file
//! of rejects may hold lines of several). Where there are too many gaps the smallest are closed: what
//! another program wrote in such a moment is then taken for ours.

use std::collections::BTreeMap;

use orders::Origin;

/// So many runs of neighbours are told apart.
const MOST: usize = if cfg!(test) { 64 } else { 1 << 18 };
/// A millisecond, as Solr makes versions of its clock (org.apache.solr.update.VersionInfo).
const MS: u64 = 1 << 20;

/// A run of neighbours: the first version, the last, and the claim number of their lines.
pub(crate) type Span = (u64, u64, u64);

/// Some versions.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The last of each run of neighbours, and whose they are, by its first.
    runs: BTreeMap<u64, (u64, u64)>,
    /// Those that are not written down.
    unwritten: Vec<Span>,
}

impl Given {
    /// There was this one too, of a line of this claim.
    pub(crate) fn add(&mut self, version: u64, claim: u64) {
        if self.has(version) {
            return;
        }
        match self.unwritten.last_mut() {
            Some((_, last, of)) if *of == claim && last.checked_add(1) == Some(version) => {
                *last = version
            }
            _ => self.unwritten.push((version, version, claim)),
        }
        self.insert((version, version, claim));
    }

    /// These were written down.
    pub(crate) fn add_run(&mut self, span: Span) {
        if span.0 <= span.1 {
            self.insert(span);
        }
    }

    fn insert(&mut self, (mut first, mut last, mut claim): Span) {
        // What it meets becomes part of it; the newer of two claims is what nobody goes over by mistake.
        while let Some((at, end, of)) = self.last_before(last).filter(|(_, end, _)| *end >= first) {
            self.runs.remove(&at);
            (first, last, claim) = (first.min(at), last.max(end), claim.max(of));
        }
        if let Some((at, _, _)) = self
            .last_before(first)
            .filter(|(_, end, of)| *of == claim && end.checked_add(1) == Some(first))
        {
            first = at;
        }
        if let Some(behind) = last.checked_add(1)
            && self.runs.get(&behind).is_some_and(|(_, of)| *of == claim)
            && let Some((end, _)) = self.runs.remove(&behind)
        {
            last = end;
        }
        self.runs.insert(first, (last, claim));
        if self.runs.len() > MOST {
            let runs = std::mem::take(&mut self.runs);
            let fewer = close(runs.into_iter().map(|(first, (last, of))| (first, last, of)), MOST);
            self.runs = fewer.into_iter().map(|(first, last, of)| (first, (last, of))).collect();
        }
    }

    /// The run that begins here, or is the last to begin before.
    fn last_before(&self, version: u64) -> Option<Span> {
        let (at, (end, of)) = self.runs.range(..=version).next_back()?;
        Some((*at, *end, *of))
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, version: u64) -> bool {
        self.last_before(version).is_some_and(|(_, last, _)| version <= last)
    }

    /// All of them.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> {
        self.runs.iter().map(|(first, (last, claim))| (*first, *last, *claim))
    }

    /// Those that are not written down yet, to be written now.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.unwritten)
    }

    /// These could not be written down.
    pub(crate) fn put_back(&mut self, unwritten: Vec<Span>) {
        self.unwritten.splice(0..0, unwritten);
    }
}

/// Closes the smallest gaps, until there are no more than so many: first those between runs of one
/// claim; and if that is not enough those between two claims, and the newer of these has it all.
fn close(spans: impl Iterator<Item = Span>, most: usize) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.collect();
    let mut gap = MS;
    while spans.len() > most {
        spans = join(spans, gap, false);
        if spans.len() > most {
            spans = join(spans, gap, true);
        }
        gap = gap.saturating_mul(4);
    }
    spans
}

/// Closes the gaps that are no wider than this.
fn join(spans: Vec<Span>, gap: u64, is_over_claims: bool) -> Vec<Span> {
    let mut closed: Vec<Span> = Vec::new();
    for (first, last, claim) in spans {
        match closed.last_mut() {
            Some((_, before, of))
                if first.saturating_sub(*before) <= gap && (is_over_claims || *of == claim) =>
            {
                (*before, *of) = (last.max(*before), claim.max(*of))
            }
            _ => closed.push((first, last, claim)),
        }
    }
    closed
}

/// What all shares' late lines were given, as few runs: what lies between two of one claim is taken for
/// its own, unless it is another claim's.
pub(crate) fn origins(mut spans: Vec<Span>) -> Vec<Origin> {
    spans.sort_unstable();
    let few = close(join(spans, u64::MAX, false).into_iter(), orders::ORIGINS);
    let origin = |(lowest, highest, claim)| Origin { claim, lowest, highest };
    few.into_iter().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_again_in_whatever_order_they_came() {
        let all = [5, 7, 6, 100, 101, 4, 99, 50, u64::MAX];
        let mut given = Given::default();
        assert_eq!(given.spans().next(), None);
        all.iter().chain(&all).for_each(|version| given.add(*version, 3));
        for version in (0..110).chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(given.has(version), all.contains(&version), "{version}");
        }
        let max = u64::MAX;
        let spans: Vec<Span> = given.spans().collect();
        assert_eq!(spans, [(4, 7, 3), (50, 50, 3), (99, 101, 3), (max, max, 3)]);
        let written = given.take_unwritten();
        let mut again = Given::default();
        written.iter().for_each(|run| again.add_run(*run));
        again.add_run((3, 2, 3)); // scribbled
        assert_eq!(again.take_unwritten(), []);
        assert_eq!(again.runs, given.runs);
        given.add(102, 3);
        given.put_back(written[..1].to_vec());
        assert_eq!(given.take_unwritten(), [written[0], (102, 102, 3)]);
    }

    #[test]
    fn neighbours_of_two_claims_are_told_apart() {
        let mut given = Given::default();
        for (version, claim) in [(5, 1), (6, 3), (7, 1), (8, 1), (4, 3), (6, 1)] {
            given.add(version, claim);
        }
        let spans: Vec<Span> = given.spans().collect();
        assert_eq!(spans, [(4, 4, 3), (5, 5, 1), (6, 6, 3), (7, 8, 1)]);
        assert_eq!(given.take_unwritten(), [(5, 5, 1), (6, 6, 3), (7, 8, 1), (4, 4, 3)]);
        given.add_run((2, 6, 2));
        assert_eq!(given.spans().collect::<Vec<_>>(), [(2, 6, 3), (7, 8, 1)], "the newer has it");
    }

    #[test]
    fn of_too_many_none_is_forgotten_and_the_smallest_gaps_are_closed() {
        for claims in [1, 2] {
            let mut given = Given::default();
            given.add(1, 7);
            let all: Vec<u64> = (0..MOST as u64 * 3).map(|n| 1000 * MS + n * 2).collect();
            all.iter().for_each(|version| given.add(*version, version / 2 % claims));
            given.add(9000 * MS, 7);
            assert!(given.runs.len() <= MOST && all.iter().all(|version| given.has(*version)));
            assert!(given.has(1) && !given.has(2) && !given.has(999 * MS));
            assert!(!given.has(8000 * MS));
        }
    }

    #[test]
    fn what_all_shares_were_given_is_told_by_claim_in_few_runs() {
        let told = |spans: &[Span]| -> Vec<Span> {
            let origins = origins(spans.to_vec());
            origins.iter().map(|o| (o.lowest, o.highest, o.claim)).collect()
        };
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[(50, 60, 1), (5, 9, 1), (MS * 99, MS * 100, 1)]), [(5, MS * 100, 1)]);
        let spans = [(5, 9, 1), (30, 39, 3), (20, 29, 1), (40, 49, 1), (70, 79, 3), (12, 12, 1)];
        assert_eq!(told(&spans), [(5, 29, 1), (30, 39, 3), (40, 49, 1), (70, 79, 3)]);
        let many: Vec<Span> = (0..9_999).map(|n| (n * MS, n * MS + 5, n % 2)).collect();
        let told = told(&many);
        assert!(told.len() <= orders::ORIGINS && told[0].0 == 0);
        assert_eq!(told[told.len() - 1].1, 9_998 * MS + 5);
        assert!(told.iter().any(|(.., claim)| *claim == 1));
    }
}
