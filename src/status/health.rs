//! The verdict: pure rules from the facts of a document to the reasons why it is not well. No rule reads a
//! clock, remembers anything, or looks at the document's `health` member; [`Memory`] alone knows since when. What the
//! document has no member for (a log that drops lines, a folder that cannot be read) the monitor adds itself, as
//! reasons with the codes kept here.
//!
//! A message says what is the matter up to its first `": "`, in words that stand alone, and after that why: the
//! plugin's first line has room for the former only.

use std::collections::HashMap;

use crate::document::{
    Document, Health, Level, Limits, Reason, Severity, State, Thresholds, Worker, WorkerState,
};

/// These are the codes of reasons; part of the interface, so added to, never renamed.
pub mod code {
    /// The parent has other than one thread, so a fork may copy a held lock.
    pub const PARENT_THREADS: &str = "parent_threads";
    /// A heartbeat stands still, the parent's or a busy worker's.
    pub const STALL: &str = "stall";
    /// Slots without a living worker.
    pub const WORKERS: &str = "workers";
    /// Solr takes nothing while there is work.
    pub const SOLR: &str = "solr";
    /// The oldest delta not settled is too old.
    pub const LAG: &str = "lag";
    /// Deltas given up as a whole.
    pub const FAILED: &str = "failed";
    /// Lines that can never be delivered.
    pub const REJECTED: &str = "rejected";
    /// A delta failed and `on_failed = "stop"`.
    pub const HOLDING: &str = "holding";
    /// A person paused it.
    pub const PAUSED: &str = "paused";
    /// A reload was refused.
    pub const RELOAD: &str = "reload";
    /// The log loses lines. Found by the monitor, not here.
    pub const LOG: &str = "log";
    /// The spool cannot be read or written. Found by the monitor, not here.
    pub const SPOOL: &str = "spool";
    /// The operator's own converter does not work. Found by the monitor, not here.
    pub const CONVERT: &str = "convert";
}

use Severity::{Critical, Warning};

/// Judges all of a document but its `health`, and gives the reasons it is not well, worst first and `since` not
/// filled in. None means it is well.
///
/// ```
/// # let text = include_str!("canned/well.json");
/// # let Ok(status::Answer::Status(mut document)) = status::Answer::parse(text.as_bytes()) else { panic!() };
/// document.parent.heartbeat_age_s = 75.4; // stopped, say: it cannot tell anybody, the monitor must
/// let reasons = status::health(&document, &status::Thresholds::default());
/// assert_eq!(reasons[0].code, status::code::STALL);
/// assert_eq!(reasons[0].message, "the parent has given no sign of life for 75 s: pid 4711");
/// ```
pub fn health(facts: &Document, thresholds: &Thresholds) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = [
        parent_threads(facts),
        parent_stall(facts, &thresholds.stall),
        worker_stall(facts, &thresholds.stall),
        workers(facts),
        solr(facts, &thresholds.solr),
        lag(facts, &thresholds.lag),
        failed(facts),
        rejected(facts, &thresholds.rejected),
        holding(facts),
        paused(facts),
        reload(facts),
    ]
    .into_iter()
    .flatten()
    .collect();
    worst_first(&mut reasons);
    reasons
}

fn worst_first(reasons: &mut [Reason]) {
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity)); // stable: the cause stays before its effect
}

impl Health {
    /// The verdict as it goes into a document: reasons put worst first, the state as bad as the worst.
    pub fn new(mut reasons: Vec<Reason>, thresholds: Thresholds) -> Health {
        worst_first(&mut reasons);
        let state = reasons.first().map_or(Level::Ok, |worst| worst.severity.into());
        Health { state, reasons, thresholds }
    }
}

/// Remembers since when there has been a reason of a code and severity, for as long as there is one.
///
/// The monitor keeps one and shows it every verdict, at least as often as it answers; a new monitor starts anew.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    first: HashMap<(String, Severity), String>,
}

impl Memory {
    /// Fills in `since` where it is empty: `now` (RFC 3339) for reasons of a code and severity not seen last time.
    /// What is no longer there is forgotten.
    pub fn remember(&mut self, reasons: &mut [Reason], now: &str) {
        let mut seen = HashMap::with_capacity(reasons.len());
        for reason in reasons {
            let key = (reason.code.clone(), reason.severity);
            let since = self.first.get(&key).map_or(now, String::as_str).to_owned();
            reason.since.get_or_insert_with(|| since.clone());
            seen.insert(key, since);
        }
        self.first = seen;
    }
}

fn parent_threads(facts: &Document) -> Option<Reason> {
    let pid = facts.parent.pid;
    let (severity, message) = match facts.parent.threads {
        Some(1) => return None,
        Some(n) => (
            Critical,
            format!(
                "the parent has {n} threads: pid {pid} must have one, or a worker it forks may hang"
            ),
        ),
        None => (Warning, format!("the parent's threads cannot be counted: /proc/{pid}/task")),
    };
    Some(Reason::new(code::PARENT_THREADS, severity, message))
}

fn parent_stall(facts: &Document, limits: &Limits<f64>) -> Option<Reason> {
    let age = facts.parent.heartbeat_age_s;
    let severity = above(age, limits)?;
    let message = format!(
        "the parent has given no sign of life for {age} s: pid {pid}",
        age = whole(age),
        pid = facts.parent.pid
    );
    Some(Reason::new(code::STALL, severity, message))
}

fn worker_stall(facts: &Document, limits: &Limits<f64>) -> Option<Reason> {
    let busy = |worker: &&Worker| match worker.state {
        WorkerState::Converting | WorkerState::Posting => true,
        WorkerState::Idle | WorkerState::BackingOff | WorkerState::Dead => false,
    };
    let still = |worker: &&Worker| above(worker.heartbeat_age_s, limits).is_some();
    let stalled: Vec<&Worker> = facts.workers.iter().filter(busy).filter(still).collect();
    let longest = stalled.iter().map(|worker| worker.heartbeat_age_s).fold(0.0, f64::max);
    let severity = above(longest, limits)?;
    let message = match stalled.as_slice() {
        [] => return None,
        [one] => {
            let pid = one.pid.map_or(String::new(), |pid| format!(": pid {pid}"));
            format!("worker {} has given no sign of life for {} s{pid}", one.slot, whole(longest))
        }
        many => {
            let slots: Vec<String> = many.iter().map(|worker| worker.slot.to_string()).collect();
            format!(
                "{} workers have given no sign of life for up to {} s: {}",
                many.len(),
                whole(longest),
                slots.join(", ")
            )
        }
    };
    Some(Reason::new(code::STALL, severity, message))
}

fn workers(facts: &Document) -> Option<Reason> {
    let (alive, slots) = (facts.workers_alive(), facts.slots());
    if alive == 0 {
        return Some(Reason::new(
            code::WORKERS,
            Critical,
            format!("no worker is alive: {slots} slots are empty"),
        ));
    }
    if alive == slots {
        return None;
    }
    let held = |slot| {
        facts.workers.iter().any(|worker| worker.slot == slot && worker.state != WorkerState::Dead)
    };
    let empty: Vec<String> = facts
        .workers
        .iter()
        .filter(|worker| !held(worker.slot))
        .map(|worker| worker.slot.to_string())
        .collect();
    let message = format!("{alive} of {slots} workers alive: empty is slot {}", empty.join(", "));
    Some(Reason::new(code::WORKERS, Warning, message))
}

fn solr(facts: &Document, limits: &Limits<f64>) -> Option<Reason> {
    let silence = facts.solr_silence_s()?;
    let severity = above(silence, limits)?;
    let age = whole(silence);
    let what = match (facts.solr.reachable, &facts.solr.last_error) {
        (Some(false), _) => format!("Solr unreachable for {age} s"),
        (_, Some(_)) => format!("Solr has taken nothing for {age} s"),
        (_, None) => format!("no answer from Solr for {age} s"),
    };
    let why = facts.solr.last_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    Some(Reason::new(code::SOLR, severity, what + &why))
}

fn lag(facts: &Document, limits: &Limits<f64>) -> Option<Reason> {
    let lag = facts.lag_s();
    let severity = above(lag, limits)?;
    let oldest = match &facts.spool.active {
        Some(active) if active.age_s >= lag => format!("{} is not settled", active.name),
        _ => format!("{} waiting", count(facts.queue(), "delta")),
    };
    Some(Reason::new(code::LAG, severity, format!("lag {} s: {oldest}", whole(lag))))
}

fn failed(facts: &Document) -> Option<Reason> {
    if facts.spool.failed == 0 {
        return None;
    }
    let message =
        format!("{} failed: in {}/failed", count(facts.spool.failed, "delta"), facts.spool.dir);
    Some(Reason::new(code::FAILED, Warning, message))
}

fn rejected(facts: &Document, limits: &Limits<u64>) -> Option<Reason> {
    let lines = facts.spool.rejected.lines;
    let reached = |limit: Option<u64>| limit.is_some_and(|limit| lines >= limit);
    let severity = match (reached(limits.critical), reached(limits.warning)) {
        (true, _) => Critical,
        (false, true) => Warning,
        (false, false) => return None,
    };
    let message =
        format!("{} rejected: in {}/rejected, with reasons", count(lines, "line"), facts.spool.dir);
    Some(Reason::new(code::REJECTED, severity, message))
}

fn holding(facts: &Document) -> Option<Reason> {
    let message = "holding: a delta failed, and on_failed = \"stop\"; none is taken until that one is \
                   seen to, by `solr-updater retry` or `solr-updater drop`, or a reload";
    (facts.state == State::Holding).then(|| Reason::new(code::HOLDING, Warning, message))
}

fn paused(facts: &Document) -> Option<Reason> {
    let message = "paused: nothing is sent until `solr-updater resume`";
    (facts.state == State::Paused).then(|| Reason::new(code::PAUSED, Warning, message))
}

fn reload(facts: &Document) -> Option<Reason> {
    let refused = facts.parent.last_reload_error.as_ref()?;
    Some(Reason::new(code::RELOAD, Warning, format!("running on the old configuration: {refused}")))
}

/// How bad an age is: above, not at, the limit, as a Nagios range `N` has it too.
fn above(seconds: f64, limits: &Limits<f64>) -> Option<Severity> {
    let over = |limit: Option<f64>| limit.is_some_and(|limit| seconds > limit);
    if over(limits.critical) {
        Some(Critical)
    } else if over(limits.warning) {
        Some(Warning)
    } else {
        None
    }
}

fn whole(seconds: f64) -> u64 {
    seconds as u64 // saturates; what is below a second is noise in a message
}

fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Active;

    fn well() -> Document {
        crate::answer::tests::canned()
    }

    /// Code, severity and message of all reasons found in a document that was well before `change`.
    fn found(change: impl FnOnce(&mut Document)) -> Vec<(String, Severity, String)> {
        let mut facts = well();
        change(&mut facts);
        let reasons = health(&facts, &Thresholds::default());
        reasons.into_iter().map(|reason| (reason.code, reason.severity, reason.message)).collect()
    }

    fn one(change: impl FnOnce(&mut Document)) -> (String, Severity, String) {
        let mut all = found(change);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn is(code: &str, severity: Severity, message: &str) -> (String, Severity, String) {
        (code.to_owned(), severity, message.to_owned())
    }

    #[test]
    fn what_is_well_gives_no_reason() {
        assert_eq!(found(|_| ()), []);
    }

    #[test]
    fn lag_counts_above_its_limit_and_names_the_delta() {
        let active = |age_s| {
            Some(Active {
                name: "offers.jsonl".into(),
                bytes: 10,
                bytes_done: 4,
                age_s,
                eta_s: None,
            })
        };
        assert_eq!(found(|d| d.spool.active = active(300.0)), []);
        assert_eq!(
            one(|d| d.spool.active = active(340.9)),
            is("lag", Warning, "lag 340 s: offers.jsonl is not settled")
        );
        let waiting = one(|d| {
            d.spool.active = active(20.0);
            d.spool.incoming.files = 12;
            d.spool.incoming.oldest_age_s = Some(1801.0);
        });
        assert_eq!(waiting, is("lag", Critical, "lag 1801 s: 12 deltas waiting"));
    }

    #[test]
    fn solr_is_judged_only_while_somebody_waits_for_it() {
        let silent = |d: &mut Document| d.solr.last_ok_age_s = Some(312.4);
        let away = |d: &mut Document| {
            silent(d);
            d.solr.reachable = Some(false);
            d.solr.last_error = Some("http://solr1:8983/solr: connection refused".into());
        };
        let busy = |d: &mut Document| d.workers[0].in_flight = 1;
        assert_eq!(found(silent), [], "idle: nobody asked");
        assert_eq!(found(away), [], "idle: what was known last is stale");
        let unreachable = "Solr unreachable for 312 s: http://solr1:8983/solr: connection refused";
        let backing_off = |d: &mut Document| {
            away(d);
            d.workers[1].state = WorkerState::BackingOff;
        };
        assert_eq!(one(backing_off), is("solr", Critical, unreachable));
        let nobody_left_to_ask = |d: &mut Document| {
            away(d);
            d.spool.incoming.files = 1;
        };
        assert_eq!(one(nobody_left_to_ask), is("solr", Critical, unreachable));
        let paused = |d: &mut Document| {
            nobody_left_to_ask(d);
            d.state = State::Paused;
        };
        assert_eq!(one(paused).0, "paused");
        let mute = |d: &mut Document| {
            busy(d);
            d.solr.last_ok_age_s = Some(15.1);
        };
        assert_eq!(one(mute), is("solr", Warning, "no answer from Solr for 15 s"));
        let refuses = |d: &mut Document| {
            mute(d);
            d.solr.last_error = Some("http://solr1:8983/solr: 404: no collection offers".into());
        };
        let nothing =
            "Solr has taken nothing for 15 s: http://solr1:8983/solr: 404: no collection offers";
        assert_eq!(one(refuses), is("solr", Warning, nothing));
        let lines_that_become_nothing = |d: &mut Document| {
            silent(d);
            d.workers[0].state = WorkerState::Converting;
            d.spool.active_files = 1;
        };
        assert_eq!(found(lines_that_become_nothing), []);
    }

    #[test]
    fn rejected_lines_count_from_their_limit_on() {
        let lines = |n| move |d: &mut Document| d.spool.rejected.lines = n;
        let (one_line, many) = (one(lines(1)), one(lines(1000)));
        assert_eq!(
            one_line,
            is(
                "rejected",
                Warning,
                "1 line rejected: in /var/spool/solr-updater/rejected, with reasons"
            )
        );
        assert_eq!(one(lines(999)).1, Warning);
        assert_eq!(
            many,
            is(
                "rejected",
                Critical,
                "1000 lines rejected: in /var/spool/solr-updater/rejected, with reasons"
            )
        );
    }

    #[test]
    fn a_failed_delta_a_pause_a_hold_and_a_refused_reload_are_warnings() {
        let failed = one(|d| d.spool.failed = 2);
        assert_eq!(
            failed,
            is("failed", Warning, "2 deltas failed: in /var/spool/solr-updater/failed")
        );
        let paused = one(|d| d.state = State::Paused);
        assert_eq!(
            paused,
            is("paused", Warning, "paused: nothing is sent until `solr-updater resume`")
        );
        assert_eq!(one(|d| d.state = State::Holding).0, "holding");
        assert_eq!(found(|d| d.state = State::Draining), []);
        let reload = one(|d| {
            d.parent.last_reload_error =
                Some("s.toml:12:9: workers.count = 0: need at least 1".into())
        });
        let message =
            "running on the old configuration: s.toml:12:9: workers.count = 0: need at least 1";
        assert_eq!(reload, is("reload", Warning, message));
    }

    #[test]
    fn a_parent_that_stands_still_is_told_from_one_that_is_well() {
        assert_eq!(found(|d| d.parent.heartbeat_age_s = 10.0), []);
        let message = "the parent has given no sign of life for 11 s: pid 4711";
        assert_eq!(one(|d| d.parent.heartbeat_age_s = 11.0), is("stall", Warning, message));
        assert_eq!(one(|d| d.parent.heartbeat_age_s = 61.0).1, Critical);
    }

    #[test]
    fn only_busy_workers_stall() {
        for (state, stalls) in [
            (WorkerState::Converting, true),
            (WorkerState::Posting, true),
            (WorkerState::Idle, false),
            (WorkerState::BackingOff, false),
        ] {
            let reasons = found(|d| {
                d.workers[2].state = state;
                d.workers[2].heartbeat_age_s = 75.0;
            });
            assert_eq!(reasons.len(), usize::from(stalls), "{state:?}");
        }
        let all = one(|d| {
            for (worker, age) in d.workers.iter_mut().zip([20.0, 75.0, 1.0, 12.0]) {
                worker.state = WorkerState::Converting;
                worker.heartbeat_age_s = age;
            }
        });
        assert_eq!(
            all,
            is("stall", Critical, "3 workers have given no sign of life for up to 75 s: 0, 1, 3")
        );
    }

    #[test]
    fn a_parent_with_a_second_thread_is_critical() {
        let message =
            "the parent has 2 threads: pid 4711 must have one, or a worker it forks may hang";
        assert_eq!(one(|d| d.parent.threads = Some(2)), is("parent_threads", Critical, message));
        assert_eq!(one(|d| d.parent.threads = None).1, Warning);
    }

    #[test]
    fn a_dead_worker_is_a_warning_and_none_alive_critical() {
        let dead = |worker: &mut Worker| {
            worker.state = WorkerState::Dead;
            worker.pid = None;
        };
        let message = "3 of 4 workers alive: empty is slot 2";
        assert_eq!(one(|d| dead(&mut d.workers[2])), is("workers", Warning, message));
        let none = one(|d| d.workers.iter_mut().for_each(dead));
        assert_eq!(none, is("workers", Critical, "no worker is alive: 4 slots are empty"));
        let replaced = found(|d| {
            let successor = Worker { generation: 2, ..d.workers[2].clone() };
            dead(&mut d.workers[2]);
            d.workers.push(successor);
        });
        assert_eq!(replaced, [], "a slot held by the next generation is held");
    }

    #[test]
    fn a_limit_switched_off_never_alarms() {
        let mut facts = well();
        facts.spool.rejected.lines = 5000;
        facts.parent.heartbeat_age_s = 5000.0;
        let off = Thresholds {
            rejected: Limits { warning: Some(1), critical: None },
            stall: Limits { warning: None, critical: None },
            ..Thresholds::default()
        };
        let reasons = health(&facts, &off);
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].severity, Warning);
    }

    #[test]
    fn the_worst_reason_comes_first_and_makes_the_state() {
        let all = found(|d| {
            d.state = State::Paused;
            d.spool.failed = 1;
            d.spool.rejected.lines = 1000;
        });
        assert_eq!(
            all.iter().map(|reason| reason.0.as_str()).collect::<Vec<_>>(),
            ["rejected", "failed", "paused"]
        );
        let noticed = vec![
            Reason::new(code::LOG, Warning, "log"),
            Reason::new(code::SPOOL, Critical, "spool"),
        ];
        let health = Health::new(noticed, Thresholds::default());
        assert_eq!((health.state, health.reasons[0].code.as_str()), (Level::Critical, code::SPOOL));
        assert_eq!(Health::new(vec![], Thresholds::default()).state, Level::Ok);
    }

    #[test]
    fn memory_knows_since_when_until_it_is_over() {
        let mut memory = Memory::default();
        let mut since = |severity, now: &str| {
            let mut reasons = [Reason::new(code::LAG, severity, now)];
            memory.remember(&mut reasons, now);
            reasons[0].since.clone().unwrap()
        };
        assert_eq!(since(Warning, "1"), "1");
        assert_eq!(since(Warning, "2"), "1");
        assert_eq!(since(Critical, "3"), "3", "worse is something new");
        assert_eq!(since(Warning, "4"), "4", "and so is better");
        memory.remember(&mut [], "5");
        let mut again = [Reason::new(code::LAG, Warning, "")];
        memory.remember(&mut again, "6");
        assert_eq!(again[0].since.as_deref(), Some("6"));
    }
}
