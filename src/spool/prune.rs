//! Pruning `done/`: so many files, so old, so many bytes, whichever limit is met first.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How many files.
    pub files: u64,
    /// How long, in seconds since they were settled.
    pub age: u64,
    /// How many bytes all together.
    pub bytes: u64,
}

/// Removes the oldest files of `folder` until what is left may stay. Answers how many went.
/// `now`: seconds since 1970. What `is_needed` stays whatever its age, and does not count.
pub fn prune(
    folder: &Path,
    keep: &Keep,
    now: u64,
    is_needed: impl Fn(&OsStr) -> io::Result<bool>,
) -> io::Result<u64> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What a person has removed meanwhile is gone.
        let Ok(found) = std::fs::symlink_metadata(entry.path()) else { continue };
        if !found.is_dir() {
            // A rename sets the time of change, so this is when it was settled.
            files.push((found.ctime(), found.ctime_nsec(), found.len(), entry.file_name()));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    let (mut kept, mut bytes, mut gone) = (0, 0, 0);
    for (settled, _, size, name) in files {
        let age = now.saturating_sub(settled.max(0) as u64);
        if kept < keep.files && bytes + size <= keep.bytes && age <= keep.age {
            kept += 1;
            bytes += size;
        } else if !is_needed(&name)? {
            match std::fs::remove_file(folder.join(name)) {
                Ok(()) => gone += 1,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Keep = Keep { files: 100, age: 1000, bytes: 1_000_000 };

    #[test]
    fn each_limit_counts() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..5 {
            std::fs::write(dir.path().join(format!("{n}.jsonl")), [b'x'; 100]).unwrap();
        }
        let now = sys::clock::wall_ms() / 1000;
        let all = |_: &OsStr| Ok(false);
        assert_eq!(prune(dir.path(), &ALL, now, all).unwrap(), 0);
        assert_eq!(prune(dir.path(), &Keep { files: 4, ..ALL }, now, all).unwrap(), 1);
        assert_eq!(prune(dir.path(), &Keep { bytes: 399, ..ALL }, now, all).unwrap(), 1);
        let first = |name: &OsStr| Ok(name == "2.jsonl");
        assert_eq!(prune(dir.path(), &Keep { age: 10, ..ALL }, now + 100, first).unwrap(), 2);
        assert!(dir.path().join("2.jsonl").exists(), "a line of it is nowhere else");
    }
}
