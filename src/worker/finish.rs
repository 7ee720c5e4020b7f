//! The last thing for a delta before the parent settles it: a hard commit if the configuration
//! says so, a last look at its size, its sums, its rejects merged into `rejected/`, and `done/`
//! pruned.
//!
//! A share sees to it that it has read to the end, but only as long as it is open. What a producer
//! appends after that is found here: every byte of a delta belongs to one line and every line to one
//! share, so the bytes that the shares have counted are the size of what was delivered. If there is
//! more, the delta is not settled: once it stands still, all its shares are read anew.
//!
//! All of it may be done again: a worker that dies or leaves in the middle reports nothing, and the
//! parent has another one begin anew.

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use orders::Sums;
use scoreboard::Counts;
use slog::{info, warn};
use spool::{Checkpoint, Identity};

use crate::hold::{Hold, is_the_deltas};
use crate::merge::Merge;
use crate::posts::Posts;
use crate::repeats::{self, Repeats};
use crate::share::Shop;

/// A finish that is under way.
pub(crate) struct Finish {
    order: orders::Finish,
    step: Step,
    sums: Sums,
    /// Bytes that the shares have read between them.
    read: u64,
    /// It was told that the delta was taken away.
    is_gone: bool,
    hold: Hold,
}

enum Step {
    Begin,
    /// Solr is asked for a hard commit.
    Committing,
    /// Sums and reject files are to be looked at.
    Gather,
    Comparing(Repeats, Vec<(File, u64)>),
    Merging(Merge),
    /// The delta has grown to this size, and stands still at this time if it does not grow again.
    Growing {
        size: u64,
        until: u64,
    },
    Done,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FinishTurn {
    Again,
    Wait(Duration),
    Done(Sums),
    /// The delta is longer than what its shares have read. They begin anew.
    Grown,
}

impl Finish {
    pub(crate) fn new(order: orders::Finish, shop: &Shop) -> Finish {
        let hold = Hold::new("cannot finish the delta", &shop.config.retry, &shop.log);
        let (step, sums) = (Step::Begin, Sums::default());
        Finish { order, step, sums, read: 0, is_gone: false, hold }
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
        match self.step(shop, posts, now) {
            Ok(turn) => turn,
            Err(e) => {
                self.hold.failed(&e, now);
                self.step = Step::Gather;
                FinishTurn::Again
            }
        }
    }

    fn step(&mut self, shop: &Shop, posts: &mut Posts, now: u64) -> io::Result<FinishTurn> {
        match std::mem::replace(&mut self.step, Step::Gather) {
            Step::Begin => {
                if !self.order.failed && shop.config.solr.commit == config::Commit::Delta {
                    posts.commit();
                    self.step = Step::Committing;
                }
                Ok(FinishTurn::Again)
            }
            Step::Committing => {
                self.step = Step::Committing;
                Ok(FinishTurn::Wait(Duration::from_secs(1)))
            }
            Step::Gather => {
                let delta = self.look(shop)?;
                let files = self.gather(delta.as_ref(), shop)?;
                self.step = match delta.and_then(|delta| self.longer(&delta)) {
                    Some(size) => self.grown(size, shop, now),
                    None => Step::Comparing(Repeats::begin(self.ids(shop))?, files),
                };
                Ok(FinishTurn::Again)
            }
            Step::Comparing(mut repeats, files) => {
                let Some(count) = repeats.step()? else {
                    self.step = Step::Comparing(repeats, files);
                    return Ok(FinishTurn::Again);
                };
                self.tell_repeats(count, shop);
                self.step = Step::Merging(Merge::begin(files, &self.beside(shop))?);
                Ok(FinishTurn::Again)
            }
            Step::Merging(mut merge) => {
                if !merge.step()? {
                    self.step = Step::Merging(merge);
                    return Ok(FinishTurn::Again);
                }
                // Once more: the merge may have taken its time, and now the rejects get their name.
                if let Some(size) = self.look(shop)?.and_then(|delta| self.longer(&delta)) {
                    self.step = self.grown(size, shop, now);
                    return Ok(FinishTurn::Again);
                }
                merge.finish(&shop.spool.rejected_file(&self.order.name))?;
                self.hold.worked();
                prune(shop);
                self.step = Step::Done;
                Ok(FinishTurn::Done(self.sums))
            }
            Step::Growing { size, until } => match self.look(shop)?.and_then(|d| self.longer(&d)) {
                Some(longer) if longer == size && now >= until => {
                    self.begin_anew(shop)?;
                    Ok(FinishTurn::Grown)
                }
                Some(longer) => {
                    let until = if longer == size { until } else { settled_by(shop, now) };
                    self.step = Step::Growing { size: longer, until };
                    Ok(FinishTurn::Wait(Duration::from_millis(until.saturating_sub(now))))
                }
                None => Ok(FinishTurn::Again), // cut short again, or taken away
            },
            Step::Done => Ok(FinishTurn::Done(self.sums)),
        }
    }

    /// Where the shares have written down their ids, if they have.
    fn ids(&self, shop: &Shop) -> Vec<PathBuf> {
        (0..self.order.of).map(|share| shop.spool.ids(self.order.claim, share)).collect()
    }

    /// Documents with more than one line are counted and told; a delta is settled all the same.
    fn tell_repeats(&self, count: u64, shop: &Shop) {
        let delta = self.order.name.to_string_lossy();
        // As of a share of its own: it counts once, whoever finishes.
        let (claim, share) = (self.order.claim, u64::MAX);
        let known = shop.board.known(claim, share);
        let found = Counts { duplicate_ids: count, ..Counts::default() };
        let tally = shop.cell.tally();
        shop.cell.publish(&tally.begin(claim, share, tally.offset, known).reach(0, found));
        if count > 0 {
            warn!(shop.log, "ids stand on several lines, any of which may have won: one line for a \
                document, or workers.partition = \"id\""; "delta" => &*delta, "lines" => count);
        }
        if self.sums.lines > repeats::MOST && self.ids(shop).iter().any(|path| path.exists()) {
            info!(shop.log, "too many lines to look for repeated ids in all of them";
                "delta" => &*delta, "looked_at" => repeats::MOST);
        }
    }

    /// Where rejects are merged before they have a name.
    fn beside(&self, shop: &Shop) -> PathBuf {
        shop.spool.rejected().join(format!(".merging-{}", self.order.claim))
    }

    /// The delta as it is now, if it can be looked at. One that is given up may be unreadable, and
    /// any may have been taken away; what was rejected of it is kept.
    fn look(&mut self, shop: &Shop) -> io::Result<Option<Metadata>> {
        match shop.spool.open_delta(&self.order.name).and_then(|file| file.metadata()) {
            Ok(delta) => Ok(Some(delta)),
            Err(_) if self.order.failed => Ok(None),
            Err(e) if is_the_deltas(&e) => {
                if !std::mem::replace(&mut self.is_gone, true) {
                    warn!(shop.log, "the delta was removed while it was delivered";
                        "delta" => %self.order.name.to_string_lossy(), "error" => %e);
                }
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// The delta's size, if there is more of it than was read.
    fn longer(&self, delta: &Metadata) -> Option<u64> {
        let size = delta.len();
        (!self.order.failed && size > self.read).then_some(size)
    }

    fn grown(&self, size: u64, shop: &Shop, now: u64) -> Step {
        warn!(shop.log, "the delta has grown since it was read, it is read again: hand it over by rename";
            "delta" => %self.order.name.to_string_lossy(), "bytes" => size, "read" => self.read);
        Step::Growing { size, until: settled_by(shop, now) }
    }

    /// The shares are to be read from the beginning, whatever their checkpoints say (most speak of
    /// another size, and would not be believed): what stays of these is what was counted, so that
    /// it counts once. Their reject files are cut when they are opened.
    fn begin_anew(&self, shop: &Shop) -> io::Result<()> {
        remove(&self.beside(shop))?;
        let Finish { order: orders::Finish { claim, of, .. }, .. } = *self;
        for share in 0..of {
            let path = shop.spool.checkpoint(claim, share);
            if let Some(counts) = counts_at(&path)? {
                let nobody = Identity { claim, share, of, inode: 0, size: 0 };
                Checkpoint { counts, ..Checkpoint::default() }.save(&path, &nobody)?;
            }
        }
        Ok(())
    }

    /// Adds up what the shares' checkpoints say, and opens their reject files.
    fn gather(&mut self, delta: Option<&Metadata>, shop: &Shop) -> io::Result<Vec<(File, u64)>> {
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
            let counted = match delta {
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
        self.read = sum.bytes_read;
        Ok(files)
    }
}

/// When a delta that grew just now has stood still for long enough.
fn settled_by(shop: &Shop, now: u64) -> u64 {
    now + shop.config.spool.settle.as_millis() as u64
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// What a share has counted, as its last checkpoint says, whether that may be taken up or not.
pub(crate) fn counts_at(checkpoint: &std::path::Path) -> io::Result<Option<Counts>> {
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
