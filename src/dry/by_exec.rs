//! `convert` by the operator's own converter: lines go to its process, many at a time, and what comes back is
//! shown in their order. It is not waited for: as long as more can be read, it is.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Read, Write};
use std::time::Duration;

use convert::{Converted, Converter, Scratch};
use exec::{Exec, Said, Trouble};

use super::{End, Found, Lines, Show, read_by_nobody, write};

/// It may fail so often with nothing answered in between: the first lines may be at fault.
const TRIES: u32 = 3;
/// It is looked at so often at least.
const LOOK: Duration = Duration::from_millis(500);

/// A line that was read.
enum Line {
    /// The converter has it.
    Asked(u64),
    /// It is rejected anyhow, for this reason.
    Rejected(u64, String),
}

/// Converts line after line. `would_wait`: whether more can be read only later.
pub(super) fn all(
    converter: &Converter,
    exec: &mut Exec,
    mut lines: Lines<impl Read>,
    would_wait: impl Fn() -> bool,
    show: Show<'_, impl Write, impl Write>,
) -> io::Result<End> {
    let Show { name, out, told } = show;
    let mut show = Show { name, out: (), told };
    let mut out = BufWriter::with_capacity(64 << 10, out);
    let (mut read, mut is_ended, mut outages) = (VecDeque::new(), false, 0);
    let mut rejected = false;
    loop {
        while !is_ended && exec.has_room() {
            if lines.would_wait() && would_wait() && !read.is_empty() {
                break;
            }
            is_ended = !take(converter, exec, &mut lines, &mut read)?;
        }
        let is_waiting = is_ended || lines.would_wait() && would_wait();
        match exec.pump(is_waiting, sys::clock::now_ms()) {
            Ok(()) => {}
            Err(Trouble::Outage(why)) if outages + 1 >= TRIES => return Err(io::Error::other(why)),
            Err(Trouble::Outage(_)) => outages += 1,
            Err(Trouble::Spoiled(why)) => return Err(io::Error::other(why)),
        }
        while let Some(line) = read.front() {
            let (number, written) = match line {
                Line::Rejected(number, reason) => (*number, Ok(Some(reason.clone()))),
                Line::Asked(number) => match answered(converter, exec, &mut out) {
                    None => break,
                    Some(written) => {
                        exec.pop();
                        outages = 0;
                        (*number, written)
                    }
                },
            };
            read.pop_front();
            match written {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    rejected = true;
                    show.tell(number, &reason);
                }
                Err(e) => {
                    let _ = read_by_nobody(Err(e))?;
                    return Ok(End::Unread);
                }
            }
        }
        if read.is_empty() && read_by_nobody(out.flush())?.is_break() {
            return Ok(End::Unread);
        }
        if is_ended && read.is_empty() {
            return Ok(End::Read { rejected });
        }
        if !read.is_empty() && (is_ended || !exec.has_room() || would_wait()) {
            let wait = exec.next_event(sys::clock::now_ms()).unwrap_or(LOOK).min(LOOK);
            let _ = sys::poll(&exec.watched(), Some(wait));
        }
    }
}

/// Reads a line; whether there was one.
fn take(
    converter: &Converter,
    exec: &mut Exec,
    lines: &mut Lines<impl Read>,
    read: &mut VecDeque<Line>,
) -> io::Result<bool> {
    match lines.next()? {
        Found::End => return Ok(false),
        Found::Line(number, line) => match converter.before_asking(line) {
            Some(Converted::Reject { reason, .. }) => {
                read.push_back(Line::Rejected(number, reason))
            }
            Some(_) => {}
            None => {
                exec.give(line.trim_ascii_end());
                read.push_back(Line::Asked(number));
            }
        },
        Found::TooLong(number, length, most) => {
            let reason = format!("the line has {length} bytes, and spool.max_line = {most}");
            read.push_back(Line::Rejected(number, reason));
        }
    }
    Ok(true)
}

/// Writes what the first line has become, if that is known and beyond doubt; or why it is rejected.
fn answered(
    converter: &Converter,
    exec: &mut Exec,
    out: &mut impl Write,
) -> Option<io::Result<Option<String>>> {
    match exec.said()? {
        Said::Failed { reason, .. } => Some(Ok(Some(reason.to_owned()))),
        Said::Answer { line, answer } => {
            let converted = converter.answered(answer, &Scratch::default(), None);
            if matches!(converted, Converted::Reject { .. }) && !exec.is_sure() {
                exec.ask_again();
                return None;
            }
            Some(write(&converted, line, out))
        }
    }
}
