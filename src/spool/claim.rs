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
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn what_was_ahead_when_the_daemon_died_has_passed_what_is_before_it() {
        let (_dir, spool) = spool();
        let by_id = |shares| Division { shares, key: Some("id".into()) };
        let mut claims = Vec::new();
        for (name, shares) in [("a.jsonl", 2), ("b.jsonl", 2), ("c.jsonl", 3)] {
            hand_over(&spool, name, "{}\n");
            claims.push(spool.claim(name.as_ref(), by_id(shares), 0, 7).unwrap());
        }
        let ends: Vec<_> = claims.iter().map(|claim| (claim.end, claim.version)).collect();
        assert_eq!(ends, [(Some(3), 7); 3]);
        assert!(claims[0].is_alike(&claims[1]) && !claims[1].is_alike(&claims[2]));
        for (claim, share) in [(&claims[0], 1), (&claims[1], 1), (&claims[2], 0)] {
            let of = Identity { claim: claim.number, share, of: claim.shares, inode: 1, size: 3 };
            let mark = Checkpoint { version: 90 + u64::from(share), ..Checkpoint::default() };
            mark.save(&spool.checkpoint(claim.number, share), &of).unwrap();
        }
        let found = spool.resume(1, 0).unwrap();
        let passed: Vec<_> = found.iter().map(|claim| claim.passed.clone()).collect();
        assert_eq!(passed, [vec![1], vec![], vec![]]);
        assert!(found.iter().zip(&claims).all(|(a, b)| (a.end, &a.key) == (b.end, &b.key)));
        // By these it is known, too, what Solr had come to.
        assert_eq!(spool.last_version().unwrap(), 91);
        spool.keep_version(92).unwrap();
        assert_eq!(spool.last_version().unwrap(), 92);
    }

    #[test]
    fn none_runs_ahead_of_a_delta_that_has_another_name() {
        let (dir, spool) = spool();
        hand_over(&spool, "a.jsonl", "{}\n");
        std::fs::hard_link(spool.incoming().join("a.jsonl"), dir.path().join("outbox")).unwrap();
        let division = Division { shares: 2, key: Some("id".into()) };
        assert_eq!(spool.claim("a.jsonl".as_ref(), division, 0, 0).unwrap().end, None);
        hand_over(&spool, "b.jsonl", "{}\n");
        assert_eq!(spool.claim("b.jsonl".as_ref(), 2, 0, 0).unwrap().end, None, "not by id");
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        (dir, spool)
    }

    fn hand_over(spool: &Spool, name: &str, text: &str) {
        std::fs::write(spool.incoming().join(name), text).unwrap();
    }

    /// A claim that was only recorded.
    fn claim(number: u64, name: &str) -> Claim {
        let (kind, guarded, name, key) = (Kind::Delta, false, name.into(), None);
        Claim { number, name, kind, guarded, shares: 2, key, ..Claim::default() }
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
        let claim = spool.claim("x.jsonl".as_ref(), 4, 17, 0).unwrap();
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
        assert_eq!(spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap().name, "x~5.jsonl");
    }

    #[test]
    fn claim_numbers_grow_over_restarts_and_a_torn_counter() {
        let (_dir, spool) = spool();
        for (n, name) in ["a.jsonl", "b.jsonl"].iter().enumerate() {
            hand_over(&spool, name, "");
            let claim = spool.claim(name.as_ref(), 1, 0, 0).unwrap();
            assert_eq!(claim.number, n as u64 + 1);
        }
        std::fs::write(spool.last_claim(), "torn").unwrap();
        hand_over(&spool, "c.jsonl", "");
        assert_eq!(spool.claim("c.jsonl".as_ref(), 1, 0, 0).unwrap().number, 3);
    }

    #[test]
    fn a_claim_whose_delta_never_moved_is_forgotten_and_the_delta_claimed_anew() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        spool.record(&claim(1, "x.jsonl")).unwrap(); // and here it died
        assert!(spool.resume(2, 0).unwrap().is_empty());
        assert_eq!(spool.claim("x.jsonl".as_ref(), 2, 0, 0).unwrap().name, "x.jsonl");
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
            spool.record(&claim(number, "x.jsonl")).unwrap();
        }
        let claims = spool.resume(2, 0).unwrap();
        assert_eq!(claims.iter().map(|c| c.number).collect::<Vec<_>>(), [10]);
        assert_eq!(spool.resume(2, 0).unwrap(), claims);
    }

    #[test]
    fn a_missing_folder_is_made_again_and_nothing_counts_as_settled() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
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
        let claim = spool.claim("x.jsonl".as_ref(), division, 0, 0).unwrap();
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
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        spool.settle(&claim, Settled::Failed).unwrap();
        spool.settle(&claim, Settled::Failed).unwrap();
        assert_eq!(names(spool.failed()), ["x.jsonl"]);
    }

    #[test]
    fn what_was_appended_to_a_settled_delta_is_a_claim_of_its_own() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "{}\n{}\n");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        spool.settle(&claim, Settled::Done).unwrap();
        std::fs::write(spool.rejected_file("x.jsonl".as_ref()), "").unwrap();
        let begin = Begin { line: 1, offset: 3 };
        let late = spool.claim_late("x.jsonl".as_ref(), begin, 2, 9, 0).unwrap();
        assert_eq!((late.name.to_str(), late.begin, late.bytes), (Some("x.jsonl"), begin, 6));
        assert!(late.number > claim.number && names(spool.done()).is_empty());
        assert_eq!(
            spool.resume(1, 0).unwrap(),
            std::slice::from_ref(&late),
            "it is known where it began"
        );
        hand_over(&spool, "x.jsonl", "");
        let other = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        assert_eq!(other.name, "x~2.jsonl", "the name is taken");
        assert_eq!(spool.settle(&late, Settled::Done).unwrap(), "x.jsonl");
    }

    #[test]
    fn a_claim_that_cannot_be_leaves_nothing_behind() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        let claim = || spool.claim("x.jsonl".as_ref(), 1, 0, 0);
        std::fs::remove_dir(spool.rejected()).unwrap();
        std::fs::write(spool.rejected(), "").unwrap(); // ENOTDIR, before there is a record
        claim().unwrap_err();
        assert_eq!(names(spool.active()), [".last-claim"]);
        std::fs::remove_file(spool.rejected()).unwrap();
        std::fs::create_dir(spool.rejected()).unwrap();
        let in_the_way = [".claim-2.tmp", ".claim-3.tmp", ".claim-4.tmp"];
        for name in in_the_way {
            std::fs::create_dir(spool.active().join(name)).unwrap();
            claim().unwrap_err();
        }
        assert_eq!(names(spool.active()), [&in_the_way[..], &[".last-claim"]].concat());
        assert_eq!(names(spool.incoming()), ["x.jsonl"]);
        assert_eq!(claim().unwrap().name, "x.jsonl");
    }

    #[test]
    fn a_settling_that_was_broken_off_is_made_good() {
        let (_dir, spool) = spool();
        hand_over(&spool, "x.jsonl", "");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        // It has moved, and then a sync failed.
        std::fs::rename(spool.active().join("x.jsonl"), spool.done().join("x.jsonl")).unwrap();
        spool.settle(&claim, Settled::Done).unwrap();
        assert_eq!(names(spool.active()), [".last-claim"]);
        assert_eq!(names(spool.done()), ["x.jsonl"]);
    }

    #[test]
    fn what_was_taken_away_before_the_claim_is_not_found() {
        let (_dir, spool) = spool();
        let error = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(spool.resume(1, 0).unwrap().is_empty());
    }

    fn marks(spool: &Spool) -> Vec<Vec<String>> {
        [spool.failed(), spool.active(), spool.rejected()].into_iter().map(names).collect()
    }

    /// A delta in `failed/`, of two shares, first claimed as number 1, that is wanted again.
    fn failed(spool: &Spool) -> (Claim, Progress) {
        use std::os::unix::fs::MetadataExt;
        hand_over(spool, "x.jsonl", "{}\n");
        let claim = spool.claim("x.jsonl".as_ref(), 2, 0, 77).unwrap();
        let found = spool.look_at_claimed(Kind::Delta, &claim.name).unwrap();
        let shares = vec![crate::Standing { line: 1, ..Default::default() }; 2];
        let (inode, size) = (found.ino(), found.size());
        let (claim_number, as_of, key) = (claim.number, 5, Some("sku".into()));
        let progress = Progress { inode, size, claim: claim_number, as_of, key, shares };
        progress.save(&spool.progress(claim.number)).unwrap();
        spool.settle(&claim, Settled::Failed).unwrap();
        spool.want("x.jsonl".as_ref(), false).unwrap();
        (claim, progress)
    }

    #[test]
    fn a_failed_delta_keeps_its_progress_and_takes_it_along_when_it_is_retried() {
        let (_dir, spool) = spool();
        let (first, progress) = failed(&spool);
        let hidden = [".again-rest~x.jsonl", ".last-claim", ".progress~x.jsonl"];
        assert_eq!(marks(&spool), [&["x.jsonl"][..], &hidden, &[]]);
        assert!(spool.is_known("x.jsonl".as_ref()).unwrap());
        let wanted = spool.wanted().unwrap();
        let claim = spool.claim_again(&wanted[0], 9, 0, 99).unwrap();
        assert_eq!((claim.kind, claim.guarded, claim.shares), (Kind::Rest, true, 2));
        assert_eq!(claim.key.as_deref(), Some("sku"), "divided as it was");
        assert!(claim.number > first.number);
        assert_eq!(Progress::load(&spool.progress(claim.number)).unwrap(), Some(progress.clone()));
        assert_eq!(names(spool.failed()), [""; 0]);
        assert_eq!(spool.resume(9, 9).unwrap(), std::slice::from_ref(&claim));
        assert_eq!(spool.last_version().unwrap(), 99);
        // It fails once more.
        spool.settle(&claim, Settled::Failed).unwrap();
        assert_eq!(
            Progress::load(&spool.kept_progress("x.jsonl".as_ref())).unwrap(),
            Some(progress)
        );
        assert_eq!(names(spool.active()), [".last-claim", ".progress~x.jsonl"]);
    }

    #[test]
    fn a_crash_between_any_two_steps_of_a_retry_leaves_the_old_state_or_the_new() {
        let record = |spool: &Spool| {
            let claim = Claim { kind: Kind::Rest, guarded: true, since: 3, ..claim(9, "x.jsonl") };
            spool.record(&claim).unwrap();
            claim
        };
        let progress = |spool: &Spool| {
            rename(&spool.kept_progress("x.jsonl".as_ref()), &spool.progress(9)).unwrap();
        };
        let delta = |spool: &Spool| {
            std::fs::rename(spool.failed().join("x.jsonl"), spool.active().join("x.jsonl"))
                .unwrap();
        };
        let old = [".again-rest~x.jsonl", ".last-claim", ".progress~x.jsonl"];
        let new = [".claim-9", ".last-claim", ".progress-9", "x.jsonl"];
        for steps in 0..=4 {
            let (_dir, spool) = spool();
            let (_, known) = failed(&spool);
            let claim = (steps >= 1).then(|| record(&spool));
            // A power cut may have kept the second rename and not the first.
            if matches!(steps, 2 | 3) {
                progress(&spool);
            }
            if steps >= 3 {
                delta(&spool);
            }
            let claims = spool.resume(2, 0).unwrap();
            match steps {
                0..=2 => {
                    assert_eq!(claims, []);
                    assert_eq!(marks(&spool), [&["x.jsonl"][..], &old, &[]], "{steps} steps");
                    assert_eq!(spool.wanted().unwrap().len(), 1);
                }
                _ => {
                    assert_eq!(claims, [Claim { bytes: 3, ..claim.unwrap() }]);
                    assert_eq!(marks(&spool), [&[][..], &new, &[]], "{steps} steps");
                    assert_eq!(Progress::load(&spool.progress(9)).unwrap(), Some(known));
                }
            }
            let again = spool.resume(2, 0).unwrap();
            assert_eq!(again, claims);
        }
    }

    #[test]
    fn a_crash_while_a_delta_goes_to_failed_loses_no_progress() {
        for moved in [false, true] {
            let (_dir, spool) = spool();
            let (_, progress) = failed(&spool);
            let claim = spool.claim_again(&spool.wanted().unwrap()[0], 2, 0, 0).unwrap();
            if moved {
                std::fs::rename(spool.active().join("x.jsonl"), spool.failed().join("x.jsonl"))
                    .unwrap();
            }
            assert_eq!(spool.resume(2, 0).unwrap().len(), usize::from(!moved));
            let now = if moved {
                spool.kept_progress("x.jsonl".as_ref())
            } else {
                spool.progress(claim.number)
            };
            assert_eq!(Progress::load(&now).unwrap(), Some(progress), "moved: {moved}");
        }
    }

    #[test]
    fn rejected_lines_are_retried_under_a_name_that_no_delta_can_have() {
        let (_dir, spool) = spool();
        std::fs::write(spool.rejected_file("x.jsonl".as_ref()), "{}\n{}\n").unwrap();
        spool.want("x.jsonl".as_ref(), true).unwrap();
        let wanted = spool.wanted().unwrap();
        let claim = spool.claim_again(&wanted[0], 3, 0, 0).unwrap();
        assert_eq!(
            (claim.kind, claim.guarded, claim.shares, claim.bytes),
            (Kind::Rejects, false, 3, 6)
        );
        assert_eq!(names(spool.active()), [".claim-1", ".last-claim", ".retry~x.jsonl"]);
        assert_eq!(names(spool.rejected()), [""; 0]);
        // Meanwhile the name comes again: what is rejected of it must not meet these.
        hand_over(&spool, "x.jsonl", "");
        let other = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        assert_eq!(other.name, "x~2.jsonl");
        assert_eq!(spool.resume(1, 0).unwrap(), [claim.clone(), other]);
        assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), "x.jsonl");
        assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), "x.jsonl", "and once more");
        let left = [".claim-2", ".last-claim", "x~2.jsonl"];
        assert_eq!(
            (names(spool.active()), names(spool.done())),
            (left.map(String::from).to_vec(), vec![])
        );
        // One without its claim is one still, and guarded.
        std::fs::write(spool.active().join(".retry~y.jsonl"), "").unwrap();
        let claims = spool.resume(1, 0).unwrap();
        let found = claims.iter().find(|c| c.name == "y.jsonl").unwrap();
        assert_eq!((found.kind, found.guarded), (Kind::Rejects, true));
    }

    #[test]
    fn what_was_taken_away_before_it_was_retried_is_not_found() {
        let (_dir, spool) = spool();
        let (_, progress) = failed(&spool);
        let wanted = spool.wanted().unwrap();
        std::fs::rename(spool.failed().join("x.jsonl"), spool.dir().join("mine")).unwrap();
        let error = spool.claim_again(&wanted[0], 1, 0, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let kept = spool.kept_progress("x.jsonl".as_ref());
        assert_eq!(Progress::load(&kept).unwrap(), Some(progress));
        assert_eq!(spool.resume(1, 0).unwrap(), []);
        assert!(!kept.exists(), "nobody needs it any more");
        // Another file in its place is not taken for it.
        std::fs::write(spool.failed().join("x.jsonl"), "{}\n").unwrap();
        assert!(!spool.is_known("x.jsonl".as_ref()).unwrap());
    }

    #[test]
    fn a_waiting_delta_that_is_cancelled_can_be_retried_and_is_as_old_as_then() {
        let (_dir, spool) = spool();
        std::fs::write(spool.done().join("x.jsonl"), "").unwrap();
        hand_over(&spool, "x.jsonl", "{}\n");
        assert_eq!(spool.cancel_waiting("x.jsonl".as_ref(), 42, false).unwrap(), "x~2.jsonl");
        assert_eq!(names(spool.failed()), ["x~2.jsonl"]);
        assert!(names(spool.incoming()).is_empty());
        let name = OsStr::new("x~2.jsonl");
        assert!(spool.is_known(name).unwrap());
        let progress = Progress::load(&spool.kept_progress(name)).unwrap().unwrap();
        assert_eq!((progress.as_of, progress.shares.len()), (42, 0));
        hand_over(&spool, "later.jsonl", "");
        let later = spool.claim("later.jsonl".as_ref(), 1, 0, 0).unwrap();
        assert!(later.number > progress.claim);
        let wanted = spool.want(name, false).unwrap();
        assert_eq!(spool.claim_again(&wanted[0], 3, 0, 0).unwrap().shares, 3);
        for name in ["x.jsonl", "nobody.jsonl"] {
            let error = spool.cancel_waiting(name.as_ref(), 0, false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn what_is_under_way_when_a_waiting_delta_is_cancelled_is_older_than_that() {
        let (_dir, spool) = spool();
        for name in ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"] {
            hand_over(&spool, name, "{}\n");
        }
        assert!(!spool.is_writing().unwrap());
        let active = spool.claim("a.jsonl".as_ref(), 1, 0, 0).unwrap();
        assert!(spool.is_writing().unwrap());
        for (name, as_of) in [("b.jsonl", 42), ("c.jsonl", 43)] {
            spool.cancel_waiting(name.as_ref(), as_of, true).unwrap();
            let progress = Progress::load(&spool.kept_progress(name.as_ref())).unwrap().unwrap();
            let [run] = spool.runs().unwrap()[..] else { panic!("one run is enough") };
            assert_eq!((run.after, run.upto), (42, Run::OPEN));
            assert!(active.number < run.claim && run.claim < progress.claim);
        }
        spool.settle(&active, Settled::Done).unwrap();
        spool.end_runs(50).unwrap();
        spool.cancel_waiting("d.jsonl".as_ref(), 60, false).unwrap();
        assert_eq!(spool.runs().unwrap()[0].upto, 50);
    }

    #[test]
    fn what_failed_is_not_retried_because_another_of_its_name_was_to_be() {
        let (_dir, spool) = spool();
        failed(&spool); // and wanted
        std::fs::remove_file(spool.failed().join("x.jsonl")).unwrap();
        hand_over(&spool, "x.jsonl", "{}\n");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        spool.settle(&claim, Settled::Failed).unwrap();
        assert_eq!(names(spool.failed()), ["x.jsonl"]);
        assert_eq!(spool.wanted().unwrap(), []);
    }

    #[test]
    fn what_was_not_written_whole_before_a_crash_is_cleared_away() {
        let (_dir, spool) = spool();
        std::fs::write(spool.active().join(".claim-16.tmp"), "solr-upd").unwrap();
        hand_over(&spool, "x.jsonl", "{}\n");
        let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
        assert_eq!(spool.resume(1, 0).unwrap(), [claim]);
        assert_eq!(names(spool.active()), [".claim-1", ".last-claim", "x.jsonl"]);
    }
}
