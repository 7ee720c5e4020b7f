//! A Solr that takes no time: it answers each update at once with the receipt a real one would
//! give, and keeps nothing. What a feeder does in a second with it is all the feeder's own.
//!
//! It shares the processors with what is measured, so it looks for ids and for nothing else, and
//! spends no thought on what a feeder of ours never sends. One thread for each connection.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kit::http::write_both;
use kit::ids::{self, Kind};
use memchr::memmem::{self, Finder};
use serde_json::{Map, Value, json};

const USAGE: &str = "\
usage: null-solr [--shards N] [--ports N]

Prints its Solr URLs on one line, with commas, and answers until its standard input ends:
  POST /solr/ANY/update                         the receipt: rf 1, all ids with a version
  GET  /solr/admin/collections?...collection=C  C has N shards (2); the ports (1) lead them in turn
  GET  /solr/taken                              what it has taken so far
";

/// What follows each id in a receipt: a version as long as a real one.
const VERSION: &[u8] = b"\",1882628252310175744";

#[derive(Default)]
struct Taken {
    adds: AtomicU64,
    deletes: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

struct Server {
    shards: u32,
    nodes: Vec<String>,
    taken: Taken,
}

fn main() {
    let mut shards = 2;
    let mut ports = 1;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok()).filter(|n| *n > 0);
        match (name.as_str(), value) {
            ("--shards", Some(n)) => shards = n,
            ("--ports", Some(n)) => ports = n,
            _ => {
                eprint!("{USAGE}");
                std::process::exit(2);
            }
        }
    }
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners: Vec<TcpListener> = (0..ports).map(bind).collect();
    let address = |l: &TcpListener| l.local_addr().expect("a bound socket has one").to_string();
    let nodes: Vec<String> = listeners.iter().map(address).collect();
    let urls: Vec<String> = nodes.iter().map(|node| format!("http://{node}/solr")).collect();
    println!("{}", urls.join(","));
    let server = Arc::new(Server { shards, nodes, taken: Taken::default() });
    for listener in listeners {
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || serve(&server, stream));
            }
        });
    }
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// One connection, until its other side leaves.
fn serve(server: &Server, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut connection = Incoming { buffer: vec![0; 1 << 17], filled: 0 };
    let mut answer = Answer::default();
    while let Ok(Some((head, body))) = connection.next(&mut stream) {
        let request = &connection.buffer[..body];
        let (line, body) = (first_line(&request[..head]), &request[head..]);
        answer.make(server, line, body);
        if write_both(&mut stream, &answer.head, &answer.body).is_err() {
            return;
        }
        connection.drop(request.len());
    }
}

fn first_line(head: &[u8]) -> &str {
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    std::str::from_utf8(&head[..end]).unwrap_or_default()
}

/// What comes in.
struct Incoming {
    buffer: Vec<u8>,
    filled: usize,
}

impl Incoming {
    /// Reads a whole request to the buffer's front: where its head ends, and where its body does.
    fn next(&mut self, stream: &mut TcpStream) -> io::Result<Option<(usize, usize)>> {
        let head = loop {
            match memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !self.read(stream)? => return Ok(None),
                None => {}
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        if header("expect:").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = header("content-length:").and_then(|value| value.trim().parse().ok());
        let end = head + length.unwrap_or(0);
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.filled < end {
            if !self.read(stream)? {
                return Ok(None);
            }
        }
        Ok(Some((head, end)))
    }

    fn read(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        let n = stream.read(&mut self.buffer[self.filled..])?;
        self.filled += n;
        Ok(n > 0)
    }

    fn drop(&mut self, request: usize) {
        self.buffer.copy_within(request..self.filled, 0);
        self.filled -= request;
    }
}

/// An answer, in room that is used again.
struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
    deletes: Vec<u8>,
    finder: Finder<'static>,
}

impl Default for Answer {
    fn default() -> Answer {
        let finder = Finder::new(ids::BEFORE);
        Answer { head: Vec::new(), body: Vec::new(), deletes: Vec::new(), finder }
    }
}

impl Answer {
    fn make(&mut self, server: &Server, line: &str, body: &[u8]) {
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let status = if method == "POST" && path.ends_with("/update") {
            self.receipt(&server.taken, body, query.contains("versions=true"));
            200
        } else {
            self.body.clear();
            match (path, server.tell(path, query)) {
                (_, Some(document)) => {
                    self.body.extend_from_slice(document.to_string().as_bytes());
                    200
                }
                (_, None) => {
                    if !path.ends_with("/schema") {
                        eprintln!("null-solr: not known here: {line}"); // it has none to be held against
                    }
                    self.body.extend_from_slice(br#"{"error":{"msg":"not known","code":404}}"#);
                    404
                }
            }
        };
        let mut head = String::with_capacity(128);
        let length = self.body.len();
        let _ = write!(
            head,
            "HTTP/1.1 {status} OK\r\nContent-Type: application/json;charset=utf-8\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.head = head.into_bytes();
    }

    fn receipt(&mut self, taken: &Taken, body: &[u8], versions: bool) {
        const ADDS: &[u8] = br#"{"responseHeader":{"rf":1,"status":0,"QTime":0},"adds":["#;
        let (mut adds, mut deletes) = (0, 0);
        self.body.clear();
        self.body.extend_from_slice(ADDS);
        self.deletes.clear();
        let (listed, gone) = (&mut self.body, &mut self.deletes);
        ids::each(&self.finder, body, |kind, id| {
            let (list, count) = match kind {
                Kind::Add => (&mut *listed, &mut adds),
                Kind::Delete => (&mut *gone, &mut deletes),
            };
            if *count > 0 {
                list.push(b',');
            }
            *count += 1;
            list.push(b'"');
            list.extend_from_slice(id);
            list.extend_from_slice(VERSION);
        });
        taken.adds.fetch_add(adds, Relaxed);
        taken.deletes.fetch_add(deletes, Relaxed);
        taken.requests.fetch_add(1, Relaxed);
        taken.bytes.fetch_add(body.len() as u64, Relaxed);
        if adds + deletes == 0 {
            // as a real one: nothing was taken, so no replica has taken it
            self.body.clear();
            self.body.extend_from_slice(br#"{"responseHeader":{"status":0,"QTime":0}}"#);
        } else if versions {
            self.body.push(b']');
            if deletes > 0 {
                self.body.extend_from_slice(br#","deletes":["#);
                self.body.extend_from_slice(&self.deletes);
                self.body.push(b']');
            }
            self.body.push(b'}');
        } else {
            self.body.truncate(ADDS.len() - br#","adds":["#.len());
            self.body.push(b'}');
        }
    }
}

impl Server {
    /// What is asked for, unless it is not known here.
    fn tell(&self, path: &str, query: &str) -> Option<Value> {
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        if path == "/solr/taken" {
            let taken = &self.taken;
            return Some(json!({
                "adds": taken.adds.load(Relaxed), "deletes": taken.deletes.load(Relaxed),
                "requests": taken.requests.load(Relaxed), "bytes": taken.bytes.load(Relaxed),
            }));
        }
        if path == "/solr/admin/collections" && of("action=") == Some("CLUSTERSTATUS") {
            let mut answer = self.cluster(of("collection=").unwrap_or("c"));
            answer["responseHeader"] = json!({"status": 0, "QTime": 0});
            return Some(answer);
        }
        None
    }

    fn cluster(&self, collection: &str) -> Value {
        let mut shards = Map::new();
        let width = (1u64 << 32) / u64::from(self.shards);
        for n in 0..self.shards {
            // Solr begins with the negative hashes.
            let from = (u64::from(n) * width) as u32 ^ 0x8000_0000;
            let to = match n + 1 == self.shards {
                true => 0x7fff_ffff,
                false => ((u64::from(n) + 1) * width - 1) as u32 ^ 0x8000_0000,
            };
            let node = &self.nodes[n as usize % self.nodes.len()];
            let replica = json!({
                "core": format!("{collection}_shard{}_replica_n1", n + 1),
                "node_name": format!("{node}_solr"), "base_url": format!("http://{node}/solr"),
                "type": "NRT", "state": "active", "leader": "true", "force_set_state": "false",
            });
            shards.insert(
                format!("shard{}", n + 1),
                json!({
                    "range": format!("{from:x}-{to:x}"), "state": "active", "health": "GREEN",
                    "replicas": {"core_node1": replica},
                }),
            );
        }
        let live: Vec<String> = self.nodes.iter().map(|node| format!("{node}_solr")).collect();
        json!({"cluster": {
            "live_nodes": live, "properties": {}, "roles": {},
            "collections": {collection: {
                "configName": "null", "replicationFactor": 1, "nrtReplicas": 1,
                "router": {"name": "compositeId"}, "health": "GREEN", "znodeVersion": 1,
                "shards": shards,
            }},
        }})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str, body: &str) -> Value {
        let server =
            Server { shards: 4, nodes: vec!["h:1".into(), "h:2".into()], taken: Taken::default() };
        let mut answer = Answer::default();
        answer.make(&server, line, body.as_bytes());
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn a_receipt_lists_adds_and_deletes_in_order() {
        let body = r#"{"add":{"doc":{"id":"b"}},"delete":{"id":"x"},"add":{"doc":{"id":"a\""}}}"#;
        let v = 1_882_628_252_310_175_744_i64;
        let got = answer("POST /solr/c/update?wt=json&versions=true HTTP/1.1", body);
        assert_eq!(got["adds"], json!(["b", v, "a\"", v]));
        assert_eq!(got["deletes"], json!(["x", v]));
        assert_eq!(got["responseHeader"]["rf"], 1);
        let got = answer("POST /solr/c/update HTTP/1.1", body);
        assert_eq!(got, json!({"responseHeader": {"rf": 1, "status": 0, "QTime": 0}}));
        let got = answer("POST /solr/c/update?versions=true HTTP/1.1", "[]");
        assert_eq!(got, json!({"responseHeader": {"status": 0, "QTime": 0}}));
    }

    #[test]
    fn its_shards_have_every_hash_once() {
        let got =
            answer("GET /solr/admin/collections?action=CLUSTERSTATUS&collection=c HTTP/1.1", "");
        let shards = got["cluster"]["collections"]["c"]["shards"].as_object().unwrap();
        let ranges: Vec<&str> = shards.values().map(|s| s["range"].as_str().unwrap()).collect();
        let whole = ["80000000-bfffffff", "c0000000-ffffffff", "0-3fffffff", "40000000-7fffffff"];
        assert_eq!(ranges, whole);
        assert_eq!(shards["shard2"]["replicas"]["core_node1"]["base_url"], "http://h:2/solr");
    }
}
