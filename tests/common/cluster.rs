//! The SolrCloud that `tests/with-solrcloud` has brought up: collections, its nodes' fate, and what
//! is in the index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ::cluster::Cluster;
use serde_json::Value;

use super::{Delta, Run, Site, finish, wait_for_some};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// How long Solr may take to come round.
const MINUTES: Duration = Duration::from_secs(300);

/// Keeps other tests with a SolrCloud waiting, as long as this is held.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs `tests/solrcloud/solrcloud`; answers what it said.
#[track_caller]
pub fn solrcloud(arguments: &[&str]) -> String {
    try_solrcloud(arguments).code(0).stdout.trim().to_owned()
}

/// The same, whatever it comes to.
#[track_caller]
pub fn try_solrcloud(arguments: &[&str]) -> Run {
    assert!(
        std::env::var_os("SOLRCLOUD_DIR").is_some(),
        "no SolrCloud here: run `make solr-tests`"
    );
    let script = Path::new(HERE).join("tests/solrcloud/solrcloud");
    finish(Command::new(script).args(arguments), b"")
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
        self.post("update", r#"{"commit":{}}"#);
    }

    /// Takes out all that is in it.
    pub fn clear(&self) {
        self.post("update", r#"{"delete":{"query":"*:*"},"commit":{}}"#);
    }

    /// Posts JSON to a handler of the collection, which takes it.
    #[track_caller]
    pub fn post(&self, handler: &str, body: &str) {
        let url = format!("{}/{}/{handler}", self.urls[0], self.name);
        let post = self.agent.post(url).header("Content-Type", "application/json");
        post.send(body).expect("it is taken");
    }

    /// What a search there finds, by id, with these parameters more.
    pub fn docs_in(&self, base: &str, more: &str) -> BTreeMap<String, Value> {
        self.fields_in(base, "id,price_i,stock_i,name_s", more)
    }

    /// These fields, with commas, of what a search there finds.
    #[track_caller]
    pub fn fields_in(&self, base: &str, fields: &str, more: &str) -> BTreeMap<String, Value> {
        let (docs, found) = self.counted_in(base, fields, more);
        assert_eq!(found, docs.len() as u64, "{base} has as many documents as ids");
        docs
    }

    /// The same, and how many documents it says there are: while it shows what it has recovered, one
    /// page is older than another; and in its index an id may stand twice.
    pub fn counted_in(
        &self,
        base: &str,
        fields: &str,
        more: &str,
    ) -> (BTreeMap<String, Value>, u64) {
        let mut docs = BTreeMap::new();
        let mut cursor = "*".to_owned();
        loop {
            let query = format!("q=*:*&sort=id+asc&rows=10000&fl={fields}&wt=json");
            let url = format!("{base}/select?{query}{more}&cursorMark={}", escaped(&cursor));
            let answer: Value = serde_json::from_str(&self.get(&url)).unwrap();
            for doc in answer["response"]["docs"].as_array().unwrap() {
                docs.insert(doc["id"].as_str().unwrap().to_owned(), doc.clone());
            }
            let next = answer["nextCursorMark"].as_str().unwrap();
            if next == cursor {
                return (docs, answer["response"]["numFound"].as_u64().expect("a number"));
            }
            cursor = next.to_owned();
        }
    }

    /// CLUSTERSTATUS as it is, and as we read it.
    pub fn state(&self) -> (Value, Cluster) {
        let query = format!("action=CLUSTERSTATUS&collection={}&wt=json", self.name);
        let ask = |node: &String| self.try_get(&format!("{node}/admin/collections?{query}"));
        let text = wait_for_some("a node answers", || self.urls.iter().find_map(ask));
        let read = ::cluster::read(text.as_bytes(), &self.name).expect("it can be read");
        (serde_json::from_str(&text).unwrap(), read)
    }

    /// The replicas of each shard, as CLUSTERSTATUS has them.
    pub fn replicas(&self) -> Vec<(String, Vec<Value>)> {
        let state = self.state().0;
        let shards = &state["cluster"]["collections"][&self.name]["shards"];
        let replicas =
            |shard: &Value| shard["replicas"].as_object().unwrap().values().cloned().collect();
        let shards = shards.as_object().expect("shards by name").iter();
        shards.map(|(name, shard)| (name.clone(), replicas(shard))).collect()
    }

    /// Restarts the nodes that have a replica which is not active: now and then one that lost ZooKeeper
    /// thinks that it leads, or a shard has no leader, and neither ever recovers. Where all are, it is one that is
    /// active and refuses what its leader passes on ("but we are the leader"): the nodes of those that do not lead, then,
    /// one after the other. Answers how many.
    pub fn revive(&self) -> usize {
        let replicas = self.replicas();
        let all = || replicas.iter().flat_map(|(_, replicas)| replicas);
        let ill: Vec<&Value> = all().filter(|r| r["state"] != "active").collect();
        let (what, ill) = match ill.as_slice() {
            [] => ("does not lead", all().filter(|r| r["leader"] != "true").collect()),
            _ => ("has not recovered", ill),
        };
        let nodes: BTreeSet<&str> = ill.iter().map(|r| r["base_url"].as_str().unwrap()).collect();
        for node in &nodes {
            println!("a replica on {node} {what}: its node is restarted");
            let number = self.urls.iter().position(|url| url == node).expect("a node") + 1;
            solrcloud(&["stop", &number.to_string()]);
            solrcloud(&["start", &number.to_string()]);
            self.are_all_active_within(MINUTES);
        }
        nodes.len()
    }

    /// Waits until all replicas are active. After ZooKeeper was gone, Solr may take some minutes.
    #[track_caller]
    pub fn wait_until_all_are_active(&self) {
        assert!(
            self.are_all_active_within(MINUTES),
            "waited {MINUTES:?}: not all replicas are active"
        );
    }

    /// Whether all replicas are active before this time is over.
    pub fn are_all_active_within(&self, time: Duration) -> bool {
        let by = Instant::now() + time;
        let all_active = || {
            let (state, read) = self.state();
            let live = state["cluster"]["live_nodes"].as_array().unwrap();
            let mut all = self.replicas().into_iter().flat_map(|(_, replicas)| replicas);
            all.all(|r| r["state"] == "active" && live.contains(&r["node_name"]))
                && read.collection.leaders.iter().all(Option::is_some)
        };
        while !all_active() {
            if Instant::now() >= by {
                return false;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        true
    }
}

/// The URL of a replica's core.
pub fn core(replica: &Value) -> String {
    format!("{}/{}", replica["base_url"].as_str().unwrap(), replica["core"].as_str().unwrap())
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
