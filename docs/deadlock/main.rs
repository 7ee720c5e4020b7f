//! `make demo-deadlock`: the bug that solr-updater exists for, alive, beside solr-updater's own way.
//!
//! A process that logs from a thread and forks copies, now and then, a locked lock into the child,
//! and with it nobody who could unlock it. First on purpose, so that every run shows it; then by
//! chance, so that one sees how seldom it is at the rates of a real daemon, and that tests do not
//! find it. Both with the same slog-term logger, once beside a thread and `fork(2)`, once beside a
//! child and `sys::fork`. The whole run is bounded by an alarm, and every child dies with it.
//! It ends with 0 if all was seen that does not hang on chance.

mod by_chance;
mod monitor;
mod on_purpose;
mod seat;
mod worker;

use monitor::Monitor;
use slog::{Drain, Logger};
use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Nothing of this runs longer, in seconds: the alarm ends it, and the children with it.
const AT_MOST: u32 = 25;

/// Where the monitor lives, and how its process forks its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In a thread of the process that forks, with fork(2): the bug.
    Thread,
    /// In a child, with `sys::fork`: solr-updater.
    Child,
}

/// How much is done.
struct Effort {
    /// How long the child's first line is waited for.
    patience: Duration,
    /// How many workers are forked at each rate.
    forks: usize,
}

fn main() -> ExitCode {
    let effort = match std::env::args().nth(1).as_deref() {
        None => Effort { patience: Duration::from_secs(2), forks: 1000 },
        Some("--quick") => Effort { patience: Duration::from_secs(1), forks: 100 },
        Some(_) => {
            eprintln!("usage: deadlock [--quick]");
            return ExitCode::from(2);
        }
    };
    nix::unistd::alarm::set(AT_MOST);
    match show(&effort) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("\n  This is not what should have been seen.");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("deadlock: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The three acts; whether all was seen that does not hang on chance.
fn show(effort: &Effort) -> io::Result<bool> {
    let start = Instant::now();
    println!("{WHY}\n\n{ON_PURPOSE}\n");
    let thread = on_purpose::run(Way::Thread, effort.patience)?;
    let child = on_purpose::run(Way::Child, effort.patience)?;
    row("", "monitor in a thread, fork(2)", "monitor in a child, sys::fork");
    row("monitor, at the fork", &thread.monitor_sat.to_string(), &child.monitor_sat.to_string());
    row("monitor, afterwards", &thread.monitor_went_on(), &child.monitor_went_on());
    row("worker's first line", &thread.first_line(effort), &child.first_line(effort));
    row("worker now", &thread.worker_is(), &child.worker_is());

    println!("\n{BY_CHANCE}\n");
    row("the monitor logs", "in a thread, fork(2)", "in a child, sys::fork");
    let mut own_way_hung = 0;
    for pace in by_chance::PACES {
        let thread = by_chance::run(Way::Thread, pace, effort.forks)?;
        let child = by_chance::run(Way::Child, pace, effort.forks)?;
        row(pace.name, &share(thread, effort.forks), &share(child, effort.forks));
        own_way_hung += child;
    }

    println!("\n{REFUSED}\n");
    let refused = refusal()?;
    println!("{}", paragraph(refused.as_deref().unwrap_or("it forked!")));
    println!("\n  ({:.1} s; what hung has been killed)", start.elapsed().as_secs_f64());
    Ok(thread.arrived.is_none()
        && child.arrived.is_some()
        && own_way_hung == 0
        && refused.is_some())
}

const WHY: &str = "\
A process logs from a thread, and forks. The child gets a copy of every lock, but of no other
thread: what was locked at that moment stays locked in it for ever. On the left such a process;
on the right the same with the monitor in a child of its own, as solr-updater has it.";

const ON_PURPOSE: &str = "\
1 On purpose. The log is a pipe, and full, so the monitor sits in write(2) and holds the
  logger's lock. Now a worker is forked; then the pipe is emptied.";

const BY_CHANCE: &str = "\
2 By chance. The log is an ordinary file. How many workers hang on their first line? (At the
  rates of a real daemon few or none: every test is green. Then, one night, a worker hangs, and
  with it whoever waits for it.)";

const REFUSED: &str = "\
3 Nobody has to remember the rule. sys::fork, called beside the thread, refuses:";

fn row(what: &str, thread: &str, child: &str) {
    println!("  {what:<22}{}", format!("{thread:<42}{child}").trim_end());
}

fn share(hung: usize, of: usize) -> String {
    let bar = "█".repeat((hung * 16).div_ceil(of));
    format!("{hung:>4} of {of} {bar}")
}

/// Words in lines of one screen, indented.
fn paragraph(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        if lines[lines.len() - 1].len() + word.len() > 90 {
            lines.push(String::from(" "));
        }
        let last = lines.len() - 1;
        lines[last] += &format!(" {word}");
    }
    lines.join("\n")
}

/// What `sys::fork` says in a process with a second thread; `None` if it forked.
fn refusal() -> io::Result<Option<String>> {
    let monitor = Monitor::start(Way::Thread, logger(log_file()?), Duration::from_millis(1))?;
    let refused = match sys::fork() {
        Ok(sys::Fork::Child(_)) => sys::role(|| 0),
        Ok(sys::Fork::Parent(_)) => None,
        Err(e) => Some(e.to_string()),
    };
    monitor.stop()?;
    Ok(refused)
}

/// A file for the log, without a name, so that it is gone when the last who has it is.
fn log_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("deadlock-{}.log", sys::pid()));
    let file = File::options().create_new(true).append(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// A logger just as one writes it with slog-term: a lock around a file.
fn logger(file: File) -> Logger {
    let decorator = slog_term::PlainSyncDecorator::new(file);
    let drain = slog_term::FullFormat::new(decorator).use_utc_timestamp().build().ignore_res();
    Logger::root(drain, slog::o!())
}
