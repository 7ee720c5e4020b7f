//! Two clocks: one that only goes forward and is the same in parent and children, and the
//! calendar's.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Milliseconds of the monotonic clock: never set back, standing still while the machine sleeps,
/// the same in every process. What is compared with a heartbeat or a deadline is this.
pub fn now_ms() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Milliseconds since 1970, UTC. For people and files, never for a deadline.
pub fn wall_ms() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> u64 {
    // Both clocks exist on every Linux (clock_gettime(2)).
    clock_gettime(clock).map(|t| Duration::from(t).as_millis() as u64).unwrap_or(0)
}
