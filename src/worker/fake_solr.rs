//! A Solr of the size of a test: takes updates as the real one does (FACTS.md) and answers with
//! receipts; and, when told to, as a Solr in trouble.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// One request's answer instead of Solr's own.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// This status, content type and body.
    Answer(u16, &'static str, String),
    /// The request is carried out and the connection closed without an answer.
    CloseAfter,
    /// No answer for so long, then the connection is closed.
    Silence(Duration),
    /// A 200 that lost the documents.
    Lost,
    /// As usual.
    Well,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) docs: BTreeMap<String, Value>,
    /// Path, query and headers of each request, and its body.
    pub(crate) requests: Vec<(String, String)>,
    pub(crate) play: VecDeque<Play>,
    /// Played when nothing else is.
    pub(crate) always: Option<Play>,
    pub(crate) connections: usize,
    /// Bodies longer than this break the connection.
    pub(crate) refuse_over: Option<usize>,
}

#[derive(Clone)]
pub(crate) struct FakeSolr {
    pub(crate) url: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

/// The address of a node that does not run.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/solr", listener.local_addr().unwrap())
}

impl FakeSolr {
    pub(crate) fn start() -> FakeSolr {
        FakeSolr::listen(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// At an address from [`nobody`].
    pub(crate) fn start_at(url: &str) -> FakeSolr {
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/solr").unwrap();
        FakeSolr::listen(TcpListener::bind(address).unwrap())
    }

    fn listen(listener: TcpListener) -> FakeSolr {
        let url = format!("http://{}/solr", listener.local_addr().unwrap());
        let solr = FakeSolr { url, state: Arc::default() };
        let this = solr.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let this = this.clone();
                this.lock().connections += 1;
                std::thread::spawn(move || this.serve(stream.unwrap()));
            }
        });
        solr
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    pub(crate) fn play(&self, plays: impl IntoIterator<Item = Play>) {
        self.lock().play.extend(plays);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().docs.keys().cloned().collect()
    }

    /// Waits until the state is so; ten seconds at most.
    pub(crate) fn wait(&self, mut so: impl FnMut(&State) -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        let mut state = self.lock();
        while !so(&state) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came: {state:?}");
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, body)) = request(&mut reader, self) {
            let play = {
                let mut state = self.lock();
                state.requests.push((head.clone(), body.clone()));
                self.state.1.notify_all();
                state.play.pop_front().or_else(|| state.always.clone()).unwrap_or(Play::Well)
            };
            let (status, kind, answer) = match play {
                Play::Well => self.update(&head, &body),
                Play::Answer(status, kind, body) => (status, kind, body),
                Play::Lost => {
                    let answer = r#"{"responseHeader":{"rf":2147483647,"status":0}}"#;
                    (200, "application/json", answer.into())
                }
                Play::Silence(time) => {
                    std::thread::sleep(time);
                    return;
                }
                Play::CloseAfter => {
                    self.update(&head, &body);
                    return;
                }
            };
            self.state.1.notify_all();
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nLocation: /elsewhere\r\n\
                 Content-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            if (&stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// As Solr: in order, up to the first that is at fault. A document is that if it has a member
    /// `bad`.
    fn update(&self, head: &str, body: &str) -> (u16, &'static str, String) {
        const JSON: &str = "application/json;charset=utf-8";
        let mut state = self.lock();
        if body == "[]" {
            return (200, JSON, r#"{"responseHeader":{"status":0,"QTime":2}}"#.into());
        }
        assert!(head.contains("versions=true"), "{head}");
        let Commands(commands) = serde_json::from_str(body).expect("a body of ours");
        let (mut adds, mut deletes, mut fault) = (Vec::new(), Vec::new(), None);
        for (name, command) in commands {
            let doc = command.get("doc").unwrap_or(&command);
            let id = match &doc["id"] {
                Value::String(id) => id.clone(),
                id => id.to_string(),
            };
            if doc.get("bad").is_some() {
                fault = Some(format!("ERROR: [doc={id}] unknown field 'bad'"));
                break;
            }
            let version = state.docs.len() as i64 + 1;
            match &*name {
                "add" => {
                    state.docs.insert(id.clone(), doc.clone());
                    adds.extend([Value::from(id), version.into()]);
                }
                "delete" => {
                    state.docs.remove(&id);
                    deletes.extend([Value::from(id), (-version).into()]);
                }
                other => panic!("unknown command {other}"),
            }
        }
        let status = if fault.is_some() { 400 } else { 200 };
        let mut answer = serde_json::json!({"responseHeader": {"rf": 1, "status": status % 200}});
        if !adds.is_empty() {
            answer["adds"] = adds.into();
        }
        if !deletes.is_empty() {
            answer["deletes"] = deletes.into();
        }
        if let Some(msg) = fault {
            answer["error"] = serde_json::json!({"msg": msg, "code": 400});
        }
        (status, JSON, answer.to_string())
    }
}

fn request(reader: &mut impl BufRead, solr: &FakeSolr) -> Option<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    if solr.lock().refuse_over.is_some_and(|most| length > most) {
        return None; // closed with much unread, the kernel resets the connection
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// An object whose keys repeat.
struct Commands(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Commands;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("commands")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Commands, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Commands(all))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A configuration for these nodes, with waits that a test can sit out.
pub(crate) fn config(urls: &[&str]) -> config::Config {
    let urls = urls.iter().map(|u| u.to_string()).collect();
    let mut config = config::Config::for_feed(urls, "offers".into()).unwrap();
    config.retry =
        config::Retry { first: Duration::from_millis(5), most: Duration::from_millis(40) };
    config.solr.timeout = Duration::from_secs(5);
    config.workers.stop_timeout = Duration::from_secs(4);
    config
}

pub(crate) fn no_log() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}
