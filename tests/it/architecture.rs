//! The rules of `ARCHITECTURE.md` that neither the compiler nor a lint can hold, checked over the
//! sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order in which they may know each other: each only those before it.
const ORDER: [&str; 16] = [
    "clock",
    "telemetry",
    "web",
    "config",
    "identity",
    "store",
    "limit",
    "session",
    "policy",
    "mail",
    "accounts",
    "proxy",
    "portal",
    "api",
    "server",
    "cli",
];

/// Modules that do not know each other although one stands before the other.
const STRANGERS: [&str; 3] = ["proxy", "portal", "api"];

/// One source file: its path below `src`, the module it belongs to, its lines.
struct Source {
    path: String,
    module: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let directory = root().join("src");
    let read = |path: PathBuf| {
        let below = path.strip_prefix(&directory).unwrap().to_string_lossy().into_owned();
        let module = below.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        Source { path: below, module, text: fs::read_to_string(&path).unwrap() }
    };
    let all: Vec<_> = files_below(&directory, "rs").into_iter().map(read).collect();
    assert!(all.len() > ORDER.len(), "the sources were not found");
    all
}

/// The code of a line: no comment, and nothing for a line that is one.
fn code(line: &str) -> &str {
    let line = line.trim_start();
    if line.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or(line) }
}

/// The lines before the file's test module.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]")
}

/// Every module of the crate that a text names after `crate::`, also inside braces.
fn named_modules(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let code: String = text.lines().map(code).collect::<Vec<_>>().join("\n");
    for rest in code.split("crate::").skip(1) {
        let found = match rest.strip_prefix('{') {
            Some(list) => top_level_names(list),
            None => vec![leading_name(rest)],
        };
        named.extend(found.into_iter().filter(|name| ORDER.contains(&name.as_str())));
    }
    named
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first segments of a braced import list: of `a::{b, c}, d}` they are `a` and `d`.
fn top_level_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut current) = (0_usize, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut current)),
            _ if depth == 0 => current.push(c),
            _ => {}
        }
    }
    names.push(current);
    names.iter().map(|name| leading_name(name.trim())).collect()
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn an_import_list_is_read_at_every_depth() {
    let text =
        "use crate::{web::{page, form}, store::Store};\n// crate::cli\nlet x = crate::api::y();";
    let found: Vec<_> = named_modules(text).into_iter().collect();
    assert_eq!(found, ["api", "store", "web"]);
}

#[test]
fn a_module_imports_only_from_modules_above_it() {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let mut broken = Vec::new();
    for source in sources() {
        if matches!(source.module.as_str(), "lib" | "main") {
            continue;
        }
        let own = place(&source.module);
        assert!(own.is_some(), "{} belongs to no module of the order", source.path);
        for named in named_modules(&source.text) {
            if place(&named) > own {
                broken.push(format!("{} names crate::{named}", source.path));
            }
        }
    }
    assert_none(&broken, "the order of modules is the law");
}

#[test]
fn the_crate_declares_its_modules_in_the_order_of_the_law() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<_> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, ORDER);
}

#[test]
fn the_three_ways_to_answer_do_not_know_each_other() {
    let mut broken = Vec::new();
    for source in sources() {
        if !STRANGERS.contains(&source.module.as_str()) {
            continue;
        }
        for named in named_modules(&source.text) {
            if named != source.module && STRANGERS.contains(&named.as_str()) {
                broken.push(format!("{} names crate::{named}", source.path));
            }
        }
    }
    assert_none(&broken, "proxy, portal and api do not know each other");
}

#[test]
fn policy_never_awaits() {
    let mut broken = Vec::new();
    for source in sources().into_iter().filter(|source| source.module == "policy") {
        for (number, line) in shipped(&source.text) {
            if code(line).contains("async ") || code(line).contains(".await") {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "policy is pure and synchronous");
}

#[test]
fn the_proxy_reaches_the_database_through_sessions_only() {
    let mut broken = Vec::new();
    for source in sources().into_iter().filter(|source| source.module == "proxy") {
        if shipped(&source.text).any(|(_, line)| code(line).contains("crate::store")) {
            broken.push(source.path);
        }
    }
    assert_none(&broken, "proxy does not name store");
}

#[test]
fn sql_stands_in_the_store_alone() {
    const STATEMENTS: [&str; 8] = [
        "\"SELECT ",
        "\"INSERT INTO ",
        "\"UPDATE ",
        "\"DELETE FROM ",
        "\"CREATE TABLE ",
        "\"ALTER TABLE ",
        "\"DROP TABLE ",
        "\"PRAGMA ",
    ];
    let mut broken = Vec::new();
    for source in sources().into_iter().filter(|source| source.module != "store") {
        for (number, line) in shipped(&source.text) {
            let code = code(line);
            if code.contains("sqlx::") || STATEMENTS.iter().any(|word| code.contains(word)) {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "only store holds SQL");
}

#[test]
fn only_one_module_knows_that_the_format_is_yaml() {
    let mut broken = Vec::new();
    for source in sources() {
        if source.path == "config/yaml.rs" || source.path.starts_with("config/yaml/") {
            continue;
        }
        for (number, line) in shipped(&source.text) {
            if ["serde_yaml", "granit_parser"].iter().any(|word| code(line).contains(word)) {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "only config::yaml knows the format");
}

#[test]
fn every_error_answer_is_made_by_failure() {
    // Whoever sets such a status on an answer of its own goes past `web::Failure`. Comparing with
    // one, or handing one to `Failure::new`, is what everybody may do.
    let mut broken = Vec::new();
    for source in sources() {
        if source.module == "web" {
            continue;
        }
        for (number, line) in shipped(&source.text) {
            let code = code(line);
            let sets = [".status(", "status_mut() =", "Response::builder().status("]
                .iter()
                .any(|word| code.contains(word));
            let error = ["StatusCode::INTERNAL", "StatusCode::BAD_", "StatusCode::NOT_FOUND"]
                .iter()
                .chain(&["StatusCode::FORBIDDEN", "StatusCode::UNAUTHORIZED", "(4", "(5"])
                .any(|word| code.contains(word));
            if sets && error {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "error pages and bodies are made by web::Failure");
}

#[test]
fn exceptions_from_lints_are_expectations_with_a_reason() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let line = code(line);
            if line.contains("#[allow(") || line.contains("#![allow(") {
                broken.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    assert_none(&broken, "#[expect(lint, reason = …)] instead of #[allow]");
}

#[test]
fn no_module_is_named_after_nothing() {
    const EMPTY: [&str; 8] =
        ["util", "utils", "common", "helpers", "core", "types", "models", "manager"];
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|source| {
            source.path.split('/').any(|part| EMPTY.contains(&part.trim_end_matches(".rs")))
        })
        .map(|source| source.path)
        .collect();
    assert_none(&broken, "a module is named after what it is responsible for");
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    const LIMIT: usize = 600;
    let mut broken = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            broken.push(format!("{} does not begin with //!", source.path));
        }
        let lines = shipped(&source.text).count();
        if lines > LIMIT {
            broken.push(format!("{} has {lines} lines before its tests", source.path));
        }
    }
    assert_none(&broken, "a file holds one job");
}

#[test]
fn the_binary_is_thin() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() <= 20, "src/main.rs has more than 20 lines");
}

#[test]
fn every_module_of_the_order_is_explained_in_the_architecture() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing = ORDER.iter().filter(|name| !page.contains(&format!("`{name}`")));
    let broken: Vec<_> = missing.map(ToString::to_string).collect();
    assert_none(&broken, "ARCHITECTURE.md names every module");
}

fn is_source(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|end| end == "rs")
}

/// Paths that a page names: words with a slash in them that end as a source file does.
fn named_files(page: &str) -> BTreeSet<&str> {
    let words = page.split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')' | ',' | ';'));
    words.filter(|word| word.contains('/') && is_source(word)).collect()
}

/// The file of a path as the page writes it: below `src`, or from the root.
fn read_named(path: &str) -> Option<String> {
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    read(root().join("src").join(path)).or_else(|| read(root().join(path)))
}

/// Whether a file defines what the chart names: `step()`, `Type::step()` or `Type`.
fn defines(text: &str, name: &str) -> bool {
    let (of, step) = name.split_once("::").unwrap_or(("", name));
    let Some(step) = step.strip_suffix("()") else {
        return text.contains(&format!("struct {name}")) || text.contains(&format!("enum {name}"));
    };
    let has_step = ["(", "<"].iter().any(|next| text.contains(&format!("fn {step}{next}")));
    has_step && (of.is_empty() || text.contains(&format!("impl {of} ")))
}

#[test]
fn every_file_and_step_that_the_architecture_names_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing = |path: &&str| read_named(path).is_none();
    let mut broken: Vec<_> =
        named_files(&page).into_iter().filter(missing).map(str::to_owned).collect();
    let chart = page.split("```").nth(1).unwrap();
    let mut steps = 0;
    for line in chart.lines() {
        let mut words = line.split_whitespace().skip_while(|word| !is_source(word));
        let (Some(path), Some(name)) = (words.next(), words.next()) else { continue };
        steps += 1;
        if !read_named(path).is_some_and(|text| defines(&text, name)) {
            broken.push(format!("{path}: {name}"));
        }
    }
    assert!(steps > 20, "{steps} steps in the chart");
    assert_none(&broken, "ARCHITECTURE.md names what there is");
}
