//! After the sign-in: asking again, roles, signing out at both ends, and what is kept where.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use url::form_urlencoded;

use super::double::{Double, REFRESH, SECRET, TOKEN, gitlab};
use super::{Site, me, parameter, person, with_parameter, written};
use crate::harness::{Gateway, Process};
use crate::raw::{Call, Client};
use crate::upstream::Upstream;

const HOURLY: &str = "who: { domains: [corp.example] }, register: true, recheck: 1h";

/// Waits until a session is over.
pub(super) async fn is_over(client: &Client) -> bool {
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
async fn a_provider_that_is_configured_no_more_vouches_for_nobody_from_then_on() {
    for recheck in ["1h", "off"] {
        let users = json!({
            "ann": person("ann@corp.example", &["nights"]),
            "bob": person("bob@corp.example", &["nights"]),
        });
        let who = format!("who: {{ domains: [corp.example] }}, register: true, recheck: {recheck}");
        let site = Site::start_with(users, &who, |builder| builder).await;
        let ann = site.sign_in("ann").await;
        let own = site.gateway.person("own").sign_in().await;
        site.link(&own, "bob").await;
        assert!(has_role(&own, true).await);
        site.gateway.reload("{ corp: {", "{ firm: {");
        assert!(is_over(&ann).await, "{recheck}");
        assert!(has_role(&own, false).await, "{recheck}: the session is a password's");
        let events = site.wait_for_events("sign-out", 1).await;
        assert_eq!((events.len(), &*events[0].detail), (1, "corp: no longer configured"));
        let revoked = site.wait_for_events("revoke", 2).await;
        assert!(revoked.iter().all(|event| event.detail == "night by corp"), "{revoked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_missing_at_the_start_vouches_for_nobody() {
    let users = json!({ "ann": person("ann@corp.example", &["nights"]) });
    let site = Site::start_with(users, "who: anyone, register: true, recheck: off", |b| b).await;
    let ann = site.sign_in("ann").await;
    let Site { provider: _provider, gateway, upstream: _upstream } = site;
    let written = std::fs::read_to_string(&gateway.file).unwrap();
    std::fs::write(&gateway.file, written.replace("{ corp: {", "{ firm: {")).unwrap();
    let gateway = gateway.restart_with(&[]).await;
    let client = gateway.client();
    client.set_cookie("portcullis", &ann.cookie("portcullis").unwrap());
    assert!(is_over(&client).await);
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

/// What went between the gateway and a provider that nobody else may read.
fn secrets_of(double: &Double) -> BTreeSet<String> {
    let mut secrets = BTreeSet::from([TOKEN, REFRESH, SECRET].map(str::to_owned));
    for seen in double.server.seen() {
        let body = format!("/?{}", String::from_utf8_lossy(&seen.body));
        let sent = ["code", "code_verifier"].map(|name| parameter(&body, name));
        let asked = ["state", "nonce"].map(|name| parameter(&seen.target(), name));
        secrets.extend(sent.into_iter().chain(asked));
        let credential = seen.header("authorization").unwrap_or_default();
        secrets.extend(credential.split(' ').nth(1).map(str::to_owned));
    }
    for token in double.signed() {
        secrets.extend(token.split('.').skip(1).map(str::to_owned));
    }
    secrets.remove("");
    let encode = |text: &String| form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let encoded: Vec<String> = secrets.iter().map(encode).collect();
    secrets.extend(encoded);
    secrets
}

/// Comes back in every way that leaves something to be told: well, wrongly, and from a provider that fails.
async fn come_back_in_every_way(double: &Double, process: &Process) -> Client {
    let ann = process.client();
    double.sign_in(&ann).await.expect(204);
    let asked = ann.get("/auth/associate/gitlab/authorize").send().await.expect(200).json();
    let back = double.agree(asked["authorization_url"].as_str().unwrap()).await;
    ann.get(&back).send().await.expect(200);
    let client = process.client();
    let back = double.go(&client).await;
    client.visit(&format!("{back}x")).navigating_from("cross-site").send().await.expect(303);
    let bad = with_parameter(&back, "code", Some("canary-of-a-code"));
    client.get(&bad).send().await.expect(400);
    let back = double.go(&client).await;
    let told = "error=access_denied&error_description=canary-of-a-refusal";
    client.get(&format!("{back}&{told}")).send().await.expect(400);
    let failure = json!({ "error": "server_error", "error_description": "canary-of-a-failure" });
    for path in [double.service().token, double.service().userinfo] {
        let back = double.go(&client).await;
        double.server.answers(path, written("400 Bad Request", &failure));
        client.get(&back).send().await.expect(502);
        double.recovers();
    }
    for token in [double.logout_token("nobody's"), "canary-of-a-logout".to_owned()] {
        let call = client.post("/auth/gitlab/backchannel-logout").form(&[("logout_token", &token)]);
        assert!(matches!(call.send().await.status, 200 | 400));
    }
    ann
}

#[tokio::test(flavor = "multi_thread")]
async fn out_08_nothing_that_a_provider_keeps_secret_is_told_or_kept_in_clear() {
    let mut service = gitlab();
    service.keys.push_str(", register: true, recheck: 1s");
    let (upstream, double) = (Upstream::start(), Double::start(service));
    let yaml = format!("{}\ntelemetry: {{ level: trace, access_log: on }}\n", super::YAML);
    let process = Gateway::builder(&yaml)
        .with("APP", &upstream.url())
        .key("providers", &format!("{{ {} }}", double.written()))
        .spawn()
        .await;
    let ann = come_back_in_every_way(&double, &process).await;
    // Asked again by the refresh token, which is taken, and then is not.
    let answers = ["/auth/users/me", "/auth/associate"].map(|path| ann.get(path));
    let answers = join_all(answers.iter().map(Call::send)).await;
    double.says(double.service().ann.with(&double.service().foreign));
    assert!(is_over(&ann).await);
    let said = [
        &["events", "list", "--json"][..],
        &["user", "show", "ann@example.com", "--json"],
        &["user", "export"],
    ];
    let said = said.map(|command| process.run(command, "").stdout);
    assert!(String::from_utf8_lossy(&said[1]).contains("\"provider\": \"gitlab\""));
    let files = ["portcullis.db", "portcullis.db-wal"]
        .map(|name| std::fs::read(process.directory().join(name)).unwrap_or_default());
    let told = [process.stdout().into_bytes(), process.stderr().into_bytes()];
    assert!(told.concat().windows(5).any(|word| word == b"TRACE"), "nothing is told");
    let texts = answers.into_iter().map(|answer| answer.expect(200).body);
    let texts: Vec<Vec<u8>> = texts.chain(said).chain(files).chain(told).collect();
    let secrets = secrets_of(&double);
    assert!(secrets.len() > 20, "{secrets:?}");
    for secret in secrets.iter().map(String::as_str).chain(["canary-of-a"]) {
        for text in &texts {
            let found = crate::raw::find(text, secret.as_bytes());
            assert!(found.is_none(), "{secret} is in clear in {}", String::from_utf8_lossy(text));
        }
    }
}
