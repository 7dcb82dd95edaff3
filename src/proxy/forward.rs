//! Sending a permitted request upstream and taking the head of its answer.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::deadline::Wait;
pub use super::exchange::{ForwardError, Reach, Way};
use super::exchange::{Plan, conclude, is_repeatable, send_at_once};
use super::pool::Lease;
use super::sanitise::Sanitized;
use super::upload::Upload;
use super::wire::ClientState;
use crate::clock::Tick;
use crate::policy::Permit;
use crate::session::HeaderSet;
use crate::web::headers::{
    FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID, check_framing,
};

/// An upstream's answer, its body not yet read.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response<Incoming>,
    /// The connection it comes on, if it may serve another request.
    pub lease: Option<Lease>,
    /// Both ends of a protocol change, when the upstream agreed to one: client, then upstream.
    pub upgrade: Option<(OnUpgrade, OnUpgrade)>,
    /// From the request sent to the head of the answer.
    pub took: Duration,
}

/// Forwards a request. `permit` is spent: one permit, one request.
///
/// What needs no waiting is done before the future is made, so that the future holds little: it is
/// moved about and lies in memory for as long as the upstream takes.
///
/// # Errors
/// [`ForwardError`].
pub fn forward<'a>(
    reach: &'a Reach,
    request: Sanitized,
    permit: Permit,
    way: &'a Way<'a>,
) -> impl Future<Output = Result<Answer, ForwardError>> + Send + 'a {
    let begun = reach.clock.tick();
    let deadlines = &way.connection.deadlines;
    if let Some(timeout) = way.timeout {
        deadlines.set(Wait::Route, timeout);
    }
    let identity = if permit.spend() { way.identity } else { None };
    let (request, client_upgrade) = assemble(request, way, identity);
    let progress = || reach.ticker.deadlines();
    let (head, body) = request.into_parts();
    let (upload, state) = Upload::new(body, progress, deadlines, way.upstream.response_timeout);
    let plan = Plan {
        may_repeat: is_repeatable(&head.method, &upload),
        // A body goes on whatever becomes of the answer, and so does another protocol.
        needs_task: state.is_some() || client_upgrade.is_some(),
    };
    let sent = send_at_once(reach, way, Request::from_parts(head, upload), plan);
    async move {
        let outcome = conclude(reach, way, sent, state.as_deref()).await;
        if let Some(state) = &state {
            // The body may go on; from here the answer's own deadlines count.
            state.note_answer();
        }
        deadlines.clear(Wait::Route);
        deadlines.clear(Wait::Upstream);
        let (response, lease) = outcome?;
        let took = Tick::since(reach.clock.tick(), begun);
        accept(response, lease, client_upgrade, took)
    }
}

/// Takes an upstream's answer, unless it cannot be passed on.
fn accept(
    mut response: Response<Incoming>,
    lease: Lease,
    client_upgrade: Option<OnUpgrade>,
    took: Duration,
) -> Result<Answer, ForwardError> {
    let headers = response.headers();
    let has_both = headers.contains_key(header::TRANSFER_ENCODING)
        && headers.contains_key(header::CONTENT_LENGTH);
    if has_both || check_framing(headers).is_err() {
        return Err(ForwardError::Framing);
    }
    // A connection on which a change of protocol was asked for serves nothing else, whatever the answer:
    // bytes of that protocol may be on their way.
    let lease = Some(lease).filter(|_| client_upgrade.is_none());
    let upgrade = match (response.status() == StatusCode::SWITCHING_PROTOCOLS, client_upgrade) {
        (false, _) => None,
        (true, None) => return Err(ForwardError::UnaskedUpgrade),
        (true, Some(client)) => Some((client, hyper::upgrade::on(&mut response))),
    };
    Ok(Answer { response, lease, upgrade, took })
}

/// Puts the head together: what is left of the caller's, and what the gateway says.
fn assemble(
    request: Sanitized,
    way: &Way<'_>,
    identity: Option<&HeaderSet>,
) -> (Request<Incoming>, Option<OnUpgrade>) {
    let Sanitized { method, resource, path, host, mut headers, body, upgrade } = request;
    // One value is decided on and forwarded, byte for byte; what was received is that value.
    let target = resource.target.raw();
    let path = path.filter(|path| path.as_str() == target).or_else(|| target.parse().ok());
    let uri = path.map(Uri::from).unwrap_or_default();
    headers.reserve(6 + identity.map_or(0, HeaderSet::count));
    if !way.upstream.preserve_host {
        set(&mut headers, &header::HOST, HeaderValue::from_str(&way.upstream.authority).ok());
    }
    set(&mut headers, &FORWARDED_FOR, hop(way));
    let scheme = HeaderValue::from_static(way.client.scheme.as_str());
    set(&mut headers, &FORWARDED_PROTO, Some(scheme));
    set(&mut headers, &FORWARDED_HOST, Some(host));
    set(&mut headers, &REQUEST_ID, Some(way.request_id.clone()));
    for (name, value) in identity.into_iter().flat_map(HeaderSet::iter) {
        set(&mut headers, name, HeaderValue::from_str(value).ok());
    }
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // Said outright, since a client does not frame a body of unknown length on GET by itself.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if upgrade.is_some() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    (request, upgrade)
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        // Set or removed, never left as the caller sent it.
        None => headers.remove(name),
    };
}

/// The client's address as a header says it.
fn hop(way: &Way<'_>) -> Option<HeaderValue> {
    let hop = way.client.address.unwrap_or(way.client.peer);
    let ClientState { peer, peer_text, .. } = &**way.connection;
    if hop == *peer { peer_text.clone() } else { address(hop) }
}

fn address(address: IpAddr) -> Option<HeaderValue> {
    use std::io::Write as _;
    // The longest IPv6 address has 39 characters.
    let mut text = [0; 48];
    let mut rest = &mut text[..];
    write!(rest, "{address}").ok()?;
    let length = 48 - rest.len();
    HeaderValue::from_bytes(text.get(..length)?).ok()
}
