//! The contenders: each way to feed Solr, and how it is started.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::data::Data;
use crate::process::{self, Run, Window};
use crate::workshop::{Java, Workshop};

/// Where each contender feeds to.
pub(crate) const COLLECTION: &str = "bench";
/// Where a peer warms itself up.
const WARM: &str = "warm";

/// A way to feed Solr.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Contender {
    /// `solr-updater feed`, as it comes, or with so many workers.
    Feed { workers: Option<usize> },
    /// `solr-updater run`, from the rename to `done/`.
    Daemon,
    /// SolrJ; `warm`: after a whole pass of its own that does not count.
    SolrJ { client: Client, threads: usize, batch: usize, queue: usize, heap: u32, warm: bool },
    /// `bin/solr post`.
    Post,
    /// pysolr.
    Pysolr { threads: usize, batch: usize },
    /// curl, the file in one request.
    Curl,
    /// Bodies that were built before.
    Raw { connections: usize, commands: bool, versions: bool },
}

/// A client of SolrJ's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// CloudHttp2SolrClient.
    Cloud,
    /// ConcurrentUpdateHttp2SolrClient.
    Concurrent,
}

/// What the contenders need.
pub(crate) struct Tools<'a> {
    pub(crate) workshop: &'a Workshop,
    pub(crate) java: Java,
    pub(crate) python: PathBuf,
}

/// What a contender did.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) contender: String,
    pub(crate) settings: String,
    pub(crate) round: usize,
    pub(crate) lines: u64,
    pub(crate) expected: u64,
    pub(crate) found: u64,
    pub(crate) run: Run,
}

impl Contender {
    /// Its short name.
    pub(crate) fn name(&self) -> String {
        match self {
            Contender::Feed { workers: None } => "ours".into(),
            Contender::Feed { workers: Some(n) } => format!("ours-{n}-workers"),
            Contender::Daemon => "ours-daemon".into(),
            Contender::SolrJ { client: Client::Cloud, warm: false, .. } => "solrj-cloud".into(),
            Contender::SolrJ { client: Client::Cloud, warm: true, .. } => "solrj-cloud-warm".into(),
            Contender::SolrJ { client: Client::Concurrent, warm: false, .. } => {
                "solrj-concurrent".into()
            }
            Contender::SolrJ { client: Client::Concurrent, warm: true, .. } => {
                "solrj-concurrent-warm".into()
            }
            Contender::Post => "post".into(),
            Contender::Pysolr { .. } => "pysolr".into(),
            Contender::Curl => "curl".into(),
            Contender::Raw { connections, commands, versions } => format!(
                "raw-{connections}-{}{}",
                if *commands { "commands" } else { "list" },
                if *versions { "-versions" } else { "" }
            ),
        }
    }

    /// How it was set.
    pub(crate) fn settings(&self) -> String {
        match self {
            Contender::SolrJ { client: Client::Cloud, threads, batch, heap, .. } => {
                format!("{threads} threads, batches of {batch}, -Xmx{heap}m")
            }
            Contender::SolrJ { client: Client::Concurrent, threads, queue, heap, .. } => {
                format!("{threads} threads, queue of {queue}, -Xmx{heap}m")
            }
            Contender::Pysolr { threads, batch } => {
                format!("{threads} threads, batches of {batch}")
            }
            Contender::Raw { connections, .. } => format!("{connections} connections"),
            Contender::Feed { .. } | Contender::Daemon | Contender::Post | Contender::Curl => {
                String::new()
            }
        }
    }

    /// Feeds a delta into a fresh collection, and counts what is there.
    pub(crate) fn feed(
        &self,
        tools: &Tools<'_>,
        cluster: &Cluster<'_>,
        shards: usize,
        data: &Data,
        round: usize,
    ) -> Result<Record> {
        cluster.fresh(COLLECTION, shards)?;
        if matches!(self, Contender::SolrJ { warm: true, .. }) {
            cluster.fresh(WARM, shards)?;
        }
        let run = match self {
            Contender::Daemon => Daemon::feed(tools.workshop, cluster, COLLECTION, data)?,
            _ => {
                let window = match self {
                    Contender::Raw { .. } | Contender::SolrJ { warm: true, .. } => Window::Marked,
                    _ => Window::Whole,
                };
                let command = self.command(tools, cluster, data)?;
                process::run(tools.workshop, &self.name(), command, window, &|| cluster.cpu())?
            }
        };
        let found = cluster.found(COLLECTION)?;
        cluster.drop(COLLECTION)?;
        cluster.drop(WARM)?;
        Ok(Record {
            contender: self.name(),
            settings: self.settings(),
            round,
            lines: data.lines,
            expected: data.ids,
            found,
            run,
        })
    }

    fn command(&self, tools: &Tools<'_>, cluster: &Cluster<'_>, data: &Data) -> Result<Command> {
        let workshop = tools.workshop;
        let first = format!("{}/{COLLECTION}", cluster.urls[0]);
        let java = |heap: Option<u32>| {
            let mut java = Command::new(&tools.java.java);
            java.args(heap.map(|mib| format!("-Xmx{mib}m")));
            java.arg(format!(
                "-Dlog4j2.configurationFile={}",
                workshop.root.join("benches/peers/log4j2.xml").display()
            ));
            java.args(["-cp", &tools.java.classpath]);
            java
        };
        let command = match self {
            Contender::Feed { workers } => {
                let mut command = Command::new(workshop.program("solr-updater")?);
                command.arg("feed");
                for url in &cluster.urls {
                    command.args(["--url", url]);
                }
                command.args(["--collection", COLLECTION]);
                if let Some(n) = workers {
                    command.args(["--workers", &n.to_string()]);
                }
                command.arg(&data.path);
                command
            }
            Contender::Daemon => unreachable!("it is no command"),
            Contender::SolrJ { client, threads, batch, queue, heap, warm } => {
                let mut command = java(Some(*heap));
                let mode = match client {
                    Client::Cloud => "cloud",
                    Client::Concurrent => "concurrent",
                };
                command.args(["Feed", mode]).arg(&data.path).arg(cluster.all_urls());
                command.arg(COLLECTION);
                command.args([threads, batch, queue].map(usize::to_string));
                command.args(warm.then_some(WARM));
                command
            }
            Contender::Post => {
                // it knows JSON by the name
                let named = data.path.with_extension("json");
                if !named.exists() {
                    std::os::unix::fs::symlink(&data.path, &named)?;
                }
                let mut command = java(None);
                command.args(["org.apache.solr.cli.SolrCLI", "post", "--skip-commit"]);
                command.args(["--solr-update-url", &format!("{first}/update")]).arg(named);
                command
            }
            Contender::Pysolr { threads, batch } => {
                let mut command = Command::new(&tools.python);
                command.arg(workshop.root.join("benches/peers/feed_pysolr.py")).arg(&data.path);
                command.arg(cluster.all_urls()).arg(COLLECTION);
                command.args([threads, batch].map(usize::to_string));
                command
            }
            Contender::Curl => {
                let mut command = Command::new("curl");
                command.args(["-sS", "-f", "-o", "/dev/null", "-X", "POST", "-T"]).arg(&data.path);
                command.args(["-H", "Content-Type: application/json"]);
                command.arg(format!("{first}/update/json/docs"));
                command
            }
            Contender::Raw { connections, commands, versions } => {
                let mut command = Command::new(workshop.program("raw-post")?);
                command.args([&cluster.urls[0], COLLECTION]).arg(&data.path);
                command.args(["--connections", &connections.to_string()]);
                command.args(commands.then_some("--commands"));
                command.args(versions.then_some("--versions"));
                command
            }
        };
        Ok(command)
    }
}

/// A pass is one too many when it costs Solr so much of what the pass before it did.
const WARM_AT: f64 = 0.95;

/// Feeds a delta again and again, in both forms of body, until Solr gets no faster by it. None of
/// that counts.
pub(crate) fn warm_up(
    tools: &Tools<'_>,
    cluster: &Cluster<'_>,
    shards: usize,
    data: &Data,
) -> Result<()> {
    println!(" warming up (does not count)");
    let most = if tools.workshop.quick { 2 } else { 8 };
    let mut before = f64::INFINITY;
    for _ in 0..most {
        let mut cost = 0.0;
        for versions in [false, true] {
            let raw = Contender::Raw { connections: 2, commands: versions, versions };
            let record = raw.feed(tools, cluster, shards, data, 0)?;
            record.tell();
            cost += record.run.server_cpu_s;
        }
        if is_warm(before, cost) {
            return Ok(());
        }
        before = cost;
    }
    println!(" (Solr may not be warm yet: it still gets faster)");
    Ok(())
}

fn is_warm(before: f64, now: f64) -> bool {
    now >= WARM_AT * before
}

impl Record {
    /// Documents a second.
    pub(crate) fn rate(&self) -> f64 {
        self.lines as f64 / self.run.seconds.max(1e-9)
    }

    /// Whether it ended well and nothing is lost.
    pub(crate) fn is_whole(&self) -> bool {
        self.run.failed.is_none() && self.found == self.expected
    }

    fn micros(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.lines as f64
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "contender": self.contender, "settings": self.settings, "round": self.round,
            "seconds": self.run.seconds, "docs_per_s": self.rate(),
            "feeder_us": self.micros(self.run.cpu_s), "solr_us": self.micros(self.run.server_cpu_s),
            "peak_mib": self.run.peak_mib, "expected": self.expected, "found": self.found,
            "failed": self.run.failed,
        })
    }

    /// One line, as it happens.
    pub(crate) fn tell(&self) {
        use crate::results::{round, thousands};
        let state = match &self.run.failed {
            Some(why) => format!("FAILED: {why}"),
            None if self.found == self.expected => format!("all {}", thousands(self.found)),
            None => format!("{} OF {}", thousands(self.found), thousands(self.expected)),
        };
        println!(
            "  {:<26} {:>9} docs/s {:>7.2} s  CPU/doc: feeder {:>6} µs, Solr {:>5} µs {:>6.0} MiB  {state}{}",
            self.contender,
            round(self.rate()),
            self.run.seconds,
            round(self.micros(self.run.cpu_s)),
            round(self.micros(self.run.server_cpu_s)),
            self.run.peak_mib,
            if self.settings.is_empty() { String::new() } else { format!("  ({})", self.settings) }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solr_is_warm_when_a_pass_is_hardly_cheaper_than_the_one_before() {
        assert!(!is_warm(f64::INFINITY, 30.0), "the first pass says nothing");
        assert!(!is_warm(30.0, 20.0));
        assert!(is_warm(20.0, 19.5));
        assert!(is_warm(20.0, 21.0));
    }
}
