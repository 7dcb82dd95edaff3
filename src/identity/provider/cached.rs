//! What is fetched from a provider and kept: one fetch at a time, a pause after a failure, and what was good
//! before stays in use while nothing newer can be had.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::error::ProviderError;
use crate::clock::{Clock, Tick};

/// After the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// At most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One kept value.
#[derive(Debug)]
pub(super) struct Cached<T> {
    /// For the log.
    name: String,
    clock: Clock,
    max_age: Duration,
    current: ArcSwapOption<Kept<T>>,
    /// Held while fetching.
    trials: Mutex<Trials>,
}

/// A value and when it was asked for.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) value: T,
    asked_at: Tick,
}

#[derive(Debug, Default)]
struct Trials {
    failures: u32,
    last: Option<Tick>,
    error: Option<ProviderError>,
}

impl Trials {
    /// Whether it is too early to ask again after a failure.
    fn is_pausing(&self, now: Tick) -> bool {
        let Some(last) = self.last.filter(|_| self.failures > 0) else { return false };
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(10));
        now.since(last) < doubled.min(LONGEST_PAUSE)
    }
}

impl<T> Cached<T> {
    pub(super) fn new(name: String, clock: Clock, max_age: Duration) -> Self {
        Self { name, clock, max_age, current: ArcSwapOption::empty(), trials: Mutex::default() }
    }

    /// What is known, if anything is, however old.
    pub(super) fn known(&self) -> Option<Arc<Kept<T>>> {
        self.current.load_full()
    }

    /// The value, fetched if there is none or it is too old.
    pub(super) async fn get<F>(
        &self,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<Kept<T>>, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let known = self.known();
        if let Some(kept) = known.as_ref().filter(|kept| self.is_fresh(kept)) {
            return Ok(Arc::clone(kept));
        }
        let mut trials = match known {
            // Somebody fetches already, and the old one will do until then.
            Some(old) => match self.trials.try_lock() {
                Ok(trials) => trials,
                Err(_) => return Ok(old),
            },
            None => self.trials.lock().await,
        };
        match self.known() {
            Some(kept) if self.is_fresh(&kept) || trials.is_pausing(self.clock.tick()) => Ok(kept),
            Some(old) => Ok(self.fetch_or(old, &mut trials, fetch).await),
            None => match trials.error.clone().filter(|_| trials.is_pausing(self.clock.tick())) {
                Some(error) => Err(error),
                None => self.fetch(&mut trials, fetch).await,
            },
        }
    }

    /// The value again because something in it was missing, unless it was asked for less than `interval`
    /// ago. What could not be had anew stays as it was.
    pub(super) async fn renew<F>(
        &self,
        seen: &Arc<Kept<T>>,
        interval: Duration,
        fetch: impl FnOnce() -> F,
    ) -> Arc<Kept<T>>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let mut trials = self.trials.lock().await;
        let known = self.known().unwrap_or_else(|| Arc::clone(seen));
        let is_early = trials.last.is_some_and(|last| self.clock.tick().since(last) < interval);
        if !Arc::ptr_eq(&known, seen) || is_early {
            return known;
        }
        self.fetch_or(known, &mut trials, fetch).await
    }

    async fn fetch_or<F>(
        &self,
        old: Arc<Kept<T>>,
        trials: &mut Trials,
        fetch: impl FnOnce() -> F,
    ) -> Arc<Kept<T>>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        self.fetch(trials, fetch).await.unwrap_or_else(|error| {
            let name = &self.name;
            tracing::warn!(provider = name, %error, "what is known of a provider could not be renewed");
            old
        })
    }

    fn is_fresh(&self, kept: &Kept<T>) -> bool {
        self.clock.tick().since(kept.asked_at) < self.max_age
    }

    async fn fetch<F>(
        &self,
        trials: &mut Trials,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<Kept<T>>, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let asked_at = self.clock.tick();
        // Noted before: a fetch whose caller went away counts as well.
        trials.last = Some(asked_at);
        match fetch().await {
            Ok(value) => {
                (trials.failures, trials.error) = (0, None);
                let kept = Arc::new(Kept { value, asked_at });
                self.current.store(Some(Arc::clone(&kept)));
                Ok(kept)
            }
            Err(error) => {
                // From now: what hung until its time was up would else be asked for again by everybody who
                // waited for it, one after another.
                trials.last = Some(self.clock.tick());
                trials.failures = trials.failures.saturating_add(1);
                trials.error = Some(error.clone());
                Err(error)
            }
        }
    }
}
