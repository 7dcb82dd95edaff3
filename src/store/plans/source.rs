//! The statements that stand in the source, so that none is forgotten.

use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// What makes a text of the source a part of a statement.
const WORDS: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "FROM", "WHERE", "ORDER"];

/// Statements about no table of ours.
const ELSEWHERE: [&str; 3] = ["sqlite_master", "to_regclass", "pg_advisory_xact_lock"];

/// Files that hold no statements about tables of ours: these tests, and what reads another program's.
const FOREIGN: [&str; 2] = ["plans.rs", "foreign.rs"];

/// The parts of statements in the source of the store, tests left out. A statement put together by
/// `concat!` is several.
pub(super) fn fragments() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && !FOREIGN.iter().any(|other| path.ends_with(other))
        {
            let text = std::fs::read_to_string(path).unwrap();
            let shipped = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
            found.extend(literals(shipped).into_iter().filter(|text| is_statement(text)));
        }
    }
    found
}

fn is_statement(text: &str) -> bool {
    let has_word =
        text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word));
    has_word && !ELSEWHERE.iter().any(|other| text.contains(other))
}

/// The string literals of a Rust text, as they are meant.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '/' if rest.peek() == Some(&'/') => {
                rest.by_ref().find(|character| *character == '\n');
            }
            // A character, so that a quotation mark in one begins nothing.
            '\'' => {
                let _escaped = rest.next().filter(|next| *next == '\\').and_then(|_| rest.next());
            }
            '"' => found.push(literal(&mut rest)),
            _ => {}
        }
    }
    found
}

/// What is left of a literal behind its first quotation mark.
fn literal(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = rest.next() {
        match character {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') => while rest.next_if(|next| next.is_whitespace()).is_some() {},
                Some(escaped) => text.push(escaped),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}
