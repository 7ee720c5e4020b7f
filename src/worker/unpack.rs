//! Compressed deltas, gzip and zstd: the text in them, piece by piece, in bounded memory.
//!
//! All members of a gzip file, and all frames of a zstd file, are one text. It is verified on the way
//! (gzip's CRC and length, zstd's checksum where there is one), so whoever has come to the end knows
//! that all of it was right; and nobody knows before. A file that ends in the middle is no error here:
//! its producer may still be at it, and reading goes on where it was when there is more.
//!
//! Zero bytes behind a member or frame are passed over, as tapes and `tar` leave them. Whatever else
//! stands there is an error, though gzip(1) ignores it: it may be a damaged member with lines in it.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};
use spool::Packing;
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

/// So much of the file is read at a time.
const INPUT: usize = 64 * 1024;
/// A zstd frame that wants a longer window (2 to the power of this: 128 MiB) is refused, as zstd(1) does
/// without `--long`: it is memory that each worker would need.
const WINDOW_LOG: u32 = 27;
/// gzip's own window: it never needs more.
const GZIP_WINDOW: u8 = 15;

/// Reads the text of a compressed file.
pub struct Unpacker<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet unpacked.
    from: usize,
    to: usize,
    /// So much of the file is unpacked.
    at: u64,
    decoder: Decoder,
    state: State,
    /// The decoder may have more without being given any.
    has_more: bool,
    /// What is wrong with it, once that is known.
    broken: Option<Corrupt>,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of text.
    Bytes(usize),
    /// None yet, but something of the file was read.
    Nothing,
    /// The file ends here, and all of it was right.
    End,
    /// The file ends in the middle.
    Short,
}

/// What is wrong with a compressed file; it comes in an error of kind `InvalidData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    words: String,
    /// About where, in bytes of the file.
    at: u64,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {} of the file", self.words, self.at)
    }
}

impl std::error::Error for Corrupt {}

impl Corrupt {
    /// Whether this is such an error.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Corrupt>())
    }
}

enum Decoder {
    Gzip(Box<Decompress>),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read yet.
    Beginning,
    /// In a member or frame.
    Within,
    /// A member or frame is over.
    Between,
}

/// What a decoder has done: how much it has read and written, whether a member or frame is over, and
/// what is wrong.
struct Step {
    read: usize,
    wrote: usize,
    is_over: bool,
    wrong: Option<String>,
}

impl<R: Read> Unpacker<R> {
    /// Of a file that is packed so; `None`: it is not packed at all.
    pub fn new(input: R, packing: Packing) -> io::Result<Option<Unpacker<R>>> {
        let decoder = match packing {
            Packing::None => return Ok(None),
            Packing::Gzip => Decoder::gzip(),
            Packing::Zstd => Decoder::zstd()?,
        };
        Ok(Some(Unpacker {
            input,
            buffer: vec![0; INPUT],
            from: 0,
            to: 0,
            at: 0,
            decoder,
            state: State::Beginning,
            has_more: false,
            broken: None,
        }))
    }

    /// What it reads.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// So much of the file is unpacked, in bytes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next piece of text. Reads at most once, and not for long.
    pub fn unpack(&mut self, into: &mut [u8]) -> io::Result<Piece> {
        if let Some(broken) = &self.broken {
            return Err(io::Error::new(ErrorKind::InvalidData, broken.clone()));
        }
        if self.from == self.to && !self.has_more {
            (self.from, self.to) = (0, self.input.read(&mut self.buffer)?);
            if self.to == 0 {
                let is_whole = self.state == State::Between;
                return Ok(if is_whole { Piece::End } else { Piece::Short });
            }
        }
        if self.state != State::Within && !self.begin() {
            return match &self.broken {
                Some(_) => self.unpack(into),
                None => Ok(Piece::Nothing),
            };
        }
        let Step { read, wrote, is_over, wrong } =
            self.decoder.step(&self.buffer[self.from..self.to], into);
        self.pass(read);
        self.has_more = !is_over && wrote == into.len();
        if is_over {
            self.state = State::Between;
        }
        self.broken = wrong.map(|words| Corrupt { words, at: self.at });
        match wrote {
            // (What came before it is text all the same.)
            0 if self.broken.is_some() => self.unpack(into),
            0 => Ok(Piece::Nothing),
            wrote => Ok(Piece::Bytes(wrote)),
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.from += bytes;
        self.at += bytes as u64;
    }

    /// Goes to the next member or frame; whether it is there.
    fn begin(&mut self) -> bool {
        let is_first = self.state == State::Beginning;
        let zeros = self.buffer[self.from..self.to].iter().take_while(|byte| **byte == 0).count();
        if !is_first {
            self.pass(zeros);
        }
        let Some(first) = self.buffer[self.from..self.to].first() else { return false };
        if !self.decoder.may_begin(*first) {
            let name = self.decoder.name();
            let words = match is_first {
                true => format!("is no {name}"),
                false => format!("has something behind its end that is no {name}"),
            };
            self.broken = Some(Corrupt { words, at: self.at });
            return false;
        }
        if !is_first {
            self.decoder.begin();
        }
        self.state = State::Within;
        true
    }
}

/// Where nobody waits for the rest: a file that ends in the middle is an error.
impl<R: Read> Read for Unpacker<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.unpack(into)? {
                Piece::Bytes(count) => return Ok(count),
                Piece::Nothing => {}
                Piece::End => return Ok(0),
                Piece::Short => {
                    let words =
                        format!("ends in the middle of what was compressed, at byte {}", self.at);
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, words));
                }
            }
        }
    }
}

impl Decoder {
    fn gzip() -> Decoder {
        Decoder::Gzip(Box::new(Decompress::new_gzip(GZIP_WINDOW)))
    }

    fn zstd() -> io::Result<Decoder> {
        let mut decoder = zstd::stream::raw::Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Decoder::Zstd(decoder))
    }

    fn name(&self) -> &'static str {
        match self {
            Decoder::Gzip(_) => "gzip",
            Decoder::Zstd(_) => "zstd",
        }
    }

    /// Whether a member or frame may have this first byte. (RFC 1952; RFC 8878, skippable frames too. The
    /// decoder looks at the others.)
    fn may_begin(&self, first: u8) -> bool {
        match self {
            Decoder::Gzip(_) => first == 0x1f,
            Decoder::Zstd(_) => first == 0x28 || first & 0xf0 == 0x50,
        }
    }

    /// Another member or frame begins.
    fn begin(&mut self) {
        match self {
            Decoder::Gzip(_) => *self = Decoder::gzip(),
            Decoder::Zstd(_) => {} // it goes on by itself
        }
    }

    fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        match self {
            Decoder::Gzip(decoder) => {
                let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
                let done = decoder.decompress(input, into, FlushDecompress::None);
                let wrong = done.as_ref().err().map(|e| match e.message() {
                    Some(message) => format!("is damaged (gzip: {message})"),
                    None => "is damaged (gzip)".into(),
                });
                Step {
                    read: (decoder.total_in() - before_in) as usize,
                    wrote: (decoder.total_out() - before_out) as usize,
                    is_over: matches!(done, Ok(Status::StreamEnd)),
                    wrong,
                }
            }
            Decoder::Zstd(decoder) => {
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(into);
                let done = decoder.run(&mut input, &mut output);
                let wrong = done.as_ref().err().map(|e| match e.to_string() {
                    words if words.contains("too much memory") => format!(
                        "needs a zstd window of more than {} MiB (compress it with --long={WINDOW_LOG} or \
                         less)",
                        (1u64 << WINDOW_LOG) >> 20
                    ),
                    words => format!("is damaged (zstd: {words})"),
                });
                Step {
                    read: input.pos(),
                    wrote: output.pos(),
                    is_over: matches!(done, Ok(0)),
                    wrong,
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;

/// Compressed text for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::io::Write;

    pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    /// One frame, with a checksum.
    pub(crate) fn zstd(text: &[u8]) -> Vec<u8> {
        let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed.include_checksum(true).unwrap();
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }
}
