//! Reads the answer to CLUSTERSTATUS.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;

use crate::{Cluster, Collection, Layout, Router, Shard};

/// Why an answer says nothing of the collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It has no collection of that name, nor an alias of one.
    NoCollection,
    /// It is a Solr without a cloud.
    NotCloud,
    /// Something else, in one line.
    Other(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::NoCollection => f.write_str("no such collection"),
            Unread::NotCloud => f.write_str("this Solr is not a SolrCloud"),
            Unread::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Unread {}

#[derive(Deserialize)]
struct Answer {
    cluster: Option<Status>,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    msg: String,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
struct Status {
    live_nodes: BTreeSet<String>,
    #[serde(default)]
    collections: BTreeMap<String, CollectionState>,
    /// What each alias stands for, with commas.
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
struct CollectionState {
    #[serde(default)]
    router: Value,
    #[serde(default, rename = "readOnly")]
    read_only: Value,
    #[serde(default, rename = "creationTimeMillis")]
    created: Value,
    shards: BTreeMap<String, ShardState>,
}

#[derive(Deserialize)]
struct ShardState {
    range: Option<String>,
    state: Option<String>,
    #[serde(default)]
    replicas: BTreeMap<String, Replica>,
}

#[derive(Deserialize)]
struct Replica {
    core: String,
    node_name: String,
    base_url: Option<String>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    leader: Value,
    /// None is NRT, as all were once.
    r#type: Option<String>,
}

/// Reads the answer to `GET /solr/admin/collections?action=CLUSTERSTATUS&collection=NAME&wt=json`.
pub fn read(json: &[u8], collection: &str) -> Result<Cluster, Unread> {
    let answer: Answer = serde_json::from_slice(json)
        .map_err(|e| Unread::Other(format!("not an answer to CLUSTERSTATUS: {e}")))?;
    let status = match answer {
        Answer { error: Some(fault), .. } => return Err(fault.judge(collection)),
        Answer { cluster: Some(status), .. } => status,
        Answer { cluster: None, error: None } => {
            return Err(Unread::Other("not an answer to CLUSTERSTATUS: no `cluster`".to_owned()));
        }
    };
    let (name, why_not) = status.behind(collection);
    let mut replicas = Vec::new();
    let (layout, leaders, read_only, created) = match (status.collections.get(name), &why_not) {
        (Some(state), _) => {
            let (router, mut shards) = state.layout(name)?;
            shards.sort_by_key(order);
            let router = why_not.or_else(|| overlap(&shards)).map_or(router, Router::Other);
            replicas = shards.iter().map(|s| state.shards[&s.name].takers()).collect();
            let leaders = shards.iter().map(|s| status.leader(&state.shards[&s.name])).collect();
            let layout = Layout { collection: name.to_owned(), router, shards };
            (layout, leaders, is_true(&state.read_only), state.created.as_u64())
        }
        (None, Some(why)) => {
            let router = Router::Other(why.clone());
            (Layout { collection: name.to_owned(), router, shards: vec![] }, vec![], false, None)
        }
        (None, None) => return Err(Unread::NoCollection), // an alias of what is gone
    };
    let alias = status.aliases.contains_key(collection);
    let name = name.to_owned();
    let collection = Collection { name, alias, layout, leaders, replicas, read_only, created };
    let mut live: Vec<String> = status.live_nodes.iter().map(|n| status.base_url(n)).collect();
    live.sort();
    live.dedup();
    Ok(Cluster { live, collection })
}

impl Fault {
    fn judge(self, collection: &str) -> Unread {
        let unknown = self.metadata.to_string().contains("\"NOT_FOUND\"");
        if unknown || self.msg == format!("Collection: {collection} not found") {
            Unread::NoCollection
        } else if self.msg.contains("SolrCloud mode") {
            Unread::NotCloud
        } else {
            let line = self.msg.split_whitespace().collect::<Vec<_>>().join(" ");
            Unread::Other(line.chars().take(300).collect())
        }
    }
}

impl Status {
    /// The collection that updates to this name go to, and why they cannot be routed here.
    ///
    /// An alias wins over a collection of the same name, though CLUSTERSTATUS shows that one; and
    /// it may stand for another alias, which CLUSTERSTATUS does not follow.
    fn behind<'a>(&'a self, asked: &'a str) -> (&'a str, Option<String>) {
        let names = |of: &str| -> Option<Vec<&'a str>> {
            Some(self.aliases.get(of)?.split(',').map(str::trim).collect())
        };
        let first = names(asked).unwrap_or_else(|| vec![asked]);
        let second = if first[0] == asked { None } else { names(first[0]) };
        let name = second.as_ref().unwrap_or(&first)[0];
        let why_not = if first.len() > 1 {
            Some(format!("an alias of {} collections", first.len()))
        } else if second.is_some() {
            Some("an alias of an alias".to_owned())
        } else if name != asked && self.collections.contains_key(asked) {
            Some("an alias with the name of a collection".to_owned())
        } else if ["__TRA__", "__CRA__"].iter().any(|infix| name.contains(infix)) {
            Some("a collection of a routed alias".to_owned()) // its cores send documents to others
        } else {
            None
        };
        (name, why_not)
    }

    /// The URL of the shard's leader, if it leads indeed.
    fn leader(&self, shard: &ShardState) -> Option<String> {
        let leads = |replica: &&Replica| {
            is_true(&replica.leader)
                && replica.state.eq_ignore_ascii_case("active")
                && self.live_nodes.contains(&replica.node_name)
        };
        let leader = shard.replicas.values().find(leads)?;
        let base = match &leader.base_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => self.base_url(&leader.node_name),
        };
        Some(format!("{base}/{}", leader.core))
    }

    fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.collections.values().flat_map(|c| c.shards.values()).flat_map(|s| s.replicas.values())
    }

    /// A node's base URL, from a replica on it, or from its name: `host:port_solr`.
    fn base_url(&self, node: &str) -> String {
        let on_it = self.replicas().filter(|replica| replica.node_name == node);
        if let Some(url) = on_it.filter_map(|replica| replica.base_url.as_deref()).next() {
            return url.trim_end_matches('/').to_owned();
        }
        let said = self.properties["urlScheme"].as_str();
        let seen = || self.replicas().find_map(|replica| replica.base_url.as_deref());
        let scheme = said.or_else(|| Some(seen()?.split_once("://")?.0)).unwrap_or("http");
        // A host may have a `_`, a port not. What follows is the path, URL-encoded.
        let port = node.rfind(':').unwrap_or(0);
        let (host, path) = match node[port..].find('_') {
            Some(at) => (&node[..port + at], node[port + at + 1..].replace("%2F", "/")),
            None => (node, "solr".to_owned()),
        };
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{scheme}://{host}{slash}{path}")
    }
}

impl ShardState {
    /// How many replicas take updates. (One of type PULL copies the index.)
    fn takers(&self) -> usize {
        let pulls = |replica: &&Replica| replica.r#type.as_deref() == Some("PULL");
        self.replicas.len() - self.replicas.values().filter(pulls).count()
    }
}

impl CollectionState {
    /// Who routes, and the shards that take updates.
    fn layout(&self, name: &str) -> Result<(Router, Vec<Shard>), Unread> {
        let field = self.router["field"].as_str().map(str::to_owned);
        let router = match (&self.router, self.router["name"].as_str()) {
            (Value::Null, _) => Router::CompositeId { field: None },
            (_, Some("compositeId")) => Router::CompositeId { field },
            (_, Some("implicit")) => Router::Implicit { field },
            (_, Some(other)) => Router::Other(format!("router {other}")),
            (other, None) => Router::Other(format!("router {other}")), // of Solr 4
        };
        let mut shards = Vec::new();
        for (shard, state) in &self.shards {
            // During a split the parent is active until its parts are, and it feeds them.
            if state.state.as_deref().is_none_or(|state| state.eq_ignore_ascii_case("active")) {
                let range =
                    state.range.as_deref().map(range).unwrap_or(Ok(None)).map_err(|()| {
                        Unread::Other(format!(
                            "{name}, {shard}: no range of hashes: {:?}",
                            state.range
                        ))
                    })?;
                shards.push(Shard { name: shard.clone(), range });
            }
        }
        Ok((router, shards))
    }
}

/// `80000000-d554ffff`: signed numbers in hex. None if nothing lies between the two.
fn range(text: &str) -> Result<Option<RangeInclusive<i32>>, ()> {
    let (first, last) = text.split_once('-').ok_or(())?;
    let hex = |digits| u32::from_str_radix(digits, 16).map(|n| n as i32).map_err(|_| ());
    let range = hex(first)?..=hex(last)?;
    Ok(Some(range).filter(|range| !range.is_empty()))
}

/// By range, those without one last, by name.
fn order(shard: &Shard) -> (bool, i32, String) {
    let start = shard.range.as_ref().map(|range| *range.start());
    (start.is_none(), start.unwrap_or_default(), shard.name.clone())
}

/// Says which shards' ranges overlap; then it is chance where Solr puts what is in both.
fn overlap(shards: &[Shard]) -> Option<String> {
    let ranges = |pair: &[Shard]| Some((pair[0].range.clone()?, pair[1].range.clone()?));
    let overlap = |pair: &&[Shard]| ranges(pair).is_some_and(|(a, b)| a.end() >= b.start());
    let pair = shards.windows(2).find(overlap)?;
    Some(format!("the ranges of {} and {} overlap", pair[0].name, pair[1].name))
}

/// Solr's booleans come as `"true"` too.
fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || *value == "true"
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
