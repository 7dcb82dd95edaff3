//! Signing in and out.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use secrecy::SecretString;

use super::draft::BUSY_RETRY;
use super::proof::Proof;
use super::{Accounts, Actor, Draft, Mistake};
use crate::clock::Timestamp;
use crate::identity::hashing::Kind;
use crate::identity::user::{Method, User};
use crate::session::{Identity, OpenError, Opening};
use crate::store::{Conflict, EndSessions, Event, StoreError, WrongPassword};
use crate::telemetry::metrics::SignInOutcome;

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

impl Accounts {
    /// Signs somebody in. Exactly one verification runs for every attempt that the limits let through (one more
    /// for a right password whose hash becomes another one meanwhile), and the answer to a failed one tells
    /// nothing of why.
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
        let proof =
            Proof { name: &name, password: password.clone(), failed: WrongPassword::SignIn };
        let user = self.verify(proof, found, request.from).await?;
        if self.people.rules().require_verified && !user.is_verified {
            self.record_refusal(&user, request.from);
            return Err(SignInError::NotVerified);
        }
        let mut opening = opening_of(&user, request.wanted, request.from, request.now);
        opening.replaces = request.replaces.map(|old| old.session().id);
        let opened = self.open(&opening, request.wanted, request.now).await?;
        let opened = self.confirm((&user, &password), opened, &opening.event).await?;
        self.renew_hash(&user, password);
        Ok((user, opened))
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
    /// password was being verified ended all sessions before this one existed. Another hash may be of the same
    /// password, renewed by a sign-in beside this one.
    async fn confirm(
        &self,
        (user, password): (&User, &SecretString),
        (id, opened): (SessionId, Opened),
        event: &Event,
    ) -> Result<Opened, SignInError> {
        let now = self.people.store().find_user(user.id).await?;
        let hash = now.filter(|now| now.is_active).and_then(|now| now.password_hash);
        let is_same = match hash {
            Some(hash) if user.password_hash.as_ref() == Some(&hash) => Ok(true),
            Some(hash) => {
                self.people.hasher().verify(password.clone(), Some(hash), event.address).await
            }
            None => Ok(false),
        };
        if is_same == Ok(true) {
            return Ok(opened);
        }
        let mut event = event.clone();
        event.kind = "sign-out".into();
        event.detail = "the account changed during the sign-in".into();
        self.sessions.end(EndSessions::One(id), &event).await?;
        Err(is_same.map_or(SignInError::TooMany(BUSY_RETRY), |_| SignInError::BadCredentials))
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
    /// [`StoreError`]; [`Conflict::Gone`] when this one has ended already.
    pub async fn sign_out_everywhere(
        &self,
        identity: &Identity,
        from: &Actor,
    ) -> Result<u64, StoreError> {
        let event = self.ending(identity, from, "sign-out-everywhere");
        self.sessions.end_own(EndSessions::OfUser(identity.user().id), identity, &event).await
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::store::{NewUser, UserChange};

    #[test]
    fn nothing_prints_a_password() {
        let credential = Credential::Password("ann".into(), "hunter22".to_owned().into());
        assert!(!format!("{credential:?}").contains("hunter22"));
        let opened = Opened::Bearer { access_token: "secret-token".into(), expires_in: 1 };
        assert!(!format!("{opened:?}").contains("secret-token"));
        let cookie = Opened::Cookie(HeaderValue::from_str("a=secret-id").unwrap());
        assert!(!format!("{cookie:?}").contains("secret-id"));
        let password_hash = Some("the-hash".to_owned());
        let user = User { password_hash: password_hash.clone(), ..User::sample() };
        assert!(!format!("{user:?}").contains("the-hash"));
        let new = NewUser { password_hash: password_hash.clone(), ..NewUser::default() };
        assert!(!format!("{new:?}").contains("the-hash"));
        let change = UserChange { password_hash, ..UserChange::default() };
        assert!(!format!("{change:?}").contains("the-hash"));
    }
}
