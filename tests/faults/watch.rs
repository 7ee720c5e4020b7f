//! The onlooker: asks for the status again and again, and writes down how long the answer took
//! while the parent or a worker stood still. The monitor must answer all the same.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::ask;

/// What stood still while a question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Still {
    /// Nothing.
    Nothing,
    /// A worker.
    Worker,
    /// The parent.
    Parent,
}

/// What the campaign tells the onlooker, and what it has seen.
#[derive(Default)]
pub struct Watch {
    stopped: AtomicBool,
    workers_still: AtomicU64,
    parents_still: AtomicU64,
    /// While something concerns the monitor itself, its answers prove nothing.
    disturbed: AtomicU64,
    /// Changes with each of these.
    epoch: AtomicU64,
    samples: Mutex<Vec<(Still, Duration)>>,
}

/// Something lasts as long as this is held.
pub struct Lasting<'a> {
    watch: &'a Watch,
    counter: &'a AtomicU64,
}

impl Drop for Lasting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Relaxed);
        self.watch.epoch.fetch_add(1, Relaxed);
    }
}

/// Ends the watch when it is dropped, however that comes.
pub struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Watch {
    /// Ends it when that is dropped.
    pub fn stops_when_dropped(&self) -> Stop<'_> {
        Stop(&self.stopped)
    }

    fn lasting<'a>(&'a self, counter: &'a AtomicU64) -> Lasting<'a> {
        counter.fetch_add(1, Relaxed);
        self.epoch.fetch_add(1, Relaxed);
        Lasting { watch: self, counter }
    }

    /// A worker stands still.
    pub fn worker_stands_still(&self) -> Lasting<'_> {
        self.lasting(&self.workers_still)
    }

    /// The parent does.
    pub fn parent_stands_still(&self) -> Lasting<'_> {
        self.lasting(&self.parents_still)
    }

    /// The monitor is being replaced, or gone with its parent.
    pub fn monitor_is_disturbed(&self) -> Lasting<'_> {
        self.lasting(&self.disturbed)
    }

    fn now(&self) -> (Still, u64) {
        let still = match (self.parents_still.load(Relaxed), self.workers_still.load(Relaxed)) {
            (0, 0) => Still::Nothing,
            (0, _) => Still::Worker,
            _ => Still::Parent,
        };
        (still, self.epoch.load(Relaxed))
    }

    /// Asks every 20 ms.
    pub fn run(&self, socket: &Path) {
        while !self.stopped.load(Relaxed) {
            let ((still, epoch), begin) = (self.now(), Instant::now());
            let answer = ask(socket, "status");
            let took = begin.elapsed();
            let undisturbed = self.disturbed.load(Relaxed) == 0 && self.now() == (still, epoch);
            if undisturbed {
                // No answer at all took as long as one waits.
                let took = if answer.is_some() { took } else { Duration::from_secs(10) };
                self.samples.lock().unwrap_or_else(|e| e.into_inner()).push((still, took));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often it was asked while this stood still; the 99th percentile of the answers' times,
    /// and the longest.
    pub fn times(&self, still: Still) -> Option<(usize, Duration, Duration)> {
        let samples = self.samples.lock().unwrap_or_else(|e| e.into_inner());
        let of = samples.iter().filter(|(what, _)| *what == still);
        let mut times: Vec<Duration> = of.map(|(_, took)| *took).collect();
        times.sort();
        let worst = *times.last()?;
        Some((times.len(), times[(times.len() * 99 / 100).min(times.len() - 1)], worst))
    }
}
