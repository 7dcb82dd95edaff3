//! Upstreams that lie: what is no single answer is a 502, and nothing of it is ever somebody else's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use super::super::{start as start_plain, status_of};
use crate::harness::Gateway;
use crate::raw::{PATIENCE, Raw};
use crate::upstream::{Exchange, Gate, Upstream};

/// One worker, so that whoever asks next would get the connection that the last one gave back.
const YAML: &str = r#"
workers: 1
upstreams: { app: { targets: ["${APP}"], response_timeout: 2s } }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/private/**", upstream: app, allow: authenticated }
"#;

const POISON: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\npoison";

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Asks for `/lie` by a method, then has others ask for pages of their own: each must get its own.
/// Returns the answer to the first, `None` where it broke off.
async fn ask(gateway: &Gateway, method: &str, body: &str) -> Option<(u16, Vec<u8>)> {
    let mut raw = Raw::connect(gateway.address).await;
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    raw.send(format!("{method} /lie HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}")).await;
    let head = raw.try_head().await?;
    // Read to the end as far as it goes: the next ones ask at once.
    let is_bodyless = method == "HEAD" || matches!(head.status, 204 | 304);
    let text = match head.header("content-length") {
        _ if is_bodyless => Some(Vec::new()),
        Some(length) => raw.try_read_exact(length.parse().unwrap()).await,
        None => Some(raw.read_to_end().await),
    };
    others_get_their_own(gateway, &mut raw, head.header("connection") == Some("close")).await;
    text.map(|text| (head.status, text))
}

/// The same visitor, where the connection goes on, and three others.
async fn others_get_their_own(gateway: &Gateway, raw: &mut Raw, is_closed: bool) {
    let own = |page: usize| format!("GET /own/{page} HTTP/1.1");
    let others = stream::iter(0..3).map(|page| async move {
        let answer = gateway.client().get(&format!("/own/{page}")).send().await.expect(200);
        assert!(answer.text().starts_with(&own(page)), "polluted: {}", answer.text());
    });
    others.buffer_unordered(3).collect::<Vec<()>>().await;
    if is_closed {
        return;
    }
    let request = format!("{}\r\nHost: a\r\n\r\n", own(9));
    if raw.try_send(request.as_bytes()).await.is_ok()
        && let Some(answer) = raw.try_response("GET").await
    {
        assert!(answer.text().starts_with(&own(9)), "polluted: {}", answer.text());
    }
}

/// Answers `/lie` with these bytes, each piece written by itself.
fn lie_in(upstream: &Upstream, pieces: Vec<String>) {
    let pieces = Arc::new(pieces);
    upstream.at("/lie", move |mut exchange| {
        let pieces = pieces.clone();
        async move {
            exchange.read_body().await;
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                exchange.write(piece).await;
                tokio::task::yield_now().await;
            }
            Some(exchange)
        }
    });
}

/// Answers `/lie` with these bytes, in pieces or in one, before or after the body was read.
fn lie(upstream: &Upstream, answer: &str, in_pieces: bool) {
    let answer = Arc::new(answer.to_owned());
    upstream.at("/lie", move |mut exchange| {
        let answer = answer.clone();
        async move {
            exchange.read_body().await;
            tell(&mut exchange, &answer, in_pieces).await;
            Some(exchange)
        }
    });
}

async fn tell(exchange: &mut Exchange, answer: &str, in_pieces: bool) {
    if in_pieces {
        for line in answer.split_inclusive('\n') {
            exchange.write(line).await;
            tokio::task::yield_now().await;
        }
    } else {
        exchange.write(answer).await;
    }
}

/// Fields of an answer that say in two ways, or in none, where it ends.
const ODD_FRAMING: [&str; 31] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 15",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nX: y\r\ncontent-length: 0",
    "Content-Length: 5, 6",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 5x",
    "Content-Length: 0x5",
    "Content-Length:",
    "Content-Length: 99999999999999999999999",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked;x",
    "Transfer-Encoding:",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding : chunked",
    "Content-Length : 5",
    "X: a\r\n b\r\nContent-Length: 5",
    " Content-Length: 5",
    ": x\r\nContent-Length: 5",
    "X: a\0b\r\nContent-Length: 5",
    "X: a\rContent-Length: 0\r\nContent-Length: 5",
    "Content-Length\r\nContent-Length: 5",
];

/// What is no status line.
const ODD_STATUS: [&str; 17] = [
    "poison",
    "HTTP/1.1",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 -20 OK",
    "HTTP/2.0 200 OK",
    "HTTP/1.2 200 OK",
    "http/1.1 200 OK",
    "ICY 200 OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200 O\0K",
    "HTTP/1.1 0xC8 OK",
    "GET /x HTTP/1.1",
    "\u{1}",
    " HTTP/1.1 200 OK",
    "HTTP/1.1 099 OK",
];

#[tokio::test(flavor = "multi_thread")]
async fn smg_26_an_answer_whose_end_can_be_read_in_two_ways_is_a_502() {
    let (upstream, gateway) = start().await;
    for fields in ODD_FRAMING {
        for status in ["200 OK", "404 Not Found"] {
            for in_pieces in [false, true] {
                let body = format!("5\r\nhello\r\n0\r\n\r\n{POISON}");
                lie(&upstream, &format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{body}"), in_pieces);
                for method in ["GET", "POST", "HEAD"] {
                    let answer = ask(&gateway, method, "").await.map(|(status, _)| status);
                    assert_eq!(
                        answer,
                        Some(502),
                        "{method}: {status} with {fields:?}, {in_pieces}"
                    );
                }
            }
        }
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}X: y", "X: y\r\n".repeat(200));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(1_000_000));
    for line in ODD_STATUS.into_iter().chain([&*many, &*long]) {
        lie(&upstream, &format!("{line}\r\nContent-Length: 5\r\n\r\nhello{POISON}"), false);
        for method in ["GET", "POST", "HEAD"] {
            let answer = ask(&gateway, method, "").await.map(|(status, _)| status);
            assert_eq!(answer, Some(502), "{method}: {:?}", &line[..line.len().min(60)]);
        }
    }
}

/// The answer is one, and what follows it is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn smg_26_bytes_behind_an_answer_are_nobodys_answer() {
    let (upstream, gateway) = start().await;
    for (method, answer, status, body) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        ("POST", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 50\r\n\r\n", 204, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n", 304, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", 304, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", 200, ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, ""),
        ("GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", 205, ""),
    ] {
        for extra in [
            POISON,
            "x",
            "\r\n",
            "0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ] {
            for in_pieces in [false, true] {
                // The end of the answer and what is too much come together: what comes once the next
                // request is on its way cannot be told from an answer to it.
                let at = if in_pieces { answer.len() - 1 } else { 0 };
                let (start, end) = answer.split_at(at);
                lie_in(&upstream, vec![start.to_owned(), format!("{end}{extra}")]);
                let got = ask(&gateway, method, "").await;
                let what = format!("{method}: {answer:?} and {extra:?}");
                assert_eq!(got, Some((status, body.into())), "{what}");
            }
        }
    }
}

/// What an upstream says without being asked is no answer to whoever asks next.
#[tokio::test(flavor = "multi_thread")]
async fn smg_26_an_answer_to_nothing_is_nobodys() {
    let (upstream, gateway) = start().await;
    for extra in [POISON, "x", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 408 Timeout\r\n\r\n"] {
        for _ in 0..4 {
            let closed = Gate::new();
            let gate = closed.clone();
            upstream.at("/lie", move |mut exchange| {
                let gate = gate.clone();
                async move {
                    exchange.reply("200 OK", "", "hello").await;
                    // The gateway has given the connection back by now.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    exchange.write(extra).await;
                    exchange.wait_for_close().await;
                    gate.open();
                    None
                }
            });
            let mut raw = Raw::connect(gateway.address).await;
            raw.send("GET /lie HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(raw.response("GET").await.expect(200).text(), "hello");
            timeout(PATIENCE, closed.wait()).await.expect("the connection must be closed");
            others_get_their_own(&gateway, &mut raw, false).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_26_interim_answers_are_dropped_and_do_not_go_on_for_ever() {
    let (upstream, gateway) = start().await;
    for interim in ["100 Continue", "102 Processing", "103 Early Hints\r\nLink: </x>", "199 X"] {
        for count in [1, 20, 2000] {
            let flood = format!("HTTP/1.1 {interim}\r\n\r\n").repeat(count);
            lie(
                &upstream,
                &format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
                false,
            );
            for (method, body) in [("GET", ""), ("POST", "some")] {
                let got = ask(&gateway, method, body).await;
                assert_eq!(got, Some((200, b"hello".to_vec())), "{method}: {count} of {interim}");
            }
        }
    }
    // One that never ends has the time of an answer, and the others are served meanwhile.
    upstream.at("/lie", |mut exchange| async move {
        let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(50);
        while exchange.write(&flood).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    });
    let mut raw = gateway.client().get("/lie").open().await;
    upstream.wait_for(|seen| seen.target() == "/lie").await;
    for _ in 0..10 {
        gateway.client().get("/own/1").send().await.expect(200);
    }
    gateway.pass(Duration::from_secs(3)).await;
    raw.response("GET").await.expect(504);
    let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(11_000);
    lie(&upstream, &format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), false);
    gateway.client().get("/lie").send().await.expect(502);
}

/// The answer comes before the request has ended: it may be passed on, and the connection serves nobody
/// before the request has.
#[tokio::test(flavor = "multi_thread")]
async fn smg_26_an_answer_before_the_requests_end_leaves_no_connection_behind() {
    let (upstream, gateway) = start().await;
    for (is_chunked, behind) in [(true, POISON), (false, POISON), (true, ""), (false, "")] {
        upstream.at("/lie", move |mut exchange| async move {
            exchange
                .write(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{behind}"))
                .await;
            exchange.wait_for_close().await;
            None
        });
        for _ in 0..2 {
            let mut raw = Raw::connect(gateway.address).await;
            let framing =
                if is_chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 50" };
            let half = if is_chunked { "3\r\nabc\r\n" } else { "abc" };
            raw.send(format!("POST /lie HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{half}")).await;
            assert_eq!(raw.response("POST").await.expect(200).text(), "hello");
            for _ in 0..3 {
                let mut other = Raw::connect(gateway.address).await;
                others_get_their_own(&gateway, &mut other, false).await;
            }
            // What the client sends now is the body's, or nobody's.
            raw.try_send(b"GET /own/8 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap_or_default();
            if !is_chunked {
                gateway.pass(Duration::from_secs(31)).await;
            }
            assert!(raw.try_response("GET").await.is_none());
        }
    }
    assert!(!upstream.seen().iter().any(|seen| seen.target() == "/own/8"));
}

/// A body that breaks off, or is none, breaks the answer off; it is never made whole.
#[tokio::test(flavor = "multi_thread")]
async fn smg_26_a_body_that_breaks_off_is_never_made_whole() {
    let (upstream, gateway) = start().await;
    for body in [
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0",
        "5\r\nhello\r\n0\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let answer = Arc::new(answer);
        upstream.at("/lie", move |mut exchange| {
            let answer = answer.clone();
            async move {
                exchange.write(answer.as_str()).await;
                None
            }
        });
        let mut raw = gateway.client().get("/lie").open().await;
        let received = String::from_utf8(raw.read_to_end().await).unwrap();
        let is_refused = received.starts_with("HTTP/1.1 502 ");
        assert!(is_refused || !received.ends_with("0\r\n\r\n"), "{body:?}: {received}");
        let mut other = Raw::connect(gateway.address).await;
        others_get_their_own(&gateway, &mut other, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_26_an_answer_that_broke_off_is_no_reason_to_ask_twice() {
    let (upstream, gateway) = start_plain().await;
    for half in ["HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le"] {
        upstream.at("/half", move |mut exchange| async move {
            exchange.write(half).await;
            None
        });
        for method in ["GET", "PUT", "DELETE"] {
            let before = upstream.count();
            let request = format!("{method} /half HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status_of(&gateway, &request).await, 502, "{method}, {half:?}");
            assert_eq!(upstream.count(), before + 1, "{method}, {half:?}");
        }
    }
}

/// What stands behind the chunks of an answer is dropped, and the connection is clean.
#[tokio::test(flavor = "multi_thread")]
async fn smg_26_trailers_of_an_answer_are_dropped() {
    let (upstream, gateway) = start().await;
    for trailer in [
        "Set-Cookie: portcullis=poison",
        "Location: /poison",
        "Content-Length: 5",
        "X-Poison: y\r\nX-Poison: z",
        "HTTP: 200 poison",
    ] {
        for declared in ["", "Trailer: Set-Cookie, Location, X-Poison\r\n"] {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{declared}\r\n\
                 5;x=y\r\nhello\r\n0\r\n{trailer}\r\n\r\n"
            );
            for in_pieces in [false, true] {
                lie(&upstream, &answer, in_pieces);
                let mut raw = Raw::connect(gateway.address).await;
                raw.send("GET /lie HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
                let got = raw.response("GET").await.expect(200);
                let text = format!("{got:?}").to_ascii_lowercase();
                assert!(!text.contains("poison"), "{trailer}: {text}");
                assert_eq!(got.text(), "hello", "{trailer}");
                others_get_their_own(&gateway, &mut raw, false).await;
            }
        }
    }
}

/// Half an answer is nobody else's beginning.
#[tokio::test(flavor = "multi_thread")]
async fn smg_26_what_is_left_of_an_answer_whose_reader_went_away_is_nobodys() {
    let (upstream, gateway) = start().await;
    for is_chunked in [true, false] {
        for is_reset in [true, false] {
            let gate = Gate::new();
            let go_on = gate.clone();
            upstream.at("/lie", move |mut exchange| {
                let go_on = go_on.clone();
                async move {
                    let length = if is_chunked {
                        "Transfer-Encoding: chunked"
                    } else {
                        "Content-Length: 200"
                    };
                    let half = if is_chunked { "5\r\nhello\r\n" } else { "hello" };
                    exchange.write(format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{half}")).await;
                    go_on.wait().await;
                    exchange.write(POISON.repeat(3)).await;
                    exchange.wait_for_close().await;
                    None
                }
            });
            let mut raw = Raw::connect(gateway.address).await;
            raw.send("GET /lie HTTP/1.1\r\nHost: a\r\n\r\n").await;
            raw.read_until("hello").await;
            if is_reset {
                raw.reset();
            } else {
                drop(raw);
            }
            gate.open();
            for _ in 0..5 {
                let mut other = Raw::connect(gateway.address).await;
                others_get_their_own(&gateway, &mut other, false).await;
            }
        }
    }
}
