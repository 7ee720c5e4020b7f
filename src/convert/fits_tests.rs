use serde_json::json;

use super::*;
use crate::chain::Certain;
use crate::{Converted, Converter, Scratch, Stage};

/// A schema as the tests' SolrCloud has it, and behind what leaves so much certain.
fn schema(certain: Certain) -> Arc<Schema> {
    let types = [
        ("string", "StrField"),
        ("pint", "IntPointField"),
        ("plong", "LongPointField"),
        ("pfloat", "FloatPointField"),
        ("pdouble", "DoublePointField"),
        ("boolean", "BoolField"),
        ("pdate", "DatePointField"),
        ("text", "TextField"),
        ("vector", "DenseVectorField"),
    ];
    let types = types.map(|(name, class)| json!({"name": name, "class": format!("solr.{class}")}));
    let several = [("*_ss", "string"), ("*_is", "pint"), ("ignored_*", "vector")];
    let several = several.map(|(name, of)| json!({"name": name, "type": of, "multiValued": true}));
    let single =
        ["s:string", "i:pint", "l:plong", "f:pfloat", "d:pdouble", "b:boolean", "dt:pdate"];
    let single = single.iter().chain(&["t:text", "v:vector"]).map(|both| {
        let (end, of) = both.split_once(':').unwrap();
        json!({"name": format!("*_{end}"), "type": of})
    });
    let dynamic: Vec<_> = several.into_iter().chain(single).collect();
    let answer = json!({"schema": {
        "version": 1.7, "uniqueKey": "id", "fieldTypes": types, "dynamicFields": dynamic,
        "fields": [
            {"name": "id", "type": "string", "required": true}, {"name": "_version_", "type": "plong"},
            {"name": "stored", "type": "string", "indexed": false, "docValues": false},
        ],
        "copyFields": [{"source": "copied_t", "dest": "copy_s"}],
    }});
    let mut read = Schema::read(answer.to_string().as_bytes(), None).unwrap();
    read.certain = certain;
    Arc::new(read)
}

/// Why a document with this member is refused.
fn refused_behind(certain: Certain, member: &str) -> Option<String> {
    let config = config::Config::for_feed(vec!["http://a/solr".into()], "c".into()).unwrap();
    let converter = Converter::new(&config).unwrap();
    let mut scratch = Scratch::with(Some(schema(certain)));
    let line = format!(r#"{{"id":"x",{member}}}"#);
    match converter.convert(line.as_bytes(), &mut scratch, None) {
        Converted::Doc { .. } => None,
        Converted::Reject { stage: Stage::Schema, reason } => Some(reason),
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(member: &str) -> Option<String> {
    refused_behind(Certain::all(), member)
}

#[track_caller]
fn is_taken(member: &str) {
    assert_eq!(refused(member), None, "{}", excerpt(member));
}

#[test]
fn numbers_that_solr_would_cut_or_wrap_are_refused_with_what_it_would_store() {
    for (member, why) in [
        (r#""n_i":1.5"#, "n_i (pint): 1.5 is no whole number, and Solr would store 1"),
        (r#""n_i":-1.5"#, "n_i (pint): -1.5 is no whole number, and Solr would store -1"),
        (
            r#""n_i":2147483648"#,
            "n_i (pint): 2147483648 is beyond 32 bits, and Solr would store -2147483648",
        ),
        (
            r#""n_i":99999999999"#,
            "n_i (pint): 99999999999 is beyond 32 bits, and Solr would store 1215752191",
        ),
        (r#""n_i":1e10"#, "n_i (pint): 1e10 is beyond 32 bits, and Solr would store 2147483647"),
        (r#""n_i":1e400"#, "n_i (pint): 1e400 is beyond 32 bits, and Solr would store 2147483647"),
        (r#""n_i":9223372036854775808"#, "n_i (pint): 9223372036854775808 is beyond 32 bits"),
        (r#""n_i":true"#, "n_i (pint): true is no number"),
        (r#""n_is":[1,2.5]"#, "n_is (pint): 2.5 is no whole number, and Solr would store 2"),
        (
            r#""n_l":1e19"#,
            "n_l (plong): 1e19 is beyond 64 bits, and Solr would store 9223372036854775807",
        ),
        (
            r#""n_l":9007199254740993.0"#,
            "n_l (plong): 9007199254740993.0 has more digits than a double holds, and Solr would store \
             9007199254740992",
        ),
        (r#""n_f":3.5e38"#, "n_f (pfloat): 3.5e38 is too large, and Solr would store Infinity"),
        (r#""n_d":1e400"#, "n_d (pdouble): 1e400 is too large, and Solr would store Infinity"),
        (
            r#""n_d":"1e400""#,
            "n_d (pdouble): \"1e400\" is too large, and Solr would store Infinity",
        ),
        (r#""n_b":2"#, "n_b (boolean): 2 is neither true nor false, and Solr would store false"),
        (
            r#""n_b":"yes""#,
            "n_b (boolean): \"yes\" is neither true nor false, and Solr would store false",
        ),
    ] {
        assert_eq!(refused(member).as_deref(), Some(why), "{member}");
    }
    for member in [
        r#""n_i":0"#,
        r#""n_i":-0"#,
        r#""n_i":1.0"#,
        r#""n_i":1e3"#,
        r#""n_i":2147483647"#,
        r#""n_i":-2147483648"#,
        r#""n_i":null"#,
        r#""n_i":"17""#,
        r#""n_i":"+17""#,
        r#""n_i":"١٧""#,
        r#""n_l":9223372036854775807"#,
        r#""n_l":-9223372036854775808"#,
        r#""n_l":9007199254740993"#,
        r#""n_l":1e18"#,
        r#""n_f":1.5"#,
        r#""n_f":3.4e38"#,
        r#""n_f":1e-60"#,
        r#""n_f":"NaN""#,
        r#""n_f":" 1.5f ""#,
        r#""n_f":"0x1p3""#,
        r#""n_d":12345678901234567890123"#,
        r#""n_d":1e308"#,
        r#""n_b":true"#,
        r#""n_b":0"#,
        r#""n_b":1"#,
        r#""n_b":"no""#,
        r#""n_b":"T""#,
        r#""n_s":1.5"#,
        r#""n_t":1.50"#,
        r#""n_v":[1.5,2.5]"#,
        r#""ignored_x":[1,"a"]"#,
        r#""_version_":1.5"#,
    ] {
        is_taken(member);
    }
}

#[test]
fn what_solr_would_refuse_is_refused_before() {
    for (member, why) in [
        (r#""nosuch":1"#, "unknown field nosuch: the schema has none of that name"),
        (r#""nosuch":["a"]"#, "unknown field nosuch: the schema has none of that name"),
        (r#""":1"#, "unknown field \"\": the schema has none of that name"),
        (r#""n_i":[1,2]"#, "n_i (pint): 2 values, and it takes one"),
        (r#""n_t":["a","b"]"#, "n_t (text): 2 values, and it takes one"),
        (r#""n_i":"abc""#, "n_i (pint): \"abc\" is no whole number of 32 bits"),
        (r#""n_i":"1.5""#, "n_i (pint): \"1.5\" is no whole number of 32 bits"),
        (r#""n_i":"2147483648""#, "n_i (pint): \"2147483648\" is no whole number of 32 bits"),
        (r#""n_l":"1e3""#, "n_l (plong): \"1e3\" is no whole number of 64 bits"),
        (r#""n_f":"abc""#, "n_f (pfloat): \"abc\" is no number"),
        (
            r#""n_dt":"yesterday""#,
            "n_dt (pdate): \"yesterday\" is no date as Solr has them: need one such as \"2024-07-02T09:05:45Z\"",
        ),
        (
            r#""n_dt":1719911145"#,
            "n_dt (pdate): 1719911145 is no date: need one such as \"2024-07-02T09:05:45Z\"",
        ),
    ] {
        assert_eq!(refused(member).as_deref(), Some(why), "{member}");
    }
    for member in [
        r#""nosuch":null"#,
        r#""nosuch":[]"#,
        r#""nosuch":[null]"#,
        r#""nosuch":{"id":"y"}"#,
        r#""nosuch":[{"id":"y"}]"#,
        r#""_childDocuments_":[{"id":"y","n_i":1.5}]"#,
        r#""n_i":[1]"#,
        r#""n_i":[]"#,
        r#""n_dt":"NOW/DAY""#,
        r#""n_dt":"2024-07-02T09:05:45Z/DAY""#,
        r#""n_dt":"2024-7-2T9:05:45Z""#,
        r#""n_ss":["a","b"]"#,
        r#""n_s":{"id":"y"}"#,
    ] {
        is_taken(member);
    }
}

#[test]
fn the_values_of_an_atomic_update_are_values_as_any() {
    for (member, why) in [
        (r#""n_i":{"set":1.5}"#, "n_i (pint): 1.5 is no whole number, and Solr would store 1"),
        (r#""n_i":{"inc":1.5}"#, "n_i (pint): 1.5 is no whole number, and Solr would store 1"),
        (
            r#""n_is":{"add":[1,2.5]}"#,
            "n_is (pint): 2.5 is no whole number, and Solr would store 2",
        ),
        (r#""n_s":{"set":["a","b"]}"#, "n_s (string): 2 values, and it takes one"),
    ] {
        assert_eq!(refused(member).as_deref(), Some(why), "{member}");
    }
    for member in [
        r#""n_i":{"set":null}"#,
        r#""n_i":{"inc":2.0}"#,
        r#""n_is":{"remove":1.5}"#,
        r#""n_s":{"removeregex":"x"}"#,
        r#""n_i":{"id":"child","set":1.5}"#,
        r#""nosuch":{"set":1}"#,
        r#""n_s":{"set":[]}"#,
    ] {
        is_taken(member);
    }
}

#[test]
fn a_string_field_takes_as_many_bytes_as_a_term_has() {
    let member = |name: &str, text: &str| format!(r#""{name}":"{text}""#);
    let why = "it has 32767 bytes, and a string field takes 32766 at most";
    let (fits, long) = ("x".repeat(32_766), "x".repeat(32_767));
    is_taken(&member("n_s", &fits));
    assert_eq!(refused(&member("n_s", &long)).unwrap(), format!("n_s (string): {why}"));
    assert_eq!(
        refused(&format!(r#""n_ss":["a","{long}"]"#)).unwrap(),
        format!("n_ss (string): {why}")
    );
    assert_eq!(
        refused(&format!(r#""n_s":{{"set":"{long}"}}"#)).unwrap(),
        format!("n_s (string): {why}")
    );
    // It counts as UTF-8, and not as it is escaped.
    is_taken(&member("n_s", &r"\u00e4".repeat(16_383)));
    assert!(refused(&member("n_s", &"ä".repeat(16_384))).is_some());
    is_taken(&member("n_t", &long));
    is_taken(&member("stored", &long));
    assert_eq!(
        refused(&member("copied_t", &long)).unwrap(),
        "copied_t (text): it has 32767 bytes, and its copy copy_s is a string field, which takes 32766 at most"
    );
}

#[test]
fn what_a_chain_may_make_legal_is_solrs_to_judge() {
    let schemaless = || Certain {
        names: false,
        odd_names: false,
        strings: false,
        counts: false,
        ..Certain::all()
    };
    for member in [
        r#""nosuch":1"#,
        r#""n_i":"abc""#,
        r#""n_i":["",1]"#,
        r#""n_dt":"2024-07-02""#,
        r#""n_b":"yes""#,
        r#""a b_i":1.5"#,
    ] {
        assert_eq!(refused_behind(schemaless(), member), None, "{member}");
    }
    assert!(refused_behind(schemaless(), r#""n_i":1.5"#).is_some());
    let long = "x".repeat(40_000);
    assert!(refused_behind(schemaless(), &format!(r#""n_s":"{long}""#)).is_some());
    for member in [r#""n_i":1.5"#, r#""nosuch":1"#, r#""n_dt":5"#, r#""n_i":[1,2]"#] {
        assert_eq!(refused_behind(Certain::unknown("it has a script"), member), None, "{member}");
    }
}

#[test]
fn a_delete_is_no_document_and_what_is_wrong_anyway_is_told_first() {
    let config = config::Config::for_feed(vec!["http://a/solr".into()], "c".into()).unwrap();
    let converter = Converter::new(&config).unwrap();
    let mut scratch = Scratch::with(Some(schema(Certain::all())));
    let delete = converter.convert(br#"{"delete":{"id":"x"}}"#, &mut scratch, None);
    assert!(matches!(delete, Converted::Delete { .. }), "{delete:?}");
    for (line, why) in [
        (&br#"{"nosuch":1}"#[..], "no member id"),
        (br#"{"id":"x","nosuch":1,}"#, "malformed JSON at byte 22: trailing comma"),
    ] {
        match converter.convert(line, &mut scratch, None) {
            Converted::Reject { stage, reason } => {
                assert_ne!(stage, Stage::Schema);
                assert_eq!(reason, why);
            }
            other => panic!("{other:?}"),
        }
    }
    let good = converter.convert(br#"{"id":"x"}"#, &mut scratch, None);
    assert!(matches!(good, Converted::Doc { .. }), "nothing is left of the line before: {good:?}");
}

#[test]
fn what_was_made_by_fields_or_jq_is_held_against_the_schema_too() {
    for convert in [
        "[convert.fields]\nid = 'sku'\nn_i = 'price'",
        "[convert]\nkeep = 'all'\n[convert.fields]\nid = 'sku'",
        "[convert]\njq = '{id: .sku, n_i: .n_i}'",
    ] {
        let text = format!(
            "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a/solr']\ncollection = 'c'\n{convert}"
        );
        let config = config::parse(&text, "u.toml".as_ref()).unwrap();
        let converter = Converter::new(&config).unwrap();
        let mut scratch = Scratch::with(Some(schema(Certain::all())));
        let line = br#"{"sku":"x","price":1.5,"n_i":1.5}"#;
        match converter.convert(line, &mut scratch, None) {
            Converted::Reject { stage: Stage::Schema, reason } => {
                let why = "n_i (pint): 1.5 is no whole number, and Solr would store 1";
                let unknown = "unknown field price: the schema has none of that name";
                assert!(reason == why || reason == unknown, "{reason}");
            }
            other => panic!("{convert}: {other:?}"),
        }
    }
}
