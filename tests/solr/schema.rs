//! The collection's own schema refuses what Solr would store as something else, and nothing that Solr would
//! have stored as it was sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{Collection, solrcloud};
use crate::common::{Daemon, Site};

fn reasons(site: &Site, delta: &str) -> Vec<String> {
    let told = site.rejects(delta).into_iter();
    told.map(|r| {
        format!("{} {} {}", r["line"], r["stage"].as_str().unwrap(), r["reason"].as_str().unwrap())
    })
    .collect()
}

/// Delivers this to a new daemon; answers what is in the index then.
fn deliver(
    collection: &Collection,
    site: &Site,
    text: &str,
    fields: &str,
) -> BTreeMap<String, Value> {
    let daemon = Daemon::start(site);
    site.hand_over("x.jsonl", text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    daemon.stop();
    collection.commit();
    collection.fields_in(&format!("{}/{}", collection.urls()[0], collection.name()), fields, "")
}

#[test]
fn what_would_be_mangled_is_refused_and_the_rest_is_stored_as_it_was_sent() {
    let collection = Collection::make("mangled");
    let site = collection.site();
    let docs = deliver(
        &collection,
        &site,
        "{\"id\":\"a\",\"n_i\":17,\"s_s\":\"x\"}\n{\"id\":\"b\",\"n_i\":1.5}\n\
         {\"id\":\"c\",\"n_i\":99999999999}\n{\"id\":\"d\",\"nosuch\":1}\n{\"id\":\"e\",\"n_i\":[1,2]}\n\
         {\"id\":\"f\",\"x_dt\":\"yesterday\"}\n{\"id\":\"g\",\"n_l\":99999999999,\"n_is\":[1,2]}\n\
         {\"id\":\"h\",\"x_dt\":\"2024-02-30T00:00:00Z\"}\n",
        "id,n_i,s_s,n_l,n_is",
    );
    let expected = [
        ("a", json!({"id": "a", "n_i": 17, "s_s": "x"})),
        ("g", json!({"id": "g", "n_l": 99_999_999_999_i64, "n_is": [1, 2]})),
    ];
    assert_eq!(docs, expected.map(|(id, doc)| (id.to_owned(), doc)).into());
    assert_eq!(
        reasons(&site, "x.jsonl"),
        [
            "2 convert n_i (pint): 1.5 is no whole number, and Solr would store 1",
            "3 convert n_i (pint): 99999999999 is beyond 32 bits, and Solr would store 1215752191",
            "4 convert unknown field nosuch: the schema has none of that name",
            "5 convert n_i (pint): 2 values, and it takes one",
            "6 convert x_dt (pdate): \"yesterday\" is no date as Solr has them: need one such as \
             \"2024-07-02T09:05:45Z\"",
            "8 solr ERROR: [doc=h] Error adding field 'x_dt'='2024-02-30T00:00:00Z' msg=Invalid Date in Date \
             Math String:'2024-02-30T00:00:00Z'",
        ]
    );
}

#[test]
fn where_solr_makes_fields_of_unknown_names_none_is_refused() {
    let collection = Collection::none_yet("schemaless");
    solrcloud(&[
        "create",
        "schemaless",
        "--shards",
        "2",
        "--replicas",
        "2",
        "--config",
        "_default",
    ]);
    let site = collection.site();
    let docs = deliver(
        &collection,
        &site,
        "{\"id\":\"a\",\"color\":\"red\",\"size\":5,\"odd name\":\"x\"}\n{\"id\":\"b\",\"n_i\":1.5}\n\
         {\"id\":\"c\",\"x_dt\":\"2024-07-02\",\"n_i\":\"\"}\n{\"id\":\"d\",\"size\":7,\"n_l\":\"1,234\"}\n",
        "id,color,size,odd_name,n_i,x_dt,n_l",
    );
    let expected = [
        ("a", json!({"id": "a", "color": ["red"], "size": [5], "odd_name": ["x"]})),
        ("c", json!({"id": "c", "x_dt": "2024-07-02T00:00:00Z"})),
        ("d", json!({"id": "d", "size": [7], "n_l": 1234})),
    ];
    assert_eq!(docs, expected.map(|(id, doc)| (id.to_owned(), doc)).into());
    assert_eq!(
        reasons(&site, "x.jsonl"),
        ["2 convert n_i (pint): 1.5 is no whole number, and Solr would store 1"]
    );
    let check = site.run(&["check", "--solr"]).code(0);
    assert!(
        check.stdout.contains("add-unknown-fields-to-the-schema changes what it is given"),
        "{check:?}"
    );
}

#[test]
fn a_field_that_is_added_while_we_run_is_not_refused() {
    let collection = Collection::make("mended");
    let site = collection.site();
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"a\",\"hue\":\"red\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(
        reasons(&site, "a.jsonl"),
        ["1 convert unknown field hue: the schema has none of that name"]
    );
    // (The other collections have it from now on, too.)
    let field = r#"{"add-field":{"name":"hue","type":"string"}}"#;
    collection.post("schema", field);
    site.run(&["retry", "a.jsonl"]).code(0);
    site.hand_over("b.jsonl", "{\"id\":\"b\",\"hue\":\"blue\"}\n");
    daemon.wait("all is delivered", |status| {
        status["totals"]["deltas"] == 3 && status["spool"]["rejected"]["lines"] == 0
    });
    daemon.stop();
    assert_eq!(collection.docs().into_keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn behind_processors_that_are_named_elsewhere_solr_judges_alone() {
    let collection = Collection::make("chain");
    let site = collection.site();
    // (The configuration is the other collections', too.)
    collection.post(
        "config",
        r#"{"add-updateprocessor":{"name":"t","class":"solr.TrimFieldUpdateProcessorFactory"}}"#,
    );
    collection.post(
        "config",
        r#"{"add-initparams":{"name":"p","path":"/update","defaults":{"processor":"t"}}}"#,
    );
    let check = site.run(&["check", "--solr"]);
    collection.post("config", r#"{"delete-initparams":"p"}"#);
    collection.post("config", r#"{"delete-updateprocessor":"t"}"#);
    let words = "its /update has processors of its own, so nothing is held against its schema";
    assert!(check.code(0).stdout.contains(words));
    let check = site.run(&["check", "--solr"]).code(0);
    assert!(
        check.stdout.contains("what its schema refuses is refused before it is sent"),
        "{check:?}"
    );
}

#[test]
fn check_solr_finds_what_the_real_schema_has_not() {
    let collection = Collection::make("checked");
    let site = collection.site();
    site.configure(
        "solr.min_rf = 3\n[convert.fields]\nid = 'sku'\nname_s = 'title'\nnosuch = 'x'\ncat_s = 'categories[].name'\n\
         n_i = { from = 'price', type = 'date' }\nm_i = { from = 'price', scale = 0.01 }",
    );
    let check = site.run(&["check", "--solr"]).code(78);
    for words in [
        "solr.min_rf = 3: 2 can have an update of shard1",
        "convert.fields.nosuch: the schema has no such field",
        "convert.fields.cat_s = \"categories[].name\": makes a list, and the field takes one value",
        "convert.fields.n_i.type = \"date\": the field is a pint: no value fits",
    ] {
        assert!(check.stderr.contains(words), "{words}: {check:#?}");
    }
    assert!(
        check.stdout.contains("convert.fields.m_i.scale = 0.01: the field is a pint"),
        "{check:#?}"
    );
    site.configure("[convert.fields]\nid = 'sku'\nname_s = 'title'");
    let check = site.run(&["check", "--solr"]).code(0);
    assert!(
        check.stdout.contains("what its schema refuses is refused before it is sent"),
        "{check:#?}"
    );
}
