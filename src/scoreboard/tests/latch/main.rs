//! The latch under loom: the very same source, with loom's atomics in the place of the machine's,
//! so that every order is tried in which the memory model lets a reader see a writer's stores. A
//! test on real processors tries those that they happen to show, and x86 shows few.
//!
//! Each mistake that the latch's fences are there against is made here as well, and loom finds it.

mod atomic;
#[allow(dead_code, reason = "text under a latch is not what is tried here")]
#[path = "../../latch.rs"]
mod latch;

use atomic::{AtomicU64, Mistake};
use latch::Latch;
use loom::model::Builder;
use loom::thread;

type Pair = Latch<2>;

/// The stores of one write: two of the turn, and two in each copy.
const STORES: usize = 6;

/// A page on which a write of `value` is done. (A loom atomic cannot outlive its model, but what
/// is leaked is never asked again.)
fn page(value: u64) -> &'static [AtomicU64] {
    let copies = [value; 4].map(AtomicU64::new);
    Vec::leak([AtomicU64::turn(2)].into_iter().chain(copies).collect())
}

/// Tries every order that needs no more than so many switches away from a thread that could go on.
fn try_all(switches: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

/// Reads; fails if that is no whole write.
fn read(latch: &Pair) -> u64 {
    let seen = latch.read();
    assert_eq!(seen[0], seen[1], "half a write is seen");
    seen[0]
}

/// One process writes twice, made with this mistake, while another one reads.
fn write_and_read(mistake: Mistake) {
    try_all(2, move || {
        let page = page(1);
        atomic::make(mistake);
        let writer = thread::spawn(move || {
            atomic::write_here();
            let latch = Pair::over(page);
            latch.write(&[2; 2]);
            latch.write(&[3; 2]);
        });
        let latch = Pair::over(page);
        read(&latch);
        writer.join().unwrap();
        assert_eq!(read(&latch), 3);
    });
}

#[test]
fn a_reader_never_sees_half_a_write() {
    write_and_read(Mistake::None);
}

#[test]
fn a_reader_never_sees_an_older_write_than_before() {
    try_all(3, || {
        let page = page(1);
        atomic::make(Mistake::None);
        let writer = thread::spawn(move || {
            atomic::write_here();
            Pair::over(page).write(&[2; 2]);
        });
        let latch = Pair::over(page);
        let (first, second) = (read(&latch), read(&latch));
        assert!(second >= first, "it went back from {first} to {second}");
        writer.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "half a write")]
fn without_the_fence_before_readers_go_to_copy_1_half_a_write_is_seen() {
    write_and_read(Mistake::WritersFence(0));
}

#[test]
#[should_panic(expected = "half a write")]
fn without_the_fence_before_copy_0_is_filled_half_a_write_is_seen() {
    write_and_read(Mistake::WritersFence(1));
}

#[test]
#[should_panic(expected = "half a write")]
fn without_the_fence_before_readers_go_to_copy_0_half_a_write_is_seen() {
    write_and_read(Mistake::WritersFence(2));
}

#[test]
#[should_panic(expected = "half a write")]
fn without_the_fence_before_copy_1_is_filled_half_a_write_is_seen() {
    write_and_read(Mistake::WritersFence(3));
}

#[test]
#[should_panic(expected = "half a write")]
fn without_the_readers_fence_half_a_write_is_seen() {
    write_and_read(Mistake::ReadersFence);
}

#[test]
#[should_panic(expected = "half a write")]
fn with_a_turn_that_acquires_nothing_half_a_write_is_seen() {
    write_and_read(Mistake::RelaxedTurn);
}

#[test]
#[should_panic(expected = "half a write")]
fn with_the_copies_the_other_way_round_half_a_write_is_seen() {
    write_and_read(Mistake::OtherCopy);
}

/// Writes, and is killed after so many stores.
fn write_and_die(latch: &Pair, stores: usize) {
    atomic::make(Mistake::KilledAfter(stores));
    latch.write(&[2; 2]);
    atomic::make(Mistake::None);
}

/// A writer is killed after so many stores, its successor after so many of the repair it begins with,
/// and the next one, made with this mistake, repairs. All the while another process reads.
fn die_repair_and_read(stores: usize, of_the_repair: usize, mistake: Mistake) {
    try_all(3, move || {
        let page = page(1);
        atomic::make(Mistake::None);
        let writers = thread::spawn(move || {
            atomic::write_here();
            let latch = Pair::over(page);
            write_and_die(&latch, stores);
            atomic::make(Mistake::KilledAfter(of_the_repair));
            latch.repair();
            atomic::make(mistake);
            latch.repair();
        });
        read(&Pair::over(page));
        writers.join().unwrap();
        read(&Pair::over(page));
    });
}

#[test]
fn a_writer_killed_between_any_two_stores_leaves_a_whole_copy_also_to_be_repaired() {
    (0..=STORES).for_each(|stores| die_repair_and_read(stores, 1, Mistake::None));
}

#[test]
#[should_panic(expected = "half a write")]
fn without_the_fence_of_a_repair_half_a_write_is_seen() {
    // Readers have been sent to copy 0, but some may still be at copy 1, which is repaired.
    die_repair_and_read(4, 0, Mistake::WritersFence(0));
}

#[test]
fn the_first_write_after_a_repair_shows_nothing_of_the_dead_writers() {
    for stores in 0..=STORES {
        try_all(3, move || {
            let page = page(1);
            atomic::write_here();
            write_and_die(&Pair::over(page), stores);
            let reader = thread::spawn(move || read(&Pair::over(page)));
            let latch = Pair::over(page);
            latch.repair();
            latch.write(&[3; 2]);
            reader.join().unwrap();
        });
    }
}
