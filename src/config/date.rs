//! Dates by a pattern. It stands here because what a pattern is good for must be known when the
//! configuration is checked; a conversion reads by the same function. (chrono is under the log
//! anyway, starts no thread, and asks no clock and no time zone here.)

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone, Utc};

use crate::conversion::DateFormat;

/// Reads a date by a strftime-like pattern. What the pattern leaves out of a date is its beginning (the
/// first of January, midnight); without a zone it is UTC. `None`: the text is none.
pub fn read<'a>(
    text: &str,
    pattern: impl Iterator<Item = Item<'a>> + Clone,
) -> Option<DateTime<Utc>> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, pattern).ok()?;
    if let Some(seconds) = parsed.timestamp() {
        return DateTime::from_timestamp(seconds, parsed.nanosecond().unwrap_or(0));
    }
    let (date, time) = (date(&mut parsed)?, time(&mut parsed)?);
    let local = date.and_time(time);
    match parsed.offset() {
        None => Some(local.and_utc()),
        Some(seconds) => {
            let zone = chrono::FixedOffset::east_opt(seconds)?;
            Some(zone.from_local_datetime(&local).single()?.to_utc())
        }
    }
}

fn date(parsed: &mut Parsed) -> Option<NaiveDate> {
    let by_day = parsed.ordinal().is_none()
        && parsed.week_from_sun().is_none()
        && parsed.week_from_mon().is_none()
        && parsed.isoweek().is_none();
    if by_day && parsed.day().is_none() {
        if parsed.month().is_none() {
            parsed.set_month(1).ok()?;
        }
        parsed.set_day(1).ok()?;
    }
    parsed.to_naive_date().ok()
}

fn time(parsed: &mut Parsed) -> Option<NaiveTime> {
    let has_hour = parsed.hour_div_12().is_some() || parsed.hour_mod_12().is_some();
    match has_hour || parsed.minute().is_some() {
        false => Some(NaiveTime::MIN),
        true => {
            if has_hour && parsed.minute().is_none() {
                parsed.set_minute(0).ok()?;
            }
            parsed.to_naive_time().ok()
        }
    }
}

/// Reads a date that is written as a format says.
pub fn by_format(text: &str, format: &DateFormat) -> Option<DateTime<Utc>> {
    match format {
        DateFormat::Iso => iso(text),
        DateFormat::Unix => unix(text),
        DateFormat::Pattern(pattern) => read(text, StrftimeItems::new(pattern)),
    }
}

/// Reads a date as RFC 3339 has it, or nearly: a zone that is left out is UTC, a time midnight.
fn iso(text: &str) -> Option<DateTime<Utc>> {
    const NEARLY: [&str; 6] = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%dT%H:%M%#z",
    ];
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.to_utc());
    }
    NEARLY.iter().find_map(|pattern| read(text, StrftimeItems::new(pattern)))
}

/// Reads seconds since 1970, of which nanoseconds count.
fn unix(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(seconds) = text.parse::<i64>() {
        return DateTime::from_timestamp(seconds, 0).filter(|_| !text.starts_with('+'));
    }
    let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, whole),
    };
    if !plain(digits) || !plain(fraction) {
        // As JSON may write it: 1.7e9.
        let seconds: f64 = text.parse().ok().filter(|s: &f64| s.abs() < 1e15)?;
        let is_number =
            text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let nanos = ((seconds - seconds.floor()) * 1e9) as u32;
        return DateTime::from_timestamp(seconds.floor() as i64, nanos).filter(|_| is_number);
    }
    let seconds: i64 = digits.parse().ok()?;
    let nanos: i64 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let (seconds, nanos) = match (sign, nanos) {
        (-1, 1..) => (-seconds - 1, 1_000_000_000 - nanos),
        _ => (sign * seconds, nanos),
    };
    DateTime::from_timestamp(seconds, u32::try_from(nanos).ok()?)
}

/// Judges a pattern: what it writes, it must read again.
pub(crate) fn judge(pattern: &str) -> Result<(), String> {
    let items: Vec<Item<'_>> = StrftimeItems::new(pattern).collect();
    if items.contains(&Item::Error) {
        return Err(format!(
            "{} means nothing in a pattern, such as \"%Y-%m-%d %H:%M:%S\" (or \"unix\")",
            unknown(pattern)
        ));
    }
    if items.iter().all(|item| matches!(item, Item::Literal(_) | Item::Space(_))) {
        return Err(
            "need \"unix\" or a pattern with % in it, such as \"%Y-%m-%d %H:%M:%S\"".to_owned()
        );
    }
    let some = DateTime::from_timestamp(1_751_447_145, 0).expect("a day in 2025");
    let written = some.format_with_items(items.iter()).to_string();
    match read(&written, items.iter().cloned()) {
        Some(_) => Ok(()),
        None => Err("tells no date: need a year at least, such as \"%Y-%m-%d\"".to_owned()),
    }
}

/// The first conversion that is none.
fn unknown(pattern: &str) -> &str {
    let percents = pattern.char_indices().filter(|(_, letter)| *letter == '%').map(|(at, _)| at);
    let ends =
        |at: usize| pattern[at..].char_indices().skip(1).map(move |(n, l)| at + n + l.len_utf8());
    for at in percents {
        // The shortest that means something, or what stands there.
        let good = |end: &usize| !StrftimeItems::new(&pattern[at..*end]).any(|i| i == Item::Error);
        if !ends(at).take(4).any(|end| good(&end)) {
            return &pattern[at..ends(at).next().unwrap_or(pattern.len())];
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_by(pattern: &str, text: &str) -> String {
        read(text, StrftimeItems::new(pattern)).map_or("none".into(), |date| date.to_rfc3339())
    }

    #[test]
    fn a_date_is_read_by_its_pattern() {
        for (pattern, text, date) in [
            ("%Y-%m-%d %H:%M:%S", "2024-07-02 09:05:45", "2024-07-02T09:05:45+00:00"),
            ("%d.%m.%Y", "2.7.2024", "2024-07-02T00:00:00+00:00"),
            ("%d/%b/%Y:%H:%M:%S %z", "02/Jul/2024:01:05:45 +0200", "2024-07-01T23:05:45+00:00"),
            ("%Y-%m-%dT%H:%M:%S%.fZ", "2024-07-02T09:05:45.25Z", "2024-07-02T09:05:45.250+00:00"),
            ("%s", "86400", "1970-01-02T00:00:00+00:00"),
            ("%Y", "1999", "1999-01-01T00:00:00+00:00"),
            ("%Y-%m", "1999-05", "1999-05-01T00:00:00+00:00"),
            ("%Y-%m-%d %H", "1999-05-06 07", "1999-05-06T07:00:00+00:00"),
            ("%Y-%j", "2024-060", "2024-02-29T00:00:00+00:00"),
            ("%Y-%m-%d", "2023-02-29", "none"),
            ("%Y-%m-%d", "2024-07-02x", "none"),
            ("%Y-%m-%d", "", "none"),
        ] {
            assert_eq!(read_by(pattern, text), date, "{pattern}");
        }
    }

    #[test]
    fn seconds_since_1970_may_have_a_fraction_and_be_before() {
        for (text, date) in [
            ("1719911145", "2024-07-02T09:05:45+00:00"),
            ("1719911145.5", "2024-07-02T09:05:45.500+00:00"),
            ("1.719911145e9", "2024-07-02T09:05:45+00:00"),
            ("0", "1970-01-01T00:00:00+00:00"),
            ("-0.25", "1969-12-31T23:59:59.750+00:00"),
            ("-86400", "1969-12-31T00:00:00+00:00"),
            ("", "none"),
            ("x", "none"),
            ("inf", "none"),
            ("1719911145 ", "none"),
            ("99999999999999999999", "none"),
        ] {
            let read = by_format(text, &DateFormat::Unix);
            assert_eq!(read.map_or("none".into(), |date| date.to_rfc3339()), date, "{text}");
        }
    }

    #[test]
    fn a_date_without_a_format_is_what_solr_writes_or_nearly() {
        for (text, date) in [
            ("2024-07-02T09:05:45Z", "2024-07-02T09:05:45+00:00"),
            ("2024-07-02T09:05:45.125+02:00", "2024-07-02T07:05:45.125+00:00"),
            ("2024-07-02T09:05:45+0200", "2024-07-02T07:05:45+00:00"),
            ("2024-07-02T09:05:45", "2024-07-02T09:05:45+00:00"),
            ("2024-07-02 09:05:45", "2024-07-02T09:05:45+00:00"),
            ("2024-07-02T09:05", "2024-07-02T09:05:00+00:00"),
            ("2024-07-02", "2024-07-02T00:00:00+00:00"),
            ("2024-07-32", "none"),
            ("02.07.2024", "none"),
            ("1719911145", "none"),
            ("NOW", "none"),
        ] {
            let read = by_format(text, &DateFormat::Iso);
            assert_eq!(read.map_or("none".into(), |date| date.to_rfc3339()), date, "{text}");
        }
    }

    #[test]
    fn a_pattern_that_reads_no_date_is_none() {
        for good in
            ["%Y-%m-%d", "%s", "%+", "%F %T", "%a, %d %b %Y %H:%M:%S %z", "%Y%m%d", "%G-W%V-%u"]
        {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("%Y-%Q-%d", "%Q means nothing"),
            ("%Y-%m-%", "% means nothing"),
            ("yyyy-MM-dd", "need \"unix\" or a pattern with %"),
            ("", "need \"unix\" or a pattern with %"),
            ("%H:%M", "tells no date"),
            ("%m-%d", "tells no date"),
        ] {
            let told = judge(bad).unwrap_err();
            assert!(told.starts_with(why), "{bad}: {told}");
        }
    }
}
