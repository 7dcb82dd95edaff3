//! Single-use links: a new password, a verified e-mail; as JSON, as pages, on the command line.

mod attacks;
mod endpoints;
mod journeys;

use portcullis::accounts::LinkKind;
use serde_json::{Value, json};

use crate::harness::{Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
origins: ["https://friend.example.org"]
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { host: "other.example.com", path: "/**", upstream: app, allow: authenticated }
"#;

/// A password nobody has yet.
const NEW: &str = "nine herons over the weir";

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// The token of a link just made.
async fn token(gateway: &Gateway, who: &str, kind: LinkKind) -> String {
    let link = gateway.link(who, kind).await;
    link.split_once("?token=").expect("no token").1.to_owned()
}

async fn send(client: &Client, to: &str, body: &Value) -> Response {
    client.post(to).body("application/json", body.to_string()).send().await
}

async fn reset(client: &Client, token: &str, password: &str) -> Response {
    send(client, "/auth/reset-password", &json!({ "token": token, "password": password })).await
}

async fn verify(client: &Client, token: &str) -> Response {
    send(client, "/auth/verify", &json!({ "token": token })).await
}

/// Whether somebody can sign in with a password.
async fn signs_in(client: &Client, who: &str, password: &str) -> bool {
    let fields = [("username", &*email(who)), ("password", password)];
    let status = client.post("/auth/jwt/login").form(&fields).send().await.status;
    assert!(matches!(status, 200 | 400), "{status}");
    status == 200
}

/// Sends the form of a page, as it was shown, with what somebody fills in.
async fn send_form(client: &Client, to: &str, page: &str, filled: &[(&str, &str)]) -> Response {
    let hidden = hidden_fields(page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    client.post(to).form(&fields).navigating_from("same-origin").send().await
}
