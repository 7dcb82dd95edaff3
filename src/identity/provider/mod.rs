//! Providers that vouch for people: OAuth 2.0 (RFC 6749, RFC 7636, RFC 9207) and OpenID Connect Core
//! 1.0, as a client. No database and no accounts: what a provider said comes out as [`Vouched`], and
//! what is done with it is `accounts`' business.
//!
//! Nothing a provider or a browser sent chooses an address that is called: those are the
//! configuration's, or the discovery document's of the configured issuer.

mod admission;
mod cached;
mod claims;
mod discovery;
mod error;
mod exchange;
mod github;
mod keys;
mod oauth2;
mod openid;
mod rotation;
mod token;
mod vouched;
mod wire;

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use crate::clock::{Clock, Timestamp};
use crate::config::{self, ProviderKind};

pub use error::{IdTokenFault, ProviderError};
pub use vouched::{LogoutNotice, Tokens, Vouched};

use oauth2::OAuth2;
use openid::{Flavour, OpenId, Place};
use wire::Wire;

/// Scopes that a caller may ask for beside the configured ones.
const MAX_EXTRA_SCOPES: usize = 20;

/// Every provider of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    list: Vec<Arc<Provider>>,
    /// Made when the first provider is: it reads the system's certificates.
    wire: Option<Wire>,
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
        if settings.is_empty() {
            return Ok(Self::default());
        }
        let wire = match &self.wire {
            Some(wire) => wire.clone(),
            None => Wire::new(wire::WHOLE)?,
        };
        let list = settings
            .iter()
            .map(|settings| match self.get(&settings.name) {
                Some(known) if known.settings.is_same(settings) => known,
                Some(_) | None => Arc::new(Provider::new(settings, &wire, clock)),
            })
            .collect();
        Ok(Self { list, wire: Some(wire) })
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
    /// Asked for beside the configured scopes; each may be several, between spaces.
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

/// The address a browser is sent to: the endpoint with what RFC 6749 section 4.1.1 and RFC 7636 ask for.
fn request(
    endpoint: &Url,
    client_id: &str,
    scopes: &[&str],
    asked: &Authorization<'_>,
    further: &[(&str, &str)],
) -> Result<Url, ProviderError> {
    let mut scopes = scopes.to_vec();
    let extra = asked.extra_scopes.iter().flat_map(|text| text.split(' '));
    for (count, scope) in extra.filter(|scope| !scope.is_empty()).enumerate() {
        if count >= MAX_EXTRA_SCOPES || !is_scope(scope) {
            return Err(ProviderError::Scope);
        }
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    let scopes = scopes.join(" ");
    let mut url = endpoint.clone();
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", asked.redirect_uri)
        .append_pair("state", asked.state)
        .append_pair("code_challenge", asked.challenge)
        .append_pair("code_challenge_method", "S256");
    if !scopes.is_empty() {
        query.append_pair("scope", &scopes);
    }
    query.extend_pairs(further);
    drop(query);
    Ok(url)
}

/// RFC 6749 section 3.3; as long as one of the file may be.
fn is_scope(text: &str) -> bool {
    text.len() <= 200 && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Somebody who vouches for people.
#[derive(Debug)]
pub struct Provider {
    settings: Arc<config::Provider>,
    speech: Speech,
}

/// How to talk to it.
#[derive(Debug)]
enum Speech {
    OpenId(Box<OpenId>),
    OAuth2(Box<OAuth2>),
}

impl Provider {
    fn new(settings: &Arc<config::Provider>, wire: &Wire, clock: &Clock) -> Self {
        let openid = |place| Speech::OpenId(Box::new(OpenId::new(settings, place, wire, clock)));
        let plain = |plain| Speech::OAuth2(Box::new(plain));
        let speech = match &settings.kind {
            ProviderKind::Google { issuer } => openid(Place::of(issuer, Flavour::Google)),
            ProviderKind::GitLab { issuer } => openid(Place::of(issuer, Flavour::GitLab)),
            ProviderKind::Oidc { issuer } => openid(Place::of(issuer, Flavour::Standard)),
            ProviderKind::Microsoft { base } => openid(Place::of_microsoft(base, &settings.who)),
            ProviderKind::GitHub { base } => plain(OAuth2::github(settings, base, wire, clock)),
            ProviderKind::OAuth2(addresses) => {
                plain(OAuth2::mapped(settings, addresses, wire, clock))
            }
        };
        Self { settings: Arc::clone(settings), speech }
    }

    /// As the file says.
    #[must_use]
    pub fn settings(&self) -> &config::Provider {
        &self.settings
    }

    /// Where a browser is sent to sign in.
    ///
    /// # Errors
    /// [`ProviderError::Scope`], and those of discovery.
    pub async fn authorization(&self, asked: &Authorization<'_>) -> Result<Url, ProviderError> {
        match &self.speech {
            Speech::OpenId(openid) => openid.authorization(asked).await,
            Speech::OAuth2(plain) => plain.authorization(asked),
        }
    }

    /// Redeems a code and asks who it stands for. Whether the person is among the provider's `who` is
    /// [`Vouched::is_admitted`], and for the caller to heed.
    ///
    /// # Errors
    /// What went wrong; nothing of it names a secret.
    pub async fn redeem(&self, asked: Redemption<'_>) -> Result<Vouched, ProviderError> {
        match &self.speech {
            Speech::OpenId(openid) => openid.redeem(&asked).await,
            Speech::OAuth2(plain) => plain.redeem(&asked).await,
        }
    }

    /// Asks whether it still vouches for somebody, by what was kept of the sign-in. A refresh token may
    /// be good for one use, and two uses at once look like a thief's: one caller at a time.
    ///
    /// # Errors
    /// [`ProviderError::vouches_no_longer`] tells the end of it from a provider that could not be asked.
    pub async fn recheck(&self, kept: &Tokens, subject: &str) -> Result<Vouched, ProviderError> {
        match &self.speech {
            Speech::OpenId(openid) => openid.recheck(kept, subject).await,
            Speech::OAuth2(plain) => plain.recheck(kept, subject).await,
        }
    }

    /// Whether there is anything in these tokens by which [`Self::recheck`] could ask at that time.
    #[must_use]
    pub fn can_be_asked(&self, kept: &Tokens, at: Timestamp) -> bool {
        match &self.speech {
            Speech::OpenId(_) => kept.refresh.is_some(),
            // By the access token itself, for as long as it is good.
            Speech::OAuth2(_) => {
                kept.refresh.is_some() || kept.expires_at.is_none_or(|end| end > at)
            }
        }
    }

    /// Where a browser is sent to sign out there too (OpenID Connect RP-Initiated Logout 1.0), if the
    /// provider has such a place and is known already or answers within two seconds.
    pub async fn logout_url(&self, back_to: &str) -> Option<Url> {
        match &self.speech {
            Speech::OpenId(openid) => openid.logout_url(back_to).await,
            Speech::OAuth2(_) => None,
        }
    }

    /// Reads a back-channel logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6). That its
    /// id comes for the first time is the caller's to see.
    ///
    /// # Errors
    /// [`ProviderError::IdToken`] and [`ProviderError::Clock`] for a token that is not good; those of
    /// discovery; [`ProviderError::Unsupported`] where the provider sends no such tokens.
    pub async fn read_logout_token(&self, token: &str) -> Result<LogoutNotice, ProviderError> {
        match &self.speech {
            Speech::OpenId(openid) => openid.read_logout_token(token).await,
            Speech::OAuth2(_) => Err(ProviderError::Unsupported),
        }
    }
}

#[cfg(test)]
mod tests;
