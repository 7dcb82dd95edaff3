//! Making an account for oneself. Whoever enters an e-mail that has an account is answered like anybody
//! else: what they do not know yet they are told by mail.

use http::StatusCode;
use serde::Serialize;

use super::entered::Entered;
use super::forgot::Asked;
use super::forms::{Browser, Purpose};
use super::sign_in::{read_next, sign_in_address};
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, form_failure};
use crate::accounts::{Mistake, Registration};
use crate::config::Registration as Policy;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the form shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    /// `next`, if one is allowed: goes along in a hidden field.
    next: Option<String>,
    #[serde(flatten)]
    entered: Entered,
    sign_in: String,
}

impl Portal {
    /// GET: the form, where registration is open.
    pub(super) fn show_register(&self, visit: &Visit, query: &Form) -> Result<Answer, Failure> {
        self.need_open(visit)?;
        let shown = Shown { next: read_next(visit, query), ..Shown::default() };
        Ok(self.register_form(visit, StatusCode::OK, shown))
    }

    /// POST: makes the account, and says to look for mail.
    pub(super) async fn register<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        self.need_open(visit)?;
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let (next, entered) = (read_next(visit, &form), Entered::read(&form));
        let mut shown = Shown { next, entered, ..Shown::default() };
        match self.is_current(visit, Purpose::Register, &form) {
            Ok(true) => {}
            Err(page) => return Ok(page),
            Ok(false) => {
                shown.entered.error = Some(Text::of("form-out-of-date"));
                return Ok(self.register_form(visit, StatusCode::FORBIDDEN, shown));
            }
        }
        let asked = Registration {
            email: shown.entered.email.clone(),
            password: form.get("password").unwrap_or_default().into(),
            profile: shown.entered.profile(),
        };
        match self.accounts.register_unseen(asked, &visit.actor()).await {
            Ok(()) => {
                let sign_in = sign_in_address(visit, shown.next.as_deref());
                let asked = Asked { email: &shown.entered.email, reason: "register", sign_in };
                Ok(render(visit, "check-mail", StatusCode::OK, asked))
            }
            Err(mistake) => self.register_again(visit, shown, mistake),
        }
    }

    /// The form once more, with what was wrong.
    fn register_again(
        &self,
        visit: &Visit,
        mut shown: Shown,
        mistake: Mistake,
    ) -> Result<Answer, Failure> {
        if matches!(mistake, Mistake::Closed) {
            // Since the form was looked at.
            return Err(closed(Policy::Closed));
        }
        if let Mistake::TooMany(after) = mistake {
            let sign_in = sign_in_address(visit, shown.next.as_deref());
            return Err(Failure::too_many(after)
                .explanation(Text::of("register-too-many"))
                .link(Text::of("back-to-sign-in"), sign_in));
        }
        shown.entered.complain(mistake)?;
        Ok(self.register_form(visit, StatusCode::UNPROCESSABLE_ENTITY, shown))
    }

    /// Where nobody may register, the page says so, and how people come by an account.
    fn need_open(&self, visit: &Visit) -> Result<(), Failure> {
        if self.accounts.people().is_registration_open() {
            return Ok(());
        }
        Err(closed(visit.config.accounts.registration))
    }

    fn register_form(&self, visit: &Visit, status: StatusCode, mut shown: Shown) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        shown.entered = self.shown_to(visit, (&browser, Purpose::Register), shown.entered);
        shown.sign_in = sign_in_address(visit, shown.next.as_deref());
        let mut answer = render(visit, "register", status, shown);
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        answer
    }
}

fn closed(policy: Policy) -> Failure {
    let why = match policy {
        Policy::Invite => Text::of("register-invite"),
        Policy::Closed | Policy::Open => Text::of("register-closed"),
    };
    Failure::new(StatusCode::FORBIDDEN).explanation(why)
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn out_02_the_form_keeps_what_was_typed_as_the_words_it_is_and_never_a_password() {
        let markup = "\"><script>alert(1)</script>";
        let entered = Entered {
            email: markup.into(),
            first_name: markup.into(),
            last_name: markup.into(),
            min_length: 8,
            email_error: Some(Text::of("email-domain")),
            password_error: Some(Text::of("password-common")),
            ..Entered::default()
        };
        let shown = Shown { entered, ..Shown::default() };
        let page = page_of("register", shown).await;
        for part in [
            "At least 8 characters",
            "autocomplete=\"new-password\"",
            "aria-describedby=\"email-error\"",
            "aria-describedby=\"password-hint password-error\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(page.matches("&gt;&lt;script&gt;").count(), 3, "{page}");
    }

    #[tokio::test]
    async fn what_is_said_afterwards_is_the_same_for_everybody() {
        let asked = Asked { email: "a@example.com", reason: "register", sign_in: "/x".into() };
        let page = page_of("check-mail", asked).await;
        assert!(page.contains("is on its way"), "{page}");
        assert!(!page.contains("exists") && !page.contains("already"), "{page}");
    }
}
