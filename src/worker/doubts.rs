//! Documents of which nobody can be sure: a request with them was given up, and what a leader that was
//! paused, or a dead worker's last words, may still do to them no client can prevent. So before their
//! share is in, Solr is asked what version they have, and what is not what the last receipt said is
//! sent again.
//!
//! They are written down before the checkpoint that passes their lines, so that whoever takes the
//! share up after a death looks at them too.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

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
    /// It may be carried out once only: it can be looked at, and not be sent again.
    pub(crate) once: bool,
}

/// The doubtful documents of a share, by their names in Solr's receipts.
#[derive(Debug)]
pub(crate) struct Doubts {
    path: PathBuf,
    last: HashMap<Box<str>, Doubt>,
    /// Records that are not in the file yet: a line of JSON, `["name",line,offset,is_delete,version,once]`.
    unwritten: Vec<u8>,
    file: Option<File>,
}

type Record = (String, u64, u64, bool, i64, bool);

impl Doubts {
    /// Those that are in the file, if it is there.
    pub(crate) fn open(path: PathBuf) -> io::Result<Doubts> {
        let mut doubts = Doubts { path, last: HashMap::new(), unwritten: Vec::new(), file: None };
        let file = match File::open(&doubts.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(doubts),
            Err(e) => return Err(e),
        };
        for record in BufReader::new(file).split(b'\n') {
            // (One that is torn comes before one that is whole: the next writer goes on behind it.)
            let Ok(record) = serde_json::from_slice::<Record>(&record?) else { continue };
            let (name, line, offset, is_delete, version, once) = record;
            let kind = if is_delete { Kind::Delete } else { Kind::Add };
            doubts.keep(&name, Doubt { line, offset, kind, version, once }, true);
        }
        Ok(doubts)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.last.keys().map(|name| &**name)
    }

    /// Solr has confirmed a line. Of a document that is in doubt (from now on, if `doubtful`) the
    /// last one is kept in mind.
    pub(crate) fn note(&mut self, name: &str, confirmed: Doubt, doubtful: bool) {
        if self.keep(name, confirmed, doubtful) {
            let Doubt { line, offset, kind, version, once } = confirmed;
            let record = (name, line, offset, kind == Kind::Delete, version, once);
            // (In memory nothing goes wrong.)
            self.unwritten.push(b'\n');
            let _ = serde_json::to_writer(&mut self.unwritten, &record);
            self.unwritten.push(b'\n');
        }
    }

    /// Answers whether it is kept.
    fn keep(&mut self, name: &str, confirmed: Doubt, doubtful: bool) -> bool {
        let has_room = self.last.len() < MOST;
        match self.last.get_mut(name) {
            Some(last) if last.line > confirmed.line => return false,
            Some(last) => *last = confirmed,
            None if doubtful && has_room => {
                self.last.insert(name.into(), confirmed);
            }
            None => return false,
        }
        true
    }

    /// Writes down what is not written yet. Not synced: after a power cut nobody's request is under
    /// way for long.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).create(true).open(&self.path)?);
        }
        self.file.iter_mut().try_for_each(|file| file.write_all(&self.unwritten))?;
        self.unwritten.clear();
        Ok(())
    }

    /// Solr has these versions. The lines that must be sent again, in their order, and of those that
    /// may not the names and lines; nothing is in doubt any more.
    pub(crate) fn resolve(
        &mut self,
        found: &HashMap<String, i64>,
    ) -> (Vec<Doubt>, Vec<(Box<str>, u64)>) {
        let differs = |(name, doubt): &(Box<str>, Doubt)| {
            let there = found.get(&**name);
            match doubt.kind {
                Kind::Add => doubt.version == 0 || there != Some(&doubt.version),
                Kind::Delete => there.is_some(),
            }
        };
        let (once, again): (Vec<_>, Vec<_>) =
            self.last.drain().filter(differs).partition(|(_, doubt)| doubt.once);
        let mut again: Vec<Doubt> = again.into_iter().map(|(_, doubt)| doubt).collect();
        again.sort_by_key(|doubt| doubt.line);
        (again, once.into_iter().map(|(name, doubt)| (name, doubt.line)).collect())
    }

    /// All of them are looked at, and sent again where it was needed.
    pub(crate) fn are_resolved(&mut self) {
        self.unwritten.clear();
        self.file = None;
        let _ = std::fs::remove_file(&self.path); // else they are looked at once more
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
        Doubt { line, offset: line * 10, kind, version, once: false }
    }

    fn none() -> (tempfile::TempDir, Doubts) {
        let dir = tempfile::tempdir().unwrap();
        let doubts = Doubts::open(dir.path().join("d")).unwrap();
        (dir, doubts)
    }

    #[test]
    fn the_last_line_of_a_doubtful_document_counts() {
        let (_dir, mut doubts) = none();
        doubts.note("a", doubt(1, Kind::Add, 5), false);
        assert!(doubts.is_empty(), "nobody doubts it");
        doubts.note("a", doubt(2, Kind::Add, 6), true);
        doubts.note("a", doubt(4, Kind::Delete, -8), false);
        doubts.note("a", doubt(3, Kind::Add, 7), true);
        assert_eq!(doubts.last["a"], doubt(4, Kind::Delete, -8));
    }

    #[test]
    fn what_solr_has_otherwise_than_its_receipt_said_is_sent_again() {
        let (_dir, mut doubts) = none();
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
        let lines: Vec<u64> = doubts.resolve(&found).0.iter().map(|doubt| doubt.line).collect();
        assert_eq!(lines, [3, 5, 6, 9]);
        assert!(doubts.is_empty());
    }
    #[test]
    fn what_may_not_be_sent_twice_is_looked_at_and_told() {
        let (_dir, mut doubts) = none();
        doubts.note("a", doubt(1, Kind::Add, 5), true);
        doubts.note("b", doubt(2, Kind::Add, 6), true);
        doubts.note("a", Doubt { once: true, ..doubt(7, Kind::Add, 9) }, false);
        doubts.note("c", Doubt { once: true, ..doubt(8, Kind::Add, 9) }, false);
        let found = [("a".to_owned(), 11)].into();
        assert_eq!(doubts.resolve(&found), (vec![doubt(2, Kind::Add, 6)], vec![("a".into(), 7)]));
    }

    #[test]
    fn they_outlive_the_worker_and_not_the_look_at_them() {
        let (dir, mut doubts) = none();
        let path = dir.path().join("d");
        doubts.write().unwrap();
        assert!(!path.exists(), "where nothing is in doubt there is no file");
        doubts.note("a", doubt(1, Kind::Add, 5), true);
        doubts.note("\"é\n", doubt(2, Kind::Delete, -6), true);
        doubts.write().unwrap();
        doubts.note("a", doubt(3, Kind::Add, 7), false);
        doubts.write().unwrap();
        // Torn by a full disk, and gone on with.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"["b",9,90,fal"#).unwrap();
        doubts.note("c", doubt(4, Kind::Add, 8), true);
        doubts.write().unwrap();
        let mut again = Doubts::open(path.clone()).unwrap();
        assert_eq!((again.last.len(), again.last["c"].line), (3, 4));
        assert_eq!(again.last["a"], doubt(3, Kind::Add, 7));
        assert_eq!(again.last["\"é\n"], doubt(2, Kind::Delete, -6));
        again.are_resolved();
        assert!(!path.exists() && Doubts::open(path).unwrap().is_empty());
    }
}
