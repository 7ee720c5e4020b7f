//! A look into the spool's folders, not oftener than it pays: what a look costs, the next ten of
//! that are rest.

use spool::{Spool, is_delta};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
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

#[derive(Default)]
pub(crate) struct Folders {
    found: Found,
    next_look: u64,
    /// When each waiting delta was first seen.
    seen: HashMap<OsString, u64>,
    /// Lines of reject files already counted.
    lines: HashMap<OsString, (Version, u64)>,
}

impl Folders {
    pub(crate) fn look(&mut self, spool: &Spool) -> &Found {
        let before = now_ms();
        if before >= self.next_look {
            let mut found = Found::default();
            let looks = [
                (spool.incoming(), self.incoming(&spool.incoming(), &mut found)),
                (spool.failed(), failed(&spool.failed(), &mut found)),
                (spool.rejected(), self.rejected(&spool.rejected(), &mut found)),
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

    fn rejected(&mut self, folder: &Path, found: &mut Found) -> io::Result<()> {
        let mut lines = HashMap::new();
        for_each_file(folder, |name, file| {
            let version = (file.len(), file.mtime(), file.mtime_nsec());
            let count = match self.lines.get(name) {
                Some((before, count)) if *before == version => *count,
                _ => count_lines(&folder.join(name))?,
            };
            found.rejected_files += 1;
            found.rejected_lines += count;
            lines.insert(name.clone(), (version, count));
            Ok(())
        })?;
        self.lines = lines;
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

fn count_lines(path: &Path) -> io::Result<u64> {
    let mut file = match sys::files::open_regular(path, false) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut buffer = vec![0; 64 * 1024];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines),
            n => lines += buffer[..n].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
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
}
