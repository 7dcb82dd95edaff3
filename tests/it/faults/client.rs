//! The client closing, resetting, half-closing, stalling and not reading at every point of request and
//! answer: what was held for it, an upstream's connection above all, is let go of in time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;

use super::scripted::{End, Scripted, Step};
use crate::harness::{Gateway, PASSWORD, Stopwatch, metric, report};
use crate::raw::{Client, Raw};
use crate::upstream::Upstream;

const YAML: &str = r#"
workers: 1
upstreams:
  app: { targets: ["${APP}"], keep_alive: 1s }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/guarded", upstream: app, allow: authenticated }
"#;

/// A client that has gone is noticed, and all it held is free again, within this time.
const BOUND: Duration = Duration::from_secs(3);

/// How a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    Close,
    Reset,
    /// FIN, and it goes on reading: nobody can tell that from a client that has gone.
    HalfClose,
}

/// How far a client comes, and what the upstream does meanwhile.
struct Point {
    name: &'static str,
    /// What the client sends.
    sent: &'static str,
    /// What the upstream has read by then; nothing if it is not asked at all.
    arrives: Option<Step>,
    /// What the upstream answers.
    answer: &'static str,
}

const POINTS: [Point; 12] = [
    Point { name: "before the first byte", sent: "", arrives: None, answer: "" },
    Point { name: "in the request line", sent: "GET /x HT", arrives: None, answer: "" },
    Point { name: "in a header", sent: "GET /x HTTP/1.1\r\nHo", arrives: None, answer: "" },
    Point {
        name: "before the end of the head",
        sent: "GET /x HTTP/1.1\r\nHost: a\r\n\r",
        arrives: None,
        answer: "",
    },
    Point {
        name: "before the body",
        sent: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n",
        arrives: Some(Step::ReadHead),
        answer: "",
    },
    Point {
        name: "in the body",
        sent: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc",
        arrives: Some(Step::ReadUntil("\r\n\r\nabc")),
        answer: "",
    },
    Point {
        name: "in a chunk's size",
        sent: "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1",
        arrives: Some(Step::ReadUntil("abc\r\n")),
        answer: "",
    },
    Point {
        name: "in a chunk",
        sent: "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabc",
        arrives: Some(Step::ReadUntil("abc\r\n")),
        answer: "",
    },
    Point {
        name: "before the last chunk",
        sent: "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        arrives: Some(Step::ReadUntil("abc\r\n")),
        answer: "",
    },
    Point {
        name: "while waiting for the answer",
        sent: "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        arrives: Some(Step::ReadHead),
        answer: "",
    },
    Point {
        name: "while receiving",
        sent: "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        arrives: Some(Step::ReadHead),
        answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    },
    Point {
        name: "while receiving and sending",
        sent: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc",
        arrives: Some(Step::ReadUntil("\r\n\r\nabc")),
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc",
    },
];

impl Point {
    fn upstream(&self) -> Scripted {
        let mut steps: Vec<_> = self.arrives.clone().into_iter().collect();
        steps.push(Step::Send(self.answer.as_bytes().to_vec()));
        Scripted::start(steps, End::Listen)
    }

    /// Goes as far as this point, and waits until the other side has come there too.
    async fn reach(&self, address: SocketAddr, path: &str, upstream: &Scripted) -> Raw {
        let (mut raw, before) = (Raw::connect(address).await, upstream.played());
        raw.send(self.sent.replacen("/x", path, 1)).await;
        if self.arrives.is_some() {
            upstream.wait_for_played(before + 1).await;
        }
        if !self.answer.is_empty() {
            assert_eq!(raw.head().await.status, 200, "{}", self.name);
            let end = if self.answer.ends_with('\n') { "abc\r\n" } else { "abc" };
            raw.read_until(end).await;
        }
        raw
    }
}

/// A gateway's file with a route and an upstream for each of these.
fn yaml(upstreams: &[Scripted], healthy: &Upstream) -> String {
    let mut yaml = format!("workers: 1\nupstreams:\n  healthy: \"{}\"\n", healthy.url());
    let mut routes =
        "routes:\n  - { path: /healthy, upstream: healthy, allow: public }\n".to_owned();
    for (number, upstream) in upstreams.iter().enumerate() {
        writeln!(yaml, "  u{number}: \"http://{}\"", upstream.address).unwrap();
        let route = format!("path: /{number}, upstream: u{number}, allow: public");
        writeln!(routes, "  - {{ {route} }}").unwrap();
    }
    yaml + routes.as_str()
}

/// Waits until no client's connection is open.
async fn wait_for_no_client(management: &Client, why: &str) {
    let watch = Stopwatch::start();
    loop {
        let open = metric(management, "portcullis_open_connections").await;
        if open < 0.5 {
            return;
        }
        assert!(watch.elapsed() < BOUND, "{why}: {open} connections are open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_takes_along_what_was_held_wherever_it_leaves() {
    const TIMES: usize = 5;
    let leavings = [Leaving::Close, Leaving::Reset, Leaving::HalfClose];
    let tried: Vec<_> =
        POINTS.iter().flat_map(|point| leavings.map(|leaving| (point, leaving))).collect();
    let upstreams: Vec<_> = tried.iter().map(|(point, _)| point.upstream()).collect();
    let healthy = Upstream::start();
    let process = Gateway::builder(&yaml(&upstreams, &healthy)).spawn().await;
    let management = Client::new(process.management);
    process.client().get("/healthy").send().await.expect(200);
    wait_for_no_client(&management, "warm").await;
    let before = process.descriptors();
    for _ in 0..TIMES {
        let tried = tried.iter().zip(&upstreams).enumerate();
        join_all(tried.map(|(number, ((point, leaving), upstream))| {
            let address = process.address;
            async move {
                let why = format!("{leaving:?} {}", point.name);
                let raw = point.reach(address, &format!("/{number}"), upstream).await;
                let mut stream = raw.into_stream();
                match leaving {
                    Leaving::Close => drop(stream),
                    Leaving::Reset => {
                        stream.set_zero_linger().unwrap();
                        drop(stream);
                    }
                    Leaving::HalfClose => {
                        use tokio::io::AsyncWriteExt as _;
                        stream.shutdown().await.unwrap();
                        let mut raw = Raw::from_stream(stream);
                        let said = tokio::time::timeout(BOUND, raw.read_to_end()).await;
                        let said = said.unwrap_or_else(|_| panic!("{why}: it is kept"));
                        let said = String::from_utf8_lossy(&said).into_owned();
                        let is_error = said.starts_with("HTTP/1.1 400 ");
                        assert!(said.is_empty() || is_error, "{why}: {said}");
                    }
                }
                assert!(upstream.is_left_within(BOUND).await, "{why}: its upstream is held");
                let is_asked = upstream.accepted() > 0;
                assert_eq!(is_asked, point.arrives.is_some(), "{why}");
            }
        }))
        .await;
    }
    wait_for_no_client(&management, "left").await;
    let watch = Stopwatch::start();
    // The database may have been given another connection or two meanwhile; what is held at one point of
    // these is held as often as that point was tried.
    while process.descriptors() > before + 2 {
        assert!(watch.elapsed() < BOUND, "{} descriptors, {before} before", process.descriptors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.client().get("/healthy").send().await.expect(200);
    report(&format!("{} clients left at {} points", TIMES * tried.len(), POINTS.len()));
}

/// The deadline of whoever stops at a point, and the status it is told, if any.
fn deadline(point: &Point) -> Option<(u64, Option<u16>)> {
    let is_upload = point.sent.starts_with("POST");
    match (point.arrives.is_some(), is_upload, point.answer.is_empty()) {
        (false, _, _) => Some((10, None)),
        (true, true, true) => Some((30, Some(408))),
        // Once an answer has begun, no status can be told any more.
        (true, true, false) => Some((30, None)),
        // It waits for the upstream, which has deadlines of its own.
        (true, false, _) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_is_given_up_in_time_wherever_it_stops() {
    let points: Vec<_> =
        POINTS.iter().filter_map(|point| Some((point, deadline(point)?))).collect();
    let upstreams: Vec<_> = points.iter().map(|(point, _)| point.upstream()).collect();
    let healthy = Upstream::start();
    let gateway = Gateway::builder(&yaml(&upstreams, &healthy)).start().await;
    for seconds in [10, 30] {
        let mut stopped = Vec::new();
        for (number, (point, (limit, status))) in points.iter().enumerate() {
            if *limit == seconds {
                let path = format!("/{number}");
                let raw = point.reach(gateway.address, &path, &upstreams[number]).await;
                stopped.push((point, &upstreams[number], status, raw));
            }
        }
        gateway.pass(Duration::from_secs(seconds - 1)).await;
        for (point, _, _, raw) in &mut stopped {
            assert!(raw.is_silent_for(Duration::from_millis(20)).await, "{}: early", point.name);
        }
        gateway.pass(Duration::from_secs(2)).await;
        for (point, upstream, status, raw) in &mut stopped {
            if let Some(status) = status {
                let answer = raw.response("POST").await;
                assert_eq!(answer.status, *status, "{}: {}", point.name, answer.text());
                assert_eq!(answer.header("connection"), Some("close"), "{}", point.name);
                assert!(answer.json()["request_id"].is_string(), "{}", point.name);
            }
            assert!(raw.is_closed_within(BOUND).await, "{}: it is kept", point.name);
            assert!(upstream.is_left_within(BOUND).await, "{}: upstream held", point.name);
        }
    }
    wait_for_no_client(&gateway.management(), "stopped").await;
    gateway.client().get("/healthy").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_the_middle_of_a_form_holds_nothing() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    gateway.person("ann").create().await;
    let form = format!("username=ann%40example.com&password={}", PASSWORD.replace(' ', "+"));
    for path in ["/auth/cookie/login", "/auth/jwt/login", "/auth/login"] {
        for is_reset in [false, true] {
            let call = gateway.client().post(path);
            let call = call.body("application/x-www-form-urlencoded", form.clone()).bytes();
            let mut raw = Raw::connect(gateway.address).await;
            raw.send(&call[..call.len() - 5]).await;
            let stream = raw.into_stream();
            if is_reset {
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
        }
    }
    wait_for_no_client(&gateway.management(), "forms").await;
    gateway.sign_in("ann").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_body_is_400_and_ends_the_connection() {
    let chunked = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    for wrong in ["xyz\r\n", "-1\r\n", "\r\n", "fffffffffffffffff\r\n", "3\r\nabcdef\r\n0\r\n\r\n"]
    {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(chunked).await;
        upstream.wait_for(|seen| seen.body == b"abc" && !seen.complete).await;
        raw.send(wrong).await;
        let answer = raw.response("POST").await;
        assert_eq!(answer.status, 400, "{wrong:?}: {}", answer.text());
        assert!(raw.is_closed_within(BOUND).await, "{wrong:?}");
        upstream.wait_for_connections(0).await;
    }
    wait_for_no_client(&gateway.management(), "wrong").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_is_answered_and_not_read_to_its_end() {
    const LENGTH: usize = 1024 * 1024 * 1024;
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (path, status) in [
        ("/guarded", 401),
        ("/auth/cookie/login", 413),
        ("/auth/jwt/login", 413),
        ("/auth/login", 413),
        ("/auth/nothing/here", 404),
    ] {
        for is_chunked in [false, true] {
            let why = format!("{path}, chunked: {is_chunked}");
            let (framing, before) = if is_chunked {
                ("Transfer-Encoding: chunked".to_owned(), format!("{LENGTH:x}\r\n"))
            } else {
                (format!("Content-Length: {LENGTH}"), String::new())
            };
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: a\r\n{form}{framing}\r\n\r\n{before}");
            let mut raw = Raw::connect(gateway.address).await;
            raw.send(head).await;
            // Who sends all before reading still finds the answer.
            let (piece, watch) = (vec![b'u'; 64 * 1024], Stopwatch::start());
            let mut sent = 0;
            while raw.try_send(&piece).await.is_ok() {
                sent += piece.len();
                assert!(sent < LENGTH, "{why}: all of it was read");
            }
            assert!(watch.elapsed() < BOUND, "{why}: {:?}", watch.elapsed());
            assert_eq!(raw.head().await.status, status, "{why}, {sent} sent");
        }
    }
    assert_eq!(upstream.count(), 0);
    wait_for_no_client(&gateway.management(), "unwanted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_holds_nothing_for_ever() {
    let flood = |head: &str| {
        let chunk = format!("10000\r\n{}\r\n", "d".repeat(65_536));
        let head = Step::Send(head.as_bytes().to_vec());
        let flood = Step::Flood(chunk.into_bytes(), Duration::ZERO);
        Scripted::start(vec![Step::ReadHead, head, flood], End::Close)
    };
    let upstreams = [
        flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        flood("HTTP/1.1 200 OK\r\n\r\n"),
    ];
    let healthy = Upstream::start();
    let gateway = Gateway::builder(&yaml(&upstreams, &healthy)).start().await;
    let mut deaf = Vec::new();
    for number in 0..upstreams.len() {
        let mut raw = gateway.client().get(&format!("/{number}")).open().await;
        assert_eq!(raw.head().await.status, 200);
        deaf.push(raw);
    }
    // The sockets' buffers fill within this time; then no byte is taken any more.
    tokio::time::sleep(Duration::from_millis(700)).await;
    gateway.pass(Duration::from_secs(58)).await;
    for upstream in &upstreams {
        assert!(!upstream.is_left_within(Duration::from_millis(50)).await, "60 s are not over");
    }
    gateway.pass(Duration::from_secs(3)).await;
    for upstream in &upstreams {
        assert!(upstream.is_left_within(BOUND).await, "its upstream is held");
    }
    wait_for_no_client(&gateway.management(), "deaf").await;
    gateway.client().get("/healthy").send().await.expect(200);
}
