//! What an operator sees: access lines, metrics, health.

use std::time::Duration;

use crate::harness::{Gateway, PASSWORD, Process, metric};
use crate::raw::{Client, Raw};
use crate::upstream::{self, Upstream};

const ROUTES: &str = r#"
upstreams: { app: "${APP}", gone: "http://127.0.0.1:1" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { name: open, path: "/public", upstream: app, allow: public }
  - { name: admins, path: "/admin", upstream: app, allow: { roles: [admin] } }
  - { name: gone, path: "/gone", upstream: gone, allow: public }
"#;

async fn spawn(upstream: &Upstream, telemetry: &str) -> Process {
    let builder = Gateway::builder(ROUTES).with("APP", &upstream.url());
    builder.key("telemetry", telemetry).spawn().await
}

/// Waits for an access line that holds the text.
async fn line_with(process: &Process, text: &str) -> String {
    for _ in 0..250 {
        if let Some(line) = process.stdout().lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no line with {text}: {}", process.stdout());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_leaves_one_line_and_no_secret() {
    let upstream = Upstream::start();
    let process = spawn(&upstream, "{ level: info, format: json, access_log: on }").await;
    process.create_user("cat", &[]);
    let cat = process.sign_in("cat").await;
    let answer = cat.get("/admin?token=hush-hush").send().await.expect(403);
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    let line = line_with(&process, &id).await;
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["route"], "admins");
    assert_eq!(json["decision"], "deny");
    assert_eq!(json["rule"], "{roles: [admin]}");
    assert_eq!(json["status"], 403);
    assert_eq!(json["method"], "GET");
    assert_eq!(json["client"], "127.0.0.1");
    assert_eq!(json["path"], "/admin");
    assert!(json["subject"].as_str().unwrap().len() == 36, "{line}");
    assert!(json["duration_ms"].as_f64().unwrap() >= 0.0);
    process.client().get("/public").send().await.expect(200);
    let open = line_with(&process, "\"open\"").await;
    assert!(open.contains("upstream_ms") && open.contains("\"allow\""), "{open}");
    process.client().visit("/auth/login").send().await.expect(200);
    line_with(&process, "/auth/login").await;
    let said = format!("{}{}", process.stdout(), process.stderr());
    let cookie = cat.cookie("portcullis").unwrap();
    for secret in [PASSWORD, "hush-hush", &cookie] {
        assert!(!said.contains(secret), "{secret}");
    }
    assert_eq!(process.stdout().matches(&id).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_can_be_text_a_file_or_off() {
    let upstream = Upstream::start();
    let text = spawn(&upstream, "{ level: warn, format: text, access_log: on }").await;
    text.client().get("/public").send().await.expect(200);
    let line = line_with(&text, "/public").await;
    assert!(line.contains("GET") && line.contains("200"), "{line}");

    let file = spawn(&upstream, "{ level: warn, format: json, access_log: access.log }").await;
    file.client().get("/public").send().await.expect(200);
    let path = file.directory().join("access.log");
    for _ in 0..250 {
        if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("/public")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(std::fs::read_to_string(&path).unwrap().contains("/public"));
    assert_eq!(file.stdout(), "");

    let off = spawn(&upstream, "{ level: warn, format: text, access_log: off }").await;
    off.client().get("/public").send().await.expect(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(off.stdout(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happens() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(ROUTES).with("APP", &upstream.url()).start().await;
    let cat = gateway.person("cat").sign_in().await;
    let nobody = gateway.client();
    for _ in 0..3 {
        nobody.get("/public").send().await.expect(200);
        cat.get("/admin").send().await.expect(403);
    }
    nobody.get("/admin").send().await.expect(401);
    nobody.get("/gone").send().await.expect(502);
    let wrong = [("username", "cat@example.com"), ("password", "wrong")];
    nobody.post("/auth/jwt/login").form(&wrong).send().await.expect(400);
    let evil = cat.call("POST", "/x").header("Origin", "https://evil.example");
    evil.send().await.expect(403);
    let at_least = [
        ("portcullis_requests_total{route=\"open\",status=\"2xx\"}", 3.0),
        ("portcullis_requests_total{route=\"admins\",status=\"4xx\"}", 4.0),
        ("portcullis_refusals_total{route=\"admins\",kind=\"deny\"}", 3.0),
        ("portcullis_refusals_total{route=\"admins\",kind=\"challenge\"}", 1.0),
        ("portcullis_refusals_total{route=\"/**\",kind=\"cross_site\"}", 1.0),
        ("portcullis_upstream_errors_total{route=\"gone\",kind=\"connect\"}", 1.0),
        ("portcullis_sign_ins_total{method=\"password\",outcome=\"succeeded\"}", 1.0),
        ("portcullis_sign_ins_total{method=\"password\",outcome=\"failed\"}", 1.0),
        ("portcullis_upstream_latency_seconds_count{route=\"open\"}", 3.0),
        ("portcullis_session_cache_hits_total", 1.0),
        ("portcullis_session_loads_total", 1.0),
        ("portcullis_hash_verifications_total", 2.0),
    ];
    for (line, least) in at_least {
        let value = gateway.metric(line).await;
        assert!(value >= least, "{line} is {value}");
    }
    let text = gateway.management().get("/metrics").send().await.expect(200).text();
    for name in ["hash_queue_depth", "hash_queue_wait", "freshness_age", "store_errors"] {
        assert!(text.contains(&format!("portcullis_{name}")), "{name}: {text}");
    }
    for name in ["open_connections", "configuration_reloads"] {
        assert!(text.contains(&format!("portcullis_{name}")), "{name}: {text}");
    }
    // What clients send makes no new series.
    let series = text.lines().count();
    for number in 0..50 {
        nobody.get(&format!("/made-up/{number}")).send().await.expect(401);
        nobody.call(&format!("M{}", "X".repeat(1 + number % 15)), "/public").send().await;
        nobody.clone().with_host(&format!("h{number}.example")).get("/public").send().await;
    }
    let text = gateway.management().get("/metrics").send().await.expect(200).text();
    assert!(text.lines().count() <= series + 4, "{series} grew to {}", text.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn management_is_on_its_own_address_only() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(ROUTES).with("APP", &upstream.url()).start().await;
    let management: Client = gateway.management();
    management.get("/health/live").send().await.expect(200);
    management.get("/health/ready").send().await.expect(200);
    management.get("/nothing").send().await.expect(404);
    management.call("POST", "/metrics").send().await.expect(405);
    for path in ["/metrics", "/health/live", "/health/ready"] {
        gateway.client().get(path).send().await.expect(401);
    }
    let off = Gateway::builder(ROUTES).with("APP", &upstream.url()).key("management", "off");
    assert_eq!(off.start().await.running.management, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_nobody_reads_holds_up_nobody_and_what_it_lost_is_counted() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(ROUTES).with("APP", &upstream.url()).key("workers", "1");
    let builder = builder.key("telemetry", "{ level: warn, format: json, access_log: on }");
    // Long paths fill the writer's memory (1 MiB) soon.
    let path = format!("/auth/{}", "x".repeat(4_000));
    let (process, unread) = builder.spawn_with_unread_output().await;
    let client = process.client();
    let mut raw = Raw::connect(process.address).await;
    for _ in 0..600 {
        client.get(&path).send_on(&mut raw).await.expect(404);
    }
    let dropped =
        metric(&Client::new(process.management), "portcullis_access_lines_dropped_total").await;
    assert!(dropped > 0.0, "nothing was dropped");
    process.client().get("/public").send().await.expect(200);
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_before_its_answer_leaves_a_line_too() {
    let upstream = Upstream::start();
    upstream.at("/silent", upstream::silence);
    let process = spawn(&upstream, "{ level: warn, format: json, access_log: on }").await;
    process.create_user("cat", &[]);
    let cat = process.sign_in("cat").await;
    let raw = cat.get("/silent?of=cat").open().await;
    upstream.wait_for(|seen| seen.target().starts_with("/silent")).await;
    drop(raw);
    let line = line_with(&process, "\"/silent\"").await;
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["status"], 499, "{line}");
    assert_eq!(json["decision"], "allow");
    assert_eq!(json["route"], "/**");
    assert!(json["subject"].as_str().unwrap().len() == 36, "{line}");
    // The answers that others wait for make one line each as before.
    cat.get("/public").send().await.expect(200);
    line_with(&process, "\"/public\"").await;
    let out = process.stdout();
    assert_eq!(out.matches("\"/silent\"").count(), 1, "{out}");
    assert_eq!(out.matches("\"status\":499").count(), 1, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_client_sends_forges_a_line() {
    let upstream = Upstream::start();
    let process = spawn(&upstream, "{ level: warn, format: text, access_log: on }").await;
    process.client().get("/public").send().await.expect(200);
    let honest = line_with(&process, "/public").await;
    let fields = honest.split_whitespace().count();
    let hosts = [
        "a/admin 200 client=203.0.113.7 route=\"admins\" decision=allow subject=root",
        "a\t/admin\t200\tclient=203.0.113.7",
        "a\u{85}2030-01-01T00:00:00Z GET a/admin 200",
        "a\u{2028}2030-01-01T00:00:00Z GET a/admin 200",
        "\u{1b}",
        "a\"b",
    ];
    for (number, host) in hosts.iter().enumerate() {
        let mut raw = Raw::connect(process.address).await;
        raw.send(format!("GET /forged-{number} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let Some(answer) = raw.try_response("GET").await else { continue };
        assert_eq!(answer.status, 400, "{host:?}");
        // What the parser refuses is no request, and has no line.
        if answer.header("x-request-id").is_none() {
            continue;
        }
        let line = line_with(&process, &format!("/forged-{number} ")).await;
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words.len(), fields, "{line}");
        assert_eq!((words[3], words[4]), ("400", "client=127.0.0.1"), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    assert_eq!(process.stdout().lines().count(), process.stdout().matches(" id=").count());
    assert!(process.stdout().lines().count() > 3, "{}", process.stdout());
}
