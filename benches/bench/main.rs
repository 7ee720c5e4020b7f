//! `make bench`: this program beside the other ways to feed Solr, in one run, on the same SolrCloud
//! and the same files; then without Solr, against a server that takes no time.
//!
//! It draws no conclusion that it has not measured: a document counts when it is in the index at
//! the end, a feeder's time runs from its start to its last answer, and its processor time and
//! memory are those of all its processes. benches/README.md says what each figure is.

mod cluster;
mod contenders;
mod daemon;
mod data;
mod files;
mod latency;
mod null;
mod options;
mod peers;
mod plot;
mod process;
mod report;
mod results;
mod scaling;
mod status;
mod workshop;

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use options::{Options, Part};
use results::Results;
use workshop::Workshop;

/// What can go wrong is for a person to read.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match Options::read().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let workshop = Workshop::new(options)?;
    if options.only == [Part::Report] {
        return report::write(&workshop, &Results::read(&workshop.results(true))?);
    }
    let with_solr = options.parts().any(Part::needs_solr);
    if with_solr && !workshop.is_beside_solr() {
        let mut command = Command::new(workshop.root.join("tests/with-solrcloud"));
        command.arg(&workshop.cluster_dir).arg(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1));
        command.env("SOLRCLOUD_HEAP", cluster::HEAP).env("SOLRCLOUD_TTL", "28800");
        return Err(command.exec().into());
    }
    let path = workshop.results(options.is_whole());
    let mut results = Results::begin(options, path, workshop::machine());
    results.set("load_before", workshop::load_before());
    for part in options.parts() {
        println!("\n=== {}", part.title());
        let found = match part {
            Part::Null => null::run(&workshop)?,
            Part::Peers => peers::run(&workshop, &mut results)?,
            Part::Workers => scaling::workers(&workshop)?,
            Part::Shards => scaling::shards(&workshop)?,
            Part::Latency => latency::run(&workshop)?,
            Part::Files => files::run(&workshop)?,
            Part::Status => status::beside_null(&workshop)?,
            Part::StatusSolr => status::beside_solr(&workshop)?,
            Part::Report => continue,
        };
        results.set(part.name(), found);
        results.save()?;
    }
    println!("\nAll of it: {}", results.path().display());
    let missing = report::missing(&results);
    if options.is_whole() && missing.is_empty() {
        return report::write(&workshop, &results);
    }
    println!(
        "README stays as it is{}",
        match options.is_whole() {
            true => format!(": not measured yet: {}", missing.join(", ")),
            false => String::new(),
        }
    );
    Ok(())
}
