//! How a verdict is said: `UPDATER STATE - text | performance data` on the first line, details below it. The
//! text before the bar takes at most 79 characters and a blank; all performance data stands on the first line, for
//! Nagios joins what comes later and Icinga drops it; and no bar stands anywhere else, whatever a message holds.
//! Exactly one voice speaks, once: the run's own, or the watchdog's.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

/// A plugin's state; ordered as monitoring-plugins 3.0 does when it takes the worst of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Exit code 0.
    Ok,
    /// Exit code 1.
    Warning,
    /// Exit code 3.
    Unknown,
    /// Exit code 2.
    Critical,
}

impl State {
    /// The word in the output.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Unknown => "UNKNOWN",
            State::Critical => "CRITICAL",
        }
    }

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Warning => 1,
            State::Unknown => 3,
            State::Critical => 2,
        }
    }

    /// Reads a word in any case, or an exit code.
    pub fn parse(text: &str) -> Option<State> {
        let all = [State::Ok, State::Warning, State::Unknown, State::Critical];
        all.into_iter().find(|state| {
            text.eq_ignore_ascii_case(state.word()) || text == state.code().to_string()
        })
    }
}

/// All that is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The verdict.
    pub state: State,
    /// Why, worst first. Each stands alone up to its first `": "`, for where there is no room for more.
    pub text: Vec<String>,
    /// The performance data; empty where there is none.
    pub perf: String,
    /// The lines below the first.
    pub details: Vec<String>,
}

/// What the text before the bar may take, the blank before the bar not counted.
const ROOM: usize = 79;

impl Report {
    /// A report of one reason and nothing else.
    pub fn new(state: State, text: String) -> Report {
        Report { state, text: vec![text], perf: String::new(), details: Vec::new() }
    }

    /// The whole output, newline included.
    pub fn print(&self) -> String {
        let text: Vec<String> = self.text.iter().map(|text| clean(text)).collect();
        let head = format!("UPDATER {} - ", self.state.word());
        let mut output = format!("{head}{}", shortened(&text, ROOM - head.len()));
        if !self.perf.is_empty() {
            output.push_str(" | ");
            output.push_str(&self.perf);
        }
        output.push('\n');
        for line in &self.details {
            output.push_str(clean(line).trim_end());
            output.push('\n');
        }
        output
    }
}

/// Makes text fit for a line of plugin output: no bar, nothing that ends a line or moves a cursor.
fn clean(text: &str) -> String {
    status::page::plain(text).replace('|', "/")
}

/// This joins reasons within `room` bytes: all in full; else each up to its first `": "`; else as many of these as fit
/// and the number of the others. One alone is cut where the room ends. Bytes, for some judges count those.
fn shortened(reasons: &[String], room: usize) -> String {
    let full = reasons.join("; ");
    if full.len() <= room {
        return full;
    }
    if let [only] = reasons {
        return cut(only, room);
    }
    let heads: Vec<&str> =
        reasons.iter().map(|reason| reason.split(": ").next().unwrap_or(reason)).collect();
    for kept in (1..=heads.len()).rev() {
        let others = match heads.len() - kept {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        let text = heads[..kept].join("; ") + &others;
        if text.len() <= room {
            return text;
        }
    }
    let others = format!(" (and {} more)", heads.len() - 1);
    cut(heads[0], room - others.len()) + &others
}

fn cut(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let end = (0..=room - 3).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}...", &text[..end])
}

static SPOKEN: AtomicBool = AtomicBool::new(false);

/// Says it and ends the program. Where another voice has begun to, this one is silent: that one ends the program.
pub fn speak(state: State, text: &str) -> ! {
    if SPOKEN.swap(true, Ordering::SeqCst) {
        loop {
            std::thread::park();
        }
    }
    write(text);
    exit(state.code().into());
}

/// For the watchdog, and for a panic: it says it and ends the program, and where another voice has begun and
/// has not finished (standard output is a full pipe), or has panicked, just ends it.
pub fn speak_dying(report: Report) -> ! {
    if !SPOKEN.swap(true, Ordering::SeqCst) {
        write(&report.print());
    }
    exit(report.state.code().into());
}

/// Writes past `Stdout` and its lock, which whoever has begun to speak may hold. What cannot be written is lost:
/// there is nobody to tell, and the exit code still says it.
fn write(text: &str) {
    if let Ok(stdout) = std::io::stdout().as_fd().try_clone_to_owned() {
        let _ = File::from(stdout).write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_line(state: State, reasons: &[&str]) -> String {
        let text = reasons.iter().map(|&reason| reason.to_owned()).collect();
        let report = Report { state, text, perf: "lag=0s".into(), details: vec![] };
        report.print().split(" | ").next().unwrap().to_owned()
    }

    #[test]
    fn the_first_line_is_that_of_the_interface() {
        let reasons = [
            "Solr unreachable for 312 s: http://solr1:8983/solr: connection refused",
            "lag 340 s: x.jsonl is not settled",
        ];
        assert_eq!(
            first_line(State::Critical, &reasons),
            "UPDATER CRITICAL - Solr unreachable for 312 s; lag 340 s"
        );
    }

    #[test]
    fn what_fits_is_said_in_full() {
        assert_eq!(
            first_line(State::Warning, &["lag 340 s: 12 deltas waiting"]),
            "UPDATER WARNING - lag 340 s: 12 deltas waiting"
        );
    }

    #[test]
    fn the_text_never_takes_more_than_its_room() {
        let long = "x".repeat(300);
        let wide = "ü".repeat(100);
        let many: Vec<&str> = ["running on the old configuration: why"; 9].to_vec();
        for reasons in
            [vec![long.as_str()], vec![&long, "b"], vec![&wide], vec!["a", &long, &wide], many]
        {
            let line = first_line(State::Critical, &reasons);
            assert!(line.len() <= ROOM, "{} {line}", line.len());
        }
        let two = [
            "a long reason of some sixty characters, or nearly that many: x",
            "another one: y",
            "third: z",
        ];
        let line = first_line(State::Warning, &two);
        assert_eq!(
            line,
            "UPDATER WARNING - a long reason of some sixty characters, or ne... (and 2 more)"
        );
        assert_eq!(first_line(State::Unknown, &[&long]).len(), ROOM);
    }

    #[test]
    fn no_message_can_pretend_to_be_performance_data_or_another_line() {
        let nasty = "a | lag=0s\nUPDATER OK\x1b[2J";
        let report = Report {
            perf: "q=1".into(),
            details: vec![nasty.into()],
            ..Report::new(State::Warning, nasty.into())
        };
        let output = report.print();
        assert_eq!(output.matches('|').count(), 1);
        assert_eq!(output.lines().count(), 2);
        assert!(
            output.starts_with("UPDATER WARNING - a / lag=0s?UPDATER OK?[2J | q=1\n"),
            "{output}"
        );
    }

    #[test]
    fn states_are_ordered_and_coded_as_the_guidelines_have_them() {
        assert!(
            State::Ok < State::Warning
                && State::Warning < State::Unknown
                && State::Unknown < State::Critical
        );
        assert_eq!(
            ["0", "1", "2", "3"].map(|code| State::parse(code).unwrap().word()),
            ["OK", "WARNING", "CRITICAL", "UNKNOWN"]
        );
        assert_eq!(State::parse("4"), None);
    }
}
