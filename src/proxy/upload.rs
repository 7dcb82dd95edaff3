//! The body of a request on its way to the upstream.
//!
//! What has arrived with the request's head goes out in one piece with it. The rest is sent by a task,
//! so that both directions go on whatever the client does with the answer.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::AsyncWrite as _;
use tokio::net::tcp::OwnedWriteHalf;

use super::deadline::{Deadlines, Wait};
use super::wire::ClientState;

/// No progress of a client's body.
pub const PROGRESS: Duration = Duration::from_secs(30);
/// Bytes of a body that go out in one piece with the head.
const JOINED: usize = 16 * 1024;

/// Behind each chunk (RFC 9112 section 7.1).
const END: &[u8] = b"\r\n";

/// Why a body was not sent whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The client sent nothing for [`PROGRESS`].
    Stalled,
    /// The client's body broke off or was malformed.
    Broken,
    /// The upstream did not take it in time.
    Refused,
}

/// What the exchange and the body it sends know of each other.
#[derive(Debug, Default)]
pub(super) struct UploadState {
    failure: OnceLock<Failure>,
    answered: AtomicBool,
}

impl UploadState {
    /// Why the body will not be sent whole, if that is known.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.get().copied()
    }

    fn fail(&self, failure: Failure) {
        self.failure.get_or_init(|| failure);
    }

    /// The head of the answer has arrived, or is no longer waited for.
    pub(super) fn note_answer(&self) {
        self.answered.store(true, Ordering::Release);
    }
}

/// A body that is being sent.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    /// The length the head says; without one, chunks are sent.
    length: Option<u64>,
    /// Its own: the task that sends it is woken by them.
    progress: Arc<Deadlines>,
    /// The client's connection: on its deadlines the answer is awaited from the body's end on.
    client: Arc<ClientState>,
    response_timeout: Duration,
    pub(super) state: Arc<UploadState>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.client.end_upload();
    }
}

/// The next of a body.
enum Next {
    Data(Bytes),
    End,
}

impl Upload {
    pub(super) fn new(
        body: Incoming,
        progress: Arc<Deadlines>,
        client: &Arc<ClientState>,
        response_timeout: Duration,
    ) -> Self {
        client.begin_upload();
        let (length, client) = (body.size_hint().exact(), Arc::clone(client));
        Self { body, length, progress, client, response_timeout, state: Arc::default() }
    }

    /// Whether the head says no length.
    const fn is_chunked(&self) -> bool {
        self.length.is_none()
    }

    /// Puts what has arrived behind the head. Whether that was all of it.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        let most = out.len() + JOINED;
        while out.len() < most && self.state.failure().is_none() {
            match self.poll_next(cx) {
                Poll::Ready(Some(Next::Data(data))) => {
                    self.begin_piece(data.len(), out);
                    out.extend_from_slice(&data);
                    if self.is_chunked() {
                        out.extend_from_slice(END);
                    }
                }
                Poll::Ready(Some(Next::End)) => {
                    self.end_body(out);
                    return true;
                }
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        false
    }

    /// The time to the head of the answer runs from here, unless that has come.
    fn await_answer(&self) {
        if !self.state.answered.load(Ordering::Acquire) {
            self.client.deadlines.set(Wait::Upstream, self.response_timeout);
        }
    }

    /// Sends the rest. Gives the writing half back if it was sent whole.
    pub(super) async fn send(mut self, mut writer: OwnedWriteHalf) -> Option<OwnedWriteHalf> {
        let is_sent = loop {
            let mut head = Vec::new();
            let data = match poll_fn(|cx| self.poll_next(cx)).await {
                Some(Next::Data(data)) => data,
                Some(Next::End) => {
                    self.end_body(&mut head);
                    break self.write(&mut writer, head, Bytes::new()).await;
                }
                None => break false,
            };
            self.begin_piece(data.len(), &mut head);
            if !self.write(&mut writer, head, data).await {
                break false;
            }
        };
        // Where the upstream did not take it, what it says to that may be on its way.
        self.await_answer();
        if !is_sent {
            self.client.deadlines.wake();
        }
        is_sent.then_some(writer)
    }

    /// Writes a piece and what frames it. Whether the upstream took all of it.
    async fn write(&self, writer: &mut OwnedWriteHalf, head: Vec<u8>, data: Bytes) -> bool {
        let end = if self.is_chunked() && !data.is_empty() { END } else { b"" };
        let mut rest = Bytes::from(head).chain(data).chain(end);
        while rest.has_remaining() {
            let written = poll_fn(|cx| {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = rest.chunks_vectored(&mut slices);
                let polled = Pin::new(&mut *writer).poll_write_vectored(cx, &slices[..count]);
                self.watch_write(cx, polled)
            });
            let Ok(count @ 1..) = written.await else { return false };
            rest.advance(count);
        }
        true
    }

    /// Keeps the deadline of a write that has to wait.
    fn watch_write(
        &self,
        cx: &Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.progress.clear(Wait::Write);
            return written;
        }
        if self.progress.is_due(Wait::Write) {
            self.state.fail(Failure::Refused);
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        self.progress.set_unless_running(Wait::Write, self.response_timeout);
        self.progress.register(cx.waker());
        Poll::Pending
    }

    /// The next piece of the client's. `None`: it broke off or stalled.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        loop {
            if self.body.is_end_stream() {
                return Poll::Ready(Some(Next::End));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.progress.clear(Wait::Read);
                    // Trailers are dropped.
                    match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Poll::Ready(Some(Next::Data(data))),
                        Ok(_) | Err(_) => {}
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a client's body broke off");
                    self.state.fail(Failure::Broken);
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return Poll::Ready(Some(Next::End)),
                Poll::Pending if self.progress.is_due(Wait::Read) => {
                    self.state.fail(Failure::Stalled);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    self.progress.set_unless_running(Wait::Read, PROGRESS);
                    self.progress.register(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }

    fn begin_piece(&self, length: usize, out: &mut Vec<u8>) {
        if self.is_chunked() {
            // Writing to memory does not fail.
            let _written = write!(out, "{length:x}\r\n");
        }
    }

    fn end_body(&self, out: &mut Vec<u8>) {
        if self.is_chunked() {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}
