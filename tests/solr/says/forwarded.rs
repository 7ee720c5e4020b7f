//! An update sent to somebody who has to forward it: nothing of what is listed may be believed.

use super::{Answer, Core, NOBODY, Solr, solr};

type Way = fn(&Solr) -> &Core;

/// Whoever is not the leader of shard1.
const WAYS: [Way; 3] = [|solr| &solr.follower, |solr| &solr.wrong, |solr| &solr.elsewhere];

/// Sends an update of shard1 every way that is not the leader's, with ids of its own each time;
/// `are` is what shard1 has then.
#[track_caller]
fn every_way(body: &str, are: &[&str], holds: impl Fn(&Answer)) {
    let solr = solr();
    let ways = WAYS.map(|way| way(&solr).anew());
    ways.iter().for_each(|core| holds(&core.update(body)));
    solr.leader.commit();
    for core in &ways {
        assert_eq!(solr.has(&core.ids.shard1), are, "by {}", core.url);
    }
}

#[test]
fn what_was_forwarded_is_listed_with_version_0() {
    every_way(r#"[{"id":"@1"},{"id":"@2"}]"#, &["@1", "@2"], |said| {
        assert_eq!((said.status, said.rf(), said.adds()), (200, Some(2), vec!["@1", "@2"]));
        assert!(said.is_forwarded(), "{said:?}");
    });
}

#[test]
fn a_forwarded_delete_is_listed_with_version_0() {
    every_way(r#"{"add":{"doc":{"id":"@1"}},"delete":{"id":"@1"}}"#, &[], |said| {
        assert_eq!((said.status, said.adds(), said.deletes()), (200, vec!["@1"], vec!["@1"]));
        assert!(said.is_forwarded(), "{said:?}");
    });
}

#[test]
fn a_leader_tells_its_own_from_what_it_forwards() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1"},{"id":"~1"},{"id":"@2"}]"#);
    assert_eq!(said.adds(), ["@1", "~1", "@2"]);
    let [one, other, two] = said.versions()[..] else { panic!("{said:?}") };
    assert!(one > 0 && other == 0 && two > 0, "{said:?}");
}

#[test]
fn a_forwarded_400_lists_the_bad_document_and_those_after_it() {
    let bad = r#"[{"id":"@1"},{"id":"@2"},{"id":"@bad","nosuch":1},{"id":"@3"}]"#;
    every_way(bad, &["@1", "@2"], |said| {
        assert_eq!((said.status, said.rf()), (400, NOBODY));
        assert_eq!(said.adds(), ["@1", "@2", "@bad", "@3"]);
        assert!(said.is_forwarded(), "{said:?}");
        assert!(said.message().starts_with("Async exception during distributed update: "));
        assert!(said.message().ends_with("message: ERROR: [doc=@bad] unknown field 'nosuch'"));
    });
}

#[test]
fn a_forwarded_409_lists_the_bad_document_and_those_after_it() {
    let bad = r#"[{"id":"@1"},{"id":"@bad","_version_":1},{"id":"@2"}]"#;
    every_way(bad, &["@1"], |said| {
        assert_eq!((said.status, said.rf()), (409, NOBODY));
        assert_eq!(said.adds(), ["@1", "@bad", "@2"]);
        assert!(said.is_forwarded(), "{said:?}");
    });
}

#[test]
fn of_two_forwarded_bad_documents_the_first_alone_is_told() {
    let bad = r#"[{"id":"@1"},{"id":"@a","nosuch":1},{"id":"@2"},{"id":"@b","price_i":"abc"}]"#;
    every_way(bad, &["@1"], |said| {
        assert_eq!((said.status, said.rf()), (400, NOBODY));
        assert!(said.message().contains("[doc=@a]") && !said.message().contains("@b"), "{said:?}");
    });
}

#[test]
fn what_a_forwarding_node_refuses_itself_stops_the_batch_there() {
    for bad in [r#"{"price_i":1}"#, r#"{"id" "@bad"}"#] {
        every_way(&format!(r#"[{{"id":"@1"}},{bad},{{"id":"@2"}}]"#), &["@1"], |said| {
            assert_eq!((said.status, said.rf(), said.adds()), (400, Some(2), vec!["@1"]));
            assert!(said.is_forwarded(), "{said:?}");
        });
    }
}

#[test]
fn a_400_in_another_shard_does_not_stop_the_leaders_own() {
    let solr = solr();
    let said = solr
        .leader
        .update(r#"[{"id":"@1"},{"id":"~1"},{"id":"~bad","nosuch":1},{"id":"@2"},{"id":"~2"}]"#);
    assert_eq!((said.status, said.rf()), (400, Some(2)));
    assert_eq!(said.adds(), ["@1", "~1", "~bad", "@2", "~2"]);
    let done: Vec<bool> = said.versions().iter().map(|version| *version != 0).collect();
    assert_eq!(done, [true, false, false, true, false]);
    assert_eq!((solr.in_shard1(), solr.in_shard2()), (owned(&["@1", "@2"]), owned(&["~1"])));
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn a_forwarded_delete_with_a_version_is_listed_with_that_version_refused_or_not() {
    let bad = r#"{"add":{"doc":{"id":"@1"}},"delete":{"id":"@1","_version_":5}}"#;
    every_way(bad, &["@1"], |said| {
        assert_eq!((said.status, said.rf()), (409, NOBODY));
        assert_eq!(said.entries("deletes"), [("@1", 5)]);
    });
}

#[test]
fn a_forwarded_stack_overflow_gives_no_receipt_either() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let solr = solr();
    let body = format!(r#"[{{"id":"@1"}},{{"id":"@bad","a_ss":{deep}}},{{"id":"@2"}}]"#);
    let (answer, kept) = solr.follower.update_twice(&body);
    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("responseHeader"), "{answer}");
    assert!(!kept);
    assert_eq!(solr.in_shard1(), ["@1"]);
}
