//! The JSON endpoints: signing in and out, the session, users, asking for links and what they lead to.
//!
//! Front ends written for `FastAPI` Users work against them unchanged: same addresses, forms, codes and
//! shapes. Kept out: what signing in means (`accounts`) and every page.

mod bodies;
mod input;
mod letters;
mod links;

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use self::bodies::{Complaint, MeBody, SessionBody, UserBody, json, unprocessable};
use crate::accounts::visit::{
    Answer, Visit, clear_kept_pages, empty, form_failure, portal_address, segments_below,
    sign_in_first, store_failure,
};
use crate::accounts::{
    Accounts, Credential, LinkKind, Opened, SignInError, SignInRequest, Wanted, read_id,
};
use crate::config::Config;
use crate::identity::user::Person;
use crate::session::{Caller, Carrier, Identity};
use crate::store::LetterKind;
use crate::web::cors::preflight_method;
use crate::web::failure::Failure;
use crate::web::fields::Fields;
use crate::web::form::{Form, FormError, RequestBody, is_form};
use crate::web::origin::Site;
use crate::web::target::Target;

/// The endpoints. Cloning shares what is behind them.
#[derive(Clone)]
pub struct Api {
    accounts: Accounts,
}

/// An address of the API.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Endpoint {
    Login(Backend),
    Logout,
    Session,
    Me,
    /// What a link leads to, as JSON; the page of the same address is the portal's.
    Link(LinkKind),
    /// Asks for a letter.
    Letter(LetterKind),
    /// A user by id; `None` for text that is no id.
    User(Option<Uuid>),
}

/// What a sign-in hands out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backend {
    Jwt,
    Cookie,
}

impl Endpoint {
    /// The endpoint at the segments below `portal.path`.
    fn below_portal(segments: &[String]) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["jwt", "login"] => Some(Self::Login(Backend::Jwt)),
            ["cookie", "login"] => Some(Self::Login(Backend::Cookie)),
            ["jwt" | "cookie", "logout"] => Some(Self::Logout),
            ["session"] => Some(Self::Session),
            ["reset-password"] => Some(Self::Link(LinkKind::Reset)),
            ["verify"] => Some(Self::Link(LinkKind::Verify)),
            ["forgot-password"] => Some(Self::Letter(LetterKind::Reset)),
            ["request-verify-token"] => Some(Self::Letter(LetterKind::Verify)),
            ["users", rest @ ..] => Self::of_users(rest),
            _ => None,
        }
    }

    fn of_users(segments: &[&str]) -> Option<Self> {
        match segments {
            ["me"] => Some(Self::Me),
            [id] => Some(Self::User(read_id(id))),
            _ => None,
        }
    }

    /// The endpoint at the segments below `portal.users_path`, where only exact shapes are ours.
    fn below_users_path(segments: &[String], method: &Method) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Self::of_users(&segments)
            .filter(|endpoint| method == Method::GET && *endpoint != Self::User(None))
    }

    const fn methods(&self) -> &'static [Method] {
        match self {
            Self::Login(_) | Self::Logout | Self::Link(_) | Self::Letter(_) => &[Method::POST],
            Self::Session | Self::Me | Self::User(_) => &[Method::GET],
        }
    }

    /// Whether a page has the same address: then only what is sent there, and is no form, is the API's.
    const fn is_shared(&self) -> bool {
        match self {
            Self::Link(_) | Self::Letter(LetterKind::Reset) => true,
            Self::Login(_)
            | Self::Logout
            | Self::Session
            | Self::Me
            | Self::Letter(LetterKind::Verify)
            | Self::User(_) => false,
        }
    }

    /// Whether the address does not exist for a method (rather than refuse it): changing and deleting
    /// users is not built.
    fn is_missing_for(&self, method: &Method) -> bool {
        let is_user = matches!(self, Self::Me | Self::User(_));
        is_user && (method == Method::PATCH || method == Method::DELETE)
    }
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
            .filter(|endpoint| !endpoint.is_shared() || is_sent());
    }
    let segments = segments_below(target, config.portal.users_path.as_deref()?)?;
    Endpoint::below_users_path(&segments, asked)
}

impl Api {
    /// Endpoints over accounts.
    #[must_use]
    pub const fn new(accounts: Accounts) -> Self {
        Self { accounts }
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
        if endpoint.is_missing_for(&visit.method) {
            return Err(Failure::new(StatusCode::NOT_FOUND));
        }
        if !endpoint.methods().contains(visit.asked()) {
            return Err(Failure::wrong_method(endpoint.methods()));
        }
        let caller = visit.identity()?;
        if let Some((identity, _)) = caller
            && *endpoint != Endpoint::Session
        {
            self.accounts.sessions().touch(identity, visit.now);
        }
        match endpoint {
            Endpoint::Login(backend) => self.sign_in(*backend, visit, body).await,
            Endpoint::Logout => self.sign_out(visit, caller).await,
            Endpoint::Session => match caller {
                Some((identity, _)) => json(StatusCode::OK, &SessionBody::of(identity)),
                None => json(StatusCode::OK, &json!({"authenticated": false})),
            },
            Endpoint::Me => {
                let (identity, _) = caller.ok_or_else(|| unauthorized(visit))?;
                json(StatusCode::OK, &MeBody::of(identity))
            }
            Endpoint::Link(kind) => self.use_link(visit, *kind, body).await,
            Endpoint::Letter(kind) => self.ask_for_letter(visit, *kind, body).await,
            Endpoint::User(id) => self.show_user(visit, caller, *id).await,
        }
    }

    async fn sign_in<B: RequestBody>(
        &self,
        backend: Backend,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        refuse_foreign(visit, backend == Backend::Cookie)?;
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
            Ok((_, Opened::Bearer { access_token, expires_in })) => json(
                StatusCode::OK,
                &json!({
                    "access_token": access_token, "token_type": "bearer", "expires_in": expires_in,
                }),
            ),
            Err(SignInError::BadCredentials) => {
                Err(Failure::new(StatusCode::BAD_REQUEST).detail("LOGIN_BAD_CREDENTIALS"))
            }
            Err(SignInError::TooMany(after)) => Err(Failure::too_many(after)),
            Err(SignInError::Store(error)) => Err(store_failure(error)),
            Err(error @ SignInError::Session(_)) => Err(error.into()),
        }
    }

    async fn sign_out(
        &self,
        visit: &Visit,
        caller: Option<(&Arc<Identity>, Carrier)>,
    ) -> Result<Answer, Failure> {
        refuse_foreign(visit, false)?;
        let (identity, carrier) = caller.ok_or_else(|| unauthorized(visit))?;
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

    /// Authorization comes before the id is looked at.
    async fn show_user(
        &self,
        visit: &Visit,
        caller: Option<(&Arc<Identity>, Carrier)>,
        id: Option<Uuid>,
    ) -> Result<Answer, Failure> {
        let (identity, _) = caller.ok_or_else(|| unauthorized(visit))?;
        if !identity.user().is_superuser {
            return Err(Failure::new(StatusCode::FORBIDDEN));
        }
        let missing = || Failure::new(StatusCode::NOT_FOUND);
        let found = self.accounts.find_user(id.ok_or_else(missing)?).await;
        let user = found.map_err(store_failure)?.ok_or_else(missing)?;
        json(StatusCode::OK, &UserBody::of(&Person::of(&user)))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    const ID: &str = "6F9619FF-8B86-D011-B42D-00C04FC964FF";

    #[test]
    fn every_address_below_the_portal_leads_to_its_endpoint() {
        let id = read_id(ID);
        assert!(id.is_some());
        for (path, expected) in [
            ("jwt/login", Some(Endpoint::Login(Backend::Jwt))),
            ("cookie/login", Some(Endpoint::Login(Backend::Cookie))),
            ("jwt/logout", Some(Endpoint::Logout)),
            ("cookie/logout", Some(Endpoint::Logout)),
            ("session", Some(Endpoint::Session)),
            ("users/me", Some(Endpoint::Me)),
            ("users/6F9619FF-8B86-D011-B42D-00C04FC964FF", Some(Endpoint::User(id))),
            ("users/6f9619ff8b86d011b42d00c04fc964ff", Some(Endpoint::User(id))),
            ("users/{6f9619ff-8b86-d011-b42d-00c04fc964ff}", Some(Endpoint::User(None))),
            ("users/urn:uuid:6f9619ff-8b86-d011-b42d-00c04fc964ff", Some(Endpoint::User(None))),
            ("users/manage", Some(Endpoint::User(None))),
            ("users", None),
            ("reset-password", Some(Endpoint::Link(LinkKind::Reset))),
            ("verify", Some(Endpoint::Link(LinkKind::Verify))),
            ("forgot-password", Some(Endpoint::Letter(LetterKind::Reset))),
            ("request-verify-token", Some(Endpoint::Letter(LetterKind::Verify))),
            ("users/me/sessions", None),
            ("login", None),
            ("jwt/login/", None),
            ("JWT/login", None),
            ("", None),
        ] {
            assert_eq!(Endpoint::below_portal(&segments(path)), expected, "{path}");
        }
    }

    #[test]
    fn below_users_path_only_exact_shapes_are_taken() {
        for (method, path, is_ours) in [
            (Method::GET, "me", true),
            (Method::GET, ID, true),
            (Method::GET, "manage", false),
            (Method::GET, "", false),
            (Method::HEAD, "me", false),
            (Method::PATCH, "me", false),
            (Method::DELETE, "me", false),
            (Method::DELETE, ID, false),
            (Method::POST, "me", false),
        ] {
            let found = Endpoint::below_users_path(&segments(path), &method);
            assert_eq!(found.is_some(), is_ours, "{method} {path}");
        }
    }

    #[test]
    fn changing_users_does_not_exist_and_other_methods_are_refused() {
        assert!(Endpoint::Me.is_missing_for(&Method::PATCH));
        assert!(Endpoint::User(None).is_missing_for(&Method::DELETE));
        assert!(!Endpoint::Me.is_missing_for(&Method::POST));
        assert!(!Endpoint::Session.is_missing_for(&Method::DELETE));
    }
}
