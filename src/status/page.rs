//! The page for people, which `solr-updater status` prints: plain text of at most 80 columns, for somebody
//! woken at night who has five seconds. Top to bottom: is it well, what is it doing, how far behind is it, who
//! works, how fast, what was rejected, what of Solr. It colours nothing and asks nobody. Names and messages were
//! written by producers and by Solr, so they are cleaned before they reach a terminal.

use std::fmt::Write;

use crate::document::{Document, Health, Level, Reason, Severity, State, Worker, WorkerState};
use crate::health::code;

const WIDTH: usize = 80;
const LABEL: usize = 10;

/// Sets the document as a page, newline at the end included.
pub fn page(document: &Document) -> String {
    let mut page = Page { text: String::new() };
    well(&mut page, document);
    doing(&mut page, document);
    behind(&mut page, document);
    who(&mut page, document);
    how_much(&mut page, document);
    rejects(&mut page, document);
    solr(&mut page, document);
    parent(&mut page, document);
    page.text
}

/// Makes text fit to be shown: what could move a cursor, end a line or hide a word becomes `?`.
pub fn plain(text: &str) -> String {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || hides(c) { '?' } else { c }).collect()
}

/// Says how it is, a line for each reason, the worst first; for probes that show a line or two.
pub fn verdict(health: &Health) -> String {
    if health.reasons.is_empty() {
        return format!("{}\n", level(health.state));
    }
    let line = |reason: &Reason| {
        let since =
            reason.since.as_ref().map_or(String::new(), |since| format!(" (since {since})"));
        format!("{}: {}{since}\n", severity(reason.severity), plain(&reason.message))
    };
    health.reasons.iter().map(line).collect()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Ok => "OK: all is well",
        Level::Warning => "WARNING",
        Level::Critical => "CRITICAL",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    }
}

fn well(page: &mut Page, document: &Document) {
    let verdict = level(document.health.state);
    page.row("health", &format!("{verdict}, {}", document.time.replacen('T', " ", 1)));
    for reason in &document.health.reasons {
        let severity = severity(reason.severity);
        let since = reason
            .since
            .as_ref()
            .map_or(String::new(), |since| format!(" (since {})", moment(since, &document.time)));
        page.hanging(LABEL, severity, LABEL + 10, &format!("{}{since}", reason.message));
    }
}

fn doing(page: &mut Page, document: &Document) {
    let delivering = document.spool.active.as_ref().map(|active| {
        let mut text = active.name.clone();
        if let Some(percent) = active.percent() {
            let _ = write!(text, ", {percent} % of {}", bytes(active.bytes));
        }
        match active.eta_s {
            Some(eta) => {
                let _ = write!(text, ", ETA {}", took(eta));
            }
            None => text.push_str(", ETA unknown"),
        }
        match document.spool.active_files {
            0 | 1 => text,
            n => format!("{text}, and {} more", n - 1),
        }
    });
    let text = match (document.state, delivering) {
        (State::Running, Some(delta)) => match waits_for(document) {
            Some(whom) => format!("waiting for {whom}, with {delta}"),
            None => format!("delivering {delta}"),
        },
        (State::Running, None) => {
            format!("idle, waiting for deltas in {}/incoming", document.spool.dir)
        }
        (State::Paused, Some(delta)) => format!("paused, with {delta}"),
        (State::Paused, None) => "paused".to_owned(),
        (State::Holding, Some(delta)) => format!("holding since a delta failed, with {delta}"),
        (State::Holding, None) => "holding since a delta failed".to_owned(),
        (State::Draining, Some(delta)) => format!("stopping, with {delta}"),
        (State::Draining, None) => "stopping".to_owned(),
    };
    page.row("doing", &text);
}

/// What keeps a delta from being delivered, in a word: the health says why.
fn waits_for(document: &Document) -> Option<&'static str> {
    let is_why = |code: &str| document.health.reasons.iter().any(|reason| reason.code == code);
    let causes = [
        (code::SPOOL, "the spool"),
        (code::CONVERT, "the converter"),
        (code::SOLR, "Solr"),
        (code::WORKERS, "a worker"),
    ];
    let nobody_works = document.workers_alive() == 0;
    let may_be = |code: &str| code != code::WORKERS || nobody_works;
    causes.into_iter().find(|(code, _)| may_be(code) && is_why(code)).map(|(_, whom)| whom)
}

fn behind(page: &mut Page, document: &Document) {
    let waiting = match document.queue() {
        0 => "no delta waits".to_owned(),
        1 => format!("1 delta waits ({})", bytes(document.spool.incoming.bytes)),
        n => format!("{} deltas wait ({})", grouped(n), bytes(document.spool.incoming.bytes)),
    };
    let ignored = match document.spool.ignored {
        0 => String::new(),
        n => format!("; {} in incoming/ ignored", counted(n, "entry", "entries")),
    };
    page.row("behind", &format!("{waiting}, lag {}{ignored}", took(document.lag_s())));
}

fn who(page: &mut Page, document: &Document) {
    page.row("workers", &format!("{} of {} alive", document.workers_alive(), document.slots()));
    if document.workers.is_empty() {
        return;
    }
    page.line("     slot      pid state        heartbeat         docs  rejected  retries  open");
    for worker in &document.workers {
        page.line(&worker_row(worker));
    }
}

fn worker_row(worker: &Worker) -> String {
    let state = match worker.state {
        WorkerState::Idle => "idle",
        WorkerState::Converting => "converting",
        WorkerState::Posting => "posting",
        WorkerState::BackingOff => "backing off",
        WorkerState::Dead => "DEAD",
    };
    let pid = worker.pid.map_or("-".to_owned(), |pid| pid.to_string());
    let heartbeat = format!("{} ago", took(worker.heartbeat_age_s));
    let (docs, rejected, retries) =
        (grouped(worker.docs), grouped(worker.rejected), grouped(worker.retries));
    let in_flight = worker.in_flight;
    format!(
        "     {:>4} {pid:>8} {state:<11} {heartbeat:>10} {docs:>12} {rejected:>9} {retries:>8} {in_flight:>5}",
        worker.slot
    )
}

fn how_much(page: &mut Page, document: &Document) {
    let rates = &document.rates;
    page.row(
        "rate",
        &format!(
            "{} docs/s over 10 s, {} over 60 s",
            rate(rates.docs_per_s_10s),
            rate(rates.docs_per_s_60s)
        ),
    );
    let t = &document.totals;
    let mut text =
        format!("{}, {}", counted(t.deltas, "delta", "deltas"), counted(t.lines, "line", "lines"));
    for (n, one, many) in [
        (t.docs, "document", "documents"),
        (t.deletes, "delete", "deletes"),
        (t.skipped, "skipped", "skipped"),
        (t.rejected, "rejected", "rejected"),
        (t.superseded, "superseded", "superseded"),
        (t.duplicate_ids, "duplicate id", "duplicate ids"),
        (t.posts, "post", "posts"),
        (t.retries, "retry", "retries"),
        (t.worker_deaths, "worker death", "worker deaths"),
        (t.worker_hangs, "worker hang", "worker hangs"),
    ] {
        if n > 0 {
            let _ = write!(text, ", {}", counted(n, one, many));
        }
    }
    let _ = write!(text, "; {} read, {} posted", bytes(t.bytes_read), bytes(t.bytes_posted));
    page.row("totals", &text);
}

fn rejects(page: &mut Page, document: &Document) {
    let (rejected, failed) = (&document.spool.rejected, document.spool.failed);
    let text = match (rejected.lines, failed) {
        (0, 0) => "nothing".to_owned(),
        (0, _) => {
            let failed = counted(failed, "delta", "deltas");
            format!("no line, but {failed} failed: `solr-updater history` says why")
        }
        (lines, _) => {
            let lines = counted(lines, "line", "lines");
            let files = counted(rejected.files, "file", "files");
            let failed = if failed == 0 {
                String::new()
            } else {
                format!("; {} failed", counted(failed, "delta", "deltas"))
            };
            format!("{lines} in {files}{failed}: `solr-updater rejects` lists them")
        }
    };
    page.row("rejected", &text);
}

fn solr(page: &mut Page, document: &Document) {
    let solr = &document.solr;
    let reached = match solr.reachable {
        Some(true) => "reachable",
        Some(false) => "UNREACHABLE",
        None => "not asked yet",
    };
    let last = solr
        .last_ok_age_s
        .map_or(String::new(), |age| format!(", took something {} ago", took(age)));
    page.row("Solr", &format!("collection {}: {reached}{last}", solr.collection));
    let said = |error: &&String| {
        document.health.reasons.iter().any(|reason| reason.message.contains(error.as_str()))
    };
    if let Some(error) = solr.last_error.as_ref().filter(|error| !said(error)) {
        page.row("", error);
    }
    for (shard, leader) in &solr.leaders {
        page.row("", &format!("{shard} {leader}"));
    }
}

fn parent(page: &mut Page, document: &Document) {
    let (parent, monitor) = (&document.parent, &document.monitor);
    let mut text =
        format!("{}, pid {}, up {}", document.program, parent.pid, took(parent.uptime_s));
    let _ = write!(text, ", last heartbeat {} ago", took(parent.heartbeat_age_s));
    let _ = write!(
        text,
        "; monitor pid {}; generation {} of {}",
        monitor.pid, parent.generation, parent.config
    );
    page.row("daemon", &text);
}

/// The page so far.
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    fn row(&mut self, label: &str, text: &str) {
        self.hanging(0, label, LABEL, text);
    }

    /// Puts a label at `indent` and the text beside it from `column` on, in as many lines as it needs.
    fn hanging(&mut self, indent: usize, label: &str, column: usize, text: &str) {
        let mut head = format!("{:indent$}{label}", "");
        for line in wrapped(&plain(text), WIDTH - column) {
            self.line(&format!("{head:column$}{line}"));
            head.clear();
        }
    }
}

/// This breaks text into lines of at most `width` characters, at blanks, and in mid-word where a word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut room) = (String::new(), width);
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if !line.is_empty() {
            if rest.len() < room {
                line.push(' ');
                room -= 1;
            } else {
                lines.push(std::mem::take(&mut line));
                room = width;
            }
        }
        while rest.len() > room {
            let tail = rest.split_off(room);
            line.extend(rest);
            lines.push(std::mem::take(&mut line));
            (rest, room) = (tail, width);
        }
        room -= rest.len();
        line.extend(rest);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// A moment as short as it can be: without its date where that is today's.
fn moment(then: &str, now: &str) -> String {
    match (then.split_once('T'), now.split_once('T')) {
        (Some((day, time)), Some((today, _))) if day == today => time.to_owned(),
        _ => then.replacen('T', " ", 1),
    }
}

/// A time span in the two largest units that matter.
fn took(seconds: f64) -> String {
    let s = seconds as u64;
    match s {
        0..10 if seconds.fract() >= 0.05 => format!("{seconds:.1} s"),
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

fn rate(per_s: f64) -> String {
    if per_s >= 100.0 { grouped(per_s as u64) } else { format!("{per_s:.1}") }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// A number with a comma between each three digits.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
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
    use crate::document::{Active, Health, Thresholds};
    use crate::health::{Memory, health};

    fn well() -> Document {
        crate::answer::tests::canned()
    }

    /// A bad night: Solr away, a delta stuck, a worker dead, a reload refused.
    fn unwell() -> Document {
        let mut d = well();
        d.spool.active = Some(Active {
            name: "offers-2026-11-23T05.jsonl.zst".into(),
            bytes: 1_288_490_188,
            bytes_done: 554_050_781,
            age_s: 340.0,
            eta_s: None,
        });
        d.spool.active_files = 1;
        d.spool.incoming.files = 3;
        d.spool.incoming.bytes = 125_829_120;
        d.spool.incoming.oldest_age_s = Some(200.0);
        d.spool.ignored = 1;
        d.spool.failed = 1;
        d.spool.rejected.files = 1;
        d.spool.rejected.lines = 12;
        d.solr.reachable = Some(false);
        d.solr.last_ok_age_s = Some(312.0);
        d.solr.last_error = Some(
            "http://127.0.0.1:8983/solr/offers_shard1_replica_n1/update: connection refused".into(),
        );
        d.parent.last_reload_error = Some(
            "/etc/solr-updater/solr-updater.toml:12:9: workers.count = 0: need at least 1".into(),
        );
        d.workers[0].state = WorkerState::BackingOff;
        d.workers[1].state = WorkerState::Posting;
        d.workers[1].in_flight = 2;
        d.workers[2].state = WorkerState::Dead;
        d.workers[2].pid = None;
        d.totals.rejected = 12;
        d.totals.retries = 31;
        d.totals.worker_deaths = 1;
        let mut reasons = health(&d, &Thresholds::default());
        Memory::default().remember(&mut reasons, "2026-11-23T05:31:32Z");
        d.health = Health::new(reasons, Thresholds::default());
        d
    }

    #[test]
    fn a_page_of_a_daemon_that_is_well() {
        assert_eq!(page(&well()), include_str!("canned/well.txt"));
    }

    #[test]
    fn a_page_of_a_bad_night() {
        assert_eq!(page(&unwell()), include_str!("canned/unwell.txt"));
    }

    #[test]
    fn a_verdict_is_a_line_for_each_reason_the_worst_first() {
        assert_eq!(verdict(&well().health), "OK: all is well\n");
        let verdict = verdict(&unwell().health);
        let first = "CRITICAL: Solr unreachable for 312 s";
        assert!(verdict.starts_with(first), "{verdict}");
        assert!(verdict.ends_with(" (since 2026-11-23T05:31:32Z)\n"), "{verdict}");
        assert!(verdict.lines().any(|line| line.starts_with("WARNING: ")), "{verdict}");
    }

    #[test]
    fn what_a_delta_waits_for_is_said_where_it_is_said_what_is_done() {
        let doing = |change: &dyn Fn(&mut Document)| {
            let mut d = unwell();
            d.health = Health::new(Vec::new(), Thresholds::default());
            change(&mut d);
            let page = page(&d);
            page.lines().find_map(|line| line.strip_prefix("doing     ")).unwrap().to_owned()
        };
        let because = |code: &'static str| {
            move |d: &mut Document| {
                d.health.reasons = vec![crate::Reason::new(code, Severity::Critical, "so")]
            }
        };
        assert!(doing(&|_| ()).starts_with("delivering offers-"));
        assert!(doing(&because(code::LAG)).starts_with("delivering offers-"));
        assert!(
            doing(&because(code::WORKERS)).starts_with("delivering offers-"),
            "two of four work"
        );
        assert!(doing(&because(code::SOLR)).starts_with("waiting for Solr, with offers-"));
        assert!(doing(&because(code::SPOOL)).starts_with("waiting for the spool, with offers-"));
        assert!(doing(&because(code::CONVERT)).starts_with("waiting for the converter, with "));
        let dead = |d: &mut Document| {
            because(code::WORKERS)(d);
            d.workers.iter_mut().for_each(|worker| worker.state = WorkerState::Dead);
        };
        assert!(doing(&dead).starts_with("waiting for a worker, with offers-"));
        let paused = |d: &mut Document| {
            because(code::SOLR)(d);
            d.state = State::Paused;
        };
        assert!(doing(&paused).starts_with("paused, with offers-"));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_whatever_the_numbers() {
        let mut d = unwell();
        d.solr.last_error = Some("x".repeat(500));
        d.spool.active.as_mut().unwrap().name = "ü".repeat(255);
        for worker in &mut d.workers {
            worker.slot = 1023;
            worker.pid = Some(4_194_304);
            worker.docs = 9_999_999_999;
            worker.rejected = 9_999_999;
            worker.retries = 999_999;
            worker.in_flight = 64;
            worker.heartbeat_age_s = 119.0;
        }
        for line in page(&d).lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn a_delta_cannot_write_to_the_terminal() {
        let mut d = unwell();
        d.spool.active.as_mut().unwrap().name = "\x1b[2Jall is well\r\n\u{202e}.jsonl".into();
        let page = page(&d);
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page}");
        assert!(page.contains("waiting for Solr, with ?[2Jall is well???.jsonl, 43 %"), "{page}");
    }

    #[test]
    fn a_moment_of_another_day_has_its_date() {
        let now = "2026-11-23T05:36:44Z";
        assert_eq!(moment("2026-11-23T05:31:32Z", now), "05:31:32Z");
        assert_eq!(moment("2026-11-22T23:31:32Z", now), "2026-11-22 23:31:32Z");
        assert_eq!(moment("?", ""), "?");
    }

    #[test]
    fn spans_sizes_and_numbers_are_what_people_say() {
        let spans = [0.0, 0.26, 9.04, 95.9, 120.0, 7_199.0, 18_720.0, 273_600.0].map(took);
        assert_eq!(
            spans,
            ["0 s", "0.3 s", "9 s", "95 s", "2 min", "119 min", "5 h 12 min", "3 d 4 h"]
        );
        let sizes = [0, 1023, 1024, 1_048_575, 1_288_490_188, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.2 GiB", "16.0 EiB"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn text_breaks_at_blanks_and_in_words_that_are_too_long() {
        assert_eq!(wrapped("a bc def", 5), ["a bc", "def"]);
        assert_eq!(wrapped("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
        assert_eq!(wrapped("abcd e", 5), ["abcd", "e"]);
        assert_eq!(wrapped("abc e", 5), ["abc e"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
