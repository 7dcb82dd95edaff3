//! Deadlines of connections, kept by one tick per worker instead of a timer per request.
//!
//! A worker's [`Ticker`] moves a coarse time forward every [`PERIOD`] and wakes whatever is overdue.
//! A deadline is never early and at most 100 ms late: it is set one period beyond the coarse time and
//! noticed within one period.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;

use crate::clock::Clock;

/// Distance of two ticks.
pub const PERIOD: Duration = Duration::from_millis(50);

/// What is waited for. Each has its own deadline on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Bytes from the peer.
    Read,
    /// The peer taking bytes.
    Write,
    /// The head of the upstream's answer, or the next bytes of its body.
    Upstream,
    /// The route's own `timeout`.
    Route,
    /// The moment from which the caller's leave to see an answer is watched.
    Leave,
}

const UNSET: u64 = u64::MAX;

/// The deadlines of one connection. All of them wake the one task that drives it.
#[derive(Debug)]
pub struct Deadlines {
    due: [AtomicU64; 5],
    waker: AtomicWaker,
    ticker: Arc<Ticker>,
}

impl Deadlines {
    /// Starts a wait, from now; a running one is replaced.
    pub fn set(&self, wait: Wait, limit: Duration) {
        let due = self.ticker.coarse().saturating_add(millis(PERIOD)).saturating_add(millis(limit));
        self.due[wait as usize].store(due, Ordering::Release);
    }

    /// Starts a wait unless it is running.
    pub fn set_unless_running(&self, wait: Wait, limit: Duration) {
        if self.due[wait as usize].load(Ordering::Relaxed) == UNSET {
            self.set(wait, limit);
        }
    }

    /// Ends a wait.
    pub fn clear(&self, wait: Wait) {
        // Reading first keeps the cache line shared in the common case that nothing is set.
        if self.due[wait as usize].load(Ordering::Relaxed) != UNSET {
            self.due[wait as usize].store(UNSET, Ordering::Release);
        }
    }

    /// Whether a wait has a deadline.
    #[must_use]
    pub fn is_running(&self, wait: Wait) -> bool {
        self.due[wait as usize].load(Ordering::Relaxed) != UNSET
    }

    /// Whether a wait has lasted too long.
    #[must_use]
    pub fn is_due(&self, wait: Wait) -> bool {
        let due = self.due[wait as usize].load(Ordering::Acquire);
        due != UNSET && due <= self.ticker.coarse()
    }

    /// Who is woken when something is overdue.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the connection's task now.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

/// Moves a worker's coarse time and wakes what is overdue.
#[derive(Debug)]
pub struct Ticker {
    clock: Clock,
    /// Milliseconds of the monotonic clock at the last tick.
    coarse: AtomicU64,
    watched: Mutex<Vec<Weak<Deadlines>>>,
}

impl Ticker {
    /// A ticker that stands at the clock's time.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        let coarse = AtomicU64::new(clock.tick().as_millis());
        Arc::new(Self { clock, coarse, watched: Mutex::default() })
    }

    /// Makes the deadlines of a new connection.
    #[must_use]
    pub fn deadlines(self: &Arc<Self>) -> Arc<Deadlines> {
        let deadlines = Arc::new(Deadlines {
            due: [const { AtomicU64::new(UNSET) }; 5],
            waker: AtomicWaker::new(),
            ticker: Arc::clone(self),
        });
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Arc::downgrade(&deadlines));
        deadlines
    }

    /// The time of the last tick, in milliseconds of the monotonic clock.
    #[must_use]
    pub fn coarse(&self) -> u64 {
        self.coarse.load(Ordering::Relaxed)
    }

    /// Moves the coarse time to the clock's and wakes every connection with an overdue wait.
    pub fn tick(&self) {
        let now = self.clock.tick().as_millis();
        self.coarse.store(now, Ordering::Release);
        self.each(|deadlines| {
            if deadlines.due.iter().any(|due| due.load(Ordering::Relaxed) <= now) {
                deadlines.wake();
            }
        });
    }

    /// Wakes every connection.
    pub fn wake_all(&self) {
        self.each(Deadlines::wake);
    }

    fn each(&self, visit: impl Fn(&Deadlines)) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|deadlines| match deadlines.upgrade() {
            Some(deadlines) => {
                visit(&deadlines);
                true
            }
            None => false,
        });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_at_most_a_tenth_of_a_second_late() {
        let clock = Clock::adjustable();
        let ticker = Ticker::new(clock.clone());
        let deadlines = ticker.deadlines();
        // Set halfway between two ticks.
        clock.advance(Duration::from_millis(25));
        let set = clock.tick();
        deadlines.set(Wait::Read, Duration::from_secs(10));
        while !deadlines.is_due(Wait::Read) {
            clock.advance(Duration::from_millis(5));
            ticker.tick();
            assert!(clock.tick().since(set) < Duration::from_millis(10_120), "too late");
        }
        assert!(clock.tick().since(set) >= Duration::from_secs(10), "early");
        assert!(!deadlines.is_due(Wait::Write));
        deadlines.clear(Wait::Read);
        assert!(!deadlines.is_due(Wait::Read));
    }

    #[test]
    fn a_running_wait_is_not_prolonged_by_set_unless_running() {
        let clock = Clock::adjustable();
        let ticker = Ticker::new(clock.clone());
        let deadlines = ticker.deadlines();
        deadlines.set_unless_running(Wait::Write, Duration::from_secs(1));
        clock.advance(Duration::from_millis(900));
        ticker.tick();
        deadlines.set_unless_running(Wait::Write, Duration::from_secs(1));
        clock.advance(Duration::from_millis(200));
        ticker.tick();
        assert!(deadlines.is_due(Wait::Write));
    }
}
