//! What keys mean, and what is warned of.

use super::*;

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
fn a_limit_is_a_number_of_times_within_a_time_or_off() {
    let rate = |times, seconds| Some(Rate { times, within: Duration::from_secs(seconds) });
    for text in ["{}", "{ auth: {} }"] {
        assert_eq!(good(&format!("limits: {text}")).auth_limits, AuthLimits::default(), "{text}");
    }
    for text in ["off", "{ auth: off }"] {
        assert_eq!(good(&format!("limits: {text}")).auth_limits, AuthLimits::OFF, "{text}");
    }
    let text = "limits: { auth: { failures_per_address: 1/1s, failures_per_account: off, \
                letters_per_recipient: 999/24h } }";
    let expected = AuthLimits {
        failures_per_address: rate(1, 1),
        failures_per_account: None,
        letters_per_recipient: rate(999, 86_400),
        ..AuthLimits::default()
    };
    assert_eq!(good(text).auth_limits, expected);
    assert_mistakes(&[
        ("limits: { auth: { links_per_address: 5/25h } }", "limits.auth.links_per_address", "1d"),
        ("limits: { auth: { links_per_address: 5/3651d } }", "limits.auth.links_per_address", "1d"),
        (
            "limits: { auth: { links_per_adress: off } }",
            "limits.auth.links_per_adress",
            "unknown key",
        ),
        ("limits: { autg: off }", "limits.autg", "unknown key"),
    ]);
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
    assert_eq!(config.portal.pages.title(), Some("7"));
    assert!(!config.accounts.password.deny_common);
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
    let mail = |query: &str, host: &str| {
        let text = format!("mail: {{ from: a@b.c, smtp: \"smtp://{host}{query}\" }}\n");
        let found = warnings(&good(&text));
        found.iter().any(|problem| problem.at.path == "mail")
    };
    assert!(mail("?tls=none", "mail.example.com"));
    assert!(!mail("?tls=none", "127.0.0.1") && !mail("", "mail.example.com"));
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
