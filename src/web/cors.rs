//! CORS: letting pages of listed origins ask, and read what they are answered.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::fields::{Fields, Name};
use super::origin::{self, Origin};

/// Longest list of request headers that a preflight may ask for, in bytes.
const MAX_ASKED_HEADERS: usize = 1024;
/// How long a browser may remember the answer to a preflight.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// The listed origin whose page asks, as it goes into CORS headers.
#[must_use]
pub fn listed_origin(asked: &Fields<'_>, listed: &[Origin]) -> Option<HeaderValue> {
    if listed.is_empty() || !asked.has(Name::Origin) {
        return None;
    }
    let origin = origin::listed_origin(asked.headers(), listed)?;
    HeaderValue::from_str(&origin.to_string()).ok()
}

/// Lets pages of an origin read an answer, credentials and all.
pub fn let_read(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}

/// Lets pages of a listed origin read the answer to what was `asked`. Where any origin is listed, caches
/// are told that answers differ by it.
pub fn let_listed_read(asked: &Fields<'_>, listed: &[Origin], answer: &mut HeaderMap) {
    if listed.is_empty() {
        return;
    }
    answer.append(VARY, HeaderValue::from_name(ORIGIN));
    if let Some(origin) = listed_origin(asked, listed) {
        let_read(answer, origin);
    }
}

/// The method that a preflight from a listed origin asks for.
#[must_use]
pub fn preflight_method(method: &Method, fields: &Fields<'_>, listed: &[Origin]) -> Option<Method> {
    let asked = fields.first(Name::AskedMethod)?;
    if method != Method::OPTIONS {
        return None;
    }
    origin::listed_origin(fields.headers(), listed)?;
    Method::from_bytes(asked.as_bytes()).ok()
}

/// The answer to a preflight from a listed origin: 204 with exactly that origin and credentials, the
/// method `allowed`, and the headers asked for unless the list is too long.
#[must_use]
pub fn preflight_answer(
    asked: &Fields<'_>,
    listed: &[Origin],
    allowed: Option<&Method>,
) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let_listed_read(asked, listed, headers);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    if let Some(value) = allowed.and_then(|method| HeaderValue::from_str(method.as_str()).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, value);
    }
    let wanted = asked.headers().get(ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(value) = wanted.filter(|value| value.len() <= MAX_ASKED_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, value.clone());
    }
    answer
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http::header::ACCESS_CONTROL_REQUEST_METHOD;

    use super::*;

    #[test]
    fn a_preflight_is_answered_to_exactly_the_listed_origin_that_asks() {
        let listed = [Origin::parse("https://friend.example").unwrap()];
        for (origin, is_listed) in [
            ("https://friend.example", true),
            ("https://friend.example.org", false),
            ("http://friend.example", false),
            ("null", false),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(ORIGIN, HeaderValue::from_static(origin));
            asked.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
            let many = "a".repeat(MAX_ASKED_HEADERS + 1);
            asked.insert(ACCESS_CONTROL_REQUEST_HEADERS, many.parse().unwrap());
            let asked = Fields::of(&asked);
            let method = preflight_method(&Method::OPTIONS, &asked, &listed);
            assert_eq!(method, is_listed.then_some(Method::PUT), "{origin}");
            assert_eq!(preflight_method(&Method::GET, &asked, &listed), None);
            let answer = preflight_answer(&asked, &listed, method.as_ref());
            let said = answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(said.is_some_and(|said| said == origin), is_listed, "{origin}");
            assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_HEADERS), "too many");
            assert_eq!(answer.headers().get(VARY).unwrap(), "origin");
        }
    }
}
