//! Bodies where none is expected.

use super::super::trial::{End, Forwarded, MANNERS, Trial, cut, turn};
use super::{head, smuggled, start};

/// The body holds a whole request: read as one, it would be answered and forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn smg_25_a_body_is_framed_whatever_the_method() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PROPFIND", "M-SEARCH", "QUERY"] {
        for is_chunked in [true, false] {
            for manner in MANNERS {
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], trials.len());
                let word = bench.word();
                let target = format!("{path}{word}");
                let body = smuggled(&word);
                let size = body.len();
                let framing = if is_chunked {
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {size}")
                };
                let mut bytes = head(method, &target, framing.as_bytes(), fields.as_bytes());
                bytes.extend(b"\r\n");
                if is_chunked {
                    bytes.extend(format!("{size:x}\r\n").bytes());
                    bytes.extend([&body[..], b"\r\n0\r\n\r\n"].concat());
                } else {
                    bytes.extend_from_slice(&body);
                }
                let what = format!("{method} {target} with {framing}, {manner:?}");
                let forwarded = if is_chunked {
                    Forwarded::chunked(method, &target, &body)
                } else {
                    Forwarded::sized(method, &target, &body)
                };
                trials.push(Trial::passed(&word, &what, forwarded, cut(&bytes, manner)));
            }
        }
    }
    bench.play(trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_25_a_body_of_http_1_0_is_framed_by_its_length_alone() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        for manner in MANNERS {
            for (connection, end) in [("", End::Closed), ("\r\nConnection: keep-alive", End::Kept)]
            {
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], trials.len());
                let old = |lines: &str, target: &str, body: &[u8]| {
                    let head = head(method, target, lines.as_bytes(), fields.as_bytes());
                    let head = String::from_utf8(head).unwrap().replace(" HTTP/1.1", " HTTP/1.0");
                    [head.as_bytes(), b"\r\n", body].concat()
                };
                let word = bench.word();
                let target = format!("{path}{word}");
                let body = smuggled(&word);
                let bytes =
                    old(&format!("Content-Length: {}{connection}", body.len()), &target, &body);
                let what = format!("{method} {target} of 1.0, {connection:?}, {manner:?}");
                let forwarded = Forwarded::sized(method, &target, &body);
                let passed = Trial::passed(&word, &what, forwarded, cut(&bytes, manner));
                trials.push(passed.ending(end));

                let word = bench.word();
                let target = format!("{path}{word}");
                let chunks = [b"0\r\n\r\n", &smuggled(&word)[..]].concat();
                let lines = format!("Transfer-Encoding: chunked{connection}");
                let bytes = old(&lines, &target, &chunks);
                let what = format!("{method} {target} of 1.0 in chunks, {manner:?}");
                trials.push(Trial::refused(&word, &what, 400, cut(&bytes, manner)).by(method));
            }
        }
    }
    bench.play(trials).await;
}
