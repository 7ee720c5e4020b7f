//! The verdict: the worst of the daemon's own health and the thresholds given, in words and in performance data.
//! What both say of the same thing is said once, by whoever takes it more seriously, and by the daemon where they agree,
//! for it knows why.

use status::{Document, Level, Severity};

use crate::ask::Reply;
use crate::metric::{Metric, number};
use crate::options::Options;
use crate::report::{Report, State};

/// One thing found.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    state: State,
    code: String,
    text: String,
    since: Option<String>,
}

/// Judges what the daemon answered by what was wished for.
pub fn judge(reply: &Reply, options: &Options) -> Report {
    let document = &reply.document;
    let mut findings = daemons_own(document);
    for metric in Metric::ALL {
        if let Some(finding) = held_against(metric, document, options) {
            add(&mut findings, finding);
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.state)); // stable: what the daemon put first stays so
    let state = findings.first().map_or(State::Ok, |worst| worst.state);
    let text = match findings.as_slice() {
        [] => vec![all_well(document)],
        _ => findings.iter().map(|finding| finding.text.clone()).collect(),
    };
    Report {
        state,
        text,
        perf: perf(document, options),
        details: details(reply, options, &findings),
    }
}

fn daemons_own(document: &Document) -> Vec<Finding> {
    let health = &document.health;
    let mut findings: Vec<Finding> = health
        .reasons
        .iter()
        .map(|reason| Finding {
            state: match reason.severity {
                Severity::Warning => State::Warning,
                Severity::Critical => State::Critical,
            },
            code: reason.code.clone(),
            text: reason.message.clone(),
            since: reason.since.clone(),
        })
        .collect();
    let state = match health.state {
        Level::Ok => State::Ok,
        Level::Warning => State::Warning,
        Level::Critical => State::Critical,
    };
    if findings.iter().all(|finding| finding.state < state) {
        let text = "the daemon is not well and gives no reason".to_owned();
        findings.push(Finding { state, code: "health".to_owned(), text, since: None });
    }
    findings.retain(|finding| finding.state > State::Ok);
    findings
}

fn held_against(metric: Metric, document: &Document, options: &Options) -> Option<Finding> {
    let given = options.pair(metric);
    if given.warning.is_none() && given.critical.is_none() {
        return None;
    }
    let finding =
        |state, text| Some(Finding { state, code: metric.code().to_owned(), text, since: None });
    let Some(value) = metric.value(document) else {
        return finding(State::Unknown, format!("{} is not known", metric.name()));
    };
    for (state, level, range) in [
        (State::Critical, "critical", &given.critical),
        (State::Warning, "warning", &given.warning),
    ] {
        if let Some(range) = range.as_ref().filter(|range| range.alerts(value)) {
            return finding(
                state,
                format!("{}: {} the {level} range {range}", metric.words(value), range.side()),
            );
        }
    }
    None
}

/// This adds a finding, unless one about the same thing is at least as bad; what is less bad gives way.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    if findings.iter().any(|other| other.code == finding.code && other.state >= finding.state) {
        return;
    }
    findings.retain(|other| other.code != finding.code);
    findings.push(finding);
}

fn all_well(document: &Document) -> String {
    let (alive, slots) = (document.workers_alive(), document.slots());
    let lag = number(document.lag_s().floor());
    let state = match document.state {
        status::State::Running => "",
        status::State::Paused => ", paused",
        status::State::Holding => ", holding",
        status::State::Draining => ", stopping",
    };
    format!("{alive} of {slots} workers, queue {}, lag {lag} s{state}", document.queue())
}

/// The performance data: what thresholds can be held against that counts now, then counters, then the rest. The
/// daemon's own thresholds stand where none are given.
fn perf(document: &Document, options: &Options) -> String {
    let mut items = Vec::new();
    let mut metric = |metric: Metric| {
        let Some(value) = metric.value(document) else { return };
        let (own, given) = (own_thresholds(metric, document), options.pair(metric));
        let warning = given.warning.as_ref().map_or(own.0, ToString::to_string);
        let critical = given.critical.as_ref().map_or(own.1, ToString::to_string);
        let most =
            if metric == Metric::Workers { document.slots().to_string() } else { String::new() };
        let item = format!(
            "{}={}{};{warning};{critical};0;{most}",
            metric.label(),
            number(value),
            metric.unit()
        );
        items.push(item.trim_end_matches(';').to_owned());
    };
    for now in [Metric::Lag, Metric::Queue, Metric::Rejected, Metric::Failed, Metric::Workers] {
        metric(now);
    }
    let totals = &document.totals;
    let counters = [
        ("docs", totals.docs),
        ("deletes", totals.deletes),
        ("lines", totals.lines),
        ("deltas", totals.deltas),
        ("skipped", totals.skipped),
        ("rejects", totals.rejected),
        ("retries", totals.retries),
        ("deaths", totals.worker_deaths),
        ("hangs", totals.worker_hangs),
    ];
    let mut rest: Vec<String> =
        counters.iter().map(|(label, count)| format!("{label}={count}c")).collect();
    metric(Metric::DocsRate);
    metric(Metric::SolrAge);
    let tail = items.split_off(items.len().min(5));
    items.append(&mut rest);
    items.extend(tail);
    items.push(format!("queue_bytes={}B;;;0", document.spool.incoming.bytes));
    items.push(format!("uptime={}s;;;0", number(document.parent.uptime_s.floor())));
    items.join(" ")
}

/// These are the daemon's own warning and critical for a metric, as ranges; empty where it has none. It counts lines
/// *from* its limit on, a range alerts *above* its end: hence the one less.
fn own_thresholds(metric: Metric, document: &Document) -> (String, String) {
    let own = &document.health.thresholds;
    let seconds = |limit: Option<f64>| limit.map_or(String::new(), number);
    let lines = |limit: Option<u64>| {
        limit.and_then(|limit| limit.checked_sub(1)).map_or(String::new(), |end| end.to_string())
    };
    match metric {
        Metric::Lag => (seconds(own.lag.warning), seconds(own.lag.critical)),
        Metric::SolrAge => (seconds(own.solr.warning), seconds(own.solr.critical)),
        Metric::Rejected => (lines(own.rejected.warning), lines(own.rejected.critical)),
        Metric::Queue | Metric::Failed | Metric::Workers | Metric::DocsRate => {
            (String::new(), String::new())
        }
    }
}

fn details(reply: &Reply, options: &Options, findings: &[Finding]) -> Vec<String> {
    let document = &reply.document;
    let mut lines = Vec::new();
    if options.verbose >= 1 {
        for finding in findings {
            let since =
                finding.since.as_ref().map_or(String::new(), |since| format!(" (since {since})"));
            lines.push(format!("\\_[{}] {}{since}", finding.state.word(), finding.text));
        }
        for metric in Metric::ALL {
            let found = findings.iter().any(|finding| finding.code == metric.code());
            if let Some(value) = metric.value(document).filter(|_| !found) {
                lines.push(format!("\\_[OK] {}", metric.words(value)));
            }
        }
    }
    if options.verbose >= 2 {
        lines.extend(status::page(document).lines().map(str::to_owned));
        lines.extend(Metric::ALL.iter().filter_map(|&metric| in_force(metric, document, options)));
    }
    if options.verbose >= 3 {
        let ms = |span: std::time::Duration| number(span.as_secs_f64() * 1000.0);
        let (connecting, answering) = (ms(reply.connecting), ms(reply.answering));
        let socket = options.socket.display();
        lines.push(format!(
            "asked {socket}: connected in {connecting} ms, {} bytes in {answering} ms",
            reply.bytes
        ));
        let (version, timeout) = (document.version, options.timeout);
        let after = number(timeout.after.as_secs_f64());
        lines.push(format!(
            "status document version {version}; timeout {after} s, then {}",
            timeout.state.word()
        ));
    }
    lines
}

/// Which thresholds hold for a metric, and whose they are.
fn in_force(metric: Metric, document: &Document, options: &Options) -> Option<String> {
    let given = options.pair(metric);
    let own = own_thresholds(metric, document);
    let level = |name: &str, own: String, given: &Option<crate::range::Range>| {
        let own = (!own.is_empty()).then(|| format!("{name} {own} (daemon)"));
        let given = given.as_ref().map(|range| format!("{name} {range} (option)"));
        [own, given].into_iter().flatten().collect::<Vec<_>>()
    };
    let levels =
        [level("warning", own.0, &given.warning), level("critical", own.1, &given.critical)]
            .concat();
    (!levels.is_empty()).then(|| format!("thresholds for {}: {}", metric.name(), levels.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use status::{Answer, Health, Reason, Thresholds, health};

    use super::*;

    fn well() -> Document {
        match Answer::parse(include_bytes!("../../src/status/canned/well.json")) {
            Ok(Answer::Status(document)) => *document,
            other => panic!("{other:?}"),
        }
    }

    fn report(document: Document, arguments: &[&str]) -> Report {
        let arguments =
            std::iter::once("check_updater").chain(arguments.iter().copied()).map(OsString::from);
        let options = crate::options::parse(arguments).unwrap();
        let reply = Reply {
            document,
            bytes: 3,
            connecting: Duration::from_micros(50),
            answering: Duration::from_millis(1),
        };
        judge(&reply, &options)
    }

    /// The first line before the bar, of a daemon that was well before `change` and judges itself after it.
    fn says(change: impl FnOnce(&mut Document), arguments: &[&str]) -> String {
        let mut document = well();
        change(&mut document);
        let reasons = health(&document, &Thresholds::default());
        document.health = Health::new(reasons, Thresholds::default());
        report(document, arguments).print().split(" | ").next().unwrap().to_owned()
    }

    fn lag(seconds: f64) -> impl FnOnce(&mut Document) {
        move |document| {
            document.spool.incoming.files = 2;
            document.spool.incoming.oldest_age_s = Some(seconds);
        }
    }

    #[test]
    fn a_daemon_that_is_well_reads_as_the_interface_shows_it() {
        let output = report(well(), &[]).print();
        let line = "UPDATER OK - 4 of 4 workers, queue 0, lag 0 s \
                    | lag=0s;300;1800;0 queue=0;;;0 rejected=0;0;999;0 failed=0;;;0 workers=4;;;0;4 docs=123456c \
                    deletes=0c lines=123456c deltas=1c skipped=0c rejects=0c retries=0c deaths=0c hangs=0c \
                    docs_rate=2057.6;;;0 solr_age=0s;15;60;0 queue_bytes=0B;;;0 uptime=3600s;;;0\n";
        assert_eq!(output, line);
    }

    #[test]
    fn the_state_is_the_worst_of_the_daemons_and_the_thresholds() {
        assert_eq!(
            says(lag(10.0), &["-w", "20"]),
            "UPDATER OK - 4 of 4 workers, queue 2, lag 10 s"
        );
        assert_eq!(
            says(lag(20.9), &["-w", "20"]),
            "UPDATER OK - 4 of 4 workers, queue 2, lag 20 s"
        );
        assert_eq!(
            says(lag(30.0), &["-w", "20"]),
            "UPDATER WARNING - lag 30 s: outside the warning range 20"
        );
        assert_eq!(
            says(lag(30.0), &["-w", "20", "-c", "@25:35"]),
            "UPDATER CRITICAL - lag 30 s: inside the critical range @25:35"
        );
        assert_eq!(
            says(lag(400.0), &["-w", "20"]),
            "UPDATER WARNING - lag 400 s: 2 deltas waiting",
            "said once"
        );
        assert_eq!(
            says(lag(400.0), &["-c", "20"]),
            "UPDATER CRITICAL - lag 400 s: outside the critical range 20"
        );
        assert_eq!(
            says(lag(1900.0), &["-w", "5000", "-c", "~:"]),
            "UPDATER CRITICAL - lag 1900 s: 2 deltas waiting",
            "never better"
        );
    }

    #[test]
    fn every_metric_has_its_thresholds() {
        let change = |d: &mut Document| {
            d.spool.incoming.files = 7;
            d.spool.rejected.lines = 5;
            d.spool.failed = 2;
            d.workers[0].in_flight = 1;
        };
        for (option, says_so) in [
            ("--queue-critical=6", "queue 7"),
            ("--rejected-critical=4", "rejected lines 5"),
            ("--failed-critical=1", "failed deltas 2"),
            ("--workers-critical=5:", "workers alive 4"),
            ("--solr-age-critical=10", "no answer from Solr for 12 s"),
            ("--docs-rate-critical=3000:", "2057.6 docs/s"),
        ] {
            let line = says(change, &[option]);
            assert!(line.starts_with(&format!("UPDATER CRITICAL - {says_so}")), "{line}");
        }
    }

    #[test]
    fn a_threshold_on_what_is_not_known_is_unknown_and_the_value_left_out() {
        let unasked = |d: &mut Document| {
            d.workers[0].in_flight = 1;
            d.solr.last_ok_age_s = None;
        };
        assert_eq!(
            says(unasked, &["--solr-age-warning", "10"]),
            "UPDATER UNKNOWN - solr-age is not known"
        );
        assert_eq!(says(unasked, &[]), "UPDATER OK - 4 of 4 workers, queue 0, lag 0 s");
        let mut document = well();
        unasked(&mut document);
        assert!(!report(document, &[]).perf.contains("solr_age"));
        let worse = |d: &mut Document| {
            unasked(d);
            d.parent.threads = Some(2);
        };
        assert!(
            says(worse, &["--solr-age-warning", "10"])
                .starts_with("UPDATER CRITICAL - the parent has 2 threads")
        );
    }

    #[test]
    fn a_refused_reload_and_a_parent_that_stands_still_are_told() {
        let refused =
            says(|d| d.parent.last_reload_error = Some("u.toml:3:1: unknown key".into()), &[]);
        assert_eq!(
            refused,
            "UPDATER WARNING - running on the old configuration: u.toml:3:1: unknown key"
        );
        let still = says(|d| d.parent.heartbeat_age_s = 75.0, &[]);
        assert_eq!(
            still,
            "UPDATER CRITICAL - the parent has given no sign of life for 75 s: pid 4711"
        );
    }

    #[test]
    fn a_reason_this_plugin_has_never_heard_of_counts() {
        let mut document = well();
        let reason = Reason::new("volcano", Severity::Critical, "lava in the rack | run");
        document.health = Health::new(vec![reason], Thresholds::default());
        assert!(
            report(document.clone(), &[])
                .print()
                .starts_with("UPDATER CRITICAL - lava in the rack / run | lag")
        );
        document.health.reasons.clear();
        assert!(
            report(document, &[])
                .print()
                .starts_with("UPDATER CRITICAL - the daemon is not well and gives no reason |")
        );
    }

    #[test]
    fn options_stand_in_the_performance_data_and_a_limit_switched_off_does_not() {
        let mut document = well();
        document.health.thresholds.lag.critical = None;
        let perf = report(
            document,
            &["-w", "@10:20", "--workers-critical", "1:", "--rejected-warning", "5"],
        )
        .perf;
        assert!(perf.starts_with("lag=0s;@10:20;;0 queue=0;;;0 rejected=0;5;999;0 failed=0;;;0 workers=4;;1:;0;4 docs="), "{perf}");
    }

    #[test]
    fn each_v_says_more_and_none_changes_the_first_line() {
        let mut document = well();
        document.parent.last_reload_error = Some("a|b".into());
        document.health =
            Health::new(health(&document, &Thresholds::default()), Thresholds::default());
        let output = |arguments: &[&str]| report(document.clone(), arguments).print();
        let (quiet, v, vv, vvv) =
            (output(&[]), output(&["-v"]), output(&["-vv", "-w9"]), output(&["-vvv"]));
        assert_eq!(quiet.lines().count(), 1);
        assert_eq!(v.lines().next(), quiet.lines().next());
        assert_eq!(v.lines().nth(1), Some("\\_[WARNING] running on the old configuration: a/b"));
        assert_eq!(v.lines().nth(2), Some("\\_[OK] lag 0 s"));
        assert!(vv.contains("\nworkers   4 of 4 alive\n"), "{vv}");
        assert!(vv.contains("\nthresholds for lag: warning 300 (daemon), warning 9 (option), critical 1800 (daemon)\n"), "{vv}");
        assert!(
            vvv.contains(
                "\nasked /run/solr-updater/status.sock: connected in 0.05 ms, 3 bytes in 1 ms\n"
            ),
            "{vvv}"
        );
        assert_eq!(vvv.matches('|').count(), 1);
    }
}
