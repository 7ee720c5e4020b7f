//! Progress: how far a delta was when it was given up, so that whoever retries it goes on from
//! there, and knows how old it is.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::beyond::Beyond;
use crate::left::is_missing;
use crate::names;
use crate::record::Record;

/// What is known of a delta that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The file's inode number; no rename changes it.
    pub inode: u64,
    /// Its size in bytes. It may grow, and what was done of it is done; what was done of one that was
    /// longer says nothing of it.
    pub size: u64,
    /// The claim number that it first had: what was claimed later is newer.
    pub claim: u64,
    /// The highest version in any receipt when it was first given up: a document of a higher one
    /// is newer.
    pub as_of: u64,
    /// The member of a line by whose value its lines are divided; `None`: by their number.
    pub key: Option<String>,
    /// How far its shares were; none if it was never begun.
    pub shares: Vec<Standing>,
}

/// How far a share was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The mark: the index of the delta's line of which all before are done.
    pub line: u64,
    /// Its place in bytes.
    pub offset: u64,
    /// Bytes of the lines that are done.
    pub bytes: u64,
    /// The share's lines beyond the mark that are done, too.
    pub beyond: Beyond,
    /// Lines that are not done and may be carried out once only, of those that may have been sent:
    /// the index of each, the version that its document had before, and that document's id; of one whose
    /// id is not known it is empty.
    pub sent: Vec<(u64, i64, String)>,
    /// How old its rest is, where that is known better than of the whole delta: of a share that was
    /// read to its end, after which a later delta may have begun the same share; 0: it is not.
    pub as_of: u64,
}

impl Progress {
    /// Whether it speaks of this file.
    pub fn is_of(&self, delta: &Metadata) -> bool {
        self.inode == delta.ino() && self.size <= delta.size()
    }

    /// How far a share of this file is, if that can be believed.
    pub fn standing(&self, share: u32, of: u32, delta: &Metadata) -> Option<&Standing> {
        let fits = self.is_of(delta) && self.shares.len() == of as usize;
        self.shares.get(share as usize).filter(|_| fits)
    }

    /// How old a share's rest is.
    pub fn as_of(&self, share: u32) -> u64 {
        let known = self.shares.get(share as usize).map(|share| share.as_of);
        known.filter(|as_of| *as_of > 0).unwrap_or(self.as_of)
    }

    /// Puts it in the place of `path`, and it is on the disk when this returns.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut record = Record::new("progress")
            .number("inode", self.inode)
            .number("size", self.size)
            .number("claim", self.claim)
            .number("as-of", self.as_of)
            .number("shares", self.shares.len() as u64);
        if let Some(key) = &self.key {
            record = record.name("key", key.as_ref());
        }
        for (n, share) in self.shares.iter().enumerate() {
            record = record
                .number(&format!("line-{n}"), share.line)
                .number(&format!("offset-{n}"), share.offset)
                .number(&format!("bytes-{n}"), share.bytes)
                .number(&format!("as-of-{n}"), share.as_of)
                .name(&format!("beyond-{n}"), share.beyond.to_text().as_ref())
                .name(&format!("sent-{n}"), to_text(&share.sent).as_ref());
        }
        record.save(path, true)
    }

    /// Reads it back; `None`: there is none, or it is torn.
    pub fn load(path: &Path) -> io::Result<Option<Progress>> {
        match Record::load(path, "progress") {
            Ok(record) => Ok(record.as_ref().and_then(Progress::read)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read(record: &Record) -> Option<Progress> {
        let share = |n: u64| {
            Some(Standing {
                line: record.get_number(&format!("line-{n}"))?,
                offset: record.get_number(&format!("offset-{n}"))?,
                bytes: record.get_number(&format!("bytes-{n}"))?,
                beyond: Beyond::of_text(record.get_name(&format!("beyond-{n}"))?.to_str()?)?,
                sent: of_text(record.get_name(&format!("sent-{n}"))?.to_str()?)?,
                as_of: record.get_number(&format!("as-of-{n}")).unwrap_or(0),
            })
        };
        Some(Progress {
            inode: record.get_number("inode")?,
            size: record.get_number("size")?,
            claim: record.get_number("claim")?,
            as_of: record.get_number("as-of")?,
            key: match record.get_name("key") {
                Some(key) => Some(key.into_string().ok()?),
                None => None,
            },
            shares: (0..record.get_number("shares")?).map(share).collect::<Option<_>>()?,
        })
    }
}

/// `3:-1:a,8:17:b`
fn to_text(sent: &[(u64, i64, String)]) -> String {
    let word = |id: &String| names::to_word(id.as_ref()).replace(',', "%2c");
    let all = sent.iter().map(|(line, version, id)| format!("{line}:{version}:{}", word(id)));
    all.collect::<Vec<_>>().join(",")
}

fn of_text(text: &str) -> Option<Vec<(u64, i64, String)>> {
    let one = |one: &str| {
        let mut parts = one.splitn(3, ':');
        let (line, version) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let id = names::of_word(parts.next().unwrap_or_default());
        Some((line, version, id.into_string().ok()?))
    };
    text.split(',').filter(|part| !part.is_empty()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_believed_of_the_file_it_speaks_of() {
        let dir = tempfile::tempdir().unwrap();
        let (path, delta) = (dir.path().join("p"), dir.path().join("x.jsonl"));
        assert_eq!(Progress::load(&path).unwrap(), None);
        std::fs::write(&delta, "12345").unwrap();
        let found = std::fs::metadata(&delta).unwrap();
        let mut beyond = Beyond::default();
        beyond.push(7);
        let id = |id: &str| id.to_owned();
        let sent =
            vec![(6, -1, id("a,b:c %2c")), (8, 1_882_628_252_310_175_744, id("é")), (9, 1, id(""))];
        let standing = Standing { line: 5, offset: 50, bytes: 60, beyond, sent, as_of: 88 };
        let progress = Progress {
            inode: found.ino(),
            size: 5,
            claim: 3,
            as_of: 99,
            key: Some("Größe =".into()),
            shares: vec![Standing::default(), standing.clone()],
        };
        progress.save(&path).unwrap();
        let back = Progress::load(&path).unwrap().unwrap();
        assert_eq!(back, progress);
        assert_eq!(back.standing(1, 2, &found), Some(&standing));
        assert_eq!(back.standing(1, 3, &found), None, "divided otherwise");
        assert_eq!([0, 1, 2].map(|share| back.as_of(share)), [99, 88, 99]);
        std::fs::write(&delta, "123456").unwrap();
        let grown = std::fs::metadata(&delta).unwrap();
        assert_eq!(back.standing(1, 2, &grown), Some(&standing), "what was done is done");
        std::fs::write(&delta, "1234").unwrap();
        let cut = std::fs::metadata(&delta).unwrap();
        assert!(!back.is_of(&cut) && back.standing(1, 2, &cut).is_none());
        let other = std::fs::metadata(&path).unwrap();
        assert!(!back.is_of(&other) && back.standing(1, 2, &other).is_none());
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(Progress::load(&path).unwrap(), None);
    }
}
