//! A compressed delta that ends in the middle of what was compressed. Its producer may still be at it, so
//! it is waited for as long as it grows, and until it has stood still for `settle`: then nobody will
//! write the rest.

use std::time::Duration;

/// For so many times `settle` it may go on growing so.
const PATIENCE: u64 = 100;

/// What is known of it. Times are monotonic milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Torn {
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The file's size.
    size: u64,
    /// When it was first seen, of whatever size.
    since: u64,
    /// When it has stood still for long enough, if it does not grow.
    until: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Wait,
    /// The same, and that is to be told.
    Tell,
    /// It stands still.
    GiveUp,
    /// It does not, and others have waited for long enough.
    GoesOn,
}

impl Torn {
    /// It was read up to there, and that is no end.
    pub(crate) fn look(&mut self, size: u64, settle: u64, now: u64) -> Next {
        let Some(seen) = &mut self.seen else {
            self.seen = Some(Seen { size, since: now, until: now + settle });
            return Next::Tell;
        };
        let is_still = seen.size == size;
        if is_still && now >= seen.until {
            return Next::GiveUp;
        }
        if now >= seen.since + PATIENCE * settle {
            return Next::GoesOn;
        }
        if !is_still {
            (seen.size, seen.until) = (size, now + settle);
        }
        Next::Wait
    }

    /// How long it is left alone.
    pub(crate) fn left(&self, now: u64) -> Option<Duration> {
        let left = self.seen?.until.checked_sub(now).filter(|left| *left > 0)?;
        Some(Duration::from_millis(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_when_it_stands_still_or_grows_for_ever() {
        let mut torn = Torn::default();
        assert_eq!((torn.look(5, 20, 1_000), torn.left(1_005)), (Next::Tell, Some(ms(15))));
        assert_eq!((torn.look(9, 20, 1_020), torn.left(1_020)), (Next::Wait, Some(ms(20))));
        assert_eq!((torn.look(9, 20, 1_039), torn.left(1_040)), (Next::Wait, None));
        assert_eq!(torn.look(9, 20, 1_040), Next::GiveUp);
        let mut torn = Torn::default();
        let mut look = |now| torn.look(now, 20, now);
        assert_eq!(look(1_000), Next::Tell);
        assert!((1_020..3_000).step_by(20).all(|now| look(now) == Next::Wait));
        assert_eq!(look(3_000), Next::GoesOn);
        let mut torn = Torn::default();
        assert_eq!((torn.look(5, 0, 9), torn.look(5, 0, 9)), (Next::Tell, Next::GiveUp));
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
