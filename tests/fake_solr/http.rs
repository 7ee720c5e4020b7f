//! HTTP/1.1 as far as clients of Solr need it: a request is read whole, its body by its length.

use std::io::{self, BufRead, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

const JSON: &str = "application/json;charset=utf-8";

pub(crate) struct Request {
    /// The request line and the headers, as they came.
    pub(crate) head: String,
    pub(crate) method: String,
    pub(crate) path: String,
    query: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next one of a connection; `None` at its end, and if the body has more bytes than
    /// `most`: closed with much unread, the kernel resets the connection.
    pub(crate) fn read(
        reader: &mut impl BufRead,
        mut stream: &TcpStream,
        most: impl FnOnce() -> usize,
    ) -> io::Result<Option<Request>> {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line == "\r\n" {
                break;
            }
            match line.trim().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap_or(0),
                Some(("expect", _)) => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
                Some(("transfer-encoding", _)) => panic!("the fake Solr reads no chunks"),
                _ => {}
            }
            head.push_str(&line);
        }
        if length > most() {
            return Ok(None);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = head.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        Ok(Some(Request { head, method, path, query, body }))
    }

    /// A parameter of the query. Nothing that we send needs to be decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(body: Value) -> Answer {
        Answer { code: 200, content_type: JSON, body: body.to_string() }
    }

    /// An error in Solr's form, beside what else the body has.
    pub(crate) fn error(code: u16, message: &str, mut body: Value) -> Answer {
        body["responseHeader"]["status"] = json!(code);
        let class = ["error-class", "org.apache.solr.common.SolrException"];
        body["error"] = json!({"metadata": class, "msg": message, "code": code});
        Answer { code, content_type: JSON, body: body.to_string() }
    }

    /// What is not there, as Jetty has it.
    pub(crate) fn not_found(path: &str) -> Answer {
        let body = format!("<html><h2>HTTP ERROR 404 Can not find: {path}</h2></html>");
        Answer { code: 404, content_type: "text/html;charset=utf-8", body }
    }

    pub(crate) fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        let Answer { code, content_type, body } = self;
        let location = if code / 100 == 3 { "Location: /elsewhere\r\n" } else { "" };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {code} X\r\nContent-Type: {content_type}\r\n{location}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes())
    }
}
