//! What Solr would store as something else, or refuse, is refused before it is sent, by its own schema; and
//! a schema that is away, old or silent costs no line.

use std::time::Duration;

use fake_solr::{FakeSolr, Mode};
use serde_json::{Value, json};

use crate::common::{Daemon, Site};

/// A schema in the words of `/schema`: these fields, each of a type.
pub(crate) fn schema(fields: &[(&str, &str)]) -> Value {
    let types = [("string", "StrField"), ("pint", "IntPointField"), ("pdate", "DatePointField")];
    let types = types.map(|(name, class)| json!({"name": name, "class": format!("solr.{class}")}));
    let field = |(name, of): &(&str, &str)| json!({"name": name, "type": of});
    let fields: Vec<Value> =
        [("id", "string"), ("_version_", "pint")].iter().chain(fields).map(field).collect();
    json!({"version": 1.7, "uniqueKey": "id", "fieldTypes": types, "fields": fields})
}

fn told(site: &Site, delta: &str) -> Vec<(Value, Value, Value)> {
    let rejects = site.rejects(delta).into_iter();
    rejects.map(|r| (r["line"].clone(), r["stage"].clone(), r["reason"].clone())).collect()
}

fn delivered(daemon: &Daemon, deltas: u64) {
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == deltas);
}

#[test]
fn what_solr_would_regret_is_refused_with_line_and_reason() {
    let solr = FakeSolr::up();
    solr.set_schema(Some(schema(&[("n", "pint"), ("name", "string"), ("seen", "pdate")])));
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let long = "x".repeat(40_000);
    site.hand_over(
        "x.jsonl",
        format!(
            "{{\"id\":\"a\",\"n\":1}}\n{{\"id\":\"b\",\"n\":1.5}}\n{{\"id\":\"c\",\"n\":99999999999}}\n\
             {{\"id\":\"d\",\"nosuch\":1}}\n{{\"id\":\"e\",\"n\":[1,2]}}\n{{\"id\":\"f\",\"seen\":\"now\"}}\n\
             {{\"id\":\"g\",\"name\":\"{long}\"}}\n{{\"id\":\"h\",\"name\":\"x\",\"n\":[2]}}\n"
        ),
    );
    delivered(&daemon, 1);
    assert_eq!(solr.ids(), ["a", "h"]);
    let told = told(&site, "x.jsonl");
    assert!(told.iter().all(|(_, stage, _)| stage == "convert"), "{told:?}");
    let told: Vec<_> =
        told.iter().map(|(line, _, why)| format!("{line} {}", why.as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            "2 n (pint): 1.5 is no whole number, and Solr would store 1",
            "3 n (pint): 99999999999 is beyond 32 bits, and Solr would store 1215752191",
            "4 unknown field nosuch: the schema has none of that name",
            "5 n (pint): 2 values, and it takes one",
            "6 seen (pdate): \"now\" is no date as Solr has them: need one such as \"2024-07-02T09:05:45Z\"",
            "7 name (string): it has 40000 bytes, and a string field takes 32766 at most",
        ]
    );
    daemon.stop();
}

#[test]
fn a_schema_that_was_mended_since_refuses_no_line() {
    let solr = FakeSolr::up();
    solr.set_schema(Some(schema(&[])));
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"a\"}\n");
    delivered(&daemon, 1);
    solr.set_schema(Some(schema(&[("color", "string")])));
    let text: String =
        (0..100).map(|n| format!("{{\"id\":\"{n}\",\"color\":\"red\"}}\n")).collect();
    site.hand_over("b.jsonl", text);
    delivered(&daemon, 2);
    assert_eq!((solr.ids().len(), told(&site, "b.jsonl")), (101, vec![]));
    daemon.stop();
}

#[test]
fn a_retry_of_what_the_schema_refused_delivers_it_when_that_is_mended() {
    let solr = FakeSolr::up();
    solr.set_schema(Some(schema(&[])));
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"a\",\"color\":\"red\"}\n{\"id\":\"b\"}\n");
    delivered(&daemon, 1);
    assert_eq!(solr.ids(), ["b"]);
    solr.set_schema(Some(schema(&[("color", "string")])));
    site.run(&["retry", "a.jsonl"]).code(0);
    solr.wait(|seen| seen.docs.len() == 2);
    daemon.wait("it is retried", |status| {
        status["spool"]["rejected"]["lines"] == 0 && status["spool"]["active_files"] == 0
    });
    assert_eq!(solr.ids(), ["a", "b"]);
    daemon.stop();
}

#[test]
fn without_a_schema_solr_judges_alone_and_the_log_says_so_once() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    for n in 1..=3 {
        site.hand_over(&format!("{n}.jsonl"), format!("{{\"id\":\"{n}\",\"n_i\":1.5}}\n"));
        delivered(&daemon, n);
    }
    assert_eq!((solr.ids().len(), site.names("rejected").len()), (3, 0));
    daemon.stop();
    let log = std::fs::read_to_string(site.log()).unwrap();
    assert_eq!(log.matches("the schema cannot be read").count(), 1, "{log}");
}

#[test]
fn a_schema_that_never_answers_holds_nothing_up_for_long() {
    for answers in [false, true] {
        let solr = FakeSolr::up();
        solr.hold_schema(match answers {
            true => Mode::Status { code: 503, content_type: "text/html", body: "<html>" },
            false => Mode::Slow(Duration::from_secs(600)),
        });
        let site = Site::new(solr.url());
        let daemon = Daemon::start(&site);
        site.hand_over("x.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
        delivered(&daemon, 1);
        assert_eq!((solr.ids().len(), site.names("rejected").len()), (2, 0));
        daemon.stop();
    }
}

#[test]
fn lines_that_wait_for_solr_are_held_against_the_schema_when_it_is_there() {
    let solr = FakeSolr::in_mode(Mode::Down);
    solr.set_schema(Some(schema(&[("n", "pint")])));
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"a\",\"n\":1.5}\n{\"id\":\"b\",\"n\":1}\n");
    daemon.wait("it is under way", |status| status["spool"]["active_files"] == 1);
    solr.turn(Mode::Up);
    delivered(&daemon, 1);
    assert_eq!((solr.ids(), told(&site, "x.jsonl").len()), (vec!["b".to_owned()], 1));
    daemon.stop();
}
