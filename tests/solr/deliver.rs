//! Every document arrives, whoever is killed on the way; what Solr refuses is told in its words.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::cluster::{Collection, offers, solrcloud};
use crate::common::{Daemon, Delta, assert_same, rejects};

/// How many documents and deletes the daemon has delivered.
fn delivered(status: &Value) -> u64 {
    status["totals"]["docs"].as_u64().unwrap() + status["totals"]["deletes"].as_u64().unwrap()
}

#[test]
fn every_document_of_a_delta_arrives() {
    let collection = Collection::make("every-document");
    let site = collection.site();
    let daemon = Daemon::start(&site);
    let first = offers(&["5000", "1"]);
    let second = offers(&["20000", "2", "--deletes", "100"]);
    site.hand_over("a.jsonl", &first.text);
    site.hand_over("b.jsonl", &second.text);
    let status = daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
    // Every id of the first is in the second, with a new price or as a delete.
    assert!(first.docs.keys().any(|id| !second.docs.contains_key(id)));
    assert_same(&collection.docs(), &second.docs);
    assert_eq!(delivered(&status), 25_000);
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    site.check_updater(&[]).code(0).says("UPDATER OK");
    site.run(&["check", "--solr"]).code(0);
    daemon.stop();
}

#[test]
fn a_delta_with_bad_lines() {
    let collection = Collection::make("bad-lines");
    let site = collection.site();
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    for n in 1..=3_000 {
        match n {
            700 => delta.line(r#"{"id":"cut","pri"#),
            1_400 => delta.line(r#"{"id":"unknown","nosuchfield":"x"}"#),
            1_401 => delta.line(r#"{"id":"date","x_dt":"2024-02-30T00:00:00Z"}"#),
            2_100 => delta.line(r#"{"price_i":7}"#),
            _ => delta.doc(json!({"id": format!("offer-{n}"), "price_i": n, "name_s": "Größe"})),
        };
    }
    delta.text.push_str(r#"{"id":"last","price_i":"#);
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&collection.docs(), &delta.docs);
    let told: Vec<_> = site
        .rejects("x.jsonl")
        .iter()
        .map(|r| [&r["line"], &r["stage"], &r["id"], &r["status"]].map(Value::clone))
        .collect();
    let expected = [
        [json!(700), json!("parse"), Value::Null, Value::Null],
        [json!(1_400), json!("convert"), Value::Null, Value::Null],
        [json!(1_401), json!("solr"), json!("date"), json!(400)],
        [json!(2_100), json!("convert"), Value::Null, Value::Null],
        [json!(3_001), json!("parse"), Value::Null, Value::Null],
    ];
    assert_eq!(told, expected);
    let reasons: Vec<String> =
        site.rejects("x.jsonl").iter().map(|r| r["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons[1], "unknown field nosuchfield: the schema has none of that name");
    let date = "ERROR: [doc=date] Error adding field 'x_dt'='2024-02-30T00:00:00Z' msg=Invalid Date in Date \
                Math String:'2024-02-30T00:00:00Z'";
    assert_eq!(reasons[2], date);
    let check = site.check_updater(&[]).code(1);
    assert!(check.stdout.starts_with("UPDATER WARNING - 5 lines rejected"), "{check:?}");
    daemon.stop();
}

#[test]
fn many_bad_lines_cost_no_good_one() {
    let collection = Collection::make("many-bad-lines");
    let site = collection.site();
    let daemon = Daemon::start(&site);
    let delta = offers(&["5000", "3", "--bad", "30"]);
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!(site.rejects("x.jsonl").len(), delta.lines - delta.docs.len());
    daemon.stop();
}

#[test]
fn a_killed_worker_loses_no_line() {
    let collection = Collection::make("killed-worker");
    let site = collection.site();
    site.configure("batch.docs = 100\nworkers.count = 3");
    let daemon = Daemon::start(&site);
    let delta = offers(&["20000", "4"]);
    site.hand_over("x.jsonl", &delta.text);
    for kill in 1..=5 {
        daemon.wait("it is so far", |status| delivered(status) >= kill * 3_000);
        daemon.workers()[kill as usize % 3].signal(Signal::SIGKILL);
    }
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!(status["totals"]["worker_deaths"], 5);
    assert_eq!(site.names("rejected"), [""; 0]);
    daemon.stop();
}

#[test]
fn a_new_daemon_goes_on_from_the_checkpoints_of_a_killed_one() {
    let collection = Collection::make("killed-parent");
    let site = collection.site();
    site.configure("batch.docs = 100");
    let delta = offers(&["20000", "5"]);
    let mut daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &delta.text);
    for _ in 0..3 {
        daemon.wait("it is under way", |status| delivered(status) >= 4_000);
        daemon.kill();
        daemon = Daemon::start(&site);
    }
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!((site.names("rejected"), site.names("done")), (vec![], vec!["x.jsonl".into()]));
    daemon.stop();
}

#[test]
fn feed_delivers() {
    let collection = Collection::make("feed");
    let site = collection.site();
    let delta = offers(&["10000", "6"]);
    std::fs::write(site.path("x.jsonl"), &delta.text).unwrap();
    site.run(&["feed", "x.jsonl"])
        .code(0)
        .says("10000 lines, 10000 documents, 0 deletes, 0 rejected");
    assert_same(&collection.docs(), &delta.docs);
    let bad = b"{\"id\":\"a\",\"price_i\":{\"nosuch\":1}}\n{\"id\":\"b\"}\n";
    site.run_with_input(&["feed", "-"], bad).code(1).says("1 rejected");
    let told = rejects(&site.path("stdin.rejected.jsonl"));
    assert_eq!(
        told[0]["reason"],
        "Error:[doc=a] Unknown operation for the an atomic update: nosuch"
    );
}

#[test]
fn a_missing_collection_is_critical_for_run_and_an_error_for_feed_and_check() {
    let collection = Collection::none_yet("missing");
    solrcloud(&["drop", "missing"]);
    let site = collection.site();
    let words = "collection missing not found";
    site.run(&["check", "--solr"]).code(1).says(words);
    site.run_with_input(&["feed", "-"], b"{\"id\":\"a\"}\n").code(1).says(words);
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is critical", |status| status["health"]["state"] == "critical");
    site.check_updater(&["-v"]).code(2).says(words);
    collection.create();
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(collection.docs().into_keys().collect::<Vec<_>>(), ["x"]);
    site.check_updater(&[]).code(0);
    daemon.stop();
}
