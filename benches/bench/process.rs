//! A feeder is run and metered: its time, the processor time of all its processes, their memory.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use kit::cpu_seconds;
use nix::sys::resource::UsageWho;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Result;
use crate::workshop::{Workshop, log};

/// The memory is looked at so often. (What the kernel keeps is the highest so far, so nothing is
/// missed but in a process's last moments.)
const LOOK: Duration = Duration::from_millis(200);

/// Which part of a run counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// From its start to its "end", or to its exit if it says no such word.
    Whole,
    /// From its "begin" to its "end".
    Marked,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// User and system time of all its processes.
    pub(crate) cpu_s: f64,
    /// What `meter` has gone up by meanwhile: the servers' processor time.
    pub(crate) server_cpu_s: f64,
    /// The highest resident memory of each of its processes, added up; pages that several share
    /// count once.
    pub(crate) peak_mib: f64,
    /// Why it failed.
    pub(crate) failed: Option<String>,
}

/// A moment, and the servers' processor time by then.
struct Mark {
    at: Instant,
    server: f64,
}

/// Runs it. `meter` tells the processor time of the servers so far.
pub(crate) fn run(
    workshop: &Workshop,
    name: &str,
    mut command: Command,
    window: Window,
    meter: &(dyn Fn() -> f64 + Sync),
) -> Result<Run> {
    let said = workshop.dir.join("logs").join(format!("{name}.log"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log(workshop, name)?);
    let cpu = cpu_seconds(UsageWho::RUSAGE_CHILDREN);
    let mark = || Mark { server: meter(), at: Instant::now() };
    let start = mark();
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    let stdout = child.stdout.take().expect("it is piped");
    let pid = child.id();
    let over = AtomicBool::new(false);
    let (status, exit, words, (peak_mib, killed)) = thread::scope(|scope| {
        let words = scope.spawn(move || {
            let (mut begin, mut end) = (None, None);
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if line == "begin" {
                    begin = Some(mark());
                } else if let Some(tail) = line.strip_prefix("end ") {
                    end = Some((mark(), serde_json::from_str::<Value>(tail).unwrap_or_default()));
                }
            }
            (begin, end)
        });
        let over = &over;
        let memory = scope.spawn(move || watch(pid, over, workshop.patience()));
        let status = child.wait();
        let exit = Mark { at: Instant::now(), server: meter() };
        over.store(true, Relaxed);
        memory.thread().unpark();
        let words = words.join().expect("it does not panic");
        (status, exit, words, memory.join().expect("it does not panic"))
    });
    let mut run = Run {
        seconds: 0.0,
        cpu_s: cpu_seconds(UsageWho::RUSAGE_CHILDREN) - cpu,
        server_cpu_s: 0.0,
        peak_mib,
        failed: None,
    };
    let status = status?;
    let (begin, end) = words;
    let (from, to) = match (window, begin, end) {
        (Window::Whole, _, None) => (start, exit),
        (Window::Whole, _, Some((end, _))) => (start, end),
        (Window::Marked, Some(begin), Some((end, words))) => {
            run.cpu_s = words["cpu_s"].as_f64().unwrap_or(run.cpu_s);
            (begin, end)
        }
        (Window::Marked, ..) => {
            run.failed = Some("it did not say when it began and ended".into());
            (start, exit)
        }
    };
    run.seconds = to.at.duration_since(from.at).as_secs_f64();
    run.server_cpu_s = to.server - from.server;
    if killed {
        run.failed = Some(format!("not done after {} s", workshop.patience().as_secs()));
    } else if !status.success() {
        let text = fs::read_to_string(&said).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let last: String = last.chars().take(200).collect();
        run.failed = Some(format!("{status}: {last}"));
    }
    Ok(run)
}

/// Looks at the memory of a process and its descendants until it is over: the sum of the highest of
/// each, in MiB; and whether it had to be ended.
fn watch(pid: u32, over: &AtomicBool, patience: Duration) -> (f64, bool) {
    let start = Instant::now();
    let mut peaks = HashMap::new();
    let mut killed = false;
    while !over.load(Relaxed) {
        look(pid, &mut peaks);
        if start.elapsed() > patience && !killed {
            for process in tree(pid) {
                let _ = kill(Pid::from_raw(process as i32), Signal::SIGKILL);
            }
            killed = true;
        }
        thread::park_timeout(LOOK);
    }
    (peaks.values().sum::<f64>() / 1024.0, killed)
}

/// Notes the highest resident memory so far of a process and its descendants, in KiB, less what
/// others have of the pages that it shares.
pub(crate) fn look(pid: u32, peaks: &mut HashMap<u32, f64>) {
    for process in tree(pid) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
        let (Ok(status), Ok(maps)) = (read("status"), read("smaps_rollup")) else { continue };
        let kib = |text: &str, key: &str| -> Option<f64> {
            let number = text.lines().find_map(|line| line.strip_prefix(key))?;
            number.trim().trim_end_matches("kB").trim().parse().ok()
        };
        let peak = || Some(kib(&status, "VmHWM:")? - (kib(&maps, "Rss:")? - kib(&maps, "Pss:")?));
        let entry = peaks.entry(process).or_insert(0.0);
        *entry = peak().unwrap_or(0.0).max(*entry);
    }
}

/// A process and its descendants.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// The processor time of these processes so far, in seconds.
pub(crate) fn cpu_of(pids: &[u32]) -> f64 {
    // USER_HZ, in which /proc counts: 100 on all that Debian runs on
    const TICKS: f64 = 100.0;
    let ticks = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<f64> =
            fields.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
        fields.get(11..13).map_or(0.0, |times| times.iter().sum())
    };
    pids.iter().map(ticks).sum::<f64>() / TICKS
}

/// Ends a child that was started here, first with words.
pub(crate) fn end(child: &mut Child) {
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
    for _ in 0..300 {
        if let Ok(Some(_)) | Err(_) = child.try_wait() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_with_its_children_their_memory_and_time() {
        let mut child = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut peaks = HashMap::new();
        // (In the middle of its exec a process has no memory.)
        while peaks.len() < 2 || peaks.values().any(|kib| *kib == 0.0) {
            assert!(Instant::now() < deadline, "{peaks:?} of {:?}", tree(child.id()));
            thread::sleep(Duration::from_millis(10));
            look(child.id(), &mut peaks);
        }
        for process in tree(child.id()) {
            kill(Pid::from_raw(process as i32), Signal::SIGKILL).unwrap();
        }
        child.wait().unwrap();
        let before = cpu_of(&[std::process::id()]);
        let mut n = 0u64;
        while cpu_of(&[std::process::id()]) < before + 0.05 {
            n = std::hint::black_box(n + 1);
            assert!(Instant::now() < deadline, "no time passes");
        }
    }
}
