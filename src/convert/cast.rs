//! What is done to one value of a line: parted, trimmed, mapped, cast. Only values that something is
//! done to come here; the others travel as they stand.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, SecondsFormat, Utc};
use config::conversion::{Case, DateFormat, Field, Number, Scalar, Type, Value};

use crate::json;
use crate::number::Decimal;

/// A single value of a line.
#[derive(Debug, Clone)]
pub(crate) enum Single<'a> {
    /// A string, and how it stands in the line, if nothing was done to it.
    Text(Cow<'a, str>, Option<&'a str>),
    /// A number, `true` or `false`, as it stands there.
    Bare(Cow<'a, str>),
}

impl<'a> Single<'a> {
    /// Reads a raw value that is single; else says what it is.
    pub(crate) fn read(raw: &'a str) -> Result<Single<'a>, String> {
        match raw.as_bytes()[0] {
            b'"' => match json::unescape(raw) {
                Some(text) => Ok(Single::Text(text, Some(raw))),
                None => Err(format!("{} has a lone surrogate", json::excerpt(raw))),
            },
            b'{' => Err("is an object, not a single value".into()),
            b'[' => Err("is a list within a list".into()),
            _ => Ok(Single::Bare(raw.into())),
        }
    }

    /// What it says.
    pub(crate) fn text(&self) -> &str {
        match self {
            Single::Text(text, _) => text,
            Single::Bare(raw) => raw,
        }
    }

    /// The same, of which nothing is owned.
    fn borrowed(&self) -> Single<'_> {
        match self {
            Single::Text(text, raw) => Single::Text(Cow::Borrowed(text), *raw),
            Single::Bare(raw) => Single::Bare(Cow::Borrowed(raw)),
        }
    }

    /// Of the configuration, where it was written as JSON.
    fn of_config(value: &Scalar) -> Single<'static> {
        match value {
            Scalar::Text(text) => Single::Text(text.clone().into(), None),
            Scalar::Number(Number(number)) => Single::Bare(number.clone().into()),
            Scalar::Bool(flag) => Single::Bare(flag.to_string().into()),
        }
    }
}

/// What becomes of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// It was written.
    Written,
    /// It is not there.
    Missing,
}

/// All that may be done to a field's values, in its order.
pub(crate) struct Steps {
    pub(crate) split: Option<String>,
    trim: bool,
    case: Option<Case>,
    map: Option<HashMap<String, Single<'static>>>,
    kind: Option<Kind>,
    scale: Option<Decimal>,
}

/// A type, ready.
enum Kind {
    String,
    Whole(std::ops::RangeInclusive<i64>, &'static str),
    Float,
    Double,
    Bool,
    Date(DateFormat, Vec<Item<'static>>),
}

impl Steps {
    /// `None`: there is nothing to be done, values are copied.
    pub(crate) fn new(field: &Field) -> Option<Steps> {
        let steps = Steps {
            split: field.split.clone(),
            trim: field.trim,
            case: field.case,
            map: field.map.as_ref().map(|map| {
                map.iter().map(|(from, to)| (from.clone(), Single::of_config(to))).collect()
            }),
            kind: field.kind.as_ref().map(Kind::new),
            scale: field
                .scale
                .as_ref()
                .map(|Number(text)| Decimal::read(text).expect("the configuration has judged it")),
        };
        let nothing = steps.split.is_none()
            && !steps.trim
            && steps.case.is_none()
            && steps.map.is_none()
            && steps.kind.is_none();
        (!nothing).then_some(steps)
    }

    /// Does all but `split` to a value, and writes what comes of it.
    pub(crate) fn apply(&self, value: Single<'_>, out: &mut String) -> Result<Cast, String> {
        let value = match value {
            Single::Text(text, raw) => self.edit(text, raw),
            bare => bare,
        };
        let value = match &self.map {
            None => value,
            Some(map) => match map.get(value.text()) {
                Some(to) => to.borrowed(),
                None => return Ok(Cast::Missing),
            },
        };
        match &self.kind {
            None => write(&value, out),
            Some(kind) => kind.cast(&value, self.scale.as_ref(), out)?,
        }
        Ok(Cast::Written)
    }

    fn edit<'a>(&self, text: Cow<'a, str>, raw: Option<&'a str>) -> Single<'a> {
        let mut edited = match text {
            Cow::Borrowed(text) if self.trim => Cow::Borrowed(text.trim()),
            Cow::Owned(text) if self.trim => Cow::Owned(text.trim().to_owned()),
            text => text,
        };
        match self.case {
            Some(Case::Lower) => edited = edited.to_lowercase().into(),
            Some(Case::Upper) => edited = edited.to_uppercase().into(),
            None => {}
        }
        let same = !self.trim && self.case.is_none();
        Single::Text(edited, raw.filter(|_| same))
    }

    /// The JSON of what stands in for a missing value.
    pub(crate) fn constant(field: &Field, value: &Value) -> String {
        let kind = field.kind.as_ref().map(Kind::new);
        let one = |value: &Scalar, out: &mut String| {
            let single = Single::of_config(value);
            let Some(kind) = &kind else { return write(&single, out) };
            // It was written for Solr, perhaps, not as in a line.
            let iso = Kind::Date(DateFormat::Iso, Vec::new());
            let is_date = matches!(kind, Kind::Date(..)) && iso.cast(&single, None, out).is_ok();
            if !is_date {
                kind.cast(&single, None, out).expect("the configuration has judged it");
            }
        };
        let mut out = String::new();
        match value {
            Value::One(value) => one(value, &mut out),
            Value::List(values) => {
                for value in values {
                    out.push(if out.is_empty() { '[' } else { ',' });
                    one(value, &mut out);
                }
                out.push(']');
            }
        }
        out
    }
}

/// Writes a value as it is.
fn write(value: &Single<'_>, out: &mut String) {
    match value {
        Single::Text(_, Some(raw)) => out.push_str(raw),
        Single::Text(text, None) => json::write_string(text, out),
        Single::Bare(raw) => out.push_str(raw),
    }
}

impl Kind {
    fn new(kind: &Type) -> Kind {
        match kind {
            Type::String => Kind::String,
            Type::Int => Kind::Whole(i32::MIN.into()..=i32::MAX.into(), "int"),
            Type::Long => Kind::Whole(i64::MIN..=i64::MAX, "long"),
            Type::Float => Kind::Float,
            Type::Double => Kind::Double,
            Type::Bool => Kind::Bool,
            Type::Date(format) => {
                let items = match format {
                    DateFormat::Pattern(pattern) => StrftimeItems::new(pattern)
                        .parse_to_owned()
                        .expect("the configuration has judged it"),
                    DateFormat::Iso | DateFormat::Unix => Vec::new(),
                };
                Kind::Date(format.clone(), items)
            }
        }
    }

    fn cast(
        &self,
        value: &Single<'_>,
        scale: Option<&Decimal>,
        out: &mut String,
    ) -> Result<(), String> {
        let text = value.text();
        let no = |what: &str| Err(format!("{} is no {what}", shown(value)));
        match self {
            Kind::String => match value {
                Single::Text(..) => write(value, out),
                Single::Bare(raw) => json::write_string(raw, out),
            },
            Kind::Whole(range, name) => {
                let plain = text.parse::<i64>().ok().filter(|_| scale.is_none());
                let scaled = || scaled(text, scale)?.whole();
                match plain.or_else(scaled).filter(|number| range.contains(number)) {
                    Some(_) if scale.is_none() && is_canonical(text) => out.push_str(text),
                    Some(number) => out.push_str(&number.to_string()),
                    None => return no(name),
                }
            }
            Kind::Float => match float(value, scale, 32) {
                Some(number) => out.push_str(&number),
                None => return no("float"),
            },
            Kind::Double => match float(value, scale, 64) {
                Some(number) => out.push_str(&number),
                None => return no("double"),
            },
            Kind::Bool => match text {
                "1" => out.push_str("true"),
                "0" => out.push_str("false"),
                _ if text.eq_ignore_ascii_case("true") => out.push_str("true"),
                _ if text.eq_ignore_ascii_case("false") => out.push_str("false"),
                _ => return no("bool"),
            },
            Kind::Date(format, items) => match date(value, format, items) {
                Some(date) => {
                    out.push('"');
                    out.push_str(&date.to_rfc3339_opts(SecondsFormat::AutoSi, true));
                    out.push('"');
                }
                None => return no(&describe(format)),
            },
        }
        Ok(())
    }
}

/// Whether a whole number is written as its digits and nothing else. (`+7`, `007`, `-0`, `7.0` are not.)
fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    text == "0" || (digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit))
}

fn scaled(text: &str, scale: Option<&Decimal>) -> Option<Decimal> {
    let number = Decimal::read(text)?;
    Some(match scale {
        Some(scale) => number.times(scale),
        None => number,
    })
}

/// A number of so many bits. What is JSON's number already stays as it stands, if it is not scaled.
fn float<'a>(value: &'a Single<'_>, scale: Option<&Decimal>, bits: u32) -> Option<Cow<'a, str>> {
    let text = value.text();
    if scale.is_none() && json::is_number(text) {
        let fits = match bits {
            32 => text.parse::<f32>().is_ok_and(f32::is_finite),
            _ => text.parse::<f64>().is_ok_and(f64::is_finite),
        };
        return fits.then_some(Cow::Borrowed(text));
    }
    let number = scaled(text, scale)?;
    let written = if bits == 32 { number.float() } else { number.double() };
    written.map(Cow::Owned)
}

fn date(value: &Single<'_>, format: &DateFormat, items: &[Item<'static>]) -> Option<DateTime<Utc>> {
    let text = value.text();
    match format {
        DateFormat::Pattern(_) => config::date::read(text, items.iter().cloned()),
        DateFormat::Unix | DateFormat::Iso => config::date::by_format(text, format),
    }
}

fn describe(format: &DateFormat) -> String {
    match format {
        DateFormat::Iso => "date such as 2024-07-02T09:05:45Z".into(),
        DateFormat::Unix => "date in seconds since 1970".into(),
        DateFormat::Pattern(pattern) => format!("date by {pattern}"),
    }
}

/// A value as a person would know it again.
fn shown(value: &Single<'_>) -> String {
    match value {
        Single::Text(text, _) => {
            let mut out = String::new();
            json::write_string(json::excerpt(text), &mut out);
            out
        }
        Single::Bare(raw) => json::excerpt(raw).to_owned(),
    }
}
