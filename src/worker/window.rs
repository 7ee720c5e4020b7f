//! The window: the lines between the mark and the line read last. Batches are confirmed in any
//! order; the mark moves over lines that are done, one after the other, and stops at the first that
//! is not. Nothing is counted before the mark has passed it, nor is a reject written.
//!
//! It is bounded, so that memory is, and the work that is repeated after a death.

use std::collections::{BTreeMap, VecDeque};

use scoreboard::Counts;

use crate::lines::Place;

/// So many lines of a share are outstanding at most.
pub(crate) const MOST: usize = 65_536;
/// So many bytes of rejects wait at most for lines before them (and one more).
const MOST_BYTES: usize = 8 << 20;

/// How a line came to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// Solr has confirmed its document.
    Doc,
    /// Solr has confirmed its delete.
    Delete,
    /// It becomes nothing.
    Nothing,
    /// Solr has something newer.
    Superseded,
    /// It was done, and counted, before its share was given up.
    Before,
    /// It can never be delivered: its record for the reject file.
    Rejected(Vec<u8>),
}

struct Slot {
    /// The line's.
    index: u64,
    offset: u64,
    end: u64,
    /// How many commands it has become that are not settled.
    open: u32,
    done: State,
}

/// A slot's [`Done`], without the record: tens of thousands of slots are held at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Doc,
    Delete,
    Nothing,
    Superseded,
    Before,
    Rejected,
}

/// The outstanding lines of one share.
pub(crate) struct Window {
    /// The likely distance of two lines.
    of: u64,
    ring: VecDeque<Slot>,
    /// The reject records of the lines in the ring, by the line's index.
    records: BTreeMap<u64, Vec<u8>>,
    /// Bytes of reject records in the ring.
    held: usize,
}

/// What the mark has passed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The index of the line after the last that was passed, and its place.
    pub(crate) mark: Option<(u64, u64)>,
    /// What these lines count.
    pub(crate) counts: Counts,
}

impl Window {
    /// `of`: how many shares. Where lines go by number each next one is so many further on, which
    /// finds them at once; else they are searched for.
    pub(crate) fn new(of: u32) -> Window {
        Window { of: of.max(1).into(), ring: VecDeque::new(), records: BTreeMap::new(), held: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Whether reading must stop until the mark moves.
    pub(crate) fn is_full(&self) -> bool {
        self.ring.len() >= MOST || self.held >= MOST_BYTES
    }

    /// A line has been read; `done` if there is nothing to wait for.
    pub(crate) fn push(&mut self, line: Place, done: Option<Done>) {
        debug_assert!(self.ring.back().is_none_or(|last| last.index < line.index));
        let done = done.map_or(State::Open, |done| self.state(line.index, done));
        let Place { index, offset, end } = line;
        self.ring.push_back(Slot { index, offset, end, open: 1, done });
    }

    /// What a line's slot says of this; its record is held.
    fn state(&mut self, line: u64, done: Done) -> State {
        match done {
            Done::Doc => State::Doc,
            Done::Delete => State::Delete,
            Done::Nothing => State::Nothing,
            Done::Superseded => State::Superseded,
            Done::Before => State::Before,
            Done::Rejected(record) => {
                self.held += record.len();
                self.records.insert(line, record);
                State::Rejected
            }
        }
    }

    fn slot(&mut self, line: u64) -> Option<&mut Slot> {
        let ahead = line.checked_sub(self.ring.front()?.index)?;
        let likely = (ahead / self.of) as usize;
        let at = match self.ring.get(likely) {
            Some(slot) if slot.index == line => likely,
            _ => self.ring.binary_search_by_key(&line, |slot| slot.index).ok()?,
        };
        self.ring.get_mut(at)
    }

    /// The line of this index has become so many commands in the place of one.
    pub(crate) fn becomes(&mut self, line: u64, commands: u32) {
        if let Some(slot) = self.slot(line) {
            slot.open += commands.saturating_sub(1);
        }
    }

    /// A command of the line of this index is done, and the line is, if there is no other or it is
    /// rejected. A line that is not outstanding is passed over.
    pub(crate) fn settle(&mut self, line: u64, done: Done) {
        let Some(slot) = self.slot(line) else { return };
        slot.open = slot.open.saturating_sub(1);
        let was_rejected = slot.done == State::Rejected;
        if !was_rejected && (slot.open == 0 || matches!(done, Done::Rejected(_))) {
            let state = self.state(line, done);
            self.slot(line).into_iter().for_each(|slot| slot.done = state);
        }
    }

    /// Moves the mark as far as it goes; `reject` gets the records that it passes, in order.
    pub(crate) fn advance(&mut self, mut reject: impl FnMut(&[u8])) -> Passed {
        let mut passed = Passed::default();
        while self.ring.front().is_some_and(|slot| slot.done != State::Open) {
            let Some(slot) = self.ring.pop_front() else { break };
            slot.count(&mut passed.counts);
            if slot.done == State::Rejected {
                let record = self.records.remove(&slot.index).unwrap_or_default();
                self.held -= record.len();
                reject(&record);
            }
            passed.mark = Some((slot.index + 1, slot.end));
        }
        passed
    }

    /// The share is given up: `done` gets each line's index that is done though the mark cannot pass
    /// it. Answers what these count. Not those that are rejected: it costs nothing to have them refused
    /// once more, and what is on paper stays in the order of the lines.
    pub(crate) fn give_up(&mut self, mut done: impl FnMut(u64)) -> Counts {
        let mut counts = Counts::default();
        for slot in &mut self.ring {
            match slot.done {
                State::Open | State::Rejected => continue,
                State::Doc | State::Delete | State::Nothing | State::Superseded | State::Before => {
                }
            }
            slot.count(&mut counts);
            slot.done = State::Before; // or it would count again
            done(slot.index);
        }
        counts
    }
}

impl Slot {
    fn count(&self, counts: &mut Counts) {
        match self.done {
            State::Before => return, // it was counted when it was done
            State::Doc => counts.docs += 1,
            State::Delete => counts.deletes += 1,
            State::Nothing | State::Open => counts.skipped += 1,
            State::Superseded => counts.superseded += 1,
            State::Rejected => counts.rejected += 1,
        }
        counts.lines += 1;
        counts.bytes_read += self.end - self.offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: u64) -> Place {
        Place { index, offset: index * 10, end: index * 10 + 10 }
    }

    fn settled(index: u64) -> Done {
        match index % 7 {
            0 => Done::Delete,
            1 => Done::Rejected(format!("{index}\n").into_bytes()),
            _ => Done::Doc,
        }
    }

    #[test]
    fn the_mark_never_passes_a_line_that_is_not_done() {
        // A model: lines come in order, are done in any order; the mark is before the first open one.
        let mut dice = 88172645463325252u64;
        let mut roll = move |n: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % n
        };
        for (of, by_number) in [(1u64, true), (2, true), (5, true), (5, false)] {
            let share = of - 1;
            let mut window = Window::new(of as u32);
            let (mut open, mut next) = (Vec::new(), share);
            let (mut mark, mut rejected, mut sum) = (0, Vec::new(), Counts::default());
            let mut count = 0;
            for _ in 0..20_000 {
                if roll(2) == 0 && !window.is_full() {
                    let nothing = roll(10) == 0;
                    window.push(place(next), nothing.then_some(Done::Nothing));
                    if !nothing {
                        open.push(next);
                    }
                    next += if by_number { of } else { 1 + roll(2 * of) };
                    count += 1;
                } else if !open.is_empty() {
                    let line = open.swap_remove(roll(open.len().min(9) as u64) as usize);
                    window.settle(line, settled(line));
                }
                let passed = window.advance(|record| rejected.extend_from_slice(record));
                sum = sum.plus(passed.counts);
                mark = passed.mark.map_or(mark, |(line, offset)| {
                    assert!(line > mark && offset == line * 10);
                    line
                });
                let first_open = open.iter().min().copied().unwrap_or(next);
                assert!(mark <= first_open && (first_open < mark + of || !by_number));
            }
            for line in open.drain(..) {
                window.settle(line, settled(line));
            }
            sum = sum.plus(window.advance(|record| rejected.extend_from_slice(record)).counts);
            assert!(window.is_empty() && window.held == 0);
            assert_eq!(sum.lines, count);
            assert_eq!(sum.lines, sum.docs + sum.deletes + sum.skipped + sum.rejected);
            let written: Vec<u64> =
                String::from_utf8(rejected).unwrap().lines().map(|l| l.parse().unwrap()).collect();
            assert!(written.is_sorted() && written.len() as u64 == sum.rejected);
        }
    }

    #[test]
    fn it_is_bounded_by_lines_and_by_the_bytes_of_rejects() {
        let mut window = Window::new(1);
        window.push(place(0), None);
        for n in 1..MOST as u64 {
            assert!(!window.is_full());
            window.push(place(n), Some(Done::Nothing));
        }
        assert!(window.is_full());
        window.settle(0, Done::Doc);
        assert_eq!(window.advance(|_| {}).counts.lines, MOST as u64);
        assert!(!window.is_full() && window.is_empty());

        window.push(place(70_000), None);
        window.push(place(70_001), Some(Done::Rejected(vec![b'x'; MOST_BYTES])));
        assert!(window.is_full());
        window.settle(70_000, Done::Doc);
        let mut bytes = 0;
        let passed = window.advance(|record| bytes += record.len());
        assert_eq!((passed.mark, bytes), (Some((70_002, 700_020)), MOST_BYTES));
        assert!(!window.is_full());
    }

    #[test]
    fn what_is_done_when_a_share_is_given_up_counts_once() {
        let mut window = Window::new(2);
        for n in 0..7 {
            window.push(place(2 * n + 1), None);
        }
        for (line, done) in [
            (3, Done::Doc),
            (5, Done::Rejected(b"5\n".to_vec())),
            (7, Done::Superseded),
            (11, Done::Delete),
            (13, Done::Before),
        ] {
            window.settle(line, done);
        }
        assert_eq!(window.advance(|_| panic!()).mark, None, "line 1 is open");
        let mut beyond = Vec::new();
        let counts = window.give_up(|line| beyond.push(line));
        assert_eq!(beyond, [3, 7, 11, 13]);
        let expected = Counts {
            lines: 3,
            docs: 1,
            deletes: 1,
            superseded: 1,
            bytes_read: 30,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
        assert_eq!(window.give_up(|_| {}), Counts::default(), "and no second time");
        window.settle(1, Done::Doc);
        let passed = window.advance(|_| {});
        assert_eq!(passed.mark, Some((8, 80)), "up to line 9");
        assert_eq!((passed.counts.lines, passed.counts.rejected), (2, 1));
    }
}
