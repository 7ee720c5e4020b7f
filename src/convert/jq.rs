//! A document by a program in jq: compiled once, run for each line. What jaq takes for JSON, and what it
//! writes, is more than JSON (comments, NaN, bytes that are no UTF-8): so a line is judged before, and what
//! comes out is judged like a line.

mod straight;
#[cfg(test)]
mod straight_tests;

use config::Mistakes;
use config::conversion::Program;
use jaq_core::compile::Undefined;
use jaq_core::data::JustLut;
use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{self, Arena, File, Loader, Modules};
use jaq_core::{Compiler, Ctx, Vars};
use jaq_json::Val;

use self::straight::Straight;
use crate::json;

/// A program or a part of one, compiled by jaq.
type Filter = jaq_core::compile::Filter<jaq_core::Native<JustLut<Val>>>;

/// A program, ready.
pub(crate) struct Jq {
    filter: Filter,
    /// The same, where each of its parts has one output.
    straight: Option<Straight>,
}

impl Jq {
    /// Compiles it; else tells the first mistake of each kind at its place.
    pub(crate) fn new(program: &Program) -> Result<Jq, Mistakes> {
        let text = program.text.as_str();
        let mistake = |part: &str, what: &str| program.mistake(load::span(text, part), what);
        let arena = Arena::default();
        let modules = Loader::new(definitions())
            .load(&arena, File { code: text, path: () })
            .map_err(|errors| {
                let (_, error) = errors.into_iter().next().expect("there is one, or it is good");
                match error {
                    load::Error::Lex(all) => first(all, |(expected, found)| {
                        mistake(found, &format!("need {}{}", expected.as_str(), here(found)))
                    }),
                    load::Error::Parse(all) => first(all, |(expected, found)| {
                        mistake(found, &format!("need {}{}", expected.as_str(), here(found)))
                    }),
                    load::Error::Io(all) => first(all, |(found, _)| {
                        mistake(found, "no modules here: write what it needs into the program")
                    }),
                }
            })?;
        let filter = compile(modules).map_err(|errors| {
            let all = errors.into_iter().next().expect("there is one, or it is good").1;
            first(all, |(name, what)| {
                let arity = match what {
                    Undefined::Filter(n) if n > 0 => format!(" with {n} arguments"),
                    _ => String::new(),
                };
                mistake(name, &format!("no {} {name}{arity} is known", what.as_str()))
            })
        })?;
        let term = load::parse(text, |parser| parser.term());
        let straight = term.and_then(|term| Straight::new(&term, &mut |part| alone(part)));
        Ok(Jq { filter, straight })
    }

    /// Runs it on a line that is JSON. Answers whether something came out, which is in `out` then.
    pub(crate) fn run(&self, line: &str, out: &mut String) -> Result<bool, String> {
        let input = jaq_json::read::parse_single(line.as_bytes()).map_err(|e| e.to_string())?;
        let mut bytes = std::mem::take(out).into_bytes();
        bytes.clear();
        let written = self.straight.as_ref().and_then(|way| way.write(&input, &mut bytes));
        if written.is_none() {
            bytes.clear();
            let Some(output) = self.whole(input)? else { return Ok(false) };
            write(&output, &mut bytes)?;
        }
        *out = String::from_utf8(bytes).map_err(|_| "its output is not UTF-8".to_owned())?;
        Ok(true)
    }

    /// What the whole program makes of an input, if anything.
    fn whole(&self, input: Val) -> Result<Option<Val>, String> {
        let mut outputs = run(&self.filter, input);
        let Some(output) = outputs.next() else { return Ok(None) };
        let output = value(output)?;
        if let Some(another) = outputs.next() {
            value(another)?;
            return Err("more than one output: need one document, or none".into());
        }
        Ok(Some(output))
    }
}

/// What a program may call.
fn definitions<'s>() -> impl Iterator<Item = Def<&'s str>> {
    let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    all.map(|definition: Def<&'static str>| -> Def<&'s str> { definition })
}

fn compile(modules: Modules<&str, ()>) -> Result<Filter, jaq_core::compile::Errors<&str, ()>> {
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    Compiler::default().with_funs(functions).compile(modules)
}

/// A part of a program that is right, compiled as the body of a definition.
fn alone(part: Term<&str>) -> Option<Filter> {
    let definition = Def { name: "__part", args: Vec::new(), body: part };
    let arena = Arena::default();
    let file = File { code: "__part", path: () };
    compile(Loader::new(definitions().chain([definition])).load(&arena, file).ok()?).ok()
}

fn run(filter: &Filter, input: Val) -> impl Iterator<Item = jaq_core::ValX<'_, Val>> {
    filter.id.run((Ctx::<JustLut<Val>>::new(&filter.lut, Vars::new([])), input))
}

fn write(value: &Val, out: &mut Vec<u8>) -> Result<(), String> {
    jaq_json::write::write(out, &jaq_json::write::Pp::default(), 0, value)
        .map_err(|e| e.to_string())
}

fn first<E>(all: Vec<E>, told: impl FnOnce(E) -> Mistakes) -> Mistakes {
    told(all.into_iter().next().expect("a list of mistakes has one"))
}

/// Where something else was expected.
fn here(found: &str) -> String {
    match found.trim() {
        "" => " at the end".into(),
        found => format!(", not {}", json::excerpt(found.lines().next().unwrap_or_default())),
    }
}

/// An output, or the program's own message.
fn value(output: jaq_core::ValX<'_, Val>) -> Result<Val, String> {
    let error = match output {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match error.get_err() {
        // Its own words without the quotes that they have as a value.
        Ok(error) => Err(match error.into_val() {
            Val::TStr(words) => String::from_utf8_lossy(&words).into_owned(),
            other => other.to_string(),
        }),
        Err(other) => match other.get_halt() {
            Ok(code) => Err(format!("halt ({code}): a program must not end")),
            Err(_) => Err("break without a label".into()),
        },
    }
}
