//! CLUSTERSTATUS: the map, in the words of a real Solr.

use serde_json::{Map as Object, Value, json};

use crate::http::{Answer, Request};
use crate::state::{ClusterStatus, Map, Node, Router, Shard, State};

/// A node's answer, as it is told to have it. (What is slow has been waited for.)
pub(crate) fn answer(state: &State, node: usize, request: &Request) -> Answer {
    let called = called(request);
    let told = &state.nodes[node];
    let map = match &told.tells {
        ClusterStatus::NoCollection => return unknown(request),
        ClusterStatus::NotSolrCloud => {
            let message = "Solr instance is not running in SolrCloud mode.";
            return Answer::error(400, message, json!({}));
        }
        ClusterStatus::Answer(code, content_type, body) => {
            return Answer { code: *code, content_type, body: body.clone() };
        }
        ClusterStatus::Stale => told.stale.as_ref().expect("kept when it was told"),
        ClusterStatus::True | ClusterStatus::Slow(_) => &state.map,
    };
    let Some(name) = map.collection(called) else { return unknown(request) };
    Answer::json(cluster(map, &state.nodes, called, &name))
}

/// What is said of a collection that is not there.
pub(crate) fn unknown(request: &Request) -> Answer {
    Answer::error(400, &format!("Collection: {} not found", called(request)), json!({}))
}

fn called(request: &Request) -> &str {
    request.parameter("collection").unwrap_or("c")
}

fn cluster(map: &Map, nodes: &[Node], called: &str, name: &str) -> Value {
    let live = nodes.iter().zip(&map.live).filter(|(_, live)| **live);
    let live: Vec<String> = live.map(|(node, _)| node_name(node)).collect();
    let mut collection = json!({
        "pullReplicas": "0", "configName": "strict", "replicationFactor": 1,
        "router": router(&map.router), "nrtReplicas": 1, "tlogReplicas": "0",
        "shards": shards(map, nodes, name), "health": "GREEN", "znodeVersion": map.version,
        "creationTimeMillis": 1_795_424_088_892_u64,
    });
    if map.read_only {
        collection["readOnly"] = json!("true");
    }
    if !map.aliases.is_empty() && called == name {
        collection["aliases"] = json!(map.aliases);
    }
    let mut cluster = json!({
        "live_nodes": live, "collections": {name: collection}, "properties": {}, "roles": {},
    });
    if !map.aliases.is_empty() {
        let pairs = map.aliases.iter().map(|alias| (alias.clone(), json!(name)));
        cluster["aliases"] = Value::Object(pairs.collect());
    }
    json!({"responseHeader": {"status": 0, "QTime": 2}, "cluster": cluster})
}

fn router(router: &Router) -> Value {
    match router {
        Router::CompositeId => json!({"name": "compositeId"}),
        Router::Field(field) => json!({"name": "compositeId", "field": field}),
        Router::Implicit => json!({"name": "implicit", "field": null}),
    }
}

fn shards(map: &Map, nodes: &[Node], collection: &str) -> Value {
    let mut shards = Object::new();
    for (number, Shard { name, range, active, leader, .. }) in map.shards.iter().enumerate() {
        let mut replicas = Object::new();
        for core in map.cores().filter(|core| core.shard == number) {
            let node = map.node(core);
            let mut replica = json!({
                "core": map.core_name(collection, core), "node_name": node_name(&nodes[node]),
                "type": "NRT", "state": if map.live[node] { "active" } else { "down" },
                "force_set_state": "false", "base_url": nodes[node].url,
            });
            // One whose node has died keeps it.
            if *leader == Some(core.replica) {
                replica["leader"] = json!("true");
            }
            let number = map.shards[number].replicas[core.replica].number;
            replicas.insert(format!("core_node{}", number + 1), replica);
        }
        let range = match map.router {
            Router::Implicit => Value::Null,
            _ => json!(format!("{:x}-{:x}", range.0, range.1)),
        };
        let state = if *active { "active" } else { "inactive" };
        let shard = json!({
            "range": range, "state": state, "replicas": replicas, "health": "GREEN",
        });
        shards.insert(name.clone(), shard);
    }
    Value::Object(shards)
}

/// `http://127.1.2.3:20000/solr` → `127.1.2.3:20000_solr`.
fn node_name(node: &Node) -> String {
    node.url.trim_start_matches("http://").replace('/', "_")
}
