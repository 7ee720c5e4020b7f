//! The command line's shape: every option with the help that people read.

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Feeds delta files (JSON lines) from a spool directory into SolrCloud, and never loses a line.
#[derive(Parser)]
#[command(name = "solr-updater", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Cli {
    /// The configuration [default: /etc/solr-updater/solr-updater.toml]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// The daemon's socket [default: the configuration's, else /run/solr-updater/…]
    #[arg(short, long, value_name = "PATH", global = true)]
    pub(crate) socket: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the daemon, in the foreground
    ///
    /// SIGHUP reloads the configuration, SIGTERM and SIGINT stop at a batch boundary.
    Run,
    /// Check the configuration: every mistake with file, line and column
    Check {
        /// Also reach the cluster, find the collection and compare the conversion with its schema
        #[arg(long)]
        solr: bool,
    },
    /// Deliver these files now, with the same workers and guarantees; no daemon is needed
    Feed(Feed),
    /// Show what would become of a delta's lines; nothing is sent
    ///
    /// Documents go to standard output, one a line, in the file's order; deletes as
    /// {"delete":{"id":…}}. Rejected lines are told on standard error, with line number and reason.
    #[command(after_help = "Exit code: 0 all lines can be converted, 1 some are rejected, 78 the \
                            configuration is wrong. It reaches no network.")]
    Convert {
        /// A delta, unpacked if it ends with .gz or .zst; - or nothing for standard input
        #[arg(default_value = "-", hide_default_value = true)]
        file: PathBuf,
    },
    /// Ask the daemon how it is
    Status {
        /// Print the status document, for programs
        #[arg(long)]
        json: bool,
        /// Show it live, until q; without a terminal, a page a second
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Have the daemon read its configuration again, and wait until it works, or say why not
    Reload,
    /// Have the daemon send nothing more until `resume`, over restarts too
    ///
    /// What is under way is sent to its end. The health is a WARNING meanwhile.
    Pause,
    /// Have a paused daemon go on
    Resume,
    /// Stop the daemon at a batch boundary, and wait until it is gone
    Stop,
    /// List what was rejected: delta, line, id, reason
    ///
    /// The first 1,000 lines at most; all of them, with the original lines, are in the spool's
    /// rejected/NAME.rejected.jsonl.
    #[command(after_help = "Without a running daemon the spool itself is read. Exit code 0 also \
                            when something is listed.")]
    Rejects {
        /// A delta's whole file name, such as offers.jsonl [default: all deltas]
        #[arg(value_parser = name())]
        name: Option<OsString>,
        /// Print the control socket's answer, for programs
        #[arg(long)]
        json: bool,
    },
    /// Stop a delta that waits or is being delivered: what is delivered stays, the rest goes to failed/
    ///
    /// It waits until that is so: no later than Solr's answers to what is under way. `retry` goes on with it,
    /// `drop` gives it up for good. What was to be retried, and has not begun, stays what it was.
    #[command(
        after_help = "Without a running daemon the command line does it, with a delta that the \
                            last one had begun, too."
    )]
    Cancel {
        /// The delta's whole file name, such as offers.jsonl
        #[arg(value_parser = name())]
        name: OsString,
    },
    /// Deliver rejected lines, or what a failed delta still has, once more
    ///
    /// A failed delta goes on where it stopped, when its name's turn comes among those that wait; then its
    /// rejected lines are tried again. What is rejected once more is in rejected/ again, once, with its line
    /// number and one attempt more.
    ///
    /// No document is overwritten that is newer: those lines are counted as superseded, and are done. (A
    /// document that was deleted meanwhile cannot be told from one that never was.)
    #[command(
        after_help = "The daemon does it in its own time; `history` says what came of it. Without a \
                            running daemon the command line does it and waits, after what the last daemon had \
                            begun. Exit code 1: lines were rejected again, or it failed."
    )]
    Retry {
        #[command(flatten)]
        names: Names,
        /// Also over newer documents, and where nobody knows how old it is
        #[arg(long)]
        force: bool,
    },
    /// Give rejected lines, or a failed delta, up for good
    ///
    /// What of a delta lies in failed/ and in rejected/ is removed. What is delivered stays in Solr.
    #[command(
        after_help = "Without a running daemon the command line does it. A delta that waits or \
                            is being delivered is not dropped: cancel it first."
    )]
    Drop(Names),
    /// List the deltas settled last, the newest first
    ///
    /// For each: when it was settled, how (done, failed, cancelled, or its rejects retried), lines,
    /// documents and deletes that Solr has confirmed, rejected lines, seconds from its claim, and
    /// documents a second. What is retried comes again, with what that run has done.
    #[command(after_help = "Some thousand deltas are kept, over restarts too. Without a running \
                            daemon the spool itself is read.")]
    History {
        /// So many of them, 1,000 at most
        #[arg(short, value_name = "N", default_value = "20")]
        n: u32,
        /// Print the control socket's answer, for programs
        #[arg(long)]
        json: bool,
    },
    /// Print the completions for a shell, to be put where it looks for them
    #[command(after_help = "For bash: solr-updater completions bash \
                            >/usr/share/bash-completion/completions/solr-updater")]
    Completions {
        /// Which one
        shell: clap_complete::Shell,
    },
}

/// One delta, or all.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Names {
    /// A delta's whole file name, such as offers.jsonl
    #[arg(value_parser = name())]
    pub(crate) name: Option<OsString>,
    /// All deltas of which something is in failed/ or rejected/
    #[arg(long)]
    pub(crate) all: bool,
}

impl Names {
    /// As words of a request.
    pub(crate) fn words(&self) -> String {
        self.name.as_ref().map_or("--all".into(), |name| spool::to_word(name))
    }
}

#[derive(Args)]
pub(crate) struct Feed {
    /// Delta files, delivered in this order and left alone, .gz and .zst unpacked; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// A Solr URL, such as http://localhost:8983/solr; may be repeated
    #[arg(long, value_name = "URL")]
    pub(crate) url: Vec<String>,

    /// The collection
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: Option<String>,

    /// How many workers
    #[arg(long, value_name = "N", value_parser = workers())]
    pub(crate) workers: Option<u32>,
}

/// A delta's name, judged here already: what cannot be one is a wrong command line.
fn name() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|name| spool::check_name(&name).map(|()| name))
}

fn workers() -> clap::builder::RangedI64ValueParser<u32> {
    let range = config::Workers::COUNT;
    clap::value_parser!(u32).range(i64::from(*range.start())..=i64::from(*range.end()))
}

impl Cli {
    /// Where the configuration is.
    pub(crate) fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH))
    }

    /// Whether a configuration was named.
    pub(crate) fn names_config(&self) -> bool {
        self.config.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
