//! The log: one line an event, one write(2) a line, never a wait.
//!
//! slog with slog-term's synchronous decorator: no thread is started (slog-async would start one
//! as soon as it is constructed), and no lock is held at a fork, since the process that forks has
//! nobody else who could hold it. Lines go to a [`Sink`], which drops what it cannot write at once.

mod json;

use slog::{Drain, Level, Logger, OwnedKVList, Record};
use std::io::{self, Write};
use std::sync::Arc;

pub use json::time;
pub use slog;
pub use sys::sink::Sink;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `Nov 23 05:36:44.123 INFO delta settled, delta: offers.jsonl, docs: 12`
    Text,
    /// One JSON object a line: `time`, `level`, `message`, then the facts.
    Json,
}

/// A logger for `level` and what is graver, onto `sink`.
pub fn logger(sink: Arc<Sink>, format: Format, level: Level) -> Logger {
    match format {
        Format::Text => {
            let decorator = slog_term::PlainSyncDecorator::new(Lines(sink));
            let drain = slog_term::FullFormat::new(decorator)
                .use_utc_timestamp()
                .use_original_order()
                .build()
                .ignore_res();
            Logger::root(drain.filter_level(level).ignore_res(), slog::o!())
        }
        Format::Json => Logger::root(Json(sink).filter_level(level).ignore_res(), slog::o!()),
    }
}

/// Each write is one record: slog-term hands a record over whole.
struct Lines(Arc<Sink>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(&one_line(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event, one line: a delta's name may hold a newline, and nobody may write log lines with it.
fn one_line(record: &[u8]) -> Vec<u8> {
    let (body, end) = match record.split_last() {
        Some((b'\n', body)) => (body, &b"\n"[..]),
        _ => (record, &b""[..]),
    };
    let mut line = String::with_capacity(record.len());
    for c in String::from_utf8_lossy(body).chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push('\t'),
            c => line.push(if c.is_control() { '?' } else { c }),
        }
    }
    line.into_bytes().into_iter().chain(end.iter().copied()).collect()
}

struct Json(Arc<Sink>);

impl Drain for Json {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, facts: &OwnedKVList) -> Result<(), slog::Never> {
        self.0.line(&json::line(record, facts));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_event_is_one_line() {
        assert_eq!(super::one_line(b"a\nb\x1b[1m\n"), b"a\\nb?[1m\n");
        assert_eq!(super::one_line("Größe\n".as_bytes()), "Größe\n".as_bytes());
        assert_eq!(
            super::one_line("a\u{9b}2Jb\u{7f}".as_bytes()),
            b"a?2Jb?",
            "a terminal obeys it"
        );
    }
}
