//! What a browser is sent away with, and how it is known again: a sealed state that goes by the provider,
//! and a cookie of its own for each time somebody goes.
//!
//! The state is read by nobody but this gateway, works for ten minutes, in one browser, for one provider and
//! one errand, and once.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::VouchError;
use crate::accounts::visit::Visit;
use crate::clock::{Entropy, Timestamp};
use crate::config::SessionCookie;
use crate::identity::keys::{Purpose, is_same, sha256};
use crate::session::Sessions;
use crate::web::cookies::{self, Attributes, Found};

/// How long somebody may be away.
pub(super) const AWAY: Duration = Duration::from_mins(10);
/// Cookies of this kind that a browser keeps.
const MOST: usize = 5;
/// Longest state that is looked at: the longest `next`, and what stands around it.
const LONGEST: usize = 6 * 1024;
/// Seconds and four random bytes, each as eight hexadecimal digits: the oldest comes first.
const SUFFIX_LENGTH: usize = 16;
const VALUE_LENGTH: usize = 22;
/// With a mark in front.
const MARKED_LENGTH: usize = VALUE_LENGTH + REPEATED.len();

/// What somebody goes to a provider for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errand {
    /// To sign in.
    SignIn,
    /// To link the account there to the one of whoever is signed in.
    Link,
}

impl Errand {
    /// The path below the portal at which somebody comes back.
    pub(super) fn callback(self, provider: &str) -> String {
        match self {
            Self::SignIn => format!("{provider}/callback"),
            Self::Link => format!("associate/{provider}/callback"),
        }
    }

    /// Where a state belongs: it opens at no other provider and for no other errand.
    fn place(self, provider: &str) -> String {
        match self {
            Self::SignIn => format!("sign-in {provider}"),
            Self::Link => format!("link {provider}"),
        }
    }
}

/// What is kept of somebody who is away.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// When they went: microseconds.
    begun: i64,
    /// Where they want to go.
    pub(super) next: Option<String>,
    /// Who was signed in, where an account is to be linked.
    pub(super) user: Option<Uuid>,
    /// The nonce of the ID token.
    pub(super) nonce: String,
    /// The verifier of the code.
    verifier: String,
    /// The last part of the cookie's name.
    cookie: String,
    /// The digest of its value.
    browser: [u8; 32],
    /// The browser came back once already without what it was sent away with.
    pub(super) is_repeated: bool,
}

/// A state that has just been made.
pub(super) struct Fresh {
    pub(super) sealed: String,
    pub(super) nonce: String,
    pub(super) verifier: SecretString,
    /// The cookie by which the browser is known again, and those that go for it.
    pub(super) cookies: Vec<HeaderValue>,
}

/// What a state is made for.
pub(super) struct Making<'a> {
    pub(super) provider: &'a str,
    pub(super) errand: Errand,
    pub(super) next: Option<String>,
    pub(super) user: Option<Uuid>,
    pub(super) is_repeated: bool,
}

impl State {
    /// Makes a state for the browser behind a visit.
    pub(super) fn make(
        visit: &Visit,
        sessions: &Sessions,
        entropy: &Entropy,
        making: Making<'_>,
    ) -> Option<Fresh> {
        let cookie = &visit.config.sessions.cookie;
        let seconds = u32::try_from(visit.now.as_seconds()).unwrap_or(u32::MAX);
        let suffix = format!("{seconds:08x}{:08x}", u32::from_be_bytes(entropy.bytes()));
        let mark = if making.is_repeated { REPEATED } else { "" };
        let value = format!("{mark}{}", URL_SAFE_NO_PAD.encode(entropy.bytes::<16>()));
        let state = Self {
            begun: visit.now.as_micros(),
            next: making.next,
            user: making.user,
            nonce: URL_SAFE_NO_PAD.encode(entropy.bytes::<16>()),
            verifier: URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()),
            cookie: suffix,
            browser: sha256(value.as_bytes()),
            is_repeated: making.is_repeated,
        };
        let place = making.errand.place(making.provider);
        let text = zeroize::Zeroizing::new(serde_json::to_vec(&state).ok()?);
        let sealed = sessions.seal(Purpose::ProviderFlow, place.as_bytes(), &text)?;
        Some(Fresh {
            sealed: URL_SAFE_NO_PAD.encode(sealed),
            cookies: set_cookies(&visit.headers, cookie, &state.cookie, &value)?,
            nonce: state.nonce,
            verifier: state.verifier.into(),
        })
    }

    /// Opens a state; whose it is and how old is not looked at.
    pub(super) fn open(
        sessions: &Sessions,
        provider: &str,
        errand: Errand,
        sealed: &str,
    ) -> Option<Self> {
        if sealed.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let place = errand.place(provider);
        let text = sessions.open_sealed(Purpose::ProviderFlow, place.as_bytes(), &bytes)?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether it may be used now, by this browser.
    pub(super) fn check(&self, visit: &Visit) -> Result<(), VouchError> {
        let begun = Timestamp::from_micros(self.begun);
        if visit.now.since(begun) >= AWAY {
            return Err(VouchError::OldState);
        }
        let name = cookie_name(&visit.config.sessions.cookie, &self.cookie);
        match cookies::find(&visit.headers, &name) {
            Found::One(value) if is_same(&sha256(value), &self.browser) => Ok(()),
            Found::None | Found::One(_) | Found::Several => Err(VouchError::ForeignState),
        }
    }

    /// When it is refused for its age anyway.
    pub(super) fn end(&self) -> Timestamp {
        Timestamp::from_micros(self.begun).after(AWAY)
    }

    pub(super) fn verifier(&self) -> SecretString {
        self.verifier.clone().into()
    }

    /// `Set-Cookie` that takes the cookie back.
    pub(super) fn clear_cookie(&self, cookie: &SessionCookie) -> Option<HeaderValue> {
        cookies::clear(&cookie_name(cookie, &self.cookie), &attributes(cookie, None))
    }
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fresh(…)")
    }
}

/// In front of the value of a cookie of somebody who was sent away once more.
const REPEATED: &str = "r";

/// Whether a browser has been sent away once more already.
pub(super) fn was_repeated(visit: &Visit) -> bool {
    let cookie = &visit.config.sessions.cookie;
    present(&visit.headers, &cookie_prefix(cookie)).any(|(_, value)| value.starts_with(REPEATED))
}

/// The digest under which it is remembered that a state came.
pub(super) fn digest_of(sealed: &str) -> [u8; 32] {
    sha256(sealed.as_bytes())
}

impl Making<'_> {
    /// The challenge of a verifier.
    pub(super) fn challenge(verifier: &SecretString) -> String {
        crate::identity::provider::challenge(verifier.expose_secret())
    }
}

/// The cookie for a new flow; beyond the number that a browser keeps the oldest go.
fn set_cookies(
    headers: &HeaderMap,
    cookie: &SessionCookie,
    suffix: &str,
    value: &str,
) -> Option<Vec<HeaderValue>> {
    let max_age = i64::try_from(AWAY.as_secs()).ok();
    let own = cookies::set(&cookie_name(cookie, suffix), value, &attributes(cookie, max_age))?;
    let prefix = cookie_prefix(cookie);
    let mut older: Vec<&str> = present(headers, &prefix).map(|(suffix, _)| suffix).collect();
    older.sort_unstable();
    older.dedup();
    let surplus = (older.len() + 1).saturating_sub(MOST);
    let gone = older.into_iter().take(surplus).filter_map(|suffix| {
        cookies::clear(&cookie_name(cookie, suffix), &attributes(cookie, None))
    });
    Some(std::iter::once(own).chain(gone).collect())
}

/// Lax whatever the session's is: the browser comes back from another site.
fn attributes(cookie: &SessionCookie, max_age: Option<i64>) -> Attributes<'static> {
    Attributes {
        domain: None,
        same_site: cookie::SameSite::Lax,
        secure: cookie.secure,
        max_age,
        http_only: true,
    }
}

fn cookie_prefix(cookie: &SessionCookie) -> String {
    cookie.portal_name("flow-")
}

fn cookie_name(cookie: &SessionCookie, suffix: &str) -> String {
    format!("{}{suffix}", cookie_prefix(cookie))
}

/// Suffix and value of every cookie of this kind.
fn present<'a>(headers: &'a HeaderMap, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    cookies::numbered(headers, prefix, SUFFIX_LENGTH)
        .filter(|(_, value)| matches!(value.len(), VALUE_LENGTH..=MARKED_LENGTH))
}
