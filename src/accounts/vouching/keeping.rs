//! Tokens of providers as they are kept: sealed, each for its own link. An ID token is not: it was read, and
//! nothing is asked by it.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::keys::Purpose;
use crate::identity::provider::Tokens;
use crate::session::Sessions;
use crate::store::LinkKey;

/// Longest text that is kept; tokens beyond it are not.
const LONGEST: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    access: String,
    refresh: Option<String>,
    expires_at: Option<i64>,
}

/// Tokens that came, with the refresh token from before where none came: Google sends one at the first
/// sign-in only, and a refresh need not bring another.
pub(super) fn renewed(tokens: &Tokens, before: Option<Tokens>) -> Tokens {
    let refresh = tokens.refresh.clone().or_else(|| before.and_then(|before| before.refresh));
    Tokens { refresh, ..tokens.clone() }
}

/// Seals tokens for their link.
pub(super) fn seal(sessions: &Sessions, key: &LinkKey, tokens: &Tokens) -> Option<Vec<u8>> {
    let text = |token: &SecretString| token.expose_secret().to_owned();
    let kept = Kept {
        access: text(&tokens.access),
        refresh: tokens.refresh.as_ref().map(text),
        expires_at: tokens.expires_at.map(Timestamp::as_micros),
    };
    let text = zeroize::Zeroizing::new(serde_json::to_vec(&kept).ok()?);
    if text.len() > LONGEST {
        return None;
    }
    sessions.seal(Purpose::ProviderTokens, place(key).as_bytes(), &text)
}

/// Opens the tokens of a link; `None` where none are kept, or under a secret that is no longer known.
pub(super) fn open(sessions: &Sessions, key: &LinkKey, sealed: Option<&[u8]>) -> Option<Tokens> {
    let text = sessions.open_sealed(Purpose::ProviderTokens, place(key).as_bytes(), sealed?)?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    Some(Tokens {
        access: kept.access.into(),
        refresh: kept.refresh.map(SecretString::from),
        id_token: None,
        expires_at: kept.expires_at.map(Timestamp::from_micros),
    })
}

/// Table and key of the row. Names of providers hold no line break.
fn place(key: &LinkKey) -> String {
    format!("linked_accounts\n{}\n{}", key.provider, key.subject)
}
