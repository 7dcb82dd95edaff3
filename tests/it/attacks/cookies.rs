//! Session cookies and tokens as bytes: other spellings of a name or a value are another, and what the
//! gateway sets says no more than it must.

use super::spelling::{Dice, with_one_letter_swapped};
use crate::harness::{Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::{Client, Raw, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: optional }
  - { path: "/x", upstream: app, allow: authenticated }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Asks with this `Cookie` line, byte for byte; who the application was told it is.
async fn who(raw: &mut Raw, upstream: &Upstream, line: &[u8]) -> Option<String> {
    let head = [b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: ", line, b"\r\n\r\n"].concat();
    raw.send(head).await;
    raw.response("GET").await.expect(200);
    upstream.last().header("x-auth-email")
}

/// Names that some reader takes for this one, and that are not it.
fn lookalikes(name: &str) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let spaces = [
        "\u{2000}", "\u{2028}", "\u{200b}", "\u{3000}", "\u{a0}", "\u{85}", "\u{feff}", "$", "%20",
        "\"", "'", "_", "-", ".", "+", "\\",
    ];
    for space in spaces {
        names.push(format!("{space}{name}").into_bytes());
        names.push(format!("{name}{space}").into_bytes());
        names.push(format!("{space}{space}{name}{space}").into_bytes());
    }
    for byte in [0x80_u8, 0xa0, 0xff, 0xc2] {
        names.push([&[byte], name.as_bytes()].concat());
        names.push([name.as_bytes(), &[byte]].concat());
    }
    names.push([name.as_bytes(), b" "].concat());
    names.push([name.as_bytes(), b"\t"].concat());
    names.push([b"=", name.as_bytes()].concat());
    names.extend(with_one_letter_swapped(name).into_iter().map(String::into_bytes));
    for (at, letter) in name.char_indices() {
        let encoded = format!("{}%{:02x}{}", &name[..at], u32::from(letter), &name[at + 1..]);
        names.push(encoded.into_bytes());
    }
    names.push(name.replace('c', "\u{441}").into_bytes());
    names.push(name.replace('s', "\u{17f}").into_bytes());
    names.push(name.as_bytes()[1..].to_vec());
    names.push(name.trim_start_matches("__Host-").replace('p', "\u{ff50}").into_bytes());
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_07_a_cookie_of_nearly_our_name_is_not_ours() {
    let upstream = Upstream::start();
    for (public_url, name) in
        [("http://127.0.0.1:8080", "portcullis"), ("https://auth.example.com", "__Host-portcullis")]
    {
        let builder = Gateway::builder(YAML).with("APP", &upstream.url());
        let gateway = builder.key("public_url", public_url).start().await;
        let value = async |who: &str| gateway.person(who).sign_in().await.cookie(name).unwrap();
        let (good, evil) = (value("ann").await, value("mallory").await);
        let (ann, mallory) = (Some(email("ann")), Some(email("mallory")));
        let good = format!("{name}={good}").into_bytes();
        let mut raw = Raw::connect(gateway.address).await;
        assert_eq!(who(&mut raw, &upstream, &good).await, ann);
        assert_eq!(who(&mut raw, &upstream, format!("{name}={evil}").as_bytes()).await, mallory);
        let mut names = lookalikes(name);
        // Without the prefix in force, or with one that is not.
        let others = [
            "portcullis",
            "__Host-portcullis",
            "__Secure-portcullis",
            "__host-portcullis",
            "__HOST-portcullis",
        ];
        names.extend(
            others.iter().filter(|other| **other != name).map(|other| other.as_bytes().to_vec()),
        );
        let mut dice = Dice(7);
        for forged in names {
            let forged = [&forged, &b"="[..], evil.as_bytes()].concat();
            let case = String::from_utf8_lossy(&forged).into_owned();
            assert_eq!(who(&mut raw, &upstream, &forged).await, None, "{name}: {case}");
            let glue: &[u8] = dice.pick(&[&b"; "[..], b";", b" ; ", b";\t"]);
            for pairs in [[&*forged, &*good], [&good, &forged]] {
                let line = pairs.join(glue);
                assert_eq!(who(&mut raw, &upstream, &line).await, ann, "{name}: {case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_07_no_quoting_hides_a_cookie_and_two_of_one_name_are_none() {
    let (upstream, gateway) = start().await;
    let name = "portcullis";
    let value = async |who: &str| gateway.person(who).sign_in().await.cookie(name).unwrap();
    let (good, evil) = (value("ann").await, value("mallory").await);
    let good = format!("{name}={good}").into_bytes();
    let ann = Some(email("ann"));
    let mut raw = Raw::connect(gateway.address).await;
    // A quoted value does not span the next cookie, and the old syntax says nothing.
    for frame in
        ["a=\"x; {}; b=y\"", "$Version=1; {}; $Path=/", "a=\\\"; {}", "\"{}", "a=1,{}", "a=1\\;{}"]
    {
        let line = frame.replace("{}", std::str::from_utf8(&good).unwrap());
        let told = who(&mut raw, &upstream, line.as_bytes()).await;
        // A semicolon divides, whatever stands before it.
        let is_own_pair = frame.contains("; {}") || frame.contains(";{}");
        assert_eq!(told, ann.clone().filter(|_| is_own_pair), "{frame}");
    }
    // Two of the name: neither is believed, whichever is good.
    for (first, second) in [
        (&*good, b"x".to_vec()),
        (&*good, good[name.len() + 1..].to_vec()),
        (&*good, evil.clone().into_bytes()),
        (&*good, Vec::new()),
    ] {
        let second = [name.as_bytes(), b"=", &second].concat();
        for pairs in [[first, &second], [&second, first]] {
            for glue in [&b"; "[..], b"\r\nCookie: ", b"; a=1; b=2; "] {
                assert_eq!(who(&mut raw, &upstream, &pairs.join(glue)).await, None);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_08_a_cookie_header_without_measure_costs_its_sender_an_answer() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let session = format!("portcullis={}", ann.cookie("portcullis").unwrap());
    let lines = [
        ("ten thousand cookies", "a=;".repeat(10_000)),
        ("60 KiB in one", format!("a={}", "x".repeat(60 * 1024))),
        ("separators alone", "; ".repeat(20_000)),
        ("equals signs alone", "=".repeat(30_000)),
        (
            "a count of chunks",
            "portcullis_chunks=99999999; portcullis-0=a; portcullis.1=b".to_owned(),
        ),
        ("ours five thousand times", "portcullis=x;".repeat(4_800)),
        ("nearly ours", "portcullis-form-00000000=x;".repeat(2_200)),
        ("quotes", "\"".repeat(30_000)),
        ("bytes", "\u{ff}".repeat(15_000)),
        ("over the limit", "a=;".repeat(25_000)),
    ];
    let mut raw = Raw::connect(gateway.address).await;
    for (what, line) in &lines {
        for target in ["/", "/x", "/auth/login", "/auth/session"] {
            for with_session in [false, true] {
                let line = if with_session { format!("{session}; {line}") } else { line.clone() };
                let before = upstream.count();
                let head =
                    format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nCookie: {line}\r\n\r\n");
                raw.send(&head).await;
                let answer = raw.response("GET").await;
                let case = format!("{what} {target} {with_session}: {}", answer.status);
                let is_over = head.len() > 64 * 1024;
                let is_known = with_session && !what.starts_with("ours");
                let expected = match target {
                    _ if is_over => 431,
                    "/x" if !is_known => 401,
                    _ => 200,
                };
                assert_eq!(answer.status, expected, "{case}");
                if is_over {
                    raw = Raw::connect(gateway.address).await;
                } else if target == "/" || expected == 200 && target == "/x" {
                    assert_eq!(
                        upstream.last().header("x-auth-email").is_some(),
                        is_known,
                        "{case}"
                    );
                    assert!(!upstream.last().text().contains("portcullis="), "{case}");
                } else {
                    assert_eq!(upstream.count(), before, "{case}");
                }
            }
        }
    }
    assert!(gateway.metric("portcullis_panics_total").await < 0.5);
}

const BASE64URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Every spelling of a value that a lenient reader might take for it.
fn respelled(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    for cut in [1, 2, 3, 4, 8, value.len() - 1] {
        all.push(value[..value.len() - cut].to_owned());
        all.push(value[cut..].to_owned());
    }
    for more in ["A", "AA", "AAAA", "=", "==", "%3D", ".", "-", "_", "0", "\u{e9}", "%00", value] {
        all.push(format!("{value}{more}"));
        all.push(format!("{more}{value}"));
    }
    all.extend(with_one_letter_swapped(value));
    let (start, last) = value.split_at(value.len() - 1);
    // The last letter holds bits that decode to nothing: each other one with the same byte is another.
    all.extend(
        BASE64URL
            .chars()
            .map(|letter| format!("{start}{letter}"))
            .filter(|other| !other.ends_with(last)),
    );
    for (from, to) in [("-", "+"), ("_", "/")] {
        all.push(value.replace(from, to));
    }
    let encoded = format!("%{:02X}{}", value.as_bytes()[0], &value[1..]);
    all.extend([
        format!("\"{value}\""),
        encoded,
        value.to_ascii_lowercase(),
        value.to_ascii_uppercase(),
        value.chars().rev().collect(),
    ]);
    all.retain(|other| other != value);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_10_a_session_has_one_spelling_and_so_has_a_token() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let cookie = ann.cookie("portcullis").unwrap();
    let mut raw = Raw::connect(gateway.address).await;
    let good = format!("portcullis={cookie}");
    assert_eq!(who(&mut raw, &upstream, good.as_bytes()).await, Some(email("ann")));
    let others = respelled(&cookie);
    assert!(others.len() > 120, "{}", others.len());
    for other in others {
        let line = format!("portcullis={other}");
        assert_eq!(who(&mut raw, &upstream, line.as_bytes()).await, None, "{other}");
    }
    let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
    let answer = gateway.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    for at in 0..3 {
        for other in respelled(&parts[at]).into_iter().step_by(if at == 2 { 1 } else { 5 }) {
            let mut parts = parts.clone();
            parts[at] = other;
            let head = format!(
                "GET /x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\r\n",
                parts.join(".")
            );
            raw.send(head).await;
            let answer = raw.response("GET").await.expect(401);
            // A token whose head cannot be read is an application's, not a broken one of ours.
            let told = answer.header("www-authenticate").unwrap();
            assert!(told.starts_with("Bearer"), "{told} {parts:?}");
        }
    }
    gateway.client().with_bearer(&token).get("/x").send().await.expect(200);
    assert_eq!(who(&mut raw, &upstream, good.as_bytes()).await, Some(email("ann")));
}

/// Every answer that sets a cookie, one way or another.
async fn answers_with_cookies(
    gateway: &Gateway,
    host: &str,
    name: &str,
) -> Vec<(&'static str, Response)> {
    let browser = gateway.client().with_host(host);
    let mut answers = Vec::new();
    let page = browser.visit("/auth/login?next=%2Fx").send().await.expect(200);
    let hidden = hidden_fields(&page.text());
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    let ann = email("ann");
    fields.extend([("username", &*ann), ("password", PASSWORD)]);
    answers.push(("the sign-in page", page));
    let form = |client: &Client, fields: &[(&str, &str)]| {
        client.post("/auth/login").form(fields).navigating_from("same-origin").without("Origin")
    };
    let lost = form(&gateway.client().with_host(host), &fields).send().await;
    answers.push(("a form whose cookie was lost", lost));
    answers.push(("a form out of date", form(&browser, &fields[1..]).send().await));
    let signed_in = form(&browser, &fields).send().await.expect(303);
    let arrived = browser.visit(signed_in.location()).send().await;
    answers.extend([("signing in by the page", signed_in), ("arriving", arrived)]);
    fields.push(("remember", "on"));
    answers.push(("signing in for long", form(&browser, &fields).send().await));
    for (what, target) in
        [("two cookies on an error page", "/x"), ("two cookies on a public page", "/")]
    {
        let call = browser.visit(target).with("Cookie", &format!("{name}=a; {name}=b"));
        answers.push((what, call.send().await));
    }
    let bounce = browser.visit("/auth/login?next=%2Fx").with("Cookie", "a=1");
    answers.push(("a bounce", bounce.send().await));
    let json = browser
        .call("POST", "/auth/cookie/login")
        .form(&fields)
        .header("Sec-Fetch-Site", "same-origin");
    answers.push(("signing in by JSON", json.send().await.expect(204)));
    let out = browser.post("/auth/cookie/logout").without("Origin");
    answers.push(("signing out", out.send().await.expect(204)));
    answers.push((
        "signing out by the page",
        browser.visit("/auth/logout").header("Cookie", &format!("{name}=a")).send().await,
    ));
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_14_every_cookie_that_is_set_is_bound_as_tightly_as_it_can_be() {
    let upstream = Upstream::start();
    let cases = [
        ("http://127.0.0.1:8080", "lax", None),
        ("https://auth.example.com", "lax", None),
        ("https://auth.example.com", "strict", None),
        // Several hosts share the cookie: the prefix that forbids a domain cannot be had.
        ("https://auth.example.com", "lax", Some("example.com")),
    ];
    for (public_url, same_site, domain) in cases {
        let set = domain.map(|domain| format!(", domain: {domain}")).unwrap_or_default();
        let cookie = format!("{{ cookie: {{ same_site: {same_site}{set} }} }}");
        let builder = Gateway::builder(&YAML.replace("{ path", "{ host: auth.example.com, path"))
            .with("APP", &upstream.url());
        let gateway = builder.key("public_url", public_url).key("sessions", &cookie).start().await;
        gateway.person("ann").create().await;
        let is_secure = public_url.starts_with("https");
        let prefix = match (is_secure, domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        let name = format!("{prefix}portcullis");
        let mut seen = 0;
        for (what, answer) in answers_with_cookies(&gateway, "auth.example.com", &name).await {
            for line in answer.all("set-cookie") {
                seen += 1;
                let case = format!("{public_url} {same_site} {domain:?}, {what}: {line}");
                let (pair, attributes) = line.split_once("; ").unwrap();
                let attributes: Vec<_> = attributes.split("; ").collect();
                let has =
                    |attribute: &str| attributes.iter().filter(|a| **a == attribute).count() == 1;
                let same_site = if same_site == "lax" { "SameSite=Lax" } else { "SameSite=Strict" };
                assert!(pair.starts_with("portcullis") || pair.starts_with("__"), "{case}");
                assert!(has("HttpOnly") && has("Path=/") && has(same_site), "{case}");
                assert_eq!(has("Secure"), is_secure || pair.starts_with("__"), "{case}");
                let domains = attributes.iter().filter(|attribute| attribute.starts_with("Domain"));
                let is_session = pair.split('=').next() == Some(&*name);
                assert_eq!(domains.count(), usize::from(domain.is_some() && is_session), "{case}");
                assert!(line.len() < 400 && line.is_ascii(), "{case}");
                let is_hosts = is_session || pair.starts_with(&format!("{name}-language"));
                let own = if is_secure && !is_hosts { "__Host-" } else { prefix };
                assert!(pair.starts_with(&format!("{own}portcullis")), "{case}");
            }
        }
        assert!(seen >= 10, "{public_url}: {seen} cookies");
    }
}
