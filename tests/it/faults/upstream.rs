//! The upstream closing, resetting, stalling and lying at every point of request and answer.
//!
//! Whatever it does, the caller hears of it within the timeouts of the file: 502 or 504 before the head
//! of the answer, a body that is visibly cut after it. The connection is left, and the gateway serves
//! on.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;

use super::scripted::{End, Scripted, Step};
use crate::harness::{Gateway, Stopwatch, free_port};
use crate::raw::{Raw, Response};
use crate::upstream::{self, Exchange, Upstream};

/// `connect_timeout`, `response_timeout` and `idle_timeout` alike, see [`start`].
const TIMEOUT: Duration = Duration::from_secs(1);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(2_500);

/// A request to be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    method: &'static str,
    framing: &'static str,
    body: &'static str,
}

const GET: Asked = Asked { method: "GET", framing: "", body: "" };
const HEAD: Asked = Asked { method: "HEAD", framing: "", body: "" };
const DELETE: Asked = Asked { method: "DELETE", framing: "", body: "" };
const EMPTY_POST: Asked = Asked { method: "POST", framing: "Content-Length: 0\r\n", body: "" };
const POST: Asked = Asked { method: "POST", framing: "Content-Length: 6\r\n", body: "abcdef" };
const PUT: Asked = Asked {
    method: "PUT",
    framing: "Transfer-Encoding: chunked\r\n",
    body: "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
};
const ALL: [Asked; 6] = [GET, HEAD, DELETE, EMPTY_POST, POST, PUT];

impl Asked {
    fn may_be_repeated(self) -> bool {
        self.body.is_empty() && self.method != "POST"
    }

    /// Reads all of it at the upstream.
    fn read(self) -> Vec<Step> {
        let mut steps = vec![Step::ReadHead];
        match self.framing.chars().next() {
            Some('T') => steps.push(Step::ReadUntil("0\r\n\r\n")),
            _ => steps.push(Step::Read(self.body.len())),
        }
        steps
    }
}

/// What the caller must get.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// An error of the gateway's own.
    Error(u16),
    /// The head, this much of the body, and then an end that is visibly none.
    Cut(&'static str),
    /// A whole answer.
    Whole(u16, &'static str),
}

struct Case {
    name: String,
    asked: Asked,
    steps: Vec<Step>,
    end: End,
    outcome: Outcome,
    /// How often the upstream is tried.
    tries: RangeInclusive<usize>,
    /// Whether it takes until a timeout.
    waits: bool,
}

impl Case {
    fn new(name: &str, asked: Asked, answer: &[&str], end: End, outcome: Outcome) -> Self {
        let mut steps = asked.read();
        steps.extend(answer.iter().map(|part| Step::Send(part.as_bytes().to_vec())));
        let name = format!("{name}, {} {end:?}", asked.method);
        Self { name, asked, steps, end, outcome, tries: 1..=1, waits: false }
    }

    fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }
}

/// Starts a gateway with a route and an upstream for each case, at `/0`, `/1`, ….
async fn start(addresses: &[String]) -> (Upstream, Gateway) {
    let healthy = Upstream::start();
    let timeouts = "connect_timeout: 1s, response_timeout: 1s, idle_timeout: 1s";
    let mut yaml = format!("workers: 1\nupstreams:\n  healthy: \"{}\"\n", healthy.url());
    for (number, address) in addresses.iter().enumerate() {
        writeln!(yaml, "  u{number}: {{ targets: [\"http://{address}\"], {timeouts} }}").unwrap();
    }
    yaml.push_str("routes:\n  - { path: /healthy, upstream: healthy, allow: public }\n");
    for number in 0..addresses.len() {
        writeln!(yaml, "  - {{ path: /{number}, upstream: u{number}, allow: public }}").unwrap();
    }
    (healthy, Gateway::builder(&yaml).start().await)
}

async fn send(gateway: &Gateway, number: usize, asked: Asked) -> Raw {
    let mut raw = Raw::connect(gateway.address).await;
    let Asked { method, framing, body } = asked;
    raw.send(format!("{method} /{number} HTTP/1.1\r\nHost: a\r\n{framing}\r\n{body}")).await;
    raw
}

/// An error of the gateway's own says whose request it was.
fn check_error(case: &Case, answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}: {}", case.name, answer.text());
    let id = answer.header("x-request-id").unwrap_or_default().to_owned();
    assert_eq!(id.len(), 32, "{}: {id}", case.name);
    if case.asked.method != "HEAD" {
        assert_eq!(answer.json()["request_id"], id.as_str(), "{}", case.name);
    }
}

async fn check_answer(case: &Case, raw: &mut Raw) {
    let method = case.asked.method;
    match &case.outcome {
        Outcome::Error(status) => check_error(case, &raw.response(method).await, *status),
        Outcome::Whole(status, body) => {
            let answer = raw.response(method).await;
            assert_eq!((answer.status, &*answer.text()), (*status, *body), "{}", case.name);
        }
        Outcome::Cut(body) => {
            let head = raw.head().await;
            assert_eq!(head.status, 200, "{}", case.name);
            let rest = raw.read_to_end().await;
            let rest = String::from_utf8_lossy(&rest).into_owned();
            if let Some(length) = head.header("content-length") {
                assert_eq!(rest, *body, "{}", case.name);
                assert!(rest.len() < length.parse().unwrap(), "{}", case.name);
            } else {
                let is_chunked = head.header("transfer-encoding") == Some("chunked");
                assert!(is_chunked, "{}: its end could not be seen", case.name);
                let data = rest.split("\r\n").skip(1).step_by(2).collect::<String>();
                assert_eq!(data, *body, "{}: {rest:?}", case.name);
                assert!(!rest.ends_with("0\r\n\r\n"), "{}: {rest:?}", case.name);
            }
        }
    }
}

/// Tries every case at once.
async fn try_all(cases: Vec<Case>) {
    let upstreams: Vec<_> =
        cases.iter().map(|case| Scripted::start(case.steps.clone(), case.end)).collect();
    let addresses: Vec<_> = upstreams.iter().map(|one| one.address.to_string()).collect();
    let (_healthy, gateway) = start(&addresses).await;
    let gateway = &gateway;
    let tried = cases.iter().zip(&upstreams).enumerate();
    join_all(tried.map(|(number, (case, upstream))| async move {
        let watch = Stopwatch::start();
        let mut raw = send(gateway, number, case.asked).await;
        check_answer(case, &mut raw).await;
        let took = watch.elapsed();
        let least = if case.waits { TIMEOUT } else { Duration::ZERO };
        assert!(took >= least && took < TIMEOUT + SLACK, "{}: {took:?}", case.name);
        let count = upstream.accepted();
        assert!(case.tries.contains(&count), "{}: {count} tries", case.name);
        if !matches!(case.outcome, Outcome::Whole(..)) {
            assert!(upstream.is_left_within(SLACK).await, "{}: the connection is kept", case.name);
        }
    }))
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    gateway.client().get("/healthy").send_on(&mut raw).await.expect(200);
    drop(raw);
    let watch = Stopwatch::start();
    while gateway.metric("portcullis_open_connections").await > 0.5 {
        assert!(watch.elapsed() < SLACK, "clients' connections stay open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_ends_before_the_head_of_its_answer_is_502_and_one_that_stalls_504() {
    let mut cases = Vec::new();
    for asked in ALL {
        let whole = asked.read();
        let mut points: Vec<(&str, Vec<Step>, bool)> = vec![
            ("accepted", Vec::new(), false),
            ("in the head", vec![Step::Read(10)], false),
            ("after the head", vec![Step::ReadHead], false),
            ("after the request", whole.clone(), false),
        ];
        if !asked.body.is_empty() {
            points.push(("in the body", vec![Step::ReadHead, Step::Read(4)], false));
        }
        for (point, answer) in [
            ("in the status line", "HTTP/1.1 2"),
            ("after the status line", "HTTP/1.1 200 OK\r\n"),
            ("in a header", "HTTP/1.1 200 OK\r\nContent-Le"),
            ("after a header", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
            ("in the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r"),
            ("after an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ] {
            let mut steps = whole.clone();
            steps.push(Step::Send(answer.as_bytes().to_vec()));
            points.push((point, steps, true));
        }
        for (point, steps, has_answered) in points {
            for end in [End::Close, End::Reset, End::Stall] {
                let is_repeated = end != End::Stall && !has_answered && asked.may_be_repeated();
                cases.push(Case {
                    name: format!("{point}, {} {end:?}", asked.method),
                    asked,
                    steps: steps.clone(),
                    end,
                    outcome: Outcome::Error(if end == End::Stall { 504 } else { 502 }),
                    tries: match (is_repeated, point) {
                        // A reset may come before the connection is had at all.
                        (true, "accepted") if end == End::Reset => 1..=2,
                        (true, _) => 2..=2,
                        (false, _) => 1..=1,
                    },
                    waits: end == End::Stall,
                });
            }
        }
    }
    try_all(cases).await;
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_cut_and_never_looks_whole() {
    let points = [
        ("before the body", LENGTH, "", ""),
        ("in the body", LENGTH, "hel", "hel"),
        ("before the first chunk", CHUNKED, "", ""),
        ("in a chunk's size", CHUNKED, "3\r\nhel\r\n1", "hel"),
        ("in the end of a size", CHUNKED, "3\r\nhel\r\n1\r", "hel"),
        ("in a chunk", CHUNKED, "3\r\nhel\r\n5\r\nlo", "hello"),
        ("before the end of a chunk", CHUNKED, "3\r\nhel", "hel"),
        ("in the end of a chunk", CHUNKED, "3\r\nhel\r", "hel"),
        ("before the last chunk", CHUNKED, "3\r\nhel\r\n", "hel"),
        ("in the last chunk", CHUNKED, "3\r\nhel\r\n0\r\n", "hel"),
        ("in a trailer", CHUNKED, "3\r\nhel\r\n0\r\nX: y", "hel"),
        ("in a body that ends with the connection", OPEN, "hel", "hel"),
    ];
    let mut cases = Vec::new();
    for (point, head, sent, seen) in points {
        for asked in [GET, POST, PUT] {
            for end in [End::Close, End::Reset, End::Stall] {
                // Such a body has ended when its connection is closed in order.
                let is_end = head == OPEN && end == End::Close;
                let outcome = if is_end { Outcome::Whole(200, seen) } else { Outcome::Cut(seen) };
                // Apart, so that the head has gone on before the fault.
                let mut case = Case::new(point, asked, &[head], end, outcome);
                case.steps.push(Step::Send(sent.as_bytes().to_vec()));
                cases.push(if end == End::Stall { case.waiting() } else { case });
            }
        }
        for end in [End::Close, End::Reset, End::Stall] {
            cases.push(Case::new(point, HEAD, &[head], end, Outcome::Whole(200, "")));
        }
    }
    try_all(cases).await;
}

/// Heads that are none. All of them end as 502.
fn false_heads() -> Vec<String> {
    let mut heads: Vec<String> = [
        "<html>an answer of 1991</html>",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 1000 High\r\n\r\n",
        "HTTP/1.1200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\na",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "\0\0\0\0\0\0\0\0",
    ]
    .map(str::to_owned)
    .into();
    heads.push(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200 * 1024)));
    heads.push(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200)));
    heads
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_502_or_visibly_cut() {
    let mut cases = Vec::new();
    for head in false_heads() {
        for asked in [GET, POST] {
            let name = head.chars().take(60).collect::<String>();
            cases.push(Case::new(&name, asked, &[&head], End::Listen, Outcome::Error(502)));
        }
    }
    let chunks = [
        ("xyz\r\nhello\r\n0\r\n\r\n", ""),
        ("-1\r\nhello\r\n0\r\n\r\n", ""),
        ("fffffffffffffffff\r\nhello\r\n0\r\n\r\n", ""),
        ("\r\nhello\r\n0\r\n\r\n", ""),
        ("3\r\nhello\r\n0\r\n\r\n", "hel"),
        ("3\r\nhel0\r\n\r\n", "hel"),
        ("3\r\nhel\r\n0\r\nno trailer\r\n\r\n", "hel"),
    ];
    for (sent, seen) in chunks {
        let case = Case::new(sent, GET, &[CHUNKED, sent], End::Listen, Outcome::Cut(seen));
        cases.push(case);
    }
    let whole = Outcome::Whole(200, "hello");
    for (name, asked, answer, outcome) in [
        ("shorter than it is", GET, format!("{LENGTH}hello, and more"), whole.clone()),
        ("a second answer", GET, format!("{LENGTH}hello{LENGTH}again"), whole.clone()),
        ("an interim answer", GET, format!("HTTP/1.1 100 Continue\r\n\r\n{LENGTH}hello"), whole),
        ("a body on HEAD", HEAD, format!("{LENGTH}hello"), Outcome::Whole(200, "")),
        (
            "a body on 204",
            GET,
            "HTTP/1.1 204 No Content\r\n\r\nhello".to_owned(),
            Outcome::Whole(204, ""),
        ),
        (
            "a body on 304",
            GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            Outcome::Whole(304, ""),
        ),
    ] {
        cases.push(Case::new(name, asked, &[&answer], End::Listen, outcome));
    }
    let longer = Case::new("longer", GET, &[LENGTH, "hel"], End::Listen, Outcome::Cut("hel"));
    cases.push(longer.waiting());
    try_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_ends_in_time() {
    let never = Duration::ZERO;
    let often = Duration::from_millis(20);
    let flood = |head: &str, what: &str, pause: Duration, outcome: Outcome, waits: bool| {
        let name = format!("{head:?} and {what:?} every {pause:?}");
        let mut case = Case::new(&name, GET, &[head], End::Close, outcome);
        let (what, count) = (what.as_bytes(), if pause.is_zero() { 20_000 } else { 1 });
        case.steps.push(Step::Flood(what.repeat(count), pause));
        Case { waits, ..case }
    };
    let status = "HTTP/1.1 200 OK\r\n";
    try_all(vec![
        flood(status, "X: y\r\n", never, Outcome::Error(502), false),
        flood(status, "X: y\r\n", often, Outcome::Error(504), true),
        flood(status, "x", never, Outcome::Error(502), false),
        flood(status, "x", often, Outcome::Error(504), true),
        flood("", "HTTP/1.1 103 Early Hints\r\n\r\n", often, Outcome::Error(504), true),
        flood("", "HTTP/1.1 103 Early Hints\r\n\r\n", never, Outcome::Error(502), false),
        flood("", "HTTP/1.1 100 Continue\r\n\r\n", never, Outcome::Error(502), false),
        flood("", "\r\n", never, Outcome::Error(502), false),
        flood(CHUNKED, "0", often, Outcome::Cut(""), true),
        flood(CHUNKED, "1;x", never, Outcome::Cut(""), false),
        flood(&format!("{CHUNKED}0\r\n"), "X: y\r\n", never, Outcome::Cut(""), false),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_upload_reaches_the_caller() {
    let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch";
    let ends = [End::Listen, End::ListenLate, End::HalfClose, End::Close, End::Reset];
    let upstreams = ends.map(|end| {
        let steps = vec![Step::ReadHead, Step::Send(answer.as_bytes().to_vec())];
        Scripted::start(steps, end)
    });
    let addresses = upstreams.each_ref().map(|one| one.address.to_string());
    let (_healthy, gateway) = start(&addresses).await;
    let gateway = &gateway;
    let tried = ends.into_iter().zip(&upstreams).enumerate();
    join_all(tried.map(|(number, (end, upstream))| async move {
        const UPLOAD: usize = 64 * 1024 * 1024;
        let watch = Stopwatch::start();
        let mut raw = Raw::connect(gateway.address).await;
        let length = format!("Content-Length: {UPLOAD}\r\n");
        raw.send(format!("POST /{number} HTTP/1.1\r\nHost: a\r\n{length}\r\n")).await;
        raw.send(vec![b'u'; 256 * 1024]).await;
        let status = raw.response("POST").await.status;
        assert!(watch.elapsed() < TIMEOUT + SLACK, "{end:?}: {:?}", watch.elapsed());
        // A reset may overtake the answer.
        let is_lost = matches!(end, End::Close | End::Reset) && status == 502;
        assert!(status == 413 || is_lost, "{end:?}: {status}");
        assert_eq!(upstream.accepted(), 1, "{end:?}");
        // Who goes on sending comes to an end, and so does the connection to the upstream.
        let piece = vec![b'u'; 256 * 1024];
        for _ in 0..UPLOAD / piece.len() {
            if raw.try_send(&piece).await.is_err() {
                break;
            }
        }
        assert!(watch.elapsed() < 2 * TIMEOUT + 2 * SLACK, "{end:?}: {:?}", watch.elapsed());
        drop(raw);
        // One that has read everything is as good as new.
        let is_left = upstream.is_left_within(SLACK).await;
        assert!(is_left || end == End::Listen, "{end:?}: the connection is kept");
    }))
    .await;
    gateway.client().get("/healthy").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_connected_to_is_502_or_504_in_time() {
    let refused = format!("127.0.0.1:{}", free_port());
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    // The queue holds one more than it was asked for; whoever comes next hears nothing.
    let mut waiting = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
    {
        waiting.push(stream);
        assert!(waiting.len() < 8, "the queue has no end");
    }
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [
        refused,
        address.to_string(),
        deaf.local_addr().unwrap().to_string(),
        "nowhere.invalid:80".to_owned(),
    ];
    let (_healthy, gateway) = start(&addresses).await;
    let expected = [
        ("refused", 502, 502),
        ("full", 504, 504),
        ("deaf", 504, 504),
        // Whoever is asked for the name may take its time.
        ("unknown name", 502, 504),
    ];
    let asking = [GET, POST].map(|asked| expected.map(|expected| (asked, expected)));
    let asking = asking.into_iter().flat_map(|each| each.into_iter().enumerate());
    let gateway = &gateway;
    join_all(asking.map(|(number, (asked, (name, one, other)))| async move {
        let watch = Stopwatch::start();
        let answer = send(gateway, number, asked).await.response(asked.method).await;
        let took = watch.elapsed();
        assert!(answer.status == one || answer.status == other, "{name}: {}", answer.status);
        assert_eq!(answer.json()["request_id"].as_str().unwrap().len(), 32, "{name}");
        let least = if answer.status == 504 { TIMEOUT } else { Duration::ZERO };
        assert!(took >= least && took < TIMEOUT + SLACK, "{name}: {took:?}");
    }))
    .await;
    let failed = |number: usize, kind: &str| {
        format!("portcullis_upstream_errors_total{{route=\"/{number}\",kind=\"{kind}\"}}")
    };
    let (connect, timeout) = (failed(0, "connect"), failed(2, "timeout"));
    assert!((gateway.metric(&connect).await - 2.0).abs() < 0.5);
    assert!((gateway.metric(&timeout).await - 2.0).abs() < 0.5);
    gateway.client().get("/healthy").send().await.expect(200);
}

/// What is done with a request on a kept connection.
type Fault = fn(Exchange) -> Option<Exchange>;

/// Answers the first request of a connection, and does something else with the second unless the
/// connection is a later one.
fn second_time(upstream: &Upstream, path: &str, fault: Fault) {
    upstream.at(path, move |mut exchange| async move {
        if exchange.seen.connection == 0 {
            exchange.read_body().await;
            return fault(exchange);
        }
        upstream::echo(exchange).await
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_kept_connection_that_dies_is_repeated_once_if_that_does_no_harm() {
    let requests = [
        ("GET", "", true),
        ("HEAD", "", true),
        ("OPTIONS", "", true),
        ("PUT", "Content-Length: 0\r\n", true),
        ("DELETE", "", true),
        ("POST", "Content-Length: 0\r\n", false),
        ("PATCH", "Content-Length: 0\r\n", false),
        ("PUT", "Content-Length: 1\r\n", false),
        ("DELETE", "Content-Length: 1\r\n", false),
    ];
    let faults: [(&str, Fault); 2] = [
        ("closed", |_| None),
        ("reset", |exchange| {
            exchange.reset();
            None
        }),
    ];
    let tried = requests.into_iter().flat_map(|asked| faults.map(|fault| (asked, fault)));
    join_all(tried.map(|((method, framing, is_repeated), (name, fault))| async move {
        let (upstream, gateway) = {
            let upstream = Upstream::start();
            let yaml = "workers: 1\nupstreams: { app: \"${APP}\" }\n\
                 routes: [{ path: \"/**\", upstream: app, allow: public }]";
            let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
            (upstream, gateway)
        };
        second_time(&upstream, "/again", fault);
        gateway.client().get("/x").send().await.expect(200);
        let mut raw = Raw::connect(gateway.address).await;
        let body = if framing.ends_with("1\r\n") { "b" } else { "" };
        let head = format!("{method} /again HTTP/1.1\r\nHost: a\r\n{framing}\r\n{body}");
        raw.send(head).await;
        let status = raw.response(method).await.status;
        let came = upstream.seen().iter().filter(|seen| seen.target() == "/again").count();
        let expected = if is_repeated { (200, 2) } else { (502, 1) };
        assert_eq!((status, came), expected, "{method} {framing:?} {name}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_on_a_kept_connection_while_nothing_was_asked_answers_nothing() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let lies = [
        ("an answer", poison),
        ("a timeout", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
        ("garbage", "\0\x01\x02"),
        ("an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("the beginning of an answer", "HTTP/1.1 2"),
        ("an empty line", "\r\n"),
    ];
    join_all(lies.map(|(name, bytes)| async move {
        let answer = format!("{LENGTH}hello");
        let mut steps = GET.read();
        steps.push(Step::Send(answer.into_bytes()));
        // What nobody asked for comes a moment later, until the gateway hangs up.
        steps.push(Step::Flood(bytes.as_bytes().to_vec(), Duration::from_millis(100)));
        let lying = Scripted::start(steps, End::Listen);
        let (_healthy, gateway) = start(&[lying.address.to_string()]).await;
        for round in 1..=3 {
            let text = send(&gateway, 0, GET).await.response("GET").await.expect(200).text();
            assert_eq!(text, "hello", "{name}, round {round}");
            assert!(lying.is_left_within(SLACK).await, "{name}: the connection is kept");
            assert_eq!(lying.accepted(), round, "{name}: a connection that lied was used again");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_to_be_closed_is_not_used_again_though_it_stays_open() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    let mut steps = GET.read();
    steps.push(Step::Send(answer.as_bytes().to_vec()));
    let upstream = Scripted::start(steps, End::Listen);
    let (_healthy, gateway) = start(&[upstream.address.to_string()]).await;
    for round in 1..=3 {
        let text = send(&gateway, 0, GET).await.response("GET").await.expect(200).text();
        assert_eq!((text.as_str(), upstream.accepted()), ("hello", round));
        assert!(upstream.is_left_within(SLACK).await, "the connection is kept");
    }
}
