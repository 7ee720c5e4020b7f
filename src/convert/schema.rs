//! What a collection's schema says of a field, as Solr tells it (`/schema`, `/config`): whether there is
//! one, what it takes, and how many. [`crate::fits`] holds values against it.
//!
//! Nothing is guessed. A type that is not known here takes anything; and where an update chain stands
//! before the schema that may change what it is given, [`Certain`] says what is still sure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde_json::Value;

use crate::chain::Certain;

/// Longer an indexed term cannot be, nor a string with docValues, in bytes
/// (Lucene's `IndexWriter.MAX_TERM_LENGTH`).
pub(crate) const LONGEST_TERM: usize = 32_766;

/// A collection's schema.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The uniqueKey, if it has one.
    pub unique_key: Option<String>,
    /// Fields that every document must have, and that have no default.
    pub required: Vec<String>,
    /// What no update chain can change.
    pub certain: Certain,
    types: Vec<String>,
    fields: HashMap<String, Field>,
    /// The longest first, as Solr looks at them (`IndexSchema.DynamicField`).
    dynamic: Vec<(Pattern, Field)>,
    copies: Vec<Copy>,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Of what kind its values are.
    pub kind: Kind,
    /// Whether it takes one value and no more.
    pub is_single: bool,
    /// Whether a value is a term, or has docValues: [`LONGEST_TERM`] bounds a string then.
    pub(crate) is_term: bool,
    /// Whether it is copied as it is into a string field that has terms.
    pub(crate) is_copied_to_terms: bool,
    of: u16,
}

/// What a field's type makes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number of 32 bits.
    Float,
    /// A number of 64 bits.
    Double,
    /// `true` or `false`.
    Bool,
    /// A moment.
    Date,
    /// A text as it is.
    String,
    /// A text in words.
    Text,
    /// Something that is not known here.
    Other,
}

/// Names with a star at one end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// `attr_*`
    Begins(String),
    /// `*_s`
    Ends(String),
    /// `*`
    All,
}

/// A copyField without `maxChars`.
#[derive(Debug, Clone)]
struct Copy {
    source: Source,
    /// A name, or `*_s` where the source has a star, too.
    dest: String,
}

#[derive(Debug, Clone)]
enum Source {
    Name(String),
    Pattern(Pattern),
}

impl Schema {
    /// Reads the answers to `/schema` and to `/config?expandParams=true`; `None`: that was not to be had.
    pub fn read(schema: &[u8], config: Option<&[u8]>) -> Result<Schema, String> {
        let json = |bytes: &[u8], of: &str| {
            serde_json::from_slice::<Value>(bytes).map_err(|e| format!("{of} cannot be read: {e}"))
        };
        let answer = json(schema, "the schema")?;
        let certain = match config {
            None => Certain::unknown("the update chain cannot be read"),
            Some(config) => Certain::read(&json(config, "the update chain")?["config"]),
        };
        let schema = &answer["schema"];
        if !schema["fieldTypes"].is_array() || !schema["fields"].is_array() {
            return Err("what came back is no schema".into());
        }
        Ok(Schema::of(schema, certain))
    }

    fn of(schema: &Value, certain: Certain) -> Schema {
        let version = schema["version"].as_f64();
        let list = |name: &str| schema[name].as_array().map_or(&[][..], Vec::as_slice);
        let types: HashMap<&str, &Value> =
            list("fieldTypes").iter().filter_map(|t| Some((t["name"].as_str()?, t))).collect();
        let mut made = Schema {
            unique_key: schema["uniqueKey"].as_str().map(str::to_owned),
            required: Vec::new(),
            certain,
            types: Vec::new(),
            fields: HashMap::new(),
            dynamic: Vec::new(),
            copies: Vec::new(),
        };
        for field in list("fields") {
            let Some(name) = field["name"].as_str() else { continue };
            let read = made.field_of(field, &types, version);
            made.fields.insert(name.to_owned(), read);
            if flag(&field["required"]) == Some(true) && field["default"].is_null() {
                made.required.push(name.to_owned());
            }
        }
        for field in list("dynamicFields") {
            let Some(pattern) = field["name"].as_str().and_then(Pattern::read) else { continue };
            let read = made.field_of(field, &types, version);
            made.dynamic.push((pattern, read));
        }
        made.dynamic.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len())); // stable, as Solr's
        made.copies = list("copyFields").iter().filter_map(Copy::read).collect();
        made
    }

    /// A field by its own properties, its type's, and what goes without saying in that version.
    fn field_of(
        &mut self,
        field: &Value,
        types: &HashMap<&str, &Value>,
        version: Option<f64>,
    ) -> Field {
        let name = field["type"].as_str().unwrap_or_default();
        let of = types.get(name).copied().unwrap_or(&Value::Null);
        let property = |name: &str| flag(&field[name]).or_else(|| flag(&of[name]));
        let kind = Kind::of(of["class"].as_str().unwrap_or_default());
        let is_single = match property("multiValued") {
            Some(several) => !several,
            None => version.is_some_and(|version| version > 1.0),
        };
        let has_doc_values =
            property("docValues").unwrap_or(version.is_some_and(|version| version > 1.6));
        let number = self.types.iter().position(|known| known == name).unwrap_or_else(|| {
            self.types.push(name.to_owned());
            self.types.len() - 1
        });
        Field {
            kind,
            is_single,
            is_term: kind == Kind::String && (property("indexed") != Some(false) || has_doc_values),
            is_copied_to_terms: false,
            of: number.min(usize::from(u16::MAX)) as u16,
        }
    }

    /// The field of this name, as Solr finds it.
    pub fn field(&self, name: &str) -> Option<Field> {
        let field = self.fields.get(name).copied().or_else(|| {
            self.dynamic.iter().find(|(pattern, _)| pattern.has(name)).map(|(_, field)| *field)
        })?;
        let is_copied_to_terms = self.copy_to_terms(name).is_some();
        Some(Field { is_copied_to_terms, ..field })
    }

    /// The string field with terms into which this one is copied as it is.
    pub(crate) fn copy_to_terms(&self, name: &str) -> Option<Cow<'_, str>> {
        self.copies.iter().filter(|copy| copy.source.is(name)).find_map(|copy| {
            let dest = copy.dest_of(name)?;
            let field = self.fields.get(dest.as_ref()).or_else(|| {
                let found = self.dynamic.iter().find(|(pattern, _)| pattern.has(&dest));
                found.map(|(_, field)| field)
            });
            field.is_some_and(|field| field.is_term).then_some(dest)
        })
    }

    /// The name of a field's type.
    pub fn type_of(&self, field: Field) -> &str {
        self.types.get(usize::from(field.of)).map_or("", String::as_str)
    }

    /// The names of all fields that are no patterns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

/// A boolean, also as text, as some versions write it.
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

impl Kind {
    /// By the class of a type. A class of somebody's own could do anything.
    fn of(class: &str) -> Kind {
        let solrs = ["solr.", "org.apache.solr.schema."];
        match solrs.iter().find_map(|package| class.strip_prefix(package)) {
            Some("IntPointField") => Kind::Int,
            Some("LongPointField") => Kind::Long,
            Some("FloatPointField") => Kind::Float,
            Some("DoublePointField") => Kind::Double,
            Some("BoolField") => Kind::Bool,
            Some("DatePointField") => Kind::Date,
            Some("StrField") => Kind::String,
            Some("TextField" | "SortableTextField") => Kind::Text,
            _ => Kind::Other,
        }
    }
}

impl Pattern {
    fn read(text: &str) -> Option<Pattern> {
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Some(Pattern::All),
            (Some(end), None) => Some(Pattern::Ends(end.to_owned())),
            (None, Some(begin)) => Some(Pattern::Begins(begin.to_owned())),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Pattern::Begins(begin) => name.starts_with(begin),
            Pattern::Ends(end) => name.ends_with(end),
            Pattern::All => true,
        }
    }

    /// How much of a name it fixes. (Java counts UTF-16; in names that is hardly another order.)
    fn len(&self) -> usize {
        match self {
            Pattern::Begins(text) | Pattern::Ends(text) => text.encode_utf16().count(),
            Pattern::All => 0,
        }
    }
}

impl Source {
    fn is(&self, name: &str) -> bool {
        match self {
            Source::Name(own) => own == name,
            Source::Pattern(pattern) => pattern.has(name),
        }
    }
}

impl Copy {
    /// `None` where it is cut, so that nobody can say how long the copy is.
    fn read(copy: &Value) -> Option<Copy> {
        if copy["maxChars"].as_u64().is_some_and(|most| most > 0) {
            return None;
        }
        let (source, dest) = (copy["source"].as_str()?, copy["dest"].as_str()?);
        let source = match Pattern::read(source) {
            Some(pattern) => Source::Pattern(pattern),
            None => Source::Name(source.to_owned()),
        };
        Some(Copy { source, dest: dest.to_owned() })
    }

    /// Where the copy of a field goes: into the place of the star comes what the source's star stood for.
    fn dest_of(&self, name: &str) -> Option<Cow<'_, str>> {
        if !self.dest.contains('*') {
            return Some(Cow::Borrowed(&self.dest));
        }
        let star = match &self.source {
            Source::Pattern(Pattern::Begins(begin)) => name.strip_prefix(begin.as_str())?,
            Source::Pattern(Pattern::Ends(end)) => name.strip_suffix(end.as_str())?,
            Source::Pattern(Pattern::All) | Source::Name(_) => name,
        };
        Some(Cow::Owned(self.dest.replacen('*', star, 1)))
    }
}

/// Fields by name, as they were looked up: a delta has the same names again and again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    fields: HashMap<Box<str>, Option<Field>, BuildHasherDefault<NameHasher>>,
    /// The names of the last line in their order: the next one's are mostly the same.
    order: Vec<(Box<str>, Option<Field>)>,
    at: usize,
}

/// So many names are remembered; dynamic fields could have any number.
const MOST_KNOWN: usize = 4096;
/// A line with more members than these is looked up by name.
const MOST_IN_ORDER: usize = 128;

impl Known {
    /// The next name is a line's first.
    pub(crate) fn begin(&mut self) {
        self.at = 0;
    }

    pub(crate) fn field(&mut self, schema: &Schema, name: &str) -> Option<Field> {
        let at = self.at;
        self.at += 1;
        match self.order.get(at) {
            Some((known, field)) if **known == *name => return *field,
            _ => {}
        }
        let field = match self.fields.get(name) {
            Some(field) => *field,
            None => {
                if self.fields.len() >= MOST_KNOWN {
                    self.fields.clear();
                }
                let field = schema.field(name);
                self.fields.insert(name.into(), field);
                field
            }
        };
        match self.order.get_mut(at) {
            Some(entry) => *entry = (name.into(), field),
            None if at < MOST_IN_ORDER => self.order.push((name.into(), field)),
            None => {}
        }
        field
    }
}

/// Names are short, and the map is small and bounded: quick is worth more than hard to foresee.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
