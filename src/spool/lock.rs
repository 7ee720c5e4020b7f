//! One daemon for one spool: an advisory lock that a dead parent's last child still holds.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::Spool;

/// The lock. It is free again when the last process that inherited it is gone.
#[derive(Debug)]
pub struct SpoolLock {
    _lock: sys::files::Lock,
}

/// Who has the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A daemon of this process id, and it lives.
    ByDaemon(i32),
    /// Only what a dead daemon of this process id left behind; it is about to go.
    ByChildrenOf(i32),
}

impl Spool {
    /// Takes the lock without waiting, and writes into it who has it.
    pub fn lock(&self) -> io::Result<Result<SpoolLock, Held>> {
        let path = self.dir.join(".lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        match sys::files::Lock::take(file.try_clone()?) {
            Ok(lock) => {
                let file = lock.file()?;
                let pid = sys::pid();
                let start = sys::files::process_start(pid).unwrap_or(0);
                let who = format!("{pid} {start}\n");
                // In its place, where there is room on a full disk too. Where there is none, it is
                // locked all the same; only a second daemon is not told by whom.
                match file.write_all_at(who.as_bytes(), 0) {
                    Ok(()) => file.set_len(who.len() as u64)?,
                    Err(e) if crate::is_full(&e) => {}
                    Err(e) => return Err(e),
                }
                Ok(Ok(SpoolLock { _lock: lock }))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let mut text = String::new();
                { file }.take(100).read_to_string(&mut text)?;
                Ok(Err(holder(&text)))
            }
            Err(e) => Err(e),
        }
    }
}

/// The pid may have been given to a stranger since: the time of its start tells.
fn holder(text: &str) -> Held {
    let mut numbers = text.split_ascii_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
    let (pid, start) = (numbers.next().unwrap_or(0) as i32, numbers.next().unwrap_or(0));
    match sys::files::process_start(pid) {
        Some(now) if now == start => Held::ByDaemon(pid),
        _ => Held::ByChildrenOf(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        let first = spool.lock().unwrap().unwrap();
        assert_eq!(spool.lock().unwrap().unwrap_err(), Held::ByDaemon(sys::pid()));
        drop(first);
        spool.lock().unwrap().unwrap();
    }

    #[test]
    fn a_pid_that_was_given_to_a_stranger_is_no_daemon() {
        let me = sys::pid();
        assert_eq!(holder(&format!("{me} 1\n")), Held::ByChildrenOf(me));
        assert_eq!(holder(""), Held::ByChildrenOf(0));
    }
}
