//! `rejects` and `history`: what the daemon lists, or without one the spool, as a table for people.

use std::ffi::OsStr;
use std::process::ExitCode;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use status::page::plain;
use status::{Answer, Failure};

use crate::Trouble;
use crate::ask::{self, print};
use crate::cli::Cli;
use crate::offline::Offline;

/// A column is no wider than this, unless it is the last: a delta's name has room, or nobody could name it.
const WIDEST: usize = 240;

#[derive(Deserialize)]
struct Rejects {
    rejects: Vec<Reject>,
    truncated: bool,
}

#[derive(Deserialize)]
struct Reject {
    delta: String,
    line: Option<u64>,
    id: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
struct History {
    history: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    outcome: String,
    time: String,
    lines: u64,
    docs: u64,
    deletes: u64,
    rejected: u64,
    superseded: u64,
    seconds: f64,
    docs_per_s: f64,
    reason: Option<String>,
}

pub(crate) fn rejects(cli: &Cli, name: Option<&OsStr>, json: bool) -> Result<ExitCode, Trouble> {
    let words = match name {
        Some(name) => format!("rejects {}", spool::to_word(name)),
        None => "rejects".into(),
    };
    let line = answer(cli, &words)?;
    if json {
        return print(&line);
    }
    print(&rejected(read(&line)?))
}

/// The table of what is rejected.
fn rejected(Rejects { rejects, truncated }: Rejects) -> String {
    if rejects.is_empty() {
        return match truncated {
            true => "the list is not complete: all of it is in the spool, rejected/NAME.rejected.jsonl\n",
            false => "nothing is rejected\n",
        }
        .into();
    }
    let rows = rejects.into_iter().map(|r| {
        let number = r.line.map_or("?".into(), |line| line.to_string());
        [r.delta, number, r.id.unwrap_or("-".into()), r.reason]
    });
    let mut text = table(["DELTA", "LINE", "ID", "REASON"], rows.collect(), &[1]);
    if truncated {
        text += "and more: all of it is in the spool, rejected/NAME.rejected.jsonl\n";
    }
    text
}

pub(crate) fn history(cli: &Cli, n: u32, json: bool) -> Result<ExitCode, Trouble> {
    let line = answer(cli, &format!("history {n}"))?;
    if json {
        return print(&line);
    }
    let History { history } = read(&line)?;
    if history.is_empty() {
        return print("nothing has been settled yet\n");
    }
    let rows = history.into_iter().map(|e| {
        let mut why = match e.superseded {
            0 => String::new(),
            n => format!("{n} superseded by newer documents; "),
        };
        why += e.reason.as_deref().unwrap_or_default();
        [
            e.time.replace('T', " "),
            e.name,
            e.outcome,
            e.lines.to_string(),
            (e.docs + e.deletes).to_string(),
            e.rejected.to_string(),
            format!("{:.1}", e.seconds),
            format!("{:.0}", e.docs_per_s),
            why.trim_end_matches("; ").to_owned(),
        ]
    });
    let heads =
        ["SETTLED", "DELTA", "HOW", "LINES", "DOCUMENTS", "REJECTED", "SECONDS", "DOCS/S", ""];
    print(&table(heads, rows.collect(), &[3, 4, 5, 6, 7]))
}

/// The daemon's answer, or the spool's own.
fn answer(cli: &Cli, words: &str) -> Result<String, Trouble> {
    let line = match ask::daemon(cli)? {
        Some(mut daemon) => {
            let line = daemon.ask(words)?;
            String::from_utf8(line).map_err(|e| daemon.unreadable(e))?
        }
        None => monitor::without_daemon(&Offline::read(cli)?.spool, words),
    };
    match Answer::parse(line.as_bytes()) {
        Ok(Answer::Refused(Failure { message, .. })) => Err(Trouble::new(1, message)),
        Ok(_) => Ok(line),
        Err(e) => Err(Trouble::new(1, e.to_string())),
    }
}

fn read<T: DeserializeOwned>(line: &str) -> Result<T, Trouble> {
    serde_json::from_str(line)
        .map_err(|e| Trouble::new(1, format!("the answer cannot be read: {e}")))
}

/// Rows under their heads, columns as wide as they need to be; those named in `right` are numbers.
fn table<const N: usize>(heads: [&str; N], rows: Vec<[String; N]>, right: &[usize]) -> String {
    let mut all = vec![heads.map(str::to_owned)];
    all.extend(rows.into_iter().map(|row| row.map(|cell| plain(&cell))));
    let width = |n: usize| all.iter().map(|row| row[n].chars().count().min(WIDEST)).max();
    let widths: Vec<usize> = (0..N).map(|n| width(n).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (n, cell) in row.iter().enumerate() {
            if n > 0 {
                line.push_str("  ");
            }
            let width = widths[n];
            match n + 1 == N {
                true => line.push_str(cell),
                false if right.contains(&n) => line += &format!("{cell:>width$}"),
                false => line += &format!("{:<width$}", cut(cell, width)),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn cut(cell: &str, width: usize) -> String {
    match cell.chars().count() > width {
        true => cell.chars().take(width - 1).chain(['…']).collect(),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_not_complete_never_says_that_nothing_is_rejected() {
        let none = |truncated| rejected(Rejects { rejects: Vec::new(), truncated });
        assert_eq!(none(false), "nothing is rejected\n");
        assert!(none(true).contains("the list is not complete"), "{}", none(true));
    }

    #[test]
    fn a_table_is_as_wide_as_it_needs_to_be_and_writes_nothing_to_the_terminal() {
        let long = "x".repeat(WIDEST + 10);
        let rows = vec![
            ["a\u{1b}[1m".to_owned(), "7".into(), "no".into()],
            [long.clone(), "1000".into(), long.clone()],
        ];
        let expected = format!(
            "{:<WIDEST$}  LINE  WHY\n{:<WIDEST$}     7  no\n{}…  1000  {long}\n",
            "NAME",
            plain("a\u{1b}[1m"),
            &long[..WIDEST - 1],
        );
        assert_eq!(table(["NAME", "LINE", "WHY"], rows, &[1]), expected);
        assert!(!expected.contains('\u{1b}'));
    }
}
