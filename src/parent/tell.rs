//! What the parent logs: the same words for the same event.

use config::Config;
use config::conversion::Convert;
use orders::Sums;
use slog::{Logger, error, info, warn};
use spool::{Kind, Settled};
use std::ffi::{OsStr, OsString};

use crate::machine::{Tell, name};

/// `name_of` knows the delta of a claim.
pub(crate) fn tell(log: &Logger, tell: &Tell, name_of: impl Fn(u64) -> OsString) {
    let delta = |claim: &u64| name_of(*claim).to_string_lossy().into_owned();
    match tell {
        Tell::Died { post, ended, failures } => {
            warn!(log, "child died, replacing it"; "who" => name(*post), "ended" => %ended,
                "in_a_row" => failures);
        }
        Tell::Hung { post } => {
            error!(log, "child hangs, killing it"; "who" => name(*post));
        }
        Tell::Suspect { post, line, poison: false } => {
            warn!(log, "died or hangs while it converted a line, which is tried once more";
                "who" => name(*post), "line" => line + 1);
        }
        Tell::Suspect { post, line, poison: true } => {
            error!(log, "died or hangs of the same line as another one: it will be rejected";
                "who" => name(*post), "line" => line + 1);
        }
        Tell::NotReady { post } => {
            error!(log, "child is not ready in time, killing it"; "who" => name(*post));
        }
        Tell::Overdue { post } => {
            warn!(log, "child does not leave in time, killing it"; "who" => name(*post));
        }
        Tell::Refused { post, reason } => {
            error!(log, "child cannot work, trying again later"; "who" => name(*post),
                "reason" => reason);
        }
        Tell::Babble { post } => {
            error!(log, "child says what it should not, killing it"; "who" => name(*post));
        }
        Tell::GivenUp { claim, reason } => {
            error!(log, "delta given up"; "delta" => delta(claim), "reason" => reason);
        }
        Tell::Cancelled { claim } => warn!(log, "delta cancelled"; "delta" => delta(claim)),
        Tell::NotForked { post, reason } => {
            error!(log, "no fork, trying again later"; "who" => name(*post), "reason" => reason);
        }
        Tell::Fatal { reason } => error!(log, "cannot go on"; "reason" => reason),
    }
}

/// Why children are not confined as they could be, or not all of them; `None`: they are.
pub(crate) fn not_confined(config: &Config) -> Option<String> {
    match (sys::confine::landlock(), &config.convert) {
        (Err(why), _) => Some(format!("children are not confined to the spool: {why}")),
        (Ok(_), Some(Convert::Exec(_))) => {
            Some("workers are not confined to the spool: their converter would be, too".to_owned())
        }
        (Ok(_), _) => None,
    }
}

pub(crate) fn settled(
    log: &Logger,
    delta: &OsStr,
    kind: Kind,
    settled: Settled,
    sums: &Sums,
    ms: u64,
    reason: Option<&str>,
) {
    let delta = delta.to_string_lossy();
    match (settled, reason) {
        _ if kind == Kind::Rejects => info!(log, "rejected lines retried"; "delta" => %delta,
            "lines" => sums.lines, "docs" => sums.docs, "deletes" => sums.deletes,
            "superseded" => sums.superseded, "rejects" => sums.rejected, "ms" => ms),
        (Settled::Done, _) if sums.rejected > 0 => {
            warn!(log, "delta settled"; "delta" => %delta, "lines" => sums.lines,
                "docs" => sums.docs, "deletes" => sums.deletes, "rejects" => sums.rejected,
                "superseded" => sums.superseded, "ms" => ms)
        }
        (Settled::Done, _) => info!(log, "delta settled"; "delta" => %delta, "lines" => sums.lines,
            "docs" => sums.docs, "deletes" => sums.deletes, "rejects" => sums.rejected,
            "superseded" => sums.superseded, "ms" => ms),
        (Settled::Failed, reason) => error!(log, "delta failed"; "delta" => %delta,
            "reason" => reason.unwrap_or("unknown"), "lines" => sums.lines, "docs" => sums.docs,
            "deletes" => sums.deletes, "rejects" => sums.rejected, "ms" => ms),
    }
}
