//! The JSON bodies of the endpoints, as `FastAPI` Users writes them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::visit::Answer;
use crate::identity::user::Person;
use crate::session::{Identity, Session};
use crate::web::failure::Failure;

/// A user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserRead")]
pub(super) struct UserBody<'a> {
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: Uuid,
    email: &'a str,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    organization: Option<&'a str>,
    department: Option<&'a str>,
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

/// The caller's own user: with roles and permissions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Me")]
pub(super) struct MeBody<'a> {
    #[serde(flatten)]
    user: UserBody<'a>,
    roles: &'a [String],
    permissions: &'a [String],
}

/// A session: who is signed in, how and until when.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(super) struct SessionBody<'a> {
    authenticated: bool,
    user: MeBody<'a>,
    method: &'static str,
    #[schemars(extend("format" = "date-time"))]
    signed_in_at: String,
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
}

/// What a sign-in for a bearer token hands out (RFC 6749 section 5.1).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct TokenBody {
    pub(super) access_token: String,
    pub(super) token_type: &'static str,
    /// Its life in seconds.
    pub(super) expires_in: u64,
}

/// What every refusal is answered with.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes what another module writes")]
pub(super) struct Problem {
    /// A code or a sentence; an object with `code` and `reason` for a password; a list for 422.
    detail: Value,
    request_id: String,
    /// Where to sign in, with 401.
    #[schemars(skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
}

impl<'a> UserBody<'a> {
    pub(super) fn of(user: &'a Person) -> Self {
        Self {
            id: user.id,
            email: &user.email,
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            first_name: user.first_name(),
            last_name: user.last_name(),
            organization: user.organization(),
            department: user.department(),
            phone: user.phone(),
            username: user.username(),
        }
    }
}

impl<'a> MeBody<'a> {
    pub(super) fn of(identity: &'a Identity) -> Self {
        let roles = &identity.subject.access.role_names;
        Self::new(identity.user(), roles, &identity.subject.access.expanded)
    }

    fn new(user: &'a Person, roles: &'a [String], permissions: &'a [String]) -> Self {
        Self { user: UserBody::of(user), roles, permissions }
    }
}

impl<'a> SessionBody<'a> {
    pub(super) fn of(identity: &'a Identity) -> Self {
        Self::new(MeBody::of(identity), identity.session())
    }

    fn new(user: MeBody<'a>, session: &Session) -> Self {
        Self {
            authenticated: true,
            user,
            method: session.method.as_str(),
            signed_in_at: session.created_at.to_string(),
            expires_at: session.expires_at.to_string(),
        }
    }
}

/// An answer with a JSON body. A body that cannot be written is an unplanned failure.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Answer, Failure> {
    Ok(written(status, serde_json::to_vec(body)?.into()))
}

/// An answer with a body of JSON that is written already.
pub(super) fn written(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// One complaint about a body, in the shape of `FastAPI`'s 422.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Complaint {
    /// A field is missing or empty.
    Missing(&'static str),
    /// A field does not match a pattern: field, pattern, what was sent.
    Pattern(&'static str, &'static str, String),
    /// A field is no e-mail: field, what was sent.
    NotAnEmail(&'static str, String),
    /// A field is no text: field, what was sent.
    NotText(&'static str, Value),
    /// A field is no list: field, what was sent.
    NotAList(&'static str, Value),
    /// An item of a list is no text: field, place in the list, what was sent.
    NotTextAt(&'static str, usize, Value),
    /// A field holds a text that does not do: field, why, what was sent.
    Unfit(&'static str, &'static str, String),
    /// A field is no truth value: field, what was sent.
    NotAFlag(&'static str, Value),
    /// A field is of a type that may hold a truth value, and holds none: field, what was sent.
    NoFlagIn(&'static str, Value),
    /// There is no body.
    NoBody,
    /// The body is no JSON object: what was sent, if it was JSON.
    NotAnObject(Value),
    /// The body is no JSON: where the reader stopped, and why.
    NotJson(usize, String),
}

impl Complaint {
    fn to_json(&self) -> Value {
        match self {
            Self::Missing(field) => json!({
                "type": "missing", "loc": ["body", field], "msg": "Field required", "input": null,
            }),
            Self::Pattern(field, pattern, input) => json!({
                "type": "string_pattern_mismatch", "loc": ["body", field],
                "msg": format!("String should match pattern '{pattern}'"),
                "input": input, "ctx": {"pattern": pattern},
            }),
            Self::NotAnEmail(field, input) => json!({
                "type": "value_error", "loc": ["body", field],
                "msg": "value is not a valid email address", "input": input,
                "ctx": {"reason": "Not an e-mail address."},
            }),
            Self::NotText(field, input) => json!({
                "type": "string_type", "loc": ["body", field],
                "msg": "Input should be a valid string", "input": input,
            }),
            Self::NotAList(field, input) => json!({
                "type": "list_type", "loc": ["body", field],
                "msg": "Input should be a valid list", "input": input,
            }),
            Self::NotTextAt(field, at, input) => json!({
                "type": "string_type", "loc": ["body", field, at],
                "msg": "Input should be a valid string", "input": input,
            }),
            Self::Unfit(field, reason, input) => json!({
                "type": "value_error", "loc": ["body", field],
                "msg": format!("Value error, {reason}"), "input": input, "ctx": {"reason": reason},
            }),
            Self::NotAFlag(field, input) => json!({
                "type": "bool_type", "loc": ["body", field],
                "msg": "Input should be a valid boolean", "input": input,
            }),
            Self::NoFlagIn(field, input) => json!({
                "type": "bool_parsing", "loc": ["body", field],
                "msg": "Input should be a valid boolean, unable to interpret input", "input": input,
            }),
            Self::NoBody => json!({
                "type": "missing", "loc": ["body"], "msg": "Field required", "input": null,
            }),
            Self::NotAnObject(input) => json!({
                "type": "model_attributes_type", "loc": ["body"],
                "msg": "Input should be a valid dictionary or object to extract fields from",
                "input": input,
            }),
            Self::NotJson(at, reason) => json!({
                "type": "json_invalid", "loc": ["body", at], "msg": "JSON decode error",
                "input": {}, "ctx": {"error": reason},
            }),
        }
    }
}

/// 422 with everything that is wrong with a body.
pub(super) fn unprocessable(complaints: &[Complaint]) -> Failure {
    let list: Vec<_> = complaints.iter().map(Complaint::to_json).collect();
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY).detail(list)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::user::{Method, Profile, User};
    use crate::store::SessionKind;

    fn user() -> User {
        User {
            email: "Ann@example.com".into(),
            password_hash: Some("$argon2id$secret".into()),
            profile: Profile { first_name: Some("Ann".into()), ..Profile::default() },
            ..User::sample()
        }
    }

    fn session() -> Session {
        Session {
            id: [7; 32],
            method: Method::Password,
            kind: SessionKind::Cookie,
            created_at: Timestamp::from_seconds(1_700_000_000),
            idle: None,
            expires_at: Timestamp::from_seconds(1_700_003_600),
        }
    }

    #[test]
    fn a_user_is_written_as_fastapi_users_writes_it_and_without_the_hash() {
        let mut user = user();
        let text = serde_json::to_string(&UserBody::of(&Person::of(&user))).unwrap();
        assert_eq!(
            text,
            "{\"id\":\"00000000-0000-0000-0000-000000000001\",\"email\":\"Ann@example.com\",\
             \"is_active\":true,\"is_superuser\":false,\"is_verified\":true,\"first_name\":\"Ann\",\
             \"last_name\":null,\"organization\":null,\"department\":null,\"phone\":null}"
        );
        user.username = Some("ann".into());
        let text = serde_json::to_string(&UserBody::of(&Person::of(&user))).unwrap();
        assert!(text.ends_with("\"username\":\"ann\"}"));
    }

    #[test]
    fn a_session_says_who_and_until_when_in_utc() {
        let (user, roles) = (Person::of(&user()), ["staff".to_owned()]);
        let permissions = ["dashboard:read".to_owned()];
        let me = MeBody::new(&user, &roles, &permissions);
        let value = serde_json::to_value(SessionBody::new(me, &session())).unwrap();
        assert_eq!(value["authenticated"], true);
        assert_eq!(value["user"]["email"], "Ann@example.com");
        assert_eq!(value["user"]["roles"], json!(["staff"]));
        assert_eq!(value["user"]["permissions"], json!(["dashboard:read"]));
        assert_eq!(value["method"], "password");
        assert_eq!(value["signed_in_at"], "2023-11-14T22:13:20Z");
        assert_eq!(value["expires_at"], "2023-11-14T23:13:20Z");
    }

    #[test]
    fn a_422_lists_every_complaint_in_fastapis_shape() {
        let failure = unprocessable(&[
            Complaint::Pattern("grant_type", "^password$", "code".into()),
            Complaint::Missing("username"),
        ]);
        assert_eq!(failure.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            failure.detail,
            json!([
                {"type": "string_pattern_mismatch", "loc": ["body", "grant_type"],
                 "msg": "String should match pattern '^password$'", "input": "code",
                 "ctx": {"pattern": "^password$"}},
                {"type": "missing", "loc": ["body", "username"], "msg": "Field required",
                 "input": null},
            ])
        );
    }
}
