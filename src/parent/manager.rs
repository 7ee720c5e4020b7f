//! What the service manager hears (sd_notify(3)): that all is up, that a reload is under way and
//! over, that we are stopping and how long that may take, a line for people, and a sign of life.
//!
//! The sign of life comes from the parent's loop and from nowhere else, so a parent that is stuck is
//! started anew. Nothing here waits: what the manager has no room for is owed, in order, and offered
//! again; one that is gone is let go.

use scoreboard::{Board, Trouble as Ails, WorkerCell};
use std::collections::VecDeque;
use sys::clock::now_ms;
use sys::notify::{Notifier, Told, monotonic_usec};
use sys::socket::Sent;

use crate::slots::Post;
use crate::start::ms;
use crate::{Active, Parent};

/// The line for people changes no more often, in milliseconds, unless it is another state.
const PACE: u64 = 2_000;
/// What there was no room for is offered again after this, in milliseconds.
const AGAIN: u64 = 200;
/// So much is owed at most.
const MOST: usize = 32;
/// So much later than `stop_timeout` the daemon is gone at the latest, in milliseconds.
const MARGIN: u64 = 5_000;
/// A rate is that of so long at least, in milliseconds.
const SPAN: u64 = 4_000;
/// The line for people has so many characters at most.
const LINE: usize = 240;

/// What is said to it, and what it has heard.
#[derive(Default)]
pub(crate) struct Manager {
    to: Option<Notifier>,
    /// A sign of life is due so often, in milliseconds.
    watchdog: Option<u64>,
    next_sign: u64,
    /// What it had no room for yet.
    owed: VecDeque<String>,
    next_try: u64,
    /// The line for people that it has heard, and when.
    line: (State, String, u64),
    is_stopping: bool,
    rate: Rate,
    /// Why the last reload was refused.
    pub(crate) refused: Option<String>,
}

/// What the daemon is doing at all; a change is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Untold,
    Starting,
    Running,
    Refused,
    Paused,
    Holding,
    Stopping,
}

/// Documents in a second.
#[derive(Default)]
struct Rate {
    since: u64,
    docs: u64,
    per_s: u64,
}

impl Rate {
    fn take(&mut self, now: u64, docs: u64) -> u64 {
        let span = now - self.since.min(now);
        if span >= SPAN {
            // (What a child has scribbled over its counts is a number, and may be any.)
            let grown = u128::from(docs.saturating_sub(self.docs));
            let per_s = (grown * 1000 / u128::from(span)).min(u64::MAX.into()) as u64;
            let is_first = self.since == 0;
            *self = Rate { since: now, docs, per_s: if is_first { 0 } else { per_s } };
        }
        self.per_s
    }
}

impl Manager {
    /// Half the time that it gives us is the time between two signs of life (sd_watchdog_enabled(3)).
    pub(crate) fn new(told: Told) -> Manager {
        let watchdog = told.watchdog.map(|period| ms(period / 2).max(1));
        Manager { to: told.notifier, watchdog, ..Manager::default() }
    }

    /// When it is to hear something, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.to.as_ref()?;
        let owed = (!self.owed.is_empty()).then_some(self.next_try);
        owed.into_iter().chain(self.watchdog.map(|_| self.next_sign)).min()
    }

    /// Says something that has to be heard, sooner or later.
    fn say(&mut self, words: String) {
        if self.to.is_some() {
            self.owed.push_back(words);
        }
        if self.owed.len() > MOST {
            self.owed.pop_front(); // what comes after it says how it is now
        }
    }

    /// Sends what is owed, as far as there is room.
    fn flush(&mut self, now: u64) {
        let Some(to) = &self.to else { return };
        while let Some(words) = self.owed.front() {
            match to.send(words) {
                Sent::Full => {
                    self.next_try = now + AGAIN;
                    return;
                }
                Sent::Done | Sent::Gone => drop(self.owed.pop_front()),
            }
        }
    }

    /// Whether the line for people is to be made anew.
    fn wants_line(&self, state: State, now: u64) -> bool {
        let (told, _, since) = &self.line;
        self.owed.is_empty() && (*told != state || now >= since + PACE)
    }

    fn give_sign_of_life(&mut self, now: u64) {
        let (Some(to), Some(every)) = (&self.to, self.watchdog) else { return };
        if now >= self.next_sign {
            self.next_sign = match to.send("WATCHDOG=1") {
                Sent::Full => now + AGAIN.min(every),
                Sent::Done | Sent::Gone => now + every,
            };
        }
    }
}

impl Parent {
    /// The configuration is read again. (When that was asked for is before now: it is compared by
    /// Type=notify-reload.)
    pub(crate) fn tell_reloading(&mut self) {
        let line = "STATUS=reading the configuration again";
        self.manager.say(format!("RELOADING=1\nMONOTONIC_USEC={}\n{line}", monotonic_usec()));
        self.manager.flush(now_ms());
        self.manager.line.0 = State::Untold;
    }

    /// What was begun is over: the start, when all are up; or a reload, taken or not.
    pub(crate) fn tell_over(&mut self) {
        let (now, state) = (now_ms(), self.state());
        let line = self.line(state, now);
        self.manager.say(format!("READY=1\nSTATUS={line}"));
        self.manager.line = (state, line, now);
        self.manager.flush(now);
    }

    /// Once each turn of the loop.
    pub(crate) fn keep_the_manager_informed(&mut self) {
        if self.manager.to.is_none() {
            return;
        }
        let (now, state) = (now_ms(), self.state());
        self.manager.give_sign_of_life(now);
        if state == State::Stopping && !self.manager.is_stopping {
            self.manager.is_stopping = true;
            // It ends no service before this that says so (sd_notify(3)), whatever TimeoutStopSec is.
            let most = (ms(self.config.workers.stop_timeout) + MARGIN) * 1000;
            self.manager.say(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={most}"));
        }
        if self.manager.wants_line(state, now) {
            let line = self.line(state, now);
            if self.manager.line.1 != line {
                self.manager.say(format!("STATUS={line}"));
            }
            self.manager.line = (state, line, now);
        }
        self.manager.flush(now);
    }

    fn state(&self) -> State {
        match &self.manager.refused {
            _ if self.machine.is_draining() => State::Stopping,
            _ if self.machine.is_starting() => State::Starting,
            _ if self.machine.paused => State::Paused,
            _ if self.machine.holding => State::Holding,
            Some(_) => State::Refused,
            None => State::Running,
        }
    }

    /// How it goes, in a line for people: what is wrong first.
    fn line(&mut self, state: State, now: u64) -> String {
        let totals = self.board.totals();
        let rate = self.manager.rate.take(now, totals.docs.wrapping_add(totals.deletes));
        let why = |reason: &Option<String>| match reason {
            Some(reason) => format!(": {reason}"),
            None => String::new(),
        };
        let words = match state {
            State::Starting | State::Untold => "starting".to_owned(),
            State::Stopping => format!("stopping{}", why(&self.reason)),
            State::Paused => "paused".to_owned(),
            State::Holding => "no delta is begun, since one has failed".to_owned(),
            State::Refused => {
                format!("running on the old configuration{}", why(&self.manager.refused))
            }
            State::Running => String::new(),
        };
        let ills =
            [self.emptiness(), self.spool_ill(), solr_ill(&self.board, self.asked_since(now))];
        let all = [words].into_iter().chain(ills.into_iter().flatten()).chain([self.work(rate)]);
        let told: Vec<String> = all.filter(|words| !words.is_empty()).collect();
        one_line(&told.join("; "))
    }

    fn work(&self, rate: u64) -> String {
        let (waiting, deltas) = (self.producer.waiting(), self.counters.deltas);
        match self.active.front() {
            Some(Active { claim, .. }) => {
                let (name, bytes) = (claim.name.to_string_lossy(), size(claim.bytes));
                format!("delivering {name} ({bytes}), {rate} docs/s, {waiting} waiting")
            }
            None => format!("{waiting} waiting, {deltas} settled"),
        }
    }

    /// Slots of which nobody works.
    fn emptiness(&self) -> Option<String> {
        let is_worker = |post| matches!(post, Post::Worker(_));
        let is_ready = |holder: Option<u64>| holder.is_some_and(|c| self.machine.is_ready(c));
        let slots = self.machine.slots();
        let ready = slots.iter().filter(|s| is_worker(s.post) && is_ready(s.holder)).count();
        let has_monitor = slots.iter().all(|s| is_worker(s.post) || is_ready(s.holder));
        match (ready as u64 == u64::from(slots.workers), has_monitor) {
            _ if self.machine.is_draining() => None,
            (true, true) => None,
            (true, false) => Some("no monitor".to_owned()),
            (false, _) => Some(format!("{ready} of {} workers", slots.workers)),
        }
    }

    fn spool_ill(&self) -> Option<String> {
        let (_, errno) = self.settling.told().or(self.producer.trouble())?;
        let error = std::io::Error::from_raw_os_error(errno);
        Some(format!("the spool fails: {}", spool::remedy(&error)))
    }

    /// Since when Solr should have answered, and how long it may take to be no matter.
    fn asked_since(&self, now: u64) -> Asked {
        let generation = self.machine.slots().generation;
        let began = self.active.front().map(|active| active.since);
        let patience = ms(self.config.health.solr.warning);
        Asked { generation, workers: self.machine.slots().workers, began, patience, now }
    }
}

struct Asked {
    generation: u64,
    workers: u32,
    began: Option<u64>,
    patience: u64,
    now: u64,
}

/// What is wrong with Solr, by the workers' numbers: their words are for the monitor.
fn solr_ill(board: &Board, asked: Asked) -> Option<String> {
    let began = asked.began?;
    let cells = (0..asked.workers).map(|slot| board.worker(asked.generation, slot as usize));
    let cells: Vec<WorkerCell> = cells.collect();
    let last_ok = cells.iter().map(WorkerCell::last_ok).max().unwrap_or(0);
    let ails =
        |what: Ails| cells.iter().any(|c| c.trouble() == what && c.last_trouble() > c.last_ok());
    let silent = asked.now.saturating_sub(last_ok.max(began));
    if ails(Ails::Standing) {
        Some("Solr takes nothing".to_owned())
    } else if ails(Ails::Passing) && silent >= asked.patience {
        Some(format!("Solr has taken nothing for {} s", silent / 1000))
    } else {
        None
    }
}

/// A size as people say it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    let whole = bytes as f64 / 1024f64.powi(power as i32);
    format!("{whole:.1} {}", UNITS[power as usize - 1])
}

/// Nobody may say something to the manager by a delta's name, such as READY=1 behind a newline; and
/// a line that is too long is cut.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    match text.chars().count() <= LINE {
        true => text.chars().map(shown).collect(),
        false => text.chars().take(LINE - 1).map(shown).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_speak_to_the_manager_and_a_long_line_is_cut() {
        assert_eq!(one_line("x\nREADY=1.jsonl"), "x?READY=1.jsonl");
        let long = one_line(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), LINE);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn sizes_are_what_people_say() {
        let told = [0, 1023, 1024, 1_288_490_188, u64::MAX].map(size);
        assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "1.2 GiB", "16.0 EiB"]);
    }

    #[test]
    fn a_rate_is_of_some_seconds_and_no_scribble_stops_it() {
        let mut rate = Rate::default();
        assert_eq!(rate.take(10_000, 5_000), 0, "nobody knows since when");
        assert_eq!(rate.take(11_000, 9_000), 0);
        assert_eq!(rate.take(15_000, 10_000), 1_000);
        assert_eq!(rate.take(20_000, 3), 0, "a count that falls");
        assert_eq!(rate.take(25_000, u64::MAX), (u64::MAX - 3) / 5);
    }

    #[test]
    fn a_sign_of_life_is_due_at_half_of_the_time_that_is_given() {
        let watchdog = Some(std::time::Duration::from_secs(30));
        assert_eq!(Manager::new(Told { notifier: None, watchdog }).watchdog, Some(15_000));
        assert_eq!(Manager::new(Told::default()).deadline(), None, "nobody listens");
    }
}
