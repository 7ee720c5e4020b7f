//! The status document as OpenMetrics text, for Prometheus and what else reads it: the answer to
//! `metrics`, and it ends with `# EOF`.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use scoreboard::{BOUNDS_MS, Durations};
use status::{Document, Level, State, Worker, WorkerState};
use std::fmt::{Debug, Error};

/// What every name begins with.
const PREFIX: &str = "solr_updater";

/// The text.
pub(crate) fn text(document: &Document, durations: &Durations, log_dropped: u64) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let (document, durations) = (document.clone(), *durations);
    registry.register_collector(Box::new(Facts { document, durations, log_dropped }));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes all that is written");
    text
}

#[derive(Debug)]
struct Facts {
    document: Document,
    durations: Durations,
    log_dropped: u64,
}

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page(encoder);
        self.counters(&mut page)?;
        self.gauges(&mut page)?;
        self.workers(&mut page)?;
        self.post_duration(&mut page)
    }
}

impl Facts {
    /// What only grows, since the daemon started.
    fn counters(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let Document { totals, parent, monitor, .. } = &self.document;
        for (name, help, count) in [
            ("deltas", "Deltas settled, to done/ or to failed/", totals.deltas),
            ("lines", "Lines done, empty ones too", totals.lines),
            ("documents", "Documents that Solr has confirmed", totals.docs),
            ("deletes", "Deletes that Solr has confirmed", totals.deletes),
            ("skipped_lines", "Lines that became nothing", totals.skipped),
            ("rejected_lines", "Lines that can never be delivered", totals.rejected),
            (
                "superseded_lines",
                "Retried lines that a newer document had overtaken",
                totals.superseded,
            ),
            ("duplicate_ids", "Documents with more than one line in a delta", totals.duplicate_ids),
            ("posts", "Requests that carried documents", totals.posts),
            ("post_retries", "Requests that were sent again", totals.retries),
            ("worker_deaths", "Workers that died unasked", totals.worker_deaths),
            ("worker_hangs", "Workers killed because they hung", totals.worker_hangs),
            ("monitor_restarts", "How often the monitor was replaced", monitor.restarts),
            ("reloads", "Reloads that were taken", parent.reloads),
            ("reload_failures", "Reloads that were refused", parent.reload_failures),
            ("log_dropped_lines", "Log lines that could not be written", self.log_dropped),
        ] {
            page.counter(name, help, None, count)?;
        }
        let bytes = Some(&Unit::Bytes);
        page.counter("read", "Bytes of deltas read, uncompressed", bytes, totals.bytes_read)?;
        page.counter("posted", "Bytes of request bodies sent", bytes, totals.bytes_posted)
    }

    fn gauges(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let Document { spool, parent, solr, health, state, .. } = &self.document;
        for (name, help, count) in [
            ("incoming_files", "Deltas that wait", spool.incoming.files),
            ("ignored_files", "Entries of incoming/ that are no delta", spool.ignored),
            ("failed_files", "Deltas in failed/", spool.failed),
            ("rejected_files", "Files in rejected/", spool.rejected.files),
            (
                "open_rejects",
                "Lines in rejected/, of nobody retried or dropped",
                spool.rejected.lines,
            ),
            ("active_files", "Deltas claimed and not settled", spool.active_files),
            ("workers", "Slots for workers", self.document.slots() as u64),
            ("workers_alive", "Slots with a living worker", self.document.workers_alive() as u64),
            (
                "generation",
                "The generation of workers, one more with each reload",
                parent.generation,
            ),
            ("paused", "1 while it is paused", (*state == State::Paused).into()),
            (
                "health",
                "0 well, 1 a warning, 2 critical",
                match health.state {
                    Level::Ok => 0,
                    Level::Warning => 1,
                    Level::Critical => 2,
                },
            ),
        ] {
            page.gauge(name, help, None, count as f64)?;
        }
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        let active = spool.active.as_ref();
        page.gauge("incoming", "Bytes of deltas that wait", bytes, spool.incoming.bytes as f64)?;
        let size = active.map_or(0, |active| active.bytes);
        page.gauge("active", "Size of the delta being delivered", bytes, size as f64)?;
        let done = active.map_or(0, |active| active.bytes_done);
        page.gauge("active_done", "How much of it is done", bytes, done as f64)?;
        let lag = self.document.lag_s();
        page.gauge("lag", "Since the oldest unsettled delta was first seen", seconds, lag)?;
        let beat = parent.heartbeat_age_s;
        page.gauge("parent_heartbeat_age", "Since the parent's loop came round", seconds, beat)?;
        page.gauge("uptime", "Since the daemon started", seconds, parent.uptime_s)?;
        // What nobody knows is left out.
        if let Some(threads) = parent.threads {
            let help = "Threads of the parent: anything but 1 is a fault";
            page.gauge("parent_threads", help, None, threads.into())?;
        }
        if let Some(reachable) = solr.reachable {
            let help = "Whether the last attempt got through to Solr";
            page.gauge("solr_up", help, None, u8::from(reachable).into())?;
        }
        if let Some(age) = solr.last_ok_age_s {
            page.gauge("solr_last_ok_age", "Since Solr last took something", seconds, age)?;
        }
        let build = Info::new([("program", self.document.program.clone())]);
        build.encode(page.0.encode_descriptor("build", "Which", None, MetricType::Info)?)
    }

    /// What there is of each worker, by its slot.
    fn workers(&self, page: &mut Page<'_>) -> Result<(), Error> {
        // While generations change there are two for a slot: the one at work counts.
        let generation = self.document.parent.generation;
        let at_work = |worker: &&Worker| worker.generation == generation || worker.pid.is_none();
        let workers: Vec<&Worker> = self.document.workers.iter().filter(at_work).collect();
        type Count = fn(&Worker) -> u64;
        type Fact = fn(&Worker) -> f64;
        let counters: [(&str, &str, Count); 4] = [
            ("worker_restarts", "How often the slot's worker was replaced", |w| w.restarts),
            ("worker_lines", "Lines that it is through with", |w| w.lines),
            ("worker_documents", "Documents that Solr has confirmed to it", |w| w.docs),
            ("worker_posts", "Its requests that carried documents", |w| w.posts),
        ];
        for (name, help, count) in counters {
            let mut metric = page.0.encode_descriptor(name, help, None, MetricType::Counter)?;
            for worker in &workers {
                let labels = [("slot", worker.slot.to_string())];
                let metric = metric.encode_family(&labels)?;
                ConstCounter::new(count(worker)).encode(metric)?;
            }
        }
        let gauges: [(&str, &str, Option<&Unit>, Fact); 3] = [
            ("worker_in_flight", "Its requests under way", None, |w| w.in_flight as f64),
            ("worker_up", "Whether it lives", None, |w| {
                u8::from(w.state != WorkerState::Dead).into()
            }),
            ("worker_heartbeat_age", "Since its last sign of life", Some(&Unit::Seconds), |w| {
                w.heartbeat_age_s
            }),
        ];
        for (name, help, unit, fact) in gauges {
            let mut metric = page.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for worker in &workers {
                let labels = [("slot", worker.slot.to_string())];
                ConstGauge::new(fact(worker)).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn post_duration(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let Durations { counts, sum_us } = &self.durations;
        let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(*counts).collect();
        let help = "How long requests with documents took";
        let kind = MetricType::Histogram;
        let mut metric =
            page.0.encode_descriptor("post_duration", help, Some(&Unit::Seconds), kind)?;
        let count = counts.iter().fold(0, |sum: u64, count| sum.wrapping_add(*count));
        metric.encode_histogram::<NoLabelSet>(*sum_us as f64 / 1e6, count, &buckets, None)
    }
}

/// Where it is written.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        count: u64,
    ) -> Result<(), Error> {
        let metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: f64,
    ) -> Result<(), Error> {
        let metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }
}
