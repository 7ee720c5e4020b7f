//! Deltas on disk: what waits, what is claimed, how far each share is, and what is settled.
//!
//! One directory on one file system. A delta moves by rename only, `incoming/` → `active/` →
//! `done/` or `failed/`, so it is always in exactly one place, whatever dies at whatever moment.
//! This crate opens no delta to read it and parses no line; the parent stands on it.

mod checkpoint;
mod claim;
mod incoming;
mod lock;
mod names;
mod prune;
mod record;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use checkpoint::{Checkpoint, Identity};
pub use claim::{Claim, Division, Settled};
pub use incoming::{Entry, Incoming, Next};
pub use lock::{Held, SpoolLock};
pub use names::is_delta;
pub use prune::{Keep, prune};

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
    /// must be held.
    pub fn prove(&self) -> Result<(), SpoolError> {
        let at = |path: &Path, message: String| SpoolError { path: path.into(), message };
        let folders = self.folders();
        let probe = |folder: &Path| folder.join(".probe");
        std::fs::write(probe(&folders[0]), b"").map_err(|e| {
            at(&folders[0], format!("cannot write into this folder: {}", remedy(&e)))
        })?;
        for (from, to) in folders.iter().zip(&folders[1..]) {
            std::fs::rename(probe(from), probe(to)).map_err(|e| {
                let _ = std::fs::remove_file(probe(from));
                match e.kind() {
                    io::ErrorKind::CrossesDevices => at(to, self.foreign()),
                    _ => at(to, format!("cannot move a file into this folder: {}", remedy(&e))),
                }
            })?;
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

    fn folders(&self) -> [PathBuf; 5] {
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

    /// The ids of a share, as far as they are compared with the other shares'.
    pub fn ids(&self, claim: u64, share: u32) -> PathBuf {
        self.active().join(format!(".share-{claim}-{share}.ids"))
    }

    /// The delta's rejects, once all shares are in.
    pub fn rejected_file(&self, delta: &OsStr) -> PathBuf {
        self.rejected().join(names::rejected(delta))
    }

    /// Opens an active delta for reading. Each reader must open it for itself: an inherited
    /// descriptor would share its position.
    pub fn open_delta(&self, name: &OsStr) -> io::Result<std::fs::File> {
        sys::files::open_regular(&self.active().join(name), self.links)
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// An error and what an operator does about it.
fn remedy(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{e}: mount it writable, or set spool.dir to another place")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{e}: give it to the user that runs solr-updater")
        }
        io::ErrorKind::StorageFull => format!("{e}: make room"),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
