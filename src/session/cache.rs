//! The session cache: moka in front of the store, with loads that never outlive what they saw.
//!
//! moka keeps a value whose load began before an invalidation. So a load may cache only if no change
//! for its session or its owner was applied since it began; that is compared under the one lock that
//! invalidation takes as well. Loads of one session under way at the same time are one load, in a
//! task of its own: a client that goes away does not cancel it for the others.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::identity::{Book, Identity};
use crate::clock::Timestamp;
use crate::store::{Changed, LoadedSession, Store, StoreError};

/// A session's id.
pub(super) type Id = [u8; 32];

/// Deadline of one load, waiting for its turn included.
const LOAD: Duration = Duration::from_secs(1);
/// Loads at a time.
const LOADS: usize = 64;
/// Changes remembered for loads under way. A load that began before the oldest does not cache.
const REMEMBERED: usize = 1024;

/// A cached session.
#[derive(Debug)]
pub(super) struct Entry(ArcSwap<Identity>);

impl Entry {
    fn new(loaded: LoadedSession, book: &Book, now: Timestamp) -> Self {
        Self(ArcSwap::from_pointee(Identity::resolve(loaded, book, now)))
    }

    /// Knows what the entry it replaces knew of uses that may not be in the store yet: else every load
    /// would have `last_seen` written once more.
    fn follow(&self, former: &Self) {
        self.0.load().seen().follow(former.0.load().seen());
    }

    fn owner(&self) -> Uuid {
        self.0.load().user().id
    }

    /// The identity under the state of roles and configuration in force.
    pub(super) fn identity(&self, book: &Book, now: Timestamp) -> Arc<Identity> {
        let current = self.0.load_full();
        if current.generation == book.generation {
            return current;
        }
        let made = Arc::new(current.renewed(book, now));
        self.0.store(Arc::clone(&made));
        made
    }
}

/// Why a load failed; shared by everyone who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The store failed or did not answer in time.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// No answer within the deadline.
    #[error("the store did not answer in time")]
    TimedOut,
}

type Flight = Shared<BoxFuture<'static, Result<Option<Arc<Entry>>, LoadError>>>;

/// Loads under way, numbered, so that a load that ends takes only itself off the list.
#[derive(Default)]
struct Flights {
    last: u64,
    by_session: HashMap<Id, (u64, Flight)>,
}

/// Takes a load off the list when it ends, however it ends.
struct Landing<'a> {
    flights: &'a Mutex<Flights>,
    id: Id,
    number: u64,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = lock(self.flights);
        if flights.by_session.get(&self.id).is_some_and(|(number, _)| *number == self.number) {
            flights.by_session.remove(&self.id);
        }
    }
}

/// What was applied lately, and whose sessions are cached.
#[derive(Debug, Default)]
struct Ledger {
    /// Number of the last change applied.
    sequence: u64,
    recent: VecDeque<(u64, Touched)>,
    /// Owner and session.
    cached: BTreeSet<(Uuid, Id)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Touched {
    User(Uuid),
    Session(Id),
    Everything,
}

impl Ledger {
    fn note(&mut self, touched: Touched) {
        self.sequence += 1;
        self.recent.push_back((self.sequence, touched));
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// Whether nothing for this session or owner was applied after change number `begun`.
    fn is_untouched(&self, begun: u64, id: &Id, user: Uuid) -> bool {
        let complete = self.recent.front().is_none_or(|(first, _)| *first <= begun + 1);
        complete
            && self.recent.iter().filter(|(sequence, _)| *sequence > begun).all(|(_, touched)| {
                match touched {
                    Touched::User(other) => *other != user,
                    Touched::Session(other) => other != id,
                    Touched::Everything => false,
                }
            })
    }

    /// Takes a person's sessions off the list.
    fn forget_all_of(&mut self, user: Uuid) -> Vec<Id> {
        let range = (user, [u8::MIN; 32])..=(user, [u8::MAX; 32]);
        let ids: Vec<Id> = self.cached.range(range).map(|(_, id)| *id).collect();
        for id in &ids {
            self.cached.remove(&(user, *id));
        }
        ids
    }
}

/// The cache.
pub(super) struct SessionCache {
    entries: Cache<Id, Arc<Entry>>,
    /// What moka evicted and the ledger has not forgotten yet. Eviction runs on whatever thread uses
    /// the cache, possibly one that holds the ledger.
    evicted: Arc<Mutex<Vec<(Uuid, Id)>>>,
    ledger: Mutex<Ledger>,
    flights: Mutex<Flights>,
    turns: Semaphore,
    control: Handle,
    store: Store,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionCache {
    pub(super) fn new(capacity: u64, store: Store, control: Handle) -> Self {
        let evicted: Arc<Mutex<Vec<(Uuid, Id)>>> = Arc::default();
        let heard = Arc::clone(&evicted);
        let entries = Cache::builder()
            .max_capacity(capacity)
            .eviction_listener(move |id: Arc<Id>, entry: Arc<Entry>, cause| match cause {
                RemovalCause::Size | RemovalCause::Expired => {
                    lock(&heard).push((entry.owner(), *id));
                }
                // Forgotten, or still cached, by the one who asked for it.
                RemovalCause::Explicit | RemovalCause::Replaced => {}
            })
            .build();
        Self {
            entries,
            evicted,
            ledger: Mutex::default(),
            flights: Mutex::default(),
            turns: Semaphore::new(LOADS),
            control,
            store,
        }
    }

    /// A cached session.
    pub(super) fn get(&self, id: &Id) -> Option<Arc<Entry>> {
        self.entries.get(id)
    }

    /// Sessions cached.
    pub(super) fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Loads a session, or joins the load of it that is under way.
    pub(super) fn load(self: &Arc<Self>, id: Id, book: Arc<Book>, now: Timestamp) -> Flight {
        let mut flights = lock(&self.flights);
        if let Some((_, flight)) = flights.by_session.get(&id) {
            return flight.clone();
        }
        flights.last += 1;
        let number = flights.last;
        let cache = Arc::clone(self);
        let task = self.control.spawn(async move {
            let _landing = Landing { flights: &cache.flights, id, number };
            cache.fetch(id, &book, now).await
        });
        let flight = async move { task.await.unwrap_or(Err(LoadError::TimedOut)) }.boxed().shared();
        flights.by_session.insert(id, (number, flight.clone()));
        flight
    }

    async fn fetch(
        &self,
        id: Id,
        book: &Book,
        now: Timestamp,
    ) -> Result<Option<Arc<Entry>>, LoadError> {
        let begun = lock(&self.ledger).sequence;
        let found = tokio::time::timeout(LOAD, async {
            // The semaphore is never closed.
            let _turn = self.turns.acquire().await;
            self.store.find_session(&id).await
        })
        .await;
        match found {
            Err(_elapsed) => Err(LoadError::TimedOut),
            Ok(Err(error)) => Err(LoadError::Store(Arc::new(error))),
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(loaded))) => {
                let entry = Arc::new(Entry::new(loaded, book, now));
                if let Some(former) = self.entries.get(&id) {
                    entry.follow(&former);
                }
                self.keep(begun, id, &entry);
                Ok(Some(entry))
            }
        }
    }

    /// Caches what a load that began after change number `begun` found, unless it may be stale.
    fn keep(&self, begun: u64, id: Id, entry: &Arc<Entry>) {
        let user = entry.owner();
        let mut ledger = lock(&self.ledger);
        for (owner, evicted) in lock(&self.evicted).drain(..) {
            // One that was cached again meanwhile is still its owner's.
            if !self.entries.contains_key(&evicted) {
                ledger.cached.remove(&(owner, evicted));
            }
        }
        if ledger.is_untouched(begun, &id, user) {
            ledger.cached.insert((user, id));
            self.entries.insert(id, Arc::clone(entry));
        }
    }

    /// Applies a change: what it touches is loaded anew before it is used again.
    pub(super) fn apply(&self, changed: &Changed) {
        match changed {
            Changed::User(user) => {
                let mut ledger = lock(&self.ledger);
                ledger.note(Touched::User(*user));
                for id in ledger.forget_all_of(*user) {
                    self.entries.invalidate(&id);
                }
            }
            Changed::Session(id) => {
                let mut ledger = lock(&self.ledger);
                ledger.note(Touched::Session(*id));
                if let Some(entry) = self.entries.remove(id) {
                    ledger.cached.remove(&(entry.owner(), *id));
                }
            }
            // What a role grants is not part of a cached session.
            Changed::Role(_) => return,
        }
        self.detach();
    }

    /// Empties the cache.
    pub(super) fn clear(&self) {
        let mut ledger = lock(&self.ledger);
        ledger.note(Touched::Everything);
        ledger.cached.clear();
        self.entries.invalidate_all();
        drop(ledger);
        self.detach();
    }

    /// Whoever asks from now on does not join a load that began before the change.
    fn detach(&self) {
        lock(&self.flights).by_session.clear();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Database, DatabaseUrl};
    use crate::identity::user::{Method, User};
    use crate::store::{Migrate, SessionKind, SessionRow};

    fn loaded(id: Id, user: Uuid) -> LoadedSession {
        let now = Timestamp::from_seconds(1_000_000);
        let session = SessionRow {
            id,
            user,
            method: Method::Password,
            kind: SessionKind::Cookie,
            created_at: now,
            last_seen: now,
            idle: None,
            expires_at: Timestamp::NEVER,
            address: None,
            agent: String::new(),
        };
        let user = User { id: user, created_at: now, ..User::sample() };
        LoadedSession { session, user, grants: Vec::new() }
    }

    async fn cache(directory: &tempfile::TempDir) -> SessionCache {
        let database = Database {
            url: DatabaseUrl::Sqlite(directory.path().join("portcullis.db")),
            max_connections: 1,
            acquire_timeout: LOAD,
        };
        let store = Store::open(&database, Migrate::Fully, Clock::system()).await.unwrap();
        SessionCache::new(100, store, Handle::current())
    }

    /// The load is paused where it hurts: it has read, and has not yet cached what it read.
    #[tokio::test]
    async fn a_load_that_a_change_overtakes_is_used_once_and_not_cached() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory).await;
        let (id, user) = ([1; 32], Uuid::from_u128(1));
        let now = Timestamp::from_seconds(1_000_000);
        for (changed, is_kept) in [
            (None, true),
            (Some(Changed::User(user)), false),
            (Some(Changed::Session(id)), false),
            (Some(Changed::User(Uuid::from_u128(2))), true),
            (Some(Changed::Role("editor".into())), true),
        ] {
            cache.clear();
            let begun = lock(&cache.ledger).sequence;
            let entry = Arc::new(Entry::new(loaded(id, user), &Book::default(), now));
            if let Some(changed) = &changed {
                cache.apply(changed);
            }
            cache.keep(begun, id, &entry);
            assert_eq!(cache.get(&id).is_some(), is_kept, "{changed:?}");
        }
    }

    #[tokio::test]
    async fn a_change_of_a_person_forgets_their_sessions_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory).await;
        let (ann, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let now = Timestamp::from_seconds(1_000_000);
        for (id, user) in [([1; 32], ann), ([2; 32], ann), ([3; 32], ben)] {
            let entry = Arc::new(Entry::new(loaded(id, user), &Book::default(), now));
            cache.keep(0, id, &entry);
            let identity = cache.get(&id).unwrap().identity(&Book::default(), now);
            assert_eq!(identity.user().password_hash, None, "a hash is not kept in memory");
        }
        cache.apply(&Changed::User(ann));
        let cached: Vec<bool> = (1..=3).map(|n| cache.get(&[n; 32]).is_some()).collect();
        assert_eq!(cached, [false, false, true]);
    }

    #[test]
    fn a_session_loaded_again_knows_the_uses_that_are_still_being_written() {
        let (id, user) = ([1; 32], Uuid::from_u128(1));
        let minute = Duration::from_mins(1);
        let later = Timestamp::from_seconds(1_000_000).after(10 * minute);
        let load = || Arc::new(Entry::new(loaded(id, user), &Book::default(), later));
        let notes = |entry: &Entry| entry.0.load().seen().note(later, minute);
        let first = load();
        assert!(notes(&first), "the first use is written");
        let second = load();
        second.follow(&first);
        assert_eq!(second.0.load().last_seen(), later);
        assert!(!notes(&second), "and the next is not written again");
        assert!(notes(&load()), "one that follows nothing has it written");
    }

    #[test]
    fn a_load_may_cache_only_if_nothing_of_its_own_changed_since_it_began() {
        let (user, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (id, foreign) = ([1; 32], [2; 32]);
        for (touched, may) in [
            (Touched::User(user), false),
            (Touched::User(other), true),
            (Touched::Session(id), false),
            (Touched::Session(foreign), true),
            (Touched::Everything, false),
        ] {
            let mut ledger = Ledger::default();
            ledger.note(Touched::User(user));
            let begun = ledger.sequence;
            assert!(ledger.is_untouched(begun, &id, user), "what came before does not count");
            ledger.note(touched);
            assert_eq!(ledger.is_untouched(begun, &id, user), may, "{touched:?}");
        }
    }

    #[test]
    fn a_load_older_than_what_is_remembered_does_not_cache() {
        let mut ledger = Ledger::default();
        let begun = ledger.sequence;
        for _ in 0..=REMEMBERED {
            ledger.note(Touched::User(Uuid::from_u128(9)));
        }
        assert!(!ledger.is_untouched(begun, &[1; 32], Uuid::from_u128(1)));
    }
}
