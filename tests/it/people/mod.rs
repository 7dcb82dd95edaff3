//! Accounts as their owners and superusers use them over JSON: registering, reading, changing, deleting.

mod changes;
pub mod document;
mod guide;
pub mod hostile;
mod origins;
mod recorded;
mod registration;

use portcullis::store::Event;
use serde_json::{Value, json};

use crate::harness::{Builder, Gateway, PASSWORD, email};
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
origins: ["https://friend.example.org"]
portal: { users_path: /users }
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { path: "/optional", upstream: app, allow: optional }
"#;

/// A password nobody has yet.
const NEW: &str = "nine herons over the weir";

/// A gateway whose file says this of accounts, with a directory for mail.
fn with_accounts(upstream: &Upstream, accounts: &str) -> Builder {
    Gateway::builder(YAML)
        .with("APP", &upstream.url())
        .key("accounts", accounts)
        .key("mail", "{ from: no-reply@example.com, directory: mail }")
}

async fn start(accounts: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start();
    let gateway = with_accounts(&upstream, accounts).start().await;
    (upstream, gateway)
}

async fn register(client: &Client, body: &Value) -> Response {
    client.post("/auth/register").body("application/json", body.to_string()).send().await
}

async fn patch(client: &Client, target: &str, body: &Value) -> Response {
    client.call("PATCH", target).body("application/json", body.to_string()).send().await
}

async fn sign_in(gateway: &Gateway, who: &str, password: &str) -> Response {
    let fields = [("username", &*email(who)), ("password", password)];
    gateway.client().post("/auth/jwt/login").form(&fields).send().await
}

async fn events(gateway: &Gateway, kind: &str) -> Vec<Event> {
    let events = gateway.running.store().list_events(None, 200).await.unwrap();
    events.into_iter().filter(|event| event.kind == kind).collect()
}

/// Waits until a letter has come, and gives the address it leads to, without its site.
async fn link_mailed_to(gateway: &Gateway, who: &str) -> String {
    let directory = gateway.file.with_file_name("mail");
    for _ in 0..200 {
        let files = std::fs::read_dir(&directory).map(|files| files.flatten().collect::<Vec<_>>());
        for file in files.unwrap_or_default() {
            let letter = std::fs::read_to_string(file.path()).unwrap_or_default();
            // Quoted-printable (RFC 2045 section 6.7), as far as it matters to a link.
            let letter = letter.replace("=\r\n", "").replace("=3D", "=");
            if letter.contains(&format!("To: {}", email(who)))
                && let Some(at) = letter.find("/auth/")
            {
                let link: String =
                    letter[at..].chars().take_while(|c| !c.is_whitespace()).collect();
                std::fs::remove_file(file.path()).unwrap();
                return link;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no letter to {who}");
}

fn new_account(who: &str) -> Value {
    json!({ "email": email(who), "password": PASSWORD })
}
