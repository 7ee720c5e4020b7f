use serde_json::{Value as Json, json};

use super::*;
use crate::chain::Certain;

fn schema() -> Schema {
    let types = [("string", "StrField"), ("pint", "IntPointField"), ("pdate", "DatePointField")];
    let types = types.map(|(name, class)| json!({"name": name, "class": format!("solr.{class}")}));
    let field = |name: &str, of: &str| json!({"name": name, "type": of});
    let several = json!({"name": "*_ss", "type": "string", "multiValued": true});
    let required = json!({"name": "shop", "type": "string", "required": true});
    let answer = json!({"schema": {
        "version": 1.7, "uniqueKey": "id", "fieldTypes": types,
        "fields": [field("id", "string"), field("_version_", "pint"), field("price", "pint"), required],
        "dynamicFields": [field("*_s", "string"), field("*_i", "pint"), field("*_dt", "pdate"), several],
    }});
    behind(Certain::all(), Schema::read(answer.to_string().as_bytes(), None).unwrap())
}

fn behind(certain: Certain, mut schema: Schema) -> Schema {
    schema.certain = certain;
    schema
}

fn config(convert: &str) -> Config {
    let text = format!(
        "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a/solr']\ncollection = 'c'\n{convert}"
    );
    config::parse(&text, "u.toml".as_ref()).unwrap()
}

/// What is found of fields, each with its place.
fn found(fields: &str, schema: &Schema) -> Vec<(Weight, String, String)> {
    let config = config(&format!("[convert.fields]\nid = 'sku'\nshop = 'shop'\n{fields}"));
    let found = compare(&config, schema);
    found.into_iter().map(|one| (one.weight, one.at[2..].join("."), one.what)).collect()
}

#[test]
fn what_fits_is_passed_in_silence() {
    let fields = "a_s = 'a'\nb_i = { from = 'b', type = 'int' }\nc_ss = 'c[].name'\n\
                  d_dt = { from = 'd', type = 'date' }\ne_i = { value = 5 }\nf_s = { from = 'f', type = 'long' }";
    assert_eq!(found(fields, &schema()), []);
    assert_eq!(compare(&config(""), &schema()), []);
}

#[test]
fn what_cannot_work_is_a_mistake_at_its_key() {
    for (field, at, words) in [
        ("prize = 'a'", "prize", "the schema has no such field: is price meant?"),
        ("colour = 'a'", "colour", "the schema has no such field: add it there, or take another"),
        (
            "a_i = { from = 'a', type = 'date' }",
            "a_i.type",
            "the field is a pint: no value fits, need type = \"int\"",
        ),
        ("a_dt = { from = 'a', type = 'int' }", "a_dt.type", "the field is a pdate: no value fits"),
        ("a_i = { from = 'a', type = 'bool' }", "a_i.type", "the field is a pint: no value fits"),
        ("a_s = 'a[].b'", "a_s.from", "makes a list, and the field takes one value"),
        (
            "a_s = { from = 'a', split = ',' }",
            "a_s.split",
            "makes a list, and the field takes one value",
        ),
        ("a_i = { value = 1.5 }", "a_i.value", "a_i (pint): 1.5 is no whole number"),
        (
            "a_dt = { from = 'a', default = 'never' }",
            "a_dt.default",
            "a_dt (pdate): \"never\" is no date",
        ),
    ] {
        let found = found(field, &schema());
        assert_eq!(
            (found.len(), found[0].0, found[0].1.as_str()),
            (1, Weight::Mistake, at),
            "{field}: {found:?}"
        );
        assert!(found[0].2.starts_with(words), "{field}: {}", found[0].2);
    }
}

#[test]
fn what_some_lines_may_do_wrong_is_a_note() {
    for (field, at) in [
        ("a_i = { from = 'a', type = 'long' }", "a_i.type"),
        ("a_i = { from = 'a', scale = 0.01 }", "a_i.scale"),
        ("a_i = { from = 'a', type = 'string' }", "a_i.type"),
        ("a_dt = { join = ['a', 'b'] }", "a_dt.join"),
    ] {
        let found = found(field, &schema());
        assert_eq!(
            (found.len(), found[0].0, found[0].1.as_str()),
            (1, Weight::Note, at),
            "{field}: {found:?}"
        );
    }
}

#[test]
fn a_chain_that_makes_fields_makes_a_note_of_a_mistake() {
    let schemaless = Certain { names: false, strings: false, counts: false, ..Certain::all() };
    let schema = behind(schemaless, schema());
    let weights = |field| found(field, &schema).into_iter().map(|one| one.0).collect::<Vec<_>>();
    assert_eq!(weights("colour = 'a'"), [Weight::Note]);
    assert_eq!(weights("a_s = { from = 'a', split = ',' }"), []);
    assert_eq!(weights("a_i = { from = 'a', type = 'string' }"), []);
    assert_eq!(weights("a_i = { value = 1.5 }"), [Weight::Mistake]);
}

#[test]
fn the_unique_key_and_what_is_required() {
    let told = |convert: &str, schema: &Schema| -> Vec<(String, String)> {
        let found = compare(&config(convert), schema);
        found.into_iter().map(|one| (one.at.join("."), one.what)).collect()
    };
    let [(at, what)] = &told("unique_key = 'sku'", &schema())[..] else { panic!() };
    assert_eq!(
        (at.as_str(), what.as_str()),
        ("solr.unique_key", "the schema's uniqueKey is id: need \"id\"")
    );
    let [(at, what)] = &told("[convert.fields]\nid = 'sku'", &schema())[..] else { panic!() };
    assert_eq!(at, "convert.fields");
    assert!(what.starts_with("shop is required by the schema, and nothing sets it"), "{what}");
    assert_eq!(
        told("[convert.fields]\nid = 'sku'\na_i = { from = 'a', update = 'set' }", &schema()),
        []
    );
    assert_eq!(told("[convert]\nkeep = 'all'\n[convert.fields]\nid = 'sku'", &schema()), []);
    let adds = behind(Certain { adds: true, ..Certain::all() }, schema());
    assert_eq!(told("[convert.fields]\nid = 'sku'", &adds), []);
    let bare: Json = json!({"schema": {"version": 1.7, "fieldTypes": [], "fields": []}});
    let bare = Schema::read(bare.to_string().as_bytes(), None).unwrap();
    let places: Vec<String> = told("", &bare).into_iter().map(|(at, _)| at).collect();
    assert_eq!(places, ["solr.collection", "solr.collection"]);
}
