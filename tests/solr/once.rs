//! What may be carried out once only is carried out once by a real Solr, whoever is killed.

use nix::sys::signal::Signal;

use crate::cluster::Collection;
use crate::common::{Daemon, wait_for};

#[test]
fn each_line_counts_once_whoever_is_killed() {
    let collection = Collection::make("once");
    let site = collection.site();
    site.configure("batch.docs = 200");
    let mut daemon = Daemon::start(&site);
    let (ids, rounds) = (8_000, 4);
    let line = |n| format!("{{\"id\":\"c{n:05}\",\"stock_i\":{{\"inc\":1}}}}\n");
    let delta: String = (0..ids).map(line).collect();
    for round in 1..=rounds {
        let name = format!("{round}.jsonl");
        let docs = |daemon: &Daemon| daemon.status()["totals"]["docs"].as_u64().unwrap();
        let before = docs(&daemon);
        site.hand_over(&name, &delta);
        for kill in 1..=3 {
            // (Of what was done, only what a checkpoint says is counted after a death.)
            wait_for("it is under way or done", || {
                docs(&daemon) > before + 500 * kill || site.is_done(&name)
            });
            if kill == 3 && round == 2 {
                daemon.kill();
                daemon = Daemon::start(&site);
                break;
            }
            daemon.workers()[kill as usize % 2].signal(Signal::SIGKILL);
        }
        wait_for("it is settled", || site.is_done(&name));
    }
    let docs = collection.docs();
    let other: Vec<_> = docs.values().filter(|doc| doc["stock_i"] != rounds).take(5).collect();
    assert!(docs.len() == ids && other.is_empty(), "{} documents: {other:?}", docs.len());
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    daemon.stop();
}
