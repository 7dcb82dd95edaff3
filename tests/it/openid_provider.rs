//! oidc-provider, a certified OpenID provider nobody here wrote, on a port of its own: with people and
//! clients that a test names, and a walk through its forms for tests without a browser.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

#[tokio::test]
async fn the_openid_provider_signs_in_whom_it_was_told_of() {
    let provider = OpenIdProvider::start().await;
    let back = "http://127.0.0.1:9/auth/corp/callback";
    provider.set_up(&[back], json!({ "ann": { "email": "ann@example.com" } })).await;
    let challenge =
        portcullis::identity::provider::challenge("a-verifier-of-at-least-43-characters-in-all-1");
    let url = Url::parse_with_params(
        &format!("{}/auth", provider.issuer()),
        [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", back),
            ("scope", "openid email"),
            ("state", "some-state"),
            ("nonce", "some-nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ],
    );
    let came_back = provider.sign_in(url.unwrap().as_str(), "ann").await;
    let came_back = Url::parse(&came_back).unwrap();
    let query: BTreeMap<_, _> = came_back.query_pairs().into_owned().collect();
    assert!(came_back.as_str().starts_with(back), "{came_back}");
    assert_eq!(query["state"], "some-state");
    assert_eq!(query["iss"], provider.issuer());
    assert!(query.contains_key("code"));
    assert_eq!(provider.requests().await["/auth"], 1);
}
