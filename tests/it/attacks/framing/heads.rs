//! Heads that two readers could take apart in two ways.

use super::super::trial::{End, Forwarded, MANNERS, Manner, Trial, Upstreamed, cut, turn};
use super::{head, refusals, smuggled, start};

#[tokio::test(flavor = "multi_thread")]
async fn smg_20_a_field_without_a_name_is_refused() {
    let (bench, cookie) = start().await;
    let lines: [&[u8]; 8] = [
        b": ignored",
        b":",
        b":\r\nX-A: b",
        b" : ignored",
        b"\t: ignored",
        b"::",
        b": Content-Length: 5",
        b":\r\nTransfer-Encoding: chunked",
    ];
    bench.play(refusals(&bench, &lines, &cookie)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_22_a_head_that_is_no_list_of_fields_is_refused() {
    let (bench, cookie) = start().await;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    // A line that goes on, also where what goes on looks like a field.
    for blank in [" ", "\t", "  \t", " \t "] {
        lines.push(format!("X-A: b\r\n{blank}c").into());
        lines.push(format!("X-A: b\r\n{blank}Content-Length: 5").into());
        lines.push(format!("X-A:\r\n{blank}Transfer-Encoding: chunked").into());
        lines.push(format!("X-A: b\r\n{blank}").into());
        lines.push(format!("X-A{blank}: b").into());
        lines.push(format!("Content-Length{blank}: 5").into());
        lines.push(format!("Transfer-Encoding{blank}: chunked").into());
        lines.push(format!("Host{blank}: b").into());
        lines.push(format!("{blank}Content-Length: 5").into());
        lines.push(format!("X-A{blank}b: c").into());
    }
    // Bytes that no name and no value holds.
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\n')) {
        lines.push([b"X-A: b", &[byte][..], b"c"].concat());
    }
    for byte in b"\0\x01\x0b\x0c\r \x7f\x80\xa0\xe9\xff\"(),/;<=>?@[\\]{}" {
        lines.push([b"Content-Length", &[*byte][..], b": 5"].concat());
        lines.push([&[*byte][..], b"Transfer-Encoding: chunked"].concat());
    }
    for line in [
        "X-A: b\rContent-Length: 5",
        "X-A: b\r\rContent-Length: 5",
        "\rX-A: b",
        "X-A",
        "Content-Length",
        "X-A b",
        "X-A\r\n: b",
        "X-A: b\r\n\r X: y",
    ] {
        lines.push(line.as_bytes().to_vec());
    }
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    bench.play(refusals(&bench, &lines, &cookie)).await;
}

/// What is no request line of this server's.
const ODD_LINES: [&str; 47] = [
    "GET  /x/W HTTP/1.1",
    "GET\t/x/W HTTP/1.1",
    "GET /x/W\tHTTP/1.1",
    " GET /x/W HTTP/1.1",
    "GET /x/W  HTTP/1.1",
    "GET /x/W HTTP/1.1 ",
    "GET /x/W",
    "GET /x/W HTTP/1.2",
    "GET /x/W HTTP/0.9",
    "GET /x/W HTTP/2.0",
    "GET /x/W HTTP/3",
    "GET /x/W http/1.1",
    "GET /x/W HTTP/1.1x",
    "GET /x/W HTTP/1",
    "GET /x/W HTTP/01.1",
    "GET /x/W HTTP/1.01",
    "GET /x/W HTTP /1.1",
    "GET /x/W X HTTP/1.1",
    "GET /x /W HTTP/1.1",
    "GET\0/x/W HTTP/1.1",
    "GET /x/W\0 HTTP/1.1",
    "GET\x0b/x/W HTTP/1.1",
    "GET /x/W\x0bHTTP/1.1",
    "GET /x/W\rHTTP/1.1",
    "G(T /x/W HTTP/1.1",
    "\"GET\" /x/W HTTP/1.1",
    "GET: /x/W HTTP/1.1",
    "get /x/W HTTP/1.1",
    "Get /x/W HTTP/1.1",
    "G1 /x/W HTTP/1.1",
    "GET- /x/W HTTP/1.1",
    "-GET /x/W HTTP/1.1",
    "A-B-C /x/W HTTP/1.1",
    "ABCDEFGHIJKLMNOPQRSTU /x/W HTTP/1.1",
    "GE\u{e9}T /x/W HTTP/1.1",
    "GET,POST /x/W HTTP/1.1",
    "GET_ /x/W HTTP/1.1",
    "GET.X /x/W HTTP/1.1",
    "/x/W HTTP/1.1",
    "HTTP/1.1 200 OK",
    "GET x/W HTTP/1.1",
    "GET W HTTP/1.1",
    "GET *?W HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET ?W HTTP/1.1",
    "GET %2fx/W HTTP/1.1",
    "GET W:80 HTTP/1.1",
];

#[tokio::test(flavor = "multi_thread")]
async fn smg_22_a_request_line_that_is_not_three_words_is_refused() {
    let (bench, _) = start().await;
    let mut trials = Vec::new();
    for line in ODD_LINES {
        for manner in MANNERS {
            let word = bench.word();
            let mut bytes = format!("{}\r\nHost: a\r\n\r\n", line.replace('W', &word)).into_bytes();
            bytes.extend(smuggled(&word));
            let what = format!("{line:?}, {manner:?}");
            trials.push(Trial::refused(&word, &what, 400, cut(&bytes, manner)).by("GET"));
        }
    }
    bench.play(trials).await;
}

/// What this server's library takes although it is no line of the grammar: it is read in one way and
/// written anew, so nobody behind sees the odd form.
#[tokio::test(flavor = "multi_thread")]
async fn smg_22_bare_line_feeds_end_lines_and_are_written_anew() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for (line_end, head_end) in [("\n", "\n"), ("\r\n", "\n"), ("\n", "\r\n")] {
        for before in ["", "\r\n", "\n", "\r\n\r\n"] {
            for manner in MANNERS {
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], trials.len());
                let word = bench.word();
                let target = format!("{path}{word}");
                let bytes = format!(
                    "{before}POST {target} HTTP/1.1{line_end}X: y{line_end}Content-Length: 5\
                     {line_end}{fields}{}Host: a{line_end}{head_end}hello",
                    if fields.is_empty() { "" } else { line_end },
                );
                let what = format!("{bytes:?}, {manner:?}");
                let forwarded = Forwarded::sized("POST", &target, b"hello");
                let pieces = cut(bytes.as_bytes(), manner);
                trials.push(Trial::passed(&word, &what, forwarded, pieces));
            }
        }
    }
    bench.play(trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_22_every_request_of_a_pipeline_is_judged_by_its_own_head() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for manner in MANNERS {
        for turns in 0..6 {
            let word = bench.word();
            // An answer that comes before a body is whole may end the connection (SMG-10).
            let early = if manner == Manner::Whole { "hello" } else { "" };
            // (target, fields, body, status)
            let mut all = [
                (format!("/x/{word}/0"), "", "", 200),
                (format!("/private/{word}/1"), &*cookie, "", 200),
                (format!("/private/{word}/2"), "", "", 401),
                (format!("/admin/{word}/3"), "", early, 401),
                (format!("/admin/{word}/4"), &*cookie, "hello", 200),
                (format!("/x/{word}/5"), "", "hello", 200),
            ];
            all.rotate_left(turns);
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            let (mut methods, mut statuses) = (Vec::new(), Vec::new());
            for (target, fields, body, status) in &all {
                let method = if body.is_empty() { "GET" } else { "POST" };
                let length = format!("Content-Length: {}", body.len());
                let length = if body.is_empty() { "" } else { &*length };
                bytes.extend(head(method, target, length.as_bytes(), fields.as_bytes()));
                bytes.extend(format!("\r\n{body}").bytes());
                methods.push(method.to_owned());
                statuses.push(*status);
                if *status == 200 && body.is_empty() {
                    expected.push(Forwarded::bare(method, target));
                } else if *status == 200 {
                    expected.push(Forwarded::sized(method, target, body.as_bytes()));
                }
            }
            trials.push(Trial {
                what: format!("{all:?}, {manner:?}"),
                word,
                pieces: cut(&bytes, manner),
                methods,
                statuses,
                maybe: None,
                end: End::Kept,
                upstreamed: Upstreamed::Exactly(expected),
            });
        }
    }
    bench.play(trials).await;
    for received in bench.received() {
        let is_identified = received.has("x-auth-user-id");
        let must_be = ["/1", "/4"].iter().any(|end| received.target.ends_with(end));
        assert_eq!(is_identified, must_be, "{}", received.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_22_a_preface_of_another_protocol_is_no_request() {
    let (bench, _) = start().await;
    let mut trials = Vec::new();
    let greetings: [&[u8]; 6] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02GET /x HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
    ];
    for greeting in greetings {
        for manner in MANNERS {
            let word = bench.word();
            let bytes = [greeting, &smuggled(&word)].concat();
            let what = format!("{:?}, {manner:?}", String::from_utf8_lossy(greeting));
            let refused = Trial::refused(&word, &what, 400, cut(&bytes, manner)).by("GET");
            // A whole preface of HTTP/2 is not even answered.
            trials.push(Trial { statuses: Vec::new(), maybe: Some(400), ..refused });
        }
    }
    bench.play(trials).await;
    assert_eq!(bench.upstream.count(), 0);
}

/// Two requests in one piece, the first of which ends the session that the second names.
#[tokio::test(flavor = "multi_thread")]
async fn smg_22_a_pipeline_outlives_no_sign_out() {
    let (bench, _) = start().await;
    for manner in MANNERS {
        let dora = bench.gateway.person(&format!("dora{manner:?}")).sign_in().await;
        let lines = format!("Host: a\r\nCookie: {}\r\n", dora.cookies());
        let word = bench.word();
        let bytes = format!(
            "GET /private/{word}/1 HTTP/1.1\r\n{lines}\r\n\
             POST /auth/cookie/logout HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n\
             GET /private/{word}/2 HTTP/1.1\r\n{lines}\r\n"
        );
        let mut raw = crate::raw::Raw::connect(bench.gateway.address).await;
        super::super::trial::send_pieces(&mut raw, &cut(bytes.as_bytes(), manner)).await;
        let mut statuses = Vec::new();
        for method in ["GET", "POST", "GET"] {
            statuses.push(raw.response(method).await.status);
        }
        assert_eq!(statuses, [200, 204, 401], "{manner:?}");
    }
}

/// A client that says it is the last request has said so.
#[tokio::test(flavor = "multi_thread")]
async fn smg_22_nothing_is_read_behind_a_request_that_says_it_is_the_last() {
    let (bench, cookie) = start().await;
    let mut trials = Vec::new();
    for connection in [
        "close",
        "CLOSE",
        "keep-alive, close",
        "close, keep-alive",
        "close\r\nConnection: keep-alive",
        "keep-alive\r\nConnection: close",
        "x-a,close,,",
    ] {
        for manner in MANNERS {
            let index = trials.len();
            let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], index);
            let method = turn(&["GET", "POST", "DELETE"], index);
            let word = bench.word();
            let target = format!("{path}{word}");
            let lines = format!("Connection: {connection}");
            let mut bytes = head(method, &target, lines.as_bytes(), fields.as_bytes());
            bytes.extend([b"\r\n", &smuggled(&word)[..]].concat());
            let what = format!("{method} {target} with {lines:?}, {manner:?}");
            let forwarded = Forwarded::bare(method, &target);
            let trial = Trial::passed(&word, &what, forwarded, cut(&bytes, manner));
            trials.push(trial.ending(End::Closed));
        }
    }
    bench.play(trials).await;
}

/// What stands beyond the limits is not cut off: the head is refused whole.
#[tokio::test(flavor = "multi_thread")]
async fn smg_22_a_head_beyond_the_limits_is_refused_whole() {
    let (bench, cookie) = start().await;
    let fillers = "X-A: b\r\n".repeat(100);
    let long = format!("X-A: {}\r\n", "b".repeat(70_000));
    let mut trials = Vec::new();
    for last in [
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        "Host: b",
        "Connection: close",
        "X-Auth-User-Id: forged",
        "Upgrade: websocket",
    ] {
        for many in [&fillers, &long] {
            for is_first in [true, false] {
                let word = bench.word();
                let method = turn(&["POST", "GET"], trials.len());
                let (path, fields) = turn(&[("/x/", ""), ("/private/", &*cookie)], trials.len());
                let lines = if is_first {
                    format!("{last}\r\n{many}")
                } else {
                    format!("{many}{last}\r\n")
                };
                let target = format!("{path}{word}");
                let lines = lines.trim_end().as_bytes();
                let mut bytes = head(method, &target, lines, fields.as_bytes());
                bytes.extend([b"\r\n0\r\n\r\n", &smuggled(&word)[..]].concat());
                let what =
                    format!("{method} {target}: {last}, first {is_first}, {} bytes", bytes.len());
                let manner = turn(&[Manner::Whole, Manner::Halves], trials.len() / 2);
                trials.push(Trial::refused(&word, &what, 431, cut(&bytes, manner)).by(method));
            }
        }
    }
    for length in [8_300, 20_000, 60_000] {
        for (before, after, status) in
            [("/x/", "/../admin", 414), ("/x?", "#f", 400), ("/private/", "", 414)]
        {
            let word = bench.word();
            let target = format!("{before}{word}-{}{after}", "a".repeat(length));
            let bytes = [&head("GET", &target, b"", b"")[..], b"\r\n"].concat();
            let what = format!("a target of {length} bytes, {before}…{after}");
            // Of a target that is only too long it is plain where its request ends.
            let end = if status == 414 { End::Kept } else { End::Closed };
            let trial = Trial::refused(&word, &what, status, vec![bytes]).by("GET");
            trials.push(trial.ending(end));
        }
    }
    bench.play(trials).await;
}
