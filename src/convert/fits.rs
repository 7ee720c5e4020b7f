//! Whether a value fits its field: what Solr would store as something else than was said, or refuse. Only
//! what is certain is refused here; with the rest Solr is asked, whose refusal is a reject as well.
//!
//! What Solr does to each type was seen, and `tests/solr/mangled.rs` asks a real one again. In short: a
//! number in a field of whole numbers is cut or wraps round, without a word; a string there must be one.
//! What is no number of that size, no date, or one too many is a 400.

use std::sync::Arc;

use crate::json::{self, excerpt};
use crate::number::Decimal;
use crate::schema::{Field, Kind, Known, LONGEST_TERM, Schema};

/// A shorter text of digits is no number beyond 32 bits.
const SHORT_INT: usize = 9;
/// The same for 64 bits, and for what a float can hold.
const SHORT_LONG: usize = 18;
const SHORT_FLOAT: usize = 38;

/// What a document's members are held against; without a schema, nothing.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    schema: Option<Arc<Schema>>,
    known: Known,
    /// Why the document is refused.
    reason: Option<String>,
}

impl Checks {
    pub(crate) fn by(schema: Option<Arc<Schema>>) -> Checks {
        // A schema of which nothing is certain refuses nothing.
        let schema = schema.filter(|schema| schema.certain.is_any());
        Checks { schema, ..Checks::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.schema.is_some()
    }

    /// The next member is a document's first.
    pub(crate) fn begin(&mut self) {
        self.reason = None;
        self.known.begin();
    }

    /// Looks at a member of the document, a raw value that is well-formed JSON.
    pub(crate) fn member(&mut self, name: &str, raw: &str) {
        let Some(schema) = &self.schema else { return };
        let field = self.known.field(schema, name);
        if self.reason.is_none() {
            self.reason = Judge { schema, name }.judge(field, raw).err();
        }
    }

    /// Why the document whose members were looked at is refused.
    pub(crate) fn end(&mut self) -> Option<String> {
        self.reason.take()
    }
}

/// One member under judgement. An error says why it is refused.
struct Judge<'s> {
    schema: &'s Schema,
    name: &'s str,
}

impl Judge<'_> {
    fn judge(&self, field: Option<Field>, raw: &str) -> Result<(), String> {
        let certain = &self.schema.certain;
        let Some(field) = field else { return self.unknown(raw) };
        if !certain.odd_names && self.is_odd() {
            return Ok(()); // it will have another name
        }
        match raw.as_bytes()[0] {
            b'n' => Ok(()),
            b'[' => self.list(field, raw),
            b'{' => self.operation(field, raw),
            _ => self.single(field, raw),
        }
    }

    /// What is Solr's own (`_version_`, `_childDocuments_`) is more than a field.
    fn is_solrs(&self) -> bool {
        self.name.starts_with('_') && self.name.ends_with('_')
    }

    fn is_odd(&self) -> bool {
        !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    }

    /// There is no such field. Nothing in it is nothing, and an object is perhaps a child.
    fn unknown(&self, raw: &str) -> Result<(), String> {
        let is_sent = match raw.as_bytes()[0] {
            b'n' | b'{' => false,
            b'[' => {
                let (mut values, mut objects) = (0, 0);
                json::elements(raw, |element| {
                    values += usize::from(element != "null");
                    objects += usize::from(element.starts_with('{'));
                });
                values > 0 && objects == 0
            }
            _ => true,
        };
        match is_sent && self.schema.certain.names && !self.is_solrs() {
            true => {
                Err(format!("unknown field {}: the schema has none of that name", self.shown()))
            }
            false => Ok(()),
        }
    }

    fn shown(&self) -> &str {
        match self.name {
            "" => "\"\"",
            name => excerpt(name),
        }
    }

    fn list(&self, field: Field, raw: &str) -> Result<(), String> {
        let is_of_texts = matches!(field.kind, Kind::String | Kind::Text | Kind::Other);
        let takes_any = is_of_texts && !field.is_single && raw.len() <= LONGEST_TERM;
        if takes_any || begins_with_object(raw) {
            return Ok(()); // what no walk through it could refuse
        }
        let mut elements = Vec::new();
        json::elements(raw, |element| elements.push(element));
        if elements.iter().any(|element| element.starts_with('{')) {
            return Ok(()); // children
        }
        // A vector, say, is one value with several numbers.
        let is_single = field.is_single && field.kind != Kind::Other && self.schema.certain.counts;
        if is_single && elements.len() > 1 && !self.is_solrs() {
            return self.refuse(field, format!("{} values, and it takes one", elements.len()));
        }
        let flat = |element: &&str| !element.starts_with(['[', 'n']);
        elements.into_iter().filter(flat).try_for_each(|element| self.single(field, element))
    }

    /// An atomic update: what is set or added is a value as any other.
    fn operation(&self, field: Field, raw: &str) -> Result<(), String> {
        let names = ["set", "add", "add-distinct", "inc"];
        let Ok(members) = json::members(raw, &names) else { return Ok(()) };
        let named = members.named.iter().take(names.len());
        let (all, values): (usize, Vec<_>) = (
            named.clone().map(|(count, _)| count).sum(),
            named.filter_map(|(_, raw)| *raw).collect(),
        );
        if all != members.count {
            return Ok(()); // a child, or something that Solr does not know either
        }
        values.into_iter().try_for_each(|raw| match raw.as_bytes()[0] {
            b'n' | b'{' => Ok(()),
            b'[' => self.list(field, raw),
            _ => self.single(field, raw),
        })
    }

    fn single(&self, field: Field, raw: &str) -> Result<(), String> {
        if self.is_solrs() {
            return Ok(());
        }
        let is_string = raw.starts_with('"');
        let certain = &self.schema.certain;
        match (field.kind, is_string) {
            (Kind::Int, false) if certain.numbers => {
                self.whole(field, raw, SHORT_INT, 32, i64::from(i32::MIN)..=i64::from(i32::MAX))
            }
            (Kind::Long, false) if certain.numbers => {
                self.whole(field, raw, SHORT_LONG, 64, i64::MIN..=i64::MAX)
            }
            (Kind::Float | Kind::Double, false) if certain.numbers => self.float(field, raw),
            (Kind::Bool, false) if certain.numbers => self.number_as_bool(field, raw),
            (Kind::Date, false) if certain.numbers => self.refuse(
                field,
                format!("{} is no date: need one such as \"2024-07-02T09:05:45Z\"", excerpt(raw)),
            ),
            (Kind::String | Kind::Text | Kind::Other, true) => self.length(field, raw),
            (_, true) if certain.strings => self.text(field, raw),
            _ => Ok(()),
        }
    }

    /// A number in a field of whole numbers: Solr takes it as a Java long or double and casts that.
    fn whole(
        &self,
        field: Field,
        raw: &str,
        short: usize,
        bits: u32,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<(), String> {
        let is_digits = |raw: &str| raw.bytes().all(|byte| byte.is_ascii_digit());
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        if digits.len() <= short && is_digits(digits) {
            return Ok(());
        }
        if matches!(raw, "true" | "false") {
            return self.refuse(field, format!("{raw} is no number"));
        }
        let number = Decimal::read(raw);
        let has_fraction = number.as_ref().is_some_and(|number| !number.is_whole());
        let exact = number.and_then(|number| number.whole());
        let stored = |value: i64| if bits == 32 { i64::from(value as i32) } else { value };
        match exact.filter(|value| range.contains(value)) {
            Some(value) if is_digits(digits) || value as f64 as i64 == value => Ok(()),
            _ => {
                let what = match exact {
                    None if has_fraction => "is no whole number".to_owned(),
                    Some(value) if range.contains(&value) => {
                        "has more digits than a double holds".to_owned()
                    }
                    _ => format!("is beyond {bits} bits"),
                };
                // Which it is: a long, or, with a point, a double, which is held at the bounds.
                let stores = match (is_digits(digits), raw.parse::<i64>(), raw.parse::<f64>()) {
                    (true, Ok(value), _) => Some(stored(value)),
                    (false, _, Ok(value)) if bits == 32 => Some(i64::from(value as i32)),
                    (false, _, Ok(value)) => Some(value as i64),
                    _ => None,
                };
                // A double with many digits it may read as none at all.
                let stores = stores.filter(|_| raw.len() <= SHORT_LONG);
                let would = stores.map_or(String::new(), |n| format!(", and Solr would store {n}"));
                self.refuse(field, format!("{} {what}{would}", excerpt(raw)))
            }
        }
    }

    fn float(&self, field: Field, raw: &str) -> Result<(), String> {
        match raw {
            "true" | "false" => self.refuse(field, format!("{raw} is no number")),
            _ if raw.len() <= SHORT_FLOAT && !raw.contains(['e', 'E']) => Ok(()),
            _ if is_finite(field.kind, raw) => Ok(()),
            _ => self.too_large(field, raw),
        }
    }

    fn too_large(&self, field: Field, raw: &str) -> Result<(), String> {
        self.refuse(field, format!("{} is too large, and Solr would store Infinity", excerpt(raw)))
    }

    /// Java asks for the first letter: 1 or t is true, and all else false.
    fn number_as_bool(&self, field: Field, raw: &str) -> Result<(), String> {
        let is_number = |raw: &str| !matches!(raw, "true" | "false");
        match is_number(raw) && !raw.starts_with('1') && raw.parse::<f64>() != Ok(0.0) {
            true => self.refuse(
                field,
                format!("{} is neither true nor false, and Solr would store false", excerpt(raw)),
            ),
            false => Ok(()),
        }
    }

    /// A string in a field of something else, which Java reads.
    fn text(&self, field: Field, raw: &str) -> Result<(), String> {
        let Some(text) = json::unescape(raw) else { return Ok(()) };
        let no = |what: &str| self.refuse(field, format!("{} is no {what}", excerpt(raw)));
        match field.kind {
            Kind::Int
                if java_long(&text)
                    .is_some_and(|n| n.is_none_or(|n| i32::try_from(n).is_err())) =>
            {
                no("whole number of 32 bits")
            }
            Kind::Long if java_long(&text) == Some(None) => no("whole number of 64 bits"),
            Kind::Float | Kind::Double => match java_float(&text) {
                Read::No => no("number"),
                Read::Number(number) if !is_finite(field.kind, number) => {
                    self.too_large(field, raw)
                }
                Read::Number(_) | Read::Perhaps => Ok(()),
            },
            Kind::Bool if ["yes", "y", "on"].iter().any(|yes| text.eq_ignore_ascii_case(yes)) => {
                self.refuse(
                    field,
                    format!(
                        "{} is neither true nor false, and Solr would store false",
                        excerpt(raw)
                    ),
                )
            }
            // (DateMathParser.parseMath)
            Kind::Date if !text.starts_with("NOW") && !text.contains('Z') => {
                no("date as Solr has them: need one such as \"2024-07-02T09:05:45Z\"")
            }
            _ => Ok(()),
        }
    }

    fn length(&self, field: Field, raw: &str) -> Result<(), String> {
        // Its quotes do not count; escapes make it shorter, never longer.
        if raw.len() <= LONGEST_TERM + 2 || !self.schema.certain.lengths {
            return Ok(());
        }
        if !field.is_term && !field.is_copied_to_terms {
            return Ok(());
        }
        let length = json::unescape(raw).map_or(0, |text| text.len());
        if length <= LONGEST_TERM {
            return Ok(());
        }
        let copy = self.schema.copy_to_terms(self.name).filter(|_| !field.is_term);
        let place = match &copy {
            Some(dest) => format!("its copy {} is a string field, which", excerpt(dest)),
            None => "a string field".to_owned(),
        };
        self.refuse(
            field,
            format!("it has {length} bytes, and {place} takes {LONGEST_TERM} at most"),
        )
    }

    fn refuse(&self, field: Field, why: String) -> Result<(), String> {
        Err(format!("{} ({}): {why}", self.shown(), self.schema.type_of(field)))
    }
}

/// Whether the first element of a list is an object: they are child documents.
fn begins_with_object(list: &str) -> bool {
    list[1..].trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{')
}

/// Whether a number is one that the field holds, and not infinite.
fn is_finite(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Float => text.parse::<f32>().is_ok_and(f32::is_finite),
        _ => text.parse::<f64>().is_ok_and(f64::is_finite),
    }
}

/// What `Long.parseLong` makes of a text; `Some(None)`: nothing. `None`: it may have digits that are
/// not ASCII's, which Java reads too.
fn java_long(text: &str) -> Option<Option<i64>> {
    text.is_ascii().then(|| text.parse().ok())
}

/// What `Double.parseDouble` makes of a text.
enum Read<'t> {
    /// A number in decimal.
    Number(&'t str),
    /// Something that only Java knows, as `0x1p3` or `NaN`.
    Perhaps,
    /// Nothing.
    No,
}

fn java_float(text: &str) -> Read<'_> {
    let text = text.trim_matches(|letter| letter <= ' ');
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(bare, "NaN" | "Infinity") || bare.starts_with("0x") || bare.starts_with("0X") {
        return Read::Perhaps;
    }
    let number = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    match Decimal::read(number) {
        Some(_) => Read::Number(number),
        None => Read::No,
    }
}

#[cfg(test)]
#[path = "fits_tests.rs"]
mod tests;
