//! Running ahead: with `partition = "id"` a worker goes on to the next delta while others are behind with
//! the one before it, and nobody can tell by what is in Solr in the end, or by what a retry makes of it.
//!
//! Two workers, two shards, and documents of which those of the first share are in the first shard: so a
//! test can have one worker wait and let the other one go on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use fake_solr::{FakeCluster, Play};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Mode, Site, ask, wait_for};

const BY_ID: &str = "workers = { count = 2, partition = 'id' }\n";
/// Looked at soon.
const SOON: &str = "spool.settle = '100ms'\nspool.poll = '200ms'\n";

/// Ids of this share of two, in the shard of the same number.
fn ids(cluster: &FakeCluster, share: usize, count: usize) -> Vec<String> {
    let ids = (0..).map(|n| format!("id-{n}"));
    let is_there = |id: &String| {
        ::cluster::hash(id) as u32 as usize % 2 == share && cluster.shard_of(id) == share
    };
    ids.filter(is_there).take(count).collect()
}

/// Where the worker of the second share waits for Solr as long as the test likes.
struct Place {
    cluster: FakeCluster,
    site: Site,
    /// Of the first share, which goes on, and of the second, which is held.
    quick: Vec<String>,
    held: Vec<String>,
}

impl Place {
    fn new(more: &str) -> Place {
        let cluster = FakeCluster::start(2);
        let site = Site::for_collection(cluster.urls(), "c");
        site.configure(&format!("{BY_ID}{more}"));
        let (quick, held) = (ids(&cluster, 0, 40), ids(&cluster, 1, 40));
        cluster.node(1).turn(Mode::Hold);
        Place { cluster, site, quick, held }
    }

    /// A delta that gives all documents this value.
    fn delta(&self, p: u32) -> String {
        lines(&self.quick, p, "") + &lines(&self.held, p, "")
    }

    #[track_caller]
    fn have(&self, ids: &[String], p: u32) {
        let docs = self.cluster.docs();
        let wrong: Vec<_> =
            ids.iter().filter(|id| docs.get(*id).is_none_or(|d| d["p"] != p)).collect();
        assert_eq!(wrong, [""; 0], "should have {p}: {docs:?}");
    }

    /// Waits until the first share's documents have this value.
    #[track_caller]
    fn wait_for_quick(&self, p: u32) {
        let is_there = |docs: &BTreeMap<String, Value>| {
            self.quick.iter().all(|id| docs.get(id).is_some_and(|doc| doc["p"] == p))
        };
        wait_for("the first share is so far", || is_there(&self.cluster.docs()));
    }

    /// How often the first share's documents were taken.
    fn quick_taken(&self) -> usize {
        self.cluster.order().iter().filter(|id| self.quick.contains(id)).count()
    }
}

fn lines(ids: &[String], p: u32, more: &str) -> String {
    ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"p\":{p}{more}}}\n")).collect()
}

#[track_caller]
fn settled(daemon: &Daemon, count: u64) -> Value {
    daemon.wait("they are settled", |status| {
        status["totals"]["deltas"] == count && status["spool"]["active"].is_null()
    })
}

/// Waits until nothing failed, or rejected, is left or being retried.
#[track_caller]
fn nothing_is_left(site: &Site) {
    wait_for("all of it is retried", || {
        let is_left = ["failed", "rejected"].iter().any(|folder| !site.names(folder).is_empty());
        // It is claimed before it goes from there.
        !is_left && site.names("active").iter().all(|name| !name.starts_with(".claim-"))
    });
}

/// What was settled, in that order, and how.
fn history(site: &Site) -> Vec<String> {
    let answer = ask(&site.control_socket(), "history").expect("the daemon answers");
    let entries = answer["history"].as_array().unwrap().iter().rev();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    entries.map(|e| format!("{} {}", word(&e["name"]), word(&e["outcome"]))).collect()
}

#[test]
fn a_worker_runs_ahead_of_one_whose_shard_hangs() {
    let place = Place::new("");
    let Place { cluster, site, held, .. } = &place;
    let daemon = Daemon::start(site);
    for p in 1..=3 {
        site.hand_over(&format!("{p}.jsonl"), place.delta(p));
    }
    place.wait_for_quick(3);
    assert!(cluster.docs().keys().all(|id| !held.contains(id)), "the other share waits");
    let status = daemon.wait("all are begun", |status| status["spool"]["active_files"] == 3);
    let active = &status["spool"]["active"];
    let (bytes, done) = (active["bytes"].as_u64().unwrap(), active["bytes_done"].as_u64().unwrap());
    assert_eq!((&active["name"], bytes), (&json!("1.jsonl"), place.delta(1).len() as u64));
    assert_eq!(done, bytes / 2, "a share that is in counts whole: {status}");
    assert_eq!((site.names("incoming").len(), site.names("done").len()), (0, 0));

    cluster.node(1).turn(Mode::Up);
    let status = settled(&daemon, 3);
    assert_eq!(history(site), ["1.jsonl done", "2.jsonl done", "3.jsonl done"]);
    place.have(&place.quick, 3);
    place.have(held, 3);
    let lines = 3 * (place.quick.len() + held.len());
    assert_eq!((cluster.taken(), &status["totals"]["docs"]), (lines, &json!(lines)));
    assert_eq!(status["spool"]["active_files"], 0);
    daemon.stop();
}

#[test]
fn the_last_value_wins_whoever_is_killed_while_several_deltas_are_open() {
    let place = Place::new("batch.docs = 5\n");
    let Place { cluster, site, held, quick } = &place;
    let mut daemon = Daemon::start(site);
    for p in 1..=3 {
        site.hand_over(&format!("{p}.jsonl"), place.delta(p));
    }
    place.wait_for_quick(3);
    daemon.wait("all are begun", |status| status["spool"]["active_files"] == 3);
    let before = place.quick_taken();
    daemon.kill();
    daemon = Daemon::start(site);
    // What is in is in: no old value is shown once more, but of the last delta perhaps.
    daemon.wait("all are taken up", |status| status["spool"]["active_files"] == 3);
    for worker in daemon.workers() {
        worker.signal(Signal::SIGKILL);
    }
    cluster.node(1).turn(Mode::Slow(Duration::from_millis(5)));
    wait_for("some of the held are there", || cluster.docs().contains_key(&held[5]));
    daemon.kill();
    daemon = Daemon::start(site);
    daemon.wait("all are settled", |_| (1..=3).all(|p| site.is_done(&format!("{p}.jsonl"))));
    place.have(held, 3);
    place.have(quick, 3);
    assert!(place.quick_taken() <= before + 3 * quick.len(), "only the last delta was open there");
    daemon.wait("the last is settled", |_| history(site).len() == 3);
    assert_eq!(history(site), ["1.jsonl done", "2.jsonl done", "3.jsonl done"]);
    daemon.stop();
}

#[test]
fn a_delta_that_fails_while_a_worker_is_ahead_is_older_than_what_that_has_written() {
    for restart in [false, true] {
        let place = Place::new("batch.docs = 10\nbatch.in_flight = 1\nspool.max_rejects = 5\n");
        let Place { cluster, site, quick, held } = &place;
        let mut daemon = Daemon::start(site);
        // Of the first share all but one is delivered; the second fails half-way. Every second document
        // has a line in the second delta, too.
        let (bad_quick, bad) = (&quick[..2], &held[10..18]);
        let first = lines(bad_quick, 1, ",\"bad\":1") + &lines(&quick[2..], 1, "");
        let second =
            lines(&held[..10], 1, "") + &lines(bad, 1, ",\"bad\":1") + &lines(&held[18..], 1, "");
        // More than is under way when it is found to be at fault.
        let rest = ids(cluster, 1, 1_000).split_off(held.len());
        site.hand_over("1.jsonl", first + &second + &lines(&rest, 1, ""));
        let every_second = |ids: &[String]| ids.iter().step_by(2).cloned().collect::<Vec<String>>();
        let (newer_quick, newer_held) = (every_second(quick), every_second(held));
        site.hand_over("2.jsonl", lines(&newer_quick, 2, "") + &lines(&newer_held, 2, ""));
        wait_for("a worker is ahead", || {
            let docs = cluster.docs();
            newer_quick.iter().all(|id| docs.get(id).is_some_and(|doc| doc["p"] == 2))
        });
        if restart {
            daemon.kill();
            daemon = Daemon::start(site);
        }
        cluster.node(1).turn(Mode::Up);
        daemon.wait("the first fails", |_| site.names("failed").contains(&"1.jsonl".to_owned()));
        daemon.wait("the second is settled", |_| site.is_done("2.jsonl"));
        let docs = cluster.docs();
        assert!(rest.iter().any(|id| !docs.contains_key(id)), "it had a rest");
        place.have(&newer_held, 2);

        cluster.node(0).mend();
        cluster.node(1).mend();
        site.run(&["retry", "1.jsonl"]).code(0);
        nothing_is_left(site);
        place.have(&newer_quick, 2);
        place.have(&newer_held, 2);
        let only = |ids: &[String], newer: &[String]| -> Vec<String> {
            ids.iter().filter(|id| !newer.contains(id)).cloned().collect()
        };
        place.have(&only(quick, &newer_quick), 1);
        place.have(&only(held, &newer_held), 1);
        place.have(&rest, 1);
        daemon.stop();
    }
}

#[test]
fn what_is_appended_to_a_delta_that_was_passed_comes_after_those_ahead_of_it() {
    for restart in [false, true] {
        let place = Place::new(SOON);
        let Place { cluster, site, quick, held } = &place;
        let mut daemon = Daemon::start(site);
        let hidden = site.spool("incoming/.1.jsonl");
        let mut file = File::create(&hidden).unwrap();
        file.write_all(place.delta(1).as_bytes()).unwrap();
        std::fs::rename(hidden, site.spool("incoming/1.jsonl")).unwrap();
        site.hand_over("2.jsonl", place.delta(2));
        place.wait_for_quick(2);
        let before = place.quick_taken();
        file.write_all((lines(&quick[..1], 9, "") + &lines(&held[..1], 9, "")).as_bytes()).unwrap();
        drop(file);
        if restart {
            daemon.kill();
            daemon = Daemon::start(site);
        }
        cluster.node(1).turn(Mode::Up);
        daemon.wait("what was appended is settled", |_| {
            history(site) == ["1.jsonl done", "2.jsonl done", "1.jsonl done"]
        });
        place.have(&quick[..1], 9);
        place.have(&held[..1], 9);
        place.have(&quick[1..], 2);
        place.have(&held[1..], 2);
        let again = if restart { quick.len() } else { 0 }; // of the last delta, at most
        assert!(place.quick_taken() <= before + again + 1, "nothing is read anew");
        daemon.stop();
    }
}

#[test]
fn a_delta_that_fails_when_it_was_passed_and_has_grown_is_older_in_all_of_it() {
    let place = Place::new(&format!("{SOON}batch.docs = 10\nspool.max_rejects = 5\n"));
    let Place { cluster, site, quick, held } = &place;
    let daemon = Daemon::start(site);
    let hidden = site.spool("incoming/.1.jsonl");
    let mut file = File::create(&hidden).unwrap();
    let text = lines(&quick[..30], 1, "") + &lines(&held[..30], 1, ",\"bad\":1");
    file.write_all(text.as_bytes()).unwrap();
    std::fs::rename(hidden, site.spool("incoming/1.jsonl")).unwrap();
    site.hand_over("2.jsonl", lines(quick, 2, ""));
    place.wait_for_quick(2);
    // Behind the end of a share that a later delta has passed: nobody can tell which is newer.
    file.write_all(lines(&quick[..1], 9, "").as_bytes()).unwrap();
    drop(file);
    cluster.node(1).turn(Mode::Up);
    daemon.wait("it fails", |_| history(site) == ["1.jsonl failed", "2.jsonl done"]);
    cluster.node(1).mend();
    site.run(&["retry", "1.jsonl"]).code(0);
    nothing_is_left(site);
    place.have(quick, 2);
    place.have(&held[..30], 1);
    daemon.stop();
}

#[test]
fn one_that_is_cancelled_ahead_is_newer_than_those_before_it_and_the_others_go_on() {
    let place = Place::new("batch.docs = 10\n");
    let Place { cluster, site, quick, held } = &place;
    let daemon = Daemon::start(site);
    for p in 1..=3 {
        site.hand_over(&format!("{p}.jsonl"), place.delta(p));
    }
    place.wait_for_quick(3);
    let socket = site.control_socket();
    let cancel = std::thread::spawn(move || ask(&socket, "cancel 2.jsonl"));
    wait_for("it is cancelled", || {
        std::fs::read_to_string(site.log()).unwrap().contains("delta cancelled, delta: 2.jsonl")
    });
    assert_eq!(site.names("failed"), [""; 0], "it is settled in its turn");
    cluster.node(1).turn(Mode::Up);
    assert_eq!(cancel.join().unwrap(), Some(json!({"ok": true})));
    daemon.wait("they are settled", |_| {
        history(site) == ["1.jsonl done", "2.jsonl cancelled", "3.jsonl done"]
    });
    site.run(&["retry", "2.jsonl"]).code(0);
    settled(&daemon, 4);
    place.have(quick, 3);
    place.have(held, 3);
    daemon.stop();
}

#[test]
fn what_is_claimed_after_a_delta_was_cancelled_that_waited_does_not_run_ahead_of_what_is_older() {
    let place = Place::new("");
    let Place { cluster, site, quick, held } = &place;
    let daemon = Daemon::start(site);
    site.hand_over("1.jsonl", place.delta(1));
    place.wait_for_quick(1);
    cluster.node(0).turn(Mode::Hold);
    site.hand_over("2.jsonl", place.delta(2));
    daemon.wait("the second is begun", |status| status["spool"]["active_files"] == 2);
    wait_for("it stands still", || cluster.node(0).under_way() > 0);
    site.hand_over("3.jsonl", place.delta(3));
    site.run(&["cancel", "3.jsonl"]).code(0);
    assert_eq!(site.names("failed"), ["3.jsonl"]);
    site.hand_over("4.jsonl", lines(&quick[..1], 4, "") + &lines(&held[..1], 4, ""));
    cluster.node(0).turn(Mode::Up);
    place.wait_for_quick(2);
    let status = daemon.status();
    assert_eq!(status["spool"]["active_files"], 2, "{status}");
    assert_eq!(site.names("incoming"), ["4.jsonl"]);
    cluster.node(1).turn(Mode::Up);
    daemon.wait("the fourth is settled", |_| site.is_done("4.jsonl"));
    site.run(&["retry", "3.jsonl"]).code(0);
    daemon.wait("the third is settled", |_| site.is_done("3.jsonl"));
    for ids in [quick, held] {
        place.have(&ids[..1], 4);
        place.have(&ids[1..], 3);
    }
    daemon.stop();
}

#[test]
fn a_delta_that_was_claimed_ahead_is_newer_than_all_before_it_though_the_daemon_dies() {
    // Solr's clock is ahead of ours, and after a restart nobody has heard of it.
    let place = Place::new("batch.docs = 1\n");
    let Place { cluster, site, held, .. } = &place;
    (0..2).for_each(|node| cluster.node(node).set_clock(3_600_000));
    cluster.node(1).turn(Mode::Up);
    cluster.node(1).play([Play::Hold, Play::Hold]);
    let daemon = Daemon::start(site);
    site.hand_over("1.jsonl", lines(&held[..1], 1, ""));
    wait_for("the first is under way", || cluster.node(1).under_way() > 0);
    site.hand_over("2.jsonl", lines(&held[..1], 2, ",\"bad\":1"));
    daemon.wait("the second is claimed", |status| status["spool"]["active_files"] == 2);
    cluster.node(1).release();
    daemon.wait("the first is settled", |_| site.is_done("1.jsonl"));
    wait_for("the second is under way", || cluster.node(1).under_way() > 0);
    daemon.kill();
    cluster.node(1).play_no_more();
    let daemon = Daemon::start(site);
    daemon.wait("the second is settled", |_| site.is_done("2.jsonl"));
    place.have(&held[..1], 1);
    cluster.node(1).mend();
    site.run(&["retry", "2.jsonl"]).code(0);
    nothing_is_left(site);
    place.have(&held[..1], 2);
    daemon.stop();
}

#[test]
fn a_delta_that_is_divided_otherwise_waits_for_those_before_it() {
    for others in ["workers = { count = 3, partition = 'id' }", "workers.count = 2"] {
        let place = Place::new("");
        let Place { cluster, site, quick, held } = &place;
        let daemon = Daemon::start(site);
        site.hand_over("1.jsonl", place.delta(1));
        place.wait_for_quick(1);
        site.configure(others);
        site.run(&["reload"]).code(0);
        site.hand_over("2.jsonl", place.delta(2));
        daemon.wait("the first goes on", |status| {
            status["parent"]["reloads"] == 1 && cluster.node(1).under_way() > 0
        });
        assert_eq!(daemon.status()["spool"]["active_files"], 1);
        assert_eq!(site.names("incoming"), ["2.jsonl"]);
        place.have(quick, 1);
        cluster.node(1).turn(Mode::Up);
        settled(&daemon, 2);
        place.have(quick, 2);
        place.have(held, 2);
        daemon.stop();
    }
}

#[test]
fn where_a_failed_delta_is_to_stop_those_behind_it_none_is_begun() {
    let place = Place::new("spool.on_failed = 'stop'\nspool.max_rejects = 5\n");
    let Place { cluster, site, quick, held } = &place;
    let daemon = Daemon::start(site);
    site.hand_over("1.jsonl", lines(quick, 1, "") + &lines(held, 1, ",\"bad\":1"));
    place.wait_for_quick(1);
    site.hand_over("2.jsonl", place.delta(2));
    daemon.wait("it is seen", |status| status["spool"]["incoming"]["files"] == 1);
    cluster.node(1).turn(Mode::Up);
    daemon.wait("it holds", |status| status["state"] == "holding");
    assert_eq!(
        (site.names("incoming"), site.names("failed")),
        (vec!["2.jsonl".into()], vec!["1.jsonl".into()])
    );
    place.have(quick, 1);
    daemon.stop();
}
