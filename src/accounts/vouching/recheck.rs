//! Asking providers now and then whether they still vouch for the people who are signed in by them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::{Vouching, keeping, too_long};
use crate::accounts::{Accounts, Actor};
use crate::clock::Timestamp;
use crate::identity::provider::{Provider, ProviderError, Tokens, Vouched};
use crate::store::{Changed, Conflict, DueCheck, LinkRow, Sighting, StoreError};
use crate::telemetry::log::Causes;

/// People a provider is asked about at a time.
const AT_ONCE: u32 = 8;
/// Over one question.
const ASKED_WITHIN: Duration = Duration::from_secs(30);
/// When it is asked again about somebody it could not be asked about, and when somebody else may ask in the
/// place of a node that died over it: longer than a question takes, so no link is taken twice.
const RETRY: Duration = Duration::from_mins(5);
/// How long a provider that can be asked about nobody now is left alone.
const REST: Duration = Duration::from_mins(1);
/// How often it is looked whether somebody is due.
const LOOK: Duration = Duration::from_secs(1);
/// Tokens that cannot be opened come up again after [`RETRY`] for as long as the trouble lasts.
const TROUBLE: Duration = Duration::from_mins(15);

/// Which providers are being asked. Each has a task of its own, so that one that hangs delays no other.
#[derive(Default)]
struct Rounds {
    tasks: JoinSet<()>,
    /// By name and whether it is configured: what ended is not put off until a provider that hangs has been
    /// waited for.
    of: BTreeMap<(String, bool), AbortHandle>,
}

/// Why nothing came of a question.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    /// The provider can be asked about nobody now.
    #[error("the provider can be asked about nobody now")]
    Away,
    /// What it said could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Asks for as long as it is polled.
    pub async fn recheck(self) {
        let mut rounds = Rounds::default();
        let mut is_failing = false;
        loop {
            match self.begin_rounds(&mut rounds).await {
                Ok(()) => is_failing = false,
                // Said once: the store's own trouble is logged where it is followed.
                Err(_) if is_failing => {}
                Err(error) => {
                    is_failing = true;
                    tracing::warn!(error = %Causes(&error), "links could not be read");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Begins a round at every provider that has links and none under way.
    async fn begin_rounds(&self, rounds: &mut Rounds) -> Result<(), StoreError> {
        // A panic has been reported where it happened.
        while rounds.tasks.try_join_next().is_some() {}
        rounds.of.retain(|_, task| !task.is_finished());
        let store = self.people.store();
        for provider in store.list_linked_providers().await? {
            let is_configured = self.vouching.get(&provider).is_some();
            let key = (provider, is_configured);
            if rounds.of.contains_key(&key) {
                continue;
            }
            // One that was taken out of the file vouches for nobody, whether or not it was asked before. It
            // is looked at each time: somebody may just have been on the way back from it.
            if !is_configured {
                store.update_checks_due(&key.0, self.people.now()).await?;
            }
            let round = self.clone().ask_all(key.0.clone());
            rounds.of.insert(key, rounds.tasks.spawn(round));
        }
        Ok(())
    }

    /// Asks a provider about everybody who is due there, and rests where it can be asked about nobody
    /// now. A link is taken by one node.
    async fn ask_all(self, provider: String) {
        loop {
            let now = self.people.now();
            let store = self.people.store();
            let due = match store.find_due_checks(&provider, now, RETRY, AT_ONCE).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(provider, error = %Causes(&error), "links could not be read");
                    break;
                }
            };
            let asked = futures_util::future::join_all(due.iter().map(|due| self.ask(due))).await;
            if asked.contains(&false) {
                break;
            }
            if asked.len() < AT_ONCE as usize {
                return;
            }
        }
        tokio::time::sleep(REST).await;
    }

    /// Whether the provider can be asked about others.
    async fn ask(&self, due: &DueCheck) -> bool {
        let link = &due.link;
        let settled = match self.vouching.get(&link.key.provider) {
            None => self.end_vouching(link, "no longer configured").await,
            // Due since the provider was missing from the file for a moment.
            Some(provider) if provider.settings().recheck.is_none() || link.tokens.is_none() => {
                self.people.store().delete_check(link).await
            }
            // Asked at the next sign-in.
            Some(_) if !due.has_session => Ok(()),
            Some(provider) => match self.ask_provider(&provider, link).await {
                Err(Unsettled::Away) => return false,
                Err(Unsettled::Store(error)) => Err(error),
                Ok(()) => Ok(()),
            },
        };
        match settled {
            // Signed in anew, unlinked or deleted meanwhile.
            Ok(()) | Err(StoreError::Conflict(Conflict::Gone)) => {}
            Err(error) => tracing::warn!(
                error = %Causes(&error),
                "what a provider said could not be written down"
            ),
        }
        true
    }

    async fn ask_provider(
        &self,
        provider: &Arc<Provider>,
        link: &LinkRow,
    ) -> Result<(), Unsettled> {
        let Some(tokens) = keeping::open(&self.sessions, &link.key, link.tokens.as_deref()) else {
            if self.vouching.is_news(self.people.now()) {
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
                self.see_again(provider, link, tokens, &vouched).await?;
            }
            Ok(_) => self.end_vouching(link, "no longer among `who`").await?,
            Err(error) if error.vouches_no_longer() => {
                self.end_vouching(link, "no longer vouched for").await?;
            }
            Err(ProviderError::NothingToAskBy) => self.people.store().delete_check(link).await?,
            Err(error) => {
                let provider = &*link.key.provider;
                tracing::warn!(provider, error = %Causes(&error), "a provider could not be asked");
                if error.is_away() {
                    return Err(Unsettled::Away);
                }
            }
        }
        Ok(())
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
        let mut event = Actor::default().event(self.people.now(), "sign-out", None);
        event.detail = format!("{}: {why}", link.key.provider);
        self.people.store().delete_vouching(link, &event).await?;
        self.sessions.apply(&Changed::User(link.user));
        Ok(())
    }
}

impl Vouching {
    /// Whether tokens that cannot be opened are news: of one trouble it is said once.
    fn is_news(&self, now: Timestamp) -> bool {
        let last = &self.inner.unreadable_at;
        let last = last.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        last.is_none_or(|last| now.since(last) > TROUBLE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_cannot_be_opened_are_told_of_once_a_trouble() {
        let (vouching, begun) = (Vouching::none(), Timestamp::from_seconds(1_000_000));
        let told = [0, 5, 10, 24, 40, 45]
            .map(|minute| vouching.is_news(begun.after(Duration::from_mins(minute))));
        assert_eq!(told, [true, false, false, false, true, false]);
    }
}
