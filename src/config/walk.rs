//! The walk through the file: every key with its default and bounds, in the file's order, and then
//! what must fit together. A value that is wrong is noted and its default goes on in its place, so
//! that the walk always comes to the end; the `Config` it returns counts only without mistakes.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::conversion::Convert;
use crate::mistakes::Page;
use crate::read::{Read, Section, duration_within};
use crate::units::show_duration;
use crate::*;

/// A worker that waits for Solr as long as it may must not look hung: this much lies between.
const HANG_MARGIN: Duration = Duration::from_secs(10);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

const DAY: Duration = s(24 * 60 * 60);
const HOUR: Duration = s(60 * 60);
const YEAR: Duration = s(365 * 24 * 60 * 60);

/// Reads the whole file.
pub(crate) fn file(path: &Path, page: &Page<'_>, table: &DeTable<'_>) -> Config {
    let mut file = Section::file(page, table);
    let spool = spool(file.section("spool", "[spool]"));
    let mut solr_section = file.section("solr", "[solr]");
    let (solr, timeout) = solr(&mut solr_section);
    let mut workers_section = file.section("workers", "[workers]");
    let (mut workers, keys, hang_timeout) = workers(&mut workers_section, &solr.unique_key);
    no_slow_answer_is_a_hang(&solr_section, timeout, &workers_section, hang_timeout);
    solr_section.finish();
    let batch = batch(file.section("batch", "[batch]"));
    let retry = retry(file.section("retry", "[retry]"));
    let convert = fields::convert(
        file.section("convert", "[convert.fields] with id = \"sku\""),
        &solr.unique_key,
    );
    told_apart(&mut workers, &workers_section, keys, convert.as_ref(), &solr.unique_key);
    workers_section.finish();
    let monitor = monitor(file.section("monitor", "[monitor]"));
    let health = health(file.section("health", "[health]"));
    let log = log(file.section("log", "[log]"));
    file.finish();
    Config {
        path: path.to_owned(),
        spool,
        solr,
        workers,
        batch,
        retry,
        convert,
        monitor,
        health,
        log,
    }
}

fn spool(mut section: Section<'_>) -> Spool {
    let dir = section.path("dir", "/var/spool/solr-updater");
    if let Read::Absent = dir {
        section.missing("dir", "dir = \"/var/spool/solr-updater\"");
    }
    let spool = Spool {
        dir: dir.or(PathBuf::new()),
        settle: section.duration("settle", s(2), ms(10)..=HOUR).or(s(2)),
        poll: section.duration("poll", s(30), ms(100)..=HOUR).or(s(30)),
        keep: keep(section.section("keep", "{ files = 1000, age = \"7d\", bytes = \"10GiB\" }")),
        max_rejects: section
            .count_or_percent("max_rejects", MaxRejects::Lines, MaxRejects::Percent)
            .or(MaxRejects::Percent(10.0)),
        on_failed: section
            .word("on_failed", &[("continue", OnFailed::Continue), ("stop", OnFailed::Stop)])
            .or(OnFailed::Continue),
        max_line: section.size("max_line", 16 << 20, 1 << 10..=1 << 30).or(16 << 20),
    };
    section.finish();
    spool
}

fn keep(mut section: Section<'_>) -> Keep {
    let keep = Keep {
        files: section.number("files", 1000, 0..=u64::MAX).or(1000),
        age: section.duration("age", 7 * DAY, Duration::ZERO..=100 * YEAR).or(7 * DAY),
        bytes: section.size("bytes", 10 << 30, 0..=1 << 50).or(10 << 30),
    };
    section.finish();
    keep
}

fn solr(section: &mut Section<'_>) -> (Solr, Read<Duration>) {
    let (urls, collection) = address(section);
    let unique_key = section.string("unique_key", "a field's name such as \"id\"", name);
    let routing = section.word("routing", &[("leader", Routing::Leader), ("any", Routing::Any)]);
    let commit = section.string("commit", COMMIT, commit);
    let min_rf = section.number32("min_rf", 1, 1..=1000);
    let max_docs_per_s = section.number("max_docs_per_s", 0, 0..=1_000_000_000);
    let connect_timeout = section.duration("connect_timeout", s(5), ms(100)..=HOUR);
    let timeout = section.duration("timeout", s(60), ms(100)..=HOUR);
    let (username, password_file, token_file) = credentials(section);
    let (ca_file, client_cert) = tls(section, &urls);
    if let (Some(connect), Some(answer)) = (connect_timeout.holds(s(5)), timeout.holds(s(60))) {
        if connect > answer {
            let (key, at) = match connect_timeout.place() {
                Some(at) => ("connect_timeout", Some(at)),
                None => ("timeout", timeout.place()),
            };
            let what = format!(
                "need connect_timeout ({}) to be at most timeout ({})",
                show_duration(connect),
                show_duration(answer)
            );
            section.wrong(key, at.expect("one is written, the defaults fit"), &what);
        }
    }
    let solr = Solr {
        urls,
        collection,
        unique_key: unique_key.or("id".to_owned()),
        routing: routing.or(Routing::Leader),
        commit: commit.or(Commit::Within(s(10))),
        min_rf: min_rf.or(1),
        max_docs_per_s: max_docs_per_s.or(0),
        connect_timeout: connect_timeout.or(s(5)),
        timeout: timeout.holds(s(60)).unwrap_or(s(60)),
        username,
        password_file,
        token_file,
        ca_file,
        client_cert,
    };
    (solr, timeout)
}

fn address(section: &mut Section<'_>) -> (Vec<String>, String) {
    let urls = section.list("urls", "[\"http://localhost:8983/solr\"]", url::base);
    if let Read::Absent = urls {
        section.missing("urls", "urls = [\"http://localhost:8983/solr\"]");
    }
    let collection =
        section.string("collection", "a collection's name such as \"offers\"", url::collection);
    if let Read::Absent = collection {
        section.missing("collection", "collection = \"offers\"");
    }
    let urls = urls.or(Vec::new());
    let collection = collection.or(String::new());
    for (n, (url, at)) in urls.iter().enumerate() {
        if urls[..n].iter().any(|(earlier, _)| url::same_as(earlier) == url::same_as(url)) {
            section.wrong("urls", at.clone(), "it is in the list twice: take one away");
        }
        if url.strip_suffix(&collection).is_some_and(|base| base.ends_with("/solr/")) {
            section.wrong(
                "urls",
                at.clone(),
                &format!("need the address without the collection: leave off /{collection}"),
            );
        }
    }
    (urls.into_iter().map(|(url, _)| url).collect(), collection)
}

fn name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("need a name without spaces".to_owned()),
        false => Ok(text.to_owned()),
    }
}

const COMMIT: &str = "\"within 10s\", \"delta\" or \"none\"";

fn commit(text: &str) -> Result<Commit, String> {
    match (text, text.strip_prefix("within ")) {
        (_, Some(time)) => Ok(Commit::Within(duration_within(time, "within 10s", ms(100)..=DAY)?)),
        ("delta", None) => Ok(Commit::Delta),
        ("none", None) => Ok(Commit::None),
        (_, None) => Err(format!("need {COMMIT}")),
    }
}

/// A user and password belong together; a token stands alone.
fn credentials(section: &mut Section<'_>) -> (Option<String>, Option<PathBuf>, Option<PathBuf>) {
    let username = section.string("username", "a user's name such as \"feeder\"", |text| {
        // RFC 7617: user and password are parted by the first colon.
        match text.is_empty() || text.contains(|c: char| c == ':' || c.is_control()) {
            true => Err("need a name without a colon".to_owned()),
            false => Ok(text.to_owned()),
        }
    });
    let password = section.path("password_file", "/etc/solr-updater/password");
    let token = section.path("token_file", "/etc/solr-updater/token");
    match (&username, &password) {
        (Read::Good(_, at), Read::Absent) => {
            section.wrong(
                "username",
                at.clone(),
                "needs a password: add password_file = \"/etc/solr-updater/password\"",
            );
        }
        (Read::Absent, Read::Good(_, at)) => {
            section.wrong("password_file", at.clone(), "needs a user: add username = \"…\"");
        }
        _ => {}
    }
    if let (Read::Good(_, at), false) =
        (&token, matches!((&username, &password), (Read::Absent, Read::Absent)))
    {
        section.wrong(
            "token_file",
            at.clone(),
            "a token or a username with its password_file, not both: take one away",
        );
    }
    (username.ok(), password.ok(), token.ok())
}

const CLIENT_CERT: &str =
    "{ cert = \"/etc/solr-updater/client.pem\", key = \"/etc/solr-updater/client.key\" }";

/// Certificates are looked at under https alone; where there is none, they are a mistake.
fn tls(section: &mut Section<'_>, urls: &[String]) -> (Option<PathBuf>, Option<ClientCert>) {
    let ca_file = section.path("ca_file", "/etc/solr-updater/ca.pem");
    let client = section.section("client_cert", CLIENT_CERT);
    let places = [("ca_file", ca_file.place()), ("client_cert", client.place())];
    // No URL at all: they are wrong already.
    if !urls.is_empty() && !urls.iter().any(|url| url.starts_with("https://")) {
        for (key, at) in places {
            if let Some(at) = at {
                let what = "has no effect, no address in solr.urls begins with https://: take it \
                            away, or write https";
                section.wrong(key, at, what);
            }
        }
    }
    (ca_file.ok(), client_cert(client))
}

fn client_cert(mut section: Section<'_>) -> Option<ClientCert> {
    let cert = section.path("cert", "/etc/solr-updater/client.pem");
    let key = section.path("key", "/etc/solr-updater/client.key");
    if section.place().is_some() {
        for (name, path) in [("cert", &cert), ("key", &key)] {
            if let Read::Absent = path {
                section.missing(name, &format!("{name} = \"…\""));
            }
        }
    }
    section.finish();
    Some(ClientCert { cert: cert.ok()?, key: key.ok()? })
}

/// `unique_key`: what tells documents apart, if nothing else is said.
fn workers(section: &mut Section<'_>, unique_key: &str) -> (Workers, Keys, Read<Duration>) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from); // asks, starts none
    let processors = u32::try_from(processors).unwrap_or(u32::MAX).min(*Workers::COUNT.end());
    let count = section.number32("count", processors, Workers::COUNT).or(processors);
    let partition = section.word("partition", &[("line", Partition::Line), ("id", Partition::Id)]);
    let partition_at = partition.place();
    let partition = partition.or(Partition::Line);
    let partition_key = section.string("partition_key", "a member's name such as \"id\"", |text| {
        match text.len() {
            1..=1000 => Ok(text.to_owned()),
            _ => Err("need the name of a member, such as \"id\"".to_owned()),
        }
    });
    let keys = match partition_key {
        Read::Absent => Keys::NotSaid(partition_at),
        Read::Good(..) | Read::Wrong => Keys::Said,
    };
    let partition_key = partition_key.or(unique_key.to_owned());
    let hang_timeout = section.duration("hang_timeout", s(90), s(1)..=DAY);
    let stop_timeout = section.duration("stop_timeout", s(25), ms(100)..=HOUR).or(s(25));
    let hang = hang_timeout.holds(s(90)).unwrap_or(s(90));
    let workers = Workers { count, partition, partition_key, hang_timeout: hang, stop_timeout };
    (workers, keys, hang_timeout)
}

/// Whether `partition_key` is there; else where `partition` stands, if that is.
enum Keys {
    Said,
    NotSaid(Option<Range<usize>>),
}

/// Where a conversion makes the id, the line says by another member which document it is: by the one
/// that becomes the id, and where none does, only the operator knows.
fn told_apart(
    workers: &mut Workers,
    section: &Section<'_>,
    keys: Keys,
    convert: Option<&Convert>,
    unique_key: &str,
) {
    let (Keys::NotSaid(at), Some(convert)) = (keys, convert) else { return };
    let source = match convert {
        Convert::Jq(_) | Convert::Exec(_) => None,
        Convert::Fields(fields) => match fields.fields.iter().find(|f| f.name == unique_key) {
            None => Some(unique_key), // it passes through
            Some(field) if field.is_rename() => field.paths().next().map(|path| path.first()),
            Some(_) => None,
        },
    };
    match (source, at) {
        (Some(member), _) => workers.partition_key = member.to_owned(),
        (None, Some(at)) if workers.partition == Partition::Id => {
            let what = "needs partition_key beside it, the member of a line that tells documents apart: \
                        the id is computed";
            section.wrong("partition", at, what);
        }
        (None, _) => {}
    }
}

fn no_slow_answer_is_a_hang(
    solr: &Section<'_>,
    timeout: Read<Duration>,
    workers: &Section<'_>,
    hang_timeout: Read<Duration>,
) {
    let (Some(answer), Some(hang)) = (timeout.holds(s(60)), hang_timeout.holds(s(90))) else {
        return;
    };
    if hang >= answer + HANG_MARGIN {
        return;
    }
    let why = "a worker that waits for a slow answer is no hang";
    match (hang_timeout.place(), timeout.place()) {
        (Some(at), _) => {
            let least = show_duration(answer + HANG_MARGIN);
            workers.wrong(
                "hang_timeout",
                at,
                &format!("need at least {least}, solr.timeout and 10s: {why}"),
            );
        }
        (None, Some(at)) => {
            let most = show_duration(hang - HANG_MARGIN);
            solr.wrong(
                "timeout",
                at,
                &format!("need at most {most}, workers.hang_timeout less 10s: {why}"),
            );
        }
        (None, None) => unreachable!("the defaults fit"),
    }
}

fn batch(mut section: Section<'_>) -> Batch {
    let batch = Batch {
        docs: section.number32("docs", 1000, 1..=100_000).or(1000),
        bytes: section.size("bytes", 1 << 20, 1 << 10..=256 << 20).or(1 << 20),
        delay: section.duration("delay", ms(200), ms(1)..=s(60)).or(ms(200)),
        in_flight: section.number32("in_flight", 2, 1..=16).or(2),
    };
    section.finish();
    batch
}

fn retry(mut section: Section<'_>) -> Retry {
    let bounds = ms(1)..=HOUR;
    let first = section.duration("first", ms(200), bounds.clone());
    let most = section.duration("most", s(30), bounds);
    let (first, most) =
        in_order(&section, ("first", first, ms(200)), ("most", most, s(30)), show_duration);
    section.finish();
    Retry { first, most }
}

/// Two values of which the first must not be above the second, each with its key and default.
fn in_order<T: Copy + PartialOrd>(
    section: &Section<'_>,
    (low_key, low, low_default): (&str, Read<T>, T),
    (high_key, high, high_default): (&str, Read<T>, T),
    show: impl Fn(T) -> String,
) -> (T, T) {
    if let (Some(least), Some(most)) = (low.holds(low_default), high.holds(high_default)) {
        if least > most {
            let by_default =
                |place: &Option<Range<usize>>| if place.is_none() { " by default" } else { "" };
            let (low_at, high_at) = (low.place(), high.place());
            match (low_at, high_at) {
                (Some(at), high_at) => {
                    let what = format!(
                        "need at most {}, which is {}{}",
                        section.key(high_key),
                        show(most),
                        by_default(&high_at),
                    );
                    section.wrong(low_key, at, &what);
                }
                (None, Some(at)) => {
                    let low_key = section.key(low_key);
                    let what =
                        format!("need at least {low_key}, which is {} by default", show(least));
                    section.wrong(high_key, at, &what);
                }
                (None, None) => unreachable!("the defaults are in order"),
            }
        }
    }
    (low.or(low_default), high.or(high_default))
}

fn monitor(mut section: Section<'_>) -> Monitor {
    let like = "{ socket = \"/run/solr-updater/status.sock\", mode = \"0666\" }";
    let (status, status_at) =
        socket(section.section("status", like), DEFAULT_STATUS_SOCKET, 0o666, None);
    let like = "{ socket = \"/run/solr-updater/control.sock\", mode = \"0660\", group = \"solr-updater\" }";
    let (control, control_at) = socket(
        section.section("control", like),
        DEFAULT_CONTROL_SOCKET,
        0o660,
        Some(crate::DEFAULT_GROUP),
    );
    if status.path == control.path {
        let at = control_at.or(status_at).expect("one is written, the defaults differ");
        let what = "monitor.status and monitor.control need a socket each: choose another path";
        section.page().mistake(at, what.to_owned());
    }
    let http = section.address("http", "127.0.0.1:9984").ok();
    section.finish();
    Monitor { status, control, http }
}

fn socket(
    mut section: Section<'_>,
    path: &str,
    mode: u32,
    group: Option<&str>,
) -> (Socket, Option<Range<usize>>) {
    let read = section.socket_path("socket", path);
    let at = read.place();
    let socket = Socket {
        path: read.or(PathBuf::from(path)),
        mode: section.mode("mode", if mode == 0o666 { "0666" } else { "0660" }).or(mode),
        group: section
            .string("group", "a group's name such as \"solr-updater\"", |text| match text {
                "" => Ok(None),
                _ => name(text).map(Some),
            })
            .or(group.map(str::to_owned)),
    };
    section.finish();
    (socket, at)
}

fn health(mut section: Section<'_>) -> Health {
    let times = ms(1)..=YEAR;
    let health = Health {
        lag: time_limits(
            section.section("lag", "{ warning = \"5m\", critical = \"30m\" }"),
            s(5 * 60),
            s(30 * 60),
            &times,
        ),
        solr: time_limits(
            section.section("solr", "{ warning = \"15s\", critical = \"1m\" }"),
            s(15),
            s(60),
            &times,
        ),
        rejected: line_limits(
            section.section("rejected", "{ warning = 1, critical = 1000 }"),
            1,
            1000,
        ),
        stall: time_limits(
            section.section("stall", "{ warning = \"10s\", critical = \"60s\" }"),
            s(10),
            s(60),
            &times,
        ),
    };
    section.finish();
    health
}

fn time_limits(
    mut section: Section<'_>,
    warning: Duration,
    critical: Duration,
    bounds: &RangeInclusive<Duration>,
) -> Limits<Duration> {
    let low = section.duration("warning", warning, bounds.clone());
    let high = section.duration("critical", critical, bounds.clone());
    let (warning, critical) =
        in_order(&section, ("warning", low, warning), ("critical", high, critical), show_duration);
    section.finish();
    Limits { warning, critical }
}

fn line_limits(mut section: Section<'_>, warning: u64, critical: u64) -> Limits<u64> {
    let low = section.number("warning", warning, 1..=u64::MAX);
    let high = section.number("critical", critical, 1..=u64::MAX);
    let (warning, critical) =
        in_order(&section, ("warning", low, warning), ("critical", high, critical), |n| {
            n.to_string()
        });
    section.finish();
    Limits { warning, critical }
}

fn log(mut section: Section<'_>) -> Log {
    let levels = [
        ("error", Level::Error),
        ("warning", Level::Warning),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    let log = Log {
        level: section.word("level", &levels).or(Level::Info),
        format: section
            .word("format", &[("text", Format::Text), ("json", Format::Json)])
            .or(Format::Text),
        file: section.path("file", "/var/log/solr-updater.log").ok(),
    };
    section.finish();
    log
}
