//! A directory of files that stand in for what is built in: templates, texts, letters.
//!
//! The directory holds files, and the directories `texts` and `mail` with files. It is read whole and
//! once, with a bound on everything; what the files mean, and which of them are known at all, is judged by
//! those who use them: `mail/…` by letters, the rest by pages. Hidden files and those that editors leave
//! (`~` at the end) are none of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The directories there may be.
const DIRECTORIES: [&str; 2] = ["texts", "mail"];
/// Most files.
const MOST: usize = 256;
/// Largest file, in bytes.
const LARGEST: u64 = 256 * 1024;

/// The files of a directory, by name below it, with `/` between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    directory: PathBuf,
    files: BTreeMap<String, String>,
}

/// Something wrong with a file that stands in for what is built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the directory.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// What it may have been meant to be called.
    pub candidates: Vec<String>,
}

impl Overrides {
    /// Reads a directory.
    ///
    /// # Errors
    /// What cannot be read, is no text, or is too much.
    pub fn read(directory: &Path) -> Result<Self, Vec<Fault>> {
        let mut read = Self { directory: directory.to_owned(), files: BTreeMap::new() };
        let mut faults = Vec::new();
        for below in [""].into_iter().chain(DIRECTORIES) {
            let path = directory.join(below);
            if below.is_empty() || path.is_dir() {
                read.add(below, &path, &mut faults);
            }
        }
        if read.files.len() > MOST {
            faults.push(fault(directory, format!("holds more than {MOST} files")));
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    fn add(&mut self, below: &str, directory: &Path, faults: &mut Vec<Fault>) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                faults.push(fault(directory, format!("cannot be read: {error}")));
                return;
            }
        };
        // One more than there may be is enough to see that there are too many.
        for entry in entries.take(MOST + DIRECTORIES.len() + 1) {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    faults.push(fault(directory, format!("cannot be read: {error}")));
                    continue;
                }
            };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            if below.is_empty() && DIRECTORIES.contains(&name) && path.is_dir() {
                continue;
            }
            match read_file(&path) {
                Ok(text) if below.is_empty() => drop(self.files.insert(name.to_owned(), text)),
                Ok(text) => drop(self.files.insert(format!("{below}/{name}"), text)),
                Err(message) => faults.push(fault(&path, message)),
            }
        }
    }

    /// What a file holds.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// Every file with what it holds, in the order of the names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Something wrong with a file, in a line.
    #[must_use]
    pub fn fault(&self, name: &str, line: usize, message: impl Into<String>) -> Fault {
        Fault { line, ..fault(&self.directory.join(name), message) }
    }

    /// That a file stands in for nothing, and what it may have been meant to be called.
    #[must_use]
    pub fn unknown(&self, name: &str, candidates: impl IntoIterator<Item = String>) -> Fault {
        let candidates = candidates.into_iter().collect();
        Fault { candidates, ..self.fault(name, 1, format!("{name} stands in for nothing")) }
    }
}

fn fault(file: &Path, message: impl Into<String>) -> Fault {
    Fault { file: file.to_owned(), line: 1, message: message.into(), candidates: Vec::new() }
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let found = fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        return Err("is not a file".to_owned());
    }
    if found.len() > LARGEST {
        return Err("is larger than 256 KiB".to_owned());
    }
    String::from_utf8(fs::read(path).map_err(cannot)?).map_err(|_| "is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_directory_is_read_with_the_two_that_may_be_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["texts", "mail", ".git"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["login.html", "texts/de.ftl", "mail/reset.de.txt", ".hidden", "style.css~"] {
            fs::write(at(name), "ü").unwrap();
        }
        let read = Overrides::read(directory.path()).unwrap();
        let names: Vec<_> = read.files().map(|(name, _)| name).collect();
        assert_eq!(names, ["login.html", "mail/reset.de.txt", "texts/de.ftl"]);
        assert_eq!(read.get("texts/de.ftl"), Some("ü"));
        fs::write(at("texts/fr.ftl"), [0xff]).unwrap();
        fs::create_dir(at("more")).unwrap();
        fs::write(at("long.html"), "x".repeat(256 * 1024 + 1)).unwrap();
        let faults = Overrides::read(directory.path()).unwrap_err();
        let said: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        for message in ["is not UTF-8", "is not a file", "is larger than 256 KiB"] {
            assert!(said.contains(&message), "{message} in {said:?}");
        }
        assert!(Overrides::read(&at("nowhere")).is_err());
    }
}
