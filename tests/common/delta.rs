//! Deltas, and what must be in Solr when they are delivered.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use serde_json::{Value, json};

/// A delta in the making. Each line comes with what it means.
#[derive(Default, Clone)]
pub struct Delta {
    /// The file.
    pub text: String,
    /// What Solr must have of it, by id.
    pub docs: BTreeMap<String, Value>,
    /// How many lines it has.
    pub lines: usize,
}

impl Delta {
    /// Offers of these numbers, a document each; `price` tells one delta's offers from another's.
    pub fn offers(numbers: Range<u32>, price: u32) -> Delta {
        let mut delta = Delta::default();
        for n in numbers {
            let id = format!("offer-{n:06}");
            let name = format!("Größe \"{n}\"");
            delta.doc(json!({"id": id, "price_i": price + n % 7, "name_s": name}));
        }
        delta
    }

    /// A document.
    pub fn doc(&mut self, doc: Value) -> &mut Delta {
        let id = doc["id"].as_str().expect("test documents have an id").to_owned();
        self.line(&doc.to_string());
        self.docs.insert(id, doc);
        self
    }

    /// A delete by id.
    pub fn delete(&mut self, id: &str) -> &mut Delta {
        self.line(&json!({"delete": {"id": id}}).to_string());
        self.docs.remove(id);
        self
    }

    /// A line that leaves nothing in Solr.
    pub fn line(&mut self, line: &str) -> &mut Delta {
        let _ = writeln!(self.text, "{line}");
        self.lines += 1;
        self
    }
}

/// Compares what Solr has with what it must have, document by document.
#[track_caller]
pub fn assert_same(there: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) {
    let missing: Vec<_> = expected.keys().filter(|id| !there.contains_key(*id)).collect();
    let extra: Vec<_> = there.keys().filter(|id| !expected.contains_key(*id)).collect();
    let other: Vec<_> = expected
        .iter()
        .filter_map(|(id, doc)| {
            there.get(id).filter(|there| *there != doc).map(|there| (there, doc))
        })
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && other.is_empty(),
        "{} of {} documents are missing, such as {:?}; {} should not be there, such as {:?}; {} are not as \
         they should be, such as {:?}",
        missing.len(),
        expected.len(),
        missing.first(),
        extra.len(),
        extra.first(),
        other.len(),
        other.first(),
    );
}
