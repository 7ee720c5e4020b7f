//! How much of the kernel a process may have: open files, of which every client, connection and
//! delta takes one.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::io;

/// Raises the soft limit of open files to the hard one, and answers the limit that then holds.
///
/// The soft one is 1024 by habit, for the sake of select(2), which nothing of ours calls; the hard
/// one is what the administrator means (systemd's `LimitNOFILE=`). Children inherit it; a limit
/// that cannot be raised is answered as it is. (getrlimit(2), RLIMIT_NOFILE.)
pub fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0; // it cannot fail: the resource is known and the memory is ours
    };
    match soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        true => hard,
        false => soft,
    }
}

/// Sees to it that a file over the limit of file sizes is an error (EFBIG), as any other full disk,
/// and not the end of the process that writes (SIGXFSZ, setrlimit(2)). Children inherit it.
pub fn survive_large_files() -> io::Result<()> {
    // SAFETY: no handler is installed, so no code runs in a signal's context.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}

/// Whether an error says that this process, or the whole machine, has no descriptor left.
pub fn is_out_of_files(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EMFILE | Errno::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_open_files(), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(raise_open_files(), hard);
    }
}
