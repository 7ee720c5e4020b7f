//! A delta's rejects, merged by line out of its shares' reject files.
//!
//! Each of those is sorted already, so this is one pass over all of them at once, and memory is a
//! line of each. It goes in steps, since a worker shows life in between.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Take, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Lines in a step.
const STEP: usize = 2000;

/// A merge that is under way.
pub(crate) struct Merge {
    sources: Vec<Source>,
    /// The next line's number of each source that has one.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    to: Option<BufWriter<File>>,
    beside: PathBuf,
}

struct Source {
    reader: BufReader<Take<File>>,
    line: Vec<u8>,
}

#[derive(Deserialize)]
struct Numbered {
    line: u64,
}

impl Merge {
    /// Of these files, each as far as its length counts, into a file at `beside` that has no name
    /// for people yet.
    pub(crate) fn begin(files: Vec<(File, u64)>, beside: &Path) -> io::Result<Merge> {
        let mut merge =
            Merge { sources: Vec::new(), next: BinaryHeap::new(), to: None, beside: beside.into() };
        for (file, length) in files {
            merge
                .sources
                .push(Source { reader: BufReader::new(file.take(length)), line: Vec::new() });
            merge.fetch(merge.sources.len() - 1)?;
        }
        Ok(merge)
    }

    /// Reads the next line of a source. What is torn, at the end of a share that was given up when
    /// its worker died, is left out.
    fn fetch(&mut self, source: usize) -> io::Result<()> {
        let Source { reader, line } = &mut self.sources[source];
        line.clear();
        reader.read_until(b'\n', line)?;
        if line.ends_with(b"\n") {
            if let Ok(Numbered { line }) = serde_json::from_slice(line) {
                self.next.push(Reverse((line, source)));
            }
        }
        Ok(())
    }

    /// Merges some lines. Answers whether that was all.
    pub(crate) fn step(&mut self) -> io::Result<bool> {
        for _ in 0..STEP {
            let Some(Reverse((_, source))) = self.next.pop() else { return Ok(true) };
            if self.to.is_none() {
                self.to = Some(BufWriter::with_capacity(256 * 1024, File::create(&self.beside)?));
            }
            if let Some(to) = &mut self.to {
                to.write_all(&self.sources[source].line)?;
            }
            self.fetch(source)?;
        }
        Ok(false)
    }

    /// Gives the file its name, durably; without a single line there is none. Repeating a merge
    /// makes the same file again.
    pub(crate) fn finish(self, name: &Path) -> io::Result<()> {
        let Some(to) = self.to else { return Ok(()) };
        to.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        std::fs::rename(&self.beside, name)?;
        sys::files::sync_folder(name.parent().unwrap_or(Path::new(".")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(dir: &Path, files: &[(&str, usize)]) -> Option<String> {
        let open = |(n, (text, length)): (usize, &(&str, usize))| {
            let path = dir.join(n.to_string());
            std::fs::write(&path, text).unwrap();
            (File::open(path).unwrap(), *length as u64)
        };
        let files = files.iter().enumerate().map(open).collect();
        let mut merge = Merge::begin(files, &dir.join(".beside")).unwrap();
        while !merge.step().unwrap() {}
        let name = dir.join("merged");
        merge.finish(&name).unwrap();
        assert!(!dir.join(".beside").exists());
        std::fs::read_to_string(name).ok()
    }

    fn share(lines: impl Iterator<Item = u64>) -> String {
        lines.map(|n| format!("{{\"delta\":\"x\",\"line\":{n},\"raw\":\"\\n{n}\"}}\n")).collect()
    }

    #[test]
    fn rejects_are_merged_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let all = share(1..=6000);
        let shares: Vec<String> =
            (0..3).map(|s| share((1..=6000).filter(|n| n % 3 == s))).collect();
        let files: Vec<(&str, usize)> = shares.iter().map(|s| (&**s, s.len())).collect();
        assert_eq!(merge(dir.path(), &files).unwrap(), all);
        assert_eq!(merge(dir.path(), &files).unwrap(), all); // and once more
    }

    #[test]
    fn without_rejects_there_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(merge(dir.path(), &[("", 0), ("", 0)]), None);
        assert_eq!(merge(dir.path(), &[]), None);
    }

    #[test]
    fn what_no_checkpoint_counts_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (share([2, 4, 6].into_iter()), share([1, 3].into_iter()));
        let counted = share([2, 4].into_iter()).len();
        let torn = two.len() - 5;
        let merged = merge(dir.path(), &[(&one, counted), (&two[..torn], torn)]).unwrap();
        assert_eq!(merged, share([1, 2, 4].into_iter()));
    }
}
