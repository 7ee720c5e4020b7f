//! The stream of deltas, and what they come to: the documents as their last lines leave them, the
//! counters, and the lines that must be rejected. All of it comes from the seed.
//!
//! There are ids that come again and again, and make it a stream; but these hide what is lost, the
//! next value covers it. So each delta has some that come in it, perhaps in the next one, and then
//! never again before the referee has looked.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use crate::commands::Op;
use crate::kind::random;

/// So many ids come again and again, in most deltas some.
const HOT: usize = 1_500;
/// So many make large deltas large.
const WIDE: usize = 20_000;
const COUNTERS: usize = 200;
/// So many of a delta come once, and as many perhaps once more.
const ONCE: usize = 30;
/// So many documents that the referee has seen are deleted in one delta.
const SWEPT: usize = 300;

/// A document as its last line leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doc {
    /// The delta of its last line.
    pub delta: u32,
    /// The delta of the last line that was a whole document; `None`: it was made by an atomic update.
    pub whole: Option<u32>,
}

/// A line that must be rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Counted from 1, the empty ones too.
    pub line: u64,
    /// Who rejects it: `parse`, `convert` or `solr`.
    pub stage: &'static str,
    /// The document's id, if Solr rejects it.
    pub id: Option<String>,
    /// The line.
    pub raw: String,
}

/// A delta, made but not handed over.
#[derive(Debug, Clone)]
pub struct Delta {
    /// Its name in `incoming/`.
    pub name: String,
    /// Its lines.
    pub text: String,
    /// How many of them are documents or deletes that Solr takes.
    pub documents: u64,
}

/// What all deltas so far come to.
#[derive(Default)]
pub struct Expected {
    /// The documents by id; what is not here must not be in Solr.
    pub docs: BTreeMap<String, Doc>,
    /// In which deltas a counter was raised by one.
    pub counters: BTreeMap<String, Vec<u32>>,
    /// Counters that Solr has not kept alike: nobody counts on them any more.
    pub retired: BTreeSet<String>,
    /// What must be rejected, of the deltas since the referee last looked.
    pub bad: BTreeMap<String, Vec<Bad>>,
}

/// Where deltas come from.
pub struct Stream {
    seed: u64,
    rng: fastrand::Rng,
    inc: bool,
    number: u32,
    /// How many there were when the referee last found all to be well.
    looked: u32,
    /// What all deltas that were made come to.
    pub expected: Expected,
    /// Of the last delta, to come once more.
    once_more: Vec<String>,
    /// What the referee has not seen yet, and what it has: to be deleted.
    unseen: Vec<String>,
    seen: Vec<String>,
    /// To be given a new value, whatever they have.
    renewed: Vec<String>,
}

/// A delta in the making: no id twice.
#[derive(Default)]
struct Making {
    lines: Vec<(String, Option<Bad>)>,
    taken: BTreeSet<String>,
}

/// What a document says of itself for a delta, so that no value is taken for another's.
fn check(seed: u64, id: &str, delta: u32, of: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (seed, id, delta, of).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A string in JSON. (There are many, so the plain ones are no work.)
fn quoted(id: &str) -> String {
    match id.contains('"') {
        true => json!(id).to_string(),
        false => format!("\"{id}\""),
    }
}

fn hot(n: usize) -> String {
    match n % 50 {
        0 => format!("hot é \"{n}\" 😀"),
        1 => format!("shop{}!hot-{n}", n % 7), // compositeId has a word to say
        2 => format!("{n}"),
        _ => format!("hot-{n:05}"),
    }
}

impl Stream {
    /// The same for the same seed. `inc`: with counters.
    pub fn new(seed: u64, inc: bool) -> Stream {
        Stream {
            seed,
            rng: random(seed, "stream", 0),
            inc,
            number: 0,
            looked: 0,
            expected: Expected::default(),
            once_more: Vec::new(),
            unseen: Vec::new(),
            seen: Vec::new(),
            renewed: Vec::new(),
        }
    }

    /// How many deltas were made.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The names of all deltas that were made after so many.
    pub fn names_after(&self, number: u32) -> Vec<String> {
        (number + 1..=self.number).map(name).collect()
    }

    /// The referee has seen that all is well: the documents that came once may go.
    pub fn all_is_seen(&mut self) {
        self.looked = self.number;
        self.seen.append(&mut self.unseen);
        self.expected.bad.clear();
    }

    /// These are to be given a new value by the next delta.
    pub fn renew(&mut self, ids: impl IntoIterator<Item = String>) {
        self.renewed.extend(ids);
    }

    /// This counter's replicas differ: it is left alone from now on.
    pub fn retire(&mut self, id: &str) {
        self.expected.counters.remove(id);
        self.expected.retired.insert(id.to_owned());
    }

    /// The next delta.
    pub fn next(&mut self) -> Delta {
        self.number += 1;
        let mut making = Making::default();
        // Most are of some hundred lines, a few large, a few tiny.
        let large = match self.rng.u8(..20) {
            0 => return self.finish(making), // no line at all
            1 => return self.single(making),
            2..5 => true,
            _ => false,
        };
        for id in std::mem::take(&mut self.renewed) {
            self.whole(&id, &mut making);
        }
        let sweep = self.seen.len().saturating_sub(SWEPT);
        for id in self.seen.split_off(sweep) {
            self.delete(&id, &mut making);
        }
        for id in std::mem::take(&mut self.once_more) {
            self.anything(&id, &mut making);
        }
        for n in 0..2 * ONCE {
            let id = format!("once-{}-{n}", self.number);
            self.whole(&id, &mut making);
            if n % 2 == 0 {
                self.once_more.push(id.clone());
            }
            self.unseen.push(id);
        }
        let share = self.rng.f64() * 0.4;
        for n in 0..HOT {
            if self.rng.f64() < share {
                self.anything(&hot(n), &mut making);
            }
        }
        if large {
            let count = self.rng.usize(2_000..WIDE);
            let begin = self.rng.usize(..WIDE);
            for n in begin..begin + count {
                self.anything(&format!("wide-{:05}", n % WIDE), &mut making);
            }
        }
        if self.inc {
            for n in 0..COUNTERS {
                if self.rng.u8(..4) == 0 {
                    self.count(&format!("count-{n:03}"), &mut making);
                }
            }
        }
        for n in 0..self.rng.usize(..8) {
            self.bad(n, &mut making);
        }
        self.finish(making)
    }

    fn single(&mut self, mut making: Making) -> Delta {
        match self.rng.bool() {
            true => {
                let id = hot(self.rng.usize(..HOT));
                self.anything(&id, &mut making);
            }
            false => self.bad(0, &mut making),
        }
        self.finish(making)
    }

    // --- lines ----------------------------------------------------------------------------------

    fn whole(&mut self, id: &str, making: &mut Making) {
        let (seed, delta) = (self.seed, self.number);
        if making.taken.insert(id.to_owned()) {
            let (check, whole) = (check(seed, id, delta, "check"), check(seed, id, delta, "whole"));
            making.good(format!(
                r#"{{"id":{},"delta_i":{delta},"check_s":"{check}","whole_i":{delta},"whole_s":"{whole}"}}"#,
                quoted(id),
            ));
            self.expected.docs.insert(id.to_owned(), Doc { delta, whole: Some(delta) });
        }
    }

    fn set(&mut self, id: &str, making: &mut Making) {
        let (seed, delta) = (self.seed, self.number);
        if making.taken.insert(id.to_owned()) {
            let check = check(seed, id, delta, "check");
            making.good(format!(
                r#"{{"id":{},"delta_i":{{"set":{delta}}},"check_s":{{"set":"{check}"}}}}"#,
                quoted(id),
            ));
            let doc = self.expected.docs.entry(id.to_owned());
            doc.or_insert(Doc { delta, whole: None }).delta = delta;
        }
    }

    fn delete(&mut self, id: &str, making: &mut Making) {
        if making.taken.insert(id.to_owned()) {
            making.good(format!(r#"{{"delete":{{"id":{}}}}}"#, quoted(id)));
            self.expected.docs.remove(id);
        }
    }

    fn anything(&mut self, id: &str, making: &mut Making) {
        match self.rng.u8(..20) {
            0..2 => self.delete(id, making),
            2..8 => self.set(id, making),
            _ => self.whole(id, making),
        }
    }

    fn count(&mut self, id: &str, making: &mut Making) {
        if self.expected.retired.contains(id) {
            return;
        }
        let delta = self.number;
        let atomic = json!({
            "id": id, "delta_i": {"set": delta}, "count_i": {"inc": 1}, "seen_is": {"add": delta},
        });
        making.good(atomic.to_string());
        self.expected.counters.entry(id.to_owned()).or_default().push(delta);
    }

    /// A line that cannot be delivered. Where Solr refuses it, it may speak of a document that is
    /// there, and must stay as it is.
    fn bad(&mut self, n: usize, making: &mut Making) {
        let mut id = format!("bad-{}-{n}", self.number);
        let kind = self.rng.u8(..8);
        if kind >= 5 && self.rng.bool() {
            let known = hot(self.rng.usize(..HOT));
            if making.taken.insert(known.clone()) {
                id = known;
            }
        }
        let name = json!(id);
        let (raw, stage) = match kind {
            0 => (format!(r#"{{"id":{name},"delta_i":"#), "parse"),
            1 => ("no JSON at all".into(), "parse"),
            2 => (r#"{"delta_i":3}"#.into(), "convert"),
            3 => (r#"{"delete":{"query":"*:*"}}"#.into(), "convert"),
            4 => (format!(r#"{{"id":{name},"check_s":"x","_version_":1}}"#), "solr"),
            5 => (format!(r#"{{"id":{name},"x_dt":"2024-02-30T00:00:00Z"}}"#), "solr"),
            6 => (format!(r#"{{"id":{name},"nosuchfield":{{"set":1}}}}"#), "solr"),
            _ => (format!(r#"{{"id":{name},"check_s":{{"bogus":1}}}}"#), "solr"),
        };
        let id = (stage == "solr").then_some(id);
        making.lines.push((raw.clone(), Some(Bad { line: 0, stage, id, raw })));
    }

    /// In any order, with an empty line here and there.
    fn finish(&mut self, mut making: Making) -> Delta {
        self.rng.shuffle(&mut making.lines);
        let name = name(self.number);
        let documents = making.lines.iter().filter(|(_, bad)| bad.is_none()).count() as u64;
        let (mut text, mut line, mut all_bad) = (String::new(), 0, Vec::new());
        for (raw, bad) in making.lines {
            if self.rng.u8(..100) == 0 {
                text.push_str(if self.rng.bool() { "\n" } else { "  \r\n" });
                line += 1;
            }
            text.push_str(&raw);
            text.push('\n');
            line += 1;
            all_bad.extend(bad.map(|bad| Bad { line, ..bad }));
        }
        if self.rng.u8(..10) == 0 {
            text.truncate(text.trim_end().len()); // its last line ends without a newline
        }
        self.expected.bad.insert(name.clone(), all_bad);
        Delta { name, text, documents }
    }

    // --- what must be there -----------------------------------------------------------------------

    /// A document as Solr must show it.
    pub fn shown(&self, id: &str, doc: Doc) -> Value {
        let mut shown = json!({
            "id": id, "delta_i": doc.delta, "check_s": check(self.seed, id, doc.delta, "check"),
        });
        if let Some(whole) = doc.whole {
            shown["whole_i"] = whole.into();
            shown["whole_s"] = check(self.seed, id, whole, "whole").into();
        }
        shown
    }

    /// The commands that must have been carried out, since the referee last looked, for a document
    /// to be as it should; the last one last.
    pub fn needed(&self, id: &str) -> Vec<Op> {
        let Some(doc) = self.expected.docs.get(id) else { return vec![Op::Delete] };
        let whole = doc.whole.filter(|whole| *whole > self.looked && *whole != doc.delta);
        whole.into_iter().chain([doc.delta]).map(|delta| Op::Add(Some(delta))).collect()
    }
}

fn name(number: u32) -> String {
    format!("{number:08}.jsonl")
}

impl Making {
    fn good(&mut self, line: String) {
        self.lines.push((line, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_deltas_and_another_one_others() {
        let text = |seed| {
            let mut stream = Stream::new(seed, true);
            (0..30).map(|_| stream.next().text).collect::<String>()
        };
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn a_delta_has_each_id_once_and_its_bad_lines_where_they_are_said_to_be() {
        let mut stream = Stream::new(5, true);
        let (mut sorts, mut large) = (BTreeSet::new(), 0);
        for n in 0..40 {
            let delta = stream.next();
            large += u32::from(delta.documents > 2_000);
            let (mut ids, mut documents) = (BTreeSet::new(), 0);
            let bad = &stream.expected.bad[&delta.name];
            for (line, text) in (1..).zip(delta.text.lines()) {
                if let Some(bad) = bad.iter().find(|bad| bad.line == line) {
                    assert_eq!(bad.raw, text);
                    sorts.insert((bad.stage, bad.id.as_ref().map(|id| id.starts_with("bad"))));
                } else if !text.trim().is_empty() {
                    let doc: Value = serde_json::from_str(text).unwrap();
                    let id = doc["id"].as_str().or(doc["delete"]["id"].as_str()).unwrap();
                    assert!(ids.insert(id.to_owned()), "{id} twice");
                    documents += 1;
                }
            }
            assert_eq!(documents, delta.documents, "delta {n}");
            assert!(bad.iter().all(|b| b.id.as_ref().is_none_or(|id| !ids.contains(id))));
        }
        assert_eq!(sorts.len(), 4, "{sorts:?}");
        assert!(large > 2);
    }

    #[test]
    fn what_the_referee_has_seen_goes_again() {
        let mut stream = Stream::new(5, false);
        (0..10).for_each(|_| drop(stream.next()));
        let once: Vec<String> = stream.unseen.clone();
        let there = |stream: &Stream| {
            once.iter().filter(|id| stream.expected.docs.contains_key(*id)).count()
        };
        assert!(there(&stream) > once.len() / 2);
        stream.all_is_seen();
        (0..20).for_each(|_| drop(stream.next()));
        assert_eq!(there(&stream), 0);
    }
}
