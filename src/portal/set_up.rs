//! Setting up the first administrator. Opening the link spends nothing: the page's button does.

use http::StatusCode;
use secrecy::SecretString;
use serde::Serialize;

use super::forms::{Browser, Purpose, TOKEN_FIELD};
use super::opened::{forget, opened};
use super::sign_in::sign_in_address;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, form_failure, store_failure};
use crate::accounts::{Draft, Mistake, SetUpRequest};
use crate::identity::user::Profile;
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the form shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    /// The link's own token, which the button spends.
    link_token: String,
    email: String,
    first_name: String,
    last_name: String,
    min_length: usize,
    error: Option<Text>,
    email_error: Option<Text>,
    password_error: Option<Text>,
    first_name_error: Option<Text>,
    last_name_error: Option<Text>,
    token_field: &'static str,
    token: String,
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
        let shown = read_shown(&form);
        let sessions = self.accounts.sessions();
        match self.is_current(visit, Purpose::SetUp, &form) {
            Ok(true) => {}
            Err(page) => return Ok(page),
            Ok(false) => {
                let error = Some(Text::of("form-out-of-date"));
                let shown = Shown { error, ..shown };
                return Ok(self.set_up_form(visit, StatusCode::FORBIDDEN, shown));
            }
        }
        let password = SecretString::from(form.get("password").unwrap_or_default());
        let draft = Draft {
            profile: Profile {
                first_name: Some(shown.first_name.clone()),
                last_name: Some(shown.last_name.clone()),
                ..Profile::default()
            },
            ..Draft::administrator(shown.email.clone(), password)
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
        match mistake {
            Mistake::Email => shown.email_error = Some(Text::of("email-wrong")),
            Mistake::Password(reason) => shown.password_error = Some(reason.text()),
            Mistake::Conflict(Conflict::Email) => {
                status = StatusCode::CONFLICT;
                shown.email_error = Some(Text::of("set-up-email-taken"));
            }
            Mistake::Conflict(Conflict::Token | Conflict::SetUpDone) => {
                return Ok(over(visit, &shown.link_token));
            }
            Mistake::Profile("first_name") => {
                shown.first_name_error = Some(Text::of("field-wrong"));
            }
            Mistake::Profile(_) => shown.last_name_error = Some(Text::of("field-wrong")),
            Mistake::Username
            | Mistake::Role(_)
            | Mistake::Domain
            | Mistake::Closed
            | Mistake::Conflict(
                Conflict::Username
                | Conflict::Role
                | Conflict::LastSuperuser
                | Conflict::Gone
                | Conflict::Verified
                | Conflict::Linked
                | Conflict::NoSuperuser
                | Conflict::LastWayIn,
            ) => {
                shown.error = Some(Text::of("cannot-store"));
            }
            Mistake::TooMany(after) => return Err(Failure::too_many(after)),
            Mistake::Store(error) => return Err(store_failure(error)),
            mistake @ Mistake::Session(_) => return Err(mistake.into()),
        }
        Ok(self.set_up_form(visit, status, shown))
    }

    fn set_up_form(&self, visit: &Visit, status: StatusCode, mut shown: Shown) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        shown.min_length = visit.config.accounts.password.min_length;
        shown.token_field = TOKEN_FIELD;
        shown.token = browser.token(self.accounts.sessions(), Purpose::SetUp);
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

fn read_shown(form: &Form) -> Shown {
    let field = |name| form.get(name).unwrap_or_default().to_owned();
    Shown {
        link_token: field("token"),
        email: field("email"),
        first_name: field("first_name"),
        last_name: field("last_name"),
        ..Shown::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn the_form_says_what_a_password_needs_and_keeps_what_was_typed() {
        let shown = Shown {
            link_token: "link".into(),
            email: "ann".into(),
            min_length: 8,
            email_error: Some(Text::of("email-wrong")),
            password_error: Some(Text::of("password-common")),
            error: Some(Text::of("form-out-of-date")),
            ..Shown::default()
        };
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
