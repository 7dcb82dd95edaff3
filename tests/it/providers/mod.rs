//! Signing in by providers that vouch for people: against oidc-provider, doubles of GitHub and of
//! other services, and one that lies; as JSON, as pages, in Chromium.

mod attacks;
mod document;
mod double;
mod endpoints;
mod github;
mod hanging;
mod journeys;
mod keeping;
mod lying;
mod ownership;
mod rounds;
mod services;
mod streams;

use portcullis::store::Event;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Builder, Gateway, free_port};
use crate::openid_provider::{CLIENT_ID, CLIENT_SECRET, OpenIdProvider};
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { path: "/night/**", upstream: app, allow: { roles: [night] } }
roles:
  night: { description: "Nights", permissions: ["doors:open"] }
"#;

/// A gateway whose people are vouched for by oidc-provider under the name `corp`.
struct Site {
    upstream: Upstream,
    provider: OpenIdProvider,
    gateway: Gateway,
}

/// How `corp` is written in the configuration, with what a test adds.
fn corp(provider: &OpenIdProvider, more: &str) -> String {
    format!(
        "{{ kind: oidc, issuer: \"{}\", client_id: {CLIENT_ID}, client_secret: \"{CLIENT_SECRET}\", \
         label: \"Corp <b>\", scopes: [groups, offline_access], roles: {{ nights: night }}, {more} }}",
        provider.issuer()
    )
}

/// The client of a gateway at a port, as oidc-provider knows it.
fn client_at(port: u16) -> Value {
    let site = format!("http://127.0.0.1:{port}/auth");
    json!({
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [
            format!("{site}/corp/callback"),
            format!("{site}/associate/corp/callback"),
        ],
        "post_logout_redirect_uris": [format!("{site}/logout")],
        "backchannel_logout_uri": format!("{site}/corp/backchannel-logout"),
        "backchannel_logout_session_required": true,
    })
}

/// Options of oidc-provider by which what it issues outlasts the time that a test lets pass here: its own
/// clock stands still meanwhile.
fn lasting() -> Value {
    let week = 7 * 24 * 3600;
    json!({ "ttl": { "IdToken": week, "AccessToken": week } })
}

/// A person as oidc-provider knows them, their e-mail verified.
fn person(email: &str, groups: &[&str]) -> Value {
    json!({ "email": email, "email_verified": true, "given_name": "Ann", "groups": groups })
}

impl Site {
    /// Anybody may come, and gets an account.
    async fn start(users: Value) -> Self {
        Self::start_with(users, "who: anyone, register: true", |builder| builder).await
    }

    async fn start_with(users: Value, more: &str, set: impl FnOnce(Builder) -> Builder) -> Self {
        let (upstream, provider) = (Upstream::start(), OpenIdProvider::start().await);
        let port = free_port();
        provider
            .set_up_with(
                json!({ "clients": [client_at(port)], "users": users, "options": lasting() }),
            )
            .await;
        let builder = Gateway::builder(YAML)
            .with("APP", &upstream.url())
            .with("PORT", &port.to_string())
            .key("providers", &format!("{{ corp: {} }}", corp(&provider, more)));
        let gateway = set(builder).start().await;
        Self { upstream, provider, gateway }
    }

    /// Sends a browser away and has `login` sign in there; the callback, which is not visited.
    async fn away(&self, client: &Client, target: &str, login: &str) -> String {
        let gone = client.visit(target).send().await.expect(303);
        self.callback(gone.location(), login).await
    }

    /// What a browser is sent back to.
    async fn callback(&self, authorization: &str, login: &str) -> String {
        let back = self.provider.sign_in(authorization, login).await;
        path_of(&back)
    }

    /// Signs somebody in from the beginning to the end.
    async fn sign_in(&self, login: &str) -> Client {
        let client = self.gateway.client();
        let back = self.away(&client, "/auth/corp/authorize", login).await;
        self.arrive(&client, &back).await;
        client
    }

    /// Comes back and is signed in.
    async fn arrive(&self, client: &Client, back: &str) -> Response {
        let arrived = client.visit(back).navigating_from("cross-site").send().await.expect(303);
        assert!(arrived.location().starts_with("/auth/continue?"), "{}", arrived.location());
        client.visit(arrived.location()).send().await.expect(303)
    }

    async fn events(&self, kind: &str) -> Vec<Event> {
        let events = self.gateway.running.store().list_events(None, 100).await.unwrap();
        events.into_iter().filter(|event| event.kind == kind).collect()
    }

    /// The one event of a kind, which is of somebody's own doing and names the provider.
    async fn check_only_event(&self, kind: &str, who: &str) {
        let events = self.events(kind).await;
        assert_eq!(events.len(), 1, "{events:?}");
        let people = self.gateway.running.accounts().people();
        let user = people.find(who).await.unwrap().unwrap();
        let event = &events[0];
        assert_eq!((event.actor.as_str(), event.detail.as_str()), (who, "corp"));
        assert_eq!((event.user, event.address), (Some(user.id), Some(self.gateway.address.ip())));
    }

    /// What is written after an answer is waited for.
    async fn wait_for_events(&self, kind: &str, count: usize) -> Vec<Event> {
        for _ in 0..200 {
            let found = self.events(kind).await;
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{:?}", self.events(kind).await);
    }

    /// Checks whom a provider vouched for in vain, by e-mail, with why and whose account it is.
    async fn check_turned_away(&self, expected: &[(&str, &str, Option<Uuid>)]) {
        let events = self.wait_for_events("sign-in-refused", expected.len()).await;
        let mut told: Vec<_> = events.iter().map(|e| (&*e.actor, &*e.detail, e.user)).collect();
        told.sort();
        assert_eq!(told, expected);
    }
}

/// An address of this site without the site.
fn path_of(address: &str) -> String {
    let url = url::Url::parse(address).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// An address with one parameter changed, added or (`None`) taken away.
fn with_parameter(path: &str, name: &str, value: Option<&str>) -> String {
    let mut url = url::Url::parse(&format!("http://x{path}")).unwrap();
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().into_owned().filter(|(known, _)| known != name).collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(&pairs);
    path_of(url.as_str())
}

/// A parameter of an address.
fn parameter(address: &str, name: &str) -> String {
    let url = url::Url::parse(address)
        .or_else(|_| url::Url::parse(&format!("http://x{address}")))
        .unwrap();
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Who somebody is.
async fn me(client: &Client) -> Value {
    client.get("/auth/users/me").send().await.expect(200).json()
}

/// The cookies by which a browser that is away is known again.
fn flow_cookies(client: &Client) -> Vec<(String, String)> {
    let all = client.cookies();
    let pairs = all.split("; ").filter_map(|pair| pair.split_once('='));
    let own = pairs.filter(|(name, _)| name.contains("-flow-"));
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A whole answer with JSON, as a provider writes it.
fn written(status: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
