//! Asking for a letter with a link: to a new password, or to show that an e-mail is one's own. The answer
//! is the same whether or not there is such an account.

use http::StatusCode;
use serde::Serialize;

use super::forms::{Browser, Purpose, TOKEN_FIELD};
use super::sign_in::sign_in_address;
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
pub(super) struct Asked<'a> {
    pub(super) email: &'a str,
    /// Why: `reset`, `verify` or `register`.
    pub(super) reason: &'static str,
    pub(super) sign_in: String,
}

/// Which letter is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    NewPassword,
    Verification,
}

impl Wish {
    const fn purpose(self) -> Purpose {
        match self {
            Self::NewPassword => Purpose::Forgot,
            Self::Verification => Purpose::RequestVerify,
        }
    }

    const fn template(self) -> &'static str {
        match self {
            Self::NewPassword => "forgot",
            Self::Verification => "request-verify",
        }
    }

    const fn letter(self) -> LetterKind {
        match self {
            Self::NewPassword => LetterKind::Reset,
            Self::Verification => LetterKind::Verify,
        }
    }
}

impl Portal {
    /// GET: the form.
    pub(super) fn show_wish(&self, visit: &Visit, wish: Wish) -> Result<Answer, Failure> {
        self.need_mail()?;
        let known = visit.identity()?.map(|(identity, _)| identity.user().email.to_string());
        let shown = Shown { email: known.unwrap_or_default(), ..Shown::default() };
        Ok(self.wish_form(visit, wish, StatusCode::OK, shown))
    }

    /// POST: asks for the letter, and says to look for it.
    pub(super) async fn wish<B: RequestBody>(
        &self,
        visit: &Visit,
        wish: Wish,
        body: B,
    ) -> Result<Answer, Failure> {
        self.need_mail()?;
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let email = form.get("email").unwrap_or_default().trim().to_owned();
        let shown = Shown { email, ..Shown::default() };
        match self.is_current(visit, wish.purpose(), &form) {
            Ok(true) => {}
            Err(page) => return Ok(page),
            Ok(false) => {
                let shown = Shown { error: Some(Text::of("form-out-of-date")), ..shown };
                return Ok(self.wish_form(visit, wish, StatusCode::FORBIDDEN, shown));
            }
        }
        let Ok(typed) = TypedEmail::parse(&shown.email) else {
            let shown = Shown { email_error: Some(Text::of("email-wrong")), ..shown };
            return Ok(self.wish_form(visit, wish, StatusCode::UNPROCESSABLE_ENTITY, shown));
        };
        match self.accounts.ask_for_letter(wish.letter(), &typed, &visit.actor()).await {
            Ok(()) => {
                let reason = wish.letter().as_str();
                let sign_in = sign_in_address(visit, None);
                let shown = Asked { email: &shown.email, reason, sign_in };
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

    fn wish_form(&self, visit: &Visit, wish: Wish, status: StatusCode, mut shown: Shown) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        shown.sign_in = sign_in_address(visit, None);
        shown.token_field = TOKEN_FIELD;
        shown.token = browser.token(self.accounts.sessions(), wish.purpose());
        let mut answer = render(visit, wish.template(), status, shown);
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
        let email = "a&b@example.com";
        let asked = Asked { email, reason: "reset", sign_in: "/auth/login".into() };
        let page = page_of("check-mail", asked).await;
        assert!(page.contains("If there is an account for <strong>a&amp;b@example.com"), "{page}");
    }
}
