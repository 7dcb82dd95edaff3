//! A request to the gateway's own pages and endpoints, prepared by `server`, and what pages and
//! endpoints ask of it alike: where it leads, who acts, whether another site sent it, where to go next.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER, SET_COOKIE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::Actor;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::policy::{HostMatch, Located, Policy};
use crate::session::{
    Caller, Carrier, CookieCredential, Credentials, Identity, RecogniseError, Sessions,
};
use crate::store::StoreError;
use crate::telemetry::log::Causes;
use crate::web::authority::Host;
use crate::web::client::Client;
use crate::web::cors::{let_listed_read, preflight_answer, preflight_method};
use crate::web::failure::Failure;
use crate::web::fields::Fields;
use crate::web::form::FormError;
use crate::web::language::Language;
use crate::web::origin::{Origin, Site, site_of};
use crate::web::page::Frame;
pub use crate::web::return_to::encode_query;
use crate::web::return_to::{self, ReturnTo};
use crate::web::target::Target;
use crate::web::text::Text;

/// An answer of a page or an endpoint.
pub type Answer = Response<Full<Bytes>>;

/// A request at or below `portal.path` (or to one of the shapes below `portal.users_path`), its caller
/// already recognised. It holds secrets, so nothing prints it.
pub struct Visit {
    /// The request's id.
    pub request_id: String,
    /// Its wall time, read once.
    pub now: Timestamp,
    /// Who is at the other end.
    pub client: Client,
    /// The origin the request was made to.
    pub own_origin: Origin,
    /// The caller, or why it could not be told.
    pub caller: Result<Caller, RecogniseError>,
    /// The credentials of ours it carried.
    pub credentials: Credentials,
    /// Two `Authorization` fields were sent: 400 (their credentials were not looked at).
    pub has_two_authorizations: bool,
    /// Whether it is a browser navigation.
    pub is_navigation: bool,
    /// Method.
    pub method: Method,
    /// Target.
    pub target: Target,
    /// Every header as received.
    pub headers: HeaderMap,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The routes in force.
    pub policy: Arc<Policy>,
}

/// The decoded segments of a target below a prefix such as `/auth`: `/auth/jwt/login` gives
/// `["jwt", "login"]`, `/auth` itself nothing but an empty list. `None` elsewhere, and for targets in
/// an irregular form, which nothing below the portal permits.
#[must_use]
pub fn segments_below(target: &Target, prefix: &str) -> Option<Vec<String>> {
    if !target.forms().is_empty() {
        return None;
    }
    let mut segments = target.segments().iter();
    for wanted in prefix.split('/').skip(1) {
        if segments.next()? != wanted.as_bytes() {
            return None;
        }
    }
    segments.map(|segment| String::from_utf8(segment.to_vec()).ok()).collect()
}

/// The address of a portal page, as a link from `own` works: a path, or an absolute URL where
/// `sessions.cookie.domain` puts the portal on one host only.
#[must_use]
pub fn portal_address(config: &Config, page: &str) -> String {
    format!("{}/{page}", portal_root(config))
}

/// What every address of [`portal_address`] begins with.
#[must_use]
pub fn portal_root(config: &Config) -> String {
    let path = &config.portal.path;
    match config.sessions.cookie.domain {
        Some(_) => format!("{}{path}", config.public_url),
        None => path.clone(),
    }
}

/// Where a challenge sends a browser: the sign-in page, which leads to `next` afterwards. With
/// `form_lost` the page says that the form just sent did not arrive.
#[must_use]
pub fn login_address(config: &Config, next: &str, form_lost: bool) -> String {
    let lost = if form_lost { "&form=lost" } else { "" };
    format!("{}?next={}{lost}", portal_address(config, "login"), encode_query(next))
}

/// Where the page of a refusal sends somebody signed in who wants to be somebody else.
#[must_use]
pub fn another_account_address(config: &Config, next: &str) -> String {
    format!("{}&another=1", login_address(config, next, false))
}

/// An answer with a body of nothing.
#[must_use]
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// 303 to an address; an address that makes no header is an error of ours (500).
#[must_use]
pub fn see_other(address: &str) -> Answer {
    match HeaderValue::from_str(address) {
        Ok(value) => {
            let mut answer = empty(StatusCode::SEE_OTHER);
            answer.headers_mut().insert(http::header::LOCATION, value);
            answer
        }
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Has the browser forget what it kept of pages seen while signed in.
pub fn clear_kept_pages(answer: &mut Answer) {
    const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
    answer.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
}

/// 401 that says how to sign in, at an address as [`login_address`] makes it, and whether a token was
/// sent in vain (RFC 6750 section 3).
#[must_use]
pub fn sign_in_first(address: &str, own: &Origin, sent_token: bool) -> Failure {
    let challenge = if sent_token { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    let mut failure = Failure::new(StatusCode::UNAUTHORIZED)
        .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    // Whoever reads JSON may not know to what a path would be relative.
    let origin = if address.starts_with('/') { own.to_string() } else { String::new() };
    failure.login_url = Some(format!("{origin}{address}"));
    failure
}

/// 503 when the database does not answer or cannot, as guarded routes have it; else an unplanned
/// failure. Logged here.
#[must_use]
pub fn store_failure(error: StoreError) -> Failure {
    match error {
        StoreError::Unavailable(source) => {
            tracing::warn!(error = %source, "the database cannot be reached");
            unavailable()
        }
        // These pass only when somebody mends the database.
        StoreError::Failed(_) | StoreError::Corrupt(_) => {
            tracing::error!(error = %Causes(&error), "the database cannot be used");
            unavailable()
        }
        StoreError::Conflict(_) | StoreError::Empty | StoreError::Schema(_) => Failure::from(error),
    }
}

/// What a body that cannot be read is answered with.
#[must_use]
pub fn form_failure(error: &FormError) -> Failure {
    let status = match error {
        FormError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        FormError::NotAForm | FormError::Malformed(_) => StatusCode::BAD_REQUEST,
        FormError::TimedOut => StatusCode::REQUEST_TIMEOUT,
    };
    Failure::new(status).explanation(Text::of("error-form")).cause(error.to_string())
}

/// The answer where it cannot be told who somebody is.
pub(super) fn unavailable() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE)
        .explanation(Text::of("error-sign-in-down"))
        .header(RETRY_AFTER, HeaderValue::from_static("5"))
}

impl Visit {
    /// Decoded segments below `portal.path`; see [`segments_below`].
    #[must_use]
    pub fn segments(&self) -> Option<Vec<String>> {
        segments_below(&self.target, &self.config.portal.path)
    }

    /// The language of whoever asks: by the choice made on a page, else by what the browser says.
    #[must_use]
    pub fn language(&self) -> Language {
        self.config.language_of(&self.headers)
    }

    /// What a page shown to this visit is framed by; `address` is where it can be asked for again.
    #[must_use]
    pub fn frame<'a>(&'a self, address: &'a str) -> Frame<'a> {
        Frame {
            pages: &self.config.portal.pages,
            language: self.language(),
            portal: &self.config.portal.path,
            address,
            request_id: &self.request_id,
        }
    }

    /// Where what is asked for can be asked for again: a form that was sent, by its page.
    #[must_use]
    pub fn address(&self) -> &str {
        let whole = self.target.raw();
        if matches!(self.method, Method::GET | Method::HEAD) {
            return whole;
        }
        whole.split('?').next().unwrap_or_default()
    }

    /// The method, HEAD read as GET.
    #[must_use]
    pub fn asked(&self) -> &Method {
        if self.method == Method::HEAD { &Method::GET } else { &self.method }
    }

    /// Who acts, as events tell it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let agent = self.headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        Actor {
            name: String::new(),
            superuser: None,
            address: self.client.address,
            agent: String::from_utf8_lossy(agent).into_owned(),
            language: self.language(),
        }
    }

    /// The caller, if known.
    ///
    /// # Errors
    /// 400 for credentials of two people or two `Authorization` fields, 503 when it cannot be told.
    pub fn identity(&self) -> Result<Option<(&Arc<Identity>, Carrier)>, Failure> {
        if self.has_two_authorizations {
            return Err(Failure::new(StatusCode::BAD_REQUEST)
                .cause("the request carries two Authorization headers"));
        }
        match &self.caller {
            Ok(Caller::Anonymous) => Ok(None),
            Ok(Caller::Known(identity, carrier)) => Ok(Some((identity, *carrier))),
            Err(RecogniseError::Contradiction) => Err(Failure::new(StatusCode::BAD_REQUEST)
                .cause("the request carries credentials of two different people")),
            Err(RecogniseError::Unavailable) => Err(unavailable()),
        }
    }

    /// Who is signed in, for what is done with and without: nobody where that cannot be told.
    #[must_use]
    pub fn owner(&self) -> Option<&Identity> {
        self.identity().ok().flatten().map(|(identity, _)| &**identity)
    }

    /// The session behind the cookie, which a new cookie replaces and a cleared one ends. A bearer
    /// token beside it hides it from [`Visit::identity`], so it is looked up by the cookie alone.
    ///
    /// # Errors
    /// 503 when it cannot be told.
    pub async fn cookie_identity(
        &self,
        sessions: &Sessions,
    ) -> Result<Option<Arc<Identity>>, Failure> {
        match &self.caller {
            Ok(Caller::Known(identity, Carrier::Cookie)) => return Ok(Some(Arc::clone(identity))),
            Ok(Caller::Anonymous) => return Ok(None),
            Ok(Caller::Known(_, Carrier::Bearer)) | Err(_) => {}
        }
        let alone = Credentials { cookie: self.credentials.cookie.clone(), bearer: None };
        match sessions.recognise(&alone, self.now).await {
            Ok(caller) => Ok(caller.identity().map(Arc::clone)),
            Err(RecogniseError::Contradiction | RecogniseError::Unavailable) => Err(unavailable()),
        }
    }

    /// What the headers say about where an unsafe request came from.
    #[must_use]
    pub fn site(&self) -> Site {
        site_of(&self.headers, &self.own_origin, &self.config.origins)
    }

    /// Where to go after signing in or out: a `next` that is allowed, else the home of
    /// [`Visit::home`].
    #[must_use]
    pub fn destination(&self, next: Option<&str>) -> String {
        let checked = next.and_then(|next| self.checked(next));
        checked.map_or_else(|| self.home(), |next| next.as_str().to_owned())
    }

    /// A `next` that is allowed.
    #[must_use]
    pub fn checked(&self, next: &str) -> Option<ReturnTo> {
        let config = &self.config;
        let takes = |host: &Host| match self.policy.takes_host(host) {
            HostMatch::Exact => true,
            HostMatch::Wildcard => {
                let domain = config.sessions.cookie.domain.as_deref();
                domain.is_some_and(|domain| host.is_within(domain))
            }
            HostMatch::Any | HostMatch::Nowhere => false,
        };
        return_to::check(next, &config.public_url, &config.portal.path, &takes)
    }

    /// `/` if a route of this host serves it, else the account page.
    #[must_use]
    pub fn home(&self) -> String {
        let has_root = Target::parse("/").is_ok_and(|root| {
            let located = self.policy.locate(&self.own_origin.host, &root, &Method::GET);
            matches!(located, Located::Route(_))
        });
        if has_root { "/".into() } else { format!("{}/account", self.config.portal.path) }
    }

    /// The answer to a preflight from a listed origin: 204 with exactly that origin, the asked method
    /// if it is among `methods`, and credentials. `None` if the request is none.
    #[must_use]
    pub fn preflight(&self, methods: &[Method]) -> Option<Answer> {
        let origins = &self.config.origins;
        let fields = Fields::of(&self.headers);
        let asked = preflight_method(&self.method, &fields, origins)?;
        let allowed = methods.contains(&asked).then_some(&asked);
        Some(preflight_answer(&fields, origins, allowed))
    }

    /// Lets pages of a listed origin read the answer.
    pub fn add_cors(&self, answer: &mut Answer) {
        let_listed_read(&Fields::of(&self.headers), &self.config.origins, answer.headers_mut());
    }

    /// Makes an answer of the portal or API complete: never stored, and two cookies of our name are
    /// cleared (before a new one is set).
    pub fn finish(&self, answer: &mut Answer, sessions: &Sessions) {
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.credentials.cookie != CookieCredential::Several {
            return;
        }
        let own: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        for value in sessions.clearing_cookies().into_iter().chain(own) {
            headers.append(SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Conflict;

    #[test]
    fn only_what_the_database_cannot_answer_is_unavailable() {
        for (error, expected) in [
            (StoreError::Unavailable(sqlx::Error::PoolTimedOut), 503),
            (StoreError::Failed(sqlx::Error::RowNotFound), 503),
            (StoreError::Corrupt("an id".to_owned()), 503),
            (StoreError::Conflict(Conflict::Gone), 500),
            (StoreError::Schema("too new".to_owned()), 500),
        ] {
            let text = error.to_string();
            let failure = store_failure(error);
            assert_eq!(failure.status.as_u16(), expected, "{text}");
            assert_eq!(failure.headers.contains_key(RETRY_AFTER), expected == 503, "{text}");
        }
    }

    #[test]
    fn a_challenge_leads_to_the_sign_in_page_with_next_encoded() {
        assert_eq!(encode_query("/a b?c=d&e#f"), "%2Fa%20b%3Fc%3Dd%26e%23f");
        assert_eq!(encode_query("/ü\r\n"), "%2F%C3%BC%0D%0A");
    }

    #[test]
    fn an_address_that_makes_no_header_is_no_redirect() {
        assert_eq!(see_other("/a\nb").status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(see_other("/a").status(), StatusCode::SEE_OTHER);
    }
}
