//! The diary: what the health says, as events of the log. A reason is told when it begins, when it gets
//! worse or better, and when it is over, so that the log of a bad night says when it began to be one.

use std::collections::BTreeMap;

use slog::{Logger, error, info, warn};
use status::{Reason, Severity};

#[derive(Debug, Default)]
pub(crate) struct Diary {
    /// What was told last of each kind of reason.
    told: BTreeMap<String, Severity>,
}

/// What is to be told.
#[derive(Debug, PartialEq)]
enum News<'r> {
    Is(&'r Reason),
    Over(String),
}

impl Diary {
    /// Whether nothing is told that is not over.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Tells what is new. The reasons come worst first, so of each kind the worst counts.
    pub(crate) fn tell(&mut self, reasons: &[Reason], log: &Logger) {
        for news in self.news(reasons) {
            match news {
                News::Is(Reason { code, severity: Severity::Critical, message, .. }) => {
                    error!(log, "not well"; "health" => code, "severity" => "critical", "reason" => message);
                }
                News::Is(Reason { code, severity: Severity::Warning, message, .. }) => {
                    warn!(log, "not well"; "health" => code, "severity" => "warning", "reason" => message);
                }
                News::Over(code) => info!(log, "well again"; "health" => code),
            }
        }
    }

    fn news<'r>(&mut self, reasons: &'r [Reason]) -> Vec<News<'r>> {
        let (mut news, mut now) = (Vec::new(), BTreeMap::new());
        for reason in reasons {
            if now.contains_key(&reason.code) {
                continue;
            }
            now.insert(reason.code.clone(), reason.severity);
            if self.told.remove(&reason.code) != Some(reason.severity) {
                news.push(News::Is(reason));
            }
        }
        let over = std::mem::replace(&mut self.told, now);
        news.extend(over.into_keys().map(News::Over));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Critical, Warning};

    #[test]
    fn a_reason_is_told_when_it_begins_gets_worse_and_is_over_and_not_in_between() {
        let mut diary = Diary::default();
        let lag = |severity, s| Reason::new("lag", severity, format!("lag {s} s"));
        let solr = Reason::new("solr", Critical, "Solr unreachable");
        assert_eq!(diary.news(&[]), []);
        assert_eq!(diary.news(&[lag(Warning, 301)]), [News::Is(&lag(Warning, 301))]);
        assert_eq!(diary.news(&[lag(Warning, 302)]), []);
        let both = [solr.clone(), lag(Warning, 303)];
        assert_eq!(diary.news(&both), [News::Is(&solr)]);
        // Two of one kind are one, as bad as the worse.
        let three = [solr.clone(), lag(Critical, 1801), lag(Warning, 400)];
        assert_eq!(diary.news(&three), [News::Is(&lag(Critical, 1801))]);
        assert_eq!(diary.news(&[lag(Critical, 1802)]), [News::Over("solr".into())]);
        assert_eq!(diary.news(&[]), [News::Over("lag".into())]);
        assert_eq!(diary.news(&[]), []);
    }
}
