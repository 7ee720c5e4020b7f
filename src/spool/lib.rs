//! Deltas on disk: what waits, what is claimed, how far each share is, and what is settled.
//!
//! One directory on one file system. A delta moves by rename only, `incoming/` → `active/` →
//! `done/` or `failed/`, so it is always in exactly one place, whatever dies at whatever moment.
//! This crate opens no delta to read it and parses no line; the parent stands on it.

mod beyond;
mod checkpoint;
mod claim;
mod history;
mod incoming;
mod late;
mod left;
mod lock;
mod names;
mod pause;
mod progress;
mod prune;
mod record;
mod runs;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use beyond::Beyond;
pub use checkpoint::{Checkpoint, Identity};
pub use claim::{Begin, Claim, Division, Kind, Settled};
pub use history::{Fate, Past};
pub use incoming::{Entry, Incoming, Next};
pub use late::{End, Late, News, What};
pub use left::{Left, Wanted, nothing_left, nothing_to_cancel, some_undone, unknown_progress};
pub use lock::{Held, SpoolLock};
pub use names::{Packing, check_name, is_delta, of_word, rejected_of, to_word};
pub use progress::{Progress, Standing};
pub use prune::{Keep, prune};
pub use runs::Run;

/// The spool directory and where things lie in it. Cheap to clone; opens nothing by itself.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
    links: bool,
}

/// The spool cannot be used: the place, what is wrong with it and what to do.
#[derive(Debug)]
pub struct SpoolError {
    /// Which folder or file.
    pub path: PathBuf,
    /// What is wrong and what to do, one line.
    pub message: String,
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for SpoolError {}

impl Spool {
    /// The spool in `dir`, as it is.
    pub fn at(dir: &Path) -> Spool {
        Spool { dir: dir.into(), links: false }
    }

    /// The same spool, but a symbolic link stands for the file it points to. For `feed`, which
    /// makes the links itself; never for a spool that strangers write to.
    pub fn with_links(self) -> Spool {
        Spool { links: true, ..self }
    }

    /// Whether it is such.
    pub fn follows_links(&self) -> bool {
        self.links
    }

    /// Makes the folders that are missing; each must be a folder on the same file system.
    pub fn prepare(&self) -> Result<(), SpoolError> {
        let at = |path: &Path, message: String| SpoolError { path: path.into(), message };
        std::fs::create_dir_all(&self.dir).map_err(|e| {
            at(
                &self.dir,
                format!("cannot make the spool's directory: {e}; make it, or set spool.dir"),
            )
        })?;
        let device = |path: &Path| {
            sys::files::device(path).map_err(|e| at(path, format!("cannot look at it: {e}")))
        };
        let home = device(&self.dir)?;
        for folder in self.folders() {
            make(&folder)
                .map_err(|e| at(&folder, format!("cannot make this folder: {}", remedy(&e))))?;
            if !folder.is_dir() {
                return Err(at(&folder, "is not a folder: move it away".into()));
            }
            if device(&folder)? != home {
                return Err(at(&folder, self.foreign()));
            }
        }
        Ok(())
    }

    /// Makes the folders that are missing.
    pub(crate) fn make_folders(&self) -> io::Result<()> {
        self.folders().iter().try_for_each(|folder| make(folder))
    }

    /// Proves that deltas can move: a file of ours does, through all the folders. (Two mounts of
    /// one file system look the same until something is renamed between them.) The spool's lock
    /// must be held. A full disk proves nothing, and passes: the daemon waits for room and says so.
    pub fn prove(&self) -> Result<(), SpoolError> {
        let at = |path: &Path, message: String| SpoolError { path: path.into(), message };
        let folders = self.folders();
        let probe = |folder: &Path| folder.join(".probe");
        match std::fs::write(probe(&folders[0]), b"") {
            Err(e) if is_full(&e) => return Ok(()),
            Err(e) => {
                let message = format!("cannot write into this folder: {}", remedy(&e));
                return Err(at(&folders[0], message));
            }
            Ok(()) => {}
        }
        for (from, to) in folders.iter().zip(&folders[1..]) {
            if let Err(e) = std::fs::rename(probe(from), probe(to)) {
                let _ = std::fs::remove_file(probe(from));
                return match e.kind() {
                    io::ErrorKind::CrossesDevices => Err(at(to, self.foreign())),
                    _ if is_full(&e) => Ok(()),
                    _ => {
                        let words = format!("cannot move a file into this folder: {}", remedy(&e));
                        Err(at(to, words))
                    }
                };
            }
        }
        let last = &folders[folders.len() - 1];
        std::fs::remove_file(probe(last))
            .map_err(|e| at(last, format!("cannot remove a file there: {}", remedy(&e))))
    }

    fn foreign(&self) -> String {
        format!(
            "is on another file system (or mount) than the rest of {}: deltas move by rename, so \
             the whole spool must be on one",
            self.dir.display()
        )
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Which directory it is, by device and inode: another one may be mounted in its place.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let found = std::fs::metadata(&self.dir)?;
        Ok((found.dev(), found.ino()))
    }

    /// Where producers hand over.
    pub fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    /// The delta being delivered, and its checkpoints.
    pub fn active(&self) -> PathBuf {
        self.dir.join("active")
    }

    /// What was delivered in full.
    pub fn done(&self) -> PathBuf {
        self.dir.join("done")
    }

    /// What was given up as a whole.
    pub fn failed(&self) -> PathBuf {
        self.dir.join("failed")
    }

    /// Lines that can never be delivered.
    pub fn rejected(&self) -> PathBuf {
        self.dir.join("rejected")
    }

    /// All of them.
    pub fn folders(&self) -> [PathBuf; 5] {
        [self.incoming(), self.active(), self.done(), self.failed(), self.rejected()]
    }

    /// The checkpoint of one share.
    pub fn checkpoint(&self, claim: u64, share: u32) -> PathBuf {
        self.active().join(format!(".share-{claim}-{share}.checkpoint"))
    }

    /// The rejects of one share.
    pub fn rejects(&self, claim: u64, share: u32) -> PathBuf {
        self.active().join(format!(".share-{claim}-{share}.rejects"))
    }

    /// What a share is about to send that may be carried out once only.
    pub fn intents(&self, claim: u64, share: u32) -> PathBuf {
        self.active().join(format!(".share-{claim}-{share}.intents"))
    }

    /// The documents of a share of which nobody can be sure yet.
    pub fn doubts(&self, claim: u64, share: u32) -> PathBuf {
        self.active().join(format!(".share-{claim}-{share}.doubts"))
    }

    /// The ids of a share, as far as they are compared with the other shares'.
    pub fn ids(&self, claim: u64, share: u32) -> PathBuf {
        self.active().join(format!(".share-{claim}-{share}.ids"))
    }

    /// How far an active delta was when it was given up: now, or before it was retried.
    pub fn progress(&self, claim: u64) -> PathBuf {
        self.active().join(format!(".progress-{claim}"))
    }

    /// The same of a delta in `failed/`.
    pub(crate) fn kept_progress(&self, delta: &OsStr) -> PathBuf {
        self.active().join(names::hidden(left::PROGRESS, delta))
    }

    /// The delta's rejects, once all shares are in.
    pub fn rejected_file(&self, delta: &OsStr) -> PathBuf {
        self.rejected().join(names::rejected(delta))
    }

    /// Where what was claimed of a delta lies.
    pub(crate) fn claimed_file(&self, kind: Kind, name: &OsStr) -> PathBuf {
        match kind {
            Kind::Delta | Kind::Rest => self.active().join(name),
            Kind::Rejects => self.active().join(names::retrying(name)),
        }
    }

    /// Opens what was claimed for reading. Each reader must open it for itself: an inherited
    /// descriptor would share its position.
    pub fn open_claimed(&self, kind: Kind, name: &OsStr) -> io::Result<std::fs::File> {
        sys::files::open_regular(&self.claimed_file(kind, name), self.links)
    }

    /// What is known of it without opening it, a file or not.
    pub fn look_at_claimed(&self, kind: Kind, name: &OsStr) -> io::Result<std::fs::Metadata> {
        let path = self.claimed_file(kind, name);
        if self.links { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }
    }

    /// Whether it can be told what has become of it: it is there, or it is not in a folder that can be
    /// looked into.
    pub fn can_look_at_claimed(&self, kind: Kind, name: &OsStr) -> bool {
        match std::fs::symlink_metadata(self.claimed_file(kind, name)) {
            Ok(_) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                std::fs::metadata(self.active().join(".")).is_ok()
            }
            Err(_) => false,
        }
    }

    /// Opens the delta of this name that was read before, wherever it is now.
    pub fn open_former(&self, name: &OsStr) -> io::Result<std::fs::File> {
        let folders = [self.done(), self.failed(), self.active()];
        let mut last = io::ErrorKind::NotFound.into();
        for folder in folders {
            match sys::files::open_regular(&folder.join(name), self.links) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => last = e,
                found => return found,
            }
        }
        Err(last)
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// An error of the spool's file system, and what an operator does about it.
pub fn remedy(e: &io::Error) -> String {
    let remedy = match e.kind() {
        io::ErrorKind::StorageFull => "make room there (df -h, df -i)",
        io::ErrorKind::QuotaExceeded => "make room there, or raise the quota",
        io::ErrorKind::FileTooLarge => "raise the limit of file sizes (ulimit -f, LimitFSIZE)",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or set spool.dir to another place",
        io::ErrorKind::PermissionDenied => "give it to the user that runs solr-updater",
        io::ErrorKind::CrossesDevices => "the whole spool must be on one file system (and mount)",
        _ if e.raw_os_error() == Some(sys::files::EIO) => "look after the disk (dmesg)",
        _ => return e.to_string(),
    };
    format!("{e}: {remedy}")
}

/// Whether there is no room, for this user at least.
pub fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_with_what_to_do_about_it() {
        for (errno, words) in [
            (28, "make room there (df -h, df -i)"),
            (122, "raise the quota"),
            (30, "mount it writable"),
            (13, "give it to the user"),
            (1, "give it to the user"),
            (5, "look after the disk"),
            (27, "LimitFSIZE"),
            (18, "must be on one file system"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let told = remedy(&error);
            assert!(told.starts_with(&error.to_string()) && told.contains(words), "{told}");
        }
        let other = io::Error::from_raw_os_error(116);
        assert_eq!(remedy(&other), other.to_string());
    }

    #[test]
    fn missing_folders_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(&dir.path().join("a/b"));
        spool.prepare().unwrap();
        spool.prepare().unwrap();
        spool.prove().unwrap();
        assert!(spool.incoming().is_dir() && spool.rejected().is_dir());
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("active"), "").unwrap();
        let error = Spool::at(dir.path()).prepare().unwrap_err();
        assert_eq!(error.path, dir.path().join("active"));
        assert!(error.message.contains("not a folder"), "{error}");
    }
}
