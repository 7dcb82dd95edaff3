//! Linking and unlinking accounts at providers: what is another way in asks for what a new password asks for.

use http::HeaderValue;
use http::StatusCode;
use http::header::REFRESH;
use serde::Serialize;

use super::account::sign_in_first;
use super::change::{change_failure, confirmation_of, unconfirmed};
use super::forms::{Purpose, TOKEN_FIELD, is_of_session, session_token};
use super::vouching::account_address;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, form_failure, see_other, store_failure};
use crate::accounts::vouching::Departure;
use crate::accounts::{ChangeError, Confirmed, Mistake};
use crate::session::Identity;
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Linking {
    Link,
    Unlink,
}

/// What the confirming page shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    provider: String,
    address: String,
    is_unlinking: bool,
    subject: String,
    has_password: bool,
    error: Option<Text>,
    current_error: Option<Text>,
    token_field: &'static str,
    token: String,
}

#[derive(Serialize)]
struct Away<'a> {
    provider: &'a str,
    address: &'a str,
}

impl Portal {
    /// GET: the form that links a provider. Nothing is begun yet, so another site may lead here.
    pub(super) async fn show_linking(
        &self,
        visit: &Visit,
        provider: &str,
    ) -> Result<Answer, Failure> {
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let shown = (StatusCode::OK, Shown::default());
        self.linking_form(visit, identity, (provider, Linking::Link), shown).await
    }

    /// POST: with the current password (or a recent sign-in) off to the provider, or a link away. A link
    /// goes from the account page's button over the same form.
    pub(super) async fn confirm<B: RequestBody>(
        &self,
        visit: &Visit,
        (provider, what): (&str, Linking),
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let subject = form.get("subject").unwrap_or_default().to_owned();
        let mut shown = Shown { subject: subject.clone(), ..Shown::default() };
        let sessions = self.accounts.sessions();
        if !is_of_session(sessions, Purpose::Link, identity, form.get(TOKEN_FIELD)) {
            shown.error = Some(Text::of("form-out-of-date"));
            let shown = (StatusCode::FORBIDDEN, shown);
            return self.linking_form(visit, identity, (provider, what), shown).await;
        }
        if form.get("sure").is_none() {
            let shown = (StatusCode::OK, shown);
            return self.linking_form(visit, identity, (provider, what), shown).await;
        }
        let confirmation = confirmation_of(&form);
        let confirmed = self.accounts.confirm_own(identity, confirmation, &visit.actor()).await;
        match confirmed.map_err(unconfirmed) {
            Ok(confirmed) => match what {
                Linking::Link => self.link(visit, provider, confirmed).await,
                Linking::Unlink => {
                    self.unlink(visit, (identity, confirmed), (provider, &subject)).await
                }
            },
            Err(Err(ChangeError::Gone)) => Ok(sign_in_first(visit)),
            Err(Ok(text)) => {
                shown.current_error = Some(text);
                let shown = (StatusCode::UNPROCESSABLE_ENTITY, shown);
                self.linking_form(visit, identity, (provider, what), shown).await
            }
            Err(Err(ChangeError::NotRecent)) => {
                shown.error = Some(Text::of("not-recent"));
                let shown = (StatusCode::FORBIDDEN, shown);
                self.linking_form(visit, identity, (provider, what), shown).await
            }
            Err(Err(error)) => Err(change_failure(error)),
        }
    }

    async fn linking_form(
        &self,
        visit: &Visit,
        identity: &Identity,
        (provider, what): (&str, Linking),
        (status, mut shown): (StatusCode, Shown),
    ) -> Result<Answer, Failure> {
        let step = match what {
            Linking::Link => "link",
            Linking::Unlink => "unlink",
        };
        shown.is_unlinking = what == Linking::Unlink;
        shown.address = format!("{}/associate/{provider}/{step}", visit.config.portal.path);
        shown.provider = self.label(provider);
        shown.has_password = self.has_password(identity).await?;
        shown.token_field = TOKEN_FIELD;
        shown.token = session_token(self.accounts.sessions(), Purpose::Link, identity);
        Ok(render(visit, "linking", status, shown))
    }

    /// Off to the provider. Not by a redirect: browsers hold those after a form to the addresses that the
    /// page with the form named, and a provider may lead on to others.
    async fn link(
        &self,
        visit: &Visit,
        provider: &str,
        confirmed: Confirmed,
    ) -> Result<Answer, Failure> {
        let confirmed = Some(confirmed);
        let label = self.label(provider);
        let going = Departure { provider, confirmed, query: &Form::default(), scopes: &[] };
        let gone = self.accounts.depart(visit, going).await.map_err(|error| {
            error.failure(&label).link(Text::of("account-heading"), account_address(visit))
        })?;
        let away = Away { provider: &label, address: gone.url.as_str() };
        let mut answer = render(visit, "departure", StatusCode::OK, away);
        if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={}", gone.url)) {
            answer.headers_mut().insert(REFRESH, refresh);
        }
        gone.cookies.into_iter().for_each(|cookie| add_cookie(&mut answer, Some(cookie)));
        Ok(answer)
    }

    /// Takes a link away, unless nobody could sign in to the account any more.
    async fn unlink(
        &self,
        visit: &Visit,
        by: (&Identity, Confirmed),
        (provider, subject): (&str, &str),
    ) -> Result<Answer, Failure> {
        let account = account_address(visit);
        match self.accounts.unlink(by, (provider, Some(subject)), &visit.actor()).await {
            Ok(_) => Ok(see_other(&account)),
            Err(Mistake::Conflict(Conflict::LastWayIn)) => {
                Err(Failure::new(StatusCode::BAD_REQUEST)
                    .explanation(Text::of("unlink-last"))
                    .link(Text::of("account-heading"), account))
            }
            Err(Mistake::Conflict(Conflict::Gone)) => Ok(sign_in_first(visit)),
            Err(Mistake::Store(error)) => Err(store_failure(error)),
            Err(mistake) => Err(mistake.into()),
        }
    }
}
