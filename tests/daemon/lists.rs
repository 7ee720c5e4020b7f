//! `rejects` and `history`: what was refused and what was settled, asked of the daemon, on its control
//! socket, and of the spool where no daemon runs.

use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Site, ask};

/// The answer to a request on the control socket.
#[track_caller]
fn control(site: &Site, words: &str) -> Value {
    ask(&site.control_socket(), words).expect("the daemon answers")
}

/// A spool with two deltas settled: `a` with a bad line and a line that is no JSON, `b` with none.
fn settled(site: &Site, daemon: &Daemon) {
    let mut delta = Delta::offers(0..10, 1);
    delta.line(r#"{"id":"refused","bad":1}"#).line("no JSON");
    site.hand_over("a.jsonl", &delta.text);
    site.hand_over("b.jsonl", &Delta::offers(0..5, 2).text);
    daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
}

#[test]
fn rejects_are_listed_with_delta_line_id_and_reason() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.run(&["rejects"]).code(0).says("nothing is rejected");
    settled(&site, &daemon);
    let json = site.run(&["rejects", "--json"]).code(0).stdout;
    let table = site.run(&["rejects"]).code(0);
    let rows: Vec<Vec<&str>> =
        table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["DELTA", "LINE", "ID", "REASON"]);
    assert_eq!(rows[1][..3], ["a.jsonl", "11", "refused"]);
    assert!(table.stdout.contains("ERROR: [doc=refused] unknown field 'bad'"), "{table:?}");
    assert_eq!((&rows[2][..3], rows.len()), (&["a.jsonl", "12", "-"][..], 3));

    let answer = control(&site, "rejects a.jsonl");
    assert_eq!(answer, serde_json::from_str::<Value>(&json).unwrap());
    assert_eq!((&answer["ok"], &answer["truncated"]), (&json!(true), &json!(false)));
    let first = &answer["rejects"][0];
    let expected = [json!("a.jsonl"), json!(11), json!("refused"), json!("solr"), json!(400)];
    assert_eq!(["delta", "line", "id", "stage", "status"].map(|m| first[m].clone()), expected);
    assert_eq!(first.get("raw"), None, "what was rejected is in the file");
    assert_eq!(control(&site, "rejects b.jsonl")["rejects"], json!([]));
    daemon.stop();

    // Without it, by the spool itself.
    assert_eq!(site.run(&["rejects", "--json"]).code(0).stdout, json);
    assert_eq!(site.run(&["rejects", "a.jsonl"]).code(0).stdout, table.stdout);
}

#[test]
fn what_nobody_can_mean_is_refused_with_the_remedy() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    for name in ["rejected/x.jsonl", "x", "", "../x.jsonl"] {
        let run = site.run(&["rejects", name]).code(2);
        assert!(
            run.stderr.contains("name the delta alone, x.jsonl")
                || run.stderr.contains("such as offers.jsonl"),
            "{run:?}"
        );
    }
    site.run(&["rejects", "nobody.jsonl"]).code(1).says("no such delta is in the spool");
    site.run(&["history", "-n", "many"]).code(2);
    let code = |words: &str| control(&site, words)["error"]["code"].clone();
    assert_eq!(code("rejects nobody.jsonl"), "unknown_delta");
    assert_eq!(code("rejects a/b.jsonl"), "bad_request");
    assert_eq!(code("history many"), "bad_request");
    for words in ["rejects", "history"] {
        let refused = ask(&site.status_socket(), words).unwrap();
        assert_eq!(refused["error"]["code"], "not_permitted", "{words}");
        let help = control(&site, "help")["help"].clone();
        assert!(help.as_array().unwrap().contains(&json!(words)), "{help}");
    }
    daemon.stop();
    site.run(&["rejects", "nobody.jsonl"]).code(1).says("no such delta is in the spool");
    // A socket that was named is that daemon's or nobody's.
    site.run(&["-s", "/nonexistent", "rejects"]).code(1).says("no daemon runs there");
    std::fs::remove_dir_all(site.path("spool")).unwrap();
    site.run(&["rejects"]).code(78).says("there is no such spool");
}

#[test]
fn the_history_is_kept_over_restarts_and_a_torn_line() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.run(&["history"]).code(0).says("nothing has been settled yet");
    settled(&site, &daemon);
    daemon.kill();
    // A daemon that died in the middle of a line.
    let history = site.spool(".history");
    let text = std::fs::read(&history).unwrap();
    std::fs::write(&history, [&text[..], &text[..20]].concat()).unwrap();

    let daemon = Daemon::start(&site);
    site.hand_over("c.jsonl", &Delta::offers(0..3, 3).text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    let answer = control(&site, "history");
    let told: Vec<Value> = answer["history"].as_array().unwrap().clone();
    let facts = ["name", "outcome", "lines", "docs", "rejected"];
    let told: Vec<Vec<Value>> =
        told.iter().map(|e| facts.iter().map(|fact| e[*fact].clone()).collect()).collect();
    let expected = [
        vec![json!("c.jsonl"), json!("done"), json!(3), json!(3), json!(0)],
        vec![json!("b.jsonl"), json!("done"), json!(5), json!(5), json!(0)],
        vec![json!("a.jsonl"), json!("done"), json!(12), json!(10), json!(2)],
    ];
    assert_eq!(told, expected);
    let newest = &answer["history"][0];
    assert!(
        newest["seconds"].as_f64().unwrap() >= 0.0 && newest["docs_per_s"].as_f64().unwrap() > 0.0
    );
    assert_eq!(control(&site, "history 1")["history"].as_array().unwrap().len(), 1);

    let table = site.run(&["history", "-n", "2"]).code(0).stdout;
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("SETTLED") && rows.len() == 3, "{table}");
    assert!(rows[1].contains("c.jsonl  done") && rows[2].contains("b.jsonl  done"), "{table}");
    daemon.stop();
    assert_eq!(site.run(&["history", "-n", "2"]).code(0).stdout, table);
}

#[test]
fn a_history_that_cannot_be_written_keeps_no_delta_from_being_settled() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    std::fs::create_dir(site.spool(".history")).unwrap();
    let daemon = Daemon::start(&site);
    settled(&site, &daemon);
    assert_eq!(site.names("done"), ["a.jsonl", "b.jsonl"]);
    let told = daemon.tail_of_log();
    assert_eq!(told.matches("cannot write the history").count(), 1, "{told}");
    daemon.stop();
}
