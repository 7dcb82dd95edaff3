//! Everything that is wrong with a configuration, found by one function for `check`, `serve` and
//! reload alike: what the file says ([`config::load_partly`]) and what its routes mean
//! ([`Policy::compile`]), and what letters its templates make. Opens no socket and no database.

use std::path::Path;

use crate::config::{self, Config, Diagnostic, Environment, Problem};
use crate::identity::access::Interner;
use crate::mail::Stationery;
use crate::policy::Policy;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Examined {
    /// What the file means.
    pub config: Config,
    /// Its routes, compiled.
    pub policy: Policy,
    /// The interner they were compiled against.
    pub interner: Interner,
    /// What `check` warns of, in the order of the files and lines.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a configuration. `interner` is the process's own on a reload, else a fresh one.
///
/// # Errors
/// Everything that is wrong, in the order of the files and lines; never an empty list.
pub fn examine(
    path: &Path,
    env: &dyn Environment,
    interner: &Interner,
) -> Result<Examined, Vec<Diagnostic>> {
    let config::Reading { config, mut errors } = config::load_partly(path, env);
    let Some(config) = config else { return Err(errors) };
    let (policy, findings) = Policy::compile(&config, interner);
    errors.extend(diagnose(&findings.errors, &config));
    let overrides = config.portal.pages.overrides();
    let letters = overrides.map(|given| Stationery::faults(given)).unwrap_or_default();
    errors.extend(letters.into_iter().map(Diagnostic::of_override));
    let Some(policy) = policy.filter(|_| errors.is_empty()) else {
        return Err(in_order(errors, &config));
    };
    let mut doubtful = config::warnings(&config);
    doubtful.extend(findings.warnings);
    let warnings = diagnose(&doubtful, &config);
    Ok(Examined { config, policy, interner: interner.clone(), warnings })
}

fn in_order(mut found: Vec<Diagnostic>, config: &Config) -> Vec<Diagnostic> {
    found.sort_by_key(|one| {
        let file = config.sources.files().position(|file| file == one.location.file);
        (file, one.location.line, one.location.column)
    });
    found.dedup();
    found
}

fn diagnose(problems: &[Problem], config: &Config) -> Vec<Diagnostic> {
    let mut problems: Vec<&Problem> = problems.iter().collect();
    problems.sort_by_key(|problem| {
        let place = config.sources.locate(&problem.at);
        (problem.at.file, place.line, place.column)
    });
    problems.dedup();
    problems.into_iter().map(|problem| config.sources.diagnose(problem)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use super::*;

    fn errors_of(text: &str) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("portcullis.yaml");
        std::fs::write(&file, text).expect("a file");
        match examine(&file, &BTreeMap::new(), &Interner::default()) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| error.path.clone()).collect(),
        }
    }

    #[test]
    fn a_mistake_elsewhere_hides_no_mistake_of_the_routes() {
        const ROUTES: &str = r#"
upstreams: { app: "http://127.0.0.1:3000" }
routes:
  - { path: /a, upstream: app, allow: { not: { roles: [staff] } } }
  - { path: /a, upstream: app, allow: { not: { roles: [nobody] } } }
  - { path: /b, upstream: app, allow: { not: { permissions: ["a:read"] } } }
"#;
        const A: &str = "routes[1]";
        const B: &str = "routes[1].allow.not.roles[0]";
        const C: &str = "routes[2].allow.not.permissions[0]";
        for (roles, expected) in [
            ("roles: { staff: {} }", &[A, B, C][..]),
            ("roles: { staff: { permissions: [none] } }", &["roles.staff.permissions[0]", A, B]),
            ("roles: { staff: 5 }", &["roles.staff", A, B]),
            ("roles: { staff: {}, Staff: {} }", &["roles.staff", A, B]),
            ("roles: 5", &["roles", A]),
            ("role: { staff: {} }", &["role", A]),
            ("include: [absent.yaml]", &["", A]),
            ("include: [\"*/a.yaml\"]", &["include[0]", A]),
            ("public_url: 5\nroles: { staff: {} }", &["public_url", A, B, C]),
        ] {
            assert_eq!(errors_of(&format!("{roles}{ROUTES}")), expected, "{roles}");
        }
    }
}
