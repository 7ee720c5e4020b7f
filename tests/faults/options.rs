//! What the environment asks for (`tests/faults/README.md`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::kind::Kind;

/// The options of a campaign.
pub struct Options {
    /// How long faults are made (FAULTS_MINUTES, an hour).
    pub length: Duration,
    /// What all that is random comes from (SEED).
    pub seed: u64,
    /// Which faults (ONLY).
    pub kinds: Vec<Kind>,
    /// Who has which line (PARTITION): today only `line`.
    pub partition: String,
    /// Whether `inc` and `add` are sent too (INC).
    pub inc: bool,
}

impl Options {
    /// Reads them, or says what is wrong with them.
    pub fn read() -> Options {
        let minutes: f64 = number("FAULTS_MINUTES").unwrap_or(60.0);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let only: Vec<String> = given("ONLY").unwrap_or_default();
        let kinds = match only.first().map(String::as_str) {
            Some("none") => Vec::new(),
            _ => Kind::meant(&only).unwrap_or_else(|why| panic!("ONLY: {why}, and none")),
        };
        Options {
            length: Duration::from_secs_f64(minutes * 60.0),
            seed: number("SEED").unwrap_or(clock),
            kinds,
            partition: variable("PARTITION").unwrap_or_else(|| "line".into()),
            inc: variable("INC").is_some_and(|inc| inc != "0"),
        }
    }
}

/// A variable that is set, and not to nothing.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A number.
pub fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = variable(name)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: need a number")))
}

fn given(name: &str) -> Option<Vec<String>> {
    let words = variable(name)?;
    Some(words.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}
