//! The campaign of faults on a real SolrCloud (`make faults`), the parent that is killed two hundred
//! times, and the fifty thousand forks. README.md beside this says what each does and how its
//! figures are read.
//!
//! In the order of the data:
//!
//! - `stream` makes deltas from the seed, and knows what they come to
//! - `proxy` (on `http`, `commands`) stands between the daemon and Solr; `mischief` is what it has
//!   been told to spoil, `ledger` what it has seen
//! - `crew`, `cloud` do things to the daemon's processes and to Solr's, `common::Disk` to the spool's
//!   disk; `kind` is what there is to be done, `chronicle` what was done
//! - `referee` compares; `watch` times the monitor's answers
//! - `campaign` is all of it; `table` and `evidence` are what is left
//! - `deaths` and `forks` are tests of their own

#[path = "../common/mod.rs"]
mod common;

mod campaign;
mod chronicle;
mod cloud;
mod commands;
mod crew;
mod deaths;
mod evidence;
mod forks;
mod http;
mod kind;
mod ledger;
mod mischief;
mod options;
mod proxy;
mod referee;
mod stream;
mod table;
mod watch;
