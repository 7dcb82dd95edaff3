//! What is refused, and that each mistake is told once, where it stands.

use super::*;

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
        ("accounts: { email_domains: [a.b, A.b] }", "accounts.email_domains[1]", "stands twice"),
        ("accounts: { email_domains: [10.0.0.1] }", "accounts.email_domains[0]", "not a domain"),
        ("accounts: { default_roles: [a, a] }", "accounts.default_roles[1]", "stands twice"),
        ("accounts: { registration: open }", "accounts.registration", "add `mail`"),
        ("accounts: { require_verified: true }", "accounts.require_verified", "add `mail`"),
        ("accounts: { registration: opne }", "accounts.registration", "did you mean `open`"),
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
        ("mail: { from: a@b.c }", "mail", "one of `smtp`, `smtp_file` and `directory`"),
        ("mail: { from: a@b.c, smtp: \"smtp://h\", directory: d }", "mail.directory", "contradict"),
        ("mail: { from: a@b.c, smtp_file: none }", "mail.smtp_file", "cannot read"),
        ("mail: { from: a.@b.c, directory: d }", "mail.from", "not an e-mail address"),
        ("mail: { from: a b@c.d, directory: d }", "mail.from", "expected an address"),
        ("mail: { directory: d }", "mail", "`from` is missing"),
        ("mail: { from: a@b.c, smtp: \"http://h\" }", "mail.smtp", "expected a mail server"),
        ("mail: { from: a@b.c, smtp: \"smtp://h/x\" }", "mail.smtp", "no path"),
        ("mail: { from: a@b.c, smtp: \"smtp://:25\" }", "mail.smtp", "not the URL"),
        ("mail: { from: a@b.c, smtp: \"smtp://u@h\" }", "mail.smtp", "needs a password"),
        ("mail: { from: a@b.c, smtp: \"smtps://h?tls=none\" }", "mail.smtp", "nothing but"),
        ("mail: { from: a@b.c, smtp: \"smtp://u:p@h?tls=none\" }", "mail.smtp", "unprotected"),
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
