//! Sending a permitted request upstream and taking the head of its answer.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::deadline::{Deadlines, Ticker, Wait};
use super::pool::{ConnectError, Lease, Pool};
use super::sanitise::Sanitized;
use super::upload::{Upload, UploadState};
use crate::clock::{Clock, Tick};
use crate::config::Upstream;
use crate::policy::Permit;
use crate::session::HeaderSet;
use crate::telemetry::metrics::UpstreamFailure;
use crate::web::client::Client;
use crate::web::headers::check_framing;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The request's id, on its way up and on answers of the gateway's own.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that cannot be repeated goes only on a connection used within this time: an older one is
/// likelier to be closing just then.
const YOUNG: Duration = Duration::from_secs(1);

/// A worker's means of reaching upstreams.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Its connections.
    pub pool: Arc<Pool>,
    /// Its tick.
    pub ticker: Arc<Ticker>,
    /// The clock.
    pub clock: Clock,
}

/// What goes along with a request.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Where to.
    pub upstream: &'a Arc<Upstream>,
    /// The route's own `timeout`.
    pub timeout: Option<Duration>,
    /// Who asks.
    pub client: &'a Client,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// Identity headers, where the permit says that they go along.
    pub identity: Option<&'a HeaderSet>,
    /// The client connection's deadlines.
    pub deadlines: &'a Arc<Deadlines>,
}

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

/// Why there is no answer, and whose fault it was.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The upstream cannot be reached: 502, or 504 when connecting took too long.
    #[error("the upstream cannot be reached")]
    Connect(#[from] ConnectError),
    /// The upstream did not answer in time: 504.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// The upstream closed the connection or answered nonsense: 502.
    #[error("the upstream did not answer properly")]
    Protocol(#[source] hyper::Error),
    /// The upstream changed the protocol without being asked: 502.
    #[error("the upstream changed the protocol without being asked")]
    UnaskedUpgrade,
    /// The end of the upstream's answer can be read in two ways: 502 (RFC 9112 section 6.3).
    #[error("the end of the upstream's answer can be read in two ways")]
    Framing,
    /// The client's body made no progress: 408.
    #[error("the client's body made no progress")]
    ClientStalled,
    /// The client's body was malformed or broke off: 400.
    #[error("the client's body broke off")]
    ClientBroke,
}

impl ForwardError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Connect(ConnectError::TimedOut) | Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Connect(ConnectError::Failed(_) | ConnectError::Handshake(_))
            | Self::Protocol(_)
            | Self::UnaskedUpgrade
            | Self::Framing => StatusCode::BAD_GATEWAY,
            Self::ClientStalled => StatusCode::REQUEST_TIMEOUT,
            Self::ClientBroke => StatusCode::BAD_REQUEST,
        }
    }

    /// How it counts; `None` when it was the client's fault.
    #[must_use]
    pub const fn failure(&self) -> Option<UpstreamFailure> {
        match self {
            Self::Connect(_) => Some(UpstreamFailure::Connect),
            Self::TimedOut => Some(UpstreamFailure::Timeout),
            Self::Protocol(_) | Self::UnaskedUpgrade | Self::Framing => {
                Some(UpstreamFailure::Protocol)
            }
            Self::ClientStalled | Self::ClientBroke => None,
        }
    }
}

/// Forwards a request. `permit` is spent: one permit, one request.
///
/// # Errors
/// [`ForwardError`].
pub async fn forward(
    reach: &Reach,
    request: Sanitized,
    permit: Permit,
    way: &Way<'_>,
) -> Result<Answer, ForwardError> {
    let sent = reach.clock.tick();
    if let Some(timeout) = way.timeout {
        way.deadlines.set(Wait::Route, timeout);
    }
    let identity = if permit.is_identified() { way.identity } else { None };
    let (head, body, client_upgrade) = assemble(request, way, identity);
    let progress = || reach.ticker.deadlines();
    let (upload, state) = Upload::new(body, progress, way.deadlines, way.upstream.response_timeout);
    let outcome = exchange(reach, way, head, upload, state.as_deref()).await;
    if let Some(state) = &state {
        // The body may go on; from here the answer's own deadlines count.
        state.note_answer();
    }
    way.deadlines.clear(Wait::Route);
    way.deadlines.clear(Wait::Upstream);
    let (mut response, lease) = outcome?;
    let took = Tick::since(reach.clock.tick(), sent);
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

/// A request's head, from which the same request can be made again.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn request(self, upload: Upload) -> Request<Upload> {
        let mut request = Request::new(upload);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        *request.version_mut() = Version::HTTP_11;
        request
    }
}

/// Puts the head together: what is left of the caller's, and what the gateway says.
fn assemble(
    request: Sanitized,
    way: &Way<'_>,
    identity: Option<&HeaderSet>,
) -> (Head, Incoming, Option<OnUpgrade>) {
    let Sanitized { method, target, authority, mut headers, body, upgrade } = request;
    // One value is decided on and forwarded; it parsed as a path and query when it was read.
    let uri = target.raw().parse::<PathAndQuery>().map(Uri::from).unwrap_or_default();
    headers.reserve(6 + identity.map_or(0, HeaderSet::count));
    let host = value(authority.received());
    if !way.upstream.preserve_host {
        set(&mut headers, header::HOST, value(&way.upstream.authority));
    }
    let hop = way.client.address.unwrap_or(way.client.peer);
    set(&mut headers, X_FORWARDED_FOR, address(hop));
    let scheme = HeaderValue::from_static(way.client.scheme.as_str());
    set(&mut headers, X_FORWARDED_PROTO, Some(scheme));
    set(&mut headers, X_FORWARDED_HOST, host);
    set(&mut headers, X_REQUEST_ID, Some(way.request_id.clone()));
    for (name, value) in identity.into_iter().flat_map(HeaderSet::iter) {
        headers.insert(name.clone(), value.clone());
    }
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // Said outright, since a client does not frame a body of unknown length on GET by itself.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if upgrade.is_some() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    (Head { method, uri, headers }, body, upgrade)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        // Set or removed, never left as the caller sent it.
        None => headers.remove(name),
    };
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
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

/// Whether sending a request twice does what sending it once does, and it can be sent twice at all.
fn is_repeatable(method: &Method, upload: &Upload) -> bool {
    matches!(upload, Upload::Empty)
        && matches!(
            *method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        )
}

/// Sends a request and waits for the head of its answer, once more on a fresh connection where the
/// first died without harm.
async fn exchange(
    reach: &Reach,
    way: &Way<'_>,
    head: Head,
    upload: Upload,
    state: Option<&UploadState>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let repeatable = is_repeatable(&head.method, &upload);
    let youngest = if repeatable { Duration::MAX } else { YOUNG };
    let mut again = repeatable.then(|| Head {
        method: head.method.clone(),
        uri: head.uri.clone(),
        headers: head.headers.clone(),
    });
    let mut lease = match reach.pool.idle(way.upstream, youngest) {
        Some(lease) => lease,
        None => Box::pin(connect(reach, way)).await?,
    };
    let mut request = head.request(upload);
    loop {
        let error = match send(&mut lease, request, way.deadlines).await {
            Ok(response) => return Ok((response, lease)),
            Err(Failed::TimedOut) => return Err(ForwardError::TimedOut),
            Err(Failed::Broken(error)) => error,
        };
        if state.is_some_and(UploadState::is_stalled) {
            return Err(ForwardError::ClientStalled);
        }
        if state.is_some_and(UploadState::is_broken) {
            return Err(ForwardError::ClientBroke);
        }
        // Not sent at all: nothing can have happened upstream.
        let unsent = if lease.is_reused { error.unsent } else { None };
        request = match (unsent, again.take()) {
            (Some(unsent), _) => *unsent,
            (None, Some(head)) if is_dead(&error.cause) && !lease.heard.has_answer() => {
                head.request(Upload::Empty)
            }
            (None, _) if io_kind(&error.cause) == Some(io::ErrorKind::TimedOut) => {
                return Err(ForwardError::TimedOut);
            }
            (None, _) => return Err(ForwardError::Protocol(error.cause)),
        };
        lease = Box::pin(connect(reach, way)).await?;
    }
}

/// Whether a connection ended rather than answered: closed, or reset.
fn is_dead(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        || error.is_canceled()
        || matches!(
            io_kind(error),
            Some(
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
            )
        )
}

/// What the connection itself said, if that is what went wrong.
fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// A fresh connection, within the route's `timeout`.
async fn connect(reach: &Reach, way: &Way<'_>) -> Result<Lease, ForwardError> {
    let mut connecting = pin!(reach.pool.connect(way.upstream));
    let lease = std::future::poll_fn(|cx| {
        way.deadlines.register(cx.waker());
        if way.deadlines.is_due(Wait::Route) {
            return Poll::Ready(Err(ForwardError::TimedOut));
        }
        connecting.as_mut().poll(cx).map_err(ForwardError::from)
    })
    .await?;
    // Connecting has a deadline of its own; the answer's runs from the request on.
    if way.deadlines.is_running(Wait::Upstream) {
        way.deadlines.set(Wait::Upstream, way.upstream.response_timeout);
    }
    Ok(lease)
}

enum Failed {
    TimedOut,
    Broken(Broken),
}

struct Broken {
    cause: hyper::Error,
    /// The request, if not a byte of it was sent.
    unsent: Option<Box<Request<Upload>>>,
}

async fn send(
    lease: &mut Lease,
    request: Request<Upload>,
    deadlines: &Deadlines,
) -> Result<Response<Incoming>, Failed> {
    lease.heard.forget();
    let mut answer = pin!(lease.sender.try_send_request(request));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|mut error| {
                let unsent = error.take_message().map(Box::new);
                Failed::Broken(Broken { cause: error.into_error(), unsent })
            }));
        }
        deadlines.register(cx.waker());
        if deadlines.is_due(Wait::Upstream) || deadlines.is_due(Wait::Route) {
            return Poll::Ready(Err(Failed::TimedOut));
        }
        Poll::Pending
    })
    .await
}
