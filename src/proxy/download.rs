//! The body of an answer on its way to the client.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::deadline::{Deadlines, Wait};
use super::framing::{Framing, FramingError};
use super::pool::Lease;

/// Leave to go on with an answer that takes longer than a moment.
pub trait Leave: Send + 'static {
    /// Resolves once the leave has ended: the session is over or the rule no longer holds.
    fn ended(self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// An answer that is done within this time is not watched: watching costs a timer and a place in a
/// shared list, which most answers need not pay.
const MOMENT: Duration = Duration::from_millis(250);

/// A body that is still on its way.
#[derive(Debug)]
pub struct Stream {
    framing: Framing,
    /// What came with the head.
    first: Result<Bytes, FramingError>,
    /// The connection, until the body is read whole.
    lease: Option<Lease>,
}

impl Stream {
    pub(super) const fn new(
        framing: Framing,
        first: Result<Bytes, FramingError>,
        lease: Lease,
    ) -> Self {
        Self { framing, first, lease: Some(lease) }
    }

    /// The next piece. `None`: the body has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DownloadError>>> {
        let mut piece = std::mem::replace(&mut self.first, Ok(Bytes::new()));
        loop {
            match piece {
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
                Ok(piece) if !piece.is_empty() => return Poll::Ready(Some(Ok(piece))),
                Ok(_) => {}
            }
            let Some(lease) = self.lease.as_mut().filter(|_| !self.framing.is_done()) else {
                return Poll::Ready(None);
            };
            piece = self.framing.take(&mut lease.connection.arrived);
            if piece.as_ref().is_ok_and(Bytes::is_empty) && !self.framing.is_done() {
                match ready!(lease.connection.poll_arrive(cx)) {
                    Ok(1..) => {}
                    Ok(0) if self.framing.ends_with_connection() => {
                        self.lease = None;
                        return Poll::Ready(None);
                    }
                    Ok(0) => return Poll::Ready(Some(Err(broken_off()))),
                    Err(error) => return Poll::Ready(Some(Err(DownloadError::Broken(error)))),
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        let is_empty = self.first.as_ref().is_ok_and(Bytes::is_empty);
        is_empty && (self.framing.is_done() || self.lease.is_none())
    }

    /// Bytes still to come, where the head said so.
    fn remaining(&self) -> Option<u64> {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        self.framing.remaining().map(|rest| rest + first)
    }
}

fn broken_off() -> DownloadError {
    DownloadError::Broken(io::Error::from(io::ErrorKind::UnexpectedEof))
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.framing.is_done()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

/// The state of a leave.
enum Watch<L> {
    None,
    Unwatched(L),
    Watched(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// An answer's body. Trailers are dropped.
pub struct Download<L> {
    body: Stream,
    deadlines: Arc<Deadlines>,
    idle_timeout: Duration,
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
    Broken(#[source] io::Error),
    /// The upstream's chunks are none.
    #[error("the upstream's answer cannot be read")]
    Framing(#[from] FramingError),
    /// The caller may no longer see it.
    #[error("the caller's leave has ended")]
    Revoked,
}

impl<L: Leave> Download<L> {
    /// Wraps an upstream's answer.
    #[must_use]
    pub fn new(
        body: Stream,
        deadlines: Arc<Deadlines>,
        idle_timeout: Duration,
        watched: Option<L>,
    ) -> Self {
        let supervision = watched.map_or(Watch::None, Watch::Unwatched);
        Self { body, deadlines, idle_timeout, supervision, failure: None }
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
        // A long answer is looked at before every piece of it, whether or not it has to be waited for.
        let is_long = match self.supervision {
            Watch::None => false,
            Watch::Unwatched(_) => {
                self.deadlines.set_unless_running(Wait::Leave, MOMENT);
                self.deadlines.is_due(Wait::Leave)
            }
            Watch::Watched(_) => true,
        };
        if is_long && self.has_leave_ended(cx) {
            return Poll::Ready(Some(Err(DownloadError::Revoked)));
        }
        match self.body.poll(cx) {
            Poll::Ready(next) => {
                self.deadlines.clear(Wait::Upstream);
                Poll::Ready(next.map(|piece| piece.map(Frame::data)))
            }
            Poll::Pending if self.deadlines.is_due(Wait::Upstream) => {
                Poll::Ready(Some(Err(DownloadError::Stalled)))
            }
            Poll::Pending => {
                if self.has_leave_ended(cx) {
                    return Poll::Ready(Some(Err(DownloadError::Revoked)));
                }
                self.deadlines.set_unless_running(Wait::Upstream, self.idle_timeout);
                self.deadlines.register(cx.waker());
                Poll::Pending
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
        self.failure.is_none() && self.body.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::Clock;
    use crate::proxy::deadline::Ticker;

    struct Ended;

    impl Leave for Ended {
        fn ended(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async {})
        }
    }

    #[test]
    fn a_leave_that_ends_is_noticed_although_the_answer_never_pauses() {
        let clock = Clock::adjustable();
        let ticker = Ticker::new(clock.clone());
        let idle = Duration::from_mins(5);
        let always_ahead = || Ok(Bytes::from_static(b"x"));
        let body = Stream { framing: Framing::UntilClose, first: always_ahead(), lease: None };
        let mut download = Download::new(body, ticker.deadlines(), idle, Some(Ended));
        let mut next = || {
            download.body.first = always_ahead();
            std::future::poll_fn(|cx| Pin::new(&mut download).poll_frame(cx)).now_or_never()
        };
        assert!(matches!(next(), Some(Some(Ok(_)))));
        clock.advance(MOMENT * 2);
        ticker.tick();
        assert!(next().is_none(), "the error is told when asked for again");
        assert!(matches!(next(), Some(Some(Err(DownloadError::Revoked)))));
    }
}
