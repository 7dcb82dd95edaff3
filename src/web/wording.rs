//! What files of texts hold and what templates ask of them, read without rendering anything: so that a
//! text that is missing, unknown or given other values is found before a page needs it.

use std::collections::{BTreeMap, BTreeSet};

use fluent_bundle::FluentResource;
use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};

/// What is wrong with a file, and in which line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flaw {
    /// Counted from 1.
    pub(super) line: usize,
    /// One sentence, lower case, no full stop.
    pub(super) message: String,
}

/// A text of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wording {
    /// Counted from 1.
    pub(super) line: usize,
    /// The values it takes, by name.
    pub(super) values: BTreeSet<String>,
}

/// The texts of a file by key, and what is wrong with it: what does not parse, a key twice, a text that
/// says nothing.
pub(super) fn read_texts(source: &str) -> (BTreeMap<String, Wording>, Vec<Flaw>) {
    let mut flaws = Vec::new();
    let resource =
        FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, errors)| {
            flaws.extend(errors.iter().map(|error| Flaw {
                line: line_at(
                    source,
                    error.slice.as_ref().map_or(error.pos.start, |part| part.start),
                ),
                message: format!("is no text as Fluent has it: {error}"),
            }));
            resource
        });
    let mut texts = BTreeMap::new();
    for entry in resource.entries() {
        let Entry::Message(message) = entry else { continue };
        let key = message.id.name;
        let line = line_of(source, key);
        let Some(pattern) = &message.value else {
            flaws.push(Flaw { line, message: format!("{key:?} says nothing") });
            continue;
        };
        let mut values = BTreeSet::new();
        collect(pattern, &mut values);
        if texts.insert(key.to_owned(), Wording { line, values }).is_some() {
            flaws.push(Flaw { line, message: format!("{key:?} stands here twice") });
        }
    }
    (texts, flaws)
}

/// The names of the values a pattern takes.
fn collect(pattern: &Pattern<&str>, values: &mut BTreeSet<String>) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            collect_from(expression, values);
        }
    }
}

fn collect_from(expression: &Expression<&str>, values: &mut BTreeSet<String>) {
    match expression {
        Expression::Inline(inline) => collect_inline(inline, values),
        Expression::Select { selector, variants } => {
            collect_inline(selector, values);
            for variant in variants {
                collect(&variant.value, values);
            }
        }
    }
}

fn collect_inline(inline: &InlineExpression<&str>, values: &mut BTreeSet<String>) {
    match inline {
        InlineExpression::VariableReference { id } => {
            values.insert(id.name.to_owned());
        }
        InlineExpression::FunctionReference { arguments, .. }
        | InlineExpression::TermReference { arguments: Some(arguments), .. } => {
            for argument in &arguments.positional {
                collect_inline(argument, values);
            }
            for argument in &arguments.named {
                collect_inline(&argument.value, values);
            }
        }
        InlineExpression::Placeable { expression } => collect_from(expression, values),
        InlineExpression::StringLiteral { .. }
        | InlineExpression::NumberLiteral { .. }
        | InlineExpression::MessageReference { .. }
        | InlineExpression::TermReference { arguments: None, .. } => {}
    }
}

/// Something a template says: `t("key", name=…)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Call {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) values: BTreeSet<String>,
}

/// What a template says by keys written out.
pub(super) fn read_calls(template: &str) -> Vec<Call> {
    let starts = template.match_indices("t(\"").filter(|(at, _)| {
        let before = template.get(..*at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.')
    });
    let read = |at: usize| {
        let (key, rest) = template.get(at + 3..)?.split_once('"')?;
        let values = names_of(rest).collect();
        Some(Call { line: line_at(template, at), key: key.to_owned(), values })
    };
    starts.filter_map(|(at, _)| read(at)).collect()
}

/// The names that are given values up to the parenthesis that closes a call.
fn names_of(rest: &str) -> impl Iterator<Item = String> {
    let (mut depth, mut is_quoted, mut word) = (1_u32, false, String::new());
    let mut names = Vec::new();
    let mut characters = rest.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => continue,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '=' if depth == 1 && characters.peek() != Some(&'=') => names.push(word.clone()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else {
            word.clear();
        }
    }
    names.into_iter().filter(|name| !name.is_empty())
}

/// The line of a byte.
pub(super) fn line_at(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The line in which a text begins.
fn line_of(source: &str, key: &str) -> usize {
    let is_key =
        |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    source.lines().position(is_key).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::path::Path;

    use super::*;
    use crate::web::catalog::BUILT_IN;
    use crate::web::templates::TEMPLATES;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn texts_are_read_with_the_values_they_take() {
        let source = "a = Hello\nb = { $who ->\n  [x] { $one }\n *[y] { NUMBER($two) }\n }\n";
        let (texts, flaws) = read_texts(source);
        assert!(flaws.is_empty(), "{flaws:?}");
        assert_eq!(texts["a"], Wording { line: 1, values: names(&[]) });
        assert_eq!(texts["b"], Wording { line: 2, values: names(&["one", "two", "who"]) });
        for (source, line) in
            [("a = b\nc =\n", 2), ("a = b\n\nc = { $x\n", 3), ("a = b\na = c\n", 1)]
        {
            let (_, flaws) = read_texts(source);
            assert_eq!(flaws.first().map(|flaw| flaw.line), Some(line), "{source}: {flaws:?}");
        }
    }

    #[test]
    fn templates_are_read_for_what_they_say() {
        let template = "{{ t(\"a\") }}\n{{ f(t(\"b\", x=y|z(\"=)\"), w=1), q=2) }} set(\"c\") t(d)";
        let call = |line, key: &str, values: &[&str]| Call {
            line,
            key: key.to_owned(),
            values: names(values),
        };
        assert_eq!(read_calls(template), [call(1, "a", &[]), call(2, "b", &["w", "x"])]);
    }

    /// Every `Text::of("…")` of a source file, with the names that `.with("…", …)` gives right after it.
    fn read_code(source: &str) -> Vec<Call> {
        let starts = source.match_indices("Text::of(");
        let read = |at: usize| {
            let rest = source.get(at + "Text::of(".len()..)?.trim_start().strip_prefix('"')?;
            let (key, mut rest) = rest.split_once('"')?;
            rest = rest.trim_start_matches([',', ' ', '\n']).strip_prefix(')')?;
            let mut values = BTreeSet::new();
            while let Some(given) = rest.trim_start().strip_prefix(".with(") {
                let (name, after) = given.trim_start().strip_prefix('"')?.split_once('"')?;
                values.insert(name.to_owned());
                let mut depth = 1;
                let end = after.find(|c| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                })?;
                rest = after.get(end + 1..)?;
            }
            Some(Call { line: line_at(source, at), key: key.to_owned(), values })
        };
        starts.filter_map(|(at, _)| read(at)).collect()
    }

    fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                // What tests say is no page's.
                let code = source.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                found.push((path.display().to_string(), code));
            }
        }
    }

    #[test]
    fn every_text_is_there_in_every_language_with_the_values_it_is_given_and_none_is_unused() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let in_code = files.iter().flat_map(|(name, source)| {
            read_code(source).into_iter().map(move |call| (name.clone(), call))
        });
        let in_templates = TEMPLATES.iter().flat_map(|(name, source)| {
            read_calls(source).into_iter().map(move |call| ((*name).to_owned(), call))
        });
        let calls: Vec<_> = in_code.chain(in_templates).collect();
        assert!(calls.len() > 100, "only {} uses found", calls.len());
        let mut wrong = Vec::new();
        for (language, source) in BUILT_IN {
            let (texts, flaws) = read_texts(source);
            wrong.extend(flaws.iter().map(|flaw| format!("{language:?}: {flaw:?}")));
            for (name, call) in &calls {
                match texts.get(&call.key) {
                    None => wrong.push(format!("{language:?} lacks {:?} of {name}", call.key)),
                    Some(text) if text.values != call.values => wrong.push(format!(
                        "{name}:{} gives {:?} the values {:?}, {language:?} takes {:?}",
                        call.line, call.key, call.values, text.values
                    )),
                    Some(_) => {}
                }
            }
            let used: BTreeSet<&str> = calls.iter().map(|(_, call)| call.key.as_str()).collect();
            let unused = texts.keys().filter(|key| !used.contains(key.as_str()));
            // Each language says its own name in the menu.
            let unused = unused.filter(|key| *key != "language-name");
            wrong.extend(unused.map(|key| format!("{language:?}: nothing says {key:?}")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
