//! A delta's lines, and of these one share's: the others are passed over at the speed of memchr.
//!
//! It reads with read(2) into one buffer that is used again and again. A delta is never mapped
//! (SIGBUS when somebody truncates it) and never held: memory is bounded by the longest line that
//! is allowed, and of a longer one only the length is known.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use memchr::memchr;

const CHUNK: usize = 256 * 1024;

/// Reads one share of an open delta.
pub(crate) struct Lines {
    file: File,
    share: u64,
    of: u64,
    longest: usize,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet passed.
    from: usize,
    to: usize,
    /// How much of that is known to hold no newline.
    looked: usize,
    /// The line that begins, or goes on, at `from`: its index, its place in the delta, and how
    /// much of it was passed over without being kept.
    index: u64,
    start: u64,
    dropped: u64,
    /// The last line had no newline.
    open_end: bool,
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
    /// The delta's end. The place is that of the line that would come next.
    End(Place),
}

/// Whether a delta is longer than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grown {
    No,
    /// By whole lines.
    Yes,
    /// In the middle of a line that was taken for the last, and for whole.
    Torn,
}

impl Lines {
    /// The lines with `index % of == share`, from the one of this index on, which begins at
    /// `offset`. `longest`: in bytes, without the newline.
    pub(crate) fn new(
        mut file: File,
        (share, of): (u64, u64),
        longest: u64,
        index: u64,
        offset: u64,
    ) -> io::Result<Lines> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Lines {
            file,
            share,
            of: of.max(1),
            longest: usize::try_from(longest).unwrap_or(usize::MAX),
            buffer: vec![0; CHUNK],
            from: 0,
            to: 0,
            looked: 0,
            index,
            start: offset,
            dropped: 0,
            open_end: false,
        })
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next line of this share. Reads at most once.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
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
        self.from += kept + newline;
        (self.index, self.start, self.dropped, self.looked) = (self.index + 1, end, 0, 0);
        match ours {
            false => None,
            true if !whole => Some(Found::TooLong(place, length)),
            true => {
                let cr = self.buffer[range.clone()].ends_with(b"\r");
                Some(Found::Line(place, range.start..range.end - usize::from(cr)))
            }
        }
    }

    fn is_ours(&self) -> bool {
        self.index % self.of == self.share
    }

    /// Reads more, behind what must be kept.
    fn fill(&mut self) -> io::Result<Found> {
        self.make_room();
        let read = match self.file.read(&mut self.buffer[self.to..]) {
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Found::More),
            Err(e) => return Err(e),
        };
        self.to += read;
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
        Ok(Found::End(Place { index: self.index, offset: self.start, end: self.start }))
    }

    /// Whether the delta has grown since its end was found; then reading may go on.
    pub(crate) fn has_grown(&self) -> io::Result<Grown> {
        Ok(match self.file.metadata()?.len() > self.start {
            false => Grown::No,
            true if self.open_end => Grown::Torn,
            true => Grown::Yes,
        })
    }

    /// The line that begins there once more, without its newline; the reading goes on where it was.
    /// No longer than what is allowed: more was never taken for a line.
    pub(crate) fn again(&self, offset: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let before = line.len();
            line.resize(before + before.clamp(4 << 10, CHUNK), 0);
            let read = self.file.read_at(&mut line[before..], offset + before as u64)?;
            line.truncate(before + read);
            let end = memchr(b'\n', &line[before..]).map(|at| before + at);
            if end.is_some() || read == 0 || line.len() > self.longest {
                line.truncate(end.unwrap_or(line.len()));
                line.shrink_to_fit();
                if line.ends_with(b"\r") {
                    line.pop();
                }
                return Ok(line);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn delta(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn read(
        file: &File,
        share: u32,
        of: u32,
        longest: u64,
        from: (u64, u64),
    ) -> Vec<(Place, Vec<u8>)> {
        let file = file.try_clone().unwrap();
        let mut lines =
            Lines::new(file, (share.into(), of.into()), longest, from.0, from.1).unwrap();
        let mut all = Vec::new();
        loop {
            match lines.next().unwrap() {
                Found::Line(place, range) => all.push((place, lines.bytes(range).to_vec())),
                Found::TooLong(place, length) => {
                    all.push((place, format!("too long: {length}").into_bytes()))
                }
                Found::More => {}
                Found::End(_) => return all,
            }
        }
    }

    /// Lines of many lengths, some over the buffer's border, some longer than the buffer.
    fn mixed() -> Vec<u8> {
        let mut text = Vec::new();
        for n in 0..3000usize {
            let length = match n % 500 {
                7 => CHUNK - 3 + n % 7,
                8 => 2 * CHUNK + n,
                _ => n * 7919 % 400,
            };
            text.extend(format!("{n}:").bytes());
            text.extend(std::iter::repeat_n(b'a' + (n % 26) as u8, length));
            text.push(b'\n');
        }
        text
    }

    #[test]
    fn every_line_belongs_to_exactly_one_share() {
        let text = mixed();
        let expected: Vec<&[u8]> = text[..text.len() - 1].split(|b| *b == b'\n').collect();
        let file = delta(&text);
        for of in [1, 2, 3, 7, 64] {
            let mut seen = vec![None; expected.len()];
            for share in 0..of {
                for (place, bytes) in read(&file, share, of, 1 << 24, (0, 0)) {
                    assert_eq!(place.index % u64::from(of), u64::from(share));
                    assert_eq!(place.end - place.offset, bytes.len() as u64 + 1);
                    assert_eq!(text[place.offset as usize..][..bytes.len()], bytes[..]);
                    assert!(seen[place.index as usize].replace(bytes).is_none());
                }
            }
            for (line, expected) in seen.into_iter().zip(&expected) {
                assert_eq!(line.as_deref(), Some(*expected), "of {of}");
            }
        }
    }

    #[test]
    fn reading_goes_on_from_any_mark() {
        let text = mixed();
        let file = delta(&text);
        let all = read(&file, 0, 1, 1 << 24, (0, 0));
        for (place, _) in all.iter().step_by(701) {
            for (share, of) in [(0, 1), (2, 3)] {
                let rest = read(&file, share, of, 1 << 24, (place.index, place.offset));
                let expected = all.iter().filter(|(p, _)| {
                    p.index >= place.index && p.index % u64::from(of) == u64::from(share)
                });
                assert!(rest.iter().eq(expected), "from {place:?}, {share} of {of}");
            }
        }
    }

    #[test]
    fn an_overlong_line_costs_no_memory_and_no_other_line() {
        let long = vec![b'x'; 5 * CHUNK];
        let text = [b"one\n", &long[..], b"\nthree\n", &long[..100], b"\nfive"].concat();
        let file = delta(&text);
        let mut lines = Lines::new(file.try_clone().unwrap(), (0, 1), 99, 0, 0).unwrap();
        while !matches!(lines.next().unwrap(), Found::End(_)) {
            assert!(lines.buffer.len() <= CHUNK);
        }
        let found: Vec<Vec<u8>> = read(&file, 0, 1, 99, (0, 0)).into_iter().map(|l| l.1).collect();
        let length = format!("too long: {}", long.len()).into_bytes();
        assert_eq!(found, [&b"one"[..], &length, b"three", b"too long: 100", b"five"]);
        assert_eq!(read(&file, 0, 2, 99, (0, 0)).len(), 3);
    }

    #[test]
    fn line_ends_are_those_of_unix_and_windows_and_the_last_needs_none() {
        let bytes = |text: &[u8]| -> Vec<Vec<u8>> {
            read(&delta(text), 0, 1, 100, (0, 0)).into_iter().map(|l| l.1).collect()
        };
        assert_eq!(bytes(b""), Vec::<Vec<u8>>::new());
        assert_eq!(bytes(b"\n"), [b""]);
        assert_eq!(bytes(b"a\r\n\r\nb\rc\n\n"), [&b"a"[..], b"", b"b\rc", b""]);
        assert_eq!(bytes(b"a\nb"), [b"a", b"b"]);
        assert_eq!(bytes(b"a\nb\r"), [b"a", b"b"]);
    }

    #[test]
    fn what_is_appended_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"a\nb\n").unwrap();
        let mut lines = Lines::new(File::open(&path).unwrap(), (0, 1), 100, 0, 0).unwrap();
        let mut next = || loop {
            match lines.next().unwrap() {
                Found::More => {}
                found => return (found, lines.has_grown().unwrap()),
            }
        };
        assert!(matches!(next(), (Found::Line(..), _)) && matches!(next(), (Found::Line(..), _)));
        let end = |index, offset| Found::End(Place { index, offset, end: offset });
        assert_eq!(next(), (end(2, 4), Grown::No));
        file.write_all(b"c").unwrap();
        assert!(matches!(next(), (Found::Line(p, _), Grown::No) if p.index == 2 && p.end == 5));
        assert_eq!(next(), (end(3, 5), Grown::No));
        file.write_all(b"d\n").unwrap();
        assert_eq!(lines.has_grown().unwrap(), Grown::Torn);
    }
}
