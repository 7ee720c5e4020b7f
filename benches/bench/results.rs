//! What was found: a JSON document, kept as it grows, and the arithmetic on it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::options::Options;

/// target/bench/results.json, or that of a run which does less than it should.
pub(crate) struct Results {
    path: PathBuf,
    all: Map<String, Value>,
}

impl Results {
    /// Nothing yet; or, if only some parts are to be measured, what is known of the others from
    /// before, by as many rounds on such a machine.
    pub(crate) fn begin(options: &Options, path: PathBuf, machine: Value) -> Results {
        let mut all = Map::new();
        all.insert("whole".into(), json!(options.is_whole()));
        all.insert("rounds".into(), json!(options.rounds));
        all.insert("machine".into(), machine);
        if let Some(old) = Results::read(&path).ok().filter(|_| !options.only.is_empty()) {
            if all.iter().all(|(name, value)| old.get(name) == value) {
                return old;
            }
        }
        Results { path, all }
    }

    pub(crate) fn read(path: &Path) -> Result<Results> {
        let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Results { path: path.to_owned(), all: serde_json::from_slice(&text)? })
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.all.insert(name.into(), value);
    }

    pub(crate) fn get(&self, name: &str) -> &Value {
        self.all.get(name).unwrap_or(&Value::Null)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn save(&self) -> Result<()> {
        let hidden = self.path.with_extension("json.part");
        std::fs::write(&hidden, serde_json::to_string_pretty(&self.all)? + "\n")?;
        Ok(std::fs::rename(&hidden, &self.path)?)
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// The value below which nine of ten are.
pub(crate) fn ninth_decile(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * 9).div_ceil(10).checked_sub(1)?).copied()
}

/// For people: three digits that say something, thousands apart.
pub(crate) fn round(value: f64) -> String {
    if value < 100.0 {
        let digits = usize::from(value < 10.0) + usize::from(value < 1.0);
        return format!("{value:.digits$}");
    }
    let unit = 10f64.powi((value.log10().floor() as i32 - 2).max(0));
    thousands(((value / unit).round() * unit) as u64)
}

/// A count with its thousands apart.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Part;

    #[test]
    fn parts_that_were_measured_alike_stand_together() {
        let dir = std::env::temp_dir().join(format!("bench-results-{}", std::process::id()));
        let only = |rounds| Options { rounds, only: vec![Part::Files], ..Options::default() };
        let begin = |options: &Options, cores| Results::begin(options, dir.clone(), json!(cores));
        let mut first = begin(&Options { rounds: 3, ..Options::default() }, 2);
        first.set("peers", json!([1]));
        first.save().unwrap();
        assert_eq!(begin(&only(3), 2).get("peers"), &json!([1]));
        assert_eq!(begin(&only(2), 2).get("peers"), &Value::Null, "not so many rounds");
        assert_eq!(begin(&only(3), 4).get("peers"), &Value::Null, "another machine");
        let all = Options { rounds: 3, ..Options::default() };
        assert_eq!(begin(&all, 2).get("peers"), &Value::Null, "all of it is measured anew");
        std::fs::remove_file(&dir).unwrap();
    }

    #[test]
    fn figures_are_as_people_read_them() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(ninth_decile(&ten), Some(9.0));
        assert_eq!(ninth_decile(&[]), None);
        for (value, text) in [
            (0.123, "0.12"),
            (4.56, "4.6"),
            (45.6, "46"),
            (456.4, "456"),
            (27_049.0, "27,000"),
            (999_600.0, "1,000,000"),
        ] {
            assert_eq!(round(value), text);
        }
        assert_eq!(thousands(66494), "66,494");
    }
}
