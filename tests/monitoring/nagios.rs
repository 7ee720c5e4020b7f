//! Nagios 4, as Debian has it, in the foreground; what it knows stands in its status file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::common::finish;
use crate::place::{Place, Running, shipped};
use crate::story::{Told, Watcher};

pub const NAGIOS: &str = "/usr/sbin/nagios4";

pub struct Nagios {
    status: PathBuf,
    running: RefCell<Running>,
}

impl Nagios {
    pub fn start(place: &Place) -> Nagios {
        let folder = place.folder();
        place.make_folder("checkresults");
        place.write("resource.cfg", "$USER1$=@R@\n", &[]);
        place.write("commands.cfg", &shipped("nagios/commands.cfg"), &[]);
        place.write("service.cfg", &shipped("nagios/service.cfg"), &[]);
        let options = [("@OPTIONS@", "-t 5 -v --queue-warning 2 --queue-critical ~:5")];
        place.write("here.cfg", include_str!("nagios-here.cfg"), &options);
        place.write("nagios.cfg", include_str!("nagios.cfg"), &[]);
        let config = folder.join("nagios.cfg");
        finish(Command::new(NAGIOS).arg("-v").arg(&config), b"")
            .code(0)
            .says("Total Warnings: 0")
            .says("Total Errors:   0");
        let running = Running::start(place, Command::new(NAGIOS).arg(&config));
        Nagios { status: folder.join("status.dat"), running: RefCell::new(running) }
    }
}

impl Watcher for Nagios {
    /// What its status file says of the service.
    fn told(&self) -> Option<Told> {
        self.running.borrow_mut().is_there();
        let text = std::fs::read_to_string(&self.status).ok()?;
        let (_, rest) = text.split_once("servicestatus {")?;
        let lines = rest.lines().take_while(|line| line.trim() != "}");
        let of: BTreeMap<&str, &str> =
            lines.filter_map(|line| line.trim().split_once('=')).collect();
        if of.get("has_been_checked") != Some(&"1") {
            return None;
        }
        let text = |name: &str| of.get(name).copied().unwrap_or_default().to_owned();
        Some(Told {
            state: text("current_state").parse().ok()?,
            line: text("plugin_output"),
            details: text("long_plugin_output"),
            perf: text("performance_data"),
        })
    }
}
