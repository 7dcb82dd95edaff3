//! What does not fit the schema, said for people: where, what was expected, the nearest spelling.
//!
//! A value that fits none of several branches is told what the branch it means would have wanted.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{JsonType, ValidationError};
use serde_json::{Value as Json, json};

use super::tree::{At, Flaw, Node, Step};
use crate::config::nearest::nearest;

/// One thing that does not fit.
pub(super) struct Fault {
    pub(super) at: At,
    pub(super) kind: FaultKind,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
    fit: Fit,
}

/// How far from fitting the value is, which tells which of several branches is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Of another type than this branch takes.
    OtherType,
    /// Of the right type, spelled wrong.
    Misspelt,
    /// A list or map of the right type; what is wrong is what it holds.
    Members,
}

#[derive(PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A key that is not there in the schema.
    UnknownKey(String),
    /// A key that must be there.
    MissingKey(String),
    /// The value itself.
    Value,
}

impl Fault {
    pub(super) fn flaw(&self, root: &Node) -> Flaw {
        let (position, path) = root.resolve(&self.at);
        let mut flaw = Flaw::new(position, path, self.message.clone());
        if let FaultKind::UnknownKey(key) = &self.kind {
            let (position, path) = root.resolve_key(&self.at, key);
            flaw = Flaw::new(position, path, self.message.clone());
        }
        flaw.suggestion.clone_from(&self.suggestion);
        flaw
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the validator's enum, one variant a keyword")]
pub(super) fn faults_in(error: &ValidationError<'_>, schema: &Json) -> Vec<Fault> {
    let at = place(error);
    let parent = parent(error, schema);
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            faults_of_branches(at, parent, context, schema)
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = || property_names(parent);
            unexpected
                .iter()
                .map(|key| Fault {
                    at: at.clone(),
                    kind: FaultKind::UnknownKey(key.clone()),
                    message: unknown_key(key, parent),
                    suggestion: nearest(key, known()),
                    fit: Fit::Members,
                })
                .collect()
        }
        ValidationErrorKind::PropertyNames { error: inner } => {
            let key = inner.instance().as_str().unwrap_or_default().to_owned();
            let expected = title_of(self::parent(inner, schema)).unwrap_or("another name");
            let message = format!("`{key}` is not allowed as a name: expected {expected}");
            let kind = FaultKind::UnknownKey(key);
            vec![Fault { at, kind, message, suggestion: None, fit: Fit::Members }]
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default().to_owned();
            let message = format!("`{key}` is missing");
            let kind = FaultKind::MissingKey(key);
            vec![Fault { at, kind, message, suggestion: None, fit: Fit::Members }]
        }
        kind => {
            let suggestion = nearest_choice(error, parent);
            let fit = match kind {
                ValidationErrorKind::Type { .. } => Fit::OtherType,
                ValidationErrorKind::Enum { .. } if !error.instance().is_string() => Fit::OtherType,
                ValidationErrorKind::MinProperties { .. }
                | ValidationErrorKind::MinItems { .. }
                | ValidationErrorKind::MaxItems { .. } => Fit::Members,
                _ => Fit::Misspelt,
            };
            let message = describe(error, parent);
            vec![Fault { at, kind: FaultKind::Value, message, suggestion, fit }]
        }
    }
}

fn unknown_key(key: &str, parent: Option<&Json>) -> String {
    if property_names(parent) == ["optional"] {
        "nothing may stand beside `optional`".to_owned()
    } else if key == "optional" {
        "unknown key: `optional` may stand in `allow` only, with nothing beside it".to_owned()
    } else {
        "unknown key".to_owned()
    }
}

/// Of several branches the one that is meant: of the value's type, and with fewest faults.
fn faults_of_branches(
    at: At,
    parent: Option<&Json>,
    context: &[Vec<ValidationError<'static>>],
    schema: &Json,
) -> Vec<Fault> {
    let mut branches: Vec<Vec<Fault>> = context
        .iter()
        .map(|errors| errors.iter().flat_map(|error| faults_in(error, schema)).collect())
        .collect();
    let suggestion = branches
        .iter()
        .flatten()
        .filter(|fault| fault.at == at)
        .find_map(|fault| fault.suggestion.clone());
    let first =
        branches.first().and_then(|faults| faults.first()).map(|fault| fault.message.clone());
    branches.retain(|faults: &Vec<Fault>| {
        !faults.iter().any(|fault| fault.at == at && fault.fit == Fit::OtherType)
    });
    let fit = if branches.is_empty() { Fit::OtherType } else { Fit::Misspelt };
    // A key that must be there tells branches apart more than keys that are not known.
    let weight = |faults: &Vec<Fault>| {
        let missing =
            faults.iter().filter(|fault| matches!(fault.kind, FaultKind::MissingKey(_))).count();
        faults.len() + 8 * missing
    };
    let best = branches.into_iter().min_by_key(weight).unwrap_or_default();
    let is_about_members = best.iter().any(|fault| fault.at != at || fault.fit == Fit::Members);
    let title = title_of(parent);
    if is_about_members || (title.is_none() && !best.is_empty()) {
        return best;
    }
    let message = match (title, first) {
        (Some(title), _) => format!("expected {title}"),
        (None, first) => first.unwrap_or_else(|| "expected something else".to_owned()),
    };
    vec![Fault { at, kind: FaultKind::Value, message, suggestion, fit }]
}

fn place(error: &ValidationError<'_>) -> At {
    error
        .instance_path()
        .iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => Step::Key(name.into_owned()),
            LocationSegment::Index(index) => Step::Item(index),
        })
        .collect()
}

/// The schema object whose keyword failed.
fn parent<'a>(error: &ValidationError<'_>, schema: &'a Json) -> Option<&'a Json> {
    let pointer = error.schema_path().as_str();
    let end = pointer.rfind('/')?;
    schema.pointer(&pointer[..end])
}

fn title_of(schema: Option<&Json>) -> Option<&str> {
    schema?.get("title")?.as_str()
}

pub(super) fn property_names(schema: Option<&Json>) -> Vec<&str> {
    schema
        .and_then(|schema| schema.get("properties"))
        .and_then(Json::as_object)
        .map(|members| members.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

fn nearest_choice(error: &ValidationError<'_>, parent: Option<&Json>) -> Option<String> {
    let written = error.instance().as_str()?;
    let words = parent?.get("enum")?.as_array()?;
    nearest(written, words.iter().filter_map(Json::as_str))
}

/// What was expected. The value itself is never shown: it may be a secret, or a variable's.
#[expect(clippy::wildcard_enum_match_arm, reason = "the validator's enum, one variant a keyword")]
fn describe(error: &ValidationError<'_>, parent: Option<&Json>) -> String {
    if let Some(title) = title_of(parent) {
        let hint = if fits_in_quotes(error.instance(), parent) { " (in quotes)" } else { "" };
        return format!("expected {title}{hint}");
    }
    match error.kind() {
        ValidationErrorKind::Enum { options } => {
            let words: Vec<String> = options
                .as_array()
                .map(|words| words.iter().map(ToString::to_string).collect())
                .unwrap_or_default();
            format!("expected one of {}", words.join(", "))
        }
        ValidationErrorKind::Type { kind } => format!("expected {}", type_names(kind)),
        ValidationErrorKind::MinItems { .. } | ValidationErrorKind::MinProperties { .. } => {
            "may not be empty".to_owned()
        }
        ValidationErrorKind::MaxItems { limit } => format!("takes at most {limit} items"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        other => format!("does not fit the schema ({})", other.keyword()),
    }
}

/// Whether a number or a boolean would do if it were text.
fn fits_in_quotes(instance: &Json, schema: Option<&Json>) -> bool {
    let (Some(schema), true) = (schema, instance.is_number() || instance.is_boolean()) else {
        return false;
    };
    let asks_for_text = schema.get("type") == Some(&json!("string"));
    asks_for_text && jsonschema::is_valid(schema, &Json::String(instance.to_string()))
}

fn type_names(kind: &TypeKind) -> String {
    let name = |json_type: JsonType| match json_type {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "a map",
        JsonType::String => "text",
    };
    match kind {
        TypeKind::Single(one) => name(*one).to_owned(),
        TypeKind::Multiple(several) => {
            let names: Vec<&str> = several.iter().map(name).collect();
            names.join(" or ")
        }
    }
}
