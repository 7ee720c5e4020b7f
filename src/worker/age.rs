//! How old a line is, and what is newer than it: a line that is delivered late must not go over what
//! is newer.
//!
//! A document is newer than a line if its version is higher than any that was known when the line
//! should have been delivered; unless that version was given to another old line since, of the same
//! delta or an older one, which was retried before. What is not newer is replaced under the condition
//! that it is still what was read ([`crate::guard`]): whoever was quicker wins.
//!
//! It cannot see a document that was deleted since: what is not there has no version.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use scoreboard::{Board, WorkerCell};
use spool::{Run, Spool};

use crate::batch::{Batch, Entry, Kind, Outcome};
use crate::intents::Intents;

/// How old a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Age {
    /// The highest version in any receipt when it should have been delivered.
    pub(crate) as_of: u64,
    /// The claim number that its delta first had.
    pub(crate) claim: u64,
}

/// A line comes late: what must not be there, or it is not delivered.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    pub(crate) age: Age,
    pub(crate) runs: Arc<Runs>,
    /// It may be carried out once only, too.
    pub(crate) once: bool,
}

/// What was retried before, and what a share retries now.
#[derive(Debug)]
pub(crate) struct Runs {
    before: Before,
    /// They know which versions this share's lines have been given, whoever had it before. (Of the
    /// lines of one document, which are delivered in their order, a later one is not older than what
    /// an earlier one has made.)
    own: Arc<Intents>,
}

impl Runs {
    pub(crate) fn of(spool: &Spool, own: Arc<Intents>) -> io::Result<Arc<Runs>> {
        Ok(Arc::new(Runs { before: Before::new(spool.runs()?), own }))
    }

    /// One of this share's lines, of this claim, was given this version.
    pub(crate) fn note(&self, version: i64, claim: u64) {
        self.own.note_given(version, claim);
    }

    /// Whether a document of this version is newer than a line. `once`: the line may be carried out
    /// once only, and may have been when its delta was retried before.
    pub(crate) fn is_newer(&self, version: i64, than: Age, once: bool) -> bool {
        if version.max(0) as u64 <= than.as_of || self.own.was_given(version) {
            return false;
        }
        // The clocks of Solr's nodes differ, so it may lie in several. Nothing newer is overwritten.
        let mut runs = self.before.with(version as u64).peekable();
        runs.peek().is_none()
            || runs.any(|run| run.claim > than.claim || once && run.claim == than.claim)
    }
}

/// The runs before this one, in the order in which they begin.
#[derive(Debug, Default)]
struct Before {
    runs: Vec<Run>,
    /// The highest version of each and those before it.
    highest: Vec<u64>,
}

impl Before {
    fn new(mut runs: Vec<Run>) -> Before {
        runs.sort_by_key(|run| run.after);
        let mut most = 0;
        let mut highest = |run: &Run| {
            most = most.max(run.upto);
            most
        };
        Before { highest: runs.iter().map(&mut highest).collect(), runs }
    }

    /// Those that may have given this version.
    fn with(&self, version: u64) -> impl Iterator<Item = &Run> {
        let n = self.runs.partition_point(|run| run.after < version);
        let all = self.runs[..n].iter().zip(&self.highest).rev();
        all.take_while(move |(_, highest)| **highest >= version)
            .map(|(run, _)| run)
            .filter(move |run| run.upto >= version)
    }
}

/// The highest version that Solr has told of so far, in receipts or otherwise, of all workers.
#[derive(Clone, Copy)]
pub(crate) struct Highest {
    board: Board,
    cell: WorkerCell,
}

impl Highest {
    pub(crate) fn new(board: Board, cell: WorkerCell) -> Highest {
        Highest { board, cell }
    }

    /// There was this one; of a delete below zero.
    pub(crate) fn raise(&self, version: i64) {
        let version = version.unsigned_abs();
        if version > self.cell.highest_version() {
            self.cell.raise_version(version, sys::clock::now_ms());
        }
    }

    /// How new all is that Solr has at this moment.
    pub(crate) fn get(&self) -> u64 {
        self.board.as_of(sys::clock::wall_ms(), sys::clock::now_ms())
    }
}

impl Batch {
    /// Of a command that comes late its document has this version, below zero if it is not there.
    /// Whether that settles it.
    pub(crate) fn settle_late(&mut self, n: usize, version: i64) -> bool {
        let Some(late) = &self.guards[n].late else { return false };
        let is_newer = late.runs.is_newer(version, late.age, late.once);
        let entry = &mut self.entries[n];
        entry.outcome = match entry.kind {
            Kind::Delete if version < 0 => Outcome::Confirmed, // there is nothing to delete
            _ if is_newer => Outcome::Superseded,
            Kind::Add | Kind::Delete => return false,
        };
        true
    }

    /// A command was given this version. It is kept in mind of one that comes late.
    pub(crate) fn note_given(&self, n: usize, version: i64) {
        if let Some(late) = self.guards.get(n).and_then(|guard| guard.late.as_ref()) {
            late.runs.note(version, late.age.claim);
        }
    }

    /// Some of this part may just have been rejected: this is how new all is that Solr has.
    pub(crate) fn date_rejects(&mut self, part: Range<usize>, as_of: u64) {
        let rejected = |e: &&mut Entry| matches!(e.outcome, Outcome::Rejected { .. });
        let undated = self.entries[part].iter_mut().filter(rejected).filter(|e| e.as_of == 0);
        undated.for_each(|entry| entry.as_of = as_of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{doc, doc_that};
    use convert::{Converted, Repeat};

    fn runs(runs: &[(u64, u64, u64)]) -> Arc<Runs> {
        let run = |(after, upto, claim): &(u64, u64, u64)| Run {
            after: *after,
            upto: *upto,
            claim: *claim,
        };
        let own = Intents::open("there is none".as_ref(), 0, || ()).unwrap();
        let before = Before::new(runs.iter().map(run).collect());
        Arc::new(Runs { before, own: Arc::new(own) })
    }

    const MINE: Age = Age { as_of: 100, claim: 5 };

    #[test]
    fn what_was_written_later_is_newer_unless_it_was_an_older_line_that_was_retried() {
        let runs = runs(&[(150, 199, 4), (200, 249, 5), (250, 299, 6)]);
        for (version, is_newer) in [
            (-1, false),
            (1, false),
            (100, false),
            (101, true),
            (150, true),
            (151, false), // an older delta's
            (199, false),
            (200, true),  // between two runs: somebody else's
            (249, false), // the same delta's
            (251, true),  // a newer delta's
            (299, true),
            (300, true),
            (i64::MAX, true),
        ] {
            assert_eq!(runs.is_newer(version, MINE, false), is_newer, "{version}");
        }
    }

    #[test]
    fn where_runs_overlap_what_may_be_newer_is() {
        let runs = runs(&[(400, u64::MAX, 6), (150, 199, 4), (120, 300, 3), (160, 170, 6)]);
        for (version, is_newer) in [
            (120, true),
            (121, false),
            (155, false),
            (165, true), // it may be of the claim 6
            (171, false),
            (300, false),
            (301, true), // nobody's
            (401, true), // of what is under way
            (i64::MAX, true),
        ] {
            assert_eq!(runs.is_newer(version, MINE, false), is_newer, "{version}");
        }
        assert!(!runs.is_newer(401, Age { claim: 7, ..MINE }, false), "it is older than this");
    }

    #[test]
    fn what_counts_is_not_delivered_over_what_its_own_delta_has_made_before() {
        let runs = runs(&[(150, 199, 4), (200, 249, 5)]);
        assert!(!runs.is_newer(160, MINE, true), "an older delta's");
        assert!(runs.is_newer(210, MINE, true), "it may be the line itself, delivered before");
    }

    #[test]
    fn what_an_earlier_line_of_the_same_run_has_made_is_not_newer() {
        let runs = runs(&[]);
        runs.note(200, 5);
        runs.note(-201, 5);
        assert!(!runs.is_newer(200, MINE, true));
        assert!(runs.is_newer(201, MINE, false));
    }

    /// Documents of these ids that come late.
    fn late(ids: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for (n, id) in ids.iter().enumerate() {
            let line = format!(r#" {{"id":"{id}","p":{{"_version_":1}}}}"#);
            assert!(batch.push((n as u64, 0), line.as_bytes(), &doc(id), 0));
            batch.come_late(&doc(id), Late { age: MINE, runs: runs(&[]), once: false });
        }
        batch.close();
        batch
    }

    #[test]
    fn what_is_not_newer_is_sent_for_the_version_that_is_there_and_the_rest_is_not_sent() {
        let mut batch = late(&["a", "b", "c", "d"]);
        for (n, version) in [50, 101, -1, 500].into_iter().enumerate() {
            if !batch.settle_late(n, version) {
                batch.guards[n].version = Some(version);
            }
        }
        batch.go_on_with_open(0..4);
        assert_eq!(batch.parts, [2..3, 0..1]);
        let outcomes: Vec<&Outcome> = batch.entries.iter().map(|e| &e.outcome).collect();
        let (open, superseded) = (&Outcome::Open, &Outcome::Superseded);
        assert_eq!(outcomes, [open, superseded, open, superseded]);
        let mut body = Vec::new();
        let mut sent = |part| {
            batch.write_part(part, &mut body);
            String::from_utf8(body.clone()).unwrap()
        };
        assert_eq!(sent(0..1), r#"{"add":{"doc": {"_version_":50,"id":"a","p":{"_version_":1}}}}"#);
        assert_eq!(sent(2..3), r#"{"add":{"doc": {"_version_":-1,"id":"c","p":{"_version_":1}}}}"#);
    }

    #[test]
    fn what_brings_a_version_that_fits_any_document_goes_out_with_one_version() {
        let mut batch = Batch::default();
        for (n, (own, version)) in [(1, 50), (0, 51), (0, -1), (1, -1)].into_iter().enumerate() {
            let line = format!(r#" {{"id":"a","n":{{"set":{n}}},"_version_" : {own} }}"#);
            let document = doc_that("a", Repeat::AnyVersion(own));
            assert!(batch.push((n as u64, 0), line.as_bytes(), &document, 0));
            batch.come_late(&document, Late { age: MINE, runs: runs(&[]), once: false });
            batch.guards[n].version = Some(version);
        }
        for (n, sent) in [50, 51, -1, 1].into_iter().enumerate() {
            let mut body = Vec::new();
            batch.write_part(n..n + 1, &mut body);
            let expected = format!(
                r#"{{"add":{{"doc": {{"id":"a","n":{{"set":{n}}},"_version_" : {sent} }}}}}}"#
            );
            assert_eq!(String::from_utf8(body).unwrap(), expected);
        }
    }

    #[test]
    fn a_delete_is_for_a_version_too_and_of_what_is_gone_there_is_nothing_to_delete() {
        let mut batch = Batch::default();
        for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
            let line = format!(r#"{{"delete":{{"id":"{id}","_route_":"r"}} }}"#);
            let body = line[10..line.len() - 2].to_owned();
            let (id, route, body) = (id.into(), Some("r".into()), body.as_bytes());
            let delete = Converted::Delete { id, route, body };
            assert!(batch.push((n as u64, 0), line.as_bytes(), &delete, 0));
            batch.come_late(&delete, Late { age: MINE, runs: runs(&[]), once: false });
        }
        assert!(batch.settle_late(0, -1) && !batch.settle_late(1, 99) && batch.settle_late(2, 101));
        batch.guards[1].version = Some(99);
        assert_eq!(batch.entries[0].outcome, Outcome::Confirmed);
        assert_eq!(batch.entries[2].outcome, Outcome::Superseded);
        let mut body = Vec::new();
        batch.write_part(1..2, &mut body);
        let sent = String::from_utf8(body).unwrap();
        assert_eq!(sent, r#"{"delete":{"_version_":99,"id":"b","_route_":"r"}}"#);
    }

    #[test]
    fn what_is_settled_by_what_is_there_was_given_that() {
        let mut batch = late(&["a"]);
        batch.entries[0].doubtful = true;
        batch.guards[0].version = Some(50);
        batch.apply_conflict(0..1, 0, "version conflict for a expected=50 actual=500");
        assert_eq!(batch.entries[0].outcome, Outcome::Confirmed);
        let runs = Arc::clone(&batch.guards[0].late.as_ref().unwrap().runs);
        assert!(!runs.is_newer(500, MINE, false) && runs.is_newer(501, MINE, false));
    }

    #[test]
    fn what_is_rejected_is_as_new_as_the_answer_and_stays_so() {
        let mut batch = late(&["a", "b", "c"]);
        let rejected = Outcome::Rejected { status: 400, reason: "".into() };
        batch.settle(0..1, &rejected);
        batch.date_rejects(0..2, 7);
        batch.settle(1..3, &rejected);
        batch.date_rejects(0..2, 9);
        assert_eq!([0, 1, 2].map(|n| batch.entries[n].as_of), [7, 9, 0]);
    }
}
