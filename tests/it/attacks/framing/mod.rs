//! Request smuggling and message framing: what both sides must read in one way.

mod answers;
mod bodies;
mod chunks;
mod early;
mod fields;
mod heads;
mod hosts;
mod people;
mod upgrades;

use super::trial::{Bench, MANNERS, Trial, cut, turn};

const YAML: &str = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/private/**", upstream: app, allow: authenticated }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/read/**", methods: [GET], upstream: app, allow: public }
"#;

/// Where a request goes: the beginning of its target, and headers.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    path: &'a str,
    fields: &'a str,
}

/// Public, guarded with and without somebody who may pass, and the gateway's own.
fn places(cookie: &str) -> [Place<'_>; 6] {
    let at = |path, fields| Place { path, fields };
    [
        at("/x/", ""),
        at("/private/", ""),
        at("/private/", cookie),
        at("/auth/jwt/login?", ""),
        at("/auth/login?", ""),
        at("/auth/nowhere/", ""),
    ]
}

/// A head that has these lines, `Host` somewhere among them, and no end yet.
fn head(method: &str, target: &str, before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for lines in [before, b"Host: a", after] {
        bytes.extend_from_slice(lines);
        if !lines.is_empty() {
            bytes.extend(b"\r\n");
        }
    }
    bytes
}

/// A request that nobody may ever answer: it is only sent as the body, or behind the end, of another.
fn smuggled(word: &str) -> Vec<u8> {
    format!("GET /x/{word}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

const METHODS: [&str; 6] = ["POST", "PUT", "GET", "DELETE", "PATCH", "PROPFIND"];

/// Requests that hold these lines, each in every manner; the position of the lines in the head, the
/// method, the place and what follows the head change in turn. All are refused with 400.
fn refusals(bench: &Bench, lines: &[&[u8]], cookie: &str) -> Vec<Trial> {
    let places = places(cookie);
    let mut trials = Vec::new();
    for lines in lines {
        for manner in MANNERS {
            let index = trials.len();
            let word = bench.word();
            let (place, method) = (turn(&places, index), turn(&METHODS, index / places.len()));
            let target = format!("{}{word}", place.path);
            let mut bytes = match index % 3 {
                0 => head(method, &target, lines, place.fields.as_bytes()),
                1 => head(method, &target, place.fields.as_bytes(), lines),
                _ => {
                    let before = [b"Accept: */*\r\nX-A: b\r\n", *lines].concat();
                    head(method, &target, &before, place.fields.as_bytes())
                }
            };
            bytes.extend(b"\r\n");
            match index % 4 {
                0 => bytes.extend(smuggled(&word)),
                1 => bytes.extend(b"0\r\n\r\n"),
                2 => bytes.extend([&b"5\r\nhello\r\n0\r\n\r\n"[..], &smuggled(&word)].concat()),
                _ => {}
            }
            let shown = String::from_utf8_lossy(lines).escape_debug().to_string();
            let what = format!("{method} {target} with {shown}, {manner:?}");
            trials.push(Trial::refused(&word, &what, 400, cut(&bytes, manner)).by(method));
        }
    }
    trials
}

/// A bench of this module, and the cookie of somebody who may pass.
async fn start() -> (Bench, String) {
    let bench = Bench::start(YAML).await;
    let ann = bench.gateway.person("ann").role("admin").sign_in().await;
    let cookie = format!("Cookie: {}", ann.cookies());
    (bench, cookie)
}
