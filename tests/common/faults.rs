//! A file system that fails when a test says so, preloaded into the daemon: see `faults.c`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The rules are a page that each process maps.
const PAGE: usize = 4096;

/// What became of what a process tried, an errno each; 0: it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    pub read: i32,
    pub write: i32,
    pub listen: i32,
    pub connect: i32,
    pub signal: i32,
}

/// The rules of one daemon.
pub struct Faults {
    rules: PathBuf,
}

impl Faults {
    /// No call fails, yet. The rules stand in this folder.
    pub fn none(folder: &Path) -> Faults {
        let faults = Faults { rules: folder.join("faults") };
        faults.are(&[]);
        faults
    }

    /// The environment of a daemon that is to keep these rules.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", library()), ("FAULTS", self.rules.clone())]
    }

    /// What each process has tried, by its name and the path, as the last rules said: `try N PATH`.
    pub fn tried(&self) -> BTreeMap<(String, String), Tried> {
        let all = self.told();
        let tried = all.iter().filter_map(|line| line.strip_prefix("tried "));
        let read = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let errnos: Vec<i32> = words.get(3..)?.iter().filter_map(|w| w.parse().ok()).collect();
            let [read, write, listen, connect, signal] = errnos[..] else { return None };
            let of = (words[1].to_owned(), words[2].to_owned());
            Some((of, Tried { read, write, listen, connect, signal }))
        };
        tried.filter_map(read).collect()
    }

    fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.rules.with_extension("syncs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// From now on these fail, and no others: `CALL ERRNO PART-OF-THE-PATH` each.
    pub fn are(&self, rules: &[&str]) {
        let mut page = rules.join("\n").into_bytes();
        assert!(page.len() < PAGE, "as many rules as fit: {rules:?}");
        page.resize(PAGE, 0);
        // In its place: it is mapped.
        let file = File::options().write(true).create(true).truncate(false).open(&self.rules);
        file.unwrap().write_all_at(&page, 0).unwrap();
    }

    /// The paths of what was synced so far, in order.
    pub fn synced(&self) -> Vec<String> {
        let told = self.told();
        told.into_iter().filter(|line| !line.starts_with("tried ")).collect()
    }
}

/// What is preloaded, compiled once.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("faults.so");
        // Other test programs build it at the same time: nobody may see the half of it.
        let mine = folder.join(format!("faults-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/faults.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&mine).args([source, "-ldl"]);
        assert!(cc.status().expect("a C compiler").success(), "{cc:?}");
        std::fs::rename(&mine, &library).unwrap();
        library
    };
    BUILT.get_or_init(build).clone()
}
