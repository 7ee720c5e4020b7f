//! A delta's lines, and of these one share's: the others are passed over at the speed of memchr.
//!
//! It reads with read(2) into one buffer that is used again and again. A delta is never mapped
//! (SIGBUS when somebody truncates it) and never held: memory is bounded by the longest line that
//! is allowed, and of a longer one only the length is known.
//!
//! A compressed delta is read from its beginning each time it is opened, a piece at a call, and what is
//! before the place to begin at is passed over.
//!
//! Text is UTF-8. A byte order mark at the very beginning is no part of the first line; one that
//! says UTF-16 makes the whole delta unreadable.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use memchr::memchr;
use spool::Packing;

use crate::text::{Former, Text};
use crate::unpack::Piece;

const CHUNK: usize = 256 * 1024;
/// U+FEFF in UTF-8.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads one share of an open delta.
pub(crate) struct Lines {
    text: Text,
    packing: Packing,
    /// Where it is to begin: what is before that is passed over first, and so much is.
    skip: Option<u64>,
    passed: u64,
    /// Lines that were read before, of a compressed delta.
    former: Option<Former>,
    share: u64,
    of: u64,
    longest: usize,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet passed.
    from: usize,
    to: usize,
    /// So much of the delta may still be read.
    left: u64,
    /// How much of that is known to hold no newline.
    looked: usize,
    /// The line that begins, or goes on, at `from`: its index, its place in the delta, and how
    /// much of it was passed over without being kept.
    index: u64,
    start: u64,
    dropped: u64,
    /// The last line had no newline.
    open_end: bool,
    /// The line at `from` is the rest of one that was read before it grew: nobody's.
    within: bool,
    /// How many bytes before the first line are no part of it.
    bom: usize,
    /// What was at the beginning of the line that was found last: where it is in the buffer, its index
    /// and its place.
    last: (usize, u64, u64),
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its index in the delta, from 0; every line counts.
    pub(crate) index: u64,
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    /// Where the next one begins.
    pub(crate) end: u64,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line of this share; [`Lines::bytes`] has it until the next call.
    Line(Place, Range<usize>),
    /// A line of this share that is longer than allowed, by this length.
    TooLong(Place, u64),
    /// Nothing yet, but a piece of the delta was read: a good moment to look at the clock.
    More,
    /// The line of this index was read before it grew: what came of it since is passed over.
    Within(u64),
    /// A compressed delta ends in the middle: there may be more later.
    Short,
    /// The delta's end. The place is that of the line that would come next.
    End(Place),
}

/// What has become of a delta since its end was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grown {
    /// Nothing.
    No,
    /// It is longer by whole lines.
    Yes,
    /// It is longer, in the middle of a line that was taken for the last, and for whole.
    Torn,
    /// It is shorter than it was, and has this size.
    Cut(u64),
}

impl Lines {
    /// The lines with `index % of == share`, from the one of this index on, which begins at
    /// `offset`, or behind it. `longest`: in bytes, without the newline.
    pub(crate) fn new(
        file: File,
        packing: Packing,
        (share, of): (u64, u64),
        longest: u64,
        (index, offset): (u64, u64),
    ) -> io::Result<Lines> {
        let mut text = Text::new(file, packing)?;
        // (Of a compressed one that is seen when the text has come to there.)
        let behind = match text.plain() {
            Some(file) => behind(file, offset)?,
            None => Behind::Line(offset),
        };
        let offset = match behind {
            Behind::Line(begin) => begin,
            Behind::End | Behind::Within => offset,
        };
        let within = behind == Behind::Within;
        let skip = (text.unpacked().is_some() && offset > 0).then_some(offset);
        text.seek(offset);
        Ok(Lines {
            text,
            packing,
            skip,
            passed: 0,
            former: None,
            share,
            of: of.max(1),
            longest: usize::try_from(longest).unwrap_or(usize::MAX),
            buffer: vec![0; CHUNK],
            from: 0,
            to: 0,
            left: u64::MAX,
            looked: 0,
            index: index.saturating_sub(within.into()),
            start: offset,
            dropped: 0,
            open_end: behind == Behind::End,
            within,
            bom: 0,
            last: (0, index, offset),
        })
    }

    /// The same, up to this place of the file: what is appended is not read. A line ends there, but in a
    /// compressed delta: of that it is known when the reading has come to there.
    pub(crate) fn up_to(mut self, end: u64) -> Lines {
        match self.text.unpacked() {
            Some(_) => self.text.unpack_up_to(end),
            None => self.left = end.saturating_sub(self.start),
        }
        self
    }

    /// What is appended is to be read, too.
    pub(crate) fn go_on(&mut self) {
        self.left = u64::MAX;
        self.text.unpack_up_to(u64::MAX);
    }

    /// Whether the last line has no newline.
    pub(crate) fn is_open(&self) -> bool {
        self.open_end
    }

    /// The index of the line of which only the rest comes now, since it was read before it grew: that
    /// is passed over.
    pub(crate) fn is_within(&self) -> Option<u64> {
        self.within.then_some(self.index)
    }

    /// Whether a byte order mark was passed over.
    pub(crate) fn has_bom(&self) -> bool {
        self.bom > 0
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The place of the line that begins, or goes on, where the reading is.
    pub(crate) fn here(&self) -> Place {
        Place { index: self.index, offset: self.start, end: self.start }
    }

    /// The size that the file has now.
    pub(crate) fn size(&self) -> io::Result<u64> {
        Ok(self.text.file().metadata()?.len())
    }

    /// Where the reading is in the file itself, in bytes.
    pub(crate) fn in_file(&self) -> u64 {
        self.text.unpacked().unwrap_or(self.start)
    }

    /// About where a place that was read is in a compressed file; never at its end.
    pub(crate) fn about_in_file(&self, offset: u64) -> Option<u64> {
        let unpacked = self.text.unpacked()?;
        let read = self.start + self.dropped + (self.to - self.from) as u64;
        let share = u128::from(unpacked) * u128::from(offset) / u128::from(read.max(1));
        Some((share as u64).min(unpacked.saturating_sub(1)))
    }

    /// The line that was found last comes once more.
    pub(crate) fn step_back(&mut self) {
        (self.from, self.index, self.start) = self.last;
        (self.dropped, self.looked) = (0, 0);
    }

    /// The next line of this share. Reads at most once.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        if let Some(offset) = self.skip {
            return self.pass_over(offset);
        }
        loop {
            match memchr(b'\n', &self.buffer[self.from + self.looked..self.to]) {
                Some(at) => {
                    let kept = self.looked + at;
                    if let Some(found) = self.pass(kept, 1) {
                        return Ok(found);
                    }
                }
                None => {
                    self.looked = self.to - self.from;
                    return self.fill();
                }
            }
        }
    }

    /// Goes past the current line, of which `kept` bytes stand in the buffer, and its newline.
    /// Answers it if it is ours.
    fn pass(&mut self, kept: usize, newline: usize) -> Option<Found> {
        let length = self.dropped + kept as u64;
        let end = self.start + length + newline as u64;
        let place = Place { index: self.index, offset: self.start, end };
        let range = self.from..self.from + kept;
        let whole = self.dropped == 0 && kept <= self.longest;
        let ours = self.is_ours();
        self.within = false;
        self.last = (self.from, self.index, self.start);
        self.from += kept + newline;
        (self.index, self.start, self.dropped, self.looked) = (self.index + 1, end, 0, 0);
        match ours {
            false => None,
            true if !whole => Some(Found::TooLong(place, length)),
            true => {
                let bom = if place.offset == 0 { self.bom.min(kept) } else { 0 };
                let range = range.start + bom..range.end;
                let cr = self.buffer[range.clone()].ends_with(b"\r");
                Some(Found::Line(place, range.start..range.end - usize::from(cr)))
            }
        }
    }

    fn is_ours(&self) -> bool {
        self.index % self.of == self.share && !self.within
    }

    /// Reads more, behind what must be kept.
    fn fill(&mut self) -> io::Result<Found> {
        self.make_room();
        let room =
            usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len() - self.to);
        let read = match self.read(self.to..self.to + room)? {
            Piece::Bytes(read) => read,
            Piece::Nothing => return Ok(Found::More),
            Piece::Short => return Ok(Found::Short),
            Piece::End => 0,
        };
        self.to += read;
        self.left -= read as u64;
        if self.start == 0 && self.dropped == 0 {
            self.look_at_the_beginning()?;
        }
        if read > 0 {
            return Ok(Found::More);
        }
        if self.dropped > 0 || self.looked > 0 {
            // The last line has no newline, and is a line all the same.
            self.open_end = true;
            if let Some(found) = self.pass(self.looked, 0) {
                return Ok(found);
            }
        }
        Ok(Found::End(self.here()))
    }

    fn read(&mut self, into: Range<usize>) -> io::Result<Piece> {
        match self.text.read(&mut self.buffer[into]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Piece::Nothing),
            read => read,
        }
    }

    /// Passes over a compressed delta's text up to there, a piece at a time, and looks what stands there.
    fn pass_over(&mut self, offset: u64) -> io::Result<Found> {
        // What may tell: the byte before, and two behind.
        let (first, last) = (offset - 1, offset + 2);
        let kept = self.passed.saturating_sub(first);
        self.to = kept as usize;
        let room = match self.passed < first {
            true => usize::try_from(first - self.passed).unwrap_or(CHUNK).min(CHUNK),
            false => (last - self.passed) as usize,
        };
        match self.read(self.to..self.to + room)? {
            Piece::Bytes(read) => {
                (self.to, self.passed) = (self.to + read, self.passed + read as u64);
                if self.passed < last {
                    return Ok(Found::More);
                }
            }
            Piece::Nothing => return Ok(Found::More),
            Piece::Short => return Ok(Found::Short),
            Piece::End if self.passed < offset => {
                let words = "it has less text than was read of it before: it was written anew";
                return Err(io::Error::new(io::ErrorKind::InvalidData, words));
            }
            Piece::End => {}
        }
        self.skip = None;
        let found = what_is_behind(&self.buffer[..1], &self.buffer[1..self.to], offset);
        self.from = 1;
        match found {
            Behind::Line(begin) => {
                self.from += (begin - offset) as usize;
                self.start = begin;
            }
            Behind::End => self.open_end = true,
            Behind::Within => {
                self.within = true;
                self.index = self.index.saturating_sub(1);
                return Ok(Found::Within(self.index));
            }
        }
        Ok(Found::More)
    }

    /// How the text is written. (Called again while a short read has not brought enough.)
    fn look_at_the_beginning(&mut self) -> io::Result<()> {
        let text = &self.buffer[self.from..self.to];
        if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
            let words = "it is UTF-16 (by its byte order mark): write it as UTF-8";
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if let Some(ending) = looks_packed(text) {
            let words = match self.packing {
                Packing::None => {
                    format!("it is compressed: name it {ending}, or unpack it before")
                }
                Packing::Gzip | Packing::Zstd => "it is compressed twice: do that once".into(),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        self.bom = if text.starts_with(BOM) { BOM.len() } else { 0 };
        Ok(())
    }

    /// What has become of the delta since its end was found, when it had this size or, if it was
    /// longer, since before. If it has grown by whole lines, reading may go on.
    pub(crate) fn has_grown(&self, size: u64) -> io::Result<Grown> {
        let (now, end) = (self.size()?, self.in_file());
        Ok(if now < size.max(end) {
            Grown::Cut(now)
        } else if now == end {
            Grown::No
        } else if self.open_end {
            Grown::Torn
        } else {
            Grown::Yes
        })
    }

    /// The line that begins there once more, without its newline; the reading goes on where it was.
    /// No longer than what is allowed: more was never taken for a line. `None`: not yet, it is to be asked
    /// for again.
    pub(crate) fn again(&mut self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.text.plain() else { return self.unpack_again(offset) };
        let mut line = Vec::new();
        loop {
            let before = line.len();
            line.resize(before + before.clamp(4 << 10, CHUNK), 0);
            let read = file.read_at(&mut line[before..], offset + before as u64)?;
            line.truncate(before + read);
            let end = memchr(b'\n', &line[before..]).map(|at| before + at);
            if end.is_some() || read == 0 || line.len() > self.longest {
                line.truncate(end.unwrap_or(line.len()));
                return Ok(Some(trimmed(line, offset)));
            }
        }
    }

    /// The same, of a compressed delta.
    fn unpack_again(&mut self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let (packing, file) = (self.packing, self.text.file());
        let mut former = match self.former.take() {
            Some(former) => former,
            None => Former::new(file.try_clone()?, packing)?,
        };
        let mut length = 4 << 10;
        let found = loop {
            let Some(piece) = former.piece(offset, length)? else { break None };
            let end = memchr(b'\n', piece);
            if end.is_some() || piece.len() < length || length > self.longest {
                break Some(trimmed(piece[..end.unwrap_or(piece.len())].to_vec(), offset));
            }
            length *= 2;
        };
        self.former = Some(former);
        Ok(found)
    }

    fn make_room(&mut self) {
        if !self.is_ours() || self.dropped > 0 || self.looked > self.longest {
            self.dropped += self.looked as u64;
            (self.from, self.to, self.looked) = (0, 0, 0);
        }
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.to == self.buffer.len() {
            let size = (2 * self.buffer.len()).min(self.longest.saturating_add(CHUNK));
            self.buffer.resize(size, 0);
        } else if self.buffer.len() > CHUNK && self.to < CHUNK / 2 {
            // A long line is over: give back what it needed.
            self.buffer.truncate(CHUNK);
            self.buffer.shrink_to_fit();
        }
    }
}

/// A line without what is no part of it.
fn trimmed(mut line: Vec<u8>, offset: u64) -> Vec<u8> {
    line.shrink_to_fit();
    if line.ends_with(b"\r") {
        line.pop();
    }
    if offset == 0 && line.starts_with(BOM) {
        line.drain(..BOM.len());
    }
    line
}

/// What a name must end with if its text begins like this, which no JSON does.
fn looks_packed(text: &[u8]) -> Option<&'static str> {
    let packing = match text {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        _ => return None,
    };
    Some(packing.ending())
}

/// What stands behind a place up to which a delta was read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// A line begins there, or would.
    Line(u64),
    /// Nothing, and the last line has no newline.
    End,
    /// More of a line that was taken for the last, and for whole.
    Within,
}

/// Whether all that a delta has up to this place is whole lines.
pub(crate) fn ends_a_line(delta: &File, end: u64) -> io::Result<bool> {
    let mut last = [0];
    Ok(end == 0 || delta.read_at(&mut last, end - 1)? == 1 && last == *b"\n")
}

/// What stands behind this offset, which is where a line begins or where the delta once ended.
pub(crate) fn behind(delta: &File, offset: u64) -> io::Result<Behind> {
    let mut around = [0; 3];
    let before = offset.min(1);
    let read = delta.read_at(&mut around, offset - before)?;
    let (last, next) = around[..read].split_at(read.min(before as usize));
    Ok(what_is_behind(last, next, offset))
}

/// The same by the byte before it, if there is one, and up to two behind it.
fn what_is_behind(last: &[u8], next: &[u8], offset: u64) -> Behind {
    match (last, next) {
        ([] | [b'\n'], _) => Behind::Line(offset),
        (_, []) => Behind::End,
        // The newline that was missing.
        (_, [b'\n', ..]) => Behind::Line(offset + 1),
        (_, [b'\r', b'\n']) => Behind::Line(offset + 2),
        _ => Behind::Within,
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
