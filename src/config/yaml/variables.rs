//! `${NAME}`, `${NAME:-default}` and `$$`: replaced once, in scalar values only, after parsing.
//!
//! What is put in is never parsed again, neither as YAML nor for further variables, so a value can
//! change nothing but the scalar it stands in. Messages name the variable, never its value.

use super::tree::{At, Flaw, Node, Value};
use crate::config::Environment;

/// Replaces variables everywhere in a tree. A scalar that cannot be replaced becomes a hole.
pub(crate) fn replace(root: &mut Node, env: &dyn Environment, flaws: &mut Vec<Flaw>) {
    visit(root, &At::default(), env, flaws);
}

fn visit(node: &mut Node, at: &At, env: &dyn Environment, flaws: &mut Vec<Flaw>) {
    match &mut node.value {
        Value::Hole => {}
        Value::Scalar(scalar) => match expand(&scalar.text, env) {
            Ok(Some(expanded)) => {
                scalar.text = expanded.text;
                scalar.variables = expanded.variables;
            }
            Ok(None) => {}
            Err(message) => {
                flaws.push(Flaw::new(node.at, at.to_string(), message));
                node.value = Value::Hole;
            }
        },
        Value::List(items) => {
            for item in items {
                visit(&mut item.node, &at.item(item.index), env, flaws);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                visit(&mut entry.node, &at.key(&entry.key), env, flaws);
            }
        }
    }
}

struct Expanded {
    text: String,
    variables: Vec<String>,
}

/// `None` when there is nothing to replace.
fn expand(text: &str, env: &dyn Environment) -> Result<Option<Expanded>, String> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut expanded = Expanded { text: String::with_capacity(text.len()), variables: Vec::new() };
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                return Err("`${` without `}`; a plain `${` is written `$${`".to_owned());
            };
            let (name, value) = value(&after[..end], env)?;
            expanded.text.push_str(&value);
            expanded.variables.push(name.to_owned());
            rest = &after[end + 1..];
        } else {
            expanded.text.push('$');
        }
    }
    expanded.text.push_str(rest);
    Ok(Some(expanded))
}

fn value<'a>(reference: &'a str, env: &dyn Environment) -> Result<(&'a str, String), String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(
            "expected `${NAME}` or `${NAME:-default}`; a plain `${` is written `$${`".into()
        );
    }
    let value = match (env.get(name), default) {
        // As in shells and compose files, `:-` stands in for an empty variable too.
        (Some(value), Some(default)) if value.is_empty() => default.to_owned(),
        (Some(value), _) => value,
        (None, Some(default)) => default.to_owned(),
        (None, None) => return Err(format!("the environment variable {name} is not set")),
    };
    Ok((name, value))
}
