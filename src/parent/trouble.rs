//! What the spool's file system does not do at present: told once, tried again and again, and on
//! the scoreboard for as long as it lasts.

use scoreboard::SpoolStep;
use std::io;

/// One step with the spool, and how it went.
#[derive(Debug)]
pub(crate) struct Trouble {
    step: SpoolStep,
    /// The last error's errno (-1: it has none); `None`: all is well.
    last: Option<i32>,
}

impl Trouble {
    pub(crate) fn new(step: SpoolStep) -> Trouble {
        Trouble { step, last: None }
    }

    /// It went wrong. Answers whether that has to be told: it is another error than before.
    pub(crate) fn is_news(&mut self, e: &io::Error) -> bool {
        let errno = e.raw_os_error().unwrap_or(-1);
        self.last.replace(errno) != Some(errno)
    }

    /// It went well. Answers whether it had not before.
    pub(crate) fn over(&mut self) -> bool {
        self.last.take().is_some()
    }

    /// For the scoreboard.
    pub(crate) fn told(&self) -> Option<(SpoolStep, i32)> {
        self.last.map(|errno| (self.step, errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once_until_it_is_another_or_over() {
        let mut trouble = Trouble::new(SpoolStep::Claim);
        let (full, broken) = (io::Error::from_raw_os_error(28), io::Error::from_raw_os_error(5));
        assert!(!trouble.over());
        assert_eq!(
            [&full, &full, &broken, &full].map(|e| trouble.is_news(e)),
            [true, false, true, true]
        );
        assert_eq!(trouble.told(), Some((SpoolStep::Claim, 28)));
        assert!(trouble.over() && !trouble.over());
        assert_eq!(trouble.told(), None);
        assert!(trouble.is_news(&full));
    }
}
