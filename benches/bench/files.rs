//! Many deltas of one line, all there at once.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::cluster::Cluster;
use crate::contenders::{COLLECTION, warm_up};
use crate::daemon::Daemon;
use crate::data;
use crate::peers::tools;
use crate::results::{median, round};
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Value> {
    let files: u64 = if workshop.quick { 100 } else { 1000 };
    let cluster = Cluster::of(workshop, 2)?;
    warm_up(&tools(workshop)?, &cluster, 2, &data::offers(workshop)?)?;
    let mut rates = Vec::new();
    for _ in 0..workshop.rounds {
        cluster.fresh(COLLECTION, 2)?;
        let rate = once(workshop, &cluster, files)?;
        println!("  {files} files of one line: {} files/s", round(rate));
        rates.push(rate);
        cluster.drop(COLLECTION)?;
    }
    Ok(json!({"files": files, "files_per_s": median(&rates), "all": rates}))
}

fn once(workshop: &Workshop, cluster: &Cluster<'_>, files: u64) -> Result<f64> {
    let daemon = Daemon::start(workshop, cluster, COLLECTION)?;
    let aside = daemon.spool().join(".files");
    fs::create_dir(&aside)?;
    let name = |n: u64| format!("one-{n:06}.jsonl");
    for n in 0..files {
        fs::write(aside.join(name(n)), format!("{{\"id\":\"file-{n}\",\"price_i\":{n}}}\n"))?;
    }
    let mut asker = daemon.asker()?;
    let start = Instant::now();
    for n in 0..files {
        fs::rename(aside.join(name(n)), daemon.spool().join("incoming").join(name(n)))?;
    }
    while asker.total("deltas")? < files {
        if start.elapsed() > Duration::from_secs(600) {
            return Err(format!("{files} files: not delivered within ten minutes").into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(daemon);
    match cluster.found(COLLECTION)? {
        found if found == files => Ok(files as f64 / seconds),
        found => Err(format!("{found} documents of {files} files").into()),
    }
}
