//! How soon a change counts: what the command line does to a running gateway, on both databases, and
//! what happens while the database is out of reach.

use std::time::Duration;

use crate::chaos::Chaos;
use crate::harness::{Gateway, Process, Stopwatch, report};
use crate::postgres::Postgres;
use crate::raw::Client;
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
roles: { editor: { permissions: ["pages:edit"] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/editors", upstream: app, allow: { roles: [editor] } }
  - { path: "/reports", upstream: app, allow: { permissions: ["reports:read"] } }
"#;

/// The promise: what the command line changes is in force this soon after it has ended.
const PROMISE: Duration = Duration::from_secs(1);
/// Changes tried on each store.
const ROUNDS: usize = 200;

/// Runs a command and returns a watch that runs since its end.
fn run(process: &Process, arguments: &[&str]) -> Stopwatch {
    let output = process.run(arguments, "");
    let ended = Stopwatch::start();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    ended
}

/// Asks until the answer is the one expected; how long after `since` that was.
async fn time_until(client: &Client, target: &str, status: u16, since: &Stopwatch) -> Duration {
    loop {
        let asked = since.elapsed();
        // An answer under way when its leave ends is cut: then there is none.
        let answered = client.get(target).try_send().await.map(|answer| answer.status);
        if answered == Some(status) {
            return asked;
        }
        assert!(since.elapsed() < 5 * PROMISE, "{target} still answers {answered:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Changes everything the command line can change, again and again, and times each.
async fn measure(name: &str, process: &Process) {
    run(process, &["role", "create", "reporter"]);
    process.create_user("root", &["--superuser"]);
    process.create_user("ann", &["--role", "editor", "--role", "reporter"]);
    let steps: [(&[&str], &str, u16); 6] = [
        (&["role", "grant", "reporter", "reports:read"], "/reports", 200),
        (&["role", "revoke", "reporter", "reports:read"], "/reports", 403),
        (&["user", "revoke", "ann@example.com", "editor"], "/editors", 403),
        (&["user", "grant", "ann@example.com", "editor"], "/editors", 200),
        (&["session", "revoke", "--user", "ann@example.com"], "/x", 401),
        (&["user", "deactivate", "ann@example.com"], "/x", 401),
    ];
    let mut ann = process.sign_in("ann").await;
    let mut longest = (Duration::ZERO, "");
    for round in 0..ROUNDS {
        let (arguments, target, status) = steps[round % steps.len()];
        // The session is in the cache and says the opposite.
        let before = ann.get(target).send().await.status;
        assert_ne!(before, status, "round {round}, {arguments:?}");
        let ended = run(process, arguments);
        let took = time_until(&ann, target, status, &ended).await;
        longest = longest.max((took, arguments[1]));
        if status == 401 {
            if arguments[1] == "deactivate" {
                run(process, &["user", "activate", "ann@example.com"]);
            }
            ann = process.sign_in("ann").await;
        }
    }
    let (took, what) = longest;
    report(&format!(
        "{name}: {ROUNDS} changes in force {took:?} after the command's end at most ({what})"
    ));
    assert!(longest.0 < PROMISE, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_line_changes_is_in_force_within_a_second_on_sqlite() {
    let upstream = Upstream::start();
    let process = Gateway::builder(YAML).with("APP", &upstream.url()).spawn().await;
    measure("SQLite", &process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_line_changes_is_in_force_within_a_second_on_postgresql() {
    let upstream = Upstream::start();
    let url = Postgres::start().database().await;
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    let process = builder.spawn().await;
    measure("PostgreSQL", &process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_gateway_is_right_or_silent_and_recovers_by_itself() {
    let upstream = Upstream::start();
    let chaos = Chaos::start(Postgres::start().address());
    let url = Postgres::start().database().await;
    let url = url.replace(&Postgres::start().address().to_string(), &chaos.address.to_string());
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    // A minute, so that what the test itself takes on a busy machine does not count.
    let builder = builder.key("sessions", "{ max_staleness: 1m }");
    let gateway = builder.start().await;
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let bob = gateway.person("bob").sign_in_with_bearer().await;
    let nobody = gateway.client();
    for fault in ["cut", "stalled"] {
        for client in [&ann, &bob] {
            client.get("/x").send().await.expect(200);
        }
        if fault == "cut" {
            chaos.cut();
        } else {
            chaos.stall();
        }
        ann.get("/x").send().await.expect(200);
        gateway.clock.advance_monotonic(Duration::from_secs(40));
        ann.get("/editors").send().await.expect(200);
        bob.get("/x").send().await.expect(200);
        gateway.clock.advance_monotonic(Duration::from_secs(21));
        for client in [&ann, &bob] {
            let watch = Stopwatch::start();
            let answer = client.get("/x").send().await.expect(503);
            assert!(answer.header("retry-after").is_some());
            assert!(watch.elapsed() < Duration::from_secs(3), "{fault}: a load has a deadline");
            client.get("/public").send().await.expect(200);
        }
        nobody.get("/public").send().await.expect(200);
        nobody.get("/x").send().await.expect(401);
        let ready = gateway.management().get("/health/ready").send().await;
        assert_eq!(ready.status, 503, "{fault}: {}", ready.text());
        gateway.management().get("/health/live").send().await.expect(200);
        chaos.restore();
        let watch = Stopwatch::start();
        while ann.get("/x").send().await.status != 200 {
            assert!(watch.elapsed() < Duration::from_secs(10), "{fault}: no recovery");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gateway.wait_for(&gateway.management(), "/health/ready", 200).await;
        bob.get("/x").send().await.expect(200);
        ann.get("/editors").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_the_store_that_cannot_be_reached() {
    let upstream = Upstream::start();
    let chaos = Chaos::start(Postgres::start().address());
    let url = Postgres::start().database().await;
    let url = url.replace(&Postgres::start().address().to_string(), &chaos.address.to_string());
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    let gateway = builder.start().await;
    let management = gateway.management();
    let ready = management.get("/health/ready").send().await.expect(200).text();
    assert!(!ready.contains("store"), "{ready}");
    for fault in ["cut", "stalled"] {
        if fault == "cut" {
            chaos.cut();
        } else {
            chaos.stall();
        }
        gateway.clock.advance_monotonic(Duration::from_secs(10));
        let unready = management.get("/health/ready").send().await.expect(503).text();
        let named: Vec<_> = unready.lines().filter(|line| line.starts_with("store")).collect();
        assert_eq!(named.len(), 1, "{fault}: {unready}");
        assert!(!unready.contains("postgres://") && !unready.contains("ready\n"), "{unready}");
        chaos.restore();
        gateway.wait_for(&management, "/health/ready", 200).await;
        let ready = management.get("/health/ready").send().await.expect(200).text();
        assert!(!ready.contains("store"), "{fault}: {ready}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_max_staleness_is_the_bound_there_is() {
    let upstream = Upstream::start();
    let chaos = Chaos::start(Postgres::start().address());
    let url = Postgres::start().database().await;
    let url = url.replace(&Postgres::start().address().to_string(), &chaos.address.to_string());
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    let gateway = builder.key("sessions", "{ max_staleness: 40s }").start().await;
    let ann = gateway.person("ann").sign_in().await;
    // Once the log's reader has seen her made, her session stays cached.
    tokio::time::sleep(Duration::from_millis(700)).await;
    ann.get("/x").send().await.expect(200);
    chaos.cut();
    for _ in 0..3 {
        gateway.clock.advance_monotonic(Duration::from_secs(12));
        ann.get("/x").send().await.expect(200);
        gateway.management().get("/health/ready").send().await.expect(200);
    }
    gateway.clock.advance_monotonic(Duration::from_secs(12));
    ann.get("/x").send().await.expect(503);
    gateway.management().get("/health/ready").send().await.expect(503);
}
