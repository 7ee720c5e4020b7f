//! Typed readers over TOML values that know their place. A section hands out its keys one by one;
//! each reader notes what is wrong, with the key's full name and what would be right, and reading
//! goes on, so that all mistakes are found in one pass. The keys that were asked for are the known
//! ones: no list of names beside the readers can fall behind them.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::mistakes::{MOST, Page, nearest};
use crate::units;

/// A socket's path must fit `sun_path` with its final NUL (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// More than this stand in no list: comparing each with each must not hold up a reload.
const LONGEST_LIST: usize = 100;

/// What stood under a key.
pub(crate) enum Read<T> {
    /// Nothing: the default holds.
    Absent,
    /// Something wrong, already noted: what depends on it is not judged.
    Wrong,
    /// A good value and where it stands.
    Good(T, Range<usize>),
}

impl<T> Read<T> {
    pub(crate) fn or(self, default: T) -> T {
        match self {
            Read::Good(value, _) => value,
            Read::Absent | Read::Wrong => default,
        }
    }

    pub(crate) fn ok(self) -> Option<T> {
        match self {
            Read::Good(value, _) => Some(value),
            Read::Absent | Read::Wrong => None,
        }
    }

    pub(crate) fn place(&self) -> Option<Range<usize>> {
        match self {
            Read::Good(_, span) => Some(span.clone()),
            Read::Absent | Read::Wrong => None,
        }
    }
}

impl<T: Copy> Read<T> {
    /// The value that holds, unless it is a mistake already.
    pub(crate) fn holds(&self, default: T) -> Option<T> {
        match self {
            Read::Good(value, _) => Some(*value),
            Read::Absent => Some(default),
            Read::Wrong => None,
        }
    }
}

/// A key and its value.
pub(crate) type Entry<'p> = (&'p Spanned<DeString<'p>>, &'p Spanned<DeValue<'p>>);

/// One table of the file, or what is there instead of it.
pub(crate) struct Section<'p> {
    page: &'p Page<'p>,
    /// The dotted name, empty for the file itself.
    name: String,
    table: Read<&'p DeTable<'p>>,
    asked: Vec<&'static str>,
}

impl<'p> Section<'p> {
    pub(crate) fn file(page: &'p Page<'p>, table: &'p DeTable<'p>) -> Section<'p> {
        Section { page, name: String::new(), table: Read::Good(table, 0..0), asked: Vec::new() }
    }

    /// The full name of a key in here.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub(crate) fn page(&self) -> &'p Page<'p> {
        self.page
    }

    /// Where it stands, if it is there and a table.
    pub(crate) fn place(&self) -> Option<Range<usize>> {
        self.table.place()
    }

    /// A mistake about a key's value.
    pub(crate) fn wrong(&self, key: &str, at: Range<usize>, what: &str) {
        let named = self.page.named(&self.key(key), &at);
        self.page.mistake(at, format!("{named}: {what}"));
    }

    /// A table that is an element of a list, or has a name that the operator chose.
    pub(crate) fn of(
        page: &'p Page<'p>,
        name: String,
        value: &'p Spanned<DeValue<'p>>,
    ) -> Section<'p> {
        let table = match value.get_ref() {
            DeValue::Table(table) => Read::Good(table, value.span()),
            _ => Read::Wrong,
        };
        Section { page, name, table, asked: Vec::new() }
    }

    /// All that is in here, in the order of the file: its keys are the operator's.
    pub(crate) fn entries(&self) -> Vec<Entry<'p>> {
        let Read::Good(table, _) = &self.table else { return Vec::new() };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }

    /// What stands under a key, to be read by whoever asks.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'p Spanned<DeValue<'p>>> {
        self.take(key)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> Read<bool> {
        let Some(value) = self.take(key) else { return Read::Absent };
        let read = match value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err("need true or false, without quotes".to_owned()),
        };
        self.judged(key, value.span(), read)
    }

    fn take(&mut self, key: &'static str) -> Option<&'p Spanned<DeValue<'p>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        match self.table {
            Read::Good(table, _) => table.get(key),
            Read::Absent | Read::Wrong => None,
        }
    }

    /// A table in here; `like` is an example of it.
    pub(crate) fn section(&mut self, key: &'static str, like: &str) -> Section<'p> {
        let name = self.key(key);
        let table = match self.take(key) {
            None => Read::Absent,
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Read::Good(table, value.span()),
                DeValue::Array(_) => {
                    self.wrong(
                        key,
                        value.span(),
                        &format!("need one table, not a list of them, such as {like}"),
                    );
                    Read::Wrong
                }
                _ => {
                    self.wrong(key, value.span(), &format!("need a table, such as {like}"));
                    Read::Wrong
                }
            },
        };
        Section { page: self.page, name, table, asked: Vec::new() }
    }

    /// Says that a key without a default is missing; `like` is the line to add.
    pub(crate) fn missing(&self, key: &str, like: &str) {
        let (at, add) = match &self.table {
            Read::Good(_, span) => (span.clone(), format!("add {like} to [{}]", self.name)),
            Read::Absent => (0..0, format!("add a section [{}] with {like}", self.name)),
            Read::Wrong => return,
        };
        self.page.mistake(at, format!("{} is missing: {add}", self.key(key)));
    }

    /// A string that means something: `want` names it with an example, `meaning` reads it or says
    /// what is wrong.
    pub(crate) fn string<T>(
        &mut self,
        key: &'static str,
        want: &str,
        meaning: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<T> {
        let Some(value) = self.take(key) else { return Read::Absent };
        let read = match value.get_ref() {
            DeValue::String(text) => meaning(text),
            _ => Err(format!("need {want}, in quotes")),
        };
        self.judged(key, value.span(), read)
    }

    /// Notes what is wrong with a value.
    pub(crate) fn judged<T>(
        &self,
        key: &str,
        at: Range<usize>,
        read: Result<T, String>,
    ) -> Read<T> {
        match read {
            Ok(value) => Read::Good(value, at),
            Err(what) => {
                self.wrong(key, at, &what);
                Read::Wrong
            }
        }
    }

    /// A duration within bounds.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Read<Duration> {
        let like = units::show_duration(default);
        self.string(key, &format!("a duration such as \"{like}\""), |text| {
            duration_within(text, &like, bounds)
        })
    }

    /// A size in bytes within bounds.
    pub(crate) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Read<u64> {
        let like = units::show_size(default);
        self.string(key, &format!("a size such as \"{like}\""), |text| {
            let bytes = units::size(text).map_err(|what| format!("{what}, such as \"{like}\""))?;
            within(bytes, bounds, units::show_size)
        })
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Read<u64> {
        let Some(value) = self.take(key) else { return Read::Absent };
        let read = whole_number(value.get_ref(), &bounds, default)
            .and_then(|n| within(n, bounds, |n| n.to_string()));
        self.judged(key, value.span(), read)
    }

    /// The same for a number that fits 32 bits, which `bounds` must ensure.
    pub(crate) fn number32(
        &mut self,
        key: &'static str,
        default: u32,
        bounds: RangeInclusive<u32>,
    ) -> Read<u32> {
        let wide = u64::from(*bounds.start())..=u64::from(*bounds.end());
        match self.number(key, default.into(), wide) {
            Read::Absent => Read::Absent,
            Read::Wrong => Read::Wrong,
            Read::Good(n, at) => {
                Read::Good(u32::try_from(n).expect("it is within bounds of 32 bits"), at)
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Read<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let want = format!("\"{}\"", names.join("\", \""));
        let want = match want.rfind(", ") {
            Some(last) => format!("{} or {}", &want[..last], &want[last + 2..]),
            None => want,
        };
        self.string(key, &want, |text| match words.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => Err(match nearest(&text.to_lowercase(), &names) {
                Some(meant) => format!("need {want}; did you mean \"{meant}\"?"),
                None => format!("need {want}"),
            }),
        })
    }

    /// An absolute path of a file or folder.
    pub(crate) fn path(&mut self, key: &'static str, like: &str) -> Read<PathBuf> {
        self.string(key, &format!("a path such as \"{like}\""), |text| absolute(text, like))
    }

    /// A path that can be bound as a Unix socket.
    pub(crate) fn socket_path(&mut self, key: &'static str, like: &str) -> Read<PathBuf> {
        self.string(key, &format!("a path such as \"{like}\""), |text| {
            let path = absolute(text, like)?;
            if text.ends_with('/') {
                return Err("is a folder: name the socket in it".to_owned());
            }
            match text.len() {
                ..=LONGEST_SOCKET => Ok(path),
                long => Err(format!(
                    "{long} bytes long, but a Unix socket's path has at most {LONGEST_SOCKET}: choose a shorter one, such as \"{like}\""
                )),
            }
        })
    }

    /// The permissions of a file, in octal.
    pub(crate) fn mode(&mut self, key: &'static str, like: &str) -> Read<u32> {
        let want = format!("octal permissions such as \"{like}\"");
        self.string(key, &want, |text| {
            let octal = matches!(text.len(), 3..=4)
                && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
            match u32::from_str_radix(text, 8) {
                Ok(mode) if octal && mode <= 0o777 => Ok(mode),
                Ok(_) | Err(_) => Err(format!("need {want}, from \"0000\" to \"0777\"")),
            }
        })
    }

    /// An IP address and a port; `like` is an example of both. No name: whoever reads a configuration
    /// resolves nothing.
    pub(crate) fn address(&mut self, key: &'static str, like: &str) -> Read<SocketAddr> {
        let want = format!("an IP address and a port such as \"{like}\"");
        let or_what = |why: Option<String>| why.unwrap_or(format!("need {want}"));
        self.string(key, &want, |text| units::address(text).map_err(or_what))
    }

    /// A list of strings, each read by `meaning`; one that is wrong makes the list wrong.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        like: &str,
        meaning: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<(T, Range<usize>)>> {
        let Some(value) = self.take(key) else { return Read::Absent };
        let DeValue::Array(array) = value.get_ref() else {
            let like = match value.get_ref() {
                DeValue::String(_) => format!("[{}]", self.page.excerpt(&value.span())),
                _ => like.to_owned(),
            };
            self.wrong(key, value.span(), &format!("need a list, such as {like}"));
            return Read::Wrong;
        };
        if array.len() > LONGEST_LIST {
            self.wrong(key, value.span(), &format!("need at most {LONGEST_LIST}"));
            return Read::Wrong;
        }
        let mut good = Vec::new();
        for element in array.iter() {
            let read = match element.get_ref() {
                DeValue::String(text) => meaning(text),
                _ => Err(format!("need strings, such as {like}")),
            };
            if let Read::Good(item, at) = self.judged(key, element.span(), read) {
                good.push((item, at));
            }
        }
        if array.is_empty() {
            self.wrong(key, value.span(), &format!("need at least one, such as {like}"));
        }
        if good.len() == array.len() && !good.is_empty() {
            Read::Good(good, value.span())
        } else {
            Read::Wrong
        }
    }

    /// A count, or a share in percent such as `10%` (0 to 100, fractions allowed).
    pub(crate) fn count_or_percent<T>(
        &mut self,
        key: &'static str,
        count: impl FnOnce(u64) -> T,
        percent: impl FnOnce(f64) -> T,
    ) -> Read<T> {
        let Some(value) = self.take(key) else { return Read::Absent };
        let want = "a share of the lines such as \"10%\", or a count such as 100 (without quotes)";
        let read = match value.get_ref() {
            DeValue::Integer(_) => whole_number(value.get_ref(), &(0..=u64::MAX), 100).map(count),
            DeValue::String(text) => match text.strip_suffix('%').map(plain_decimal) {
                Some(Some(share)) if share <= 100.0 => Ok(percent(share)),
                Some(Some(_)) => Err("need at most 100%".to_owned()),
                Some(None) | None => Err(format!("need {want}")),
            },
            _ => Err(format!("need {want}")),
        };
        self.judged(key, value.span(), read)
    }

    /// Notes every key of this section that nobody asked for.
    pub(crate) fn finish(self) {
        let Read::Good(table, _) = self.table else { return };
        let asked = |key: &str| self.asked.contains(&key);
        let mut unknown: Vec<_> = table.iter().filter(|(key, _)| !asked(key.get_ref())).collect();
        unknown.sort_by_key(|(key, _)| key.span().start);
        for (n, (key, value)) in unknown.into_iter().enumerate() {
            // A header, where there is one, begins before the key's own name in it.
            let header = value.span().start < key.span().start;
            let at = if header { value.span() } else { key.span() };
            let message = match n {
                ..=MOST => {
                    self.unknown(&self.page.excerpt(&key.span()), key.get_ref(), value.get_ref())
                }
                _ => String::new(), // counted, never shown
            };
            self.page.mistake(at, message);
        }
    }

    fn unknown(&self, written: &str, key: &str, value: &DeValue<'_>) -> String {
        let known = self.asked.join(", ");
        let meant = nearest(key, &self.asked);
        match (self.name.is_empty(), value, meant) {
            (true, DeValue::Table(_), Some(meant)) => {
                format!("unknown section [{written}]; did you mean [{meant}]? (known: {known})")
            }
            (true, DeValue::Table(_), None) => {
                format!("unknown section [{written}] (known: {known})")
            }
            (true, ..) => {
                format!("unknown key {written}: every key stands in a section (known: {known})")
            }
            (false, _, Some(meant)) => {
                format!("unknown key {}; did you mean {meant}? (known: {known})", self.key(written))
            }
            (false, _, None) => format!("unknown key {} (known: {known})", self.key(written)),
        }
    }
}

/// A duration within bounds, from text; `like` is an example of one.
pub(crate) fn duration_within(
    text: &str,
    like: &str,
    bounds: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let duration = units::duration(text).map_err(|what| format!("{what}, such as \"{like}\""))?;
    within(duration, bounds, units::show_duration)
}

fn within<T: PartialOrd + Copy>(
    value: T,
    bounds: RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if value < *bounds.start() {
        Err(format!("need at least {}", show(*bounds.start())))
    } else if value > *bounds.end() {
        Err(format!("need at most {}", show(*bounds.end())))
    } else {
        Ok(value)
    }
}

fn whole_number(
    value: &DeValue<'_>,
    bounds: &RangeInclusive<u64>,
    like: u64,
) -> Result<u64, String> {
    let DeValue::Integer(number) = value else {
        return Err(match value {
            DeValue::String(_) => format!("need a whole number without quotes, such as {like}"),
            _ => format!("need a whole number, such as {like}"),
        });
    };
    match u64::from_str_radix(number.as_str(), number.radix()) {
        Ok(n) => Ok(n),
        Err(_) if number.as_str().starts_with('-') => {
            Err(format!("need at least {}", bounds.start()))
        }
        Err(_) => Err(format!("need at most {}", bounds.end())),
    }
}

/// `10` or `0.5`; not `1e1`, `+1`, `inf` or `NaN`, which `f64` would read too.
fn plain_decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { text.parse().ok() } else { None }
}

fn absolute(text: &str, like: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("no path has a NUL in it".to_owned());
    }
    match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => Err(format!(
            "need a path from the root, such as \"{like}\": a daemon has no folder of its own to start from"
        )),
    }
}
