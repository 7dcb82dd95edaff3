//! What the documentation shows is what works: every YAML block is part of an example, and every
//! example is a configuration without errors and warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::identity::access::Interner;
use portcullis::server::examine::examine;
use portcullis::web::headers::{Field, Preset};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn examples() -> Vec<PathBuf> {
    let mut examples = files("examples", "yaml");
    examples.extend(files("examples/providers", "yaml"));
    let applications = fs::read_dir(root().join("examples")).unwrap();
    let files = applications.map(|entry| entry.unwrap().path().join("portcullis.yaml"));
    examples.extend(files.filter(|file| file.exists()));
    examples.push(root().join("src/cli/starter.yaml"));
    examples
}

/// The fenced blocks of a language, without the indentation of a list they stand in.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == fence {
            let indent = line.len() - line.trim_start().len();
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            let block: Vec<&str> = block.map(|line| line.get(indent..).unwrap_or("")).collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// Lines without the spaces that line columns up, which a page may set differently.
fn plain(text: &str) -> Vec<String> {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(squeeze).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_yaml_block_of_the_documentation_stands_in_an_example() {
    let examples: Vec<Vec<String>> =
        examples().iter().map(|file| plain(&fs::read_to_string(file).unwrap())).collect();
    let mut pages = files("docs", "md");
    pages.push(root().join("README.md"));
    let mut seen = 0;
    for page in pages {
        for block in blocks(&fs::read_to_string(&page).unwrap(), "yaml") {
            let block = plain(&block);
            let is_shown = examples
                .iter()
                .any(|example| example.windows(block.len()).any(|part| part == block));
            assert!(is_shown, "{}: in no example:\n{}", page.display(), block.join("\n"));
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} blocks found");
}

#[test]
fn every_file_of_people_and_roles_shown_is_one_of_the_examples() {
    let page = fs::read_to_string(root().join("docs/move-people-in-and-out.md")).unwrap();
    let mut examples = files("examples/people", "csv");
    examples.extend(files("examples/people", "jsonl"));
    let examples: Vec<String> =
        examples.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let shown: Vec<String> =
        ["csv", "json"].iter().flat_map(|language| blocks(&page, language)).collect();
    assert_eq!(shown.len(), 3);
    for block in shown {
        assert!(examples.iter().any(|example| example.contains(&block)), "in no example:\n{block}");
    }
}

#[test]
fn every_example_is_a_configuration_without_errors_and_warnings() {
    let secret = "e3b2a9c07f4d1856aa90c4be7d21f6035b8de2719c40f3ad";
    let env: BTreeMap<String, String> = [
        ("PORTCULLIS_SECRET", secret),
        ("SMTP_PASSWORD", "word"),
        ("GOOGLE_SECRET", "word"),
        ("GITHUB_SECRET", "word"),
        ("MICROSOFT_SECRET", "word"),
        ("GITLAB_SECRET", "word"),
        ("CORP_SECRET", "word"),
        ("DISCORD_SECRET", "word"),
        ("FACEBOOK_SECRET", "word"),
        ("FORUM_SECRET", "word"),
        ("DATABASE_URL", "postgres://portcullis:secret@db.example.com/portcullis"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for example in examples() {
        let found = examine(&example, &env, &Interner::default());
        let found = found.unwrap_or_else(|errors| panic!("{errors:#?}"));
        let warnings: Vec<String> = found.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{}", warnings.join("\n"));
    }
}

#[test]
fn every_explanation_shown_is_what_the_command_says() {
    let page = fs::read_to_string(root().join("docs/read-a-decision.md")).unwrap();
    let mut seen = 0;
    for block in blocks(&page, "console") {
        let (line, shown) = block.split_once('\n').unwrap_or((&block, ""));
        let Some(arguments) = line.strip_prefix("$ portcullis explain ") else { continue };
        if shown.is_empty() {
            continue;
        }
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["-c", "examples/rules.yaml", "explain"])
            .args(arguments.split_whitespace())
            .current_dir(root())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), shown.trim_end(), "{line}");
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} explanations found");
}

#[test]
fn the_table_of_headers_names_what_the_code_sends() {
    let page = fs::read_to_string(root().join("docs/headers.md")).unwrap().to_lowercase();
    for (preset, name) in Preset::NAMED {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        let fields = preset.fields().iter().map(|(header, _)| header);
        for header in preset.user_names().iter().chain(fields) {
            assert!(row.contains(&format!("`{header}`")), "{name}: {header}");
        }
    }
    for (_, field, _) in Field::NAMED {
        assert!(page.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = files("docs", "md");
    pages.push(root().join("README.md"));
    let applications = fs::read_dir(root().join("examples")).unwrap();
    let readmes = applications.map(|entry| entry.unwrap().path().join("README.md"));
    pages.extend(readmes.filter(|file| file.exists()));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", page.display());
        }
    }
}

/// Sections of the catalogue of attacks, as they stand in ids and in names of tests.
const SECTIONS: [&str; 17] = [
    "smg", "pth", "hdr", "red", "ses", "oid", "jwt", "rec", "bru", "mfa", "rac", "dos", "ws",
    "tls", "egr", "out", "enu",
];

/// The ids in a test's name: `smg_02_and_04_…`, `smg_23_and_hdr_16_…`.
fn ids_of(name: &str) -> Vec<String> {
    let is_number = |word: &str| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = name.split('_').collect();
    let (mut ids, mut section, mut rest) = (Vec::new(), "", &words[..]);
    loop {
        rest = match rest {
            [named, number, after @ ..] if SECTIONS.contains(named) && is_number(number) => {
                section = named;
                ids.push(format!("{section}-{number}").to_uppercase());
                after
            }
            [number, after @ ..] if !section.is_empty() && is_number(number) => {
                ids.push(format!("{section}-{number}").to_uppercase());
                after
            }
            _ => return ids,
        };
        match rest {
            ["and", after @ ..] => rest = after,
            _ => return ids,
        }
    }
}

fn sources_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (below, here): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|end| end == "rs");
    let here = here.into_iter().filter(is_source);
    here.chain(below.iter().flat_map(|directory| sources_below(directory))).collect()
}

#[test]
fn every_attack_case_of_the_page_has_a_test_and_every_test_its_row() {
    let mut tested = BTreeSet::new();
    for path in ["src", "tests"].iter().flat_map(|name| sources_below(&root().join(name))) {
        let text = fs::read_to_string(path).unwrap();
        let names = text.lines().filter_map(|line| line.trim_start().split_once("fn "));
        let names = names.filter(|(before, _)| ["", "async "].contains(before));
        tested.extend(names.flat_map(|(_, name)| ids_of(name.split('(').next().unwrap())));
    }
    let page = fs::read_to_string(root().join("docs/attack-cases.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let rows: Vec<_> = rows.filter(|id| id.contains('-')).map(str::to_owned).collect();
    let listed: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), listed.len(), "an id has two rows: {rows:?}");
    let untested: Vec<_> = listed.difference(&tested).collect();
    assert!(untested.is_empty(), "rows without a test: {untested:?}");
    let unlisted: Vec<_> = tested.difference(&listed).collect();
    assert!(unlisted.is_empty(), "tests without a row: {unlisted:?}");
    assert!(listed.len() > 40, "{listed:?}");
    assert_eq!(ids_of("smg_02_and_04_x"), ["SMG-02", "SMG-04"]);
    assert_eq!(ids_of("smg_23_and_hdr_16_x_17"), ["SMG-23", "HDR-16"]);
    assert!(ids_of("ws_x").is_empty() && ids_of("of_ws_01").is_empty());
}
