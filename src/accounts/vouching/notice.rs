//! Signing out at a provider as well, and being told by one that somebody signed out there.

use url::Url;

use super::{VouchError, address};
use crate::accounts::visit::Visit;
use crate::accounts::{Accounts, Actor};
use crate::identity::keys::sha256;
use crate::identity::provider::{LogoutNotice, Provider, ProviderError};
use crate::identity::user::Method;
use crate::limit::Limited;
use crate::session::Identity;
use crate::store::{Changed, Conflict, Notice, StoreError};
use crate::telemetry::log::Causes;

/// Longest logout token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Where a browser signs out at a provider.
#[derive(Debug)]
pub struct Farewell {
    /// The provider's address.
    pub url: Url,
    /// The provider as people call it.
    pub label: String,
}

impl Accounts {
    /// Where a browser that signs out of this session is to go, so that it is signed out at the provider
    /// the session came from as well. To be asked before the session ends. A provider that cannot be asked
    /// keeps nobody from signing out here. The ID token does not go along as a hint: no token of a provider
    /// ever leaves the gateway; the client's name, which does, tells the provider who asks.
    pub async fn farewell(&self, visit: &Visit, identity: &Identity) -> Option<Farewell> {
        if identity.session().method != Method::Provider {
            return None;
        }
        let store = self.people.store();
        let loaded = store.find_session(&identity.session().id).await.ok().flatten()?;
        let key = loaded.session.origin?.link;
        let provider = self.vouching.get(&key.provider)?;
        let back = address(&visit.config, "logout");
        let url = provider.logout_url(&back).await?;
        Some(Farewell { url, label: provider.settings().label.clone() })
    }

    /// Ends the sessions that a provider's logout token names (OpenID Connect Back-Channel Logout 1.0). It
    /// works once.
    ///
    /// # Errors
    /// [`VouchError`].
    pub async fn heed_logout(
        &self,
        name: &str,
        token: &str,
        from: &Actor,
    ) -> Result<(), VouchError> {
        let provider = self.vouching.get(name).ok_or(VouchError::Unknown)?;
        let limited = |limited: Limited| VouchError::TooMany(limited.retry_after);
        let notice = match read(&provider, token).await {
            Err(VouchError::NoState) => {
                // Refuses no notice that is good, whatever others send from the same address.
                let _counted = self.limits.begin_notice(from.address).map_err(limited)?;
                return Err(VouchError::NoState);
            }
            read => read?,
        };
        let mut event = from.event(self.people.now(), "sign-out", None);
        event.detail = format!("{name}: signed out there");
        let which = Notice {
            provider: name,
            subject: notice.subject.as_deref(),
            session: notice.session.as_deref(),
            once: (sha256(format!("logout\n{name}\n{}", notice.id).as_bytes()), notice.until),
        };
        match self.people.store().delete_noticed_sessions(&which, &event).await {
            Ok(ended) => {
                for id in ended {
                    self.sessions.apply(&Changed::Session(id));
                }
                Ok(())
            }
            // It came before.
            Err(StoreError::Conflict(Conflict::Token)) => Err(VouchError::NoState),
            Err(error) => Err(VouchError::Store(error)),
        }
    }
}

/// Reads a logout token. A provider that cannot be asked for its keys, or whose clock is another, is at fault
/// itself: it may send the notice again.
async fn read(provider: &Provider, token: &str) -> Result<LogoutNotice, VouchError> {
    if token.is_empty() || token.len() > LONGEST_TOKEN {
        return Err(VouchError::NoState);
    }
    provider.read_logout_token(token).await.map_err(|error| {
        if matches!(error, ProviderError::IdToken(_) | ProviderError::Unsupported) {
            let name = &*provider.settings().name;
            tracing::warn!(provider = name, error = %Causes(&error), "a logout token is refused");
            return VouchError::NoState;
        }
        error.into()
    })
}
