//! Requests: a line of words, and what it asks for.

use std::ffi::OsString;

use orders::{Command, Which};

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Ping,
    Status,
    Health,
    Metrics,
    /// What only the parent can do.
    Command(Command),
    /// What was rejected, of one delta or of all.
    Rejects(Option<OsString>),
    /// So many of the deltas settled last.
    History(usize),
}

/// Why a line is no request: a code for programs and a line for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What anybody may ask for.
pub(crate) const QUESTIONS: &[&str] = &["status", "health", "metrics", "ping", "help"];
/// What may be said on the control socket besides.
pub(crate) const COMMANDS: &[&str] =
    &["reload", "pause", "resume", "stop", "cancel", "rejects", "retry", "drop", "history"];

/// So many deltas are told unless another number is asked for, and at most.
pub(crate) const HISTORY: usize = 20;
pub(crate) const MOST_HISTORY: usize = 1000;

/// Reads a line whose words are one blank apart.
pub(crate) fn read(line: &str) -> Result<Request, Refusal> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let request = match command {
        "" | "help" => Request::Help,
        "ping" => Request::Ping,
        "status" => Request::Status,
        "health" => Request::Health,
        "metrics" => Request::Metrics,
        "reload" => Request::Command(Command::Reload),
        "pause" => Request::Command(Command::Pause),
        "resume" => Request::Command(Command::Resume),
        "stop" => Request::Command(Command::Stop),
        "cancel" => return cancel(rest),
        "retry" => return retry(rest),
        "drop" => return Ok(Request::Command(Command::Drop(Options::read(line, false)?.which))),
        "rejects" => return Ok(Request::Rejects(name(rest)?)),
        "history" => return Ok(Request::History(count(rest)?)),
        _ => return Err(unknown(line)),
    };
    if rest.is_empty() { Ok(request) } else { Err(unknown(line)) }
}

impl Request {
    /// Whether anybody may ask it.
    pub(crate) fn is_question(&self) -> bool {
        use Request::*;
        match self {
            Help | Ping | Status | Health | Metrics => true,
            Command(_) | Rejects(_) | History(_) => false,
        }
    }
}

fn unknown(line: &str) -> Refusal {
    let message = format!("{}: no such command, try help", status::page::plain(line));
    Refusal { code: "no_such_command", message }
}

fn bad(message: String) -> Refusal {
    Refusal { code: "bad_request", message: status::page::plain(&message) }
}

/// A delta's name, if there is one. It may have blanks in it.
fn name(words: &str) -> Result<Option<OsString>, Refusal> {
    if words.is_empty() {
        return Ok(None);
    }
    let name = spool::of_word(words);
    spool::check_name(&name).map_err(bad)?;
    Ok(Some(name))
}

fn cancel(words: &str) -> Result<Request, Refusal> {
    match name(words)? {
        Some(name) => Ok(Request::Command(Command::Cancel(name))),
        None => Err(bad("cancel: need a delta's name".into())),
    }
}

fn retry(words: &str) -> Result<Request, Refusal> {
    let Options { which, force } = Options::read(&format!("retry {words}"), true)?;
    Ok(Request::Command(Command::Retry { which, force }))
}

/// What stands behind `retry` and `drop`.
struct Options {
    /// One delta or all of them, but not none and not both.
    which: Which,
    force: bool,
}

impl Options {
    fn read(line: &str, may_force: bool) -> Result<Options, Refusal> {
        let (mut all, mut force, mut names) = (false, false, Vec::new());
        for word in line.split(' ').skip(1).filter(|word| !word.is_empty()) {
            match word {
                "--all" => all = true,
                "--force" if may_force => force = true,
                option if option.starts_with("--") => {
                    return Err(bad(format!("{line}: there is no option {option}")));
                }
                name => names.push(name),
            }
        }
        let which = match (all, name(&names.join(" "))?) {
            (true, None) => Which::All,
            (false, Some(name)) => Which::One(name),
            (true, Some(_)) => {
                return Err(bad(format!("{line}: need a delta's name or --all, not both")));
            }
            (false, None) => return Err(bad(format!("{line}: need a delta's name, or --all"))),
        };
        Ok(Options { which, force })
    }
}

fn count(words: &str) -> Result<usize, Refusal> {
    let number = words.strip_prefix("-n ").unwrap_or(words);
    if number.is_empty() {
        return Ok(HISTORY);
    }
    let count = number.parse().map_err(|_| bad(format!("history {words}: need a number")))?;
    Ok(usize::min(count, MOST_HISTORY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> &'static str {
        read(line).unwrap_err().code
    }

    #[test]
    fn a_line_is_a_request_or_is_refused_by_name() {
        assert_eq!(read(""), Ok(Request::Help));
        for word in QUESTIONS.iter().chain(COMMANDS) {
            match read(word) {
                Ok(request) => {
                    assert_eq!(request.is_question(), QUESTIONS.contains(word), "{word}")
                }
                Err(refusal) => assert!(refusal.message.contains("need a delta's name"), "{word}"),
            }
        }
        for line in ["dance", "status x", "reload now", "Status", "rejectsx"] {
            assert_eq!(code(line), "no_such_command", "{line}");
        }
        assert!(read("\u{1b}[1m").unwrap_err().message.bytes().all(|b| b != 0x1b));
    }

    #[test]
    fn names_may_hold_anything_a_delta_may_be_called() {
        let rejects = |name: &str| Ok(Request::Rejects(Some(name.into())));
        assert_eq!(read("rejects"), Ok(Request::Rejects(None)));
        assert_eq!(read("rejects x.jsonl"), rejects("x.jsonl"));
        assert_eq!(read("rejects a b.jsonl"), rejects("a b.jsonl"));
        assert_eq!(read("rejects a%0ab.jsonl"), rejects("a\nb.jsonl"));
        assert_eq!(code("rejects a/b.jsonl"), "bad_request");
    }

    #[test]
    fn one_delta_is_meant_or_all() {
        let drop = |which| Ok(Request::Command(Command::Drop(which)));
        assert_eq!(read("drop x.jsonl"), drop(Which::One("x.jsonl".into())));
        assert_eq!(read("drop a b.jsonl"), drop(Which::One("a b.jsonl".into())));
        assert_eq!(read("drop %2d-all.jsonl"), drop(Which::One("--all.jsonl".into())));
        assert_eq!(read("drop --all"), drop(Which::All));
        let retry = |which, force| Ok(Request::Command(Command::Retry { which, force }));
        assert_eq!(read("retry x.jsonl --force"), retry(Which::One("x.jsonl".into()), true));
        assert_eq!(read("retry --force x.jsonl"), retry(Which::One("x.jsonl".into()), true));
        assert_eq!(read("retry --all"), retry(Which::All, false));
        let cancel = Request::Command(Command::Cancel("x.jsonl".into()));
        assert_eq!(read("cancel x.jsonl"), Ok(cancel));
        for line in [
            "drop",
            "drop x.jsonl --all",
            "drop --all --force",
            "drop --any",
            "drop a/x.jsonl",
            "drop x",
            "retry",
            "retry --force",
            "retry x.jsonl --all",
            "cancel",
            "cancel --all",
            "cancel a/x.jsonl",
        ] {
            assert_eq!(code(line), "bad_request", "{line}");
        }
    }

    #[test]
    fn a_history_has_a_length() {
        assert_eq!(read("history"), Ok(Request::History(HISTORY)));
        assert_eq!(read("history 5"), Ok(Request::History(5)));
        assert_eq!(read("history -n 5"), Ok(Request::History(5)));
        assert_eq!(read("history 99999999"), Ok(Request::History(MOST_HISTORY)));
        for line in ["history -n", "history five", "history -5", "history 5 6"] {
            assert_eq!(code(line), "bad_request", "{line}");
        }
    }
}
