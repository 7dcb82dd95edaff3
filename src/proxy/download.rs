//! The body of an answer on its way to the client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::deadline::{Deadlines, Wait};
use super::pool::Lease;

/// Leave to go on with an answer that takes longer than a moment.
pub trait Leave: Send + 'static {
    /// Resolves once the leave has ended: the session is over or the rule no longer holds.
    fn ended(self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// An answer that is done within this time is not watched: watching costs a timer and a place in a
/// shared list, which most answers need not pay.
const MOMENT: Duration = Duration::from_millis(250);

/// The state of a leave.
enum Watch<L> {
    None,
    Unwatched(L),
    Watched(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// An answer's body. Trailers are dropped.
pub struct Download<L> {
    body: Incoming,
    deadlines: Arc<Deadlines>,
    idle_timeout: Duration,
    lease: Option<Lease>,
    is_complete: bool,
    supervision: Watch<L>,
    /// How it ends, once what came before has been sent.
    failure: Option<DownloadError>,
}

/// Why an answer was cut.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The upstream sent nothing for too long.
    #[error("the upstream's answer made no progress")]
    Stalled,
    /// The upstream broke off.
    #[error("the upstream's answer broke off")]
    Broken(#[source] hyper::Error),
    /// The caller may no longer see it.
    #[error("the caller's leave has ended")]
    Revoked,
}

impl<L: Leave> Download<L> {
    /// Wraps an upstream's answer.
    #[must_use]
    pub fn new(
        body: Incoming,
        deadlines: Arc<Deadlines>,
        idle_timeout: Duration,
        lease: Option<Lease>,
        watched: Option<L>,
    ) -> Self {
        let supervision = watched.map_or(Watch::None, Watch::Unwatched);
        let (is_complete, failure) = (false, None);
        Self { body, deadlines, idle_timeout, lease, is_complete, supervision, failure }
    }

    /// The next piece; the connection it comes on is driven meanwhile.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let body = &mut self.body;
        match &mut self.lease {
            Some(lease) => lease.drive.poll_with(cx, |cx| Pin::new(&mut *body).poll_frame(cx)),
            None => Pin::new(body).poll_frame(cx),
        }
    }

    /// Whether the leave has ended, once the answer takes longer than [`MOMENT`].
    fn has_leave_ended(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.supervision, Watch::Unwatched(_)) {
            if !self.deadlines.is_due(Wait::Leave) {
                self.deadlines.set_unless_running(Wait::Leave, MOMENT);
                return false;
            }
            self.deadlines.clear(Wait::Leave);
            if let Watch::Unwatched(leave) = std::mem::replace(&mut self.supervision, Watch::None) {
                self.supervision = Watch::Watched(leave.ended());
            }
        }
        match &mut self.supervision {
            Watch::None | Watch::Unwatched(_) => false,
            Watch::Watched(ended) => ended.as_mut().poll(cx).is_ready(),
        }
    }
}

impl<L: Leave + Unpin> Download<L> {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let this = self;
        loop {
            // A long answer is looked at before every piece of it.
            let is_long = match this.supervision {
                Watch::None => false,
                Watch::Unwatched(_) => this.deadlines.is_due(Wait::Leave),
                Watch::Watched(_) => true,
            };
            if is_long && this.has_leave_ended(cx) {
                return Poll::Ready(Some(Err(DownloadError::Revoked)));
            }
            match this.poll_body(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.deadlines.clear(Wait::Upstream);
                    if frame.is_data() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(DownloadError::Broken(error))));
                }
                Poll::Ready(None) => {
                    this.is_complete = true;
                    return Poll::Ready(None);
                }
                Poll::Pending if this.deadlines.is_due(Wait::Upstream) => {
                    return Poll::Ready(Some(Err(DownloadError::Stalled)));
                }
                Poll::Pending => {
                    if this.has_leave_ended(cx) {
                        return Poll::Ready(Some(Err(DownloadError::Revoked)));
                    }
                    this.deadlines.set_unless_running(Wait::Upstream, this.idle_timeout);
                    this.deadlines.register(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<L: Leave + Unpin> Body for Download<L> {
    type Data = Bytes;
    type Error = DownloadError;

    /// An error ends the connection at once, with whatever was still to be written to it. So one is told
    /// only when it is asked for a second time: the head and the bytes before it have gone on by then,
    /// and the caller sees an answer that broke off rather than none.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = self.poll_next(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            self.failure = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<L> Drop for Download<L> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && (self.is_complete || self.body.is_end_stream())
        {
            lease.give_back();
        }
    }
}
