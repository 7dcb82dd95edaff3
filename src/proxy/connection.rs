//! A connection to an upstream: what is written to it, what has arrived on it and was not taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::io::poll_read_buf;
use tokio_util::task::AbortOnDropHandle;

/// Room for what arrives: at first, which most answers fit in, and at most while much does.
const ROOM: usize = 1024;
const MOST_ROOM: usize = 64 * 1024;
/// With less than this left, more room is made.
const LEAST_ROOM: usize = 512;

/// A body on its way. It gives the writing half back once all of it is written.
pub(super) type Sending = AbortOnDropHandle<Option<OwnedWriteHalf>>;

/// Who writes.
#[derive(Debug)]
enum Writer {
    Here(OwnedWriteHalf),
    /// A body is being sent by a task, which ends when the connection is dropped.
    Sending(Sending),
    /// Nobody any more.
    Gone,
}

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Connection {
    reader: OwnedReadHalf,
    writer: Writer,
    /// What has arrived.
    pub(super) arrived: BytesMut,
    room: usize,
}

/// Both halves of a connection that carries another protocol now.
#[derive(Debug)]
pub struct Switched {
    /// From the upstream.
    pub reader: OwnedReadHalf,
    /// To the upstream.
    pub writer: OwnedWriteHalf,
    /// What came right behind the head that agreed to the change.
    pub early: Bytes,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader, writer: Writer::Here(writer), arrived: BytesMut::new(), room: ROOM }
    }

    /// Writes what the kernel takes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.writer {
            Writer::Here(writer) => Pin::new(writer).poll_write(cx, bytes),
            Writer::Sending(_) | Writer::Gone => {
                Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)))
            }
        }
    }

    /// Has a task write from here on.
    pub(super) fn hand_over(&mut self, start: impl FnOnce(OwnedWriteHalf) -> Sending) {
        match std::mem::replace(&mut self.writer, Writer::Gone) {
            Writer::Here(writer) => self.writer = Writer::Sending(start(writer)),
            other @ (Writer::Sending(_) | Writer::Gone) => self.writer = other,
        }
    }

    /// Waits for bytes; zero when the upstream sends no more.
    pub(super) fn poll_arrive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.arrived.capacity() - self.arrived.len() < LEAST_ROOM {
            self.arrived.reserve(self.room);
        }
        let room = self.arrived.capacity() - self.arrived.len();
        let polled = poll_read_buf(Pin::new(&mut self.reader), cx, &mut self.arrived);
        if let Poll::Ready(Ok(count)) = polled
            && count == room
        {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        polled
    }

    /// Whether the upstream has said nothing since its last answer, not even goodbye. Where it has not,
    /// the kernel is not asked.
    pub(super) fn is_quiet(&self) -> bool {
        let is_open = matches!(self.writer, Writer::Here(_)) && self.arrived.is_empty();
        is_open
            && self
                .reader
                .try_read(&mut [0])
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Makes the connection ready for another request. `None` if something is under way on it; a body
    /// that is still being sent goes on, since the upstream may want it although it has answered.
    pub(super) fn into_idle(mut self) -> Option<Self> {
        // What lies behind an answer is no answer to anything.
        let is_clean = self.arrived.is_empty();
        match self.writer {
            Writer::Here(_) => {}
            Writer::Gone => return None,
            Writer::Sending(sending) if sending.is_finished() => {
                self.writer = Writer::Here(sending.now_or_never()?.ok()??);
            }
            Writer::Sending(sending) => {
                let _goes_on = sending.detach();
                return None;
            }
        }
        // An idle connection holds no memory; the next answer gets some that was in use a moment ago, as
        // much as this one needed or, in time, less.
        self.room = (self.room / 2).max(ROOM);
        self.arrived = BytesMut::new();
        is_clean.then_some(self)
    }

    /// Gives both halves up to another protocol. `None` if they are not both here.
    pub(super) fn switch(self) -> Option<Switched> {
        match self.writer {
            Writer::Here(writer) => {
                Some(Switched { reader: self.reader, writer, early: self.arrived.freeze() })
            }
            Writer::Sending(_) | Writer::Gone => None,
        }
    }

    /// The near end's port.
    #[cfg(test)]
    pub(super) fn port(&self) -> u16 {
        self.reader.local_addr().map_or(0, |address| address.port())
    }
}
