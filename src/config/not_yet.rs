//! What INTERFACE promises and this version cannot do yet. It is refused, never ignored: a key that
//! is read and has no effect is worse than none. To build one of these, delete its line here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mistakes::Page;
use crate::read::LONGEST_LIST;

/// A key (`[]`: each element of its list), the values that are refused, and what to do instead.
type NotYet = (&'static str, fn(&DeValue<'_>) -> bool, &'static str);

const NOT_YET: &[NotYet] = &[
    (
        "convert",
        any,
        "this version cannot convert yet: leave the table out, lines are Solr documents",
    ),
    (
        "workers.partition",
        is_id,
        "this version cannot deal lines by id yet: leave it out, or write \"line\"",
    ),
    (URL, is_https, "this version cannot speak https yet: name an http:// address"),
    ("solr.ca_file", any, "this version cannot speak https yet: leave it out"),
    ("solr.client_cert", any, "this version cannot speak https yet: leave it out"),
    (
        "solr.max_docs_per_s",
        is_limit,
        "this version cannot hold a rate yet: leave it out, or write 0",
    ),
    (
        "monitor.http",
        any,
        "this version has no http page yet: leave it out and ask the status socket",
    ),
];

const URL: &str = "solr.urls[]";

fn any(_: &DeValue<'_>) -> bool {
    true
}

fn is_id(value: &DeValue<'_>) -> bool {
    value.as_str() == Some("id")
}

fn is_https(value: &DeValue<'_>) -> bool {
    value.as_str().is_some_and(|url| url.starts_with("https://"))
}

fn is_limit(value: &DeValue<'_>) -> bool {
    value.as_integer().is_some_and(|limit| limit.as_str().contains(|digit: char| digit != '0'))
}

/// Marks everything on the page that this version cannot do.
pub(crate) fn refuse(root: &DeTable<'_>, page: &Page<'_>) {
    for (key, refused, why) in NOT_YET {
        let (plain, each) = match key.strip_suffix("[]") {
            Some(list) => (list, true),
            None => (*key, false),
        };
        let Some(value) = at(root, plain) else { continue };
        let elements = match value.get_ref() {
            DeValue::Array(list) if each => list.iter().take(LONGEST_LIST).collect(),
            _ => vec![value],
        };
        for value in elements.into_iter().filter(|value| refused(value.get_ref())) {
            page.only_mistake(value.span(), format!("{}: {why}", page.named(plain, &value.span())));
        }
    }
}

/// Why this version cannot take a URL that did not come from the file.
pub(crate) fn refuse_url(url: &str) -> Option<&'static str> {
    let value = DeValue::String(url.into());
    NOT_YET.iter().find(|(key, refused, _)| *key == URL && refused(&value)).map(|(.., why)| *why)
}

/// Whether a key cannot be given at all yet.
#[cfg(test)]
pub(crate) fn is_refused_at_all(key: &str) -> bool {
    NOT_YET.iter().any(|(refused, when, _)| *refused == key && when(&DeValue::Boolean(true)))
}

fn at<'t, 'i>(root: &'t DeTable<'i>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    match key.split_once('.') {
        Some((section, key)) => root.get(section)?.get_ref().as_table()?.get(key),
        None => root.get(key),
    }
}
