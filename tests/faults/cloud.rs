//! Solr and ZooKeeper under fire: nodes are killed, paused, restarted, and start again.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::chronicle::Chronicle;
use crate::common::Process;
use crate::common::cluster::{solrcloud, try_solrcloud};
use crate::kind::{Kind, seconds};

/// A node that has not ended by then is killed.
const LEAVE: Duration = Duration::from_secs(60);

/// Does it, and sees to it that all nodes run when it is over.
pub fn strike(kind: Kind, chronicle: &Chronicle, rng: &mut fastrand::Rng) {
    let nodes: &[&str] = match kind {
        Kind::SolrBoth => &["1", "2"],
        Kind::ZookeeperKill | Kind::ZookeeperStop => &["zk"],
        _ if rng.bool() => &["1"],
        _ => &["2"],
    };
    let _fault = chronicle.begin(kind, &format!("node {}", nodes.join(" and ")));
    let processes: Vec<Process> = nodes.iter().filter_map(|node| process(node)).collect();
    let signal = match kind {
        Kind::SolrStop | Kind::ZookeeperStop => Signal::SIGSTOP,
        Kind::SolrRestart => Signal::SIGTERM,
        _ => Signal::SIGKILL,
    };
    processes.iter().for_each(|process| process.signal(signal));
    if kind == Kind::SolrRestart {
        let by = Instant::now() + LEAVE;
        while processes.iter().any(|process| process.is_alive()) && Instant::now() < by {
            std::thread::sleep(Duration::from_millis(20));
        }
        processes.iter().for_each(|process| process.signal(Signal::SIGKILL));
    } else {
        // A session lasts 4 s: sometimes another node takes over, sometimes not.
        std::thread::sleep(seconds(rng, 0.5, 9.0));
    }
    nodes.iter().for_each(|node| start(node, chronicle));
}

fn process(node: &str) -> Option<Process> {
    Process::of(try_solrcloud(&["pid", node]).stdout.trim().parse().ok()?)
}

/// Starts a node, or continues a paused one, and waits until it is live. A busy machine may take
/// longer than the script waits.
fn start(node: &str, chronicle: &Chronicle) {
    for _ in 0..3 {
        let run = try_solrcloud(&["start", node]);
        if run.code == Some(0) {
            return;
        }
        chronicle.say(&format!("node {node} does not start yet: {}", run.stderr.trim()));
    }
    solrcloud(&["start", node]);
}
