//! What pages of other origins may read of the API: every address and method of the gateway's own document, asked
//! before and in earnest, by everybody, with bodies that are taken and refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::hostile::{Endpoint, JSON, endpoints, fitting_body};
use super::{new_account, with_accounts};
use crate::harness::{Gateway, PASSWORD};
use crate::raw::{Call, Client, Response};
use crate::upstream::Upstream;

/// The one that is listed.
const FRIEND: &str = "https://friend.example.org";

/// Others, most of them nearly it.
const STRANGERS: [&str; 7] = [
    "https://evil.example",
    "null",
    "http://friend.example.org",
    "https://friend.example.org:8443",
    "https://friend.example.org.evil.example",
    "https://sub.friend.example.org",
    "https://friend.example.org/",
];

const PROVIDER: &str = "{ corp: { kind: github, client_id: a, client_secret: b, who: anyone } }";

/// What an answer must say of who may read it.
fn check(answer: &Response, is_listed: bool, what: &str) {
    let expected =
        if is_listed { [FRIEND, "true"].map(|value| vec![value]) } else { [vec![], vec![]] };
    let found = ["access-control-allow-origin", "access-control-allow-credentials"];
    assert_eq!(found.map(|name| answer.all(name)), expected, "{what}: {}", answer.status);
    let cors = answer.headers.iter().filter(|(name, _)| name.starts_with("access-control-"));
    for (name, value) in cors {
        assert!(!value.contains('*'), "{what}: {name}: {value}");
    }
    let vary = answer.all("vary").join(",").to_lowercase();
    assert!(vary.split(',').any(|name| name.trim() == "origin"), "{what}: Vary: {vary}");
}

/// Every operation of the document, with an id where one stands in its address.
async fn operations(client: &Client, id: &str) -> Vec<(String, String)> {
    let document = client.get("/auth/openapi.json").send().await.expect(200).json();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        for method in methods.filter(|name| *name != "parameters") {
            all.push((method.to_uppercase(), path.replace("{id}", id)));
        }
    }
    assert!(all.len() >= 25, "only {} operations", all.len());
    all
}

async fn start(limits: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start();
    let builder = with_accounts(&upstream, "{ registration: open }").key("limits", limits);
    let gateway = builder.key("providers", PROVIDER).start().await;
    (upstream, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_preflight_of_a_listed_origin_is_answered_and_of_no_other() {
    let (_upstream, gateway) = start("off").await;
    let bob = gateway.person("bob").create().await.id.to_string();
    let client = gateway.client();
    for (method, path) in operations(&client, &bob).await {
        let ask = |origin: &str| {
            let call = client.call("OPTIONS", &path).header("Origin", origin);
            let call = call.header("Access-Control-Request-Method", &method);
            call.header("Access-Control-Request-Headers", "authorization,content-type")
        };
        let what = format!("{method} {path}");
        let answer = ask(FRIEND).send().await.expect(204);
        check(&answer, true, &what);
        assert_eq!(answer.header("access-control-allow-methods"), Some(&*method), "{what}");
        let headers = answer.header("access-control-allow-headers");
        assert_eq!(headers, Some("authorization,content-type"), "{what}");
        for origin in STRANGERS {
            let answer = ask(origin).send().await;
            assert!(answer.status >= 400, "{what} {origin}: {}", answer.status);
            let has_cors =
                answer.headers.iter().any(|(name, _)| name.starts_with("access-control-"));
            assert!(!has_cors, "{what} {origin}: {:?}", answer.headers);
        }
    }
}

/// Sends a request as a page of the listed origin does, whose status is told, and as pages of others do.
async fn try_all(call: &Call, what: &str) -> u16 {
    let from =
        |origin: &str| call.clone().with("Origin", origin).with("Sec-Fetch-Site", "cross-site");
    let answer = from(FRIEND).send().await;
    check(&answer, true, what);
    for origin in STRANGERS {
        check(&from(origin).send().await, false, &format!("{what} {origin}"));
    }
    answer.status
}

/// The bodies that an operation is tried with.
fn bodies(endpoint: Option<&Endpoint>) -> Vec<Vec<u8>> {
    let Some(endpoint) = endpoint else { return vec![Vec::new()] };
    let fitting = fitting_body(endpoint).into_bytes();
    vec![b"[]".to_vec(), b"{".to_vec(), vec![b' '; 70_000], fitting]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_for_pages_of_a_listed_origin_and_of_no_other() {
    let (_upstream, gateway) = start("off").await;
    let bob = gateway.person("bob").create().await.id.to_string();
    gateway.person("ann").create().await;
    gateway.person("root").superuser().create().await;
    let nobody = gateway.client();
    let takers = endpoints(&nobody, &bob).await;
    let mut seen = BTreeSet::new();
    for (method, path) in operations(&nobody, &bob).await {
        // Signed in anew: the last address may have ended the session.
        let (ann, root) = (gateway.sign_in("ann").await, gateway.sign_in_with_bearer("root").await);
        let taker = takers.iter().find(|taker| taker.method == method && taker.path == path);
        for body in bodies(taker) {
            for (client, who) in [(&nobody, "nobody"), (&ann, "ann"), (&root, "root")] {
                let mut call = client.call(&method, &path);
                if !body.is_empty() {
                    call = call.body(JSON, body.clone());
                }
                seen.insert(try_all(&call, &format!("{method} {path} by {who}")).await);
            }
        }
        let wrong = nobody.call("PUT", &path).with("Origin", FRIEND).send().await;
        if path.starts_with("/auth/users") || path.ends_with("login") {
            check(&wrong.expect(405), true, &path);
        }
    }
    let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
    let wrong = [("username", "ann@example.com"), ("password", "wrong")];
    for path in ["/auth/jwt/login", "/auth/cookie/login"] {
        let call = gateway.client().call("POST", path);
        seen.insert(try_all(&call.clone().form(&wrong), path).await);
        seen.insert(try_all(&call.form(&fields), path).await);
    }
    // Nobody of two names is anybody.
    let (ann, root) = (gateway.sign_in("ann").await, gateway.sign_in_with_bearer("root").await);
    let both = root.get("/auth/users/me").header("Cookie", &ann.cookies());
    assert_eq!(try_all(&both, "two people").await, 400);
    let expected = [200, 201, 202, 204, 400, 401, 403, 404, 413, 422];
    assert!(expected.iter().all(|status| seen.contains(status)), "only {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_good_and_limits_that_are_reached_are_answered_to_a_listed_origin_too() {
    let (_upstream, gateway) = start("{}").await;
    gateway.person("ann").unverified().create().await;
    let client = gateway.client();
    let post = |path: &str, body: &Value| {
        client.call("POST", path).body(JSON, body.to_string()).header("Origin", FRIEND)
    };
    for (kind, path) in [
        (portcullis::accounts::LinkKind::Verify, "/auth/verify"),
        (portcullis::accounts::LinkKind::Reset, "/auth/reset-password"),
    ] {
        let link = gateway.link("ann", kind).await;
        let token = link.split_once("token=").unwrap().1;
        let answer = post(path, &json!({ "token": token, "password": super::NEW })).send().await;
        check(&answer.expect(200), true, path);
    }
    let login = |path: &str| {
        let fields = [("username", "ann@example.com"), ("password", "wrong")];
        client.call("POST", path).form(&fields).header("Origin", FRIEND)
    };
    let calls = [
        login("/auth/jwt/login"),
        login("/auth/cookie/login"),
        post("/auth/register", &new_account("ann")),
        post("/auth/forgot-password", &json!({ "email": "ann@example.com" })),
        post("/auth/request-verify-token", &json!({ "email": "ann@example.com" })),
        post("/auth/reset-password", &json!({ "token": "x", "password": super::NEW })),
        post("/auth/verify", &json!({ "token": "x" })),
    ];
    for call in calls {
        let mut status = 0;
        for _ in 0..60 {
            let answer = call.send().await;
            status = answer.status;
            check(&answer, true, &format!("{call:?}"));
            if status == 429 {
                assert!(answer.header("retry-after").is_some());
                break;
            }
        }
        assert_eq!(status, 429, "{call:?}");
    }
}
