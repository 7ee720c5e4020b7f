//! Documents of which nobody can be sure: a request with them was given up, and what a leader that was
//! paused, or a dead worker's last words, may still do to them no client can prevent. So before their
//! share is in, Solr is asked what version they have, and what is not what the last receipt said is
//! sent again.

use std::collections::{HashMap, VecDeque};

use crate::batch::Kind;

/// So many are kept in mind. (Each request that is given up adds as many as a batch has.)
const MOST: usize = 1 << 18;

/// The last line of a doubtful document that Solr has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Its index, and where it begins.
    pub(crate) line: u64,
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
    /// As the receipt had it; 0: it did not say.
    pub(crate) version: i64,
}

/// The doubtful documents of a share, by their names in Solr's receipts.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    last: HashMap<Box<str>, Doubt>,
}

impl Doubts {
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.last.keys().map(|name| &**name)
    }

    /// Solr has confirmed a line. Of a document that is in doubt (from now on, if `doubtful`) the
    /// last one is kept in mind.
    pub(crate) fn note(&mut self, name: &str, confirmed: Doubt, doubtful: bool) {
        if let Some(last) = self.last.get_mut(name) {
            if last.line <= confirmed.line {
                *last = confirmed;
            }
        } else if doubtful && self.last.len() < MOST {
            self.last.insert(name.into(), confirmed);
        }
    }

    /// Nobody doubts it any more.
    pub(crate) fn forget(&mut self, name: &str) {
        self.last.remove(name);
    }

    /// Solr has these versions. The lines that must be sent again, in their order; nothing is in
    /// doubt any more.
    pub(crate) fn resolve(&mut self, found: &HashMap<String, i64>) -> Vec<Doubt> {
        let differs = |(name, doubt): (Box<str>, Doubt)| {
            let there = found.get(&*name);
            let same = match doubt.kind {
                Kind::Add => doubt.version != 0 && there == Some(&doubt.version),
                Kind::Delete => there.is_none(),
            };
            (!same).then_some(doubt)
        };
        let mut again: Vec<Doubt> = self.last.drain().filter_map(differs).collect();
        again.sort_by_key(|doubt| doubt.line);
        again
    }
}

/// The look at all of them, at a share's end.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Questions that are not answered.
    pub(crate) open: usize,
    pub(crate) found: HashMap<String, i64>,
    /// What is to be sent again, once all answers are in.
    pub(crate) again: Option<VecDeque<Doubt>>,
}

impl Audit {
    pub(crate) fn begin(questions: usize) -> Audit {
        Audit { open: questions, found: HashMap::new(), again: None }
    }

    /// An answer is in.
    pub(crate) fn take_in(&mut self, found: HashMap<String, i64>) {
        self.open = self.open.saturating_sub(1);
        self.found.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt(line: u64, kind: Kind, version: i64) -> Doubt {
        Doubt { line, offset: line * 10, kind, version }
    }

    #[test]
    fn the_last_line_of_a_doubtful_document_counts() {
        let mut doubts = Doubts::default();
        doubts.note("a", doubt(1, Kind::Add, 5), false);
        assert!(doubts.is_empty(), "nobody doubts it");
        doubts.note("a", doubt(2, Kind::Add, 6), true);
        doubts.note("a", doubt(4, Kind::Delete, -8), false);
        doubts.note("a", doubt(3, Kind::Add, 7), true);
        assert_eq!(doubts.last["a"], doubt(4, Kind::Delete, -8));
    }

    #[test]
    fn what_solr_has_otherwise_than_its_receipt_said_is_sent_again() {
        let mut doubts = Doubts::default();
        for (name, doubt) in [
            ("same", doubt(1, Kind::Add, 5)),
            ("newer", doubt(9, Kind::Add, 6)),
            ("lost", doubt(3, Kind::Add, 7)),
            ("gone", doubt(4, Kind::Delete, -8)),
            ("back", doubt(5, Kind::Delete, -9)),
            ("unsaid", doubt(6, Kind::Add, 0)),
        ] {
            doubts.note(name, doubt, true);
        }
        let found = [("same", 5), ("newer", 60), ("back", 3), ("unsaid", 4)];
        let found = found.map(|(name, version)| (name.to_owned(), version)).into();
        let lines: Vec<u64> = doubts.resolve(&found).iter().map(|doubt| doubt.line).collect();
        assert_eq!(lines, [3, 5, 6, 9]);
        assert!(doubts.is_empty());
    }
}
