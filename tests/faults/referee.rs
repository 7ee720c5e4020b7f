//! The referee: compares what is in Solr, document for document and in each replica, with what the
//! deltas say; and what is in the spool with where it must be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::commands::Op;
use crate::common::Site;
use crate::common::cluster::{Collection, core};
use crate::ledger::{Blame, Ledger};
use crate::stream::{Bad, Expected, Stream};

/// So often the replicas are looked at once more, where something is wrong, and so far apart.
const LOOKS: usize = 2;
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// What of a document is looked at.
const FIELDS: &str = "id,delta_i,check_s,whole_i,whole_s,count_i,seen_is";

/// A document that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    /// Its id.
    pub id: String,
    /// In what way.
    pub how: How,
    /// Whose fault that is.
    pub blame: Blame,
    /// What must be there, and what each replica of its shard has.
    pub should: Option<Value>,
    /// See `should`.
    pub there: Vec<(String, Option<Value>)>,
}

/// In what way a document can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is not there.
    Lost,
    /// It has another value, or should not be there.
    Stale,
}

/// What the referee has found, added up over the campaign.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Documents that were compared, in all looks.
    pub compared: u64,
    /// Those that are wrong.
    pub wrong: Vec<Wrong>,
    /// The counters that were not exact when they were last looked at.
    pub counters: BTreeMap<String, Miscount>,
    /// Those that one replica has exactly and another has not.
    pub unlike: BTreeSet<String>,
    /// Those that lack nothing but what Solr had confirmed, in a receipt that the proxy saw.
    pub forgotten: BTreeSet<String>,
    /// Known bad lines, and those found in `rejected/`.
    pub bad: u64,
    /// See `bad`.
    pub found: u64,
    /// Anything else, in words.
    pub others: Vec<String>,
}

/// A counter that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miscount {
    /// What it shows, and in how many deltas it was raised by one.
    pub count: i64,
    /// See `count`.
    pub should: usize,
    /// So often a delta was applied once more than it should, and so many were not at all.
    pub twice: u64,
    /// See `twice`.
    pub missing: u64,
}

/// What the replicas of one shard have, by the core's URL.
type Shard = Vec<(String, BTreeMap<String, Value>)>;

impl Verdict {
    /// Those that are not Solr's own doing.
    pub fn not_solrs(&self) -> impl Iterator<Item = &Wrong> {
        self.wrong.iter().filter(|wrong| wrong.blame != Blame::Solr)
    }

    /// How many are wrong in this way by this one's fault.
    pub fn count(&self, how: How, blame: Blame) -> usize {
        self.wrong.iter().filter(|wrong| wrong.how == how && wrong.blame == blame).count()
    }

    /// Whether the program has kept its promises so far.
    pub fn is_good(&self) -> bool {
        self.not_solrs().next().is_none()
            && self.counters.is_empty()
            && self.found == self.bad
            && self.others.is_empty()
    }

    /// Looks at everything. What is wrong is found once: it is given a new value after that.
    pub fn look(&mut self, collection: &Collection, stream: &mut Stream, ledger: &Ledger) {
        let mut shards = read(collection);
        let mut wrong = compare(&shards, stream, ledger);
        // A replica that has just recovered may not show yet what it has.
        for _ in 0..LOOKS {
            if wrong.is_empty() {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
            shards = read(collection);
            wrong = compare(&shards, stream, ledger);
        }
        self.compared += stream.expected.docs.len() as u64;
        let ids = wrong.iter().map(|wrong| wrong.id.clone());
        stream.renew(ids.filter(|id| !id.starts_with("bad-")));
        self.wrong.extend(wrong);
        for (id, deltas) in &stream.expected.counters {
            self.count_again(&shards, id, deltas, |op| ledger.has_confirmed(id, op));
        }
        self.unlike.iter().chain(&self.forgotten).for_each(|id| stream.retire(id));
    }

    /// A counter counts each delta once, and its list has each once.
    fn count_again(
        &mut self,
        shards: &[Shard],
        id: &str,
        deltas: &[u32],
        confirmed: impl Fn(Op) -> bool,
    ) {
        let docs = shards.iter().flatten().filter_map(|(_, docs)| docs.get(id));
        let seen = |doc: &Value| -> Vec<u32> {
            let list = doc["seen_is"].as_array().into_iter().flatten();
            list.filter_map(|delta| delta.as_u64()?.try_into().ok()).collect()
        };
        // All replicas, or the first that is wrong.
        let all: Vec<(Value, Vec<u32>)> =
            docs.map(|doc| (doc["count_i"].clone(), seen(doc))).collect();
        let exact = |(count, seen): &(Value, Vec<u32>)| {
            let mut sorted = seen.clone();
            sorted.sort();
            *count == deltas.len() && sorted == deltas
        };
        // Where one replica has it right, Solr did not keep them alike.
        if all.iter().any(exact) {
            self.counters.remove(id);
            if !all.iter().all(exact) {
                self.unlike.insert(id.to_owned());
            }
            return;
        }
        let (count, seen) = all.iter().find(|one| !exact(one)).cloned().unwrap_or_default();
        let times = |delta: &u32| seen.iter().filter(|other| *other == delta).count() as u64;
        let miscount = Miscount {
            count: count.as_i64().unwrap_or(0),
            should: deltas.len(),
            twice: deltas.iter().map(|delta| times(delta).saturating_sub(1)).sum(),
            missing: deltas.iter().filter(|delta| times(delta) == 0).count() as u64,
        };
        let missing = || deltas.iter().filter(|delta| times(delta) == 0);
        let is_exact_else = miscount.twice == 0
            && miscount.missing > 0
            && miscount.count == (deltas.len() as i64) - miscount.missing as i64
            && seen.len() as i64 == miscount.count;
        if is_exact_else && missing().all(|delta| confirmed(Op::Add(Some(*delta)))) {
            self.counters.remove(id);
            self.forgotten.insert(id.to_owned());
            return;
        }
        self.counters.insert(id.to_owned(), miscount);
    }

    // --- the spool ------------------------------------------------------------------------------

    /// Looks where the deltas of these names are, and what of them was rejected.
    pub fn look_into_spool(
        &mut self,
        site: &Site,
        names: &[String],
        bad: &BTreeMap<String, Vec<Bad>>,
    ) {
        for name in names.iter().filter(|name| !site.is_done(name)) {
            self.others.push(format!("{name} is not in done/"));
        }
        let failed = site.names("failed");
        self.others.extend(failed.iter().map(|name| format!("{name} is in failed/")));
        let stays = |name: &String| matches!(&name[..], ".last-claim" | ".last-version");
        let left = site.names("active").into_iter().filter(|name| !stays(name));
        self.others.extend(left.map(|name| format!("{name} is left in active/")));
        for (name, bad) in bad {
            self.look_at_rejects(&site.rejects(name), name, bad);
        }
        let known = |file: &String| {
            file.strip_suffix(".rejected.jsonl").is_some_and(|name| bad.contains_key(name))
        };
        let strange = site.names("rejected").into_iter().filter(|file| !known(file));
        self.others.extend(strange.map(|file| format!("{file} is in rejected/")));
    }

    fn look_at_rejects(&mut self, rejects: &[Value], name: &str, bad: &[Bad]) {
        self.bad += bad.len() as u64;
        for bad in bad {
            let is_it = |reject: &&Value| {
                reject["line"] == bad.line
                    && reject["delta"] == name
                    && reject["stage"] == bad.stage
                    && reject["raw"] == bad.raw
                    && (bad.stage != "solr" || reject["id"].as_str() == bad.id.as_deref())
            };
            match rejects.iter().filter(is_it).count() {
                1 => self.found += 1,
                n => self.others.push(format!("{name}: {bad:?} is rejected {n} times")),
            }
        }
        let line = |reject: &Value| bad.iter().any(|bad| reject["line"] == bad.line);
        let strange = rejects.iter().filter(|reject| !line(reject));
        self.others
            .extend(strange.map(|reject| format!("{name}: a good line is rejected: {reject}")));
    }
}

/// What all replicas have.
fn read(collection: &Collection) -> Vec<Shard> {
    collection.commit();
    let docs = |replica: &Value| {
        let core = core(replica);
        let (mut docs, mut found) = collection.counted_in(&core, FIELDS, "&distrib=false");
        for _ in 0..LOOKS {
            if found == docs.len() as u64 {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
            (docs, found) = collection.counted_in(&core, FIELDS, "&distrib=false");
        }
        if found != docs.len() as u64 {
            println!("Solr's fault: {core} has {found} documents of {} ids", docs.len());
        }
        (core, docs)
    };
    let shards = collection.replicas();
    shards.iter().map(|(_, replicas)| replicas.iter().map(docs).collect()).collect()
}

/// The documents that are wrong.
fn compare(shards: &[Shard], stream: &Stream, ledger: &Ledger) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut judge = |id: &str, should: Option<Value>, shard: &Shard| {
        let there: Vec<(String, Option<Value>)> =
            shard.iter().map(|(core, docs)| (core.clone(), docs.get(id).cloned())).collect();
        // Where nobody has it, nobody could say whose shard it is.
        let misses = there.is_empty() || there.iter().any(|(_, doc)| doc.is_none());
        let how = if should.is_some() && misses { How::Lost } else { How::Stale };
        // Where one replica has it right, Solr did not keep them alike.
        let blame = match there.iter().any(|(_, doc)| *doc == should) {
            true => Blame::Solr,
            false => ledger.blame(id, &stream.needed(id)),
        };
        wrong.push(Wrong { id: id.to_owned(), how, blame, should, there });
    };
    for (id, doc) in &stream.expected.docs {
        let should = stream.shown(id, *doc);
        match shards.iter().find(|shard| shard.iter().any(|(_, docs)| docs.contains_key(id))) {
            Some(shard) if shard.iter().all(|(_, docs)| docs.get(id) == Some(&should)) => {}
            Some(shard) => judge(id, Some(should), shard),
            None => judge(id, Some(should), &Shard::new()),
        }
    }
    for shard in shards {
        let mut ids: Vec<&String> = shard.iter().flat_map(|(_, docs)| docs.keys()).collect();
        ids.sort();
        ids.dedup();
        let expected = |id: &str| {
            let Expected { docs, counters, retired, .. } = &stream.expected;
            docs.contains_key(id) || counters.contains_key(id) || retired.contains(id)
        };
        ids.retain(|id| !expected(id));
        ids.into_iter().for_each(|id| judge(id, None, shard));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shards(docs: &[(&str, Value)]) -> Vec<Shard> {
        let docs: BTreeMap<String, Value> =
            docs.iter().map(|(id, doc)| ((*id).to_owned(), doc.clone())).collect();
        vec![vec![("a".into(), docs.clone()), ("b".into(), docs)]]
    }

    fn stream() -> (Stream, BTreeMap<String, Value>) {
        let mut stream = Stream::new(3, false);
        (0..5).for_each(|_| drop(stream.next()));
        let shown =
            stream.expected.docs.iter().map(|(id, doc)| (id.clone(), stream.shown(id, *doc)));
        let shown = shown.collect();
        (stream, shown)
    }

    #[test]
    fn what_is_lost_or_stale_in_any_replica_is_found() {
        let (stream, docs) = stream();
        let ledger = Ledger::default();
        let whole: Shard = vec![("a".into(), docs.clone()), ("b".into(), docs.clone())];
        let found = |change: &dyn Fn(&mut Shard)| {
            let mut shard = whole.clone();
            change(&mut shard);
            let wrong = compare(&[shard], &stream, &ledger);
            wrong.into_iter().map(|w| (w.id, w.how, w.blame)).collect::<Vec<_>>()
        };
        let id = docs.keys().next().unwrap().clone();
        assert_eq!(found(&|_| ()), []);
        let lost = found(&|shard| shard.iter_mut().for_each(|(_, docs)| drop(docs.remove(&id))));
        assert_eq!(lost, [(id.clone(), How::Lost, Blame::Ours)]);
        let old = json!({"id": id, "delta_i": 0});
        let stale = found(&|shard| {
            shard.iter_mut().for_each(|(_, docs)| drop(docs.insert(id.clone(), old.clone())));
        });
        assert_eq!(stale, [(id.clone(), How::Stale, Blame::Ours)]);
        let unlike = found(&|shard| drop(shard[1].1.remove(&id)));
        assert_eq!(unlike, [(id.clone(), How::Lost, Blame::Solr)], "one replica has it");
        let back = found(&|shard| {
            shard.iter_mut().for_each(|(_, docs)| drop(docs.insert("gone".into(), old.clone())));
        });
        assert_eq!(back, [("gone".into(), How::Stale, Blame::Ours)]);
    }

    #[test]
    fn a_counter_is_exact_or_it_is_told_in_which_way_it_is_not() {
        let counted = |shards: &[Shard]| {
            let mut verdict = Verdict::default();
            verdict.count_again(shards, "c", &[1, 2, 3], |_| false);
            assert_eq!(verdict.is_good(), verdict.counters.is_empty());
            verdict.counters.get("c").map(|c| (c.count, c.twice, c.missing))
        };
        let shows = |count: u32, seen: &[u32]| {
            counted(&shards(&[("c", json!({"count_i": count, "seen_is": seen}))]))
        };
        assert_eq!(shows(3, &[1, 3, 2]), None);
        assert_eq!(shows(4, &[1, 2, 2, 3]), Some((4, 1, 0)));
        assert_eq!(shows(3, &[1, 2, 2]), Some((3, 1, 1)));
        assert_eq!(shows(4, &[1, 2, 3]), Some((4, 0, 0)), "count and list differ");
        assert_eq!(counted(&[]), Some((0, 0, 3)));
        // One replica is behind: that is Solr's own doing.
        let mut unlike = shards(&[("c", json!({"count_i": 3, "seen_is": [1, 2, 3]}))]);
        unlike[0][1].1.insert("c".into(), json!({"count_i": 1, "seen_is": [1]}));
        let mut verdict = Verdict::default();
        verdict.count_again(&unlike, "c", &[1, 2, 3], |_| false);
        assert!(verdict.is_good() && verdict.unlike.len() == 1);
        // So it is if all that is missing was confirmed, and nothing else is wrong.
        let forgotten = |count: u32, seen: &[u32]| {
            let mut verdict = Verdict::default();
            let shards = shards(&[("c", json!({"count_i": count, "seen_is": seen}))]);
            verdict.count_again(&shards, "c", &[1, 2, 3], |op| op == Op::Add(Some(3)));
            (verdict.is_good(), verdict.forgotten.len())
        };
        assert_eq!(forgotten(2, &[1, 2]), (true, 1));
        assert_eq!(forgotten(2, &[1, 3]), (false, 0), "that one was not confirmed");
        assert_eq!(forgotten(3, &[1, 2, 2]), (false, 0), "one was applied twice");
        assert_eq!(forgotten(3, &[1, 2]), (false, 0), "count and list differ");
    }

    #[test]
    fn rejects_are_the_known_bad_lines_each_once() {
        let bad = Bad { line: 3, stage: "solr", id: Some("x".into()), raw: "r".into() };
        let reject = json!({"delta": "d", "line": 3, "stage": "solr", "id": "x", "raw": "r"});
        let judged = |rejects: &[Value]| {
            let mut verdict = Verdict::default();
            verdict.look_at_rejects(rejects, "d", std::slice::from_ref(&bad));
            (verdict.found, verdict.others.len(), verdict.is_good())
        };
        assert_eq!(judged(std::slice::from_ref(&reject)), (1, 0, true));
        assert_eq!(judged(&[]), (0, 1, false));
        assert_eq!(judged(&[reject.clone(), reject.clone()]), (0, 1, false));
        for (member, other) in
            [("line", json!(4)), ("stage", json!("parse")), ("id", json!("y")), ("raw", json!("s"))]
        {
            let mut other_one = reject.clone();
            other_one[member] = other;
            assert!(!judged(&[other_one]).2, "{member}");
        }
        let mut good = reject.clone();
        good["line"] = json!(9);
        assert_eq!(judged(&[reject.clone(), good]), (1, 1, false));
    }
}
