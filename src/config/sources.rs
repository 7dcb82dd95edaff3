//! Files, and where in them each key stands: the only place that turns a key path into file, line and
//! column.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::nearest::nearest;
use super::{KeyPath, Problem};
use crate::web::overrides::Fault;

/// The files a configuration was read from, and where each key stands in them.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    pattern_directories: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct SourceFile {
    name: PathBuf,
    /// Key path to (line, column), both from 1.
    places: BTreeMap<String, (usize, usize)>,
}

/// A place in a file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: PathBuf,
    /// Line from 1.
    pub line: usize,
    /// Column from 1.
    pub column: usize,
}

impl Sources {
    /// Finds where a key path stands: exactly, or else its nearest ancestor.
    #[must_use]
    pub fn locate(&self, at: &KeyPath) -> Location {
        let empty = SourceFile::default();
        let file = self.files.get(at.file).unwrap_or(&empty);
        let mut path = at.path.as_str();
        loop {
            if let Some(&(line, column)) = file.places.get(path) {
                return Location { file: file.name.clone(), line, column };
            }
            if path.is_empty() {
                return Location { file: file.name.clone(), line: 1, column: 1 };
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }

    /// The files, main file first (what a watcher watches).
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.name.as_path())
    }

    /// The directories in which a file that appears, changes or goes may change the configuration:
    /// those of the files and of the patterns of `include`. Sorted, each once.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<PathBuf> = self.files().map(directory_of).collect();
        directories.extend(self.pattern_directories.iter().cloned());
        directories.sort();
        directories.dedup();
        directories
    }

    /// Says where in its file a problem stands.
    #[must_use]
    pub fn diagnose(&self, problem: &Problem) -> Diagnostic {
        Diagnostic {
            location: self.locate(&problem.at),
            path: problem.at.path.clone(),
            message: problem.message.clone(),
            suggestion: None,
        }
    }

    /// Adds a file; its number is how many there were before.
    pub(super) fn add(&mut self, name: &Path, places: BTreeMap<String, (usize, usize)>) {
        self.files.push(SourceFile { name: name.to_owned(), places });
    }

    /// Adds the directory of a pattern of `include`.
    pub(super) fn add_pattern_directory(&mut self, directory: PathBuf) {
        self.pattern_directories.push(directory);
    }
}

/// The directory a file stands in; `.` for a bare name.
pub(super) fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// What is wrong with a configuration, or worth a warning, with its place in a file.
///
/// Displays as `portcullis.yaml:7:13: routes[1].alow: unknown key, did you mean `allow`?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it stands.
    pub location: Location,
    /// The key path; empty for the whole file.
    pub path: String,
    /// What is wrong: one sentence, lower case, no full stop. Never the value of a variable or of a
    /// secret.
    pub message: String,
    /// The nearest valid spelling, if one is near.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// What is wrong with a file that `portal.templates` puts in the place of a built-in one.
    #[must_use]
    pub fn of_override(fault: Fault) -> Self {
        let Fault { file, line, message, candidates } = fault;
        let word = message.split('`').nth(1).map(str::to_owned);
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let suggestion =
            word.or(name).and_then(|word| nearest(&word, candidates.iter().map(String::as_str)));
        let location = Location { file, line, column: 1 };
        Self { location, path: "portal.templates".to_owned(), message, suggestion }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.location)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ", did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}
