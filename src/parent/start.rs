//! Before the first fork: the lock, the sockets, the page, the signals. Whatever is missing is
//! told in one line, with the exit code that belongs to it, and nothing is half started.

use config::{Config, Format, Level};
use logs::Sink;
use scoreboard::{Board, SpoolStep};
use slog::Logger;
use spool::{Claim, Division, Held, Kind, Run, Spool, SpoolLock};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use sys::clock::{now_ms, wall_ms};
use sys::files::Lock;
use sys::{Signal, Signals};

use crate::bar::{Bar, Meter};
use crate::board::Counters;
use crate::crew::Crew;
use crate::machine::Machine;
use crate::manager::Manager;
use crate::producer::Producer;
use crate::reload::plan;
use crate::trouble::Trouble;
use crate::{Listeners, Parent};

/// How long the children of a dead daemon are waited for.
const ORPHANS: u64 = 10_000;

/// What is to be run.
pub struct Options {
    /// The configuration, checked.
    pub config: Config,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done. All but the first have an end, no monitor, and no socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// To be the daemon.
    Serve,
    /// To deliver what lies in `incoming/` under these names, in this order. They may be symbolic
    /// links.
    Feed(Vec<OsString>),
    /// To deliver what is wanted again; before it, what an earlier daemon has begun.
    Retry,
    /// To give up the delta of this name, which an earlier daemon has begun.
    Cancel(OsString),
}

/// Why the daemon does not start.
#[derive(Debug)]
pub struct StartError {
    /// The exit code: 75 somebody else has the spool or a socket, 78 the configuration does not
    /// fit this machine, 1 anything else.
    pub code: i32,
    /// One line: the place, what is wrong, what to do.
    pub message: String,
}

fn wrong(code: i32, message: String) -> StartError {
    StartError { code, message }
}

pub(crate) fn ms(d: Duration) -> u64 {
    d.as_millis().min(u64::MAX.into()) as u64
}

/// Where the log goes.
pub(crate) fn sink(
    config: &Config,
    board: Board,
    bar: Option<&Bar>,
) -> Result<Arc<Sink>, StartError> {
    let sink = match &config.log.file {
        None => match (Sink::stderr(), bar) {
            (Ok(sink), None) => Ok(sink),
            (Ok(sink), Some(_)) => Ok(sink.clearing()),
            (Err(e), _) => Err(wrong(1, format!("standard error: {e}"))),
        },
        Some(path) => Sink::file(path)
            .map(|sink| sink.opened_anew(path, board.log_opened()))
            .map_err(|e| wrong(78, format!("{}: cannot write log.file: {e}", path.display()))),
    };
    sink.map(|sink| Arc::new(sink.counting_in(board.log_dropped())))
}

pub(crate) fn logger(config: &Config, sink: Arc<Sink>) -> Logger {
    let level = match config.log.level {
        Level::Error => slog::Level::Error,
        Level::Warning => slog::Level::Warning,
        Level::Info => slog::Level::Info,
        Level::Debug => slog::Level::Debug,
        Level::Trace => slog::Level::Trace,
    };
    let format = match config.log.format {
        Format::Text => logs::Format::Text,
        Format::Json => logs::Format::Json,
    };
    logs::logger(sink, format, level)
}

impl Parent {
    /// Takes what a daemon needs, or says what is missing.
    pub fn start(options: Options) -> Result<Parent, StartError> {
        let Options { config, task } = options;
        // Whatever is run: no child of ours speaks to whoever watches over us.
        let told = sys::notify::Told::take();
        let told = if task == Task::Serve { told } else { sys::notify::Told::default() };
        let spool = Spool::at(&config.spool.dir);
        let spool = if let Task::Feed(_) = task { spool.with_links() } else { spool };
        spool.prepare().map_err(|e| wrong(78, e.to_string()))?;
        // Without /proc nobody could say whether a fork is safe.
        sys::threads().map_err(|e| {
            wrong(1, format!("/proc/self/task: {e}: threads cannot be counted; mount /proc"))
        })?;
        sys::limits::raise_open_files(); // two descriptors for each child, and those inherit it
        sys::limits::survive_large_files().map_err(|e| wrong(1, format!("signals: {e}")))?;
        let lock = lock(&spool, "stop it, or set spool.dir")?;
        spool.prove().map_err(|e| wrong(78, e.to_string()))?;
        let board = Board::new().map_err(|e| wrong(1, format!("no shared memory: {e}")))?;
        let bar = if let Task::Feed(_) = task { Bar::at_terminal() } else { None };
        let sink = sink(&config, board, bar.as_ref())?;
        let log = logger(&config, Arc::clone(&sink));
        let watched = [Signal::Hangup, Signal::Terminate, Signal::Interrupt, Signal::Child];
        let signals = Signals::watch(&watched).map_err(|e| wrong(1, format!("signals: {e}")))?;
        let unusable = |e: io::Error| {
            wrong(78, format!("{}: cannot read the spool: {e}", spool.dir().display()))
        };
        let mut open = spool.resume(division(&config), wall_ms()).map_err(|e| {
            wrong(78, format!("{}: {}", spool.active().display(), spool::remedy(&e)))
        })?;
        // Last, since they are seen from outside.
        let listeners = if task == Task::Serve { Some(listen(&config)?) } else { None };
        let mut producer = match &task {
            Task::Serve => Producer::folder(&spool, ms(config.spool.settle), ms(config.spool.poll)),
            Task::Feed(names) => Producer::list(&spool, names.clone()),
            Task::Retry | Task::Cancel(_) => Producer::list(&spool, Vec::new()),
        };
        if matches!(task, Task::Serve | Task::Retry) {
            let wanted = spool.wanted().map_err(unusable)?;
            wanted.into_iter().for_each(|wanted| producer.want(wanted, wall_ms()));
        }
        if let Task::Cancel(name) = &task {
            open = only(name, open)?;
        }
        let meter = match &task {
            Task::Feed(names) => Some(Meter::of(names.iter().map(|name| {
                // As they are now; one that is gone when its turn comes was nothing.
                let file = std::fs::metadata(spool.incoming().join(name));
                (name.clone(), file.map_or(0, |file| file.len()))
            }))),
            Task::Serve | Task::Retry | Task::Cancel(_) => None,
        };
        let runs = spool.runs().map_err(unusable)?;
        let mut has_open_run = runs.iter().any(|run| run.upto == Run::OPEN);
        if has_open_run && open.is_empty() && !matches!(task, Task::Cancel(_)) {
            // What was under way has been taken away.
            spool.end_runs(wall_ms() << 20).map_err(unusable)?;
            has_open_run = false;
        }
        let mut machine = Machine::new(plan(&config), task == Task::Serve);
        machine.holding = task == Task::Serve
            && config.spool.on_failed == config::OnFailed::Stop
            && spool.is_on_hold().map_err(unusable)?;
        machine.paused = task == Task::Serve && spool.is_paused().map_err(unusable)?;
        let cell = board.parent();
        cell.set_paused(machine.paused.into());
        cell.set_version(spool.last_version().map_err(unusable)?);
        cell.set_pid(sys::pid() as u64);
        cell.set_started(wall_ms());
        cell.set_started_monotonic(now_ms());
        cell.set_heartbeat(now_ms());
        Ok(Parent {
            machine,
            config,
            candidate: None,
            task,
            spool,
            lock: Arc::new(lock),
            board,
            log,
            sink,
            signals,
            listeners,
            manager: Manager::new(told),
            producer,
            settling: Trouble::new(SpoolStep::Settle),
            open: VecDeque::from(open),
            active: VecDeque::new(),
            has_open_run,
            crew: Crew::default(),
            asked: VecDeque::new(),
            excused: 0,
            last_turn: now_ms(),
            reason: None,
            settled: Vec::new(),
            history_error: 0,
            not_confined: None,
            counters: Counters::default(),
            next_word: now_ms() + crate::TICK,
            meter,
            bar,
            next_prune: 0,
        })
    }
}

/// The claim of this name, to be given up. Not before one that is older: what that writes from then on
/// would be taken for newer than what is left of this.
fn only(name: &OsString, open: Vec<Claim>) -> Result<Vec<Claim>, StartError> {
    let (is_it, others): (Vec<Claim>, Vec<Claim>) =
        open.into_iter().partition(|claim| claim.name == *name);
    let writes = |claim: &&Claim| claim.kind == Kind::Delta || !claim.guarded;
    let older = |claim: &&Claim| is_it.first().is_some_and(|it| claim.number < it.number);
    match others.iter().filter(writes).find(older) {
        None => Ok(is_it),
        Some(older) => {
            let (name, older) = (name.to_string_lossy(), older.name.to_string_lossy());
            Err(wrong(
                1,
                format!(
                    "{name}: an older delta is begun and not settled: cancel {older} before, or start the \
                     daemon"
                ),
            ))
        }
    }
}

/// Takes the spool's lock, or says who has it. One daemon for one spool; the children of a dead one
/// are about to go, and are waited for. `remedy`: what to do about another daemon.
pub fn lock(spool: &Spool, remedy: &str) -> Result<SpoolLock, StartError> {
    let path = spool.dir().join(".lock");
    let by = now_ms() + ORPHANS;
    loop {
        match spool.lock() {
            Ok(Ok(lock)) => return Ok(lock),
            Ok(Err(Held::ByChildrenOf(_))) if now_ms() < by => {
                let _ = sys::poll(&[], Some(Duration::from_millis(100)));
            }
            Ok(Err(Held::ByDaemon(pid))) => {
                let message = format!(
                    "{}: another solr-updater (pid {pid}) has this spool: {remedy}",
                    path.display()
                );
                return Err(wrong(75, message));
            }
            Ok(Err(Held::ByChildrenOf(pid))) => {
                let message = format!(
                    "{}: children of a dead solr-updater (pid {pid}), or one in another container, \
                     still hold this spool: end them",
                    path.display()
                );
                return Err(wrong(75, message));
            }
            Err(e) => return Err(wrong(78, format!("{}: cannot lock it: {e}", path.display()))),
        }
    }
}

/// A listening socket that is this daemon's alone, by a lock beside it. Whether somebody listens could be
/// asked of the socket; but of two daemons that start at once both would find a dead one's, and whoever
/// removes a living one's by hand would have the next daemon take its place.
pub(crate) struct Seat {
    pub(crate) listener: OwnedFd,
    path: PathBuf,
    lock: PathBuf,
    /// Of the parent alone: what is left of a dead one's children holds nobody up.
    _held: Lock,
}

impl Seat {
    /// Removes it: else the next daemon takes it over.
    pub(crate) fn clear(&self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(&self.lock);
    }
}

fn listen(config: &Config) -> Result<Listeners, StartError> {
    let status = bind(&config.monitor.status)?;
    // Nothing is half started: what is bound goes again if the next cannot be.
    let control = bind(&config.monitor.control).inspect_err(|_| status.clear())?;
    let page = config.monitor.http.map(|address| listen_for_http(address, &config.path));
    let http = page.transpose().inspect_err(|_| {
        status.clear();
        control.clear();
    })?;
    Ok(Listeners { status, control, http })
}

/// Binds the page's socket; at once also where a connection of its last owner has not timed out yet
/// (`SO_REUSEADDR`, which std sets). No name is resolved for an address, and nobody is waited for.
pub(crate) fn listen_for_http(address: SocketAddr, file: &Path) -> Result<OwnedFd, StartError> {
    let bound = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map(OwnedFd::from).map_err(|e| {
        let (code, remedy) = match e.kind() {
            io::ErrorKind::AddrInUse => {
                let port = address.port();
                let who = format!("stop who has it (ss -ltnp sport = :{port} says who)");
                (75, format!("{who}, or set another address"))
            }
            io::ErrorKind::AddrNotAvailable => (
                78,
                "this machine has no such address (ip address lists them): set one of its own"
                    .into(),
            ),
            io::ErrorKind::PermissionDenied => {
                (78, "set a port from 1024 on, or give the daemon CAP_NET_BIND_SERVICE".into())
            }
            _ => (78, "set another address, or leave the key out".into()),
        };
        let file = file.display();
        wrong(
            code,
            format!("{file}: monitor.http = \"{address}\": cannot listen there: {e}: {remedy}"),
        )
    })
}

fn bind(socket: &config::Socket) -> Result<Seat, StartError> {
    let at = |code, message: String| wrong(code, format!("{}: {message}", socket.path.display()));
    let group = match socket.group.as_deref() {
        None | Some("") => None,
        Some(name) => match sys::socket::group_id(name).map_err(|e| at(78, e.to_string()))? {
            Some(id) => Some(id),
            // The package makes this group; run from a checkout there is none.
            None if name == config::DEFAULT_GROUP => None,
            None => {
                let message = format!("there is no group {name}: make it, or set group = \"\"");
                return Err(at(78, message));
            }
        },
    };
    if let Some(folder) = socket.path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| at(78, format!("cannot make the socket's folder: {e}")))?;
    }
    let mut lock = socket.path.clone().into_os_string();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let held = Lock::at(&lock).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => {
            let lock = lock.display();
            at(
                75,
                format!("this socket is another daemon's ({lock}): stop it, or set another path"),
            )
        }
        _ => at(78, format!("cannot lock {}: {e}", lock.display())),
    })?;
    let listener = sys::socket::listen(&socket.path, socket.mode, group).map_err(|e| {
        let _ = std::fs::remove_file(&lock);
        match e.kind() {
            io::ErrorKind::AddrInUse => {
                at(75, format!("this socket is in use ({e}): stop who has it, or set another path"))
            }
            _ => at(78, format!("cannot listen there: {e}")),
        }
    })?;
    Ok(Seat { listener, path: socket.path.clone(), lock, _held: held })
}

/// How deltas that are claimed from now on are divided.
pub(crate) fn division(config: &Config) -> Division {
    let key = match config.workers.partition {
        config::Partition::Line => None,
        config::Partition::Id => Some(config.workers.partition_key.clone()),
    };
    Division { shares: config.workers.count, key }
}
