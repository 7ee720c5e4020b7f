//! What a terminal says of itself.

use std::os::fd::{AsRawFd, BorrowedFd};

/// How many columns it has; `None`: it is no terminal, or does not say.
pub fn columns(fd: BorrowedFd<'_>) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and this request writes a `winsize` and nothing else
    // (ioctl_tty(2)); that one is ours and outlives the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (done == 0 && size.ws_col > 0).then_some(size.ws_col)
}
