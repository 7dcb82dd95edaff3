//! What other sites' pages can make a browser do: nothing, unless the file lists them.

use crate::harness::{Gateway, PASSWORD};
use crate::raw::Call;
use crate::upstream::Upstream;

const YAML: &str = r#"
origins: ["https://friend.example.org"]
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/optional", upstream: app, allow: optional }
  - { path: "/admins", upstream: app, allow: { optional: { roles: [admin] } } }
  - { path: "/lan", upstream: app, allow: { networks: ["127.0.0.0/8"], anonymous: true } }
  - { path: "/read", methods: [GET], upstream: app, allow: authenticated }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

fn signed(call: Call, headers: &[(&str, &str)]) -> Call {
    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_request_with_a_cookie_must_come_from_our_own_or_a_listed_page() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let own = ann.origin();
    let foreign_port = format!("http://127.0.0.1:{}", gateway.address.port() ^ 1);
    let https = own.replace("http://", "https://");
    let (own_page, foreign_page) = (format!("{own}/form"), "https://evil.example/".to_owned());
    let table: [(&[(&str, &str)], u16); 16] = [
        (&[("Sec-Fetch-Site", "same-origin")], 200),
        (&[("Sec-Fetch-Site", "none")], 200),
        (&[("Sec-Fetch-Site", "cross-site")], 403),
        (&[("Sec-Fetch-Site", "same-site")], 403),
        (&[("Origin", &own)], 200),
        (&[("Origin", "https://friend.example.org")], 200),
        (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://friend.example.org")], 200),
        (&[("Origin", "https://evil.example")], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", &foreign_port)], 403),
        (&[("Origin", &https)], 403),
        (&[("Origin", "https://friend.example.org.evil.example")], 403),
        (&[("Origin", "https://friend.example.org:8443")], 403),
        (&[], 200),
        (&[("Referer", &own_page)], 200),
        (&[("Referer", &foreign_page)], 403),
    ];
    for path in ["/x", "/optional", "/admins"] {
        for (headers, status) in table {
            let before = upstream.count();
            let answer = signed(ann.call("POST", path), headers).send().await;
            assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text());
            assert_eq!(upstream.count() - before, usize::from(status == 200));
            if status == 403 {
                assert_eq!(answer.detail(), "Cross-site request");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_but_the_safe_ones_counts() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    for (method, status) in [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 200),
        ("PUT", 403),
        ("DELETE", 403),
        ("PROPFIND", 403),
    ] {
        let call = ann.call(method, "/x").header("Sec-Fetch-Site", "cross-site");
        call.send().await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bearer_vouches_for_and_what_is_public_is_no_cross_site_matter() {
    let (_upstream, gateway) = start().await;
    let bob = gateway.person("bob").sign_in_with_bearer().await;
    let foreign = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")];
    signed(bob.call("POST", "/x"), &foreign).send().await.expect(200);
    let ann = gateway.person("ann").sign_in().await;
    signed(ann.call("POST", "/public"), &foreign).send().await.expect(200);
    signed(gateway.client().call("POST", "/optional"), &foreign).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_borrowed_as_easily_as_a_cookie() {
    let (_upstream, gateway) = start().await;
    let nobody = gateway.client();
    nobody.post("/lan").send().await.expect(200);
    nobody.call("POST", "/lan").header("Origin", "https://evil.example").send().await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_and_out_from_another_site_is_refused() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
    for path in ["/auth/cookie/login", "/auth/login"] {
        let call = gateway.client().call("POST", path).form(&fields);
        let answer = call.header("Origin", "https://evil.example").send().await.expect(403);
        assert!(answer.all("set-cookie").is_empty(), "{path}");
    }
    let ann = gateway.sign_in("ann").await;
    for path in ["/auth/cookie/logout", "/auth/jwt/logout", "/auth/logout"] {
        let call = ann.call("POST", path).header("Origin", "https://evil.example");
        call.header("Sec-Fetch-Site", "cross-site").send().await.expect(403);
    }
    ann.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_from_a_listed_origin_is_answered_here() {
    let (upstream, gateway) = start().await;
    let ask = |path: &str, origin: &str, method: &str| {
        let call = gateway.client().call("OPTIONS", path).header("Origin", origin);
        call.header("Access-Control-Request-Method", method)
    };
    let answer = ask("/x", "https://friend.example.org", "PUT").send().await.expect(204);
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://friend.example.org"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"));
    let answer = ask("/read", "https://friend.example.org", "PUT").send().await.expect(204);
    assert_eq!(answer.header("access-control-allow-methods"), None);
    assert_eq!(upstream.count(), 0);

    let answer = ask("/x", "https://evil.example", "PUT").send().await.expect(401);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    ask("/read", "https://evil.example", "GET").send().await.expect(405);
    assert_eq!(upstream.count(), 0);

    let answer =
        ask("/auth/users/me", "https://friend.example.org", "GET").send().await.expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://friend.example.org"));
    let answer = ask("/auth/users/me", "https://evil.example", "GET").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_a_listed_origin_with_credentials_and_no_other() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let ask = async |origin: &str| {
        ann.get("/auth/session").header("Origin", origin).send().await.expect(200)
    };
    let answer = ask("https://friend.example.org").await;
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://friend.example.org"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert!(answer.all("vary").join(",").to_lowercase().contains("origin"));
    assert_eq!(ask("https://evil.example").await.header("access-control-allow-origin"), None);
}
