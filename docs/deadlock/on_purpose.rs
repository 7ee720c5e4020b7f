//! The deadlock on purpose: no injection, no luck, real slog-term. A full pipe keeps the monitor in
//! write(2), and so the logger's lock locked, for as long as it takes to fork.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use slog::info;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::monitor::Monitor;
use crate::seat::Seat;
use crate::{Effort, Way, logger, worker};

const FIRST_LINE: &str = "worker: my first line";

/// What was seen.
pub(crate) struct Seen {
    /// Where the monitor sat when the worker was forked.
    pub(crate) monitor_sat: Seat,
    /// How many lines the monitor has logged since.
    pub(crate) monitor_logged: usize,
    /// After how long the worker's first line came; `None`: it never did.
    pub(crate) arrived: Option<Duration>,
    /// Where the worker sat at last.
    pub(crate) worker_sits: Seat,
}

impl Seen {
    pub(crate) fn monitor_went_on(&self) -> String {
        match self.monitor_logged {
            0 => "does not go on".into(),
            n => format!("goes on, {n} lines"),
        }
    }

    pub(crate) fn first_line(&self, effort: &Effort) -> String {
        match self.arrived {
            Some(after) => format!("comes after {:.1} ms", after.as_secs_f64() * 1e3),
            None => format!("waited {} s, nothing", effort.patience.as_secs()),
        }
    }

    pub(crate) fn worker_is(&self) -> String {
        match self.arrived {
            Some(_) => "gone, all said".into(),
            None => format!("hangs: {}", self.worker_sits),
        }
    }
}

/// Fills the pipe, forks, drains the pipe, and waits so long for the worker's first line.
pub(crate) fn run(way: Way, patience: Duration) -> io::Result<Seen> {
    let (log_end, pipe) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let (mut log_end, pipe) = (File::from(log_end), File::from(pipe));
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096))?; // the smallest, or it would take a second to fill
    let log = logger(pipe.try_clone()?);

    let monitor = Monitor::start(way, log.clone(), Duration::from_millis(1))?;
    let monitor_sat = wait_until_it_sits_in_write(monitor.id, &pipe)?;
    let worker = worker::fork(way, || info!(log, "{FIRST_LINE}"))?;

    let drained = Instant::now();
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    let mut arrived = None;
    while let Some(left) = patience.checked_sub(drained.elapsed()) {
        if arrived.is_some() {
            break;
        }
        if sys::poll(&[(log_end.as_fd(), sys::Interest::Read)], Some(left))?[0].readable {
            let n = log_end.read(&mut chunk)?;
            text.extend_from_slice(&chunk[..n]);
            let came = text.windows(FIRST_LINE.len()).any(|w| w == FIRST_LINE.as_bytes());
            arrived = came.then(|| drained.elapsed());
        }
    }

    let worker_sits = Seat::of(worker);
    worker::kill(worker)?;
    drop(log_end); // the monitor's next line fails, rather than wait for room
    monitor.stop()?;
    let logged = String::from_utf8_lossy(&text).matches("monitor: all is well").count();
    Ok(Seen { monitor_sat, monitor_logged: logged, arrived, worker_sits })
}

/// Waits until the pipe is full and the monitor has nowhere else to be than in its write(2).
fn wait_until_it_sits_in_write(monitor: i32, pipe: &File) -> io::Result<Seat> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        sys::poll(&[], Some(Duration::from_millis(20)))?;
        let full =
            !sys::poll(&[(pipe.as_fd(), sys::Interest::Write)], Some(Duration::ZERO))?[0].writable;
        let seat = Seat::of(monitor);
        if full && seat.may_be_a_write() {
            return Ok(seat);
        }
    }
    Err(io::Error::other("the monitor never came to sit in write(2)"))
}
