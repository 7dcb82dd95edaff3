//! What a caller reads when a request does not pass.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::body::Content;
use super::dispatch;
use super::live::Live;
use super::record::{Reader, Record};
use super::request::Asked;
use super::worker::Worker;
use crate::accounts::visit::{
    another_account_address, login_address, portal_address, portal_root, sign_in_first,
};
use crate::config::Unauthenticated;
use crate::policy::{Missing, Permit, Refusal};
use crate::proxy::Sanitized;
use crate::proxy::forward::ForwardError;
use crate::session::{Caller, CookieCredential, Credentials, Identity, Sessions};
use crate::telemetry::log::Causes;
use crate::telemetry::metrics::Refused;
use crate::web::cors;
use crate::web::failure::Failure;
use crate::web::origin::{self, Origin};
use crate::web::page::Frame;
use crate::web::text::Text;

/// 400.
pub(super) fn malformed(why: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST).cause(why)
}

/// 400 for a request that a route took, counted.
pub(super) fn invalid(worker: &Worker, record: &Record, why: &'static str) -> Failure {
    record.metrics().refused(worker.index, Refused::Invalid);
    malformed(why)
}

/// 503: the store cannot say who this is. Never a pass.
pub(super) fn unavailable() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE)
        .explanation(Text::of("error-unknown-who"))
        .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

/// 500: the identity does not fit in headers, and cutting it would be a lie.
pub(super) fn unrenderable(record: &Record) -> Failure {
    tracing::error!(
        request.id = record.request_id(),
        subject = ?record.subject,
        "the identity headers are too long to be sent"
    );
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether a request has to come from a page of our own or a listed origin, and does not.
pub(super) fn is_cross_site(
    live: &Live,
    asked: &Asked<'_>,
    request: &Sanitized,
    permit: &Permit,
) -> bool {
    let carrier = match asked.caller {
        Caller::Known(_, carrier) => Some(*carrier),
        Caller::Anonymous => None,
    };
    let (headers, listed) = (request.headers(), &live.config.origins);
    dispatch::must_be_own_site(carrier, permit.is_by_network())
        && origin::is_cross_site(
            request.method(),
            headers,
            request.is_websocket(),
            asked.origin,
            listed,
        )
}

/// 403 for what another site's page sent.
pub(super) fn cross_site() -> Failure {
    Failure::new(StatusCode::FORBIDDEN)
        .detail("Cross-site request")
        .explanation(Text::of("error-cross-site"))
}

/// The answer to a challenge: to the sign-in page, or 401.
pub(super) fn challenge(
    live: &Live,
    refusal: &Refusal,
    asked: &Asked<'_>,
    request: &Sanitized,
    record: &Record,
) -> Failure {
    let redirects = match live.policy.route(refusal.route).unauthenticated {
        Unauthenticated::Auto => record.as_page(),
        Unauthenticated::Redirect => true,
        Unauthenticated::Status401 => false,
    };
    let address = login_address(&live.config, &next(live, asked, request), !is_safe(request));
    if redirects && !request.is_websocket() {
        return match HeaderValue::from_str(&address) {
            Ok(location) => Failure::new(StatusCode::SEE_OTHER).header(header::LOCATION, location),
            Err(_) => Failure::new(StatusCode::UNAUTHORIZED),
        };
    }
    sign_in_first(&address, asked.origin, record.sent_bearer)
        .explanation(Text::of("error-sign-in-first"))
        .link(Text::of("sign-in"), address)
}

fn is_safe(request: &Sanitized) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Where somebody goes on after signing in: here, or where the form stood that could not be sent.
fn next(live: &Live, asked: &Asked<'_>, request: &Sanitized) -> String {
    let path = if is_safe(request) {
        request.target().raw().to_owned()
    } else {
        referring_path(request.headers(), asked.origin).unwrap_or_else(|| "/".to_owned())
    };
    match live.config.sessions.cookie.domain {
        Some(_) => format!("{}{path}", asked.origin),
        None => path,
    }
}

/// The path of a `Referer` on the same origin.
fn referring_path(headers: &HeaderMap, own: &Origin) -> Option<String> {
    let mut values = headers.get_all(header::REFERER).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let rest = value.to_str().ok()?.strip_prefix(&own.to_string())?;
    rest.starts_with('/').then(|| rest.to_owned())
}

/// 403, in words that help the one who reads it.
pub(super) fn deny(
    live: &Live,
    refusal: &Refusal,
    asked: &Asked<'_>,
    request: &Sanitized,
) -> Failure {
    let failure = Failure::new(StatusCode::FORBIDDEN).detail(refusal.reason.clone());
    let Some(identity) = asked.caller.identity() else {
        return failure.explanation(Text::of("error-network"));
    };
    let who = &identity.user().email;
    let another = another_account_address(&live.config, &next(live, asked, request));
    let failure = failure
        .explanation(Text::of("signed-in-as").with("who", &**who))
        .explanation(lacking(&refusal.missing));
    // Whoever lacks nothing else helps themselves.
    let failure = if refusal.missing.is_verification_alone() && live.config.mail.is_some() {
        let page = portal_address(&live.config, "request-verify-token");
        failure.link(Text::of("request-verify-again"), page)
    } else {
        failure.explanation(Text::of("error-ask"))
    };
    let mut failure = failure
        .link(Text::of("another-account"), another)
        .link(Text::of("account-heading"), portal_address(&live.config, "account"));
    if identity.user().is_superuser {
        failure.command = command(&refusal.missing, identity);
    }
    failure
}

/// The sentence that says what is missing.
fn lacking(missing: &Missing) -> Text {
    if !missing.roles.is_empty() {
        Text::of("error-roles").with("roles", missing.roles.join(", "))
    } else if !missing.permissions.is_empty() {
        Text::of("error-permissions").with("permissions", missing.permissions.join(", "))
    } else if missing.verification {
        Text::of("error-verification")
    } else {
        Text::of("error-closed")
    }
}

/// The command that would grant what is missing.
fn command(missing: &Missing, identity: &Identity) -> Option<String> {
    let who = &identity.user().email;
    if let Some(role) = missing.roles.first() {
        return Some(format!("portcullis user grant {who} {}", quoted(role)));
    }
    if !missing.permissions.is_empty() {
        let permissions: Vec<String> =
            missing.permissions.iter().map(|name| format!("--permission {name}")).collect();
        return Some(format!("portcullis role create NAME {}", permissions.join(" ")));
    }
    missing.verification.then(|| format!("portcullis user verify {who}"))
}

/// A role's name as a shell takes it: names hold letters, digits, space, `.`, `_` and `-` only.
fn quoted(role: &str) -> String {
    if role.contains(' ') { format!("\"{role}\"") } else { role.to_owned() }
}

/// Counts what no route had a say in.
pub(super) fn count(worker: &Worker, record: &Record, status: StatusCode) {
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => Refused::Limited,
        StatusCode::BAD_REQUEST if record.route.is_none() && !record.is_portal => Refused::Invalid,
        _ => return,
    };
    record.metrics().refused(worker.index, kind);
}

/// The answer that a failure is, with what goes along with it.
pub(super) fn answer(failure: Failure, record: &Record) -> Response<Content> {
    let is_malformed = failure.status == StatusCode::BAD_REQUEST;
    let response = match &record.reader {
        Some(reader) => page(failure, reader, record),
        None => failure.as_json(record.request_id()),
    };
    let mut response = response.map(Content::Own);
    let headers = response.headers_mut();
    if is_malformed {
        // Where one request was not understood, what follows on the connection is not trusted to be
        // another (RFC 9112 section 11.2).
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(origin) = &record.listed_origin {
        // A front end on a listed origin may read why it was refused.
        cors::let_read(headers, origin.clone());
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// A failure as a page: its links lead to the portal, on whatever host that is, and from there back here.
fn page(failure: Failure, reader: &Reader, record: &Record) -> Response<Full<Bytes>> {
    let config = &record.live.config;
    let portal = portal_root(config);
    let address = match (&config.sessions.cookie.domain, &reader.origin) {
        (Some(_), Some(origin)) => format!("{origin}{}", reader.address),
        (Some(_), None) | (None, _) => reader.address.clone(),
    };
    failure.as_page(&Frame {
        pages: &config.portal.pages,
        language: reader.language,
        portal: &portal,
        address: &address,
        request_id: record.request_id(),
    })
}

/// What the upstream's failure looks like from outside, and who is told.
pub(super) fn upstream(
    worker: &Worker,
    record: &Record,
    upstream: &str,
    error: &ForwardError,
) -> Failure {
    let status = error.status();
    if let Some(kind) = error.failure() {
        record.metrics().failed(worker.index, kind);
        tracing::warn!(
            upstream.name = upstream,
            request.id = record.request_id(),
            error = %Causes(error),
            "an upstream failed"
        );
    }
    let failure = match status {
        StatusCode::BAD_REQUEST => Failure::new(status).explanation(Text::of("error-broken-off")),
        _ => Failure::new(status),
    };
    if error.failure().is_some() {
        return failure;
    }
    // What is left of the body must not be read as a request.
    failure.header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// `Set-Cookie` values that clear two cookies of our name, which were both ignored.
pub(super) fn stray_cookies(credentials: &Credentials, sessions: &Sessions) -> Vec<HeaderValue> {
    if credentials.cookie == CookieCredential::Several {
        sessions.clearing_cookies()
    } else {
        Vec::new()
    }
}

/// The same, on a failure.
pub(super) fn clear_stray(
    failure: Failure,
    credentials: &Credentials,
    sessions: &Sessions,
) -> Failure {
    const SET_COOKIE: HeaderName = header::SET_COOKIE;
    stray_cookies(credentials, sessions)
        .into_iter()
        .fold(failure, |failure, value| failure.header(SET_COOKIE, value))
}
