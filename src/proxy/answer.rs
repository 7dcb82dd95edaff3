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
use crate::web::headers::{AnswerFields, FramingFields};

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
    /// The protocol changes to one that nobody asked for.
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
    pub(super) fn take(
        &mut self,
        arrived: &mut BytesMut,
    ) -> Result<Option<Box<AnswerHead>>, HeadError> {
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
        let from = self.looked_at.saturating_sub(2);
        for at in memchr::memchr_iter(b'\n', &arrived[from..]) {
            let length = match &arrived[from + at + 1..] {
                [b'\n', ..] => from + at + 2,
                [b'\r', b'\n', ..] => from + at + 3,
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
fn read(head: &Bytes, asked: Asked) -> Result<Option<Box<AnswerHead>>, HeadError> {
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
    let mut is_websocket = false;
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(HeadError::Malformed(None)) };
        framing.note(&name, &value);
        is_websocket |=
            name == header::UPGRADE && value.as_bytes().eq_ignore_ascii_case(b"websocket");
        fields.push(name, value);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS && !is_websocket {
        return Err(HeadError::UnaskedUpgrade);
    }
    let has_none = has_no_body(status, asked);
    // Where a body must not be but is announced, or is for a request that asked for none, it may come
    // all the same, and be taken for the next answer.
    let may_be_followed = asked.is_head
        || (has_none
            && (framing.has_coding() || framing.length().is_some_and(|length| length > 0)));
    let reason = response.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    Ok(Some(Box::new(AnswerHead {
        framing: body(&framing, has_none, is_http_11)?,
        reason: reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()),
        status,
        is_persistent: fields.is_persistent(is_http_11) && !may_be_followed,
        headers: fields.finish(),
    })))
}

/// Fields the gateway adds to most answers: room is made for them at once.
const OURS: usize = 1;

/// Whether an answer has no body, whatever its fields say (RFC 9112 section 6.3).
fn has_no_body(status: StatusCode, asked: Asked) -> bool {
    asked.is_head
        || matches!(
            status,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// Where the body ends (RFC 9112 section 6.3).
fn body(fields: &FramingFields, has_none: bool, is_http_11: bool) -> Result<Framing, HeadError> {
    let has_both = fields.has_coding() && fields.has_length();
    if has_both || fields.check().is_err() || (fields.has_coding() && !is_http_11) {
        return Err(HeadError::Framing);
    }
    Ok(match (has_none, fields.has_coding(), fields.length()) {
        (true, _, _) => Framing::Length(0),
        (false, true, _) => Framing::CHUNKED,
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::UntilClose,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::proxy::framing::Framing::{Length, UntilClose};

    const GET: Asked = Asked { is_head: false, has_upgrade: false };
    const CHUNKED: Framing = Framing::CHUNKED;

    /// Reads a head that arrives in pieces of `step` bytes.
    fn read_in(
        sent: &[u8],
        step: usize,
        asked: Asked,
    ) -> Result<Option<Box<AnswerHead>>, HeadError> {
        let (mut reader, mut arrived) = (HeadReader::new(asked), BytesMut::new());
        for piece in sent.chunks(step) {
            arrived.extend_from_slice(piece);
            if let Some(head) = reader.take(&mut arrived)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn answer(fields: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    }

    #[test]
    fn where_the_body_ends_and_whether_the_connection_goes_on_is_read_from_the_head() {
        let head = Asked { is_head: true, has_upgrade: false };
        for (sent, asked, framing, is_persistent) in [
            (answer("Content-Length: 5\r\n"), GET, Length(5), true),
            (answer("Content-Length: 0\r\n"), GET, Length(0), true),
            (answer("content-length: 5\r\nConnection: x, Close\r\n"), GET, Length(5), false),
            (answer("Transfer-Encoding: Chunked\r\n"), GET, CHUNKED, true),
            (answer(""), GET, UntilClose, true),
            (answer("Content-Length: 5\r\n"), head, Length(0), false),
            (answer("Transfer-Encoding: chunked\r\n"), head, Length(0), false),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n".into(), GET, Length(0), false),
            ("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n".into(), GET, Length(0), false),
            ("HTTP/1.1 204 No Content\r\n\r\n".into(), GET, Length(0), true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n".into(), GET, Length(0), true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n".into(), GET, Length(1), false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n".into(), GET, UntilClose, true),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\n\r\n".into(),
                GET,
                UntilClose,
                true,
            ),
        ] {
            for step in [1, 3, 1000] {
                let head = read_in(sent.as_bytes(), step, asked).unwrap().unwrap();
                assert_eq!((head.framing, head.is_persistent), (framing, is_persistent), "{sent}");
            }
        }
    }

    #[test]
    fn only_the_protocol_that_was_asked_for_is_changed_to() {
        let asked = Asked { is_head: false, has_upgrade: true };
        for (upgrade, is_one) in
            [("Upgrade: WebSocket\r\n", true), ("Upgrade: h2c\r\n", false), ("", false)]
        {
            let sent =
                format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{upgrade}\r\n");
            assert_eq!(read_in(sent.as_bytes(), 1000, asked).is_ok(), is_one, "{upgrade}");
            assert!(read_in(sent.as_bytes(), 1000, GET).is_err(), "{upgrade}");
        }
    }

    #[test]
    fn what_goes_no_further_than_this_hop_is_left_out() {
        let sent = answer(
            "Server: x\r\nConnection: x-hop, content-length\r\nX-Hop: 1\r\nContent-Length: 5\r\n\
             Keep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Other: \u{fc}\r\n",
        );
        let head = read_in(sent.as_bytes(), 1000, GET).unwrap().unwrap();
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "server", "set-cookie", "x-other"]);
        assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(head.headers["x-other"], "\u{fc}");
    }

    #[test]
    fn a_status_keeps_the_name_the_upstream_gives_it() {
        for (line, expected) in [
            ("200 OK", None),
            ("200 Fine", Some("Fine")),
            ("599 Odd", Some("Odd")),
            ("404 Not Found", None),
        ] {
            let sent = format!("HTTP/1.1 {line}\r\n\r\n");
            let head = read_in(sent.as_bytes(), 1000, GET).unwrap().unwrap();
            let reason = head.reason.as_ref().map(ReasonPhrase::as_bytes);
            assert_eq!(reason, expected.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused() {
        let malformed = |sent: &str| (sent.to_owned(), "the head of the answer cannot be read");
        let framing = |fields: &str| {
            (answer(fields), "the end of the upstream's answer can be read in two ways")
        };
        let cases = [
            malformed("HTTP/2 200 OK\r\n\r\n"),
            malformed("http/1.1 200 OK\r\n\r\n"),
            malformed("\r\nHTTP/1.1 200 OK\r\n\r\n"),
            malformed("SSH-2.0-OpenSSH\r\n"),
            malformed("HTTP/1.1 20 OK\r\n\r\n"),
            malformed("HTTP/1.1 099 No\r\n\r\n"),
            malformed("HTTP/1.1 200 OK\r\nA : b\r\n\r\n"),
            malformed("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
            malformed("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n"),
            malformed("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"),
            malformed("HTTP/1.1 200 OK\r\nnone\r\n\r\n"),
            framing("Content-Length: 1\r\nContent-Length: 1\r\n"),
            framing("Content-Length: 1, 1\r\n"),
            framing("Content-Length: +1\r\n"),
            framing("Content-Length: 01\r\n"),
            framing("Content-Length: \r\n"),
            framing("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            framing("Transfer-Encoding: gzip\r\n"),
            framing("Transfer-Encoding: gzip, chunked\r\n"),
            framing("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                "the end of the upstream's answer can be read in two ways",
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
                "the upstream changed the protocol without being asked",
            ),
        ];
        for (sent, expected) in cases {
            for step in [1, 2, 1000] {
                let error = read_in(sent.as_bytes(), step, GET).unwrap_err();
                assert_eq!(error.to_string(), expected, "{}", sent.escape_debug());
            }
        }
    }

    #[test]
    fn a_head_has_an_end() {
        let long = |length: usize| answer(&format!("A: {}\r\n", "b".repeat(length)));
        assert!(read_in(long(HEAD - 50).as_bytes(), 4096, GET).is_ok());
        let many = "A: 1\r\n".repeat(FIELDS);
        assert!(read_in(answer(&many).as_bytes(), 4096, GET).is_ok());
        for endless in [
            long(HEAD),
            answer(&format!("{many}B: 1\r\n")),
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEADS / 25 + 1),
        ] {
            assert!(read_in(endless.as_bytes(), 4096, GET).is_err());
        }
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_makes_it_panic_or_leaves_a_field_of_this_hop(
            rest in "[ -~\r\n\u{80}]{0,200}",
            fields in prop::collection::vec("(connection|te|upgrade|content-length|x-a): [a-z0-9, -]{0,12}", 0..6),
            step in 1..40_usize,
        ) {
            let sent = format!("HTTP/1.1 200 OK\r\n{}\r\n{rest}\r\n\r\n", fields.join("\r\n"));
            let whole = read_in(sent.as_bytes(), sent.len(), GET);
            let pieces = read_in(sent.as_bytes(), step, GET);
            prop_assert_eq!(whole.is_ok(), pieces.is_ok());
            if let Ok(Some(head)) = whole {
                for name in ["connection", "te", "upgrade", "transfer-encoding", "keep-alive"] {
                    prop_assert!(!head.headers.contains_key(name));
                }
                prop_assert_eq!(&head.headers, &pieces.unwrap().unwrap().headers);
            }
        }
    }
}
