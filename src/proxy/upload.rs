//! The body of a request on its way to the upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::deadline::{Deadlines, Wait};

/// No progress of a client's body.
pub const PROGRESS: Duration = Duration::from_secs(30);

/// What the forwarding side learns of an upload.
#[derive(Debug, Default)]
pub struct UploadState {
    stalled: AtomicBool,
    broken: AtomicBool,
    answered: AtomicBool,
}

impl UploadState {
    /// The client sent nothing for [`PROGRESS`].
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// The head of the answer has arrived, or is no longer waited for.
    pub fn note_answer(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// The client's body broke off or was malformed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

/// A request's body. Trailers are dropped.
#[derive(Debug)]
pub enum Upload {
    /// There is none.
    Empty,
    /// What the client sends.
    Stream(Box<Stream>),
}

/// A body that is being sent.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    /// Its own: it is driven by the upstream connection's task.
    progress: Arc<Deadlines>,
    /// The client connection's: the answer is awaited from the body's end on.
    answer: Arc<Deadlines>,
    response_timeout: Duration,
    state: Arc<UploadState>,
}

/// Why a body could not be sent whole.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client sent nothing for too long.
    #[error("the client's body made no progress")]
    Stalled,
    /// The client's body broke off or was malformed.
    #[error("the client's body broke off")]
    Broken(#[source] hyper::Error),
}

impl Upload {
    /// Wraps a client's body. `answer` gets its deadline of `response_timeout` once the body is sent.
    #[must_use]
    pub fn new(
        body: Incoming,
        progress: impl FnOnce() -> Arc<Deadlines>,
        answer: &Arc<Deadlines>,
        response_timeout: Duration,
    ) -> (Self, Option<Arc<UploadState>>) {
        if body.is_end_stream() {
            answer.set(Wait::Upstream, response_timeout);
            return (Self::Empty, None);
        }
        let state = Arc::<UploadState>::default();
        let stream = Stream {
            body,
            progress: progress(),
            answer: Arc::clone(answer),
            response_timeout,
            state: Arc::clone(&state),
        };
        (Self::Stream(Box::new(stream)), Some(state))
    }
}

impl Stream {
    /// The whole body was sent: the time to the head of the answer runs, unless that has come.
    fn await_answer(&self) {
        if !self.state.answered.load(Ordering::Acquire) {
            self.answer.set(Wait::Upstream, self.response_timeout);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.progress.clear(Wait::Read);
                    if self.body.is_end_stream() {
                        self.await_answer();
                    }
                    if frame.is_data() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.state.broken.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err(UploadError::Broken(error))));
                }
                Poll::Ready(None) => {
                    self.await_answer();
                    return Poll::Ready(None);
                }
                Poll::Pending if self.progress.is_due(Wait::Read) => {
                    self.state.stalled.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err(UploadError::Stalled)));
                }
                Poll::Pending => {
                    self.progress.set_unless_running(Wait::Read, PROGRESS);
                    self.progress.register(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(stream) => stream.body.size_hint(),
        }
    }
}
