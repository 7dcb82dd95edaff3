//! JSON bodies from outside, read as `FastAPI` reads the fields of one: whoever sends something else is
//! told about every field at once.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::bodies::{Complaint, unprocessable};
use crate::accounts::visit::form_failure;
use crate::web::failure::Failure;
use crate::web::form::{RequestBody, read_bytes};

/// The fields of a JSON object. What is no object has none; a name that stands there twice is refused.
#[derive(Default)]
pub(super) struct Input(BTreeMap<String, Value>);

/// Names alone: values may be passwords.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Input {
    /// Reads a body of at most 64 KiB within 30 s. A body of another content type, or none, has no fields.
    ///
    /// # Errors
    /// 413, 408, 400 when it breaks off; 422 for what is no JSON.
    pub(super) async fn read<B: RequestBody>(
        headers: &HeaderMap,
        body: B,
    ) -> Result<Self, Failure> {
        let bytes = read_bytes(body).await.map_err(|error| form_failure(&error))?;
        if bytes.is_empty() || !is_json(headers) {
            return Ok(Self::default());
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let at = offset_of(&bytes, &error);
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            unprocessable(&[Complaint::NotJson(at, reason.to_owned())])
        })
    }

    /// A text that has to be there; anything else is added to the complaints.
    pub(super) fn text(&mut self, name: &'static str, complaints: &mut Vec<Complaint>) -> String {
        match self.0.remove(name) {
            Some(Value::String(text)) => return text,
            None => complaints.push(Complaint::Missing(name)),
            Some(other) => complaints.push(Complaint::NotText(name, other)),
        }
        String::new()
    }
}

/// The content type is JSON. A page of another site can send a body that says nothing of its type.
fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    let further = essence.strip_prefix(b"application/");
    further.is_some_and(|kind| kind == b"json" || kind.ends_with(b"+json"))
}

/// Where in a body the reader stopped, from the line and column it tells.
fn offset_of(bytes: &[u8], error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return bytes.len();
    }
    let lines = bytes.split(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum();
    before.saturating_add(error.column().saturating_sub(1)).min(bytes.len())
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fields)
    }
}

/// Reads an object's fields; every other value counts as an object without any.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands there twice"));
            }
        }
        Ok(Input(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Input::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Input, E> {
        Ok(Input::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Input, E> {
        Ok(Input::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Input, E> {
        Ok(Input::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Input, E> {
        Ok(Input::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Input, E> {
        Ok(Input::default())
    }

    fn visit_unit<E>(self) -> Result<Input, E> {
        Ok(Input::default())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use bytes::Bytes;
    use http::{HeaderValue, StatusCode};
    use http_body_util::Full;
    use serde_json::json;

    use super::*;

    async fn read(kind: &'static str, body: &[u8]) -> Result<Input, Failure> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Input::read(&headers, Full::new(Bytes::copy_from_slice(body))).await
    }

    #[tokio::test]
    async fn fields_are_those_of_a_json_object_and_of_nothing_else() {
        let object = br#"{"token": "a", "more": {"deep": [1]}}"#;
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            let mut complaints = Vec::new();
            let mut input = read(kind, object).await.unwrap();
            assert_eq!(input.text("token", &mut complaints), "a", "{kind}");
            assert_eq!(complaints, [], "{kind}");
        }
        for (kind, body) in [
            ("text/plain", &object[..]),
            ("application/octet-stream", object),
            ("", object),
            ("application/json", b""),
            ("application/json", b"null"),
            ("application/json", b"true"),
            ("application/json", b"1"),
            ("application/json", b"-1"),
            ("application/json", b"1.5"),
            ("application/json", b"\"token\""),
            ("application/json", b"[{\"token\": \"a\"}]"),
        ] {
            let mut complaints = Vec::new();
            read(kind, body).await.unwrap().text("token", &mut complaints);
            let body = String::from_utf8_lossy(body);
            assert_eq!(complaints, [Complaint::Missing("token")], "{kind} {body}");
        }
    }

    #[tokio::test]
    async fn what_is_no_text_is_told_with_what_it_is() {
        for (body, value) in [
            ("{\"token\": 1}", json!(1)),
            ("{\"token\": null}", json!(null)),
            ("{\"token\": [\"a\"]}", json!(["a"])),
            ("{\"token\": {}}", json!({})),
            ("{\"token\": false}", json!(false)),
        ] {
            let mut complaints = Vec::new();
            read("application/json", body.as_bytes()).await.unwrap().text("token", &mut complaints);
            assert_eq!(complaints, [Complaint::NotText("token", value)], "{body}");
        }
    }

    #[tokio::test]
    async fn what_is_no_json_is_told_with_the_place() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
        for (body, at) in [
            (&b"{"[..], 1),
            (b"{\"a\": 1,}", 8),
            (b"{\n\"a\" 1}", 6),
            (b"{\"a\": \"\xff\"}", 7),
            (b"{\"a\": \"\\ud800\"}", 13),
            (b"{\"a\": 1} x", 9),
            (b"{\"a\": 1, \"a\": 1}", 15),
            (b"{\"a\": NaN}", 6),
            (deep.as_bytes(), 133),
        ] {
            let failure = read("application/json", body).await.unwrap_err();
            let shown = String::from_utf8_lossy(body).chars().take(20).collect::<String>();
            assert_eq!(failure.status, StatusCode::UNPROCESSABLE_ENTITY, "{shown}");
            assert_eq!(failure.detail[0]["type"], "json_invalid", "{shown}");
            let found = failure.detail[0]["loc"][1].as_u64().unwrap();
            assert!(found.abs_diff(at) <= 2, "{shown}: {found}, not about {at}");
        }
        let large = read("application/json", &vec![b' '; 70_000]).await.unwrap_err();
        assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn nothing_prints_a_value() {
        let input: Input = serde_json::from_str("{\"password\": \"hunter22\"}").unwrap();
        assert_eq!(format!("{input:?}"), "{\"password\"}");
    }
}
