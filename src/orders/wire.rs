//! A message's bytes: one for its kind, then numbers of eight bytes and texts with their length.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::Garbled;

/// Text longer than this is cut: two of them and some numbers fit a message.
const TEXT: usize = sys::socket::MESSAGE / 2 - 256;

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: u8) -> Writer {
        Writer(vec![kind])
    }

    pub(crate) fn number(mut self, n: impl Into<u64>) -> Writer {
        self.0.extend_from_slice(&n.into().to_le_bytes());
        self
    }

    pub(crate) fn text(self, text: &str) -> Writer {
        let mut end = text.len().min(TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes(&text.as_bytes()[..end])
    }

    /// A file's name: 255 bytes at most (NAME_MAX), any but NUL and the slash.
    pub(crate) fn name(self, name: &OsStr) -> Writer {
        self.bytes(name.as_bytes())
    }

    /// The name of a member, or none.
    pub(crate) fn key(self, key: &Option<String>) -> Writer {
        self.name(key.as_deref().unwrap_or_default().as_ref()) // no member has no name
    }

    pub(crate) fn numbers(self, numbers: &[u64]) -> Writer {
        numbers.iter().fold(self.number(numbers.len() as u64), |writer, n| writer.number(*n))
    }

    fn bytes(mut self, bytes: &[u8]) -> Writer {
        self = self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<(u8, Reader<'a>), Garbled> {
        let (kind, rest) = bytes.split_first().ok_or(Garbled)?;
        Ok((*kind, Reader(rest)))
    }

    pub(crate) fn number(&mut self) -> Result<u64, Garbled> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(Garbled)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    pub(crate) fn small(&mut self) -> Result<u32, Garbled> {
        self.number()?.try_into().map_err(|_| Garbled)
    }

    pub(crate) fn text(&mut self) -> Result<String, Garbled> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Garbled)
    }

    pub(crate) fn name(&mut self) -> Result<OsString, Garbled> {
        Ok(OsString::from_vec(self.bytes()?.to_vec()))
    }

    pub(crate) fn key(&mut self) -> Result<Option<String>, Garbled> {
        let key = self.name()?.into_string().map_err(|_| Garbled)?;
        Ok(Some(key).filter(|key| !key.is_empty()))
    }

    pub(crate) fn numbers(&mut self) -> Result<Vec<u64>, Garbled> {
        let length = self.number()?;
        let there = self.0.len() as u64 / 8; // never trusted with a length
        (0..length.min(there + 1)).map(|_| self.number()).collect()
    }

    fn bytes(&mut self) -> Result<&'a [u8], Garbled> {
        let length = self.number()?.try_into().map_err(|_| Garbled)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Garbled)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The message, if nothing is left over.
    pub(crate) fn end<M>(self, message: M) -> Result<M, Garbled> {
        if self.0.is_empty() { Ok(message) } else { Err(Garbled) }
    }
}
