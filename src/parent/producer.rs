//! Where the next delta comes from: the spool's `incoming/`, watched by inotify and scanned now
//! and then, or a list for `feed`.

use slog::{Logger, error, info, warn};
use spool::{Claim, Division, Entry, Incoming, Next, Spool};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use sys::Watch;
use sys::clock::wall_ms;

/// How long after an error the next try is, in milliseconds.
const AGAIN: u64 = 1_000;

enum Source {
    Folder { incoming: Incoming, watch: Option<Watch>, next_scan: u64 },
    List(VecDeque<OsString>),
}

/// Where deltas come from.
pub(crate) struct Producer {
    folder: PathBuf,
    poll: u64,
    source: Source,
    /// After an error: not before.
    held: u64,
    /// The last error in looking into the folder, and in claiming; 0: all is well.
    scan_error: i32,
    claim_error: i32,
    /// That there is no inotify has been told.
    unwatched: bool,
}

impl Producer {
    /// A spool's `incoming/`. `settle` and `poll` in milliseconds.
    pub(crate) fn folder(spool: &Spool, settle: u64, poll: u64) -> Producer {
        let incoming = Incoming::new(settle, poll);
        let source = Source::Folder { incoming, watch: None, next_scan: 0 };
        Producer::new(spool, poll, source)
    }

    /// These, in this order, and then no more.
    pub(crate) fn list(spool: &Spool, names: Vec<OsString>) -> Producer {
        let source = Source::List(names.into());
        Producer::new(spool, 0, source)
    }

    fn new(spool: &Spool, poll: u64, source: Source) -> Producer {
        let folder = spool.incoming();
        let (scan_error, claim_error, unwatched) = (0, 0, false);
        Producer { folder, poll, source, held: 0, scan_error, claim_error, unwatched }
    }

    /// The spool's file system does not do what it should, an errno; 0: all is well.
    pub(crate) fn error(&self) -> i32 {
        if self.claim_error != 0 { self.claim_error } else { self.scan_error }
    }

    pub(crate) fn configure(&mut self, settle: u64, poll: u64) {
        self.poll = poll;
        if let Source::Folder { incoming, .. } = &mut self.source {
            incoming.configure(settle, poll);
        }
    }

    pub(crate) fn watch(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::Folder { watch, .. } => watch.as_ref().map(|w| w.as_fd()),
            Source::List(_) => None,
        }
    }

    /// Whether a list is at its end.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(&self.source, Source::List(names) if names.is_empty())
    }

    /// When the oldest delta waiting was first seen, milliseconds since 1970.
    pub(crate) fn oldest_seen(&self) -> Option<u64> {
        match &self.source {
            Source::Folder { incoming, .. } => incoming.oldest_seen(),
            Source::List(_) => None,
        }
    }

    /// When something may be claimed that cannot be now.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let due = match &self.source {
            Source::Folder { incoming, .. } => match incoming.next(0) {
                Next::Wait(until) => Some(until),
                Next::Claim(_) | Next::Look(_) => Some(0),
                Next::Nothing => None,
            },
            Source::List(names) => (!names.is_empty()).then_some(0),
        };
        due.map(|due| due.max(self.held))
    }

    pub(crate) fn next_scan(&self) -> Option<u64> {
        match &self.source {
            Source::Folder { next_scan, .. } => Some(*next_scan),
            Source::List(_) => None,
        }
    }

    /// Takes in what inotify has to tell.
    pub(crate) fn read_watch(&mut self, now: u64, wall: u64) {
        let Source::Folder { incoming, watch, next_scan } = &mut self.source else { return };
        let Some(reader) = watch else { return };
        let Ok(arrivals) = reader.read() else {
            (*watch, *next_scan) = (None, now);
            return;
        };
        for arrival in arrivals {
            let lost = arrival == sys::Arrival::Lost;
            if incoming.arrival(arrival, now, wall) {
                *next_scan = now;
            }
            if lost {
                *watch = None;
            }
        }
    }

    /// Lists the folder where that is due, and watches it if it is not watched.
    pub(crate) fn scan_if_due(&mut self, now: u64, wall: u64, log: &Logger) {
        let Source::Folder { incoming, watch, next_scan } = &mut self.source else { return };
        if now < *next_scan {
            return;
        }
        *next_scan = now + self.poll;
        let mut scan = || -> io::Result<()> {
            // The watch first: what comes between the two is seen twice, not never.
            if watch.is_none() {
                match Watch::folder(&self.folder) {
                    Ok(new) => (*watch, self.unwatched) = (Some(new), false),
                    // Then scans must do.
                    Err(e) if !self.unwatched => {
                        self.unwatched = true;
                        warn!(log, "no inotify, scanning instead"; "every_ms" => self.poll, "error" => %e);
                    }
                    Err(_) => {}
                }
            }
            let names = std::fs::read_dir(&self.folder)?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<_>>>()?;
            incoming.scan(names, wall);
            for name in incoming.new_ones() {
                let entry = Entry::look(&self.folder.join(&name)).ok().flatten();
                incoming.found(&name, entry, now);
            }
            Ok(())
        };
        match scan() {
            Ok(()) => {
                if std::mem::take(&mut self.scan_error) != 0 {
                    info!(log, "can look into incoming again");
                }
            }
            Err(e) => {
                *next_scan = now + AGAIN;
                tell("cannot look into incoming", &e, &mut self.scan_error, &self.folder, log);
            }
        }
    }

    /// Claims the next delta, if one is ready.
    pub(crate) fn claim(
        &mut self,
        spool: &Spool,
        division: Division,
        now: u64,
        log: &Logger,
    ) -> Option<Claim> {
        while now >= self.held {
            let (name, seen) = self.next(now)?;
            match spool.claim(&name, division.clone(), seen) {
                Ok(claim) => {
                    self.forget(&name);
                    if std::mem::take(&mut self.claim_error) != 0 {
                        info!(log, "can claim deltas again");
                    }
                    return Some(claim);
                }
                Err(e) if self.is_gone(&name, &e) => self.forget(&name),
                Err(e) => {
                    self.held = now + AGAIN;
                    tell("cannot claim a delta", &e, &mut self.claim_error, &self.folder, log);
                }
            }
        }
        None
    }

    /// Whether it is the delta that is gone, and not a folder of ours.
    fn is_gone(&self, name: &OsString, e: &io::Error) -> bool {
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        gone(e) && std::fs::symlink_metadata(self.folder.join(name)).is_err_and(|e| gone(&e))
    }

    fn next(&mut self, now: u64) -> Option<(OsString, u64)> {
        let incoming = match &mut self.source {
            Source::Folder { incoming, .. } => incoming,
            Source::List(names) => return Some((names.front()?.clone(), wall_ms())),
        };
        loop {
            let (name, claim) = match incoming.next(now) {
                Next::Claim(name) => (name, true),
                Next::Look(name) => (name, false),
                Next::Wait(_) | Next::Nothing => return None,
            };
            // A link, a fifo or a folder is left where it is.
            let entry = Entry::look(&self.folder.join(&name)).ok().flatten();
            if claim && entry.is_some() {
                let seen = incoming.oldest_seen().unwrap_or_else(wall_ms);
                return Some((name, seen));
            }
            incoming.found(&name, entry, now);
        }
    }

    fn forget(&mut self, name: &OsString) {
        match &mut self.source {
            Source::Folder { incoming, .. } => drop(incoming.forget(name)),
            Source::List(names) => drop(names.pop_front()),
        }
    }
}

/// Tells a new kind of error once, and remembers it.
fn tell(what: &str, e: &io::Error, last: &mut i32, folder: &Path, log: &Logger) {
    let number = e.raw_os_error().unwrap_or(-1);
    if *last != number {
        error!(log, "{}", what; "folder" => %folder.display(), "error" => %e);
    }
    *last = number;
}
