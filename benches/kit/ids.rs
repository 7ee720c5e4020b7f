//! The ids in a delta or an update's body, found as cheaply as can be.
//!
//! It relies on the form of the benchmark's own deltas: an id is a document's first member, a
//! string, and no space stands before it. It is no parser.

use memchr::memchr;
use memchr::memmem::Finder;

/// Before each id.
pub const BEFORE: &[u8] = br#"{"id":""#;

/// What an id stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A document to be added.
    Add,
    /// A delete by id.
    Delete,
}

/// The id that begins at `from`, as it stands there, without its quotes.
pub fn at(bytes: &[u8], from: usize) -> Option<&[u8]> {
    let mut end = from;
    loop {
        end += memchr(b'"', &bytes[end..])?;
        let escapes = bytes[from..end].iter().rev().take_while(|b| **b == b'\\').count();
        if escapes % 2 == 0 {
            return Some(&bytes[from..end]);
        }
        end += 1;
    }
}

/// The id of a delta's line.
pub fn of_line(line: &[u8]) -> Option<&[u8]> {
    match line.starts_with(BEFORE) {
        true => at(line, BEFORE.len()),
        false => None,
    }
}

/// Calls `take` with each id of an update's body: a list of documents, or an object of commands.
/// (In a list, a child document would be taken for one of its own.)
pub fn each<'a>(finder: &Finder<'_>, body: &'a [u8], mut take: impl FnMut(Kind, &'a [u8])) {
    let commands = body.first() == Some(&b'{');
    let mut from = 0;
    while let Some(found) = finder.find(&body[from..]) {
        let begin = from + found;
        from = begin + BEFORE.len();
        let before = &body[..begin];
        let kind = match commands {
            false => Kind::Add,
            true if before.ends_with(br#""doc":"#) => Kind::Add,
            true if before.ends_with(br#""delete":"#) => Kind::Delete,
            true => continue,
        };
        let Some(id) = at(body, from) else { return };
        from += id.len();
        take(kind, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &str) -> Vec<(Kind, String)> {
        let mut found = Vec::new();
        each(&Finder::new(BEFORE), body.as_bytes(), |kind, id| {
            found.push((kind, String::from_utf8(id.to_vec()).unwrap()));
        });
        found
    }

    #[test]
    fn a_list_and_commands_tell_their_ids_in_order() {
        let add = |id: &str| (Kind::Add, id.to_owned());
        assert_eq!(all(r#"[{"id":"b","x":"a"},{"id":"a\"\\"}]"#), [add("b"), add(r#"a\"\\"#)]);
        assert_eq!(
            all(concat!(
                r#"{"add":{"doc":{"id":"b","child":{"id":"c"}}},"delete":{"id":"d"},"#,
                r#""add":{"doc":{"id":"a","t":"{\"id\":\"x\"}"}}}"#
            )),
            [add("b"), (Kind::Delete, "d".into()), add("a")]
        );
        assert_eq!(all("[]"), []);
        assert_eq!(all(r#"[{"id":"torn"#), []);
    }
}
