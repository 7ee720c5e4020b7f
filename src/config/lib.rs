//! The configuration file, checked, every mistake with its place.
//!
//! [`load`] reads `solr-updater.toml` and gives either a [`Config`] in which every value has been
//! judged, or all [`Mistakes`] at once. Whoever holds a `Config` need not check it again. The types
//! below stand in the order of the file; INTERFACE.md has the file itself.
//!
//! Only the text is judged here: no host is resolved, no folder looked for, no secret read, no
//! thread started; the parent, which runs this at every reload, may do none of that. Nor is there
//! serde in it: a derived reader stops at its first mistake and knows no place.
//!
//! - `read` readers for one value each, and the known keys
//! - `walk` the file's keys, their defaults and bounds, and what must fit together
//! - `fields` the same for `[convert]`, which is `conversion`, with `date`
//! - `units`, `url` what durations, sizes and addresses mean
//! - `places` mistakes that only show elsewhere, at their places in the file
//! - `mistakes` line, column, words

pub mod conversion;
pub mod date;
mod fields;
mod mistakes;
mod places;
mod read;
mod units;
mod url;
mod walk;

use std::fs::OpenOptions;
use std::io::Read as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use mistakes::Page;
pub use mistakes::{Mistake, Mistakes, nearest};
pub use places::at_their_places;

/// The group that may command by default; the package makes it.
pub const DEFAULT_GROUP: &str = "solr-updater";
/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/solr-updater/solr-updater.toml";
/// The socket that answers questions, unless `monitor.status` says otherwise.
pub const DEFAULT_STATUS_SOCKET: &str = "/run/solr-updater/status.sock";
/// The socket that also takes commands, unless `monitor.control` says otherwise.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/solr-updater/control.sock";

/// No configuration is larger, in bytes: what is, is another file by mistake.
const LARGEST_FILE: u64 = 1 << 20;

/// A whole configuration, every value judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file as it was named; empty from [`Config::for_feed`].
    pub path: PathBuf,
    /// `[spool]`
    pub spool: Spool,
    /// `[solr]`
    pub solr: Solr,
    /// `[workers]`
    pub workers: Workers,
    /// `[batch]`
    pub batch: Batch,
    /// `[retry]`
    pub retry: Retry,
    /// `[convert]`. None: a line is the document.
    pub convert: Option<conversion::Convert>,
    /// `[monitor]`
    pub monitor: Monitor,
    /// `[health]`
    pub health: Health,
    /// `[log]`
    pub log: Log,
}

/// `[spool]`: where deltas come from and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// The directory with `incoming/` and the others in it; absolute. No default.
    pub dir: PathBuf,
    /// How long a file written in place must stand still before it is taken: 2 s.
    pub settle: Duration,
    /// The time between two scans, with or without inotify's events: 30 s.
    pub poll: Duration,
    /// What stays in `done/`.
    pub keep: Keep,
    /// How many rejects are too many: 10 %.
    pub max_rejects: MaxRejects,
    /// What happens after a delta went to `failed/`: continue.
    pub on_failed: OnFailed,
    /// The longest line in bytes, a longer one is rejected unread: 16 MiB.
    pub max_line: u64,
}

/// How much of `done/` is kept; whichever limit comes first. 0 of anything keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The number of deltas: 1,000.
    pub files: u64,
    /// The time since a delta was settled: 7 days.
    pub age: Duration,
    /// Their size together, in bytes: 10 GiB.
    pub bytes: u64,
}

/// The share or number of rejects beyond which a delta stops and goes to `failed/`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRejects {
    /// A share of the delta's lines so far, 0 to 100; it counts from 1,000 lines on.
    Percent(f64),
    /// A number of lines; it counts from the first.
    Lines(u64),
}

impl MaxRejects {
    /// Says whether so many rejects among so many lines (rejected ones included) are too many.
    ///
    /// ```
    /// use config::MaxRejects;
    /// let tenth = MaxRejects::Percent(10.0);
    /// assert!(!tenth.exceeded_by(999, 999)); // too early to tell a bad line from a bad delta
    /// assert!(!tenth.exceeded_by(100, 1000));
    /// assert!(tenth.exceeded_by(101, 1000));
    /// assert!(MaxRejects::Lines(0).exceeded_by(1, 1));
    /// ```
    pub fn exceeded_by(self, rejects: u64, lines: u64) -> bool {
        const FROM: u64 = 1000;
        match self {
            MaxRejects::Percent(share) => {
                lines >= FROM && rejects as f64 * 100.0 > share * lines as f64
            }
            MaxRejects::Lines(most) => rejects > most,
        }
    }
}

/// What the daemon does when a delta went to `failed/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailed {
    /// It takes the next delta.
    Continue,
    /// It takes none until a person has looked.
    Stop,
}

/// `[solr]`: the cluster and how it is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Solr {
    /// These are seeds such as `http://localhost:8983/solr`, without a slash at the end, at least
    /// one, none twice. No default.
    pub urls: Vec<String>,
    /// The collection or alias: letters, digits, `.`, `_`, `-`, so safe in a URL. No default.
    pub collection: String,
    /// The schema's uniqueKey: `id`.
    pub unique_key: String,
    /// Who gets an update: the leader.
    pub routing: Routing,
    /// When documents become visible: within 10 s.
    pub commit: Commit,
    /// How many replicas must have taken an update before it counts: 1.
    pub min_rf: u32,
    /// The most documents in a second, of all workers together; 0, the default: no limit.
    pub max_docs_per_s: u64,
    /// The time for a connection to be made: 5 s; at most `timeout`.
    pub connect_timeout: Duration,
    /// The time for an answer: 60 s; at most `workers.hang_timeout` less 10 s.
    pub timeout: Duration,
    /// The user for basic authentication, there exactly when `password_file` is. None.
    pub username: Option<String>,
    /// The file the password is in; absolute, read by the workers. None.
    pub password_file: Option<PathBuf>,
    /// The file a bearer token is in; absolute; never beside `username`. None.
    pub token_file: Option<PathBuf>,
    /// The file of certificates (PEM) one of which must have signed a server's, instead of those
    /// that this system trusts; absolute, read by the workers; there only beside an https address.
    /// None.
    pub ca_file: Option<PathBuf>,
    /// What a client shows of itself under TLS; there only beside an https address. None.
    pub client_cert: Option<ClientCert>,
}

/// Who gets an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Each document goes straight to its shard's leader.
    Leader,
    /// All go to the seeds, such as a load balancer.
    Any,
}

/// When documents become visible to searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Every update says `commitWithin`; 100 ms to 1 day.
    Within(Duration),
    /// One hard commit when a delta is settled.
    Delta,
    /// Solr's own autoCommit decides.
    None,
}

/// A client's certificate and its key, two PEM files; absolute, read by the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate's file; after it, those that lead from it to one that Solr trusts.
    pub cert: PathBuf,
    /// The private key's file (PKCS #8, PKCS #1 or SEC 1), without a passphrase.
    pub key: PathBuf,
}

/// `[workers]`: how many, who has which line, and how long one may be silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Workers {
    /// How many there are, within [`Workers::COUNT`]: the number of processors.
    pub count: u32,
    /// Who has which line: by line.
    pub partition: Partition,
    /// The top-level member of a line that tells documents apart: as `unique_key`.
    pub partition_key: String,
    /// A heartbeat's age from which a worker is killed: 90 s; `solr.timeout` and 10 s at least.
    pub hang_timeout: Duration,
    /// The time children have to leave before they are killed: 25 s.
    pub stop_timeout: Duration,
}

impl Workers {
    /// This bounds [`Workers::count`], from the file or from `--workers`.
    pub const COUNT: RangeInclusive<u32> = 1..=256;
}

/// Who of n workers has which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Worker w has line i when i % n == w.
    Line,
    /// Worker w has a line when hash(`partition_key`) % n == w.
    Id,
}

/// `[batch]`: when a batch is full, and how many are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The most documents: 1,000; 1 to 100,000.
    pub docs: u32,
    /// The most bytes of its body: 1 MiB; a longer document travels alone.
    pub bytes: u64,
    /// The oldest a batch becomes before it is posted: 200 ms.
    pub delay: Duration,
    /// The most post threads of one worker: 2; 1 to 16.
    pub in_flight: u32,
}

/// `[retry]`: exponential backoff with full jitter, for as long as Solr is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// This bounds the first wait: 200 ms; at most `most`.
    pub first: Duration,
    /// This bounds every wait: 30 s.
    pub most: Duration,
}

/// `[monitor]`: where the daemon answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// This one answers questions: [`DEFAULT_STATUS_SOCKET`], mode 0666, no group of its own.
    pub status: Socket,
    /// This one also takes commands: [`DEFAULT_CONTROL_SOCKET`], mode 0660, group `solr-updater`.
    pub control: Socket,
    /// The address of the metrics and the status page, its port never 0. None.
    pub http: Option<SocketAddr>,
}

/// A Unix socket and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its path; absolute, at most 107 bytes, never the other socket's.
    pub path: PathBuf,
    /// These are its permissions, 0 to 0o777.
    pub mode: u32,
    /// Its group's name; None (`group = ""`) leaves it the daemon's own.
    pub group: Option<String>,
}

/// `[health]`: what the daemon itself calls warning and critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Judges the lag: 5 min, 30 min.
    pub lag: Limits<Duration>,
    /// Judges the time without an answer from Solr while there is work: 15 s, 1 min.
    pub solr: Limits<Duration>,
    /// Judges the lines in `rejected/`: 1, 1,000.
    pub rejected: Limits<u64>,
    /// Judges a heartbeat's age, the parent's or a busy worker's: 10 s, 60 s.
    pub stall: Limits<Duration>,
}

/// A pair of thresholds; a value at or above one has reached it. Never 0, never crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<T> {
    /// From here on it is a warning.
    pub warning: T,
    /// From here on it is critical; at least `warning`.
    pub critical: T,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important that is told: info.
    pub level: Level,
    /// How a record is written: as text.
    pub format: Format,
    /// The file; absolute. None, the default: stderr.
    pub file: Option<PathBuf>,
}

/// How important a record must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the words say it
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Reads and judges a configuration file.
///
/// It never blocks and never reads without end: what is no regular file (a fifo, a device) or is
/// over 1 MiB is a mistake too.
pub fn load(path: &Path) -> Result<Config, Mistakes> {
    let bytes = read_file(path).map_err(|what| Mistake::of_whole(path, what))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes);
            let at = error.valid_up_to(); // before it the lossy text is the same, byte for byte
            let page = Page::new(path, &text);
            let what = format!("byte 0x{:02x} is not UTF-8: save the file as UTF-8", bytes[at]);
            page.mistake(at..at + '\u{fffd}'.len_utf8(), what);
            Err(page.finish().expect_err("a mistake has just been noted"))
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    // As every Linux has it but those on MIPS, SPARC, Alpha and PA-RISC (asm-generic/fcntl.h).
    const O_NONBLOCK: i32 = 0o4000; // without it, opening a fifo waits for a writer
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file: write it, or name another with --config".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => {
            "no permission to read it: run as a user who may, or give it to this one's group"
                .to_owned()
        }
        _ => format!("cannot be read: {error}"),
    };
    let file =
        OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if found.is_dir() {
        return Err("is a folder: name the file in it".to_owned());
    }
    if !found.is_file() {
        return Err("is no regular file: a configuration is read again at every reload".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?; // its size may have changed since
    match bytes.len() as u64 {
        ..=LARGEST_FILE => Ok(bytes),
        _ => Err("is larger than 1 MiB: this is no configuration".to_owned()),
    }
}

/// Judges a configuration's text; `path` is where it came from, for the mistakes to name.
pub fn parse(text: &str, path: &Path) -> Result<Config, Mistakes> {
    let page = Page::new(path, text);
    let config = match DeTable::parse(text) {
        Ok(table) => Some(walk::file(path, &page, table.get_ref())),
        Err(error) => {
            note_syntax(&page, &error);
            None
        }
    };
    page.finish()?;
    Ok(config.expect("a syntax error is a mistake"))
}

/// Not TOML: the parser knows where, but not what an operator had in mind.
fn note_syntax(page: &Page<'_>, error: &toml::de::Error) {
    let at = error.span().unwrap_or(0..0);
    let bare = page.raw(&at).starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let what = match page.line_before(at.start).trim_end().strip_suffix('=') {
        Some(key) if bare => format!(
            "{} = {}…: only numbers, true and false stand without quotes, and no number begins with 0",
            key.trim(),
            page.excerpt(&at)
        ),
        _ => format!("not TOML: {}", error.message().trim_end_matches(", expected nothing")),
    };
    page.mistake(at, what);
}

impl Config {
    /// The configuration of `feed --url --collection`, which needs no file: all else is
    /// default, and `spool.dir` is empty for the caller to set. Mistakes name the option.
    pub fn for_feed(urls: Vec<String>, collection: String) -> Result<Config, Mistakes> {
        let nowhere = Path::new("");
        let defaults = Page::new(nowhere, ""); // what it finds missing is what is set below
        let mut config = walk::file(nowhere, &defaults, &DeTable::new());
        let mut mistakes = Vec::new();
        let mut wrong =
            |option: &str, what: String| mistakes.push(Mistake::of_whole(Path::new(option), what));
        if urls.is_empty() {
            wrong("--url", "need at least one, such as http://localhost:8983/solr".to_owned());
        }
        for url in urls {
            match url::base(&url) {
                Ok(good) => {
                    let same = |earlier: &String| url::same_as(earlier) == url::same_as(&good);
                    match config.solr.urls.iter().any(same) {
                        true => wrong("--url", format!("{good}: it is given twice")),
                        false => config.solr.urls.push(good),
                    }
                }
                Err(why) => wrong("--url", format!("{}: {why}", mistakes::excerpt(&url))),
            }
        }
        match url::collection(&collection) {
            Ok(good) => config.solr.collection = good,
            Err(why) => wrong("--collection", format!("{}: {why}", mistakes::excerpt(&collection))),
        }
        if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) }
    }
}

#[cfg(test)]
mod conversion_tests;
#[cfg(test)]
mod tests;
