//! `feed`: the same parent and workers over a spool of its own, which is gone afterwards.
//!
//! The files are never touched: the spool holds symbolic links to them. Only standard input is
//! copied, since it can be read but once and a share may be read twice.

use config::Config;
use parent::{Options, Outcome, Settlement};
use spool::{Settled, Spool};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Cli, Feed};
use crate::{CONFIG, Trouble, deliver, load};

/// One of the files, and what it is called in the spool.
struct Input {
    path: PathBuf,
    name: OsString,
}

pub(crate) fn feed(cli: &Cli, what: &Feed) -> Result<ExitCode, Trouble> {
    let mut config = configuration(cli, what)?;
    let inputs = name(&what.files)?;
    let dir = tempfile::Builder::new()
        .prefix("solr-updater-feed-")
        .tempdir()
        .map_err(|e| Trouble::new(1, format!("no temporary spool: {e}: set TMPDIR")))?;
    config.spool.dir = dir.path().to_owned();
    let spool = Spool::at(dir.path());
    spool.prepare().map_err(|e| Trouble::new(1, e.to_string()))?;
    for input in &inputs {
        hand_over(input, &spool.incoming())?;
    }
    let names = inputs.iter().map(|input| input.name.clone()).collect();
    let outcome = deliver(Options { config, feed: Some(names) })?;
    summary(&outcome, &inputs, &spool)
}

/// From the file, or from `--url` and `--collection` alone.
fn configuration(cli: &Cli, what: &Feed) -> Result<Config, Trouble> {
    let mistakes = |m: config::Mistakes| Trouble { code: CONFIG, message: m.to_string() };
    let mut config = match &what.collection {
        Some(collection) if !what.url.is_empty() && !cli.names_config() => {
            Config::for_feed(what.url.clone(), collection.clone()).map_err(mistakes)?
        }
        _ => {
            let mut config = load(cli)?;
            let urls = if what.url.is_empty() { config.solr.urls } else { what.url.clone() };
            let collection = what.collection.clone().unwrap_or(config.solr.collection);
            let named = Config::for_feed(urls, collection).map_err(mistakes)?;
            (config.solr.urls, config.solr.collection) = (named.solr.urls, named.solr.collection);
            config
        }
    };
    config.workers.count = what.workers.unwrap_or(config.workers.count);
    Ok(config)
}

/// Each input with a name of its own.
fn name(files: &[PathBuf]) -> Result<Vec<Input>, Trouble> {
    let mut used = HashSet::new();
    let mut inputs = Vec::new();
    for path in files {
        let stdin = path == Path::new("-");
        let base = match path.file_name() {
            _ if stdin => OsStr::new("stdin"),
            Some(base) => base,
            None => return Err(Trouble::new(1, format!("{}: not a file", path.display()))),
        };
        if !stdin {
            sys::files::open_regular(path, true)
                .map_err(|e| Trouble::new(1, format!("{}: {e}", path.display())))?;
        }
        if ["gz", "zst"].iter().any(|end| path.extension() == Some(OsStr::new(end))) {
            let message = "this version does not read compressed deltas: decompress it, and feed -";
            return Err(Trouble::new(1, format!("{}: {message}", path.display())));
        }
        let mut name = base.to_os_string();
        let mut n = 2;
        while !used.insert(name.clone()) {
            name = base.to_os_string();
            name.push(format!("~{n}"));
            n += 1;
        }
        inputs.push(Input { path: path.clone(), name });
    }
    Ok(inputs)
}

fn hand_over(input: &Input, incoming: &Path) -> Result<(), Trouble> {
    let to = incoming.join(&input.name);
    let done = if input.path == Path::new("-") {
        File::create(&to)
            .and_then(|mut file| io::copy(&mut io::stdin().lock(), &mut file).map(drop))
    } else {
        std::path::absolute(&input.path).and_then(|path| std::os::unix::fs::symlink(path, &to))
    };
    done.map_err(|e| Trouble::new(1, format!("{}: {e}", input.path.display())))
}

fn summary(outcome: &Outcome, inputs: &[Input], spool: &Spool) -> Result<ExitCode, Trouble> {
    let mut well = outcome.code == 0;
    for (settlement, input) in outcome.settled.iter().zip(inputs) {
        let Settlement { settled, sums, reason, .. } = settlement;
        let what = match settled {
            Settled::Done => String::new(),
            Settled::Failed => format!(" FAILED: {},", reason.as_deref().unwrap_or("unknown")),
        };
        let mut line = format!(
            "{}:{what} {} lines, {} documents, {} deletes, {} rejected",
            input.path.display(),
            sums.lines,
            sums.docs,
            sums.deletes,
            sums.rejected
        );
        if sums.rejected > 0 {
            line += &format!(": see {}", keep_rejects(spool, &settlement.name, input)?.display());
        }
        println!("{line}");
        well &= *settled == Settled::Done && sums.rejected == 0;
    }
    if let Some(reason) = &outcome.reason {
        return Err(Trouble::new(1, reason.clone()));
    }
    if outcome.settled.len() < inputs.len() {
        let (done, all) = (outcome.settled.len(), inputs.len());
        return Err(Trouble::new(
            1,
            format!("stopped: {done} of {all} files delivered; feed them again"),
        ));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Puts the rejects beside the input: `FILE.rejected.jsonl`.
fn keep_rejects(spool: &Spool, delta: &OsStr, input: &Input) -> Result<PathBuf, Trouble> {
    let beside = if input.path == Path::new("-") { Path::new("stdin") } else { &input.path };
    let mut to = beside.as_os_str().to_os_string();
    to.push(".rejected.jsonl");
    let to = PathBuf::from(to);
    let from = spool.rejected_file(delta);
    std::fs::copy(&from, &to).map_err(|e| {
        Trouble::new(
            1,
            format!("{}: cannot write the rejects: {e}: feed again, elsewhere", to.display()),
        )
    })?;
    Ok(to)
}
