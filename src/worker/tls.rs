//! TLS: who the server must be, and who we are to it. rustls on ring does the work; what is here is
//! the files that an operator names, the thin piece between rustls and ureq, and plain words for
//! what goes wrong.
//!
//! The piece is ours, not ureq's, for three reasons: all threads of a worker share one `rustls`
//! configuration, so that roots are read once and a new connection resumes a known session; a
//! certificate that is wrong is told at the start, where ureq would panic at the first request; and
//! an alert is read even when the server has hung up on what was being sent, or nobody would hear
//! that it wants a certificate.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, InconsistentKeys,
    RootCertStore, StreamOwned,
};
use ureq::Error;
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::receipt::Wait;
use crate::secrets::{read_file, wrong};

/// No file of certificates or with a key is longer, in bytes; Debian's bundle is a quarter of it.
const LONGEST: usize = 1 << 20;

/// What https needs; nothing of it where no address in `solr.urls` begins with https. It shows
/// itself to nobody, and a copy of it is the same.
#[derive(Clone, Default)]
pub(crate) struct Tls(Option<Known>);

#[derive(Clone)]
struct Known {
    client: Arc<ClientConfig>,
    has_ca_file: bool,
    has_client_cert: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// What the configuration asks for, read from its files; else one line that names the file and
    /// what to do.
    pub(crate) fn read(solr: &config::Solr) -> Result<Tls, String> {
        if !solr.urls.iter().any(|url| url.starts_with("https://")) {
            return Ok(Tls::default());
        }
        let roots = match &solr.ca_file {
            Some(path) => roots_in(path)?,
            None => roots_of_the_system()?,
        };
        let provider = Arc::new(ring::default_provider());
        let client = with_roots(roots, &provider).map_err(|e| format!("no TLS: {e}"))?;
        let client = match &solr.client_cert {
            Some(files) => {
                let (chain, key) = (chain_in(&files.cert)?, key_in(&files.key)?);
                client.with_client_auth_cert(chain, key).map_err(|e| unfit(&e, files))?
            }
            None => client.with_no_client_auth(),
        };
        Ok(Tls(Some(Known {
            client: Arc::new(client),
            has_ca_file: solr.ca_file.is_some(),
            has_client_cert: solr.client_cert.is_some(),
        })))
    }

    /// Why a request failed, if TLS is why.
    pub(crate) fn trouble(&self, error: &Error) -> Option<Wait> {
        match error {
            Error::Io(e) => {
                let error = e.get_ref()?.downcast_ref::<rustls::Error>()?;
                Some(self.0.as_ref()?.in_words(error))
            }
            Error::TlsRequired => Some(Wait::standing(
                "https, but no address in solr.urls is: name one there, so that certificates are read",
            )),
            _ => None,
        }
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn with_roots(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Builder, Box<dyn std::error::Error>> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier.build()?);
    Ok(client)
}

// --- the files ----------------------------------------------------------------------------------

fn roots_in(path: &Path) -> Result<RootCertStore, String> {
    let key = "solr.ca_file";
    let mut roots = RootCertStore::empty();
    // One that rustls cannot read does no harm beside others: a bundle of a system may hold it.
    match roots.add_parsable_certificates(certificates(key, path)?) {
        (0, _) => Err(wrong(key, path, "the certificate in it is none that can be read")),
        _ => Ok(roots),
    }
}

/// Where OpenSSL would look: `SSL_CERT_FILE` and `SSL_CERT_DIR`, or the places that the
/// distributions have for it, Debian's `/etc/ssl/certs` among them.
fn roots_of_the_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => Err("this system trusts no certificate: install ca-certificates, or set \
                       solr.ca_file"
            .into()),
        _ => Ok(roots),
    }
}

fn chain_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates("solr.client_cert.cert", path)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_file(key, path, LONGEST)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(
            key,
            path,
            "no certificate in it: need PEM, which begins with -----BEGIN CERTIFICATE-----",
        )),
        Ok(found) => Ok(found),
        Err(e) => Err(wrong(key, path, &format!("is no PEM: {}", flaw(&e)))),
    }
}

fn key_in(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let key = "solr.client_cert.key";
    let text = read_file(key, path, LONGEST)?;
    let has = |words: &str| memchr::memmem::find(&text, words.as_bytes()).is_some();
    // PKCS #8 (RFC 7468), and what OpenSSL once wrote (RFC 1421)
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        let remedy = "is locked with a passphrase, and nobody is here to type it: unlock it with \
                      openssl pkey -in LOCKED -out UNLOCKED";
        return Err(wrong(key, path, remedy));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        pem::Error::NoItemsFound => wrong(
            key,
            path,
            "no private key in it: need PEM, which begins with -----BEGIN PRIVATE KEY-----",
        ),
        e => wrong(key, path, &format!("is no PEM: {}", flaw(&e))),
    })
}

/// What is wrong with a PEM file, without a word of what is in it.
fn flaw(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section in it has no end",
        pem::Error::IllegalSectionStart { .. } => "a section in it begins wrongly",
        pem::Error::Base64Decode(_) => "a section in it is not Base64",
        _ => "it cannot be read",
    }
}

fn unfit(error: &rustls::Error, files: &config::ClientCert) -> String {
    let key = "solr.client_cert.key";
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(
            key,
            &files.key,
            &format!("is not the key of the certificate in {}", files.cert.display()),
        ),
        rustls::Error::InvalidCertificate(_) => wrong(
            "solr.client_cert.cert",
            &files.cert,
            "the certificate in it is none that can be read",
        ),
        _ => wrong(
            key,
            &files.key,
            "no key that can be used: need RSA, ECDSA P-256 or P-384, or Ed25519",
        ),
    }
}

// --- what goes wrong ----------------------------------------------------------------------------

impl Known {
    /// What goes wrong, in an operator's words. None of it passes by itself but what the server
    /// calls its own trouble.
    fn in_words(&self, error: &rustls::Error) -> Wait {
        match error {
            rustls::Error::InvalidCertificate(error) => Wait::standing(self.not_the_server(error)),
            rustls::Error::AlertReceived(alert) => self.refused(*alert),
            rustls::Error::InvalidMessage(_) => {
                Wait::standing("does not speak https: name an http:// address in solr.urls")
            }
            rustls::Error::PeerIncompatible(why) => Wait::standing(format!(
                "no TLS that both sides speak ({why:?}): let it speak TLS 1.2 or 1.3"
            )),
            e => Wait::passing(format!("TLS failed: {e}")),
        }
    }

    fn not_the_server(&self, error: &CertificateError) -> String {
        use CertificateError::{
            Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName,
            NotValidForNameContext, NotValidYet, NotValidYetContext, UnknownIssuer,
        };
        let remedy = "name a host of those in solr.urls, or give it a certificate for this one";
        match error {
            UnknownIssuer if self.has_ca_file => {
                "its certificate is not signed by a certificate in solr.ca_file".into()
            }
            UnknownIssuer => "its certificate is not signed by anybody whom this system trusts: \
                              set solr.ca_file"
                .into(),
            NotValidForNameContext { expected, presented } if !presented.is_empty() => format!(
                "its certificate is not for {} but for {}: {remedy}",
                expected.to_str(),
                presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
            ),
            NotValidForNameContext { expected, .. } => format!(
                "its certificate is not for {}, it names no host at all (no subjectAltName): give \
                 it one that does",
                expected.to_str()
            ),
            NotValidForName => format!("its certificate is for another host: {remedy}"),
            ExpiredContext { time, not_after } => {
                let days = time.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
                format!("its certificate expired {days} days ago: renew it")
            }
            Expired => "its certificate has expired: renew it".into(),
            NotValidYet | NotValidYetContext { .. } => {
                "its certificate is not valid yet: look at the clocks here and there".into()
            }
            InvalidPurpose | InvalidPurposeContext { .. } => {
                "its certificate is not meant for a server (extendedKeyUsage)".into()
            }
            // webpki's own, which rustls passes on without a name
            CertificateError::Other(e) if e.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is a CA's own (basicConstraints CA:TRUE): give it one that is \
                 signed by that CA"
                    .into()
            }
            e => format!("its certificate is not good: {e}"),
        }
    }

    /// The server did not like something: an alert about certificates is about ours.
    fn refused(&self, alert: AlertDescription) -> Wait {
        use AlertDescription::{
            AccessDenied, BadCertificate, CertificateExpired, CertificateRequired,
            CertificateRevoked, CertificateUnknown, DecryptError, HandshakeFailure, InternalError,
            ProtocolVersion, UnknownCA, UnrecognisedName, UnsupportedCertificate,
        };
        match alert {
            BadCertificate | CertificateRequired | CertificateUnknown | UnknownCA
            | AccessDenied
                if !self.has_client_cert =>
            {
                Wait::standing("wants a client certificate: set solr.client_cert")
            }
            BadCertificate
            | CertificateRequired
            | CertificateUnknown
            | UnknownCA
            | AccessDenied
            | CertificateExpired
            | CertificateRevoked
            | UnsupportedCertificate
            | DecryptError => Wait::standing(format!(
                "does not take the certificate in solr.client_cert ({alert:?}): need one that is \
                 signed by somebody whom Solr trusts"
            )),
            HandshakeFailure if !self.has_client_cert => Wait::standing(
                "refuses the TLS handshake (HandshakeFailure): it may want a client certificate, \
                 solr.client_cert",
            ),
            HandshakeFailure | ProtocolVersion => Wait::standing(format!(
                "refuses the TLS handshake ({alert:?}): let it speak TLS 1.2 or 1.3"
            )),
            UnrecognisedName => Wait::standing(
                "does not know the host by this name: name it as its certificate does",
            ),
            InternalError => Wait::passing("has trouble with TLS of its own (InternalError)"),
            alert => Wait::passing(format!("ended the TLS connection ({alert:?})")),
        }
    }
}

/// `DnsName("localhost")`, as webpki writes it, without what is around it.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner.trim_end_matches(')'));
    inner.trim_matches('"')
}

// --- the piece between ureq and rustls ----------------------------------------------------------

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, Secured>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let (transport, known) = match (chained, &self.0) {
            (None, _) => return Ok(None),
            (Some(transport), Some(known)) if details.needs_tls() => (transport, known),
            (Some(transport), _) => return Ok(Some(Either::A(transport))), // ureq: TlsRequired
        };
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&known.client), name)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let clock = Arc::clone(&details.current_time);
        let socket = TransportAdapter::new(transport.boxed(), clock);
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        let mut secured = Secured { buffers, stream: StreamOwned::new(tls, socket) };
        secured.shake_hands(left(details))?;
        Ok(Some(Either::B(secured)))
    }
}

/// What the connection has left of its time.
fn left(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (Duration::Exact(most), Instant::Exact(begin)) = (timeout.after, details.now) {
        timeout.after = Duration::Exact(most.saturating_sub(begin.elapsed()));
    }
    timeout
}

/// A connection under TLS.
pub(crate) struct Secured {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secured(…)")
    }
}

impl Secured {
    fn shake_hands(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        match self.stream.conn.complete_io(&mut self.stream.sock) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.last_word(e).into()),
        }
    }

    /// A server that hangs up has often said why: the alert may wait here unread.
    fn last_word(&mut self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        if !matches!(error.kind(), BrokenPipe | ConnectionReset) {
            return error;
        }
        let (tls, socket) = (&mut self.stream.conn, &mut self.stream.sock);
        while matches!(tls.read_tls(socket), Ok(1..)) {
            if let Err(e) = tls.process_new_packets() {
                return io::Error::new(io::ErrorKind::InvalidData, e);
            }
        }
        error
    }
}

impl Transport for Secured {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let sent = io::Write::write_all(&mut self.stream, &self.buffers.output()[..amount]);
        sent.map_err(|e| self.last_word(e).into())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let read = io::Read::read(&mut self.stream, self.buffers.input_append_buf());
        let amount = read.map_err(|e| self.last_word(e))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
