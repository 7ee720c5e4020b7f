//! Nodes go, and come again.

use std::time::Duration;

use crate::cluster::{Collection, offers, solrcloud};
use crate::common::{Daemon, assert_same};

/// Kills nodes, and starts them again at the end, whatever the test came to.
pub struct Killed(&'static [&'static str]);

impl Killed {
    pub fn now(nodes: &'static [&'static str]) -> Killed {
        nodes.iter().for_each(|node| drop(solrcloud(&["kill", node])));
        Killed(nodes)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.iter().for_each(|node| drop(solrcloud(&["start", node])));
    }
}

#[test]
fn solr_down_for_a_while_in_mid_delta() {
    let collection = Collection::make("down");
    let site = collection.site();
    site.configure(
        "batch.docs = 100\nhealth.solr = { warning = '1s', critical = '3s' }\nretry.most = '2s'",
    );
    let daemon = Daemon::start(&site);
    let delta = offers(&["20000", "7", "--deletes", "20"]);
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is under way", |status| status["totals"]["docs"].as_u64() >= Some(4_000));

    let killed = Killed::now(&["1", "2"]);
    daemon.wait("it is critical", |status| status["health"]["state"] == "critical");
    std::thread::sleep(Duration::from_secs(15));
    let check = site.check_updater(&[]).code(2);
    assert!(check.stdout.starts_with("UPDATER CRITICAL - Solr unreachable for "), "{check:?}");
    let status = daemon.status();
    assert_eq!((&status["totals"]["rejected"], site.names("rejected")), (&0.into(), vec![]));
    assert_eq!(status["totals"]["worker_deaths"], 0);
    drop(killed);

    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    solrcloud(&["wait", "down"]);
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    site.check_updater(&[]).code(0).says("UPDATER OK");
    daemon.stop();
}

#[test]
fn a_killed_node_costs_no_document() {
    let collection = Collection::make("killed-node");
    let site = collection.site();
    site.configure("batch.docs = 100\nretry.most = '1s'");
    let daemon = Daemon::start(&site);
    let delta = offers(&["20000", "8"]);
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is under way", |status| status["totals"]["docs"].as_u64() >= Some(4_000));
    let killed = Killed::now(&["2"]);
    daemon.wait("it is settled with the other", |status| status["totals"]["deltas"] == 1);
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!(site.names("rejected"), [""; 0]);
    drop(killed);
    solrcloud(&["wait", "killed-node"]);
    daemon.stop();
}
