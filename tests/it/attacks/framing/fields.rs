//! `Transfer-Encoding` and `Content-Length`: one of them, spelt in the one way there is.

use super::super::trial::{Bench, End, Forwarded, MANNERS, Manner, Trial, Upstreamed, cut, turn};
use super::{head, refusals, smuggled, start};

#[tokio::test(flavor = "multi_thread")]
async fn smg_01_a_length_beside_chunks_is_dropped_and_nothing_behind_them_is_read() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for (length, is_number) in
        [("5", true), ("0", true), ("44", true), ("4096", true), ("x", false), ("-1", false)]
    {
        for coding in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
            for is_length_first in [true, false] {
                for manner in MANNERS {
                    let length = format!("Content-Length: {length}");
                    let coding = format!("transfer-encoding:{coding}");
                    let (one, other) =
                        if is_length_first { (length, coding) } else { (coding, length) };
                    let between =
                        turn(&["", "X-Between: 1\r\n", "Connection: keep-alive\r\n"], trials.len());
                    let lines = format!("{one}\r\n{between}{other}");
                    let is_read = is_number || !is_length_first;
                    trials.push(both_at_once(
                        &bench,
                        &lines,
                        is_read,
                        (trials.len(), &cookie, manner),
                    ));
                }
            }
        }
    }
    bench.play(trials).await;
}

/// A request with both fields and one behind it, on public and guarded places in turn.
fn both_at_once(
    bench: &Bench,
    lines: &str,
    is_read: bool,
    (index, cookie, manner): (usize, &str, Manner),
) -> Trial {
    let word = bench.word();
    let method = turn(&["POST", "PUT", "GET", "DELETE"], index);
    let (path, fields, status) =
        turn(&[("/x/", "", 200), ("/private/", "", 401), ("/private/", cookie, 200)], index / 4);
    let (chunks, body) = turn(&[("0\r\n\r\n", ""), ("5\r\nhello\r\n0\r\n\r\n", "hello")], index);
    let target = format!("{path}{word}");
    let mut bytes = head(method, &target, lines.as_bytes(), fields.as_bytes());
    bytes.extend(format!("\r\n{chunks}").bytes());
    bytes.extend(smuggled(&word));
    let what = format!("{method} {target} with {lines:?}, {manner:?}");
    let refused = Trial::refused(&word, &what, 400, cut(&bytes, manner)).by(method);
    let forwarded = Forwarded::chunked(method, &target, body.as_bytes());
    match (is_read, status) {
        (false, _) => refused,
        (true, 200) => Trial::passed(&word, &what, forwarded, refused.pieces).ending(End::Closed),
        (true, status) => Trial { statuses: vec![status], ..refused },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_02_a_transfer_encoding_other_than_one_chunked_is_refused() {
    let (bench, cookie) = start().await;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let values: [&[u8]; 26] = [
        b"chunked, chunked",
        b",chunked",
        b"chunked,",
        b"gzip, chunked",
        b"gzip,chunked",
        b"xchunked",
        b"\x0bchunked",
        b"\x0cchunked",
        b"chunked;x",
        b"chunked;q=1",
        b"chunked, identity",
        b"identity, chunked",
        b"identity",
        b"gzip",
        b"",
        b"chun ked",
        b"chunked x",
        b"\"chunked\"",
        b"chunked\x0b",
        b"\xa0chunked",
        b"chunked\xc2\xa0",
        b"chunked chunked",
        b"trailers",
        b"x-chunked",
        b"chunke\xc4\x8f",
        b"chunkedchunked",
    ];
    for (index, value) in values.iter().enumerate() {
        let name = turn(&["Transfer-Encoding", "transfer-encoding", "TRANSFER-ENCODING"], index);
        lines.push([name.as_bytes(), b": ", value].concat());
    }
    let pairs = ["chunked", "identity", "", "gzip", "Chunked"];
    for one in pairs {
        for other in pairs {
            lines.push(
                format!("Transfer-Encoding: {one}\r\nX: 1\r\ntransfer-encoding: {other}").into(),
            );
        }
    }
    // The same where the length is said as well.
    for value in ["identity", "xchunked", "gzip, chunked"] {
        lines.push(format!("Content-Length: 5\r\nTransfer-Encoding: {value}").into());
        lines.push(format!("Transfer-Encoding: {value}\r\nContent-Length: 5").into());
    }
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    bench.play(refusals(&bench, &lines, &cookie)).await;
}

/// What only looks like framing to a reader that folds names frames nothing, and does not go on.
#[tokio::test(flavor = "multi_thread")]
async fn smg_02_a_name_that_folds_to_a_framing_name_frames_nothing_and_goes_nowhere() {
    let (bench, _) = start().await;
    let mut trials = Vec::new();
    for name in [
        "Transfer_Encoding",
        "transfer.encoding",
        "TRANSFER_ENCODING",
        "Transfer-Encoding_",
        "Content_Length",
        "content.length",
        "_Content-Length",
        "Content-Length.",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            for manner in MANNERS {
                let word = bench.word();
                let target = format!("/x/{word}");
                let value =
                    if name.to_ascii_lowercase().contains("length") { "5" } else { "chunked" };
                let mut bytes = head(method, &target, format!("{name}: {value}").as_bytes(), b"");
                bytes.extend(b"\r\n");
                let what = format!("{method} with {name}, {manner:?}");
                let forwarded = Forwarded::bare(method, &target);
                trials.push(Trial::passed(&word, &what, forwarded, cut(&bytes, manner)));
            }
        }
    }
    bench.play(trials).await;
    for received in bench.received() {
        assert!(!received.has("transfer-encoding") && !received.has("content-length"));
        assert!(!received.head.to_ascii_lowercase().contains("encoding"), "{}", received.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_04_a_length_that_is_not_a_plain_number_is_refused() {
    let (bench, cookie) = start().await;
    let values: [&[u8]; 34] = [
        b"+1",
        b"-1",
        b"-0",
        b"+0",
        b"",
        b"0x1",
        b"1Z",
        b"1, 1",
        b"1,1",
        b",1",
        b"1,",
        b"010",
        b"00",
        b"01",
        b"1 1",
        b"1\t1",
        b"1.0",
        b"1e1",
        b"1_0",
        b"0b1",
        b"0o7",
        b"1;",
        b"\"1\"",
        b"1h",
        b"12345678901234567890123",
        b"99999999999999999999",
        b"18446744073709551616",
        b"18446744073709551617",
        b"\xd9\xa3",
        b"\x0b1",
        b"1\x0c",
        b"\xa01",
        b"1\xc2\xa0",
        b"NaN",
    ];
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let name = turn(&["Content-Length", "content-length", "CONTENT-LENGTH"], index);
        lines.push([name.as_bytes(), b": ", value].concat());
    }
    // An empty or odd one is not made good by another, on either side of it.
    for odd in ["", "+5", "05", "0x5", "5,"] {
        lines.push(format!("Content-Length: {odd}\r\nContent-Length: 5").into());
        if odd != "05" {
            lines.push(format!("Content-Length: 5\r\nX: y\r\nContent-Length: {odd}").into());
        }
    }
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let mut trials = refusals(&bench, &lines, &cookie);
    // The parser's own word for what no body can be.
    let largest: [&[u8]; 2] =
        [b"Content-Length: 18446744073709551614", b"Content-Length: 18446744073709551615"];
    for trial in refusals(&bench, &largest, &cookie) {
        trials.push(Trial { statuses: vec![431], ..trial });
    }
    bench.play(trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_04_a_plain_length_goes_on_as_the_same_number() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for (length, spelling) in
        [(0, "0"), (5, "5"), (5, "  5"), (5, "\t5 "), (28, "28"), (1000, "1000")]
    {
        for (index, manner) in MANNERS.into_iter().enumerate() {
            for method in ["POST", "GET", "DELETE"] {
                let word = bench.word();
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], index);
                let target = format!("{path}{word}");
                let body: Vec<u8> = smuggled(&word).into_iter().cycle().take(length).collect();
                let field = format!("Content-Length:{spelling}");
                let mut bytes = head(method, &target, field.as_bytes(), fields.as_bytes());
                bytes.extend([b"\r\n", &body[..]].concat());
                let what = format!("{method} {target} with {field:?}, {manner:?}");
                let forwarded = Forwarded::sized(method, &target, &body);
                trials.push(Trial::passed(&word, &what, forwarded, cut(&bytes, manner)));
            }
        }
    }
    bench.play(trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_05_two_lengths_are_refused_unless_they_say_the_same() {
    let (bench, cookie) = start().await;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (one, other) in [(0, 5), (5, 0), (5, 6), (44, 5), (5, 50), (1, 10)] {
        for between in ["", "X-Between: 1\r\n", "Cookie: a=b\r\n"] {
            lines.push(format!("Content-Length: {one}\r\n{between}content-length: {other}").into());
        }
        lines.push(
            format!("Content-Length: {one}\r\nContent-Length: {one}\r\nContent-Length: {other}")
                .into(),
        );
    }
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let mut trials = refusals(&bench, &lines, &cookie);
    for times in 2..5 {
        for manner in MANNERS {
            for (path, fields) in [("/x/", ""), ("/private/", &*cookie)] {
                let word = bench.word();
                let target = format!("{path}{word}");
                let same = vec!["Content-Length: 5"; times].join("\r\nX: y\r\n");
                let mut bytes = head("POST", &target, same.as_bytes(), fields.as_bytes());
                bytes.extend([b"\r\nhello", &smuggled(&word)[..]].concat());
                let what = format!("{times} same lengths at {target}, {manner:?}");
                let one = Forwarded::sized("POST", &target, b"hello");
                let next = Forwarded::bare("GET", &format!("/x/{word}/smuggled"));
                let mut trial = Trial::passed(&word, &what, one.clone(), cut(&bytes, manner));
                // What stands behind the body is a request of its own, and is judged as one.
                trial.methods.push("GET".to_owned());
                trial.statuses.push(200);
                trial.upstreamed = Upstreamed::Exactly(vec![one, next]);
                trials.push(trial);
            }
        }
    }
    bench.play(trials).await;
}
