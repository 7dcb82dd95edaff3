//! `WebSocket`s are decided by the same rule as everything else, and end with what allowed them.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::harness::{Gateway, Stopwatch};
use crate::raw::{Call, Client, Head, Raw};
use crate::upstream::{self, Upstream};

const YAML: &str = r#"
trusted_proxies: ["192.0.2.0/24"]
origins: ["https://friend.example.org"]
upstreams: { app: "${APP}" }
roles: { editor: { permissions: ["pages:edit"] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/optional", upstream: app, allow: optional }
  - { path: "/editors", upstream: app, allow: { roles: [editor] } }
  - { path: "/lan", upstream: app, allow: { networks: ["127.0.0.0/8"], anonymous: true } }
  - { path: "/lan/events", upstream: app, allow: { networks: ["127.0.0.0/8"], anonymous: true } }
  - { path: "/editors/x", upstream: app, allow: { roles: [editor] } }
  - { path: "/editors/events", upstream: app, allow: { roles: [editor] } }
"#;

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start();
    for path in ["/ws", "/public", "/optional", "/editors", "/lan"] {
        upstream.at(path, upstream::echo_websocket);
    }
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    (upstream, gateway)
}

/// A handshake without `Origin`.
pub fn handshake(client: &Client, path: &str) -> Call {
    client
        .get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn from_here(client: &Client, path: &str) -> Call {
    handshake(client, path).header("Origin", &client.origin())
}

/// Opens a socket, which must succeed.
pub async fn open(call: Call) -> WebSocketStream<TcpStream> {
    let mut raw = call.open().await;
    let head = raw.head().await;
    assert_eq!(head.status, 101, "{head:?}");
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    WebSocketStream::from_raw_socket(raw.into_stream(), Role::Client, None).await
}

async fn refused(call: Call) -> Head {
    call.open().await.head().await
}

/// Whether a message comes back.
pub async fn echoes(socket: &mut WebSocketStream<TcpStream>, word: &str) -> bool {
    if socket.send(Message::text(word)).await.is_err() {
        return false;
    }
    let answer = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
    matches!(answer, Ok(Some(Ok(message))) if message == Message::text(word))
}

/// Waits for the end of a socket and says how long it took.
pub async fn time_to_end(socket: &mut WebSocketStream<TcpStream>) -> Duration {
    let began = Stopwatch::start();
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(Duration::from_secs(10), end).await.expect("the socket stays open");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_both_ways_once_the_rule_allows() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let mut socket = open(from_here(&ann, "/ws")).await;
    assert!(echoes(&mut socket, "hello").await);
    let large = "x".repeat(1024 * 1024);
    assert!(echoes(&mut socket, &large).await);
    let seen = upstream.last();
    assert_eq!(seen.header("upgrade").as_deref(), Some("websocket"));
    assert!(seen.header("x-auth-user-id").is_some());
    assert_eq!(seen.header("sec-websocket-key").as_deref(), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    socket.close(None).await.unwrap();
    upstream.wait_for_connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_credential_is_401_never_a_redirect() {
    let (upstream, gateway) = start().await;
    let client = gateway.client();
    let head = refused(from_here(&client, "/ws").header("Accept", "text/html")).await;
    assert_eq!(head.status, 401);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_or_a_network_counts_only_from_our_own_pages() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let nobody = gateway.client();
    for (who, path) in [(&ann, "/ws"), (&ann, "/optional"), (&nobody, "/lan")] {
        assert_eq!(refused(handshake(who, path)).await.status, 403, "{path}: no Origin");
        for foreign in
            ["https://evil.example", "null", "http://127.0.0.1", "https://friend.example.org:444"]
        {
            let head = refused(handshake(who, path).header("Origin", foreign)).await;
            assert_eq!(head.status, 403, "{path} from {foreign}");
        }
        let friend = handshake(who, path).header("Origin", "https://friend.example.org");
        open(friend).await;
        open(from_here(who, path)).await;
    }
    // A public route looks nobody up, so there is nothing to borrow.
    open(handshake(&ann, "/public").header("Origin", "https://evil.example")).await;
    open(handshake(&nobody, "/optional")).await;
    let bob = gateway.person("bob").sign_in_with_bearer().await;
    open(handshake(&bob, "/optional")).await;
    open(handshake(&bob, "/ws")).await;
    assert_eq!(upstream.seen().iter().filter(|seen| seen.target() == "/ws").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_exactly_websocket_on_get_is_an_upgrade() {
    let (upstream, gateway) = start().await;
    upstream.at("/public", upstream::echo);
    let client = gateway.client();
    for other in ["h2c", "websocket, h2c", "Websocket2", "tls/1.0"] {
        let call = client.get("/public").header("Connection", "Upgrade").header("Upgrade", other);
        call.send().await.expect(200);
        assert_eq!(upstream.last().header("upgrade"), None, "{other}");
        assert_eq!(upstream.last().header("connection"), None, "{other}");
    }
    let post = client.call("POST", "/public").header("Connection", "Upgrade");
    post.header("Upgrade", "websocket").body("text/plain", "x").send().await.expect(200);
    assert_eq!(upstream.last().header("upgrade"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_refused_handshake_are_never_a_request() {
    let (upstream, gateway) = start().await;
    upstream.at("/public", |mut exchange| async move {
        exchange.reply("400 Bad Request", "", "no").await.then_some(exchange)
    });
    let mut bytes = from_here(&gateway.client(), "/public").bytes();
    bytes.extend_from_slice(b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(bytes).await;
    raw.response("GET").await.expect(400);
    raw.try_response("GET").await.map(|answer| answer.expect(401));
    assert!(!upstream.seen().iter().any(|seen| seen.target() == "/admin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_socket_ends_within_a_second_of_its_session() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in().await;
    let mut hers = open(from_here(&ann, "/ws")).await;
    let mut his = open(from_here(&bob, "/ws")).await;
    assert!(echoes(&mut hers, "a").await && echoes(&mut his, "b").await);
    ann.post("/auth/cookie/logout").send().await.expect(204);
    let took = time_to_end(&mut hers).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(echoes(&mut his, "still here").await);
}

/// Once one side has ended, the other may go on for a while; not beyond what allowed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_half_ended_ends_within_a_second_of_its_session() {
    let (upstream, gateway) = start().await;
    upstream.at("/ws", |exchange| async {
        let mut socket = exchange.accept_websocket().await.into_inner();
        while socket.write_all(b"\x82\x01a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    });
    let ann = gateway.person("ann").sign_in().await;
    let mut raw = from_here(&ann, "/ws").open().await;
    assert_eq!(raw.head().await.status, 101);
    raw.read_until("a").await;
    raw.end().await;
    raw.read_until("a").await;
    ann.post("/auth/cookie/logout").send().await.expect(204);
    let began = Stopwatch::start();
    raw.read_to_end().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    upstream.wait_for_connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_socket_ends_within_a_second_of_the_loss_of_its_rule() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let mut guarded = open(from_here(&ann, "/editors")).await;
    let mut plain = open(from_here(&ann, "/ws")).await;
    assert!(echoes(&mut guarded, "a").await && echoes(&mut plain, "b").await);
    gateway.revoke("ann", "editor").await;
    let took = time_to_end(&mut guarded).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(echoes(&mut plain, "the session is another matter").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_socket_ends_with_the_end_of_a_grant_and_of_a_lifetime() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let until = gateway.clock.now().after(Duration::from_hours(1));
    gateway.grant("ann", "editor", Some(until)).await;
    let mut guarded = open(from_here(&ann, "/editors")).await;
    let mut plain = open(from_here(&ann, "/ws")).await;
    assert!(echoes(&mut guarded, "a").await && echoes(&mut plain, "b").await);
    gateway.advance(Duration::from_secs(3601));
    let took = time_to_end(&mut guarded).await;
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    assert!(echoes(&mut plain, "in use").await);
    gateway.advance(Duration::from_hours(12));
    let took = time_to_end(&mut plain).await;
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_ends_within_a_second_of_its_session() {
    let (upstream, gateway) = start().await;
    upstream.at("/events", |exchange| upstream::event_stream(exchange, Duration::from_millis(50)));
    let ann = gateway.person("ann").sign_in().await;
    let mut raw = ann.get("/events").open().await;
    assert_eq!(raw.head().await.status, 200);
    raw.read_until("data: 3").await;
    ann.post("/auth/cookie/logout").send().await.expect(204);
    let began = Stopwatch::start();
    let rest = raw.read_to_end().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!rest.ends_with(b"0\r\n\r\n"), "cut, not ended as if it were whole");
    upstream.wait_for_connections(0).await;
}

/// The upstream is always ahead of this reader, so the gateway never has to wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_pauses_ends_within_a_second_of_its_session() {
    let (upstream, gateway) = start().await;
    upstream.at("/large", |exchange| upstream::download(exchange, 8 << 30));
    let ann = gateway.person("ann").sign_in().await;
    let mut raw = ann.get("/large").open().await;
    assert_eq!(raw.head().await.status, 200);
    let reader = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(4));
        while raw.discard(64 * 1024).await == 64 * 1024 {
            pace.tick().await;
        }
    });
    ann.post("/auth/cookie/logout").send().await.expect(204);
    let began = Stopwatch::start();
    upstream.wait_for_connections(0).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    reader.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_socket_is_closed_by_the_upstreams_idle_timeout() {
    let (_upstream, gateway) = start().await;
    let mut socket = open(handshake(&gateway.client(), "/public")).await;
    assert!(echoes(&mut socket, "a").await);
    gateway.pass(Duration::from_secs(299)).await;
    assert!(echoes(&mut socket, "b").await);
    gateway.pass(Duration::from_secs(301)).await;
    let took = time_to_end(&mut socket).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

async fn events(client: &Client, path: &str) -> Raw {
    let mut raw = client.get(path).open().await;
    assert_eq!(raw.head().await.status, 200, "{path}");
    raw.read_until("data: 3").await;
    raw
}

/// Reads a stream to its end, which must come within a second and look like no end.
async fn is_cut(raw: &mut Raw, why: &str) {
    let began = Stopwatch::start();
    let rest = tokio::time::timeout(Duration::from_secs(5), raw.read_to_end()).await;
    let rest = rest.unwrap_or_else(|_| panic!("{why}: the stream goes on"));
    assert!(began.elapsed() < Duration::from_secs(1), "{why}: {:?}", began.elapsed());
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{why}: cut, not ended as if it were whole");
}

/// Answers event streams at three addresses.
async fn start_with_events() -> (Upstream, Gateway) {
    let (upstream, gateway) = start().await;
    for path in ["/events", "/editors/events", "/lan/events"] {
        let every = Duration::from_millis(50);
        upstream.at(path, move |exchange| upstream::event_stream(exchange, every));
    }
    (upstream, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_ends_within_a_second_of_the_loss_of_its_rule() {
    let (_upstream, gateway) = start_with_events().await;
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let mut plain = events(&ann, "/events").await;
    let mut guarded = events(&ann, "/editors/events").await;
    gateway.revoke("ann", "editor").await;
    is_cut(&mut guarded, "the role was taken").await;
    plain.read_until("data: 9").await;

    gateway.grant("ann", "editor", None).await;
    gateway.wait_for(&ann, "/editors/x", 200).await;
    let mut guarded = events(&ann, "/editors/events").await;
    let rule = "\"/editors/events\", upstream: app, allow: { roles: [editor] }";
    gateway.reload(rule, &rule.replace("editor]", "admin]"));
    is_cut(&mut guarded, "the rule asks for another role").await;
    plain.read_until("data: 20").await;
    gateway.reload("  - { path: \"/**\", upstream: app, allow: authenticated }\n", "");
    is_cut(&mut plain, "the route is gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_address_was_allowed_ends_within_a_second_of_the_loss_of_its_rule() {
    let (_upstream, gateway) = start_with_events().await;
    let nobody = gateway.client();
    let mut socket = open(from_here(&nobody, "/lan")).await;
    let mut stream = events(&nobody, "/lan/events").await;
    let mut public = open(handshake(&nobody, "/public")).await;
    assert!(echoes(&mut socket, "a").await && echoes(&mut public, "b").await);
    // What goes on being allowed goes on.
    gateway.reload("roles: { editor:", "roles: { writer: { permissions: [] }, editor:");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(echoes(&mut socket, "still allowed").await);
    gateway.reload(", anonymous: true", "");
    is_cut(&mut stream, "addresses alone are not let in any more").await;
    let took = time_to_end(&mut socket).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(echoes(&mut public, "nobody asked who").await);
}
