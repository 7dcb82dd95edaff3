//! `POST reset-password` and `POST verify`, row by row of their contract.

use std::time::Duration;

use portcullis::accounts::{Actor, LinkKind};
use portcullis::store::Flag;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Executor};

use super::{NEW, PASSWORD, YAML, reset, send, signs_in, start, token, verify};
use crate::harness::{Gateway, Stopwatch, email};
use crate::postgres::Postgres;
use crate::raw::Response;
use crate::upstream::Upstream;

const BAD_RESET: &str = "RESET_PASSWORD_BAD_TOKEN";
const BAD_VERIFY: &str = "VERIFY_USER_BAD_TOKEN";

async fn set_active(gateway: &Gateway, who: &str, is_active: bool) {
    let people = gateway.running.accounts().people();
    let user = people.find(&email(who)).await.unwrap().unwrap();
    people.set_flag(user.id, Flag::Active(is_active), &Actor::cli()).await.unwrap();
}

/// Changes a database under the gateway, as another program would.
async fn run_sql(gateway: &Gateway, sql: &'static str) {
    let database = gateway.file.with_file_name("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_sets_a_new_password_and_ends_every_session() {
    let (_upstream, gateway) = start().await;
    let cookie = gateway.person("ann").sign_in().await;
    let bearer = gateway.sign_in_with_bearer("ann").await;
    let bob = gateway.person("bob").sign_in().await;
    let sessions = [&cookie, &bearer];
    for client in sessions {
        client.get("/x").send().await.expect(200);
    }
    let (good, other) = (
        token(&gateway, "ann", LinkKind::Reset).await,
        token(&gateway, "ann", LinkKind::Verify).await,
    );
    let client = gateway.client();
    let answer = reset(&client, &good, NEW).await.expect(200);
    assert_eq!(answer.json(), Value::Null);
    assert!(answer.all("set-cookie").is_empty());
    // In force at once where it was done.
    for client in sessions {
        client.get("/x").send().await.expect(401);
    }
    bob.get("/x").send().await.expect(200);
    assert!(!signs_in(&client, "ann", PASSWORD).await);
    assert!(signs_in(&client, "ann", NEW).await);
    assert_eq!(reset(&client, &good, PASSWORD).await.expect(400).detail(), BAD_RESET);
    assert_eq!(verify(&client, &other).await.expect(400).detail(), BAD_VERIFY);
    assert!(signs_in(&client, "ann", NEW).await);
    let events = gateway.running.store().list_events(None, 50).await.unwrap();
    let event = events.iter().find(|event| event.kind == "reset").expect("no event");
    assert_eq!(event.actor, "ann@example.com");
    assert_eq!(event.address, Some(gateway.address.ip()));
    let text = format!("{events:?}");
    assert!(!text.contains(NEW) && !text.contains(&good), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_that_is_not_good_is_answered_alike() {
    let (_upstream, gateway) = start().await;
    for who in ["ann", "off", "gone", "late", "moved"] {
        gateway.person(who).unverified().create().await;
    }
    let client = gateway.client();
    let late = token(&gateway, "late", LinkKind::Reset).await;
    let late_verify = token(&gateway, "late", LinkKind::Verify).await;
    gateway.pass(Duration::from_secs(3601)).await;
    let former = token(&gateway, "ann", LinkKind::Reset).await;
    let latest = token(&gateway, "ann", LinkKind::Reset).await;
    let of_verify = token(&gateway, "ann", LinkKind::Verify).await;
    let off = token(&gateway, "off", LinkKind::Reset).await;
    set_active(&gateway, "off", false).await;
    let gone = token(&gateway, "gone", LinkKind::Reset).await;
    let people = gateway.running.accounts().people();
    let user = people.find("gone@example.com").await.unwrap().unwrap();
    people.delete(user.id, &Actor::cli()).await.unwrap();
    let moved = token(&gateway, "moved", LinkKind::Reset).await;
    let moved_verify = token(&gateway, "moved", LinkKind::Verify).await;
    run_sql(
        &gateway,
        "UPDATE users SET email = 'new@example.com', email_folded = 'new@example.com' \
         WHERE email_folded = 'moved@example.com'",
    )
    .await;
    let mut flipped = latest.clone();
    let last = if flipped.pop() == Some('A') { 'B' } else { 'A' };
    flipped.push(last);
    let bads = ["", "x", &flipped, &former, &of_verify, &off, &gone, &late, &moved];
    for bad in bads {
        // The token comes before the password.
        let answer = reset(&client, bad, "short").await.expect(400);
        assert_eq!(answer.detail(), BAD_RESET, "{bad}");
        assert!(answer.json()["request_id"].is_string());
    }
    for bad in ["", "x", &flipped, &latest, &late_verify, &moved_verify] {
        assert_eq!(verify(&client, bad).await.expect(400).detail(), BAD_VERIFY, "{bad}");
    }
    reset(&client, &latest, NEW).await.expect(200);
    for who in ["off", "late", "moved"] {
        assert!(!signs_in(&client, who, NEW).await, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_refused_says_why_and_spends_nothing() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let (client, good) = (gateway.client(), token(&gateway, "ann", LinkKind::Reset).await);
    let long = "x".repeat(257);
    for (password, reason) in [
        ("", "Password should be at least 8 characters"),
        ("seven77", "Password should be at least 8 characters"),
        ("password123", "Password is too common"),
        ("ann@example.com", "Password should not contain e-mail"),
        (&*long, "Password should be at most 256 characters"),
    ] {
        let answer = reset(&client, &good, password).await.expect(400).json();
        let expected = json!({ "code": "RESET_PASSWORD_INVALID_PASSWORD", "reason": reason });
        assert_eq!(answer["detail"], expected, "{password}");
    }
    // Nor does any of it count as a guess.
    for _ in 0..20 {
        reset(&client, &good, "short").await.expect(400);
    }
    reset(&client, &good, NEW).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_verifies_an_e_mail_from_the_next_request_on() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").unverified().sign_in().await;
    gateway.person("off").unverified().create().await;
    let header = async || {
        let echo = ann.get("/x").send().await.expect(200).text().to_lowercase();
        echo.contains("x-auth-email: ann@example.com")
    };
    assert!(!header().await);
    let client = gateway.client();
    let (good, of_reset) = (
        token(&gateway, "ann", LinkKind::Verify).await,
        token(&gateway, "ann", LinkKind::Reset).await,
    );
    let user = verify(&client, &good).await.expect(200).json();
    assert_eq!(user["email"], "ann@example.com");
    assert_eq!(user["is_verified"], true);
    let mut names: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "department",
        "email",
        "first_name",
        "id",
        "is_active",
        "is_superuser",
        "is_verified",
        "last_name",
        "organization",
        "phone",
    ];
    assert_eq!(names, expected);
    assert!(header().await, "it is in force on the next request");
    let again = verify(&client, &good).await.expect(400);
    assert_eq!(again.detail(), "VERIFY_USER_ALREADY_VERIFIED");
    // A link of somebody whom an operator has verified meanwhile.
    let latest = token(&gateway, "ann", LinkKind::Verify).await;
    let again = verify(&client, &latest).await.expect(400);
    assert_eq!(again.detail(), "VERIFY_USER_ALREADY_VERIFIED");
    assert_eq!(verify(&client, &of_reset).await.expect(400).detail(), BAD_VERIFY);
    // An inactive person may, and is none the more active.
    let good = token(&gateway, "off", LinkKind::Verify).await;
    set_active(&gateway, "off", false).await;
    let user = verify(&client, &good).await.expect(200).json();
    assert_eq!((&user["is_verified"], &user["is_active"]), (&json!(true), &json!(false)));
    let events = gateway.running.store().list_events(None, 50).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "verify").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_in_force_on_another_node_within_a_second() {
    let upstream = Upstream::start();
    let url = Postgres::start().database().await;
    let start = || Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    let start = || start().key("public_url", "\"http://auth.example.com\"");
    let (here, there) = (start().start().await, start().start().await);
    let ann = here.person("ann").unverified().sign_in().await;
    let ann_there = there.client();
    ann_there.set_cookie("portcullis", &ann.cookie("portcullis").unwrap());
    let header = async || {
        let echo = ann_there.get("/x").send().await.expect(200).text().to_lowercase();
        echo.contains("x-auth-email: ann@example.com")
    };
    assert!(!header().await);
    let good = token(&here, "ann", LinkKind::Verify).await;
    let watch = Stopwatch::start();
    verify(&here.client(), &good).await.expect(200);
    while !header().await {
        assert!(watch.elapsed() < Duration::from_secs(1), "not in force");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A link made on one node is good on any.
    let good = token(&here, "ann", LinkKind::Reset).await;
    reset(&there.client(), &good, NEW).await.expect(200);
    ann_there.get("/x").send().await.expect(401);
    let answered = Stopwatch::start();
    while ann.get("/x").send().await.status != 401 {
        assert!(answered.elapsed() < Duration::from_secs(1), "not in force");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reset(&here.client(), &good, NEW).await.expect(400).detail(), BAD_RESET);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_none_is_told_field_by_field() {
    let (_upstream, gateway) = start().await;
    let client = gateway.client();
    let missing = |field: &str| json!({"type": "missing", "loc": ["body", field], "msg": "Field required", "input": null});
    let no_text = |field: &str, input: Value| {
        json!({"type": "string_type", "loc": ["body", field],
               "msg": "Input should be a valid string", "input": input})
    };
    let reset = "/auth/reset-password";
    for (to, body, expected) in [
        (reset, json!({}), json!([missing("token"), missing("password")])),
        (reset, json!([]), json!([missing("token"), missing("password")])),
        (reset, json!({"token": "x", "password": null}), json!([no_text("password", Value::Null)])),
        (
            reset,
            json!({"token": 1, "password": ["a"], "more": 1}),
            json!([no_text("token", json!(1)), no_text("password", json!(["a"]))]),
        ),
        ("/auth/verify", json!({}), json!([missing("token")])),
        ("/auth/verify", json!({"token": {"a": 1}}), json!([no_text("token", json!({"a": 1}))])),
    ] {
        let answer = send(&client, to, &body).await.expect(422);
        assert_eq!(answer.json()["detail"], expected, "{to} {body}");
    }
    let deep = format!("{{\"token\": {}", "[".repeat(30_000));
    for to in [reset, "/auth/verify"] {
        let post = |kind: &str, body: &[u8]| client.post(to).body(kind, body);
        for body in [
            &b"{"[..],
            b"{\"token\": \"\xff\"}",
            b"{\"token\":\"a\",\"token\":\"b\"}",
            deep.as_bytes(),
        ] {
            let answer = post("application/json", body).send().await.expect(422).json();
            assert_eq!(answer["detail"][0]["type"], "json_invalid", "{answer}");
        }
        let plain = post("text/plain", b"{\"token\": \"x\", \"password\": \"x\"}").send().await;
        assert_eq!(plain.expect(422).json()["detail"][0], missing("token"));
        post("application/json", &vec![b' '; 70_000]).send().await.expect(413);
        client.post(to).send().await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_and_endpoint_share_an_address_and_are_told_apart() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let client = gateway.client();
    let is_page =
        |answer: &Response| answer.header("content-type").unwrap().starts_with("text/html");
    for to in ["/auth/reset-password", "/auth/verify"] {
        assert!(is_page(&client.visit(to).send().await.expect(404)), "{to}");
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = client.call(method, to).body("application/json", "{}").send().await;
            assert_eq!(answer.expect(405).header("allow"), Some("GET, HEAD, POST"), "{to}");
        }
        let preflight = client.call("OPTIONS", to).header("Origin", "https://friend.example.org");
        let preflight = preflight.header("Access-Control-Request-Method", "POST").send().await;
        let preflight = preflight.expect(204);
        let allowed = preflight.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://friend.example.org"));
        assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
        let call = client
            .call("POST", to)
            .body("application/json", "{\"token\":\"x\",\"password\":\"x\"}");
        let listed = call.clone().header("Origin", "https://friend.example.org").send().await;
        let listed = listed.expect(400);
        let allowed = listed.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://friend.example.org"));
        let foreign = call.header("Origin", "https://evil.example.net").send().await.expect(400);
        assert!(foreign.header("access-control-allow-origin").is_none());
        // With somebody's cookie another site's page gets nowhere.
        let call =
            ann.call("POST", to).body("application/json", "{\"token\":\"x\",\"password\":\"x\"}");
        let foreign = call.header("Origin", "https://evil.example.net").send().await.expect(403);
        assert_eq!(foreign.detail(), "Cross-site request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lives_an_hour_and_no_shorter() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").unverified().create().await;
    let client = gateway.client();
    let of_verify = token(&gateway, "ann", LinkKind::Verify).await;
    let of_reset = token(&gateway, "ann", LinkKind::Reset).await;
    gateway.pass(Duration::from_secs(3590)).await;
    verify(&client, &of_verify).await.expect(200);
    reset(&client, &of_reset, NEW).await.expect(200);
    let late = token(&gateway, "ann", LinkKind::Reset).await;
    gateway.pass(Duration::from_secs(3601)).await;
    assert_eq!(reset(&client, &late, NEW).await.expect(400).detail(), BAD_RESET);
}
