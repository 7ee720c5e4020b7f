//! Holding: what cannot be done now because of the machine (a full disk, a file system that does not
//! answer) is tried again later, told in the log, and never given up.

use std::io;
use std::time::Duration;

use slog::{Logger, info, warn};

use crate::backoff::Backoff;

const TELL_AGAIN: u64 = 30_000;

/// One thing that is tried until it works.
pub(crate) struct Hold {
    what: &'static str,
    backoff: Backoff,
    until: Option<u64>,
    told: Option<u64>,
    log: Logger,
}

impl Hold {
    /// `what` says what does not work: `"cannot write the checkpoint"`.
    pub(crate) fn new(what: &'static str, retry: &config::Retry, log: &Logger) -> Hold {
        Hold { what, backoff: Backoff::new(retry), until: None, told: None, log: log.clone() }
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
        self.until = Some(now + self.backoff.next().as_millis() as u64);
        if self.told.is_none_or(|told| now.saturating_sub(told) >= TELL_AGAIN) {
            self.told = Some(now);
            warn!(self.log, "{}, trying again", self.what; "error" => %error);
        }
    }

    /// It worked.
    pub(crate) fn worked(&mut self) {
        if self.until.take().is_some() {
            self.backoff.reset();
            self.told = None;
            info!(self.log, "it works again"; "before" => self.what);
        }
    }
}

/// Whether an error is the delta's own, so that no waiting helps.
pub(crate) fn is_the_deltas(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    // ELOOP (`FilesystemLoop`) has no stable name yet: a symbolic link that is not followed.
    const ELOOP: i32 = 40;
    error.raw_os_error() == Some(ELOOP)
        || matches!(
            error.kind(),
            NotFound | PermissionDenied | InvalidInput | IsADirectory | NotADirectory
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_due_again_later_and_at_once_when_it_works() {
        let retry =
            config::Retry { first: Duration::from_millis(200), most: Duration::from_secs(30) };
        let mut hold = Hold::new("cannot", &retry, &Logger::root(slog::Discard, slog::o!()));
        assert_eq!(hold.left(1000), None);
        hold.failed(&io::ErrorKind::StorageFull.into(), 1000);
        assert!(hold.left(1000).is_some_and(|left| left <= Duration::from_millis(200)));
        assert_eq!(hold.left(1200), None);
        hold.worked();
        assert_eq!(hold.left(1000), None);
    }

    #[test]
    fn a_full_disk_is_not_the_deltas_fault() {
        for errno in [5, 28, 12, 24, 116] {
            assert!(!is_the_deltas(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for errno in [2, 13, 40, 21] {
            assert!(is_the_deltas(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }
}
