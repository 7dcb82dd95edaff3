//! Limits on failed sign-ins, on guesses at links, on registrations and on letters asked for: bounded
//! memory, sliding windows in monotonic time.
//!
//! Knows nothing of passwords, accounts or answers: it counts what it is told. Everything that is limited
//! is counted by one mechanism: a few counters, each by a key, of which any that is full refuses.

mod window;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::config::{AuthLimits, LONGEST_WINDOW, Rate};
use crate::web::client::limit_key;
use window::Window;

/// What is counted, and by what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Counter {
    FailuresOfAddress,
    FailuresOfPair,
    FailuresOfAccount,
    Links,
    States,
    Codes,
    Notices,
    Registrations,
    LettersOfAddress,
    LettersOfRecipient,
}

impl Counter {
    const ALL: [Self; 10] = [
        Self::FailuresOfAddress,
        Self::FailuresOfPair,
        Self::FailuresOfAccount,
        Self::Links,
        Self::States,
        Self::Codes,
        Self::Notices,
        Self::Registrations,
        Self::LettersOfAddress,
        Self::LettersOfRecipient,
    ];

    const fn rate(self, limits: &AuthLimits) -> Option<Rate> {
        match self {
            Self::FailuresOfAddress => limits.failures_per_address,
            Self::FailuresOfPair => limits.failures_per_account_and_address,
            Self::FailuresOfAccount => limits.failures_per_account,
            Self::Links | Self::States | Self::Codes | Self::Notices => limits.links_per_address,
            Self::Registrations => limits.registrations_per_address,
            Self::LettersOfAddress => limits.letters_per_address,
            Self::LettersOfRecipient => limits.letters_per_recipient,
        }
    }
}

/// Counts what is tried by people who have not proved anything yet, and says when it was too much.
///
/// Addresses count by client (IPv6 by /64); attempts whose address is unknown count as those of one. Tokens
/// of links that are not good are counted for themselves: whoever forgot a password has guessed at it
/// before, and still may reset it.
pub struct Limits {
    clock: Clock,
    /// Makes keys of accounts and addresses: 64 bits under a random key, so neither does the length
    /// of what was typed matter nor can anybody choose two that collide.
    hashing: RandomState,
    capacity: usize,
    windows: Mutex<Windows>,
}

/// A window for each counter, in the order of [`Counter::ALL`].
struct Windows([Window; Counter::ALL.len()]);

/// Where an attempt is counted.
#[derive(Clone, Copy)]
struct Mark {
    counter: Counter,
    key: u64,
    /// A full counter refuses the attempt.
    refuses: bool,
}

/// A failed sign-in that was written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastFailure {
    /// How long ago.
    pub age: Duration,
    /// Where from.
    pub address: Option<IpAddr>,
    /// The account as [`Limits::begin`] takes it; `None` where it is not known any more.
    pub account: Option<String>,
}

/// Too many failures or questions; when the oldest that counts will have left the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many attempts")]
pub struct Limited {
    /// Until the next attempt is looked at.
    pub retry_after: Duration,
}

impl Limits {
    /// At most `capacity` keys are remembered per window. Beyond it those go first that failed the
    /// fewest times (counted in powers of two), and among them the least recently failed: to push
    /// an account out that is near its limit, all others would have to fail as often as it did.
    #[must_use]
    pub fn new(clock: Clock, limits: &AuthLimits, capacity: usize) -> Self {
        let windows = Counter::ALL.map(|counter| Window::new(counter.rate(limits), capacity));
        let windows = Mutex::new(Windows(windows));
        Self { clock, hashing: RandomState::new(), capacity, windows }
    }

    /// Puts other limits in force; what was counted counts on.
    pub fn configure(&self, limits: &AuthLimits) {
        let mut windows = self.lock();
        for counter in Counter::ALL {
            windows.of(counter).configure(counter.rate(limits), self.capacity);
        }
    }

    /// Begins an attempt to sign in, counting it as failed at once, so that attempts in parallel cannot pass
    /// the limit together; [`Attempt::take_back`] says that it was none. `account` is one text for every
    /// name of an account, or the folded name as typed where there is none: unknown accounts are counted
    /// like known ones. `is_familiar`: it comes from the account's
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
    ) -> Result<Attempt<'_, 3>, Limited> {
        self.count(self.sign_in_marks(address, account, is_familiar))
    }

    /// Begins an attempt to spend the token of a link; as [`Limits::begin`].
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn begin_link(&self, address: Option<IpAddr>) -> Result<Attempt<'_, 1>, Limited> {
        self.count([self.mark(Counter::Links, address.map(limit_key))])
    }

    /// As [`Limits::begin_link`], for coming back from a provider with a state that is none; counted for
    /// itself, since another site can send somebody's browser there.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn begin_state(&self, address: Option<IpAddr>) -> Result<Attempt<'_, 1>, Limited> {
        self.count([self.mark(Counter::States, address.map(limit_key))])
    }

    /// As [`Limits::begin_link`], for coming back from a provider with a good state and a bad code.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn begin_code(&self, address: Option<IpAddr>) -> Result<Attempt<'_, 1>, Limited> {
        self.count([self.mark(Counter::Codes, address.map(limit_key))])
    }

    /// As [`Limits::begin_link`], for a provider's notice that is none; counted for itself, so that people
    /// who share a provider's address use up nothing of it, nor it of theirs.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn begin_notice(&self, address: Option<IpAddr>) -> Result<Attempt<'_, 1>, Limited> {
        self.count([self.mark(Counter::Notices, address.map(limit_key))])
    }

    /// Counts an attempt to register, or to have another e-mail, whatever comes of it.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn register(&self, address: Option<IpAddr>) -> Result<(), Limited> {
        self.count([self.mark(Counter::Registrations, address.map(limit_key))]).map(drop)
    }

    /// Counts a letter asked for, by whoever asks and by what about: a subject that does not exist is
    /// counted like one that does.
    ///
    /// # Errors
    /// [`Limited`]; nothing is counted then.
    pub fn ask(&self, client: Option<IpAddr>, subject: impl Hash) -> Result<(), Limited> {
        let marks = [
            self.mark(Counter::LettersOfAddress, client.map(limit_key)),
            self.mark(Counter::LettersOfRecipient, subject),
        ];
        self.count(marks).map(drop)
    }

    /// Counts failed sign-ins of the time before a restart, oldest first: otherwise whoever makes a gateway
    /// restart may guess anew.
    pub fn restore(&self, failures: &[PastFailure]) {
        let mut windows = self.lock();
        let now = self.now();
        for failure in failures {
            let age = u64::try_from(failure.age.as_nanos()).unwrap_or(u64::MAX);
            let Some(nanos) = now.as_nanos().checked_sub(age) else { continue };
            let account = failure.account.as_deref().unwrap_or_default();
            let marks = self.sign_in_marks(failure.address, account, false);
            let is_known = failure.account.is_some();
            for mark in marks.iter().filter(|m| is_known || m.counter == Counter::FailuresOfAddress)
            {
                // One at its limit counts no more.
                let _counted = windows.of(mark.counter).record(mark.key, Tick::from_nanos(nanos));
            }
        }
    }

    fn sign_in_marks(
        &self,
        address: Option<IpAddr>,
        account: &str,
        is_familiar: bool,
    ) -> [Mark; 3] {
        let address = address.map(limit_key);
        let [of_address, of_pair, of_account] = [
            self.mark(Counter::FailuresOfAddress, address),
            self.mark(Counter::FailuresOfPair, (account, address)),
            self.mark(Counter::FailuresOfAccount, account),
        ];
        let unless_familiar = |mark: Mark| Mark { refuses: !is_familiar, ..mark };
        [unless_familiar(of_address), of_pair, unless_familiar(of_account)]
    }

    fn mark(&self, counter: Counter, of: impl Hash) -> Mark {
        Mark { counter, key: self.hashing.hash_one(of), refuses: true }
    }

    /// Counts in every counter, unless one that may refuses.
    fn count<const N: usize>(&self, marks: [Mark; N]) -> Result<Attempt<'_, N>, Limited> {
        let mut windows = self.lock();
        // Read under the lock, so that what is counted later is never earlier.
        let at = self.now();
        let refusing = marks.iter().filter(|mark| mark.refuses);
        let waits = refusing.filter_map(|mark| windows.of(mark.counter).wait(mark.key, at));
        if let Some(retry_after) = waits.max() {
            return Err(Limited { retry_after });
        }
        let counted = marks.map(|mark| windows.of(mark.counter).record(mark.key, at));
        Ok(Attempt { limits: self, marks, counted, at })
    }

    /// The time, as far from its beginning as a window reaches back.
    fn now(&self) -> Tick {
        self.clock.tick().after(LONGEST_WINDOW)
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Windows {
    fn of(&mut self, counter: Counter) -> &mut Window {
        &mut self.0[counter as usize]
    }
}

/// An attempt under way. Dropped, it counts as a failure.
#[must_use]
pub struct Attempt<'a, const N: usize> {
    limits: &'a Limits,
    marks: [Mark; N],
    /// Whether it was counted: one that was exempt may have found a counter full.
    counted: [bool; N],
    at: Tick,
}

impl<const N: usize> Attempt<'_, N> {
    /// Uncounts the attempt: it succeeded, or nobody looked at it, because the hashing queue was full or
    /// the store away.
    pub fn take_back(self) {
        let mut windows = self.limits.lock();
        for (mark, _) in self.marks.iter().zip(self.counted).filter(|(_, counted)| *counted) {
            windows.of(mark.counter).forget(mark.key, self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn limits() -> (Limits, Clock) {
        let clock = Clock::adjustable();
        (Limits::new(clock.clone(), &AuthLimits::default(), 1000), clock)
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
        let mut windows = limits.lock();
        for counter in Counter::ALL {
            assert_eq!(windows.of(counter).len(), 0, "good attempts leave nothing");
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

    #[test]
    fn registrations_are_counted_by_address_whatever_comes_of_them() {
        let (limits, clock) = limits();
        assert_eq!(failures(|_| limits.register(address("2001:db8::1")).is_ok()), 20);
        assert!(limits.register(address("2001:db8::2")).is_err(), "of the same network");
        assert!(limits.register(numbered(1)).is_ok() && limits.begin_link(numbered(1)).is_ok());
        clock.advance_monotonic(Duration::from_hours(1));
        assert!(limits.register(address("2001:db8::1")).is_ok());
    }

    #[test]
    fn those_who_ask_and_what_about_have_a_limit_each_and_what_is_refused_does_not_count() {
        let (limits, clock) = limits();
        let asked = |client, subject: &str| limits.ask(numbered(client), subject).is_ok();
        assert!((0..5).all(|client| asked(client, "ann")));
        assert!(!asked(5, "ann"), "whoever asks");
        assert!((0..15).all(|number| asked(9, &format!("p{number}"))));
        assert!((0..5).all(|_| !asked(9, "ann")), "counts for nobody");
        assert!((15..20).all(|number| asked(9, &format!("p{number}"))));
        assert!(!asked(9, "bob") && asked(10, "bob"));
        clock.advance_monotonic(Duration::from_mins(10));
        assert!(asked(9, "bob") && !asked(9, "ann"));
        clock.advance_monotonic(Duration::from_mins(50));
        assert!(asked(9, "ann"));
    }

    #[test]
    fn counters_have_their_own_window_each() {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
        }
    }

    #[test]
    fn without_limits_nothing_is_counted_and_new_ones_are_in_force_at_once() {
        let (limits, _) = limits();
        assert_eq!(failures(|_| limits.begin(numbered(1), "ann", false).is_ok()), 10);
        limits.configure(&AuthLimits::OFF);
        assert_eq!(failures(|_| limits.begin(numbered(1), "ann", false).is_ok()), 1000);
        assert_eq!(failures(|_| limits.register(numbered(1)).is_ok()), 1000);
        let few = Some(Rate { times: 2, within: Duration::from_mins(1) });
        limits.configure(&AuthLimits { failures_per_account: few, ..AuthLimits::OFF });
        assert_eq!(failures(|i| limits.begin(numbered(i), "ann", false).is_ok()), 2);
    }

    #[test]
    fn failures_of_the_time_before_a_restart_count_for_as_long_as_they_would_have() {
        let (limits, clock) = limits();
        let minutes = |n| Duration::from_mins(n);
        let of = |age, account: Option<&str>| PastFailure {
            age,
            address: numbered(1),
            account: account.map(str::to_owned),
        };
        let mut past = vec![of(minutes(90), Some("ann")), of(minutes(11), Some("ann"))];
        past.extend((0..9).map(|_| of(minutes(6), Some("ann"))));
        past.push(of(minutes(1), None));
        limits.restore(&past);
        assert!(limits.begin(numbered(1), "ann", false).is_ok(), "nine and one");
        assert!(limits.begin(numbered(1), "ann", false).is_err());
        assert_eq!(failures(|i| limits.begin(numbered(1), &format!("u{i}"), false).is_ok()), 9);
        assert_eq!(failures(|i| limits.begin(numbered(2 + i), "ann", false).is_ok()), 89);
        clock.advance_monotonic(minutes(4));
        assert!(limits.begin(numbered(1), "bob", false).is_ok(), "nine have left the window");
    }
}
