//! What the configuration promises, on the text of files.

use super::*;

const MINIMAL: &str =
    "[spool]\ndir = \"/s\"\n[solr]\nurls = [\"http://a:8983/solr\"]\ncollection = \"c\"\n";

/// INTERFACE.md's example, less what excludes each other, and certificates, which go with https alone.
const FULL: &str = r#"
[spool]
dir          = "/var/spool/solr-updater"
settle       = "3s"
poll         = "31s"                 # rescan even without inotify events (network file systems)
keep         = { files = 1001, age = "8d", bytes = "11GiB" }   # of done/; whichever comes first
max_rejects  = "12.5%"
on_failed    = "stop"
max_line     = "17MiB"

[solr]
urls         = ["http://localhost:8983/solr", 'http://[::1]:8984/solr/']
collection   = "offers"
unique_key   = "sku"
routing      = "any"
commit       = "within 11s"
min_rf       = 2
max_docs_per_s = 0
connect_timeout = "6s"
timeout      = "61s"
username     = "feeder"
password_file = "/etc/solr-updater/password"

[workers]
count        = 4
partition    = "line"
partition_key = "sku"
hang_timeout = "91s"
stop_timeout = "26s"

[batch]
docs  = 1_001
bytes = "2MiB"
delay = "201ms"
in_flight = 3

[retry]
first = "201ms"
most  = "31s"

[monitor]
status  = { socket = "/run/a.sock", mode = "0600" }
control = { socket = "/run/b.sock", mode = "660", group = "ops" }
http    = "127.0.0.2:9985"
[health]
lag      = { warning = "6m", critical = "31m" }
solr     = { warning = "16s", critical = "2m" }
rejected = { warning = 2, critical = 1001 }
stall    = { warning = "11s", critical = "61s" }

[log]
level  = "debug"
format = "json"
file   = "/var/log/updater.log"
"#;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn read(text: &str) -> Result<Config, Mistakes> {
    parse(text, Path::new("f.toml"))
}

/// All mistakes, one line each.
fn said(text: &str) -> String {
    read(text).expect_err("it has a mistake").to_string()
}

/// The one mistake in a good file after one replacement.
#[track_caller]
fn one(good: &str, from: &str, to: &str) -> String {
    assert!(good.contains(from), "{from}");
    let mistakes = read(&good.replacen(from, to, 1)).expect_err("it has a mistake");
    assert_eq!(mistakes.0.len(), 1, "{mistakes}");
    mistakes.to_string().strip_prefix("f.toml:").expect("it names the file").to_owned()
}

/// The mistakes in a minimal file with a few lines more, which begin at line 6.
fn more(lines: &str) -> String {
    said(&format!("{MINIMAL}{lines}")).replace("f.toml:", "")
}

fn defaults() -> Config {
    Config {
        path: "f.toml".into(),
        spool: Spool {
            dir: "/s".into(),
            settle: secs(2),
            poll: secs(30),
            keep: Keep { files: 1000, age: secs(7 * 86_400), bytes: 10 << 30 },
            max_rejects: MaxRejects::Percent(10.0),
            on_failed: OnFailed::Continue,
            max_line: 16 << 20,
        },
        solr: Solr {
            urls: vec!["http://a:8983/solr".to_owned()],
            collection: "c".to_owned(),
            unique_key: "id".to_owned(),
            routing: Routing::Leader,
            commit: Commit::Within(secs(10)),
            min_rf: 1,
            max_docs_per_s: 0,
            connect_timeout: secs(5),
            timeout: secs(60),
            username: None,
            password_file: None,
            token_file: None,
            ca_file: None,
            client_cert: None,
        },
        workers: Workers {
            count: std::thread::available_parallelism().unwrap().get().min(256) as u32,
            partition: Partition::Line,
            partition_key: "id".to_owned(),
            hang_timeout: secs(90),
            stop_timeout: secs(25),
        },
        batch: Batch {
            docs: 1000,
            bytes: 1 << 20,
            delay: Duration::from_millis(200),
            in_flight: 2,
        },
        retry: Retry { first: Duration::from_millis(200), most: secs(30) },
        convert: None,
        monitor: Monitor {
            status: Socket { path: DEFAULT_STATUS_SOCKET.into(), mode: 0o666, group: None },
            control: Socket {
                path: DEFAULT_CONTROL_SOCKET.into(),
                mode: 0o660,
                group: Some("solr-updater".to_owned()),
            },
            http: None,
        },
        health: Health {
            lag: Limits { warning: secs(300), critical: secs(1800) },
            solr: Limits { warning: secs(15), critical: secs(60) },
            rejected: Limits { warning: 1, critical: 1000 },
            stall: Limits { warning: secs(10), critical: secs(60) },
        },
        log: Log { level: Level::Info, format: Format::Text, file: None },
    }
}

#[test]
fn three_keys_are_enough_and_all_else_has_the_promised_default() {
    assert_eq!(read(MINIMAL).unwrap(), defaults());
}

#[test]
fn every_key_of_the_interface_is_read() {
    let expected = Config {
        path: "f.toml".into(),
        spool: Spool {
            dir: "/var/spool/solr-updater".into(),
            settle: secs(3),
            poll: secs(31),
            keep: Keep { files: 1001, age: secs(8 * 86_400), bytes: 11 << 30 },
            max_rejects: MaxRejects::Percent(12.5),
            on_failed: OnFailed::Stop,
            max_line: 17 << 20,
        },
        solr: Solr {
            urls: vec![
                "http://localhost:8983/solr".to_owned(),
                "http://[::1]:8984/solr".to_owned(),
            ],
            collection: "offers".to_owned(),
            unique_key: "sku".to_owned(),
            routing: Routing::Any,
            commit: Commit::Within(secs(11)),
            min_rf: 2,
            max_docs_per_s: 0,
            connect_timeout: secs(6),
            timeout: secs(61),
            username: Some("feeder".to_owned()),
            password_file: Some("/etc/solr-updater/password".into()),
            token_file: None,
            ca_file: None,
            client_cert: None,
        },
        workers: Workers {
            count: 4,
            partition: Partition::Line,
            partition_key: "sku".to_owned(),
            hang_timeout: secs(91),
            stop_timeout: secs(26),
        },
        batch: Batch {
            docs: 1001,
            bytes: 2 << 20,
            delay: Duration::from_millis(201),
            in_flight: 3,
        },
        retry: Retry { first: Duration::from_millis(201), most: secs(31) },
        convert: None,
        monitor: Monitor {
            status: Socket { path: "/run/a.sock".into(), mode: 0o600, group: None },
            control: Socket {
                path: "/run/b.sock".into(),
                mode: 0o660,
                group: Some("ops".to_owned()),
            },
            http: Some("127.0.0.2:9985".parse().unwrap()),
        },
        health: Health {
            lag: Limits { warning: secs(360), critical: secs(1860) },
            solr: Limits { warning: secs(16), critical: secs(120) },
            rejected: Limits { warning: 2, critical: 1001 },
            stall: Limits { warning: secs(11), critical: secs(61) },
        },
        log: Log {
            level: Level::Debug,
            format: Format::Json,
            file: Some("/var/log/updater.log".into()),
        },
    };
    assert_eq!(read(FULL).unwrap(), expected);
}

#[test]
fn each_spelling_of_a_choice_is_read() {
    let with = |lines: &str| read(&format!("{MINIMAL}{lines}")).unwrap();
    assert_eq!(with("commit = \"delta\"").solr.commit, Commit::Delta);
    assert_eq!(with("commit = \"none\"").solr.commit, Commit::None);
    assert_eq!(with("token_file = \"/t\"").solr.token_file, Some("/t".into()));
    let rejects = |value: &str| {
        read(&MINIMAL.replacen("\"/s\"", &format!("\"/s\"\nmax_rejects = {value}"), 1))
            .unwrap()
            .spool
            .max_rejects
    };
    assert_eq!(rejects("100"), MaxRejects::Lines(100));
    assert_eq!(rejects("0"), MaxRejects::Lines(0));
    assert_eq!(rejects("\"0%\""), MaxRejects::Percent(0.0));
    assert_eq!(rejects("\"0.5%\""), MaxRejects::Percent(0.5));
}

#[test]
fn half_a_table_keeps_the_defaults_of_its_other_half() {
    let text = format!(
        "{MINIMAL}[monitor]\ncontrol = {{ socket = \"/c\" }}\n[monitor.status]\nmode = \"0600\"\n[health.lag]\nwarning = \"1m\"\n"
    );
    let config = read(&text).unwrap();
    assert_eq!(
        config.monitor.control,
        Socket { path: "/c".into(), mode: 0o660, group: Some("solr-updater".to_owned()) }
    );
    assert_eq!(
        config.monitor.status,
        Socket { path: DEFAULT_STATUS_SOCKET.into(), mode: 0o600, group: None }
    );
    assert_eq!(config.health.lag, Limits { warning: secs(60), critical: secs(1800) });
    let own = read(&format!("{MINIMAL}[monitor]\ncontrol.group = \"\"\n")).unwrap();
    assert_eq!(own.monitor.control.group, None);
}

#[test]
fn zero_workers_are_too_few() {
    assert_eq!(
        one(FULL, "count        = 4", "count        = 0"),
        "25:16: workers.count = 0: need at least 1"
    );
    assert_eq!(
        one(FULL, "count        = 4", "count = -1"),
        "25:9: workers.count = -1: need at least 1"
    );
    assert_eq!(
        one(FULL, "count        = 4", "count = 257"),
        "25:9: workers.count = 257: need at most 256"
    );
    assert_eq!(
        one(FULL, "count        = 4", "count = 0x1_0000_0000_0000_0000"),
        "25:9: workers.count = 0x1_0000_0000_0000_0000: need at most 256"
    );
}

#[test]
fn a_wrong_type_is_told_the_right_one_by_example() {
    for (from, to, told) in [
        ("\"61s\"", "61", "20:16: solr.timeout = 61: need a duration such as \"1m\", in quotes"),
        (
            "\"61s\"",
            "\"61\"",
            "20:16: solr.timeout = \"61\": its unit is missing (ms, s, m, h or d), such as \"1m\"",
        ),
        (
            "\"61s\"",
            "\"1 m\"",
            "20:16: solr.timeout = \"1 m\": no space between the number and its unit, such as \"1m\"",
        ),
        (
            "\"61s\"",
            "\"61 000ms\"",
            "20:16: solr.timeout = \"61 000ms\": no space between the number and its unit, such as \"1m\"",
        ),
        (
            "\"2MiB\"",
            "1048576",
            "33:9: batch.bytes = 1048576: need a size such as \"1MiB\", in quotes",
        ),
        (
            "\"2MiB\"",
            "\"2MB\"",
            "33:9: batch.bytes = \"2MB\": unknown unit MB (known: B, KiB, MiB, GiB or TiB), such as \"1MiB\"",
        ),
        (
            "1_001",
            "\"1001\"",
            "32:9: batch.docs = \"1001\": need a whole number without quotes, such as 1000",
        ),
        ("1_001", "1e3", "32:9: batch.docs = 1e3: need a whole number, such as 1000"),
        ("\"any\"", "true", "15:16: solr.routing = true: need \"leader\" or \"any\", in quotes"),
        (
            "\"offers\"",
            "7",
            "13:16: solr.collection = 7: need a collection's name such as \"offers\", in quotes",
        ),
        (
            "{ warning = \"6m\", critical = \"31m\" }",
            "\"5m\"",
            "46:12: health.lag = \"5m\": need a table, such as { warning = \"5m\", critical = \"30m\" }",
        ),
        (
            "\"12.5%\"",
            "12.5",
            "7:16: spool.max_rejects = 12.5: need a share of the lines such as \"10%\", or a count such as 100 (without quotes)",
        ),
        (
            "\"12.5%\"",
            "\"12\"",
            "7:16: spool.max_rejects = \"12\": need a share of the lines such as \"10%\", or a count such as 100 (without quotes)",
        ),
        ("\"12.5%\"", "\"101%\"", "7:16: spool.max_rejects = \"101%\": need at most 100%"),
        ("\"12.5%\"", "-1", "7:16: spool.max_rejects = -1: need at least 0"),
        (
            "\"660\"",
            "432",
            "43:44: monitor.control.mode = 432: need octal permissions such as \"0660\", in quotes",
        ),
        (
            "\"660\"",
            "\"0999\"",
            "43:44: monitor.control.mode = \"0999\": need octal permissions such as \"0660\", from \"0000\" to \"0777\"",
        ),
        (
            "\"660\"",
            "\"1777\"",
            "43:44: monitor.control.mode = \"1777\": need octal permissions such as \"0660\", from \"0000\" to \"0777\"",
        ),
    ] {
        assert_eq!(one(FULL, from, to), told);
    }
}

#[test]
fn a_wrong_word_is_told_the_right_ones() {
    assert_eq!(
        one(FULL, "\"any\"", "\"laeder\""),
        "15:16: solr.routing = \"laeder\": need \"leader\" or \"any\"; did you mean \"leader\"?"
    );
    assert_eq!(
        one(FULL, "\"debug\"", "\"WARN\""),
        "52:10: log.level = \"WARN\": need \"error\", \"warning\", \"info\", \"debug\" or \"trace\"; did you mean \"warning\"?"
    );
    assert_eq!(
        one(FULL, "\"json\"", "\"xml\""),
        "53:10: log.format = \"xml\": need \"text\" or \"json\""
    );
    assert_eq!(
        one(FULL, "\"within 11s\"", "\"11s\""),
        "16:16: solr.commit = \"11s\": need \"within 10s\", \"delta\" or \"none\""
    );
    assert_eq!(
        one(FULL, "\"within 11s\"", "\"within 11\""),
        "16:16: solr.commit = \"within 11\": its unit is missing (ms, s, m, h or d), such as \"within 10s\""
    );
}

#[test]
fn a_value_out_of_bounds_is_told_the_bound() {
    for (from, to, told) in [
        ("\"3s\"", "\"0s\"", "4:16: spool.settle = \"0s\": need at least 10ms"),
        ("\"31s\"", "\"0s\"", "5:16: spool.poll = \"0s\": need at least 100ms"),
        ("\"17MiB\"", "\"2GiB\"", "9:16: spool.max_line = \"2GiB\": need at most 1GiB"),
        ("min_rf       = 2", "min_rf = 0", "17:10: solr.min_rf = 0: need at least 1"),
        (
            "\"within 11s\"",
            "\"within 0s\"",
            "16:16: solr.commit = \"within 0s\": need at least 100ms",
        ),
        ("\"6s\"", "\"0s\"", "19:19: solr.connect_timeout = \"0s\": need at least 100ms"),
        ("\"26s\"", "\"0s\"", "29:16: workers.stop_timeout = \"0s\": need at least 100ms"),
        ("1_001", "0", "32:9: batch.docs = 0: need at least 1"),
        ("1_001", "100001", "32:9: batch.docs = 100001: need at most 100000"),
        ("\"2MiB\"", "\"1023B\"", "33:9: batch.bytes = \"1023B\": need at least 1KiB"),
        ("\"201ms\"", "\"0ms\"", "34:9: batch.delay = \"0ms\": need at least 1ms"),
        ("in_flight = 3", "in_flight = 17", "35:13: batch.in_flight = 17: need at most 16"),
        ("first = \"201ms\"", "first = \"0ms\"", "38:9: retry.first = \"0ms\": need at least 1ms"),
        ("warning = 2", "warning = 0", "48:24: health.rejected.warning = 0: need at least 1"),
        (
            "warning = \"11s\"",
            "warning = \"0s\"",
            "49:24: health.stall.warning = \"0s\": need at least 1ms",
        ),
        (
            "\"3s\"",
            "\"99999999999999999999999d\"",
            "4:16: spool.settle = \"99999999999999999999999d\": need at most 1h",
        ),
    ] {
        assert_eq!(one(FULL, from, to), told);
    }
}

#[test]
fn an_unknown_key_is_told_the_known_ones() {
    assert_eq!(
        one(FULL, "count        = 4", "cuont = 4"),
        "25:1: unknown key workers.cuont; did you mean count? (known: count, partition, partition_key, hang_timeout, stop_timeout)"
    );
    assert_eq!(
        more("[retry]\nlast = \"1s\"\nfrist = \"1s\"\n"),
        "7:1: unknown key retry.last (known: first, most)\n8:1: unknown key retry.frist; did you mean first? (known: first, most)"
    );
    assert_eq!(
        one(FULL, "age = \"8d\"", "aeg = \"8d\""),
        "6:32: unknown key spool.keep.aeg; did you mean age? (known: files, age, bytes)"
    );
    let known = "(known: spool, solr, workers, batch, retry, convert, monitor, health, log)";
    assert_eq!(
        more("[wrokers]\ncount = 1"),
        format!("6:1: unknown section [wrokers]; did you mean [workers]? {known}")
    );
    assert_eq!(more("[deltas]"), format!("6:1: unknown section [deltas] {known}"));
    assert_eq!(
        said(&format!("count = 3\n{MINIMAL}")),
        format!("f.toml:1:1: unknown key count: every key stands in a section {known}")
    );
}

#[test]
fn a_missing_key_is_told_the_line_to_add() {
    assert_eq!(
        said(""),
        "f.toml:1:1: spool.dir is missing: add a section [spool] with dir = \"/var/spool/solr-updater\"\n\
         f.toml:1:1: solr.urls is missing: add a section [solr] with urls = [\"http://localhost:8983/solr\"]\n\
         f.toml:1:1: solr.collection is missing: add a section [solr] with collection = \"offers\""
    );
    assert_eq!(
        one(MINIMAL, "collection = \"c\"", ""),
        "3:1: solr.collection is missing: add collection = \"offers\" to [solr]"
    );
    assert_eq!(
        one(MINIMAL, "dir = \"/s\"", ""),
        "1:1: spool.dir is missing: add dir = \"/var/spool/solr-updater\" to [spool]"
    );
    assert_eq!(
        said("spool = 3\nsolr = 4\n"),
        "f.toml:1:9: spool = 3: need a table, such as [spool]\nf.toml:2:8: solr = 4: need a table, such as [solr]"
    );
    assert_eq!(
        one(MINIMAL, "[spool]", "[[spool]]"),
        "1:1: [spool]: need one table, not a list of them, such as [spool]"
    );
}

#[test]
fn a_relative_path_is_refused_with_the_reason() {
    let why = "a daemon has no folder of its own to start from";
    assert_eq!(
        one(MINIMAL, "\"/s\"", "\"spool\""),
        format!(
            "2:7: spool.dir = \"spool\": need a path from the root, such as \"/var/spool/solr-updater\": {why}"
        )
    );
    for (from, to, place) in [
        ("\"/run/a.sock\"", "\"a.sock\"", "42:22: monitor.status.socket"),
        ("\"/etc/solr-updater/password\"", "\"~/password\"", "22:17: solr.password_file"),
        ("\"/var/log/updater.log\"", "\"\"", "54:10: log.file"),
    ] {
        let told = one(FULL, from, to);
        assert!(told.starts_with(place) && told.ends_with(why), "{told}");
    }
}

#[test]
fn a_socket_path_that_is_too_long_is_told_the_remedy() {
    let with = |path: &str| FULL.replacen("/run/a.sock", path, 1);
    let long = format!("/{}", "x".repeat(107));
    let told = one(FULL, "/run/a.sock", &long);
    assert!(told.starts_with("42:22: monitor.status.socket = \"/xxx"), "{told}");
    assert!(
        told.ends_with(": 108 bytes long, but a Unix socket's path has at most 107: choose a shorter one, such as \"/run/solr-updater/status.sock\""),
        "{told}"
    );
    assert!(read(&with(&long[..107])).is_ok());
    let umlauts = format!("/{}", "ä".repeat(54)); // bytes count, not letters
    assert!(read(&with(&umlauts)).is_err());
}

#[test]
fn two_sockets_on_one_path_are_refused() {
    let told = one(FULL, "/run/b.sock", "/run/a.sock");
    assert_eq!(
        told,
        "43:22: monitor.status and monitor.control need a socket each: choose another path"
    );
    let told = more(&format!("[monitor]\nstatus.socket = \"{DEFAULT_CONTROL_SOCKET}\"\n"));
    assert_eq!(
        told,
        "7:17: monitor.status and monitor.control need a socket each: choose another path"
    );
}

#[test]
fn a_wrong_url_has_its_own_place_in_the_list() {
    let list = "[\n  \"http://a/solr\",\n  \"ftp://b/solr\", 3,\n  \"http://A:80/solr/\",\n]";
    assert_eq!(
        said(&MINIMAL.replacen("[\"http://a:8983/solr\"]", list, 1)),
        "f.toml:6:3: solr.urls = \"ftp://b/solr\": need http:// at its start, such as \"http://localhost:8983/solr\"\n\
         f.toml:6:19: solr.urls = 3: need strings, such as [\"http://localhost:8983/solr\"]"
    );
    let list = list.replace("\"ftp://b/solr\", 3", "\"http://b/solr\"");
    assert_eq!(
        one(MINIMAL, "[\"http://a:8983/solr\"]", &list),
        "7:3: solr.urls = \"http://A:80/solr/\": it is in the list twice: take one away"
    );
    assert_eq!(
        one(MINIMAL, "[\"http://a:8983/solr\"]", "[]"),
        "4:8: solr.urls = []: need at least one, such as [\"http://localhost:8983/solr\"]"
    );
    assert_eq!(
        one(MINIMAL, "[\"http://a:8983/solr\"]", "\"http://a/solr\""),
        "4:8: solr.urls = \"http://a/solr\": need a list, such as [\"http://a/solr\"]"
    );
    assert_eq!(
        one(MINIMAL, "a:8983/solr", "a:8983/solr/c"),
        "4:9: solr.urls = \"http://a:8983/solr/c\": need the address without the collection: leave off /c"
    );
}

#[test]
fn a_list_without_end_costs_no_time() {
    let many = format!("[{}]", "\"https://a/b\",".repeat(70_000));
    let told = said(&MINIMAL.replacen("[\"http://a:8983/solr\"]", &many, 1));
    assert!(told.contains(": need at most 100"), "{}", &told[..200]);
}

#[test]
fn a_worker_may_wait_for_solr_without_looking_hung() {
    let why = "a worker that waits for a slow answer is no hang";
    assert_eq!(
        one(FULL, "\"91s\"", "\"70s\""),
        format!(
            "28:16: workers.hang_timeout = \"70s\": need at least 71s, solr.timeout and 10s: {why}"
        )
    );
    assert!(read(&FULL.replacen("\"91s\"", "\"71s\"", 1)).is_ok());
    assert_eq!(
        more("timeout = \"81s\""),
        format!(
            "6:11: solr.timeout = \"81s\": need at most 80s, workers.hang_timeout less 10s: {why}"
        )
    );
    assert_eq!(
        more("[workers]\nhang_timeout = \"69s\""),
        format!(
            "7:16: workers.hang_timeout = \"69s\": need at least 70s, solr.timeout and 10s: {why}"
        )
    );
    assert_eq!(
        more("timeout = \"4s\""),
        "6:11: solr.timeout = \"4s\": need connect_timeout (5s) to be at most timeout (4s)"
    );
}

#[test]
fn what_must_be_in_order_is_compared_with_defaults_too() {
    assert_eq!(
        one(FULL, "\"201ms\"\nmost", "\"32s\"\nmost"),
        "38:9: retry.first = \"32s\": need at most retry.most, which is 31s"
    );
    assert_eq!(
        more("[retry]\nfirst = \"1m\""),
        "7:9: retry.first = \"1m\": need at most retry.most, which is 30s by default"
    );
    assert_eq!(
        more("[retry]\nmost = \"100ms\""),
        "7:8: retry.most = \"100ms\": need at least retry.first, which is 200ms by default"
    );
    assert_eq!(
        one(FULL, "warning = \"6m\"", "warning = \"32m\""),
        "46:24: health.lag.warning = \"32m\": need at most health.lag.critical, which is 31m"
    );
    assert_eq!(
        more("[health]\nrejected.warning = 1001"),
        "7:20: health.rejected.warning = 1001: need at most health.rejected.critical, which is 1000 by default"
    );
    assert!(
        more("[retry]\nfirst = \"1m\"\nmost = 3").lines().count() == 1,
        "what is wrong already is not compared"
    );
}

#[test]
fn a_password_goes_with_a_user_and_a_token_alone() {
    assert_eq!(
        one(FULL, "password_file = \"/etc/solr-updater/password\"", ""),
        "21:16: solr.username = \"feeder\": needs a password: add password_file = \"/etc/solr-updater/password\""
    );
    assert_eq!(
        one(FULL, "username     = \"feeder\"", ""),
        "22:17: solr.password_file = \"/etc/solr-updater/password\": needs a user: add username = \"…\""
    );
    assert_eq!(
        one(FULL, "username     = \"feeder\"", "username = \"feeder\"\ntoken_file = \"/t\""),
        "22:14: solr.token_file = \"/t\": a token or a username with its password_file, not both: take one away"
    );
    assert_eq!(
        one(FULL, "\"feeder\"", "\"fee:der\""),
        "21:16: solr.username = \"fee:der\": need a name without a colon"
    );
    let told = said(&FULL.replacen(
        "password_file = \"/etc/solr-updater/password\"",
        "password = \"s3cret\"",
        1,
    ));
    assert!(
        told.contains("unknown key solr.password; did you mean password_file?")
            && !told.contains("s3cret"),
        "{told}"
    );
}

#[test]
fn certificates_go_with_https() {
    let why =
        "has no effect, no address in solr.urls begins with https://: take it away, or write https";
    assert_eq!(more("ca_file = \"/ca\""), format!("6:11: solr.ca_file = \"/ca\": {why}"));
    assert_eq!(
        more("client_cert = { cert = \"/c\", key = \"/k\" }"),
        format!("6:15: solr.client_cert = {{ cert = \"/c\", key = \"/k\" }}: {why}")
    );
    assert_eq!(
        more("[solr.client_cert]\ncert = \"/c\"\nkey = \"/k\""),
        format!("6:1: [solr.client_cert]: {why}")
    );
    let https = |lines: &str| {
        said(&format!("{}{lines}", MINIMAL.replacen("http:", "https:", 1))).replace("f.toml:", "")
    };
    assert_eq!(
        https("client_cert = { cert = \"/c\" }"),
        "6:15: solr.client_cert.key is missing: add key = \"…\" to [solr.client_cert]"
    );
    assert!(https("client_cert = \"/c\"").contains("need a table, such as { cert = "));
    assert!(https("ca_file = \"ca.pem\"").contains("solr.ca_file"), "a relative path");
    // One https address among others is enough, and a wrong one is told alone.
    let mixed = "[\"http://b/solr\", \"https://a:8983/solr\"]";
    let mixed = MINIMAL.replacen("[\"http://a:8983/solr\"]", mixed, 1);
    let both = "ca_file = \"/ca\"\nclient_cert = { cert = \"/c\", key = \"/k\" }";
    let solr = read(&format!("{mixed}{both}")).unwrap().solr;
    assert_eq!(solr.ca_file, Some("/ca".into()));
    assert_eq!(solr.client_cert, Some(ClientCert { cert: "/c".into(), key: "/k".into() }));
    let wrong = MINIMAL.replacen("http://a", "htps://a", 1);
    assert_eq!(said(&format!("{wrong}ca_file = \"/ca\"")).lines().count(), 1);
}

#[test]
fn the_pages_address_is_an_ip_address_and_a_port() {
    for good in ["127.0.0.1:9984", "[::1]:80", "0.0.0.0:1", "[::]:65535"] {
        let text = format!("{MINIMAL}[monitor]\nhttp = \"{good}\"");
        assert_eq!(read(&text).unwrap().monitor.http, Some(good.parse().unwrap()));
    }
    let want = "need an IP address and a port such as \"127.0.0.1:9984\"";
    for (bad, why) in [
        ("\"\"", want),
        ("9984", "need an IP address and a port such as \"127.0.0.1:9984\", in quotes"),
        ("\"9984\"", "need an address before the port: \"127.0.0.1:9984\""),
        ("\":9984\"", "need an address before the port: \"127.0.0.1:9984\""),
        ("\"127.0.0.1\"", "need a port behind the address: \"127.0.0.1:9984\""),
        ("\"::1\"", "need a port behind the address: \"[::1]:9984\""),
        ("\"127.0.0.1:0\"", "need a port from 1 to 65535"),
        ("\"127.0.0.1:70000\"", "need a port from 1 to 65535"),
        (
            "\"localhost:9984\"",
            "need an IP address, for no name is looked up here: \"127.0.0.1:9984\"",
        ),
        ("\"http://127.0.0.1:9984/\"", "need the address and the port alone: \"127.0.0.1:9984\""),
    ] {
        let told = more(&format!("[monitor]\nhttp = {bad}"));
        assert_eq!(told, format!("7:8: monitor.http = {bad}: {why}"));
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[workers]\ncount = 0\ncuont = 2\n[log]\nlevel = 3\n[spool]\ndir = \"s\"\n[solr]\nurls = [\"http://a\"]\nretry = 1\n";
    let told = said(text);
    let places: Vec<&str> = told.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "f.toml:2:9",
            "f.toml:3:1",
            "f.toml:5:9",
            "f.toml:7:7",
            "f.toml:8:1",
            "f.toml:9:9",
            "f.toml:10:1"
        ]
    );
}

#[test]
fn a_mistake_carries_its_text_and_can_be_shown() {
    let mistakes =
        read(&FULL.replacen("count        = 4", "count        = 0 # none", 1)).unwrap_err();
    let mistake = &mistakes.0[0];
    assert_eq!((mistake.line, mistake.column, mistake.text.as_str()), (25, 16, "0"));
    assert_eq!(mistake.source, "count        = 0 # none");
    assert_eq!(
        mistakes.with_carets(),
        "f.toml:25:16: workers.count = 0: need at least 1\n   25 | count        = 0 # none\n      |                ^"
    );
}

#[test]
fn what_is_no_toml_is_told_at_its_place() {
    assert_eq!(
        one(FULL, "\"61s\"", "61s"),
        "20:16: timeout = 61s…: only numbers, true and false stand without quotes, and no number begins with 0"
    );
    assert_eq!(
        one(FULL, "\"debug\"", "info"),
        "52:10: level = info…: only numbers, true and false stand without quotes, and no number begins with 0"
    );
    assert_eq!(one(FULL, "[log]", "[log"), "51:5: not TOML: unclosed table, expected `]`");
    assert_eq!(one(FULL, "[log]", "[retry]"), "51:2: not TOML: duplicate key");
    assert_eq!(
        one(FULL, "count        = 4", "count 4"),
        "25:7: not TOML: key with no value, expected `=`"
    );
    assert_eq!(one(FULL, "min_rf       = 2", "timeout = \"1s\""), "20:1: not TOML: duplicate key");
}

#[test]
fn lines_may_end_as_on_windows_and_begin_with_a_byte_order_mark() {
    let crlf = FULL.replace('\n', "\r\n");
    assert_eq!(read(&crlf), read(FULL));
    let mistakes = read(&crlf.replacen("count        = 4", "count = 0", 1)).unwrap_err();
    assert_eq!(
        mistakes.with_carets(),
        "f.toml:25:9: workers.count = 0: need at least 1\n   25 | count = 0\n      |         ^"
    );
    assert_eq!(read(&format!("\u{feff}{FULL}")), read(FULL));
    assert_eq!(
        said(&format!("\u{feff}[spool]\n{}", &MINIMAL[MINIMAL.find("[solr]").unwrap()..])),
        "f.toml:1:1: spool.dir is missing: add dir = \"/var/spool/solr-updater\" to [spool]"
    );
    let told = said(&format!("\u{feff}a = 1\n{MINIMAL}"));
    assert!(told.starts_with("f.toml:1:1: unknown key a"), "{told}");
}

/// A file that is there for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn path(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("config-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Scratch(path)
    }

    fn with(name: &str, bytes: &[u8]) -> Scratch {
        let scratch = Scratch::path(name);
        std::fs::write(&scratch.0, bytes).unwrap();
        scratch
    }

    /// The mistakes in it, without its name.
    fn said(&self) -> String {
        load(&self.0).unwrap_err().to_string().replace(&self.0.display().to_string(), "F")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_file_is_loaded_and_remembers_its_name() {
    let file = Scratch::with("good", MINIMAL.as_bytes());
    assert_eq!(load(&file.0).unwrap(), Config { path: file.0.clone(), ..defaults() });
}

#[test]
fn what_is_not_utf_8_is_told_at_its_place() {
    let file = Scratch::with("latin-1", b"[spool]\ndir = \"/b\xc3\xbccher/b\xfccher\"\n");
    assert_eq!(file.said(), "F:2:17: byte 0xfc is not UTF-8: save the file as UTF-8");
    assert!(
        load(&file.0)
            .unwrap_err()
            .with_carets()
            .ends_with("dir = \"/bücher/b\u{fffd}cher\"\n     |                 ^")
    );
    let file = Scratch::with("cut", b"# \xc3");
    assert_eq!(file.said(), "F:1:3: byte 0xc3 is not UTF-8: save the file as UTF-8");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may run a program")]
fn what_is_no_readable_file_is_told_without_a_place_and_without_waiting() {
    let nothing = Scratch::path("nothing");
    assert_eq!(nothing.said(), "F: there is no such file: write it, or name another with --config");
    assert_eq!(
        load(Path::new("/")).unwrap_err().to_string(),
        "/: is a folder: name the file in it"
    );
    assert_eq!(
        load(Path::new("/dev/zero")).unwrap_err().to_string(),
        "/dev/zero: is no regular file: a configuration is read again at every reload"
    );
    let fifo = Scratch::path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    assert_eq!(fifo.said(), "F: is no regular file: a configuration is read again at every reload");
    let large = Scratch::with("large", &vec![b'#'; (1 << 20) + 1]);
    assert_eq!(large.said(), "F: is larger than 1 MiB: this is no configuration");
}

#[test]
fn feed_needs_no_file() {
    let config = Config::for_feed(vec!["http://a:8983/solr/".to_owned()], "c".to_owned()).unwrap();
    let mut expected = Config { path: PathBuf::new(), ..defaults() };
    expected.spool.dir = PathBuf::new();
    assert_eq!(config, expected);
    let mistakes = Config::for_feed(
        vec!["https://a/solr".to_owned(), "http://u:s3cret@a".to_owned()],
        "a/b".to_owned(),
    )
    .unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "--url: http://…@a: no user or password here, URLs are logged: use username and password_file\n\
         --collection: a/b: need one collection or alias: letters, digits, . _ - (not first), such as \"offers\""
    );
    assert_eq!(
        Config::for_feed(vec![], "c".to_owned()).unwrap_err().to_string(),
        "--url: need at least one, such as http://localhost:8983/solr"
    );
}

/// Not for chance: the same numbers in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

#[test]
fn no_mutilated_file_breaks_the_reader() {
    let pieces = [
        "=",
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "{",
        "}",
        ".",
        ",",
        "\n",
        "\r\n",
        "#",
        "0",
        "-1",
        "9223372036854775808",
        "1e400",
        "nan",
        "ä",
        "\u{feff}",
        "\u{0}",
        "\u{1b}",
        "\\u0000",
        "\"\"\"",
        "true",
        "1979-05-27T07:32:00Z",
        "s",
        "%",
        "://",
        "@",
        "[convert]",
        "[solr]",
        "urls = []",
        "spool.keep.age = 1",
        "/",
        "18446744073709551615d",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "a.b.c.d.e.f.g",
    ];
    let mut dice = Dice(0x5eed_5eed_5eed_5eed);
    for round in 0..6000 {
        let mut text: Vec<char> = if round % 2 == 0 { FULL } else { MINIMAL }.chars().collect();
        for _ in 0..=dice.below(4) {
            let at = dice.below(text.len() + 1);
            let until = (at + dice.below(9)).min(text.len());
            match dice.below(3) {
                0 => drop(text.drain(at..until)),
                1 => drop(text.splice(at..until, pieces[dice.below(pieces.len())].chars())),
                _ => {
                    let again: Vec<char> = text[at..(at + dice.below(60)).min(text.len())].to_vec();
                    text.splice(at..at, again);
                }
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = read(&text) {
            assert!(!mistakes.0.is_empty());
            assert!(
                mistakes.0.is_sorted_by_key(|mistake| (mistake.line, mistake.column)),
                "{mistakes}\n{text}"
            );
            assert_eq!(mistakes.to_string().lines().count(), mistakes.0.len(), "{mistakes}");
            for mistake in &mistakes.0 {
                let lines = text.matches('\n').count() + 1;
                assert!((1..=lines).contains(&mistake.line) && mistake.column >= 1, "{mistake}");
                assert!(!mistake.with_caret().contains('\u{1b}'), "a terminal would obey it");
            }
        }
    }
}

const SHIPPED: &str = include_str!("../../packaging/solr-updater.toml");

/// The shipped file with the `#` taken from every key, but those on the list.
fn uncommented(but: &[&str]) -> String {
    let line = |line: &str| {
        let key =
            line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase()));
        match key {
            Some(key) if !but.iter().any(|but| key.starts_with(but)) => format!("{key}\n"),
            _ => format!("{line}\n"),
        }
    };
    SHIPPED.lines().map(line).collect()
}

#[test]
fn the_shipped_file_is_good_and_needs_no_change_but_three_keys() {
    let mut shipped = read(SHIPPED).unwrap();
    assert_eq!(shipped.spool.dir, Path::new("/var/spool/solr-updater"));
    shipped.spool.dir = "/s".into();
    shipped.solr.urls = vec!["http://a:8983/solr".to_owned()];
    shipped.solr.collection = "c".to_owned();
    assert_eq!(shipped, defaults());
}

#[test]
fn the_shipped_examples_of_a_conversion_are_good() {
    let examples: String = SHIPPED
        .lines()
        .filter_map(|line| line.strip_prefix("#    ").filter(|line| !line.starts_with(' ')))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(examples.starts_with("[convert]\n"), "{examples}");
    match read(&format!("{SHIPPED}\n{examples}")).unwrap().convert {
        Some(conversion::Convert::Fields(fields)) => assert_eq!(fields.fields.len(), 11),
        other => panic!("{other:?}"),
    }
    let program = SHIPPED.lines().find_map(|line| line.strip_prefix("#       jq = "));
    let program = format!("[convert]\njq = {}", program.expect("an example of jq"));
    let convert = read(&format!("{SHIPPED}\n{program}")).unwrap().convert;
    assert!(matches!(convert, Some(conversion::Convert::Jq(_))), "{convert:?}");
    let exec: Vec<&str> =
        SHIPPED.lines().filter_map(|line| line.strip_prefix("#       exec")).collect();
    let exec = format!("[convert]\nexec{}\nexec{}", exec[0], exec[1]);
    let convert = read(&format!("{SHIPPED}\n{exec}")).unwrap().convert;
    assert!(matches!(convert, Some(conversion::Convert::Exec(_))), "{convert:?}");
}

#[test]
fn the_shipped_file_tells_the_true_defaults() {
    let no_default = [
        "username",
        "password_file",
        "token_file",
        "ca_file",
        "client_cert",
        "count",
        "http",
        "file",
    ];
    assert_eq!(read(&uncommented(&no_default)), read(SHIPPED));
    let https = |but: &[&str]| uncommented(but).replacen("[\"http:", "[\"https:", 1);
    let with_user = read(&https(&["token_file"])).unwrap();
    assert_eq!(with_user.solr.username.as_deref(), Some("feeder"));
    assert!(with_user.solr.ca_file.is_some() && with_user.solr.client_cert.is_some());
    let with_token = read(&https(&["username", "password_file"])).unwrap();
    assert!(with_token.solr.token_file.is_some());
}

#[test]
fn the_shipped_file_leaves_out_no_key_that_this_version_carries_out() {
    let shipped = DeTable::parse(SHIPPED).unwrap();
    // Each section's unknown key is answered with the known ones.
    for (section, _) in shipped.get_ref() {
        let section = section.get_ref();
        let told = more_in(section);
        let known =
            &told[told.rfind("(known: ").expect("it lists them") + 8..told.rfind(')').unwrap()];
        for key in known.split(", ") {
            let offered = uncommented(&[]);
            let table = &offered[offered.find(&format!("[{section}]\n")).unwrap()..];
            assert!(table.contains(&format!("\n{key} = ")), "[{section}] has no {key}");
        }
    }
}

fn more_in(section: &str) -> String {
    let text =
        SHIPPED.replacen(&format!("[{section}]\n"), &format!("[{section}]\nzzzzzz = 1\n"), 1);
    said(&text)
}
