//! Producers that do what they should not: strange text, strange names, strange files, rights that
//! are missing. Each has its outcome (docs/spool.md has the table), and none stops the others.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode as Rights, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::common::{Daemon, Delta, FakeSolr, Mode, Site, assert_same, skipped, wait_for};

fn log(site: &Site) -> String {
    String::from_utf8_lossy(&std::fs::read(site.log()).unwrap()).into_owned()
}

/// Why the daemon is not well, in its own words.
fn is_told(status: &Value, words: &str) -> bool {
    let reasons = status["health"]["reasons"].as_array().unwrap();
    reasons.iter().any(|r| r["message"].as_str().is_some_and(|message| message.contains(words)))
}

// --- text ---------------------------------------------------------------------------------------

/// What it is, the text, the ids that must arrive, and the lines that must be rejected.
type Form<'a> = (&'a str, &'a [u8], &'a [&'a str], &'a [u64]);

#[test]
fn text_of_any_form_is_read_and_what_cannot_be_is_told() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = '100%'");
    let daemon = Daemon::start(&site);
    let zeros = [&b"{\"id\":\"h1\"}\n"[..], &[0; 5_000]].concat();
    let forms: [Form<'_>; 9] = [
        ("a no newline at the end", b"{\"id\":\"a1\"}\n{\"id\":\"a2\"}", &["a1", "a2"], &[]),
        ("b CRLF", b"{\"id\":\"b1\"}\r\n\r\n{\"id\":\"b2\"}\r\n", &["b1", "b2"], &[]),
        ("c BOM", b"\xef\xbb\xbf{\"id\":\"c1\"}\n{\"id\":\"c2\"}\n", &["c1", "c2"], &[]),
        ("d nothing but a BOM", b"\xef\xbb\xbf", &[], &[]),
        ("e BOM and CRLF", b"\xef\xbb\xbf\r\n{\"id\":\"e\"}\r\n", &["e"], &[]),
        ("f a BOM elsewhere", b"{\"id\":\"f\"}\n\xef\xbb\xbf{\"id\":\"no\"}\n", &["f"], &[2]),
        (
            "g NUL bytes",
            b"{\"id\":\"g1\"}\n\0\0\n{\"id\":\"g\0\"}\n{\"id\":\"g2\"}\n",
            &["g1", "g2"],
            &[2, 3],
        ),
        ("h zeros at the end, as after a crash", &zeros, &["h1"], &[2]),
        ("i CR alone", b"{\"id\":\"i1\"}\r{\"id\":\"i2\"}\r", &[], &[1]),
    ];
    let mut expected = Vec::new();
    for (settled, (name, text, ids, rejected)) in (1..).zip(forms) {
        let file = format!("{name}.jsonl");
        site.hand_over(&file, text);
        daemon.wait(name, |status| status["totals"]["deltas"] == settled);
        assert_eq!(std::fs::read(site.spool("done").join(&file)).unwrap(), text, "{name}");
        let lines: Vec<u64> =
            site.rejects(&file).iter().map(|reject| reject["line"].as_u64().unwrap()).collect();
        assert_eq!(lines, rejected, "{name}");
        expected.extend(ids.iter().map(|id| id.to_string()));
    }
    let docs = solr.docs();
    assert_eq!(docs.keys().cloned().collect::<Vec<_>>(), expected);
    let told = log(&site).matches("begins with a byte order mark").count();
    assert_eq!(told, 3, "once for each that does: {}", log(&site));
    daemon.stop();
}

#[test]
fn a_delta_in_utf_16_fails_in_plain_words_and_the_next_is_delivered() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let orders: [fn(u16) -> [u8; 2]; 2] = [u16::to_le_bytes, u16::to_be_bytes];
    for (settled, bytes) in [2, 4].into_iter().zip(orders) {
        let text = "\u{feff}{\"id\":\"wide\"}\n";
        site.hand_over("a.jsonl", text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>());
        site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
        daemon.wait("both are settled", |status| status["totals"]["deltas"] == settled);
    }
    assert_eq!(site.names("failed"), ["a.jsonl", "a~2.jsonl"]);
    assert_eq!((solr.order(), site.names("rejected")), (vec!["b".into(), "b".into()], vec![]));
    assert!(log(&site).contains("it is UTF-16 (by its byte order mark): write it as UTF-8"));
    daemon.wait("it is told", |status| is_told(status, "2 deltas failed"));
    daemon.stop();
}

// --- names --------------------------------------------------------------------------------------

/// Hands over under any name: there is a hidden one before.
fn hand_over(site: &Site, name: &OsStr, text: &str) {
    let hidden = site.spool("incoming/.hidden");
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, site.spool("incoming").join(name)).unwrap();
}

fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_name_of_any_bytes_is_kept_as_it_is_and_writes_nothing_into_log_or_terminal() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = '100%'");
    let daemon = Daemon::start(&site);
    let names_given: [&[u8]; 8] = [
        b"\x1b[2J\x07.jsonl",
        b" .jsonl",
        b"$(reboot);'\"\\`.json",
        b"%41=%.ndjson",
        b"-rf.jsonl",
        b"a\nNov 23 12:00:00.000 ERRO forged.jsonl",
        "Größe \u{202e}.jsonl".as_bytes(),
        b"\xff\xfe\x80.jsonl",
    ];
    let names_given = names_given.map(OsStr::from_bytes);
    for (n, name) in names_given.iter().enumerate() {
        hand_over(&site, name, &format!("{{\"id\":\"{n}\"}}\nno JSON\n"));
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n + 1);
        let page = site.run(&["status"]).stdout;
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    }
    let mut expected = names_given.to_vec();
    expected.sort();
    assert_eq!(names(&site.spool("done")), expected);
    let mut rejected: Vec<OsString> = expected
        .iter()
        .map(|name| OsStr::from_bytes(&[name.as_bytes(), b".rejected.jsonl"].concat()).to_owned())
        .collect();
    rejected.sort();
    assert_eq!(names(&site.spool("rejected")), rejected);
    assert_eq!(solr.docs().len(), names_given.len());
    let log = log(&site);
    assert!(
        log.lines().all(|line| !line.contains("ERRO forged") || line.contains("delta")),
        "{log}"
    );
    assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
    daemon.stop();
}

#[test]
fn a_name_as_long_as_a_name_may_be_has_room_for_its_number_and_its_rejects() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = '100%'");
    let daemon = Daemon::start(&site);
    let long = |end: &str| format!("{}{end}.jsonl", "x".repeat(249 - end.len()));
    // The second comes again; the third differs where the name is cut.
    for (n, name) in [long(""), long(""), long("y")].iter().enumerate() {
        assert_eq!(name.len(), 255);
        hand_over(&site, name.as_ref(), &format!("{{\"id\":\"{n}\"}}\nno JSON\n"));
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n + 1);
    }
    let done = site.names("done");
    assert_eq!((done.len(), solr.docs().len()), (3, 3));
    assert!(done.iter().all(|name| name.ends_with(".jsonl")), "{done:?}");
    for name in &done {
        assert_eq!(site.rejects(name).len(), 1, "{name}");
        assert_eq!(site.rejects(name)[0]["delta"], **name);
    }
    daemon.stop();
}

#[test]
fn a_name_that_comes_again_quickly_delivers_the_last_of_each_moment_and_overwrites_nothing_claimed()
{
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    for n in 1..=300 {
        site.hand_over("x.jsonl", format!("{{\"id\":\"x\",\"n_i\":{n}}}\n"));
    }
    wait_for("the last one is there", || solr.docs().get("x").is_some_and(|x| x["n_i"] == 300));
    daemon.wait("all are settled", |status| {
        status["spool"]["active"].is_null()
            && status["totals"]["deltas"] == site.names("done").len()
    });
    let done = site.names("done");
    let mut claimed: Vec<u64> = done
        .iter()
        .map(|name| std::fs::read_to_string(site.spool("done").join(name)).unwrap())
        .map(|text| serde_json::from_str::<Value>(&text).unwrap()["n_i"].as_u64().unwrap())
        .collect();
    claimed.sort();
    assert!(claimed.windows(2).all(|two| two[0] != two[1]), "{claimed:?}");
    assert_eq!(claimed.last(), Some(&300));
    daemon.stop();
}

// --- what lies in incoming ----------------------------------------------------------------------

#[test]
fn a_device_or_a_socket_is_never_opened_but_left_and_counted() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let incoming = |name: &str| site.spool("incoming").join(name);
    let _socket = std::os::unix::net::UnixListener::bind(incoming("socket.jsonl")).unwrap();
    // Of these reading never ends, or waits for a drive.
    let device = |name: &str, kind, (major, minor)| {
        mknod(&incoming(name), kind, Rights::S_IRWXU, makedev(major, minor)).is_ok()
    };
    let ignored = match device("zero.jsonl", SFlag::S_IFCHR, (1, 5))
        && device("block.jsonl", SFlag::S_IFBLK, (7, 200))
    {
        true => 3,
        false => {
            skipped("this user may make no devices: the test is of a socket only");
            1
        }
    };
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    daemon.wait("z is settled", |status| status["totals"]["deltas"] == 1);
    daemon.wait("the others are counted", |status| status["spool"]["ignored"] == ignored);
    assert_eq!((solr.order(), site.names("incoming").len() as u64), (vec!["z".into()], ignored));
    daemon.stop();
}

#[test]
fn what_waits_is_delivered_as_it_is_when_it_is_claimed() {
    let solr = FakeSolr::in_mode(Mode::Stall);
    let site = Site::new(solr.url());
    site.configure("spool.settle = '100ms'");
    let daemon = Daemon::start(&site);
    site.hand_over("m.jsonl", "{\"id\":\"m\"}\n");
    daemon.wait("m is claimed", |status| status["spool"]["active"]["name"] == "m.jsonl");
    site.hand_over("replaced.jsonl", "{\"id\":\"the old one\"}\n");
    site.hand_over("replaced.jsonl", "{\"id\":\"the new one\"}\n");
    site.hand_over("removed.jsonl", "{\"id\":\"removed\"}\n");
    site.hand_over("appended.jsonl", "{\"id\":\"first\"}\n");
    daemon.wait("they wait", |status| status["spool"]["incoming"]["files"] == 3);
    std::fs::remove_file(site.spool("incoming/removed.jsonl")).unwrap();
    std::fs::write(
        site.spool("incoming/appended.jsonl"),
        "{\"id\":\"first\"}\n{\"id\":\"appended\"}\n",
    )
    .unwrap();
    solr.turn(Mode::Up);
    daemon.wait("all are settled", |status| status["totals"]["deltas"] == 3);
    let docs = solr.docs();
    assert_eq!(docs.keys().collect::<Vec<_>>(), ["appended", "first", "m", "the new one"]);
    assert_eq!(site.names("done"), ["appended.jsonl", "m.jsonl", "replaced.jsonl"]);
    assert_eq!(daemon.status()["health"]["state"], "ok");
    daemon.stop();
}

#[test]
fn a_delta_that_never_becomes_whole_is_named_when_it_holds_back_others() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '200ms'\nspool.poll = '1s'");
    let daemon = Daemon::start(&site);
    let mut slow = site.hand_over_in_place("a.jsonl");
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
    let line = "a delta that is still being written holds back those behind it";
    wait_for("it is told", || {
        // As long as it changes it stays so.
        std::io::Write::write_all(&mut slow, b" ").unwrap();
        log(&site).lines().any(|l| l.contains(line) && l.contains("delta: a.jsonl"))
    });
    assert_eq!(solr.taken(), 0);
    drop(slow);
    daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!(log(&site).matches(line).count(), 1);
    daemon.stop();
}

// --- what lies in active ------------------------------------------------------------------------

/// What stands in the place of `x.jsonl` before a worker opens it: `put` puts it there.
fn in_its_place(put: impl FnOnce(&Path), failed: &[&str], words: &str) {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    // One that is stopped before it has said so is not ready in time.
    wait_for("all are ready", || log(&site).contains(" INFO ready, "));
    let workers = daemon.workers();
    workers.iter().for_each(|worker| worker.freeze());
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n{\"id\":\"y\"}\n");
    daemon.wait("it is claimed", |status| status["spool"]["active"]["name"] == "x.jsonl");
    let place = site.spool("active/x.jsonl");
    std::fs::remove_file(&place).unwrap();
    std::fs::write(site.path("outside"), "{\"id\":\"outside\"}\n").unwrap();
    put(&place);
    workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    site.hand_over("z.jsonl", "{\"id\":\"z\"}\n");
    daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!((solr.order(), site.names("done")), (vec!["z".into()], vec!["z.jsonl".into()]));
    assert_eq!(site.names("failed"), failed);
    assert!(log(&site).contains(words), "{words:?}: {}", log(&site));
    assert_eq!(daemon.workers(), workers, "nobody had to die for it");
    daemon.stop();
}

#[test]
fn a_claimed_delta_that_is_gone_stops_nothing() {
    in_its_place(|_| {}, &[], "cannot read x.jsonl: No such file or directory");
}

#[test]
fn a_link_in_the_place_of_a_claimed_delta_is_not_followed() {
    let link = |place: &Path| std::os::unix::fs::symlink("../../outside", place).unwrap();
    in_its_place(link, &["x.jsonl"], "cannot read x.jsonl: Too many levels of symbolic links");
}

#[test]
fn a_fifo_in_the_place_of_a_claimed_delta_is_not_waited_for() {
    let fifo = |place: &Path| nix::unistd::mkfifo(place, Rights::S_IRWXU).unwrap();
    in_its_place(fifo, &["x.jsonl"], "cannot read x.jsonl: not an ordinary file");
}

#[test]
fn a_folder_in_the_place_of_a_claimed_delta_is_no_delta() {
    let folder = |place: &Path| std::fs::create_dir(place).unwrap();
    in_its_place(folder, &["x.jsonl"], "cannot read x.jsonl: not an ordinary file");
}

// --- rights -------------------------------------------------------------------------------------

fn chmod(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_delta_that_may_not_be_read_fails_with_the_remedy_and_the_next_is_delivered() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url()).for_a_plain_user();
    let daemon = Daemon::start(&site);
    std::fs::write(site.spool("incoming/.a"), "{\"id\":\"a\"}\n").unwrap();
    chmod(site.spool("incoming/.a"), 0o000);
    std::fs::rename(site.spool("incoming/.a"), site.spool("incoming/a.jsonl")).unwrap();
    site.hand_over("b.jsonl", "{\"id\":\"b\"}\n");
    daemon.wait("both are settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!((site.names("failed"), solr.order()), (vec!["a.jsonl".into()], vec!["b".into()]));
    let words =
        "cannot read a.jsonl: Permission denied (os error 13): give it to the user that runs";
    assert!(log(&site).contains(words), "{}", log(&site));
    // And mended, it is handed over again as any other.
    chmod(site.spool("failed/a.jsonl"), 0o600);
    std::fs::rename(site.spool("failed/a.jsonl"), site.spool("incoming/a.jsonl")).unwrap();
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 3);
    assert_eq!(solr.docs()["a"], json!({"id": "a"}));
    daemon.stop();
}

#[test]
fn a_delta_is_not_given_up_since_its_folder_is_away_for_a_while() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    wait_for("all know who leads", || solr.asked() >= 2);
    solr.turn(Mode::Stall);
    let before = solr.requests();
    let delta = Delta::offers(0..1_000, 1);
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || solr.requests() >= before + 2);
    std::fs::rename(site.spool("active"), site.path("away")).unwrap();
    daemon.workers()[0].signal(Signal::SIGKILL);
    wait_for("it is waited for", || log(&site).contains("cannot open the delta, trying again"));
    std::fs::rename(site.path("away"), site.spool("active")).unwrap();
    solr.turn(Mode::Up);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert!(site.is_done("x.jsonl"), "{}", log(&site));
    assert_same(&solr.docs(), &delta.docs);
    daemon.stop();
}

#[test]
fn a_folder_without_the_rights_is_told_with_the_remedy_and_mended_it_goes_on_by_itself() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url()).for_a_plain_user();
    site.configure("spool.poll = '200ms'\nspool.settle = '50ms'");
    let daemon = Daemon::start(&site);
    let remedy = "Permission denied (os error 13): give it to the user that runs solr-updater";
    let mut expected = Delta::default();
    let cases = [
        ("incoming", 0o500, "no delta can be claimed"),
        ("incoming", 0o600, "no delta can be claimed"),
        ("active", 0o500, "no delta can be claimed"),
        ("incoming", 0o000, "the spool cannot be read"), // the monitor sees that by itself
        ("done", 0o500, "no delta can be settled"),
    ];
    for (n, (folder, mode, words)) in (0..).zip(cases) {
        let delta = Delta::offers(n * 10..n * 10 + 10, 1);
        daemon.parent.freeze();
        site.hand_over("x.jsonl", &delta.text);
        chmod(site.spool(folder), mode);
        daemon.parent.signal(Signal::SIGCONT);
        let status = daemon.wait(words, |status| is_told(status, words));
        assert!(is_told(&status, remedy), "{}", status["health"]);
        assert_eq!(status["health"]["state"], "critical");
        site.check_updater(&[]).code(2).says(words);
        chmod(site.spool(folder), 0o700);
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n + 1);
        expected.docs.extend(delta.docs);
    }
    daemon.wait("it is well", |status| status["health"]["state"] == "ok");
    assert_same(&solr.docs(), &expected.docs);
    daemon.stop();
}
