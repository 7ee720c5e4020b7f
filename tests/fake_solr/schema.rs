//! The schema, and what stands before it, if a test gave it one.

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::state::State;

/// Whether it is asked for one of both.
pub(crate) fn is_meant(request: &Request) -> bool {
    request.method == "GET" && (asks(request, "/schema") || asks(request, "/config"))
}

fn asks(request: &Request, what: &str) -> bool {
    request.path.starts_with("/solr/") && request.path.ends_with(what)
}

/// Without a schema there is no such address, as in a Solr of other days.
pub(crate) fn answer(state: &State, request: &Request) -> Answer {
    match &state.schema {
        None => Answer::error(404, "no such address", json!({})),
        Some(schema) if asks(request, "/schema") => Answer::json(json!({"schema": schema})),
        Some(_) => Answer::json(json!({"config": config()})),
    }
}

/// Solr's own update chain.
fn config() -> Value {
    let handler = json!({"class": "solr.UpdateRequestHandler", "_effectiveParams_": {}});
    json!({"requestHandler": {"/update": handler}})
}
