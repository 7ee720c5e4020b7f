//! A spool without inotify, or with one that tells nothing: the poll finds its deltas all the same.

use crate::common::{Daemon, FakeSolr, Site, wait_for};

const POLL: &str = "spool.settle = '50ms'\nspool.poll = '200ms'";

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.log()).unwrap()
}

#[test]
fn on_a_file_system_that_tells_nothing_deltas_are_found_by_the_poll() {
    let solr = FakeSolr::up();
    let (site, faults) = Site::new(solr.url()).with_faults();
    site.configure(POLL);
    faults.are(&["watch 0 /incoming"]);
    let daemon = Daemon::start(&site);
    for n in 1..=3 {
        site.hand_over(&format!("{n}.jsonl"), format!("{{\"id\":\"{n}\"}}\n"));
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n);
    }
    assert_eq!(solr.order(), ["1", "2", "3"]);
    assert_eq!(daemon.status()["health"]["state"], "ok");
    daemon.stop();
}

#[test]
fn where_no_watch_can_be_had_the_poll_does_until_there_is_one_and_the_limit_is_named() {
    for (fault, limit) in [
        ("inotify 24 /", "fs.inotify.max_user_instances"), // EMFILE
        ("watch 28 /incoming", "fs.inotify.max_user_watches"), // ENOSPC
    ] {
        let solr = FakeSolr::up();
        let (site, faults) = Site::new(solr.url()).with_faults();
        site.configure(POLL);
        faults.are(&[fault]);
        let daemon = Daemon::start(&site);
        let watches =
            || daemon.parent.descriptors().iter().filter(|fd| fd.contains("inotify")).count();
        for n in 1..=2 {
            site.hand_over(&format!("{n}.jsonl"), format!("{{\"id\":\"{n}\"}}\n"));
            daemon.wait("it is settled", |status| status["totals"]["deltas"] == n);
        }
        assert_eq!((solr.order(), watches()), (vec!["1".into(), "2".into()], 0));
        let told = log(&site);
        assert_eq!(told.matches("no inotify, scanning instead").count(), 1, "{told}");
        assert!(told.contains(limit), "{limit}: {told}");
        faults.are(&[]);
        wait_for("there is a watch", || watches() == 1);
        site.hand_over("3.jsonl", "{\"id\":\"3\"}\n");
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == 3);
        daemon.stop();
    }
}
