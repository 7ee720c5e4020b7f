//! The main job on a real SolrCloud of two nodes, which `tests/with-solrcloud` brings up
//! (`make solr-tests`). Each test has a collection of its own, most of two shards with two replicas,
//! and the cluster for itself: some of them stop its nodes. `security` has a cluster of its own.

#[path = "../common/mod.rs"]
mod common;

use common::cluster;

mod cookbook;
mod deliver;
mod failover;
mod leaders;
mod memory;
mod once;
mod outage;
mod retry;
mod routing;
mod says;
mod schema;
mod security;
mod spool;
