//! What is wrong with a configuration only beside something else, as a collection's schema: told at its
//! place in the file all the same. The file is read once more for that, by whoever has the time.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Mistake;
use crate::mistakes::Page;

/// Makes mistakes of messages, in their order, each at the value to which its keys lead, or the table that
/// it would stand in. What names a field that the operator chose stands at that name. Where the file has
/// changed since it was loaded, or cannot be read, they are the file's as a whole.
pub fn at_their_places(path: &Path, found: &[(Vec<String>, String)]) -> Vec<Mistake> {
    let text = crate::read_file(path).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.unwrap_or_default();
    let table = DeTable::parse(&text).ok();
    found
        .iter()
        .map(|(keys, what)| {
            let Some(table) = &table else {
                return Mistake::of_whole(path, format!("{}: {what}", keys.join(".")));
            };
            let page = Page::new(path, &text);
            let (at, named) = place(&page, table.get_ref(), keys);
            page.mistake(at, format!("{named}: {what}"));
            let mistakes = page.finish().expect_err("a mistake has just been noted");
            mistakes.0.into_iter().next().expect("it is there")
        })
        .collect()
}

/// Where the keys lead, as far as they do, and how what stands there is called.
fn place(page: &Page<'_>, root: &DeTable<'_>, keys: &[String]) -> (Range<usize>, String) {
    let mut table = root;
    let mut at = 0..0;
    for (n, key) in keys.iter().enumerate() {
        let Some((name, value)) = entry(table, key) else { break };
        let full = keys[..=n].join(".");
        let is_last = n + 1 == keys.len();
        // Below [convert.fields] the operator chose the names.
        at = if n == 2 { name.span() } else { value.span() };
        match value.get_ref() {
            _ if is_last && n == 2 => return (at, full),
            DeValue::Table(inner) if !is_last => table = inner,
            _ => return (value.span(), page.named(&full, &value.span())),
        }
    }
    (at, keys.join("."))
}

type Entry<'t, 'i> = (&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>);

fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<Entry<'t, 'i>> {
    table.iter().find(|(name, _)| name.get_ref().as_ref() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[solr]\nunique_key = \"sku\"\n[convert.fields]\nid = \"sku\"\n\
                        price_i = { from = \"price\", type = \"date\" }\n";

    fn told(keys: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("u.toml");
        std::fs::write(&path, FILE).unwrap();
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let mistakes = at_their_places(&path, &[(keys, "no".to_owned())]);
        let shown = mistakes[0].with_caret();
        shown.replace(&format!("{}:", path.display()), "")
    }

    #[test]
    fn a_mistake_stands_at_the_value_or_at_the_name_that_the_operator_chose() {
        for (keys, expected) in [
            (
                &["solr", "unique_key"][..],
                "2:14: solr.unique_key = \"sku\": no\n   2 | unique_key = \"sku\"\n     |              ^^^^^",
            ),
            (
                &["convert", "fields", "id"],
                "4:1: convert.fields.id: no\n   4 | id = \"sku\"\n     | ^^",
            ),
            (
                &["convert", "fields", "price_i", "type"],
                "5:36: convert.fields.price_i.type = \"date\": no\n   \
                 5 | price_i = { from = \"price\", type = \"date\" }\n     |                                    ^^^^^^",
            ),
        ] {
            assert_eq!(told(keys), expected);
        }
    }

    #[test]
    fn what_is_not_written_there_is_told_where_it_would_be() {
        assert!(told(&["solr", "collection"]).starts_with("1:1: solr.collection: no\n"));
        assert!(
            told(&["convert", "fields", "id", "from"])
                .starts_with("4:6: convert.fields.id = \"sku\": no\n")
        );
        assert_eq!(told(&["log", "level"]), "1:1: log.level: no");
    }
}
