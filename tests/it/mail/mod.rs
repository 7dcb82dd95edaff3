//! Mail, from what somebody asks for to what a real mail server has kept.

mod asking;
mod attacks;
mod delivery;
mod invitations;
mod journey;
mod server;
mod telling;

use std::path::Path;
use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::harness::{Builder, Gateway, email};
use crate::raw::{Client, Response};
use server::MailServer;

const YAML: &str = r#"
upstreams: { app: "http://127.0.0.1:1" }
routes: [{ path: "/app", upstream: app, allow: authenticated }]
mail: { from: "Quay <no-reply@example.com>", smtp: "${SMTP}" }
"#;

/// A gateway about to be started that sends mail by this URL.
fn by(url: &str) -> Builder {
    Gateway::builder(YAML).with("SMTP", url)
}

/// A gateway with people, and the mail server it sends by.
async fn start(people: &[&str]) -> (MailServer, Gateway) {
    let server = MailServer::start().await;
    let gateway = by(&server.url()).start().await;
    for who in people {
        gateway.person(who).create().await;
    }
    (server, gateway)
}

/// Asks for a letter as JSON.
async fn ask(client: &Client, endpoint: &str, who: &str) -> Response {
    let body = serde_json::json!({"email": email(who)}).to_string();
    client.post(endpoint).body("application/json", body).send().await
}

/// Fills the outbox of a database with letters that are not due.
async fn fill_outbox(database: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut database = options.connect().await.unwrap();
    let fill = "INSERT INTO outbox \
         (kind, recipient, language, queued_at, attempts, next_attempt, held_until) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
         SELECT 'reset', 'p' || i, 'en', 0, 0, 9000000000000000000, 0 FROM n";
    database.execute(fill).await.unwrap();
    database.close().await.unwrap();
}

const FORGOT: &str = "/auth/forgot-password";
const VERIFY: &str = "/auth/request-verify-token";

/// Asks for a letter that is promised.
async fn promised(client: &Client, endpoint: &str, who: &str) {
    assert_eq!(ask(client, endpoint, who).await.expect(202).text(), "null");
}

/// Spends a reset link as JSON; whether it was good.
async fn resets(client: &Client, link: &str) -> bool {
    let token = link.split_once("?token=").unwrap().1;
    let body = serde_json::json!({"token": token, "password": "nine lanterns by the quay"});
    let answer = client.post("/auth/reset-password").body("application/json", body.to_string());
    answer.send().await.status == 200
}

/// Waits until so many letters have come to this.
async fn counted(gateways: &[&Gateway], outcome: &str, count: f64) {
    let line = format!("portcullis_mail_total{{outcome=\"{outcome}\"}}");
    let mut found = 0.0;
    for _ in 0..250 {
        found = 0.0;
        for gateway in gateways {
            found += gateway.metric(&line).await;
        }
        if found >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((found - count).abs() < 0.5, "{found} {outcome}, not {count}");
}
