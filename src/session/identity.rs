//! Who a session stands for, with what they may at one state of roles and configuration.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use uuid::Uuid;

use super::cache::Id;
use super::shared::Shared;
use crate::clock::Timestamp;
use crate::identity::access::{RoleBook, Subject};
use crate::identity::user::{Method, Person, RoleGrant};
use crate::store::{LoadedSession, SessionKind, SessionRow};

/// Identity headers, rendered: names that all sessions share, and this session's values.
#[derive(Debug)]
pub struct HeaderSet {
    names: Arc<[HeaderName]>,
    fields: Box<str>,
}

impl HeaderSet {
    /// `None` when a value cannot be sent as it is.
    fn new(fields: Vec<(HeaderName, String)>, shared: &Shared) -> Option<Self> {
        let mut text = String::new();
        for (name, value) in &fields {
            HeaderValue::from_str(value).ok()?;
            text.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        let names = shared.names(fields.into_iter().map(|(name, _)| name).collect());
        Some(Self { names, fields: text.into_boxed_str() })
    }

    /// All of them as they stand in a head (RFC 9112 section 5): each on a line of its own, which ends
    /// with CR LF.
    #[must_use]
    pub const fn fields(&self) -> &str {
        &self.fields
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.names.iter()
    }
}

/// A state of roles and configuration: what numbers mean and how many identity profiles there are.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) roles: RoleBook,
    pub(super) profiles: usize,
    pub(super) shared: Arc<Shared>,
}

/// When a session was last used, shared by every identity made of one cached session.
#[derive(Debug)]
pub(super) struct Seen {
    /// Microseconds: last use, known here.
    last: AtomicI64,
    /// Microseconds: last use written to the store, or about to be.
    written: AtomicI64,
}

/// Uses closer together than this are not told apart, to keep a busy session's cache line quiet:
/// microseconds.
const GRAIN: i64 = 1_000_000;

impl Seen {
    pub(super) fn new(seen: Timestamp) -> Self {
        let micros = seen.as_micros();
        Self { last: AtomicI64::new(micros), written: AtomicI64::new(micros) }
    }

    /// Takes over the later of each.
    fn follow(&self, former: &Self) {
        self.last.fetch_max(former.last.load(Ordering::Relaxed), Ordering::Relaxed);
        self.written.fetch_max(former.written.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Timestamp {
        Timestamp::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// Notes a use; says whether it counts as another one.
    pub(super) fn note(&self, now: Timestamp) -> bool {
        let now = now.as_micros();
        let is_another = now.saturating_sub(self.last.load(Ordering::Relaxed)) >= GRAIN;
        if is_another {
            self.last.fetch_max(now, Ordering::Relaxed);
        }
        is_another
    }

    /// Whether it is now this caller's turn to write what was noted.
    pub(super) fn may_write(&self, now: Timestamp, interval: Duration) -> bool {
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

/// A session as requests need it: what is stored of it without address and agent.
#[derive(Debug)]
pub struct Session {
    /// SHA-256 of the cookie's random bytes, or 32 random bytes of a bearer session.
    pub id: Id,
    /// How it was signed in.
    pub method: Method,
    /// Cookie or bearer.
    pub kind: SessionKind,
    /// Sign-in.
    pub created_at: Timestamp,
    /// Idle limit; `None` for a bearer session.
    pub idle: Option<Duration>,
    /// Absolute end.
    pub expires_at: Timestamp,
}

impl Session {
    fn of(row: &SessionRow) -> Self {
        let SessionRow { id, method, kind, created_at, idle, expires_at, .. } = *row;
        Self { id, method, kind, created_at, idle, expires_at }
    }
}

/// A session with its owner, and when it was last used. Every identity made of it shares it.
#[derive(Debug)]
pub(super) struct Remembered {
    session: Session,
    user: Person,
    seen: Seen,
    /// Whether the cache keeps it. Set once, under the lock of the cache's ledger; taken back for good
    /// when the cache lets go of it, for whatever cause.
    is_kept: AtomicBool,
}

impl Remembered {
    pub(super) const fn id(&self) -> &Id {
        &self.session.id
    }

    pub(super) const fn owner(&self) -> Uuid {
        self.user.id
    }

    /// Says whether the cache keeps it.
    pub(super) fn set_kept(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Release);
    }

    /// Knows what `former`, the same session loaded before, knew of uses that may not be in the store yet:
    /// else every load would have `last_seen` written once more.
    pub(super) fn follow(&self, former: &Self) {
        self.seen.follow(&former.seen);
    }
}

/// Somebody known: the session with its owner and what they may right now. There may be a hundred
/// thousand of these in memory, so what people share is kept once.
#[derive(Debug)]
pub struct Identity {
    remembered: Arc<Remembered>,
    grants: Arc<[RoleGrant]>,
    /// What policy looks at.
    pub subject: Subject,
    shared: Arc<Shared>,
    rendered: Box<[OnceLock<Option<Arc<HeaderSet>>>]>,
}

impl Identity {
    /// Resolves a session just loaded. What no request needs is not kept, the password hash above all,
    /// since caches end up in core dumps.
    pub(super) fn resolve(loaded: LoadedSession, book: &Book, now: Timestamp) -> Self {
        let LoadedSession { session, user, grants } = loaded;
        let (grants, access) = book.shared.access(&book.roles, grants.into(), now);
        let subject = Subject::of(&user, access);
        let remembered = Arc::new(Remembered {
            session: Session::of(&session),
            user: Person::of(&user),
            seen: Seen::new(session.last_seen),
            is_kept: AtomicBool::new(false),
        });
        Self::of(remembered, grants, subject, book)
    }

    /// The same session under another state of roles and configuration.
    pub(super) fn renewed(&self, book: &Book, now: Timestamp) -> Self {
        let (grants, access) = book.shared.access(&book.roles, Arc::clone(&self.grants), now);
        let subject = Subject { access, ..self.subject.clone() };
        Self::of(Arc::clone(&self.remembered), grants, subject, book)
    }

    fn of(
        remembered: Arc<Remembered>,
        grants: Arc<[RoleGrant]>,
        subject: Subject,
        book: &Book,
    ) -> Self {
        Self {
            subject,
            remembered,
            grants,
            shared: Arc::clone(&book.shared),
            rendered: (0..book.profiles).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.remembered.session
    }

    /// Its owner.
    #[must_use]
    pub fn user(&self) -> &Person {
        &self.remembered.user
    }

    /// Roles granted to the owner, past ones too.
    #[must_use]
    pub fn grants(&self) -> &[RoleGrant] {
        &self.grants
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.remembered.seen
    }

    /// Whether the cache still keeps the session this was made of. Once it does not it never will again.
    pub(super) fn is_kept(&self) -> bool {
        self.remembered.is_kept.load(Ordering::Acquire)
    }

    pub(super) const fn remembered(&self) -> &Arc<Remembered> {
        &self.remembered
    }

    /// The state of roles and configuration it was made under.
    pub(super) fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// Whether a credential of this kind may stand for it.
    pub(super) fn is_usable(&self, kind: SessionKind) -> bool {
        self.session().kind == kind && self.user().is_active
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
        render: impl FnOnce() -> Option<Vec<(HeaderName, String)>>,
    ) -> Option<Arc<HeaderSet>> {
        let make = || HeaderSet::new(render()?, &self.shared).map(Arc::new);
        match self.rendered.get(profile) {
            Some(slot) if configuration == self.shared.configuration => {
                slot.get_or_init(make).clone()
            }
            Some(_) | None => make(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines_of_a_head() {
        let (id, name) = (HeaderName::from_static("x-id"), HeaderName::from_static("x-name"));
        let set = |value: &str| {
            let fields = vec![(id.clone(), "7".to_owned()), (name.clone(), value.to_owned())];
            HeaderSet::new(fields, &Shared::default())
        };
        for value in ["Ann: Bell", "", "a,b"] {
            let made = set(value)
                .map(|set| (set.fields().to_owned(), set.names().cloned().collect::<Vec<_>>()));
            let lines = format!("x-id: 7\r\nx-name: {value}\r\n");
            assert_eq!(made, Some((lines, vec![id.clone(), name.clone()])));
        }
        for broken in ["7\r\nx-evil: 1", "7\n", "7\r", "\0", "\u{e9}\u{7f}"] {
            assert!(set(broken).is_none(), "{broken:?}");
        }
    }

    /// A hundred thousand of these have a bound.
    #[test]
    fn what_is_kept_of_a_session_is_small() {
        assert!(size_of::<Remembered>() <= 176, "{}", size_of::<Remembered>());
        assert!(size_of::<Identity>() <= 96, "{}", size_of::<Identity>());
        assert!(size_of::<HeaderSet>() <= 32, "{}", size_of::<HeaderSet>());
    }
}
