//! What the program promises, shown on the real daemon with a Solr that can be told to misbehave
//! (`tests/solr` has the same with a real one). A module for each kind of promise, a test for each,
//! named after it.

#[path = "../common/mod.rs"]
mod common;

mod ask;
mod bad_input;
mod by_id;
mod clients;
mod deaths;
mod deliver;
mod feed;
mod lanes;
mod once;
mod outage;
mod parent;
mod reload;
