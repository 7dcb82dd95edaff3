//! Time and randomness as values.
//!
//! This is the only module that reads the system clock or the operating system's random source;
//! `clippy.toml` bans both elsewhere. Everything that depends on time takes a [`Clock`] or a time
//! as an argument, so a test moves time by hand.
//!
//! Two kinds of time exist and are never mixed: wall time ([`Timestamp`]) decides the ends of
//! sessions, grants and tokens; monotonic time ([`Tick`]) decides freshness, limit windows,
//! deadlines and latencies.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

/// A point in wall time: microseconds since 1970-01-01T00:00:00Z, as stored in the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The largest representable time, used where something never ends.
    pub const NEVER: Self = Self(i64::MAX);

    /// Builds a time from microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Builds a time from whole seconds since the Unix epoch (saturating).
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time moved forward (saturating).
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This time moved back (saturating).
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// The time passed since `earlier`; zero when `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads an RFC 3339 time such as `2027-01-31T18:00:00Z`.
    ///
    /// # Errors
    /// Returns `None` for text that is no RFC 3339 time with an offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|time| Self(time.as_microsecond()))
    }
}

impl Timestamp {
    /// RFC 3339 in UTC, with as many digits of a second as it has, so that [`Timestamp::parse`] reads the
    /// same time again: `2026-11-25T15:33:41.25Z`. A time that no calendar has is written as `never`.
    #[must_use]
    pub fn exact(self) -> String {
        let time = jiff::Timestamp::from_microsecond(self.0);
        time.map_or_else(|_| "never".to_owned(), |time| time.to_string())
    }
}

/// Writes RFC 3339 in UTC with whole seconds: `2026-11-25T15:33:41Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.as_seconds()) {
            Ok(time) => {
                write!(f, "{}", time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            }
            Err(_) => f.write_str("never"),
        }
    }
}

/// A point in monotonic time: nanoseconds since the clock was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(u64);

impl Tick {
    /// Builds a point from milliseconds since the clock was made.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Builds a point from nanoseconds since the clock was made.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Milliseconds since the clock was made, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Nanoseconds since the clock was made.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This point moved forward (saturating).
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time passed since `earlier`; zero when `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One moment in both kinds of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Wall time.
    pub now: Timestamp,
    /// Monotonic time.
    pub tick: Tick,
}

/// Reads both kinds of time. Cloning shares the clock.
///
/// [`Clock::system`] is the operating system's; [`Clock::adjustable`] runs along with it but can be
/// moved forward, which is what tests do.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    shift: Option<Arc<Shift>>,
}

#[derive(Debug, Default)]
struct Shift {
    wall_micros: AtomicI64,
    monotonic_nanos: AtomicU64,
}

impl Clock {
    /// The operating system's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        Self { origin: Instant::now(), shift: None }
    }

    /// A clock that runs with the system's and can be moved by [`Clock::advance`].
    #[must_use]
    pub fn adjustable() -> Self {
        Self { shift: Some(Arc::default()), ..Self::system() }
    }

    /// Moves both kinds of time forward. Does nothing on the system's clock.
    pub fn advance(&self, by: Duration) {
        self.advance_wall(by);
        self.advance_monotonic(by);
    }

    /// Moves wall time alone forward. Does nothing on the system's clock.
    pub fn advance_wall(&self, by: Duration) {
        if let Some(shift) = &self.shift {
            shift.wall_micros.fetch_add(micros(by), Ordering::SeqCst);
        }
    }

    /// Moves wall time alone back, as setting a clock right may: monotonic time never goes back. Does
    /// nothing on the system's clock.
    pub fn set_back_wall(&self, by: Duration) {
        if let Some(shift) = &self.shift {
            shift.wall_micros.fetch_sub(micros(by), Ordering::SeqCst);
        }
    }

    /// Moves monotonic time alone forward. Does nothing on the system's clock.
    pub fn advance_monotonic(&self, by: Duration) {
        if let Some(shift) = &self.shift {
            let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            shift.monotonic_nanos.fetch_add(nanos, Ordering::SeqCst);
        }
    }

    /// Wall time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shift = self.shift.as_ref().map_or(0, |s| s.wall_micros.load(Ordering::SeqCst));
        Timestamp(micros(since_epoch).saturating_add(shift))
    }

    /// Monotonic time.
    #[must_use]
    pub fn tick(&self) -> Tick {
        let elapsed = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let shift = self.shift.as_ref().map_or(0, |s| s.monotonic_nanos.load(Ordering::SeqCst));
        Tick(elapsed.saturating_add(shift))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A source of unpredictable bytes. Cloning shares the source.
#[derive(Clone, Debug)]
pub struct Entropy(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<AtomicU64>),
}

impl Entropy {
    /// The operating system's random source.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A predictable sequence, for tests and measurements only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// `N` fresh bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// Fills a slice with fresh bytes.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Source::System => {
                // The operating system's source cannot fail once the machine has booted; a process
                // that cannot have it must not go on.
                if aws_lc_rs::rand::fill(out).is_err() {
                    std::process::abort();
                }
            }
            Source::Seeded(state) => {
                for chunk in out.chunks_mut(8) {
                    let mixed = split_mix(state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst));
                    chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// A random (version 4) UUID, RFC 9562 section 5.4.
    #[must_use]
    pub fn uuid(&self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

/// `SplitMix64`'s output function.
const fn split_mix(seed: u64) -> u64 {
    let mut z = seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustable_clock_moves_both_times_and_a_system_clock_neither() {
        let clock = Clock::adjustable();
        let (wall, tick) = (clock.now(), clock.tick());
        clock.advance(Duration::from_hours(1));
        assert!(clock.now().since(wall) >= Duration::from_hours(1));
        assert!(clock.tick().since(tick) >= Duration::from_hours(1));
        let later = clock.tick();
        clock.set_back_wall(Duration::from_hours(2));
        assert!(wall.since(clock.now()) > Duration::from_mins(59) && clock.tick() >= later);
        let system = Clock::system();
        let before = system.now();
        system.advance(Duration::from_hours(1));
        assert!(system.now().since(before) < Duration::from_mins(1));
    }

    #[test]
    fn times_are_written_and_read_as_rfc_3339() {
        let time = Timestamp::from_seconds(1_700_000_000);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Timestamp::parse("2023-11-14T22:13:20Z"), Some(time));
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20+01:00"), Some(time));
        assert_eq!(Timestamp::parse("2023-11-14"), None);
        assert_eq!(Timestamp::NEVER.to_string(), "never");
    }

    #[test]
    fn seeded_bytes_repeat_and_system_bytes_do_not() {
        assert_eq!(Entropy::seeded(7).bytes::<16>(), Entropy::seeded(7).bytes::<16>());
        assert_ne!(Entropy::system().bytes::<16>(), Entropy::system().bytes::<16>());
    }
}
