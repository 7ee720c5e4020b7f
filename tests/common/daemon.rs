//! The real daemon, as a process: started, asked, signalled, and gone at the end with all its
//! children, whatever became of the test.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Process, Site, wait_for, wait_for_some};

/// A running `solr-updater run`.
pub struct Daemon {
    child: RefCell<Child>,
    /// The parent.
    pub parent: Process,
    config: PathBuf,
    status: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it is up.
    #[track_caller]
    pub fn start(site: &Site) -> Daemon {
        let daemon = Daemon::spawn(site);
        daemon.up();
        daemon
    }

    /// Starts it, and does not wait.
    pub fn spawn(site: &Site) -> Daemon {
        let log = std::fs::File::options().create(true).append(true).open(site.log()).unwrap();
        Daemon::spawn_logging_to(site, log.into())
    }

    /// The same, with this for its standard error.
    pub fn spawn_logging_to(site: &Site, stderr: Stdio) -> Daemon {
        Daemon::spawn_by(site.command(&["run"]), site, stderr)
    }

    /// The same, by a command that becomes the daemon.
    pub fn spawn_by(mut command: Command, site: &Site, stderr: Stdio) -> Daemon {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let parent =
            Process::of(child.id() as i32).expect("it was just started, and not waited for");
        let (config, status, log) = (site.config(), site.status_socket(), site.log());
        Daemon { child: RefCell::new(child), parent, config, status, log }
    }

    /// Waits until every slot has its worker and the status answers.
    #[track_caller]
    pub fn up(&self) -> Value {
        self.wait("every worker is there", |status| {
            let workers = status["workers"].as_array().unwrap();
            ["running", "paused"].contains(&status["state"].as_str().unwrap())
                && !workers.is_empty()
                && workers.iter().all(|w| !w["pid"].is_null())
        })
    }

    // --- asking ---------------------------------------------------------------------------------

    /// The status document.
    #[track_caller]
    pub fn status(&self) -> Value {
        wait_for_some("the status answers", || self.try_status())
    }

    fn try_status(&self) -> Option<Value> {
        if !self.parent.is_alive() {
            let code = self.child.borrow_mut().try_wait();
            panic!("the daemon has ended: {code:?}\n{}", tail(&self.log));
        }
        let mut answer = ask(&self.status, "status")?;
        Some(answer["status"].take()).filter(|status| !status.is_null())
    }

    /// Waits until the status document is as it should be; answers that one.
    #[track_caller]
    pub fn wait(&self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for_some(what, || {
                last = self.try_status()?;
                is_so(&last).then(|| last.take())
            })
        }));
        found.unwrap_or_else(|cause| {
            eprintln!("the last status: {last}");
            std::panic::resume_unwind(cause)
        })
    }

    /// The workers by slot.
    #[track_caller]
    pub fn workers(&self) -> Vec<Process> {
        wait_for_some("every worker is there", || {
            let status = self.try_status()?;
            let workers = status["workers"].as_array().filter(|all| !all.is_empty())?;
            workers.iter().map(|worker| process(&worker["pid"])).collect()
        })
    }

    #[track_caller]
    pub fn monitor(&self) -> Process {
        wait_for_some("the monitor is there", || process(&self.try_status()?["monitor"]["pid"]))
    }

    // --- the end --------------------------------------------------------------------------------

    /// Waits for its end; the exit code, `None` after a signal.
    #[track_caller]
    pub fn ended(&self) -> Option<i32> {
        wait_for_some("the daemon ends", || self.child.borrow_mut().try_wait().unwrap()).code()
    }

    /// Has it stop, as systemd does, and sees to it that it does so as it should.
    #[track_caller]
    pub fn stop(self) {
        let children = self.parent.children();
        self.parent.signal(Signal::SIGTERM);
        assert_eq!(self.ended(), Some(0), "{}", tail(&self.log));
        gone(&children);
        assert!(!self.status.exists(), "its socket is left");
    }

    /// SIGKILL, and its children are gone.
    #[track_caller]
    pub fn kill(self) {
        let children = self.parent.children();
        self.parent.signal(Signal::SIGKILL);
        self.ended();
        gone(&children);
    }

    pub fn tail_of_log(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the daemon's log ---\n{}", tail(&self.log));
        }
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
        // Its children go with it, or the test has just shown that they do not.
        for orphan in Process::orphans(&self.config) {
            orphan.signal(Signal::SIGKILL);
        }
    }
}

#[track_caller]
fn gone(children: &[Process]) {
    wait_for("the children are gone", || children.iter().all(|child| !child.is_alive()));
}

fn process(pid: &Value) -> Option<Process> {
    Process::of(i32::try_from(pid.as_i64()?).ok()?)
}

/// One request to a socket, one line of JSON back; `None`: nobody answers, now.
pub fn ask(socket: &Path, words: &str) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{words}\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
