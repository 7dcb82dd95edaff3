//! Requests that are answered before their body was read: what is left of the body is no request.

use std::time::Duration;

use super::super::trial::{Bench, End, Manner, Trial, cut};
use super::super::{start as start_plain, status_of};
use super::smuggled;
use crate::raw::Raw;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
origins: ["https://listed.example"]
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/private/**", upstream: app, allow: authenticated }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/inside/**", upstream: app, allow: { networks: ["10.0.0.0/8"], anonymous: true } }
  - { host: "bare", path: "/only/**", methods: [PATCH], upstream: app, allow: public }
"#;

/// What is answered early: request line without version, fields, status.
type Case = (&'static str, String, u16);

fn cases(ann: &str, cat: &str) -> Vec<Case> {
    let to_a = |fields: &str| format!("Host: a\r\n{fields}");
    vec![
        ("POST /private/W", to_a(""), 401),
        ("GET /private/W", to_a("Accept: text/html\r\n"), 303),
        ("POST /private/W", to_a("Sec-Fetch-Mode: navigate\r\n"), 303),
        ("POST /private/W", to_a("Authorization: Bearer pc_nobody\r\n"), 401),
        ("PUT /private/W", to_a("Cookie: portcullis=nobody\r\n"), 401),
        ("DELETE /admin/W", to_a(cat), 403),
        ("POST /private/W", to_a(&format!("{ann}Origin: http://evil\r\n")), 403),
        ("POST /private/W", to_a(&format!("{ann}Sec-Fetch-Site: cross-site\r\n")), 403),
        ("POST /inside/W", to_a(""), 403),
        ("GET /private/W", to_a(&format!("{ann}{ann}")), 401),
        ("POST /private/W", to_a("Authorization: Basic a\r\nAuthorization: Basic b\r\n"), 400),
        ("POST /x/W", "Host: bare\r\n".to_owned(), 404),
        ("POST /only/W", "Host: bare\r\n".to_owned(), 405),
        ("POST /x/../W", to_a(""), 400),
        ("POST /x/W%00", to_a(""), 400),
        ("POST /x/W;y", to_a(""), 400),
        ("post /x/W", to_a(""), 400),
        ("TRACE /x/W", to_a(""), 405),
        ("POST /x/W", "Host: a\r\nHost: a\r\n".to_owned(), 400),
        ("POST /x/W", to_a("Connection: content-length\r\n"), 400),
        ("GET /x/W", to_a("Connection: Upgrade\r\nUpgrade: websocket\r\n"), 400),
        ("POST /auth/nowhere/W", to_a(""), 404),
        ("GET /auth/login?W", to_a(""), 200),
        ("DELETE /auth/login?W", to_a(""), 405),
        ("POST /auth/cookie/login?W", to_a("Origin: http://evil\r\n"), 403),
        ("GET /auth/users/me?W", to_a(""), 401),
        (
            "OPTIONS /private/W",
            to_a("Origin: https://listed.example\r\nAccess-Control-Request-Method: GET\r\n"),
            204,
        ),
    ]
}

/// How a body is announced and what of it is sent: fields, bytes.
fn bodies(word: &str) -> Vec<(String, Vec<u8>)> {
    let one = smuggled(word);
    let size = one.len();
    let chunk = [format!("{size:x}\r\n").as_bytes(), &one, b"\r\n"].concat();
    let many = one.repeat(8000);
    let expect = "Expect: 100-continue\r\n";
    vec![
        (format!("Content-Length: {size}\r\n"), one.clone()),
        (format!("Content-Length: {}\r\n", size * 2), one.repeat(2)),
        (format!("Content-Length: {}\r\n", size * 2), one.clone()),
        (format!("Content-Length: {}\r\n", size + 5), Vec::new()),
        (format!("Content-Length: {}\r\n", many.len()), many.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), [&chunk[..], b"0\r\n\r\n"].concat()),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            [&chunk.repeat(3)[..], b"0\r\n\r\n"].concat(),
        ),
        ("Transfer-Encoding: chunked\r\n".to_owned(), chunk.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), one.clone()),
        (format!("Content-Length: {size}\r\n{expect}"), one.clone()),
        (format!("Content-Length: {}\r\n{expect}", size + 5), Vec::new()),
        (format!("Content-Length: {}\r\n{expect}", many.len()), many),
        (format!("Transfer-Encoding: chunked\r\n{expect}"), [&chunk[..], b"0\r\n\r\n"].concat()),
        (format!("Content-Length: {size}\r\nExpect: y 100-continue\r\n"), one.clone()),
        (format!("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n"), one),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_10_what_is_left_of_a_body_after_an_early_answer_is_no_request() {
    let bench = Bench::start(YAML).await;
    let ann = bench.gateway.person("ann").role("admin").sign_in().await;
    let cat = bench.gateway.person("cat").sign_in().await;
    let [ann, cat] = [ann, cat].map(|client| format!("Cookie: {}\r\n", client.cookies()));
    let mut trials = Vec::new();
    for (line, fields, status) in cases(&ann, &cat) {
        for kind in 0..bodies("").len() {
            let manner = [Manner::Whole, Manner::Halves, Manner::Lines][(kind + trials.len()) % 3];
            trials.push(early(&bench, line, &fields, status, (kind, manner)));
        }
    }
    bench.play(trials).await;
    assert_eq!(bench.upstream.count(), bench.received().len());
}

fn early(
    bench: &Bench,
    line: &str,
    fields: &str,
    status: u16,
    (kind, manner): (usize, Manner),
) -> Trial {
    let word = bench.word();
    let (framing, body) = bodies(&word).swap_remove(kind);
    let method = line.split(' ').next().unwrap();
    let line = line.replace('W', &word);
    let head = format!("{line} HTTP/1.1\r\n{framing}{fields}\r\n");
    // Cut by lines, a long body would come in too many pieces.
    let pieces = match manner {
        Manner::Lines => vec![head.into_bytes(), body],
        Manner::Whole | Manner::Halves | Manner::Seams | Manner::Bytes => {
            cut(&[head.as_bytes(), &body].concat(), manner)
        }
    };
    let what = format!("{line}, {fields:?}, {framing:?}, {manner:?}");
    Trial::refused(&word, &what, status, pieces).by(method).ending(End::Any)
}

/// The same at the limits of sign-ins, by count and by size.
#[tokio::test(flavor = "multi_thread")]
async fn smg_10_a_limit_answers_early_and_leaves_no_request_behind() {
    let bench = Bench::start(YAML).await;
    for number in 0..20 {
        let name = format!("nobody{number}@example.com");
        let wrong = [("username", &*name), ("password", "wrong wrong wrong")];
        bench.gateway.client().post("/auth/cookie/login").form(&wrong).send().await.expect(400);
    }
    let mut trials = Vec::new();
    let form = "Host: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    for (size, status) in [(40_usize, 429), (70_000, 413), (2_000_000, 413)] {
        for is_chunked in [true, false] {
            for manner in [Manner::Whole, Manner::Halves] {
                let word = bench.word();
                let mut body = b"username=nobody&password=wrong&x=".to_vec();
                while body.len() + 40 < size {
                    body.extend(smuggled(&word));
                }
                let framing = if is_chunked {
                    body = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"]
                        .concat();
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {}", body.len())
                };
                let head =
                    format!("POST /auth/cookie/login?{word} HTTP/1.1\r\n{form}{framing}\r\n\r\n");
                let pieces = cut(&[head.as_bytes(), &body].concat(), manner);
                let what = format!("{framing}, {size}, {manner:?}");
                trials.push(Trial::refused(&word, &what, status, pieces).ending(End::Any));
            }
        }
    }
    bench.play(trials).await;
    let smuggled = |seen: &crate::upstream::Seen| !seen.target().starts_with("/probe/");
    assert!(!bench.upstream.seen().iter().any(smuggled));
}

/// A field that `Connection` would take away with the framing, or with what the gateway judges by.
#[tokio::test(flavor = "multi_thread")]
async fn smg_10_framing_that_the_next_hop_would_lose_is_refused() {
    let (upstream, gateway) = start_plain().await;
    for path in ["/x", "/private", "/auth/jwt/login", "/auth/login", "/nowhere/at/all"] {
        for named in
            ["content-length", "Transfer-Encoding", "host", "COOKIE", "origin", "Sec-Fetch-Site"]
        {
            for connection in
                [named.to_owned(), format!("keep-alive, {named}"), format!("{named},,close")]
            {
                let request = format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\
                     Content-Length: 0\r\n\r\n"
                );
                assert_eq!(status_of(&gateway, &request).await, 400, "{path}: {connection}");
            }
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_head_that_came_with_the_last_request_has_ten_seconds_too() {
    let (_upstream, gateway) = start_plain().await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HT").await;
    raw.response("GET").await.expect(200);
    gateway.advance(Duration::from_secs(9));
    assert!(raw.is_silent_for(Duration::from_millis(300)).await);
    gateway.advance(Duration::from_secs(2));
    assert!(raw.is_closed_within(Duration::from_secs(2)).await);
}
