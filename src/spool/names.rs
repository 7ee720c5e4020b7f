//! Names: what is a delta, and how a name that was used before is made free.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const REJECTED: &str = ".rejected.jsonl";
/// As long as a name may be (NAME_MAX), with room for [`REJECTED`] behind it.
const LONGEST: usize = 255 - REJECTED.len();

/// What a delta's name ends with.
const ENDINGS: [&str; 3] = [".jsonl", ".ndjson", ".json"];

/// Whether a file of this name is a delta: a known ending, not hidden, not a name that editors and
/// producers use for what is not finished.
pub fn is_delta(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.starts_with(b".")
        && ENDINGS.iter().any(|e| bytes.len() > e.len() && bytes.ends_with(e.as_bytes()))
}

/// `offers.jsonl` → `offers.jsonl.rejected.jsonl`.
pub(crate) fn rejected(delta: &OsStr) -> OsString {
    let mut name = delta.to_os_string();
    name.push(REJECTED);
    name
}

/// The names to try for a delta, the best first: `x.jsonl`, `x~2.jsonl`, `x~3.jsonl`, … A name too
/// long for its rejects' file is cut.
pub(crate) fn candidates(name: &OsStr) -> impl Iterator<Item = OsString> {
    let bytes = name.as_bytes();
    let ending = ENDINGS.iter().find(|e| bytes.ends_with(e.as_bytes())).map_or(0, |e| e.len());
    let (stem, ending) = bytes.split_at(bytes.len() - ending);
    let (stem, ending) = (stem.to_vec(), ending.to_vec());
    (1u64..).map(move |n| {
        let number = if n == 1 { String::new() } else { format!("~{n}") };
        let room = LONGEST - ending.len().min(LONGEST / 2) - number.len();
        let stem = &stem[..stem.len().min(room)];
        OsString::from_vec([stem, number.as_bytes(), &ending[..]].concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_is_known_by_its_name() {
        for name in ["x.jsonl", "x.ndjson", "x.json", "ü x.jsonl", "x.tmp.jsonl"] {
            assert!(is_delta(name.as_ref()), "{name}");
        }
        assert!(is_delta(OsStr::from_bytes(b"\xff\n.jsonl")));
        for name in
            [".x.jsonl", "x.jsonl.tmp", "x.jsonl.part", "x.jsonl~", "x.csv", ".jsonl", "jsonl"]
        {
            assert!(!is_delta(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn a_used_name_is_numbered_before_its_ending() {
        let first = |name: &str| -> Vec<String> {
            candidates(name.as_ref()).take(3).map(|n| n.into_string().unwrap()).collect()
        };
        assert_eq!(first("x.jsonl"), ["x.jsonl", "x~2.jsonl", "x~3.jsonl"]);
        assert_eq!(first("stdin"), ["stdin", "stdin~2", "stdin~3"]);
        let long = first(&format!("{}.jsonl", "x".repeat(249)));
        assert!(long.iter().all(|n| n.len() <= LONGEST && n.ends_with(".jsonl")), "{long:?}");
        assert!(long[1].ends_with("x~2.jsonl"));
    }
}
