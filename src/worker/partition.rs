//! Which lines of a delta are a share's: each n-th, or those whose key hashes to it. By key all lines
//! of one document are one worker's, in their order, in every delta that is divided so.

use std::borrow::Cow;

use convert::json;

/// How a delta's lines are divided, and which share is ours.
pub(crate) struct Partition {
    share: u64,
    of: u64,
    /// The member of a line that tells documents apart; `None`: lines go by their number.
    key: Option<String>,
}

impl Partition {
    pub(crate) fn new(share: u32, of: u32, key: Option<&str>) -> Partition {
        let (share, of) = (share.into(), u64::from(of.max(1)));
        Partition { share, of, key: key.map(str::to_owned) }
    }

    /// Which of the lines, by their number, can be ours: every so-many-th, from this one on.
    pub(crate) fn by_number(&self) -> (u64, u64) {
        match self.key {
            None => (self.share, self.of),
            Some(_) => (0, 1),
        }
    }

    /// By what a line's document is told from others, where lines are divided by that; of a line that
    /// is no document, too, as far as it can be read.
    pub(crate) fn name<'l>(&self, line: &'l [u8]) -> Option<Cow<'l, str>> {
        value(line, self.key.as_deref()?)
    }

    /// The number of a line among those that can be ours.
    pub(crate) fn number(&self, index: u64) -> u64 {
        index / self.by_number().1
    }

    /// Whether the line of this index is ours, of those that can be. `line` is `None` where it is
    /// too long to be read.
    pub(crate) fn has(&self, index: u64, line: Option<&[u8]>) -> bool {
        let Some(key) = &self.key else { return true };
        // What has no key is no document, and anybody can say so.
        let number = line.and_then(|line| hash(line, key)).unwrap_or(index);
        number % self.of == self.share
    }
}

/// A hash of what a line has for a key, the same for all time: a delta may be taken up by another
/// version. Of a delete it is that of its id. What names a `_root_` takes the place of all that is
/// under that, so it goes where that goes.
fn hash(line: &[u8], key: &str) -> Option<u64> {
    value(line, key).map(|value| u64::from(cluster::hash(&value) as u32))
}

/// What a line has for a key.
fn value<'l>(line: &'l [u8], key: &str) -> Option<Cow<'l, str>> {
    let text = std::str::from_utf8(line).ok()?;
    let root = match memchr::memmem::find(line, b"_root_") {
        Some(_) => json::first(text, "_root_").filter(|root| root.get().starts_with('"')),
        None => None, // (Spelled with escapes it is not found: nobody does that.)
    };
    let value = match root.or_else(|| json::first(text, key)) {
        Some(value) => value,
        None => json::first(json::first(text, "delete")?.get(), "id")?,
    };
    let raw = value.get();
    match raw.starts_with('"') {
        true => json::unescape(raw),
        false => Some(raw.into()), // 7 is the same document as "7"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(share: u32, of: u32, key: Option<&str>) -> Partition {
        Partition::new(share, of, key)
    }

    /// Whose a line is.
    fn owner(line: &str, index: u64) -> u32 {
        let has = |share: &u32| partition(*share, 7, Some("id")).has(index, Some(line.as_bytes()));
        let mut owners = (0..7).filter(has);
        let owner = owners.next().expect("every line has an owner");
        assert_eq!(owners.next(), None, "{line} has two");
        owner
    }

    #[test]
    fn by_number_each_line_that_can_be_ours_is() {
        let partition = partition(2, 5, None);
        assert_eq!(partition.by_number(), (2, 5));
        assert!(partition.has(7, Some(b"x")) && partition.has(12, None));
        assert_eq!([2, 7, 12].map(|index| partition.number(index)), [0, 1, 2]);
    }

    #[test]
    fn all_lines_of_a_document_have_one_owner() {
        for lines in [
            [r#"{"id":"a"}"#, r#"{"x":{"id":"b"},"id":"a"}"#, r#"{"delete":{"id":"a"}}"#],
            [r#"{"id":7}"#, r#"{"\u0069d":"7"}"#, r#" {"delete":{"_route_":"x","id":7}}"#],
            [
                r#"{"id":"a"}"#,
                r#"{"_root_":"a","id":"c","n":{"inc":1}}"#,
                r#"{"id":"d","_root_":"a"}"#,
            ],
            [r#"{"id":"é"}"#, r#"{"id":"\u00e9"}"#, r#"{"id":"é","torn"#],
        ] {
            let owners: Vec<u32> = (0..).zip(lines).map(|(n, line)| owner(line, n)).collect();
            assert!(owners.iter().all(|o| *o == owners[0]), "{lines:?}: {owners:?}");
        }
    }

    #[test]
    fn the_owners_share_evenly_and_stay_the_same_for_all_time() {
        let mut counts = [0; 7];
        for n in 0..7_000 {
            counts[owner(&format!(r#"{{"id":"offer-{n}"}}"#), 0) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!([r#"{"id":"a"}"#, r#"{"id":"x!1"}"#].map(|line| owner(line, 0)), [4, 1]);
    }

    #[test]
    fn what_has_no_key_goes_by_its_number() {
        for line in ["", "hello", "{}", "[1]", r#"{"sku":"a"}"#, r#"{"delete":{"query":"*:*"}}"#] {
            assert_eq!((owner(line, 8), owner(line, 6)), (1, 6), "{line}");
        }
        assert!(partition(1, 7, Some("id")).has(8, None));
    }
}
