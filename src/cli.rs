//! The command line's shape: every option with the help that people read.

use clap::{Args, Parser, Subcommand};
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
        /// Also reach the cluster and find the collection
        #[arg(long)]
        solr: bool,
    },
    /// Deliver these files now, with the same workers and guarantees; no daemon is needed
    Feed(Feed),
    /// Ask the daemon how it is
    Status {
        /// Print the status document, for programs
        #[arg(long)]
        json: bool,
    },
    /// Have the daemon read its configuration again, and wait until it works, or say why not
    Reload,
    /// Stop the daemon at a batch boundary, and wait until it is gone
    Stop,
}

#[derive(Args)]
pub(crate) struct Feed {
    /// Delta files, delivered in this order and left alone; - for standard input
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
