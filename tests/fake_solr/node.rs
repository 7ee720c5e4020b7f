//! A node: its door, a thread for each connection, and what a test tells it and asks it.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::state::{ClusterStatus, Map, Mode, Node, Play, Shared, State};
use crate::{get, schema, status, update};

/// Only a failure meets this.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a waiting thread sleeps at most when nobody wakes it.
const TURN: Duration = Duration::from_millis(20);

/// A fake Solr node. Clones are the same node; the last to go takes it down, and its cluster.
#[derive(Clone)]
pub struct FakeSolr {
    /// What the configuration calls it.
    pub url: String,
    number: usize,
    running: Arc<Running>,
}

/// The doors and threads of a cluster's nodes.
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    doors: Vec<Door>,
}

struct Door {
    address: SocketAddr,
    /// `None` while the node is down.
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// The URL of a node that does not run.
pub fn nobody() -> String {
    url(own_address())
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/solr")
}

/// Where nobody else will ever be, so that [`Mode::Down`] is down: an address of this process's own
/// (all of 127.0.0.0/8 is this machine), and a port that Linux gives to nobody by chance.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, a, b, c], NEXT.fetch_add(1, Ordering::Relaxed)))
}

impl FakeSolr {
    /// A node alone at 127.0.0.1, so also `localhost`. It has any collection that it is asked for,
    /// of one shard.
    pub fn start() -> FakeSolr {
        FakeSolr::alone(TcpListener::bind("127.0.0.1:0").expect("a free port"), None, true)
    }

    /// The same at a URL from [`nobody`].
    pub fn start_at(url: &str) -> FakeSolr {
        let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/solr"));
        let address = address.expect("a URL as nobody() has it");
        FakeSolr::alone(TcpListener::bind(address).expect("nobody is there"), None, true)
    }

    /// A node alone that has collection `c`, of one shard. It does not keep the requests.
    pub fn up() -> FakeSolr {
        FakeSolr::in_mode(Mode::Up)
    }

    /// The same, from the beginning in this mode.
    pub fn in_mode(mode: Mode) -> FakeSolr {
        let listener = TcpListener::bind(own_address()).expect("an address of our own");
        let solr = FakeSolr::alone(listener, Some("c"), false);
        solr.turn(mode);
        solr
    }

    fn alone(listener: TcpListener, name: Option<&str>, keeps_requests: bool) -> FakeSolr {
        let running = Running::start(vec![listener], Map::new(name, 1, &[0]), keeps_requests);
        FakeSolr::of(&running, 0)
    }

    /// A node of those that run.
    pub(crate) fn of(running: &Arc<Running>, number: usize) -> FakeSolr {
        let url = url(running.doors[number].address);
        FakeSolr { url, number, running: Arc::clone(running) }
    }

    /// What the configuration calls it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    // --- what it is told ------------------------------------------------------------------------

    /// From now on it behaves so.
    pub fn turn(&self, mode: Mode) {
        self.running.turn(self.number, mode);
    }

    /// The next updates are answered so, each by one of these.
    pub fn play(&self, plays: impl IntoIterator<Item = Play>) {
        self.lock().plays.extend(plays);
    }

    /// From now on as usual, whatever was still to be played.
    pub fn play_no_more(&self) {
        self.lock().plays.clear();
    }

    /// Lets go what [`Play::Hold`] holds now.
    pub fn release(&self) {
        self.lock().releases += 1;
        self.running.shared.changed.notify_all();
    }

    /// From now on it says this of the cluster.
    pub fn tell(&self, status: ClusterStatus) {
        let mut state = self.running.shared.lock();
        let map = (status == ClusterStatus::Stale).then(|| state.map.clone());
        let node = &mut state.nodes[self.number];
        (node.tells, node.stale) = (status, map);
    }

    // --- what it is asked -----------------------------------------------------------------------

    /// Its state, to be read or set; it stands still meanwhile.
    pub fn lock(&self) -> Locked<'_> {
        Locked { state: self.running.shared.lock(), node: self.number }
    }

    /// Waits until it is so.
    #[track_caller]
    pub fn wait(&self, mut so: impl FnMut(&Seen<'_>) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.running.shared.lock();
        loop {
            let seen = Seen { docs: &state.docs, requests: &state.nodes[self.number].requests };
            if so(&seen) {
                return;
            }
            assert!(Instant::now() < until, "it never came: {seen:?}");
            state = self.running.shared.wait(state, TURN);
        }
    }

    /// What its cluster has, by id.
    pub fn docs(&self) -> BTreeMap<String, Value> {
        self.running.shared.lock().docs.clone()
    }

    /// The ids of what its cluster has, sorted.
    pub fn ids(&self) -> Vec<String> {
        self.running.shared.lock().docs.keys().cloned().collect()
    }

    /// The ids of all documents and deletes that its cluster has taken, in that order, those taken
    /// again too.
    pub fn order(&self) -> Vec<String> {
        self.running.shared.lock().order.clone()
    }

    /// How many documents and deletes it has taken as a leader, those taken again counted again.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// How many documents and deletes sent to it were for another core: forwarded, or proxied
    /// with the whole request.
    pub fn forwarded(&self) -> usize {
        self.lock().forwarded
    }

    /// The version of a document that its cluster has.
    pub fn version(&self, id: &str) -> Option<i64> {
        self.running.shared.lock().versions.get(id).copied()
    }

    /// The schema is mended: no document is at fault any more.
    pub fn mend(&self) {
        self.running.shared.lock().mended = true;
    }

    /// Its collections have this schema from now on, in the words of `/schema`; before there is none to be
    /// had. It refuses nothing by it.
    pub fn set_schema(&self, schema: Option<Value>) {
        self.running.shared.lock().schema = schema;
    }

    /// Whoever asks for the schema meets it in this mode, whatever it does otherwise: slow, or with a status.
    pub fn hold_schema(&self, mode: Mode) {
        self.running.shared.lock().holds_schema = Some(mode);
    }

    /// Its clock is so many milliseconds ahead from now on, or behind.
    pub fn set_clock(&self, ahead: i64) {
        self.running.shared.lock().ahead = ahead;
    }

    /// Somebody else writes a document.
    pub fn write(&self, id: &str, doc: Value) {
        let mut state = self.running.shared.lock();
        let version = state.next_version();
        state.versions.insert(id.to_owned(), version);
        state.docs.insert(id.to_owned(), doc);
    }

    /// It is set back to a backup in which there was nothing.
    pub fn forget(&self) {
        let mut state = self.running.shared.lock();
        state.versions.clear();
        state.docs.clear();
    }

    /// How many updates it has had.
    pub fn requests(&self) -> usize {
        self.lock().updates
    }

    /// How many requests for CLUSTERSTATUS it has had.
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    /// How many requests for versions it has had.
    pub fn looked_up(&self) -> usize {
        self.lock().looked_up
    }

    /// How many requests for the schema it has had, or for what stands before that.
    pub fn described(&self) -> usize {
        self.lock().described
    }

    /// How many updates are under way in it.
    pub fn under_way(&self) -> usize {
        self.lock().load.now
    }

    /// How many were at one time, at most.
    pub fn most_under_way(&self) -> usize {
        self.lock().load.most
    }
}

/// A node's state while nothing can change it.
pub struct Locked<'a> {
    state: Locks<'a>,
    node: usize,
}

impl Deref for Locked<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.state.nodes[self.node]
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.state.nodes[self.node]
    }
}

/// What a test may wait for.
#[derive(Debug)]
pub struct Seen<'a> {
    /// What the node's cluster has, by id.
    pub docs: &'a BTreeMap<String, Value>,
    /// Head and body of each request that the node has had, as in [`Node::requests`].
    pub requests: &'a [(String, String)],
}

// --- doors --------------------------------------------------------------------------------------

impl Running {
    /// A node at each of these.
    pub(crate) fn start(
        listeners: Vec<TcpListener>,
        map: Map,
        keeps_requests: bool,
    ) -> Arc<Running> {
        let address = |door: &TcpListener| door.local_addr().expect("it has one");
        let addresses: Vec<SocketAddr> = listeners.iter().map(address).collect();
        let urls = addresses.iter().map(|address| url(*address)).collect();
        let shared = Arc::new(Shared::new(State::new(map, urls, keeps_requests)));
        let open = |(node, listener)| {
            let acceptor = Mutex::new(Some(accept(listener, Arc::clone(&shared), node)));
            Door { address: addresses[node], acceptor }
        };
        let doors = listeners.into_iter().enumerate().map(open).collect();
        Arc::new(Running { shared, doors })
    }

    fn turn(&self, node: usize, mode: Mode) {
        let door = &self.doors[node];
        let mut acceptor = door.acceptor.lock().unwrap_or_else(|e| e.into_inner());
        let down = mode == Mode::Down;
        {
            let mut state = self.shared.lock();
            let node = &mut state.nodes[node];
            node.mode = mode;
            if down {
                for (_, connection) in node.living.drain() {
                    let _ = connection.shutdown(Shutdown::Both);
                }
            }
        }
        self.shared.changed.notify_all();
        if down {
            if let Some(acceptor) = acceptor.take() {
                let _ = TcpStream::connect(door.address); // it looks up, and leaves
                let _ = acceptor.join();
            }
        } else if acceptor.is_none() {
            let listener = bind_again(door.address);
            *acceptor = Some(accept(listener, Arc::clone(&self.shared), node));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for node in 0..self.doors.len() {
            self.turn(node, Mode::Down);
        }
    }
}

fn bind_again(address: SocketAddr) -> TcpListener {
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(e) => assert!(Instant::now() < until, "{address} is not free again: {e}"),
        }
        std::thread::sleep(TURN);
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>, node: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut state = shared.lock();
            let this = &mut state.nodes[node];
            if this.mode == Mode::Down {
                return;
            }
            let Ok(living) = stream.try_clone() else { continue };
            this.connections += 1;
            let number = this.next_connection;
            this.next_connection += 1;
            this.living.insert(number, living);
            drop(state);
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let _ = serve(&stream, &shared, node); // an end like any other
                shared.lock().nodes[node].living.remove(&number);
            });
        }
    })
}

// --- connections --------------------------------------------------------------------------------

fn serve(stream: &TcpStream, shared: &Shared, node: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let most = || shared.lock().nodes[node].refuse_over.unwrap_or(usize::MAX);
    while let Some(request) = Request::read(&mut reader, stream, most)? {
        let answer = if request.path == "/solr/admin/collections" {
            tell(&request, shared, node)
        } else if get::is_meant(&request) {
            look_up(&request, shared, node)
        } else if schema::is_meant(&request) {
            describe(&request, shared, node)
        } else {
            take(&request, shared, node)
        };
        match answer {
            Some(answer) => answer.write(stream)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// CLUSTERSTATUS; `None`: it hangs up instead.
fn tell(request: &Request, shared: &Shared, node: usize) -> Option<Answer> {
    let mut state = shared.lock();
    state.nodes[node].asked += 1;
    shared.changed.notify_all();
    if let ClusterStatus::Slow(time) = state.nodes[node].tells {
        drop(state);
        std::thread::sleep(time);
        state = shared.lock();
    }
    let (state, heeded) = heed(shared, state, node);
    match heeded {
        Heeded::HangUp => None,
        Heeded::Answer(answer) => Some(answer),
        Heeded::NoCollection => Some(status::unknown(request)),
        Heeded::Serve => Some(status::answer(&state, node, request)),
    }
}

/// The schema; `None`: it hangs up instead.
fn describe(request: &Request, shared: &Shared, node: usize) -> Option<Answer> {
    let holds = shared.lock().holds_schema.clone();
    match holds {
        Some(Mode::Slow(time)) => std::thread::sleep(time),
        Some(Mode::Status { code, content_type, body }) => {
            return Some(Answer { code, content_type, body: body.to_owned() });
        }
        _ => {}
    }
    let (mut state, heeded) = heed(shared, shared.lock(), node);
    state.nodes[node].described += 1;
    shared.changed.notify_all();
    match heeded {
        Heeded::HangUp => None,
        Heeded::Answer(answer) => Some(answer),
        Heeded::NoCollection => Some(status::unknown(request)),
        Heeded::Serve => Some(schema::answer(&state, request)),
    }
}

/// Real-time get; `None`: it hangs up instead.
fn look_up(request: &Request, shared: &Shared, node: usize) -> Option<Answer> {
    let (mut state, heeded) = heed(shared, shared.lock(), node);
    state.nodes[node].looked_up += 1;
    shared.changed.notify_all();
    match heeded {
        Heeded::HangUp => None,
        Heeded::Answer(answer) => Some(answer),
        Heeded::NoCollection => Some(Answer::not_found(&request.path)),
        Heeded::Serve => Some(get::answer(&state, request)),
    }
}

/// An update, or what is none; `None`: it hangs up instead.
fn take(request: &Request, shared: &Shared, node: usize) -> Option<Answer> {
    let mut state = shared.lock();
    let core = update::addressed(request).and_then(|name| update::core(&state.map, name));
    let shard = core.map(|core| core.shard);
    let this = &mut state.nodes[node];
    this.updates += 1;
    if this.keeps_requests {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        this.requests.push((request.head.clone(), body));
    }
    this.load.add();
    if let Some(shard) = shard {
        state.loads[shard].add();
    }
    shared.changed.notify_all();

    let (mut state, answer) = answer(request, shared, state, node);

    // Before the answer goes out: who has it may send the next one at once.
    state.nodes[node].load.now -= 1;
    if let Some(shard) = shard {
        state.loads[shard].now -= 1;
    }
    shared.changed.notify_all();
    answer
}

type Locks<'a> = MutexGuard<'a, State>;

fn answer<'a>(
    request: &Request,
    shared: &'a Shared,
    state: Locks<'a>,
    node: usize,
) -> (Locks<'a>, Option<Answer>) {
    let (mut state, heeded) = heed(shared, state, node);
    while state.nodes[node].mode == Mode::Hold {
        state = shared.wait(state, TURN);
    }
    match heeded {
        Heeded::HangUp => return (state, None),
        Heeded::Answer(answer) => return (state, Some(answer)),
        Heeded::NoCollection => return (state, Some(Answer::not_found(&request.path))),
        Heeded::Serve => {}
    }
    let this = &mut state.nodes[node];
    if this.mode == Mode::Down {
        return (state, None); // since it was held
    }
    match this.plays.pop_front().or_else(|| this.always.clone()).unwrap_or(Play::Well) {
        Play::Well => {}
        Play::Answer(code, content_type, body) => {
            return (state, Some(Answer { code, content_type, body }));
        }
        Play::Lost => {
            let header = json!({"rf": i32::MAX, "status": 0});
            return (state, Some(Answer::json(json!({"responseHeader": header}))));
        }
        Play::Silence(time) => {
            drop(state);
            std::thread::sleep(time);
            return (shared.lock(), None);
        }
        Play::CloseAfter => {
            update::answer(&mut state, node, request);
            return (state, None);
        }
        Play::Hold => {
            let before = this.releases;
            let waits = |node: &Node| node.releases == before && node.mode != Mode::Down;
            while waits(&state.nodes[node]) {
                state = shared.wait(state, TURN);
            }
            if state.nodes[node].mode == Mode::Down {
                return (state, None);
            }
        }
    }
    let answer = update::answer(&mut state, node, request);
    (state, Some(answer))
}

/// What a node's mode makes of a request.
enum Heeded {
    Serve,
    HangUp,
    Answer(Answer),
    NoCollection,
}

/// Waits as the node's mode says, then tells what it says.
fn heed<'a>(shared: &'a Shared, mut state: Locks<'a>, node: usize) -> (Locks<'a>, Heeded) {
    if let Mode::Slow(time) = state.nodes[node].mode {
        drop(state);
        std::thread::sleep(time);
        state = shared.lock();
    }
    if state.nodes[node].mode == Mode::Stall {
        while state.nodes[node].mode == Mode::Stall {
            state = shared.wait(state, TURN);
        }
        return (state, Heeded::HangUp);
    }
    let heeded = match state.nodes[node].mode {
        Mode::Down | Mode::Stall => Heeded::HangUp,
        Mode::Status { code, content_type, body } => {
            Heeded::Answer(Answer { code, content_type, body: body.to_owned() })
        }
        Mode::NoCollection => Heeded::NoCollection,
        Mode::Up | Mode::Slow(_) | Mode::Hold | Mode::ReceiptsMissing => Heeded::Serve,
    };
    (state, heeded)
}
