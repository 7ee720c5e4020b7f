//! These are the numbers a threshold can be held against: one option pair each, `--NAME-warning` and
//! `--NAME-critical`, and one entry of performance data. What is compared is what is printed, to the digit, so that
//! `lag=300s;300` never alerts.

use status::{Document, code};

/// One of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Seconds since the oldest delta not settled was first seen.
    Lag,
    /// Deltas waiting in `incoming/`.
    Queue,
    /// Lines in `rejected/`.
    Rejected,
    /// Deltas in `failed/`.
    Failed,
    /// Slots with a living worker.
    Workers,
    /// Seconds Solr has owed an answer; 0 while nobody wants one.
    SolrAge,
    /// Documents per second over the last minute; 0 while nothing is delivered.
    DocsRate,
}

impl Metric {
    /// These are all, in the order of the performance data.
    pub const ALL: [Metric; 7] = [
        Metric::Lag,
        Metric::Queue,
        Metric::Rejected,
        Metric::Failed,
        Metric::Workers,
        Metric::SolrAge,
        Metric::DocsRate,
    ];

    /// These are its options, for the warning and for the critical range.
    pub fn options(self) -> [&'static str; 2] {
        match self {
            Metric::Lag => ["lag-warning", "lag-critical"],
            Metric::Queue => ["queue-warning", "queue-critical"],
            Metric::Rejected => ["rejected-warning", "rejected-critical"],
            Metric::Failed => ["failed-warning", "failed-critical"],
            Metric::Workers => ["workers-warning", "workers-critical"],
            Metric::SolrAge => ["solr-age-warning", "solr-age-critical"],
            Metric::DocsRate => ["docs-rate-warning", "docs-rate-critical"],
        }
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Lag => "lag",
            Metric::Queue => "queue",
            Metric::Rejected => "rejected",
            Metric::Failed => "failed",
            Metric::Workers => "workers",
            Metric::SolrAge => "solr-age",
            Metric::DocsRate => "docs-rate",
        }
    }

    /// The label in the performance data.
    pub fn label(self) -> &'static str {
        match self {
            Metric::SolrAge => "solr_age",
            Metric::DocsRate => "docs_rate",
            same => same.name(),
        }
    }

    /// Its unit in the performance data.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::Lag | Metric::SolrAge => "s",
            Metric::Queue
            | Metric::Rejected
            | Metric::Failed
            | Metric::Workers
            | Metric::DocsRate => "",
        }
    }

    /// The code of the daemon's own reason about the same thing: to be said once, not twice.
    pub fn code(self) -> &'static str {
        match self {
            Metric::Lag => code::LAG,
            Metric::Queue => "queue",
            Metric::Rejected => code::REJECTED,
            Metric::Failed => code::FAILED,
            Metric::Workers => code::WORKERS,
            Metric::SolrAge => code::SOLR,
            Metric::DocsRate => "docs_rate",
        }
    }

    /// The number itself, whole seconds where it is a time; `None` where the daemon does not know it.
    pub fn value(self, document: &Document) -> Option<f64> {
        match self {
            Metric::Lag => Some(document.lag_s().floor()),
            Metric::Queue => Some(document.queue() as f64),
            Metric::Rejected => Some(document.spool.rejected.lines as f64),
            Metric::Failed => Some(document.spool.failed as f64),
            Metric::Workers => Some(document.workers_alive() as f64),
            Metric::SolrAge => document.solr_silence_s().map(f64::floor),
            Metric::DocsRate => Some((document.rates.docs_per_s_60s * 10.0).round() / 10.0),
        }
    }

    /// The number in words, as in `lag 340 s`.
    pub fn words(self, value: f64) -> String {
        let value = number(value);
        match self {
            Metric::Lag => format!("lag {value} s"),
            Metric::Queue => format!("queue {value}"),
            Metric::Rejected => format!("rejected lines {value}"),
            Metric::Failed => format!("failed deltas {value}"),
            Metric::Workers => format!("workers alive {value}"),
            Metric::SolrAge if value == "0" => "Solr owes no answer".to_owned(),
            Metric::SolrAge => format!("no answer from Solr for {value} s"),
            Metric::DocsRate => format!("{value} docs/s"),
        }
    }
}

/// Prints a number for performance data: plain decimal, at most three digits after the point, no exponent.
pub fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
