//! Lines that the operator's own converter is asked about (the crate `exec`): read, in the window, and not
//! sorted yet. They are sorted in the order in which they were read, also those of which it need not be asked.
//!
//! What has been answered is kept beside a line for as long as that may have to be sorted again, so nothing
//! but a look at a doubtful document asks twice. What has not been answered is not done, and the mark
//! stands before it.

use std::collections::VecDeque;

use exec::{Exec, Said, Trouble};

use super::*;

/// What the operator's own converter has said of a line.
#[derive(Debug)]
pub(super) enum Answer {
    Said(Vec<u8>),
    Failed(String),
}

/// A line that must be sorted later.
pub(super) struct Kept {
    pub(super) place: Place,
    pub(super) line: Vec<u8>,
    /// Where there is a converter that was asked.
    pub(super) answer: Option<Answer>,
}

/// A line on its way.
enum Asked {
    /// The converter has it.
    Line(Place),
    /// It is rejected anyhow, in its turn.
    Known(Place, Vec<u8>),
}

/// The lines on their way, oldest first.
pub(super) struct Asking {
    lines: VecDeque<Asked>,
    hold: Hold,
    /// After how long it wants to be looked at.
    due: Option<Duration>,
}

impl Asking {
    pub(super) fn new(shop: &Shop) -> Asking {
        let hold = Hold::new(Held::Convert, &shop.config.retry, &shop.log);
        Asking { lines: VecDeque::new(), hold, due: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn told(&self) -> Option<(Held, i32)> {
        self.hold.told()
    }

    /// How long nothing but what the converter writes can change anything.
    pub(super) fn next_event(&self, now: u64) -> Option<Duration> {
        self.hold.left(now).or(self.due)
    }

    /// Takes a line that was read. It is in the window from now on.
    pub(super) fn ask(
        &mut self,
        place: Place,
        line: &[u8],
        known: Option<Converted<'_>>,
        window: &mut Window,
        exec: &mut Exec,
    ) {
        match known {
            Some(Converted::Nothing) => window.push(place, Some(Done::Nothing)),
            Some(_) => {
                window.push(place, None);
                self.lines.push_back(Asked::Known(place, line.to_vec()));
            }
            None => {
                window.push(place, None);
                self.ask_again(place, line, exec);
            }
        }
    }

    /// Takes a line that was delivered, and that is to be looked at once more.
    pub(super) fn ask_again(&mut self, place: Place, line: &[u8], exec: &mut Exec) {
        exec.give(line);
        self.lines.push_back(Asked::Line(place));
    }
}

/// The same, not kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard<'a> {
    Said(&'a [u8]),
    Failed(&'a str),
}

impl Answer {
    fn heard(&self) -> Heard<'_> {
        match self {
            Answer::Said(answer) => Heard::Said(answer),
            Answer::Failed(reason) => Heard::Failed(reason),
        }
    }
}

impl<'a> Heard<'a> {
    fn keep(self) -> Answer {
        match self {
            Heard::Said(answer) => Answer::Said(answer.into()),
            Heard::Failed(reason) => Answer::Failed(reason.into()),
        }
    }

    fn judge(
        self,
        converter: &'a Converter,
        scratch: &Scratch,
        sorter: &mut Sorter,
    ) -> Converted<'a> {
        match self {
            Heard::Said(answer) => {
                let converted = converter.answered(answer, scratch, sorter.router_field());
                sorter.made_of(answer, &converted);
                converted
            }
            Heard::Failed(reason) => {
                Converted::Reject { stage: convert::Stage::Convert, reason: reason.into() }
            }
        }
    }
}

impl Kept {
    /// A line that was not asked about.
    pub(super) fn line(place: Place, line: &[u8]) -> Kept {
        Kept { place, line: line.to_vec(), answer: None }
    }

    /// What it becomes, by itself or by what was answered.
    pub(super) fn convert<'a>(
        &'a self,
        converter: &'a Converter,
        scratch: &'a mut Scratch,
        sorter: &mut Sorter,
    ) -> Converted<'a> {
        match &self.answer {
            None => converter.convert(&self.line, scratch, sorter.router_field()),
            Some(answer) => answer.heard().judge(converter, scratch, sorter),
        }
    }
}

impl Share {
    /// Has the converter go on, and sorts what it has answered.
    pub(super) fn go_on_asking(&mut self, shop: &mut Shop, posts: &mut Posts, now: u64) {
        let Some(mut exec) = shop.exec.take() else { return };
        self.asking.due = None;
        match self.reading {
            Reading::Given { .. } => {
                exec.forget();
                self.asking.lines.clear();
                let _ = exec.pump(true, sys::clock::now_ms()); // it may say something, or end
            }
            Reading::On | Reading::Ended(_) if self.asking.hold.left(now).is_none() => {
                self.pump(&mut exec, shop, posts, now);
                self.sort_answers(&mut exec, shop, posts, now);
                if self.asking.hold.left(now).is_none() {
                    self.asking.due = exec.next_event(sys::clock::now_ms());
                }
            }
            Reading::On | Reading::Ended(_) => {}
        }
        shop.exec = Some(exec);
    }

    fn pump(&mut self, exec: &mut Exec, shop: &Shop, posts: &Posts, now: u64) {
        let ended = matches!(self.reading, Reading::Ended(_));
        match exec.pump(ended, sys::clock::now_ms()) {
            Ok(()) => {}
            Err(Trouble::Outage(why)) => {
                shop.cell.converter_error().write(&why);
                self.asking.hold.failed(&io::Error::other(why), now);
            }
            Err(Trouble::Spoiled(why)) => self.give_up(format!("{why}: {OVER_AGAIN}"), posts),
        }
    }

    fn can_sort(&self, posts: &Posts) -> bool {
        !matches!(self.reading, Reading::Given { .. })
            && !self.paused
            && self.held.is_empty()
            && posts.has_room()
            && posts.layout() == self.sorter.layout()
            && self.rejects.waiting() < UNSYNCED
            && !self.write_hold.is_on()
    }

    fn sort_answers(&mut self, exec: &mut Exec, shop: &Shop, posts: &mut Posts, now: u64) {
        let (scratch, unchecked) = (posts.schema().scratch(), Scratch::default());
        while self.can_sort(posts) {
            let place = match self.asking.lines.front() {
                None => return,
                Some(Asked::Line(place)) => *place,
                Some(Asked::Known(..)) => {
                    self.sort_known(shop, posts);
                    continue;
                }
            };
            let Some(said) = exec.said() else { return };
            let (line, heard) = match said {
                Said::Answer { line, answer } => (line, Heard::Said(answer)),
                Said::Failed { line, reason } => (line, Heard::Failed(reason)),
            };
            shop.cell.set_hand(place.index + 1);
            let mut converted = heard.judge(&shop.converter, &scratch, &mut self.sorter);
            if is_by_schema(&converted) {
                let without = heard.judge(&shop.converter, &unchecked, &mut self.sorter);
                if self.may_be_sent(place, &without) {
                    converted = without;
                }
            }
            shop.cell.set_hand(0);
            if waits_for_schema(&converted, posts, now) {
                return;
            }
            let is_its_fault =
                matches!(converted, Converted::Reject { .. }) && !is_by_schema(&converted);
            if is_its_fault && !exec.is_sure() {
                return exec.ask_again();
            }
            self.sort_answered(place, line, heard, &converted, posts, now);
            self.asking.lines.pop_front();
            exec.pop();
            self.asking.hold.worked();
        }
    }

    /// The turn has come to a line that is rejected anyhow.
    fn sort_known(&mut self, shop: &Shop, posts: &mut Posts) {
        let Some(Asked::Known(place, line)) = self.asking.lines.pop_front() else { return };
        let known = match self.order.poison.contains(&place.index) {
            true => Some(poisoned()),
            false => shop.converter.before_asking(&line),
        };
        let Some(Converted::Reject { stage, reason }) = &known else { return };
        if known.as_ref().is_some_and(|known| self.is_early(known, &line, posts)) {
            return self.held.push_back(Kept::line(place, &line));
        }
        let done = rejected(&self.papers, place, &line, (*stage).into(), reason);
        self.window.settle(place.index, done);
    }

    /// Whether a rejected line must wait for an earlier one of its document.
    fn is_early(&mut self, converted: &Converted<'_>, line: &[u8], posts: &mut Posts) -> bool {
        is_too_soon(converted, line, &self.partition, &mut self.sorter, posts)
    }

    /// Sorts a line by what was answered.
    fn sort_answered(
        &mut self,
        place: Place,
        line: &[u8],
        heard: Heard<'_>,
        converted: &Converted<'_>,
        posts: &mut Posts,
        now: u64,
    ) {
        let kept = || Kept { place, line: line.to_vec(), answer: Some(heard.keep()) };
        if let Some(done) = self.done_before(place, converted) {
            return self.window.settle(place.index, done);
        }
        if self.is_early(converted, line, posts) {
            return self.held.push_back(kept());
        }
        match converted {
            Converted::Nothing => self.window.settle(place.index, Done::Nothing),
            Converted::Reject { stage, reason } => {
                let done = rejected(&self.papers, place, line, (*stage).into(), reason);
                self.window.settle(place.index, done);
            }
            Converted::Doc { .. } | Converted::Delete { .. } => {
                self.sorter.come_late(self.papers.late(place.index));
                let added = self.sorter.add(place, line, converted, posts, now);
                if added == Added::NotYet {
                    self.held.push_back(kept());
                }
                become_of(&mut self.window, &self.intents, &self.papers, place, line, added);
            }
        }
    }
}
