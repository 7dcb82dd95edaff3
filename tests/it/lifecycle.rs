//! Stopping and reloading a gateway while people use it.

use std::fs;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::harness::{Gateway, Process, Stopwatch, metric};
use crate::raw::{Client, Raw};
use crate::upstream::{self, Gate, Upstream};

const YAML: &str = r#"
drain: 3s
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/guarded", upstream: app, allow: authenticated }
"#;

async fn spawn(upstream: &Upstream) -> Process {
    Gateway::builder(YAML).with("APP", &upstream.url()).spawn().await
}

async fn is_refused(process: &Process) -> bool {
    tokio::net::TcpStream::connect(process.address).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_stops_at_once_and_with_success() {
    let upstream = Upstream::start();
    let mut process = spawn(&upstream).await;
    let mut idle = Raw::connect(process.address).await;
    process.client().get("/x").send_on(&mut idle).await.expect(200);
    let began = Stopwatch::start();
    process.signal("TERM");
    assert!(process.wait().await.success());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(idle.is_closed_within(Duration::from_secs(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_download_in_flight_are_finished() {
    let upstream = Upstream::start();
    let gate = Gate::new();
    let held = gate.clone();
    upstream.at("/down", move |exchange| upstream::withhold(exchange, "1", held.clone(), "2"));
    upstream.at("/up", upstream::count_body);
    let mut process = spawn(&upstream).await;
    let mut down = process.client().get("/down").open().await;
    down.head().await;
    assert_eq!(down.read_chunk().await, b"1");
    let mut up = Raw::connect(process.address).await;
    up.send("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n1").await;
    upstream.wait_for(|seen| seen.body == b"1").await;

    process.signal("TERM");
    while !is_refused(&process).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    up.send("23").await;
    let answer = up.response("POST").await.expect(200);
    assert_eq!(answer.text(), "3");
    assert_eq!(answer.header("connection"), Some("close"));
    gate.open();
    assert_eq!(down.read_chunk().await, b"2");
    assert_eq!(down.read_chunk().await, b"");
    assert!(process.wait().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_cut_when_the_time_to_drain_is_over() {
    let upstream = Upstream::start();
    upstream.at("/events", |exchange| upstream::event_stream(exchange, Duration::from_millis(50)));
    upstream.at("/ws", upstream::echo_websocket);
    let mut process = spawn(&upstream).await;
    let mut events = process.client().get("/events").open().await;
    events.head().await;
    events.read_until("data: 1").await;
    let handshake = process
        .client()
        .get("/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut raw = handshake.open().await;
    assert_eq!(raw.head().await.status, 101);
    let mut socket = WebSocketStream::from_raw_socket(raw.into_stream(), Role::Client, None).await;
    socket.send(Message::text("a")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("a"));

    let began = Stopwatch::start();
    process.signal("TERM");
    // Both go on while there is time …
    tokio::time::sleep(Duration::from_secs(1)).await;
    socket.send(Message::text("b")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("b"));
    events.read_until("data: 20").await;
    // … and end with it.
    let rest = events.read_to_end().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "cut, not ended as if it were whole");
    while let Some(Ok(_)) = socket.next().await {}
    let status = process.wait().await;
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2_800) && took < Duration::from_secs(5), "{took:?}");
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_does_not_take_the_address() {
    let upstream = Upstream::start();
    let process = spawn(&upstream).await;
    let output = process.run(&["serve"], "");
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&process.address.to_string()), "{said}");
}

/// Waits until a request is answered with this status.
async fn until(client: &Client, target: &str, status: u16) {
    let mut last = 0;
    for _ in 0..500 {
        last = client.get(target).send().await.status;
        if last == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{target} still answers {last}, not {status}");
}

/// Waits until `/health/ready` names the configuration, or no longer does. The former configuration
/// serves, so the node is ready all the while.
async fn until_ready_says(management: &Client, is_named: bool) -> String {
    for _ in 0..500 {
        let text = management.get("/health/ready").send().await.expect(200).text();
        if text.contains("configuration") == is_named {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("/health/ready does not change");
}

fn edit(process: &Process, from: &str, to: &str) {
    let text = fs::read_to_string(&process.file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&process.file, text.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_loaded_by_itself_and_by_sighup() {
    let upstream = Upstream::start();
    let process = spawn(&upstream).await;
    let (nobody, management) = (process.client(), Client::new(process.management));
    nobody.get("/guarded").send().await.expect(401);
    edit(&process, "allow: authenticated", "allow: public");
    until(&nobody, "/guarded", 200).await;
    // Editors and orchestrators put a new file in the place of the old one.
    let text = fs::read_to_string(&process.file).unwrap();
    let beside = process.file.with_extension("new");
    fs::write(&beside, text.replace("\"/guarded\"", "\"/elsewhere\"")).unwrap();
    fs::rename(&beside, &process.file).unwrap();
    edit(
        &process,
        "path: \"/**\", upstream: app, allow: public",
        "path: \"/**\", upstream: app, allow: authenticated",
    );
    until(&nobody, "/guarded", 401).await;
    process.signal("HUP");
    nobody.get("/elsewhere").send().await.expect(200);
    let applied = "portcullis_configuration_reloads_total{outcome=\"applied\"}";
    assert!(metric(&management, applied).await >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_and_the_old_one_serves_on() {
    let upstream = Upstream::start();
    let process = spawn(&upstream).await;
    let (nobody, management) = (process.client(), Client::new(process.management));
    let good = fs::read_to_string(&process.file).unwrap();
    let bad = good.replace("allow: authenticated", "alow: authenticated");
    fs::write(&process.file, bad).unwrap();
    let ready = until_ready_says(&management, true).await;
    assert!(ready.contains("portcullis.yaml:8:5: routes[1]"), "{ready}");
    assert!(metric(&management, "portcullis_configuration_stale").await > 0.5);
    let refused = "portcullis_configuration_reloads_total{outcome=\"refused\"}";
    assert!(metric(&management, refused).await >= 1.0);
    nobody.get("/guarded").send().await.expect(401);
    nobody.get("/x").send().await.expect(200);
    let said = process.stderr();
    assert!(said.contains("alow") && said.contains("allow"), "{said}");
    fs::write(&process.file, good).unwrap();
    until_ready_says(&management, false).await;
    assert!(metric(&management, "portcullis_configuration_stale").await < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_need_a_restart_are_named() {
    let upstream = Upstream::start();
    let process = spawn(&upstream).await;
    edit(&process, "drain: 3s", "drain: 3s\nworkers: 3");
    for _ in 0..250 {
        if process.stderr().contains("workers") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = process.stderr();
    assert!(said.contains("workers") && said.contains("restart"), "{said}");
    process.client().get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_load_loses_no_request() {
    let upstream = Upstream::start();
    let process = spawn(&upstream).await;
    let client = process.client();
    let load = tokio::spawn(async move {
        let mut raw = Raw::connect(client.address()).await;
        for _ in 0..400 {
            client.get("/x").send_on(&mut raw).await.expect(200);
        }
    });
    for number in 0..10 {
        let text = fs::read_to_string(&process.file).unwrap();
        fs::write(&process.file, format!("{text}\n# {number}\n")).unwrap();
        process.signal("HUP");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_alone_reloads() {
    let upstream = Upstream::start();
    let process = spawn(&upstream).await;
    let management = Client::new(process.management);
    let applied = "portcullis_configuration_reloads_total{outcome=\"applied\"}";
    let before = metric(&management, applied).await;
    for count in 1..=3 {
        process.signal("HUP");
        let watch = Stopwatch::start();
        while metric(&management, applied).await < before + f64::from(count) - 0.5 {
            assert!(watch.elapsed() < Duration::from_secs(10), "reload {count} does not come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!((metric(&management, applied).await - before - 3.0).abs() < 0.5, "once each");
}

#[tokio::test(flavor = "multi_thread")]
async fn included_files_are_followed_as_they_change_and_come_and_go() {
    let upstream = Upstream::start();
    let yaml = r#"
include: ["routes.d/*.yaml"]
upstreams: { app: "${APP}" }
routes: [{ path: "/**", upstream: app, allow: authenticated }]
"#;
    let route =
        |path: &str| format!("routes: [{{ path: \"{path}\", upstream: app, allow: public }}]\n");
    let builder = Gateway::builder(yaml).with("APP", &upstream.url());
    let process = builder.file("routes.d/a.yaml", &route("/first")).spawn().await;
    let (nobody, directory) = (process.client(), process.directory().join("routes.d"));
    nobody.get("/first").send().await.expect(200);
    nobody.get("/second").send().await.expect(401);
    fs::write(directory.join("a.yaml"), route("/second")).unwrap();
    until(&nobody, "/second", 200).await;
    nobody.get("/first").send().await.expect(401);
    // One that was not there before …
    fs::write(directory.join("b.yaml"), route("/third")).unwrap();
    until(&nobody, "/third", 200).await;
    nobody.get("/second").send().await.expect(200);
    // … is followed from then on …
    fs::write(directory.join("b.yaml"), route("/fourth")).unwrap();
    until(&nobody, "/fourth", 200).await;
    nobody.get("/third").send().await.expect(401);
    // … and gone when it is.
    fs::remove_file(directory.join("b.yaml")).unwrap();
    until(&nobody, "/fourth", 401).await;
    nobody.get("/second").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_stopped_has_left_the_addresses() {
    let upstream = Upstream::start();
    for round in 0..20 {
        let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
        gateway.client().get("/x").send().await.expect(200);
        gateway.management().get("/health/ready").send().await.expect(200);
        let Gateway { running, address, .. } = gateway;
        let management = running.management.unwrap();
        running.shutdown().await;
        for address in [address, management] {
            let bound = std::net::TcpListener::bind(address);
            assert!(bound.is_ok(), "round {round}, {address}: {bound:?}");
        }
    }
}
