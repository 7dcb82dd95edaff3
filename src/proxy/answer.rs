//! The head of an upstream's answer, read from the bytes that have come (RFC 9112 section 4).
//!
//! httparse reads the fields; what they mean for the connection is said here, and nothing that could
//! be read in two ways is passed on.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use httparse::{ParserConfig, Response, Status};
use hyper::ext::ReasonPhrase;

use super::framing::Framing;
use crate::web::headers::{AnswerFields, FramingFields, has_token};

/// Fields of a head.
const FIELDS: usize = 100;
/// Bytes of a head.
const HEAD: usize = 128 * 1024;
/// Bytes up to the end of an answer's head, interim answers included: their number has no limit of its
/// own, and a flood of them would keep a worker from its other connections until the answer is due.
const HEADS: usize = 256 * 1024;

/// The head of an answer that may be passed on.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    /// The fields that go on to the client.
    pub(super) headers: HeaderMap,
    /// What the upstream calls its status, where that is not the usual name.
    pub(super) reason: Option<ReasonPhrase>,
    pub(super) framing: Framing,
    /// The upstream keeps the connection open behind the body.
    pub(super) is_persistent: bool,
}

/// A head that cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It is none.
    #[error("the head of the answer cannot be read")]
    Malformed(#[source] Option<httparse::Error>),
    /// It is longer than 128 KiB, or came behind too many interim answers.
    #[error("the head of the answer has no end")]
    TooLong,
    /// The end of the body can be read in two ways (RFC 9112 section 6.3).
    #[error("the end of the upstream's answer can be read in two ways")]
    Framing,
    /// The protocol changes, and nobody asked for that.
    #[error("the upstream changed the protocol without being asked")]
    UnaskedUpgrade,
}

/// What of the request the answer's meaning depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// HEAD: the answer has no body, whatever its fields say.
    pub(super) is_head: bool,
    /// Another protocol was asked for.
    pub(super) has_upgrade: bool,
}

impl Asked {
    pub(super) fn new(method: &Method, has_upgrade: bool) -> Self {
        Self { is_head: *method == Method::HEAD, has_upgrade }
    }
}

/// Reads the heads of an answer as they arrive.
#[derive(Debug)]
pub(super) struct HeadReader {
    asked: Asked,
    /// Bytes in which no head's end was found.
    looked_at: usize,
    /// Bytes of interim answers.
    interim: usize,
}

impl HeadReader {
    pub(super) const fn new(asked: Asked) -> Self {
        Self { asked, looked_at: 0, interim: 0 }
    }

    /// Whether anything of the answer has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.looked_at > 0 || self.interim > 0
    }

    /// Takes the head out of what has arrived, and the interim answers before it. `None`: more must come.
    ///
    /// # Errors
    /// [`HeadError`].
    pub(super) fn take(&mut self, arrived: &mut BytesMut) -> Result<Option<AnswerHead>, HeadError> {
        loop {
            let Some(length) = self.find_end(arrived)? else { return Ok(None) };
            self.looked_at = 0;
            let head = read(&arrived.split_to(length).freeze(), self.asked)?;
            if let Some(head) = head {
                return Ok(Some(head));
            }
            self.interim += length;
        }
    }

    /// The length of the head that stands first, once it has come whole.
    fn find_end(&mut self, arrived: &[u8]) -> Result<Option<usize>, HeadError> {
        const START: &[u8] = b"HTTP/1.";
        let start = arrived.len().min(START.len());
        if arrived[..start] != START[..start] {
            return Err(HeadError::Malformed(None));
        }
        // An end may have begun in what was looked at before.
        let mut from = self.looked_at.saturating_sub(2);
        while let Some(at) = arrived[from..].iter().position(|byte| *byte == b'\n') {
            from += at + 1;
            let length = match &arrived[from..] {
                [b'\n', ..] => from + 1,
                [b'\r', b'\n', ..] => from + 2,
                _ => continue,
            };
            let is_short = length <= HEAD && self.interim + length <= HEADS;
            return if is_short { Ok(Some(length)) } else { Err(HeadError::TooLong) };
        }
        self.looked_at = arrived.len();
        if arrived.len() > HEAD || self.interim + arrived.len() > HEADS {
            return Err(HeadError::TooLong);
        }
        Ok(None)
    }
}

/// Reads one whole head. `None`: an interim answer (RFC 9110 section 15.2), which is not passed on.
fn read(head: &Bytes, asked: Asked) -> Result<Option<AnswerHead>, HeadError> {
    let mut space = [const { MaybeUninit::uninit() }; FIELDS];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, head, &mut space)
        .map_err(|error| HeadError::Malformed(Some(error)))?;
    if parsed != Status::Complete(head.len()) {
        return Err(HeadError::Malformed(None));
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(HeadError::Malformed(None))?;
    match status {
        StatusCode::SWITCHING_PROTOCOLS if asked.has_upgrade => {}
        StatusCode::SWITCHING_PROTOCOLS => return Err(HeadError::UnaskedUpgrade),
        interim if interim.is_informational() => return Ok(None),
        _ => {}
    }
    let is_http_11 = response.version == Some(1);
    let mut fields = AnswerFields::with_capacity(response.headers.len() + OURS);
    let mut framing = FramingFields::default();
    let (mut closes, mut keeps) = (false, false);
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(HeadError::Malformed(None)) };
        if name == header::CONNECTION {
            closes |= has_token(&value, b"close");
            keeps |= has_token(&value, b"keep-alive");
        }
        framing.note(&name, &value);
        fields.push(name, value);
    }
    let reason = response.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    Ok(Some(AnswerHead {
        framing: body(&framing, status, is_http_11, asked)?,
        reason: reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()),
        status,
        headers: fields.finish(),
        is_persistent: !closes && (is_http_11 || keeps),
    }))
}

/// Fields the gateway may add: room is made for them at once.
const OURS: usize = 4;

/// Where the body ends (RFC 9112 section 6.3).
fn body(
    fields: &FramingFields,
    status: StatusCode,
    is_http_11: bool,
    asked: Asked,
) -> Result<Framing, HeadError> {
    let has_both = fields.has_coding() && fields.has_length();
    if has_both || fields.check().is_err() || (fields.has_coding() && !is_http_11) {
        return Err(HeadError::Framing);
    }
    let has_none = asked.is_head
        || matches!(
            status,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    Ok(match (has_none, fields.has_coding(), fields.length()) {
        (true, _, _) => Framing::Length(0),
        (false, true, _) => Framing::CHUNKED,
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::UntilClose,
    })
}
