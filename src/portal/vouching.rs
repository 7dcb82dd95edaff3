//! Signing in by a provider: away to it, and back.

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use serde::Serialize;

use super::forms::{Purpose, session_token};
use super::sign_in::sign_in_address;
use super::{Portal, add_cookie};
use crate::accounts::visit::{Answer, Visit, encode_query, see_other, store_failure};
use crate::accounts::vouching::{
    Arrival, Arrived, Departure, Errand, VouchError, is_offered, read_departure,
};
use crate::session::Identity;
use crate::web::failure::Failure;
use crate::web::form::Form;
use crate::web::text::Text;

/// A link as its owner sees it, with what unlinks it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Linked {
    provider: String,
    label: String,
    email: Option<String>,
    since: String,
    address: String,
    subject: String,
}

/// A provider that somebody can sign in by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Button {
    label: String,
    address: String,
}

impl Portal {
    /// The providers that somebody can sign in by here, in the order of the file.
    pub(super) fn sign_in_buttons(&self, visit: &Visit, next: Option<&str>) -> Vec<Button> {
        if !is_offered(visit) {
            return Vec::new();
        }
        let portal = &visit.config.portal.path;
        let next = next.map(|next| format!("?next={}", encode_query(next))).unwrap_or_default();
        let button = |label: &str, name: &str| Button {
            label: label.to_owned(),
            address: format!("{portal}/{name}/authorize{next}"),
        };
        let list = self.accounts.vouching().list();
        list.iter().map(|one| button(&one.settings().label, &one.settings().name)).collect()
    }

    /// What somebody has linked, with the token of the forms that unlink it.
    pub(super) async fn linked(
        &self,
        visit: &Visit,
        identity: &Identity,
    ) -> Result<(Vec<Linked>, String), Failure> {
        let portal = &visit.config.portal.path;
        let links = self.accounts.links_of(identity.user().id).await.map_err(store_failure)?;
        let shown = links.into_iter().map(|link| Linked {
            address: format!("{portal}/associate/{}/unlink", link.key.provider),
            provider: link.key.provider,
            label: link.label,
            email: link.email,
            since: link.linked_at.to_string(),
            subject: link.key.subject,
        });
        let token = session_token(self.accounts.sessions(), Purpose::Link, identity);
        Ok((shown.collect(), token))
    }

    /// The providers that somebody signed in can link, who has `linked` these.
    pub(super) fn link_buttons(&self, visit: &Visit, linked: &[Linked]) -> Vec<Button> {
        if !is_offered(visit) {
            return Vec::new();
        }
        let portal = &visit.config.portal.path;
        let button = |label: &str, name: &str| Button {
            label: label.to_owned(),
            address: format!("{portal}/associate/{name}/authorize"),
        };
        let list = self.accounts.vouching().list();
        let is_new = |name: &str| linked.iter().all(|link| link.provider != name);
        let offered = list.iter().map(|one| one.settings()).filter(|one| is_new(&one.name));
        offered.map(|one| button(&one.label, &one.name)).collect()
    }

    /// GET: off to the provider; where one is to be linked, the form that confirms it first.
    pub(super) async fn depart(
        &self,
        visit: &Visit,
        (provider, errand): (&str, Errand),
    ) -> Result<Answer, Failure> {
        let read = read_departure(visit);
        let (query, scopes) = read.map_err(|_| Failure::new(StatusCode::BAD_REQUEST))?;
        if !is_offered(visit) {
            // The one host whose cookies come along when the browser comes back.
            let target = visit.target.raw();
            return Ok(see_other(&format!("{}{target}", visit.config.public_url)));
        }
        if errand == Errand::Link {
            return self.show_linking(visit, provider).await;
        }
        let gone = {
            let going = Departure { provider, confirmed: None, query: &query, scopes: &scopes };
            self.accounts.depart(visit, going).await
        };
        let back = sign_in_address(visit, query.get("next").filter(|n| visit.checked(n).is_some()));
        let gone = gone.map_err(|error| {
            error.failure(&self.label(provider)).link(Text::of("back-to-sign-in"), back)
        })?;
        let mut answer = see_other(gone.url.as_str());
        gone.cookies.into_iter().for_each(|cookie| add_cookie(&mut answer, Some(cookie)));
        Ok(answer)
    }

    /// GET: back from the provider.
    pub(super) async fn come_back(
        &self,
        visit: &Visit,
        (provider, errand): (&str, Errand),
        query: &Form,
    ) -> Result<Answer, Failure> {
        // Looking whether the address is there is no use of it.
        if visit.method == Method::HEAD {
            return Err(Failure::new(StatusCode::BAD_REQUEST));
        }
        let arrived = self.accounts.arrive(visit, Arrival { provider, errand, query }).await?;
        let Arrived { outcome, next, clear, may_repeat, label } = arrived;
        let mut answer = match outcome {
            Ok((_, Some(session))) => self.leave(visit, next.as_deref(), session),
            Ok((_, None)) => see_other(&account_address(visit)),
            Err(VouchError::Anonymous) => {
                see_other(&sign_in_address(visit, Some(&account_address(visit))))
            }
            Err(_) if may_repeat && errand == Errand::SignIn => {
                let next = next.as_deref().map(|next| format!("&next={}", encode_query(next)));
                let portal = &visit.config.portal.path;
                let next = next.unwrap_or_default();
                see_other(&format!("{portal}/{provider}/authorize?repeated=1{next}"))
            }
            Err(error) => {
                let failure = match errand {
                    Errand::SignIn => {
                        let back = sign_in_address(visit, next.as_deref());
                        error.failure(&label).link(Text::of("back-to-sign-in"), back)
                    }
                    Errand::Link => error
                        .failure(&label)
                        .link(Text::of("account-heading"), account_address(visit)),
                };
                return Err(match clear {
                    Some(clear) => failure.header(SET_COOKIE, clear),
                    None => failure,
                });
            }
        };
        add_cookie(&mut answer, clear);
        Ok(answer)
    }

    pub(super) fn label(&self, provider: &str) -> String {
        let list = self.accounts.vouching().list();
        let found = list.iter().find(|one| one.settings().name == provider);
        found.map_or_else(|| provider.to_owned(), |one| one.settings().label.clone())
    }
}

pub(super) fn account_address(visit: &Visit) -> String {
    format!("{}/account", visit.config.portal.path)
}
