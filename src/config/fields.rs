//! The walk through `[convert]`. A conversion that would reject every line, or never do what it says,
//! is a mistake here: nobody should learn that from a delta.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::conversion::*;
use crate::date;
use crate::read::{Read, Section};

const FIELDS: &str = "[convert.fields] with id = \"sku\"";
const FIELD: &str =
    "a path such as \"title\", or a table such as { from = \"price\", type = \"float\" }";
const EXEC: &str = "[\"/usr/local/bin/convert\"]";
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);
const EXEC_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);
const CONDITION: &str = "[{ field = \"deleted\", is = true }]";

/// Reads the section; `None` where there is none, or it is wrong.
pub(crate) fn convert(mut section: Section<'_>, unique_key: &str) -> Option<Convert> {
    let at = section.place();
    let fields = section.value("fields");
    let jq = section.value("jq");
    let exec = section.value("exec");
    let timeout = section.duration("exec_timeout", EXEC_TIMEOUT, EXEC_TIMEOUTS);
    let keep = section.word("keep", &[("listed", false), ("all", true)]);
    let skip = section.value("skip");
    let delete = section.value("delete");
    if let Some(at) = at {
        one_way(&section, at, [("fields", fields), ("jq", jq), ("exec", exec)]);
    }
    if let (None, Some(way)) = (fields, jq.map(|_| "jq").or(exec.map(|_| "exec"))) {
        let keep = keep.place().map(|at| ("keep", at));
        let others = [("skip", skip), ("delete", delete)];
        let others = others.into_iter().filter_map(|(key, value)| Some((key, value?.span())));
        for (key, at) in keep.into_iter().chain(others) {
            section.wrong(
                key,
                at,
                &format!("belongs to fields, {way} says it itself: take it away"),
            );
        }
    }
    if let (None, Some(at)) = (exec, timeout.place()) {
        section.wrong("exec_timeout", at, "belongs to exec: take it away");
    }
    let convert = match (fields, jq) {
        (Some(table), _) => {
            let keep_all = keep.or(false);
            let skip = skip.map_or(Vec::new(), |list| conditions(&section, "skip", list));
            let delete = delete.map_or(Vec::new(), |list| conditions(&section, "delete", list));
            all_fields(&section, table, keep_all, unique_key)
                .map(|fields| Convert::Fields(Fields { keep_all, skip, delete, fields }))
        }
        (None, Some(value)) => program(&section, value).map(Convert::Jq),
        (None, None) => {
            let timeout = timeout.holds(EXEC_TIMEOUT);
            command(&mut section)
                .zip(timeout)
                .map(|((words, program), timeout)| Convert::Exec(Exec { words, program, timeout }))
        }
    };
    section.finish();
    convert
}

/// Says that a line is converted in one way.
fn one_way(
    section: &Section<'_>,
    at: Range<usize>,
    ways: [(&str, Option<&Spanned<DeValue<'_>>>); 3],
) {
    let mut given: Vec<_> =
        ways.iter().filter_map(|(key, value)| Some((*key, (*value)?.span()))).collect();
    given.sort_by_key(|(_, span)| span.start);
    match given.split_first() {
        None => section.page().mistake(
            at,
            format!(
                "[convert] has neither fields nor jq nor exec: add {FIELDS}, or leave the table out"
            ),
        ),
        Some(((first, _), others)) => {
            for (key, at) in others {
                let what = format!("fields, jq or exec, one of them: take {first} away, or this");
                section.wrong(key, at.clone(), &what);
            }
        }
    }
}

fn program(section: &Section<'_>, value: &Spanned<DeValue<'_>>) -> Option<Program> {
    let read = match value.get_ref() {
        DeValue::String(text) if text.trim().is_empty() => {
            Err("need a program, such as '{id: .sku}'".to_owned())
        }
        DeValue::String(text) => Ok(text.clone().into_owned()),
        _ => Err("need a program in jq such as '{id: .sku}', in quotes".to_owned()),
    };
    let text = section.judged("jq", value.span(), read).ok()?;
    Some(Program::new("convert.jq", text, section.page(), value.span()))
}

/// The operator's own converter: its words, and the first of them with its place.
fn command(section: &mut Section<'_>) -> Option<(Vec<String>, Program)> {
    let words = section.list("exec", EXEC, |word| match word.contains('\0') {
        true => Err("no NUL can stand in a program's arguments".to_owned()),
        false => Ok(word.to_owned()),
    });
    let words = words.ok()?;
    let (path, at) = words[0].clone();
    let read = match path.as_str() {
        "" => Err(format!("need the program's path, such as {EXEC}")),
        absolute if absolute.starts_with('/') => Ok(path),
        _ => Err(format!("need an absolute path, such as {EXEC}: nothing is looked for in PATH")),
    };
    let path = section.judged("exec", at.clone(), read).ok()?;
    let program = Program::new("convert.exec", path, section.page(), at);
    Some((words.into_iter().map(|(word, _)| word).collect(), program))
}

fn conditions(section: &Section<'_>, key: &str, list: &Spanned<DeValue<'_>>) -> Vec<Condition> {
    let need = format!("need a list of tables, such as {CONDITION}");
    let DeValue::Array(array) = list.get_ref() else {
        section.wrong(key, list.span(), &need);
        return Vec::new();
    };
    if array.is_empty() {
        section.wrong(key, list.span(), &format!("{need}, or leave it out"));
    }
    array.iter().filter_map(|element| condition(section, key, element, &need)).collect()
}

fn condition<'p>(
    section: &Section<'p>,
    key: &str,
    element: &'p Spanned<DeValue<'p>>,
    need: &str,
) -> Option<Condition> {
    if element.get_ref().as_table().is_none() {
        section.wrong(key, element.span(), need);
        return None;
    }
    let mut table = Section::of(section.page(), section.key(key), element);
    let field = path(&mut table, "field");
    if let Read::Absent = field {
        table.missing("field", "field = \"status\"");
    }
    let is = match table.value("is") {
        None => {
            table.missing("is", "is = true");
            None
        }
        Some(value) => table.judged("is", value.span(), scalar(value.get_ref())).ok(),
    };
    table.finish();
    Some(Condition { field: field.ok()?, is: is? })
}

fn path(section: &mut Section<'_>, key: &'static str) -> Read<Path> {
    section.string(key, "a path such as \"price.amount\"", Path::read)
}

/// All fields, in the order of the file; `None` if one is wrong.
fn all_fields<'p>(
    section: &Section<'p>,
    table: &'p Spanned<DeValue<'p>>,
    keep_all: bool,
    unique_key: &str,
) -> Option<Vec<Field>> {
    let at = table.span();
    if table.get_ref().as_table().is_none() {
        section.wrong("fields", at, &format!("need a table, {FIELDS}"));
        return None;
    }
    let fields = Section::of(section.page(), section.key("fields"), table);
    let entries = fields.entries();
    if entries.is_empty() {
        section.wrong("fields", at, "need one field at least, such as id = \"sku\"");
        return None;
    }
    let mut good = Vec::new();
    for (name, value) in &entries {
        let told = name.get_ref().as_ref();
        let read = match told.is_empty() || told.contains(char::is_control) {
            true => Err("no field of Solr's has such a name".to_owned()),
            false => Ok(()),
        };
        fields.judged(told, name.span(), read);
        good.extend(field(&fields, told, value, told == unique_key));
    }
    let is_whole = good.len() == entries.len();
    let named = |name: &str| entries.iter().any(|(key, _)| key.get_ref() == name);
    if !named(unique_key) {
        let source = good.iter().find(|field| field.takes(unique_key));
        let add = format!("add {unique_key} = \"…\" to [convert.fields]");
        match (keep_all, source) {
            (false, _) => section
                .page()
                .mistake(at, format!("convert.fields.{unique_key} is missing, the uniqueKey: {add}")),
            (true, Some(field)) => section.page().mistake(
                at,
                format!(
                    "convert.fields.{unique_key} is missing: as the source of {} the uniqueKey does not stay under its name: {add}",
                    field.name
                ),
            ),
            (true, None) => {}
        }
    }
    is_whole.then_some(good)
}

impl Field {
    /// Whether a member of the line is its source, or part of it.
    pub fn takes(&self, member: &str) -> bool {
        self.paths().any(|path| path.first() == member)
    }

    /// The places in a line that it is made of.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let paths: &[Path] = match &self.source {
            Source::Path(path) => std::slice::from_ref(path),
            Source::Join { parts, .. } => parts,
            Source::Value(_) => &[],
        };
        paths.iter()
    }

    /// Whether its value is a member of the line, as it is there.
    pub fn is_rename(&self) -> bool {
        let as_it_is =
            self.split.is_none() && !self.trim && self.case.is_none() && self.map.is_none();
        matches!(&self.source, Source::Path(path) if path.is_member())
            && as_it_is
            && self.kind.is_none()
            && self.default.is_none()
    }
}

fn field<'p>(
    fields: &Section<'p>,
    name: &str,
    value: &'p Spanned<DeValue<'p>>,
    is_key: bool,
) -> Option<Field> {
    let plain = |path: Path| Field {
        name: name.to_owned(),
        source: Source::Path(path),
        split: None,
        trim: false,
        case: None,
        map: None,
        kind: None,
        scale: None,
        default: None,
        update: None,
    };
    let read = match value.get_ref() {
        DeValue::String(text) => Path::read(text).map(Some),
        DeValue::Table(_) => Ok(None),
        _ => Err(format!("need {FIELD}")),
    };
    match fields.judged(name, value.span(), read) {
        Read::Good(Some(path), _) => Some(plain(path)),
        Read::Good(None, _) => {
            field_table(Section::of(fields.page(), fields.key(name), value), name, is_key)
        }
        Read::Absent | Read::Wrong => None,
    }
}

/// A field that is a table of its own.
fn field_table(mut section: Section<'_>, name: &str, is_key: bool) -> Option<Field> {
    let source = source(&mut section);
    let split = section.string("split", "what parts a list, such as \",\"", |text| match text {
        "" => Err("need what parts a list, such as \",\"".to_owned()),
        _ => Ok(text.to_owned()),
    });
    let trim = section.flag("trim");
    let case = section.word("case", &[("lower", Case::Lower), ("upper", Case::Upper)]);
    let kind = kind(&mut section);
    let scale = scale(&mut section, &kind);
    // What is multiplied is a number.
    let kind = match (&kind, &scale) {
        (Read::Absent, Read::Good(_, at)) => Read::Good(Type::Double, at.clone()),
        _ => kind,
    };
    let wanted = match &kind {
        Read::Good(kind, _) => Some(kind.clone()),
        Read::Absent | Read::Wrong => None,
    };
    let map = map(&mut section, wanted.as_ref());
    let default = constant(&mut section, "default", wanted.as_ref());
    let update = section.word("update", &Update::WORDS);
    let value_is_written = matches!(source, Read::Good(Source::Value(_), _));
    if value_is_written {
        for (key, at) in [
            ("split", split.place()),
            ("trim", trim.place()),
            ("case", case.place()),
            ("scale", scale.place()),
            ("map", map.place()),
            ("default", default.place()),
        ] {
            if let Some(at) = at {
                section.wrong(
                    key,
                    at,
                    "has no effect on a value, which is the same for all lines: take it away",
                );
            }
        }
    }
    if let (true, Read::Good(_, at)) = (is_key, &update) {
        section.wrong(
            "update",
            at.clone(),
            "this is the uniqueKey, which no update changes: take it away",
        );
    }
    section_is_whole(&section, &source);
    let source = source.ok();
    if let Some(Source::Value(value)) = &source {
        let fits = each(value).try_for_each(|value| fits(value, wanted.as_ref()));
        if let (Err(what), Some(at)) = (fits, section.value("value").map(Spanned::span)) {
            section.wrong("value", at, &what);
        }
    }
    let field = Field {
        name: name.to_owned(),
        source: source.unwrap_or(Source::Value(Value::One(Scalar::Bool(false)))), // a mistake is noted
        split: split.ok(),
        trim: trim.or(false),
        case: case.ok(),
        map: map.ok(),
        kind: wanted,
        scale: scale.ok(),
        default: default.ok(),
        update: update.ok(),
    };
    section.finish();
    Some(field)
}

/// Says so where no source is given.
fn section_is_whole(section: &Section<'_>, source: &Read<Source>) {
    if let (Read::Absent, Some(at)) = (source, section.place()) {
        let name = section.key("from");
        section.page().mistake(
            at,
            format!(
                "{name} is missing: need from = \"…\", or join = [\"…\", \"…\"], or value = \"…\""
            ),
        );
    }
}

/// `from`, `join` or `value`, and nothing beside it.
fn source(section: &mut Section<'_>) -> Read<Source> {
    let from = path(section, "from");
    let join = section.list("join", "[\"shop\", \"sku\"]", Path::read);
    let with =
        section.string("with", "what stands between, such as \":\"", |text| Ok(text.to_owned()));
    let value = constant(section, "value", None);
    if let (Read::Absent, Read::Good(_, at)) = (&join, &with) {
        section.wrong(
            "with",
            at.clone(),
            "goes with join = [\"…\", \"…\"]: take it away, or add that",
        );
    }
    let given = [("from", from.place()), ("join", join.place()), ("value", value.place())];
    let mut given: Vec<_> = given.into_iter().filter_map(|(key, at)| Some((key, at?))).collect();
    given.sort_by_key(|(_, at)| at.start);
    if let Some(((first, _), others)) = given.split_first() {
        for (key, at) in others {
            let what = format!("from, join or value, one of them: take {first} away, or this");
            section.wrong(key, at.clone(), &what);
        }
    }
    match (from, join, value) {
        (Read::Good(path, at), ..) => Read::Good(Source::Path(path), at),
        (_, Read::Good(parts, at), _) => {
            let parts = parts.into_iter().map(|(path, _)| path).collect();
            Read::Good(Source::Join { parts, with: with.or(String::new()) }, at)
        }
        (.., Read::Good(value, at)) => Read::Good(Source::Value(value), at),
        (Read::Absent, Read::Absent, Read::Absent) => Read::Absent,
        _ => Read::Wrong,
    }
}

/// `type`, and `format` that goes with one of them.
fn kind(section: &mut Section<'_>) -> Read<Type> {
    let types = ["string", "int", "long", "float", "double", "bool", "date"];
    let words = types.map(|word| (word, word));
    let kind = section.word("type", &words);
    let format =
        section.string("format", "\"unix\" or a pattern such as \"%Y-%m-%d\"", |text| match text {
            "unix" => Ok(DateFormat::Unix),
            _ => date::judge(text).map(|()| DateFormat::Pattern(text.to_owned())),
        });
    let at = kind.place();
    if let (Read::Absent | Read::Good(_, _), Some(_), Some(at)) =
        (&kind, other_than_date(&kind), format.place())
    {
        section.wrong("format", at, "goes with type = \"date\": take it away, or write that");
    }
    match (kind, at) {
        (Read::Good(word, _), Some(at)) => {
            let kind = match word {
                "string" => Type::String,
                "int" => Type::Int,
                "long" => Type::Long,
                "float" => Type::Float,
                "double" => Type::Double,
                "bool" => Type::Bool,
                _ => Type::Date(format.or(DateFormat::Iso)),
            };
            Read::Good(kind, at)
        }
        (Read::Absent, _) => Read::Absent,
        _ => Read::Wrong,
    }
}

/// The type, where it is none of dates.
fn other_than_date(kind: &Read<&str>) -> Option<()> {
    match kind {
        Read::Good("date", _) => None,
        _ => Some(()),
    }
}

fn scale(section: &mut Section<'_>, kind: &Read<Type>) -> Read<Number> {
    let Some(value) = section.value("scale") else { return Read::Absent };
    let read = match scalar(value.get_ref()) {
        Ok(Scalar::Number(number)) => match number.0.parse::<f64>() {
            Ok(0.0) => Err("makes 0 of everything: need another number, such as 0.01".to_owned()),
            _ => Ok(number),
        },
        _ => Err("need a number without quotes, such as 0.01".to_owned()),
    };
    let scale = section.judged("scale", value.span(), read);
    if let (Read::Good(Type::String | Type::Bool | Type::Date(_), _), Read::Good(_, at)) =
        (kind, &scale)
    {
        let what =
            "goes with a number: need type = \"int\", \"long\", \"float\" or \"double\" beside it";
        section.wrong("scale", at.clone(), what);
        return Read::Wrong;
    }
    scale
}

fn map(section: &mut Section<'_>, kind: Option<&Type>) -> Read<Vec<(String, Scalar)>> {
    let like = "{ \"1\" = \"yes\", \"0\" = \"no\" }";
    let Some(value) = section.value("map") else { return Read::Absent };
    let at = value.span();
    if value.get_ref().as_table().is_none() {
        section.wrong("map", at, &format!("need a table, such as {like}"));
        return Read::Wrong;
    }
    let table = Section::of(section.page(), section.key("map"), value);
    let entries = table.entries();
    if entries.is_empty() {
        section.wrong("map", at, &format!("need one value at least, such as {like}"));
        return Read::Wrong;
    }
    let mut good = Vec::new();
    for (from, to) in &entries {
        let read = scalar(to.get_ref()).and_then(|to| can_become(&to, kind).map(|()| to));
        let read = table.judged(from.get_ref(), to.span(), read);
        good.extend(read.ok().map(|to| (from.get_ref().clone().into_owned(), to)));
    }
    if good.len() == entries.len() { Read::Good(good, at) } else { Read::Wrong }
}

/// A value that goes into documents as it is written; it must fit the type.
fn constant(section: &mut Section<'_>, key: &'static str, kind: Option<&Type>) -> Read<Value> {
    let Some(value) = section.value(key) else { return Read::Absent };
    let one = |value: &DeValue<'_>| scalar(value).and_then(|one| fits(&one, kind).map(|()| one));
    let read = match value.get_ref() {
        DeValue::Array(array) if array.is_empty() => Err("need one value at least".to_owned()),
        DeValue::Array(array) => array
            .iter()
            .map(|element| one(element.get_ref()))
            .collect::<Result<_, _>>()
            .map(Value::List),
        single => one(single).map(Value::One),
    };
    section.judged(key, value.span(), read)
}

fn each(value: &Value) -> impl Iterator<Item = &Scalar> {
    match value {
        Value::One(one) => std::slice::from_ref(one).iter(),
        Value::List(list) => list.iter(),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<Scalar, String> {
    match value {
        DeValue::String(text) => Ok(Scalar::Text(text.clone().into_owned())),
        DeValue::Boolean(flag) => Ok(Scalar::Bool(*flag)),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(Scalar::Number(Number(number.to_string()))),
            Err(_) => Err("a number has 64 bits at most".to_owned()),
        },
        DeValue::Float(number) => {
            let text = number.as_str().trim_start_matches('+');
            match text.parse::<f64>() {
                Ok(finite) if finite.is_finite() => Ok(Scalar::Number(Number(text.to_owned()))),
                _ => Err("JSON has no such number".to_owned()),
            }
        }
        DeValue::Datetime(_) => Err("need quotes around a date".to_owned()),
        DeValue::Array(_) | DeValue::Table(_) => {
            Err("need a string, a number, true or false".to_owned())
        }
    }
}

/// Whether a value of the configuration is of a type.
fn fits(value: &Scalar, kind: Option<&Type>) -> Result<(), String> {
    let whole = |number: &Number| number.0.parse::<i64>().ok();
    match (kind, value) {
        (None | Some(Type::String), _) => Ok(()),
        (Some(Type::Int), Scalar::Number(n))
            if whole(n).is_some_and(|n| i32::try_from(n).is_ok()) =>
        {
            Ok(())
        }
        (Some(Type::Int), _) => {
            Err("need a whole number of 32 bits, as type = \"int\" says".to_owned())
        }
        (Some(Type::Long), Scalar::Number(n)) if whole(n).is_some() => Ok(()),
        (Some(Type::Long), _) => {
            Err("need a whole number of 64 bits, as type = \"long\" says".to_owned())
        }
        (Some(Type::Float), Scalar::Number(n)) if n.0.parse::<f32>().is_ok_and(f32::is_finite) => {
            Ok(())
        }
        (Some(Type::Float), _) => {
            Err("need a number of 32 bits, as type = \"float\" says".to_owned())
        }
        (Some(Type::Double), Scalar::Number(_)) => Ok(()),
        (Some(Type::Double), _) => Err("need a number, without quotes".to_owned()),
        (Some(Type::Bool), Scalar::Bool(_)) => Ok(()),
        (Some(Type::Bool), _) => Err("need true or false, as type = \"bool\" says".to_owned()),
        (Some(Type::Date(format)), Scalar::Text(text))
            if date::by_format(text, &DateFormat::Iso).is_some()
                || date::by_format(text, format).is_some() =>
        {
            Ok(())
        }
        (Some(Type::Date(_)), _) => Err("need a date such as \"2024-07-02T09:05:45Z\"".to_owned()),
    }
}

/// Whether what a map gives can be cast.
fn can_become(value: &Scalar, kind: Option<&Type>) -> Result<(), String> {
    match (kind, value) {
        (Some(Type::Date(format)), Scalar::Text(text) | Scalar::Number(Number(text))) => {
            let read = date::by_format(text, format).map(|_| ());
            read.ok_or("need a date that is written as format says".to_owned())
        }
        _ => fits(value, kind),
    }
}
