//! A small file of ours: a first line that says what it is, `key=value` lines, and a checksum, so
//! that one that was torn or scribbled on is known for what it is. Written beside and renamed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::names;

pub(crate) struct Record {
    text: String,
}

impl Record {
    pub(crate) fn new(kind: &str) -> Record {
        Record { text: format!("solr-updater {kind} 1\n") }
    }

    pub(crate) fn number(mut self, key: &str, value: u64) -> Record {
        self.text += &format!("{key}={value}\n");
        self
    }

    /// Any bytes, as one word.
    pub(crate) fn name(mut self, key: &str, value: &OsStr) -> Record {
        self.text += &format!("{key}={}\n", names::to_word(value));
        self
    }

    /// Puts the record in the place of `path`, whole or not at all. `durable`: it is on the disk
    /// when this returns.
    pub(crate) fn save(self, path: &Path, durable: bool) -> io::Result<()> {
        let Record { mut text } = self;
        text += &format!("sum={:016x}\n", sum(text.as_bytes()));
        let beside = path.with_extension("tmp");
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            if durable {
                file.sync_data()?;
            }
            std::fs::rename(&beside, path)
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&beside); // a full disk needs what it takes
        })
    }

    /// Reads one back; `None` if it is of another kind, torn, or no record at all.
    pub(crate) fn load(path: &Path, kind: &str) -> io::Result<Option<Record>> {
        let bytes = std::fs::read(path)?;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
        let Some(at) = text.rfind("sum=") else { return Ok(None) };
        let whole = text[at..] == format!("sum={:016x}\n", sum(&text.as_bytes()[..at]));
        let ours = text.starts_with(&format!("solr-updater {kind} 1\n"));
        Ok((whole && ours).then_some(Record { text }))
    }

    /// The record as one line, its newline included; [`Record::of_line`] reads it back.
    pub(crate) fn into_line(self) -> String {
        let text = self.text.trim_end().replace('\n', "\t");
        format!("{text}\tsum={:016x}\n", sum(text.as_bytes()))
    }

    /// The record of a line without its newline; `None` if it is of another kind, or torn.
    pub(crate) fn of_line(line: &str, kind: &str) -> Option<Record> {
        let (text, found) = line.rsplit_once("\tsum=")?;
        let whole = found == format!("{:016x}", sum(text.as_bytes()));
        let text = text.replace('\t', "\n");
        let ours = text.starts_with(&format!("solr-updater {kind} 1\n"));
        (whole && ours).then_some(Record { text })
    }

    fn value(&self, key: &str) -> Option<&str> {
        let line = self.text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='))?;
        Some(line)
    }

    pub(crate) fn get_number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }

    pub(crate) fn get_name(&self, key: &str) -> Option<OsString> {
        Some(names::of_word(self.value(key)?))
    }
}

/// FNV-1a, 64 bits: against tearing and accidents, not against malice.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_record_that_cannot_be_saved_leaves_the_one_before_and_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.claim");
        std::fs::create_dir(&path).unwrap(); // in the way of the rename
        Record::new("claim").save(&path, true).unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_torn_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.claim");
        let name = OsStr::from_bytes(b"a b%\n\xff=.jsonl");
        Record::new("claim").number("n", u64::MAX).name("name", name).save(&path, true).unwrap();
        let back = Record::load(&path, "claim").unwrap().unwrap();
        assert_eq!(back.get_number("n"), Some(u64::MAX));
        assert_eq!(back.get_name("name").as_deref(), Some(name));
        assert_eq!(back.get_number("name"), None);
        assert!(Record::load(&path, "checkpoint").unwrap().is_none());

        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(Record::load(&path, "claim").unwrap().is_none(), "cut at {cut}");
            let mut turned = whole.clone();
            turned[cut] ^= 1;
            std::fs::write(&path, &turned).unwrap();
            assert!(Record::load(&path, "claim").unwrap().is_none(), "bit turned at {cut}");
        }
    }
}
