//! Atomic updates: operations on what is there, and the version that a document is for.

use serde_json::{Map as Object, Value, json};

/// What becomes of a document by this one: its members with an operation change what is there, the
/// others take its place.
pub(crate) fn merged(before: Option<&Value>, mut doc: Object<String, Value>) -> Value {
    doc.remove("_version_");
    if !doc.values().any(|value| operation(value).is_some()) {
        return Value::Object(doc);
    }
    let mut after = before.cloned().unwrap_or_else(|| json!({}));
    for (name, value) in doc {
        after[&name] = match operation(&value) {
            Some(("inc", by)) => {
                json!(after[&name].as_i64().unwrap_or(0) + by.as_i64().unwrap_or(0))
            }
            Some(("add", more)) => {
                let list = |value: &Value| match value {
                    Value::Null => Vec::new(),
                    Value::Array(list) => list.clone(),
                    one => vec![one.clone()],
                };
                Value::Array([list(&after[&name]), list(more)].concat())
            }
            Some((_, value)) => value.clone(),
            None => value,
        };
    }
    after
}

fn operation(value: &Value) -> Option<(&str, &Value)> {
    let (name, operand) = value.as_object()?.iter().next()?;
    ["inc", "add", "set"].contains(&name.as_str()).then_some((name, operand))
}

/// Whether a document may be carried out on what has this version, or on nothing; else what Solr
/// says of it.
pub(crate) fn conflict(id: &str, expected: Option<i64>, actual: Option<i64>) -> Option<String> {
    let expected = expected?;
    let fits = match (expected, actual) {
        (0, _) | (1, Some(_)) => true,
        (expected, Some(actual)) => expected == actual,
        (expected, None) => expected < 0,
    };
    let actual = actual.unwrap_or(-1);
    (!fits).then(|| format!("version conflict for {id} expected={expected} actual={actual}"))
}
