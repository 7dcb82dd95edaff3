//! Requests that another site's page makes a browser send: forged forms, simple requests, WebSocket
//! handshakes.

use super::spelling::{cases, words};
use crate::harness::{Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::{Call, Client};
use crate::upstream::{self, Upstream};
use crate::websocket::{echoes, handshake, open};

const YAML: &str = r#"
origins: ["https://friend.example.org"]
upstreams: { app: "${APP}" }
roles: { editor: { permissions: [] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/optional", upstream: app, allow: optional }
  - { path: "/editors", upstream: app, allow: { roles: [editor] } }
  - { path: "/lan", upstream: app, allow: { networks: ["127.0.0.0/8"], anonymous: true } }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Origins that are neither the own one nor a listed one, many of which look like it.
fn foreign(gateway: &Gateway) -> Vec<String> {
    let port = gateway.address.port();
    let own = format!("http://127.0.0.1:{port}");
    let mut foreign: Vec<String> = ["", "\u{e9}"].map(str::to_owned).into();
    let unlike = words(
        "null NULL none * https://evil.example http://evil.example file:// chrome-extension://abcdef \
         about:blank data:, http:// ://",
    );
    foreign.extend(unlike.into_iter().map(str::to_owned));
    // A list or two of them is none; the own one does not begin, end or contain another.
    let lists = [
        "http://127.0.0.1:{p}, https://evil.example",
        "https://evil.example, http://127.0.0.1:{p}",
        "http://127.0.0.1:{p} http://evil.example",
    ];
    let like = words(
        "https://127.0.0.1:{p} http://127.0.0.1 http://127.0.0.1:80 http://127.0.0.1:1{p} \
         http://127.0.0.1:{p}.evil.example http://127.0.0.1.evil.example:{p} http://evil.example:{p} \
         http://app.127.0.0.1:{p} http://localhost:{p} http://[::1]:{p} http://127.1:{p} http://127.0.0.2:{p} \
         http://127.0.0.1:{p}/ http://127.0.0.1:{p}/x http://127.0.0.1:{p}? http://127.0.0.1:{p}# \
         http://127.0.0.1:{p}@evil.example http://u@127.0.0.1:{p} //127.0.0.1:{p} 127.0.0.1:{p} \
         http:127.0.0.1:{p} ws://127.0.0.1:{p} httpx://127.0.0.1:{p} http://127.0.0.1\\:{p} \
         http://127.0.0.1:{p}%00 http://%3127.0.0.1:{p} \"http://127.0.0.1:{p}\" http://friend.example.org \
         https://friend.example.org:8443 https://friend.example.org.evil.example https://xfriend.example.org \
         https://app.friend.example.org https://example.org https://friend.example.org/ \
         https://friend.example.org@evil.example https://friend_example.org https://friend.example.or",
    );
    for shape in like.into_iter().chain(lists) {
        foreign.push(shape.replace("{p}", &port.to_string()));
    }
    assert!(!foreign.contains(&own));
    foreign
}

/// The own and the listed origin, in the spellings that name them.
fn own(gateway: &Gateway) -> Vec<String> {
    let own = format!("http://127.0.0.1:{}", gateway.address.port());
    let mut all: Vec<_> = cases(&own).into();
    all.extend(cases("https://friend.example.org"));
    all.push("https://friend.example.org:443".to_owned());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_01_a_handshake_with_a_borrowed_cookie_needs_an_origin_of_our_own() {
    let (upstream, gateway) = start().await;
    for path in ["/ws", "/optional", "/editors", "/lan", "/public"] {
        upstream.at(path, upstream::echo_websocket);
    }
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let bob = gateway.sign_in_with_bearer("ann").await;
    let nobody = gateway.client();
    let borrowed =
        [(&ann, "/ws"), (&ann, "/optional"), (&ann, "/editors"), (&nobody, "/lan"), (&ann, "/lan")];
    for (who, path) in borrowed {
        let own_origin = who.origin();
        let refuse = async |call: Call, case: &str| {
            let head = call.open().await.head().await;
            assert_eq!(head.status, 403, "{path} {case}");
        };
        refuse(handshake(who, path), "no Origin").await;
        // What a page can ask a browser to say of the request does not replace it.
        for (name, value) in [
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "none"),
            ("Referer", &*format!("{own_origin}/")),
            ("Sec-WebSocket-Origin", &own_origin),
            ("X-Forwarded-Host", "127.0.0.1"),
        ] {
            refuse(handshake(who, path).header(name, value), name).await;
            let call = handshake(who, path).header("Origin", "https://evil.example");
            refuse(call.header(name, value), name).await;
        }
        for foreign in foreign(&gateway) {
            refuse(handshake(who, path).header("Origin", &foreign), &foreign).await;
            let call =
                handshake(who, path).header("Origin", &own_origin).header("Origin", &foreign);
            refuse(call, &foreign).await;
            let call =
                handshake(who, path).header("origin", &foreign).header("ORIGIN", &own_origin);
            refuse(call, &foreign).await;
        }
    }
    assert_eq!(upstream.count(), 0, "no application heard of any of them");
    for (who, path) in borrowed {
        for own in own(&gateway) {
            let mut socket = open(handshake(who, path).header("Origin", &own)).await;
            assert!(echoes(&mut socket, "in").await, "{path} {own}");
        }
    }
    // A token is not borrowed by a page, and what is public is nobody's.
    for foreign in foreign(&gateway).iter().step_by(5) {
        open(handshake(&bob, "/ws").header("Origin", foreign)).await;
        open(handshake(&ann, "/public").header("Origin", foreign)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_11_an_unsafe_request_another_page_sent_is_not_carried_out() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let nobody = gateway.client();
    let origin = ann.origin();
    let hosts = [(&ann, "/x"), (&ann, "/optional"), (&ann, "/editors"), (&nobody, "/lan")];
    let methods = ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "X-ODD"];
    let mut case = 0;
    let mut next = || {
        case += 1;
        (hosts[case % 4], methods[case % 6])
    };
    for foreign in foreign(&gateway) {
        for _ in 0..4 {
            let ((who, path), method) = next();
            let call = || who.call(method, path);
            for call in [
                call().header("Origin", &foreign),
                call().header("Origin", &foreign).header("Sec-Fetch-Site", "cross-site"),
                call().header("Origin", &foreign).header("Referer", &format!("{origin}/x")),
                call().header("Origin", &origin).header("Origin", &foreign),
                call()
                    .header("Sec-Fetch-Site", "same-origin")
                    .header("Sec-Fetch-Site", "cross-site"),
                call().header("Sec-Fetch-Site", "same-site").header("Referer", &origin),
            ] {
                let answer = call.send().await.expect(403);
                assert_eq!(answer.detail(), "Cross-site request", "{method} {path} {foreign:?}");
            }
        }
    }
    let port = gateway.address.port();
    for referer in words(
        "http://127.0.0.1:{p}.evil.example/ http://127.0.0.1:{p}@evil.example/ \
http://evil.example/http://127.0.0.1:{p}/ http://evil.example?http://127.0.0.1:{p}/ \
http://evil.example#http://127.0.0.1:{p}/ http://127.0.0.1/ https://127.0.0.1:{p}/ \
http://127.0.0.1:{p}\\@evil.example/ //127.0.0.1:{p}/ 127.0.0.1:{p} /x about:client \
x",
    ) {
        let ((who, path), method) = next();
        let referer = referer.replace("{p}", &port.to_string());
        who.call(method, path).header("Referer", &referer).send().await.expect(403);
        let twice = who.call(method, path).header("Referer", &origin).header("Referer", &referer);
        twice.send().await.expect(403);
    }
    assert_eq!(upstream.count(), 0);
    // Neither header and no foreign Referer: programs send requests so, and browsers do not.
    for own in own(&gateway) {
        let ((who, path), method) = next();
        who.call(method, path).header("Origin", &own).send().await.expect(200);
        who.call(method, path).header("Referer", &format!("{own}/page")).send().await.expect(200);
        who.call(method, path).send().await.expect(200);
    }
}

/// Sends a portal form with this token and, in the header, what a same-origin page sends or nothing.
async fn send_with_token(client: &Client, path: &str, tokens: &[&str], says_site: bool) -> u16 {
    let ann = email("ann");
    let mut fields: Vec<_> = tokens.iter().map(|token| ("form_token", *token)).collect();
    fields.extend([("username", &*ann), ("password", PASSWORD)]);
    let call = if says_site { client.post(path) } else { client.call("POST", path) };
    call.form(&fields).send().await.status
}

/// A token with something else about it.
fn tampered(good: &str) -> Vec<String> {
    let mut all = vec![String::new(), "x".into(), good.to_lowercase(), good.to_uppercase()];
    all.extend([format!("{good}="), format!("{good}A"), format!(" {good}")]);
    all.extend([good[1..].to_owned(), good[..good.len() - 1].to_owned()]);
    all.retain(|token| token != good);
    all
}

fn token_of(page: &str) -> String {
    let fields = hidden_fields(page);
    fields.into_iter().find(|(name, _)| name == "form_token").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_11_a_form_of_ours_needs_the_token_made_for_its_session() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in().await;
    let nobody = gateway.client();
    let sign_in_form = |client: &Client| client.visit("/auth/login?another=1");
    let button = |client: &Client| client.visit("/auth/logout");
    let anonymous = token_of(&sign_in_form(&nobody).send().await.text());
    let hers_before = token_of(&sign_in_form(&ann).send().await.text());
    let good = token_of(&button(&ann).send().await.text());
    let his = token_of(&button(&bob).send().await.text());
    let another_session = gateway.sign_in("ann").await;
    let old = token_of(&button(&another_session).send().await.text());
    let own = ann.cookie("portcullis").unwrap();
    let wrong = [tampered(&good), vec![anonymous.clone(), hers_before, his, old, own]].concat();
    for says_site in [true, false] {
        for token in &wrong {
            let status = send_with_token(&ann, "/auth/logout", &[token], says_site).await;
            assert_eq!(status, 403, "{token:?}");
        }
        assert_eq!(send_with_token(&ann, "/auth/logout", &[], says_site).await, 403);
        let twice = send_with_token(&ann, "/auth/logout", &["x", &good], says_site).await;
        assert!([400, 403].contains(&twice), "{twice}");
        ann.get("/x").send().await.expect(200);
        // The sign-in form of a browser without session is bound to its cookie.
        let (suffix, mac) = anonymous.split_once('.').unwrap();
        for token in [
            &*good,
            suffix,
            mac,
            &*format!("{suffix}."),
            &*format!("00000000.{mac}"),
            &*format!("{suffix}.{mac}A"),
            &*format!("{suffix}.{}", mac.to_lowercase()),
            &*format!(".{mac}"),
        ] {
            let status = send_with_token(&nobody, "/auth/login", &[token], says_site).await;
            assert_eq!(status, 403, "{token:?}");
        }
        assert!(nobody.cookie("portcullis").is_none());
    }
    // The very token, from another site's page, is no better.
    for foreign in foreign(&gateway) {
        for (client, path, token) in
            [(&ann, "/auth/logout", &good), (&nobody, "/auth/login", &anonymous)]
        {
            let fields =
                [("form_token", &**token), ("username", "ann@example.com"), ("password", PASSWORD)];
            let call = client.call("POST", path).form(&fields).header("Origin", &foreign);
            let answer = call.send().await.expect(403);
            assert!(answer.all("set-cookie").is_empty(), "{path} {foreign:?}");
        }
    }
    ann.get("/x").send().await.expect(200);
    assert_eq!(send_with_token(&ann, "/auth/logout", &[&good], false).await, 303);
    ann.get("/x").send().await.expect(401);
    assert_eq!(send_with_token(&nobody, "/auth/login", &[&anonymous], false).await, 303);
}

/// What a page sends to another site without a preflight (the Fetch standard's "simple" kinds).
fn simple_bodies() -> [(&'static str, String); 5] {
    let json = r#"{"username":"ann@example.com","password":"seven lanterns on the quay"}"#;
    let form = format!("username=ann%40example.com&password={}", PASSWORD.replace(' ', "+"));
    let part = "--x\r\nContent-Disposition: form-data; name=";
    let parts = format!(
        "{part}\"username\"\r\n\r\nann@example.com\r\n{part}\"password\"\r\n\r\n{PASSWORD}\r\n--x--\r\n"
    );
    [
        ("text/plain", json.to_owned()),
        ("text/plain;charset=application/json", "{}".to_owned()),
        ("application/x-www-form-urlencoded", form),
        ("multipart/form-data; boundary=x", parts),
        ("", String::new()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_13_what_a_page_may_send_without_asking_does_nothing_here() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let sites = [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Referer", "https://evil.example/")],
    ];
    for path in [
        "/auth/cookie/login",
        "/auth/cookie/logout",
        "/auth/jwt/logout",
        "/auth/login",
        "/auth/logout",
        "/auth/setup",
        "/auth/users/me",
        "/auth/session",
    ] {
        for (kind, body) in &simple_bodies() {
            for site in sites {
                for client in [&ann, &gateway.client()] {
                    let call = client.call("POST", path).body(kind, body.clone());
                    let call =
                        site.iter().fold(call, |call, (name, value)| call.header(name, value));
                    let answer = call.send().await;
                    assert!(answer.status >= 400, "{path} {kind} {site:?}: {}", answer.status);
                    assert!(answer.all("set-cookie").is_empty(), "{path} {kind} {site:?}");
                    assert_eq!(
                        answer.header("access-control-allow-origin"),
                        None,
                        "{path} {site:?}"
                    );
                }
            }
        }
    }
    ann.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_13_a_name_that_was_made_to_point_here_is_no_name_of_ours() {
    let upstream = Upstream::start();
    let named = YAML.replace("{ path", "{ host: app.example.com, path");
    let gateway = Gateway::builder(&named).with("APP", &upstream.url());
    let gateway = gateway.key("public_url", "http://auth.example.com").start().await;
    for host in ["rebind.evil.example", "127.0.0.1", "localhost", "app.example.com.evil.example"] {
        let page = gateway.client().with_host(host);
        for path in ["/x", "/public", "/lan", "/auth/login", "/auth/session", "/auth/cookie/login"]
        {
            page.call("GET", path).header("Origin", &page.origin()).send().await.expect(404);
            page.post(path).send().await.expect(404);
        }
    }
    assert_eq!(upstream.count(), 0);
}
