//! Durations and sizes as they are written: a whole number and its unit, nothing between, nothing
//! left out. Strict, because a `30` that is meant as seconds and read as something else is found by
//! nobody until it hurts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `250ms`, `30s`, `5m`, `1h`, `7d`; else what is wrong with it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    number_with_unit(text, &DURATIONS, "ms, s, m, h or d").map(Duration::from_millis)
}

/// `512B`, `64KiB`, `1MiB`, `10GiB`, `2TiB`, in bytes; else what is wrong with it.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    number_with_unit(text, &SIZES, "B, KiB, MiB, GiB or TiB")
}

/// `127.0.0.1:9984`, `[::1]:9984`; else what is wrong with it, where that can be told.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Option<String>> {
    match text.parse() {
        Ok(address) if SocketAddr::port(&address) != 0 => Ok(address),
        Ok(_) => Err(Some("need a port from 1 to 65535".to_owned())),
        Err(_) => Err(what_is_wrong_with_address(text)),
    }
}

fn what_is_wrong_with_address(text: &str) -> Option<String> {
    let plain = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    if let Some(address) = plain.filter(|plain| address(plain).is_ok()) {
        return Some(format!("need the address and the port alone: \"{address}\""));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(format!("need a port behind the address: \"{}\"", SocketAddr::new(ip, 9984)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let with_port = || format!("\"127.0.0.1:{}\"", port.parse::<u16>().unwrap_or(9984));
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        _ if !is_number => None,
        Ok(_) => Some("need a port from 1 to 65535".to_owned()),
        Err(_) if host.is_empty() => {
            Some(format!("need an address before the port: {}", with_port()))
        }
        Err(_) => {
            Some(format!("need an IP address, for no name is looked up here: {}", with_port()))
        }
    }
}

/// A duration as one would write it: in the largest unit that leaves no rest.
pub(crate) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS)
}

/// A size as one would write it: in the largest unit that leaves no rest.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, each): &&(&str, u64)| amount >= *each && amount % each == 0;
    let (unit, each) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{unit}", amount / each)
}

fn number_with_unit(text: &str, units: &[(&str, u64)], names: &str) -> Result<u64, String> {
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    if digits.is_empty() || unit.starts_with(['.', ',']) {
        return Err(format!("need a whole number and its unit ({names})"));
    }
    if unit.is_empty() {
        return Err(format!("its unit is missing ({names})"));
    }
    if unit.starts_with(char::is_whitespace) {
        return Err("no space between the number and its unit".to_owned());
    }
    if unit.contains(|c: char| c.is_ascii_digit()) {
        return Err(format!("need one number and one unit ({names})"));
    }
    let Some((_, each)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unknown unit {unit} (known: {names})"));
    };
    // Digits without end are a number still; every key's upper bound says what is wrong with it.
    Ok(digits.parse().unwrap_or(u64::MAX).saturating_mul(*each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, why) in [
            ("", "need a whole number and its unit (ms, s, m, h or d)"),
            ("s", "need a whole number and its unit (ms, s, m, h or d)"),
            ("-1s", "need a whole number and its unit (ms, s, m, h or d)"),
            ("1.5h", "need a whole number and its unit (ms, s, m, h or d)"),
            ("30", "its unit is missing (ms, s, m, h or d)"),
            ("30 s", "no space between the number and its unit"),
            ("30sec", "unknown unit sec (known: ms, s, m, h or d)"),
            ("30S", "unknown unit S (known: ms, s, m, h or d)"),
            ("1h30m", "need one number and one unit (ms, s, m, h or d)"),
        ] {
            assert_eq!(duration(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_size_counts_in_powers_of_1024_and_says_so() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("10GiB", 10 << 30),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("1MB"), Err("unknown unit MB (known: B, KiB, MiB, GiB or TiB)".to_owned()));
        assert_eq!(size("1024"), Err("its unit is missing (B, KiB, MiB, GiB or TiB)".to_owned()));
    }

    #[test]
    fn more_than_a_number_holds_is_the_most_it_holds() {
        assert_eq!(size("16777216TiB"), Ok(u64::MAX));
        assert_eq!(duration("99999999999999999999999s"), Ok(Duration::from_millis(u64::MAX)));
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for ms in [0, 1, 999, 1000, 1500, 60_000, 70_000, 3_600_000, 86_400_000, 90_000_000] {
            let amount = Duration::from_millis(ms);
            assert_eq!(duration(&show_duration(amount)), Ok(amount));
        }
        assert_eq!(show_duration(Duration::from_secs(70)), "70s");
        assert_eq!(show_duration(Duration::from_secs(300)), "5m");
        assert_eq!(show_size(1 << 20), "1MiB");
        assert_eq!(show_size(1000), "1000B");
    }
}
