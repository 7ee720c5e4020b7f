//! A look into the spool's folders, not oftener than it pays: what a look costs, the next ten of
//! that are rest, and a moment in any case, or who asks a thousand times a second has them read so often.
//! Waiting deltas and reject files are counted in slices, one a look, with a sign of
//! life and the clients' turn in between: there may be more of them than a monitor may be silent for.

use spool::{Spool, is_delta};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use sys::clock::{now_ms, wall_ms};

/// What lies in the folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) incoming_files: u64,
    pub(crate) incoming_bytes: u64,
    /// When the oldest waiting delta was first seen, milliseconds since 1970.
    pub(crate) oldest_seen: Option<u64>,
    pub(crate) ignored: u64,
    pub(crate) failed: u64,
    pub(crate) rejected_files: u64,
    pub(crate) rejected_lines: u64,
    /// The first folder that could not be read, and why.
    pub(crate) error: Option<String>,
}

/// Which version of a file: it is counted again only when this changes.
type Version = (u64, i64, i64);

/// How far the lines of a reject file are counted.
#[derive(Debug, Clone, Copy)]
struct Counted {
    version: Version,
    /// So many bytes of it.
    bytes: u64,
    lines: u64,
    is_whole: bool,
}

/// What may still be read in this look.
#[derive(Debug, Clone, Copy)]
struct Slice {
    bytes: u64,
    /// Until then, on the monotonic clock, in milliseconds: disks differ.
    by: u64,
}

/// So many bytes of reject files are read in one look, and so long, in milliseconds.
const SLICE: (u64, u64) = (64 << 20, 200);
/// So long waiting deltas are counted in one look, in milliseconds.
const WALK: u64 = 20;
/// So long nothing is looked at again, in milliseconds, unless something was done that shows there.
const REST: u64 = 50;
/// So many at once; what a small file costs, too, for it must be opened.
const CHUNK: usize = 64 * 1024;

/// What waits in `incoming/`.
#[derive(Debug, Clone, Default)]
struct Waiting {
    files: u64,
    bytes: u64,
    ignored: u64,
    /// When each was first seen, milliseconds since 1970, and when the oldest.
    seen: HashMap<OsString, u64>,
    oldest: Option<u64>,
}

/// A walk through `incoming/` that is not at its end.
struct Walk {
    entries: std::fs::ReadDir,
    so_far: Waiting,
}

#[derive(Default)]
pub(crate) struct Folders {
    found: Found,
    next_look: u64,
    /// When the last look has been made up for by rest.
    paid: u64,
    /// As the last whole walk has found it.
    waiting: Waiting,
    walk: Option<Walk>,
    /// Whether there has been a whole walk.
    walked: bool,
    /// Lines of reject files, as far as they are counted.
    lines: HashMap<OsString, Counted>,
}

impl Folders {
    pub(crate) fn look(&mut self, spool: &Spool) -> &Found {
        let before = now_ms();
        if before >= self.next_look {
            let mut found = Found::default();
            let slice = Slice { bytes: SLICE.0, by: before + SLICE.1 };
            let looks = [
                (spool.incoming(), self.incoming(&spool.incoming(), before + WALK, &mut found)),
                (spool.failed(), failed(&spool.failed(), &mut found)),
                (spool.rejected(), self.rejected(&spool.rejected(), slice, &mut found)),
            ];
            found.error = looks.into_iter().find_map(|(folder, look)| {
                let words = |e| format!("cannot read {}: {}", folder.display(), spool::remedy(&e));
                look.err().map(words)
            });
            self.found = found;
            let after = now_ms();
            self.paid = after + 10 * (after - before);
            self.next_look = self.paid.max(after + REST);
        }
        &self.found
    }

    /// Something was done that shows there.
    pub(crate) fn look_anew(&mut self) {
        self.next_look = self.paid;
    }

    /// Whether there is something left to count.
    pub(crate) fn is_counting(&self) -> bool {
        self.walk.is_some() || self.lines.values().any(|counted| !counted.is_whole)
    }

    /// What the last whole walk has found is shown; before there was one, what this one has so far.
    fn incoming(&mut self, folder: &Path, by: u64, found: &mut Found) -> io::Result<()> {
        let walk = match self.walk.take() {
            Some(walk) => walk,
            None => Walk { entries: std::fs::read_dir(folder)?, so_far: Waiting::default() },
        };
        self.walk = self.walk_on(walk, folder, by)?;
        let shown = match &self.walk {
            Some(walk) if !self.walked => &walk.so_far,
            _ => &self.waiting,
        };
        found.incoming_files = shown.files;
        found.incoming_bytes = shown.bytes;
        found.ignored = shown.ignored;
        found.oldest_seen = shown.oldest;
        Ok(())
    }

    /// Goes on until the end or until it is time; answers what is left.
    fn walk_on(&mut self, mut walk: Walk, folder: &Path, by: u64) -> io::Result<Option<Walk>> {
        loop {
            let mut counted = 0;
            for entry in walk.entries.by_ref().take(64) {
                walk.so_far.count(folder, entry?.file_name(), &self.waiting);
                counted += 1;
            }
            if counted < 64 {
                (self.waiting, self.walked) = (walk.so_far, true);
                return Ok(None);
            }
            if now_ms() >= by {
                return Ok(Some(walk));
            }
        }
    }

    /// A file that is not counted whole yet is shown with the count so far.
    fn rejected(&mut self, folder: &Path, slice: Slice, found: &mut Found) -> io::Result<()> {
        let mut slice = slice;
        let mut lines = HashMap::new();
        let look = for_each_file(folder, |name, file| {
            let version = (file.len(), file.mtime(), file.mtime_nsec());
            let before = self.lines.get(name).filter(|counted| counted.version == version);
            let mut counted = before.copied().unwrap_or(Counted::nothing(version));
            let count = counted.go_on(&folder.join(name), &mut slice);
            found.rejected_files += 1;
            found.rejected_lines += counted.lines;
            lines.insert(name.clone(), counted);
            count
        });
        self.lines = lines;
        look
    }
}

impl Waiting {
    fn count(&mut self, folder: &Path, name: OsString, before: &Waiting) {
        if is_unfinished(&name) {
            return;
        }
        let Ok(file) = std::fs::symlink_metadata(folder.join(&name)) else { return };
        if !file.is_file() || !is_delta(&name) {
            self.ignored += 1;
            return;
        }
        self.files += 1;
        self.bytes += file.len();
        let since = before.seen.get(&name).copied().unwrap_or_else(wall_ms);
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
        self.seen.insert(name, since);
    }
}

impl Slice {
    fn is_used_up(self) -> bool {
        self.bytes == 0 || now_ms() >= self.by
    }
}

impl Counted {
    fn nothing(version: Version) -> Counted {
        Counted { version, bytes: 0, lines: 0, is_whole: false }
    }

    /// Counts on from where the last look stopped, as far as the slice goes.
    fn go_on(&mut self, path: &Path, slice: &mut Slice) -> io::Result<()> {
        if self.is_whole || slice.is_used_up() {
            return Ok(());
        }
        let file = match sys::files::open_regular(path, false) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.is_whole = true;
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let mut buffer = vec![0; CHUNK];
        while !self.is_whole && !slice.is_used_up() {
            let n = file.read_at(&mut buffer, self.bytes)?;
            self.bytes += n as u64;
            self.lines += buffer[..n].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.is_whole = n == 0;
            slice.bytes = slice.bytes.saturating_sub(CHUNK as u64);
        }
        Ok(())
    }
}

fn failed(folder: &Path, found: &mut Found) -> io::Result<()> {
    for_each_file(folder, |_, _| {
        found.failed += 1;
        Ok(())
    })
}

/// Every ordinary file that is not hidden. One that goes meanwhile is gone.
fn for_each_file(
    folder: &Path,
    mut look: impl FnMut(&OsString, &Metadata) -> io::Result<()>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        match std::fs::symlink_metadata(folder.join(&name)) {
            Ok(file) if file.is_file() => look(&name, &file)?,
            _ => {}
        }
    }
    Ok(())
}

/// A name that producers and editors use for what is not finished.
fn is_unfinished(name: &OsString) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") || [&b".tmp"[..], b".part", b"~"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_delta_is_ignored_or_not_even_that() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("incoming/a.jsonl", "{}\n");
        write("incoming/b.csv", "");
        write("incoming/.c.jsonl", "");
        write("incoming/d.tmp", "");
        write("incoming/e.jsonl.part", "");
        write("incoming/f.jsonl~", "");
        std::fs::create_dir(dir.path().join("incoming/g.jsonl")).unwrap();
        std::os::unix::fs::symlink("a.jsonl", dir.path().join("incoming/h.jsonl")).unwrap();
        write("failed/x.jsonl", "");
        write("rejected/y.jsonl.rejected.jsonl", "1\n2\n");
        let found = Folders::default().look(&spool).clone();
        assert!(found.oldest_seen.is_some());
        assert_eq!((found.incoming_files, found.incoming_bytes, found.ignored), (1, 3, 3));
        assert_eq!((found.failed, found.rejected_files, found.rejected_lines), (1, 1, 2));
        assert_eq!(found.error, None);
    }

    #[test]
    fn folders_are_not_read_at_every_question_but_after_every_command() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let (mut folders, before) = (Folders::default(), now_ms());
        folders.look(&spool);
        assert!(folders.next_look >= before + REST);
        (folders.next_look, folders.paid) = (u64::MAX, 0); // however slow this machine is
        std::fs::write(dir.path().join("failed/x.jsonl"), "").unwrap();
        assert_eq!(folders.look(&spool).failed, 0);
        folders.look_anew();
        assert_eq!(folders.look(&spool).failed, 1);
    }

    #[test]
    fn a_hundred_thousand_waiting_deltas_are_counted_in_slices_and_the_last_whole_count_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let name = |n: u64| dir.path().join(format!("{n}.jsonl"));
        (0..640).for_each(|n| std::fs::write(name(n), "{}\n").unwrap());
        let mut folders = Folders::default();
        let mut look = |by| {
            let mut found = Found::default();
            folders.incoming(dir.path(), by, &mut found).unwrap();
            assert_eq!(found.incoming_bytes, 3 * found.incoming_files);
            (found.incoming_files, found.oldest_seen, folders.is_counting())
        };
        // The time is up at every look: 64 each, and the first count is shown as it grows.
        for n in 1..=10 {
            let (files, _, counting) = look(0);
            assert_eq!((files, counting), (64 * n, true));
        }
        let (files, oldest, counting) = look(0);
        assert_eq!((files, counting), (640, false));
        std::fs::remove_file(name(7)).unwrap();
        assert_eq!(look(0), (640, oldest, true), "what was whole is shown");
        assert_eq!(look(u64::MAX), (639, oldest, false));
    }

    #[test]
    fn a_large_reject_file_is_counted_in_slices_and_the_count_so_far_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl.rejected.jsonl");
        let lines = 5 * CHUNK as u64 / 2;
        std::fs::write(&path, "x\n".repeat(lines as usize)).unwrap();
        let mut folders = Folders::default();
        let mut look = |chunks: u64| {
            let slice = Slice { bytes: chunks * CHUNK as u64, by: u64::MAX };
            let mut found = Found::default();
            folders.rejected(dir.path(), slice, &mut found).unwrap();
            (found.rejected_files, found.rejected_lines, folders.is_counting())
        };
        let chunk = CHUNK as u64 / 2;
        assert_eq!(look(0), (1, 0, true));
        assert_eq!(look(2), (1, 2 * chunk, true));
        assert_eq!(look(2), (1, 4 * chunk, true));
        assert_eq!(look(2), (1, lines, false));
        assert_eq!(look(0), (1, lines, false));
        // Another file in its place is counted anew.
        std::fs::write(&path, "1\n2\n3\n").unwrap();
        assert_eq!(look(0), (1, 0, true));
        assert_eq!(look(2), (1, 3, false));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(2), (0, 0, false));
    }
}
