//! How a document travels: the envelope of an answer on either socket, one line of JSON each way out of and
//! into the types. The first member is always `ok`; what was asked for stands under its own name. Reading looks at the
//! document's version before anything else in it, so that a document of another version is called that, and not
//! malformed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{Document, Health, VERSION};

/// An answer as the one who asked sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `status`.
    Status(Box<Document>),
    /// To `health`.
    Health(Health),
    /// To a command that was carried out; what else it says is in the line itself.
    Done,
    /// To anything that was not.
    Refused(Failure),
}

/// Why a request was not carried out.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A word programs may match on.
    pub code: String,
    /// A line for a person.
    pub message: String,
}

/// Why a line is no answer that can be read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not JSON, or not in the shape of an answer; the parser's own words.
    Malformed(String),
    /// A status document of another version.
    Version(u64),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Malformed(why) => write!(f, "the answer cannot be read: {why}"),
            Unreadable::Version(version) => {
                write!(
                    f,
                    "the status document has version {version}: only version {VERSION} is understood here"
                )
            }
        }
    }
}

impl std::error::Error for Unreadable {}

impl Answer {
    /// Reads one line, with or without its newline.
    pub fn parse(line: &[u8]) -> Result<Answer, Unreadable> {
        #[derive(Deserialize)]
        struct Outline {
            ok: bool,
            status: Option<Version>,
            health: Option<serde::de::IgnoredAny>,
            error: Option<Failure>,
        }
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        #[derive(Deserialize)]
        struct WithStatus {
            status: Box<Document>,
        }
        #[derive(Deserialize)]
        struct WithHealth {
            health: Health,
        }
        let outline: Outline = json(line)?;
        match outline {
            Outline { ok: false, error: Some(error), .. } => Ok(Answer::Refused(error)),
            Outline { ok: false, error: None, .. } => {
                Err(Unreadable::Malformed("a refusal without an error".into()))
            }
            Outline { status: Some(Version { version }), .. } if version != u64::from(VERSION) => {
                Err(Unreadable::Version(version))
            }
            Outline { status: Some(_), .. } => Ok(Answer::Status(json::<WithStatus>(line)?.status)),
            Outline { health: Some(_), .. } => Ok(Answer::Health(json::<WithHealth>(line)?.health)),
            Outline { .. } => Ok(Answer::Done),
        }
    }
}

fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(line).map_err(|error| Unreadable::Malformed(error.to_string()))
}

/// Prints the answer to `status`, newline included, as all that follow.
pub fn status(document: &Document) -> String {
    #[derive(Serialize)]
    struct WithStatus<'a> {
        ok: bool,
        status: &'a Document,
    }
    line(&WithStatus { ok: true, status: document })
}

/// Prints the answer to `health`.
pub fn health(health: &Health) -> String {
    #[derive(Serialize)]
    struct WithHealth<'a> {
        ok: bool,
        health: &'a Health,
    }
    line(&WithHealth { ok: true, health })
}

/// Prints the answer to anything else that was carried out, with one member under its own name.
pub fn done<T: Serialize + ?Sized>(name: &str, what: &T) -> String {
    let (name, what) = (line(name), line(what));
    format!("{{\"ok\":true,{}:{}}}\n", name.trim_end(), what.trim_end())
}

/// Prints the answer to a request that was not carried out.
pub fn refused(code: &str, message: &str) -> String {
    #[derive(Serialize)]
    struct WithError {
        ok: bool,
        error: Failure,
    }
    line(&WithError {
        ok: false,
        error: Failure { code: code.to_owned(), message: message.to_owned() },
    })
}

/// Prints anything of this crate as one line of JSON, newline included.
pub(crate) fn line<T: Serialize + ?Sized>(what: &T) -> String {
    let mut line =
        serde_json::to_string(what).expect("structs, strings and numbers are always JSON");
    line.push('\n');
    line
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The document as INTERFACE.md shows it, of a daemon that is well and idle.
    const WELL: &str = include_str!("canned/well.json");

    pub(crate) fn canned() -> Document {
        match Answer::parse(WELL.as_bytes()) {
            Ok(Answer::Status(document)) => *document,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_read_is_printed_again_to_the_letter() {
        assert_eq!(status(&canned()), WELL);
    }

    #[test]
    fn members_of_a_later_daemon_are_ignored() {
        let later = WELL.replacen("\"program\"", "\"weather\":{\"sun\":[1,2]},\"program\"", 1);
        assert_eq!(Answer::parse(later.as_bytes()), Ok(Answer::Status(Box::new(canned()))));
    }

    #[test]
    fn another_version_is_called_that() {
        let other = br#"{"ok":true,"status":{"version":2,"shape":"quite different"}}"#;
        assert_eq!(Answer::parse(other), Err(Unreadable::Version(2)));
        let words = Unreadable::Version(2).to_string();
        assert_eq!(words, "the status document has version 2: only version 1 is understood here");
    }

    #[test]
    fn every_kind_of_answer_comes_back() {
        let verdict = canned().health;
        assert_eq!(Answer::parse(health(&verdict).as_bytes()), Ok(Answer::Health(verdict)));
        let refusal = refused("no_such_command", "dance: try help\n");
        assert_eq!(
            refusal,
            "{\"ok\":false,\"error\":{\"code\":\"no_such_command\",\"message\":\"dance: try help\\n\"}}\n"
        );
        let failure =
            Failure { code: "no_such_command".into(), message: "dance: try help\n".into() };
        assert_eq!(Answer::parse(refusal.as_bytes()), Ok(Answer::Refused(failure)));
        assert_eq!(done("ping", "pong"), "{\"ok\":true,\"ping\":\"pong\"}\n");
        assert_eq!(Answer::parse(done("help", &["status", "ping"]).as_bytes()), Ok(Answer::Done));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let half = &WELL.as_bytes()[..WELL.len() / 2];
        let deep = "[".repeat(100_000);
        for line in [
            b"".as_slice(),
            b"\x00\xff not json",
            b"null",
            b"[]",
            b"{}",
            b"{\"ok\":1}",
            b"{\"ok\":false}",
            half,
            deep.as_bytes(),
        ] {
            assert!(
                matches!(Answer::parse(line), Err(Unreadable::Malformed(_))),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
        let twice = WELL.trim_end().repeat(2);
        assert!(Answer::parse(twice.as_bytes()).is_err());
    }

    #[test]
    fn each_state_has_the_name_the_interface_gives_it() {
        use crate::document::{State, WorkerState};
        let names = |printed: String| printed.trim_end().to_owned();
        let states = [State::Running, State::Paused, State::Holding, State::Draining];
        assert_eq!(names(line(&states)), r#"["running","paused","holding","draining"]"#);
        use WorkerState::{BackingOff, Converting, Dead, Idle, Posting};
        let workers = [Idle, Converting, Posting, BackingOff, Dead];
        assert_eq!(
            names(line(&workers)),
            r#"["idle","converting","posting","backing-off","dead"]"#
        );
    }
}
