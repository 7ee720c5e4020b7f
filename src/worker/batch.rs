//! A batch: commands for Solr in the order of their lines, in one body that is built as they come,
//! and for each of them where it came from and what became of it.
//!
//! The body is written by hand (`{"add":{"doc":…},"delete":{"id":"…"},…}`): its keys repeat, which
//! Solr carries out in order and no JSON map can hold. Documents stand in it byte for byte, so a
//! rejected line is taken from there again and is kept only once. A part of a batch can be sent by
//! itself, which is how the document at fault is found.

use std::ops::Range;
use std::sync::Arc;

use crate::age::Late;
use crate::guard::Guard;
use crate::intents::Intents;
use convert::{Body, Converted, Repeat, json};

/// An empty batch keeps so many bytes for its next body: one that is full by `batch.bytes`, as shipped.
/// (To have each page from the system again is a fifth of what a fat line costs.)
const ROOM: usize = 1280 << 10;

/// How an add begins.
const ADD: &[u8] = br#""add":{"doc":"#;
/// How a delete begins.
const DELETE: &[u8] = br#""delete":"#;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It adds a document.
    Add,
    /// It deletes one.
    Delete,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody knows: it was not sent, or not answered.
    Open,
    /// Solr has it.
    Confirmed,
    /// Solr has something newer.
    Superseded,
    /// Solr will never have it.
    Rejected {
        /// The answer's HTTP status.
        status: u16,
        /// Solr's words.
        reason: Box<str>,
    },
}

/// One command.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its line's index in the delta, and where that begins.
    pub(crate) line: u64,
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
    /// A hash of its id, by which the sorter knows it.
    pub(crate) key: u64,
    /// How often it was sent.
    pub(crate) attempts: u32,
    pub(crate) outcome: Outcome,
    /// A request with it was given up, and may be carried out all the same, even later.
    pub(crate) doubtful: bool,
    /// The version in its receipt; of a delete below zero; 0: nobody said.
    pub(crate) version: i64,
    /// If it is rejected, the highest version in any receipt by then; else 0.
    pub(crate) as_of: u64,
    /// How often Solr failed at it alone while others passed, and how many had passed by then.
    pub(crate) failures: u32,
    pub(crate) failed_at: u64,
    id: Span,
    /// What Solr's receipt calls it.
    listed: Span,
    command: Span,
    original: Source,
    /// Aside, what the operator's own converter has answered, where that does not stand in the body.
    answer: Option<Span>,
}

/// Where something stands in a batch's bytes, in half the room of a range: thousands of entries are
/// held at a time. (No batch has 4 GiB: it has one line at least, and else `batch.bytes`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    begin: u32,
    end: u32,
}

impl Span {
    fn of(range: Range<usize>) -> Span {
        let short = |at: usize| u32::try_from(at).expect("a batch has less than 4 GiB");
        Span { begin: short(range.start), end: short(range.end) }
    }

    fn range(self) -> Range<usize> {
        self.begin as usize..self.end as usize
    }
}

impl Entry {
    pub(crate) fn is_confirmed(&self) -> bool {
        self.outcome == Outcome::Confirmed
    }
}

/// Where the original line is.
#[derive(Debug)]
enum Source {
    Body(Span),
    Aside(Span),
}

/// Commands that travel together, on one lane.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Which batch it is of those of this worker.
    pub(crate) serial: u64,
    /// Its lane, and the layout by which it was chosen.
    pub(crate) lane: usize,
    pub(crate) layout: u64,
    /// When its first command came, monotonic milliseconds.
    pub(crate) opened: u64,
    pub(crate) entries: Vec<Entry>,
    /// What is still to be sent, as parts, the next one last.
    pub(crate) parts: Vec<Range<usize>>,
    /// Commands at which alone Solr failed: they come after everything else.
    pub(crate) suspects: Vec<usize>,
    /// How often a leader has passed it on.
    pub(crate) forwards: u32,
    /// How often the connection broke while the next part was sent.
    pub(crate) cuts: u32,
    /// How often Solr itself failed at the next part.
    pub(crate) failures: u32,
    /// How many documents were looked for where Solr's message says.
    pub(crate) hints: u32,
    /// Beside each document, if none of them may be carried out twice; else empty.
    pub(crate) guards: Vec<Guard>,
    /// Where it is written down what versions they are for.
    pub(crate) intents: Option<Arc<Intents>>,
    body: Vec<u8>,
    ids: String,
    /// Original lines that do not stand in the body.
    aside: Vec<u8>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of its body so far.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The bytes it holds, with those of lines that do not stand in the body.
    pub(crate) fn held(&self) -> usize {
        self.body.len() + self.aside.len()
    }

    /// Whether its documents may be carried out once only.
    pub(crate) fn is_guarded(&self) -> bool {
        !self.guards.is_empty()
    }

    /// Takes a document or a delete that was made of `original`. Answers false, and takes nothing,
    /// for what is neither.
    pub(crate) fn push(
        &mut self,
        (line, offset): (u64, u64),
        original: &[u8],
        converted: &Converted<'_>,
        now: u64,
    ) -> bool {
        let (id, kind) = match converted {
            Converted::Doc { id, .. } => (id, Kind::Add),
            Converted::Delete { id, .. } => (id, Kind::Delete),
            Converted::Nothing | Converted::Reject { .. } => return false,
        };
        if self.is_empty() {
            self.opened = now;
        }
        self.body.push(if self.body.is_empty() { b'{' } else { b',' });
        let begin = self.body.len();
        let original = self.write_command(original, converted);
        let mut name = |id: &str| {
            let begin = self.ids.len();
            self.ids.push_str(id);
            Span::of(begin..self.ids.len())
        };
        let id = name(id);
        let listed = match converted {
            Converted::Doc { root: Some(root), .. } => name(root),
            _ => id,
        };
        if let (Converted::Doc { repeat, .. }, true) = (converted, converted.is_guarded()) {
            self.guards.push(Guard::new(*repeat));
        }
        self.entries.push(Entry {
            line,
            offset,
            kind,
            key: 0,
            attempts: 0,
            outcome: Outcome::Open,
            doubtful: false,
            version: 0,
            as_of: 0,
            failures: 0,
            failed_at: 0,
            id,
            listed,
            command: Span::of(begin..self.body.len()),
            original,
            answer: None,
        });
        true
    }

    /// The command that was added last, and was made of this, is delivered late: not over what is newer.
    pub(crate) fn come_late(&mut self, converted: &Converted<'_>, late: Late) {
        let once = self.guards.len() == self.entries.len();
        if !once {
            let repeat = match converted {
                Converted::Doc { repeat, .. } => *repeat,
                _ => Repeat::Harmless,
            };
            self.guards.push(Guard::new(repeat));
        }
        if let Some(guard) = self.guards.last_mut() {
            guard.late = Some(Late { once, ..late });
        }
    }

    /// The command that was added last, a delete, was made of this answer of the operator's own converter.
    pub(crate) fn answered(&mut self, answer: &[u8]) {
        let begin = self.aside.len();
        self.aside.extend_from_slice(answer);
        if let Some(entry) = self.entries.last_mut() {
            entry.answer = Some(Span::of(begin..self.aside.len()));
        }
    }

    /// What the operator's own converter has answered, of which a command was made.
    pub(crate) fn answer(&self, entry: usize) -> Vec<u8> {
        let entry = &self.entries[entry];
        match entry.answer {
            Some(span) => self.aside[span.range()].to_vec(),
            // A document stands in its command as it is.
            None => {
                let command = &self.body[entry.command.range()];
                let command = command.strip_prefix(ADD).unwrap_or(command);
                command.strip_suffix(b"}").unwrap_or(command).to_vec()
            }
        }
    }

    fn write_command(&mut self, original: &[u8], converted: &Converted<'_>) -> Source {
        let mut aside = |body: &mut Vec<u8>, before: &[u8], bytes: &[u8], after: &[u8]| {
            body.extend_from_slice(before);
            body.extend_from_slice(bytes);
            body.extend_from_slice(after);
            let begin = self.aside.len();
            self.aside.extend_from_slice(original);
            Source::Aside(Span::of(begin..self.aside.len()))
        };
        match converted {
            Converted::Doc { body: Body::Line, .. } => {
                self.body.extend_from_slice(ADD);
                let begin = self.body.len();
                self.body.extend_from_slice(original);
                self.body.push(b'}');
                Source::Body(Span::of(begin..self.body.len() - 1))
            }
            Converted::Doc { body: Body::Made(made), .. } => aside(&mut self.body, ADD, made, b"}"),
            Converted::Delete { body, .. } => aside(&mut self.body, DELETE, body, b""),
            Converted::Nothing | Converted::Reject { .. } => unreachable!("they are no command"),
        }
    }

    /// The id of a command's document, as Solr has it.
    pub(crate) fn id(&self, entry: usize) -> &str {
        &self.ids[self.entries[entry].id.range()]
    }

    /// Whether Solr's receipt calls it by its own id.
    pub(crate) fn is_listed_by_id(&self, entry: usize) -> bool {
        self.entries[entry].listed == self.entries[entry].id
    }

    /// What Solr's receipt calls it: a document that has a `_root_` is listed as that.
    pub(crate) fn listed(&self, entry: usize) -> &str {
        &self.ids[self.entries[entry].listed.range()]
    }

    /// The line that a command was made of.
    pub(crate) fn original(&self, entry: usize) -> &[u8] {
        match &self.entries[entry].original {
            Source::Body(span) => &self.body[span.range()],
            Source::Aside(span) => &self.aside[span.range()],
        }
    }

    /// How many commands are not settled.
    pub(crate) fn open(&self) -> usize {
        self.entries.iter().filter(|e| e.outcome == Outcome::Open).count()
    }

    /// Nothing more comes to it: all of it is to be sent.
    pub(crate) fn close(&mut self) {
        self.parts.clear();
        self.parts.push(0..self.len());
    }

    pub(crate) fn settle(&mut self, part: Range<usize>, outcome: &Outcome) {
        self.entries[part].iter_mut().for_each(|e| e.outcome = outcome.clone());
    }

    /// The body of a request for all of its commands, without a copy: `f` gets it.
    pub(crate) fn with_whole_body<T>(&mut self, f: impl FnOnce(&[u8]) -> T) -> T {
        self.body.push(b'}');
        let result = f(&self.body);
        self.body.pop();
        result
    }

    /// The body of a request for some of its commands, written over what is in `buffer`.
    pub(crate) fn write_part(&self, part: Range<usize>, buffer: &mut Vec<u8>) {
        buffer.clear();
        if self.is_guarded() {
            return self.write_guarded(part, buffer);
        }
        let (Some(first), Some(last)) =
            (self.entries[part.clone()].first(), self.entries[part].last())
        else {
            return;
        };
        let commands = &self.body[first.command.begin as usize..last.command.end as usize];
        buffer.reserve(commands.len() + 2);
        buffer.push(b'{');
        buffer.extend_from_slice(commands);
        buffer.push(b'}');
    }

    /// The same, where each command goes out with the version that it is for.
    fn write_guarded(&self, part: Range<usize>, buffer: &mut Vec<u8>) {
        buffer.push(b'{');
        for n in part {
            if buffer.len() > 1 {
                buffer.push(b',');
            }
            let command = &self.body[self.entries[n].command.range()];
            let before = match self.entries[n].kind {
                Kind::Add => ADD.len(),
                Kind::Delete => DELETE.len(),
            };
            let inside = memchr::memchr(b'{', &command[before..]).map_or(0, |at| before + at + 1);
            let own = || own_version(&command[before..command.len() - 1]);
            let own = self.guards[n].brings_another().then(own).flatten();
            match (self.guards[n].to_send(), own) {
                (None, _) => buffer.extend_from_slice(command),
                (Some(version), None) => {
                    buffer.extend_from_slice(&command[..inside]);
                    buffer.extend_from_slice(format!("\"_version_\":{version},").as_bytes());
                    buffer.extend_from_slice(&command[inside..]);
                }
                (Some(version), Some(Range { start, end })) => {
                    buffer.extend_from_slice(&command[..before + start]);
                    buffer.extend_from_slice(version.to_string().as_bytes());
                    buffer.extend_from_slice(&command[before + end..]);
                }
            }
        }
        buffer.push(b'}');
    }

    /// Makes it empty, to be used again. It keeps its room, if that is not much.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.parts.clear();
        self.suspects.clear();
        self.guards.clear();
        self.intents = None;
        (self.forwards, self.cuts, self.failures, self.hints) = (0, 0, 0, 0);
        self.ids.clear();
        for bytes in [&mut self.body, &mut self.aside] {
            bytes.clear();
            bytes.shrink_to(ROOM);
        }
    }
}

/// Where the value of a document's own `_version_` stands in it.
fn own_version(document: &[u8]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(document).ok()?;
    let value = json::members(text, &["_version_"]).ok()?.named[0].1?;
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + value.len())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use convert::Repeat;
    use std::borrow::Cow;

    pub(crate) fn doc(id: &str) -> Converted<'_> {
        doc_that(id, Repeat::Harmless)
    }

    pub(crate) fn doc_that(id: &str, repeat: Repeat) -> Converted<'_> {
        let id = Cow::Borrowed(id);
        Converted::Doc { id, body: Body::Line, field: None, root: None, repeat }
    }

    /// A batch of documents with these ids, from line 0 on.
    pub(crate) fn batch(ids: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for (n, id) in ids.iter().enumerate() {
            let line = format!(r#"{{"id":"{id}"}}"#);
            assert!(batch.push((n as u64, 0), line.as_bytes(), &doc(id), 0));
        }
        batch
    }

    fn part(batch: &Batch, part: Range<usize>) -> String {
        let mut buffer = b"old".to_vec();
        batch.write_part(part, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn commands_stand_in_the_order_of_their_lines() {
        let mut batch = Batch::default();
        let original = br#"{"delete":{"id":"b","_route_":"r"} }"#;
        let delete = Converted::Delete { id: "b".into(), route: None, body: &original[10..34] };
        let body = Body::Made(br#"{"id":"c"}"#[..].into());
        let repeat = Repeat::Harmless;
        let made = Converted::Doc { id: "c".into(), body, field: None, root: None, repeat };
        assert!(batch.push((3, 30), br#" {"id":"a"}"#, &doc("a"), 17));
        assert!(batch.push((7, 70), original, &delete, 18));
        assert!(batch.push((9, 90), br#"{"sku":"c"}"#, &made, 19));
        assert!(!batch.push((11, 0), b"", &Converted::Nothing, 20));
        assert_eq!(
            part(&batch, 0..3),
            r#"{"add":{"doc": {"id":"a"}},"delete":{"id":"b","_route_":"r"},"add":{"doc":{"id":"c"}}}"#
        );
        assert_eq!(part(&batch, 1..2), r#"{"delete":{"id":"b","_route_":"r"}}"#);
        assert_eq!(part(&batch, 1..1), "");
        assert_eq!(batch.opened, 17);
        assert_eq!([batch.id(0), batch.id(1), batch.id(2)], ["a", "b", "c"]);
        assert_eq!(batch.original(0), br#" {"id":"a"}"#);
        assert_eq!(batch.original(1), original);
        assert_eq!(batch.original(2), br#"{"sku":"c"}"#);
        assert_eq!(batch.entries[1].kind, Kind::Delete);
    }

    #[test]
    fn what_a_command_was_made_of_can_be_had_again() {
        let mut batch = Batch::default();
        let body = Body::Made(br#"{"id":"c"}"#[..].into());
        let repeat = Repeat::Harmless;
        let made = Converted::Doc { id: "c".into(), body, field: None, root: None, repeat };
        assert!(batch.push((0, 0), br#"{"sku":"c"}"#, &made, 1));
        // With the route of a shard, which its answer had not.
        let own = br#"{"id":"b","_route_":"r"}"#;
        let delete = Converted::Delete { id: "b".into(), route: None, body: own };
        assert!(batch.push((1, 9), br#"{"sku":"b","gone":1}"#, &delete, 2));
        batch.answered(br#"{"delete":{"id":"b"}}"#);
        assert_eq!(
            [batch.answer(0), batch.answer(1)],
            [&br#"{"id":"c"}"#[..], br#"{"delete":{"id":"b"}}"#]
        );
        assert_eq!(batch.original(1), br#"{"sku":"b","gone":1}"#);
    }

    #[test]
    fn what_may_be_carried_out_once_goes_out_with_the_version_that_it_is_for() {
        let mut batch = Batch::default();
        let push = |batch: &mut Batch, line: &str, repeat| {
            assert!(batch.push((0, 0), line.as_bytes(), &doc_that("a", repeat), 0));
        };
        push(&mut batch, r#" {"id":"a","n":{"inc":1}}"#, Repeat::Counts);
        push(&mut batch, r#"{"_version_":7,"id":"b"}"#, Repeat::Versioned(7));
        push(&mut batch, r#"{"id":"c","n":{"inc":1}}"#, Repeat::Counts);
        assert!(batch.is_guarded());
        (batch.guards[0].version, batch.guards[1].version) = (Some(-1), Some(9));
        batch.guards[2].version = Some(1882619090900615168);
        assert_eq!(
            part(&batch, 0..2),
            r#"{"add":{"doc": {"_version_":-1,"id":"a","n":{"inc":1}}},"add":{"doc":{"_version_":7,"id":"b"}}}"#
        );
        assert_eq!(
            part(&batch, 2..3),
            r#"{"add":{"doc":{"_version_":1882619090900615168,"id":"c","n":{"inc":1}}}}"#
        );
        batch.clear();
        assert!(!batch.is_guarded());
    }

    #[test]
    fn a_batch_is_used_again_without_the_room_of_a_giant() {
        let mut batch = Batch::default();
        let giant = format!(r#"{{"id":"a","b":"{}"}}"#, "x".repeat(10_000_000));
        batch.push((0, 0), giant.as_bytes(), &doc("a"), 0);
        batch.clear();
        assert!(batch.is_empty() && batch.body.capacity() <= ROOM);
        batch.push((0, 0), br#"{"id":"b"}"#, &doc("b"), 0);
        assert_eq!(part(&batch, 0..1), r#"{"add":{"doc":{"id":"b"}}}"#);
    }
}
