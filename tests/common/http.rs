//! A client of the page, byte by byte: what stands on the wire is what is tested.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};

use super::PATIENCE;

/// An answer, taken apart.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Reads one answer; `is_head`: no body comes. `None`: the other side has closed.
    pub fn read(from: &mut impl BufRead, is_head: bool) -> Option<Reply> {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let code = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let code = code.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            from.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let before = headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            assert!(before.is_none(), "{name} twice");
        }
        let length: usize = headers["content-length"].parse().expect("a length");
        let mut body = vec![0; if is_head { 0 } else { length }];
        from.read_exact(&mut body).ok()?;
        Some(Reply { code, headers, body: String::from_utf8(body).expect("text") })
    }
}

/// A loopback address of this test's own: all of 127.0.0.0/8 is this machine's (RFC 1122, 3.2.1.3).
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let own = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, (pid >> 8) as u8 | 1, pid as u8, own)), 9984)
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(stream)
}

/// Asks for a path on a connection of its own. `None`: nobody answers, now.
pub fn get(address: SocketAddr, path: &str) -> Option<Reply> {
    let mut stream = connect(address)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let reply = Reply::read(&mut BufReader::new(&stream), false)?;
    assert_eq!(reply.header("connection"), "close");
    Some(reply)
}

/// Sends these bytes; all that comes until the end.
pub fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(address).expect("somebody listens");
    let _ = stream.write_all(bytes.as_ref()); // who has had enough reads no more
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end comes");
    text
}
