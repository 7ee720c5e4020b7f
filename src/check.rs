//! `check`: what is wrong with the configuration, by itself and beside the Solr that it names. It changes
//! nothing anywhere.

use std::process::ExitCode;

use config::{Config, Mistakes};
use convert::{Finding, Schema, Weight};
use worker::Survey;

use crate::cli::Cli;
use crate::{CONFIG, Trouble};

pub(crate) fn check(cli: &Cli, solr: bool) -> Result<ExitCode, Trouble> {
    let path = cli.config();
    let config = config::load(path)
        .and_then(|config| crate::conversion(&config).map(|_| config))
        .map_err(wrong)?;
    println!("{}: the configuration is right", path.display());
    tell(at_their_places(&config, open_page(&config).into_iter().collect()));
    if solr { beside_solr(&config) } else { Ok(ExitCode::SUCCESS) }
}

/// The configuration is wrong, each mistake shown in the file.
fn wrong(mistakes: Mistakes) -> Trouble {
    Trouble { code: CONFIG, message: mistakes.with_carets() }
}

fn beside_solr(config: &Config) -> Result<ExitCode, Trouble> {
    let told = |reasons: Vec<String>| {
        let lines: Vec<String> =
            reasons.iter().map(|reason| format!("solr-updater: {reason}")).collect();
        Trouble { code: 1, message: lines.join("\n") }
    };
    let survey = worker::survey(config).map_err(told)?;
    let collection = &config.solr.collection;
    let is_dead = |url: &String| survey.dead.iter().any(|(dead, _)| dead == url);
    let alive: Vec<_> = config.solr.urls.iter().filter(|url| !is_dead(url)).cloned().collect();
    println!("{}: collection {collection} takes updates", alive.join(", "));
    survey.dead.iter().for_each(|(_, why)| println!("note: {why}"));
    let mut found: Vec<Finding> = too_few_replicas(config, &survey).into_iter().collect();
    match &survey.schema {
        Ok(schema) => {
            found.extend(convert::compare(config, schema));
            say_what_is_checked(schema, collection);
        }
        Err(reason) => println!(
            "note: the schema of {collection} cannot be read, so nothing is held against it: {reason}"
        ),
    }
    let (wrong, notes): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| finding.weight == Weight::Mistake);
    tell(at_their_places(config, notes));
    match at_their_places(config, wrong) {
        Some(mistakes) => Err(self::wrong(mistakes)),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn at_their_places(config: &Config, found: Vec<Finding>) -> Option<Mistakes> {
    let found: Vec<_> = found.into_iter().map(|finding| (finding.at, finding.what)).collect();
    let placed = config::at_their_places(&config.path, &found);
    (!placed.is_empty()).then_some(Mistakes(placed))
}

fn tell(notes: Option<Mistakes>) {
    let notes = notes.into_iter().flat_map(|notes| notes.0);
    notes.for_each(|note| println!("note: {}", note.with_caret()));
}

/// The page has no password.
fn open_page(config: &Config) -> Option<Finding> {
    let address = config.monitor.http.filter(|address| !address.ip().is_loopback())?;
    let (port, from) = match address.ip().is_unspecified() {
        true => (address.port(), "any of this machine's addresses"),
        false => (address.port(), "it"),
    };
    Some(Finding {
        weight: Weight::Note,
        at: ["monitor", "http"].map(str::to_owned).to_vec(),
        what: format!(
            "whoever reaches {from} reads the status, without a password; it takes no commands. For this \
             machine alone, or for those who come through ssh or a proxy: \"127.0.0.1:{port}\""
        ),
    })
}

/// No document would ever count.
fn too_few_replicas(config: &Config, survey: &Survey) -> Option<Finding> {
    let (shard, count) = survey.replicas.as_ref()?;
    let enough = *count >= config.solr.min_rf as usize;
    (!enough).then(|| Finding {
        weight: Weight::Mistake,
        at: ["solr", "min_rf"].map(str::to_owned).to_vec(),
        what: format!(
            "{count} can have an update of {shard}, so no document would ever count: need {count} at most"
        ),
    })
}

fn say_what_is_checked(schema: &Schema, collection: &str) {
    match &schema.certain.because {
        None => println!(
            "collection {collection}: what its schema refuses is refused before it is sent"
        ),
        Some(why) if schema.certain.is_any() => println!(
            "note: collection {collection}: {why}, so only what that leaves alone is held against the schema"
        ),
        Some(why) => println!(
            "note: collection {collection}: {why}, so nothing is held against its schema before it is sent"
        ),
    }
}
