//! What is answered over HTTP: a head that promises little, and a body that may be shared with others.

use std::fmt::Write;
use std::rc::Rc;

use super::request::{Path, Refusal};

/// The page for a browser, whole: it asks for nothing but what this server has.
pub(crate) const PAGE: &str = include_str!("../page.html");
/// What alone may run in it and dress it: the one script and the one style that stand in it, known by
/// their SHA-256. A test tells the right ones when the page changes.
const SCRIPT: &str = "sha256-f2nduhpbStx8OLw6anNn7rj/8bwg+U+2PSAGIwvQz5I=";
const STYLE: &str = "sha256-bYNT088HCUVtXB84KMPOxqO78xgMby8sItBqiJuupH0=";

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    kind: &'static str,
    pub(crate) body: Rc<str>,
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Answer {
    /// What is found under a path.
    pub(crate) fn to(path: Path, code: u16, body: Rc<str>) -> Answer {
        let kind = match path {
            Path::Page => "text/html; charset=utf-8",
            Path::Status | Path::History => "application/json",
            Path::Metrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Path::Health => TEXT,
        };
        Answer { code, kind, body }
    }

    /// Why there is nothing.
    pub(crate) fn refusal(refusal: &Refusal) -> Answer {
        let body = format!("{} {}: {}\n", refusal.code, reason(refusal.code), refusal.words);
        Answer { code: refusal.code, kind: TEXT, body: body.into() }
    }

    /// The head. Nothing is kept by a browser, read by another's page or shown in one; and of what stands
    /// in the page itself nothing runs but its own script.
    pub(crate) fn head(&self, keep: bool) -> String {
        let (code, kind, length) = (self.code, self.kind, self.body.len());
        let mut head = format!(
            "HTTP/1.1 {code} {}\r\n\
             Content-Type: {kind}\r\n\
             Content-Length: {length}\r\n\
             Cache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n\
             X-Frame-Options: DENY\r\n\
             Referrer-Policy: no-referrer\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n",
            reason(code)
        );
        let _ = match kind.starts_with("text/html") {
            true => write!(
                head,
                "Content-Security-Policy: default-src 'none'; script-src '{SCRIPT}'; style-src '{STYLE}'; \
                 connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'\r\n"
            ),
            false => write!(
                head,
                "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
            ),
        };
        if code == 405 {
            head.push_str("Allow: GET, HEAD\r\n");
        }
        if !keep {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// RFC 9110, 15.
fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    /// What stands between two tags, and the name that a policy has for it.
    fn hash(tag: &str) -> String {
        let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!((PAGE.matches(&begin).count(), PAGE.matches(&end).count()), (1, 1), "{tag}");
        let from = PAGE.find(&begin).expect("it begins") + begin.len();
        let text = &PAGE[from..PAGE.find(&end).expect("it ends")];
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(hash))
    }

    #[test]
    fn the_policy_lets_the_pages_own_script_and_style_through() {
        assert_eq!((hash("script"), hash("style")), (SCRIPT.into(), STYLE.into()));
        let head = Answer::to(Path::Page, 200, PAGE.into()).head(true);
        assert!(
            head.contains("default-src 'none'; script-src 'sha256-") && !head.contains("inline")
        );
    }

    #[test]
    fn the_page_is_whole_and_makes_no_html_of_words() {
        // The one address in it is SVG's name.
        assert_eq!(PAGE.matches("://").count(), PAGE.matches("http://www.w3.org/2000/svg").count());
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "@import",
            "url(",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }

    #[test]
    fn a_head_says_what_comes_and_keeps_others_out() {
        let answer = Answer::to(Path::Metrics, 200, "# EOF\n".into());
        let head = answer.head(true);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"));
        for words in ["Content-Length: 6\r\n", "nosniff", "no-store", "same-origin", "'none'"] {
            assert!(head.contains(words), "{words}: {head}");
        }
        assert!(!head.contains("Access-Control") && !head.contains("Connection: close"));
        let refusal = Refusal { code: 405, words: "no", is_head: false, keep: false };
        let answer = Answer::refusal(&refusal);
        assert!(answer.head(false).contains("Allow: GET, HEAD\r\nConnection: close\r\n\r\n"));
        assert_eq!(&*answer.body, "405 Method Not Allowed: no\n");
    }
}
