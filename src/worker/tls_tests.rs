use super::*;
use crate::secrets::Credentials;
use crate::wire::{GIVEN_UP, Wire};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConnection;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use scoreboard::Trouble;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Somebody who signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Somebody who is signed.
struct Signed {
    cert: String,
    key: KeyPair,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

impl Authority {
    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Signed { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key }
    }
}

/// A Solr under TLS that says 200 to all it is sent, and keeps none of it.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    resumed: Arc<AtomicUsize>,
}

fn serve(
    identity: &Signed,
    clients: Option<&Authority>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Server {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes()).map(Result::unwrap);
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let config = Arc::new(builder.with_single_cert(chain.collect(), key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/solr", listener.local_addr().unwrap());
    let server = Server { url, connections: Arc::default(), resumed: Arc::default() };
    let (connections, resumed) = (Arc::clone(&server.connections), Arc::clone(&server.resumed));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            connections.fetch_add(1, SeqCst);
            let (config, resumed) = (Arc::clone(&config), Arc::clone(&resumed));
            std::thread::spawn(move || {
                let socket = socket.unwrap();
                let tls = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(tls, socket);
                let _ = answer(&mut stream, &resumed);
                let _ = stream.flush();
                let _ = stream.sock.shutdown(Shutdown::Both);
            });
        }
    });
    server
}

fn answer(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    resumed: &AtomicUsize,
) -> io::Result<()> {
    let mut first = true;
    loop {
        let (mut length, mut reader) = (0, BufReader::with_capacity(1, &mut *stream));
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        if std::mem::take(&mut first)
            && stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
        {
            resumed.fetch_add(1, SeqCst);
        }
        let body = "x".repeat(100_000);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

/// The files of one configuration.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        Files { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn solr(
        &self,
        url: &str,
        authority: Option<&Authority>,
        client: Option<&Signed>,
    ) -> config::Solr {
        let mut solr = crate::testing::config(&[url]).solr;
        solr.ca_file = authority.map(|a| self.write("ca.pem", &a.pem));
        solr.client_cert = client.map(|client| config::ClientCert {
            cert: self.write("client.pem", &client.cert),
            key: self.write("client-key.pem", client.key.serialize_pem()),
        });
        solr
    }
}

fn wire(solr: &config::Solr) -> Wire {
    Wire::new(solr, &Credentials::read(solr).unwrap())
}

fn post(solr: &config::Solr, bytes: usize) -> Result<usize, Wait> {
    wire(solr).post(&format!("{}/c/update", solr.urls[0]), &vec![b' '; bytes]).map(|r| r.body.len())
}

/// What is said of a server, at an address under which it is known or not.
fn said(solr: &config::Solr) -> String {
    let wait = post(solr, 10).unwrap_err();
    assert_eq!((wait.trouble, wait.cut), (Trouble::Standing, false), "{wait:?}");
    wait.reason
}

#[test]
fn both_sides_know_each_other_by_certificates() {
    let (ours, files) = (authority("ours"), Files::new());
    let identity = ours.sign(&["127.0.0.1"], |_| {});
    let client = ours.sign(&[], |_| {});
    for version in rustls::ALL_VERSIONS {
        let server = serve(&identity, Some(&ours), &[version]);
        let solr = files.solr(&server.url, Some(&ours), Some(&client));
        let wire = wire(&solr);
        let url = format!("{}/c/update", server.url);
        for bytes in [10, 3_000_000, 10] {
            assert_eq!(wire.post(&url, &vec![b' '; bytes]).unwrap().body.len(), 100_000);
        }
        assert_eq!(wire.get(&url, std::time::Duration::from_secs(9)).unwrap().status, 200);
        assert_eq!(server.connections.load(SeqCst), 1, "one connection serves them all");
    }
}

#[test]
fn threads_of_a_worker_resume_each_others_sessions() {
    let (ours, files) = (authority("ours"), Files::new());
    let server = serve(&ours.sign(&["127.0.0.1"], |_| {}), None, rustls::ALL_VERSIONS);
    let solr = files.solr(&server.url, Some(&ours), None);
    let credentials = Credentials::read(&solr).unwrap();
    for _ in 0..3 {
        Wire::new(&solr, &credentials).post(&server.url, b"[]").unwrap();
    }
    assert_eq!((server.connections.load(SeqCst), server.resumed.load(SeqCst)), (3, 2));
}

#[test]
fn a_server_that_is_not_the_one_is_told_in_plain_words() {
    let (ours, theirs, files) = (authority("ours"), authority("theirs"), Files::new());
    let serve = |identity: &Signed| serve(identity, None, rustls::ALL_VERSIONS);
    let known = serve(&ours.sign(&["127.0.0.1"], |_| {}));
    assert_eq!(
        said(&files.solr(&known.url, Some(&theirs), None)),
        "its certificate is not signed by a certificate in solr.ca_file"
    );
    assert_eq!(
        said(&files.solr(&known.url, None, None)),
        "its certificate is not signed by anybody whom this system trusts: set solr.ca_file"
    );
    let other = serve(&ours.sign(&["solr1", "solr2.example.com"], |_| {}));
    assert_eq!(
        said(&files.solr(&other.url, Some(&ours), None)),
        "its certificate is not for 127.0.0.1 but for solr1, solr2.example.com: name a host of \
         those in solr.urls, or give it a certificate for this one"
    );
    let nameless = serve(&ours.sign(&[], |_| {}));
    assert_eq!(
        said(&files.solr(&nameless.url, Some(&ours), None)),
        "its certificate is not for 127.0.0.1, it names no host at all (no subjectAltName): give \
         it one that does"
    );
    let expired = serve(&ours.sign(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }));
    let reason = said(&files.solr(&expired.url, Some(&ours), None));
    assert!(
        reason.starts_with("its certificate expired ") && reason.ends_with(" days ago: renew it"),
        "{reason}"
    );
    let early = serve(&ours.sign(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2400, 1, 1);
        params.not_after = rcgen::date_time_ymd(2401, 1, 1);
    }));
    let reason = said(&files.solr(&early.url, Some(&ours), None));
    assert!(reason.contains("is not valid yet"), "{reason}");
    let authority = serve(&ours.sign(&["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }));
    let reason = said(&files.solr(&authority.url, Some(&ours), None));
    assert!(reason.contains("a CA's own"), "{reason}");
}

#[test]
fn a_self_signed_server_is_known_by_its_own_certificate() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    let identity = Signed { cert: cert.pem(), key };
    let server = serve(&identity, None, rustls::ALL_VERSIONS);
    let mut solr = files.solr(&server.url, None, None);
    solr.ca_file = Some(files.write("both.pem", format!("{}\n{}", authority("x").pem, cert.pem())));
    post(&solr, 10).unwrap();
}

#[test]
fn a_server_that_wants_a_client_certificate_says_so_however_much_is_sent() {
    let (ours, theirs, files) = (authority("ours"), authority("theirs"), Files::new());
    let identity = ours.sign(&["127.0.0.1"], |_| {});
    for version in rustls::ALL_VERSIONS {
        let server = serve(&identity, Some(&ours), &[version]);
        let nobody = files.solr(&server.url, Some(&ours), None);
        let stranger = files.solr(&server.url, Some(&ours), Some(&theirs.sign(&[], |_| {})));
        for bytes in [10, 10_000_000] {
            let wait = post(&nobody, bytes).unwrap_err();
            assert_eq!(wait, Wait::standing("wants a client certificate: set solr.client_cert"));
            let wait = post(&stranger, bytes).unwrap_err();
            assert_eq!(
                (wait.trouble, wait.cut),
                (Trouble::Standing, false),
                "{bytes} {version:?} {wait:?}"
            );
            let words = "does not take the certificate in solr.client_cert";
            assert!(wait.reason.starts_with(words), "{wait:?}");
        }
    }
}

#[test]
fn http_and_https_are_told_from_each_other() {
    let (ours, files) = (authority("ours"), Files::new());
    let plain = fake_solr::FakeSolr::start();
    // As Solr's Jetty and most others do it.
    let page = "HTTP/1.1 400 Illegal character CNTL=0x16\r\nContent-Length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/solr", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        socket.write_all(page.as_bytes()).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    assert_eq!(
        said(&files.solr(&url, Some(&ours), None)),
        "does not speak https: name an http:// address in solr.urls"
    );
    // A node may call itself https where the seeds are http.
    let solr = files.solr(&plain.url, None, None);
    let wait = wire(&solr).post(&plain.url.replace("http", "https"), b"[]").unwrap_err();
    assert_eq!(wait.trouble, Trouble::Standing);
    assert!(wait.reason.contains("no address in solr.urls is"), "{wait:?}");
    // What a TLS server answers to http is an alert of its own.
    let server = serve(&ours.sign(&["127.0.0.1"], |_| {}), None, rustls::ALL_VERSIONS);
    let solr = files.solr(&server.url.replace("https", "http"), None, None);
    let reason = post(&solr, 10).unwrap_err().reason;
    assert!(reason.contains("no HTTP") && reason.contains("speak https?"), "{reason}");
}

#[test]
fn a_handshake_without_end_is_cut_and_takes_no_longer_than_it_may() {
    let (ours, files) = (authority("ours"), Files::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap(); // which never accepts
    let url = format!("https://{}/solr", listener.local_addr().unwrap());
    let mut solr = files.solr(&url, Some(&ours), None);
    solr.connect_timeout = std::time::Duration::from_millis(200);
    assert_eq!(post(&solr, 10).unwrap_err().reason, "no connection in time");
    solr.connect_timeout = std::time::Duration::from_secs(50);
    solr.timeout = solr.connect_timeout;
    let wire = wire(&solr);
    let breaker = wire.breaker();
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        breaker.cut();
    });
    assert_eq!(wire.post(&url, b"[]").unwrap_err().reason, GIVEN_UP);
}

#[test]
fn files_that_will_not_do_are_named_with_the_remedy_and_never_quoted() {
    let (ours, files) = (authority("ours"), Files::new());
    let client = ours.sign(&[], |_| {});
    let good = || files.solr("https://localhost/solr", Some(&ours), Some(&client));
    let refused = |solr: config::Solr| Credentials::read(&solr).unwrap_err();
    assert!(Credentials::read(&good()).is_ok());

    type Change = fn(&mut config::Solr, std::path::PathBuf);
    let change: [(&str, Change); 3] = [
        ("solr.ca_file", |solr, path| solr.ca_file = Some(path)),
        ("solr.client_cert.cert", |solr, path| solr.client_cert.as_mut().unwrap().cert = path),
        ("solr.client_cert.key", |solr, path| solr.client_cert.as_mut().unwrap().key = path),
    ];
    let key = client.key.serialize_pem();
    let half = format!("{}\n", key.lines().take(2).collect::<Vec<_>>().join("\n"));
    for (name, set) in change {
        let begins = if name.ends_with("key") { "PRIVATE KEY" } else { "CERTIFICATE" };
        let cases: [(&str, Option<String>, &str); 4] = [
            ("missing", None, "No such file or directory (os error 2): give the user"),
            ("prose", Some("see the wiki\n".into()), "need PEM, which begins with -----BEGIN "),
            (
                "half",
                Some(half.replace("PRIVATE KEY", begins)),
                "is no PEM: a section in it has no end",
            ),
            ("long", Some("x".repeat(LONGEST + 1)), "is longer than 1024 KiB"),
        ];
        for (file, text, words) in cases {
            let mut solr = good();
            let path = text.map_or(files.dir.path().join(file), |text| files.write(file, text));
            set(&mut solr, path.clone());
            let told = refused(solr);
            assert!(told.starts_with(&format!("{name}: {}: ", path.display())), "{told}");
            assert!(told.contains(words), "{told}");
            assert!(
                !told.contains("wiki") && !told.contains(half.lines().nth(1).unwrap()),
                "{told}"
            );
        }
        let mut solr = good();
        set(&mut solr, files.dir.path().into());
        assert!(refused(solr).ends_with("is a folder: name the file in it"));
    }

    let mut solr = good();
    let other = files.write("other", ours.sign(&[], |_| {}).key.serialize_pem());
    solr.client_cert.as_mut().unwrap().key = other;
    let cert = solr.client_cert.as_ref().unwrap().cert.display().to_string();
    assert!(refused(solr).ends_with(&format!("is not the key of the certificate in {cert}")));

    for locked in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let mut solr = good();
        solr.client_cert.as_mut().unwrap().key = files.write("locked", locked);
        assert!(refused(solr).contains("is locked with a passphrase"));
    }

    let nonsense = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let mut solr = good();
    solr.ca_file = Some(files.write("nonsense", nonsense));
    assert!(refused(solr).ends_with("the certificate in it is none that can be read"));
    let mut solr = good();
    solr.client_cert.as_mut().unwrap().cert = files.write("nonsense", nonsense);
    assert!(refused(solr).ends_with("the certificate in it is none that can be read"));
    let mut solr = good();
    let nonsense = nonsense.replace("CERTIFICATE", "PRIVATE KEY");
    solr.client_cert.as_mut().unwrap().key = files.write("nonsense", nonsense);
    assert!(refused(solr).contains("no key that can be used: need RSA"));
}

#[test]
fn a_key_is_taken_as_openssl_once_wrote_it() {
    let (ours, files) = (authority("ours"), Files::new());
    let server = serve(&ours.sign(&["127.0.0.1"], |_| {}), Some(&ours), rustls::ALL_VERSIONS);
    let client = ours.sign(&[], |_| {});
    let solr = files.solr(&server.url, Some(&ours), Some(&client));
    // A P-256 key in PKCS #8 holds the same in SEC 1 (RFC 5915): a sequence that begins so.
    let der = client.key.serialize_der();
    let inner = memchr::memmem::find(&der, &[0x30, 0x6b, 0x02, 0x01, 0x01]).unwrap();
    let text = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        &der[inner..inner + 2 + 0x6b],
    );
    let text = format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n");
    // What may stand before it: the parameters.
    let before = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    files.write("client-key.pem", format!("{before}{text}"));
    post(&solr, 10).unwrap();
}

#[test]
fn nothing_is_read_where_nothing_is_https() {
    let mut solr = crate::testing::config(&["http://localhost/solr"]).solr;
    solr.ca_file = Some("/nowhere".into()); // the configuration refuses it
    assert!(Credentials::read(&solr).is_ok());
    let shown = format!("{:?}", Credentials::read(&solr).unwrap());
    assert_eq!(shown, "Credentials(…)");
}
