//! What Solr itself says to an update, asked without the daemon: the facts that its receipts rest
//! on, in the form that it asks for (`versions=true&wt=json&json.nl=flat&indent=off`).
//!
//! None of it is documented, and all of it was seen on one version. A Solr that answers otherwise
//! makes a test here fail, and the test's name says which fact is gone.
//!
//! In bodies and answers `@` stands for an id of shard1, `~` for one of shard2, that no other test
//! uses: `@1`, `@bad`.

mod dropped;
mod forwarded;
mod listed;
mod mangled;
mod refused;
mod versions;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::cluster::Collection;
use crate::common::wait_for_some;

const FORM: &str = "versions=true&wt=json&json.nl=flat&indent=off";

/// `rf` where no replica confirmed anything.
const NOBODY: Option<i64> = Some(2_147_483_647);

/// The places that an update may be sent to.
struct Solr {
    /// The core of shard1's leader: where the daemon sends what belongs to shard1.
    leader: Core,
    /// The core of shard1's other replica.
    follower: Core,
    /// The core of shard2's leader, wrong for what belongs to shard1.
    wrong: Core,
    /// The collection, on the node that does not lead shard1.
    elsewhere: Core,
    /// Held as long as it is asked.
    collection: Collection,
}

/// A URL that takes updates and queries.
struct Core {
    url: String,
    agent: ureq::Agent,
    ids: Ids,
}

/// What `@` and `~` stand for in one test.
#[derive(Clone)]
struct Ids {
    shard1: String,
    shard2: String,
}

/// An answer, its ids as the test wrote them.
#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
    json: Value,
}

/// The cluster with all its replicas, and ids that are new.
#[track_caller]
fn solr() -> Solr {
    let ids = Ids::new();
    let collection = Collection::shared();
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
    let agent = ureq::Agent::from(config.build());
    let ([leader, follower], [wrong, _]) = wait_for_some("all replicas are active", || {
        let cluster = status(&agent, &collection)?;
        Some((
            replicas(&cluster, &collection, "shard1")?,
            replicas(&cluster, &collection, "shard2")?,
        ))
    });
    let node = follower.rsplit_once('/').expect("a core's URL ends in its name").0;
    let elsewhere = format!("{node}/{}", collection.name());
    let core = |url: String| Core { url, agent: agent.clone(), ids: ids.clone() };
    Solr {
        leader: core(leader),
        follower: core(follower),
        wrong: core(wrong),
        elsewhere: core(elsewhere),
        collection,
    }
}

/// CLUSTERSTATUS of a collection, as a node tells it.
fn status(agent: &ureq::Agent, collection: &Collection) -> Option<Value> {
    let url = format!(
        "{}/admin/collections?action=CLUSTERSTATUS&wt=json&collection={}",
        collection.urls()[0],
        collection.name()
    );
    let text = agent.get(url).call().ok()?.body_mut().read_to_string().ok()?;
    Some(serde_json::from_str::<Value>(&text).ok()?["cluster"].take())
}

/// The core URLs of a shard's two replicas, the leader's first; none while one is not active.
fn replicas(cluster: &Value, collection: &Collection, shard: &str) -> Option<[String; 2]> {
    let live = cluster["live_nodes"].as_array()?;
    let replicas = &cluster["collections"][collection.name()]["shards"][shard]["replicas"];
    let mut replicas: Vec<&Value> = replicas.as_object()?.values().collect();
    replicas.sort_by_key(|replica| replica["leader"] != "true");
    let up = |r: &&Value| r["state"] == "active" && live.contains(&r["node_name"]);
    if replicas.first()?["leader"] != "true" || !replicas.iter().all(up) {
        return None;
    }
    let url = |r: &Value| Some(format!("{}/{}", r["base_url"].as_str()?, r["core"].as_str()?));
    Some([url(replicas[0])?, url(replicas[1])?])
}

impl Solr {
    /// The ids that are in shard1 after a commit, in their order, and the same in both replicas.
    #[track_caller]
    fn in_shard1(&self) -> Vec<String> {
        self.leader.commit();
        self.has(&self.leader.ids.shard1)
    }

    /// The ids that start so and can be seen in shard1: both of its replicas say the same.
    #[track_caller]
    fn has(&self, prefix: &str) -> Vec<String> {
        let ids = self.leader.ids(prefix);
        assert_eq!(self.follower.ids(prefix), ids, "in the follower");
        ids
    }

    /// The ids that are in shard2 after a commit, in their order.
    #[track_caller]
    fn in_shard2(&self) -> Vec<String> {
        self.leader.commit();
        let ids = self.wrong.ids(&self.leader.ids.shard2);
        ids.iter().map(|id| id.replacen('@', "~", 1)).collect()
    }
}

impl Core {
    /// The same place, and ids that are new.
    fn anew(&self) -> Core {
        Core { url: self.url.clone(), agent: self.agent.clone(), ids: Ids::new() }
    }

    /// Sends an update.
    #[track_caller]
    fn update(&self, body: impl AsRef<str>) -> Answer {
        self.update_as(FORM, body)
    }

    /// Sends an update with a parameter more.
    #[track_caller]
    fn update_with(&self, parameter: &str, body: impl AsRef<str>) -> Answer {
        self.update_as(&format!("{FORM}&{parameter}"), body)
    }

    /// Sends an update with these parameters alone.
    #[track_caller]
    fn update_as(&self, parameters: &str, body: impl AsRef<str>) -> Answer {
        let request = self.agent.post(format!("{}/update?{parameters}", self.url));
        let request = request.header("Content-Type", "application/json");
        let mut response = request.send(self.ids.spell(body.as_ref())).expect("an answer");
        let text = response.body_mut().read_to_string().expect("an answer to its end");
        let text = self.ids.shorten(&text);
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Answer { status: response.status().as_u16(), text, json }
    }

    #[track_caller]
    fn commit(&self) {
        let said = self.update(r#"{"commit":{}}"#);
        assert_eq!(said.status, 200, "{said:?}");
    }

    /// What this core alone has of ids that start so, in their order, with @ for the start.
    #[track_caller]
    fn ids(&self, prefix: &str) -> Vec<String> {
        let query =
            format!("q=%7B!prefix%20f=id%7D{prefix}&rows=10000&fl=id&sort=id%20asc&wt=json");
        let url = format!("{}/select?distrib=false&{query}", self.url);
        let text = self.agent.get(url).call().unwrap().body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let docs = answer["response"]["docs"].as_array().unwrap_or_else(|| panic!("{text}"));
        docs.iter().map(|doc| doc["id"].as_str().unwrap().replacen(prefix, "@", 1)).collect()
    }

    /// Asks for versions by real-time get, of this core alone (`distrib=false`) or as it likes.
    #[track_caller]
    fn get(&self, parameters: &str, ids: &[&str]) -> Value {
        let url = format!("{}/get?wt=json&json.nl=flat&fl=id,_version_{parameters}", self.url);
        let form: Vec<String> = ids.iter().map(|id| format!("id={}", self.ids.spell(id))).collect();
        let request = self.agent.post(url);
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let mut response = request.send(form.join("&")).expect("an answer");
        let text = self.ids.shorten(&response.body_mut().read_to_string().unwrap());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// Sends an update on a connection of its own, then `[]` on the same: the bytes that came,
    /// and whether the second was answered too.
    #[track_caller]
    fn update_twice(&self, body: &str) -> (String, bool) {
        let (host, path) = self.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut came = [String::new(), String::new()];
        for (answer, body) in came.iter_mut().zip([&self.ids.spell(body), "[]"]) {
            let request = format!(
                "POST /{path}/update?{FORM} HTTP/1.1\r\nHost: {host}\r\nContent-Type: \
                 application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            // A connection that is closed may be seen here or there.
            if stream.write_all(request.as_bytes()).is_ok() {
                answer_of(&mut reader, answer);
            }
        }
        let [first, second] = came;
        (self.ids.shorten(&first), second.starts_with("HTTP/1.1 200 "))
    }
}

/// Reads an answer by its Content-Length; without one, to the end of the connection.
fn answer_of(reader: &mut impl BufRead, answer: &mut String) {
    let mut length = u64::MAX;
    while !answer.ends_with("\r\n\r\n") && reader.read_line(answer).is_ok_and(|n| n > 0) {
        if let Some((_, n)) = answer.rsplit_once("Content-Length: ") {
            length = n.trim().parse().unwrap_or(length);
        }
    }
    let _ = reader.take(length).read_to_string(answer);
}

impl Ids {
    fn new() -> Ids {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let new = format!("{}-{}.", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // What is before a ! decides (compositeId): b hashes to 95de…, a to 3c25….
        Ids { shard1: format!("b!{new}"), shard2: format!("a!{new}") }
    }

    fn spell(&self, text: &str) -> String {
        text.replace('@', &self.shard1).replace('~', &self.shard2)
    }

    fn shorten(&self, text: &str) -> String {
        text.replace(&self.shard1, "@").replace(&self.shard2, "~")
    }
}

impl Answer {
    /// The ids of one of the flat lists; none if it is not there.
    #[track_caller]
    fn list<'a>(&'a self, name: &str) -> Vec<&'a str> {
        self.entries(name).into_iter().map(|(id, _)| id).collect()
    }

    #[track_caller]
    fn adds(&self) -> Vec<&str> {
        self.list("adds")
    }

    #[track_caller]
    fn deletes(&self) -> Vec<&str> {
        self.list("deletes")
    }

    /// The versions of all that is listed, the adds' first.
    #[track_caller]
    fn versions(&self) -> Vec<i64> {
        let all = self.entries("adds").into_iter().chain(self.entries("deletes"));
        all.map(|(_, version)| version).collect()
    }

    #[track_caller]
    fn entries<'a>(&'a self, name: &str) -> Vec<(&'a str, i64)> {
        let Some(list) = self.json.get(name) else { return Vec::new() };
        let list = list.as_array().unwrap_or_else(|| panic!("not flat: {self:?}"));
        let entry = |pair: &'a [Value]| Some((pair.first()?.as_str()?, pair.get(1)?.as_i64()?));
        let entries: Option<_> = list.chunks(2).map(entry).collect();
        entries.unwrap_or_else(|| panic!("not flat: {self:?}"))
    }

    /// Whether something is listed, and every version says that it was done here.
    #[track_caller]
    fn is_confirmed(&self) -> bool {
        !self.versions().is_empty() && !self.versions().contains(&0)
    }

    /// Whether something is listed, and no version says so.
    #[track_caller]
    fn is_forwarded(&self) -> bool {
        !self.versions().is_empty() && self.versions().iter().all(|version| *version == 0)
    }

    fn rf(&self) -> Option<i64> {
        self.json["responseHeader"]["rf"].as_i64()
    }

    fn message(&self) -> &str {
        self.json["error"]["msg"].as_str().unwrap_or_default()
    }
}
