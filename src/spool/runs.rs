//! What was retried, and which versions it was given: a line that is delivered late gets a new version
//! from Solr, as if it were new, and only this tells how old it is. Without it, of two deltas that failed
//! for one mistake, the one that is retried first would win over the other, whichever was the later.
//!
//! The same is said of what is under way when a delta that waits behind it is cancelled: it is written
//! later, and is older. When that ends is not known then: such a run is open, and is ended when what is
//! under way is settled.
//!
//! A line a run, appended. Of those that begin at the same version and are of the same claim the last
//! counts.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::Spool;
use crate::record::Record;

/// A file of so many bytes is full, and the older half of it is forgotten: some ten thousands of runs.
const FULL: u64 = if cfg!(test) { 2_000 } else { 4 << 20 };

/// A run that delivered old lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The versions it gave are higher than this
    pub after: u64,
    /// and no higher than this; [`Run::OPEN`]: it is not over.
    pub upto: u64,
    /// The claim number that the lines' delta first had.
    pub claim: u64,
}

impl Run {
    /// The end of a run that is not over.
    pub const OPEN: u64 = u64::MAX;

    fn line(&self) -> String {
        Record::new("run")
            .number("after", self.after)
            .number("upto", self.upto)
            .number("claim", self.claim)
            .into_line()
    }

    fn read(line: &[u8]) -> Option<Run> {
        let record = Record::of_line(std::str::from_utf8(line).ok()?, "run")?;
        Some(Run {
            after: record.get_number("after")?,
            upto: record.get_number("upto")?,
            claim: record.get_number("claim")?,
        })
    }
}

impl Spool {
    fn runs_file(&self) -> PathBuf {
        self.dir().join(".retried")
    }

    /// The runs so far.
    pub fn runs(&self) -> io::Result<Vec<Run>> {
        let text = match std::fs::read(self.runs_file()) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let (mut runs, mut known) = (Vec::<Run>::new(), HashMap::new());
        for run in text.split(|byte| *byte == b'\n').filter_map(Run::read) {
            let at = *known.entry((run.after, run.claim)).or_insert(runs.len());
            match runs.get_mut(at) {
                Some(before) => *before = run,
                None => runs.push(run),
            }
        }
        Ok(runs)
    }

    /// Remembers runs, durably.
    pub fn remember_runs(&self, runs: &[Run]) -> io::Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let path = self.runs_file();
        let open = || OpenOptions::new().read(true).append(true).create(true).open(&path);
        let mut file = open()?;
        let mut length = file.metadata()?.len();
        if length >= FULL {
            self.halve_runs()?;
            file = open()?;
            length = file.metadata()?.len();
        }
        let mut lines: String = runs.iter().map(Run::line).collect();
        // The last line may have been torn.
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        if last != [b'\n'] {
            lines.insert(0, '\n');
        }
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        // It may be another file since, or a new one; or this could not be done when it was.
        sys::files::sync_folder(self.dir())
    }

    fn halve_runs(&self) -> io::Result<()> {
        let runs = self.runs()?;
        let is_kept = |(n, run): &(usize, &Run)| *n >= runs.len() / 2 || run.upto == Run::OPEN;
        let text: String = runs.iter().enumerate().filter(is_kept).map(|(_, r)| r.line()).collect();
        let path = self.runs_file();
        let beside = path.with_extension("tmp");
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&beside, &path)
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&beside); // a full disk needs what it takes
        })
    }

    /// What was under way is settled: no version from here on was given by it.
    pub fn end_runs(&self, upto: u64) -> io::Result<()> {
        let runs = self.runs()?;
        let open = runs.into_iter().filter(|run| run.upto == Run::OPEN);
        let ended = open.map(|run| Run { upto: upto.max(run.after), ..run });
        self.remember_runs(&ended.collect::<Vec<_>>())
    }

    /// Nothing is left that could be compared with them.
    pub fn forget_runs(&self) -> io::Result<()> {
        crate::claim::remove(&self.runs_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        (dir, spool)
    }

    fn run(n: u64) -> Run {
        Run { after: n * 10, upto: n * 10 + 5, claim: n }
    }

    #[test]
    fn runs_are_remembered_until_they_are_forgotten() {
        let (dir, spool) = spool();
        assert_eq!(spool.runs().unwrap(), []);
        (0..5).for_each(|n| spool.remember_runs(&[run(n)]).unwrap());
        let longer = Run { upto: 47, ..run(4) };
        spool.remember_runs(&[longer]).unwrap();
        assert_eq!(spool.runs().unwrap(), [run(0), run(1), run(2), run(3), longer]);
        // A power cut, and what was torn by it.
        let path = dir.path().join(".retried");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(spool.runs().unwrap().last(), Some(&run(4)));
        spool.remember_runs(&[run(5)]).unwrap();
        assert_eq!(spool.runs().unwrap()[4..], [run(4), run(5)]);
        spool.forget_runs().unwrap();
        spool.forget_runs().unwrap();
        assert_eq!(spool.runs().unwrap(), []);
    }

    #[test]
    fn of_very_many_the_older_half_is_forgotten_and_none_that_is_open() {
        let (_dir, spool) = spool();
        let open = Run { after: 7, upto: Run::OPEN, claim: 1 };
        spool.remember_runs(&[open]).unwrap();
        (1..100).for_each(|n| spool.remember_runs(&[run(n)]).unwrap());
        let runs = spool.runs().unwrap();
        assert_eq!((runs[0], runs[runs.len() - 1]), (open, run(99)));
        assert!((10..50).contains(&runs.len()), "{}", runs.len());
        assert!(runs[1..].windows(2).all(|two| two[0].claim + 1 == two[1].claim));
    }

    #[test]
    fn a_run_that_is_open_is_ended() {
        let (_dir, spool) = spool();
        let open = |after| Run { after, upto: Run::OPEN, claim: 3 };
        spool.remember_runs(&[run(1), open(20), open(90)]).unwrap();
        for _ in 0..2 {
            spool.end_runs(50).unwrap();
            let ended = [(20, 50), (90, 90)].map(|(after, upto)| Run { upto, ..open(after) });
            assert_eq!(spool.runs().unwrap(), [&[run(1)][..], &ended].concat());
        }
    }
}
