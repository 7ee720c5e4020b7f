//! Lanes without threads and clocks: what happens is told them, with its time.

use super::looks::{LOOK_AGAIN_ALIAS, LOOKS_APART, SLOW};
use super::*;
use crate::batch::tests::batch;
use crate::flow::Flow;
use crate::receipt::NO_COLLECTION;
use cluster::{Collection, Router, Shard};
use config::{Config, Retry, Routing};
use scoreboard::Board;

fn config(urls: &[&str]) -> Config {
    let urls = urls.iter().map(|u| u.to_string()).collect();
    let mut config = Config::for_feed(urls, "offers".into()).unwrap();
    config.retry = Retry { first: Duration::from_secs(8), most: Duration::from_secs(30) };
    config.workers.count = 1;
    config
}

fn lanes(config: &Config) -> Lanes {
    let log = Logger::root(slog::Discard, slog::o!());
    Lanes::new(config, Board::new().unwrap().turns(1, 0), 0, &log)
}

/// Shards of these names, led by these nodes (empty: by nobody).
fn cluster(shards: &[(&str, &str)]) -> Look {
    let layout = Layout {
        collection: "offers".into(),
        router: Router::Implicit { field: None },
        shards: shards.iter().map(|(n, _)| Shard { name: n.to_string(), range: None }).collect(),
    };
    let core = |(shard, node): &(&str, &str)| {
        (!node.is_empty()).then(|| format!("http://{node}/solr/offers_{shard}_replica_n1"))
    };
    Look::Seen(Arc::new(Cluster {
        live: vec!["http://a/solr".into(), "http://b/solr".into()],
        collection: Collection {
            name: "offers".into(),
            alias: false,
            layout,
            leaders: shards.iter().map(core).collect(),
            replicas: Vec::new(),
            read_only: false,
            created: None,
        },
    }))
}

fn led(shards: &[(&str, &str)]) -> Lanes {
    let mut lanes = lanes(&config(&["http://a/solr"]));
    let learnt = lanes.learn(cluster(shards), 0);
    assert!(learnt.returned.is_empty() && learnt.cut.is_empty());
    lanes
}

fn push(lanes: &mut Lanes, lane: usize) {
    let mut batch = batch(&["x"]);
    (batch.lane, batch.layout) = (lane, lanes.layout());
    batch.close();
    assert!(matches!(lanes.push(batch), Back::Kept));
}

/// What thread `who` gets: its node's name.
fn take(lanes: &mut Lanes, who: usize, now: u64) -> Option<(Batch, Ticket)> {
    match lanes.take(who, now) {
        Take::Batch(batch, ticket) => Some((batch, ticket)),
        Take::Plain(..) => panic!("nobody asked for that"),
        Take::Nothing(_) | Take::Turn(_) => None,
    }
}

fn wakes(lanes: &mut Lanes, now: u64) -> Option<u64> {
    match lanes.take(0, now) {
        Take::Nothing(wake) | Take::Turn(wake) => wake,
        take => panic!("{take:?}"),
    }
}

fn refused() -> Wait {
    Wait { stale: true, ..Wait::passing("connection refused") }
}

#[test]
fn every_seed_is_tried_before_anything_waits() {
    let mut config = config(&["http://a/solr", "http://b/solr", "http://c/solr"]);
    config.solr.routing = Routing::Any;
    let mut lanes = lanes(&config);
    assert!(lanes.has_room(0), "nothing has to be found out");
    assert_eq!(lanes.next_look(0), None);
    push(&mut lanes, ANY);
    for seed in ["http://a/solr", "http://b/solr", "http://c/solr"] {
        let (batch, ticket) = take(&mut lanes, 0, 0).unwrap();
        assert_eq!(ticket.node.name, seed);
        lanes.failed(&ticket, 0, Some(batch), &refused(), 0);
    }
    assert!(wakes(&mut lanes, 0).is_some_and(|wake| wake >= 800), "a tenth of the first bound");
    assert!(lanes.is_backing_off(0) && !lanes.has_room(0));
}

#[test]
fn nothing_is_read_before_it_is_known_where_it_goes() {
    let mut lanes = lanes(&config(&["http://a/solr"]));
    assert!(!lanes.is_known());
    assert_eq!(lanes.next_look(5), Some(5), "at once");
    let refused = || Look::Failed {
        wait: Wait::passing("connection refused"),
        reason: "http://a/solr: connection refused".into(),
    };
    lanes.learn(refused(), 5);
    assert!(!lanes.is_known());
    assert_eq!(lanes.next_look(5), None, "an idle worker sleeps");
    assert_eq!(lanes.cell.trouble(), Trouble::None, "and complains of nothing");
    lanes.set_busy(true, 10);
    lanes.learn(refused(), 5);
    assert_eq!(lanes.next_look(10), Some(505));
    assert_eq!(lanes.cell.trouble(), Trouble::Passing);
    assert_eq!(lanes.cell.last_error().read(), "http://a/solr: connection refused");
    lanes.learn(cluster(&[("shard1", "a"), ("shard2", "b")]), 600);
    assert!(lanes.is_known() && lanes.has_room(0));
    assert_eq!(lanes.cell.trouble(), Trouble::None);
}

#[test]
fn where_the_state_is_not_told_everything_goes_to_any_node() {
    let mut lanes = lanes(&config(&["http://a/solr", "http://b/solr"]));
    lanes.learn(Look::Blind("not this user".into()), 0);
    assert!(lanes.is_known() && lanes.sight().1.is_none());
    push(&mut lanes, ANY);
    let (_, ticket) = take(&mut lanes, 0, 0).unwrap();
    assert_eq!((ticket.node.name.as_str(), ticket.node.leads), ("http://a/solr", false));
}

#[test]
fn each_lane_goes_to_its_leader_and_a_sick_one_stops_nobody() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    push(&mut lanes, 1);
    push(&mut lanes, 2);
    let (batch, sick) = take(&mut lanes, 0, 0).unwrap();
    assert_eq!(sick.node.name, "http://a/solr/offers_shard1_replica_n1");
    assert!(sick.node.leads);
    let (_, well) = take(&mut lanes, 1, 0).unwrap();
    assert_eq!(well.node.name, "http://b/solr/offers_shard2_replica_n1");
    lanes.failed(&sick, 0, Some(batch), &refused(), 0);
    lanes.worked(&well, 1, Duration::from_millis(9), (1000, 9), 5);
    lanes.release(&well, 1, 0);
    assert!(!lanes.is_backing_off(5) || lanes.lanes[2].waiting.is_empty());
    for _ in 0..20 {
        assert!(lanes.has_room(0), "shard2 has not enough");
        push(&mut lanes, 1);
        push(&mut lanes, 2);
        let (batch, ticket) = take(&mut lanes, 1, 5).unwrap();
        assert!(ticket.node.name.contains("shard2") && batch.lane == 2);
        lanes.release(&ticket, 1, 0);
    }
    lanes.bytes = lanes.most_bytes;
    assert!(!lanes.has_room(0), "it is bounded");
}

#[test]
fn one_lane_does_not_take_all_threads_unless_there_is_no_other() {
    let mut two = led(&[("shard1", "a"), ("shard2", "b")]);
    let mut one = led(&[("shard1", "a")]);
    for lanes in [&mut two, &mut one] {
        push(lanes, 1);
        let (_, ticket) = take(lanes, 0, 0).unwrap();
        push(lanes, 1);
        assert!(take(lanes, 1, 0).is_none(), "it begins with one");
        lanes.worked(&ticket, 0, Duration::from_millis(9), (1000, 9), 0);
        lanes.release(&ticket, 0, 0);
        let _first = take(lanes, 0, 0).unwrap();
        push(lanes, 1);
    }
    assert!(take(&mut two, 1, 0).is_none());
    assert!(take(&mut one, 1, 0).is_some());
}

#[test]
fn beside_a_request_that_is_stuck_there_is_no_other() {
    let mut lanes = led(&[("shard1", "a")]);
    push(&mut lanes, 1);
    let (_, ticket) = take(&mut lanes, 0, 0).unwrap();
    lanes.worked(&ticket, 0, Duration::from_millis(9), (1000, 9), 0);
    push(&mut lanes, 1);
    assert!(take(&mut lanes, 1, 5000).is_none());
}

#[test]
fn while_its_leader_is_up_a_lane_waits_a_second_at_most_but_not_when_told_to_wait() {
    let mut lanes = led(&[("shard1", "a")]);
    push(&mut lanes, 1);
    let mut now = 0;
    for _ in 0..8 {
        let (batch, ticket) = take(&mut lanes, 0, now).unwrap();
        lanes.failed(&ticket, 0, Some(batch), &refused(), now);
        let wake = wakes(&mut lanes, now).unwrap();
        assert!(wake <= now + 1000, "{wake}");
        now = wake;
    }
    let (batch, ticket) = take(&mut lanes, 0, now).unwrap();
    let told = Wait { retry_after: Some(Duration::from_secs(20)), ..refused() };
    lanes.failed(&ticket, 0, Some(batch), &told, now);
    lanes.learn(cluster(&[("shard1", "a")]), now + 1);
    assert!(wakes(&mut lanes, now + 1).unwrap() >= now + 20_000);
}

#[test]
fn a_new_leader_is_gone_to_at_once_and_requests_to_the_old_one_are_cut() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    push(&mut lanes, 1);
    let (batch, old) = take(&mut lanes, 7, 0).unwrap();
    assert_eq!(lanes.next_look(0), Some(SLOW), "if it takes long, who leads?");
    assert!(lanes.learn(cluster(&[("shard1", "a"), ("shard2", "b")]), 1500).cut.is_empty());
    assert_eq!(lanes.learn(cluster(&[("shard1", "b"), ("shard2", "b")]), 2000).cut, [7]);
    lanes.failed(&old, 7, Some(batch), &Wait::passing("given up"), 2001);
    let (_, new) = take(&mut lanes, 0, 2001).unwrap();
    assert_eq!(new.node.name, "http://b/solr/offers_shard1_replica_n1");
}

#[test]
fn a_node_that_answers_nothing_is_asked_last_who_leads() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    let (a, b) = ("http://a/solr", "http://b/solr");
    push(&mut lanes, 1);
    let (batch, ticket) = take(&mut lanes, 0, 0).unwrap();
    assert_eq!(lanes.whom_to_ask(Some(a), SLOW - 1), [a, b]);
    assert_eq!(lanes.whom_to_ask(Some(b), SLOW - 1), [b, a]);
    assert_eq!(lanes.whom_to_ask(Some(a), SLOW), [b, a], "its request takes long");
    lanes.failed(&ticket, 0, Some(batch), &refused(), SLOW);
    assert_eq!(lanes.whom_to_ask(Some(a), SLOW), [b, a], "it has failed");
}

#[test]
fn a_request_to_a_node_that_leads_no_longer_is_no_trouble() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    push(&mut lanes, 1);
    let (batch, old) = take(&mut lanes, 7, 0).unwrap();
    lanes.learn(cluster(&[("shard1", "b"), ("shard2", "b")]), 2000);
    assert!(matches!(lanes.failed(&old, 7, Some(batch), &refused(), 2001), Back::Kept));
    assert_eq!((lanes.cell.trouble(), lanes.lanes[1].tries), (Trouble::None, 0));
}

#[test]
fn a_shard_without_a_leader_waits_for_one_and_says_so() {
    let mut lanes = led(&[("shard1", ""), ("shard2", "b")]);
    push(&mut lanes, 1);
    assert_eq!(wakes(&mut lanes, 0), None);
    assert_eq!(lanes.next_look(0), Some(LOOKS_APART));
    lanes.learn(cluster(&[("shard1", ""), ("shard2", "b")]), 500);
    assert!(lanes.cell.last_error().read().starts_with("shard1 has no leader"));
    lanes.learn(cluster(&[("shard1", "b"), ("shard2", "b")]), 1000);
    assert!(take(&mut lanes, 0, 1000).is_some());
}

#[test]
fn what_was_routed_by_another_layout_comes_back() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    for lane in [1, 1, 2] {
        push(&mut lanes, lane);
    }
    let (under_way, ticket) = take(&mut lanes, 0, 0).unwrap();
    let split = [("shard1_0", "a"), ("shard1_1", "a"), ("shard2", "b")];
    let learnt = lanes.learn(cluster(&split), 10);
    assert_eq!((learnt.returned.len(), lanes.bytes), (2, 0));
    assert!(matches!(lanes.failed(&ticket, 0, Some(under_way), &refused(), 20), Back::Returned(_)));
    let mut old = batch(&["x"]);
    (old.lane, old.layout) = (1, lanes.layout() - 1);
    assert!(matches!(lanes.push(old), Back::Returned(_)));
    assert!(lanes.has_room(0));
}

#[test]
fn halted_everything_is_handed_back_and_nothing_waits() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "")]);
    push(&mut lanes, 1);
    push(&mut lanes, 2);
    lanes.push_plain(Errand::Commit);
    let Take::Plain(_, ticket) = lanes.take(0, 0) else { panic!() };
    lanes.failed(&ticket, 0, None, &refused(), 0);
    lanes.again(Errand::Commit);
    lanes.halt(true, 0);
    assert!(matches!(lanes.take(0, 1), Take::Plain(Errand::Commit, _)));
    assert!(take(&mut lanes, 0, 1).is_some() && take(&mut lanes, 0, 1).is_some());
    assert_eq!((wakes(&mut lanes, 1), lanes.bytes), (None, 0));
}

#[test]
fn an_alias_is_looked_up_before_each_work_and_now_and_then() {
    let mut lanes = lanes(&config(&["http://a/solr"]));
    let alias = || {
        let Look::Seen(cluster) = cluster(&[("shard1", "a")]) else { panic!() };
        let mut cluster = Arc::unwrap_or_clone(cluster);
        cluster.collection.alias = true;
        Look::Seen(Arc::new(cluster))
    };
    lanes.learn(alias(), 0);
    lanes.set_busy(true, 60_000);
    assert!(!lanes.is_known());
    assert!(lanes.next_look(60_000).unwrap() <= 60_000);
    lanes.learn(alias(), 60_001);
    assert!(lanes.is_known());
    assert_eq!(lanes.next_look(60_002), Some(60_001 + LOOK_AGAIN_ALIAS));
    lanes.set_busy(false, 60_003);
    assert_eq!(lanes.next_look(60_003), None);
}

#[test]
fn a_rate_is_kept() {
    let mut config = config(&["http://a/solr"]);
    config.solr.max_docs_per_s = 10;
    let mut lanes = lanes(&config);
    lanes.learn(cluster(&[("shard1", "a")]), 0);
    let (mut sent, mut now) = (0, 0);
    while now < 10_000 {
        if lanes.lanes[1].waiting.is_empty() {
            push(&mut lanes, 1);
        }
        match lanes.take(0, now) {
            Take::Batch(_, ticket) => {
                lanes.release(&ticket, 0, 0);
                sent += 1;
            }
            Take::Nothing(wake) | Take::Turn(wake) => now = wake.unwrap().max(now + 1),
            Take::Plain(..) => panic!(),
        }
    }
    assert!((98..=103).contains(&sent), "{sent}");
}

#[test]
fn the_worst_trouble_is_shown_until_it_is_over() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    push(&mut lanes, 1);
    push(&mut lanes, 2);
    let (first, one) = take(&mut lanes, 0, 0).unwrap();
    let (second, two) = take(&mut lanes, 1, 0).unwrap();
    lanes.failed(&one, 0, Some(first), &Wait::standing(NO_COLLECTION), 1);
    lanes.failed(&two, 1, Some(second), &refused(), 2);
    assert_eq!(lanes.cell.trouble(), Trouble::Standing);
    let gone = "http://a/solr/offers_shard1_replica_n1: the core is gone (HTTP 404)";
    assert_eq!(lanes.cell.last_error().read(), gone);
    lanes.learn(cluster(&[("shard1", "b"), ("shard2", "b")]), 3);
    for _ in 0..2 {
        if let Some((_, ticket)) = take(&mut lanes, 0, 2000) {
            lanes.worked(&ticket, 0, Duration::from_millis(5), (1, 1), 2001);
            lanes.release(&ticket, 0, 0);
        }
    }
    assert_eq!(lanes.cell.trouble(), Trouble::None);
}

#[test]
fn an_idle_worker_complains_of_nothing() {
    let mut lanes = lanes(&config(&["http://a/solr"]));
    lanes.set_busy(true, 0);
    let wait = Wait::standing(NO_COLLECTION);
    lanes.learn(Look::Failed { wait, reason: "collection offers not found".into() }, 5);
    assert_eq!(lanes.cell.trouble(), Trouble::Standing);
    lanes.set_busy(false, 10);
    assert_eq!(lanes.cell.trouble(), Trouble::None);
}

#[test]
fn rv1_a_lane_that_was_sick_when_halted_gets_work_again() {
    let mut lanes = led(&[("shard1", "a")]);
    lanes.set_busy(true, 0);
    push(&mut lanes, 1);
    let (batch, t) = take(&mut lanes, 0, 0).unwrap();
    lanes.failed(&t, 0, Some(batch), &refused(), 0);
    lanes.halt(true, 0);
    let (_, t) = take(&mut lanes, 0, 0).unwrap();
    lanes.release(&t, 0, 0);
    lanes.halt(false, 0);
    lanes.set_busy(false, 10);
    lanes.set_busy(true, 10_000_000);
    lanes.learn(cluster(&[("shard1", "a")]), 10_000_000);
    assert!(lanes.has_room(0), "for ever without room");
}

#[test]
fn rv2_a_suspect_that_is_due_while_the_lane_waits_wakes_nobody() {
    let mut lanes = led(&[("shard1", "a")]);
    push(&mut lanes, 1);
    let (batch, t) = take(&mut lanes, 0, 0).unwrap();
    lanes.suspect(&t, 0, batch, None, 0);
    push(&mut lanes, 1);
    let (batch, t) = take(&mut lanes, 0, 10).unwrap();
    lanes.release(&t, 0, 0);
    let wait = Wait { retry_after: Some(Duration::from_secs(60)), ..refused() };
    lanes.failed(&t, 0, Some(batch), &wait, 10);
    let wake = wakes(&mut lanes, 5000).unwrap();
    assert!(wake > 5000, "busy: {wake}");
}

#[test]
fn rv3_without_any_leader_and_work_it_is_looked_at_soon_and_told() {
    let mut lanes = led(&[("shard1", "")]);
    lanes.set_busy(true, 0);
    assert!(!lanes.has_room(0));
    lanes.learn(cluster(&[("shard1", "")]), 10);
    assert_eq!((lanes.next_look(20), lanes.cell.trouble()), (Some(510), Trouble::Passing));
}

#[test]
fn rv4_standing_trouble_keeps_its_backoff() {
    let mut lanes = led(&[("shard1", "a")]);
    push(&mut lanes, 1);
    for n in 0..20 {
        let now = n * 100_000;
        let (batch, t) = take(&mut lanes, 0, now).unwrap();
        lanes.failed(&t, 0, Some(batch), &Wait::standing("403"), now);
    }
    lanes.lanes[1].not_before = 1_900_000 + 25_000;
    lanes.learn(cluster(&[("shard1", "a")]), 1_900_500);
    assert!(lanes.lanes[1].not_before > 1_902_000, "{}", lanes.lanes[1].not_before);
}

#[test]
fn rv5_retry_after_outlasts_a_request_that_was_under_way() {
    let mut lanes = led(&[("shard1", "a")]);
    lanes.lanes[1].flow = Flow::new(4);
    for n in 0..20 {
        lanes.lanes[1].flow.worked(Duration::from_millis(5), true, n);
    }
    for _ in 0..3 {
        push(&mut lanes, 1);
    }
    let (_, a) = take(&mut lanes, 0, 0).unwrap();
    let (b, bt) = take(&mut lanes, 1, 0).unwrap();
    let wait = Wait { retry_after: Some(Duration::from_secs(60)), overload: true, ..refused() };
    lanes.failed(&bt, 1, Some(b), &wait, 10);
    lanes.worked(&a, 0, Duration::from_millis(9), (1, 9), 20);
    lanes.release(&a, 0, 0);
    assert!(take(&mut lanes, 0, 30).is_none(), "Retry-After: 60 is forgotten");
}

#[test]
fn rv6_failing_tries_do_not_use_up_the_rate() {
    let mut c = config(&["http://a/solr"]);
    c.solr.max_docs_per_s = 1;
    let mut lanes = lanes(&c);
    lanes.learn(cluster(&[("shard1", "a"), ("shard2", "b")]), 0);
    push(&mut lanes, 1);
    let mut well = 0;
    for now in (0..60_000u64).step_by(10) {
        if lanes.lanes[2].waiting.is_empty() {
            push(&mut lanes, 2);
        }
        if now % 500 == 0 {
            lanes.learn(cluster(&[("shard1", "a"), ("shard2", "b")]), now);
        }
        if let Some((batch, t)) = take(&mut lanes, 0, now) {
            if t.node.name.contains("shard1") {
                lanes.failed(&t, 0, Some(batch), &refused(), now);
            } else {
                well += 1;
                lanes.worked(&t, 0, Duration::from_millis(5), (1, 5), now);
                lanes.release(&t, 0, 0);
            }
        }
    }
    assert!(well > 50, "{well} of 60");
}

#[test]
fn rv7_a_leader_that_is_back_does_not_cut_its_own_requests() {
    let mut lanes = led(&[("shard1", "a")]);
    push(&mut lanes, 1);
    let _t = take(&mut lanes, 0, 0).unwrap();
    lanes.learn(cluster(&[("shard1", "")]), 1000);
    let cut = lanes.learn(cluster(&[("shard1", "a")]), 2000).cut;
    assert!(cut.is_empty(), "{cut:?}");
}

/// Lanes of two workers on one scoreboard, both led by one node, both with two batches.
fn two_workers() -> [Lanes; 2] {
    let board = Board::new().unwrap();
    board.parent().set_slots_most(2);
    let log = Logger::root(slog::Discard, slog::o!());
    let mut config = config(&["http://a/solr"]);
    config.workers.count = 2;
    [0, 1].map(|slot| {
        let turns = board.turns(1, slot);
        turns.cell().set_heartbeat(5000);
        let mut lanes = Lanes::new(&config, turns, 0, &log);
        lanes.learn(cluster(&[("shard1", "a"), ("shard2", "b")]), 0);
        (0..2).for_each(|_| push(&mut lanes, 1));
        lanes
    })
}

#[test]
fn a_leader_gets_one_request_at_a_time_from_all_workers_together() {
    let [mut one, mut other] = two_workers();
    let (_, ticket) = take(&mut one, 0, 5000).unwrap();
    assert!(matches!(other.take(0, 5001), Take::Turn(None)));
    push(&mut other, 2);
    assert!(take(&mut other, 0, 5002).is_some(), "the other leader is free");
    one.release(&ticket, 0, 5010);
    assert!(matches!(one.take(1, 5010), Take::Batch(..)), "it may go on for a little");
}

#[test]
fn who_has_waited_for_a_while_is_next() {
    let [mut one, mut other] = two_workers();
    let (_, ticket) = take(&mut one, 0, 5000).unwrap();
    assert!(matches!(other.take(0, 5001), Take::Turn(None)));
    let rung = other.turns.rung();
    one.release(&ticket, 0, 5300);
    assert_eq!(other.turns.rung(), rung + 1);
    assert!(matches!(one.take(0, 5300), Take::Turn(None)));
    assert!(take(&mut other, 0, 5301).is_some());
}

#[test]
fn nobody_waits_long_for_another_worker() {
    let [mut one, mut other] = two_workers();
    let _hangs = take(&mut one, 0, 5000).unwrap();
    assert!(take(&mut other, 0, 5001).is_none());
    assert!(take(&mut other, 0, 6900).is_none());
    assert!(take(&mut other, 0, 7100).is_some());
}

#[test]
fn in_trouble_each_worker_tries_for_itself() {
    let [mut one, mut other] = two_workers();
    let (batch, ticket) = take(&mut other, 0, 5000).unwrap();
    other.failed(&ticket, 0, Some(batch), &refused(), 5001);
    other.lanes[1].not_before = 0;
    let _hangs = take(&mut one, 0, 5002).unwrap();
    assert!(take(&mut other, 0, 5003).is_some());
}

#[test]
fn a_leader_that_is_only_slower_stops_the_reading_one_that_is_sick_does_not() {
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    let _slow = (push(&mut lanes, 1), take(&mut lanes, 0, 0).unwrap());
    (0..3).for_each(|_| push(&mut lanes, 1));
    assert!(lanes.has_room(10), "shard2 wants more");
    push(&mut lanes, 1);
    assert!(!lanes.has_room(10));
    assert!(lanes.has_room(1001), "it hangs");
    let mut lanes = led(&[("shard1", "a"), ("shard2", "b")]);
    push(&mut lanes, 1);
    let (batch, ticket) = take(&mut lanes, 0, 0).unwrap();
    lanes.failed(&ticket, 0, Some(batch), &refused(), 1);
    (0..9).for_each(|_| push(&mut lanes, 1));
    assert!(lanes.has_room(10), "it is in trouble");
}

#[test]
fn a_request_of_another_worker_that_hangs_keeps_nobody_from_the_leader() {
    let [mut one, mut other] = two_workers();
    let _hangs = take(&mut one, 0, 5000).unwrap();
    (0..5).for_each(|_| push(&mut other, 1));
    one.turns.cell().set_heartbeat(7000);
    for now in [7001, 7010, 7020] {
        let (_, ticket) = take(&mut other, 0, now).unwrap();
        other.release(&ticket, 0, now + 5);
    }
}

#[test]
fn who_is_halted_stands_in_nobody_s_way() {
    let [mut one, mut other] = two_workers();
    let (_, ticket) = take(&mut one, 0, 5000).unwrap();
    assert!(take(&mut other, 0, 5001).is_none());
    other.halt(true, 5002);
    one.release(&ticket, 0, 5300);
    assert!(take(&mut one, 0, 5300).is_some());
}

#[test]
fn who_may_not_send_yet_does_not_stand_in_line() {
    let [mut one, mut other] = two_workers();
    other.rate = Rate::new(10, 1, 5000);
    other.rate.spend(10);
    let (_, ticket) = take(&mut one, 0, 5000).unwrap();
    assert_eq!(wakes(&mut other, 5001), Some(6000));
    one.release(&ticket, 0, 5300);
    assert!(take(&mut one, 0, 5300).is_some());
}

#[test]
fn a_thread_that_is_in_line_stays_there_when_another_begins_elsewhere() {
    let [mut one, mut other] = two_workers();
    let _busy = take(&mut one, 0, 5000).unwrap();
    assert!(take(&mut other, 0, 5001).is_none());
    push(&mut other, 2);
    assert!(take(&mut other, 1, 5002).is_some());
    assert_eq!(other.turns.waits_since(1), 5001);
}

#[test]
fn others_pass_also_when_it_is_another_worker_s_documents() {
    let [mut one, mut other] = two_workers();
    let (_, ticket) = take(&mut one, 0, 5000).unwrap();
    let before = other.adds(&ticket);
    one.worked(&ticket, 0, Duration::from_millis(5), (1, 9), 5005);
    one.has_added(&ticket);
    one.release(&ticket, 0, 5005);
    assert_eq!(other.adds(&ticket), before + 1);
    assert!(take(&mut other, 0, 5006).is_some());
}

#[test]
fn workers_that_were_told_to_come_later_do_not_come_in_the_same_moment() {
    let wakes: std::collections::BTreeSet<u64> = (0..8)
        .map(|_| {
            let mut lanes = led(&[("shard1", "a")]);
            push(&mut lanes, 1);
            let (batch, ticket) = take(&mut lanes, 0, 0).unwrap();
            let told = Wait { retry_after: Some(Duration::from_secs(20)), ..refused() };
            lanes.failed(&ticket, 0, Some(batch), &told, 0);
            wakes(&mut lanes, 1).unwrap()
        })
        .collect();
    assert!(wakes.len() > 1 && wakes.iter().all(|at| (20_000..=25_000).contains(at)), "{wakes:?}");
}

#[test]
fn a_thread_on_an_old_layout_s_request_is_not_free() {
    let [mut one, mut other] = two_workers();
    other.in_flight = 2;
    let _old = take(&mut other, 0, 4000).unwrap();
    other.learn(cluster(&[("shard1", "a"), ("shard2", "b"), ("shard3", "b")]), 4001);
    let _busy = take(&mut one, 0, 5000).unwrap();
    push(&mut other, 1);
    assert!(take(&mut other, 1, 5001).is_none());
    push(&mut other, 2);
    assert!(take(&mut other, 1, 5002).is_some());
    assert_eq!(other.turns.waits_since(1), 0, "nobody is left to wait");
}
