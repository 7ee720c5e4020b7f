//! What the nodes share, under one lock: the documents, who leads which shard, and how each node
//! behaves.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::route;

/// How a node behaves, whatever it is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// As it should.
    Up,
    /// Its process is gone: connections are reset, new ones refused.
    Down,
    /// It answers every request with this.
    Status {
        /// The HTTP status.
        code: u16,
        /// Its header.
        content_type: &'static str,
        /// Its body.
        body: &'static str,
    },
    /// It takes every request and answers none; what waits in it is dropped at the end of this.
    Stall,
    /// It takes so long for each request.
    Slow(Duration),
    /// It keeps updates waiting, and carries them out at the end of this. It says what CLUSTERSTATUS
    /// asks.
    Hold,
    /// It takes documents and does not say which.
    ReceiptsMissing,
    /// It has no such collection.
    NoCollection,
}

/// What becomes of one update, instead of Solr's own answer.
#[derive(Debug, Clone)]
pub enum Play {
    /// This status, content type and body.
    Answer(u16, &'static str, String),
    /// The update is carried out and the connection closed without an answer.
    CloseAfter,
    /// No answer for so long, then the connection is closed.
    Silence(Duration),
    /// A 200 that lost the documents.
    Lost,
    /// It waits for [`FakeSolr::release`](crate::FakeSolr::release), then as usual.
    Hold,
    /// As usual.
    Well,
}

/// What a node answers to CLUSTERSTATUS.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterStatus {
    /// What is so.
    True,
    /// What was so when the node was told this.
    Stale,
    /// What is so, after so long.
    Slow(Duration),
    /// 400, `Collection: c not found`.
    NoCollection,
    /// 400, as a Solr without ZooKeeper.
    NotSolrCloud,
    /// This status, content type and body.
    Answer(u16, &'static str, String),
}

/// How a collection finds a document's shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Router {
    /// By the hash of its id.
    CompositeId,
    /// By the hash of this field (`router.field`); a delete goes to all shards.
    Field(String),
    /// Not at all: it stays where it was sent.
    Implicit,
}

/// One node: how it is told to behave, and what it has seen.
#[derive(Debug)]
pub struct Node {
    /// Head and body of each request but those for CLUSTERSTATUS. (Not with
    /// [`FakeSolr::up`](crate::FakeSolr::up), which may be fed gigabytes.)
    pub requests: Vec<(String, String)>,
    /// Played when nothing else is.
    pub always: Option<Play>,
    /// How many connections it has taken.
    pub connections: usize,
    /// Bodies longer than this break the connection.
    pub refuse_over: Option<usize>,
    pub(crate) url: String,
    pub(crate) mode: Mode,
    pub(crate) plays: VecDeque<Play>,
    /// How often it was told to let go what is held.
    pub(crate) releases: u64,
    pub(crate) tells: ClusterStatus,
    pub(crate) stale: Option<Map>,
    pub(crate) keeps_requests: bool,
    pub(crate) updates: usize,
    pub(crate) asked: usize,
    pub(crate) looked_up: usize,
    pub(crate) described: usize,
    pub(crate) taken: usize,
    pub(crate) forwarded: usize,
    pub(crate) load: Load,
    /// The living connections, to be cut.
    pub(crate) living: HashMap<u64, TcpStream>,
    pub(crate) next_connection: u64,
}

/// How many updates are under way, and were at most.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) now: usize,
    pub(crate) most: usize,
}

impl Load {
    pub(crate) fn add(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }
}

/// What ZooKeeper knows.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    /// `None`: whatever it is called.
    pub(crate) name: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) router: Router,
    pub(crate) read_only: bool,
    pub(crate) shards: Vec<Shard>,
    /// Which nodes have a session.
    pub(crate) live: Vec<bool>,
    /// Counts changes.
    pub(crate) version: u64,
    cores: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) name: String,
    pub(crate) range: (i32, i32),
    pub(crate) active: bool,
    pub(crate) replicas: Vec<Replica>,
    /// Its leader, one of the replicas.
    pub(crate) leader: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Replica {
    pub(crate) node: usize,
    pub(crate) number: usize,
}

/// A shard's replica: indices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Core {
    pub(crate) shard: usize,
    pub(crate) replica: usize,
}

impl Map {
    /// A shard for each of these nodes, which leads it.
    pub(crate) fn new(name: Option<&str>, nodes: usize, leaders: &[usize]) -> Map {
        let mut map = Map {
            name: name.map(str::to_owned),
            aliases: Vec::new(),
            router: Router::CompositeId,
            read_only: false,
            shards: Vec::new(),
            live: vec![true; nodes],
            version: 0,
            cores: 0,
        };
        for (shard, range) in route::ranges(leaders.len()).into_iter().enumerate() {
            map.add_shard(format!("shard{}", shard + 1), range, leaders[shard]);
        }
        map
    }

    fn add_shard(&mut self, name: String, range: (i32, i32), leader: usize) -> usize {
        let shard = Shard { name, range, active: true, replicas: Vec::new(), leader: None };
        self.shards.push(shard);
        self.lead(self.shards.len() - 1, leader);
        self.shards.len() - 1
    }

    /// The shard has a replica there; where in its list.
    pub(crate) fn add_replica(&mut self, shard: usize, node: usize) -> usize {
        assert!(node < self.live.len(), "there is no node {node}");
        let replicas = &mut self.shards[shard].replicas;
        if let Some(there) = replicas.iter().position(|r| r.node == node) {
            return there;
        }
        self.cores += 1;
        replicas.push(Replica { node, number: self.cores });
        replicas.len() - 1
    }

    pub(crate) fn lead(&mut self, shard: usize, node: usize) {
        self.live[node] = true;
        self.shards[shard].leader = Some(self.add_replica(shard, node));
    }

    pub(crate) fn remove_replica(&mut self, shard: usize, node: usize) {
        let shard = &mut self.shards[shard];
        let leader = shard.leader.map(|replica| shard.replicas[replica].node);
        shard.replicas.retain(|replica| replica.node != node);
        shard.leader = shard.replicas.iter().position(|r| Some(r.node) == leader);
    }

    pub(crate) fn split(&mut self, shard: usize) -> [usize; 2] {
        let node = self.leader(shard).expect("a shard without a leader cannot be split");
        let node = self.node(node);
        self.shards[shard].active = false;
        let Shard { name, range, .. } = self.shards[shard].clone();
        let halves = route::split(range, 2);
        [0, 1].map(|half| self.add_shard(format!("{name}_{half}"), halves[half], node))
    }

    /// A shard's leader, if it has one and ZooKeeper takes it for alive.
    pub(crate) fn leader(&self, shard: usize) -> Option<Core> {
        let replica = self.shards[shard].leader?;
        let core = Core { shard, replica };
        self.live[self.node(core)].then_some(core)
    }

    /// Where a core is.
    pub(crate) fn node(&self, core: Core) -> usize {
        self.shards[core.shard].replicas[core.replica].node
    }

    pub(crate) fn cores(&self) -> impl Iterator<Item = Core> + '_ {
        self.shards.iter().enumerate().flat_map(|(shard, of)| {
            (0..of.replicas.len()).map(move |replica| Core { shard, replica })
        })
    }

    pub(crate) fn core_name(&self, collection: &str, core: Core) -> String {
        let Shard { name, replicas, .. } = &self.shards[core.shard];
        format!("{collection}_{name}_replica_n{}", replicas[core.replica].number)
    }

    /// The active shard of this text's hash. (With only one there is nothing to hash.)
    pub(crate) fn shard_of(&self, text: &str) -> usize {
        let mut active = self.shards.iter().enumerate().filter(|(_, shard)| shard.active);
        if let (Some((only, _)), None) = (active.next(), active.next()) {
            return only;
        }
        let hash = route::hash(text);
        let is_home = |s: &Shard| s.active && (s.range.0..=s.range.1).contains(&hash);
        self.shards.iter().position(is_home).expect("the active shards have all hashes")
    }

    /// The collection that goes by this name.
    pub(crate) fn collection(&self, called: &str) -> Option<String> {
        match &self.name {
            None => Some(called.to_owned()),
            Some(name) if name == called || self.is_alias(called) => Some(name.clone()),
            Some(_) => None,
        }
    }

    pub(crate) fn is_alias(&self, called: &str) -> bool {
        self.aliases.iter().any(|alias| alias == called)
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) docs: BTreeMap<String, Value>,
    /// The ids of all documents and deletes taken, in their order, those taken again too.
    pub(crate) order: Vec<String>,
    pub(crate) version: i64,
    /// Its clock is so many milliseconds ahead.
    pub(crate) ahead: i64,
    /// No document is at fault any more.
    pub(crate) mended: bool,
    pub(crate) schema: Option<Value>,
    /// How whoever asks for it is met.
    pub(crate) holds_schema: Option<Mode>,
    /// The version of each document that is there.
    pub(crate) versions: HashMap<String, i64>,
    pub(crate) map: Map,
    pub(crate) nodes: Vec<Node>,
    /// The shards' loads: of updates sent to one of their cores.
    pub(crate) loads: Vec<Load>,
}

impl State {
    /// The next version, of which Solr's clock is in the upper bits (`VersionInfo.getNewClock`).
    pub(crate) fn next_version(&mut self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        self.version = ((since.as_millis() as i64 + self.ahead) << 20).max(self.version + 1);
        self.version
    }

    pub(crate) fn new(map: Map, urls: Vec<String>, keeps_requests: bool) -> State {
        let node = |url| Node {
            requests: Vec::new(),
            always: None,
            connections: 0,
            refuse_over: None,
            url,
            mode: Mode::Up,
            plays: VecDeque::new(),
            releases: 0,
            tells: ClusterStatus::True,
            stale: None,
            keeps_requests,
            updates: 0,
            asked: 0,
            looked_up: 0,
            described: 0,
            taken: 0,
            forwarded: 0,
            load: Load::default(),
            living: HashMap::new(),
            next_connection: 0,
        };
        State {
            docs: BTreeMap::new(),
            order: Vec::new(),
            version: 0,
            ahead: 0,
            mended: false,
            schema: None,
            holds_schema: None,
            versions: HashMap::new(),
            loads: vec![Load::default(); map.shards.len()],
            nodes: urls.into_iter().map(node).collect(),
            map,
        }
    }
}

/// The state, and who waits for a change of it.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) changed: Condvar,
}

impl Shared {
    pub(crate) fn new(state: State) -> Shared {
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits for the next change of any kind, `most` at most.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        most: Duration,
    ) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, most).unwrap_or_else(|e| e.into_inner()).0
    }
}
