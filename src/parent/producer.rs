//! Where the next delta comes from: the spool's `incoming/`, watched by inotify and scanned now
//! and then, or a list for `feed`; what is to be retried, which waits among them by its name; and
//! what was appended to a delta in `done/`.

use scoreboard::SpoolStep;
use slog::{Logger, error, info, warn};
use spool::{
    Begin, Claim, Division, End, Entry, Incoming, Kind, Late, News, Next, Spool, Wanted, What,
};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use sys::Watch;
use sys::clock::{now_ms, wall_ms};

use crate::trouble::Trouble;

/// How long after an error the next try is, in milliseconds.
const AGAIN: u64 = 1_000;
/// The same for what comes late: it may be that one file that cannot be moved.
const AGAIN_LATE: u64 = 5_000;
/// So long one turn scans at most, in milliseconds: there may be a hundred thousand, and others wait.
const SLICE: u64 = 10;

enum Source {
    Folder(Folder),
    List(VecDeque<OsString>),
}

/// A spool's `incoming/`, and its `done/` for what comes late.
struct Folder {
    incoming: Incoming,
    watch: Option<Watch>,
    next_scan: u64,
    /// The scan that is under way. Until it is whole nothing is claimed: what it has not come to yet
    /// may be first.
    scan: Option<Scan>,
    late: Late,
}

struct Scan {
    entries: std::fs::ReadDir,
    /// When it began.
    since: u64,
    /// It may have passed by what is new: another is due when it is whole.
    again: bool,
}

/// What may be claimed now.
enum Ready {
    /// A delta in `incoming/`, or of the list, first seen at this time.
    New(OsString, u64),
    /// Something that is to be retried, since then.
    Again(Wanted, u64),
    /// What was appended to a delta in `done/`, from there on.
    Late(OsString, Begin),
}

impl Ready {
    fn path(&self, producer: &Producer) -> PathBuf {
        match self {
            Ready::New(name, _) => producer.folder.join(name),
            Ready::Again(wanted, _) => wanted.name.clone().into(),
            Ready::Late(name, _) => producer.done.join(name),
        }
    }
}

/// Where deltas come from.
pub(crate) struct Producer {
    folder: PathBuf,
    done: PathBuf,
    settle: u64,
    poll: u64,
    source: Source,
    /// What is to be retried, in the order of the names: a delta's rest before its rejected lines;
    /// and since when, milliseconds since 1970.
    again: BTreeMap<(OsString, Kind), (Wanted, u64)>,
    /// After an error: not before.
    held: u64,
    scanning: Trouble,
    claiming: Trouble,
    claiming_late: Trouble,
    /// That there is no inotify has been told.
    unwatched: bool,
    /// Which delta has held back others since when, and whether that has been told.
    blocker: Option<(OsString, u64, bool)>,
}

impl Producer {
    /// A spool's `incoming/`. `settle` and `poll` in milliseconds.
    pub(crate) fn folder(spool: &Spool, settle: u64, poll: u64) -> Producer {
        let (incoming, late) = (Incoming::new(settle, poll), Late::default());
        let folder = Folder { incoming, watch: None, next_scan: 0, scan: None, late };
        Producer::new(spool, settle, poll, Source::Folder(folder))
    }

    /// These, in this order, and then no more.
    pub(crate) fn list(spool: &Spool, names: Vec<OsString>) -> Producer {
        let source = Source::List(names.into());
        Producer::new(spool, 0, 0, source)
    }

    fn new(spool: &Spool, settle: u64, poll: u64, source: Source) -> Producer {
        Producer {
            folder: spool.incoming(),
            done: spool.done(),
            settle,
            poll,
            source,
            again: BTreeMap::new(),
            held: 0,
            scanning: Trouble::new(SpoolStep::Look),
            claiming: Trouble::new(SpoolStep::Claim),
            claiming_late: Trouble::new(SpoolStep::ClaimLate),
            unwatched: false,
            blocker: None,
        }
    }

    /// This is to be retried when its turn comes.
    pub(crate) fn want(&mut self, wanted: Wanted, wall: u64) {
        let of = (wanted.name.clone(), wanted.kind);
        let seen = self.again.get(&of).map_or(wall, |(_, seen)| *seen);
        self.again.insert(of, (wanted, seen));
    }

    /// It is not to be retried after all; whether it was.
    pub(crate) fn unwant(&mut self, name: &OsStr, kind: Kind) -> bool {
        self.again.remove(&(name.to_owned(), kind)).is_some()
    }

    /// What the spool's file system does not do at present, and the errno of that.
    pub(crate) fn trouble(&self) -> Option<(SpoolStep, i32)> {
        self.claiming.told().or(self.scanning.told()).or(self.claiming_late.told())
    }

    pub(crate) fn configure(&mut self, settle: u64, poll: u64) {
        (self.settle, self.poll) = (settle, poll);
        if let Source::Folder(folder) = &mut self.source {
            folder.incoming.configure(settle, poll);
        }
    }

    pub(crate) fn watch(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::Folder(folder) => folder.watch.as_ref().map(|w| w.as_fd()),
            Source::List(_) => None,
        }
    }

    fn is_scanning(&self) -> bool {
        matches!(&self.source, Source::Folder(folder) if folder.scan.is_some())
    }

    /// Whether a list is at its end.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.again.is_empty() && matches!(&self.source, Source::List(names) if names.is_empty())
    }

    /// When the oldest delta waiting was first seen, milliseconds since 1970.
    pub(crate) fn oldest_seen(&self) -> Option<u64> {
        let (waiting, late) = match &self.source {
            Source::Folder(folder) => {
                let ago = |first| wall_ms().saturating_sub(now_ms().saturating_sub(first));
                (folder.incoming.oldest_seen(), folder.late.oldest().map(ago))
            }
            Source::List(_) => (None, None),
        };
        let again = self.again.values().map(|(_, seen)| *seen);
        waiting.into_iter().chain(late).chain(again).min()
    }

    /// How many deltas wait, as far as that is known.
    pub(crate) fn waiting(&self) -> usize {
        let incoming = match &self.source {
            Source::Folder(folder) => folder.incoming.len(),
            Source::List(names) => names.len(),
        };
        incoming + self.again.len()
    }

    /// When something may be claimed that cannot be now.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let due = match &self.source {
            Source::Folder(_) if self.is_scanning() => None,
            _ if self.next_again().is_some() => Some(0),
            Source::Folder(Folder { incoming, late, .. }) => {
                let new = match incoming.next(0) {
                    Next::Wait(until) => Some(until),
                    Next::Claim(_) | Next::Look(_) => Some(0),
                    Next::Nothing => None,
                };
                [new, late.deadline(self.settle)].into_iter().flatten().min()
            }
            Source::List(names) => (!names.is_empty()).then_some(0),
        };
        due.map(|due| due.max(self.held))
    }

    /// The same of a delta that may be begun before others are settled: no other kind of thing is, and
    /// what comes before it keeps it waiting.
    pub(crate) fn deadline_ahead(&self, now: u64) -> Option<u64> {
        let Source::Folder(Folder { late, .. }) = &self.source else { return None };
        let is_late = late.deadline(self.settle).is_some_and(|due| due <= now);
        let is_first = !is_late && self.next_again().is_none();
        self.deadline().filter(|_| is_first)
    }

    pub(crate) fn next_scan(&self) -> Option<u64> {
        match &self.source {
            Source::Folder(_) if self.is_scanning() => Some(0),
            Source::Folder(folder) => Some(folder.next_scan),
            Source::List(_) => None,
        }
    }

    /// Takes in what inotify has to tell.
    pub(crate) fn read_watch(&mut self, now: u64, wall: u64) {
        let Source::Folder(folder) = &mut self.source else { return };
        let Some(reader) = &folder.watch else { return };
        let Ok(arrivals) = reader.read() else {
            (folder.watch, folder.next_scan) = (None, now);
            return;
        };
        for arrival in arrivals {
            if arrival == sys::Arrival::Lost {
                (folder.watch, folder.scan) = (None, None);
            }
            if folder.incoming.arrival(arrival, now, wall) {
                folder.next_scan = now;
                folder.scan.iter_mut().for_each(|scan| scan.again = true);
            }
        }
    }

    /// Lists the folder where that is due, a slice at a time, and watches it if it is not watched.
    pub(crate) fn scan_if_due(&mut self, now: u64, wall: u64, log: &Logger) {
        let Source::Folder(folder) = &mut self.source else { return };
        if folder.scan.is_none() && now < folder.next_scan {
            return;
        }
        // The watch first: what comes between the two is seen twice, not never.
        if folder.scan.is_none() {
            folder.late.look(&self.done, now);
            self.tell_late(log);
            self.watch_incoming(log);
        }
        match self.scan(now, wall) {
            Ok(true) => {
                if self.scanning.over() {
                    info!(log, "can look into incoming again");
                }
                self.tell_what_blocks(now, log);
            }
            Ok(false) => {}
            Err(e) => {
                if let Source::Folder(folder) = &mut self.source {
                    (folder.scan, folder.next_scan) = (None, now + AGAIN);
                }
                if self.scanning.is_news(&e) {
                    error!(log, "cannot look into incoming"; "folder" => %self.folder.display(),
                        "error" => spool::remedy(&e));
                }
            }
        }
    }

    fn watch_incoming(&mut self, log: &Logger) {
        let Source::Folder(Folder { watch: watch @ None, .. }) = &mut self.source else { return };
        match Watch::folder(&self.folder) {
            Ok(new) => (*watch, self.unwatched) = (Some(new), false),
            // Then scans must do.
            Err(e) if !self.unwatched => {
                self.unwatched = true;
                warn!(log, "no inotify, scanning instead"; "every_ms" => self.poll,
                    "error" => watch_remedy(&e));
            }
            Err(_) => {}
        }
    }

    /// Goes on with the scan, or begins one. Answers whether it is whole.
    fn scan(&mut self, now: u64, wall: u64) -> io::Result<bool> {
        let Source::Folder(Folder { incoming, next_scan, scan, .. }) = &mut self.source else {
            return Ok(false);
        };
        if scan.is_none() {
            let entries = std::fs::read_dir(&self.folder)?;
            *scan = Some(Scan { entries, since: now, again: false });
            incoming.scan_begins();
        }
        let Some(Scan { entries, since, again }) = scan else { return Ok(false) };
        for entry in entries.by_ref() {
            let name = entry?.file_name();
            if incoming.listed(&name, wall) {
                let entry = look(&self.folder.join(&name))?;
                incoming.found(&name, entry, now);
            }
            if now_ms() >= now + SLICE {
                return Ok(false);
            }
        }
        incoming.scan_ends();
        // A scan that takes long pays less: ten times as long nothing is scanned.
        let rest = if *again { 0 } else { self.poll.max(10 * (now - *since)) };
        (*scan, *next_scan) = (None, now + rest);
        Ok(true)
    }

    /// One that does not become whole, and keeps others waiting.
    fn tell_what_blocks(&mut self, now: u64, log: &Logger) {
        let Source::Folder(Folder { incoming, .. }) = &self.source else { return };
        match (incoming.next(now), incoming.first()) {
            // (Looked at once more, it may be found to have changed again and again.)
            (Next::Wait(_) | Next::Look(_), Some(first)) if incoming.len() > 1 => {
                let before = self.blocker.take().filter(|(before, ..)| before == first);
                let (name, since, mut told) = before.unwrap_or((first.into(), now, false));
                if !told && now - since >= 2 * self.poll.max(self.settle) {
                    told = true;
                    warn!(log, "a delta that is still being written holds back those behind it: have \
                        its writer close it, or take it away"; "delta" => %name.to_string_lossy(),
                        "behind" => incoming.len() - 1);
                }
                self.blocker = Some((name, since, told));
            }
            _ => self.blocker = None,
        }
    }

    /// A delta has been settled: it lies in `done/` under this name, and what was delivered of it
    /// ends there.
    pub(crate) fn settled(&mut self, name: OsString, end: End, now: u64, log: &Logger) {
        if let Source::Folder(folder) = &mut self.source {
            folder.late.settled(&self.done, name, end, now);
        }
        self.tell_late(log);
    }

    /// The daemon ends: what has been appended and is not claimed will not be.
    pub(crate) fn leave(&mut self, log: &Logger) {
        if let Source::Folder(folder) = &mut self.source {
            folder.late.forget_all(&self.done, now_ms());
        }
        self.tell_late(log);
    }

    /// Tells what producers do with deltas that were delivered.
    fn tell_late(&mut self, log: &Logger) {
        let Source::Folder(Folder { late, .. }) = &mut self.source else { return };
        for News { name, what } in late.take_news() {
            let delta = name.to_string_lossy();
            match what {
                What::Grown(size) => {
                    warn!(log, "a delta has grown after it was delivered, what is new is \
                    delivered when it stands still: hand it over when it is closed"; "delta" => &*delta,
                    "bytes" => size)
                }
                What::Linked => {
                    warn!(log, "a delta has grown after it was delivered, and has another name: \
                    what is new is not delivered unless it is handed over"; "delta" => &*delta)
                }
                What::Lost => {
                    warn!(log, "what a delta has grown by after it was delivered is not delivered: \
                    hand that over"; "delta" => &*delta)
                }
                What::Cut(size) => {
                    warn!(log, "a delta was cut after it was delivered: hand over anew what is \
                    written there now"; "delta" => &*delta, "bytes" => size)
                }
            }
        }
        if !late.is_put_off() && self.claiming_late.over() {
            info!(log, "can claim what deltas have grown by again");
        }
    }

    /// Claims the next delta, if one is ready.
    ///
    /// `version`: the highest in any receipt so far. `ahead`: others are not settled yet, and all but a
    /// new delta has to wait for that.
    pub(crate) fn claim(
        &mut self,
        spool: &Spool,
        division: Division,
        version: u64,
        ahead: bool,
        now: u64,
        log: &Logger,
    ) -> Option<Claim> {
        while now >= self.held {
            let ready = self.ready(now);
            self.tell_late(log);
            let Some(ready) = ready else {
                if !self.is_scanning() {
                    self.claiming.over(); // what could not be claimed was taken away
                }
                return None;
            };
            if ahead && !matches!(ready, Ready::New(..)) {
                return None;
            }
            let division = division.clone();
            let claimed = match &ready {
                Ready::New(name, seen) => spool.claim(name, division, *seen, version),
                Ready::Again(wanted, seen) => spool.claim_again(wanted, division, *seen, version),
                Ready::Late(name, begin) => {
                    spool.claim_late(name, *begin, division, wall_ms(), version)
                }
            };
            match claimed {
                Ok(claim) => {
                    self.is_claimed(&ready, log);
                    return Some(claim);
                }
                Err(e) if self.is_gone(&ready, &e, spool) => {
                    if let Ready::Again(wanted, _) = &ready {
                        // Or another of that name would be taken for it, after a restart.
                        let _ = spool.unwant(&wanted.name, wanted.kind);
                    }
                    self.waits_no_more(&ready);
                }
                Err(e) if self.put_off(&ready, now) => {
                    if self.claiming_late.is_news(&e) {
                        error!(log, "cannot claim what a delta has grown by"; "error" => spool::remedy(&e),
                            "delta" => %ready.path(self).display());
                    }
                }
                Err(e) => {
                    self.held = now + AGAIN;
                    if self.claiming.is_news(&e) {
                        error!(log, "cannot claim a delta"; "delta" => %ready.path(self).display(),
                            "error" => spool::remedy(&e));
                    }
                }
            }
        }
        None
    }

    /// What may be claimed now.
    fn ready(&mut self, now: u64) -> Option<Ready> {
        if let Source::Folder(Folder { late, .. }) = &mut self.source {
            if let Some((name, begin)) = late.next(&self.done, self.settle, now) {
                return Some(Ready::Late(name, begin));
            }
        }
        if let Some((wanted, seen)) = self.next_again().cloned() {
            return Some(Ready::Again(wanted, seen));
        }
        self.next(now).map(|(name, seen)| Ready::New(name, seen))
    }

    fn is_claimed(&mut self, ready: &Ready, log: &Logger) {
        self.waits_no_more(ready);
        if self.claiming.over() {
            info!(log, "can claim deltas again");
        }
        if let Ready::Late(name, begin) = ready {
            info!(log, "what a delta has grown by after it was delivered is delivered now";
                "delta" => %name.to_string_lossy(), "from_line" => begin.line + 1);
        }
    }

    /// What has grown and cannot be claimed keeps nothing else from being claimed. Whether it is such.
    fn put_off(&mut self, ready: &Ready, now: u64) -> bool {
        match (ready, &mut self.source) {
            (Ready::Late(name, _), Source::Folder(folder)) => {
                folder.late.put_off(name, now + AGAIN_LATE);
                true
            }
            _ => false,
        }
    }

    fn waits_no_more(&mut self, ready: &Ready) {
        match (ready, &mut self.source) {
            (Ready::New(name, _), _) => self.forget(name),
            (Ready::Again(wanted, _), _) => drop(self.unwant(&wanted.name, wanted.kind)),
            (Ready::Late(name, _), Source::Folder(folder)) => folder.late.forget(name),
            (Ready::Late(..), Source::List(_)) => {}
        }
    }

    /// Whether it is the delta that cannot be claimed any more, and not a folder of ours that fails.
    fn is_gone(&self, ready: &Ready, e: &io::Error, spool: &Spool) -> bool {
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        match ready {
            // (What of it was seen to be gone has told that itself.)
            Ready::New(..) | Ready::Late(..) => {
                gone(e) && std::fs::symlink_metadata(ready.path(self)).is_err_and(|e| gone(&e))
            }
            // A person has taken it away.
            Ready::Again(wanted, _) => {
                gone(e) && spool.left(&wanted.name).is_ok_and(|left| !left.has(wanted.kind))
            }
        }
    }

    /// What is to be retried now: names decide the order, also between those that come and those that come
    /// again.
    fn next_again(&self) -> Option<&(Wanted, u64)> {
        let ((name, _), again) = self.again.first_key_value()?;
        let before = match &self.source {
            Source::Folder(folder) if folder.scan.is_some() => return None, // it may have one before
            Source::Folder(folder) => folder.incoming.first(),
            Source::List(_) => None,
        };
        before.is_none_or(|before| name.as_os_str() <= before).then_some(again)
    }

    fn next(&mut self, now: u64) -> Option<(OsString, u64)> {
        let incoming = match &mut self.source {
            Source::Folder(folder) if folder.scan.is_some() => return None,
            Source::Folder(folder) => &mut folder.incoming,
            Source::List(names) => return Some((names.front()?.clone(), wall_ms())),
        };
        loop {
            let (name, claim) = match incoming.next(now) {
                Next::Claim(name) => (name, true),
                Next::Look(name) => (name, false),
                Next::Wait(_) | Next::Nothing => return None,
            };
            // A link, a fifo or a folder is left where it is. What cannot be looked at cannot be
            // claimed either, and that is told.
            let looked = look(&self.folder.join(&name));
            if looked.as_ref().map_or(true, |entry| claim && entry.is_some()) {
                let seen = incoming.seen(&name).unwrap_or_else(wall_ms);
                return Some((name, seen));
            }
            incoming.found(&name, looked.ok().flatten(), now);
        }
    }

    /// It waits no more.
    pub(crate) fn forget(&mut self, name: &OsString) {
        match &mut self.source {
            Source::Folder(folder) => folder.incoming.forget(name),
            Source::List(names) => drop(names.pop_front()),
        }
    }
}

/// The file as it is; `None`: it is gone, or no ordinary one.
fn look(path: &Path) -> io::Result<Option<Entry>> {
    match Entry::look(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked,
    }
}

/// inotify has limits of its own (inotify(7)), and its errors speak of others.
fn watch_remedy(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::StorageFull => format!("{e}: raise fs.inotify.max_user_watches"),
        _ if sys::limits::is_out_of_files(e) => {
            format!("{e}: raise fs.inotify.max_user_instances, or the limit of open files")
        }
        _ => spool::remedy(e),
    }
}
