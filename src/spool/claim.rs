//! Claim and settle: a delta taken from `incoming/` into `active/`, and out of it.
//!
//! Each step is one rename, and what is written before it makes the step after it repeatable: a
//! claim's record is on the disk before its delta moves, and is removed after it has moved on. So
//! whoever comes after a crash finds either the delta where it was, or a claim to take up again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::record::Record;
use crate::{Spool, is_delta, names};

/// A delta in `active/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Grows with every claim, over restarts too.
    pub number: u64,
    /// Its name in `active/`, free in every other folder.
    pub name: OsString,
    /// How many shares it is divided into. That stays so while it is active: its checkpoints
    /// speak of these shares, whatever the number of workers becomes.
    pub shares: u32,
    /// The member of a line by whose value the lines are divided; `None`: by their number.
    pub key: Option<String>,
    /// When it was first seen, milliseconds since 1970.
    pub seen: u64,
    /// Its size in bytes when it was claimed or taken up again.
    pub bytes: u64,
}

/// How a delta is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// Into so many shares.
    pub shares: u32,
    /// By the value of this member of a line; `None`: by the line's number.
    pub key: Option<String>,
}

impl From<u32> for Division {
    fn from(shares: u32) -> Division {
        Division { shares, key: None }
    }
}

/// Where a delta goes in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Every line is done.
    Done,
    /// It was given up as a whole.
    Failed,
}

impl Spool {
    fn claim_record(&self, number: u64) -> PathBuf {
        self.active().join(format!(".claim-{number}"))
    }

    fn last_claim(&self) -> PathBuf {
        self.active().join(".last-claim")
    }

    /// The claims that were open when the last daemon ended, oldest first. What is left of
    /// settled ones is cleared away, and a delta in `active/` that has no claim gets one.
    pub fn resume(&self, division: impl Into<Division>, wall: u64) -> io::Result<Vec<Claim>> {
        let Division { shares, key } = division.into();
        let mut claims: Vec<Claim> = Vec::new();
        let mut deltas = Vec::new();
        for entry in std::fs::read_dir(self.active())? {
            let name = entry?.file_name();
            if let Some(number) = number_in(&name, b".claim-") {
                match self.open_claim(number)? {
                    Some(claim) => claims.push(claim),
                    None => self.forget(number)?,
                }
            } else if is_delta(&name) && self.active().join(&name).symlink_metadata()?.is_file() {
                deltas.push(name);
            }
        }
        claims.sort_by_key(|c: &Claim| c.number);
        // A claim that could not be forgotten when its delta was claimed anew: the last one counts.
        let last = |c: &Claim| claims.iter().rfind(|other| other.name == c.name).map(|o| o.number);
        let (claims_kept, superseded): (Vec<Claim>, Vec<Claim>) =
            claims.iter().cloned().partition(|c| last(c) == Some(c.number));
        for claim in superseded {
            self.forget(claim.number)?;
        }
        let mut claims = claims_kept;
        deltas.sort();
        for name in deltas {
            if claims.iter().all(|c| c.name != name) {
                let (number, key) = (self.next_number()?, key.clone());
                let claim = Claim { number, name, shares, key, seen: wall, bytes: 0 };
                self.record(&claim)?;
                claims.push(Claim { bytes: self.size(&claim.name)?, ..claim });
            }
        }
        claims.sort_by_key(|c| c.number);
        Ok(claims)
    }

    /// The claim of this number, if its delta is in `active/`.
    fn open_claim(&self, number: u64) -> io::Result<Option<Claim>> {
        let Some(record) = Record::load(&self.claim_record(number), "claim")? else {
            return Ok(None);
        };
        let claim = || {
            Some(Claim {
                number,
                name: record.get_name("name")?,
                shares: u32::try_from(record.get_number("shares")?).ok().filter(|n| *n > 0)?,
                key: match record.get_name("key") {
                    Some(key) => Some(key.into_string().ok()?),
                    None => None,
                },
                seen: record.get_number("seen")?,
                bytes: 0,
            })
        };
        let Some(claim) = claim() else { return Ok(None) };
        match self.size(&claim.name) {
            Ok(bytes) => Ok(Some(Claim { bytes, ..claim })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn size(&self, name: &OsStr) -> io::Result<u64> {
        let path = self.active().join(name);
        let found =
            if self.links { std::fs::metadata(path)? } else { std::fs::symlink_metadata(path)? };
        Ok(found.len())
    }

    fn next_number(&self) -> io::Result<u64> {
        let last = match Record::load(&self.last_claim(), "last-claim") {
            Ok(record) => record.and_then(|r| r.get_number("number")).unwrap_or(0),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        // The record may be torn or gone: no number that is in use may come again.
        let mut next = last + 1;
        while self.claim_record(next).exists() {
            next += 1;
        }
        Record::new("last-claim").number("number", next).save(&self.last_claim(), true)?;
        Ok(next)
    }

    fn record(&self, claim: &Claim) -> io::Result<()> {
        let record = Record::new("claim");
        let record = match &claim.key {
            Some(key) => record.name("key", key.as_ref()),
            None => record,
        };
        record
            .number("shares", claim.shares.into())
            .number("seen", claim.seen)
            .name("name", &claim.name)
            .save(&self.claim_record(claim.number), true)
    }

    /// Claims `name` from `incoming/`, to be divided so. `seen`: when it was first
    /// seen, milliseconds since 1970. An error of kind `NotFound`: somebody took it away.
    pub fn claim(
        &self,
        name: &OsStr,
        division: impl Into<Division>,
        seen: u64,
    ) -> io::Result<Claim> {
        let Division { shares, key } = division.into();
        let from = self.incoming().join(name);
        std::fs::symlink_metadata(&from)?;
        let number = self.next_number()?;
        for free in names::candidates(name) {
            if !self.is_free(&free)? {
                continue;
            }
            let claim = Claim { number, name: free, shares, key: key.clone(), seen, bytes: 0 };
            self.record(&claim)?;
            sys::files::sync_folder(&self.active())?;
            match sys::files::rename_noreplace(&from, &self.active().join(&claim.name)) {
                Ok(()) => {
                    // It is claimed, whatever happens now. Should a power cut undo a rename that
                    // could not be synced, the record is found without its delta and forgotten.
                    let _ = sys::files::sync_folder(&self.active());
                    let _ = sys::files::sync_folder(&self.incoming());
                    let bytes = self.size(&claim.name).unwrap_or(0);
                    return Ok(Claim { bytes, ..claim });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => {
                    self.forget(number)?;
                    return Err(e);
                }
            }
        }
        unreachable!("candidates never end")
    }

    /// Whether no folder has a file of this name: what is made of it later must not meet another.
    fn is_free(&self, name: &OsStr) -> io::Result<bool> {
        let places = [
            self.active().join(name),
            self.done().join(name),
            self.failed().join(name),
            self.rejected_file(name),
        ];
        for place in places {
            match std::fs::symlink_metadata(place) {
                Ok(_) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Moves a delta out of `active/`. Its rejects, if any, must be in `rejected/` and on the
    /// disk. Answers its name there, another one if somebody has put a file in its place.
    pub fn settle(&self, claim: &Claim, settled: Settled) -> io::Result<OsString> {
        let folder = match settled {
            Settled::Done => self.done(),
            Settled::Failed => self.failed(),
        };
        let from = self.active().join(&claim.name);
        for name in names::candidates(&claim.name) {
            match sys::files::rename_noreplace(&from, &folder.join(&name)) {
                Ok(()) => {
                    sys::files::sync_folder(&folder)?;
                    sys::files::sync_folder(&self.active())?;
                    self.forget(claim.number)?;
                    return Ok(name);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    if std::fs::symlink_metadata(&from).is_ok() {
                        // It is the folder that is gone.
                        self.make_folders()?;
                        return Err(e);
                    }
                    // Settled before: this is a repetition after an error further down.
                    self.forget(claim.number)?;
                    return Ok(name);
                }
                Err(e) => return Err(e),
            }
        }
        unreachable!("candidates never end")
    }

    /// Removes what belongs to a claim: its shares' files, then its record.
    fn forget(&self, number: u64) -> io::Result<()> {
        let of_shares = format!(".share-{number}-");
        for entry in std::fs::read_dir(self.active())? {
            let entry = entry?;
            if entry.file_name().as_bytes().starts_with(of_shares.as_bytes()) {
                remove(&entry.path())?;
            }
        }
        remove(&self.claim_record(number))
    }
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn number_in(name: &OsStr, before: &[u8]) -> Option<u64> {
    std::str::from_utf8(name.as_bytes().strip_prefix(before)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        (dir, spool)
    }

    fn hand_over(spool: &Spool, name: &str, text: &str) {
        std::fs::write(spool.incoming().join(name), text).unwrap();
    }

    fn names(folder: PathBuf) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_delta_is_always_in_exactly_one_place() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "{}\n");
        let claim = spool.claim("x.jsonl".as_ref(), 4, 17).unwrap();
        assert_eq!((claim.number, claim.shares, claim.seen, claim.bytes), (1, 4, 17, 3));
        assert!(names(spool.incoming()).is_empty());
        assert_eq!(spool.resume(9, 99).unwrap(), std::slice::from_ref(&claim));
        std::fs::write(spool.rejects(1, 3), "x").unwrap();
        assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), "x.jsonl");
        assert_eq!(names(spool.done()), ["x.jsonl"]);
        assert_eq!(names(spool.active()), [".last-claim"]);
        assert!(spool.resume(9, 99).unwrap().is_empty());
    }

    #[test]
    fn a_name_that_was_used_before_is_given_a_free_one() {
        let (_dir, spool) = spool();
        for (folder, name) in [
            (spool.done(), "x.jsonl"),
            (spool.failed(), "x~2.jsonl"),
            (spool.rejected(), "x~3.jsonl.rejected.jsonl"),
            (spool.active(), "x~4.jsonl"),
        ] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        hand_over(&spool, "x.jsonl", "");
        assert_eq!(spool.claim("x.jsonl".as_ref(), 1, 0).unwrap().name, "x~5.jsonl");
    }

    #[test]
    fn claim_numbers_grow_over_restarts_and_a_torn_counter() {
        let (_dir, spool) = spool();
        for (n, name) in ["a.jsonl", "b.jsonl"].iter().enumerate() {
            hand_over(&spool, name, "");
            let claim = spool.claim(name.as_ref(), 1, 0).unwrap();
            assert_eq!(claim.number, n as u64 + 1);
        }
        std::fs::write(spool.last_claim(), "torn").unwrap();
        hand_over(&spool, "c.jsonl", "");
        assert_eq!(spool.claim("c.jsonl".as_ref(), 1, 0).unwrap().number, 3);
    }

    #[test]
    fn a_claim_whose_delta_never_moved_is_forgotten_and_the_delta_claimed_anew() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        let name = "x.jsonl".into();
        let claim = Claim { number: 1, name, shares: 2, key: None, seen: 0, bytes: 0 };
        spool.record(&claim).unwrap(); // and here it died
        assert!(spool.resume(2, 0).unwrap().is_empty());
        assert_eq!(spool.claim("x.jsonl".as_ref(), 2, 0).unwrap().name, "x.jsonl");
    }

    #[test]
    fn a_delta_in_active_without_a_claim_gets_one() {
        let (_dir, spool) = spool();
        std::fs::write(spool.active().join("lost.jsonl"), "{}").unwrap();
        let claims = spool.resume(3, 5).unwrap();
        assert_eq!(claims.len(), 1);
        assert_eq!(
            (claims[0].name.to_str(), claims[0].shares, claims[0].bytes),
            (Some("lost.jsonl"), 3, 2)
        );
        assert_eq!(spool.resume(9, 9).unwrap(), claims);
    }

    #[test]
    fn of_two_claims_of_one_delta_the_last_counts() {
        let (_dir, spool) = spool();
        std::fs::write(spool.active().join("x.jsonl"), "{}").unwrap();
        for number in [9, 10] {
            let name = "x.jsonl".into();
            spool.record(&Claim { number, name, shares: 2, key: None, seen: 0, bytes: 0 }).unwrap();
        }
        let claims = spool.resume(2, 0).unwrap();
        assert_eq!(claims.iter().map(|c| c.number).collect::<Vec<_>>(), [10]);
        assert_eq!(spool.resume(2, 0).unwrap(), claims);
    }

    #[test]
    fn a_missing_folder_is_made_again_and_nothing_counts_as_settled() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0).unwrap();
        std::fs::remove_dir(spool.done()).unwrap();
        spool.settle(&claim, Settled::Done).unwrap_err();
        assert_eq!(spool.resume(1, 0).unwrap(), std::slice::from_ref(&claim));
        spool.settle(&claim, Settled::Done).unwrap();
        assert_eq!(names(spool.done()), ["x.jsonl"]);
    }

    #[test]
    fn a_delta_stays_divided_as_it_was_claimed() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "{}");
        let division = Division { shares: 3, key: Some("Größe \n=".into()) };
        let claim = spool.claim("x.jsonl".as_ref(), division, 0).unwrap();
        assert_eq!((claim.shares, claim.key.as_deref()), (3, Some("Größe \n=")));
        assert_eq!(spool.resume(9, 9).unwrap(), [claim]);
    }

    #[test]
    fn only_deltas_in_active_are_taken_for_deltas() {
        let (_dir, spool) = spool();
        std::fs::create_dir(spool.active().join("folder.jsonl")).unwrap();
        std::fs::write(spool.active().join("notes.txt"), "").unwrap();
        std::os::unix::fs::symlink("notes.txt", spool.active().join("link.jsonl")).unwrap();
        assert_eq!(spool.resume(1, 0).unwrap(), []);
    }

    #[test]
    fn settling_twice_is_settling_once() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0).unwrap();
        spool.settle(&claim, Settled::Failed).unwrap();
        spool.settle(&claim, Settled::Failed).unwrap();
        assert_eq!(names(spool.failed()), ["x.jsonl"]);
    }

    #[test]
    fn what_was_taken_away_before_the_claim_is_not_found() {
        let (_dir, spool) = spool();
        let error = spool.claim("x.jsonl".as_ref(), 1, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(spool.resume(1, 0).unwrap().is_empty());
    }
}
