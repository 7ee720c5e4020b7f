use serde_json::json;

use super::*;

pub(crate) fn schema(schema: Value) -> Schema {
    Schema::of(&schema, Certain::all())
}

fn types() -> Value {
    json!([
        {"name": "string", "class": "solr.StrField", "docValues": true},
        {"name": "strings", "class": "org.apache.solr.schema.StrField", "multiValued": true},
        {"name": "hidden", "class": "solr.StrField", "indexed": false, "docValues": false},
        {"name": "pint", "class": "solr.IntPointField"},
        {"name": "text", "class": "solr.TextField"},
        {"name": "own", "class": "com.example.StrField"},
    ])
}

fn of(version: f64, fields: Value) -> Schema {
    schema(json!({"version": version, "fieldTypes": types(), "fields": fields}))
}

#[test]
fn a_field_has_its_own_properties_else_its_types_else_what_its_version_says() {
    let made = of(
        1.6,
        json!([
            {"name": "a", "type": "string"},
            {"name": "b", "type": "strings"},
            {"name": "c", "type": "strings", "multiValued": false},
            {"name": "d", "type": "hidden"},
            {"name": "e", "type": "hidden", "indexed": "true"},
            {"name": "f", "type": "own"},
            {"name": "g", "type": "nobody's"},
        ]),
    );
    let field = |name: &str| made.field(name).unwrap();
    let told: Vec<_> =
        ["a", "b", "c", "d", "e"].map(|name| (field(name).is_single, field(name).is_term)).into();
    assert_eq!(told, [(true, true), (false, true), (true, true), (true, false), (true, true)]);
    assert_eq!((field("f").kind, field("g").kind), (Kind::Other, Kind::Other));
    assert_eq!(made.type_of(field("c")), "strings");
    assert_eq!(made.field("nosuch"), None);
    let hidden = json!([{"name": "h", "type": "s"}]);
    for (version, is_term) in [(1.6, false), (1.7, true)] {
        let types = json!([{"name": "s", "class": "solr.StrField", "indexed": false}]);
        let made = json!({"version": version, "fieldTypes": types, "fields": hidden});
        assert_eq!(
            schema(made).field("h").unwrap().is_term,
            is_term,
            "docValues by version {version}"
        );
    }
    assert!(!of(1.0, json!([{"name": "a", "type": "pint"}])).field("a").unwrap().is_single);
}

#[test]
fn of_dynamic_fields_the_longest_has_a_name_and_none_has_what_is_a_field() {
    let mut made = json!({"version": 1.7, "fieldTypes": types()});
    made["fields"] = json!([{"name": "a_s", "type": "pint"}]);
    made["dynamicFields"] = json!([
        {"name": "*", "type": "own"},
        {"name": "*_s", "type": "string"},
        {"name": "a_*", "type": "text"},
        {"name": "attr_*", "type": "hidden"},
        {"name": "*_long_s", "type": "strings"},
    ]);
    let made = schema(made);
    for (name, of) in [
        ("a_s", "pint"),
        ("b_s", "string"),
        ("a_x_s", "string"), // of two equally long the first
        ("a_x", "text"),
        ("attr_s", "hidden"),
        ("attr_long_s", "strings"),
        ("whatever", "own"),
    ] {
        assert_eq!(made.type_of(made.field(name).unwrap()), of, "{name}");
    }
}

#[test]
fn a_copy_counts_where_it_is_whole_and_a_string() {
    let mut made = json!({"version": 1.7, "fieldTypes": types()});
    made["fields"] = json!([
        {"name": "body", "type": "text"}, {"name": "cut", "type": "text"}, {"name": "kept", "type": "text"},
        {"name": "all", "type": "string"}, {"name": "all_t", "type": "text"},
    ]);
    made["dynamicFields"] =
        json!([{"name": "*_t", "type": "text"}, {"name": "*_s", "type": "strings"}]);
    made["copyFields"] = json!([
        {"source": "body", "dest": "all"},
        {"source": "cut", "dest": "all", "maxChars": 100},
        {"source": "kept", "dest": "all_t"},
        {"source": "*_t", "dest": "*_s"},
    ]);
    let made = schema(made);
    let copy = |name: &str| made.copy_to_terms(name).map(Cow::into_owned);
    assert_eq!(copy("body").as_deref(), Some("all"));
    assert_eq!(copy("title_t").as_deref(), Some("title_s"));
    assert_eq!((copy("cut"), copy("kept"), copy("all")), (None, None, None));
    assert!(made.field("body").unwrap().is_copied_to_terms);
}

#[test]
fn names_are_remembered_in_any_order_and_of_one_schema() {
    let made = of(1.7, json!([{"name": "a", "type": "pint"}, {"name": "b", "type": "string"}]));
    let mut known = Known::default();
    for line in [&["a", "b"][..], &["b", "a", "c"], &["a", "b"], &["b"], &["c", "c", "a"]] {
        known.begin();
        for name in line {
            assert_eq!(known.field(&made, name), made.field(name), "{name} in {line:?}");
        }
    }
    for n in 0..2 * MOST_KNOWN {
        known.begin();
        assert_eq!(known.field(&made, &format!("x{n}")), None);
    }
    assert!(known.fields.len() <= MOST_KNOWN);
}

#[test]
fn what_is_no_schema_is_not_taken_for_one() {
    for answer in ["", "<html>", "{}", r#"{"schema":{}}"#, r#"{"schema":{"fields":[]}}"#] {
        assert!(Schema::read(answer.as_bytes(), None).is_err(), "{answer}");
    }
    let good = json!({"schema": {"version": 1.7, "fieldTypes": [], "fields": []}}).to_string();
    let read = Schema::read(good.as_bytes(), None).unwrap();
    assert!(!read.certain.is_any(), "nobody knows what its update chain does");
    assert!(
        Schema::read(good.as_bytes(), Some(b"{}")).is_ok_and(|schema| !schema.certain.is_any())
    );
}
