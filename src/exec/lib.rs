//! The operator's own converter: a process beside each worker, in any language. A line goes in on its
//! standard input, and a line comes out on its standard output. What an answer is worth is judged by the
//! crate `convert`; here is only whose it is.
//!
//! Nothing in here waits, starts a thread, or loses a line. Many lines are under way at once, and pipes
//! that are full make nobody wait for himself: whoever uses this polls [`Exec::watched`] and calls
//! [`Exec::pump`]. A converter whose answers stand in a buffer of its own has its standard input closed
//! when it has read everything and stays silent: it ends, and what it had is written.
//!
//! What it cannot do is told apart. A line is at fault if the converter has died or hung at it twice, the
//! second time with that line alone, and then answers another one. As long as it does not, the line is not
//! to blame, but the converter: that is an [`Outage`](Trouble::Outage), and all its lines are kept.
//!
//! One answer too many is found when nothing is owed any more, and answers before it may be taken by then. Those
//! that are not are asked for again: if they come the same again, one for each, up to a line that gives more than
//! one, then the taken ones were right, whenever they were taken. Else the delta is
//! [`Spoiled`](Trouble::Spoiled).
//!
//! - `process` the process and its pipes
//! - `queue` lines that wait for answers, `answers` what has come, `doubt` whether what was taken was right
//! - `ear` what it says on standard error

mod answers;
mod doubt;
mod ear;
mod process;
mod queue;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use config::Mistakes;
use config::conversion::Exec as Command;
use slog::{Logger, warn};
use sys::Interest;

use crate::answers::Answers;
use crate::doubt::Doubt;
use crate::ear::Ear;
use crate::process::{Got, Process, Stderr};
use crate::queue::Queue;

/// So many bytes of lines wait for answers (and one line more), and so many of answers wait to be taken. It is
/// less than a pipe holds: so whatever is given is written at once, and nobody is woken for room in it.
const ROOM: u64 = 768 << 10;
/// One that has read all and is silent has its input closed after so many milliseconds, at first; that
/// changes with what comes of it, down to the least.
const PATIENCE: u64 = 100;
const LEAST_PATIENCE: u64 = 10;
/// All is answered: for so many milliseconds nothing more may come from one that rests.
const QUIET: u64 = 10;
/// With its input closed and everything answered it ends within so many milliseconds, or is ended. And so long one
/// that never rests may have something to say.
const ENDING: u64 = 1_000;
/// It fails at so many lines in a row, and it is not the lines.
const IN_A_ROW: usize = 3;
/// After so many answers that were wrong and had nothing else beside them, they are believed at once.
const HONEST: u32 = 3;
/// Who does not look for so many milliseconds was stopped himself.
const STOPPED: u64 = 2_500;
/// Lines have been answered by the answers of others, and nobody can say which.
const SPOILED: &str = "the converter gave more lines than it was given, and nobody knows whose they are: it \
                       must write one line for each, and an empty one for nothing";

/// What a line has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The converter's answer.
    Answer {
        /// The line.
        line: &'a [u8],
        /// What it has become.
        answer: &'a [u8],
    },
    /// It has none, and never will.
    Failed {
        /// The line.
        line: &'a [u8],
        /// Why, for people.
        reason: &'a str,
    },
}

/// Why nothing comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The converter does not work at present. The next [`Exec::pump`] tries again.
    Outage(String),
    /// It has given more lines than it was given: nobody knows whose is which.
    Spoiled(String),
}

/// A converter, and the lines that it is given.
pub struct Exec {
    command: Command,
    longest: usize,
    ear: Option<Ear>,
    log: Option<Logger>,
    process: Option<Process>,
    queue: Queue,
    answers: Answers,
    /// Why the first lines of the queue have failed. They are at fault as soon as one behind them is answered.
    convicts: VecDeque<Convict>,
    /// How often the line behind those has failed.
    tries: u32,
    pace: Pace,
    /// Behind the convicts: so many lines were written whole to this process or are answered, ...
    given: usize,
    /// ... and all up to this place was written.
    written: u64,
    /// There was an answer too many, behind some that were taken: were they right?
    doubt: Option<Doubt>,
    /// A failure that is dealt with when the answers before it are taken.
    fault: Option<Fault>,
    /// Whether it has answered since it failed at everything, or began.
    is_proven: bool,
    /// The last line that it has answered: by that it is seen whether it still answers.
    witness: Vec<u8>,
    /// The same, to be given.
    probe: Queue,
    /// It has answered that since it failed.
    has_proof: bool,
    /// There is no line left by which it could be seen better that the convicts are at fault.
    is_guilty: bool,
    /// So many doubtful answers were right; and whether one is asked for again now.
    honest: u32,
    is_asked_again: bool,
    /// Of this process: how many answers came, how many were taken since nothing was owed, when it last did
    /// something, when it last wrote, what it has not read, and since when its input is closed.
    answered: usize,
    taken: usize,
    progress: u64,
    heard: u64,
    unread: usize,
    closed: Option<u64>,
    patience: u64,
    looked: u64,
}

/// How lines are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As they come.
    Free,
    /// Up to so many behind the convicts, of which the last `chunk` must be answered before more are; among the next
    /// `within` lines is one that it failed at.
    Careful { limit: usize, chunk: usize, within: usize },
    /// None: it has failed, and is given a line first that it has answered before.
    Proving { within: usize },
}

/// The first line, with nothing known.
const AT_FIRST: Pace = Pace::Careful { limit: 1, chunk: 1, within: 1 };

/// It has failed.
#[derive(Debug)]
struct Fault {
    /// `it hung for 30 s`
    why: String,
    /// At one of so many lines.
    among: usize,
    /// It gave more answers than lines.
    is_surplus: bool,
}

/// Why a line has failed.
#[derive(Debug)]
struct Convict {
    reason: String,
    /// It has more than one answer.
    is_surplus: bool,
}

impl Exec {
    /// Makes one; the process is started when there is a line for it. `longest`: an answer's bytes.
    /// `log`: what the converter says on its standard error goes there, or else to ours.
    pub fn new(command: &Command, longest: u64, log: Option<&Logger>) -> Exec {
        let timeout = command.timeout.as_millis() as u64;
        Exec {
            command: command.clone(),
            longest: usize::try_from(longest).unwrap_or(usize::MAX),
            ear: log.cloned().map(Ear::new),
            log: log.cloned(),
            process: None,
            queue: Queue::default(),
            answers: Answers::default(),
            convicts: VecDeque::new(),
            tries: 0,
            pace: AT_FIRST,
            given: 0,
            written: 0,
            doubt: None,
            fault: None,
            is_proven: false,
            witness: Vec::new(),
            probe: Queue::default(),
            has_proof: false,
            is_guilty: false,
            honest: 0,
            is_asked_again: false,
            answered: 0,
            taken: 0,
            progress: 0,
            heard: 0,
            unread: 0,
            closed: None,
            patience: PATIENCE.min(timeout / 2),
            looked: 0,
        }
    }

    /// Whether there could be such a converter; else the mistake, at its place.
    pub fn judge(command: &Command) -> Result<(), Mistakes> {
        let path = command.program.text.as_str();
        let mistake =
            |what: &str| Err(command.program.mistake(0..path.len(), &format!("{path}: {what}")));
        match std::fs::metadata(path) {
            Err(e) => mistake(&e.to_string()),
            Ok(found) if !found.is_file() => mistake("is no file: need a program"),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => {
                mistake("may not be executed: chmod +x")
            }
            Ok(_) => Ok(()),
        }
    }

    // --- for whoever has lines ------------------------------------------------------------------

    /// Whether it takes another line now.
    pub fn has_room(&self) -> bool {
        self.queue.size() < ROOM
    }

    /// Whether a line waits for its answer, or an answer to be taken.
    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes a line, without its newline.
    pub fn give(&mut self, line: &[u8]) {
        self.queue.push(line);
    }

    /// What has become of the first line, if that is known.
    pub fn said(&self) -> Option<Said<'_>> {
        if !self.is_said() || self.is_spoiled() {
            return None;
        }
        let line = self.queue.line(0);
        Some(match self.convicts.front() {
            Some(Convict { reason, .. }) => Said::Failed { line, reason },
            None => Said::Answer { line, answer: self.answers.first() },
        })
    }

    /// What [`Exec::said`] said is taken.
    pub fn pop(&mut self) {
        self.doubt = self.doubt.take().and_then(|doubt| match self.convicts.front() {
            Some(_) => None, // that is the one
            None => Some(doubt.without_the_first()),
        });
        if self.convicts.pop_front().is_none() {
            self.witness.clear();
            self.witness.extend_from_slice(self.queue.line(0));
            self.taken += usize::from(self.answers.sure == 0);
            self.answers.pop();
            (self.given, self.tries) = (self.given.saturating_sub(1), 0);
            if let Pace::Careful { limit, .. } = &mut self.pace {
                *limit = limit.saturating_sub(1);
            }
        }
        self.is_guilty &= !self.convicts.is_empty();
        self.queue.pop();
    }

    /// Whether the answer that [`Exec::said`] said is its line's beyond doubt. Else, where it is none, something
    /// that was printed besides may have taken its place.
    pub fn is_sure(&self) -> bool {
        self.answers.sure > 0 || self.honest >= HONEST || !self.convicts.is_empty()
    }

    /// The answer that [`Exec::said`] said is doubtful: its line is asked about once more, alone.
    pub fn ask_again(&mut self) {
        self.forget_answers();
        (self.fault, self.tries, self.pace) = (None, 0, AT_FIRST);
        self.is_asked_again = true;
    }

    /// Lets go of all lines: nobody wants to know.
    pub fn forget(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        self.forget_answers();
        self.queue.clear();
        self.convicts.clear();
        (self.fault, self.doubt, self.tries, self.is_guilty) = (None, None, 0, false);
        match self.is_proven {
            true => self.pace = Pace::Free,
            false => self.be_careful(1, 1),
        }
    }

    // --- for whoever turns the loop -------------------------------------------------------------

    /// What is to be waited for.
    pub fn watched(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let unsent = self.written < self.may_write_to();
        self.process.as_ref().map_or(Vec::new(), |p| p.watched(unsent, self.may_read()))
    }

    /// After how long [`Exec::pump`] wants to be called though nothing has come; `None`: never.
    pub fn next_event(&self, now: u64) -> Option<Duration> {
        let after = |ms: u64| Some(Duration::from_millis(ms.max(1)));
        let is_to_do = self.untried() > self.answers.whole;
        match &self.process {
            _ if self.is_spoiled() => after(1),
            None if is_to_do && (self.fault.is_none() || self.answers.ready == 0) => after(1),
            None => None,
            Some(_) if self.answers.whole > self.answers.ready => after(QUIET / 2),
            Some(_) if self.closed.is_some() => after(ENDING / 4),
            Some(_) if is_to_do => {
                let silent = now.saturating_sub(self.progress);
                after(self.patience.saturating_sub(silent).clamp(LEAST_PATIENCE / 2, 250))
            }
            Some(_) => None,
        }
    }

    /// Writes and reads what can be, and sees how it goes. Never waits. `ended`: for the time being no more
    /// lines will come.
    pub fn pump(&mut self, ended: bool, now: u64) -> Result<(), Trouble> {
        self.notice_a_stop(now);
        if self.is_spoiled() {
            return self.spoiled();
        }
        self.deal_with_fault()?;
        if self.fault.is_some() {
            return Ok(());
        }
        self.judge_the_last(ended);
        self.start(now)?;
        if self.process.is_some() {
            self.exchange(now)?;
            self.deal_with_fault()?;
        }
        Ok(())
    }

    // --- how it goes ----------------------------------------------------------------------------

    fn is_said(&self) -> bool {
        self.answers.ready > 0 || self.is_guilty
    }

    /// The first line's answer shows that those before it may have been another's.
    fn is_spoiled(&self) -> bool {
        let Some(doubt) = &self.doubt else { return false };
        self.is_said()
            && match self.convicts.front() {
                Some(convict) => !convict.is_surplus,
                None => !doubt.is_borne_out_by(self.answers.first()),
            }
    }

    fn spoiled(&mut self) -> Result<(), Trouble> {
        self.forget_answers();
        (self.doubt, self.fault, self.tries, self.pace) = (None, None, 0, AT_FIRST);
        Err(Trouble::Spoiled(SPOILED.into()))
    }

    /// While we were stopped, it cannot be blamed for standing still.
    fn notice_a_stop(&mut self, now: u64) {
        let gone = now.saturating_sub(self.looked);
        if self.looked > 0 && gone > STOPPED {
            self.progress += gone;
            self.heard += gone;
            self.closed = self.closed.map(|at| at + gone);
        }
        self.looked = now;
    }

    /// The lines that it is given, behind so many.
    fn lines(&self) -> (&Queue, usize) {
        match self.pace {
            Pace::Free | Pace::Careful { .. } => (&self.queue, self.convicts.len()),
            Pace::Proving { .. } => (&self.probe, 0),
        }
    }

    /// How many those are, answered ones too.
    fn untried(&self) -> usize {
        let (lines, behind) = self.lines();
        lines.len() - behind
    }

    /// How many of those may be given at present.
    fn allowed(&self) -> usize {
        match self.pace {
            Pace::Free | Pace::Proving { .. } => self.untried(),
            Pace::Careful { limit, .. } => limit.min(self.untried()),
        }
    }

    /// Where the line of this number of those begins, or would.
    fn begin_of(&self, line: usize) -> u64 {
        let (lines, behind) = self.lines();
        lines.begin_of(behind + line)
    }

    fn may_write_to(&self) -> u64 {
        self.begin_of(self.allowed())
    }

    fn may_read(&self) -> bool {
        // (One long answer must come through.)
        self.answers.ready == 0 || (self.answers.size() as u64) < ROOM
    }

    /// All that are left are lines that it failed at. If it works otherwise, it is their fault.
    fn judge_the_last(&mut self, ended: bool) {
        let are_all = ended && !self.convicts.is_empty() && self.convicts.len() == self.queue.len();
        if are_all && self.is_proven {
            self.is_guilty = true;
        } else if are_all {
            self.convicts.clear();
        }
    }

    fn start(&mut self, now: u64) -> Result<(), Trouble> {
        if self.process.is_some() || self.allowed() <= self.answers.whole {
            return Ok(());
        }
        let stderr = if self.ear.is_some() { Stderr::Read } else { Stderr::Inherit };
        let process = Process::start(&self.command.words, stderr).map_err(|e| {
            let why = format!("cannot start {}: {}", self.command.program.text, remedy(&e));
            Trouble::Outage(why)
        })?;
        self.process = Some(process);
        self.given = self.answers.whole;
        self.written = self.begin_of(self.given);
        (self.answered, self.taken, self.unread, self.closed) = (0, 0, 0, None);
        (self.progress, self.heard) = (now, now);
        Ok(())
    }

    /// One turn with the running process.
    fn exchange(&mut self, now: u64) -> Result<(), Trouble> {
        let has_ended = self.process.as_ref().is_some_and(Process::has_ended);
        // (Asked before it is read: or it could say something in between, and rest.)
        let is_at_rest = self.is_at_rest(now);
        self.write(now);
        let is_silent = self.read(has_ended, now);
        let (Some(process), ear) = (&mut self.process, &mut self.ear) else { return Ok(()) };
        if let Some(ear) = ear {
            ear.listen(process, now);
        }
        if self.answers.tail() > self.longest {
            let most = self.longest;
            self.fail(format!("its answer has more bytes than spool.max_line = {most}"), now);
            return Ok(());
        }
        if self.answers.whole > self.given {
            return self.surplus(now);
        }
        match has_ended || is_silent {
            true => self.over(now),
            false => {
                self.look_on(is_at_rest, now);
                Ok(())
            }
        }
    }

    /// It owes nothing, and there is nothing that it could still say, if it says nothing now.
    fn is_at_rest(&self, now: u64) -> bool {
        let silent = now.saturating_sub(self.heard);
        self.answers.whole >= self.given
            && self.answers.whole > self.answers.sure
            && silent >= QUIET
            && self.process.as_ref().is_some_and(|process| {
                process.unread() == 0 && (silent >= ENDING || !process.is_at_work())
            })
    }

    fn write(&mut self, now: u64) {
        let to = self.may_write_to();
        let lines = match self.pace {
            Pace::Free | Pace::Careful { .. } => &self.queue,
            Pace::Proving { .. } => &self.probe,
        };
        let Some(process) = &mut self.process else { return };
        if self.written >= to {
            return;
        }
        let written = process.write(lines.between(self.written, to)) as u64;
        if written > 0 {
            self.written += written;
            self.progress = now;
            let rest = self.given..self.allowed();
            self.given += rest.take_while(|n| self.begin_of(n + 1) <= self.written).count();
        }
    }

    /// Reads what there is; whether nothing more comes. Of one that has ended all of it.
    fn read(&mut self, all: bool, now: u64) -> bool {
        let before = self.answers.whole;
        let mut is_silent = false;
        while all || self.may_read() {
            let Some(process) = &mut self.process else { break };
            match process.read(&mut self.answers.bytes) {
                Got::Bytes => {
                    self.answers.count();
                    (self.progress, self.heard) = (now, now);
                    // (An answer that never ends is not read to its end.)
                    if self.answers.tail() > self.longest || self.answers.whole > self.given {
                        break;
                    }
                }
                Got::Nothing => break,
                Got::End => {
                    is_silent = true;
                    break;
                }
            }
        }
        if !self.may_read() {
            self.progress = now; // we keep it waiting
        }
        self.answered += self.answers.whole - before;
        if self.answers.whole > before || is_silent {
            self.learn_from_the_close(now);
        }
        is_silent
    }

    /// Its input was closed, and something came: at once if it had only been waiting for that, and else it was
    /// busy, and has more time from now on.
    fn learn_from_the_close(&mut self, now: u64) {
        let Some(closed) = &mut self.closed else { return };
        if *closed != u64::MAX {
            let most = self.command.timeout.as_millis() as u64 / 2;
            let was_busy = now.saturating_sub(*closed) > (self.patience / 4).max(LEAST_PATIENCE);
            self.patience = match was_busy {
                true => (self.patience * 2).min(most),
                false => (self.patience / 2).max(LEAST_PATIENCE).min(most),
            };
            *closed = u64::MAX; // learned
        }
    }

    /// It is running, and nothing is wrong so far.
    fn look_on(&mut self, is_at_rest: bool, now: u64) {
        let unsent = self.written < self.may_write_to();
        let Some(process) = &mut self.process else { return };
        let unread = process.unread();
        if std::mem::replace(&mut self.unread, unread) != unread {
            self.progress = now;
        }
        let still = now.saturating_sub(self.progress);
        let owes = self.answers.whole < self.given;
        let is_quiet = is_at_rest && now.saturating_sub(self.heard) >= QUIET;
        if owes || unsent && self.closed.is_none() {
            if still >= self.command.timeout.as_millis() as u64 {
                let time = self.command.timeout;
                self.fail(format!("it hung for {time:?}"), now);
            } else if !unsent
                && unread == 0
                && still >= self.patience
                && self.closed.is_none()
                && !process.is_at_work()
            {
                self.process.iter_mut().for_each(Process::close);
                (self.closed, self.progress) = (Some(now), now);
            } else if self.pace == Pace::Free {
                self.answers.ready = self.answers.whole;
            }
        } else if self.closed.is_some() {
            if still >= ENDING {
                self.end_process();
                self.all_answered();
            }
        } else if is_quiet && self.answers.whole > 0 {
            self.all_answered();
        } else if self.pace == Pace::Free {
            // The last one waits for what may come behind it.
            self.answers.ready = self.answers.ready.max(self.answers.whole.saturating_sub(1));
        }
    }

    /// Everything that was given is answered, and nothing besides.
    fn all_answered(&mut self) {
        let whole = self.answers.whole;
        match self.pace {
            Pace::Free => {
                (self.answers.ready, self.answers.sure, self.taken) = (whole, whole, 0);
            }
            Pace::Careful { limit, .. } if whole < limit => self.answers.ready = whole, // an end in between
            Pace::Careful { chunk, within, .. } => {
                if !std::mem::replace(&mut self.is_proven, true) && !self.convicts.is_empty() {
                    return self.begin_anew();
                }
                (self.answers.ready, self.answers.sure) = (whole, whole);
                self.has_proof = false;
                self.honest += u32::from(std::mem::take(&mut self.is_asked_again));
                self.pace = match within.saturating_sub(chunk) {
                    0 => Pace::Free,
                    within => {
                        let chunk = (within / 2).max(1);
                        Pace::Careful { limit: whole + chunk, chunk, within }
                    }
                };
            }
            Pace::Proving { .. } if whole == 0 => {}
            Pace::Proving { within } => {
                self.answers.clear();
                (self.is_proven, self.has_proof, self.given) = (true, true, 0);
                self.pace = Pace::Careful { limit: 1, chunk: 1, within };
                self.written = self.begin_of(0);
            }
        }
    }

    /// It works, as it did not when lines failed: those have not had their try yet.
    fn begin_anew(&mut self) {
        self.witness = self.queue.line(self.convicts.len()).to_vec();
        self.forget_answers();
        self.convicts.clear();
        (self.tries, self.has_proof, self.pace) = (0, true, AT_FIRST);
    }

    /// Gives lines one after the other; the converter must have shown first that it works, where it can.
    fn be_careful(&mut self, chunk: usize, within: usize) {
        self.pace = Pace::Careful { limit: chunk, chunk, within };
        if !self.witness.is_empty() && (chunk == 1 || !self.is_proven) {
            self.probe.clear();
            self.probe.push(&self.witness);
            self.pace = Pace::Proving { within };
        }
    }

    /// It has ended, or says no more.
    fn over(&mut self, now: u64) -> Result<(), Trouble> {
        if let Some(process) = &self.process {
            process.await_end();
        }
        let status = self.end_process();
        let is_well = status.is_some_and(|status| status.success());
        if self.answers.tail() > 0 && is_well {
            self.answers.end_the_tail();
            if self.answers.whole > self.given {
                return self.surplus(now);
            }
        }
        self.answers.cut_the_tail();
        let words = self.words(now);
        let owes = self.given.max(self.under_way()) - self.answers.whole;
        if owes == 0 && (self.answered > 0 || self.allowed() <= self.answers.whole) {
            if let (false, Some(log)) = (is_well, &self.log) {
                warn!(log, "the converter has ended, and owes nothing"; "how" => ended(status), "said" => words);
            }
            self.all_answered();
        } else if is_well && self.answered > 0 {
            // It takes so many lines and no more: the others are another one's.
            self.answers.ready = self.answers.whole;
        } else {
            let how = if is_well { "it ended without an answer".into() } else { ended(status) };
            let why = match words {
                words if words.is_empty() => how,
                words => format!("{how}, saying {words:?}"),
            };
            self.answers.ready = self.answers.whole;
            self.fault = Some(Fault { why, among: owes.max(1), is_surplus: false });
        }
        Ok(())
    }

    /// How many lines were written at least in part.
    fn under_way(&self) -> usize {
        let is_begun = self.given < self.untried() && self.written > self.begin_of(self.given);
        self.given + usize::from(is_begun)
    }

    /// There are more answers than lines.
    fn surplus(&mut self, now: u64) -> Result<(), Trouble> {
        let (given, came) =
            (self.given - self.answers.sure, self.answers.whole - self.answers.sure);
        let what = format!(
            "it gave {came} lines for {given}: need one for each, an empty one for nothing"
        );
        match self.pace {
            Pace::Free if self.queue.is_empty() => {
                if let Some(log) = &self.log {
                    warn!(log, "the converter gave a line that nobody asked for, and is ended");
                }
                self.forget_answers();
            }
            Pace::Free if self.taken > 0 && (self.doubt.is_some() || given == 0) => {
                return self.spoiled();
            }
            Pace::Free | Pace::Careful { .. } | Pace::Proving { .. } => {
                if self.pace == Pace::Free && self.taken > 0 {
                    self.doubt = Some(Doubt::new(self.answers.all(), given));
                }
                self.answers.keep_sure();
                self.fail_among(what, given.max(1), true, now);
            }
        }
        Ok(())
    }

    fn forget_answers(&mut self) {
        self.end_process();
        self.answers.clear();
        self.given = 0;
    }

    /// It has failed, and is ended.
    fn fail(&mut self, why: String, now: u64) {
        let among = self.under_way().max(self.given) - self.answers.whole;
        self.answers.cut_the_tail();
        self.answers.ready = self.answers.whole;
        self.fail_among(why, among.max(1), false, now);
    }

    fn fail_among(&mut self, why: String, among: usize, is_surplus: bool, now: u64) {
        self.end_process();
        self.is_asked_again = false;
        let why = match self.words(now) {
            words if words.is_empty() => why,
            words => format!("{why}, saying {words:?}"),
        };
        self.fault = Some(Fault { why, among, is_surplus });
    }

    /// What it said at last.
    fn words(&mut self, now: u64) -> String {
        self.ear.as_mut().and_then(|ear| ear.last_words(now)).unwrap_or_default()
    }

    fn end_process(&mut self) -> Option<ExitStatus> {
        let mut process = self.process.take()?;
        let status = process.end();
        if let Some(ear) = &mut self.ear {
            ear.listen(&mut process, self.looked);
        }
        status
    }

    /// Whose fault is it? That is asked when all answers before are taken.
    fn deal_with_fault(&mut self) -> Result<(), Trouble> {
        if self.answers.ready > 0 {
            return Ok(());
        }
        let Some(Fault { why, among, is_surplus }) = self.fault.take() else { return Ok(()) };
        self.given = 0;
        let had_proof = std::mem::take(&mut self.has_proof);
        let path = &self.command.program.text;
        let (chunk, within) = match self.pace {
            // Most converters write each answer at once: then it is the first line without one.
            Pace::Free => (1, among),
            Pace::Careful { within, .. } => ((among / 2).max(1), within.min(among)),
            Pace::Proving { .. } => {
                let why = format!("{path} fails at lines that it answered before: {why}");
                self.convicts.clear();
                (self.tries, self.is_proven) = (0, false);
                return Err(Trouble::Outage(why));
            }
        };
        if self.untried() == 0 {
            return Ok(());
        }
        self.tries += 1;
        let is_convicted = among == 1 && (had_proof || self.witness.is_empty() && self.tries >= 2);
        let outage = match self.witness.is_empty() {
            true => format!("{path} answers nothing: {why}"),
            false => format!("{path} fails at {IN_A_ROW} lines in a row: {why}"),
        };
        if is_convicted {
            self.tries = 0;
            let reason = format!("exec: {why}, twice");
            self.convicts.push_back(Convict { reason, is_surplus });
        }
        if self.convicts.len() >= IN_A_ROW {
            self.convicts.clear();
            self.is_proven = false;
        }
        match is_convicted && self.is_proven {
            true => {
                let within = within.saturating_sub(1).max(1);
                self.pace = Pace::Careful { limit: 1, chunk: 1, within };
            }
            false => self.be_careful(chunk, within),
        }
        if self.is_proven { Ok(()) } else { Err(Trouble::Outage(outage)) }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if let (true, Some(process)) = (self.queue.is_empty(), &mut self.process) {
            process.part();
        }
    }
}

/// How it ended, for people.
fn ended(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "it cannot be ended".into() };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (_, Some(signal)) => format!("it was ended by signal {signal}"),
        _ => "it ended".into(),
    }
}

/// An error with what to do about it.
fn remedy(error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::PermissionDenied => ": chmod +x, or see who may",
        io::ErrorKind::NotFound => ": it, or what its #! line names, is not there",
        _ if error.raw_os_error() == Some(8) => ": a script begins with #! and its interpreter",
        _ => "",
    };
    format!("{error}{what}")
}

#[cfg(test)]
mod tests;
