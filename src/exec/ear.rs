//! What the converter says on its standard error: a line is an event of our log, not too many and none too
//! long, and its last words stand in the reason of what it fails at.

use slog::{Logger, warn};

use crate::process::{Got, Process};

/// So much of a line is kept, in bytes.
const LINE: usize = 500;
/// So many lines go into the log in so many milliseconds.
const LINES: u64 = 20;
const WHILE: u64 = 10_000;

/// Listens to one converter after the other.
pub(crate) struct Ear {
    log: Logger,
    heard: Vec<u8>,
    /// The line that has not ended yet is longer than what is kept of it.
    is_long: bool,
    /// The last line that was heard, of this process.
    last: String,
    since: u64,
    lines: u64,
    untold: u64,
}

impl Ear {
    pub(crate) fn new(log: Logger) -> Ear {
        let (heard, last) = (Vec::new(), String::new());
        Ear { log, heard, is_long: false, last, since: 0, lines: 0, untold: 0 }
    }

    /// Hears what is there by now.
    pub(crate) fn listen(&mut self, process: &mut Process, now: u64) {
        // (One that never stops talking is heard again the next time.)
        for _ in 0..4 {
            let before = self.heard.len();
            match process.read_errors(&mut self.heard) {
                Got::Bytes => self.tell_lines(before, now),
                Got::Nothing => break,
                Got::End => {
                    self.tell_rest(now);
                    break;
                }
            }
        }
    }

    /// The process is gone: its last words.
    pub(crate) fn last_words(&mut self, now: u64) -> Option<String> {
        self.tell_rest(now);
        self.tell_untold();
        Some(std::mem::take(&mut self.last)).filter(|words| !words.is_empty())
    }

    fn tell_lines(&mut self, mut looked: usize, now: u64) {
        let mut begin = 0;
        while let Some(at) = memchr::memchr(b'\n', &self.heard[looked..]) {
            let line = cut(&self.heard[begin..looked + at]);
            if !std::mem::take(&mut self.is_long) {
                self.tell(line, now);
            }
            (begin, looked) = (looked + at + 1, looked + at + 1);
        }
        self.heard.drain(..begin);
        if self.heard.len() > LINE {
            if !std::mem::replace(&mut self.is_long, true) {
                self.tell(cut(&self.heard), now);
            }
            self.heard.clear();
        }
    }

    fn tell_rest(&mut self, now: u64) {
        // (Also where nothing has come behind what is too long: or the next one's first line would be taken for that.)
        if !std::mem::take(&mut self.is_long) && !self.heard.is_empty() {
            self.tell(cut(&self.heard), now);
        }
        self.heard.clear();
    }

    fn tell(&mut self, line: String, now: u64) {
        if line.trim().is_empty() {
            return;
        }
        if now.saturating_sub(self.since) >= WHILE {
            self.tell_untold();
            (self.since, self.lines) = (now, 0);
        }
        match self.lines < LINES {
            true => warn!(self.log, "the converter says"; "said" => &line),
            false => self.untold += 1,
        }
        self.lines += 1;
        self.last = line;
    }

    fn tell_untold(&mut self) {
        match std::mem::take(&mut self.untold) {
            0 => {}
            n => warn!(self.log, "the converter says more than is told here"; "lines" => n),
        }
    }
}

fn cut(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(LINE)]);
    let end = if line.len() > LINE { "…" } else { "" };
    format!("{}{end}", text.trim_end())
}
