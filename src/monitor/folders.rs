//! A look into the spool's folders, not oftener than it pays: what a look costs, the next ten of
//! that are rest. Reject files are counted in slices, one a look, with a sign of life and the
//! clients' turn in between: there may be more of them than a monitor may be silent for.

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
/// So many at once; what a small file costs, too, for it must be opened.
const CHUNK: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Folders {
    found: Found,
    next_look: u64,
    /// When each waiting delta was first seen.
    seen: HashMap<OsString, u64>,
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
                (spool.incoming(), self.incoming(&spool.incoming(), &mut found)),
                (spool.failed(), failed(&spool.failed(), &mut found)),
                (spool.rejected(), self.rejected(&spool.rejected(), slice, &mut found)),
            ];
            found.error = looks.into_iter().find_map(|(folder, look)| {
                look.err().map(|e| format!("cannot read {}: {e}", folder.display()))
            });
            self.found = found;
            let after = now_ms();
            self.next_look = after + 10 * (after - before);
        }
        &self.found
    }

    /// Whether there are lines left to count.
    pub(crate) fn is_counting(&self) -> bool {
        self.lines.values().any(|counted| !counted.is_whole)
    }

    fn incoming(&mut self, folder: &Path, found: &mut Found) -> io::Result<()> {
        let mut seen = HashMap::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            if is_unfinished(&name) {
                continue;
            }
            let Ok(file) = std::fs::symlink_metadata(folder.join(&name)) else { continue };
            if !file.is_file() || !is_delta(&name) {
                found.ignored += 1;
                continue;
            }
            found.incoming_files += 1;
            found.incoming_bytes += file.len();
            let since = self.seen.remove(&name).unwrap_or_else(wall_ms);
            found.oldest_seen = Some(found.oldest_seen.map_or(since, |oldest| oldest.min(since)));
            seen.insert(name, since);
        }
        self.seen = seen;
        Ok(())
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
