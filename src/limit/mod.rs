//! Limits on failed sign-ins and on guesses at links: bounded memory, sliding windows in monotonic time.
//!
//! Knows nothing of passwords, accounts or answers: it counts what it is told.

mod ask;
mod window;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::web::client::limit_key;
pub use ask::AskLimits;
use window::Window;

/// Counts failed sign-ins and says when there were too many.
///
/// 20 failures per address (IPv6 by /64) in 10 minutes, 10 per account and address in 10 minutes,
/// 100 per account in an hour. `account` is one text for every name of an account, or the folded name
/// as typed where there is none: unknown accounts are counted like known ones. Attempts whose address is
/// unknown count as those of one address. Tokens of links that are not good are counted for themselves, 20
/// per address in 10 minutes: whoever forgot a password has guessed at it before, and still may reset it.
pub struct SignInLimits {
    clock: Clock,
    /// Makes keys of accounts and addresses: 64 bits under a random key, so neither does the length
    /// of what was typed matter nor can anybody choose two that collide.
    hashing: RandomState,
    windows: Mutex<Windows>,
}

struct Windows {
    address: Window,
    pair: Window,
    account: Window,
    link: Window,
}

/// Where an attempt is counted.
#[derive(Clone, Copy)]
struct Keys {
    address: u64,
    pair: u64,
    account: u64,
}

/// Whether an attempt was counted in each window: one that was exempt may have found it full.
#[derive(Clone, Copy)]
struct Counted {
    address: bool,
    pair: bool,
    account: bool,
}

/// Too many failures or questions; when the oldest that counts will have left the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many attempts")]
pub struct Limited {
    /// Until the next attempt is looked at.
    pub retry_after: Duration,
}

impl SignInLimits {
    /// At most `capacity` keys are remembered per window. Beyond it those go first that failed the
    /// fewest times (counted in powers of two), and among them the least recently failed: to push
    /// an account out that is near its limit, all others would have to fail as often as it did.
    #[must_use]
    pub fn new(clock: Clock, capacity: usize) -> Self {
        let windows = Windows {
            address: Window::new(20, Duration::from_mins(10), capacity),
            pair: Window::new(10, Duration::from_mins(10), capacity),
            account: Window::new(100, Duration::from_hours(1), capacity),
            link: Window::new(20, Duration::from_mins(10), capacity),
        };
        Self { clock, hashing: RandomState::new(), windows: Mutex::new(windows) }
    }

    /// Begins an attempt, counting it as failed at once, so that attempts in parallel cannot pass the
    /// limit together; [`Attempt::take_back`] says that it was none. `is_familiar`: it comes from the account's
    /// last successful address or that of one of its live sessions, which exempts it from the
    /// address's and the account's limit, never from that of account and address together. Its
    /// failures count in all three nevertheless.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn begin(
        &self,
        address: Option<IpAddr>,
        account: &str,
        is_familiar: bool,
    ) -> Result<Attempt<'_>, Limited> {
        let address = address.map(limit_key);
        let keys = Keys {
            address: self.key(address),
            pair: self.key((account, address)),
            account: self.key(account),
        };
        let mut windows = self.lock();
        // Read under the lock, so that what is counted later is never earlier.
        let now = self.clock.tick();
        if let Some(retry_after) = windows.wait(keys, is_familiar, now) {
            return Err(Limited { retry_after });
        }
        let counted = Counted {
            address: windows.address.record(keys.address, now),
            pair: windows.pair.record(keys.pair, now),
            account: windows.account.record(keys.account, now),
        };
        Ok(Attempt { limits: self, keys, counted, at: now })
    }

    /// Begins an attempt to spend the token of a link; as [`SignInLimits::begin`].
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn begin_link(&self, address: Option<IpAddr>) -> Result<LinkAttempt<'_>, Limited> {
        let key = self.key(address.map(limit_key));
        let mut windows = self.lock();
        let at = self.clock.tick();
        if let Some(retry_after) = windows.link.wait(key, at) {
            return Err(Limited { retry_after });
        }
        // Under its limit, so it is counted.
        let _counted = windows.link.record(key, at);
        Ok(LinkAttempt { limits: self, key, at })
    }

    fn key(&self, of: impl Hash) -> u64 {
        self.hashing.hash_one(of)
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SignInLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInLimits").finish_non_exhaustive()
    }
}

impl Windows {
    /// How long to wait until every limit that applies lets an attempt through.
    fn wait(&self, keys: Keys, is_familiar: bool, now: Tick) -> Option<Duration> {
        let pair = self.pair.wait(keys.pair, now);
        if is_familiar {
            return pair;
        }
        pair.max(self.address.wait(keys.address, now)).max(self.account.wait(keys.account, now))
    }
}

/// An attempt under way. Dropped, it counts as a failure.
#[must_use]
pub struct Attempt<'a> {
    limits: &'a SignInLimits,
    keys: Keys,
    counted: Counted,
    at: Tick,
}

impl Attempt<'_> {
    /// Uncounts the attempt: it succeeded, or nobody looked at it, because the hashing queue was full or
    /// the store away.
    pub fn take_back(self) {
        let mut windows = self.limits.lock();
        if self.counted.address {
            windows.address.forget(self.keys.address, self.at);
        }
        if self.counted.pair {
            windows.pair.forget(self.keys.pair, self.at);
        }
        if self.counted.account {
            windows.account.forget(self.keys.account, self.at);
        }
    }
}

/// An attempt to spend the token of a link. Dropped, it counts as a guess.
#[must_use]
pub struct LinkAttempt<'a> {
    limits: &'a SignInLimits,
    key: u64,
    at: Tick,
}

impl LinkAttempt<'_> {
    /// Uncounts the attempt: the token was good, or nobody looked at it.
    pub fn take_back(self) {
        self.limits.lock().link.forget(self.key, self.at);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn limits() -> (SignInLimits, Clock) {
        let clock = Clock::adjustable();
        (SignInLimits::new(clock.clone(), 1000), clock)
    }

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn numbered(i: u32) -> Option<IpAddr> {
        0x0a00_0000_u32.checked_add(i).map(|number| IpAddr::from(number.to_be_bytes()))
    }

    /// Fails until refused, and says how often that went well.
    fn failures(mut begin: impl FnMut(u32) -> bool) -> u32 {
        (0..1000).take_while(|i| begin(*i)).count().try_into().unwrap()
    }

    #[test]
    fn each_limit_refuses_the_attempt_after_its_last() {
        let (limits, _) = limits();
        let from_one =
            failures(|i| limits.begin(address("192.0.2.1"), &format!("u{i}"), false).is_ok());
        assert_eq!(from_one, 20, "per address");
        let pair = failures(|_| limits.begin(address("192.0.2.2"), "ann", false).is_ok());
        assert_eq!(pair, 10, "per account and address");
        let on_one = failures(|i| limits.begin(numbered(i), "bob", false).is_ok());
        assert_eq!(on_one, 100, "per account");
        let unknown = failures(|i| limits.begin(None, &format!("v{i}"), false).is_ok());
        assert_eq!(unknown, 20, "unknown addresses are one");
    }

    #[test]
    fn guesses_at_links_are_counted_by_address_and_apart_from_sign_ins() {
        let (limits, clock) = limits();
        assert_eq!(failures(|i| limits.begin(numbered(1), &format!("u{i}"), false).is_ok()), 20);
        for _ in 0..50 {
            limits.begin_link(numbered(1)).unwrap().take_back();
        }
        assert_eq!(failures(|_| limits.begin_link(numbered(1)).is_ok()), 20);
        assert!(limits.begin_link(numbered(2)).is_ok());
        assert!(limits.begin(numbered(2), "ann", false).is_ok());
        clock.advance_monotonic(Duration::from_mins(10));
        assert!(limits.begin_link(numbered(1)).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_another_is_not() {
        let (limits, _) = limits();
        let within = failures(|i| {
            let from = address(&format!("2001:db8:0:1::{i:x}"));
            limits.begin(from, &format!("u{i}"), false).is_ok()
        });
        assert_eq!(within, 20);
        assert!(limits.begin(address("2001:db8:0:2::1"), "x", false).is_ok());
    }

    #[test]
    fn an_attempt_counts_from_its_beginning_and_a_good_one_is_taken_back() {
        let (limits, _) = limits();
        let mut open: Vec<_> =
            (0..10).map(|_| limits.begin(numbered(1), "ann", false).unwrap()).collect();
        assert!(limits.begin(numbered(1), "ann", false).is_err(), "ten are under way");
        open.pop().unwrap().take_back();
        assert!(limits.begin(numbered(1), "ann", false).is_ok());
        drop(open);
        assert!(limits.begin(numbered(1), "ann", false).is_err(), "dropped is failed");
        let (limits, _) = self::limits();
        for _ in 0..500 {
            limits.begin(numbered(1), "ann", false).unwrap().take_back();
        }
        let windows = limits.lock();
        for window in [&windows.address, &windows.pair, &windows.account] {
            assert_eq!(window.len(), 0, "good attempts leave nothing");
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_counts_nothing() {
        let (limits, clock) = limits();
        let minute = Duration::from_mins(1);
        for _ in 0..10 {
            clock.advance_monotonic(minute / 2);
            assert!(limits.begin(numbered(1), "ann", false).is_ok());
        }
        // The first of the ten is four and a half minutes old.
        let limited = limits.begin(numbered(1), "ann", false).err().unwrap();
        let (earliest, latest) = (Duration::from_secs(325), Duration::from_secs(330));
        assert!(limited.retry_after > earliest && limited.retry_after <= latest);
        clock.advance_monotonic(earliest);
        assert!(limits.begin(numbered(1), "ann", false).is_err());
        clock.advance_monotonic(Duration::from_secs(5));
        assert!(limits.begin(numbered(1), "ann", false).is_ok(), "one has left the window");
        assert!(limits.begin(numbered(1), "ann", false).is_err(), "one only");
    }

    #[test]
    fn wall_time_does_not_matter() {
        let (limits, clock) = limits();
        assert_eq!(failures(|_| limits.begin(numbered(1), "ann", false).is_ok()), 10);
        clock.advance_wall(Duration::from_hours(24));
        assert!(limits.begin(numbered(1), "ann", false).is_err());
        clock.advance_monotonic(Duration::from_mins(10));
        assert!(limits.begin(numbered(1), "ann", false).is_ok());
    }

    #[test]
    fn the_longest_wait_of_all_limits_in_the_way_is_told() {
        let (limits, _) = limits();
        assert_eq!(failures(|i| limits.begin(numbered(i), "ann", false).is_ok()), 100);
        let full = numbered(5000);
        assert_eq!(failures(|i| limits.begin(full, &format!("u{i}"), false).is_ok()), 20);
        let limited = limits.begin(full, "ann", false).err().unwrap();
        assert!(limited.retry_after > Duration::from_mins(50));
        let limited = limits.begin(full, "bob", false).err().unwrap();
        assert!(limited.retry_after <= Duration::from_mins(10));
    }

    #[test]
    fn a_familiar_address_is_exempt_from_two_limits_and_not_from_the_third() {
        let (limits, _) = limits();
        assert_eq!(failures(|i| limits.begin(numbered(i), "ann", false).is_ok()), 100);
        let home = numbered(5000);
        assert!(limits.begin(home, "ann", false).is_err(), "the account is at its limit");
        assert_eq!(failures(|i| limits.begin(home, &format!("u{i}"), false).is_ok()), 20);
        assert_eq!(failures(|_| limits.begin(home, "ann", true).is_ok()), 10);
        assert!(limits.begin(home, "bob", true).is_ok());
    }

    #[test]
    fn failures_from_a_familiar_address_count_for_others() {
        let (limits, _) = limits();
        for i in 0..20 {
            assert!(limits.begin(numbered(1), &format!("u{i}"), true).is_ok());
        }
        assert!(limits.begin(numbered(1), "ann", false).is_err());
        assert!(limits.begin(numbered(1), "ann", true).is_ok());
    }

    #[test]
    fn signing_in_with_success_does_not_free_a_full_address_for_guesses_at_others() {
        let (limits, _) = limits();
        let own = failures(|i| limits.begin(numbered(1), &format!("u{i}"), false).is_ok());
        assert_eq!(own, 20);
        for _ in 0..5 {
            limits.begin(numbered(1), "mallory", true).unwrap().take_back();
        }
        assert!(limits.begin(numbered(1), "ann", false).is_err());
    }

    #[test]
    fn account_and_address_do_not_run_together() {
        let (limits, _) = limits();
        assert_eq!(failures(|_| limits.begin(address("192.0.2.1"), "ann", false).is_ok()), 10);
        assert!(limits.begin(address("192.0.2.1"), "ann1", false).is_ok());
        assert!(limits.begin(address("192.0.2.2"), "ann", false).is_ok());
    }

    #[test]
    fn attempts_in_parallel_do_not_pass_a_limit_together() {
        let (limits, _) = limits();
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..50).filter(|_| limits.begin(numbered(1), "ann", false).is_ok()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 10);
    }
}
