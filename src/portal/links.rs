//! What links lead to: setting a new password, verifying an e-mail. Opening one spends nothing: the
//! page's button does.

use http::StatusCode;
use http::header::SET_COOKIE;
use serde::Serialize;

use super::forms::{Browser, Purpose, TOKEN_FIELD};
use super::opened::{forget, opened};
use super::sign_in::{set_password_address, sign_in_address};
use super::vouching::account_address;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{
    Answer, Visit, clear_kept_pages, form_failure, see_other, store_failure,
};
use crate::accounts::{LinkError, LinkKind, LinkState, Mistake};
use crate::identity::user::User;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What a page with a button shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    /// The link's own token, which the button spends.
    link_token: String,
    email: String,
    min_length: usize,
    error: Option<Text>,
    password_error: Option<Text>,
    token_field: &'static str,
    token: String,
}

/// The page for a link that is no longer good.
#[derive(Serialize)]
struct Over {
    is_reset: bool,
    /// Where another link is asked for, if mail is sent.
    again: Option<String>,
    sign_in: String,
}

/// The page after an e-mail is verified.
#[derive(Serialize)]
struct Verified {
    is_signed_in: bool,
    /// Where it goes on: to the sign-in page for somebody who is not.
    onward: String,
}

/// The form on the page of a link.
pub(super) const fn purpose_of(kind: LinkKind) -> Purpose {
    match kind {
        LinkKind::Reset => Purpose::Reset,
        LinkKind::Verify => Purpose::Verify,
    }
}

impl Portal {
    /// GET: the page with the button, if the link is good.
    pub(super) async fn show_link(&self, visit: &Visit, kind: LinkKind) -> Result<Answer, Failure> {
        match opened(visit, purpose_of(kind)) {
            Ok(token) => self.link_page(visit, kind, token, None).await,
            Err(page) => Ok(page),
        }
    }

    /// POST: spends the link.
    pub(super) async fn use_link<B: RequestBody>(
        &self,
        visit: &Visit,
        kind: LinkKind,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let token = form.get("token").unwrap_or_default();
        match self.is_current(visit, purpose_of(kind), &form) {
            Ok(true) => {}
            Err(page) => return Ok(page),
            Ok(false) => {
                let error = Some(Text::of("form-out-of-date"));
                return self.link_page(visit, kind, token, error).await;
            }
        }
        match kind {
            LinkKind::Reset => {
                let password = form.get("password").unwrap_or_default();
                self.reset_password(visit, token, password).await
            }
            LinkKind::Verify => self.verify_email(visit, token).await,
        }
    }

    async fn reset_password(
        &self,
        visit: &Visit,
        token: &str,
        password: &str,
    ) -> Result<Answer, Failure> {
        let old = visit.cookie_identity(self.accounts.sessions()).await?;
        match self.accounts.reset_password(token, password.into(), &visit.actor()).await {
            Ok(user) => {
                let mut answer = see_other(&set_password_address(visit));
                // Somebody else who is signed in here stays so.
                if old.is_some_and(|old| old.user().id == user.id) {
                    for value in self.accounts.sessions().clearing_cookies() {
                        answer.headers_mut().append(SET_COOKIE, value);
                    }
                }
                clear_kept_pages(&mut answer);
                forget(&mut answer, visit, (Purpose::Reset, token));
                Ok(answer)
            }
            Err(LinkError::Password(reason)) => {
                let shown = Shown { password_error: Some(reason.text()), ..Shown::default() };
                self.password_again(visit, token, shown).await
            }
            Err(error) => self.link_refused(visit, (LinkKind::Reset, token), error),
        }
    }

    /// The form once more, with what was wrong.
    async fn password_again(
        &self,
        visit: &Visit,
        token: &str,
        shown: Shown,
    ) -> Result<Answer, Failure> {
        match self.look(LinkKind::Reset, token).await? {
            LinkState::Live(user) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Ok(self.link_form(visit, LinkKind::Reset, status, with(shown, token, &user)))
            }
            LinkState::Done | LinkState::Void => Ok(self.link_over(visit, LinkKind::Reset, token)),
        }
    }

    async fn verify_email(&self, visit: &Visit, token: &str) -> Result<Answer, Failure> {
        match self.accounts.verify_email(token, visit.owner(), &visit.actor()).await {
            Ok(_) | Err(LinkError::Verified) => {
                let mut answer = verified(visit);
                forget(&mut answer, visit, (Purpose::Verify, token));
                Ok(answer)
            }
            Err(error) => self.link_refused(visit, (LinkKind::Verify, token), error),
        }
    }

    /// The page a link opens; `error` says why a form did not count.
    async fn link_page(
        &self,
        visit: &Visit,
        kind: LinkKind,
        token: &str,
        error: Option<Text>,
    ) -> Result<Answer, Failure> {
        match self.look(kind, token).await? {
            LinkState::Live(user) => {
                let status = error.as_ref().map_or(StatusCode::OK, |_| StatusCode::FORBIDDEN);
                let shown = Shown { error, ..Shown::default() };
                Ok(self.link_form(visit, kind, status, with(shown, token, &user)))
            }
            LinkState::Done => Ok(verified(visit)),
            LinkState::Void => Ok(self.link_over(visit, kind, token)),
        }
    }

    async fn look(&self, kind: LinkKind, token: &str) -> Result<LinkState, Failure> {
        self.accounts.people().look_at_link(kind, token).await.map_err(store_failure)
    }

    fn link_form(
        &self,
        visit: &Visit,
        kind: LinkKind,
        status: StatusCode,
        mut shown: Shown,
    ) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        shown.min_length = visit.config.accounts.password.min_length;
        shown.token_field = TOKEN_FIELD;
        shown.token = browser.token(self.accounts.sessions(), purpose_of(kind));
        let template = match kind {
            LinkKind::Reset => "reset-password",
            LinkKind::Verify => "verify",
        };
        let mut answer = render(visit, template, status, shown);
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        answer
    }

    fn link_refused(
        &self,
        visit: &Visit,
        (kind, token): (LinkKind, &str),
        error: LinkError,
    ) -> Result<Answer, Failure> {
        match error {
            LinkError::Void | LinkError::Verified => Ok(self.link_over(visit, kind, token)),
            LinkError::TooMany(after) => {
                Err(Failure::too_many(after).explanation(Text::of("link-too-many")))
            }
            LinkError::Failed(Mistake::Store(error)) => Err(store_failure(error)),
            error @ (LinkError::Password(_) | LinkError::Failed(_)) => Err(error.into()),
        }
    }

    /// The page for a link that is spent, past its end, made up or void.
    fn link_over(&self, visit: &Visit, kind: LinkKind, token: &str) -> Answer {
        let (is_reset, page) = match kind {
            LinkKind::Reset => (true, "forgot-password"),
            LinkKind::Verify => (false, "request-verify-token"),
        };
        let again = || format!("{}/{page}", visit.config.portal.path);
        let again = self.accounts.sends_mail().then(again);
        let shown = Over { is_reset, again, sign_in: sign_in_address(visit, None) };
        let mut answer = render(visit, "link-over", StatusCode::NOT_FOUND, shown);
        forget(&mut answer, visit, (purpose_of(kind), token));
        answer
    }
}

/// Another language is chosen on the way to the account: this page cannot be asked for once the link is spent.
fn verified(visit: &Visit) -> Answer {
    let is_signed_in = visit.owner().is_some();
    let onward = if is_signed_in { visit.home() } else { sign_in_address(visit, None) };
    let shown = Verified { is_signed_in, onward };
    visit.frame(&account_address(visit)).render("verified", StatusCode::OK, shown)
}

fn with(shown: Shown, token: &str, user: &User) -> Shown {
    Shown { link_token: token.to_owned(), email: user.email.clone(), ..shown }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn the_reset_form_says_whose_password_and_what_it_needs() {
        let shown = Shown {
            link_token: "link".into(),
            email: "ann@example.com".into(),
            min_length: 8,
            password_error: Some(Text::of("password-common")),
            error: Some(Text::of("form-out-of-date")),
            ..Shown::default()
        };
        let page = page_of("reset-password", shown).await;
        for part in [
            "At least 8 characters",
            "value=\"ann@example.com\" readonly",
            "autocomplete=\"new-password\"",
            "name=\"token\" value=\"link\"",
            "aria-describedby=\"password-hint password-error\"",
            "role=\"alert\">This form",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = page_of("reset-password", Shown::default()).await;
        assert!(!page.contains("role=\"alert\""), "{page}");
    }

    #[tokio::test]
    async fn verifying_takes_a_button_and_says_what_comes_next() {
        let shown = Shown { link_token: "link".into(), email: "<ann>".into(), ..Shown::default() };
        let page = page_of("verify", shown).await;
        assert!(page.contains("&lt;ann&gt;") && page.contains("value=\"link\""), "{page}");
        assert_eq!(page.matches("<button").count(), 1, "{page}");
        for (is_signed_in, words) in [(true, "Continue"), (false, "Sign in")] {
            let onward = Verified { is_signed_in, onward: "/auth/x".into() };
            let page = page_of("verified", onward).await;
            assert!(page.contains(&format!("href=\"&#x2f;auth&#x2f;x\">{words}</a>")), "{page}");
        }
    }

    #[tokio::test]
    async fn a_link_that_is_over_says_what_to_do() {
        let again = "Ask for another link";
        let over = |is_reset| Over { is_reset, again: None, sign_in: "/auth/login".into() };
        let page = page_of("link-over", over(true)).await;
        assert!(page.contains("one hour") && page.contains("password"), "{page}");
        assert!(!page.contains(again), "nothing is mailed: {page}");
        let page = page_of("link-over", Over { again: Some("/x".into()), ..over(false) }).await;
        assert!(page.contains("one hour") && !page.contains("password"), "{page}");
        assert!(page.contains(&format!("<a href=\"&#x2f;x\">{again}</a>")), "{page}");
    }
}
