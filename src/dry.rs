//! `convert`: what would become of a delta's lines, and nothing is sent. It reaches no network, no
//! spool and no daemon, and holds one line at a time; or, by the operator's own converter, some MiB of them.

mod by_exec;

use config::conversion::Convert;
use convert::{Body, Converted, Converter, Scratch};
use exec::Exec;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use spool::Packing;
use worker::Unpacker;

use crate::cli::Cli;
use crate::{CONFIG, Trouble, conversion, load};

/// A file may begin so, and no line does (as a worker has it).
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How it went so far.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// All lines were read; whether some were rejected.
    Read { rejected: bool },
    /// Nobody reads any more.
    Unread,
}

pub(crate) fn convert(cli: &Cli, file: &Path) -> Result<ExitCode, Trouble> {
    let config = load(cli)?;
    let converter = conversion(&config)
        .map_err(|mistakes| Trouble { code: CONFIG, message: mistakes.to_string() })?;
    let is_stdin = file == Path::new("-");
    let name = if is_stdin { "stdin".to_owned() } else { file.display().to_string() };
    let trouble = |e: io::Error| Trouble::new(1, format!("{name}: {e}"));
    let input: Box<dyn Read> = match is_stdin {
        true => Box::new(io::stdin().lock()),
        false => unpacked(file).map_err(trouble)?,
    };
    let lines = Lines::new(input, config.spool.max_line);
    // (Our standard error is the converter's, too: nobody holds it.)
    let show = Show { name: &name, out: io::stdout().lock(), told: io::stderr() };
    let end = match &config.convert {
        Some(Convert::Exec(command)) => {
            let mut exec = Exec::new(command, config.spool.max_line, None);
            let would_wait = || is_stdin && would_wait();
            by_exec::all(&converter, &mut exec, lines, would_wait, show)
        }
        _ => all(&converter, lines, show),
    };
    match end.map_err(trouble)? {
        End::Read { rejected: true } => Ok(ExitCode::FAILURE),
        End::Read { rejected: false } | End::Unread => Ok(ExitCode::SUCCESS),
    }
}

/// A file's text, whether it is compressed or not.
fn unpacked(file: &Path) -> io::Result<Box<dyn Read>> {
    let opened = File::open(file)?;
    Ok(match Unpacker::new(opened.try_clone()?, Packing::of(file.as_os_str()))? {
        Some(unpacker) => Box::new(unpacker),
        None => Box::new(opened),
    })
}

/// Whether standard input has nothing at the moment.
fn would_wait() -> bool {
    let polled = sys::poll(&[(io::stdin().as_fd(), sys::Interest::Read)], Some(Duration::ZERO));
    polled.is_ok_and(|polled| !polled[0].readable)
}

/// Where the documents go, and what is said of lines that become none.
struct Show<'n, O, T> {
    name: &'n str,
    out: O,
    told: T,
}

impl<O, T: Write> Show<'_, O, T> {
    fn tell(&mut self, number: u64, reason: &str) {
        // Whoever does not want to hear it may close it.
        let _ = writeln!(self.told, "{}:{number}: {reason}", self.name);
    }
}

/// Converts line after line.
fn all(
    converter: &Converter,
    mut lines: Lines<impl Read>,
    show: Show<'_, impl Write, impl Write>,
) -> io::Result<End> {
    let Show { name, out, told } = show;
    let mut show = Show { name, out: (), told };
    let mut out = BufWriter::with_capacity(64 << 10, out);
    let mut scratch = Scratch::default();
    let mut rejected = false;
    loop {
        if lines.would_wait() && read_by_nobody(out.flush())?.is_break() {
            return Ok(End::Unread);
        }
        let (number, written) = match lines.next()? {
            Found::End => break,
            Found::Line(number, line) => {
                (number, write(&converter.convert(line, &mut scratch, None), line, &mut out))
            }
            Found::TooLong(number, length, most) => {
                let reason = format!("the line has {length} bytes, and spool.max_line = {most}");
                (number, Ok(Some(reason)))
            }
        };
        match written {
            Ok(None) => {}
            Ok(Some(reason)) => {
                rejected = true;
                show.tell(number, &reason);
            }
            Err(e) => {
                // Where it is an error, this ends it.
                let _ = read_by_nobody(Err(e))?;
                return Ok(End::Unread);
            }
        }
    }
    match read_by_nobody(out.flush())? {
        ControlFlow::Break(()) => Ok(End::Unread),
        ControlFlow::Continue(()) => Ok(End::Read { rejected }),
    }
}

/// Whether a write found that nobody reads, as behind `| head`, which is no error.
fn read_by_nobody(written: io::Result<()>) -> io::Result<ControlFlow<()>> {
    match written {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot write: {e}"))),
    }
}

/// Writes what a line becomes; or why it is rejected.
fn write(
    converted: &Converted<'_>,
    line: &[u8],
    out: &mut impl Write,
) -> io::Result<Option<String>> {
    match converted {
        Converted::Nothing => {}
        Converted::Reject { reason, .. } => return Ok(Some(reason.clone())),
        Converted::Doc { body, .. } => {
            out.write_all(match body {
                Body::Line => line.trim_ascii(),
                Body::Made(made) => made,
            })?;
            out.write_all(b"\n")?;
        }
        Converted::Delete { body, .. } => {
            out.write_all(b"{\"delete\":")?;
            out.write_all(body)?;
            out.write_all(b"}\n")?;
        }
    }
    Ok(None)
}

/// The lines of a file, one at a time; none longer than `most` is held.
struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    most: u64,
}

/// What comes next, by its number from 1.
enum Found<'l> {
    Line(u64, &'l [u8]),
    /// With its length, and the most there may be.
    TooLong(u64, u64, u64),
    End,
}

impl<R: Read> Lines<R> {
    fn new(input: R, most: u64) -> Lines<R> {
        let input = BufReader::with_capacity(256 << 10, input);
        Lines { input, line: Vec::new(), number: 0, most }
    }

    /// Whether the next line is not read yet, so may take its time.
    fn would_wait(&self) -> bool {
        self.input.buffer().is_empty()
    }

    fn next(&mut self) -> io::Result<Found<'_>> {
        self.line.clear();
        // (With the newline, and a byte order mark.)
        let most = self.most.saturating_add(1 + BOM.len() as u64);
        if self.input.by_ref().take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(Found::End);
        }
        self.number += 1;
        let is_whole = self.line.ends_with(b"\n");
        let has_bom = self.number == 1 && self.line.starts_with(BOM);
        let begin = if has_bom { BOM.len() } else { 0 };
        let length = (self.line.len() - begin - usize::from(is_whole)) as u64;
        if length > self.most {
            let rest = if is_whole { 0 } else { self.skip()? };
            return Ok(Found::TooLong(self.number, length + rest, self.most));
        }
        let end = self.line.len() - usize::from(is_whole);
        Ok(Found::Line(self.number, &self.line[begin..end]))
    }

    /// Passes over the rest of a line; its length.
    fn skip(&mut self) -> io::Result<u64> {
        let mut length = 0;
        loop {
            let bytes = match self.input.fill_buf() {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, passed) = match end {
                Some(at) => (at, at + 1),
                None => (bytes.len(), bytes.len()),
            };
            length += line as u64;
            self.input.consume(passed);
            if end.is_some() || passed == 0 {
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converter() -> Converter {
        let config = config::Config::for_feed(vec!["http://a/solr".into()], "c".into()).unwrap();
        Converter::new(&config).unwrap()
    }

    fn run(input: impl Read, most: u64) -> (End, String, String) {
        let (mut out, mut told) = (Vec::new(), Vec::new());
        let show = Show { name: "f", out: &mut out, told: &mut told };
        let end = all(&converter(), Lines::new(input, most), show).unwrap();
        (end, String::from_utf8(out).unwrap(), String::from_utf8(told).unwrap())
    }

    #[test]
    fn documents_come_in_the_files_order_and_rejects_with_their_numbers() {
        let text = "\u{feff}{\"id\":\"a\"} \r\n\nx\n{\"delete\":{\"id\":\"b\"}}\n{\"a\":1}\n{\"id\":\"c\"}";
        let (end, out, told) = run(text.as_bytes(), 100);
        assert_eq!(end, End::Read { rejected: true });
        assert_eq!(out, "{\"id\":\"a\"}\n{\"delete\":{\"id\":\"b\"}}\n{\"id\":\"c\"}\n");
        assert_eq!(told, "f:3: malformed JSON at byte 1: expected value\nf:5: no member id\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_never_held() {
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(1_000_000));
        let text = format!("{long}\n{{\"id\":\"a\"}}\n{}\n{long}", "y".repeat(13));
        let (end, out, told) = run(text.as_bytes(), 12);
        assert_eq!((end, out.as_str()), (End::Read { rejected: true }, "{\"id\":\"a\"}\n"));
        let why = |n: usize| format!("the line has {n} bytes, and spool.max_line = 12\n");
        assert_eq!(told, format!("f:1: {}f:3: {}f:4: {}", why(1_000_009), why(13), why(1_000_009)));
        let mut lines = Lines::new(text.as_bytes(), 12);
        while !matches!(lines.next().unwrap(), Found::End) {}
        assert!(lines.line.capacity() < 1000, "{}", lines.line.capacity());
    }

    #[test]
    fn whoever_stops_reading_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let endless = io::repeat(b'\n').take(1 << 40);
        let input = b"{\"id\":\"a\"}\n".chain(endless);
        let show = Show { name: "f", out: Closed, told: io::sink() };
        let end = all(&converter(), Lines::new(input, 100), show).unwrap();
        assert_eq!(end, End::Unread);
    }
}
