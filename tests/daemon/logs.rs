//! The log: one line an event, whole, whoever writes; every key as docs/log.md has it; rotated without a
//! loss; and no secret in it, nor in anything else that the program says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::common::{Daemon, Delta, FakeSolr, Mode, Process, Run, Site, ask, wait_for};

/// An object whose keys are told apart: no key stands twice.
struct Event(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Event, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Event;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if let Some(before) = members.insert(key, value) {
                        return Err(serde::de::Error::custom(format!("twice: {before}")));
                    }
                }
                Ok(Event(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn events(text: &str) -> Vec<BTreeMap<String, Value>> {
    let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(event).map(|Event(members)| members).collect()
}

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap_or_default()).expect("the log is UTF-8")
}

/// The keys of docs/log.md and their types.
fn documented() -> BTreeMap<String, &'static str> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| key | type | what |").expect("the table of keys");
    let rows = table.lines().skip(2).take_while(|row| row.starts_with("| "));
    let mut keys = BTreeMap::from(["time", "level", "message"].map(|key| (key.to_owned(), "text")));
    for row in rows {
        let [names, kind] = row.split('|').skip(1).take(2).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let kind = ["text", "number", "true or false"].into_iter().find(|k| *k == kind.trim());
        for name in names.split('`').skip(1).step_by(2) {
            assert_eq!(
                keys.insert(name.to_owned(), kind.expect("a type")),
                None,
                "{name} stands twice"
            );
        }
    }
    keys
}

#[test]
fn every_key_in_the_source_is_documented() {
    let keys = documented();
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let product = text.split("\n#[cfg(test)]").next().unwrap();
                found.extend(keys_of_events(product));
            }
        }
    }
    assert!(found.len() > 30, "{found:?}");
    let missing: Vec<_> = found.iter().filter(|key| !keys.contains_key(*key)).collect();
    assert!(missing.is_empty(), "not in docs/log.md: {missing:?}");
    let unknown: Vec<_> = keys.keys().filter(|key| !found.contains(*key)).collect();
    let always = ["level", "message", "role", "time"];
    assert_eq!(unknown, always, "no event has them");
}

/// What stands before `=>` in the macros that log.
fn keys_of_events(text: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for name in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
        for call in text.split(name).skip(1) {
            let mut depth = 1;
            let end = call.find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            let parts: Vec<&str> = call[..end.unwrap_or(call.len())].split("\" =>").collect();
            let before = &parts[..parts.len() - 1];
            keys.extend(before.iter().filter_map(|part| Some(part.rsplit_once('"')?.1.to_owned())));
        }
    }
    keys
}

/// Has a daemon go through most of what can happen to one.
fn a_bad_day(
    site: &Site,
    daemon: &Daemon,
    solr: &FakeSolr,
    config: &str,
    log: impl Fn() -> String,
) {
    let mut delta = Delta::offers(0..2_000, 1);
    delta.line("no JSON").line("{\"id\":\"\"}");
    site.hand_over("a \"quoted\" näme\n.jsonl", &delta.text);
    site.hand_over(
        "b.jsonl",
        [0xef, 0xbb, 0xbf].into_iter().chain(*b"{\"id\":\"b\"}\n").collect::<Vec<u8>>(),
    );
    daemon.wait("they are settled", |status| status["totals"]["deltas"] == 2);
    for round in 1..=3 {
        daemon.workers().iter().for_each(|worker| worker.signal(Signal::SIGKILL));
        daemon.wait("they are replaced", |s| {
            s["totals"]["worker_deaths"].as_u64() >= Some(4 * round)
        });
        daemon.up();
    }
    site.run(&["pause"]).code(0);
    site.run(&["resume"]).code(0);
    site.run(&["drop", "b.jsonl"]).code(1);
    // A reason longer than a line can be.
    let wrong: String = (0..200).map(|n| format!("\"nonsense_{n}_ü\" = 1\n")).collect();
    site.write_config(&wrong);
    site.run(&["reload", "-s", site.control_socket().to_str().unwrap()]).code(1);
    site.configure(config);
    site.run(&["reload"]).code(0);
    solr.turn(Mode::Down);
    site.hand_over("c.jsonl", "{\"id\":\"c\"}\n");
    wait_for("it is told", || {
        let log = log();
        log.contains("\"health\":\"solr\"") || log.contains("health: solr")
    });
    solr.turn(Mode::Up);
    site.hand_over("d.jsonl.gz", "no archive\n");
    daemon.wait("all is settled", |status| status["totals"]["deltas"] == 4);
    wait_for("what is over is told", || log().contains("well again"));
}

const BAD_DAY: &str = "workers.count = 4\nspool.max_rejects = '100%'\nlog.format = 'json'\nlog.level = 'trace'\n\
                       health.solr = { warning = '300ms', critical = '600ms' }";

fn judge(text: &str) {
    let keys = documented();
    let events = events(text);
    let mut messages = BTreeSet::new();
    for (event, line) in events.iter().zip(text.lines()) {
        assert!(line.len() < 4096, "{line}");
        for (key, value) in event {
            let kind = match value {
                Value::String(_) => "text",
                Value::Number(_) => "number",
                Value::Bool(_) => "true or false",
                _ => "another",
            };
            assert_eq!(keys.get(key), Some(&kind), "{key} in {line}");
        }
        assert!(
            line.starts_with("{\"time\":\"20") && event["time"].as_str().unwrap().ends_with('Z'),
            "{line}"
        );
        let level = event["level"].as_str().unwrap();
        assert!(["error", "warning", "info", "debug", "trace"].contains(&level), "{line}");
        messages.insert(event["message"].as_str().unwrap());
    }
    for message in [
        "ready",
        "delta claimed",
        "delta settled",
        "delta failed",
        "share failed",
        "child died, replacing it",
        "not well",
        "well again",
        "command",
        "paused",
        "reloaded",
        "reload refused, running on the old configuration",
        "stopped",
    ] {
        assert!(messages.contains(message), "{message:?} is not among {messages:?}");
    }
    let settled = events.iter().find(|event| event["message"] == "delta settled").unwrap();
    assert_eq!(
        (&settled["delta"], &settled["lines"], &settled["docs"], &settled["rejects"]),
        (&"a \"quoted\" näme\n.jsonl".into(), &2_002.into(), &2_000.into(), &2.into())
    );
    let refused = |event: &&BTreeMap<String, Value>| {
        event.get("reason").is_some_and(|r| r.to_string().len() > 900)
    };
    assert!(
        events.iter().any(|event| refused(&event)),
        "the long reason is there, as far as it fits"
    );
    assert!(events.len() < 150, "{} lines: none for each document", events.len());
}

#[test]
fn every_line_of_a_bad_day_is_an_object_with_documented_keys_in_a_file() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let config = format!("{BAD_DAY}\nlog.file = '{}'", site.path("events").display());
    site.configure(&config);
    let daemon = Daemon::start(&site);
    a_bad_day(&site, &daemon, &solr, &config, || read(&site.path("events")));
    daemon.stop();
    judge(&read(&site.path("events")));
    assert_eq!(read(&site.log()), "", "standard error has none of it");
}

#[test]
fn every_line_of_a_bad_day_is_an_object_with_documented_keys_in_a_pipe() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure(BAD_DAY);
    let (ours, theirs) = std::io::pipe().unwrap();
    let daemon = Daemon::spawn_logging_to(&site, Stdio::from(theirs));
    let told = Arc::new(Mutex::new(String::new()));
    let so_far = Arc::clone(&told);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(ours).lines() {
            *so_far.lock().unwrap() += &(line.unwrap() + "\n");
        }
    });
    daemon.up();
    a_bad_day(&site, &daemon, &solr, BAD_DAY, || told.lock().unwrap().clone());
    daemon.stop();
    reader.join().unwrap();
    judge(&told.lock().unwrap());
}

#[test]
fn text_is_one_line_an_event_whatever_the_names() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let config = BAD_DAY.replace("'json'", "'text'");
    site.configure(&config);
    let daemon = Daemon::start(&site);
    a_bad_day(&site, &daemon, &solr, &config, || read(&site.log()));
    daemon.stop();
    let text = read(&site.log());
    for line in text.lines() {
        let level = line.split(' ').nth(3).unwrap_or_default();
        assert!(["ERRO", "WARN", "INFO", "DEBG", "TRCE"].contains(&level), "{line}");
        assert!(line.len() < 4096 && line.chars().all(|c| !c.is_control()), "{line}");
    }
    assert!(
        text.contains("delta settled, delta: a \"quoted\" näme\\n.jsonl, lines: 2002, docs: 2000"),
        "{text}"
    );
}

// --- rotated --------------------------------------------------------------------------------------

/// Which deltas a log tells as settled.
fn settled(path: &Path) -> Vec<String> {
    let events = events(&read(path));
    let settled = events.into_iter().filter(|event| event["message"] == "delta settled");
    settled.map(|event| event["delta"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rotated_log_is_opened_anew_by_everybody_and_loses_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (log, old) = (site.path("events"), site.path("events.1"));
    let config = format!("log.format = 'json'\nlog.file = '{}'", log.display());
    site.configure(&config);
    let daemon = Daemon::start(&site);
    let (mut handed, mut told) = (Vec::new(), Vec::new());
    // A byte order mark is told by the worker who meets it, a command by the monitor.
    let mut hand_over = |round: usize, when: &str| {
        let name = format!("{round}-{when}.jsonl");
        site.hand_over(&name, "\u{feff}{\"id\":\"x\"}\n");
        handed.push(name.clone());
        daemon.wait("it is settled", |_| site.is_done(&name));
        name
    };
    for round in 0..4 {
        hand_over(round, "before");
        // What refuses a reload does not keep anybody in the old file.
        let is_refused = round % 2 == 1;
        site.configure(&format!("{config}\n{}", if is_refused { "workers.count = 0" } else { "" }));
        std::fs::rename(&log, &old).unwrap();
        let had = read(&old);
        hand_over(round, "meanwhile");
        assert!(read(&old).len() > had.len(), "until it is told, it goes on in the old one");
        daemon.parent.signal(Signal::SIGHUP);
        daemon.wait("it has heard", |status| {
            let of = |name: &str| status["parent"][name].as_u64().unwrap() as usize;
            of("reloads") + of("reload_failures") == round + 1
        });
        wait_for("the last generation is gone", || daemon.parent.children().len() == 3);
        let had = read(&old);
        let name = hand_over(round, "after");
        ask(&site.control_socket(), "pause").unwrap();
        ask(&site.control_socket(), "resume").unwrap();
        let new = events(&read(&log));
        let tells = |role: Option<&str>, message: &str| {
            new.iter().any(|e| {
                e.get("role").and_then(Value::as_str).map(|r| &r[..6]) == role
                    && e["message"] == message
            })
        };
        assert!(tells(None, "delta settled") && settled(&log).contains(&name), "the parent");
        assert!(tells(Some("monito"), "command"), "the monitor");
        let mark = "the delta begins with a byte order mark, which is passed over";
        assert!(tells(Some("worker"), mark), "a worker: {new:?}");
        assert_eq!(read(&old), had, "nobody is left in the old one");
        told.extend(settled(&old));
    }
    daemon.stop();
    told.extend(settled(&log));
    assert_eq!(told, handed, "each once");
}

// --- secrets --------------------------------------------------------------------------------------

const PASSWORD: &str = "0pen-Sesame-4711";
const TOKEN: &str = "tok.Shibboleth.0815";

/// Fails if a secret stands in what somebody said.
#[track_caller]
fn is_not_in(text: &[u8], what: &str) {
    use std::io::Write;
    // As it is, and as it travels.
    let mut base64 = std::process::Command::new("base64")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("base64, of coreutils");
    write!(base64.stdin.take().unwrap(), "feeder:{PASSWORD}").unwrap();
    let travels = String::from_utf8(base64.wait_with_output().unwrap().stdout).unwrap();
    for secret in [PASSWORD, TOKEN, travels.trim()] {
        let is_there = text.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{what} has {secret}: {}", String::from_utf8_lossy(text));
    }
}

#[track_caller]
fn says_no_secret(run: Run, code: i32) -> Run {
    let run = run.code(code);
    is_not_in(run.stdout.as_bytes(), "stdout");
    is_not_in(run.stderr.as_bytes(), "stderr");
    run
}

/// All files below a folder but these.
fn search(folder: &Path, except: &[&Path]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = path.symlink_metadata().unwrap();
        if found.is_dir() {
            search(&path, except);
        } else if found.is_file() && !except.contains(&&*path) {
            is_not_in(&std::fs::read(&path).unwrap(), &path.display().to_string());
        }
    }
}

fn search_processes(daemon: &Daemon) {
    let mut all = daemon.parent.children();
    all.push(daemon.parent);
    for Process { pid, .. } in all {
        for file in ["cmdline", "environ", "comm"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            is_not_in(&text, &format!("{file} of {pid}"));
        }
    }
}

#[test]
fn no_secret_is_in_logs_status_errors_files_or_the_process_list() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let (password, token) = (site.path("password"), site.path("token"));
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::write(&token, TOKEN).unwrap();
    for file in [&password, &token] {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let quick = "log.level = 'trace'\nhealth.solr = { warning = '300ms', critical = '600ms' }";
    let by_password =
        format!("{quick}\nsolr.username = 'feeder'\nsolr.password_file = '{}'", password.display());
    let by_token = format!("{quick}\nsolr.token_file = '{}'", token.display());
    site.configure(&by_password);
    let daemon = Daemon::start(&site);
    let ask_everything = || {
        for words in ["status", "health", "metrics", "rejects", "history", "help", "ping"] {
            let socket = site.control_socket();
            let answer =
                crate::common::ask(&socket, words).map(|a| a.to_string()).unwrap_or_default();
            is_not_in(answer.as_bytes(), words);
        }
        says_no_secret(site.run(&["status"]), 0);
        says_no_secret(site.run(&["status", "--json"]), 0);
        let plugin = site.check_updater(&["-vvv"]);
        is_not_in(plugin.stdout.as_bytes(), "the plugin");
        search_processes(&daemon);
    };
    // Refused, away, and taken; with the one and with the other.
    for (round, config) in [&by_password, &by_token].into_iter().enumerate() {
        site.configure(config);
        says_no_secret(site.run(&["reload"]), 0);
        solr.turn(Mode::Status { code: 401, content_type: "text/html", body: "<h1>401</h1>" });
        let name = format!("{round}.jsonl");
        site.hand_over(&name, "{\"id\":\"x\"}\nno JSON\n");
        daemon.wait("it is refused", |status| {
            status["health"]["reasons"].to_string().contains("401")
        });
        ask_everything();
        solr.turn(Mode::Down);
        daemon.wait("it is away", |status| status["solr"]["reachable"] == false);
        ask_everything();
        solr.turn(Mode::Up);
        daemon.wait("it is settled", |_| site.is_done(&name));
        ask_everything();
        // One by one, without a daemon.
        std::fs::write(site.path("fed.jsonl"), "{\"id\":\"fed\"}\n").unwrap();
        says_no_secret(site.run(&["feed", "fed.jsonl"]), 0);
        says_no_secret(site.run(&["check"]), 0);
        is_not_in(format!("{:?}", site.run(&["check", "--solr"])).as_bytes(), "check --solr");
    }
    // A secret that cannot be one is not shown either.
    let broken = format!("{TOKEN} and\nmore\n");
    std::fs::write(&token, broken).unwrap();
    let run = says_no_secret(site.run(&["reload"]), 1);
    assert!(run.stderr.contains("token"), "{run:?}");
    // A user in a URL is refused wherever it stands, and not repeated.
    let url = format!("http://feeder:{PASSWORD}@127.0.0.1:1/solr");
    site.configure(&format!("solr.urls = ['{url}']"));
    says_no_secret(site.run(&["check"]), 78);
    says_no_secret(site.run(&["run"]), 78);
    says_no_secret(site.run(&["feed", "fed.jsonl"]), 78);
    says_no_secret(site.run(&["reload", "-s", site.control_socket().to_str().unwrap()]), 1);
    site.configure("");
    says_no_secret(site.run(&["feed", "--url", &url, "fed.jsonl"]), 78);
    ask_everything();
    daemon.stop();
    site.configure("");
    search(&site.path(""), &[&password, &token]);
    assert!(site.log().metadata().unwrap().size() > 1_000, "there was something to be searched");
}
