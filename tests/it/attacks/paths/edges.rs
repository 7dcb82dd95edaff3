//! Where a table ends: what no rule names, what is the gateway's own, what is let through.

use super::super::trial::{Bench, Trial, Upstreamed};
use super::{asks, styles};
use crate::harness::PASSWORD;
use crate::raw::Raw;

/// A request that the gateway answers by itself, whatever the status.
fn own(bench: &Bench, target: &str, status: u16) -> Trial {
    let trial = asks(bench, "GET", target, "Host: a\r\n", 0);
    Trial { statuses: vec![status], upstreamed: Upstreamed::Exactly(Vec::new()), ..trial }
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_04_what_no_rule_names_is_forwarded_for_nobody() {
    let bench = Bench::start(
        r#"
upstreams: { app: "${APP}" }
roles: { uploader: { permissions: [] } }
routes:
  - { path: "/probe/**", upstream: app, allow: public }
  - { path: "/upload/**", upstream: app, allow: { roles: [uploader] } }
  - { path: "/x/**", upstream: app, allow: public }
  - { path: "/one", methods: [GET], upstream: app, allow: public }
"#,
    )
    .await;
    let root = bench.gateway.person("root").superuser().role("uploader").sign_in().await;
    let cookie = format!("Host: a\r\nCookie: {}\r\n", root.cookies());
    let anonymous = "Host: a\r\n";
    let mut trials = Vec::new();
    for (target, for_nobody, for_root) in [
        ("/upload/", 401, 200),
        ("/%75pload/", 401, 200),
        ("/upload", 401, 200),
        ("/upload/x", 401, 200),
        ("/%75%70load/x", 401, 200),
        ("/x/../upload/", 400, 400),
        ("/x/%2e%2e/upload/", 400, 400),
        ("//upload/", 400, 400),
        ("/UPLOAD/", 404, 404),
        ("/Upload/x", 404, 404),
        ("/uploads", 404, 404),
        ("/upload%20", 404, 404),
        ("/upload.", 404, 404),
        ("/x/..%2fupload/", 400, 400),
        ("/", 404, 404),
        ("/xx", 404, 404),
        ("/other/upload/", 404, 404),
        ("/one/", 200, 200),
        ("/one", 200, 200),
        ("/one/x", 404, 404),
        ("/x;/../upload", 400, 400),
        ("/%2fupload/", 400, 400),
        ("/upload%2f", 400, 400),
        ("/x", 200, 200),
    ] {
        for (index, method) in ["GET", "POST", "HEAD"].into_iter().enumerate() {
            let is_refused = target.starts_with("/one") && !target.ends_with('x') && index == 1;
            let [nobody, root] = if is_refused { [405; 2] } else { [for_nobody, for_root] };
            trials.push(asks(&bench, method, target, anonymous, nobody));
            trials.push(asks(&bench, method, target, &cookie, root));
        }
    }
    bench.play(trials).await;
}

/// Whatever a path looks like to anybody, nothing at or below the gateway's own addresses is forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn pth_26_nothing_below_the_gateways_own_path_is_forwarded() {
    let bench = Bench::start(
        r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { host: "odd", path: "/**", upstream: app, allow: public, permit_in_path: [encoded-slash, encoded-backslash, semicolon, double-slash, non-utf8] }
"#,
    )
    .await;
    let mut trials = Vec::new();
    for (target, status) in [
        ("/auth", 404),
        ("/auth/", 404),
        ("/auth/nowhere", 404),
        ("/auth/login/x", 404),
        ("/%61uth/nowhere", 404),
        ("/auth/%6eowhere", 404),
        ("/auth/login/../../admin", 400),
        ("/auth/login/%2e%2e/x", 400),
        ("/auth/./login", 400),
        ("/auth%2f..%2fadmin", 400),
        ("/auth%2flogin", 400),
        ("/x/../auth/login", 400),
        ("//auth/login", 400),
        ("/auth//login", 400),
        ("/auth;x/login", 400),
        ("/auth/login;x", 400),
        ("/auth%5clogin", 400),
        ("/auth%00", 400),
        ("/auth/%ff", 400),
        ("/auth/login%3fx", 404),
        ("/auth/login%2f..%2f..%2fx", 400),
    ] {
        trials.push(own(&bench, target, status));
    }
    let odd = "Host: odd\r\n";
    for target in [
        "/auth%2flogin",
        "/auth%2Fx",
        "/auth;x/login",
        "/auth;/x",
        "//auth/login",
        "///auth",
        "/x/..;/auth/login",
        "/x/..%2fauth/x",
        "/auth%5cx",
        "/x%5c..%5cauth",
        "//h/auth/x",
        "/%2fauth",
        "/%5cauth/x",
        "/%3b/auth",
        "/x%2f..%2fauth",
        "/a%c0%ae",
        "/%c1%a1uth",
        "/auth%c0%af",
        "/%ffauth/x",
        "/auth%ff/x",
    ] {
        let reads_as_own = styles::readings(target)
            .iter()
            .any(|(_, reading)| reading.first().is_some_and(|first| first == b"auth"));
        if reads_as_own {
            trials.push(asks(&bench, "GET", target, odd, 400));
            trials.push(asks(&bench, "POST", target, odd, 400));
        }
    }
    // Neighbours are the application's.
    for target in [
        "/authx",
        "/auth.",
        "/auth-x/login",
        "/xauth/login",
        "/x/auth/login",
        "/auth%20/x",
        "/AUTHX",
        "/aut/h",
    ] {
        for lines in ["Host: a\r\n", odd] {
            trials.push(asks(&bench, "GET", target, lines, 200));
        }
    }
    bench.play(trials).await;
    for received in
        bench.received().iter().filter(|received| !received.target.starts_with("/probe/"))
    {
        for (style, reading) in styles::readings(received.target.split('?').next().unwrap()) {
            assert!(
                reading.first().is_none_or(|first| first != b"auth"),
                "{style}: {}",
                received.target
            );
        }
    }
}

/// The one body the gateway judges by is its own: a sign-in that it cannot read whole is none, though
/// the right password stands in it.
#[tokio::test(flavor = "multi_thread")]
async fn pth_28_a_body_that_is_too_big_or_unreadable_signs_nobody_in() {
    let bench = Bench::start("upstreams: { app: \"${APP}\" }\nroutes: [{ path: \"/**\", upstream: app, allow: public }]\n").await;
    bench.gateway.person("ann").create().await;
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("username", "ann@example.com"), ("password", PASSWORD)])
        .finish();
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let big = format!("{form}&x={}", "y".repeat(70_000));
    let mut refused = Vec::new();
    for path in ["/auth/cookie/login", "/auth/jwt/login"] {
        for (fields, body) in [
            (kind.to_owned(), big.clone()),
            (format!("{kind}Content-Encoding: gzip\r\n"), format!("\u{1f}\u{8b}\u{8}\0{form}")),
            (String::new(), form.clone()),
            ("Content-Type: text/plain\r\n".to_owned(), form.clone()),
            ("Content-Type: application/json\r\n".to_owned(), form.clone()),
            (format!("{kind}Content-Type: text/plain\r\n"), form.clone()),
            (kind.to_owned(), format!("{form}&username=root@example.com")),
            (kind.to_owned(), format!("{form}&password=other")),
            (kind.to_owned(), form.replace('&', ";")),
            (kind.to_owned(), form.replace("password", "password[]")),
            (kind.to_owned(), format!("{form}%zz")),
            (kind.to_owned(), format!("{form}\0")),
        ] {
            for is_chunked in [false, true] {
                let (framing, body) = if is_chunked {
                    let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
                    ("Transfer-Encoding: chunked".to_owned(), body)
                } else {
                    (format!("Content-Length: {}", body.len()), body.clone())
                };
                let bytes =
                    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}{framing}\r\n\r\n{body}");
                refused.push((bytes, fields.clone()));
            }
        }
    }
    for (bytes, fields) in refused {
        let mut raw = Raw::connect(bench.gateway.address).await;
        raw.try_send(bytes.as_bytes()).await.unwrap_or_default();
        let answer = raw.response("POST").await;
        let shown = &bytes[..bytes.len().min(300)];
        assert!((400..500).contains(&answer.status), "{fields:?}: {} to {shown}", answer.status);
        assert!(
            answer.header("set-cookie").is_none() && !answer.text().contains("token"),
            "{shown}"
        );
    }
    // The same form as it should be.
    for path in ["/auth/cookie/login", "/auth/jwt/login"] {
        let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
        let status = bench.gateway.client().post(path).form(&fields).send().await.status;
        assert!([200, 204].contains(&status), "{path}: {status}");
    }
    assert_eq!(bench.upstream.count(), 0);
}

/// An address that is let through is one address: itself, and with a slash behind.
#[tokio::test(flavor = "multi_thread")]
async fn pth_29_an_exemption_is_exactly_its_path() {
    let bench = Bench::start(
        r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/probe/**", upstream: app, allow: public }
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/hook", methods: [POST], upstream: app, allow: public }
  - { path: "/in/**", upstream: app, allow: authenticated, permit_in_path: [encoded-slash, semicolon, double-slash] }
  - { path: "/in/hook", upstream: app, allow: public, permit_in_path: [encoded-slash, semicolon, double-slash] }
"#,
    )
    .await;
    let mut trials = Vec::new();
    for (target, status) in [
        ("/hook", 200),
        ("/hook/", 200),
        ("/%68ook", 200),
        ("/hook?x=/y", 200),
        ("/hookx", 401),
        ("/hook/x", 401),
        ("/hook%20", 401),
        ("/hook.", 401),
        ("/Hook", 401),
        ("/HOOK/", 401),
        ("/xhook", 401),
        ("/x/hook", 401),
        ("/hook%3f", 401),
        ("/hook%23", 401),
        ("/hook%2f", 400),
        ("/hook//", 400),
        ("//hook", 400),
        ("/hook;x", 400),
        ("/hook/..", 400),
        ("/x/../hook", 400),
        ("/hook/.", 400),
        ("/hook%00", 400),
        ("/hook\\", 400),
        ("/in/hook", 200),
        ("/in/hook/", 200),
        ("/in/hook;x", 401),
        ("/in/hook;/x", 401),
        ("/in/hook%2fx", 401),
        ("/in/hook//x", 401),
        ("/in//hook", 401),
        ("/in;x/hook", 400),
        ("/in/hook%2f..%2fx", 401),
        ("/in%2fhook", 400),
    ] {
        trials.push(asks(&bench, "POST", target, "Host: a\r\n", status));
    }
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND"] {
        trials.push(asks(&bench, method, "/hook", "Host: a\r\n", 405));
        trials.push(asks(&bench, method, "/hook/", "Host: a\r\n", 405));
    }
    bench.play(trials).await;
}
