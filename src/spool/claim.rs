//! Claim and settle: a delta taken from `incoming/` into `active/`, and out of it; and what is left
//! of one, to be retried.
//!
//! Each step is one rename, and what is written before it makes the step after it repeatable: a
//! claim's record is on the disk before its delta moves, and is removed after it has moved on. So
//! whoever comes after a crash finds either the delta where it was, or a claim to take up again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::left::{Wanted, is_file, is_missing};
use crate::progress::Progress;
use crate::record::Record;
use crate::{Checkpoint, Run, Spool, is_delta, names};

/// What was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// A delta, from `incoming/`.
    #[default]
    Delta,
    /// What a failed delta still has, from `failed/`.
    Rest,
    /// Rejected lines of a delta, from `rejected/`.
    Rejects,
}

impl Kind {
    /// As a number in a record or a message.
    pub fn number(self) -> u64 {
        match self {
            Kind::Delta => 0,
            Kind::Rest => 1,
            Kind::Rejects => 2,
        }
    }

    /// The other way round.
    pub fn of_number(number: u64) -> Option<Kind> {
        [Kind::Delta, Kind::Rest, Kind::Rejects].into_iter().find(|kind| kind.number() == number)
    }
}

/// Something in `active/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Grows with every claim, over restarts too.
    pub number: u64,
    /// The delta's name, free in every other folder.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
    /// Whether no newer document may be overwritten; only of what is retried.
    pub guarded: bool,
    /// How many shares it is divided into. That stays so while it is active: its checkpoints
    /// speak of these shares, whatever the number of workers becomes.
    pub shares: u32,
    /// The member of a line by whose value the lines are divided; `None`: by their number.
    pub key: Option<String>,
    /// When it was first seen, milliseconds since 1970.
    pub seen: u64,
    /// When it was claimed, milliseconds since 1970.
    pub since: u64,
    /// Its size in bytes when it was claimed or taken up again.
    pub bytes: u64,
    /// Where it begins in its file.
    pub begin: Begin,
    /// All its shares are to be read up to here and no further, if a line ends here, so that they end
    /// at the same place whatever a producer appends: only of what others may run ahead of.
    pub end: Option<u64>,
    /// The highest version in any receipt when it was claimed, as far as that was known.
    pub version: u64,
    /// Shares of it that are in, since a later claim's same share was begun before the last daemon
    /// ended.
    pub passed: Vec<u32>,
}

impl Claim {
    /// Whether a document has its line in the same share of both, and neither is anything but a delta
    /// as it was handed over: a worker may go on from one to the other while others are behind.
    pub fn is_alike(&self, other: &Claim) -> bool {
        let plain = |c: &Claim| c.end.is_some() && c.key.is_some();
        plain(self) && plain(other) && (self.shares, &self.key) == (other.shares, &other.key)
    }
}

/// Where a claim begins in its file: at the first line, but for what was appended to a delta that
/// had been settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Begin {
    /// The index of the line, from 0.
    pub line: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
}

/// How a delta is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// Into so many shares.
    pub shares: u32,
    /// By the value of this member of a line; `None`: by the line's number.
    pub key: Option<String>,
}

impl Division {
    /// Of what is of this kind, by this configuration.
    fn of(&self, kind: Kind) -> Division {
        match (kind, &self.key) {
            // Reject records have no such member. All lines of a document are one worker's all the
            // same: all lines are.
            (Kind::Rejects, Some(_)) => Division::from(1),
            (Kind::Rejects, None) | (Kind::Delta | Kind::Rest, _) => self.clone(),
        }
    }
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
        let division = division.into();
        let mut claims: Vec<Claim> = Vec::new();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.active())? {
            let name = entry?.file_name();
            if name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(b".tmp") {
                remove(&self.active().join(&name))?; // of a record that was not written whole
            } else if let Some(number) = number_in(&name, b".claim-") {
                match self.open_claim(number)? {
                    Some(claim) => claims.push(claim),
                    None => self.forget(number)?,
                }
            } else if is_file(&self.active().join(&name))? {
                match names::retried(&name) {
                    Some(delta) => found.push((delta.to_owned(), Kind::Rejects)),
                    None if is_delta(&name) => found.push((name, Kind::Delta)),
                    None => {}
                }
            }
        }
        claims.sort_by_key(|c: &Claim| c.number);
        // A claim that could not be forgotten when its delta was claimed anew: the last one counts.
        let file = |c: &Claim| self.claimed_file(c.kind, &c.name);
        let last = |c: &Claim| claims.iter().rfind(|o| file(o) == file(c)).map(|o| o.number);
        let (claims_kept, superseded): (Vec<Claim>, Vec<Claim>) =
            claims.iter().cloned().partition(|c| last(c) == Some(c.number));
        for claim in superseded {
            self.forget(claim.number)?;
        }
        let mut claims = claims_kept;
        found.sort();
        for (name, kind) in found {
            let path = self.claimed_file(kind, &name);
            if claims.iter().all(|c| file(c) != path) {
                let number = self.next_number(0)?;
                let Division { shares, key } = division.of(kind);
                let (guarded, seen, since) = (kind != Kind::Delta, wall, wall);
                let rest = Claim::default();
                let claim = Claim { number, name, kind, guarded, shares, key, seen, since, ..rest };
                self.record(&claim)?;
                claims.push(Claim { bytes: self.size(&path)?, ..claim });
            }
        }
        claims.sort_by_key(|c| c.number);
        for claim in &claims {
            self.follow(claim)?;
        }
        self.clear_marks()?;
        self.find_passed(&mut claims)?;
        Ok(claims)
    }

    /// Which shares a later claim has passed: it has a checkpoint of the same share, and that is not
    /// written before the earlier one's is in. To read that one once more would bring back the old.
    fn find_passed(&self, claims: &mut [Claim]) -> io::Result<()> {
        for n in 1..claims.len() {
            let (earlier, later) = claims.split_at_mut(n);
            let later = &later[0];
            for share in (0..later.shares).filter(|_| later.end.is_some()) {
                if is_file(&self.checkpoint(later.number, share))? {
                    let alike = earlier.iter_mut().filter(|claim| claim.is_alike(later));
                    let open = alike.filter(|claim| !claim.passed.contains(&share));
                    open.for_each(|claim| claim.passed.push(share));
                }
            }
        }
        Ok(())
    }

    /// The claim of this number, if what it claims is in `active/`.
    fn open_claim(&self, number: u64) -> io::Result<Option<Claim>> {
        let Some(record) = Record::load(&self.claim_record(number), "claim")? else {
            return Ok(None);
        };
        let claim = || {
            let seen = record.get_number("seen")?;
            Some(Claim {
                number,
                name: record.get_name("name")?,
                kind: Kind::of_number(record.get_number("kind").unwrap_or(0))?,
                guarded: record.get_number("guarded").unwrap_or(0) != 0,
                shares: u32::try_from(record.get_number("shares")?).ok().filter(|n| *n > 0)?,
                key: match record.get_name("key") {
                    Some(key) => Some(key.into_string().ok()?),
                    None => None,
                },
                seen,
                since: record.get_number("since").unwrap_or(seen),
                bytes: 0,
                begin: Begin {
                    line: record.get_number("line").unwrap_or(0),
                    offset: record.get_number("offset").unwrap_or(0),
                },
                end: record.get_number("end"),
                version: record.get_number("version").unwrap_or(0),
                passed: Vec::new(),
            })
        };
        let Some(claim) = claim() else { return Ok(None) };
        match self.size(&self.claimed_file(claim.kind, &claim.name)) {
            Ok(bytes) => Ok(Some(Claim { bytes, ..claim })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // It may have gone to failed/ just before the last daemon ended, or never have left.
                self.keep_progress(number, &claim.name)?;
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let found =
            if self.links { std::fs::metadata(path)? } else { std::fs::symlink_metadata(path)? };
        Ok(found.len())
    }

    /// The next claim number. `version`: the highest in any receipt so far; it is kept with the
    /// number, and never falls.
    fn next_number(&self, version: u64) -> io::Result<u64> {
        let (last, before) = self.last_number()?;
        // The record may be torn or gone: no number that is in use may come again.
        let mut next = last + 1;
        while self.claim_record(next).exists() {
            next += 1;
        }
        Record::new("last-claim")
            .number("number", next)
            .number("version", version.max(before))
            .save(&self.last_claim(), true)?;
        Ok(next)
    }

    /// The last claim number, and the highest version in any receipt when it was given.
    fn last_number(&self) -> io::Result<(u64, u64)> {
        let record = match Record::load(&self.last_claim(), "last-claim") {
            Ok(record) => record,
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let number = |key| record.as_ref().and_then(|r| r.get_number(key)).unwrap_or(0);
        Ok((number("number"), number("version")))
    }

    fn last_version_file(&self) -> PathBuf {
        self.active().join(".last-version")
    }

    /// Keeps the highest version in any receipt so far, when a delta is settled and its checkpoints, which
    /// knew it, go, while later ones are open. Not synced, as these are not.
    pub fn keep_version(&self, version: u64) -> io::Result<()> {
        Record::new("last-version")
            .number("version", version)
            .save(&self.last_version_file(), false)
    }

    /// The highest version in any receipt of an earlier daemon, as far as that is known: when the last
    /// delta was claimed, by the checkpoints of those that are open, or when the last one was settled. (A
    /// delta that is claimed ahead is so before the one before it has its last receipts; and what is
    /// rejected of it is newer than these.)
    pub fn last_version(&self) -> io::Result<u64> {
        let mut last = self.last_number()?.1;
        match Record::load(&self.last_version_file(), "last-version") {
            Ok(kept) => last = last.max(kept.and_then(|r| r.get_number("version")).unwrap_or(0)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        for entry in std::fs::read_dir(self.active())? {
            let name = entry?.file_name();
            if name.as_bytes().starts_with(b".share-") && name.as_bytes().ends_with(b".checkpoint")
            {
                let found = Checkpoint::found(&self.active().join(&name))?;
                last = found.map_or(last, |(_, (mark, _))| last.max(mark.version));
            }
        }
        Ok(last)
    }

    fn record(&self, claim: &Claim) -> io::Result<()> {
        let record = Record::new("claim");
        let record = match &claim.key {
            Some(key) => record.name("key", key.as_ref()),
            None => record,
        };
        let record = match claim.end {
            Some(end) => record.number("end", end),
            None => record,
        };
        record
            .number("shares", claim.shares.into())
            .number("seen", claim.seen)
            .number("since", claim.since)
            .number("kind", claim.kind.number())
            .number("guarded", claim.guarded.into())
            .number("version", claim.version)
            .number("line", claim.begin.line)
            .number("offset", claim.begin.offset)
            .name("name", &claim.name)
            .save(&self.claim_record(claim.number), true)
    }

    /// Claims `name` from `incoming/`, to be divided so. `seen`: when it was first
    /// seen, milliseconds since 1970; `version`: the highest in any receipt so far. An error of
    /// kind `NotFound`: somebody took it away.
    pub fn claim(
        &self,
        name: &OsStr,
        division: impl Into<Division>,
        seen: u64,
        version: u64,
    ) -> io::Result<Claim> {
        let Division { shares, key } = division.into();
        let from = self.incoming().join(name);
        let found = std::fs::symlink_metadata(&from)?;
        let number = self.next_number(version)?;
        let (kind, guarded, since) = (Kind::Delta, false, sys::clock::wall_ms());
        // What is appended to a file that has another name is never claimed later: all of it must be
        // read now.
        let is_ours_alone = found.is_file() && found.nlink() == 1;
        let end = (key.is_some() && is_ours_alone).then_some(found.len());
        loop {
            let n = names::first_free(|n| self.is_free(&names::numbered(name, n)))?;
            let (name, key) = (names::numbered(name, n), key.clone());
            let rest = Claim { end, version, ..Claim::default() };
            let claim = Claim { number, name, kind, guarded, shares, key, seen, since, ..rest };
            self.record(&claim)?;
            match self.take(&claim, &from) {
                Ok(bytes) => {
                    let _ = sys::files::sync_folder(&self.incoming());
                    return Ok(Claim { bytes, ..claim });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => {
                    self.forget(number)?;
                    return Err(e);
                }
            }
        }
    }

    /// Claims what was appended to a delta in `done/`, from there on. It keeps its name, and its
    /// rejects join those that it has. An error of kind `NotFound`: somebody took it away.
    pub fn claim_late(
        &self,
        name: &OsStr,
        begin: Begin,
        division: impl Into<Division>,
        seen: u64,
        version: u64,
    ) -> io::Result<Claim> {
        let Division { shares, key } = division.into();
        let from = self.done().join(name);
        std::fs::symlink_metadata(&from)?;
        let number = self.next_number(version)?;
        let (name, kind, guarded, since) =
            (name.to_owned(), Kind::Delta, false, sys::clock::wall_ms());
        let rest = Claim { begin, version, ..Claim::default() };
        let claim = Claim { number, name, kind, guarded, shares, key, seen, since, ..rest };
        match self.record(&claim).and_then(|()| self.take(&claim, &from)) {
            Ok(bytes) => {
                let _ = sys::files::sync_folder(&self.done());
                Ok(Claim { bytes, ..claim })
            }
            Err(e) => {
                self.forget(number)?;
                Err(e)
            }
        }
    }

    /// Claims what is to be retried. An error of kind `NotFound`: somebody took it away.
    pub fn claim_again(
        &self,
        wanted: &Wanted,
        division: impl Into<Division>,
        seen: u64,
        version: u64,
    ) -> io::Result<Claim> {
        let Wanted { name, kind, force } = wanted.clone();
        let from = self.left_file(kind, &name);
        std::fs::symlink_metadata(&from)?;
        let known = match kind {
            Kind::Rest => Progress::load(&self.kept_progress(&name))?,
            Kind::Delta | Kind::Rejects => None,
        };
        // Its shares stand where they stood.
        let stands = known.filter(|progress| !progress.shares.is_empty());
        let Division { shares, key } = match stands {
            Some(Progress { shares, key, .. }) => Division { shares: shares.len() as u32, key },
            None => division.into().of(kind),
        };
        let number = self.next_number(version)?;
        let (guarded, since) = (!force, sys::clock::wall_ms());
        let rest = Claim::default();
        let claim = Claim { number, name, kind, guarded, shares, key, seen, since, ..rest };
        let taken = self.record(&claim).and_then(|()| {
            if kind == Kind::Rest {
                rename(&self.kept_progress(&claim.name), &self.progress(number))?;
            }
            self.take(&claim, &from)
        });
        match taken {
            Ok(bytes) => {
                let _ = self.unwant(&claim.name, kind); // or the next start does it
                let _ = sys::files::sync_folder(from.parent().unwrap_or(Path::new(".")));
                Ok(Claim { bytes, ..claim })
            }
            Err(e) => {
                self.keep_progress(number, &claim.name)?;
                self.forget(number)?;
                Err(e)
            }
        }
    }

    /// Moves the file of a recorded claim into `active/`; its size.
    fn take(&self, claim: &Claim, from: &Path) -> io::Result<u64> {
        sys::files::sync_folder(&self.active())?;
        let to = self.claimed_file(claim.kind, &claim.name);
        sys::files::rename_noreplace(from, &to)?;
        // It is claimed, whatever happens now. Should a power cut undo a rename that could not be
        // synced, the record is found without its delta and forgotten.
        let _ = sys::files::sync_folder(&self.active());
        Ok(self.size(&to).unwrap_or(0))
    }

    /// Sees to it, after a crash or a power cut, that what belongs to a claim is with it: a failed
    /// delta's progress; and that it is not wanted any more.
    fn follow(&self, claim: &Claim) -> io::Result<()> {
        match claim.kind {
            Kind::Delta => return Ok(()),
            Kind::Rest => {
                rename(&self.kept_progress(&claim.name), &self.progress(claim.number))?;
            }
            Kind::Rejects => {}
        }
        self.unwant(&claim.name, claim.kind).map(drop)
    }

    /// A delta is in `failed/` now: its progress follows, if it is that one's.
    fn keep_progress(&self, number: u64, name: &OsStr) -> io::Result<()> {
        let of = self.progress(number);
        let Some(progress) = Progress::load(&of)? else { return Ok(()) };
        match std::fs::symlink_metadata(self.failed().join(name)) {
            Ok(delta) if progress.is_of(&delta) => rename(&of, &self.kept_progress(name)),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether a delta was begun that is as new as what it writes, by a daemon that is gone.
    pub fn is_writing(&self) -> io::Result<bool> {
        for entry in std::fs::read_dir(self.active())? {
            let Some(number) = number_in(&entry?.file_name(), b".claim-") else { continue };
            let claim = self.open_claim(number)?;
            if claim.is_some_and(|claim| claim.kind == Kind::Delta || !claim.guarded) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives up a delta that waits in `incoming/`: it goes to `failed/`, and can be retried from
    /// there as any other. `as_of`: the highest version in any receipt so far. `under_way`: something
    /// older is, and what that writes from now on is no newer than this delta: a run is begun that says
    /// so, to be ended ([`Spool::end_runs`]) when it is settled. Answers its name there. An error of kind
    /// `NotFound`: it does not wait.
    pub fn cancel_waiting(
        &self,
        name: &OsStr,
        as_of: u64,
        under_way: bool,
    ) -> io::Result<OsString> {
        let from = self.incoming().join(name);
        let found = std::fs::symlink_metadata(&from)?;
        if !found.is_file() || !is_delta(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if under_way && !self.runs()?.iter().any(|run| run.upto == Run::OPEN) {
            // Its number lies between those of what is under way and of this: what is rejected of
            // that is older than the rest of it.
            let claim = self.next_number(0)?;
            self.remember_runs(&[Run { after: as_of, upto: Run::OPEN, claim }])?;
        }
        // What is claimed from now on is newer.
        let claim = self.next_number(0)?;
        let (inode, size) = (found.ino(), found.size());
        for free in names::candidates(name) {
            if !self.is_free(&free)? {
                continue;
            }
            let progress = Progress { inode, size, claim, as_of, ..Progress::default() };
            progress.save(&self.kept_progress(&free))?;
            // Both are on the disk before the delta moves, or a power cut would leave it there of no age.
            sys::files::sync_folder(&self.active())?;
            match sys::files::rename_noreplace(&from, &self.failed().join(&free)) {
                Ok(()) => {
                    sys::files::sync_folder(&self.failed())?;
                    sys::files::sync_folder(&self.incoming())?;
                    return Ok(free);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => {
                    remove(&self.kept_progress(&free))?;
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
            self.claimed_file(Kind::Rejects, name),
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
    /// disk. Answers its name there, another one if somebody has put a file in its place. Rejected
    /// lines that were retried are not kept: those that were rejected again are in `rejected/`.
    pub fn settle(&self, claim: &Claim, settled: Settled) -> io::Result<OsString> {
        let from = self.claimed_file(claim.kind, &claim.name);
        if claim.kind == Kind::Rejects {
            remove(&from)?;
            sys::files::sync_folder(&self.active())?;
            self.forget(claim.number)?;
            return Ok(claim.name.clone());
        }
        let folder = match settled {
            Settled::Done => self.done(),
            Settled::Failed => self.failed(),
        };
        for name in names::candidates(&claim.name) {
            let is_there = std::fs::symlink_metadata(folder.join(&name)).is_ok();
            if settled == Settled::Failed && !is_there {
                // A mark that is left is another's, which was taken away: nobody has asked for this.
                self.unwant(&name, Kind::Rest)?;
            }
            match sys::files::rename_noreplace(&from, &folder.join(&name)) {
                Ok(()) => {
                    if settled == Settled::Failed {
                        self.keep_progress(claim.number, &name)?;
                    }
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
                    self.keep_progress(claim.number, &name)?;
                    sys::files::sync_folder(&folder)?;
                    sys::files::sync_folder(&self.active())?;
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
        remove(&self.progress(number))?;
        remove(&self.claim_record(number))
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if !is_missing(&e) => Err(e),
        _ => Ok(()),
    }
}

/// Renames a file, if it is there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn number_in(name: &OsStr, before: &[u8]) -> Option<u64> {
    std::str::from_utf8(name.as_bytes().strip_prefix(before)?).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
