//! One sliding window: when each key failed, as far as it still counts, in bounded memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Tick;
use crate::config::Rate;

/// Times remembered in one window at most, over all keys: 80 MB.
const MOST_TIMES: usize = 10_000_000;

/// Failures by key, at most `limit` for a key and `capacity` keys. Without a rate nothing is counted.
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
    pub(super) fn new(rate: Option<Rate>, capacity: usize) -> Self {
        let (failures, ranks) = (HashMap::new(), BTreeSet::new());
        let mut window = Self { limit: 0, length: Duration::ZERO, capacity: 1, failures, ranks };
        window.configure(rate, capacity);
        window
    }

    /// Takes another rate, and at most `capacity` keys, or as many as all lists together leave room for.
    /// What is remembered counts on, as far as it fits.
    pub(super) fn configure(&mut self, rate: Option<Rate>, capacity: usize) {
        self.limit = rate.map_or(0, |rate| usize::try_from(rate.times).unwrap_or(usize::MAX));
        self.length = rate.map_or(Duration::ZERO, |rate| rate.within);
        self.capacity = capacity.min(MOST_TIMES / self.limit.max(1)).max(1);
        self.ranks.clear();
        for (key, mut failures) in std::mem::take(&mut self.failures) {
            failures.drain(..failures.len().saturating_sub(self.limit));
            self.put(key, failures);
        }
        while self.failures.len() > self.capacity {
            self.evict();
        }
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
        if self.limit == 0 {
            return false;
        }
        self.sweep(now);
        let mut failures = self.take(key).unwrap_or_default();
        while failures.front().is_some_and(|oldest| now.since(*oldest) >= self.length) {
            failures.pop_front();
        }
        let is_counted = failures.len() < self.limit;
        if is_counted {
            failures.push_back(now);
        }
        if self.failures.len() >= self.capacity {
            self.evict();
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

    /// Forgets the key of the lowest rank.
    fn evict(&mut self) {
        if let Some((_, _, evicted)) = self.ranks.pop_first() {
            self.failures.remove(&evicted);
        }
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

    fn window(times: u32, capacity: usize) -> Window {
        Window::new(Some(Rate { times, within: LENGTH }), capacity)
    }

    fn at(second: u64) -> Tick {
        Tick::from_millis(second * 1000)
    }

    /// Records a failure where it does not matter whether it was counted.
    fn fail(window: &mut Window, key: u64, now: Tick) {
        let _is_counted = window.record(key, now);
    }

    #[test]
    fn a_failure_counts_until_it_is_as_old_as_the_window() {
        let mut window = window(3, 10);
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
        let mut window = window(8, 3);
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
        let mut window = window(8, 1000);
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
        let mut window = window(2, 10);
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
        let mut window = window(2, 10);
        assert!(window.record(1, at(0)));
        assert!(window.record(1, at(1)));
        assert!(!window.record(1, at(2)));
        assert_eq!(window.wait(1, at(2)), Some(Duration::from_secs(98)));
    }

    #[test]
    fn another_rate_counts_what_was_remembered_and_none_forgets_it() {
        let mut window = window(4, 10);
        for second in 0..4 {
            fail(&mut window, 1, at(second));
        }
        fail(&mut window, 2, at(0));
        window.configure(Some(Rate { times: 2, within: LENGTH * 2 }), 10);
        assert_eq!(window.wait(1, at(3)), Some(Duration::from_secs(199)), "the newest two");
        assert_eq!((window.wait(2, at(3)), window.len()), (None, 2));
        window.configure(Some(Rate { times: 3, within: LENGTH }), 1);
        assert_eq!((window.wait(1, at(3)), window.len()), (None, 1));
        window.configure(None, 10);
        assert!(!window.record(1, at(4)));
        assert_eq!((window.wait(1, at(4)), window.len()), (None, 0));
    }

    #[test]
    fn a_rate_of_many_times_remembers_fewer_keys() {
        assert_eq!(window(100, 100_000).capacity, 100_000);
        assert_eq!(window(1000, 100_000).capacity, 10_000);
    }

    proptest! {
        #[test]
        fn memory_stays_within_its_bounds(steps in prop::collection::vec((0_u64..20, 0_u64..30, any::<bool>()), 0..300)) {
            let mut window = window(4, 8);
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
