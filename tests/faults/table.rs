//! The table at the end of a campaign, as it may stand in the README.

use std::fmt::Write as _;
use std::time::Duration;

use crate::chronicle::Chronicle;
use crate::crew::Told;
use crate::kind::Kind;
use crate::ledger::{Blame, Counts};
use crate::options::Options;
use crate::referee::{How, Verdict};
use crate::watch::{Still, Watch};

/// What a campaign came to.
pub struct Outcome<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// How long faults were made.
    pub length: Duration,
    /// How often all was compared.
    pub rounds: u64,
    /// What was handed over.
    pub deltas: u32,
    /// What was done.
    pub chronicle: &'a Chronicle,
    /// Requests that the proxy did something to.
    pub requests_hit: u64,
    /// What went to Solr.
    pub counts: Counts,
    /// What was found.
    pub verdict: &'a Verdict,
    /// How the daemon fared.
    pub told: &'a Told,
    /// How the monitor answered.
    pub watch: &'a Watch,
    /// What could not be done here.
    pub left_out: &'a [String],
    /// So many Solr nodes had to be restarted, since they did not come round by themselves.
    pub revived: usize,
}

impl Outcome<'_> {
    /// All of it, as text.
    pub fn table(&self) -> String {
        let Outcome { options, verdict, told, counts, .. } = self;
        let mut table = Table::default();
        table.row("seed", options.seed);
        let minutes = self.length.as_secs_f64() / 60.0;
        table.row("faults were made for", format!("{minutes:.1} min, {} looks", self.rounds));
        let inc = if options.inc { "with inc" } else { "no inc" };
        table.row("partition", format!("{}, {inc}", options.partition));
        table.row(
            "not as shipped",
            "solr.timeout 15s, workers.hang_timeout 30s, retry.most 5s, done/ keeps all",
        );
        self.left_out.iter().for_each(|what| table.row("left out", what));
        if self.revived > 0 {
            table.row("Solr nodes that hung", format!("{}, restarted", self.revived));
        }
        self.add_faults(&mut table);
        table.row("deltas", self.deltas);
        table.row("documents sent", counts.documents);
        table.row("of these sent again", counts.again);
        table.row("documents compared", format!("{}, in each replica", verdict.compared));
        for (how, name) in [(How::Lost, "lost"), (How::Stale, "stale")] {
            let count = |blame| verdict.count(how, blame);
            let (ours, late, solr) = (count(Blame::Ours), count(Blame::Late), count(Blame::Solr));
            table.row(
                name,
                format!("{ours}; by what Solr did late {late}; confirmed and lost by Solr {solr}"),
            );
        }
        if options.inc {
            let sum = |of: fn(&crate::referee::Miscount) -> u64| -> u64 {
                verdict.counters.values().map(of).sum()
            };
            table.row("inc applied twice", sum(|miscount| miscount.twice));
            table.row("inc not applied", sum(|miscount| miscount.missing));
            table.row("counters not alike in Solr", verdict.unlike.len());
            table.row("inc confirmed, lost by Solr", verdict.forgotten.len());
        }
        table.row("rejects expected, found", format!("{}, {}", verdict.bad, verdict.found));
        let others = verdict.others.len() + told.others.len();
        table.row("anything else wrong", others);
        self.add_life(&mut table);
        table.text
    }

    fn add_faults(&self, table: &mut Table) {
        let counts = self.chronicle.counts();
        let sum = |which: fn(Kind) -> bool| -> u64 {
            counts.iter().filter(|(kind, _)| which(**kind)).map(|(_, n)| n).sum()
        };
        table.row("kills of our processes", sum(Kind::kills_ours));
        table.row("kills of Solr, ZooKeeper", sum(Kind::kills_theirs));
        table.row("requests spoilt", self.requests_hit);
        table.row("faults, and seconds", "from a fault's end to the next confirmed document");
        for (kind, count) in &counts {
            let times = self.chronicle.recoveries(*kind);
            let mut text = format!("{count:>6}");
            if let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) {
                let (median, worst) = (median.as_secs_f64(), worst.as_secs_f64());
                let _ = write!(text, "   median {median:6.2}   worst {worst:6.2}");
            }
            table.row(&format!("  {}", kind.name()), text);
        }
    }

    fn add_life(&self, table: &mut Table) {
        let told = self.told;
        table.row("starts of the daemon", told.starts);
        for (code, count) in &told.refused {
            table.row("  it did not want to", format!("{count} times, exit code {code}"));
        }
        table.row("longest stop", format!("{:.1} s", told.longest_stop.as_secs_f64()));
        let mut hangs = told.hangs.clone();
        hangs.sort();
        if let (Some(median), Some(worst)) = (hangs.get(hangs.len() / 2), hangs.last()) {
            let (median, worst) = (median.as_secs_f64(), worst.as_secs_f64());
            let count = hangs.len();
            table.row(
                "SIGSTOP to replaced",
                format!("{count} workers, median {median:.1} s, worst {worst:.1} s"),
            );
        }
        for (still, name) in [
            (Still::Nothing, "status, nothing stopped"),
            (Still::Worker, "status, worker stopped"),
            (Still::Parent, "status, parent stopped"),
        ] {
            if let Some((count, most, worst)) = self.watch.times(still) {
                let ms = |time: Duration| time.as_secs_f64() * 1000.0;
                let (most, worst) = (ms(most), ms(worst));
                table.row(name, format!("p99 {most:.1} ms, worst {worst:.1} ms, of {count}"));
            }
        }
    }
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, name: &str, what: impl ToString) {
        let _ = writeln!(self.text, "{name:26}{}", what.to_string());
    }
}
