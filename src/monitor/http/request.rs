//! What is asked for over HTTP: the head of a request, read by `httparse`, and judged. There are two
//! methods and a handful of paths; a body is nobody's wish here, and none is ever read.

use std::net::IpAddr;

use httparse::{EMPTY_HEADER, Error, Header, Status};

/// A head has fewer bytes than this: a browser with all its cookies for `localhost` needs half of it.
pub(crate) const LONGEST: usize = 16 * 1024;
/// And so many headers, at most.
const HEADERS: usize = 100;

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    /// The page for a browser.
    Page,
    /// The status document.
    Status,
    /// The deltas settled last.
    History,
    /// OpenMetrics.
    Metrics,
    /// Well or not, by the code of the answer too.
    Health,
}

impl Path {
    fn of(path: &str) -> Option<Path> {
        match path {
            "/" => Some(Path::Page),
            "/status" => Some(Path::Status),
            "/history" => Some(Path::History),
            "/metrics" => Some(Path::Metrics),
            "/healthz" => Some(Path::Health),
            _ => None,
        }
    }
}

/// A request that may be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: Path,
    /// Only the head of the answer is wanted.
    pub(crate) is_head: bool,
    /// The connection may stay.
    pub(crate) keep: bool,
}

/// Why it is not answered: the code, and words for whoever sent it. The connection goes then, since
/// nobody knows where the next request would begin, but for a path that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) words: &'static str,
    pub(crate) is_head: bool,
    pub(crate) keep: bool,
}

fn refused(code: u16, words: &'static str) -> Refusal {
    Refusal { code, words, is_head: false, keep: false }
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The end is not there yet.
    Unfinished,
    /// So many bytes, and what they ask for.
    Whole(usize, Result<Request, Refusal>),
}

/// Reads the head at the beginning of `input`. `only_own_names`: the socket is bound to a loopback
/// address, and who asks must call it so.
pub(crate) fn read(input: &[u8], only_own_names: bool) -> Head {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let too_long = || refused(431, "the request's headers are too long");
    match head.parse(input) {
        Ok(Status::Partial) if input.len() < LONGEST => Head::Unfinished,
        Ok(Status::Partial) => Head::Whole(input.len(), Err(too_long())),
        Ok(Status::Complete(length)) => Head::Whole(length, judge(&head, only_own_names)),
        Err(Error::TooManyHeaders) => Head::Whole(input.len(), Err(too_long())),
        Err(Error::Version) => {
            Head::Whole(input.len(), Err(refused(505, "HTTP/1.1 is spoken here")))
        }
        Err(_) => Head::Whole(input.len(), Err(refused(400, "this is no HTTP request"))),
    }
}

fn judge(head: &httparse::Request<'_, '_>, only_own_names: bool) -> Result<Request, Refusal> {
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(refused(400, "this is no HTTP request"));
    };
    let (authority, path) = split(target).ok_or(refused(400, "the path begins with a slash"))?;
    let host = match (authority, host(head.headers)?) {
        (Some(authority), _) => Some(authority),
        (None, None) if version > 0 => return Err(refused(400, "the request has no Host")),
        (None, host) => host, // without one it is no browser's, which another page could have led here
    };
    if only_own_names && host.is_some_and(|host| !is_own(host)) {
        return Err(refused(
            421,
            "only localhost and loopback addresses are names of this page: come through one of them",
        ));
    }
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => {
            return Err(refused(
                405,
                "GET and HEAD only: nothing is done by HTTP, ask `solr-updater`",
            ));
        }
    };
    let keep = version > 0 && !has_body(head.headers) && !says_close(head.headers);
    match Path::of(path.split(['?', '#']).next().unwrap_or_default()) {
        Some(path) => Ok(Request { path, is_head, keep }),
        None => {
            let words = "there are /, /status, /history, /metrics and /healthz";
            Err(Refusal { code: 404, words, is_head, keep })
        }
    }
}

/// Whose it is, if the target says so (RFC 9112, 3.2.2), and the path.
fn split(target: &str) -> Option<(Option<&str>, &str)> {
    if target.starts_with('/') {
        return Some((None, target));
    }
    let (scheme, rest) = target.split_once("://").filter(|(_, rest)| !rest.is_empty())?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let path = if slash < rest.len() { &rest[slash..] } else { "/" };
    scheme.eq_ignore_ascii_case("http").then_some((Some(&rest[..slash]), path))
}

fn values<'h>(headers: &'h [Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

fn host<'h>(headers: &'h [Header<'h>]) -> Result<Option<&'h str>, Refusal> {
    let mut hosts = values(headers, "Host");
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(refused(400, "the request has more than one Host"));
    }
    let text = first.map(std::str::from_utf8).transpose();
    text.map_err(|_| refused(400, "the request's Host is no name"))
}

fn has_body(headers: &[Header<'_>]) -> bool {
    let is_empty = |length: &[u8]| length.trim_ascii() == b"0";
    values(headers, "Content-Length").any(|length| !is_empty(length))
        || values(headers, "Transfer-Encoding").next().is_some()
}

fn says_close(headers: &[Header<'_>]) -> bool {
    let words = |value: &[u8]| String::from_utf8_lossy(value).to_ascii_lowercase();
    values(headers, "Connection")
        .any(|value| words(value).split(',').any(|word| word.trim() == "close"))
}

/// Whether this is a name of this machine for itself. Any other, in a browser, is one that somebody
/// else's page has made to lead here (DNS rebinding), to read what it must not.
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> Result<Request, Refusal> {
        match read(head.as_bytes(), true) {
            Head::Whole(length, judged) => {
                assert!(length <= head.len());
                judged
            }
            Head::Unfinished => panic!("no end: {head:?}"),
        }
    }

    fn code(head: &str) -> u16 {
        asked(head).expect_err(head).code
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }

    #[test]
    fn each_path_is_known_whatever_stands_behind_it() {
        for (path, known) in [
            ("/", Path::Page),
            ("/?x=1", Path::Page),
            ("/status", Path::Status),
            ("/status?now", Path::Status),
            ("/history", Path::History),
            ("/metrics", Path::Metrics),
            ("/healthz", Path::Health),
            ("http://localhost/healthz", Path::Health),
            ("http://127.0.0.1:9984", Path::Page),
        ] {
            let want = Request { path: known, is_head: false, keep: true };
            assert_eq!(asked(&get(path)), Ok(want), "{path}");
        }
        for path in ["/metrics/", "/Status", "//", "/%2e%2e/", "/../etc/passwd", "/status.json"] {
            let refusal = asked(&get(path)).unwrap_err();
            assert_eq!((refusal.code, refusal.keep), (404, true), "{path}");
        }
        for target in ["*", "status", "https://localhost/", "http://", "localhost:80"] {
            assert_eq!(code(&get(target)), 400, "{target}");
        }
    }

    #[test]
    fn two_methods_are_known_and_a_body_ends_the_connection() {
        let head = asked("HEAD /status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(head.is_head && head.keep);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "BREW"] {
            let request = format!("{method} /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(code(&request), 405, "{method}");
        }
        for (headers, keep) in [
            ("", true),
            ("Content-Length: 0\r\n", true),
            ("Content-Length: 5\r\n", false),
            ("Transfer-Encoding: chunked\r\n", false),
            ("Connection: keep-alive, Close\r\n", false),
            ("Connection: keep-alive\r\n", true),
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
            assert_eq!(asked(&request).unwrap().keep, keep, "{headers}");
        }
        assert!(!asked("GET / HTTP/1.0\r\n\r\n").unwrap().keep);
    }

    #[test]
    fn another_name_for_a_loopback_address_is_refused() {
        for (host, own) in [
            ("localhost", true),
            ("LOCALHOST:9984", true),
            ("localhost.", true),
            ("127.0.0.1:8080", true),
            ("127.1.2.3", true),
            ("[::1]:9984", true),
            ("[::1]", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("[2001:db8::1]", false),
            ("", false),
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(asked(&request).is_ok(), own, "{host}");
            assert!(own || code(&request) == 421);
            assert!(matches!(read(request.as_bytes(), false), Head::Whole(_, Ok(_))), "{host}");
        }
        assert_eq!(code("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n"), 421);
        assert_eq!(code("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(code("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"), 400);
        assert_eq!(code("GET / HTTP/1.1\r\nHost: \u{e4}\u{ff}\r\n\r\n"), 421);
    }

    #[test]
    fn what_is_no_request_is_refused_and_one_too_long_too() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: local", true), Head::Unfinished);
        assert_eq!(read(b"", true), Head::Unfinished);
        assert_eq!(code("GET / HTTP/2.0\r\n\r\n"), 505);
        for junk in
            ["status\n", "\u{16}\u{3}\u{1}", "GET\r\n\r\n", "GET / HTTP/1.1\r\n x: y\r\n\r\n"]
        {
            assert_eq!(code(junk), 400, "{junk:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(LONGEST));
        assert_eq!(code(&long), 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(code(&many), 431);
    }
}
