//! Compressed deltas, gzip and zstd: delivered as their text is, whatever dies and whatever their
//! producers do; and what is damaged is told, however late that is found.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, wait_for};

const SLOW: Mode = Mode::Slow(Duration::from_millis(20));
/// Looked at soon.
const SOON: &str = "spool.settle = '100ms'\nspool.poll = '200ms'\n";
/// As `gzip` and as `zstd` do it.
const BOTH: [(&str, fn(&str) -> Vec<u8>); 2] = [("gz", gzip), ("zst", zstd)];

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
fn in_two(pack: fn(&str) -> Vec<u8>, text: &str) -> Vec<u8> {
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
