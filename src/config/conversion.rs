//! `[convert]` as plain data: what the crate `convert` carries out. Every value in here has been
//! judged, so that a line alone can be at fault later; a program in jq is judged by who compiles it,
//! and [`Program::mistake`] gives the place. No JSON is read here and no date library but the one that
//! the log has anyway.

use std::ops::Range;
use std::path::Path as FilePath;
use std::time::Duration;

use crate::mistakes::{Mistakes, Page};

/// `[convert]`: how a line becomes a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Convert {
    /// Field by field.
    Fields(Fields),
    /// By a program in jq.
    Jq(Program),
    /// By a program of the operator's own, a process beside each worker.
    Exec(Exec),
}

/// The operator's own converter: lines go in, and lines come out.
#[derive(Clone, Debug, PartialEq)]
pub struct Exec {
    /// Its file, by an absolute path, and its arguments.
    pub words: Vec<String>,
    /// The path, and where it stands.
    pub program: Program,
    /// As long as it may owe an answer, and do nothing.
    pub timeout: Duration,
}

/// A document field by field.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// Whether members that are not named pass through (`keep = "all"`).
    pub keep_all: bool,
    /// Lines that meet one of these become nothing; looked at before `delete`.
    pub skip: Vec<Condition>,
    /// Lines that meet one of these become a delete by id.
    pub delete: Vec<Condition>,
    /// The document's fields, in the order of the file.
    pub fields: Vec<Field>,
}

/// A value that some lines have.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Where it is looked for.
    pub field: Path,
    /// What is there, of the same type: `true` is no `"true"`, but `1` is `1.0`.
    pub is: Scalar,
}

/// One field of a document. What is done to its value stands in the order in which it is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The field's name in Solr.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
    /// A string becomes a list, parted by this; never empty.
    pub split: Option<String>,
    /// White space goes from both ends of a string.
    pub trim: bool,
    /// A string's letters become small or capital.
    pub case: Option<Case>,
    /// A value becomes another; one that is none of these is missing. Not empty.
    pub map: Option<Vec<(String, Scalar)>>,
    /// What it must be, or is made.
    pub kind: Option<Type>,
    /// A number is multiplied by this; `kind` is a type of numbers then.
    pub scale: Option<Number>,
    /// Stands in for what is missing; it fits `kind`.
    pub default: Option<Value>,
    /// It is sent as this operation on the field: an atomic update.
    pub update: Option<Update>,
}

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// From the line.
    Path(Path),
    /// From several places of the line, as one string.
    Join {
        /// The places, at least one.
        parts: Vec<Path>,
        /// What stands between them.
        with: String,
    },
    /// The same for every line; it fits the field's type.
    Value(Value),
}

/// The way to a value in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// As it was written, for messages.
    pub text: String,
    /// The first is a member's name.
    pub steps: Vec<Step>,
}

/// One step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the member of this name.
    Member(String),
    /// To each element of a list.
    Each,
}

/// A value of the configuration that goes into documents.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One.
    One(Scalar),
    /// Several, of a field that has several; not empty.
    List(Vec<Scalar>),
}

/// A single value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A number.
    Number(Number),
    /// `true` or `false`.
    Bool(bool),
}

/// A number as JSON writes it: `19.90` is kept as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Number(pub String);

/// What happens to a string's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They become small.
    Lower,
    /// They become capital.
    Upper,
}

/// What a value must be, or is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any single value, as text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number of 32 bits.
    Float,
    /// A number of 64 bits.
    Double,
    /// `true` or `false`, also as a string, or 1 or 0.
    Bool,
    /// A moment, as Solr writes it.
    Date(DateFormat),
}

/// How a date is written in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DateFormat {
    /// As Solr writes it itself, or nearly (RFC 3339; a time without a zone is UTC).
    Iso,
    /// Seconds since 1970, with or without a fraction.
    Unix,
    /// By this pattern, which [`crate::date::read`] can read a date by.
    Pattern(String),
}

/// An operation on a field (Solr's atomic updates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words say it
pub enum Update {
    Set,
    Add,
    AddDistinct,
    Remove,
    RemoveRegex,
    Inc,
}

impl Update {
    /// As Solr calls them.
    pub const WORDS: [(&'static str, Update); 6] = [
        ("set", Update::Set),
        ("add", Update::Add),
        ("add-distinct", Update::AddDistinct),
        ("remove", Update::Remove),
        ("removeregex", Update::RemoveRegex),
        ("inc", Update::Inc),
    ];

    /// As Solr calls it.
    pub fn word(self) -> &'static str {
        let (word, _) =
            Update::WORDS.iter().find(|(_, update)| *update == self).expect("all are there");
        word
    }
}

/// A program in another language, or the path of one, and where it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its text.
    pub text: String,
    /// The key behind which it stands.
    key: &'static str,
    file: std::path::PathBuf,
    /// The whole file: a mistake is shown in it.
    source: String,
    /// The string in it, quotes and all.
    span: Range<usize>,
}

impl Program {
    pub(crate) fn new(
        key: &'static str,
        text: String,
        page: &Page<'_>,
        span: Range<usize>,
    ) -> Program {
        Program { text, key, file: page.path().to_owned(), source: page.text().to_owned(), span }
    }

    /// A mistake in these bytes of the program's text, told at its place in the file. (In a string with
    /// escapes that place cannot be told: then it is where the program begins.)
    pub fn mistake(&self, at: Range<usize>, what: &str) -> Mistakes {
        let page = Page::new(&self.file, &self.source);
        let written = &self.source[self.span.clone()];
        let at = match written.find(&self.text) {
            Some(begin) if !self.text.is_empty() => {
                let begin = self.span.start + begin;
                // The end of the text has no letter of its own.
                let from = at.start.min(self.text.trim_end().len().saturating_sub(1));
                let from = (0..=from).rev().find(|n| self.text.is_char_boundary(*n)).unwrap_or(0);
                let next = self.text[from..].chars().next().map_or(1, char::len_utf8);
                begin + from..begin + at.end.min(self.text.len()).max(from + next)
            }
            _ => self.span.clone(),
        };
        page.mistake(at, format!("{}: {what}", self.key));
        page.finish().expect_err("a mistake has just been noted")
    }

    /// The file it stands in.
    pub fn file(&self) -> &FilePath {
        &self.file
    }
}

impl Path {
    /// Reads `price.amount`, `categories[].name`, `a\.b`; else says what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Path, String> {
        if text.is_empty() {
            return Err("need the name of a member, such as \"title\"".to_owned());
        }
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let (name, behind) = name(rest)?;
            if name.is_empty() {
                return Err(match rest.starts_with("[]") && steps.is_empty() {
                    true => "a line is an object: need a member's name before []".to_owned(),
                    false => "a step has no name: dots stand between names, such as \
                              \"price.amount\" (\\. is a dot in a name)"
                        .to_owned(),
                });
            }
            steps.push(Step::Member(name));
            rest = behind;
            while let Some(behind) = rest.strip_prefix("[]") {
                steps.push(Step::Each);
                rest = behind;
            }
            if rest.is_empty() {
                return Ok(Path { text: text.to_owned(), steps });
            }
            rest = rest
                .strip_prefix('.')
                .ok_or("need a dot behind [], such as \"categories[].name\"".to_owned())?;
        }
    }

    /// The member of the line that the way leads through.
    pub fn first(&self) -> &str {
        match &self.steps[0] {
            Step::Member(name) => name,
            Step::Each => unreachable!("a line is an object"),
        }
    }

    /// Whether it is a member of the line itself.
    pub fn is_member(&self) -> bool {
        self.steps.len() == 1
    }

    /// Whether it goes through a list.
    pub fn is_many(&self) -> bool {
        self.steps.contains(&Step::Each)
    }
}

/// A member's name at the beginning, and what is behind it.
fn name(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '.' => return Ok((name, &text[at..])),
            '[' if text[at..].starts_with("[]") => return Ok((name, &text[at..])),
            '[' | ']' => {
                return Err(format!(
                    "{letter} stands in [] alone, which goes through all of a list (\\{letter} is one in a name)"
                ));
            }
            '\\' => match letters.next() {
                Some((_, escaped @ ('.' | '\\' | '[' | ']'))) => name.push(escaped),
                _ => {
                    return Err("\\ stands before . \\ [ or ] alone, as \\\\ for itself".to_owned());
                }
            },
            _ => name.push(letter),
        }
    }
    Ok((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<String> {
        let step = |step: &Step| match step {
            Step::Member(name) => name.clone(),
            Step::Each => "[]".to_owned(),
        };
        Path::read(text).unwrap().steps.iter().map(step).collect()
    }

    #[test]
    fn dots_part_steps_and_brackets_go_through_lists() {
        assert_eq!(steps("title"), ["title"]);
        assert_eq!(steps("price.amount"), ["price", "amount"]);
        assert_eq!(steps("categories[].name"), ["categories", "[]", "name"]);
        assert_eq!(steps("a[][].b[]"), ["a", "[]", "[]", "b", "[]"]);
        assert_eq!(steps(r"a\.b.c\\d\[\]"), ["a.b", r"c\d[]"]);
        assert_eq!(steps("größe.ü x"), ["größe", "ü x"]);
    }

    #[test]
    fn a_bad_path_is_told_what_would_be_right() {
        for (text, why) in [
            ("", "need the name of a member"),
            (".a", "a step has no name"),
            ("a.", "a step has no name"),
            ("a..b", "a step has no name"),
            ("a.[].b", "a step has no name"),
            ("[].a", "a line is an object"),
            ("a[0]", "[ stands in [] alone"),
            ("a]", "] stands in [] alone"),
            ("a[]b", "need a dot behind []"),
            (r"a\b", r"\ stands before ."),
            (r"a\", r"\ stands before ."),
        ] {
            let told = Path::read(text).unwrap_err();
            assert!(told.starts_with(why), "{text}: {told}");
        }
    }
}
