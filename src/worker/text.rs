//! A delta's text, whether its file is compressed or not: read from the front, or a piece of it once
//! more by its offset. Offsets are those of the text. Where it is compressed no piece can be found but by
//! unpacking all that is before it, so whoever asks for one is told to come again until it is there, and
//! should ask for several in the order in which they stand.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use spool::Packing;

use crate::unpack::{Piece, Unpacker};

/// A file, read from its beginning on, wherever others are in it.
pub(crate) struct FromStart {
    file: File,
    at: u64,
    /// No further than to here.
    end: u64,
}

impl FromStart {
    fn new(file: File) -> FromStart {
        FromStart { file, at: 0, end: u64::MAX }
    }
}

impl Read for FromStart {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = into.len().min(left);
        let read = self.file.read_at(&mut into[..room], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The text of an open file.
pub(crate) enum Text {
    Plain { file: File, at: u64 },
    Packed { file: File, unpacker: Box<Unpacker<FromStart>> },
}

impl Text {
    /// Of a file that is packed so, from its beginning on.
    pub(crate) fn new(file: File, packing: Packing) -> io::Result<Text> {
        Ok(match Unpacker::new(FromStart::new(file.try_clone()?), packing)? {
            None => Text::Plain { file, at: 0 },
            Some(unpacker) => Text::Packed { file, unpacker: Box::new(unpacker) },
        })
    }

    /// The next piece. Reads at most once.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Piece> {
        match self {
            Text::Plain { file, at } => {
                let read = file.read_at(into, *at)?;
                *at += read as u64;
                Ok(if read == 0 { Piece::End } else { Piece::Bytes(read) })
            }
            Text::Packed { unpacker, .. } => unpacker.unpack(into),
        }
    }

    /// The file itself, if it is the text.
    pub(crate) fn plain(&self) -> Option<&File> {
        match self {
            Text::Plain { file, .. } => Some(file),
            Text::Packed { .. } => None,
        }
    }

    /// So much of a compressed file is unpacked, in bytes.
    pub(crate) fn unpacked(&self) -> Option<u64> {
        match self {
            Text::Plain { .. } => None,
            Text::Packed { unpacker, .. } => Some(unpacker.at()),
        }
    }

    /// Reads a compressed file no further than to here, in bytes of the file.
    pub(crate) fn unpack_up_to(&mut self, end: u64) {
        if let Text::Packed { unpacker, .. } = self {
            unpacker.input().end = end;
        }
    }

    /// Goes on from there, if that can be done at once.
    pub(crate) fn seek(&mut self, offset: u64) {
        if let Text::Plain { at, .. } = self {
            *at = offset;
        }
    }

    pub(crate) fn file(&self) -> &File {
        match self {
            Text::Plain { file, .. } | Text::Packed { file, .. } => file,
        }
    }
}

/// Pieces of a compressed file's text.
pub(crate) struct Former {
    file: File,
    packing: Packing,
    text: Text,
    /// What is kept of the text, and where that begins.
    kept: Vec<u8>,
    from: u64,
    is_at_end: bool,
}

impl Former {
    /// So much is unpacked at a time.
    const CHUNK: usize = 256 * 1024;

    pub(crate) fn new(file: File, packing: Packing) -> io::Result<Former> {
        let text = Text::new(file.try_clone()?, packing)?;
        Ok(Former { file, packing, text, kept: Vec::new(), from: 0, is_at_end: false })
    }

    /// So many bytes of the text from there on, or what there is up to its end; `None`: not yet, more was
    /// unpacked meanwhile.
    pub(crate) fn piece(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        if offset < self.from {
            *self = Former::new(self.file.try_clone()?, self.packing)?;
        }
        self.forget_up_to(offset);
        if !self.is_at_end && (self.from < offset || self.kept.len() < length) {
            self.read_on()?;
            self.forget_up_to(offset);
            return Ok(None);
        }
        let kept = if self.from < offset { &[] } else { &self.kept[..length.min(self.kept.len())] };
        Ok(Some(kept))
    }

    fn forget_up_to(&mut self, offset: u64) {
        let over = usize::try_from(offset - self.from).unwrap_or(usize::MAX).min(self.kept.len());
        self.kept.drain(..over);
        self.from += over as u64;
    }

    fn read_on(&mut self) -> io::Result<()> {
        let before = self.kept.len();
        self.kept.resize(before + Self::CHUNK, 0);
        let read = self.text.read(&mut self.kept[before..]);
        self.kept.truncate(before + if let Ok(Piece::Bytes(read)) = read { read } else { 0 });
        match read? {
            Piece::Bytes(_) | Piece::Nothing => {}
            Piece::End => self.is_at_end = true,
            Piece::Short => {
                let words = "it ends in the middle of what was compressed";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::testing::{gzip, zstd};
    use std::io::Write;

    #[test]
    fn a_piece_of_compressed_text_is_found_by_its_offset_in_any_order() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let (first, second) = text.split_at(600_001);
        for (packing, bytes) in [
            (Packing::Gzip, [gzip(first), gzip(second)].concat()),
            (Packing::Zstd, [zstd(first), zstd(second)].concat()),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let mut former = Former::new(file, packing).unwrap();
            let mut piece = |offset: usize, length| loop {
                if let Some(found) = former.piece(offset as u64, length).unwrap() {
                    assert!(found == &text[offset..text.len().min(offset + length)], "{offset}");
                    return found.len();
                }
            };
            for offset in [0, 0, 10, 599_990, 600_001, 599_000, 5, text.len() - 3, text.len()] {
                for length in [1, 100, 500_000] {
                    assert!(piece(offset, length) <= length);
                }
            }
            assert!(former.kept.len() <= 500_000 + 2 * Former::CHUNK);
            assert_eq!(former.piece(u64::MAX, 1).unwrap(), Some(&b""[..]), "its end is known");
        }
    }
}
