//! A small disk: a tmpfs of its own, that can be filled. It is mounted in a mount namespace of the
//! test's thread, which what that starts inherits: whatever becomes of the test, nothing stays mounted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// A mounted disk.
pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one with these options (tmpfs(5): `size=2m`) at a folder, for this thread and those it
    /// starts from now on. An error says in plain words why not.
    pub fn mount(at: &Path, options: &str) -> Result<Disk, String> {
        let say = |what: &str, e: nix::Error| format!("{what}: {}", e.desc());
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|e| say("no mount namespace (root may have one)", e))?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(|e| say("mounts cannot be made private", e))?;
        mount(Some("small-disk"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
            .map_err(|e| say("no tmpfs can be mounted", e))?;
        Ok(Disk { at: at.to_owned() })
    }

    fn filling(&self) -> PathBuf {
        self.at.join(".filling")
    }

    /// Fills it up to the last byte, and then leaves so many bytes free.
    pub fn fill(&self, free: u64) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filling())?;
        let zeros = [0; 1 << 16];
        loop {
            match file.write(&zeros) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::StorageFull => break,
                Err(e) => return Err(e),
            }
        }
        file.set_len(file.metadata()?.len().saturating_sub(free))
    }

    /// Makes room again.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.filling());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}
