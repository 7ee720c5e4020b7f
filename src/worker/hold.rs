//! Holding: what cannot be done now because of the machine (a full disk, a file system that does not
//! answer) is tried again later, told in the log and on the scoreboard, and never given up.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use scoreboard::Held;
use slog::{Logger, info, warn};
use spool::{Kind, Spool};

use crate::backoff::Backoff;

const TELL_AGAIN: u64 = 30_000;

/// One thing that is tried until it works.
pub(crate) struct Hold {
    what: Held,
    backoff: Backoff,
    until: Option<u64>,
    /// The last error's errno; -1: it has none.
    errno: i32,
    told: Option<u64>,
    log: Logger,
}

impl Hold {
    /// Holds what does not work at present.
    pub(crate) fn new(what: Held, retry: &config::Retry, log: &Logger) -> Hold {
        let (backoff, log) = (Backoff::new(retry), log.clone());
        Hold { what, backoff, until: None, errno: 0, told: None, log }
    }

    /// For the scoreboard: what does not work, and why.
    pub(crate) fn told(&self) -> Option<(Held, i32)> {
        self.until.map(|_| (self.what, self.errno))
    }

    /// How long the next try is off; `None`: it is due.
    pub(crate) fn left(&self, now: u64) -> Option<Duration> {
        let left = self.until?.checked_sub(now).filter(|left| *left > 0)?;
        Some(Duration::from_millis(left))
    }

    /// Whether it did not work when it was last tried.
    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// It did not work.
    pub(crate) fn failed(&mut self, error: &io::Error, now: u64) {
        self.failed_at(self.what, error, now);
    }

    /// Something else that belongs to it did not work.
    pub(crate) fn failed_at(&mut self, what: Held, error: &io::Error, now: u64) {
        self.what = what;
        self.errno = error.raw_os_error().unwrap_or(-1);
        self.until = Some(now + self.backoff.next().as_millis() as u64);
        if self.told.is_none_or(|told| now.saturating_sub(told) >= TELL_AGAIN) {
            self.told = Some(now);
            warn!(self.log, "{}, trying again", words(what); "error" => spool::remedy(error));
        }
    }

    /// It worked.
    pub(crate) fn worked(&mut self) {
        if self.until.take().is_some() {
            self.backoff.reset();
            self.told = None;
            info!(self.log, "it works again"; "before" => words(self.what));
        }
    }
}

fn words(what: Held) -> &'static str {
    match what {
        Held::Open => "cannot open the delta",
        Held::Read => "cannot read the delta",
        Held::Write => "cannot write checkpoint or rejects",
        Held::Intend => "cannot write down what is to be sent once only",
        Held::Merge => "cannot write the delta's rejects",
        Held::Finish => "cannot finish the delta",
        Held::Convert => "the converter does not work",
    }
}

/// Whether an error with a claimed delta is its own, so that no waiting helps. Where `active/` is away,
/// or cannot be searched, it is not.
pub(crate) fn is_the_deltas(error: &io::Error, kind: Kind, name: &OsStr, spool: &Spool) -> bool {
    let may_be_the_folders = {
        use io::ErrorKind::*;
        matches!(error.kind(), NotFound | PermissionDenied)
    };
    is_a_files(error) && (!may_be_the_folders || spool.can_look_at_claimed(kind, name))
}

/// Whether an error may be that of one file.
fn is_a_files(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    // ELOOP (`FilesystemLoop`) has no stable name yet: a symbolic link that is not followed.
    const ELOOP: i32 = 40;
    error.raw_os_error() == Some(ELOOP)
        || matches!(
            error.kind(),
            NotFound | PermissionDenied | InvalidInput | InvalidData | IsADirectory | NotADirectory
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_due_again_later_and_at_once_when_it_works() {
        let retry =
            config::Retry { first: Duration::from_millis(200), most: Duration::from_secs(30) };
        let mut hold = Hold::new(Held::Write, &retry, &Logger::root(slog::Discard, slog::o!()));
        assert_eq!((hold.left(1000), hold.told()), (None, None));
        hold.failed(&io::Error::from_raw_os_error(28), 1000);
        assert_eq!(hold.told(), Some((Held::Write, 28)));
        assert!(hold.left(1000).is_some_and(|left| left <= Duration::from_millis(200)));
        assert_eq!(hold.left(1200), None);
        assert!(hold.told().is_some(), "it is due, and has not worked yet");
        hold.worked();
        assert_eq!((hold.left(1000), hold.told()), (None, None));
    }

    #[test]
    fn a_folder_that_is_away_is_not_the_deltas_fault() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let fault = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            is_the_deltas(&error, Kind::Delta, "x.jsonl".as_ref(), &spool)
        };
        assert_eq!([2, 13, 21, 28].map(fault), [true, true, true, false], "it is not there");
        std::fs::write(spool.active().join("x.jsonl"), "").unwrap();
        assert_eq!([2, 13, 21, 28].map(fault), [true, true, true, false], "it may not be read");
        std::fs::rename(spool.active(), dir.path().join("away")).unwrap();
        assert_eq!([2, 13, 21, 28].map(fault), [false, false, true, false]);
    }

    #[test]
    fn a_full_disk_is_not_the_deltas_fault() {
        for errno in [5, 28, 12, 24, 116] {
            assert!(!is_a_files(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for errno in [2, 13, 40, 21] {
            assert!(is_a_files(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }
}
