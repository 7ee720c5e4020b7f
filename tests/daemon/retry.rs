//! `retry`: rejected lines and the rest of failed deltas, once more, and never over what is newer.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, ask, assert_same, wait_for};

#[track_caller]
fn control(site: &Site, words: &str) -> Value {
    ask(&site.control_socket(), words).expect("the daemon answers")
}

/// How often each id was taken that was taken more than once.
fn twice(solr: &FakeSolr) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    solr.order().into_iter().for_each(|id| *times.entry(id).or_insert(0) += 1);
    times.retain(|_, times| *times > 1);
    times
}

/// Waits until so many deltas, or parts of them, are settled.
#[track_caller]
fn settled(daemon: &Daemon, count: u64) -> Value {
    daemon.wait("they are settled", |status| {
        status["totals"]["deltas"] == count && status["spool"]["active"].is_null()
    })
}

/// The history's entries with this outcome, the newest first: name, lines, docs, superseded, rejected.
fn history(site: &Site, outcome: &str) -> Vec<(String, [u64; 4])> {
    let answer = control(site, "history");
    let entries = answer["history"].as_array().unwrap().iter();
    let facts =
        |e: &Value| ["lines", "docs", "superseded", "rejected"].map(|n| e[n].as_u64().unwrap());
    let name = |e: &Value| e["name"].as_str().unwrap().to_owned();
    entries.filter(|e| e["outcome"] == outcome).map(|e| (name(e), facts(e))).collect()
}

/// Good lines and, from 1 on, so many that are refused after every tenth.
fn with_bad_lines(lines: usize, every: usize) -> Delta {
    let mut delta = Delta::default();
    for n in 0..lines {
        match n % every {
            7 => delta.line(&json!({"id": format!("bad-{n}"), "bad_i": n}).to_string()),
            _ => delta.doc(json!({"id": format!("d{n}"), "price_i": n})),
        };
    }
    delta
}

#[test]
fn a_line_that_fails_again_is_back_once_with_its_number_and_one_attempt_more() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let mut delta = with_bad_lines(500, 100);
    delta.line("no JSON");
    site.hand_over("x.jsonl", &delta.text);
    settled(&daemon, 1);
    let first = site.rejects("x.jsonl");
    let facts = |all: &[Value]| -> Vec<[Value; 4]> {
        all.iter().map(|r| ["delta", "line", "id", "raw"].map(|n| r[n].clone())).collect()
    };
    assert_eq!(first.len(), 6);
    for round in 1..=2 {
        site.run(&["retry", "x.jsonl"]).code(0).says("the rejected lines of 1 delta");
        settled(&daemon, 1 + round);
        let again = site.rejects("x.jsonl");
        assert_eq!(facts(&again), facts(&first));
        for (again, first) in again.iter().zip(&first) {
            let attempts = |r: &Value| r["attempts"].as_u64().unwrap();
            assert_eq!(attempts(again), attempts(first) + round, "{again}");
            assert_eq!((&again["as_of"], &again["claim"]), (&first["as_of"], &first["claim"]));
        }
    }
    assert_eq!(history(&site, "retried"), vec![("x.jsonl".into(), [6, 0, 0, 6]); 2]);
    daemon.wait("it is seen", |status| status["spool"]["rejected"]["lines"] == 6);
    site.check_updater(&[]).code(1).says("6 lines rejected");
    // Mended, they go in, and nothing is left.
    solr.mend();
    site.run(&["retry", "--all"]).code(0);
    let status = settled(&daemon, 4);
    assert_eq!(site.rejects("x.jsonl").len(), 1, "no schema makes JSON of that");
    assert_eq!((solr.docs().len(), twice(&solr).len()), (500, 0));
    assert_eq!(status["totals"]["rejected"], 6 + 6 + 6 + 1);
    let lines = ["docs", "rejected", "superseded"].map(|n| status["totals"][n].as_u64().unwrap());
    assert_eq!(status["totals"]["lines"], lines.iter().sum::<u64>());
    daemon.wait("it is seen", |status| status["spool"]["rejected"]["lines"] == 1);
    site.run(&["drop", "x.jsonl"]).code(0);
    daemon.wait("it is seen", |status| status["spool"]["rejected"]["lines"] == 0);
    site.check_updater(&[]).code(0);
    assert_eq!(site.names("active"), [".last-claim"]);
    daemon.stop();
}

#[test]
fn a_newer_document_is_not_overwritten_but_counted() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let line = |id: &str, more: &str| format!("{{\"id\":\"{id}\"{more}}}\n");
    let old = ["newer", "foreign", "same", "absent", "deleted"];
    let before: String = ["newer", "foreign", "same"].map(|id| line(id, ",\"p\":0")).concat();
    site.hand_over("a.jsonl", before);
    settled(&daemon, 1);
    let bad: String = old.map(|id| line(id, ",\"p\":1,\"bad\":1")).concat();
    let delete = "{\"delete\":{\"id\":\"gone\"}}\n";
    site.hand_over("b.jsonl", bad + delete);
    settled(&daemon, 2);
    site.hand_over("c.jsonl", line("newer", ",\"p\":2") + &line("deleted", ""));
    settled(&daemon, 3);
    solr.write("foreign", json!({"id": "foreign", "p": 3}));
    solr.mend();
    site.run(&["retry", "b.jsonl"]).code(0);
    let status = settled(&daemon, 4);
    assert_eq!(history(&site, "retried"), [("b.jsonl".into(), [5, 2, 3, 0])]);
    assert_eq!(status["totals"]["superseded"], 3);
    let docs = solr.docs();
    assert_eq!(
        ["newer", "foreign", "same", "absent"].map(|id| docs[id]["p"].clone()),
        [2, 3, 1, 1].map(Value::from)
    );
    assert_eq!(site.names("rejected"), [""; 0]);
    assert!(solr.looked_up() >= 1);
    daemon.stop();
}

#[test]
fn what_is_forced_goes_over_what_is_newer() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"x\",\"p\":1,\"bad\":1}\n{\"id\":\"y\"}\n");
    settled(&daemon, 1);
    site.hand_over("b.jsonl", "{\"id\":\"x\",\"p\":2}\n");
    settled(&daemon, 2);
    // It fails once more, and remembers that it was forced.
    assert_eq!(
        control(&site, "retry a.jsonl --force"),
        json!({"ok": true, "retry": {"deltas": 0, "rejects": 1}})
    );
    settled(&daemon, 3);
    assert_eq!((site.rejects("a.jsonl").len(), solr.looked_up()), (1, 0));
    solr.mend();
    site.run(&["retry", "a.jsonl"]).code(0);
    settled(&daemon, 4);
    assert_eq!(solr.docs()["x"]["p"], 1, "forced, it was the newest word");
    daemon.stop();
}

#[test]
fn of_old_lines_the_later_ones_win_whatever_is_retried_first() {
    for order in [
        ["a.jsonl", "b.jsonl", "c.jsonl"],
        ["c.jsonl", "b.jsonl", "a.jsonl"],
        ["b.jsonl", "c.jsonl", "a.jsonl"],
    ] {
        let solr = FakeSolr::up();
        let site = Site::new(solr.url());
        site.configure("spool.max_rejects = 50\nbatch.docs = 20");
        let daemon = Daemon::start(&site);
        // Rejected in a, all failed in b, rejected in c: the same ids in each.
        let ids = 0..200;
        let lines = |p: u32, bad: &dyn Fn(u32) -> bool| -> String {
            let line = |n: u32| match bad(n) {
                true => format!("{{\"id\":\"i{n}\",\"p\":{p},\"bad\":1}}\n"),
                false => format!("{{\"id\":\"i{n}\",\"p\":{p}}}\n"),
            };
            ids.clone().map(line).collect()
        };
        site.hand_over("a.jsonl", lines(1, &|n| n % 5 == 0));
        site.hand_over("b.jsonl", lines(2, &|_| true));
        site.hand_over("c.jsonl", lines(3, &|n| n % 5 == 0));
        settled(&daemon, 3);
        assert!(site.names("failed").contains(&"b.jsonl".to_owned()));
        assert!(solr.docs().values().all(|doc| doc["p"] != 2));
        solr.mend();
        for (n, name) in order.into_iter().enumerate() {
            site.run(&["retry", name]).code(0);
            wait_for("nothing of it is left", || {
                let rejects = site.spool(format!("rejected/{name}.rejected.jsonl"));
                let failed = site.spool("failed").join(name);
                let is_claimed = site.names("active").iter().any(|n| n.starts_with(".claim-"));
                !rejects.exists() && !failed.exists() && !is_claimed
            });
            daemon.wait("it is settled", |status| {
                status["spool"]["active"].is_null()
                    && status["totals"]["deltas"].as_u64() > Some(3 + n as u64)
            });
        }
        let wrong: Vec<_> = solr.docs().into_iter().filter(|(_, doc)| doc["p"] != 3).collect();
        assert_eq!(wrong, [], "{order:?}");
        assert_eq!((site.names("failed"), site.names("rejected")), (vec![], vec![]));
        daemon.stop();
    }
}

#[test]
fn a_mistake_in_the_schema_stops_a_delta_early_and_mended_all_of_it_is_delivered_once() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 100");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    for n in 0..30_000 {
        // A thousand mistakes in a row, and good lines behind them.
        let mistake = (4_000..5_000).contains(&n);
        let member = if mistake { "bad_i" } else { "price_i" };
        delta.doc(json!({"id": format!("d{n}"), member: n}));
    }
    site.hand_over("x.jsonl", &delta.text);
    let status = settled(&daemon, 1);
    assert_eq!(site.names("failed"), ["x.jsonl"]);
    let rejected = site.rejects("x.jsonl").len();
    // A tenth of the lines that were done by then: a batch may be done before those ahead of it.
    assert!((100..1_000).contains(&rejected), "{rejected}");
    assert!(solr.taken() < 29_000, "it was stopped early");
    assert_eq!(status["totals"]["rejected"], rejected);
    assert_eq!(status["totals"]["docs"], solr.taken(), "what was confirmed is counted");
    let said = control(&site, "history 1")["history"][0]["reason"].clone();
    assert!(said.as_str().unwrap().contains("more than max_rejects = \"10%\""), "{said}");
    // Not mended yet: it stops again, and the rejects of both runs are there, each once.
    site.run(&["retry", "x.jsonl"]).code(0).says("1 failed delta, the rejected lines of 1 delta");
    settled(&daemon, 3);
    let rejects = site.rejects("x.jsonl");
    let mut lines: Vec<u64> = rejects.iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert!(lines.is_sorted() && lines.iter().all(|line| (4_001..=5_000).contains(line)));
    let count = lines.len();
    lines.dedup();
    assert_eq!((lines.len(), count >= rejected), (count, true));

    solr.mend();
    site.run(&["retry", "--all"]).code(0);
    wait_for("all of it is delivered", || {
        site.is_done("x.jsonl")
            && site.names("rejected").is_empty()
            && site.names("active") == [".last-claim"]
    });
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(twice(&solr), BTreeMap::new(), "nothing was delivered twice");
    let status = daemon.status();
    assert_eq!(
        (&status["totals"]["docs"], &status["totals"]["superseded"]),
        (&json!(30_000), &json!(0))
    );
    assert_eq!(site.names("failed"), [""; 0]);
    daemon.wait("it is seen", |status| status["health"]["state"] == "ok");
    daemon.stop();
}

#[test]
fn what_is_retried_waits_among_the_others_by_its_name() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let delta = |name: &str| format!("{{\"id\":\"of {name}\"}}\n");
    site.hand_over("b.jsonl", "{\"id\":\"of b\",\"bad\":1}\n");
    site.hand_over("d.jsonl", "no JSON\n");
    settled(&daemon, 2);
    solr.turn(Mode::Stall);
    site.hand_over("m.jsonl", delta("m"));
    daemon.wait("m is claimed", |status| status["spool"]["active"]["name"] == "m.jsonl");
    for name in ["a", "c", "e"] {
        site.hand_over(&format!("{name}.jsonl"), delta(name));
    }
    daemon.wait("they wait", |status| status["spool"]["incoming"]["files"] == 3);
    site.run(&["retry", "--all"]).code(0);
    solr.mend();
    solr.turn(Mode::Up);
    settled(&daemon, 8);
    let order: Vec<String> = solr.order().into_iter().filter(|id| id.starts_with("of ")).collect();
    assert_eq!(order, ["of m", "of a", "of b", "of c", "of e"]);
    daemon.stop();
}

#[test]
fn what_waits_to_be_retried_is_known_after_a_restart_and_may_be_cancelled() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    for name in ["x.jsonl", "y.jsonl"] {
        site.hand_over(name, format!("{{\"id\":\"{name}\",\"bad\":1}}\n"));
    }
    settled(&daemon, 2);
    solr.turn(Mode::Stall);
    site.hand_over("a.jsonl", "{\"id\":\"a\"}\n");
    daemon.wait("a is claimed", |status| status["spool"]["active"]["name"] == "a.jsonl");
    site.run(&["retry", "--all"]).code(0).says("the rejected lines of 2 deltas");
    site.run(&["cancel", "y.jsonl"]).code(0);
    assert_eq!(site.rejects("y.jsonl").len(), 1, "it stays what it was");
    daemon.kill();
    solr.turn(Mode::Up);
    solr.mend();
    let daemon = Daemon::start(&site);
    settled(&daemon, 2);
    assert_eq!(solr.ids(), ["a", "x.jsonl"]);
    let rejected = site.names("rejected");
    assert_eq!(rejected, ["y.jsonl.rejected.jsonl"]);
    daemon.stop();
}

#[test]
fn a_retry_that_is_cancelled_puts_back_what_was_not_tried() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 10\nspool.max_rejects = 100000");
    let daemon = Daemon::start(&site);
    let delta: String = (0..3_000).map(|n| format!("{{\"id\":\"i{n:04}\",\"bad\":1}}\n")).collect();
    site.hand_over("x.jsonl", &delta);
    settled(&daemon, 1);
    assert_eq!(site.rejects("x.jsonl").len(), 3_000);
    solr.mend();
    solr.turn(Mode::Slow(Duration::from_millis(5)));
    site.run(&["retry", "x.jsonl"]).code(0);
    wait_for("it is under way", || solr.taken() > 300);
    site.run(&["cancel", "x.jsonl"]).code(0);
    let taken = solr.ids();
    assert!(taken.len() < 2_900, "it was over too soon");
    let left: Vec<String> = site
        .rejects("x.jsonl")
        .iter()
        .map(|r| r["raw"].as_str().unwrap()[7..12].to_owned())
        .collect();
    let mut all: Vec<&String> = taken.iter().chain(&left).collect();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), taken.len() + left.len()), (3_000, 3_000), "each is in one place");
    assert_eq!(site.names("failed"), [""; 0]);
    assert_eq!(history(&site, "cancelled")[0].1[1], taken.len() as u64);
    solr.turn(Mode::Up);
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 3);
    assert_eq!((solr.ids().len(), twice(&solr).len()), (3_000, 0));
    assert_eq!(site.names("rejected"), [""; 0]);
    daemon.stop();
}

#[test]
fn a_line_that_was_too_long_is_delivered_when_it_may_be() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    // Nothing is to be kept, but what holds a line that is nowhere else.
    let keep = "spool.keep = { files = 0, age = '7d', bytes = '10GiB' }";
    site.configure(&format!("spool.max_line = '2KiB'\n{keep}"));
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    for n in 0..10 {
        let name = "x".repeat(if n % 4 == 1 { 3_000 } else { 10 });
        delta.doc(json!({"id": format!("d{n}"), "name_s": name}));
    }
    site.hand_over("x.jsonl", &delta.text);
    site.hand_over("y.jsonl", "{\"id\":\"y\"}\n");
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    settled(&daemon, 3);
    assert!(site.is_done("x.jsonl") && !site.is_done("y.jsonl"), "{:?}", site.names("done"));
    let told: Vec<[Value; 3]> = site
        .rejects("x.jsonl")
        .iter()
        .map(|r| ["line", "length", "raw"].map(|n| r[n].clone()))
        .collect();
    assert_eq!(
        told.iter().map(|t| t[0].as_u64()).collect::<Vec<_>>(),
        [Some(2), Some(6), Some(10)]
    );
    assert!(told.iter().all(|t| t[1].as_u64() > Some(3_000) && t[2].is_null()), "{told:?}");
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 4);
    let again = site.rejects("x.jsonl");
    assert_eq!((again.len(), &again[0]["attempts"]), (3, &json!(1)));
    site.configure(&format!("spool.max_line = '4KiB'\n{keep}"));
    site.run(&["reload"]).code(0);
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 5);
    let mut docs = solr.docs();
    docs.retain(|id, _| id.starts_with('d'));
    assert_same(&docs, &delta.docs);
    assert_eq!(site.names("rejected"), [""; 0], "nor a mark");
    site.hand_over("w.jsonl", "{\"id\":\"w\"}\n");
    settled(&daemon, 6);
    assert!(!site.is_done("x.jsonl"), "it is needed no more");
    daemon.stop();
}

#[test]
fn what_changes_in_the_moment_of_the_retry_wins() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"x\",\"p\":0}\n{\"id\":\"y\",\"p\":0}\n");
    settled(&daemon, 1);
    site.hand_over(
        "b.jsonl",
        "{\"id\":\"x\",\"p\":1,\"bad\":1}\n{\"id\":\"y\",\"p\":1,\"bad\":1}\n",
    );
    settled(&daemon, 2);
    solr.mend();
    solr.turn(Mode::Hold);
    site.run(&["retry", "b.jsonl"]).code(0);
    wait_for("the versions are read, and it is sent", || {
        solr.looked_up() > 0 && solr.under_way() > 0
    });
    solr.write("x", json!({"id": "x", "p": 2}));
    solr.turn(Mode::Up);
    settled(&daemon, 3);
    let docs = solr.docs();
    assert_eq!((&docs["x"]["p"], &docs["y"]["p"]), (&json!(2), &json!(1)));
    assert_eq!(history(&site, "retried"), [("b.jsonl".into(), [2, 1, 1, 0])]);
    daemon.stop();
}

#[test]
fn an_answer_that_was_lost_is_no_newer_document() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.count = 1");
    let daemon = Daemon::start(&site);
    let delta: String = (0..50).map(|n| format!("{{\"id\":\"i{n}\",\"bad\":1}}\n")).collect();
    site.hand_over("x.jsonl", delta + "{\"id\":\"ok\"}\n");
    settled(&daemon, 1);
    solr.mend();
    solr.play([fake_solr::Play::CloseAfter]);
    site.run(&["retry", "x.jsonl"]).code(0);
    let status = settled(&daemon, 2);
    assert_eq!(history(&site, "retried"), [("x.jsonl".into(), [50, 50, 0, 0])]);
    assert_eq!((&status["totals"]["superseded"], twice(&solr).len()), (&json!(0), 0));
    daemon.stop();
}

#[test]
fn whoever_dies_while_rejects_are_retried_none_is_lost_and_none_doubled() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 10\nspool.max_rejects = 100000\nworkers.count = 2");
    let mut daemon = Daemon::start(&site);
    // Every third stays bad for ever: no schema makes JSON of it.
    let line = |n: usize| match n % 3 {
        0 => format!("{{\"id\":\"i{n:05}\n"),
        _ => format!("{{\"id\":\"i{n:05}\",\"bad\":1}}\n"),
    };
    let count = 2_000;
    site.hand_over("x.jsonl", (0..count).map(line).collect::<String>());
    settled(&daemon, 1);
    assert_eq!(site.rejects("x.jsonl").len(), count);
    for round in 0..15u64 {
        solr.turn(Mode::Slow(Duration::from_millis(2)));
        if round == 10 {
            solr.mend();
        }
        site.run(&["retry", "x.jsonl"]).code(0);
        std::thread::sleep(Duration::from_millis(round * 29 % 200));
        match round % 3 {
            0 => daemon.workers()[0].signal(Signal::SIGKILL),
            1 => daemon.monitor().signal(Signal::SIGKILL),
            _ => {
                daemon.kill();
                daemon = Daemon::start(&site);
            }
        }
        solr.turn(Mode::Up);
        daemon.wait("it is settled", |status| {
            status["spool"]["active"].is_null() && site.names("active") == [".last-claim"]
        });
        let left = site.rejects("x.jsonl");
        let mut lines: Vec<u64> = left.iter().map(|r| r["line"].as_u64().unwrap()).collect();
        let delivered = solr.ids().len();
        assert_eq!(lines.len() + delivered, count, "round {round}");
        assert!(lines.is_sorted(), "round {round}");
        lines.dedup();
        assert_eq!(lines.len() + delivered, count, "round {round}: none twice");
        if round >= 10 {
            assert_eq!(delivered, count - count.div_ceil(3));
        }
    }
    assert_eq!(twice(&solr), BTreeMap::new(), "a guarded line is applied once, whoever dies");
    daemon.stop();
}

#[test]
fn without_a_daemon_it_is_done_at_once_and_the_exit_code_says_what_came_of_it() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let mut delta = with_bad_lines(100, 50);
    delta.line("no JSON");
    site.hand_over("x.jsonl", &delta.text);
    site.hand_over("y.jsonl", "{\"id\":\"y\",\"bad\":1}\n");
    settled(&daemon, 2);
    daemon.stop();
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    let run = site.run(&["retry", "x.jsonl"]).code(1);
    assert!(
        run.stdout.contains("x.jsonl: rejected lines retried: 3 lines, 0 documents"),
        "{run:?}"
    );
    assert!(run.stdout.contains("0 superseded, 3 rejected"), "{run:?}");
    solr.mend();
    site.run(&["retry", "y.jsonl"])
        .code(0)
        .says("y.jsonl: rejected lines retried: 1 lines, 1 documents");
    site.run(&["retry", "--all"]).code(1).says("2 documents, 0 deletes, 0 superseded, 1 rejected");
    assert_eq!((solr.docs().len(), site.names("incoming")), (101, vec!["z.jsonl".to_owned()]));
    let history = site.run(&["history"]).code(0).stdout;
    assert_eq!(history.matches("retried").count(), 3, "{history}");
    site.run(&["retry", "y.jsonl"]).code(1).says("nothing of it is in rejected/");
    // Where nobody answers, it says so, and nothing is lost.
    solr.turn(Mode::Down);
    site.run(&["retry", "x.jsonl"]).code(1).says("connection refused");
    assert_eq!(site.rejects("x.jsonl").len(), 1);
    solr.turn(Mode::Up);
    site.run(&["drop", "--all"]).code(0);
    site.run(&["retry", "--all"]).code(0).says("nothing to be retried");
}

#[test]
fn nobody_goes_on_with_what_he_does_not_know_unless_he_is_forced() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    std::fs::write(site.spool("failed/x.jsonl"), "{\"id\":\"x\"}\n").unwrap();
    site.run(&["retry", "x.jsonl"]).code(1).says("solr-updater retry --force x.jsonl");
    assert_eq!(control(&site, "retry x.jsonl")["error"]["code"], "unknown_progress");
    assert_eq!(solr.taken(), 0);
    site.run(&["retry", "x.jsonl", "--force"]).code(0);
    settled(&daemon, 1);
    assert_eq!((solr.ids(), site.is_done("x.jsonl")), (vec!["x".to_owned()], true));
    for arguments in [&["retry"][..], &["retry", "--force"], &["retry", "x.jsonl", "--all"]] {
        site.run(arguments).code(2);
    }
    site.run(&["retry", "nobody.jsonl"]).code(1).says("`solr-updater history`");
    assert_eq!(
        ask(&site.status_socket(), "retry --all").unwrap()["error"]["code"],
        "not_permitted"
    );
    daemon.stop();
}

/// One counting line for each of twenty documents.
fn count_up(more: &str) -> String {
    (0..20).map(|n| format!("{{\"id\":\"c{n}\",\"n\":{{\"inc\":1}}{more}}}\n")).collect()
}

fn counts(solr: &FakeSolr) -> Vec<Value> {
    solr.docs().values().map(|doc| doc["n"].clone()).collect()
}

/// After an answer that was lost nobody asks again before the test is over.
const PATIENT: &str = "workers.count = 1\nretry = { first = '10m', most = '10m' }";

/// A second delta that counts, b.jsonl, is carried out, and nobody has heard of it.
fn counted_without_an_answer() -> (FakeSolr, Site, Daemon) {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(PATIENT);
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", count_up(""));
    settled(&daemon, 1);
    solr.play([fake_solr::Play::CloseAfter]);
    site.hand_over("b.jsonl", count_up(""));
    wait_for("it is carried out", || solr.taken() == 40);
    (solr, site, daemon)
}

#[test]
fn what_counts_is_counted_once_though_its_delta_was_given_up_without_an_answer() {
    let (solr, site, daemon) = counted_without_an_answer();
    daemon.kill();
    // Given up by whoever has heard of no version since: all that is there is older, for him.
    solr.turn(Mode::Down);
    let daemon = Daemon::start(&site);
    daemon.wait("it is taken up", |status| status["spool"]["active"]["name"] == "b.jsonl");
    site.run(&["cancel", "b.jsonl"]).code(0);
    daemon.stop();
    solr.turn(Mode::Up);
    let daemon = Daemon::start(&site);
    site.run(&["retry", "b.jsonl"]).code(0);
    settled(&daemon, 1);
    assert_eq!(counts(&solr), vec![json!(2); 20]);
    assert_eq!(history(&site, "done")[0], ("b.jsonl".into(), [20, 20, 0, 0]));
    daemon.stop();
}

#[test]
fn what_counts_is_counted_once_though_its_delta_grew_before_it_was_given_up() {
    let (solr, site, daemon) = counted_without_an_answer();
    let mut file =
        std::fs::File::options().append(true).open(site.spool("active/b.jsonl")).unwrap();
    std::io::Write::write_all(&mut file, b"{\"id\":\"more\",\"n\":{\"inc\":2}}\n").unwrap();
    site.run(&["cancel", "b.jsonl"]).code(0);
    daemon.stop();
    let daemon = Daemon::start(&site);
    site.run(&["retry", "b.jsonl"]).code(0);
    settled(&daemon, 1);
    assert_eq!(counts(&solr), vec![json!(2); 21]);
    daemon.stop();
}

#[test]
fn what_counts_is_counted_once_though_its_retry_was_given_up_without_an_answer() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(PATIENT);
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", count_up(",\"bad\":1"));
    settled(&daemon, 1);
    solr.mend();
    solr.play([fake_solr::Play::CloseAfter]);
    site.run(&["retry", "a.jsonl"]).code(0);
    wait_for("it is carried out", || solr.taken() == 20);
    site.run(&["cancel", "a.jsonl"]).code(0);
    assert_eq!(site.rejects("a.jsonl").len(), 20);
    daemon.stop();
    let daemon = Daemon::start(&site);
    site.run(&["retry", "a.jsonl"]).code(0);
    wait_for("nothing is left", || {
        site.names("rejected").is_empty() && site.names("active") == [".last-claim"]
    });
    assert_eq!(counts(&solr), vec![json!(1); 20]);
    daemon.stop();
}

#[test]
fn a_delta_that_is_divided_by_its_ids_goes_on_as_it_was_divided() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(5)));
    let site = Site::new(solr.url());
    let by_id = "batch.docs = 20\nworkers.partition = 'id'";
    site.configure(&format!("{by_id}\nworkers.count = 3"));
    let daemon = Daemon::start(&site);
    // Each id has three lines: the last one wins, and none is delivered after it.
    let (mut text, mut last) = (String::new(), Delta::default());
    for round in 0..3 {
        for n in 0..1_500 {
            let doc = json!({"id": format!("d{n}"), "round_i": round});
            text += &format!("{doc}\n");
            last.doc(doc);
        }
    }
    site.hand_over("x.jsonl", &text);
    wait_for("it is under way", || solr.taken() > 2_000);
    site.run(&["cancel", "x.jsonl"]).code(0);
    let so_far = solr.taken();
    assert!(so_far < 4_400, "it was over too soon: {so_far}");
    site.configure("batch.docs = 20\nworkers.count = 2");
    site.run(&["reload"]).code(0);
    solr.turn(Mode::Up);
    site.run(&["retry", "x.jsonl"]).code(0);
    daemon.wait("it is settled", |_| site.is_done("x.jsonl"));
    assert_same(&solr.docs(), &last.docs);
    assert_eq!(solr.taken(), 4_500, "each line once");
    daemon.stop();
}

#[test]
fn of_the_rejected_lines_of_one_document_the_last_wins() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(
        "workers.partition = 'id'\nworkers.count = 3\nspool.max_rejects = 10000\nbatch.docs = 7",
    );
    let daemon = Daemon::start(&site);
    let line = |n: u32| format!("{{\"id\":\"d{}\",\"p\":{n},\"bad\":1}}\n", n % 50);
    site.hand_over("x.jsonl", (0..200).map(line).collect::<String>());
    settled(&daemon, 1);
    assert_eq!(site.rejects("x.jsonl").len(), 200);
    solr.mend();
    site.run(&["retry", "x.jsonl"]).code(0);
    settled(&daemon, 2);
    let prices: Vec<u64> = solr.docs().values().map(|doc| doc["p"].as_u64().unwrap()).collect();
    assert!(prices.len() == 50 && prices.iter().all(|p| *p >= 150), "{prices:?}");
    assert_eq!(history(&site, "retried"), [("x.jsonl".into(), [200, 200, 0, 0])]);
    daemon.stop();
}

#[test]
fn whoever_goes_on_with_a_retry_knows_what_it_has_written_before() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.partition = 'id'\nspool.max_rejects = 10000\nbatch.docs = 7");
    let mut daemon = Daemon::start(&site);
    let line = |n: u32| format!("{{\"id\":\"d{}\",\"p\":{n},\"bad\":1}}\n", n % 40);
    site.hand_over("x.jsonl", (0..240).map(line).collect::<String>());
    settled(&daemon, 1);
    solr.mend();
    solr.turn(Mode::Slow(Duration::from_millis(20)));
    site.run(&["retry", "x.jsonl"]).code(0);
    wait_for("it is under way", || solr.taken() > 70);
    site.run(&["reload"]).code(0); // who had it leaves a checkpoint
    wait_for("another goes on", || solr.taken() > 140);
    daemon.kill();
    solr.turn(Mode::Up);
    daemon = Daemon::start(&site);
    settled(&daemon, 1);
    let prices: Vec<u64> = solr.docs().values().map(|doc| doc["p"].as_u64().unwrap()).collect();
    assert!(prices.len() == 40 && prices.iter().all(|p| *p >= 200), "{prices:?}");
    assert_eq!(history(&site, "retried"), [("x.jsonl".into(), [240, 240, 0, 0])]);
    assert_eq!(site.names("rejected"), [""; 0]);
    daemon.stop();
}

#[test]
fn a_retry_without_a_daemon_that_is_interrupted_does_not_say_that_all_is_well() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("batch.docs = 5\nspool.max_rejects = 1000");
    let daemon = Daemon::start(&site);
    let bad: String = (0..400).map(|n| format!("{{\"id\":\"b{n}\",\"bad\":1}}\n")).collect();
    site.hand_over("b.jsonl", bad);
    settled(&daemon, 1);
    solr.turn(Mode::Stall);
    site.hand_over("a.jsonl", "{\"id\":\"a\"}\n");
    daemon.wait("it is claimed", |status| status["spool"]["active"]["name"] == "a.jsonl");
    daemon.kill();
    solr.mend();
    solr.turn(Mode::Slow(Duration::from_millis(30)));
    // What the last daemon had begun comes first, and is done.
    let mut retry = site.command(&["retry", "b.jsonl"]).spawn().unwrap();
    wait_for("it is under way", || site.is_done("a.jsonl") && solr.taken() > 20);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(retry.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(retry.wait().unwrap().code(), Some(1));
    assert!(site.names("active").contains(&".retry~b.jsonl".to_owned()), "it was over too soon");
    site.run(&["retry", "--all"]).code(0).says("b.jsonl: rejected lines retried");
    assert_eq!(solr.docs().len(), 401);
}
