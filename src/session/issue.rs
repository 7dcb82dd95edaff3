//! Opening and ending sessions, and what is handed to browsers for them.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use uuid::Uuid;

use super::cache::Id;
use super::{Identity, Sessions, cookie};
use crate::clock::Timestamp;
use crate::config;
use crate::identity::bearer::AccessToken;
use crate::identity::keys::{Purpose, is_same, mac, sha256};
use crate::identity::sealing;
use crate::identity::user::Method;
use crate::store::{
    Changed, EndSessions, Event, SessionKind, SessionOrigin, SessionRow, SignIn, StoreError,
};
use crate::web::cookies::{self, Attributes};

/// What a new session is made for.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Whose.
    pub user: Uuid,
    /// How signed in.
    pub method: Method,
    /// "Remember me" was ticked (cookies only).
    pub remember: bool,
    /// Client's address.
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub agent: String,
    /// The provider that vouched for the person, if one did.
    pub origin: Option<SessionOrigin>,
    /// The session this browser had, which the new one replaces.
    pub replaces: Option<[u8; 32]>,
    /// The event written with it.
    pub event: Event,
}

/// A cookie session just made. Nothing prints it.
pub struct OpenedCookie {
    /// The session's id.
    pub id: [u8; 32],
    /// `Set-Cookie`.
    pub set_cookie: HeaderValue,
}

/// A bearer session just made. Nothing prints it.
pub struct OpenedBearer {
    /// The session's id.
    pub id: [u8; 32],
    /// The access token.
    pub access_token: String,
    /// Its life in seconds.
    pub expires_in: u64,
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("the session could not be stored")]
    Store(#[from] StoreError),
    /// The token could not be signed.
    #[error("the access token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// Name and value make no header: the configuration is at fault.
    #[error("the session cookie could not be written")]
    Cookie,
}

impl Sessions {
    /// Opens a cookie session.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_cookie(
        &self,
        opening: &Opening,
        now: Timestamp,
    ) -> Result<OpenedCookie, OpenError> {
        let settings = self.inner.settings.load_full();
        let sessions = &settings.sessions;
        let lifetimes = if opening.remember { sessions.remember } else { sessions.plain };
        let random: [u8; 32] = self.inner.entropy.bytes();
        let max_age = opening.remember.then_some(lifetimes.lifetime);
        let value = cookie::encode(&random, &self.inner.keys);
        let set_cookie = cookies::set(
            &sessions.cookie.wire_name,
            &value,
            &attributes(&sessions.cookie, max_age),
        )
        .ok_or(OpenError::Cookie)?;
        let id = sha256(&random);
        let row = SessionRow {
            idle: Some(lifetimes.idle),
            ..row(id, SessionKind::Cookie, opening, now, lifetimes.lifetime)
        };
        self.store_opened(opening, row).await?;
        Ok(OpenedCookie { id, set_cookie })
    }

    /// Opens a bearer session with its access token. It has no idle limit and ends with the token.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_bearer(
        &self,
        opening: &Opening,
        now: Timestamp,
    ) -> Result<OpenedBearer, OpenError> {
        let lifetime = self.inner.settings.load().tokens.access_lifetime;
        let id: Id = self.inner.entropy.bytes();
        let row = row(id, SessionKind::Bearer, opening, now, lifetime);
        // `exp` counts whole seconds: the session ends with the token, not a fraction later.
        let expires_at = Timestamp::from_seconds(row.expires_at.as_seconds());
        let token = AccessToken { user: opening.user, session: id, expires_at };
        let access_token = self.inner.bearer.issue(&token, self.inner.entropy.uuid(), now)?;
        self.store_opened(opening, SessionRow { expires_at, ..row }).await?;
        Ok(OpenedBearer { id, access_token, expires_in: lifetime.as_secs() })
    }

    async fn store_opened(&self, opening: &Opening, row: SessionRow) -> Result<(), StoreError> {
        let (replaces, event) = (opening.replaces, opening.event.clone());
        self.inner.store.insert_session(&SignIn { session: row, replaces, event }).await?;
        if let Some(replaced) = replaces {
            self.apply(&Changed::Session(replaced));
        }
        Ok(())
    }

    /// Ends sessions, here at once and elsewhere by the change log. Says how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end(&self, which: EndSessions, event: &Event) -> Result<u64, StoreError> {
        let ended = self.inner.store.delete_sessions(which, event).await?;
        self.note_ended(which);
        Ok(ended)
    }

    /// The same for their owner, by a session that has to exist still.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`](crate::store::Conflict::Gone) when it does not.
    pub async fn end_own(
        &self,
        which: EndSessions,
        by: &Identity,
        event: &Event,
    ) -> Result<u64, StoreError> {
        let by = (by.user().id, by.session().id);
        let ended = self.inner.store.delete_own_sessions(which, by, event).await?;
        self.note_ended(which);
        Ok(ended)
    }

    fn note_ended(&self, which: EndSessions) {
        match which {
            EndSessions::One(id) => self.apply(&Changed::Session(id)),
            EndSessions::OfUser(user) | EndSessions::OfUserBut(user, _) => {
                self.apply(&Changed::User(user));
            }
            EndSessions::All => {
                self.inner.cache.clear();
                self.inner.watches.wake_all();
            }
        }
    }

    /// `Set-Cookie` values that clear the session cookie.
    #[must_use]
    pub fn clearing_cookies(&self) -> Vec<HeaderValue> {
        let settings = self.inner.settings.load();
        let cookie = &settings.sessions.cookie;
        cookies::clear(&cookie.wire_name, &attributes(cookie, None)).into_iter().collect()
    }

    /// Seals what is to come back unread and unchanged, at the place it belongs to.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, place: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.inner.entropy.bytes();
        sealing::seal(&self.inner.keys, purpose, nonce, place, text)
    }

    /// Opens what [`Sessions::seal`] made; `None` for anything else.
    #[must_use]
    pub fn open_sealed(
        &self,
        purpose: Purpose,
        place: &[u8],
        sealed: &[u8],
    ) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        sealing::open(&self.inner.keys, purpose, place, sealed)
    }

    /// A token bound into a portal form: to the session, or to the browser by the value of its
    /// pre-session cookie. `purpose` names the form.
    #[must_use]
    pub fn form_token(&self, purpose: &str, bound_to: &[u8]) -> String {
        let key = self.inner.keys.current(Purpose::Form);
        URL_SAFE_NO_PAD.encode(mac(key, &[purpose.as_bytes(), bound_to]))
    }

    /// Whether a form token is this one's (constant time; keys of previous secrets count).
    #[must_use]
    pub fn is_form_token(&self, token: &str, purpose: &str, bound_to: &[u8]) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else { return false };
        self.inner
            .keys
            .accepted(Purpose::Form)
            .any(|key| is_same(&mac(key, &[purpose.as_bytes(), bound_to]), &token))
    }
}

fn row(
    id: Id,
    kind: SessionKind,
    opening: &Opening,
    now: Timestamp,
    lifetime: Duration,
) -> SessionRow {
    SessionRow {
        id,
        user: opening.user,
        method: opening.method,
        kind,
        created_at: now,
        last_seen: now,
        idle: None,
        expires_at: now.after(lifetime),
        address: opening.address,
        agent: opening.agent.clone(),
        origin: opening.origin.clone(),
    }
}

fn attributes(cookie: &config::SessionCookie, max_age: Option<Duration>) -> Attributes<'_> {
    Attributes {
        domain: cookie.domain.as_deref(),
        same_site: cookie.same_site.into(),
        secure: cookie.secure,
        max_age: max_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)),
        http_only: true,
    }
}
