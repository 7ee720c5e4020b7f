//! The command line.

use std::path::PathBuf;

use crate::Result;

const USAGE: &str = "\
usage: bench [--quick] [--rounds N] [--only PART]... [--arena NODES-FILE[,NODES-FILE]...]
             [--contenders NAME[,NAME]...] [--cluster DIR]

  --quick       one round, little data, no tuning; README is left alone
  --rounds N    how often each contender runs (3)
  --only PART   null, peers, workers, shards, latency, files: what was measured before of the
                others stays; or status, status-solr, which are not measured unless named;
                or report: README's table and the plot once more, from what was measured
  --arena       of part peers, these alone, such as 2-offers: what was measured before of the others stays
  --contenders  of part peers, those whose name has one of these in it
  --cluster DIR where the SolrCloud lives (target/bench/solrcloud)";

/// What to do.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) only: Vec<Part>,
    pub(crate) arenas: Vec<String>,
    pub(crate) contenders: Vec<String>,
    pub(crate) cluster: Option<PathBuf>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Without Solr.
    Null,
    /// All contenders, side by side.
    Peers,
    /// More workers.
    Workers,
    /// More shards.
    Shards,
    /// One line, and how soon it is in.
    Latency,
    /// Many deltas of one line.
    Files,
    /// Questions beside a delivery, without Solr.
    Status,
    /// The same on a real SolrCloud.
    StatusSolr,
    /// README's table and the plot.
    Report,
}

impl Part {
    const MEASURED: [Part; 6] =
        [Part::Null, Part::Peers, Part::Workers, Part::Shards, Part::Latency, Part::Files];
    /// What is measured only when it is named.
    const NAMED: [Part; 2] = [Part::Status, Part::StatusSolr];
    /// Those without which README says nothing.
    pub(crate) const NEEDED: [Part; 4] = [Part::Null, Part::Peers, Part::Latency, Part::Files];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Null => "null",
            Part::Peers => "peers",
            Part::Workers => "workers",
            Part::Shards => "shards",
            Part::Latency => "latency",
            Part::Files => "files",
            Part::Status => "status",
            Part::StatusSolr => "status-solr",
            Part::Report => "report",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Part::Null => "without Solr: a server that answers at once",
            Part::Peers => "side by side on a real SolrCloud",
            Part::Workers => "more workers",
            Part::Shards => "more shards",
            Part::Latency => "one line, from the rename to Solr's receipt",
            Part::Files => "deltas of one line",
            Part::Status => {
                "the status asked a thousand times a second, beside a delivery without Solr"
            }
            Part::StatusSolr => "the status asked a thousand times a second, beside a delivery",
            Part::Report => "the report",
        }
    }

    pub(crate) fn needs_solr(self) -> bool {
        !matches!(self, Part::Null | Part::Status | Part::Report)
    }
}

impl Options {
    pub(crate) fn read() -> Result<Options> {
        Options::parse(std::env::args().skip(1)).ok_or_else(|| USAGE.into())
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
        let mut options = Options {
            quick: false,
            rounds: 0,
            only: Vec::new(),
            arenas: Vec::new(),
            contenders: Vec::new(),
            cluster: None,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
                "--only" => {
                    for name in arguments.next()?.split(',') {
                        let mut parts =
                            Part::MEASURED.into_iter().chain(Part::NAMED).chain([Part::Report]);
                        options.only.push(parts.find(|part| part.name() == name)?);
                    }
                }
                "--arena" => options.arenas.extend(arguments.next()?.split(',').map(str::to_owned)),
                "--contenders" => {
                    options.contenders.extend(arguments.next()?.split(',').map(str::to_owned));
                }
                "--cluster" => options.cluster = Some(arguments.next()?.into()),
                _ => return None,
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 3 };
        }
        Some(options)
    }

    /// The parts to be run, in their order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        let asked = |part: &Part| self.only.contains(part);
        let all = Part::MEASURED.into_iter().filter(move |p| self.only.is_empty() || asked(p));
        all.chain(Part::NAMED.into_iter().filter(move |p| self.only.contains(p)))
    }

    /// Whether what a run with these measures may stand in README.
    pub(crate) fn is_whole(&self) -> bool {
        !self.quick && self.contenders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn only_all_the_data_and_all_contenders_may_speak_in_readme() {
        for whole in ["--rounds 5", "--only null"] {
            assert!(parse(whole).unwrap().is_whole(), "{whole}");
        }
        for less in ["--quick", "--contenders ours"] {
            assert!(!parse(less).unwrap().is_whole(), "{less}");
        }
        assert!(parse("--only nil").is_none());
        assert!(parse("--rounds 0").is_none());
        let two = parse("--only null --only peers --quick").unwrap();
        assert_eq!(two.parts().collect::<Vec<_>>(), [Part::Null, Part::Peers]);
        assert_eq!(two.rounds, 1);
        assert!(!parse("").unwrap().parts().any(|part| part == Part::Status), "unless named");
        let named = parse("--only status-solr").unwrap();
        assert_eq!(named.parts().collect::<Vec<_>>(), [Part::StatusSolr]);
    }
}
