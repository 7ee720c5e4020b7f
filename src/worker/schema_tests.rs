use super::*;
use crate::testing::config;
use convert::{Converted, Converter, Stage};
use fake_solr::FakeSolr;
use serde_json::{Value, json};

/// A schema with these fields, as `/schema` has it.
fn told(fields: &[&str]) -> Value {
    let field = |name: &&str| json!({"name": name, "type": "pint"});
    let fields: Vec<Value> = fields.iter().map(field).collect();
    let types = json!([{"name": "pint", "class": "solr.IntPointField"}]);
    json!({"version": 1.7, "uniqueKey": "id", "fieldTypes": types, "fields": fields})
}

fn schema(fields: &[&str]) -> Option<Arc<Schema>> {
    let solr = FakeSolr::start();
    solr.set_schema(Some(told(fields)));
    let wire = Wire::new(&config(&[&solr.url]).solr, &Default::default());
    Some(Arc::new(ask(&wire, &solr.url, "offers", PATIENCE).expect("it is told")))
}

/// Whether a document with this member is refused by the schema in hand.
fn refuses(hand: &InHand, name: &str) -> bool {
    let converter = Converter::new(&config(&["http://a/solr"])).unwrap();
    let mut scratch = hand.scratch();
    let line = format!(r#"{{"id":"1","{name}":1}}"#);
    let converted = converter.convert(line.as_bytes(), &mut scratch, None);
    matches!(converted, Converted::Reject { stage: Stage::Schema, .. })
}

fn in_hand() -> (Arc<SchemaCopy>, InHand) {
    let copy = Arc::new(SchemaCopy::new());
    let hand = InHand::new(Arc::clone(&copy));
    (copy, hand)
}

#[test]
fn lines_wait_for_the_schema_but_not_for_long_once_they_could_be_sent() {
    let (copy, hand) = in_hand();
    assert!(!hand.is_ready(false, 1_000), "it is not known yet");
    assert!(!hand.is_ready(false, 900_000), "nothing could be sent: nobody is held up");
    assert!(!hand.is_ready(true, 900_000));
    assert!(!hand.is_ready(true, 900_000 + HOLD - 1));
    assert!(hand.is_ready(true, 900_000 + HOLD));
    assert!(!refuses(&hand, "x"), "what is not known refuses nothing");
    copy.publish(schema(&["id", "a"]), 905_000);
    assert!(hand.is_ready(true, 905_000));
    assert!(refuses(&hand, "x") && !refuses(&hand, "a"));
}

#[test]
fn no_line_is_refused_by_an_old_copy() {
    let (copy, hand) = in_hand();
    copy.publish(schema(&["id"]), 1_000);
    copy.wait_until_wanted(); // of the beginning
    assert!(refuses(&hand, "x"));
    assert!(hand.is_fresh(1_000 + FRESH));
    let late = 100_000;
    assert!(!hand.is_fresh(late));
    copy.wait_until_wanted(); // it is asked for, or this waits for ever
    assert!(!hand.is_fresh(late + 10), "one that was under way is no answer");
    copy.publish(schema(&["id", "x"]), late + 20);
    assert!(!hand.is_fresh(late + 30), "the line is to be converted by the new one first");
    assert!(!refuses(&hand, "x"));
}

#[test]
fn no_line_is_refused_by_a_copy_from_before_its_delta() {
    let (copy, hand) = in_hand();
    copy.publish(schema(&["id"]), 1_000);
    hand.begin(1_001);
    assert!(refuses(&hand, "x") && !hand.is_fresh(1_002));
    copy.publish(schema(&["id"]), 1_003);
    assert!(refuses(&hand, "x") && hand.is_fresh(1_004));
    assert!(hand.is_fresh(1_005), "that holds for the next lines, too");
}

#[test]
fn a_reading_that_was_asked_for_counts_however_long_it_took() {
    let (copy, hand) = in_hand();
    copy.publish(schema(&["id"]), 1_000);
    assert!(refuses(&hand, "x") && !hand.is_fresh(50_000));
    copy.publish(schema(&["id"]), 50_001);
    assert!(refuses(&hand, "x") && hand.is_fresh(50_000 + 10 * FRESH));
    assert!(!hand.is_fresh(50_000 + 10 * FRESH), "that was for one line");
}

#[test]
fn a_schema_that_cannot_be_read_again_refuses_nothing() {
    let (copy, hand) = in_hand();
    copy.publish(schema(&["id"]), 1_000);
    assert!(refuses(&hand, "x"));
    copy.fail();
    assert!(!hand.is_fresh(1_000), "it may be another by now");
    assert!(!hand.is_ready(true, 2_000), "and is waited for");
    assert!(!refuses(&hand, "x"));
}

#[test]
fn an_old_copy_is_read_again_once_in_a_while() {
    let (copy, hand) = in_hand();
    copy.publish(schema(&["id"]), 1_000);
    copy.wait_until_wanted(); // of the beginning
    hand.refresh(1_000 + OLD);
    assert!(!copy.lock().wanted);
    hand.refresh(1_001 + OLD);
    assert!(copy.lock().wanted);
    copy.wait_until_wanted();
    hand.refresh(1_001 + OLD + OLD / 2);
    assert!(!copy.lock().wanted, "it was asked for not long ago");
}

#[test]
fn why_there_is_no_schema_is_told_from_why_there_is_none_yet() {
    let solr = FakeSolr::start();
    let wire = Wire::new(&config(&[&solr.url]).solr, &Default::default());
    let read = || ask(&wire, &solr.url, "offers", PATIENCE).map(drop);
    let never = |why: &str| Err(Unread::Never(format!("{}: {why}", solr.url)));
    let not_now = |why: &str| Err(Unread::NotNow(format!("{}: {why}", solr.url)));
    assert_eq!(read(), never("HTTP 404, and no schema"));
    solr.set_schema(Some(json!({"fields": 5})));
    assert_eq!(read(), never("what came back is no schema"));
    for (code, expected) in [
        (403, never("may not (HTTP 403): give this user schema-read")),
        (404, not_now(NO_COLLECTION)),
        (429, not_now("HTTP 429")),
        (503, not_now("HTTP 503")),
    ] {
        solr.turn(fake_solr::Mode::Status { code, content_type: "text/html", body: "<html>" });
        assert_eq!(read(), expected);
    }
    solr.turn(fake_solr::Mode::Down);
    assert_eq!(read(), not_now("connection refused"));
}
