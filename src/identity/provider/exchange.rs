//! Codes and refresh tokens for access tokens (RFC 6749 sections 4.1.3, 5 and 6).

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::Redemption;
use super::error::ProviderError;
use super::vouched::Tokens;
use super::wire::{Answer, Wire};
use crate::clock::{Clock, Timestamp};
use crate::config::{self, ClientAuth};
use crate::web::json;

/// Bytes of any token at most.
const MAX_TOKEN: usize = 64 * 1024;
/// Characters of an error code at most.
const MAX_CODE: usize = 64;
/// Longest life of an access token that is believed.
const MAX_LIFE: u64 = 366 * 24 * 60 * 60;

/// A place where tokens are had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange<'a> {
    pub(super) wire: &'a Wire,
    pub(super) settings: &'a config::Provider,
    pub(super) endpoint: &'a Url,
    /// How the provider wants the client to prove itself; the configuration's word comes first.
    pub(super) announced: Option<ClientAuth>,
    pub(super) clock: &'a Clock,
}

impl Exchange<'_> {
    /// Redeems a code.
    pub(super) async fn redeem(&self, asked: &Redemption<'_>) -> Result<Tokens, ProviderError> {
        self.ask(&[
            ("grant_type", "authorization_code"),
            ("code", asked.code),
            ("redirect_uri", asked.redirect_uri),
            ("code_verifier", asked.verifier.expose_secret()),
        ])
        .await
    }

    /// Has a fresh access token; the refresh token stays good where no other comes.
    pub(super) async fn refresh(&self, refresh: &SecretString) -> Result<Tokens, ProviderError> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose_secret())];
        match self.ask(&form).await {
            Ok(tokens) => {
                Ok(Tokens { refresh: tokens.refresh.or_else(|| Some(refresh.clone())), ..tokens })
            }
            Err(ProviderError::Refused(code)) if is_end(&code) => {
                Err(ProviderError::NoLonger("its refresh token is not taken any more"))
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, form: &[(&str, &str)]) -> Result<Tokens, ProviderError> {
        let id = self.settings.client_id.as_str();
        let secret = self.settings.client_secret.as_ref();
        let way = self.settings.client_auth.or(self.announced);
        let mut form = form.to_vec();
        let basic = match (secret, way) {
            (Some(secret), Some(ClientAuth::Basic)) => Some((id, secret)),
            (Some(secret), Some(ClientAuth::Post)) => {
                form.extend([("client_id", id), ("client_secret", secret.expose_secret())]);
                None
            }
            (Some(_), None) => {
                return Err(ProviderError::Malformed(
                    "it takes a client's secret neither by client_secret_basic nor by _post",
                ));
            }
            (None, _) => {
                form.push(("client_id", id));
                None
            }
        };
        let answer = self.wire.post(self.endpoint, &form, basic).await?;
        read(answer, self.clock.now())
    }
}

/// Whether a refusal means that the person, or the grant, is gone.
fn is_end(code: &str) -> bool {
    matches!(code, "invalid_grant" | "bad_refresh_token")
}

/// GitHub sends its errors as successes. One that has too much to do (429) refuses nobody.
fn read(answer: Answer, now: Timestamp) -> Result<Tokens, ProviderError> {
    if let (200..=299 | 400..=428 | 430..=499, Some(Value::Object(object))) =
        (answer.status, &answer.body)
        && let Some(error) = object.get("error")
    {
        return Err(ProviderError::Refused(code(error)));
    }
    tokens(&answer.object()?, now)
}

/// An error's code as it may stand in a log.
pub(super) fn code(error: &Value) -> String {
    let text = match error {
        Value::String(text) => Some(text.as_str()),
        // As Facebook has it.
        Value::Object(object) => json::text(object, "type"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    let is_kept = |c: &char| c.is_ascii_alphanumeric() || "_.-".contains(*c);
    let code: String = text.unwrap_or_default().chars().filter(is_kept).take(MAX_CODE).collect();
    if code.is_empty() { "an error without a code".to_owned() } else { code }
}

fn tokens(object: &Map<String, Value>, now: Timestamp) -> Result<Tokens, ProviderError> {
    let token = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_token(text) => Ok(Some(SecretString::from(text.clone()))),
        Some(_) => Err(ProviderError::Malformed("a token is none")),
    };
    let kind = json::text(object, "token_type").unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(ProviderError::Malformed("its access tokens are of another type than Bearer"));
    }
    let life = match object.get("expires_in") {
        Some(Value::Number(seconds)) => seconds.as_u64(),
        Some(Value::String(seconds)) => seconds.parse().ok(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    let life = life.filter(|life| *life > 0).map(|life| life.min(MAX_LIFE));
    Ok(Tokens {
        access: token("access_token")?
            .ok_or(ProviderError::Malformed("it sent no access token"))?,
        refresh: token("refresh_token")?,
        id_token: token("id_token")?,
        expires_at: life.map(|life| now.after(std::time::Duration::from_secs(life))),
    })
}

/// RFC 6749 appendix A: visible ASCII, with spaces.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}
