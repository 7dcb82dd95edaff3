//! A double of GitHub's documented flow: authorize, access token, user, e-mails, organisations, teams.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{YAML, me, parameter, written};
use crate::harness::Gateway;
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const CODE: &str = "a1b2c3d4e5f6a7b8c9d0";
const REFRESH: &str = "ghr_1B4a2e77838347a7E420ce178F2E7c6912E169";
const TOKEN: &str = "gho_16C7e42F292c6912E7710c838347Ae178B4a";

/// What it knows of the one person who signs in.
#[derive(Clone)]
struct Known {
    user: Value,
    emails: Value,
    organisations: Value,
    teams: Value,
    /// What a code is redeemed for.
    grant: Value,
}

impl Known {
    fn ann() -> Self {
        Self {
            user: json!({ "login": "ann-lee", "id": 583_231, "name": "Ann Lee", "email": null }),
            emails: json!([
                { "email": "old@example.org", "primary": false, "verified": true },
                { "email": "ann@example.com", "primary": true, "verified": true },
            ]),
            organisations: json!([{ "login": "Quay", "id": 1 }]),
            teams: json!([{ "slug": "night-shift", "organization": { "login": "Quay" } }]),
            grant: json!({ "access_token": TOKEN, "token_type": "bearer", "scope": "read:user" }),
        }
    }
}

/// The double, which answers with what is known at that moment.
pub(super) struct GitHub {
    server: Upstream,
    known: Arc<Mutex<Known>>,
}

impl GitHub {
    pub(super) fn start() -> Self {
        let double = Self { server: Upstream::start(), known: Arc::new(Mutex::new(Known::ann())) };
        double.at("/api/v3/user", |known| known.user.clone());
        double.at("/api/v3/user/emails", |known| known.emails.clone());
        double.at("/api/v3/user/orgs", |known| known.organisations.clone());
        double.at("/api/v3/user/teams", |known| known.teams.clone());
        // Errors come with 200, as GitHub sends them.
        let known = Arc::clone(&double.known);
        double.server.at("/login/oauth/access_token", move |mut exchange| {
            let grant = known.lock().unwrap().grant.clone();
            async move {
                let mut body = Vec::new();
                while let Some(part) = exchange.read_some().await {
                    body.extend(part);
                }
                let body = String::from_utf8_lossy(&body).into_owned();
                let is_code = body.contains(CODE) && body.contains("code_verifier=");
                let answer = if is_code || body.contains(&format!("refresh_token={REFRESH}")) {
                    grant
                } else {
                    json!({ "error": "bad_verification_code", "error_description": "expired" })
                };
                exchange.write(written("200 OK", &answer)).await.then_some(exchange)
            }
        });
        double
    }

    fn at(&self, path: &str, told: fn(&Known) -> Value) {
        let known = Arc::clone(&self.known);
        self.server.at(path, move |mut exchange| {
            let answer = told(&known.lock().unwrap());
            async move {
                exchange.read_body().await;
                let bearer = format!("Bearer {TOKEN}");
                let is_theirs = exchange.seen.header("authorization").as_deref() == Some(&bearer);
                let answer = if is_theirs {
                    written("200 OK", &answer)
                } else {
                    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()
                };
                exchange.write(answer).await.then_some(exchange)
            }
        });
    }

    /// As it stands in the file.
    pub(super) fn written(&self, who: &str) -> String {
        format!(
            "github: {{ kind: github, base_url: \"{}\", client_id: Iv1.8a61f9b3a7aba766, \
             client_secret: \"a-secret-of-github\", link_by_email: verified, \
             roles: {{ \"quay:night-shift\": night }}, {who} }}",
            self.server.url()
        )
    }

    fn knows(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap());
    }
}

async fn start(who: &str) -> (Upstream, GitHub, Gateway) {
    let (app, github) = (Upstream::start(), GitHub::start());
    let provider = format!("{{ {} }}", github.written(who));
    let gateway =
        Gateway::builder(YAML).with("APP", &app.url()).key("providers", &provider).start().await;
    (app, github, gateway)
}

/// Goes to GitHub, where the person agrees, and comes back.
async fn come_back(client: &Client) -> Response {
    let gone = client.visit("/auth/github/authorize").send().await.expect(303);
    let address = gone.location();
    assert!(address.contains("/login/oauth/authorize?"), "{address}");
    assert_eq!(parameter(address, "client_id"), "Iv1.8a61f9b3a7aba766");
    assert_eq!(parameter(address, "code_challenge_method"), "S256");
    assert!(parameter(address, "scope").contains("user:email"), "{address}");
    let state = parameter(address, "state");
    let back = format!("/auth/github/callback?code={CODE}&state={state}");
    client.get(&back).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_of_the_organisation_signs_in_by_github() {
    let who = "who: { organisations: [quay] }";
    let (_app, github, gateway) = start(who).await;
    let ann = gateway.client();
    come_back(&ann).await.expect(204);
    let user = me(&ann).await;
    assert_eq!((&user["email"], &user["is_verified"]), (&json!("ann@example.com"), &json!(true)));
    assert_eq!((&user["first_name"], &user["roles"]), (&json!("Ann Lee"), &json!(["night"])));
    // The same account by its number, whatever it is called and whichever e-mail it has meanwhile.
    github.knows(|known| {
        known.user["login"] = json!("somebody-else");
        known.emails = json!([{ "email": "new@example.org", "primary": true, "verified": true }]);
        known.teams = json!([]);
    });
    let again = gateway.client();
    come_back(&again).await.expect(204);
    let now = me(&again).await;
    assert_eq!((&now["id"], &now["roles"]), (&user["id"], &json!([])));
    // Whoever has left may not come; a name that was given to somebody else is that one's.
    github.knows(|known| known.organisations = json!([{ "login": "quayside" }]));
    let gone = come_back(&gateway.client()).await.expect(400);
    assert_eq!(gone.detail(), "LOGIN_BAD_CREDENTIALS");
    github.knows(|known| *known = Known::ann());
    github.knows(|known| {
        known.user["id"] = json!(999);
        known.emails = json!([{ "email": "x@example.org", "primary": true, "verified": true }]);
    });
    let other = gateway.client();
    come_back(&other).await.expect(204);
    assert_ne!(me(&other).await["id"], user["id"], "the name alone is nobody");
    let token =
        github.server.seen().into_iter().find(|seen| seen.target().contains("access_token"));
    let sent = String::from_utf8_lossy(&token.unwrap().body).into_owned();
    assert!(sent.contains("code_verifier=") && sent.contains("redirect_uri="), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_does_not_vouch_for_counts_for_nothing() {
    let (_app, github, gateway) = start("who: anyone, register: true").await;
    gateway.person("ann").create().await;
    github.knows(|known| known.emails[1]["verified"] = json!(false));
    let refused = come_back(&gateway.client()).await.expect(400);
    assert_eq!(refused.detail(), "OAUTH_USER_ALREADY_EXISTS");
    github.knows(|known| known.emails = json!([]));
    let refused = come_back(&gateway.client()).await.expect(400);
    assert_eq!(refused.detail(), "OAUTH_NOT_AVAILABLE_EMAIL");
    // An error that comes with 200 is one.
    let client = gateway.client();
    let gone = client.visit("/auth/github/authorize").send().await.expect(303);
    let state = parameter(gone.location(), "state");
    let back = format!("/auth/github/callback?code=expired&state={state}");
    let refused = client.get(&back).send().await.expect(400);
    assert!(!refused.text().contains("verification"), "{}", refused.text());
    // What it answers otherwise is not told.
    github.server.answers(
        "/api/v3/user",
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nsecret",
    );
    let failed = come_back(&gateway.client()).await.expect(502);
    assert!(!failed.text().contains("secret"));
}

/// Waits until somebody is signed in no more.
async fn is_over(client: &Client) -> bool {
    for _ in 0..250 {
        if client.get("/auth/users/me").send().await.status == 401 {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_left_the_organisation_is_signed_out_within_the_hour() {
    let hour = std::time::Duration::from_secs(3_601);
    let (_app, github, gateway) = start("who: { organisations: [quay] }, recheck: 1h").await;
    let ann = gateway.client();
    come_back(&ann).await.expect(204);
    gateway.pass(hour).await;
    me(&ann).await;
    github.knows(|known| known.organisations = json!([]));
    gateway.pass(hour).await;
    assert!(is_over(&ann).await, "asked by the access token, which has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_came_with_the_first_sign_in_alone_is_kept() {
    let hour = std::time::Duration::from_secs(3_601);
    let (_app, github, gateway) = start("who: { organisations: [quay] }, recheck: 1h").await;
    github.knows(|known| known.grant["refresh_token"] = json!(REFRESH));
    come_back(&gateway.client()).await.expect(204);
    github.knows(|known| known.grant["refresh_token"] = Value::Null);
    let ann = gateway.client();
    come_back(&ann).await.expect(204);
    github.knows(|known| known.organisations = json!([]));
    gateway.pass(hour).await;
    assert!(is_over(&ann).await);
    let sent = github
        .server
        .seen()
        .into_iter()
        .map(|seen| String::from_utf8_lossy(&seen.body).into_owned());
    assert_eq!(sent.filter(|body| body.contains("grant_type=refresh_token")).count(), 1);
}
