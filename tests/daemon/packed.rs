//! Compressed deltas, gzip and zstd: delivered as their text is, whatever dies and whatever their
//! producers do; and what is damaged is told, however late that is found.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use fake_solr::FakeCluster;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

const SLOW: Mode = Mode::Slow(Duration::from_millis(20));
/// Looked at soon.
const SOON: &str = "spool.settle = '100ms'\nspool.poll = '200ms'\n";
/// What makes a member or a frame of a text.
type Pack = fn(&str) -> Vec<u8>;
/// As `gzip` and as `zstd` do it.
const BOTH: [(&str, Pack); 2] = [("gz", gzip), ("zst", zstd)];

/// One member.
fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// One frame, with a checksum.
fn zstd(text: &str) -> Vec<u8> {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packed.include_checksum(true).unwrap();
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// In two parts, and in the middle of a line.
fn in_two(pack: Pack, text: &str) -> Vec<u8> {
    let (first, second) = text.split_at(text[..text.len() / 2].rfind(',').unwrap());
    [pack(first), pack(second)].concat()
}

fn settled(daemon: &Daemon, deltas: u64) -> Value {
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == deltas)
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.log()).unwrap()
}

/// Begins a file of which the producer still has the descriptor when it is renamed.
fn hand_over_open(site: &Site, name: &str, bytes: &[u8]) -> File {
    let hidden = site.spool("incoming").join(format!(".{name}"));
    let mut file = File::create(&hidden).unwrap();
    file.write_all(bytes).unwrap();
    std::fs::rename(hidden, site.spool("incoming").join(name)).unwrap();
    file
}

#[test]
fn a_compressed_delta_is_delivered_as_its_text_is() {
    for (ending, pack) in BOTH {
        for partition in ["line", "id"] {
            let solr = FakeSolr::up();
            let site = Site::new(solr.url());
            site.configure(&format!("workers.partition = '{partition}'"));
            let daemon = Daemon::start(&site);
            let mut delta = Delta::offers(0..5_000, 1);
            delta.delete("nobody").line("no JSON").line("");
            let begin = delta.text.find("no JSON").unwrap();
            let packed = in_two(pack, &delta.text);
            let name = format!("x.jsonl.{ending}");
            site.hand_over(&name, &packed);
            let status = settled(&daemon, 1);
            assert_same(&solr.docs(), &delta.docs);
            assert_eq!(status["totals"]["lines"], delta.lines);
            assert_eq!(status["totals"]["bytes_read"], delta.text.len(), "of text");
            assert_eq!(std::fs::read(site.spool("done").join(&name)).unwrap(), packed);
            let rejects = site.rejects(&name);
            assert_eq!(rejects.len(), 1);
            assert_eq!(
                (&rejects[0]["line"], &rejects[0]["offset"]),
                (&json!(5_002), &json!(begin))
            );
            // A name that comes again is numbered before all of its ending; nothing in it is no error.
            site.hand_over(&name, pack(""));
            settled(&daemon, 2);
            assert_eq!(site.names("done"), [name.as_str(), &format!("x~2.jsonl.{ending}")]);
            // What the reject file is called says nothing of how it is compressed.
            site.run(&["retry", &name]).code(0);
            settled(&daemon, 3);
            assert_eq!(site.rejects(&name)[0]["attempts"], 1);
            daemon.stop();
        }
    }
}

#[test]
fn a_killed_worker_of_a_compressed_delta_loses_no_line_and_counts_none_twice() {
    for (ending, pack) in BOTH {
        let solr = FakeSolr::in_mode(SLOW);
        let site = Site::new(solr.url());
        site.configure("batch.docs = 50");
        let daemon = Daemon::start(&site);
        let delta = Delta::offers(0..15_000, 2);
        site.hand_over(&format!("x.json.{ending}"), in_two(pack, &delta.text));
        for kill in 1..=4 {
            let so_far = delta.lines * kill / 6;
            wait_for("the delta is so far", || solr.taken() >= so_far);
            daemon.workers()[kill % 2].signal(Signal::SIGKILL);
        }
        let status = settled(&daemon, 1);
        assert_same(&solr.docs(), &delta.docs);
        assert_eq!(status["totals"]["worker_deaths"], 4);
        assert_eq!(status["totals"]["lines"], delta.lines);
        assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
        daemon.stop();
    }
}

#[test]
fn feed_and_convert_read_what_a_name_says_is_compressed() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let delta = Delta::offers(0..500, 1);
    let mut expected = delta.docs.clone();
    for (ending, pack) in BOTH {
        let name = format!("any.name.{ending}");
        std::fs::write(site.path(&name), in_two(pack, &delta.text)).unwrap();
        let other = format!("{{\"id\":\"{ending}\"}}\n");
        expected.insert(ending.into(), json!({"id": ending}));
        std::fs::create_dir(site.path(ending)).unwrap();
        std::fs::write(site.path(ending).join(&name), pack(&other)).unwrap();
        let run = site.run(&["feed", &name, &format!("{ending}/{name}")]).code(0);
        assert!(run.stdout.contains(&format!("{name}: 500 lines, 500 documents")), "{run:?}");
        assert_eq!(site.run(&["convert", &name]).code(0).stdout, delta.text);
        let bytes = std::fs::read(site.path(&name)).unwrap();
        std::fs::write(site.path(&name), &bytes[..bytes.len() - 2]).unwrap();
        let words = "ends in the middle of what was compressed";
        site.run(&["convert", &name]).code(1).says(&format!("{name}: {words}"));
    }
    assert_same(&solr.docs(), &expected);
}

#[test]
fn a_compressed_delta_goes_on_where_it_was_over_reloads_and_a_killed_daemon() {
    for (ending, pack) in BOTH {
        let solr = FakeSolr::in_mode(SLOW);
        let site = Site::new(solr.url());
        site.configure("batch.docs = 50");
        let daemon = Daemon::start(&site);
        let delta = Delta::offers(0..15_000, 1);
        let packed = in_two(pack, &delta.text);
        site.hand_over(&format!("x.jsonl.{ending}"), &packed);
        wait_for("it is under way", || solr.taken() > 2_000);
        site.run(&["reload"]).code(0);
        // (A checkpoint is written every second.)
        let is_seen = |status: &Value| {
            let active = &status["spool"]["active"];
            assert!(active.is_null() || active["bytes"] == packed.len(), "of the file");
            let done = active["bytes_done"].as_u64();
            let docs = status["totals"]["docs"].as_u64().unwrap() as usize;
            let is_far = done > Some(packed.len() as u64 * 9 / 10);
            assert!(!is_far || docs > delta.lines / 2, "{docs} documents: {active}");
            done > Some(packed.len() as u64 / 4)
        };
        daemon.wait("it is seen how far it is", is_seen);
        let before = solr.taken();
        daemon.kill();
        let daemon = Daemon::start(&site);
        settled(&daemon, 1);
        assert_same(&solr.docs(), &delta.docs);
        assert!(solr.taken() < before + delta.lines, "it does not begin anew");
        assert!(log(&site).matches("share taken up again").count() >= 2);
        daemon.stop();
    }
}

/// One worker's delta that turns out to be damaged; what the log says, and the documents that Solr has.
fn damaged(name: &str, bytes: &[u8]) -> (Site, FakeSolr, Daemon, String) {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(&format!("workers.count = 1\n{SOON}"));
    let daemon = Daemon::start(&site);
    site.hand_over(name, bytes);
    let next = json!({"id": "z"});
    site.hand_over("z.jsonl", format!("{next}\n"));
    settled(&daemon, 2);
    assert_eq!((site.names("failed"), solr.docs()["z"].clone()), (vec![name.to_owned()], next));
    let log = log(&site);
    (site, solr, daemon, log)
}

#[test]
fn what_is_damaged_at_its_end_fails_half_delivered_and_says_so() {
    let delta = Delta::offers(0..3_000, 1);
    let length = delta.text.len();
    for (ending, pack, words) in
        [("gz", gzip as Pack, "gzip: incorrect data check"), ("zst", zstd, "checksum")]
    {
        let name = format!("x.jsonl.{ending}");
        let mut bytes = in_two(pack, &delta.text);
        // The checksum of each ends with its file, or four bytes before.
        let at = bytes.len() - if ending == "gz" { 8 } else { 1 };
        bytes[at] ^= 1;
        let (site, solr, daemon, log) = damaged(&name, &bytes);
        assert!(log.contains(&format!("{name} is damaged")) && log.contains(words), "{log}");
        assert!(log.contains("what was delivered stays: hand it over again"), "{log}");
        if ending == "gz" {
            let how_far = format!(
                "line 3000 was the last that could be read (up to byte {length} of the text)"
            );
            assert!(log.contains(&how_far), "{log}");
            let mut docs = solr.docs();
            docs.remove("z");
            assert_same(&docs, &delta.docs);
        }
        let history = site.run(&["history"]).code(0);
        assert!(history.stdout.contains(words), "{history:?}");
        // To try it again is to find it again, and nothing is sent twice.
        let before = solr.taken();
        site.run(&["retry", &name]).code(0);
        settled(&daemon, 3);
        assert_eq!((solr.taken(), site.names("failed")), (before, vec![name.clone()]));
        // Mended, it is another file: of that nobody knows what was delivered of it.
        std::fs::remove_file(site.spool("failed").join(&name)).unwrap();
        site.hand_over(&name, in_two(pack, &delta.text));
        settled(&daemon, 4);
        assert_eq!(site.names("failed"), [""; 0]);
        assert_eq!(solr.docs().len(), 3_001);
        daemon.stop();
    }
}

#[test]
fn what_cannot_be_unpacked_fails_in_plain_words_and_the_next_is_delivered() {
    let window = {
        let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed.window_log(28).unwrap();
        packed.write_all(&vec![b'\n'; 1 << 20]).unwrap();
        packed.finish().unwrap()
    };
    let line = "{\"id\":\"a\"}\n";
    let whole = gzip(line);
    for (name, bytes, words) in [
        (
            "x.jsonl.gz",
            line.as_bytes(),
            "x.jsonl.gz is no gzip, at byte 0 of the file; no line of it",
        ),
        ("x.jsonl.zst", &whole, "is no zstd, at byte 0"),
        ("x.jsonl", &whole, "it is compressed: name it .gz"),
        ("x.jsonl.gz", b"", "is empty, and no compressed file is; no line of it could be read"),
        (
            "x.jsonl.gz",
            &whole[..whole.len() - 1],
            "ends in the middle of what was compressed; line 1 was",
        ),
        (
            "x.jsonl.gz",
            &[&whole[..], b"garbage"].concat(),
            "has something behind its end that is no gzip",
        ),
        (
            "x.jsonl.zst",
            &window,
            "needs a zstd window of more than 128 MiB (compress it with --long=27 or less), at byte 0",
        ),
    ] {
        let (_site, _solr, daemon, log) = damaged(name, bytes);
        assert!(log.contains(words), "{words}: {log}");
        daemon.stop();
    }
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl.gz", [&whole[..], &[0; 100_000]].concat());
    settled(&daemon, 1);
    assert!(site.is_done("x.jsonl.gz"), "zeros, as a tape leaves them, are passed over");
    daemon.stop();
}

#[test]
fn a_compressed_delta_that_is_still_written_is_waited_for() {
    for (ending, pack) in BOTH {
        let solr = FakeSolr::up();
        let site = Site::new(solr.url());
        site.configure("spool.settle = '1m'\nspool.poll = '200ms'");
        let daemon = Daemon::start(&site);
        let delta = Delta::offers(0..3_000, 1);
        let packed = in_two(pack, &delta.text);
        let half = packed.len() / 3;
        let mut file = hand_over_open(&site, &format!("x.jsonl.{ending}"), &packed[..half]);
        wait_for("it is told", || log(&site).contains("the delta ends in the middle"));
        file.write_all(&packed[half..]).unwrap();
        drop(file);
        // It is looked at again when it would have stood still: not in a minute, but at the next turn
        // of a worker that is told to leave and comes again.
        site.configure(SOON);
        site.run(&["reload"]).code(0);
        settled(&daemon, 1);
        assert_same(&solr.docs(), &delta.docs);
        assert_eq!(site.names("failed"), [""; 0]);
        daemon.stop();
    }
}

#[test]
fn what_is_appended_to_a_delivered_compressed_delta_is_delivered_too_and_nothing_else() {
    for (ending, pack) in BOTH {
        let solr = FakeSolr::up();
        let site = Site::new(solr.url());
        site.configure(SOON);
        let daemon = Daemon::start(&site);
        let name = format!("x.jsonl.{ending}");
        let mut file = hand_over_open(&site, &name, &pack("{\"id\":\"a\",\"n_i\":1}\nno JSON\n"));
        settled(&daemon, 1);
        site.hand_over("y.jsonl", "{\"id\":\"a\",\"n_i\":2}\n");
        settled(&daemon, 2);
        for n in 0..2 {
            let packed = pack(&format!("{{\"id\":\"b{n}\"}}\nnor is this\n"));
            // In the middle of which it is not claimed, or waited for.
            let (first, second) = packed.split_at(packed.len() / 2);
            file.write_all(first).unwrap();
            file.write_all(second).unwrap();
            settled(&daemon, 3 + n);
        }
        assert_eq!(solr.order(), ["a", "a", "b0", "b1"], "nothing is sent twice");
        assert_eq!(solr.docs()["a"]["n_i"], 2);
        let lines: Vec<_> = site.rejects(&name).iter().map(|r| r["line"].clone()).collect();
        assert_eq!(lines, [2, 4, 6]);
        file.write_all(&pack("{\"id\":\"c")).unwrap();
        settled(&daemon, 5);
        file.write_all(&pack("\"}\n{\"id\":\"d\"}\n")).unwrap();
        settled(&daemon, 6);
        assert_eq!(site.names("failed"), std::slice::from_ref(&name));
        assert!(
            log(&site).contains("line 7 has grown: hand that line over anew"),
            "{}",
            log(&site)
        );
        site.run(&["retry", &name]).code(0);
        daemon.wait("what comes behind it is delivered", |_| solr.docs().contains_key("d"));
        wait_for("it is settled", || site.is_done(&name));
        file.write_all(b"garbage").unwrap();
        wait_for("it fails", || site.names("failed") == std::slice::from_ref(&name));
        daemon.stop();
    }
}

/// Does something to a compressed delta while its lines wait for Solr.
fn meanwhile(change: impl FnOnce(&Site, &File)) -> (Site, FakeSolr, String) {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 2);
    solr.turn(Mode::Stall);
    let before = solr.requests();
    let packed = in_two(gzip, &Delta::offers(0..1_000, 1).text);
    let file = hand_over_open(&site, "x.jsonl.gz", &packed);
    wait_for("both shares are under way", || solr.requests() >= before + 2);
    change(&site, &file);
    solr.turn(Mode::Up);
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    settled(&daemon, 2);
    daemon.stop();
    let log = log(&site);
    (site, solr, log)
}

#[test]
fn what_happens_to_a_compressed_delta_while_it_is_delivered_is_told_as_of_any_other() {
    let (site, _, log) = meanwhile(|_, file| file.set_len(1_000).unwrap());
    assert_eq!(site.names("failed"), ["x.jsonl.gz"]);
    assert!(log.contains("x.jsonl.gz was cut short while it was delivered, from "), "{log}");

    let (site, _, log) = meanwhile(|site, _| {
        std::fs::write(site.path("new"), gzip("{\"id\":\"new\"}\n")).unwrap();
        std::fs::rename(site.path("new"), site.spool("active/x.jsonl.gz")).unwrap();
    });
    assert_eq!(site.names("failed"), ["x.jsonl.gz"]);
    assert!(
        log.contains("x.jsonl.gz was replaced by another file while it was delivered"),
        "{log}"
    );

    let (site, solr, log) =
        meanwhile(|site, _| std::fs::remove_file(site.spool("active/x.jsonl.gz")).unwrap());
    assert_eq!((site.names("failed"), solr.docs().len()), (vec![], 1_001));
    assert!(log.contains("the delta was removed while it was delivered"), "{log}");

    let (site, solr, log) =
        meanwhile(|_, mut file| file.write_all(&gzip("{\"id\":\"more\"}\n")).unwrap());
    assert_eq!((site.names("failed"), solr.docs().len()), (vec![], 1_002), "{log}");
}

#[test]
fn a_compressed_delta_that_is_cut_before_it_is_read_to_there_fails_with_how_far_it_was() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(SOON);
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 2);
    solr.turn(Mode::Stall);
    let mut rng = fastrand::Rng::with_seed(7);
    let text: String = (0..8_000)
        .map(|n| {
            let noise: String = (0..12).map(|_| format!("{:032x}", rng.u128(..))).collect();
            format!("{{\"id\":\"{n}\",\"n_s\":\"{noise}\"}}\n")
        })
        .collect();
    let packed = gzip(&text);
    let before = solr.requests();
    let file = hand_over_open(&site, "x.jsonl.gz", &packed);
    wait_for("both shares are under way", || solr.requests() >= before + 2);
    file.set_len(packed.len() as u64 * 3 / 4).unwrap();
    solr.turn(Mode::Up);
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    settled(&daemon, 2);
    assert_eq!(site.names("failed"), ["x.jsonl.gz"]);
    let words = "was cut short while it was delivered, from ";
    assert!(log(&site).contains(words) && log(&site).contains("was the last that could be read"));
    daemon.stop();
}

#[test]
fn a_failed_compressed_delta_goes_on_where_it_was_when_it_is_retried() {
    for (ending, pack) in BOTH {
        let solr = FakeSolr::in_mode(SLOW);
        let site = Site::new(solr.url());
        site.configure("batch.docs = 50");
        let daemon = Daemon::start(&site);
        let delta = Delta::offers(0..6_000, 1);
        let name = format!("x.jsonl.{ending}");
        site.hand_over(&name, in_two(pack, &delta.text));
        wait_for("half of it is delivered", || solr.taken() > 3_000);
        site.run(&["cancel", &name]).code(0);
        settled(&daemon, 1);
        assert_eq!(site.names("failed"), std::slice::from_ref(&name));
        site.run(&["retry", &name]).code(0);
        settled(&daemon, 2);
        assert_same(&solr.docs(), &delta.docs);
        assert_eq!(solr.taken(), delta.lines, "nothing is sent twice");
        daemon.stop();
    }
}

#[test]
fn a_line_that_was_too_long_is_found_again_in_a_compressed_delta() {
    for (ending, pack) in BOTH {
        let solr = FakeSolr::up();
        let site = Site::new(solr.url());
        site.configure("spool.max_line = '2KiB'");
        let daemon = Daemon::start(&site);
        let mut delta = Delta::offers(0..400, 1);
        for n in 0..400 {
            let name = "x".repeat(if n % 40 == 1 { 3_000 } else { 1_000 });
            delta.doc(json!({"id": format!("d{n}"), "name_s": name}));
        }
        let name = format!("x.jsonl.{ending}");
        site.hand_over(&name, in_two(pack, &delta.text));
        settled(&daemon, 1);
        let rejects = site.rejects(&name);
        assert_eq!(rejects.len(), 10);
        for reject in &rejects {
            let at = reject["offset"].as_u64().unwrap() as usize;
            assert!(delta.text[at..].starts_with("{\"id\":\"d"), "{reject}");
        }
        site.configure("spool.max_line = '4KiB'");
        site.run(&["reload"]).code(0);
        site.run(&["retry", &name]).code(0);
        settled(&daemon, 2);
        assert_same(&solr.docs(), &delta.docs);
        assert_eq!(site.names("rejected"), [""; 0]);
        daemon.stop();
    }
}

#[test]
fn workers_run_ahead_of_compressed_deltas_too_wherever_these_end() {
    for (ending, pack) in BOTH {
        let cluster = FakeCluster::start(2);
        let site = Site::for_collection(cluster.urls(), "c");
        site.configure(&format!("workers = {{ count = 2, partition = 'id' }}\n{SOON}"));
        // Documents of the first share are in the first shard, and those of the second in the second.
        let ids = |share: usize| -> Vec<String> {
            let is_there = |id: &String| {
                ::cluster::hash(id) as u32 as usize % 2 == share && cluster.shard_of(id) == share
            };
            (0..).map(|n| format!("id-{n}")).filter(is_there).take(20).collect()
        };
        let (quick, held) = (ids(0), ids(1));
        let delta = |p: u32| -> String {
            let line = |id: &String| format!("{{\"id\":\"{id}\",\"p\":{p}}}\n");
            quick.iter().chain(&held).map(line).collect()
        };
        let wait_for_quick = |p: u32| {
            let is_there = |id: &String| cluster.docs().get(id).is_some_and(|doc| doc["p"] == p);
            wait_for("the first share is so far", || quick.iter().all(is_there));
        };
        cluster.node(1).turn(Mode::Hold);
        let daemon = Daemon::start(&site);
        let name = |p: u32| format!("{p}.jsonl.{ending}");
        let mut file = hand_over_open(&site, &name(1), &in_two(pack, &delta(1)));
        site.hand_over(&name(2), in_two(pack, &delta(2)));
        // A last line without its end may be one that grows: nobody runs ahead of that.
        site.hand_over(&name(3), in_two(pack, delta(3).trim_end()));
        site.hand_over(&name(4), in_two(pack, &delta(4)));
        wait_for_quick(3);
        assert!(cluster.docs().keys().all(|id| !held.contains(id)), "the other share waits");
        // What is appended to one that was passed is read when that is done, and newer than the others.
        file.write_all(&pack(&delta(5))).unwrap();
        cluster.node(1).release();
        cluster.node(1).turn(Mode::Up);
        daemon.wait("all are settled, and what was appended", |status| {
            status["totals"]["deltas"] == 5 && status["spool"]["active"].is_null()
        });
        let docs = cluster.docs();
        let last = docs["id-0"]["p"].clone(); // what was appended waits until it stands still
        assert!(last == 4 || last == 5, "{docs:?}");
        assert!(docs.values().all(|doc| doc["p"] == last), "{docs:?}");
        assert_eq!((docs.len(), site.names("failed")), (40, vec![]));
        let log = log(&site);
        let at = |what: &str, p: u32| log.find(&format!("{what}, delta: {}", name(p))).unwrap();
        assert!(at("delta claimed", 3) < at("delta settled", 1), "{log}");
        assert!(at("delta claimed", 4) > at("delta settled", 3), "{log}");
        let taken = cluster.order().iter().filter(|id| quick.contains(id)).count();
        assert_eq!(taken, 5 * quick.len(), "nothing is sent twice");
        daemon.stop();
    }
}
