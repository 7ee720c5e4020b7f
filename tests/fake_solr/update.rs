//! An update: its commands in their order, carried out by a shard's leader, or forwarded to it.
//!
//! The leader stops at the first document at fault, and its receipt lists just what was applied,
//! with versions. What is forwarded is listed with version 0, applied or not; an error there is
//! wrapped, and of the documents after the one at fault some are in and some are not.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map as Object, Value, json};

use crate::atomic;
use crate::http::{Answer, Request};
use crate::state::{Core, Map, Mode, Router, State};

/// Carries out a request that was sent to this node.
pub(crate) fn answer(state: &mut State, node: usize, request: &Request) -> Answer {
    let Some(name) = addressed(request) else { return Answer::not_found(&request.path) };
    let core = match receiver(&state.map, node, name) {
        Receiver::Core(core) => core,
        Receiver::NoReplica => {
            let message = format!("No active replicas found for collection: {name}");
            return Answer::error(510, &message, json!({}));
        }
        Receiver::Nobody => return Answer::not_found(&request.path),
    };
    let commands = match serde_json::from_slice(&request.body) {
        Ok(Commands(commands)) => commands,
        Err(e) => {
            let message = format!("Cannot parse provided JSON: {e}");
            return Answer::error(400, &message, json!({}));
        }
    };
    if commands.is_empty() {
        return Answer::json(json!({"responseHeader": {"status": 0, "QTime": 1}}));
    }
    let collection = name.split("_shard").next().unwrap_or(name);
    if state.map.read_only {
        let message = format!("Collection {collection} is read-only.");
        return Answer::error(403, &message, json!({}));
    }
    let proxy = state.map.node(core);
    if state.nodes[proxy].mode == Mode::Down {
        let message = format!("Error trying to proxy request for url: {}", state.nodes[proxy].url);
        return Answer::error(500, &message, json!({}));
    }
    if node != proxy {
        let passed_on = commands.iter().filter(|command| !matches!(command, Command::Commit));
        state.nodes[node].forwarded += passed_on.count();
    }
    let receipts = request.parameter("versions") == Some("true")
        && state.nodes[node].mode != Mode::ReceiptsMissing;
    let mut run = Run { state, collection, core, receipt: Receipt::default() };
    let fault = commands.into_iter().find_map(|command| run.carry_out(command).err());
    let answer = run.receipt.json(receipts);
    match fault.or(run.receipt.passed_on) {
        None => Answer::json(answer),
        Some(Fault { code, message }) => Answer::error(code, &message, answer),
    }
}

/// The core or collection in the path: `/solr/NAME/update`.
pub(crate) fn addressed(request: &Request) -> Option<&str> {
    let name = request.path.strip_prefix("/solr/")?.strip_suffix("/update")?;
    (request.method == "POST" && !name.contains('/')).then_some(name)
}

enum Receiver {
    Core(Core),
    /// Nobody at present.
    NoReplica,
    /// Nobody at all.
    Nobody,
}

/// The core that a name in an update's path stands for.
pub(crate) fn core(map: &Map, name: &str) -> Option<Core> {
    let collection = name.split("_shard").next().unwrap_or(name);
    let known = map.name.as_ref().is_none_or(|own| own == collection);
    map.cores().find(|core| known && map.core_name(collection, *core) == name)
}

/// Who carries out what was sent to this node: a core by its name, wherever it is; or a core of the
/// collection, best a leader that is here. If that is on another node, the request is proxied.
fn receiver(map: &Map, node: usize, name: &str) -> Receiver {
    if let Some(core) = core(map, name) {
        return Receiver::Core(core);
    }
    if name.contains("_replica_n") || map.collection(name).is_none() {
        return Receiver::Nobody;
    }
    let active = || map.cores().filter(|core| map.shards[core.shard].active);
    let leads = |core: &Core| map.leader(core.shard) == Some(*core);
    let here = |core: &Core| map.node(*core) == node;
    let core = active().find(|core| here(core) && leads(core));
    let core = core.or_else(|| active().find(here)).or_else(|| active().find(leads));
    core.map_or(Receiver::NoReplica, Receiver::Core)
}

/// Why Solr refuses.
struct Fault {
    code: u16,
    message: String,
}

#[derive(Default)]
struct Receipt {
    adds: Vec<Value>,
    deletes: Vec<Value>,
    applied: bool,
    /// The first fault of what was forwarded.
    passed_on: Option<Fault>,
    /// How many were forwarded after it.
    after: usize,
}

impl Receipt {
    fn json(&mut self, receipts: bool) -> Value {
        let rf = if self.applied { 1 } else { i32::MAX };
        let mut answer = json!({"responseHeader": {"rf": rf, "status": 0, "QTime": 1}});
        for (name, list) in [("adds", &mut self.adds), ("deletes", &mut self.deletes)] {
            if receipts && !list.is_empty() {
                answer[name] = Value::Array(std::mem::take(list));
            }
        }
        answer
    }

    fn list(&mut self, command: &Command, version: i64) {
        match command {
            Command::Add { id, .. } => self.adds.extend([json!(id), json!(version)]),
            Command::Delete { id, .. } => self.deletes.extend([json!(id), json!(-version)]),
            Command::Commit => {}
        }
    }
}

/// An update under way in a core.
struct Run<'a> {
    state: &'a mut State,
    collection: &'a str,
    core: Core,
    receipt: Receipt,
}

impl Run<'_> {
    /// One command; an error ends the update.
    fn carry_out(&mut self, command: Command) -> Result<(), Fault> {
        if let Command::Commit = command {
            self.receipt.applied = true;
            return Ok(());
        }
        let Some(shard) = self.home(&command)? else {
            // A delete that all shards get is versioned by the first that has it.
            self.apply(command, self.state.map.node(self.core), true);
            return Ok(());
        };
        let Some(leader) = self.state.map.leader(shard) else {
            let (collection, shard) = (self.collection, &self.state.map.shards[shard].name);
            let message = format!(
                "No registered leader was found after waiting for 4000ms , collection: \
                 {collection} slice: {shard} saw state=DocCollection({collection}//collections/…"
            );
            return Err(Fault { code: 503, message });
        };
        if leader == self.core {
            command.fault(self.state)?;
            self.apply(command, self.state.map.node(leader), true);
        } else {
            self.forward(command, leader);
        }
        Ok(())
    }

    /// The shard of a command; `None` for a delete that goes to all.
    fn home(&self, command: &Command) -> Result<Option<usize>, Fault> {
        let map = &self.state.map;
        match (&map.router, command) {
            (Router::Implicit, _) => Ok(Some(self.core.shard)),
            (Router::CompositeId, _) => Ok(Some(map.shard_of(command.id()))),
            (Router::Field(_), Command::Delete { .. } | Command::Commit) => Ok(None),
            (Router::Field(field), Command::Add { doc, .. }) => match text(doc.get(field)) {
                Some(value) => Ok(Some(map.shard_of(&value))),
                None => {
                    let message = format!("No value for :{field}. Unable to identify shard");
                    Err(Fault { code: 400, message })
                }
            },
        }
    }

    /// What another core has to do. (Of its node's mode only Down counts here.)
    fn forward(&mut self, command: Command, leader: Core) {
        let here = self.state.map.node(self.core);
        let there = self.state.map.node(leader);
        self.state.nodes[here].forwarded += 1;
        self.receipt.list(&command, 0);
        let fault = if self.state.nodes[there].mode == Mode::Down {
            let message = "java.net.ConnectException: Connection refused".into();
            Some(Fault { code: 500, message })
        } else {
            let url = &self.state.nodes[there].url;
            command.fault(self.state).err().map(|Fault { code, message }| Fault {
                code,
                message: format!(
                    "Error from server at {url}: null\n\n\n\nrequest: {url}\n\
                     Remote error message: {message}"
                ),
            })
        };
        if let Some(mut fault) = fault {
            fault.message.insert_str(0, "Async exception during distributed update: ");
            self.receipt.passed_on.get_or_insert(fault);
            return;
        }
        if self.receipt.passed_on.is_some() {
            self.receipt.after += 1;
            if self.receipt.after % 2 == 0 {
                return; // it was in the stream that broke
            }
        }
        self.apply(command, there, false);
    }

    fn apply(&mut self, command: Command, node: usize, versioned: bool) {
        let version = self.state.next_version();
        let State { docs, order, versions, nodes, .. } = &mut *self.state;
        nodes[node].taken += 1;
        order.push(command.id().to_owned());
        self.receipt.applied = true;
        if versioned {
            self.receipt.list(&command, version);
        }
        match command {
            Command::Add { id, doc } => {
                let after = atomic::merged(docs.get(&id), doc);
                versions.insert(id.clone(), version);
                docs.insert(id, after);
            }
            Command::Delete { id, .. } => {
                versions.remove(&id);
                docs.remove(&id);
            }
            Command::Commit => {}
        }
    }
}

// --- commands -----------------------------------------------------------------------------------

enum Command {
    Add {
        /// Empty if the document has none.
        id: String,
        doc: Object<String, Value>,
    },
    Delete {
        id: String,
        /// Its `_version_`.
        expected: Option<i64>,
    },
    Commit,
}

impl Command {
    fn add(doc: Object<String, Value>) -> Command {
        Command::Add { id: text(doc.get("id")).unwrap_or_default(), doc }
    }

    fn id(&self) -> &str {
        match self {
            Command::Add { id, .. } | Command::Delete { id, .. } => id,
            Command::Commit => "",
        }
    }

    /// What Solr's leader says to a document at fault.
    fn fault(&self, state: &State) -> Result<(), Fault> {
        let conflict = |id: &str, expected| {
            let conflict = atomic::conflict(id, expected, state.versions.get(id).copied());
            conflict.map_or(Ok(()), |message| Err(Fault { code: 409, message }))
        };
        let (id, doc) = match self {
            Command::Add { id, doc } => (id, doc),
            Command::Delete { id, expected } => return conflict(id, *expected),
            Command::Commit => return Ok(()),
        };
        let fault = |code, message| Err(Fault { code, message });
        let member = |name: &str| {
            doc.keys().find(|key| {
                key.strip_prefix(name).is_some_and(|k| k.is_empty() || k.starts_with('_'))
            })
        };
        if id.is_empty() {
            fault(400, "Document is missing mandatory uniqueKey field: id".into())
        } else if let Some(field) = member("bad").filter(|_| !state.mended) {
            fault(400, format!("ERROR: [doc={id}] unknown field '{field}'"))
        } else if member("poison").is_some() && !state.mended {
            fault(500, "java.lang.IllegalStateException: poison".into())
        } else {
            conflict(id, doc.get("_version_").and_then(Value::as_i64))
        }
    }
}

/// An id, or a field to route by, as Solr has it.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An update's commands, in their order: the keys of its object repeat.
struct Commands(Vec<Command>);

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Commands, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Commands;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of commands or a list of documents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Commands, A::Error> {
        let mut commands = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let mut value: Value = map.next_value()?;
            match (key.as_str(), value.get_mut("doc").map(Value::take)) {
                ("add", Some(Value::Object(doc))) => commands.push(Command::add(doc)),
                ("delete", _) => {
                    let ids = match &value {
                        Value::Array(ids) => ids.iter().map(|id| text(Some(id))).collect(),
                        Value::Object(delete) => text(delete.get("id")).map(|id| vec![id]),
                        id => text(Some(id)).map(|id| vec![id]),
                    };
                    let ids = ids.ok_or_else(|| A::Error::custom("a delete without an id"))?;
                    let expected = value.get("_version_").and_then(Value::as_i64);
                    commands.extend(ids.into_iter().map(|id| Command::Delete { id, expected }));
                }
                ("commit", _) => commands.push(Command::Commit),
                _ => return Err(A::Error::custom(format!("Unknown command '{key}'"))),
            }
        }
        Ok(Commands(commands))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Commands, A::Error> {
        let mut commands = Vec::new();
        while let Some(doc) = seq.next_element()? {
            commands.push(Command::add(doc));
        }
        Ok(Commands(commands))
    }
}
