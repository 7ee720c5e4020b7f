//! What the unit tests share, beside the fake Solr (`tests/fake_solr`).

use std::time::Duration;

/// A configuration for these nodes, with waits that a test can sit out.
pub(crate) fn config(urls: &[&str]) -> config::Config {
    let urls = urls.iter().map(|u| u.to_string()).collect();
    let mut config = config::Config::for_feed(urls, "offers".into()).unwrap();
    config.retry =
        config::Retry { first: Duration::from_millis(5), most: Duration::from_millis(40) };
    config.solr.timeout = Duration::from_secs(5);
    config.workers.stop_timeout = Duration::from_secs(4);
    config
}

/// A log that nobody reads.
pub(crate) fn no_log() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}
