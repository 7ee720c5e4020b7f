//! Rejects: lines that can never be delivered, on paper for a person to read and for `retry` to
//! read back. Here is the form of one, and the file in `active/` to which a share appends its own.
//!
//! A reject remembers how old it is: `as_of`, the highest version in any receipt by then, and `claim`,
//! the number under which its delta was first claimed. By that `retry` knows what is newer.
//!
//! The file is what a checkpoint counts, so its length at the mark is exact: records are written at
//! known places, never merely appended, and a write that failed half-way is done again at the same
//! place. It forgets nothing that it was given until it is on the disk, and says the disk, by a sync:
//! after a failing one Linux forgets what it could not write, and the next one succeeds (fsync(2)).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Serialize;

use crate::age::Age;

/// Where a line was found to be undeliverable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// It is no JSON.
    Parse,
    /// It is nothing that may be sent.
    Convert,
    /// Solr refused it.
    Solr,
}

impl From<convert::Stage> for Stage {
    fn from(stage: convert::Stage) -> Stage {
        match stage {
            convert::Stage::Parse => Stage::Parse,
            convert::Stage::Convert | convert::Stage::Schema => Stage::Convert,
        }
    }
}

/// The original line, as far as it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Original<'a> {
    Bytes(&'a [u8]),
    /// Too long to be kept.
    Length(u64),
}

/// One rejected line.
#[derive(Debug)]
pub(crate) struct Reject<'a> {
    pub(crate) delta: &'a str,
    /// From 1.
    pub(crate) line: u64,
    pub(crate) offset: u64,
    pub(crate) id: Option<&'a str>,
    pub(crate) stage: Stage,
    pub(crate) status: Option<u16>,
    pub(crate) reason: &'a str,
    pub(crate) attempts: u32,
    /// How old what it says is.
    pub(crate) age: Age,
    pub(crate) original: Original<'a>,
}

#[derive(Serialize)]
struct Record<'a> {
    delta: &'a str,
    line: u64,
    offset: u64,
    id: Option<&'a str>,
    stage: Stage,
    status: Option<u16>,
    reason: &'a str,
    attempts: u32,
    time: String,
    as_of: u64,
    claim: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
}

impl Reject<'_> {
    /// One line of a reject file, its newline included.
    pub(crate) fn record(&self) -> Vec<u8> {
        let (mut raw, mut raw_base64, mut length) = (None, None, None);
        match self.original {
            Original::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => raw = Some(text),
                Err(_) => {
                    raw_base64 = Some(base64::engine::general_purpose::STANDARD.encode(bytes))
                }
            },
            Original::Length(bytes) => length = Some(bytes),
        }
        let record = Record {
            delta: self.delta,
            line: self.line,
            offset: self.offset,
            id: self.id,
            stage: self.stage,
            status: self.status,
            reason: self.reason,
            attempts: self.attempts,
            time: logs::time(sys::clock::wall_ms()),
            as_of: self.age.as_of,
            claim: self.age.claim,
            raw,
            raw_base64,
            length,
        };
        let mut line = serde_json::to_vec(&record).expect("text and numbers always become JSON");
        line.push(b'\n');
        line
    }
}

/// The rejects of one share.
pub(crate) struct RejectFile {
    path: PathBuf,
    file: Option<File>,
    /// So much of it is on the disk.
    synced: u64,
    /// What comes behind.
    waiting: Vec<u8>,
}

impl RejectFile {
    /// Takes the file up at `length`: what stands behind belongs to lines that will be read again.
    /// An error of kind `UnexpectedEof`: it is shorter, so the checkpoint that gave the length
    /// cannot be believed.
    pub(crate) fn open(path: &Path, length: u64) -> io::Result<RejectFile> {
        let file = match OpenOptions::new().write(true).open(path) {
            Ok(file) if file.metadata()?.len() < length => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(file) => {
                file.set_len(length)?;
                Some(file)
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(_) if length > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(_) => None,
        };
        Ok(RejectFile { path: path.into(), file, synced: length, waiting: Vec::new() })
    }

    pub(crate) fn append(&mut self, record: &[u8]) {
        self.waiting.extend_from_slice(record);
    }

    /// Bytes that wait for the disk.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Its length with everything that it was given.
    pub(crate) fn length(&self) -> u64 {
        self.synced + self.waiting.len() as u64
    }

    /// Everything that it was given is on the disk when this returns. After an error it may be
    /// called again, and writes all of that again.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let create =
                OpenOptions::new().write(true).create(true).truncate(true).open(&self.path);
            self.file = Some(create?);
        }
        let file = self.file.as_ref().expect("it has just been opened");
        file.write_all_at(&self.waiting, self.synced)?;
        file.sync_data()?;
        self.synced += self.waiting.len() as u64;
        self.waiting.clear();
        self.waiting.shrink_to(1 << 20);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(original: Original<'_>) -> Reject<'_> {
        Reject {
            delta: "offers.jsonl",
            line: 7,
            offset: 123,
            id: None,
            stage: Stage::Parse,
            status: None,
            reason: "no \"JSON\"",
            attempts: 0,
            age: Age { as_of: 9, claim: 3 },
            original,
        }
    }

    /// A record with its time replaced, which is checked to look like one.
    fn shown(reject: &Reject<'_>) -> String {
        let mut line = String::from_utf8(reject.record()).unwrap();
        let at = line.find(r#""time":""#).unwrap() + 8;
        let time: Vec<u8> = line[at..at + 24].bytes().collect();
        assert!(time[10] == b'T' && time[23] == b'Z' && line[at + 24..].starts_with('"'), "{line}");
        line.replace_range(at..at + 24, "T");
        line
    }

    #[test]
    fn a_reject_says_which_line_why_and_what_it_was() {
        assert_eq!(
            shown(&reject(Original::Bytes(b"{\"a\":\t"))),
            concat!(
                r#"{"delta":"offers.jsonl","line":7,"offset":123,"id":null,"stage":"parse","#,
                r#""status":null,"reason":"no \"JSON\"","attempts":0,"time":"T","as_of":9,"claim":3,"#,
                r#""raw":"{\"a\":\t"}"#,
                "\n"
            )
        );
        let by_solr = Reject {
            id: Some("x"),
            stage: Stage::Solr,
            status: Some(400),
            attempts: 3,
            ..reject(Original::Bytes(b"\xff\xfe"))
        };
        assert_eq!(
            shown(&by_solr),
            concat!(
                r#"{"delta":"offers.jsonl","line":7,"offset":123,"id":"x","stage":"solr","#,
                r#""status":400,"reason":"no \"JSON\"","attempts":3,"time":"T","as_of":9,"claim":3,"#,
                r#""raw_base64":"//4="}"#,
                "\n"
            )
        );
        let long = shown(&reject(Original::Length(99_999_999)));
        assert!(long.ends_with("\"claim\":3,\"length\":99999999}\n"), "{long}");
    }

    #[test]
    fn taking_up_a_reject_file_cuts_what_the_checkpoint_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut file = RejectFile::open(&path, 0).unwrap();
        assert!(!path.exists());
        file.append(b"one\n");
        file.append(b"two\n");
        assert_eq!((file.length(), file.waiting()), (8, 8));
        file.sync().unwrap();
        assert_eq!((file.length(), file.waiting()), (8, 0));
        let mut file = RejectFile::open(&path, 4).unwrap();
        file.append(b"3\n");
        file.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n3\n");
        let shorter = RejectFile::open(&path, 11).map(|_| ()).unwrap_err();
        assert_eq!(shorter.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_full_disk_costs_no_reject() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut file = RejectFile::open(Path::new("/nonexistent/r"), 0).unwrap();
        file.file = Some(full);
        file.append(b"one\n");
        assert_eq!(file.sync().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((file.length(), file.waiting()), (4, 4));
    }

    #[test]
    fn what_a_failing_sync_has_lost_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut file = RejectFile::open(&path, 0).unwrap();
        file.append(b"one\n");
        file.sync().unwrap();
        // Takes every write, has nothing of it, and fails the sync.
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        let good = file.file.replace(null);
        file.append(b"two\n");
        file.sync().unwrap_err();
        file.append(b"three\n");
        assert_eq!((file.length(), file.waiting()), (14, 10));
        file.file = good;
        file.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
    }
}
