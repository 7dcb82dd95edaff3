//! Bodies that nobody sends by mistake, to every endpoint that takes JSON, as the gateway's own document lists
//! them, from everybody: each is answered with a 4xx, and soon.

use serde_json::{Map, Value, json};

use super::with_accounts;
use crate::raw::Client;
use crate::upstream::Upstream;

pub const JSON: &str = "application/json";

/// An endpoint that takes JSON, with the schemas of its fields.
pub struct Endpoint {
    pub method: String,
    pub path: String,
    fields: Map<String, Value>,
    needed: Vec<String>,
}

/// Every endpoint of the document that takes JSON.
pub async fn endpoints(client: &Client, id: &str) -> Vec<Endpoint> {
    let document = client.get("/auth/openapi.json").send().await.expect(200).json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"][JSON]["schema"]["$ref"];
            let Some(name) = schema.as_str().and_then(|text| text.rsplit('/').next()) else {
                continue;
            };
            let schema = &document["components"]["schemas"][name];
            let needed = schema["required"].as_array().unwrap();
            found.push(Endpoint {
                method: method.to_uppercase(),
                path: path.replace("{id}", id),
                fields: schema["properties"].as_object().unwrap().clone(),
                needed: needed.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    assert!(found.len() >= 8, "only {} endpoints take JSON", found.len());
    found
}

/// Texts that are no JSON, or not one object, whatever the fields are.
fn shapeless() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str| [open.repeat(20_000), close.repeat(20_000)].concat();
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "0",
        "-",
        "1e999",
        "\"x\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{]",
        "{\"a\":}",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "{\"a\":NaN}",
        "{\"a\":1}{}",
        "// {}",
        "\u{feff}{}",
        "<a/>",
        "a=b",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\x00\"}",
        "{\"a\":1,\"a\":1}",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    bodies.extend([b"{\"a\":\"\xff\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec(), vec![0; 64]]);
    bodies.extend([deep("[", "]").into_bytes(), deep("{\"a\":", "}").into_bytes()]);
    bodies
}

/// A value that a field with this schema takes.
fn fitting(name: &str, schema: &Value) -> Value {
    match schema["format"].as_str() {
        Some("email") => json!("somebody@example.com"),
        _ if schema["type"][0] == "array" => json!(["a"]),
        _ if schema["type"] == "boolean" || schema["type"][0] == "boolean" => json!(true),
        _ => json!(format!("some {name}")),
    }
}

/// Values that a field with this schema does not take.
fn unfit(schema: &Value) -> Vec<Value> {
    let is_flag = schema["type"] == "boolean" || schema["type"][0] == "boolean";
    let takes_null = schema["type"].is_array();
    if schema["type"][0] == "array" {
        return vec![json!({}), json!("a"), json!(1.5), json!([1]), json!([null]), json!([["a"]])];
    }
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let mut values = vec![json!([]), json!({}), json!(["a"]), json!(1.5), deep];
    values.push(if is_flag { json!("maybe") } else { json!(true) });
    if !takes_null {
        values.push(Value::Null);
    }
    if schema["format"] == "email" {
        let odd = [
            "",
            "@",
            "a@b",
            "a b@example.com",
            "a@example.com\r\nBcc: b@example.com",
            "a\0@example.com",
        ];
        values.extend(odd.map(|text| json!(text)));
        values.push(json!("a".repeat(10_000) + "@example.com"));
    }
    values
}

/// Bodies with one field that does not fit, and what is needed otherwise.
fn unfit_bodies(endpoint: &Endpoint) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for (name, schema) in &endpoint.fields {
        for value in unfit(schema) {
            let needed = endpoint.needed.iter();
            let mut body: Map<String, Value> =
                needed.map(|name| (name.clone(), fitting(name, &endpoint.fields[name]))).collect();
            body.insert(name.clone(), value);
            bodies.push(Value::Object(body).to_string().into_bytes());
        }
        let twice = format!("{{\"{name}\": {0}, \"{name}\": {0}}}", fitting(name, schema));
        bodies.push(twice.into_bytes());
    }
    bodies
}

async fn refused(client: &Client, endpoint: &Endpoint, kind: &str, body: &[u8]) {
    let Endpoint { method, path, .. } = endpoint;
    let mut call = client.call(method, path).body(kind, body).header("Origin", &client.origin());
    if kind.is_empty() {
        call = call.without("content-type");
    }
    let answer = call.send().await;
    let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
    assert!(
        (400..500).contains(&answer.status),
        "{method} {path} {kind} {shown}: {}",
        answer.status
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_ever_an_error_of_ours() {
    let upstream = Upstream::start();
    let builder = with_accounts(&upstream, "{ registration: open }").key("limits", "off");
    let gateway = builder.start().await;
    let nobody = gateway.client();
    let ann = gateway.person("ann").sign_in().await;
    let root = gateway.person("root").superuser().sign_in_with_bearer().await;
    let bob = gateway.person("bob").create().await.id.to_string();
    let mut sent = 0;
    for endpoint in endpoints(&nobody, &bob).await {
        let mut bodies = shapeless();
        bodies.extend(unfit_bodies(&endpoint));
        for client in [&nobody, &ann, &root] {
            for body in &bodies {
                refused(client, &endpoint, JSON, body).await;
            }
            let large = format!("{{\"email\": \"{}\"}}", "a".repeat(100_000));
            refused(client, &endpoint, JSON, large.as_bytes()).await;
            let body = fitting_body(&endpoint);
            for kind in
                ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
            {
                refused(client, &endpoint, kind, body.as_bytes()).await;
            }
            sent += bodies.len();
        }
    }
    assert!(sent > 1_500, "only {sent} bodies");
    ann.get("/x").send().await.expect(200);
}

pub fn fitting_body(endpoint: &Endpoint) -> String {
    let needed = endpoint.needed.iter();
    let body: Map<String, Value> =
        needed.map(|name| (name.clone(), fitting(name, &endpoint.fields[name]))).collect();
    Value::Object(body).to_string()
}
