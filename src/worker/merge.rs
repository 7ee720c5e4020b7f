//! A delta's rejects, merged by line out of its shares' reject files; of what is retried also out of
//! those that are there already, and of those that were not tried when the retry was given up.
//!
//! Each of those is sorted already, so this is one pass over all of them at once, and memory is a
//! line of each. It goes in steps, since a worker shows life in between. Made again after a crash it
//! comes to the same: what is there already is there once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Take, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use spool::{Beyond, Spool};

/// Lines in a step.
const STEP: usize = 2000;

/// A merge that is under way.
pub(crate) struct Merge {
    sources: Vec<Source>,
    /// The next line's number of each source that has one.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    to: Option<BufWriter<File>>,
    beside: PathBuf,
    /// The number of the line that was written last.
    last: u64,
    /// Hashes of those without a number that were written since.
    unnumbered: HashSet<u64>,
    /// One of the lines is too long to be kept here.
    is_long: bool,
}

struct Source {
    reader: BufReader<Take<File>>,
    of: Of,
    /// The index of the line that is read next.
    index: u64,
    line: Vec<u8>,
    /// Its number; of one that has none, that of the line before it.
    number: u64,
    is_numbered: bool,
}

/// What a source is.
enum Of {
    /// What a share has rejected.
    Share,
    /// What was to be retried: of each share the mark, and what is done beyond it.
    Untried(Vec<(u64, Beyond)>),
    /// What is there.
    There,
}

#[derive(Deserialize)]
struct Numbered {
    line: u64,
    length: Option<IgnoredAny>,
}

impl Merge {
    /// Of these files, each as far as its length counts, into a file at `beside` that has no name
    /// for people yet.
    pub(crate) fn begin(files: Vec<(File, u64)>, beside: &Path) -> io::Result<Merge> {
        let mut merge = Merge {
            sources: Vec::new(),
            next: BinaryHeap::new(),
            to: None,
            beside: beside.into(),
            last: 0,
            unnumbered: HashSet::new(),
            is_long: false,
        };
        files.into_iter().try_for_each(|(file, length)| merge.add(file, length, Of::Share))?;
        Ok(merge)
    }

    /// And of what was to be retried, as far as no share has done it.
    pub(crate) fn and_untried(&mut self, file: File, marks: Vec<(u64, Beyond)>) -> io::Result<()> {
        self.add(file, u64::MAX, Of::Untried(marks))
    }

    /// And of what is there already. To be said last: what else there is of a line is newer.
    pub(crate) fn and_there(&mut self, file: File) -> io::Result<()> {
        self.add(file, u64::MAX, Of::There)
    }

    fn add(&mut self, file: File, length: u64, of: Of) -> io::Result<()> {
        let reader = BufReader::new(file.take(length));
        let (index, line, number, is_numbered) = Default::default();
        self.sources.push(Source { reader, of, index, line, number, is_numbered });
        self.fetch(self.sources.len() - 1)
    }

    fn fetch(&mut self, source: usize) -> io::Result<()> {
        if self.sources[source].read()? {
            self.next.push(Reverse((self.sources[source].number, source)));
        }
        Ok(())
    }

    /// Merges some lines. Answers whether that was all.
    pub(crate) fn step(&mut self) -> io::Result<bool> {
        for _ in 0..STEP {
            let Some(Reverse((number, source))) = self.next.pop() else { return Ok(true) };
            self.take(number, source)?;
            self.fetch(source)?;
        }
        Ok(false)
    }

    /// Writes a source's line, unless it is there already and is there again.
    fn take(&mut self, number: u64, source: usize) -> io::Result<()> {
        let Source { line, of, is_numbered, .. } = &self.sources[source];
        if number > self.last {
            self.unnumbered.clear();
        }
        let is_there = matches!(of, Of::There);
        let again = match is_numbered {
            true => is_there && number == self.last,
            false => {
                let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(line);
                !self.unnumbered.insert(hash) && is_there
            }
        };
        if again {
            return Ok(());
        }
        self.last = self.last.max(number);
        if self.to.is_none() {
            self.to = Some(BufWriter::with_capacity(256 * 1024, File::create(&self.beside)?));
        }
        if let Some(to) = &mut self.to {
            to.write_all(line)?;
        }
        let numbered = serde_json::from_slice::<Numbered>(line);
        self.is_long |= numbered.is_ok_and(|numbered| numbered.length.is_some());
        Ok(())
    }

    /// Gives the file its name, durably; without a single line there is none. Repeating a merge
    /// makes the same file again.
    pub(crate) fn finish(self, spool: &Spool, delta: &OsStr) -> io::Result<()> {
        // First: as long as a line is nowhere else, its delta must stay.
        spool.mark_long(delta, self.is_long)?;
        let Some(to) = self.to else { return Ok(()) };
        to.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        let name = spool.rejected_file(delta);
        std::fs::rename(&self.beside, &name)?;
        sys::files::sync_folder(&spool.rejected())
    }
}

impl Source {
    /// Reads the next line that counts; whether there is one.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            self.line.clear();
            if self.reader.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            let index = self.index;
            self.index += 1;
            let number = serde_json::from_slice::<Numbered>(&self.line).map(|n| n.line).ok();
            let (is_record, number) = (number.is_some(), number.filter(|number| *number > 0));
            match &self.of {
                // What is torn, at the end of a share that was given up when its worker died, is
                // left out.
                Of::Share if !is_record || !self.line.ends_with(b"\n") => return Ok(false),
                Of::Share | Of::There => {}
                Of::Untried(marks) => {
                    let of = marks.len().max(1) as u64;
                    let (mark, beyond) = &marks[(index % of) as usize];
                    if index < *mark || beyond.contains(index / of) {
                        continue;
                    }
                }
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if !self.line.ends_with(b"\n") {
                self.line.push(b'\n');
            }
            // What has no number stays where it is.
            (self.number, self.is_numbered) = (number.unwrap_or(self.number), number.is_some());
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A merge of these, as far as the lengths count, with what is there already and what was not
    /// tried; what is there then.
    fn merge_with(
        spool: &Spool,
        files: &[(&str, usize)],
        untried: Option<(&str, Vec<(u64, Beyond)>)>,
    ) -> Option<String> {
        let write = |name: &str, text: &str| {
            let path = spool.dir().join(name);
            std::fs::write(&path, text).unwrap();
            File::open(path).unwrap()
        };
        let open = |(n, (text, length)): (usize, &(&str, usize))| {
            (write(&n.to_string(), text), *length as u64)
        };
        let files = files.iter().enumerate().map(open).collect();
        let beside = spool.rejected().join(".beside");
        let name = OsStr::new("x.jsonl");
        let mut merge = Merge::begin(files, &beside).unwrap();
        if let Some((text, marks)) = untried {
            merge.and_untried(write("untried", text), marks).unwrap();
            if let Ok(there) = File::open(spool.rejected_file(name)) {
                merge.and_there(there).unwrap();
            }
        }
        while !merge.step().unwrap() {}
        merge.finish(spool, name).unwrap();
        assert!(!beside.exists());
        std::fs::read_to_string(spool.rejected_file(name)).ok()
    }

    fn merge(spool: &Spool, files: &[(&str, usize)]) -> Option<String> {
        merge_with(spool, files, None)
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        (dir, spool)
    }

    fn record(n: u64, word: &str) -> String {
        format!("{{\"delta\":\"x\",\"line\":{n},\"raw\":\"{word}\"}}\n")
    }

    fn share(lines: impl Iterator<Item = u64>) -> String {
        lines.map(|n| record(n, &format!("\\n{n}"))).collect()
    }

    #[test]
    fn rejects_are_merged_by_line() {
        let (_dir, spool) = spool();
        let all = share(1..=6000);
        let shares: Vec<String> =
            (0..3).map(|s| share((1..=6000).filter(|n| n % 3 == s))).collect();
        let files: Vec<(&str, usize)> = shares.iter().map(|s| (&**s, s.len())).collect();
        assert_eq!(merge(&spool, &files).unwrap(), all);
        assert_eq!(merge(&spool, &files).unwrap(), all); // and once more
    }

    #[test]
    fn without_rejects_there_is_no_file() {
        let (_dir, spool) = spool();
        assert_eq!(merge(&spool, &[("", 0), ("", 0)]), None);
        assert_eq!(merge(&spool, &[]), None);
    }

    #[test]
    fn what_no_checkpoint_counts_is_left_out() {
        let (_dir, spool) = spool();
        let (one, two) = (share([2, 4, 6].into_iter()), share([1, 3].into_iter()));
        let counted = share([2, 4].into_iter()).len();
        let torn = two.len() - 5;
        let merged = merge(&spool, &[(&one, counted), (&two[..torn], torn)]).unwrap();
        assert_eq!(merged, share([1, 2, 4].into_iter()));
    }

    #[test]
    fn what_was_not_tried_goes_back_to_what_is_there_and_nothing_is_doubled() {
        let (_dir, spool) = spool();
        // Of ten lines share 0 of 2 has done those of index 0, 2, 4 and, beyond its mark, 8; share 1
        // has done nothing. Line 3 was rejected again.
        let untried: String = (1..=10).map(|n| record(n, "old")).collect();
        let mut beyond = Beyond::default();
        beyond.push(4);
        let marks = vec![(6, beyond), (0, Beyond::default())];
        let rejected = record(3, "again");
        let there = record(20, "there") + "garbage\n" + &record(30, "there");
        std::fs::write(spool.rejected_file("x.jsonl".as_ref()), &there).unwrap();
        let expected: String = [2, 4, 6, 7, 8, 10].map(|n| record(n, "old")).concat();
        let (first, rest) = expected.split_at(record(2, "old").len());
        let expected = format!("{first}{rejected}{rest}{there}");
        for _ in 0..3 {
            let files = [(&*rejected, rejected.len())];
            let merged = merge_with(&spool, &files, Some((&untried, marks.clone())));
            assert_eq!(merged.unwrap(), expected);
        }
    }

    #[test]
    fn no_line_of_what_was_to_be_retried_is_lost_though_it_cannot_be_read() {
        let (_dir, spool) = spool();
        let untried = format!("{}\n{}garbage\n{{\"torn", record(1, "a"), record(2, "b"));
        let expected = format!("{}{}garbage\n{{\"torn\n", record(1, "a"), record(2, "b"));
        for _ in 0..2 {
            let merged = merge_with(&spool, &[], Some((&untried, vec![(0, Beyond::default())])));
            assert_eq!(merged.unwrap(), expected);
        }
    }

    #[test]
    fn what_has_no_number_stays_where_it_is_and_is_there_once() {
        let (_dir, spool) = spool();
        let lost = |word: &str| format!("{{\"line\":0,\"raw\":\"{word}\"}}\n");
        let share = record(5, "a") + &lost("x") + &lost("y") + &record(9, "b");
        for _ in 0..2 {
            let merged = merge_with(&spool, &[(&share, share.len())], Some(("", vec![])));
            assert_eq!(merged.unwrap(), share);
        }
    }

    #[test]
    fn a_line_that_is_only_in_its_delta_is_marked_as_long_as_it_is_open() {
        let (_dir, spool) = spool();
        let mark = spool.long_mark("x.jsonl".as_ref());
        let long = "{\"line\":1,\"length\":999}\n";
        merge(&spool, &[(long, long.len())]);
        assert!(mark.exists());
        let raw = record(1, "\\\"length\\\":9");
        merge(&spool, &[(&raw, raw.len())]);
        assert!(!mark.exists());
    }
}
