//! Versions: what real-time get says of them, and what an update does that is for one.

use serde_json::{Value, json};

use super::{Core, solr};

const LOCAL: &str = "&distrib=false";

/// What a core says of these: id and version of those that are there.
#[track_caller]
fn versions(core: &Core, ids: &[&str]) -> Vec<(String, i64)> {
    let answer = core.get(LOCAL, ids);
    let docs = answer["response"]["docs"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let version =
        |doc: &Value| (doc["id"].as_str().unwrap().to_owned(), doc["_version_"].as_i64().unwrap());
    docs.iter().map(version).collect()
}

#[test]
fn a_leader_tells_the_versions_that_its_receipt_had_before_any_commit() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1"},{"id":"@2","stock_i":{"inc":1}},{"id":"@3"}]"#);
    let gone = solr.leader.update(r#"{"delete":{"id":"@3"}}"#);
    assert!(said.is_confirmed() && gone.is_confirmed());
    let there = versions(&solr.leader, &["@1", "@2", "@3", "@4"]);
    let expected: Vec<_> =
        ["@1", "@2"].map(str::to_owned).into_iter().zip(said.versions()).collect();
    assert_eq!(there, expected, "what is deleted or was never there is left out");
    assert_eq!(versions(&solr.follower, &["@1", "@2", "@3"]), expected);
    solr.leader.commit();
    assert_eq!(versions(&solr.leader, &["@1", "@2", "@3"]), expected);
    // One id alone has another form.
    assert_eq!(
        solr.leader.get(LOCAL, &["@1"])["doc"],
        json!({"id": "@1", "_version_": expected[0].1})
    );
    assert_eq!(solr.leader.get(LOCAL, &["@3"]).get("doc"), Some(&Value::Null));
}

#[test]
fn any_node_tells_the_versions_of_all_shards() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1"}]"#);
    assert!(solr.wrong.update(r#"[{"id":"~1"}]"#).is_confirmed());
    let answer = solr.elsewhere.get("", &["@1", "~1", "@2"]);
    let docs = answer["response"]["docs"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let first = docs.iter().find(|doc| doc["id"] == "@1").unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((docs.len(), first["_version_"].as_i64()), (2, Some(said.versions()[0])));
}

#[test]
fn an_update_for_a_version_is_carried_out_once() {
    let solr = solr();
    let version = solr.leader.update(r#"[{"id":"@1","stock_i":5}]"#).versions()[0];
    let count = format!(r#"[{{"id":"@1","_version_":{version},"stock_i":{{"inc":1}}}}]"#);
    let said = solr.leader.update(&count);
    assert!(said.is_confirmed(), "{said:?}");
    let now = said.versions()[0];
    let again = solr.leader.update(&count);
    let words = format!("version conflict for @1 expected={version} actual={now}");
    assert_eq!((again.status, again.message()), (409, &*words));
    let answer = solr.leader.get("&fl=stock_i&distrib=false", &["@1"]);
    assert_eq!(answer["doc"]["stock_i"], 6, "{answer}");
}

#[test]
fn an_update_for_what_is_not_there_is_carried_out_once_also_after_a_delete() {
    let solr = solr();
    let count = r#"[{"id":"@1","_version_":-1,"stock_i":{"inc":1}}]"#;
    let said = solr.leader.update(count);
    assert!(said.is_confirmed(), "{said:?}");
    let again = solr.leader.update(count);
    let words = format!("version conflict for @1 expected=-1 actual={}", said.versions()[0]);
    assert_eq!((again.status, again.message()), (409, &*words));
    assert!(solr.leader.update(r#"{"delete":{"id":"@1"}}"#).is_confirmed());
    assert!(solr.leader.update(count).is_confirmed());
}

#[test]
fn a_child_goes_by_the_version_of_its_root() {
    let solr = solr();
    let block = r#"[{"id":"@root","kids":[{"id":"@root/kid","stock_i":1}]}]"#;
    let version = solr.leader.update(block).versions()[0];
    let there = versions(&solr.leader, &["@root", "@none"]);
    assert_eq!(there, [("@root".to_owned(), version)]);
    let kid = |version| {
        format!(
            r#"[{{"id":"@root/kid","_root_":"@root","_version_":{version},"stock_i":{{"inc":1}}}}]"#
        )
    };
    let said = solr.leader.update(kid(version));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.leader.update(kid(version)).status, 409);
}

#[test]
fn a_thousand_odd_ids_fit_into_one_question() {
    let solr = solr();
    let ids: Vec<String> = (0..1_000).map(|n| format!("@{n:05}")).collect();
    let docs: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    let said = solr.leader.update(format!("[{}]", docs.join(",")));
    assert!(said.is_confirmed());
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(versions(&solr.leader, &ids).len(), 1_000);
}

#[test]
fn an_id_that_looks_like_a_macro_is_an_id_only_where_macros_are_not_expanded() {
    let solr = solr();
    assert!(solr.leader.update(r#"[{"id":"@${x}"},{"id":"@2"}]"#).is_confirmed());
    let there = |parameters: &str| {
        let answer = solr.leader.get(parameters, &["@${x}", "@2"]);
        answer["response"]["docs"].as_array().unwrap_or_else(|| panic!("{answer}")).len()
    };
    assert_eq!(there("&distrib=false&expandMacros=false"), 2);
    assert_eq!(there(LOCAL), 1);
}

#[test]
fn a_delete_for_a_version_is_carried_out_for_that_only() {
    let solr = solr();
    let version = solr.leader.update(r#"[{"id":"@1"}]"#).versions()[0];
    let delete = |version: i64| {
        let said = format!(r#"{{"delete":{{"_version_":{version},"id":"@1"}}}}"#);
        solr.leader.update(said)
    };
    let said = delete(version - 1);
    let words = format!("version conflict for @1 expected={} actual={version}", version - 1);
    assert_eq!((said.status, said.message()), (409, &*words));
    let said = delete(version);
    assert_eq!((said.status, said.deletes()), (200, vec!["@1"]));
    assert_eq!(delete(version).status, 409, "it is gone");
}
