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
    /// Some node has passed all of it on, and somebody has it: the weaker promise.
    Forwarded,
    /// One of the documents is at fault, in Solr's words.
    AtFault {
        /// The HTTP status.
        status: u16,
        /// Solr's message, without its wrapping.
        message: String,
        /// How many are in before the one at fault, if the leader says so.
        applied: Option<usize>,
    },
    /// The body is larger than something on the way takes.
    TooLarge,
    /// It is nobody's fault, or nobody knows: send it again later.
    Wait {
        /// Why.
        wait: Wait,
        /// How many are in all the same, as the leader says.
        applied: usize,
        /// Solr itself failed at it, and perhaps because of one document.
        suspect: bool,
    },
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
    /// Nothing was carried out: there was no connection, or it was turned away at the door.
    pub(crate) unsent: bool,
    /// It asks us to slow down.
    pub(crate) overload: bool,
    /// Another may lead the shard by now: worth a look at the cluster.
    pub(crate) stale: bool,
}

impl Wait {
    pub(crate) fn passing(reason: impl Into<String>) -> Wait {
        Wait {
            trouble: Trouble::Passing,
            reason: reason.into(),
            retry_after: None,
            cut: false,
            unsent: false,
            overload: false,
            stale: false,
        }
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

/// Ids and versions out of a flat list `id, version, id, version, …`.
#[derive(Default)]
struct Ids<'a>(Vec<(Id<'a>, i64)>);

/// An id as it is in memory: it is compared with ours, and ours are text.
#[derive(PartialEq, Eq)]
struct Id<'a>(Cow<'a, [u8]>);

/// What an update with `versions=true` was answered. `leads`: it was sent to a shard's leader, whose
/// receipt lists what it has applied, in order, also when it refuses one.
pub(crate) fn judge(
    reply: &Reply,
    leads: bool,
    sent: &Batch,
    part: Range<usize>,
    min_rf: u32,
) -> Verdict {
    weigh(reply, leads, sent, part, min_rf).0
}

/// The same, and the versions of what is in by that, in the order of the part.
pub(crate) fn weigh(
    reply: &Reply,
    leads: bool,
    sent: &Batch,
    part: Range<usize>,
    min_rf: u32,
) -> (Verdict, Vec<i64>) {
    let (answer, head) = judge_head(reply);
    let verdict = judge_answer(answer.as_ref(), head, leads, sent, part.clone(), min_rf);
    let count = match &verdict {
        Verdict::Confirmed | Verdict::Forwarded => part.len(),
        Verdict::AtFault { applied, .. } => applied.unwrap_or(0),
        Verdict::Wait { applied, .. } => *applied,
        Verdict::TooLarge => 0,
    };
    let versions = answer.map_or_else(Vec::new, |a| a.versions(sent, part.take(count)));
    (verdict, versions)
}

fn judge_answer(
    answer: Option<&Answer<'_>>,
    head: Option<Verdict>,
    leads: bool,
    sent: &Batch,
    part: Range<usize>,
    min_rf: u32,
) -> Verdict {
    // Where a replica more is asked for than the leader itself, an error's receipt does not say
    // whether that was there.
    let applied = match answer {
        Some(answer) if leads && min_rf <= 1 && answer.is_kept() && !answer.is_of_another() => {
            applied(answer, sent, part.clone())
        }
        _ => None,
    };
    match head {
        Some(Verdict::AtFault { status, message, .. }) => {
            let applied = applied.filter(|n| *n < part.len());
            return Verdict::AtFault { status, message, applied };
        }
        Some(Verdict::Wait { wait, suspect, .. }) => {
            return Verdict::Wait { wait, applied: applied.unwrap_or(0), suspect };
        }
        Some(verdict) => return verdict,
        None => {}
    }
    let Some(answer) = answer else { return waits(Wait::passing("no answer of Solr's")) };
    match answer.response_header.as_ref().and_then(|h| h.rf) {
        None => {
            return waits(Wait::passing("Solr's answer does not say how many replicas have it"));
        }
        Some(NOBODY) => {
            let wait = Wait::passing("no replica has confirmed it (rf 2147483647)");
            return waits(Wait { stale: true, ..wait });
        }
        Some(rf) if rf < i64::from(min_rf) => {
            let reason = format!("{rf} of min_rf = {min_rf} replicas have confirmed it");
            return waits(Wait::passing(reason));
        }
        Some(_) => {}
    }
    let of = |kind: Kind| {
        let entries = part.clone().filter(move |e| sent.entries[*e].kind == kind);
        entries.map(|e| sent.listed(e).as_bytes())
    };
    let same = |listed: &Ids<'_>, kind| listed.0.iter().map(|(id, _)| &*id.0).eq(of(kind));
    if !same(&answer.adds, Kind::Add) || !same(&answer.deletes, Kind::Delete) {
        return waits(Wait::standing(
            "Solr's receipt lists other documents than were sent: its update chain drops or renames \
             them",
        ));
    }
    match answer.adds.0.iter().chain(&answer.deletes.0).all(|(_, version)| *version != 0) {
        true => Verdict::Confirmed,
        false => Verdict::Forwarded,
    }
}

/// How many commands the leader has carried out before it stopped, if what it lists is a beginning
/// of what it was sent.
fn applied(answer: &Answer<'_>, sent: &Batch, part: Range<usize>) -> Option<usize> {
    let (mut adds, mut deletes) = (answer.adds.0.iter(), answer.deletes.0.iter());
    let mut count = 0;
    for entry in part {
        let listed = match sent.entries[entry].kind {
            Kind::Add => &mut adds,
            Kind::Delete => &mut deletes,
        };
        match listed.next() {
            Some((Id(id), version)) if **id == *sent.listed(entry).as_bytes() && *version != 0 => {
                count += 1;
            }
            Some(_) => return None,
            None => break,
        }
    }
    (adds.next().is_none() && deletes.next().is_none()).then_some(count)
}

fn waits(wait: Wait) -> Verdict {
    Verdict::Wait { wait, applied: 0, suspect: false }
}

/// What a commit or a probe, an update without documents, was answered.
pub(crate) fn judge_plain(reply: &Reply) -> Result<(), Wait> {
    match judge_head(reply).1 {
        None => Ok(()),
        Some(Verdict::AtFault { status, message, .. }) => {
            Err(Wait::standing(format!("HTTP {status}: {message}")))
        }
        Some(Verdict::Wait { wait, .. }) => Err(wait),
        Some(Verdict::TooLarge | Verdict::Confirmed | Verdict::Forwarded) => {
            Err(Wait::standing("HTTP 413"))
        }
    }
}

/// Everything that can be said without looking at documents; no verdict is a 200 that looks well.
fn judge_head(reply: &Reply) -> (Option<Answer<'_>>, Option<Verdict>) {
    let json = reply.content_type.contains("json");
    let answer = match serde_json::from_slice::<Answer<'_>>(&reply.body) {
        Ok(answer) if json => Some(answer),
        _ => None,
    };
    let message = answer.as_ref().and_then(|a| Some(clean(&a.error.as_ref()?.msg.as_ref()?.0)));
    let said = || message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
    let status = reply.status;
    let passing = |reason: String| Wait { retry_after: reply.retry_after, ..Wait::passing(reason) };
    let standing = |reason: String| Some(waits(Wait { unsent: true, ..Wait::standing(reason) }));
    let verdict = match (status, &answer) {
        (200, Some(answer)) => judge_header(answer).map(waits),
        (200, None) => Some(waits(passing("answered 200, but not in Solr's JSON".into()))),
        (400 | 409, Some(_)) if message.as_ref().is_some_and(|m| !is_ours(m)) => {
            let message = message.clone().unwrap_or_default();
            Some(Verdict::AtFault { status, message, applied: None })
        }
        (413, _) => Some(Verdict::TooLarge),
        (401, _) => standing(credentials_not_taken(&said())),
        (403, _) if said().ends_with(" is read-only.") => standing(format!(
            "refuses updates (HTTP 403){} make it writable again (readOnly=false)",
            said()
        )),
        (403, _) => standing(format!(
            "may not write (HTTP 403){}: give this user the right to update",
            said()
        )),
        (404, _) => {
            Some(waits(Wait { stale: true, unsent: true, ..Wait::standing(NO_COLLECTION) }))
        }
        (407 | 415 | 300..=399, _) => {
            standing(format!("HTTP {status}{}: this is no Solr, name it in solr.urls", said()))
        }
        _ => {
            let wait = Wait {
                overload: status == 429,
                unsent: status == 429,
                stale: matches!(status, 500 | 503 | 510),
                ..passing(format!("HTTP {status}{}{}", said(), remedy(status, message.as_deref())))
            };
            // What one node says of another is nothing about a document.
            let own = answer.as_ref().is_some_and(|a| a.error.is_some() && !a.is_of_another());
            Some(Verdict::Wait { wait, applied: 0, suspect: status == 500 && own })
        }
    };
    (answer, verdict)
}

/// What an operator can do where Solr does not help itself: after an expired ZooKeeper session a replica may go on
/// taking itself for the leader, and refuses for ever what the one that leads passes on (seen with Solr 9.10;
/// `DistributedZkUpdateProcessor.doDefensiveChecks` says these words).
fn remedy(status: u16, message: Option<&str>) -> &'static str {
    let of_two = message.is_some_and(|m| m.ends_with("coming from leader, but we are the leader"));
    match (status, of_two) {
        (510, true) => "; if that lasts, restart the node of the shard's other replica",
        _ => "",
    }
}

impl Answer<'_> {
    /// The versions of these commands, as the receipt lists them.
    fn versions(&self, sent: &Batch, entries: impl Iterator<Item = usize>) -> Vec<i64> {
        let (mut adds, mut deletes) = (self.adds.0.iter(), self.deletes.0.iter());
        let listed = |entry: usize| match sent.entries[entry].kind {
            Kind::Add => adds.next(),
            Kind::Delete => deletes.next(),
        };
        entries.map_while(listed).map(|(_, version)| *version).collect()
    }

    /// Whether it does not say that nobody has what it lists.
    fn is_kept(&self) -> bool {
        let rf = self.response_header.as_ref().and_then(|header| header.rf);
        rf != Some(NOBODY) || self.adds.0.is_empty() && self.deletes.0.is_empty()
    }

    /// Whether the error is another node's: a document was passed on, and that went wrong.
    fn is_of_another(&self) -> bool {
        let message = self.error.as_ref().and_then(|e| e.msg.as_ref());
        message.is_some_and(|m| m.0.starts_with(FORWARDED))
    }
}

/// How Solr's message begins where a document was passed on and that went wrong.
const FORWARDED: &str = "Async exception";

/// What a 401 means, with what was `said` besides.
pub(crate) fn credentials_not_taken(said: &str) -> String {
    let remedy = "check solr.username and solr.password_file, or solr.token_file";
    format!("the credentials are not taken (HTTP 401){said}: {remedy}")
}

fn judge_header(answer: &Answer<'_>) -> Option<Wait> {
    let why = match &answer.response_header {
        None => "answered 200, but not as Solr does",
        Some(header) if header.status != 0 => "answered 200 with an error in it",
        Some(Header { errors: Some(_), .. }) => {
            "documents were dropped by a TolerantUpdateProcessor: take it out of the update chain"
        }
        Some(_) => return None,
    };
    Some(Wait::standing(why))
}

/// Whether a 400 is about the body that we built, so no document's fault: cut off on the way, most
/// likely.
fn is_ours(message: &str) -> bool {
    [
        "Cannot parse provided JSON",
        "JSON Parse Error",
        "missing content stream",
        "unknown UpdateRequestProcessorChain",
        "Expected: OBJECT_START",
        "Unknown command",
        "Unknown key",
        "Missing ContentType",
    ]
    .iter()
    .any(|words| message.starts_with(words))
}

/// Solr's message in one line, without what a forwarding node wraps around it.
fn clean(message: &str) -> String {
    const WRAPPING: &str = "Remote error message:";
    let inner = match message.starts_with(FORWARDED) {
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

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Id<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Id(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Id(Cow::Owned(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
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
                while let Some(id) = list.next_element()? {
                    let version = list.next_element()?.unwrap_or(0); // 0: forwarded
                    ids.push((id, version));
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
