//! Asking for a link to a new password. The answer is the same whether or not there is such an account.

use http::StatusCode;
use serde::Serialize;

use super::arrival::{explain, symptoms};
use super::forms::{Browser, Purpose, TOKEN_FIELD, Unbound, check_browser};
use super::sign_in::sign_in_address;
use super::trail::diagnose;
use super::{Portal, add_cookie, render};
use crate::accounts::TypedEmail;
use crate::accounts::visit::{Answer, Visit, form_failure, store_failure};
use crate::mail::AskError;
use crate::store::LetterKind;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the form shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    email: String,
    error: Option<Text>,
    email_error: Option<Text>,
    sign_in: String,
    token_field: &'static str,
    token: String,
}

/// What is shown once a letter was asked for.
#[derive(Serialize)]
struct Asked<'a> {
    email: &'a str,
    sign_in: String,
}

impl Portal {
    /// GET: the form.
    pub(super) fn show_forgot(&self, visit: &Visit) -> Result<Answer, Failure> {
        self.need_mail()?;
        Ok(self.forgot_form(visit, StatusCode::OK, Shown::default()))
    }

    /// POST: asks for the letter, and says to look for it.
    pub(super) async fn forgot<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        self.need_mail()?;
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let email = form.get("email").unwrap_or_default().trim().to_owned();
        let shown = Shown { email, ..Shown::default() };
        let sessions = self.accounts.sessions();
        match check_browser(visit, sessions, Purpose::Forgot, form.get(TOKEN_FIELD)) {
            Ok(()) => {}
            Err(Unbound::NoCookie) => {
                return Ok(explain(visit, diagnose(&symptoms(visit)), None, None));
            }
            Err(Unbound::Mismatch) => {
                let shown = Shown { error: Some(Text::of("form-out-of-date")), ..shown };
                return Ok(self.forgot_form(visit, StatusCode::FORBIDDEN, shown));
            }
        }
        let Ok(typed) = TypedEmail::parse(&shown.email) else {
            let shown = Shown { email_error: Some(Text::of("email-wrong")), ..shown };
            return Ok(self.forgot_form(visit, StatusCode::UNPROCESSABLE_ENTITY, shown));
        };
        let (language, from) = (visit.language(), visit.actor());
        match self.accounts.ask_for_letter(LetterKind::Reset, &typed, language, &from).await {
            Ok(()) => {
                let shown = Asked { email: &shown.email, sign_in: sign_in_address(visit, None) };
                Ok(render(visit, "check-mail", StatusCode::OK, shown))
            }
            Err(AskError::TooMany(after)) => Err(Failure::too_many(after)
                .explanation(Text::of("forgot-too-many"))
                .link(Text::of("back-to-sign-in"), sign_in_address(visit, None))),
            Err(AskError::Store(error)) => Err(store_failure(error)),
        }
    }

    /// Where no mail is sent there is no such page.
    fn need_mail(&self) -> Result<(), Failure> {
        if self.accounts.sends_mail() { Ok(()) } else { Err(Failure::new(StatusCode::NOT_FOUND)) }
    }

    fn forgot_form(&self, visit: &Visit, status: StatusCode, mut shown: Shown) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        shown.sign_in = sign_in_address(visit, None);
        shown.token_field = TOKEN_FIELD;
        shown.token = browser.token(self.accounts.sessions(), Purpose::Forgot);
        let mut answer = render(visit, "forgot", status, shown);
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn the_form_keeps_what_was_typed_and_says_what_is_wrong_with_it() {
        let shown = Shown {
            email: "<ann>".into(),
            error: Some(Text::of("form-out-of-date")),
            email_error: Some(Text::of("email-wrong")),
            ..Shown::default()
        };
        let page = page_of("forgot", shown).await;
        for part in ["value=\"&lt;ann&gt;\"", "role=\"alert\"", "id=\"email-error\">Please enter"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = page_of("forgot", Shown::default()).await;
        assert!(!page.contains("role=\"alert\""), "{page}");
    }

    #[tokio::test]
    async fn what_is_said_afterwards_promises_mail_to_nobody() {
        let asked = Asked { email: "a&b@example.com", sign_in: "/auth/login".into() };
        let page = page_of("check-mail", asked).await;
        assert!(page.contains("If there is an account for <strong>a&amp;b@example.com"), "{page}");
    }
}
