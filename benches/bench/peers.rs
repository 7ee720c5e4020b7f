//! All contenders side by side: each round runs every one of them once, against a collection that is
//! fresh, empty and warm, so that whatever drifts drifts for all.
//!
//! Then the best of SolrJ, the best of SolrJ warmed up and the best ceiling meet this program again,
//! round by round, for the ratios: those of one round were measured within a minute of each other.
//!
//! What has settings (SolrJ, pysolr) is tuned first, for each set-up and file, and runs with what
//! was best. Its memory is that of the smallest heap with which it keeps 95 % of its speed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Result;
use crate::cluster::Cluster;
use crate::contenders::{Client, Contender, Record, Tools, warm_up};
use crate::data::{self, Data};
use crate::results::{Results, median, round};
use crate::workshop::Workshop;

/// MiB, from the largest: with it SolrJ runs, unless its memory is looked for.
const HEAPS: [u32; 7] = [512, 256, 192, 128, 96, 64, 48];
/// Of the speed with the largest heap.
const KEEPS: f64 = 0.95;
/// Duels for each round.
const DUELS: usize = 3;

/// Java, Python, and what they run.
pub(crate) fn tools(workshop: &Workshop) -> Result<Tools<'_>> {
    Ok(Tools { workshop, java: workshop.java()?, python: workshop.python()? })
}

/// One set-up and file after the other; what is found of each is kept at once.
pub(crate) fn run(workshop: &Workshop, results: &mut Results) -> Result<Value> {
    let tools = tools(workshop)?;
    let both = data::both(workshop)?;
    let name = |nodes: usize, data: &Data| format!("{nodes}-{}", data.name);
    let all = [2, 1].map(|nodes| [&both[0], &both[1]].map(|data| (nodes, data))).concat();
    let wanted = &workshop.arenas;
    if let Some(other) = wanted.iter().find(|w| !all.iter().any(|(n, d)| name(*n, d) == **w)) {
        let all: Vec<String> = all.iter().map(|(nodes, data)| name(*nodes, data)).collect();
        return Err(format!("no arena {other}: need some of {}", all.join(", ")).into());
    }
    // What was found before stands, if it is of the same files.
    let old = results.get("peers").as_array().cloned().unwrap_or_default();
    let mut found: Vec<Option<Value>> = all
        .iter()
        .map(|(nodes, data)| {
            let same = |v: &&Value| v["nodes"] == *nodes && v["data"] == data.to_json();
            old.iter().find(same).cloned()
        })
        .collect();
    for (at, (nodes, data)) in all.iter().enumerate() {
        if !wanted.is_empty() && !wanted.contains(&name(*nodes, data)) {
            continue;
        }
        let cluster = Cluster::of(workshop, *nodes)?;
        let (solr, java) = cluster.versions()?;
        results.set("solr", json!(solr));
        results.set("java", json!(java));
        let arena = Arena { tools: &tools, cluster: &cluster, shards: *nodes, data };
        println!("\n{} ({} lines), {}", data.name, data.lines, arena.title());
        found[at] = Some(arena.compare()?);
        results.set("peers", json!(found.iter().flatten().collect::<Vec<_>>()));
        results.save()?;
    }
    Ok(results.get("peers").clone())
}

/// One set-up and one file.
struct Arena<'a> {
    tools: &'a Tools<'a>,
    cluster: &'a Cluster<'a>,
    shards: usize,
    data: &'a Data,
}

impl Arena<'_> {
    fn title(&self) -> String {
        let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        format!("{}, {}", many(self.cluster.urls.len(), "node"), many(self.shards, "shard"))
    }

    fn feed(&self, contender: &Contender, round: usize) -> Result<Record> {
        let record = contender.feed(self.tools, self.cluster, self.shards, self.data, round)?;
        record.tell();
        Ok(record)
    }

    fn wants(&self, contender: &Contender) -> bool {
        let parts = &self.tools.workshop.contenders;
        parts.is_empty() || parts.iter().any(|part| contender.name().contains(part))
    }

    fn compare(&self) -> Result<Value> {
        let quick = self.tools.workshop.quick;
        warm_up(self.tools, self.cluster, self.shards, self.data)?;
        let mut tuning = Vec::new();
        let mut contenders = Vec::new();
        for settings in field() {
            let settings: Vec<Contender> =
                settings.into_iter().filter(|contender| self.wants(contender)).collect();
            let Some(first) = settings.first() else { continue };
            let mut best = first.clone();
            if settings.len() > 1 && !quick {
                println!(" tuning {} (does not count)", first.name());
                best = self.best(&settings, &mut tuning)?;
            } else if !quick {
                self.feed(first, 0)?; // Solr knows it then
            }
            contenders.push(best);
        }
        let mut warm = Vec::new();
        for contender in &contenders {
            if let Contender::SolrJ { client, threads, batch, queue, heap, warm: false } = contender
            {
                let (client, threads, batch, queue) = (*client, *threads, *batch, *queue);
                let heap = *heap;
                warm.push(Contender::SolrJ { client, threads, batch, queue, heap, warm: true });
            }
        }
        contenders.extend(warm.into_iter().filter(|contender| self.wants(contender)));
        let heaps = match self.cluster.urls.len() {
            2 if !quick => self.heaps(&contenders)?,
            _ => Vec::new(),
        };
        let mut runs = Vec::new();
        for round in 1..=self.tools.workshop.rounds {
            println!(" round {round}");
            for contender in &contenders {
                runs.push(self.feed(contender, round)?);
            }
            contenders.reverse(); // nobody is always behind the same one
        }
        let duels = self.duels(&contenders, &runs)?;
        runs.extend(duels.iter().flatten().cloned());
        let all = |records: &[Record]| records.iter().map(Record::to_json).collect::<Vec<_>>();
        let mut found = json!({
            "setup": self.title(), "nodes": self.cluster.urls.len(), "shards": self.shards,
            "data": self.data.to_json(), "medians": medians(&runs.iter().collect::<Vec<_>>()),
            "heaps": heaps, "tuning": all(&tuning), "runs": all(&runs),
        });
        compare_with_the_best(&mut found, &duels);
        Ok(found)
    }

    /// This program beside the best of each kind, again and again.
    fn duels(&self, contenders: &[Contender], runs: &[Record]) -> Result<Vec<Vec<Record>>> {
        let medians = medians(&runs.iter().collect::<Vec<_>>());
        let rivals = [is_solrj, is_warm, is_ceiling].map(|kind| best(&medians, kind));
        let rivals: Vec<String> = rivals.into_iter().flatten().map(|(name, _)| name).collect();
        let mut duellists: Vec<&Contender> = contenders
            .iter()
            .filter(|c| c.name().starts_with("ours") || rivals.contains(&c.name()))
            .collect();
        if rivals.is_empty() || duellists.len() == rivals.len() {
            return Ok(Vec::new());
        }
        println!(" duels");
        let quick = self.tools.workshop.quick;
        let mut duels = Vec::new();
        for n in 1..=if quick { 1 } else { DUELS * self.tools.workshop.rounds } {
            let round = self.tools.workshop.rounds + n;
            duels.push(duellists.iter().map(|c| self.feed(c, round)).collect::<Result<_>>()?);
            duellists.reverse();
        }
        Ok(duels)
    }

    /// The fastest of several settings that loses nothing.
    fn best(&self, settings: &[Contender], tuning: &mut Vec<Record>) -> Result<Contender> {
        let mut best: Option<(f64, &Contender)> = None;
        for contender in settings {
            let record = self.feed(contender, 0)?;
            let rate = if record.is_whole() { record.rate() } else { 0.0 };
            if best.is_none_or(|(most, _)| rate > most) {
                best = Some((rate, contender));
            }
            tuning.push(record);
        }
        Ok(best.expect("there are settings").1.clone())
    }

    /// For each SolrJ client the smallest heap that keeps its speed, and the memory it then takes.
    fn heaps(&self, contenders: &[Contender]) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for contender in contenders {
            let Contender::SolrJ { client, threads, batch, queue, warm: false, .. } = contender
            else {
                continue;
            };
            let (client, threads, batch, queue) = (*client, *threads, *batch, *queue);
            println!(" {}: the smallest heap that keeps 95 % of its speed", contender.name());
            let mut full = 0.0;
            let mut smallest = None;
            for heap in HEAPS {
                let with = Contender::SolrJ { client, threads, batch, queue, heap, warm: false };
                // two tries, for one may have bad luck; the full heap has both of them
                let mut best: Option<Record> = None;
                for _ in 0..2 {
                    let record = self.feed(&with, 0)?;
                    let better = record.is_whole()
                        && best.as_ref().is_none_or(|best| record.rate() > best.rate());
                    if better {
                        best = Some(record);
                    }
                    let enough = best.as_ref().is_some_and(|best| best.rate() >= KEEPS * full);
                    if full > 0.0 && enough {
                        break;
                    }
                }
                let Some(best) = best else { break };
                if best.rate() < KEEPS * full {
                    break;
                }
                full = best.rate().max(full);
                smallest = Some(json!({
                    "contender": contender.name(), "heap_mib": heap,
                    "docs_per_s": best.rate(), "peak_mib": best.run.peak_mib,
                }));
            }
            found.extend(smallest);
        }
        Ok(found)
    }
}

/// Who takes part; what stands together are settings of one.
fn field() -> Vec<Vec<Contender>> {
    let heap = HEAPS[0];
    let cloud = |(threads, batch): (usize, usize)| Contender::SolrJ {
        client: Client::Cloud,
        threads,
        batch,
        queue: 0,
        heap,
        warm: false,
    };
    let concurrent = |(threads, queue): (usize, usize)| Contender::SolrJ {
        client: Client::Concurrent,
        threads,
        batch: 1000,
        queue,
        heap,
        warm: false,
    };
    let pysolr = |(threads, batch): (usize, usize)| Contender::Pysolr { threads, batch };
    let mut field = vec![
        vec![Contender::Feed { workers: None }],
        vec![Contender::Daemon],
        // batches are split among the shards
        [(2, 1000), (2, 2000), (4, 1000), (4, 2000), (2, 5000)].map(cloud).to_vec(),
        [(2, 1000), (4, 1000), (2, 10_000), (4, 10_000)].map(concurrent).to_vec(),
        vec![Contender::Post],
        [(2, 1000), (4, 1000), (4, 5000)].map(pysolr).to_vec(),
        vec![Contender::Curl],
    ];
    let raw = |(connections, commands, versions): (usize, bool, bool)| {
        vec![Contender::Raw { connections, commands, versions }]
    };
    let ceilings = [(2, false, false), (2, false, true), (2, true, true), (4, false, true)];
    field.extend(ceilings.map(raw));
    field
}

/// Of each contender, in the order in which they ran. A failed run has no speed; a lost document is
/// told, however seldom it is lost.
pub(crate) fn medians(runs: &[&Record]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for run in runs {
        if !of.contains_key(&*run.contender) {
            names.push(&run.contender);
        }
        of.entry(&run.contender).or_default().push(run);
    }
    let mut found = Vec::new();
    for name in names {
        let all = &of[name];
        let ended: Vec<Value> =
            all.iter().filter(|run| run.run.failed.is_none()).map(|run| run.to_json()).collect();
        let middle = |key: &str| {
            median(&ended.iter().filter_map(|run| run[key].as_f64()).collect::<Vec<_>>())
        };
        found.push(json!({
            "contender": name, "settings": all[0].settings, "docs_per_s": middle("docs_per_s"),
            "feeder_us": middle("feeder_us"), "solr_us": middle("solr_us"),
            "peak_mib": middle("peak_mib"), "expected": all[0].expected,
            "found": all.iter().map(|run| run.found).min(),
            "whole": all.iter().all(|run| run.is_whole()),
            "failed_runs": all.len() - ended.len(),
        }));
    }
    found
}

fn is_solrj(name: &str) -> bool {
    name.starts_with("solrj") && !is_warm(name)
}

fn is_warm(name: &str) -> bool {
    name.ends_with("-warm")
}

fn is_ceiling(name: &str) -> bool {
    name.starts_with("raw") && name.ends_with("versions")
}

/// The fastest median of those that are `of` a kind: its name and its speed.
fn best(medians: &[Value], of: fn(&str) -> bool) -> Option<(String, f64)> {
    let named = medians.iter().filter_map(|m| Some((m["contender"].as_str()?, &m["docs_per_s"])));
    let rates = named.filter(|(name, _)| of(name)).filter_map(|(n, r)| Some((n, r.as_f64()?)));
    rates.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, rate)| (name.to_owned(), rate))
}

/// How much faster one contender was than another: the median of the duels, or where they did not
/// meet, of their medians.
fn ratio(name: &str, rate: f64, other: &(String, f64), duels: &[Vec<Record>]) -> f64 {
    let speed = |duel: &[Record], name: &str| {
        duel.iter().find(|r| r.contender == name && r.run.failed.is_none()).map(Record::rate)
    };
    let ratios: Vec<f64> =
        duels.iter().filter_map(|duel| Some(speed(duel, name)? / speed(duel, &other.0)?)).collect();
    median(&ratios).unwrap_or(rate / other.1)
}

/// Adds to each median its ratio to SolrJ's best and to the best ceiling with receipts, and tells
/// the table.
fn compare_with_the_best(found: &mut Value, duels: &[Vec<Record>]) {
    let medians = found["medians"].as_array().cloned().unwrap_or_default();
    let (solrj, warm) = (best(&medians, is_solrj), best(&medians, is_warm));
    let ceiling = best(&medians, is_ceiling);
    println!(
        " medians{:>44} {:>12} {:>14} {:>14} {:>14}",
        "docs/s", "× SolrJ", "× SolrJ, warm", "× the ceiling", "with receipts"
    );
    for median in found["medians"].as_array_mut().into_iter().flatten() {
        let rate = median["docs_per_s"].as_f64();
        let name = median["contender"].as_str().unwrap_or_default().to_owned();
        let to = |other: &Option<(String, f64)>| Some(ratio(&name, rate?, other.as_ref()?, duels));
        let (to_solrj, to_warm, to_ceiling) = (to(&solrj), to(&warm), to(&ceiling));
        median["to_solrj"] = json!(to_solrj);
        median["to_warm_solrj"] = json!(to_warm);
        median["to_ceiling"] = json!(to_ceiling);
        let show = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        println!(
            "  {:<26}{:>24} {:>12} {:>14} {:>14}",
            name,
            rate.map_or("-".into(), round),
            show(to_solrj),
            show(to_warm),
            show(to_ceiling)
        );
    }
    found["solrj_best_docs_per_s"] = json!(solrj.map(|(_, rate)| rate));
    found["ceiling_docs_per_s"] = json!(ceiling.map(|(_, rate)| rate));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Run;

    fn record(contender: &str, seconds: f64, found: u64, failed: Option<&str>) -> Record {
        let failed = failed.map(str::to_owned);
        let run = Run { seconds, cpu_s: 1.0, server_cpu_s: 2.0, peak_mib: 3.0, failed };
        let (contender, settings) = (contender.to_owned(), String::new());
        Record { contender, settings, round: 1, lines: 1000, expected: 900, found, run }
    }

    #[test]
    fn a_failed_run_has_no_speed_and_a_lost_document_is_told() {
        let runs = [
            record("a", 1.0, 900, None),
            record("b", 1.0, 899, None),
            record("a", 0.1, 900, Some("it broke")),
            record("b", 3.0, 900, None),
        ];
        let found = medians(&runs.iter().collect::<Vec<_>>());
        assert_eq!(found[0]["docs_per_s"], 1000.0);
        assert_eq!(found[0]["failed_runs"], 1);
        assert_eq!(found[0]["whole"], false);
        assert_eq!((&found[1]["found"], &found[1]["whole"]), (&json!(899), &json!(false)));
    }

    #[test]
    fn everybody_is_held_against_the_best_of_solrj_and_of_the_ceiling_with_receipts() {
        let runs = [
            record("solrj-cloud", 2.0, 900, None),
            record("solrj-concurrent", 4.0, 900, None),
            record("raw-2-list", 0.1, 900, None),
            record("raw-2-list-versions", 0.5, 900, None),
            record("ours", 1.0, 900, None),
        ];
        let mut found = json!({"medians": medians(&runs.iter().collect::<Vec<_>>())});
        compare_with_the_best(&mut found, &[]);
        let ours = &found["medians"][4];
        assert_eq!((&ours["to_solrj"], &ours["to_ceiling"]), (&json!(2.0), &json!(0.5)));
    }

    #[test]
    fn the_ratios_are_those_of_the_duels() {
        let duel = |ours: f64, solrj: f64| {
            vec![record("ours", ours, 900, None), record("solrj-cloud", solrj, 900, None)]
        };
        let duels = [duel(1.0, 2.0), duel(2.0, 8.0), duel(1.0, 8.0)];
        let other = ("solrj-cloud".to_owned(), 7.0);
        assert_eq!(ratio("ours", 1.0, &other, &duels), 4.0);
        assert_eq!(ratio("post", 14.0, &other, &duels), 2.0, "they did not meet");
    }
}
