//! The Nagios and Icinga plugin: it asks the status socket one question and says in one line, an exit code
//! and performance data how the daemon is. It holds nothing of the daemon but the status document, starts nothing,
//! writes nothing anywhere but to standard output, and never to standard error.
//!
//! Whatever happens it speaks exactly once and ends with 0, 1, 2 or 3 (Monitoring Plugins Development Guidelines,
//! "Plugin Return Codes"): a panic is UNKNOWN, and a watchdog holds the whole run to its deadline, because
//! connect(2) to a Unix socket whose backlog is full blocks and std has no timeout for it.
//!
//! [`options`] what was wished for → [`ask`] the daemon's answer → [`verdict`] what it means → [`report`] how it is
//! said; [`range`] is the thresholds' grammar, [`metric`] what they are held against.

#![forbid(unsafe_code)]

mod ask;
mod metric;
mod options;
mod range;
mod report;
mod verdict;
mod watchdog;

use std::time::Instant;

use report::{Report, State};

fn main() {
    let started = Instant::now();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or(String::new(), |place| format!(", at {}:{}", place.file(), place.line()));
        let place = place.replace("plugins/check_updater/", "");
        report::speak_dying(Report::new(
            State::Unknown,
            format!("the plugin itself is broken{place}"),
        ));
    }));
    let options = match options::parse(std::env::args_os()) {
        Ok(options) => options,
        Err(options::Instead::Text(text)) => report::speak(State::Unknown, &text),
        Err(options::Instead::Misuse(report)) => report::speak(State::Unknown, &report.print()),
    };
    if let Err(error) = watchdog::watch(started, options.timeout) {
        let report = Report::new(State::Unknown, format!("cannot start the watchdog: {error}"));
        report::speak(report.state, &report.print());
    }
    let report = match ask::ask(&options.socket) {
        Ok(reply) => verdict::judge(&reply, &options),
        Err(trouble) => trouble.report(&options),
    };
    report::speak(report.state, &report.print());
}
