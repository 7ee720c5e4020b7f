//! `feed`: the same parent and workers over a spool of its own, which is gone afterwards.
//!
//! The files are never touched: the spool holds symbolic links to them. Only standard input is
//! copied, since it can be read but once and a share may be read twice.

use config::Config;
use parent::{Options, Outcome, Settlement, Sums, Task};
use spool::{Packing, Settled, Spool};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use crate::cli::{Cli, Feed};
use crate::{CONFIG, Trouble, deliver, load};

/// One of the files, and what it is called in the spool.
struct Input {
    path: PathBuf,
    name: OsString,
}

pub(crate) fn feed(cli: &Cli, what: &Feed) -> Result<ExitCode, Trouble> {
    let mut config = configuration(cli, what)?;
    crate::judge_conversion(&config)?;
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
    let start = Instant::now();
    let outcome = deliver(Options { config, task: Task::Feed(names) })?;
    summary(&outcome, &inputs, &spool, dir, start.elapsed())
}

/// From the file, or from `--url` and `--collection` alone.
fn configuration(cli: &Cli, what: &Feed) -> Result<Config, Trouble> {
    let mistakes = |m: config::Mistakes| Trouble { code: CONFIG, message: m.to_string() };
    let mut config = match &what.collection {
        Some(collection) if !what.url.is_empty() && !cli.names_config() => {
            Config::for_feed(what.url.clone(), collection.clone()).map_err(mistakes)?
        }
        _ => {
            let mut config = load(cli).map_err(|trouble| match cli.names_config() {
                true => trouble,
                false => Trouble {
                    message: trouble.message + "\n(--url and --collection stand in for one)",
                    ..trouble
                },
            })?;
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

/// Longer a name is cut, in bytes: with what comes behind it, it must be a file's name.
const LONGEST: usize = 200;

/// Each input with a name of its own, such as no claim has to change: results are known by it.
fn name(files: &[PathBuf]) -> Result<Vec<Input>, Trouble> {
    let mut used = HashSet::new();
    if let Some(twice) = files.iter().enumerate().find(|(n, file)| files[..*n].contains(file)) {
        let message = format!("{}: named twice: its rejects have one file", twice.1.display());
        return Err(Trouble::new(1, message));
    }
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
        // By its ending it is known how it is compressed.
        let ending = Packing::of(base).ending();
        let stem = &base.as_bytes()[..base.len() - ending.len()];
        let mut stem = OsStr::from_bytes(&stem[..stem.len().min(LONGEST)]).to_os_string();
        // A hidden name could be one of the spool's own.
        if base.as_bytes().starts_with(b".") {
            stem = [OsStr::new("_"), &stem].into_iter().collect();
        }
        let numbered = |n: u64| {
            let mut name = stem.clone();
            if n > 1 {
                name.push(format!("~{n}"));
            }
            name.push(ending);
            name
        };
        let free = (1..).map(numbered).find(|name| !used.contains(name));
        let name = free.expect("numbers never end");
        used.insert(name.clone());
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

/// Says what became of each input, after its rejects are safe. What cannot be copied stays where it
/// is: for standard input there is no other copy.
fn summary(
    outcome: &Outcome,
    inputs: &[Input],
    spool: &Spool,
    dir: TempDir,
    took: Duration,
) -> Result<ExitCode, Trouble> {
    let mut faults = Vec::new();
    let mut lines = Vec::new();
    let mut delivered = 0;
    let mut well = outcome.code == 0;
    for input in inputs {
        let path = input.path.display();
        // An input that was gone when its turn came was passed over: places mean nothing.
        let Some(settlement) = outcome.settled.iter().find(|s| s.name == input.name) else {
            lines.push(format!("{path}: not delivered{}", why_not(input)));
            continue;
        };
        delivered += 1;
        well &= settlement.settled == Settled::Done && settlement.sums.rejected == 0;
        let kept = match settlement.sums.rejected {
            0 => None,
            _ => keep_rejects(spool, input).map_err(|fault| faults.push(fault)).ok(),
        };
        lines.push(line(settlement, input, kept.as_deref()));
    }
    if !faults.is_empty() {
        let kept = dir.keep().join("rejected");
        faults.push(format!("the rejects are kept in {}", kept.display()));
    }
    lines.push(in_all(outcome, inputs.len(), took));
    if let Err(e) = say(&lines) {
        faults.push(format!("cannot write the summary: {e}"));
    }
    faults.extend(outcome.reason.clone());
    if outcome.reason.is_none() && delivered < inputs.len() {
        let all = inputs.len();
        faults.push(format!("stopped: {delivered} of {all} files delivered; feed them again"));
    }
    match faults.is_empty() {
        true if well => Ok(ExitCode::SUCCESS),
        true => Ok(ExitCode::FAILURE),
        false => Err(Trouble::new(1, faults.join("\nsolr-updater: "))),
    }
}

fn why_not(input: &Input) -> String {
    match std::fs::metadata(&input.path) {
        Err(e) if input.path != Path::new("-") => format!(": {e}"),
        _ => String::new(),
    }
}

/// One input's line of the summary.
fn line(settlement: &Settlement, input: &Input, rejects: Option<&Path>) -> String {
    let Settlement { settled, sums, reason, .. } = settlement;
    let what = match settled {
        Settled::Done => String::new(),
        Settled::Failed => format!(" FAILED: {},", reason.as_deref().unwrap_or("unknown")),
    };
    let see = rejects.map(|path| format!(": see {}", path.display())).unwrap_or_default();
    format!(
        "{}:{what} {} lines, {} documents, {} deletes, {} rejected{see}",
        input.path.display(),
        sums.lines,
        sums.docs,
        sums.deletes,
        sums.rejected
    )
}

/// The summary's last line.
fn in_all(outcome: &Outcome, all: usize, took: Duration) -> String {
    let done = outcome.settled.iter().filter(|s| s.settled == Settled::Done).count();
    let sum = |of: fn(&Sums) -> u64| outcome.settled.iter().map(|s| of(&s.sums)).sum::<u64>();
    let (docs, deletes) = (sum(|s| s.docs), sum(|s| s.deletes));
    let (files, seconds) = (if all == 1 { "file" } else { "files" }, took.as_secs_f64());
    format!(
        "{done} of {all} {files} in {seconds:.1} s: {} lines, {docs} documents, {deletes} deletes, {} \
         rejected, {:.0} docs/s",
        sum(|s| s.lines),
        sum(|s| s.rejected),
        (docs + deletes) as f64 / seconds.max(0.001)
    )
}

/// Not `println!`: whoever reads may be gone, or the disk full.
fn say(lines: &[String]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in lines {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()
}

/// Puts the rejects beside the input: `FILE.rejected.jsonl`, whole or not at all.
fn keep_rejects(spool: &Spool, input: &Input) -> Result<PathBuf, String> {
    let beside = if input.path == Path::new("-") { Path::new("stdin") } else { &input.path };
    let mut to = beside.as_os_str().to_os_string();
    to.push(".rejected.jsonl");
    let to = PathBuf::from(to);
    // Two feeds at a time do not write into one another's.
    let hidden = to.with_file_name(format!(".solr-updater-feed-{}", std::process::id()));
    let copy = || -> io::Result<()> {
        let mut from = File::open(spool.rejected_file(&input.name))?;
        let mut file = File::create(&hidden)?;
        io::copy(&mut from, &mut file)?;
        file.sync_all()?;
        std::fs::rename(&hidden, &to)
    };
    copy().map_err(|e| {
        let _ = std::fs::remove_file(&hidden); // it may not even be there
        format!("{}: cannot write the rejects: {e}", to.display())
    })?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_known_by_name_though_an_input_was_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let files = ["a.jsonl", "b.jsonl", "c.jsonl"].map(|name| home.path().join(name));
        files.iter().for_each(|file| std::fs::write(file, "{}\n").unwrap());
        let inputs = name(&files).ok().unwrap();
        std::fs::remove_file(&files[1]).unwrap();
        std::fs::write(spool.rejected_file(&inputs[2].name), "of c\n").unwrap();
        let settlement = |input: &Input| Settlement {
            name: input.name.clone(),
            kind: spool::Kind::Delta,
            settled: Settled::Done,
            sums: Default::default(),
            reason: None,
        };
        let mut settled = vec![settlement(&inputs[0]), settlement(&inputs[2])];
        settled[1].sums.rejected = 1;
        let outcome = Outcome { code: 0, reason: None, settled };
        let trouble = summary(&outcome, &inputs, &spool, dir, Duration::ZERO).unwrap_err();
        assert_eq!(trouble.code, 1);
        assert!(trouble.message.contains("2 of 3 files delivered"), "{}", trouble.message);
        assert!(why_not(&inputs[1]).contains("No such file"));
        let rejects = |name: &str| std::fs::read_to_string(home.path().join(name)).ok();
        assert_eq!(rejects("c.jsonl.rejected.jsonl").unwrap(), "of c\n");
        assert_eq!(rejects("b.jsonl.rejected.jsonl"), None);
        assert!(!spool.dir().exists(), "all is safe, and nothing is left");
    }

    #[test]
    fn a_claim_renames_no_input() {
        let dir = tempfile::tempdir().unwrap();
        let long = |end: &str| format!("{}{end}", "x".repeat(250));
        let names = [
            "a.jsonl",
            "other/a.jsonl",
            "third/a.jsonl",
            "a~2.jsonl",
            "a.jsonl~2",
            "a.jsonl.gz",
            "other/a.jsonl.gz",
            ".gz",
            ".claim-1",
            ".last-claim",
            &long("1"),
            &long("2"),
            &format!("{}.zst", "x".repeat(240)),
        ];
        let files: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
        for file in &files {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "{}\n").unwrap();
        }
        let spool = Spool::at(&dir.path().join("spool")).with_links();
        spool.prepare().unwrap();
        let inputs = name(&files).ok().unwrap();
        let packed = inputs.iter().filter(|input| Packing::of(&input.name) != Packing::None);
        assert_eq!(packed.count(), 4, "it is known how they are compressed");
        for input in &inputs {
            hand_over(input, &spool.incoming()).ok().unwrap();
        }
        for input in &inputs {
            let claim = spool.claim(&input.name, 2, 0, 0).unwrap();
            assert_eq!(claim.name, input.name);
            assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), input.name);
        }
    }
}
