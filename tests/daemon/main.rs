//! What the program promises, shown on the real daemon with a Solr that can be told to misbehave
//! (`tests/solr` has the same with a real one). A module for each kind of promise, a test for each,
//! named after it.

#[path = "../common/mod.rs"]
mod common;

mod ahead;
mod ask;
mod bad_input;
mod by_id;
mod cancel;
mod check;
mod clients;
mod confined;
mod convert;
mod crowd;
mod deaths;
mod deliver;
mod disk;
mod exec;
mod feed;
mod garbage;
mod guide;
mod hostile;
mod http;
mod lanes;
mod late;
mod lists;
mod logs;
mod masses;
mod metrics;
mod newer;
mod notify;
mod once;
mod others;
mod outage;
mod packed;
mod page;
mod parent;
mod pause;
mod pictures;
mod prometheus;
mod reload;
mod retry;
mod schema;
mod undone;
mod unwatched;
