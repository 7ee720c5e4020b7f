//! The latch on the machine's own atomics. In which orders they may be seen is loom's to try:
//! tests/latch.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Latch, Text};

fn words(n: usize) -> &'static [AtomicU64] {
    Vec::leak((0..n).map(|_| AtomicU64::new(0)).collect())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "two threads play the two processes")]
fn a_reader_never_sees_half_a_write() {
    let page = words(Latch::<16>::WORDS);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let latch = Latch::<16>::over(page);
            (1..=200_000u64).for_each(|i| latch.write(&[i; 16]));
        });
        let latch = Latch::<16>::over(page);
        let mut last = 0;
        while !writer.is_finished() {
            let seen = latch.read();
            assert!(seen.iter().all(|w| *w == seen[0]), "{seen:?}");
            assert!(seen[0] >= last, "went back from {last} to {}", seen[0]);
            last = seen[0];
        }
    });
}

#[test]
fn a_writer_killed_anywhere_leaves_a_readable_page_to_its_successor() {
    // The steps of a write, by hand, cut off after each one.
    for cut in 0..=6 {
        let page = words(Latch::<2>::WORDS);
        let latch = Latch::<2>::over(page);
        latch.write(&[1, 1]);
        let turn = page[0].load(Relaxed);
        let steps: [(usize, u64); 6] =
            [(0, turn | 1), (1, 2), (2, 2), (0, turn + 2), (3, 2), (4, 2)];
        steps[..cut].iter().for_each(|(at, value)| page[*at].store(*value, Relaxed));
        let seen = latch.read();
        assert!(seen == [1, 1] || seen == [2, 2], "after {cut} steps: {seen:?}");
        latch.repair();
        assert_eq!(latch.read(), seen);
        latch.write(&[3, 3]);
        assert_eq!(latch.read(), [3, 3]);
    }
}

#[test]
fn long_text_is_cut_at_a_character() {
    let text = Text::over(words(Text::WORDS));
    text.write(&"ü".repeat(200));
    assert_eq!(text.read(), "ü".repeat(Text::BYTES / 2));
    text.write("short");
    assert_eq!(text.read(), "short");
}

#[test]
fn a_scribbled_length_is_no_trouble() {
    let page = words(Text::WORDS);
    page.iter().for_each(|w| w.store(u64::MAX, Relaxed));
    assert!(Text::over(page).read().len() <= 3 * Text::BYTES);
}

#[test]
fn what_was_scribbled_is_written_over() {
    let page = words(Text::WORDS);
    page.iter().for_each(|w| w.store(u64::MAX, Relaxed));
    let text = Text::over(page);
    text.repair();
    text.write("well again");
    assert_eq!(text.read(), "well again");
}
