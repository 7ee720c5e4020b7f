//! A SolrCloud of a test's size: it takes updates as the real one does, keeps the documents, and is
//! down, slow, silent or wrong when a test wants it so.
//!
//! [`FakeSolr`] is one node, [`FakeCluster`] several with a collection in shards. What they answer
//! is what a real Solr was seen to answer (`tests/solrcloud/FACTS.md`); `tests/solr` has the tests
//! with a real one. This one is here because it starts in no time and can be told to misbehave.
//!
//! A document is refused (400) if it has a member `bad` or `bad_…`, and breaks Solr (500) if it has
//! a member `poison` or `poison_…`. Sent to its shard's leader it has a version in the receipt; sent
//! to another core of the collection it is forwarded, and has version 0. A node without a core of
//! the collection hands the request on as it is, as the real one does.
//!
//! Operations `inc`, `add` and `set` on members are carried out, `_version_` is held to, also by deletes, and `/get` tells
//! versions by id.
//!
//! A request goes through these, in this order:
//!
//! - `node` a thread for each connection; the node's [`Mode`], and a [`Play`] for a single request
//! - `http` a request, an answer; HTTP/1.1 with keep-alive
//! - `update` the commands, carried out or forwarded, and the receipt
//! - `atomic` operations on what is there; `get` which version it has
//! - `schema` what is told of it, where a test gave one
//! - `route` which shard an id belongs to
//! - `state` what all share: documents, shards and leaders; `status` tells it as CLUSTERSTATUS does

mod atomic;
mod cluster;
mod get;
mod http;
mod node;
mod route;
mod schema;
mod state;
mod status;
mod update;

#[cfg(test)]
mod tests;

pub use cluster::FakeCluster;
pub use node::{FakeSolr, Locked, Seen, nobody};
pub use state::{ClusterStatus, Mode, Node, Play, Router};
