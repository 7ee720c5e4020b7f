//! What a person asks for that changes the spool: renames, marks and removals, done and then answered;
//! and what is under way, which the machine gives up first. Of many deltas some are seen to in each turn
//! of the loop: there may be thousands, and others wait.

use orders::{Answer, Command, Done, Which};
use slog::info;
use spool::{Claim, Kind, Left, Past};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;

use sys::clock::{now_ms, wall_ms};

use crate::Parent;
use crate::machine::{Asker, ChildId, Event};

/// So long one turn of the loop sees to what is asked for at most, in milliseconds.
const SLICE: u64 = 10;

/// Why something is not done: a code for programs, a line for people.
type Refusal = (String, String);

/// What is asked for of some deltas, and how far that is.
pub(crate) struct Asked {
    monitor: ChildId,
    number: u64,
    what: What,
    names: VecDeque<OsString>,
    all: usize,
    done: Done,
    /// So many are as they were, and why the first is.
    undone: usize,
    reason: Option<Refusal>,
}

/// What is to be done to what is left of them.
#[derive(Debug, Clone, Copy)]
enum What {
    /// Deliver it when its turn comes.
    Retry { force: bool },
    /// Remove it for good.
    Drop,
}

impl Parent {
    /// Does it and answers, now or in the next turns. The machine hears of what concerns it.
    pub(crate) fn asked(&mut self, child: ChildId, number: u64, command: &Command) -> Vec<Event> {
        let result = match command {
            Command::Cancel(name) => match self.cancel(name) {
                Ok(None) => Ok(Done::default()),
                // Answered when it is settled.
                Ok(Some(claim)) => {
                    let asker = Some(Asker { monitor: child, number });
                    return vec![Event::Cancel { claim, asker }];
                }
                Err(refusal) => Err(refusal),
            },
            Command::Retry { which, force } => {
                return self.begin(child, number, What::Retry { force: *force }, which);
            }
            Command::Drop(which) => return self.begin(child, number, What::Drop, which),
            Command::Pause => self.pause(true),
            Command::Resume => self.pause(false),
            // These are the machine's own.
            Command::Reload | Command::Stop => Ok(Done::default()),
        };
        self.answer(child, number, result);
        Vec::new()
    }

    /// `pause` and `resume`. The workers look at the scoreboard, and send nothing more than what they
    /// have in hand.
    fn pause(&mut self, paused: bool) -> Result<Done, Refusal> {
        let done = if paused { self.spool.pause() } else { self.spool.end_pause() };
        done.map_err(|e| unusable(self.spool.dir().as_os_str(), &e))?;
        if paused != self.machine.paused {
            info!(self.log, "{}", if paused { "paused" } else { "resumed" });
            if !paused {
                self.board.parent().set_resumed(now_ms());
            }
        }
        self.machine.paused = paused;
        Ok(Done::default())
    }

    fn answer(&mut self, child: ChildId, number: u64, result: Result<Done, Refusal>) {
        self.publish(); // or who is told would see the status of before
        self.crew.send(child, &Answer { number, result });
    }

    fn begin(&mut self, monitor: ChildId, number: u64, what: What, which: &Which) -> Vec<Event> {
        match self.meant(which) {
            Ok(names) => {
                let (all, names) = (names.len(), names.into());
                let (done, undone, reason) = Default::default();
                let asked = Asked { monitor, number, what, names, all, done, undone, reason };
                self.asked.push_back(asked);
                self.go_on()
            }
            Err(refusal) => {
                let mut events = Vec::new();
                // The failed delta may have been taken away.
                self.end_hold(false, &mut events);
                self.answer(monitor, number, Err(refusal));
                events
            }
        }
    }

    /// Ends the hold, if a person has `seen` to a failed delta, or none is there any more that could be
    /// seen to.
    fn end_hold(&self, seen: bool, events: &mut Vec<Event>) {
        if seen || matches!(self.spool.is_on_hold(), Ok(false)) {
            self.let_go();
            events.push(Event::Looked);
        }
    }

    /// Goes on with what was asked for, for a while.
    pub(crate) fn go_on(&mut self) -> Vec<Event> {
        let by = now_ms() + SLICE;
        let mut events = Vec::new();
        while let Some(mut asked) = self.asked.pop_front() {
            while let Some(name) = asked.names.pop_front() {
                let result = match asked.what {
                    What::Retry { force } => self.retry(&name, force, &mut asked.done),
                    What::Drop => self.give_up(&name, &mut asked.done),
                };
                if let Err(refusal) = result {
                    asked.undone += 1;
                    asked.reason.get_or_insert(refusal);
                }
                if now_ms() >= by && !asked.names.is_empty() {
                    self.asked.push_front(asked);
                    return events;
                }
            }
            self.end(asked, &mut events);
        }
        events
    }

    /// Answers, whether all of it could be done or not.
    fn end(&mut self, asked: Asked, events: &mut Vec<Event>) {
        let Asked { monitor, number, what, all, done, undone, mut reason, .. } = asked;
        let (synced, words) = match what {
            What::Retry { .. } => (self.spool.sync_left(), "to be retried"),
            What::Drop => (self.spool.sync_dropped(), "dropped"),
        };
        if let Err(e) = synced {
            reason.get_or_insert(unusable(self.spool.dir().as_os_str(), &e));
        }
        self.end_hold(done.deltas > 0, events);
        let told =
            |(code, reason): Refusal| (code, spool::some_undone(&reason, undone, all, words));
        self.answer(monitor, number, reason.map_or(Ok(done), |reason| Err(told(reason))));
    }

    /// `cancel`: a delta that waits goes to `failed/`, and what was to be retried stays where it is.
    /// One that was claimed is the machine's: here is its number.
    fn cancel(&mut self, name: &OsStr) -> Result<Option<u64>, Refusal> {
        spool::check_name(name).map_err(|why| ("bad_request".to_owned(), why))?;
        let mut wanted = false;
        for kind in [Kind::Rest, Kind::Rejects] {
            wanted |= self.producer.unwant(name, kind);
            self.spool.unwant(name, kind).map_err(|e| unusable(name, &e))?;
        }
        if let Some(claim) = self.claims().find(|c| c.name == name) {
            return Ok(Some(claim.number));
        }
        if wanted {
            info!(self.log, "not to be retried after all"; "delta" => %name.to_string_lossy());
            return Ok(None);
        }
        // What is under way came before it, and goes on writing.
        let is_new = |claim: &Claim| claim.kind == Kind::Delta || !claim.guarded;
        let under_way = self.claims().any(is_new);
        self.has_open_run |= under_way; // also if it fails halfway
        match self.spool.cancel_waiting(name, self.as_of(), under_way) {
            Ok(there) => {
                self.producer.forget(&name.to_owned());
                info!(self.log, "waiting delta cancelled"; "delta" => %there.to_string_lossy());
                self.add_to_history(&Past::cancelled(there, wall_ms()));
                Ok(None)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(("unknown_delta".into(), spool::nothing_to_cancel(name)))
            }
            Err(e) => Err(unusable(name, &e)),
        }
    }

    /// `retry`: what is left of a delta is to be delivered when its turn comes.
    fn retry(&mut self, name: &OsStr, force: bool, done: &mut Done) -> Result<(), Refusal> {
        let unusable = |e: io::Error| unusable(name, &e);
        if !force && !self.spool.may_go_on(name).map_err(unusable)? {
            return Err(("unknown_progress".into(), spool::unknown_progress(name)));
        }
        for wanted in self.spool.want(name, force).map_err(unusable)? {
            match wanted.kind {
                Kind::Rejects => done.rejects += 1,
                Kind::Delta | Kind::Rest => done.deltas += 1,
            }
            self.producer.want(wanted, wall_ms());
        }
        info!(self.log, "to be retried"; "delta" => %name.to_string_lossy(), "force" => force);
        Ok(())
    }

    /// `drop`: what is left of a delta goes for good.
    fn give_up(&mut self, name: &OsStr, done: &mut Done) -> Result<(), Refusal> {
        let unusable = |e: io::Error| unusable(name, &e);
        let before = self.spool.left(name).map_err(unusable)?;
        let dropped = self.spool.drop_left(name);
        // An error may have left some of it.
        let after = if dropped.is_ok() { Left::default() } else { self.left(name)? };
        let (delta, rejects) = (before.delta && !after.delta, before.rejects && !after.rejects);
        for (is_gone, kind) in [(!after.delta, Kind::Rest), (!after.rejects, Kind::Rejects)] {
            if is_gone {
                self.producer.unwant(name, kind);
            }
        }
        if delta || rejects {
            info!(self.log, "dropped"; "delta" => %name.to_string_lossy(), "failed_delta" => delta,
                "rejects" => rejects);
        }
        done.deltas += u64::from(delta);
        done.rejects += u64::from(rejects);
        dropped.map(drop).map_err(unusable)
    }

    /// The names of the deltas that are meant, of which something is left.
    fn meant(&self, which: &Which) -> Result<Vec<OsString>, Refusal> {
        let all = |e: io::Error| unusable(self.spool.dir().as_os_str(), &e);
        match which {
            Which::All => self.spool.all_left().map_err(all),
            Which::One(name) => match self.left(name)?.is_any() {
                true => Ok(vec![name.clone()]),
                false => Err(self.nothing_left(name)),
            },
        }
    }

    fn left(&self, name: &OsStr) -> Result<Left, Refusal> {
        spool::check_name(name).map_err(|why| ("bad_request".to_owned(), why))?;
        self.spool.left(name).map_err(|e| unusable(name, &e))
    }

    fn nothing_left(&self, name: &OsStr) -> Refusal {
        let shown = name.to_string_lossy();
        match self.active.iter().any(|active| active.claim.name == name) {
            true => {
                let message = format!("{shown}: is being delivered: wait for it, or cancel it");
                ("active".into(), message)
            }
            false => ("unknown_delta".into(), spool::nothing_left(name)),
        }
    }
}

fn unusable(name: &OsStr, e: &io::Error) -> Refusal {
    ("spool".into(), format!("{}: {}", name.to_string_lossy(), spool::remedy(e)))
}
