//! What a run costs: a plugin is started anew for each check, thousands of times a day on each host. Measured,
//! not judged: how long it takes is the machine's affair too. `make bench-plugin`

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Dir, PLUGIN, WELL};

const RUNS: usize = 1000;

/// What the release build may weigh, in bytes.
const MOST: u64 = 1_000_000;

#[test]
#[ignore = "measures: make bench-plugin"]
fn what_a_run_costs() {
    let dir = Dir::new();
    let socket = dir.answering(WELL);
    let mut nothing = Command::new("/bin/true");
    let mut plugin = Command::new(PLUGIN);
    plugin.arg("-s").arg(&socket);
    let (mut least, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        least.push(timed(&mut nothing)); // in turn, so that what else the machine does meets both
        ours.push(timed(&mut plugin));
    }
    println!("check_updater, {RUNS} runs in turn with /bin/true, a daemon that answers at once:");
    for (name, mut times) in [("/bin/true", least), ("check_updater", ours)] {
        times.sort();
        let ms = |share: usize| times[RUNS * share / 100].as_secs_f64() * 1000.0;
        println!("  {name:14} median {:.2} ms, 95 % within {:.2} ms", ms(50), ms(95));
    }
    let bytes = std::fs::metadata(PLUGIN).expect("it was just run").len();
    println!("  {bytes} bytes on the disk");
    if !cfg!(debug_assertions) {
        assert!(bytes <= MOST, "more than {MOST} bytes");
    }
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.expect("it can be run").success());
    start.elapsed()
}
