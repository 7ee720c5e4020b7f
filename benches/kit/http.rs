//! One keep-alive connection to an HTTP/1.1 server, and one request on it at a time: next to no
//! work of its own, so that what is measured with it is the server.

use std::fmt::Write as _;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer may take so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// A connection.
pub struct Connection {
    stream: TcpStream,
    host: String,
    /// What was read; the answer's body lies in it until the next request.
    buffer: Vec<u8>,
    filled: usize,
}

/// An address `http://HOST:PORT/PATH` in its two parts, `HOST:PORT` and `/PATH`.
pub fn split(url: &str) -> io::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong(format!("no http:// in {url}")))?;
    let slash = rest.find('/').unwrap_or(rest.len());
    Ok(rest.split_at(slash))
}

/// One answer to one GET, on a connection of its own.
pub fn get(url: &str) -> io::Result<(u16, Vec<u8>)> {
    let (host, path) = split(url)?;
    Connection::open(host)?.get(path).map(|(status, body)| (status, body.to_vec()))
}

/// One answer to one POST of JSON, on a connection of its own.
pub fn post(url: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let (host, path) = split(url)?;
    Connection::open(host)?.post(path, body).map(|(status, body)| (status, body.to_vec()))
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub fn open(host: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, host: host.to_owned(), buffer: vec![0; 1 << 16], filled: 0 })
    }

    /// Posts JSON; answers the status and the body.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<(u16, &[u8])> {
        let mut head = String::with_capacity(256);
        let _ = write!(
            head,
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.exchange(head.as_bytes(), body)
    }

    /// Gets something; answers the status and the body.
    pub fn get(&mut self, path: &str) -> io::Result<(u16, &[u8])> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.exchange(head.as_bytes(), b"")
    }

    fn exchange(&mut self, head: &[u8], body: &[u8]) -> io::Result<(u16, &[u8])> {
        write_both(&mut self.stream, head, body)?;
        self.filled = 0;
        let head_end = loop {
            match self.buffer[..self.filled].windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read_more()?,
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| wrong(format!("no HTTP: {head}")))?;
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        if header("transfer-encoding:").is_some_and(|value| value.contains("chunked")) {
            let length = self.join_chunks(head_end)?;
            return Ok((status, &self.buffer[head_end..head_end + length]));
        }
        let length = header("content-length:").and_then(|value| value.trim().parse().ok());
        let length: usize = length.ok_or_else(|| wrong("an answer of unknown length"))?;
        while self.filled < head_end + length {
            self.read_more()?;
        }
        Ok((status, &self.buffer[head_end..head_end + length]))
    }

    fn read_more(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.filled += n;
                Ok(())
            }
        }
    }

    /// Moves the chunks that begin at `from` together there; answers their length.
    fn join_chunks(&mut self, from: usize) -> io::Result<usize> {
        let (mut at, mut to) = (from, from);
        loop {
            let line = loop {
                match self.buffer[at..self.filled].windows(2).position(|two| two == b"\r\n") {
                    Some(n) => break at + n,
                    None => self.read_more()?,
                }
            };
            let size = std::str::from_utf8(&self.buffer[at..line]).unwrap_or_default();
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| wrong("no chunk's length"))?;
            at = line + 2;
            while self.filled < at + size + 2 {
                self.read_more()?;
            }
            self.buffer.copy_within(at..at + size, to);
            (at, to) = (at + size + 2, to + size);
            if size == 0 {
                return Ok(to - from);
            }
        }
    }
}

/// Writes a head and a body, in one go where the kernel takes it.
pub fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut both = [IoSlice::new(head), IoSlice::new(body)];
    let mut left = &mut both[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut left, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_of_known_length_and_in_chunks_are_read_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            ] {
                assert!(stream.read(&mut asked).unwrap() > 0);
                for piece in answer.as_bytes().chunks(7) {
                    stream.write_all(piece).unwrap();
                }
            }
        });
        let mut connection = Connection::open(&host).unwrap();
        assert_eq!(connection.get("/").unwrap(), (200, &b"abc"[..]));
        assert_eq!(connection.post("/", b"[]").unwrap(), (400, &b"abcde"[..]));
        assert_eq!(connection.get("/").unwrap(), (200, &b""[..]));
        server.join().unwrap();
    }
}
