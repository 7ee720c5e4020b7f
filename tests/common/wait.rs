//! Waiting for a condition, with a deadline that only a failure meets.

use std::time::{Duration, Instant};

/// Machines that test are busy: this is no promise of the daemon's, only the end of hope.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until the answer is yes.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for_some(what, || is_so().then_some(()));
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn wait_for_some<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let by = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < by, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
