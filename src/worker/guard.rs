//! What may be carried out once only goes out with the version that its document has, so that Solr
//! itself refuses it the second time (409). When nobody knows whether a request was carried out, it is
//! sent again as it was, and that refusal says: it was.
//!
//! The version is read just before, and written down ([`crate::intents`]) before anything is sent, so
//! that whoever comes after a death sends the same.

use crate::age::Late;
use crate::batch::Outcome;
use convert::Repeat;

/// Somebody else writes the same document again and again: after so many conflicts it is left for
/// a while.
pub(crate) const CONFLICTS: u32 = 3;

/// What is known of a document that may be carried out once only.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// It brings a version of its own: this one; 0: nobody knows which.
    own: Option<i64>,
    /// That fits any document (0), or any that is there (1).
    fits_any: bool,
    /// It is delivered late: nothing newer may be there.
    pub(crate) late: Option<Late>,
    /// The version that its document had before it was first sent; -1: it was not there.
    pub(crate) version: Option<i64>,
    /// How often another was quicker.
    pub(crate) conflicts: u32,
    /// Its document was looked at since the last request with it.
    pub(crate) looked: bool,
}

/// What a 409 says of a guarded document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// This became of it.
    Settled(Outcome),
    /// Another has written the document: its version must be read anew.
    Overtaken,
}

impl Guard {
    pub(crate) fn new(repeat: Repeat) -> Guard {
        let (own, fits_any) = match repeat {
            Repeat::Versioned(version) => (Some(version), false),
            Repeat::AnyVersion(version) => (Some(version), true),
            Repeat::Counts | Repeat::Harmless => (None, false),
        };
        Guard { own, fits_any, late: None, version: None, conflicts: 0, looked: false }
    }

    /// The version to send with it, if it does not go out with its own.
    pub(crate) fn to_send(&self) -> Option<i64> {
        self.version.filter(|_| self.own().is_none())
    }

    /// Whether it brings a version in whose place that one comes: Solr cannot read two.
    pub(crate) fn brings_another(&self) -> bool {
        self.fits_any
    }

    /// The version of its own with which it goes out. (What is there is one of any. What is not there
    /// Solr refuses by the 1.)
    fn own(&self) -> Option<i64> {
        let is_one_of_any = self.own == Some(0) || self.version.is_some_and(|version| version > 0);
        self.own.filter(|_| !(self.fits_any && is_one_of_any))
    }

    /// The document has this version by now (-1: it is not there). Whether that is what a request of
    /// ours has done, if one may have done something at all.
    pub(crate) fn was_carried_out(&self, now: i64) -> bool {
        // Where its own version did not fit, Solr has refused it, whatever came after.
        let could_be = match self.own() {
            None | Some(0) => true,
            Some(own) => same(own, self.version),
        };
        could_be && !same(now, self.version)
    }

    /// Solr refuses it for its version, in these words. `doubtful`: it may have been carried out
    /// although nobody has said so.
    pub(crate) fn conflict(&mut self, message: &str, doubtful: &mut bool) -> Conflict {
        let carried_out = actual(message).is_none_or(|actual| self.was_carried_out(actual));
        match (*doubtful, self.own()) {
            (true, _) if carried_out => Conflict::Settled(Outcome::Confirmed),
            (_, Some(_)) => {
                let reason = message.into();
                Conflict::Settled(Outcome::Rejected { status: 409, reason })
            }
            _ => {
                (self.version, *doubtful) = (None, false);
                self.conflicts += 1;
                Conflict::Overtaken
            }
        }
    }
}

/// Whether two versions say the same; a document that is not there has any below zero.
fn same(actual: i64, before: Option<i64>) -> bool {
    before.is_some_and(|before| actual == before || actual < 0 && before < 0)
}

/// The version that the document has, as Solr's message tells it: `version conflict for ID
/// expected=5 actual=7`.
pub(crate) fn actual(message: &str) -> Option<i64> {
    let (_, number) = message.rsplit_once(" actual=")?;
    number.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "version conflict for a expected=5 actual=7";

    fn guard(repeat: Repeat, version: i64) -> Guard {
        Guard { version: Some(version), ..Guard::new(repeat) }
    }

    fn conflict(repeat: Repeat, version: i64, mut doubtful: bool, message: &str) -> Conflict {
        guard(repeat, version).conflict(message, &mut doubtful)
    }

    #[test]
    fn a_conflict_after_a_doubt_says_that_it_was_carried_out() {
        let confirmed = Conflict::Settled(Outcome::Confirmed);
        assert_eq!(conflict(Repeat::Counts, 5, true, MESSAGE), confirmed);
        assert_eq!(conflict(Repeat::Versioned(5), 5, true, MESSAGE), confirmed);
        assert_eq!(conflict(Repeat::Versioned(0), 5, true, MESSAGE), confirmed);
        let absent = "version conflict for a expected=-1 actual=7";
        assert_eq!(conflict(Repeat::Counts, -1, true, absent), confirmed);
    }

    #[test]
    fn a_version_that_fits_any_document_is_refused_where_there_is_none_and_else_is_anothers_write()
    {
        let absent = "version conflict for a expected=1 actual=-1";
        let settled = conflict(Repeat::AnyVersion(1), -1, false, absent);
        assert!(matches!(settled, Conflict::Settled(Outcome::Rejected { status: 409, .. })));
        for (own, version) in [(1, 5), (0, 5), (0, -1)] {
            let repeat = Repeat::AnyVersion(own);
            assert_eq!(guard(repeat, version).to_send(), Some(version));
            assert_eq!(conflict(repeat, version, false, MESSAGE), Conflict::Overtaken);
        }
        assert_eq!(guard(Repeat::AnyVersion(1), -1).to_send(), None);
    }

    #[test]
    fn a_conflict_without_a_doubt_is_anothers_write() {
        let mut guard = guard(Repeat::Counts, 5);
        assert_eq!(guard.conflict(MESSAGE, &mut false), Conflict::Overtaken);
        assert_eq!((guard.version, guard.to_send(), guard.conflicts), (None, None, 1));
    }

    #[test]
    fn a_version_of_its_own_that_does_not_fit_is_its_own_fault() {
        let reason = MESSAGE.into();
        let rejected = Conflict::Settled(Outcome::Rejected { status: 409, reason });
        assert_eq!(conflict(Repeat::Versioned(5), 5, false, MESSAGE), rejected);
        // The document is what it was before: no request of ours has done anything to it.
        assert_eq!(conflict(Repeat::Versioned(5), 7, true, MESSAGE), rejected);
        // It was another version when it was first sent, so Solr has refused it then.
        assert_eq!(conflict(Repeat::Versioned(5), 6, true, MESSAGE), rejected);
        let gone = "version conflict for a expected=9 actual=-2";
        let settled = conflict(Repeat::Versioned(9), -1, true, gone);
        assert!(matches!(settled, Conflict::Settled(Outcome::Rejected { status: 409, .. })));
    }
}
