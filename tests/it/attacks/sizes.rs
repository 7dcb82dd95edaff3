//! Too much of a body, really sent, to every address of the gateway's own that reads one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::outputs::FORMS;
use crate::harness::{Gateway, PASSWORD, Stopwatch, report};
use crate::people::hostile::{JSON, endpoints};
use crate::raw::{Client, PATIENCE, Raw, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
routes: [{ path: "/**", upstream: app, allow: authenticated }]
accounts: { registration: open }
mail: { from: "quay@example.com", directory: mail }
providers: { corp: { kind: github, client_id: a, client_secret: b, who: anyone } }
limits: off
"#;

const PIECE: usize = 64 * 1024;
/// Pieces of a body: ten megabytes.
const PIECES: usize = 160;
/// Bodies under way at a time.
const AT_ONCE: usize = 16;
/// What they may take of the gateway's memory together, in KiB: a tenth of what is sent at a time.
const MEMORY: u64 = 16 * 1024;

/// A body to be sent: by which method, where, as what, by whom.
#[derive(Clone, Debug)]
struct Much {
    method: String,
    path: String,
    kind: &'static str,
    is_chunked: bool,
    credential: String,
}

impl Much {
    /// Sends it whole, unless the gateway takes no more, and a request behind it. There is one answer, and
    /// then the end of the connection.
    async fn send(&self, address: SocketAddr) -> Response {
        let Self { method, path, kind, is_chunked, credential } = self;
        let framing = if *is_chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", PIECE * PIECES)
        };
        let mut piece = vec![b'a'; PIECE];
        if *is_chunked {
            piece = [format!("{PIECE:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
        }
        let mut raw = Raw::connect(address).await;
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\n{framing}\r\n\
             Origin: http://{address}\r\n{credential}\r\n\r\n"
        ))
        .await;
        let mut sent = 0;
        while sent < PIECES && raw.try_send(&piece).await.is_ok() {
            sent += 1;
        }
        let end = if *is_chunked { "0\r\n\r\n" } else { "" };
        let behind = format!("{end}GET /auth/session HTTP/1.1\r\nHost: {address}\r\n\r\n");
        raw.try_send(behind.as_bytes()).await.unwrap_or_default();
        let answer = raw.response(method).await;
        let after = raw.read_to_end().await;
        assert!(after.is_empty(), "{self:?}: {}", String::from_utf8_lossy(&after));
        answer
    }
}

/// Every address that reads a body, as JSON or as a form, in both framings.
async fn all(gateway: SocketAddr, id: &str, cookie: &str, bearer: &str) -> Vec<Much> {
    let mut places: Vec<(String, String, &'static str)> = Vec::new();
    for endpoint in endpoints(&Client::new(gateway), id).await {
        places.push((endpoint.method, endpoint.path, JSON));
    }
    let login = ["/auth/jwt/login", "/auth/cookie/login", "/auth/corp/backchannel-logout"];
    let pages = FORMS.iter().map(|(_, path, _)| format!("/auth/{path}"));
    for path in login.into_iter().map(str::to_owned).chain(pages) {
        for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            places.push(("POST".to_owned(), path.clone(), kind));
        }
    }
    let mut all = Vec::new();
    for (method, path, kind) in places {
        for is_chunked in [false, true] {
            for credential in ["X-Nobody: 1", cookie, bearer] {
                let (method, path) = (method.clone(), path.clone());
                all.push(Much { method, path, kind, is_chunked, credential: credential.into() });
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn dos_16_ten_megabytes_to_any_endpoint_or_form_are_refused_and_kept_nowhere() {
    let upstream = Upstream::start();
    let process = Gateway::builder(YAML).with("APP", &upstream.url()).spawn().await;
    process.create_user("ann", &[]);
    process.create_user("root", &["--superuser"]);
    let ann = process.sign_in("ann").await;
    let id = ann.get("/auth/users/me").send().await.expect(200).json()["id"].clone();
    let fields = [("username", "root@example.com"), ("password", PASSWORD)];
    let token = process.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
    let token = token.json()["access_token"].as_str().unwrap().to_owned();
    let (cookie, bearer) =
        (format!("Cookie: {}", ann.cookies()), format!("Authorization: Bearer {token}"));
    let all = all(process.address, id.as_str().unwrap(), &cookie, &bearer).await;
    assert!(all.len() > 200, "only {} bodies", all.len());
    let (before, watch) = (process.memory_kib(), Stopwatch::start());
    let is_over = Arc::new(AtomicBool::new(false));
    let sending = async {
        let answers = stream::iter(&all).map(async |much| (much, much.send(process.address).await));
        let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
        is_over.store(true, Ordering::Relaxed);
        answers
    };
    let watching = async {
        let mut most = before;
        while !is_over.load(Ordering::Relaxed) {
            most = most.max(process.memory_kib());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        most
    };
    let (answers, most) = tokio::join!(sending, watching);
    let mut too_large = 0;
    for (much, answer) in &answers {
        // Who may not call is told so before anything is read.
        assert!(matches!(answer.status, 401 | 403 | 413), "{much:?}: {}", answer.status);
        too_large += usize::from(answer.status == 413);
    }
    assert!(too_large > answers.len() / 2, "{too_large} of {}", answers.len());
    let (took, grown) = (watch.elapsed(), most - before);
    report(&format!("{} bodies of 10 MB in {took:?}, {grown} KiB at most", answers.len()));
    assert!(grown < MEMORY, "{grown} KiB more than before");
    assert!(took < PATIENCE * 3, "{took:?}");
    ann.get("/auth/users/me").send().await.expect(200);
    assert_eq!(upstream.count(), 0);
}
