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

use scoreboard::{Board, Counts, Held, WorkerCell};
use slog::{Logger, info, warn};
use spool::{Begin, Beyond, Checkpoint, Identity, Kind as What, Packing, Spool, Standing};

use crate::batch::{Batch, Kind, Outcome};
use crate::doubts::{Audit, Doubt, Doubts};
use crate::hold::{Hold, is_the_deltas};
use crate::intents::Intents;
use crate::limit;
use crate::lines::{Behind, Found, Grown, Lines, Place, behind, ends_a_line};
use crate::papers::{self, Papers, Unfolded};
use crate::partition::Partition;
use crate::posts::Posts;
use crate::rejects::{Original, Reject, RejectFile, Stage};
use crate::repeats::Ids;
use crate::sorter::{Added, Sorter};
use crate::torn::{self, Torn};
use crate::unpack::Corrupt;
use crate::versions;
use crate::window::{self, Done, Window};
use convert::{Converted, Converter, Scratch};
use exec::Exec;

use asking::{Asking, Kept};

mod asking;

/// Between two checkpoints, in milliseconds.
const CHECKPOINT: u64 = 1000;
/// A turn that found nothing to post ends after so many milliseconds: orders may wait.
const TURN: u64 = 20;
/// For so many times `settle` a share whose delta goes on growing reads on.
const PATIENCE: u64 = 10;
/// Reading stops while so many bytes of rejects wait for the disk.
const UNSYNCED: usize = 1 << 20;

/// What is to be done with a delta that is not what it was.
pub(crate) const OVER_AGAIN: &str =
    "hand it over again (lines that count, by inc or add, count twice if they were delivered)";

/// What a worker has for all its shares.
pub(crate) struct Shop {
    pub(crate) config: config::Config,
    pub(crate) spool: Spool,
    pub(crate) board: Board,
    pub(crate) cell: WorkerCell,
    pub(crate) converter: Converter,
    /// The operator's own, where the configuration has one.
    pub(crate) exec: Option<Exec>,
    pub(crate) log: Logger,
}

impl Shop {
    /// Whether a person wants nothing to be sent for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.board.parent().paused() != 0
    }
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
    papers: Papers,
    identity: Identity,
    checkpoint_path: std::path::PathBuf,
    partition: Partition,
    lines: Lines,
    sorter: Sorter,
    /// Lines whose ids are in batches that must be answered first.
    held: VecDeque<Kept>,
    asking: Asking,
    window: Window,
    intents: Arc<Intents>,
    /// Documents of which nobody can be sure, and the look at them at the end.
    doubts: Doubts,
    audit: Option<Audit>,
    looked: bool,
    /// A batch came back with some that were given up and are not settled.
    left_in_doubt: bool,
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
    /// A person wants nothing to be sent for now.
    paused: bool,
    /// It is read up to where its order says; of a compressed delta as far as is known.
    is_bounded: bool,
    /// When it was first seen that there is more behind the end.
    growing: Option<u64>,
    /// A compressed delta ends in the middle: it is waited for.
    torn: Torn,
    /// It can be read no further, for this reason: what was read is delivered.
    broken_off: Option<String>,
    /// Where the mark is and what lies before it.
    mark: Checkpoint,
    /// Lines beyond the mark that were done before this began.
    beyond: Beyond,
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
        let delta = order.name.to_string_lossy();
        let at_fault = |e: io::Error| match is_the_deltas(&e, order.kind, &order.name, &shop.spool)
        {
            true => Unopened::Fault(format!("cannot read {delta}: {}", spool::remedy(&e))),
            false => Unopened::Machine(e),
        };
        if order.of == 0 || order.share >= order.of {
            return Err(Unopened::Fault(format!("no share {} of {}", order.share, order.of)));
        }
        let file = shop.spool.open_claimed(order.kind, &order.name).map_err(at_fault)?;
        let found = file.metadata().map_err(Unopened::Machine)?;
        let packing = match order.kind {
            What::Delta | What::Rest => Packing::of(&order.name),
            What::Rejects => Packing::None, // records of ours, whatever the delta is called
        };
        let is_plain = packing == Packing::None;
        // Where its end is to be can be judged alike by all shares: what is there does not change. (Of a
        // compressed one when they have come to there.)
        let end = order.end.filter(|end| *end <= found.len());
        let is_bounded = match end {
            Some(end) if is_plain => ends_a_line(&file, end).map_err(at_fault)?,
            Some(_) => true,
            None => false,
        };
        let end = end.filter(|_| is_bounded);
        let progress = papers::progress(&order, &shop.spool).map_err(|e| match e {
            Some(e) => Unopened::Machine(e),
            None => Unopened::Fault(spool::unknown_progress(&order.name)),
        })?;
        let Begin { line, offset } = order.begin;
        if is_plain && behind(&file, offset).map_err(at_fault)? == Behind::Within {
            return Err(Unopened::Fault(grown_afterwards(&delta, line)));
        }
        let begin = Checkpoint { line, offset, ..Checkpoint::default() };
        // By that its checkpoint is believed though the delta has grown since.
        let identity = Identity::of(order.claim, order.share, order.of, &found);
        let identity = Identity { size: end.unwrap_or(identity.size), ..identity };
        let checkpoint_path = shop.spool.checkpoint(order.claim, order.share);
        let before = progress.as_ref().and_then(|p| p.standing(order.share, order.of, &found));
        let (mut mark, beyond, ever_saved, rejects) = take_up(
            &checkpoint_path,
            &identity,
            &shop.spool.rejects(order.claim, order.share),
            before,
            begin,
        )
        .map_err(Unopened::Machine)?;
        if !is_plain {
            mark.packed.get_or_insert(0);
        }
        let path = shop.spool.intents(order.claim, order.share);
        let intents =
            Intents::open(&path, mark.line, || shop.cell.set_heartbeat(sys::clock::now_ms()));
        let mut intents = intents.map_err(Unopened::Machine)?;
        if let Some(before) = before {
            intents.begin_with(&before.sent, mark.line).map_err(Unopened::Machine)?;
        }
        let intents = Arc::new(intents);
        let papers =
            Papers::new(&order, progress.as_ref(), &intents, shop).map_err(Unopened::Machine)?;
        let doubts = Doubts::open(shop.spool.doubts(order.claim, order.share));
        let doubts = doubts.map_err(Unopened::Machine)?;
        let found = Checkpoint::found(&checkpoint_path).map_err(Unopened::Machine)?;
        let partition = Partition::new(order.share, order.of, order.key.as_deref());
        // A record of what is retried may be longer than the line in it; it was short enough once.
        let longest = match order.kind {
            What::Delta | What::Rest => shop.config.spool.max_line,
            What::Rejects => u64::MAX,
        };
        let begin = (mark.line, mark.offset);
        let lines =
            Lines::new(file, packing, partition.by_number(), longest, begin).map_err(at_fault)?;
        let lines = if let Some(end) = end { lines.up_to(end) } else { lines };
        if let Some(index) = lines.is_within() {
            tell_within(index, papers.delta(), shop);
        }
        let tally = shop.cell.tally();
        let (claim, share) = (order.claim, order.share.into());
        let (counted, quiet) = match &found {
            Some((_, (last, _))) => (last.counts, last.quiet),
            None => (Counts::default(), true),
        };
        let counts = counted.zip(mark.counts, u64::max);
        let known = shop.board.known(claim, share).zip(counts, u64::max);
        // Whoever had it before was a window ahead of its mark at most; and that, a second ahead of
        // its checkpoint.
        let ahead = known.lines.saturating_sub(mark.counts.lines) + 2 * window::MOST as u64;
        let replayed = if quiet { 0 } else { ahead };
        mark.quiet = false;
        mark.version = highest_version(shop);
        if quiet {
            // From now on it is seen that somebody had it. (If not, the disk is full, and nothing is
            // kept at all before it works.)
            let _ = match found {
                // It is not taken up, but says what was counted.
                Some((of, (last, done))) if !ever_saved => {
                    Checkpoint { quiet: false, ..last }.save_with(&checkpoint_path, &of, &done)
                }
                _ => mark.save_with(&checkpoint_path, &identity, &beyond),
            };
        }
        shop.cell.publish(&tally.begin(claim, share, mark.in_file(), known));
        if mark.offset > offset {
            info!(shop.log, "share taken up again"; "delta" => papers.delta(), "share" => order.share,
                "line" => mark.line + 1);
        }
        posts.schema().begin(sys::clock::now_ms());
        let retry = &shop.config.retry;
        // (What is retried was looked at when it was read first.)
        let is_divided_by_line = order.key.is_none() && order.kind == What::Delta;
        Ok(Share {
            window: Window::new(order.of),
            papers,
            identity,
            checkpoint_path,
            partition,
            lines,
            sorter: Sorter::new(shop.config.batch, posts, Arc::clone(&intents)),
            intents,
            doubts,
            audit: None,
            looked: false,
            left_in_doubt: false,
            sorted_again: HashSet::new(),
            sent_before: 0,
            replayed,
            held: VecDeque::new(),
            asking: Asking::new(shop),
            rejects,
            ids: is_divided_by_line.then(|| Ids::new(shop.spool.ids(order.claim, order.share))),
            reading: Reading::On,
            paused: false,
            is_bounded,
            growing: None,
            torn: Torn::default(),
            broken_off: None,
            mark,
            beyond,
            saved: mark,
            saved_at: now,
            ever_saved,
            read_hold: Hold::new(Held::Read, retry, &shop.log),
            write_hold: Hold::new(Held::Write, retry, &shop.log),
            order,
        })
    }

    pub(crate) fn order(&self) -> &orders::Share {
        &self.order
    }

    /// Whether it ends where its order says, as do all other shares of its delta.
    pub(crate) fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    /// What holds it up.
    pub(crate) fn held(&self) -> Option<(Held, i32)> {
        let intending = || self.intents.trouble().map(|errno| (Held::Intend, errno));
        let converting = self.asking.told();
        self.write_hold.told().or_else(intending).or(self.read_hold.told()).or(converting)
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
    pub(crate) fn turn(&mut self, shop: &mut Shop, posts: &mut Posts, now: u64) -> Turn {
        self.paused = shop.is_paused();
        posts.schema().refresh(now);
        for batch in self.sorter.refresh(posts) {
            self.sort_again(&batch, shop, posts, now);
            posts.recycle(batch);
        }
        self.add_held(shop, posts, now);
        let read = self.read(shop, posts, now);
        self.go_on_asking(shop, posts, now);
        self.post_what_is_due(posts, now);
        self.move_mark(shop, posts);
        let at_end = self.is_at_end(posts);
        if let (Reading::Given { .. }, true) = (&self.reading, at_end) {
            self.look_beyond(shop);
        }
        self.keep(at_end, shop, now);
        match &self.reading {
            _ if !self.is_kept(at_end) => Turn::Wait(self.next_event(now)),
            Reading::Given { up } if at_end => {
                posts.go_on();
                Turn::Failed(up.clone())
            }
            Reading::Ended(_) if at_end && self.is_in_doubt() => self.look_again(shop, posts, now),
            Reading::Ended(_) if at_end => self.end(shop, posts, now),
            // What the mark has passed, or the disk has taken, made room.
            _ if read || self.can_read(shop, posts, now) => Turn::Again,
            _ => Turn::Wait(self.next_event(now)),
        }
    }

    /// Reads and converts lines until a batch is full, the window is, or the turn is over. Answers
    /// whether it could go on at once.
    fn read(&mut self, shop: &mut Shop, posts: &mut Posts, now: u64) -> bool {
        let (mut scratch, mut unchecked) = (posts.schema().scratch(), Scratch::default());
        while self.can_read(shop, posts, now) {
            match self.lines.next() {
                Ok(Found::Line(place, _) | Found::TooLong(place, _)) if self.is_done(place) => {
                    self.window.push(place, Some(Done::Before));
                }
                Ok(Found::Line(place, range)) => {
                    let bytes = self.lines.bytes(range);
                    if !self.partition.has(place.index, Some(bytes)) {
                        continue;
                    }
                    if place.offset == 0 && self.lines.has_bom() {
                        info!(shop.log, "the delta begins with a byte order mark, which is passed over";
                            "delta" => self.papers.delta());
                    }
                    let line = match self.papers.line(place, bytes) {
                        Unfolded::Line(line) => line,
                        Unfolded::Refused(record) => {
                            self.window.push(place, Some(Done::Rejected(record)));
                            continue;
                        }
                        Unfolded::NotYet => {
                            self.lines.step_back();
                            return true;
                        }
                    };
                    if self.replayed > 0 {
                        self.replayed -= 1;
                        self.sent_before = place.index + 1;
                    }
                    if let Some(exec) = &mut shop.exec {
                        let known = match self.order.poison.contains(&place.index) {
                            true => Some(poisoned()),
                            false => shop.converter.before_asking(&line),
                        };
                        self.asking.ask(place, &line, known, &mut self.window, exec);
                        continue;
                    }
                    self.sorter.come_late(self.papers.late(place.index));
                    let converted = match self.order.poison.contains(&place.index) {
                        true => poisoned(),
                        false => {
                            shop.cell.set_hand(place.index + 1);
                            let field = self.sorter.router_field();
                            let mut converted = shop.converter.convert(&line, &mut scratch, field);
                            if is_by_schema(&converted) {
                                let without = shop.converter.convert(&line, &mut unchecked, field);
                                if self.may_be_sent(place, &without) {
                                    converted = without;
                                }
                            }
                            shop.cell.set_hand(0);
                            converted
                        }
                    };
                    if let Some(done) = self.done_before(place, &converted) {
                        self.window.push(place, Some(done));
                        continue;
                    }
                    if waits_for_schema(&converted, posts, now)
                        || is_too_soon(&converted, &line, &self.partition, &mut self.sorter, posts)
                    {
                        self.window.push(place, None);
                        self.held.push_back(Kept::line(place, &line));
                        continue;
                    }
                    let added = self.sorter.add(place, &line, &converted, posts, now);
                    let done = match &converted {
                        Converted::Reject { stage, reason } => {
                            Some(rejected(&self.papers, place, &line, (*stage).into(), reason))
                        }
                        Converted::Nothing => Some(Done::Nothing),
                        Converted::Doc { .. } | Converted::Delete { .. } => None,
                    };
                    self.window.push(place, done);
                    if added == Added::NotYet {
                        self.held.push_back(Kept::line(place, &line));
                    }
                    become_of(&mut self.window, &self.intents, &self.papers, place, &line, added);
                }
                Ok(Found::TooLong(place, _)) if !self.partition.has(place.index, None) => {}
                Ok(Found::TooLong(place, length)) => {
                    let reason = format!(
                        "the line has {length} bytes, and spool.max_line = {}",
                        shop.config.spool.max_line
                    );
                    let original = Original::Length(length);
                    // Nobody can say whose document it is, so it may be in another share than ours, where
                    // a later delta may be ahead: it is as old as its delta, and goes over nothing that
                    // may be newer.
                    let orders::Share { kind, key, version, .. } = &self.order;
                    let is_divided_by_it = *kind == What::Delta && key.is_some();
                    let age = is_divided_by_it.then_some((*version).max(1));
                    let reject = self.papers.reject(place, Stage::Parse, &reason, age);
                    let record = Reject { original, ..reject }.record();
                    self.window.push(place, Some(Done::Rejected(record)));
                }
                Ok(Found::More) => {
                    self.read_hold.worked();
                    if sys::clock::now_ms().saturating_sub(now) >= TURN {
                        return true;
                    }
                }
                Ok(Found::Within(index)) => {
                    let Begin { line, offset } = self.order.begin;
                    match self.mark.offset == offset {
                        true => self.give_up(grown_afterwards(self.papers.delta(), line), posts),
                        false => tell_within(index, self.papers.delta(), shop),
                    }
                }
                Ok(Found::Short) if self.is_bounded => self.go_on(),
                Ok(Found::Short) => self.wait_for_the_rest(shop, now),
                Ok(Found::End(place)) => {
                    self.torn = Torn::default();
                    if self.is_bounded && self.lines.is_open() {
                        self.go_on(); // what has come of that line is seen at the end
                    }
                    let end = self.lines.in_file();
                    if end > self.identity.size {
                        // It grew while it was read: the checkpoint must speak of what was read.
                        self.identity.size = end;
                        self.ever_saved = false;
                    }
                    self.reading = Reading::Ended(place);
                }
                Err(e) if Corrupt::is(&e) => self.break_off(&e.to_string(), OVER_AGAIN),
                Err(e) if is_the_deltas(&e, self.order.kind, &self.order.name, &shop.spool) => {
                    let words = spool::remedy(&e);
                    self.give_up(format!("cannot read {}: {words}", self.papers.delta()), posts);
                }
                Err(e) => self.read_hold.failed(&e, now),
            }
        }
        false
    }

    /// Where its order says no line ends: all shares find that, and read on to wherever the end is.
    fn go_on(&mut self) {
        self.is_bounded = false;
        self.lines.go_on();
    }

    /// A compressed delta ends in the middle. Its producer may still be at it; or it was cut.
    fn wait_for_the_rest(&mut self, shop: &Shop, now: u64) {
        let size = match self.lines.size() {
            Ok(size) => size,
            Err(e) => return self.read_hold.failed(&e, now),
        };
        let before = self.identity.size;
        if size < before {
            let what =
                format!("was cut short while it was delivered, from {before} bytes to {size}");
            return self.break_off(&what, OVER_AGAIN);
        }
        let settle = shop.config.spool.settle.as_millis() as u64;
        match self.torn.look(size, settle, now) {
            torn::Next::Wait => {}
            torn::Next::Tell => {
                warn!(shop.log, "the delta ends in the middle of what was compressed, and is waited for: hand \
                    it over when it is closed"; "delta" => self.papers.delta(), "bytes" => size);
            }
            torn::Next::GiveUp if size == 0 => {
                self.break_off("is empty, and no compressed file is", OVER_AGAIN);
            }
            torn::Next::GiveUp => {
                self.break_off("ends in the middle of what was compressed", OVER_AGAIN);
            }
            torn::Next::GoesOn => {
                self.break_off(
                    "goes on growing",
                    "have its writer close it; retry delivers the rest",
                );
            }
        }
    }

    /// The delta can be read no further. What was read of it is delivered, then the share ends with this
    /// reason.
    fn break_off(&mut self, what: &str, remedy: &str) {
        let Place { index, offset, .. } = self.lines.here();
        let (delta, before) = (self.papers.delta(), index);
        let how_far = match before {
            0 => "no line of it could be read".to_owned(),
            _ => format!(
                "line {before} was the last that could be read (up to byte {offset} of the text), and what was \
                 delivered stays"
            ),
        };
        self.broken_off = Some(format!("{delta} {what}; {how_far}: {remedy}"));
        self.reading = Reading::Ended(self.lines.here());
    }

    /// What became of a line before a death, where an intent tells that without asking Solr.
    fn done_before(&self, place: Place, converted: &Converted<'_>) -> Option<Done> {
        let name = converted.name()?;
        self.intents.is_done(place.index, name).then_some(match converted {
            Converted::Delete { .. } => Done::Delete,
            _ => Done::Doc,
        })
    }

    /// Whether Solr may have had this line already: no schema refuses it any more. (What is sorted again
    /// has no end.)
    fn may_be_sent(&self, place: Place, converted: &Converted<'_>) -> bool {
        place.end == 0
            || self.intents.version(place.index).is_some()
            || self.done_before(place, converted).is_some()
    }

    fn can_read(&self, shop: &Shop, posts: &Posts, now: u64) -> bool {
        self.is_reading()
            && !self.paused
            && shop.exec.as_ref().is_none_or(Exec::has_room)
            && self.held.is_empty()
            && posts.has_room()
            && posts.layout() == self.sorter.layout()
            && !self.window.is_full()
            && self.rejects.waiting() < UNSYNCED
            && !self.write_hold.is_on()
            && self.read_hold.left(now).is_none()
            && self.torn.left(now).is_none()
    }

    /// Posts what is old, or the last; all of it also if the window is full, or a line waits for an
    /// answer: it would wait for itself.
    fn post_what_is_due(&mut self, posts: &mut Posts, now: u64) {
        let all = match self.reading {
            _ if self.paused => return,
            Reading::On => self.window.is_full(),
            Reading::Ended(_) => true,
            Reading::Given { .. } => return,
        };
        self.sorter.send_due(all, posts, now);
    }

    /// Sorts the lines that had to wait, as far as they need not any more.
    fn add_held(&mut self, shop: &Shop, posts: &mut Posts, now: u64) {
        if self.held.is_empty() || self.paused {
            return;
        }
        let (mut scratch, mut unchecked) = (posts.schema().scratch(), Scratch::default());
        while let Some(kept) = self.held.pop_front() {
            let (place, line) = (kept.place, &kept.line[..]);
            self.sorter.come_late(self.papers.late(place.index));
            let converted = match self.order.poison.contains(&place.index) {
                true => poisoned(),
                false => {
                    let mut converted =
                        kept.convert(&shop.converter, &mut scratch, &mut self.sorter);
                    if is_by_schema(&converted) {
                        let without =
                            kept.convert(&shop.converter, &mut unchecked, &mut self.sorter);
                        if self.may_be_sent(place, &without) {
                            converted = without;
                        }
                    }
                    converted
                }
            };
            if let Some(done) = self.done_before(place, &converted) {
                self.window.settle(place.index, done);
                continue;
            }
            if waits_for_schema(&converted, posts, now)
                || is_too_soon(&converted, line, &self.partition, &mut self.sorter, posts)
            {
                self.held.push_front(kept);
                return;
            }
            if let Converted::Reject { stage, reason } = &converted {
                let done = rejected(&self.papers, place, line, (*stage).into(), reason);
                self.window.settle(place.index, done);
                continue;
            }
            let added = self.sorter.add(place, line, &converted, posts, now);
            if added == Added::NotYet {
                self.held.push_front(kept);
                return;
            }
            become_of(&mut self.window, &self.intents, &self.papers, place, line, added);
        }
    }

    /// Sorts what of a batch is not settled once more, by the layout of now.
    fn sort_again(&mut self, batch: &Batch, shop: &Shop, posts: &mut Posts, now: u64) {
        let (mut not_yet, mut scratch) = (Vec::new(), Scratch::default());
        // All of them before the first is added: it may stand in several batches then.
        let open = |n: &usize| batch.entries[*n].outcome == Outcome::Open;
        (0..batch.len()).filter(open).for_each(|n| self.sorter.free_one(batch, n));
        for (n, entry) in batch.entries.iter().enumerate() {
            if entry.outcome == Outcome::Open {
                if entry.doubtful {
                    self.sorted_again.insert(entry.line);
                } else if batch.is_guarded() {
                    // It was not sent, or to no effect: what it is for is read anew.
                    self.intents.refuse(entry.line);
                }
                let place = Place { index: entry.line, offset: entry.offset, end: 0 };
                let answer = shop.exec.is_some().then(|| asking::Answer::Said(batch.answer(n)));
                let kept = Kept { answer, ..Kept::line(place, batch.original(n)) };
                let line = &kept.line[..];
                self.sorter.come_late(self.papers.late(place.index));
                let converted = kept.convert(&shop.converter, &mut scratch, &mut self.sorter);
                let added = self.sorter.add(place, line, &converted, posts, now);
                let is_not_yet = added == Added::NotYet;
                become_of(&mut self.window, &self.intents, &self.papers, place, line, added);
                if is_not_yet {
                    not_yet.push(kept);
                }
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
                    let noted = ids.note(entry.key, entry.line);
                    tell_unnoted(noted, self.papers.delta(), shop);
                }
            }
            if entry.outcome == Outcome::Confirmed {
                let (line, offset) = (entry.line, entry.offset);
                let once = batch.is_guarded();
                let doubt = Doubt { line, offset, kind: entry.kind, version: entry.version, once };
                self.doubts.note(batch.listed(n), doubt, doubtful && !once);
            }
            self.left_in_doubt |= entry.doubtful && entry.outcome == Outcome::Open;
            let done = match (&entry.outcome, entry.kind) {
                (Outcome::Open, _) => continue,
                (Outcome::Confirmed, Kind::Add) => Done::Doc,
                (Outcome::Confirmed, Kind::Delete) => Done::Delete,
                (Outcome::Superseded, _) => Done::Superseded,
                (Outcome::Rejected { status, reason }, _) => {
                    self.intents.refuse(entry.line);
                    let place = Place { index: entry.line, offset: entry.offset, end: 0 };
                    let as_of = Some(entry.as_of).filter(|version| *version > 0);
                    let reject = self.papers.reject(place, Stage::Solr, reason, as_of);
                    // To be retried is one attempt more, however often it was sent.
                    let attempts = match reject.attempts {
                        0 => entry.attempts,
                        retried => retried,
                    };
                    let reject = Reject {
                        id: Some(batch.id(n)),
                        status: Some(*status),
                        attempts,
                        original: Original::Bytes(batch.original(n)),
                        ..reject
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
            let packed = self.lines.about_in_file(offset);
            self.mark =
                Checkpoint { line, offset, packed, counts, rejects, quiet: false, version: 0 };
            shop.cell.publish(&shop.cell.tally().reach(self.mark.in_file(), counts));
            self.papers.passed(line);
            // What was rejected before and is again is no avalanche.
            if passed.counts.rejected > 0 && self.order.kind != What::Rejects {
                if let Some(reason) = limit::exceeded(shop, &self.order) {
                    self.give_up(reason, posts);
                }
            }
        }
        if let (Reading::Ended(end), true) = (&self.reading, self.window.is_empty()) {
            // Behind the last line of this share there may be lines of others.
            let (before, packed) = (self.mark.in_file(), self.packed_at(end));
            self.mark = Checkpoint { line: end.index, offset: end.offset, packed, ..self.mark };
            if self.mark.in_file() != before {
                shop.cell.publish(&shop.cell.tally().reach(self.mark.in_file(), self.mark.counts));
            }
        }
    }

    /// Where the end of the reading is in a compressed file.
    fn packed_at(&self, end: &Place) -> Option<u64> {
        let about = self.lines.about_in_file(end.offset)?;
        Some(if self.broken_off.is_some() { about } else { self.lines.in_file() })
    }

    /// Whether nothing is left but to write the last checkpoint.
    fn is_at_end(&self, posts: &Posts) -> bool {
        match self.reading {
            Reading::On => false,
            // A delete that went to several shards is done with its first reject: none of its
            // batches may come back to another share.
            Reading::Ended(_) => {
                self.window.is_empty()
                    && posts.has_all_back()
                    && self.held.is_empty()
                    && self.asking.is_empty()
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
    fn look_again(&mut self, shop: &mut Shop, posts: &mut Posts, now: u64) -> Turn {
        let Some(audit) = &mut self.audit else {
            let forms = versions::forms(self.doubts.names());
            info!(shop.log, "asking Solr which versions it has of what was under way when a request was \
                given up or a worker died"; "delta" => self.papers.delta(), "documents" => self.doubts.len());
            self.audit = Some(Audit::begin(forms.len()));
            forms.into_iter().for_each(|form| posts.ask_versions(form));
            return Turn::Again;
        };
        if audit.open > 0 {
            return Turn::Wait(self.next_event(now));
        }
        let doubts = &mut self.doubts;
        let again = audit.again.get_or_insert_with(|| {
            let (again, undone) = doubts.resolve(&audit.found);
            for (id, line) in undone {
                warn!(shop.log, "Solr has another version than it confirmed, of what may not be sent \
                    twice: another program's, or an older line's that came late: look at it";
                    "delta" => self.papers.delta(), "id" => id, "line" => line + 1);
            }
            if !again.is_empty() {
                info!(shop.log, "Solr has other versions than it confirmed, sending again";
                    "delta" => self.papers.delta(), "documents" => again.len());
            }
            again.into()
        });
        if let Some(left) = self.read_hold.left(now) {
            return Turn::Wait(left);
        }
        let mut scratch = Scratch::default();
        // No more at a time than the lanes take.
        let has_room = |exec: &Option<Exec>| exec.as_ref().is_none_or(Exec::has_room);
        while posts.has_room() && self.held.is_empty() && has_room(&shop.exec) {
            let Some(doubt) = again.pop_front() else { break };
            match self.lines.again(doubt.offset) {
                Ok(None) => {
                    again.push_front(doubt);
                    return Turn::Again;
                }
                Ok(Some(bytes)) => {
                    let place = Place { index: doubt.line, offset: doubt.offset, end: 0 };
                    let line = match self.papers.line(place, &bytes) {
                        Unfolded::Line(line) => line,
                        Unfolded::Refused(_) => continue, // (it was read before, so it can be)
                        Unfolded::NotYet => {
                            again.push_front(doubt);
                            return Turn::Again;
                        }
                    };
                    if let Some(exec) = &mut shop.exec {
                        self.asking.ask_again(place, &line, exec);
                        continue;
                    }
                    self.sorter.come_late(self.papers.late(place.index));
                    let converted =
                        shop.converter.convert(&line, &mut scratch, self.sorter.router_field());
                    if self.sorter.add(place, &line, &converted, posts, now) == Added::NotYet {
                        self.held.push_back(Kept::line(place, &line));
                    }
                }
                // A compressed delta that was cut since: no waiting helps.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof || Corrupt::is(&e) => {
                    let delta = self.papers.delta();
                    let reason = format!("{delta} cannot be read once more: {e}: {OVER_AGAIN}");
                    self.give_up(reason, posts);
                    return Turn::Again;
                }
                Err(e) => {
                    again.push_front(doubt);
                    self.read_hold.failed(&e, now);
                    return Turn::Wait(self.next_event(now));
                }
            }
        }
        if !again.is_empty() {
            return Turn::Wait(self.next_event(now));
        }
        self.read_hold.worked();
        (self.audit, self.looked) = (None, true);
        self.doubts.are_resolved();
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
    fn end(&mut self, shop: &Shop, posts: &Posts, now: u64) -> Turn {
        let patience = PATIENCE * shop.config.spool.settle.as_millis() as u64;
        if let Some(why) = self.broken_off.take() {
            self.give_up(why, posts);
            return Turn::Again;
        }
        match self.lines.has_grown(self.identity.size) {
            Ok(Grown::No) => return Turn::Done,
            // That is for whoever finishes it: the other shares must end at the same place.
            Ok(Grown::Yes | Grown::Torn) if self.is_bounded => return Turn::Done,
            // It would go on for ever: whoever finishes it waits until it stands still.
            Ok(Grown::Yes) if now >= *self.growing.get_or_insert(now) + patience => {
                return Turn::Done;
            }
            Ok(Grown::Yes) => self.reading = Reading::On,
            Ok(Grown::Cut(size)) => {
                let (delta, before) = (self.papers.delta(), self.identity.size);
                self.give_up(
                    format!(
                        "{delta} was cut short while it was delivered, from {before} bytes to {size}: \
                         {OVER_AGAIN}"
                    ),
                    posts,
                );
            }
            Ok(Grown::Torn) => {
                let (delta, line) = (self.papers.delta(), self.mark.line);
                self.give_up(
                    format!(
                        "{delta} was still being written, and line {line} has grown since it was read: hand \
                         that line over anew, and deltas by rename; retry delivers what comes behind it"
                    ),
                    posts,
                );
            }
            Err(e) => {
                self.read_hold.failed(&e, now);
                return Turn::Wait(self.next_event(now));
            }
        }
        Turn::Again
    }

    /// Writes rejects and checkpoint if it is time.
    fn keep(&mut self, at_end: bool, shop: &Shop, now: u64) {
        if self.write_hold.left(now).is_some() {
            return;
        }
        let due = at_end || now.saturating_sub(self.saved_at) >= CHECKPOINT;
        let kept = match due && !self.is_kept(true) {
            true => self.save(shop, now),
            false if self.rejects.waiting() >= UNSYNCED => self.rejects.sync(),
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
    fn save(&mut self, shop: &Shop, now: u64) -> io::Result<()> {
        self.rejects.sync()?;
        if let Some(ids) = &mut self.ids {
            tell_unnoted(ids.write(), self.papers.delta(), shop);
        }
        self.doubts.write()?;
        self.intents.keep_given()?;
        self.beyond.cut(self.partition.number(self.mark.line));
        self.mark.version = highest_version(shop);
        self.mark.save_with(&self.checkpoint_path, &self.identity, &self.beyond)?;
        self.intents.pass(self.mark.line)?;
        (self.saved, self.saved_at, self.ever_saved) = (self.mark, now, true);
        Ok(())
    }

    /// Whether a line was done before this began.
    fn is_done(&self, place: Place) -> bool {
        !self.beyond.is_empty() && self.beyond.contains(self.partition.number(place.index))
    }

    /// The share is given up, and everything is answered: what is done beyond the mark is kept, too,
    /// so that nobody sends it again.
    fn look_beyond(&mut self, shop: &Shop) {
        let (mut done, partition) = (Vec::new(), &self.partition);
        let counts = self.window.give_up(|line| done.push(partition.number(line)));
        if counts != Default::default() {
            self.mark.counts = self.mark.counts.plus(counts);
            shop.cell.publish(&shop.cell.tally().reach(self.mark.in_file(), self.mark.counts));
            let mut beyond = Beyond::default();
            let before = std::mem::take(&mut self.beyond);
            let mut lines: Vec<u64> = before.lines().chain(done).collect();
            lines.sort_unstable();
            lines.into_iter().for_each(|line| beyond.push(line));
            self.beyond = beyond;
        }
    }

    /// The worker leaves: the mark moves over what is known, and is written down.
    pub(crate) fn leave(&mut self, shop: &Shop, posts: &Posts, now: u64) -> io::Result<()> {
        self.move_mark(shop, posts);
        if let Reading::Given { .. } = self.reading {
            self.look_beyond(shop); // nobody takes it up to send the rest
        }
        // What is not answered may be carried out later.
        self.mark.quiet = posts.is_idle() && !self.left_in_doubt;
        self.save(shop, now)
    }

    /// How long nothing but an answer can change anything.
    fn next_event(&self, now: u64) -> Duration {
        let second = Duration::from_secs(1);
        let due = self.sorter.next_due().map(|due| due.saturating_sub(now)).filter(|ms| *ms > 0);
        let due = due.map(Duration::from_millis);
        let events =
            [self.read_hold.left(now), self.write_hold.left(now), self.torn.left(now), due];
        let events = events.into_iter().chain([self.asking.next_event(now)]);
        events.flatten().fold(second, Duration::min)
    }
}

/// The highest version in any receipt, of an earlier daemon's too.
fn highest_version(shop: &Shop) -> u64 {
    shop.board.highest_version().max(shop.board.parent().version())
}

/// The checkpoint and the reject file it speaks of. From `before`, or from the beginning, where one
/// of them cannot be believed.
fn take_up(
    path: &std::path::Path,
    identity: &Identity,
    rejects: &std::path::Path,
    before: Option<&Standing>,
    begin: Checkpoint,
) -> io::Result<(Checkpoint, Beyond, bool, RejectFile)> {
    if let Some((mark, beyond)) = Checkpoint::load_with(path, identity)? {
        match RejectFile::open(rejects, mark.rejects) {
            Ok(file) => return Ok((mark, beyond, true, file)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(e) => return Err(e),
        }
    }
    let (mark, beyond) = before.map(stood).unwrap_or((begin, Beyond::default()));
    Ok((mark, beyond, false, RejectFile::open(rejects, 0)?))
}

/// Where a share stood when its delta was given up. Of what was counted then, only the bytes are
/// counted on: by them it is seen whether the delta has grown.
fn stood(before: &Standing) -> (Checkpoint, Beyond) {
    let counts = Counts { bytes_read: before.bytes, ..Counts::default() };
    let (line, offset) = (before.line, before.offset);
    (Checkpoint { line, offset, counts, ..Checkpoint::default() }, before.beyond.clone())
}

/// Why a delta fails to which something was appended when it was done.
fn grown_afterwards(delta: &str, line: u64) -> String {
    format!(
        "{delta} was written to after it was delivered, and line {line} has grown: hand that line \
         over anew, when it is closed; retry delivers what comes behind it"
    )
}

fn tell_within(index: u64, delta: &str, shop: &Shop) {
    warn!(shop.log, "a line has grown since it was read, and its rest is passed over: hand that line \
        over anew"; "delta" => delta, "line" => index + 1);
}

/// Whether a line that is rejected cannot be dated yet: it is newer than what an earlier line of its
/// document makes, and that is under way; and older than what a later one makes, which is not read
/// before.
fn is_too_soon(
    converted: &Converted<'_>,
    line: &[u8],
    partition: &Partition,
    sorter: &mut Sorter,
    posts: &mut Posts,
) -> bool {
    let is_rejected = matches!(converted, Converted::Reject { .. });
    let name = if is_rejected { partition.name(line) } else { None };
    name.is_some_and(|name| sorter.is_under_way(&name, posts))
}

/// Whether the schema has something against a line: it may be another by now.
fn is_by_schema(converted: &Converted<'_>) -> bool {
    matches!(converted, Converted::Reject { stage: convert::Stage::Schema, .. })
}

/// Whether a line waits until it is known what it is to be held against, or until the schema that
/// refuses it is read anew.
fn waits_for_schema(converted: &Converted<'_>, posts: &Posts, now: u64) -> bool {
    match converted {
        Converted::Doc { .. } => !posts.may_judge(now),
        Converted::Reject { .. } => is_by_schema(converted) && !posts.schema().is_fresh(now),
        Converted::Delete { .. } | Converted::Nothing => false,
    }
}

/// A line that can never be delivered, as old as this moment.
fn rejected(papers: &Papers, place: Place, line: &[u8], stage: Stage, reason: &str) -> Done {
    let reject = papers.reject(place, stage, reason, None);
    Done::Rejected(Reject { original: Original::Bytes(line), ..reject }.record())
}

/// What a line is that has ended two workers.
fn poisoned<'a>() -> Converted<'a> {
    let reason = "two workers died or hung when they converted this line".into();
    Converted::Reject { stage: convert::Stage::Convert, reason }
}

/// The ids of a delta are looked at as far as that goes.
fn tell_unnoted(noted: io::Result<()>, delta: &str, shop: &Shop) {
    if let Err(e) = noted {
        warn!(shop.log, "cannot write down ids: repeated ones are not found in all of the delta";
            "delta" => delta, "error" => %e);
    }
}

/// What the sorter has made of a line.
fn become_of(
    window: &mut Window,
    intents: &Intents,
    papers: &Papers,
    place: Place,
    line: &[u8],
    added: Added,
) {
    match added {
        Added::Commands(1) | Added::NoCommand | Added::NotYet => {}
        Added::Commands(count) => window.becomes(place.index, count),
        Added::Nowhere(reason) => {
            intents.refuse(place.index);
            let reject = papers.reject(place, Stage::Convert, &reason, None);
            let record = Reject { original: Original::Bytes(line), ..reject }.record();
            window.settle(place.index, Done::Rejected(record));
        }
    }
}
