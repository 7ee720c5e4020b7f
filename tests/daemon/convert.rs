//! `[convert]`: what the configuration says of a line is what Solr gets, and what a person at the
//! command line sees before.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::{Daemon, FakeSolr, Mode, Recipe, Site, wait_for};

/// INTERFACE.md's example.
const EXAMPLE: &str = r#"
[convert]
skip   = [{ field = "status", is = "draft" }]
delete = [{ field = "deleted", is = true }]

[convert.fields]
id      = "sku"
name_t  = "title"
price_f = { from = "price.amount", type = "float", scale = 0.01 }
shop_s  = { value = "example" }
cat_ss  = "categories[].name"
brand_s = { from = "brand", default = "unknown", trim = true, case = "lower" }
tags_ss = { from = "tags", split = "," }
key_s   = { join = ["shop", "sku"], with = ":" }
seen_dt = { from = "ts", type = "date", format = "unix" }
avail_s = { from = "availability", map = { "1" = "yes", "0" = "no" } }
"#;

const LINES: &str = r#"{"sku":"a","title":"Chair","price":{"amount":1990},"categories":[{"name":"home"},{"name":"garden"}],"brand":" ACME "}

{"sku":"b","status":"draft"}
{"sku":"c","tags":"x,y","shop":"s","ts":1719911145,"availability":1}
{"sku":"d","price":{"amount":"cheap"}}
{"sku":"","title":"no id"}
{"sku":"old","deleted":true}
{"sku":"e","title":"cut
{"title":"\ud800","sku":"f"}
"#;

fn documents() -> BTreeMap<String, Value> {
    let documents = [
        json!({"id": "a", "name_t": "Chair", "price_f": 19.9, "shop_s": "example",
            "cat_ss": ["home", "garden"], "brand_s": "acme"}),
        json!({"id": "c", "shop_s": "example", "brand_s": "unknown", "tags_ss": ["x", "y"],
            "key_s": "s:c", "seen_dt": "2024-07-02T09:05:45Z", "avail_s": "yes"}),
    ];
    documents.into_iter().map(|doc| (doc["id"].as_str().unwrap().to_owned(), doc)).collect()
}

#[test]
fn solr_gets_what_the_configuration_makes_of_a_line() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 10");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"old\"}\n");
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);

    site.configure(&format!("spool.max_rejects = 10\n{EXAMPLE}"));
    site.run(&["check"]).code(0);
    site.run(&["reload"]).code(0);
    site.hand_over("b.jsonl", LINES);
    let status = daemon.wait("b is settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!(solr.docs(), documents());
    let counted = ["docs", "deletes", "rejected"].map(|n| status["totals"][n].as_u64());
    assert_eq!(counted, [3, 1, 4].map(Some), "{}", status["totals"]);

    let rejects = site.rejects("b.jsonl");
    let summary: Vec<_> = rejects
        .iter()
        .map(|r| {
            let text = |key: &str| r[key].as_str().unwrap();
            (r["line"].as_u64().unwrap(), text("stage"), text("reason"))
        })
        .collect();
    assert_eq!(
        summary,
        [
            (5, "convert", "price_f: \"cheap\" is no float"),
            (6, "convert", "id is empty"),
            (8, "parse", "malformed JSON at byte 23: EOF while parsing a string"),
            (9, "convert", "a lone surrogate, \\ud800"),
        ]
    );
    // A reject has the line as it came, not what was made of it.
    for reject in &rejects {
        let line = LINES.lines().nth(reject["line"].as_u64().unwrap() as usize - 1);
        assert_eq!(reject["raw"].as_str(), line);
    }
    daemon.stop();
}

#[test]
fn what_solr_refuses_of_a_made_document_is_rejected_as_the_line_that_came() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("[convert]\nkeep = 'all'\nfields.id = 'sku'");
    let daemon = Daemon::start(&site);
    let lines: Vec<String> = (0..200)
        .map(|n| format!("{{\"sku\":\"{n}\",\"{}_x\":1}}", if n % 50 == 7 { "bad" } else { "n" }))
        .collect();
    site.hand_over("a.jsonl", lines.join("\n"));
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);
    let rejects = site.rejects("a.jsonl");
    let raw: Vec<&str> = rejects.iter().map(|reject| reject["raw"].as_str().unwrap()).collect();
    assert_eq!(raw, [&lines[7], &lines[57], &lines[107], &lines[157]]);
    assert!(rejects.iter().all(|reject| reject["stage"] == "solr" && reject["id"].is_string()));
    assert_eq!(solr.docs().len(), 196);

    // They are retried as lines: with a conversion that makes something else of them.
    site.configure("[convert.fields]\nid = 'sku'");
    site.run(&["reload"]).code(0);
    site.run(&["retry", "a.jsonl"]).code(0);
    wait_for("they are delivered", || solr.docs().len() == 200);
    wait_for("they are settled", || site.names("rejected").is_empty());
    daemon.stop();
}

#[test]
fn what_counts_is_carried_out_once_though_a_worker_dies() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(
        "batch.docs = 5\n[convert.fields]\nid = 'sku'\nn_i = { from = 'sold', update = 'inc' }",
    );
    let daemon = Daemon::start(&site);
    let lines: String = (0..40).map(|n| format!("{{\"sku\":\"p-{n}\",\"sold\":3}}\n")).collect();
    solr.turn(Mode::Slow(std::time::Duration::from_millis(100)));
    site.hand_over("a.jsonl", &lines);
    wait_for("some are taken", || solr.docs().len() > 5);
    for worker in daemon.workers() {
        worker.signal(nix::sys::signal::Signal::SIGKILL);
    }
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);
    let docs = solr.docs();
    assert_eq!(docs.len(), 40);
    assert!(docs.values().all(|doc| doc["n_i"] == 3), "{docs:?}");
    daemon.stop();
}

#[test]
fn a_dry_run_shows_what_solr_would_get_and_reaches_no_network() {
    // Nobody is at this address, and nothing of the spool is there.
    let site = Site::new("http://127.0.0.1:9/solr");
    site.configure(EXAMPLE);
    std::fs::remove_dir_all(site.spool("")).unwrap();
    std::fs::write(site.path("delta.jsonl"), LINES).unwrap();
    let run = site.run(&["convert", "delta.jsonl"]).code(1);
    let shown: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = documents();
    assert_eq!(shown, [made["a"].clone(), made["c"].clone(), json!({"delete": {"id": "old"}})]);
    assert_eq!(
        run.stderr.lines().collect::<Vec<_>>(),
        [
            "delta.jsonl:5: price_f: \"cheap\" is no float",
            "delta.jsonl:6: id is empty",
            "delta.jsonl:8: malformed JSON at byte 23: EOF while parsing a string",
            "delta.jsonl:9: a lone surrogate, \\ud800",
        ]
    );
    assert!(!site.spool("").exists());
    for arguments in [&["convert"][..], &["convert", "-"]] {
        let run = site.run_with_input(arguments, b"{\"sku\":\"a\"}\n").code(0);
        assert_eq!(
            (run.stdout.as_str(), run.stderr.as_str()),
            ("{\"id\":\"a\",\"brand_s\":\"unknown\",\"shop_s\":\"example\"}\n", "")
        );
    }
    site.run(&["convert", "nothing.jsonl"]).code(1).says("nothing.jsonl: No such file");
}

#[test]
fn a_dry_run_streams_and_ends_when_nobody_reads() {
    let site = Site::new("http://127.0.0.1:9/solr");
    site.configure("[convert.fields]\nid = 'sku'");
    let mut child: std::process::Child = {
        let mut command: Command = site.command(&["convert", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // A document comes as soon as its line is there.
    for n in 0..3 {
        writeln!(input, "{{\"sku\":\"{n}\"}}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{{\"id\":\"{n}\"}}\n"));
    }
    drop(output);
    // As much as no pipe holds: it must end, and quietly.
    let line = format!("{{\"sku\":\"{}\"}}\n", "x".repeat(1_000));
    let ended = (0..100_000).any(|_| input.write_all(line.as_bytes()).is_err());
    assert!(ended, "it reads on for nobody");
    drop(input);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_dry_run_holds_one_line_at_a_time() {
    let site = Site::new("http://127.0.0.1:9/solr");
    site.configure("[convert]\nkeep = 'all'\nfields.id = 'sku'");
    let mut command = site.command(&["convert", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = format!("{{\"sku\":\"a\",\"b\":\"{}\"}}\n", "x".repeat(2_000)).repeat(50);
    for _ in 0..1_000 {
        input.write_all(line.as_bytes()).unwrap(); // 100 MB in all
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 40_000, "it held {peak} kB");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_mistake_in_a_conversion_is_told_with_its_place_by_whoever_reads_it() {
    let site = Site::new("http://127.0.0.1:9/solr");
    site.configure("");
    let good = std::fs::read_to_string(site.config()).unwrap();
    let line = good.lines().count() + 3;
    site.write_config(&format!(
        "{good}\n[convert.fields]\nid = {{ from = \"a..b\", type = \"text\" }}\n"
    ));
    let path = site.config().display().to_string();
    let path = format!("{path}:{line}:15: convert.fields.id.from = \"a..b\": a step has no name");
    let kind =
        format!("{}:{line}:30: convert.fields.id.type = \"text\": need", site.config().display());
    for command in ["check", "convert", "run"] {
        let run = site.run(&[command]).code(78);
        assert!(run.stderr.contains(&path) && run.stderr.contains(&kind), "{run:?}");
        assert!(command != "check" || run.stderr.contains("^^^^^^"), "{run:?}");
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_program_in_jq_makes_documents_and_its_errors_are_the_lines() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(
        "spool.max_rejects = 10\nconvert.jq = 'if .gone then {delete: {id: .sku}} elif .draft then empty \
         else {id: .sku, n_i: (.n + 1), p: .p} end'",
    );
    site.run(&["check"]).code(0);
    let daemon = Daemon::start(&site);
    let lines = concat!(
        "{\"sku\":\"a\",\"n\":1,\"p\":19.90}\n",
        "{\"sku\":\"b\",\"draft\":true}\n",
        "{\"sku\":\"c\",\"n\":\"x\"}\n",
        "{\"sku\":\"d\",\"gone\":true}\n",
        "{\"sku\":\"e\",\"n\":null,\"p\":123456789012345678}\n",
    );
    site.hand_over("a.jsonl", lines);
    let status = daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);
    let counted = ["docs", "deletes", "skipped", "rejected"].map(|n| status["totals"][n].as_u64());
    assert_eq!(counted, [2, 1, 1, 1].map(Some), "{}", status["totals"]);
    let docs = solr.docs();
    assert_eq!((&docs["a"]["n_i"], &docs["a"]["p"]), (&json!(2), &json!(19.90)));
    assert_eq!(docs["e"]["p"], json!(123456789012345678u64));
    let rejects = site.rejects("a.jsonl");
    assert_eq!(rejects[0]["reason"], "jq: cannot calculate \"x\" + 1");

    let run = site.run_with_input(&["convert"], lines.as_bytes()).code(1);
    assert_eq!(run.stdout.lines().next(), Some("{\"id\":\"a\",\"n_i\":2,\"p\":19.90}"));
    assert_eq!(run.stderr, "stdin:3: jq: cannot calculate \"x\" + 1\n");

    // A mistake in it is found by whoever compiles it, and a daemon goes on with the old one.
    site.configure("convert.jq = '{id: .sku, n_i: uppercase(.n)}'");
    let text = std::fs::read_to_string(site.config()).unwrap();
    let line = text.lines().position(|line| line.starts_with("jq = ")).unwrap() + 1;
    let place = format!("{}:{line}:23: convert.jq: no filter uppercase", site.config().display());
    for command in ["check", "convert"] {
        let run = site.run(&[command]).code(78);
        assert!(run.stderr.contains(&place), "{place}: {run:?}");
        assert_eq!(run.stderr.contains("^^^^^^^^^"), command == "check");
    }
    site.run(&["reload"]).code(1).says(&place);
    site.hand_over("b.jsonl", "{\"sku\":\"f\",\"n\":1}\n");
    wait_for("it is delivered as before", || solr.docs().contains_key("f"));
    daemon.stop();
    site.run(&["run"]).code(78).says(&place);
    std::fs::write(site.path("c.jsonl"), "{}\n").unwrap();
    site.run(&["feed", "c.jsonl"]).code(78).says(&place);
}

/// A block of README.md or of docs/conversion.md by the comment above it.
pub fn block(mark: &str) -> String {
    let page = |name| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    let pages = page("README.md").unwrap() + &page("docs/conversion.md").unwrap();
    let (_, behind) = pages.split_once(&format!("<!-- conversion: {mark} -->\n```")).expect(mark);
    let (_, text) = behind.split_once('\n').unwrap();
    text.split("```").next().unwrap().to_owned()
}

#[test]
fn the_readmes_example_does_what_it_shows() {
    let site = Site::new("http://127.0.0.1:9/solr");
    // (Not by `configure`, which sorts keys.)
    let base = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&format!("{base}\n{}", block("a test runs this")));
    std::fs::write(site.path("offers.jsonl"), block("lines")).unwrap();
    let run = site.run(&["convert", "offers.jsonl"]).code(1);
    assert_eq!((run.stdout, run.stderr), (block("documents"), block("rejects")));
}

#[test]
fn every_configuration_that_the_page_on_conversion_shows_is_right() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conversion.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page.split("\n```toml\n").skip(1).collect();
    assert_eq!(blocks.len(), page.matches("[convert]\n").count(), "each block is one");
    for block in blocks {
        let (block, _) = block.split_once("```\n").unwrap();
        let site = Site::new("http://localhost:9/solr");
        let base = std::fs::read_to_string(site.config()).unwrap();
        // (A converter has to be there.)
        site.write_config(
            &format!("{base}\n{block}").replace("/usr/local/bin/convert", "/bin/cat"),
        );
        site.run(&["check"]).code(0);
    }
}

#[test]
fn the_conversions_of_the_cookbook_make_what_it_says() {
    let site = Site::new("http://localhost:9/solr");
    for recipe in Recipe::all() {
        recipe.configure(&site);
        site.run(&["check"]).code(0);
        let lines: String = recipe.deltas().into_iter().map(|(_, text)| text).collect();
        let run = site.run_with_input(&["convert", "-"], lines.as_bytes()).code(0);
        assert_eq!(run.stdout, recipe.text("sent.json"), "{}", recipe.name);
    }
}
