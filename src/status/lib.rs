//! The status document: the contract between the monitor, which fills it, and whoever asks,
//! `check_updater` above all. It holds what is known as plain structs, judges them against thresholds, puts them
//! on one line of JSON and reads them back, and sets them as a page for people. It asks nobody, opens
//! nothing, knows no clock: what it says depends on what it is given, so every promise in it can be tested on a
//! literal. The plugin links nothing of the daemon but this, so it must stay small.
//!
//! [`document`] the facts · [`health`](mod@health) the verdict on them · [`answer`] how they travel · [`page`](mod@page) how
//! people read them · [`time`] how moments are written.

#![forbid(unsafe_code)]

pub mod answer;
pub mod document;
pub mod health;
pub mod page;
pub mod time;

pub use answer::{Answer, Failure, Unreadable};
pub use document::*;
pub use health::{Memory, code, health};
pub use page::page;
pub use time::{parse_rfc3339, rfc3339, seconds};
