//! The parent is killed again and again while one delta is delivered. It arrives once the daemon is
//! left alone, and each death costs no more lines than a share's window and what a checkpoint's
//! interval holds.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::commands::commands;
use crate::common::cluster::Collection;
use crate::common::{Daemon, PATIENCE, Site, wait_for};
use crate::kind::{random, seconds};
use crate::mischief::Mischief;
use crate::options::number;
use crate::proxy::{Proxy, Witness};

/// Lines of a share that are outstanding at most (`worker/window.rs`).
const WINDOW: u64 = 65_536;
const SHARES: u64 = 2;
/// So fast they are sent as long as there is killing, in lines a second; else the delta would have
/// to be a large one.
const RATE: u64 = 10_000;
/// One line in so many is no JSON.
const BAD: usize = 1_000;

/// Which lines were sent, and how many of them again in this life of the daemon.
#[derive(Default)]
struct Sent {
    lines: Vec<bool>,
    new: u64,
    again: u64,
}

struct Tally(Mutex<Sent>);

impl Tally {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A life is over. Answers how many lines were sent for the first time in it, and how many again.
    fn turn(&self) -> (u64, u64) {
        let mut sent = self.sent();
        (std::mem::take(&mut sent.new), std::mem::take(&mut sent.again))
    }
}

impl Witness for Tally {
    fn passed_on(&self, _: &str, body: &[u8]) -> usize {
        let commands = commands(body).unwrap_or_default();
        let sent = &mut *self.sent();
        for command in commands {
            let number = command.id.trim_start_matches("n-").parse().ok();
            match number.and_then(|n: usize| sent.lines.get_mut(n)) {
                Some(line) if *line => sent.again += 1,
                Some(line) => (*line, sent.new) = (true, sent.new + 1),
                None => {}
            }
        }
        0
    }

    fn answered(&self, _: usize, _: u16, _: &[u8], _: bool) {}

    fn broken(&self, _: usize) {}
}

fn configure(site: &Site, more: &str) {
    site.configure(&format!(
        "workers.count = {SHARES}\nretry = {{ first = '200ms', most = '30s' }}\n{more}"
    ));
}

#[test]
#[ignore = "needs a SolrCloud, and takes ten minutes: make faults-parent"]
fn a_delta_arrives_however_often_the_parent_is_killed_and_each_death_costs_a_window() {
    let kills: usize = number("KILLS").unwrap_or(200);
    let lines: usize = number("LINES").unwrap_or(kills * 7_500);
    let mut rng = random(number("SEED").unwrap_or(1), "deaths", 0);
    let collection = Collection::make("deaths");
    let tally = Arc::new(Tally(Mutex::new(Sent { lines: vec![false; lines], new: 0, again: 0 })));
    let mischief = Arc::new(Mischief::new(rng.fork()));
    let proxy = Proxy::before(collection.urls(), mischief, tally.clone());
    let site = Site::for_collection(proxy.urls(), collection.name());
    configure(&site, &format!("solr.max_docs_per_s = {RATE}"));
    let mut text = String::new();
    for n in 0..lines {
        match n % BAD {
            7 => text.push_str("no JSON\n"),
            _ => text.push_str(&format!("{{\"id\":\"n-{n:08}\",\"price_i\":{n}}}\n")),
        }
    }
    site.hand_over("x.jsonl", text);

    let mut costs = Vec::new();
    for _ in 0..kills {
        let daemon = Daemon::spawn(&site);
        std::thread::sleep(seconds(&mut rng, 0.05, 2.5));
        daemon.kill();
        costs.push(tally.turn());
        assert!(!site.is_done("x.jsonl"), "it was too small: LINES=");
    }
    let reached = costs.iter().map(|(new, _)| new).sum::<u64>();
    configure(&site, "");
    let daemon = Daemon::start(&site);
    wait_for("lines are sent", || tally.sent().new > 0);
    // It takes as long as it takes; but it goes on.
    let (mut docs, mut since) = (Value::Null, Instant::now());
    while !site.is_done("x.jsonl") {
        let status = daemon.status();
        if status["totals"]["docs"] != docs {
            (docs, since) = (status["totals"]["docs"].clone(), Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "it does not go on: {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
    costs.push(tally.turn());

    let mut again: Vec<u64> = costs.iter().map(|(_, again)| *again).collect();
    again.sort();
    let (all, worst) = (again.iter().sum::<u64>(), *again.last().expect("there was one"));
    let bound = SHARES * WINDOW + 2 * RATE;
    println!(
        "{kills} parents killed; {reached} of {lines} lines were sent by then; sent again in a life: \
         median {}, worst {worst}, all together {all}; a life may send {bound} again",
        again[again.len() / 2],
    );
    assert!(worst <= bound, "{worst} lines were sent again in one life");
    let rejected: Vec<usize> = site
        .rejects("x.jsonl")
        .iter()
        .filter_map(|reject| reject["line"].as_u64()?.try_into().ok())
        .collect();
    assert_eq!(rejected, (0..lines).filter(|n| n % BAD == 7).map(|n| n + 1).collect::<Vec<_>>());
    collection.commit();
    let url = format!("{}/{}", collection.urls()[0], collection.name());
    let answer = collection.get(&format!("{url}/select?q=*:*&rows=0&wt=json"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["response"]["numFound"], lines - rejected.len());
    daemon.stop();
}
