//! Forwarded metadata: the client's address, and the host and scheme in what the gateway writes, are
//! nobody's to say but a trusted proxy's.

use std::time::Duration;

use super::spelling::{Dice, Place, cases, request};
use crate::harness::{Gateway, PASSWORD, Stopwatch};
use crate::raw::{Raw, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
trusted_proxies: ["127.0.0.2/32", "10.0.0.0/8", "fd00::/8"]
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/lan", upstream: app, allow: { networks: ["203.0.113.0/24", "2001:db8::/32"], anonymous: true } }
  - { path: "/here", upstream: app, allow: { networks: ["127.0.0.0/8"], anonymous: true } }
"#;

const STRANGER: &str = "127.0.0.1";
const PROXY: &str = "127.0.0.2";

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

async fn ask(raw: &mut Raw, method: &str, target: &str, lines: &[String]) -> Response {
    raw.send(request(method, target, lines)).await;
    raw.response(method).await
}

/// Everything that is said of an address, under each name that somebody believes.
const ADDRESS_HEADERS: [&str; 9] = [
    "X-Forwarded-For",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Forwarded",
    "X-Forwarded",
];

#[tokio::test(flavor = "multi_thread")]
async fn hdr_07_a_stranger_has_the_address_he_calls_from() {
    let (upstream, gateway) = start().await;
    let own = [format!("Host: {}", gateway.address)];
    let mut raw = Raw::connect_from(STRANGER, gateway.address).await;
    for name in ADDRESS_HEADERS {
        for (at, value) in [
            "203.0.113.9",
            "127.0.0.1",
            "127.0.0.2",
            "10.0.0.1",
            "2001:db8::1",
            "for=203.0.113.9",
            "",
        ]
        .iter()
        .enumerate()
        {
            let spelled = cases(name);
            let lines = [
                format!("{}: {value}", spelled[at % 4]),
                format!("{}: {value}, 203.0.113.7", spelled[(at + 1) % 4]),
            ];
            for place in Place::ALL {
                let lines = place.arrange(&own, &lines);
                ask(&mut raw, "GET", "/public", &lines).await.expect(200);
                let seen = upstream.last();
                assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "{lines:?}");
                assert_eq!(seen.names().len(), 5, "nothing else is left: {}", seen.text());
                ask(&mut raw, "GET", "/lan", &lines).await.expect(403);
                ask(&mut raw, "GET", "/here", &lines).await.expect(200);
            }
        }
    }
}

/// A chain of hops with, beside it, the last that is none of ours, found by hand.
fn chain(dice: &mut Dice) -> (Vec<String>, Option<String>) {
    let strangers =
        ["203.0.113.9", "198.51.100.7", "127.0.0.1", "192.0.2.1", "2001:db8::9", "172.16.0.1"];
    let ours = ["10.0.0.1", "127.0.0.2", "10.255.255.255", "fd00::1"];
    let written = |address: &str, dice: &mut Dice| match (dice.below(4), address.contains(':')) {
        (0, false) => format!("{address}:{}", 1 + dice.below(60_000)),
        (0, true) => format!("[{address}]:443"),
        (1, false) => format!("::ffff:{address}"),
        (1, true) => format!("[{address}]"),
        _ => address.to_owned(),
    };
    let (mut hops, mut last) = (Vec::new(), None);
    for _ in 0..=dice.below(6) {
        if dice.below(2) == 0 {
            let stranger = dice.pick(&strangers);
            last = Some(stranger.to_owned());
            hops.push(written(stranger, dice));
        } else {
            let own = dice.pick(&ours);
            hops.push(written(own, dice));
        }
    }
    // Over lines and commas as it comes.
    let mut lines = vec![String::new()];
    for (at, hop) in hops.iter().enumerate() {
        if at > 0 && dice.below(3) == 0 {
            lines.push(String::new());
        }
        let line = lines.last_mut().unwrap();
        if !line.is_empty() {
            line.push_str(dice.pick(&[",", ", ", "\t,  "]));
        }
        line.push_str(hop);
    }
    (lines, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_07_behind_a_trusted_proxy_the_client_is_the_right_most_stranger() {
    let (upstream, gateway) = start().await;
    let own = [format!("Host: {}", gateway.address), "X-Real-IP: 203.0.113.66".to_owned()];
    let mut raw = Raw::connect_from(PROXY, gateway.address).await;
    let mut dice = Dice(7);
    for _ in 0..300 {
        let (chain, last) = chain(&mut dice);
        let name = dice.pick(&["X-Forwarded-For", "x-forwarded-for", "X-FORWARDED-FOR"]);
        let forwarded: Vec<_> = chain.iter().map(|line| format!("{name}: {line}")).collect();
        let lines = Place::ALL[dice.below(3)].arrange(&own, &forwarded);
        ask(&mut raw, "GET", "/public", &lines).await.expect(200);
        let seen = upstream.last();
        let expected = last.clone().unwrap_or_else(|| "127.0.0.2".to_owned());
        assert_eq!(seen.all("x-forwarded-for"), [expected], "{lines:?}");
        assert_eq!(seen.all("x-real-ip"), Vec::<String>::new());
        let is_within = |start: &str| last.as_ref().is_some_and(|last| last.starts_with(start));
        let lan = if is_within("203.0.113.") || is_within("2001:db8:") { 200 } else { 403 };
        ask(&mut raw, "GET", "/lan", &lines).await.expect(lan);
        let here = if is_within("127.") { 200 } else { 403 };
        ask(&mut raw, "GET", "/here", &lines).await.expect(here);
    }
    // A proxy that names nobody leaves the client unknown, and an unknown one is in no network.
    ask(&mut raw, "GET", "/here", &own).await.expect(403);
}

/// What is no list of addresses.
fn nonsense() -> Vec<String> {
    let mut lists: Vec<String> = [
        "a",
        "",
        " ",
        "unknown",
        "_hidden",
        "_",
        "-",
        "localhost",
        "evil.example",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:99999",
        "1.2.3.4:-1",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "0x7f.0.0.1",
        "2130706433",
        "1.2.3.4/8",
        "[::1",
        "::1]",
        "[1.2.3.4]",
        "::1%eth0",
        "for=1.2.3.4",
        "\"1.2.3.4\"",
        "1.2.3.4,",
        ",1.2.3.4",
        "1.2.3.4,,5.6.7.8",
        "1.2.3.4 5.6.7.8",
        "1.2.3.4;5.6.7.8",
        "1.2.3.4, a",
        "a, 1.2.3.4",
        "\u{ff11}.2.3.4",
        "${jndi:ldap://evil.example/a}",
        "1.2.3.4#",
        "127.0.0.1\\",
    ]
    .map(str::to_owned)
    .into();
    lists.push("1.2.3.4,".repeat(64) + "1.2.3.4");
    lists.push("1.2.3.4,".repeat(5_000) + "1.2.3.4");
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_08_an_address_that_is_none_is_refused_from_a_proxy_and_ignored_from_a_stranger() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let own = [format!("Host: {}", gateway.address), format!("Cookie: {}", ann.cookies())];
    let form = format!("username=ann%40example.com&password={}", PASSWORD.replace(' ', "+"));
    let sign_in = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let watch = Stopwatch::start();
    for (at, list) in nonsense().iter().enumerate() {
        let line = format!("X-Forwarded-For: {list}");
        let lines = [
            vec![line.clone()],
            vec![line.clone(), "X-Forwarded-For: 203.0.113.9".into()],
            vec!["X-Forwarded-For: 203.0.113.9".into(), line],
        ];
        let forged = &lines[at % 3];
        for target in ["/public", "/x", "/lan", "/auth/login"] {
            let before = upstream.count();
            let mut raw = Raw::connect_from(PROXY, gateway.address).await;
            let lines = Place::Last.arrange(&own, forged);
            ask(&mut raw, "GET", target, &lines).await.expect(400);
            assert_eq!(upstream.count(), before, "{list:?}");
        }
        // Where the address cannot be read nobody is signed in.
        let mut raw = Raw::connect_from(PROXY, gateway.address).await;
        let head = format!(
            "POST /auth/cookie/login HTTP/1.1\r\n{}\r\n{}\r\n{sign_in}",
            own[0],
            forged.join("\r\n")
        );
        raw.send(head).await;
        let answer = raw.response("POST").await.expect(400);
        assert!(answer.all("set-cookie").is_empty(), "{list:?}");
        let mut raw = Raw::connect_from(STRANGER, gateway.address).await;
        ask(&mut raw, "GET", "/x", &Place::Last.arrange(&own, forged)).await.expect(200);
        assert_eq!(upstream.last().all("x-forwarded-for"), ["127.0.0.1"], "{list:?}");
    }
    let many = [format!("X-Forwarded-For: {}1.2.3.4", "1.2.3.4,".repeat(10_000))];
    for peer in [PROXY, STRANGER] {
        let mut raw = Raw::connect_from(peer, gateway.address).await;
        ask(&mut raw, "GET", "/public", &Place::Last.arrange(&own, &many)).await.expect(431);
    }
    // 38 lists, six requests each: asking the DNS about a single one of them would take longer.
    assert!(watch.elapsed() < Duration::from_secs(15), "{:?}", watch.elapsed());
    assert!(gateway.metric("portcullis_panics_total").await < 0.5);
}

/// What claims to say by which name and scheme the gateway was called.
fn claims(value: &str) -> Vec<String> {
    [
        "X-Forwarded-Host",
        "X-Forwarded-Server",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Scheme",
        "X-Forwarded-Ssl",
        "X-Forwarded-Uri",
        "X-Original-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Host",
        "Host-Override",
        "X-Forwarded_Host",
        "x_forwarded_host",
        "X-HTTP-Host-Override",
        "Front-End-Https",
    ]
    .iter()
    .map(|name| format!("{name}: {value}"))
    .chain([format!("Forwarded: host={value};proto={value};for={value}")])
    .collect()
}

/// The answers in which the gateway says where something is.
const PLACES: [(&str, &str, u16); 9] = [
    ("GET", "/x", 401),
    ("GET", "/nowhere/at/all", 401),
    ("GET", "/auth/login?next=%2Fx", 200),
    ("GET", "/auth/logout?next=%2Fx", 303),
    ("GET", "/auth/continue?next=%2Fx", 303),
    ("GET", "/auth/account", 303),
    ("GET", "/auth/session", 200),
    ("GET", "/lan", 403),
    ("PUT", "/auth/login", 405),
];

/// An answer without what differs from one to the next.
fn fixed_parts(answer: &Response) -> (u16, String, String) {
    let location = answer.location().to_owned();
    let body = answer.text();
    let url = body.split("\"login_url\":\"").nth(1).unwrap_or_default();
    (answer.status, location, url.split('"').next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_10_no_address_the_gateway_writes_is_what_a_header_says() {
    let (upstream, gateway) = start().await;
    let own = [format!("Host: {}", gateway.address)];
    let navigates = ["Sec-Fetch-Mode: navigate".to_owned(), "Accept: text/html".to_owned()];
    for (method, target, status) in PLACES {
        for as_page in [false, true] {
            let own = if as_page { [&own[..], &navigates].concat() } else { own.to_vec() };
            for (peer, via) in
                [(STRANGER, None), (PROXY, Some("X-Forwarded-For: 198.51.100.7".to_owned()))]
            {
                let own: Vec<_> = own.iter().cloned().chain(via).collect();
                let mut raw = Raw::connect_from(peer, gateway.address).await;
                let plain = ask(&mut raw, method, target, &own).await;
                let is_challenge = as_page && status == 401;
                assert_eq!(plain.status, if is_challenge { 303 } else { status }, "{target}");
                for value in
                    ["evil.example", "//evil.example", "evil_protocol", "https", "443", "/../evil"]
                {
                    for place in [Place::First, Place::Last] {
                        let lines = place.arrange(&own, &claims(value));
                        let mut raw = Raw::connect_from(peer, gateway.address).await;
                        let answer = ask(&mut raw, method, target, &lines).await;
                        assert_eq!(fixed_parts(&answer), fixed_parts(&plain), "{target} {value}");
                        let all = format!("{:?}{}", answer.headers, answer.text());
                        assert!(!all.contains("evil"), "{target} {value}: {all}");
                    }
                }
            }
        }
    }
    // A scheme of a stranger's is ignored; of a proxy's it is http or https or the request is refused.
    let mut raw = Raw::connect_from(STRANGER, gateway.address).await;
    for scheme in ["https", "evil_protocol", "HTTPS", "", "https, http"] {
        let lines = Place::Last.arrange(&own, &[format!("X-Forwarded-Proto: {scheme}")]);
        ask(&mut raw, "GET", "/public", &lines).await.expect(200);
        assert_eq!(upstream.last().all("x-forwarded-proto"), ["http"], "{scheme}");
        let mut raw = Raw::connect_from(PROXY, gateway.address).await;
        let answer = ask(&mut raw, "GET", "/public", &lines).await;
        assert_eq!(answer.status, if scheme == "https" { 200 } else { 400 }, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_10_with_one_place_to_sign_in_the_address_of_it_is_the_files() {
    let upstream = Upstream::start();
    let yaml = r#"
public_url: "https://auth.example.com"
sessions: { cookie: { domain: "example.com" } }
upstreams: { app: "${APP}" }
routes:
  - { host: "app.example.com", path: "/**", upstream: app, allow: authenticated }
"#;
    let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
    let own = ["Host: app.example.com", "Sec-Fetch-Mode: navigate", "Accept: text/html"]
        .map(str::to_owned);
    let mut raw = Raw::connect(gateway.address).await;
    let expected = "https://auth.example.com/auth/login?next=http%3A%2F%2Fapp.example.com%2Fx";
    for value in ["evil.example", "auth.example.com.evil.example", "https"] {
        for place in Place::ALL {
            let answer =
                ask(&mut raw, "GET", "/x", &place.arrange(&own, &claims(value))).await.expect(303);
            assert_eq!(answer.location(), expected, "{value} {place:?}");
        }
    }
    for host in [
        "evil.example",
        "app.example.com.evil.example",
        "evilapp.example.com",
        "app.example.com:80@evil.example",
    ] {
        let lines = [format!("Host: {host}"), "X-Forwarded-Host: app.example.com".to_owned()];
        let mut raw = Raw::connect(gateway.address).await;
        let answer = ask(&mut raw, "GET", "/x", &lines).await;
        assert!([400, 404].contains(&answer.status), "{host}: {}", answer.status);
        assert!(!answer.text().contains("evil"), "{host}: {}", answer.text());
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_11_a_prefix_of_anybodys_goes_nowhere() {
    let (upstream, gateway) = start().await;
    let own = [format!("Host: {}", gateway.address), "X-Forwarded-For: 198.51.100.7".to_owned()];
    let prefixes = [
        "//evil.example",
        "/../..",
        "javascript:alert(1)",
        "/evil",
        "\\\\evil.example",
        "/%0d%0aevil",
        "https://evil.example",
        "/",
    ];
    for peer in [STRANGER, PROXY] {
        let mut raw = Raw::connect_from(peer, gateway.address).await;
        for prefix in prefixes {
            for name in cases("x-forwarded-prefix").iter().map(String::as_str).chain([
                "X-Forwarded_Prefix",
                "X-Script-Name_",
                "X.Forwarded.Prefix",
            ]) {
                for place in Place::ALL {
                    let lines = place.arrange(&own, &[format!("{name}: {prefix}")]);
                    ask(&mut raw, "GET", "/public", &lines).await.expect(200);
                    let text = upstream.last().text().to_lowercase();
                    assert!(!text.contains("prefix") && !text.contains("evil"), "{text}");
                    let lines = [&lines[..], &["Sec-Fetch-Mode: navigate".to_owned()]].concat();
                    let answer = ask(&mut raw, "GET", "/x", &lines).await.expect(303);
                    assert_eq!(answer.location(), "/auth/login?next=%2Fx", "{name}: {prefix}");
                }
            }
        }
    }
}
