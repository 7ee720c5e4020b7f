//! The SolrCloud that tests/with-solrcloud has started for this run.

use std::process::Command;

use kit::http;
use serde_json::Value;

use crate::Result;
use crate::process::cpu_of;
use crate::workshop::{Workshop, output};

/// Of each node.
pub(crate) const HEAP: &str = "1g";

/// A cluster of so many nodes.
pub(crate) struct Cluster<'a> {
    workshop: &'a Workshop,
    /// The nodes' Solr URLs.
    pub(crate) urls: Vec<String>,
    pids: Vec<u32>,
}

impl Cluster<'_> {
    /// The cluster, with so many nodes: another one is taken down first.
    pub(crate) fn of(workshop: &Workshop, nodes: usize) -> Result<Cluster<'_>> {
        let mut cluster = Cluster { workshop, urls: Vec::new(), pids: Vec::new() };
        if cluster.script(&["urls"]).is_ok_and(|urls| urls.split(',').count() == nodes) {
            // as it is
        } else {
            cluster.script(&["down", "--wipe"])?;
            let nodes = nodes.to_string();
            let up = ["up", "--nodes", &nodes, "--base-port", "0", "--heap", HEAP];
            let rest = ["--zk-timeout", "4000", "--ttl", "28800", "--quiet"];
            cluster.script(&[&up[..], &rest[..]].concat())?;
        }
        cluster.urls = cluster.script(&["urls"])?.split(',').map(str::to_owned).collect();
        for node in 1..=nodes {
            cluster.pids.push(cluster.script(&["pid", &node.to_string()])?.parse()?);
        }
        Ok(cluster)
    }

    fn script(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.workshop.root.join("tests/solrcloud/solrcloud"));
        command.args(arguments).arg("--dir").arg(&self.workshop.cluster_dir);
        output(&mut command)
    }

    /// All URLs, with commas.
    pub(crate) fn all_urls(&self) -> String {
        self.urls.join(",")
    }

    /// The processor time of the Solr nodes so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_of(&self.pids)
    }

    /// Makes an empty collection whose leaders are spread over the nodes, in place of an earlier
    /// one, and sees it take something, so that the first batch does not pay for what is opened.
    pub(crate) fn fresh(&self, name: &str, shards: usize) -> Result<()> {
        for _ in 0..5 {
            self.drop(name)?;
            self.script(&["create", name, "--shards", &shards.to_string()])?;
            if self.is_spread(name)? {
                let docs: Vec<String> = (0..64).map(|n| format!(r#"{{"id":"w{n}"}}"#)).collect();
                self.update(name, &format!("[{}]", docs.join(",")))?;
                self.update(name, r#"{"delete":{"query":"*:*"}}"#)?;
                return Ok(());
            }
        }
        Err(format!("{name}: one node leads more shards than another, again and again").into())
    }

    pub(crate) fn drop(&self, name: &str) -> Result<()> {
        self.script(&["drop", name]).map(drop)
    }

    fn is_spread(&self, name: &str) -> Result<bool> {
        let shards = kit::shards::of(&self.urls[0], name)?;
        let led = |url: &String| shards.iter().filter(|shard| shard.node == *url).count();
        let led: Vec<usize> = self.urls.iter().map(led).collect();
        let most = led.iter().max().copied().unwrap_or(0);
        Ok(most <= shards.len().div_ceil(self.urls.len()))
    }

    fn update(&self, name: &str, body: &str) -> Result<()> {
        let url = format!("{}/{name}/update?commit=true&wt=json", self.urls[0]);
        match http::post(&url, body.as_bytes())? {
            (200, _) => Ok(()),
            (status, body) => {
                Err(format!("{url}: HTTP {status}: {}", String::from_utf8_lossy(&body)).into())
            }
        }
    }

    /// How many documents are in a collection, after a commit.
    pub(crate) fn found(&self, name: &str) -> Result<u64> {
        self.update(name, r#"{"commit":{}}"#)?;
        let url = format!("{}/{name}/select?q=*:*&rows=0&wt=json", self.urls[0]);
        let (_, body) = http::get(&url)?;
        let answer: Value = serde_json::from_slice(&body)?;
        answer["response"]["numFound"].as_u64().ok_or_else(|| format!("{url}: {answer}").into())
    }

    /// Solr's version and Java's.
    pub(crate) fn versions(&self) -> Result<(String, String)> {
        let (_, body) = http::get(&format!("{}/admin/info/system?wt=json", self.urls[0]))?;
        let answer: Value = serde_json::from_slice(&body)?;
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        Ok((text(&answer["lucene"]["solr-spec-version"]), text(&answer["jvm"]["spec"]["version"])))
    }
}
