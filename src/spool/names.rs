//! Names: what is a delta, and how a name that was used before is made free.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const REJECTED: &str = ".rejected.jsonl";
/// As long as a name may be (NAME_MAX), with room for [`REJECTED`] behind it.
const LONGEST: usize = 255 - REJECTED.len();

/// What a delta's name ends with, before what its packing adds.
const ENDINGS: [&str; 3] = [".jsonl", ".ndjson", ".json"];

/// How a file is compressed, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Packing {
    /// Of a file of this name, whatever else it is called.
    pub fn of(name: &OsStr) -> Packing {
        let is = |packing: &Packing| name.as_bytes().ends_with(packing.ending().as_bytes());
        [Packing::Gzip, Packing::Zstd].into_iter().find(is).unwrap_or(Packing::None)
    }

    /// What a name ends with for that.
    pub fn ending(self) -> &'static str {
        match self {
            Packing::None => "",
            Packing::Gzip => ".gz",
            Packing::Zstd => ".zst",
        }
    }
}

/// Whether a file of this name is a delta: a known ending, not hidden, not a name that editors and
/// producers use for what is not finished.
pub fn is_delta(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let (stem, ending) = split(name);
    !bytes.starts_with(b".") && !stem.is_empty() && ending.len() > Packing::of(name).ending().len()
}

/// A name in two: what is before its ending, and that, its packing's with it.
fn split(name: &OsStr) -> (&[u8], &[u8]) {
    let bytes = name.as_bytes();
    let packed = Packing::of(name).ending().len();
    let plain = &bytes[..bytes.len() - packed];
    let ending = ENDINGS.iter().find(|e| plain.ends_with(e.as_bytes())).map_or(0, |e| e.len());
    bytes.split_at(plain.len() - ending)
}

/// Whether a person can mean a delta by this name; else why not, in one line with the remedy.
pub fn check_name(name: &OsStr) -> Result<(), String> {
    let shown = name.to_string_lossy();
    let bytes = name.as_bytes();
    if let Some(slash) = bytes.iter().rposition(|byte| *byte == b'/') {
        let alone = String::from_utf8_lossy(&bytes[slash + 1..]);
        return Err(match alone.is_empty() {
            true => format!("{shown}: is a folder: need a delta's file name"),
            false => format!("{shown}: is a path: name the delta alone, {alone}"),
        });
    }
    match is_delta(name) {
        true => Ok(()),
        false => Err(format!(
            "{shown}: no delta is called that: need a whole file name, such as offers.jsonl"
        )),
    }
}

/// An error, if a delta's name leaves no room for those of the files that belong to it. (What is claimed
/// gets a shorter one; a person may put anything into a folder.)
pub(crate) fn check_length(name: &OsStr) -> io::Result<()> {
    match name.len() {
        0..=LONGEST => Ok(()),
        length => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("its name has {length} bytes: rename it, to {LONGEST} at most"),
        )),
    }
}

/// A name as one word: what is a blank, no plain ASCII, or % itself stands as `%XX`. No word
/// begins with a hyphen.
pub fn to_word(name: &OsStr) -> String {
    let mut word = String::new();
    for (n, byte) in name.as_bytes().iter().enumerate() {
        match byte {
            b'!'..=b'~' if *byte != b'%' && !(*byte == b'-' && n == 0) => {
                word.push(char::from(*byte));
            }
            _ => word += &format!("%{byte:02x}"),
        }
    }
    word
}

/// The other way round. A % without two digits behind it stands for itself: a person may have
/// typed it.
pub fn of_word(word: &str) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let coded = digits.filter(|_| *first == b'%').filter(|d| !d.starts_with('+'));
        match coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// The delta whose rejects have this file name.
pub fn rejected_of(file: &OsStr) -> Option<&OsStr> {
    file.as_bytes().strip_suffix(REJECTED.as_bytes()).map(OsStr::from_bytes)
}

/// `offers.jsonl` → `offers.jsonl.rejected.jsonl`.
pub(crate) fn rejected(delta: &OsStr) -> OsString {
    let mut name = delta.to_os_string();
    name.push(REJECTED);
    name
}

const RETRIED: &str = ".retry~";

/// A hidden file that belongs to a delta. (`before` is shorter than what is left free for rejects.)
pub(crate) fn hidden(before: &str, delta: &OsStr) -> OsString {
    let mut name = OsString::from(before);
    name.push(delta);
    name
}

/// The delta that such a file belongs to.
pub(crate) fn of_hidden<'n>(before: &str, file: &'n OsStr) -> Option<&'n OsStr> {
    file.as_bytes().strip_prefix(before.as_bytes()).map(OsStr::from_bytes)
}

/// The rejected lines of a delta while they are being retried: no delta, whatever it is called.
pub(crate) fn retrying(delta: &OsStr) -> OsString {
    hidden(RETRIED, delta)
}

/// The other way round.
pub(crate) fn retried(file: &OsStr) -> Option<&OsStr> {
    of_hidden(RETRIED, file)
}

/// The names to try for a delta, the best first: `x.jsonl`, `x~2.jsonl`, `x~3.jsonl`, …
pub(crate) fn candidates(name: &OsStr) -> impl Iterator<Item = OsString> {
    let name = name.to_os_string();
    (1u64..).map(move |n| numbered(&name, n))
}

/// The name to try as the `n`th, from 1. One that is too long for its rejects' file is cut.
pub(crate) fn numbered(name: &OsStr, n: u64) -> OsString {
    let (stem, ending) = split(name);
    let number = if n == 1 { String::new() } else { format!("~{n}") };
    let room = LONGEST - ending.len() - number.len();
    OsString::from_vec([cut(stem, room), number.as_bytes(), ending].concat())
}

/// So much of it, and no part of a UTF-8 character behind.
fn cut(stem: &[u8], room: usize) -> &[u8] {
    let is_inside = |at: usize| stem.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..4).map(|back| room.saturating_sub(back)).find(|at| !is_inside(*at));
    &stem[..end.unwrap_or(room).min(stem.len())]
}

/// The first number from 1 on that is free where the one before it is not. A name that comes again
/// and again has all its numbers taken up to some: that one is found in a few looks, not in as many
/// as there are.
pub(crate) fn first_free<E>(mut is_free: impl FnMut(u64) -> Result<bool, E>) -> Result<u64, E> {
    let (mut taken, mut free) = (0, 1);
    while !is_free(free)? {
        (taken, free) = (free, free * 2);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_free(middle)? { free = middle } else { taken = middle }
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_is_known_by_its_name() {
        for name in ["x.jsonl", "x.ndjson", "x.json", "ü x.jsonl", "x.tmp.jsonl"] {
            for (end, packing) in
                [("", Packing::None), (".gz", Packing::Gzip), (".zst", Packing::Zstd)]
            {
                let name = OsString::from(format!("{name}{end}"));
                assert!(is_delta(&name) && Packing::of(&name) == packing, "{name:?}");
            }
        }
        assert!(is_delta(OsStr::from_bytes(b"\xff\n.jsonl")));
        for name in
            [".x.jsonl", "x.jsonl.tmp", "x.jsonl.part", "x.jsonl~", "x.csv", ".jsonl", "jsonl"]
        {
            assert!(!is_delta(name.as_ref()), "{name}");
        }
        for name in [
            "x.gz",
            "x.zst",
            "jsonl.gz",
            ".jsonl.gz",
            ".x.jsonl.gz",
            "x.jsonl.gz.part",
            "x.jsonl.gz.zst",
            "x.jsonl.bz2",
            "x.jsonl.GZ",
            "x.csv.gz",
        ] {
            assert!(!is_delta(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn a_name_that_nobody_can_mean_is_refused_with_the_remedy() {
        for (name, words) in [
            ("a/x.jsonl", "a/x.jsonl: is a path: name the delta alone, x.jsonl"),
            ("/x.jsonl", "x.jsonl"),
            ("rejected/", "is a folder"),
            ("", "such as offers.jsonl"),
            ("..", "no delta is called that"),
            ("x", "no delta is called that"),
            (".x.jsonl", "no delta is called that"),
        ] {
            let why = check_name(name.as_ref()).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        check_name("x y.jsonl".as_ref()).unwrap();
    }

    #[test]
    fn any_name_is_one_word_and_a_plain_one_is_itself() {
        for name in [&b"a b%41\n\xff-.jsonl"[..], b"--all", "Gr\u{f6}\u{df}e.jsonl".as_bytes(), b""]
        {
            let name = OsStr::from_bytes(name);
            let word = to_word(name);
            assert!(word.bytes().all(|b| b.is_ascii_graphic()) && !word.starts_with('-'), "{word}");
            assert_eq!(of_word(&word), name);
        }
        assert_eq!(to_word("offers-1.jsonl".as_ref()), "offers-1.jsonl");
        for typed in ["50%.jsonl", "%", "x%4", "%+1.jsonl", "Gr\u{f6}\u{df}e 1.jsonl"] {
            assert_eq!(of_word(typed), typed);
        }
        assert_eq!(rejected_of("x.jsonl.rejected.jsonl".as_ref()), Some("x.jsonl".as_ref()));
        assert_eq!(rejected_of("x.jsonl".as_ref()), None);
    }

    #[test]
    fn a_used_name_is_numbered_before_its_ending() {
        let first = |name: &str| -> Vec<String> {
            candidates(name.as_ref()).take(3).map(|n| n.into_string().unwrap()).collect()
        };
        assert_eq!(first("x.jsonl"), ["x.jsonl", "x~2.jsonl", "x~3.jsonl"]);
        assert_eq!(first("x.jsonl.gz"), ["x.jsonl.gz", "x~2.jsonl.gz", "x~3.jsonl.gz"]);
        assert_eq!(first("x.gz"), ["x.gz", "x~2.gz", "x~3.gz"]);
        assert_eq!(first("stdin"), ["stdin", "stdin~2", "stdin~3"]);
        let long = first(&format!("{}.jsonl", "x".repeat(249)));
        assert!(long.iter().all(|n| n.len() <= LONGEST && n.ends_with(".jsonl")), "{long:?}");
        assert!(long[1].ends_with("x~2.jsonl"));
    }

    #[test]
    fn a_name_that_is_cut_keeps_whole_characters() {
        for letters in 110..130 {
            for before in ["", "x"] {
                let name = format!("{before}{}.jsonl", "ü".repeat(letters));
                for n in [1, 2, 1_000_000] {
                    let name = numbered(name.as_ref(), n).into_string().expect("it is UTF-8");
                    assert!(name.len() <= LONGEST && name.ends_with(".jsonl"), "{name}");
                }
            }
        }
        let no_utf8 = [&[0x80; 250][..], b".json"].concat();
        assert_eq!(numbered(OsStr::from_bytes(&no_utf8), 2).len(), LONGEST);
    }

    #[test]
    fn a_name_that_came_a_million_times_is_made_free_in_a_few_looks() {
        for taken in (0..70).chain([1_000, 999_999, 1_000_000]) {
            let mut looks = 0;
            let mut is_free = |n| {
                looks += 1;
                Ok::<_, ()>(n > taken)
            };
            assert_eq!(first_free(&mut is_free), Ok(taken + 1));
            assert!(looks <= 50, "{looks} looks at {taken}");
        }
        // Of those that are free in between, for they were pruned, any will do.
        let gone = |n: u64| Ok::<_, ()>(n > 100 || n % 10 == 0);
        assert!(first_free(gone).is_ok_and(|n| gone(n) == Ok(true)));
        assert_eq!(first_free(|_| Err::<bool, _>("no")), Err("no"));
    }
}
