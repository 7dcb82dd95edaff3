//! What the file says of sessions, their cookie and cache, and of access tokens.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;
use super::spelling::{self, Chosen, SecureWord, Text};
use crate::config::SameSite;

/// Sessions and their cookie.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sessions {
    /// The session cookie.
    #[serde(default)]
    pub(in crate::config) cookie: Cookie,
    /// A session ends this long after its last use. Default: 2h.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) idle: Option<Duration>,
    /// A session ends this long after the sign-in. Default: 12h.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) lifetime: Option<Duration>,
    /// Both, when "remember me" was ticked.
    #[serde(default)]
    pub(in crate::config) remember: Remember,
    /// The session cache.
    #[serde(default)]
    pub(in crate::config) cache: SessionCache,
    /// How old what is known about a session may be. Default: 5s.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) max_staleness: Option<Duration>,
}

/// The session cookie.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cookie {
    /// Name without prefix. Default: portcullis.
    #[serde(default)]
    #[schemars(with = "Text<spelling::CookieName>")]
    pub(in crate::config) name: Option<Text<spelling::CookieName>>,
    /// `Domain` attribute, for several hosts under one domain. Default: null.
    pub(in crate::config) domain: Option<Text<spelling::Domain>>,
    /// `SameSite` attribute. Default: lax.
    #[serde(default)]
    #[schemars(with = "Chosen<SameSite>")]
    pub(in crate::config) same_site: Option<Chosen<SameSite>>,
    /// `Secure` attribute; auto takes it from `public_url`'s scheme. Default: auto.
    #[serde(default)]
    #[schemars(with = "Chosen<SecureWord>")]
    pub(in crate::config) secure: Option<Chosen<SecureWord>>,
}

/// Lifetimes with "remember me".
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Remember {
    /// Since the last use. Default: 7d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) idle: Option<Duration>,
    /// Since the sign-in. Default: 30d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) lifetime: Option<Duration>,
}

/// The session cache.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SessionCache {
    /// Sessions kept in memory. Default: 100000.
    #[serde(default)]
    #[schemars(with = "u64", range(min = 1, max = 100_000_000))]
    pub(in crate::config) entries: Option<u64>,
}

/// Access tokens.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tokens {
    /// Life of an access token. Default: 1h.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) access_lifetime: Option<Duration>,
    /// `aud` of access tokens. Default: fastapi-users:auth.
    #[serde(default)]
    #[schemars(with = "Vec<Text<spelling::Audience>>", length(min = 1))]
    pub(in crate::config) audience: Option<Vec<Text<spelling::Audience>>>,
}
