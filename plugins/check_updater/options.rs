//! The command line. lexopt takes it apart; the help is written by hand, because an administrator works from it
//! and it must fit 80 columns. Whatever is wrong with it is UNKNOWN on standard output: what most programs do with
//! misuse, exit code 2 and standard error, would be CRITICAL and unseen.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

use crate::metric::Metric;
use crate::range::{Range, decimal};
use crate::report::{Report, State};

/// Where the daemon answers unless told otherwise.
pub const SOCKET: &str = "/run/solr-updater/status.sock";

const VERSION: &str = env!("CARGO_PKG_VERSION");

const USAGE: &str = "\
Usage: check_updater [-s SOCKET] [-t N[:STATE]] [-v...] [-w RANGE] [-c RANGE]
                     [--NAME-warning RANGE] [--NAME-critical RANGE]
NAME: lag (-w and -c for short), queue, rejected, failed, workers, solr-age,
      docs-rate
RANGE: [@][start:][end], as in 10, 10:, ~:10, 10:20, @10:20
Try check_updater --help.";

const HELP: &str = "\
Asks solr-updater's status socket how deltas flow into Solr.

Usage: check_updater [-s SOCKET] [-t N[:STATE]] [-v...] [-w RANGE] [-c RANGE]
                     [--NAME-warning RANGE] [--NAME-critical RANGE]

Without thresholds the state is the daemon's own, by the [health] table of its
configuration. Thresholds given here can make it worse, never better.

  -s, --socket PATH          status socket [/run/solr-updater/status.sock]
  -t, --timeout N[:STATE]    give up after N seconds, the whole run, with STATE
                             ok, warning, critical, unknown or 0 to 3
                             [10:unknown]
  -v, --verbose              -v every finding in full, -vv the status page and
                             thresholds too, -vvv also how the asking went
  -V, --version              print the version
  -h, --help                 print this

  -w, --lag-warning RANGE    seconds since the oldest delta that is not settled
  -c, --lag-critical RANGE   was first seen
  --queue-warning RANGE      deltas that wait in incoming/
  --queue-critical RANGE
  --rejected-warning RANGE   lines in rejected/
  --rejected-critical RANGE
  --failed-warning RANGE     deltas in failed/
  --failed-critical RANGE
  --workers-warning RANGE    workers alive
  --workers-critical RANGE
  --solr-age-warning RANGE   seconds without an answer from Solr while one is
  --solr-age-critical RANGE  waited for, else 0
  --docs-rate-warning RANGE  documents per second over the last minute: 0 also
  --docs-rate-critical RANGE where there is nothing to deliver

A RANGE alerts on what is outside it, both ends being inside:
  10      below 0 or above 10          10:     below 10
  ~:10    above 10                     10:20   below 10 or above 20
  @10:20  from 10 to 20

Exit: 0 OK, 1 WARNING, 2 CRITICAL (also: nobody answers at the socket),
3 UNKNOWN (no permission, an answer that cannot be read, a wrong option, the
timeout); the worst counts, in the order OK, WARNING, UNKNOWN, CRITICAL.

  check_updater
  check_updater -w 120 -c 600 --queue-warning 50 --workers-critical 1:
";

/// What was wished for.
#[derive(Debug)]
pub struct Options {
    /// The status socket.
    pub socket: PathBuf,
    /// For the whole run.
    pub timeout: Timeout,
    /// How often `-v` was given.
    pub verbose: u8,
    thresholds: [Pair; Metric::ALL.len()],
}

/// How long the run may last, and what it means when it lasts longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeout {
    /// From the start of the program.
    pub after: Duration,
    /// The state then.
    pub state: State,
}

/// These are the thresholds given for one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// Its `--…-warning`.
    pub warning: Option<Range>,
    /// Its `--…-critical`.
    pub critical: Option<Range>,
}

/// What is to be said instead of a check.
#[derive(Debug)]
pub enum Instead {
    /// Help or the version: as it stands.
    Text(String),
    /// What is wrong with the command line.
    Misuse(Report),
}

impl Options {
    /// These are the thresholds given for a metric.
    pub fn pair(&self, metric: Metric) -> &Pair {
        &self.thresholds[metric as usize]
    }
}

/// One of a metric's two options.
#[derive(Clone, Copy)]
enum Level {
    Warning,
    Critical,
}

/// Takes the command line apart; the first argument is the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, Instead> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut parser = Parser::from_iter(arguments);
    let (mut socket, mut timeout, mut verbose) = (None, None, 0_u8);
    let mut thresholds: [Pair; Metric::ALL.len()] = Default::default();
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Short('h') | Long("help") => return Err(Instead::Text(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Err(Instead::Text(format!("check_updater {VERSION}\n")));
            }
            Short('v') | Long("verbose") => verbose = verbose.saturating_add(1),
            Short('s') | Long("socket") => once(&mut socket, "socket", path(&mut parser)?)?,
            Short('t') | Long("timeout") => once(&mut timeout, "timeout", limit(&mut parser)?)?,
            Short('w') => take(&mut thresholds, Metric::Lag, Level::Warning, &mut parser)?,
            Short('c') => take(&mut thresholds, Metric::Lag, Level::Critical, &mut parser)?,
            Long(name) => match threshold(name) {
                Some((metric, level)) => take(&mut thresholds, metric, level, &mut parser)?,
                None => return Err(wrong(Long(name).unexpected())),
            },
            other @ (Short(_) | Value(_)) => return Err(wrong(other.unexpected())),
        }
    }
    let ten_seconds = Timeout { after: Duration::from_secs(10), state: State::Unknown };
    Ok(Options {
        socket: socket.unwrap_or_else(|| SOCKET.into()),
        timeout: timeout.unwrap_or(ten_seconds),
        verbose,
        thresholds,
    })
}

/// Which metric's option this is, and which of its two.
fn threshold(name: &str) -> Option<(Metric, Level)> {
    Metric::ALL.into_iter().find_map(|metric| match metric.options() {
        [warning, _] if warning == name => Some((metric, Level::Warning)),
        [_, critical] if critical == name => Some((metric, Level::Critical)),
        _ => None,
    })
}

/// This keeps an option's value. Given twice, one of the two would not count, and nobody would say which.
fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Instead> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(misuse(&format!("--{name} is given twice"))),
    }
}

fn path(parser: &mut Parser) -> Result<PathBuf, Instead> {
    let path = parser.value().map_err(wrong)?;
    if path.is_empty() { Err(misuse("--socket: need a path")) } else { Ok(path.into()) }
}

fn limit(parser: &mut Parser) -> Result<Timeout, Instead> {
    let text = text(parser)?;
    read_timeout(&text).ok_or_else(|| {
        misuse(&format!("--timeout {text}: need N or N:STATE, as in 10 or 10:critical"))
    })
}

fn take(
    thresholds: &mut [Pair],
    metric: Metric,
    level: Level,
    parser: &mut Parser,
) -> Result<(), Instead> {
    let ([warning, critical], pair) = (metric.options(), &mut thresholds[metric as usize]);
    let (name, place) = match level {
        Level::Warning => (warning, &mut pair.warning),
        Level::Critical => (critical, &mut pair.critical),
    };
    let text = text(parser)?;
    let range = Range::parse(&text).map_err(|why| misuse(&format!("--{name} {text}: {why}")))?;
    once(place, name, range)
}

fn text(parser: &mut Parser) -> Result<String, Instead> {
    parser.value().and_then(|value| value.into_string().map_err(Into::into)).map_err(wrong)
}

fn wrong(error: lexopt::Error) -> Instead {
    misuse(&error.to_string())
}

fn misuse(what: &str) -> Instead {
    let usage = USAGE.lines().map(str::to_owned).collect();
    Instead::Misuse(Report { details: usage, ..Report::new(State::Unknown, what.to_owned()) })
}

/// Reads `N[:STATE]`: seconds, more than none and at most a day.
fn read_timeout(text: &str) -> Option<Timeout> {
    let (seconds, state) = match text.split_once(':') {
        Some((seconds, state)) => (seconds, State::parse(state)?),
        None => (text, State::Unknown),
    };
    let seconds = decimal(seconds).filter(|&seconds| seconds > 0.0 && seconds <= 86_400.0)?;
    Some(Timeout { after: Duration::try_from_secs_f64(seconds).ok()?, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Result<Options, Instead> {
        parse(std::iter::once("check_updater").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn complaint(arguments: &[&str]) -> String {
        match given(arguments) {
            Err(Instead::Misuse(report)) => report.print(),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn without_options_the_defaults_hold() {
        let options = given(&[]).unwrap();
        assert_eq!(options.socket, PathBuf::from(SOCKET));
        assert_eq!(
            options.timeout,
            Timeout { after: Duration::from_secs(10), state: State::Unknown }
        );
        assert_eq!(options.verbose, 0);
        assert!(Metric::ALL.iter().all(|&metric| *options.pair(metric) == Pair::default()));
    }

    #[test]
    fn every_way_to_write_an_option_is_understood() {
        let options = given(&[
            "-vv",
            "-s/x/y",
            "-t5:CRITICAL",
            "-w",
            "-5:10",
            "-c=20",
            "--queue-warning=@1:2",
            "-v",
        ])
        .unwrap();
        assert_eq!(options.socket, PathBuf::from("/x/y"));
        assert_eq!(
            options.timeout,
            Timeout { after: Duration::from_secs(5), state: State::Critical }
        );
        assert_eq!(options.verbose, 3);
        let range = |text| Some(Range::parse(text).unwrap());
        assert_eq!(
            *options.pair(Metric::Lag),
            Pair { warning: range("-5:10"), critical: range("20") }
        );
        assert_eq!(*options.pair(Metric::Queue), Pair { warning: range("@1:2"), critical: None });
    }

    #[test]
    fn a_timeout_is_seconds_and_perhaps_a_state() {
        let state = |text| read_timeout(text).map(|timeout| timeout.state);
        for (text, means) in [
            ("3", State::Unknown),
            ("3:ok", State::Ok),
            ("0.5:Warning", State::Warning),
            ("3:2", State::Critical),
        ] {
            assert_eq!(state(text), Some(means), "{text}");
        }
        for text in [
            "", "0", "-1", "ten", "10s", "10:", ":2", "10:4", "10:bad", "10:2:1", "1e3", "86401",
            "nan",
        ] {
            assert_eq!(state(text), None, "{text}");
        }
    }

    #[test]
    fn misuse_says_what_is_wrong_and_how_it_is_used() {
        let first = |arguments| complaint(arguments).lines().next().unwrap().to_owned();
        assert_eq!(
            first(&["-w", "20:10"]),
            "UPDATER UNKNOWN - --lag-warning 20:10: its start is above its end"
        );
        assert_eq!(first(&["--nonsense"]), "UPDATER UNKNOWN - invalid option '--nonsense'");
        assert_eq!(first(&["stray"]), "UPDATER UNKNOWN - unexpected argument \"stray\"");
        assert_eq!(first(&["-x"]), "UPDATER UNKNOWN - invalid option '-x'");
        assert_eq!(
            first(&["-w", "1", "--lag-warning", "2"]),
            "UPDATER UNKNOWN - --lag-warning is given twice"
        );
        assert_eq!(first(&["-c"]), "UPDATER UNKNOWN - missing argument for option '-c'");
        for arguments in [
            &["-w"] as &[&str],
            &["-s", ""],
            &["-t", "x"],
            &["--queue-critical", "abc"],
            &["-w", ""],
            &["-t", "1", "-t", "1"],
            &["--verbose=2"],
            &["-c="],
            &["--", "-v"],
        ] {
            let complaint = complaint(arguments);
            assert!(complaint.starts_with("UPDATER UNKNOWN - "), "{complaint}");
            assert!(complaint.contains("\nUsage: check_updater"), "{complaint}");
            assert!(
                complaint.lines().count() <= 23 && complaint.lines().all(|line| line.len() <= 80),
                "{complaint}"
            );
        }
    }

    #[test]
    fn help_names_every_option_and_fits_80_columns() {
        let Err(Instead::Text(help)) = given(&["-h"]) else { panic!() };
        assert!(help.lines().all(|line| line.len() <= 80));
        let named =
            ["-s, --socket PATH ", "-t, --timeout N[:STATE] ", "-v, --verbose ", "-V, --version "];
        let short = ["-h, --help ", "-w, --lag-warning RANGE ", "-c, --lag-critical RANGE "];
        let thresholds = Metric::ALL.into_iter().flat_map(Metric::options);
        let thresholds = thresholds.map(|name| format!("--{name} RANGE"));
        for option in named.into_iter().chain(short).map(str::to_owned).chain(thresholds) {
            assert!(
                help.contains(&format!("  {option}")) || help.contains(&format!(", {option}")),
                "{option}"
            );
        }
        let Err(Instead::Text(version)) = given(&["-V"]) else { panic!() };
        assert_eq!(version, format!("check_updater {VERSION}\n"));
    }
}
