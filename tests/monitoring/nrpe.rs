//! NRPE, as Debian has it, in the foreground; asked over TLS by check_nrpe, as a monitoring host does.

use std::cell::RefCell;
use std::process::Command;

use crate::common::finish;
use crate::place::{Place, Running, free_port, shipped};
use crate::story::{Told, Watcher};

pub const NRPE: &str = "/usr/sbin/nrpe";
pub const CHECK_NRPE: &str = "/usr/lib/nagios/plugins/check_nrpe";

pub struct Nrpe {
    port: String,
    running: RefCell<Running>,
}

impl Nrpe {
    pub fn start(place: &Place) -> Nrpe {
        let port = free_port().to_string();
        let snippet = shipped("nrpe/solr-updater.cfg");
        let installed = "/usr/lib/nagios/plugins/check_updater -t 8\n";
        assert_eq!(snippet.matches(installed).count(), 1, "{snippet}");
        let here = "@R@/check_updater -s @SOCKET@ -t 5 -v --queue-warning 2 --queue-critical ~:5\n";
        let text = include_str!("nrpe.cfg").to_owned() + &snippet.replace(installed, here);
        place.write("nrpe.cfg", &text, &[("@PORT@", &port)]);
        let config = place.folder().join("nrpe.cfg");
        let running = Running::start(place, Command::new(NRPE).arg("-c").arg(config).arg("-f"));
        Nrpe { port, running: RefCell::new(running) }
    }
}

impl Watcher for Nrpe {
    fn told(&self) -> Option<Told> {
        self.running.borrow_mut().is_there();
        let mut command = Command::new(CHECK_NRPE);
        command.args(["-H", "127.0.0.1", "-p", &self.port, "-t", "10", "-c", "check_updater"]);
        let run = finish(&mut command, b"");
        let (first, details) = run.stdout.split_once('\n').unwrap_or((&run.stdout, ""));
        if !first.starts_with("UPDATER ") {
            return None; // check_nrpe itself speaks: NRPE does not listen yet
        }
        let (line, perf) = first.split_once(" | ").unwrap_or((first, ""));
        Some(Told {
            state: run.code?,
            line: line.into(),
            details: details.into(),
            perf: perf.into(),
        })
    }
}
