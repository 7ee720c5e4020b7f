//! A log record as one JSON object, by hand: what runs in the parent may not depend on a JSON
//! library, and writing is the easy half. A record that is too long for a line loses the ends of its
//! texts, never a key: what was cut anywhere else would be no JSON.

use slog::{KV, Key, OwnedKVList, Record, Serializer};
use std::fmt::{Arguments, Write};
use sys::sink::LINE;

/// So much of a text is told, in bytes, where there is not enough room for all of it: the first of these
/// with which the line fits.
const MOST: [usize; 5] = [usize::MAX, 1024, 256, 64, 16];

pub(crate) fn line(record: &Record<'_>, facts: &OwnedKVList) -> Vec<u8> {
    let now = time(sys::clock::wall_ms());
    let line = |most| object(record, facts, &now, most);
    // One byte is the sink's, for a line that the disk has torn.
    let fits = |line: &String| line.len() < LINE;
    MOST.into_iter().map(line).find(fits).unwrap_or_default().into_bytes()
}

fn object(record: &Record<'_>, facts: &OwnedKVList, now: &str, most: usize) -> String {
    let mut object = Object { json: String::with_capacity(256), most };
    object.text("time", now);
    object.text("level", &record.level().as_str().to_lowercase());
    object.text("message", &record.msg().to_string());
    // Cannot fail: this serializer answers Ok to everything.
    let _ = facts.serialize(record, &mut object);
    let _ = record.kv().serialize(record, &mut object);
    object.json.push_str("}\n");
    object.json
}

struct Object {
    json: String,
    /// No text is longer, as it is spelt here; what is cut ends with `…`.
    most: usize,
}

impl Object {
    fn key(&mut self, key: &str) {
        self.json.push(if self.json.is_empty() { '{' } else { ',' });
        self.string(key, usize::MAX);
        self.json.push(':');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text, if key == "time" { usize::MAX } else { self.most });
    }

    fn string(&mut self, text: &str, most: usize) {
        self.json.push('"');
        let begin = self.json.len();
        for c in text.chars() {
            if self.json.len() - begin >= most {
                self.json.push('…');
                break;
            }
            match c {
                '"' => self.json.push_str("\\\""),
                '\\' => self.json.push_str("\\\\"),
                '\n' => self.json.push_str("\\n"),
                c if c < ' ' => {
                    let _ = write!(self.json, "\\u{:04x}", c as u32); // a String takes everything
                }
                c => self.json.push(c),
            }
        }
        self.json.push('"');
    }
}

macro_rules! numbers {
    ($($name:ident $type:ty;)*) => {
        $(fn $name(&mut self, key: Key, value: $type) -> slog::Result {
            self.key(key);
            let _ = write!(self.json, "{value}");
            Ok(())
        })*
    };
}

impl Serializer for Object {
    numbers! {
        emit_usize usize; emit_isize isize; emit_bool bool; emit_u8 u8; emit_i8 i8; emit_u16 u16;
        emit_i16 i16; emit_u32 u32; emit_i32 i32; emit_u64 u64; emit_i64 i64; emit_f64 f64;
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
        let mut object = Object { json: String::new(), most: usize::MAX };
        object.text("a", "\"\\\n\u{1}ü");
        assert_eq!(object.json, r#"{"a":"\"\\\n\u0001ü""#);
    }

    #[test]
    fn a_text_is_cut_between_two_characters_and_no_key_is() {
        let mut object = Object { json: String::new(), most: 4 };
        object.text("a_long_key", "üüü");
        object.text("b", "\u{1}\u{1}");
        assert_eq!(object.json, r#"{"a_long_key":"üü…","b":"\u0001…""#);
    }

    #[test]
    fn whatever_there_is_to_be_told_the_line_fits() {
        let long = "\u{1}".repeat(5_000);
        let location = slog::record_static!(slog::Level::Info, "");
        for times in [0, 1, 20, 800, 5_000] {
            let text = &long[..times];
            let message = format_args!("m");
            let facts = OwnedKVList::from(slog::o!("role" => "worker 0"));
            let kv = slog::b!("a" => text, "b" => text, "c" => text, "d" => text, "e" => text, "f" => text,
                "g" => text, "h" => text, "i" => text, "j" => text);
            let line = line(&Record::new(&location, &message, kv), &facts);
            let line = String::from_utf8(line).unwrap();
            assert!(line.len() < LINE && line.ends_with("\"}\n"), "{line}");
            assert_eq!(line.matches(":\"").count(), 14, "every key is there: {line}");
            assert_eq!(line.contains('…'), times >= 800, "{line}");
        }
    }
}
