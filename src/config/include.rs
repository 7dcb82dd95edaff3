//! `include`: patterns of file names, of which the last part may hold `*`.

use std::path::{Path, PathBuf};

/// Most files that one pattern may name.
const MAX_FILES: usize = 256;

/// The files a pattern names, sorted by name, and the directory it looks in.
pub(super) struct Matches {
    pub(super) directory: PathBuf,
    pub(super) files: Vec<PathBuf>,
}

/// Finds the files. A pattern without `*` names one file, which must exist; one with `*` may name
/// none yet, and passes over hidden files, as shells do.
///
/// # Errors
/// Says why the pattern cannot be used.
pub(super) fn find(base: &Path, pattern: &str) -> Result<Matches, String> {
    let whole = base.join(pattern);
    let directory = super::sources::directory_of(&whole);
    if directory.to_string_lossy().contains('*') {
        return Err("`*` may stand in the last part of a pattern only".to_owned());
    }
    let Some(last) = whole.file_name().and_then(|name| name.to_str()) else {
        return Err("the pattern names no file".to_owned());
    };
    if !last.contains('*') {
        return Ok(Matches { directory, files: vec![whole] });
    }
    let mut files = Vec::new();
    let cannot = |error| format!("cannot read the directory {}: {error}", directory.display());
    for entry in std::fs::read_dir(&directory).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        let path = directory.join(&name);
        // A name that is not UTF-8 fits as what can be read of it: no file is passed over.
        let name = name.to_string_lossy();
        if !name.starts_with('.') && fits(last, &name) && path.is_file() {
            files.push(path);
        }
    }
    if files.len() > MAX_FILES {
        return Err(format!("the pattern names more than {MAX_FILES} files"));
    }
    files.sort();
    Ok(Matches { directory, files })
}

/// Whether a name fits a pattern in which `*` stands for any characters, none included.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_characters_and_nothing_else_is_special() {
        let cases = [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".yaml", true),
            ("*.yaml", "a.yaml.bak", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("a?c", "abc", false),
            ("*", "anything", true),
            ("plain", "plain", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
