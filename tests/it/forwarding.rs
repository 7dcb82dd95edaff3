//! What an application receives: the target, the headers that go, the headers that are set.

use crate::harness::Gateway;
use crate::raw::{PATIENCE, Raw};
use crate::upstream::Upstream;

const YAML: &str = r#"
trusted_proxies: ["${TRUSTED:-192.0.2.0/24}"]
upstreams:
  app: "${APP}"
  fixed: { targets: ["${APP}"], host: upstream }
  legacy: { targets: ["${APP}"], permit_headers: ["X-Auth-Token", "x_legacy"] }
roles:
  analyst: { permissions: ["dashboard:read", "reports:*"] }
identity: { headers: { X-Team: organization } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public/**", upstream: app, allow: public }
  - { path: "/optional/**", upstream: app, allow: optional }
  - { path: "/fixed", upstream: fixed, allow: public }
  - { path: "/legacy", upstream: legacy, allow: public }
  - { path: "/reports", upstream: app, allow: { permissions: ["reports:write"] } }
  - { path: "/as/portcullis", upstream: app, allow: authenticated, identity: { preset: portcullis } }
  - { path: "/as/remote-user", upstream: app, allow: authenticated, identity: { preset: remote-user } }
  - { path: "/as/x-forwarded", upstream: app, allow: authenticated, identity: { preset: x-forwarded } }
  - { path: "/as/x-webauth", upstream: app, allow: authenticated, identity: { preset: x-webauth } }
  - { path: "/as/x-auth-request", upstream: app, allow: authenticated, identity: { preset: x-auth-request } }
  - { path: "/as/username", upstream: app, allow: authenticated, identity: { preset: remote-user, user: username, separator: "|" } }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_the_target_are_the_bytes_forwarded() {
    let (upstream, gateway) = start().await;
    let targets = [
        "/public",
        "/public/",
        "/public/a%20b",
        "/public/%7euser/%C3%BC%c3%bc",
        "/public/a?next=%2F..%2F&x=;y//z",
        "/public/a?",
        "/public/%23%3f%25",
        "/public/@:!$&'()*+,=",
    ];
    for target in targets {
        gateway.client().get(target).send().await.expect(200);
        assert_eq!(upstream.last().target(), target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_absolute_form_goes_on_in_origin_form() {
    let (upstream, gateway) = start().await;
    let target = format!("http://{}/public/x?y", gateway.address);
    gateway.client().get(&target).send().await.expect(200);
    assert_eq!(upstream.last().target(), "/public/x?y");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_in_one_way_is_refused() {
    let (upstream, gateway) = start().await;
    let targets = [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.",
        "/public/..%2fadmin",
        "/public/a%5cb",
        "/public/a\\b",
        "/public//a",
        "/public;a",
        "/public/a%3bb",
        "/public/%00",
        "/public/%0a",
        "/public/%zz",
        "/public/%",
        "/public/%ff",
        "/public/\"",
        "*",
    ];
    for target in targets {
        let answer = gateway.client().get(target).send().await;
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_request_carries_no_identity_and_no_more_than_it_must() {
    let (upstream, gateway) = start().await;
    for path in ["/public", "/optional"] {
        gateway.client().get(path).header("Accept", "*/*").send().await.expect(200);
        let expected = [
            "accept",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ];
        assert_eq!(upstream.last().names(), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_headers_and_what_connection_names_stay_here() {
    let (upstream, gateway) = start().await;
    let call = gateway
        .client()
        .get("/public")
        .header("Connection", "keep-alive, X-Secret-Hop")
        .header("X-Secret-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("TE", "trailers")
        .header("Trailer", "X-User")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
    call.send().await.expect(200);
    let names = upstream.last().names();
    for gone in ["x-secret-hop", "keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert!(!names.contains(&gone.to_owned()), "{gone} in {names:?}");
    }
    for gone in ["trailer", "upgrade", "http2-settings"] {
        assert!(!names.contains(&gone.to_owned()), "{gone} in {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_are_dropped() {
    let (upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(format!(
        "POST /public HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Roles\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Auth-Roles: admin\r\n\r\n",
        gateway.address
    ))
    .await;
    let answer = raw.response("POST").await.expect(200);
    assert!(!answer.text().to_lowercase().contains("x-auth-roles"), "{}", answer.text());
    assert_eq!(upstream.last().body, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_ask_for_single_headers_of_a_stripped_family() {
    let (upstream, gateway) = start().await;
    let call = gateway.client().get("/legacy");
    let call = call.header("X-Auth-Token", "theirs").header("x_legacy", "1").header("x_other", "2");
    call.send().await.expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-auth-token").as_deref(), Some("theirs"));
    assert_eq!(seen.header("x_legacy").as_deref(), Some("1"));
    assert_eq!(seen.header("x_other"), None);
}

/// What each preset sends for Ann beside `X-Auth-Permissions`; `ID` stands for her id.
const PRESETS: [(&str, &[(&str, &str)]); 6] = [
    (
        "portcullis",
        &[
            ("x-auth-email", "ann@example.com"),
            ("x-auth-email-verified", "true"),
            ("x-auth-name", "Ann O'Hara, %25%C3%BC"),
            ("x-auth-roles", "admin,analyst"),
            ("x-auth-user-id", "ID"),
        ],
    ),
    (
        "remote-user",
        &[
            ("remote-email", "ann@example.com"),
            ("remote-groups", "admin,analyst"),
            ("remote-name", "Ann O'Hara, %25%C3%BC"),
            ("remote-user", "ann@example.com"),
            ("x-remote-user", "ann@example.com"),
        ],
    ),
    (
        "x-forwarded",
        &[
            ("x-forwarded-email", "ann@example.com"),
            ("x-forwarded-groups", "admin,analyst"),
            ("x-forwarded-preferred-username", "ann.of.old"),
            ("x-forwarded-user", "ann@example.com"),
        ],
    ),
    (
        "x-webauth",
        &[
            ("x-webauth-email", "ann@example.com"),
            ("x-webauth-groups", "admin,analyst"),
            ("x-webauth-name", "Ann O'Hara, %25%C3%BC"),
            ("x-webauth-user", "ann@example.com"),
        ],
    ),
    (
        "x-auth-request",
        &[
            ("x-auth-request-email", "ann@example.com"),
            ("x-auth-request-groups", "admin,analyst"),
            ("x-auth-request-preferred-username", "ann.of.old"),
            ("x-auth-request-user", "ann@example.com"),
        ],
    ),
    (
        "username",
        &[
            ("remote-email", "ann@example.com"),
            ("remote-groups", "admin|analyst"),
            ("remote-name", "Ann O'Hara, %25%C3%BC"),
            ("remote-user", "ann.of.old"),
            ("x-remote-user", "ann.of.old"),
        ],
    ),
];

/// Whether a header says who calls.
fn is_identity(name: &str) -> bool {
    const FAMILIES: [&str; 5] = ["x-auth-", "remote-", "x-remote-", "x-webauth-", "x-forwarded-"];
    const OTHERS: [&str; 4] =
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-auth-permissions"];
    FAMILIES.iter().any(|family| name.starts_with(family)) && !OTHERS.contains(&name)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_preset_names_the_caller_in_its_own_way() {
    let (upstream, gateway) = start().await;
    let person = gateway.person("ann").role("admin").role("analyst");
    let person = person.set(|draft| {
        draft.username = Some("ann.of.old".to_owned());
        draft.profile.first_name = Some("Ann".to_owned());
        draft.profile.last_name = Some("O'Hara, %ü".to_owned());
    });
    let ann = person.sign_in().await;
    let me = ann.get("/auth/users/me").send().await.expect(200).json();
    let id = me["id"].as_str().unwrap();
    for (preset, expected) in PRESETS {
        ann.get(&format!("/as/{preset}")).send().await.expect(200);
        let mut sent: Vec<_> = upstream
            .last()
            .headers()
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| is_identity(name))
            .collect();
        sent.sort();
        let row = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("ID", id));
        assert_eq!(sent, expected.iter().map(row).collect::<Vec<_>>(), "{preset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_expanded_and_further_headers_are_set() {
    let (upstream, gateway) = start().await;
    let ann = gateway
        .person("ann")
        .role("analyst")
        .set(|draft| draft.profile.organization = Some("Ministry".to_owned()))
        .sign_in()
        .await;
    ann.get("/reports").send().await.expect(200);
    let seen = upstream.last();
    let permissions = seen.header("x-auth-permissions").unwrap();
    assert_eq!(permissions, "dashboard:read,reports:write,reports:*");
    assert_eq!(seen.header("x-team").as_deref(), Some("Ministry"));
    ann.get("/as/portcullis").send().await.expect(200);
    assert_eq!(
        upstream.last().header("x-team"),
        None,
        "a route's identity replaces the other whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_email_is_never_sent() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").unverified().sign_in().await;
    ann.get("/x").send().await.expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-auth-email"), None);
    assert_eq!(seen.header("x-auth-email-verified").as_deref(), Some("false"));
    assert!(!seen.text().contains("ann@example.com"), "{}", seen.text());
    let count = upstream.count();
    let refused = ann.get("/as/remote-user").send().await.expect(403);
    assert_eq!(refused.detail(), "E-mail not verified");
    assert_eq!(upstream.count(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_credentials_stay_here_and_the_applications_own_go_on() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    ann.set_cookie("theirs", "1");
    ann.set_cookie("portcullis-old", "2");
    ann.set_cookie("__Host-portcullis", "3");
    ann.set_cookie("portcullisx", "4");
    ann.get("/x").header("Authorization", "Basic dGhlaXJzOng=").send().await.expect(200);
    let seen = upstream.last();
    let cookies = seen.header("cookie").unwrap();
    let mut cookies: Vec<_> = cookies.split("; ").collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["portcullisx=4", "theirs=1"]);
    assert_eq!(seen.header("authorization").as_deref(), Some("Basic dGhlaXJzOng="));

    let bob = gateway.person("bob").sign_in_with_bearer().await;
    bob.get("/x").send().await.expect(200);
    assert_eq!(upstream.last().header("authorization"), None);
    let foreign = "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6InRoZWlycyJ9.e30.AAAA";
    gateway.client().get("/public").header("Authorization", foreign).send().await.expect(200);
    assert_eq!(upstream.last().header("authorization").as_deref(), Some(foreign));
    let forged = "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6InBjLXgifQ.e30.AAAA";
    gateway.client().get("/public").header("Authorization", forged).send().await.expect(200);
    assert_eq!(upstream.last().header("authorization"), None, "ours by shape, valid or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_is_preserved_unless_the_upstream_wants_its_own() {
    let (upstream, gateway) = start().await;
    let client = gateway.client().with_host("Wiki.Example.com:8443");
    client.get("/public").send().await.expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("host").as_deref(), Some("Wiki.Example.com:8443"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("Wiki.Example.com:8443"));
    client.get("/fixed").send().await.expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("host"), Some(upstream.address.to_string()));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("Wiki.Example.com:8443"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_made_here_unless_a_trusted_peer_brings_a_good_one() {
    let (upstream, gateway) = start().await;
    let ask = async |gateway: &Gateway, id: &str| {
        let call = gateway.client().get("/public").header("X-Request-Id", id);
        let call =
            call.header("X-Forwarded-For", "203.0.113.9").header("X-Forwarded-Proto", "https");
        call.send().await.expect(200);
        upstream.last()
    };
    let seen = ask(&gateway, "chosen-by-client").await;
    assert_ne!(seen.header("x-request-id").unwrap(), "chosen-by-client");
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));

    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let trusting = builder.with("TRUSTED", "127.0.0.0/8").start().await;
    let seen = ask(&trusting, "chosen-by-proxy").await;
    assert_eq!(seen.header("x-request-id").as_deref(), Some("chosen-by-proxy"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    let chain = seen.header("x-forwarded-for").unwrap();
    assert!(chain.starts_with("203.0.113.9"), "{chain}");
    for bad in ["short", "with space in it", "a/b/c/d/e/f/g", &"x".repeat(65)] {
        let seen = ask(&trusting, bad).await;
        assert_ne!(seen.header("x-request-id").as_deref(), Some(bad));
    }
    for (name, value) in [("X-Forwarded-For", "not an address"), ("X-Forwarded-Proto", "gopher")] {
        let answer = trusting.client().get("/public").header(name, value).send().await;
        assert_eq!(answer.status, 400, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_on_with_one_framing() {
    let (upstream, gateway) = start().await;
    let head = format!("POST /public HTTP/1.1\r\nHost: {}\r\n", gateway.address);
    let smuggling = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "Content-Length: +1\r\n\r\na",
    ];
    for framing in smuggling {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(format!("{head}{framing}GET /public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let end = tokio::time::timeout(PATIENCE / 4, raw.read_to_end()).await;
        let Ok(answered) = end else { panic!("{framing:?}: the connection stays open") };
        let text = String::from_utf8_lossy(&answered);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{framing:?}: {text}");
    }
    let both = |seen: &crate::upstream::Seen| {
        !seen.all("content-length").is_empty() && !seen.all("transfer-encoding").is_empty()
    };
    assert!(!upstream.seen().iter().any(both));
    assert!(!upstream.seen().iter().any(|seen| seen.target() == "/public/smuggled"));

    let chunked = "Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(format!("{head}{chunked}")).await;
    raw.response("POST").await.expect(200);
    assert_eq!(upstream.last().body, b"abcde");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permitted_form_goes_on_as_it_came_where_every_reading_is_allowed() {
    let upstream = Upstream::start();
    let yaml = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/files/**", upstream: app, allow: public, permit_in_path: [encoded-slash, double-slash, semicolon] }
  - { path: "/files/private/**", upstream: app, allow: authenticated }
"#;
    let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
    for target in ["/files/a%2fb", "/files//a", "/files/a;v=1", "/files/a%3Bv"] {
        gateway.client().get(target).send().await.expect(200);
        assert_eq!(upstream.last().target(), target);
    }
    let count = upstream.count();
    for target in [
        "/files/x%2f..%2fprivate/a",
        "/files/private%2fa",
        "/files//private/a",
        "/files/private;/a",
    ] {
        let answer = gateway.client().get(target).send().await;
        assert!([400, 401].contains(&answer.status), "{target}: {}", answer.status);
    }
    for target in ["/files/..%2fauth/x", "/files/a%5cb", "/files/%ff"] {
        gateway.client().get(target).send().await.expect(400);
    }
    assert_eq!(upstream.count(), count);
}

/// Permissions of the role `many`: 80 of about 60 bytes, over 4 KiB together.
fn many() -> Vec<String> {
    (0..80).map(|number| format!("{}:read-{number:03}", "archive.".repeat(6))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_permissions_too_long_to_expand_goes_as_granted_and_is_never_cut() {
    let upstream = Upstream::start();
    let quoted = |items: &[String]| {
        items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ")
    };
    let (many, wild) = (many(), format!("{}:*", "archive.".repeat(6)));
    let yaml = format!(
        r#"
upstreams: {{ app: "${{APP}}" }}
roles:
  few: {{ permissions: [{}] }}
  wide: {{ permissions: ["{wild}"] }}
  many: {{ permissions: [{}] }}
routes:
  - {{ path: "/**", upstream: app, allow: authenticated }}
  - {{ path: "/public", upstream: app, allow: public }}
"#,
        quoted(&many[..10]),
        quoted(&many),
    );
    let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
    let few = gateway.person("few").role("few").sign_in().await;
    few.get("/x").send().await.expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-auth-permissions"), Some(many[..10].join(",")));
    assert_eq!(seen.header("x-auth-permissions-expanded"), None);

    let wide = gateway.person("wide").role("wide").sign_in().await;
    wide.get("/x").header("X-Auth-Permissions-Expanded", "true").send().await.expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-auth-permissions").as_deref(), Some(&*wild));
    assert_eq!(seen.header("x-auth-permissions-expanded").as_deref(), Some("false"));

    let count = upstream.count();
    let all = gateway.person("all").role("many").sign_in().await;
    let answer = all.get("/x").send().await.expect(500);
    assert!(!answer.text().contains("archive"), "a 500 tells nothing: {}", answer.text());
    all.visit("/x").send().await.expect(500);
    assert_eq!(upstream.count(), count, "nothing goes on without the list");
    all.get("/public").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_permissions_is_expanded_up_to_four_kibibytes_exactly() {
    let upstream = Upstream::start();
    // 68 of 59 bytes with their commas, then one to fill up, then the wildcard.
    let resource = "r".repeat(38);
    let known: Vec<_> = (0..68).map(|number| format!("{resource}:action-{number:012}")).collect();
    for (length, is_expanded) in [(4, true), (5, false)] {
        let wild = format!("{resource}:*");
        let last = format!("{resource}:{}", "z".repeat(length));
        let names = [&known[..], &[last, wild.clone()]].concat();
        let expected = names.join(",");
        let names: Vec<_> = names.iter().map(|item| format!("{item:?}")).collect();
        let yaml = format!(
            r#"
upstreams: {{ app: "${{APP}}" }}
roles: {{ known: {{ permissions: [{}] }}, wide: {{ permissions: ["{wild}"] }} }}
routes: [{{ path: "/**", upstream: app, allow: authenticated }}]
"#,
            names.join(", ")
        );
        let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
        let ann = gateway.person("ann").role("wide").sign_in().await;
        ann.get("/x").send().await.expect(200);
        let sent = upstream.last().header("x-auth-permissions").unwrap();
        assert_eq!(expected.len() <= 4096, is_expanded, "{}", expected.len());
        assert_eq!(sent, if is_expanded { expected } else { wild });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flag_of_a_list_under_another_name_is_nobody_elses_to_set() {
    let upstream = Upstream::start();
    let yaml = r#"
upstreams: { app: "${APP}" }
identity: { preset: remote-user, user: id, headers: { X-Perms: permissions } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
"#;
    let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").sign_in().await;
    for path in ["/x", "/public"] {
        let call = ann.get(path).header("X-Perms", "forged").header("X-Kept", "yes");
        let call = call.header("X-Perms-Expanded", "forged").header("x_perms_expanded", "forged");
        call.send().await.expect(200);
        let seen = upstream.last();
        assert!(!seen.text().contains("forged"), "{path}: {}", seen.text());
        assert_eq!(seen.header("x-kept").as_deref(), Some("yes"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on() {
    let (upstream, gateway) = start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ann = gateway.person("ann").sign_in().await;
    for (client, path) in [(&gateway.client(), "/public"), (&ann, "/x")] {
        let call = client.get(path).header("traceparent", parent);
        call.header("tracestate", "rojo=00f067aa0ba902b7").send().await.expect(200);
        let seen = upstream.last();
        assert_eq!(seen.header("traceparent").as_deref(), Some(parent), "{path}");
        assert_eq!(seen.header("tracestate").as_deref(), Some("rojo=00f067aa0ba902b7"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_05_what_two_slashes_begin_is_no_way_round_a_rule() {
    let upstream = Upstream::start();
    let yaml = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public, permit_in_path: [double-slash, encoded-slash, encoded-backslash] }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/secret", upstream: app, allow: authenticated }
"#;
    let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
    let cat = gateway.person("cat").sign_in().await;
    for target in ["//h/admin/x", "///h/admin/x", "/%5ch/admin/x", "/%2fh/admin/x", "//h//admin/x"]
    {
        let status = cat.get(target).send().await.status;
        assert!([400, 403].contains(&status), "{target}: {status}");
    }
    gateway.client().get("//h/secret").send().await.expect(401);
    assert_eq!(upstream.count(), 0);
    gateway.client().get("//h/other").send().await.expect(200);
    assert_eq!(upstream.last().target(), "//h/other");
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_07_what_a_semicolon_cuts_off_is_no_way_round_a_rule() {
    let upstream = Upstream::start();
    let yaml = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public, permit_in_path: [semicolon] }
  - { path: "/secret", upstream: app, allow: authenticated }
"#;
    let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
    for target in ["/secret;/x", "/secret%3b/x", "/secret;x", "/secret;v=1/x;w/y"] {
        let status = gateway.client().get(target).send().await.status;
        assert!([400, 401].contains(&status), "{target}: {status}");
    }
    assert_eq!(upstream.count(), 0);
    gateway.client().get("/cars;colour=red/x").send().await.expect(200);
}
