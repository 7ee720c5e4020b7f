//! Repeated ids: where lines go by number, a document has one line in a delta, and nobody knows which of
//! two would win. It is no reason to stop, but to be told.
//!
//! Each share writes down a hash of each id beside its line's number, into a file of its own in
//! `active/`; when all are in they are compared. A line that was sent again after a death stands there
//! twice, with one number.
//!
//! Comparing takes little time and memory, since nearly all ids stand there once: a first pass puts each
//! hash's bit into a map, and into a second one if it is there already; a second pass picks out those
//! that have a bit in the second map, few, and sorts them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Lines from this one on are not looked at.
pub(crate) const MOST: u64 = 4_000_000;
/// A record: hash and line.
const RECORD: usize = 12;
/// Records are written when there are so many bytes of them.
const BUFFER: usize = 48 << 10;
/// The maps have so many bits for each record, and so many in all at most: two times 4 MiB.
const BITS: u64 = 8;
const MOST_BITS: u64 = 1 << 25;

/// The ids of one share.
pub(crate) struct Ids {
    path: PathBuf,
    buffer: Vec<u8>,
    file: Option<File>,
    /// It cannot be written, so nobody looks any more.
    pub(crate) broken: Option<io::Error>,
}

impl Ids {
    pub(crate) fn new(path: PathBuf) -> Ids {
        Ids { path, buffer: Vec::new(), file: None, broken: None }
    }

    /// A line has a document of this id's hash.
    pub(crate) fn note(&mut self, hash: u64, line: u64) {
        if line >= MOST || self.broken.is_some() {
            return;
        }
        self.buffer.extend_from_slice(&hash.to_le_bytes());
        self.buffer.extend_from_slice(&(line as u32).to_le_bytes());
        if self.buffer.len() >= BUFFER {
            self.write();
        }
    }

    /// Writes what is not written yet. It is not synced: what a power cut takes is not counted.
    pub(crate) fn write(&mut self) {
        if let Err(e) = self.try_to_write() {
            self.broken = Some(e);
        }
        self.buffer.clear();
    }

    fn try_to_write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).create(true).open(&self.path)?);
        }
        self.file.iter_mut().try_for_each(|file| file.write_all(&self.buffer))
    }
}

/// The comparison of all shares' ids.
pub(crate) struct Repeats {
    paths: Vec<PathBuf>,
    /// The next file, in the first pass, then in the second.
    next: usize,
    seen: Bits,
    again: Bits,
    /// What may be there on several lines.
    picked: Vec<(u64, u32)>,
}

impl Repeats {
    /// Of these files, of which some may not be there.
    pub(crate) fn begin(paths: Vec<PathBuf>) -> io::Result<Repeats> {
        let mut records = 0;
        for path in &paths {
            records += length(path)? / RECORD as u64;
        }
        let bits = (records * BITS).clamp(64, MOST_BITS).next_power_of_two();
        let (seen, again) = (Bits::new(bits), Bits::new(bits));
        Ok(Repeats { paths, next: 0, seen, again, picked: Vec::new() })
    }

    /// Looks at one file; after the last, once more, it answers how many lines have an id that an
    /// earlier one has.
    pub(crate) fn step(&mut self) -> io::Result<Option<u64>> {
        let (at, count) = (self.next, self.paths.len());
        self.next += 1;
        if at < count {
            let (seen, again) = (&mut self.seen, &mut self.again);
            read(&self.paths[at], |hash, _| {
                if seen.set(hash) {
                    again.set(hash);
                }
            })?;
        } else if at < 2 * count {
            let (again, picked) = (&self.again, &mut self.picked);
            read(&self.paths[at - count], |hash, line| {
                if again.has(hash) {
                    picked.push((hash, line));
                }
            })?;
        } else {
            self.picked.sort_unstable();
            self.picked.dedup(); // a line that was sent twice
            let same = |pair: &&[(u64, u32)]| pair[0].0 == pair[1].0;
            return Ok(Some(self.picked.windows(2).filter(same).count() as u64));
        }
        Ok(None)
    }
}

/// A bit for each of some values of a hash.
struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// So many, a power of two.
    fn new(bits: u64) -> Bits {
        Bits { words: vec![0; (bits / 64) as usize] }
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize & (self.words.len() - 1), 1 << (hash & 63))
    }

    /// Sets the hash's bit; whether it was set before.
    fn set(&mut self, hash: u64) -> bool {
        let (at, bit) = self.place(hash);
        let was = self.words[at] & bit != 0;
        self.words[at] |= bit;
        was
    }

    fn has(&self, hash: u64) -> bool {
        let (at, bit) = self.place(hash);
        self.words[at] & bit != 0
    }
}

fn length(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

/// Gives all records of a file, hash and line. A torn one at the end is none.
fn read(path: &Path, mut each: impl FnMut(u64, u32)) -> io::Result<()> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let mut buffer = vec![0; RECORD * 4096];
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(());
        }
        let whole = (kept + read) / RECORD * RECORD;
        for record in buffer[..whole].chunks_exact(RECORD) {
            let (hash, line) = record.split_at(8);
            each(
                u64::from_le_bytes(hash.try_into().unwrap_or_default()),
                u32::from_le_bytes(line.try_into().unwrap_or_default()),
            );
        }
        buffer.copy_within(whole..kept + read, 0);
        kept = kept + read - whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(repeats: &mut Repeats) -> u64 {
        loop {
            if let Some(count) = repeats.step().unwrap() {
                return count;
            }
        }
    }

    #[test]
    fn an_id_on_two_lines_counts_and_a_line_that_was_sent_twice_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: u32| dir.path().join(format!("{n}"));
        let mut first = Ids::new(path(0));
        [(7, 0), (8, 2), (7, 4)].into_iter().for_each(|(hash, line)| first.note(hash, line));
        first.write();
        // Another worker goes on with the share, and does line 4 again.
        let mut again = Ids::new(path(0));
        [(7, 4), (9, 6)].into_iter().for_each(|(hash, line)| again.note(hash, line));
        again.write();
        let mut other = Ids::new(path(1));
        [(9, 1), (7, 3), (10, MOST), (8, MOST)].into_iter().for_each(|(h, l)| other.note(h, l));
        other.write();
        let mut repeats = Repeats::begin((0..3).map(path).collect()).unwrap();
        assert_eq!(count(&mut repeats), 3, "7 twice more, 9 once more");
    }

    #[test]
    fn many_are_compared_and_few_are_picked_out() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("0"), dir.path().join("1")];
        let mut ids = paths.clone().map(Ids::new);
        for line in 0..700_000u64 {
            let hash = (line % 600_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ids[(line % 2) as usize].note(hash, line);
        }
        ids.iter_mut().for_each(Ids::write);
        let mut repeats = Repeats::begin(paths.to_vec()).unwrap();
        assert_eq!(count(&mut repeats), 100_000);
        assert!((200_000..320_000).contains(&repeats.picked.len()), "{}", repeats.picked.len());
    }

    #[test]
    fn a_torn_record_is_none_and_a_file_that_cannot_be_written_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let mut ids = Ids::new(path.clone());
        [(7, 0), (7, 1)].into_iter().for_each(|(hash, line)| ids.note(hash, line));
        ids.write();
        File::options().write(true).open(&path).unwrap().set_len(23).unwrap();
        assert_eq!(count(&mut Repeats::begin(vec![path]).unwrap()), 0);
        let mut ids = Ids::new(dir.path().join("no/such/folder"));
        ids.note(1, 1);
        ids.write();
        assert!(ids.broken.is_some());
        ids.note(1, 1);
        assert!(ids.buffer.is_empty());
    }
}
