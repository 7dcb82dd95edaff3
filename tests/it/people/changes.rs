//! `users/me` and `users/{id}`: who may change what, and what a change ends.

use portcullis::accounts::{Actor, LinkKind};
use portcullis::store::Flag;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{NEW, events, link_mailed_to, patch, sign_in, start, with_accounts};
use crate::harness::{Gateway, PASSWORD, email};
use crate::postgres::Postgres;
use crate::raw::Client;
use crate::upstream::Upstream;

/// The address of somebody's account.
async fn address(gateway: &Gateway, who: &str) -> String {
    let people = gateway.running.accounts().people();
    format!("/users/{}", people.find(&email(who)).await.unwrap().unwrap().id)
}

async fn is_signed_in(client: &Client) -> bool {
    client.get("/auth/session").send().await.expect(200).json()["authenticated"] == true
}

/// Whether the token of a link is still good.
async fn is_good(gateway: &Gateway, kind: LinkKind, link: &str) -> bool {
    let token = link.split_once("token=").unwrap().1;
    let found = gateway.running.accounts().people().look_at_link(kind, token).await.unwrap();
    matches!(found, portcullis::accounts::LinkState::Live(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changes_what_is_ones_own_and_no_flag() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let body = json!({
        "first_name": " Ann ", "last_name": "Lee", "organization": "Quay", "phone": "+1",
        "is_active": false, "is_superuser": true, "is_verified": false, "id": Uuid::nil(),
        "username": "root", "roles": ["admin"], "password": null,
    });
    let user = patch(&ann, "/users/me", &body).await.expect(200).json();
    assert_eq!(user["first_name"], "Ann");
    assert_eq!((&user["is_active"], &user["is_superuser"]), (&json!(true), &json!(false)));
    assert_eq!((&user["is_verified"], &user["department"]), (&json!(true), &Value::Null));
    assert!(user.get("username").is_none() && user.get("roles").is_none());
    let user = patch(&ann, "/auth/users/me", &json!({ "phone": null, "last_name": "" })).await;
    let user = user.expect(200).json();
    assert_eq!((&user["phone"], &user["last_name"]), (&Value::Null, &Value::Null));
    assert_eq!(user["organization"], "Quay");
    // In force where the change was made, in the cached session too.
    assert_eq!(ann.get("/users/me").send().await.expect(200).json()["organization"], "Quay");
    patch(&ann, "/users/me", &json!({})).await.expect(200);
    let updates = events(&gateway, "update").await;
    let details: Vec<&str> = updates.iter().map(|event| event.detail.as_str()).collect();
    assert_eq!(details, ["last_name, phone", "first_name, last_name, organization, phone"]);
    assert!(updates.iter().all(|event| event.actor == "ann@example.com"));
    for long in [json!("x".repeat(201)), json!("a\nb")] {
        let answer = patch(&ann, "/users/me", &json!({ "department": long })).await.expect(422);
        assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", "department"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session_and_the_links_to_one() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let (other, bearer) = (gateway.sign_in("ann").await, gateway.sign_in_with_bearer("ann").await);
    let bob = gateway.person("bob").sign_in().await;
    let link = gateway.link("ann", LinkKind::Reset).await;
    let refused = patch(&ann, "/users/me", &json!({ "password": "short" })).await.expect(400);
    let detail = &refused.json()["detail"];
    assert_eq!(detail["code"], "UPDATE_USER_INVALID_PASSWORD");
    assert_eq!(detail["reason"], "Password should be at least 8 characters");
    assert!(is_signed_in(&other).await);
    // The policy knows the names of the same call.
    let body = json!({ "password": "Marguerite-77", "first_name": "Marguerite" });
    let refused = patch(&ann, "/users/me", &body).await.expect(400);
    assert_eq!(refused.json()["detail"]["reason"], "Password should not contain first name");
    patch(&ann, "/users/me", &json!({ "password": NEW })).await.expect(200);
    assert!(is_signed_in(&ann).await && is_signed_in(&bob).await);
    assert!(!is_signed_in(&other).await && !is_signed_in(&bearer).await);
    assert!(!is_good(&gateway, LinkKind::Reset, &link).await);
    sign_in(&gateway, "ann", PASSWORD).await.expect(400);
    sign_in(&gateway, "ann", NEW).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_e_mail_is_unverified_and_ends_every_other_session_and_link() {
    let (_upstream, gateway) = start("{}").await;
    gateway.person("taken").create().await;
    let ann = gateway.person("ann").sign_in().await;
    let other = gateway.sign_in("ann").await;
    let link = gateway.link("ann", LinkKind::Reset).await;
    for taken in ["taken@example.com", "TAKEN@EXAMPLE.COM"] {
        let refused = patch(&ann, "/users/me", &json!({ "email": taken })).await.expect(400);
        assert_eq!(refused.detail(), "UPDATE_USER_EMAIL_ALREADY_EXISTS");
    }
    // Only its case: nothing else changes.
    let user = patch(&ann, "/users/me", &json!({ "email": "ANN@Example.com" })).await.expect(200);
    assert_eq!(user.json()["email"], "ANN@example.com");
    assert_eq!(user.json()["is_verified"], true);
    assert!(is_signed_in(&other).await && is_good(&gateway, LinkKind::Reset, &link).await);
    let user = patch(&ann, "/users/me", &json!({ "email": "new@example.com" })).await.expect(200);
    assert_eq!(user.json()["is_verified"], false);
    assert!(is_signed_in(&ann).await && !is_signed_in(&other).await);
    assert!(!is_good(&gateway, LinkKind::Reset, &link).await);
    sign_in(&gateway, "ann", PASSWORD).await.expect(400);
    sign_in(&gateway, "new", PASSWORD).await.expect(200);
    assert!(link_mailed_to(&gateway, "new").await.starts_with("/auth/verify?token="));
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_to_others_e_mails_tells_no_more_than_registering_does() {
    let upstream = Upstream::start();
    let few = "{ auth: { registrations_per_address: 3/1h } }";
    let gateway = with_accounts(&upstream, "{}").key("limits", few).start().await;
    gateway.person("taken").create().await;
    let ann = gateway.person("ann").sign_in().await;
    for email in ["taken@example.com", "TAKEN@example.com", "new@example.com"] {
        let expected = if email == "new@example.com" { 200 } else { 400 };
        patch(&ann, "/users/me", &json!({ "email": email })).await.expect(expected);
    }
    let refused = patch(&ann, "/users/me", &json!({ "email": "taken@example.com" })).await;
    assert!(refused.expect(429).header("retry-after").is_some());
    patch(&ann, "/users/me", &json!({ "first_name": "Ann" })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_confirm_changes_the_current_password_is_asked_under_the_limits_of_signing_in() {
    let (_upstream, gateway) = start("{ confirm_changes: true }").await;
    let ann = gateway.person("ann").sign_in().await;
    for change in [json!({ "password": NEW }), json!({ "email": "new@example.com" })] {
        let refused = patch(&ann, "/users/me", &change).await.expect(400).json();
        assert_eq!(refused["detail"]["reason"], "The current password is needed");
        let mut wrong = change.clone();
        wrong["current_password"] = json!("wrong");
        let refused = patch(&ann, "/users/me", &wrong).await.expect(400).json();
        assert_eq!(refused["detail"]["code"], "UPDATE_USER_INVALID_PASSWORD");
        assert_eq!(refused["detail"]["reason"], "The current password is wrong");
    }
    // What is no change of either needs none.
    let body = json!({ "first_name": "Ann", "email": "Ann@example.com" });
    patch(&ann, "/users/me", &body).await.expect(200);
    let body = json!({ "password": NEW, "current_password": PASSWORD });
    patch(&ann, "/users/me", &body).await.expect(200);
    let wrong = json!({ "password": PASSWORD, "current_password": "wrong" });
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(patch(&ann, "/users/me", &wrong).await.status);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    sign_in(&gateway, "ann", NEW).await.expect(429);
    assert!(!events(&gateway, "confirmation-failed").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_04_a_restart_forgets_no_wrong_current_password() {
    let (_upstream, gateway) = start("{ confirm_changes: true }").await;
    let ann = gateway.person("ann").sign_in().await;
    let wrong = json!({ "password": NEW, "current_password": "wrong" });
    for _ in 0..7 {
        patch(&ann, "/users/me", &wrong).await.expect(400);
    }
    // What failed is written down after the answer.
    for _ in 0..250 {
        if events(&gateway, "confirmation-failed").await.len() == 7 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(events(&gateway, "confirmation-failed").await.len(), 7);
    let gateway = gateway.restart_with(&[]).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(sign_in(&gateway, "ann", "wrong").await.status);
    }
    assert_eq!(statuses, [400, 400, 400, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_changes_everything_and_that_ends_what_it_ends() {
    let (_upstream, gateway) = start("{}").await;
    let root = gateway.person("root").superuser().sign_in().await;
    let ann = gateway.person("ann").sign_in().await;
    let at = address(&gateway, "ann").await;
    let body = json!({ "first_name": "Ann", "is_superuser": true, "is_verified": false });
    let user = patch(&root, &at, &body).await.expect(200).json();
    assert_eq!((&user["is_superuser"], &user["is_verified"]), (&json!(true), &json!(false)));
    assert!(is_signed_in(&ann).await, "a flag ends no session");
    let body = json!({ "email": "new@example.com", "is_verified": true });
    let user = patch(&root, &at, &body).await.expect(200).json();
    assert_eq!((&user["email"], &user["is_verified"]), (&json!("new@example.com"), &json!(true)));
    assert!(!is_signed_in(&ann).await);
    let ann = gateway.sign_in("new").await;
    patch(&root, &at, &json!({ "password": NEW })).await.expect(200);
    assert!(!is_signed_in(&ann).await);
    sign_in(&gateway, "new", NEW).await.expect(200);
    let user = patch(&root, &at, &json!({ "is_active": false })).await.expect(200).json();
    assert_eq!(user["is_active"], false);
    sign_in(&gateway, "new", NEW).await.expect(400);
    let update = &events(&gateway, "update").await[0];
    assert_eq!(
        (update.actor.as_str(), update.detail.as_str()),
        ("root@example.com", "is_active=false")
    );
    for (body, code) in [
        (json!({ "email": "root@example.com" }), "UPDATE_USER_EMAIL_ALREADY_EXISTS"),
        (json!({ "password": "short" }), "UPDATE_USER_INVALID_PASSWORD"),
    ] {
        let detail = patch(&root, &at, &body).await.expect(400).json()["detail"].clone();
        assert!(detail == code || detail["code"] == code, "{detail}");
    }
    let null = patch(&root, &at, &json!({ "is_active": null, "email": null })).await.expect(422);
    assert_eq!(null.json()["detail"].as_array().unwrap().len(), 2);
    root.call("DELETE", &at).send().await.expect(204);
    root.get(&at).send().await.expect(404);
    assert_eq!(events(&gateway, "delete").await[0].actor, "root@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_active_superuser_is_not_removed_by_anybody() {
    let (_upstream, gateway) = start("{}").await;
    let root = gateway.person("root").superuser().sign_in().await;
    let at = address(&gateway, "root").await;
    for body in [json!({ "is_superuser": false }), json!({ "is_active": false })] {
        assert_eq!(patch(&root, &at, &body).await.expect(400).detail(), "LAST_SUPERUSER");
    }
    let refused = root.call("DELETE", &at).send().await.expect(400);
    assert_eq!(refused.detail(), "LAST_SUPERUSER");
    let twin = gateway.person("twin").superuser().sign_in().await;
    patch(&root, &at, &json!({ "is_superuser": false })).await.expect(200);
    let denied = root.get(&at).send().await.expect(403);
    assert_eq!(denied.detail(), "Forbidden", "in force with the next request");
    assert!(is_signed_in(&root).await);
    twin.call("DELETE", &at).send().await.expect(204);
    assert!(!is_signed_in(&root).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization_comes_before_the_id_and_the_id_before_the_body() {
    let (_upstream, gateway) = start("{}").await;
    let (nobody, ann) = (gateway.client(), gateway.person("ann").sign_in().await);
    let root = gateway.person("root").superuser().sign_in().await;
    let (missing, no_id) = (format!("/auth/users/{}", Uuid::nil()), "/auth/users/xyz".to_owned());
    let anns = format!("/auth{}", address(&gateway, "ann").await);
    for target in [&missing, &no_id, &anns] {
        for method in ["GET", "PATCH", "DELETE"] {
            let call = |client: &Client| {
                client
                    .call(method, target)
                    .body("application/json", "{")
                    .header("origin", &client.origin())
            };
            call(&nobody).send().await.expect(401);
            call(&ann).send().await.expect(403);
            if *target != anns {
                call(&root).send().await.expect(404);
            }
        }
    }
    let bad = root.call("PATCH", &anns).body("application/json", "{").send().await.expect(422);
    assert_eq!(bad.json()["detail"][0]["type"], "json_invalid");
    nobody.call("PATCH", "/users/me").body("application/json", "{").send().await.expect(401);
    // Upper case and no dashes are an id as well, and what is none goes to the routes below `users_path`.
    let loud = anns.replace("/auth/users/", "").replace('-', "").to_uppercase();
    root.get(&format!("/users/{loud}")).send().await.expect(200);
    for (method, target) in
        [("DELETE", "/users/me"), ("GET", "/users/manage"), ("PUT", "/users/me")]
    {
        assert_eq!(root.call(method, target).send().await.expect(200).header("x-request-id"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_switched_off_or_deleted_meanwhile_changes_nothing() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let people = gateway.running.accounts().people();
    let user = people.find("ann@example.com").await.unwrap().unwrap();
    people.set_flag(user.id, Flag::Active(false), &Actor::cli()).await.unwrap();
    patch(&ann, "/users/me", &json!({ "first_name": "Ann" })).await.expect(401);
    assert_eq!(people.find("ann@example.com").await.unwrap().unwrap().profile.first_name, None);
}

async fn nobody_is_a_superuser_by_an_earlier_head(gateway: Gateway) {
    let root = gateway.person("root").superuser().sign_in().await;
    let anns = address(&gateway, &gateway.person("ann").create().await.email).await;
    let promoted = json!({ "is_superuser": true, "is_active": true });
    for (who, blow) in [
        ("demoted", json!({ "is_superuser": false })),
        ("off", json!({ "is_active": false })),
        ("moved", json!({ "email": "elsewhere@example.com" })),
    ] {
        let eve = gateway.person(who).superuser().sign_in().await;
        let own = address(&gateway, who).await;
        let guest = json!({ "email": "guest@example.com", "roles": ["admin"] });
        let mut begun = Vec::new();
        for (method, target, body) in [
            ("PATCH", own.as_str(), &promoted),
            ("PATCH", &anns, &promoted),
            ("POST", "/auth/invitations", &guest),
        ] {
            let call = eve.call(method, target).body("application/json", body.to_string());
            begun.push((call.send_head().await, method));
        }
        patch(&root, &own, &blow).await.expect(200);
        for ((mut raw, body), method) in begun {
            raw.send(&body).await;
            raw.response(method).await.expect(403);
        }
        let eves = root.get(&own).send().await.expect(200).json();
        let changed = blow.as_object().unwrap().iter().all(|(name, value)| eves[name] == *value);
        assert!(changed, "{who}: {eves}");
    }
    let ann = root.get(&anns).send().await.expect(200).json();
    assert_eq!(ann["is_superuser"], false);
    let invited = root.get("/auth/invitations").send().await.expect(200).json();
    assert_eq!(invited, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_05_nobody_is_a_superuser_by_an_earlier_head_on_sqlite() {
    let (_upstream, gateway) = start("{ registration: invite }").await;
    nobody_is_a_superuser_by_an_earlier_head(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_05_nobody_is_a_superuser_by_an_earlier_head_on_postgresql() {
    let (upstream, url) = (Upstream::start(), Postgres::start().database().await);
    let builder = with_accounts(&upstream, "{ registration: invite }").postgres(&url);
    nobody_is_a_superuser_by_an_earlier_head(builder.start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_changes_nobody_with_their_cookie() {
    let (_upstream, gateway) = start("{}").await;
    let root = gateway.person("root").superuser().sign_in().await;
    gateway.person("ann").create().await;
    let at = address(&gateway, "ann").await;
    for (method, target) in [("PATCH", "/users/me"), ("PATCH", &at), ("DELETE", &at)] {
        let call = root.call(method, target).body("application/json", "{}");
        let call =
            call.header("origin", "https://evil.example").with("sec-fetch-site", "cross-site");
        assert_eq!(call.send().await.expect(403).detail(), "Cross-site request");
    }
    let preflight = gateway
        .client()
        .call("OPTIONS", &at)
        .header("origin", "https://friend.example.org")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "content-type");
    let answer = preflight.send().await.expect(204);
    assert_eq!(answer.header("access-control-allow-methods"), Some("PATCH"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_e_mail_carries_no_authority_before_it_is_verified() {
    let upstream = crate::upstream::Upstream::start();
    let rule = "routes:
  - { path: /team, upstream: app, allow: { users: [new@example.com] } }
  - { path: /verified, upstream: app, allow: { verified: true } }";
    let gateway = Gateway::builder(&super::YAML.replace("routes:", rule))
        .with("APP", &upstream.url())
        .key("mail", "{ from: no-reply@example.com, directory: mail }")
        .start()
        .await;
    let ann = gateway.person("ann").sign_in().await;
    let told = async || {
        ann.get("/x").send().await.expect(200);
        upstream.last().header("x-auth-email")
    };
    assert_eq!(told().await.as_deref(), Some("ann@example.com"));
    ann.get("/team").send().await.expect(403);
    let former = gateway.link("ann", LinkKind::Verify).await;
    let verify = async |link: &str| {
        let body = json!({ "token": link.split_once("token=").unwrap().1 }).to_string();
        gateway.client().post("/auth/verify").body("application/json", body).send().await
    };
    patch(&ann, "/users/me", &json!({ "email": "new@example.com" })).await.expect(200);
    assert_eq!(told().await, None);
    ann.get("/team").send().await.expect(403);
    // The page of the refusal leads to what helps.
    let page = ann.visit("/verified").send().await.expect(403).text();
    let offer = "<a href=\"&#x2f;auth&#x2f;request-verify-token\">Send the link";
    assert!(page.contains(offer) && !page.contains("administrator"), "{page}");
    // What was mailed to the former address verifies nothing of the new one.
    assert_eq!(verify(&former).await.expect(400).detail(), "VERIFY_USER_BAD_TOKEN");
    ann.get("/team").send().await.expect(403);
    verify(&link_mailed_to(&gateway, "new").await).await.expect(200);
    assert_eq!(told().await.as_deref(), Some("new@example.com"));
    ann.get("/team").send().await.expect(200);
}
