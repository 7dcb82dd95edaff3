//! An HTTP/1.1 client that writes exactly the bytes it is told to and reads answers as they come.
//!
//! It never follows a redirect, never retries, and adds no header beyond `Host` and the length of a
//! body. Two layers: [`Raw`] is one connection; [`Client`] is a visitor with a cookie jar who uses a
//! fresh connection for each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long any single wait may last before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub status: u16,
    /// Names in lower case, values as text (bytes beyond ASCII as Latin-1).
    pub headers: Vec<(String, String)>,
}

/// A whole answer, its body decoded from its framing.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

impl Head {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// `detail` of a JSON error.
    pub fn detail(&self) -> String {
        let json = self.json();
        json["detail"].as_str().map_or_else(|| json["detail"].to_string(), str::to_owned)
    }

    /// `Location`, or the empty string.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }

    /// Fails the test with the whole answer unless the status is the one expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "headers {:?}\nbody {}", self.headers, self.text());
        self
    }
}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Connects from one of this machine's own addresses.
    pub async fn connect_from(own: &str, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own.parse().unwrap(), 0)).unwrap();
        let stream = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Goes on with a connection.
    pub const fn from_stream(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Writes bytes. An error is returned: the other side may have hung up on purpose.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the peer takes no bytes")
    }

    /// Writes bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).await.expect("the connection broke while writing");
    }

    /// Ends what we send; the other side may go on.
    pub async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads more into the buffer; `false` at the end of the stream (a reset counts as one).
    async fn fill(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("nothing to read").is_ok_and(|count| count > 0)
    }

    /// Exactly so many bytes; `None` when the stream ends before.
    pub async fn try_read_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(crate::upstream::take_front(&mut self.buffer, count))
    }

    /// Exactly so many bytes.
    pub async fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.try_read_exact(count).await.expect("the stream ended early")
    }

    /// Everything up to the end of the stream.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads until the text has come (it stays in front of what follows and is returned with it).
    pub async fn read_until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = find(&self.buffer, text.as_bytes()) {
                let taken = self.buffer.drain(..at + text.len()).collect::<Vec<_>>();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            assert!(self.fill().await, "the stream ended before {text:?}: {:?}", self.lossy());
        }
    }

    /// Counts and drops the next bytes up to `count` or the end of the stream.
    pub async fn discard(&mut self, count: u64) -> u64 {
        let mut seen = 0;
        while seen < count {
            if self.buffer.is_empty() && !self.fill().await {
                break;
            }
            let take = usize::try_from(count - seen).unwrap().min(self.buffer.len());
            self.buffer.drain(..take);
            seen += take as u64;
        }
        seen
    }

    /// Whether the other side closes within the time, bytes before the end notwithstanding.
    pub async fn is_closed_within(&mut self, time: Duration) -> bool {
        let wait = async {
            let mut chunk = vec![0; 4096];
            while matches!(self.stream.read(&mut chunk).await, Ok(count) if count > 0) {}
        };
        timeout(time, wait).await.is_ok()
    }

    /// Whether nothing arrives within the time (the stream's end is something).
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && timeout(time, self.stream.readable()).await.is_err()
    }

    /// Reads the head of an answer; `None` when the connection ends without one.
    pub async fn try_head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.lossy());
                return None;
            }
        };
        let bytes = self.buffer.drain(..end + 4).collect::<Vec<_>>();
        let text: String = bytes.iter().copied().map(char::from).collect();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Some(Head { status, headers: lines.map(pair).collect() })
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Head {
        self.try_head().await.expect("the connection ended without an answer")
    }

    /// Reads a whole answer to a request with this method; `None` when the connection ends before the
    /// answer does.
    pub async fn try_response(&mut self, method: &str) -> Option<Response> {
        let head = self.try_head().await?;
        let bodyless = method == "HEAD" || head.status < 200 || matches!(head.status, 204 | 304);
        let body = if bodyless {
            Vec::new()
        } else if head.header("transfer-encoding").is_some() {
            self.read_chunked().await
        } else if let Some(length) = head.header("content-length") {
            self.try_read_exact(length.parse().unwrap()).await?
        } else {
            self.read_to_end().await
        };
        Some(Response { status: head.status, headers: head.headers, body })
    }

    /// Reads a whole answer to a request with this method.
    pub async fn response(&mut self, method: &str) -> Response {
        self.try_response(method).await.expect("the connection ended before the answer did")
    }

    /// One chunk of a chunked body; empty at its end (trailers are read and dropped).
    pub async fn read_chunk(&mut self) -> Vec<u8> {
        let line = self.read_until("\r\n").await;
        let size = usize::from_str_radix(line.trim().split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            while self.read_until("\r\n").await != "\r\n" {}
            return Vec::new();
        }
        let chunk = self.read_exact(size).await;
        assert_eq!(self.read_exact(2).await, b"\r\n");
        chunk
    }

    async fn read_chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.read_chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Resets the connection: the gateway is sent RST, not FIN.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// The underlying stream, for what speaks something else from here on.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.buffer.is_empty(), "bytes would be lost: {:?}", self.lossy());
        self.stream
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

/// Where bytes stand in others first.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Somebody with a cookie jar.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    host: String,
    jar: Arc<Mutex<BTreeMap<String, String>>>,
    bearer: Option<String>,
}

impl Client {
    /// Nobody known yet, who calls the gateway by its address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), jar: Arc::default(), bearer: None }
    }

    /// Calls by another name.
    pub fn with_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sends a bearer token with every request.
    pub fn with_bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// A cookie of the jar.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    /// The `Cookie` header the jar makes; empty for an empty jar.
    pub fn cookies(&self) -> String {
        let jar = self.jar.lock().unwrap();
        jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The origin this client's pages would have.
    pub fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    /// The address called.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A GET as a script sends it.
    pub fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    /// A GET as a browser's address bar sends it.
    pub fn visit(&self, target: &str) -> Call {
        self.call("GET", target).navigating_from("none")
    }

    /// A POST as a page of the same site sends it.
    pub fn post(&self, target: &str) -> Call {
        let origin = self.origin();
        self.call("POST", target).header("Origin", &origin).header("Sec-Fetch-Site", "same-origin")
    }

    /// Any method, no further header.
    pub fn call(&self, method: &str, target: &str) -> Call {
        let mut headers = vec![("Host".to_owned(), self.host.clone())];
        let cookies = self.cookies();
        if !cookies.is_empty() {
            headers.push(("Cookie".to_owned(), cookies));
        }
        if let Some(token) = &self.bearer {
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        let (method, target) = (method.to_owned(), target.to_owned());
        Call { client: self.clone(), method, target, headers, body: None }
    }

    fn remember(&self, response: &Response) {
        let mut jar = self.jar.lock().unwrap();
        for line in response.all("set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let ended = attributes.to_ascii_lowercase().split(';').any(|a| a.trim() == "max-age=0");
            if ended || value.is_empty() {
                jar.remove(name.trim());
            } else {
                jar.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
    }
}

/// A request about to be sent.
#[derive(Clone, Debug)]
pub struct Call {
    client: Client,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes every header of this name away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces a header.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    /// As a browser sends a navigation from `site` (`none`, `same-origin`, `cross-site`).
    pub fn navigating_from(self, site: &str) -> Self {
        self.with("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .with("Sec-Fetch-Mode", "navigate")
            .with("Sec-Fetch-Dest", "document")
            .with("Sec-Fetch-User", "?1")
            .with("Sec-Fetch-Site", site)
    }

    /// With a body as it is.
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.with("Content-Type", kind)
    }

    /// With an urlencoded form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// The bytes to be sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        if let Some(body) = &self.body {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends the head alone and waits until the body is asked for, by when it is known who asks: the connection,
    /// and the body that is still to be sent.
    pub async fn send_head(&self) -> (Raw, Vec<u8>) {
        let body = self.body.clone().unwrap_or_default();
        let bytes = self.clone().header("Expect", "100-continue").bytes();
        let mut raw = Raw::connect(self.client.address).await;
        raw.send(&bytes[..bytes.len() - body.len()]).await;
        assert_eq!(raw.head().await.status, 100);
        (raw, body)
    }

    /// Sends it on a fresh connection and reads the answer.
    pub async fn send(&self) -> Response {
        let mut raw = Raw::connect(self.client.address).await;
        self.send_on(&mut raw).await
    }

    /// Sends it as a browser does what stands in a mail: where it leads on, that is asked for as well.
    pub async fn follow(&self) -> Response {
        let before = self.client.cookies();
        let response = self.send().await;
        if response.status != 303 {
            return response;
        }
        let mut next = self.clone();
        next.headers.retain(|(name, value)| name != "Cookie" || *value != before);
        next = next.header("Cookie", &self.client.cookies());
        response.location().clone_into(&mut next.target);
        next.send().await
    }

    /// Sends it on a fresh connection; `None` when that ends before the answer does.
    pub async fn try_send(&self) -> Option<Response> {
        let mut raw = self.open().await;
        raw.try_response(&self.method).await
    }

    /// Sends it on this connection and reads the answer.
    pub async fn send_on(&self, raw: &mut Raw) -> Response {
        raw.send(self.bytes()).await;
        let response = raw.response(&self.method).await;
        self.client.remember(&response);
        response
    }

    /// Sends it on a fresh connection, which is returned with the answer unread.
    pub async fn open(&self) -> Raw {
        let mut raw = Raw::connect(self.client.address).await;
        raw.send(self.bytes()).await;
        raw
    }
}
