//! Icinga 2, as Debian has it, in the foreground and asked by its API, with a certificate made for the purpose.

use std::cell::RefCell;
use std::process::Command;

use serde_json::Value;

use crate::common::finish;
use crate::place::{Place, Running, free_port, shipped};
use crate::story::{Told, Watcher};

pub const ICINGA: &str = "/usr/sbin/icinga2";

/// What it wants to find; under these names by [`icinga`].
const FOLDERS: [&str; 7] = [
    "data/api/packages",
    "data/certs",
    "log/crash",
    "cache",
    "run/cmd",
    "spool/perfdata",
    "spool/tmp",
];

pub struct Icinga {
    port: u16,
    running: RefCell<Running>,
}

impl Icinga {
    pub fn start(place: &Place) -> Icinga {
        let port = free_port();
        for folder in FOLDERS {
            place.make_folder(folder);
        }
        place.write("command.conf", &shipped("icinga2/command.conf"), &[]);
        place.write("service.conf", &shipped("icinga2/service.conf"), &[]);
        place.write("icinga2.conf", include_str!("icinga2.conf"), &[("@PORT@", &port.to_string())]);
        certificate(place);
        let checked = finish(icinga(place).arg("-C"), b"").code(0);
        let said = checked.says("Instantiated 1 Service").says("Finished validating").stdout;
        assert!(!said.contains("warning/") && !said.contains("critical/"), "{said}");
        Icinga { port, running: RefCell::new(Running::start(place, &mut icinga(place))) }
    }

    fn service(&self) -> Option<Value> {
        self.running.borrow_mut().is_there();
        let url =
            format!("https://127.0.0.1:{}/v1/objects/services/feeder!solr-updater", self.port);
        let run =
            finish(Command::new("curl").args(["-sk", "-m", "5", "-u", "test:test", &url]), b"");
        let mut answer: Value = serde_json::from_str(&run.stdout).ok()?;
        Some(answer["results"][0]["attrs"].take())
            .filter(|attrs| attrs["last_check_result"].is_object())
    }

    /// The command line it ran last.
    pub fn command(&self) -> String {
        let service = self.service().expect("it has checked");
        let words = service["last_check_result"]["command"].as_array().expect("a list").clone();
        words.iter().map(|word| word.as_str().expect("a word")).collect::<Vec<_>>().join(" ")
    }
}

impl Watcher for Icinga {
    fn told(&self) -> Option<Told> {
        let service = self.service()?;
        let result = &service["last_check_result"];
        let output = result["output"].as_str()?;
        let (line, details) = output.split_once('\n').unwrap_or((output, ""));
        let figures = result["performance_data"].as_array()?.iter();
        let figures: Vec<&str> = figures.filter_map(Value::as_str).collect();
        Some(Told {
            state: service["state"].as_f64()? as i32,
            line: line.to_owned(),
            details: details.to_owned(),
            perf: figures.join(" "),
        })
    }
}

/// `icinga2 daemon` on our configuration, with all its folders in the watcher's.
fn icinga(place: &Place) -> Command {
    let (folder, (user, group)) = (place.folder(), place.as_whom());
    let mut command = Command::new(ICINGA);
    command.env("ICINGA2_USER", user).env("ICINGA2_GROUP", group);
    command.args(["daemon", "-c"]).arg(folder.join("icinga2.conf"));
    for (name, below) in [
        ("ConfigDir", ""),
        ("DataDir", "data"),
        ("LogDir", "log"),
        ("CacheDir", "cache"),
        ("InitRunDir", "run"),
        ("SpoolDir", "spool"),
    ] {
        command.arg(format!("-D{name}={}", folder.join(below).display()));
    }
    command.arg("-DConcurrency=1");
    command
}

/// What its API wants before it listens: a key, and a certificate that is its own authority's.
fn certificate(place: &Place) {
    let certs = place.folder().join("data/certs");
    let (key, certificate, authority) =
        (certs.join("self.key"), certs.join("self.crt"), certs.join("ca.crt"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=self",
        "-keyout",
    ]);
    finish(openssl.arg(&key).arg("-out").arg(&certificate), b"").code(0);
    std::fs::copy(&certificate, &authority).expect("the place is ours");
    [key, certificate, authority].iter().for_each(|file| place.give(file));
}

/// Holds each figure against Icinga's own parser of performance data: it has to read what was written.
pub fn reads(figures: &[&str]) {
    let quoted = figures.iter().map(|figure| format!("{figure:?}")).collect::<Vec<_>>().join(", ");
    let each =
        "f => { var p = parse_performance_data(f); [p.label, p.value, p.unit, p.warn, p.min] }";
    let ask = format!("Json.encode([{quoted}].map({each}))");
    let run = finish(Command::new(ICINGA).args(["console", "-e", &ask]), b"").code(0);
    let read: String = serde_json::from_str(&run.stdout).expect("a quoted text");
    let read: Vec<Figure> = serde_json::from_str(&read).expect("a list");
    let ours: Vec<Figure> = figures.iter().map(|figure| written(figure)).collect();
    assert_eq!(read, ours);
}

/// Label, value, unit as Icinga calls it, warning where it is a plain number (of ranges Icinga makes nothing), least.
type Figure = (String, f64, String, Option<f64>, Option<f64>);

fn written(figure: &str) -> Figure {
    let (label, rest) = figure.split_once('=').expect("label=value");
    let mut fields = rest.split(';');
    let number = |text: &str| text.parse::<f64>().ok();
    let value = fields.next().expect("split gives one");
    let (plain, unit) = value.split_at(value.find(char::is_alphabetic).unwrap_or(value.len()));
    let unit = match unit {
        "s" => "seconds",
        "B" => "bytes",
        "" | "c" => "",
        other => panic!("{other:?} is none of the units: {figure}"),
    };
    let (warn, _crit, min) = (fields.next(), fields.next(), fields.next());
    let value = number(plain).expect("a number");
    (label.to_owned(), value, unit.to_owned(), warn.and_then(number), min.and_then(number))
}
