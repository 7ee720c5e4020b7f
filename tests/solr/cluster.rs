//! The SolrCloud: collections, its nodes' fate, and what is in the index.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use crate::common::{Delta, Site, finish};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Keeps other tests with a SolrCloud waiting, as long as this is held.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs `tests/solrcloud/solrcloud`; answers what it said.
#[track_caller]
pub fn solrcloud(arguments: &[&str]) -> String {
    assert!(
        std::env::var_os("SOLRCLOUD_DIR").is_some(),
        "no SolrCloud here: run `make solr-tests`"
    );
    let script = Path::new(HERE).join("tests/solrcloud/solrcloud");
    finish(Command::new(script).args(arguments), b"").code(0).stdout.trim().to_owned()
}

/// A collection, and the cluster as long as this is held.
pub struct Collection {
    name: String,
    urls: Vec<String>,
    agent: ureq::Agent,
    kept: bool,
    _cluster: MutexGuard<'static, ()>,
}

impl Collection {
    /// A name, and no collection of it yet.
    pub fn none_yet(name: &str) -> Collection {
        let cluster = alone();
        let urls = solrcloud(&["urls"]).split(',').map(str::to_owned).collect();
        let config = ureq::Agent::config_builder().proxy(None).build();
        Collection {
            name: name.to_owned(),
            urls,
            agent: config.into(),
            kept: false,
            _cluster: cluster,
        }
    }

    pub fn make(name: &str) -> Collection {
        let collection = Collection::none_yet(name);
        collection.create();
        collection
    }

    /// The one that the small tests share, one after another: who comes first makes it, and it
    /// goes with the cluster.
    pub fn shared() -> Collection {
        static MADE: AtomicBool = AtomicBool::new(false);
        let mut collection = Collection::none_yet("shared");
        collection.kept = true;
        if !MADE.load(Ordering::Relaxed) {
            collection.create();
            MADE.store(true, Ordering::Relaxed);
        }
        collection
    }

    pub fn create(&self) {
        solrcloud(&["create", &self.name, "--shards", "2", "--replicas", "2"]);
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes' Solr URLs.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// A place for a daemon that delivers here.
    pub fn site(&self) -> Site {
        Site::for_collection(self.urls.clone(), &self.name)
    }

    /// All that is in the index, by id. (What Solr has taken is seen after a commit.)
    pub fn docs(&self) -> BTreeMap<String, Value> {
        self.commit();
        self.docs_in(&format!("{}/{}", self.urls[0], self.name), "")
    }

    /// What is at a URL of Solr's.
    #[track_caller]
    pub fn get(&self, url: &str) -> String {
        self.try_get(url).expect("it answers")
    }

    pub fn try_get(&self, url: &str) -> Option<String> {
        let mut answer = self.agent.get(url).call().ok()?;
        answer.body_mut().with_config().limit(1 << 30).read_to_string().ok()
    }

    pub fn commit(&self) {
        let url = format!("{}/{}/update", self.urls[0], self.name);
        let update = self.agent.post(url).header("Content-Type", "application/json");
        update.send(r#"{"commit":{}}"#).expect("it commits");
    }

    /// What a search there finds, by id, with these parameters more.
    pub fn docs_in(&self, base: &str, more: &str) -> BTreeMap<String, Value> {
        let mut docs = BTreeMap::new();
        let mut cursor = "*".to_owned();
        loop {
            let query = "q=*:*&sort=id+asc&rows=10000&fl=id,price_i,stock_i,name_s&wt=json";
            let url = format!("{base}/select?{query}{more}&cursorMark={}", escaped(&cursor));
            let answer: Value = serde_json::from_str(&self.get(&url)).unwrap();
            for doc in answer["response"]["docs"].as_array().unwrap() {
                docs.insert(doc["id"].as_str().unwrap().to_owned(), doc.clone());
            }
            let next = answer["nextCursorMark"].as_str().unwrap();
            if next == cursor {
                assert_eq!(answer["response"]["numFound"], docs.len());
                return docs;
            }
            cursor = next.to_owned();
        }
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        if !self.kept && !std::thread::panicking() {
            solrcloud(&["drop", &self.name]);
        }
    }
}

/// A cursor is Base64.
pub fn escaped(cursor: &str) -> String {
    cursor.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

/// A delta of offers as `tests/data/offers-delta` makes it, and what it means.
pub fn offers(arguments: &[&str]) -> Delta {
    let script = Path::new(HERE).join("tests/data/offers-delta");
    let text = finish(Command::new(script).args(arguments), b"").code(0).stdout;
    let mut delta = Delta::default();
    for line in text.lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(doc)
                if doc["price_i"].is_u64() && doc["stock_i"].is_u64() && doc["id"].is_string() =>
            {
                delta.doc(doc)
            }
            Ok(delete) if delete["delete"]["id"].is_string() => {
                delta.delete(delete["delete"]["id"].as_str().unwrap())
            }
            Ok(_) | Err(_) => delta.line(line),
        };
    }
    assert_eq!(delta.text.len(), text.len());
    delta.text = text; // the same lines, to the byte
    delta
}
