//! One exchange with an upstream: a request goes out on a connection, once more on another where the
//! first died without harm, and the head of its answer is waited for.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio_util::task::AbortOnDropHandle;

use super::answer::{AnswerHead, Asked, HeadError, HeadReader};
use super::connection::Connection;
use super::deadline::{Deadlines, Ticker, Wait};
use super::outgoing::Outgoing;
use super::pool::{ConnectError, Pool};
use super::upload::{Failure, UploadState};
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

/// A request's way to its upstream.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Where to.
    pub upstream: &'a Arc<Upstream>,
    /// The route's own `timeout`.
    pub timeout: Option<Duration>,
    /// Who asks.
    pub client: &'a Client,
    /// The client's connection.
    pub connection: &'a Arc<ClientState>,
}

/// What the gateway says of a request.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The request's id.
    pub request_id: &'a [u8],
    /// Identity headers, where the permit says that they go along.
    pub identity: Option<&'a HeaderSet>,
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
    /// The connection broke before the head of the answer: 502.
    #[error("the upstream closed the connection")]
    Closed(#[source] io::Error),
    /// The answer cannot be passed on: 502.
    #[error("the upstream did not answer properly")]
    Head(#[from] HeadError),
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
            Self::Connect(ConnectError::Failed(_)) | Self::Closed(_) | Self::Head(_) => {
                StatusCode::BAD_GATEWAY
            }
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
            Self::Closed(_) | Self::Head(_) => Some(UpstreamFailure::Protocol),
            Self::ClientStalled | Self::ClientBroke => None,
        }
    }
}

/// How an attempt ended without an answer.
enum Broken {
    /// The connection did.
    Io { cause: io::Error, was_answering: bool },
    /// Something else went wrong, and trying again does not help.
    Final(ForwardError),
}

impl From<ForwardError> for Broken {
    fn from(error: ForwardError) -> Self {
        Self::Final(error)
    }
}

/// One request, its connection, and how far both have come.
pub(super) struct Exchange {
    pub(super) outgoing: Outgoing,
    /// `None` until one is needed and there.
    connection: Option<Connection>,
    asked: Asked,
    head: HeadReader,
    /// The body was given a moment to arrive, and what came of it is with the head.
    has_waited: bool,
    has_gathered: bool,
}

impl Exchange {
    /// An exchange on an idle connection, if there is one that the request may go on.
    pub(super) fn new(reach: &Reach, way: Way<'_>, outgoing: Outgoing, asked: Asked) -> Self {
        let youngest = if outgoing.may_repeat { Duration::MAX } else { YOUNG };
        let connection = reach.pool.idle(way.upstream, youngest);
        let head = HeadReader::new(asked);
        Self { outgoing, connection, asked, head, has_waited: false, has_gathered: false }
    }

    /// Sends the request and waits for the head of its answer. It goes out once more, on a fresh
    /// connection, where the first died without harm.
    pub(super) async fn answer(
        &mut self,
        reach: &Reach,
        way: Way<'_>,
    ) -> Result<Box<AnswerHead>, ForwardError> {
        if self.connection.is_some() {
            match self.attempt(way).await {
                Ok(head) => return Ok(head),
                Err(broken) => self.outgoing.rewind(broken, true)?,
            }
        }
        // Boxed: it is seldom needed.
        Box::pin(self.answer_on_fresh(reach, way)).await
    }

    /// The connection on which the answer came.
    pub(super) fn into_connection(self) -> Result<Connection, ForwardError> {
        let gone = || ForwardError::Closed(io::ErrorKind::NotConnected.into());
        self.connection.ok_or_else(gone)
    }

    /// The same on a fresh connection, once more on another where the first died without harm.
    async fn answer_on_fresh(
        &mut self,
        reach: &Reach,
        way: Way<'_>,
    ) -> Result<Box<AnswerHead>, ForwardError> {
        loop {
            self.connection = Some(connect(reach, way).await?);
            self.head = HeadReader::new(self.asked);
            match self.attempt(way).await {
                Ok(head) => return Ok(head),
                Err(broken) => self.outgoing.rewind(broken, false)?,
            }
        }
    }

    /// Sends the request and waits for the head of its answer, within the deadlines.
    async fn attempt(&mut self, way: Way<'_>) -> Result<Box<AnswerHead>, Broken> {
        let deadlines = &way.connection.deadlines;
        std::future::poll_fn(|cx| {
            let polled = self.poll(deadlines, cx);
            if polled.is_pending() {
                deadlines.register(cx.waker());
                if deadlines.is_due(Wait::Upstream) || deadlines.is_due(Wait::Route) {
                    return Poll::Ready(Err(ForwardError::TimedOut.into()));
                }
            }
            polled
        })
        .await
    }

    fn poll(
        &mut self,
        deadlines: &Deadlines,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<AnswerHead>, Broken>> {
        ready!(self.poll_gather(cx));
        self.outgoing.check_upload()?;
        let is_sent = ready!(self.poll_send(cx));
        is_sent.map_err(|cause| self.broken(cause))?;
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(self.broken(io::ErrorKind::NotConnected.into())));
        };
        if let Some(body) = self.outgoing.body.take() {
            // The body has deadlines of its own; the answer's runs from its end on.
            deadlines.clear(Wait::Upstream);
            connection.hand_over(|writer| AbortOnDropHandle::new(tokio::spawn(body.send(writer))));
        }
        loop {
            let cause = match ready!(connection.poll_arrive(cx)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(cause) => cause,
                Ok(1..) => {
                    let head =
                        self.head.take(&mut connection.arrived).map_err(ForwardError::from)?;
                    match head {
                        Some(head) => return Poll::Ready(Ok(head)),
                        None => continue,
                    }
                }
            };
            return Poll::Ready(Err(self.broken(cause)));
        }
    }

    /// Puts what of the body has arrived with the head behind it, once.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Outgoing { bytes, body, .. } = &mut self.outgoing;
        let Some(rest) = body.as_mut().filter(|_| !self.has_gathered) else {
            return Poll::Ready(());
        };
        let length = bytes.len();
        if rest.gather(cx, bytes) {
            *body = None;
        } else if bytes.len() == length && !std::mem::replace(&mut self.has_waited, true) {
            // It is read only now that it is asked for, and may be there already.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_gathered = true;
        Poll::Ready(())
    }

    /// Writes the head and what was put behind it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Outgoing { bytes, sent, .. } = &mut self.outgoing;
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        while let Some(rest @ [_, ..]) = bytes.get(*sent..) {
            match ready!(connection.poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *sent += count,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn broken(&self, cause: io::Error) -> Broken {
        Broken::Io { cause, was_answering: self.head.has_begun() }
    }
}

impl Outgoing {
    /// Whose fault it was that the body went wrong, if it did.
    fn check_upload(&self) -> Result<(), ForwardError> {
        match self.upload.as_deref().and_then(UploadState::failure) {
            None => Ok(()),
            Some(Failure::Stalled) => Err(ForwardError::ClientStalled),
            Some(Failure::Broken) => Err(ForwardError::ClientBroke),
            Some(Failure::Refused) => Err(ForwardError::TimedOut),
        }
    }

    /// Makes the request ready to be sent once more, if that does no harm.
    fn rewind(&mut self, broken: Broken, was_reused: bool) -> Result<(), ForwardError> {
        let (cause, was_answering) = match broken {
            Broken::Final(error) => return Err(error),
            Broken::Io { cause, was_answering } => (cause, was_answering),
        };
        self.check_upload()?;
        if cause.kind() == io::ErrorKind::TimedOut {
            return Err(ForwardError::TimedOut);
        }
        // Where nothing of it was sent, nothing can have happened upstream. A fresh connection that died as
        // soon as it was there is no old one that was closing, so for it the rule of all others holds.
        let was_unsent = self.sent == 0 && was_reused;
        let is_harmless = self.may_repeat && is_dead(&cause) && !was_answering;
        if !was_unsent && !is_harmless {
            return Err(ForwardError::Closed(cause));
        }
        self.sent = 0;
        self.may_repeat = false;
        Ok(())
    }
}

/// Whether a connection ended rather than failed.
fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// A fresh connection, within the route's `timeout`.
async fn connect(reach: &Reach, way: Way<'_>) -> Result<Connection, ForwardError> {
    let mut connecting = pin!(reach.pool.connect(way.upstream));
    let deadlines = &way.connection.deadlines;
    let connection = std::future::poll_fn(|cx| {
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
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_out_once_more_only_where_that_does_no_harm() {
        use io::ErrorKind::{ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
        // Written before, repeatable, error, part of the answer came, on a used connection: again?
        for (sent, may_repeat, kind, was_answering, was_reused, expected) in [
            (0, false, ConnectionReset, false, true, true),
            (0, false, ConnectionReset, false, false, false),
            (0, true, ConnectionReset, false, false, true),
            (1, false, ConnectionReset, false, true, false),
            (1, true, ConnectionReset, false, true, true),
            (1, true, UnexpectedEof, false, false, true),
            (1, true, UnexpectedEof, true, true, false),
            (1, true, InvalidData, false, true, false),
            (0, true, TimedOut, false, true, false),
        ] {
            let (body, upload) = (None, None);
            let mut outgoing = Outgoing { bytes: b"GET".to_vec(), sent, body, upload, may_repeat };
            let broken = || Broken::Io { cause: kind.into(), was_answering };
            let case = format!("{sent} {may_repeat} {kind:?} {was_answering} {was_reused}");
            assert_eq!(outgoing.rewind(broken(), was_reused).is_ok(), expected, "{case}");
            if expected {
                assert_eq!(outgoing.sent, 0, "{case}");
                outgoing.sent = 1;
                assert!(outgoing.rewind(broken(), was_reused).is_err(), "{case}: once");
            }
        }
        let mut outgoing =
            Outgoing { bytes: Vec::new(), sent: 0, body: None, upload: None, may_repeat: true };
        assert!(outgoing.rewind(Broken::Final(ForwardError::TimedOut), true).is_err());
    }
}
