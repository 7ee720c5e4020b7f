//! The history: the deltas settled last, a line each, appended by the parent when one is settled.
//!
//! It is for people and decides nothing, so it never keeps a delta from being settled: it is not
//! synced, a line that was torn is passed over, and one that could not be written is missing. When
//! the file is full it takes the place of the one before, so that so much is kept and no more.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::Spool;
use crate::record::Record;

/// A file of so many bytes is full: some thousand deltas.
const FULL: u64 = 512 * 1024;
/// A reason is cut to so many bytes.
const REASON: usize = 500;

/// How a delta was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Every line is done.
    Done,
    /// It was given up as a whole.
    Failed,
    /// A person gave it up.
    Cancelled,
    /// Its rejected lines were delivered once more.
    Retried,
}

/// A settled delta, or one run of it: what is retried comes again, with what that run has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its name, where it is now.
    pub name: OsString,
    /// How it ended.
    pub fate: Fate,
    /// When, milliseconds since 1970.
    pub time: u64,
    /// How long it took from its claim, in milliseconds.
    pub ms: u64,
    /// Lines that are done.
    pub lines: u64,
    /// Documents that Solr has confirmed.
    pub docs: u64,
    /// Deletes that Solr has confirmed.
    pub deletes: u64,
    /// Lines that became nothing.
    pub skipped: u64,
    /// Lines that were rejected.
    pub rejected: u64,
    /// Lines that a newer document had made void.
    pub superseded: u64,
    /// Why it failed; else empty.
    pub reason: String,
}

impl Fate {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Done => "done",
            Fate::Failed => "failed",
            Fate::Cancelled => "cancelled",
            Fate::Retried => "retried",
        }
    }

    fn of(word: &str) -> Option<Fate> {
        let all = [Fate::Done, Fate::Failed, Fate::Cancelled, Fate::Retried];
        all.into_iter().find(|fate| fate.word() == word)
    }
}

impl Past {
    /// Of a delta that was given up before a line of it was read.
    pub fn cancelled(name: OsString, time: u64) -> Past {
        Past {
            name,
            fate: Fate::Cancelled,
            time,
            ms: 0,
            lines: 0,
            docs: 0,
            deletes: 0,
            skipped: 0,
            rejected: 0,
            superseded: 0,
            reason: "cancelled while it waited".into(),
        }
    }

    fn line(&self) -> String {
        let mut end = self.reason.len().min(REASON);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        Record::new("settled")
            .name("name", &self.name)
            .name("fate", self.fate.word().as_ref())
            .number("time", self.time)
            .number("ms", self.ms)
            .number("lines", self.lines)
            .number("docs", self.docs)
            .number("deletes", self.deletes)
            .number("skipped", self.skipped)
            .number("rejected", self.rejected)
            .number("superseded", self.superseded)
            .name("reason", self.reason[..end].as_ref())
            .into_line()
    }

    fn read(line: &str) -> Option<Past> {
        let record = Record::of_line(line, "settled")?;
        Some(Past {
            name: record.get_name("name")?,
            fate: Fate::of(record.get_name("fate")?.to_str()?)?,
            time: record.get_number("time")?,
            ms: record.get_number("ms")?,
            lines: record.get_number("lines")?,
            docs: record.get_number("docs")?,
            deletes: record.get_number("deletes")?,
            skipped: record.get_number("skipped")?,
            rejected: record.get_number("rejected")?,
            superseded: record.get_number("superseded")?,
            reason: record.get_name("reason")?.to_string_lossy().into_owned(),
        })
    }
}

impl Spool {
    /// The history's files, the newest first.
    fn histories(&self) -> [PathBuf; 2] {
        [".history", ".history.1"].map(|name| self.dir().join(name))
    }

    /// Adds a line to the history.
    pub fn remember(&self, past: &Past) -> io::Result<()> {
        let [now, before] = self.histories();
        let mut file = open(&now)?;
        if file.metadata()?.len() >= FULL {
            std::fs::rename(&now, &before)?;
            file = open(&now)?;
        }
        let length = file.metadata()?.len();
        let mut line = past.line();
        // The last line may have been torn, and stays as it is.
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        if last != [b'\n'] {
            line.insert(0, '\n');
        }
        file.write_all(line.as_bytes())
    }

    /// The deltas settled last, the newest first, `most` at most.
    pub fn history(&self, most: usize) -> io::Result<Vec<Past>> {
        let mut found = Vec::new();
        for path in self.histories() {
            let mut text = Vec::new();
            match File::open(path) {
                // One that is longer than it can be is not ours to read to its end.
                Ok(file) => file.take(4 * FULL).read_to_end(&mut text)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let lines = text.split(|byte| *byte == b'\n').rev();
            let read = |line: &[u8]| Past::read(std::str::from_utf8(line).ok()?);
            found.extend(lines.filter_map(read).take(most - found.len()));
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn past(n: u64) -> Past {
        Past {
            name: OsStr::from_bytes(b"a b\n\xff%.jsonl").into(),
            fate: Fate::Failed,
            time: n,
            ms: 1,
            lines: 2,
            docs: 3,
            deletes: 4,
            skipped: 5,
            rejected: 6,
            superseded: 7,
            reason: "torn: \"x\"\nü".into(),
        }
    }

    fn times(spool: &Spool, most: usize) -> Vec<u64> {
        spool.history(most).unwrap().iter().map(|s| s.time).collect()
    }

    #[test]
    fn what_was_settled_last_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        assert_eq!(spool.history(5).unwrap(), []);
        (1..=3).for_each(|n| spool.remember(&past(n)).unwrap());
        assert_eq!(spool.history(1).unwrap(), [past(3)]);
        assert_eq!(times(&spool, 2), [3, 2]);
        assert_eq!((times(&spool, 9), times(&spool, 0)), (vec![3, 2, 1], vec![]));
        for fate in [Fate::Done, Fate::Failed, Fate::Cancelled, Fate::Retried] {
            spool.remember(&Past { fate, ..past(4) }).unwrap();
            assert_eq!(spool.history(1).unwrap()[0].fate, fate);
        }
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        let path = dir.path().join(".history");
        (1..=2).for_each(|n| spool.remember(&past(n)).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for cut in whole.len() / 2 + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            spool.remember(&past(3)).unwrap();
            let only = times(&spool, 9);
            // Without its newline alone it is whole all the same.
            let expected = if cut == whole.len() - 1 { vec![3, 2, 1] } else { vec![3, 1] };
            assert_eq!(only, expected, "cut at {cut} of {}", whole.len());
        }
        std::fs::write(&path, b"\xff\0no history at all\n\n").unwrap();
        spool.remember(&past(4)).unwrap();
        assert_eq!(times(&spool, 9), [4]);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_newest() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        let most = 10_000;
        (1..=most).for_each(|n| spool.remember(&past(n)).unwrap());
        let on_disk: u64 = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|f| f.unwrap().metadata().unwrap().len())
            .sum();
        assert!(on_disk < 2 * FULL + 4096, "{on_disk}");
        let kept = times(&spool, usize::MAX);
        assert!(kept.len() > 1_000, "{}", kept.len());
        assert!(kept.iter().rev().copied().eq(most - kept.len() as u64 + 1..=most));
    }
}
