//! A small file of ours: a first line that says what it is, `key=value` lines, and a checksum, so
//! that one that was torn or scribbled on is known for what it is. Written beside and renamed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

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

    /// Any bytes; what is not plain ASCII stands as `%XX`.
    pub(crate) fn name(mut self, key: &str, value: &OsStr) -> Record {
        self.text += &format!("{key}=");
        for byte in value.as_bytes() {
            match byte {
                b'!'..=b'~' if *byte != b'%' => self.text.push(char::from(*byte)),
                _ => self.text += &format!("%{byte:02x}"),
            }
        }
        self.text.push('\n');
        self
    }

    /// Puts the record in the place of `path`, whole or not at all. `durable`: it is on the disk
    /// when this returns.
    pub(crate) fn save(self, path: &Path, durable: bool) -> io::Result<()> {
        let Record { mut text } = self;
        text += &format!("sum={:016x}\n", sum(text.as_bytes()));
        let beside = path.with_extension("tmp");
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        if durable {
            file.sync_data()?;
        }
        std::fs::rename(&beside, path)
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

    fn value(&self, key: &str) -> Option<&str> {
        let line = self.text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='))?;
        Some(line)
    }

    pub(crate) fn get_number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }

    pub(crate) fn get_name(&self, key: &str) -> Option<OsString> {
        let mut bytes = Vec::new();
        let mut rest = self.value(key)?.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if *first == b'%' {
                let (hex, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
                rest = after;
            } else {
                bytes.push(*first);
            }
        }
        Some(OsString::from_vec(bytes))
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
