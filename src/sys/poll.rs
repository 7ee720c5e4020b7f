//! poll(2): the one place where a process of this program waits.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or its end.
    Read,
    /// Room to write.
    Write,
    /// Both.
    ReadWrite,
}

/// What poll found for one descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Polled {
    /// There is something to read, or the end of it (also an error or a hang-up: reading tells).
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// Waits until a descriptor is ready, `timeout` is over (`None`: for ever) or a signal came.
/// Answers one [`Polled`] for each descriptor, in order. The timeout is rounded up to the next
/// millisecond, so that a deadline is over when this returns because of it.
pub fn poll(
    descriptors: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<Polled>> {
    let flags = |interest| match interest {
        Interest::Read => PollFlags::POLLIN,
        Interest::Write => PollFlags::POLLOUT,
        Interest::ReadWrite => PollFlags::POLLIN | PollFlags::POLLOUT,
    };
    let mut polls: Vec<PollFd> =
        descriptors.iter().map(|(fd, interest)| PollFd::new(*fd, flags(*interest))).collect();
    let timeout = match timeout {
        None => PollTimeout::NONE,
        Some(d) => {
            let ms = d.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        }
    };
    match nix::poll::poll(&mut polls, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(e.into()),
    }
    let ended = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    Ok(polls
        .iter()
        .map(|p| {
            let got = p.revents().unwrap_or(PollFlags::empty());
            Polled {
                readable: got.intersects(PollFlags::POLLIN | ended),
                writable: got.intersects(PollFlags::POLLOUT | ended),
            }
        })
        .collect())
}
