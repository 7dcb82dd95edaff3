//! Sending a browser to a provider.

use http::HeaderValue;
use url::Url;

use super::linking::who_links;
use super::state::{Errand, Making, State};
use super::{VouchError, address, is_offered};
use crate::accounts::visit::Visit;
use crate::accounts::{Accounts, Confirmed};
use crate::identity::provider::Authorization;
use crate::session::OpenError;
use crate::web::form::{Form, FormError};

/// How somebody goes.
#[derive(Debug)]
pub struct Departure<'a> {
    /// To which provider.
    pub provider: &'a str,
    /// Whose account is to be linked, where they do not go to sign in.
    pub confirmed: Option<Confirmed>,
    /// The query of the request.
    pub query: &'a Form,
    /// What is asked for beside the configured scopes.
    pub scopes: &'a [String],
}

/// Where a browser goes, and what it takes along.
#[derive(Debug)]
pub struct Gone {
    /// The provider's address.
    pub url: Url,
    /// `Set-Cookie` values.
    pub cookies: Vec<HeaderValue>,
}

impl Accounts {
    /// Sends a browser to a provider, from the host that it comes back to. Nothing is written: what is to be
    /// known when it comes back goes with it, sealed.
    ///
    /// # Errors
    /// [`VouchError`].
    pub async fn depart(&self, visit: &Visit, going: Departure<'_>) -> Result<Gone, VouchError> {
        let Departure { provider: name, confirmed, query, scopes } = going;
        let provider = self.vouching.get(name).filter(|_| is_offered(visit));
        let provider = provider.ok_or(VouchError::Unknown)?;
        let errand = match confirmed {
            None => Errand::SignIn,
            Some(_) => who_links(visit).map(|_| Errand::Link)?,
        };
        let next = query.get("next").and_then(|next| visit.checked(next));
        let making = Making {
            provider: name,
            errand,
            next: next.map(|next| next.as_str().to_owned()),
            user: confirmed.map(Confirmed::user),
            is_repeated: query.get("repeated").is_some(),
        };
        let fresh = State::make(visit, &self.sessions, self.people.entropy(), making)
            .ok_or(VouchError::Session(OpenError::Cookie))?;
        let redirect_uri = address(&visit.config, &errand.callback(name));
        let authorization = Authorization {
            state: &fresh.sealed,
            nonce: &fresh.nonce,
            challenge: &Making::challenge(&fresh.verifier),
            redirect_uri: &redirect_uri,
            extra_scopes: scopes,
        };
        let url = provider.authorization(&authorization).await?;
        Ok(Gone { url, cookies: fresh.cookies })
    }
}

/// The query of a request that sends somebody away, with the scopes it asks for.
///
/// # Errors
/// [`FormError`].
pub fn read_departure(visit: &Visit) -> Result<(Form, Vec<String>), FormError> {
    Form::from_query_with_list(visit.target.query().unwrap_or_default(), "scopes")
}
