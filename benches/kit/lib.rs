//! What the benchmark's three programs share: a plain HTTP client, and where a document belongs.

pub mod http;
pub mod ids;
pub mod shards;

use nix::sys::resource::{UsageWho, getrusage};

/// The CPU seconds, user and system, of this process, or of its children that were waited for.
pub fn cpu_seconds(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("getrusage has no way to fail here");
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
