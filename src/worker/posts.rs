//! The main thread's side of posting: starts post threads, scout and the schema's reader, gives them work
//! while there is room, and takes their answers. It never waits for them; their wake-up is a descriptor for
//! `poll`.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use cluster::Cluster;
use scoreboard::{LeadersCell, Turns, WorkerCell};
use slog::Logger;

use crate::age::Highest;
use crate::batch::Batch;
use crate::lanes::{Back, Lanes};
use crate::node::Errand;
use crate::post::{Answer, Poster};
use crate::queue::Queue;
use crate::schema::{InHand, Reader, SchemaCopy};
use crate::scout::Scout;
use crate::secrets::Credentials;
use crate::wire::Wire;

/// The post threads, seen from the main thread.
pub(crate) struct Posts {
    queue: Arc<Queue>,
    answers: Receiver<Answer>,
    wake: UnixStream,
    threads: usize,
    /// What is not answered, and how much of that is batches.
    under_way: usize,
    batches: usize,
    /// Batches that were routed by a layout that is no more, before they were taken.
    returned: Vec<Batch>,
    spare: Vec<Batch>,
    serial: u64,
    schema: InHand,
    cell: WorkerCell,
}

/// Empty batches that are kept for use.
const SPARE: usize = 4;

impl Posts {
    /// Starts the threads. Only after the fork, and with signals blocked: they are the main
    /// thread's business. `leaders`: where the scout tells who leads.
    pub(crate) fn start(
        config: &config::Config,
        credentials: &Credentials,
        turns: Turns,
        leaders: Option<LeadersCell>,
        log: &Logger,
    ) -> io::Result<Posts> {
        let cell = turns.cell();
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (sender, answers) = channel();
        let lanes = Lanes::new(config, turns, sys::clock::now_ms(), log);
        let queue = Arc::new(Queue::new(lanes, turns, waker));
        let copy = Arc::new(SchemaCopy::new());
        let threads = (config.batch.in_flight as usize).clamp(1, scoreboard::POSTERS);
        sys::with_signals_blocked(|| -> io::Result<()> {
            let mut breakers = Vec::new();
            for who in 0..threads {
                let wire = Wire::new(&config.solr, credentials);
                breakers.push(wire.breaker());
                let poster = Poster {
                    who,
                    queue: Arc::clone(&queue),
                    wire,
                    cell: cell.poster(who),
                    min_rf: config.solr.min_rf,
                    unique_key: config.solr.unique_key.clone(),
                    highest: Highest::new(turns.board(), cell),
                    answers: Sender::clone(&sender),
                    buffer: Vec::new(),
                    told: false,
                    log: log.clone(),
                };
                let thread = std::thread::Builder::new().name(format!("post {who}"));
                thread.spawn(move || poster.run())?;
            }
            let reader = Reader {
                copy: Arc::clone(&copy),
                queue: Arc::clone(&queue),
                wire: Wire::new(&config.solr, credentials),
                collection: config.solr.collection.clone(),
                tells: leaders.is_some(),
                log: log.clone(),
            };
            let thread = std::thread::Builder::new().name("schema".into());
            thread.spawn(move || reader.run())?;
            if config.solr.routing == config::Routing::Leader {
                let scout = Scout {
                    queue: Arc::clone(&queue),
                    wire: Wire::new(&config.solr, credentials),
                    collection: config.solr.collection.clone(),
                    breakers,
                    answers: Sender::clone(&sender),
                    leaders,
                    log: log.clone(),
                    last: None,
                };
                let thread = std::thread::Builder::new().name("scout".into());
                thread.spawn(move || scout.run())?;
            }
            Ok(())
        })??;
        Ok(Posts {
            queue,
            answers,
            wake,
            threads,
            under_way: 0,
            batches: 0,
            returned: Vec::new(),
            spare: Vec::new(),
            serial: 0,
            schema: InHand::new(copy),
            cell,
        })
    }

    /// There is work from now on, or none.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        if !busy {
            self.spare.clear();
        }
        self.queue.set_busy(busy);
        self.schema.set_busy(busy);
    }

    /// What lines are held against.
    pub(crate) fn schema(&self) -> &InHand {
        &self.schema
    }

    /// Whether it is known what documents are held against, or that is waited for no longer.
    pub(crate) fn may_judge(&self, now: u64) -> bool {
        self.schema.is_ready(self.is_known(), now)
    }

    /// Whether more should be read: somebody would take it soon.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    /// Whether it is known where documents go.
    pub(crate) fn is_known(&self) -> bool {
        self.queue.is_known()
    }

    /// Whether this lane would send a batch soon.
    pub(crate) fn wants_more(&self, lane: usize) -> bool {
        self.queue.wants_more(lane)
    }

    /// The number of the layout that is routed by.
    pub(crate) fn layout(&self) -> u64 {
        self.queue.layout()
    }

    /// What is routed by, and its number.
    pub(crate) fn sight(&self) -> (u64, Option<Arc<Cluster>>) {
        self.queue.sight()
    }

    /// The most documents that a batch should have, by `max_docs_per_s`.
    pub(crate) fn most_docs(&self) -> usize {
        self.queue.most_docs()
    }

    /// Whether every answer is in.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Whether every batch is back.
    pub(crate) fn has_all_back(&self) -> bool {
        self.batches == 0
    }

    /// Sends a batch on its lane.
    pub(crate) fn send(&mut self, mut batch: Batch) {
        batch.close();
        self.batches += 1;
        self.under_way += 1;
        self.count();
        if let Back::Returned(batch) = self.queue.push(batch) {
            self.returned.push(batch);
        }
    }

    /// Has a hard commit made.
    pub(crate) fn commit(&mut self) {
        self.plain(Errand::Commit);
    }

    /// Has an empty update posted, to see whether Solr would take one.
    pub(crate) fn probe(&mut self) {
        self.plain(Errand::Probe);
    }

    /// Has Solr asked for the versions of the documents that a form names.
    pub(crate) fn ask_versions(&mut self, form: Vec<u8>) {
        self.plain(Errand::Versions(form));
    }

    fn plain(&mut self, errand: Errand) {
        self.under_way += 1;
        self.count();
        self.queue.push_plain(errand);
    }

    /// The next answer, if there is one.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        // The bytes first: one that is written later wakes the next poll.
        let mut bytes = [0; 64];
        while matches!((&self.wake).read(&mut bytes), Ok(n) if n == bytes.len()) {}
        let answer = match self.returned.pop() {
            Some(batch) => Answer::Batch(batch),
            None => self.answers.try_recv().ok()?,
        };
        if matches!(answer, Answer::Batch(_)) {
            self.batches = self.batches.saturating_sub(1);
        }
        self.under_way = self.under_way.saturating_sub(1);
        self.count();
        Some(answer)
    }

    fn count(&self) {
        self.cell.set_in_flight(self.under_way.min(self.threads) as u64);
    }

    /// Nothing more is sent, no backoff waited out; what is under way is still answered.
    pub(crate) fn halt(&self) {
        self.queue.halt();
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.queue.is_halted()
    }

    pub(crate) fn go_on(&self) {
        self.queue.go_on();
    }

    /// Whether all that could be under way waits for its next try.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.queue.is_backing_off()
    }

    /// An empty batch for a lane of this layout.
    pub(crate) fn blank(&mut self, lane: usize, layout: u64) -> Batch {
        self.serial += 1;
        let mut batch = self.spare.pop().unwrap_or_default();
        (batch.serial, batch.lane, batch.layout) = (self.serial, lane, layout);
        batch
    }

    /// Takes a batch back, to be used again.
    pub(crate) fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() < SPARE {
            batch.clear();
            self.spare.push(batch);
        }
    }
}

impl AsFd for Posts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
