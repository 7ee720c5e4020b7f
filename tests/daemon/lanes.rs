//! Straight to each shard's leader, wherever it goes, and one sick shard stops no other.

use std::time::Duration;

use serde_json::json;

use fake_solr::{ClusterStatus, FakeCluster, Router};

use crate::common::{Daemon, Delta, Mode, Site, assert_same, wait_for};

fn site(cluster: &FakeCluster) -> Site {
    let site = Site::for_collection(cluster.urls(), "c");
    site.configure("batch.docs = 50\nsolr.timeout = '5s'\nretry.most = '2s'");
    site
}

#[test]
fn each_document_goes_straight_to_its_shards_leader() {
    let cluster = FakeCluster::start(3);
    let site = Site::for_collection(cluster.urls()[..1].to_vec(), "c");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::offers(0..3_000, 1);
    delta.delete("nobody").delete("nobody else");
    site.hand_over("x.jsonl", &delta.text);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    assert_eq!((cluster.forwarded(), cluster.taken()), (0, 3_002));
    let leaders = (0..3).map(|n| (format!("shard{}", n + 1), cluster.core_url(n, n).unwrap()));
    let leaders: serde_json::Map<_, _> = leaders.map(|(name, url)| (name, url.into())).collect();
    assert_eq!(status["solr"]["leaders"], json!(leaders));
    site.run(&["status"]).code(0).says("shard1");
    daemon.stop();
}

#[test]
fn a_sick_shard_does_not_stop_the_others() {
    let cluster = FakeCluster::start(2);
    let site = site(&cluster);
    let daemon = Daemon::start(&site);
    cluster.node(0).turn(Mode::Stall);
    let delta = Delta::offers(0..8_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    let theirs = delta.docs.keys().filter(|id| cluster.shard_of(id) == 1).count();
    wait_for("shard2 has all of its documents", || cluster.node(1).taken() >= theirs);
    assert_eq!(cluster.node(0).taken(), 0);
    cluster.node(0).turn(Mode::Up);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    assert_eq!(site.names("rejected"), [""; 0]);
    daemon.stop();
}

#[test]
fn a_leader_that_dies_is_followed_to_the_next() {
    let cluster = FakeCluster::start(2);
    cluster.follow(0, 1);
    let site = site(&cluster);
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..20_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || cluster.taken() > 2_000);
    cluster.node(0).turn(Mode::Down);
    std::thread::sleep(Duration::from_millis(700)); // its session lasts for a while
    cluster.end_session(0);
    cluster.lead(0, 1);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    assert_eq!((site.names("rejected"), cluster.forwarded()), (vec![], 0));
    daemon.stop();
}

#[test]
fn a_request_to_a_leader_that_stands_still_is_given_up_when_another_leads() {
    let cluster = FakeCluster::start(2);
    cluster.follow(0, 1);
    let site = site(&cluster);
    site.configure("solr.timeout = '80s'");
    let daemon = Daemon::start(&site);
    cluster.node(0).turn(Mode::Hold);
    let delta = Delta::offers(0..1_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("somebody waits", || cluster.under_way(0) > 0);
    cluster.lead(0, 1);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    daemon.stop();
}

#[test]
fn a_shard_without_a_leader_is_named_and_waited_for() {
    let cluster = FakeCluster::start(2);
    cluster.lose_leader(1);
    let site = site(&cluster);
    site.configure("health.solr = { warning = '200ms', critical = '500ms' }");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..1_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is critical", |status| status["health"]["state"] == "critical");
    site.check_updater(&[]).code(2).says("shard2 has no leader");
    cluster.lead(1, 0);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    daemon.stop();
}

#[test]
fn a_shard_is_split_in_the_middle_of_a_delta() {
    let cluster = FakeCluster::start(2);
    let site = site(&cluster);
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..20_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || cluster.taken() > 2_000);
    cluster.split(0);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    assert_eq!(site.names("rejected"), [""; 0]);
    let status = daemon.wait("the halves are shown", |status| {
        status["solr"]["leaders"].as_object().is_some_and(|leaders| leaders.len() == 3)
    });
    assert!(status["solr"]["leaders"]["shard1"].is_null(), "{status}");
    daemon.stop();
}

#[test]
fn an_id_that_comes_again_and_again_ends_with_its_last_line() {
    let cluster = FakeCluster::start(2);
    let site = site(&cluster);
    site.configure("workers.count = 1\nbatch.docs = 7\nbatch.in_flight = 4");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    for n in 0..3_000 {
        match n % 11 {
            10 => delta.delete(&format!("d{}", n % 30)),
            _ => delta.doc(json!({"id": format!("d{}", n % 30), "price_i": n})),
        };
    }
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    daemon.stop();
}

#[test]
fn a_delete_that_only_solr_could_route_goes_to_every_shard() {
    let cluster = FakeCluster::start(2);
    cluster.route_by(Router::Field("shop_s".into()));
    let site = site(&cluster);
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    for n in 0..200 {
        delta.doc(json!({"id": format!("d{n}"), "shop_s": format!("shop{}", n % 9)}));
    }
    site.hand_over("a.jsonl", &delta.text);
    delta.text.clear();
    for n in 0..100 {
        delta.delete(&format!("d{n}"));
    }
    site.hand_over("b.jsonl", &delta.text);
    let status = daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
    assert_same(&cluster.docs(), &delta.docs);
    assert_eq!(
        (&status["totals"]["docs"], &status["totals"]["deletes"]),
        (&json!(200), &json!(100))
    );
    assert_eq!(cluster.forwarded(), 0);
    daemon.stop();
}

#[test]
fn where_the_cluster_is_not_told_documents_go_to_any_node() {
    for status in [
        ClusterStatus::Answer(403, "text/html", "<html>".into()),
        ClusterStatus::Answer(404, "text/html", "<html>".into()),
        ClusterStatus::NotSolrCloud,
    ] {
        let cluster = FakeCluster::start(2);
        cluster.tell(status);
        let site = site(&cluster);
        let daemon = Daemon::start(&site);
        let delta = Delta::offers(0..500, 1);
        site.hand_over("x.jsonl", &delta.text);
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
        assert_same(&cluster.docs(), &delta.docs);
        assert!(cluster.forwarded() > 0);
        assert!(daemon.tail_of_log().contains("documents go to any node"));
        daemon.stop();
    }
}

#[test]
fn with_routing_any_only_the_seeds_are_spoken_to() {
    let cluster = FakeCluster::start(2);
    let site = Site::for_collection(cluster.urls()[..1].to_vec(), "c");
    site.configure("solr.routing = 'any'");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..500, 1);
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    let other = cluster.node(1);
    assert_eq!((other.requests(), other.asked(), cluster.node(0).asked()), (0, 0, 0));
    daemon.stop();
}

#[test]
fn a_document_at_which_solr_itself_fails_holds_nobody_up() {
    let cluster = FakeCluster::start(2);
    let site = site(&cluster);
    let daemon = Daemon::start(&site);
    let mut delta = Delta::offers(0..1_000, 1);
    delta.line(r#"{"id":"bane","poison":1}"#);
    for n in 1_000..2_000 {
        delta.doc(json!({"id": format!("more-{n}"), "price_i": n}));
    }
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("all others are in", |status| status["totals"]["docs"].as_u64() >= Some(1_000));
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &delta.docs);
    let told = site.rejects("x.jsonl");
    assert_eq!((told.len(), &told[0]["id"], &told[0]["status"]), (1, &json!("bane"), &json!(500)));
    assert_eq!(told[0]["line"], 1_001);
    assert!(told[0]["reason"].as_str().unwrap().contains("poison"), "{}", told[0]);
    daemon.stop();
}
