//! `feed`'s progress: how far it is, how fast, and how long it will take. At a terminal it is a line that
//! is drawn over and over, by the parent itself between two turns of its loop, since who forks has one
//! thread; elsewhere the log says it now and then ([`Parent::say_progress`]).
//!
//! A frame is written without waiting: a terminal that somebody has stopped (^S) stops nobody, and misses
//! it. Log lines go to the same terminal from every process; the sink has each of them begin by clearing
//! the line, and the next frame is a fifth of a second away.

use scoreboard::Trouble;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use sys::sink::Sink;

use crate::{Active, Parent};

/// A frame is drawn so often, in milliseconds.
const FRAME: u64 = 200;
/// Speeds are those of the last so many milliseconds.
const SPAN: u64 = 10_000;
/// A bar shorter than this says nothing, in columns.
const SHORTEST: usize = 8;
/// Of a name and of an error so much is shown, in columns.
const NAME: usize = 30;

/// What `feed` has to do, and how far it was when somebody last looked.
pub(crate) struct Meter {
    /// Of each file that is not settled, its bytes.
    sizes: HashMap<OsString, u64>,
    files: usize,
    bytes: u64,
    settled_files: usize,
    settled_bytes: u64,
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: u64,
    bytes: u64,
    docs: u64,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    /// The file that is being delivered.
    pub(crate) name: String,
    /// The how-manieth it is, and of how many.
    pub(crate) number: usize,
    pub(crate) files: usize,
    pub(crate) bytes_done: u64,
    pub(crate) bytes: u64,
    pub(crate) docs_per_s: u64,
    /// Seconds; `None`: nobody knows.
    pub(crate) eta_s: Option<u64>,
    /// Why nothing goes on, in Solr's words or the system's.
    pub(crate) trouble: Option<String>,
}

/// The line at the terminal.
pub(crate) struct Bar {
    sink: Sink,
    next: u64,
}

impl Meter {
    /// Of these files, with their sizes in bytes.
    pub(crate) fn of(files: impl Iterator<Item = (OsString, u64)>) -> Meter {
        let sizes: HashMap<OsString, u64> = files.collect();
        let (files, bytes) = (sizes.len(), sizes.values().sum());
        let (settled_files, settled_bytes, samples) = (0, 0, VecDeque::new());
        Meter { sizes, files, bytes, settled_files, settled_bytes, samples }
    }

    /// This one is.
    pub(crate) fn settled(&mut self, name: &OsString) {
        self.settled_files += 1;
        self.settled_bytes += self.sizes.remove(name).unwrap_or(0);
    }

    /// How far it is at `now` monotonic milliseconds, so many bytes into `name`, with so many documents
    /// and deletes confirmed in all.
    pub(crate) fn progress(&mut self, now: u64, name: String, bytes: u64, docs: u64) -> Progress {
        let bytes_done = (self.settled_bytes + bytes).min(self.bytes);
        let sample = Sample { at: now, bytes: bytes_done, docs };
        let before = self.samples.front().copied().unwrap_or(sample);
        let per_s = |now: u64, then: u64| {
            u128::from(now.saturating_sub(then)) * 1000 / u128::from((sample.at - before.at).max(1))
        };
        let (bytes_per_s, docs_per_s) = (per_s(bytes_done, before.bytes), per_s(docs, before.docs));
        let left = u128::from(self.bytes - bytes_done);
        let eta_s = (bytes_per_s > 0).then(|| left.div_ceil(bytes_per_s) as u64);
        self.samples.push_back(sample);
        // One older than the span is kept, to measure from.
        while self.samples.get(1).is_some_and(|s| s.at + SPAN <= now) {
            self.samples.pop_front();
        }
        Progress {
            name,
            number: (self.settled_files + 1).min(self.files),
            files: self.files,
            bytes_done,
            bytes: self.bytes,
            docs_per_s: docs_per_s as u64,
            eta_s,
            trouble: None,
        }
    }
}

impl Progress {
    /// Of all bytes.
    pub(crate) fn percent(&self) -> u64 {
        (u128::from(self.bytes_done) * 100 / u128::from(self.bytes.max(1))) as u64
    }

    /// A line of less than `width` columns, so that the terminal does not break it. What matters most is
    /// there in the narrowest.
    fn line(&self, width: usize) -> String {
        let room = width.saturating_sub(1);
        let name = if self.name.is_empty() { "-".into() } else { shown(&self.name, NAME) };
        let head = match self.files {
            1 => name,
            files => format!("{} of {files}: {name}", self.number),
        };
        let percent = format!("{} %", self.percent());
        if let Some(trouble) = &self.trouble {
            let text = format!("{percent}  {head}  waiting: ");
            return cut(&(text + &shown(trouble, width)), room);
        }
        let eta = self.eta_s.map_or("unknown".into(), took);
        let speed = format!("{} docs/s  ETA {eta}", grouped(self.docs_per_s));
        let done = format!("{} of {}", bytes(self.bytes_done), bytes(self.bytes));
        let whole = format!("{percent}  {done}  {speed}");
        let left = room.saturating_sub(columns(&head) + columns(&whole) + 4);
        match left.checked_sub(2).filter(|inside| *inside >= SHORTEST) {
            Some(inside) => {
                let full = inside * self.percent() as usize / 100;
                let (full, empty) = ("=".repeat(full), " ".repeat(inside - full));
                format!("{head}  [{full}{empty}]  {whole}")
            }
            None => {
                let texts = [format!("{head}  {whole}"), format!("{percent}  {speed}")];
                let fits = texts.into_iter().find(|text| columns(text) <= room);
                fits.unwrap_or_else(|| cut(&percent, room))
            }
        }
    }
}

impl Bar {
    /// Where standard error is a terminal that can clear a line.
    pub(crate) fn at_terminal() -> Option<Bar> {
        let can_clear =
            std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let is_there = can_clear && std::io::stderr().is_terminal();
        is_there.then(|| Some(Bar { sink: Sink::stderr().ok()?, next: 0 }))?
    }

    /// When the next frame is due, monotonic milliseconds.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn draw(&mut self, now: u64, progress: &Progress) {
        // Asked each time: windows change.
        let width = sys::terminal::columns(std::io::stderr().as_fd()).unwrap_or(80);
        self.sink.draw(&progress.line(width.into()));
        self.next = now + FRAME;
    }

    /// The line is the shell's again.
    pub(crate) fn clear(&self) {
        self.sink.draw("");
    }
}

impl Parent {
    /// How far `feed` is.
    pub(crate) fn progress(&mut self, now: u64) -> Option<Progress> {
        let totals = self.board.totals();
        let active = self.active.front().map(|Active { claim, .. }| claim);
        let name = active.map_or("".into(), |claim| claim.name.to_string_lossy().into_owned());
        let bytes = active.map_or(0, |claim| self.board.bytes_done(claim.number));
        let docs = totals.docs.wrapping_add(totals.deletes);
        let mut progress = self.meter.as_mut()?.progress(now, name, bytes, docs);
        progress.trouble = self.trouble();
        Some(progress)
    }

    /// What keeps the workers from going on, as one of them has it. There is no monitor to be asked.
    fn trouble(&self) -> Option<String> {
        let mut cells = self.board.worker_cells();
        let waits =
            cells.find(|c| c.trouble() != Trouble::None && c.last_trouble() > c.last_ok())?;
        Some(waits.last_error().read())
    }

    /// A frame, if it is time for one.
    pub(crate) fn draw(&mut self, now: u64) {
        if self.bar.as_ref().is_none_or(|bar| now < bar.next()) {
            return;
        }
        let Some(progress) = self.progress(now) else { return };
        if let Some(bar) = &mut self.bar {
            bar.draw(now, &progress);
        }
    }
}

// --- words ----------------------------------------------------------------------------------------

/// How wide a text may be on a terminal. Letters beyond the Latin ones may take two columns.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if c < '\u{300}' { 1 } else { 2 }).sum()
}

/// The beginning of a text, so many columns wide.
fn cut(text: &str, most: usize) -> String {
    let mut room = most;
    let fits = |c: &char| {
        let left = room.checked_sub(columns(c.encode_utf8(&mut [0; 4])));
        room = left.unwrap_or(0);
        left.is_some()
    };
    text.chars().take_while(fits).collect()
}

/// A text that others have written, as it may be shown: nothing in it moves the cursor or hides, and it is
/// not too long.
fn shown(text: &str, most: usize) -> String {
    let is_harmless = |c: char| matches!(c, ' '..='~') || c.is_alphanumeric();
    let plain: String = text.chars().map(|c| if is_harmless(c) { c } else { '?' }).collect();
    match columns(&plain) > most {
        true => cut(&plain, most.saturating_sub(3)) + "...",
        false => plain,
    }
}

fn took(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (n as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[(&str, u64)]) -> Meter {
        Meter::of(sizes.iter().map(|(name, bytes)| (OsString::from(name), *bytes)))
    }

    fn some() -> Progress {
        Progress {
            name: "offers.jsonl".into(),
            number: 1,
            files: 1,
            bytes_done: 450 << 20,
            bytes: 1000 << 20,
            docs_per_s: 31_415,
            eta_s: Some(75),
            trouble: None,
        }
    }

    #[test]
    fn speed_and_time_left_are_those_of_the_last_ten_seconds_and_of_all_files() {
        let mut meter = files(&[("a", 1_000), ("b", 9_000)]);
        let first = meter.progress(0, "a".into(), 0, 0);
        assert_eq!((first.percent(), first.docs_per_s, first.eta_s), (0, 0, None));
        let second = meter.progress(1_000, "a".into(), 500, 50);
        assert_eq!((second.percent(), second.docs_per_s, second.eta_s), (5, 50, Some(19)));
        assert_eq!((second.number, second.files), (1, 2));
        meter.settled(&"a".into());
        for s in 2..40 {
            meter.progress(s * 1_000, "b".into(), s * 100, 100 + 10 * s);
        }
        let later = meter.progress(40_000, "b".into(), 4_000, 500);
        assert_eq!((later.percent(), later.docs_per_s, later.eta_s), (50, 10, Some(50)));
        assert_eq!((later.number, later.files), (2, 2));
        meter.settled(&"b".into());
        assert_eq!(meter.progress(41_000, String::new(), 0, 500).percent(), 100);
        assert_eq!(files(&[("empty", 0)]).progress(0, String::new(), 0, 0).percent(), 0);
    }

    #[test]
    fn a_line_says_it_all_and_is_narrower_than_the_terminal() {
        let line = some().line(100);
        let text = "45 %  450.0 MiB of 1000.0 MiB  31,415 docs/s  ETA 75 s";
        assert_eq!(line, format!("offers.jsonl  [{}{}]  {text}", "=".repeat(12), " ".repeat(15)));
        assert_eq!(line.len(), 99);
        assert_eq!(some().line(80), format!("offers.jsonl  {text}"));
        assert_eq!(some().line(40), "45 %  31,415 docs/s  ETA 75 s");
        assert_eq!(some().line(3), "45");
        let many = Progress { number: 2, files: 3, eta_s: None, ..some() };
        assert!(many.line(100).starts_with("2 of 3: offers.jsonl  ["));
        assert!(many.line(100).ends_with("ETA unknown"));
        for name in ["ü".repeat(255), "木".repeat(85), "\x1b[2J\u{202e}\r".repeat(9)] {
            for trouble in [None, Some("http://x: connection refused\r\x1b[2J ".repeat(9))] {
                for width in 0..200 {
                    let line = Progress { name: name.clone(), trouble: trouble.clone(), ..some() };
                    let line = line.line(width);
                    assert!(columns(&line) < width.max(1), "{width}: {line}");
                    let is_shown = |c: char| !c.is_control() && c != '\u{202e}';
                    assert!(line.chars().all(is_shown), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn what_keeps_it_is_told_in_place_of_a_speed() {
        let trouble = Some("http://127.0.0.1:8983/solr: connection refused".into());
        let line = Progress { trouble, ..some() }.line(80);
        assert_eq!(
            line,
            "45 %  offers.jsonl  waiting: http://127.0.0.1:8983/solr: connection refused"
        );
    }

    #[test]
    fn amounts_are_what_people_say() {
        assert_eq!([0, 1_536, 3 << 30].map(bytes), ["0.0 KiB", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([0, 119, 120, 7_300].map(took), ["0 s", "119 s", "2 min", "2 h 1 min"]);
        assert_eq!([999, 1_234_567].map(grouped), ["999", "1,234,567"]);
    }
}
