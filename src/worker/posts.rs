//! The main thread's side of posting: starts the post threads, gives them jobs while there is room,
//! and takes their answers. It never waits for them; their wake-up is a descriptor for `poll`.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use scoreboard::WorkerCell;
use slog::Logger;

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::lane::Lane;
use crate::post::{Answer, Job, Poster};
use crate::queue::Queue;
use crate::secrets::Authorization;
use crate::wire::Wire;

/// The post threads, seen from the main thread.
pub(crate) struct Posts {
    queue: Arc<Queue>,
    answers: Receiver<Answer>,
    wake: UnixStream,
    threads: usize,
    under_way: usize,
    spare: Vec<Batch>,
    usual: usize,
    cell: WorkerCell,
}

impl Posts {
    /// Starts the threads. Only after the fork, and with signals blocked: they are the main
    /// thread's business.
    pub(crate) fn start(
        config: &config::Config,
        authorization: Option<Authorization>,
        cell: WorkerCell,
        log: &Logger,
    ) -> io::Result<Posts> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (sender, answers) = channel();
        let queue = Arc::new(Queue::default());
        let lane = Arc::new(Lane::new(&config.solr, log.clone()));
        let threads = (config.batch.in_flight as usize).clamp(1, scoreboard::POSTERS);
        sys::with_signals_blocked(|| -> io::Result<()> {
            for number in 0..threads {
                let poster = Poster {
                    queue: Arc::clone(&queue),
                    lane: Arc::clone(&lane),
                    wire: Wire::new(&config.solr, authorization.clone()),
                    cell: cell.poster(number),
                    backoff: Backoff::new(&config.retry),
                    min_rf: config.solr.min_rf,
                    answers: Sender::clone(&sender),
                    wake: waker.try_clone()?,
                    buffer: Vec::new(),
                };
                let thread = std::thread::Builder::new().name(format!("post {number}"));
                thread.spawn(move || poster.run())?;
            }
            Ok(())
        })??;
        let usual = usize::try_from(config.batch.bytes).unwrap_or(usize::MAX / 2);
        let (under_way, spare) = (0, Vec::new());
        Ok(Posts { queue, answers, wake, threads, under_way, spare, usual, cell })
    }

    /// Whether a job would be begun soon: one for each thread, and one that waits.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way <= self.threads
    }

    /// Whether every answer is in.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    pub(crate) fn send(&mut self, job: Job) {
        self.under_way += 1;
        self.count();
        self.queue.push(job);
    }

    /// The next answer, if there is one.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        // The bytes first: one that is written later wakes the next poll.
        let mut bytes = [0; 64];
        while matches!((&self.wake).read(&mut bytes), Ok(n) if n == bytes.len()) {}
        let answer = self.answers.try_recv().ok()?;
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

    pub(crate) fn go_on(&self) {
        self.queue.go_on();
    }

    /// Whether all that could be under way waits for its next try.
    pub(crate) fn is_backing_off(&self) -> bool {
        let resting = self.cell.posters().filter(|p| p.backing_off() != 0).count();
        resting > 0 && resting >= self.under_way.min(self.threads)
    }

    /// An empty batch.
    pub(crate) fn blank(&mut self) -> Batch {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a batch back, to be used again.
    pub(crate) fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() <= self.threads {
            batch.clear(self.usual);
            self.spare.push(batch);
        }
    }
}

impl AsFd for Posts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
