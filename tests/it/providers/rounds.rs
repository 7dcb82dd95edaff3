//! Asking several providers again: one that hangs delays no other.

use std::future::pending;
use std::time::Duration;

use serde_json::json;

use super::keeping::is_over;
use super::lying::Liar;
use super::{YAML, me, parameter};
use crate::harness::Gateway;
use crate::raw::Client;
use crate::upstream::Upstream;

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
    let gateway = Gateway::builder(YAML)
        .with("APP", &app.url())
        .key("providers", &format!("{{ asleep: {first}, quick: {second} }}"))
        .key("sessions", "{ idle: 12h, lifetime: 12h }")
        .start()
        .await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(come(&gateway, ("asleep", &slow), &format!("p{number}")).await);
    }
    let ann = come(&gateway, ("quick", &quick), "ann").await;
    slow.server.at("/token", |_| pending());
    let refusal = r#"{"error":"invalid_grant"}"#;
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ";
    quick.server.answers("/token", format!("{head}{}\r\n\r\n{refusal}", refusal.len()));
    gateway.pass(Duration::from_secs(3_601)).await;
    assert!(is_over(&ann).await);
    for client in &waiting {
        me(client).await;
    }
}
