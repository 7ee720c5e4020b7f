//! What the black-box tests share: a spool of their own ([`Site`]), the real daemon on it
//! ([`Daemon`]), a Solr that does as it is told ([`FakeSolr`]) or a real one ([`cluster`]), and
//! deltas whose outcome is known ([`Delta`]).
//!
//! Nothing here looks into the daemon: it is started as a process, spoken to through its sockets
//! and signals, and judged by what it leaves in Solr and in the spool. Nothing asserts how long a
//! thing takes, unless that is the promise; everything is waited for, with a deadline, and what is
//! started is gone when the test ends, passed or failed.

#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]

mod browser;
pub mod cluster;
mod daemon;
mod delta;
mod disk;
mod faults;
mod http;
mod manager;
mod process;
mod recipe;
mod site;
mod wait;

pub use ::fake_solr::{FakeCluster, FakeSolr, Mode};
pub use browser::Browser;
pub use daemon::{Daemon, ask};
pub use delta::{Delta, assert_same};
pub use disk::Disk;
pub use faults::{Faults, Tried};
pub use http::{Reply, exchange, get, own_address};
pub use manager::Manager;
pub use process::Process;
pub use recipe::Recipe;
pub use site::{DAEMON, Run, Site, finish, rejects};
pub use wait::{PATIENCE, wait_for, wait_for_some};

/// A test that cannot be run here says so, past the runner that hides what a passing test says.
pub fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "*** SKIPPED: {why}");
}
