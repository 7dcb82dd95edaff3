//! Who a session stands for, with what they may at one state of roles and configuration.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::identity::access::{RoleBook, Subject};
use crate::identity::user::{RoleGrant, User};
use crate::store::{LoadedSession, SessionRow};

/// Identity headers, rendered.
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

/// Somebody known: the session with its owner and what they may right now.
#[derive(Debug)]
pub struct Identity {
    /// The session.
    pub session: SessionRow,
    /// Its owner, without the password hash.
    pub user: User,
    /// Roles granted, past ones too.
    pub grants: Vec<RoleGrant>,
    /// What policy looks at.
    pub subject: Subject,
    /// Every permission held, known ones expanded, then wildcards.
    pub expanded_permissions: Vec<String>,
    pub(super) generation: u64,
    configuration: u64,
    rendered: Box<[OnceLock<Option<Arc<HeaderSet>>>]>,
    pub(super) seen: Arc<Seen>,
}

impl Identity {
    /// An identity outside any cache: the session, and what its owner may by a role book at `now`.
    #[must_use]
    pub fn new(loaded: &LoadedSession, roles: RoleBook, now: Timestamp) -> Self {
        let book = Book { generation: 0, configuration: 0, roles, profiles: 0 };
        let seen = Arc::new(Seen::new(loaded.session.last_seen));
        Self::resolve(loaded.clone(), seen, &book, now)
    }

    /// The same person under another state of roles and configuration.
    pub(super) fn under(&self, book: &Book, now: Timestamp) -> Self {
        let loaded = LoadedSession {
            session: self.session.clone(),
            user: self.user.clone(),
            grants: self.grants.clone(),
        };
        Self::resolve(loaded, Arc::clone(&self.seen), book, now)
    }

    pub(super) fn resolve(
        loaded: LoadedSession,
        seen: Arc<Seen>,
        book: &Book,
        now: Timestamp,
    ) -> Self {
        let LoadedSession { session, user, grants } = loaded;
        let access = book.roles.access(&grants, now);
        Self {
            session,
            expanded_permissions: book.roles.expanded(&access),
            subject: Subject {
                id: user.id,
                email_folded: user.email_folded.clone(),
                is_verified: user.is_verified,
                has_username: user.username.is_some(),
                is_superuser: user.is_superuser,
                access,
            },
            grants,
            user,
            generation: book.generation,
            configuration: book.configuration,
            rendered: (0..book.profiles).map(|_| OnceLock::new()).collect(),
            seen,
        }
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
        self.seen.last()
    }

    /// The nearest instant at which this identity ends or changes by itself: the absolute end, the
    /// idle limit, the end of a grant.
    #[must_use]
    pub fn nearest_end(&self) -> Timestamp {
        let idle = self.session.idle.map_or(Timestamp::NEVER, |idle| self.last_seen().after(idle));
        let grant = self.subject.access.until.unwrap_or(Timestamp::NEVER);
        self.session.expires_at.min(idle).min(grant)
    }

    /// How far apart writes of `last_seen` are: a tenth of the idle limit, or of an hour.
    pub(super) fn seen_interval(&self) -> Duration {
        self.session.idle.unwrap_or(Duration::from_hours(1)) / 10
    }
}
