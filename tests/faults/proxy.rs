//! The fault proxy: stands before each Solr node, and passes everything on byte for byte, but for
//! the nodes' addresses in CLUSTERSTATUS's answer, which become its own: else the daemon would find
//! its way around it. And it makes the faults that it is told to make ([`Mischief`]).
//!
//! A thread for each connection, and one connection to Solr for each of them. What was passed on,
//! and what came back, a [`Witness`] is told.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use crate::http::Message;
use crate::kind::Kind;
use crate::mischief::{Mischief, Trick};

/// Longer than the daemon waits for an answer in a campaign.
const LONGER: Duration = Duration::from_secs(17);

/// Who is told what went to Solr.
pub trait Witness: Send + Sync {
    /// This update goes to Solr now. Answers its number.
    fn passed_on(&self, to: &str, body: &[u8]) -> usize;
    /// Solr has answered it; `handed_on`: and its answer goes to the daemon as it is.
    fn answered(&self, number: usize, status: u16, body: &[u8], handed_on: bool);
    /// There will be no answer to it.
    fn broken(&self, number: usize);
}

/// The proxy of one cluster.
pub struct Proxy {
    nodes: Vec<Node>,
}

/// A node, and where the proxy stands before it.
#[derive(Debug, Clone, Copy)]
struct Node {
    real: SocketAddr,
    ours: SocketAddr,
}

/// What all connections share.
struct Office {
    nodes: Vec<Node>,
    mischief: Arc<Mischief>,
    witness: Arc<dyn Witness>,
}

impl Proxy {
    /// Takes its stand before the nodes with these URLs. It stays as long as this process.
    pub fn before(urls: &[String], mischief: Arc<Mischief>, witness: Arc<dyn Witness>) -> Proxy {
        let address = |url: &String| -> SocketAddr {
            let rest = url.strip_prefix("http://").expect("the cluster speaks http");
            rest.trim_end_matches("/solr").parse().expect("an address")
        };
        let listeners: Vec<TcpListener> =
            urls.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let nodes: Vec<Node> = urls
            .iter()
            .zip(&listeners)
            .map(|(url, l)| Node { real: address(url), ours: l.local_addr().unwrap() })
            .collect();
        let office = Arc::new(Office { nodes: nodes.clone(), mischief, witness });
        for (node, listener) in listeners.into_iter().enumerate() {
            let office = Arc::clone(&office);
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let office = Arc::clone(&office);
                    std::thread::spawn(move || office.serve(node, &client));
                }
            });
        }
        Proxy { nodes }
    }

    /// Where the daemon finds it, a URL for each node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}/solr", node.ours)).collect()
    }
}

/// A connection to Solr.
struct Upstream {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Upstream {
    fn open(to: SocketAddr) -> io::Result<Upstream> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Upstream { reader: BufReader::new(stream.try_clone()?), stream })
    }
}

fn cut(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, why.to_owned())
}

impl Office {
    /// A connection's whole life. However it ends, the client sees its connection break.
    fn serve(&self, node: usize, client: &TcpStream) {
        let upstream = match self.mischief.refuses(node) {
            true => Err(cut("refused")),
            false => Upstream::open(self.nodes[node].real),
        };
        let served = upstream.and_then(|upstream| self.pass_on_all(node, client, upstream));
        if served.is_err() {
            // A reset, not an end: as from a machine that is gone.
            let _ = setsockopt(client, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
        }
    }

    fn pass_on_all(
        &self,
        node: usize,
        client: &TcpStream,
        mut upstream: Upstream,
    ) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client.try_clone()?);
        while let Some(request) = Message::request(&mut reader)? {
            let trick = self.mischief.decide(node);
            self.pass_on(node, client, &mut upstream, &request, trick)?;
        }
        let _ = upstream.stream.shutdown(Shutdown::Both);
        Ok(())
    }

    /// One request, and what it meets.
    fn pass_on(
        &self,
        node: usize,
        client: &TcpStream,
        upstream: &mut Upstream,
        request: &Message,
        trick: Option<Trick>,
    ) -> io::Result<()> {
        if let Some(spoilt) = trick.and_then(without_solr) {
            return hand_on(client, spoilt, &[]);
        }
        let whole = &request.bytes[..];
        let sent = match trick {
            Some((Kind::NetDelay, dice)) => later(Duration::ZERO, dice, whole),
            Some((Kind::NetLate, dice)) => later(LONGER, dice, whole),
            Some((Kind::NetCutWithin, dice)) => &whole[..1 + dice as usize % whole.len()],
            _ => whole,
        };
        let number = self.tell(node, request, sent);
        upstream.stream.write_all(sent).inspect_err(|_| self.broken(number))?;
        if sent.len() < whole.len() {
            self.broken(number);
            let _ = upstream.stream.shutdown(Shutdown::Both);
            return Err(cut("cut within"));
        }
        let answer = Message::answer(&mut upstream.reader).inspect_err(|_| self.broken(number))?;
        let answer = self.rewritten(request, answer);
        let spoilt = trick.map_or(Spoilt::Not, |trick| spoil(trick, &answer));
        if let Some(number) = number {
            let handed_on = matches!(spoilt, Spoilt::Not);
            self.witness.answered(number, answer.status(), &answer.body(), handed_on);
        }
        hand_on(client, spoilt, &answer.bytes)
    }

    /// Tells the witness of an update, or of the part of it that Solr gets.
    fn tell(&self, node: usize, request: &Message, sent: &[u8]) -> Option<usize> {
        let (method, path) = request.first_line().split_once(' ')?;
        let path = path.split('?').next()?;
        if method != "POST" || !path.ends_with("/update") {
            return None;
        }
        let body = request.body();
        let missing = (request.bytes.len() - sent.len()).min(body.len());
        let to = format!("node {} {path}", node + 1);
        Some(self.witness.passed_on(&to, &body[..body.len() - missing]))
    }

    fn broken(&self, number: Option<usize>) {
        number.into_iter().for_each(|number| self.witness.broken(number));
    }

    /// In an answer to CLUSTERSTATUS, our addresses instead of the nodes'.
    fn rewritten(&self, request: &Message, answer: Message) -> Message {
        if !request.first_line().contains("action=CLUSTERSTATUS") {
            return answer;
        }
        let Ok(mut body) = String::from_utf8(answer.body().into_owned()) else { return answer };
        for node in &self.nodes {
            // With what stands behind an address, or a longer port would be taken for it.
            for behind in ["_", "/"] {
                let (real, ours) =
                    (format!("{}{behind}", node.real), format!("{}{behind}", node.ours));
                body = body.replace(&real, &ours);
            }
        }
        answer.with_body(body.as_bytes())
    }
}

/// What the client gets in the place of an answer.
enum Spoilt {
    /// The answer.
    Not,
    Other(Vec<u8>),
    /// This, and then the connection breaks.
    Part(Vec<u8>),
    Never,
}

/// Gives the client what it gets.
fn hand_on(mut client: &TcpStream, spoilt: Spoilt, answer: &[u8]) -> io::Result<()> {
    match spoilt {
        Spoilt::Not => client.write_all(answer),
        Spoilt::Other(bytes) => client.write_all(&bytes),
        Spoilt::Part(bytes) => {
            client.write_all(&bytes)?;
            Err(cut("half an answer"))
        }
        Spoilt::Never => {
            // Until the client has had enough.
            client.set_read_timeout(Some(LONGER * 2))?;
            let _ = client.read(&mut [0]);
            Err(cut("no answer"))
        }
    }
}

fn later(least: Duration, dice: u64, request: &[u8]) -> &[u8] {
    std::thread::sleep(least + Duration::from_millis(dice % 3_000));
    request
}

/// What is answered to a request that Solr never gets.
fn without_solr((kind, dice): Trick) -> Option<Spoilt> {
    match kind {
        Kind::NetRefuse | Kind::NetCutBefore => Some(Spoilt::Part(Vec::new())),
        Kind::Net429 => Some(Spoilt::Other(refusal(429, dice))),
        Kind::Net500 => Some(Spoilt::Other(refusal(500, dice))),
        Kind::Net503 => Some(Spoilt::Other(refusal(503, dice))),
        // Every other time; else Solr has it.
        Kind::NetGarbage if dice % 2 == 0 => Some(garbage(dice / 2, NOTHING)),
        _ => None,
    }
}

/// What is answered to one that Solr has answered.
fn spoil((kind, dice): Trick, answer: &Message) -> Spoilt {
    let all = &answer.bytes;
    match kind {
        Kind::NetCutAfter => Spoilt::Part(Vec::new()),
        Kind::NetStall => Spoilt::Never,
        Kind::NetLie => Spoilt::Other(refusal([500, 502, 503, 504][dice as usize % 4], dice / 4)),
        Kind::NetHalf => Spoilt::Part(all[..1 + dice as usize % (all.len() - 1)].to_vec()),
        Kind::NetGarbage => garbage(dice / 2, &String::from_utf8_lossy(&answer.body())),
        _ => Spoilt::Not,
    }
}

/// An error as Solr has it, or as what stands before it.
fn refusal(status: u16, dice: u64) -> Vec<u8> {
    let retry = if dice % 3 == 0 && status != 500 { "Retry-After: 1\r\n" } else { "" };
    let (kind, body) = match (dice / 3) % 2 {
        0 => ("text/html", format!("<html><h1>{status}: the proxy says so</h1></html>")),
        _ => (
            "application/json;charset=utf-8",
            format!(
                r#"{{"responseHeader":{{"status":{status},"QTime":1}},"error":{{"msg":"the proxy says so","code":{status}}}}}"#
            ),
        ),
    };
    http(&format!("{status} X\r\n{retry}Content-Type: {kind}"), &body)
}

fn http(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An answer that confirms nothing.
const NOTHING: &str = r#"{"responseHeader":{"rf":2,"status":0,"QTime":1}}"#;

/// Anything but the answer with this body, after which the connection may go on.
fn garbage(dice: u64, body: &str) -> Spoilt {
    const JSON: &str = "200 OK\r\nContent-Type: application/json;charset=utf-8";
    match dice % 6 {
        0 => Spoilt::Part(dice.to_le_bytes().repeat(20)),
        1 => {
            Spoilt::Other(http("200 OK\r\nContent-Type: text/html", "<html>Please log in.</html>"))
        }
        2 => Spoilt::Other(http(JSON, r#"{"responseHeader":{"status":0,"QTime":1}}"#)),
        3 => Spoilt::Other(http(JSON, "{\"responseHeader\":{\"rf\":2,\"sta\u{0}tus")),
        4 => Spoilt::Other(http("400 X\r\nContent-Type: text/html", "<html>Bad Request</html>")),
        _ => {
            // A receipt that lacks something.
            let body = body.replacen("\"adds\":[", "\"adds\":[\"nobody\",1,", 1);
            Spoilt::Other(http(JSON, &body.replacen("\"deletes\"", "\"others\"", 1)))
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
