//! ID tokens and logout tokens (OpenID Connect Core 1.0 section 3.1.3.7, Back-Channel Logout 1.0 section
//! 2.6): their form, and what their claims must say. Pure: keys and time are arguments.
//!
//! The library verifies the signature and nothing else. What it would check by itself it checks with a
//! clock of its own and by defaults that let an array be an issuer and an absent audience pass.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::discovery::ALGORITHMS;
use super::error::{IdTokenFault, ProviderError};
use super::keys::{KeySet, Signed};
use crate::clock::Timestamp;
use crate::web::json;

/// Longer texts are refused before any work is done on them. Tokens with many groups are long.
const MAX_TOKEN: usize = 64 * 1024;
/// Bytes of `sub` at most (Core section 2).
const MAX_SUBJECT: usize = 255;
/// Bytes of `sid` and `jti` at most.
const MAX_ID: usize = 500;
/// The event of a logout token (section 2.4).
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Header parameters that bring a key along or change what the rest means. `x5t`, which AD FS sends, only
/// names a certificate.
const REFUSED: [&str; 9] = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk"];

/// A token taken apart, its signature not looked at yet.
pub(super) struct Token<'a> {
    message: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: Map<String, Value>,
}

/// No claims to show before the signature is verified.
impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'a> Token<'a> {
    /// Takes a token apart: three parts, a header that means no more than a name of a key and one of
    /// `algorithms`, and claims.
    pub(super) fn read(text: &'a str, algorithms: &[Algorithm]) -> Result<Self, IdTokenFault> {
        if text.len() > MAX_TOKEN {
            return Err(IdTokenFault::Form);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdTokenFault::Form);
        };
        let object = |part: &str| {
            let decoded = URL_SAFE_NO_PAD.decode(part).ok()?;
            json::read_object(&decoded)
        };
        let message = &text[..header.len() + 1 + claims.len()];
        let header = object(header).ok_or(IdTokenFault::Form)?;
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(IdTokenFault::Header);
        }
        let name = json::text(&header, "alg").ok_or(IdTokenFault::Algorithm)?;
        let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
        let algorithm = known.map(|(_, algorithm)| *algorithm);
        let algorithm = algorithm.filter(|one| algorithms.contains(one));
        let optional = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(IdTokenFault::Header),
        };
        Ok(Self {
            message,
            signature,
            algorithm: algorithm.ok_or(IdTokenFault::Algorithm)?,
            kid: optional("kid")?,
            typ: optional("typ")?,
            claims: object(claims).ok_or(IdTokenFault::Form)?,
        })
    }

    /// The claims, once one of the keys has signed them.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<&Map<String, Value>, IdTokenFault> {
        keys.verify(&Signed {
            algorithm: self.algorithm,
            kid: self.kid.as_deref(),
            message: self.message,
            signature: self.signature,
        })?;
        Ok(&self.claims)
    }

    /// Whether it says that it is of this type, or nothing more than that it is a JSON Web Token.
    fn is_of_type(&self, typ: Option<&str>) -> bool {
        self.typ.as_deref().is_none_or(|said| {
            said.eq_ignore_ascii_case("JWT")
                || typ.is_some_and(|typ| said.eq_ignore_ascii_case(typ))
        })
    }

    /// Left half of a digest of the access token, in the algorithm's hash (Core section 3.1.3.6).
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's enum; only ALGORITHMS get here"
    )]
    fn half_digest(&self, text: &str) -> String {
        let hash = match self.algorithm {
            Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
            Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
            _ => &digest::SHA256,
        };
        let whole = digest::digest(hash, text.as_bytes());
        let (left, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        URL_SAFE_NO_PAD.encode(left)
    }
}

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    /// This one's.
    Exactly(String),
    /// Any tenant's whose issuer is this with its id for `{tenantid}` (Microsoft).
    OfTenant(String),
}

/// Where Microsoft's metadata say that a tenant's id stands.
pub(super) const TENANT: &str = "{tenantid}";

impl Issuer {
    /// Whether a text names this issuer: for a callback, which names no tenant apart.
    pub(super) fn is_named(&self, text: &str) -> bool {
        match self {
            Self::Exactly(issuer) => issuer == text,
            Self::OfTenant(template) => {
                let Some((before, after)) = template.split_once(TENANT) else { return false };
                let tenant = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                tenant.is_some_and(is_uuid)
            }
        }
    }

    /// Whether the claims are this issuer's.
    fn check(&self, claims: &Map<String, Value>) -> Result<(), IdTokenFault> {
        let said = json::text(claims, "iss").ok_or(IdTokenFault::Issuer)?;
        match self {
            Self::Exactly(issuer) if issuer == said => Ok(()),
            Self::Exactly(_) => Err(IdTokenFault::Issuer),
            Self::OfTenant(template) => {
                let tenant = json::text(claims, "tid").filter(|tenant| is_uuid(tenant));
                let tenant = tenant.ok_or(IdTokenFault::Tenant)?;
                let expected = template.replace(TENANT, tenant);
                if expected == said { Ok(()) } else { Err(IdTokenFault::Issuer) }
            }
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// What every token must be, whatever it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) client_id: &'a str,
    pub(super) now: Timestamp,
    pub(super) leeway: Duration,
}

impl Expected<'_> {
    /// `iss`, `aud`, `azp`, `exp`, `iat`, `nbf`. Returns the end, if one is said.
    fn check(&self, claims: &Map<String, Value>) -> Result<Option<Timestamp>, ProviderError> {
        self.issuer.check(claims)?;
        self.check_audience(claims)?;
        let time = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => date(value).map(Some).ok_or(IdTokenFault::Claim(name)),
        };
        let clock = |claim, theirs| Err(ProviderError::Clock { claim, ours: self.now, theirs });
        let until = time("exp")?;
        if let Some(until) = until.filter(|until| until.after(self.leeway) <= self.now) {
            return clock("exp", until);
        }
        let latest = self.now.after(self.leeway);
        let issued = time("iat")?.ok_or(IdTokenFault::Claim("iat"))?;
        if issued > latest {
            return clock("iat", issued);
        }
        if let Some(from) = time("nbf")?.filter(|from| *from > latest) {
            return clock("nbf", from);
        }
        Ok(until)
    }

    /// For us; for others too only where it says that it was made for us.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), IdTokenFault> {
        let audience: Option<Vec<&str>> = match claims.get("aud") {
            Some(Value::String(one)) => Some(vec![one]),
            Some(Value::Array(several)) => several.iter().map(Value::as_str).collect(),
            Some(_) | None => None,
        };
        let audience = audience.ok_or(IdTokenFault::Audience)?;
        let has_others = audience.iter().any(|one| *one != self.client_id);
        let is_for_us = audience.contains(&self.client_id);
        let is_ours = match claims.get("azp") {
            None => !has_others,
            Some(party) => party.as_str() == Some(self.client_id),
        };
        if is_for_us && is_ours { Ok(()) } else { Err(IdTokenFault::Audience) }
    }
}

/// A `NumericDate` (RFC 7519 section 2), within the times that can be told.
#[expect(clippy::cast_possible_truncation, reason = "checked to lie far inside the type's range")]
fn date(value: &Value) -> Option<Timestamp> {
    const LATEST: i64 = 253_402_300_799;
    let seconds = match value.as_i64() {
        Some(seconds) => seconds,
        None => value.as_f64().filter(|seconds| seconds.abs() < 1e12).map(|s| s.floor() as i64)?,
    };
    (0..=LATEST).contains(&seconds).then(|| Timestamp::from_seconds(seconds))
}

/// What an ID token is held against beside [`Expected`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answering<'a> {
    /// The nonce that was sent; `None` after a refresh, which sends none.
    pub(super) nonce: Option<&'a str>,
    /// The access token that came along.
    pub(super) access_token: Option<&'a str>,
}

/// The claims of an ID token that is good in every respect.
pub(super) fn check_id_token<'a>(
    token: &'a Token<'_>,
    keys: &KeySet,
    expected: &Expected<'_>,
    answering: &Answering<'_>,
) -> Result<&'a Map<String, Value>, ProviderError> {
    let claims = token.verify(keys)?;
    if !token.is_of_type(None) || claims.contains_key("events") {
        return Err(IdTokenFault::Header.into());
    }
    if expected.check(claims)?.is_none() {
        return Err(IdTokenFault::Claim("exp").into());
    }
    if let Some(nonce) = answering.nonce {
        let said = json::text(claims, "nonce").unwrap_or_default();
        if !bool::from(said.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(IdTokenFault::Nonce.into());
        }
    }
    subject(claims).ok_or(IdTokenFault::Subject)?;
    let hash = claims.get("at_hash");
    if let (Some(hash), Some(access_token)) = (hash, answering.access_token)
        && hash.as_str() != Some(&token.half_digest(access_token))
    {
        return Err(IdTokenFault::AccessToken.into());
    }
    Ok(claims)
}

/// `sub`, if it can be one.
pub(super) fn subject(claims: &Map<String, Value>) -> Option<&str> {
    json::text(claims, "sub").filter(|subject| is_id(subject, MAX_SUBJECT))
}

/// Whether a text can be an id: not empty, not long, printable.
pub(super) fn is_id(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
}

/// `sid`, if it is there and can be one.
pub(super) fn session(claims: &Map<String, Value>) -> Option<&str> {
    json::text(claims, "sid").filter(|session| is_id(session, MAX_ID))
}

/// What a logout token says.
#[derive(Debug)]
pub(super) struct LogoutClaims<'a> {
    pub(super) subject: Option<&'a str>,
    pub(super) session: Option<&'a str>,
    pub(super) id: &'a str,
    pub(super) until: Timestamp,
}

/// Checks a logout token as section 2.6 has it. That its `jti` is new is not known here.
pub(super) fn check_logout_token<'a>(
    token: &'a Token<'_>,
    keys: &KeySet,
    expected: &Expected<'_>,
) -> Result<LogoutClaims<'a>, ProviderError> {
    let claims = token.verify(keys)?;
    let event = claims.get("events").and_then(|events| events.get(LOGOUT));
    let is_logout = token.is_of_type(Some("logout+jwt"))
        && event.is_some_and(Value::is_object)
        && !claims.contains_key("nonce");
    if !is_logout {
        return Err(IdTokenFault::NoLogout.into());
    }
    let until = expected.check(claims)?.ok_or(IdTokenFault::Claim("exp"))?;
    let id = json::text(claims, "jti").filter(|id| is_id(id, MAX_ID));
    let (subject, session) = (subject(claims), session(claims));
    if (claims.contains_key("sub") && subject.is_none())
        || (claims.contains_key("sid") && session.is_none())
        || (subject.is_none() && session.is_none())
    {
        return Err(IdTokenFault::Subject.into());
    }
    Ok(LogoutClaims {
        subject,
        session,
        id: id.ok_or(IdTokenFault::Claim("jti"))?,
        until: until.after(expected.leeway),
    })
}
