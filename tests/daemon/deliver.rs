//! From `incoming/` into Solr, and what becomes of lines that cannot be delivered.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

#[test]
fn a_delta_by_rename_is_delivered_settled_and_moved_to_done() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);

    let offers = Delta::offers(0..2_500, 100);
    site.hand_over("a.jsonl", &offers.text);
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &offers.docs);

    let mut changes = Delta::offers(1_000..2_000, 200);
    for n in 0..100 {
        changes.delete(&format!("offer-{n:06}"));
    }
    site.hand_over("b.ndjson", &changes.text);
    let status = daemon.wait("b is settled", |status| status["totals"]["deltas"] == 2);
    let mut expected = offers.docs.clone();
    expected.retain(|id, _| id.as_str() >= "offer-000100");
    expected.extend(changes.docs.clone());
    assert_same(&solr.docs(), &expected);

    assert_eq!(site.names("done"), ["a.jsonl", "b.ndjson"]);
    assert_eq!(std::fs::read_to_string(site.spool("done/a.jsonl")).unwrap(), offers.text);
    assert!(
        site.names("active").iter().all(|name| name == ".last-claim"),
        "{:?}",
        site.names("active")
    );
    for folder in ["incoming", "failed", "rejected"] {
        assert_eq!(site.names(folder), [""; 0]);
    }
    assert_eq!(status["spool"]["active"], Value::Null);
    let totals =
        ["lines", "docs", "deletes", "skipped", "rejected"].map(|n| status["totals"][n].as_u64());
    assert_eq!(totals, [3_600, 3_500, 100, 0, 0].map(Some));
    assert_eq!(status["health"]["state"], "ok", "{}", status["health"]);
    let check = site.check_updater(&[]).code(0);
    assert!(
        check.stdout.starts_with("UPDATER OK - 2 of 2 workers, queue 0, lag 0 s | "),
        "{check:?}"
    );
    daemon.stop();
}

#[test]
fn a_delta_written_in_place_waits_for_settle() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '300ms'");
    let daemon = Daemon::start(&site);
    let delta = Delta::offers(0..1_000, 1);
    let (first, rest) = delta.text.as_bytes().split_at(delta.text.len() / 2); // in the middle of a line

    let mut file = site.hand_over_in_place("slow.jsonl");
    file.write_all(first).unwrap();
    daemon.wait("it is seen", |status| status["spool"]["incoming"]["files"] == 1);
    std::thread::sleep(Duration::from_millis(1_000));
    assert_eq!(site.names("incoming"), ["slow.jsonl"], "its writer has not closed it");
    assert_eq!(solr.taken(), 0);

    file.write_all(rest).unwrap();
    drop(file);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(site.rejects("slow.jsonl"), [Value::Null; 0]);
    daemon.stop();
}

#[test]
fn deltas_are_taken_in_name_order() {
    let solr = FakeSolr::in_mode(Mode::Stall);
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let delta = |name: &str| {
        format!("{{\"id\":\"of {name}\"}}\n{{\"id\":\"of all\",\"name_s\":\"{name}\"}}\n")
    };
    site.hand_over("m.jsonl", delta("m"));
    daemon.wait("m is claimed", |status| status["spool"]["active"]["name"] == "m.jsonl");
    for name in ["c", "a", "b"] {
        site.hand_over(&format!("{name}.jsonl"), delta(name));
    }
    daemon.wait("the others wait", |status| status["spool"]["incoming"]["files"] == 3);
    solr.turn(Mode::Up);
    daemon.wait("all are settled", |status| status["totals"]["deltas"] == 4);
    let order: Vec<String> = solr.order().into_iter().filter(|id| id != "of all").collect();
    assert_eq!(order, ["of m", "of a", "of b", "of c"]);
    assert_eq!(solr.docs()["of all"]["name_s"], "c", "the later delta wins");
    daemon.stop();
}

#[test]
fn what_waited_before_the_daemon_started_is_delivered_in_order_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '50ms'");
    for name in ["c", "a", "b"] {
        site.hand_over(&format!("{name}.jsonl"), format!("{{\"id\":\"{name}\"}}\n"));
    }
    let daemon = Daemon::start(&site);
    daemon.wait("all are settled", |status| status["totals"]["deltas"] == 3);
    assert_eq!(solr.order(), ["a", "b", "c"]);
    daemon.stop();
}

#[test]
fn a_name_that_comes_again_overwrites_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    for n in 1..=3 {
        site.hand_over("x.jsonl", format!("{{\"id\":\"{n}\"}}\n"));
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n);
    }
    assert_eq!(site.names("done"), ["x.jsonl", "x~2.jsonl", "x~3.jsonl"]);
    assert_eq!(solr.order(), ["1", "2", "3"]);
    daemon.stop();
}

#[test]
fn a_delta_without_a_line_is_settled_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("empty.jsonl", "");
    site.hand_over("newlines.jsonl", "\n\r\n \t\n");
    let status = daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!(site.names("done"), ["empty.jsonl", "newlines.jsonl"]);
    assert_eq!((solr.taken(), &status["totals"]["rejected"]), (0, &json!(0)));
    daemon.stop();
}

#[test]
fn what_is_no_delta_is_never_read_but_left_and_counted() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let outside = site.path("outside.jsonl");
    std::fs::write(&outside, "{\"id\":\"outside\"}\n").unwrap();
    let daemon = Daemon::start(&site);
    let incoming = |name: &str| site.spool("incoming").join(name);
    std::os::unix::fs::symlink(&outside, incoming("link.jsonl")).unwrap();
    nix::unistd::mkfifo(&incoming("fifo.jsonl"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(incoming("folder.jsonl")).unwrap();
    site.hand_over("table.csv", "id\nx\n");
    site.hand_over("unfinished.jsonl.part", "{}\n");
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    daemon.wait("z is settled", |status| status["totals"]["deltas"] == 1);
    let status = daemon.wait("the others are counted", |status| status["spool"]["ignored"] == 4);
    assert_eq!(status["spool"]["incoming"]["files"], 0);
    assert_eq!(solr.order(), ["z"]);
    assert_eq!(site.names("incoming").len(), 5, "they are left");
    daemon.stop();
}

#[test]
fn what_is_appended_when_a_share_is_in_is_delivered_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '200ms'");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    for n in 0..900 {
        match n % 100 {
            17 | 18 => delta.line("no JSON"),
            _ => delta.doc(json!({"id": n.to_string()})),
        };
    }
    let first = delta.text.match_indices('\n').nth(799).unwrap().0 + 1;
    let workers = daemon.workers();
    workers[1].freeze();
    let hidden = site.spool("incoming").join(".x.jsonl");
    let mut file = std::fs::File::create(&hidden).unwrap();
    file.write_all(&delta.text.as_bytes()[..first]).unwrap();
    std::fs::rename(&hidden, site.spool("incoming/x.jsonl")).unwrap(); // and the writer goes on
    wait_for("one share is delivered", || solr.taken() == 392);
    daemon.wait("and is in", |status| status["workers"][0]["state"] == "idle");
    file.write_all(&delta.text.as_bytes()[first..]).unwrap();
    workers[1].signal(nix::sys::signal::Signal::SIGCONT);

    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(std::fs::read_to_string(site.spool("done/x.jsonl")).unwrap(), delta.text);
    let lines: Vec<u64> =
        site.rejects("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    let told: Vec<u64> = (0..900).filter(|n| matches!(n % 100, 17 | 18)).map(|n| n + 1).collect();
    assert_eq!(lines, told);
    let totals = ["lines", "docs", "rejected"].map(|n| status["totals"][n].as_u64());
    assert_eq!(totals, [900, 882, 18].map(Some));
    assert_eq!(daemon.workers(), workers, "nobody had to die for it");
    daemon.stop();
}

#[test]
fn a_delta_that_is_removed_while_it_is_delivered_blocks_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"a\"}\n");
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);
    solr.turn(Mode::Stall);
    let before = solr.requests();
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
    wait_for("both shares are under way", || solr.requests() >= before + 2);
    std::fs::remove_file(site.spool("active/b.jsonl")).unwrap();
    solr.turn(Mode::Up);
    site.hand_over("d.jsonl", "{\"id\":\"d\"}\n");
    daemon.wait("all are settled", |status| status["totals"]["deltas"] == 3);
    assert_eq!(solr.docs().keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(site.names("done"), ["a.jsonl", "d.jsonl"]);
    let log = std::fs::read_to_string(site.log()).unwrap();
    assert_eq!(log.matches("the delta was removed while it was delivered").count(), 1, "{log}");
    daemon.stop();
}

// --- lines that cannot be delivered -------------------------------------------------------------

/// Its lines, one of each kind of fault among good ones; the last is cut off.
const BAD: [&[u8]; 14] = [
    br#"{"id":"good-1","price_i":1}"#,
    b"",
    br#"{"id":"cut","pri"#,
    br#"{"id":"refused","bad_x":1}"#,
    br#"{"price_i":1}"#,
    br#"{"delete":{"query":"*:*"}}"#,
    b"{\"id\":\"good-2\"}\r",
    b"  \t ",
    br#"["id","a-list"]"#,
    b"{\"id\":\"latin-1\",\"name_s\":\"Gr\xf6\xdfe\"}",
    br#"{"delete":{"id":"old"}}"#,
    br#"{"id":"x"}}},"delete":{"query":"*:*"},"add":{"doc":{"id":"y"}"#,
    b"too long", // see below
    br#"{"id":"last","na"#,
];

#[test]
fn bad_lines_are_rejected_with_their_line_numbers_and_the_rest_is_delivered() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_line = '1KiB'");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":\"old\"}\n");
    daemon.wait("a is settled", |status| status["totals"]["deltas"] == 1);

    let long = format!("{{\"id\":\"long\",\"name_s\":\"{}\"}}", "x".repeat(2_000)).into_bytes();
    let lines: Vec<&[u8]> =
        BAD.iter().map(|line| if *line == b"too long" { &long } else { *line }).collect();
    site.hand_over("b.jsonl", lines.join(&b'\n'));
    let status = daemon.wait("b is settled", |status| status["totals"]["deltas"] == 2);

    assert_eq!(solr.docs().keys().collect::<Vec<_>>(), ["good-1", "good-2"]);
    assert!(site.is_done("b.jsonl"));
    let rejects = site.rejects("b.jsonl");
    let summary: Vec<_> = rejects
        .iter()
        .map(|r| (r["line"].as_u64().unwrap(), r["stage"].as_str().unwrap(), r["id"].as_str()))
        .collect();
    let long = summary.iter().find(|(line, ..)| *line == 13).copied().unwrap_or_default();
    assert_eq!(
        summary,
        [
            (3, "parse", None),
            (4, "solr", Some("refused")),
            (5, "convert", None),
            (6, "convert", None),
            (9, "convert", None),
            (10, "parse", None),
            (12, "parse", None),
            (13, long.1, long.2), // its stage is nobody's promise
            (14, "parse", None),
        ]
    );
    rejects.iter().for_each(|reject| check_form(reject, &lines));
    assert_eq!(rejects[1]["reason"], "ERROR: [doc=refused] unknown field 'bad_x'");
    assert_eq!(rejects[1]["status"], 400);
    assert_eq!(status["totals"]["rejected"], 9);
    // (The monitor looks into the folders by itself.)
    daemon.wait("the folders were looked at", |status| {
        status["spool"]["rejected"] == json!({"files": 1, "lines": 9})
    });
    let check = site.check_updater(&[]).code(1);
    assert!(check.stdout.starts_with("UPDATER WARNING - 9 lines rejected"), "{check:?}");
    daemon.stop();
}

/// As INTERFACE.md has it.
fn check_form(reject: &Value, lines: &[&[u8]]) {
    let line = reject["line"].as_u64().unwrap() as usize;
    let original = lines[line - 1];
    let offset: usize = lines[..line - 1].iter().map(|line| line.len() + 1).sum();
    assert_eq!(reject["offset"], offset as u64, "{reject}");
    assert_eq!(reject["delta"], "b.jsonl");
    assert!(reject["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{reject}");
    assert!(reject["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{reject}");
    let raw = if original.len() > 1024 {
        assert_eq!(reject["length"], original.len() as u64, "{reject}");
        "length"
    } else if std::str::from_utf8(original).is_ok() {
        assert_eq!(reject["raw"].as_str().map(str::as_bytes), Some(original));
        "raw"
    } else {
        assert_eq!(reject["raw_base64"], "eyJpZCI6ImxhdGluLTEiLCJuYW1lX3MiOiJHcvbfZSJ9");
        "raw_base64"
    };
    // Beside what it is, how old it is.
    assert!(reject["as_of"].as_u64() > Some(1 << 50) && reject["claim"] == 2, "{reject}");
    let members = [
        "delta", "line", "offset", "id", "stage", "status", "reason", "attempts", "time", "as_of",
        "claim", raw,
    ];
    let there: BTreeSet<&str> = reject.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(there, BTreeSet::from(members));
}

#[test]
fn many_refused_documents_in_one_batch_are_each_found() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = '50%'");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::default();
    let refused = |n: usize| n % 23 == 5 || (300..320).contains(&n) || n == 0 || n == 1_999;
    for n in 0..2_000 {
        match refused(n) {
            true => delta.line(&format!("{{\"id\":\"{n}\",\"bad_x\":{n}}}")),
            false => delta.doc(json!({"id": n.to_string(), "price_i": n})),
        };
    }
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&solr.docs(), &delta.docs);
    let lines: Vec<u64> =
        site.rejects("x.jsonl").iter().map(|r| r["line"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (0..2_000).filter(|n| refused(*n)).map(|n| n as u64 + 1).collect();
    assert_eq!(lines, expected);
    daemon.stop();
}

#[test]
fn a_delta_with_too_many_rejects_goes_to_failed_and_the_next_is_delivered() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 5");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "{\"id\":1,\"bad_x\":1}\n".repeat(200));
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
    // The folders are looked at from time to time, the counts are as they are.
    let status = daemon.wait("both are settled, and that is seen", |status| {
        status["totals"]["deltas"] == 2 && status["spool"]["failed"] == 1
    });
    assert_eq!(
        (site.names("failed"), site.names("done")),
        (vec!["a.jsonl".into()], vec!["b.jsonl".into()])
    );
    assert_eq!(solr.order(), ["b"]);
    assert_eq!(status["state"], "running");
    site.check_updater(&[]).code(1).says("1 delta failed");
    daemon.stop();
}

#[test]
fn after_a_failed_delta_the_daemon_holds_if_it_is_told_so() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 5\nspool.on_failed = 'stop'");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", "no JSON\n".repeat(200));
    daemon.wait("it holds", |status| status["state"] == "holding");
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
    daemon.wait("b is seen", |status| status["spool"]["incoming"]["files"] == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        (site.names("failed"), site.names("incoming")),
        (vec!["a.jsonl".into()], vec!["b.jsonl".into()])
    );
    site.check_updater(&["-v"]).code(1).says("holding");
    daemon.stop();
}
