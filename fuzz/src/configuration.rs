//! The configuration file: every text is read to the end, what is wrong is said where it stands and
//! without secrets, and what is accepted decides.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use http::Method;
use portcullis::config::{Diagnostic, load_text};
use portcullis::identity::access::Interner;
use portcullis::policy::{Decision, Facts, Located, Policy, Verdict};
use portcullis::web::authority::Authority;
use portcullis::web::target::Target;

/// The value of `${SECRET}`, long and lively enough to be one. Nothing may show it.
const SECRET: &str = "Zk8vQe1Yt0pLw7uXc4sRj2Nn5BhMfGd3aO6iTyVx";

/// Checks a text as a whole configuration file.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let environment: BTreeMap<String, String> =
        [("SECRET", SECRET), ("PORT", "8080"), ("EMPTY", ""), ("DOLLAR", "${PORT}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    // Nothing stands beside it that it could include.
    let path = Path::new("/nonexistent/portcullis.yaml");
    match load_text(text, path, &environment) {
        Err(wrong) => check_diagnostics(&wrong, text),
        Ok(config) => {
            assert!(!format!("{config:?}").contains(SECRET), "a secret is printed");
            check_policy(&config);
        }
    }
}

fn check_diagnostics(wrong: &[Diagnostic], text: &str) {
    assert!(!wrong.is_empty(), "refused without a reason");
    // As YAML counts them; a final line end begins one more.
    let lines = text.split(['\n', '\r']).count();
    for one in wrong {
        let (line, column) = (one.location.line, one.location.column);
        assert!((1..=lines).contains(&line), "line {line} of {lines}: {one}");
        assert!(column >= 1, "{one}");
        assert!(!one.message.is_empty());
        assert!(!one.to_string().contains(SECRET), "a secret is printed");
    }
}

fn check_policy(config: &portcullis::config::Config) {
    let (policy, findings) = Policy::compile(config, &Interner::default());
    assert_eq!(policy.is_none(), !findings.errors.is_empty());
    for problem in findings.errors.iter().chain(&findings.warnings) {
        assert!(config.diagnose(problem).location.line >= 1);
    }
    let Some(policy) = policy else { return };
    assert_eq!(policy.table().len(), config.routes.len());
    let client: IpAddr = "10.1.2.3".parse().expect("an address");
    let facts = Facts { caller: None, client: Some(client) };
    for host in ["any.test", "app.example.com"] {
        let authority = Authority::parse(host.as_bytes()).expect("a host");
        for path in ["/", "/a", "/A/", "/admin/x;y", "/auth/login"] {
            let target = Target::parse(path).expect("a target");
            for method in [Method::GET, Method::HEAD, Method::POST] {
                let found = policy.locate(authority.host(), &target, &method);
                let Located::Route(destination) = found else { continue };
                assert!(!policy.is_portal(target.segments()), "{path} is the gateway's own");
                let told = policy.explain(&destination, &facts).decision;
                match policy.decide(&destination, &facts) {
                    Decision::Allow(permit) => {
                        assert_eq!((told, permit.is_identified()), (Verdict::Allow, false));
                    }
                    Decision::Challenge(_) => assert_eq!(told, Verdict::Challenge),
                    Decision::Deny(_) => assert_eq!(told, Verdict::Deny),
                }
            }
        }
    }
}
