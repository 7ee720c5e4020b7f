//! Deltas that were settled a while ago, looked at again.
//!
//! A producer that renames its file before it has closed it (and what it had buffered is written
//! when it does) goes on writing into `done/`. What stands there behind the end of what was
//! delivered is claimed once more, as soon as it stands still: from where the first claim ended, so
//! nothing is lost and nothing old comes back.
//!
//! A file that has another name is never claimed so: whoever handed it over by a hard link may write
//! the next delta into it, and link that.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::{Begin, Checkpoint, Claim, Entry, Kind, Spool};

/// So long after it was settled a delta is looked at, in milliseconds.
const LONG: u64 = 60 * 60 * 1_000;
/// So many are, at most: the last ones.
const MOST: usize = 1_000;

/// Where a delta ended when all of it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Which file it was.
    pub inode: u64,
    /// The file's size then.
    pub size: u64,
    /// What comes behind it begins there.
    pub next: Begin,
}

impl Spool {
    /// Where an active delta ended when all of it was read, as its shares' checkpoints say: all at the
    /// same place, or the first of these; `None`: they do not.
    pub fn end_of(&self, claim: &Claim) -> Option<End> {
        if claim.kind == Kind::Rejects {
            return None;
        }
        let end = |share| {
            let found = Checkpoint::found(&self.checkpoint(claim.number, share));
            let (of, (mark, _)) = found.ok().flatten()?;
            let next = Begin { line: mark.line, offset: mark.offset };
            mark.is_at_end(&of).then_some(End { inode: of.inode, size: of.size, next })
        };
        let first = end(0)?;
        (1..claim.shares).filter_map(end).try_fold(first, |first, other| {
            let same_file = first.inode == other.inode;
            same_file.then_some(if other.next.offset < first.next.offset { other } else { first })
        })
    }
}

/// A settled delta.
#[derive(Debug)]
struct Delta {
    /// In `done/`.
    name: OsString,
    end: End,
    settled: u64,
    next_look: u64,
    grown: Option<Grown>,
    /// It could not be claimed: not before this time.
    not_before: u64,
}

/// A delta has grown.
#[derive(Debug, Clone, Copy)]
struct Grown {
    /// To this.
    entry: Entry,
    /// When that was seen.
    since: u64,
    /// When it was first seen.
    first: u64,
}

/// What an operator wants to know of a settled delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Its name in `done/`.
    pub name: OsString,
    /// What has become of it.
    pub what: What,
}

/// What has become of a settled delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It has grown to this size; what is new is delivered when it stands still.
    Grown(u64),
    /// It has grown, and what is new is not delivered, since it has another name.
    Linked,
    /// It had grown, and what was new will not be delivered any more: it is gone, or forgotten.
    Lost,
    /// It is shorter than what was delivered of it, and has this size. What is written there now is not
    /// seen.
    Cut(u64),
}

/// The settled deltas that may still be written to. Times are monotonic milliseconds.
#[derive(Debug, Default)]
pub struct Late {
    deltas: VecDeque<Delta>,
    news: Vec<News>,
}

impl Late {
    /// A delta has just been settled: it lies in `folder`, and what was delivered of it ends there.
    pub fn settled(&mut self, folder: &Path, name: OsString, end: End, now: u64) {
        self.forget(&name); // one that has gone unseen
        if self.deltas.len() >= MOST {
            let oldest = self.deltas.pop_front();
            self.news.extend(oldest.and_then(Delta::lost));
        }
        let (next_look, grown, not_before) = (now, None, 0);
        let mut delta = Delta { name, end, settled: now, next_look, grown, not_before };
        if delta.look(folder, now, &mut self.news) {
            self.deltas.push_back(delta);
        }
    }

    /// Looks at those that are due: ever more seldom, for most are never written to again.
    pub fn look(&mut self, folder: &Path, now: u64) {
        let (deltas, news) = (&mut self.deltas, &mut self.news);
        deltas.retain_mut(|delta| now < delta.next_look || delta.look(folder, now, news));
    }

    /// When one that has grown is whole, if it does not grow again.
    pub fn deadline(&self, settle: u64) -> Option<u64> {
        self.deltas.iter().filter_map(|d| d.due(settle)).min()
    }

    /// One that has grown and stands still.
    pub fn next(&mut self, folder: &Path, settle: u64, now: u64) -> Option<(OsString, Begin)> {
        let is_due = |d: &Delta| d.due(settle).is_some_and(|due| now >= due);
        while let Some(at) = self.deltas.iter().position(is_due) {
            let delta = &mut self.deltas[at];
            if !delta.look(folder, now, &mut self.news) {
                self.deltas.remove(at);
            } else if is_due(delta) {
                return Some((delta.name.clone(), delta.end.next));
            }
        }
        None
    }

    /// Since when the oldest that has grown waits.
    pub fn oldest(&self) -> Option<u64> {
        self.deltas.iter().filter_map(|d| Some(d.grown?.first)).min()
    }

    /// It cannot be claimed at present: not before this time.
    pub fn put_off(&mut self, name: &OsStr, until: u64) {
        let delta = self.deltas.iter_mut().find(|delta| delta.name == name);
        delta.into_iter().for_each(|delta| delta.not_before = until);
    }

    /// Whether there is one that could not be claimed.
    pub fn is_put_off(&self) -> bool {
        self.deltas.iter().any(|delta| delta.not_before > 0)
    }

    /// It is claimed, or gone.
    pub fn forget(&mut self, name: &OsStr) {
        self.deltas.retain(|delta| delta.name != name);
    }

    /// All of them are, after a last look.
    pub fn forget_all(&mut self, folder: &Path, now: u64) {
        for mut delta in self.deltas.drain(..) {
            if delta.look(folder, now, &mut self.news) {
                self.news.extend(delta.lost());
            }
        }
    }

    /// What there is to be told, since this was last asked for.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
}

impl Delta {
    /// When it may be claimed, if it does not grow again.
    fn due(&self, settle: u64) -> Option<u64> {
        self.grown.map(|grown| (grown.since + settle).max(self.not_before))
    }

    /// What is told if it is looked at no more.
    fn lost(self) -> Option<News> {
        self.grown.map(|_| News { name: self.name, what: What::Lost })
    }

    /// Looks at it. Answers whether it is to be looked at again.
    fn look(&mut self, folder: &Path, now: u64, news: &mut Vec<News>) -> bool {
        let mut tell = |what| news.push(News { name: self.name.clone(), what });
        let (end, was_grown) = (self.end.size, self.grown.is_some());
        self.next_look = now + (now - self.settled).max(1);
        let entry = match Entry::look(&folder.join(&self.name)) {
            Ok(Some(entry)) if entry.inode == self.end.inode => entry,
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return was_grown || now - self.settled < LONG; // it may pass
            }
            // Pruned, taken away, or another one by now.
            Ok(_) | Err(_) => {
                was_grown.then(|| tell(What::Lost));
                return false;
            }
        };
        match entry.size.cmp(&end) {
            Ordering::Less => tell(What::Cut(entry.size)),
            Ordering::Greater if entry.links > 1 => tell(What::Linked),
            Ordering::Greater => {
                let same = self.grown.filter(|grown| grown.entry == entry);
                let first = self.grown.map_or(now, |grown| grown.first);
                self.grown = Some(same.unwrap_or(Grown { entry, since: now, first }));
                if !was_grown {
                    tell(What::Grown(entry.size));
                }
                return true;
            }
            Ordering::Equal => {
                (self.grown, self.not_before) = (None, 0);
                return now - self.settled < LONG;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use std::os::unix::fs::MetadataExt;

    const SETTLE: u64 = 2_000;

    /// Writes a delta of which the first line was delivered.
    fn write(path: &Path, text: &str) -> End {
        std::fs::write(path, text).unwrap();
        let inode = std::fs::metadata(path).unwrap().ino();
        End { inode, size: 3, next: Begin { line: 1, offset: 3 } }
    }

    /// A folder with `x.jsonl` in it, settled at 1,000 when it had three bytes.
    fn settled() -> (tempfile::TempDir, Late) {
        let dir = tempfile::tempdir().unwrap();
        let end = write(&dir.path().join("x.jsonl"), "{}\n");
        let mut late = Late::default();
        late.settled(dir.path(), "x.jsonl".into(), end, 1_000);
        (dir, late)
    }

    #[test]
    fn where_a_delta_ended_is_known_when_its_first_share_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        std::fs::write(spool.incoming().join("x.jsonl"), "{}\n{}\n").unwrap();
        let claim = spool.claim("x.jsonl".as_ref(), 2, 0, 0).unwrap();
        assert_eq!(spool.end_of(&claim), None, "nobody has begun it");
        let found = spool.look_at_claimed(claim.kind, &claim.name).unwrap();
        let of = Identity::of(claim.number, 0, 2, &found);
        for (line, offset) in [(1, 3), (2, 6)] {
            let mark = Checkpoint { line, offset, ..Checkpoint::default() };
            mark.save(&spool.checkpoint(claim.number, 0), &of).unwrap();
            let next = Begin { line, offset };
            let end = (offset == 6).then_some(End { inode: found.ino(), size: 6, next });
            assert_eq!(spool.end_of(&claim), end);
        }
    }

    #[test]
    fn a_compressed_delta_is_judged_by_the_size_of_its_file_and_goes_on_by_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        std::fs::write(spool.incoming().join("x.jsonl.gz"), "packed").unwrap();
        let claim = spool.claim("x.jsonl.gz".as_ref(), 1, 0, 0).unwrap();
        let found = spool.look_at_claimed(claim.kind, &claim.name).unwrap();
        let of = Identity::of(claim.number, 0, 1, &found);
        for (offset, packed, is_end) in [(6, 3, false), (2, 6, true), (900, 6, true)] {
            let mark = Checkpoint { line: 7, offset, packed: Some(packed), ..Default::default() };
            mark.save(&spool.checkpoint(claim.number, 0), &of).unwrap();
            let next = Begin { line: 7, offset };
            let end = is_end.then_some(End { inode: found.ino(), size: 6, next });
            assert_eq!(spool.end_of(&claim), end);
            let mut late = Late::default();
            let Some(end) = end else { continue };
            late.settled(&spool.active(), "x.jsonl.gz".into(), end, 1_000);
            assert_eq!((late.deadline(SETTLE), late.deltas.len()), (None, 1), "it is as it was");
            assert_eq!(late.take_news(), []);
        }
    }

    #[test]
    fn what_grows_after_it_was_settled_is_due_when_it_stands_still() {
        let (dir, mut late) = settled();
        assert_eq!((late.deadline(SETTLE), late.next(dir.path(), SETTLE, 1_000)), (None, None));
        write(&dir.path().join("x.jsonl"), "{}\n{}\n");
        late.look(dir.path(), 1_002);
        assert_eq!(late.deadline(SETTLE), Some(3_002));
        assert_eq!(late.next(dir.path(), SETTLE, 3_001), None);
        write(&dir.path().join("x.jsonl"), "{}\n{}\n{}\n");
        assert_eq!(late.next(dir.path(), SETTLE, 3_002), None, "it has grown again");
        assert_eq!(late.deadline(SETTLE), Some(5_002));
        let begin = Begin { line: 1, offset: 3 };
        assert_eq!(late.next(dir.path(), SETTLE, 5_002), Some(("x.jsonl".into(), begin)));
        late.forget("x.jsonl".as_ref());
        assert_eq!((late.deadline(SETTLE), late.next(dir.path(), SETTLE, 9_999)), (None, None));
    }

    #[test]
    fn what_grew_before_it_was_moved_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let end = write(&dir.path().join("x.jsonl"), "{}\n{}\n");
        let mut late = Late::default();
        late.settled(dir.path(), "x.jsonl".into(), end, 1_000);
        assert_eq!(late.deadline(SETTLE), Some(1_000 + SETTLE));
    }

    #[test]
    fn what_is_pruned_replaced_or_cut_is_left_alone() {
        for change in ["remove", "replace", "cut"] {
            let (dir, mut late) = settled();
            let path = dir.path().join("x.jsonl");
            match change {
                "remove" => std::fs::remove_file(&path).unwrap(),
                "replace" => {
                    write(&dir.path().join("y"), "{}\n{}\n");
                    std::fs::rename(dir.path().join("y"), &path).unwrap();
                }
                _ => std::fs::write(&path, "").unwrap(),
            }
            late.look(dir.path(), 2_000);
            assert_eq!((late.deadline(SETTLE), late.deltas.len()), (None, 0), "{change}");
            let told = if change == "cut" { told(What::Cut(0)) } else { vec![] };
            assert_eq!(late.take_news(), told, "{change}");
        }
    }

    fn told(what: What) -> Vec<News> {
        vec![News { name: "x.jsonl".into(), what }]
    }

    #[test]
    fn a_name_that_comes_again_is_another_delta_whatever_its_inode() {
        let (dir, mut late) = settled();
        // Taken back to incoming/, with a line more, and delivered as a whole.
        let path = dir.path().join("x.jsonl");
        let end = write(&path, "{}\n{}\n");
        let next = Begin { line: 2, offset: 6 };
        late.settled(dir.path(), "x.jsonl".into(), End { size: 6, next, ..end }, 2_000);
        late.look(dir.path(), 9_000);
        assert_eq!((late.deadline(SETTLE), late.deltas.len()), (None, 1));
        assert_eq!(late.take_news(), []);
    }

    #[test]
    fn what_has_another_name_is_the_next_delta_and_not_the_rest_of_this_one() {
        let (dir, mut late) = settled();
        let path = dir.path().join("x.jsonl");
        std::fs::hard_link(&path, dir.path().join("outbox")).unwrap();
        late.look(dir.path(), 1_002);
        assert_eq!((late.deltas.len(), late.take_news()), (1, vec![]));
        write(&path, "{}\n{}\n");
        late.look(dir.path(), 2_000);
        assert_eq!((late.deadline(SETTLE), late.take_news()), (None, told(What::Linked)));
    }

    #[test]
    fn what_was_appended_is_told_once_and_once_more_if_it_is_lost() {
        for how in ["forget_all", "pop", "pruned"] {
            let (dir, mut late) = settled();
            let path = dir.path().join("x.jsonl");
            write(&path, "{}\n{}\n");
            late.look(dir.path(), 2_000);
            write(&path, "{}\n{}\n{}\n");
            late.look(dir.path(), 4_000);
            assert_eq!(late.take_news(), told(What::Grown(6)), "{how}");
            assert_eq!((late.oldest(), late.deadline(SETTLE)), (Some(2_000), Some(6_000)));
            match how {
                "forget_all" => late.forget_all(dir.path(), 4_001),
                "pruned" => {
                    std::fs::remove_file(&path).unwrap();
                    late.look(dir.path(), 9_000);
                }
                _ => {
                    for n in 0..MOST {
                        let name = format!("{n}.jsonl");
                        let end = write(&dir.path().join(&name), "{}\n");
                        late.settled(dir.path(), name.into(), end, 4_000);
                    }
                }
            }
            assert_eq!(late.take_news(), told(What::Lost), "{how}");
            assert_eq!(late.oldest(), None);
        }
    }

    #[test]
    fn what_cannot_be_claimed_keeps_no_other_from_it() {
        let (dir, mut late) = settled();
        let end = write(&dir.path().join("y.jsonl"), "{}\n{}\n");
        write(&dir.path().join("x.jsonl"), "{}\n{}\n");
        late.settled(dir.path(), "y.jsonl".into(), end, 1_000);
        late.look(dir.path(), 1_002);
        let next = |late: &mut Late, now| late.next(dir.path(), SETTLE, now).map(|due| due.0);
        assert_eq!(next(&mut late, 5_000), Some("x.jsonl".into()));
        late.put_off("x.jsonl".as_ref(), 9_000);
        assert_eq!(next(&mut late, 5_000), Some("y.jsonl".into()));
        late.forget("y.jsonl".as_ref());
        assert_eq!((next(&mut late, 8_999), late.deadline(SETTLE)), (None, Some(9_000)));
        assert!(late.is_put_off());
        assert_eq!(next(&mut late, 9_000), Some("x.jsonl".into()));
        late.forget("x.jsonl".as_ref());
        assert!(!late.is_put_off());
    }

    #[test]
    fn looks_become_rare_and_end() {
        let (dir, mut late) = settled();
        let mut looks = 0;
        for now in (1_000..2 * LONG).step_by(1_000) {
            let due = late.deltas.front().is_some_and(|d| d.next_look <= now);
            looks += u64::from(due);
            late.look(dir.path(), now);
        }
        assert!((5..20).contains(&looks), "{looks}");
        assert!(late.deltas.is_empty());
    }

    #[test]
    fn only_the_last_ones_are_looked_at() {
        let (dir, mut late) = settled();
        for n in 0..MOST {
            let name = format!("{n}.jsonl");
            let end = write(&dir.path().join(&name), "{}\n");
            late.settled(dir.path(), name.into(), end, 1_000);
        }
        assert_eq!(late.deltas.len(), MOST);
        assert!(late.deltas.iter().all(|d| d.name != "x.jsonl"));
        assert_eq!(late.take_news(), [], "it has not grown");
    }
}
