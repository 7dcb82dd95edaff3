//! Listeners, workers, one record per request, dispatch, reload, graceful shutdown.
//!
//! Workers carry requests; everything that may be slow or block runs on the control runtime, which is
//! the one [`start`] is called on.

mod accept;
mod body;
pub mod dispatch;
pub mod examine;
mod live;
mod management;
mod own;
mod post;
mod preview;
mod record;
mod refuse;
mod reload;
mod request;
mod respond;
mod secret;
mod serve;
mod start;
mod stream_leave;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::api::Api;
use crate::clock::{Clock, Entropy};
use crate::config::AccountRules;
use crate::identity::access::Interner;
use crate::identity::hashing::Hasher;
use crate::portal::Portal;
use crate::session::Sessions;
use crate::store::Store;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Metrics;
use live::Live;

pub use reload::{ReloadError, Reloaded};
pub use serve::{ServeError, serve};
pub use start::{Options, Running, StartError, start};

/// Everything the tasks of one gateway share.
struct Gateway {
    live: ArcSwap<Live>,
    account_rules: Arc<ArcSwap<AccountRules>>,
    interner: Interner,
    sessions: Sessions,
    accounts: Accounts,
    hasher: Hasher,
    store: Store,
    api: Api,
    portal: Portal,
    metrics: Arc<Metrics>,
    access: Option<AccessLog>,
    clock: Clock,
    entropy: Entropy,
    control: Handle,
    drain: Drain,
    /// Why the file's configuration is not the one that serves.
    trouble: Mutex<Option<String>>,
}

impl Gateway {
    fn reload_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_reload_trouble(&self, trouble: Option<String>) {
        let stale = i64::from(trouble.is_some());
        let counters = &self.metrics.counters;
        counters.configuration_stale.store(stale, std::sync::atomic::Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The two moments of a shutdown.
#[derive(Default)]
struct Drain {
    /// No new connections and no further requests on open ones.
    begun: CancellationToken,
    /// What is still under way ends now.
    cut: CancellationToken,
}
