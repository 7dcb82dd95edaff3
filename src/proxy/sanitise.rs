//! A request without anything the upstream could mistake for the gateway's word.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::session::{CookieCredential, Credentials};
use crate::web::cookies::{self, Found, Share};
use crate::web::fields::{Fields, Name};
use crate::web::headers::{self, Authorization, Hygiene, Unambiguous, Unforwardable};
use crate::web::origin::Origin;
use crate::web::target::Target;

/// What a request asks for. Shared with whatever decides again later on.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The request's own origin; its host chose the routes.
    pub origin: Origin,
    /// The target that was decided on.
    pub target: Target,
}

/// A request from which hop-by-hop, identity and untrusted forwarding headers are gone and the
/// gateway's own credentials were moved out. Made only by [`sanitise`].
///
/// ```compile_fail
/// let request = portcullis::proxy::Sanitized { method: http::Method::GET };
/// ```
#[must_use]
pub struct Sanitized {
    pub(super) method: Method,
    pub(super) resource: Arc<Resource>,
    /// `Host` as received.
    pub(super) host: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) upgrade: Option<OnUpgrade>,
}

impl Sanitized {
    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The target that was decided on.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.resource.target
    }

    /// What is asked for.
    #[must_use]
    pub const fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// The headers that are left.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether this is a WebSocket handshake.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        self.upgrade.is_some()
    }
}

/// What sanitising needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Names to strip and to let through.
    pub hygiene: &'a Hygiene,
    /// Name of the session cookie without prefix.
    pub cookie_base: &'a str,
    /// Name of the session cookie with the prefix in force.
    pub cookie_name: &'a str,
}

/// What is to be taken out of a request, found while its head was only read. Spent on that request.
#[must_use]
pub struct Findings {
    checked: Unambiguous,
    credentials: Credentials,
    own_cookies: Share,
    is_websocket: bool,
}

impl Findings {
    /// Reads a head that [`check_request`](headers::check_request) has `checked`.
    ///
    /// # Errors
    /// [`Unforwardable`]: a WebSocket handshake with a body, two `Authorization` fields.
    pub fn read(
        request: &Request<Incoming>,
        fields: &Fields<'_>,
        checked: Unambiguous,
        rules: &Rules<'_>,
    ) -> Result<Self, Unforwardable> {
        let is_websocket = headers::is_websocket(request.method(), fields);
        if is_websocket && !request.body().is_end_stream() {
            return Err(Unforwardable("a WebSocket handshake has no body"));
        }
        let bearer = bearer(fields)?;
        let (found, own_cookies) = cookies::read(fields, rules.cookie_name, rules.cookie_base);
        let credentials = Credentials { cookie: cookie(found), bearer };
        Ok(Self { checked, credentials, own_cookies, is_websocket })
    }
}

/// Reads the gateway's credentials without taking them out.
///
/// # Errors
/// [`Unforwardable`]: two `Authorization` fields.
pub fn credentials(fields: &Fields<'_>, cookie_name: &str) -> Result<Credentials, Unforwardable> {
    let bearer = bearer(fields)?;
    Ok(Credentials { cookie: cookie(cookies::find(fields.headers(), cookie_name)), bearer })
}

fn bearer(fields: &Fields<'_>) -> Result<Option<String>, Unforwardable> {
    match headers::authorization(fields) {
        Authorization::NotOurs => Ok(None),
        Authorization::Ours(token) => Ok(Some(token)),
        Authorization::Several => Err(Unforwardable("two Authorization headers")),
    }
}

fn cookie(found: Found<'_>) -> CookieCredential {
    match found {
        Found::None => CookieCredential::None,
        Found::One(value) => CookieCredential::One(value.to_vec()),
        Found::Several => CookieCredential::Several,
    }
}

/// Takes out of a request what must not reach an application, and the gateway's credentials.
///
/// # Errors
/// [`Unforwardable`]: the head is ambiguous (400).
pub fn sanitise(
    request: Request<Incoming>,
    findings: Findings,
    resource: Arc<Resource>,
    host: HeaderValue,
    rules: &Rules<'_>,
) -> Result<(Sanitized, Credentials), Unforwardable> {
    let Findings { checked, credentials, own_cookies, is_websocket } = findings;
    let (mut parts, body) = request.into_parts();
    headers::sanitise_request(&mut parts.headers, rules.hygiene, &checked)?;
    if credentials.bearer.is_some() {
        parts.headers.remove(header::AUTHORIZATION);
    }
    cookies::strip_share(&mut parts.headers, rules.cookie_base, own_cookies);
    if checked.notes().has(Name::Expect) {
        // The server answers `100-continue` itself, once the body is wanted.
        parts.headers.remove(header::EXPECT);
    }
    let upgrade = if is_websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
    let (method, headers) = (parts.method, parts.headers);
    Ok((Sanitized { method, resource, host, headers, body, upgrade }, credentials))
}
