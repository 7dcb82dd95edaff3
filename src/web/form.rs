//! Forms and JSON bodies from outside: bounded, parsed or refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::pin::pin;
use std::time::Duration;

use axum::extract::{FromRequest, Multipart};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode;

/// Most bytes of a body the gateway itself reads.
pub const MAX_BODY: usize = 64 * 1024;
/// Most fields of a form.
pub const MAX_FIELDS: usize = 64;
/// How long a body may take to arrive whole.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A form's fields: name to value, each at most once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<String, String>);

/// Names alone: values may be passwords.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Over [`MAX_BODY`]: 413.
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// Neither urlencoded nor multipart.
    #[error("the body is not a form")]
    NotAForm,
    /// Not UTF-8, a repeated field, too many fields, a broken multipart: 400.
    #[error("the form is malformed: {0}")]
    Malformed(&'static str),
    /// No complete body within 30 s: 408.
    #[error("the body did not arrive in time")]
    TimedOut,
}

/// A request's body, as what answers a request takes it.
pub trait RequestBody:
    Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Send + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Send + 'static
{
}

impl Form {
    /// Reads a form in either encoding (WHATWG urlencoded, RFC 7578 multipart).
    ///
    /// # Errors
    /// [`FormError`].
    pub async fn read<B: RequestBody>(headers: &HeaderMap, body: B) -> Result<Self, FormError> {
        match encoding_of(headers) {
            Some(Encoding::Urlencoded) => Self::from_urlencoded(&read_bytes(body).await?),
            Some(Encoding::Multipart(kind)) => {
                Self::from_multipart(kind.clone(), read_bytes(body).await?).await
            }
            None => Err(FormError::NotAForm),
        }
    }

    /// Reads a query string. A repeated field is an error.
    ///
    /// # Errors
    /// [`FormError::Malformed`].
    pub fn from_query(query: &str) -> Result<Self, FormError> {
        Self::from_urlencoded(query.as_bytes())
    }

    /// Reads a query string in which one field may be repeated; its values stand beside the others.
    ///
    /// # Errors
    /// [`FormError::Malformed`].
    pub fn from_query_with_list(query: &str, list: &str) -> Result<(Self, Vec<String>), FormError> {
        let mut form = Self::default();
        let mut values = Vec::new();
        for (name, value) in pairs(query.as_bytes()) {
            let (name, value) = (decode(name)?, decode(value)?);
            if name == list && values.len() < MAX_FIELDS {
                values.push(value);
            } else {
                form.insert(name, value)?;
            }
        }
        Ok((form, values))
    }

    /// A field's value; `None` when absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The fields by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn from_urlencoded(text: &[u8]) -> Result<Self, FormError> {
        let mut form = Self::default();
        for (name, value) in pairs(text) {
            form.insert(decode(name)?, decode(value)?)?;
        }
        Ok(form)
    }

    async fn from_multipart(kind: HeaderValue, body: Bytes) -> Result<Self, FormError> {
        const BROKEN: FormError = FormError::Malformed("a multipart body that does not parse");
        let mut request = axum::extract::Request::new(axum::body::Body::from(body));
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let mut parts = Multipart::from_request(request, &()).await.map_err(|_| BROKEN)?;
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await.map_err(|_| BROKEN)? {
            let name = part.name().map(str::to_owned);
            let name = name.ok_or(FormError::Malformed("a part without a name"))?;
            if part.file_name().is_some() {
                return Err(FormError::Malformed("a file where text is expected"));
            }
            let value = part.bytes().await.map_err(|_| BROKEN)?;
            form.insert(name, text_of(value.into())?)?;
        }
        Ok(form)
    }

    fn insert(&mut self, name: String, value: String) -> Result<(), FormError> {
        if self.0.len() == MAX_FIELDS {
            return Err(FormError::Malformed("more than 64 fields"));
        }
        match self.0.entry(name) {
            Entry::Occupied(_) => Err(FormError::Malformed("a field that is given twice")),
            Entry::Vacant(place) => {
                place.insert(value);
                Ok(())
            }
        }
    }
}

/// How a form is written.
#[derive(Clone, Copy)]
enum Encoding<'a> {
    Urlencoded,
    /// The whole content type: it names the boundary.
    Multipart(&'a HeaderValue),
}

/// The encoding by the one `Content-Type`; `None` for what is no form.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding<'_>> {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return None };
    let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Some(Encoding::Urlencoded)
    } else if essence.eq_ignore_ascii_case(b"multipart/form-data") {
        Some(Encoding::Multipart(kind))
    } else {
        None
    }
}

/// Whether a body is a form, by its content type.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    encoding_of(headers).is_some()
}

/// The pairs of an urlencoded text, not decoded yet.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(end);
        (name, value.get(1..).unwrap_or_default())
    })
}

/// Decodes one side of a pair. Unlike the WHATWG parser this refuses what is no UTF-8: two different
/// byte strings never become one text.
fn decode(text: &[u8]) -> Result<String, FormError> {
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Cow<'_, [u8]> = percent_decode(&spaced).into();
    text_of(decoded.into_owned())
}

/// No database takes a NUL in a text.
fn text_of(bytes: Vec<u8>) -> Result<String, FormError> {
    let text = String::from_utf8(bytes).map_err(|_| FormError::Malformed("not UTF-8"))?;
    if text.contains('\0') { Err(FormError::Malformed("a NUL byte")) } else { Ok(text) }
}

/// Reads at most [`MAX_BODY`] bytes within 30 s.
///
/// # Errors
/// [`FormError::TooLarge`], [`FormError::TimedOut`], or malformed when the body breaks off.
pub async fn read_bytes<B: RequestBody>(body: B) -> Result<Bytes, FormError> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(FormError::TooLarge);
    }
    collect_within(MAX_WAIT, body).await
}

async fn collect_within<B: Body<Data = Bytes>>(
    wait: Duration,
    body: B,
) -> Result<Bytes, FormError> {
    tokio::time::timeout(wait, collect(body)).await.unwrap_or(Err(FormError::TimedOut))
}

async fn collect<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, FormError> {
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| FormError::Malformed("a body that breaks off"))?;
        // Trailers are nobody's here.
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > MAX_BODY {
            return Err(FormError::TooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    const URLENCODED: &str = "application/x-www-form-urlencoded";
    const MULTIPART: &str = "multipart/form-data; boundary=b";

    async fn read(kind: &'static str, body: impl Into<Bytes>) -> Result<Form, FormError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Form::read(&headers, Full::new(body.into())).await
    }

    fn form(fields: &[(&str, &str)]) -> Form {
        Form(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn part(disposition: &str, text: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{text}\r\n")
    }

    #[tokio::test]
    async fn urlencoded_forms_are_read() {
        for (body, expected) in [
            ("", &[][..]),
            (
                "username=ann%40x.example&password=a+b%2Bc",
                &[("username", "ann@x.example"), ("password", "a b+c")],
            ),
            ("a=1&&b", &[("a", "1"), ("b", "")]),
            ("a=b=c&=d", &[("a", "b=c"), ("", "d")]),
            ("p=50%&q=%zz", &[("p", "50%"), ("q", "%zz")]),
            ("p=%C3%A9", &[("p", "é")]),
        ] {
            assert_eq!(read(URLENCODED, body).await.unwrap(), form(expected), "{body}");
        }
        assert_eq!(Form::from_query("next=%2Fa&x=y").unwrap().get("next"), Some("/a"));
    }

    #[tokio::test]
    async fn multipart_forms_are_read() {
        let body = [
            part("name=\"username\"", "ann@x"),
            part("name=\"password\"", "pä ss\r\nx"),
            "--b--\r\n".into(),
        ]
        .concat();
        assert_eq!(
            read(MULTIPART, body).await.unwrap(),
            form(&[("username", "ann@x"), ("password", "pä ss\r\nx")])
        );
    }

    #[tokio::test]
    async fn what_is_no_clear_form_is_refused() {
        let many =
            (0..=MAX_FIELDS).map(|number| format!("f{number}=1")).collect::<Vec<_>>().join("&");
        for (kind, body, expected) in [
            (URLENCODED, "a=1&a=2".to_owned(), FormError::Malformed("a field that is given twice")),
            (
                URLENCODED,
                "a=1&%61=2".to_owned(),
                FormError::Malformed("a field that is given twice"),
            ),
            (URLENCODED, "a=%ff".to_owned(), FormError::Malformed("not UTF-8")),
            (URLENCODED, "a=%00".to_owned(), FormError::Malformed("a NUL byte")),
            (URLENCODED, many, FormError::Malformed("more than 64 fields")),
            (URLENCODED, "a".repeat(MAX_BODY + 1), FormError::TooLarge),
            ("application/json", "{}".to_owned(), FormError::NotAForm),
            ("text/plain", "a=1".to_owned(), FormError::NotAForm),
            (
                "multipart/form-data",
                "--b--".to_owned(),
                FormError::Malformed("a multipart body that does not parse"),
            ),
            (
                MULTIPART,
                part("name=\"a\"", "1"),
                FormError::Malformed("a multipart body that does not parse"),
            ),
            (
                MULTIPART,
                part("x=\"a\"", "1") + "--b--\r\n",
                FormError::Malformed("a part without a name"),
            ),
            (
                MULTIPART,
                part("name=\"a\"; filename=\"f\"", "1") + "--b--\r\n",
                FormError::Malformed("a file where text is expected"),
            ),
            (
                MULTIPART,
                part("name=\"a\"", "1").repeat(2) + "--b--\r\n",
                FormError::Malformed("a field that is given twice"),
            ),
        ] {
            assert_eq!(
                read(kind, body.clone()).await,
                Err(expected),
                "{kind} {}",
                &body[..body.len().min(60)]
            );
        }
        assert_eq!(
            Form::read(&HeaderMap::new(), Full::new(Bytes::new())).await,
            Err(FormError::NotAForm)
        );
        assert!(read(URLENCODED, format!("a={}", "x".repeat(MAX_BODY - 2))).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
        let endless = stream::repeat_with(|| {
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'a'; 1024])))
        });
        assert_eq!(read_bytes(StreamBody::new(endless)).await, Err(FormError::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_malformed() {
        let frames =
            [Ok(Frame::data(Bytes::from_static(b"a=1"))), Err(std::io::Error::other("reset"))];
        let body = StreamBody::new(stream::iter(frames));
        assert_eq!(read_bytes(body).await, Err(FormError::Malformed("a body that breaks off")));
    }

    #[tokio::test]
    async fn a_body_that_never_comes_times_out() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let wait = Duration::from_millis(5);
        assert_eq!(collect_within(wait, body).await, Err(FormError::TimedOut));
    }

    #[test]
    fn values_are_not_printed() {
        assert!(!format!("{:?}", form(&[("password", "hunter2")])).contains("hunter2"));
    }
}
