//! What an update says, as far as the referee must know it: ids, and of which delta a document is.
//! And what Solr's answer lists.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A command of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The document's id.
    pub id: String,
    /// What is to become of it.
    pub op: Op,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It adds or changes a document: a line of this delta, or of none that says so.
    Add(Option<u32>),
    /// It deletes one.
    Delete,
}

/// An update's commands, in their order; `None`: it does not read.
pub fn commands(body: &[u8]) -> Option<Vec<Command>> {
    serde_json::from_slice(body).ok().map(|Commands(commands)| commands)
}

/// What an answer lists: ids with versions, of adds and of deletes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// How many replicas took it.
    pub rf: i64,
    /// Of the adds, in their order.
    pub adds: Vec<(String, i64)>,
    /// Of the deletes, in their order.
    pub deletes: Vec<(String, i64)>,
}

impl Listed {
    /// Reads an answer's body.
    pub fn read(body: &[u8]) -> Listed {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Answer {
            #[serde(rename = "responseHeader")]
            header: Value,
            adds: Vec<Value>,
            deletes: Vec<Value>,
        }
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        let pairs = |list: &[Value]| {
            let pair = |pair: &[Value]| Some((pair[0].as_str()?.to_owned(), pair[1].as_i64()?));
            list.chunks_exact(2).filter_map(pair).collect()
        };
        Listed {
            rf: answer.header["rf"].as_i64().unwrap_or(0),
            adds: pairs(&answer.adds),
            deletes: pairs(&answer.deletes),
        }
    }
}

struct Commands(Vec<Command>);

/// A document: what tells which delta's line it is may be a value or an atomic update's.
#[derive(serde::Deserialize)]
struct Doc<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta_i: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Add<'a> {
    #[serde(borrow)]
    doc: Doc<'a>,
}

#[derive(serde::Deserialize)]
struct Set {
    set: u32,
}

impl Doc<'_> {
    fn command(self) -> Command {
        let raw = self.delta_i.map(RawValue::get);
        let delta = raw.and_then(|raw| {
            let set = || serde_json::from_str::<Set>(raw).ok().map(|set| set.set);
            raw.parse().ok().or_else(set)
        });
        Command { id: self.id.unwrap_or_default().into_owned(), op: Op::Add(delta) }
    }
}

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Commands, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Commands;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of commands, or a list of documents")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Commands, A::Error> {
                let mut commands = Vec::new();
                // Its keys repeat.
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        "add" => commands.push(map.next_value::<Add<'de>>()?.doc.command()),
                        "delete" => {
                            let delete: Value = map.next_value()?;
                            let id = delete["id"].as_str().unwrap_or_default().to_owned();
                            commands.push(Command { id, op: Op::Delete });
                        }
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Commands(commands))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Commands, A::Error> {
                let mut commands = Vec::new();
                while let Some(doc) = list.next_element::<Doc<'de>>()? {
                    commands.push(doc.command());
                }
                Ok(Commands(commands))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_and_its_receipt_are_read() {
        let body = r#"{"add":{"doc":{"id":"a\"é","delta_i":7,"x":[1]}},"delete":{"id":"b"},
            "add":{"doc":{"id":"c","delta_i":{"set":8},"n_i":{"inc":1}}},"add":{"doc":{"id":"d","delta_i":"x"}}}"#;
        let add = |id: &str, delta| Command { id: id.into(), op: Op::Add(delta) };
        let delete = Command { id: "b".into(), op: Op::Delete };
        assert_eq!(
            commands(body.as_bytes()),
            Some(vec![add("a\"é", Some(7)), delete, add("c", Some(8)), add("d", None)])
        );
        assert_eq!(commands(b"[]"), Some(vec![]));
        assert_eq!(commands(&body.as_bytes()[..60]), None);

        let answer =
            r#"{"responseHeader":{"rf":2,"status":0},"adds":["a",5,"c",6],"deletes":["b",-7]}"#;
        let listed = Listed::read(answer.as_bytes());
        assert_eq!((listed.rf, listed.adds.len(), &listed.deletes[0]), (2, 2, &("b".into(), -7)));
        assert_eq!(Listed::read(b"<html>"), Listed::default());
    }
}
