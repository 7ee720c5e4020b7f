//! Holds the whole run to its deadline: one thread that sleeps until then and, where nobody has spoken, says so
//! and ends the program. One clock for connect, write, read, judging and printing, instead of a timeout on each.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use crate::options::Timeout;
use crate::report::{Report, speak_dying};

/// What the run is at, for the words of a timeout.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Stage {
    /// Before and after the rest.
    Working,
    /// In connect(2).
    Connecting,
    /// In write(2).
    Asking,
    /// In read(2).
    Reading,
}

static STAGE: AtomicU8 = AtomicU8::new(Stage::Working as u8);

/// This notes what the run is at from now on.
pub fn stage(stage: Stage) {
    STAGE.store(stage as u8, Ordering::Relaxed);
}

/// Starts the thread. The deadline counts from `started`, so that reading the command line is in it too.
pub fn watch(started: Instant, timeout: Timeout) -> io::Result<()> {
    let watch = move || {
        std::thread::sleep(timeout.after.saturating_sub(started.elapsed()));
        let doing = match STAGE.load(Ordering::Relaxed) {
            stage if stage == Stage::Connecting as u8 => "nobody accepts the connection",
            stage if stage == Stage::Asking as u8 => "nobody reads the question",
            stage if stage == Stage::Reading as u8 => "the answer is not there, or not whole",
            _ => "this machine is too slow",
        };
        let text = format!("no answer within {} s: {doing}", timeout.after.as_secs_f64());
        speak_dying(Report::new(timeout.state, text))
    };
    std::thread::Builder::new().name("watchdog".into()).stack_size(64 << 10).spawn(watch)?;
    Ok(())
}
