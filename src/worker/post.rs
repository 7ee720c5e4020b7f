//! A post thread: takes a batch, brings it to Solr, and hands it back when each of its documents is
//! confirmed or known to be at fault. It waits out whatever may pass, for as long as it takes.
//!
//! It never decides what is done: it writes an outcome beside each document, and the main thread
//! moves the mark. It can be halted at any moment but in the middle of a request, and then hands
//! back what it has, outcomes still open where nobody knows.

use std::io::Write;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use scoreboard::{PosterCell, Trouble};

use crate::backoff::Backoff;
use crate::batch::{Batch, Outcome};
use crate::lane::{Lane, Request};
use crate::queue::Queue;
use crate::receipt::{self, Reply, Verdict, Wait};
use crate::wire::Wire;

/// So many documents at fault are looked for where Solr's message says; then by halves, which takes
/// fewer bytes where many are.
const HINTS: u32 = 8;

/// A part whose connection broke so often while it was sent is sent in smaller ones.
const CUTS: u32 = 3;

/// What a post thread is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Bring this to Solr.
    Batch(Batch),
    /// Make a hard commit.
    Commit,
    /// See whether Solr would take an update.
    Probe,
}

/// What it answers, once for each job.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The batch, with what became of its documents.
    Batch(Batch),
    /// Whether the commit was made; false: halted before.
    Commit(bool),
    /// The probe is over.
    Probe,
    /// The thread has come to an unforeseen end.
    Broken,
}

/// A post thread's own things.
pub(crate) struct Poster {
    pub(crate) queue: Arc<Queue>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) wire: Wire,
    pub(crate) cell: PosterCell,
    pub(crate) backoff: Backoff,
    pub(crate) min_rf: u32,
    pub(crate) answers: Sender<Answer>,
    pub(crate) wake: UnixStream,
    pub(crate) buffer: Vec<u8>,
}

impl Poster {
    /// The thread's whole life.
    pub(crate) fn run(mut self) {
        let (answers, wake) = (self.answers.clone(), self.wake.try_clone());
        let life = std::panic::AssertUnwindSafe(|| {
            loop {
                let job = self.queue.take();
                let answer = self.work(job);
                // The main thread reads both before it leaves, or is gone.
                let _ = self.answers.send(answer);
                let _ = (&self.wake).write(&[1]); // a full pipe wakes as well
            }
        });
        if std::panic::catch_unwind(life).is_err() {
            let _ = answers.send(Answer::Broken);
            let _ = wake.and_then(|mut wake| wake.write(&[1]));
        }
    }

    fn work(&mut self, job: Job) -> Answer {
        match job {
            Job::Batch(mut batch) => {
                self.deliver(&mut batch);
                Answer::Batch(batch)
            }
            Job::Commit => Answer::Commit(self.insist(Request::Commit)),
            Job::Probe => {
                self.insist(Request::Probe);
                Answer::Probe
            }
        }
    }

    /// Brings a batch to Solr in as many requests as it takes to find the documents at fault.
    fn deliver(&mut self, batch: &mut Batch) {
        let whole = 0..batch.len();
        let mut parts = Vec::from([whole]);
        let mut hints = HINTS;
        while let Some(part) = parts.pop() {
            let Some(verdict) = self.deliver_part(batch, part.clone()) else { return };
            match verdict {
                Verdict::Confirmed => batch.settle(part, &Outcome::Confirmed),
                Verdict::AtFault { status, message } if part.len() == 1 => {
                    batch.settle(part, &Outcome::Rejected { status, reason: message });
                }
                Verdict::TooLarge if part.len() == 1 => {
                    let reason =
                        "larger than Solr, or what stands before it, takes (HTTP 413)".into();
                    batch.settle(part, &Outcome::Rejected { status: 413, reason });
                }
                Verdict::AtFault { message, .. } => {
                    let named = (hints > 0).then(|| batch.named(part.clone(), &message)).flatten();
                    hints = hints.saturating_sub(1);
                    parts.extend(split(part, named));
                }
                Verdict::TooLarge => parts.extend(split(part, None)),
                Verdict::Wait(_) => unreachable!("it was waited for"),
            }
        }
    }

    /// Posts a part until there is a word about it; `None`: halted before.
    fn deliver_part(&mut self, batch: &mut Batch, part: Range<usize>) -> Option<Verdict> {
        let mut body = std::mem::take(&mut self.buffer);
        batch.write_part(part.clone(), &mut body);
        let (min_rf, mut cuts) = (self.min_rf, 0);
        let verdict = self.until_judged(Request::Update, &body, |reply| {
            batch.entries[part.clone()].iter_mut().for_each(|e| e.attempts += 1);
            match reply {
                Ok(reply) => receipt::judge(reply, batch, part.clone(), min_rf),
                Err(wait) => {
                    cuts += u32::from(wait.cut);
                    match cuts >= CUTS && part.len() > 1 {
                        true => Verdict::TooLarge,
                        false => Verdict::Wait(wait.clone()),
                    }
                }
            }
        });
        body.clear();
        body.shrink_to(4 << 20);
        self.buffer = body;
        verdict
    }

    /// Posts what has no documents until it is taken; false: halted before.
    fn insist(&mut self, request: Request) -> bool {
        let judge = |reply: Result<&Reply, &Wait>| match reply {
            Ok(reply) => receipt::judge_plain(reply),
            Err(wait) => Verdict::Wait(wait.clone()),
        };
        self.until_judged(request, b"[]", judge).is_some()
    }

    /// Posts until the verdict is another than to wait. `judge` gets every answer, or why there was
    /// none.
    fn until_judged(
        &mut self,
        request: Request,
        body: &[u8],
        mut judge: impl FnMut(Result<&Reply, &Wait>) -> Verdict,
    ) -> Option<Verdict> {
        self.backoff.reset();
        for tries in 1.. {
            if self.queue.is_halted() {
                return None;
            }
            let seed = self.lane.seed();
            let reply = self.post(self.lane.url(seed, request), body);
            let verdict = judge(reply.as_ref());
            let Verdict::Wait(wait) = verdict else {
                reply.iter().for_each(|_| self.note_success());
                return Some(verdict);
            };
            self.note_trouble(seed, &wait);
            // The other nodes first; only then there is a reason to wait.
            let again_at_once = tries % self.lane.seeds() != 0 && wait.retry_after.is_none();
            if !again_at_once && self.rest(&wait) {
                return None;
            }
            self.cell.set_retries(self.cell.retries() + 1);
        }
        None
    }

    fn post(&self, url: &str, body: &[u8]) -> Result<Reply, Wait> {
        let reply = self.wire.look_up(url).and_then(|()| {
            // Only now: from here on every wait is under solr.timeout, and a longer one is a hang.
            self.cell.set_request_since(sys::clock::now_ms().max(1));
            let reply = self.wire.post(url, body);
            self.cell.set_request_since(0);
            reply
        });
        self.cell.set_posts(self.cell.posts() + 1);
        self.cell.set_bytes_posted(self.cell.bytes_posted() + body.len() as u64);
        reply
    }

    /// Backs off. Answers true if it was halted meanwhile.
    fn rest(&mut self, wait: &Wait) -> bool {
        let time = self.backoff.next().max(wait.retry_after.unwrap_or(Duration::ZERO));
        self.cell.set_backing_off(1);
        let halted = self.queue.rest(time);
        self.cell.set_backing_off(0);
        halted
    }

    fn note_success(&self) {
        let now = sys::clock::now_ms();
        self.cell.set_trouble(Trouble::None);
        self.cell.set_last_ok(now);
        self.lane.worked(now);
    }

    fn note_trouble(&self, seed: usize, wait: &Wait) {
        let (now, reason) = (sys::clock::now_ms(), self.lane.describe(seed, wait));
        self.cell.last_error().write(&reason);
        self.cell.set_last_trouble(now);
        self.cell.set_trouble(wait.trouble);
        self.lane.failed(seed, &reason, now);
    }
}

/// The parts in which something at fault is looked for, the first one last: around the one that
/// Solr has named, or halves.
fn split(part: Range<usize>, named: Option<usize>) -> Vec<Range<usize>> {
    let parts = match named {
        Some(n) => vec![n + 1..part.end, n..n + 1, part.start..n],
        None => {
            let middle = part.start + part.len() / 2;
            vec![middle..part.end, part.start..middle]
        }
    };
    parts.into_iter().filter(|p| !p.is_empty()).collect()
}

impl Batch {
    fn settle(&mut self, part: Range<usize>, outcome: &Outcome) {
        self.entries[part].iter_mut().for_each(|e| e.outcome = outcome.clone());
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
