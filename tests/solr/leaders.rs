//! Straight to the leader: no node passes on what it is sent. Solr's own metrics count it: where each
//! shard has one replica, each update request that a node makes to another is one more than we sent.

use serde_json::Value;

use crate::cluster::{Collection, offers, solrcloud};
use crate::common::{Daemon, Site, assert_same};

/// A collection of two shards with one replica each, on two nodes.
fn two_shards(name: &str) -> Collection {
    let collection = Collection::none_yet(name);
    solrcloud(&["create", name, "--shards", "2", "--replicas", "1"]);
    collection
}

/// How many update requests the cores of this collection have had, as all nodes say.
fn update_requests(collection: &Collection) -> u64 {
    let core = format!("solr.core.{}.", collection.name());
    let of_node = |url: &String| {
        let url = format!("{url}/admin/metrics?group=core&prefix=UPDATE./update.requests&wt=json");
        let mut answer = ureq::get(&url).call().expect("it tells its metrics");
        let answer: Value =
            serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        let metrics = answer["metrics"].as_object().expect("metrics").clone();
        let ours = metrics.into_iter().filter(|(name, _)| name.starts_with(&core));
        let counts = ours.map(|(_, values)| {
            let requests = &values["UPDATE./update.requests"];
            requests.as_u64().or_else(|| requests["count"].as_u64()).expect("a number")
        });
        counts.sum::<u64>()
    };
    collection.urls().iter().map(of_node).sum()
}

/// Delivers a delta; answers how many posts we made and how many update requests Solr has counted.
fn deliver(collection: &Collection, site: &Site, seed: &str) -> (u64, u64) {
    let before = update_requests(collection);
    let daemon = Daemon::start(site);
    let delta = offers(&["20000", seed, "--deletes", "50"]);
    site.hand_over("x.jsonl", &delta.text);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    let posts = status["totals"]["posts"].as_u64().unwrap();
    assert_eq!(status["totals"]["retries"], 0);
    daemon.stop();
    let requests = update_requests(collection) - before;
    assert_same(&collection.docs(), &delta.docs);
    (posts, requests)
}

#[test]
fn no_update_is_forwarded_between_nodes() {
    let collection = two_shards("straight");
    let (posts, requests) = deliver(&collection, &collection.site(), "21");
    assert!(posts > 20, "{posts}");
    assert_eq!(requests, posts, "each request went where its documents belong");
}

#[test]
fn with_routing_any_they_are_and_the_count_shows_it() {
    let collection = two_shards("around");
    let site = collection.site();
    site.configure("solr.routing = 'any'");
    let (posts, requests) = deliver(&collection, &site, "22");
    assert!(requests > posts, "{requests} requests for {posts} posts");
}
