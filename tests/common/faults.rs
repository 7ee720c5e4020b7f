//! A file system that fails when a test says so, preloaded into the daemon: see `faults.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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

    /// From now on these fail, and no others: `CALL ERRNO PART-OF-THE-PATH` each.
    pub fn are(&self, rules: &[&str]) {
        let new = self.rules.with_extension("new");
        std::fs::write(&new, rules.join("\n")).unwrap();
        std::fs::rename(new, &self.rules).unwrap();
    }

    /// The paths of what was synced so far, in order.
    pub fn synced(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.rules.with_extension("syncs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
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
