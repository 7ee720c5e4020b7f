//! Whether a person has paused the daemon: a mark in the spool, which outlives it.

use std::io;
use std::path::PathBuf;

use crate::Spool;

impl Spool {
    fn pause_mark(&self) -> PathBuf {
        self.active().join(".paused")
    }

    /// Nothing is to be sent for now, over restarts too.
    pub fn pause(&self) -> io::Result<()> {
        std::fs::write(self.pause_mark(), b"")?;
        sys::files::sync_folder(&self.active())
    }

    /// It may go on.
    pub fn end_pause(&self) -> io::Result<()> {
        crate::claim::remove(&self.pause_mark())?;
        sys::files::sync_folder(&self.active())
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> io::Result<bool> {
        crate::left::is_file(&self.pause_mark())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_until_it_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        assert!(!spool.is_paused().unwrap());
        spool.end_pause().unwrap();
        for _ in 0..2 {
            spool.pause().unwrap();
            assert!(Spool::at(dir.path()).is_paused().unwrap());
        }
        spool.end_pause().unwrap();
        assert!(!spool.is_paused().unwrap());
    }
}
