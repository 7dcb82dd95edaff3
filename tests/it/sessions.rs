//! Signing in and out, lifetimes, cookies and tokens, and what a session survives.

use std::time::Duration;

use crate::harness::{Gateway, PASSWORD, email, report};
use crate::raw::{Client, Raw, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
secret: "${SECRET:-5d8f1c02b7ae49630d15e8c29a74f3b6}"
previous_secrets: ["${PREVIOUS:-c1f09ab3876d5e42b0c9d8e7f6a5143f}"]
portal: { users_path: /users }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
"#;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

async fn sign_in(client: &Client, path: &str, who: &str, password: &str) -> Response {
    let fields = [("username", &*email(who)), ("password", password)];
    client.post(path).form(&fields).send().await
}

/// The cookie a page's sign-in form gives, with or without "remember me".
async fn sign_in_by_page(gateway: &Gateway, who: &str, remember: bool) -> (Client, Response) {
    let client = gateway.client();
    let page = client.visit("/auth/login?next=%2Fx").send().await.expect(200).text();
    let mut fields = crate::pages::hidden_fields(&page);
    fields.push(("username".into(), email(who)));
    fields.push(("password".into(), PASSWORD.into()));
    if remember {
        fields.push(("remember".into(), "on".into()));
    }
    let pairs: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer =
        client.post("/auth/login").form(&pairs).navigating_from("same-origin").send().await;
    (client, answer.expect(303))
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_hours_without_a_request_end_a_session_and_use_keeps_it() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in().await;
    ann.get("/x").send().await.expect(200);
    for _ in 0..8 {
        gateway.pass(HOUR).await;
        bob.get("/x").send().await.expect(200);
    }
    ann.visit("/x").send().await.expect(303);
    ann.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_limit_is_two_hours_to_the_minute() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    // `last_seen` is written at most every tenth of the limit: 12 minutes.
    gateway.pass(119 * MINUTE).await;
    ann.get("/x").send().await.expect(200);
    gateway.pass(107 * MINUTE).await;
    ann.get("/x").send().await.expect(200);
    gateway.pass(2 * HOUR + MINUTE).await;
    ann.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_hours_end_a_session_however_much_it_is_used() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    for _ in 0..11 {
        gateway.pass(HOUR).await;
        ann.get("/x").send().await.expect(200);
    }
    gateway.pass(59 * MINUTE).await;
    ann.get("/x").send().await.expect(200);
    gateway.pass(2 * MINUTE).await;
    ann.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn remembered_sessions_live_longer_and_outlive_the_browser() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let (plain, answer) = sign_in_by_page(&gateway, "ann", false).await;
    let cookie = session_cookie(&answer);
    assert!(!cookie.contains("Max-Age") && !cookie.contains("Expires"), "{cookie}");
    let (remembered, answer) = sign_in_by_page(&gateway, "ann", true).await;
    let cookie = session_cookie(&answer);
    assert!(cookie.contains(&format!("Max-Age={}", 30 * 24 * 3600)), "{cookie}");
    gateway.pass(6 * 24 * HOUR).await;
    plain.get("/x").send().await.expect(401);
    remembered.get("/x").send().await.expect(200);
    gateway.pass(8 * 24 * HOUR).await;
    remembered.get("/x").send().await.expect(401);
}

fn session_cookie(answer: &Response) -> String {
    let cookies = answer.all("set-cookie");
    let ours = cookies.iter().find(|line| line.starts_with("portcullis="));
    (*ours.unwrap_or_else(|| panic!("no session cookie: {cookies:?}"))).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_says_no_more_than_it_must() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let answer =
        sign_in(&gateway.client(), "/auth/cookie/login", "ann", PASSWORD).await.expect(204);
    let cookie = session_cookie(&answer);
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains("Secure"), "{cookie}");
    let value = cookie.split(['=', ';']).nth(1).unwrap();
    // 32 random bytes and a tag of 8, base64url without padding.
    assert_eq!(value.len(), 54, "{value}");
    assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_cookie_is_bound_to_its_host() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("public_url", "https://auth.example.com").start().await;
    gateway.person("ann").create().await;
    let answer =
        sign_in(&gateway.client(), "/auth/cookie/login", "ann", PASSWORD).await.expect(204);
    let cookies = answer.all("set-cookie");
    let cookie = cookies.iter().find(|line| line.starts_with("__Host-portcullis=")).unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sign_in_makes_a_new_id_and_ends_the_browsers_old_one() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let first = ann.cookie("portcullis").unwrap();
    sign_in(&ann, "/auth/cookie/login", "ann", PASSWORD).await.expect(204);
    let second = ann.cookie("portcullis").unwrap();
    assert_ne!(first, second);
    let old = gateway.client();
    old.set_cookie("portcullis", &first);
    old.get("/x").send().await.expect(401);
    ann.get("/x").send().await.expect(200);
    // A value somebody chose is never adopted.
    let fixed = gateway.client();
    fixed.set_cookie("portcullis", &"A".repeat(54));
    sign_in(&fixed, "/auth/cookie/login", "ann", PASSWORD).await.expect(204);
    assert_ne!(fixed.cookie("portcullis").unwrap(), "A".repeat(54));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_and_what_it_issued_and_no_other() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let other = gateway.sign_in("ann").await;
    let bearer = gateway.sign_in_with_bearer("ann").await;
    for client in [&ann, &other, &bearer] {
        client.get("/x").send().await.expect(200);
    }
    let cookie = ann.cookie("portcullis").unwrap();
    let answer = ann.post("/auth/cookie/logout").send().await.expect(204);
    assert!(answer.all("set-cookie").join("\n").contains("Max-Age=0"));
    assert!(answer.header("clear-site-data").is_some_and(|value| value.contains("\"cache\"")));
    ann.set_cookie("portcullis", &cookie);
    ann.get("/x").send().await.expect(401);
    other.get("/x").send().await.expect(200);
    bearer.get("/x").send().await.expect(200);
    // Either kind of credential is accepted on either log-out.
    bearer.call("POST", "/auth/cookie/logout").send().await.expect(204);
    bearer.get("/x").send().await.expect(401);
    other.post("/auth/jwt/logout").send().await.expect(204);
    gateway.client().post("/auth/jwt/logout").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_lives_an_hour_and_is_strictly_read() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let answer = sign_in(&gateway.client(), "/auth/jwt/login", "ann", PASSWORD).await.expect(200);
    let json = answer.json();
    assert_eq!(json["token_type"], "bearer");
    assert_eq!(json["expires_in"], 3600);
    assert!(json.get("refresh_token").is_none(), "{json}");
    let token = json["access_token"].as_str().unwrap();
    let ann = gateway.client().with_bearer(token);
    ann.get("/x").send().await.expect(200);
    let parts: Vec<_> = token.split('.').collect();
    let (head, claims, tag) = (parts[0], parts[1], parts[2]);
    let cut = &tag[..tag.len() - 1];
    let forged = [
        format!("{head}.{claims}.{cut}"),
        format!("{head}.{claims}.{tag}="),
        format!("{head}.{claims}."),
        format!("{head}.{tag}.{claims}"),
        format!("{}.{claims}.{tag}", "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoicGMtMSJ9"),
    ];
    for token in forged {
        gateway.client().with_bearer(&token).get("/x").send().await.expect(401);
    }
    gateway.pass(59 * MINUTE).await;
    ann.get("/x").send().await.expect(200);
    gateway.pass(2 * MINUTE).await;
    ann.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_moved_to_the_previous_ones_logs_nobody_out() {
    let upstream = Upstream::start();
    let (old, new) = ("11f09ab3876d5e42b0c9d8e7f6a5143f", "77d8f1c02b7ae49630d15e8c29a74f3b");
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).with("SECRET", old);
    let gateway = builder.start().await;
    let ann = gateway.person("ann").sign_in().await;
    let bearer = gateway.sign_in_with_bearer("ann").await;
    let gateway = gateway.restart_with(&[("SECRET", new), ("PREVIOUS", old)]).await;
    ann.get("/x").send().await.expect(200);
    bearer.get("/x").send().await.expect(200);
    let fresh = gateway.sign_in("ann").await;
    fresh.get("/x").send().await.expect(200);
    let _gateway = gateway
        .restart_with(&[("SECRET", new), ("PREVIOUS", "c1f09ab3876d5e42b0c9d8e7f6a5143f")])
        .await;
    ann.get("/x").send().await.expect(401);
    bearer.get("/x").send().await.expect(401);
    fresh.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_ends_counts_to_its_last_second_in_a_cached_session_too() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let until = gateway.clock.now().after(Duration::from_secs(1000));
    gateway.grant("ann", "admin", Some(until)).await;
    gateway.wait_for(&ann, "/admin/x", 200).await;
    assert_eq!(upstream.last().header("x-auth-roles").as_deref(), Some("admin"));
    gateway.pass(15 * MINUTE).await;
    ann.get("/admin/x").send().await.expect(200);
    gateway.pass(Duration::from_secs(101)).await;
    ann.get("/admin/x").send().await.expect(403);
    ann.get("/x").send().await.expect(200);
    let seen = upstream.last();
    assert!(!seen.text().contains("admin"), "{}", seen.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_speaks_as_fastapi_users_does() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").role("admin").create().await;
    let nobody = gateway.client();
    for (who, password) in [("ann", "wrong password"), ("nobody", PASSWORD)] {
        for path in ["/auth/jwt/login", "/auth/cookie/login"] {
            let answer = sign_in(&nobody, path, who, password).await.expect(400);
            assert_eq!(answer.detail(), "LOGIN_BAD_CREDENTIALS");
        }
    }
    let answer = nobody.post("/auth/jwt/login").form(&[("username", "x@example.com")]).send().await;
    let detail = answer.expect(422).json()["detail"][0].clone();
    assert_eq!(detail["type"], "missing");
    assert_eq!(detail["loc"], serde_json::json!(["body", "password"]));
    let json = nobody.post("/auth/jwt/login").body("application/json", "{}");
    assert_eq!(json.send().await.expect(422).json()["detail"][0]["type"], "missing");
    let grant = [("username", "a@example.com"), ("password", "x"), ("grant_type", "implicit")];
    let answer = nobody.post("/auth/jwt/login").form(&grant).send().await.expect(422);
    assert_eq!(answer.json()["detail"][0]["type"], "string_pattern_mismatch");
    let answer = nobody.get("/auth/jwt/login").send().await.expect(405);
    assert_eq!(answer.header("allow"), Some("POST"));

    let boundary = "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nann@example.com\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n";
    let body = format!("{boundary}{PASSWORD}\r\n--x--\r\n");
    let multipart = nobody.post("/auth/jwt/login").body("multipart/form-data; boundary=x", body);
    multipart.send().await.expect(200);

    let ann = gateway.sign_in("ann").await;
    for path in ["/auth/users/me", "/users/me"] {
        let json = ann.get(path).send().await.expect(200).json();
        assert_eq!(json["email"], "ann@example.com");
        assert_eq!(json["roles"], serde_json::json!(["admin"]));
        assert_eq!(json["is_active"], true);
        assert_eq!(json["last_name"], serde_json::Value::Null);
        assert!(json.get("hashed_password").is_none() && json.get("password_hash").is_none());
    }
    assert_eq!(nobody.get("/auth/users/me").send().await.expect(401).detail(), "Unauthorized");
    let session = ann.get("/auth/session").send().await.expect(200).json();
    assert_eq!(session["authenticated"], true);
    assert_eq!(session["method"], "password");
    let anonymous = nobody.get("/auth/session").send().await.expect(200).json();
    assert_eq!(anonymous["authenticated"], false);
    // Shapes that are not ours go to the application.
    for path in ["/users/manage", "/users", "/users/me/extra"] {
        ann.get(path).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_says_who_is_signed_in_how_and_until_when() {
    let (_upstream, gateway) = start().await;
    let named = gateway.person("ann").role("admin");
    let ann = named.set(|draft| draft.username = Some("Ann".to_owned())).sign_in().await;
    let me = ann.get("/auth/users/me").send().await.expect(200);
    let answer = ann.get("/auth/session").send().await.expect(200);
    for answer in [&me, &answer] {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let (me, session) = (me.json(), answer.json());
    assert_eq!(me["username"], "Ann");
    let time = |name: &str| {
        let text = session[name].as_str().unwrap();
        assert!(text.ends_with('Z'), "{name}: {text} is not UTC");
        text.parse::<jiff::Timestamp>().unwrap()
    };
    assert_eq!(time("expires_at").duration_since(time("signed_in_at")).as_hours(), 12);
    let expected = serde_json::json!({
        "authenticated": true, "user": me, "method": "password",
        "signed_in_at": session["signed_in_at"], "expires_at": session["expires_at"],
    });
    assert_eq!(session, expected);
    let nobody = gateway.client().get("/auth/session").send().await.expect(200).json();
    assert_eq!(nobody, serde_json::json!({ "authenticated": false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_credentials_the_first_that_is_good_counts_the_bearer_before_the_cookie() {
    let (_upstream, gateway) = start().await;
    let cookie = gateway.person("ann").sign_in().await;
    gateway.pass(HOUR / 2).await;
    let bearer = gateway.sign_in_with_bearer("ann").await;
    let since = async |call: crate::raw::Call| {
        let session = call.send().await.expect(200).json();
        session["signed_in_at"].as_str().map(str::to_owned)
    };
    let ask = |client: &Client| client.get("/auth/session");
    let (by_cookie, by_bearer) = (since(ask(&cookie)).await, since(ask(&bearer)).await);
    assert!(by_cookie.is_some() && by_bearer.is_some() && by_cookie != by_bearer);
    assert_eq!(since(ask(&bearer).header("Cookie", &cookie.cookies())).await, by_bearer);
    let stale = ask(&cookie).header("Authorization", "Bearer pc-nobodys");
    assert_eq!(since(stale).await, by_cookie);
    let stale = ask(&bearer).header("Cookie", "portcullis=nobodys");
    assert_eq!(since(stale).await, by_bearer);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_the_session_is_no_use_of_it() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    for _ in 0..5 {
        gateway.pass(HOUR / 2).await;
        ann.get("/auth/session").send().await.expect(200);
    }
    assert_eq!(ann.get("/auth/session").send().await.json()["authenticated"], false);
    ann.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_in_a_minute_write_at_most_twice() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    // A tenth of the idle limit passes in the middle of the minute: the worst place.
    gateway.pass(11 * MINUTE + MINUTE / 2).await;
    let seen = async || {
        let store = gateway.running.store();
        let sessions = store.list_sessions(None, gateway.clock.now(), 2).await.unwrap();
        sessions[0].0.last_seen
    };
    let mut written = std::collections::BTreeSet::from([seen().await]);
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..1_000 {
        gateway.advance(MINUTE / 1_000);
        ann.get("/x").send_on(&mut raw).await.expect(200);
        written.insert(seen().await);
    }
    gateway.pass(Duration::ZERO).await;
    written.insert(seen().await);
    let writes = written.len() - 1;
    report(&format!("1,000 requests in a minute wrote last_seen {writes} times"));
    assert!((1..=2).contains(&writes), "{writes} writes");
    assert_eq!(upstream.count(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_limited_by_address_and_by_account() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    gateway.person("bob").create().await;
    for attempt in 0..10 {
        let answer = sign_in(&gateway.client(), "/auth/jwt/login", "ann", "wrong").await;
        assert_eq!(answer.status, 400, "attempt {attempt}");
    }
    let answer = sign_in(&gateway.client(), "/auth/jwt/login", "ann", PASSWORD).await.expect(429);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    for _ in 0..10 {
        sign_in(&gateway.client(), "/auth/jwt/login", "bob", "wrong").await;
    }
    sign_in(&gateway.client(), "/auth/jwt/login", "somebody", "wrong").await.expect(429);
    gateway.pass(11 * MINUTE).await;
    sign_in(&gateway.client(), "/auth/jwt/login", "ann", PASSWORD).await.expect(200);
}

/// What a token says, unverified.
fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_lifetime_of_tokens_is_theirs_to_the_minute() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("tokens", "{ access_lifetime: 10m }").start().await;
    gateway.person("ann").create().await;
    let answer = sign_in(&gateway.client(), "/auth/jwt/login", "ann", PASSWORD).await.expect(200);
    let json = answer.json();
    assert_eq!(json["expires_in"], 600);
    let token = json["access_token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600, "{claims}");
    let ann = gateway.client().with_bearer(token);
    gateway.pass(9 * MINUTE).await;
    ann.get("/x").send().await.expect(200);
    gateway.pass(2 * MINUTE).await;
    ann.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_only_where_its_audience_is_meant() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let builder = builder.with("AUDIENCE", "first").with("OTHER", "both");
    let gateway =
        builder.key("tokens", "{ audience: [\"${AUDIENCE}\", \"${OTHER}\"] }").start().await;
    gateway.person("ann").create().await;
    let answer = sign_in(&gateway.client(), "/auth/jwt/login", "ann", PASSWORD).await.expect(200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["aud"], serde_json::json!(["first", "both"]));
    let ann = gateway.client().with_bearer(&token);
    ann.get("/x").send().await.expect(200);
    let gateway = gateway.restart_with(&[("AUDIENCE", "second")]).await;
    ann.get("/x").send().await.expect(200);
    let gateway = gateway.restart_with(&[("AUDIENCE", "second"), ("OTHER", "third")]).await;
    ann.get("/x").send().await.expect(401);
    gateway.sign_in_with_bearer("ann").await.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_as_strict_or_lax_with_other_sites_as_it_is_told() {
    let upstream = Upstream::start();
    let cases = [
        ("strict", "http://127.0.0.1:8080", "portcullis=", "SameSite=Strict", false),
        ("strict", "https://auth.example.com", "__Host-portcullis=", "SameSite=Strict", true),
        ("none", "https://auth.example.com", "__Host-portcullis=", "SameSite=None", true),
    ];
    for (same_site, public_url, name, attribute, is_secure) in cases {
        let builder = Gateway::builder(YAML).with("APP", &upstream.url());
        let builder = builder.key("public_url", public_url);
        let cookie = format!("{{ cookie: {{ same_site: {same_site} }} }}");
        let gateway = builder.key("sessions", &cookie).start().await;
        gateway.person("ann").create().await;
        let client = gateway.client();
        let answer = sign_in(&client, "/auth/cookie/login", "ann", PASSWORD).await.expect(204);
        let cookies = answer.all("set-cookie");
        let cookie = cookies.iter().find(|line| line.starts_with(name)).unwrap();
        let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
        assert!(attributes.contains(&attribute), "{same_site}: {cookie}");
        assert_eq!(cookie.matches("SameSite").count(), 1, "{cookie}");
        assert_eq!(attributes.contains(&"Secure"), is_secure, "{cookie}");
        client.get("/x").send().await.expect(200);
        // Taking it away says the same, or browsers keep it.
        let gone = client.post("/auth/cookie/logout").send().await.expect(204);
        let cookies = gone.all("set-cookie");
        let cookie = cookies.iter().find(|line| line.starts_with(name)).unwrap();
        assert!(cookie.contains("Max-Age=0") && cookie.contains(attribute), "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_02_username_and_email_of_an_account_share_its_attempts() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").set(|draft| draft.username = Some("ann".into())).create().await;
    let client = gateway.client();
    let attempt = async |name: &str, password: &str| {
        let fields = [("username", name), ("password", password)];
        client.post("/auth/jwt/login").form(&fields).send().await
    };
    for name in ["ann", "ANN", " Ann ", "ann@example.com", " Ann@EXAMPLE.com"].repeat(2) {
        attempt(name, "wrong").await.expect(400);
    }
    for name in ["ann", "ann@example.com"] {
        attempt(name, PASSWORD).await.expect(429);
    }
    // A name of nobody has as many attempts, and is told the same.
    for _ in 0..10 {
        attempt("nobody", "wrong").await.expect(400);
    }
    gateway.pass(11 * MINUTE).await;
    attempt("ann", PASSWORD).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_01_a_bearer_beside_the_cookie_keeps_no_old_session_alive() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let answer = sign_in(&gateway.client(), "/auth/jwt/login", "ann", PASSWORD).await.expect(200);
    let both = ann.clone().with_bearer(answer.json()["access_token"].as_str().unwrap());
    let is_dead = async |cookie: &str| {
        let copy = gateway.client();
        copy.set_cookie("portcullis", cookie);
        copy.get("/x").send().await.status == 401
    };
    let first = ann.cookie("portcullis").unwrap();
    assert!(!is_dead(&first).await);
    sign_in(&both, "/auth/cookie/login", "ann", PASSWORD).await.expect(204);
    assert!(is_dead(&first).await, "the endpoint");

    let second = ann.cookie("portcullis").unwrap();
    let page = both.visit("/auth/login?another=1").send().await.expect(200).text();
    let mut fields = crate::pages::hidden_fields(&page);
    fields.extend([("username".into(), email("ann")), ("password".into(), PASSWORD.into())]);
    let pairs: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let call = both.post("/auth/login").form(&pairs).navigating_from("same-origin");
    call.send().await.expect(303);
    assert!(is_dead(&second).await, "the page");

    let third = ann.cookie("portcullis").unwrap();
    assert!(!is_dead(&third).await);
    both.visit("/auth/logout").navigating_from("same-origin").send().await.expect(303);
    assert!(is_dead(&third).await, "the sign-out page");
    both.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_left_empty_is_missing_and_what_oauth_sends_beside_them_is_taken() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let client = gateway.client();
    for (path, status) in [("/auth/jwt/login", 200), ("/auth/cookie/login", 204)] {
        for (name, password, missing) in
            [("", PASSWORD, "username"), ("ann@example.com", "", "password")]
        {
            let fields = [("username", name), ("password", password)];
            let answer = client.post(path).form(&fields).send().await.expect(422).json();
            let detail = answer["detail"].as_array().unwrap();
            assert_eq!((detail.len(), &detail[0]["type"]), (1, &"missing".into()), "{answer}");
            assert_eq!(detail[0]["loc"], serde_json::json!(["body", missing]));
        }
        let fields = [
            ("grant_type", "password"),
            ("username", "ann@example.com"),
            ("password", PASSWORD),
            ("scope", "a b"),
            ("client_id", "x"),
            ("client_secret", "y"),
        ];
        client.post(path).form(&fields).send().await.expect(status);
    }
}
