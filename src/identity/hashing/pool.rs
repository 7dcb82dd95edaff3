//! The pool: so many verifications at a time, so much memory, one verification for every attempt,
//! and failed attempts that all take as long as the dearest kind.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::setpriority_process;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::kind::{Cost, Kind};
use super::queue::{Busy, Queue};
use super::stored::{Stored, hash_new};
use crate::clock::{Clock, Entropy, Tick};

/// KiB that come with a permit: what a hash of current parameters takes.
const WITH_PERMIT: u64 = 19 * 1024;

/// KiB of the budget at least, so that the dearest hash that is verified at all fits.
const MIN_BUDGET: u64 = 256 * 1024;

/// The pool. Cloning shares it.
#[derive(Clone)]
pub struct Hasher {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    entropy: Entropy,
    concurrent: usize,
    permits: Arc<Semaphore>,
    /// KiB beyond what comes with the permits.
    budget: Arc<Semaphore>,
    queue: Queue,
    verified: AtomicU64,
    waited_nanos: AtomicU64,
    floor_nanos: AtomicU64,
}

/// Numbers for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolStatus {
    /// Attempts waiting.
    pub waiting: usize,
    /// Verifications and hashings running.
    pub running: usize,
    /// Verifications finished since the start (dummy ones included; measurements and the hashing
    /// of new passwords are not).
    pub verified: u64,
    /// Time attempts have waited, summed.
    pub waited: Duration,
}

/// Leave to hash. Held on the hashing thread: a caller who goes away does not free what his
/// verification still uses.
struct Turn {
    _permit: OwnedSemaphorePermit,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Hasher {
    /// `concurrent` verifications at a time (at least one), `queue` waiting; memory budget
    /// concurrent × 19 MiB, at least 256 MiB. What a verification needs above 19 MiB is taken from
    /// the budget, so at most concurrent × 19 MiB and the budget are in use together.
    #[must_use]
    pub fn new(concurrent: usize, queue: usize, clock: Clock, entropy: Entropy) -> Self {
        let concurrent = concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let budget = WITH_PERMIT.saturating_mul(concurrent as u64).max(MIN_BUDGET);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            inner: Arc::new(Inner {
                clock,
                entropy,
                concurrent,
                permits: Arc::new(Semaphore::new(concurrent)),
                budget: Arc::new(Semaphore::new(budget)),
                queue: Queue::new(queue),
                verified: AtomicU64::new(0),
                waited_nanos: AtomicU64::new(0),
                floor_nanos: AtomicU64::new(0),
            }),
        }
    }

    /// Hashes a new password with current parameters. `from` as in [`Hasher::verify`].
    ///
    /// # Errors
    /// [`Busy`], also when the memory for it cannot be had.
    pub async fn hash(&self, password: SecretString, from: Option<IpAddr>) -> Result<String, Busy> {
        let salt = self.inner.entropy.bytes();
        let turn = self.inner.turn(Cost::CURRENT, from).await?;
        let work = move || hash_new(password.expose_secret().as_bytes(), &salt);
        run(turn, work).await.ok_or(Busy)
    }

    /// Runs exactly one verification: against `stored`, or against a hash of current parameters when
    /// there is none (or it is unusable). A failed attempt returns no earlier than the dearest kind
    /// present costs, counted from the moment the verification starts; waiting for that holds no
    /// permit. `from` is the client's address, of whom a quarter of the queue may be; those without
    /// one share a quarter.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
        from: Option<IpAddr>,
    ) -> Result<bool, Busy> {
        let real = stored.as_deref().and_then(readable);
        let is_real = real.is_some();
        let stored = real.unwrap_or_else(|| Stored::dummy(Cost::CURRENT));
        let turn = self.inner.turn(stored.cost(), from).await?;
        let started = self.inner.clock.tick();
        let inner = Arc::clone(&self.inner);
        let work = move || {
            let outcome = stored.matches(password.expose_secret().as_bytes());
            inner.verified.fetch_add(1, Ordering::Relaxed);
            outcome
        };
        let is_match = run(turn, work).await.unwrap_or(false);
        let is_right = is_match && is_real;
        if !is_right {
            self.wait_for_floor(started).await;
        }
        Ok(is_right)
    }

    async fn wait_for_floor(&self, started: Tick) {
        let left = self.floor().saturating_sub(self.inner.clock.tick().since(started));
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }

    /// What a failed attempt takes at least.
    pub(crate) fn floor(&self) -> Duration {
        Duration::from_nanos(self.inner.floor_nanos.load(Ordering::Relaxed))
    }

    /// Measures what a kind costs, in the pool, with a hash made for the purpose: the slower of two
    /// verifications. Waits for its turn outside the queue. Zero for a kind that is not verified.
    pub async fn measure(&self, kind: &Kind) -> Duration {
        let Some(cost) = kind.cost() else { return Duration::ZERO };
        let Ok(turn) = self.inner.wait_for_turn(cost).await else { return Duration::ZERO };
        let clock = self.inner.clock.clone();
        let work = move || {
            let stored = Stored::dummy(cost);
            let mut slowest = Duration::ZERO;
            for _ in 0..2 {
                let started = clock.tick();
                stored.matches(b"what does this kind cost?")?;
                slowest = slowest.max(clock.tick().since(started));
            }
            Ok(slowest)
        };
        run(turn, work).await.unwrap_or(Duration::ZERO)
    }

    /// Says what kinds are present and what each costs: the floor for failed attempts is the dearest
    /// of them and an eighth, since a verification takes now a little longer, now a little less, and
    /// those that take longer would tell the kind.
    pub fn set_costs(&self, costs: &[(Kind, Duration)]) {
        let dearest = costs.iter().map(|(_, cost)| *cost).max().unwrap_or_default();
        self.inner.floor_nanos.store(nanos(dearest + dearest / 8), Ordering::Relaxed);
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let inner = &self.inner;
        PoolStatus {
            waiting: inner.queue.len(),
            running: inner.concurrent.saturating_sub(inner.permits.available_permits()),
            verified: inner.verified.load(Ordering::Relaxed),
            waited: Duration::from_nanos(inner.waited_nanos.load(Ordering::Relaxed)),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Inner {
    /// A turn at once, or after waiting in the queue.
    async fn turn(&self, cost: Cost, from: Option<IpAddr>) -> Result<Turn, Busy> {
        if let Some(turn) = self.turn_at_once(cost) {
            return Ok(turn);
        }
        let arrived = self.clock.tick();
        let place = self.queue.enter(from)?;
        let turn = self.wait_for_turn(cost).await;
        drop(place);
        let waited = nanos(self.clock.tick().since(arrived));
        self.waited_nanos.fetch_add(waited, Ordering::Relaxed);
        turn
    }

    fn turn_at_once(&self, cost: Cost) -> Option<Turn> {
        let memory = match from_budget(cost) {
            0 => None,
            kib => Some(Arc::clone(&self.budget).try_acquire_many_owned(kib).ok()?),
        };
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Turn { _permit: permit, _memory: memory })
    }

    /// Memory comes first: whoever waits for it must not hold a permit that others could use.
    async fn wait_for_turn(&self, cost: Cost) -> Result<Turn, Busy> {
        let memory = match from_budget(cost) {
            0 => None,
            kib => Some(Arc::clone(&self.budget).acquire_many_owned(kib).await.map_err(|_| Busy)?),
        };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Busy)?;
        Ok(Turn { _permit: permit, _memory: memory })
    }
}

/// KiB above what comes with a permit. The caps on stored hashes keep it under the least budget.
fn from_budget(cost: Cost) -> u32 {
    u32::try_from(cost.memory().saturating_sub(WITH_PERMIT)).unwrap_or(u32::MAX)
}

/// A stored hash that can be verified. Why another cannot is for the operator to know.
fn readable(hash: &str) -> Option<Stored> {
    Stored::parse(hash).inspect_err(|error| tracing::warn!(%error, "sign-in not possible")).ok()
}

/// How much lower the priority of hashing is (nice levels): a burst of sign-ins takes the processor
/// from requests that are passed on only where there is some to spare.
const NICE: i32 = 10;

/// Runs work on a thread of its own, which holds the turn until it is done. Of its own, since a thread
/// cannot raise its priority again.
async fn run<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, super::stored::OutOfMemory> + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("hashing".to_owned()).spawn(move || {
        // On Linux this is the calling thread's own; at the usual priority hashing works as well.
        let _as_before = setpriority_process(None, NICE);
        let outcome = work();
        drop(turn);
        // Nobody may wait for it any more.
        let _gone = sender.send(outcome);
    });
    if let Err(error) = thread {
        tracing::error!(%error, "a thread for hashing cannot be started");
        return None;
    }
    match receiver.await {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            tracing::error!(%error, "hashing a password failed");
            None
        }
        Err(_panicked) => {
            tracing::error!("hashing a password failed");
            None
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// A few milliseconds.
    const CHEAP: &str = "$argon2id$v=19$m=1024,t=1,p=4$32vznAFZhS5FJDggczebsA$Jimoonuf8O1bcZ8hzrvNorAlaVpvmMTLxSvjWh7Z+mc";

    fn hasher(concurrent: usize, queue: usize) -> Hasher {
        Hasher::new(concurrent, queue, Clock::adjustable(), Entropy::seeded(1))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn verify(hasher: &Hasher, password: &str, stored: Option<&str>) -> Result<bool, Busy> {
        hasher.verify(password.into(), stored.map(str::to_owned), Some(address(1))).await
    }

    /// Lets other tasks run until something holds; the tests' time-out ends a wait in vain.
    async fn until(mut holds: impl FnMut() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn exactly_one_verification_runs_for_every_attempt() {
        let hasher = hasher(2, 8);
        let too_dear = CHEAP.replace("m=1024", "m=307200");
        let attempts = [
            ("correct horse", Some(CHEAP), true),
            ("wrong", Some(CHEAP), false),
            ("correct horse", None, false),
            ("correct horse", Some(too_dear.as_str()), false),
            ("correct horse", Some("not a hash"), false),
            ("", Some(""), false),
        ];
        for (before, (password, stored, expected)) in (0_u64..).zip(attempts) {
            assert_eq!(hasher.status().verified, before);
            assert_eq!(verify(&hasher, password, stored).await, Ok(expected), "{stored:?}");
        }
        assert_eq!(hasher.status().verified, 6);
        let hash = hasher.hash("x".into(), None).await.unwrap();
        assert_eq!(hasher.status().verified, 6, "making a hash is no verification");
        assert_eq!(verify(&hasher, "x", Some(&hash)).await, Ok(true));
    }

    #[tokio::test]
    async fn two_hashes_of_one_password_differ() {
        let hasher = hasher(2, 8);
        let (a, b) = (hasher.hash("x".into(), None).await, hasher.hash("x".into(), None).await);
        assert_ne!(a.unwrap(), b.unwrap());
    }

    #[tokio::test]
    async fn a_failed_attempt_takes_as_long_as_the_dearest_kind_and_a_good_one_does_not_wait() {
        let clock = Clock::system();
        let hasher = Hasher::new(2, 8, clock.clone(), Entropy::seeded(1));
        let (cheap, dear) = (Duration::from_millis(10), Duration::from_millis(400));
        hasher.set_costs(&[(Kind::current(), cheap), (Kind::from_stored("bcrypt:12"), dear)]);
        for stored in [Some(CHEAP), None, Some("not a hash")] {
            let started = clock.tick();
            assert_eq!(verify(&hasher, "wrong", stored).await, Ok(false));
            assert!(clock.tick().since(started) >= dear, "{stored:?}");
        }
        hasher.set_costs(&[(Kind::current(), Duration::from_hours(1))]);
        assert_eq!(verify(&hasher, "correct horse", Some(CHEAP)).await, Ok(true));
    }

    #[tokio::test]
    async fn waiting_for_the_floor_holds_no_permit() {
        let hasher = hasher(1, 0);
        hasher.set_costs(&[(Kind::current(), Duration::from_hours(1))]);
        let waiting = tokio::spawn({
            let hasher = hasher.clone();
            async move { verify(&hasher, "wrong", Some(CHEAP)).await }
        });
        until(|| hasher.status().verified == 1 && hasher.status().running == 0).await;
        assert_eq!(verify(&hasher, "correct horse", Some(CHEAP)).await, Ok(true));
        assert!(!waiting.is_finished());
        waiting.abort();
    }

    #[tokio::test]
    async fn beyond_the_queue_and_beyond_a_quarter_of_it_the_answer_is_busy() {
        let hasher = hasher(1, 8);
        let taken = hasher.inner.turn_at_once(Cost::CURRENT).unwrap();
        let mut waiting = Vec::new();
        for place in 0..8 {
            let (hasher, from) = (hasher.clone(), Some(address(place / 2)));
            waiting.push(tokio::spawn(async move {
                hasher.verify("correct horse".into(), Some(CHEAP.to_owned()), from).await
            }));
        }
        until(|| hasher.status().waiting == 8).await;
        let from_new = hasher.verify("x".into(), None, Some(address(100))).await;
        assert_eq!(from_new, Err(Busy), "the queue is full");
        waiting.pop().unwrap().abort();
        until(|| hasher.status().waiting == 7).await;
        let from_old = hasher.verify("x".into(), None, Some(address(0))).await;
        assert_eq!(from_old, Err(Busy), "a quarter is two");
        assert_eq!(hasher.status().running, 1);
        drop(taken);
        for attempt in waiting {
            assert_eq!(attempt.await.unwrap(), Ok(true));
        }
        assert_eq!(hasher.status().waiting, 0);
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_keeps_the_permit_until_the_verification_is_done() {
        let hasher = hasher(1, 4);
        let slow = CHEAP.replace("m=1024,t=1", "m=65536,t=3");
        let attempt = tokio::spawn({
            let hasher = hasher.clone();
            async move { verify(&hasher, "wrong", Some(&slow)).await }
        });
        until(|| hasher.status().running == 1).await;
        attempt.abort();
        assert!(attempt.await.unwrap_err().is_cancelled());
        let status = hasher.status();
        assert!(status.running == 1 || status.verified == 1, "{status:?}");
        until(|| hasher.status().running == 0).await;
        assert_eq!(hasher.status().verified, 1);
    }

    #[tokio::test]
    async fn dear_hashes_share_the_memory_while_ordinary_ones_go_on() {
        let hasher = hasher(4, 8);
        let dear = Cost::Argon2 {
            variant: argon2::Algorithm::Argon2id,
            memory: 256 * 1024,
            passes: 1,
            lanes: 1,
        };
        let first = hasher.inner.turn_at_once(dear).unwrap();
        assert!(hasher.inner.turn_at_once(dear).is_none(), "twice 237 MiB are not there");
        let second = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.inner.turn(dear, Some(address(1))).await.is_ok() }
        });
        until(|| hasher.status().waiting == 1).await;
        assert_eq!(hasher.status().running, 1, "who waits for memory holds no permit");
        assert_eq!(verify(&hasher, "correct horse", Some(CHEAP)).await, Ok(true));
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test]
    async fn a_kind_is_measured_and_an_unknown_one_costs_nothing() {
        let hasher = hasher(1, 0);
        for kind in
            [Kind::current().as_str(), "bcrypt:4", "scrypt:ln=8,r=8,p=1", "pbkdf2-sha1:1000"]
        {
            assert!(!hasher.measure(&Kind::from_stored(kind)).await.is_zero(), "{kind}");
        }
        for kind in ["", "md5", "bcrypt:31", "argon2id:m=300000,t=1,p=1"] {
            assert!(hasher.measure(&Kind::from_stored(kind)).await.is_zero(), "{kind}");
        }
        assert_eq!(hasher.status().verified, 0, "a measurement is nobody's attempt");
    }
}
