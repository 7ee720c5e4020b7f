//! Mistakes, each with its place. This file turns byte spans into line and column and knows how a
//! mistake is printed; it never decides what is one. All of a file's mistakes are told at once: an
//! operator who repairs one and reloads should not meet the next.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// More than these nobody reads; a hostile file could hold a hundred thousand.
pub(crate) const MOST: usize = 100;
/// The longest excerpt of a value in a message, in characters.
const EXCERPT: usize = 80;
/// The longest line of the file that is kept to be shown, in characters.
const LINE: usize = 400;

/// All that is wrong with a configuration, in the order of the file; never empty as an error.
/// Printed it is one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

/// One thing wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file as it was named, or the option (`--url`) where the words came from there.
    pub path: PathBuf,
    /// Counts lines from 1; 0 where no line is at fault, but the file as a whole.
    pub line: usize,
    /// Counts characters (not bytes) from 1; 0 with `line`.
    pub column: usize,
    /// The offending text as it stands in the file: its first line, at most 80 characters,
    /// a password in a URL masked.
    pub text: String,
    /// Says what is wrong and what would be right, beginning with the full name of the key.
    pub message: String,
    /// The whole line of the file, without its end; empty where there is none to show.
    pub source: String,
}

impl Mistake {
    /// Makes a mistake of the file as a whole, or of an option: no line, no column.
    pub fn of_whole(path: &Path, message: impl Into<String>) -> Mistake {
        Mistake {
            path: path.to_owned(),
            line: 0,
            column: 0,
            text: String::new(),
            message: message.into(),
            source: String::new(),
        }
    }

    /// Renders the mistake with the line of the file under it and a caret under the text, for
    /// `check` on a terminal. Not for the log or the status: a line may hold what only those who
    /// may read the file should see.
    ///
    /// ```
    /// let mistakes = config::parse("[workers]\ncount = 0\n", "solr-updater.toml".as_ref()).unwrap_err();
    /// let zero = mistakes.0.iter().find(|mistake| mistake.line == 2).unwrap();
    /// assert_eq!(
    ///     zero.with_caret(),
    ///     "solr-updater.toml:2:9: workers.count = 0: need at least 1\n\
    ///      \u{20}  2 | count = 0\n\
    ///      \u{20}    |         ^"
    /// );
    /// ```
    pub fn with_caret(&self) -> String {
        if self.source.is_empty() {
            return self.to_string();
        }
        let before: String = self
            .source
            .chars()
            .take(self.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' }) // so that the caret stands where the text does
            .collect();
        let room = self.source.chars().count().saturating_sub(before.chars().count());
        let carets = "^".repeat(self.text.chars().count().min(room).max(1));
        let gutter = self.line.to_string().len() + 3;
        format!(
            "{self}\n{line:>gutter$} | {source}\n{blank:>gutter$} | {before}{carets}",
            line = self.line,
            source = self.source,
            blank = ""
        )
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.message),
            line => write!(f, "{}:{line}:{}: {}", self.path.display(), self.column, self.message),
        }
    }
}

impl Mistakes {
    /// [`Mistake::with_caret`] for all of them, one after the other.
    pub fn with_carets(&self) -> String {
        let shown: Vec<String> = self.0.iter().map(Mistake::with_caret).collect();
        shown.join("\n")
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Mistakes {
        Mistakes(vec![mistake])
    }
}

/// The file's text while it is read, and the mistakes found on it so far, by byte span.
pub(crate) struct Page<'a> {
    path: &'a Path,
    text: &'a str,
    found: RefCell<Vec<(Range<usize>, String)>>,
}

impl<'a> Page<'a> {
    pub(crate) fn new(path: &'a Path, text: &'a str) -> Page<'a> {
        Page { path, text, found: RefCell::default() }
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn mistake(&self, span: Range<usize>, message: String) {
        self.found.borrow_mut().push((span, message));
    }

    /// What stands there, fit for a message: one line, not long, no password.
    pub(crate) fn excerpt(&self, span: &Range<usize>) -> String {
        excerpt(self.raw(span))
    }

    pub(crate) fn raw(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The line's text up to a place.
    pub(crate) fn line_before(&self, at: usize) -> &'a str {
        let before = self.text.get(..at).unwrap_or_default();
        &before[before.rfind('\n').map_or(0, |end| end + 1)..]
    }

    /// `workers.count = 0`, or `[convert]` where the span is a table's header, or its name in the
    /// header of another (`[convert.fields]`) or before a dot (`convert.keep = "all"`).
    pub(crate) fn named(&self, key: &str, span: &Range<usize>) -> String {
        let raw = self.raw(span);
        let header = raw.starts_with('[') && self.line_before(span.start).trim().is_empty();
        if header || raw == key.rsplit('.').next().unwrap_or(key) {
            format!("[{key}]")
        } else {
            format!("{key} = {}", self.excerpt(span))
        }
    }

    pub(crate) fn finish(self) -> Result<(), Mistakes> {
        let mut found = self.found.take();
        found.sort_by_key(|(span, _)| span.start); // stable: of one place in the order found
        found.dedup();
        let more = found.len().saturating_sub(MOST);
        if more > 0 {
            found.truncate(MOST + 1);
            found[MOST].1 = format!("{more} more mistakes from here on");
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(Mistakes(
                found.into_iter().map(|(span, message)| self.placed(span, message)).collect(),
            )),
        }
    }

    fn placed(&self, span: Range<usize>, message: String) -> Mistake {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let bom =
            if start == 0 && before.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let line =
            self.text[start..].lines().next().unwrap_or_default().trim_start_matches('\u{feff}');
        let source = match span != (0..0)
            && line.chars().nth(LINE).is_none()
            && without_password(line) == line
        {
            true => line.chars().map(printable).collect(),
            false => String::new(),
        };
        Mistake {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[start + bom..].chars().count() + 1,
            text: self.excerpt(&span),
            message,
            source,
        }
    }
}

pub(crate) fn excerpt(text: &str) -> String {
    let masked = without_password(text);
    let line = masked.lines().next().unwrap_or_default();
    let short: String = line.chars().take(EXCERPT).map(printable).collect();
    if short.len() < masked.trim_end().len() { short + "…" } else { short }
}

/// A terminal takes control characters for commands.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

/// `http://me:secret@host` is refused, but first it would be printed, logged and shown in the status.
fn without_password(text: &str) -> String {
    let Some(start) = text.find("://").map(|at| at + 3) else { return text.to_owned() };
    match text[start..].rfind('@') {
        Some(at) => format!("{}…{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

/// The known word that was probably meant.
pub fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    if typed.len() > 64 {
        return None; // nobody's slip, and the distance costs the product of the lengths
    }
    let close =
        |word: &&&str| distance(typed, word) <= (word.len().min(typed.len()) / 3).clamp(1, 2);
    let begins =
        |word: &&&str| typed.len() >= 3 && (word.starts_with(typed) || typed.starts_with(**word));
    known
        .iter()
        .filter(close)
        .min_by_key(|word| distance(typed, word))
        .or_else(|| known.iter().find(begins))
        .copied()
}

/// Slips of a finger between two words: a letter too many, too few, another, or two swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let other = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = other.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known =
            ["count", "partition", "partition_key", "hang_timeout", "in_flight", "password_file"];
        for (typed, meant) in [
            ("cuont", Some("count")),
            ("counts", Some("count")),
            ("in-flight", Some("in_flight")),
            ("partitoin", Some("partition")),
            ("password", Some("password_file")),
            ("hang", Some("hang_timeout")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_never_repeated() {
        assert_eq!(excerpt("\"http://me:se/cr@et@host/solr\""), "\"http://…@host/solr\"");
        let text = "[spool]\ndir = \"/s\"\n[solr]\nurls = [\"http://me:s3cret@h/solr\"]\ncollection = \"c\"\n";
        let mistakes = crate::parse(text, Path::new("f")).unwrap_err();
        assert!(!mistakes.with_carets().contains("s3cret"), "{}", mistakes.with_carets());
        assert!(!format!("{mistakes:?}").contains("s3cret"));
    }

    #[test]
    fn a_long_or_broken_line_is_cut_and_harmless() {
        assert_eq!(excerpt(&"x".repeat(100)), "x".repeat(80) + "…");
        assert_eq!(excerpt("\"\"\"\na\n\"\"\""), "\"\"\"…");
        assert_eq!(excerpt("a\u{1b}[2J"), "a\u{fffd}[2J");
    }

    #[test]
    fn the_caret_stands_under_the_text_behind_tabs_and_wide_letters() {
        let page = Page::new(Path::new("f.toml"), "ä\tb = zero\n");
        page.mistake(7..11, "no".into());
        let shown = page.finish().unwrap_err().with_carets();
        assert_eq!(shown, "f.toml:1:7: no\n   1 | ä\tb = zero\n     |  \t    ^^^^");
    }

    #[test]
    fn a_hundred_mistakes_are_enough() {
        let text =
            "a = 1\n".to_owned() + &(0..5000).map(|n| format!("k{n} = 1\n")).collect::<String>();
        let mistakes = crate::parse(&text, Path::new("f")).unwrap_err().0;
        assert_eq!(mistakes.len(), MOST + 1);
        assert!(
            mistakes[MOST].message.ends_with("more mistakes from here on"),
            "{}",
            mistakes[MOST]
        );
    }
}
