//! The wire to Solr: one request, one answer, each within its time. It judges nothing.
//!
//! ureq, told to do only that: no proxy from the environment, no redirect followed (it would drop
//! the body and may come back with a 200), no thread (its own resolver starts one for each request
//! that has a time-out, so names are looked up here), every answer read to its end (or the
//! connection could not be used again).

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, config::AutoHeaderValue};

use crate::receipt::{Reply, Wait};
use crate::secrets::Authorization;

/// No answer of Solr's to an update is longer, in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;
/// Sent in one write each, if it is not longer.
const OUTPUT: usize = 1 << 20;
const NAMES_LAST: Duration = Duration::from_secs(60);
const MOST_NAMES: usize = 256;
/// A `Retry-After` longer than this is taken for this.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Connections of one thread.
pub(crate) struct Wire {
    agent: Breaker,
    names: Names,
    authorization: Option<Authorization>,
}

impl Wire {
    pub(crate) fn new(solr: &config::Solr, authorization: Option<Authorization>) -> Wire {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(solr.timeout))
            .timeout_connect(Some(solr.connect_timeout))
            .output_buffer_size(OUTPUT)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(60))
            .user_agent(AutoHeaderValue::from(concat!("solr-updater/", env!("CARGO_PKG_VERSION"))))
            .build();
        let names = Names::default();
        let agent = Agent::with_parts(config, DefaultConnector::default(), names.clone());
        Wire { agent: Breaker(Arc::new(Mutex::new(agent))), names, authorization }
    }

    /// Ends requests from another thread.
    pub(crate) fn breaker(&self) -> Breaker {
        self.agent.clone()
    }

    /// Gets what is there, in so much time at most.
    pub(crate) fn get(&self, url: &str, most: Duration) -> Result<Reply, Wait> {
        let agent = self.agent.agent();
        let mut request = agent.get(url).config().timeout_global(Some(most)).build();
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.header());
        }
        let response = request.call().map_err(|e| Wait::passing(in_words(&e)))?;
        read(response)
    }

    /// Looks the URL's host up, so that a post that follows finds it known. No timeout of ours
    /// bounds a name server's: this must not count as waiting for Solr. An error says why there is
    /// no address.
    pub(crate) fn look_up(&self, url: &str) -> Result<(), Wait> {
        let uri: Uri = url.parse().map_err(|e| Wait::standing(format!("{e}")))?;
        self.names.addresses(&uri).map(drop).map_err(|e| Wait::passing(in_words(&e)))
    }

    /// Posts a JSON body. An error says why there was no answer.
    pub(crate) fn post(&self, url: &str, body: &[u8]) -> Result<Reply, Wait> {
        let mut request = self.agent.agent().post(url).header("Content-Type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.header());
        }
        let response = request
            .send(body)
            .map_err(|e| Wait { cut: is_cut(&e), ..Wait::passing(in_words(&e)) })?;
        read(response)
    }
}

#[derive(Clone)]
pub(crate) struct Breaker(Arc<Mutex<Agent>>);

impl Breaker {
    fn agent(&self) -> Agent {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub(crate) fn cut(&self) {}
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Reply, Wait> {
    let header =
        |name: &str| Some(response.headers().get(name)?.to_str().ok()?.trim().to_ascii_lowercase());
    let content_type = header("content-type").unwrap_or_default();
    // Its other form, a date, is not worth a calendar: the backoff waits long enough.
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    let status = response.status().as_u16();
    let reader = response.body_mut().with_config().limit(LONGEST_ANSWER);
    let body = reader.read_to_vec().map_err(|e| {
        Wait::passing(format!("the answer (HTTP {status}) broke off: {}", in_words(&e)))
    })?;
    let retry_after = retry_after.map(|s| Duration::from_secs(s).min(LONGEST_WAIT));
    Ok(Reply { status, content_type, retry_after, body })
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
