//! What a configuration means, table by table.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod files;
mod meaning;
mod mistakes;
mod providers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::web::headers::UserField;

type Env = BTreeMap<String, String>;

const SECRET: &str = "Zk8vQe1Yt0pLw7uXc4sRj2Nn5BhMfGd3aO6iTyVx";
const APP: &str = "upstreams: { app: \"http://127.0.0.1:3000\" }\n";

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str) -> Result<Config, Vec<Diagnostic>> {
    load_text(text, Path::new("portcullis.yaml"), &Env::new())
}

fn good(text: &str) -> Config {
    load(text).unwrap_or_else(|found| panic!("{text}\n{}", shown(&found)))
}

fn shown(found: &[Diagnostic]) -> String {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Each text has exactly one mistake, which is reported at the path with the words.
fn assert_mistakes(cases: &[(&str, &str, &str)]) {
    for (text, path, words) in cases {
        let found = load(text).expect_err(text);
        assert_eq!(found.len(), 1, "{text}\n{}", shown(&found));
        assert_eq!(found[0].path, *path, "{text}\n{}", shown(&found));
        assert!(found[0].to_string().contains(words), "{text}\n{}", shown(&found));
    }
}
