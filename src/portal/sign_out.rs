//! Signing out, here or everywhere.

use std::sync::Arc;

use http::header::{REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::forms::{Purpose, TOKEN_FIELD, is_of_session, session_token};
use super::sign_in::{allow_form_to_lead, sign_in_address};
use super::trail::Trail;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{
    Answer, Visit, clear_kept_pages, form_failure, see_other, store_failure,
};
use crate::accounts::vouching::Farewell;
use crate::session::{CookieCredential, Identity};
use crate::store::{Conflict, StoreError};
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// How much a sign-out ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    Here,
    Everywhere,
}

/// What the page with one button shows.
#[derive(Serialize)]
struct Shown<'a> {
    email: &'a str,
    next: Option<String>,
    error: Option<Text>,
    token_field: &'static str,
    token: String,
}

/// What somebody sees on the way to a provider.
#[derive(Serialize)]
struct Leaving<'a> {
    provider: &'a str,
    address: &'a str,
}

impl Portal {
    /// GET: signs out at once when the person followed a link of this very site, else shows one button.
    pub(super) async fn show_sign_out(
        &self,
        visit: &Visit,
        query: &Form,
    ) -> Result<Answer, Failure> {
        let next = query.get("next");
        let Some((identity, _)) = visit.identity()? else {
            return Ok(self.nobody(visit, next));
        };
        if is_own_link(&visit.headers) && visit.method == http::Method::GET {
            return self.end(visit, identity, Extent::Here, next).await;
        }
        Ok(self.button(visit, identity, StatusCode::OK, next))
    }

    /// POST: the button, or one of the account page's.
    pub(super) async fn sign_out<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let next = form.get("next");
        let Some((identity, _)) = visit.identity()? else {
            return Ok(self.nobody(visit, next));
        };
        let token = form.get(TOKEN_FIELD);
        if !is_of_session(self.accounts.sessions(), Purpose::SignOut, identity, token) {
            return Ok(self.button(visit, identity, StatusCode::FORBIDDEN, next));
        }
        let extent = match form.get("everywhere") {
            Some(_) => Extent::Everywhere,
            None => Extent::Here,
        };
        self.end(visit, identity, extent, next).await
    }

    async fn end(
        &self,
        visit: &Visit,
        identity: &Identity,
        extent: Extent,
        next: Option<&str>,
    ) -> Result<Answer, Failure> {
        let from = visit.actor();
        // Asked first: it is about the session that ends.
        let farewell = self.accounts.farewell(visit, identity).await;
        match extent {
            Extent::Here => {
                // The cookie is cleared, whether it was it that told who asks or a bearer beside it.
                let cookie = visit.cookie_identity(self.accounts.sessions()).await?;
                self.accounts.sign_out(identity, &from).await.map_err(store_failure)?;
                let is_other = |old: &Arc<Identity>| old.session().id != identity.session().id;
                if let Some(beside) = cookie.filter(is_other) {
                    self.accounts.sign_out(&beside, &from).await.map_err(store_failure)?;
                }
            }
            Extent::Everywhere => {
                match self.accounts.sign_out_everywhere(identity, &from).await {
                    // Signed out already: whoever was is no longer known by it.
                    Ok(_) | Err(StoreError::Conflict(Conflict::Gone)) => {}
                    Err(error) => return Err(store_failure(error)),
                }
            }
        }
        Ok(match farewell {
            Some(farewell) => self.send_on(visit, &farewell),
            None => self.signed_out(visit, next),
        })
    }

    /// Signed out here, and on to the provider. Not by a redirect: browsers hold those after a form to the
    /// addresses that the page with the form named.
    fn send_on(&self, visit: &Visit, farewell: &Farewell) -> Answer {
        let shown = Leaving { provider: &farewell.label, address: farewell.url.as_str() };
        let mut answer = render(visit, "farewell", StatusCode::OK, shown);
        self.forget(visit, &mut answer);
        if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={}", farewell.url)) {
            answer.headers_mut().insert(REFRESH, refresh);
        }
        answer
    }

    /// Nobody is signed in. What carries no cookie clears none: another site's page can make a browser
    /// ask for this without its cookies.
    fn nobody(&self, visit: &Visit, next: Option<&str>) -> Answer {
        match visit.credentials.cookie {
            CookieCredential::None => see_other(&after(visit, next)),
            CookieCredential::One(_) | CookieCredential::Several => self.signed_out(visit, next),
        }
    }

    /// On to `next` or the sign-in page.
    fn signed_out(&self, visit: &Visit, next: Option<&str>) -> Answer {
        let mut answer = see_other(&after(visit, next));
        self.forget(visit, &mut answer);
        answer
    }

    /// Clears everything of the session from the browser.
    fn forget(&self, visit: &Visit, answer: &mut Answer) {
        for value in self.accounts.sessions().clearing_cookies() {
            answer.headers_mut().append(SET_COOKIE, value);
        }
        add_cookie(answer, Trail::clear_cookie(&visit.config.sessions.cookie));
        clear_kept_pages(answer);
    }

    fn button(
        &self,
        visit: &Visit,
        identity: &Identity,
        status: StatusCode,
        next: Option<&str>,
    ) -> Answer {
        let next = next.and_then(|next| visit.checked(next)).map(|next| next.as_str().to_owned());
        let shown = Shown {
            email: &identity.user().email,
            next: next.clone(),
            error: (status == StatusCode::FORBIDDEN).then(|| Text::of("sign-out-out-of-date")),
            token_field: TOKEN_FIELD,
            token: session_token(self.accounts.sessions(), Purpose::SignOut, identity),
        };
        let mut answer = render(visit, "logout", status, shown);
        allow_form_to_lead(&mut answer, next.as_deref());
        answer
    }
}

/// Where a browser goes after signing out.
fn after(visit: &Visit, next: Option<&str>) -> String {
    match next.and_then(|next| visit.checked(next)) {
        Some(next) => next.as_str().to_owned(),
        None => sign_in_address(visit, None),
    }
}

/// Whether a person followed a link of this very origin (Fetch Metadata): not an image, a frame's
/// script or another site.
fn is_own_link(headers: &HeaderMap) -> bool {
    let says = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name).into_iter();
        values.next().is_some_and(|value| value == wanted) && values.next().is_none()
    };
    says("sec-fetch-site", "same-origin")
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-user", "?1")
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[test]
    fn only_a_persons_own_link_signs_out_at_once() {
        let good = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
        ];
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(is_own_link(&headers(&good)));
        for (left_out, _) in good.iter().enumerate() {
            let mut fewer = good.to_vec();
            fewer.remove(left_out);
            assert!(!is_own_link(&headers(&fewer)), "{fewer:?}");
        }
        for (name, value) in [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-user", "?0"),
        ] {
            let mut other: Vec<_> = good.iter().filter(|pair| pair.0 != name).copied().collect();
            other.push((name, value));
            assert!(!is_own_link(&headers(&other)), "{other:?}");
        }
        let mut doubled = good.to_vec();
        doubled.push(("sec-fetch-site", "same-origin"));
        assert!(!is_own_link(&headers(&doubled)));
    }

    #[tokio::test]
    async fn the_page_has_one_button() {
        let shown = Shown {
            email: "ann@example.com",
            next: Some("/a".into()),
            error: Some(Text::of("sign-out-out-of-date")),
            token_field: TOKEN_FIELD,
            token: "t".into(),
        };
        let page = page_of("logout", shown).await;
        assert_eq!(page.matches("<button").count(), 1, "{page}");
        assert!(page.contains("name=\"form_token\" value=\"t\""), "{page}");
    }
}
