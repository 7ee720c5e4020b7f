//! Doors for the fuzzer (tests/fuzz) to what reads foreign bytes here. Each takes any bytes, and panics
//! when something is not as it must be, whatever they are. Not built otherwise.

use std::path::PathBuf;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::batch::{Batch, Kind};
use crate::doubts::{Doubt, Doubts};
use crate::intents::Intents;
use crate::merge::Merge;
use crate::partition::Partition;
use crate::receipt::{self, Reply, Verdict};
use crate::unpack::{Corrupt, Piece, Unpacker};
use crate::versions;
use convert::{Body, Converted, Converter, Repeat, Scratch};

/// A delta's line: what becomes of it stands in a body between others, and is what it was.
pub fn line(bytes: &[u8]) {
    if bytes.contains(&b'\n') {
        return;
    }
    let config = config::Config::for_feed(vec!["http://localhost:8983/solr".into()], "c".into());
    let converter = Converter::new(&config.expect("it is one")).expect("nothing to be made");
    one_owner(bytes);
    let field = (bytes.len() % 2 == 0).then_some("shop");
    let mut scratch = Scratch::default();
    let converted = converter.convert(bytes, &mut scratch, field);
    let Some(name) = converted.name() else { return };
    let mut batch = Batch::default();
    let mut push = |line: &[u8], converted: &Converted<'_>| {
        assert!(batch.push((0, 0), line, converted, 0));
    };
    let repeat = Repeat::Harmless;
    let plain = |id: &'static str| Converted::Doc {
        id: id.into(),
        body: Body::Line,
        field: None,
        root: None,
        repeat,
    };
    if !converted.is_guarded() {
        push(br#"{"id":"before"}"#, &plain("before"));
    }
    push(bytes, &converted);
    if !converted.is_guarded() {
        push(br#"{"id":"after"}"#, &plain("after"));
    }
    batch.guards.iter_mut().for_each(|guard| guard.version = Some(42));
    let mut body = Vec::new();
    batch.write_part(0..batch.len(), &mut body);
    let Ok(mut said) = serde_json::from_slice::<Value>(bytes) else {
        // A number that no double holds: as JSON it is well-formed all the same, and travels as it is.
        serde_json::from_slice::<&RawValue>(&body).expect("a body is JSON");
        return;
    };
    let commands = commands(&body);
    let (before, after) = match converted.is_guarded() {
        true => (&commands[..0], &commands[1..]),
        false => (&commands[..1], &commands[2..]),
    };
    assert!(before.iter().all(|(c, v)| c == "add" && v["doc"]["id"] == "before"));
    assert!(after.iter().all(|(c, v)| c == "add" && v["doc"]["id"] == "after"));
    assert_eq!(commands.len(), batch.len());
    let (command, sent) = &commands[before.len()];
    match &converted {
        Converted::Delete { id, .. } => {
            assert_eq!((command.as_str(), sent), ("delete", &said["delete"]));
            assert!(sent.get("query").is_none());
            assert!(is_id(&sent["id"], id) || &**id == "-0");
        }
        Converted::Doc { repeat, root, .. } => {
            assert_eq!(command, "add");
            if *repeat == Repeat::Counts {
                said["_version_"] = 42.into();
            }
            assert_eq!(sent["doc"], said);
            assert!(root.is_some() || is_id(&said["id"], name) || name == "0");
        }
        Converted::Nothing | Converted::Reject { .. } => unreachable!("they have no name"),
    }
}

/// Whether a value is this id. (Of more digits than a number here can hold serde_json makes a double,
/// and Solr text.)
fn is_id(value: &Value, id: &str) -> bool {
    match value {
        Value::Number(number) => number.is_f64() || number.to_string() == id,
        other => *other == *id,
    }
}

/// However many shares there are, one of them has the line.
fn one_owner(line: &[u8]) {
    let has = |share: &u32| Partition::new(*share, 3, Some("id")).has(5, Some(line));
    assert_eq!((0..3).filter(has).count(), 1);
}

/// The commands of a body, whose keys repeat.
fn commands(body: &[u8]) -> Vec<(String, Value)> {
    struct Commands;
    impl<'de> Visitor<'de> for Commands {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("commands")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(entry) = map.next_entry()? {
                all.push(entry);
            }
            Ok(all)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let all = deserializer.deserialize_map(Commands).expect("a body is JSON");
    deserializer.end().expect("and nothing behind it");
    all
}

/// Solr's answer to an update: nothing is believed but a whole receipt. The first byte chooses the
/// status, the second who was asked.
pub fn answer(bytes: &[u8]) {
    let [status, who, body @ ..] = bytes else { return };
    let status = [200, 200, 200, 400, 409, 413, 429, 500, 503, 404][usize::from(*status) % 10];
    let (leads, min_rf) = (who & 1 == 0, 1 + u32::from(who & 2));
    let mut batch = Batch::default();
    let doc = |id: &'static str| {
        let repeat = Repeat::Harmless;
        Converted::Doc { id: id.into(), body: Body::Line, field: None, root: None, repeat }
    };
    batch.push((0, 0), br#"{"id":"a"}"#, &doc("a"), 0);
    let delete = Converted::Delete { id: "b".into(), route: None, body: br#"{"id":"b"}"# };
    batch.push((1, 0), br#"{"delete":{"id":"b"}}"#, &delete, 0);
    batch.push((2, 0), br#"{"id":"c"}"#, &doc("c"), 0);
    let content_type = "application/json;charset=UTF-8".to_owned();
    let reply = Reply { status, content_type, retry_after: None, body: body.to_vec() };
    let (verdict, versions) = receipt::weigh(&reply, leads, &batch, 0..3, min_rf);
    let count = match verdict {
        Verdict::Confirmed | Verdict::Forwarded => {
            let said: Value = serde_json::from_slice(body).expect("a receipt is JSON");
            assert_eq!(status, 200);
            assert_eq!(said["responseHeader"]["status"], 0);
            assert!(said["responseHeader"]["rf"].as_u64() >= Some(min_rf.into()));
            let ids = |list: &Value| -> Vec<Value> {
                list.as_array().into_iter().flatten().step_by(2).cloned().collect()
            };
            assert_eq!(
                (ids(&said["adds"]), ids(&said["deletes"])),
                (vec!["a".into(), "c".into()], vec!["b".into()])
            );
            3
        }
        Verdict::AtFault { applied, .. } => applied.unwrap_or(0),
        Verdict::Wait { applied, .. } => applied,
        Verdict::TooLarge => 0,
    };
    assert!(count <= 3 && versions.len() <= count.max(3));
    assert!(batch.entries.iter().all(|entry| matches!(entry.kind, Kind::Add | Kind::Delete)));
    let _ = receipt::judge_plain(&reply);
}

/// Solr's answer to `/get`.
pub fn versions(bytes: &[u8]) {
    let reply = Reply { status: 200, body: bytes.to_vec(), ..Reply::default() };
    if let Ok(found) = versions::read(&reply, "id") {
        let said: Value = serde_json::from_slice(bytes).expect("it was read");
        assert!(found.is_empty() || said.is_object());
    }
}

/// A file of these bytes. (One for each process: the fuzzer is single-threaded, cargo's tests are not.)
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("solr-updater-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("there is room");
    path
}

/// What was written down of lines that may be sent once only: whatever stands there, what is written
/// next is read again.
pub fn intents(bytes: &[u8]) {
    let path = file("intents", bytes);
    let intents = Intents::open(&path, 3, || ()).expect("a file that is there");
    let _ = (intents.version(4), intents.is_done(4, "a"));
    intents.write(&[(1 << 40, 17, "a")]).expect("there is room");
    intents.withdraw(&[1 << 41]).expect("there is room");
    let again = Intents::open(&path, 3, || ()).expect("a file that is there");
    assert_eq!(again.version(1 << 40), Some(17));
}

/// What was written down of documents that are in doubt, likewise.
pub fn doubts(bytes: &[u8]) {
    let path = file("doubts", bytes);
    let mut doubts = Doubts::open(path.clone()).expect("a file that is there");
    let before = doubts.names().count();
    let doubt = Doubt { line: u64::MAX, offset: 5, kind: Kind::Add, version: 7, once: false };
    doubts.note("\u{1}new", doubt, true);
    doubts.write().expect("there is room");
    let again = Doubts::open(path).expect("a file that is there");
    assert!(again.names().any(|name| name == "\u{1}new"));
    assert!(again.names().count() >= before);
}

/// A compressed delta: it has the same text and the same end however it is read, and no piece is longer
/// than there is room for. The first byte chooses the format.
pub fn unpack(bytes: &[u8]) {
    struct Crumbs<'b>(&'b [u8], usize);
    impl std::io::Read for Crumbs<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let most = into.len().min(self.1);
            self.0.read(&mut into[..most])
        }
    }
    let [format, bytes @ ..] = bytes else { return };
    let packing = [spool::Packing::Gzip, spool::Packing::Zstd][usize::from(format % 2)];
    let read = |crumb, room| {
        let unpacker = Unpacker::new(Crumbs(bytes, crumb), packing).expect("there is memory");
        let mut unpacker = unpacker.expect("it is packed");
        let (mut text, mut into) = (Vec::new(), vec![0; room]);
        loop {
            match unpacker.unpack(&mut into) {
                Ok(Piece::Bytes(count)) => text.extend_from_slice(&into[..count]),
                Ok(Piece::Nothing) => {}
                Ok(end) => return (text, Some((end, unpacker.at()))),
                Err(e) => {
                    assert!(Corrupt::is(&e), "{e}");
                    return (text, None);
                }
            }
            if text.len() > 1 << 20 {
                return (text, None); // a bomb
            }
        }
    };
    let (text, end) = read(usize::MAX, 4096);
    let (other, other_end) = read(3, 100);
    assert_eq!(end, other_end);
    // (Where it is damaged, more or less of what is before may come out.)
    match end {
        Some((_, at)) => assert!(text == other && at == bytes.len() as u64),
        None => assert!(text.starts_with(&other) || other.starts_with(&text)),
    }
}

/// A share's reject file: whatever stands there, the merged one has lines of it and nothing else.
pub fn rejects(bytes: &[u8]) {
    let path = file("rejects", bytes);
    let beside = path.with_extension("merged");
    let _ = std::fs::remove_file(&beside);
    let one = std::fs::File::open(&path).expect("it is there");
    let Ok(mut merge) = Merge::begin(vec![(one, bytes.len() as u64)], &beside) else { return };
    while !merge.step().expect("it can be read and written") {}
    drop(merge);
    let merged = std::fs::read(&beside).unwrap_or_default();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for line in merged.split_inclusive(|byte| *byte == b'\n') {
        assert!(lines.contains(&line), "{:?}", String::from_utf8_lossy(line));
    }
}
