//! The wire to Solr: one request, one answer, each within its time. It judges nothing.
//!
//! ureq, told to do only that: no proxy from the environment, no redirect followed (it would drop
//! the body and may come back with a 200), no thread (its own resolver starts one for each request
//! that has a time-out, so names are looked up here), every answer read to its end (or the
//! connection could not be used again).

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector, NextTimeout, TcpConnector};
use ureq::{Agent, Body, RequestBuilder, config::AutoHeaderValue};

use crate::receipt::{Reply, Wait};
use crate::secrets::Credentials;

/// No answer of Solr's is longer, in bytes: not to an update, nor the state of a cluster with ten
/// thousand replicas.
const LONGEST_ANSWER: u64 = 64 << 20;
/// The buffers of a connection, for what is sent and for what comes, in bytes. (Larger ones save
/// some calls for each MiB, and there are two for each leader and thread.)
const OUTPUT: usize = 128 << 10;
const INPUT: usize = 32 << 10;
/// One connection is kept for each of so many hosts.
const HOSTS: usize = 64;
const NAMES_LAST: Duration = Duration::from_secs(60);
const MOST_NAMES: usize = 256;
/// A `Retry-After` longer than this is taken for this.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The reason of a request that a [`Breaker`] has ended.
pub(crate) const GIVEN_UP: &str = "given up, it leads no longer";

/// Connections of one thread.
pub(crate) struct Wire {
    config: ureq::config::Config,
    names: Names,
    credentials: Credentials,
    line: Arc<Mutex<Line>>,
}

/// What a wire and its breakers share.
struct Line {
    agent: Agent,
    under_way: bool,
    /// The agent was shut down: it ends what is under way and takes no further request.
    cut: bool,
    /// There was an answer, once: what is there speaks HTTP.
    answered: bool,
}

/// Ends what is under way on a [`Wire`], from another thread.
#[derive(Clone)]
pub(crate) struct Breaker {
    line: Arc<Mutex<Line>>,
}

impl Breaker {
    /// Ends the request that is under way, at once: it fails with [`GIVEN_UP`]. Only a connection
    /// that is still being made is waited for, at most `solr.connect_timeout`. Where nothing is
    /// under way, nothing happens, and whatever is sent next goes its way.
    pub(crate) fn cut(&self) {
        let mut line = lock(&self.line);
        if line.under_way && !line.cut {
            line.cut = true;
            line.agent.clone().shutdown();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Wire {
    pub(crate) fn new(solr: &config::Solr, credentials: &Credentials) -> Wire {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(solr.timeout))
            .timeout_connect(Some(solr.connect_timeout))
            .output_buffer_size(OUTPUT)
            .input_buffer_size(INPUT)
            .max_idle_connections(HOSTS)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(60))
            .user_agent(AutoHeaderValue::from(concat!("solr-updater/", env!("CARGO_PKG_VERSION"))))
            .build();
        let (names, credentials) = (Names::default(), credentials.clone());
        let agent = agent(&config, &names, &credentials);
        let line =
            Arc::new(Mutex::new(Line { agent, under_way: false, cut: false, answered: false }));
        Wire { config, names, credentials, line }
    }

    /// What another thread ends a request with.
    pub(crate) fn breaker(&self) -> Breaker {
        Breaker { line: Arc::clone(&self.line) }
    }

    /// Looks the URL's host up, so that a post that follows finds it known. No timeout of ours
    /// bounds a name server's: this must not count as waiting for Solr. An error says why there is
    /// no address.
    pub(crate) fn look_up(&self, url: &str) -> Result<(), Wait> {
        let uri: Uri = url.parse().map_err(|e| Wait::standing(format!("{e}")))?;
        self.names.addresses(&uri).map(drop).map_err(|e| self.trouble(&e))
    }

    /// Posts a JSON body. An error says why there was no answer.
    pub(crate) fn post(&self, url: &str, body: &[u8]) -> Result<Reply, Wait> {
        self.send(url, "application/json", body)
    }

    /// Posts a form: a question too long for a URL.
    pub(crate) fn ask(&self, url: &str, form: &[u8]) -> Result<Reply, Wait> {
        self.send(url, "application/x-www-form-urlencoded", form)
    }

    fn send(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Reply, Wait> {
        self.under_way(|agent| {
            let request = agent.post(url).header("Content-Type", content_type);
            self.answer(self.signed(request).send(body))
        })
    }

    /// Gets what is at a URL, in `most` or `solr.timeout` all in all, whatever is less.
    pub(crate) fn get(&self, url: &str, most: Duration) -> Result<Reply, Wait> {
        let most = self.config.timeouts().global.map_or(most, |global| global.min(most));
        self.under_way(|agent| {
            let request = agent.get(url).config().timeout_global(Some(most)).build();
            self.answer(self.signed(request).call())
        })
    }

    /// Carries out one request, which a breaker may end. What it has ended is given up, unless the
    /// answer was here already.
    fn under_way(&self, go: impl FnOnce(&Agent) -> Result<Reply, Wait>) -> Result<Reply, Wait> {
        let agent = {
            let mut line = lock(&self.line);
            line.under_way = true;
            line.agent.clone()
        };
        let reply = go(&agent);
        let mut line = lock(&self.line);
        line.under_way = false;
        line.answered |= reply.is_ok();
        if std::mem::take(&mut line.cut) {
            line.agent = self::agent(&self.config, &self.names, &self.credentials);
            return reply.map_err(|_| Wait::passing(GIVEN_UP));
        }
        reply
    }

    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match self.credentials.header() {
            Some(header) => request.header("Authorization", header),
            None => request,
        }
    }

    /// Reads an answer to its end.
    fn answer(&self, response: Result<Response<Body>, ureq::Error>) -> Result<Reply, Wait> {
        let mut response = response.map_err(|e| {
            let (cut, unsent) = (is_cut(&e), is_unsent(&e));
            Wait { cut, unsent, ..self.trouble(&e) }
        })?;
        let header = |name: &str| {
            Some(response.headers().get(name)?.to_str().ok()?.trim().to_ascii_lowercase())
        };
        let content_type = header("content-type").unwrap_or_default();
        // Its other form, a date, is not worth a calendar: the backoff waits long enough.
        let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
        let status = response.status().as_u16();
        let reader = response.body_mut().with_config().limit(LONGEST_ANSWER);
        let body = reader.read_to_vec().map_err(|e| {
            let reason = self.trouble(&e).reason;
            Wait::passing(format!("the answer (HTTP {status}) broke off: {reason}"))
        })?;
        let retry_after = retry_after.map(|s| Duration::from_secs(s).min(LONGEST_WAIT));
        Ok(Reply { status, content_type, retry_after, body })
    }

    /// What went wrong, in a person's words.
    fn trouble(&self, error: &ureq::Error) -> Wait {
        if let Some(wait) = self.credentials.tls().trouble(error) {
            return wait;
        }
        // What speaks https (Jetty at least) hangs up on whom it hears speak http.
        let perhaps = match error {
            ureq::Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                !lock(&self.line).answered
            }
            e => matches!(e, ureq::Error::Protocol(_)),
        };
        let hint = if perhaps { " (does it speak https? then solr.urls must say so)" } else { "" };
        Wait::passing(format!("{}{hint}", in_words(error)))
    }
}

/// An agent without connections.
fn agent(config: &ureq::config::Config, names: &Names, credentials: &Credentials) -> Agent {
    let connector = TcpConnector::default().chain(credentials.tls().clone());
    Agent::with_parts(config.clone(), connector, names.clone())
}

/// Whether there was nobody to send anything to.
fn is_unsent(error: &ureq::Error) -> bool {
    use ureq::{Error, Timeout};
    match error {
        Error::Io(e) => e.kind() == io::ErrorKind::ConnectionRefused,
        Error::HostNotFound | Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        _ => false,
    }
}

/// Whether the other side hung up while it was being talked to.
fn is_cut(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error, ureq::Error::Io(e) if matches!(e.kind(), ConnectionReset | BrokenPipe))
}

/// What went wrong, in a person's words.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(e) => match e.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".into(),
            io::ErrorKind::ConnectionReset => "connection reset".into(),
            io::ErrorKind::BrokenPipe => "connection closed while sending".into(),
            io::ErrorKind::UnexpectedEof => "connection closed without an answer".into(),
            _ => e.to_string(),
        },
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection in time".into(),
        ureq::Error::Timeout(_) => "no answer in time".into(),
        ureq::Error::HostNotFound => "host not found".into(),
        ureq::Error::Protocol(e) => format!("what came back is no HTTP: {e}"),
        e => e.to_string(),
    }
}

/// Host names and their addresses, looked up in the calling thread and kept for a minute. Where the
/// look-up fails, what was known before serves on: a name server's trouble is not Solr's.
#[derive(Debug, Clone, Default)]
struct Names {
    known: Arc<Mutex<Known>>,
}

/// By host and port: since when, and what.
type Known = HashMap<String, (Instant, Vec<SocketAddr>)>;

impl Names {
    fn addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, ureq::Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(ureq::Error::HostNotFound);
        };
        let host = DefaultResolver::host_and_port(scheme, authority);
        self.look_up(host.ok_or(ureq::Error::HostNotFound)?)
    }

    fn look_up(&self, host: String) -> Result<Vec<SocketAddr>, ureq::Error> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        match known.get(&host) {
            Some((since, addresses)) if since.elapsed() < NAMES_LAST => {
                return Ok(addresses.clone());
            }
            _ => {}
        }
        match host.to_socket_addrs() {
            Ok(found) => {
                let addresses: Vec<SocketAddr> = found.collect();
                if known.len() >= MOST_NAMES {
                    known.clear();
                }
                known.insert(host, (Instant::now(), addresses.clone()));
                Ok(addresses)
            }
            Err(e) => match known.get_mut(&host) {
                Some((since, addresses)) => {
                    *since = Instant::now(); // it is not asked again for each post
                    Ok(addresses.clone())
                }
                None => Err(e.into()),
            },
        }
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        for address in self.addresses(uri)?.into_iter().take(16) {
            addresses.push(address);
        }
        match addresses.is_empty() {
            true => Err(ureq::Error::HostNotFound),
            false => Ok(addresses),
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
