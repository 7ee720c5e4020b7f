//! A line's papers: which delta it is of, its number there, and how old it is. That is plain for a line
//! that is read from its delta. A rejected line that is retried brings them along, and keeps them when
//! it is rejected again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use base64::Engine;
use serde::Deserialize;
use spool::{Kind, Packing, Progress, Spool};

use crate::age::{Age, Highest, Late, Runs};
use crate::hold::is_the_deltas;
use crate::intents::Intents;
use crate::lines::{BOM, Place};
use crate::rejects::{Original, Reject, Stage};
use crate::share::Shop;
use crate::text::Former;

/// The papers of a share's lines.
pub(crate) struct Papers {
    delta: String,
    name: OsString,
    kind: Kind,
    /// The number under which this was claimed.
    claim: u64,
    /// How old all lines are; none: as new as can be, or each as it says.
    age: Option<Age>,
    /// Against what a line's age is judged; none: it goes over whatever is there.
    runs: Option<Arc<Runs>>,
    highest: Highest,
    spool: Spool,
    max_line: u64,
    /// What retried lines have brought along, by their index in the file that is read.
    brought: BTreeMap<u64, Papered>,
    /// The compressed delta that they are of, if one had to be looked for in it.
    former: Option<Former>,
}

/// What a retried line brings along.
#[derive(Debug, Clone, Copy)]
struct Papered {
    line: u64,
    offset: u64,
    attempts: u32,
    age: Age,
}

/// What is read of a reject file's record.
#[derive(Deserialize)]
struct Record<'a> {
    line: u64,
    offset: u64,
    #[serde(default)]
    attempts: u32,
    as_of: Option<u64>,
    claim: Option<u64>,
    #[serde(borrow)]
    raw: Option<Cow<'a, str>>,
    #[serde(borrow)]
    raw_base64: Option<Cow<'a, str>>,
    length: Option<u64>,
}

/// The line that stands at a place.
pub(crate) enum Unfolded<'l> {
    Line(Cow<'l, [u8]>),
    /// It cannot be delivered, and this is its record.
    Refused(Vec<u8>),
    /// It has to be looked for in its delta, and that takes its time: it is to be asked for again.
    NotYet,
}

/// Why there is no line to be delivered.
enum Undeliverable<'l> {
    /// And what is known of it: itself or its length.
    Refused(String, Result<Cow<'l, [u8]>, u64>),
    NotYet,
}

impl Papers {
    /// Of a share. `progress`: of a delta that had failed.
    pub(crate) fn new(
        order: &orders::Share,
        progress: Option<&Progress>,
        intents: &Arc<Intents>,
        shop: &Shop,
    ) -> io::Result<Papers> {
        let age = progress.map(|p| Age { as_of: p.as_of(order.share), claim: p.claim });
        let is_guarded = order.guarded && order.kind != Kind::Delta;
        Ok(Papers {
            delta: order.name.to_string_lossy().into_owned(),
            name: order.name.clone(),
            kind: order.kind,
            claim: order.claim,
            age: age.filter(|_| is_guarded && order.kind == Kind::Rest),
            runs: is_guarded.then(|| Runs::of(&shop.spool, Arc::clone(intents))).transpose()?,
            highest: Highest::new(shop.board, shop.cell),
            spool: shop.spool.clone(),
            max_line: shop.config.spool.max_line,
            brought: BTreeMap::new(),
            former: None,
        })
    }

    /// The delta's name, for people.
    pub(crate) fn delta(&self) -> &str {
        &self.delta
    }

    /// How old a line is, and against what that is judged; none: it goes over whatever is there.
    pub(crate) fn late(&self, index: u64) -> Option<Late> {
        let runs = Arc::clone(self.runs.as_ref()?);
        let age = self.age.or_else(|| self.brought.get(&index).map(|papered| papered.age))?;
        Some(Late { age, runs, once: false })
    }

    /// What is said of a line that is rejected. `as_of`: the highest version in any receipt when that
    /// was found; else it is found now.
    pub(crate) fn reject<'a>(
        &'a self,
        place: Place,
        stage: Stage,
        reason: &'a str,
        as_of: Option<u64>,
    ) -> Reject<'a> {
        let now = || Age { as_of: as_of.unwrap_or_else(|| self.highest.get()), claim: self.claim };
        let late = self.late(place.index).map(|late| late.age);
        let papered = self.brought.get(&place.index);
        Reject {
            delta: &self.delta,
            line: papered.map_or(place.index + 1, |papered| papered.line),
            offset: papered.map_or(place.offset, |papered| papered.offset),
            id: None,
            stage,
            status: None,
            reason,
            // To have been retried is an attempt, however far it came.
            attempts: papered.map_or(0, |papered| papered.attempts.saturating_add(1)),
            // What was forced is as new as this.
            age: late.unwrap_or_else(now),
            original: Original::Length(0),
        }
    }

    /// The line that stands at a place: these bytes, or what they tell of a line that is retried.
    pub(crate) fn line<'l>(&mut self, place: Place, bytes: &'l [u8]) -> Unfolded<'l> {
        if self.kind != Kind::Rejects || bytes.iter().all(u8::is_ascii_whitespace) {
            return Unfolded::Line(Cow::Borrowed(bytes));
        }
        let record = match serde_json::from_slice::<Record<'l>>(bytes) {
            Ok(record) => record,
            Err(e) => {
                let papered = Papered { line: 0, offset: 0, attempts: 0, age: Age::default() };
                self.brought.insert(place.index, papered);
                let reason = format!("this record of the reject file cannot be read: {e}");
                return Unfolded::Refused(self.refuse(place, &reason, Original::Bytes(bytes)));
            }
        };
        let age = record.as_of.zip(record.claim).map(|(as_of, claim)| Age { as_of, claim });
        let Record { line, offset, attempts, .. } = record;
        let papered = Papered { line, offset, attempts, age: age.unwrap_or_default() };
        self.brought.insert(place.index, papered);
        let (reason, known) = match self.original(record, age.is_some()) {
            Ok(line) => return Unfolded::Line(line),
            Err(Undeliverable::NotYet) => return Unfolded::NotYet,
            Err(Undeliverable::Refused(reason, known)) => (reason, known),
        };
        let original = match &known {
            Ok(line) => Original::Bytes(line),
            Err(length) => Original::Length(*length),
        };
        Unfolded::Refused(self.refuse(place, &reason, original))
    }

    /// The original line.
    fn original<'l>(
        &mut self,
        record: Record<'l>,
        has_age: bool,
    ) -> Result<Cow<'l, [u8]>, Undeliverable<'l>> {
        let line: Cow<'l, [u8]> = match record {
            Record { raw: Some(Cow::Borrowed(raw)), .. } => Cow::Borrowed(raw.as_bytes()),
            Record { raw: Some(Cow::Owned(raw)), .. } => Cow::Owned(raw.into_bytes()),
            Record { raw_base64: Some(raw), .. } => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(raw.as_bytes());
                Cow::Owned(bytes.map_err(|e| {
                    Undeliverable::Refused(format!("its raw_base64 cannot be read: {e}"), Err(0))
                })?)
            }
            Record { offset, length: Some(length), .. } => match self.find(offset, length) {
                Ok(Some(found)) => Cow::Owned(found),
                Ok(None) => return Err(Undeliverable::NotYet),
                Err(reason) => return Err(Undeliverable::Refused(reason, Err(length))),
            },
            Record { .. } => {
                return Err(Undeliverable::Refused(
                    "its record has neither raw nor length: nothing is left of it".into(),
                    Err(0),
                ));
            }
        };
        match self.runs.is_some() && !has_age {
            false => Ok(line),
            true => Err(Undeliverable::Refused(
                "nobody knows how old this line is: `solr-updater retry --force` delivers it, over \
                 whatever is newer"
                    .into(),
                Ok(line),
            )),
        }
    }

    /// A line that was too long to be kept beside its reason, out of its delta; `None`: it is being
    /// looked for.
    fn find(&mut self, offset: u64, length: u64) -> Result<Option<Vec<u8>>, String> {
        if length > self.max_line {
            let most = self.max_line;
            return Err(format!("the line has {length} bytes, and spool.max_line = {most}"));
        }
        // With the ends of the lines before and behind it, as far as there are any.
        let before = offset.min(1) as usize;
        let around = self.read_again(offset - before as u64, before + length as usize + 1);
        let around = around
            .map_err(|e| format!("the line cannot be read again from {}: {e}", self.delta))?;
        let Some(around) = around else { return Ok(None) };
        let (last, rest) = around.split_at(around.len().min(before));
        let (line, next) = rest.split_at(rest.len().min(length as usize));
        if line.len() as u64 != length {
            return Err(format!("the line cannot be read again from {}: it has less", self.delta));
        }
        let whole = last.iter().chain(next).all(|byte| *byte == b'\n');
        match whole && !line.contains(&b'\n') {
            true => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let bom = if offset == 0 { BOM } else { b"" };
                Ok(Some(line.strip_prefix(bom).unwrap_or(line).to_vec()))
            }
            false => Err(format!("{} is not what it was: the line is not there", self.delta)),
        }
    }

    /// So many bytes of the delta's text from there on, or what there is up to its end.
    fn read_again(&mut self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let packing = Packing::of(&self.name);
        if self.former.is_none() {
            let file = self.spool.open_former(&self.name)?;
            if packing == Packing::None {
                let mut bytes = Vec::with_capacity(length);
                let mut file = file;
                file.seek(SeekFrom::Start(offset))?;
                file.take(length as u64).read_to_end(&mut bytes)?;
                return Ok(Some(bytes));
            }
            self.former = Some(Former::new(file, packing)?);
        }
        let Some(former) = &mut self.former else { return Ok(None) };
        Ok(former.piece(offset, length)?.map(<[u8]>::to_vec))
    }

    fn refuse(&self, place: Place, reason: &str, original: Original<'_>) -> Vec<u8> {
        Reject { original, ..self.reject(place, Stage::Parse, reason, None) }.record()
    }

    /// The mark has passed all lines before this one.
    pub(crate) fn passed(&mut self, index: u64) {
        if !self.brought.is_empty() {
            self.brought = self.brought.split_off(&index);
        }
    }
}

/// What is known of a failed delta that is to go on; `Err(None)`: nobody knows enough.
pub(crate) fn progress(
    order: &orders::Share,
    spool: &Spool,
) -> Result<Option<Progress>, Option<io::Error>> {
    if order.kind != Kind::Rest {
        return Ok(None);
    }
    let known = Progress::load(&spool.progress(order.claim)).map_err(Some)?;
    let found = spool.look_at_claimed(order.kind, &order.name);
    let found = match found {
        Ok(found) => Some(found),
        Err(e) if is_the_deltas(&e, order.kind, &order.name, spool) => None,
        Err(e) => return Err(Some(e)),
    };
    let known = known.filter(|known| found.is_none_or(|found| known.is_of(&found)));
    if known.is_none() && order.guarded { Err(None) } else { Ok(known) }
}

#[cfg(test)]
#[path = "papers_tests.rs"]
mod tests;
