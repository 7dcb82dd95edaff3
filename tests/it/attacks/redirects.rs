//! Open redirects: whatever somebody is told to come back to, a browser ends on this site.
//!
//! What a `Location` means is asked of the `url` crate, which reads it as browsers do (the WHATWG URL
//! standard), and of a browser.

use std::collections::BTreeSet;

use url::Url;

use super::spelling::{Dice, words};
use crate::browser::Browser;
use crate::harness::{Gateway, PASSWORD};
use crate::pages::hidden_fields;
use crate::raw::{Client, Raw, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { path: "/open/**", upstream: app, allow: public }
  - { path: "/odd/**", upstream: app, allow: authenticated, permit_in_path: [double-slash, encoded-slash, encoded-backslash, semicolon, non-utf8] }
  - { host: "app.example.com", path: "/**", upstream: app, allow: authenticated }
"#;

/// A gateway with routes of every kind and one other host.
pub async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Fails unless a browser at the gateway that gets this `Location` stays on the gateway, or goes to the
/// host a route names on the gateway's own port.
#[track_caller]
pub fn stays(gateway: &Gateway, location: &str, why: &str) -> Url {
    let base = Url::parse(&format!("http://{}/auth/login", gateway.address)).unwrap();
    let went = base.join(location).unwrap_or_else(|error| panic!("{why}: {location:?}: {error}"));
    let host = went.host_str().unwrap_or_default();
    let is_ours = host == "127.0.0.1" || host == "app.example.com";
    assert!(is_ours && went.scheme() == "http", "{why}: {location:?} leads to {went}");
    assert_eq!(went.port_or_known_default(), Some(gateway.address.port()), "{why}: {location:?}");
    assert!(went.username().is_empty() && went.password().is_none(), "{why}: {location:?}");
    assert!(location.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{why}: {location:?}");
    let begins_a_host = ["//", "/\\", "\\"].iter().any(|start| location.starts_with(start));
    assert!(!begins_a_host, "{why}: {location:?}");
    went
}

/// The ways in which `next` arrives at somebody signed in, and at nobody.
pub struct Ways<'a> {
    gateway: &'a Gateway,
    known: Client,
    connection: Raw,
}

impl<'a> Ways<'a> {
    /// With somebody signed in.
    pub async fn open(gateway: &'a Gateway) -> Self {
        let known = gateway.person("ann").sign_in().await;
        Self { gateway, known, connection: Raw::connect(gateway.address).await }
    }

    async fn ask(&mut self, client: &Client, target: &str) -> Response {
        let call = client.visit(target).navigating_from("same-origin").without("Sec-Fetch-User");
        self.connection.send(call.bytes()).await;
        self.connection.response("GET").await
    }

    /// Where each way leads with this as `next`, written into the query as it stands.
    pub async fn follow(&mut self, written: &str) -> Vec<String> {
        let (known, nobody) = (self.known.clone(), self.gateway.client());
        let mut led = Vec::new();
        for (client, way) in [(&known, "continue"), (&nobody, "logout")] {
            let answer = self.ask(client, &format!("/auth/{way}?next={written}")).await;
            if answer.status != 303 {
                assert!(
                    [400, 414, 431].contains(&answer.status),
                    "{way} {written:?}: {}",
                    answer.status
                );
                self.connection = Raw::connect(self.gateway.address).await;
                continue;
            }
            stays(self.gateway, answer.location(), &format!("{way} {written:?}"));
            led.push(answer.location().to_owned());
        }
        led
    }

    /// Fails unless each way leads to the default.
    pub async fn refuse(&mut self, next: &str) {
        let led = self.follow(&encode(next)).await;
        assert!(led.is_empty() || led == ["/", "/auth/login"], "{next:?} leads to {led:?}");
    }
}

/// As a form or a query holds it.
pub fn encode(next: &str) -> String {
    url::form_urlencoded::byte_serialize(next.as_bytes()).collect()
}

/// Sends a filled form as the page of it does.
pub async fn send_sign_in(client: &Client, fields: &[(String, String)]) -> Response {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    client.post("/auth/login").form(&pairs).navigating_from("same-origin").send().await
}

/// The sign-in form of a page, filled in, and what it says of `next`.
pub async fn filled_form(client: &Client, target: &str) -> (Vec<(String, String)>, Option<String>) {
    let page = client.visit(target).send().await.expect(200).text();
    let mut fields = hidden_fields(&page);
    let next = fields.iter().find(|(name, _)| name == "next").map(|(_, value)| value.clone());
    fields.push(("username".into(), "ann@example.com".into()));
    fields.push(("password".into(), PASSWORD.into()));
    (fields, next)
}

#[tokio::test(flavor = "multi_thread")]
async fn red_01_another_site_in_disguise_is_the_default_place() {
    let (_upstream, gateway) = start().await;
    let mut ways = Ways::open(&gateway).await;
    let starts = words(
        "// /\\ \\\\ \\/ /// //// /./\\ /./../../\\ /.// /..// /../\\ /%2e// //%2e%2e/ \\ \
/x/..// /x/../\\/",
    );
    let sites = words(
        "evil.example evil.example/ evil.example// evil.example/%2f.. evil.example/.. \
evil.example:80/ 127.0.0.1@evil.example/ [::1]/ \u{ff45}vil.example",
    );
    for start in starts {
        for site in &sites {
            ways.refuse(&format!("{start}{site}")).await;
        }
    }
    for scheme in ["https:", "http:", "HTTPS:", "hTTp:"] {
        for slashes in ["", "/", "//", "///", "\\", "\\\\", "/\\", "\\/"] {
            for site in &sites {
                ways.refuse(&format!("{scheme}{slashes}{site}")).await;
            }
        }
    }
    for none in [
        "",
        ".",
        "..",
        "evil",
        "?x",
        "#x",
        "x/../..//evil.example",
        "@evil.example",
        ":80",
        "//",
        "/\\",
        "http://",
        "*",
    ] {
        ways.refuse(none).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_02_white_space_and_bytes_outside_ascii_are_the_default_place() {
    let (_upstream, gateway) = start().await;
    let mut ways = Ways::open(&gateway).await;
    let bytes = (0..=0x20_u8).chain([0x7f]).map(char::from);
    let wide = [
        "\u{80}", "\u{85}", "\u{a0}", "\u{2000}", "\u{2028}", "\u{3000}", "\u{feff}", "\u{ff0f}",
        "\u{2044}", "\u{2215}", "\u{200b}",
    ];
    let signs: Vec<_> = bytes.map(String::from).chain(wide.map(str::to_owned)).collect();
    for sign in &signs {
        for shape in words(
            "/{}/evil.example {}//evil.example /{}{}\\{}/evil.example //{}evil.example /evil{} {} \
{}/ /{} http{}://evil.example http:{}//evil.example java{}script:alert(1)",
        ) {
            ways.refuse(&shape.replace("{}", sign)).await;
        }
        // The same, encoded once more: a byte of a path, at most, and never a host.
        let twice = encode(&encode(sign).replace('+', "%20"));
        for shape in ["/{}/evil.example", "/{}%2fevil.example", "{}//evil.example"] {
            ways.follow(&shape.replace("{}", &twice)).await;
        }
    }
    // Not encoded at all, where a request's head has room for it.
    for written in [
        "/%09/evil.example",
        "/+/evil.example",
        "%2F%09%2Fevil.example",
        "%2f%5cevil.example",
        "/%5C/evil.example",
        "%5C%5Cevil.example",
        "//evil.example",
        "/\t/evil.example",
        "/%/evil",
        "%",
    ] {
        ways.follow(written).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_05_no_scheme_but_the_sites_own_is_followed() {
    let (_upstream, gateway) = start().await;
    let mut ways = Ways::open(&gateway).await;
    let schemes = words(
        "javascript JAVASCRIPT JaVaScRiPt data vbscript evil_protocol file ftp ws wss blob \
about view-source intent mailto httpss xhttp https",
    );
    let port = gateway.address.port();
    for scheme in schemes {
        for lead in ["", "\u{1}", " ", "\t", "/", "\\"] {
            for rest in [
                ":alert(1)",
                "://h/",
                ":text/html,<script>alert(1)</script>",
                ":http://127.0.0.1/",
                "://127.0.0.1/%0aalert(1)",
                "://app.example.com/",
            ] {
                let next = format!("{lead}{scheme}{rest}");
                let led = ways.follow(&encode(&next)).await;
                assert!(
                    next.starts_with('/') || led.is_empty() || led == ["/", "/auth/login"],
                    "{next:?} leads to {led:?}"
                );
            }
        }
        ways.refuse(&format!("{scheme}://app.example.com:{port}/")).await;
    }
}

/// Pieces from which targets are put together that somebody might take for another site.
const PIECES: [&str; 6] = ["\t", " ", "\r", "\n", "\u{2000}", "/x"];
const WORDS: &str = "/ / // \\ %2f %5c %2F %5C %09 %00 %0a . .. %2e evil.example evil.example @ : :80 ? # ; \
                     http: https: javascript: 127.0.0.1 app.example.com %e2%80%80 auth x x /x";

/// Targets put together from pieces: all pairs, and many longer ones.
fn combined(longer: usize) -> BTreeSet<String> {
    let mut dice = Dice(2020);
    let pieces = [&PIECES[..], &words(WORDS)].concat();
    let pairs = |first: &&str| pieces.iter().map(|second| format!("{first}{second}")).collect();
    let pairs = pieces.iter().flat_map::<Vec<_>, _>(pairs);
    let mut all: BTreeSet<_> = pairs.collect();
    for _ in 0..longer {
        let length = 3 + dice.below(5);
        all.insert((0..length).map(|_| dice.pick(&pieces)).collect());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_next_is_put_together_from_a_browser_stays_here() {
    let (_upstream, gateway) = start().await;
    let mut ways = Ways::open(&gateway).await;
    let (mut followed, mut kept) = (0, 0);
    for (at, next) in combined(300).iter().enumerate() {
        let once = encode(next);
        let twice = (at % 4 == 0).then(|| encode(&once));
        for written in twice.iter().chain([&once]) {
            let led = ways.follow(written).await;
            followed += led.len();
            kept += led.iter().filter(|led| !["/", "/auth/login"].contains(&&***led)).count();
        }
    }
    assert!(followed > 2_500 && kept > 50, "{followed} followed, {kept} of them kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn red_01_and_02_the_form_and_what_comes_back_from_it_are_checked_alike() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let samples = [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "/\t/evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "/./\\evil.example",
        "http://app.example.com.evil.example",
        "/x/../..//evil.example",
        " /x",
    ];
    for (at, next) in samples.iter().enumerate() {
        let client = gateway.client();
        let (mut fields, shown) =
            filled_form(&client, &format!("/auth/login?next={}", encode(next))).await;
        if let Some(shown) = shown {
            stays(&gateway, &shown, next);
        }
        // Tampered with on its way, once beside a good one.
        fields.retain(|(name, _)| name != "next");
        if at % 3 == 1 {
            fields.push(("next".into(), "/x".into()));
        }
        fields.push(("next".into(), (*next).into()));
        let answer = send_sign_in(&client, &fields).await;
        if answer.status == 400 {
            continue;
        }
        let answer = answer.expect(303);
        stays(&gateway, answer.location(), next);
        let arrived = client.visit(answer.location()).send().await.expect(303);
        stays(&gateway, arrived.location(), next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_01_a_browser_sent_through_the_sign_in_page_ends_on_this_site() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/login?next=%2F%2Fevil.example%2F")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| !address.contains("/auth/")).await;
    let mut dice = Dice(40);
    let all = combined(400);
    let all: Vec<_> = all.iter().map(String::as_str).filter(|next| next.contains("evil")).collect();
    let known = [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "https:evil.example",
        "/%09/evil.example",
        "/%5cevil.example",
        "javascript:alert(1)//evil",
        "/.//evil.example",
        "/open//evil.example",
    ];
    for at in 0..40 {
        let next = known.get(at).copied().unwrap_or_else(|| dice.pick(&all));
        // Signed in already: the page offers the way on, which the person takes, or it is taken for them.
        if at % 4 == 0 {
            browser.goto(&format!("{site}/auth/login?next={}", encode(next))).await;
            browser.click("main a").await;
            browser.wait_for_address(|address| !address.contains("/auth/login")).await;
        } else {
            browser.goto(&format!("{site}/auth/continue?next={}", encode(next))).await;
        }
        let address = browser.address().await;
        assert!(address.starts_with(&format!("{site}/")), "{next:?} led to {address}");
    }
    browser.quit().await;
}
