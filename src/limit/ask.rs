//! Limits on what somebody asks for without having proved anything: letters to an address.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Limited;
use super::window::Window;
use crate::clock::Clock;
use crate::web::client::limit_key;

/// Counts what is asked for: 20 per client (IPv6 by /64) in 10 minutes and 5 per subject in an hour,
/// whoever asks. A subject that does not exist is counted like one that does. Clients whose address is
/// unknown count as one.
pub struct AskLimits {
    clock: Clock,
    /// Makes keys under which nobody can choose two that collide.
    hashing: RandomState,
    windows: Mutex<Windows>,
}

struct Windows {
    client: Window,
    subject: Window,
}

impl AskLimits {
    /// At most `capacity` keys are remembered per window; those that asked most stay longest.
    #[must_use]
    pub fn new(clock: Clock, capacity: usize) -> Self {
        let windows = Windows {
            client: Window::new(20, Duration::from_mins(10), capacity),
            subject: Window::new(5, Duration::from_hours(1), capacity),
        };
        Self { clock, hashing: RandomState::new(), windows: Mutex::new(windows) }
    }

    /// Counts a question.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn ask(&self, client: Option<IpAddr>, subject: impl Hash) -> Result<(), Limited> {
        let client = self.hashing.hash_one(client.map(limit_key));
        let subject = self.hashing.hash_one(subject);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that what is counted later is never earlier.
        let now = self.clock.tick();
        let wait = windows.client.wait(client, now).max(windows.subject.wait(subject, now));
        if let Some(retry_after) = wait {
            return Err(Limited { retry_after });
        }
        // Neither is at its limit, so both count.
        let _counted = windows.client.record(client, now);
        let _counted = windows.subject.record(subject, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn clients_and_subjects_have_a_limit_each_and_what_is_refused_does_not_count() {
        let clock = Clock::adjustable();
        let limits = AskLimits::new(clock.clone(), 100);
        let asked = |client, subject: &str| limits.ask(Some(client), subject).is_ok();
        assert!((0..5).all(|number| asked(client(number), "ann")));
        assert!(!asked(client(5), "ann"), "whoever asks");
        assert!((0..15).all(|number| asked(client(9), &format!("p{number}"))));
        assert!((0..5).all(|_| !asked(client(9), "ann")), "counts for nobody");
        assert!((15..20).all(|number| asked(client(9), &format!("p{number}"))));
        assert!(!asked(client(9), "bob") && asked(client(10), "bob"));
        clock.advance_monotonic(Duration::from_mins(10));
        assert!(asked(client(9), "bob") && !asked(client(9), "ann"));
        clock.advance_monotonic(Duration::from_mins(50));
        assert!(asked(client(9), "ann"));
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let clock = Clock::adjustable();
        let limits = AskLimits::new(clock.clone(), 100);
        for number in 0..5 {
            assert!(limits.ask(Some(client(number)), "ann").is_ok());
            clock.advance_monotonic(Duration::from_mins(1));
        }
        let limited = limits.ask(Some(client(9)), "ann").err();
        let wait = limited.map(|limited| limited.retry_after.as_secs());
        assert!(wait.is_some_and(|wait| (55 * 60 - 5..=55 * 60).contains(&wait)), "{wait:?}");
    }
}
