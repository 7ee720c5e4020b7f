//! What Solr makes of values that do not fit their field, and what we refuse of them: nothing that it would
//! have stored as it was sent. The facts of `src/convert/fits.rs`.

use std::sync::Arc;

use convert::{Converted, Converter, Schema, Scratch, Stage};
use serde_json::{Value, json};

use super::solr;

/// What Solr has of a value afterwards.
enum Has {
    /// What was sent.
    Same,
    /// Something else.
    Other(&'static str),
    /// Nothing: the field is left out.
    None,
    /// It answers 400.
    Refuses,
}

use Has::{None as Nothing, Other, Refuses, Same};

/// A member of a document; what Solr has then; whether we refuse it.
const FACTS: &[(&str, Has, bool)] = &[
    (r#""p_i":17"#, Same, false),
    (r#""p_i":-2147483648"#, Same, false),
    (r#""p_i":1.5"#, Other("1"), true),
    (r#""p_i":-1.5"#, Other("-1"), true),
    (r#""p_i":2147483648"#, Other("-2147483648"), true),
    (r#""p_i":99999999999"#, Other("1215752191"), true),
    (r#""p_i":1e10"#, Other("2147483647"), true),
    (r#""p_i":9223372036854775808"#, Refuses, true),
    (r#""p_i":1.0"#, Other("1"), false), // the same number
    (r#""p_i":1e3"#, Other("1000"), false),
    (r#""p_i":"17""#, Other("17"), false),
    (r#""p_i":"+17""#, Other("17"), false),
    (r#""p_i":"1.5""#, Refuses, true),
    (r#""p_i":" 17""#, Refuses, true),
    (r#""p_i":"""#, Refuses, true),
    (r#""p_i":"abc""#, Refuses, true),
    (r#""p_i":"99999999999""#, Refuses, true),
    (r#""p_i":true"#, Refuses, true),
    (r#""p_i":null"#, Nothing, false),
    (r#""p_i":[]"#, Nothing, false),
    (r#""p_i":[null]"#, Nothing, false),
    (r#""p_i":[7]"#, Other("7"), false),
    (r#""p_i":[7,7]"#, Refuses, true),
    (r#""p_i":[null,7]"#, Refuses, true),
    (r#""p_i":[[7]]"#, Refuses, false), // it may be one value of a type that is not known here
    (r#""p_i":{"set":1.5}"#, Other("1"), true),
    (r#""p_i":{"set":[7]}"#, Other("7"), false),
    (r#""p_i":{"set":[1,2]}"#, Refuses, true),
    (r#""p_i":{"inc":1.5}"#, Other("1"), true),
    (r#""p_i":{"inc":2.0}"#, Other("2"), false),
    (r#""p_i":{"set":99999999999}"#, Other("1215752191"), true),
    (r#""p_i":{"nosuch":1}"#, Refuses, false),
    (r#""p_is":[1,2.5]"#, Other("[1,2]"), true),
    (r#""p_is":{"add":2.5}"#, Other("[2]"), true),
    (r#""p_l":9223372036854775807"#, Same, false),
    (r#""p_l":9007199254740993"#, Same, false),
    (r#""p_l":9007199254740993.0"#, Other("9007199254740992"), true),
    (r#""p_l":1e18"#, Other("1000000000000000000"), false),
    (r#""p_l":1e19"#, Other("9223372036854775807"), true),
    (r#""p_l":9223372036854775808"#, Refuses, true),
    (r#""p_l":"1e3""#, Refuses, true),
    (r#""p_f":1e39"#, Other("\"Infinity\""), true),
    (r#""p_f":"1e39""#, Other("\"Infinity\""), true),
    (r#""p_f":"NaN""#, Same, false),
    (r#""p_f":" 1.5f ""#, Other("1.5"), false),
    (r#""p_f":"0x1p3""#, Other("8.0"), false),
    (r#""p_f":"abc""#, Refuses, true),
    (r#""p_f":true"#, Refuses, true),
    (r#""p_d":1e308"#, Same, false),
    (r#""p_d":1e400"#, Other("\"Infinity\""), true),
    (r#""p_d":"1_0""#, Refuses, true),
    (r#""p_b":"T""#, Other("true"), false),
    (r#""p_b":"no""#, Other("false"), false),
    (r#""p_b":1"#, Other("true"), false),
    (r#""p_b":0"#, Other("false"), false),
    (r#""p_b":2"#, Other("false"), true),
    (r#""p_b":"yes""#, Other("false"), true),
    (r#""p_b":"on""#, Other("false"), true),
    (r#""p_dt":"2024-07-02T09:05:45Z""#, Same, false),
    (r#""p_dt":"2024-07-02T09:05:45Z/DAY""#, Other("\"2024-07-02T00:00:00Z\""), false),
    (r#""p_dt":"2024-7-2T09:05:45Z""#, Other("\"2024-07-02T09:05:45Z\""), false),
    (r#""p_dt":"2024-07-02T09:05:45""#, Refuses, true),
    (r#""p_dt":"2024-07-02T09:05:45+02:00""#, Refuses, true),
    (r#""p_dt":"2024-02-30T09:05:45Z""#, Refuses, false), // no calendar of ours
    (r#""p_dt":"2024-07-02""#, Refuses, true),
    (r#""p_dt":"""#, Refuses, true),
    (r#""p_dt":1719911145"#, Refuses, true),
    (r#""p_dt":{"set":"x"}"#, Refuses, true),
    (r#""p_s":true"#, Other("\"true\""), false),
    (r#""p_s":["a","b"]"#, Refuses, true),
    (r#""p_t":["a","b"]"#, Refuses, true),
    (r#""p_txt":["a","b"]"#, Same, false),
    (r#""ignored_p":[1,"a"]"#, Nothing, false),
    (r#""nosuch":1"#, Refuses, true),
    (r#""nosuch":"""#, Refuses, true),
    (r#""nosuch":null"#, Nothing, false),
    (r#""nosuch":[null]"#, Nothing, false),
    (r#""nosuch":{"set":1}"#, Refuses, false),
    (r#""nosuch":{"set":null}"#, Nothing, false),
    (r#""":1"#, Refuses, true),
];

/// The schema, as the daemon reads it.
fn schema(solr: &super::Solr) -> Schema {
    let get = |what: &str| solr.collection.get(&format!("{}/{what}", solr.elsewhere.url));
    let (schema, config) = (get("schema?wt=json"), get("config?expandParams=true&wt=json"));
    Schema::read(schema.as_bytes(), Some(config.as_bytes())).expect("it can be read")
}

/// Whether a document with this member is refused for its schema.
fn is_refused(converter: &Converter, scratch: &mut Scratch, member: &str) -> bool {
    let line = format!(r#"{{"id":"x",{member}}}"#);
    match converter.convert(line.as_bytes(), scratch, None) {
        Converted::Doc { .. } => false,
        Converted::Reject { stage: Stage::Schema, .. } => true,
        other => panic!("{member}: {other:?}"),
    }
}

#[test]
fn what_is_refused_solr_would_mangle_or_refuse_and_the_rest_it_has_as_it_was_sent() {
    let solr = solr();
    let schema = Arc::new(schema(&solr));
    assert!(schema.certain.is_any(), "{schema:?}");
    let config = config::Config::for_feed(vec!["http://a/solr".into()], "c".into()).unwrap();
    let (converter, mut scratch) = (Converter::new(&config).unwrap(), Scratch::with(Some(schema)));
    let mut sent = Vec::new();
    for (n, (member, ..)) in FACTS.iter().enumerate() {
        sent.push(solr.leader.update(format!(r#"[{{"id":"@m{n:03}",{member}}}]"#)).status);
    }
    solr.leader.commit();
    let base = format!("{}/{}", solr.collection.urls()[0], solr.collection.name());
    let docs = solr.collection.fields_in(&base, "*", "");
    for (n, ((member, has, refused), status)) in FACTS.iter().zip(sent).enumerate() {
        let (field, value) = member.split_once(':').unwrap();
        let field = field.trim_matches('"');
        let id = solr.leader.ids.spell(&format!("@m{n:03}"));
        let found = docs.get(&id).map(|doc| doc[field].clone());
        let expected = match has {
            Same => Some(serde_json::from_str(value).unwrap()),
            Other(other) => Some(serde_json::from_str(other).unwrap()),
            Nothing => Some(Value::Null),
            Refuses => None,
        };
        assert_eq!(
            (found, status),
            (expected, if matches!(has, Refuses) { 400 } else { 200 }),
            "{member}"
        );
        assert_eq!(is_refused(&converter, &mut scratch, member), *refused, "{member}");
    }
}

#[test]
fn a_string_field_takes_32766_bytes_and_what_is_only_stored_or_cut_takes_more() {
    let solr = solr();
    let schema = Arc::new(schema(&solr));
    let config = config::Config::for_feed(vec!["http://a/solr".into()], "c".into()).unwrap();
    let (converter, mut scratch) = (Converter::new(&config).unwrap(), Scratch::with(Some(schema)));
    let (fits, long) = ("x".repeat(32_766), "x".repeat(32_767));
    for (member, is_taken) in [
        (json!({"p_s": fits}), true),
        (json!({"p_s": long}), false),
        (json!({"p_s": "ä".repeat(16_383)}), true),
        (json!({"p_s": "ä".repeat(16_384)}), false),
        (json!({"p_ss": ["a", long]}), false),
        (json!({"p_str": long}), false), // docValues alone
        (json!({"p_s": {"set": long}}), false),
        (json!({"p_t": long}), true),
        (json!({"ignored_p": long}), true),
    ] {
        let text = member.to_string();
        let member = &text[1..text.len() - 1];
        let said = solr.leader.anew().update(format!(r#"[{{"id":"@l",{member}}}]"#));
        assert_eq!(said.status, if is_taken { 200 } else { 400 }, "{}", &member[..20]);
        assert_eq!(is_refused(&converter, &mut scratch, member), !is_taken, "{}", &member[..20]);
    }
}
