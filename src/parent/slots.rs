//! Slots: a generation's numbered places, and who sits in them.
//!
//! A replacement takes the number of the one it replaces. One that keeps dying is tried again
//! later and later, by a deadline in poll and never by a sleep.

use crate::machine::ChildId;

/// What a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Post {
    /// The worker of this number.
    Worker(u32),
    /// The monitor.
    Monitor,
}

/// A child that has lived so long after it was ready is not in a crash loop, in milliseconds.
pub(crate) const WELL: u64 = 10_000;
const FIRST_WAIT: u64 = 100;
pub(crate) const LONGEST_WAIT: u64 = 30_000;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) post: Post,
    pub(crate) holder: Option<ChildId>,
    /// Deaths in a row, each soon after the start.
    failures: u32,
    /// When it is to be filled, in monotonic milliseconds.
    due: u64,
    /// Deaths since the daemon started.
    pub(crate) restarts: u64,
}

impl Slot {
    pub(crate) fn new(post: Post) -> Slot {
        Slot { post, holder: None, failures: 0, due: 0, restarts: 0 }
    }

    /// Its holder has died, `lived` milliseconds after it was ready. Answers how often that was in a row.
    pub(crate) fn vacate(&mut self, now: u64, lived: u64) -> u32 {
        self.holder = None;
        self.restarts += 1;
        if lived >= WELL {
            self.failures = 0;
        }
        // The first replacement comes at once.
        let wait = match self.failures {
            0 => 0,
            n => (FIRST_WAIT << (n - 1).min(16)).min(LONGEST_WAIT),
        };
        self.failures = self.failures.saturating_add(1);
        self.due = now + wait;
        self.failures
    }

    /// When it wants to be filled; `None`: somebody sits there.
    pub(crate) fn due(&self) -> Option<u64> {
        self.holder.is_none().then_some(self.due)
    }
}

/// The slots of one generation: its workers, by number, and its monitor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slots {
    pub(crate) generation: u64,
    all: Vec<Slot>,
    pub(crate) workers: u32,
}

impl Slots {
    pub(crate) fn new(generation: u64, workers: u32, monitor: bool) -> Slots {
        let posts = (0..workers).map(Post::Worker).chain(monitor.then_some(Post::Monitor));
        Slots { generation, all: posts.map(Slot::new).collect(), workers }
    }

    /// Goes on counting deaths where the slots of the generation before stopped.
    pub(crate) fn inherit(&mut self, before: &Slots) {
        for slot in &mut self.all {
            let same = before.all.iter().find(|other| other.post == slot.post);
            slot.restarts = same.map_or(0, |other| other.restarts);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.all.iter_mut()
    }

    /// Who sits in worker slot `number`.
    pub(crate) fn worker(&self, number: u32) -> Option<ChildId> {
        self.iter().find(|s| s.post == Post::Worker(number))?.holder
    }

    /// The slot that `child` holds.
    pub(crate) fn of(&mut self, child: ChildId) -> Option<&mut Slot> {
        self.iter_mut().find(|s| s.holder == Some(child))
    }

    /// Everybody who sits in one.
    pub(crate) fn holders(&self) -> Vec<ChildId> {
        self.iter().filter_map(|s| s.holder).collect()
    }
}

#[cfg(test)]
impl Slots {
    /// For the model: the same slots by other numbers, as if all this had been at another time. What
    /// makes no difference any more is left out, and with it states that differ in nothing else.
    pub(crate) fn restate(
        &mut self,
        generation: u64,
        child: impl Fn(ChildId) -> ChildId,
        time: impl Fn(u64) -> u64,
        most_failures: u32,
    ) {
        self.generation = generation;
        for slot in &mut self.all {
            slot.holder = slot.holder.map(&child);
            slot.due = if slot.holder.is_some() { 0 } else { time(slot.due) };
            slot.failures = slot.failures.min(most_failures);
            slot.restarts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_replacement_comes_at_once_a_crash_loop_ever_later() {
        let mut slot = Slot::new(Post::Worker(0));
        let waits: Vec<u64> = (0..12)
            .map(|_| {
                slot.vacate(1000, 5);
                slot.due().unwrap() - 1000
            })
            .collect();
        assert_eq!(waits[..5], [0, 100, 200, 400, 800]);
        assert_eq!(waits[11], LONGEST_WAIT);
        assert_eq!(slot.vacate(1000, WELL), 1, "one that lived long is no crash loop");
        assert_eq!(slot.due(), Some(1000));
    }
}
