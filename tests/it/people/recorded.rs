//! What `FastAPI` Users 15.0.5 answers to a table of bodies, recorded from a server whose users have names
//! too, and that this gateway answers the same: status, code, and for every complaint its type and place.
//!
//! One thing differs in the table on purpose: a body that is no JSON is not looked at before it is known
//! whether the caller may send one at all.

use serde_json::{Value, json};

use super::start;
use crate::harness::{Gateway, PASSWORD, email};

const RECORDED: &str = include_str!("recorded.json");

/// What a refusal says, without wording: a code, or for each complaint its type and place.
fn told(detail: &Value) -> Value {
    let Some(list) = detail.as_array() else { return detail.clone() };
    list.iter().map(|one| json!([one["type"], place(&one["loc"])])).collect()
}

/// The same, as it was recorded.
fn expected(recorded: &Value) -> Value {
    let Some(list) = recorded.as_array() else { return recorded.clone() };
    list.iter().map(|one| json!([one[0], place(&one[1])])).collect()
}

/// Where a complaint stands. Readers of JSON do not agree to the byte on where they stopped.
fn place(loc: &Value) -> Value {
    let parts = loc.as_array().unwrap().iter();
    parts.map(|part| if part.is_u64() { json!("offset") } else { part.clone() }).collect()
}

async fn id_of(gateway: &Gateway, who: &str) -> String {
    let people = gateway.running.accounts().people();
    people.find(&email(who)).await.unwrap().unwrap().id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_answered_as_fastapi_users_answers_them() {
    let upstream = crate::upstream::Upstream::start();
    let builder = super::with_accounts(&upstream, "{ registration: open }").key("limits", "off");
    let gateway = builder.start().await;
    for who in ["ann", "bob", "taken"] {
        gateway.person(who).unverified().create().await;
    }
    gateway.person("root").superuser().create().await;
    let (ann, root) =
        (gateway.sign_in_with_bearer("ann").await, gateway.sign_in_with_bearer("root").await);
    let nobody = gateway.client();
    let bob = id_of(&gateway, "bob").await;
    let rows: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    assert!(rows.len() > 180, "{}", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let text = |index: usize| row[index].as_str().unwrap();
        let client = match text(0) {
            "ann" => &ann,
            "root" => &root,
            _ => &nobody,
        };
        let target = text(2).replace("{bob}", &bob);
        let mut call = client.call(text(1), &target).body(text(3), text(4));
        if text(3).is_empty() {
            call = call.without("content-type");
        }
        let answer = call.send().await;
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let is_same = answer.status == row[5]
            && (answer.status < 300 || told(&body["detail"]) == expected(&row[6]));
        if !is_same {
            wrong.push(format!("{row}\n  {} {}", answer.status, told(&body["detail"])));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_make_of_a_registration_is_one_user() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    let body = json!({ "email": "five@example.com", "password": PASSWORD, "first_name": "F" });
    let made = super::register(&gateway.client(), &body).await.expect(201).json();
    let mut names: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names.join(" "),
        "department email first_name id is_active is_superuser is_verified last_name organization phone"
    );
}
