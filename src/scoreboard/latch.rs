//! A latch: several words that are read as they stood at one moment, whatever becomes of their
//! writer.
//!
//! Two copies; the writer fills the one that nobody reads, then flips (the kernel's
//! `seqcount_latch_t`). A seqlock would not do: a writer killed in mid-write leaves it odd, and
//! unreadable for ever. Here a reader always has one whole copy.

// The tests in tests/latch put loom's there.
use super::atomic::{AtomicU64, Ordering::*, fence};

/// `N` words with one writer and any number of readers.
pub struct Latch<const N: usize> {
    words: &'static [AtomicU64],
}

impl<const N: usize> Latch<N> {
    /// The words of shared memory that it takes: a turn count and two copies.
    pub const WORDS: usize = 1 + 2 * N;

    /// A latch over [`Self::WORDS`] words, all zero or written by another latch.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn over(words: &'static [AtomicU64]) -> Latch<N> {
        assert!(words.len() >= Self::WORDS, "a latch needs {} words", Self::WORDS);
        Latch { words }
    }

    fn turn(&self) -> &AtomicU64 {
        &self.words[0]
    }

    fn copy(&self, which: u64) -> &[AtomicU64] {
        let at = 1 + (which & 1) as usize * N;
        &self.words[at..at + N]
    }

    /// Writes all the words. There must be no other writer, and the last one must have finished
    /// or its latch be repaired.
    pub fn write(&self, values: &[u64; N]) {
        let turn = self.turn().load(Relaxed) & !1;
        fence(Release); // every word of copy 1, of the write before, before this
        self.turn().store(turn | 1, Relaxed); // readers go to copy 1
        fence(Release); // not a word of copy 0 before that
        self.fill(0, values);
        fence(Release); // every word of copy 0 before this
        self.turn().store(turn.wrapping_add(2), Relaxed); // readers go to copy 0
        fence(Release);
        self.fill(1, values);
    }

    fn fill(&self, which: u64, values: &[u64; N]) {
        for (word, value) in self.copy(which).iter().zip(values) {
            word.store(*value, Relaxed);
        }
    }

    /// Reads all the words as they stood at one moment.
    ///
    /// A page that something scribbles on without rest cannot hold a reader for ever: after a
    /// million tries it takes what it has.
    pub fn read(&self) -> [u64; N] {
        let mut values = [0; N];
        for _ in 0..1_000_000 {
            let turn = self.turn().load(Acquire);
            for (value, word) in values.iter_mut().zip(self.copy(turn)) {
                *value = word.load(Relaxed);
            }
            fence(Acquire);
            if self.turn().load(Relaxed) == turn {
                break;
            }
        }
        values
    }

    /// Makes both copies the same again. A new writer begins with it: the last one may have been
    /// killed in the middle of one, and a write sends readers to the other copy first of all.
    pub fn repair(&self) {
        let values = self.read();
        let turn = self.turn().load(Relaxed);
        fence(Release); // not a word of the other copy before the turn that readers are at
        self.fill(turn ^ 1, &values);
    }
}

const TEXT: usize = 32;

/// A line of text of up to 247 bytes under a latch; longer text is cut at a character.
pub struct Text {
    latch: Latch<TEXT>,
}

impl Text {
    /// The words of shared memory that it takes.
    pub const WORDS: usize = Latch::<TEXT>::WORDS;
    /// The longest text, in bytes.
    pub const BYTES: usize = (TEXT - 1) * 8 - 1;

    /// Text over [`Self::WORDS`] words.
    pub fn over(words: &'static [AtomicU64]) -> Text {
        Text { latch: Latch::over(words) }
    }

    /// Writes it.
    pub fn write(&self, text: &str) {
        let mut end = text.len().min(Self::BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut words = [0; TEXT];
        words[0] = end as u64;
        for (word, bytes) in words[1..].iter_mut().zip(text.as_bytes()[..end].chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(eight);
        }
        self.latch.write(&words);
    }

    /// Reads it. Whatever stands there, this is text of bounded length.
    pub fn read(&self) -> String {
        let words = self.latch.read();
        let bytes: Vec<u8> = words[1..].iter().flat_map(|word| word.to_le_bytes()).collect();
        let end = (words[0] as usize).min(Self::BYTES);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// See [`Latch::repair`].
    pub fn repair(&self) {
        self.latch.repair();
    }
}
