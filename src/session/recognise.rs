//! Who a request's credentials stand for: the worker's memory, then the cache, then the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cache::Id;
use super::front::{Digest, Front};
use super::identity::Identity;
use super::{
    Caller, Carrier, CookieCredential, Credentials, Inner, RecogniseError, Sessions, cookie,
};
use crate::clock::{Moment, Tick, Timestamp};
use crate::identity::bearer::AccessToken;
use crate::identity::keys::sha256;
use crate::store::SessionKind;
use crate::telemetry::log::Causes;

impl Sessions {
    /// What a worker, by its number, remembers of whom it recognised.
    #[must_use]
    pub fn front(&self, worker: usize) -> Front {
        Front::new(worker, &self.inner.entropy)
    }

    /// Finds out who the caller is. A cache hit does not wait, a miss is loaded on the control runtime.
    ///
    /// # Errors
    /// [`RecogniseError`]; never "anonymous" for want of the store.
    pub async fn recognise(
        &self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<Caller, RecogniseError> {
        let moment = Moment { now, tick: self.inner.clock.tick() };
        self.inner.recognise(credentials, moment).await.map(|(caller, _until)| caller)
    }

    /// The same on a worker, which need not look up again whom it recognised a moment ago.
    ///
    /// # Errors
    /// Those of [`Sessions::recognise`].
    pub async fn recognise_on(
        &self,
        front: &Front,
        credentials: &Credentials,
        moment: Moment,
    ) -> Result<Caller, RecogniseError> {
        let inner = &self.inner;
        let digest = match (&credentials.bearer, &credentials.cookie) {
            (None, CookieCredential::One(value)) => front.digest(SessionKind::Cookie, value),
            (Some(token), CookieCredential::None | CookieCredential::Several) => {
                front.digest(SessionKind::Bearer, token.as_bytes())
            }
            // Two credentials are compared with one another, none is nobody's.
            (Some(_), CookieCredential::One(_))
            | (None, CookieCredential::None | CookieCredential::Several) => {
                return inner.recognise(credentials, moment).await.map(|(caller, _until)| caller);
            }
        };
        if let Some(identity) = inner.recall(front, &digest, moment) {
            return Ok(Caller::Known(identity, digest.carrier()));
        }
        let (caller, until) = inner.recognise(credentials, moment).await?;
        if let Caller::Known(identity, _) = &caller {
            front.remember(digest, identity, until, moment.tick);
        }
        Ok(caller)
    }

    /// The session as it stands now, for an open stream that goes on under it. `None`: it has ended.
    ///
    /// # Errors
    /// [`RecogniseError::Unavailable`].
    pub async fn renew(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Option<Arc<Identity>>, RecogniseError> {
        let session = identity.session();
        let moment = Moment { now, tick: self.inner.clock.tick() };
        self.inner.find(session.id, session.kind, moment).await
    }
}

impl Inner {
    /// Whether what is cached may be used: the last good read of the change log is recent enough. Looked
    /// at before anything cached is: what that read brought is then no longer there.
    pub(super) fn is_fresh(&self, tick: Tick) -> bool {
        let age = tick.as_nanos().saturating_sub(self.freshness.load(Ordering::Acquire));
        age <= self.max_staleness.load(Ordering::Relaxed)
    }

    /// Whom the worker remembers, if that may be believed now.
    pub(super) fn recall(
        &self,
        front: &Front,
        digest: &Digest,
        moment: Moment,
    ) -> Option<Arc<Identity>> {
        if !self.is_fresh(moment.tick) {
            return None;
        }
        // Counted up before a new state is in force, so nothing of the former one passes for it.
        let generation = self.generation.load(Ordering::Acquire);
        let identity = front.recall(digest, generation, moment)?;
        self.metrics.recalled(front.worker);
        Some(identity)
    }

    /// The caller, and the end of the credential itself.
    async fn recognise(
        &self,
        credentials: &Credentials,
        moment: Moment,
    ) -> Result<(Caller, Timestamp), RecogniseError> {
        let token = credentials.bearer.as_ref().and_then(|token| self.token(token, moment.now));
        let by_bearer = match &token {
            None => None,
            Some(token) => self
                .find(token.session, SessionKind::Bearer, moment)
                .await?
                .filter(|identity| identity.user().id == token.user),
        };
        let by_cookie = match &credentials.cookie {
            CookieCredential::None | CookieCredential::Several => None,
            CookieCredential::One(value) => match cookie::decode(value, &self.keys) {
                None => None,
                Some(id) => self.find(id, SessionKind::Cookie, moment).await?,
            },
        };
        match (by_bearer, by_cookie) {
            (Some(a), Some(b)) if a.user().id != b.user().id => Err(RecogniseError::Contradiction),
            (Some(identity), _) => {
                let until = token.map_or(Timestamp::NEVER, |token| token.expires_at);
                Ok((Caller::Known(identity, Carrier::Bearer), until))
            }
            (None, Some(identity)) => {
                Ok((Caller::Known(identity, Carrier::Cookie), Timestamp::NEVER))
            }
            (None, None) => Ok((Caller::Anonymous, Timestamp::NEVER)),
        }
    }

    /// A valid access token's content. Verified tokens are remembered by digest.
    fn token(&self, token: &str, now: Timestamp) -> Option<AccessToken> {
        let digest = sha256(token.as_bytes());
        if let Some(known) = self.tokens.get(&digest) {
            return (known.expires_at > now).then_some(known);
        }
        let verified = self.bearer.verify(token, now).ok()?;
        self.tokens.insert(digest, verified.clone());
        Some(verified)
    }

    /// A live session of the given kind, from the cache while that may be believed.
    async fn find(
        &self,
        id: Id,
        kind: SessionKind,
        Moment { now, tick }: Moment,
    ) -> Result<Option<Arc<Identity>>, RecogniseError> {
        if self.is_fresh(tick)
            && let Some(entry) = self.cache.get(&id)
        {
            let identity = entry.identity(&self.book.load(), now);
            if identity.session().expires_at <= now {
                return Ok(None);
            }
            // Another node may have seen a session that looks idle here, and a grant past its end
            // takes the rendered headers with it: both are loaded anew.
            if identity.nearest_end() > now {
                self.metrics.counters.session_hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(identity).filter(|identity| identity.is_usable(kind)));
            }
        }
        self.metrics.counters.session_loads.fetch_add(1, Ordering::Relaxed);
        let book = self.book.load_full();
        match self.cache.load(id, Arc::clone(&book), now).await {
            Ok(None) => Ok(None),
            Ok(Some(entry)) => {
                let identity = entry.identity(&book, now);
                let is_live = identity.nearest_end() > now;
                Ok(Some(identity).filter(|identity| is_live && identity.is_usable(kind)))
            }
            Err(error) => {
                self.metrics.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(error = %Causes(&error), "a session could not be loaded");
                Err(RecogniseError::Unavailable)
            }
        }
    }
}
