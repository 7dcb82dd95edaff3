//! From a file name to a checked configuration, every mistake of every file in one run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::meaning::{self, Findings, Part, Source};
use super::yaml::read as read_yaml;
use super::yaml::schema::Kind;
use super::yaml::tree::{self, At, Flaw};
use super::yaml::{Included, Main, schema as yaml_schema, variables};
use super::{Config, Diagnostic, Environment, Location, UnreadRoles, include, sources};

/// Where the file is looked for when neither `-c` nor `$PORTCULLIS_CONFIG` says.
const PLACES: [&str; 2] = ["./portcullis.yaml", "/etc/portcullis/portcullis.yaml"];

/// No configuration file was named and none stands where it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no configuration: name one with -c or $PORTCULLIS_CONFIG, or make ./portcullis.yaml or \
     /etc/portcullis/portcullis.yaml"
)]
pub struct NoFile;

/// Finds the configuration file: the one named, else `$PORTCULLIS_CONFIG`, else
/// `./portcullis.yaml`, else `/etc/portcullis/portcullis.yaml`.
///
/// # Errors
/// [`NoFile`]. A file that was named is returned whether it exists or not: [`load`] says what is
/// wrong with it.
pub fn find_file(explicit: Option<&Path>, env: &dyn Environment) -> Result<PathBuf, NoFile> {
    if let Some(path) = explicit {
        return Ok(path.to_owned());
    }
    if let Some(path) = env.get("PORTCULLIS_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(NoFile)
}

/// The JSON Schema of the configuration file, for editors and other validators.
#[must_use]
pub fn schema() -> String {
    yaml_schema::published()
}

/// A configuration as far as it could be read.
#[derive(Debug)]
pub struct Reading {
    /// What could be read. Where there are errors it is not to be used, only to be looked through for
    /// more of them; `None` where too little is left for that.
    pub config: Option<Config>,
    /// Everything that is wrong, in the order of files, lines and columns. Never empty beside `None`.
    pub errors: Vec<Diagnostic>,
}

/// Reads and checks a configuration file and the files it includes.
///
/// # Errors
/// Everything that is wrong, in the order of files, lines and columns; never empty.
pub fn load(path: &Path, env: &dyn Environment) -> Result<Config, Vec<Diagnostic>> {
    whole(load_partly(path, env))
}

/// As [`load`], with the main file's text given; `path` is where it would stand.
///
/// # Errors
/// As [`load`].
pub fn load_text(
    text: &str,
    path: &Path,
    env: &dyn Environment,
) -> Result<Config, Vec<Diagnostic>> {
    whole(read_text(text, path, env))
}

/// As [`load`], for who goes on looking for mistakes in what could be read.
#[must_use]
pub fn load_partly(path: &Path, env: &dyn Environment) -> Reading {
    match read(path) {
        Ok(text) => read_text(&text, path, env),
        Err(message) => Reading { config: None, errors: vec![whole_file(path, message)] },
    }
}

fn whole(reading: Reading) -> Result<Config, Vec<Diagnostic>> {
    match reading.config {
        Some(config) if reading.errors.is_empty() => Ok(config),
        Some(_) | None => Err(reading.errors),
    }
}

fn read_text(text: &str, path: &Path, env: &dyn Environment) -> Reading {
    let findings = Findings::default();
    let Some((source, main)) = parse::<Main>(Input { text, path, number: 0 }, env, &findings)
    else {
        return Reading { config: None, errors: findings.into_sorted() };
    };
    let (files, directories) = included(&source, &main, &findings);
    let mut parts = vec![Part::main(source)];
    for file in files {
        let number = parts.len();
        parts.extend(read_included(&file, number, env, &findings));
    }
    let mut sources = sources::Sources::default();
    for part in &parts {
        sources.add(&part.source.name, part.source.places.clone());
    }
    for directory in directories {
        sources.add_pattern_directory(directory);
    }
    let declared = parts.iter().flat_map(|part| part.source.roles.iter().cloned()).collect();
    let config = meaning::read(main, parts, env, &findings);
    let mut errors = findings.into_sorted();
    let unread_roles = unread_roles(declared, &errors);
    let config = config.map(|config| Config { sources: sources.into(), unread_roles, ..config });
    if config.is_none() && errors.is_empty() {
        // Does not happen; were it to, the file is refused.
        errors.push(whole_file(path, "cannot be used".to_owned()));
    }
    Reading { config, errors }
}

/// Which roles rules may mean that could not be read, or not wholly.
fn unread_roles(declared: BTreeSet<String>, errors: &[Diagnostic]) -> UnreadRoles {
    let hides_roles = |error: &Diagnostic| {
        let is_whole = ["", "roles", "include"].contains(&error.path.as_str());
        let is_misspelt = error.suggestion.as_deref() == Some("roles");
        is_whole || is_misspelt || error.path.starts_with("include[")
    };
    let may_be_any = errors.iter().any(hides_roles);
    let is_flawed = errors.iter().any(|error| error.path.starts_with("roles."));
    UnreadRoles { names: if is_flawed { declared } else { BTreeSet::new() }, may_be_any }
}

/// A file to read, and its number.
#[derive(Clone, Copy)]
struct Input<'a> {
    text: &'a str,
    path: &'a Path,
    number: usize,
}

trait Document: DeserializeOwned {
    const KIND: Kind;
}

impl Document for Main {
    const KIND: Kind = Kind::Main;
}

impl Document for Included {
    const KIND: Kind = Kind::Included;
}

/// One file, as far as it can be read.
fn parse<T: Document>(
    input: Input<'_>,
    env: &dyn Environment,
    findings: &Findings,
) -> Option<(Source, T)> {
    let report = |flaws: Vec<Flaw>| {
        for flaw in flaws {
            findings.add(diagnostic(input.path, flaw));
        }
    };
    let (root, flaws) = read_yaml::read(input.text);
    report(flaws);
    let mut root = root?;
    let places = root.places();
    let roles = root.keys_of("roles");
    let mut flaws = Vec::new();
    variables::replace(&mut root, env, &mut flaws);
    root.drop_holes();
    let checked = yaml_schema::check(&mut root, T::KIND, &mut flaws);
    report(flaws);
    checked?;
    match serde_path_to_error::deserialize::<_, T>(root.to_yaml()) {
        Ok(file) => {
            let name = input.path.to_owned();
            Some((Source { number: input.number, name, tree: root, places, roles }, file))
        }
        Err(error) => {
            // What serde says may quote the value, so only where it says it is passed on.
            let at = steps(error.path());
            let (position, path) = root.resolve(&at);
            report(vec![Flaw::new(position, path, "does not fit what this key takes")]);
            None
        }
    }
}

fn steps(path: &serde_path_to_error::Path) -> At {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(tree::Step::Item(*index)),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                Some(tree::Step::Key(key.clone()))
            }
            Segment::Unknown => None,
        })
        .collect()
}

/// The files that `include` names, each once, and the directories it looks in.
fn included(source: &Source, main: &Main, findings: &Findings) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let base = sources::directory_of(&source.name);
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::from([source.name.canonicalize().unwrap_or(source.name.clone())]);
    for (index, pattern) in main.include.iter().enumerate() {
        match include::find(&base, &pattern.text) {
            Ok(found) => {
                directories.push(found.directory);
                let new = |file: &PathBuf| seen.insert(file.canonicalize().unwrap_or(file.clone()));
                files.extend(found.files.into_iter().filter(new));
            }
            Err(message) => source.cursor(findings).key("include").item(index).report(message),
        }
    }
    (files, directories)
}

fn read_included(
    path: &Path,
    number: usize,
    env: &dyn Environment,
    findings: &Findings,
) -> Option<Part> {
    let text = match read(path) {
        Ok(text) => text,
        Err(message) => {
            findings.add(whole_file(path, message));
            return None;
        }
    };
    let (source, file) = parse::<Included>(Input { text: &text, path, number }, env, findings)?;
    Some(Part::included(source, file))
}

fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let found = std::fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        return Err("is not a file".to_owned());
    }
    if found.len() > u64::try_from(read_yaml::MAX_BYTES).unwrap_or(u64::MAX) {
        return Err("is larger than 1 MiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

fn whole_file(path: &Path, message: String) -> Diagnostic {
    let location = Location { file: path.to_owned(), line: 1, column: 1 };
    Diagnostic { location, path: String::new(), message, suggestion: None }
}

fn diagnostic(file: &Path, flaw: Flaw) -> Diagnostic {
    let Flaw { position, path, message, suggestion } = flaw;
    let location = Location { file: file.to_owned(), line: position.line, column: position.column };
    Diagnostic { location, path, message, suggestion }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}
