//! Solr is away, slow or wrong: that is no line's fault. It waits, and says so.

use std::time::Duration;

use serde_json::Value;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

/// The daemon's patience with Solr before it calls for help.
const SOON: &str = "health.solr = { warning = '200ms', critical = '500ms' }\nbatch.docs = 50\n";

fn reason(status: &Value, code: &str) -> Option<String> {
    let reasons = status["health"]["reasons"].as_array()?;
    let reason = reasons.iter().find(|reason| reason["code"] == code)?;
    Some(format!("{}: {}", reason["severity"].as_str()?, reason["message"].as_str()?))
}

/// Takes a delta half way, has Solr misbehave until the daemon says these words, then be well again.
fn shows(mode: Mode, words: &str) {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(10)));
    let site = Site::new(solr.url());
    site.configure(&format!("{SOON}solr.timeout = '400ms'\nsolr.connect_timeout = '400ms'"));
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..5_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is half way", || solr.taken() > delta.lines / 2);
    solr.turn(mode);
    let status = daemon.wait("it is critical", |status| status["health"]["state"] == "critical");
    let why = reason(&status, "solr").unwrap_or_default();
    assert!(why.starts_with(&format!("critical: {words}")), "{why:?}: {}", status["health"]);
    let check = site.check_updater(&[]).code(2);
    assert!(check.stdout.starts_with(&format!("UPDATER CRITICAL - {words}")), "{check:?}");
    assert_eq!(site.names("done"), [""; 0]);

    solr.turn(Mode::Up);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    site.check_updater(&[]).code(0).says("UPDATER OK");
    daemon.stop();
}

#[test]
fn an_outage_is_no_reject() {
    shows(Mode::Down, "Solr unreachable for ");
}

#[test]
fn a_solr_that_never_answers_is_no_reject() {
    shows(Mode::Stall, "Solr unreachable for ");
}

#[test]
fn a_503_is_no_reject() {
    let body = r#"{"responseHeader":{"status":503,"QTime":4001},"error":{"msg":"No registered leader was found","code":503}}"#;
    shows(
        Mode::Status { code: 503, content_type: "application/json;charset=utf-8", body },
        "Solr ",
    );
}

#[test]
fn a_400_of_a_proxys_is_no_reject() {
    let body = "<html><h1>400 Bad Request</h1></html>";
    shows(Mode::Status { code: 400, content_type: "text/html", body }, "Solr ");
}

#[test]
fn a_200_without_a_receipt_confirms_nothing() {
    shows(Mode::ReceiptsMissing, "Solr ");
}

#[test]
fn a_login_page_is_no_receipt() {
    let body = "<html>please log in</html>";
    shows(Mode::Status { code: 200, content_type: "text/html", body }, "Solr ");
}

#[test]
fn a_missing_collection_is_critical_for_run_and_an_error_for_feed_and_check() {
    let solr = FakeSolr::in_mode(Mode::NoCollection);
    let site = Site::new(solr.url());
    let words = "collection c not found";

    let check = site.run(&["check", "--solr"]).code(1).says(words);
    assert_eq!(check.stderr.lines().count(), 1, "{check:?}");
    let input = site.path("input.jsonl");
    std::fs::write(&input, "{\"id\":\"a\"}\n").unwrap();
    site.run(&["feed", "input.jsonl"]).code(1).says(words);
    assert!(!site.path("input.jsonl.rejected.jsonl").exists());

    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    let status = daemon.wait("it is critical", |status| status["health"]["state"] == "critical");
    assert!(reason(&status, "solr").is_some_and(|why| why.contains(words)), "{}", status["health"]);
    site.check_updater(&["-v"]).code(2).says(words);
    solr.turn(Mode::Up);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!((solr.order(), site.names("rejected")), (vec!["x".into()], vec![]));
    site.run(&["check", "--solr"]).code(0);
    daemon.stop();
}

#[test]
fn a_daemon_can_be_stopped_while_solr_is_away() {
    let solr = FakeSolr::in_mode(Mode::Down);
    let site = Site::new(solr.url());
    site.configure("retry = { first = '10s', most = '20s' }\nworkers.stop_timeout = '20s'");
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", &Delta::offers(0..3_000, 1).text);
    daemon.wait("it backs off", |status| status["workers"][0]["state"] == "backing-off");
    let before = std::time::Instant::now();
    daemon.stop();
    assert!(before.elapsed() < Duration::from_secs(10), "it waited out a backoff");
    assert!(site.spool("active/x.jsonl").exists());
}
