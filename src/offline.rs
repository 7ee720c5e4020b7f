//! What is asked of a daemon where none runs: the command line does it itself, holding the spool's
//! lock, so that no daemon begins meanwhile.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use config::Config;
use spool::{Spool, SpoolLock};

use crate::cli::{Cli, Names};
use crate::{Trouble, load};

/// A spool that no daemon has.
pub(crate) struct Offline {
    pub(crate) spool: Spool,
    /// It is held, no more.
    _lock: Option<SpoolLock>,
}

impl Offline {
    /// The configured spool, to be read. Where its lock is not ours to take, it is read without.
    pub(crate) fn read(cli: &Cli) -> Result<Offline, Trouble> {
        let config = configuration(cli)?;
        let spool = Spool::at(&config.spool.dir);
        let may_write = |path: &Path| std::fs::File::options().append(true).open(path).is_ok();
        let lock = match may_write(&spool.dir().join(".lock")) {
            true => Some(lock(&spool)?),
            false => None,
        };
        Ok(Offline { spool, _lock: lock })
    }

    /// The configured spool, to be changed.
    pub(crate) fn hold(cli: &Cli) -> Result<Offline, Trouble> {
        let config = configuration(cli)?;
        let spool = Spool::at(&config.spool.dir);
        spool.prepare().map_err(|e| Trouble::new(crate::CONFIG, e.to_string()))?;
        let lock = lock(&spool)?;
        Ok(Offline { spool, _lock: Some(lock) })
    }

    /// The configuration and its spool, for a parent that will hold the lock itself.
    pub(crate) fn prepare(cli: &Cli) -> Result<(Config, Spool), Trouble> {
        let config = configuration(cli)?;
        let spool = Spool::at(&config.spool.dir);
        spool.prepare().map_err(|e| Trouble::new(crate::CONFIG, e.to_string()))?;
        Ok((config, spool))
    }

    /// Where it is.
    pub(crate) fn at(&self) -> std::path::Display<'_> {
        self.spool.dir().display()
    }

    /// The names of the deltas that are meant, of which something is left.
    pub(crate) fn meant(&self, names: &Names) -> Result<Vec<OsString>, Trouble> {
        let unusable = |e: io::Error| Trouble::new(1, format!("{}: {e}", self.at()));
        let Some(name) = &names.name else { return self.spool.all_left().map_err(unusable) };
        match self.spool.left(name).map_err(unusable)?.is_any() {
            true => Ok(vec![name.clone()]),
            false => Err(Trouble::new(1, spool::nothing_left(name))),
        }
    }
}

/// The configuration, of a spool that is there.
fn configuration(cli: &Cli) -> Result<Config, Trouble> {
    let config = load(cli)?;
    if !config.spool.dir.is_dir() {
        let message = format!(
            "{}: no daemon runs, and there is no such spool: start the daemon, or set spool.dir",
            config.spool.dir.display()
        );
        return Err(Trouble::new(crate::CONFIG, message));
    }
    Ok(config)
}

fn lock(spool: &Spool) -> Result<SpoolLock, Trouble> {
    // It is about to start, or it was given other sockets.
    let remedy = "nobody answers at its control socket: ask again, or name it with --socket";
    parent::lock(spool, remedy).map_err(|e| Trouble::new(e.code as u8, e.message))
}
