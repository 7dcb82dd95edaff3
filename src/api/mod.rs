//! The JSON endpoints: signing in and out, the session, registering, users, asking for links and what they
//! lead to.
//!
//! Front ends written for `FastAPI` Users work against them unchanged: same addresses, forms, codes and
//! shapes. Kept out: what signing in means (`accounts`) and every page.

mod bodies;
mod document;
mod endpoint;
mod input;
mod invitations;
mod letters;
mod links;
mod operation;
mod people;
mod shape;
mod vouching;

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::json;

use self::bodies::{Complaint, SessionBody, TokenBody, json, unprocessable, written};
use self::document::Document;
use self::endpoint::{Access, Backend, Endpoint};
use crate::accounts::visit::{
    Answer, Visit, clear_kept_pages, empty, form_failure, portal_address, segments_below,
    sign_in_first, store_failure,
};
use crate::accounts::{Accounts, Credential, Opened, SignInError, SignInRequest, Wanted};
use crate::config::Config;
use crate::session::{Caller, Carrier, Identity};
use crate::web::cors::preflight_method;
use crate::web::failure::Failure;
use crate::web::fields::Fields;
use crate::web::form::{Form, FormError, RequestBody, is_form};
use crate::web::headers::is_navigation;
use crate::web::origin::Site;
use crate::web::target::Target;

/// The endpoints. Cloning shares what is behind them.
#[derive(Clone)]
pub struct Api {
    accounts: Accounts,
    document: Arc<Document>,
}

/// Whether a request is the API's: an address of it below `portal.path`, or one of the exact shapes
/// (method and path) below `portal.users_path`, their preflights from `origins` included.
#[must_use]
pub fn claims(config: &Config, target: &Target, method: &Method, fields: &Fields<'_>) -> bool {
    find(config, target, method, fields).is_some()
}

fn find(
    config: &Config,
    target: &Target,
    method: &Method,
    fields: &Fields<'_>,
) -> Option<Endpoint> {
    let asked = preflight_method(method, fields, &config.origins);
    let asked = asked.as_ref().unwrap_or(method);
    if let Some(segments) = segments_below(target, &config.portal.path) {
        let is_sent = || asked == Method::POST && !is_form(fields.headers());
        return Endpoint::below_portal(&segments)
            .filter(|endpoint| !endpoint.is_shared() || is_sent())
            .filter(|endpoint| endpoint.is_there(config, is_navigation(asked, fields)));
    }
    let segments = segments_below(target, config.portal.users_path.as_deref()?)?;
    Endpoint::below_users_path(&segments, asked)
}

impl Api {
    /// Endpoints over accounts.
    #[must_use]
    pub fn new(accounts: Accounts) -> Self {
        Self { accounts, document: Arc::default() }
    }

    /// Answers a request that [`claims`] said is the API's (others get 404).
    pub async fn serve<B: RequestBody>(&self, visit: &Visit, body: B) -> Answer {
        let mut answer = match self.dispatch(visit, body).await {
            Ok(answer) => answer,
            Err(failure) => failure.as_json(&visit.request_id),
        };
        visit.finish(&mut answer, self.accounts.sessions());
        answer
    }

    async fn dispatch<B: RequestBody>(&self, visit: &Visit, body: B) -> Result<Answer, Failure> {
        let fields = Fields::of(&visit.headers);
        let endpoint = find(&visit.config, &visit.target, &visit.method, &fields)
            .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND))?;
        if let Some(answer) = visit.preflight(endpoint.methods()) {
            return Ok(answer);
        }
        let outcome = self.answer(&endpoint, visit, body).await;
        let mut answer = outcome.unwrap_or_else(|failure| failure.as_json(&visit.request_id));
        visit.add_cors(&mut answer);
        Ok(answer)
    }

    async fn answer<B: RequestBody>(
        &self,
        endpoint: &Endpoint,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        if !endpoint.methods().contains(visit.asked()) {
            return Err(Failure::wrong_method(endpoint.methods()));
        }
        let caller = visit.identity()?;
        if let Some((identity, _)) = caller
            && *endpoint != Endpoint::Session
        {
            self.accounts.sessions().touch(identity, visit.now);
        }
        if !visit.method.is_safe() {
            refuse_foreign(visit, endpoint.sets_cookie())?;
        }
        let by = admit(endpoint.access(), visit, caller)?;
        match (endpoint, by) {
            (Endpoint::Login(backend), _) => self.sign_in(*backend, visit, body).await,
            (Endpoint::Session, _) => match caller {
                Some((identity, _)) => json(StatusCode::OK, &SessionBody::of(identity)),
                None => json(StatusCode::OK, &json!({"authenticated": false})),
            },
            (Endpoint::Document, _) => {
                Ok(written(StatusCode::OK, self.document.of(&visit.config)?))
            }
            (Endpoint::Register, _) => self.register(visit, body).await,
            (Endpoint::Link(kind), _) => self.use_link(visit, *kind, body).await,
            (Endpoint::Letter(kind), _) => self.ask_for_letter(visit, *kind, body).await,
            (Endpoint::Logout, Some((identity, carrier))) => {
                self.sign_out(visit, identity, carrier).await
            }
            (Endpoint::Vouch(leg), _) => self.vouch(visit, leg, body).await,
            (Endpoint::Me, Some((identity, _))) => self.serve_me(visit, identity, body).await,
            (Endpoint::User(id), Some((identity, _))) => {
                self.serve_user(visit, identity, *id, body).await
            }
            (Endpoint::Invitations, Some((identity, _))) => {
                self.serve_invitations(visit, identity, body).await
            }
            (Endpoint::Invitation(id), Some((identity, _))) => {
                self.revoke_invitation(visit, identity, *id).await
            }
            (
                Endpoint::Logout
                | Endpoint::Me
                | Endpoint::User(_)
                | Endpoint::Invitations
                | Endpoint::Invitation(_),
                None,
            ) => Err(unauthorized(visit)),
        }
    }

    async fn sign_in<B: RequestBody>(
        &self,
        backend: Backend,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let (name, password) = match Form::read(&visit.headers, body).await {
            Ok(form) => read_login(&form)?,
            Err(FormError::NotAForm) => read_login(&Form::default())?,
            Err(error) => return Err(form_failure(&error)),
        };
        let (wanted, old) = match backend {
            Backend::Jwt => (Wanted::Bearer, None),
            Backend::Cookie => {
                let old = visit.cookie_identity(self.accounts.sessions()).await?;
                (Wanted::Cookie { remember: false }, old)
            }
        };
        let from = visit.actor();
        let request = SignInRequest {
            credential: Credential::Password(name, password),
            wanted,
            from: &from,
            replaces: old.as_deref(),
            now: visit.now,
        };
        match self.accounts.sign_in(request).await {
            Ok((_, Opened::Cookie(set_cookie))) => {
                let mut answer = empty(StatusCode::NO_CONTENT);
                answer.headers_mut().insert(SET_COOKIE, set_cookie);
                Ok(answer)
            }
            Ok((_, Opened::Bearer { access_token, expires_in })) => {
                let token_type = "bearer";
                json(StatusCode::OK, &TokenBody { access_token, token_type, expires_in })
            }
            Err(SignInError::BadCredentials) => {
                Err(Failure::new(StatusCode::BAD_REQUEST).detail("LOGIN_BAD_CREDENTIALS"))
            }
            Err(SignInError::NotVerified) => {
                Err(Failure::new(StatusCode::BAD_REQUEST).detail("LOGIN_USER_NOT_VERIFIED"))
            }
            Err(SignInError::TooMany(after)) => Err(Failure::too_many(after)),
            Err(SignInError::Store(error)) => Err(store_failure(error)),
            Err(error @ SignInError::Session(_)) => Err(error.into()),
        }
    }

    async fn sign_out(
        &self,
        visit: &Visit,
        identity: &Identity,
        carrier: Carrier,
    ) -> Result<Answer, Failure> {
        let from = visit.actor();
        self.accounts.sign_out(identity, &from).await.map_err(store_failure)?;
        // The cookie beside a bearer is cleared too: cleared here alone, a copy of it would live on.
        if carrier == Carrier::Bearer
            && let Some(beside) = visit.cookie_identity(self.accounts.sessions()).await?
        {
            self.accounts.sign_out(&beside, &from).await.map_err(store_failure)?;
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        for value in self.accounts.sessions().clearing_cookies() {
            answer.headers_mut().append(SET_COOKIE, value);
        }
        clear_kept_pages(&mut answer);
        Ok(answer)
    }
}

/// The caller, if they may call an endpoint: 401 for nobody known, 403 for somebody who may not.
fn admit<'v>(
    access: Access,
    visit: &Visit,
    caller: Option<(&'v Arc<Identity>, Carrier)>,
) -> Result<Option<(&'v Arc<Identity>, Carrier)>, Failure> {
    let needs_superuser = match access {
        Access::Anybody => return Ok(None),
        Access::SignedIn => false,
        Access::Superuser => true,
    };
    let (identity, carrier) = caller.ok_or_else(|| unauthorized(visit))?;
    let user = identity.user();
    let is_unverified = visit.config.accounts.require_verified && !user.is_verified;
    if is_unverified || (needs_superuser && !user.is_superuser) {
        return Err(Failure::new(StatusCode::FORBIDDEN));
    }
    Ok(Some((identity, carrier)))
}

fn unauthorized(visit: &Visit) -> Failure {
    let address = portal_address(&visit.config, "login");
    sign_in_first(&address, &visit.own_origin, visit.credentials.bearer.is_some())
}

/// Refuses a request that another site's page sent, if a cookie authenticated it or it sets one.
/// What a bearer authenticated is exempt: a page cannot make a browser send that.
fn refuse_foreign(visit: &Visit, sets_cookie: bool) -> Result<(), Failure> {
    let is_subject = match &visit.caller {
        Ok(Caller::Known(_, Carrier::Bearer)) => false,
        Ok(Caller::Known(_, Carrier::Cookie)) => true,
        Ok(Caller::Anonymous) | Err(_) => sets_cookie,
    };
    match visit.site() {
        Site::Foreign if is_subject => {
            Err(Failure::new(StatusCode::FORBIDDEN).detail("Cross-site request"))
        }
        Site::Foreign | Site::Own | Site::Unsaid => Ok(()),
    }
}

/// Reads a sign-in form in the order `FastAPI` complains about it.
fn read_login(form: &Form) -> Result<(String, SecretString), Failure> {
    let filled = |name| form.get(name).filter(|value| !value.is_empty());
    let mut complaints = Vec::new();
    if let Some(grant) = filled("grant_type").filter(|grant| *grant != "password") {
        complaints.push(Complaint::Pattern("grant_type", "^password$", grant.to_owned()));
    }
    for name in ["username", "password"] {
        if filled(name).is_none() {
            complaints.push(Complaint::Missing(name));
        }
    }
    match (filled("username"), filled("password")) {
        (Some(name), Some(password)) if complaints.is_empty() => {
            Ok((name.to_owned(), password.to_owned().into()))
        }
        _ => Err(unprocessable(&complaints)),
    }
}
