//! A disk that is full, broken or read-only, in any folder of the spool or under the log: delivery
//! waits or goes on as is right, nothing is lost, the health says which folder and what to do, and
//! it goes on by itself.
//!
//! Full is a small tmpfs, filled up for real. What no file system does on demand, such as a failing
//! sync, stands before the C library (`Faults`).

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{
    Daemon, Delta, Disk, FakeSolr, Faults, Mode, Site, assert_same, skipped, wait_for,
};

const FULL: &str = "No space left on device (os error 28): make room there (df -h, df -i)";

fn reason<'a>(status: &'a Value, code: &str) -> Option<&'a str> {
    let reasons = status["health"]["reasons"].as_array()?;
    reasons.iter().find(|reason| reason["code"] == code)?["message"].as_str()
}

/// Waits until the health says this of the spool, and of nothing else that would hide it.
#[track_caller]
fn told(site: &Site, daemon: &Daemon, words: &str) {
    let status =
        daemon.wait(words, |s| reason(s, "spool").is_some_and(|told| told.contains(words)));
    assert_eq!(status["health"]["state"], "critical", "{}", status["health"]);
    assert_eq!(reason(&status, "solr"), None, "it is not Solr: {}", status["health"]);
    site.check_updater(&[]).code(2);
}

#[track_caller]
fn settled(daemon: &Daemon, deltas: u64) -> Value {
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == deltas)
}

/// It is well again, nobody died, and the parent is who it was.
#[track_caller]
fn well(daemon: Daemon) {
    let status = daemon.wait("it is well again", |status| reason(status, "spool").is_none());
    assert_eq!(status["totals"]["worker_deaths"], 0, "{status}");
    assert!(daemon.parent.is_alive());
    daemon.stop();
}

/// A delta in `incoming/` under a hidden name: to hand it over takes no room any more.
fn prepare(site: &Site, name: &str, text: &str) {
    std::fs::write(site.spool("incoming").join(format!(".{name}")), text).unwrap();
}

fn hand_over(site: &Site, name: &str) {
    let incoming = site.spool("incoming");
    std::fs::rename(incoming.join(format!(".{name}")), incoming.join(name)).unwrap();
}

fn no_json(lines: usize) -> String {
    (1..=lines).map(|n| format!("this is line {n}, and no JSON: {}\n", "x".repeat(150))).collect()
}

/// All of these lines, each once.
#[track_caller]
fn rejected_once_each(site: &Site, name: &str, lines: usize) {
    let numbers: Vec<u64> =
        site.rejects(name).iter().map(|reject| reject["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=lines as u64).collect::<Vec<_>>());
}

// --- no room ------------------------------------------------------------------------------------

#[test]
fn full_while_claiming() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=2m") else { return };
    let daemon = Daemon::start(&site);
    for n in 1..=2 {
        let name = format!("{n}.jsonl");
        prepare(&site, &name, &format!("{{\"id\":\"{n}\"}}\n"));
        disk.fill(0).unwrap();
        hand_over(&site, &name);
        told(&site, &daemon, "no delta can be claimed: from ");
        told(&site, &daemon, FULL);
        assert_eq!(site.names("incoming"), [name]);
        let left = site.names("active");
        assert!(left.iter().all(|name| name == ".last-claim"), "{left:?}");
        disk.free();
        settled(&daemon, n);
    }
    assert_eq!(solr.order(), ["1", "2"]);
    let log = std::fs::read_to_string(site.log()).unwrap();
    assert_eq!(log.matches("cannot claim a delta").count(), 2, "told once each: {log}");
    well(daemon);
}

#[test]
fn no_inodes_left_while_claiming() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(_disk) = site.spool_on_disk("size=8m,nr_inodes=64") else { return };
    let daemon = Daemon::start(&site);
    prepare(&site, "x.jsonl", "{\"id\":\"x\"}\n");
    let used = site.spool("used");
    std::fs::create_dir(&used).unwrap();
    let full = (0..).find_map(|n| std::fs::write(used.join(n.to_string()), "").err()).unwrap();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    hand_over(&site, "x.jsonl");
    told(&site, &daemon, FULL);
    std::fs::remove_dir_all(&used).unwrap();
    settled(&daemon, 1);
    well(daemon);
}

#[test]
fn full_when_a_checkpoint_is_due() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=2m") else { return };
    site.configure("health.solr = { warning = '200ms', critical = '300ms' }");
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 2);
    solr.turn(Mode::Stall);
    let before = solr.requests();
    let delta = Delta::offers(0..1_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("both shares are under way", || solr.requests() >= before + 2);
    disk.fill(0).unwrap();
    solr.turn(Mode::Up);
    wait_for("all of it has arrived", || solr.docs().len() == 1_000);
    told(&site, &daemon, "cannot write checkpoint or rejects: in ");
    told(&site, &daemon, FULL);
    let silent = |status: &Value| status["solr"]["last_ok_age_s"].as_f64() > Some(0.5);
    let status = daemon.wait("Solr has nothing to do", silent);
    assert_eq!(reason(&status, "solr"), None, "it is not Solr: {}", status["health"]);
    assert_same(&solr.docs(), &delta.docs);
    assert_eq!(site.names("done"), [""; 0], "it is not settled without its checkpoint");
    let taken = solr.taken();
    disk.free();
    let status = settled(&daemon, 1);
    assert_eq!((solr.taken(), &status["totals"]["docs"]), (taken, &1_000.into()));
    well(daemon);
}

#[test]
fn full_while_writing_rejects() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=4m") else { return };
    site.configure("spool.max_rejects = '100%'");
    let daemon = Daemon::start(&site);
    prepare(&site, "x.jsonl", &no_json(3_000));
    disk.fill(128 << 10).unwrap(); // the claim has room, and so have some of the rejects
    hand_over(&site, "x.jsonl");
    told(&site, &daemon, "cannot write checkpoint or rejects: in ");
    assert_eq!((site.names("rejected"), site.names("done")), (vec![], vec![]));
    disk.free();
    settled(&daemon, 1);
    rejected_once_each(&site, "x.jsonl", 3_000);
    well(daemon);
}

#[test]
fn full_while_merging_rejects() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=4m") else { return };
    site.configure("spool.max_rejects = '100%'");
    let daemon = Daemon::start(&site);
    let text = no_json(1_000);
    prepare(&site, "x.jsonl", &text);
    disk.fill(700 << 10).unwrap(); // for the rejects of the shares, and not for them and their copy
    hand_over(&site, "x.jsonl");
    told(&site, &daemon, "cannot write a delta's rejects: in ");
    told(&site, &daemon, &site.spool("rejected").display().to_string());
    assert!(
        site.names("rejected").iter().all(|name| name.starts_with('.')),
        "nothing is half told"
    );
    disk.free();
    settled(&daemon, 1);
    rejected_once_each(&site, "x.jsonl", 1_000);
    assert_eq!(site.names("rejected"), ["x.jsonl.rejected.jsonl"]);
    well(daemon);
}

#[test]
fn a_full_disk_that_pruning_makes_room_on_is_pruned() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=4m") else { return };
    site.configure("spool.max_rejects = '100%'\nspool.keep.files = 1");
    // Which is more than may be kept: but what prunes is the end of a delta.
    std::fs::create_dir_all(site.spool("done")).unwrap();
    for name in ["a.jsonl", "b.jsonl"] {
        std::fs::write(site.spool("done").join(name), [b' '; 1 << 20]).unwrap();
    }
    let daemon = Daemon::start(&site);
    prepare(&site, "x.jsonl", &no_json(1_000));
    disk.fill(700 << 10).unwrap();
    hand_over(&site, "x.jsonl");
    settled(&daemon, 1);
    rejected_once_each(&site, "x.jsonl", 1_000);
    well(daemon);
}

#[test]
fn a_disk_that_is_full_while_claiming_is_pruned_too() {
    use std::os::unix::fs::MetadataExt;
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=4m") else { return };
    site.configure("spool.keep.age = '1s'");
    let daemon = Daemon::start(&site);
    let line = format!("{{\"id\":\"a\",\"t\":\"{}\"}}\n", "x".repeat(1 << 20));
    site.hand_over("a.jsonl", line);
    settled(&daemon, 1);
    prepare(&site, "b.jsonl", "{\"id\":\"b\"}\n");
    wait_for("it may go", || {
        let found = std::fs::metadata(site.spool("done/a.jsonl")).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() as i64 > found.ctime() + 1
    });
    disk.fill(0).unwrap();
    hand_over(&site, "b.jsonl");
    settled(&daemon, 2);
    assert_eq!(site.names("done"), ["b.jsonl"]);
    well(daemon);
}

#[test]
fn full_under_the_log_delivery_goes_on_and_so_does_the_log_when_there_is_room() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let folder = site.path("logs");
    std::fs::create_dir(&folder).unwrap();
    let disk = match Disk::mount(&folder, "size=1m") {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let log = folder.join("log");
    site.configure(&format!("log.file = '{}'", log.display()));
    let daemon = Daemon::start(&site);
    // What is left of the log's last block is used up first.
    disk.fill(0).unwrap();
    let mut deltas = 0;
    let lost = daemon.wait("lines are lost, and that is told", |status| {
        deltas += 1;
        site.hand_over("x.jsonl", format!("{{\"id\":\"{deltas}\"}}\n"));
        wait_for("it is there", || solr.order().contains(&deltas.to_string()));
        reason(status, "log").is_some()
    });
    assert!(reason(&lost, "log").unwrap().contains("log lines lost: standard error or log.file"));
    assert_eq!(lost["health"]["state"], "warning");
    site.run(&["reload"]).code(0);
    disk.free();
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    wait_for("there are lines again", || {
        let text = std::fs::read(&log).unwrap();
        String::from_utf8_lossy(&text).contains("delta settled, delta: z.jsonl")
    });
    let text = std::fs::read(&log).unwrap();
    let text = String::from_utf8_lossy(&text);
    let z = text.lines().find(|line| line.contains("delta settled, delta: z.jsonl")).unwrap();
    assert_eq!(z.matches(" INFO ").count(), 1, "a line of its own: {z}");
    well(daemon);
}

#[test]
fn a_daemon_starts_on_a_full_disk_and_takes_its_deltas_when_there_is_room() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let Some(disk) = site.spool_on_disk("size=1m") else { return };
    site.configure("spool.settle = '50ms'");
    prepare(&site, "x.jsonl", "{\"id\":\"x\"}\n");
    hand_over(&site, "x.jsonl");
    disk.fill(0).unwrap();
    let daemon = Daemon::start(&site);
    told(&site, &daemon, "no delta can be claimed: from ");
    disk.free();
    settled(&daemon, 1);
    well(daemon);
}

// --- a disk that fails --------------------------------------------------------------------------

fn faulty() -> (FakeSolr, Site, Faults) {
    let solr = FakeSolr::up();
    let (site, faults) = Site::new(solr.url()).with_faults();
    site.configure("spool.max_rejects = '100%'");
    (solr, site, faults)
}

#[test]
fn what_a_failing_sync_has_lost_of_the_rejects_is_written_again() {
    let (_solr, site, faults) = faulty();
    let daemon = Daemon::start(&site);
    faults.are(&["sync 5 .rejects"]);
    site.hand_over("x.jsonl", no_json(1_000));
    told(&site, &daemon, "cannot write checkpoint or rejects: in ");
    told(&site, &daemon, "Input/output error (os error 5): look after the disk (dmesg)");
    for name in site.names("active").iter().filter(|name| name.ends_with(".checkpoint")) {
        let text = std::fs::read_to_string(site.spool("active").join(name)).unwrap();
        assert!(text.contains("\nrejects=0\n"), "it would lie: {text}");
    }
    faults.are(&["sync 5 /rejected"]);
    told(&site, &daemon, "cannot write a delta's rejects: in ");
    faults.are(&[]);
    settled(&daemon, 1);
    rejected_once_each(&site, "x.jsonl", 1_000);
    well(daemon);
}

#[test]
fn a_failing_sync_of_claim_or_folder_costs_a_second_and_no_line() {
    let (solr, site, faults) = faulty();
    let daemon = Daemon::start(&site);
    let cases = [
        ("sync 5 .last-claim", "no delta can be claimed: from "),
        ("sync 5 .claim-", "no delta can be claimed: from "),
        ("sync 5 /active", "no delta can be claimed: from "),
        ("rename 5 /active/x", "no delta can be claimed: from "), // its record stands already
        ("sync 5 /done", "no delta can be settled: out of "),
    ];
    for (n, (fault, words)) in (1..).zip(cases) {
        faults.are(&[fault]);
        site.hand_over("x.jsonl", format!("{{\"id\":\"{n}\"}}\n"));
        told(&site, &daemon, words);
        faults.are(&[]);
        settled(&daemon, n);
        let left = site.names("active");
        assert!(left.iter().all(|name| name == ".last-claim"), "{fault}: {left:?}");
    }
    assert_eq!(solr.order(), ["1", "2", "3", "4", "5"], "each is sent once");
    assert_eq!(site.names("done").len(), 5);
    well(daemon);
}

#[test]
fn a_file_that_cannot_be_moved_holds_back_no_other() {
    let (solr, site, faults) = faulty();
    site.configure("spool.settle = '100ms'\nspool.poll = '200ms'");
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"a\"}\n");
    settled(&daemon, 1);
    faults.are(&["rename 1 /active/x.jsonl"]);
    let mut file = std::fs::File::options().append(true).open(site.spool("done/x.jsonl")).unwrap();
    std::io::Write::write_all(&mut file, b"{\"id\":\"b\"}\n").unwrap();
    told(&site, &daemon, "what was appended to a delivered delta cannot be claimed: from ");
    site.hand_over("y.jsonl", "{\"id\":\"y\"}\n");
    settled(&daemon, 2);
    faults.are(&[]);
    settled(&daemon, 3);
    assert_eq!(solr.order(), ["a", "y", "b"]);
    well(daemon);
}

#[test]
fn a_daemon_starts_on_a_disk_that_is_full_for_renames_too() {
    let (solr, site, faults) = faulty();
    faults.are(&["rename 28 .probe"]);
    let daemon = Daemon::start(&site);
    site.hand_over("x.jsonl", "{\"id\":\"a\"}\n");
    settled(&daemon, 1);
    assert_eq!(solr.order(), ["a"]);
    well(daemon);
}

#[test]
fn what_counts_is_not_sent_before_it_is_written_down() {
    let (solr, site, faults) = faulty();
    site.configure("health.solr = { warning = '200ms', critical = '300ms' }");
    let daemon = Daemon::start(&site);
    faults.are(&["sync 5 .intents"]);
    let count: String =
        (0..20).map(|n| format!("{{\"id\":\"{n}\",\"n\":{{\"inc\":1}}}}\n")).collect();
    site.hand_over("x.jsonl", count);
    told(&site, &daemon, "cannot write down what is to be sent once only: in ");
    let silent = |status: &Value| status["solr"]["last_ok_age_s"].as_f64() > Some(0.5);
    let status = daemon.wait("Solr has nothing to do", silent);
    assert_eq!((reason(&status, "solr"), solr.taken()), (None, 0), "{}", status["health"]);
    solr.turn(Mode::Hold);
    let before = solr.requests();
    faults.are(&[]);
    wait_for("both shares are under way", || solr.requests() >= before + 2);
    // What they were about to send is known to whoever comes next, and Solr carries it out only now.
    daemon.kill();
    solr.turn(Mode::Up);
    let daemon = Daemon::start(&site);
    settled(&daemon, 1);
    let other: Vec<_> = solr.docs().into_values().filter(|doc| doc["n"] != 1).collect();
    assert!(solr.docs().len() == 20 && other.is_empty(), "{other:?}");
    well(daemon);
}

#[test]
fn what_could_not_be_written_behind_a_checkpoint_stops_nothing_for_ever() {
    let (solr, site, faults) = faulty();
    site.configure("spool.max_rejects = '100%'\nbatch.docs = 10\nworkers.count = 1");
    let daemon = Daemon::start(&site);
    wait_for("it is known who leads", || solr.asked() >= 1);
    solr.turn(Mode::Hold);
    let delta = Delta::offers(0..20_000, 1);
    // They fill the first batch.
    let count = |n| match n {
        0 => "{\"id\":\"c0\",\"n\":{\"inc\":1},\"bad\":1}\n".to_owned(),
        n => format!("{{\"id\":\"c{n}\",\"n\":{{\"inc\":1}}}}\n"),
    };
    let counts: String = (0..10).map(count).collect();
    site.hand_over("x.jsonl", counts + &delta.text);
    wait_for("they are written down", || {
        let names = site.names("active");
        let file = names.iter().find(|name| name.ends_with(".intents"));
        file.is_some_and(|name| site.spool("active").join(name).metadata().unwrap().len() > 0)
    });
    // That one was refused goes into its file after the checkpoint.
    faults.are(&["write 28 .intents"]);
    solr.turn(Mode::Up);
    told(&site, &daemon, "cannot write checkpoint or rejects: in ");
    daemon.wait("all that was under way is back", |s| s["workers"][0]["in_flight"] == 0);
    assert!(solr.docs().len() < 20_000, "no more is read");
    faults.are(&[]);
    settled(&daemon, 1);
    assert_eq!((solr.docs().len(), site.rejects("x.jsonl").len()), (20_009, 1));
    well(daemon);
}

#[test]
fn what_cannot_be_moved_or_made_is_told_with_its_own_remedy_and_tried_again() {
    let (solr, site, faults) = faulty();
    let daemon = Daemon::start(&site);
    let spool = site.spool("").display().to_string();
    // A file system that the kernel has made read-only lets nothing be made, moved or removed.
    let read_only =
        [format!("create 30 {spool}"), format!("rename 30 {spool}"), format!("unlink 30 {spool}")];
    let quota = [format!("write 122 {spool}")];
    let no_room_in_the_folder = ["rename 28 /done/".to_owned()];
    let limit = [format!("write 27 {spool}")];
    let cases: [(&[String], &str); 4] = [
        (&read_only, "Read-only file system (os error 30): mount it writable"),
        (&quota, "Disk quota exceeded (os error 122): make room there, or raise the quota"),
        (&no_room_in_the_folder, FULL),
        (&limit, "File too large (os error 27): raise the limit of file sizes"),
    ];
    for (n, (rules, words)) in (1..).zip(cases) {
        faults.are(&rules.iter().map(String::as_str).collect::<Vec<_>>());
        site.hand_over("x.jsonl", format!("{{\"id\":\"{n}\"}}\nno JSON\n"));
        told(&site, &daemon, words);
        faults.are(&[]);
        settled(&daemon, n);
    }
    assert_eq!(solr.order(), ["1", "2", "3", "4"]);
    for name in ["x.jsonl", "x~2.jsonl", "x~3.jsonl", "x~4.jsonl"] {
        assert_eq!(site.rejects(name).len(), 1, "{name}");
    }
    well(daemon);
}

#[test]
fn a_limit_of_file_sizes_is_a_full_disk_and_no_death() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(&format!("log.file = '{}'", site.path("limited").display()));
    let run = site.command(&["run"]);
    // 8 KiB: a few log lines and a spool's records, but not many log lines.
    let script = r#"ulimit -S -f 8 && exec "$@""#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(run.get_program()).args(run.get_args());
    let daemon = Daemon::spawn_by(command, &site, Stdio::null());
    daemon.up();
    let mut deltas = 0;
    daemon.wait("lines are lost, and that is told", |status| {
        deltas += 1;
        site.hand_over("x.jsonl", format!("{{\"id\":\"{deltas}\"}}\n"));
        wait_for("it is there", || solr.order().contains(&deltas.to_string()));
        reason(status, "log").is_some()
    });
    well(daemon);
}
