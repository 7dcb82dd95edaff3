//! Which table, which rule, whose address: what a head says beside its path.

use std::fmt::Write as _;

use super::super::trial::Bench;
use super::asks;

/// A host's dots are dots, a wildcard ends at one, and a pattern takes the whole path.
#[tokio::test(flavor = "multi_thread")]
async fn pth_20_a_pattern_is_no_regular_expression() {
    let bench = Bench::start(
        r#"
upstreams: { app: { targets: ["${APP}"], case_sensitive: true } }
routes:
  - { path: "/probe/**", upstream: app, allow: public }
  - { host: "foo.example.com", path: "/**", upstream: app, allow: public }
  - { host: "*.apps.example", path: "/**", upstream: app, allow: public }
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/a.b", upstream: app, allow: public }
  - { path: "/c+", upstream: app, allow: public }
  - { path: "/(d)$", upstream: app, allow: public }
  - { path: "/f/*/g", upstream: app, allow: public }
  - { path: "/h/{id}", upstream: app, allow: public }
"#,
    )
    .await;
    let mut trials = Vec::new();
    for (host, status) in [
        ("foo.example.com", 200),
        ("fooaexample.com", 401),
        ("foo.exampleacom", 401),
        ("foo.example.com.evil", 401),
        ("xfoo.example.com", 401),
        ("a.foo.example.com", 401),
        ("example.com", 401),
        ("a.apps.example", 200),
        ("a.b.apps.example", 200),
        ("apps.example", 401),
        ("aapps.example", 401),
        ("a.appsxexample", 401),
        ("a.apps.example.evil", 401),
        ("foo.example.com-", 401),
    ] {
        trials.push(asks(&bench, "GET", "/x", &format!("Host: {host}\r\n"), status));
    }
    for (target, status) in [
        ("/a.b", 200),
        ("/axb", 401),
        ("/a.bc", 401),
        ("/xa.b", 401),
        ("/a.b/x", 401),
        ("/c+", 200),
        ("/c", 401),
        ("/cc", 401),
        ("/c%2b", 200),
        ("/d", 401),
        ("/(d)$", 200),
        ("/e", 401),
        ("/f/x/g", 200),
        ("/f/x/y/g", 401),
        ("/f//g", 400),
        ("/f/g", 401),
        ("/f/x/gg", 401),
        ("/f/x/g/h", 401),
        ("/h/1", 200),
        ("/h/1/2", 401),
        ("/h/", 401),
        ("/h", 401),
        ("/a.b%0a", 400),
        ("/a.b%0d%0a", 400),
        ("/f/x%0a/g", 400),
        ("/h/%00", 400),
        ("/f/x%2fy/g", 400),
        ("/f/%20/g", 200),
        ("/x/a.b", 401),
        ("/f/*/g", 200),
        ("/h/{id}", 400),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            trials.push(asks(&bench, method, target, "Host: a\r\n", status));
        }
    }
    bench.play(trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_22_a_preflight_is_answered_here_or_follows_the_rule() {
    let bench = Bench::start(
        r#"
upstreams: { app: "${APP}" }
origins: ["https://listed.example"]
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
"#,
    )
    .await;
    let ann = bench.gateway.person("ann").role("admin").sign_in().await;
    let ann = format!("Cookie: {}\r\n", ann.cookies());
    let listed = "Origin: https://listed.example\r\n";
    let asked = "Access-Control-Request-Method: DELETE\r\n";
    let forged = "X-User: admin\r\nX-Auth-User-Id: forged\r\nRemote-User: forged\r\nX-Forwarded-User: forged\r\n";
    let mut trials = Vec::new();
    for (lines, guarded, public) in [
        (String::new(), 401, 200),
        (asked.to_owned(), 401, 200),
        (listed.to_owned(), 401, 200),
        (format!("{listed}{asked}"), 204, 200),
        (format!("Origin: https://evil.example\r\n{asked}"), 401, 200),
        (format!("Origin: null\r\n{asked}"), 401, 200),
        (format!("Origin: http://listed.example\r\n{asked}"), 401, 200),
        (format!("Origin: https://listed.example.evil\r\n{asked}"), 401, 200),
        (format!("Origin: https://listed.example:444\r\n{asked}"), 401, 200),
        (format!("{listed}Origin: https://evil.example\r\n{asked}"), 401, 200),
        (format!("{listed}Access-Control-Request-Method: \r\n"), 401, 200),
        (format!("{listed}Access-Control-Request-Method: GET\r\n{asked}"), 204, 200),
        (format!("{listed}Access-Control-Request-Method: a b\r\n"), 401, 200),
        (format!("{ann}Origin: http://a\r\n{asked}"), 200, 200),
    ] {
        for more in ["", forged, "Access-Control-Request-Headers: authorization\r\n"] {
            let lines = format!("Host: a\r\n{lines}{more}");
            for (target, status) in [("/admin/x", guarded), ("/admin", guarded), ("/x", public)] {
                trials.push(asks(&bench, "OPTIONS", target, &lines, status));
            }
            // Another method with the same fields is no preflight.
            let status = if lines.contains("Cookie") { 200 } else { 401 };
            trials.push(asks(&bench, "GET", "/admin/x", &lines, status));
        }
    }
    bench.play(trials).await;
    for received in bench.received() {
        assert!(!received.head.contains("forged"), "{}", received.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_23_a_host_is_one_however_it_is_spelt_among_few_and_many() {
    for count in [1, 200] {
        let mut others = String::new();
        for n in 1..count {
            let route = "path: \"/**\", upstream: app, allow: public";
            writeln!(others, "  - {{ host: \"h{n}.example.com\", {route} }}").unwrap();
        }
        let bench = Bench::start(&format!(
            r#"
upstreams: {{ app: "${{APP}}" }}
routes:
  - {{ path: "/**", upstream: app, allow: public }}
  - {{ host: "Admin.Example.com", path: "/**", upstream: app, allow: authenticated }}
  - {{ host: "bücher.example", path: "/**", upstream: app, allow: authenticated }}
  - {{ host: "*.Apps.example", path: "/**", upstream: app, allow: authenticated }}
{others}"#
        ))
        .await;
        let mut trials = Vec::new();
        for guarded in [
            "admin.example.com",
            "xn--bcher-kva.example",
            "a.apps.example",
            "xn--bcher-kva.apps.example",
        ] {
            let mixed: String = guarded
                .char_indices()
                .map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c })
                .collect();
            for name in [guarded, &guarded.to_ascii_uppercase(), &mixed] {
                for end in ["", ".", ":80", ":443", ":8443", ".:443", ".:1"] {
                    for method in ["GET", "POST"] {
                        let lines = format!("Host: {name}{end}\r\nX-Forwarded-Host: a\r\n");
                        trials.push(asks(&bench, method, "/x", &lines, 401));
                    }
                }
            }
        }
        for public in [
            "xadmin.example.com",
            "admin.example.com.evil",
            "adminxexample.com",
            "admin-example.com",
            "apps.example",
            "bucher.example",
            "xn--bcher-kva.evil",
            "h1.example.com",
            "H1.EXAMPLE.com.:80",
        ] {
            trials.push(asks(&bench, "GET", "/x", &format!("Host: {public}\r\n"), 200));
        }
        for none in [
            "admin.example.com..",
            "bücher.example",
            ".admin.example.com",
            "admin..example.com",
            "admin.example.com:",
        ] {
            trials.push(asks(&bench, "GET", "/x", &format!("Host: {none}\r\n"), 400));
        }
        bench.play(trials).await;
    }
}

const ADDRESSES: [&str; 14] = [
    "X-Forwarded-Uri",
    "X-Forwarded-Path",
    "X-Forwarded-Prefix",
    "X-Original-URI",
    "X-Original-URL",
    "X-Original-Path",
    "X-Rewrite-URL",
    "X-Rewrite-Uri",
    "X-Envoy-Original-Path",
    "x_original_url",
    "X.Forwarded.Uri",
    "X-Forwarded_Uri",
    "X-Original-Request-URI",
    "X-Envoy_Original-Path",
];

#[tokio::test(flavor = "multi_thread")]
async fn pth_25_the_request_line_alone_says_what_is_asked_for() {
    for trusted in ["[]", "[\"127.0.0.1/32\"]"] {
        let bench = Bench::start(&format!(
            r#"
upstreams: {{ app: "${{APP}}" }}
trusted_proxies: {trusted}
routes:
  - {{ path: "/probe/**", upstream: app, allow: public }}
  - {{ path: "/public/**", upstream: app, allow: public }}
  - {{ path: "/admin/**", upstream: app, allow: authenticated }}
  - {{ path: "/read/**", methods: [GET], upstream: app, allow: public }}
"#
        ))
        .await;
        let mut trials = Vec::new();
        for name in ADDRESSES {
            for value in [
                "/public/x",
                "http://a/public/x",
                "/auth/login",
                "/outpost/x",
                "/admin/x",
                "/%2e%2e/",
            ] {
                let lines = format!("Host: a\r\n{name}: {value}\r\n");
                trials.push(asks(&bench, "GET", "/admin/x", &lines, 401));
                trials.push(asks(&bench, "GET", "/public/x", &lines, 200));
                trials.push(asks(&bench, "GET", "/nowhere", &lines, 404));
            }
        }
        for name in [
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "x_http_method_override",
            "X-Forwarded-Method",
            "X-Original-Method",
        ] {
            for value in ["GET", "POST", "get", "TRACE", "CONNECT"] {
                let lines = format!("Host: a\r\n{name}: {value}\r\n");
                trials.push(asks(&bench, "POST", "/read/x", &lines, 405));
                trials.push(asks(&bench, "GET", "/read/x", &lines, 200));
                trials.push(asks(&bench, "OPTIONS", "/admin/x", &lines, 401));
            }
        }
        bench.play(trials).await;
        for received in bench.received() {
            for name in ADDRESSES.into_iter().chain([
                "X-HTTP-Method-Override",
                "X-HTTP-Method",
                "X-Method-Override",
            ]) {
                assert!(!received.has(name), "{name}: {}", received.head);
            }
        }
    }
}
