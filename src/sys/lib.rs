//! The kernel, wrapped once: fork, signals, poll, inotify, sockets, shared memory, locks.
//!
//! This is the only crate of the program that contains `unsafe`, one call per wrapper, each with
//! the reason why it holds here. Nothing in it starts a thread, and nothing in it waits, but for
//! [`poll()`], which is told how long.

mod bell;
pub mod clock;
pub mod confine;
#[cfg(coverage_of_children)]
mod coverage;
pub mod files;
mod fork;
pub mod limits;
pub mod memory;
pub mod notify;
mod poll;
pub mod program;
mod shared;
mod signals;
pub mod sink;
pub mod socket;
pub mod terminal;
mod watch;

pub use bell::Bell;
pub use fork::{Child, Ended, Fork, ForkError, Newborn, fork, pid, reap, role, threads};
pub use poll::{Interest, Polled, poll};
pub use shared::shared_words;
pub use signals::{Signal, Signals, with_signals_blocked};
pub use watch::{Arrival, Watch};
