//! From lines to batches: each document goes into the open batch of its shard's lane, and an id that
//! is in a batch which Solr has not confirmed waits for it. Two posts of one id that are under way
//! together may overtake each other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::Arc;

use cluster::{Cluster, Key, Router};

use crate::age::Late;
use crate::batch::{Batch, Kind, Outcome};
use crate::intents::Intents;
use crate::lanes::ANY;
use crate::lines::Place;
use crate::posts::Posts;
use convert::Converted;

/// A batch holds so many times `batch.bytes` at most (and one line) of what it was made of.
const ASIDE: u64 = 4;

/// The open batches of a share: two for each lane, the second of what may be carried out once only,
/// or comes late.
pub(crate) struct Sorter {
    layout: u64,
    cluster: Option<Arc<Cluster>>,
    open: Vec<Option<Batch>>,
    /// Where each unconfirmed id is, by the id's hash.
    pending: HashMap<u64, Pending, BuildHasherDefault<AsItIs>>,
    /// The same in all workers, so that ids can be compared by it.
    keys: BuildHasherDefault<DefaultHasher>,
    limits: config::Batch,
    intents: Arc<Intents>,
    /// How old the line is that is added next, if it must not go over what is newer.
    late: Option<Late>,
    /// The answer that the line was made of that is added next, if it is a delete of the operator's own
    /// converter.
    answer: Vec<u8>,
}

/// Where an unconfirmed id is. (Small: there are tens of thousands, looked up in no order.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// In the batch whose serial ends so, which is enough to tell it from all that are under way.
    Batch(u32),
    /// In so many.
    Many(u32),
}

impl Pending {
    fn within(batch: &Batch) -> Pending {
        Pending::Batch(batch.serial as u32)
    }
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Added {
    /// It has become so many commands, each in a batch.
    Commands(u32),
    /// It can be delivered nowhere, for this reason.
    Nowhere(String),
    /// It is no command.
    NoCommand,
    /// Nobody knows yet where it goes, or its id is in a batch that must be answered first.
    NotYet,
}

/// A hash that is a hash already.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Sorter {
    pub(crate) fn new(limits: config::Batch, posts: &Posts, intents: Arc<Intents>) -> Sorter {
        let docs = usize::try_from(limits.docs).unwrap_or(usize::MAX);
        let docs = docs.min(posts.most_docs()) as u32;
        Sorter {
            layout: 0,
            cluster: None,
            open: Vec::new(),
            pending: HashMap::default(),
            keys: BuildHasherDefault::default(),
            limits: config::Batch { docs, ..limits },
            intents,
            late: None,
            answer: Vec::new(),
        }
    }

    /// The line that is added next is made of this answer of the operator's own converter.
    pub(crate) fn made_of(&mut self, answer: &[u8], converted: &Converted<'_>) {
        self.answer.clear();
        if let Converted::Delete { .. } = converted {
            self.answer.extend_from_slice(answer);
        }
    }

    /// The line that is added next is so old; none: it goes over whatever is there.
    pub(crate) fn come_late(&mut self, late: Option<Late>) {
        self.late = late;
    }

    fn is_guarded(&self, converted: &Converted<'_>) -> bool {
        converted.is_guarded() || self.late.is_some()
    }

    /// Where a lane's open batch for this is.
    fn place_of(&self, lane: usize, converted: &Converted<'_>) -> usize {
        lane * 2 + usize::from(self.is_guarded(converted))
    }

    /// The number of the layout that lines are sorted by.
    pub(crate) fn layout(&self) -> u64 {
        self.layout
    }

    /// The member of a document that routing looks at, besides its id.
    pub(crate) fn router_field(&self) -> Option<&str> {
        self.cluster.as_ref()?.collection.layout.router_field()
    }

    /// Sees whether the layout is another one. Gives back what must be sorted again.
    pub(crate) fn refresh(&mut self, posts: &Posts) -> Vec<Batch> {
        if posts.layout() == self.layout {
            return Vec::new();
        }
        (self.layout, self.cluster) = posts.sight();
        let shards = self.cluster.as_ref().map_or(0, |c| c.collection.layout.shards.len());
        let old = std::mem::take(&mut self.open);
        self.open.resize_with((shards + 1) * 2, || None);
        old.into_iter().flatten().collect()
    }

    /// The lane of a command; `None`: all shards'.
    fn lane(&self, converted: &Converted<'_>) -> Option<usize> {
        let Some(cluster) = &self.cluster else { return Some(ANY) };
        let layout = &cluster.collection.layout;
        let none = Key::default();
        let key = match converted {
            Converted::Doc { id, field, root, .. } => {
                Key { id, field: field.as_deref(), root: root.as_deref(), ..none }
            }
            Converted::Delete { id, route, .. } => {
                Key { id, route: route.as_deref(), delete: true, ..none }
            }
            Converted::Nothing | Converted::Reject { .. } => return Some(ANY),
        };
        match (layout.shard_of(&key), &layout.router) {
            (Some(shard), _) => Some(shard + 1),
            // Solr would carry it out here or there, and confirm it nowhere.
            (None, Router::CompositeId { .. } | Router::Implicit { .. }) if key.delete => None,
            (None, _) => Some(ANY),
        }
    }

    /// Takes a line. Batches that are full are sent.
    pub(crate) fn add(
        &mut self,
        place: Place,
        line: &[u8],
        converted: &Converted<'_>,
        posts: &mut Posts,
        now: u64,
    ) -> Added {
        let Some(name) = converted.name() else { return Added::NoCommand };
        if !posts.is_known() {
            return Added::NotYet;
        }
        if self.open.is_empty() {
            self.open.resize_with(2, || None);
        }
        let key = self.keys.hash_one(name.as_bytes());
        let Some(lane) = self.lane(converted) else {
            return self.add_to_all(key, place, line, name, posts, now);
        };
        let at = self.place_of(lane, converted);
        if self.overflows(at, line.len()) {
            self.send(at, posts);
        }
        let open = self.open[at].as_ref().map(Pending::within);
        let is_guarded = self.is_guarded(converted);
        match self.pending.entry(key) {
            Entry::Vacant(free) => {
                let layout = self.layout;
                let batch = self.open[at].get_or_insert_with(|| posts.blank(lane, layout));
                free.insert(Pending::within(batch));
            }
            // What is guarded waits for whatever comes before it: that makes the version it is for.
            Entry::Occupied(pending) if Some(*pending.get()) == open && !is_guarded => {}
            Entry::Occupied(_) => {
                self.hurry(key, posts);
                return Added::NotYet;
            }
        }
        self.push(lane, key, place, line, converted, posts, now);
        Added::Commands(1)
    }

    /// A delete of which only Solr could say where its document is, and does not: each shard gets
    /// it, by a route that leads there.
    fn add_to_all(
        &mut self,
        key: u64,
        place: Place,
        line: &[u8],
        id: &str,
        posts: &mut Posts,
        now: u64,
    ) -> Added {
        if self.pending.contains_key(&key) {
            self.hurry(key, posts);
            return Added::NotYet;
        }
        let layout = self.cluster.as_ref().map(|cluster| &cluster.collection.layout);
        let shards = layout.map_or(0, |layout| layout.shards.len());
        let route = |n| layout.and_then(|layout| layout.route_into(n));
        if shards == 0 {
            return Added::NotYet;
        }
        let routes: Option<Vec<String>> = (0..shards).map(route).collect();
        let Some(routes) = routes.filter(|routes| !routes.is_empty()) else {
            let reason = "Solr cannot tell where this document is: give the delete its _route_";
            return Added::Nowhere(reason.into());
        };
        for (shard, route) in routes.iter().enumerate() {
            let body = serde_json::json!({"id": id, "_route_": route}).to_string();
            let route = Some(route.as_str().into());
            let delete = Converted::Delete { id: id.into(), route, body: body.as_bytes() };
            self.push(shard + 1, key, place, line, &delete, posts, now);
        }
        self.pending.insert(key, Pending::Many(routes.len() as u32));
        Added::Commands(routes.len() as u32)
    }

    /// Whether an earlier line of this name is in a batch that is not answered; that is sent then.
    pub(crate) fn is_under_way(&mut self, name: &str, posts: &mut Posts) -> bool {
        let key = self.keys.hash_one(name.as_bytes());
        let is_pending = self.pending.contains_key(&key);
        if is_pending {
            self.hurry(key, posts);
        }
        is_pending
    }

    /// Puts a command into its lane's open batch.
    #[expect(clippy::too_many_arguments, reason = "what a line is, and where it goes")]
    fn push(
        &mut self,
        lane: usize,
        key: u64,
        place: Place,
        line: &[u8],
        converted: &Converted<'_>,
        posts: &mut Posts,
        now: u64,
    ) {
        let at = self.place_of(lane, converted);
        if self.overflows(at, line.len()) {
            self.send(at, posts);
        }
        let layout = self.layout;
        let batch = self.open[at].get_or_insert_with(|| posts.blank(lane, layout));
        batch.push((place.index, place.offset), line, converted, now);
        if let Some(late) = &self.late {
            batch.come_late(converted, late.clone());
        }
        if !self.answer.is_empty() {
            batch.answered(&self.answer);
        }
        let Some(entry) = batch.entries.last_mut() else { return };
        entry.key = key;
        if let Some(guard) = batch.guards.last_mut() {
            // What was written down before may have been sent. (A delete may have several versions,
            // one for each shard, and may be carried out again.)
            let version = self.intents.version(place.index);
            guard.version = version.filter(|_| entry.kind == Kind::Add);
            entry.doubtful = guard.version.is_some();
            batch.intents.get_or_insert_with(|| Arc::clone(&self.intents));
        }
        let (bytes, held) = (batch.bytes() as u64, batch.held() as u64);
        let is_full = bytes >= self.limits.bytes || held / ASIDE >= self.limits.bytes;
        if batch.len() >= self.limits.docs as usize || is_full {
            self.send(at, posts);
        }
    }

    /// A line waits for this id: what is open with it is sent, or nobody would ever send it.
    fn hurry(&mut self, key: u64, posts: &mut Posts) {
        let pending = self.pending.get(&key).copied();
        for at in 0..self.open.len() {
            let waited_for = self.open[at].as_ref().is_some_and(|batch| match pending {
                Some(Pending::Many(_)) => true,
                Some(pending) => pending == Pending::within(batch),
                None => false,
            });
            if waited_for {
                self.send(at, posts);
            }
        }
    }

    /// A batch is back: the ids of what is settled are free.
    pub(crate) fn free(&mut self, batch: &Batch) {
        for (n, entry) in batch.entries.iter().enumerate() {
            if entry.outcome != Outcome::Open {
                self.free_one(batch, n);
            }
        }
    }

    /// A command is settled, or came back unsettled to be sorted again: its id is free.
    pub(crate) fn free_one(&mut self, batch: &Batch, entry: usize) {
        let key = batch.entries[entry].key;
        let Entry::Occupied(mut pending) = self.pending.entry(key) else { return };
        match pending.get_mut() {
            Pending::Many(n) if *n > 1 => *n -= 1,
            other @ Pending::Batch(_) if *other != Pending::within(batch) => {}
            _ => drop(pending.remove()),
        }
    }

    /// Whether a batch must travel before this line is added to it; a giant travels alone.
    fn overflows(&self, at: usize, line: usize) -> bool {
        self.open[at]
            .as_ref()
            .is_some_and(|b| !b.is_empty() && (b.bytes() + line) as u64 > self.limits.bytes)
    }

    fn send(&mut self, at: usize, posts: &mut Posts) {
        if let Some(batch) = self.open.get_mut(at).and_then(Option::take) {
            posts.send(batch);
        }
    }

    /// Sends what is old enough and would be taken; with `all`, everything.
    pub(crate) fn send_due(&mut self, all: bool, posts: &mut Posts, now: u64) {
        for at in 0..self.open.len() {
            let Some(batch) = &self.open[at] else { continue };
            let old = now >= self.due(batch);
            if all || old && posts.wants_more(batch.lane) {
                self.send(at, posts);
            }
        }
    }

    fn due(&self, batch: &Batch) -> u64 {
        batch.opened + self.limits.delay.as_millis() as u64
    }

    /// When the oldest open batch is to be sent.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.open.iter().flatten().map(|batch| self.due(batch)).min()
    }
}
