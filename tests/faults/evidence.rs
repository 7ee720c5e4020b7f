//! What is kept when a campaign fails: the spool, the daemon's log and configuration, where each of
//! its processes stood, the chronicle of faults, and what the ledger knows of the documents
//! concerned.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::common::{Process, Site};
use crate::ledger::Ledger;
use crate::referee::Verdict;

/// So many documents are told of in full.
const MOST: usize = 200;

/// A folder for it.
pub struct Evidence {
    /// Where it is.
    pub folder: PathBuf,
}

impl Evidence {
    /// An empty folder for the campaign with this seed.
    pub fn of(seed: u64) -> Evidence {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{seed}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the evidence");
        Evidence { folder }
    }

    /// All went well: the daemon's log, beside the chronicle, for whoever wonders about a time.
    pub fn keep_log(&self, site: &Site) {
        let _ = std::fs::copy(site.log(), self.folder.join("log"));
    }

    /// Keeps what the daemon has left.
    pub fn keep(&self, site: &Site, processes: &[(String, Process)], status: &str) {
        self.write("status.json", status);
        self.write("processes.txt", &processes.iter().map(stands).collect::<String>());
        self.keep_site(site);
    }

    /// Keeps spool, log and configuration.
    pub fn keep_site(&self, site: &Site) {
        let copied = copy(&site.path(""), &self.folder.join("site"));
        copied.unwrap_or_else(|e| eprintln!("not all of the evidence could be kept: {e}"));
    }

    /// Keeps what the referee found.
    pub fn keep_verdict(&self, verdict: &Verdict, ledger: &Ledger) {
        let mut text = String::new();
        for wrong in verdict.wrong.iter().take(MOST) {
            let (id, how, blame) = (&wrong.id, wrong.how, wrong.blame);
            let should = wrong.should.as_ref().map_or("nothing".into(), ToString::to_string);
            let _ = writeln!(text, "{id}: {how:?}, {blame:?}\n    should be {should}");
            for (core, doc) in &wrong.there {
                let doc = doc.as_ref().map_or("nothing".into(), ToString::to_string);
                let _ = writeln!(text, "    {core} has {doc}");
            }
            text.push_str(&ledger.story(id));
        }
        for (id, miscount) in verdict.counters.iter().take(MOST) {
            let _ = writeln!(text, "{id}: {miscount:?}\n{}", ledger.story(id));
        }
        for other in &verdict.others {
            let _ = writeln!(text, "{other}");
        }
        self.write("verdict.txt", &text);
    }

    fn write(&self, name: &str, text: &str) {
        if let Err(e) = std::fs::write(self.folder.join(name), text) {
            eprintln!("{name} could not be kept: {e}");
        }
    }
}

/// Where a process and its threads stand.
fn stands((name, process): &(String, Process)) -> String {
    let tasks = format!("/proc/{}/task", process.pid);
    let mut text = format!("{name}, pid {}, state {:?}\n", process.pid, process.state());
    for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let (comm, call, wchan) = (read("comm"), read("syscall"), read("wchan"));
        let _ = writeln!(text, "    {}: {} {wchan}", comm.trim(), call.trim());
        for line in read("stack").lines() {
            let _ = writeln!(text, "        {line}");
        }
    }
    text
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &to)?,
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), to)?),
            _ => {} // sockets
        }
    }
    Ok(())
}
