//! The configuration from outside: every mistake in one run, the corpus, the reference files, and
//! what never shows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::config::{self, Config, DatabaseUrl, Diagnostic};
use portcullis::identity::access::Interner;
use portcullis::server::examine::examine;
use proptest::prelude::*;

type Env = BTreeMap<String, String>;

const GOOD_SECRET: &str = "Zk8vQe1Yt0pLw7uXc4sRj2Nn5BhMfGd3aO6iTyVx";

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str) -> Result<Config, Vec<Diagnostic>> {
    config::load_text(text, Path::new("portcullis.yaml"), &Env::new())
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(project(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {directory}");
    files
}

fn shown(found: &[Diagnostic]) -> String {
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.push(String::new());
    lines.join("\n")
}

#[test]
fn one_run_reports_every_mistake_with_line_and_column() {
    let text = std::fs::read_to_string(project("tests/corpus/mistakes.yaml")).unwrap();
    let found = load(&text).expect_err("a file of mistakes");
    let expected = std::fs::read_to_string(project("tests/corpus/mistakes.txt")).unwrap();
    assert_eq!(shown(&found), expected);
    assert!(found.len() >= 25, "{} mistakes", found.len());
}

#[test]
fn a_mistake_in_a_route_hides_no_other_of_the_route_or_its_place() {
    let text = r#"
upstreams: { app: "http://127.0.0.1:3000" }
routes:
  - { path: "/a**", upstream: ap, allow: public }
  - { path: "/b%2fc", upstream: app, allow: { roles: [""] } }
  - { path: "/x/**", upstream: app, allow: { roles: [""] } }
  - { path: "/x/**", upstream: ap, allow: public }
"#;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p.yaml");
    std::fs::write(&file, text).unwrap();
    let found = examine(&file, &Env::new(), &Interner::default()).expect_err("mistakes");
    let places: Vec<(usize, &str)> =
        found.iter().map(|one| (one.location.line, one.path.as_str())).collect();
    let expected = [
        (4, "routes[0].path"),
        (4, "routes[0].upstream"),
        (5, "routes[1].path"),
        (5, "routes[1].allow.roles[0]"),
        (6, "routes[2].allow.roles[0]"),
        (7, "routes[3]"),
        (7, "routes[3].upstream"),
    ];
    assert_eq!(places, expected, "{}", shown(&found));
}

#[test]
fn every_file_of_the_accepted_corpus_is_accepted() {
    for path in yaml_files("tests/corpus/accepted") {
        if let Err(found) = config::load(&path, &Env::new()) {
            panic!("{}:\n{}", path.display(), shown(&found));
        }
    }
}

#[test]
fn every_file_of_the_refused_corpus_is_refused_for_one_reason() {
    for path in yaml_files("tests/corpus/refused") {
        let found = config::load(&path, &Env::new()).expect_err(&path.display().to_string());
        assert_eq!(found.len(), 1, "{}:\n{}", path.display(), shown(&found));
    }
}

/// The validator lives in a virtual environment that `scripts/test` makes and names.
#[test]
fn a_foreign_validator_agrees_with_ours_on_the_whole_corpus() {
    let output = Command::new(crate::browser::python())
        .arg(project("tests/corpus/validate.py"))
        .arg(project("config/portcullis.schema.json"))
        .arg(project("tests/corpus/accepted"))
        .arg(project("tests/corpus/refused"))
        .args([project("config/portcullis.yaml"), project("config/docker.yaml")])
        .output()
        .expect("the validator: run scripts/test once");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_published_schema_is_the_one_the_types_make() {
    let path = project("config/portcullis.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, config::schema()).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == config::schema(), "run the tests once with UPDATE_SCHEMA=1");
}

/// Everything but where things stand, which differs between a long and a short file.
fn without_places(config: &Config) -> String {
    let mut lines: Vec<String> = Vec::new();
    let text = format!("{config:#?}");
    let mut left_out_at = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match left_out_at {
            Some(depth) if indent > depth => continue,
            // The line that closes what is left out.
            Some(_) => {
                left_out_at = None;
                continue;
            }
            None => {}
        }
        let field = line.trim_start();
        if field.starts_with("at: ") || field.starts_with("sources: ") {
            left_out_at = Some(indent).filter(|_| !field.ends_with(','));
            continue;
        }
        lines.push(line.to_owned());
    }
    lines.join("\n")
}

#[test]
fn the_reference_configuration_says_the_defaults() {
    let reference = std::fs::read_to_string(project("config/portcullis.yaml")).unwrap();
    let reference = load(&reference).unwrap_or_else(|found| panic!("{}", shown(&found)));
    let smallest = load(
        r#"
        upstreams: { app: "http://127.0.0.1:3000" }
        routes: [{ name: everything, path: "/**", upstream: app, allow: authenticated }]
        "#,
    )
    .unwrap();
    assert_eq!(without_places(&reference), without_places(&smallest));
}

#[test]
fn the_reference_configuration_names_every_key() {
    let reference = std::fs::read_to_string(project("config/portcullis.yaml")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&config::schema()).unwrap();
    let mut keys = Vec::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 60, "{} keys", keys.len());
    for key in keys {
        assert!(reference.contains(&format!("{key}:")), "{key} is not in the reference");
    }
}

fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(members) => {
            if let Some(properties) = members.get("properties").and_then(|value| value.as_object())
            {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| collect_keys(member, keys));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Words in quotes that begin an arm of a `match` on addresses below the portal.
fn addresses_in(file: &str) -> Vec<String> {
    let source = std::fs::read_to_string(project(file)).unwrap();
    let arms = source.lines().filter(|line| {
        ["=> Some(Self::", "=> return ", "=> (provider, Step::", "=> (&\"\", Step::"]
            .iter()
            .any(|leads| line.contains(leads))
    });
    let first = arms.map(|line| line.split(['=', ',']).next().unwrap_or_default());
    let quoted =
        |arm: &str| arm.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    first.flat_map(quoted).collect()
}

#[test]
fn no_provider_has_the_name_of_one_of_the_gateways_own_addresses() {
    let mut addresses = addresses_in("src/portal/mod.rs");
    addresses.extend(addresses_in("src/api/endpoint.rs"));
    let providers = addresses_in("src/api/vouching.rs");
    assert!(providers.contains(&"associate".to_owned()), "{providers:?}");
    addresses.extend(providers);
    assert!(addresses.len() > 15 && addresses.contains(&"login".to_owned()), "{addresses:?}");
    // What is below /auth/users stands in the same file; a dot no provider's name has.
    for name in addresses.into_iter().filter(|name| name != "me" && !name.contains('.')) {
        let text = format!(
            "upstreams: {{ app: \"http://127.0.0.1:3000\" }}\nproviders: {{ {name}: {{ kind: github, \
             client_id: a, client_secret: b, who: anyone }} }}"
        );
        let found = load(&text).expect_err(&name);
        assert!(found[0].message.contains("own addresses"), "{name}: {}", shown(&found));
    }
}

#[test]
fn the_container_takes_its_settings_from_the_environment() {
    let path = project("config/docker.yaml");
    let plain =
        config::load(&path, &Env::new()).unwrap_or_else(|found| panic!("{}", shown(&found)));
    assert_eq!(plain.listen, ["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(plain.public_url.to_string(), "http://localhost:8080");
    assert!(plain.secret.is_none());
    assert!(
        matches!(&plain.database.url, DatabaseUrl::Sqlite(path) if path == Path::new("/data/portcullis.db"))
    );
    assert_eq!(plain.upstreams["app"].authority, "127.0.0.1:3000");

    for scheme in ["postgres", "postgresql"] {
        let url = format!("{scheme}://user:password@postgres:5432/gateway");
        let full = env(&[
            ("DATABASE_URL", &url),
            ("SECRET_KEY", GOOD_SECRET),
            ("PUBLIC_URL", "https://auth.example.com"),
            ("UPSTREAM", "http://app:9000"),
        ]);
        let config = config::load(&path, &full).unwrap_or_else(|found| panic!("{}", shown(&found)));
        assert!(matches!(config.database.url, DatabaseUrl::Postgres(_)));
        assert!(config.sessions.cookie.secure);
        assert_eq!(config.upstreams["app"].authority, "app:9000");
    }

    let placeholder = env(&[("SECRET_KEY", "your-secret-key-change-in-production")]);
    let found = config::load(&path, &placeholder).expect_err("the guide's placeholder");
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("openssl rand -base64 48"), "{}", found[0]);

    let no_secret = env(&[("DATABASE_URL", "postgresql://user:password@postgres:5432/gateway")]);
    let found = config::load(&path, &no_secret).expect_err("PostgreSQL without a secret");
    assert!(found[0].message.contains("PostgreSQL requires `secret`"), "{}", found[0]);
}

#[test]
fn secrets_show_neither_in_a_printed_configuration_nor_in_an_error() {
    const CANARY: &str = "canary-7Hq2";
    let secret = format!("{CANARY}{GOOD_SECRET}");
    let good = format!(
        "secret: \"{secret}\"\nprevious_secrets: [\"{secret}x\"]\n\
         database: \"postgres://user:{CANARY}@db/gateway\"\n\
         mail: {{ from: a@b.c, smtp: \"smtp://user:{CANARY}@mail.example.com\" }}\n\
         providers: {{ g: {{ kind: github, client_id: x, client_secret: {CANARY}, who: anyone }} }}\n"
    );
    let config = load(&good).unwrap_or_else(|found| panic!("{}", shown(&found)));
    assert!(!format!("{config:?} {config:#?}").contains(CANARY));

    let bad = [
        format!("secret: {CANARY}\nprevious_secrets: [{CANARY}]\n"),
        format!("secret: [{CANARY}]\n"),
        format!("secret: {{ value: {CANARY} }}\n"),
        format!("secret: {secret}\nsecret_file: {CANARY}\n"),
        format!("database: \"postgres://user:{CANARY}@:/x\"\n"),
        format!("mail: {{ from: a@b.c, smtp: \"smtp://user:{CANARY}@h/x\" }}\n"),
        format!("mail: {{ from: a@b.c, smtp: \"imap://user:{CANARY}@h\" }}\n"),
        format!("database: \"mysql://user:{CANARY}@db/x\"\n"),
        format!(
            "providers: {{ g: {{ kind: github, client_id: x, client_secret: [{CANARY}], who: anyone }} }}\n"
        ),
        format!(
            "database: {{ url: \"sqlite://{CANARY}?mode=memory\", max_connections: {CANARY} }}\n"
        ),
    ];
    for text in bad {
        let found = load(&text).expect_err(&text);
        let printed = format!("{}{found:?}", shown(&found));
        assert!(!printed.contains(CANARY), "{text}\n{printed}");
    }
}

#[test]
fn a_variable_shows_its_name_and_never_its_value() {
    const CANARY: &str = "canary-7Hq2";
    let places = [
        "telemetry: { level: \"${V}\" }",
        "telemetry: { format: \"${V}\" }",
        "trusted_proxies: [\"${V}\"]",
        "listen: [\"${V}\"]",
        "public_url: ${V}",
        "hashing: { queue: \"${V}\" }",
        "workers: ${V}",
        "drain: ${V}",
        "sessions: { cookie: { domain: \"${V}\" } }",
        "upstreams: { app: \"${V}\" }",
        "upstreams: { app: \"http://a\" }\nroutes: [{ path: /, upstream: \"${V}\", allow: public }]",
        "upstreams: { app: \"http://a\" }\nroutes: [{ path: /, upstream: app, allow: \"${V}\" }]",
    ];
    for place in places {
        for value in [CANARY.to_owned(), format!("{CANARY}\nx: y"), format!("{{ a: {CANARY} }}")] {
            let set = env(&[("V", &value)]);
            let found = config::load_text(place, Path::new("p.yaml"), &set).expect_err(place);
            assert_eq!(found.len(), 1, "{place}\n{}", shown(&found));
            assert!(!shown(&found).contains(CANARY), "{place}\n{}", shown(&found));
        }
        let found = config::load_text(place, Path::new("p.yaml"), &Env::new()).expect_err(place);
        assert!(shown(&found).contains("variable V is not set"), "{place}\n{}", shown(&found));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_loading_panic(text in any::<String>()) {
        if let Err(found) = load(&text) {
            prop_assert!(!found.is_empty());
        }
    }

    #[test]
    fn no_change_of_a_good_file_makes_loading_panic(
        at in any::<prop::sample::Index>(),
        length in 0_usize..20,
        put in r#"[-{}\[\]:,'"*&!|>%@`#$a-z0-9 \n]{0,8}"#,
    ) {
        let text = std::fs::read_to_string(project("tests/corpus/accepted/routes.yaml")).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let start = at.index(chars.len());
        let end = (start + length).min(chars.len());
        let changed: String =
            chars[..start].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
        if let Err(found) = load(&changed) {
            prop_assert!(!found.is_empty());
        }
    }
}

#[test]
fn hostile_documents_are_refused_quickly() {
    let deep = format!("routes: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_block: Vec<String> = (0..200).map(|depth| " ".repeat(depth) + "a:").collect();
    let deep_block = deep_block.join("\n");
    let rule = format!(
        "upstreams: {{ a: \"http://a\" }}\nroutes: [{{ path: /, upstream: a, allow: {}{}{} }}]",
        "{ not: ".repeat(40),
        "{ superuser: false }",
        " }".repeat(40)
    );
    let laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n".to_owned();
    let documents = [
        deep,
        deep_block,
        rule,
        laughs,
        "a: b\n---\nc: d\n".to_owned(),
        "%YAML 1.1\n---\na: b\n".to_owned(),
        "\u{0}".to_owned(),
    ];
    for text in documents {
        let start = text.chars().take(40).collect::<String>();
        let found = load(&text).expect_err(&start);
        assert!(!found.is_empty(), "{start}");
    }
}
