//! A cluster: nodes, and a collection `c` in shards.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use serde_json::Value;

use crate::node::{FakeSolr, Running, own_address};
use crate::state::{ClusterStatus, Map, Router, State};

/// Nodes that have collection `c` together. Nodes and shards are known by their numbers, from 0.
///
/// ```
/// # use fake_solr::{FakeCluster, Mode};
/// let cluster = FakeCluster::start(2);
/// cluster.node(1).turn(Mode::Down); // CLUSTERSTATUS does not know it yet
/// cluster.end_session(1); // now it does: shard 1 has no leader
/// cluster.lead(1, 0); // node 0 leads both
/// ```
pub struct FakeCluster {
    running: Arc<Running>,
    nodes: Vec<FakeSolr>,
}

impl FakeCluster {
    /// As many nodes as shards, each leading one.
    pub fn start(shards: usize) -> FakeCluster {
        FakeCluster::of(shards, &(0..shards).collect::<Vec<_>>())
    }

    /// So many nodes, and a shard for each of `leaders`, the node that leads it. Each shard has an
    /// equal part of all hashes.
    pub fn of(nodes: usize, leaders: &[usize]) -> FakeCluster {
        let listener = |_| TcpListener::bind(own_address()).expect("an address of our own");
        let listeners = (0..nodes).map(listener).collect();
        let running = Running::start(listeners, Map::new(Some("c"), nodes, leaders), true);
        let nodes = (0..nodes).map(|node| FakeSolr::of(&running, node)).collect();
        FakeCluster { running, nodes }
    }

    /// A node, to be told how to behave and asked what it has had.
    pub fn node(&self, node: usize) -> &FakeSolr {
        &self.nodes[node]
    }

    /// All nodes' URLs, as the configuration names them.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(FakeSolr::url).collect()
    }

    // --- what becomes of it ---------------------------------------------------------------------

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.running.shared.lock();
        state.map.version += 1;
        change(&mut state)
    }

    /// The node leads the shard from now on; who did so before follows. Its session is back.
    pub fn lead(&self, shard: usize, node: usize) {
        self.change(|state| state.map.lead(shard, node));
    }

    /// The node has a replica of the shard, which follows.
    pub fn follow(&self, shard: usize, node: usize) {
        self.change(|state| state.map.add_replica(shard, node));
    }

    /// The node has no core of the shard any more.
    pub fn remove(&self, shard: usize, node: usize) {
        self.change(|state| state.map.remove_replica(shard, node));
    }

    /// The shard has no leader any more; its replicas stay.
    pub fn lose_leader(&self, shard: usize) {
        self.change(|state| state.map.shards[shard].leader = None);
    }

    /// ZooKeeper takes the node for dead: it is no live node, and leads nothing. (A node that is
    /// [`Mode::Down`](crate::Mode::Down) has its session until this.)
    pub fn end_session(&self, node: usize) {
        self.change(|state| state.map.live[node] = false);
    }

    /// Splits a shard: it is inactive from now on, and these two have its documents, led by the
    /// same node.
    pub fn split(&self, shard: usize) -> [usize; 2] {
        self.change(|state| {
            let halves = state.map.split(shard);
            state.loads.resize_with(state.map.shards.len(), Default::default);
            halves
        })
    }

    /// How the collection finds a document's shard.
    pub fn route_by(&self, router: Router) {
        self.change(|state| state.map.router = router);
    }

    /// Another name of the collection.
    pub fn alias(&self, name: &str) {
        self.change(|state| state.map.aliases.push(name.into()));
    }

    /// Whether the collection refuses updates.
    pub fn set_read_only(&self, read_only: bool) {
        self.change(|state| state.map.read_only = read_only);
    }

    /// What every node says of the cluster from now on.
    pub fn tell(&self, status: ClusterStatus) {
        self.nodes.iter().for_each(|node| node.tell(status.clone()));
    }

    // --- what it is asked -----------------------------------------------------------------------

    /// The node that leads a shard.
    pub fn leader(&self, shard: usize) -> Option<usize> {
        let state = self.running.shared.lock();
        state.map.leader(shard).map(|core| state.map.node(core))
    }

    /// Where the core of a shard on a node takes updates, but for `/update`.
    pub fn core_url(&self, shard: usize, node: usize) -> Option<String> {
        let map = &self.running.shared.lock().map;
        let core = map.cores().find(|core| core.shard == shard && map.node(*core) == node)?;
        Some(format!("{}/{}", self.nodes[node].url, map.core_name("c", core)))
    }

    /// The shard of an id without `!`.
    pub fn shard_of(&self, id: &str) -> usize {
        self.running.shared.lock().map.shard_of(id)
    }

    /// So many ids of a shard, out of `d0`, `d1` and so on.
    pub fn ids_of(&self, shard: usize, n: usize) -> Vec<String> {
        let ids = (0..).map(|i| format!("d{i}"));
        ids.filter(|id| self.shard_of(id) == shard).take(n).collect()
    }

    /// What it has, by id.
    pub fn docs(&self) -> BTreeMap<String, Value> {
        self.nodes[0].docs()
    }

    /// The ids of all documents and deletes taken, in that order, those taken again too.
    pub fn order(&self) -> Vec<String> {
        self.nodes[0].order()
    }

    /// How many documents and deletes it has taken, those taken again counted again.
    pub fn taken(&self) -> usize {
        self.nodes.iter().map(FakeSolr::taken).sum()
    }

    /// How many documents and deletes were not sent to their shard's leader.
    pub fn forwarded(&self) -> usize {
        self.nodes.iter().map(FakeSolr::forwarded).sum()
    }

    /// How many updates to a core of this shard are under way.
    pub fn under_way(&self, shard: usize) -> usize {
        self.running.shared.lock().loads[shard].now
    }

    /// How many were at one time, at most.
    pub fn most_under_way(&self, shard: usize) -> usize {
        self.running.shared.lock().loads[shard].most
    }
}
