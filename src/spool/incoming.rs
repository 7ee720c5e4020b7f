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
    /// Its inode number.
    pub inode: u64,
}

impl Entry {
    /// The file at `path`, if it is an ordinary one. A symbolic link is not.
    pub fn look(path: &Path) -> io::Result<Option<Entry>> {
        let found = std::fs::symlink_metadata(path)?;
        let modified = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        let (size, links, inode) = (found.size(), found.nlink(), found.ino());
        let entry = Entry { size, modified, links, inode };
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
    /// The scan in which it was last heard of.
    round: u64,
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
    /// How many of them were first seen when: there may be a hundred thousand, and the oldest is
    /// asked for at every turn.
    seen: BTreeMap<u64, usize>,
    /// Counts scans.
    round: u64,
}

impl Incoming {
    /// Nothing seen yet. `settle` and `poll` as configured, in milliseconds.
    pub fn new(settle: u64, poll: u64) -> Incoming {
        let (waiting, seen) = (BTreeMap::new(), BTreeMap::new());
        Incoming { settle, patience: settle.max(poll), waiting, seen, round: 0 }
    }

    /// Other times, from a new configuration.
    pub fn configure(&mut self, settle: u64, poll: u64) {
        (self.settle, self.patience) = (settle, settle.max(poll));
    }

    /// When the oldest of those waiting was first seen, milliseconds since 1970.
    pub fn oldest_seen(&self) -> Option<u64> {
        self.seen.first_key_value().map(|(seen, _)| *seen)
    }

    /// When this one was first seen.
    pub fn seen(&self, name: &OsStr) -> Option<u64> {
        self.waiting.get(name).map(|w| w.seen)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn see(&mut self, name: OsString, wall: u64, state: State) {
        let round = self.round;
        match self.waiting.get_mut(&name) {
            Some(waiting) => (waiting.state, waiting.round) = (state, round),
            None => {
                self.waiting.insert(name, Waiting { seen: wall, state, round });
                *self.seen.entry(wall).or_default() += 1;
            }
        }
    }

    /// It has been claimed, or is gone, or cannot be a delta: it is not waited for any more.
    pub fn forget(&mut self, name: &OsStr) {
        let Some(Waiting { seen, .. }) = self.waiting.remove(name) else { return };
        if let Some(count) = self.seen.get_mut(&seen) {
            *count -= 1;
            if *count == 0 {
                self.seen.remove(&seen);
            }
        }
    }

    /// Takes in one event. Answers whether the folder must be scanned.
    pub fn arrival(&mut self, arrival: Arrival, now: u64, wall: u64) -> bool {
        match arrival {
            Arrival::Renamed(name) if is_delta(&name) => self.see(name, wall, State::Ready),
            Arrival::Written(name) if is_delta(&name) => self.see(name, wall, State::Closed(now)),
            Arrival::Touched(name) if is_delta(&name) => {
                self.see(name, wall, State::New { made: true })
            }
            Arrival::Gone(name) => self.forget(&name),
            Arrival::Renamed(_) | Arrival::Written(_) | Arrival::Touched(_) => {}
            Arrival::Overflow => {
                // Anything may have happened to any of them. Those that must stand still are looked
                // at anyway, and go on: else nothing would ever be ready while events are lost.
                for waiting in self.waiting.values_mut() {
                    if !matches!(waiting.state, State::Still { .. }) {
                        waiting.state = State::New { made: false };
                    }
                }
                return true;
            }
            Arrival::Lost => return true,
        }
        false
    }

    /// A listing of the folder begins. It may take its time, and events may come in between.
    pub fn scan_begins(&mut self) {
        self.round += 1;
    }

    /// A name of the listing. Answers whether its file must be looked at now, by
    /// [`Incoming::found`]: the times of all that are found begin together, so a backlog settles
    /// together, not one after the other.
    pub fn listed(&mut self, name: &OsStr, wall: u64) -> bool {
        match self.waiting.get_mut(name) {
            Some(waiting) => waiting.round = self.round,
            None if is_delta(name) => self.see(name.into(), wall, State::New { made: false }),
            None => return false,
        }
        matches!(self.waiting.get(name), Some(Waiting { state: State::New { .. }, .. }))
    }

    /// The listing is whole: what was not in it, and not heard of since it began, is gone.
    pub fn scan_ends(&mut self) {
        let round = self.round;
        let gone = self.waiting.iter().filter(|(_, w)| w.round != round);
        let gone: Vec<OsString> = gone.map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| self.forget(name));
    }

    /// Takes in what one of them looks like now; `None`: it is gone, or no ordinary file.
    pub fn found(&mut self, name: &OsStr, entry: Option<Entry>, now: u64) {
        let Some(entry) = entry else {
            self.forget(name);
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

    /// The name that comes first.
    pub fn first(&self) -> Option<&OsStr> {
        self.waiting.first_key_value().map(|(name, _)| name.as_os_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry { size: 5, modified: 1, links: 1, inode: 1 };

    fn name(name: &str) -> OsString {
        name.into()
    }

    fn incoming() -> Incoming {
        Incoming::new(2_000, 30_000)
    }

    /// A whole listing; which of them must be looked at.
    fn scan(incoming: &mut Incoming, names: &[&str], wall: u64) -> Vec<OsString> {
        incoming.scan_begins();
        let new: Vec<OsString> =
            names.iter().map(|n| name(n)).filter(|name| incoming.listed(name, wall)).collect();
        incoming.scan_ends();
        new
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
        assert_eq!(scan(&mut incoming, &["a.jsonl", ".a.jsonl", "a.tmp"], 0), ["a.jsonl"]);
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
        let new = scan(&mut incoming, &["a.jsonl", "b.jsonl"], 0);
        assert_eq!(new, ["a.jsonl", "b.jsonl"]);
        new.iter().for_each(|name| incoming.found(name, Some(ENTRY), 0));
        assert!(scan(&mut incoming, &["a.jsonl", "b.jsonl"], 0).is_empty(), "they are known");
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
        assert_eq!((incoming.oldest_seen(), incoming.seen("a.jsonl".as_ref())), (Some(7), Some(8)));
        assert_eq!(incoming.first(), Some("a.jsonl".as_ref()));
        assert_eq!(incoming.next(2_000), Next::Claim(name("a.jsonl")));
        incoming.forget(OsStr::new("a.jsonl"));
        assert_eq!(incoming.next(2_000), Next::Claim(name("b.jsonl")));
        incoming.arrival(Arrival::Gone(name("b.jsonl")), 0, 0);
        assert_eq!((incoming.next(2_000), incoming.oldest_seen()), (Next::Nothing, None));
    }

    #[test]
    fn what_comes_while_a_scan_is_under_way_is_not_taken_for_gone() {
        let mut incoming = incoming();
        scan(&mut incoming, &["a.jsonl", "b.jsonl"], 0);
        incoming.scan_begins();
        incoming.listed(OsStr::new("b.jsonl"), 0);
        incoming.arrival(Arrival::Renamed(name("c.jsonl")), 0, 0);
        incoming.scan_ends();
        assert_eq!((incoming.len(), incoming.seen("a.jsonl".as_ref())), (2, None));
        incoming.scan_begins();
        incoming.listed(OsStr::new("b.jsonl"), 0);
        incoming.arrival(Arrival::Renamed(name("c.jsonl")), 0, 0); // again, where it was passed by
        incoming.scan_ends();
        assert_eq!(incoming.len(), 2);
        // Something was missed: all of them are looked at once more, and none is gone for that.
        assert!(incoming.arrival(Arrival::Overflow, 0, 0));
        assert_eq!(scan(&mut incoming, &["b.jsonl", "c.jsonl"], 0), ["b.jsonl", "c.jsonl"]);
    }

    #[test]
    fn while_events_are_lost_again_and_again_what_stands_still_is_claimed_all_the_same() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Renamed(name("a.jsonl")), 0, 0);
        for now in (0..2_000).step_by(500) {
            incoming.arrival(Arrival::Overflow, now, 0);
            for name in scan(&mut incoming, &["a.jsonl"], 0) {
                incoming.found(&name, Some(ENTRY), now);
            }
            assert_eq!(incoming.next(now), Next::Wait(2_000));
        }
        incoming.arrival(Arrival::Overflow, 2_000, 0);
        assert_eq!(incoming.next(2_000), Next::Look(name("a.jsonl")));
        incoming.found(OsStr::new("a.jsonl"), Some(ENTRY), 2_000);
        assert_eq!(incoming.next(2_000), Next::Claim(name("a.jsonl")));
    }

    #[test]
    fn the_oldest_is_known_whoever_comes_and_goes() {
        let mut incoming = incoming();
        for (at, letter) in [(5, "c"), (7, "a"), (7, "b"), (9, "d")] {
            incoming.arrival(Arrival::Renamed(name(&format!("{letter}.jsonl"))), 0, at);
            incoming.arrival(Arrival::Renamed(name(&format!("{letter}.jsonl"))), 0, at + 50);
        }
        let oldest = |incoming: &Incoming| incoming.oldest_seen();
        assert_eq!((oldest(&incoming), incoming.len()), (Some(5), 4));
        incoming.forget(OsStr::new("c.jsonl"));
        incoming.forget(OsStr::new("c.jsonl"));
        assert_eq!(oldest(&incoming), Some(7));
        incoming.found(OsStr::new("a.jsonl"), None, 0);
        assert_eq!(oldest(&incoming), Some(7));
        scan(&mut incoming, &["d.jsonl", "e.jsonl"], 8);
        assert_eq!(oldest(&incoming), Some(8));
        scan(&mut incoming, &[], 10);
        assert_eq!((oldest(&incoming), incoming.is_empty()), (None, true));
    }

    #[test]
    fn a_scan_forgets_what_is_gone_and_keeps_what_is_known() {
        let mut incoming = incoming();
        incoming.arrival(Arrival::Renamed(name("a.jsonl")), 0, 0);
        incoming.arrival(Arrival::Renamed(name("b.jsonl")), 0, 0);
        scan(&mut incoming, &["b.jsonl"], 0);
        assert_eq!(incoming.next(0), Next::Claim(name("b.jsonl")));
        incoming.found(OsStr::new("b.jsonl"), None, 0);
        assert_eq!(incoming.next(0), Next::Nothing);
    }
}
