//! What the SolrCloud looks like, and where in it a document belongs.
//!
//! [`read()`] takes what a node answers to CLUSTERSTATUS; [`Layout::shard_of`] says which shard takes
//! a line, exactly as Solr 9 would (CompositeIdRouter, ImplicitDocRouter,
//! DistributedZkUpdateProcessor.setupRequest), so that a worker can post it to that shard's leader.
//! No I/O here, no clock, no guess: where Solr alone can tell, the answer is none, and any live node
//! forwards the line.

mod hash;
mod read;

use std::ops::RangeInclusive;

pub use hash::hash;
pub use read::{Unread, read};

/// What one node says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The base URLs of the live nodes, `http://host:port/solr`, in alphabetical order.
    pub live: Vec<String>,
    /// The collection asked for.
    pub collection: Collection,
}

/// A collection, and who leads its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its own name, whatever alias it was asked for by.
    pub name: String,
    /// Whether it was asked for by an alias.
    pub alias: bool,
    /// What routing depends on.
    pub layout: Layout,
    /// The URL of each shard's leader, `base_url/core`, in the order of [`Layout::shards`]. None
    /// where no replica leads that is active and on a live node.
    pub leaders: Vec<Option<String>>,
    /// How many replicas of each shard take updates, whatever state they are in, in the same order.
    pub replicas: Vec<usize>,
    /// Whether every update is answered 403.
    pub read_only: bool,
    /// When it was made, milliseconds since 1970, if that is told. One that is deleted and made anew has
    /// another time, and nothing of what was in it.
    pub created: Option<u64>,
}

/// What routing depends on: two equal layouts route alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The collection's own name.
    pub collection: String,
    /// Who decides.
    pub router: Router,
    /// The shards that take updates (state active), in the order of their ranges and names.
    pub shards: Vec<Shard>,
}

/// A shard that takes updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub name: String,
    /// The hashes of what belongs there; none with the implicit router.
    pub range: Option<RangeInclusive<i32>>,
}

/// How a collection decides on the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Router {
    /// By the hash of the id, or of another field.
    CompositeId {
        /// `router.field`.
        field: Option<String>,
    },
    /// By the shard's name, which the document or the request says.
    Implicit {
        /// `router.field`.
        field: Option<String>,
    },
    /// By what is not known here: nothing can be routed. Why, as in `an alias of 2 collections`.
    Other(String),
}

/// What routing looks at in a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Key<'a> {
    /// The unique key.
    pub id: &'a str,
    /// `_route_` of a delete; of a document the value of its field `_route_`, which the implicit
    /// router without `router.field` looks at. A request's parameter of that name is for neither.
    pub route: Option<&'a str>,
    /// The value of [`Layout::router_field`] in a document as Java's toString gives it, of a list
    /// the first. None for what need not be the same in Java: a fraction, a number beyond an i64,
    /// a map (which Solr refuses).
    pub field: Option<&'a str>,
    /// `_root_` in a document, a string, of a list the first: a child goes where its root is. Solr
    /// refuses a number there; a receipt has this id in place of the child's own.
    pub root: Option<&'a str>,
    /// Whether this is a delete.
    pub delete: bool,
}

impl Layout {
    /// Says which of [`Layout::shards`] this belongs to. None where only Solr can say.
    ///
    /// None does not mean that every node does right by it. A delete without `_route_` goes to all
    /// shards with `router.field`, but with the implicit router only to the one that it happens to
    /// be posted to; [`Layout::route_into`] helps with both.
    pub fn shard_of(&self, key: &Key<'_>) -> Option<usize> {
        match (&self.router, &self.shards[..]) {
            (Router::Other(_), _) => None,
            (Router::CompositeId { .. }, [only]) if only.range == Some(i32::MIN..=i32::MAX) => {
                Some(0)
            }
            (Router::CompositeId { field }, _) => {
                let routed_by = match (key.delete, field) {
                    (false, None) => key.root.unwrap_or(key.id),
                    (false, Some(_)) => key.field?,
                    (true, None) => key.route.unwrap_or(key.id),
                    (true, Some(_)) => key.route?,
                };
                self.shard_with(hash(routed_by))
            }
            (Router::Implicit { field }, shards) => {
                let name = match (key.delete, field) {
                    (false, Some(_)) => key.field,
                    (false, None) | (true, _) => key.route,
                };
                match name {
                    Some(name) => shards.iter().position(|shard| shard.name == name),
                    None => (shards.len() == 1).then_some(0),
                }
            }
        }
    }

    /// The field besides the id that decides on the shard of a document.
    pub fn router_field(&self) -> Option<&str> {
        match &self.router {
            Router::CompositeId { field } | Router::Implicit { field } => field.as_deref(),
            Router::Other(_) => None,
        }
    }

    /// Finds a `_route_` that takes a delete into this shard and no other: posted with it to each
    /// leader, a delete is done, and confirmed, in all shards. None where there is none to be found.
    pub fn route_into(&self, shard: usize) -> Option<String> {
        const TRIES: u32 = 1 << 20; // some ms; enough for a range of a 100,000th of all hashes
        let Shard { name, range } = self.shards.get(shard)?;
        match &self.router {
            Router::CompositeId { .. } => {
                let range = range.as_ref()?;
                (0..TRIES).map(|n| n.to_string()).find(|route| range.contains(&hash(route)))
            }
            Router::Implicit { .. } => Some(name.clone()),
            Router::Other(_) => None,
        }
    }

    /// The shard whose range a hash is in; ranges do not overlap.
    fn shard_with(&self, hash: i32) -> Option<usize> {
        let has = |shard: &Shard| shard.range.as_ref().is_some_and(|range| range.contains(&hash));
        let begun = |shard: &Shard| shard.range.as_ref().is_some_and(|r| *r.start() <= hash);
        let last = self.shards.partition_point(begun).checked_sub(1);
        // Shards in no order, as nothing but a caller's own layout can be, cost a look at each.
        last.filter(|&last| has(&self.shards[last])).or_else(|| self.shards.iter().position(has))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALVES: [(&str, RangeInclusive<i32>); 2] =
        [("shard1", i32::MIN..=-1), ("shard2", 0..=i32::MAX)];

    fn layout(router: Router, shards: &[(&str, RangeInclusive<i32>)]) -> Layout {
        let shard = |(name, range): &(&str, RangeInclusive<i32>)| Shard {
            name: (*name).to_owned(),
            range: Some(range.clone()),
        };
        let shards = shards.iter().map(shard).collect();
        Layout { collection: "c".to_owned(), router, shards }
    }

    fn composite(field: Option<&str>) -> Router {
        Router::CompositeId { field: field.map(str::to_owned) }
    }

    fn implicit(field: Option<&str>) -> Layout {
        let field = field.map(str::to_owned);
        let shards = ["a", "b"].map(|name| Shard { name: name.to_owned(), range: None }).to_vec();
        Layout { collection: "c".to_owned(), router: Router::Implicit { field }, shards }
    }

    /// "a" belongs into shard2, "offer-000000002" into shard1.
    const HIGH: &str = "offer-000000002";

    #[test]
    fn by_the_id() {
        let layout = layout(composite(None), &HALVES);
        let add = |id| layout.shard_of(&Key { id, ..Key::default() });
        assert_eq!([add("a"), add(HIGH), add("")], [Some(1), Some(0), Some(1)]);
        let key = Key { id: "a", field: Some(HIGH), route: Some(HIGH), ..Key::default() };
        assert_eq!(layout.shard_of(&key), Some(1), "a document's _route_ is nothing here");
        let child = Key { id: "a", root: Some(HIGH), ..Key::default() };
        assert_eq!(layout.shard_of(&child), Some(0));
    }

    #[test]
    fn a_delete_by_its_route_or_else_its_id() {
        let layout = layout(composite(None), &HALVES);
        let delete =
            |id, route| layout.shard_of(&Key { id, route, delete: true, ..Key::default() });
        assert_eq!(delete("a", None), Some(1));
        assert_eq!(delete("a", Some(HIGH)), Some(0));
        assert_eq!(delete(HIGH, Some("")), Some(1), "an empty one is one");
        // "x!" is hashed as an id would be, though a search takes it for a range of hashes
        assert_eq!(delete("a", Some("offer-000000002!")), Some(0));
        let child = Key { id: "a", root: Some(HIGH), delete: true, ..Key::default() };
        assert_eq!(layout.shard_of(&child), Some(1), "a delete has no root");
    }

    #[test]
    fn by_a_field() {
        let layout = layout(composite(Some("f")), &HALVES);
        assert_eq!(layout.router_field(), Some("f"));
        let key = Key { id: "a", field: Some(HIGH), root: Some("a"), ..Key::default() };
        assert_eq!(layout.shard_of(&key), Some(0));
        let key = Key { id: "a", root: Some("a"), route: Some("a"), ..Key::default() };
        assert_eq!(layout.shard_of(&key), None, "Solr refuses it");
        let key = Key { id: "a", field: Some("a"), delete: true, ..Key::default() };
        assert_eq!(layout.shard_of(&key), None, "Solr asks all shards");
        let key = Key { route: Some(HIGH), ..key };
        assert_eq!(layout.shard_of(&key), Some(0));
    }

    #[test]
    fn by_the_shards_name() {
        let unsaid = implicit(None);
        let key = Key { id: "b", field: Some("b"), root: Some("b"), ..Key::default() };
        assert_eq!(unsaid.shard_of(&key), None);
        assert_eq!(unsaid.shard_of(&Key { route: Some("b"), ..key }), Some(1));
        assert_eq!(unsaid.shard_of(&Key { route: Some("c"), ..key }), None);
        assert_eq!(unsaid.shard_of(&Key { route: Some("b"), delete: true, ..key }), Some(1));
        assert_eq!(unsaid.shard_of(&Key { delete: true, ..key }), None);
        let by_field = implicit(Some("f"));
        assert_eq!(by_field.router_field(), Some("f"));
        assert_eq!(by_field.shard_of(&Key { route: Some("a"), ..key }), Some(1));
        assert_eq!(by_field.shard_of(&Key { field: None, route: Some("a"), ..key }), None);
        assert_eq!(by_field.shard_of(&Key { delete: true, ..key }), None);
        let mut one = implicit(None);
        one.shards.truncate(1);
        assert_eq!(one.shard_of(&Key { delete: true, ..key }), Some(0));
    }

    #[test]
    fn one_shard_has_all() {
        for field in [None, Some("f")] {
            let layout = layout(composite(field), &[("shard1", i32::MIN..=i32::MAX)]);
            for delete in [false, true] {
                assert_eq!(layout.shard_of(&Key { delete, ..Key::default() }), Some(0));
            }
        }
        let half = layout(composite(None), &HALVES[1..]);
        assert_eq!(half.shard_of(&Key { id: HIGH, ..Key::default() }), None, "nobody's");
    }

    #[test]
    fn every_hash_finds_its_shard() {
        let edges: Vec<i32> =
            (0..=200).map(|n| (i32::MIN as i64 + n * 20_000_000) as i32).collect();
        let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let pairs = names.iter().zip(edges.windows(2)).map(|(n, e)| (&n[..], e[0]..=e[1] - 1));
        let mut layout = layout(composite(None), &pairs.collect::<Vec<_>>());
        for (n, edge) in edges.windows(2).enumerate() {
            assert_eq!(layout.shard_with(edge[0]), Some(n));
            assert_eq!(layout.shard_with(edge[1] - 1), Some(n));
        }
        assert_eq!(layout.shard_with(i32::MAX), None);
        layout.shards.reverse();
        assert_eq!(layout.shard_with(edges[0]), Some(199));
    }

    #[test]
    fn what_is_not_understood_is_not_routed() {
        let layout = layout(Router::Other("plain".to_owned()), &HALVES);
        for delete in [false, true] {
            let key = Key { id: "a", route: Some("a"), field: Some("a"), delete, ..Key::default() };
            assert_eq!(layout.shard_of(&key), None);
        }
        assert_eq!((layout.router_field(), layout.route_into(0)), (None, None));
    }

    #[test]
    fn a_delete_finds_a_way_into_each_shard() {
        let layout = layout(composite(Some("f")), &HALVES);
        for shard in 0..2 {
            let route = layout.route_into(shard);
            let key = Key { id: "x", route: route.as_deref(), delete: true, ..Key::default() };
            assert_eq!(layout.shard_of(&key), Some(shard));
        }
        assert_eq!(layout.route_into(2), None);
        assert_eq!(implicit(None).route_into(1).as_deref(), Some("b"));
    }
}
