//! After the sign-in: asking again, roles, signing out at both ends, and what is kept where.

use std::time::Duration;

use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::{Site, me, person};
use crate::raw::Client;

const HOURLY: &str = "who: { domains: [corp.example] }, register: true, recheck: 1h";

/// Waits until a session is over.
async fn is_over(client: &Client) -> bool {
    for _ in 0..250 {
        if client.get("/auth/users/me").send().await.status == 401 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

async fn has_role(client: &Client, wanted: bool) -> bool {
    for _ in 0..250 {
        let roles = me(client).await["roles"].clone();
        if roles.as_array().unwrap().contains(&json!("night")) == wanted {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_those_of_the_last_sign_in_and_those_of_operators_stay() {
    let site = Site::start(json!({ "ann": person("ann@corp.example", &["nights"]) })).await;
    let ann = site.sign_in("ann").await;
    ann.get("/night/x").send().await.expect(200);
    site.provider.set_users(json!({ "ann": person("ann@corp.example", &[]) })).await;
    let again = site.sign_in("ann").await;
    again.get("/night/x").send().await.expect(403);
    ann.get("/night/x").send().await.expect(403);
    site.gateway.grant("ann@corp.example", "night", None).await;
    site.gateway.wait_for(&ann, "/night/x", 200).await;
    site.sign_in("ann").await;
    ann.get("/night/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_08_whom_a_provider_no_longer_vouches_for_is_signed_out_within_the_hour() {
    let users =
        |ann: serde_json::Value| json!({ "ann": ann, "bob": person("bob@corp.example", &[]) });
    let site = Site::start_with(users(person("ann@corp.example", &[])), HOURLY, |builder| {
        builder.key("sessions", "{ idle: 12h, lifetime: 12h }")
    })
    .await;
    let (ann, bob) = (site.sign_in("ann").await, site.sign_in("bob").await);
    let own = site.gateway.person("own").sign_in().await;
    let hour = Duration::from_secs(3_601);
    // Still vouched for, with a role more.
    site.provider.set_users(users(person("ann@corp.example", &["nights"]))).await;
    site.gateway.pass(hour).await;
    assert!(has_role(&ann, true).await, "roles are refreshed");
    // Asked again by the token that came with the last answer.
    site.provider.set_users(users(person("ann@corp.example", &[]))).await;
    site.gateway.pass(hour).await;
    assert!(has_role(&ann, false).await);
    // No longer among `who`.
    site.provider.set_users(users(person("ann@elsewhere.example", &["nights"]))).await;
    site.gateway.pass(hour).await;
    assert!(is_over(&ann).await);
    let events = site.wait_for_events("sign-out", 1).await;
    assert_eq!(events[0].detail, "corp: no longer among `who`");
    // Gone altogether: the provider refuses the refresh token.
    site.provider.set_users(json!({})).await;
    site.gateway.pass(hour).await;
    assert!(is_over(&bob).await);
    own.get("/auth/users/me").send().await.expect(200);
    let requests = site.provider.requests().await;
    assert!(requests["/token"] >= 6, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_configured_no_more_vouches_for_nobody() {
    let users = json!({ "ann": person("ann@corp.example", &["nights"]) });
    let site = Site::start_with(users, HOURLY, |builder| {
        builder.key("sessions", "{ idle: 12h, lifetime: 12h }")
    })
    .await;
    let ann = site.sign_in("ann").await;
    site.gateway.reload("{ corp: {", "{ firm: {");
    me(&ann).await;
    site.gateway.pass(Duration::from_secs(3_601)).await;
    assert!(is_over(&ann).await);
    let events = site.wait_for_events("sign-out", 1).await;
    assert_eq!(events[0].detail, "corp: no longer configured");
    assert_eq!(site.events("revoke").await[0].detail, "night by corp");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_signed_in_while_the_former_session_cannot_be_looked_up() {
    let site = Site::start(json!({ "ann": person("ann@corp.example", &[]) })).await;
    let client = site.gateway.person("bob").sign_in().await;
    let back = site.away(&client, "/auth/corp/authorize", "ann").await;
    let Site { provider: _provider, gateway, upstream: _upstream } = site;
    let database = gateway.file.with_file_name("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut database = options.connect().await.unwrap();
    let broken = "UPDATE sessions SET method = 'unheard of'";
    database.execute(broken).await.unwrap();
    database.close().await.unwrap();
    let gateway = gateway.restart_with(&[]).await;
    client.visit(&back).navigating_from("cross-site").send().await.expect(503);
    let events = gateway.running.store().list_events(None, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "sign-in").count(), 1, "bob's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_asked_ends_nothing() {
    let users = json!({ "ann": person("ann@corp.example", &["nights"]) });
    let site = Site::start_with(users, HOURLY, |builder| {
        builder.key("sessions", "{ idle: 12h, lifetime: 12h }")
    })
    .await;
    let ann = site.sign_in("ann").await;
    let Site { provider, gateway, upstream: _upstream } = site;
    drop(provider);
    for _ in 0..3 {
        gateway.pass(Duration::from_secs(3_601)).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        ann.get("/night/x").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_leads_to_the_provider_and_back() {
    let site = Site::start(json!({ "ann": person("ann@corp.example", &[]) })).await;
    let ann = site.sign_in("ann").await;
    let link = ann.visit("/auth/logout").navigating_from("same-origin").send().await.expect(200);
    let refresh = link.header("refresh").unwrap();
    let to = refresh.strip_prefix("0; url=").unwrap();
    assert!(to.starts_with(&format!("{}/session/end?", site.provider.issuer())), "{to}");
    assert_eq!(super::parameter(to, "client_id"), "portcullis");
    let back = format!("http://{}/auth/logout", site.gateway.address);
    assert_eq!(super::parameter(to, "post_logout_redirect_uri"), back);
    assert!(!to.contains("id_token_hint"), "no token leaves the gateway: {to}");
    assert!(link.text().contains("Corp &lt;b&gt;") && ann.cookie("portcullis").is_none());
    assert_eq!(link.header("clear-site-data"), Some("\"cache\""));
    ann.get("/auth/users/me").send().await.expect(401);
    let home = ann.visit("/auth/logout").navigating_from("cross-site").send().await.expect(303);
    assert_eq!(home.location(), "/auth/login");
    // A session that came from a password ends here alone, and JSON goes nowhere.
    let bob = site.gateway.person("bob").sign_in().await;
    let plain = bob.visit("/auth/logout").navigating_from("same-origin").send().await.expect(303);
    assert!(plain.header("refresh").is_none());
    let ann = site.sign_in("ann").await;
    let json = ann.post("/auth/cookie/logout").send().await.expect(204);
    assert!(json.header("refresh").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_secrets_of_providers_are_nowhere_in_clear() {
    let users = json!({ "ann": person("ann@corp.example", &[]) });
    let (upstream, provider) =
        (crate::upstream::Upstream::start(), crate::openid_provider::OpenIdProvider::start().await);
    let port = crate::harness::free_port();
    let clients = json!({ "clients": [super::client_at(port)], "users": users });
    provider.set_up_with(clients).await;
    let yaml = format!("{}\ntelemetry: {{ level: trace, access_log: on }}\n", super::YAML);
    let providers = format!("{{ corp: {} }}", super::corp(&provider, HOURLY));
    let process = crate::harness::Gateway::builder(&yaml)
        .with("APP", &upstream.url())
        .with("PORT", &port.to_string())
        .key("providers", &providers)
        .spawn()
        .await;
    let client = process.client();
    let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
    let state = super::parameter(gone.location(), "state");
    let back = super::path_of(&provider.sign_in(gone.location(), "ann").await);
    let code = super::parameter(&back, "code");
    let cookie = super::flow_cookies(&client).pop().unwrap().1;
    let arrived = client.visit(&back).navigating_from("cross-site").send().await.expect(303);
    assert!(arrived.location().starts_with("/auth/continue"));
    let me = client.get("/auth/users/me").send().await.expect(200).text();
    let issued = provider.issued().await;
    assert!(issued.len() >= 2, "{issued:?}");
    let listed = process.run(&["events", "list", "--json"], "");
    let shown = process.run(&["user", "show", "ann@corp.example", "--json"], "");
    let exported = process.run(&["user", "export"], "");
    let said = [listed, shown, exported]
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(
        said[1].contains("\"provider\": \"corp\"") && said[1].contains("\"links\""),
        "{}",
        said[1]
    );
    let files = ["portcullis.db", "portcullis.db-wal"]
        .map(|name| std::fs::read(process.directory().join(name)).unwrap_or_default());
    let texts: Vec<Vec<u8>> = said
        .iter()
        .map(|text| text.clone().into_bytes())
        .chain([me.into_bytes(), process.stdout().into_bytes(), process.stderr().into_bytes()])
        .chain(files)
        .collect();
    let secrets = issued.iter().map(String::as_str);
    let secrets = secrets.chain([super::CLIENT_SECRET, &*state, &*code, &*cookie]);
    for secret in secrets {
        for text in &texts {
            let found = crate::raw::find(text, secret.as_bytes());
            assert!(found.is_none(), "{secret} is in clear in {}", String::from_utf8_lossy(text));
        }
    }
}
