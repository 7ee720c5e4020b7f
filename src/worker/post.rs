//! A post thread: takes a batch, brings it to Solr, and hands it back when each of its documents is
//! confirmed or known to be at fault. What may pass is not waited out here: the batch goes back to
//! its lane, and the thread is free for another.
//!
//! It never decides what is done: it writes an outcome beside each document, and the main thread
//! moves the mark. It can be halted at any moment but in the middle of a request, and then hands
//! back what it has, outcomes still open where nobody knows.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use scoreboard::PosterCell;
use slog::{Logger, info, warn};

use crate::age::Highest;
use crate::batch::{Batch, Entry, Kind, Outcome};
use crate::guard::{CONFLICTS, Conflict, Guard, actual};
use crate::lanes::{Back, Take, Ticket};
use crate::node::{Errand, Node, Request};
use crate::queue::Queue;
use crate::receipt::{self, Reply, Verdict, Wait};
use crate::versions::{self, Unread};
use crate::wire::Wire;

/// So many documents at fault are looked for where Solr's message says; then by halves, which takes
/// fewer bytes where many are.
const HINTS: u32 = 8;

/// A part whose connection broke so often while it was sent is sent in smaller ones.
const CUTS: u32 = 3;

/// A part at which Solr itself failed so often is sent in smaller ones.
const FAILURES: u32 = 2;

/// A document at which alone Solr fails so often, while it takes others, is at fault. (The tries are
/// seconds apart, see [`crate::lanes`].)
pub(crate) const TRIES: u32 = 5;

/// What it answers, once for each job.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The batch, with what became of its documents.
    Batch(Batch),
    /// Whether the commit was made; false: halted before.
    Commit(bool),
    /// The probe is over.
    Probe,
    /// Versions that were asked for, by id, of those that are there; `None`: halted before.
    Versions(Option<HashMap<String, i64>>),
    /// The thread has come to an unforeseen end.
    Broken,
}

/// A post thread's own things.
pub(crate) struct Poster {
    pub(crate) who: usize,
    pub(crate) queue: Arc<Queue>,
    pub(crate) wire: Wire,
    pub(crate) cell: PosterCell,
    pub(crate) min_rf: u32,
    pub(crate) unique_key: String,
    pub(crate) highest: Highest,
    pub(crate) answers: Sender<Answer>,
    pub(crate) buffer: Vec<u8>,
    /// It was told that Solr routes otherwise.
    pub(crate) told: bool,
    pub(crate) log: Logger,
}

/// What comes after a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next part, if there is one.
    On,
    /// The lane has to wait.
    Wait(Wait),
    /// What is left of this batch has to wait, the lane need not.
    Later(Wait),
}

impl Poster {
    /// The thread's whole life.
    pub(crate) fn run(mut self) {
        let (answers, queue) = (self.answers.clone(), Arc::clone(&self.queue));
        let life = std::panic::AssertUnwindSafe(|| {
            loop {
                let answer = match self.queue.take(self.who) {
                    Take::Batch(batch, ticket) => self.deliver(batch, &ticket).map(Answer::Batch),
                    Take::Plain(errand, ticket) => self.insist(errand, &ticket),
                    Take::Nothing(_) | Take::Turn(_) => None,
                };
                if let Some(answer) = answer {
                    // The main thread reads it before it leaves, or is gone.
                    let _ = self.answers.send(answer);
                    self.queue.wake_main();
                }
            }
        });
        if std::panic::catch_unwind(life).is_err() {
            let _ = answers.send(Answer::Broken);
            queue.wake_main();
        }
    }

    /// Brings a batch to Solr, in as many requests as it takes to find the documents at fault.
    /// `None`: its lane has it again.
    fn deliver(&mut self, mut batch: Batch, ticket: &Ticket) -> Option<Batch> {
        let mut again = batch.entries.iter().any(|e| e.attempts > 0);
        if batch.parts.is_empty() {
            batch.parts.extend(batch.suspects.drain(..).rev().map(|n| n..n + 1));
        }
        let back = loop {
            let Some(part) = batch.parts.last().cloned() else {
                break match batch.suspects.is_empty() {
                    true => Back::Returned(batch),
                    false => self.queue.suspect(ticket, self.who, batch, None),
                };
            };
            if self.queue.is_halted() {
                break Back::Returned(batch);
            }
            if batch.is_guarded() {
                match self.prepare(&mut batch, part.clone(), &ticket.node) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(wait) => break self.queue.failed(ticket, self.who, Some(batch), &wait),
                }
                // Only a leader's receipt tells which of many were carried out.
                if part.len() > 1 && (!ticket.node.leads || self.min_rf > 1) {
                    batch.go_on_one_by_one(part);
                    continue;
                }
            }
            if std::mem::take(&mut again) {
                self.cell.set_retries(self.cell.retries().wrapping_add(1));
            }
            if batch.entries[part.start].failures > 0 {
                if let Err(wait) = self.post_witness(&batch, ticket) {
                    break self.queue.failed(ticket, self.who, Some(batch), &wait);
                }
            }
            let begin = Instant::now();
            let verdict = self.post_part(&mut batch, part.clone(), &ticket.node);
            let failed = matches!(verdict, Verdict::Wait { .. });
            let (others, as_of) = (self.queue.adds(ticket), self.highest.get());
            let step = batch.apply(verdict, part.clone(), &ticket.node, others);
            batch.date_rejects(part.clone(), as_of);
            self.look_at_unlisted(&batch, part.clone(), &ticket.node);
            batch.withdraw(part.clone(), |entry, guard| match entry.outcome {
                Outcome::Rejected { .. } => true,
                Outcome::Open => guard.version.is_none(), // another was quicker
                Outcome::Confirmed | Outcome::Superseded => false,
            });
            match step {
                Step::On => {
                    let taken = batch.entries[part.clone()].iter().any(Entry::is_confirmed);
                    if failed && !taken {
                        continue;
                    }
                    let docs = if taken { part.len() } else { 0 };
                    let size = (docs, batch.bytes() * docs / batch.len().max(1));
                    self.queue.worked(ticket, self.who, begin.elapsed(), size);
                    let is_added = |e: &Entry| e.is_confirmed() && e.kind == Kind::Add;
                    if batch.entries[part.clone()].iter().any(is_added) {
                        self.queue.has_added(ticket);
                    }
                    if batch.forwards > 1 && !std::mem::replace(&mut self.told, true) {
                        info!(self.log, "a leader passes documents on: Solr routes otherwise than we do";
                            "leader" => &ticket.node.name);
                    }
                }
                Step::Wait(wait) => break self.queue.failed(ticket, self.who, Some(batch), &wait),
                Step::Later(wait) => {
                    break self.queue.suspect(ticket, self.who, batch, Some(&wait));
                }
            }
        };
        self.queue.release(ticket, self.who);
        match back {
            Back::Kept => None,
            Back::Returned(batch) => {
                // What was written down and not sent is nothing to be afraid of.
                let unsent = |entry: &Entry, guard: &Guard| {
                    entry.outcome == Outcome::Open && !entry.doubtful && guard.version.is_some()
                };
                batch.withdraw(0..batch.len(), unsent);
                Some(batch)
            }
        }
    }

    /// Sees whether the leader takes others before it gets once more what it failed at: a document
    /// of the same batch that it has already (no later line of that id can have been sent as long as
    /// the batch is not back), or else a delete of what nobody has.
    fn post_witness(&self, batch: &Batch, ticket: &Ticket) -> Result<(), Wait> {
        let url = ticket.node.url(Request::Update);
        let Some(witness) = batch.witness() else {
            let id = RandomState::new().hash_one(sys::clock::wall_ms());
            let body = format!(r#"{{"delete":{{"id":"solr-updater: nobody {id:016x}"}}}}"#);
            return receipt::judge_plain(&self.post(url, body.as_bytes())?);
        };
        let (mut body, begin) = (Vec::new(), Instant::now());
        batch.write_part(witness..witness + 1, &mut body);
        let reply = self.post(url, &body)?;
        let part = witness..witness + 1;
        match receipt::judge(&reply, ticket.node.leads, batch, part, self.min_rf) {
            Verdict::Wait { wait, .. } => Err(wait),
            Verdict::Confirmed => {
                self.queue.worked(ticket, self.who, begin.elapsed(), (1, 1));
                self.queue.has_added(ticket);
                Ok(())
            }
            Verdict::Forwarded | Verdict::AtFault { .. } | Verdict::TooLarge => Ok(()),
        }
    }

    fn post_part(&mut self, batch: &mut Batch, part: Range<usize>, node: &Node) -> Verdict {
        let (verdict, versions) = self.post_as_it_is(batch, part.clone(), node);
        for (n, version) in part.clone().zip(versions) {
            batch.entries[n].version = version;
            self.highest.raise(version);
            batch.note_given(n, version);
        }
        if let Verdict::AtFault { status: 409, message, .. } = &verdict {
            actual(message).into_iter().for_each(|version| self.highest.raise(version));
        }
        batch.doubt(&verdict, part);
        verdict
    }

    /// What is made of the answer, and the versions of what it says is in.
    fn post_as_it_is(
        &mut self,
        batch: &mut Batch,
        part: Range<usize>,
        node: &Node,
    ) -> (Verdict, Vec<i64>) {
        batch.entries[part.clone()].iter_mut().for_each(|e| e.attempts += 1);
        if batch.is_guarded() {
            batch.guards[part.clone()].iter_mut().for_each(|guard| guard.looked = false);
        }
        let url = node.url(Request::Update);
        let reply = if part.len() == batch.len() && !batch.is_guarded() {
            batch.with_whole_body(|body| self.post(url, body))
        } else {
            let mut body = std::mem::take(&mut self.buffer);
            batch.write_part(part.clone(), &mut body);
            let reply = self.post(url, &body);
            body.clear();
            body.shrink_to(4 << 20);
            self.buffer = body;
            reply
        };
        match reply {
            Ok(reply) => receipt::weigh(&reply, node.leads, batch, part, self.min_rf),
            Err(wait) => (Verdict::Wait { wait, applied: 0, suspect: false }, Vec::new()),
        }
    }

    /// Sees to it that each guarded document of a part has the version that it is for, and that
    /// this is on the disk before it goes out. Those in doubt that were carried out are settled, and
    /// of those that come late what finds a newer document; false: so that there is another next
    /// part, or none.
    fn prepare(&self, batch: &mut Batch, part: Range<usize>, node: &Node) -> Result<bool, Wait> {
        let is_unread = |n: &usize| batch.guards[*n].version.is_none();
        let in_doubt = |n: &usize| batch.entries[*n].doubtful && !batch.guards[*n].looked;
        let asked: Vec<usize> = part.clone().filter(|n| is_unread(n) || in_doubt(n)).collect();
        let unread: Vec<usize> = asked.iter().copied().filter(is_unread).collect();
        let mut found = HashMap::new();
        for form in versions::forms(asked.iter().map(|n| batch.listed(*n))) {
            let reply = self.ask(node.url(Request::Versions), &form)?;
            match self.read_versions(&reply) {
                Ok(some) => found.extend(some),
                Err(Unread::Wait(wait) | Unread::Nobody(wait)) => return Err(wait),
                Err(Unread::Never(why)) => return Err(Wait::standing(why)),
            }
        }
        let version = |n: &usize| found.get(batch.listed(*n)).copied().unwrap_or(-1);
        let mut read: Vec<(usize, i64)> = unread.iter().map(|n| (*n, version(n))).collect();
        read.retain(|(n, version)| !batch.settle_late(*n, *version));
        let late = read.len() < unread.len();
        // A delete may be carried out again.
        let once = |n: usize| batch.entries[n].kind == Kind::Add;
        let intent = |(n, version): &(usize, i64)| {
            once(*n).then(|| (batch.entries[*n].line, *version, batch.listed(*n)))
        };
        let all: Vec<_> = read.iter().filter_map(intent).collect();
        if let Some(intents) = batch.intents.as_ref().filter(|_| !all.is_empty()) {
            let held =
                |e| Wait::passing(format!("what is sent cannot be written down before: {e}"));
            intents.write(&all).map_err(held)?;
        }
        for (n, version) in read {
            batch.guards[n].version = Some(version);
        }
        let mut settled = late;
        for n in asked {
            if batch.entries[n].outcome != Outcome::Open {
                continue;
            }
            let now = found.get(batch.listed(n)).copied().unwrap_or(-1);
            batch.guards[n].looked = true;
            if batch.entries[n].doubtful && batch.guards[n].was_carried_out(now) {
                batch.entries[n].version = now.max(0);
                batch.note_given(n, now);
                batch.settle(n..n + 1, &Outcome::Confirmed);
                settled = true;
            }
        }
        if settled {
            batch.go_on_with_open(part);
        }
        Ok(!settled)
    }

    /// Which versions those were given that came late and were passed on, of which no receipt tells.
    /// Where nobody says so now, a later line of the same document will take them for another's.
    fn look_at_unlisted(&self, batch: &Batch, part: Range<usize>, node: &Node) {
        let is_unlisted = |n: &usize| {
            let entry = &batch.entries[*n];
            let is_in = entry.kind == Kind::Add && entry.outcome == Outcome::Confirmed;
            let is_late = batch.guards.get(*n).is_some_and(|guard| guard.late.is_some());
            is_in && is_late && entry.version == 0
        };
        let unlisted: Vec<usize> = part.filter(is_unlisted).collect();
        for form in versions::forms(unlisted.iter().map(|n| batch.listed(*n))) {
            let Ok(reply) = self.ask(node.url(Request::Versions), &form) else { return };
            let Ok(found) = self.read_versions(&reply) else { return };
            let version = |n: &usize| Some((*n, *found.get(batch.listed(*n))?));
            unlisted
                .iter()
                .filter_map(version)
                .for_each(|(n, version)| batch.note_given(n, version));
        }
    }

    /// Runs an errand. `None`: it is tried again.
    fn insist(&mut self, errand: Errand, ticket: &Ticket) -> Option<Answer> {
        if self.queue.is_halted() {
            self.queue.release(ticket, self.who);
            return Some(match errand {
                Errand::Commit => Answer::Commit(false),
                Errand::Probe => Answer::Probe,
                Errand::Versions(_) => Answer::Versions(None),
            });
        }
        let url = ticket.node.url(errand.request());
        let plain = || receipt::judge_plain(&self.post(url, b"[]")?);
        let answer = match &errand {
            Errand::Commit => plain().map(|()| Answer::Commit(true)),
            Errand::Probe => plain().map(|()| Answer::Probe),
            Errand::Versions(form) => self.ask_versions(url, form).map(Answer::Versions),
        };
        match answer {
            Ok(answer) => {
                self.queue.worked(ticket, self.who, Duration::ZERO, (0, 0));
                self.queue.release(ticket, self.who);
                Some(answer)
            }
            Err(wait) => {
                self.cell.set_retries(self.cell.retries().wrapping_add(1));
                self.queue.failed(ticket, self.who, None, &wait);
                self.queue.again(errand);
                None
            }
        }
    }

    fn read_versions(&self, reply: &Reply) -> Result<HashMap<String, i64>, Unread> {
        let found = versions::read(reply, &self.unique_key)?;
        found.values().for_each(|version| self.highest.raise(*version));
        Ok(found)
    }

    /// Where Solr will not say, all may be otherwise than it confirmed.
    fn ask_versions(&self, url: &str, form: &[u8]) -> Result<Option<HashMap<String, i64>>, Wait> {
        match self.read_versions(&self.ask(url, form)?) {
            Ok(found) => Ok(Some(found)),
            Err(Unread::Wait(wait)) => Err(wait),
            // (Where there is no collection the updates wait for it.)
            Err(Unread::Never(why) | Unread::Nobody(Wait { reason: why, .. })) => {
                warn!(self.log, "what was given up on the way is sent again unseen"; "reason" => why);
                Ok(Some(HashMap::new()))
            }
        }
    }

    fn post(&self, url: &str, body: &[u8]) -> Result<Reply, Wait> {
        let reply = self.talk(url, || {
            let begun = Instant::now();
            let reply = self.wire.post(url, body);
            self.cell.add_duration(begun.elapsed());
            reply
        });
        self.cell.set_posts(self.cell.posts().wrapping_add(1));
        self.cell.set_bytes_posted(self.cell.bytes_posted().wrapping_add(body.len() as u64));
        reply
    }

    fn ask(&self, url: &str, form: &[u8]) -> Result<Reply, Wait> {
        self.talk(url, || self.wire.ask(url, form))
    }

    fn talk(&self, url: &str, f: impl FnOnce() -> Result<Reply, Wait>) -> Result<Reply, Wait> {
        let known = self.wire.look_up(url).map_err(|wait| Wait { unsent: true, ..wait });
        let reply = known.and_then(|()| {
            // Only now: from here on every wait is under solr.timeout, and a longer one is a hang.
            self.cell.set_request_since(sys::clock::now_ms().max(1));
            let reply = f();
            self.cell.set_request_since(0);
            reply
        });
        reply.map_err(|wait| Wait { stale: true, ..wait })
    }
}

impl Batch {
    /// What a verdict on its next part means for its documents. `others`: how often the lane has
    /// taken some.
    fn apply(&mut self, verdict: Verdict, part: Range<usize>, node: &Node, others: u64) -> Step {
        let single = part.len() == 1;
        match verdict {
            Verdict::Forwarded if node.leads && self.forwards == 0 => {
                self.forwards = 1;
                let wait = Wait::passing("it has passed documents on: it leads no longer");
                return Step::Wait(Wait { stale: true, ..wait });
            }
            Verdict::Confirmed => self.settle_next(part, &Outcome::Confirmed),
            Verdict::Forwarded => {
                self.forwards += u32::from(node.leads);
                self.settle_next(part, &Outcome::Confirmed);
            }
            Verdict::AtFault { status: 409, message, applied }
                if self.is_guarded() && (applied.is_some() || single) =>
            {
                return self.apply_conflict(part, applied.unwrap_or(0), &message);
            }
            Verdict::AtFault { status, message, applied: Some(applied) } => {
                let at = part.start + applied;
                self.settle(part.start..at, &Outcome::Confirmed);
                let outcome = Outcome::Rejected { status, reason: message.into() };
                self.settle(at..at + 1, &outcome);
                self.go_on_with(&[(at + 1, part.end)]);
            }
            Verdict::AtFault { status, message, .. } if single => {
                self.settle_next(part, &Outcome::Rejected { status, reason: message.into() });
            }
            Verdict::AtFault { message, .. } => {
                let hint = (self.hints < HINTS).then(|| self.named(part.clone(), &message));
                self.hints += 1;
                self.split_next(part, hint.flatten());
            }
            Verdict::TooLarge if single => {
                let reason = "larger than Solr, or what stands before it, takes (HTTP 413)".into();
                self.settle_next(part, &Outcome::Rejected { status: 413, reason });
            }
            Verdict::TooLarge => self.split_next(part, None),
            Verdict::Wait { wait, applied, suspect } => {
                if applied > 0 {
                    let at = part.start + applied.min(part.len());
                    self.settle(part.start..at, &Outcome::Confirmed);
                    self.go_on_with(&[(at, part.end)]);
                    if at == part.end && !self.parts.is_empty() {
                        return Step::Wait(wait); // what comes next was not sent: it is blameless
                    }
                }
                return self.apply_wait(wait, suspect, others);
            }
        }
        Step::On
    }

    /// A guarded document is refused for its version, after so many of the part were carried out.
    pub(crate) fn apply_conflict(
        &mut self,
        part: Range<usize>,
        applied: usize,
        message: &str,
    ) -> Step {
        let at = part.start + applied;
        self.settle(part.start..at, &Outcome::Confirmed);
        let doubtful = &mut self.entries[at].doubtful;
        match self.guards[at].conflict(message, doubtful) {
            Conflict::Settled(outcome) => {
                if let (Outcome::Confirmed, Some(version)) = (&outcome, actual(message)) {
                    self.note_given(at, version);
                }
                self.settle(at..at + 1, &outcome);
                self.go_on_with(&[(at + 1, part.end)]);
            }
            Conflict::Overtaken => {
                self.go_on_with(&[(at, part.end)]);
                if self.guards[at].conflicts % CONFLICTS == 0 {
                    let reason = "another program writes the same document again and again";
                    return Step::Later(Wait::passing(format!("{reason}: {message}")));
                }
            }
        }
        Step::On
    }

    /// What a verdict leaves open may have been carried out all the same, or may be later.
    fn doubt(&mut self, verdict: &Verdict, part: Range<usize>) {
        let from = match verdict {
            Verdict::Wait { wait, .. } if wait.unsent => return,
            Verdict::Wait { applied, .. } => part.start + applied,
            // Sent again, if it came from one that should lead.
            Verdict::Forwarded if self.is_guarded() => part.start,
            Verdict::Forwarded => return,
            Verdict::AtFault { applied: None, .. } if part.len() > 1 && self.is_guarded() => {
                part.start
            }
            Verdict::AtFault { .. } | Verdict::Confirmed | Verdict::TooLarge => return,
        };
        self.entries[from.min(part.end)..part.end].iter_mut().for_each(|e| e.doubtful = true);
    }

    /// Each command of the next part is a part by itself.
    fn go_on_one_by_one(&mut self, part: Range<usize>) {
        self.parts.pop();
        self.parts.extend(part.rev().map(|n| n..n + 1));
    }

    /// It is nobody's fault, so far as we know.
    fn apply_wait(&mut self, wait: Wait, suspect: bool, others: u64) -> Step {
        let Some(part) = self.parts.last().cloned() else { return Step::On };
        if part.len() == 1 && suspect {
            return self.apply_failure(part.start, wait, others);
        }
        self.cuts += u32::from(wait.cut);
        self.failures += u32::from(suspect);
        if part.len() > 1 && (self.cuts >= CUTS || self.failures >= FAILURES) {
            self.split_next(part, None);
        }
        Step::Wait(wait)
    }

    /// Solr itself failed at one document, alone. That is the document's fault if it happens again
    /// and again while others pass; and never before another has passed.
    fn apply_failure(&mut self, n: usize, wait: Wait, others: u64) -> Step {
        let entry = &mut self.entries[n];
        let was_suspect = entry.failures > 0;
        let others_pass = was_suspect && others > entry.failed_at;
        if !was_suspect || others_pass {
            (entry.failures, entry.failed_at) = (entry.failures + 1, others);
        }
        if entry.failures >= TRIES {
            let reason = format!("{} ({TRIES} tries, while others passed)", wait.reason);
            self.settle_next(n..n + 1, &Outcome::Rejected { status: 500, reason: reason.into() });
            return Step::On;
        }
        if self.comes_again(n) {
            return Step::Later(wait); // nothing after it: a later line of its id must not be earlier
        }
        self.go_on_with(&[]);
        self.suspects.push(n);
        match self.parts.is_empty() || !others_pass && was_suspect {
            true => {
                // The others of them wait as well: one request is enough to see.
                let rest = std::mem::take(&mut self.parts);
                self.suspects.extend(rest.into_iter().rev().flatten());
                Step::Later(wait)
            }
            false if others_pass => Step::On,
            false => Step::Wait(wait),
        }
    }

    /// A part has its outcome; what comes next begins anew.
    fn settle_next(&mut self, part: Range<usize>, outcome: &Outcome) {
        self.settle(part, outcome);
        self.go_on_with(&[]);
    }

    /// These parts, from and to, come instead of the one that was sent.
    fn go_on_with(&mut self, parts: &[(usize, usize)]) {
        self.parts.pop();
        let parts = parts.iter().map(|(from, to)| *from..*to);
        self.parts.extend(parts.filter(|part| !part.is_empty()));
        (self.cuts, self.failures) = (0, 0);
    }

    /// What is open of the next part comes instead of it.
    pub(crate) fn go_on_with_open(&mut self, part: Range<usize>) {
        let mut parts: Vec<(usize, usize)> = Vec::new();
        for n in part.rev().filter(|n| self.entries[*n].outcome == Outcome::Open) {
            match parts.last_mut() {
                Some((from, _)) if *from == n + 1 => *from = n,
                _ => parts.push((n, n + 1)),
            }
        }
        self.go_on_with(&parts);
    }

    /// Writes down of some of a part's documents that nothing has come of them, if they are guarded.
    fn withdraw(&self, part: Range<usize>, of: impl Fn(&Entry, &Guard) -> bool) {
        if let (true, Some(intents)) = (self.is_guarded(), &self.intents) {
            let some = part.filter(|n| of(&self.entries[*n], &self.guards[*n]));
            let lines: Vec<u64> = some.map(|n| self.entries[n].line).collect();
            if !lines.is_empty() {
                // If not now, it is written with the next intents.
                let _ = intents.withdraw(&lines);
            }
        }
    }

    /// The parts in which something at fault is looked for, the first one last: around the one
    /// that Solr has named, or halves.
    fn split_next(&mut self, part: Range<usize>, named: Option<usize>) {
        match named {
            Some(n) => self.go_on_with(&[(n + 1, part.end), (n, n + 1), (part.start, n)]),
            None => {
                let middle = part.start + part.len() / 2;
                self.go_on_with(&[(middle, part.end), (part.start, middle)]);
            }
        }
    }

    /// Whether a later command is about the same document.
    fn comes_again(&self, n: usize) -> bool {
        (n + 1..self.len()).any(|later| self.listed(later) == self.listed(n))
    }

    /// A document that Solr has confirmed and that changes nothing when it is sent again.
    fn witness(&self) -> Option<usize> {
        if self.is_guarded() {
            return None;
        }
        (0..self.len()).find(|n| {
            let entry = &self.entries[*n];
            entry.is_confirmed() && entry.kind == Kind::Add && !self.comes_again(*n)
        })
    }

    /// The one command of a part whose document the message names, if it is exactly one.
    fn named(&self, part: Range<usize>, message: &str) -> Option<usize> {
        let mut named = part.filter(|e| receipt::names(message, self.id(*e)));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }
}

#[cfg(test)]
#[path = "post_tests.rs"]
mod tests;
