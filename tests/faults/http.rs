//! HTTP/1.1 messages as they came, to the byte: read whole, passed on, looked into.

use std::borrow::Cow;
use std::io::{self, BufRead};

/// A request or an answer.
pub struct Message {
    /// All of it, as it came.
    pub bytes: Vec<u8>,
    head: usize,
    chunked: bool,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Message {
    /// The next request of a connection; `None` at its end.
    pub fn request(reader: &mut impl BufRead) -> io::Result<Option<Message>> {
        if reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        Message::read(reader, false).map(Some)
    }

    /// The answer to a request.
    pub fn answer(reader: &mut impl BufRead) -> io::Result<Message> {
        Message::read(reader, true)
    }

    fn read(reader: &mut impl BufRead, answer: bool) -> io::Result<Message> {
        let mut message = Message { bytes: Vec::new(), head: 0, chunked: false };
        let mut length = None;
        loop {
            let begin = message.bytes.len();
            message.line(reader)?;
            let line = String::from_utf8_lossy(&message.bytes[begin..]).to_ascii_lowercase();
            match line.trim_end().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().ok(),
                Some(("transfer-encoding", value)) => message.chunked = value.contains("chunked"),
                Some(("expect", _)) => return Err(wrong("Expect is not passed on")),
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        message.head = message.bytes.len();
        match length {
            _ if message.chunked => message.chunks(reader)?,
            Some(length) => message.exactly(reader, length)?,
            None if answer => drop(reader.read_to_end(&mut message.bytes)?),
            None => {}
        }
        Ok(message)
    }

    fn line(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        reader.read_until(b'\n', &mut self.bytes)?;
        match self.bytes.ends_with(b"\r\n") {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn exactly(&mut self, reader: &mut impl BufRead, length: usize) -> io::Result<()> {
        let begin = self.bytes.len();
        self.bytes.resize(begin + length, 0);
        reader.read_exact(&mut self.bytes[begin..])
    }

    fn chunks(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        loop {
            let begin = self.bytes.len();
            self.line(reader)?;
            let size = size(&self.bytes[begin..]).ok_or_else(|| wrong("no chunk's length"))?;
            self.exactly(reader, size + 2)?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// The request line, or the status line.
    pub fn first_line(&self) -> &str {
        let end = self.bytes.iter().position(|b| *b == b'\r').unwrap_or(0);
        std::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }

    /// An answer's status.
    pub fn status(&self) -> u16 {
        self.first_line().split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The body, out of its chunks.
    pub fn body(&self) -> Cow<'_, [u8]> {
        if !self.chunked {
            return Cow::Borrowed(&self.bytes[self.head..]);
        }
        let (mut body, mut at) = (Vec::new(), self.head);
        while let Some(end) = self.bytes[at..].windows(2).position(|two| two == b"\r\n") {
            let Some(size) = size(&self.bytes[at..at + end]) else { break };
            let begin = at + end + 2;
            body.extend_from_slice(&self.bytes[begin..begin + size]);
            at = begin + size + 2;
            if size == 0 {
                break;
            }
        }
        Cow::Owned(body)
    }

    /// The same with another body.
    pub fn with_body(&self, body: &[u8]) -> Message {
        let head = String::from_utf8_lossy(&self.bytes[..self.head]);
        let about_length = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.starts_with("content-length:") || line.starts_with("transfer-encoding:")
        };
        let kept =
            head.split_inclusive("\r\n").filter(|line| *line != "\r\n" && !about_length(line));
        let mut bytes: Vec<u8> = kept.collect::<String>().into_bytes();
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        let head = bytes.len();
        bytes.extend_from_slice(body);
        Message { bytes, head, chunked: false }
    }
}

fn size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.split(';').next()?.trim();
    usize::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_to_the_byte() {
        let both =
            "POST /a HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n";
        let mut reader = both.as_bytes();
        let first = Message::request(&mut reader).unwrap().unwrap();
        assert_eq!((first.first_line(), &*first.body()), ("POST /a HTTP/1.1", &b"abc"[..]));
        let second = Message::request(&mut reader).unwrap().unwrap();
        assert_eq!([first.bytes, second.bytes].concat(), both.as_bytes());
        assert!(Message::request(&mut reader).unwrap().is_none());
        assert!(Message::request(&mut &both.as_bytes()[..50]).is_err(), "half a request");
    }

    #[test]
    fn chunks_are_kept_and_can_be_looked_into() {
        let text = "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let answer = Message::answer(&mut text.as_bytes()).unwrap();
        assert_eq!((answer.status(), &*answer.body()), (500, &b"abcde"[..]));
        assert_eq!(answer.bytes, text.as_bytes());
        let other = answer.with_body(b"other");
        assert_eq!(other.bytes, b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\nother");
        assert_eq!(&*other.body(), b"other");
    }
}
