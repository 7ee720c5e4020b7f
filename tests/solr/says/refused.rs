//! An error of the shard's leader: what it had done by then is what it lists, and both replicas
//! have it.

use super::{Answer, Solr, solr};
use crate::cluster::solrcloud;
use crate::outage::Killed;

/// Two good documents, a third thing, and a good one more.
fn around(bad: &str) -> String {
    format!(r#"[{{"id":"@1"}},{{"id":"@2"}},{bad},{{"id":"@3"}}]"#)
}

/// Sends `bad` in the middle of a batch. Whatever it is, exactly what was before it is listed,
/// with versions, and is in both replicas.
#[track_caller]
fn stops_at(bad: &str) -> Answer {
    let solr = solr();
    let said = solr.leader.update(around(bad));
    assert_eq!((said.adds(), said.rf()), (vec!["@1", "@2"], Some(2)));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@1", "@2"]);
    said
}

#[test]
fn an_unknown_field_stops_a_batch_at_its_document() {
    let said = stops_at(r#"{"id":"@bad","nosuch":1}"#);
    assert_eq!((said.status, said.message()), (400, "ERROR: [doc=@bad] unknown field 'nosuch'"));
}

#[test]
fn a_bad_number_stops_a_batch_at_its_document() {
    let said = stops_at(r#"{"id":"@bad","price_i":"abc"}"#);
    assert_eq!(said.status, 400);
    assert!(said.message().starts_with("ERROR: [doc=@bad] Error adding field 'price_i'='abc'"));
}

#[test]
fn a_missing_id_stops_a_batch_and_nobody_is_named() {
    let said = stops_at(r#"{"price_i":1}"#);
    let words = "Document is missing mandatory uniqueKey field: id";
    assert_eq!((said.status, said.message()), (400, words));
}

#[test]
fn an_immense_term_stops_a_batch_at_its_document() {
    let said = stops_at(&format!(r#"{{"id":"@bad","name_s":"{}"}}"#, "x".repeat(32_767)));
    assert_eq!(said.status, 400);
    assert!(said.message().starts_with("Exception writing document id @bad to the index; "));
}

#[test]
fn a_version_conflict_stops_a_batch_at_its_document() {
    let said = stops_at(r#"{"id":"@bad","_version_":1}"#);
    let words = "version conflict for @bad expected=1 actual=-1";
    assert_eq!((said.status, said.message()), (409, words));
}

#[test]
fn malformed_json_stops_a_batch_where_it_is() {
    let said = stops_at(r#"{"id" "@bad"}"#);
    assert_eq!(said.status, 400);
    assert!(said.message().starts_with("Cannot parse provided JSON: "), "{said:?}");
}

#[test]
fn what_is_no_document_stops_a_batch_where_it_is() {
    let said = stops_at("null");
    assert_eq!(said.status, 400);
    assert!(said.message().starts_with("Expected: OBJECT_START but got NULL at ["), "{said:?}");
}

#[test]
fn a_500_by_one_document_alone_stops_a_batch_as_a_400_does() {
    let said = stops_at(r#"{"id":"@bad","_version_":"x"}"#);
    assert_eq!((said.status, said.message()), (500, "For input string: \"x\""));
}

#[test]
fn of_two_bad_documents_the_first_alone_is_told() {
    let solr = solr();
    let said = solr.leader.update(
        r#"[{"id":"@1"},{"id":"@a","nosuch":1},{"id":"@2"},{"id":"@b","price_i":"abc"},{"id":"@3"}]"#,
    );
    assert_eq!((said.status, said.adds()), (400, vec!["@1"]));
    assert!(said.message().contains("[doc=@a]") && !said.text.contains("@b"), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@1"]);
}

#[test]
fn a_bad_document_at_the_end_leaves_all_before_it_done() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1"},{"id":"@2"},{"id":"@bad","nosuch":1}]"#);
    assert_eq!((said.status, said.rf(), said.adds()), (400, Some(2), vec!["@1", "@2"]));
    assert_eq!(solr.in_shard1(), ["@1", "@2"]);
}

#[test]
fn a_bad_document_at_the_start_leaves_no_list_at_all() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@bad","nosuch":1},{"id":"@1"}]"#);
    assert_eq!((said.status, said.json.get("adds")), (400, None));
    assert_eq!(solr.in_shard1(), [""; 0]);
}

#[test]
fn rf_is_1_with_both_replicas_up_if_nothing_was_done() {
    let said = solr().leader.update(r#"[{"id":"@bad","nosuch":1},{"id":"@1"}]"#);
    assert_eq!((said.status, said.rf()), (400, Some(1)));
}

#[test]
fn rf_is_missing_if_the_first_document_has_no_id() {
    let said = solr().leader.update(r#"[{"price_i":1},{"id":"@1"}]"#);
    assert_eq!((said.status, said.rf()), (400, None));
}

#[test]
fn a_400_that_is_no_documents_has_neither_rf_nor_lists() {
    let said = solr().leader.update_with("update.chain=nosuch", r#"[{"id":"@1"}]"#);
    let words = "unknown UpdateRequestProcessorChain: nosuch";
    assert_eq!((said.status, said.message()), (400, words));
    assert_eq!((said.rf(), said.versions()), (None, vec![]));
}

#[test]
fn a_bad_add_stops_the_deletes_after_it_too() {
    let solr = solr();
    let said = solr.leader.update(
        r#"{"add":{"doc":{"id":"@1"}},"add":{"doc":{"id":"@2"}},"delete":{"id":"@1"},
            "add":{"doc":{"id":"@bad","nosuch":1}},"delete":{"id":"@2"},"add":{"doc":{"id":"@3"}}}"#,
    );
    assert_eq!((said.status, said.rf()), (400, Some(2)));
    assert_eq!((said.adds(), said.deletes()), (vec!["@1", "@2"], vec!["@1"]));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@2"]);
}

#[test]
fn a_deletes_version_conflict_stops_the_commands_after_it() {
    let solr = solr();
    let said = solr.leader.update(
        r#"{"add":{"doc":{"id":"@1"}},"delete":{"id":"@bad","_version_":5},"add":{"doc":{"id":"@2"}}}"#,
    );
    assert_eq!((said.status, said.adds(), said.deletes()), (409, vec!["@1"], vec![]));
    assert_eq!(solr.in_shard1(), ["@1"]);
}

#[test]
fn a_connection_outlives_a_400_and_a_500() {
    let solr = solr();
    for (bad, status) in
        [(r#"{"id":"@bad","nosuch":1}"#, 400), (r#"{"id":"@bad","_version_":"x"}"#, 500)]
    {
        let (answer, kept) = solr.leader.update_twice(&around(bad));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(kept, "{answer}");
    }
}

/// A thousand arrays, one in another: more than Solr's stack takes.
fn nested() -> String {
    around(&format!(r#"{{"id":"@bad","a_ss":{}{}}}"#, "[".repeat(1000), "]".repeat(1000)))
}

#[test]
fn a_stack_overflow_is_a_500_without_a_receipt_that_breaks_off() {
    let (answer, kept) = solr().leader.update_twice(&nested());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with("HTTP/1.1 500 ") && head.contains("chunked"), "{head}");
    assert!(body.contains(r#"{"error":{"msg":"java.lang.StackOverflowError","#), "{body}");
    assert!(!body.contains("responseHeader") && !body.contains("@1"), "{body}");
    assert!(!body.ends_with("0\r\n\r\n"), "it has come to its end: {body}");
    assert!(!kept);
}

#[test]
fn a_stack_overflow_leaves_what_was_before_it_done() {
    let solr = solr();
    solr.leader.update_twice(&nested());
    assert_eq!(solr.in_shard1(), ["@1", "@2"]);
}

#[test]
fn rf_of_a_400_says_that_a_replica_is_down() {
    let solr = solr();
    let Solr { leader, collection, .. } = &solr;
    let node = solrcloud(&["leader", collection.name()]);
    let killed = Killed::now(if node == "1" { &["2"] } else { &["1"] });
    let said = leader.update(around(r#"{"id":"@bad","nosuch":1}"#));
    assert_eq!((said.status, said.rf(), said.adds()), (400, Some(1), vec!["@1", "@2"]));
    assert!(said.is_confirmed(), "{said:?}");
    drop(killed);
}
