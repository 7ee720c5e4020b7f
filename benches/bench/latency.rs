//! One line, handed over by rename to a daemon that waits: how soon the daemon has Solr's receipt,
//! beside the time Solr itself takes for the same document from a plain client.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use kit::http::{self, Connection};
use serde_json::{Value, json};

use crate::Result;
use crate::cluster::Cluster;
use crate::contenders::{COLLECTION, warm_up};
use crate::daemon::{Asker, Daemon};
use crate::data;
use crate::peers::tools;
use crate::results::{median, ninth_decile};
use crate::workshop::Workshop;

/// Between two tries, so that each finds everybody at rest.
const REST: Duration = Duration::from_millis(50);
/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_micros(200);

pub(crate) fn run(workshop: &Workshop) -> Result<Value> {
    let times = if workshop.quick { 10 } else { 50 };
    let cluster = Cluster::of(workshop, 2)?;
    warm_up(&tools(workshop)?, &cluster, 2, &data::offers(workshop)?)?;
    cluster.fresh(COLLECTION, 2)?;
    let daemon = Daemon::start(workshop, &cluster, COLLECTION)?;
    let mut asker = daemon.asker()?;
    let mut plain = Plain::new(&cluster)?;
    let (mut posts, mut receipts, mut dones) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..times + 5 {
        let post = plain.post(&format!("plain-{n}"))?;
        thread::sleep(REST);
        let (receipt, done) = hand_over(&daemon, &mut asker, n)?;
        thread::sleep(REST);
        if n >= 5 {
            // the first ones warm everybody up
            posts.push(post);
            receipts.push(receipt);
            dones.push(done);
        }
    }
    drop(daemon);
    let found = cluster.found(COLLECTION)?;
    cluster.drop(COLLECTION)?;
    let expected = 2 * (times as u64 + 5);
    if found != expected {
        return Err(format!("{found} documents instead of {expected}").into());
    }
    let tell = |what: &str, times: &[f64]| {
        let (middle, most) = (median(times), ninth_decile(times));
        println!(
            "  {what:<44} median {:>7.2} ms, nine of ten below {:>7.2} ms",
            middle.unwrap_or(f64::NAN),
            most.unwrap_or(f64::NAN)
        );
        json!({"median_ms": middle, "ninth_decile_ms": most, "all_ms": times})
    };
    Ok(json!({
        "times": times,
        "plain": tell("Solr's own time: a plain POST to the leader", &posts),
        "receipt": tell("rename to receipt", &receipts),
        "done": tell("rename to done/", &dones),
    }))
}

/// A client that does nothing but post, on a connection to each leader.
struct Plain {
    shards: Vec<kit::shards::Shard>,
    connections: Vec<(Connection, String)>,
}

impl Plain {
    fn new(cluster: &Cluster<'_>) -> Result<Plain> {
        let shards = kit::shards::of(&cluster.urls[0], COLLECTION)?;
        let mut connections = Vec::new();
        for shard in &shards {
            let (host, path) = http::split(&shard.node)?;
            let path =
                format!("{path}/{}/update?wt=json&versions=true&commitWithin=10000", shard.core);
            connections.push((Connection::open(host)?, path));
        }
        Ok(Plain { shards, connections })
    }

    /// Milliseconds.
    fn post(&mut self, id: &str) -> Result<f64> {
        let shard = kit::shards::find(&self.shards, id.as_bytes()).ok_or("no shard has it")?;
        let (connection, path) = &mut self.connections[shard];
        let body = format!(r#"{{"add":{{"doc":{}}}}}"#, document(id));
        let start = Instant::now();
        let (status, _) = connection.post(path, body.as_bytes())?;
        let took = start.elapsed();
        match status {
            200 => Ok(took.as_secs_f64() * 1e3),
            _ => Err(format!("a plain POST: HTTP {status}").into()),
        }
    }
}

fn document(id: &str) -> String {
    format!(r#"{{"id":"{id}","price_i":1999,"stock_i":3}}"#)
}

/// Milliseconds until the daemon has the receipt, and until the delta is in `done/`.
fn hand_over(daemon: &Daemon, asker: &mut Asker, n: usize) -> Result<(f64, f64)> {
    let name = format!("one-{n:03}.jsonl");
    let aside = daemon.spool().join(format!(".{name}"));
    fs::write(&aside, document(&format!("spooled-{n}")) + "\n")?;
    let before = asker.total("docs")?;
    let done = daemon.spool().join("done").join(&name);
    let incoming = daemon.spool().join("incoming").join(&name);
    let start = Instant::now();
    fs::rename(&aside, incoming)?;
    let (mut receipt, mut settled) = (None, None);
    loop {
        if receipt.is_none() && asker.total("docs")? > before {
            receipt = Some(start.elapsed());
        }
        if settled.is_none() && done.exists() {
            settled = Some(start.elapsed());
        }
        if let (Some(receipt), Some(settled)) = (receipt, settled) {
            return Ok((receipt.as_secs_f64() * 1e3, settled.as_secs_f64() * 1e3));
        }
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("{name}: not delivered within a minute").into());
        }
        thread::sleep(LOOK);
    }
}
