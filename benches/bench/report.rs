//! What README says: a table between two comments, and the plot. Nothing is in them that was
//! not measured, with all the data.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::Result;
use crate::options::Part;
use crate::plot::{self, Bar, Kind};
use crate::results::{Results, round, thousands};
use crate::workshop::Workshop;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Who is shown, and as what. (Of the ceilings only the best one is.)
const SHOWN: [(&str, &str); 9] = [
    ("ours", "**solr-updater**"),
    ("ours-daemon", "the same, as a daemon"),
    ("solrj-cloud", "SolrJ, CloudHttp2SolrClient"),
    ("solrj-cloud-warm", "the same, warmed up"),
    ("solrj-concurrent", "SolrJ, ConcurrentUpdate…"),
    ("solrj-concurrent-warm", "the same, warmed up"),
    ("pysolr", "pysolr"),
    ("curl", "curl, one request"),
    ("post", "bin/solr post"),
];

pub(crate) fn write(workshop: &Workshop, results: &Results) -> Result<()> {
    let missing = missing(results);
    if !missing.is_empty() {
        return Err(format!("not measured yet: make bench ONLY={}", missing.join(",")).into());
    }
    let readme = workshop.root.join("README.md");
    let text = fs::read_to_string(&readme)?;
    let table = table(results)?;
    fs::write(&readme, between(&text, &table).ok_or("README.md has lost its bench comments")?)?;
    fs::write(workshop.root.join("docs/bench.svg"), plot(results)?)?;
    println!("README.md and docs/bench.svg are as measured");
    Ok(())
}

/// The parts that README needs and nobody has measured.
pub(crate) fn missing(results: &Results) -> Vec<&'static str> {
    let needed = Part::NEEDED.into_iter().map(Part::name);
    needed.filter(|name| results.get(name).is_null()).collect()
}

/// The text with this between the two comments.
fn between(text: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{new}{END}{after}"))
}

/// One set-up's figures for one file.
fn arena<'a>(results: &'a Results, nodes: u64, data: &str) -> Result<&'a Value> {
    let all = results.get("peers").as_array().into_iter().flatten();
    all.into_iter()
        .find(|arena| arena["nodes"] == nodes && arena["data"]["name"] == data)
        .ok_or_else(|| format!("nothing is known of {data} on {nodes} nodes").into())
}

fn of<'a>(arena: &'a Value, contender: &str) -> &'a Value {
    let all = arena["medians"].as_array().into_iter().flatten();
    all.into_iter().find(|m| m["contender"] == contender).unwrap_or(&Value::Null)
}

/// The best ceiling with receipts.
fn ceiling(arena: &Value) -> &Value {
    let all = arena["medians"].as_array().into_iter().flatten();
    let name = |m: &Value| m["contender"].as_str().unwrap_or_default().to_owned();
    let rate = |m: &Value| m["docs_per_s"].as_f64().unwrap_or(0.0);
    all.filter(|m| name(m).starts_with("raw") && name(m).ends_with("versions"))
        .max_by(|a, b| rate(a).total_cmp(&rate(b)))
        .unwrap_or(&Value::Null)
}

fn show(value: &Value) -> String {
    value.as_f64().map_or("–".into(), round)
}

fn table(results: &Results) -> Result<String> {
    let mut text = String::new();
    let machine = results.get("machine");
    let memory = machine["memory_mib"].as_f64().unwrap_or(0.0) / 1024.0;
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let _ = writeln!(
        text,
        "Measured on {} cores ({}) with {:.0} GiB, Solr {} on Java {} on the same ones; medians of {} rounds. \
         In brackets: times the best of SolrJ, as a program and warmed up. The ceiling: bodies built before, straight to the leaders, with \
         receipts. Of two figures the first is that of the packages.\n",
        machine["cores"],
        word(&machine["processor"]),
        memory,
        word(results.get("solr")),
        word(results.get("java")),
        results.get("rounds")
    );
    for nodes in [2, 1] {
        let (packages, offers) =
            (arena(results, nodes, "packages")?, arena(results, nodes, "offers")?);
        setup(
            &mut text,
            packages,
            offers,
            arena(results, 2, "packages")?,
            arena(results, 2, "offers")?,
        );
    }
    others(&mut text, results);
    Ok(text)
}

fn setup(text: &mut String, packages: &Value, offers: &Value, heaps_p: &Value, heaps_o: &Value) {
    let lines = |arena: &Value| thousands(arena["data"]["lines"].as_u64().unwrap_or(0));
    let bytes = |arena: &Value| {
        let data = &arena["data"];
        data["bytes"].as_u64().unwrap_or(0) / data["lines"].as_u64().unwrap_or(1).max(1)
    };
    let _ = writeln!(
        text,
        "| {} | {} packages of {} bytes: docs/s | {} offers of {} bytes: docs/s | CPU a doc, µs: feeder | Solr | memory, MiB | in the index |\n| --- | --- | --- | --- | --- | --- | --- |",
        packages["setup"].as_str().unwrap_or_default(),
        lines(packages),
        bytes(packages),
        lines(offers),
        bytes(offers)
    );
    let rate = |m: &Value| match (m["to_solrj"].as_f64(), m["to_warm_solrj"].as_f64()) {
        (Some(cold), Some(warm)) => format!("{} ({cold:.2}, {warm:.2})", show(&m["docs_per_s"])),
        (Some(cold), None) => format!("{} ({cold:.2})", show(&m["docs_per_s"])),
        (None, _) => show(&m["docs_per_s"]),
    };
    let both = |p: &Value, o: &Value| format!("{} · {}", show(p), show(o));
    let ceilings = (ceiling(packages), ceiling(offers));
    let rows = SHOWN
        .iter()
        .map(|(name, label)| (*name, *label, of(packages, name), of(offers, name)))
        .chain([("", "*the ceiling*", ceilings.0, ceilings.1)]);
    for (name, label, p, o) in rows {
        if p.is_null() && o.is_null() {
            continue;
        }
        // warmed up, it holds as much as it does otherwise
        let smallest = |arena: &Value, m: &Value| {
            let all = arena["heaps"].as_array().into_iter().flatten();
            let found =
                all.into_iter().find(|heap| heap["contender"] == name.trim_end_matches("-warm"));
            found.map_or(m["peak_mib"].clone(), |heap| heap["peak_mib"].clone())
        };
        let _ = writeln!(
            text,
            "| {label} | {} | {} | {} | {} | {} | {} |",
            rate(p),
            rate(o),
            both(&p["feeder_us"], &o["feeder_us"]),
            both(&p["solr_us"], &o["solr_us"]),
            both(&smallest(heaps_p, p), &smallest(heaps_o, o)),
            whole(p, o)
        );
    }
    text.push('\n');
}

/// Whether all documents are there; else what is not.
fn whole(p: &Value, o: &Value) -> String {
    let mut lost = Vec::new();
    for m in [p, o] {
        if m["failed_runs"].as_u64().is_some_and(|n| n > 0) {
            lost.push(format!("{} runs failed", m["failed_runs"]));
        } else if m["whole"] == false {
            let count = |key: &str| thousands(m[key].as_u64().unwrap_or(0));
            lost.push(format!("{} of {}", count("found"), count("expected")));
        }
    }
    if lost.is_empty() { "all".into() } else { lost.join(", ") }
}

/// What is no contest.
fn others(text: &mut String, results: &Results) {
    let latency = results.get("latency");
    let files = results.get("files");
    let ms =
        |value: &Value| value["median_ms"].as_f64().map_or("–".into(), |ms| format!("{ms:.1}"));
    let _ = writeln!(
        text,
        "One line: {} ms from the rename to Solr's receipt, of which {} ms are Solr's own (the same document from a plain client). \
         {} deltas of one line: {} a second.\n",
        ms(&latency["receipt"]),
        ms(&latency["plain"]),
        thousands(files["files"].as_u64().unwrap_or(0)),
        show(&files["files_per_s"])
    );
    growth(text, results);
    let _ = writeln!(
        text,
        "| with a server that answers at once | lines/s | CPU a line, µs: feeder | server |\n| --- | --- | --- | --- |"
    );
    for run in results.get("null").as_array().into_iter().flatten() {
        let data = &run["data"];
        let bytes =
            data["bytes"].as_u64().unwrap_or(0) / data["lines"].as_u64().unwrap_or(1).max(1);
        let workers = run["workers"].as_u64().unwrap_or(0);
        let _ = writeln!(
            text,
            "| lines of {bytes} bytes, {workers} worker{} | {} | {} | {} |",
            if workers == 1 { "" } else { "s" },
            show(&run["lines_per_s"]),
            show(&run["feeder_us"]),
            show(&run["server_us"])
        );
    }
}

/// How it grows with workers and shards, if that was measured.
fn growth(text: &mut String, results: &Results) {
    let rows = |part: &str| results.get(part).as_array().cloned().unwrap_or_default();
    for name in ["packages", "offers"] {
        let of_data = |part: &str| -> Vec<Value> {
            rows(part).into_iter().filter(|row| row["data"]["name"] == name).collect()
        };
        for row in of_data("workers") {
            let rates = row["medians"].as_array().into_iter().flatten();
            let rates: Vec<String> = rates.map(|m| show(&m["docs_per_s"])).collect();
            let _ = writeln!(
                text,
                "{name}, 2 shards, with 1 to {} workers: {} docs/s.",
                rates.len(),
                rates.join(", ")
            );
        }
        let shards: Vec<String> = of_data("shards")
            .iter()
            .map(|row| {
                let rate = |n: usize| show(&row["medians"][n]["docs_per_s"]);
                format!("{} ({})", rate(0), rate(1))
            })
            .collect();
        if !shards.is_empty() {
            let _ = writeln!(
                text,
                "{name}, on 2 nodes with 1, 2 and 4 shards (posting bodies made before): {} docs/s.",
                shards.join(", ")
            );
        }
    }
    if rows("workers").len() + rows("shards").len() > 0 {
        text.push('\n');
    }
}

fn plot(results: &Results) -> Result<String> {
    let mut panels = Vec::new();
    for name in ["packages", "offers"] {
        let arena = arena(results, 2, name)?;
        let data = &arena["data"];
        let lines = data["lines"].as_u64().unwrap_or(1).max(1);
        let title = format!(
            "{} {name} of {} bytes, {}: documents a second",
            thousands(lines),
            data["bytes"].as_u64().unwrap_or(0) / lines,
            arena["setup"].as_str().unwrap_or_default()
        );
        let mut bars = Vec::new();
        let mut last = "";
        for (contender, label) in SHOWN {
            // "the same" of the table stands beside another label here
            let label = match label.strip_prefix("the same, ") {
                Some(how) => format!("{last}, {how}"),
                None => {
                    last = label.trim_matches('*');
                    last.to_owned()
                }
            };
            let kind = if contender.starts_with("ours") { Kind::Ours } else { Kind::Peer };
            let value = of(arena, contender)["docs_per_s"].as_f64();
            bars.extend(value.map(|value| Bar { label, value, kind }));
        }
        let value = ceiling(arena)["docs_per_s"].as_f64();
        let label = "the ceiling".to_owned();
        bars.extend(value.map(|value| Bar { label, value, kind: Kind::Ceiling }));
        panels.push((title, bars));
    }
    Ok(plot::draw("Documents a second, by contender", &panels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use serde_json::json;

    fn results() -> Results {
        let options = Options { rounds: 3, ..Options::default() };
        let mut results = Results::begin(&options, "results.json".into(), json!({}));
        let median = |name: &str, rate: f64, whole: bool| {
            json!({"contender": name, "docs_per_s": rate, "feeder_us": 4.0, "solr_us": 70.0, "peak_mib": 60.0, "to_solrj": rate / 11_000.0,
                "expected": 900, "found": if whole { 900 } else { 899 }, "whole": whole, "failed_runs": 0})
        };
        let arena = |nodes: u64, data: &str| {
            json!({"setup": format!("{nodes} nodes"), "nodes": nodes, "heaps": [{"contender": "solrj-cloud", "peak_mib": 222.0}],
                "data": {"name": data, "lines": 1000, "bytes": 150_000},
                "medians": [median("ours", 27_049.0, true), median("solrj-cloud", 11_000.0, true),
                    median("curl", 9000.0, false), median("raw-4-list", 50_000.0, true),
                    median("raw-2-list-versions", 30_000.0, true)]})
        };
        let all =
            [arena(2, "packages"), arena(2, "offers"), arena(1, "packages"), arena(1, "offers")];
        results.set("peers", json!(all));
        results
    }

    #[test]
    fn nothing_is_said_before_all_of_it_is_measured() {
        assert_eq!(missing(&results()), ["null", "latency", "files"]);
    }

    #[test]
    fn growth_is_told_when_it_was_measured() {
        let mut results = results();
        let rate = |rate: f64| json!({"contender": "x", "docs_per_s": rate});
        let data = json!({"name": "offers"});
        let workers = json!({"data": data, "medians": [rate(1000.0), rate(2000.0)]});
        let shards =
            |n: u64| json!({"data": data, "shards": n, "medians": [rate(900.0), rate(1000.0)]});
        results.set("workers", json!([workers]));
        results.set("shards", json!([shards(1), shards(2), shards(4)]));
        let table = table(&results).unwrap();
        assert!(table.contains("offers, 2 shards, with 1 to 2 workers: 1,000, 2,000 docs/s."));
        assert!(
            table.contains("4 shards (posting bodies made before): 900 (1,000), 900 (1,000), ")
        );
    }

    #[test]
    fn the_table_says_what_was_measured_and_what_was_lost() {
        let table = table(&results()).unwrap();
        let row = |label: &str| {
            table.lines().find(|line| line.starts_with(&format!("| {label} |"))).unwrap().to_owned()
        };
        assert_eq!(
            row("**solr-updater**"),
            "| **solr-updater** | 27,000 (2.46) | 27,000 (2.46) | 4.0 · 4.0 | 70 · 70 | 60 · 60 | all |"
        );
        assert!(row("SolrJ, CloudHttp2SolrClient").contains("| 222 · 222 |"));
        assert!(row("curl, one request").ends_with("| 899 of 900, 899 of 900 |"));
        assert!(
            row("*the ceiling*").contains("30,000"),
            "without receipts it is no ceiling of ours"
        );
        assert!(!table.contains("pysolr"), "who was not measured is not shown");
    }

    #[test]
    fn only_what_stands_between_the_comments_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = between(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(between("nothing", "new"), None);
    }

    #[test]
    fn the_plot_has_a_bar_for_each() {
        let svg = plot(&results()).unwrap();
        assert_eq!(svg.matches("<rect").count(), 2 * 4);
        assert!(svg.contains("SolrJ, CloudHttp2SolrClient"));
    }
}
