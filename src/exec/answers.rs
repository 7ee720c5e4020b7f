//! What the converter has written: whole lines are answers, in order, and behind them stands what is not
//! whole yet.

use memchr::{memchr, memchr_iter};

/// Bytes of answers that are gone are let go of from so many on.
const SPENT: usize = 256 << 10;

/// The answers, oldest first.
#[derive(Default)]
pub(crate) struct Answers {
    /// Where a process writes to.
    pub(crate) bytes: Vec<u8>,
    from: usize,
    /// So much is counted.
    counted: usize,
    /// Behind the last newline.
    tail: usize,
    /// Whole ones.
    pub(crate) whole: usize,
    /// Those that may be taken.
    pub(crate) ready: usize,
    /// Those of which it is sure whose they are.
    pub(crate) sure: usize,
}

impl Answers {
    /// Something was read: counts what is whole now.
    pub(crate) fn count(&mut self) {
        for at in memchr_iter(b'\n', &self.bytes[self.counted..]) {
            self.whole += 1;
            self.tail = self.counted + at + 1;
        }
        self.counted = self.bytes.len();
    }

    /// How much there is of an answer that is not whole.
    pub(crate) fn tail(&self) -> usize {
        self.bytes.len() - self.tail
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len() - self.from
    }

    /// The last answer lacks its newline, and is whole all the same.
    pub(crate) fn end_the_tail(&mut self) {
        self.bytes.push(b'\n');
        self.count();
    }

    /// What is not whole will never be.
    pub(crate) fn cut_the_tail(&mut self) {
        self.bytes.truncate(self.tail);
        self.counted = self.tail;
    }

    /// Keeps those of which it is sure whose they are, and no others.
    pub(crate) fn keep_sure(&mut self) {
        let mut end = self.from;
        for _ in 0..self.sure {
            end += memchr(b'\n', &self.bytes[end..]).map_or(0, |at| at + 1);
        }
        self.bytes.truncate(end);
        (self.counted, self.tail) = (end, end);
        (self.whole, self.ready) = (self.sure, self.sure);
    }

    /// The whole ones, each with its newline.
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes[self.from..self.tail]
    }

    /// The first, without its newline.
    pub(crate) fn first(&self) -> &[u8] {
        let rest = &self.bytes[self.from..];
        &rest[..memchr(b'\n', rest).unwrap_or(rest.len())]
    }

    pub(crate) fn pop(&mut self) {
        self.from += self.first().len() + 1;
        (self.whole, self.ready) = (self.whole - 1, self.ready - 1);
        self.sure = self.sure.saturating_sub(1);
        if self.from > SPENT && self.from > self.bytes.len() / 2 || self.from == self.bytes.len() {
            self.bytes.drain(..self.from);
            (self.counted, self.tail) = (self.counted - self.from, self.tail - self.from);
            self.from = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Answers { bytes: std::mem::take(&mut self.bytes), ..Answers::default() };
        self.bytes.clear();
    }
}
