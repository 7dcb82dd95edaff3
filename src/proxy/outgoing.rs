//! What goes to the upstream: the head of a permitted request as bytes, and the body behind it.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderName};
use http_body::Body as _;

use super::answer::Asked;
use super::exchange::{Reach, Said, Way};
use super::sanitise::Sanitized;
use super::upload::{Upload, UploadState};
use crate::session::HeaderSet;
use crate::web::headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID};

/// Bytes that most heads fit in.
const USUAL_HEAD: usize = 1024;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The head, and of the body what goes out in one piece with it.
    pub(super) bytes: Vec<u8>,
    /// How many of them were written.
    pub(super) sent: usize,
    /// The rest of the body, until a task sends it.
    pub(super) body: Option<Box<Upload>>,
    /// What the one who sends the body says of it.
    pub(super) upload: Option<Arc<UploadState>>,
    /// Sending it twice does what sending it once does, and it can be sent twice at all.
    pub(super) may_repeat: bool,
}

impl Outgoing {
    /// Puts a request together: what is left of the caller's, and what the gateway says.
    pub(super) fn new(
        reach: &Reach,
        request: Sanitized,
        way: Way<'_>,
        said: &Said<'_>,
        asked: Asked,
    ) -> Self {
        let is_empty = request.body.is_end_stream();
        let is_chunked = !is_empty && request.body.size_hint().exact().is_none();
        let mut bytes = head(&request, way, said);
        end_head(&mut bytes, is_chunked, asked.has_upgrade);
        let may_repeat = is_empty && is_repeatable(&request.method);
        let body = (!is_empty).then(|| {
            let progress = reach.ticker.deadlines();
            let timeout = way.upstream.response_timeout;
            Box::new(Upload::new(request.body, progress, way.connection, timeout))
        });
        let upload = body.as_ref().map(|body| Arc::clone(&body.state));
        Self { bytes, sent: 0, body, upload, may_repeat }
    }
}

/// RFC 9110 section 9.2.2.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// The head but for its end.
fn head(request: &Sanitized, way: Way<'_>, said: &Said<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_HEAD);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    // One value is decided on and forwarded, byte for byte.
    out.extend_from_slice(request.resource.target.raw().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = request.host.as_bytes();
    let authority = way.upstream.authority.as_bytes();
    field(&mut out, &header::HOST, if way.upstream.preserve_host { host } else { authority });
    callers(&mut out, request, said.identity);
    if let Some(identity) = said.identity {
        out.extend_from_slice(identity.fields().as_bytes());
    }
    begin_field(&mut out, &FORWARDED_FOR);
    hop(&mut out, way);
    out.extend_from_slice(b"\r\n");
    field(&mut out, &FORWARDED_PROTO, way.client.scheme.as_str().as_bytes());
    field(&mut out, &FORWARDED_HOST, host);
    field(&mut out, &REQUEST_ID, said.request_id);
    out
}

fn end_head(out: &mut Vec<u8>, is_chunked: bool, has_upgrade: bool) {
    if is_chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if has_upgrade {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The caller's own fields: none that the gateway sets or that frames the body otherwise than it is sent,
/// whatever sanitising left of them.
fn callers(out: &mut Vec<u8>, request: &Sanitized, identity: Option<&HeaderSet>) {
    const FRAMING: [HeaderName; 3] =
        [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING];
    let ours = [&header::HOST, &FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST, &REQUEST_ID];
    let is_identity = |name| identity.into_iter().flat_map(HeaderSet::names).any(|set| set == name);
    let has_length = request.body.size_hint().exact().is_some();
    for (name, value) in &request.headers {
        let is_false_length = name == header::CONTENT_LENGTH && !has_length;
        if !FRAMING.contains(name)
            && !ours.contains(&name)
            && !is_identity(name)
            && !is_false_length
        {
            field(out, name, value.as_bytes());
        }
    }
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    begin_field(out, name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn begin_field(out: &mut Vec<u8>, name: &HeaderName) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
}

/// The client's address as a header says it.
fn hop(out: &mut Vec<u8>, way: Way<'_>) {
    use std::io::Write as _;
    let address: IpAddr = way.client.address.unwrap_or(way.client.peer);
    if address == way.connection.peer {
        out.extend_from_slice(way.connection.peer_text.as_bytes());
    } else {
        // Writing to memory does not fail.
        let _written = write!(out, "{address}");
    }
}
