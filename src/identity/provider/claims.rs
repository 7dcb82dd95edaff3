//! What providers say of people, cut to what can be kept and shown. Pure.

use serde_json::{Map, Value};

use super::token::is_id;
use crate::config::FieldMap;
use crate::identity::user::{Profile, normalise_email};
use crate::web::json;

/// Characters of a name at most.
const MAX_NAME: usize = 100;
/// Bytes of a subject at most.
const MAX_SUBJECT: usize = 255;
/// Groups of one person that are looked at, at most: tokens of more do not fit anywhere.
const MAX_GROUPS: usize = 5_000;
/// Characters of a group's name at most; longer ones can stand in no configuration.
const MAX_GROUP: usize = 200;

/// A person as an object of claims tells of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    pub(super) email_is_verified: bool,
    pub(super) profile: Profile,
    pub(super) groups: Vec<String>,
}

/// The standard claims (OpenID Connect Core 1.0 section 5.1), the ID token's before the userinfo
/// answer's. E-mail and whether it is verified come from the same source: half of each would be a lie.
pub(super) fn standard(
    id_token: &Map<String, Value>,
    userinfo: Option<&Map<String, Value>>,
    groups: Option<&str>,
) -> Person {
    let sources: Vec<_> = [Some(id_token), userinfo].into_iter().flatten().collect();
    let text = |name: &str| sources.iter().find_map(|source| shown(source.get(name)));
    let says_email = |source: &&&Map<String, Value>| source.contains_key("email");
    let says_both = |source: &&&Map<String, Value>| {
        source.contains_key("email") && source.contains_key("email_verified")
    };
    let by = sources.iter().find(says_both).or_else(|| sources.iter().find(says_email));
    let first_name = text("given_name");
    let last_name = text("family_name");
    let whole = if first_name.is_none() && last_name.is_none() { text("name") } else { None };
    let groups = groups.and_then(|path| sources.iter().find_map(|source| json::find(source, path)));
    Person {
        email: by.and_then(|source| email(source.get("email"))),
        email_is_verified: by.is_some_and(|source| is_true(source.get("email_verified"))),
        profile: Profile { first_name: first_name.or(whole), last_name, ..Profile::default() },
        groups: self::groups(groups),
    }
}

/// What a field map finds.
pub(super) fn mapped(
    answer: &Map<String, Value>,
    fields: &FieldMap,
    groups: Option<&str>,
) -> Person {
    let at = |path: &Option<String>| path.as_ref().and_then(|path| json::find(answer, path));
    Person {
        email: email(at(&fields.email)),
        email_is_verified: is_true(at(&fields.email_verified)),
        profile: Profile {
            first_name: shown(at(&fields.first_name)),
            last_name: shown(at(&fields.last_name)),
            ..Profile::default()
        },
        groups: self::groups(groups.and_then(|path| json::find(answer, path))),
    }
}

/// The boolean true. The text, the number, and what else means yes somewhere, do not.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true))
}

/// An e-mail address, if it is one.
pub(super) fn email(value: Option<&Value>) -> Option<String> {
    normalise_email(value?.as_str()?).ok()
}

/// An id that never changes: text, or a whole number as text.
pub(super) fn subject(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return None;
        }
    };
    is_id(&text, MAX_SUBJECT).then_some(text)
}

/// A name as it may be kept and shown: without control characters, cut; `None` where nothing is left.
pub(super) fn shown(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?.trim();
    let kept: String = text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    let kept = kept.trim_end();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// Names of groups: a list of texts, or one text.
pub(super) fn groups(value: Option<&Value>) -> Vec<String> {
    let is_name = |text: &&str| {
        !text.is_empty() && text.chars().count() <= MAX_GROUP && !text.chars().any(char::is_control)
    };
    match value {
        Some(Value::String(one)) => {
            Some(one.as_str()).filter(is_name).map(str::to_owned).into_iter().collect()
        }
        Some(Value::Array(several)) => several
            .iter()
            .take(MAX_GROUPS)
            .filter_map(Value::as_str)
            .filter(is_name)
            .map(str::to_owned)
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}
