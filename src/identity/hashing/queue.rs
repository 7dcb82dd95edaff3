//! Who waits for a turn: so many in all, and from one address at most a quarter of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::web::client::limit_key;

/// The queue is full, or the address holds its quarter of it: 429.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many sign-ins are waiting")]
pub struct Busy;

/// Counts places; who gets the next turn is the semaphores' business.
pub(super) struct Queue {
    places: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    total: usize,
    /// Unknown addresses share one entry. Holds at most `places` entries: empty ones go.
    by_address: HashMap<Option<IpAddr>, usize>,
}

/// A place in the queue, given back when dropped, so that a caller who goes away leaves none.
pub(super) struct Place<'a> {
    queue: &'a Queue,
    key: Option<IpAddr>,
}

impl Queue {
    pub(super) fn new(places: usize) -> Self {
        Self { places, waiting: Mutex::default() }
    }

    /// Takes a place for an address (IPv6 by its /64).
    pub(super) fn enter(&self, from: Option<IpAddr>) -> Result<Place<'_>, Busy> {
        let key = from.map(limit_key);
        let mut waiting = self.lock();
        let held = waiting.by_address.get(&key).copied().unwrap_or(0);
        // A queue shorter than four still lets an address wait once.
        if waiting.total >= self.places || held >= (self.places / 4).max(1) {
            return Err(Busy);
        }
        waiting.total += 1;
        waiting.by_address.insert(key, held + 1);
        Ok(Place { queue: self, key })
    }

    pub(super) fn len(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.total = waiting.total.saturating_sub(1);
        match waiting.by_address.get_mut(&self.key) {
            Some(held) if *held > 1 => *held -= 1,
            Some(_) | None => {
                waiting.by_address.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn one_address_holds_at_most_a_quarter_and_all_together_at_most_the_whole() {
        let queue = Queue::new(8);
        let mut places = Vec::new();
        for i in 0..4 {
            for _ in 0..2 {
                places.push(queue.enter(address(&format!("192.0.2.{i}"))));
            }
            assert!(queue.len() == 8 || queue.enter(address(&format!("192.0.2.{i}"))).is_err());
        }
        assert!(places.iter().all(Result::is_ok));
        assert!(queue.enter(address("192.0.2.9")).is_err(), "the queue is full");
        places.pop();
        assert!(queue.enter(address("192.0.2.9")).is_ok(), "a place given back is taken again");
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_as_one_and_unknown_addresses_too() {
        let queue = Queue::new(4);
        let _first = queue.enter(address("2001:db8::1"));
        assert!(queue.enter(address("2001:db8::ffff:0:0:2")).is_err());
        assert!(queue.enter(address("2001:db8:0:1::1")).is_ok());
        let _unknown = queue.enter(None);
        assert!(queue.enter(None).is_err());
    }

    #[test]
    fn a_short_queue_lets_an_address_wait_once_and_an_empty_one_nobody() {
        let queue = Queue::new(1);
        let place = queue.enter(None);
        assert!(place.is_ok());
        assert!(Queue::new(0).enter(None).is_err());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let queue = Queue::new(64);
        for i in 0..200 {
            drop(queue.enter(address(&format!("192.0.2.{i}"))));
        }
        assert!(queue.lock().by_address.is_empty());
        assert_eq!(queue.len(), 0);
    }
}
