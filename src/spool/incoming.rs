//! What waits in `incoming/`, and which of it is ready to be claimed.
//!
//! A delta that came by rename is whole and ready at once; one written in place is ready when its
//! last writer has closed it and `settle` has passed; one that was only found by a scan when size
//! and time have stood still for `settle`. Names decide the order, and an unsettled delta holds
//! back those behind it: else a later one could overtake it, and its older values win.
//!
//! No file is touched here: events and listings come in, with the time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::is_delta;
use sys::Arrival;

/// A file as a scan finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// In bytes.
    pub size: u64,
    /// When it was last written, nanoseconds since 1970.
    pub modified: i128,
    /// How many names it has.
    pub links: u64,
}

impl Entry {
    /// The file at `path`, if it is an ordinary one. A symbolic link is not.
    pub fn look(path: &Path) -> io::Result<Option<Entry>> {
        let found = std::fs::symlink_metadata(path)?;
        let modified = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        let entry = Entry { size: found.size(), modified, links: found.nlink() };
        Ok(found.is_file().then_some(entry))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Whole.
    Ready,
    /// Closed by its writer at this time.
    Closed(u64),
    /// Not looked at yet; `made`: an event said that it has just been made.
    New { made: bool },
    /// As it was since a time, and how long it must stay so.
    Still { entry: Entry, since: u64, wait: u64 },
}

#[derive(Debug)]
struct Waiting {
    /// When it was first seen, milliseconds since 1970.
    seen: u64,
    state: State,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This one can be claimed.
    Claim(OsString),
    /// Nothing before this time, unless something happens.
    Wait(u64),
    /// This one's size and time must be looked at now, by [`Incoming::found`].
    Look(OsString),
    /// Nothing waits.
    Nothing,
}

/// The deltas in `incoming/`. Times are monotonic milliseconds, but for `seen`.
#[derive(Debug)]
pub struct Incoming {
    settle: u64,
    /// How long an open delta must stand still until its writer is taken for gone.
    patience: u64,
    waiting: BTreeMap<OsString, Waiting>,
}

impl Incoming {
    /// Nothing seen yet. `settle` and `poll` as configured, in milliseconds.
    pub fn new(settle: u64, poll: u64) -> Incoming {
        Incoming { settle, patience: settle.max(poll), waiting: BTreeMap::new() }
    }

    /// Other times, from a new configuration.
    pub fn configure(&mut self, settle: u64, poll: u64) {
        (self.settle, self.patience) = (settle, settle.max(poll));
    }

    /// When the oldest of those waiting was first seen, milliseconds since 1970.
    pub fn oldest_seen(&self) -> Option<u64> {
        self.waiting.values().map(|w| w.seen).min()
    }

    fn see(&mut self, name: OsString, wall: u64, state: State) {
        self.waiting
            .entry(name)
            .and_modify(|w| w.state = state.clone())
            .or_insert(Waiting { seen: wall, state });
    }

    /// Takes in one event. Answers whether the folder must be scanned.
    pub fn arrival(&mut self, arrival: Arrival, now: u64, wall: u64) -> bool {
        match arrival {
            Arrival::Renamed(name) if is_delta(&name) => self.see(name, wall, State::Ready),
            Arrival::Written(name) if is_delta(&name) => self.see(name, wall, State::Closed(now)),
            Arrival::Touched(name) if is_delta(&name) => {
                self.see(name, wall, State::New { made: true })
            }
            Arrival::Gone(name) => drop(self.waiting.remove(&name)),
            Arrival::Renamed(_) | Arrival::Written(_) | Arrival::Touched(_) => {}
            Arrival::Overflow => {
                // Anything may have happened to any of them.
                for waiting in self.waiting.values_mut() {
                    waiting.state = State::New { made: false };
                }
                return true;
            }
            Arrival::Lost => return true,
        }
        false
    }

    /// Takes in a whole listing: names that are not in it are gone, new ones are noted.
    pub fn scan(&mut self, names: Vec<OsString>, wall: u64) {
        let mut before = std::mem::take(&mut self.waiting);
        for name in names.into_iter().filter(|n| is_delta(n)) {
            let waiting = before
                .remove(&name)
                .unwrap_or(Waiting { seen: wall, state: State::New { made: false } });
            self.waiting.insert(name, waiting);
        }
    }

    /// Those that have not been looked at yet. Looking at all of them at once lets all their times
    /// run: a backlog settles together, not one after the other.
    pub fn new_ones(&self) -> Vec<OsString> {
        let is_new = |w: &Waiting| matches!(w.state, State::New { .. });
        self.waiting.iter().filter(|(_, w)| is_new(w)).map(|(name, _)| name.clone()).collect()
    }

    /// Takes in what one of them looks like now; `None`: it is gone, or no ordinary file.
    pub fn found(&mut self, name: &OsStr, entry: Option<Entry>, now: u64) {
        let Some(entry) = entry else {
            self.waiting.remove(name);
            return;
        };
        let Some(waiting) = self.waiting.get_mut(name) else { return };
        waiting.state = match waiting.state {
            State::Ready | State::Closed(_) => return,
            // One that is being made will be heard of when its writer closes it, who may only be
            // slow. A second name (a hard link) is given to what is whole.
            State::New { made } => {
                let wait = if made && entry.links == 1 { self.patience } else { self.settle };
                State::Still { entry, since: now, wait }
            }
            State::Still { entry: before, wait, .. } if before != entry => {
                State::Still { entry, since: now, wait }
            }
            State::Still { since, wait, .. } if now < since + wait => return,
            State::Still { .. } => State::Ready,
        };
    }

    /// What to do now. With several waiting, only the first name counts.
    pub fn next(&self, now: u64) -> Next {
        let Some((name, waiting)) = self.waiting.first_key_value() else { return Next::Nothing };
        match waiting.state {
            State::Ready => Next::Claim(name.clone()),
            State::Closed(at) if now >= at + self.settle => Next::Claim(name.clone()),
            State::Closed(at) => Next::Wait(at + self.settle),
            State::Still { since, wait, .. } if now < since + wait => Next::Wait(since + wait),
            State::New { .. } | State::Still { .. } => Next::Look(name.clone()),
        }
    }

    /// It has been claimed, or cannot be: it is not waited for any more.
    pub fn forget(&mut self, name: &OsStr) -> Option<u64> {
        self.waiting.remove(name).map(|w| w.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry { size: 5, modified: 1, links: 1 };

    fn name(name: &str) -> OsString {
        name.into()
    }

    fn incoming() -> Incoming {
        Incoming::new(2_000, 30_000)
    }

    #[test]
    fn a_delta_that_came_by_rename_is_claimed_at_once() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Renamed(name("a.jsonl")), 10, 0);
        assert_eq!(incoming.next(10), Next::Claim(name("a.jsonl")));
    }

    #[test]
    fn a_delta_written_in_place_settles_after_its_last_close() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Touched(name("a.jsonl")), 0, 0);
        assert_eq!(incoming.next(0), Next::Look(name("a.jsonl")));
        incoming.found(OsStr::new("a.jsonl"), Some(ENTRY), 0);
        assert_eq!(incoming.next(5_000), Next::Wait(30_000), "it is still being written");
        incoming.arrival(Arrival::Written(name("a.jsonl")), 6_000, 0);
        assert_eq!(incoming.next(7_999), Next::Wait(8_000));
        incoming.arrival(Arrival::Written(name("a.jsonl")), 7_999, 0);
        assert_eq!(incoming.next(8_000), Next::Wait(9_999), "it was opened again");
        assert_eq!(incoming.next(9_999), Next::Claim(name("a.jsonl")));
    }

    #[test]
    fn a_delta_found_by_a_scan_must_stand_still() {
        let mut incoming = incoming();
        incoming.scan(vec![name("a.jsonl"), name(".a.jsonl"), name("a.tmp")], 0);
        assert_eq!(incoming.next(0), Next::Look(name("a.jsonl")));
        incoming.found(OsStr::new("a.jsonl"), Some(ENTRY), 0);
        assert_eq!(incoming.next(0), Next::Wait(2_000));
        assert_eq!(incoming.next(2_000), Next::Look(name("a.jsonl")));
        incoming.found(OsStr::new("a.jsonl"), Some(Entry { size: 6, ..ENTRY }), 2_000);
        assert_eq!(incoming.next(2_000), Next::Wait(4_000), "it has grown");
        incoming.found(OsStr::new("a.jsonl"), Some(Entry { size: 6, ..ENTRY }), 4_000);
        assert_eq!(incoming.next(4_000), Next::Claim(name("a.jsonl")));
    }

    #[test]
    fn a_backlog_settles_together() {
        let mut incoming = incoming();
        incoming.scan(vec![name("a.jsonl"), name("b.jsonl")], 0);
        assert_eq!(incoming.new_ones(), ["a.jsonl", "b.jsonl"]);
        incoming.new_ones().iter().for_each(|name| incoming.found(name, Some(ENTRY), 0));
        for name in [name("a.jsonl"), name("b.jsonl")] {
            incoming.found(&name, Some(ENTRY), 2_000);
            assert_eq!(incoming.next(2_000), Next::Claim(name.clone()));
            incoming.forget(&name);
        }
    }

    #[test]
    fn a_hard_link_needs_no_closing() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Touched(name("a.jsonl")), 0, 0);
        incoming.found(OsStr::new("a.jsonl"), Some(Entry { links: 2, ..ENTRY }), 0);
        assert_eq!(incoming.next(0), Next::Wait(2_000));
    }

    #[test]
    fn an_unsettled_delta_holds_back_those_behind_it() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Renamed(name("b.jsonl")), 0, 7);
        incoming.arrival(Arrival::Written(name("a.jsonl")), 0, 8);
        assert_eq!(incoming.next(0), Next::Wait(2_000));
        assert_eq!(incoming.oldest_seen(), Some(7));
        assert_eq!(incoming.next(2_000), Next::Claim(name("a.jsonl")));
        incoming.forget(OsStr::new("a.jsonl"));
        assert_eq!(incoming.next(2_000), Next::Claim(name("b.jsonl")));
        incoming.arrival(Arrival::Gone(name("b.jsonl")), 0, 0);
        assert_eq!(incoming.next(2_000), Next::Nothing);
    }

    #[test]
    fn a_scan_forgets_what_is_gone_and_keeps_what_is_known() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Renamed(name("a.jsonl")), 0, 0);
        incoming.arrival(Arrival::Renamed(name("b.jsonl")), 0, 0);
        incoming.scan(vec![name("b.jsonl")], 0);
        assert_eq!(incoming.next(0), Next::Claim(name("b.jsonl")));
        incoming.found(OsStr::new("b.jsonl"), None, 0);
        assert_eq!(incoming.next(0), Next::Nothing);
    }
}
