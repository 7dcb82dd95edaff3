//! Remembering an identity between requests: issue, load, refresh, revoke, follow the change log.
//!
//! The store is the truth; a cache stands in front of it, believed only while *freshness*, the start
//! of the last good read of the change log, is younger than `sessions.max_staleness`. Whether a caller
//! may do something is not decided here.

mod cache;
mod cookie;
mod follow;
mod front;
#[cfg(test)]
mod histories;
mod identity;
mod issue;
mod ledger;
mod recognise;
mod seen;
mod shared;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use tokio::runtime::Handle;

use crate::clock::{Clock, Entropy, Tick, Timestamp};
use crate::config;
use crate::identity::access::{Interner, RoleBook};
use crate::identity::bearer::{AccessToken, Bearer};
use crate::identity::grant::Grant;
use crate::identity::keys::KeyRing;
use crate::store::{Changed, Store, StoreError};
use crate::telemetry::metrics::Metrics;

use cache::{Id, SessionCache};
use identity::Book;
use shared::Shared;

pub use follow::FollowError;
pub use front::Front;
pub use identity::{HeaderSet, Identity, Session};
pub use issue::{OpenError, OpenedBearer, OpenedCookie, Opening};
pub use watch::Watch;

/// The caller of a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody known.
    Anonymous,
    /// Somebody, by which credential.
    Known(Arc<Identity>, Carrier),
}

impl Caller {
    /// The identity, if somebody is known.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity, _) => Some(identity),
        }
    }
}

/// What carried a valid credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// The session cookie: cross-site checks apply.
    Cookie,
    /// A bearer token: they do not.
    Bearer,
}

/// The credentials of ours that a request carried, taken out of it. Nothing prints them.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Our session cookie's value.
    pub cookie: CookieCredential,
    /// Our bearer token, if `Authorization` held one.
    pub bearer: Option<String>,
}

/// What stood under the session cookie's name. Nothing prints it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum CookieCredential {
    /// Nothing.
    #[default]
    None,
    /// One value.
    One(Vec<u8>),
    /// Two or more: all ignored, and cleared.
    Several,
}

impl Credentials {
    /// Whether the request carried no credential of ours at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bearer.is_none() && self.cookie == CookieCredential::None
    }
}

/// Why a caller could not be told.
#[derive(Debug, thiserror::Error)]
pub enum RecogniseError {
    /// Bearer and cookie are valid and name different people: 400.
    #[error("the bearer token and the cookie name different people")]
    Contradiction,
    /// The store cannot say, and what is cached is too old: 503.
    #[error("the session cannot be looked up")]
    Unavailable,
}

/// What may change while the gateway runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Generation of the configuration; never used twice.
    pub configuration: u64,
    /// `sessions`.
    pub sessions: config::Sessions,
    /// `tokens`.
    pub tokens: config::Tokens,
    /// Roles of the file with what they grant.
    pub roles: BTreeMap<String, Vec<Grant>>,
    /// Permissions that rules name.
    pub named: Vec<Grant>,
    /// Number of identity profiles.
    pub profiles: usize,
}

/// What sessions are made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// Derived keys.
    pub keys: KeyRing,
    /// Access tokens.
    pub bearer: Bearer,
    /// Numbers for roles and permissions.
    pub interner: Interner,
    /// The clock.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The control runtime.
    pub control: Handle,
}

/// The sessions. Cloning shares them.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keys: KeyRing,
    bearer: Bearer,
    interner: Interner,
    clock: Clock,
    entropy: Entropy,
    metrics: Arc<Metrics>,
    cache: Arc<SessionCache>,
    tokens: Cache<Id, AccessToken>,
    settings: ArcSwap<Settings>,
    database_roles: ArcSwap<BTreeMap<String, Vec<Grant>>>,
    book: ArcSwap<Book>,
    generation: AtomicU64,
    /// Held while a book is put together, so that the newest parts win.
    binding: std::sync::Mutex<()>,
    /// Nanoseconds of the monotonic clock: the start of the last good read of the change log.
    freshness: AtomicU64,
    /// Nanoseconds: `sessions.max_staleness`.
    max_staleness: AtomicU64,
    watches: watch::Watches,
    seen: seen::SeenWriter,
}

impl Sessions {
    /// Puts the sessions together; nothing is read yet.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let capacity = settings.sessions.cache_entries;
        let cache = SessionCache::new(capacity, parts.store.clone(), parts.control.clone());
        let seen = seen::SeenWriter::start(parts.store.clone(), &parts.control);
        let max_staleness = AtomicU64::new(nanos(settings.sessions.max_staleness));
        let inner = Inner {
            store: parts.store,
            keys: parts.keys,
            bearer: parts.bearer,
            interner: parts.interner,
            clock: parts.clock,
            entropy: parts.entropy,
            metrics: parts.metrics,
            cache: Arc::new(cache),
            tokens: Cache::new(capacity),
            settings: ArcSwap::from_pointee(settings),
            database_roles: ArcSwap::default(),
            book: ArcSwap::default(),
            generation: AtomicU64::new(0),
            binding: std::sync::Mutex::default(),
            freshness: AtomicU64::new(0),
            max_staleness,
            watches: watch::Watches::default(),
            seen,
        };
        inner.bind();
        Self { inner: Arc::new(inner) }
    }

    /// Reads roles and change log for the first time, then follows the log on the current runtime for
    /// as long as the returned task lives.
    ///
    /// # Errors
    /// [`FollowError`] when the first read fails.
    pub async fn follow(&self) -> Result<tokio::task::JoinHandle<()>, FollowError> {
        let mut reader = follow::Reader::default();
        reader.read_first(&self.inner).await?;
        Ok(tokio::spawn(follow::follow(Arc::clone(&self.inner), reader)))
    }

    /// Puts changed settings in force; open streams are looked at again.
    pub fn configure(&self, settings: Settings) {
        let max_staleness = nanos(settings.sessions.max_staleness);
        self.inner.max_staleness.store(max_staleness, Ordering::Relaxed);
        self.inner.settings.store(Arc::new(settings));
        self.inner.bind();
        self.inner.watches.wake_all();
    }

    /// Has the leave of every open stream looked at again.
    pub fn look_again(&self) {
        self.inner.watches.wake_all();
    }

    /// How old the last good read of the change log is.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        let fresh_at = Tick::from_nanos(self.inner.freshness.load(Ordering::Acquire));
        self.inner.clock.tick().since(fresh_at)
    }

    /// Whether cached sessions may be used now.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.inner.is_fresh(self.inner.clock.tick())
    }

    /// Sessions cached.
    #[must_use]
    pub fn cached(&self) -> u64 {
        self.inner.cache.len()
    }

    /// Watches a session for an open stream.
    #[must_use]
    pub fn watch(&self, identity: &Identity) -> Watch {
        self.inner.watches.watch(identity.session().id, identity.user().id)
    }

    /// Watches roles and configuration for an open stream of nobody known.
    #[must_use]
    pub fn watch_nobody(&self) -> Watch {
        self.inner.watches.watch_nobody()
    }

    /// Notes that a session was used; writes `last_seen` later if it is due. Never waits.
    pub fn touch(&self, identity: &Arc<Identity>, now: Timestamp) {
        self.inner.seen.touch(identity, now);
    }

    /// Applies here at once what was just written to the store; the change log brings it elsewhere.
    pub fn apply(&self, changed: &Changed) {
        self.inner.cache.apply(changed);
        self.inner.watches.wake(changed);
    }
}

impl Inner {
    /// Puts roles and configuration together into a new state.
    fn bind(&self) {
        let _binding = self.binding.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let settings = self.settings.load();
        let database = self.database_roles.load();
        let roles = RoleBook::new(&self.interner, &settings.roles, &database, &settings.named);
        // Before the book is in force: see [`Inner::recall`].
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let shared = Arc::new(Shared::new(generation, settings.configuration));
        self.book.store(Arc::new(Book { roles, profiles: settings.profiles, shared }));
    }

    async fn load_roles(&self) -> Result<(), StoreError> {
        let rows = self.store.list_roles().await?;
        let roles = rows.into_iter().map(|row| (row.name, row.grants)).collect();
        self.database_roles.store(Arc::new(roles));
        self.bind();
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
