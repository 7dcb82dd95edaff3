//! What a configuration means, table by table.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

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

#[test]
fn what_contradicts_itself_is_refused() {
    assert_mistakes(&[
        ("sessions: { cookie: { same_site: none } }", "sessions.cookie.same_site", "secure cookie"),
        ("sessions: { cookie: { name: __Secure-x } }", "sessions.cookie.name", "prefix"),
        ("sessions: { cookie: { domain: 10.0.0.1 } }", "sessions.cookie.domain", "not a domain"),
        (
            "public_url: https://auth.example.org\nsessions: { cookie: { domain: example.com } }",
            "sessions.cookie.domain",
            "does not cover auth.example.org of `public_url`",
        ),
        (
            "sessions: { remember: { idle: 31d, lifetime: 30d } }",
            "sessions.remember.idle",
            "longer",
        ),
        ("accounts: { password: { max_length: 5 } }", "accounts.password.max_length", "less than"),
        ("portal: { path: /a/../b }", "portal.path", "dot segments"),
        (
            "portal: { path: /users/auth, users_path: /users }",
            "portal.users_path",
            "below the other",
        ),
        ("listen: 0.0.0.0:8080", "public_url", "only if every listener is on loopback"),
        ("listen: [127.0.0.1:1, \"[::]:2\"]", "public_url", "only if every listener"),
        ("management: 127.0.0.1:8080", "management", "already"),
        ("database: postgres://u:p@db/x", "database", "PostgreSQL requires `secret`"),
        ("database: { url: \"sqlite::memory:\" }", "database.url", "in memory"),
        ("database: \"sqlite://a.db?mode=ro\"", "database", "no more"),
        ("telemetry: { level: \"info,debgu\" }", "telemetry.level", "did you mean `debug`"),
        ("drain: 3651d", "drain", "longer than 3650d"),
        ("trusted_proxies: [fd00::1/8]", "trusted_proxies[0]", "did you mean `fd00::/8`"),
        ("trusted_proxies: [10.0.0.0/33]", "trusted_proxies[0]", "not a network"),
        ("roles: { a: {}, A: {} }", "roles.a", "only in case"),
        ("roles: { ADMIN: {} }", "roles.ADMIN", "built-in role `admin`"),
        ("upstreams: { app: https://127.0.0.1:1 }", "upstreams.app", "not supported"),
        ("upstreams: { app: http://127.0.0.1:70000 }", "upstreams.app", "not a target"),
        ("secret: short\nsecret_file: x", "secret_file", "contradict"),
    ]);
}

#[test]
fn what_a_route_may_not_say_is_refused() {
    let cases = [
        ("upstream: ap, allow: public", "routes[0].upstream", "did you mean `app`"),
        ("upstream: app, allow: publik", "routes[0].allow", "did you mean `public`"),
        ("upstream: app, allow: {}", "routes[0].allow", "at least one condition"),
        ("upstream: app, allow: { roles: [] }", "routes[0].allow.roles", "may not be empty"),
        ("upstream: app, allow: { any: [{}] }", "routes[0].allow.any[0]", "at least one condition"),
        (
            "upstream: app, allow: { superuser: false }",
            "routes[0].allow.superuser",
            "expected true",
        ),
        ("upstream: app, allow: { any: [public] }", "routes[0].allow.any[0]", "authenticated"),
        (
            "upstream: app, allow: { permissions: [\"users:*\"] }",
            "routes[0].allow.permissions[0]",
            "without *",
        ),
        (
            "upstream: app, allow: { roles: [admin], anonymous: true }",
            "routes[0].allow.anonymous",
            "not beside roles",
        ),
        (
            "upstream: app, allow: { not: { all: [{ anonymous: true }] } }",
            "routes[0].allow.not.all[0].anonymous",
            "inside `not`",
        ),
        (
            "upstream: app, allow: { any: [{ not: { any: [{ users: [bob@example.com] }] } }] }",
            "routes[0].allow.any[0].not.any[0].users[0]",
            "use the id",
        ),
        (
            "upstream: app, allow: { roles: [a], optional: { roles: [b] } }",
            "routes[0].allow.roles",
            "nothing may stand beside `optional`",
        ),
        ("upstream: app, allow: public, methods: [GET, GET]", "routes[0].methods[1]", "twice"),
        ("upstream: app, allow: public, host: \"..\"", "routes[0].host", "not a host"),
        (
            "upstream: app, allow: public, identity: { headers: { X-Forwarded-Host: id } }",
            "routes[0].identity.headers.X-Forwarded-Host",
            "cannot carry an identity",
        ),
    ];
    for (members, path, words) in cases {
        let text = format!("{APP}routes: [{{ path: /, {members} }}]");
        assert_mistakes(&[(&text, path, words)]);
    }
}

#[test]
fn a_header_that_the_gateway_sets_is_nobodys_to_let_through() {
    for (name, words) in [
        ("X-AUTH-USER-ID", "the gateway sets it"),
        ("x_auth_roles", "the gateway sets it"),
        ("Remote.User", "the gateway sets it"),
        ("X-Forwarded-For", "the gateway sets it"),
        ("Content_Length", "frames or authenticates"),
        ("Keep-Alive", "hop-by-hop"),
        ("x_team", "`identity.headers` names it"),
        ("X-Squad", "`identity.headers` names it"),
    ] {
        let text = format!(
            "upstreams: {{ app: {{ targets: ['http://127.0.0.1:1'], permit_headers: [X_Own, {name}] }} }}\n\
             identity: {{ headers: {{ X-Team: organization }} }}\n\
             routes: [{{ path: /, upstream: app, allow: public, \
             identity: {{ headers: {{ x-squad: department }} }} }}]"
        );
        assert_mistakes(&[(&text, "upstreams.app.permit_headers[1]", words)]);
    }
}

#[test]
fn a_mistake_does_not_cause_further_ones() {
    let cases = [
        // A route that goes to an upstream that is refused.
        "upstreams: { app: 5 }\nroutes: [{ path: /, upstream: app, allow: public }]",
        // Items before the mistake's keep their numbers, those after it too.
        "public_url: 5\nlisten: 0.0.0.0:80",
        "secret: 5\ndatabase: postgres://u:p@db/x",
    ];
    for text in cases {
        let found = load(text).expect_err(text);
        assert_eq!(found.len(), 1, "{text}\n{}", shown(&found));
    }
    let text = format!(
        "{APP}routes:\n- {{ path: /, upstream: app }}\n- {{ path: /a, upstream: ap, allow: public }}"
    );
    let found = load(&text).expect_err("two mistakes");
    let paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["routes[0]", "routes[1].upstream"]);
}

#[test]
fn what_could_be_read_is_there_to_be_looked_through() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portcullis.yaml");
    let cases = [
        ("workers: many", true),
        ("roles: { a: 5 }", true),
        ("public_url: 5", true),
        ("a: [", false),
    ];
    for (text, is_there) in cases {
        let routes = "routes: [{ upstream: 5 }, { path: /, upstream: app, allow: public }]";
        std::fs::write(&path, format!("{APP}{routes}\n{text}")).unwrap();
        let reading = load_partly(&path, &Env::new());
        assert!(!reading.errors.is_empty(), "{text}");
        assert_eq!(reading.config.is_some(), is_there, "{text}");
        let Some(config) = reading.config else { continue };
        assert_eq!(config.routes.len(), 1);
        assert_eq!(config.routes[0].at.path, "routes[1]");
    }
}

#[test]
fn the_cookie_has_the_strongest_prefix_that_is_allowed() {
    let cases = [
        ("", "portcullis", false),
        ("public_url: https://a.example.com", "__Host-portcullis", true),
        (
            "public_url: https://a.example.com\nsessions: { cookie: { domain: .Example.com } }",
            "__Secure-portcullis",
            true,
        ),
        (
            "public_url: https://a.example.com\nsessions: { cookie: { secure: false } }",
            "portcullis",
            false,
        ),
        ("sessions: { cookie: { secure: true, name: gate } }", "__Host-gate", true),
    ];
    for (text, name, secure) in cases {
        let cookie = good(text).sessions.cookie;
        assert_eq!((cookie.wire_name.as_str(), cookie.secure), (name, secure), "{text}");
        assert_eq!(cookie.domain.as_deref(), text.contains("domain").then_some("example.com"));
    }
}

#[test]
fn one_lifetime_alone_bends_the_default_of_the_other() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let cases = [
        ("{}", 2, 12),
        ("{ lifetime: 1h }", 1, 1),
        ("{ idle: 24h }", 24, 24),
        ("{ idle: 1h, lifetime: 3h }", 1, 3),
    ];
    for (text, idle, lifetime) in cases {
        let sessions = good(&format!("sessions: {text}")).sessions;
        assert_eq!(sessions.plain, Lifetimes { idle: hours(idle), lifetime: hours(lifetime) });
    }
}

#[test]
fn durations_are_seconds_minutes_hours_and_days() {
    for (text, seconds) in [("0s", 0), ("45s", 45), ("2m", 120), ("3h", 10_800), ("1d", 86_400)] {
        assert_eq!(good(&format!("drain: {text}")).drain, Duration::from_secs(seconds), "{text}");
    }
}

#[test]
fn a_replaced_scalar_is_read_as_the_type_of_its_field() {
    let text = "
workers: ${N}
hashing: { queue: \"${N}\" }
portal: { title: \"${N}\" }
accounts: { password: { deny_common: \"${NO}\" } }
secret: ${EMPTY}
public_url: ${EMPTY:-http://localhost:9}
drain: ${UNSET:-5s}
database: { url: 'sqlite://a-$$-${N}.db' }
tokens: { audience: ['${YAML}', '${DOLLARS}', '$5', '$$$$'] }
";
    let set =
        env(&[("N", "7"), ("NO", "false"), ("EMPTY", ""), ("YAML", "[a]"), ("DOLLARS", "$$${N}")]);
    let config =
        load_text(text, Path::new("p.yaml"), &set).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert_eq!(config.workers, 7);
    assert_eq!(config.hashing.queue, 7);
    assert_eq!(config.portal.title, "7");
    assert!(!config.password.deny_common);
    assert!(config.secret.is_none());
    assert_eq!(config.public_url.to_string(), "http://localhost:9");
    assert_eq!(config.drain, Duration::from_secs(5));
    assert!(
        matches!(&config.database.url, DatabaseUrl::Sqlite(path) if path.ends_with("a-$-7.db"))
    );
    assert_eq!(config.tokens.audience, ["[a]", "$$${N}", "$5", "$$"]);
}

#[test]
fn variables_are_not_replaced_in_keys_and_must_be_spelled_right() {
    assert_mistakes(&[
        ("${N}: 1", "${N}", "unknown key"),
        ("secret: ${N", "secret", "without `}`"),
        ("secret: ${1N}", "secret", "expected `${NAME}`"),
        ("secret: ${N-x}", "secret", "expected `${NAME}`"),
        ("secret: ${N}", "secret", "variable N is not set"),
    ]);
}

#[test]
fn paths_are_relative_to_the_file_and_the_database_to_the_data() {
    let at = |text: &str, env: &Env| load_text(text, Path::new("/etc/pc/p.yaml"), env).unwrap();
    let database = |config: &Config| match &config.database.url {
        DatabaseUrl::Sqlite(path) => path.clone(),
        DatabaseUrl::Postgres(_) => PathBuf::new(),
    };
    let plain = at("telemetry: { access_log: log/access }", &Env::new());
    assert_eq!(plain.data, Path::new("/etc/pc"));
    assert_eq!(database(&plain), Path::new("/etc/pc/portcullis.db"));
    assert_eq!(plain.telemetry.access_log, AccessLog::File("/etc/pc/log/access".into()));
    let moved = at("data: ../var\ndatabase: sqlite://x/y.db", &Env::new());
    assert_eq!(database(&moved), Path::new("/etc/pc/../var/x/y.db"));
    let overridden = at("data: ../var", &env(&[("PORTCULLIS_DATA", "/data")]));
    assert_eq!(overridden.data, Path::new("/data"));
    assert_eq!(database(&overridden), Path::new("/data/portcullis.db"));
    let absolute = at("database: sqlite:///srv/a.db", &Env::new());
    assert_eq!(database(&absolute), Path::new("/srv/a.db"));
}

#[test]
fn the_public_address_is_the_first_listener_unless_the_file_says() {
    let cases = [
        ("", "http://127.0.0.1:8080", false),
        ("listen: \"[::1]:81\"", "http://[::1]:81", false),
        ("listen: [127.0.0.2:80, 127.0.0.1:81]", "http://127.0.0.2", false),
        ("listen: 0.0.0.0:80\npublic_url: https://A.example.com/", "https://a.example.com", true),
    ];
    for (text, url, is_given) in cases {
        let config = good(text);
        assert_eq!(
            (config.public_url.to_string().as_str(), config.public_url_given),
            (url, is_given)
        );
    }
}

#[test]
fn mapped_networks_are_ipv4_and_bare_addresses_networks_of_one() {
    let config = good("trusted_proxies: [\"::ffff:10.0.0.0/104\", 192.168.0.7, \"fd00::/8\"]");
    let shown: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "192.168.0.7/32", "fd00::/8"]);
    assert!(contains(&config.trusted_proxies, "::ffff:10.1.2.3".parse().unwrap()));
}

#[test]
fn rules_mean_what_they_say() {
    let text = format!(
        "{APP}routes:
- {{ path: /a, upstream: app, allow: {{ users: [Bob@EXAMPLE.com, 3b241101-e2bb-4255-8caf-4136c566a962], verified: true }} }}
- {{ path: /b, upstream: app, allow: {{ optional: authenticated }} }}
- {{ path: /c, upstream: app, allow: optional, unauthenticated: 401, host: app.example.com }}
- {{ path: /d, upstream: app, allow: {{ any: [authenticated, {{ not: {{ superuser: true }} }}] }} }}"
    );
    let config = good(&text);
    let Allow::Rule(Rule::Map(map)) = &config.routes[0].allow else { panic!("a map") };
    let id = uuid::Uuid::parse_str("3b241101-e2bb-4255-8caf-4136c566a962").unwrap();
    assert_eq!(map.users, [UserRef::Email("Bob@EXAMPLE.com".into()), UserRef::Id(id)]);
    assert!(map.verified && !map.superuser && !map.anonymous);
    assert_eq!(map.at.path, "routes[0].allow");
    assert_eq!(config.routes[1].allow, Allow::Optional(Some(Rule::Authenticated)));
    assert_eq!(config.routes[2].allow, Allow::Optional(None));
    assert_eq!(config.routes[2].unauthenticated, Unauthenticated::Status401);
    assert_eq!(config.routes[2].name, "app.example.com/c");
    let Allow::Rule(Rule::Map(map)) = &config.routes[3].allow else { panic!("a map") };
    let Rule::Map(not) = &map.any[1] else { panic!("a map") };
    assert!(matches!(&not.not, Some(Rule::Map(inner)) if inner.superuser));
}

#[test]
fn equal_identity_profiles_are_one_and_the_first_is_the_top_level_one() {
    let text = format!(
        "{APP}identity: {{ user: id }}\nroutes:
- {{ path: /a, upstream: app, allow: public }}
- {{ path: /b, upstream: app, allow: public, identity: {{ preset: remote-user }} }}
- {{ path: /c, upstream: app, allow: public, identity: {{ preset: remote-user, user: email }} }}
- {{ path: /d, upstream: app, allow: public, identity: {{ preset: portcullis }} }}"
    );
    let config = good(&text);
    let numbers: Vec<usize> = config.routes.iter().map(|route| route.profile).collect();
    assert_eq!(numbers, [0, 1, 1, 0]);
    assert_eq!(config.profiles.len(), 2);
    assert_eq!(config.profiles[1].user, UserField::Email);
}

#[test]
fn admin_is_built_in_unless_the_file_declares_it() {
    let built_in = &good("").roles["admin"];
    assert_eq!((built_in.permissions.as_slice(), &built_in.at), (&["*:*".to_owned()][..], &None));
    let declared = &good("roles: { admin: { permissions: [\"a:b\"] } }").roles["admin"];
    assert_eq!(declared.permissions, ["a:b"]);
    assert_eq!(declared.at.as_ref().unwrap().path, "roles.admin");
}

#[test]
fn included_files_add_routes_upstreams_and_roles() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    std::fs::create_dir(directory.path().join("routes.d")).unwrap();
    write(
        "portcullis.yaml",
        &format!(
            "include: [\"routes.d/*.yaml\"]\n{APP}routes: [{{ path: /, upstream: b, allow: public }}]"
        ),
    );
    write(
        "routes.d/b.yaml",
        "upstreams: { b: http://b }\nroutes: [{ path: /b, upstream: app, allow: public }]",
    );
    write(
        "routes.d/a.yaml",
        "roles: { r: {} }\nroutes:\n  - { path: /a, upstream: b, allow: public }",
    );
    write("routes.d/.hidden.yaml", "nonsense");
    let path = directory.path().join("portcullis.yaml");
    let config = super::load(&path, &Env::new()).unwrap_or_else(|f| panic!("{}", shown(&f)));
    let paths: Vec<&str> = config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/", "/a", "/b"]);
    assert!(config.roles.contains_key("r"));
    let problem = Problem { at: config.routes[1].at.clone(), message: "odd".into() };
    let name = directory.path().join("routes.d/a.yaml");
    assert_eq!(
        config.diagnose(&problem).to_string(),
        format!("{}:3:5: routes[0]: odd", name.display())
    );
    let directories = config.sources.directories();
    assert_eq!(directories, [directory.path().to_owned(), directory.path().join("routes.d")]);

    write(
        "routes.d/c.yaml",
        "include: [x]\nlisten: 1.2.3.4:5\nroles: { R: {} }\nupstreams: { b: http://c }",
    );
    let found = super::load(&path, &Env::new()).expect_err("four mistakes");
    let messages = shown(&found);
    for words in [
        "c.yaml:1:1: include: only the main file",
        "c.yaml:2:1: listen: only the main file",
        "c.yaml:3:13: roles.R: `R` differs from `r` only in case",
        "c.yaml:4:17: upstreams.b: `b` is declared in",
    ] {
        assert!(messages.contains(words), "{words}\n{messages}");
    }
    assert_eq!(found.len(), 4, "{messages}");
}

#[cfg(unix)]
#[test]
fn a_file_whose_name_is_not_utf_8_is_included_like_any_other() {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.yaml");
    let route = "routes: [{ path: /b, upstream: app, allow: authenticated }]";
    std::fs::write(directory.path().join(name), route).unwrap();
    let text = format!("include: [\"*.yaml\"]\n{APP}");
    let config = load_text(&text, &directory.path().join("main.yml"), &Env::new());
    assert_eq!(config.unwrap().routes.len(), 1);
}

#[test]
fn a_missing_or_odd_include_is_refused() {
    assert_mistakes(&[
        ("include: [nowhere.yaml]", "", "cannot be read"),
        ("include: [\"nowhere.d/*.yaml\"]", "include[0]", "cannot read the directory"),
        ("include: [\"*/x.yaml\"]", "include[0]", "last part"),
    ]);
}

#[cfg(unix)]
#[test]
fn a_secret_file_must_be_private_and_loses_one_newline() {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let text = "secret_file: secret\ndatabase: postgres://u:p@db/x";
    let at = directory.path().join("portcullis.yaml");
    for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        match load_text(text, &at, &Env::new()) {
            Ok(config) => {
                assert!(is_private, "{mode:o}");
                assert_eq!(config.secret.unwrap().expose_secret(), SECRET);
            }
            Err(found) => {
                assert!(!is_private, "{mode:o} {}", shown(&found));
                assert!(shown(&found).contains("open to others"), "{}", shown(&found));
                assert_eq!(found.len(), 1);
            }
        }
    }
    let found = load_text("secret_file: nowhere", &at, &Env::new()).expect_err("no such file");
    assert!(shown(&found).contains("cannot read"), "{}", shown(&found));
}

#[test]
fn the_file_is_the_one_named_then_the_environments() {
    let set = env(&[("PORTCULLIS_CONFIG", "/b.yaml")]);
    let named = Path::new("/a.yaml");
    assert_eq!(find_file(Some(named), &set).unwrap(), named);
    assert_eq!(find_file(None, &set).unwrap(), Path::new("/b.yaml"));
}

#[test]
fn only_what_cannot_be_swapped_needs_a_restart() {
    let base = format!("{APP}secret: {SECRET}\n");
    let old = good(&base);
    let cases: [(&str, &[&str]); 10] = [
        ("", &[]),
        ("roles: { r: {} }\ntrusted_proxies: [10.0.0.0/8]\norigins: [\"https://a.example\"]", &[]),
        ("routes: [{ path: /, upstream: app, allow: public }]\nportal: { title: Hello }", &[]),
        ("sessions: { idle: 1h, max_staleness: 1s }\ntokens: { access_lifetime: 2h }", &[]),
        ("accounts: { password: { min_length: 9 } }\nidentity: { preset: remote-user }", &[]),
        ("listen: 127.0.0.1:9", &["listen", "public_url"]),
        ("workers: 999\nhashing: { queue: 9 }", &["workers", "hashing"]),
        ("previous_secrets: [\"f3a9c07b51e84d26b8d0e72a94c16f35\"]", &["previous_secrets"]),
        (
            "sessions: { cookie: { name: x }, cache: { entries: 1 } }",
            &["sessions.cookie", "sessions.cache"],
        ),
        (
            "data: /x\nportal: { path: /p }\nmanagement: off",
            &["management", "data", "database", "portal.path"],
        ),
    ];
    for (added, keys) in cases {
        let new = good(&format!("{base}{added}"));
        assert_eq!(old.restart_keys(&new), keys, "{added}");
        let kept = old.with_reloadable(new);
        assert!(old.restart_keys(&kept).is_empty(), "what needs a restart is left alone: {added}");
    }
    let changed = good(&format!("{APP}secret: {SECRET}x\n"));
    assert_eq!(old.restart_keys(&changed), ["secret"]);
    assert!(old.restart_keys(&old.with_reloadable(changed)).is_empty());
}

#[test]
fn what_is_odd_but_works_is_warned_of() {
    let routed =
        format!("{APP}routes: [{{ path: /, upstream: app, allow: {{ roles: [analyst] }} }}]\n");
    let cases: [(&str, &[(&str, &str)]); 10] = [
        ("", &[]),
        ("public_url: http://a.example.com", &[("public_url", "can be read on their way")]),
        (
            "public_url: http://a.example.com\nsessions: { cookie: { secure: true } }",
            &[("sessions.cookie.secure", "nobody can stay signed in")],
        ),
        (
            "public_url: https://a.example.com\nsessions: { cookie: { secure: false } }",
            &[("sessions.cookie.secure", "not secure")],
        ),
        ("public_url: https://a.example.com", &[("trusted_proxies", "cross-site")]),
        ("public_url: https://a.example.com\ntrusted_proxies: [127.0.0.1]", &[]),
        ("public_url: http://localhost:8000", &[("public_url", "port 8000")]),
        ("trusted_proxies: [0.0.0.0/0]", &[("trusted_proxies[0]", "everybody")]),
        (
            "identity: { headers: { X-Team: organization, X-Id: id } }",
            &[("identity.headers", "`x-team`")],
        ),
        (
            "roles: { analist: {}, zoo: {}, admin: { permissions: [\"*:*\"] } }",
            &[("roles.analist", "one names `analyst`"), ("roles.zoo", "no rule uses")],
        ),
    ];
    for (added, expected) in cases {
        let found = warnings(&good(&format!("{routed}{added}")));
        assert_eq!(found.len(), expected.len(), "{added}: {found:?}");
        for (problem, (path, words)) in found.iter().zip(expected) {
            assert_eq!(problem.at.path, *path, "{added}");
            assert!(problem.message.contains(words), "{added}: {}", problem.message);
        }
    }
    let unused = warnings(&good("upstreams: { a: http://a }\nroutes: []"));
    assert_eq!(unused.len(), 2, "{unused:?}");
}

#[test]
fn a_role_whose_grant_covers_a_named_permission_is_used() {
    let text = format!(
        "{APP}roles: {{ a: {{ permissions: [\"users:*\"] }}, b: {{ permissions: [\"user:*\"] }}, c: {{ permissions: [\"*:read\"] }} }}
routes: [{{ path: /, upstream: app, allow: {{ any: [{{ permissions: [\"users:groups:read\"] }}] }} }}]"
    );
    let found = warnings(&good(&text));
    let paths: Vec<&str> = found.iter().map(|problem| problem.at.path.as_str()).collect();
    assert_eq!(paths, ["roles.b"]);
}
