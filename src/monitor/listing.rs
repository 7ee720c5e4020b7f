//! Lists: what was rejected, and what was settled. Both are read from the spool when somebody asks,
//! by the monitor or, where no daemon runs, by the command line.
//!
//! A reject file may have any size and hold any line. So a list has an end: so many lines, so many
//! bytes of answer and of files, so long; and it says that it was cut. Of a record only the beginning is
//! kept, since what was rejected, which comes last in it, may be long and is not listed.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use spool::{Past, Spool};
use status::answer::refused;
use sys::clock::now_ms;

use crate::words::{MOST_HISTORY, Refusal, Request};

/// A list of rejects is no longer than this: lines, bytes of answer.
const LINES: usize = 1000;
const BYTES: usize = 1 << 20;
/// So many bytes of reject files are read for it, and so long, in milliseconds.
const READ: u64 = 16 << 20;
const TIME: u64 = if cfg!(test) { 60_000 } else { 50 }; // tests may have to share the processor
/// A record's members before the original line are no longer than this: an id may have 32,766
/// bytes, and JSON may spell each with six.
const HEAD: u64 = 256 * 1024;

/// Answers what needs nobody but the spool: `rejects` and `history`. The rest is not for here.
pub(crate) fn answer(spool: &Spool, request: &Request) -> String {
    let answered = match request {
        Request::Rejects(name) => rejects(spool, name.as_deref()),
        Request::History(most) => history(spool, *most),
        _ => Err(Refusal { code: "no_daemon", message: "that takes a running daemon".into() }),
    };
    answered.unwrap_or_else(|refusal| refused(refusal.code, &refusal.message))
}

fn unreadable(path: &Path, e: &io::Error) -> Refusal {
    Refusal { code: "spool", message: format!("{}: {e}", path.display()) }
}

fn line(answer: &impl Serialize) -> String {
    let mut line = serde_json::to_string(answer).expect("text and numbers always become JSON");
    line.push('\n');
    line
}

// --- rejects --------------------------------------------------------------------------------------

/// A rejected line, without the line itself. What cannot be read has a reason that says so.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
struct Listed {
    delta: String,
    line: Option<u64>,
    offset: Option<u64>,
    id: Option<String>,
    stage: Option<String>,
    status: Option<u16>,
    reason: String,
    attempts: u64,
    time: Option<String>,
}

#[derive(Serialize)]
struct Rejects {
    ok: bool,
    rejects: Vec<Listed>,
    /// There is more of it.
    truncated: bool,
}

/// What is left of a list's bounds.
struct Room {
    lines: usize,
    bytes: usize,
    read: u64,
    by: u64,
}

fn rejects(spool: &Spool, name: Option<&OsStr>) -> Result<String, Refusal> {
    let folder = spool.rejected();
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => all_names(&folder).map_err(|e| unreadable(&folder, &e))?,
    };
    let mut room = Room { lines: LINES, bytes: BYTES, read: READ, by: now_ms() + TIME };
    let (mut rejects, mut truncated) = (Vec::new(), false);
    for delta in &names {
        let path = spool.rejected_file(delta);
        match sys::files::open_regular(&path, false) {
            Ok(file) => {
                truncated |=
                    room.list(file, delta, &mut rejects).map_err(|e| unreadable(&path, &e))?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if let (Some(name), false) = (name, is_known(spool, delta)) {
                    return Err(unknown(name));
                }
            }
            Err(e) => return Err(unreadable(&path, &e)),
        }
        if truncated {
            break;
        }
    }
    Ok(line(&Rejects { ok: true, rejects, truncated }))
}

/// The deltas that have rejects, in the order of their names.
fn all_names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.file_name();
        names.extend(spool::rejected_of(&file).filter(|n| spool::is_delta(n)).map(OsStr::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Whether there is a delta of this name, though nothing of it is rejected.
fn is_known(spool: &Spool, name: &OsStr) -> bool {
    let folders = [spool.incoming(), spool.active(), spool.done(), spool.failed()];
    folders.iter().any(|folder| folder.join(name).symlink_metadata().is_ok())
}

fn unknown(name: &OsStr) -> Refusal {
    let name = status::page::plain(&name.to_string_lossy());
    let message = format!(
        "{name}: nothing of it is rejected, and no such delta is in the spool: `solr-updater \
         rejects` lists all that is"
    );
    Refusal { code: "unknown_delta", message }
}

impl Room {
    /// Lists a file's records while there is room; whether there was not enough.
    fn list(&mut self, file: impl Read, delta: &OsStr, list: &mut Vec<Listed>) -> io::Result<bool> {
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let mut head = Vec::new();
        loop {
            head.clear();
            let read = (&mut reader).take(HEAD).read_until(b'\n', &mut head)? as u64;
            if read == 0 {
                return Ok(false);
            }
            // However long the disk takes: something is told.
            let is_late = !list.is_empty() && now_ms() >= self.by;
            if self.lines == 0 || self.bytes == 0 || self.read == 0 || is_late {
                return Ok(true);
            }
            let rest = if head.ends_with(b"\n") { 0 } else { skip_line(&mut reader, self.read)? };
            self.read = self.read.saturating_sub(read + rest);
            self.lines -= 1;
            let listed = Listed::read(&head, delta);
            let size = 200 + listed.delta.len() + listed.reason.len();
            self.bytes =
                self.bytes.saturating_sub(size + listed.id.as_ref().map_or(0, String::len));
            list.push(listed);
        }
    }
}

/// Goes past the end of a line, or of `most` bytes; how many those were.
fn skip_line(reader: &mut impl BufRead, most: u64) -> io::Result<u64> {
    let mut skipped = 0;
    while skipped < most {
        let bytes = reader.fill_buf()?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        reader.consume(count);
        skipped += count as u64;
        if end.is_some() || count == 0 {
            break;
        }
    }
    Ok(skipped)
}

impl Listed {
    /// Reads the beginning of a record. In a string no quote stands without a backslash, so what
    /// comes before the original line can be told.
    fn read(head: &[u8], delta: &OsStr) -> Listed {
        let text = String::from_utf8_lossy(head);
        let ends = [",\"raw\":", ",\"raw_base64\":"];
        let end = ends.iter().filter_map(|end| text.find(end)).min();
        let whole = end.map_or(text.trim_end().to_owned(), |end| format!("{}}}", &text[..end]));
        serde_json::from_str(&whole).ok().filter(|listed: &Listed| listed.line.is_some()).unwrap_or(
            Listed {
                delta: delta.to_string_lossy().into_owned(),
                reason: "this record of the reject file cannot be read".into(),
                ..Listed::default()
            },
        )
    }
}

// --- history --------------------------------------------------------------------------------------

/// A settled delta.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    outcome: &'static str,
    time: String,
    lines: u64,
    docs: u64,
    deletes: u64,
    skipped: u64,
    rejected: u64,
    superseded: u64,
    seconds: f64,
    docs_per_s: f64,
    reason: Option<String>,
}

#[derive(Serialize)]
struct History {
    ok: bool,
    history: Vec<Entry>,
}

/// The deltas settled last.
pub(crate) fn history(spool: &Spool, most: usize) -> Result<String, Refusal> {
    let past = spool.history(most.min(MOST_HISTORY)).map_err(|e| unreadable(spool.dir(), &e))?;
    Ok(line(&History { ok: true, history: past.into_iter().map(Entry::of).collect() }))
}

impl Entry {
    fn of(past: Past) -> Entry {
        let seconds = past.ms as f64 / 1000.0;
        // What took no time that could be measured took a millisecond at most.
        let rate = past.docs.saturating_add(past.deletes) as f64 / seconds.max(0.001);
        Entry {
            name: past.name.to_string_lossy().into_owned(),
            outcome: past.fate.word(),
            time: status::rfc3339(past.time / 1000),
            lines: past.lines,
            docs: past.docs,
            deletes: past.deletes,
            skipped: past.skipped,
            rejected: past.rejected,
            superseded: past.superseded,
            seconds,
            docs_per_s: (rate * 10.0).round() / 10.0,
            reason: Some(past.reason).filter(|reason| !reason.is_empty()),
        }
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
