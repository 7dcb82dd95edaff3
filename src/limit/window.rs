//! One sliding window: when each key failed, as far as it still counts, in bounded memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Tick;

/// Failures by key, at most `limit` for a key and `capacity` keys.
pub(super) struct Window {
    limit: usize,
    length: Duration,
    capacity: usize,
    /// Never empty lists, oldest first.
    failures: HashMap<u64, VecDeque<Tick>>,
    /// Every key once, in the order of eviction.
    ranks: BTreeSet<Rank>,
}

/// Power of two of the number of failures, time of the last one, key.
type Rank = (u32, Tick, u64);

impl Window {
    pub(super) fn new(limit: usize, length: Duration, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { limit, length, capacity, failures: HashMap::new(), ranks: BTreeSet::new() }
    }

    /// How long until a key is under the limit; `None` if it is now.
    pub(super) fn wait(&self, key: u64, now: Tick) -> Option<Duration> {
        let failures = self.failures.get(&key)?;
        // A list is never longer than the limit, so the oldest of a full one decides.
        let oldest = failures.front().filter(|_| failures.len() >= self.limit)?;
        self.length.checked_sub(now.since(*oldest)).filter(|left| !left.is_zero())
    }

    /// Counts a failure, unless the key is at its limit: one more would say nothing new, and were an
    /// older one to go for it, taking it back would leave the key under its limit. Says whether it
    /// was counted.
    #[must_use]
    pub(super) fn record(&mut self, key: u64, now: Tick) -> bool {
        self.sweep(now);
        let mut failures = self.take(key).unwrap_or_default();
        while failures.front().is_some_and(|oldest| now.since(*oldest) >= self.length) {
            failures.pop_front();
        }
        let is_counted = failures.len() < self.limit;
        if is_counted {
            failures.push_back(now);
        }
        if self.failures.len() >= self.capacity
            && let Some((_, _, evicted)) = self.ranks.pop_first()
        {
            self.failures.remove(&evicted);
        }
        self.put(key, failures);
        is_counted
    }

    /// Takes the failure back that was counted at `at`.
    pub(super) fn forget(&mut self, key: u64, at: Tick) {
        let Some(mut failures) = self.take(key) else { return };
        if let Some(i) = failures.iter().rposition(|tick| *tick == at) {
            failures.remove(i);
        }
        self.put(key, failures);
    }

    /// Drops keys whose last failure has left the window, two of each rank at most: more than
    /// are ever added at once, and never a long pause.
    fn sweep(&mut self, now: Tick) {
        for class in 0..=self.limit.ilog2() {
            for _ in 0..2 {
                let first = self.ranks.range((class, Tick::default(), 0)..).next().copied();
                let Some((found, last, key)) = first else { return };
                if found != class || now.since(last) < self.length {
                    break;
                }
                self.take(key);
            }
        }
    }

    fn take(&mut self, key: u64) -> Option<VecDeque<Tick>> {
        let failures = self.failures.remove(&key)?;
        if let Some(rank) = rank(key, &failures) {
            self.ranks.remove(&rank);
        }
        Some(failures)
    }

    fn put(&mut self, key: u64, failures: VecDeque<Tick>) {
        if let Some(rank) = rank(key, &failures) {
            self.ranks.insert(rank);
            self.failures.insert(key, failures);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.failures.len(), self.ranks.len(), "both know the same keys");
        self.failures.len()
    }
}

fn rank(key: u64, failures: &VecDeque<Tick>) -> Option<Rank> {
    Some((failures.len().checked_ilog2()?, *failures.back()?, key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(100);

    fn at(second: u64) -> Tick {
        Tick::from_millis(second * 1000)
    }

    /// Records a failure where it does not matter whether it was counted.
    fn fail(window: &mut Window, key: u64, now: Tick) {
        let _is_counted = window.record(key, now);
    }

    #[test]
    fn a_failure_counts_until_it_is_as_old_as_the_window() {
        let mut window = Window::new(3, LENGTH, 10);
        for second in [0, 10, 20] {
            assert_eq!(window.wait(1, at(second)), None);
            fail(&mut window, 1, at(second));
        }
        assert_eq!(window.wait(1, at(20)), Some(Duration::from_secs(80)));
        assert_eq!(window.wait(1, at(99)), Some(Duration::from_secs(1)));
        assert_eq!(window.wait(1, at(100)), None);
        fail(&mut window, 1, at(100));
        assert_eq!(window.wait(1, at(100)), Some(Duration::from_secs(10)));
    }

    #[test]
    fn the_key_that_failed_least_goes_first_and_among_equals_the_one_longest_ago() {
        let mut window = Window::new(8, LENGTH, 3);
        for (key, second) in [(1, 0), (1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6)] {
            fail(&mut window, key, at(second));
        }
        assert_eq!(window.len(), 3);
        assert!(window.failures.contains_key(&1), "failed four times");
        assert!(!window.failures.contains_key(&2), "failed once, longest ago");
        for key in 10..1000 {
            fail(&mut window, key, at(7));
        }
        assert_eq!(window.len(), 3);
        assert_eq!(
            window.failures.get(&1).map(VecDeque::len),
            Some(4),
            "a flood of names changes nothing"
        );
    }

    #[test]
    fn what_has_left_the_window_is_dropped_whatever_its_rank() {
        let mut window = Window::new(8, LENGTH, 1000);
        for key in 0..100 {
            for _ in 0..=key % 8 {
                fail(&mut window, key, at(0));
            }
        }
        assert_eq!(window.len(), 100);
        for _ in 0..60 {
            fail(&mut window, 1000, at(200));
        }
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn a_failure_taken_back_leaves_the_others() {
        let mut window = Window::new(2, LENGTH, 10);
        fail(&mut window, 1, at(0));
        fail(&mut window, 1, at(1));
        window.forget(1, at(0));
        assert_eq!(window.wait(1, at(1)), None);
        fail(&mut window, 1, at(2));
        assert_eq!(window.wait(1, at(2)), Some(Duration::from_secs(99)));
        window.forget(1, at(50));
        window.forget(9, at(1));
        window.forget(1, at(1));
        window.forget(1, at(2));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn beyond_its_limit_a_key_counts_no_more_so_that_taking_back_opens_nothing() {
        let mut window = Window::new(2, LENGTH, 10);
        assert!(window.record(1, at(0)));
        assert!(window.record(1, at(1)));
        assert!(!window.record(1, at(2)));
        assert_eq!(window.wait(1, at(2)), Some(Duration::from_secs(98)));
    }

    proptest! {
        #[test]
        fn memory_stays_within_its_bounds(steps in prop::collection::vec((0_u64..20, 0_u64..30, any::<bool>()), 0..300)) {
            let mut window = Window::new(4, LENGTH, 8);
            let mut second = 0;
            for (key, pause, is_taken_back) in steps {
                second += pause;
                fail(&mut window, key, at(second));
                prop_assert!(window.len() <= 8);
                prop_assert!(window.failures.values().all(|list| (1..=4).contains(&list.len())));
                if is_taken_back {
                    window.forget(key, at(second));
                }
            }
        }
    }
}
