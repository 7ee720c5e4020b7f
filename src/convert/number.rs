//! Numbers by their digits: what a double cannot hold must not be changed on its way through one.

/// A JSON number as digits and a power of ten: `-19.90` is -1990 × 10⁻².
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    is_negative: bool,
    /// Its digits without zeros at either end, `b'0'` to `b'9'`; none: it is 0.
    digits: Vec<u8>,
    /// The power of ten that the last digit counts.
    exponent: i64,
}

impl Decimal {
    /// Reads a number as JSON writes it, and with a plus or without a digit on one side of the point,
    /// as people do.
    pub(crate) fn read(text: &str) -> Option<Decimal> {
        let (is_negative, rest) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], read_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(whole) || !is_plain(fraction) || whole.len() + fraction.len() == 0 {
            return None;
        }
        let digits = [whole.as_bytes(), fraction.as_bytes()].concat();
        let exponent = exponent.saturating_sub(fraction.len() as i64);
        Some(Decimal { is_negative, digits, exponent }.trimmed())
    }

    /// Takes the zeros from both ends.
    fn trimmed(mut self) -> Decimal {
        let ends = self.digits.iter().rev().take_while(|digit| **digit == b'0').count();
        self.digits.truncate(self.digits.len() - ends);
        self.exponent = self.exponent.saturating_add(ends as i64);
        let begins = self.digits.iter().take_while(|digit| **digit == b'0').count();
        self.digits.drain(..begins);
        if self.digits.is_empty() {
            (self.is_negative, self.exponent) = (false, 0);
        }
        self
    }

    /// The product, exactly. `factor` comes from the configuration, so it has few digits.
    pub(crate) fn times(&self, factor: &Decimal) -> Decimal {
        let mut sums = vec![0u32; self.digits.len() + factor.digits.len()];
        for (n, a) in self.digits.iter().rev().enumerate() {
            for (m, b) in factor.digits.iter().rev().enumerate() {
                sums[n + m] += u32::from(a - b'0') * u32::from(b - b'0');
            }
            // or many digits would be too many for a sum
            for at in n..n + factor.digits.len() {
                sums[at + 1] += sums[at] / 10;
                sums[at] %= 10;
            }
        }
        let mut digits = Vec::with_capacity(sums.len());
        let mut carry = 0;
        for sum in sums {
            digits.push(b'0' + ((sum + carry) % 10) as u8);
            carry = (sum + carry) / 10;
        }
        digits.reverse();
        let exponent = self.exponent.saturating_add(factor.exponent);
        Decimal { is_negative: self.is_negative != factor.is_negative, digits, exponent }.trimmed()
    }

    /// Whether it has no fraction.
    pub(crate) fn is_whole(&self) -> bool {
        self.exponent >= 0
    }

    /// As a whole number, if it is one of 64 bits.
    pub(crate) fn whole(&self) -> Option<i64> {
        if self.exponent < 0 || self.digits.len() as i64 + self.exponent > 19 {
            return None;
        }
        let sign = if self.is_negative { "-" } else { "" };
        let digits = std::str::from_utf8(&self.digits).expect("they are digits");
        let zeros = "0".repeat(self.exponent as usize);
        format!("{sign}0{digits}{zeros}").parse().ok()
    }

    /// In a form that Rust reads as the nearest float.
    fn scientific(&self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let digits = std::str::from_utf8(&self.digits).expect("they are digits");
        format!("{sign}0{digits}e{}", self.exponent)
    }

    /// Its digits and a point, if that is the shortest decimal anyway: of no more than `most` digits
    /// (`DIGITS` of a float) no two read as the same float. Neither very small nor very large, which are
    /// written with an exponent.
    fn short(&self, most: u32) -> Option<String> {
        let length = self.digits.len();
        if length > most as usize || !(-4..=8).contains(&self.exponent) {
            return None;
        }
        let sign = if self.is_negative { "-" } else { "" };
        let fraction = usize::try_from(-self.exponent).unwrap_or(0);
        let zeros = usize::try_from(self.exponent).unwrap_or(0);
        let digits = std::str::from_utf8(&self.digits).expect("they are digits");
        let (whole, part) = digits.split_at(length.saturating_sub(fraction));
        let mut text = String::with_capacity(length + 16);
        text.push_str(sign);
        text.push_str(if whole.is_empty() { "0" } else { whole });
        text.extend(std::iter::repeat_n('0', zeros));
        if fraction > 0 {
            text.push('.');
            text.extend(std::iter::repeat_n('0', fraction.saturating_sub(length)));
            text.push_str(part);
        }
        Some(text)
    }

    /// The shortest decimal that a double reads as this number; `None`: a double cannot be so large.
    pub(crate) fn double(&self) -> Option<String> {
        if let Some(text) = self.short(f64::DIGITS) {
            return Some(text);
        }
        let nearest: f64 = self.scientific().parse().ok()?;
        nearest.is_finite().then(|| shortest(format!("{nearest:?}")))
    }

    /// The same for a float of 32 bits.
    pub(crate) fn float(&self) -> Option<String> {
        if let Some(text) = self.short(f32::DIGITS) {
            return Some(text);
        }
        let nearest: f32 = self.scientific().parse().ok()?;
        nearest.is_finite().then(|| shortest(format!("{nearest:?}")))
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits without end are a number still.
    let size = digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Some(if text.starts_with('-') { -size } else { size })
}

/// Rust writes a point into every float; JSON needs none.
fn shortest(text: String) -> String {
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Decimal {
        Decimal::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn one_number_has_many_spellings() {
        for (one, other) in [
            ("1", "1.0"),
            ("1", "1e0"),
            ("100", "1E+2"),
            ("0.001", "1e-3"),
            ("-0.0", "0"),
            ("19.90", "19.9"),
            ("123456789012345678", "1.23456789012345678e17"),
            (".5", "0.5"),
            ("+5.", "5"),
            ("0e99999999999999999999", "0"),
        ] {
            assert_eq!(read(one), read(other), "{one} {other}");
        }
        assert_ne!(read("1e99999999999999999999"), read("1e9"));
        for text in ["", "-", ".", "1e", "e1", "1.2.3", "0x1", "inf", "NaN", "1,5", " 1", "1_000"] {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_product_is_exact() {
        let times = |a: &str, b: &str| read(a).times(&read(b));
        assert_eq!(times("1990", "0.01"), read("19.9"));
        assert_eq!(times("-0.5", "-4e3"), read("2000"));
        assert_eq!(times("0", "5"), read("0"));
        let (long, square) = ("9".repeat(200), "9".repeat(199) + "8" + &"0".repeat(199) + "1");
        assert_eq!(times(&long, &long), read(&square));
    }

    #[test]
    fn a_float_is_written_as_the_shortest_decimal_that_reads_back_the_same() {
        let product = |a: &str| read(a).times(&read("0.01"));
        assert_eq!(product("1990").double().unwrap(), "19.9");
        assert_eq!(product("1990").float().unwrap(), "19.9");
        assert_eq!(product("2000").double().unwrap(), "20");
        assert_eq!(product("7").float().unwrap(), "0.07");
        assert_eq!(product("-1").double().unwrap(), "-0.01");
        assert_eq!(product("1677721700").float().unwrap(), "16777216");
        assert_eq!(product("1e300").double().unwrap(), "1e298");
        assert_eq!(product("1e39").float().unwrap(), "1e37");
        assert_eq!(product("1e41").float(), None);
        assert_eq!(product("1e400").double(), None);
        assert_eq!(product("1e-400").double().unwrap(), "0");
    }

    #[test]
    fn a_number_of_few_digits_is_written_as_the_float_is() {
        for digits in (0..20_000_000).step_by(997).chain([1, 9, 10, 100_000, 999_999]) {
            for exponent in -9..=17 {
                let number = read(&format!("-{digits}e{exponent}"));
                let nearest: f32 = number.scientific().parse().unwrap();
                let double: f64 = number.scientific().parse().unwrap();
                assert_eq!(number.float().unwrap(), shortest(format!("{nearest:?}")), "{number:?}");
                assert_eq!(number.double().unwrap(), shortest(format!("{double:?}")), "{number:?}");
            }
        }
    }

    #[test]
    fn a_whole_number_is_exact_or_none() {
        assert_eq!(read("9223372036854775807").whole(), Some(i64::MAX));
        assert_eq!(read("-9223372036854775808").whole(), Some(i64::MIN));
        assert_eq!(read("9223372036854775808").whole(), None);
        assert_eq!(read("1e18").whole(), Some(1_000_000_000_000_000_000));
        assert_eq!((read("1.5").whole(), read("1e19").whole()), (None, None));
        assert_eq!((read("5.0").whole(), read("0").whole()), (Some(5), Some(0)));
    }
}
