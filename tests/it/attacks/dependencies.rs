//! What is built in: known faults of the packages in the lock files, as `scripts/check-advisories` finds
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::browser::python;

const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];
const TABLE: &str = "scripts/advisories.toml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the check passes over a directory, and all that it says.
fn check(directory: &Path, more: &[&Path]) -> (bool, String) {
    let mut command = Command::new(python());
    command.arg(root().join("scripts/check-advisories")).arg("--root").arg(directory);
    let output = command.args(more).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A copy of what the check reads.
struct Duplicate(TempDir);

impl Duplicate {
    fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for path in LOCKS.iter().chain(&["deny.toml", TABLE]) {
            copy.write(path, &fs::read_to_string(root().join(path)).unwrap());
        }
        copy
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn accept(&self, entry: &str) {
        let rules = fs::read_to_string(root().join("deny.toml")).unwrap();
        self.write("deny.toml", &rules.replace("ignore = []", &format!("ignore = [{entry}]")));
    }

    fn check(&self) -> (bool, String) {
        check(self.0.path(), &[])
    }
}

/// A row of the table: the package, the advisory, and the last version that mended it, where there is one.
struct Row {
    name: String,
    id: String,
    mended: Option<String>,
}

fn rows() -> Vec<Row> {
    let table = fs::read_to_string(root().join(TABLE)).unwrap();
    let between = |row: &str, start: &str, end: char| {
        row.split_once(start).unwrap().1.split(end).next().unwrap().to_owned()
    };
    let row = |row: &str| Row {
        name: between(row, "crate = \"", '"'),
        id: between(row, "id = \"", '"'),
        mended: between(row, "patched = [", ']').split(">=").skip(1).filter_map(release).last(),
    };
    table.lines().filter(|line| line.starts_with("  { ")).map(row).collect()
}

/// The version a text begins with, unless it is a pre-release.
fn release(text: &str) -> Option<String> {
    let version = text.trim().split(['"', ',']).next().unwrap();
    version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| version.to_owned())
}

fn locked(name: &str, version: &str) -> String {
    format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry\"\n\n")
}

#[test]
fn out_13_no_package_of_a_lock_file_has_a_known_fault() {
    let (passes, said) = check(root(), &[]);
    assert!(passes, "{said}");
}

#[test]
fn out_13_a_version_before_the_mended_one_is_found_and_the_mended_one_is_not() {
    let rows = rows();
    assert!(rows.len() > 100, "{}", rows.len());
    for lock in LOCKS {
        let copy = Duplicate::new();
        let mut text = String::new();
        for Row { name, mended, .. } in &rows {
            text += &mended.as_ref().map_or_else(String::new, |version| locked(name, version));
            text += &locked(name, &before(mended.as_deref()));
        }
        copy.write(lock, &text);
        let (passes, said) = copy.check();
        assert!(!passes, "{said}");
        for Row { name, id, mended } in &rows {
            let line = format!("{lock}: {name} {}: {id} (", before(mended.as_deref()));
            assert!(said.contains(&line), "{line} in {said}");
            let mended = mended.as_deref().unwrap_or("no version");
            assert!(!said.contains(&format!("{lock}: {name} {mended}: {id} (")), "{id}: {said}");
        }
    }
}

/// A version right before another, or before all.
fn before(version: Option<&str>) -> String {
    version.map_or_else(|| "0.0.0".to_owned(), |version| format!("{version}-0"))
}

#[test]
fn out_13_a_known_fault_is_accepted_only_with_a_reason_and_while_it_is_there() {
    let copy = Duplicate::new();
    let entry = r#"{ id = "RUSTSEC-2021-0078", reason = "no proxy in front reads it otherwise" }"#;
    copy.accept(entry);
    let (passes, said) = copy.check();
    assert!(!passes && said.contains("RUSTSEC-2021-0078, which affects nothing here"), "{said}");
    copy.write("Cargo.lock", &locked("hyper", "0.14.9"));
    let (passes, said) = copy.check();
    assert!(!passes && said.contains("RUSTSEC-2021-0079") && !said.contains("-0078"), "{said}");
    let others = ["RUSTSEC-2021-0079", "RUSTSEC-2022-0022"]
        .map(|id| format!(r#", {{ id = "{id}", reason = "for a test" }}"#));
    let all = format!("{entry}{}", others.concat());
    copy.accept(&all);
    let (passes, said) = copy.check();
    assert!(passes, "{said}");
    for bare in [r#""RUSTSEC-2021-0078""#, r#"{ id = "RUSTSEC-2021-0078", reason = " " }"#] {
        copy.accept(&all.replace(entry, bare));
        let (passes, said) = copy.check();
        assert!(!passes && said.contains("accepts RUSTSEC-2021-0078 without a reason"), "{said}");
    }
}

#[test]
fn out_13_the_table_is_read_anew_from_the_database() {
    let copy = Duplicate::new();
    let advisory = |name: &str, number: u32, more: &str| {
        let id = format!("RUSTSEC-2031-{number:04}");
        let front = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"2031-05-{number:02}\"\n\
             {more}\n[versions]\npatched = [\">= 99.0.1\"]\n```\n\n# A fault\n\n```rust\nfn f() {{}}\n```\n"
        );
        copy.write(&format!("database/crates/{name}/{id}.md"), &front);
    };
    advisory("hyper", 1, "informational = \"unsound\"");
    advisory("hyper", 2, "withdrawn = \"2031-06-01\"");
    advisory("nobody-has-this", 3, "");
    let (passes, said) = check(copy.0.path(), &[Path::new("--renew"), &copy.path("database")]);
    assert!(!passes && said.contains("RUSTSEC-2031-0001 (unsound), mended by >= 99.0.1"), "{said}");
    let head = fs::read_to_string(root().join(TABLE)).unwrap();
    let head = head.split_once("\nuntil = ").unwrap().0;
    let row = "  { crate = \"hyper\", id = \"RUSTSEC-2031-0001\", kind = \"unsound\", \
               patched = [\">= 99.0.1\"], unaffected = [] },\n";
    let renewed = fs::read_to_string(copy.path(TABLE)).unwrap();
    assert_eq!(renewed, format!("{head}\nuntil = 2031-05-03\nadvisories = [\n{row}]\n"));
}
