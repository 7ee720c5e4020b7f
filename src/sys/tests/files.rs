//! What `sys::files` promises.
#![allow(clippy::disallowed_methods, reason = "tests run processes; nothing here is forked")]

mod common;

use common::{Running, scene, within};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use sys::files::{Lock, open_regular, rename_noreplace};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn rename_noreplace_never_overwrites() {
    let folder = folder();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, "new").expect("a file");
    fs::write(&to, "old").expect("a file");
    let refused = rename_noreplace(&from, &to).expect_err("there is something");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&to).expect("a file"), "old");

    fs::remove_file(&to).expect("a file");
    std::os::unix::fs::symlink("nowhere", &to).expect("a link");
    let refused = rename_noreplace(&from, &to).expect_err("a dangling link is something too");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);

    fs::remove_file(&to).expect("a link");
    rename_noreplace(&from, &to).expect("now the name is free");
    assert_eq!(fs::read_to_string(&to).expect("a file"), "new");
    assert!(!from.exists());
    let missing = rename_noreplace(&from, &to.with_extension("2")).expect_err("nothing to rename");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn open_regular_does_not_wait_for_a_fifo() {
    let folder = folder();
    let (file, fifo) = (folder.path().join("file"), folder.path().join("fifo"));
    let link = folder.path().join("link");
    fs::write(&file, "text").expect("a file");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");

    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(open_regular(&fifo, true).map(drop)));
    let opened = told.recv_timeout(Duration::from_secs(5)).expect("it must not wait for a writer");
    assert_eq!(opened.expect_err("a fifo is refused").kind(), ErrorKind::InvalidInput);

    open_regular(folder.path(), true).expect_err("a folder is refused");
    open_regular(Path::new("/dev/null"), true).expect_err("a device is refused");
    open_regular(&file, false).expect("an ordinary file");
    open_regular(&link, true).expect("the link is followed");
    open_regular(&link, false).expect_err("the link is not followed");
}

/// Whether somebody has the lock on this file.
fn locked(path: &Path) -> bool {
    match Lock::take(fs::File::open(path).expect("a file")) {
        Ok(_) => false,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::WouldBlock, "{e}");
            true
        }
    }
}

#[test]
fn a_lock_is_held_while_any_child_lives() {
    let folder = folder();
    let path = folder.path().join("lock");
    let mut parent =
        Running::start(scene(&["leave-a-lock-to-a-child", path.to_str().expect("text")]));
    assert_eq!(parent.line().as_deref(), Some("left"));
    assert!(locked(&path), "the child has it");
    parent.leave(); // and the child dies with it
    within(Duration::from_secs(1), || !locked(&path));
}

#[test]
fn a_lock_dropped_in_a_child_is_still_the_parents() {
    let folder = folder();
    let path = folder.path().join("lock");
    let mut parent =
        Running::start(scene(&["drop-a-lock-in-a-child", path.to_str().expect("text")]));
    assert_eq!(parent.line().as_deref(), Some("exit 0"));
    assert!(locked(&path), "the parent has it");
    parent.leave();
    assert!(!locked(&path));
}
