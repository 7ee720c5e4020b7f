//! The monitor: it logs at its pace, and that is all it does. In a thread, or in a child.

use slog::{Logger, info};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Way, worker};

/// A monitor at work.
pub(crate) struct Monitor {
    /// What the kernel knows it by: a thread's id or a process's.
    pub(crate) id: i32,
    life: Life,
}

enum Life {
    Thread { stop: Arc<AtomicBool>, thread: JoinHandle<()> },
    Child,
}

impl Monitor {
    /// Starts it; it logs with `pause` between two lines.
    pub(crate) fn start(way: Way, log: Logger, pause: Duration) -> io::Result<Monitor> {
        match way {
            Way::Thread => {
                let stop = Arc::new(AtomicBool::new(false));
                let (tell, told) = mpsc::channel();
                let stopped = Arc::clone(&stop);
                let thread = std::thread::Builder::new().spawn(move || {
                    let _ = tell.send(nix::unistd::gettid().as_raw()); // somebody waits for it
                    chatter(&log, pause, &stopped);
                })?;
                let id = told.recv().expect("the thread sends it first");
                Ok(Monitor { id, life: Life::Thread { stop, thread } })
            }
            Way::Child => {
                let id = worker::fork(way, || chatter(&log, pause, &AtomicBool::new(false)))?;
                Ok(Monitor { id, life: Life::Child })
            }
        }
    }

    /// Ends it, and sees to it that this process has one thread again.
    pub(crate) fn stop(self) -> io::Result<()> {
        match self.life {
            Life::Thread { stop, thread } => {
                stop.store(true, Ordering::Relaxed);
                thread.join().expect("logging does not panic");
                // The kernel wakes who joins a thread a little before /proc forgets it.
                while sys::threads()? != 1 {
                    sys::poll(&[], Some(Duration::from_millis(1)))?;
                }
                Ok(())
            }
            Life::Child => worker::kill(self.id),
        }
    }
}

fn chatter(log: &Logger, pause: Duration, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        info!(log, "monitor: all is well"; "lag" => 0);
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}
