//! Taking along what is kept of one, and deleting the account.

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::account::sign_in_first;
use super::change::{change_failure, confirmation_of, unconfirmed};
use super::forms::{Purpose, TOKEN_FIELD, is_of_session, session_token};
use super::sign_in::sign_in_address;
use super::{Portal, render};
use crate::accounts::visit::{
    Answer, Visit, clear_kept_pages, form_failure, see_other, store_failure,
};
use crate::accounts::{ChangeError, Mistake};
use crate::session::Identity;
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the page shows: first what would be gone, then the password and the last button.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    current_email: String,
    is_sure: bool,
    has_password: bool,
    error: Option<Text>,
    current_error: Option<Text>,
    token_field: &'static str,
    token: String,
}

impl Portal {
    /// GET: all that is kept of whoever is signed in, as a file.
    pub(super) async fn download(&self, visit: &Visit) -> Result<Answer, Failure> {
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let dossier = self.accounts.dossier(identity).await.map_err(store_failure)?;
        let Some(dossier) = dossier else { return Ok(sign_in_first(visit)) };
        let mut answer = Response::new(Full::from(serde_json::to_vec_pretty(&dossier)?));
        for (name, value) in [
            (CONTENT_TYPE, "application/json"),
            (CONTENT_DISPOSITION, "attachment; filename=\"account.json\""),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(answer)
    }

    /// GET: what would be gone.
    pub(super) fn show_delete(&self, visit: &Visit) -> Result<Answer, Failure> {
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        Ok(self.delete_form(visit, identity, StatusCode::OK, Shown::default()))
    }

    /// POST: asks for the password, and with it deletes the account.
    pub(super) async fn delete<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let sessions = self.accounts.sessions();
        if !is_of_session(sessions, Purpose::Delete, identity, form.get(TOKEN_FIELD)) {
            let shown = Shown { error: Some(Text::of("form-out-of-date")), ..Shown::default() };
            return Ok(self.delete_form(visit, identity, StatusCode::FORBIDDEN, shown));
        }
        let has_password = self.has_password(identity).await?;
        let mut shown = Shown { is_sure: true, has_password, ..Shown::default() };
        if form.get("sure").is_none() {
            return Ok(self.delete_form(visit, identity, StatusCode::OK, shown));
        }
        let deleted =
            self.accounts.delete_own(identity, confirmation_of(&form), &visit.actor()).await;
        let status = match deleted.map_err(unconfirmed) {
            Ok(()) | Err(Err(ChangeError::Gone)) => return Ok(self.deleted(visit)),
            Err(Ok(text)) => {
                shown.current_error = Some(text);
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Err(Err(ChangeError::NotRecent)) => {
                shown.error = Some(Text::of("not-recent"));
                StatusCode::FORBIDDEN
            }
            Err(Err(ChangeError::Mistake(Mistake::Conflict(Conflict::LastSuperuser)))) => {
                shown =
                    Shown { error: Some(Text::of("delete-last-superuser")), ..Shown::default() };
                StatusCode::CONFLICT
            }
            Err(Err(error)) => return Err(change_failure(error)),
        };
        Ok(self.delete_form(visit, identity, status, shown))
    }

    fn delete_form(
        &self,
        visit: &Visit,
        identity: &Identity,
        status: StatusCode,
        mut shown: Shown,
    ) -> Answer {
        shown.current_email = identity.user().email.to_string();
        shown.token_field = TOKEN_FIELD;
        shown.token = session_token(self.accounts.sessions(), Purpose::Delete, identity);
        render(visit, "delete", status, shown)
    }

    /// To the sign-in page, with everything of the session cleared from the browser.
    fn deleted(&self, visit: &Visit) -> Answer {
        let sign_in = sign_in_address(visit, None);
        let mut answer = see_other(&format!("{sign_in}?another=1&account=deleted"));
        for value in self.accounts.sessions().clearing_cookies() {
            answer.headers_mut().append(SET_COOKIE, value);
        }
        clear_kept_pages(&mut answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn deleting_takes_two_steps_and_the_password_in_the_second() {
        let first = Shown { current_email: "<ann>".into(), ..Shown::default() };
        let page = page_of("delete", first.clone()).await;
        assert!(
            page.contains("&lt;ann&gt;") && page.contains("account&#x2f;data")
                || page.contains("account/data"),
            "{page}"
        );
        assert!(!page.contains("name=\"sure\"") && !page.contains("type=\"password\""), "{page}");
        let second = Shown {
            is_sure: true,
            has_password: true,
            current_error: Some(Text::of("current-wrong")),
            ..first
        };
        let page = page_of("delete", second).await;
        for part in
            ["name=\"sure\"", "type=\"password\"", "aria-describedby=\"current_password-error\""]
        {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
