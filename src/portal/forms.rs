//! Tokens that bind a portal form to who was shown it.
//!
//! A form shown to somebody signed in is bound to the session. Any other is bound to a cookie that the
//! page sets. Each page opened without such a cookie makes one under a name of its own, and a page
//! opened with one uses it again: so tabs that were opened at the same moment do not overwrite each
//! other's, and all of them can be sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};

use super::Portal;
use super::arrival::{explain, symptoms};
use super::trail::diagnose;
use crate::accounts::visit::{Answer, Visit};
use crate::clock::Entropy;
use crate::config::SessionCookie;
use crate::session::{Identity, Sessions};
use crate::web::cookies::{self, Attributes, Found};
use crate::web::form::Form;

/// What a form is for; a token made for one does not fit another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    SignIn,
    SignOut,
    SetUp,
    Forgot,
    RequestVerify,
    Reset,
    Verify,
    Register,
    Profile,
    Email,
    Password,
    Devices,
    Delete,
    Invitation,
    Link,
}

impl Purpose {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignOut => "sign-out",
            Self::SetUp => "set-up",
            Self::Forgot => "forgot",
            Self::RequestVerify => "request-verify",
            Self::Register => "register",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Password => "password",
            Self::Devices => "devices",
            Self::Delete => "delete",
            Self::Reset => "reset",
            Self::Verify => "verify",
            Self::Invitation => "invitation",
            Self::Link => "link",
        }
    }
}

/// A browser without session, told by a cookie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Browser {
    /// Last part of the cookie's name: eight hexadecimal digits.
    suffix: String,
    /// Its value: 16 random bytes.
    value: String,
    is_new: bool,
}

/// Why a form is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unbound {
    /// The browser sent no cookie of this kind at all.
    NoCookie,
    /// The token is missing or not this browser's.
    Mismatch,
}

/// The hidden field that carries a token.
pub(super) const TOKEN_FIELD: &str = "form_token";

const SUFFIX_LENGTH: usize = 8;
const VALUE_LENGTH: usize = 22;

impl Browser {
    /// The browser behind a request: by the first well-formed cookie, else by a new one.
    pub(super) fn of(visit: &Visit, entropy: &Entropy) -> Self {
        let prefix = cookie_prefix(&visit.config.sessions.cookie);
        present(&visit.headers, &prefix).into_iter().next().unwrap_or_else(|| Self {
            suffix: format!("{:08x}", u32::from_be_bytes(entropy.bytes())),
            value: URL_SAFE_NO_PAD.encode(entropy.bytes::<16>()),
            is_new: true,
        })
    }

    /// The token of a form shown to this browser.
    pub(super) fn token(&self, sessions: &Sessions, purpose: Purpose) -> String {
        let token = sessions.form_token(purpose.as_str(), self.value.as_bytes());
        format!("{}.{token}", self.suffix)
    }

    /// The `Set-Cookie` that a page shown to this browser needs; `None` if it has the cookie.
    pub(super) fn set_cookie(&self, cookie: &SessionCookie) -> Option<HeaderValue> {
        let name = format!("{}{}", cookie_prefix(cookie), self.suffix);
        self.is_new.then(|| cookies::set(&name, &self.value, &attributes(cookie, None))).flatten()
    }
}

impl Portal {
    /// Whether a form without session is one that was shown to this browser of late: else it is to be shown
    /// once more.
    ///
    /// # Errors
    /// For a browser that keeps no cookie, the page that says so.
    pub(super) fn is_current(
        &self,
        visit: &Visit,
        purpose: Purpose,
        form: &Form,
    ) -> Result<bool, Answer> {
        match check_browser(visit, self.accounts.sessions(), purpose, form.get(TOKEN_FIELD)) {
            Ok(()) => Ok(true),
            Err(Unbound::Mismatch) => Ok(false),
            Err(Unbound::NoCookie) => Err(explain(visit, diagnose(&symptoms(visit)), None, None)),
        }
    }
}

/// Checks the token of a form shown to a browser without session.
pub(super) fn check_browser(
    visit: &Visit,
    sessions: &Sessions,
    purpose: Purpose,
    token: Option<&str>,
) -> Result<(), Unbound> {
    let prefix = cookie_prefix(&visit.config.sessions.cookie);
    let (suffix, token) = token.and_then(|token| token.split_once('.')).unwrap_or_default();
    match cookies::find(&visit.headers, &format!("{prefix}{suffix}")) {
        Found::One(value) if sessions.is_form_token(token, purpose.as_str(), value) => Ok(()),
        Found::None if !sends_form_cookie(visit) => Err(Unbound::NoCookie),
        Found::None | Found::One(_) | Found::Several => Err(Unbound::Mismatch),
    }
}

/// Whether the browser sent a cookie of this kind.
pub(super) fn sends_form_cookie(visit: &Visit) -> bool {
    !present(&visit.headers, &cookie_prefix(&visit.config.sessions.cookie)).is_empty()
}

/// The token of a form shown within a session.
pub(super) fn session_token(sessions: &Sessions, purpose: Purpose, identity: &Identity) -> String {
    sessions.form_token(purpose.as_str(), &identity.session().id)
}

/// Checks the token of a form shown within a session.
pub(super) fn is_of_session(
    sessions: &Sessions,
    purpose: Purpose,
    identity: &Identity,
    token: Option<&str>,
) -> bool {
    let id = &identity.session().id;
    token.is_some_and(|token| sessions.is_form_token(token, purpose.as_str(), id))
}

/// Attributes of the portal's own cookies: this host only, as strict as the session's.
pub(super) fn attributes(cookie: &SessionCookie, max_age: Option<i64>) -> Attributes<'static> {
    Attributes {
        domain: None,
        same_site: cookie.same_site.into(),
        secure: cookie.secure,
        max_age,
        http_only: true,
    }
}

fn cookie_prefix(cookie: &SessionCookie) -> String {
    cookie.portal_name("form-")
}

/// Every cookie of this kind. Others of the name are left alone: they bind nothing.
fn present(headers: &HeaderMap, prefix: &str) -> Vec<Browser> {
    cookies::numbered(headers, prefix, SUFFIX_LENGTH)
        .filter(|(_, value)| value.len() == VALUE_LENGTH)
        .map(|(suffix, value)| Browser {
            suffix: suffix.into(),
            value: value.into(),
            is_new: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const GOOD: &str = "__Host-portcullis-form-0123abcd=AAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_page_opened_with_a_cookie_uses_it_again() {
        let mut headers = HeaderMap::new();
        let line = format!("a=b; {GOOD}; __Host-portcullis-form-ffffffff=short");
        headers
            .insert(COOKIE, HeaderValue::from_str(&line).unwrap_or(HeaderValue::from_static("")));
        let found = present(&headers, "__Host-portcullis-form-");
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().map(|browser| browser.suffix.as_str()), Some("0123abcd"));
        assert!(found.iter().all(|browser| !browser.is_new));
    }
}
