//! Whether somebody has an account: neither an answer nor the time it takes tells.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::harness::{Gateway, PASSWORD, Stopwatch, email};
use crate::raw::Response;

const YAML: &str = r#"
upstreams: { app: "http://127.0.0.1:1" }
routes: [{ path: "/app", upstream: app, allow: authenticated }]
mail: { from: no-reply@example.com, directory: mail }
limits: off
"#;

/// Attempts at each account.
const ROUNDS: usize = 24;

/// How far two rankings of so many attempts may lie apart: where one kind is always the quicker it is 5.9, and
/// by chance it is beyond this in one of 15,000.
const FAR: f64 = 4.0;

/// Kinds of accounts that nobody gets into, the first of which is none.
const KINDS: [(&str, &str); 5] = [
    ("nobody", PASSWORD),
    ("wrong", "another password"),
    ("off", PASSWORD),
    ("bare", PASSWORD),
    ("cheap", "another password"),
];

/// What an answer says to whoever reads it, without what differs in every one.
fn told(answer: &Response) -> (u16, String, Vec<String>, usize) {
    let names = answer.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    (answer.status, answer.detail(), names, answer.body.len())
}

/// The z of Mann and Whitney: how far the ranks of two samples lie apart.
fn apart(one: &[Duration], other: &[Duration]) -> f64 {
    let count = |rows: usize| f64::from(u32::try_from(rows).unwrap());
    let above = one.iter().map(|a| other.iter().filter(|b| a > *b).count()).sum();
    let (n, m) = (count(one.len()), count(other.len()));
    let spread = (n * m * (n + m + 1.0) / 12.0).sqrt();
    (count(above) - n * m / 2.0).abs() / spread
}

/// How long attempts at each kind took, one after the other in turn.
async fn measure(gateway: &Gateway, path: &str) -> Vec<Vec<Duration>> {
    let mut took = vec![Vec::new(); KINDS.len()];
    for _ in 0..ROUNDS {
        let mut said = Vec::new();
        for ((who, password), times) in KINDS.iter().zip(&mut took) {
            let fields = [("username", &*email(who)), ("password", password)];
            let call = gateway.client().post(path).form(&fields);
            let watch = Stopwatch::start();
            let answer = call.send().await.expect(400);
            times.push(watch.elapsed());
            said.push(told(&answer));
        }
        assert_eq!(said[0].1, "LOGIN_BAD_CREDENTIALS");
        assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    }
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_05_an_attempt_takes_as_long_whatever_account_there_is() {
    let gateway = Gateway::builder(YAML).start().await;
    gateway.person("wrong").create().await;
    gateway.person("off").set(|draft| draft.is_active = false).create().await;
    gateway.person("bare").set(|draft| draft.password = None).create().await;
    gateway.bring_cheap_hash("cheap").await;
    // The first at each kind of hash may be measured for what the others wait for.
    for (who, _) in KINDS {
        let fields = [("username", &*email(who)), ("password", "x")];
        gateway.client().post("/auth/jwt/login").form(&fields).send().await.expect(400);
    }
    for path in ["/auth/jwt/login", "/auth/cookie/login"] {
        // A machine with other work may favour one kind for once, not every time.
        let mut far = Vec::new();
        for _ in 0..3 {
            let took = measure(&gateway, path).await;
            far = took[1..].iter().map(|times| apart(times, &took[0])).collect();
            if far.iter().all(|z| *z < FAR) {
                break;
            }
        }
        assert!(far.iter().all(|z| *z < FAR), "{path}: {far:?} for {:?}", &KINDS[1..]);
    }
    let ms = |times: [u64; 8]| times.map(Duration::from_millis);
    assert!(apart(&ms([1; 8]), &ms([40, 41, 42, 40, 41, 43, 39, 40])) > 3.3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_05_whoever_asks_for_a_letter_is_answered_before_anybody_is_looked_up() {
    let gateway = Gateway::builder(YAML).start().await;
    gateway.person("ann").create().await;
    gateway.person("new").unverified().create().await;
    let database = gateway.file.with_file_name("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    // Without accounts nothing that needs one can be answered.
    connection.execute("ALTER TABLE users RENAME TO lost").await.unwrap();
    connection.close().await.unwrap();
    let fields = [("username", &*email("ann")), ("password", PASSWORD)];
    gateway.client().post("/auth/jwt/login").form(&fields).send().await.expect(503);
    let mut said = Vec::new();
    for to in ["/auth/forgot-password", "/auth/request-verify-token"] {
        for who in ["ann", "new", "nobody"] {
            let body = serde_json::json!({ "email": email(who) }).to_string();
            let call = gateway.client().post(to).body("application/json", body);
            let answer = call.send().await.expect(202);
            assert_eq!(answer.text(), "null", "{to} {who}");
            said.push(answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        }
    }
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
}
