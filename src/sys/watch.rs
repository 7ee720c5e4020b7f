//! inotify on one folder: which files came, were written, or went.

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What happened in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A file came by rename: it is whole.
    Renamed(OsString),
    /// A file that was open for writing has been closed; it may be opened again.
    Written(OsString),
    /// A file was made, or something in it changed: it may be being written.
    Touched(OsString),
    /// A file went.
    Gone(OsString),
    /// Something was missed: look for yourself.
    Overflow,
    /// The folder itself is gone, or was moved away.
    Lost,
}

/// A watch on one folder, as a descriptor for `poll`.
pub struct Watch {
    inotify: Inotify,
}

impl Watch {
    /// Watches `folder`, not what is below its folders.
    pub fn folder(folder: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let what = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(folder, what)?;
        Ok(Watch { inotify })
    }

    /// What has happened since the last call. Never waits.
    pub fn read(&self) -> io::Result<Vec<Arrival>> {
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        Ok(events.into_iter().filter_map(|event| arrival(event.mask, event.name)).collect())
    }
}

fn arrival(mask: AddWatchFlags, name: Option<OsString>) -> Option<Arrival> {
    let has = |flag| mask.intersects(flag);
    if has(AddWatchFlags::IN_Q_OVERFLOW) {
        return Some(Arrival::Overflow);
    }
    if has(AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_UNMOUNT)
    {
        return Some(Arrival::Lost);
    }
    let name = name?;
    if has(AddWatchFlags::IN_MOVED_TO) {
        Some(Arrival::Renamed(name))
    } else if has(AddWatchFlags::IN_CLOSE_WRITE) {
        Some(Arrival::Written(name))
    } else if has(AddWatchFlags::IN_CREATE) {
        Some(Arrival::Touched(name))
    } else if has(AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE) {
        Some(Arrival::Gone(name))
    } else {
        None
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
