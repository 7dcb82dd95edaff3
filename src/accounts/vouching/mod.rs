//! Signing in by a provider that vouches for somebody: a browser is sent away with a sealed state and comes
//! back with a code; what the provider then says leads to an account.
//!
//! What a provider speaks stands in `identity::provider`. Kept out: pages and JSON; what both answer when
//! nothing came of it is said once, in `error`.

mod arrival;
mod departure;
mod error;
mod keeping;
mod linking;
mod notice;
mod recheck;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

pub use arrival::{Arrival, Arrived};
pub use departure::{Departure, Gone, read_departure};
pub use error::VouchError;
pub use linking::ShownLink;
pub use notice::Farewell;
pub use state::Errand;

use super::visit::Visit;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config};
use crate::identity::provider::{Provider, ProviderError, Providers};

/// Codes that are redeemed at a time at one provider: each holds a connection to it.
const REDEEMED_AT_ONCE: usize = 64;

/// The providers in force. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Vouching {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    providers: ArcSwap<Providers>,
    /// By name, so that one that is slow takes no place from another; those that are configured.
    redeeming: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// When kept tokens could last not be opened.
    unreadable_at: Mutex<Option<Timestamp>>,
}

impl Vouching {
    /// Nobody vouches.
    #[must_use]
    pub fn none() -> Self {
        let (redeeming, unreadable_at) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { providers: ArcSwap::default(), redeeming, unreadable_at }) }
    }

    /// The providers of a configuration.
    ///
    /// # Errors
    /// [`ProviderError`]: no connection can be made at all.
    pub fn new(settings: &[Arc<config::Provider>], clock: &Clock) -> Result<Self, ProviderError> {
        let vouching = Self::none();
        vouching.configure(settings, clock)?;
        Ok(vouching)
    }

    /// Puts the providers of a changed configuration in force; what is known of those that stayed the same
    /// is kept.
    ///
    /// # Errors
    /// As [`Vouching::new`]; the former ones stay in force then.
    pub fn configure(
        &self,
        settings: &[Arc<config::Provider>],
        clock: &Clock,
    ) -> Result<(), ProviderError> {
        let renewed = self.inner.providers.load().renewed(settings, clock)?;
        self.inner.providers.store(Arc::new(renewed));
        let is_configured = |name: &String| settings.iter().any(|one| one.name == *name);
        self.lock_places().retain(|name, _| is_configured(name));
        Ok(())
    }

    /// All of them, as their buttons stand.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Provider>> {
        self.inner.providers.load().list().to_vec()
    }

    /// The places for redeeming codes of a provider.
    fn places(&self, provider: &str) -> Arc<Semaphore> {
        let mut places = self.lock_places();
        let of_one = places.entry(provider.to_owned());
        Arc::clone(of_one.or_insert_with(|| Arc::new(Semaphore::new(REDEEMED_AT_ONCE))))
    }

    fn lock_places(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Semaphore>>> {
        self.inner.redeeming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &str) -> Option<Arc<Provider>> {
        self.inner.providers.load().get(name)
    }
}

/// Whether people can sign in by providers at the host that a request was made to: they come back to
/// `public_url`, and cookies of other hosts do not come along.
#[must_use]
pub fn is_offered(visit: &Visit) -> bool {
    visit.own_origin.host == visit.config.public_url.host
}

/// A provider that did not answer in time.
fn too_long() -> ProviderError {
    ProviderError::Unreachable("it took too long".to_owned())
}

/// An address below the portal as others know it.
fn address(config: &Config, page: &str) -> String {
    format!("{}{}/{page}", config.public_url, config.portal.path)
}
