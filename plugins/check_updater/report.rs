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

/// This joins reasons within `room` bytes: all in full; else without the places that stand before the causes; else each
/// up to its first `": "`, and as much of its cause as there is room for where that says what is wrong but not how
/// much; else as many of these as fit, and the number of the others. One alone is cut where the room ends. Bytes, for
/// some judges count those.
fn shortened(reasons: &[String], room: usize) -> String {
    let causes: Vec<String> = reasons.iter().map(|reason| without_places(reason)).collect();
    for text in [reasons.join("; "), causes.join("; ")] {
        if text.len() <= room {
            return text;
        }
    }
    if let [only] = causes.as_slice() {
        return cut(only, room);
    }
    let heads: Vec<&str> = causes.iter().map(|cause| parts(cause, 1)).collect();
    for kept in (1..=heads.len()).rev() {
        let others = match heads.len() - kept {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        let text = heads[..kept].join("; ") + &others;
        if text.len() <= room {
            return with_causes(&heads[..kept], &causes, room - others.len()) + &others;
        }
    }
    let others = format!(" (and {} more)", heads.len() - 1);
    cut(heads[0], room - others.len()) + &others
}

/// The heads, and behind each that tells no figure its cause where all have room with it: `lag 340 s` is all there is
/// to know, `Solr takes nothing` is not.
fn with_causes(heads: &[&str], causes: &[String], room: usize) -> String {
    let mut told = heads.to_vec();
    for (n, cause) in causes.iter().enumerate().take(heads.len()) {
        if heads[n].bytes().any(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for longer in [cause, parts(cause, 2)] {
            let shorter = std::mem::replace(&mut told[n], longer);
            if told.join("; ").len() <= room {
                break;
            }
            told[n] = shorter;
        }
    }
    told.join("; ")
}

/// The first `n` of a text's parts, as `": "` parts it.
fn parts(text: &str, n: usize) -> &str {
    text.match_indices(": ").nth(n - 1).map_or(text, |(end, _)| &text[..end])
}

/// A reason without the URLs and paths that stand before its last part, as in `Solr unreachable for 312 s: URL:
/// connection refused`: the whole line may be no longer than some addresses, and it is the cause that is wanted in it.
fn without_places(reason: &str) -> String {
    let mut parts: Vec<&str> = reason.split(": ").collect();
    let last = parts.pop().unwrap_or_default();
    let mut kept: Vec<String> = parts.into_iter().map(words_of).collect();
    kept.push(last.to_owned());
    kept.retain(|part| !part.is_empty());
    kept.join(": ")
}

/// What is left of a part without its places and the prepositions before them.
fn words_of(part: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in part.split(' ') {
        if !(word.starts_with('/') || word.contains("://")) {
            words.push(word);
            continue;
        }
        while words
            .last()
            .is_some_and(|last| ["at", "in", "from", "into", "out", "of"].contains(last))
        {
            words.pop();
        }
    }
    words.join(" ")
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
    fn the_cause_is_said_before_the_place_where_there_is_no_room_for_both() {
        let solr = "http://solr1.example.com:8983/solr/offers_shard1_replica_n1";
        let config = "/etc/solr-updater/solr-updater.toml:12:9";
        let spool = "/var/spool/solr-updater";
        for (reason, line) in [
            (
                format!("Solr unreachable for 312 s: {solr}: connection refused"),
                "UPDATER CRITICAL - Solr unreachable for 312 s: connection refused",
            ),
            (
                format!(
                    "Solr takes nothing: {solr}: may not write (HTTP 403): give this user the right to update"
                ),
                "UPDATER CRITICAL - Solr takes nothing: may not write (HTTP 403): give this u...",
            ),
            (
                format!(
                    "Solr takes nothing: collection offers not found at {solr}: create it or set solr.collection"
                ),
                "UPDATER CRITICAL - Solr takes nothing: collection offers not found: create i...",
            ),
            (
                format!(
                    "running on the old configuration: {config}: workers.count = 0: need at least 1"
                ),
                "UPDATER CRITICAL - running on the old configuration: workers.count = 0: need...",
            ),
            (
                format!(
                    "no delta can be claimed: from {spool}/incoming into {spool}/active: Permission denied (os error 13)"
                ),
                "UPDATER CRITICAL - no delta can be claimed: Permission denied (os error 13)",
            ),
            // what stands behind the cause may well be cut
            (
                format!("12 lines rejected: in {spool}/rejected, with reasons and more"),
                "UPDATER CRITICAL - 12 lines rejected: in /var/spool/solr-updater/rejected, w...",
            ),
            (
                format!("{solr}/{solr}"),
                "UPDATER CRITICAL - http://solr1.example.com:8983/solr/offers_shard1_replica_...",
            ),
        ] {
            assert_eq!(first_line(State::Critical, &[&reason]), line);
        }
    }

    #[test]
    fn among_several_a_head_without_a_figure_brings_its_cause() {
        let lag = "lag 340 s: offers-2026-11-23.jsonl is not settled";
        let refused = "Solr takes nothing: http://solr1.example.com:8983/solr: may not write (HTTP 403): give this user \
                       the right to update";
        assert_eq!(
            first_line(State::Critical, &[refused, lag]),
            "UPDATER CRITICAL - Solr takes nothing: may not write (HTTP 403); lag 340 s"
        );
        let reload = "running on the old configuration: /etc/u.toml:12:9: workers.count = 0: need at least 1";
        assert_eq!(
            first_line(State::Critical, &[refused, reload, lag]),
            "UPDATER CRITICAL - Solr takes nothing: may not write (HTTP 403) (and 2 more)"
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
