//! How the tests run the scenes of `tests/helper/forks.rs`.
#![allow(dead_code, reason = "each test file needs some of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A scene, ready to be started: its standard input and output are pipes.
pub fn scene(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sys-forks"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Plays a scene to its end; what it says.
pub fn play(arguments: &[&str]) -> String {
    let mut running = Running::start(scene(arguments));
    let mut said = String::new();
    while let Some(line) = running.line() {
        said += &line;
        said += "\n";
    }
    said
}

/// A scene that is being played. Killed, should the test end before it does.
pub struct Running {
    pub process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub fn start(mut scene: Command) -> Running {
        let mut process = scene.spawn().expect("the helper starts");
        let output = BufReader::new(process.stdout.take().expect("it is a pipe"));
        Running { process, output }
    }

    /// The next line that it says; `None`: it has left, and its children too.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it says text");
        line.ends_with('\n').then(|| line.trim_end().to_owned())
    }

    /// Tells it to leave, and waits until it has.
    pub fn leave(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("it is ours");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have left
        let _ = self.process.wait();
    }
}

/// Waits until something is so, at most this long; how long it took.
pub fn within(most: Duration, so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < most, "not within {most:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}
