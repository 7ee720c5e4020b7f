//! Two onlookers with a clock: when did the daemon deliver, and when did Solr itself take updates?

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::Scope;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Over;
use crate::common::ask;

/// The id of what the onlooker posts begins so.
pub(super) const OBSERVER: &str = "observer";
/// `rf` where no replica confirmed anything.
const NOBODY: i64 = 2_147_483_647;

/// What they saw.
#[derive(Default)]
pub(super) struct Watch {
    stopped: AtomicBool,
    /// When more documents were delivered than before.
    delivery: Mutex<Vec<Instant>>,
    /// When Solr confirmed the onlooker's own.
    solr: Mutex<Vec<Instant>>,
}

/// A time without.
pub(super) struct Silence {
    pub(super) end: Instant,
    pub(super) length: Duration,
}

/// Stops the watch and the load.
pub(super) struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Watch {
    pub(super) fn stops_when_dropped(&self) -> Stop<'_> {
        Stop(&self.stopped)
    }

    pub(super) fn goes_on(&self) -> bool {
        !self.stopped.load(Relaxed)
    }

    /// Looks at the daemon's status every 20 ms.
    pub(super) fn delivery(&self, socket: &Path) {
        let mut before = None;
        while self.goes_on() {
            let docs = ask(socket, "status").and_then(|a| a["status"]["totals"]["docs"].as_u64());
            if docs > before {
                self.delivery.lock().unwrap().push(Instant::now());
                before = docs;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Posts this document of shard1 every 50 ms, whether the one before was answered or not: one that
    /// hangs must not hide that the next would pass.
    pub(super) fn solr<'s>(&'s self, scope: &'s Scope<'s, '_>, url: String, id: String) {
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
        let agent = ureq::Agent::from(config.timeout_global(Some(Duration::from_secs(2))).build());
        let number = AtomicU64::new(0);
        while self.goes_on() {
            let (agent, url, id) = (agent.clone(), url.clone(), id.clone());
            let number = number.fetch_add(1, Relaxed);
            scope.spawn(move || {
                if takes(&agent, &url, &id, number).is_some() {
                    self.solr.lock().unwrap().push(Instant::now());
                }
            });
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether there was no silence of half a second for so long.
    pub(super) fn goes_well(&self, over: Over, long: Duration) -> bool {
        let now = Instant::now();
        let well = |times: &Mutex<Vec<Instant>>| {
            let times = times.lock().unwrap();
            times.first().is_some_and(|first| *first < now - long)
                && silence(&times, now - long, now).length < Duration::from_millis(500)
        };
        well(&self.delivery) && (over == Over::Both || well(&self.solr))
    }

    /// The longest silence between these times, or that had begun before: Solr's, and delivery's.
    pub(super) fn silences(&self, from: Instant, to: Instant) -> [Silence; 2] {
        [&self.solr, &self.delivery].map(|times| silence(&times.lock().unwrap(), from, to))
    }
}

fn silence(times: &[Instant], from: Instant, to: Instant) -> Silence {
    let mut sorted = times.to_vec();
    sorted.sort();
    let first = sorted.partition_point(|time| *time <= from).saturating_sub(1);
    let mut begin = sorted.get(first).map_or(from, |time| (*time).min(from));
    let mut longest = Silence { end: from, length: Duration::ZERO };
    for time in sorted.into_iter().skip(first).filter(|time| *time < to).chain([to]) {
        let length = time.saturating_duration_since(begin);
        if length > longest.length {
            longest = Silence { end: time, length };
        }
        begin = time;
    }
    longest
}

/// Posts one document; some: a replica has it.
fn takes(agent: &ureq::Agent, url: &str, id: &str, number: u64) -> Option<()> {
    let doc = format!(r#"[{{"id":"{id}","price_i":{number}}}]"#);
    let update = agent.post(format!("{url}/update?wt=json"));
    let mut answer = update.header("Content-Type", "application/json").send(doc).ok()?;
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
    let header = &answer["responseHeader"];
    let rf = header["rf"].as_i64()?;
    (header["status"] == 0 && (1..NOBODY).contains(&rf)).then_some(())
}
