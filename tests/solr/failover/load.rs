//! A load that lasts: small deltas, one handed over after the other, with two kinds of ids. Those
//! that come again and again make it a load, but hide what is lost: the next value covers it. So
//! each delta has some that come in it and in the next, and then never again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Watch;
use crate::common::{Delta, Site};

/// So many deltas wait in `incoming/`.
const AHEAD: usize = 3;
/// So many ids come again and again, and so many of a delta come once more.
const AGAIN: usize = 2_500;
const ONCE_MORE: usize = 100;

/// All that was handed over, and what it comes to.
pub(super) struct Load {
    ids: Box<dyn Iterator<Item = String> + Send>,
    again: Vec<String>,
    once_more: Vec<String>,
    handed_over: u64,
    docs: BTreeMap<String, Value>,
}

impl Load {
    /// A load of documents with these ids, of which there are enough.
    pub(super) fn new(mut ids: Box<dyn Iterator<Item = String> + Send>) -> Load {
        let again = ids.by_ref().take(AGAIN).collect();
        Load { ids, again, once_more: Vec::new(), handed_over: 0, docs: BTreeMap::new() }
    }

    pub(super) fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// What must be in the index when all is delivered.
    pub(super) fn docs(&self) -> &BTreeMap<String, Value> {
        &self.docs
    }

    /// Hands deltas over until the watch stops.
    pub(super) fn run(&mut self, site: &Site, watch: &Watch) {
        while watch.goes_on() {
            if site.names("incoming").len() < AHEAD {
                let text = self.next();
                site.hand_over(&format!("{:08}.jsonl", self.handed_over), text);
                self.handed_over += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next delta: the ids of before once more, one in ten as a delete, as many new ones, and
    /// two thirds of those that come again and again.
    fn next(&mut self) -> String {
        let number = self.handed_over as usize;
        let mut delta = Delta { docs: std::mem::take(&mut self.docs), ..Delta::default() };
        let doc = |id: &str| json!({"id": id, "price_i": number});
        let new: Vec<String> = self.ids.by_ref().take(ONCE_MORE).collect();
        for (n, id) in std::mem::replace(&mut self.once_more, new).iter().enumerate() {
            match n % 10 {
                0 => delta.delete(id),
                _ => delta.doc(doc(id)),
            };
        }
        let again = self.again.iter().enumerate().filter(|(n, _)| (n + number) % 3 != 0);
        for id in self.once_more.iter().chain(again.map(|(_, id)| id)) {
            delta.doc(doc(id));
        }
        self.docs = delta.docs;
        delta.text
    }
}
