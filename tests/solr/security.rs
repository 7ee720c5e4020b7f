//! A Solr with security switched on, a cluster of its own: it speaks https alone, takes nobody
//! without a certificate of its CA's, and wants a user and a password.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::MutexGuard;

use serde_json::Value;

use crate::cluster::{alone, offers};
use crate::common::{Daemon, Delta, Process, Run, Site, assert_same, finish};

/// The cluster, down at the end whatever the test came to. (Should even the test be killed, it ends
/// by itself.)
struct Secured {
    dir: PathBuf,
    url: String,
    _alone: MutexGuard<'static, ()>,
}

impl Secured {
    fn up() -> Secured {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("solrcloud-security");
        let mut cluster = Secured { dir, url: String::new(), _alone: alone() };
        cluster.run(&["down", "--wipe"]); // what a killed run has left
        let ready = cluster.run(&[
            "up",
            "--base-port",
            "0",
            "--zk-timeout",
            "4000",
            "--ttl",
            "600",
            "--quiet",
            "--client-auth",
            "--auth",
        ]);
        ready.code(0);
        cluster.url = cluster.run(&["url"]).code(0).stdout.trim().to_owned();
        cluster.run(&["create", "c"]).code(0);
        cluster
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/solrcloud/solrcloud");
        let (command, rest) = arguments.split_first().unwrap();
        let mut script = Command::new(script);
        finish(script.arg(command).arg("--dir").arg(&self.dir).args(rest), b"")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// All that is in the index, by id, asked as admin.
    fn docs(&self) -> BTreeMap<String, Value> {
        let curl = |arguments: &[&str], path: &str| {
            let url = format!("{}/c/{path}", self.url);
            let all = [&["curl", "-sSf", &url], arguments].concat();
            let answer = self.run(&all).code(0);
            serde_json::from_str::<Value>(&answer.stdout).expect("Solr answers in JSON")
        };
        let json = "Content-Type: application/json";
        curl(&["-H", json, "-d", r#"{"commit":{}}"#], "update");
        let found = curl(&[], "select?q=*:*&rows=100000&fl=id,price_i,stock_i,name_s&wt=json");
        let docs = found["response"]["docs"].as_array().unwrap();
        docs.iter().map(|doc| (doc["id"].as_str().unwrap().to_owned(), doc.clone())).collect()
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let down: &[&str] = if std::thread::panicking() { &["down"] } else { &["down", "--wipe"] };
        self.run(down);
    }
}

/// What a configuration says of the way to Solr.
struct Way {
    ca_file: Option<PathBuf>,
    client_cert: Option<(PathBuf, PathBuf)>,
    password_file: PathBuf,
}

impl Way {
    fn configure(&self, site: &Site) {
        let mut text = format!(
            "batch = {{ docs = 20000, bytes = '4MiB' }}\nretry.most = '1s'\n\
             health.solr = {{ warning = '1s', critical = '2s' }}\n\
             solr.username = 'feeder'\nsolr.password_file = '{}'\n",
            self.password_file.display()
        );
        if let Some(path) = &self.ca_file {
            text += &format!("solr.ca_file = '{}'\n", path.display());
        }
        if let Some((cert, key)) = &self.client_cert {
            let (cert, key) = (cert.display(), key.display());
            text += &format!("solr.client_cert = {{ cert = '{cert}', key = '{key}' }}\n");
        }
        site.configure(&text);
    }
}

#[test]
fn a_solr_that_wants_tls_a_certificate_and_a_password_is_fed() {
    let cluster = Secured::up();
    let site = Site::for_collection(vec![cluster.url.clone()], "c");
    let right = || Way {
        ca_file: Some(cluster.path("ca.pem")),
        client_cert: Some((cluster.path("client.pem"), cluster.path("client-key.pem"))),
        password_file: site.path("password"),
    };
    let password = cluster.read("feeder.password");
    std::fs::write(site.path("password"), &password).unwrap();
    right().configure(&site);
    let mut told = Told::default();

    // As it should be.
    told.add(site.run(&["check", "--solr"]).code(0));
    let daemon = Daemon::start(&site);
    let first = offers(&["10000", "1"]); // a batch is larger than any buffer on the way
    site.hand_over("a.jsonl", &first.text);
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&cluster.docs(), &first.docs);
    std::fs::write(site.path("x.jsonl"), "{\"id\":\"fed\"}\n").unwrap();
    told.add(site.run(&["feed", "x.jsonl"]).code(0).says("1 documents"));

    // What is not as it should be is told where somebody waits for it.
    let check = |way: Way, words: &str| {
        way.configure(&site);
        site.run(&["check", "--solr"]).code(1).says(words)
    };
    let stranger = Some(cluster.path("client.pem"));
    let words = "its certificate is not signed by a certificate in solr.ca_file";
    told.add(check(Way { ca_file: stranger.clone(), ..right() }, words));
    let words = "not signed by anybody whom this system trusts: set solr.ca_file";
    told.add(check(Way { ca_file: None, ..right() }, words));
    let words = "wants a client certificate: set solr.client_cert";
    told.add(check(Way { client_cert: None, ..right() }, words));
    let plain = Site::for_collection(vec![cluster.url.replacen("https", "http", 1)], "c");
    told.add(plain.run(&["check", "--solr"]).code(1).says("does it speak https?"));
    let nodes = Site::for_collection(vec![cluster.url.replacen("127.0.0.1", "127.0.0.2", 1)], "c");
    right().configure(&nodes);
    told.add(nodes.run(&["check", "--solr"]).code(1).says("refused"));

    // A running daemon waits, says why, and goes on when it is put right.
    std::fs::write(site.path("password"), "open sesame\n").unwrap();
    goes_on(
        &cluster,
        &daemon,
        &site,
        &mut told,
        Trouble {
            wrong: right(),
            words: "the credentials are not taken (HTTP 401)",
            price: "2",
            put_right: || {
                std::fs::write(site.path("password"), &password).unwrap();
                right()
            },
        },
    );
    goes_on(
        &cluster,
        &daemon,
        &site,
        &mut told,
        Trouble {
            wrong: Way { ca_file: stranger, ..right() },
            words: "its certificate is not signed by a certificate in solr.ca_file",
            price: "3",
            put_right: right,
        },
    );

    // Nothing of the secrets is anywhere but in their files.
    told.text.push(daemon.status().to_string());
    told.text.push(std::fs::read_to_string(site.log()).unwrap());
    let everybody = daemon.parent.children().into_iter().chain([daemon.parent]);
    told.text.extend(everybody.map(command_line));
    let key = cluster.read("client-key.pem");
    let secrets = [password.trim(), "open sesame", key.lines().nth(1).unwrap()];
    assert!(told.text.iter().any(|text| text.contains("u.toml")), "the command lines are there");
    for (secret, text) in secrets.iter().flat_map(|s| told.text.iter().map(move |t| (s, t))) {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    daemon.stop();
}

/// What anybody could read.
#[derive(Default)]
struct Told {
    text: Vec<String>,
}

impl Told {
    fn add(&mut self, run: Run) {
        self.text.extend([run.stdout, run.stderr]);
    }
}

fn command_line(process: Process) -> String {
    let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap();
    String::from_utf8(line).unwrap()
}

/// A way to Solr that is no way, and how it is told and put right.
struct Trouble<F> {
    wrong: Way,
    words: &'static str,
    price: &'static str,
    put_right: F,
}

fn goes_on(
    cluster: &Secured,
    daemon: &Daemon,
    site: &Site,
    told: &mut Told,
    trouble: Trouble<impl FnOnce() -> Way>,
) {
    let before = daemon.status()["totals"]["deltas"].as_u64().unwrap();
    trouble.wrong.configure(site);
    told.add(site.run(&["reload"]).code(0));
    let delta: Delta = offers(&["10000", trouble.price]);
    site.hand_over(&format!("{}.jsonl", trouble.price), &delta.text);
    let status = daemon.wait("it is critical", |status| {
        status["health"]["state"] == "critical"
            && status["solr"]["last_error"].as_str().is_some_and(|e| e.contains(trouble.words))
    });
    told.text.push(status.to_string());
    told.add(site.check_updater(&["-v"]).code(2).says(trouble.words));
    assert_eq!(status["totals"]["deltas"], before);
    (trouble.put_right)().configure(site);
    told.add(site.run(&["reload"]).code(0));
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == before + 1);
    let mut docs = cluster.docs();
    docs.retain(|id, _| delta.docs.contains_key(id));
    assert_same(&docs, &delta.docs);
    assert_eq!((site.names("rejected"), site.names("failed")), (vec![], vec![]));
}
