//! A strict reader of performance data, as the Monitoring Plugins Development Guidelines have it ("Performance data"), and
//! stricter where a consumer is: Icinga takes no `U` for a value that is not known, Graphite and RRD trip over other
//! letters in a label, RRD over a label that is like another in its first 19. Every run of the plugin is held against it.

const UNITS: [&str; 5] = ["", "s", "%", "B", "c"];

/// Reads the whole; says what is wrong with it.
pub fn judge(perf: &str) -> Result<(), String> {
    let mut labels: Vec<&str> = Vec::new();
    for item in perf.split(' ') {
        let wrong = |what: &str| Err(format!("{what}: {item:?}"));
        let Some((label, rest)) = item.split_once('=') else { return wrong("no label=value") };
        if label.is_empty() || !label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            return wrong("a label that somebody trips over");
        }
        if labels.iter().any(|other| short(other) == short(label)) {
            return wrong("a label like another");
        }
        labels.push(label);
        let fields: Vec<&str> = rest.split(';').collect();
        let unit =
            fields[0].trim_start_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
        let value = fields[0].strip_suffix(unit).unwrap_or_default();
        if !UNITS.contains(&unit) || !is_decimal(value) {
            return wrong("no value with a unit of the guidelines'");
        }
        if fields.len() > 5 || fields.last().is_some_and(|last| last.is_empty()) {
            return wrong("more fields than there are, or an empty end");
        }
        if !fields.iter().skip(1).take(2).all(|range| range.is_empty() || is_range(range)) {
            return wrong("a threshold that is no range");
        }
        if !fields.iter().skip(3).all(|limit| limit.is_empty() || is_decimal(limit)) {
            return wrong("a minimum or maximum that is no number");
        }
    }
    Ok(())
}

fn short(label: &str) -> &str {
    &label[..label.len().min(19)]
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole.strip_prefix('-').unwrap_or(whole)) && digits(fraction)
}

fn is_range(text: &str) -> bool {
    let bare = text.strip_prefix('@').unwrap_or(text);
    let (start, end) = bare.split_once(':').unwrap_or(("", bare));
    (start.is_empty() || start == "~" || is_decimal(start))
        && (end.is_empty() || is_decimal(end))
        && bare != ":"
}

#[test]
fn the_reader_is_strict() {
    for good in ["lag=0s;300;1800;0", "a=1;@10:20;~:5;0;4 b=-1.5c", "q=3;;;0", "w=4;1:;;0;4"] {
        assert_eq!(judge(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "lag",
        "lag=",
        "lag=U",
        "lag=1,5s",
        "lag=1e3",
        "lag=1ms",
        "Lag=1",
        "a.b=1",
        "lag=1s;300;1800;0;",
        "lag=1;;;0;1;2",
        "lag=1;abc",
        "lag=1;:",
        "lag=1;1;2;x",
        "lag=1  queue=2",
        "lag=1 lag=2",
        "a_label_of_some_length_a=1 a_label_of_some_length_b=2",
    ] {
        assert!(judge(bad).is_err(), "{bad}");
    }
}
