//! JSON bodies from outside, read as `FastAPI` reads the fields of one: whoever sends something else is
//! told about every field at once.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::bodies::{Complaint, unprocessable};
use super::shape::{Field, Kind, Null, Shape};
use crate::accounts::visit::form_failure;
use crate::identity::user::fold_email;
use crate::web::failure::Failure;
use crate::web::form::{RequestBody, read_bytes};
use crate::web::json;

/// The fields of a body that fits its shape.
#[derive(Default)]
pub(super) struct Given(BTreeMap<&'static str, Held>);

enum Held {
    Text(String),
    Flag(bool),
    List(Vec<String>),
}

/// Names alone: values may be passwords.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Given {
    /// Reads a body of at most 64 KiB within 30 s. A field that the shape does not have is left out.
    ///
    /// # Errors
    /// 413, 408, 400 when it breaks off; 422 for what is no JSON, and with every complaint about a field.
    pub(super) async fn read<B: RequestBody>(
        headers: &HeaderMap,
        body: B,
        shape: &Shape,
    ) -> Result<Self, Failure> {
        let bytes = read_bytes(body).await.map_err(|error| form_failure(&error))?;
        let sent = read_sent(headers, &bytes)?;
        let mut fields = match sent {
            Sent::Object(fields) => fields,
            Sent::Nothing | Sent::Other(_) if shape.is_embedded => Map::new(),
            Sent::Nothing => return Err(unprocessable(&[Complaint::NoBody])),
            Sent::Other(value) => return Err(unprocessable(&[Complaint::NotAnObject(value)])),
        };
        let (mut given, mut complaints) = (Self::default(), Vec::new());
        for field in shape.fields() {
            match read_field(field, fields.remove(field.name)) {
                Ok(Some(held)) => drop(given.0.insert(field.name, held)),
                Ok(None) => {}
                Err(complaint) => complaints.push(complaint),
            }
        }
        if complaints.is_empty() { Ok(given) } else { Err(unprocessable(&complaints)) }
    }

    /// A text, if the body has it.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Held::Text(text) => Some(text),
            Held::Flag(_) | Held::List(_) => None,
        }
    }

    /// A flag, if the body has it.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.0.remove(name)? {
            Held::Flag(flag) => Some(flag),
            Held::Text(_) | Held::List(_) => None,
        }
    }

    /// A list, if the body has it.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        match self.0.remove(name)? {
            Held::List(list) => Some(list),
            Held::Text(_) | Held::Flag(_) => None,
        }
    }
}

/// Reads a field as its row has it; `None` where it counts as absent.
fn read_field(field: &Field, sent: Option<Value>) -> Result<Option<Held>, Complaint> {
    let value = match (sent, field.null) {
        (None, _) if field.is_needed => return Err(Complaint::Missing(field.name)),
        (None, _) | (Some(Value::Null), Null::Absent) => return Ok(None),
        (Some(Value::Null), Null::Empty) => return Ok(Some(Held::Text(String::new()))),
        (Some(value), Null::Refused | Null::Absent | Null::Empty) => value,
    };
    match (field.kind, value) {
        (Kind::Flag, value) => match read_flag(&value) {
            Some(flag) => Ok(Some(Held::Flag(flag))),
            None if may_hold_flag(&value) => Err(Complaint::NoFlagIn(field.name, value)),
            None => Err(Complaint::NotAFlag(field.name, value)),
        },
        (Kind::List, Value::Array(items)) => read_list(field.name, items).map(Some),
        (Kind::List, other) => Err(Complaint::NotAList(field.name, other)),
        (Kind::Email, Value::String(text)) if fold_email(&text).is_err() => {
            Err(Complaint::NotAnEmail(field.name, text))
        }
        (Kind::Email | Kind::Text | Kind::Password, Value::String(text)) => {
            Ok(Some(Held::Text(text)))
        }
        (Kind::Email | Kind::Text | Kind::Password, other) => {
            Err(Complaint::NotText(field.name, other))
        }
    }
}

fn read_list(name: &'static str, items: Vec<Value>) -> Result<Held, Complaint> {
    let texts = items.into_iter().enumerate().map(|(at, item)| match item {
        Value::String(text) => Ok(text),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => Err(Complaint::NotTextAt(name, at, other)),
    });
    texts.collect::<Result<_, _>>().map(Held::List)
}

/// What pydantic takes for a truth value unless it is told to be strict.
fn read_flag(value: &Value) -> Option<bool> {
    const YES: [&str; 6] = ["1", "on", "t", "true", "y", "yes"];
    const NO: [&str; 6] = ["0", "off", "f", "false", "n", "no"];
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            Some(_) | None => None,
        },
        Value::String(text) => {
            let is_one_of = |words: [&str; 6]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
            is_one_of(YES).then_some(true).or_else(|| is_one_of(NO).then_some(false))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a value is of a type in which pydantic looks for a truth value.
fn may_hold_flag(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Number(number) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// What a body holds.
enum Sent {
    Nothing,
    Object(Map<String, Value>),
    /// Something else; null also where it is no JSON by its content type, since a page of another site
    /// can send such a body.
    Other(Value),
}

fn read_sent(headers: &HeaderMap, bytes: &[u8]) -> Result<Sent, Failure> {
    if bytes.is_empty() {
        return Ok(Sent::Nothing);
    }
    if !is_json(headers) {
        return Ok(Sent::Other(Value::Null));
    }
    match json::read(bytes) {
        Ok(Value::Object(fields)) => Ok(Sent::Object(fields)),
        Ok(other) => Ok(Sent::Other(other)),
        Err(error) => {
            let at = offset_of(bytes, &error);
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            Err(unprocessable(&[Complaint::NotJson(at, reason.to_owned())]))
        }
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use bytes::Bytes;
    use http::{HeaderValue, StatusCode};
    use http_body_util::Full;
    use serde_json::json;

    use super::*;

    use super::super::shape::{CHANGE, OWN_CHANGE, REGISTER, VERIFY};

    async fn read_as(shape: &Shape, kind: &'static str, body: &[u8]) -> Result<Given, Failure> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Given::read(&headers, Full::new(Bytes::copy_from_slice(body)), shape).await
    }

    async fn read(kind: &'static str, body: &[u8]) -> Result<Given, Failure> {
        read_as(&VERIFY, kind, body).await
    }

    /// The complaints about a body, each as its type and place.
    async fn complaints(shape: &Shape, kind: &'static str, body: &str) -> Vec<String> {
        let failure = read_as(shape, kind, body.as_bytes()).await.unwrap_err();
        assert_eq!(failure.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let list = failure.detail.as_array().unwrap().clone();
        list.iter().map(|one| format!("{} {}", one["type"].as_str().unwrap(), one["loc"])).collect()
    }

    #[tokio::test]
    async fn fields_are_those_of_a_json_object_and_of_nothing_else() {
        let object = br#"{"token": "a", "more": {"deep": [1]}}"#;
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            let mut given = read(kind, object).await.unwrap();
            assert_eq!(given.text("token").as_deref(), Some("a"), "{kind}");
        }
        let object = std::str::from_utf8(object).unwrap();
        for (kind, body) in [
            ("text/plain", object),
            ("application/octet-stream", object),
            ("", object),
            ("application/json", ""),
            ("application/json", "null"),
            ("application/json", "true"),
            ("application/json", "1"),
            ("application/json", "-1"),
            ("application/json", "1.5"),
            ("application/json", "\"token\""),
            ("application/json", "[{\"token\": \"a\"}]"),
        ] {
            let embedded = complaints(&VERIFY, kind, body).await;
            assert_eq!(embedded, ["missing [\"body\",\"token\"]"], "{kind} {body}");
            let whole = complaints(&CHANGE, kind, body).await;
            let expected = if body.is_empty() { "missing" } else { "model_attributes_type" };
            assert_eq!(whole, [format!("{expected} [\"body\"]")], "{kind} {body}");
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
            let failure = read("application/json", body.as_bytes()).await.unwrap_err();
            assert_eq!(failure.detail[0]["type"], "string_type", "{body}");
            assert_eq!(failure.detail[0]["input"], value, "{body}");
        }
    }

    #[tokio::test]
    async fn every_field_is_complained_about_at_once_in_its_order() {
        let body = "{\"email\": \"no\", \"password\": 1, \"is_active\": [], \"phone\": 2}";
        assert_eq!(
            complaints(&REGISTER, "application/json", body).await,
            [
                "value_error [\"body\",\"email\"]",
                "string_type [\"body\",\"password\"]",
                "bool_type [\"body\",\"is_active\"]",
                "string_type [\"body\",\"phone\"]",
            ]
        );
    }

    #[tokio::test]
    async fn a_flag_is_what_pydantic_takes_for_one() {
        for (sent, expected) in [
            ("true", Some(true)),
            ("false", Some(false)),
            ("1", Some(true)),
            ("0.0", Some(false)),
            ("\"YES\"", Some(true)),
            ("\"off\"", Some(false)),
        ] {
            let body = format!("{{\"is_active\": {sent}}}");
            let mut given = read_as(&CHANGE, "application/json", body.as_bytes()).await.unwrap();
            assert_eq!(given.flag("is_active"), expected, "{sent}");
        }
        for (sent, expected) in [
            ("2", "bool_parsing"),
            ("1e300", "bool_parsing"),
            ("\" true\"", "bool_parsing"),
            ("\"\"", "bool_parsing"),
            ("1.5", "bool_type"),
            ("{}", "bool_type"),
            ("null", "bool_type"),
        ] {
            let body = format!("{{\"is_active\": {sent}}}");
            let found = complaints(&CHANGE, "application/json", &body).await;
            assert_eq!(found, [format!("{expected} [\"body\",\"is_active\"]")], "{sent}");
        }
    }

    #[tokio::test]
    async fn null_is_nothing_a_removal_or_refused_by_field() {
        let body = b"{\"password\": null, \"phone\": null, \"is_active\": null}";
        let mut given = read_as(&OWN_CHANGE, "application/json", body).await.unwrap();
        assert_eq!(given.text("password"), None);
        assert_eq!(given.text("phone").as_deref(), Some(""));
        assert_eq!(given.text("first_name"), None);
        assert_eq!(given.flag("is_active"), None);
        let found = complaints(&OWN_CHANGE, "application/json", "{\"email\": null}").await;
        assert_eq!(found, ["string_type [\"body\",\"email\"]"]);
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

    #[tokio::test]
    async fn nothing_prints_a_value() {
        let given = read("application/json", b"{\"token\": \"hunter22\"}").await.unwrap();
        assert_eq!(format!("{given:?}"), "{\"token\"}");
    }
}
