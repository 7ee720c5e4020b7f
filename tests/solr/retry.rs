//! `retry` on a real SolrCloud: all of a delta arrives when the schema is mended, nothing of it twice that need
//! not be, and nothing goes over what is newer.

use serde_json::{Value, json};

use crate::cluster::Collection;
use crate::common::{Daemon, Delta, assert_same, wait_for};

/// A field that no schema here has.
const FIELD: &str = "added_when_mended";

/// How many documents Solr has taken, as the cores of this collection say; each has two replicas, and both
/// take it.
fn taken(collection: &Collection) -> u64 {
    let core = format!("solr.core.{}.", collection.name());
    let mut sum = 0;
    for url in collection.urls() {
        let query = "group=core&prefix=UPDATE.updateHandler.cumulative&wt=json";
        let answer: Value =
            serde_json::from_str(&collection.get(&format!("{url}/admin/metrics?{query}"))).unwrap();
        for (_, values) in
            answer["metrics"].as_object().unwrap().iter().filter(|(n, _)| n.starts_with(&core))
        {
            let count = |name: &str| {
                let value = &values[format!("UPDATE.updateHandler.cumulative{name}")];
                value.as_u64().or_else(|| value["count"].as_u64()).expect("a number")
            };
            // What is refused counts as an add and as an error.
            sum += count("Adds") - count("Errors");
        }
    }
    assert_eq!(sum % 2, 0, "a replica has missed something");
    sum / 2
}

/// The schema gets the field, and every core has it.
fn mend(collection: &Collection) {
    let url = format!("{}/{}", collection.urls()[0], collection.name());
    let field = json!({"add-field": {"name": FIELD, "type": "pint"}}).to_string();
    let update = |path: &str, body: &str| {
        let request =
            ureq::post(format!("{url}/{path}")).header("Content-Type", "application/json");
        request.send(body).is_ok()
    };
    assert!(update("schema", &field), "the schema can be changed");
    // Sixteen ids are in both shards.
    let docs: Vec<Value> = (0..16).map(|n| json!({"id": format!("probe-{n}"), FIELD: n})).collect();
    wait_for("the field is known everywhere", || update("update", &json!(docs).to_string()));
    let delete: Vec<String> = (0..16).map(|n| format!("probe-{n}")).collect();
    assert!(update("update", &json!({"delete": delete}).to_string()));
}

#[test]
fn a_mistake_in_the_schema_stops_a_delta_early_and_mended_all_of_it_is_delivered() {
    let collection = Collection::make("mended");
    let site = collection.site();
    let daemon = Daemon::start(&site);
    // With RETRY_LINES=1000000 it is the million.
    let count = std::env::var("RETRY_LINES").map_or(100_000, |n| n.parse().expect("a number"));
    let mut delta = Delta::default();
    for n in 0..count {
        let id = format!("offer-{n:06}");
        match (2_000..3_000).contains(&n) {
            true => delta.line(&json!({"id": id, "price_i": n, FIELD: n}).to_string()),
            false => delta.line(&json!({"id": id, "price_i": n}).to_string()),
        };
        delta.docs.insert(id.clone(), json!({"id": id, "price_i": n}));
    }
    site.hand_over("x.jsonl", &delta.text);
    let status = daemon.wait("it has failed", |status| status["totals"]["deltas"] == 1);
    let (confirmed, rejected) =
        (status["totals"]["docs"].as_u64().unwrap(), site.rejects("x.jsonl").len());
    eprintln!("stopped after {confirmed} documents and {rejected} rejects");
    assert!(site.names("failed").contains(&"x.jsonl".to_owned()));
    assert!(confirmed < count / 2 && (200..=1_000).contains(&rejected), "{confirmed}, {rejected}");
    assert_eq!(taken(&collection), confirmed, "what Solr has is what is counted");

    mend(&collection);
    let before = taken(&collection);
    site.run(&["retry", "x.jsonl"]).code(0).says("1 failed delta, the rejected lines of 1 delta");
    let docs = |status: &Value| status["totals"]["docs"].as_u64().unwrap();
    let is_settled = |s: &Value| s["totals"]["deltas"] == 3 && s["spool"]["active"].is_null();
    let mut so_far = confirmed;
    // As long as it goes on: a million takes its time.
    let status = loop {
        let status = daemon.wait("it goes on", |s| is_settled(s) || docs(s) > so_far);
        if is_settled(&status) {
            break status;
        }
        so_far = docs(&status);
    };
    assert!(site.is_done("x.jsonl") && site.names("rejected").is_empty());
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!(
        (&status["totals"]["docs"], &status["totals"]["superseded"]),
        (&json!(count), &json!(0))
    );
    let again = taken(&collection) - before;
    assert_eq!(again, count - confirmed, "nothing was delivered twice");
    daemon.stop();
}

#[test]
fn an_old_line_goes_over_what_is_old_and_never_over_what_is_newer() {
    let collection = Collection::make("guarded");
    let site = collection.site();
    let daemon = Daemon::start(&site);
    let line = |id: &str, price: i32| json!({"id": id, "price_i": price}).to_string() + "\n";
    let bad = |id: &str| json!({"id": id, "price_i": "none"}).to_string() + "\n";
    site.hand_over("a.jsonl", line("same", 1) + &line("newer", 1) + &line("gone", 1));
    site.hand_over("b.jsonl", ["same", "newer", "absent"].map(bad).concat());
    site.hand_over("c.jsonl", line("newer", 3));
    daemon.wait("they are settled", |status| status["totals"]["deltas"] == 3);
    // Mended by hand: what was rejected says now what it should have said.
    let path = site.spool("rejected/b.jsonl.rejected.jsonl");
    let mut mended = String::new();
    for mut reject in site.rejects("b.jsonl") {
        reject["raw"] = json!(reject["raw"].as_str().unwrap().replace("\"none\"", "2"));
        mended += &(reject.to_string() + "\n");
    }
    let gone = json!({"delete": {"id": "gone"}}).to_string();
    let mut delete: Value = serde_json::from_str(mended.lines().next().unwrap()).unwrap();
    (delete["raw"], delete["line"]) = (json!(gone), json!(4));
    std::fs::write(path, mended + &delete.to_string() + "\n").unwrap();
    site.run(&["retry", "b.jsonl"]).code(0);
    let status = daemon.wait("they are retried", |status| {
        status["totals"]["deltas"] == 4 && status["spool"]["active"].is_null()
    });
    let totals = ["superseded", "deletes"].map(|n| status["totals"][n].as_u64());
    assert_eq!(totals, [Some(1), Some(1)], "{}", status["totals"]);
    let prices: Vec<(String, Value)> =
        collection.docs().into_iter().map(|(id, doc)| (id, doc["price_i"].clone())).collect();
    let expected =
        [("absent", 2), ("newer", 3), ("same", 2)].map(|(id, p)| (id.to_owned(), json!(p)));
    assert_eq!(prices, expected);
    daemon.stop();
}
