//! What is left of deltas that were not delivered in full, and waits for a person: a delta in
//! `failed/`, and a reject file in `rejected/`.
//!
//! What is to be retried stays where it is until its turn comes. A small hidden file in `active/`, its
//! mark, says that it is wanted, so that a restart forgets nothing and a crash leaves nothing half
//! moved. (Whoever looks into `failed/` and `rejected/` finds there what is said to be there.)

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::claim::{Kind, remove};
use crate::progress::Progress;
use crate::record::Record;
use crate::{Spool, is_delta, names};

/// What is left of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// It lies in `failed/`.
    pub delta: bool,
    /// Rejected lines of it lie in `rejected/`.
    pub rejects: bool,
}

impl Left {
    /// Whether anything is.
    pub fn is_any(self) -> bool {
        self.delta || self.rejects
    }

    /// Whether this kind of it is.
    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Delta => false,
            Kind::Rest => self.delta,
            Kind::Rejects => self.rejects,
        }
    }
}

/// Something that is to be retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The delta's name.
    pub name: OsString,
    /// What of it: never [`Kind::Delta`].
    pub kind: Kind,
    /// Also over newer documents.
    pub force: bool,
}

/// What is said of a delta of which nothing is left.
pub fn nothing_left(name: &OsStr) -> String {
    format!(
        "{}: it is not in failed/, and nothing of it is in rejected/: `solr-updater rejects` and \
         `solr-updater history` list what there is",
        name.to_string_lossy()
    )
}

/// What is said of a delta that nobody can cancel.
pub fn nothing_to_cancel(name: &OsStr) -> String {
    format!(
        "{}: it neither waits nor is it being delivered: `solr-updater status` and `solr-updater \
         history` say what is",
        name.to_string_lossy()
    )
}

/// What is said where something could not be done to some of many deltas: the first reason, and what of
/// the others.
pub fn some_undone(reason: &str, undone: usize, all: usize, done: &str) -> String {
    match all {
        0 | 1 => reason.into(),
        _ => format!(
            "{reason}; {undone} of {all} deltas are left as they were, the others are {done}"
        ),
    }
}

/// What is said of a failed delta of which nobody knows how far it was.
pub fn unknown_progress(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    format!(
        "{name}: nobody knows how far it was, and how old it is: `solr-updater retry --force {name}` \
         delivers all of it, over whatever is newer"
    )
}

impl Spool {
    /// What is left of the delta of this name.
    pub fn left(&self, name: &OsStr) -> io::Result<Left> {
        Ok(Left {
            delta: is_file(&self.failed().join(name))?,
            rejects: is_file(&self.rejected_file(name))?,
        })
    }

    /// The names of all deltas of which something is left, in their order.
    pub fn all_left(&self) -> io::Result<Vec<OsString>> {
        let mut all = names_in(&self.failed())?;
        let files = names_in(&self.rejected())?;
        all.extend(files.iter().filter_map(|file| names::rejected_of(file)).map(OsStr::to_owned));
        all.retain(|name| is_delta(name));
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Removes what is left of a delta, for good; answers what that was. It is durable after
    /// [`Spool::sync_dropped`]. A crash in the middle leaves less of it, and no more.
    pub fn drop_left(&self, name: &OsStr) -> io::Result<Left> {
        let left = self.left(name)?;
        if left.delta {
            self.unwant(name, Kind::Rest)?;
            std::fs::remove_file(self.left_file(Kind::Rest, name))?;
            remove(&self.kept_progress(name))?;
        }
        if left.rejects {
            self.unwant(name, Kind::Rejects)?;
            std::fs::remove_file(self.left_file(Kind::Rejects, name))?;
            remove(&self.long_mark(name))?;
        }
        Ok(left)
    }

    /// Makes durable what was removed.
    pub fn sync_dropped(&self) -> io::Result<()> {
        sys::files::sync_folder(&self.failed())?;
        sys::files::sync_folder(&self.rejected())
    }

    /// Where it lies until it is claimed.
    pub(crate) fn left_file(&self, kind: Kind, name: &OsStr) -> PathBuf {
        match kind {
            Kind::Delta => self.incoming().join(name),
            Kind::Rest => self.failed().join(name),
            Kind::Rejects => self.rejected_file(name),
        }
    }

    /// The mark that it is wanted.
    fn mark(&self, kind: Kind, name: &OsStr) -> PathBuf {
        self.active().join(names::hidden(again(kind), name))
    }

    /// Whether it is known how far a failed delta was, and how old it is: else nobody can go on with
    /// it, but only deliver all of it over whatever is newer.
    pub fn is_known(&self, name: &OsStr) -> io::Result<bool> {
        let delta = std::fs::symlink_metadata(self.left_file(Kind::Rest, name))?;
        let progress = Progress::load(&self.kept_progress(name))?;
        Ok(progress.is_some_and(|progress| progress.is_of(&delta)))
    }

    /// Whether what is left of a delta can be delivered without going over what is newer.
    pub fn may_go_on(&self, name: &OsStr) -> io::Result<bool> {
        Ok(!self.left(name)?.delta || self.is_known(name)?)
    }

    /// Whether a delta of this name, or its rejected lines, were begun by a daemon that is gone.
    pub fn is_begun(&self, name: &OsStr) -> io::Result<bool> {
        let files = [Kind::Delta, Kind::Rejects].map(|kind| self.claimed_file(kind, name));
        Ok(is_file(&files[0])? || is_file(&files[1])?)
    }

    /// Marks as wanted what is left of a delta; answers what that is.
    pub fn want(&self, name: &OsStr, force: bool) -> io::Result<Vec<Wanted>> {
        let left = self.left(name)?;
        if left.is_any() {
            names::check_length(name)?;
        }
        let kinds = [(left.delta, Kind::Rest), (left.rejects, Kind::Rejects)];
        let mut wanted = Vec::new();
        for (_, kind) in kinds.into_iter().filter(|(is_left, _)| *is_left) {
            let mark = Record::new("again").number("force", force.into());
            mark.save(&self.mark(kind, name), false)?;
            wanted.push(Wanted { name: name.to_owned(), kind, force });
        }
        Ok(wanted)
    }

    /// Takes a mark away; whether there was one.
    pub fn unwant(&self, name: &OsStr, kind: Kind) -> io::Result<bool> {
        let mark = self.mark(kind, name);
        let was = is_file(&mark)?;
        remove(&mark)?;
        Ok(was)
    }

    /// All that is wanted. The mark of what is not there any more is removed.
    pub fn wanted(&self) -> io::Result<Vec<Wanted>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.active())? {
            let file = entry?.file_name();
            for kind in [Kind::Rest, Kind::Rejects] {
                let Some(name) = names::of_hidden(again(kind), &file).map(OsStr::to_owned) else {
                    continue;
                };
                let mark = Record::load(&self.mark(kind, &name), "again")?;
                // One that is torn was asked for, too; only not to be forced.
                let force = mark.and_then(|mark| mark.get_number("force")).unwrap_or(0) != 0;
                match is_file(&self.left_file(kind, &name))? {
                    true => all.push(Wanted { name, kind, force }),
                    false => drop(self.unwant(&name, kind)?),
                }
            }
        }
        all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        Ok(all)
    }

    /// Removes what is said of deltas, and of rejected lines, that a person has taken away.
    pub(crate) fn clear_marks(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(self.active())? {
            let file = entry?.file_name();
            let progress = names::of_hidden(PROGRESS, &file).map(|name| self.failed().join(name));
            if progress.is_some_and(|delta| matches!(is_file(&delta), Ok(false))) {
                remove(&self.active().join(&file))?;
            }
            if names::of_hidden(LONG, &file)
                .is_some_and(|name| matches!(self.is_open(name), Ok(false)))
            {
                remove(&self.active().join(&file))?;
            }
        }
        Ok(())
    }

    /// Whether rejected lines of a delta lie in `rejected/`, or are being retried.
    fn is_open(&self, name: &OsStr) -> io::Result<bool> {
        Ok(is_file(&self.rejected_file(name))? || is_file(&self.claimed_file(Kind::Rejects, name))?)
    }

    /// Makes the marks durable that have just been made.
    pub fn sync_left(&self) -> io::Result<()> {
        sys::files::sync_folder(&self.active())
    }

    // --- holding --------------------------------------------------------------------------------

    fn hold_mark(&self) -> PathBuf {
        self.active().join(".holding")
    }

    /// A delta is about to fail, and no next one is to be taken until a person has looked; over
    /// restarts, too.
    pub fn hold(&self) -> io::Result<()> {
        std::fs::write(self.hold_mark(), b"")?;
        sys::files::sync_folder(&self.active())
    }

    /// A person has looked.
    pub fn let_go(&self) -> io::Result<()> {
        remove(&self.hold_mark())
    }

    /// Whether a failed delta is to be looked at before the next one is taken.
    pub fn is_on_hold(&self) -> io::Result<bool> {
        Ok(is_file(&self.hold_mark())? && !names_in(&self.failed())?.is_empty())
    }

    // --- lines that are only in their delta -----------------------------------------------------

    /// The mark that one of a delta's rejected lines was too long to be kept beside its reason: it is
    /// in the delta alone, which must be kept.
    pub fn long_mark(&self, name: &OsStr) -> PathBuf {
        self.active().join(names::hidden(LONG, name))
    }

    /// Says whether there is such a line. To be said before the rejects get their name, or lose it.
    pub fn mark_long(&self, name: &OsStr, is_long: bool) -> io::Result<()> {
        match is_long {
            true => std::fs::write(self.long_mark(name), b""),
            false => remove(&self.long_mark(name)),
        }
    }

    /// Whether a delta in `done/` holds lines that are nowhere else.
    pub fn is_needed(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.is_open(name)? && is_file(&self.long_mark(name))?)
    }
}

/// How the names of marks begin; no longer than what a delta's name leaves free.
fn again(kind: Kind) -> &'static str {
    match kind {
        Kind::Rejects => ".again-rejects~",
        Kind::Delta | Kind::Rest => ".again-rest~",
    }
}

pub(crate) const PROGRESS: &str = ".progress~";
const LONG: &str = ".long~";

pub(crate) fn is_file(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether there is no such file. None has a name that is longer than it may be: a delta's may be so
/// long that nothing fits before or behind it.
pub(crate) fn is_missing(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(sys::files::ENAMETOOLONG)
}

/// The names of the ordinary files in a folder that are not hidden.
fn names_in(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") && entry.file_type()?.is_file() {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_and_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let names = || {
            let all = spool.all_left().unwrap();
            all.into_iter().map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(), [""; 0]);
        std::fs::write(spool.failed().join("b.jsonl"), "").unwrap();
        std::fs::write(spool.failed().join("notes.txt"), "").unwrap();
        std::fs::create_dir(spool.failed().join("folder.jsonl")).unwrap();
        for name in ["a.jsonl", "b.jsonl"] {
            std::fs::write(spool.rejected_file(name.as_ref()), "").unwrap();
        }
        std::fs::write(spool.rejected().join(".merging-7"), "").unwrap();
        assert_eq!(names(), ["a.jsonl", "b.jsonl"]);
        let left = |name: &str| spool.left(name.as_ref()).unwrap();
        assert_eq!(left("a.jsonl"), Left { delta: false, rejects: true });
        assert_eq!(left("b.jsonl"), Left { delta: true, rejects: true });
        assert!(!left("folder.jsonl").is_any());
        let dropped = spool.drop_left("b.jsonl".as_ref()).unwrap();
        assert_eq!(dropped, Left { delta: true, rejects: true });
        assert_eq!(names(), ["a.jsonl"]);
        assert_eq!(spool.drop_left("b.jsonl".as_ref()).unwrap(), Left::default());
    }

    #[test]
    fn what_is_wanted_stays_where_it_is_and_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let long = format!("{}.jsonl", "x".repeat(234)); // as long as a delta's name may be
        for name in ["b.jsonl", &long] {
            std::fs::write(spool.failed().join(name), "").unwrap();
            std::fs::write(spool.rejected_file(name.as_ref()), "").unwrap();
        }
        let wanted = |name: &str, kind, force| Wanted { name: name.into(), kind, force };
        let b = [wanted("b.jsonl", Kind::Rest, true), wanted("b.jsonl", Kind::Rejects, true)];
        assert_eq!(spool.want("b.jsonl".as_ref(), true).unwrap(), b);
        let x = [wanted(&long, Kind::Rest, false), wanted(&long, Kind::Rejects, false)];
        assert_eq!(spool.want(long.as_ref(), false).unwrap(), x);
        assert_eq!(spool.wanted().unwrap(), [&b[..], &x].concat());
        assert_eq!(spool.all_left().unwrap().len(), 2, "a mark is no delta");
        assert!(spool.unwant("b.jsonl".as_ref(), Kind::Rest).unwrap());
        assert!(!spool.unwant("b.jsonl".as_ref(), Kind::Rest).unwrap());
        spool.drop_left(long.as_ref()).unwrap();
        assert_eq!(spool.wanted().unwrap(), b[1..]);
        // A person has taken it away.
        std::fs::remove_file(spool.rejected_file("b.jsonl".as_ref())).unwrap();
        assert_eq!(spool.wanted().unwrap(), []);
        let hidden = std::fs::read_dir(spool.active()).unwrap().count();
        assert_eq!(hidden, 0, "no mark is left");
    }

    #[test]
    fn a_name_so_long_that_nothing_fits_behind_it_can_be_dropped_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        for length in [241, 255] {
            let name = format!("{}.jsonl", "x".repeat(length - 6));
            let name = OsStr::new(&name);
            std::fs::write(spool.failed().join(name), "").unwrap();
            assert_eq!(spool.left(name).unwrap(), Left { delta: true, rejects: false });
            assert!(!spool.may_go_on(name).unwrap() && !spool.is_begun(name).unwrap());
            assert!(!spool.unwant(name, Kind::Rejects).unwrap());
            let error = spool.want(name, true).unwrap_err().to_string();
            assert!(error.contains(&format!("{length} bytes: rename it, to 240")), "{error}");
            assert_eq!(spool.wanted().unwrap(), []);
            spool.drop_left(name).unwrap();
            assert_eq!(spool.all_left().unwrap(), [""; 0]);
        }
    }

    #[test]
    fn a_hold_lasts_as_long_as_there_is_something_to_look_at() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let delta = spool.failed().join("x.jsonl");
        assert!(!spool.is_on_hold().unwrap());
        spool.hold().unwrap();
        assert!(!spool.is_on_hold().unwrap(), "it died before the delta was in failed/");
        std::fs::write(&delta, "").unwrap();
        assert!(spool.is_on_hold().unwrap());
        spool.let_go().unwrap();
        spool.let_go().unwrap();
        assert!(!spool.is_on_hold().unwrap());
    }

    #[test]
    fn a_delta_is_needed_while_a_line_of_it_is_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let name = OsStr::new("x.jsonl");
        let rejects = spool.rejected_file(name);
        std::fs::write(&rejects, "").unwrap();
        assert!(!spool.is_needed(name).unwrap());
        spool.mark_long(name, true).unwrap();
        assert!(spool.is_needed(name).unwrap());
        std::fs::rename(&rejects, spool.claimed_file(Kind::Rejects, name)).unwrap();
        assert!(spool.is_needed(name).unwrap(), "they are being retried");
        std::fs::rename(spool.claimed_file(Kind::Rejects, name), &rejects).unwrap();
        spool.clear_marks().unwrap();
        assert!(spool.is_needed(name).unwrap());
        spool.drop_left(name).unwrap();
        assert!(!spool.is_needed(name).unwrap() && !spool.long_mark(name).exists());
        spool.mark_long(name, false).unwrap();
        spool.mark_long(name, true).unwrap();
        spool.clear_marks().unwrap();
        assert!(!spool.long_mark(name).exists(), "somebody has taken the rejects away");
    }
}
