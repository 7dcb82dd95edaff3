//! Signing in and out.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::draft::BUSY_RETRY;
use super::{Accounts, Actor, Draft, Mistake, People};
use crate::clock::Timestamp;
use crate::config::AuthLimits;
use crate::identity::hashing::{Busy, Kind};
use crate::identity::keys::sha256;
use crate::identity::user::{Method, User, fold_email};
use crate::limit::PastFailure;
use crate::session::{Identity, OpenError, Opening};
use crate::store::{Conflict, EndSessions, Event, StoreError};
use crate::telemetry::metrics::SignInOutcome;
use crate::web::client::limit_key;

/// What somebody signs in with.
#[derive(Debug)]
pub enum Credential {
    /// An e-mail or a username, as typed, and a password.
    Password(String, SecretString),
}

/// What a sign-in is to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A cookie session; `remember` as ticked.
    Cookie {
        /// "Remember me" was ticked.
        remember: bool,
    },
    /// A bearer session with its access token.
    Bearer,
}

/// An attempt to sign in.
#[derive(Debug)]
pub struct SignInRequest<'a> {
    /// What with.
    pub credential: Credential,
    /// What for.
    pub wanted: Wanted,
    /// Where from; its name is not looked at.
    pub from: &'a Actor,
    /// The session this browser had.
    pub replaces: Option<&'a Identity>,
    /// The request's time.
    pub now: Timestamp,
}

/// An attempt to set the first administrator up.
#[derive(Debug)]
pub struct SetUpRequest<'a> {
    /// The link's token.
    pub token: &'a str,
    /// The administrator as entered.
    pub draft: Draft,
    /// Where from; its name is not looked at.
    pub from: &'a Actor,
    /// The session this browser had.
    pub replaces: Option<&'a Identity>,
    /// The request's time.
    pub now: Timestamp,
}

/// What a sign-in opened. Prints no secret.
pub enum Opened {
    /// A cookie session: its `Set-Cookie`.
    Cookie(HeaderValue),
    /// A bearer session.
    Bearer {
        /// The token.
        access_token: String,
        /// Its life in seconds.
        expires_in: u64,
    },
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cookie(_) => "Cookie(…)",
            Self::Bearer { .. } => "Bearer(…)",
        })
    }
}

type SessionId = [u8; 32];

/// A password somebody shows to be who they say.
pub(super) struct Proof<'a> {
    /// The name under which attempts are counted, as typed.
    pub(super) name: &'a str,
    /// The password.
    pub(super) password: SecretString,
    /// The event of a failure.
    pub(super) failed: &'static str,
}

/// Why a sign-in failed.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown, inactive or without password, or a wrong password: which is told to nobody.
    #[error("wrong e-mail or password")]
    BadCredentials,
    /// The password is right, but the e-mail is not verified, and `accounts.require_verified` asks for it.
    #[error("the e-mail is not verified")]
    NotVerified,
    /// Too many failures, or the hashing queue is full: 429.
    #[error("too many attempts")]
    TooMany(Duration),
    /// The store failed.
    #[error("signing in failed")]
    Store(#[from] StoreError),
    /// The session could not be made.
    #[error("the session could not be made")]
    Session(#[source] OpenError),
}

impl From<OpenError> for SignInError {
    fn from(error: OpenError) -> Self {
        match error {
            // Deleted or switched off while the password was being verified.
            OpenError::Store(StoreError::Conflict(Conflict::Gone)) => Self::BadCredentials,
            OpenError::Store(error) => Self::Store(error),
            OpenError::Sign(_) | OpenError::Cookie => Self::Session(error),
        }
    }
}

/// Longest password that is verified, in characters. Far above any policy, so that lowering a policy
/// locks nobody out; what is longer runs the verification of an unknown account instead.
const LONGEST_ATTEMPT: usize = 4096;
/// Longest name kept as it is for counting; longer ones are counted by digest.
const LONGEST_NAME: usize = 320;
/// Failed sign-ins that are remembered over a restart at most.
const MOST_FAILURES: u32 = 100_000;

/// What an event says about why an attempt failed. Operators read it; clients never do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Unknown,
    Inactive,
    NoPassword,
    WrongPassword,
    Unverified,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown account",
            Self::Inactive => "inactive account",
            Self::NoPassword => "account without password",
            Self::WrongPassword => "wrong password",
            Self::Unverified => "e-mail not verified",
        }
    }

    /// Why verifying `found` failed.
    fn of(found: Option<&User>) -> Self {
        match found {
            None => Self::Unknown,
            Some(user) if !user.is_active => Self::Inactive,
            Some(user) if user.password_hash.is_none() => Self::NoPassword,
            Some(_) => Self::WrongPassword,
        }
    }
}

impl Accounts {
    /// Signs somebody in. Exactly one verification runs for every attempt that the limits let through,
    /// and the answer to a failed one tells nothing of why.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in(&self, request: SignInRequest<'_>) -> Result<(User, Opened), SignInError> {
        let outcome = self.attempt(request).await;
        self.metrics.counters.signed_in(match &outcome {
            Ok(_) => SignInOutcome::Succeeded,
            Err(SignInError::BadCredentials | SignInError::NotVerified) => SignInOutcome::Failed,
            Err(SignInError::TooMany(_)) => SignInOutcome::Limited,
            Err(SignInError::Store(_) | SignInError::Session(_)) => SignInOutcome::Error,
        });
        outcome
    }

    async fn attempt(&self, request: SignInRequest<'_>) -> Result<(User, Opened), SignInError> {
        let Credential::Password(name, password) = request.credential;
        let found = self.people.find_by_name(&name).await?;
        let proof = Proof { name: &name, password: password.clone(), failed: "sign-in-failed" };
        let user = self.verify(proof, found, request.from).await?;
        if self.people.rules().require_verified && !user.is_verified {
            self.record_refusal(&user, request.from);
            return Err(SignInError::NotVerified);
        }
        let mut opening = opening_of(&user, request.wanted, request.from, request.now);
        opening.replaces = request.replaces.map(|old| old.session().id);
        let opened = self.open(&opening, request.wanted, request.now).await?;
        let opened = self.confirm(&user, opened, &opening.event).await?;
        self.renew_hash(&user, password);
        Ok((user, opened))
    }

    /// Checks limits and password, and records a failure after the answer.
    pub(super) async fn verify(
        &self,
        proof: Proof<'_>,
        found: Option<User>,
        from: &Actor,
    ) -> Result<User, SignInError> {
        let Proof { name, password, failed } = proof;
        let is_familiar = self.is_familiar(found.as_ref(), from.address).await?;
        let key = counted_name(name, found.as_ref());
        let attempt = self
            .limits
            .begin(from.address, &key, is_familiar)
            .map_err(|limited| SignInError::TooMany(limited.retry_after))?;
        let is_too_long = password.expose_secret().chars().count() > LONGEST_ATTEMPT;
        let stored = found
            .as_ref()
            .filter(|user| user.is_active && !is_too_long)
            .and_then(|user| user.password_hash.clone());
        let password = if is_too_long { SecretString::default() } else { password };
        let verified = self.people.hasher().verify(password, stored.clone(), from.address).await;
        match (verified, found) {
            (Err(Busy), _) => {
                attempt.take_back();
                Err(SignInError::TooMany(BUSY_RETRY))
            }
            // A hash that was not there cannot have been verified, whatever the pool says.
            (Ok(true), Some(user)) if stored.is_some() => {
                attempt.take_back();
                Ok(user)
            }
            (Ok(_), found) => {
                drop(attempt);
                let mut event = from.event(self.people.now(), failed, None);
                // What is no e-mail may be a password typed into the wrong field: it is not written down.
                event.actor = fold_email(name).unwrap_or_default();
                Reason::of(found.as_ref()).as_str().clone_into(&mut event.detail);
                self.record_failure(found.map(|user| user.id), event);
                Err(SignInError::BadCredentials)
            }
        }
    }

    /// Counts the failed sign-ins that were written down and would still count: a restart frees nobody.
    /// Names that are no e-mail and belong to no account were not written down.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remember_failures(&self, limits: &AuthLimits) -> Result<(), StoreError> {
        let rates = [
            limits.failures_per_address,
            limits.failures_per_account_and_address,
            limits.failures_per_account,
        ];
        let Some(longest) = rates.into_iter().flatten().map(|rate| rate.within).max() else {
            return Ok(());
        };
        let now = self.people.now();
        let found =
            self.people.store().list_failed_sign_ins(now.before(longest), MOST_FAILURES).await?;
        let past = found.into_iter().map(|failure| PastFailure {
            age: now.since(failure.at),
            address: failure.address,
            account: Some(failure.account).filter(|account| !account.is_empty()),
        });
        self.limits.restore(&past.collect::<Vec<_>>());
        Ok(())
    }

    /// Whether an attempt comes from where the account was used last. The store is asked for unknown
    /// accounts as well, so that both take as long.
    async fn is_familiar(
        &self,
        user: Option<&User>,
        address: Option<IpAddr>,
    ) -> Result<bool, SignInError> {
        let Some(address) = address else { return Ok(false) };
        let id = user.map_or(Uuid::nil(), |user| user.id);
        let now = self.people.now();
        let has_session = self.people.store().has_session_from(id, address, now).await?;
        let last = user.and_then(|user| user.last_address);
        Ok(has_session || last.is_some_and(|last| limit_key(last) == limit_key(address)))
    }

    async fn open(
        &self,
        opening: &Opening,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<(SessionId, Opened), SignInError> {
        match wanted {
            Wanted::Cookie { .. } => {
                let opened = self.sessions.open_cookie(opening, now).await?;
                Ok((opened.id, Opened::Cookie(opened.set_cookie)))
            }
            Wanted::Bearer => {
                let opened = self.sessions.open_bearer(opening, now).await?;
                let (access_token, expires_in) = (opened.access_token, opened.expires_in);
                Ok((opened.id, Opened::Bearer { access_token, expires_in }))
            }
        }
    }

    /// Looks at the account once more: a password changed, or an account switched off, while the old
    /// password was being verified ended all sessions before this one existed.
    async fn confirm(
        &self,
        user: &User,
        (id, opened): (SessionId, Opened),
        event: &Event,
    ) -> Result<Opened, SignInError> {
        let now = self.people.store().find_user(user.id).await?;
        if now.is_some_and(|now| now.is_active && now.password_hash == user.password_hash) {
            return Ok(opened);
        }
        let mut event = event.clone();
        event.kind = "sign-out".into();
        event.detail = "the account changed during the sign-in".into();
        self.sessions.end(EndSessions::One(id), &event).await?;
        Err(SignInError::BadCredentials)
    }

    /// Writes down a failure after the answer, so that it takes as long for every account.
    fn record_failure(&self, user: Option<Uuid>, mut event: Event) {
        event.user = user;
        let people = self.people.clone();
        tokio::spawn(async move {
            if let Err(error) = write_failure(&people, user, &event).await {
                tracing::warn!(%error, "a failed sign-in could not be recorded");
            }
        });
    }

    /// Writes down that somebody with the right password was not signed in.
    fn record_refusal(&self, user: &User, from: &Actor) {
        let mut event = from.event(self.people.now(), "sign-in-refused", None);
        event.actor.clone_from(&user.email);
        Reason::Unverified.as_str().clone_into(&mut event.detail);
        self.record_failure(Some(user.id), event);
    }

    /// Replaces an outdated hash after the answer, from the password just verified.
    fn renew_hash(&self, user: &User, password: SecretString) {
        let Some(from) = user.password_hash.clone() else { return };
        if !Kind::of(&from).is_ok_and(|kind| kind.is_outdated()) {
            return;
        }
        let (people, id) = (self.people.clone(), user.id);
        tokio::spawn(async move {
            // A full queue is no failure: the next sign-in tries again.
            let Ok(to) = people.hasher().hash(password, None).await else { return };
            if let Err(error) = people.store().update_user_hash(id, &from, &to).await {
                tracing::warn!(%error, "an outdated password hash could not be replaced");
            }
            people.measure_new_kinds().await;
        });
    }

    /// Makes the first administrator and signs them in on a cookie session.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Token`] for a link that is spent, past
    /// its end or unknown.
    pub async fn set_up(&self, request: SetUpRequest<'_>) -> Result<HeaderValue, Mistake> {
        let SetUpRequest { token, draft, from, replaces, now } = request;
        let attempt = self
            .limits
            .begin_link(from.address)
            .map_err(|limited| Mistake::TooMany(limited.retry_after))?;
        let set_up = self.people.set_up(token, draft, from).await;
        if !matches!(set_up, Err(Mistake::Conflict(Conflict::Token))) {
            attempt.take_back();
        }
        let user = set_up?;
        let people = self.people.clone();
        tokio::spawn(async move { people.measure_new_kinds().await });
        let mut opening = opening_of(&user, Wanted::Cookie { remember: false }, from, now);
        opening.replaces = replaces.map(|old| old.session().id);
        Ok(self.sessions.open_cookie(&opening, now).await?.set_cookie)
    }

    /// Ends the session it was made with, and what was issued from it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sign_out(&self, identity: &Identity, from: &Actor) -> Result<(), StoreError> {
        let event = self.ending(identity, from, "sign-out");
        self.sessions.end(EndSessions::One(identity.session().id), &event).await.map(drop)
    }

    /// Ends every session of the person; says how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sign_out_everywhere(
        &self,
        identity: &Identity,
        from: &Actor,
    ) -> Result<u64, StoreError> {
        let event = self.ending(identity, from, "sign-out-everywhere");
        self.sessions.end(EndSessions::OfUser(identity.user().id), &event).await
    }

    pub(super) fn ending(&self, identity: &Identity, from: &Actor, kind: &str) -> Event {
        let mut event = from.event(self.people.now(), kind, Some(identity.user().id));
        event.actor = identity.user().email.to_string();
        event
    }
}

/// What a sign-in of this person opens.
pub(super) fn opening_of(user: &User, wanted: Wanted, from: &Actor, now: Timestamp) -> Opening {
    let mut event = from.event(now, "sign-in", Some(user.id));
    event.actor.clone_from(&user.email);
    Opening {
        user: user.id,
        method: Method::Password,
        remember: matches!(wanted, Wanted::Cookie { remember: true }),
        address: from.address,
        agent: from.short_agent(),
        origin: None,
        replaces: None,
        event,
    }
}

/// What an account is counted under: its e-mail, so that a username gives no further attempts, or the
/// folded name as typed where there is none. One name alone is counted alike in both cases.
fn counted_name(name: &str, found: Option<&User>) -> String {
    let name = found.map_or(name.trim(), |user| &*user.email_folded);
    let folded = fold_email(name).unwrap_or_else(|_| name.to_lowercase());
    if folded.len() <= LONGEST_NAME {
        return folded;
    }
    URL_SAFE_NO_PAD.encode(sha256(folded.as_bytes()))
}

async fn write_failure(
    people: &People,
    user: Option<Uuid>,
    event: &Event,
) -> Result<(), StoreError> {
    if let Some(id) = user {
        people.store().update_user_failed(id).await?;
    }
    people.store().insert_event(event).await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn user() -> User {
        User { password_hash: Some("x".into()), ..User::sample() }
    }

    #[test]
    fn a_name_is_counted_alike_in_every_spelling_and_never_at_length() {
        assert_eq!(counted_name(" Ann ", None), counted_name("aNN", None));
        assert_eq!(counted_name("Ann@EXAMPLE.com ", None), counted_name("ann@example.com", None));
        assert_ne!(counted_name("ann", None), counted_name("bob", None));
        assert_eq!(counted_name(&"a".repeat(60_000), None).len(), 43);
    }

    #[test]
    fn bru_02_every_name_of_an_account_is_counted_as_one() {
        let found = user();
        let counted = counted_name("ann@example.com", Some(&found));
        for name in ["ann", " ANN ", "Ann@Example.com"] {
            assert_eq!(counted_name(name, Some(&found)), counted, "{name}");
        }
        // An account made or deleted meanwhile changes nothing.
        assert_eq!(counted_name("ann@example.com", None), counted);
        assert_ne!(counted_name("ann", None), counted);
    }

    #[test]
    fn a_failure_says_why_to_operators() {
        let mut found = user();
        assert_eq!(Reason::of(None), Reason::Unknown);
        assert_eq!(Reason::of(Some(&found)), Reason::WrongPassword);
        found.password_hash = None;
        assert_eq!(Reason::of(Some(&found)), Reason::NoPassword);
        found.is_active = false;
        assert_eq!(Reason::of(Some(&found)), Reason::Inactive);
    }

    #[test]
    fn nothing_prints_a_password() {
        let credential = Credential::Password("ann".into(), "hunter22".to_owned().into());
        assert!(!format!("{credential:?}").contains("hunter22"));
        let opened = Opened::Bearer { access_token: "secret-token".into(), expires_in: 1 };
        assert!(!format!("{opened:?}").contains("secret-token"));
        let cookie = Opened::Cookie(HeaderValue::from_str("a=secret-id").unwrap());
        assert!(!format!("{cookie:?}").contains("secret-id"));
    }
}
