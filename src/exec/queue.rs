//! Lines that wait for their answers, as they are written: one behind the other in one buffer, each with its
//! newline. Places in it count on and never shift.

use std::collections::VecDeque;

/// Bytes of lines that are gone are let go of from so many on.
const SPENT: usize = 256 << 10;

/// The lines, oldest first.
#[derive(Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    /// The place of the buffer's first byte, and of the first line.
    base: u64,
    begin: u64,
    /// Where each line ends, behind its newline.
    ends: VecDeque<u64>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All lines' bytes.
    pub(crate) fn size(&self) -> u64 {
        self.begin_of(self.len()) - self.begin
    }

    /// Takes a line. (A newline or carriage return in it could only be the white space of JSON, and for some who
    /// read lines either ends one.)
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.begin - self.base > SPENT as u64 && self.is_mostly_spent() {
            self.bytes.drain(..(self.begin - self.base) as usize);
            self.base = self.begin;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        if memchr::memchr2(b'\n', b'\r', line).is_some() {
            let ends = self.bytes[begin..].iter_mut().filter(|b| matches!(**b, b'\n' | b'\r'));
            ends.for_each(|b| *b = b' ');
        }
        self.bytes.push(b'\n');
        self.ends.push_back(self.base + self.bytes.len() as u64);
    }

    fn is_mostly_spent(&self) -> bool {
        (self.begin - self.base) as usize > self.bytes.len() / 2
    }

    /// Where the line of this number begins, or would.
    pub(crate) fn begin_of(&self, line: usize) -> u64 {
        match line {
            0 => self.begin,
            n => self.ends[n - 1],
        }
    }

    /// A line, without its newline.
    pub(crate) fn line(&self, line: usize) -> &[u8] {
        self.between(self.begin_of(line), self.ends[line] - 1)
    }

    /// What stands between two places.
    pub(crate) fn between(&self, from: u64, to: u64) -> &[u8] {
        &self.bytes[(from - self.base) as usize..(to - self.base) as usize]
    }

    pub(crate) fn pop(&mut self) {
        if let Some(end) = self.ends.pop_front() {
            self.begin = end;
        }
        if self.ends.is_empty() {
            self.bytes.clear();
            self.base = self.begin;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.begin = self.begin_of(self.len());
        self.base = self.begin;
        self.bytes.clear();
        self.ends.clear();
    }
}
