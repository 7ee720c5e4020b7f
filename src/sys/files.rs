//! Files as a spool needs them: rename that never overwrites, folders synced, a lock that children
//! keep, and opening without being held up by a fifo.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The device does not work (errno(3)); std has no kind for it.
pub const EIO: i32 = libc::EIO;
/// Not permitted (errno(3)).
pub const EACCES: i32 = libc::EACCES;
/// A name is longer than a file system has them (errno(3)).
pub const ENAMETOOLONG: i32 = libc::ENAMETOOLONG;

/// Renames `from` to `to`; an error of kind `AlreadyExists` where `to` is there.
pub fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        // Some file systems (older NFS, FUSE) don't know the flag: look first. The spool's lock
        // keeps every other daemon out, so nobody of ours can come in between.
        Err(Errno::EINVAL | Errno::ENOSYS) => match std::fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
            Err(e) => Err(e),
        },
        Err(e) => Err(e.into()),
    }
}

/// Makes a folder's renames and removals durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Opens an ordinary file for reading. A fifo, a device or a folder is refused instead of waited
/// for; `follow` says whether a symbolic link is followed or refused too.
pub fn open_regular(path: &Path, follow: bool) -> io::Result<File> {
    let mut flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    if !follow {
        flags |= libc::O_NOFOLLOW;
    }
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not an ordinary file")),
    }
}

/// An advisory lock (flock(2)) on a file: held until the last process that inherited it has
/// closed it or died. It survives no exec.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

impl Lock {
    /// Takes the lock on an open file without waiting. An error of kind `WouldBlock` means that
    /// another process has it.
    pub fn take(file: File) -> io::Result<Lock> {
        // SAFETY: the descriptor is open; no memory is involved. (nix's Flock unlocks when it is
        // dropped, in a forked child too, and that would unlock the parent's.)
        Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })?;
        Ok(Lock { file: file.into() })
    }

    /// Makes the file where there is none, and takes the lock on it; whoever takes it by the same name
    /// meets the same lock, also when the file is removed meanwhile. Errors as [`Lock::take`].
    pub fn at(path: &Path) -> io::Result<Lock> {
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
            let locked = file.metadata()?;
            let lock = Lock::take(file)?;
            // Its last owner may have removed it in between: then the lock is on nobody's file.
            match std::fs::symlink_metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {
                    return Ok(lock);
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The locked file.
    pub fn file(&self) -> io::Result<File> {
        Ok(self.file.try_clone()?.into())
    }
}

/// The number of the file system that `path` is on.
pub fn device(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.dev())
}

/// The time at which process `pid` started, in clock ticks since boot; with the pid it names one
/// process for ever. `None`: there is no such process. (proc(5), /proc/PID/stat, field 22.)
pub fn process_start(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, and may hold anything.
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    // A zombie holds no lock and does no work.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
