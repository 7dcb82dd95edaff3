//! What `explain` says is what the gateway does.

mod random;

use std::process::Command;

use serde_json::Value;

use crate::harness::Gateway;
use crate::raw::Client;
use crate::upstream::Upstream;

const YAML: &str = r#"
origins: ["https://friend.example.org"]
portal: { users_path: /users }
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", host: "127.0.0.1", upstream: app, allow: authenticated }
  - { path: "/public", host: "127.0.0.1", upstream: app, allow: public }
  - { path: "/read", host: "127.0.0.1", methods: [GET], upstream: app, allow: authenticated }
  - { path: "/admin", host: "127.0.0.1", upstream: app, allow: { roles: [admin] } }
  - path: "/lan"
    host: "127.0.0.1"
    upstream: app
    allow: { networks: ["127.0.0.0/8"], anonymous: true }
"#;

/// A request by its method, path and further headers.
type Asked = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const EVIL: (&str, &str) = ("Origin", "https://evil.example");
const FRIEND: (&str, &str) = ("Origin", "https://friend.example.org");
const WOULD_POST: (&str, &str) = ("Access-Control-Request-Method", "POST");
const WOULD_GET: (&str, &str) = ("Access-Control-Request-Method", "GET");
/// Tokens of an application's own.
const NOT_OURS: (&str, &str) = ("Authorization", "Bearer of-the-application");
const BASIC: (&str, &str) = ("Authorization", "Basic YTpi");

const REQUESTS: [Asked; 33] = [
    ("GET", "/x", &[]),
    ("POST", "/x", &[]),
    ("GET", "/admin", &[]),
    ("POST", "/admin", &[EVIL]),
    ("POST", "/read", &[]),
    ("GET", "/users/me", &[]),
    ("HEAD", "/users/me", &[]),
    ("PATCH", "/users/me", &[]),
    ("GET", "/users/manage", &[]),
    ("GET", "/users/00000000-0000-0000-0000-000000000001", &[]),
    ("OPTIONS", "/users/me", &[FRIEND, WOULD_GET]),
    ("OPTIONS", "/users/me", &[FRIEND, WOULD_POST]),
    ("GET", "/auth/account", &[]),
    ("GET", "/auth/nothing", &[]),
    ("OPTIONS", "/x", &[FRIEND, WOULD_POST]),
    ("OPTIONS", "/x", &[EVIL, WOULD_POST]),
    ("OPTIONS", "/x", &[FRIEND]),
    ("OPTIONS", "/read", &[FRIEND, WOULD_POST]),
    ("OPTIONS", "/public", &[FRIEND, WOULD_POST]),
    ("get", "/x", &[]),
    ("TRACE", "/auth/account", &[]),
    ("TRACE", "/x", &[]),
    ("POST", "/x", &[EVIL]),
    ("POST", "/x", &[FRIEND]),
    ("POST", "/x", &[EVIL, NOT_OURS]),
    ("POST", "/x", &[EVIL, BASIC]),
    ("GET", "/x", &[BASIC, NOT_OURS]),
    ("POST", "/lan", &[EVIL]),
    ("POST", "/lan", &[]),
    ("POST", "/public", &[EVIL]),
    ("GET", "/a/../b", &[]),
    ("GET", "/x", &[("Connection", "cookie")]),
    ("GET", "/x", &[("Connection", "@@")]),
];

struct Bench {
    upstream: Upstream,
    gateway: Gateway,
}

impl Bench {
    fn explain(&self, who: &str, url: &str, (method, _, headers): Asked, token: &str) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("-c").arg(&self.gateway.file).env("APP", self.upstream.url());
        command.args(["explain", method, url, "--as", who, "--from", "127.0.0.1", "--json"]);
        for (name, value) in headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        if !token.is_empty() {
            command.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{url}: {error}"))
    }

    /// Sends a request and compares what becomes of it with what is said of it.
    async fn compare(&self, client: &Client, url: &str, asked: Asked, said: &Value) {
        let (method, path, headers) = asked;
        let before = self.upstream.count();
        let call = client.call(method, path);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        let answer = call.send().await;
        let is_forwarded = self.upstream.count() > before;
        let told = format!("{method} {url} {headers:?}: {} but {said:#}", answer.status);
        let says_forwarded = said["status"].is_null() && said["reason"].is_null();
        assert_eq!(says_forwarded, is_forwarded, "{told}");
        if let Some(status) = said["status"].as_u64() {
            assert_eq!(u64::from(answer.status), status, "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_what_the_gateway_does() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").sign_in().await;
    let (address, port) = (gateway.address, gateway.address.port());
    let token = gateway.sign_in_with_bearer("ann").await;
    let bearer = String::from_utf8(token.call("GET", "/").bytes()).unwrap();
    let bearer = bearer.split("Bearer ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let bench = Bench { upstream, gateway };
    for asked in REQUESTS {
        let said = bench.explain("ann@example.com", asked.1, asked, "");
        bench.compare(&ann, asked.1, asked, &said).await;
    }
    for asked in [("GET", "/admin", &[][..]), ("POST", "/lan", &[EVIL]), ("POST", "/lan", &[])] {
        let said = bench.explain("anonymous", asked.1, asked, "");
        bench.compare(&Client::new(address), asked.1, asked, &said).await;
    }
    let asked = ("POST", "/x", &[EVIL][..]);
    let said = bench.explain("ann@example.com", asked.1, asked, &bearer);
    bench.compare(&token, asked.1, asked, &said).await;
    let elsewhere = Client::new(address).with_host(&format!("elsewhere.test:{port}"));
    for path in ["/auth/account", "/auth/session", "/users/me", "/x"] {
        let url = format!("http://elsewhere.test:{port}{path}");
        let said = bench.explain("anonymous", &url, ("GET", path, &[]), "");
        bench.compare(&elsewhere, &url, ("GET", path, &[]), &said).await;
    }
}
