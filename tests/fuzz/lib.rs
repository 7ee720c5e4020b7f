//! What reads foreign bytes, fed with any bytes: nothing may panic, and each target says what must hold
//! besides. `corpus/` has a folder for each target, with inputs that are worth beginning from, and all
//! that ever went wrong.
//!
//! Here each input and some thousand mutants of them are tried, the same for a seed, with any Rust.
//! `make fuzz` lets LLVM's fuzzer find its own way from there, for as long as one likes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use orders::Message;
use spool::{Checkpoint, Identity};

/// One of those that read foreign bytes.
pub struct Target {
    /// What it is called, as its folder in `corpus/`.
    pub name: &'static str,
    /// Reads these bytes; panics when something is wrong.
    pub run: fn(&[u8]),
    /// One in so many mutants is tried: some go by way of the disk.
    pub one_in: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "line", run: worker::fuzz::line, one_in: 1 },
    Target { name: "answer", run: worker::fuzz::answer, one_in: 1 },
    Target { name: "versions", run: worker::fuzz::versions, one_in: 1 },
    Target { name: "unpack", run: worker::fuzz::unpack, one_in: 1 },
    Target { name: "rejects", run: worker::fuzz::rejects, one_in: 4 },
    Target { name: "intents", run: worker::fuzz::intents, one_in: 40 },
    Target { name: "doubts", run: worker::fuzz::doubts, one_in: 4 },
    Target { name: "checkpoint", run: checkpoint, one_in: 4 },
    Target { name: "cluster", run: cluster, one_in: 1 },
    Target { name: "config", run: config, one_in: 1 },
    Target { name: "orders", run: orders, one_in: 1 },
    Target { name: "status", run: status, one_in: 1 },
];

/// A file in the system's folder for such, of this process.
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("solr-updater-fuzz-{name}-{}", std::process::id()))
}

/// A checkpoint, with a checksum that fits: without one nothing of it is read.
fn checkpoint(bytes: &[u8]) {
    let path = file("checkpoint");
    let of = Identity { claim: 3, share: 1, of: 2, inode: 77, size: 1000 };
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let with_sum = [bytes, format!("sum={sum:016x}\n").as_bytes()].concat();
    for text in [bytes, &with_sum[..]] {
        std::fs::write(&path, text).expect("there is room");
        let _ = Checkpoint::counts_at(&path).expect("it is there");
        if let Some(found) = Checkpoint::load(&path, &of).expect("it is there") {
            found.save(&path, &of).expect("there is room");
            assert_eq!(Checkpoint::load(&path, &of).expect("it is there"), Some(found));
        }
    }
    let _ = std::fs::remove_file(path);
}

/// CLUSTERSTATUS, and the routing by what it says.
fn cluster(bytes: &[u8]) {
    let Ok(found) = cluster::read(bytes, "c") else { return };
    let layout = &found.collection.layout;
    for id in ["a", "a!b", "a/3!b!c", "é/99!x", "!", "/", "a!"] {
        let key = cluster::Key { id, ..cluster::Key::default() };
        if let Some(shard) = layout.shard_of(&key) {
            assert!(shard < layout.shards.len());
        }
    }
    for shard in 0..layout.shards.len().min(4) {
        let _ = layout.route_into(shard);
    }
    assert_eq!(found.collection.leaders.len(), layout.shards.len());
}

/// The configuration file: what is wrong is told with its place.
fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(mistakes) = config::parse(text, "u.toml".as_ref()) {
        let told = mistakes.to_string();
        assert!(!told.is_empty());
    }
}

/// What parent, workers and monitor say to each other: what can be read is said again the same.
fn orders(bytes: &[u8]) {
    fn there_and_back<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(message) = M::decode(bytes) {
            assert_eq!(M::decode(&message.encode()).as_ref(), Ok(&message));
        }
    }
    there_and_back::<orders::Order>(bytes);
    there_and_back::<orders::Report>(bytes);
    there_and_back::<orders::Plea>(bytes);
    there_and_back::<orders::Answer>(bytes);
    let name = OsString::from_vec(bytes.to_vec());
    let _ = spool::is_delta(&name);
}

/// The answer of a socket, as the plugin and `status` read it; and the page made of it.
fn status(bytes: &[u8]) {
    if let Ok(status::Answer::Status(document)) = status::Answer::parse(bytes) {
        let line = document.to_line();
        let again = status::Answer::parse(status::answer::status(&document).as_bytes());
        assert!(matches!(again, Ok(status::Answer::Status(_))), "{line}");
        assert!(!status::page(&document).contains('\u{1b}'));
    }
}

/// One of the mutants of some inputs.
#[must_use]
pub fn mutant(inputs: &[Vec<u8>], rng: &mut fastrand::Rng) -> Vec<u8> {
    /// What often matters where bytes are read.
    const WORDS: &[&str] = &[
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\n",
        "\r\n",
        "\0",
        "\\u0000",
        "\\ud800",
        "é",
        "\u{feff}",
        "null",
        "true",
        "0",
        "-0",
        "1e309",
        "1.50",
        "18446744073709551615",
        "-9223372036854775808",
        "\"id\":",
        "\"_version_\":",
        "\"_root_\":",
        "{\"inc\":1}",
        "{\"delete\":{\"id\":\"x\"}}",
        "}},\"delete\":{\"query\":\"*:*\"}",
        "\"rf\":2147483647",
        "\"error\":{\"msg\":\"",
        "sum=",
        "=",
        "\u{1b}[31m",
    ];
    let mut input = inputs.get(rng.usize(..inputs.len().max(1))).cloned().unwrap_or_default();
    for _ in 0..=rng.usize(..4) {
        let at = rng.usize(..=input.len());
        let to = (at + rng.usize(..20)).min(input.len());
        match rng.u8(..8) {
            0 => drop(input.drain(at..to)),
            1 => input.truncate(at),
            2 => input.insert(at, rng.u8(..)),
            3 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.u8(..8)),
            4 => {
                let piece = input[at..to].to_vec();
                let times = if rng.u8(..50) == 0 { 200 } else { 1 };
                input.splice(at..at, piece.repeat(times));
            }
            5 => {
                let other = &inputs[rng.usize(..inputs.len())];
                let from = rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[rng.usize(..WORDS.len())].as_bytes();
                input.splice(at..to.min(at + word.len()), word.iter().copied());
            }
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    /// So many mutants of each target (`FUZZ_RUNS`).
    const RUNS: u64 = 20_000;

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 3, "{name}: too few to begin from");
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// All mutants of a target, and what it panicked at.
    fn try_all(target: &Target) {
        let runs = std::env::var("FUZZ_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(RUNS);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut inputs = corpus(target.name);
        let begin = inputs.len();
        let try_it = |input: &[u8]| {
            let run = target.run;
            if catch_unwind(|| run(input)).is_err() {
                panic!("{}: {:?}", target.name, String::from_utf8_lossy(input));
            }
        };
        inputs.iter().for_each(|input| try_it(input));
        for _ in 0..runs / target.one_in {
            let mutant = mutant(&inputs, &mut rng);
            try_it(&mutant);
            // Mutants of mutants, too.
            if mutant.len() < 4096 && rng.u8(..20) == 0 {
                let at = begin + rng.usize(..100);
                match inputs.get_mut(at) {
                    Some(other) => *other = mutant,
                    None => inputs.push(mutant),
                }
            }
        }
    }

    macro_rules! each_by_itself {
        ($($name:ident)*) => {
            $(#[test]
            fn $name() {
                let target = TARGETS.iter().find(|t| t.name == stringify!($name));
                try_all(target.expect("it is one"));
            })*

            #[test]
            fn all_targets_are_tried() {
                let tried = [$(stringify!($name)),*];
                assert!(TARGETS.iter().map(|target| target.name).eq(tried));
            }
        };
    }
    each_by_itself! {
        line answer versions unpack rejects intents doubts checkpoint cluster config orders status
    }
}
