//! Who a session stands for, with what they may at one state of roles and configuration.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::identity::access::{Access, RoleBook, Subject};
use crate::identity::user::{RoleGrant, User};
use crate::store::{LoadedSession, SessionRow};

/// Identity headers, rendered. Their values share one piece of memory.
pub type HeaderSet = Box<[(HeaderName, HeaderValue)]>;

/// A state of roles and configuration: what numbers mean and how many identity profiles there are.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Differs between any two states of one process.
    pub(super) generation: u64,
    /// Generation of the configuration it was made for.
    pub(super) configuration: u64,
    pub(super) roles: RoleBook,
    pub(super) profiles: usize,
    pub(super) shared: SharedAccess,
}

impl Book {
    /// What somebody holding `grants` may at `now`.
    fn access(&self, grants: &[RoleGrant], now: Timestamp) -> Arc<Access> {
        self.shared.get(&self.roles, grants, now)
    }
}

/// What people may, kept once for all who hold the same roles: most people hold one of few sets.
#[derive(Debug, Default)]
pub(super) struct SharedAccess(Mutex<HashMap<Vec<String>, Arc<Access>>>);

/// Sets of roles remembered. Beyond it, and for grants with an end, everybody has their own.
const SHARED: usize = 10_000;

impl SharedAccess {
    fn get(&self, roles: &RoleBook, grants: &[RoleGrant], now: Timestamp) -> Arc<Access> {
        if grants.iter().any(|grant| grant.until.is_some()) {
            return Arc::new(roles.access(grants, now));
        }
        let mut held: Vec<String> = grants.iter().map(|grant| grant.role.clone()).collect();
        held.sort_unstable();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = known.get(&held) {
            return Arc::clone(access);
        }
        let access = Arc::new(roles.access(grants, now));
        if known.len() < SHARED {
            known.insert(held, Arc::clone(&access));
        }
        access
    }
}

/// When a session was last used, shared by every identity made of one cached session.
#[derive(Debug)]
pub(super) struct Seen {
    /// Microseconds: last use, known here.
    last: AtomicI64,
    /// Microseconds: last use written to the store, or about to be.
    written: AtomicI64,
}

/// Uses closer together than this are not told apart in memory, to keep a busy session's cache line
/// quiet.
const GRAIN: Duration = Duration::from_secs(1);

impl Seen {
    pub(super) fn new(seen: Timestamp) -> Self {
        let micros = seen.as_micros();
        Self { last: AtomicI64::new(micros), written: AtomicI64::new(micros) }
    }

    pub(super) fn last(&self) -> Timestamp {
        Timestamp::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// Notes a use; says whether it is now this caller's turn to write it.
    pub(super) fn note(&self, now: Timestamp, interval: Duration) -> bool {
        if now.since(self.last()) >= GRAIN {
            self.last.fetch_max(now.as_micros(), Ordering::Relaxed);
        }
        let written = self.written.load(Ordering::Relaxed);
        now.since(Timestamp::from_micros(written)) >= interval
            && self
                .written
                .compare_exchange(written, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Gives the turn back: the write could not be queued.
    pub(super) fn unwrite(&self, now: Timestamp, interval: Duration) {
        self.written.store(now.before(interval).as_micros(), Ordering::Relaxed);
    }
}

/// A session as it was loaded, and when it was last used. Every identity made of it shares it.
#[derive(Debug)]
struct Remembered {
    loaded: LoadedSession,
    seen: Seen,
}

/// Somebody known: the session with its owner and what they may right now. There may be a hundred
/// thousand of these in memory, so what people share (roles, permissions) is kept once.
#[derive(Debug)]
pub struct Identity {
    remembered: Arc<Remembered>,
    /// What policy looks at.
    pub subject: Subject,
    pub(super) generation: u64,
    configuration: u64,
    rendered: Box<[OnceLock<Option<Arc<HeaderSet>>>]>,
}

impl Identity {
    /// Resolves a session just loaded. What no request needs is not kept: the password hash, since
    /// caches end up in core dumps, and the agent.
    pub(super) fn resolve(mut loaded: LoadedSession, book: &Book, now: Timestamp) -> Self {
        loaded.user.password_hash = None;
        loaded.session.agent = String::new();
        loaded.grants.shrink_to_fit();
        let seen = Seen::new(loaded.session.last_seen);
        Self::of(Arc::new(Remembered { loaded, seen }), book, now)
    }

    /// The same session under another state of roles and configuration.
    pub(super) fn renewed(&self, book: &Book, now: Timestamp) -> Self {
        Self::of(Arc::clone(&self.remembered), book, now)
    }

    fn of(remembered: Arc<Remembered>, book: &Book, now: Timestamp) -> Self {
        let LoadedSession { user, grants, .. } = &remembered.loaded;
        Self {
            subject: Subject {
                id: user.id,
                email_folded: user.email_folded.clone(),
                is_verified: user.is_verified,
                has_username: user.username.is_some(),
                is_superuser: user.is_superuser,
                access: book.access(grants, now),
            },
            remembered,
            generation: book.generation,
            configuration: book.configuration,
            rendered: (0..book.profiles).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &SessionRow {
        &self.remembered.loaded.session
    }

    /// Its owner, without the password hash.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.remembered.loaded.user
    }

    /// Roles granted to the owner, past ones too.
    #[must_use]
    pub fn grants(&self) -> &[RoleGrant] {
        &self.remembered.loaded.grants
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.remembered.seen
    }

    /// The headers of an identity profile, rendered by `render` at most once per session and state.
    /// `configuration` is the generation the profile's number belongs to: while a reload is under way
    /// and it is another one, nothing is kept.
    ///
    /// `None` when rendering fails: the identity does not fit in headers.
    #[must_use]
    pub fn headers(
        &self,
        configuration: u64,
        profile: usize,
        render: impl FnOnce() -> Option<HeaderSet>,
    ) -> Option<Arc<HeaderSet>> {
        match self.rendered.get(profile) {
            Some(slot) if configuration == self.configuration => {
                slot.get_or_init(|| render().map(Arc::new)).clone()
            }
            Some(_) | None => render().map(Arc::new),
        }
    }

    /// When the session was last used, as far as this node knows.
    #[must_use]
    pub fn last_seen(&self) -> Timestamp {
        self.seen().last()
    }

    /// The nearest instant at which this identity ends or changes by itself: the absolute end, the
    /// idle limit, the end of a grant.
    #[must_use]
    pub fn nearest_end(&self) -> Timestamp {
        let idle =
            self.session().idle.map_or(Timestamp::NEVER, |idle| self.last_seen().after(idle));
        let grant = self.subject.access.until.unwrap_or(Timestamp::NEVER);
        self.session().expires_at.min(idle).min(grant)
    }

    /// How far apart writes of `last_seen` are: a tenth of the idle limit, or of an hour.
    pub(super) fn seen_interval(&self) -> Duration {
        self.session().idle.unwrap_or(Duration::from_hours(1)) / 10
    }
}
