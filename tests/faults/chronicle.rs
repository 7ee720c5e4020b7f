//! The chronicle: which fault was in force from when to when, for the table and for whoever looks
//! at the evidence. And how long it was until something was delivered again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::kind::Kind;
use crate::ledger::Ledger;

/// A recovery that took longer is told of by itself.
const SLOW: Duration = Duration::from_secs(5);

/// A fault that is over.
#[derive(Debug, Clone, Copy)]
struct Past {
    kind: Kind,
    end: Instant,
    /// No other fault was in force when it ended.
    alone: bool,
}

struct Pages {
    begun: Instant,
    in_force: u32,
    counts: BTreeMap<Kind, u64>,
    past: Vec<Past>,
    recoveries: BTreeMap<Kind, Vec<Duration>>,
    file: File,
}

/// The chronicle.
pub struct Chronicle(Mutex<Pages>);

impl Chronicle {
    /// An empty one, that is kept in this file too.
    pub fn new(path: &Path) -> Chronicle {
        Chronicle(Mutex::new(Pages {
            begun: Instant::now(),
            in_force: 0,
            counts: BTreeMap::new(),
            past: Vec::new(),
            recoveries: BTreeMap::new(),
            file: File::create(path).expect("the chronicle can be written"),
        }))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Says something, with the time, in the file alone.
    pub fn say(&self, words: &str) {
        self.pages().say(words);
    }

    /// A fault begins, and lasts until [`Underway::over`].
    pub fn begin(&self, kind: Kind, details: &str) -> Underway<'_> {
        let mut pages = self.pages();
        pages.say(&format!("{} {details}", kind.name()));
        pages.in_force += 1;
        *pages.counts.entry(kind).or_default() += 1;
        Underway { chronicle: self, kind }
    }

    /// From the end of each fault so far, how long it was until the next document was confirmed.
    pub fn look_for_recoveries(&self, ledger: &Ledger) {
        let mut pages = self.pages();
        for past in std::mem::take(&mut pages.past).into_iter().filter(|past| past.alone) {
            let Some(at) = ledger.confirmed_after(past.end) else { continue };
            let took = at - past.end;
            if took > SLOW {
                let (name, end) = (past.kind.name(), (past.end - pages.begun).as_secs_f64());
                pages.say(&format!(
                    "(after the {name} that was over at {end:.3} it took {took:.1?})"
                ));
            }
            pages.recoveries.entry(past.kind).or_default().push(took);
        }
    }

    /// How many faults there were of each kind.
    pub fn counts(&self) -> BTreeMap<Kind, u64> {
        self.pages().counts.clone()
    }

    /// The recoveries of a kind, the shortest first.
    pub fn recoveries(&self, kind: Kind) -> Vec<Duration> {
        let mut all = self.pages().recoveries.get(&kind).cloned().unwrap_or_default();
        all.sort();
        all
    }
}

impl Pages {
    fn say(&mut self, words: &str) {
        let after = self.begun.elapsed().as_secs_f64();
        let _ = writeln!(self.file, "{after:10.3} {words}");
    }
}

/// A fault that is in force.
pub struct Underway<'a> {
    chronicle: &'a Chronicle,
    kind: Kind,
}

impl Underway<'_> {
    /// It is over now.
    pub fn over(self) {}
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut pages = self.chronicle.pages();
        pages.in_force -= 1;
        pages.say(&format!("{} is over", self.kind.name()));
        let (kind, end, alone) = (self.kind, Instant::now(), pages.in_force == 0);
        pages.past.push(Past { kind, end, alone });
    }
}
