//! loom's atomics in the place of the machine's, and the mistakes that a latch can be made with: so
//! it is seen that loom finds them. loom runs all threads of a model on one of the machine's, which
//! is why a thread-local can say which mistake it is.

use std::cell::Cell;

pub use loom::sync::atomic::Ordering;
use loom::sync::atomic::{AtomicU64 as Word, fence as real_fence};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Nothing.
    None,
    /// A write leaves out one of its four fences, the first being 0.
    WritersFence(usize),
    /// A read leaves out its fence.
    ReadersFence,
    /// A read looks at the turn and acquires nothing by it.
    RelaxedTurn,
    /// Readers are sent to the copy that is about to be filled.
    OtherCopy,
    /// The process is killed after so many stores: nothing happens after the last of them.
    KilledAfter(usize),
}

loom::thread_local! {
    /// Whether this thread of the model is the one that writes.
    static WRITES: Cell<bool> = Cell::new(false);
}

/// This thread is the one that writes.
///
/// What it loads is what was stored last, for nobody else stores; so loom need not see it load. And
/// must not: a load just before a store hides from loom that the store races with a reader's load
/// (it remembers one access to each word, the last), and orders would be left untried.
pub fn write_here() {
    WRITES.with(|writes| writes.set(true));
}

thread_local! {
    static MISTAKE: Cell<Mistake> = const { Cell::new(Mistake::None) };
    /// Stores, or a writer's fences, since the mistake was made.
    static SINCE: Cell<usize> = const { Cell::new(0) };
}

/// From now on this is wrong.
pub fn make(mistake: Mistake) {
    MISTAKE.set(mistake);
    SINCE.set(0);
}

/// A shared word.
#[derive(Debug)]
pub struct AtomicU64 {
    word: Word,
    /// What was stored last.
    last: std::sync::atomic::AtomicU64,
    is_turn: bool,
}

impl AtomicU64 {
    /// One of a copy's.
    pub fn new(value: u64) -> AtomicU64 {
        AtomicU64 { word: Word::new(value), last: value.into(), is_turn: false }
    }

    /// The turn count.
    pub fn turn(value: u64) -> AtomicU64 {
        AtomicU64 { is_turn: true, ..AtomicU64::new(value) }
    }

    /// As std's.
    pub fn load(&self, order: Ordering) -> u64 {
        match MISTAKE.get() {
            _ if WRITES.with(Cell::get) => self.last.load(Ordering::Relaxed),
            Mistake::RelaxedTurn => self.word.load(Ordering::Relaxed),
            _ => self.word.load(order),
        }
    }

    /// As std's.
    pub fn store(&self, value: u64, order: Ordering) {
        let value = match MISTAKE.get() {
            Mistake::KilledAfter(stores) if SINCE.replace(SINCE.get() + 1) >= stores => return,
            Mistake::OtherCopy if self.is_turn => value ^ 1,
            _ => value,
        };
        self.last.store(value, Ordering::Relaxed);
        self.word.store(value, order);
    }
}

/// As std's.
pub fn fence(order: Ordering) {
    let left_out = match (MISTAKE.get(), order) {
        (Mistake::KilledAfter(stores), Ordering::Release) => SINCE.get() >= stores,
        (Mistake::ReadersFence, Ordering::Acquire) => true,
        (Mistake::WritersFence(n), Ordering::Release) => SINCE.replace(SINCE.get() + 1) % 4 == n,
        _ => false,
    };
    if !left_out {
        real_fence(order);
    }
}
