//! Asking several providers again: one that hangs delays no other.

use std::future::pending;
use std::time::Duration;

use serde_json::json;
use sqlx::{ConnectOptions as _, Executor as _, Row as _};

use super::keeping::is_over;
use super::lying::Liar;
use super::{YAML, me, parameter, written};
use crate::harness::Gateway;
use crate::raw::{Client, find};
use crate::upstream::{Seen, Upstream};

/// A gateway whose sessions outlast the hour after which providers are asked again.
async fn start(app: &Upstream, providers: &str) -> Gateway {
    let builder = Gateway::builder(YAML).with("APP", &app.url()).key("providers", providers);
    builder.key("sessions", "{ idle: 12h, lifetime: 12h }").start().await
}

/// Signs somebody in by a provider.
async fn come(gateway: &Gateway, (name, liar): (&str, &Liar), who: &str) -> Client {
    let client = gateway.client();
    let gone = client.visit(&format!("/auth/{name}/authorize")).send().await.expect(303);
    let mut claims = liar.claims(&parameter(gone.location(), "nonce"));
    claims["sub"] = json!(who);
    claims["email"] = json!(format!("{who}@{name}.example"));
    liar.says(&claims);
    let state = parameter(gone.location(), "state");
    client.get(&format!("/auth/{name}/callback?code=x&state={state}")).send().await.expect(204);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_keeps_nobody_signed_in_by_another() {
    let (app, slow, quick) = (Upstream::start(), Liar::start(), Liar::start());
    let (first, second) = (slow.keys_of_file(", recheck: 1h"), quick.keys_of_file(", recheck: 1h"));
    let gateway = start(&app, &format!("{{ asleep: {first}, quick: {second} }}")).await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(come(&gateway, ("asleep", &slow), &format!("p{number}")).await);
    }
    let ann = come(&gateway, ("quick", &quick), "ann").await;
    slow.server.at("/token", |_| pending());
    let refusal = json!({ "error": "invalid_grant" });
    quick.server.answers("/token", written("400 Bad Request", &refusal));
    gateway.pass(Duration::from_secs(3_601)).await;
    assert!(is_over(&ann).await);
    for client in &waiting {
        me(client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_has_too_much_to_do_is_left_alone() {
    let busy = ["429 Too Many Requests", "503 Service Unavailable"];
    let refusal = json!({ "error": "slow_down" });
    let busy = busy.map(|status| written(status, &refusal));
    for answer in busy.into_iter().chain([written("200 OK", &json!([]))]) {
        let (app, slow, other) = (Upstream::start(), Liar::start(), Liar::start());
        let (first, second) = (slow.keys_of_file(", recheck: 1h"), other.keys_of_file(""));
        let gateway = start(&app, &format!("{{ slow: {first}, other: {second} }}")).await;
        for number in 0..17 {
            come(&gateway, ("slow", &slow), &format!("p{number}")).await;
        }
        let ann = come(&gateway, ("other", &other), "ann").await;
        slow.server.answers("/token", answer.clone());
        let is_asked = |seen: &Seen| find(&seen.body, b"grant_type=refresh_token").is_some();
        gateway.pass(Duration::from_secs(3_601)).await;
        slow.server.wait_for(is_asked).await;
        // By then it has been looked again who is due.
        gateway.reload("other: {", "another: {");
        assert!(is_over(&ann).await);
        let asked = slow.server.seen().iter().filter(|seen| is_asked(seen)).count();
        assert!(asked <= 8, "{asked}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_whom_nothing_is_kept_to_ask_by_nothing_is_asked_again() {
    let (app, liar) = (Upstream::start(), Liar::start());
    let corp = liar.keys_of_file(", recheck: 1h");
    let gateway = start(&app, &format!("{{ corp: {corp} }}")).await;
    let ann = come(&gateway, ("corp", &liar), "ann").await;
    let database = gateway.file.with_file_name("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut database = options.connect().await.unwrap();
    database.execute("UPDATE linked_accounts SET tokens = NULL").await.unwrap();
    gateway.pass(Duration::from_secs(3_601)).await;
    let due = "SELECT COUNT(*) FROM linked_accounts WHERE next_check IS NOT NULL";
    let mut left = 1;
    for _ in 0..250 {
        left = database.fetch_one(due).await.unwrap().get::<i64, _>(0);
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(left, 0);
    me(&ann).await;
}
