//! Settling: the delta moves to where it belongs, and the history says so.

use orders::{Origin, Sums};
use slog::{error, info, warn};
use spool::{Claim, Fate, Kind, Past, Run, Settled};
use std::io;
use sys::clock::{now_ms, wall_ms};

use crate::machine::Event;
use crate::{Active, Parent, Settlement, Task, credible, tell};

impl Parent {
    /// Moves the oldest delta out of `active/`.
    pub(crate) fn settle(
        &mut self,
        number: u64,
        settled: Settled,
        sums: Sums,
        origins: &[Origin],
    ) -> Event {
        let oldest = self.active.front().filter(|oldest| oldest.claim.number == number);
        let Some(Active { claim, since }) = oldest else { return Event::Settled };
        let kind = claim.kind;
        let reason = self.machine.delta().and_then(|d| d.failed.clone());
        // Whether it grows after this is for the producer to look at.
        let end = self.spool.end_of(claim).filter(|_| settled == Settled::Done);
        let moved = self
            .before_settling(claim, settled, &sums, origins)
            .and_then(|()| self.spool.settle(claim, settled));
        match moved {
            Ok(name) => {
                let ms = now_ms().saturating_sub(*since);
                tell::settled(&self.log, &name, kind, settled, &sums, ms, reason.as_deref());
                if self.settling.over() {
                    info!(self.log, "can settle deltas again");
                }
                if let Some(end) = end {
                    self.producer.settled(name.clone(), end, now_ms(), &self.log);
                }
                self.counters.deltas += 1;
                self.active.pop_front();
                self.name_the_oldest();
                self.has_open_run &=
                    self.claims().next().is_some() || matches!(self.task, Task::Cancel(_));
                let settlement = Settlement { name, kind, settled, sums, reason };
                if !matches!(self.task, Task::Feed(_)) {
                    self.remember(&settlement, ms);
                }
                if let Some(meter) = &mut self.meter {
                    meter.settled(&settlement.name);
                }
                if self.task != Task::Serve {
                    self.settled.push(settlement);
                }
                Event::Settled
            }
            Err(e) => {
                if self.settling.is_news(&e) {
                    error!(self.log, "cannot settle the delta, trying again";
                        "delta" => %claim.name.to_string_lossy(), "error" => spool::remedy(&e));
                }
                Event::NotSettled
            }
        }
    }

    /// What must be on the disk before the delta moves: that the next one is to wait for a person,
    /// and, of what is older than it looks, when it was delivered.
    fn before_settling(
        &self,
        claim: &Claim,
        settled: Settled,
        sums: &Sums,
        origins: &[Origin],
    ) -> io::Result<()> {
        if self.machine.is_to_hold() && self.task == Task::Serve {
            self.spool.hold()?;
        }
        if self.claims().count() > 1 {
            self.spool.keep_version(self.highest_version())?;
        }
        let is_last = self.claims().count() == 1 && !matches!(self.task, Task::Cancel(_));
        let is_retried = claim.kind != Kind::Delta && claim.guarded;
        let known = origins.iter().filter(|origin| is_retried && origin.claim != 0);
        let runs: Vec<Run> = known.filter_map(|origin| run_of(claim, sums, *origin)).collect();
        let ends = self.has_open_run && is_last;
        if runs.is_empty() && !ends {
            return Ok(());
        }
        if is_last && settled == Settled::Done && self.spool.all_left()?.is_empty() {
            return self.spool.forget_runs(); // nothing is left that could be compared
        }
        self.spool.remember_runs(&runs)?;
        if ends { self.spool.end_runs(self.as_of()) } else { Ok(()) }
    }

    /// A person has looked at what has failed: the next start need not wait for that.
    pub(crate) fn let_go(&self) {
        if let Err(e) = self.spool.let_go() {
            warn!(self.log, "cannot end the hold for good"; "error" => %e);
        }
    }

    /// The history is for people: that it cannot be written keeps nothing from going on.
    fn remember(&mut self, settlement: &Settlement, ms: u64) {
        let Settlement { name, kind, settled, sums, reason } = settlement;
        let cancelled = self.machine.delta().is_some_and(|delta| delta.cancelled);
        let past = Past {
            name: name.clone(),
            fate: match (settled, kind) {
                (Settled::Failed, _) if cancelled => Fate::Cancelled,
                (Settled::Done, Kind::Rejects) => Fate::Retried,
                (Settled::Done, _) => Fate::Done,
                (Settled::Failed, _) => Fate::Failed,
            },
            time: wall_ms(),
            ms,
            lines: sums.lines,
            docs: sums.docs,
            deletes: sums.deletes,
            skipped: sums.skipped,
            rejected: sums.rejected,
            superseded: sums.superseded,
            reason: reason.clone().unwrap_or_default(),
        };
        self.add_to_history(&past);
    }

    pub(crate) fn add_to_history(&mut self, past: &Past) {
        let error = self.spool.remember(past).err();
        let number = error.as_ref().map_or(0, |e| e.raw_os_error().unwrap_or(-1));
        if let Some(e) = error.filter(|_| number != self.history_error) {
            warn!(self.log, "cannot write the history"; "error" => %e);
        }
        self.history_error = number;
    }
}

/// The run in which old lines were delivered; none, if none was.
fn run_of(claim: &Claim, sums: &Sums, origin: Origin) -> Option<Run> {
    let Origin { claim: of, lowest, highest } = origin;
    let took = wall_ms().saturating_sub(claim.since) + 1;
    let (after, upto) = match credible(highest) {
        Some(highest) if (1..=highest).contains(&lowest) => (lowest - 1, highest),
        // Not all answers came. None was given before its claim.
        Some(highest) if lowest == 0 && highest > 0 => {
            (highest.saturating_sub(took.min(u64::MAX >> 20) << 20), highest)
        }
        _ if sums.docs == 0 && highest == 0 => return None,
        // Nobody said which versions. As Solr makes one of a moment
        // (org.apache.solr.update.VersionInfo.getNewClock), if its clock goes as ours.
        _ => (claim.since << 20, (wall_ms() + 1) << 20),
    };
    Some(Run { after, upto, claim: of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_by_its_receipts_or_by_the_clock() {
        let since = wall_ms();
        let claim = Claim {
            number: 9,
            name: "x.jsonl".into(),
            kind: Kind::Rejects,
            guarded: true,
            shares: 1,
            key: None,
            seen: since,
            since,
            ..Claim::default()
        };
        let run = |docs, lowest, highest| {
            let sums = Sums { docs, ..Sums::default() };
            run_of(&claim, &sums, Origin { claim: 3, lowest, highest })
        };
        assert_eq!(run(2, 500, 600), Some(Run { after: 499, upto: 600, claim: 3 }));
        assert_eq!(run(0, 0, 0), None);
        // Not all answers came: from its claim on, by the clock of Solr.
        let far = 1 << 60;
        let unanswered = run(0, 0, far).unwrap();
        assert!(
            unanswered.upto == far
                && unanswered.after < far
                && unanswered.after > far - (far >> 10)
        );
        for (lowest, highest) in [(0, 0), (6, 5), (5, u64::MAX)] {
            let run = run(2, lowest, highest).unwrap();
            assert!(run.after == since << 20 && run.upto > run.after && run.upto < u64::MAX);
        }
    }
}
