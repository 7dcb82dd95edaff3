//! The checks of the fuzz targets as ordinary tests: over the corpus that fuzzing left, and over random
//! inputs made of hostile parts.

#[path = "../../fuzz/src/lib.rs"]
mod checks;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

fn replay(corpus: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        let checked = std::panic::catch_unwind(|| check(&input));
        assert!(checked.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 20, "{count} files in {}", directory.display());
}

#[test]
fn what_fuzzing_found_of_targets_holds() {
    replay("target", checks::target::check);
}

#[test]
fn what_fuzzing_found_of_cookies_holds() {
    replay("cookie", checks::cookie::check);
}

#[test]
fn what_fuzzing_found_of_heads_holds() {
    replay("header", checks::header::check);
}

#[test]
fn what_fuzzing_found_of_configurations_holds() {
    replay("configuration", checks::configuration::check);
}

/// Texts made of these parts, now and then with arbitrary bytes between them.
fn made_of(parts: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        12 => select(parts).prop_map(|part| part.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(part, 0..most).prop_map(|parts| parts.concat())
}

const TARGETS: &[&str] = &[
    "/", "/", "/", "a", "admin", "..", ".", "%2e", "%2E", ";", "%3b", "%2f", "%2F", "%5c",
    "%c0%af", "%ff", "%25", "%20", "%00", "%", "?", "?x=1", "[", "\\", "é", "#", " ", "//",
];

const COOKIES: &[&str] = &[
    "portcullis",
    "__Host-",
    "__Secure-",
    "__HOST-",
    "-csrf",
    "=",
    "=",
    "; ",
    ";",
    " ",
    "\t",
    "\n",
    "a",
    "a=1",
    "\"",
    ",",
    "$Version",
    "\u{2000}",
    "\u{a0}",
    "x",
    "%3d",
    "Portcullis",
];

const NAMES: &[&str] = &[
    "X-Forwarded-For",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Auth-User-Id",
    "X_Auth_Email",
    "x.auth.x",
    "Remote-User",
    "remote_user",
    "X-Remote-User",
    "X-WEBAUTH-USER",
    "X-Forwarded-Anything",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Envoy-Original-Path",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Forwarded",
    "X-HTTP-Method",
    "X-Method-Override",
    "Proxy",
    "Proxy-Authorization",
    "X-Auth-Token",
    "X_Tenant",
    "X-Team",
    "x_team",
    "Connection",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Authorization",
    "Host",
    "Origin",
    "Sec-Fetch-Mode",
    "Accept",
    "Accept-Language",
    "x-hop",
    "Cookie",
    "HTTP2-Settings",
    "Remoteness",
    "X-Authority",
];

const VALUES: &[&str] = &[
    "1.2.3.4",
    "10.0.0.1",
    "10.9.9.9",
    "::1",
    "[2001:db8::1]",
    "::ffff:10.0.0.1",
    "::ffff:1.2.3.4",
    "fd00::1",
    "%eth0",
    ":80",
    ", ",
    ",",
    ", ",
    " ",
    "https",
    "http",
    "close",
    "keep-alive",
    "x-hop",
    "x-team",
    "host",
    "cookie",
    "5",
    "05",
    "chunked",
    "websocket",
    "upgrade",
    "Bearer ",
    "bearer\t",
    "Basic ",
    "pc_x",
    "eyJraWQiOiJwYy0xIn0.e30.x",
    "a.example",
    "https://app.example.org",
    "null",
    "navigate",
    "text/html",
    ";q=0.5",
    "|",
    "%2c",
    "é",
];

const HOPS: &[&str] = &[
    "1.2.3.4",
    "5.6.7.8:80",
    "10.0.0.1",
    "10.9.9.9:1",
    "[2001:db8::1]",
    "::ffff:10.0.0.1",
    "::ffff:9.9.9.9",
    "fd00::1",
    "x",
];

const TOKENS: &[&str] = &[
    "close",
    "keep-alive",
    "x-hop",
    "X-Team",
    "upgrade",
    "te",
    "accept",
    "accept-language",
    "host",
];

const CREDENTIALS: &[&str] = &[
    "Bearer pc_x",
    "bearer\tpc_",
    "Bearer eyJraWQiOiJwYy0xIn0.e30.x",
    "Bearer x",
    "Basic pc_x",
    "pc_x",
    "BEARER  pc_x y",
];

/// The lines of a head: values that say something, and values that should say nothing.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let list = |items, most| {
        let items = prop::collection::vec(select(items), 1..most);
        (items, select(&[",", ", ", "\t,"][..]))
            .prop_map(|(items, mark)| items.join(mark).into_bytes())
    };
    let value = prop_oneof![
        2 => select(VALUES).prop_map(|value| value.as_bytes().to_vec()),
        1 => made_of(VALUES, 6),
    ];
    let line = prop_oneof![
        3 => (Just("X-Forwarded-For"), list(HOPS, 5)),
        1 => (Just("X-Forwarded-Proto"), list(&["http", "https"], 2)),
        1 => (Just("Connection"), list(TOKENS, 4)),
        1 => (Just("Authorization"), list(CREDENTIALS, 2)),
        8 => (select(NAMES), value),
    ];
    let line = line.prop_map(|(name, value)| [name.as_bytes(), b": ", value.as_slice()].concat());
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join(&b'\n'))
}

const CONFIGURATIONS: &[&str] = &[
    "upstreams: { app: \"http://127.0.0.1:3000\" }\n",
    "routes:\n",
    "  - { path: \"/**\", upstream: app, allow: ",
    "public }\n",
    "authenticated }\n",
    "optional }\n",
    "{ roles: [admin] } }\n",
    "{ any: [",
    "{ not: ",
    "{ all: [",
    "] } }\n",
    " }",
    "]",
    "anonymous: true",
    "networks: [\"10.0.0.0/8\"]",
    "roles:\n",
    "  staff: [\"a:read\"]\n",
    "secret: ${SECRET}\n",
    "secret: \"${SECRET}\"\n",
    "portal: { path: /auth }\n",
    "\n",
    "  ",
    ": ",
    "- ",
    "\"",
    "'",
    "${PORT}",
    "${NONE:-x}",
    "$$",
    "${",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "# x\n",
    "listen: \"127.0.0.1:${PORT}\"\n",
    "database: ",
    "postgres://u:${SECRET}@h/d\n",
    "sqlite://x.db\n",
    "| \n",
    "? ",
    "é",
    "\t",
    "\r\n",
    "30s",
    "null",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_target_is_read_as_its_words_say_and_as_every_application_reads_it(
        target in made_of(TARGETS, 14),
    ) {
        checks::target::check(&[b"/", target.as_slice()].concat());
        checks::target::check(&target);
    }

    #[test]
    fn only_the_cookie_of_the_exact_name_is_believed_and_none_of_ours_goes_on(
        cookies in made_of(COOKIES, 24),
    ) {
        checks::cookie::check(&cookies);
    }

    #[test]
    fn no_forged_address_credential_or_identity_gets_through_a_head(
        head in heads(),
    ) {
        checks::header::check(&head);
    }

    #[test]
    fn whatever_a_configuration_holds_it_is_read_or_refused_with_reasons(
        text in made_of(CONFIGURATIONS, 24),
    ) {
        checks::configuration::check(&text);
    }
}
