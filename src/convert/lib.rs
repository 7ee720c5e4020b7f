//! A line becomes a document, a delete, nothing, or a reject: for workers, and for a person at the
//! command line who wants to see it. Nobody behind this judges a line again: what leaves here as a
//! document may stand in a body between any others. It reads no file, and starts no thread.
//!
//! Without `[convert]` a line *is* the document, and travels byte for byte. Else a document is made of it,
//! and passes the same checks.
//!
//! - `fields` a document field by field; `cast` what is done to a value, `number` exactly
//! - `jq` a document by a program in jq; `jq/straight`, where each part of it has one output
//! - by the operator's own converter: what it answers is judged here, its process is the crate `exec`'s
//! - `json` what a text is as JSON
//!
//! Where the collection's schema is known, a document is held against it, too: `schema` and `chain` are what
//! Solr says of itself, `fits` what follows for a value. `compare` holds a whole conversion against it.

mod cast;
mod chain;
mod compare;
mod fields;
mod fits;
mod jq;
pub mod json;
mod number;
mod schema;

use std::borrow::Cow;
use std::cell::RefCell;

use config::conversion::Convert;
use config::{Config, Mistakes};

use crate::fields::{Fields, Made};
use crate::fits::Checks;
use crate::jq::Jq;
use crate::json::{Members, excerpt};

pub use crate::chain::Certain;
pub use crate::compare::{Finding, Weight, compare};
pub use crate::fields::Scratch;
pub use crate::schema::{Field, Kind, Schema};

/// Longer an indexed term cannot be, in bytes (Lucene's `IndexWriter.MAX_TERM_LENGTH`).
const LONGEST_ID: usize = 32_766;

/// Where a line was found to be undeliverable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is no JSON.
    Parse,
    /// It is nothing that may be sent.
    Convert,
    /// The schema says that Solr would refuse it, or store something else. (It may be another by now.)
    Schema,
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Converted<'a> {
    /// A document for Solr.
    Doc {
        /// Its id, as Solr will have it.
        id: Cow<'a, str>,
        /// Its JSON.
        body: Body<'a>,
        /// The value of the collection's `router.field` as Java writes it: Solr may route by it.
        field: Option<Cow<'a, str>>,
        /// Its `_root_`: Solr routes by it.
        root: Option<Cow<'a, str>>,
        /// What a second time would do.
        repeat: Repeat,
    },
    /// A delete by id.
    Delete {
        /// The id.
        id: Cow<'a, str>,
        /// Its `_route_`.
        route: Option<Cow<'a, str>>,
        /// The object behind `"delete":`.
        body: &'a [u8],
    },
    /// Nothing at all.
    Nothing,
    /// It can never be delivered.
    Reject {
        /// Where that was found.
        stage: Stage,
        /// Why, for people.
        reason: String,
    },
}

/// What it would do to carry out a document a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: the same document would be there.
    Harmless,
    /// It counts (`inc`), appends (`add`) or takes one of several (`remove`), so it would do that twice.
    Counts,
    /// It names the `_version_` that it is for (0: nobody knows which), and would find another.
    Versioned(i64),
    /// Nothing either: by its `_version_` any document will do (0), or any that is there (1), also what
    /// it has made itself.
    AnyVersion(i64),
}

/// A document's JSON.
#[derive(Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The line itself.
    Line,
    /// Something that was made from it.
    Made(Cow<'a, [u8]>),
}

impl Converted<'_> {
    /// The id under which a document or delete stands and falls: a document that has a `_root_` takes
    /// the place of all that is under that.
    pub fn name(&self) -> Option<&str> {
        match self {
            Converted::Doc { root: Some(root), .. } => Some(root),
            Converted::Doc { id, .. } | Converted::Delete { id, .. } => Some(id),
            Converted::Nothing | Converted::Reject { .. } => None,
        }
    }

    /// Whether it may be carried out once only.
    pub fn is_guarded(&self) -> bool {
        match self {
            Converted::Doc { repeat, .. } => match repeat {
                Repeat::Counts | Repeat::Versioned(_) => true,
                Repeat::Harmless | Repeat::AnyVersion(_) => false,
            },
            Converted::Delete { .. } | Converted::Nothing | Converted::Reject { .. } => false,
        }
    }
}

/// Turns lines into what Solr is told.
pub struct Converter {
    unique_key: String,
    way: Way,
}

/// How a line becomes a document.
enum Way {
    /// It is one.
    Line,
    /// Field by field.
    Fields(Fields),
    /// By a program.
    Jq(Box<Jq>),
    /// By a process that somebody else has.
    Exec,
}

/// The members by which every document is judged; behind them comes the one that routing looks at.
fn judged(unique_key: &str) -> [&str; 4] {
    [unique_key, "delete", "_root_", "_version_"]
}

/// A reject's reason and where it was found.
type Refused = (Stage, String);

fn parse(reason: String) -> Refused {
    (Stage::Parse, reason)
}

fn refuse(reason: String) -> Refused {
    (Stage::Convert, reason)
}

impl Converter {
    /// Makes one for a configuration; else tells the mistakes that only show now.
    pub fn new(config: &Config) -> Result<Converter, Mistakes> {
        let unique_key = config.solr.unique_key.clone();
        let way = match &config.convert {
            None => Way::Line,
            Some(Convert::Fields(plan)) => {
                Way::Fields(Fields::new(plan, &unique_key, &judged(&unique_key)))
            }
            Some(Convert::Jq(program)) => Way::Jq(Box::new(Jq::new(program)?)),
            Some(Convert::Exec(_)) => Way::Exec,
        };
        Ok(Converter { unique_key, way })
    }

    /// What a line becomes that need not be shown to the operator's own converter; `None`: it decides.
    pub fn before_asking(&self, line: &[u8]) -> Option<Converted<'static>> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Some(Converted::Nothing);
        }
        let judged = std::str::from_utf8(line)
            .map_err(|e| parse(broken_utf8(line, &e)))
            .and_then(|text| json::well_formed(text).map_err(parse).map(|()| text))
            .and_then(|text| match no_object(text) {
                None => Ok(()),
                Some(kind) => Err(refuse(format!("{kind}, not a JSON object"))),
            });
        judged.err().map(|(stage, reason)| Converted::Reject { stage, reason })
    }

    /// What the operator's own converter has answered, judged as a line is: it could be anything.
    pub fn answered<'a>(
        &'a self,
        answer: &'a [u8],
        scratch: &Scratch,
        router_field: Option<&str>,
    ) -> Converted<'a> {
        let answer = answer.trim_ascii();
        if answer.is_empty() {
            return Converted::Nothing;
        }
        let judged = std::str::from_utf8(answer)
            .map_err(|e| refuse(broken_utf8(answer, &e)))
            .and_then(|text| self.judge_answer(text, scratch, router_field));
        judged.unwrap_or_else(|(stage, why)| match stage {
            Stage::Schema => Converted::Reject { stage, reason: why },
            Stage::Parse | Stage::Convert => {
                Converted::Reject { stage: Stage::Convert, reason: format!("exec's answer: {why}") }
            }
        })
    }

    fn judge_answer<'a>(
        &self,
        answer: &'a str,
        scratch: &Scratch,
        router_field: Option<&str>,
    ) -> Result<Converted<'a>, Refused> {
        if let Some(kind) = no_object(answer) {
            let why = match json::well_formed(answer) {
                Err(why) => format!("{why} ({})", excerpt(answer)),
                Ok(()) => format!("{kind}, not a JSON object"),
            };
            return Err(refuse(why));
        }
        let body = Body::Made(answer.as_bytes().into());
        self.judge_text(answer, body, &scratch.checks, router_field)
    }

    /// The line stands without its newline. `scratch`: room to work, the same for line after line.
    /// `router_field`: the member that routing looks at.
    pub fn convert<'a>(
        &'a self,
        line: &'a [u8],
        scratch: &'a mut Scratch,
        router_field: Option<&str>,
    ) -> Converted<'a> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Converted::Nothing;
        }
        self.judge(line, scratch, router_field)
            .unwrap_or_else(|(stage, reason)| Converted::Reject { stage, reason })
    }

    fn judge<'a>(
        &'a self,
        line: &'a [u8],
        scratch: &'a mut Scratch,
        router_field: Option<&str>,
    ) -> Result<Converted<'a>, Refused> {
        let text = std::str::from_utf8(line).map_err(|e| parse(broken_utf8(line, &e)))?;
        if let Some(kind) = no_object(text) {
            json::well_formed(text).map_err(parse)?;
            return Err(refuse(format!("{kind}, not a JSON object")));
        }
        match &self.way {
            Way::Line => self.judge_text(text, Body::Line, &scratch.checks, router_field),
            Way::Fields(fields) => {
                let made = fields.make(text, scratch).map_err(parse)?.map_err(refuse)?;
                let scratch: &'a Scratch = scratch;
                self.judge_made(made, fields, text, scratch, router_field)
            }
            Way::Jq(jq) => self.run(jq, text, scratch, router_field),
            // Whoever has the process asks it, and judges its answers.
            Way::Exec => match json::well_formed(text) {
                Ok(()) => Err(refuse("exec: the converter was not asked".into())),
                Err(why) => Err(parse(why)),
            },
        }
    }

    /// What a program makes of a line, judged as a line is: it could be anything.
    fn run<'a>(
        &self,
        jq: &Jq,
        line: &'a str,
        scratch: &'a mut Scratch,
        router_field: Option<&str>,
    ) -> Result<Converted<'a>, Refused> {
        json::well_formed(line).map_err(parse)?;
        whole(line)?;
        not_too_deep(line)?;
        if !jq.run(line, &mut scratch.out).map_err(|why| refuse(format!("jq: {why}")))? {
            return Ok(Converted::Nothing);
        }
        let scratch: &'a Scratch = scratch;
        let out = scratch.out.as_str();
        let of_jq = |(stage, why): Refused| match stage {
            Stage::Schema => (stage, why),
            Stage::Parse | Stage::Convert => refuse(format!("jq's output: {why}")),
        };
        if let Some(kind) = no_object(out) {
            let why = json::well_formed(out).err().unwrap_or(format!("{kind}, not a JSON object"));
            return Err(of_jq(refuse(why)));
        }
        let body = Body::Made(out.as_bytes().into());
        self.judge_text(out, body, &scratch.checks, router_field).map_err(of_jq)
    }

    /// A text that is a document, or a delete.
    fn judge_text<'a>(
        &self,
        text: &'a str,
        body: Body<'a>,
        checks: &RefCell<Checks>,
        router_field: Option<&str>,
    ) -> Result<Converted<'a>, Refused> {
        let names = self.names(router_field);
        let asked = if router_field.is_some() { &names[..] } else { &names[..4] };
        let mut checks = checks.borrow_mut();
        let members = match checks.is_on() {
            false => json::members(text, asked),
            true => {
                checks.begin();
                json::each_member(text, asked, |name, raw| checks.member(name, raw))
            }
        };
        let members = members.map_err(parse)?;
        whole(text)?;
        not_too_deep(text)?;
        match members.named[1].1 {
            Some(delete) if members.count == 1 => delete_by_id(delete).map_err(refuse),
            _ => fitting(self.document(&members, body)?, &mut checks),
        }
    }

    /// What `fields` has made. It is JSON, and no document that only looks like a delete is one.
    fn judge_made<'a>(
        &self,
        made: Made,
        fields: &'a Fields,
        line: &'a str,
        scratch: &'a Scratch,
        router_field: Option<&str>,
    ) -> Result<Converted<'a>, Refused> {
        let out = &scratch.out;
        if let Some(at) = json::lone_surrogate(out.as_bytes()) {
            return Err(refuse(format!("a lone surrogate, {}", &out[at..at + 6])));
        }
        match made {
            Made::Nothing => Ok(Converted::Nothing),
            Made::Delete => delete_by_id(out).map_err(refuse),
            Made::Doc => {
                not_too_deep(out)?;
                let members = Members::of(fields.judged(line, scratch, router_field));
                let document = self.document(&members, Body::Made(out.as_bytes().into()))?;
                let mut checks = scratch.checks.borrow_mut();
                if checks.is_on() {
                    checks.begin();
                    let all = fields.members(line, scratch);
                    all.for_each(|(name, raw)| checks.member(name, raw));
                }
                fitting(document, &mut checks)
            }
        }
    }

    /// The members by which a document is judged.
    fn names<'n>(&'n self, router_field: Option<&'n str>) -> [&'n str; json::NAMED] {
        let [key, delete, root, version] = judged(&self.unique_key);
        [key, delete, root, version, router_field.unwrap_or_default()]
    }

    fn document<'a>(
        &self,
        members: &Members<'a>,
        body: Body<'a>,
    ) -> Result<Converted<'a>, Refused> {
        let id = the_one(members, 0, &self.unique_key).and_then(|id| {
            read_id(id.ok_or_else(|| format!("no member {}", self.unique_key))?)
                .map_err(|why| format!("{} {why}", self.unique_key))
        });
        let repeat = repeat(members).map_err(refuse)?;
        // What stands there twice, or is no plain value, Solr alone can make sense of.
        let value = |n: usize| match members.named[n] {
            (1, Some(value)) => plain(value),
            _ => None,
        };
        Ok(Converted::Doc {
            id: id.map_err(refuse)?,
            body,
            field: value(4),
            root: value(2).filter(|_| !is_number(members.named[2].1)),
            repeat,
        })
    }
}

/// A document, unless the schema has something against one of its members.
fn fitting<'a>(document: Converted<'a>, checks: &mut Checks) -> Result<Converted<'a>, Refused> {
    match checks.end() {
        None => Ok(document),
        Some(reason) => Err((Stage::Schema, reason)),
    }
}

/// No character is half there.
fn whole(text: &str) -> Result<(), Refused> {
    match json::lone_surrogate(text.as_bytes()) {
        None => Ok(()),
        Some(at) => {
            let half = &text[at..at + 6];
            Err(refuse(format!("a lone surrogate, {half} at byte {}", at + 1)))
        }
    }
}

fn not_too_deep(text: &str) -> Result<(), Refused> {
    match json::too_deep(text.as_bytes()) {
        true => Err(refuse("nested deeper than 100 levels, which Solr cannot take".into())),
        false => Ok(()),
    }
}

/// What a document's members say of a second time; or why nobody could tell one from two.
fn repeat(members: &Members<'_>) -> Result<Repeat, String> {
    let once_only = |value: &str| {
        value.starts_with('{')
            && json::members(value, &["inc", "add", "remove"])
                .is_ok_and(|operation| operation.named.iter().any(|(count, _)| *count > 0))
    };
    // Whatever a field is called.
    let named = members.named.iter().filter_map(|(_, value)| *value);
    let counts = members.objects.iter().copied().chain(named).any(once_only);
    let Some(version) = members.named[3].1 else {
        return Ok(if counts { Repeat::Counts } else { Repeat::Harmless });
    };
    // (Two versions in one document Solr cannot read.)
    match (version.trim_matches('"').parse::<i64>(), counts) {
        (Ok(any @ (0 | 1)), false) => Ok(Repeat::AnyVersion(any)),
        (Ok(version), _) if !matches!(version, 0 | 1) => Ok(Repeat::Versioned(version)),
        (_, false) => Ok(Repeat::Versioned(0)),
        (_, true) => Err(format!(
            "_version_ is {} beside inc, add or remove, which a second try could carry out twice: \
             give the document's version, or none",
            excerpt(version)
        )),
    }
}

fn broken_utf8(line: &[u8], error: &std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    format!("byte {} is not UTF-8 (0x{:02x})", at + 1, line[at])
}

/// What a line is whose first character begins no object.
fn no_object(text: &str) -> Option<&'static str> {
    match text.trim_start_matches([' ', '\t', '\r', '\n']).as_bytes().first() {
        Some(b'{') => None,
        Some(b'[') => Some("a list"),
        Some(b'"') => Some("a string"),
        Some(b'-' | b'0'..=b'9') => Some("a number"),
        _ => Some("a bare word"),
    }
}

/// A member that may stand there once.
fn the_one<'a>(members: &Members<'a>, which: usize, name: &str) -> Result<Option<&'a str>, String> {
    match members.named[which] {
        (0 | 1, value) => Ok(value),
        (n, _) => Err(format!("{name} stands there {n} times")),
    }
}

/// A value as Java's `toString` writes it, where that is as it stands there.
fn plain(value: &str) -> Option<Cow<'_, str>> {
    let raw = value;
    match raw.as_bytes()[0] {
        b'"' => json::unescape(raw),
        b't' | b'f' => Some(Cow::Borrowed(raw)),
        _ => raw.parse::<i64>().ok().filter(|_| raw != "-0").map(|_| Cow::Borrowed(raw)),
    }
}

fn is_number(value: Option<&str>) -> bool {
    value.is_some_and(|v| matches!(v.as_bytes()[0], b'-' | b'0'..=b'9'))
}

/// An id as Solr will have it: a string as it is, of an integer its digits.
fn read_id(value: &str) -> Result<Cow<'_, str>, String> {
    let raw = value;
    let id = match raw.as_bytes()[0] {
        b'"' => json::unescape(raw).ok_or("cannot be read")?,
        b'-' | b'0'..=b'9' if raw == "-0" => Cow::Borrowed("0"),
        b'-' | b'0'..=b'9' if !raw.contains(['.', 'e', 'E']) => Cow::Borrowed(raw),
        b'-' | b'0'..=b'9' => {
            return Err(format!("is {}, which Solr may write otherwise: quote it", excerpt(raw)));
        }
        b'[' => return Err("is a list: need a string or an integer".into()),
        b'{' => return Err("is an object: need a string or an integer".into()),
        _ => return Err(format!("is {raw}: need a string or an integer")),
    };
    match id.len() {
        0 => Err("is empty".into()),
        1..=LONGEST_ID => Ok(id),
        n => Err(format!("has {n} bytes, and Solr takes {LONGEST_ID} at most")),
    }
}

/// `{"delete":{"id":"x"}}`, perhaps with `_route_`. Nothing else is taken: Solr would also carry
/// out a query.
fn delete_by_id(value: &str) -> Result<Converted<'_>, String> {
    let need = "need {\"delete\":{\"id\":\"…\"}}";
    let raw = value;
    if !raw.starts_with('{') {
        return Err(format!("delete is no object: {need}"));
    }
    let members = json::members(raw, &["id", "_route_"])?;
    if members.named[0].0 + members.named[1].0 != members.count {
        return Err(format!("delete has other members than id and _route_: {need}"));
    }
    let id =
        the_one(&members, 0, "delete.id")?.ok_or_else(|| format!("delete has no id: {need}"))?;
    let route = the_one(&members, 1, "delete._route_")?.map(|route| match route.as_bytes()[0] {
        b'"' => json::unescape(route).ok_or("delete._route_ cannot be read".to_string()),
        _ => Err("delete._route_ is no string".to_string()),
    });
    let named = read_id(id).map_err(|why| format!("delete.id {why}"))?;
    Ok(Converted::Delete {
        // A delete takes a number as it is written, a document takes its value.
        id: if id == "-0" { "-0".into() } else { named },
        route: route.transpose()?,
        body: raw.as_bytes(),
    })
}

#[cfg(test)]
mod exec_tests;
#[cfg(test)]
mod fields_tests;
#[cfg(test)]
mod jq_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests {
    use super::*;

    fn convert(line: &[u8]) -> Converted<'_> {
        let converter = Box::leak(Box::new(Converter { unique_key: "id".into(), way: Way::Line }));
        converter.convert(line, Box::leak(Box::default()), None)
    }

    fn doc(line: &str) -> String {
        match convert(line.as_bytes()) {
            Converted::Doc { id, body: Body::Line, .. } => id.into_owned(),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: impl AsRef<[u8]>) -> (Stage, String) {
        match convert(line.as_ref()) {
            Converted::Reject { stage, reason } => (stage, reason),
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(line.as_ref())),
        }
    }

    #[test]
    fn a_line_is_the_document_and_its_id_is_what_solr_makes_of_it() {
        for (line, id) in [
            (r#"{"id":"a"}"#, "a"),
            (r#"  {"x":{"id":7,"y":[{"id":"z"}]},"id":"a"}  "#, "a"),
            (r#"{"\u0069d":"\u00e9\"\ud83d\ude00"}"#, "é\"😀"),
            (r#"{"id":42}"#, "42"),
            (r#"{"id":-5}"#, "-5"),
            (r#"{"id":-0}"#, "0"),
            (r#"{"id":123456789012345678901234567890}"#, "123456789012345678901234567890"),
            (r#"{"id":"a","delete":{"query":"*:*"}}"#, "a"),
            (r#"{"id":"a","stock_i":{"inc":1},"_childDocuments_":[{"id":"b"}]}"#, "a"),
        ] {
            assert_eq!(doc(line), id, "{line}");
        }
        assert_eq!(doc(&format!(r#"{{"id":"{}"}}"#, "x".repeat(32_766))).len(), 32_766);
    }

    #[test]
    fn what_counts_or_names_its_version_may_be_carried_out_once_only() {
        use Repeat::{AnyVersion, Counts, Harmless, Versioned};
        for (line, expected) in [
            (r#"{"id":"a","n":{"inc":1}}"#, Counts),
            (r#"{"id":"a","x":{"set":1},"n":{ "\u0069nc" : 1}}"#, Counts),
            (r#"{"id":"a","tags":{"add":["x"]}}"#, Counts),
            (r#"{"id":"a","tags":{"remove":"x"}}"#, Counts),
            (r#"{"id":"a","delete":{"inc":1},"_root_":"a"}"#, Counts),
            (r#"{"id":"a","_version_":5}"#, Versioned(5)),
            (r#"{"id":"a","_version_":"5"}"#, Versioned(5)),
            (r#"{"id":"a","_version_":5.0}"#, Versioned(0)),
            (r#"{"id":"a","_version_":-1,"n":{"inc":1}}"#, Versioned(-1)),
            (r#"{"id":"a","_version_":0}"#, AnyVersion(0)),
            (r#"{"id":"a","_version_":"1"}"#, AnyVersion(1)),
            (
                r#"{"id":"a","n":{"set":1},"m":{"add-distinct":"x"},"o":{"removeregex":"x"}}"#,
                Harmless,
            ),
            (r#"{"id":"a","n":"{\"inc\":1}","inc":1,"add":"x"}"#, Harmless),
            (r#"{"id":"a","n":[{"id":"b","inc":1}]}"#, Harmless),
        ] {
            match convert(line.as_bytes()) {
                Converted::Doc { repeat, .. } => assert_eq!(repeat, expected, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_counts_for_any_version_is_refused() {
        for version in ["0", "1", "\"1\"", "1.0", "-0", "null", "\"x\""] {
            let line = format!(r#"{{"id":"a","n":{{"inc":1}},"_version_":{version}}}"#);
            let (stage, reason) = refused(&line);
            assert_eq!(stage, Stage::Convert);
            let begin = format!("_version_ is {version} beside inc, add or remove, ");
            assert!(reason.starts_with(&begin), "{reason}");
        }
    }

    #[test]
    fn white_space_is_nothing() {
        for line in ["", " ", "\t \r"] {
            assert_eq!(convert(line.as_bytes()), Converted::Nothing);
        }
    }

    #[test]
    fn a_line_that_would_break_out_of_its_place_is_refused() {
        let trap = r#"{"id":"x"}}},"delete":{"query":"*:*"},"add":{"doc":{"id":"y"}"#;
        assert_eq!(
            refused(trap),
            (Stage::Parse, "malformed JSON at byte 11: trailing characters".into())
        );
        for line in
            [r#"{"id":"x"},"delete":{"query":"*:*"}"#, r#"{"id":"x"} {"id":"y"}"#, r#"{"id":"x"}]"#]
        {
            assert_eq!(refused(line).0, Stage::Parse, "{line}");
        }
    }

    #[test]
    fn malformed_json_says_where() {
        for (line, why) in [
            (&br#"{"id":"x","a":tru}"#[..], "malformed JSON at byte 18: expected ident"),
            (br#"{"id":"x""#, "malformed JSON at byte 9: EOF while parsing an object"),
            (b"\xef\xbb\xbf{\"id\":\"x\"}", "malformed JSON at byte 1: expected value"),
            (b"{\"id\":\"x\xff\"}", "byte 9 is not UTF-8 (0xff)"),
            (b"{\"id\":\"x\"}\0", "malformed JSON at byte 11: trailing characters"),
            (
                b"{\"id\":\"x\ty\"}",
                "malformed JSON at byte 8: control character (\\u0000-\\u001F) found while parsing a string",
            ),
            (b"hello", "malformed JSON at byte 1: expected value"),
            (b"[1,", "malformed JSON at byte 3: EOF while parsing a value"),
        ] {
            assert_eq!(refused(line), (Stage::Parse, why.into()));
        }
    }

    #[test]
    fn what_solr_would_take_and_regret_is_refused() {
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(32_767));
        let deep = format!(r#"{{"id":"x","a":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        for (line, why) in [
            ("[1]", "a list, not a JSON object"),
            ("42", "a number, not a JSON object"),
            ("null", "a bare word, not a JSON object"),
            ("{}", "no member id"),
            (r#"{"Id":"x"}"#, "no member id"),
            (r#"{"id":""}"#, "id is empty"),
            (r#"{"id":null}"#, "id is null: need a string or an integer"),
            (r#"{"id":true}"#, "id is true: need a string or an integer"),
            (r#"{"id":["z"]}"#, "id is a list: need a string or an integer"),
            (r#"{"id":{"set":"z"}}"#, "id is an object: need a string or an integer"),
            (r#"{"id":1.50}"#, "id is 1.50, which Solr may write otherwise: quote it"),
            (r#"{"id":1e3}"#, "id is 1e3, which Solr may write otherwise: quote it"),
            (r#"{"id":"a","id":"b"}"#, "id stands there 2 times"),
            (r#"{"id":"a","\u0069\u0064":"b"}"#, "id stands there 2 times"),
            (r#"{"id":"a","b":["\ud800"]}"#, r"a lone surrogate, \ud800 at byte 17"),
            (r#"{"id":"\uDFFF"}"#, r"a lone surrogate, \uDFFF at byte 8"),
            (&long, "id has 32767 bytes, and Solr takes 32766 at most"),
            (&deep, "nested deeper than 100 levels, which Solr cannot take"),
        ] {
            assert_eq!(refused(line), (Stage::Convert, why.into()), "{line}");
        }
    }

    #[test]
    fn a_delete_is_by_id_and_by_nothing_else() {
        for (line, expected, route) in [
            (r#"{"delete":{"id":"x"}}"#, "x", None),
            (r#" {"delete": {"id": 7 } } "#, "7", None),
            (r#"{"\u0064elete":{"_route_":"r!","\u0069d":"x"}}"#, "x", Some("r!")),
        ] {
            match convert(line.as_bytes()) {
                Converted::Delete { id, route: found, body } => {
                    assert_eq!((&*id, found.as_deref()), (expected, route));
                    assert!(body.starts_with(b"{") && body.ends_with(b"}"));
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        for line in [
            r#"{"delete":"x"}"#,
            r#"{"delete":["x","y"]}"#,
            r#"{"delete":{"query":"*:*"}}"#,
            r#"{"delete":{"id":"x","query":"*:*"}}"#,
            r#"{"delete":{"id":"x","\u0071uery":"*:*"}}"#,
            r#"{"delete":{"id":"x","_version_":5}}"#,
            r#"{"delete":{"id":"x","id":"y"}}"#,
            r#"{"delete":{"id":["x"]}}"#,
            r#"{"delete":{"id":""}}"#,
            r#"{"delete":{"id":"x","_route_":5}}"#,
            r#"{"delete":{}}"#,
            r#"{"delete":null}"#,
            r#"{"delete":{"id":"x"},"delete":{"query":"*:*"}}"#,
        ] {
            let (stage, reason) = refused(line);
            assert_eq!(stage, Stage::Convert, "{line}: {reason}");
        }
    }
}
