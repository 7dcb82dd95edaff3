//! What a caller receives: challenges, refusals, errors, and what caches may keep.

use crate::harness::Gateway;
use crate::raw::{Raw, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
roles:
  writer: { permissions: ["users:write"] }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/manage", upstream: app, allow: { permissions: ["users:write", "users:read"] } }
  - { path: "/both", upstream: app, allow: { roles: [admin], permissions: ["users:write"] } }
  - { path: "/either", upstream: app, allow: { any: [ { roles: [admin] }, { permissions: ["users:write"] } ] } }
  - { path: "/verified", upstream: app, allow: { verified: true } }
  - { path: "/elsewhere", upstream: app, allow: { networks: ["192.0.2.0/24"], roles: [admin] } }
  - { path: "/form", methods: [GET, POST], upstream: app, allow: authenticated }
  - { path: "/api", upstream: app, allow: authenticated, unauthenticated: 401 }
  - { path: "/page", upstream: app, allow: authenticated, unauthenticated: redirect }
  - { path: "/shared", upstream: app, allow: authenticated, cache: upstream }
  - { path: "/secret", upstream: app, allow: authenticated, no_store: true }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

fn is_page(answer: &Response) -> bool {
    answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_navigation_is_sent_to_sign_in_and_a_script_gets_401() {
    let (upstream, gateway) = start().await;
    let nobody = gateway.client();
    let answer = nobody.visit("/wiki/a%20b?x=1&y=%2F").send().await.expect(303);
    assert_eq!(answer.location(), "/auth/login?next=%2Fwiki%2Fa%2520b%3Fx%3D1%26y%3D%252F");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let answer = nobody.get("/wiki").send().await.expect(401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let json = answer.json();
    assert_eq!(json["detail"], "Unauthorized");
    assert!(json["login_url"].as_str().unwrap().contains("/auth/login"), "{json}");
    assert!(json["request_id"].as_str().unwrap().len() >= 8, "{json}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let answer = nobody.get("/wiki").header("Authorization", "Bearer pc_nonsense").send().await;
    let challenge = answer.expect(401).header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");

    // A browser of before Sec-Fetch-Mode: GET that prefers HTML.
    let html = nobody.get("/wiki").header("Accept", "text/html,*/*;q=0.8");
    html.send().await.expect(303);
    nobody
        .get("/wiki")
        .header("Accept", "application/json, text/html;q=0.5")
        .send()
        .await
        .expect(401);
    let fetch = nobody.get("/wiki").header("Accept", "text/html").header("Sec-Fetch-Mode", "cors");
    fetch.send().await.expect(401);
    nobody.visit("/api").send().await.expect(401);
    nobody.get("/page").send().await.expect(303);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_was_not_sent_comes_back_to_its_page() {
    let (_upstream, gateway) = start().await;
    let nobody = gateway.client();
    let post = |referer: Option<&str>| {
        let call = nobody.post("/form").form(&[("a", "b")]).navigating_from("same-origin");
        referer.map_or(call.clone(), |page| call.header("Referer", page))
    };
    let own = format!("{}/edit?id=1", nobody.origin());
    let answer = post(Some(&own)).send().await.expect(303);
    assert!(answer.location().contains("next=%2Fedit%3Fid%3D1"), "{}", answer.location());
    let page = nobody.visit(answer.location()).send().await.expect(200);
    assert!(page.text().contains("not sent"), "{}", page.text());
    for other in [None, Some("https://evil.example/x"), Some("nonsense")] {
        let answer = post(other).send().await.expect(303);
        assert!(answer.location().contains("next=%2F&") || answer.location().ends_with("next=%2F"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_is_missing() {
    let (upstream, gateway) = start().await;
    let cat = gateway.person("cat").unverified().sign_in().await;
    let table = [
        ("/admin/x", "Requires one of these roles: ['admin']"),
        ("/manage", "Missing permissions: ['users:write', 'users:read']"),
        ("/both", "Requires one of these roles: ['admin']"),
        ("/either", "Forbidden"),
        ("/verified", "E-mail not verified"),
        ("/elsewhere", "Requires one of these roles: ['admin']"),
    ];
    for (path, detail) in table {
        let answer = cat.get(path).send().await.expect(403);
        assert_eq!(answer.detail(), detail, "{path}");
        assert!(answer.json()["request_id"].is_string());
        let page = cat.visit(path).send().await.expect(403);
        assert!(is_page(&page));
        let text = page.text();
        assert!(text.contains("cat@example.com"), "the page names the account: {text}");
        assert!(page.header("content-security-policy").is_some());
    }
    let dan = gateway.person("dan").role("admin").role("writer").sign_in().await;
    for path in ["/admin/x", "/both", "/either", "/manage"] {
        dan.get(path).send().await.expect(200);
    }
    assert_eq!(upstream.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_is_not_offered_where_it_could_not_help() {
    let (_upstream, gateway) = start().await;
    gateway.client().get("/elsewhere").send().await.expect(403);
    let page = gateway.client().visit("/elsewhere").send().await.expect(403);
    assert!(is_page(&page));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_is_told_the_command_that_would_help() {
    let (_upstream, gateway) = start().await;
    let root = gateway.person("root").superuser().sign_in().await;
    let page = root.visit("/admin/x").send().await.expect(403).text();
    assert!(page.contains("user grant root@example.com"), "{page}");
    let cat = gateway.person("cat").sign_in().await;
    let page = cat.visit("/admin/x").send().await.expect(403).text();
    assert!(!page.contains("user grant"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_no_route_of_a_place_takes_are_405_and_nobody_connects_or_traces() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let answer = ann.call("DELETE", "/form").send().await.expect(405);
    let allow = answer.header("allow").unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let authority = gateway.address.to_string();
    ann.call("TRACE", "/x").send().await.expect(405);
    ann.call("CONNECT", &authority).send().await.expect(405);
    for method in ["get", "G3T", "ABCDEFGHIJKLMNOPQRSTU", "A-B-C"] {
        ann.call(method, "/x").send().await.expect(400);
    }
    ann.call("PROPFIND", "/x").send().await.expect(200);
    ann.call("VERSION-CONTROL", "/x").send().await.expect(200);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_is_404_as_page_and_json() {
    let upstream = Upstream::start();
    let yaml = "upstreams: { app: \"${APP}\" }\nroutes:\n  - { path: /only, upstream: app, allow: public }\n";
    let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
    assert_eq!(gateway.client().get("/other").send().await.expect(404).detail(), "Not Found");
    assert!(is_page(&gateway.client().visit("/other").send().await.expect(404)));
    gateway.client().get("/auth/nothing").send().await.expect(404);
    gateway.client().get("/only/below").send().await.expect(404);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_at_or_below_the_portals_path_is_ever_forwarded() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").role("admin").sign_in().await;
    for path in
        ["/auth", "/auth/", "/auth/x", "/auth/login/x", "/%61uth/x", "/auth%2fx", "/AUTH/../auth/x"]
    {
        let answer = ann.get(path).send().await;
        assert!(answer.status != 200 || is_page(&answer), "{path}: {}", answer.status);
    }
    assert_eq!(upstream.count(), 0);
    ann.get("/authors").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn contradicting_credentials_are_400_and_useless_ones_are_none() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in_with_bearer().await;
    let token = bob.get("/x").bytes();
    let token = String::from_utf8(token).unwrap();
    let token = token.lines().find_map(|line| line.strip_prefix("Authorization: ")).unwrap();
    ann.get("/x").header("Authorization", token).send().await.expect(400);
    let two = gateway.client().get("/x").header("Authorization", token);
    two.header("Authorization", token).send().await.expect(400);

    let cookie = ann.cookie("portcullis").unwrap();
    let name = "portcullis";
    let twice = format!("{name}={cookie}; {name}={cookie}");
    let answer = gateway.client().get("/x").header("Cookie", &twice).send().await.expect(401);
    let cleared = answer.all("set-cookie").join("\n");
    assert!(cleared.contains("portcullis=") && cleared.contains("Max-Age=0"), "{cleared}");

    let long = "A".repeat(8 * 1024);
    for garbage in ["", "x", "%", &cookie[1..], &long, &cookie.to_uppercase()] {
        let call = gateway.client().get("/x").header("Cookie", &format!("{name}={garbage}"));
        assert_eq!(call.send().await.status, 401, "{garbage}");
    }
    let padded = format!("{name}={cookie}=");
    gateway.client().get("/x").header("Cookie", &padded).send().await.expect(401);
    let prefixed = format!("\u{2000}{name}={cookie}");
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(format!("GET /x HTTP/1.1\r\nHost: x\r\nCookie: {prefixed}\r\n\r\n")).await;
    assert!([400, 401].contains(&raw.response("GET").await.status));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_caller_keeps_an_answer_of_a_guarded_route() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let serve = |path: &str, headers: &str| {
        upstream.answers(path, format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok"));
    };
    let words = |answer: &Response| {
        let value = answer.all("cache-control").join(",").to_lowercase();
        let mut words: Vec<_> = value.split(',').map(|word| word.trim().to_owned()).collect();
        words.sort();
        words
    };
    serve("/x", "");
    let answer = ann.get("/x").send().await.expect(200);
    assert_eq!(words(&answer), ["no-cache", "private"]);
    let vary = answer.all("vary").join(",").to_lowercase();
    assert!(vary.contains("cookie") && vary.contains("authorization"), "{vary}");

    serve("/x", "Cache-Control: public, max-age=60, s-maxage=90\r\nVary: Accept\r\n");
    let answer = ann.get("/x").send().await.expect(200);
    let words_left = words(&answer);
    assert!(words_left.contains(&"max-age=60".to_owned()), "{words_left:?}");
    assert!(
        !words_left.iter().any(|w| w == "public" || w.starts_with("s-maxage")),
        "{words_left:?}"
    );
    assert!(answer.all("vary").join(",").to_lowercase().contains("accept"));

    serve("/shared", "Cache-Control: public, max-age=60\r\n");
    assert_eq!(words(&ann.get("/shared").send().await), ["max-age=60", "public"]);
    serve("/secret", "Cache-Control: max-age=60\r\n");
    assert!(words(&ann.get("/secret").send().await).contains(&"no-store".to_owned()));
    serve("/public", "Cache-Control: public, max-age=60\r\n");
    let answer = gateway.client().get("/public").send().await;
    assert_eq!(words(&answer), ["max-age=60", "public"]);
    serve("/public", "");
    assert_eq!(gateway.client().get("/public").send().await.header("cache-control"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_cannot_set_our_cookie() {
    let (upstream, gateway) = start().await;
    upstream.answers(
        "/public",
        "HTTP/1.1 200 OK\r\nSet-Cookie: theirs=1; Path=/\r\nSet-Cookie: portcullis=evil; Path=/\r\n\
         Set-Cookie: __Host-portcullis=evil; Path=/; Secure\r\nSet-Cookie: portcullis-pre=evil\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = gateway.client().get("/public").send().await.expect(200);
    assert_eq!(answer.all("set-cookie"), ["theirs=1; Path=/"]);
    assert_eq!(answer.header("x-hop"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_gateways_own_says_which_request_it_answers() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("trusted_proxies", "[\"127.0.0.0/8\"]").start().await;
    let ann = gateway.person("ann").sign_in().await;
    let nobody = gateway.client();
    let wrong = [("username", "ann@example.com"), ("password", "wrong")];
    let calls = [
        (nobody.visit("/auth/login"), 200),
        (nobody.visit("/auth/nothing"), 404),
        (nobody.get("/auth/nothing"), 404),
        (nobody.call("PUT", "/auth/login"), 405),
        (nobody.visit("/auth/account"), 303),
        (nobody.get("/auth/session"), 200),
        (nobody.get("/auth/users/me"), 401),
        (nobody.post("/auth/jwt/login").form(&wrong), 400),
        (nobody.post("/auth/jwt/login").form(&[]), 422),
        (ann.visit("/auth/account"), 200),
        (ann.visit("/auth/logout"), 200),
        (ann.get("/auth/users/me"), 200),
        (ann.get("/auth/users/00000000-0000-0000-0000-000000000000"), 403),
        (nobody.get("/wiki"), 401),
        (nobody.visit("/wiki"), 303),
        (ann.visit("/admin/x"), 403),
        (ann.post("/auth/cookie/logout"), 204),
    ];
    let mut ids = std::collections::BTreeSet::new();
    let count = calls.len();
    for (call, status) in calls {
        let target = String::from_utf8_lossy(&call.bytes()).lines().next().unwrap().to_owned();
        let answer = call.send().await.expect(status);
        let all = answer.all("x-request-id");
        assert_eq!(all.len(), 1, "{target} {status}: {:?}", answer.headers);
        let id = all[0].to_owned();
        let body = answer.text();
        if body.contains("request_id") {
            assert_eq!(answer.json()["request_id"], *id, "{target}");
        }
        if is_page(&answer) && status >= 400 {
            assert!(body.contains(&id), "{target}: {body}");
        }
        ids.insert(id);
        // A proxy before us that is trusted has named it already.
        let named = call.header("X-Request-Id", "chosen-by-proxy").send().await;
        assert_eq!(named.all("x-request-id"), ["chosen-by-proxy"], "{target}");
    }
    assert_eq!(ids.len(), count, "each its own");
}
