//! `POST register` and `require_verified`, row by row of their contract.

use serde_json::json;

use super::{
    NEW, YAML, events, link_mailed_to, new_account, patch, register, sign_in, start, with_accounts,
};
use crate::harness::{PASSWORD, email};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registers_gets_an_account_that_can_do_nothing_yet() {
    let (_upstream, gateway) =
        start("{ registration: open, default_roles: [reader, writer] }").await;
    let client = gateway.client();
    let body = json!({
        "email": " Ann@EXAMPLE.com ", "password": PASSWORD, "is_active": false,
        "is_superuser": true, "is_verified": true, "username": "root", "roles": ["admin"],
        "first_name": " Ann ", "last_name": "", "organization": null, "phone": "+1",
    });
    let made = register(&client, &body).await.expect(201);
    let mut user = made.json();
    let id = user.as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!(
        user,
        json!({
            "email": "Ann@example.com", "is_active": true, "is_superuser": false,
            "is_verified": false, "first_name": "Ann", "last_name": null, "organization": null,
            "department": null, "phone": "+1",
        })
    );
    assert!(made.all("set-cookie").is_empty(), "nobody is signed in by registering");
    let ann = gateway.sign_in("ann").await;
    let me = ann.get("/users/me").send().await.expect(200).json();
    assert_eq!(me["id"], id);
    assert_eq!(me["email"], "Ann@example.com");
    let event = &events(&gateway, "register").await[0];
    assert_eq!(event.user.unwrap().to_string(), id.as_str().unwrap());
    assert_eq!(
        (event.actor.as_str(), event.address),
        ("Ann@example.com", Some(gateway.address.ip()))
    );
    assert!(!format!("{event:?}").contains(PASSWORD));
    let people = gateway.running.accounts().people();
    let user = people.find("ann@example.com").await.unwrap().unwrap();
    let grants = gateway.running.store().list_grants(user.id).await.unwrap();
    let roles: Vec<&str> = grants.iter().map(|grant| grant.role.as_str()).collect();
    assert_eq!(roles, ["reader", "writer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_that_is_taken_is_told_after_a_password_that_does_not_do() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    gateway.person("ann").create().await;
    let client = gateway.client();
    for email in ["ann@example.com", " ANN@Example.COM "] {
        let answer = register(&client, &json!({ "email": email, "password": "short" })).await;
        assert_eq!(
            answer.expect(400).json()["detail"],
            json!({
                "code": "REGISTER_INVALID_PASSWORD",
                "reason": "Password should be at least 8 characters",
            })
        );
        let answer = register(&client, &json!({ "email": email, "password": NEW })).await;
        assert_eq!(answer.expect(400).detail(), "REGISTER_USER_ALREADY_EXISTS");
    }
    for (email, password) in [("bob@example.com", "bob@example.com"), ("b@c.de", "password1")] {
        let answer = register(&client, &json!({ "email": email, "password": password })).await;
        let detail = &answer.expect(400).json()["detail"];
        assert_eq!(detail["code"], "REGISTER_INVALID_PASSWORD");
        assert!(!detail["reason"].as_str().unwrap().is_empty());
    }
    assert_eq!(events(&gateway, "register").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_register_one_e_mail_at_once_are_one_account() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    let calls = (0..6).map(|_| {
        let client = gateway.client();
        tokio::spawn(async move { register(&client, &new_account("ann")).await.status })
    });
    let mut made = 0;
    for call in calls.collect::<Vec<_>>() {
        let status = call.await.unwrap();
        assert!(matches!(status, 201 | 400 | 429), "{status}");
        made += u8::from(status == 201);
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_registration_is_closed_the_body_is_not_even_read() {
    for accounts in ["{}", "{ registration: closed }", "{ registration: invite }"] {
        let (_upstream, gateway) = start(accounts).await;
        let client = gateway.client();
        // An invitation stands in the body.
        let unread = if accounts.contains("invite") { 0 } else { 2 };
        let broken = ["{".to_owned(), String::new()].into_iter().take(unread);
        for body in [new_account("ann").to_string()].into_iter().chain(broken) {
            let call = client.post("/auth/register").body("application/json", body);
            assert_eq!(call.send().await.expect(403).detail(), "Forbidden", "{accounts}");
        }
        assert!(gateway.running.accounts().people().find(&email("ann")).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_domains_register_and_only_to_them_an_e_mail_moves() {
    let accounts = "{ registration: open, email_domains: [example.com, bücher.example] }";
    let (_upstream, gateway) = start(accounts).await;
    let client = gateway.client();
    for (email, status) in [
        ("ann@example.com", 201),
        ("bea@EXAMPLE.com", 201),
        ("cat@xn--bcher-kva.example", 201),
        ("dan@Bücher.example", 201),
        ("eve@example.org", 422),
        ("eve@sub.example.com", 422),
        ("eve@badexample.com", 422),
        ("eve@example.com.evil.org", 422),
    ] {
        let answer = register(&client, &json!({ "email": email, "password": PASSWORD })).await;
        assert_eq!(answer.status, status, "{email}: {}", answer.text());
        if status == 422 {
            let complaint = &answer.json()["detail"][0];
            assert_eq!(complaint["type"], "value_error");
            assert_eq!(complaint["loc"], json!(["body", "email"]));
        }
    }
    let ann = gateway.sign_in("ann").await;
    let moved = json!({ "email": "ann@example.org" });
    let refused = patch(&ann, "/users/me", &moved).await.expect(422).json();
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "email"]));
    patch(&ann, "/users/me", &json!({ "email": "ann2@bücher.example" })).await.expect(200);
    // A superuser knows what they do.
    let root = gateway.person("root").superuser().sign_in().await;
    let id = ann.get("/users/me").send().await.expect(200).json()["id"].clone();
    patch(&root, &format!("/users/{}", id.as_str().unwrap()), &moved).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_unverified_signs_in_or_gets_anywhere_where_that_is_required() {
    let (_upstream, gateway) = start("{ registration: open, require_verified: true }").await;
    let client = gateway.client();
    register(&client, &new_account("ann")).await.expect(201);
    let refused = sign_in(&gateway, "ann", PASSWORD).await.expect(400);
    assert_eq!(refused.detail(), "LOGIN_USER_NOT_VERIFIED");
    let wrong = sign_in(&gateway, "ann", "wrong").await.expect(400);
    assert_eq!(wrong.detail(), "LOGIN_BAD_CREDENTIALS", "only whoever has the password is told");
    let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
    let cookie = gateway.client().post("/auth/cookie/login").form(&fields).send().await;
    assert_eq!(cookie.expect(400).detail(), "LOGIN_USER_NOT_VERIFIED");
    let link = link_mailed_to(&gateway, "ann").await;
    let token = link.split_once("token=").unwrap().1;
    let body = json!({ "token": token }).to_string();
    client.post("/auth/verify").body("application/json", body).send().await.expect(200);
    sign_in(&gateway, "ann", PASSWORD).await.expect(200);
    let refused = events(&gateway, "sign-in-refused").await;
    assert_eq!(refused[0].detail, "e-mail not verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_before_that_was_required_gives_no_access() {
    let upstream = Upstream::start();
    let gateway = with_accounts(&upstream, "{ require_verified: false }").start().await;
    let (ann, root) = (
        gateway.person("ann").unverified().sign_in().await,
        gateway.person("root").unverified().superuser().sign_in_with_bearer().await,
    );
    for target in ["/x", "/users/me", "/optional"] {
        ann.get(target).send().await.expect(200);
    }
    let optional = upstream.last();
    assert!(optional.header("x-auth-user-id").is_some());
    gateway.reload("require_verified: false", "require_verified: true");
    let denied = ann.get("/x").send().await.expect(403);
    assert_eq!(denied.detail(), "E-mail not verified");
    ann.get("/").send().await.expect(200);
    ann.get("/optional").send().await.expect(200);
    let optional = upstream.last();
    assert!(optional.header("x-auth-user-id").is_none(), "it goes on as nobody's");
    for (client, method, target) in [
        (&ann, "GET", "/auth/users/me".to_owned()),
        (&ann, "PATCH", "/users/me".to_owned()),
        (&ann, "POST", "/auth/cookie/logout".to_owned()),
        (&root, "GET", format!("/users/{}", uuid::Uuid::nil())),
        (&root, "DELETE", format!("/users/{}", uuid::Uuid::nil())),
    ] {
        let answer = client.call(method, &target).send().await.expect(403);
        assert_eq!(answer.detail(), "Forbidden", "{method} {target}");
    }
    let session = ann.get("/auth/session").send().await.expect(200).json();
    assert_eq!(session["user"]["is_verified"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_registers_nobody_unless_it_is_listed() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    let call = |origin: &str| {
        let body = new_account("ann").to_string();
        gateway
            .client()
            .post("/auth/register")
            .with("origin", origin)
            .body("application/json", body)
    };
    let friend = call("https://friend.example.org").with("sec-fetch-site", "cross-site");
    let answer = friend.send().await.expect(201);
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://friend.example.org"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let stranger = call("https://evil.example").with("sec-fetch-site", "cross-site").send().await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mail_neither_open_registration_nor_verified_people_can_be_had() {
    let environment = [("APP".to_owned(), "http://127.0.0.1:1".to_owned())].into();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.yaml");
    let accounts = "accounts: { registration: open, require_verified: true }";
    std::fs::write(&file, format!("{YAML}\n{accounts}\n")).unwrap();
    let found = portcullis::config::load(&file, &environment as &std::collections::BTreeMap<_, _>);
    let lines: Vec<String> = found.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, key) in lines.iter().zip(["accounts.registration", "accounts.require_verified"]) {
        assert!(line.contains(key) && line.contains("add `mail`"), "{line}");
    }
}
