//! A Solr that does as it is told: it takes updates as the real one does (FACTS.md), keeps the
//! documents, and is down, slow, silent or wrong when a test wants it so.
//!
//! One thread for each connection, HTTP/1.1 with keep-alive. The real Solr has its own tests, in
//! `tests/solr`; this one is here because it starts in no time and can be told to misbehave.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::wait_for_some;

const JSON: &str = "application/json;charset=utf-8";

/// How it behaves. It has one collection, `c`, unless it is [`Mode::NoCollection`].
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// As it should.
    Up,
    /// Its process is gone: connections are reset, new ones refused.
    Down,
    /// It answers every request with this.
    Status { code: u16, content_type: &'static str, body: &'static str },
    /// It takes every request and answers none.
    Stall,
    /// It takes so long for each request.
    Slow(Duration),
    /// It takes documents and does not say which.
    ReceiptsMissing,
    /// It has no collection `c`.
    NoCollection,
}

/// A fake Solr node.
pub struct FakeSolr {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    docs: BTreeMap<String, Value>,
    /// The ids of all documents and deletes taken, in their order, those taken again too.
    taken: Vec<String>,
    requests: usize,
    version: i64,
    /// The living connections, to be cut.
    connections: HashMap<u64, TcpStream>,
    next_connection: u64,
}

impl Default for State {
    fn default() -> State {
        State {
            mode: Mode::Up,
            docs: BTreeMap::new(),
            taken: Vec::new(),
            requests: 0,
            version: 1_882_628_252_310_175_744,
            connections: HashMap::new(),
            next_connection: 0,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl FakeSolr {
    pub fn up() -> FakeSolr {
        FakeSolr::in_mode(Mode::Up)
    }

    pub fn in_mode(mode: Mode) -> FakeSolr {
        let address = own_address();
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::<Shared>::default();
        let acceptor = Some(accept(listener, Arc::clone(&shared)));
        let mut solr = FakeSolr { address, shared, acceptor };
        solr.turn(mode);
        solr
    }

    /// What the configuration calls it.
    pub fn url(&self) -> String {
        format!("http://{}/solr", self.address)
    }

    /// From now on it behaves so.
    pub fn turn(&mut self, mode: Mode) {
        let down = mode == Mode::Down;
        {
            let mut state = self.shared.state();
            state.mode = mode;
            if down {
                for (_, connection) in state.connections.drain() {
                    let _ = connection.shutdown(Shutdown::Both);
                }
            }
        }
        self.shared.changed.notify_all();
        match &self.acceptor {
            Some(_) if down => self.hang_up(),
            None if !down => {
                let again = || TcpListener::bind(self.address).ok();
                let listener = wait_for_some("the port is free again", again);
                self.acceptor = Some(accept(listener, Arc::clone(&self.shared)));
            }
            _ => {}
        }
    }

    fn hang_up(&mut self) {
        let _ = TcpStream::connect(self.address); // the acceptor looks up, and leaves
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }

    /// What it has, by id.
    pub fn docs(&self) -> BTreeMap<String, Value> {
        self.shared.state().docs.clone()
    }

    /// How many documents and deletes it has taken, those taken again counted again.
    pub fn taken(&self) -> usize {
        self.shared.state().taken.len()
    }

    /// Their ids, in the order in which they were taken.
    pub fn order(&self) -> Vec<String> {
        self.shared.state().taken.clone()
    }

    /// How many requests it has had.
    pub fn requests(&self) -> usize {
        self.shared.state().requests
    }
}

impl Drop for FakeSolr {
    fn drop(&mut self) {
        self.turn(Mode::Down);
    }
}

/// Where nobody else will ever be, so that [`Mode::Down`] is down: an address of this process's own
/// (all of 127.0.0.0/8 is this machine), and a port that Linux gives to nobody by chance.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, a, b, c], NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut state = shared.state();
            if state.mode == Mode::Down {
                return;
            }
            let number = state.next_connection;
            state.next_connection += 1;
            state.connections.insert(number, stream.try_clone().unwrap());
            drop(state);
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let _ = serve(&stream, &shared); // an end like any other
                let _ = stream.shutdown(Shutdown::Both);
                shared.state().connections.remove(&number);
            });
        }
    })
}

// --- HTTP ---------------------------------------------------------------------------------------

struct Request {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
}

struct Answer {
    code: u16,
    content_type: &'static str,
    body: String,
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, stream)? {
        let Some(answer) = answer(&request, shared) else { return Ok(()) };
        let text = format!(
            "HTTP/1.1 {} x\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
            answer.code,
            answer.content_type,
            answer.body.len(),
            answer.body
        );
        { stream }.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead, mut stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_ascii_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        match header.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            Some(("expect", _)) => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            Some(("transfer-encoding", _)) => panic!("the fake Solr reads no chunks"),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Some(Request { method, path: path.to_owned(), query: query.to_owned(), body }))
}

/// `None`: it hangs up instead.
fn answer(request: &Request, shared: &Shared) -> Option<Answer> {
    let mut state = shared.state();
    state.requests += 1;
    if let Mode::Slow(time) = state.mode {
        drop(state);
        std::thread::sleep(time);
        state = shared.state();
    }
    if state.mode == Mode::Stall {
        while state.mode == Mode::Stall {
            state = shared.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        return None;
    }
    match state.mode {
        Mode::Down | Mode::Stall => None,
        Mode::Status { code, content_type, body } => {
            Some(Answer { code, content_type, body: body.to_owned() })
        }
        Mode::NoCollection => Some(not_found(&request.path)),
        Mode::Up | Mode::Slow(_) | Mode::ReceiptsMissing => match request.path.as_str() {
            "/solr/c/update" if request.method == "POST" => Some(update(request, &mut state)),
            path => Some(not_found(path)),
        },
    }
}

/// As Jetty has it.
fn not_found(path: &str) -> Answer {
    let body = format!("<html><h2>HTTP ERROR 404 Can not find: {path}</h2></html>");
    Answer { code: 404, content_type: "text/html;charset=utf-8", body }
}

// --- updates ------------------------------------------------------------------------------------

enum Command {
    Add(Map<String, Value>),
    Delete(String),
    Commit,
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
        use serde::de::Error;
        let mut commands = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let mut value: Value = map.next_value()?;
            commands.push(match (key.as_str(), value["doc"].take(), id(&value["id"])) {
                ("add", Value::Object(doc), _) => Command::Add(doc),
                ("delete", _, Some(id)) => Command::Delete(id),
                ("commit", ..) => Command::Commit,
                _ => return Err(A::Error::custom(format!("Unknown command '{key}'"))),
            });
        }
        Ok(Commands(commands))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Commands, A::Error> {
        let mut commands = Vec::new();
        while let Some(doc) = seq.next_element()? {
            commands.push(Command::Add(doc));
        }
        Ok(Commands(commands))
    }
}

/// An id as Solr has it.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn update(request: &Request, state: &mut State) -> Answer {
    let Commands(commands) = match serde_json::from_slice(&request.body) {
        Ok(commands) => commands,
        Err(e) => return error(&format!("Cannot parse provided JSON: {e}"), json!({})),
    };
    if commands.is_empty() {
        return ok(json!({"responseHeader": {"status": 0, "QTime": 1}}));
    }
    let (mut adds, mut deletes) = (Vec::new(), Vec::new());
    let mut fault = None;
    for command in commands {
        match apply(command, state) {
            Ok(Some(Taken::Doc(id))) => adds.extend([json!(id), json!(state.version)]),
            Ok(Some(Taken::Delete(id))) => deletes.extend([json!(id), json!(-state.version)]),
            Ok(None) => {}
            Err(message) => {
                fault = Some(message);
                break; // what came before it is in
            }
        }
    }
    let mut answer = json!({"responseHeader": {"rf": 1, "status": 0, "QTime": 1}});
    let asked = request.query.split('&').any(|p| p == "versions=true");
    if asked && state.mode != Mode::ReceiptsMissing {
        for (name, list) in [("adds", adds), ("deletes", deletes)] {
            if !list.is_empty() {
                answer[name] = Value::Array(list);
            }
        }
    }
    match fault {
        None => ok(answer),
        Some(message) => error(&message, answer),
    }
}

enum Taken {
    Doc(String),
    Delete(String),
}

/// One command. A document with a field `bad_…` is refused, in Solr's words.
fn apply(command: Command, state: &mut State) -> Result<Option<Taken>, String> {
    let taken = match command {
        Command::Commit => return Ok(None),
        Command::Add(doc) => {
            let id = id(doc.get("id").unwrap_or(&Value::Null))
                .ok_or("Document is missing mandatory uniqueKey field: id")?;
            if let Some(field) = doc.keys().find(|field| field.starts_with("bad_")) {
                return Err(format!("ERROR: [doc={id}] unknown field '{field}'"));
            }
            state.docs.insert(id.clone(), Value::Object(doc));
            Taken::Doc(id)
        }
        Command::Delete(id) => {
            state.docs.remove(&id);
            Taken::Delete(id)
        }
    };
    let (Taken::Doc(id) | Taken::Delete(id)) = &taken;
    state.taken.push(id.clone());
    state.version += 1;
    Ok(Some(taken))
}

fn ok(body: Value) -> Answer {
    Answer { code: 200, content_type: JSON, body: body.to_string() }
}

fn error(message: &str, mut body: Value) -> Answer {
    body["responseHeader"]["status"] = json!(400);
    let class = ["error-class", "org.apache.solr.common.SolrException"];
    body["error"] = json!({"metadata": class, "msg": message, "code": 400});
    Answer { code: 400, content_type: JSON, body: body.to_string() }
}
