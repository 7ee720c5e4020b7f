//! A 200 for documents that were left out. The leader does not list them; whoever forwards does.

use super::{NOBODY, solr};

/// By the chain `newest` of the config set, the second is older than the first.
const OLDER: &str = r#"[{"id":"@1","rank_l":5},{"id":"@1","rank_l":3},{"id":"@2","rank_l":1}]"#;

const CONFLICT: &str = r#"[{"id":"@1"},{"id":"@bad","_version_":1},{"id":"@2"}]"#;

#[test]
fn a_leader_does_not_list_what_its_chain_leaves_out() {
    let solr = solr();
    let said = solr.leader.update_with("update.chain=newest", OLDER);
    assert_eq!((said.status, said.rf(), said.adds()), (200, Some(2), vec!["@1", "@2"]));
    assert!(said.is_confirmed(), "{said:?}");
}

#[test]
fn a_leader_whose_chain_leaves_all_out_says_neither_rf_nor_lists() {
    let solr = solr();
    let newest = |rank| format!(r#"[{{"id":"@1","rank_l":{rank}}}]"#);
    assert_eq!(solr.leader.update_with("update.chain=newest", newest(5)).adds(), ["@1"]);
    let said = solr.leader.update_with("update.chain=newest", newest(3));
    assert_eq!((said.status, said.rf(), said.json.get("adds")), (200, None, None));
}

#[test]
fn a_follower_lists_what_the_leaders_chain_leaves_out() {
    let solr = solr();
    let said = solr.follower.update_with("update.chain=newest", OLDER);
    assert_eq!((said.status, said.rf(), said.adds()), (200, Some(2), vec!["@1", "@1", "@2"]));
    assert!(said.is_forwarded(), "{said:?}");
    // Had the 3 been stored, a 4 were newer.
    let between = solr.leader.update_with("update.chain=newest", r#"[{"id":"@1","rank_l":4}]"#);
    assert_eq!(between.adds(), [""; 0]);
}

#[test]
fn a_follower_lists_it_with_rf_of_nobody_if_the_leaders_chain_leaves_all_out() {
    let solr = solr();
    let newest = |rank| format!(r#"[{{"id":"@1","rank_l":{rank}}}]"#);
    assert_eq!(solr.leader.update_with("update.chain=newest", newest(5)).adds(), ["@1"]);
    let said = solr.follower.update_with("update.chain=newest", newest(3));
    assert_eq!((said.status, said.rf(), said.adds()), (200, NOBODY, vec!["@1"]));
    assert!(said.is_forwarded(), "{said:?}");
}

#[test]
fn a_leader_does_not_list_a_conflict_that_it_passes_over() {
    let solr = solr();
    let said = solr.leader.update_with("failOnVersionConflicts=false", CONFLICT);
    assert_eq!((said.status, said.rf(), said.adds()), (200, Some(2), vec!["@1", "@2"]));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@1", "@2"]);
}

#[test]
fn a_follower_lists_a_conflict_that_the_leader_passes_over() {
    let solr = solr();
    let said = solr.follower.update_with("failOnVersionConflicts=false", CONFLICT);
    assert_eq!((said.status, said.rf(), said.adds()), (200, Some(2), vec!["@1", "@bad", "@2"]));
    assert!(said.is_forwarded(), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@1", "@2"]);
}

#[test]
fn rf_is_1_if_a_conflict_was_all_and_is_passed_over() {
    let alone = r#"[{"id":"@bad","_version_":1}]"#;
    let said = solr().leader.update_with("failOnVersionConflicts=false", alone);
    assert_eq!((said.status, said.rf(), said.json.get("adds")), (200, Some(1), None));
}

#[test]
fn a_deletes_conflict_is_a_409_even_so() {
    let delete = r#"{"delete":{"id":"@bad","_version_":5}}"#;
    let said = solr().leader.update_with("failOnVersionConflicts=false", delete);
    assert_eq!((said.status, said.deletes()), (409, vec![]));
}

const TOLERATED: &str = r#"[{"id":"@1"},{"id":"@bad","nosuch":1},{"id":"@2"}]"#;

#[test]
fn a_tolerant_leader_lists_the_good_and_the_bad_apart() {
    let said = solr().leader.update_with("update.chain=tolerant", TOLERATED);
    assert_eq!((said.status, said.rf(), said.adds()), (200, Some(2), vec!["@1", "@2"]));
    assert!(said.is_confirmed(), "{said:?}");
    let errors = said.json["responseHeader"]["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["id"]), (1, &"@bad".into()));
}

#[test]
fn a_tolerant_follower_lists_the_bad_among_the_good() {
    let said = solr().follower.update_with("update.chain=tolerant", TOLERATED);
    assert_eq!((said.status, said.rf()), (200, NOBODY));
    assert_eq!(said.adds(), ["@1", "@bad", "@2"]);
    assert!(said.is_forwarded(), "{said:?}");
}
