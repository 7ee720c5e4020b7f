//! The ledger: what went to Solr through the proxy, document by document, and what Solr said to it.
//! So a document that Solr itself has confirmed and lost is told from one that we lost, and what
//! was sent more than once is counted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::commands::{Command, Listed, Op, commands};
use crate::proxy::Witness;

/// One request that was passed on.
#[derive(Debug)]
struct Request {
    to: String,
    sent: Instant,
    /// When Solr answered; `None`: it has not.
    answered: Option<Instant>,
    status: u16,
    /// Whether the daemon was given that answer, whole and as it was.
    handed_on: bool,
    listed: Listed,
}

/// One command of a request, the n-th of its kind.
#[derive(Debug, Clone, Copy)]
struct Sent {
    request: usize,
    op: Op,
    nth: usize,
}

/// What was counted since the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Requests with documents, and documents and deletes in them.
    pub requests: u64,
    /// See `requests`.
    pub documents: u64,
    /// Those that had been sent before, by the same line.
    pub again: u64,
    /// Requests that Solr has confirmed, as the daemon was told.
    pub confirmed: u64,
}

#[derive(Default)]
struct Pages {
    requests: Vec<Request>,
    by_id: HashMap<String, Vec<Sent>>,
    /// When Solr confirmed something and the daemon was told, in order.
    confirmed: Vec<Instant>,
    counts: Counts,
}

/// The ledger.
#[derive(Default)]
pub struct Ledger {
    pages: Mutex<Pages>,
}

/// Who is to blame that a document is not as its last line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// Nobody ever sent what should be there, or an older line was sent after it.
    Ours,
    /// An older line was sent before, and Solr may have carried it out after the newer one.
    Late,
    /// Solr had confirmed the right one, and nothing else was sent after it.
    Solr,
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.pages().counts
    }

    /// When something was first confirmed after this moment.
    pub fn confirmed_after(&self, moment: Instant) -> Option<Instant> {
        let pages = self.pages();
        let first = pages.confirmed.partition_point(|at| *at <= moment);
        pages.confirmed.get(first).copied()
    }

    /// All is as it should be: what was sent so far is of no further interest.
    pub fn forget(&self) {
        let mut pages = self.pages();
        // What is not answered yet may still be.
        if pages.requests.iter().all(|request| request.answered.is_some()) {
            pages.requests.clear();
            pages.by_id.clear();
        }
    }

    /// Who is to blame that this document is not as its last lines left it: all of these commands,
    /// the last of them last.
    pub fn blame(&self, id: &str, needed: &[Op]) -> Blame {
        let pages = self.pages();
        let (Some(sent), Some(last)) = (pages.by_id.get(id), needed.last().copied()) else {
            return Blame::Ours;
        };
        let confirmed = |op: Op| {
            let mut of = sent.iter().rev().filter(move |s| s.op == op);
            of.find(|sent| pages.version(sent).is_some())
        };
        let Some(right) =
            confirmed(last).filter(|_| needed.iter().all(|op| confirmed(*op).is_some()))
        else {
            return Blame::Ours;
        };
        let answered = pages.requests[right.request].answered;
        // (A line that Solr refuses says of no delta that it is its own.)
        let others = || sent.iter().filter(|s| !needed.contains(&s.op) && s.op != Op::Add(None));
        if others().any(|s| s.request > right.request) {
            return Blame::Ours;
        }
        let open = |s: &Sent| {
            let other = &pages.requests[s.request];
            other.answered.is_none() || other.answered > answered || other.status == 0
        };
        match others().any(open) {
            true => Blame::Late,
            false => Blame::Solr,
        }
    }

    /// Whether Solr has confirmed this of a document, since the last look.
    pub fn has_confirmed(&self, id: &str, op: Op) -> bool {
        let pages = self.pages();
        let sent = pages.by_id.get(id).into_iter().flatten();
        sent.filter(|sent| sent.op == op).any(|sent| pages.version(sent).is_some())
    }

    /// What is known of a document, a line for each time it was sent.
    pub fn story(&self, id: &str) -> String {
        let pages = self.pages();
        let begin = pages.requests.first().map(|request| request.sent);
        let after = |at: Instant| begin.map_or(0.0, |begin| (at - begin).as_secs_f64());
        let mut story = String::new();
        for sent in pages.by_id.get(id).into_iter().flatten() {
            let request = &pages.requests[sent.request];
            let answered = match request.answered {
                Some(at) => format!("answered {:.3} with {}", after(at), request.status),
                None => "never answered".into(),
            };
            let version =
                pages.version(sent).map_or("no receipt".into(), |v| format!("version {v}"));
            let told = if request.handed_on { "" } else { ", which the daemon was not told" };
            let _ = writeln!(
                story,
                "    request {} at {:.3} to {}: {:?}; {answered}, rf {}, {version}{told}",
                sent.request,
                after(request.sent),
                request.to,
                sent.op,
                request.listed.rf,
            );
        }
        story
    }
}

impl Pages {
    /// The version in Solr's receipt for this.
    fn version(&self, sent: &Sent) -> Option<i64> {
        let listed = &self.requests[sent.request].listed;
        let list = if sent.op == Op::Delete { &listed.deletes } else { &listed.adds };
        list.get(sent.nth).map(|(_, version)| *version).filter(|version| *version != 0)
    }
}

impl Witness for Ledger {
    fn passed_on(&self, to: &str, body: &[u8]) -> usize {
        // Half a request counts too: Solr carries out what it has read.
        let commands = commands(body).or_else(|| whole_of_half(body)).unwrap_or_default();
        let mut pages = self.pages();
        let number = pages.requests.len();
        pages.requests.push(Request {
            to: to.to_owned(),
            sent: Instant::now(),
            answered: None,
            status: 0,
            handed_on: false,
            listed: Listed::default(),
        });
        let (mut adds, mut deletes) = (0, 0);
        pages.counts.requests += u64::from(!commands.is_empty());
        for command in commands {
            let count = if command.op == Op::Delete { &mut deletes } else { &mut adds };
            let sent = Sent { request: number, op: command.op, nth: *count };
            *count += 1;
            let before = pages.by_id.entry(command.id).or_default();
            let again = before.last().is_some_and(|last| last.op == sent.op);
            before.push(sent);
            pages.counts.documents += 1;
            pages.counts.again += u64::from(again);
        }
        number
    }

    fn answered(&self, number: usize, status: u16, body: &[u8], handed_on: bool) {
        let listed = Listed::read(body);
        let mut pages = self.pages();
        let Some(request) = pages.requests.get_mut(number) else { return };
        let docs = !listed.adds.is_empty() || !listed.deletes.is_empty();
        let now = Instant::now();
        request.answered = Some(now);
        (request.status, request.handed_on, request.listed) = (status, handed_on, listed);
        if handed_on && docs {
            pages.confirmed.push(now);
            pages.counts.confirmed += 1;
        }
    }

    fn broken(&self, number: usize) {
        if let Some(request) = self.pages().requests.get_mut(number) {
            request.answered = Some(Instant::now());
        }
    }
}

/// The commands that stand whole in the first half of an update.
fn whole_of_half(body: &[u8]) -> Option<Vec<Command>> {
    // Where one ends another begins; but so does a member of an atomic update.
    let ends = body.windows(2).enumerate().rev().filter(|(_, two)| *two == b"},");
    ends.take(10).find_map(|(end, _)| commands(&[&body[..=end], b"}"].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: &str = r#"{"add":{"doc":{"id":"a","delta_i":1}},"delete":{"id":"b"}}"#;
    const NEWER: &str = r#"{"add":{"doc":{"id":"a","delta_i":2}}}"#;
    const RECEIPT: &str =
        r#"{"responseHeader":{"rf":2,"status":0},"adds":["a",5],"deletes":["b",-7]}"#;

    fn send(ledger: &Ledger, body: &str) -> usize {
        ledger.passed_on("node", body.as_bytes())
    }

    #[test]
    fn what_solr_confirmed_and_lost_is_solrs_and_what_was_never_confirmed_is_ours() {
        let ledger = Ledger::default();
        let first = send(&ledger, ADD);
        assert_eq!(ledger.blame("a", &[Op::Add(Some(1))]), Blame::Ours);
        ledger.answered(first, 200, RECEIPT.as_bytes(), true);
        assert_eq!(ledger.blame("a", &[Op::Add(Some(1))]), Blame::Solr);
        assert_eq!(ledger.blame("b", &[Op::Delete]), Blame::Solr);
        assert_eq!(ledger.blame("c", &[Op::Delete]), Blame::Ours);
        assert_eq!(ledger.blame("a", &[Op::Add(Some(2))]), Blame::Ours, "never sent");
        let both = [Op::Add(Some(0)), Op::Add(Some(1))];
        assert_eq!(ledger.blame("a", &both), Blame::Ours, "what it changes was never sent");
    }

    #[test]
    fn an_older_line_after_a_newer_one_is_ours_and_one_still_under_way_may_be_late() {
        let ledger = Ledger::default();
        let old = send(&ledger, ADD);
        let new = send(&ledger, NEWER);
        ledger.answered(new, 200, RECEIPT.as_bytes(), true);
        assert_eq!(ledger.blame("a", &[Op::Add(Some(2))]), Blame::Late, "the old one is open");
        ledger.answered(old, 200, RECEIPT.as_bytes(), false);
        assert_eq!(ledger.blame("a", &[Op::Add(Some(2))]), Blame::Late, "it was answered later");
        send(&ledger, ADD);
        assert_eq!(ledger.blame("a", &[Op::Add(Some(2))]), Blame::Ours);
    }

    #[test]
    fn what_is_sent_again_is_counted_half_a_request_too() {
        let ledger = Ledger::default();
        send(&ledger, &format!("{},\"add\":{{\"doc\":{{\"id\":\"x", &ADD[..ADD.len() - 1]));
        send(&ledger, ADD);
        send(&ledger, NEWER);
        let counts = ledger.counts();
        assert_eq!((counts.requests, counts.documents, counts.again), (3, 5, 2));
        assert!(ledger.confirmed_after(Instant::now()).is_none());
        assert_eq!(ledger.story("a").lines().count(), 3);
    }
}
