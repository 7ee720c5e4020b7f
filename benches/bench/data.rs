//! The deltas that are fed, made once and kept.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::workshop::{Workshop, output};

/// A delta on disk.
pub(crate) struct Data {
    /// `packages` or `offers`.
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// Distinct ids: as many documents must be in the index in the end.
    pub(crate) ids: u64,
}

impl Data {
    fn read(name: &'static str, path: PathBuf) -> Result<Data> {
        let text = fs::read(&path)?;
        let lines: Vec<&[u8]> =
            text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
        let mut ids = HashSet::with_capacity(lines.len());
        for line in &lines {
            ids.insert(kit::ids::of_line(line).ok_or("a line does not begin with its id")?);
        }
        let (lines, ids) = (lines.len() as u64, ids.len() as u64);
        let data = Data { name, path, lines, bytes: text.len() as u64, ids };
        println!("{name}: {lines} lines of {} bytes, {ids} ids", data.line_bytes());
        Ok(data)
    }

    /// A line's bytes in the mean.
    pub(crate) fn line_bytes(&self) -> u64 {
        self.bytes / self.lines.max(1)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"name": self.name, "lines": self.lines, "bytes": self.bytes, "ids": self.ids})
    }
}

fn path(workshop: &Workshop, name: &str) -> Result<PathBuf> {
    let folder = workshop.dir.join("data");
    fs::create_dir_all(&folder)?;
    let size = if workshop.quick { "quick-" } else { "" };
    Ok(folder.join(format!("{size}{name}.jsonl")))
}

/// Debian's packages with their long descriptions, about 1 KB each.
pub(crate) fn packages(workshop: &Workshop) -> Result<Data> {
    let path = path(workshop, "packages")?;
    if !path.exists() {
        println!("fetching Debian's package lists (apt-get update into ~/.cache)");
        let mut command = Command::new(workshop.root.join("tests/data/debian-delta"));
        command.arg("--fetch").arg("-o").arg(&path);
        if workshop.quick {
            command.args(["--limit", "5000"]);
        }
        output(&mut command)?;
    }
    Data::read("packages", path)
}

/// Offers of three fields.
pub(crate) fn offers(workshop: &Workshop) -> Result<Data> {
    let path = path(workshop, "offers")?;
    if !path.exists() {
        let lines = if workshop.quick { "50000" } else { "500000" };
        let mut command = Command::new(workshop.root.join("tests/data/offers-delta"));
        output(command.args([lines, "1", "-o"]).arg(&path))?;
    }
    Data::read("offers", path)
}

/// Both.
pub(crate) fn both(workshop: &Workshop) -> Result<[Data; 2]> {
    Ok([packages(workshop)?, offers(workshop)?])
}

/// Offers of 150 bytes a line, the newline included, for the server that takes no time.
pub(crate) fn offers_of_150_bytes(workshop: &Workshop) -> Result<Data> {
    let path = path(workshop, "offers-150")?;
    let lines: u64 = if workshop.quick { 300_000 } else { 3_000_000 };
    if !path.exists() {
        let hidden = path.with_extension("part");
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&hidden)?);
        for n in 0..lines {
            file.write_all(offer(n * 1_854_017 % lines).as_bytes())?;
        }
        file.into_inner()?.sync_all()?;
        fs::rename(&hidden, &path)?;
    }
    Data::read("offers-150", path)
}

fn offer(n: u64) -> String {
    // Fibonacci hashing: figures that look like none
    let any = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let head = format!(
        r#"{{"id":"offer-{n:09}","price_i":{},"stock_i":{},"shop_s":"shop-{:04}","name_s":""#,
        99 + (any >> 40) % 499_900,
        (any >> 30) % 1000,
        (any >> 20) % 10_000
    );
    let words = "Running shoe, blue and white, size 42, with laces, for the road and for the rain";
    let tail = "\"}\n";
    let room = 150 - head.len() - tail.len();
    format!("{head}{}{tail}", &words[..room])
}

/// The packages five times over: long enough to be measured where nothing waits for Solr.
pub(crate) fn packages_again_and_again(workshop: &Workshop) -> Result<Data> {
    let once = packages(workshop)?;
    let path = path(workshop, "packages-x5")?;
    if !path.exists() {
        let hidden = path.with_extension("part");
        let text = fs::read(&once.path)?;
        let mut file = File::create(&hidden)?;
        for _ in 0..5 {
            file.write_all(&text)?;
        }
        file.sync_all()?;
        fs::rename(&hidden, &path)?;
    }
    Data::read("packages-x5", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_has_150_bytes_and_is_json() {
        for n in [0, 1, 77, 2_999_999] {
            let line = offer(n);
            assert_eq!(line.len(), 150, "{line}");
            let doc: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(doc["id"], format!("offer-{n:09}"));
        }
    }
}
