//! Changes of protocol: one is passed on, and nothing is believed of it before the upstream agrees.

use super::super::trial::{Bench, End, Forwarded, MANNERS, Trial, Upstreamed, cut, turn};
use super::{head, smuggled, start};
use crate::raw::Raw;

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// What a client may send behind a handshake without waiting for its answer.
fn optimistic(word: &str) -> Vec<Vec<u8>> {
    vec![
        smuggled(word),
        smuggled(word).repeat(3),
        b"\x81\x85\0\0\0\0hello".to_vec(),
        format!("POST /x/{word}/s HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nhello")
            .into_bytes(),
        [b"\r\n\r\n", &smuggled(word)[..]].concat(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_11_bytes_behind_a_refused_handshake_go_nowhere() {
    let (bench, cookie) = start().await;
    for (path, answer) in [
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("302", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        ("400", "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"),
        ("426", "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
        ("500", "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
    ] {
        bench.upstream.answers(&format!("/x/{path}"), answer);
        bench.upstream.answers(&format!("/private/{path}"), answer);
    }
    let mut trials = Vec::new();
    let from_us = "\r\nOrigin: http://a";
    for (path, fields, status) in [
        ("/x/200", String::new(), 200),
        ("/x/204", String::new(), 204),
        ("/x/302", String::new(), 302),
        ("/x/400", String::new(), 400),
        ("/x/426", String::new(), 426),
        ("/x/500", String::new(), 500),
        ("/private/200", format!("{cookie}{from_us}"), 200),
        ("/private/400", format!("{cookie}{from_us}"), 400),
        // These the gateway refuses by itself.
        ("/private/200", String::new(), 401),
        ("/private/200", cookie.clone(), 403),
        ("/private/400", format!("{cookie}\r\nOrigin: http://evil"), 403),
        ("/x/%00", String::new(), 400),
        ("/auth/nowhere", String::new(), 404),
    ] {
        for kind in 0..optimistic("").len() {
            for manner in MANNERS {
                let word = bench.word();
                let target = format!("{path}?{word}");
                let mut bytes = head("GET", &target, HANDSHAKE.as_bytes(), fields.as_bytes());
                bytes.extend([b"\r\n", &optimistic(&word).swap_remove(kind)[..]].concat());
                let what = format!("{target}, {fields:?}, {kind}, {manner:?}");
                let is_forwarded = path.ends_with(&status.to_string());
                let handshake = Forwarded::bare("GET", &target);
                let refused = Trial::refused(&word, &what, status, cut(&bytes, manner)).by("GET");
                trials.push(Trial {
                    upstreamed: Upstreamed::Exactly(if is_forwarded {
                        vec![handshake]
                    } else {
                        Vec::new()
                    }),
                    ..refused
                });
            }
        }
    }
    bench.play(trials).await;
    // Nothing else was ever asked on a connection on which a change of protocol was.
    for tape in bench.upstream.tapes() {
        let text = String::from_utf8_lossy(&tape).to_ascii_lowercase();
        let asked = text.matches("upgrade: websocket").count();
        assert!(asked == 0 || text.matches(" http/1.1\r\n").count() == 1, "{text}");
    }
}

/// A tunnel is opened for nobody, and what was meant for it is no request (RFC 9931).
#[tokio::test(flavor = "multi_thread")]
async fn smg_11_bytes_behind_a_refused_connect_go_nowhere() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for (target, lines) in [
        ("a:80", "Host: a:80"),
        ("a:80", "Host: a"),
        ("evil:443", "Host: evil:443"),
        ("127.0.0.1:80", "Host: 127.0.0.1:80"),
        ("a:80", "Host: a\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive"),
        ("a:80", "Host: a\r\nContent-Length: 5"),
        ("a:80", "Host: a\r\nTransfer-Encoding: chunked"),
        ("a:80", "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket"),
    ] {
        for fields in ["", &*cookie] {
            for kind in 0..optimistic("").len() {
                let (word, manner) = (bench.word(), turn(&MANNERS, trials.len()));
                let end = if fields.is_empty() { "" } else { "\r\n" };
                let head = format!("CONNECT {target} HTTP/1.1\r\n{fields}{end}{lines}\r\n\r\n");
                let bytes = [head.as_bytes(), &optimistic(&word).swap_remove(kind)].concat();
                let what = format!("{head:?}, {kind}, {manner:?}");
                trials.push(Trial::refused(&word, &what, 405, cut(&bytes, manner)).by("CONNECT"));
            }
        }
    }
    bench.play(trials).await;
    assert_eq!(bench.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_11_bytes_behind_a_handshake_wait_for_the_upstream_to_agree() {
    let (bench, cookie) = start().await;
    let gate = crate::upstream::Gate::new();
    for path in ["/x/ws", "/private/ws"] {
        let gate = gate.clone();
        bench.upstream.at(path, move |mut exchange| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                              Upgrade: websocket\r\n\r\n";
                exchange.write(agreed).await;
                exchange.wait_for_close().await;
                None
            }
        });
    }
    let own = format!("{cookie}\r\nOrigin: http://a");
    let mut open = Vec::new();
    for kind in 0..optimistic("").len() {
        for manner in MANNERS {
            let word = bench.word();
            let (path, fields) = turn(&[("/x/ws", ""), ("/private/ws", &*own)], open.len());
            let target = format!("{path}?{word}");
            let mut bytes = head("GET", &target, HANDSHAKE.as_bytes(), fields.as_bytes());
            let more = optimistic(&word).swap_remove(kind);
            bytes.extend([b"\r\n", &more[..]].concat());
            let mut raw = Raw::connect(bench.gateway.address).await;
            super::super::trial::send_pieces(&mut raw, &cut(&bytes, manner)).await;
            bench.upstream.wait_for(|seen| seen.target() == target).await;
            open.push((target, more, raw));
        }
    }
    for tape in bench.upstream.tapes() {
        assert!(
            tape.ends_with(b"\r\n\r\n")
                && tape.windows(4).filter(|w| w == b"\r\n\r\n").count() == 1
        );
    }
    gate.open();
    for (target, more, raw) in &mut open {
        assert_eq!(raw.head().await.status, 101, "{target}");
        let is_mine = |tape: &Vec<u8>| String::from_utf8_lossy(tape).contains(&*target);
        let arrived = async {
            loop {
                let tapes = bench.upstream.tapes();
                let tape = tapes.iter().find(|tape| is_mine(tape)).unwrap();
                let end = tape.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                if &tape[end..] == more.as_slice() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::raw::PATIENCE, arrived).await.expect(target);
    }
}

/// Protocols that are not asked for: only `websocket` by itself is.
const ODD_UPGRADES: [&str; 16] = [
    "h2c",
    "H2C",
    "h2c, websocket",
    "websocket, h2c",
    "websocket\r\nUpgrade: h2c",
    "websocket\r\nUpgrade: websocket",
    "WebSocket/13",
    "websocket/13",
    "xwebsocket",
    "TLS/1.0",
    "h2",
    "HTTP/2.0",
    "connect-udp",
    "websocket;x",
    "\"websocket\"",
    "",
];

#[tokio::test(flavor = "multi_thread")]
async fn smg_13_no_other_protocol_is_asked_for_upstream() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for upgrade in ODD_UPGRADES {
        for connection in [
            "Upgrade, HTTP2-Settings",
            "HTTP2-Settings, upgrade",
            "upgrade",
            "keep-alive, Upgrade",
            "keep-alive",
        ] {
            for has_preface in [false, true] {
                let index = trials.len();
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], index);
                let (word, manner) = (bench.word(), turn(&MANNERS, index));
                let target = format!("{path}{word}");
                let lines = format!(
                    "Connection: {connection}\r\nUpgrade: {upgrade}\r\n\
                     HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
                );
                let mut bytes = head("GET", &target, lines.as_bytes(), fields.as_bytes());
                bytes.extend(b"\r\n");
                if has_preface {
                    bytes.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
                }
                let what = format!("{target}, {lines:?}, {has_preface}, {manner:?}");
                let forwarded = Forwarded::bare("GET", &target);
                let trial = Trial::passed(&word, &what, forwarded, cut(&bytes, manner));
                trials.push(if has_preface {
                    Trial { maybe: Some(400), end: End::Closed, ..trial }
                } else {
                    trial
                });
            }
        }
    }
    bench.play(trials).await;
    check_none_was_asked(&bench);
}

fn check_none_was_asked(bench: &Bench) {
    for received in bench.received() {
        for name in ["upgrade", "http2-settings", "connection", "keep-alive"] {
            assert!(!received.has(name), "{}", received.head);
        }
    }
}

/// A handshake that is none: by another method, or of an old version.
#[tokio::test(flavor = "multi_thread")]
async fn smg_13_a_handshake_by_another_method_is_a_plain_request() {
    let (bench, _) = start().await;
    let mut trials = Vec::new();
    for (method, version) in [("POST", "1.1"), ("PUT", "1.1"), ("OPTIONS", "1.1"), ("GET", "1.0")] {
        for manner in MANNERS {
            let word = bench.word();
            let target = format!("/x/{word}");
            let bytes =
                format!("{method} {target} HTTP/{version}\r\nHost: a\r\n{HANDSHAKE}\r\n\r\n");
            let what = format!("{method} of {version}, {manner:?}");
            let forwarded = Forwarded::bare(method, &target);
            let trial = Trial::passed(&word, &what, forwarded, cut(bytes.as_bytes(), manner));
            trials.push(trial.ending(End::Any));
        }
    }
    bench.play(trials).await;
    check_none_was_asked(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_13_a_change_of_protocol_that_nobody_asked_for_is_no_answer() {
    let bench = Bench::start(super::YAML).await;
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {upgrade}\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
        );
        let path = format!("/x/{}", upgrade.replace('/', ""));
        bench.upstream.answers(&path, answer);
        let mut trials = Vec::new();
        for method in ["GET", "POST", "HEAD"] {
            for manner in MANNERS {
                let word = bench.word();
                let target = format!("{path}?{word}");
                let mut bytes = head(method, &target, b"", b"");
                bytes.extend([b"\r\n", &smuggled(&word)[..]].concat());
                let what = format!("{method} {target}, {manner:?}");
                let next = Forwarded::bare("GET", &format!("/x/{word}/smuggled"));
                let mut trial = Trial::passed(
                    &word,
                    &what,
                    Forwarded::bare(method, &target),
                    cut(&bytes, manner),
                );
                // What stands behind is a request of its own.
                trial.methods.push("GET".to_owned());
                trial.statuses = vec![502, 200];
                trial.upstreamed =
                    Upstreamed::Exactly(vec![Forwarded::bare(method, &target), next]);
                trials.push(trial);
            }
        }
        bench.play(trials).await;
    }
}
