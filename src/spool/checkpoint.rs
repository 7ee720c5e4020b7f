//! A checkpoint: the line up to which everything of a share is done.
//!
//! It is written after Solr's word, never before, and believed only if everything in it fits: a
//! checkpoint of another delta, another file or another division is ignored, and the share begins
//! anew, which costs repeated work and never a line.

use scoreboard::Counts;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::beyond::Beyond;
use crate::record::Record;

/// Which file a checkpoint speaks of, and how it is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The delta's claim number.
    pub claim: u64,
    /// Which share.
    pub share: u32,
    /// Of how many.
    pub of: u32,
    /// The delta's inode number.
    pub inode: u64,
    /// The delta's size in bytes.
    pub size: u64,
}

impl Identity {
    /// Of the share of an open delta.
    pub fn of(claim: u64, share: u32, of: u32, delta: &Metadata) -> Identity {
        Identity { claim, share, of, inode: delta.ino(), size: delta.size() }
    }
}

/// How far a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Lines before the mark, of all shares: the mark is the delta's line of this index, from 0.
    pub line: u64,
    /// The mark's place, in bytes of uncompressed text.
    pub offset: u64,
    /// Of a compressed delta: about where the mark is in the file itself. It is the file's size only when
    /// the mark is at the end of all that the file has, and all of that was right.
    pub packed: Option<u64>,
    /// The length of the share's reject file that belongs to the lines before the mark.
    pub rejects: u64,
    /// What this share has counted before the mark.
    pub counts: Counts,
    /// No line behind the mark has been sent, or all of those were answered: whoever wrote it left
    /// in order.
    pub quiet: bool,
    /// The highest version in any receipt when it was written: none of the lines before the mark was
    /// given a higher one. 0: there was none.
    pub version: u64,
}

impl Checkpoint {
    /// Where the mark is in the file itself, in bytes; of a compressed delta about.
    pub fn in_file(&self) -> u64 {
        self.packed.unwrap_or(self.offset)
    }

    /// Whether the mark is at the end of this file.
    pub fn is_at_end(&self, of: &Identity) -> bool {
        self.in_file() == of.size
    }
}

const COUNTS: [&str; Counts::LEN] =
    ["lines", "docs", "deletes", "skipped", "rejected", "superseded", "duplicates", "bytes"];

impl Checkpoint {
    /// Puts it in the place of the last one. Not synced: if a power cut takes it, work is repeated.
    /// The rejects that it counts must be on the disk before.
    pub fn save(&self, path: &Path, of: &Identity) -> io::Result<()> {
        self.save_with(path, of, &Beyond::default())
    }

    /// The same, with the lines beyond the mark that are done, and counted here.
    pub fn save_with(&self, path: &Path, of: &Identity, beyond: &Beyond) -> io::Result<()> {
        let mut record = Record::new("checkpoint")
            .number("claim", of.claim)
            .number("share", of.share.into())
            .number("of", of.of.into())
            .number("inode", of.inode)
            .number("size", of.size)
            .number("line", self.line)
            .number("offset", self.offset)
            .number("rejects", self.rejects)
            .number("quiet", self.quiet.into())
            .number("version", self.version);
        for (name, count) in COUNTS.iter().zip(self.counts.to_array()) {
            record = record.number(&format!("count-{name}"), count);
        }
        if let Some(packed) = self.packed {
            record = record.number("packed", packed);
        }
        if !beyond.is_empty() {
            record = record.name("beyond", beyond.to_text().as_ref());
        }
        record.save(path, false)
    }

    /// The checkpoint of exactly this share, or `None`: there is none, or it does not fit.
    pub fn load(path: &Path, of: &Identity) -> io::Result<Option<Checkpoint>> {
        Ok(Checkpoint::load_with(path, of)?.map(|(checkpoint, _)| checkpoint))
    }

    /// The same, with the lines beyond its mark that are done.
    pub fn load_with(path: &Path, of: &Identity) -> io::Result<Option<(Checkpoint, Beyond)>> {
        let found = Checkpoint::found(path)?;
        Ok(found.and_then(|(identity, whole)| (identity == *of).then_some(whole)))
    }

    /// The checkpoint and what it speaks of, whether that fits or not; `None`: there is none, or it
    /// does not read.
    pub fn found(path: &Path) -> io::Result<Option<(Identity, (Checkpoint, Beyond))>> {
        let record = match Record::load(path, "checkpoint") {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let beyond = || match record.get_name("beyond") {
            Some(text) => Beyond::of_text(text.to_str()?),
            None => Some(Beyond::default()),
        };
        let small = |key| u32::try_from(record.get_number(key)?).ok();
        let whole = || {
            let identity = Identity {
                claim: record.get_number("claim")?,
                share: small("share")?,
                of: small("of")?,
                inode: record.get_number("inode")?,
                size: record.get_number("size")?,
            };
            Some((identity, (Checkpoint::read(&record)?, beyond()?)))
        };
        Ok(whole())
    }

    /// What a share has counted, as its last checkpoint says; for the sums of a settled delta.
    pub fn counts_at(path: &Path) -> io::Result<Option<Counts>> {
        Ok(Record::load(path, "checkpoint")?.as_ref().and_then(Checkpoint::read).map(|c| c.counts))
    }

    fn read(record: &Record) -> Option<Checkpoint> {
        let mut counts = [0; Counts::LEN];
        for (name, count) in COUNTS.iter().zip(&mut counts) {
            *count = record.get_number(&format!("count-{name}"))?;
        }
        Some(Checkpoint {
            line: record.get_number("line")?,
            offset: record.get_number("offset")?,
            packed: record.get_number("packed"),
            rejects: record.get_number("rejects")?,
            counts: Counts::from_array(counts),
            quiet: record.get_number("quiet") == Some(1),
            version: record.get_number("version").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Identity = Identity { claim: 3, share: 1, of: 4, inode: 77, size: 1000 };

    #[test]
    fn a_checkpoint_that_does_not_fit_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.checkpoint");
        assert_eq!(Checkpoint::load(&path, &OF).unwrap(), None);
        let counts = Counts { lines: 5, docs: 4, bytes_read: 99, ..Counts::default() };
        let mut checkpoint = Checkpoint {
            line: 20,
            offset: 1000,
            packed: None,
            rejects: 60,
            counts,
            quiet: true,
            version: 9,
        };
        assert!(checkpoint.is_at_end(&OF));
        checkpoint.packed = Some(500);
        assert!(!checkpoint.is_at_end(&OF), "of a compressed delta the text's place says nothing");
        checkpoint.save(&path, &OF).unwrap();
        assert_eq!(Checkpoint::load(&path, &OF).unwrap(), Some(checkpoint));
        assert_eq!(Checkpoint::counts_at(&path).unwrap(), Some(counts));
        for other in [
            Identity { claim: 4, ..OF },
            Identity { share: 2, ..OF },
            Identity { of: 5, ..OF },
            Identity { inode: 78, ..OF },
            Identity { size: 1001, ..OF },
        ] {
            assert_eq!(Checkpoint::load(&path, &other).unwrap(), None, "{other:?}");
        }
        let mut beyond = Beyond::default();
        [30, 31, 40].into_iter().for_each(|line| beyond.push(line));
        checkpoint.save_with(&path, &OF, &beyond).unwrap();
        assert_eq!(Checkpoint::load_with(&path, &OF).unwrap(), Some((checkpoint, beyond)));
        assert_eq!(Checkpoint::load(&path, &OF).unwrap(), Some(checkpoint));
        assert_eq!(Checkpoint::found(&path).unwrap().unwrap().0, OF);
        std::fs::write(&path, "solr-updater checkpoint 1\nclaim=3\n").unwrap();
        assert_eq!(Checkpoint::load(&path, &OF).unwrap(), None);
    }
}
