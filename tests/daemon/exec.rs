//! `[convert] exec`: the operator's own converter, in any language. What it answers is what Solr gets; what
//! it dies or hangs at is one line's fault, or an outage, and never a lost line.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use fake_solr::FakeCluster;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Process, Site, wait_for};
use crate::convert::block;

/// A converter: `n` becomes `n_i`, `gone` a delete, `draft` nothing. What else happens to a line is for each test.
const HEAD: &str = "#!/usr/bin/env -S -u PYTHONUNBUFFERED python3
import json, os, sys, time
here = os.path.dirname(sys.argv[0])
def known(name):
    return os.path.exists(os.path.join(here, name))
with open(os.path.join(here, 'starts'), 'a') as starts: starts.write('x')
for line in sys.stdin:
    l = json.loads(line)
    out = {'id': l['sku'], 'n_i': l.get('n')}
    if l.get('gone'): out = {'delete': {'id': l['sku']}}
    if l.get('draft'): out = None
";

fn script(site: &Site, body: &str, flush: bool) -> PathBuf {
    let path = site.path("conv");
    let flush = if flush { "True" } else { "False" };
    let end = format!("    print(json.dumps(out) if out else '', flush={flush})\n");
    // (Renamed: nobody must find half of it, or find it open for writing.)
    let new = site.path("conv.new");
    std::fs::write(&new, format!("{HEAD}{body}\n{end}")).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(new, &path).unwrap();
    path
}

/// A place with this converter, and what else is configured.
fn site(solr: &FakeSolr, body: &str, flush: bool, more: &str) -> Site {
    let site = Site::new(solr.url());
    let path = script(&site, body, flush);
    site.configure(&format!("spool.max_rejects = '50%'\nconvert.exec = [{path:?}]\n{more}"));
    site
}

fn lines(n: usize) -> String {
    (0..n).map(|n| format!("{{\"sku\":\"p{n}\",\"n\":{n}}}\n")).collect()
}

/// All but these documents are there, each sent once; these lines are rejected, for reasons with these words.
#[track_caller]
fn all_but(solr: &FakeSolr, site: &Site, n: usize, failed: &[usize], words: &str) {
    let docs = solr.docs();
    assert_eq!(docs.len(), n - failed.len());
    assert_eq!(solr.order().len(), docs.len(), "each was sent once");
    for (id, doc) in docs {
        assert_eq!(format!("p{}", doc["n_i"]), id);
    }
    let rejects = site.rejects("a.jsonl");
    let told: Vec<usize> =
        rejects.iter().map(|r| r["line"].as_u64().unwrap() as usize - 1).collect();
    assert_eq!(told, failed);
    for reject in rejects {
        assert_eq!(reject["stage"], "convert");
        assert!(reject["reason"].as_str().unwrap().contains(words), "{reject}");
        assert!(reject["raw"].as_str().unwrap().starts_with("{\"sku\""), "{reject}");
    }
}

fn reason(status: &Value) -> Option<String> {
    let reasons = status["health"]["reasons"].as_array()?;
    let reason = reasons.iter().find(|reason| reason["code"] == "convert")?;
    Some(format!("{}: {}", reason["severity"].as_str()?, reason["message"].as_str()?))
}

/// The converters that run, workers' children.
fn converters(daemon: &Daemon) -> Vec<Process> {
    daemon.workers().into_iter().flat_map(Process::children).collect()
}

#[test]
fn solr_gets_what_the_converter_answers() {
    for flush in [true, false] {
        let solr = FakeSolr::up();
        let site = site(&solr, "    if l.get('n') == 'x': print('no number'); continue", flush, "");
        site.run(&["check"]).code(0);
        let daemon = Daemon::start(&site);
        let text = "{\"sku\":\"a\",\"n\":1}\n\n{\"sku\":\"b\",\"draft\":true}\n{\"sku\":\"c\",\"gone\":true}\n\
                    {\"sku\":\"d\",\"n\":\"x\"}\n{\"sku\":\"cut\n{\"sku\":\"\"}\n[1]\n{\"sku\":\"e\",\"n\":5}\r\n{\"sku\":\"f\",\"n\":6}";
        for (n, name) in ["a.jsonl", "b.jsonl"].iter().enumerate() {
            site.hand_over(name, text);
            let status = daemon.wait("it is settled", |s| s["totals"]["deltas"] == n + 1);
            let counted = ["docs", "deletes", "skipped", "rejected"]
                .map(|key| status["totals"][key].as_u64());
            let n = n as u64 + 1;
            assert_eq!(counted, [3 * n, n, 2 * n, 4 * n].map(Some), "{}", status["totals"]);
        }
        let docs: Vec<(String, Value)> = solr.docs().into_iter().collect();
        let doc = |id: &str, n| (id.to_owned(), json!({"id": id, "n_i": n}));
        assert_eq!(docs, [doc("a", 1), doc("e", 5), doc("f", 6)]);
        let told: Vec<String> = site
            .rejects("b.jsonl")
            .iter()
            .map(|r| format!("{} {} {}", r["line"], r["stage"], r["reason"]))
            .collect();
        assert_eq!(
            told,
            [
                "5 \"convert\" \"exec's answer: malformed JSON at byte 2: expected ident (no number)\"",
                "6 \"parse\" \"malformed JSON at byte 11: EOF while parsing a string\"",
                "7 \"convert\" \"exec's answer: id is empty\"",
                "8 \"convert\" \"a list, not a JSON object\"",
            ]
        );
        std::fs::write(site.path("c.jsonl"), text).unwrap();
        let run = site.run(&["convert", "c.jsonl"]).code(1);
        assert_eq!(
            run.stdout,
            "{\"id\": \"a\", \"n_i\": 1}\n{\"delete\":{\"id\": \"c\"}}\n{\"id\": \"e\", \"n_i\": 5}\n{\"id\": \"f\", \"n_i\": 6}\n"
        );
        let at: Vec<&str> =
            run.stderr.lines().map(|line| &line[..line.find(": ").unwrap()]).collect();
        assert_eq!(at, ["c.jsonl:5", "c.jsonl:6", "c.jsonl:7", "c.jsonl:8"], "{}", run.stderr);
        daemon.stop();
    }
}

#[test]
fn a_converter_that_buffers_its_output_is_no_trouble_and_one_that_does_not_stays() {
    for flush in [false, true] {
        let solr = FakeSolr::up();
        let site = site(&solr, "", flush, "");
        let daemon = Daemon::start(&site);
        for n in 1..=3 {
            site.hand_over(&format!("{n}.jsonl"), lines(20_000));
            daemon.wait("it is settled", |s| s["totals"]["deltas"] == n);
        }
        let docs = solr.docs();
        assert_eq!((docs.len(), solr.order().len()), (20_000, 60_000));
        let starts = std::fs::read_to_string(site.path("starts")).unwrap().len();
        match flush {
            true => assert_eq!(starts, 2, "one for each worker"),
            false => assert!(starts >= 6, "{starts}"),
        }
        daemon.stop();
    }
}

#[test]
fn a_line_that_it_dies_at_is_rejected_after_a_second_try_and_all_others_are_delivered_once() {
    for flush in [true, false] {
        let solr = FakeSolr::up();
        let body = "    if l['n'] in (1001, 3000): raise Exception('no ' + str(l['n']))";
        let site = site(&solr, body, flush, "");
        let daemon = Daemon::start(&site);
        site.hand_over("a.jsonl", lines(5_000));
        let status = daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
        let words = "exec: it ended with exit status 1, saying \"Exception: no ";
        all_but(&solr, &site, 5_000, &[1001, 3000], words);
        assert_eq!(status["totals"]["worker_deaths"], 0, "its death is no worker's");
        let log = std::fs::read_to_string(site.log()).unwrap();
        assert!(log.contains("said: Exception: no 1001"), "{log}");

        // Mended, they are retried.
        script(&site, "", flush);
        site.run(&["reload"]).code(0);
        site.run(&["retry", "a.jsonl"]).code(0);
        wait_for("they are delivered", || solr.docs().len() == 5_000);
        wait_for("they are settled", || site.names("rejected").is_empty());
        daemon.stop();
    }
}

#[test]
fn a_line_that_it_hangs_at_is_rejected_after_a_second_try() {
    let solr = FakeSolr::up();
    let body = "    if l['n'] == 11: time.sleep(1000)";
    let site = site(&solr, body, true, "convert.exec_timeout = '8s'");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(40));
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    all_but(&solr, &site, 40, &[11], "exec: it hung for 8s, twice");
    daemon.stop();
}

/// A converter that does not work holds its delta, and says so; mended in this way it delivers all of it.
#[track_caller]
fn holds(body: &str, timeout: &str, words: &str, mend: impl FnOnce(&Site)) {
    let solr = FakeSolr::up();
    let site = site(&solr, body, true, &format!("convert.exec_timeout = '{timeout}'"));
    std::fs::write(site.path("down"), "").unwrap();
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(100));
    let status = daemon.wait("it is told", |status| reason(status).is_some());
    let begin = "critical: the converter does not work, and its delta waits: worker ";
    // (Which words come first depends on which worker is asked.)
    let told = reason(&status).unwrap();
    assert!(told.starts_with(begin) && told.contains(words), "{told}");
    site.check_updater(&[]).code(2).says("the converter does not work");
    wait_for("the log has it", || {
        let log = std::fs::read_to_string(site.log()).unwrap();
        log.contains("the converter does not work, trying again") && log.contains(words)
    });
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
    mend(&site);
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    all_but(&solr, &site, 100, &[], "");
    daemon.wait("all is well", |status| status["health"]["state"] == "ok");
    daemon.stop();
}

fn by_itself(site: &Site) {
    std::fs::remove_file(site.path("down")).unwrap();
}

#[test]
fn a_converter_that_dies_at_once_holds_its_delta_and_rejects_nothing() {
    holds("    if known('down'): sys.exit('no database')", "90s", "no database", by_itself);
}

#[test]
fn a_converter_that_never_answers_holds_its_delta_and_rejects_nothing() {
    holds(
        "    while known('down'): time.sleep(0.01)",
        "8s",
        "answers nothing: it hung for 8s",
        by_itself,
    );
}

#[test]
fn a_converter_that_answers_twice_for_each_line_holds_its_delta_and_rejects_nothing() {
    let body = "    if known('down'): print('{}')";
    holds(body, "90s", "it gave 2 lines for 1", by_itself);
}

#[test]
fn a_converter_that_is_replaced_by_a_reload_delivers_what_the_old_one_held() {
    holds("    sys.exit(3)", "90s", "exit status 3", |site| {
        script(site, "", false);
        site.run(&["reload"]).code(0);
    });
}

#[test]
fn a_converter_that_fails_half_way_holds_its_delta_and_rejects_nothing() {
    let solr = FakeSolr::up();
    let body = "    if l['n'] == 50 and not known('was'): open(os.path.join(here, 'down'), 'w')
    if known('down'): sys.exit('no database')";
    let site = site(&solr, body, true, "workers.count = 1");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(100));
    let status = daemon.wait("it is told", |status| reason(status).is_some());
    let words = "fails at lines that it answered before: it ended with exit status 1, saying \"no database\"";
    assert!(reason(&status).unwrap().contains(words), "{status}");
    wait_for("the others are delivered", || solr.docs().len() == 50);
    std::fs::rename(site.path("down"), site.path("was")).unwrap();
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    all_but(&solr, &site, 100, &[], "");
    daemon.stop();
}

#[test]
fn a_converter_that_is_away_for_a_while_is_started_when_it_is_back() {
    let solr = FakeSolr::up();
    let site = site(&solr, "", true, "");
    let daemon = Daemon::start(&site);
    // (As long as workers begin, it would be a mistake in the configuration.)
    wait_for("all are ready", || daemon.tail_of_log().contains("INFO ready, workers: 2"));
    std::fs::rename(site.path("conv"), site.path("away")).unwrap();
    site.hand_over("a.jsonl", lines(100));
    let status = daemon.wait("it is told", |status| reason(status).is_some());
    let words = format!("cannot start {}: No such file", site.path("conv").display());
    assert!(reason(&status).unwrap().contains(&words), "{status}");
    std::fs::rename(site.path("away"), site.path("conv")).unwrap();
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    all_but(&solr, &site, 100, &[], "");
    daemon.stop();
}

#[test]
fn a_converter_never_outlives_its_worker() {
    let solr = FakeSolr::up();
    // It does not even see that its input is closed.
    let body = "    if l['n'] >= 50 and known('down'): time.sleep(1000)";
    let site = site(&solr, body, true, "");
    std::fs::write(site.path("down"), "").unwrap();
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(100));
    wait_for("both hang", || solr.docs().len() == 50);
    let before = converters(&daemon);
    assert_eq!(before.len(), 2);
    daemon.workers().into_iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    wait_for("they are gone", || before.iter().all(|converter| !converter.is_alive()));
    wait_for("others hang", || {
        let now = converters(&daemon);
        now.len() == 2 && now.iter().all(|converter| converter.is_alive())
    });
    // What the dead had not sent is sent by others.
    by_itself(&site);
    daemon.workers().into_iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    assert_eq!((solr.docs().len(), site.names("rejected")), (100, vec![]));
    let last = converters(&daemon);
    daemon.kill();
    wait_for("they are gone", || last.iter().all(|converter| !converter.is_alive()));
}

#[test]
fn a_stop_does_not_wait_for_a_converter_and_what_it_owes_is_not_done() {
    let solr = FakeSolr::up();
    let body = "    if l['n'] >= 50 and known('down'): time.sleep(1000)";
    let site = site(&solr, body, true, "");
    std::fs::write(site.path("down"), "").unwrap();
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(100));
    wait_for("both hang", || solr.docs().len() == 50);
    let hung = converters(&daemon);
    daemon.stop();
    assert!(hung.len() == 2 && hung.iter().all(|converter| !converter.is_alive()));
    assert_eq!((site.names("done"), site.names("rejected")), (vec![], vec![]));
    by_itself(&site);
    let daemon = Daemon::start(&site);
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    all_but(&solr, &site, 100, &[], "");
    daemon.stop();
}

#[test]
fn a_converter_sees_nothing_of_the_daemons() {
    let solr = FakeSolr::up();
    let body = "    fds = [int(f) for f in os.listdir('/proc/self/fd') if known('/proc/self/fd/' + f)]
    names = ('NOTIFY_SOCKET', 'CREDENTIALS_DIRECTORY', 'WATCHDOG_PID', 'WATCHDOG_USEC', 'LISTEN_FDS')
    out['fds_is'], out['env_ss'] = sorted(fds), [n for n in names if n in os.environ]
    out['path_b'], out['group_b'] = 'PATH' in os.environ, os.getpgrp() == os.getpid()
    blocked = [l.split()[1] for l in open('/proc/self/status') if l.startswith('SigBlk')]
    out['blocked_s'] = blocked[0]";
    let site = site(&solr, body, true, "workers.count = 1");
    let mut command = site.command(&["run"]);
    let secret = site.path("tmp");
    command.env("NOTIFY_SOCKET", site.path("nobody")).env("CREDENTIALS_DIRECTORY", secret);
    command.env("WATCHDOG_USEC", "60000000").env("WATCHDOG_PID", "1");
    let log = std::fs::File::create(site.log()).unwrap();
    let daemon = Daemon::spawn_by(command, &site, log.into());
    daemon.up();
    site.hand_over("a.jsonl", lines(1));
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    let doc = json!({"id": "p0", "n_i": 0, "fds_is": [0, 1, 2], "env_ss": [], "path_b": true,
        "group_b": true, "blocked_s": "0000000000000000"});
    assert_eq!(solr.docs()["p0"], doc);
    daemon.stop();
}

#[test]
fn a_line_with_more_than_one_answer_is_found_and_what_cannot_be_told_apart_fails_the_delta() {
    let solr = FakeSolr::up();
    let body = "    if l['n'] == 20: print('warning: 20')\n    if l['n'] == 21: print('{}')";
    let site = site(&solr, body, true, "");
    let daemon = Daemon::start(&site);
    site.hand_over("a.jsonl", lines(40));
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    all_but(&solr, &site, 40, &[20, 21], "it gave 2 lines for 1: need one for each");

    // Where the answers of many others have been taken meanwhile, nobody knows whose they were.
    script(&site, "    if l['n'] == 21: print(json.dumps({'id': 'more', 'n_i': 1}))", true);
    site.run(&["reload"]).code(0);
    site.hand_over("b.jsonl", lines(200_000));
    wait_for("it is given up", || site.names("failed").iter().any(|name| name == "b.jsonl"));
    let log = std::fs::read_to_string(site.log()).unwrap();
    assert!(
        log.contains("gave more lines than it was given") && log.contains("hand it over again")
    );
    daemon.stop();
}

#[test]
fn the_last_line_of_a_document_wins_with_a_converter_too() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(5)));
    let site = site(
        &solr,
        "    if l['n'] % 1000 == 99 and not known(line[-9:-1].strip('\"}')): \
         open(os.path.join(here, line[-9:-1].strip('\"}')), 'w'); sys.exit(1)",
        false,
        "batch.docs = 20\nworkers = { count = 3, partition = 'id', partition_key = 'sku' }",
    );
    let daemon = Daemon::start(&site);
    let text: String =
        (0..3_000).map(|n| format!("{{\"sku\":\"p{}\",\"n\":{n}}}\n", n % 100)).collect();
    site.hand_over("a.jsonl", &text);
    wait_for("it has begun", || solr.taken() > 100);
    daemon.workers()[1].signal(Signal::SIGKILL);
    daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
    let docs = solr.docs();
    assert_eq!((docs.len(), site.names("rejected")), (100, vec![]));
    for (id, doc) in docs {
        assert_eq!(format!("p{}", doc["n_i"].as_u64().unwrap() - 2_900), id);
    }
    daemon.stop();
}

#[test]
fn a_layout_that_changes_half_way_loses_nothing_that_a_converter_has_answered() {
    let cluster = FakeCluster::start(2);
    let site = Site::for_collection(cluster.urls(), "c");
    site.configure("batch.docs = 50\nretry.most = '2s'\nconvert.exec = ['/bin/cat']");
    let daemon = Daemon::start(&site);
    let mut delta = Delta::offers(0..10_000, 1);
    for n in 0..10_000 {
        delta.delete(&format!("old-{n}"));
    }
    for n in 0..5_000 {
        delta.doc(json!({"id": format!("again-{}", n % 100), "n_i": n}));
    }
    site.hand_over("x.jsonl", &delta.text);
    wait_for("it is under way", || cluster.taken() > 2_000);
    cluster.split(0);
    wait_for("deletes are under way", || cluster.taken() > 13_000);
    cluster.split(1);
    let status = daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(cluster.docs().len(), delta.docs.len(), "{}", status["totals"]);
    assert_eq!(site.names("rejected"), [""; 0]);
    let counted = ["docs", "deletes", "rejected"].map(|n| status["totals"][n].as_u64());
    assert_eq!(counted, [15_000, 10_000, 0].map(Some));
    daemon.stop();
}

#[test]
fn the_readmes_converter_does_what_it_says() {
    let site = Site::new("http://127.0.0.1:9/solr");
    let path = site.path("convert.py");
    std::fs::write(&path, block("a converter")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    site.configure(&format!("convert.exec = [{path:?}]"));
    let lines =
        "{\"sku\":\"a\",\"title\":\"A\"}\n{\"sku\":\"b\"}\n{\"sku\":\"c\",\"deleted\":true}\n";
    let run = site.run_with_input(&["convert"], lines.as_bytes()).code(1);
    assert_eq!(run.stdout, "{\"id\": \"a\", \"name_t\": \"A\"}\n{\"delete\":{\"id\": \"c\"}}\n");
    let last = run.stderr.lines().last();
    assert_eq!(last, Some("stdin:2: exec: it ended with exit status 1, twice"), "{run:?}");
    assert!(run.stderr.contains("KeyError: 'title'\n"), "{run:?}");
}

#[test]
fn a_converter_that_cannot_be_is_a_mistake_with_its_place() {
    let site = Site::new("http://127.0.0.1:9/solr");
    let path = site.path("conv");
    let line = |exec: &str| {
        site.configure(&format!("convert.exec = [{exec}]"));
        let text = std::fs::read_to_string(site.config()).unwrap();
        text.lines().position(|line| line.starts_with("exec = ")).unwrap() + 1
    };
    let quoted = format!("{:?}, \"-v\"", path.display().to_string());
    let at = line(&quoted);
    let place = format!("{}:{at}:10: convert.exec: {}: ", site.config().display(), path.display());
    std::fs::write(site.path("a.jsonl"), "{}\n").unwrap();
    for command in [&["check"][..], &["convert", "a.jsonl"], &["run"], &["feed", "a.jsonl"]] {
        let run = site.run(command).code(78).says(&format!("{place}No such file"));
        assert!(command != ["check"] || run.stderr.contains(&"^".repeat(10)), "{run:?}");
    }
    std::fs::write(&path, "").unwrap();
    site.run(&["check"]).code(78).says(&format!("{place}may not be executed: chmod +x"));
    let at = line("\"conv\"");
    let place = format!(
        "{}:{at}:9: convert.exec = \"conv\": need an absolute path",
        site.config().display()
    );
    site.run(&["check"]).code(78).says(&place);
}

#[test]
fn a_dry_run_streams_through_a_converter() {
    use std::io::{BufRead, BufReader, Write};
    let solr = FakeSolr::up();
    for flush in [true, false] {
        let site = site(&solr, "", flush, "");
        let mut command = site.command(&["convert", "-"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        for n in 0..3 {
            writeln!(input, "{{\"sku\":\"a\",\"n\":{n}}}").unwrap();
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, format!("{{\"id\": \"a\", \"n_i\": {n}}}\n"));
        }
        drop(input);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let site = site(&solr, "    sys.exit('no database')", true, "");
    std::fs::write(site.path("a.jsonl"), lines(3)).unwrap();
    let run = site
        .run(&["convert", "a.jsonl"])
        .code(1)
        .says("answers nothing: it ended with exit status 1");
    assert!(run.stderr.starts_with("no database\n"), "{run:?}");
}

#[test]
fn what_the_converter_answers_is_held_against_the_schema_and_it_is_asked_once() {
    for flush in [true, false] {
        let solr = FakeSolr::up();
        solr.set_schema(Some(crate::schema::schema(&[("n_i", "pint")])));
        let site = site(&solr, "    open(sys.argv[0] + '.asked', 'a').write(line)", flush, "");
        let daemon = Daemon::start(&site);
        let text = lines(20).replace("\"n\":7}", "\"n\":7.5}");
        site.hand_over("a.jsonl", &text);
        daemon.wait("it is settled", |s| s["totals"]["deltas"] == 1);
        assert_eq!(solr.ids().len(), 19);
        let rejects = site.rejects("a.jsonl");
        assert_eq!((rejects.len(), &rejects[0]["line"]), (1, &json!(8)), "{rejects:?}");
        assert_eq!(
            rejects[0]["reason"],
            "n_i (pint): 7.5 is no whole number, and Solr would store 7"
        );
        let asked = std::fs::read_to_string(site.path("conv.asked")).unwrap();
        assert_eq!(asked.matches("7.5").count(), 1, "the schema's refusal is not its fault");
        // Mended, it is delivered.
        solr.set_schema(Some(crate::schema::schema(&[("n_i", "string")])));
        site.run(&["retry", "a.jsonl"]).code(0);
        daemon.wait("it is settled", |s| s["totals"]["deltas"] == 2);
        assert_eq!((solr.ids().len(), site.names("rejected")), (20, vec![]));
        daemon.stop();
    }
}
