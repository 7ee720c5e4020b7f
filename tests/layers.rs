//! The walls between the crates stand where src/README.md draws them. Read from the manifests, by
//! `cargo metadata`, so what a crate imports is held against what it may; `tests/guards` breaks
//! each wall in a copy and sees a test of this file fail.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// What must not be anywhere under the parent: it starts threads, or is for work that is not the
/// parent's (connections, JSON, compressed deltas, the sockets that the monitor answers on).
#[rustfmt::skip]
const NOT_UNDER_THE_PARENT: &[&str] = &[
    "async-std", "crossbeam-channel", "flate2", "futures-executor", "hyper", "interprocess", "io-uring",
    "jaq-core", "jaq-json", "jaq-std", "jiff",
    "mio", "notify", "rayon", "reqwest", "serde_json", "slog-async", "smol", "threadpool", "tokio",
    "tokio-uring", "ureq", "zstd",
];

/// What both sides of the fork stand on.
const GROUND: &[&str] = &["config", "logs", "orders", "scoreboard", "spool", "status", "sys"];

/// What a worker alone stands on: it looks into the SolrCloud, which nobody else does.
const WORKERS_OWN: &[&str] = &["cluster"];

/// What makes documents of lines, which the parent and the monitor never look into; and the process that
/// does so in the operator's own way.
const CONVERSION: &[&str] = &["convert", "exec"];

/// What stands on it, in processes of its own.
const ROLES: &[&str] = &["parent", "worker", "monitor"];

/// Where the forbidden word may stand: the wrappers around the kernel, and the bug on show.
const MAY_BE_UNSAFE: &[&str] = &["src/sys", "docs/deadlock"];
/// Spelt so that this file does not contain it.
const UNSAFE: &str = concat!("un", "safe");

/// The tree that is looked at: the one this was built from, or as cargo says when it runs it, a copy.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into()).into()
});

fn root() -> &'static Path {
    &ROOT
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo).args(arguments).current_dir(root()).output();
    let run = run.expect("cargo can be run");
    assert!(run.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("cargo prints text")
}

/// Who depends on whom, as cargo resolves it for this machine: normal dependencies alone.
struct Graph {
    depends: BTreeMap<String, BTreeSet<String>>,
    /// The crates of this workspace, and where each lives.
    ours: BTreeMap<String, PathBuf>,
}

static GRAPH: LazyLock<Graph> = LazyLock::new(Graph::read);

impl Graph {
    fn read() -> Graph {
        let version = cargo(&["-vV"]);
        let host = version.lines().find_map(|l| l.strip_prefix("host: ")).expect("cargo -vV");
        // Crates for other platforms need not have been downloaded.
        let found = cargo(&[
            "metadata",
            "--format-version=1",
            "--offline",
            "--locked",
            "--filter-platform",
            host,
        ]);
        let found: Value = serde_json::from_str(&found).expect("cargo prints JSON");
        let list = |of: &Value| of.as_array().expect("a list").clone();
        let text = |of: &Value| of.as_str().expect("text").to_owned();

        let mut names = BTreeMap::new();
        let mut ours = BTreeMap::new();
        for package in list(&found["packages"]) {
            if package["source"].is_null() {
                let manifest = PathBuf::from(text(&package["manifest_path"]));
                ours.insert(text(&package["name"]), manifest.with_file_name(""));
            }
            names.insert(text(&package["id"]), text(&package["name"]));
        }
        let mut depends: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&found["resolve"]["nodes"]) {
            let on = depends.entry(names[&text(&node["id"])].clone()).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    on.insert(names[&text(&dependency["pkg"])].clone());
                }
            }
        }
        Graph { depends, ours }
    }

    /// All that `of` stands on, each with the way that leads there: `parent → logs → slog`.
    fn under(&self, of: &str) -> BTreeMap<String, String> {
        let mut ways = BTreeMap::new();
        let mut ahead = vec![(of.to_owned(), of.to_owned())];
        while let Some((name, way)) = ahead.pop() {
            for next in self.depends.get(&name).unwrap_or_else(|| panic!("no crate {name}")) {
                if !ways.contains_key(next) {
                    let longer = format!("{way} → {next}");
                    ways.insert(next.clone(), longer.clone());
                    ahead.push((next.clone(), longer));
                }
            }
        }
        ways
    }

    /// Fails if `of` stands on any of these.
    fn must_not_stand_on(&self, of: &str, forbidden: &[&str]) {
        let under = self.under(of);
        let found: Vec<_> = forbidden.iter().filter_map(|name| under.get(*name)).collect();
        assert!(found.is_empty(), "{of} must not stand on: {found:?}");
    }
}

#[test]
fn nothing_under_the_parent_opens_a_connection_parses_json_or_starts_a_thread() {
    GRAPH.must_not_stand_on("parent", NOT_UNDER_THE_PARENT);
}

#[test]
fn parent_worker_and_monitor_never_import_one_another() {
    let graph = &*GRAPH;
    for role in ROLES {
        graph.must_not_stand_on(role, ROLES);
    }
}

#[test]
fn the_worker_alone_knows_the_cluster() {
    let graph = &*GRAPH;
    for other in GROUND.iter().chain(&["parent", "monitor", "check_updater"]) {
        graph.must_not_stand_on(other, WORKERS_OWN);
    }
    let ours: Vec<&str> = graph.ours.keys().map(String::as_str).collect();
    for own in WORKERS_OWN {
        graph.must_not_stand_on(own, &ours);
    }
}

#[test]
fn lines_are_read_by_workers_and_at_the_command_line_alone() {
    let graph = &*GRAPH;
    for other in GROUND.iter().chain(&["parent", "monitor", "cluster", "check_updater"]) {
        graph.must_not_stand_on(other, CONVERSION);
    }
    let ours: Vec<&str> = graph.ours.keys().map(String::as_str).collect();
    for (crate_, ground) in [("convert", &["config"][..]), ("exec", &["config", "sys"])] {
        let others: Vec<&str> =
            ours.iter().copied().filter(|name| !ground.contains(name)).collect();
        graph.must_not_stand_on(crate_, &others);
    }
}

#[test]
fn the_ground_stands_on_nothing_above_it() {
    let graph = &*GRAPH;
    for ground in GROUND {
        graph.must_not_stand_on(ground, ROLES);
        graph.must_not_stand_on(ground, &["solr-updater", "check_updater"]);
    }
    let ours: Vec<&str> = graph.ours.keys().map(String::as_str).collect();
    graph.must_not_stand_on("sys", &ours);
    graph.must_not_stand_on("status", &ours);
    let all_but_status: Vec<&str> = ours.into_iter().filter(|name| *name != "status").collect();
    graph.must_not_stand_on("check_updater", &all_but_status);
}

#[test]
fn what_only_tests_need_is_in_no_program() {
    let graph = &*GRAPH;
    let ours: Vec<&str> = graph.ours.keys().map(String::as_str).collect();
    graph.must_not_stand_on("fake-solr", &ours);
    for name in ours {
        graph.must_not_stand_on(name, &["fake-solr", "loom", "stateright"]);
    }
}

#[test]
fn whatever_runs_before_the_fork_is_forbidden_to_start_a_thread() {
    let graph = &*GRAPH;
    let rule = std::fs::read_to_string(root().join("src/parent/clippy.toml")).expect("the rule");
    for way in ["thread::spawn", "thread::scope", "Builder::spawn", "Builder::spawn_scoped"] {
        assert!(rule.contains(&format!("\"std::{}\"", way.replace("Builder", "thread::Builder"))));
    }
    let under = graph.under("parent");
    for (name, folder) in &graph.ours {
        if name == "parent" || under.contains_key(name) {
            let own = std::fs::read_to_string(folder.join("clippy.toml")).unwrap_or_default();
            assert!(own == rule, "{name} runs before the fork: ln -s ../parent/clippy.toml there");
        }
    }
}

#[test]
fn the_compilers_checks_hold_everywhere_but_in_sys() {
    let graph = &*GRAPH;
    let allowed = |path: &Path| MAY_BE_UNSAFE.iter().any(|folder| path.starts_with(folder));
    for source in sources(root()) {
        let path = source.strip_prefix(root()).expect("below the root");
        let text = std::fs::read_to_string(&source).expect("a source can be read");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let code = code.replace(&format!("forbid({UNSAFE}_code)"), "");
            let found = code.contains(UNSAFE) && !allowed(path);
            assert!(!found, "{}:{}: {}", path.display(), number + 1, line.trim());
        }
    }
    // What the compiler denies is denied to every crate but sys.
    let lint = format!("{UNSAFE}_code");
    for (name, folder) in &graph.ours {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        if name == "sys" {
            assert!(manifest.contains(&format!("{lint} = \"allow\"")), "sys may");
        } else {
            assert!(manifest.contains("[lints]\nworkspace = true"), "{name}: lints.workspace");
        }
        if name == "solr-updater" {
            assert!(manifest.contains(&format!("{lint} = \"deny\"")), "the workspace denies it");
        }
    }
}

/// Every Rust source below a folder that is not built or hidden.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}
