//! The session cache: moka in front of the store, with loads that never outlive what they saw.
//!
//! moka keeps a value whose load began before an invalidation. So a load may cache only if no change
//! for its session or its owner was applied since it began; that is compared under the one lock that
//! invalidation takes as well. Loads of one session under way at the same time are one load, in a
//! task of its own: a client that goes away does not cancel it for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::identity::{Book, Identity, Remembered};
use super::ledger::{Ledger, Touched};
use crate::clock::Timestamp;
use crate::store::{Changed, LoadedSession, Store, StoreError};
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// A session's id.
pub(super) type Id = [u8; 32];

/// Deadline of one load, waiting for its turn included.
const LOAD: Duration = Duration::from_secs(1);
/// Loads at a time.
const LOADS: usize = 64;

/// A cached session, with what it is under the state of roles and configuration it was last used under.
#[derive(Debug)]
pub(super) struct Entry {
    remembered: Arc<Remembered>,
    identity: ArcSwap<Identity>,
}

impl Entry {
    fn new(loaded: LoadedSession, book: &Book, now: Timestamp) -> Self {
        let identity = Identity::resolve(loaded, book, now);
        Self {
            remembered: Arc::clone(identity.remembered()),
            identity: ArcSwap::from_pointee(identity),
        }
    }

    #[cfg(test)]
    fn is_kept(&self) -> bool {
        self.identity.load().is_kept()
    }

    /// The identity under the state of roles and configuration in force.
    pub(super) fn identity(&self, book: &Book, now: Timestamp) -> Arc<Identity> {
        let current = self.identity.load_full();
        if current.generation() == book.shared.generation {
            return current;
        }
        let made = Arc::new(current.renewed(book, now));
        self.identity.store(Arc::clone(&made));
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

/// The cache.
pub(super) struct SessionCache {
    entries: Cache<Id, Arc<Entry>>,
    /// What moka evicted and the ledger has not forgotten yet. Eviction runs on whatever thread uses
    /// the cache, possibly one that holds the ledger.
    evicted: Arc<Mutex<Vec<Arc<Remembered>>>>,
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
        let evicted: Arc<Mutex<Vec<Arc<Remembered>>>> = Arc::default();
        let heard = Arc::clone(&evicted);
        let entries = Cache::builder()
            .max_capacity(capacity)
            .eviction_listener(move |_id, entry: Arc<Entry>, cause| {
                // At once, since from here on no change finds it; the ledger hears of it only later.
                entry.remembered.set_kept(false);
                match cause {
                    RemovalCause::Size | RemovalCause::Expired => {
                        lock(&heard).push(Arc::clone(&entry.remembered));
                    }
                    // Let go of, or kept once more, by the one who asked for it.
                    RemovalCause::Explicit | RemovalCause::Replaced => {}
                }
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

    /// Has moka do now what it puts off: pushing out what is too much.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.entries.run_pending_tasks();
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
        let begun = lock(&self.ledger).sequence();
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
                    entry.remembered.follow(&former.remembered);
                }
                self.keep(begun, id, &entry);
                Ok(Some(entry))
            }
        }
    }

    /// Caches what a load that began after change number `begun` found, unless it may be stale.
    fn keep(&self, begun: u64, id: Id, entry: &Arc<Entry>) {
        let mut ledger = lock(&self.ledger);
        for evicted in lock(&self.evicted).drain(..) {
            ledger.let_go(&evicted);
        }
        if ledger.is_untouched(begun, &id, entry.remembered.owner()) {
            ledger.keep(&entry.remembered);
            self.entries.insert(id, Arc::clone(entry));
        }
    }

    /// Applies a change: what it touches is loaded anew before it is used again.
    pub(super) fn apply(&self, changed: &Changed) {
        match changed {
            Changed::User(user) => {
                let mut ledger = lock(&self.ledger);
                ledger.note(Touched::User(*user));
                for session in ledger.let_go_of_user(*user) {
                    self.entries.invalidate(session.id());
                }
            }
            Changed::Session(id) => {
                let mut ledger = lock(&self.ledger);
                ledger.note(Touched::Session(*id));
                if let Some(entry) = self.entries.remove(id) {
                    ledger.let_go(&entry.remembered);
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
        ledger.let_go_of_all();
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
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Database, DatabaseUrl};
    use crate::identity::user::{Method, User};
    use crate::store::{Migrate, SessionKind, SessionRow};

    pub(in crate::session) fn loaded(id: Id, user: Uuid) -> LoadedSession {
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
            origin: None,
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
            let begun = lock(&cache.ledger).sequence();
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
            assert!(cache.get(&id).is_some());
        }
        cache.apply(&Changed::User(ann));
        let cached: Vec<bool> = (1..=3).map(|n| cache.get(&[n; 32]).is_some()).collect();
        assert_eq!(cached, [false, false, true]);
    }

    #[tokio::test]
    async fn a_session_is_marked_as_kept_exactly_while_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory).await;
        let now = Timestamp::from_seconds(1_000_000);
        let keep = |number: u8| {
            let loaded = loaded([number; 32], Uuid::from_u128(u128::from(number / 2)));
            let entry = Arc::new(Entry::new(loaded, &Book::default(), now));
            assert!(!entry.is_kept(), "what was only loaded may be older than a change");
            let begun = lock(&cache.ledger).sequence();
            cache.keep(begun, [number; 32], &entry);
            (number, entry)
        };
        // Twice as many as there is room for, and some of them again.
        let mut all: Vec<_> = (0..200).chain(90..110).map(keep).collect();
        let mut check = |what: &str, most: usize| {
            cache.settle();
            let is_there = |(number, entry): &(u8, Arc<Entry>)| {
                cache.get(&[*number; 32]).is_some_and(|known| Arc::ptr_eq(&known, entry))
            };
            for one in &all {
                assert_eq!(one.1.is_kept(), is_there(one), "{what}: {}", one.0);
            }
            all.retain(is_there);
            assert!((1..=most).contains(&all.len()) || most == 0, "{what}: {}", all.len());
            all.first().map(|(number, _)| *number)
        };
        let first = check("pushed out", 100).unwrap();
        cache.apply(&Changed::Session([first; 32]));
        let next = check("ended", 99).unwrap();
        cache.apply(&Changed::User(Uuid::from_u128(u128::from(next / 2))));
        check("changed", 98).unwrap();
        cache.clear();
        assert_eq!(check("cleared", 0), None);
    }

    #[test]
    fn a_session_loaded_again_knows_the_uses_that_are_still_being_written() {
        let (id, user) = ([1; 32], Uuid::from_u128(1));
        let minute = Duration::from_mins(1);
        let later = Timestamp::from_seconds(1_000_000).after(10 * minute);
        let load = || Arc::new(Entry::new(loaded(id, user), &Book::default(), later));
        let notes = |entry: &Entry| {
            let identity = entry.identity.load();
            identity.seen().note(later) && identity.seen().may_write(later, minute)
        };
        let first = load();
        assert!(notes(&first), "the first use is written");
        let second = load();
        second.remembered.follow(&first.remembered);
        assert_eq!(second.identity.load().last_seen(), later);
        assert!(!notes(&second), "and the next is not written again");
        let seen = &second.identity.load();
        let much_later = later.after(minute);
        assert!(!seen.seen().may_write(later.after(minute / 2), minute));
        assert!(seen.seen().note(much_later) && seen.seen().may_write(much_later, minute));
        assert!(notes(&load()), "one that follows nothing has it written");
    }
}
