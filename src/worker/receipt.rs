//! The receipt: what an answer of Solr's means for the documents that were sent.
//!
//! Only one thing confirms a document: a 200 that is Solr's own JSON, tells of no error, was taken
//! by enough replicas, and lists exactly the ids that were sent. A proxy's 200, a chain that drops
//! documents, a leader that was paused (`rf` 2147483647: the answer says 200 and the document is
//! lost) confirm nothing. And only one thing is a document's fault: Solr's own JSON error of 400 or
//! 409. Everything else is nobody's fault, and waits. (FACTS.md has the answers of a real Solr.)

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use scoreboard::Trouble;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::batch::{Batch, Kind};

/// The reason of a 404: whoever knows the collection's name says it better.
pub(crate) const NO_COLLECTION: &str = "no such collection (HTTP 404)";

/// `rf` where no replica confirmed anything.
const NOBODY: i64 = 2_147_483_647;

/// An answer, as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// What `Retry-After` asks for.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Solr has all of it.
    Confirmed,
    /// One of the documents is at fault, in Solr's words.
    AtFault {
        /// The HTTP status.
        status: u16,
        /// Solr's message, without its wrapping.
        message: String,
    },
    /// The body is larger than something on the way takes.
    TooLarge,
    /// It is nobody's fault, or nobody knows: send it again later.
    Wait(Wait),
}

/// Why something waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) trouble: Trouble,
    /// One line, for people; it does not name the URL.
    pub(crate) reason: String,
    /// Not before this is over.
    pub(crate) retry_after: Option<Duration>,
    /// The connection broke while the body was being sent: perhaps something on the way found it
    /// too large, and its 413 was lost with the connection.
    pub(crate) cut: bool,
}

impl Wait {
    pub(crate) fn passing(reason: impl Into<String>) -> Wait {
        Wait { trouble: Trouble::Passing, reason: reason.into(), retry_after: None, cut: false }
    }

    pub(crate) fn standing(reason: impl Into<String>) -> Wait {
        Wait { trouble: Trouble::Standing, ..Wait::passing(reason) }
    }
}

/// What of an answer is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    response_header: Option<Header>,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
    #[serde(default, borrow)]
    adds: Ids<'a>,
    #[serde(default, borrow)]
    deletes: Ids<'a>,
}

#[derive(Deserialize)]
struct Header {
    status: i64,
    rf: Option<i64>,
    errors: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Fault<'a> {
    #[serde(borrow)]
    msg: Option<Lossy<'a>>,
}

/// Text that may hold half a character: Solr cuts messages between surrogates.
struct Lossy<'a>(Cow<'a, str>);

/// Ids out of a flat list `id, version, id, version, …`.
#[derive(Default)]
struct Ids<'a>(Vec<Cow<'a, str>>);

/// What an update with `versions=true` was answered.
pub(crate) fn judge(reply: &Reply, sent: &Batch, part: Range<usize>, min_rf: u32) -> Verdict {
    let answer = match judge_head(reply) {
        Ok(answer) => answer,
        Err(verdict) => return verdict,
    };
    let wait = |reason: String| Verdict::Wait(Wait::passing(reason));
    match answer.response_header.and_then(|h| h.rf) {
        None => return wait("Solr's answer does not say how many replicas have it".into()),
        Some(NOBODY) => return wait("no replica has confirmed it (rf 2147483647)".into()),
        Some(rf) if rf < i64::from(min_rf) => {
            return wait(format!("{rf} of min_rf = {min_rf} replicas have confirmed it"));
        }
        Some(_) => {}
    }
    let of = |kind: Kind| {
        let entries = part.clone().filter(move |e| sent.entries[*e].kind == kind);
        entries.map(|e| sent.id(e))
    };
    let same = |listed: &Ids<'_>, kind| listed.0.iter().map(|id| &**id).eq(of(kind));
    match same(&answer.adds, Kind::Add) && same(&answer.deletes, Kind::Delete) {
        true => Verdict::Confirmed,
        false => Verdict::Wait(Wait::standing(
            "Solr's receipt lists other documents than were sent: its update chain drops or renames \
             them",
        )),
    }
}

/// What a commit or a probe, an update without documents, was answered.
pub(crate) fn judge_plain(reply: &Reply) -> Verdict {
    match judge_head(reply) {
        Ok(_) => Verdict::Confirmed,
        Err(Verdict::AtFault { status, message }) => {
            Verdict::Wait(Wait::standing(format!("HTTP {status}: {message}")))
        }
        Err(verdict) => verdict,
    }
}

/// Everything that can be said without looking at documents.
fn judge_head(reply: &Reply) -> Result<Answer<'_>, Verdict> {
    let passing = |reason: String| {
        Verdict::Wait(Wait { retry_after: reply.retry_after, ..Wait::passing(reason) })
    };
    let standing = |reason: String| Verdict::Wait(Wait::standing(reason));
    let json = reply.content_type.contains("json");
    let answer = match serde_json::from_slice::<Answer<'_>>(&reply.body) {
        Ok(answer) if json => Some(answer),
        _ => None,
    };
    let message = answer.as_ref().and_then(|a| Some(clean(&a.error.as_ref()?.msg.as_ref()?.0)));
    let said = || message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
    let status = reply.status;
    Err(match (status, answer) {
        (200, Some(answer)) => return judge_header(answer),
        (200, None) => passing("answered 200, but not in Solr's JSON".into()),
        (400 | 409, Some(_)) if message.as_ref().is_some_and(|m| !is_ours(m)) => {
            Verdict::AtFault { status, message: message.unwrap_or_default() }
        }
        (413, _) => Verdict::TooLarge,
        (401, _) => {
            standing(format!("the credentials are not taken (HTTP 401){}: {CREDENTIALS}", said()))
        }
        (403, _) => standing(format!(
            "may not write (HTTP 403){}: give this user the right to update",
            said()
        )),
        (404, _) => standing(NO_COLLECTION.into()),
        (407 | 415 | 300..=399, _) => {
            standing(format!("HTTP {status}{}: this is no Solr, name it in solr.urls", said()))
        }
        (408 | 425 | 429 | 500..=599, _) => passing(format!("HTTP {status}{}", said())),
        _ => passing(format!("HTTP {status}{}", said())),
    })
}

const CREDENTIALS: &str = "set solr.username and solr.password_file, or solr.token_file";

fn judge_header(answer: Answer<'_>) -> Result<Answer<'_>, Verdict> {
    let why = match &answer.response_header {
        None => "answered 200, but not as Solr does",
        Some(header) if header.status != 0 => "answered 200 with an error in it",
        Some(Header { errors: Some(_), .. }) => {
            "documents were dropped by a TolerantUpdateProcessor: take it out of the update chain"
        }
        Some(_) => return Ok(answer),
    };
    Err(Verdict::Wait(Wait::standing(why)))
}

/// Whether a 400 is about the body that we built, so no document's fault: cut off on the way, most
/// likely.
fn is_ours(message: &str) -> bool {
    [
        "Cannot parse provided JSON",
        "JSON Parse Error",
        "missing content stream",
        "Missing ContentType",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// Solr's message in one line, without what a forwarding node wraps around it.
fn clean(message: &str) -> String {
    const WRAPPING: &str = "Remote error message:";
    let inner = match message.starts_with("Async exception") {
        true => message.split(WRAPPING).nth(1).unwrap_or(message),
        false => message,
    };
    let words: Vec<&str> = inner.split_whitespace().collect();
    let mut line = words.join(" ");
    let mut end = line.len().min(1000);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    if end < line.len() {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Whether a message of Solr's names this document. Only a hint where to look: a child document may
/// bear the id of another one.
pub(crate) fn names(message: &str, id: &str) -> bool {
    let named = |before: &str, after: &str| {
        message.match_indices(id).any(|(at, _)| {
            message[..at].ends_with(before) && message[at + id.len()..].starts_with(after)
        })
    };
    named("[doc=", "]")
        || named("conflict for ", " expected=")
        || named("document id ", " to the index")
}

impl<'de: 'a, 'a> Deserialize<'de> for Lossy<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Lossy<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Lossy(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
            }
        }
        // As bytes, serde_json lets half a character pass.
        deserializer.deserialize_bytes(Text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Ids<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Flat;
        impl<'de> Visitor<'de> for Flat {
            type Value = Ids<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flat list of ids and versions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut ids = Vec::new();
                while let Some(Lossy(id)) = list.next_element()? {
                    list.next_element::<i64>()?; // 0 where the document was forwarded
                    ids.push(id);
                }
                Ok(Ids(ids))
            }
        }
        deserializer.deserialize_seq(Flat)
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
