//! A 200 of the shard's leader: what is listed, and how.

use super::solr;

#[test]
fn every_add_is_listed_in_order_with_a_version() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@2"},{"id":"@1"},{"id":"@3"}]"#);
    assert_eq!((said.status, said.rf()), (200, Some(2)));
    assert_eq!(said.adds(), ["@2", "@1", "@3"]);
    assert!(said.versions().iter().all(|version| *version > 0), "{said:?}");
}

#[test]
fn adds_and_deletes_are_listed_apart_each_in_order() {
    let solr = solr();
    let said = solr.leader.update(
        r#"{"add":{"doc":{"id":"@1"}},"delete":{"id":"@9"},"add":{"doc":{"id":"@2"}},
            "delete":{"id":"@8"},"add":{"doc":{"id":"@3"}}}"#,
    );
    assert_eq!((said.status, said.rf()), (200, Some(2)));
    assert_eq!((said.adds(), said.deletes()), (vec!["@1", "@2", "@3"], vec!["@9", "@8"]));
    assert!(said.is_confirmed(), "{said:?}");
}

#[test]
fn a_deletes_version_is_negative() {
    let said = solr().leader.update(r#"{"delete":{"id":"@1"}}"#);
    assert!(said.versions()[0] < 0, "{said:?}");
}

#[test]
fn versions_rise_in_the_order_of_the_commands() {
    let said = solr()
        .leader
        .update(r#"{"add":{"doc":{"id":"@1"}},"delete":{"id":"@2"},"add":{"doc":{"id":"@3"}}}"#);
    let [one, three, two] = said.versions()[..] else { panic!("{said:?}") };
    assert!(one < two.abs() && two.abs() < three, "{said:?}");
}

#[test]
fn a_list_of_adds_in_one_command_is_taken_as_an_array_is() {
    let solr = solr();
    let said = solr
        .leader
        .update(r#"{"add":[{"id":"@1"},{"id":"@2"}],"delete":["@1"],"add":[{"id":"@3"}]}"#);
    assert_eq!((said.adds(), said.deletes()), (vec!["@1", "@2", "@3"], vec!["@1"]));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@2", "@3"]);
}

#[test]
fn a_delete_of_what_is_not_there_is_listed_as_any() {
    let said = solr().leader.update(r#"{"delete":{"id":"@never"}}"#);
    assert_eq!((said.status, said.rf(), said.deletes()), (200, Some(2), vec!["@never"]));
    assert!(said.is_confirmed(), "{said:?}");
}

#[test]
fn several_deletes_in_one_command_are_listed_one_by_one() {
    let said = solr().leader.update(r#"{"delete":["@2","@1"],"delete":"@3"}"#);
    assert_eq!(said.deletes(), ["@2", "@1", "@3"]);
    assert!(said.is_confirmed(), "{said:?}");
}

#[test]
fn a_delete_by_query_is_in_a_list_of_its_own() {
    let said = solr()
        .leader
        .update(r#"{"add":{"doc":{"id":"@1"}},"delete":{"query":"id:@1"},"delete":"@2"}"#);
    assert_eq!(said.list("deleteByQuery"), ["id:@1"]);
    assert_eq!((said.adds(), said.deletes()), (vec!["@1"], vec!["@2"]));
}

#[test]
fn a_child_is_not_listed_its_root_is() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1","kids":[{"id":"@2"},{"id":"@3"}]},{"id":"@4"}]"#);
    assert_eq!(said.adds(), ["@1", "@4"]);
    assert_eq!(solr.in_shard1(), ["@1", "@2", "@3", "@4"]);
}

#[test]
fn an_empty_object_in_a_field_is_a_child_and_not_listed() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1","name_s":{}}]"#);
    assert_eq!((said.status, said.adds()), (200, vec!["@1"]));
    assert_eq!(solr.in_shard1(), ["@1", "@1/name_s#"]);
}

#[test]
fn a_document_with_a_root_is_listed_by_its_roots_id() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1","_root_":"@2"}]"#);
    assert_eq!((said.status, said.adds()), (200, vec!["@2"]));
    assert_eq!(solr.in_shard1(), ["@1"]);
}

#[test]
fn an_id_added_twice_is_listed_twice() {
    let solr = solr();
    let said = solr.leader.update(r#"[{"id":"@1"},{"id":"@1"}]"#);
    assert_eq!(said.adds(), ["@1", "@1"]);
    let [first, second] = said.versions()[..] else { panic!("{said:?}") };
    assert!(0 < first && first < second, "{said:?}");
    assert_eq!(solr.in_shard1(), ["@1"]);
}

#[test]
fn an_id_added_and_deleted_is_in_both_lists_and_gone() {
    let solr = solr();
    let said = solr.leader.update(r#"{"add":{"doc":{"id":"@1"}},"delete":{"id":"@1"}}"#);
    assert_eq!((said.adds(), said.deletes()), (vec!["@1"], vec!["@1"]));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.in_shard1(), [""; 0]);
}

#[test]
fn an_id_deleted_and_added_is_in_both_lists_and_there() {
    let solr = solr();
    let said = solr.leader.update(r#"{"delete":{"id":"@1"},"add":{"doc":{"id":"@1"}}}"#);
    assert_eq!((said.adds(), said.deletes()), (vec!["@1"], vec!["@1"]));
    assert!(said.is_confirmed(), "{said:?}");
    assert_eq!(solr.in_shard1(), ["@1"]);
}

#[test]
fn an_update_of_nothing_says_neither_rf_nor_lists() {
    let solr = solr();
    for nothing in ["[]", "{}", "", r#"{"delete":[]}"#] {
        let said = solr.leader.update(nothing);
        assert_eq!((said.status, said.rf()), (200, None), "{nothing}");
        assert_eq!(said.json.as_object().unwrap().len(), 1, "{nothing}: {said:?}");
    }
}

#[test]
fn ids_are_listed_as_solr_has_taken_them() {
    let numbers = r#"[{"id":42},{"id":1.50},{"id":["z"]},{"id":true},{"id":1e3},{"id":-0}]"#;
    let said = solr().leader.update(numbers);
    assert_eq!(said.adds(), ["42", "1.5", "z", "true", "1000.0", "0"]);
}

#[test]
fn a_delete_takes_a_number_as_it_is_written() {
    let said = solr().leader.update(r#"{"delete":{"id":1e3},"delete":1.50,"delete":-0}"#);
    assert_eq!(said.deletes(), ["1e3", "1.50", "-0"]);
}

#[test]
fn ids_come_back_to_the_character() {
    let said = solr().leader.update(r#"[{"id":"@\n\"\\\/\u0000\u2028é😀\ud83d\ude00 "}]"#);
    assert_eq!(said.adds(), ["@\n\"\\/\0\u{2028}é😀😀 "]);
}

#[test]
fn flat_lists_id_and_version_in_turn() {
    assert_eq!(shape("&json.nl=flat"), r#"["@1",V,"@2",V,"@1",V]"#);
}

#[test]
fn flat_is_what_solr_says_unasked() {
    assert_eq!(shape(""), r#"["@1",V,"@2",V,"@1",V]"#);
}

#[test]
fn a_map_names_an_id_twice_too() {
    assert_eq!(shape("&json.nl=map"), r#"{"@1":V,"@2":V,"@1":V}"#);
}

#[test]
fn arrarr_lists_pairs() {
    assert_eq!(shape("&json.nl=arrarr"), r#"[["@1",V],["@2",V],["@1",V]]"#);
}

#[test]
fn arrmap_lists_objects() {
    assert_eq!(shape("&json.nl=arrmap"), r#"[{"@1":V},{"@2":V},{"@1":V}]"#);
}

/// The list of adds to the byte, versions left out.
#[track_caller]
fn shape(nl: &str) -> String {
    let parameters = format!("versions=true&wt=json&indent=off{nl}");
    let said = solr().leader.update_as(&parameters, r#"[{"id":"@1"},{"id":"@2"},{"id":"@1"}]"#);
    let list = said.text.split_once(r#","adds":"#).expect("a list of adds").1;
    let list = list.trim_end().strip_suffix('}').expect("the answer's end");
    // A version has 19 digits since 2005 and until 2243.
    let mut shape = String::new();
    for piece in list.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
        shape += &piece.replace(digits, if digits.len() == 19 { "V" } else { digits });
    }
    shape
}

#[test]
fn without_versions_nothing_is_listed() {
    let said = solr().leader.update_as("wt=json&indent=off", r#"[{"id":"@1"}]"#);
    assert_eq!((said.status, said.rf()), (200, Some(2)));
    assert_eq!(said.json.as_object().unwrap().len(), 1, "{said:?}");
}

#[test]
fn an_answer_is_one_line_only_with_indent_off() {
    let solr = solr();
    let lines = |form: &str| solr.leader.update_as(form, r#"[{"id":"@1"}]"#).text.lines().count();
    assert_eq!(lines("versions=true&wt=json&indent=off"), 1);
    assert!(lines("versions=true&wt=json") > 1);
}
