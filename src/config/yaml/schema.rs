//! Our own JSON Schema: made from the types, published for editors, and checked against.
//!
//! What is checked is the tree after replacement, against the schema as the types say it. What is
//! published takes a string holding `${` as well wherever a number, a boolean, a choice or text of
//! some pattern is asked for.

use std::sync::OnceLock;

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::fault::{Fault, FaultKind, faults_in, property_names};
use super::tree::{At, Flaw, Node, Scalar, Step, Value};
use super::{Included, Main};

/// Which schema a file is held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The file `-c` names.
    Main,
    /// A file that `include` names.
    Included,
}

struct Compiled {
    schema: Json,
    validator: Option<Validator>,
}

fn compiled(kind: Kind) -> &'static Compiled {
    static MAIN: OnceLock<Compiled> = OnceLock::new();
    static INCLUDED: OnceLock<Compiled> = OnceLock::new();
    let cell = match kind {
        Kind::Main => &MAIN,
        Kind::Included => &INCLUDED,
    };
    cell.get_or_init(|| {
        let schema = schema_of(kind);
        // A schema of ours that does not compile would be found by every test; see `check`.
        let validator = jsonschema::validator_for(&schema).ok();
        Compiled { schema, validator }
    })
}

fn schema_of(kind: Kind) -> Json {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match kind {
        Kind::Main => generator.into_root_schema_for::<Main>(),
        Kind::Included => generator.into_root_schema_for::<Included>(),
    };
    let mut schema = schema.to_value();
    drop_formats(&mut schema);
    schema
}

/// Number formats such as `uint32` say nothing that the bounds do not say, and validators warn.
fn drop_formats(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            if members.get("type").is_some_and(Json::is_string) {
                members.remove("format");
            }
            members.values_mut().for_each(drop_formats);
        }
        Json::Array(items) => items.iter_mut().for_each(drop_formats),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// The schema for editors, as the file beside the reference configuration holds it.
#[must_use]
pub(crate) fn published() -> String {
    let mut schema = schema_of(Kind::Main);
    if let Json::Object(root) = &mut schema {
        root.insert("title".into(), "Configuration of the Portcullis gateway".into());
        take_variables(root);
    }
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Lets a string that holds `${` stand wherever a scalar's spelling is restricted.
fn take_variables(schema: &mut Map<String, Json>) {
    let is_scalar = schema.contains_key("enum")
        || schema.contains_key("const")
        || schema.contains_key("pattern")
        || schema.contains_key("maxLength")
        || schema.get("type").is_some_and(names_number_or_bool);
    if is_scalar {
        let mut strict = Map::new();
        for key in ["type", "enum", "const", "pattern", "maxLength", "minimum", "maximum"] {
            if let Some(value) = schema.remove(key) {
                strict.insert(key.into(), value);
            }
        }
        let variable = json!({ "type": "string", "pattern": r"\$\{" });
        schema.insert("anyOf".into(), Json::Array(vec![Json::Object(strict), variable]));
        return;
    }
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            // Keys never hold variables.
            ("propertyNames", _)
            | (_, Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => {}
            ("properties" | "$defs", Json::Object(members)) => {
                members.values_mut().filter_map(Json::as_object_mut).for_each(take_variables);
            }
            (_, Json::Object(below)) => take_variables(below),
            (_, Json::Array(items)) => {
                items.iter_mut().filter_map(Json::as_object_mut).for_each(take_variables);
            }
        }
    }
}

fn names_number_or_bool(types: &Json) -> bool {
    let is_one = |name: &Json| matches!(name.as_str(), Some("integer" | "number" | "boolean"));
    is_one(types) || types.as_array().is_some_and(|names| names.iter().any(is_one))
}

/// Reads replaced scalars as their fields' types, reports everything that does not fit the schema,
/// and takes what does not fit out of the tree, so that the rest can be read.
///
/// `None` when nothing is left to read.
pub(crate) fn check(root: &mut Node, kind: Kind, flaws: &mut Vec<Flaw>) -> Option<()> {
    let compiled = compiled(kind);
    let Some(validator) = &compiled.validator else {
        flaws.push(Flaw::new(root.at, String::new(), "the built-in schema does not compile"));
        return None;
    };
    let mut faults = faults_of(root, compiled, validator);
    while read_as_plain(root, &faults) {
        faults = faults_of(root, compiled, validator);
    }
    for fault in &mut faults {
        if kind == Kind::Included {
            name_main_only(fault);
        }
        flaws.push(fault.flaw(root));
    }
    // What goes may leave something behind that lacks it: a consequence, not a further mistake.
    while !faults.is_empty() {
        let mut has_gone = false;
        for fault in &faults {
            let gone = match &fault.kind {
                FaultKind::UnknownKey(key) => fault.at.key(key),
                FaultKind::MissingKey(_) | FaultKind::Value => fault.at.clone(),
            };
            // It may lie below what has gone already.
            if let Some(node) = root.find_mut(&gone) {
                node.value = if is_rule_of_route(&gone) { any_rule() } else { Value::Hole };
                has_gone = true;
            }
        }
        if !has_gone || matches!(root.value, Value::Hole) {
            return None;
        }
        root.drop_holes();
        faults = faults_of(root, compiled, validator);
    }
    Some(())
}

/// Whether a place is the `allow` of a route.
fn is_rule_of_route(at: &At) -> bool {
    matches!(
        at.steps(),
        [Step::Key(routes), Step::Item(_), Step::Key(allow)] if routes == "routes" && allow == "allow"
    )
}

/// Stands for a rule that was refused: without one its route would go as well, and with it what else
/// is wrong with the route and its place. The file is refused all the same.
fn any_rule() -> Value {
    Value::Scalar(Scalar {
        text: "authenticated".to_owned(),
        is_plain: true,
        variables: Vec::new(),
        as_plain: false,
    })
}

/// Says of a key of the main file that an included one may not hold it.
fn name_main_only(fault: &mut Fault) {
    if let (true, FaultKind::UnknownKey(key)) = (fault.at.steps().is_empty(), &fault.kind)
        && property_names(Some(&compiled(Kind::Main).schema)).contains(&key.as_str())
    {
        fault.suggestion = None;
        fault.message = String::from(
            "only the main file may say this: an included one holds routes, upstreams and roles",
        );
    }
}

/// Turns replaced scalars that do not fit as text to what they mean without quotes. Whether any
/// turned.
fn read_as_plain(root: &mut Node, faults: &[Fault]) -> bool {
    let mut has_turned = false;
    for fault in faults.iter().filter(|fault| matches!(fault.kind, FaultKind::Value)) {
        if let Some(Node { value: Value::Scalar(scalar), .. }) = root.find_mut(&fault.at)
            && scalar.is_replaced()
            && !scalar.as_plain
        {
            scalar.as_plain = true;
            has_turned = true;
        }
    }
    has_turned
}

fn faults_of(root: &Node, compiled: &Compiled, validator: &Validator) -> Vec<Fault> {
    // Numbers that JSON cannot hold do not come out of the tree, so this does not fail.
    let instance = serde_json::to_value(root.to_yaml()).unwrap_or_default();
    let mut faults = Vec::new();
    for error in validator.iter_errors(&instance) {
        faults.extend(faults_in(&error, &compiled.schema));
    }
    faults.sort_by(|a, b| a.at.cmp(&b.at));
    faults.dedup_by(|a, b| a.at == b.at && a.kind == b.kind);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(schema: &Json, found: &mut Vec<String>) {
        match schema {
            Json::Object(members) => {
                found.extend(members.get("pattern").and_then(Json::as_str).map(str::to_owned));
                members.values().for_each(|below| patterns(below, found));
            }
            Json::Array(items) => items.iter().for_each(|item| patterns(item, found)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    /// A set of all characters but a few takes some thirty states, as often as it is counted; what is
    /// compiled stays in memory.
    #[test]
    fn no_pattern_counts_characters_of_all_of_unicode() {
        let mut found = Vec::new();
        for kind in [Kind::Main, Kind::Included] {
            patterns(&schema_of(kind), &mut found);
        }
        assert!(found.len() > 20);
        for pattern in found {
            for (at, _) in pattern.match_indices("[^") {
                let set = &pattern[at + 2..];
                let mut is_escaped = false;
                let end = set.find(|c| {
                    let closes = c == ']' && !is_escaped;
                    is_escaped = c == '\\' && !is_escaped;
                    closes
                });
                let rest = end.map_or("", |end| &set[end + 1..]);
                assert!(!rest.starts_with('{'), "{pattern}");
            }
        }
    }
}
