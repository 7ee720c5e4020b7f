//! The straight way through a jq program: most programs are an object of paths and of what is done to them, and each
//! part of it has exactly one output. jaq, which must be ready for any number of outputs at each place, boxes an
//! iterator for each, and adds an object up member by member. Here such a program is cut along its outermost syntax;
//! what is written out below is done with jaq's values at once, whatever else there is stays a filter of jaq's own.
//!
//! jaq remains the judge: wherever a part has no output, several, or fails, the straight way is left, and the whole
//! program runs. So nobody but the clock can tell the two apart, and the tests hold them against each other.

use jaq_core::ValT;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::{Opt, Part};
use jaq_json::{Map, Val};

use super::{Filter, run};

/// A part that has one output, as long as it has.
pub(super) enum Straight {
    /// The input.
    Input,
    /// The same for all.
    Constant(Val),
    /// `.a.b`, `f.a`: what it begins with, and its keys.
    Path(Box<Straight>, Vec<(Val, Opt)>),
    /// `{a: f, b: g}`: each key, as JSON with its colon, too.
    Object(Vec<(Val, String, Straight)>),
    /// `[f, g]`
    List(Vec<Straight>),
    /// `"\(f):\(g)"`
    Text(Vec<Straight>),
    /// `if f then g else h end`
    If(Box<[Straight; 3]>),
    /// `f | g`
    Pipe(Box<[Straight; 2]>),
    /// `f // g`
    Or(Box<[Straight; 2]>),
    /// `f * g` and the like.
    Math(Math, Box<[Straight; 2]>),
    /// `f < g` and the like.
    Compare(Cmp, Box<[Straight; 2]>),
    /// Anything else.
    Filter(Filter),
}

impl Straight {
    /// Cuts a program; `None`: there is nothing to be gained, or it is none. `filter` compiles a part of it.
    pub(super) fn new<'s>(
        term: &Term<&'s str>,
        filter: &mut dyn FnMut(Term<&'s str>) -> Option<Filter>,
    ) -> Option<Straight> {
        match cut(term, &[], filter)? {
            Straight::Filter(_) => None,
            straight => Some(straight),
        }
    }

    /// Its one output; `None`: it has none, or several, or fails.
    pub(super) fn value(&self, input: &Val) -> Option<Val> {
        Some(match self {
            Straight::Input => input.clone(),
            Straight::Constant(value) => value.clone(),
            Straight::Path(from, keys) => match **from {
                Straight::Input => path(input, keys)?,
                _ => path(&from.value(input)?, keys)?,
            },
            Straight::Object(members) => {
                let values =
                    members.iter().map(|(key, _, of)| Some((key.clone(), of.value(input)?)));
                Val::obj(values.collect::<Option<Map>>()?)
            }
            Straight::List(all) => all.iter().map(|of| of.value(input)).collect::<Option<Val>>()?,
            Straight::Text(parts) => {
                let mut text = Vec::new();
                for part in parts {
                    match part.value(input)?.into_string() {
                        Val::TStr(part) => text.extend_from_slice(&part),
                        _ => return None,
                    }
                }
                Val::utf8_str(text)
            }
            Straight::If(parts) => parts[branch(parts, input)?].value(input)?,
            Straight::Pipe(parts) => parts[1].value(&parts[0].value(input)?)?,
            Straight::Or(parts) => match parts[0].value(input)? {
                value if value.as_bool() => value,
                _ => parts[1].value(input)?,
            },
            Straight::Math(math, parts) => math
                .run::<_, Result<Val, _>>(parts[0].value(input)?, parts[1].value(input)?)
                .ok()?,
            Straight::Compare(cmp, parts) => {
                cmp.run(&parts[0].value(input)?, &parts[1].value(input)?).into()
            }
            Straight::Filter(filter) => {
                let mut outputs = run(filter, input.clone());
                let value = outputs.next()?.ok()?;
                outputs.next().is_none().then_some(value)?
            }
        })
    }

    /// Its one output as JSON, at the end of `out`; `None` as with [`Straight::value`], and `out` is spoilt.
    pub(super) fn write(&self, input: &Val, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Straight::Object(members) => {
                out.push(b'{');
                for (n, (_, key, of)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key.as_bytes());
                    of.write(input, out)?;
                }
                out.push(b'}');
                Some(())
            }
            Straight::If(parts) => parts[branch(parts, input)?].write(input, out),
            Straight::Pipe(parts) => parts[1].write(&parts[0].value(input)?, out),
            Straight::Input
            | Straight::Constant(_)
            | Straight::Path(..)
            | Straight::List(_)
            | Straight::Text(_)
            | Straight::Or(_)
            | Straight::Math(..)
            | Straight::Compare(..)
            | Straight::Filter(_) => write(&self.value(input)?, out),
        }
    }
}

/// Writes a value as jaq does, but for a plain string, which most are, at once.
fn write(value: &Val, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Val::TStr(text) if !text.iter().any(|c| matches!(c, ..b' ' | b'"' | b'\\' | 0x7f)) => {
            out.push(b'"');
            out.extend_from_slice(text);
            out.push(b'"');
            Some(())
        }
        _ => super::write(value, out).ok(),
    }
}

/// Which of the three comes next.
fn branch(parts: &[Straight; 3], input: &Val) -> Option<usize> {
    Some(if parts[0].value(input)?.as_bool() { 1 } else { 2 })
}

fn path(from: &Val, keys: &[(Val, Opt)]) -> Option<Val> {
    let [before @ .., (key, opt)] = keys else { return Some(from.clone()) };
    let mut at = from;
    let mut made;
    for (key, opt) in before {
        match at {
            Val::Obj(members) => match members.get(key) {
                Some(value) => at = value,
                None => at = &Val::Null,
            },
            _ => {
                made = index(at, key, *opt)?;
                at = &made;
            }
        }
    }
    index(at, key, *opt)
}

/// With `?` there is no output where it fails: no straight way either.
fn index(from: &Val, key: &Val, _opt: Opt) -> Option<Val> {
    match from {
        Val::Obj(members) => Some(members.get(key).cloned().unwrap_or_default()),
        _ => from.clone().index(key).ok(),
    }
}

// --- cutting -----------------------------------------------------------------------------------------

/// The definitions that stand before a part, outermost first.
type Before<'a, 's> = &'a [&'a Vec<Def<&'s str>>];

fn cut<'s>(
    term: &Term<&'s str>,
    before: Before<'_, 's>,
    filter: &mut dyn FnMut(Term<&'s str>) -> Option<Filter>,
) -> Option<Straight> {
    let mut of = |term: &Term<&'s str>| cut(term, before, filter);
    let cut = match term {
        Term::Id => Some(Straight::Input),
        Term::Num(number) => Val::from_num(number).ok().map(Straight::Constant),
        Term::Str(None, parts) => text(parts, &mut of),
        Term::Arr(Some(all)) => list(all, &mut of),
        Term::Obj(members) => object(members, &mut of),
        Term::BinOp(left, op, right) => {
            let mut both = || match [of(left)?, of(right)?] {
                [Straight::Filter(_), Straight::Filter(_)] => None, // together they are one
                both => Some(Box::new(both)),
            };
            match op {
                BinaryOp::Pipe(None) => Some(Straight::Pipe(both()?)),
                BinaryOp::Alt => Some(Straight::Or(both()?)),
                BinaryOp::Math(math) => Some(Straight::Math(*math, both()?)),
                BinaryOp::Cmp(cmp) => Some(Straight::Compare(*cmp, both()?)),
                _ => None,
            }
        }
        Term::IfThenElse(branches, otherwise) => {
            let last = otherwise.as_ref().map_or(Some(Straight::Input), |term| of(term))?;
            branches.iter().rev().try_fold(last, |last, (is, then)| {
                Some(Straight::If(Box::new([of(is)?, of(then)?, last])))
            })
        }
        Term::Path(from, path) => match keys(&path.0) {
            Some(keys) => Some(Straight::Path(Box::new(of(from)?), keys)),
            None => None,
        },
        Term::Def(definitions, body) => {
            let before: Vec<_> = before.iter().copied().chain([definitions]).collect();
            return self::cut(body, &before, filter);
        }
        _ => None,
    };
    cut.or_else(|| {
        let within =
            |body, definitions: &&Vec<_>| Term::Def((*definitions).clone(), Box::new(body));
        filter(before.iter().rev().fold(term.clone(), within)).map(Straight::Filter)
    })
}

/// A cut of a part.
type Cut<'a, 's> = &'a mut dyn FnMut(&Term<&'s str>) -> Option<Straight>;

fn text<'s>(parts: &[StrPart<&'s str, Term<&'s str>>], of: Cut<'_, 's>) -> Option<Straight> {
    let constant = |text: String| Straight::Constant(Val::utf8_str(text));
    let parts = parts.iter().map(|part| match part {
        StrPart::Str(text) => Some(constant((*text).to_owned())),
        StrPart::Char(c) => Some(constant(c.to_string())),
        StrPart::Term(term) => of(term),
    });
    let parts: Vec<Straight> = parts.collect::<Option<_>>()?;
    Some(match parts.iter().all(|part| matches!(part, Straight::Constant(_))) {
        true => Straight::Constant(Straight::Text(parts).value(&Val::Null)?),
        false => Straight::Text(parts),
    })
}

fn list<'s>(all: &Term<&'s str>, of: Cut<'_, 's>) -> Option<Straight> {
    let (mut elements, mut rest) = (Vec::new(), vec![all]);
    while let Some(term) = rest.pop() {
        match term {
            Term::BinOp(left, BinaryOp::Comma, right) => rest.extend([&**right, &**left]),
            term => elements.push(of(term)?),
        }
    }
    // One filter may well have many outputs, as in `[.a[].b]`: all of it is jaq's then.
    let many = |element: &Straight| matches!(element, Straight::Filter(_));
    (!elements.iter().any(many)).then_some(Straight::List(elements))
}

fn object<'s>(
    members: &[(Term<&'s str>, Option<Term<&'s str>>)],
    of: Cut<'_, 's>,
) -> Option<Straight> {
    let mut all: Vec<(Val, String, Straight)> = Vec::with_capacity(members.len());
    for (key, value) in members {
        let key = constant_text(key)?;
        let value = match value {
            Some(value) => of(value)?,
            None => Straight::Path(Box::new(Straight::Input), vec![(key.clone(), Opt::Essential)]),
        };
        if all.iter().any(|(other, ..)| *other == key) {
            return None; // the last one counts, at the place of the first
        }
        let mut json = Vec::new();
        super::write(&key, &mut json).ok()?;
        json.push(b':');
        all.push((key, String::from_utf8(json).ok()?, value));
    }
    Some(Straight::Object(all))
}

fn constant_text(term: &Term<&str>) -> Option<Val> {
    match term {
        Term::Str(None, parts) => match text(parts, &mut |_| None)? {
            Straight::Constant(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn keys(path: &[(Part<Term<&str>>, Opt)]) -> Option<Vec<(Val, Opt)>> {
    let key = |(part, opt): &(Part<Term<&str>>, Opt)| match part {
        Part::Index(key) => Some((constant_text(key)?, *opt)),
        Part::Range(..) => None,
    };
    path.iter().map(key).collect()
}
