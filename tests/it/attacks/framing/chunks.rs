//! Chunked bodies: what is no chunk is an error, never the end of a body, and nothing beside the data
//! goes on.

use std::time::Duration;

use super::super::trial::{Bench, End, Forwarded, MANNERS, Trial, Upstreamed, cut, turn};
use super::{head, smuggled, start};
use crate::raw::Raw;

const CHUNKED: &[u8] = b"Transfer-Encoding: chunked";

/// Requests with these bytes for a body, in every manner. The upstream may see the beginning of such a
/// body and never its end; whoever may not pass is refused before it is read.
fn broken(bench: &Bench, bodies: &[Vec<u8>], cookie: &str) -> Vec<Trial> {
    let mut trials = Vec::new();
    for body in bodies {
        for manner in MANNERS {
            let index = trials.len();
            let (path, fields, status) = turn(
                &[("/x/", "", 400), ("/private/", cookie, 400), ("/private/", "", 401)],
                index,
            );
            let (word, method) = (bench.word(), turn(&["POST", "PUT", "GET", "DELETE"], index));
            let target = format!("{path}{word}");
            let mut bytes = head(method, &target, CHUNKED, fields.as_bytes());
            bytes.extend([b"\r\n", &body[..], &smuggled(&word)].concat());
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let what = format!("{method} {target} with {shown:?}, {manner:?}");
            let refused = Trial::refused(&word, &what, status, cut(&bytes, manner)).by(method);
            trials.push(Trial { upstreamed: Upstreamed::AtMostCut(target), ..refused });
        }
    }
    trials
}

/// What is no size of a chunk.
const ODD_SIZES: [&str; 27] = [
    "0x3",
    "+3",
    "-3",
    "-0x0",
    "-0",
    "0_3",
    "",
    " 3",
    "\t3",
    "3 3",
    "g",
    "3g",
    "3,3",
    "3.",
    "3:",
    "\u{ff13}",
    "3\0",
    "3\u{b}",
    "\u{b}3",
    "0xfg",
    "10000000000000003",
    "FFFFFFFFFFFFFFFFF",
    "000000000000000000010000000000000003",
    "\"3\"",
    "3h",
    "#3",
    "\\3",
];

/// Bodies that are no chunks.
const ODD_BODIES: [&str; 24] = [
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\rXabc\r\n0\r\n\r\n",
    "3\rabc\r\n0\r\n\r\n",
    "3\r\rabc\r\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "3\r\nabcX\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3\r\nabc\r0\r\n\r\n",
    "3\r\nabc\r\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\n\n",
    "3\r\nabc\r\n0\n\r\n",
    "3\r\nabc\r\n0\rX\r\n\r\n",
    "0\rX\r\n\r\n",
    "3\r\nabc\r\n0\r\n\rX",
    "3\r\nabc\r\n\r\n",
    "\r\n3\r\nabc\r\n0\r\n\r\n",
    "3\r\n\r\nabc\r\n0\r\n\r\n",
    "3\u{a0}\r\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\n0x0\r\n\r\n",
    "3\r\nabc\r\n-0\r\n\r\n",
    "3\r\nabc\r\n+0\r\n\r\n",
    "hello",
];

#[tokio::test(flavor = "multi_thread")]
async fn smg_07_what_is_no_chunk_breaks_the_request_off() {
    let (bench, cookie) = start().await;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for size in ODD_SIZES {
        bodies.push(format!("{size}\r\nabc\r\n0\r\n\r\n").into());
        bodies.push(format!("2\r\nab\r\n{size}\r\nabc\r\n0\r\n\r\n").into());
    }
    for body in ODD_BODIES {
        bodies.push(body.as_bytes().to_vec());
    }
    bench.play(broken(&bench, &bodies, &cookie)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_07_what_is_a_chunk_is_framed_anew() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for (chunks, body) in [
        ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("0003\r\nabc\r\n00000\r\n\r\n", "abc"),
        ("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\nb\r\nabcdefghijk\r\n0\r\n\r\n", "0123456789abcdefghijk"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("3 \r\nabc\r\n0\t\r\n\r\n", "abc"),
        ("3;x\r\nabc\r\n0;y=z\r\n\r\n", "abc"),
        ("3 ;x=\"y z\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ("3;;;=\r\nabc\r\n0\r\n\r\n", "abc"),
    ] {
        for manner in MANNERS {
            let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], trials.len());
            let method = turn(&["POST", "GET", "DELETE", "PUT", "PATCH"], trials.len());
            let word = bench.word();
            let target = format!("{path}{word}");
            let mut bytes = head(method, &target, CHUNKED, fields.as_bytes());
            bytes.extend(format!("\r\n{chunks}").bytes());
            let what = format!("{method} {target} with {chunks:?}, {manner:?}");
            let forwarded = Forwarded::chunked(method, &target, body.as_bytes());
            trials.push(Trial::passed(&word, &what, forwarded, cut(&bytes, manner)));
        }
    }
    bench.play(trials).await;
}

/// A body that stops is waited for no longer than its progress may take, wherever it stops; what comes
/// later is not read as a request.
#[tokio::test(flavor = "multi_thread")]
async fn smg_07_a_body_that_stops_short_of_its_end_is_given_up() {
    let (bench, _) = start().await;
    let whole = "3\r\nabc\r\n0\r\nXX";
    let mut bodies: Vec<_> = (0..=whole.len()).map(|end| whole[..end].to_owned()).collect();
    bodies.extend(
        ["3;x", "3;x=\"", "0\r\nX: y\r\n", "0\r\nX: y\r\n\r", "0\r\n\r"].map(str::to_owned),
    );
    let mut waiting = Vec::new();
    for body in bodies {
        for framing in ["Transfer-Encoding: chunked", "Content-Length: 50"] {
            let word = bench.word();
            let mut bytes = head("POST", &format!("/x/{word}"), framing.as_bytes(), b"");
            bytes.extend(format!("\r\n{body}").bytes());
            let mut raw = Raw::connect(bench.gateway.address).await;
            raw.send(&bytes).await;
            let target = format!("/x/{word}");
            bench.upstream.wait_for(|seen| seen.target() == target).await;
            waiting.push((format!("{framing}: {body:?}"), word, raw));
        }
    }
    bench.gateway.pass(Duration::from_secs(31)).await;
    for (what, word, raw) in &mut waiting {
        let answer = raw.try_response("POST").await;
        assert_eq!(answer.map(|answer| answer.status), Some(408), "{what}");
        raw.try_send(&smuggled(word)).await.unwrap_or_default();
        assert!(raw.read_to_end().await.is_empty(), "{what}");
    }
    for received in bench.received() {
        assert!(!received.is_whole, "{received:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_08_extensions_of_chunks_are_bounded_and_never_go_on() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    // Many to few, long to short: all below what is taken, which is 16 KiB for a body.
    for (count, length) in [(1, 8000), (3, 4096), (100, 100), (300, 20)] {
        for (path, fields) in [("/x/", ""), ("/private/", &*cookie)] {
            let word = bench.word();
            let target = format!("{path}{word}");
            let chunk = format!("1;x={}\r\na\r\n", "b".repeat(length));
            let mut bytes = head("POST", &target, CHUNKED, fields.as_bytes());
            bytes.extend(format!("\r\n{}0;last\r\n\r\n", chunk.repeat(count)).bytes());
            let what = format!("{count} extensions of {length} bytes");
            let forwarded = Forwarded::chunked("POST", &target, &vec![b'a'; count]);
            trials.push(Trial::passed(&word, &what, forwarded, vec![bytes]));
        }
    }
    bench.play(trials).await;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for (count, length) in [(1, 20_000), (8, 4096), (300, 100), (2000, 20)] {
        for extension in [";x=", ";", " ;x=\"", ";x;y;"] {
            let chunk = format!("1{extension}{}\r\na\r\n", "b".repeat(length));
            bodies.push(format!("{}0\r\n\r\n", chunk.repeat(count)).into());
        }
    }
    let mut trials = broken(&bench, &bodies, &cookie);
    // Byte by byte these would take long, and are no other case.
    trials.retain(|trial| trial.pieces.len() < 5000);
    bench.play(trials).await;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for odd in
        ["\n", "\r", "\rX", "x\n", "x=\ny", "x=\"\n\"", "x=\"\r\n\"", "x\r\r\n", "\n0\r\n\r\n"]
    {
        bodies.push(format!("3;{odd}\r\nabc\r\n0\r\n\r\n").into());
        bodies.push(format!("3\r\nabc\r\n0;{odd}\r\n\r\n").into());
    }
    bench.play(broken(&bench, &bodies, &cookie)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_19_trailers_are_dropped_whatever_they_say() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for trailer in [
        "X-Auth-User-Id: forged",
        "Remote-User: forged",
        "X-Forwarded-For: forged",
        "Host: forged",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Authorization: Bearer x",
        "Cookie: portcullis=x",
        "Connection: close",
        "X-Plain: y",
        "grpc-status: 0",
        "X-A: 1\r\nX-B: 2\r\nX-A: 3",
        ":path: /forged",
    ] {
        for (declared, te) in
            [("", ""), ("\r\nTrailer: x-auth-user-id, Host, X-Plain", "\r\nTE: trailers")]
        {
            for manner in MANNERS {
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], trials.len());
                let method = turn(&["POST", "PUT", "GET"], trials.len());
                let word = bench.word();
                let target = format!("{path}{word}");
                let lines = format!("{fields}{declared}{te}");
                let mut bytes = head(method, &target, CHUNKED, lines.trim_start().as_bytes());
                bytes.extend(format!("\r\n3\r\nabc\r\n0\r\n{trailer}\r\n\r\n").bytes());
                let what = format!("{method} {target} with {trailer:?}, {declared:?}, {manner:?}");
                let forwarded = Forwarded::chunked(method, &target, b"abc");
                let passed = Trial::passed(&word, &what, forwarded, cut(&bytes, manner));
                let broken = Trial {
                    statuses: vec![400],
                    end: End::Closed,
                    upstreamed: Upstreamed::AtMostCut(target),
                    ..passed.clone()
                };
                trials.push(if trailer.starts_with(':') { broken } else { passed });
            }
        }
    }
    bench.play(trials).await;
    for received in bench.received() {
        let text = received.head.to_ascii_lowercase();
        assert!(!text.contains("forged"), "{text}");
        assert_eq!(received.has("x-auth-user-id"), received.target.starts_with("/private/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_19_what_are_no_trailers_breaks_the_request_off() {
    let (bench, cookie) = start().await;
    let many = "X-A: b\r\n".repeat(2000);
    let long = format!("X-A: {}\r\n", "b".repeat(70_000));
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for trailer in [
        "X-A\r\n",
        "X A: b\r\n",
        "X-A : b\r\n",
        "X-A: b\0\r\n",
        "X-A: a\r\n b\r\n",
        " X-A: b\r\n",
        "X-A: a\rb\r\n",
        "X\u{e9}: b\r\n",
        ": b\r\n",
        &many,
        &long,
    ] {
        bodies.push(format!("3\r\nabc\r\n0\r\n{trailer}\r\n").into());
    }
    let mut trials = broken(&bench, &bodies, &cookie);
    trials.retain(|trial| trial.pieces.len() < 5000);
    bench.play(trials).await;
}
