//! What INTERFACE promises and this version cannot do yet. It is refused, never ignored: a key that
//! is read and has no effect is worse than none. To build one of these, delete its line here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mistakes::Page;

/// A key, the values that are refused, and what to do instead.
type NotYet = (&'static str, fn(&DeValue<'_>) -> bool, &'static str);

const NOT_YET: &[NotYet] = &[(
    "monitor.http",
    any,
    "this version has no http page yet: leave it out and ask the status socket",
)];

fn any(_: &DeValue<'_>) -> bool {
    true
}

/// Marks everything on the page that this version cannot do.
pub(crate) fn refuse(root: &DeTable<'_>, page: &Page<'_>) {
    for (key, refused, why) in NOT_YET {
        match at(root, key) {
            Some(value) if refused(value.get_ref()) => page
                .only_mistake(value.span(), format!("{}: {why}", page.named(key, &value.span()))),
            _ => {}
        }
    }
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
