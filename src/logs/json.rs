//! A log record as one JSON object, by hand: what runs in the parent may not depend on a JSON
//! library, and writing is the easy half.

use slog::{KV, Key, OwnedKVList, Record, Serializer};
use std::fmt::{Arguments, Write};

pub(crate) fn line(record: &Record<'_>, facts: &OwnedKVList) -> Vec<u8> {
    let mut object = Object(String::with_capacity(256));
    object.text("time", &time(sys::clock::wall_ms()));
    object.text("level", &record.level().as_str().to_lowercase());
    object.text("message", &record.msg().to_string());
    // Cannot fail: this serializer answers Ok to everything.
    let _ = facts.serialize(record, &mut object);
    let _ = record.kv().serialize(record, &mut object);
    object.0.push_str("}\n");
    object.0.into_bytes()
}

struct Object(String);

impl Object {
    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.string(key);
        self.0.push(':');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    fn string(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                c if c < ' ' => {
                    let _ = write!(self.0, "\\u{:04x}", c as u32); // a String takes everything
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }
}

macro_rules! numbers {
    ($($name:ident $type:ty;)*) => {
        $(fn $name(&mut self, key: Key, value: $type) -> slog::Result {
            self.key(key);
            let _ = write!(self.0, "{value}");
            Ok(())
        })*
    };
}

impl Serializer for Object {
    numbers! {
        emit_usize usize; emit_isize isize; emit_bool bool; emit_u8 u8; emit_i8 i8; emit_u16 u16;
        emit_i16 i16; emit_u32 u32; emit_i32 i32; emit_u64 u64; emit_i64 i64;
    }

    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        self.text(key, &value.to_string());
        Ok(())
    }

    fn emit_str(&mut self, key: Key, value: &str) -> slog::Result {
        self.text(key, value);
        Ok(())
    }
}

/// This is a moment as RFC 3339 has it, `2026-11-23T05:36:44.123Z`, of milliseconds since 1970.
pub fn time(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // Days to a date of the Gregorian calendar, by eras of 400 years counted from 1 March
    // (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (s, ms) = (rest / 1000, rest % 1000);
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(1_795_412_204_123), "2026-11-23T05:36:44.123Z");
    }

    #[test]
    fn text_is_escaped() {
        let mut object = Object(String::new());
        object.text("a", "\"\\\n\u{1}ü");
        assert_eq!(object.0, r#"{"a":"\"\\\n\u0001ü""#);
    }
}
