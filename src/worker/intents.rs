//! What is about to be sent that may be carried out once only: for each such line the version that
//! its document had before. On the disk before the request goes out, one file for a share, so that
//! after a death the same is sent again, and Solr refuses what it has carried out ([`crate::guard`]).
//!
//! It also tells which lines need not be sent again at all. A line of an id is sent only when all
//! earlier lines of that id are settled, so an intent says of those: they are done. Sent once more,
//! such a line would undo what came after it. Those that Solr has refused are listed, since their
//! rejects may not be on the disk yet.
//!
//! Of lines that come late it also keeps the versions that they were given, before a checkpoint passes
//! them: whoever goes on must not take them for another's ([`crate::age`]).
//!
//! Lines of JSON, appended: `[line,version,"id"]` for an intent, `[line]` where it is known that
//! nothing came of the one before: Solr has refused it, or it was not sent; `{"given":[[5,9,3]]}` for
//! versions: first and last of each run of them, and the claim of their lines. Of several for one line the last counts; a torn one
//! at the end was not followed by a request.
//!
//! The file is kept until its delta is settled, and is never cut: a delta that has grown is read
//! anew from its first line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::given::{Given, Span};

/// The intents of one share, for main thread and post threads.
#[derive(Debug)]
pub(crate) struct Intents {
    path: PathBuf,
    /// Of the ids in the file as it was found: the last line. And of its lines: the id.
    last: HashMap<Arc<str>, u64>,
    ids: BTreeMap<u64, Arc<str>>,
    /// Held while it is written: the disk takes its time.
    output: Mutex<Output>,
    /// Held for a moment only: the main thread asks here.
    known: Mutex<Known>,
    /// What was given to lines that came late. Held for a moment only, too.
    given: Mutex<Given>,
    /// Why the last intents could not be written, an errno (-1: it has none); 0: they could.
    trouble: AtomicI32,
}

#[derive(Debug, Default)]
struct Output {
    file: Option<File>,
    length: u64,
    /// Its name is on the disk too.
    is_named: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// The version before each line behind the mark.
    versions: BTreeMap<u64, i64>,
    /// Lines behind the mark of which nothing has come, and those of all such that are not written.
    refused: BTreeSet<u64>,
    unwritten: Vec<u64>,
}

/// One line of the file.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Record {
    Intent(u64, i64, String),
    Refusal((u64,)),
    Given { given: Vec<Span> },
}

impl Intents {
    /// Those of the lines from the mark on, if the file is there. `alive` is called now and then.
    pub(crate) fn open(path: &Path, mark: u64, mut alive: impl FnMut()) -> io::Result<Intents> {
        let mut found = Found::default();
        match File::open(path) {
            Ok(file) => found.read(file, mark, &mut alive)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let Found { length, known, last, ids, given } = found;
        Ok(Intents {
            path: path.into(),
            last,
            ids,
            output: Mutex::new(Output { length, ..Output::default() }),
            known: Mutex::new(known),
            given: Mutex::new(given),
            trouble: AtomicI32::new(0),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A line of this claim that came late was given this version; of a delete it is below zero, and
    /// nobody will meet it.
    pub(crate) fn note_given(&self, version: i64, claim: u64) {
        if version > 0 {
            self.given().add(version as u64, claim);
        }
    }

    /// Whether one of these lines was given this version.
    pub(crate) fn was_given(&self, version: i64) -> bool {
        u64::try_from(version).is_ok_and(|version| self.given().has(version))
    }

    /// All that these lines were given.
    pub(crate) fn all_given(&self) -> Vec<Span> {
        self.given().spans().collect()
    }

    /// Whether the file as it was found says that this line of this id was settled, and not refused.
    pub(crate) fn is_done(&self, line: u64, id: &str) -> bool {
        self.last.get(id).is_some_and(|last| line < *last) && !self.known().refused.contains(&line)
    }

    /// The version before this line, if it may have been sent.
    pub(crate) fn version(&self, line: u64) -> Option<i64> {
        let known = self.known();
        known.versions.get(&line).copied().filter(|_| !known.refused.contains(&line))
    }

    /// Writes down that these lines are about to be sent: line, version and id of each. They are on
    /// the disk when this returns.
    pub(crate) fn write(&self, intents: &[(u64, i64, &str)]) -> io::Result<()> {
        let written = self.try_to_write(intents);
        let errno = |e: &io::Error| e.raw_os_error().unwrap_or(-1);
        self.trouble.store(written.as_ref().err().map_or(0, errno), Relaxed);
        written
    }

    /// The errno of the error that keeps intents from being written at present.
    pub(crate) fn trouble(&self) -> Option<i32> {
        Some(self.trouble.load(Relaxed)).filter(|errno| *errno != 0)
    }

    fn try_to_write(&self, intents: &[(u64, i64, &str)]) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(|e| e.into_inner());
        let mut text = String::new();
        // Before the intents: of a line that is sent again the last record counts.
        let refused = self.write_refusals(&mut text);
        for intent in intents {
            text += &serde_json::to_string(intent)?;
            text.push('\n');
        }
        let before = output.length;
        output.append(&self.path, &text)?;
        if let Err(e) = output.sync(&self.path) {
            output.length = before; // the disk may have lost it: it is written again
            return Err(e);
        }
        let mut known = self.known();
        known.unwritten.drain(..refused);
        known.versions.extend(intents.iter().map(|(line, version, _)| (*line, *version)));
        for (line, ..) in intents {
            known.refused.remove(line);
        }
        Ok(())
    }

    /// What was written down by whoever had these lines before, of those from the mark on, as far as
    /// nothing was since. (The disk may have been full when half of it was written.)
    pub(crate) fn begin_with(&mut self, sent: &[(u64, i64, String)], mark: u64) -> io::Result<()> {
        let known = self.known();
        let is_new = |line: &u64| {
            *line >= mark && !known.versions.contains_key(line) && !known.refused.contains(line)
        };
        let new = sent.iter().filter(|(line, ..)| is_new(line));
        let new: Vec<_> = new.map(|(line, version, id)| (*line, *version, id.as_str())).collect();
        drop(known);
        if !new.is_empty() {
            self.write(&new)?;
        }
        // Earlier lines of these documents were settled, as in a file that is found.
        for (line, _, id) in new {
            let last = self.last.entry(id.into()).or_default();
            *last = line.max(*last);
        }
        Ok(())
    }

    /// Those of the file as it was found that may have been sent, and are not known to be refused.
    pub(crate) fn sent(&self) -> Vec<(u64, i64, String)> {
        let known = self.known();
        let sent = known.versions.iter().filter(|(line, _)| !known.refused.contains(line));
        let id = |line| self.ids.get(line).map_or_else(String::new, |id| id.to_string());
        sent.map(|(line, version)| (*line, *version, id(line))).collect()
    }

    /// The refusals that are not written, as records; answers how many.
    fn write_refusals(&self, text: &mut String) -> usize {
        let known = self.known();
        known.unwritten.iter().for_each(|line| *text += &format!("[{line}]\n"));
        known.unwritten.len()
    }

    /// Nothing has come of this line: Solr has refused it, or it was not sent. It is written with the
    /// next intents.
    pub(crate) fn refuse(&self, line: u64) {
        let mut known = self.known();
        if known.refused.insert(line) {
            known.unwritten.push(line);
        }
    }

    /// Nothing has come of these lines, which had intents: that must not be forgotten, or whoever
    /// comes after a death takes another's write for ours. (A power cut may take it: that would
    /// have to happen before the line is sent again.)
    pub(crate) fn withdraw(&self, lines: &[u64]) -> io::Result<()> {
        lines.iter().for_each(|line| self.refuse(*line));
        self.flush()
    }

    /// Writes the refusals that are not written, where there are intents.
    fn flush(&self) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(|e| e.into_inner());
        let mut text = String::new();
        let refused = self.write_refusals(&mut text);
        if output.length > 0 && refused > 0 {
            output.append(&self.path, &text)?;
            self.known().unwritten.drain(..refused);
        }
        Ok(())
    }

    /// Writes down what late lines were given. To be on the disk before a checkpoint passes them.
    pub(crate) fn keep_given(&self) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(|e| e.into_inner());
        let given = self.given().take_unwritten();
        if given.is_empty() {
            return Ok(());
        }
        let before = output.length;
        let mut write = || {
            output.append(&self.path, &format!("{}\n", serde_json::json!({"given": given})))?;
            output.sync(&self.path)
        };
        write().inspect_err(|_| {
            output.length = before; // the disk may have lost it
            self.given().put_back(given);
        })
    }

    /// The mark is here: nobody will ask for what is before it, unless the delta is read anew.
    pub(crate) fn pass(&self, mark: u64) -> io::Result<()> {
        let mut known = self.known();
        known.versions = known.versions.split_off(&mark);
        known.refused = known.refused.split_off(&mark);
        let some = !known.unwritten.is_empty();
        drop(known);
        if some { self.flush() } else { Ok(()) }
    }
}

impl Output {
    /// Appends records.
    fn append(&mut self, path: &Path, text: &str) -> io::Result<()> {
        if self.file.is_none() {
            let options = OpenOptions::new().write(true).create(true).truncate(false).open(path);
            self.file = Some(options?);
        }
        let Some(file) = &self.file else { return Ok(()) };
        file.set_len(self.length)?; // what was torn, or could not be written whole
        file.write_all_at(text.as_bytes(), self.length)?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Records, and once the file's name: on the disk.
    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)?;
        if !self.is_named {
            sys::files::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
            self.is_named = true;
        }
        Ok(())
    }
}

/// What stands in the file.
#[derive(Default)]
struct Found {
    length: u64,
    known: Known,
    last: HashMap<Arc<str>, u64>,
    ids: BTreeMap<u64, Arc<str>>,
    given: Given,
}

impl Found {
    /// Reads it line by line: it may be as long as the delta.
    fn read(&mut self, file: File, mark: u64, alive: &mut impl FnMut()) -> io::Result<()> {
        let (mut file, mut line, mut count) =
            (BufReader::with_capacity(64 << 10, file), Vec::new(), 0u32);
        loop {
            line.clear();
            file.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                return Ok(());
            }
            count = count.wrapping_add(1);
            if count % 16_384 == 0 {
                alive();
            }
            if !is_before(&line, mark) {
                match serde_json::from_slice(&line) {
                    Ok(Record::Intent(line, version, id)) => {
                        self.known.versions.insert(line, version);
                        self.known.refused.remove(&line);
                        let id: Arc<str> = id.into();
                        let last = self.last.entry(Arc::clone(&id)).or_default();
                        *last = line.max(*last);
                        self.ids.insert(line, id);
                    }
                    Ok(Record::Refusal((line,))) => drop(self.known.refused.insert(line)),
                    Ok(Record::Given { given }) => {
                        given.into_iter().for_each(|run| self.given.add_run(run));
                    }
                    Err(_) => return Ok(()),
                }
            }
            self.length += line.len() as u64;
        }
    }
}

/// Whether a record is of a line before the mark, seen by its first number.
fn is_before(record: &[u8], mark: u64) -> bool {
    let digits = record.get(1..).unwrap_or_default();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let number = std::str::from_utf8(&digits[..end]).ok().and_then(|text| text.parse().ok());
    number.is_some_and(|line: u64| line < mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path, mark: u64) -> Intents {
        Intents::open(path, mark, || ()).unwrap()
    }

    #[test]
    fn what_was_about_to_be_sent_is_known_after_a_death() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        assert_eq!(intents.version(4), None);
        intents.write(&[(4, -1, "a\n\"b"), (6, 17, "c")]).unwrap();
        intents.write(&[(6, 18, "c")]).unwrap();
        assert_eq!(intents.version(6), Some(18));
        assert!(!intents.is_done(2, "c"), "what is sent now is not done");
        let intents = found(&path, 0);
        assert_eq!((intents.version(4), intents.version(6)), (Some(-1), Some(18)));
        let intents = found(&path, 6);
        assert_eq!((intents.version(4), intents.version(6)), (None, Some(18)), "behind the mark");
    }

    #[test]
    fn earlier_lines_of_an_id_are_done_but_for_those_that_solr_has_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        intents.refuse(3);
        intents.refuse(5);
        intents.write(&[(8, 1, "a")]).unwrap();
        let intents = found(&path, 4);
        assert!(intents.is_done(4, "a") && intents.is_done(6, "a"));
        assert!(!intents.is_done(5, "a"), "its reject may not be on the disk");
        assert!(!intents.is_done(8, "a") && !intents.is_done(9, "a") && !intents.is_done(6, "b"));
    }

    #[test]
    fn a_refused_line_that_is_sent_again_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        intents.write(&[(3, 7, "a")]).unwrap();
        intents.refuse(3);
        intents.write(&[(4, 9, "b")]).unwrap();
        let intents = found(&path, 0);
        assert_eq!(intents.version(3), None);
        intents.write(&[(3, 8, "a")]).unwrap();
        assert_eq!((intents.version(3), found(&path, 0).version(3)), (Some(8), Some(8)));
    }

    #[test]
    fn a_torn_end_was_followed_by_no_request_and_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        found(&path, 0).write(&[(1, 5, "a"), (2, 6, "bcd")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let intents = found(&path, 0);
            assert_eq!((intents.version(1), intents.version(2)), (Some(5), None), "cut at {cut}");
            intents.write(&[(3, 9, "e")]).unwrap();
            let intents = found(&path, 0);
            assert_eq!((intents.version(2), intents.version(3)), (None, Some(9)), "cut at {cut}");
        }
    }

    #[test]
    fn what_may_have_been_sent_is_handed_on_once() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let intents = found(&old, 0);
        intents.write(&[(1, 5, "a"), (2, 6, "b"), (3, -1, "c")]).unwrap();
        intents.withdraw(&[2]).unwrap();
        let sent = found(&old, 0).sent();
        let line = |line, version, id: &str| (line, version, id.to_owned());
        assert_eq!(sent, [line(1, 5, "a"), line(3, -1, "c")]);
        assert_eq!(found(&old, 2).sent(), [line(3, -1, "c")], "behind the mark");
        found(&new, 0).begin_with(&sent, 0).unwrap();
        let intents = found(&new, 0);
        assert_eq!((intents.version(1), intents.version(2)), (Some(5), None));
        intents.write(&[(1, 9, "a")]).unwrap();
        let mut intents = found(&new, 0);
        intents.begin_with(&sent, 0).unwrap();
        assert_eq!(intents.version(1), Some(9), "it is known better since");
        assert_eq!(intents.sent(), [line(1, 9, "a"), line(3, -1, "c")]);
    }

    #[test]
    fn what_is_handed_on_is_whole_though_the_disk_was_full_when_half_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let sent = [(1, 5, "a"), (2, 6, ""), (5, -1, "a")];
        let sent = sent.map(|(line, version, id)| (line, version, id.to_owned()));
        found(&path, 0).begin_with(&sent, 0).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut intents = found(&path, 0);
            intents.begin_with(&sent, 0).unwrap();
            for intents in [intents, found(&path, 0)] {
                // What stood before what was sent is done.
                let done =
                    [(3, "a"), (4, "a"), (5, "a"), (3, "b")].map(|(n, id)| intents.is_done(n, id));
                assert_eq!(done, [true, true, false, false], "cut at {cut}");
            }
            assert_eq!(found(&path, 0).sent(), sent, "cut at {cut}");
        }
        // Of what is settled there is nothing to be said, and of the rest nothing anew.
        let intents = found(&path, 0);
        intents.withdraw(&[2]).unwrap();
        let before = std::fs::read(&path).unwrap();
        found(&path, 0).begin_with(&sent, 0).unwrap();
        found(&path, 3).begin_with(&sent, 3).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_late_lines_were_given_is_known_to_whoever_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        intents.keep_given().unwrap();
        assert!(!path.exists(), "no line came late");
        intents.write(&[(3, -1, "a")]).unwrap();
        [500, 501, -502, 503].iter().for_each(|version| intents.note_given(*version, 3));
        assert!(!found(&path, 0).was_given(500), "it is not written yet");
        intents.keep_given().unwrap();
        intents.note_given(504, 9);
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap(); // it cannot be cut
        let good = intents.output.lock().unwrap().file.replace(null);
        intents.keep_given().unwrap_err();
        intents.output.lock().unwrap().file = good;
        intents.keep_given().unwrap();
        intents.write(&[(7, 504, "a")]).unwrap();
        for mark in [0, 5, u64::MAX] {
            let after = found(&path, mark);
            let given = [499, 500, 501, 502, -502, 503, 504, 505].map(|v| after.was_given(v));
            assert_eq!(given, [false, true, true, false, false, true, true, false]);
            assert_eq!(after.all_given(), [(500, 501, 3), (503, 503, 3), (504, 504, 9)]);
            assert_eq!(after.version(7), (mark <= 7).then_some(504));
        }
    }

    #[test]
    fn what_the_mark_has_passed_is_forgotten_but_stays_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        intents.write(&[(1, 5, "a"), (2, 6, "b"), (4, 8, "a")]).unwrap();
        intents.refuse(1);
        intents.pass(2).unwrap();
        assert_eq!((intents.version(1), intents.version(2)), (None, Some(6)));
        assert!(intents.known().unwritten.is_empty() && intents.known().refused.is_empty());
        // The delta has grown, and is read anew: 1 was refused, and must be again.
        let intents = found(&path, 0);
        assert!(!intents.is_done(1, "a") && intents.is_done(3, "a"));
        assert_eq!((intents.version(1), intents.version(2)), (None, Some(6)));
    }

    #[test]
    fn what_cannot_be_written_is_told_and_written_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        intents.write(&[(1, 5, "a")]).unwrap();
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap(); // it cannot be cut
        let good = intents.output.lock().unwrap().file.replace(null);
        intents.refuse(1);
        intents.write(&[(2, 6, "b")]).unwrap_err();
        assert_eq!((intents.version(2), intents.trouble()), (None, Some(22)));
        intents.output.lock().unwrap().file = good;
        intents.write(&[(2, 6, "b")]).unwrap();
        assert_eq!(intents.trouble(), None);
        let intents = found(&path, 0);
        assert_eq!((intents.version(1), intents.version(2)), (None, Some(6)));
    }

    #[test]
    fn what_was_withdrawn_is_known_to_whoever_comes_after_a_death() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let intents = found(&path, 0);
        intents.withdraw(&[7]).unwrap();
        assert!(!path.exists(), "where there is no intent there is nothing to withdraw");
        intents.write(&[(3, 5, "a"), (4, 6, "b")]).unwrap();
        intents.withdraw(&[3]).unwrap();
        let after = found(&path, 0);
        assert_eq!((after.version(3), after.version(4)), (None, Some(6)));
        intents.write(&[(3, 9, "a")]).unwrap();
        assert_eq!(found(&path, 0).version(3), Some(9));
    }

    #[test]
    fn what_lies_before_the_mark_is_passed_over_unread() {
        for (record, before) in [
            (&b"[9,5,\"a\"]\n"[..], true),
            (b"[10,5,\"a\"]\n", false),
            (b"[9]\n", true),
            (b"[99999999999999999999,1,\"a\"]\n", false),
            (b"x\n", false),
            (b"\n", false),
        ] {
            assert_eq!(is_before(record, 10), before, "{}", String::from_utf8_lossy(record));
        }
    }
}
