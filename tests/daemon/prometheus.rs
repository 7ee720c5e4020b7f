//! Prometheus, as it is installed: what the dashboard and the alert rules name is what the daemon
//! prints, and Prometheus itself reads, judges and fires.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::{
    Daemon, Delta, FakeSolr, Mode, Site, exchange, finish, get, own_address, skipped, wait_for,
};

const RULES: &str = include_str!("../../packaging/prometheus/solr-updater.rules.yml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/solr-updater.json");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One of Debian's two programs, which `tests/setup test` unpacks. `None`: it is not here, and that is
/// told.
fn program(name: &str) -> Option<PathBuf> {
    let places = [root().join("target/tools").join(name), Path::new("/usr/bin").join(name)];
    let found = places.into_iter().find(|path| path.exists());
    if found.is_none() {
        skipped(&format!("no {name} here: Prometheus has not judged the rules (tests/setup test)"));
    }
    found
}

/// All names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_name(c));
    words.filter(|word| word.starts_with("solr_updater_")).collect()
}

/// The dashboard's expressions.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// A daemon with a page that has something of everything to tell.
fn busy(site: &Site, address: SocketAddr) -> Daemon {
    site.configure(&format!(
        "monitor.http = '{address}'\nhealth.solr = {{ warning = '1s', critical = '2s' }}"
    ));
    let daemon = Daemon::start(site);
    site.hand_over("x.jsonl", Delta::offers(0..1_500, 1).text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    daemon
}

#[test]
fn whatever_dashboard_and_alert_rules_name_is_printed() {
    let (solr, address) = (FakeSolr::up(), own_address());
    let site = Site::new(solr.url());
    let daemon = busy(&site, address);
    let text = get(address, "/metrics").unwrap().body;
    // (A sample's name is what stands before its labels or its value.)
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let printed: BTreeSet<&str> =
        samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    for (what, text) in [("the rules", RULES), ("the dashboard", DASHBOARD)] {
        let named = named(text);
        assert!(named.len() > 10, "{what}: {named:?}");
        let missing: Vec<_> = named.difference(&printed).collect();
        assert!(missing.is_empty(), "{what}: {missing:?}");
    }
    daemon.stop();
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty(), "{panel}");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
    }
    // Whoever chooses an instance is shown no other.
    assert!(
        expressions()
            .iter()
            .all(|expr| expr.matches("instance=~\"$instance\"").count() == named(expr).len())
    );
}

#[test]
fn promtool_passes_rules_expressions_and_metrics() {
    let Some(promtool) = program("promtool") else { return };
    let promtool = |arguments: &[&str], input: &str| {
        finish(Command::new(&promtool).args(arguments).current_dir(root()), input.as_bytes())
    };
    let rules = "packaging/prometheus/solr-updater.rules.yml";
    promtool(&["check", "rules", rules], "").code(0).says("11 rules found");
    promtool(&["test", "rules", "tests/prometheus/rules.test.yml"], "").code(0).says("SUCCESS");

    let (solr, address) = (FakeSolr::up(), own_address());
    let site = Site::new(solr.url());
    let daemon = busy(&site, address);
    // What the dashboard asks, as rules: they are parsed alike.
    let mut recorded = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, expr) in expressions().iter().enumerate() {
        let expr =
            expr.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$job", ".*");
        recorded += &format!("      - record: r{n}\n        expr: '{expr}'\n");
    }
    let file = site.path("dashboard.yml");
    std::fs::write(&file, recorded).unwrap();
    let words = format!("{} rules found", expressions().len());
    promtool(&["check", "rules", file.to_str().unwrap()], "").code(0).says(&words);
    // It reads the older text format alone, to which `info`, `# UNIT` and the type of a counter's family are
    // unknown: so the samples are judged as that has them.
    let text = get(address, "/metrics").unwrap().body;
    promtool(&["check", "metrics"], &in_the_older_format(&text)).code(0);
    daemon.stop();
}

/// OpenMetrics as the format before it has the same.
fn in_the_older_format(text: &str) -> String {
    let counters: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let line = |line: &str| {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), _) => String::new(),
            (Some("#"), Some(kind), Some(name)) if counters.contains(name) => {
                line.replacen(&format!("{kind} {name} "), &format!("{kind} {name}_total "), 1)
                    + "\n"
            }
            (Some("#"), Some(kind), Some("solr_updater_build")) => {
                line.replacen(
                    &format!("{kind} solr_updater_build "),
                    &format!("{kind} solr_updater_build_info "),
                    1,
                )
                .replace(" info", " gauge")
                    + "\n"
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// A Prometheus of its own, gone at the end.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(program: &Path, site: &Site, target: SocketAddr) -> Prometheus {
        // The rules as they are shipped, but nobody waits for minutes here.
        let hasty: String = RULES
            .lines()
            .map(|line| {
                if line.trim_start().starts_with("for: ") {
                    String::new()
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
        std::fs::write(site.path("rules.yml"), hasty).unwrap();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{ job_name: solr-updater, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        );
        std::fs::write(site.path("prometheus.yml"), config).unwrap();
        let address = own_address();
        let child = Command::new(program)
            .arg(format!("--config.file={}", site.path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", site.path("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(site.path("prometheus.log")).unwrap())
            .spawn()
            .unwrap();
        Prometheus { child, address }
    }

    /// The value of an expression that has one.
    fn value(&self, expr: &str) -> Option<String> {
        let request =
            format!("GET /api/v1/query?query={} HTTP/1.0\r\nHost: x\r\n\r\n", escaped(expr));
        std::net::TcpStream::connect(self.address).ok()?;
        let answer = exchange(self.address, request);
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let answer: Value = serde_json::from_str(body).ok()?;
        Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.bytes()
        .map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02x}") })
        .collect()
}

#[test]
fn prometheus_scrapes_the_daemon_and_fires_when_solr_is_away() {
    let Some(prometheus) = program("prometheus") else { return };
    let (solr, address) = (FakeSolr::up(), own_address());
    let site = Site::new(solr.url());
    let daemon = busy(&site, address);
    let prometheus = Prometheus::start(&prometheus, &site, address);
    let is = |expr: &str, value: &str| prometheus.value(expr).as_deref() == Some(value);
    wait_for("it has read the daemon", || is("solr_updater_documents_total", "1500"));
    assert!(is("up{job=\"solr-updater\"}", "1"));
    assert_eq!(prometheus.value("ALERTS{alertname=\"SolrUpdaterCritical\"}"), None);
    solr.turn(Mode::Down);
    site.hand_over("y.jsonl", Delta::offers(0..10, 1).text);
    let firing =
        |name: &str| is(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}"), "1");
    wait_for("it fires", || firing("SolrUpdaterCritical"));
    assert!(is("solr_updater_solr_up", "0"));
    solr.turn(Mode::Up);
    wait_for("it is over", || is("solr_updater_health", "0") && !firing("SolrUpdaterCritical"));
    daemon.stop();
    wait_for("nobody is there", || firing("SolrUpdaterDown"));
}
