//! Whatever JSON goes in, what comes out is what a plain program would make, which builds a tree of
//! values, looks things up in it and writes another. Numbers are text in it: 19.90 is not 19.9.

use std::collections::BTreeMap;

use config::conversion::{self, *};
use fastrand::Rng;
use serde_json::value::RawValue;

use crate::Scratch;
use crate::fields::{Fields, Made};

/// A value, as serde_json has it, but with numbers as they are written.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Null,
    Bare(String),
    Text(String),
    List(Vec<Tree>),
    Object(BTreeMap<String, Tree>),
}

/// `None`: it is no JSON, or holds half a character.
fn tree(raw: &str) -> Option<Tree> {
    Some(match raw.trim_start().as_bytes().first()? {
        b'{' => {
            // (A later member takes the place of an earlier one.)
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
            let members = members.into_iter().map(|(name, value)| Some((name, tree(value.get())?)));
            Tree::Object(members.collect::<Option<_>>()?)
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            Tree::List(elements.into_iter().map(|e| tree(e.get())).collect::<Option<_>>()?)
        }
        b'"' => Tree::Text(serde_json::from_str(raw).ok()?),
        b'n' => Tree::Null,
        _ => Tree::Bare(raw.trim().to_owned()),
    })
}

impl Tree {
    fn text(&self) -> Option<String> {
        match self {
            Tree::Bare(text) | Tree::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn of(value: &Scalar) -> Tree {
        match value {
            Scalar::Text(text) => Tree::Text(text.clone()),
            Scalar::Number(Number(text)) => Tree::Bare(text.clone()),
            Scalar::Bool(flag) => Tree::Bare(flag.to_string()),
        }
    }

    fn constant(value: &Value) -> Tree {
        match value {
            Value::One(one) => Tree::of(one),
            Value::List(list) => Tree::List(list.iter().map(Tree::of).collect()),
        }
    }

    /// All that a way leads to.
    fn all(&self, steps: &[Step]) -> Vec<Tree> {
        match (self, steps) {
            (Tree::Null, []) => vec![],
            (value, []) => vec![value.clone()],
            (Tree::Object(members), [Step::Member(name), rest @ ..]) => {
                members.get(name).map_or(vec![], |value| value.all(rest))
            }
            (Tree::List(list), [Step::Each, rest @ ..]) => {
                list.iter().flat_map(|value| value.all(rest)).collect()
            }
            _ => vec![],
        }
    }
}

/// A field's value: none, or there is no document.
type Got = Result<Option<Tree>, ()>;

fn field(line: &Tree, field: &Field) -> Got {
    let found = match &field.source {
        Source::Value(value) => return Ok(Some(Tree::constant(value))),
        Source::Path(path) => {
            let mut all = line.all(&path.steps);
            if path.is_many() { (!all.is_empty()).then_some(Tree::List(all)) } else { all.pop() }
        }
        Source::Join { parts, with } => joined(line, parts, with)?,
    };
    let is_edited = field.split.is_some()
        || field.trim
        || field.case.is_some()
        || field.map.is_some()
        || field.kind.is_some();
    let default = field.default.as_ref().map(Tree::constant);
    let made = match found {
        Some(value) if is_edited => edited(value, field, default.clone())?,
        value => value,
    };
    Ok(made.or(default).map(|value| match field.update {
        Some(update) => Tree::Object(BTreeMap::from([(update.word().to_owned(), value)])),
        None => value,
    }))
}

fn joined(line: &Tree, parts: &[conversion::Path], with: &str) -> Got {
    let mut texts = Vec::new();
    for part in parts {
        let values = line.all(&part.steps).into_iter().flat_map(|value| match value {
            Tree::List(list) => list,
            single => vec![single],
        });
        let values: Vec<Tree> = values.filter(|value| *value != Tree::Null).collect();
        if values.is_empty() {
            return Ok(None);
        }
        for value in values {
            texts.push(value.text().ok_or(())?);
        }
    }
    Ok(Some(Tree::Text(texts.join(with))))
}

fn edited(value: Tree, field: &Field, default: Option<Tree>) -> Got {
    let (list, is_list) = match value {
        Tree::List(list) => (list, true),
        single => (vec![single], field.split.is_some()),
    };
    let mut made = Vec::new();
    for value in list.into_iter().filter(|value| *value != Tree::Null) {
        let parts = match (&field.split, value.text()) {
            (_, None) => return Err(()),
            (Some(by), Some(text)) => {
                text.split(by.as_str()).map(|part| Tree::Text(part.into())).collect()
            }
            (None, _) => vec![value],
        };
        for part in parts {
            match (one(part, field)?, &default) {
                (Some(value), _) => made.push(value),
                (None, Some(Tree::List(list))) if is_list => made.extend(list.clone()),
                (None, Some(default)) if is_list => made.push(default.clone()),
                (None, _) => {}
            }
        }
    }
    Ok(match is_list {
        true => (!made.is_empty()).then_some(Tree::List(made)),
        false => made.pop(),
    })
}

fn one(value: Tree, field: &Field) -> Got {
    let mut value = value;
    if let Tree::Text(text) = &mut value {
        if field.trim {
            *text = text.trim().to_owned();
        }
        match field.case {
            Some(Case::Lower) => *text = text.to_lowercase(),
            Some(Case::Upper) => *text = text.to_uppercase(),
            None => {}
        }
    }
    let text = value.text().ok_or(())?;
    if let Some(map) = &field.map {
        match map.iter().find(|(from, _)| *from == text) {
            Some((_, to)) => value = Tree::of(to),
            None => return Ok(None),
        }
    }
    let text = value.text().ok_or(())?;
    match &field.kind {
        None => Ok(Some(value)),
        Some(Type::String) => Ok(Some(Tree::Text(text))),
        Some(Type::Bool) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(Tree::Bare("true".into()))),
            "false" | "0" => Ok(Some(Tree::Bare("false".into()))),
            _ => Err(()),
        },
        Some(other) => unreachable!("not among these plans: {other:?}"),
    }
}

/// What a document would be.
fn document(line: &Tree, plan: &conversion::Fields) -> Result<Tree, ()> {
    let mut document = BTreeMap::new();
    for f in &plan.fields {
        document.extend(field(line, f)?.map(|value| (f.name.clone(), value)));
    }
    if let (true, Tree::Object(members)) = (plan.keep_all, line) {
        for (name, value) in members {
            let is_named = plan.fields.iter().any(|f| f.name == *name || f.takes(name));
            if !is_named {
                document.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(Tree::Object(document))
}

const NAMES: &[&str] = &["id", "a", "b", "é", "x.y", "longer name", "\"", "😀"];

fn pick<'t, T>(rng: &mut Rng, of: &'t [T]) -> &'t T {
    &of[rng.usize(..of.len())]
}

/// A string, spelled in one of many ways.
fn spelled(rng: &mut Rng, text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match rng.u8(..6) {
            0 => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => match letter {
                '"' | '\\' => out.extend(['\\', letter]),
                '/' if rng.bool() => out.push_str("\\/"),
                c if c < ' ' => out.push_str(&format!("\\u{:04X}", c as u32)),
                c => out.push(c),
            },
        }
    }
    out + "\""
}

fn space(rng: &mut Rng) -> &'static str {
    ["", "", "", " ", "\t", " \r"][rng.usize(..6)]
}

fn value(rng: &mut Rng, depth: usize) -> String {
    const BARE: &[&str] = &[
        "null",
        "null",
        "true",
        "false",
        "0",
        "1",
        "-0",
        "19.90",
        "1E+2",
        "123456789012345678",
        "1e400",
    ];
    const TEXTS: &[&str] =
        &["", " a ", "b,c", ",", "A,b,,C", "ß Ö", "true", "1", "\"\\/\u{7f}\n", "😀,é", "19.90"];
    match rng.u8(..if depth > 0 { 8 } else { 5 }) {
        0..=1 => (*pick(rng, BARE)).to_owned(),
        2..=4 => {
            let text = *pick(rng, TEXTS);
            spelled(rng, text)
        }
        5..=6 => object(rng, depth - 1),
        _ => {
            let list: Vec<String> = (0..rng.usize(..4)).map(|_| value(rng, depth - 1)).collect();
            format!("[{}{}{}]", space(rng), list.join(","), space(rng))
        }
    }
}

fn object(rng: &mut Rng, depth: usize) -> String {
    let mut out = String::from("{");
    for n in 0..rng.usize(..7) {
        let name = *pick(rng, NAMES);
        let (name, value) = (spelled(rng, name), value(rng, depth));
        let comma = if n > 0 { "," } else { "" };
        let spaces = [space(rng), space(rng), space(rng), space(rng)];
        out +=
            &format!("{comma}{}{name}{}:{}{value}{}", spaces[0], spaces[1], spaces[2], spaces[3]);
    }
    out + space(rng) + "}"
}

fn path(rng: &mut Rng) -> conversion::Path {
    let mut steps = vec![Step::Member((*pick(rng, NAMES)).to_owned())];
    for _ in 0..rng.usize(..3) {
        steps.push(match rng.bool() {
            true => Step::Each,
            false => Step::Member((*pick(rng, NAMES)).to_owned()),
        });
    }
    conversion::Path { text: String::new(), steps }
}

fn some_field(rng: &mut Rng, name: &str) -> Field {
    let text = |text: &str| Scalar::Text(text.to_owned());
    let value = Value::One(text("a\"b"));
    let number = || Scalar::Number(Number("2.50".to_owned()));
    let mut field = Field {
        name: name.to_owned(),
        source: match rng.u8(..8) {
            0 => Source::Value(value),
            1..=2 => {
                let parts = (0..=rng.usize(..3)).map(|_| path(rng)).collect();
                Source::Join { parts, with: (*pick(rng, &["", ":", "\""])).to_owned() }
            }
            _ => Source::Path(path(rng)),
        },
        split: None,
        trim: false,
        case: None,
        map: None,
        kind: None,
        scale: None,
        default: None,
        update: None,
    };
    if matches!(field.source, Source::Value(_)) {
        return field;
    }
    let mut may = |odds: u8| rng.u8(..odds) == 0;
    field.split = may(4).then(|| ",".to_owned());
    field.trim = may(4);
    field.case = may(4).then_some(if may(2) { Case::Lower } else { Case::Upper });
    let map = || {
        vec![
            ("1".into(), text("one")),
            ("a".into(), number()),
            ("true".into(), Scalar::Bool(false)),
        ]
    };
    field.map = may(5).then(map);
    field.kind = may(5).then_some(if may(2) { Type::String } else { Type::Bool });
    // (A default fits the type.)
    if may(3) && field.kind.is_none() {
        field.default = Some(match may(2) {
            true => Value::One(text("none")),
            false => Value::List(vec![text("x"), number()]),
        });
    }
    field.update = may(5).then_some(Update::Set);
    field
}

#[test]
fn whatever_json_goes_in_what_comes_out_is_what_a_plain_program_would_make() {
    let mut rng = Rng::with_seed(6);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..150 {
        let mut fields: Vec<Field> = Vec::new();
        for name in NAMES.iter().chain(&["f", "g\"h", "y"]) {
            if *name != "id" && rng.u8(..3) == 0 {
                fields.push(some_field(&mut rng, name));
            }
        }
        // What is to be compared is not its id.
        let id = Scalar::Text("i".into());
        fields.push(Field { source: Source::Value(Value::One(id)), ..some_field(&mut rng, "id") });
        let fields = fields.into_iter().map(|field| match field.name.as_str() {
            "id" => Field {
                split: None,
                trim: false,
                case: None,
                map: None,
                kind: None,
                default: None,
                update: None,
                ..field
            },
            _ => field,
        });
        let keep_all = rng.bool();
        let plan =
            conversion::Fields { keep_all, skip: vec![], delete: vec![], fields: fields.collect() };
        let fields = Fields::new(&plan, "id", &["id"]);
        let mut scratch = Scratch::default();
        for _ in 0..100 {
            let line = object(&mut rng, 3);
            let before = tree(&line).expect("it is JSON");
            let expected = document(&before, &plan);
            let got = fields.make(&line, &mut scratch).expect("it is JSON");
            match (&got, &expected) {
                (Ok(Made::Doc), Ok(expected)) => {
                    assert_eq!(tree(&scratch.out).as_ref(), Some(expected), "{line}\n{plan:#?}");
                    // And what is judged of it is what is there.
                    let Tree::Object(members) = expected else { unreachable!("it is a document") };
                    let known: BTreeMap<&str, Option<Tree>> =
                        fields.members(&line, &scratch).map(|(n, v)| (n, tree(v))).collect();
                    let there =
                        members.iter().map(|(n, v)| (n.as_str(), Some(v.clone()))).collect();
                    assert_eq!(known, there, "{line}\n{plan:#?}");
                    assert_eq!(scratch.out.matches('\n').count(), 0);
                    made += 1;
                }
                (Ok(Made::Nothing), Ok(Tree::Object(members))) => {
                    assert_eq!(members.keys().collect::<Vec<_>>(), ["id"], "{line}\n{plan:#?}");
                    let mut others = plan.fields.iter().filter(|field| field.name != "id");
                    assert!(others.all(|field| field.update.is_some()), "{line}\n{plan:#?}");
                }
                (Err(_), Err(())) => refused += 1,
                _ => panic!("{got:?}, not {expected:?}: {line}\n{plan:#?}"),
            }
        }
    }
    assert!(made > 8_000 && refused > 300, "{made} {refused}");
}
