//! The command line. clap takes it apart; the help is written by hand, because an administrator works from it
//! and it must fit 80 columns. Whatever is wrong with it is UNKNOWN on standard output: clap's own exit code for
//! misuse, 2, would be CRITICAL.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

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
    thresholds: Vec<(Metric, Pair)>,
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
        let found = self.thresholds.iter().find(|(of, _)| *of == metric);
        &found.expect("parse makes one for every metric").1
    }
}

/// Takes the command line apart; the first argument is the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, Instead> {
    let matches =
        command().try_get_matches_from(arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Instead::Text(error.to_string()),
            _ => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                misuse(first.strip_prefix("error: ").unwrap_or(first))
            }
        })?;
    let mut thresholds = Vec::new();
    for metric in Metric::ALL {
        let [warning, critical] = metric.options();
        let pair =
            Pair { warning: range(&matches, warning)?, critical: range(&matches, critical)? };
        thresholds.push((metric, pair));
    }
    let socket: &PathBuf = matches.get_one("socket").expect("it has a default");
    let timeout: &String = matches.get_one("timeout").expect("it has a default");
    let timeout = read_timeout(timeout).ok_or_else(|| {
        misuse(&format!("--timeout {timeout}: need N or N:STATE, as in 10 or 10:critical"))
    })?;
    Ok(Options {
        socket: socket.clone(),
        timeout,
        verbose: matches.get_count("verbose"),
        thresholds,
    })
}

fn command() -> Command {
    let value = |name: &'static str| {
        Arg::new(name).long(name).action(ArgAction::Set).allow_hyphen_values(true)
    };
    let flag =
        |name: &'static str, short, action| Arg::new(name).long(name).short(short).action(action);
    let socket = value("socket")
        .short('s')
        .value_name("PATH")
        .value_parser(ValueParser::path_buf())
        .default_value(SOCKET);
    let mut command = Command::new("check_updater")
        .version(VERSION)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .override_help(HELP)
        .arg(flag("help", 'h', ArgAction::Help))
        .arg(flag("version", 'V', ArgAction::Version))
        .arg(flag("verbose", 'v', ArgAction::Count))
        .arg(socket)
        .arg(value("timeout").short('t').value_name("N[:STATE]").default_value("10"));
    for metric in Metric::ALL {
        let shorts = if metric == Metric::Lag { [Some('w'), Some('c')] } else { [None, None] };
        for (name, short) in metric.options().into_iter().zip(shorts) {
            command = command.arg(value(name).short(short).value_name("RANGE"));
        }
    }
    command
}

fn range(matches: &ArgMatches, name: &str) -> Result<Option<Range>, Instead> {
    let Some(text) = matches.get_one::<String>(name) else { return Ok(None) };
    let range = Range::parse(text).map_err(|why| misuse(&format!("--{name} {text}: {why}")))?;
    Ok(Some(range))
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
        assert_eq!(
            first(&["--nonsense"]),
            "UPDATER UNKNOWN - unexpected argument '--nonsense' found"
        );
        assert_eq!(first(&["stray"]), "UPDATER UNKNOWN - unexpected argument 'stray' found");
        for arguments in [
            &["-w"] as &[&str],
            &["-s", ""],
            &["-t", "x"],
            &["--queue-critical", "abc"],
            &["-w", "1", "-w", "2"],
            &["-w", ""],
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
        for arg in command().get_arguments() {
            let long = arg.get_long().expect("each has one");
            assert!(help.contains(&format!("--{long} ")), "--{long}");
            assert!(
                arg.get_short().is_none_or(|short| help.contains(&format!("-{short}, --{long}"))),
                "-{long}"
            );
        }
        let Err(Instead::Text(version)) = given(&["-V"]) else { panic!() };
        assert_eq!(version, format!("check_updater {VERSION}\n"));
    }
}
