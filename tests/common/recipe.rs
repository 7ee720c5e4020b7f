//! The conversions of the cookbook, `tests/fixtures`: each folder has a configuration's part
//! (`convert.toml`), deltas in the order of their names (`*.jsonl`), what is to be sent of them
//! (`sent.json`), and what Solr is to find then (`queries.json`).

use std::path::{Path, PathBuf};

use super::Site;

/// Where a converter is installed, as the cookbook has it.
const INSTALLED: &str = "/usr/local/bin/";

/// One of them.
pub struct Recipe {
    pub name: String,
    folder: PathBuf,
}

impl Recipe {
    /// All of them, by name.
    pub fn all() -> Vec<Recipe> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let names = names(&folder);
        names.into_iter().map(|name| Recipe { folder: folder.join(&name), name }).collect()
    }

    /// What stands in one of its files.
    pub fn text(&self, file: &str) -> String {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Its deltas: name and text.
    pub fn deltas(&self) -> Vec<(String, String)> {
        let deltas = names(&self.folder).into_iter().filter(|name| name.ends_with(".jsonl"));
        deltas.map(|name| (name.clone(), self.text(&name))).collect()
    }

    /// Configures a place so, with the converters that lie here.
    pub fn configure(&self, site: &Site) {
        site.configure("");
        let rest = std::fs::read_to_string(site.config()).unwrap();
        let here = format!("{}/", self.folder.display());
        let conversion = self.text("convert.toml").replace(INSTALLED, &here);
        site.write_config(&format!("{rest}\n{conversion}"));
    }
}

/// What is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
