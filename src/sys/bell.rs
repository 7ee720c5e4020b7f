//! A bell that processes can wait for: a word in shared memory, and the kernel's futex to sleep on
//! it. It is no lock: who dies with a hand on it leaves nothing shut, and a wait always ends.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// A bell in shared memory.
#[derive(Clone, Copy)]
pub struct Bell {
    rung: &'static AtomicU32,
    waiting: &'static AtomicU32,
}

impl Bell {
    /// The bell that lives in this shared word.
    pub fn over(word: &'static AtomicU64) -> Bell {
        let halves = std::ptr::from_ref(word).cast::<AtomicU32>();
        // SAFETY: a word that is 8 bytes long, aligned to 8 and lives for ever is two of 4; nobody
        // reads it as anything else, since the bell is all that it is for.
        let [rung, waiting] = unsafe { &*halves.cast::<[AtomicU32; 2]>() };
        Bell { rung, waiting }
    }

    /// How often it was rung (it wraps).
    pub fn rung(self) -> u32 {
        self.rung.load(SeqCst)
    }

    /// Wakes everybody who waits.
    pub fn ring(self) {
        self.rung.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        let everybody = i32::MAX;
        // SAFETY: FUTEX_WAKE looks at the address of a word that lives for ever, and at nothing else.
        unsafe { libc::syscall(libc::SYS_futex, self.rung.as_ptr(), libc::FUTEX_WAKE, everybody) };
    }

    /// Waits until it is rung once more than `rung` times, for `most` at most; may end earlier.
    pub fn wait(self, rung: u32, most: Duration) {
        let most = most.min(Duration::from_secs(1));
        let time = libc::timespec {
            tv_sec: most.as_secs() as libc::time_t,
            tv_nsec: most.subsec_nanos().into(),
        };
        self.waiting.fetch_add(1, SeqCst);
        // SAFETY: FUTEX_WAIT reads a word that lives for ever and a time that lives for this call.
        let result = unsafe {
            libc::syscall(libc::SYS_futex, self.rung.as_ptr(), libc::FUTEX_WAIT, rung, &time)
        };
        debug_assert!(
            result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
        );
        self.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell() -> Bell {
        Bell::over(&crate::shared_words(1).unwrap()[0])
    }

    #[test]
    fn a_ring_that_came_before_is_not_waited_for() {
        let bell = bell();
        let rung = bell.rung();
        bell.ring();
        let begin = std::time::Instant::now();
        bell.wait(rung, Duration::from_secs(1));
        assert!(begin.elapsed() < Duration::from_millis(900));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test, and nothing is forked in it")]
    fn who_waits_is_woken_and_nobody_waits_for_ever() {
        let bell = bell();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                while bell.rung() == 0 {
                    bell.wait(0, Duration::from_secs(1));
                }
            });
            bell.ring();
            waiter.join().unwrap();
        });
        bell.wait(bell.rung(), Duration::from_millis(1));
        assert_eq!(bell.waiting.load(SeqCst), 0);
    }
}
