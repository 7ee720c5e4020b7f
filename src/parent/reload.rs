//! Reload: the file is read and checked here; the machine brings the new generation up.

use config::Config;
use slog::{Logger, info, warn};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Parent;
use crate::machine::{Event, Plan};
use crate::start::{listen_for_http, logger, ms};

/// A configuration that is not in force yet, and the log that it asks for.
pub(crate) struct Candidate {
    pub(crate) config: Config,
    pub(crate) log: Logger,
    sink: Arc<logs::Sink>,
    /// The page's listening socket: the one that is there, or one at the new address.
    pub(crate) http: Option<OwnedFd>,
}

/// What the machine must know of a configuration.
pub(crate) fn plan(config: &Config) -> Plan {
    Plan {
        workers: config.workers.count,
        stop_timeout: ms(config.workers.stop_timeout),
        stop_on_failed: config.spool.on_failed == config::OnFailed::Stop,
    }
}

impl Parent {
    /// Reads the configuration again, as a candidate.
    pub(crate) fn configure(&mut self) -> Event {
        self.tell_reloading();
        // Whatever becomes of the configuration: the log's file may have been rotated, and those who stay
        // must not go on in the old one.
        self.board.log_opened().fetch_add(1, Ordering::Relaxed);
        match self.read() {
            Ok(candidate) => {
                let plan = plan(&candidate.config);
                self.candidate = Some(candidate);
                Event::Configured(Ok(plan))
            }
            Err(reason) => Event::Configured(Err(reason)),
        }
    }

    fn read(&self) -> Result<Candidate, String> {
        let config = config::load(&self.config.path).map_err(|e| e.to_string())?;
        let sockets = |c: &Config| (c.monitor.status.clone(), c.monitor.control.clone());
        if config.spool.dir != self.config.spool.dir {
            return Err(format!(
                "{}: spool.dir cannot change while the daemon runs: restart it",
                config.path.display()
            ));
        }
        if sockets(&config) != sockets(&self.config) {
            return Err(format!(
                "{}: the sockets of [monitor] cannot change while the daemon runs: restart it",
                config.path.display()
            ));
        }
        let same_file = config.log.file == self.config.log.file;
        let sink = match same_file {
            true if config.log.file.is_none() => Arc::clone(&self.sink),
            // Also where the name is the same: what cannot be opened is told.
            _ => crate::start::sink(&config, self.board, None).map_err(|e| e.message)?,
        };
        let log = logger(&config, Arc::clone(&sink));
        let http = self.http_of(&config)?;
        Ok(Candidate { config, log, sink, http })
    }

    /// Where the page's address stays, both generations' monitors have the one socket; else the new
    /// one's is there before the old one's goes.
    fn http_of(&self, config: &Config) -> Result<Option<OwnedFd>, String> {
        let old = self.listeners.as_ref().and_then(|listeners| listeners.http.as_ref());
        match (config.monitor.http, old) {
            (new, Some(old)) if new == self.config.monitor.http => {
                let same = old.try_clone();
                same.map(Some).map_err(|e| format!("no descriptor for the page's socket: {e}"))
            }
            (Some(address), _) => listen_for_http(address, &config.path)
                .map(Some)
                .map_err(|e| self.own_page_in_the_way(address).unwrap_or(e.message)),
            (None, _) => Ok(None),
        }
    }

    /// One port cannot be listened on twice, once at all addresses and once at one of them.
    fn own_page_in_the_way(&self, address: SocketAddr) -> Option<String> {
        let old = self.config.monitor.http.filter(|old| old.port() == address.port())?;
        let overlaps = old.ip().is_unspecified() || address.ip().is_unspecified();
        overlaps.then(|| {
            format!(
                "{}: monitor.http: the page cannot go from {old} to {address} while it is up, for they \
                 overlap: restart the daemon, or change the port too",
                self.config.path.display()
            )
        })
    }

    /// The candidate is in force.
    pub(crate) fn adopt(&mut self) {
        let page = self.config.monitor.http;
        if let Some(Candidate { config, log, sink, http }) = self.candidate.take() {
            self.producer.configure(ms(config.spool.settle), ms(config.spool.poll));
            (self.config, self.log, self.sink) = (config, log, sink);
            if let Some(listeners) = &mut self.listeners {
                listeners.http = http;
            }
        }
        self.let_go();
        self.counters.reloads += 1;
        self.board.parent().set_reload_refused(0);
        self.board.reload_error().write("");
        self.manager.refused = None;
        self.tell_over();
        info!(self.log, "reloaded"; "workers" => self.config.workers.count,
            "generation" => self.machine.slots().generation);
        if self.config.monitor.http != page {
            self.say_where_the_page_is();
        }
        self.tell_confinement();
    }

    /// The candidate is not taken.
    pub(crate) fn refuse(&mut self, reason: &str) {
        self.candidate = None;
        self.counters.reload_failures += 1;
        self.board.reload_error().write(reason);
        self.board.parent().set_reload_refused(1);
        self.manager.refused = reason.lines().next().map(str::to_owned); // the first mistake will do
        self.tell_over();
        warn!(self.log, "reload refused, running on the old configuration"; "reason" => reason);
    }
}
