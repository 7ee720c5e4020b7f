//! A document field by field. The line is gone through once, by serde_json's visitor over raw values:
//! of each member it is only noted where it stands. What is renamed, copied or passed through is
//! written from there byte for byte; no tree of values is built, and no number read.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use config::conversion::{self, Condition, Path, Scalar, Source, Step};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::cast::{Cast, Single, Steps};
use crate::fits::Checks;
use crate::json;
use crate::number::Decimal;
use crate::schema::Schema;

/// A plan, ready to be carried out line after line.
pub(crate) struct Fields {
    keep_all: bool,
    skip: Vec<Meets>,
    delete: Vec<Meets>,
    names: Names,
    fields: Vec<Field>,
    /// All fields but the id are operations.
    is_update: bool,
    /// The field that is the id.
    key: Option<usize>,
    unique_key: String,
    /// The names by which a document is judged.
    judged: Vec<String>,
}

/// A condition, ready.
struct Meets {
    place: Place,
    is: Is,
}

/// What a value is compared with.
enum Is {
    Text(String),
    Number(Decimal),
    Bool(&'static str),
}

/// The way to a value.
struct Place {
    /// The member of the line, by its number in [`Names`].
    member: usize,
    /// The way on from there.
    steps: Vec<Step>,
    is_many: bool,
}

/// One field, ready.
struct Field {
    name: String,
    /// Its number among the names by which a document is judged.
    judged: Option<usize>,
    /// What is written before its value: `"name":`, or `"name":{"set":`.
    before: String,
    /// And behind it.
    after: &'static str,
    source: From,
    /// What is done to its values; none: they are copied.
    steps: Option<Steps>,
    /// The JSON that stands in for what is missing.
    default: Option<String>,
}

/// Where a field's value comes from.
enum From {
    Place(Place),
    Join(Vec<Place>, String),
    Constant(String),
}

/// Names of members, found quickly.
#[derive(Default)]
struct Names {
    names: Vec<Name>,
    /// Which of them have so many bytes; the last list is for all that are longer.
    by_length: Vec<Vec<usize>>,
}

struct Name {
    name: String,
    /// It passes through where members do.
    passes: bool,
}

/// Longer names share a list.
const LONG: usize = 64;

impl Names {
    fn number(&mut self, name: &str) -> usize {
        if let Some(known) = self.names.iter().position(|known| known.name == name) {
            return known;
        }
        self.by_length.resize(LONG + 1, Vec::new());
        self.by_length[name.len().min(LONG)].push(self.names.len());
        self.names.push(Name { name: name.to_owned(), passes: true });
        self.names.len() - 1
    }

    fn find(&self, name: &str) -> Option<usize> {
        let same_length = self.by_length.get(name.len().min(LONG))?;
        let begin = name.as_bytes().first();
        same_length.iter().copied().find(|n| {
            let known = &self.names[*n].name;
            known.as_bytes().first() == begin && known == name
        })
    }
}

/// Bytes of a line or a document.
type Span = Range<usize>;

/// A member of the line that nobody named.
#[derive(Debug, Clone)]
struct Passing {
    /// Its name: where it stands in the line, if it stands there as it reads.
    name: Result<Span, String>,
    value: Span,
}

/// A member of the document.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    name: Whose,
    value: Span,
}

#[derive(Debug, Clone)]
enum Whose {
    Field(usize),
    Passing(usize),
}

/// Room for one line's work, used again for the next.
#[derive(Debug, Default)]
pub struct Scratch {
    /// What was made.
    pub(crate) out: String,
    /// What documents are held against.
    pub(crate) checks: RefCell<Checks>,
    found: Vec<Option<Span>>,
    passing: Vec<Passing>,
    seen: [u64; 4],
    written: Vec<Written>,
}

/// What a line becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// A document: `out`.
    Doc,
    /// A delete by id: `out` is `{"id":…}`.
    Delete,
    /// Nothing.
    Nothing,
}

impl Fields {
    pub(crate) fn new(plan: &conversion::Fields, unique_key: &str, judged: &[&str]) -> Fields {
        let mut names = Names::default();
        let mut meets = |conditions: &[Condition]| -> Vec<Meets> {
            conditions.iter().map(|condition| Meets::new(condition, &mut names)).collect()
        };
        let (skip, delete) = (meets(&plan.skip), meets(&plan.delete));
        let ready = |field| Field::new(field, judged, &mut names);
        let fields = plan.fields.iter().map(ready).collect();
        for field in &plan.fields {
            let sources = field.paths().map(Path::first);
            for name in sources.chain([field.name.as_str()]) {
                let number = names.number(name);
                names.names[number].passes = false;
            }
        }
        let key = plan.fields.iter().position(|field| field.name == unique_key);
        let mut others = plan.fields.iter().filter(|field| field.name != unique_key).peekable();
        let is_update = others.peek().is_some() && others.all(|field| field.update.is_some());
        let unique_key = unique_key.to_owned();
        let judged = judged.iter().map(|name| (*name).to_owned()).collect();
        Fields {
            keep_all: plan.keep_all,
            skip,
            delete,
            names,
            fields,
            is_update,
            key,
            unique_key,
            judged,
        }
    }

    /// Reads the line and makes of it what the plan says. An error of the outer kind: the line is no
    /// object; of the inner kind: it cannot be converted.
    pub(crate) fn make(
        &self,
        line: &str,
        scratch: &mut Scratch,
    ) -> Result<Result<Made, String>, String> {
        scratch.out.clear();
        scratch.found.clear();
        scratch.found.resize(self.names.names.len(), None);
        scratch.passing.clear();
        scratch.seen = [0; 4];
        scratch.written.clear();
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let read = match self.keep_all {
            true => Walk::<true> { line, fields: self, scratch }.deserialize(&mut deserializer),
            false => Walk::<false> { line, fields: self, scratch }.deserialize(&mut deserializer),
        };
        read.and_then(|()| deserializer.end()).map_err(|e| json::reason(&e))?;
        Ok(self.carry_out(line, scratch))
    }

    fn carry_out(&self, line: &str, scratch: &mut Scratch) -> Result<Made, String> {
        let meets = |conditions: &[Meets]| {
            conditions.iter().any(|condition| condition.is_met(line, &scratch.found))
        };
        if meets(&self.skip) {
            return Ok(Made::Nothing);
        }
        if meets(&self.delete) {
            return self.write_delete(line, scratch).map(|()| Made::Delete);
        }
        scratch.out.push('{');
        for (n, field) in self.fields.iter().enumerate() {
            let begin = scratch.out.len();
            if begin > 1 {
                scratch.out.push(',');
            }
            scratch.out.push_str(&field.before);
            let value = scratch.out.len();
            match field.write(line, &scratch.found, &mut scratch.out)? {
                Cast::Missing => scratch.out.truncate(begin),
                Cast::Written => {
                    scratch.out.push_str(field.after);
                    let name = Whose::Field(n);
                    // (An operation's object begins before its value.)
                    let value = if field.after.is_empty() { value } else { field.operation(begin) };
                    scratch.written.push(Written { name, value: value..scratch.out.len() });
                }
            }
        }
        for (n, member) in scratch.passing.iter().enumerate() {
            if scratch.out.len() > 1 {
                scratch.out.push(',');
            }
            match &member.name {
                // Its quotes stand around it.
                Ok(span) => scratch.out.push_str(&line[span.start - 1..span.end + 1]),
                Err(name) => json::write_string(name, &mut scratch.out),
            }
            scratch.out.push(':');
            let value = scratch.out.len();
            scratch.out.push_str(&line[member.value.clone()]);
            let value = value..scratch.out.len();
            scratch.written.push(Written { name: Whose::Passing(n), value });
        }
        scratch.out.push('}');
        match self.is_update && self.is_bare(line, scratch) {
            // Solr would take an id alone for a whole document, and put it in the place of what is there.
            true => Ok(Made::Nothing),
            false => Ok(Made::Doc),
        }
    }

    /// Whether the document is an id and nothing else.
    fn is_bare(&self, line: &str, scratch: &Scratch) -> bool {
        scratch.written.len() == 1
            && self.members(line, scratch).all(|(name, _)| name == self.unique_key)
    }

    /// Writes `{"id":…}` of the document that the line would be.
    fn write_delete(&self, line: &str, scratch: &mut Scratch) -> Result<(), String> {
        scratch.out.push_str("{\"id\":");
        let written = match self.key {
            Some(key) => self.fields[key].write(line, &scratch.found, &mut scratch.out)?,
            None => {
                match scratch.passing.iter().find(|member| member.name(line) == self.unique_key) {
                    Some(member) => {
                        scratch.out.push_str(&line[member.value.clone()]);
                        Cast::Written
                    }
                    None => Cast::Missing,
                }
            }
        };
        match written {
            Cast::Written => scratch.out.push('}'),
            Cast::Missing => return Err(format!("no {} for a delete", self.unique_key)),
        }
        Ok(())
    }

    /// The members of the document just made, each with its number among those by which it is judged;
    /// the last is the one that routing looks at.
    pub(crate) fn judged<'s, 'f>(
        &'s self,
        line: &'s str,
        scratch: &'s Scratch,
        router_field: Option<&'f str>,
    ) -> impl Iterator<Item = (Option<usize>, &'s str)> + use<'s, 'f> {
        scratch.written.iter().map(move |member| {
            let (number, name) = match member.name {
                Whose::Field(n) => (self.fields[n].judged, self.fields[n].name.as_str()),
                Whose::Passing(n) => {
                    let name = scratch.passing[n].name(line);
                    (self.judged.iter().position(|judged| judged == name), name)
                }
            };
            let routes = || router_field.filter(|field| *field == name).map(|_| self.judged.len());
            (number.or_else(routes), &scratch.out[member.value.clone()])
        })
    }

    /// The members of the document just made, by name.
    pub(crate) fn members<'s>(
        &'s self,
        line: &'s str,
        scratch: &'s Scratch,
    ) -> impl Iterator<Item = (&'s str, &'s str)> {
        scratch.written.iter().map(move |member| {
            let name = match member.name {
                Whose::Field(n) => self.fields[n].name.as_str(),
                Whose::Passing(n) => scratch.passing[n].name(line),
            };
            (name, &scratch.out[member.value.clone()])
        })
    }
}

impl Passing {
    fn name<'s>(&'s self, line: &'s str) -> &'s str {
        match &self.name {
            Ok(span) => &line[span.clone()],
            Err(name) => name,
        }
    }
}

impl Field {
    fn new(field: &conversion::Field, judged: &[&str], names: &mut Names) -> Field {
        let mut before = String::new();
        json::write_string(&field.name, &mut before);
        before.push(':');
        if let Some(update) = field.update {
            before.push_str(&format!("{{\"{}\":", update.word()));
        }
        Field {
            name: field.name.clone(),
            judged: judged.iter().position(|name| *name == field.name),
            before,
            after: if field.update.is_some() { "}" } else { "" },
            source: match &field.source {
                Source::Path(path) => From::Place(Place::new(path, names)),
                Source::Join { parts, with } => {
                    From::Join(parts.iter().map(|p| Place::new(p, names)).collect(), with.clone())
                }
                Source::Value(value) => From::Constant(Steps::constant(field, value)),
            },
            steps: Steps::new(field),
            default: field.default.as_ref().map(|value| Steps::constant(field, value)),
        }
    }

    /// Where the object of its operation begins, if the field begins at `begin`.
    fn operation(&self, begin: usize) -> usize {
        let comma = usize::from(begin > 1);
        let name = self.before.rfind(":{").map_or(0, |at| at + 1);
        begin + comma + name
    }

    /// Writes its value, or what stands in for it.
    fn write(&self, line: &str, found: &[Option<Span>], out: &mut String) -> Result<Cast, String> {
        let begin = out.len();
        let written = self.write_value(line, found, out);
        let written = written.map_err(|why| format!("{}: {why}", self.name))?;
        match (&self.default, written) {
            (Some(default), Cast::Missing) => {
                out.truncate(begin);
                out.push_str(default);
                Ok(Cast::Written)
            }
            (_, written) => Ok(written),
        }
    }

    fn write_value(
        &self,
        line: &str,
        found: &[Option<Span>],
        out: &mut String,
    ) -> Result<Cast, String> {
        match (&self.source, &self.steps) {
            (From::Constant(json), _) => {
                out.push_str(json);
                Ok(Cast::Written)
            }
            (From::Place(place), None) if !place.is_many => {
                let Some(raw) = place.one(line, found) else { return Ok(Cast::Missing) };
                out.push_str(raw);
                Ok(Cast::Written)
            }
            (From::Place(place), None) => {
                let begin = out.len();
                place.each(line, found, &mut |raw| {
                    out.push(if out.len() == begin { '[' } else { ',' });
                    out.push_str(raw);
                });
                Ok(end_list(begin, out))
            }
            (From::Place(place), Some(steps)) if !place.is_many => match place.one(line, found) {
                None => Ok(Cast::Missing),
                Some(raw) if raw.starts_with('[') => {
                    let mut list = Vec::new();
                    json::elements(raw, |element| list.push(element));
                    self.write_list(list, steps, out)
                }
                Some(raw) if steps.split.is_some() => {
                    let begin = out.len();
                    self.write_parts(&Single::read(raw)?, steps, begin, out)?;
                    Ok(end_list(begin, out))
                }
                Some(raw) => steps.apply(Single::read(raw)?, out),
            },
            (From::Place(place), Some(steps)) => {
                let mut list = Vec::new();
                place.each(line, found, &mut |raw| list.push(raw));
                self.write_list(list, steps, out)
            }
            (From::Join(parts, with), steps) => {
                let Some(joined) = join(parts, with, line, found)? else {
                    return Ok(Cast::Missing);
                };
                let joined = Single::Text(joined.into(), None);
                match steps {
                    None => {
                        json::write_string(joined.text(), out);
                        Ok(Cast::Written)
                    }
                    Some(steps) if steps.split.is_some() => {
                        let begin = out.len();
                        self.write_parts(&joined, steps, begin, out)?;
                        Ok(end_list(begin, out))
                    }
                    Some(steps) => steps.apply(joined, out),
                }
            }
        }
    }

    /// Writes several values, each with all that is done to it.
    fn write_list(&self, list: Vec<&str>, steps: &Steps, out: &mut String) -> Result<Cast, String> {
        let begin = out.len();
        for raw in list.into_iter().filter(|raw| *raw != "null") {
            self.write_parts(&Single::read(raw)?, steps, begin, out)?;
        }
        Ok(end_list(begin, out))
    }

    /// Writes what a value is parted into, behind what stands in the list already.
    fn write_parts(
        &self,
        value: &Single<'_>,
        steps: &Steps,
        begin: usize,
        out: &mut String,
    ) -> Result<(), String> {
        let mut write = |part: Single<'_>| {
            let before = out.len();
            out.push(if before == begin { '[' } else { ',' });
            match (steps.apply(part, out)?, &self.default) {
                (Cast::Written, _) => {}
                // Several values that stand in for one stand in the same list.
                (Cast::Missing, Some(default)) => {
                    let inner = default.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
                    out.push_str(inner.unwrap_or(default));
                }
                (Cast::Missing, None) => out.truncate(before),
            }
            Ok(())
        };
        match &steps.split {
            None => write(value.clone()),
            Some(by) => value
                .text()
                .split(by.as_str())
                .try_for_each(|part| write(Single::Text(part.into(), None))),
        }
    }
}

/// Ends a list, if one was begun.
fn end_list(begin: usize, out: &mut String) -> Cast {
    match out.len() == begin {
        true => Cast::Missing,
        false => {
            out.push(']');
            Cast::Written
        }
    }
}

/// The parts as one string; `None`: one of them is missing.
fn join(
    parts: &[Place],
    with: &str,
    line: &str,
    found: &[Option<Span>],
) -> Result<Option<String>, String> {
    let mut joined = String::with_capacity(64);
    for (n, place) in parts.iter().enumerate() {
        if n > 0 {
            joined.push_str(with);
        }
        match place.plain(line, found) {
            Some(raw) => joined.push_str(Single::read(raw)?.text()),
            None if !join_all(place, with, line, found, &mut joined)? => return Ok(None),
            None => {}
        }
    }
    Ok(Some(joined))
}

/// Joins all values of one part; answers whether there are any.
fn join_all(
    place: &Place,
    with: &str,
    line: &str,
    found: &[Option<Span>],
    joined: &mut String,
) -> Result<bool, String> {
    let mut values = Vec::new();
    place.each(line, found, &mut |raw| match raw.starts_with('[') {
        true => json::elements(raw, |element| values.push(element)),
        false => values.push(raw),
    });
    values.retain(|raw| *raw != "null");
    for (n, raw) in values.iter().enumerate() {
        if n > 0 {
            joined.push_str(with);
        }
        joined.push_str(Single::read(raw)?.text());
    }
    Ok(!values.is_empty())
}

impl Place {
    fn new(path: &Path, names: &mut Names) -> Place {
        let member = names.number(path.first());
        Place { member, steps: path.steps[1..].to_vec(), is_many: path.is_many() }
    }

    /// The value, where the way goes through no list; null is none.
    fn one<'l>(&self, line: &'l str, found: &[Option<Span>]) -> Option<&'l str> {
        let mut raw = &line[found[self.member].clone()?];
        for step in &self.steps {
            let Step::Member(name) = step else { return None };
            raw = json::last(raw, name)?;
        }
        Some(raw).filter(|raw| *raw != "null")
    }

    /// The value that is the member itself, where that is no list; null is none.
    fn plain<'l>(&self, line: &'l str, found: &[Option<Span>]) -> Option<&'l str> {
        if !self.steps.is_empty() {
            return None;
        }
        self.one(line, found).filter(|raw| !raw.starts_with('['))
    }

    /// Each value that the way leads to; null is none.
    fn each<'l>(&self, line: &'l str, found: &[Option<Span>], take: &mut dyn FnMut(&'l str)) {
        if let Some(span) = &found[self.member] {
            walk(&line[span.clone()], &self.steps, take);
        }
    }
}

fn walk<'l>(raw: &'l str, steps: &[Step], take: &mut dyn FnMut(&'l str)) {
    match steps.split_first() {
        None if raw == "null" => {}
        None => take(raw),
        Some((Step::Member(name), rest)) => {
            if let Some(value) = json::last(raw, name) {
                walk(value, rest, take);
            }
        }
        Some((Step::Each, rest)) if raw.starts_with('[') => {
            json::elements(raw, |element| walk(element, rest, take));
        }
        Some(_) => {} // it does not lead on from here
    }
}

impl Meets {
    fn new(condition: &Condition, names: &mut Names) -> Meets {
        let is = match &condition.is {
            Scalar::Text(text) => Is::Text(text.clone()),
            Scalar::Number(number) => {
                Is::Number(Decimal::read(&number.0).expect("the configuration has judged it"))
            }
            Scalar::Bool(true) => Is::Bool("true"),
            Scalar::Bool(false) => Is::Bool("false"),
        };
        Meets { place: Place::new(&condition.field, names), is }
    }

    fn is_met(&self, line: &str, found: &[Option<Span>]) -> bool {
        let mut is_met = false;
        self.place.each(line, found, &mut |raw| is_met |= self.is.same(raw));
        is_met
    }
}

impl Is {
    fn same(&self, raw: &str) -> bool {
        match self {
            Is::Text(text) => {
                raw.starts_with('"') && json::unescape(raw).is_some_and(|found| found == *text)
            }
            Is::Number(number) => Decimal::read(raw).is_some_and(|found| found == *number),
            Is::Bool(flag) => raw == *flag,
        }
    }
}

/// The walk through a line. `ALL`: members that nobody named are noted, too. (A parameter of the type:
/// each has code of its own then.)
struct Walk<'w, const ALL: bool> {
    line: &'w str,
    fields: &'w Fields,
    scratch: &'w mut Scratch,
}

impl<'de, const ALL: bool> DeserializeSeed<'de> for Walk<'_, ALL> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const ALL: bool> Visitor<'de> for Walk<'_, ALL> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let names = &self.fields.names;
        while let Some(key) = map.next_key_seed(Key::<ALL> { line: self.line, names })? {
            let number = match key {
                Found::Nobody => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Found::Passing(name) => {
                    let value = span(self.line, map.next_value::<&RawValue>()?.get());
                    self.scratch.pass(self.line, name, value);
                    continue;
                }
                Found::Named(number) => number,
            };
            let value = span(self.line, map.next_value::<&RawValue>()?.get());
            self.scratch.found[number] = Some(value.clone());
            if ALL && names.names[number].passes {
                let name = Err(names.names[number].name.clone());
                self.scratch.pass(self.line, name, value);
            }
        }
        Ok(())
    }
}

/// Where a part of the line stands in it.
fn span(line: &str, part: &str) -> Span {
    let begin = part.as_ptr() as usize - line.as_ptr() as usize;
    begin..begin + part.len()
}

impl Scratch {
    /// The same, for lines that are held against a schema.
    pub fn with(schema: Option<Arc<Schema>>) -> Scratch {
        Scratch { checks: RefCell::new(Checks::by(schema)), ..Scratch::default() }
    }

    /// Notes a member that passes; one that comes again takes the place of the earlier one.
    fn pass(&mut self, line: &str, name: Result<Span, String>, value: Span) {
        let member = Passing { name, value };
        let text = member.name(line);
        // By its length and its ends: only what agrees there is compared.
        let (first, last) = (text.bytes().next(), text.bytes().next_back());
        let mix = |byte: Option<u8>| usize::from(byte.unwrap_or_default());
        let hash = (text.len() * 31 + mix(first) * 7 + mix(last) * 3) % 256;
        let (word, bit) = (hash / 64, 1 << (hash % 64));
        if self.seen[word] & bit != 0 {
            let known = self.passing.iter_mut().find(|known| known.name(line) == text);
            if let Some(known) = known {
                known.value = member.value;
                return;
            }
        }
        self.seen[word] |= bit;
        self.passing.push(member);
    }
}

/// Whose member a key is.
enum Found {
    Named(usize),
    Passing(Result<Span, String>),
    Nobody,
}

/// A key, compared as what it means.
struct Key<'w, const ALL: bool> {
    line: &'w str,
    names: &'w Names,
}

impl<'de, const ALL: bool> DeserializeSeed<'de> for Key<'_, ALL> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, const ALL: bool> Visitor<'de> for Key<'_, ALL> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Found, E> {
        Ok(match self.names.find(key) {
            Some(number) => Found::Named(number),
            None if ALL => Found::Passing(Ok(span(self.line, key))),
            None => Found::Nobody,
        })
    }

    /// One that is spelled with escapes.
    fn visit_str<E>(self, key: &str) -> Result<Found, E> {
        Ok(match self.names.find(key) {
            Some(number) => Found::Named(number),
            None if ALL => Found::Passing(Err(key.to_owned())),
            None => Found::Nobody,
        })
    }
}
