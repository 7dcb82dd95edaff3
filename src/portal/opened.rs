//! Links that were opened. Their token leaves the address, which people see and copy, which histories keep and
//! other sites are told, for a short cookie of the one page that it opens.
//!
//! The page's form carries the token itself, so links opened in several tabs do not get in each other's way:
//! the cookie only says what the page shows when it is asked for.

use http::header::REFERRER_POLICY;
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::forms::{Browser, Purpose, attributes, sends_form_cookie};
use super::links::purpose_of;
use super::{Page, Portal, add_cookie, read_query, render};
use crate::accounts::visit::{Answer, Visit, see_other};
use crate::config::SessionCookie;
use crate::session::CookieCredential;
use crate::web::cookies::{self, Attributes, Found};

/// How long a page can be asked for again, in seconds from when its link was opened.
const KEPT: i64 = 60 * 60;
/// Longer than any token.
const LONGEST: usize = 128;

/// The page for a browser that did not keep the link.
#[derive(Serialize)]
struct Lost<'a> {
    host: &'a str,
}

impl Page {
    /// The form on the page that a link opens, if one does.
    const fn opened_by_link(self) -> Option<Purpose> {
        match self {
            Self::SetUp => Some(Purpose::SetUp),
            Self::Invitation => Some(Purpose::Invitation),
            Self::Link(kind) => Some(purpose_of(kind)),
            Self::SignIn
            | Self::Continue
            | Self::SignOut
            | Self::Account
            | Self::Part(_)
            | Self::Register
            | Self::Letter(_)
            | Self::Language
            | Self::Logo
            | Self::Depart(_)
            | Self::ComeBack(_)
            | Self::Confirm(_) => None,
        }
    }
}

impl Portal {
    /// GET of a link: keeps its token and leads to its page. `None` where a request is for something else.
    /// Nothing is looked up, so that no answer at this address is more than that.
    pub(super) fn open_link(&self, visit: &Visit, page: Page) -> Option<Answer> {
        let purpose = page.opened_by_link().filter(|_| *visit.asked() == Method::GET)?;
        let query = read_query(visit).ok();
        let token = query.as_ref().map_or(Some(""), |query| query.get("token"))?;
        let mut answer = see_other(visit.target.path());
        answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let cookie = &visit.config.sessions.cookie;
        let name = cookie_name(cookie, purpose);
        let is_token = !token.is_empty() && token.len() <= LONGEST;
        let attributes = link_attributes(cookie, Some(KEPT));
        let set = is_token.then(|| cookies::set(&name, token, &attributes)).flatten();
        add_cookie(&mut answer, set.or_else(|| clear(cookie, purpose)));
        // Tells a link that is over from a browser that keeps no cookies.
        add_cookie(&mut answer, Browser::of(visit, &self.entropy).set_cookie(cookie));
        Some(answer)
    }
}

/// The token of the link that was opened last, for the page with this form; empty where it is kept no more.
///
/// # Errors
/// For a browser that keeps no cookie, the page that says so.
pub(super) fn opened(visit: &Visit, purpose: Purpose) -> Result<&str, Answer> {
    let keeps_cookies =
        sends_form_cookie(visit) || visit.credentials.cookie != CookieCredential::None;
    match kept(visit, purpose) {
        Found::One(token) => Ok(std::str::from_utf8(token).unwrap_or_default()),
        Found::None if !keeps_cookies => {
            let shown = Lost { host: visit.own_origin.host.as_str() };
            Err(render(visit, "link-lost", StatusCode::NOT_FOUND, shown))
        }
        Found::None | Found::Several => Ok(""),
    }
}

/// Takes the cookie of a link back that is spent or over; one that was opened after it stays.
pub(super) fn forget(answer: &mut Answer, visit: &Visit, (purpose, token): (Purpose, &str)) {
    if kept(visit, purpose) == Found::One(token.as_bytes()) {
        add_cookie(answer, clear(&visit.config.sessions.cookie, purpose));
    }
}

fn kept(visit: &Visit, purpose: Purpose) -> Found<'_> {
    cookies::find(&visit.headers, &cookie_name(&visit.config.sessions.cookie, purpose))
}

fn clear(cookie: &SessionCookie, purpose: Purpose) -> Option<HeaderValue> {
    cookies::clear(&cookie_name(cookie, purpose), &link_attributes(cookie, None))
}

/// Lax whatever the session's is: people come from their mail.
fn link_attributes(cookie: &SessionCookie, max_age: Option<i64>) -> Attributes<'static> {
    Attributes { same_site: cookie::SameSite::Lax, ..attributes(cookie, max_age) }
}

fn cookie_name(cookie: &SessionCookie, purpose: Purpose) -> String {
    cookie.portal_name(&format!("link-{}", purpose.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn a_browser_that_did_not_keep_a_link_is_told_what_to_allow() {
        let page = page_of("link-lost", Lost { host: "here.example" }).await;
        assert!(page.contains("cookies are blocked for <strong>here.example"), "{page}");
        assert!(!page.contains("<form"), "{page}");
    }
}
