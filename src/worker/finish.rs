//! The last thing for a delta before the parent settles it: a hard commit if the configuration
//! says so, its sums, its rejects merged into `rejected/`, and `done/` pruned.
//!
//! All of it may be done again: a worker that dies or leaves in the middle reports nothing, and the
//! parent has another one begin anew.

use std::fs::File;
use std::io;
use std::time::Duration;

use orders::Sums;
use scoreboard::Counts;
use slog::{info, warn};
use spool::{Checkpoint, Identity};

use crate::hold::Hold;
use crate::merge::Merge;
use crate::post::Job;
use crate::posts::Posts;
use crate::share::Shop;

/// A finish that is under way.
pub(crate) struct Finish {
    order: orders::Finish,
    step: Step,
    sums: Sums,
    hold: Hold,
}

enum Step {
    Begin,
    /// Solr is asked for a hard commit.
    Committing,
    /// Sums and reject files are to be looked at.
    Gather,
    Merging(Merge),
    Done,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FinishTurn {
    Again,
    Wait(Duration),
    Done(Sums),
}

impl Finish {
    pub(crate) fn new(order: orders::Finish, shop: &Shop) -> Finish {
        let hold = Hold::new("cannot write into rejected/", &shop.config.retry, &shop.log);
        Finish { order, step: Step::Begin, sums: Sums::default(), hold }
    }

    pub(crate) fn claim(&self) -> u64 {
        self.order.claim
    }

    /// The commit is made.
    pub(crate) fn committed(&mut self) {
        if matches!(self.step, Step::Committing) {
            self.step = Step::Gather;
        }
    }

    /// Does what can be done now, not for long.
    pub(crate) fn turn(&mut self, shop: &Shop, posts: &mut Posts, now: u64) -> FinishTurn {
        if let Some(left) = self.hold.left(now) {
            return FinishTurn::Wait(left);
        }
        match self.step(shop, posts) {
            Ok(turn) => turn,
            Err(e) => {
                self.hold.failed(&e, now);
                self.step = Step::Gather;
                FinishTurn::Again
            }
        }
    }

    fn step(&mut self, shop: &Shop, posts: &mut Posts) -> io::Result<FinishTurn> {
        match std::mem::replace(&mut self.step, Step::Gather) {
            Step::Begin => {
                if !self.order.failed && shop.config.solr.commit == config::Commit::Delta {
                    posts.send(Job::Commit);
                    self.step = Step::Committing;
                }
                Ok(FinishTurn::Again)
            }
            Step::Committing => {
                self.step = Step::Committing;
                Ok(FinishTurn::Wait(Duration::from_secs(1)))
            }
            Step::Gather => {
                let files = self.gather(shop)?;
                let beside = shop.spool.rejected().join(format!(".merging-{}", self.order.claim));
                self.step = Step::Merging(Merge::begin(files, &beside)?);
                Ok(FinishTurn::Again)
            }
            Step::Merging(mut merge) => {
                if !merge.step()? {
                    self.step = Step::Merging(merge);
                    return Ok(FinishTurn::Again);
                }
                merge.finish(&shop.spool.rejected_file(&self.order.name))?;
                self.hold.worked();
                prune(shop);
                self.step = Step::Done;
                Ok(FinishTurn::Done(self.sums))
            }
            Step::Done => Ok(FinishTurn::Done(self.sums)),
        }
    }

    /// Adds up what the shares' checkpoints say, and opens their reject files.
    fn gather(&mut self, shop: &Shop) -> io::Result<Vec<(File, u64)>> {
        // One that is given up may be unreadable, or gone; what was rejected of it is kept.
        let delta = match shop.spool.open_delta(&self.order.name).and_then(|file| file.metadata()) {
            Ok(delta) => Some(delta),
            Err(_) if self.order.failed => None,
            Err(e) => return Err(e),
        };
        let (mut sum, mut files) = (Counts::default(), Vec::new());
        for share in 0..self.order.of {
            let path = shop.spool.checkpoint(self.order.claim, share);
            match counts_at(&path)? {
                Some(counts) => sum = sum.plus(counts),
                None if self.order.failed => {} // it may never have been begun
                None => {
                    warn!(shop.log, "a share left no checkpoint, its lines are not in the sums";
                    "delta" => self.order.name.to_string_lossy().as_ref(), "share" => share)
                }
            }
            let counted = match &delta {
                Some(delta) => {
                    let identity = Identity::of(self.order.claim, share, self.order.of, delta);
                    Checkpoint::load(&path, &identity)?.map_or(u64::MAX, |c| c.rejects)
                }
                None => u64::MAX,
            };
            match File::open(shop.spool.rejects(self.order.claim, share)) {
                Ok(file) if counted > 0 => files.push((file, counted)),
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        self.sums = Sums {
            lines: sum.lines,
            docs: sum.docs,
            deletes: sum.deletes,
            skipped: sum.skipped,
            rejected: sum.rejected,
        };
        Ok(files)
    }
}

fn counts_at(checkpoint: &std::path::Path) -> io::Result<Option<Counts>> {
    match Checkpoint::counts_at(checkpoint) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// Makes room in `done/`. What goes wrong there is no reason to keep a delta from being settled.
fn prune(shop: &Shop) {
    let config::Keep { files, age, bytes } = shop.config.spool.keep;
    let keep = spool::Keep { files, age: age.as_secs(), bytes };
    match spool::prune(&shop.spool.done(), &keep, sys::clock::wall_ms() / 1000) {
        Ok(0) => {}
        Ok(gone) => info!(shop.log, "done/ pruned"; "files" => gone),
        Err(e) => warn!(shop.log, "cannot prune done/"; "error" => %e),
    }
}

#[cfg(test)]
#[path = "finish_tests.rs"]
mod tests;
