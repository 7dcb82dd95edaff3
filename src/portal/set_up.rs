//! Setting up the first administrator. Opening the link spends nothing: the page's button does.

use http::StatusCode;
use secrecy::SecretString;
use serde::Serialize;

use super::entered::Entered;
use super::forms::{Browser, Purpose};
use super::opened::{forget, opened};
use super::sign_in::sign_in_address;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, form_failure, store_failure};
use crate::accounts::{Draft, Mistake, SetUpRequest};
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the form shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    /// The link's own token, which the button spends.
    link_token: String,
    #[serde(flatten)]
    entered: Entered,
}

#[derive(Serialize)]
struct Over {
    sign_in: String,
}

impl Portal {
    /// GET: the form, if the link is good.
    pub(super) async fn show_set_up(&self, visit: &Visit) -> Result<Answer, Failure> {
        let token = match opened(visit, Purpose::SetUp) {
            Ok(token) => token,
            Err(page) => return Ok(page),
        };
        if !self.accounts.people().is_set_up_token(token).await.map_err(store_failure)? {
            return Ok(over(visit, token));
        }
        let shown = Shown { link_token: token.to_owned(), ..Shown::default() };
        Ok(self.set_up_form(visit, StatusCode::OK, shown))
    }

    /// POST: makes the first administrator and signs them in.
    pub(super) async fn set_up<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let link_token = form.get("token").unwrap_or_default().to_owned();
        let mut shown = Shown { link_token, entered: Entered::read(&form) };
        let sessions = self.accounts.sessions();
        match self.is_current(visit, Purpose::SetUp, &form) {
            Ok(true) => {}
            Err(page) => return Ok(page),
            Ok(false) => {
                shown.entered.error = Some(Text::of("form-out-of-date"));
                return Ok(self.set_up_form(visit, StatusCode::FORBIDDEN, shown));
            }
        }
        let password = SecretString::from(form.get("password").unwrap_or_default());
        let draft = Draft {
            profile: shown.entered.profile(),
            ..Draft::administrator(shown.entered.email.clone(), password)
        };
        let from = visit.actor();
        let old = visit.cookie_identity(sessions).await?;
        let request = SetUpRequest {
            token: &shown.link_token,
            draft,
            from: &from,
            replaces: old.as_deref(),
            now: visit.now,
        };
        match self.accounts.set_up(request).await {
            Ok(session) => {
                let mut answer = self.leave(visit, None, session);
                forget(&mut answer, visit, (Purpose::SetUp, &shown.link_token));
                Ok(answer)
            }
            Err(mistake) => self.set_up_again(visit, shown, mistake),
        }
    }

    /// The form once more, with what was wrong.
    fn set_up_again(
        &self,
        visit: &Visit,
        mut shown: Shown,
        mistake: Mistake,
    ) -> Result<Answer, Failure> {
        let mut status = StatusCode::UNPROCESSABLE_ENTITY;
        if let Mistake::Conflict(Conflict::Token | Conflict::SetUpDone) = mistake {
            return Ok(over(visit, &shown.link_token));
        }
        if let Mistake::Conflict(Conflict::Email) = mistake {
            status = StatusCode::CONFLICT;
            shown.entered.email_error = Some(Text::of("set-up-email-taken"));
        } else {
            shown.entered.complain(mistake)?;
        }
        Ok(self.set_up_form(visit, status, shown))
    }

    fn set_up_form(&self, visit: &Visit, status: StatusCode, mut shown: Shown) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        shown.entered = self.shown_to(visit, (&browser, Purpose::SetUp), shown.entered);
        let mut answer = render(visit, "setup", status, shown);
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        answer
    }
}

/// The page for a link that is spent, past its end or made up.
fn over(visit: &Visit, token: &str) -> Answer {
    let shown = Over { sign_in: sign_in_address(visit, None) };
    let mut answer = render(visit, "setup-over", StatusCode::NOT_FOUND, shown);
    forget(&mut answer, visit, (Purpose::SetUp, token));
    answer
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn the_form_says_what_a_password_needs_and_keeps_what_was_typed() {
        let entered = Entered {
            email: "ann".into(),
            min_length: 8,
            email_error: Some(Text::of("email-wrong")),
            password_error: Some(Text::of("password-common")),
            error: Some(Text::of("form-out-of-date")),
            ..Entered::default()
        };
        let shown = Shown { link_token: "link".into(), entered };
        let page = page_of("setup", shown).await;
        for part in [
            "At least 8 characters",
            "autocomplete=\"new-password\"",
            "name=\"token\" value=\"link\"",
            "id=\"email-error\">Please enter",
            "aria-describedby=\"password-hint password-error\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = page_of("setup", Shown::default()).await;
        assert!(!page.contains("role=\"alert\""), "{page}");
    }

    #[tokio::test]
    async fn a_spent_link_says_what_to_do() {
        let page = page_of("setup-over", Over { sign_in: "/auth/login".into() }).await;
        assert!(page.contains("portcullis user create-admin"), "{page}");
    }
}
