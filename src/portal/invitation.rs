//! Accepting an invitation. Opening its link spends nothing: the form does.

use http::StatusCode;
use serde::Serialize;

use super::entered::Entered;
use super::forms::{Browser, Purpose};
use super::opened::{forget, opened};
use super::sign_in::sign_in_address;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, form_failure, store_failure};
use crate::accounts::{Acceptance, InvitationState, Mistake};
use crate::store::{Conflict, Invitation};
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the form shows.
#[derive(Serialize)]
struct Shown {
    /// The link's own token, which the form spends.
    link_token: String,
    /// The e-mail is whom the invitation is for; it cannot be changed.
    #[serde(flatten)]
    entered: Entered,
    /// Who is signed in, and is no more once the account is made.
    signed_in: Option<String>,
}

/// The page for an invitation that leads nowhere.
#[derive(Serialize)]
struct Over {
    /// There is an account with its e-mail.
    is_taken: bool,
    sign_in: String,
}

impl Portal {
    /// GET: the form, if the invitation is good.
    pub(super) async fn show_invitation(&self, visit: &Visit) -> Result<Answer, Failure> {
        let token = match opened(visit, Purpose::Invitation) {
            Ok(token) => token,
            Err(page) => return Ok(page),
        };
        let begin = |invitation: &Invitation| Entered {
            first_name: invitation.first_name.clone().unwrap_or_default(),
            last_name: invitation.last_name.clone().unwrap_or_default(),
            ..Entered::default()
        };
        self.invitation_page(visit, token, StatusCode::OK, begin).await
    }

    /// POST: makes the account and signs in.
    pub(super) async fn accept_invitation<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let (token, mut entered) = (text("token"), Entered::read(&form));
        let sessions = self.accounts.sessions();
        match self.is_current(visit, Purpose::Invitation, &form) {
            Ok(true) => {}
            Err(page) => return Ok(page),
            Ok(false) => {
                entered.error = Some(Text::of("form-out-of-date"));
                let status = StatusCode::FORBIDDEN;
                return self.invitation_page(visit, &token, status, |_| entered).await;
            }
        }
        let acceptance =
            Acceptance { password: text("password").into(), profile: entered.profile() };
        let (from, old) = (visit.actor(), visit.cookie_identity(sessions).await?);
        let replaces = old.as_deref();
        match self.accounts.accept_and_sign_in(&token, acceptance, &from, replaces).await {
            Ok(session) => {
                let mut answer = self.leave(visit, None, session);
                forget(&mut answer, visit, (Purpose::Invitation, &token));
                Ok(answer)
            }
            Err(mistake) => self.invitation_again(visit, &token, entered, mistake).await,
        }
    }

    /// The form once more, with what was wrong.
    async fn invitation_again(
        &self,
        visit: &Visit,
        token: &str,
        mut entered: Entered,
        mistake: Mistake,
    ) -> Result<Answer, Failure> {
        if let Mistake::Conflict(Conflict::Token) = mistake {
            return Ok(over(visit, token));
        }
        if let Mistake::Conflict(Conflict::Email) = mistake {
            return Ok(taken(visit));
        }
        if let Mistake::TooMany(after) = mistake {
            return Err(Failure::too_many(after).explanation(Text::of("link-too-many")));
        }
        entered.complain(mistake)?;
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        self.invitation_page(visit, token, status, |_| entered).await
    }

    /// The page an invitation opens; `fill` says what stands in the form.
    async fn invitation_page(
        &self,
        visit: &Visit,
        token: &str,
        status: StatusCode,
        fill: impl FnOnce(&Invitation) -> Entered,
    ) -> Result<Answer, Failure> {
        let found = self.accounts.people().look_at_invitation(token).await;
        let invitation = match found.map_err(store_failure)? {
            InvitationState::Live(invitation) => invitation,
            InvitationState::Taken => return Ok(taken(visit)),
            InvitationState::Void => return Ok(over(visit, token)),
        };
        let browser = Browser::of(visit, &self.entropy);
        let entered = Entered { email: invitation.email.clone(), ..fill(&invitation) };
        let entered = self.shown_to(visit, (&browser, Purpose::Invitation), entered);
        let signed_in = visit.owner().map(|identity| identity.user().email.to_string());
        let shown = Shown { link_token: token.to_owned(), entered, signed_in };
        let mut answer = render(visit, "invitation", status, shown);
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        Ok(answer)
    }
}

/// The page for an invitation that is spent, past its end, taken back or made up.
fn over(visit: &Visit, token: &str) -> Answer {
    let shown = Over { is_taken: false, sign_in: sign_in_address(visit, None) };
    let mut answer = render(visit, "invitation-over", StatusCode::NOT_FOUND, shown);
    forget(&mut answer, visit, (Purpose::Invitation, token));
    answer
}

/// The page for an invitation of somebody who has an account by now.
fn taken(visit: &Visit) -> Answer {
    let shown = Over { is_taken: true, sign_in: sign_in_address(visit, None) };
    render(visit, "invitation-over", StatusCode::CONFLICT, shown)
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn the_form_shows_the_e_mail_and_does_not_ask_for_it() {
        let entered = Entered {
            email: "<ann>@example.com".into(),
            first_name: "Ann".into(),
            password_error: Some(Text::of("password-common")),
            ..Entered::default()
        };
        let shown = Shown { link_token: "abc".into(), entered, signed_in: None };
        let page = page_of("invitation", shown).await;
        for part in ["value=\"&lt;ann&gt;@example.com\" readonly", "value=\"abc\"", "value=\"Ann\""]
        {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(
            page.contains("id=\"password-error\"") && !page.contains("name=\"email\""),
            "{page}"
        );
    }

    #[tokio::test]
    async fn an_invitation_that_is_over_says_why() {
        for (is_taken, words) in [(true, "already"), (false, "no longer")] {
            let page = page_of("invitation-over", Over { is_taken, sign_in: "/auth/login".into() });
            let page = page.await;
            assert!(
                page.contains(words) && page.contains("href=\"&#x2f;auth&#x2f;login\""),
                "{page}"
            );
        }
    }
}
