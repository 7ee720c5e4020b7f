//! A threshold range, `[@]start:end`, as the Monitoring Plugins Development Guidelines have it ("Threshold and
//! Ranges"), and nothing besides: what the C library reads as 0 (`abc`, `10s`, `:`) is refused, since a threshold that
//! never alerts is worse than a plugin that complains.
//!
//! Start is at most end; `start:` goes up to infinity; `~` as start is minus infinity; a start of 0 may be left out,
//! its colon too. It alerts on what is outside, both ends being inside; with `@` on what is inside.

use std::fmt;

/// A range, and the text it was given as.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    text: String,
    start: f64,
    end: f64,
    inverted: bool,
}

impl Range {
    /// Reads a range, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Range, &'static str> {
        const GRAMMAR: &str = "a range is [@][start:][end], as in 10, 10:, ~:10, 10:20, @10:20";
        let (inverted, bare) = match text.strip_prefix('@') {
            Some(bare) => (true, bare),
            None => (false, text),
        };
        let (start, end) = match bare.split_once(':') {
            Some(("", "")) => return Err(GRAMMAR),
            Some((start, end)) => (start, end),
            None if bare.is_empty() => return Err(GRAMMAR),
            None => ("", bare),
        };
        let start = match start {
            "" => 0.0,
            "~" => f64::NEG_INFINITY,
            number => decimal(number).ok_or(GRAMMAR)?,
        };
        let end = match end {
            "" => f64::INFINITY,
            number => decimal(number).ok_or(GRAMMAR)?,
        };
        if start > end {
            return Err("its start is above its end");
        }
        Ok(Range { text: text.to_owned(), start, end, inverted })
    }

    /// Says whether `value` alerts.
    pub fn alerts(&self, value: f64) -> bool {
        (self.start <= value && value <= self.end) == self.inverted
    }

    /// Where a value that alerts lies, for people: `outside 10:20`, `inside @10:20`.
    pub fn side(&self) -> &'static str {
        if self.inverted { "inside" } else { "outside" }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `-12.5`: digits, one point between digits, a minus. No exponent, no unit, no plus, no infinity.
pub fn decimal(text: &str) -> Option<f64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let plain = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    let number = if plain { text.parse::<f64>().ok()? } else { return None };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn ranges_mean_what_the_guidelines_say() {
        // range, values that alert, values that do not
        let table: [(&str, &[f64], &[f64]); 16] = [
            ("10", &[-0.1, 10.1, -5.0], &[0.0, 5.0, 10.0]),
            ("0", &[-1.0, 0.1], &[0.0]),
            ("10:", &[9.9, -20.0], &[10.0, 1e12]),
            ("0:", &[-0.1], &[0.0, 1e12]),
            ("~:10", &[10.1], &[10.0, -1e12]),
            ("~:", &[], &[-1e12, 0.0, 1e12]),
            ("10:20", &[9.9, 20.1], &[10.0, 15.0, 20.0]),
            (":20", &[-0.1, 20.1], &[0.0, 20.0]),
            ("@10:20", &[10.0, 15.0, 20.0], &[9.9, 20.1]),
            ("@10", &[0.0, 10.0], &[-0.1, 10.1]),
            ("@10:", &[10.0, 1e12], &[9.9]),
            ("@~:10", &[-1e12, 10.0], &[10.1]),
            ("-20:-10", &[-21.0, -9.0, 0.0], &[-20.0, -10.0]),
            ("-5:", &[-5.1], &[-5.0, 0.0]),
            ("1.5:2.25", &[1.4, 2.3], &[1.5, 2.25]),
            ("7:7", &[6.0, 8.0], &[7.0]),
        ];
        for (text, alerts, fine) in table {
            let range = Range::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert!(alerts.iter().all(|&value| range.alerts(value)), "{text}");
            assert!(fine.iter().all(|&value| !range.alerts(value)), "{text}");
            assert_eq!(range.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "", ":", "@", "@:", "~", "@~", "~10", "20:10", "-10", "10:~", "~:~", "10s", "abc",
            "1:2:3", "1e3", "+5", "5.", ".5", "1.2.3", "1,5", " 5", "5 ", "5: 6", "inf", ":inf",
            "NaN", "0x10", "--5", "-", "-:5", "@@5", "5@", "5%", "٥", "10;20",
        ];
        for text in wrong {
            assert!(Range::parse(text).is_err(), "{text:?}");
        }
        assert!(Range::parse(&"9".repeat(400)).is_err(), "more than a number can be");
        assert_eq!(Range::parse("20:10"), Err("its start is above its end"));
    }

    /// Numbers without chance in them (Knuth's MMIX generator), so that a failure can be run again.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }

        fn decimal(&mut self) -> String {
            let sign = if self.below(3) == 0 { "-" } else { "" };
            let fraction =
                if self.below(3) == 0 { format!(".{}", self.below(10)) } else { String::new() };
            format!("{sign}{}{fraction}", self.below(30))
        }

        fn range(&mut self) -> String {
            let at = if self.below(3) == 0 { "@" } else { "" };
            let start = match self.below(4) {
                0 => String::new(),
                1 => "~:".to_owned(),
                _ => format!("{}:", self.decimal()),
            };
            let end = if self.below(4) == 0 { String::new() } else { self.decimal() };
            format!("{at}{start}{end}")
        }
    }

    #[test]
    fn verdicts_are_those_of_monitoring_plugin() {
        // Debian's libmonitoring-plugin-perl; PERL5LIB may name an unpacked one
        const ORACLE: &str = r#"
            use strict; use warnings; use Monitoring::Plugin::Range; local $SIG{__WARN__} = sub {};
            while (<STDIN>) { chomp; my ($spec, $value) = split /\t/, $_, -1;
                my $range = Monitoring::Plugin::Range->parse_range_string($spec);
                print defined $range ? $range->check_range($value) ? "ALERT" : "ok" : "INVALID", "\n" }"#;
        let have = Command::new("perl")
            .args(["-MMonitoring::Plugin::Range", "-e", "1"])
            .stderr(Stdio::null())
            .status();
        if !have.is_ok_and(|status| status.success()) {
            // not eprintln!, which the runner hides of a test that passes
            let _ = writeln!(
                std::io::stderr(),
                "*** SKIPPED verdicts_are_those_of_monitoring_plugin: apt-get install libmonitoring-plugin-perl"
            );
            return;
        }
        let mut numbers = Numbers(20_261_123);
        let pairs: Vec<(String, String)> =
            (0..10_000).map(|_| (numbers.range(), numbers.decimal())).collect();
        let questions: String =
            pairs.iter().map(|(range, value)| format!("{range}\t{value}\n")).collect();
        let mut perl = Command::new("perl")
            .args(["-e", ORACLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl is there");
        let mut stdin = perl.stdin.take().expect("it is piped");
        let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
        let answers = perl.wait_with_output().expect("it was started");
        writer.join().expect("it does not panic").expect("perl reads to the end");
        let answers = String::from_utf8(answers.stdout).expect("three ASCII words");
        let mut words = BTreeSet::new();
        assert_eq!(answers.lines().count(), pairs.len());
        for ((text, value), theirs) in pairs.iter().zip(answers.lines()) {
            let ours = match Range::parse(text) {
                Err(_) => "INVALID",
                Ok(range) if range.alerts(decimal(value).expect("made as one")) => "ALERT",
                Ok(_) => "ok",
            };
            assert_eq!(ours, theirs, "range {text:?}, value {value}");
            words.insert(ours);
        }
        assert_eq!(words.len(), 3, "all verdicts were met");
    }
}
