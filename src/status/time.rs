//! How moments and ages are written: RFC 3339 in UTC, whole seconds, and seconds with milliseconds. The
//! calendar is the proleptic Gregorian one, counted in eras of 400 years that begin on 1 March (Howard Hinnant,
//! "chrono-compatible low-level date algorithms"), so that the leap day is the last of its year.

use std::time::Duration;

const DAY: u64 = 86_400;

/// Writes seconds since the epoch as RFC 3339: `2026-11-23T05:36:44Z`.
///
/// ```
/// assert_eq!(status::rfc3339(1_795_412_204), "2026-11-23T05:36:44Z");
/// ```
pub fn rfc3339(epoch_s: u64) -> String {
    let (days, rest) = (epoch_s / DAY, epoch_s % DAY);
    let from_march_0000 = days + 719_468;
    let (era, day_of_era) = (from_march_0000 / 146_097, from_march_0000 % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    let year = era * 400 + year_of_era + next_year;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Reads what [`rfc3339`] writes, and nothing else; `None` for all other text.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let part = |at: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(at)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    let (year, month_from_march) =
        if month > 2 { (year, month.checked_sub(3)?) } else { (year.checked_sub(1)?, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let days = (era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100
        + day_of_year)
        .checked_sub(719_468)?;
    let epoch_s = days * DAY + hour * 3600 + minute * 60 + second;
    (rfc3339(epoch_s) == text).then_some(epoch_s) // so 31 February, or a missing Z, is no moment
}

/// A duration as the document has it: seconds, to the millisecond.
pub fn seconds(age: Duration) -> f64 {
    (age.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_date_has_them() {
        // date -u -d @N +%FT%TZ
        for (epoch_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_078_012_800, "2004-02-29T00:00:00Z"),
            (1_795_412_204, "2026-11-23T05:36:44Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(epoch_s), text);
            assert_eq!(parse_rfc3339(text), Some(epoch_s), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = rfc3339(0);
        for day in 1..146_097 {
            let text = rfc3339(day * DAY);
            assert!(text > before, "{before} {text}");
            assert_eq!(parse_rfc3339(&text), Some(day * DAY));
            before = text;
        }
        assert_eq!(before, "2369-12-31T00:00:00Z");
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "soon",
            "2026-02-31T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
        for text in [
            "2026-11-23T05:36:44",
            "2026-11-23 05:36:44Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T05:36:+4Z",
            "１２３４-11-23",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_have_milliseconds() {
        assert_eq!(seconds(Duration::from_micros(1_234_567)), 1.235);
    }
}
