//! What a line is as JSON: exactly one object, and where some of its top-level members stand.
//!
//! A line's bytes travel to Solr as they are, in the middle of a body that we build, so nothing may
//! pass that could end the object early (`{"id":"x"}}},"delete":{"query":"*:*"},…` would empty the
//! collection), nor anything that Solr would take and regret. serde_json vouches for the grammar,
//! the closed end and control characters; what it passes over unread, lone surrogates and depth,
//! is looked at here. Nothing is built: members that nobody asked for are only skipped.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr_iter, memchr2_iter};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Deeper than this an object may not nest. (Solr 9 answers 500, a stack overflow, somewhere below
/// a thousand levels, and that would look like a fault of its own that may pass.)
const DEEPEST: usize = 100;

/// So many members can be asked for by name.
pub const NAMED: usize = 5;

/// The top-level members of one object: some of them by name, the others only counted.
#[derive(Debug, Default)]
pub struct Members<'a> {
    /// How many members there are.
    pub count: usize,
    /// Those that were asked for: how often each stands there, and its last value.
    pub named: [(usize, Option<&'a str>); NAMED],
    /// The others that are objects themselves: operations on a field, or child documents.
    pub objects: Vec<&'a str>,
}

impl<'a> Members<'a> {
    /// Of members that are known one by one, each with its number among those that are asked for.
    pub(crate) fn of(all: impl Iterator<Item = (Option<usize>, &'a str)>) -> Members<'a> {
        let mut members = Members::default();
        for (number, value) in all {
            members.count += 1;
            match number {
                Some(n) => {
                    members.named[n].0 += 1;
                    members.named[n].1 = Some(value);
                }
                None if value.starts_with('{') => members.objects.push(value),
                None => {}
            }
        }
        members
    }
}

/// Reads one JSON object and nothing else; else says why it is none. No more than [`NAMED`] names.
pub fn members<'a>(text: &'a str, names: &[&str]) -> Result<Members<'a>, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut members = Members::default();
    // Without a second brace there is none among the members, and they are skipped faster.
    let read = match memchr_iter(b'{', text.as_bytes()).nth(1) {
        None => Named::<false>(names, &mut members).deserialize(&mut deserializer),
        Some(_) => Named::<true>(names, &mut members).deserialize(&mut deserializer),
    };
    read.and_then(|()| deserializer.end()).map_err(|e| reason(&e))?;
    Ok(members)
}

/// The same, and gives each member to `each` as it comes by, with its name as it reads.
pub(crate) fn each_member<'a>(
    text: &'a str,
    names: &[&str],
    each: impl FnMut(&str, &'a str),
) -> Result<Members<'a>, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut members = Members::default();
    let read = Each(names, &mut members, each).deserialize(&mut deserializer);
    read.and_then(|()| deserializer.end()).map_err(|e| reason(&e))?;
    Ok(members)
}

struct Each<'n, 'o, 'de, F>(&'n [&'n str], &'o mut Members<'de>, F);

impl<'de, F: FnMut(&str, &'de str)> DeserializeSeed<'de> for Each<'_, '_, 'de, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&str, &'de str)> Visitor<'de> for Each<'_, '_, 'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Each(names, members, mut each) = self;
        while let Some(name) = map.next_key_seed(Text)? {
            members.count += 1;
            let value = map.next_value::<&RawValue>()?.get();
            match names.iter().take(NAMED).position(|asked| *asked == name) {
                Some(n) => {
                    members.named[n].0 += 1;
                    members.named[n].1 = Some(value);
                }
                None if value.starts_with('{') => members.objects.push(value),
                None => {}
            }
            each(&name, value);
        }
        Ok(())
    }
}

/// A key as it reads.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The first value of a member, if the text is JSON so far. What comes behind is not looked at.
pub fn first<'a>(text: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let _ = First(name, &mut found).deserialize(&mut deserializer); // an error ends it early
    found
}

struct First<'n, 'o, 'de>(&'n str, &'o mut Option<&'de RawValue>);

impl<'de> DeserializeSeed<'de> for First<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for First<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name::<2>(&[self.0]))? {
            if name.is_some() {
                *self.1 = Some(map.next_value()?);
                return Err(serde::de::Error::custom("that will do"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Whether the text is one JSON value of any kind; else why not.
pub fn well_formed(text: &str) -> Result<(), String> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|e| reason(&e))
}

/// serde_json's words, with the column as bytes of the line, which is what it counts.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(&text[..], |at| &text[..at]);
    format!("malformed JSON at byte {}: {what}", error.column())
}

/// `OBJECTS`: whether members may be objects. (A parameter of the type, like `WHOSE` of [`Name`]: each
/// has code of its own then: 6 % more lines a second through a server that answers at once.)
struct Named<'n, 'o, 'de, const OBJECTS: bool>(&'n [&'n str], &'o mut Members<'de>);

impl<'de, const OBJECTS: bool> DeserializeSeed<'de> for Named<'_, '_, 'de, OBJECTS> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const OBJECTS: bool> Visitor<'de> for Named<'_, '_, 'de, OBJECTS> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Named(names, members) = self;
        while let Some(name) = match OBJECTS {
            true => map.next_key_seed(Name::<1>(names))?,
            false => map.next_key_seed(Name::<0>(names))?,
        } {
            members.count += 1;
            match name {
                Some(n) => {
                    members.named[n].0 += 1;
                    members.named[n].1 = Some(map.next_value::<&RawValue>()?.get());
                }
                None if !OBJECTS => {
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    let value: &RawValue = map.next_value()?;
                    if value.get().starts_with('{') {
                        members.objects.push(value.get());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A key, compared as what it means, not as it is spelled: `"\u0069d"` is `id`.
struct Name<'n, const WHOSE: usize>(&'n [&'n str]);

impl<'de, const WHOSE: usize> DeserializeSeed<'de> for Name<'_, WHOSE> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const WHOSE: usize> Visitor<'_> for Name<'_, WHOSE> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().take(NAMED).position(|name| *name == key))
    }
}

/// What a JSON string means. `raw` is one, quotes and all, and its surrogates are in pairs.
pub fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(raw.strip_prefix('"')?.strip_suffix('"')?));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Writes a string as JSON.
pub(crate) fn write_string(text: &str, out: &mut String) {
    let special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
    if text.bytes().any(special) {
        out.push_str(&serde_json::to_string(text).expect("a string is JSON"));
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// Whether a text is a number as JSON writes it.
pub(crate) fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && !text.ends_with(|last: char| last.is_ascii_whitespace())
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The beginning of a value.
pub(crate) fn excerpt(raw: &str) -> &str {
    let mut end = raw.len().min(40);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    &raw[..end]
}

/// The elements of a raw list, one after the other.
pub(crate) fn elements<'a>(raw: &'a str, mut each: impl FnMut(&'a str)) {
    struct Elements<F>(F);
    impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element::<&RawValue>()? {
                self.0(element.get());
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let read = deserializer.deserialize_seq(Elements(&mut each));
    debug_assert!(read.is_ok(), "it was read before: {raw}");
}

/// The value of a member of a raw object; of several with this name the last, as most readers have it.
/// `None` also where the value is no object.
pub(crate) fn last<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    struct Last<'n, 'o, 'de>(&'n str, &'o mut Option<&'de str>);
    impl<'de> Visitor<'de> for Last<'_, '_, 'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(name) = map.next_key_seed(Name::<3>(&[self.0]))? {
                match name {
                    Some(_) => *self.1 = Some(map.next_value::<&RawValue>()?.get()),
                    None => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(())
        }
    }
    if !raw.starts_with('{') {
        return None;
    }
    let mut found = None;
    let read = serde_json::Deserializer::from_str(raw).deserialize_map(Last(name, &mut found));
    debug_assert!(read.is_ok(), "it was read before: {raw}");
    found
}

/// Where the first lone surrogate stands in well-formed JSON: half a character, of which Solr makes
/// U+FFFD without a word.
pub fn lone_surrogate(json: &[u8]) -> Option<usize> {
    // Backslashes stand in strings only. Of `\\` the second is no beginning.
    let mut next = 0;
    for at in memchr_iter(b'\\', json) {
        if at < next {
            continue;
        }
        next = at + 2;
        match escaped_unit(&json[at..]) {
            Some(0xd800..=0xdbff) => match escaped_unit(&json[at + 6..]) {
                Some(0xdc00..=0xdfff) => next = at + 12,
                _ => return Some(at),
            },
            Some(0xdc00..=0xdfff) => return Some(at),
            _ => {}
        }
    }
    None
}

/// The number in `\uXXXX` at the beginning.
fn escaped_unit(json: &[u8]) -> Option<u32> {
    let digits = json.strip_prefix(br"\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether well-formed JSON nests deeper than Solr can take.
pub fn too_deep(json: &[u8]) -> bool {
    // Each level takes two bytes. Hardly a line has so many brackets at all, and counting is quick.
    json.len() > 2 * DEEPEST
        && memchr2_iter(b'{', b'[', json).count() > DEEPEST
        && depth(json) > DEEPEST
}

fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_json_refuses_everything_that_is_not_one_object() {
        let control: String = ('\0'..' ').map(|c| format!("{{\"a\":\"{c}\"}}\n")).collect();
        let control = control.split_terminator("}\n").map(|s| format!("{s}}}"));
        let malformed = [
            "",
            "{",
            "}",
            "{}}",
            "{}{}",
            "{} {}",
            "{},",
            "{}x",
            "{}//",
            "[]",
            "x",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":'b'}",
            "{\"a\":tru}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":NaN}",
            "{\"a\":[1,]}",
            "{\"a\":[1}",
            "{\"a\":{\"b\":[1}}}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"b}",
            "{\"a\":1}\0",
            "\0{}",
            "{\"a\0\":1,}",
            "\u{feff}{}",
            "{}\u{a0}",
            "{/**/}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1:2}",
            "{\"\\ud800\":1}",
            "{\"id\":\"x\"}}},\"delete\":{\"query\":\"*:*\"},\"add\":{\"doc\":{\"id\":\"y\"}",
        ];
        for text in malformed.into_iter().map(String::from).chain(control) {
            assert!(members(&text, &["id", "delete"]).is_err(), "{text:?}");
        }
        for text in ["{}", " {\t}\r ", "{\"a\":[{\"b\":\"}\"},-1.5e+3,null,true,\"\\u0000\"]}"] {
            assert!(members(text, &["id", "delete"]).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_what_it_means() {
        let found =
            members(r#"{"\u0069d":1,"i\u0064":2,"Id":3,"b":{"id":4}}"#, &["id", "b"]).unwrap();
        assert_eq!(found.count, 4);
        assert_eq!((found.named[0].0, found.named[0].1.unwrap()), (2, "2"));
        assert_eq!((found.named[1].0, found.named[1].1.unwrap()), (1, r#"{"id":4}"#));
    }

    #[test]
    fn serde_json_passes_over_lone_surrogates_so_they_are_looked_for() {
        for (text, at) in [
            (r#"{"a":"\ud800"}"#, Some(6)),
            (r#"{"a":"\uDC00"}"#, Some(6)),
            (r#"{"a":"\udc00\ud800"}"#, Some(6)),
            (r#"{"a":"\ud83dx\ude00"}"#, Some(6)),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, Some(6)),
            (r#"{"a":"\ud83d\ude00\ude00"}"#, Some(18)),
            (r#"{"a":["x",{"b":"y\uD8FF"}]}"#, Some(17)),
            (r#"{"a":"\\\ud800"}"#, Some(8)),
            (r#"{"a":"\ud83d\ude00"}"#, None),
            (r#"{"a":"\\ud800"}"#, None),
            (r#"{"a":"\u00fc\n\\"}"#, None),
            (r#"{}"#, None),
        ] {
            assert!(members(text, &["id", "delete"]).is_ok(), "{text}");
            assert_eq!(lone_surrogate(text.as_bytes()), at, "{text}");
        }
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n - 1), "]".repeat(n - 1));
        assert!(!too_deep(nested(DEEPEST).as_bytes()));
        assert!(too_deep(nested(DEEPEST + 1).as_bytes()));
        assert!(!too_deep(format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1000)).as_bytes()));
        assert!(!too_deep(format!("{{\"a\":[{}1]}}", "{},".repeat(1000)).as_bytes()));
    }
}
