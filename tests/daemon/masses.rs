//! Producers that hand over much: many files at once.

use std::fmt::Write;

use crate::common::{Daemon, FakeSolr, Site};

#[test]
fn a_hundred_thousand_waiting_deltas_are_taken_in_order_while_the_status_answers() {
    const MANY: usize = 100_000;
    const DISTINCT: usize = 1_000;
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '10ms'\nspool.poll = '1s'");
    let line = |n: usize| format!("{{\"id\":\"{n:06}\"}}\n");
    let path = |n: usize| site.spool("incoming").join(format!("{n:06}.jsonl"));
    (0..DISTINCT).for_each(|n| std::fs::write(path(n), line(n)).unwrap());
    // The others are names of a few files (a file can have some 65,000): it is names that wait.
    for n in DISTINCT..MANY {
        let file = site.path(format!("file-{}", n % 4));
        if n < DISTINCT + 4 {
            std::fs::write(&file, line(n)).unwrap();
        }
        std::fs::hard_link(file, path(n)).unwrap();
    }
    let daemon = Daemon::start(&site);
    let status = daemon.wait("they are counted and taken", |status| {
        let waiting = status["spool"]["incoming"]["files"].as_u64().unwrap();
        let settled = status["totals"]["deltas"].as_u64().unwrap();
        settled >= 50 && waiting > 90_000
    });
    let bytes = status["spool"]["incoming"]["bytes"].as_u64().unwrap();
    let files = status["spool"]["incoming"]["files"].as_u64().unwrap();
    assert_eq!(bytes, files * 16, "as many as are told");
    let settled = solr.order().len();
    let mut expected = String::new();
    (0..settled).for_each(|n| writeln!(expected, "{n:06}").unwrap());
    assert_eq!(solr.order()[..settled].join("\n") + "\n", expected, "in the order of their names");
    // A new one before all others is next, whatever waits.
    site.hand_over("!.jsonl", "{\"id\":\"first\"}\n");
    daemon.wait("it is taken", |_| solr.order().iter().any(|id| id == "first"));
    assert!(solr.order().len() < DISTINCT, "{} before it", solr.order().len());
    daemon.stop();
}
