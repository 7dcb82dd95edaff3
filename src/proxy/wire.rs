//! A client's TCP connection with its deadlines.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::deadline::{Deadlines, Wait};

/// No byte from a new connection.
pub const FIRST_BYTE: Duration = Duration::from_secs(10);
/// No whole head after its first byte.
pub const HEAD: Duration = Duration::from_secs(10);
/// No progress of writing to the client.
pub const CLIENT_WRITE: Duration = Duration::from_mins(1);
/// No next request on a connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Bytes read at a time where they are looked at.
const PEEK: usize = 8 * 1024;
/// Bytes up to which pieces are put together before they are written: for the kernel one buffer is less
/// work than several, and copying this much is none.
const JOINED: usize = 2 * 1024;

// Where a client's connection stands.
const IDLE: u8 = 0;
const HEAD_BEGUN: u8 = 1;
/// Answering a request without a body: what is read now belongs to the next head.
const BUSY: u8 = 2;
/// Answering a request with a body, which is read meanwhile.
const UPLOAD: u8 = 3;
const TUNNEL: u8 = 4;
/// Answered, while the request's body goes on to the upstream.
const LATE_UPLOAD: u8 = 5;

// How far a head's first line has come.
const AWAITED: u8 = 0;
const BEGUN: u8 = 1;
const READ: u8 = 2;

/// A client's connection, as its requests and its wire see it.
#[derive(Debug)]
pub struct ClientState {
    /// Its deadlines.
    pub deadlines: Arc<Deadlines>,
    /// The peer's address, an IPv4-mapped one made IPv4.
    pub peer: IpAddr,
    /// The same, as a header says it.
    pub(super) peer_text: String,
    phase: AtomicU8,
    /// How far the first line of the head that is being read has come.
    line: AtomicU8,
    /// That line held a `#`, which no target may and which the parser drops in silence.
    has_fragment: AtomicBool,
    /// More bytes came than the head: a body, or the beginning of the next head.
    has_more: AtomicBool,
    /// Bodies on their way to an upstream: an upload may outlive its answer.
    uploads: AtomicUsize,
}

impl ClientState {
    /// A new connection: its first byte is awaited.
    #[must_use]
    pub fn new(deadlines: Arc<Deadlines>, peer: IpAddr) -> Arc<Self> {
        deadlines.set(Wait::Read, FIRST_BYTE);
        let peer = peer.to_canonical();
        Arc::new(Self {
            deadlines,
            peer,
            peer_text: peer.to_string(),
            phase: AtomicU8::new(IDLE),
            line: AtomicU8::new(AWAITED),
            has_fragment: AtomicBool::new(false),
            has_more: AtomicBool::new(false),
            uploads: AtomicUsize::new(0),
        })
    }

    /// A request's head was read. `has_body`: its body follows.
    pub fn begin_request(&self, has_body: bool) {
        self.phase.store(if has_body { UPLOAD } else { BUSY }, Ordering::Relaxed);
        self.deadlines.clear(Wait::Read);
        if has_body {
            self.has_more.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the line of the request just read held a fragment. Of a head that came in one piece with
    /// a former request this is not known; its fragment is dropped before anything is decided.
    #[must_use]
    pub fn had_fragment(&self) -> bool {
        self.has_fragment.swap(false, Ordering::Relaxed)
    }

    /// A request's answer was written, or given up.
    pub fn end_request(&self) {
        self.deadlines.clear(Wait::Upstream);
        self.deadlines.clear(Wait::Route);
        self.deadlines.clear(Wait::Leave);
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == UPLOAD && self.uploads.load(Ordering::Relaxed) > 0 {
            // What is read now is still the body; it has deadlines of its own.
            self.phase.store(LATE_UPLOAD, Ordering::Relaxed);
        } else if matches!(phase, BUSY | UPLOAD) {
            // The beginning of a next head may lie in the parser already. What comes then may be in the
            // midst of its fields, where a `#` is nothing.
            let has_begun = self.has_more.load(Ordering::Relaxed);
            self.line.store(if has_begun { READ } else { AWAITED }, Ordering::Relaxed);
            let (phase, limit) = if has_begun { (HEAD_BEGUN, HEAD) } else { (IDLE, KEEP_ALIVE) };
            self.phase.store(phase, Ordering::Relaxed);
            self.deadlines.set(Wait::Read, limit);
        }
    }

    /// A request's body is on its way to an upstream.
    pub(super) fn begin_upload(&self) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
    }

    /// The body has come to its end, or nobody wants the rest of it.
    pub(super) fn end_upload(&self) {
        self.uploads.fetch_sub(1, Ordering::Relaxed);
        if self.phase.load(Ordering::Relaxed) == LATE_UPLOAD {
            self.line.store(AWAITED, Ordering::Relaxed);
            self.phase.store(IDLE, Ordering::Relaxed);
            self.deadlines.set(Wait::Read, KEEP_ALIVE);
        }
    }

    /// The connection carries another protocol from now on; its own deadlines hold.
    pub fn become_tunnel(&self) {
        self.phase.store(TUNNEL, Ordering::Relaxed);
        self.deadlines.clear(Wait::Read);
    }

    /// Whether what is read now belongs to a head.
    fn reads_head(&self) -> bool {
        self.phase.load(Ordering::Relaxed) < UPLOAD
    }

    /// Looks at bytes of a head's first line, and perhaps of what follows it.
    fn see_line(&self, bytes: &[u8]) {
        let mut line = bytes;
        if self.line.load(Ordering::Relaxed) == AWAITED {
            // Empty lines may stand before a request line (RFC 9112 section 2.2).
            let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let Some(start) = start else { return };
            line = &bytes[start..];
        }
        let end = line.iter().position(|byte| *byte == b'\n');
        if line[..end.unwrap_or(line.len())].contains(&b'#') {
            self.has_fragment.store(true, Ordering::Relaxed);
        }
        self.line.store(if end.is_some() { READ } else { BEGUN }, Ordering::Relaxed);
    }

    /// Looks at bytes of a head.
    fn see(&self, bytes: &[u8]) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == IDLE {
            self.phase.store(HEAD_BEGUN, Ordering::Relaxed);
            self.deadlines.set(Wait::Read, HEAD);
        }
        // While a request is answered the parser looks for the connection's end, and may find a head.
        if phase != BUSY && self.line.load(Ordering::Relaxed) != READ {
            self.see_line(bytes);
        }
        let is_whole = bytes.ends_with(b"\n\r\n") || bytes.ends_with(b"\n\n");
        self.has_more.store(!is_whole, Ordering::Relaxed);
    }
}

/// A client's connection whose waits have deadlines.
#[derive(Debug)]
pub struct Wire {
    io: TokioIo<TcpStream>,
    state: Arc<ClientState>,
}

impl Wire {
    /// A client's connection.
    #[must_use]
    pub fn new(stream: TcpStream, state: Arc<ClientState>) -> Self {
        Self { io: TokioIo::new(stream), state }
    }

    /// Reads through a small buffer, so that the bytes of a head can be looked at.
    fn poll_peek(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [const { MaybeUninit::uninit() }; PEEK];
        let room = buf.remaining().min(PEEK);
        let mut read = ReadBuf::uninit(&mut space[..room]);
        ready!(Pin::new(self.io.inner_mut()).poll_read(cx, &mut read))?;
        self.state.see(read.filled());
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Keeps the deadline of a write that may have to wait.
    fn watch_write<T>(
        &self,
        cx: &Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let deadlines = &self.state.deadlines;
        match written {
            Poll::Ready(done) => {
                deadlines.clear(Wait::Write);
                Poll::Ready(done)
            }
            Poll::Pending if deadlines.is_due(Wait::Write) => Poll::Ready(Err(timed_out())),
            Poll::Pending => {
                deadlines.set_unless_running(Wait::Write, CLIENT_WRITE);
                deadlines.register(cx.waker());
                Poll::Pending
            }
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::from(io::ErrorKind::TimedOut)
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = if this.state.reads_head() {
            this.poll_peek(cx, &mut buf)
        } else {
            Pin::new(&mut this.io).poll_read(cx, buf)
        };
        if polled.is_pending() {
            if this.state.deadlines.is_due(Wait::Read) {
                return Poll::Ready(Err(timed_out()));
            }
            this.state.deadlines.register(cx.waker());
        }
        polled
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        let written = if let [piece] = bufs {
            Pin::new(&mut self.io).poll_write(cx, piece)
        } else if length <= JOINED {
            let mut space = [const { MaybeUninit::uninit() }; JOINED];
            let mut joined = ReadBuf::uninit(&mut space);
            for piece in bufs {
                joined.put_slice(piece);
            }
            Pin::new(&mut self.io).poll_write(cx, joined.filled())
        } else {
            Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
        };
        self.watch_write(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::proxy::deadline::Ticker;

    fn state() -> Arc<ClientState> {
        ClientState::new(Ticker::new(Clock::adjustable()).deadlines(), [127, 0, 0, 1].into())
    }

    #[test]
    fn a_fragment_is_seen_in_the_request_line_alone() {
        for (pieces, expected) in [
            (&["GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"][..], true),
            (&["GET /a HTTP/1.1\r\nHost: a\r\nX: #\r\n\r\n"], false),
            (&["\r\n", "GET /", "a#b HTT", "P/1.1\r\n\r\n"], true),
            (&["GET / HTTP/1.1\r\n", "X: #\r\n\r\n"], false),
            (&["GET / HTTP/1.1\r", "\nX: #\r\n\r\n"], false),
            (&["GET / HTTP/1.1", "\r", "\n", "X: #\r\n\r\n"], false),
            (&["\r", "\n", "GET /", "#"], true),
        ] {
            let state = state();
            for piece in pieces {
                state.see(piece.as_bytes());
            }
            state.begin_request(false);
            assert_eq!(state.had_fragment(), expected, "{pieces:?}");
            assert!(!state.had_fragment(), "it is said of one request");
        }
    }

    #[test]
    fn a_field_of_a_head_that_came_with_a_former_request_is_no_request_line() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let state = state();
        state.see(format!("{request}GET /b HTTP/1.1\r\n").as_bytes());
        state.begin_request(false);
        state.end_request();
        state.see(b"X: #\r\nHost: a\r\n\r\n");
        state.begin_request(false);
        assert!(!state.had_fragment());
        state.end_request();
        state.see(b"GET /#b HTTP/1.1\r\nHost: a\r\n\r\n");
        state.begin_request(false);
        assert!(state.had_fragment(), "the next read begins a head again");
        state.see(b"GET /c HTTP/1.1\r\n");
        state.end_request();
        state.see(b"X: #\r\nHost: a\r\n\r\n");
        state.begin_request(false);
        assert!(!state.had_fragment(), "it began while the former was answered");
    }

    #[test]
    fn what_comes_of_a_body_behind_its_answer_is_no_head() {
        let state = state();
        state.see(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
        state.begin_request(true);
        state.begin_upload();
        state.end_request();
        assert!(!state.reads_head() && !state.deadlines.is_running(Wait::Read));
        state.end_upload();
        assert!(state.reads_head() && state.deadlines.is_running(Wait::Read));
        state.see(b"GET /#b HTTP/1.1\r\n\r\n");
        state.begin_request(false);
        assert!(state.had_fragment());
        // One that ends before its answer changes nothing.
        state.begin_upload();
        state.end_upload();
        assert!(!state.deadlines.is_running(Wait::Read));
    }

    #[test]
    fn a_next_head_that_has_begun_has_the_time_of_a_head() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (bytes, has_body, expected) in [
            (request.to_owned(), false, IDLE),
            (format!("{request}GET /b HT"), false, HEAD_BEGUN),
            (format!("{request}a body"), true, IDLE),
        ] {
            let state = state();
            state.see(bytes.as_bytes());
            state.begin_request(has_body);
            state.end_request();
            assert_eq!(state.phase.load(Ordering::Relaxed), expected, "{bytes:?}");
        }
    }
}
