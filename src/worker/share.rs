//! An open share: reads its lines, has them converted, fills batches, and moves the mark as Solr's
//! word comes in.
//!
//! The order of things is the promise. A reject is on the disk before the checkpoint that counts
//! it; the checkpoint is written after Solr's word, never before; the scoreboard tells no more than
//! has been done. What the machine cannot do at present (a full disk) is held and tried again;
//! only what is wrong with the delta itself fails the share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use scoreboard::{Board, WorkerCell};
use slog::{Logger, info, warn};
use spool::{Checkpoint, Identity, Spool};

use crate::batch::{Batch, Kind, Outcome};
use crate::convert::{Converted, Converter};
use crate::doubts::{Audit, Doubt, Doubts};
use crate::finish::counts_at;
use crate::hold::{Hold, is_the_deltas};
use crate::intents::Intents;
use crate::limit;
use crate::lines::{Found, Grown, Lines, Place};
use crate::partition::Partition;
use crate::posts::Posts;
use crate::rejects::{Original, Reject, RejectFile, Stage};
use crate::repeats::Ids;
use crate::sorter::{Added, Sorter};
use crate::versions;
use crate::window::{self, Done, Window};

/// Between two checkpoints, in milliseconds.
const CHECKPOINT: u64 = 1000;
/// A turn that found nothing to post ends after so many milliseconds: orders may wait.
const TURN: u64 = 20;
/// Reading stops while so many bytes of rejects wait for the disk.
const UNWRITTEN: usize = 1 << 20;

/// What a worker has for all its shares.
pub(crate) struct Shop {
    pub(crate) config: config::Config,
    pub(crate) spool: Spool,
    pub(crate) board: Board,
    pub(crate) cell: WorkerCell,
    pub(crate) converter: Converter,
    pub(crate) log: Logger,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more to do at once.
    Again,
    /// Nothing to do before an answer comes or this time is over.
    Wait(Duration),
    /// The share is in.
    Done,
    /// It will not be, for this reason.
    Failed(String),
}

/// Why a share cannot be opened.
pub(crate) enum Unopened {
    /// The delta is at fault: one line, for people.
    Fault(String),
    /// The machine is: try again.
    Machine(io::Error),
}

/// How far the reading is.
enum Reading {
    On,
    /// The delta's end was seen, and what would come next has this place.
    Ended(Place),
    /// Given up: nothing more is read.
    Given {
        up: String,
    },
}

/// One worker's lines of a delta.
pub(crate) struct Share {
    order: orders::Share,
    delta: String,
    identity: Identity,
    checkpoint_path: std::path::PathBuf,
    partition: Partition,
    lines: Lines,
    sorter: Sorter,
    /// Lines whose ids are in batches that must be answered first.
    held: VecDeque<(Place, Vec<u8>)>,
    window: Window,
    intents: Arc<Intents>,
    /// Documents of which nobody can be sure, and the look at them at the end.
    doubts: Doubts,
    audit: Option<Audit>,
    looked: bool,
    /// Doubtful lines that are sorted again.
    sorted_again: HashSet<u64>,
    /// Lines before this one another worker may have sent before it died.
    sent_before: u64,
    /// So many lines more are such.
    replayed: u64,
    rejects: RejectFile,
    /// Where a document may have one line only.
    ids: Option<Ids>,
    reading: Reading,
    /// Where the mark is and what lies before it.
    mark: Checkpoint,
    saved: Checkpoint,
    saved_at: u64,
    /// At the beginning there may be no checkpoint that says so.
    ever_saved: bool,
    read_hold: Hold,
    write_hold: Hold,
}

impl Share {
    /// Opens the delta and takes the share up where its checkpoint stands.
    pub(crate) fn open(
        order: orders::Share,
        shop: &Shop,
        posts: &Posts,
        now: u64,
    ) -> Result<Share, Unopened> {
        let delta = order.name.to_string_lossy().into_owned();
        let at_fault = |e: io::Error| match is_the_deltas(&e) {
            true => Unopened::Fault(format!("cannot read {delta}: {e}")),
            false => Unopened::Machine(e),
        };
        if order.of == 0 || order.share >= order.of {
            return Err(Unopened::Fault(format!("no share {} of {}", order.share, order.of)));
        }
        let file = shop.spool.open_delta(&order.name).map_err(at_fault)?;
        let found = file.metadata().map_err(Unopened::Machine)?;
        let identity = Identity::of(order.claim, order.share, order.of, &found);
        let checkpoint_path = shop.spool.checkpoint(order.claim, order.share);
        let (mut mark, ever_saved, rejects) =
            take_up(&checkpoint_path, &identity, &shop.spool.rejects(order.claim, order.share))
                .map_err(Unopened::Machine)?;
        let path = shop.spool.intents(order.claim, order.share);
        let intents = Arc::new(Intents::open(&path, mark.line).map_err(Unopened::Machine)?);
        let counted = counts_at(&checkpoint_path).map_err(Unopened::Machine)?;
        let partition = Partition::new(&order);
        let lines = Lines::new(
            file,
            partition.by_number(),
            shop.config.spool.max_line,
            mark.line,
            mark.offset,
        )
        .map_err(at_fault)?;
        let tally = shop.cell.tally();
        let (claim, share) = (order.claim, order.share.into());
        let known = shop.board.known(claim, share).zip(counted.unwrap_or_default(), u64::max);
        // Whoever had it before was a window ahead of its mark at most; and that, a second ahead of
        // its checkpoint.
        let ahead = known.lines.saturating_sub(mark.counts.lines) + 2 * window::MOST as u64;
        let replayed = if mark.quiet || !ever_saved { 0 } else { ahead };
        if std::mem::take(&mut mark.quiet) || counted.is_none() {
            // From now on it is seen that somebody had it. (If not, the disk is full, and nothing is
            // kept at all before it works.)
            let _ = mark.save(&checkpoint_path, &identity);
        }
        shop.cell.publish(&tally.begin(claim, share, mark.offset, known));
        if mark.offset > 0 {
            info!(shop.log, "share taken up again"; "delta" => &delta, "share" => order.share,
                "line" => mark.line + 1);
        }
        let retry = &shop.config.retry;
        Ok(Share {
            window: Window::new(order.of),
            delta,
            identity,
            checkpoint_path,
            partition,
            lines,
            sorter: Sorter::new(shop.config.batch, posts, Arc::clone(&intents)),
            intents,
            doubts: Doubts::default(),
            audit: None,
            looked: false,
            sorted_again: HashSet::new(),
            sent_before: 0,
            replayed,
            held: VecDeque::new(),
            rejects,
            ids: order.key.is_none().then(|| Ids::new(shop.spool.ids(order.claim, order.share))),
            reading: Reading::On,
            mark,
            saved: mark,
            saved_at: now,
            ever_saved,
            read_hold: Hold::new("cannot read the delta", retry, &shop.log),
            write_hold: Hold::new("cannot write checkpoint or rejects", retry, &shop.log),
            order,
        })
    }

    pub(crate) fn order(&self) -> &orders::Share {
        &self.order
    }

    /// Reads no more: it ends with this reason once what is under way is answered.
    pub(crate) fn give_up(&mut self, reason: impl Into<String>, posts: &Posts) {
        if !matches!(self.reading, Reading::Given { .. }) {
            self.reading = Reading::Given { up: reason.into() };
            posts.halt();
        }
    }

    /// Whether there is reading to be done (rather than waiting for Solr).
    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.reading, Reading::On)
    }

    /// Does what can be done now.
    pub(crate) fn turn(&mut self, shop: &Shop, posts: &mut Posts, now: u64) -> Turn {
        for batch in self.sorter.refresh(posts) {
            self.sort_again(&batch, shop, posts, now);
            posts.recycle(batch);
        }
        self.add_held(shop, posts, now);
        let read = self.read(shop, posts, now);
        self.post_what_is_due(posts, now);
        self.move_mark(shop, posts);
        let at_end = self.is_at_end(posts);
        self.keep(at_end, now);
        match &self.reading {
            _ if !self.is_kept(at_end) => Turn::Wait(self.next_event(now)),
            Reading::Given { up } if at_end => {
                posts.go_on();
                Turn::Failed(up.clone())
            }
            Reading::Ended(_) if at_end && self.is_in_doubt() => self.look_again(shop, posts, now),
            Reading::Ended(_) if at_end => self.end(posts, now),
            // What the mark has passed, or the disk has taken, made room.
            _ if read || self.can_read(posts, now) => Turn::Again,
            _ => Turn::Wait(self.next_event(now)),
        }
    }

    /// Reads and converts lines until a batch is full, the window is, or the turn is over. Answers
    /// whether it could go on at once.
    fn read(&mut self, shop: &Shop, posts: &mut Posts, now: u64) -> bool {
        while self.can_read(posts, now) {
            match self.lines.next() {
                Ok(Found::Line(place, range)) => {
                    let line = self.lines.bytes(range);
                    if !self.partition.has(place.index, Some(line)) {
                        continue;
                    }
                    if self.replayed > 0 {
                        self.replayed -= 1;
                        self.sent_before = place.index + 1;
                    }
                    let converted = match self.order.poison.contains(&place.index) {
                        true => poisoned(),
                        false => {
                            shop.cell.set_hand(place.index + 1);
                            let field = self.sorter.router_field();
                            let converted = shop.converter.convert(line, field);
                            shop.cell.set_hand(0);
                            converted
                        }
                    };
                    if let Some(done) = self.done_before(place, &converted) {
                        self.window.push(place, Some(done));
                        continue;
                    }
                    let added = self.sorter.add(place, line, &converted, posts, now);
                    let done = match &converted {
                        Converted::Reject { stage, reason } => {
                            let reject = reject(&self.delta, place, *stage, reason);
                            let original = Original::Bytes(line);
                            Some(Done::Rejected(Reject { original, ..reject }.record()))
                        }
                        Converted::Nothing => Some(Done::Nothing),
                        Converted::Doc { .. } | Converted::Delete { .. } => None,
                    };
                    self.window.push(place, done);
                    if added == Added::NotYet {
                        self.held.push_back((place, line.to_vec()));
                    }
                    become_of(&mut self.window, &self.delta, place, line, added);
                }
                Ok(Found::TooLong(place, _)) if !self.partition.has(place.index, None) => {}
                Ok(Found::TooLong(place, length)) => {
                    let reason = format!(
                        "the line has {length} bytes, and spool.max_line = {}",
                        shop.config.spool.max_line
                    );
                    let original = Original::Length(length);
                    let reject = reject(&self.delta, place, Stage::Parse, &reason);
                    let record = Reject { original, ..reject }.record();
                    self.window.push(place, Some(Done::Rejected(record)));
                }
                Ok(Found::More) => {
                    self.read_hold.worked();
                    if sys::clock::now_ms().saturating_sub(now) >= TURN {
                        return true;
                    }
                }
                Ok(Found::End(place)) => self.reading = Reading::Ended(place),
                Err(e) if is_the_deltas(&e) => {
                    self.give_up(format!("cannot read {}: {e}", self.delta), posts);
                }
                Err(e) => self.read_hold.failed(&e, now),
            }
        }
        false
    }

    /// What became of a line before a death, where an intent tells that without asking Solr.
    fn done_before(&self, place: Place, converted: &Converted<'_>) -> Option<Done> {
        let name = converted.name()?;
        self.intents.is_done(place.index, name).then_some(match converted {
            Converted::Delete { .. } => Done::Delete,
            _ => Done::Doc,
        })
    }

    fn can_read(&self, posts: &Posts, now: u64) -> bool {
        self.is_reading()
            && self.held.is_empty()
            && posts.has_room()
            && posts.layout() == self.sorter.layout()
            && !self.window.is_full()
            && self.rejects.waiting() < UNWRITTEN
            && !self.write_hold.is_on()
            && self.read_hold.left(now).is_none()
    }

    /// Posts what is old, or the last; all of it also if the window is full, or a line waits for an
    /// answer: it would wait for itself.
    fn post_what_is_due(&mut self, posts: &mut Posts, now: u64) {
        let all = match self.reading {
            Reading::On => self.window.is_full(),
            Reading::Ended(_) => true,
            Reading::Given { .. } => return,
        };
        self.sorter.send_due(all, posts, now);
    }

    /// Sorts the lines that had to wait, as far as they need not any more.
    fn add_held(&mut self, shop: &Shop, posts: &mut Posts, now: u64) {
        while let Some((place, line)) = self.held.pop_front() {
            let converted = shop.converter.convert(&line, self.sorter.router_field());
            let added = self.sorter.add(place, &line, &converted, posts, now);
            if added == Added::NotYet {
                self.held.push_front((place, line));
                return;
            }
            become_of(&mut self.window, &self.delta, place, &line, added);
        }
    }

    /// Sorts what of a batch is not settled once more, by the layout of now.
    fn sort_again(&mut self, batch: &Batch, shop: &Shop, posts: &mut Posts, now: u64) {
        let mut not_yet = Vec::new();
        // All of them before the first is added: it may stand in several batches then.
        let open = |n: &usize| batch.entries[*n].outcome == Outcome::Open;
        (0..batch.len()).filter(open).for_each(|n| self.sorter.free_one(batch, n));
        for (n, entry) in batch.entries.iter().enumerate() {
            if entry.outcome == Outcome::Open {
                if entry.doubtful {
                    self.sorted_again.insert(entry.line);
                }
                let place = Place { index: entry.line, offset: entry.offset, end: 0 };
                let line = batch.original(n);
                let converted = shop.converter.convert(line, self.sorter.router_field());
                let added = self.sorter.add(place, line, &converted, posts, now);
                if added == Added::NotYet {
                    not_yet.push((place, line.to_vec()));
                }
                become_of(&mut self.window, &self.delta, place, line, added);
            }
        }
        // They are older than whatever waits already.
        not_yet.into_iter().rev().for_each(|line| self.held.push_front(line));
    }

    /// A batch is back from its post thread.
    pub(crate) fn take_in(&mut self, batch: &Batch, shop: &Shop, posts: &mut Posts, now: u64) {
        self.sorter.free(batch);
        for (n, entry) in batch.entries.iter().enumerate() {
            let settled = entry.outcome != Outcome::Open && !self.sorted_again.is_empty();
            let sorted_again = settled && self.sorted_again.remove(&entry.line);
            let doubtful = entry.doubtful || sorted_again || entry.line < self.sent_before;
            if let (Some(ids), false) = (&mut self.ids, entry.outcome == Outcome::Open) {
                // (A child's line is about its root: there may be several.)
                if batch.is_listed_by_id(n) {
                    ids.note(entry.key, entry.line);
                }
            }
            if entry.outcome == Outcome::Confirmed {
                let (line, offset) = (entry.line, entry.offset);
                let doubt = Doubt { line, offset, kind: entry.kind, version: entry.version };
                match batch.is_guarded() {
                    // It may not be sent again, and was carried out on what it was for.
                    true => self.doubts.forget(batch.listed(n)),
                    false => self.doubts.note(batch.listed(n), doubt, doubtful),
                }
            }
            let done = match (&entry.outcome, entry.kind) {
                (Outcome::Open, _) => continue,
                (Outcome::Confirmed, Kind::Add) => Done::Doc,
                (Outcome::Confirmed, Kind::Delete) => Done::Delete,
                (Outcome::Rejected { status, reason }, _) => {
                    self.intents.refuse(entry.line);
                    let place = Place { index: entry.line, offset: entry.offset, end: 0 };
                    let reject = Reject {
                        id: Some(batch.id(n)),
                        status: Some(*status),
                        attempts: entry.attempts,
                        original: Original::Bytes(batch.original(n)),
                        ..reject(&self.delta, place, Stage::Solr, reason)
                    };
                    Done::Rejected(reject.record())
                }
            };
            self.window.settle(entry.line, done);
        }
        // What is left of it was routed by a layout that is no more.
        if !matches!(self.reading, Reading::Given { .. }) && !posts.is_halted() {
            let older = self.sorter.refresh(posts);
            for batch in older.iter().chain([batch]) {
                self.sort_again(batch, shop, posts, now);
            }
        }
    }

    /// Moves the mark over what is done, and says so.
    fn move_mark(&mut self, shop: &Shop, posts: &Posts) {
        let passed = self.window.advance(|record| self.rejects.append(record));
        if let Some((line, offset)) = passed.mark {
            let counts = self.mark.counts.plus(passed.counts);
            let rejects = self.rejects.length();
            self.mark = Checkpoint { line, offset, counts, rejects, quiet: false };
            shop.cell.publish(&shop.cell.tally().reach(offset, counts));
            if passed.counts.rejected > 0 {
                if let Some(reason) = limit::exceeded(&shop.config, &shop.board, self.order.claim) {
                    self.give_up(reason, posts);
                }
            }
        }
        if let (Reading::Ended(end), true) = (&self.reading, self.window.is_empty()) {
            // Behind the last line of this share there may be lines of others.
            self.mark = Checkpoint { line: end.index, offset: end.offset, ..self.mark };
        }
    }

    /// Whether nothing is left but to write the last checkpoint.
    fn is_at_end(&self, posts: &Posts) -> bool {
        match self.reading {
            Reading::On => false,
            // A delete that went to several shards is done with its first reject: none of its
            // batches may come back to another share.
            Reading::Ended(_) => {
                self.window.is_empty() && posts.has_all_back() && self.held.is_empty()
            }
            Reading::Given { .. } => posts.is_idle(),
        }
    }

    fn is_in_doubt(&self) -> bool {
        // Once: what is sent again may be doubtful again, for ever.
        !self.looked && (!self.doubts.is_empty() || self.audit.is_some())
    }

    /// Everything is done. What nobody can be sure of is looked at, and sent again where Solr has
    /// something else than its receipts said.
    fn look_again(&mut self, shop: &Shop, posts: &mut Posts, now: u64) -> Turn {
        let Some(audit) = &mut self.audit else {
            let forms = versions::forms(self.doubts.names());
            self.audit = Some(Audit::begin(forms.len()));
            forms.into_iter().for_each(|form| posts.ask_versions(form));
            return Turn::Again;
        };
        if audit.open > 0 {
            return Turn::Wait(self.next_event(now));
        }
        let doubts = &mut self.doubts;
        let again = audit.again.get_or_insert_with(|| {
            let again = doubts.resolve(&audit.found);
            if !again.is_empty() {
                info!(shop.log, "Solr has other versions than it confirmed, sending again";
                    "delta" => &self.delta, "documents" => again.len());
            }
            again.into()
        });
        // No more at a time than the lanes take.
        while posts.has_room() && self.held.is_empty() {
            let Some(doubt) = again.pop_front() else { break };
            match self.lines.again(doubt.offset) {
                Ok(line) => {
                    let place = Place { index: doubt.line, offset: doubt.offset, end: 0 };
                    let converted = shop.converter.convert(&line, self.sorter.router_field());
                    if self.sorter.add(place, &line, &converted, posts, now) == Added::NotYet {
                        self.held.push_back((place, line));
                    }
                }
                // A delta that was truncated under our hands: there is nothing to send.
                Err(e) => warn!(shop.log, "a line cannot be read again"; "error" => %e),
            }
        }
        if !again.is_empty() {
            return Turn::Wait(self.next_event(now));
        }
        (self.audit, self.looked) = (None, true);
        Turn::Again
    }

    /// What versions Solr has of some that are in doubt; `None`: nobody was asked.
    pub(crate) fn take_in_versions(&mut self, found: Option<HashMap<String, i64>>) {
        match (&mut self.audit, found) {
            (Some(audit), Some(found)) => audit.take_in(found),
            _ => self.audit = None, // begun anew
        }
    }

    /// Everything is done, and written down; but a delta that is still being written may have grown.
    fn end(&mut self, posts: &Posts, now: u64) -> Turn {
        match self.lines.has_grown() {
            Ok(Grown::No) => return Turn::Done,
            Ok(Grown::Yes) => self.reading = Reading::On,
            Ok(Grown::Torn) => {
                let reason =
                    "was still being written: its last line has grown; hand it over by rename";
                self.give_up(format!("{} {reason}", self.delta), posts);
            }
            Err(e) => {
                self.read_hold.failed(&e, now);
                return Turn::Wait(self.next_event(now));
            }
        }
        Turn::Again
    }

    /// Writes rejects and checkpoint if it is time.
    fn keep(&mut self, at_end: bool, now: u64) {
        if self.write_hold.left(now).is_some() {
            return;
        }
        let due = at_end || now.saturating_sub(self.saved_at) >= CHECKPOINT;
        let kept = match due && !self.is_kept(true) {
            true => self.save(now),
            false if self.rejects.waiting() >= UNWRITTEN => self.rejects.write(),
            false => return,
        };
        match kept {
            Ok(()) => self.write_hold.worked(),
            Err(e) => self.write_hold.failed(&e, now),
        }
    }

    /// Whether the checkpoint is where the mark is, as it must be at the end.
    fn is_kept(&self, at_end: bool) -> bool {
        !at_end || (self.ever_saved && self.saved == self.mark)
    }

    /// Rejects on the disk, then the checkpoint that counts them. Never the other way round.
    fn save(&mut self, now: u64) -> io::Result<()> {
        self.rejects.sync()?;
        if let Some(ids) = &mut self.ids {
            ids.write();
        }
        self.mark.save(&self.checkpoint_path, &self.identity)?;
        (self.saved, self.saved_at, self.ever_saved) = (self.mark, now, true);
        self.intents.pass(self.mark.line);
        Ok(())
    }

    /// The worker leaves: the mark moves over what is known, and is written down.
    pub(crate) fn leave(&mut self, shop: &Shop, posts: &Posts, now: u64) -> io::Result<()> {
        self.move_mark(shop, posts);
        // What is not answered may be carried out later.
        self.mark.quiet = posts.is_idle();
        self.save(now)
    }

    /// How long nothing but an answer can change anything.
    fn next_event(&self, now: u64) -> Duration {
        let second = Duration::from_secs(1);
        let due = self.sorter.next_due().map(|due| due.saturating_sub(now)).filter(|ms| *ms > 0);
        let events =
            [self.read_hold.left(now), self.write_hold.left(now), due.map(Duration::from_millis)];
        events.into_iter().flatten().fold(second, Duration::min)
    }
}

/// The checkpoint and the reject file it speaks of; both from the beginning where one of them
/// cannot be believed.
fn take_up(
    path: &std::path::Path,
    identity: &Identity,
    rejects: &std::path::Path,
) -> io::Result<(Checkpoint, bool, RejectFile)> {
    if let Some(mark) = Checkpoint::load(path, identity)? {
        match RejectFile::open(rejects, mark.rejects) {
            Ok(file) => return Ok((mark, true, file)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(e) => return Err(e),
        }
    }
    Ok((Checkpoint::default(), false, RejectFile::open(rejects, 0)?))
}

/// What a line is that has ended two workers.
fn poisoned<'a>() -> Converted<'a> {
    let reason = "two workers died or hung when they converted this line".into();
    Converted::Reject { stage: Stage::Convert, reason }
}

/// What the sorter has made of a line.
fn become_of(window: &mut Window, delta: &str, place: Place, line: &[u8], added: Added) {
    match added {
        Added::Commands(count) => window.becomes(place.index, count),
        Added::Nowhere(reason) => {
            let reject = reject(delta, place, Stage::Convert, &reason);
            let record = Reject { original: Original::Bytes(line), ..reject }.record();
            window.settle(place.index, Done::Rejected(record));
        }
        Added::NoCommand | Added::NotYet => {}
    }
}

fn reject<'a>(delta: &'a str, place: Place, stage: Stage, reason: &'a str) -> Reject<'a> {
    Reject {
        delta,
        line: place.index + 1,
        offset: place.offset,
        id: None,
        stage,
        status: None,
        reason,
        attempts: 0,
        original: Original::Length(0),
    }
}
