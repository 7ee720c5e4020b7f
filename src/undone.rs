//! What was not delivered, and what a person does about it: `cancel`, `retry`, `drop`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

use parent::{Options, Outcome, Settlement, Task};
use serde::Deserialize;
use serde::de::IgnoredAny;
use spool::{Kind, Past, Settled, Spool};
use status::page::plain;
use status::{Answer, Failure};

use crate::ask::{self, Daemon, print};
use crate::cli::{Cli, Names};
use crate::offline::Offline;
use crate::{Trouble, deliver};

/// What a command was done to.
#[derive(Debug, Default, Deserialize)]
struct Done {
    deltas: u64,
    rejects: u64,
}

impl Done {
    /// `1 failed delta, rejected lines of 2 deltas`
    fn words(&self) -> String {
        let deltas = |n: u64| if n == 1 { "1 delta".into() } else { format!("{n} deltas") };
        let failed = match self.deltas {
            0 => None,
            1 => Some("1 failed delta".to_owned()),
            n => Some(format!("{n} failed deltas")),
        };
        let rejects = Some(self.rejects).filter(|n| *n > 0);
        let rejects = rejects.map(|n| format!("the rejected lines of {}", deltas(n)));
        let all: Vec<String> = failed.into_iter().chain(rejects).collect();
        if all.is_empty() { "nothing".into() } else { all.join(", ") }
    }
}

pub(crate) fn drop(cli: &Cli, names: &Names) -> Result<ExitCode, Trouble> {
    #[derive(Deserialize)]
    struct Answered {
        dropped: Done,
    }
    let done = match ask::daemon(cli)? {
        Some(mut daemon) => {
            let answered: Answered = tell(&mut daemon, &format!("drop {}", names.words()))?;
            answered.dropped
        }
        None => {
            let offline = Offline::hold(cli)?;
            let unusable = |e: io::Error| Trouble::new(1, format!("{}: {e}", offline.at()));
            let (mut done, mut undone, mut reason) = (Done::default(), 0, None);
            let names = offline.meant(names)?;
            for name in &names {
                match offline.spool.drop_left(name) {
                    Ok(left) => {
                        done.deltas += u64::from(left.delta);
                        done.rejects += u64::from(left.rejects);
                    }
                    Err(e) => {
                        undone += 1;
                        reason.get_or_insert(about(name, &e));
                    }
                }
            }
            offline.spool.sync_dropped().map_err(unusable)?;
            if done.deltas > 0 {
                offline.spool.let_go().map_err(unusable)?;
            }
            if let Some(reason) = reason {
                let message = spool::some_undone(&reason, undone, names.len(), "dropped");
                return Err(Trouble::new(1, message));
            }
            done
        }
    };
    print(&format!("dropped: {}\n", done.words()))
}

pub(crate) fn cancel(cli: &Cli, name: &OsStr) -> Result<ExitCode, Trouble> {
    let shown = plain(&name.to_string_lossy());
    if let Some(mut daemon) = ask::daemon(cli)? {
        let IgnoredAny = tell(&mut daemon, &format!("cancel {}", spool::to_word(name)))?;
        return print(&format!("cancelled: {shown}\n"));
    }
    let offline = Offline::hold(cli)?;
    let unusable = |e: io::Error| Trouble::new(1, format!("{}: {e}", offline.at()));
    let mut was_wanted = false;
    for kind in [Kind::Rest, Kind::Rejects] {
        was_wanted |= offline.spool.unwant(name, kind).map_err(unusable)?;
    }
    let begun = offline.spool.is_begun(name).map_err(unusable)?;
    if !begun && !was_wanted {
        // It is as new as what Solr has now, which nobody has heard of for a while.
        let last = offline.spool.last_version().map_err(unusable)?;
        let as_of = last.max(sys::clock::wall_ms() << 20);
        let under_way = offline.spool.is_writing().map_err(unusable)?;
        let there =
            offline.spool.cancel_waiting(name, as_of, under_way).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Trouble::new(1, spool::nothing_to_cancel(name)),
                _ => unusable(e),
            })?;
        let past = Past::cancelled(there, sys::clock::wall_ms());
        let _ = offline.spool.remember(&past); // the history is for people
    }
    std::mem::drop(offline);
    if begun {
        // Its rejects are merged, by a worker.
        let (mut config, _) = Offline::prepare(cli)?;
        config.workers.count = 1;
        ended_well(&deliver(Options { config, task: Task::Cancel(name.to_owned()) })?)?;
    }
    print(&format!("cancelled: {shown}\n"))
}

pub(crate) fn retry(cli: &Cli, names: &Names, force: bool) -> Result<ExitCode, Trouble> {
    #[derive(Deserialize)]
    struct Answered {
        retry: Done,
    }
    if let Some(mut daemon) = ask::daemon(cli)? {
        let option = if force { " --force" } else { "" };
        let answered: Answered = tell(&mut daemon, &format!("retry {}{option}", names.words()))?;
        return print(&format!("to be retried: {}\n", answered.retry.words()));
    }
    let offline = Offline::hold(cli)?;
    let unusable = |e: io::Error| Trouble::new(1, format!("{}: {e}", offline.at()));
    let (mut undone, mut reason) = (0, None);
    let names = offline.meant(names)?;
    for name in &names {
        let may_go_on = if force { Ok(true) } else { offline.spool.may_go_on(name) };
        let wanted = match may_go_on {
            Ok(true) => offline.spool.want(name, force).map_err(|e| about(name, &e)),
            Ok(false) => Err(spool::unknown_progress(name)),
            Err(e) => Err(about(name, &e)),
        };
        match wanted {
            Ok(wanted) if wanted.iter().any(|wanted| wanted.kind == Kind::Rest) => {
                offline.spool.let_go().map_err(unusable)?;
            }
            Ok(_) => {}
            Err(why) => {
                undone += 1;
                reason.get_or_insert(why);
            }
        }
    }
    offline.spool.sync_left().map_err(unusable)?;
    if let Some(reason) = reason {
        let message = spool::some_undone(&reason, undone, names.len(), "to be retried");
        return Err(Trouble::new(1, message));
    }
    std::mem::drop(offline);
    let (config, spool) = Offline::prepare(cli)?;
    let outcome = deliver(Options { config, task: Task::Retry })?;
    let is_left = is_left(&spool, &names)
        .map_err(|e| Trouble::new(1, format!("{}: {e}", spool.dir().display())))?;
    let mut well = true;
    let mut text = String::new();
    for settlement in &outcome.settled {
        well &= settlement.settled == Settled::Done && settlement.sums.rejected == 0;
        text += &line(settlement);
    }
    if outcome.settled.is_empty() && !is_left {
        text += "nothing to be retried\n";
    }
    print(&text)?;
    ended_well(&outcome)?;
    if is_left {
        let message = "stopped: what is left is retried when a daemon runs, or `retry` once more";
        return Err(Trouble::new(1, message));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether something waits to be retried still, or was left in the middle of that.
fn is_left(spool: &Spool, names: &[OsString]) -> io::Result<bool> {
    let waits = !spool.wanted()?.is_empty();
    names.iter().try_fold(waits, |is_left, name| Ok(is_left || spool.is_begun(name)?))
}

fn about(name: &OsStr, e: &io::Error) -> String {
    format!("{}: {}", plain(&name.to_string_lossy()), spool::remedy(e))
}

fn ended_well(outcome: &Outcome) -> Result<(), Trouble> {
    match &outcome.reason {
        Some(reason) => Err(Trouble::new(outcome.code as u8, reason.clone())),
        None => Ok(()),
    }
}

/// What became of a delta, in a line.
fn line(settlement: &Settlement) -> String {
    let Settlement { name, kind, settled, sums, reason } = settlement;
    let what = match (settled, kind) {
        (Settled::Failed, _) => {
            format!("FAILED: {}, ", plain(reason.as_deref().unwrap_or("unknown")))
        }
        (Settled::Done, Kind::Rejects) => "rejected lines retried: ".into(),
        (Settled::Done, _) => String::new(),
    };
    format!(
        "{}: {what}{} lines, {} documents, {} deletes, {} superseded, {} rejected\n",
        plain(&name.to_string_lossy()),
        sums.lines,
        sums.docs,
        sums.deletes,
        sums.superseded,
        sums.rejected
    )
}

/// Has the daemon do it, and reads what it answers.
fn tell<T: for<'de> Deserialize<'de>>(daemon: &mut Daemon, words: &str) -> Result<T, Trouble> {
    let line = daemon.ask(words)?;
    match Answer::parse(&line) {
        Ok(Answer::Refused(Failure { message, .. })) => Err(Trouble::new(1, message)),
        Ok(_) => serde_json::from_slice(&line).map_err(|e| daemon.unreadable(e)),
        Err(e) => Err(daemon.unreadable(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::Done;

    #[test]
    fn what_was_done_is_said_in_words() {
        let words = |deltas, rejects| Done { deltas, rejects }.words();
        assert_eq!(words(0, 0), "nothing");
        assert_eq!(words(1, 0), "1 failed delta");
        assert_eq!(words(2, 1), "2 failed deltas, the rejected lines of 1 delta");
        assert_eq!(words(0, 3), "the rejected lines of 3 deltas");
    }
}
