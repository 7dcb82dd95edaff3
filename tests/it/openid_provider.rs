//! oidc-provider, a certified OpenID provider nobody here wrote, on a port of its own: with people and
//! clients that a test names, and a walk through its forms for tests without a browser.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::config;
use portcullis::identity::provider::{
    Authorization, IdTokenFault, Provider, ProviderError, Providers, Redemption, challenge,
};
use secrecy::{ExposeSecret as _, SecretString};

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use url::Url;

use crate::browser::{node, tool_package};
use crate::harness::free_port;

/// The client every set-up has.
pub const CLIENT_ID: &str = "portcullis";
/// Its secret.
pub const CLIENT_SECRET: &str = "the-secret-of-a-client-in-tests";

/// The running program. Dropping it kills it.
pub struct OpenIdProvider {
    child: Child,
    port: u16,
    client: reqwest::Client,
    said: tempfile::NamedTempFile,
}

impl OpenIdProvider {
    /// Starts it. It knows nobody before [`Self::set_up`].
    pub async fn start() -> Self {
        let port = free_port();
        let said = tempfile::NamedTempFile::new().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openid/provider.mjs");
        let child = Command::new(node())
            .arg(script)
            .arg(tool_package("oidc-provider"))
            .arg(port.to_string())
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::null())
            .stdout(said.reopen().unwrap())
            .stderr(said.reopen().unwrap())
            .spawn()
            .expect("node: run scripts/test once");
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let mut provider = Self { child, port, client, said };
        provider.wait().await;
        provider
    }

    async fn wait(&mut self) {
        for _ in 0..1_200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "oidc-provider has ended: {}", self.said());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("oidc-provider does not listen: {}", self.said());
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.said.path()).unwrap()
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Begins afresh with one client, [`CLIENT_ID`], that may come back to these addresses, and these
    /// people: a map of login (which is `sub` as well) and claims.
    pub async fn set_up(&self, redirect_uris: &[&str], users: Value) {
        let client = json!({
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": redirect_uris,
        });
        self.set_up_with(json!({ "clients": [client], "users": users })).await;
    }

    /// Begins afresh with `clients` (metadata of OpenID Connect Dynamic Client Registration, such as
    /// `backchannel_logout_uri`), `users`, and `options` of oidc-provider.
    pub async fn set_up_with(&self, set_up: Value) {
        self.put("/control/setup", &set_up).await;
    }

    /// Other people, or the same with other claims. Whoever is left out is nobody from now on.
    pub async fn set_users(&self, users: Value) {
        self.put("/control/users", &users).await;
    }

    async fn put(&self, path: &str, body: &Value) {
        let url = format!("{}{path}", self.issuer());
        let answer = self.client.put(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 204, "{}", answer.text().await.unwrap());
    }

    /// How often each path was asked for since it was set up.
    pub async fn requests(&self) -> BTreeMap<String, u64> {
        let url = format!("{}/control/requests", self.issuer());
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Does what a browser does between the gateway's redirect and its callback: signs `login` in and
    /// agrees to everything. Returns the address the browser is sent back to, which is not visited.
    pub async fn sign_in(&self, authorization: &str, login: &str) -> String {
        let mut cookies = BTreeMap::new();
        let mut url = Url::parse(authorization).unwrap();
        let mut form: Option<Vec<(&str, &str)>> = None;
        for _ in 0..20 {
            let request = match form.take() {
                None => self.client.get(url.clone()),
                Some(fields) => self.client.post(url.clone()).form(&fields),
            };
            let answer = request.header(COOKIE, written(&cookies)).send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            for cookie in headers.get_all(SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                cookies.insert(name.to_owned(), value.to_owned());
            }
            if let Some(location) = headers.get(LOCATION) {
                url = url.join(location.to_str().unwrap()).unwrap();
                if url.port() != Some(self.port) {
                    return url.into();
                }
                continue;
            }
            let page = answer.text().await.unwrap();
            assert_eq!(status, 200, "{url}: {page}\n{}", self.said());
            let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
            url = url.join(action.unwrap_or_else(|| panic!("no form: {page}"))).unwrap();
            form = Some(if page.contains("name=\"login\"") {
                vec![("prompt", "login"), ("login", login), ("password", "any")]
            } else {
                vec![("prompt", "consent")]
            });
        }
        panic!("no end to {url}");
    }
}

fn written(cookies: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The gateway's side, as a file configures it.
fn client_of(provider: &OpenIdProvider, keys: &str) -> Arc<Provider> {
    let text = format!(
        "upstreams: {{ app: \"http://127.0.0.1:3000\" }}\nproviders:\n  corp: {{ kind: oidc, \
         issuer: \"{}\", client_id: {CLIENT_ID}, client_secret: {CLIENT_SECRET}, {keys} }}\n",
        provider.issuer()
    );
    let none = BTreeMap::<String, String>::new();
    let config = config::load_text(&text, Path::new("p.yaml"), &none).unwrap();
    let providers = Providers::new(&config.providers, &Clock::system()).unwrap();
    providers.get("corp").unwrap()
}

const BACK: &str = "http://127.0.0.1:9/auth/corp/callback";
const NONCE: &str = "a-nonce-of-tests";

fn verifier() -> SecretString {
    "a-verifier-of-at-least-43-characters-in-all-1".into()
}

/// Signs in there and comes back. The query of the callback.
async fn come_back(
    provider: &OpenIdProvider,
    client: &Provider,
    login: &str,
) -> BTreeMap<String, String> {
    let asked = Authorization {
        state: "some-state",
        nonce: NONCE,
        challenge: &challenge(verifier().expose_secret()),
        redirect_uri: BACK,
        extra_scopes: &[],
    };
    let url = client.authorization(&asked).await.unwrap();
    let came_back = provider.sign_in(url.as_str(), login).await;
    assert!(came_back.starts_with(BACK), "{came_back}");
    Url::parse(&came_back).unwrap().query_pairs().into_owned().collect()
}

fn redemption<'a>(
    query: &'a BTreeMap<String, String>,
    verifier: &'a SecretString,
    nonce: &'a str,
) -> Redemption<'a> {
    Redemption {
        code: query.get("code").unwrap(),
        iss: query.get("iss").map(String::as_str),
        verifier,
        nonce,
        redirect_uri: BACK,
    }
}

fn people() -> Value {
    json!({
        "ann": {
            "email": "ann@example.com", "email_verified": true, "given_name": "Ann",
            "family_name": "Other", "groups": ["staff", "press"],
        },
        "bob": { "email": "bob@elsewhere.example", "email_verified": true, "groups": [] },
    })
}

const KEYS: &str =
    "who: { domains: [example.com] }, scopes: [groups], roles: { staff: analyst, press: admin }";

#[tokio::test]
async fn a_certified_provider_vouches_for_people_until_it_does_not_know_them() {
    let provider = OpenIdProvider::start().await;
    provider.set_up(&[BACK], people()).await;
    let client = client_of(&provider, KEYS);
    let query = come_back(&provider, &client, "ann").await;
    assert_eq!(query["state"], "some-state");
    assert_eq!(query["iss"], provider.issuer());
    let ann = client.redeem(redemption(&query, &verifier(), NONCE)).await.unwrap();
    assert_eq!((ann.issuer.as_str(), ann.subject.as_str()), (&*provider.issuer(), "ann"));
    assert_eq!((ann.email.as_deref(), ann.email_is_verified), (Some("ann@example.com"), true));
    assert_eq!(ann.profile.first_name.as_deref(), Some("Ann"));
    assert_eq!(ann.roles, ["admin", "analyst"]);
    assert!(ann.is_admitted && ann.session_id.is_none());
    assert!(ann.tokens.refresh.is_some() && ann.tokens.id_token.is_some());

    let mut fewer = people();
    fewer["ann"]["groups"] = json!(["staff"]);
    provider.set_users(fewer).await;
    let again = client.recheck(&ann.tokens, &ann.subject).await.unwrap();
    assert_eq!(again.roles, ["analyst"]);
    assert!(again.is_admitted);
    let other = client.recheck(&again.tokens, "bob").await.unwrap_err();
    assert!(other.vouches_no_longer(), "{other}");

    let query = come_back(&provider, &client, "ann").await;
    let ann = client.redeem(redemption(&query, &verifier(), NONCE)).await.unwrap();
    provider.set_users(json!({})).await;
    let gone = client.recheck(&ann.tokens, "ann").await.unwrap_err();
    assert!(gone.vouches_no_longer(), "{gone}");
    assert_eq!(provider.requests().await["/jwks"], 1);
}

#[tokio::test]
async fn a_certified_provider_takes_a_code_once_with_its_own_verifier_and_nonce() {
    let provider = OpenIdProvider::start().await;
    provider.set_up(&[BACK], people()).await;
    let client = client_of(&provider, KEYS);
    let query = come_back(&provider, &client, "bob").await;
    let bob = client.redeem(redemption(&query, &verifier(), NONCE)).await.unwrap();
    assert!(!bob.is_admitted, "not of the domain");
    let refused = |error: Result<_, ProviderError>| match error {
        Err(ProviderError::Refused(code)) => code,
        other => panic!("{other:?}"),
    };
    let twice = client.redeem(redemption(&query, &verifier(), NONCE)).await;
    assert_eq!(refused(twice), "invalid_grant");
    let query = come_back(&provider, &client, "ann").await;
    let other: SecretString = "another-verifier-of-at-least-43-characters-1".into();
    let foreign = client.redeem(redemption(&query, &other, NONCE)).await;
    assert_eq!(refused(foreign), "invalid_grant");
    let query = come_back(&provider, &client, "ann").await;
    let swapped = client.redeem(redemption(&query, &verifier(), "another nonce")).await;
    assert_eq!(swapped.unwrap_err(), ProviderError::IdToken(IdTokenFault::Nonce));
    let mut query = come_back(&provider, &client, "ann").await;
    query.insert("iss".to_owned(), "https://evil.example".to_owned());
    let mixed = client.redeem(redemption(&query, &verifier(), NONCE)).await;
    assert_eq!(mixed.unwrap_err(), ProviderError::MixUp);
    query.remove("iss");
    let silent = client.redeem(redemption(&query, &verifier(), NONCE)).await;
    assert_eq!(silent.unwrap_err(), ProviderError::MixUp, "it announces that it names itself");
}
