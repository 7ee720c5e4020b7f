//! Memory does not grow with the delta. (A Solr that only confirms: it is the daemon that is
//! looked at, and a real one would take minutes for a gigabyte.)

use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use crate::common::{Daemon, FakeSolr, Process, Site};

const GIGABYTE: usize = 1_000_000_000;
const BOUND: u64 = 100_000_000;

/// A process's resident memory in bytes; of what several share, the program above all, each has its part
/// (proc(5), `Pss`).
fn resident(process: Process) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid));
    let rollup = rollup.unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The most that all its processes had together, in bytes, until this delta was done. What goes
/// through here takes minutes where the machine has other work, so it may take ten.
fn most_until_done(daemon: &Daemon, site: &Site, delta: &str) -> u64 {
    let by = Instant::now() + Duration::from_secs(600);
    let mut most = 0;
    while !site.is_done(delta) {
        assert!(Instant::now() < by, "{}", daemon.status());
        let all = daemon.parent.children().into_iter().chain([daemon.parent]);
        most = all.map(resident).sum::<u64>().max(most);
        std::thread::sleep(Duration::from_millis(50));
    }
    most
}

#[test]
fn a_delta_of_a_gigabyte_takes_four_workers_less_than_100_mb() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.count = 4");
    let daemon = Daemon::start(&site);
    let text = "lorem ipsum dolor sit amet ".repeat(40);
    let mut file = std::io::BufWriter::new(site.hand_over_in_place(".big.jsonl"));
    let (mut bytes, mut lines) = (0, 0);
    while bytes < GIGABYTE {
        // The same ids again and again: the delta grows, what Solr has does not. (So many that none
        // comes again while its last batch is under way, or each batch would wait for the one before.)
        let line =
            format!("{{\"id\":\"p{}\",\"n_i\":{lines},\"text_txt\":\"{text}\"}}\n", lines % 50_000);
        file.write_all(line.as_bytes()).unwrap();
        (bytes, lines) = (bytes + line.len(), lines + 1);
    }
    drop(file.into_inner().unwrap());
    let incoming = site.spool("incoming");
    std::fs::rename(incoming.join(".big.jsonl"), incoming.join("big.jsonl")).unwrap();

    let most = most_until_done(&daemon, &site, "big.jsonl");
    assert!(most > 0 && most < BOUND, "{most} bytes");
    let status = daemon.status();
    assert_eq!(status["totals"]["docs"], lines);
    println!("{most} bytes at most, all six processes together");
    daemon.stop();
}

#[test]
fn lines_of_twenty_gigabytes_and_of_one_cost_time_and_no_memory() {
    const LINES: [u64; 2] = [20_000_000_000, 1_000_000_000];
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("workers.count = 1"); // each would read all of it
    let daemon = Daemon::start(&site);
    // NUL bytes that take no room on the disk, as a crash or a truncate leaves them.
    let mut file = site.hand_over_in_place(".huge.jsonl");
    file.write_all(b"{\"id\":\"first\"}\n").unwrap();
    for length in LINES {
        file.seek(SeekFrom::Current(length as i64)).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.write_all(b"{\"id\":\"last\"}\n").unwrap();
    let size = file.metadata().unwrap().len();
    let incoming = site.spool("incoming");
    std::fs::rename(incoming.join(".huge.jsonl"), incoming.join("huge.jsonl")).unwrap();

    let most = most_until_done(&daemon, &site, "huge.jsonl");
    assert!(most > 0 && most < BOUND, "{most} bytes");
    assert_eq!(solr.order(), ["first", "last"]);
    let rejects = site.rejects("huge.jsonl");
    let told: Vec<_> =
        rejects.iter().map(|r| (r["line"].as_u64(), r["length"].as_u64(), r.get("raw"))).collect();
    assert_eq!(told, [(Some(2), Some(LINES[0]), None), (Some(3), Some(LINES[1]), None)]);
    let reason = rejects[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the line has 20000000000 bytes"), "{reason}");
    let status = daemon.status();
    assert_eq!(
        (&status["totals"]["lines"], &status["totals"]["bytes_read"]),
        (&4.into(), &size.into())
    );
    daemon.stop();
}
