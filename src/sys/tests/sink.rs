//! What `sys::sink` promises: whoever logs is never held up.
#![allow(clippy::disallowed_methods, reason = "tests run processes; nothing here is forked")]

mod common;

use common::{Running, scene};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

/// Logs 2,000 lines of 200 bytes to a standard error that nobody reads, and counts what came.
fn nobody_reads(stderr: OwnedFd, read_later: impl FnOnce() -> File) {
    let ours = stderr.try_clone().expect("a descriptor");
    let mut logs = scene(&["log-to-stderr"]);
    logs.stderr(Stdio::from(stderr));
    let mut logger = Running::start(logs);
    // If it were held up, it would never say so.
    let dropped: usize = logger.line().expect("a number").parse().expect("a number");
    assert!(dropped > 0, "the pipe was never full");
    logger.leave();

    let flags = OFlag::from_bits_retain(fcntl(&ours, FcntlArg::F_GETFL).expect("flags"));
    assert!(!flags.contains(OFlag::O_NONBLOCK), "it would hit all who share this stderr");
    drop(ours);
    drop(logger);
    let came: Vec<String> =
        BufReader::new(read_later()).lines().map(|l| l.expect("text")).collect();
    assert_eq!(came.len() + dropped, 2000);
    assert!(came.iter().all(|line| line.len() == 200), "a line is there whole or not at all");
}

#[test]
fn a_full_stderr_pipe_does_not_stop_the_logger() {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    nobody_reads(write, || read.into());
}

#[test]
fn a_full_stderr_socket_does_not_stop_the_logger() {
    let (read, write) = UnixStream::pair().expect("sockets");
    nobody_reads(write.into(), || OwnedFd::from(read).into());
}

#[test]
fn a_full_file_loses_lines_and_no_more_than_those_that_did_not_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let mut logger = Running::start(scene(&["log-to-a-full-file", path.to_str().expect("text")]));
    assert_eq!(logger.line().as_deref(), Some("11"), "it lives, and counts");
    logger.leave();
    let text = std::fs::read_to_string(&path).expect("the log");
    let lengths: Vec<_> = text.lines().map(|line| (&line[..1], line.len())).collect();
    let expected: Vec<_> =
        [("x", 99); 9].into_iter().chain([("x", 50), ("y", 99), ("y", 99)]).collect();
    assert_eq!(lengths, expected);
}
