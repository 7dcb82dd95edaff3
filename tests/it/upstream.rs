//! A recording upstream: a dumb TCP server that keeps the exact bytes of every request and answers as
//! the test says, path by path.
//!
//! It parses no more HTTP than it takes to find the end of a request, so what a test reads in
//! [`Seen::head`] is what the gateway wrote. It runs on a runtime of its own: a test that blocks its
//! thread does not stop it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use portcullis::clock::{Clock, Tick};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Where the fakes run.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("fakes").enable_all().build().unwrap()
});

/// By which every upstream says when something arrived.
pub static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::system);

/// Runs a fake's task.
pub fn spawn<F>(task: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.spawn(task)
}

/// Bodies are recorded up to this size; what is longer is counted only.
const RECORDED_BODY: usize = 1024 * 1024;

/// So many bytes of each connection are kept as they came.
const RECORDED_BYTES: usize = 256 * 1024;

/// The bytes one connection received, as they came.
#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn record(&self, bytes: &[u8]) {
        let mut tape = self.0.lock().unwrap();
        let room = RECORDED_BYTES.saturating_sub(tape.len()).min(bytes.len());
        tape.extend_from_slice(&bytes[..room]);
    }
}

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// When its head had arrived, by [`CLOCK`].
    pub arrived: Tick,
    /// The exact bytes up to and with the empty line.
    pub head: Vec<u8>,
    /// The body's first mebibyte, decoded from its framing.
    pub body: Vec<u8>,
    /// The body's whole length as far as it was read.
    pub length: u64,
    /// Whether the body was read to its end.
    pub complete: bool,
}

impl Seen {
    /// The head as text.
    pub fn text(&self) -> String {
        self.head.iter().copied().map(char::from).collect()
    }

    fn request_line(&self, word: usize) -> String {
        let text = self.text();
        let line = text.split("\r\n").next().unwrap_or_default();
        line.split(' ').nth(word).unwrap_or_default().to_owned()
    }

    /// The method.
    pub fn method(&self) -> String {
        self.request_line(0)
    }

    /// The target, byte for byte.
    pub fn target(&self) -> String {
        self.request_line(1)
    }

    /// Every header: name as sent, value.
    pub fn headers(&self) -> Vec<(String, String)> {
        let text = self.text();
        let pair = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        };
        text.split("\r\n").skip(1).filter_map(pair).collect()
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<String> {
        let same = |(n, value): (String, String)| n.eq_ignore_ascii_case(name).then_some(value);
        self.headers().into_iter().filter_map(same).collect()
    }

    /// The one value of a header. Two of them fail the test.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} came more than once: {all:?}");
        all.pop()
    }

    /// The names of all headers, lower case, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.headers().into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    }
}

/// A door a test opens when what should have happened before it has happened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// A gate that stands open.
    pub fn opened() -> Self {
        let gate = Self::new();
        gate.open();
        gate
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn wait(&self) {
        let mut watch = self.0.subscribe();
        watch.wait_for(|open| *open).await.map(drop).unwrap_or_default();
    }
}

type Journal = Arc<watch::Sender<Vec<Seen>>>;

/// A request being answered: its head has been read, its body has not.
#[derive(Debug)]
pub struct Exchange {
    pub seen: Seen,
    stream: TcpStream,
    buffer: Vec<u8>,
    remaining: Remaining,
    journal: Journal,
    tape: Tape,
    place: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Remaining {
    Length(u64),
    Chunks,
    Nothing,
}

impl Exchange {
    /// The next piece of the body; `None` at its end, or when the gateway hung up.
    pub async fn read_some(&mut self) -> Option<Vec<u8>> {
        let piece = match self.remaining {
            Remaining::Nothing => None,
            Remaining::Length(left) => self.read_up_to(left).await,
            Remaining::Chunks => self.read_chunk().await,
        };
        let Some(piece) = piece else {
            self.seen.complete = self.remaining == Remaining::Nothing;
            self.note();
            return None;
        };
        let room = RECORDED_BODY.saturating_sub(self.seen.body.len()).min(piece.len());
        self.seen.body.extend_from_slice(&piece[..room]);
        self.seen.length += piece.len() as u64;
        if room > 0 {
            self.note();
        }
        Some(piece)
    }

    async fn read_up_to(&mut self, left: u64) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let take = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - take as u64;
        self.remaining = if left == 0 { Remaining::Nothing } else { Remaining::Length(left) };
        Some(take_front(&mut self.buffer, take))
    }

    async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.read_line().await?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            while !self.read_line().await?.is_empty() {}
            self.remaining = Remaining::Nothing;
            return None;
        }
        while self.buffer.len() < size + 2 {
            self.fill().await?;
        }
        let piece = take_front(&mut self.buffer, size);
        self.buffer.drain(..2);
        Some(piece)
    }

    async fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        self.buffer.reserve(64 * 1024);
        let before = self.buffer.len();
        let read = self.stream.read_buf(&mut self.buffer).await;
        self.tape.record(&self.buffer[before..]);
        read.is_ok_and(|count| count > 0).then_some(())
    }

    /// Reads the body to its end.
    pub async fn read_body(&mut self) -> u64 {
        while self.read_some().await.is_some() {}
        self.seen.length
    }

    /// Writes bytes as they are; `false` when the gateway has hung up.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Writes a whole plain answer.
    pub async fn reply(&mut self, status: &str, headers: &str, body: impl AsRef<[u8]>) -> bool {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let silent = self.seen.method() == "HEAD";
        self.write(head).await && (silent || self.write(body).await)
    }

    /// Resets the connection: the gateway is sent RST, not FIN.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Waits until the gateway hangs up.
    pub async fn wait_for_close(&mut self) {
        while self.fill().await.is_some() {}
    }

    /// Answers a WebSocket handshake with 101 and speaks WebSocket from there on.
    pub async fn accept_websocket(mut self) -> WebSocketStream<TcpStream> {
        let key = self.seen.header("sec-websocket-key").unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.write(head).await;
        WebSocketStream::from_partially_read(self.stream, self.buffer, Role::Server, None).await
    }

    fn note(&self) {
        let (place, seen) = (self.place, self.seen.clone());
        self.journal.send_modify(|journal| {
            if let Some(entry) = journal.get_mut(place) {
                *entry = seen;
            }
        });
    }
}

/// What a handler leaves: the exchange, to go on with the connection, or nothing, which closes it.
pub type After = Option<Exchange>;
type Handler = Arc<dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = After> + Send>> + Send + Sync>;

/// The upstream. Dropping it closes its port and every connection.
pub struct Upstream {
    pub address: SocketAddr,
    journal: Journal,
    tapes: Arc<Mutex<Vec<Tape>>>,
    handlers: Arc<Mutex<Vec<(String, Handler)>>>,
    connections: Arc<watch::Sender<usize>>,
    life: watch::Sender<()>,
}

impl Upstream {
    /// Starts one on a free port that answers everything with [`echo`].
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self {
            address,
            journal: Arc::new(watch::Sender::new(Vec::new())),
            tapes: Arc::default(),
            handlers: Arc::default(),
            connections: Arc::default(),
            life: watch::Sender::new(()),
        };
        let (journal, handlers) = (upstream.journal.clone(), upstream.handlers.clone());
        let (connections, mut ended) = (upstream.connections.clone(), upstream.life.subscribe());
        let tapes = upstream.tapes.clone();
        spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut count = 0;
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = ended.changed() => return,
                };
                let mut ended = ended.clone();
                let tape = Tape::default();
                tapes.lock().unwrap().push(tape.clone());
                let recording = Recording { connection: count, journal: journal.clone(), tape };
                let serving = serve(stream, recording, handlers.clone());
                let connections = connections.clone();
                count += 1;
                connections.send_modify(|open| *open += 1);
                spawn(async move {
                    tokio::select! { () = serving => {}, _ = ended.changed() => {} }
                    connections.send_modify(|open| *open -= 1);
                });
            }
        });
        upstream
    }

    /// Answers a path (without query) by a handler, which replaces an earlier one.
    pub fn at<F>(
        &self,
        path: &str,
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> &Self
    where
        F: Future<Output = After> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |exchange| Box::pin(handler(exchange)));
        let mut handlers = self.handlers.lock().unwrap();
        handlers.retain(|(known, _)| known != path);
        handlers.push((path.to_owned(), handler));
        self
    }

    /// Answers a path with exactly these bytes, once the request's body has been read.
    pub fn answers(&self, path: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        let bytes = Arc::new(bytes.into());
        self.at(path, move |mut exchange| {
            let bytes = bytes.clone();
            async move {
                exchange.read_body().await;
                exchange.write(bytes.as_slice()).await.then_some(exchange)
            }
        })
    }

    /// `http://` and its address, as the configuration wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal.borrow().clone()
    }

    /// The exact bytes received on each connection so far, the first of them at least.
    pub fn tapes(&self) -> Vec<Vec<u8>> {
        self.tapes.lock().unwrap().iter().map(|tape| tape.0.lock().unwrap().clone()).collect()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.journal.borrow().len()
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.journal.borrow().last().cloned().expect("the upstream has seen no request")
    }

    /// Waits until a request satisfies the condition and returns it.
    pub async fn wait_for(&self, what: impl Fn(&Seen) -> bool) -> Seen {
        let mut watch = self.journal.subscribe();
        let arrival = watch.wait_for(|journal| journal.iter().any(&what));
        let journal = tokio::time::timeout(crate::raw::PATIENCE, arrival).await;
        let journal = journal.expect("the upstream has not seen it").unwrap();
        journal.iter().find(|seen| what(seen)).unwrap().clone()
    }

    /// Waits until so many connections are open.
    pub async fn wait_for_connections(&self, count: usize) {
        let mut watch = self.connections.subscribe();
        let arrival = watch.wait_for(|open| *open == count);
        let waited = tokio::time::timeout(crate::raw::PATIENCE, arrival).await;
        drop(waited.unwrap_or_else(|_| panic!("{} connections", self.connections())).unwrap());
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }
}

/// Where what a connection receives is kept.
struct Recording {
    connection: usize,
    journal: Journal,
    tape: Tape,
}

async fn serve(
    stream: TcpStream,
    recording: Recording,
    handlers: Arc<Mutex<Vec<(String, Handler)>>>,
) {
    let Recording { connection, journal, tape } = recording;
    stream.set_nodelay(true).unwrap_or_default();
    let (mut stream, mut buffer) = (stream, Vec::new());
    while let Some((head, rest)) = read_head(&mut stream, buffer, &tape).await {
        let seen = Seen { connection, head, arrived: CLOCK.tick(), ..Seen::default() };
        let remaining = remaining(&seen);
        let mut place = 0;
        journal.send_modify(|journal| {
            place = journal.len();
            journal.push(seen.clone());
        });
        let target = seen.target();
        let path = target.split('?').next().unwrap_or_default();
        let handler = {
            let handlers = handlers.lock().unwrap();
            let found = handlers.iter().find(|(known, _)| known == path);
            found.map(|(_, handler)| handler.clone())
        };
        let (journal, tape) = (journal.clone(), tape.clone());
        let exchange = Exchange { seen, stream, buffer: rest, remaining, journal, tape, place };
        let after = match handler {
            Some(handler) => handler(exchange).await,
            None => echo(exchange).await,
        };
        let Some(mut exchange) = after else { return };
        exchange.read_body().await;
        (stream, buffer) = (exchange.stream, exchange.buffer);
    }
}

/// The head of the next request and what was read beyond it.
async fn read_head(
    stream: &mut TcpStream,
    mut buffer: Vec<u8>,
    tape: &Tape,
) -> Option<(Vec<u8>, Vec<u8>)> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(at + 4);
            return Some((buffer, rest));
        }
        buffer.reserve(16 * 1024);
        let before = buffer.len();
        let read = stream.read_buf(&mut buffer).await;
        tape.record(&buffer[before..]);
        if !read.is_ok_and(|count| count > 0) {
            return None;
        }
    }
}

/// The first bytes of a buffer, moved as a block: an unoptimised build would collect them one by one.
pub fn take_front(buffer: &mut Vec<u8>, count: usize) -> Vec<u8> {
    let rest = buffer.split_off(count);
    std::mem::replace(buffer, rest)
}

fn remaining(seen: &Seen) -> Remaining {
    if !seen.all("transfer-encoding").is_empty() {
        return Remaining::Chunks;
    }
    match seen.all("content-length").first().and_then(|length| length.parse().ok()) {
        Some(0) | None => Remaining::Nothing,
        Some(length) => Remaining::Length(length),
    }
}

/// Answers 200 with the request's head, an empty line and its body as text.
pub async fn echo(mut exchange: Exchange) -> After {
    exchange.read_body().await;
    let mut body = exchange.seen.head.clone();
    body.extend_from_slice(&exchange.seen.body);
    exchange.reply("200 OK", "Content-Type: text/plain\r\n", body).await.then_some(exchange)
}

/// Reads the request and never answers.
pub async fn silence(mut exchange: Exchange) -> After {
    exchange.read_body().await;
    exchange.wait_for_close().await;
    None
}

/// Answers with the length of the body it was sent.
pub async fn count_body(mut exchange: Exchange) -> After {
    let length = exchange.read_body().await;
    exchange.reply("200 OK", "", length.to_string()).await.then_some(exchange)
}

/// Sends `length` bytes with a `Content-Length`.
pub async fn download(mut exchange: Exchange, length: u64) -> After {
    exchange.read_body().await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    if !exchange.write(head).await {
        return None;
    }
    let chunk = vec![b'd'; 256 * 1024];
    let mut left = length;
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if !exchange.write(&chunk[..take]).await {
            return None;
        }
        left -= take as u64;
    }
    Some(exchange)
}

/// Sends `first` as a chunk, waits for the gate, then sends `rest` and the end.
pub async fn withhold(mut exchange: Exchange, first: &str, gate: Gate, rest: &str) -> After {
    exchange.read_body().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    exchange.write(format!("{head}{:x}\r\n{first}\r\n", first.len())).await;
    tokio::select! {
        () = gate.wait() => {}
        () = exchange.wait_for_close() => return None,
    }
    let end = format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    exchange.write(end).await.then_some(exchange)
}

/// Sends an event of an event stream every so often until the gateway hangs up.
pub async fn event_stream(mut exchange: Exchange, every: Duration) -> After {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    exchange.write(head).await;
    for number in 0_u32.. {
        let event = format!("data: {number}\n\n");
        if !exchange.write(format!("{:x}\r\n{event}\r\n", event.len())).await {
            return None;
        }
        tokio::time::sleep(every).await;
    }
    None
}

/// Accepts a WebSocket and sends back every message.
pub async fn echo_websocket(exchange: Exchange) -> After {
    use futures_util::{SinkExt, StreamExt};
    let mut socket = exchange.accept_websocket().await;
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            break;
        }
    }
    None
}
