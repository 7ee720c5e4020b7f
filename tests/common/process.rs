//! A process as /proc shows it, known by pid and start time: a number that was given to a stranger
//! since is never taken for it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A process, living or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: i32,
    start: u64,
}

/// What /proc/PID/stat says: state, parent, start time (proc(5), fields 3, 4 and 22).
fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, and may hold anything.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((state, parent, fields.nth(17)?.parse().ok()?))
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Process> {
        stat(pid).map(|(.., start)| Process { pid, start })
    }

    /// Its state letter; `None`: it is gone.
    pub fn state(self) -> Option<char> {
        stat(self.pid).filter(|(.., start)| *start == self.start).map(|(state, ..)| state)
    }

    /// Whether it lives. A zombie does not: it has ended, and only nobody has asked for its code.
    pub fn is_alive(self) -> bool {
        self.state().is_some_and(|state| state != 'Z' && state != 'X')
    }

    /// Sends a signal, if it lives.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal); // it may have gone just now
        }
    }

    /// Stops it, and waits until it stands.
    pub fn freeze(self) {
        self.signal(Signal::SIGSTOP);
        super::wait_for("the process stands still", || self.state() == Some('T'));
    }

    /// What it calls itself (proc(5), `comm`), such as `worker 0`; empty: it is gone.
    pub fn name(self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid));
        name.unwrap_or_default().trim_end().to_owned()
    }

    /// How many threads it has; 0: it is gone.
    pub fn tasks(self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        tasks.map_or(0, |tasks| tasks.count())
    }

    /// Where its open descriptors lead to, sorted; sockets and pipes without their number.
    pub fn descriptors(self) -> Vec<String> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        let links = folder.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let plain = |link: PathBuf| {
            let link = link.to_string_lossy().into_owned();
            link.split_once(":[").map(|(kind, _)| kind.to_owned()).unwrap_or(link)
        };
        let mut found: Vec<String> = links.map(plain).collect();
        found.sort();
        found
    }

    /// Its children, zombies among them.
    pub fn children(self) -> Vec<Process> {
        let child = |pid| {
            let (_, parent, start) = stat(pid)?;
            (parent == self.pid).then_some(Process { pid, start })
        };
        let mut children: Vec<Process> = pids().filter_map(child).collect();
        children.sort();
        children
    }

    /// What a dead process has left behind of those that have this path on their command line.
    pub fn orphans(path: &Path) -> Vec<Process> {
        let names_it = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == path.as_os_str().as_bytes())
        };
        let all: Vec<i32> = pids().filter(names_it).collect();
        let us = std::process::id() as i32;
        let orphan = |pid: &i32| {
            let (_, parent, start) = stat(*pid)?;
            (parent != us && !all.contains(&parent)).then_some(Process { pid: *pid, start })
        };
        all.iter().filter_map(orphan).collect()
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").expect("there is /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
