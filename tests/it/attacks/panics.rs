//! A handler that panics, in a gateway that serves: its request fails and nothing else does.
//!
//! What panics is the log: the library reports an upstream's failure and a database's through
//! `tracing`, and whoever embeds it chooses what listens. The listener here panics when the text it was
//! told to wait for comes by, which is in the middle of a request's way.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::harness::{Gateway, Stopwatch};
use crate::raw::{Call, PATIENCE, Raw};
use crate::upstream::{self, Upstream};

/// The upstream whose failures the listener does not survive.
const MINE: &str = "the-straw";

struct Camel;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {value:?}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Camel {
    fn enabled(&self, event: &tracing::Metadata<'_>, _context: Context<'_, S>) -> bool {
        *event.level() <= Level::WARN
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        assert!(!text.0.contains(MINE), "the listener is at fault:{}", text.0);
    }
}

/// The listener stands for the whole process: no other test has an upstream of that name.
fn listen() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let subscriber = tracing_subscriber::registry().with(Camel);
        tracing::subscriber::set_global_default(subscriber).expect("something listens already");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn dos_26_a_handler_that_panics_fails_its_own_request_and_nothing_else() {
    listen();
    let upstream = Upstream::start();
    let yaml = format!(
        r#"
workers: 1
upstreams: {{ app: "${{APP}}", {MINE}: "http://127.0.0.1:1", other: "http://127.0.0.1:1" }}
routes:
  - {{ path: "/**", upstream: app, allow: authenticated }}
  - {{ path: "/gone", upstream: {MINE}, allow: public }}
  - {{ path: "/gone/in", upstream: {MINE}, allow: authenticated }}
  - {{ path: "/lost", upstream: other, allow: public }}
"#
    );
    let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").sign_in().await;
    let panics = async || gateway.metric("portcullis_panics_total").await;
    let is = |count: f64, number: u32| (count - f64::from(number)).abs() < 0.5;
    assert!(is(panics().await, 0));
    gateway.client().get("/lost").send().await.expect(502);
    assert!(is(panics().await, 0), "a failure that is told is no panic");

    // A stream that is under way on the only worker outlives every panic beside it.
    upstream.at("/events", |exchange| upstream::event_stream(exchange, Duration::from_millis(20)));
    let mut stream = ann.get("/events").open().await;
    assert_eq!(stream.head().await.status, 200);
    let mut raw = Raw::connect(gateway.address).await;
    let mut expected = 0;
    for target in ["/gone", "/gone/in"] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            expected += 1;
            let call = ann.call(method, target).body("text/plain", "x".repeat(100));
            raw.send(call.bytes()).await;
            let answer = raw.response(method).await.expect(500);
            assert!(answer.header("x-request-id").is_some());
            let text = answer.text();
            assert!(!text.contains("listener") && !text.contains(MINE), "nothing is told: {text}");
            if answer.header("connection").is_some_and(|value| value.contains("close")) {
                raw = Raw::connect(gateway.address).await;
            }
            assert!(is(panics().await, expected), "{method} {target}");
            ann.get("/x").send().await.expect(200);
            ann.get("/auth/session").send().await.expect(200);
            gateway.client().get("/lost").send().await.expect(502);
        }
    }
    // Many at once, on connections that are gone before the answer.
    for _ in 0..50 {
        drop(ann.get("/gone").open().await);
    }
    let calls: Vec<_> = (0..50).map(|_| ann.get("/gone")).collect();
    for answer in futures_util::future::join_all(calls.iter().map(Call::send)).await {
        answer.expect(500);
    }
    stream.read_until("data: 30").await;
    // No connection, permit or lock is left behind: it signs people in and out, reloads and serves.
    gateway.person("bob").sign_in().await.get("/x").send().await.expect(200);
    gateway.reload("path: \"/lost\"", "path: \"/lost/again\"");
    gateway.client().get("/lost/again").send().await.expect(502);
    ann.post("/auth/cookie/logout").send().await.expect(204);
    gateway.wait_for(&ann, "/x", 401).await;
    // The worker keeps eight connections at most; the stream's ended with her session.
    let watch = Stopwatch::start();
    while upstream.connections() > 8 {
        assert!(watch.elapsed() < PATIENCE, "{} connections", upstream.connections());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
