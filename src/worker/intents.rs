//! What is about to be sent that may be carried out once only: for each such line the version that
//! its document had before. On the disk before the request goes out, one file for a share, so that
//! after a death the same is sent again, and Solr refuses what it has carried out ([`crate::guard`]).
//!
//! It also tells which lines need not be sent again at all. A line of an id is sent only when all
//! earlier lines of that id are settled, so an intent says of those: they are done. Sent once more,
//! such a line would undo what came after it. Those that Solr has refused are listed, since their
//! rejects may not be on the disk yet.
//!
//! Lines of JSON, appended: `[line,version,"id"]` for an intent, `[line]` for a refusal. Of several for
//! one line the last counts; a torn one at the end was not followed by a request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// The intents of one share, for main thread and post threads.
#[derive(Debug)]
pub(crate) struct Intents {
    path: PathBuf,
    /// Of the ids in the file as it was found: the last line.
    last: HashMap<String, u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<File>,
    length: u64,
    /// The version before each line behind the mark.
    versions: BTreeMap<u64, i64>,
    /// Lines behind the mark that Solr has refused, and how many of these are not written yet.
    refused: BTreeSet<u64>,
    unwritten: Vec<u64>,
}

/// One line of the file.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Record {
    Intent(u64, i64, String),
    Refusal((u64,)),
}

impl Intents {
    /// Those of the lines from the mark on, if the file is there.
    pub(crate) fn open(path: &Path, mark: u64) -> io::Result<Intents> {
        let (mut inner, mut last) = (Inner::default(), HashMap::new());
        match std::fs::read(path) {
            Ok(bytes) => inner.read(&bytes, mark, &mut last),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(Intents { path: path.into(), last, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether the file as it was found says that this line of this id was settled, and not refused.
    pub(crate) fn is_done(&self, line: u64, id: &str) -> bool {
        self.last.get(id).is_some_and(|last| line < *last) && !self.lock().refused.contains(&line)
    }

    /// The version before this line, if it may have been sent.
    pub(crate) fn version(&self, line: u64) -> Option<i64> {
        let inner = self.lock();
        inner.versions.get(&line).copied().filter(|_| !inner.refused.contains(&line))
    }

    /// Writes down that these lines are about to be sent: line, version and id of each. They are on
    /// the disk when this returns.
    pub(crate) fn write(&self, intents: &[(u64, i64, &str)]) -> io::Result<()> {
        let mut inner = self.lock();
        let mut text = String::new();
        for line in &inner.unwritten {
            text += &format!("[{line}]\n");
        }
        for intent in intents {
            text += &serde_json::to_string(intent)?;
            text.push('\n');
        }
        if inner.file.is_none() {
            let options = OpenOptions::new().create(true).write(true).truncate(false).clone();
            inner.file = Some(options.open(&self.path)?);
        }
        let (file, at) = (inner.file.as_ref(), inner.length);
        if let Some(file) = file {
            file.set_len(at)?; // what was torn, or could not be written whole
            file.write_all_at(text.as_bytes(), at)?;
            file.sync_data()?;
        }
        inner.length += text.len() as u64;
        inner.unwritten.clear();
        inner.versions.extend(intents.iter().map(|(line, version, _)| (*line, *version)));
        for (line, ..) in intents {
            inner.refused.remove(line);
        }
        Ok(())
    }

    /// Solr has refused this line.
    pub(crate) fn refuse(&self, line: u64) {
        let mut inner = self.lock();
        inner.refused.insert(line);
        inner.unwritten.push(line);
    }

    /// The mark is here: nobody will ask for what is before it.
    pub(crate) fn pass(&self, mark: u64) {
        let mut inner = self.lock();
        inner.versions = inner.versions.split_off(&mark);
        inner.refused = inner.refused.split_off(&mark);
        inner.unwritten.retain(|line| *line >= mark);
    }
}

impl Inner {
    fn read(&mut self, bytes: &[u8], mark: u64, last: &mut HashMap<String, u64>) {
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Record::Intent(line, version, id)) if line >= mark => {
                    self.versions.insert(line, version);
                    self.refused.remove(&line);
                    let last = last.entry(id).or_default();
                    *last = line.max(*last);
                }
                Ok(Record::Refusal((line,))) if line >= mark => drop(self.refused.insert(line)),
                Ok(_) => {}
                Err(_) => break,
            }
            self.length += line.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path, mark: u64) -> Intents {
        Intents::open(path, mark).unwrap()
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
    fn what_the_mark_has_passed_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let intents = found(&dir.path().join("i"), 0);
        intents.write(&[(1, 5, "a"), (2, 6, "b")]).unwrap();
        intents.refuse(1);
        intents.pass(2);
        assert_eq!((intents.version(1), intents.version(2)), (None, Some(6)));
        assert!(intents.lock().unwritten.is_empty() && intents.lock().refused.is_empty());
    }
}
