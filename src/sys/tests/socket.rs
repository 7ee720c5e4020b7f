//! What `sys::socket::listen` promises.
#![allow(clippy::disallowed_methods, reason = "tests run processes; nothing here is forked")]

mod common;

use common::{Running, scene};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Listens in a process of its own, and what it says first.
fn listen(path: &Path, mode: &str, umask: &str) -> (Running, String) {
    let path = path.to_str().expect("text");
    let mut listener = Running::start(scene(&["listen", path, mode, umask]));
    let said = listener.line().expect("a word");
    (listener, said)
}

#[test]
fn a_dead_daemons_socket_is_taken_over_a_living_ones_never() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let (mut living, said) = listen(&path, "600", "022");
    assert_eq!(said, "listening");
    assert_eq!(listen(&path, "600", "022").1, "AddrInUse");
    UnixStream::connect(&path).expect("the living one has kept its socket");

    living.process.kill().expect("it lives"); // SIGKILL: the socket stays behind
    living.process.wait().expect("it is ours");
    UnixStream::connect(&path).expect_err("nobody listens");
    let (_successor, said) = listen(&path, "600", "022");
    assert_eq!(said, "listening");
    UnixStream::connect(&path).expect("the successor listens");
}

#[test]
fn something_else_than_a_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("precious");
    fs::write(&path, "data").expect("a file");
    assert_eq!(listen(&path, "600", "022").1, "AddrInUse");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "data");
}

#[test]
fn listen_sets_exactly_the_mode_whatever_the_umask() {
    let folder = tempfile::tempdir().expect("a folder");
    for (mode, umask) in [("666", "077"), ("660", "777"), ("600", "000"), ("000", "000")] {
        let path = folder.path().join(format!("{mode}-{umask}"));
        let (_listener, said) = listen(&path, mode, umask);
        assert_eq!(said, "listening");
        let found = fs::metadata(&path).expect("a socket").permissions().mode() & 0o7777;
        assert_eq!(format!("{found:03o}"), mode, "under umask {umask}");
    }
}
