//! Which version Solr has of documents: its real-time get, asked by id.

use std::collections::HashMap;

use serde_json::Value;

use crate::receipt::{Reply, Wait, credentials_not_taken};

/// A form has so many bytes (and one id) at most: Solr reads two megabytes, and no more parameters
/// than Jetty takes.
const LONGEST: usize = 512 << 10;
const AT_ONCE: usize = 500;

/// The forms that ask for these ids.
pub(crate) fn forms<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for (n, id) in ids.into_iter().enumerate() {
        if n % AT_ONCE == 0 || forms.last().is_none_or(|form| form.len() > LONGEST) {
            forms.push(Vec::new());
        }
        let Some(form) = forms.last_mut() else { continue };
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(b"id=");
        for byte in id.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => form.push(byte),
                _ => form.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
    }
    forms
}

/// Why nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It may be told later.
    Wait(Wait),
    /// Nobody answers there: the collection is gone, or something before Solr lets updates pass only.
    Nobody(Wait),
    /// It is not told to us, for this reason.
    Never(String),
}

impl From<Wait> for Unread {
    fn from(wait: Wait) -> Unread {
        Unread::Wait(wait)
    }
}

/// The versions of those that are there, by id, out of `{"response":{"docs":[…]}}`, or `{"doc":…}`
/// where one id was asked for.
pub(crate) fn read(reply: &Reply, unique_key: &str) -> Result<HashMap<String, i64>, Unread> {
    let wrong = |what: &str| {
        Err(Wait { retry_after: reply.retry_after, stale: true, ..Wait::passing(what) }.into())
    };
    match reply.status {
        200 => {}
        403 => {
            let remedy = "give this user the right to read";
            return Err(Unread::Never(format!("may not ask for versions (HTTP 403): {remedy}")));
        }
        404 => {
            let wait = Wait::standing(
                "HTTP 404 when asked for versions: no such collection, or /get is shut off",
            );
            return Err(Unread::Nobody(Wait { stale: true, ..wait }));
        }
        400 | 405 | 406 | 410 | 501 => {
            let status = reply.status;
            return Err(Unread::Never(format!(
                "HTTP {status} when asked for versions: Solr's /get must be let pass"
            )));
        }
        401 => return Err(Wait::standing(credentials_not_taken("")).into()),
        status => return wrong(&format!("HTTP {status} when asked for versions")),
    }
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let docs = match (answer.get("doc"), answer["response"]["docs"].as_array()) {
        (Some(Value::Null), _) => &[],
        (Some(doc), _) => std::slice::from_ref(doc),
        (None, Some(docs)) => &docs[..],
        (None, None) => return wrong("answered 200 when asked for versions, but not as Solr does"),
    };
    let mut versions = HashMap::new();
    for doc in docs {
        let id = match &doc[unique_key] {
            Value::String(id) => id.clone(),
            id => id.to_string(),
        };
        match doc["_version_"].as_i64() {
            Some(version) => drop(versions.insert(id, version)),
            None => {
                let why = "a document has no _version_: the schema must have that field";
                return Err(Unread::Never(why.into()));
            }
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    #[test]
    fn ids_travel_whatever_is_in_them() {
        let forms = forms(["a", "b,c&d=e f", "é+%"]);
        assert_eq!(forms, [b"id=a&id=b%2Cc%26d%3De%20f&id=%C3%A9%2B%25"]);
    }

    #[test]
    fn no_form_is_longer_than_solr_reads() {
        let long = "x".repeat(32_766);
        let ids = std::iter::repeat_n("a", 1200).chain(std::iter::repeat_n(&*long, 40));
        let forms = forms(ids);
        assert!(forms.iter().all(|form| form.len() <= LONGEST + 32_800));
        let count = |form: &Vec<u8>| form.split(|byte| *byte == b'&').count();
        assert!(forms.iter().all(|form| count(form) <= AT_ONCE));
        assert_eq!(forms.iter().map(count).sum::<usize>(), 1240);
    }

    #[test]
    fn versions_are_read_for_one_and_for_many() {
        let versions = |body: &str| read(&reply(200, body), "id").unwrap();
        let both = versions(
            r#"{"response":{"numFound":2,"docs":[{"id":"a","_version_":5},{"id":7,"_version_":6}]}}"#,
        );
        assert_eq!(both, HashMap::from([("a".into(), 5), ("7".into(), 6)]));
        assert_eq!(
            versions(r#"{"doc":{"id":"a","_version_":5}}"#),
            HashMap::from([("a".into(), 5)])
        );
        assert_eq!(versions(r#"{"doc":null}"#), HashMap::new());
    }

    #[test]
    fn what_does_not_say_versions_is_waited_out() {
        let not_there = read(&reply(404, ""), "id").unwrap_err();
        assert!(matches!(not_there, Unread::Nobody(wait) if wait.stale));
        for (status, body) in [(503, "{}"), (200, "{}"), (200, "<html>"), (401, ""), (429, "")] {
            let unread = read(&reply(status, body), "id").unwrap_err();
            assert!(matches!(unread, Unread::Wait(_)), "{status} {body}");
        }
        for (status, body) in
            [(403, "<html>"), (405, ""), (400, "{}"), (200, r#"{"doc":{"id":"a"}}"#)]
        {
            let unread = read(&reply(status, body), "id").unwrap_err();
            assert!(matches!(unread, Unread::Never(_)), "{status} {body}");
        }
    }
}
