//! The fake answers what the real one was seen to answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{ClusterStatus, FakeCluster, FakeSolr, Mode, Play, Router, nobody, route};

/// Status and body; an error if there is no answer.
fn send(method: &str, url: &str, body: &str) -> std::io::Result<(u16, String)> {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let stream = TcpStream::connect(address)?;
    let length = body.len();
    let head = format!("{method} /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    { &stream }.write_all(format!("{head}{body}").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut header = String::new();
        match (reader.read_line(&mut header)?, header.strip_prefix("Content-Length: ")) {
            (0, _) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            (_, Some(value)) => length = value.trim().parse().unwrap(),
            _ if header == "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, String::from_utf8(body).unwrap()))
}

fn post(url: &str, body: &str) -> (u16, Value) {
    let (status, body) = send("POST", &format!("{url}/update?versions=true"), body).unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn docs(ids: &[&str]) -> String {
    let members: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    format!("[{}]", members.join(","))
}

fn cluster_status(node: &FakeSolr, name: &str) -> (u16, Value) {
    let action = format!("action=CLUSTERSTATUS&collection={name}&wt=json");
    let url = format!("{}/admin/collections?{action}", node.url);
    let (status, body) = send("GET", &url, "").unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// A list of a receipt: each id, and whether its version is one.
fn receipt<'a>(answer: &'a Value, list: &str) -> Vec<(&'a str, i64)> {
    let list = answer[list].as_array().map_or(&[][..], Vec::as_slice);
    let pair = |pair: &'a [Value]| (pair[0].as_str().unwrap(), pair[1].as_i64().unwrap().signum());
    list.chunks(2).map(pair).collect()
}

#[test]
fn an_id_has_the_hash_that_solr_gives_it() {
    for (id, hash) in [
        ("a", 0x3c2569b2_u32),
        ("offer-000000001", 0x12df5793),
        ("offer-000000002", 0x98fbe996),
        ("7zip:amd64", 0xe073035c),
        ("Größe", 0xe36f382e),
        ("42", 0xbc58a436),
        ("日本語", 0xa5a47297),
        ("😀", 0xbeb42efa),
        ("", 0),
    ] {
        assert_eq!(route::hash(id) as u32, hash, "{id}");
    }
}

#[test]
fn the_shards_have_all_hashes_in_equal_parts() {
    let hex = |n| route::ranges(n).iter().map(|(a, b)| format!("{a:x}-{b:x}")).collect::<Vec<_>>();
    assert_eq!(hex(1), ["80000000-7fffffff"]);
    assert_eq!(hex(2), ["80000000-ffffffff", "0-7fffffff"]);
    for n in 1..10 {
        let ranges = route::ranges(n);
        assert_eq!((ranges[0].0, ranges[n - 1].1), (i32::MIN, i32::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    }
}

#[test]
fn a_node_alone_takes_updates_in_order_up_to_the_first_document_at_fault() {
    let solr = FakeSolr::start();
    let url = format!("{}/offers", solr.url);
    let body = r#"{"add":{"doc":{"id":"a"}},"delete":{"id":"a"},"add":{"doc":{"id":2}},
        "delete":["x","y"],"add":{"doc":{"id":"b","bad":1}},"add":{"doc":{"id":"c"}}}"#;
    let (status, answer) = post(&url, body);
    assert_eq!(status, 400);
    assert_eq!(receipt(&answer, "adds"), [("a", 1), ("2", 1)]);
    assert_eq!(receipt(&answer, "deletes"), [("a", -1), ("x", -1), ("y", -1)]);
    assert_eq!(answer["error"]["msg"], "ERROR: [doc=b] unknown field 'bad'");
    assert_eq!(solr.order(), ["a", "a", "2", "x", "y"]);
    assert_eq!((solr.ids(), solr.taken(), solr.forwarded()), (vec!["2".into()], 5, 0));
    for (bad, code, message) in [
        (r#"[{"id":"1"},{"id":"2","bad_x":1}]"#, 400, "ERROR: [doc=2] unknown field 'bad_x'"),
        (r#"[{"id":"1"},{"x":1}]"#, 400, "Document is missing mandatory uniqueKey field: id"),
        (r#"[{"id":"1"},{"id":"2","poison":1}]"#, 500, "java.lang.IllegalStateException: poison"),
    ] {
        let (status, answer) = post(&url, bad);
        assert_eq!((status, &answer["error"]["code"]), (code, &json!(code)));
        assert_eq!(
            (&answer["error"]["msg"], receipt(&answer, "adds")),
            (&json!(message), vec![("1", 1)])
        );
    }
    assert_eq!(post(&url, "[]"), (200, json!({"responseHeader": {"status": 0, "QTime": 1}})));
    assert_eq!((solr.requests(), solr.lock().requests.len()), (5, 5));
    assert!(solr.lock().requests[0].0.starts_with("POST /solr/offers/update?versions=true "));
    assert_eq!(solr.lock().requests[4].1, "[]");
    // The same by the core that CLUSTERSTATUS names.
    let (_, status) = cluster_status(&solr, "offers");
    let shard = &status["cluster"]["collections"]["offers"]["shards"]["shard1"];
    let replica = shard["replicas"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&replica["leader"], &replica["base_url"]), (&json!("true"), &json!(solr.url)));
    let core = format!("{}/{}", solr.url, replica["core"].as_str().unwrap());
    assert_eq!(receipt(&post(&core, &docs(&["z"])).1, "adds"), [("z", 1)]);
    assert_eq!((solr.asked(), solr.requests()), (1, 6));
}

#[test]
fn the_leaders_receipt_has_versions_and_that_of_others_has_none() {
    let cluster = FakeCluster::start(2);
    let (a, b) = (cluster.ids_of(0, 2), cluster.ids_of(1, 2));
    let body = docs(&[&a[0], &b[0], &a[1], &b[1]]);
    let core = |shard, node| cluster.core_url(shard, node).unwrap();
    let versions = |url: &str| {
        let (status, answer) = post(url, &body);
        assert_eq!(status, 200);
        receipt(&answer, "adds").iter().map(|(_, version)| *version).collect::<Vec<_>>()
    };
    assert_eq!(versions(&core(0, 0)), [1, 0, 1, 0]);
    assert_eq!(versions(&core(1, 1)), [0, 1, 0, 1]);
    assert_eq!(versions(&format!("{}/c", cluster.node(1).url)), [0, 1, 0, 1]);
    assert_eq!((cluster.node(0).forwarded(), cluster.node(1).forwarded()), (2, 4));
    assert_eq!((cluster.node(0).taken(), cluster.node(1).taken(), cluster.taken()), (6, 6, 12));
    assert_eq!(cluster.docs().len(), 4);

    // Who led is a follower, and forwards all.
    cluster.lead(0, 1);
    assert_eq!((cluster.leader(0), cluster.leader(1)), (Some(1), Some(1)));
    assert_eq!(versions(&core(0, 0)), [0, 0, 0, 0]);
    assert_eq!(versions(&core(0, 1)), [1, 0, 1, 0], "one core is not the other");
    // Gone from a node, a request for it is proxied to where it is.
    let old = core(0, 0);
    cluster.remove(0, 0);
    assert_eq!(cluster.core_url(0, 0), None);
    assert_eq!(post(&old, &body).0, 404, "nobody has that core");
    let forwarded = cluster.forwarded();
    let elsewhere = core(0, 1).replace(&cluster.node(1).url, &cluster.node(0).url);
    assert_eq!(versions(&elsewhere), [1, 0, 1, 0]);
    assert_eq!(cluster.node(0).forwarded() + cluster.node(1).forwarded(), forwarded + 4 + 2);
}

#[test]
fn after_a_fault_at_another_leader_the_receipt_says_nothing_about_the_rest() {
    let cluster = FakeCluster::start(2);
    let b = cluster.ids_of(1, 6);
    let mut body: Vec<Value> = b.iter().map(|id| json!({"id": id})).collect();
    body[1]["bad"] = json!(1);
    let (status, answer) = post(&cluster.core_url(0, 0).unwrap(), &json!(body).to_string());
    assert_eq!((status, receipt(&answer, "adds").len()), (400, 6));
    assert!(receipt(&answer, "adds").iter().all(|(_, version)| *version == 0));
    let there = &cluster.node(1).url;
    let message = format!(
        "Async exception during distributed update: Error from server at {there}: null\n\n\n\n\
         request: {there}\nRemote error message: ERROR: [doc={}] unknown field 'bad'",
        b[1]
    );
    assert_eq!(answer["error"]["msg"], message);
    assert_eq!(cluster.order(), [&*b[0], &b[2], &b[4]], "some are in, some are not");
}

#[test]
fn a_leader_that_is_gone_is_refused_then_missed() {
    let cluster = FakeCluster::start(2);
    let (a, b) = (cluster.ids_of(0, 1), cluster.ids_of(1, 1));
    let (url, core) = (format!("{}/c", cluster.node(0).url), cluster.core_url(1, 1).unwrap());
    let body = docs(&[&a[0], &b[0], &a[0]]);
    cluster.node(1).turn(Mode::Down);
    let refused = send("POST", &format!("{core}/update"), &body).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let (status, answer) = post(&url, &body);
    let message =
        "Async exception during distributed update: java.net.ConnectException: Connection refused";
    assert_eq!((status, &answer["error"]["msg"]), (500, &json!(message)));
    assert_eq!(receipt(&answer, "adds"), [(&*a[0], 1), (&b[0], 0), (&a[0], 1)]);
    assert_eq!(
        cluster_status(cluster.node(0), "c").1["cluster"]["live_nodes"].as_array().unwrap().len(),
        2
    );

    cluster.end_session(1);
    let (status, answer) = post(&url, &body);
    let message = answer["error"]["msg"].as_str().unwrap();
    assert!(message.starts_with(
        "No registered leader was found after waiting for 4000ms , collection: c slice: shard2 "
    ));
    assert_eq!((status, receipt(&answer, "adds")), (503, vec![(&*a[0], 1)]));
    let (_, status) = cluster_status(cluster.node(0), "c");
    assert_eq!(status["cluster"]["live_nodes"].as_array().unwrap().len(), 1);
    assert!(status.to_string().contains(r#""state":"down""#), "{status}");

    cluster.node(1).turn(Mode::Up);
    cluster.lead(1, 1);
    assert_eq!(receipt(&post(&core, &docs(&[&b[0]])).1, "adds"), [(&*b[0], 1)]);
    cluster.lose_leader(1);
    assert_eq!((cluster.leader(1), post(&core, &body).0), (None, 503));
    cluster.remove(1, 1);
    cluster.remove(0, 0);
    assert_eq!(post(&url, &body).0, 510);
}

#[test]
fn clusterstatus_is_as_true_as_it_is_told_to_be() {
    let cluster = FakeCluster::start(2);
    let node = cluster.node(0);
    let leaders = |status: &Value| {
        let shards = status["cluster"]["collections"]["c"]["shards"].as_object().unwrap();
        let replicas = shards.values().map(|s| s["replicas"].as_object().unwrap().values());
        let leaders = replicas.flatten().filter(|r| r["leader"] == "true");
        leaders.map(|r| r["base_url"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(leaders(&cluster_status(node, "c").1), cluster.urls());
    node.tell(ClusterStatus::Stale);
    cluster.lead(1, 0);
    assert_eq!(leaders(&cluster_status(node, "c").1), cluster.urls());
    assert_eq!(leaders(&cluster_status(cluster.node(1), "c").1), [node.url(), node.url()]);
    cluster.tell(ClusterStatus::True);
    assert_eq!(leaders(&cluster_status(node, "c").1), [node.url(), node.url()]);

    let not_found = |name| (400, json!(format!("Collection: {name} not found")));
    let message = |(status, answer): (u16, Value)| (status, answer["error"]["msg"].clone());
    assert_eq!(message(cluster_status(node, "nope")), not_found("nope"));
    node.tell(ClusterStatus::NoCollection);
    assert_eq!(message(cluster_status(node, "c")), not_found("c"));
    node.tell(ClusterStatus::NotSolrCloud);
    let alone = json!("Solr instance is not running in SolrCloud mode.");
    assert_eq!(message(cluster_status(node, "c")), (400, alone));
    node.tell(ClusterStatus::Answer(403, "text/html", "<html>".into()));
    assert_eq!(cluster_status(node, "c"), (403, json!("<html>")));
    node.tell(ClusterStatus::Slow(Duration::from_millis(50)));
    let begin = Instant::now();
    assert_eq!(leaders(&cluster_status(node, "c").1).len(), 2);
    assert!(begin.elapsed() >= Duration::from_millis(50));
    node.tell(ClusterStatus::True);
    node.turn(Mode::NoCollection);
    assert_eq!(message(cluster_status(node, "c")), not_found("c"));
    assert_eq!(post(&format!("{}/c", node.url), "[]").0, 404);
    node.turn(Mode::Up);

    cluster.alias("other");
    let (_, status) = cluster_status(node, "other");
    assert_eq!(
        (&status["cluster"]["aliases"], leaders(&status).len()),
        (&json!({"other": "c"}), 2)
    );
    assert_eq!(post(&format!("{}/other", node.url), &docs(&["x"])).0, 200);
    let names = |asked: &str| cluster_status(node, asked).1["cluster"]["collections"]["c"].clone();
    assert_eq!(
        (&names("c")["aliases"], &names("other")["aliases"]),
        (&json!(["other"]), &Value::Null)
    );
    cluster.set_read_only(true);
    assert_eq!(cluster_status(node, "c").1["cluster"]["collections"]["c"]["readOnly"], "true");
    let read_only = (403, json!("Collection c is read-only."));
    assert_eq!(message(post(&format!("{}/c", node.url), &docs(&["x"]))), read_only);
}

#[test]
fn the_halves_of_a_shard_take_over() {
    let cluster = FakeCluster::start(2);
    let id = &cluster.ids_of(0, 1)[0];
    let halves = cluster.split(0);
    let shard = cluster.shard_of(id);
    assert!(halves.contains(&shard));
    let (_, status) = cluster_status(cluster.node(1), "c");
    let shards = &status["cluster"]["collections"]["c"]["shards"];
    let shape = |name: &str| (shards[name]["range"].clone(), shards[name]["state"].clone());
    assert_eq!(shape("shard1"), (json!("80000000-ffffffff"), json!("inactive")));
    assert_eq!(shape("shard1_0"), (json!("80000000-bfffffff"), json!("active")));
    assert_eq!(shape("shard1_1"), (json!("c0000000-ffffffff"), json!("active")));
    let version = |shard| {
        let answer = post(&cluster.core_url(shard, 0).unwrap(), &docs(&[id])).1;
        receipt(&answer, "adds")[0].1
    };
    assert_eq!((version(0), version(shard)), (0, 1));
}

#[test]
fn a_collection_that_routes_otherwise_says_so() {
    let cluster = FakeCluster::start(2);
    let (a, b) = (&cluster.ids_of(0, 1)[0], &cluster.ids_of(1, 1)[0]);
    let url = cluster.core_url(0, 0).unwrap();
    let router =
        || cluster_status(cluster.node(0), "c").1["cluster"]["collections"]["c"]["router"].clone();
    cluster.route_by(Router::Field("f".into()));
    assert_eq!(router(), json!({"name": "compositeId", "field": "f"}));
    let body = json!([{"id": b, "f": a}, {"id": a, "f": b}, {"id": a}]).to_string();
    let (status, answer) = post(&url, &body);
    assert_eq!((status, receipt(&answer, "adds")), (400, vec![(&**b, 1), (a, 0)]));
    assert_eq!(answer["error"]["msg"], "No value for :f. Unable to identify shard");
    assert_eq!(
        receipt(&post(&url, &json!({"delete": {"id": b}}).to_string()).1, "deletes"),
        [(&**b, -1)]
    );
    cluster.route_by(Router::Implicit);
    assert_eq!(router(), json!({"name": "implicit", "field": null}));
    assert_eq!(receipt(&post(&url, &docs(&[a, b])).1, "adds"), [(&**a, 1), (b, 1)]);
}

#[test]
fn what_is_held_is_under_way_until_it_is_let_go() {
    let cluster = FakeCluster::start(2);
    let urls = [cluster.core_url(0, 0).unwrap(), cluster.core_url(1, 1).unwrap()];
    let ids = [cluster.ids_of(0, 1), cluster.ids_of(1, 1)];
    cluster.node(0).turn(Mode::Hold);
    cluster.node(1).play([Play::Hold]);
    std::thread::scope(|scope| {
        for shard in [0, 0, 1] {
            let (url, body) = (&urls[shard], docs(&[&ids[shard][0]]));
            scope.spawn(move || assert_eq!(post(url, &body).0, 200));
        }
        cluster.node(0).wait(|seen| seen.requests.len() == 2);
        cluster.node(1).wait(|seen| seen.requests.len() == 1);
        assert_eq!((cluster.under_way(0), cluster.under_way(1)), (2, 1));
        assert_eq!((cluster.node(0).under_way(), cluster.node(1).under_way()), (2, 1));
        assert_eq!(cluster.taken(), 0);
        assert_eq!(cluster_status(cluster.node(0), "c").0, 200, "it only holds updates");
        cluster.node(0).turn(Mode::Up);
        cluster.node(0).wait(|seen| seen.docs.contains_key(&ids[0][0]));
        assert_eq!(cluster.under_way(1), 1);
        cluster.node(1).release();
    });
    assert_eq!((cluster.under_way(0), cluster.under_way(1)), (0, 0));
    assert_eq!((cluster.most_under_way(0), cluster.node(1).most_under_way()), (2, 1));
    assert_eq!(cluster.taken(), 3);
}

#[test]
fn a_node_that_was_down_is_there_again_with_what_it_had() {
    let solr = FakeSolr::in_mode(Mode::Down);
    let url = format!("{}/c", solr.url);
    assert!(send("POST", &format!("{url}/update"), "[]").is_err());
    solr.turn(Mode::Up);
    assert_eq!(post(&url, &docs(&["a"])).0, 200);
    solr.turn(Mode::Down);
    solr.turn(Mode::Slow(Duration::from_millis(1)));
    assert_eq!(post(&url, &docs(&["b"])).0, 200);
    assert_eq!((solr.order(), solr.lock().requests.len()), (vec!["a".into(), "b".into()], 0));
    let clone = solr.clone();
    drop(solr);
    assert_eq!(post(&url, "[]").0, 200, "the other handle keeps it up");
    drop(clone);
    assert!(send("POST", &format!("{url}/update"), "[]").is_err());
    assert!(send("POST", &nobody(), "[]").is_err());
}

#[test]
fn a_play_takes_the_place_of_one_answer() {
    let solr = FakeSolr::start();
    let url = format!("{}/c", solr.url);
    let html = || Play::Answer(302, "text/html", "<html>".into());
    solr.play([html(), Play::Lost, Play::CloseAfter, Play::Silence(Duration::ZERO)]);
    assert_eq!(post(&url, &docs(&["a"])), (302, json!("<html>")));
    let lost = json!({"responseHeader": {"rf": 2147483647, "status": 0}});
    assert_eq!(post(&url, &docs(&["b"])), (200, lost));
    assert!(send("POST", &format!("{url}/update"), &docs(&["c"])).is_err());
    assert!(send("POST", &format!("{url}/update"), &docs(&["d"])).is_err());
    assert_eq!(solr.order(), ["c"]);
    solr.lock().always = Some(html());
    assert_eq!((post(&url, "[]").0, post(&url, "[]").0), (302, 302));
    (solr.lock().always, solr.lock().refuse_over) = (None, Some(10));
    assert!(send("POST", &format!("{url}/update"), &docs(&["e"])).is_err());
    assert_eq!(post(&url, "[]").0, 200);
}
