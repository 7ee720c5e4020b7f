//! Repeated ids: where lines go by number, a document has one line in a delta, and nobody knows which of
//! two would win. It is no reason to stop, but to be told.
//!
//! Each share writes down a hash of each id beside its line's number, into a file of its own in
//! `active/`; when all are in they are compared. A line that was sent again after a death stands there
//! twice, with one number.
//!
//! Comparing takes little time and memory, since nearly all ids stand there once: a first pass puts each
//! hash's bit into a map, and into a second one if it is there already; a second pass picks out those
//! that have a bit in the second map, few, and sorts them. If nearly all stand there twice they are
//! many, and are picked out in several passes, a part of the hashes in each.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Lines from this one on are not looked at.
pub(crate) const MOST: u64 = 4_000_000;
/// A record: hash and line.
const RECORD: usize = 12;
/// Records are written when there are so many bytes of them.
const BUFFER: usize = 48 << 10;
/// So many are picked out at a time: 16 MiB of them.
const PART: u64 = 1 << 20;
/// The maps have so many bits for each record, and so many in all at most: two times 4 MiB.
const BITS: u64 = 8;
const MOST_BITS: u64 = 1 << 25;

/// The ids of one share.
pub(crate) struct Ids {
    path: PathBuf,
    buffer: Vec<u8>,
    file: Option<File>,
    /// It cannot be written, so nobody looks any more.
    broken: bool,
}

impl Ids {
    pub(crate) fn new(path: PathBuf) -> Ids {
        Ids { path, buffer: Vec::new(), file: None, broken: false }
    }

    /// A line has a document of this id's hash.
    pub(crate) fn note(&mut self, hash: u64, line: u64) -> io::Result<()> {
        if line >= MOST || self.broken {
            return Ok(());
        }
        self.buffer.extend_from_slice(&hash.to_le_bytes());
        self.buffer.extend_from_slice(&(line as u32).to_le_bytes());
        if self.buffer.len() >= BUFFER {
            return self.write();
        }
        Ok(())
    }

    /// Writes what is not written yet. It is not synced: what a power cut takes is not counted. What
    /// goes wrong here goes wrong once: nothing more is written then.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let written = self.try_to_write();
        self.broken |= written.is_err();
        self.buffer.clear();
        written
    }

    fn try_to_write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            // A torn record at the end would put all others out of place.
            let length = file.metadata()?.len();
            file.set_len(length - length % RECORD as u64)?;
            self.file = Some(file);
        }
        self.file.iter_mut().try_for_each(|file| file.write_all(&self.buffer))
    }
}

/// The comparison of all shares' ids.
pub(crate) struct Repeats {
    paths: Vec<PathBuf>,
    /// The next file, in the first pass, then in the second.
    next: usize,
    seen: Seen,
    /// So many records found their bit set, in the first pass: that many are picked, and as many more
    /// at most.
    met: u64,
    /// What may be there on several lines, of this part.
    picked: Vec<(u64, u32)>,
    /// Lines with an id that an earlier one has, of the parts before.
    count: u64,
}

impl Repeats {
    /// Of these files, of which some may not be there.
    pub(crate) fn begin(paths: Vec<PathBuf>) -> io::Result<Repeats> {
        let mut records = 0;
        for path in &paths {
            records += length(path)? / RECORD as u64;
        }
        let bits = (records * BITS).clamp(64, MOST_BITS).next_power_of_two();
        let (seen, picked) = (Seen::new(bits), Vec::new());
        Ok(Repeats { paths, next: 0, seen, met: 0, picked, count: 0 })
    }

    /// Looks at one file; after the last, once more, it answers how many lines have an id that an
    /// earlier one has.
    pub(crate) fn step(&mut self) -> io::Result<Option<u64>> {
        let (at, count) = (self.next, self.paths.len());
        self.next += 1;
        if count == 0 {
            return Ok(Some(0));
        }
        if at < count {
            let (seen, met) = (&mut self.seen, &mut self.met);
            read(&self.paths[at], |hash, _| *met += u64::from(seen.see(hash)))?;
            return Ok(None);
        }
        let parts = (2 * self.met).div_ceil(PART).max(1);
        let part = (at / count - 1) as u64;
        let (seen, picked) = (&self.seen, &mut self.picked);
        read(&self.paths[at % count], |hash, line| {
            if seen.is_again(hash) && (hash >> 32) % parts == part {
                picked.push((hash, line));
            }
        })?;
        if self.next % count > 0 {
            return Ok(None);
        }
        self.picked.sort_unstable();
        self.picked.dedup(); // a line that was sent twice
        let same = |pair: &&[(u64, u32)]| pair[0].0 == pair[1].0;
        self.count += self.picked.windows(2).filter(same).count() as u64;
        self.picked.clear();
        Ok((part + 1 == parts).then_some(self.count))
    }
}

/// The two maps: a bit for each of some values of a hash, whether it was seen, and whether again. They
/// stand side by side and nothing is decided by them before the end, so that the processor need not
/// wait for one place in memory before it goes to the next.
struct Seen {
    words: Vec<[u64; 2]>,
}

impl Seen {
    /// So many values, a power of two.
    fn new(bits: u64) -> Seen {
        Seen { words: vec![[0; 2]; (bits / 64) as usize] }
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize & (self.words.len() - 1), 1 << (hash & 63))
    }

    /// Whether it was seen before.
    fn see(&mut self, hash: u64) -> bool {
        let (at, bit) = self.place(hash);
        let [once, again] = &mut self.words[at];
        let before = *once & bit;
        *again |= before;
        *once |= bit;
        before != 0
    }

    fn is_again(&self, hash: u64) -> bool {
        let (at, bit) = self.place(hash);
        self.words[at][1] & bit != 0
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
        let note = |ids: &mut Ids, all: &[(u64, u64)]| {
            all.iter().for_each(|(hash, line)| ids.note(*hash, *line).unwrap());
            ids.write().unwrap();
        };
        note(&mut first, &[(7, 0), (8, 2), (7, 4)]);
        // Another worker goes on with the share, and does line 4 again.
        let mut again = Ids::new(path(0));
        note(&mut again, &[(7, 4), (9, 6)]);
        let mut other = Ids::new(path(1));
        note(&mut other, &[(9, 1), (7, 3), (10, MOST), (8, MOST)]);
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
            ids[(line % 2) as usize].note(hash, line).unwrap();
        }
        ids.iter_mut().for_each(|ids| ids.write().unwrap());
        let mut repeats = Repeats::begin(paths.to_vec()).unwrap();
        (0..3).for_each(|_| assert_eq!(repeats.step().unwrap(), None));
        assert!((100_000..160_000).contains(&repeats.picked.len()), "{}", repeats.picked.len());
        assert_eq!(count(&mut repeats), 100_000);
    }

    #[test]
    fn where_nearly_all_come_again_they_are_picked_part_by_part() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("0"), dir.path().join("1"), dir.path().join("not there")];
        let mut ids = paths.clone().map(Ids::new);
        let lines = 2 * PART + 10;
        for line in 0..lines {
            let hash = (line / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ids[(line % 2) as usize].note(hash, line).unwrap();
        }
        ids.iter_mut().for_each(|ids| ids.write().unwrap());
        let mut repeats = Repeats::begin(paths.to_vec()).unwrap();
        let (mut most, mut found) = (0, None);
        while found.is_none() {
            found = repeats.step().unwrap();
            most = most.max(repeats.picked.len());
        }
        assert_eq!(found, Some(lines / 2));
        assert!(most <= PART as usize, "{most} at a time");
    }

    #[test]
    fn a_torn_record_is_none_and_a_file_that_cannot_be_written_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let mut ids = Ids::new(path.clone());
        [(7, 0), (7, 1)].into_iter().for_each(|(hash, line)| ids.note(hash, line).unwrap());
        ids.write().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(23).unwrap();
        assert_eq!(count(&mut Repeats::begin(vec![path.clone()]).unwrap()), 0);
        // Whoever goes on with it puts nothing out of place.
        let mut ids = Ids::new(path.clone());
        [(7, 1), (7, 2)].into_iter().for_each(|(hash, line)| ids.note(hash, line).unwrap());
        ids.write().unwrap();
        assert_eq!(count(&mut Repeats::begin(vec![path]).unwrap()), 2);
        let mut ids = Ids::new(dir.path().join("no/such/folder"));
        ids.note(1, 1).unwrap();
        assert!(ids.write().is_err());
        ids.note(1, 1).unwrap();
        assert!(ids.buffer.is_empty() && ids.write().is_ok(), "it is told once");
    }
}
