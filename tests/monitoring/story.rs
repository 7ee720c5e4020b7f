//! What happens to the daemon, and what whoever watches it has to say then: the state, and words that name the cause.
//! After each chapter all is well again, and that has to be told, too. (Nagios makes a colon of each semicolon in a
//! first line, since it separates the fields of its log: nothing here may depend on that.)

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Daemon, Delta, Mode, PATIENCE, wait_for};
use crate::place::{HASTE, Place};

/// What a monitoring system knows of the service, as it says it itself.
#[derive(Debug, Default)]
pub struct Told {
    pub state: i32,
    /// The first line, without performance data.
    pub line: String,
    /// The lines below it.
    pub details: String,
    pub perf: String,
}

pub trait Watcher {
    /// What it knows now; `None`: nothing yet.
    fn told(&self) -> Option<Told>;
}

const OK: i32 = 0;
const WARNING: i32 = 1;
const CRITICAL: i32 = 2;
const UNKNOWN: i32 = 3;

/// Waits until the watcher says so; answers all it says.
#[track_caller]
pub fn says(watcher: &dyn Watcher, state: i32, words: &str) -> Told {
    let by = Instant::now() + PATIENCE;
    loop {
        let told = watcher.told();
        match told {
            Some(told) if told.state == state && told.line.contains(words) => return told,
            _ if Instant::now() < by => std::thread::sleep(Duration::from_millis(100)),
            _ => panic!("waited {PATIENCE:?} for state {state} and {words:?}: {told:#?}"),
        }
    }
}

/// All chapters, from a daemon that is not there yet to one that is no more.
pub fn tell(place: &Place, watcher: &dyn Watcher) {
    says(watcher, CRITICAL, "UPDATER CRITICAL - no daemon: no socket at /tmp/");
    let daemon = Daemon::start(&place.site);
    all_is_well(watcher);
    it_is_paused_and_the_queue_grows(place, watcher);
    a_line_is_rejected(place, watcher);
    solr_is_down(place, watcher);
    a_worker_hangs(place, &daemon, watcher);
    the_parent_stops(&daemon, watcher);
    a_reload_is_refused(place, &daemon, watcher);
    nobody_may_ask(place, watcher);
    daemon.kill();
    says(watcher, CRITICAL, "UPDATER CRITICAL - no daemon: nobody listens at /tmp/");
}

#[track_caller]
fn all_is_well(watcher: &dyn Watcher) {
    let told = says(watcher, OK, "UPDATER OK - 2 of 2 workers, queue 0, lag 0 s");
    let figures = ["lag=0s;300;1800;0", "queue=0;2;~:5;0", "workers=2;;;0;2", "solr_age=0s;1;2;0"];
    assert!(figures.iter().all(|figure| told.perf.contains(figure)), "{told:#?}");
    assert!(told.perf.contains(" docs=") && !told.details.contains("docs="), "{told:#?}");
    assert!(told.details.contains("[OK] workers alive 2"), "{told:#?}");
}

fn it_is_paused_and_the_queue_grows(place: &Place, watcher: &dyn Watcher) {
    let hand_over = |numbers: std::ops::Range<u32>| {
        for n in numbers {
            place.site.hand_over(&format!("{n}.jsonl"), format!("{{\"id\":\"{n}\"}}\n"));
        }
    };
    place.site.run(&["pause"]).code(0);
    says(watcher, WARNING, "UPDATER WARNING - paused: nothing is sent until ");
    hand_over(0..4);
    says(watcher, WARNING, " queue 4");
    hand_over(4..8);
    says(watcher, CRITICAL, "UPDATER CRITICAL - queue 8");
    place.site.run(&["resume"]).code(0);
    all_is_well(watcher);
}

fn a_line_is_rejected(place: &Place, watcher: &dyn Watcher) {
    place.site.hand_over("wrong.jsonl", "{\"id\":\"good\"}\n{\"id\":\"wrong\",\"bad\":1}\n");
    says(watcher, WARNING, "UPDATER WARNING - 1 line rejected: in ");
    place.site.run(&["drop", "--all"]).code(0);
    all_is_well(watcher);
}

fn solr_is_down(place: &Place, watcher: &dyn Watcher) {
    place.solr.turn(Mode::Down);
    place.site.hand_over("late.jsonl", "{\"id\":\"late\"}\n");
    let told = says(watcher, CRITICAL, "UPDATER CRITICAL - Solr unreachable for ");
    assert!(
        told.line.contains("connection refused") || told.line.contains("connection reset"),
        "{told:#?}"
    );
    assert!(told.details.contains(&place.solr.url()), "which one: {told:#?}");
    place.solr.turn(Mode::Up);
    all_is_well(watcher);
}

fn a_worker_hangs(place: &Place, daemon: &Daemon, watcher: &dyn Watcher) {
    place.solr.turn(Mode::Slow(Duration::from_millis(20)));
    let before = place.solr.taken();
    place.site.hand_over("many.jsonl", Delta::offers(0..20_000, 1).text);
    wait_for("it is under way", || place.solr.taken() > before + 200);
    let worker = daemon.workers()[0];
    worker.freeze();
    says(watcher, CRITICAL, "UPDATER CRITICAL - worker 0 has given no sign of life for ");
    worker.signal(Signal::SIGCONT);
    place.solr.turn(Mode::Up);
    all_is_well(watcher);
}

fn the_parent_stops(daemon: &Daemon, watcher: &dyn Watcher) {
    daemon.parent.freeze();
    says(watcher, CRITICAL, "UPDATER CRITICAL - the parent has given no sign of life for ");
    daemon.parent.signal(Signal::SIGCONT);
    all_is_well(watcher);
}

fn a_reload_is_refused(place: &Place, daemon: &Daemon, watcher: &dyn Watcher) {
    place.site.configure("workers.count = 0");
    daemon.parent.signal(Signal::SIGHUP);
    let told = says(watcher, WARNING, "UPDATER WARNING - running on the old configuration: ");
    assert!(
        told.line.contains("workers.count = 0") || told.details.contains("workers.count = 0"),
        "{told:#?}"
    );
    place.site.configure(HASTE);
    place.site.run(&["reload"]).code(0);
    all_is_well(watcher);
}

/// Not by root, that is: whoever watches runs as another user.
fn nobody_may_ask(place: &Place, watcher: &dyn Watcher) {
    place.mode_of_socket(0o000);
    says(watcher, UNKNOWN, "UPDATER UNKNOWN - no permission to ask /tmp/");
    place.mode_of_socket(0o666);
    all_is_well(watcher);
}
