//! One exchange with an upstream: a request goes out on a connection, once more on another where the
//! first died without harm, and the head of its answer is waited for.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::deadline::{Ticker, Wait};
use super::pool::{ConnectError, Lease, Pool};
use super::upload::{Upload, UploadState};
use super::wire::ClientState;
use crate::clock::Clock;
use crate::config::Upstream;
use crate::session::HeaderSet;
use crate::telemetry::metrics::UpstreamFailure;
use crate::web::client::Client;

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
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Where to.
    pub upstream: &'a Arc<Upstream>,
    /// The route's own `timeout`.
    pub timeout: Option<Duration>,
    /// Who asks.
    pub client: &'a Client,
    /// The request's id.
    pub request_id: HeaderValue,
    /// Identity headers, where the permit says that they go along.
    pub identity: Option<&'a HeaderSet>,
    /// The client's connection.
    pub connection: &'a Arc<ClientState>,
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

/// Whether sending a request twice does what sending it once does, and it can be sent twice at all.
pub(super) fn is_repeatable(method: &Method, upload: &Upload) -> bool {
    matches!(upload, Upload::Empty)
        && matches!(
            *method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        )
}

/// How a request is sent.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// It may be sent once more where the connection dies.
    pub(super) may_repeat: bool,
    /// The connection goes on in a task of its own.
    pub(super) needs_task: bool,
}

/// A request that has no connection yet.
pub(super) struct Unsent {
    request: Box<Request<Upload>>,
    plan: Plan,
}

/// A request on its way: what is awaited, on which connection.
pub(super) struct Sent<F> {
    lease: Lease,
    answer: F,
    plan: Plan,
}

/// Sends a request if a connection stands ready, and gives it back otherwise.
pub(super) fn send_at_once(
    reach: &Reach,
    way: &Way<'_>,
    request: Request<Upload>,
    plan: Plan,
) -> Result<Sent<impl Future<Output = Outcome> + Send + use<>>, Unsent> {
    let youngest = if plan.may_repeat { Duration::MAX } else { YOUNG };
    let Some(mut lease) = reach.pool.idle(way.upstream, youngest) else {
        return Err(Unsent { request: Box::new(request), plan });
    };
    let answer = send(&mut lease, request, plan);
    Ok(Sent { lease, answer, plan })
}

/// Waits for the head of the answer. A request goes out once more, on a fresh connection, where the
/// first died without harm.
pub(super) async fn conclude(
    reach: &Reach,
    way: &Way<'_>,
    sent: Result<Sent<impl Future<Output = Outcome> + Send>, Unsent>,
    state: Option<&UploadState>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let unsent = match sent {
        Err(unsent) => unsent,
        Ok(Sent { mut lease, answer, plan }) => match wait(&mut lease, answer, way).await? {
            Ok(response) => return Ok((response, lease)),
            Err(broken) => {
                let request = repeat(broken, &lease, plan, state)?;
                Unsent { request, plan: Plan { may_repeat: false, ..plan } }
            }
        },
    };
    // Boxed, as every seldom way is: the future of each request has room for all it does not box.
    Box::pin(send_on_fresh(reach, way, unsent, state)).await
}

/// Sends a request on a fresh connection, once more on another where the first died without harm.
async fn send_on_fresh(
    reach: &Reach,
    way: &Way<'_>,
    unsent: Unsent,
    state: Option<&UploadState>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let Unsent { mut request, mut plan } = unsent;
    loop {
        let mut lease = connect(reach, way).await?;
        let answer = send(&mut lease, *request, plan);
        match wait(&mut lease, answer, way).await? {
            Ok(response) => return Ok((response, lease)),
            Err(broken) => request = repeat(broken, &lease, plan, state)?,
        }
        plan.may_repeat = false;
    }
}

/// The request to send once more, if that does no harm.
fn repeat(
    broken: Broken,
    lease: &Lease,
    plan: Plan,
    state: Option<&UploadState>,
) -> Result<Box<Request<Upload>>, ForwardError> {
    check_upload(state)?;
    let Broken { cause, unsent } = broken;
    // Nothing of it was sent, so nothing can have happened upstream. A fresh connection that died as soon
    // as it was there is no old one that was closing, so for it the rule of all others holds.
    if let Some(unsent) = unsent.filter(|_| lease.is_reused || plan.may_repeat) {
        return Ok(unsent);
    }
    let was_harmless = plan.may_repeat && is_dead(&cause) && !lease.heard.has_answer();
    if was_harmless && let Some(request) = lease.heard.take_head().as_deref().and_then(read_back) {
        return Ok(Box::new(request));
    }
    if io_kind(&cause) == Some(io::ErrorKind::TimedOut) {
        return Err(ForwardError::TimedOut);
    }
    Err(ForwardError::Protocol(cause))
}

/// Whose fault it was that a request went wrong, if it was the client's.
fn check_upload(state: Option<&UploadState>) -> Result<(), ForwardError> {
    if state.is_some_and(UploadState::is_stalled) {
        return Err(ForwardError::ClientStalled);
    }
    if state.is_some_and(UploadState::is_broken) {
        return Err(ForwardError::ClientBroke);
    }
    Ok(())
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
    let deadlines = &way.connection.deadlines;
    let lease = std::future::poll_fn(|cx| {
        deadlines.register(cx.waker());
        if deadlines.is_due(Wait::Route) {
            return Poll::Ready(Err(ForwardError::TimedOut));
        }
        connecting.as_mut().poll(cx).map_err(ForwardError::from)
    })
    .await?;
    // Connecting has a deadline of its own; the answer's runs from the request on.
    if deadlines.is_running(Wait::Upstream) {
        deadlines.set(Wait::Upstream, way.upstream.response_timeout);
    }
    Ok(lease)
}

/// Reads the head of a request without a body back from the bytes in which it was sent. Only a request
/// that has to be sent again needs them; keeping them costs a copy where another map would cost more.
/// Of bytes that are not exactly one head, what is left of a former one before it for instance, nothing
/// is read.
fn read_back(head: &[u8]) -> Option<Request<Upload>> {
    let head = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let line = std::str::from_utf8(lines.next()?).ok()?;
    let (method, rest) = line.split_once(' ')?;
    let (path, _version) = rest.split_once(' ')?;
    let mut request = Request::new(Upload::Empty);
    *request.method_mut() = method.parse().ok()?;
    *request.uri_mut() = path.parse::<PathAndQuery>().ok()?.into();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?;
        request.headers_mut().append(HeaderName::from_bytes(name).ok()?, value);
    }
    Some(request)
}

/// How an exchange ended.
pub(super) type Outcome = Result<Response<Incoming>, Broken>;

pub(super) struct Broken {
    cause: hyper::Error,
    /// The request, if not a byte of it was sent.
    unsent: Option<Box<Request<Upload>>>,
}

fn send(
    lease: &mut Lease,
    request: Request<Upload>,
    plan: Plan,
) -> impl Future<Output = Outcome> + Send + use<> {
    if plan.needs_task {
        lease.drive.detach();
    }
    lease.heard.begin(plan.may_repeat);
    lease.sender.try_send_request(request).map_err(|mut error| {
        let unsent = error.take_message().map(Box::new);
        Broken { cause: error.into_error(), unsent }
    })
}

/// Waits for an answer within its deadlines.
async fn wait(
    lease: &mut Lease,
    answer: impl Future<Output = Outcome>,
    way: &Way<'_>,
) -> Result<Outcome, ForwardError> {
    let deadlines = &way.connection.deadlines;
    let mut answer = pin!(answer);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(outcome) = lease.drive.poll_with(cx, |cx| answer.as_mut().poll(cx)) {
            if outcome.is_ok() {
                lease.heard.note_head();
            }
            return Poll::Ready(Ok(outcome));
        }
        deadlines.register(cx.waker());
        if deadlines.is_due(Wait::Upstream) || deadlines.is_due(Wait::Route) {
            return Poll::Ready(Err(ForwardError::TimedOut));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_head_is_read_back_as_it_was_sent() {
        let head = b"PUT /a%2fb?c=d HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: b: \xff\r\nx-e: \r\n\r\n";
        let request = read_back(head).unwrap();
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), "/a%2fb?c=d");
        let fields: Vec<(&str, &[u8])> =
            request.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let expected: [(&str, &[u8]); 4] =
            [("host", b"a"), ("x-a", b"1"), ("x-a", b"b: \xff"), ("x-e", b"")];
        assert_eq!(fields, expected);
        let behind = |rest: &[u8]| [rest, head].concat();
        for broken in [
            &head[..20],
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            &behind(b"\n"),
            &behind(b"\r\n"),
            &behind(b"\r\n\r\n"),
            &behind(b"DELETE /b HTTP/1.1\r\nx: y\r\n\r\n"),
        ] {
            assert!(read_back(broken).is_none());
        }
    }
}
