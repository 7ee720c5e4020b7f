//! The last thing for a delta before the parent settles it: a hard commit if the configuration
//! says so, a last look at its size, its sums, its rejects merged into `rejected/`, and `done/`
//! pruned.
//!
//! A share sees to it that it has read to the end, but only as long as it is open. What a producer
//! does after that is found here, for each share's checkpoint says which file it has read, and up to
//! where. If there is more by now, the delta is not settled: once it stands still, all its shares are
//! read anew. If it is another file, or one that was cut short while it was read, it is given up.
//!
//! Of one that a later delta has passed nothing is read anew: what was appended is claimed by itself when
//! it is in `done/`.
//!
//! All of it may be done again: a worker that dies or leaves in the middle reports nothing, and the
//! parent has another one begin anew.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use orders::{Origin, Sums};
use scoreboard::{Counts, Held};
use serde::Deserialize;
use slog::{info, warn};
use spool::{Beyond, Checkpoint, Identity, Kind, Progress, Standing};

use crate::age::Highest;
use crate::given;
use crate::hold::{Hold, is_the_deltas};
use crate::intents::Intents;
use crate::merge::Merge;
use crate::partition::Partition;
use crate::posts::Posts;
use crate::repeats::{self, Repeats};
use crate::share::{OVER_AGAIN, Shop};

/// A finish that is under way.
pub(crate) struct Finish {
    order: orders::Finish,
    step: Step,
    sums: Sums,
    /// The claim number that it first had; 0: nobody knows.
    claim: u64,
    /// How old its lines are, and which versions they were given.
    origins: Vec<Origin>,
    /// How far its shares were.
    standings: Vec<Standing>,
    /// It is not the file that they have read, or shorter by now: that says nothing of it.
    is_another: bool,
    /// It was told that the delta was taken away, or cut after it was read.
    was_told: bool,
    /// When it was last told that it grows.
    told_growing: u64,
    /// When it was first seen that it grows.
    growing: Option<u64>,
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
    Done {
        sums: Sums,
        /// How old it is, and which versions it was given now.
        origins: Vec<Origin>,
    },
    /// The delta is longer than what its shares have read. They begin anew.
    Grown,
    /// The delta is not what its shares have read, for this reason.
    Spoiled(String),
}

/// What the delta is now, beside what its shares have read.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    AsRead,
    /// There is more, up to this size.
    Longer(u64),
    /// All of it was read, and then it was cut to this size.
    CutAfterwards(u64),
    /// It cannot be settled as delivered.
    Spoiled(String),
}

/// How new a document is that no line may go over: any is.
const NOTHING: u64 = 1;
/// So often a delta that goes on growing is told, in milliseconds.
const TELL_AGAIN: u64 = 30_000;
/// For so many times `settle` it may hold back those behind it.
const PATIENCE: u64 = 100;

impl Finish {
    pub(crate) fn new(order: orders::Finish, shop: &Shop) -> Finish {
        let hold = Hold::new(Held::Finish, &shop.config.retry, &shop.log);
        let (step, sums) = (Step::Begin, Sums::default());
        let claim = order.claim;
        let origins = vec![Origin { claim, ..Origin::default() }];
        let standings = Vec::new();
        Finish {
            order,
            step,
            sums,
            claim,
            origins,
            standings,
            is_another: false,
            was_told: false,
            told_growing: 0,
            growing: None,
            hold,
        }
    }

    /// What holds it up.
    pub(crate) fn held(&self) -> Option<(Held, i32)> {
        self.hold.told()
    }

    pub(crate) fn claim(&self) -> u64 {
        self.order.claim
    }

    /// Whether it waits for the delta to stand still.
    pub(crate) fn is_growing(&self) -> bool {
        matches!(self.step, Step::Growing { .. })
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
        let merging = matches!(self.step, Step::Comparing(..) | Step::Merging(_));
        match self.step(shop, posts, now) {
            Ok(turn) => turn,
            Err(e) => {
                let what = if merging { Held::Merge } else { Held::Finish };
                self.hold.failed_at(what, &e, now);
                if spool::is_full(&e) {
                    prune(shop); // it may make the room that is missing
                }
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
                match self.judge(delta.as_ref(), shop)? {
                    Verdict::AsRead | Verdict::CutAfterwards(_) => {
                        self.step = match Repeats::begin(self.ids(shop)) {
                            Ok(repeats) => Step::Comparing(repeats, files),
                            Err(e) => {
                                self.tell_unread(&e, shop);
                                Step::Merging(self.merge(files, shop)?)
                            }
                        };
                        Ok(FinishTurn::Again)
                    }
                    other => Ok(self.stop(other, shop, now)),
                }
            }
            Step::Comparing(mut repeats, files) => {
                match repeats.step() {
                    Ok(None) => {
                        self.step = Step::Comparing(repeats, files);
                        return Ok(FinishTurn::Again);
                    }
                    Ok(Some(count)) => self.tell_repeats(count, shop),
                    Err(e) => self.tell_unread(&e, shop),
                }
                self.step = Step::Merging(self.merge(files, shop)?);
                Ok(FinishTurn::Again)
            }
            Step::Merging(mut merge) => {
                if !merge.step()? {
                    self.step = Step::Merging(merge);
                    return Ok(FinishTurn::Again);
                }
                // Once more: the merge may have taken its time, and now the rejects get their name.
                let delta = self.look(shop)?;
                match self.judge(delta.as_ref(), shop)? {
                    Verdict::AsRead => {}
                    Verdict::CutAfterwards(size) => self.tell_cut(size, shop),
                    other => return Ok(self.stop(other, shop, now)),
                }
                merge.finish(&shop.spool, &self.order.name)?;
                self.keep_progress(shop)?;
                self.look_at_given(shop)?;
                self.hold.worked();
                // Compared and told. Left for the parent to remove they would go to the disk with the
                // first folder that it syncs, all of them, for nothing.
                self.ids(shop).iter().for_each(|path| drop(std::fs::remove_file(path)));
                prune(shop);
                self.step = Step::Done;
                Ok(self.done())
            }
            Step::Growing { size, until } => {
                let delta = self.look(shop)?;
                match self.judge(delta.as_ref(), shop)? {
                    Verdict::Longer(longer) if longer == size && now >= until => {
                        self.begin_anew(shop)?;
                        Ok(FinishTurn::Grown)
                    }
                    Verdict::Longer(_) if self.grows_for_ever(shop, now) => {
                        Ok(FinishTurn::Spoiled(format!(
                            "{} goes on growing: have its writer close it; retry delivers the rest",
                            self.order.name.to_string_lossy()
                        )))
                    }
                    Verdict::Longer(longer) => {
                        let until = if longer == size { until } else { settled_by(shop, now) };
                        self.tell_growing(longer, shop, now);
                        self.step = Step::Growing { size: longer, until };
                        Ok(FinishTurn::Wait(Duration::from_millis(until.saturating_sub(now))))
                    }
                    _ => Ok(FinishTurn::Again), // cut short again, or taken away
                }
            }
            Step::Done => Ok(self.done()),
        }
    }

    /// Where the shares have written down their ids, if they have.
    fn ids(&self, shop: &Shop) -> Vec<PathBuf> {
        (0..self.order.of).map(|share| shop.spool.ids(self.order.claim, share)).collect()
    }

    /// No delta waits for this.
    fn tell_unread(&self, error: &io::Error, shop: &Shop) {
        warn!(shop.log, "cannot look for repeated ids";
            "delta" => self.order.name.to_string_lossy().as_ref(), "error" => %error);
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

    fn done(&self) -> FinishTurn {
        FinishTurn::Done { sums: self.sums, origins: self.origins.clone() }
    }

    /// It cannot be settled: what is merged so far is of no use.
    fn stop(&mut self, verdict: Verdict, shop: &Shop, now: u64) -> FinishTurn {
        match verdict {
            Verdict::Longer(size) => {
                self.tell_growing(size, shop, now);
                self.step = Step::Growing { size, until: settled_by(shop, now) };
                FinishTurn::Again
            }
            Verdict::Spoiled(reason) => FinishTurn::Spoiled(reason),
            Verdict::AsRead | Verdict::CutAfterwards(_) => FinishTurn::Again,
        }
    }

    /// Where rejects are merged before they have a name.
    fn beside(&self, shop: &Shop) -> PathBuf {
        shop.spool.rejected().join(format!(".merging-{}", self.order.claim))
    }

    /// The delta as it is now, if it can be looked at. One that is given up may be unreadable, and
    /// any may have been taken away; what was rejected of it is kept.
    fn look(&mut self, shop: &Shop) -> io::Result<Option<Metadata>> {
        match shop.spool.look_at_claimed(self.order.kind, &self.order.name) {
            Ok(delta) => Ok(Some(delta)),
            Err(e) if self.is_its_own(&e, shop) => {
                if !self.order.failed && !std::mem::replace(&mut self.was_told, true) {
                    warn!(shop.log, "the delta was removed while it was delivered";
                        "delta" => %self.order.name.to_string_lossy(), "error" => %e);
                }
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether an error is the delta's own; of one that is given up no other is waited for, but that it
    /// can be looked for.
    fn is_its_own(&self, e: &io::Error, shop: &Shop) -> bool {
        let orders::Finish { kind, name, failed, .. } = &self.order;
        is_the_deltas(e, *kind, name, &shop.spool)
            || *failed && shop.spool.can_look_at_claimed(*kind, name)
    }

    /// Compares the delta with what the shares' checkpoints say they have read.
    fn judge(&self, delta: Option<&Metadata>, shop: &Shop) -> io::Result<Verdict> {
        // What is retried of rejected lines was ours, and nobody adds to it.
        let may_change = !self.order.failed && self.order.kind != Kind::Rejects;
        let Some(delta) = delta.filter(|_| may_change) else { return Ok(Verdict::AsRead) };
        let name = self.order.name.to_string_lossy();
        let spoiled = |what: &str| -> io::Result<Verdict> {
            Ok(Verdict::Spoiled(format!("{name} was {what} while it was delivered: {OVER_AGAIN}")))
        };
        if !delta.is_file() {
            return spoiled("replaced by something that is no file");
        }
        let size = delta.len();
        let mut ends = Vec::new();
        for share in 0..self.order.of {
            match Checkpoint::found(&shop.spool.checkpoint(self.order.claim, share))? {
                Some((of, (mark, _))) if of.inode == 0 || !mark.is_at_end(&of) => ends.push(0),
                Some((of, _)) if of.inode != delta.ino() => {
                    return spoiled("replaced by another file");
                }
                Some((of, _)) => ends.push(of.size),
                None => ends.push(0), // it has been taken away: nobody knows how far it was
            }
        }
        let (least, most) = (ends.iter().min(), ends.iter().max());
        Ok(match (least.copied().unwrap_or(size), most.copied().unwrap_or(size)) {
            (least, most) if least == size && most == size => Verdict::AsRead,
            // What is behind that is claimed later, and so it wins.
            (least, most) if most <= size || least == 0 => match self.order.passed.is_empty() {
                true => Verdict::Longer(size),
                false => Verdict::AsRead,
            },
            (least, most) if least == most => Verdict::CutAfterwards(size),
            (_, most) => return spoiled(&format!("cut short, from {most} bytes to {size},")),
        })
    }

    /// Whether it has held back others for long enough.
    fn grows_for_ever(&self, shop: &Shop, now: u64) -> bool {
        let patience = PATIENCE * shop.config.spool.settle.as_millis() as u64;
        self.growing.is_some_and(|since| now >= since + patience)
    }

    fn tell_growing(&mut self, size: u64, shop: &Shop, now: u64) {
        self.growing.get_or_insert(now);
        if self.told_growing == 0 || now - self.told_growing >= TELL_AGAIN {
            self.told_growing = now;
            warn!(shop.log, "the delta has grown since it was read, it is read again when it stands still: \
                hand it over when it is closed"; "delta" => %self.order.name.to_string_lossy(),
                "bytes" => size);
        }
    }

    fn tell_cut(&mut self, size: u64, shop: &Shop) {
        if !std::mem::replace(&mut self.was_told, true) {
            warn!(shop.log, "the delta was cut short after all of it was delivered";
                "delta" => %self.order.name.to_string_lossy(), "bytes" => size);
        }
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
                Checkpoint { counts, quiet: true, ..Checkpoint::default() }.save(&path, &nobody)?;
            }
        }
        Ok(())
    }

    /// Begins to merge what was rejected; where something was retried, or came late, with what lies
    /// there already; and what was not tried because it was given up.
    fn merge(&mut self, files: Vec<(File, u64)>, shop: &Shop) -> io::Result<Merge> {
        let mut merge = Merge::begin(files, &self.beside(shop))?;
        if self.order.kind == Kind::Rejects {
            let file = self.retried(shop)?;
            if let Some(file) = file.filter(|_| self.order.failed) {
                let marks = self.standings.iter().map(|s| (s.line, s.beyond.clone()));
                merge.and_untried(file, marks.collect())?;
            }
        }
        if self.order.kind != Kind::Delta || self.order.begin != spool::Begin::default() {
            let path = shop.spool.rejected_file(&self.order.name);
            let rejects = sys::files::open_regular(&path, false);
            if let Some(file) = readable(rejects, &path.display().to_string())? {
                merge.and_there(file)?;
            }
        }
        Ok(merge)
    }

    /// The rejected lines that are retried, if they are still there.
    fn retried(&self, shop: &Shop) -> io::Result<Option<File>> {
        let claimed = shop.spool.open_claimed(Kind::Rejects, &self.order.name);
        readable(claimed, "the lines to be retried")
    }

    /// Of a delta that is given up: how far it was, and how old it is.
    fn keep_progress(&mut self, shop: &Shop) -> io::Result<()> {
        let path = shop.spool.progress(self.order.claim);
        let before = match self.order.kind {
            Kind::Rejects => return Ok(()), // what was not tried is a reject again
            Kind::Delta => None,
            Kind::Rest => Progress::load(&path)?,
        };
        // What was forced is as new as this; what goes on is as old as it was.
        let goes_on = self.order.kind == Kind::Rest && self.order.guarded;
        if goes_on {
            self.claim = before.as_ref().map_or(0, |before| before.claim);
        }
        if !self.order.failed {
            return Ok(());
        }
        let found = match shop.spool.look_at_claimed(self.order.kind, &self.order.name) {
            Err(e) if !self.is_its_own(&e, shop) => return Err(e),
            found => found.ok(),
        };
        if self.is_another {
            return remove(&path);
        }
        let (Some(found), false) = (found, goes_on && before.is_none()) else { return Ok(()) };
        let highest = Highest::new(shop.board, shop.cell);
        let as_of = match &before {
            Some(before) if goes_on => before.as_of,
            _ => highest.get(),
        };
        let (inode, size, claim) = (found.ino(), found.size(), self.claim);
        let (key, shares) = (self.order.key.clone(), self.standings.clone());
        Progress { inode, size, claim, as_of, key, shares }.save(&path)
    }

    /// Of what was retried: which versions it was given.
    fn look_at_given(&mut self, shop: &Shop) -> io::Result<()> {
        if self.order.kind == Kind::Delta || !self.order.guarded {
            return Ok(());
        }
        let alive = || shop.cell.set_heartbeat(sys::clock::now_ms());
        let mut given = Vec::new();
        for share in 0..self.order.of {
            let path = shop.spool.intents(self.order.claim, share);
            given.extend(Intents::open(&path, u64::MAX, alive)?.all_given());
        }
        let is_nothing = given.is_empty() && self.sums.docs == 0;
        let is_unanswered = self.standings.iter().any(|standing| !standing.sent.is_empty());
        self.origins = match self.order.kind {
            _ if !given.is_empty() && !is_unanswered => given::origins(given),
            Kind::Rejects if is_nothing && !is_unanswered => Vec::new(),
            // Nobody says which versions these were. None of them is older than the newest line.
            kind => {
                let rejects = if kind == Kind::Rejects { self.retried(shop)? } else { None };
                let claim = rejects.map_or(Ok(self.claim), |file| highest_claim(file, alive))?;
                let highest = given.iter().map(|(_, last, _)| *last).max().unwrap_or(0);
                // What was not answered may have been given any version up to now.
                let by_now = Highest::new(shop.board, shop.cell).get();
                let highest = if is_unanswered { by_now.max(highest) } else { 0 };
                vec![Origin { claim, lowest: 0, highest }]
            }
        };
        Ok(())
    }

    /// How far a share was, and what of the rest may have been sent.
    ///
    /// The whole of what is left is as old as the moment in which it is given up: no line of a later
    /// delta is in Solr then of which an earlier one is not, for a share of a later delta is not begun
    /// before this one's is in. Where it is in, there is no rest, but for what is appended after this: that
    /// is as old as its last line, for the later delta may have been there since.
    fn standing(
        &self,
        share: u32,
        (checkpoint, beyond): (Checkpoint, Beyond),
        shop: &Shop,
    ) -> io::Result<Standing> {
        let Checkpoint { line, offset, counts, version, .. } = checkpoint;
        let is_passed = self.order.passed.contains(&share.into());
        let as_of = if is_passed { version.max(NOTHING) } else { 0 };
        let mut sent = match self.order.failed {
            true => {
                let alive = || shop.cell.set_heartbeat(sys::clock::now_ms());
                Intents::open(&shop.spool.intents(self.order.claim, share), line, alive)?.sent()
            }
            false => Vec::new(),
        };
        let partition = Partition::new(share, self.order.of, self.order.key.as_deref());
        sent.retain(|(line, ..)| !beyond.contains(partition.number(*line)));
        Ok(Standing { line, offset, bytes: counts.bytes_read, beyond, sent, as_of })
    }

    /// A share's checkpoint, if it speaks of this file. That may be longer by now.
    fn believed(
        &mut self,
        share: u32,
        found: Option<(Identity, (Checkpoint, Beyond))>,
        delta: &Metadata,
    ) -> Option<(Checkpoint, Beyond)> {
        let (of, whole) = found.filter(|(of, _)| of.inode != 0)?; // it begins anew
        let now = Identity::of(self.order.claim, share, self.order.of, delta);
        let fits = of.size <= now.size && of == Identity { size: of.size, ..now };
        self.is_another |= !fits;
        fits.then_some(whole)
    }

    /// Adds up what the shares' checkpoints say, and opens their reject files.
    fn gather(&mut self, delta: Option<&Metadata>, shop: &Shop) -> io::Result<Vec<(File, u64)>> {
        let (mut sum, mut files) = (Counts::default(), Vec::new());
        let before = match self.order.kind {
            Kind::Rest => Progress::load(&shop.spool.progress(self.order.claim))?,
            Kind::Delta | Kind::Rejects => None,
        };
        self.standings.clear();
        self.is_another = false;
        let spool::Begin { line, offset } = self.order.begin;
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
            let checkpoint = match delta {
                Some(delta) => self.believed(share, Checkpoint::found(&path)?, delta),
                None => None,
            };
            let counted = match (&checkpoint, self.order.kind) {
                (Some((checkpoint, _)), _) => checkpoint.rejects,
                // All of it was not tried, then.
                (None, Kind::Rejects) => 0,
                (None, Kind::Delta | Kind::Rest) => u64::MAX,
            };
            let unbegun = || before.as_ref()?.standing(share, self.order.of, delta?).cloned();
            let standing = match checkpoint {
                Some(checkpoint) => self.standing(share, checkpoint, shop)?,
                None => {
                    let stood =
                        unbegun().unwrap_or(Standing { line, offset, ..Standing::default() });
                    // It may have been read, and is to be anew: what was sent was.
                    let (line, offset) = (stood.line, stood.offset);
                    let mark = Checkpoint { line, offset, ..Checkpoint::default() };
                    let read = self.standing(share, (mark, stood.beyond.clone()), shop)?;
                    let sent = if read.sent.is_empty() { stood.sent } else { read.sent };
                    Standing { sent, as_of: read.as_of, ..stood }
                }
            };
            // What goes on is as old as it was.
            let goes_on = before.as_ref().filter(|_| self.order.guarded);
            let was = goes_on.and_then(|p| p.shares.get(share as usize)).map_or(0, |s| s.as_of);
            self.standings.push(Standing { as_of: standing.as_of.max(was), ..standing });
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
            superseded: sum.superseded,
        };
        Ok(files)
    }
}

/// An opened file of rejects, if it is there. One that is there and cannot be read (it may be another
/// user's) is waited for: what is merged without it would take its place.
fn readable(opened: io::Result<File>, what: &str) -> io::Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let why = format!("{what}: {e}: must be an ordinary file that the daemon can read");
            Err(io::Error::new(e.kind(), why))
        }
    }
}

/// The highest claim number of these rejects, as far as they can be read; 0: none says one.
fn highest_claim(rejects: File, mut alive: impl FnMut()) -> io::Result<u64> {
    #[derive(Deserialize)]
    struct Claimed {
        claim: u64,
    }
    let mut reader = BufReader::with_capacity(64 << 10, rejects);
    let (mut highest, mut line, mut count) = (0, Vec::new(), 0u32);
    while reader.read_until(b'\n', &mut line)? > 0 {
        let claim = serde_json::from_slice::<Claimed>(&line).map_or(0, |record| record.claim);
        highest = highest.max(claim);
        line.clear();
        count = count.wrapping_add(1);
        if count % 16_384 == 0 {
            alive();
        }
    }
    Ok(highest)
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
fn counts_at(checkpoint: &std::path::Path) -> io::Result<Option<Counts>> {
    match Checkpoint::counts_at(checkpoint) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// Makes room in `done/`. What goes wrong there is no reason to keep a delta from being settled.
pub(crate) fn prune(shop: &Shop) {
    let config::Keep { files, age, bytes } = shop.config.spool.keep;
    let keep = spool::Keep { files, age: age.as_secs(), bytes };
    let is_needed = |name: &std::ffi::OsStr| shop.spool.is_needed(name);
    match spool::prune(&shop.spool.done(), &keep, sys::clock::wall_ms() / 1000, is_needed) {
        Ok(0) => {}
        Ok(gone) => info!(shop.log, "done/ pruned"; "files" => gone),
        Err(e) => warn!(shop.log, "cannot prune done/"; "error" => %e),
    }
}

#[cfg(test)]
#[path = "finish_tests.rs"]
mod tests;
