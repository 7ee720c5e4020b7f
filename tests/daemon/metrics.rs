//! `metrics`: what the status says, as Prometheus reads it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{Daemon, Delta, FakeSolr, Site, ask, finish, skipped};

/// What is answered, up to `# EOF`.
fn metrics(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"metrics\n").unwrap();
    let (mut reader, mut text) = (BufReader::new(stream), String::new());
    while !text.ends_with("# EOF\n") {
        assert!(reader.read_line(&mut text).unwrap() > 0, "it ends in the middle: {text}");
    }
    text
}

/// Prometheus's own parser reads it; `None`: it is not here, and that is told.
pub(crate) fn parsed(text: &str) -> Option<Value> {
    let mut parser = Command::new("/usr/bin/python3");
    parser.arg("-c").arg(PARSER);
    if !has_parser() {
        skipped("no python3-prometheus-client here: nobody has read the metrics");
        return None;
    }
    let run = finish(&mut parser, text.as_bytes()).code(0);
    Some(serde_json::from_str(&run.stdout).unwrap())
}

/// Debian's python3-prometheus-client reads it; answers all samples, by name and labels.
const PARSER: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
samples = {}
for family in families(sys.stdin.read()):
    assert family.name.startswith("solr_updater_") and family.documentation, family
    for s in family.samples:
        key = s.name + "".join(f"{{{k}={v}}}" for k, v in sorted(s.labels.items()))
        assert key not in samples, key
        samples[key] = s.value
print(json.dumps(samples))
"#;

#[test]
fn prometheus_reads_what_the_status_says() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.count = 2");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::offers(0..1_500, 1);
    delta.line("no JSON");
    site.hand_over("x.jsonl", &delta.text);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    // Whoever may ask may ask for this, and goes on asking.
    let text = metrics(&site.status_socket());
    assert!(text.contains("# TYPE solr_updater_post_duration_seconds histogram\n"), "{text}");
    assert_eq!(metrics(&site.control_socket()).lines().count(), text.lines().count());
    assert!(ask(&site.status_socket(), "help").unwrap()["help"].to_string().contains("metrics"));

    let Some(samples) = parsed(&text) else { return daemon.stop() };
    for (name, value) in [
        ("documents_total", 1_500.0),
        ("lines_total", 1_501.0),
        ("rejected_lines_total", 1.0),
        ("open_rejects", 1.0),
        ("incoming_files", 0.0),
        ("lag_seconds", 0.0),
        ("health", 1.0),
        ("workers_alive", 2.0),
        ("parent_threads", 1.0),
        ("solr_up", 1.0),
        ("worker_restarts_total{slot=1}", 0.0),
        ("post_duration_seconds_bucket{le=+Inf}", status["totals"]["posts"].as_f64().unwrap()),
        ("post_duration_seconds_count", status["totals"]["posts"].as_f64().unwrap()),
        ("posted_bytes_total", status["totals"]["bytes_posted"].as_f64().unwrap()),
    ] {
        assert_eq!(samples[format!("solr_updater_{name}")], value, "{name}: {text}");
    }
    assert!(samples["solr_updater_post_duration_seconds_sum"].as_f64().unwrap() > 0.0);
    daemon.stop();
}

fn has_parser() -> bool {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", "import prometheus_client"]).output().is_ok_and(|o| o.status.success())
}
