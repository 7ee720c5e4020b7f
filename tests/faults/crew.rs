//! The daemon under fire: its processes are killed, stopped and continued, it is told to reload, and
//! started again as systemd would when its parent is gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::chronicle::{Chronicle, Underway};
use crate::common::{Daemon, Process, Site, ask};
use crate::kind::{Kind, seconds};
use crate::watch::{Lasting, Watch};

/// A daemon that is not up by then never will be.
const PATIENCE: Duration = Duration::from_secs(180);
/// What is waited for in passing.
const SOON: Duration = Duration::from_secs(15);

/// What the table tells of the daemon's life.
#[derive(Debug, Default)]
pub struct Told {
    /// How often it was started.
    pub starts: u64,
    /// How often it did not want to, by exit code.
    pub refused: BTreeMap<i32, u64>,
    /// How long it took to stop when it was asked to, at most.
    pub longest_stop: Duration,
    /// From SIGSTOP until a worker that stood still was gone; nothing else was done meanwhile.
    pub hangs: Vec<Duration>,
    /// What should not have happened, in words.
    pub others: Vec<String>,
}

/// A worker that stands still until the daemon has noticed.
struct Hung<'a> {
    process: Process,
    since: Instant,
    /// Nothing else has kept the daemon from noticing.
    clean: bool,
    _still: Lasting<'a>,
    _fault: Underway<'a>,
}

/// The daemon, and who does things to it.
pub struct Crew<'a> {
    site: &'a Site,
    chronicle: &'a Chronicle,
    watch: &'a Watch,
    /// What the configuration always says, and what it says now besides.
    base: String,
    now: String,
    daemon: Option<Daemon>,
    hung: Vec<Hung<'a>>,
    /// For the table.
    pub told: Told,
}

impl<'a> Crew<'a> {
    /// Starts the daemon, with this in its configuration always.
    pub fn start(
        site: &'a Site,
        base: String,
        chronicle: &'a Chronicle,
        watch: &'a Watch,
    ) -> Crew<'a> {
        let (now, daemon, hung, told) = (String::new(), None, Vec::new(), Told::default());
        let mut crew = Crew { site, chronicle, watch, base, now, daemon, hung, told };
        let _disturbed = watch.monitor_is_disturbed();
        crew.spawn();
        crew
    }

    /// Does it.
    pub fn strike(&mut self, kind: Kind, rng: &mut fastrand::Rng) {
        self.see_to_life();
        match kind.hand() {
            "worker" => self.strike_worker(kind, rng),
            "monitor" => self.strike_monitor(kind, rng),
            "parent" if kind == Kind::ParentStop => self.stop_parent(rng),
            "parent" => self.end_parent(kind, rng),
            _ => self.reload(kind, rng),
        }
    }

    /// To be called now and then: sees whether those who stand still are gone.
    pub fn look(&mut self) {
        let all = std::mem::take(&mut self.hung).into_iter();
        let (left, gone): (Vec<_>, Vec<_>) = all.partition(|hung| hung.process.is_alive());
        self.hung = left;
        for hung in gone {
            let took = hung.since.elapsed();
            self.chronicle.say(&format!("a worker that stood still is gone after {took:.1?}"));
            if hung.clean {
                self.told.hangs.push(took);
            }
        }
    }

    /// All faults end; the daemon runs, with a configuration that is good.
    pub fn heal(&mut self) {
        for hung in std::mem::take(&mut self.hung) {
            hung.process.signal(Signal::SIGCONT);
        }
        self.see_to_life();
        self.write_configuration();
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Told {
        self.daemon.take().expect("it runs").stop();
        self.told
    }

    /// The status document, if somebody answers.
    pub fn status(&self) -> Option<Value> {
        Some(ask(&self.site.status_socket(), "status")?["status"].take())
    }

    /// Parent and children with their names.
    pub fn processes(&self) -> Vec<(String, Process)> {
        let Some(daemon) = &self.daemon else { return Vec::new() };
        let children = daemon.parent.children().into_iter().map(|child| (child.name(), child));
        std::iter::once(("parent".to_owned(), daemon.parent)).chain(children).collect()
    }

    fn pick(&self, name: &str, rng: &mut fastrand::Rng) -> Option<Process> {
        let all =
            self.processes().into_iter().filter(|(own, p)| own.starts_with(name) && p.is_alive());
        rng.choice(all.collect::<Vec<_>>()).map(|(_, process)| process)
    }

    // --- workers and monitor ----------------------------------------------------------------------

    fn strike_worker(&mut self, kind: Kind, rng: &mut fastrand::Rng) {
        let Some(process) = self.pick("worker", rng) else { return };
        let details = format!("{} {}", process.name(), process.pid);
        match kind {
            Kind::WorkerStop => {
                let (_fault, _still) =
                    (self.chronicle.begin(kind, &details), self.watch.worker_stands_still());
                process.signal(Signal::SIGSTOP);
                std::thread::sleep(seconds(rng, 0.1, 4.0));
                process.signal(Signal::SIGCONT);
            }
            Kind::WorkerHang if self.hung.is_empty() => {
                let (_fault, _still) =
                    (self.chronicle.begin(kind, &details), self.watch.worker_stands_still());
                process.signal(Signal::SIGSTOP);
                let since = Instant::now();
                self.hung.push(Hung { process, since, clean: true, _still, _fault });
            }
            Kind::WorkerHang => {}
            kind => {
                let fault = self.chronicle.begin(kind, &details);
                process.signal(signal_of(kind));
                fault.over();
            }
        }
    }

    fn strike_monitor(&mut self, kind: Kind, rng: &mut fastrand::Rng) {
        let Some(process) = self.pick("monitor", rng) else { return };
        let _disturbed = self.watch.monitor_is_disturbed();
        let _fault = self.chronicle.begin(kind, &process.pid.to_string());
        if kind == Kind::MonitorStop {
            process.signal(Signal::SIGSTOP);
            std::thread::sleep(seconds(rng, 0.1, 5.0));
            process.signal(Signal::SIGCONT);
        } else {
            process.signal(signal_of(kind));
        }
        let another =
            |status: &Value| kind == Kind::MonitorStop || status["monitor"]["pid"] != process.pid;
        self.wait_for("the monitor answers", another);
    }

    // --- the parent -------------------------------------------------------------------------------

    fn stop_parent(&mut self, rng: &mut fastrand::Rng) {
        let Some(daemon) = &self.daemon else { return };
        self.hung.iter_mut().for_each(|hung| hung.clean = false);
        let (_fault, _still) = (
            self.chronicle.begin(Kind::ParentStop, &daemon.parent.pid.to_string()),
            self.watch.parent_stands_still(),
        );
        daemon.parent.signal(Signal::SIGSTOP);
        std::thread::sleep(seconds(rng, 0.1, 6.0));
        daemon.parent.signal(Signal::SIGCONT);
    }

    /// Ends the parent, and starts another one soon after.
    fn end_parent(&mut self, kind: Kind, rng: &mut fastrand::Rng) {
        let Some(daemon) = self.daemon.take() else { return };
        let _disturbed = self.watch.monitor_is_disturbed();
        let _fault = self.chronicle.begin(kind, &daemon.parent.pid.to_string());
        let (children, begin) = (daemon.parent.children(), Instant::now());
        daemon.parent.signal(signal_of(kind));
        let code = daemon.ended();
        if kind == Kind::ParentTerm {
            self.told.longest_stop = self.told.longest_stop.max(begin.elapsed());
            if code != Some(0) {
                self.told.others.push(format!("SIGTERM, and it ended with {code:?}"));
            }
        }
        self.see_children_gone(&children);
        drop(daemon);
        self.hung.clear();
        std::thread::sleep(seconds(rng, 0.05, 1.5));
        self.spawn();
    }

    /// The kernel ends them with their parent, but for one that was stopped before it had run at
    /// all; that one systemd would end.
    fn see_children_gone(&mut self, children: &[Process]) {
        let (begin, left) = (Instant::now(), || children.iter().filter(|child| child.is_alive()));
        while left().next().is_some() && begin.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(5));
        }
        for child in left() {
            let (name, state) = (child.name(), child.state());
            if state != Some('T') {
                self.told.others.push(format!("{name} outlived its parent, in state {state:?}"));
            }
            child.signal(Signal::SIGKILL);
        }
    }

    /// Starts the daemon, again and again until it stays.
    fn spawn(&mut self) {
        let by = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < by, "the daemon does not start");
            self.write_configuration();
            let daemon = Daemon::spawn(self.site);
            self.told.starts += 1;
            loop {
                let status = self.status().filter(|s| s["parent"]["pid"] == daemon.parent.pid);
                if status.is_some_and(|status| is_up(&status)) {
                    self.daemon = Some(daemon);
                    return;
                }
                if !daemon.parent.is_alive() {
                    let code = daemon.ended().unwrap_or(-1);
                    self.chronicle
                        .say(&format!("the daemon did not want to start: exit code {code}"));
                    *self.told.refused.entry(code).or_default() += 1;
                    std::thread::sleep(Duration::from_secs(1));
                    break;
                }
                assert!(Instant::now() < by, "the daemon does not come up");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Nobody has ended the parent, so it lives.
    fn see_to_life(&mut self) {
        if self.daemon.as_ref().is_some_and(|daemon| daemon.parent.is_alive()) {
            return;
        }
        let ended = self.daemon.take().map(|daemon| daemon.ended());
        self.told.others.push(format!("the daemon has ended by itself: {ended:?}"));
        self.spawn();
    }

    // --- the configuration ------------------------------------------------------------------------

    fn write_configuration(&self) {
        self.site.configure(&format!("{}\n{}", self.base, self.now));
    }

    fn reload(&mut self, kind: Kind, rng: &mut fastrand::Rng) {
        let Some(parent) = self.daemon.as_ref().map(|daemon| daemon.parent) else { return };
        let _disturbed = self.watch.monitor_is_disturbed();
        self.hung.iter_mut().for_each(|hung| hung.clean = false);
        let counter = if kind == Kind::ReloadGood { "reloads" } else { "reload_failures" };
        let count = |status: &Value| status["parent"][counter].as_u64();
        let before = self.status().as_ref().and_then(count);
        let details = match kind {
            Kind::ReloadGood => self.change(rng),
            _ => self.spoil(rng),
        };
        let _fault = self.chronicle.begin(kind, &details);
        parent.signal(Signal::SIGHUP);
        // Now and then the next fault finds the reload in its middle.
        match rng.u8(..3) {
            0 => std::thread::sleep(seconds(rng, 0.0, 0.3)),
            _ => self.wait_for("the reload is over", |status| count(status) > before),
        }
        self.write_configuration();
    }

    fn change(&mut self, rng: &mut fastrand::Rng) -> String {
        let (count, docs, in_flight) =
            ([1, 2, 2, 3, 4][rng.usize(..5)], [50, 300, 1000][rng.usize(..3)], rng.u32(1..=3));
        self.now =
            format!("workers.count = {count}\nbatch.docs = {docs}\nbatch.in_flight = {in_flight}");
        self.write_configuration();
        self.now.replace('\n', ", ")
    }

    fn spoil(&self, rng: &mut fastrand::Rng) -> String {
        let spoilt = match rng.u8(..3) {
            0 => "workers.count = 0",
            1 => "solr.username = 'x'\nsolr.password_file = '/nowhere/password'",
            _ => {
                self.site.write_config("no TOML at all");
                return "no TOML".into();
            }
        };
        self.site.configure(&format!("{}\n{spoilt}", self.base));
        spoilt.replace('\n', ", ")
    }

    /// Waits, for a moment only: other faults go on.
    fn wait_for(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let by = Instant::now() + SOON;
        while !self.status().is_some_and(|status| is_so(&status)) {
            if Instant::now() > by {
                return self.chronicle.say(&format!("not in {SOON:?}: {what}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn is_up(status: &Value) -> bool {
    let workers = status["workers"].as_array();
    status["state"] == "running"
        && workers.is_some_and(|all| !all.is_empty() && all.iter().all(|w| !w["pid"].is_null()))
}

fn signal_of(kind: Kind) -> Signal {
    use Kind::*;
    match kind {
        WorkerTerm | MonitorTerm | ParentTerm => Signal::SIGTERM,
        WorkerAbort | MonitorAbort | ParentAbort => Signal::SIGABRT,
        _ => Signal::SIGKILL,
    }
}
