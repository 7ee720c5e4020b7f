//! The jobs between the main thread and the post threads, and the word that stops them.
//!
//! The main thread never waits here: it asks whether there is room before it reads on, and that is
//! the back-pressure. A post thread waits for a job, or out of a backoff, and is woken from either
//! by [`Queue::halt`].

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::post::Job;

/// Jobs that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    halted: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_all();
    }

    /// The next job; waits for it.
    pub(crate) fn take(&self) -> Job {
        let mut state = self.lock();
        loop {
            match state.jobs.pop_front() {
                Some(job) => return job,
                None => state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner()),
            }
        }
    }

    /// From now on nothing more is sent and nothing waited for: jobs come back as they are.
    pub(crate) fn halt(&self) {
        self.lock().halted = true;
        self.changed.notify_all();
    }

    /// Takes [`Queue::halt`] back.
    pub(crate) fn go_on(&self) {
        self.lock().halted = false;
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.lock().halted
    }

    /// Waits for `time`, or until it is halted, and answers whether it is.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.halted || left.is_zero() {
                return state.halted;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_backoff_is_interrupted_at_once() {
        let queue = Arc::new(Queue::default());
        let other = Arc::clone(&queue);
        let resting = std::thread::spawn(move || {
            let begin = Instant::now();
            (other.rest(Duration::from_secs(60)), begin.elapsed())
        });
        queue.push(Job::Probe); // any other news is no reason
        queue.halt();
        let (halted, took) = resting.join().unwrap();
        assert!(halted && took < Duration::from_secs(5), "{took:?}");
        queue.go_on();
        assert!(!queue.rest(Duration::from_millis(1)));
    }
}
