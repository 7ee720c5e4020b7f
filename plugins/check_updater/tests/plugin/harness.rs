//! What the tests share: a folder that goes away, canned daemons on sockets, and a run of the real binary that ends in
//! bounded time whatever it does.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use status::{Answer, Document};

pub const PLUGIN: &str = env!("CARGO_BIN_EXE_check_updater");

/// The answer of a daemon that is well, to the letter.
pub const WELL: &str = include_str!("../../../../src/status/canned/well.json");

/// A folder of its own for a test, short enough for a socket's path, open to other users, removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cu-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).expect("the name is free");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        Dir(path)
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A daemon that treats every connection as `behave` does, each on a thread of its own, until the tests end.
    pub fn daemon(&self, behave: impl Fn(UnixStream) + Clone + Send + 'static) -> PathBuf {
        let path = self.at("s");
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let behave = behave.clone();
                std::thread::spawn(move || behave(stream));
            }
        });
        path
    }

    /// A daemon that reads the question and gives this answer.
    pub fn answering(&self, answer: impl Into<Vec<u8>>) -> PathBuf {
        let answer = answer.into();
        self.daemon(move |mut stream| {
            let mut question = [0; 7];
            if stream.read_exact(&mut question).is_ok() && &question == b"status\n" {
                let _ = stream.write_all(&answer);
            }
        })
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A daemon's answer, of one that was well before `change` and judged itself after it.
pub fn answer(change: impl FnOnce(&mut Document)) -> String {
    let Ok(Answer::Status(mut document)) = Answer::parse(WELL.as_bytes()) else {
        panic!("it is one")
    };
    change(&mut document);
    let thresholds = document.health.thresholds.clone();
    let reasons = status::health(&document, &thresholds);
    document.health = status::Health::new(reasons, thresholds);
    status::answer::status(&document)
}

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    pub fn first_line(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }

    /// What holds for every run: it keeps its exit codes, its stderr empty, its first line short, one bar at most, and its
    /// performance data can be read by the strictest.
    pub fn is(self, code: i32, starts: &str) -> Run {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        assert!(self.first_line().starts_with(starts), "wanted {starts:?}: {self:?}");
        let text = self.first_line().split('|').next().unwrap_or_default();
        assert!(text.len() <= 80, "{} characters: {text}", text.len());
        assert!(self.stdout.matches('|').count() <= 1, "{self:?}");
        if let Some((_, perf)) = self.first_line().split_once(" | ") {
            assert_eq!(crate::perfdata::judge(perf), Ok(()), "{self:?}");
        }
        self
    }
}

/// Runs the plugin on a socket.
pub fn check(socket: &Path, arguments: &[&str]) -> Run {
    finish(Command::new(PLUGIN).arg("-s").arg(socket).args(arguments))
}

/// Runs a command to its end; one that has not ended after 20 s is killed, and its code is `None`.
pub fn finish(command: &mut Command) -> Run {
    let start = Instant::now();
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it can be run");
    let code = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break status.code(),
            None if start.elapsed() > Duration::from_secs(20) => {
                child.kill().expect("it is our child");
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let took = start.elapsed();
    let output = child.wait_with_output().expect("it has ended"); // all of it fits a pipe
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the plugin writes UTF-8");
    Run { code, stdout: text(output.stdout), stderr: text(output.stderr), took }
}
