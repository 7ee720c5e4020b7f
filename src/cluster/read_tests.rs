//! What Solr 9.10.1 answered, shortened; and what it never should.

use super::*;
use crate::{Key, hash};

/// A document of `seen/`.
macro_rules! seen {
    ($name:literal) => {
        include_bytes!(concat!("seen/", $name, ".json"))
    };
}

const A: &str = "http://127.0.0.1:8983/solr";
const B: &str = "http://127.0.0.1:8984/solr";

/// One replica leads the one shard `s` of collection `c`; `n` is its node.
fn made(changes: &[(&str, &str)]) -> String {
    let mut text = r#"{"cluster":{"live_nodes":["h:1_solr"],"collections":{"c":{
        "router":{"name":"compositeId"},"shards":{"s":{"range":"80000000-7fffffff","state":"active",
        "replicas":{"r":{"core":"c_s","node_name":"h:1_solr","state":"active","leader":"true",
        "base_url":"http://h:1/solr"}}}}}},"properties":{}}}"#
        .to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

fn read_made(changes: &[(&str, &str)]) -> Cluster {
    read(made(changes).as_bytes(), "c").expect("it can be read")
}

fn leader(changes: &[(&str, &str)]) -> Option<String> {
    read_made(changes).collection.leaders.remove(0)
}

fn shards(collection: &Collection) -> Vec<(&str, Option<RangeInclusive<i32>>)> {
    collection.layout.shards.iter().map(|s| (&s.name[..], s.range.clone())).collect()
}

#[test]
fn two_shards_of_two_replicas() {
    let cluster = read(seen!("two-replicas"), "rf2").unwrap();
    assert_eq!(cluster.live, [A, B]);
    let collection = cluster.collection;
    assert_eq!(
        (&collection.name[..], collection.alias, collection.read_only),
        ("rf2", false, false)
    );
    assert_eq!(
        shards(&collection),
        [("shard1", Some(i32::MIN..=-1)), ("shard2", Some(0..=i32::MAX))]
    );
    let leaders =
        ["rf2_shard1_replica_n4", "rf2_shard2_replica_n6"].map(|c| Some(format!("{A}/{c}")));
    assert_eq!(collection.leaders, leaders);
    assert_eq!(collection.layout.router_field(), Some("grp_s"));
}

#[test]
fn a_split_shard_takes_nothing_any_more() {
    let cluster = read(seen!("split"), "sp").unwrap();
    let collection = &cluster.collection;
    assert_eq!(
        shards(collection),
        [("shard1_0", Some(i32::MIN..=-1)), ("shard1_1", Some(0..=i32::MAX))]
    );
    assert_eq!(collection.leaders[1], Some(format!("{A}/sp_shard1_1_replica_n4")));
    assert!(hash("a") > 0);
    assert_eq!(collection.layout.shard_of(&Key { id: "a", ..Key::default() }), Some(1));
    // none of its replicas is on the second node
    assert_eq!(cluster.live, [A, B]);
}

#[test]
fn while_a_shard_is_split_it_takes_all() {
    let json = String::from_utf8(seen!("split").to_vec()).unwrap();
    let json = json.replace(
        "\"state\": \"active\",\n            \"replicas\"",
        "\"state\": \"construction\",\n            \"replicas\"",
    );
    let json = json.replace("inactive", "active");
    let collection = read(json.as_bytes(), "sp").unwrap().collection;
    assert_eq!(shards(&collection), [("shard1", Some(i32::MIN..=i32::MAX))]);
}

#[test]
fn the_implicit_router_has_names_and_no_ranges() {
    let collection = read(seen!("implicit"), "im").unwrap().collection;
    assert_eq!(collection.layout.router, Router::Implicit { field: None });
    assert_eq!(shards(&collection), [("a", None), ("b", None), ("c", None)]);
    let at = |node: &str, core: &str| Some(format!("{node}/{core}"));
    let leaders = [at(A, "im_a_replica_n2"), at(B, "im_b_replica_n4"), at(A, "im_c_replica_n1")];
    assert_eq!(collection.leaders, leaders);
}

#[test]
fn a_shard_whose_node_is_gone_has_no_leader() {
    let cluster = read(seen!("node-down"), "rf").unwrap();
    assert_eq!(cluster.live, [A]);
    let leaders = [None, Some(format!("{A}/rf_shard2_replica_n1"))];
    assert_eq!(cluster.collection.leaders, leaders);
}

#[test]
fn a_leader_leads_only_while_active_on_a_live_node() {
    let url = Some("http://h:1/solr/c_s".to_owned());
    assert_eq!(leader(&[]), url);
    assert_eq!(leader(&[(r#""leader":"true""#, r#""leader":true"#)]), url);
    assert_eq!(leader(&[(r#""leader":"true","#, "")]), None);
    assert_eq!(leader(&[(r#""leader":"true""#, r#""leader":"false""#)]), None);
    assert_eq!(
        leader(&[(r#""state":"active","leader""#, r#""state":"recovering","leader""#)]),
        None
    );
    assert_eq!(leader(&[(r#"["h:1_solr"]"#, "[]")]), None);
    assert_eq!(leader(&[(r#"["h:1_solr"]"#, r#"["h:2_solr"]"#)]), None);
    let unsaid = (",\n        \"base_url\":\"http://h:1/solr\"", "");
    assert_eq!(leader(&[unsaid]), url);
    let https = ("{}", r#"{"urlScheme":"https"}"#);
    assert_eq!(leader(&[unsaid, https]).unwrap(), "https://h:1/solr/c_s");
}

#[test]
fn a_live_node_without_a_replica_is_found_by_its_name() {
    let live = |name: &str, scheme: &str| {
        let more = format!(r#"["h:1_solr","{name}"]"#);
        let base = format!("{scheme}://h:1/solr");
        let cluster = read_made(&[(r#"["h:1_solr"]"#, &more), ("http://h:1/solr", &base)]);
        cluster.live.into_iter().find(|url| *url != base).unwrap()
    };
    assert_eq!(live("h:2_solr", "http"), "http://h:2/solr");
    assert_eq!(live("h:2_solr", "https"), "https://h:2/solr");
    assert_eq!(live("a_b.example:2_solr", "http"), "http://a_b.example:2/solr");
    assert_eq!(live("[::1]:2_solr", "http"), "http://[::1]:2/solr");
    assert_eq!(live("h:2_a%2Fsolr", "http"), "http://h:2/a/solr");
    assert_eq!(live("h:2_", "http"), "http://h:2");
}

#[test]
fn ranges_are_signed_and_hex() {
    let range = |text: &str| {
        let cluster = read_made(&[("80000000-7fffffff", text)]);
        cluster.collection.layout.shards[0].range.clone()
    };
    assert_eq!(range("80000000-d554ffff"), Some(i32::MIN..=-715_849_729));
    assert_eq!(range("0-7fffffff"), Some(0..=i32::MAX));
    assert_eq!(range("FFFFFFFF-0"), Some(-1..=0));
    assert_eq!(range("1-0"), None);
    for bad in ["", "0", "0-", "-1", "0-g", "0-1-2", "0-100000000"] {
        let json = made(&[("80000000-7fffffff", bad)]);
        let unread = read(json.as_bytes(), "c").unwrap_err();
        assert_eq!(unread, Unread::Other(format!("c, s: no range of hashes: Some({bad:?})")));
    }
}

#[test]
fn shards_are_in_the_order_of_their_ranges() {
    let three = r#"{"x":{"range":"0-7fffffff"},"y":{"range":null},"z":{"range":"80000000-ffffffff"},
        "s":"#;
    let three =
        [(r#"{"s":"#, three), ("80000000-7fffffff", "0-0"), ("active\",\n", "inactive\",\n")];
    let collection = read_made(&three).collection;
    let names: Vec<_> = collection.layout.shards.iter().map(|shard| &shard.name[..]).collect();
    assert_eq!((names, collection.leaders), (vec!["z", "x", "y"], vec![None, None, None]));
}

#[test]
fn nothing_is_routed_over_ranges_that_overlap() {
    let layout =
        read_made(&[(r#"{"s":"#, r#"{"x":{"range":"7fffffff-7fffffff"},"s":"#)]).collection.layout;
    assert_eq!(layout.router, Router::Other("the ranges of s and x overlap".to_owned()));
}

#[test]
fn a_router_that_is_not_known() {
    let router =
        |text: &str| read_made(&[(r#"{"name":"compositeId"}"#, text)]).collection.layout.router;
    assert_eq!(router("null"), Router::CompositeId { field: None });
    assert_eq!(router(r#"{"name":"plain"}"#), Router::Other("router plain".to_owned()));
    assert_eq!(router(r#""compositeId""#), Router::Other("router \"compositeId\"".to_owned()));
    assert_eq!(router("{}"), Router::Other("router {}".to_owned()));
}

#[test]
fn an_alias_shows_what_it_stands_for() {
    let collection = read(seen!("alias"), "one").unwrap().collection;
    assert_eq!((&collection.name[..], collection.alias), ("al1", true));
    assert_eq!(collection.layout.collection, "al1");
    assert_eq!(collection.layout.router, Router::CompositeId { field: None });
    assert!(collection.leaders.iter().all(Option::is_some));
    let itself = ("\"properties\"", r#""aliases":{"c":"c"},"properties""#);
    let collection = read_made(&[itself]).collection;
    assert_eq!((&collection.name[..], collection.alias), ("c", true));
    assert_eq!(collection.layout.router, Router::CompositeId { field: None });
}

#[test]
fn nothing_is_routed_where_an_alias_hides_who_takes_it() {
    let other = |json: &[u8], name: &str| {
        let cluster = read(json, name).unwrap();
        let Router::Other(why) = cluster.collection.layout.router else { panic!("{cluster:?}") };
        assert_eq!(cluster.live, [A, B]);
        (cluster.collection.name, why)
    };
    let is = |name: &str, why: &str| (name.to_owned(), why.to_owned());
    assert_eq!(other(seen!("alias-of-two"), "two"), is("al2", "an alias of 2 collections"));
    assert_eq!(other(seen!("alias-of-alias"), "deep"), is("al1", "an alias of an alias"));
    // CLUSTERSTATUS shows the collection tgt; updates to that name go to al1.
    let why = "an alias with the name of a collection";
    assert_eq!(other(seen!("alias-over-collection"), "tgt"), is("al1", why));
    let routed = "ttt__TRA__2026-11-23";
    let why = "a collection of a routed alias";
    assert_eq!(other(seen!("routed-alias"), "ttt"), is(routed, why));
    assert_eq!(other(seen!("routed-alias"), routed), is(routed, why));
}

#[test]
fn when_it_was_made() {
    let made = read_made(&[("\"router\"", "\"creationTimeMillis\":1795405284927,\"router\"")]);
    assert_eq!(made.collection.created, Some(1795405284927));
    assert_eq!(read_made(&[]).collection.created, None);
}

#[test]
fn read_only() {
    assert!(read(seen!("read-only"), "al2").unwrap().collection.read_only);
    assert!(read_made(&[("\"router\"", "\"readOnly\":true,\"router\"")]).collection.read_only);
    assert!(
        !read_made(&[("\"router\"", "\"readOnly\":\"false\",\"router\"")]).collection.read_only
    );
}

#[test]
fn what_says_nothing_of_the_collection() {
    assert_eq!(read(seen!("not-found"), "nope"), Err(Unread::NoCollection));
    let not_found = br#"{"error":{"msg":"Collection: c not found","code":400}}"#;
    assert_eq!(read(not_found, "c"), Err(Unread::NoCollection));
    assert_eq!(read(made(&[]).as_bytes(), "d"), Err(Unread::NoCollection));
    let gone =
        made(&[("\"c\":", "\"d\":"), ("\"properties\"", r#""aliases":{"c":"e"},"properties""#)]);
    assert_eq!(read(gone.as_bytes(), "c"), Err(Unread::NoCollection));
    let alone =
        br#"{"error":{"msg":"Solr instance is not running in SolrCloud mode.","code":400}}"#;
    assert_eq!(read(alone, "c"), Err(Unread::NotCloud));
    let no_zookeeper = br#"{"responseHeader":{"status":500},"error":{"code":500,
        "msg":"KeeperErrorCode = Session expired\n  for /live_nodes"}}"#;
    let line = "KeeperErrorCode = Session expired for /live_nodes".to_owned();
    assert_eq!(read(no_zookeeper, "c"), Err(Unread::Other(line)));
}

#[test]
fn what_is_no_answer_to_it() {
    let whole = made(&[]);
    for json in ["", "<html>", "[]", "null", "{}", "{\"cluster\":[]}", &whole[..whole.len() - 1]] {
        let Err(Unread::Other(why)) = read(json.as_bytes(), "c") else { panic!("{json}") };
        assert!(
            why.starts_with("not an answer to CLUSTERSTATUS: ") && !why.contains('\n'),
            "{why}"
        );
    }
    assert!(read(b"\xff", "c").is_err());
    let long = format!(r#"{{"error":{{"msg":"{}"}}}}"#, "ß".repeat(10_000));
    let Err(Unread::Other(why)) = read(long.as_bytes(), "c") else { panic!() };
    assert_eq!(why.chars().count(), 300);
}
