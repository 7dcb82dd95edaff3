//! Providers that vouch for people: OAuth 2.0 (RFC 6749, RFC 7636, RFC 9207) and OpenID Connect Core
//! 1.0, as a client. No database and no accounts: what a provider said comes out as [`Vouched`], and
//! what is done with it is `accounts`' business.
//!
//! Nothing a provider or a browser sent chooses an address that is called: those are the
//! configuration's, or the discovery document's of the configured issuer.

mod admission;
mod error;
mod vouched;

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use crate::clock::Clock;
use crate::config;

pub use error::{IdTokenFault, ProviderError};
pub use vouched::{LogoutNotice, Tokens, Vouched};

/// Every provider of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    list: Vec<Arc<Provider>>,
}

impl Providers {
    /// Opens no connection: a provider that is down keeps nobody from starting.
    ///
    /// # Errors
    /// [`ProviderError::Unreachable`] where the HTTP client cannot be made at all (no certificates).
    pub fn new(settings: &[Arc<config::Provider>], clock: &Clock) -> Result<Self, ProviderError> {
        Self::default().renewed(settings, clock)
    }

    /// As [`Self::new`] for a changed configuration: what is known of a provider that stayed the same
    /// is kept.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renewed(
        &self,
        settings: &[Arc<config::Provider>],
        clock: &Clock,
    ) -> Result<Self, ProviderError> {
        let _ = clock;
        let list = settings
            .iter()
            .map(|settings| match self.get(&settings.name) {
                Some(known) if known.settings.is_same(settings) => known,
                Some(_) | None => Arc::new(Provider { settings: Arc::clone(settings) }),
            })
            .collect();
        Ok(Self { list })
    }

    /// The provider of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Provider>> {
        self.list.iter().find(|provider| provider.settings.name == name).cloned()
    }

    /// All of them, as their buttons stand.
    #[must_use]
    pub fn list(&self) -> &[Arc<Provider>] {
        &self.list
    }
}

/// What a browser is sent away with.
#[derive(Clone, Copy, Debug)]
pub struct Authorization<'a> {
    /// Comes back with the browser.
    pub state: &'a str,
    /// Comes back in the ID token; plain OAuth 2.0 does not get it.
    pub nonce: &'a str,
    /// [`challenge`] of the verifier kept here.
    pub challenge: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Asked for beside the configured scopes.
    pub extra_scopes: &'a [String],
}

/// What a browser came back with, and what was kept for it.
#[derive(Clone, Copy)]
pub struct Redemption<'a> {
    /// The callback's `code`.
    pub code: &'a str,
    /// The callback's `iss` (RFC 9207).
    pub iss: Option<&'a str>,
    /// The verifier of the challenge that was sent.
    pub verifier: &'a SecretString,
    /// The nonce that was sent.
    pub nonce: &'a str,
    /// The address that was sent, to the letter.
    pub redirect_uri: &'a str,
}

/// The S256 challenge of a verifier (RFC 7636 section 4.2).
#[must_use]
pub fn challenge(verifier: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(super::keys::sha256(verifier.as_bytes()))
}

/// Somebody who vouches for people.
#[derive(Debug)]
pub struct Provider {
    settings: Arc<config::Provider>,
}

impl Provider {
    /// As the file says.
    #[must_use]
    pub fn settings(&self) -> &config::Provider {
        &self.settings
    }

    /// Where a browser is sent to sign in.
    ///
    /// # Errors
    /// Those of discovery.
    pub async fn authorization(&self, asked: &Authorization<'_>) -> Result<Url, ProviderError> {
        let _ = asked;
        Err(ProviderError::Unreachable("not built"))
    }

    /// Checks the `iss` of a callback that brought an error instead of a code.
    ///
    /// # Errors
    /// [`ProviderError::MixUp`], and those of discovery.
    pub async fn check_callback(&self, iss: Option<&str>) -> Result<(), ProviderError> {
        let _ = iss;
        Err(ProviderError::Unreachable("not built"))
    }

    /// Redeems a code and asks who it stands for. Whether the person is among the provider's `who` is
    /// [`Vouched::is_admitted`], and for the caller to heed.
    ///
    /// # Errors
    /// What went wrong; nothing of it names a secret.
    pub async fn redeem(&self, redemption: Redemption<'_>) -> Result<Vouched, ProviderError> {
        let _ = redemption;
        Err(ProviderError::Unreachable("not built"))
    }

    /// Asks whether it still vouches for somebody, by what was kept of the sign-in.
    ///
    /// # Errors
    /// [`ProviderError::vouches_no_longer`] tells the end of it from a provider that could not be asked.
    pub async fn recheck(&self, kept: &Tokens, subject: &str) -> Result<Vouched, ProviderError> {
        let _ = (kept, subject);
        Err(ProviderError::Unreachable("not built"))
    }

    /// Where a browser is sent to sign out there too (OpenID Connect RP-Initiated Logout 1.0), if the
    /// provider has such a place and is known already or answers within two seconds.
    pub async fn logout_url(
        &self,
        id_token: Option<&SecretString>,
        post_logout_redirect_uri: &str,
        state: &str,
    ) -> Option<Url> {
        let _ = (id_token, post_logout_redirect_uri, state);
        None
    }

    /// Reads a back-channel logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6). That its
    /// id comes for the first time is the caller's to see.
    ///
    /// # Errors
    /// [`ProviderError::IdToken`] and [`ProviderError::Clock`] for a token that is not good; those of
    /// discovery; [`ProviderError::Unsupported`] where the provider speaks no OpenID Connect.
    pub async fn read_logout_token(&self, token: &str) -> Result<LogoutNotice, ProviderError> {
        let _ = token;
        Err(ProviderError::Unsupported)
    }
}
