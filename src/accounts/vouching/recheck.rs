//! Asking providers now and then whether they still vouch for the people who are signed in by them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{keeping, too_long};
use crate::accounts::{Accounts, Actor};
use crate::clock::Timestamp;
use crate::identity::provider::{Provider, ProviderError, Tokens, Vouched};
use crate::store::{Changed, Conflict, DueCheck, LinkRow, Sighting, StoreError};
use crate::telemetry::log::Causes;

/// Links looked at in one go: as many as are settled before [`RETRY`] though no provider answers, so that
/// no link is taken twice.
const BATCH: u32 = 64;
/// Providers asked at a time.
const AT_ONCE: usize = 8;
/// Over one question.
const ASKED_WITHIN: Duration = Duration::from_secs(30);
/// When a provider that could not be asked is asked again, and when somebody else may ask in the place of a
/// node that died over it.
const RETRY: Duration = Duration::from_mins(5);
/// How often it is looked whether somebody is due.
const LOOK: Duration = Duration::from_secs(1);
/// The same where the file has no provider asked: one that was taken out may have left links.
const LOOK_SELDOM: Duration = Duration::from_mins(1);

impl Accounts {
    /// Asks for as long as it is polled.
    pub async fn recheck(self) {
        let mut is_failing = false;
        loop {
            let asks = self.vouching.list().iter().any(|one| one.settings().recheck.is_some());
            match self.recheck_due().await {
                Ok(()) => is_failing = false,
                // Said once: the store's own trouble is logged where it is followed.
                Err(_) if is_failing => {}
                Err(error) => {
                    is_failing = true;
                    tracing::warn!(error = %Causes(&error), "links could not be read");
                }
            }
            tokio::time::sleep(if asks { LOOK } else { LOOK_SELDOM }).await;
        }
    }

    /// Asks the providers of everybody who is due. A link is taken by one node.
    async fn recheck_due(&self) -> Result<(), StoreError> {
        let now = self.people.now();
        let due = self.people.store().find_due_checks(now, RETRY, BATCH).await?;
        let asked = due.into_iter().filter(|due| due.has_session).map(|due| self.ask(due));
        futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>().await;
        Ok(())
    }

    async fn ask(&self, due: DueCheck) {
        let link = due.link;
        let settled = match self.vouching.get(&link.key.provider) {
            None => self.end_vouching(&link, "no longer configured").await,
            Some(provider) if provider.settings().recheck.is_none() => {
                self.people.store().delete_check(&link).await
            }
            Some(provider) => self.ask_provider(&provider, &link).await,
        };
        match settled {
            // Signed in anew, unlinked or deleted meanwhile.
            Ok(()) | Err(StoreError::Conflict(Conflict::Gone)) => {}
            Err(error) => tracing::warn!(
                error = %Causes(&error),
                "what a provider said could not be written down"
            ),
        }
    }

    async fn ask_provider(
        &self,
        provider: &Arc<Provider>,
        link: &LinkRow,
    ) -> Result<(), StoreError> {
        let Some(tokens) = keeping::open(&self.sessions, &link.key, link.tokens.as_deref()) else {
            if !self.vouching.inner.has_unreadable.swap(true, Ordering::Relaxed) {
                let provider = &*link.key.provider;
                tracing::warn!(
                    provider,
                    "tokens kept under a secret that is not known: the provider cannot be asked by them"
                );
            }
            return Ok(());
        };
        let asking = provider.recheck(&tokens, &link.key.subject);
        let answer = tokio::time::timeout(ASKED_WITHIN, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(too_long()));
        match answer {
            Ok(vouched) if is_still(link, &vouched) => {
                self.see_again(provider, link, tokens, &vouched).await
            }
            Ok(_) => self.end_vouching(link, "no longer among `who`").await,
            Err(error) if error.vouches_no_longer() => {
                self.end_vouching(link, "no longer vouched for").await
            }
            Err(ProviderError::NothingToAskBy) => self.people.store().delete_check(link).await,
            Err(error) => {
                let provider = &*link.key.provider;
                tracing::warn!(provider, error = %Causes(&error), "a provider could not be asked");
                Ok(())
            }
        }
    }

    async fn see_again(
        &self,
        provider: &Arc<Provider>,
        link: &LinkRow,
        before: Tokens,
        vouched: &Vouched,
    ) -> Result<(), StoreError> {
        let now = self.people.now();
        let tokens = keeping::renewed(&vouched.tokens, Some(before));
        let sealed = keeping::seal(&self.sessions, &link.key, &tokens);
        let next_check = sealed.as_ref().and_then(|_| next_check(provider, &tokens, now));
        let sighting = Sighting {
            key: link.key.clone(),
            issuer: vouched.issuer.clone(),
            email: vouched.email.clone(),
            tokens: sealed,
            roles: vouched.roles.clone(),
            at: now,
            next_check,
            replaces: link.tokens.clone(),
            event: Actor::default().event(now, "grant", None),
        };
        if let Some(user) = self.people.store().update_link(&sighting).await? {
            self.sessions.apply(&Changed::User(user));
        }
        Ok(())
    }

    /// Takes away what the link gave and ends the sessions that came from it, here at once.
    async fn end_vouching(&self, link: &LinkRow, why: &str) -> Result<(), StoreError> {
        let now = self.people.now();
        let mut event = Actor::default().event(now, "sign-out", None);
        event.detail = format!("{}: {why}", link.key.provider);
        self.people.store().delete_vouching(link, now, &event).await?;
        self.sessions.apply(&Changed::User(link.user));
        Ok(())
    }
}

/// When a provider is to be asked again; never where it could not be by these tokens then.
pub(super) fn next_check(
    provider: &Provider,
    tokens: &Tokens,
    now: Timestamp,
) -> Option<Timestamp> {
    let at = now.after(provider.settings().recheck?);
    provider.can_be_asked(tokens, at).then_some(at)
}

/// Whether it is the same person, and they may still come.
fn is_still(link: &LinkRow, vouched: &Vouched) -> bool {
    let is_same = vouched.subject == link.key.subject
        && link.issuer.as_ref().is_none_or(|issuer| *issuer == vouched.issuer);
    is_same && vouched.is_admitted
}
