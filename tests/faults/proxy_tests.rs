//! The proxy before a Solr that does as it is told.

use std::sync::Mutex;

use fake_solr::FakeCluster;

use super::*;
use crate::kind::random;
use crate::mischief::Plan;

/// Writes down what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, words: String) {
        self.0.lock().unwrap().push(words);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Witness for Notes {
    fn passed_on(&self, to: &str, body: &[u8]) -> usize {
        self.note(format!("{to}: {}", String::from_utf8_lossy(body)));
        7
    }

    fn answered(&self, number: usize, status: u16, body: &[u8], handed_on: bool) {
        assert!(body.starts_with(b"{"));
        self.note(format!("{number}: {status}, handed on: {handed_on}"));
    }

    fn broken(&self, number: usize) {
        self.note(format!("{number}: broken"));
    }
}

struct Bench {
    cluster: FakeCluster,
    mischief: Arc<Mischief>,
    notes: Arc<Notes>,
    proxy: Proxy,
}

fn bench() -> Bench {
    let cluster = FakeCluster::start(2);
    let mischief = Arc::new(Mischief::new(random(1, "test", 0)));
    let notes = Arc::new(Notes::default());
    let proxy = Proxy::before(&cluster.urls(), Arc::clone(&mischief), notes.clone());
    Bench { cluster, mischief, notes, proxy }
}

const STATUS: &str = "/admin/collections?action=CLUSTERSTATUS&collection=c&wt=json";
const BODY: &str = r#"{"add":{"doc":{"id":"a"}}}"#;

/// One request on a connection of its own; what came back, to its end.
fn send(url: &str, method: &str, path: &str, body: &str) -> Vec<u8> {
    let address = url.trim_start_matches("http://").trim_end_matches("/solr");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let request = format!(
        "{method} /solr{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    // One that is refused may be so before it has said anything.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn everything_passes_as_it_is_but_for_the_nodes_addresses() {
    let bench = bench();
    let (real, ours) = (bench.cluster.urls(), bench.proxy.urls());
    for (path, status) in [("/c/update", "200"), ("/nowhere/update", "404")] {
        let direct = String::from_utf8(send(&real[1], "POST", path, "[]")).unwrap();
        assert!(direct.starts_with(&format!("HTTP/1.1 {status}")), "{direct}");
        assert_eq!(direct.as_bytes(), send(&ours[1], "POST", path, "[]"));
    }
    let status = |url| {
        let answer = Message::answer(&mut &send(url, "GET", STATUS, "")[..]).unwrap();
        String::from_utf8(answer.body().into_owned()).unwrap()
    };
    let (mut direct, passed) = (status(&real[0]), status(&ours[0]));
    for (real, ours) in real.iter().zip(&ours) {
        let address = |url: &str| url.replace("http://", "").replace("/solr", "");
        assert!(direct.contains(&address(real)) && !passed.contains(&address(real)));
        direct = direct.replace(&address(real), &address(ours));
    }
    assert_eq!(direct, passed);
}

#[test]
fn an_update_and_its_answer_are_told_of_and_nothing_else_is() {
    let bench = bench();
    let url = &bench.proxy.urls()[1];
    send(url, "GET", STATUS, "");
    send(url, "POST", "/c/update?versions=true", BODY);
    assert_eq!(
        bench.notes.taken(),
        [format!("node 2 /solr/c/update: {BODY}"), "7: 200, handed on: true".into()]
    );
}

/// What a trick does: whether Solr has the document, and what the client and the witness get.
fn played(kind: Kind, begins: &str, solr_has_it: bool, notes: &[&str]) {
    let bench = bench();
    bench.mischief.set(Some(Plan { kind, node: Some(0), chance: 1.0 }));
    let urls = bench.proxy.urls();
    let answer = send(&urls[0], "POST", "/c/update?versions=true", BODY);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match begins {
        "" => assert_eq!(answer, "", "{kind:?}"),
        _ => assert!(answer.starts_with(begins), "{kind:?}: {answer}"),
    }
    assert_eq!(bench.cluster.docs().len(), usize::from(solr_has_it), "{kind:?}");
    let taken = bench.notes.taken();
    assert_eq!(taken.len(), notes.len(), "{kind:?}: {taken:?}");
    for (taken, note) in taken.iter().zip(notes) {
        assert!(taken.starts_with(note), "{kind:?}: {taken:?}");
    }
    // The other node is left alone, and so is this one when it is over.
    bench.mischief.set(Some(Plan { kind, node: Some(1), chance: 1.0 }));
    let well = send(&urls[0], "POST", "/c/update?versions=true", BODY);
    assert!(well.starts_with(b"HTTP/1.1 200"), "{kind:?}");
}

#[test]
fn each_trick_does_what_its_name_says() {
    let sent = "node 1 /solr/c/update: {";
    played(Kind::NetRefuse, "", false, &[]);
    played(Kind::NetCutBefore, "", false, &[]);
    played(Kind::NetCutWithin, "", false, &["node 1", "7: broken"]);
    played(Kind::NetCutAfter, "", true, &[sent, "7: 200, handed on: false"]);
    played(Kind::NetStall, "", true, &[sent, "7: 200, handed on: false"]);
    played(Kind::NetDelay, "HTTP/1.1 200", true, &[sent, "7: 200, handed on: true"]);
    played(Kind::Net429, "HTTP/1.1 429", false, &[]);
    played(Kind::Net500, "HTTP/1.1 500", false, &[]);
    played(Kind::Net503, "HTTP/1.1 503", false, &[]);
    played(Kind::NetLie, "HTTP/1.1 50", true, &[sent, "7: 200, handed on: false"]);
    played(Kind::NetHalf, "H", true, &[sent, "7: 200, handed on: false"]);
}

#[test]
fn garbage_confirms_nothing() {
    let body = r#"{"responseHeader":{"rf":2,"status":0},"adds":["a",5],"deletes":["b",-5]}"#;
    let answer = http("200 OK\r\nContent-Type: application/json", body);
    let answer = Message::answer(&mut &answer[..]).unwrap();
    for dice in 0..12 {
        let garbage = match spoil((Kind::NetGarbage, dice), &answer) {
            Spoilt::Other(bytes) | Spoilt::Part(bytes) => bytes,
            Spoilt::Not | Spoilt::Never => panic!("{dice}: no garbage"),
        };
        assert_ne!(garbage, answer.bytes);
        assert!(!garbage.windows(12).any(|w| w == b"\"adds\":[\"a\",".as_slice()), "{dice}");
    }
}
