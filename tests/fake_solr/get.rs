//! Real-time get: documents' ids and versions.

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::state::State;

/// Whether this is such a request.
pub(crate) fn is_meant(request: &Request) -> bool {
    request.path.starts_with("/solr/") && request.path.ends_with("/get")
}

/// The documents of the form's ids that are there, as far as `fl=id,_version_` has them.
pub(crate) fn answer(state: &State, request: &Request) -> Answer {
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let ids: Vec<String> =
        form.split('&').filter_map(|pair| pair.strip_prefix("id=")).map(decoded).collect();
    let doc = |id: &String| Some(json!({"id": id, "_version_": state.versions.get(id)?}));
    if let [id] = &ids[..] {
        return Answer::json(json!({"doc": doc(id)}));
    }
    let docs: Vec<Value> = ids.iter().filter_map(doc).collect();
    Answer::json(json!({"response": {"numFound": docs.len(), "start": 0, "docs": docs}}))
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [a, b, after @ ..]) => {
                let hex = [*a, *b];
                let hex = std::str::from_utf8(&hex).ok();
                bytes.extend(hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
