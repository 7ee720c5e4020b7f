//! The deadlock by chance: many forks beside a monitor that logs at some pace.

use slog::info;
use std::io;
use std::time::{Duration, Instant};

use crate::monitor::Monitor;
use crate::seat::Seat;
use crate::{Way, log_file, logger, worker};

/// How often the monitor logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) name: &'static str,
    /// Between two lines; `None`: there is no monitor.
    pause: Option<Duration>,
}

/// From the unreal to the real.
pub(crate) const PACES: [Pace; 4] = [
    Pace { name: "without a pause", pause: Some(Duration::ZERO) },
    Pace { name: "each 100 µs", pause: Some(Duration::from_micros(100)) },
    Pace { name: "each ms", pause: Some(Duration::from_millis(1)) },
    Pace { name: "never: no monitor", pause: None },
];

/// So many at once, since those that hang stay until their round is over.
const ROUND: usize = 100;

/// Forks so many workers; how many of them hang on their first line.
pub(crate) fn run(way: Way, pace: Pace, forks: usize) -> io::Result<usize> {
    let file = log_file()?;
    let log = logger(file.try_clone()?);
    let monitor = pace.pause.map(|pause| Monitor::start(way, log.clone(), pause)).transpose()?;
    let mut hung = 0;
    let mut left = forks;
    while left > 0 {
        let now = left.min(ROUND);
        let mut workers = Vec::with_capacity(now);
        for _ in 0..now {
            workers.push(worker::fork(way, || info!(log, "worker: my first line"))?);
        }
        hung += count_the_hung(workers)?;
        left -= now;
        file.set_len(0)?; // a tight loop would fill the disk
    }
    if let Some(monitor) = monitor {
        monitor.stop()?;
    }
    Ok(hung)
}

/// Waits for those that end; the others, when they have sat on a lock for a while, hang. A worker
/// that is merely slow is waited for: it does not sit on a lock.
fn count_the_hung(mut workers: Vec<i32>) -> io::Result<usize> {
    let start = Instant::now();
    loop {
        let mut alive = Vec::new();
        for worker in workers {
            if !worker::has_ended(worker)? {
                alive.push(worker);
            }
        }
        workers = alive;
        let a_while = start.elapsed() > Duration::from_millis(300);
        if workers.is_empty() || a_while && workers.iter().all(|w| Seat::of(*w).may_be_a_lock()) {
            break;
        }
        sys::poll(&[], Some(Duration::from_millis(5)))?;
    }
    for worker in &workers {
        worker::kill(*worker)?;
    }
    Ok(workers.len())
}
