//! Header spoofing: nobody but the gateway says to an application who calls, and what it says is said
//! once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::spelling::{Place, fold, request, separators, spellings};
use crate::harness::{Gateway, email};
use crate::raw::{Client, Raw};
use crate::upstream::{Seen, Upstream};

/// Every header that some preset sets.
const IDENTITY: [&str; 21] = [
    "X-Auth-User-Id",
    "X-Auth-Email",
    "X-Auth-Name",
    "X-Auth-Roles",
    "X-Auth-Permissions",
    "X-Auth-Email-Verified",
    "Remote-User",
    "X-Remote-User",
    "Remote-Email",
    "Remote-Name",
    "Remote-Groups",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-WEBAUTH-USER",
    "X-WEBAUTH-EMAIL",
    "X-WEBAUTH-NAME",
    "X-WEBAUTH-GROUPS",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
];

/// What else applications and frameworks believe.
const BELIEVED: [&str; 34] = [
    "X-Auth-Request-Preferred-Username",
    "X-Forwarded-Preferred-Username",
    "X-Auth-Permissions-Expanded",
    "X-Auth-Token",
    "X-Auth-Anything",
    "Remote-Addr",
    "X-Remote-Anything",
    "X-WEBAUTH-ROLE",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Access-Token",
    "Forwarded",
    "X-Original-Url",
    "X-Original-Uri",
    "X-Original-Method",
    "X-Rewrite-Url",
    "X-Envoy-Original-Path",
    "X-Real-Ip",
    "X-Client-Ip",
    "X-Cluster-Client-Ip",
    "True-Client-Ip",
    "Cf-Connecting-Ip",
    "Fastly-Client-Ip",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Team",
    "Proxy",
];

const PRESETS: [&str; 5] =
    ["portcullis", "remote-user", "x-forwarded", "x-webauth", "x-auth-request"];
const METHODS: [&str; 5] = ["GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"];

/// A route of each kind under each preset.
fn yaml() -> String {
    let rules = [
        ("public", "public"),
        ("optional", "optional"),
        ("editors-named", "{ optional: { roles: [editor] } }"),
        ("in", "authenticated"),
        ("editors", "{ roles: [editor] }"),
    ];
    let mut yaml = r#"
upstreams:
  app: "${APP}"
  legacy: { targets: ["${APP}"], permit_headers: ["x_legacy", "X-Auth-Token"] }
roles: { editor: { permissions: ["pages:edit"] } }
identity: { headers: { X-Team: organization } }
routes:
  - { path: "/legacy", upstream: legacy, allow: authenticated }
"#
    .to_owned();
    for preset in PRESETS {
        for (name, rule) in rules {
            writeln!(
                yaml,
                "  - {{ path: \"/{preset}/{name}\", upstream: app, allow: {rule}, \
                 identity: {{ preset: {preset}, headers: {{ X-Team: organization }} }} }}"
            )
            .unwrap();
        }
    }
    yaml
}

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(&yaml()).await
}

/// Somebody who calls, and what an application may learn of them.
struct Caller {
    client: Client,
    /// Id, e-mail and roles; `None` for somebody unknown.
    known: Option<(String, String, &'static str)>,
}

impl Caller {
    fn nobody(gateway: &Gateway) -> Self {
        Self { client: gateway.client(), known: None }
    }

    async fn of(client: Client, who: &str, roles: &'static str) -> Self {
        let me = client.get("/auth/users/me").send().await.expect(200).json();
        let id = me["id"].as_str().unwrap().to_owned();
        Self { client, known: Some((id, email(who), roles)) }
    }

    fn is_editor(&self) -> bool {
        self.known.as_ref().is_some_and(|(_, _, roles)| *roles == "editor")
    }

    /// Whether the application is told who this is.
    fn is_named_at(&self, kind: &str) -> bool {
        match kind {
            "public" => false,
            "editors-named" => self.is_editor(),
            _ => self.known.is_some(),
        }
    }

    /// The status somebody gets.
    fn status_at(&self, kind: &str) -> u16 {
        match (kind, &self.known) {
            ("in" | "editors", None) => 401,
            ("editors", Some(_)) if !self.is_editor() => 403,
            _ => 200,
        }
    }

    fn lines(&self, host: &str) -> Vec<String> {
        let call = self.client.get("/");
        let head = String::from_utf8(call.bytes()).unwrap();
        let lines = head.lines().skip(1).filter(|line| !line.is_empty());
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines[0] = format!("Host: {host}");
        lines.extend(["X-Kept: yes".to_owned(), "X-Authority: kept".to_owned()]);
        lines
    }
}

/// What an application may believe at a route, name by name, values by hand.
fn expected(
    preset: &str,
    kind: &str,
    caller: &Caller,
    host: &str,
) -> BTreeMap<String, Vec<String>> {
    let mut said = vec![
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", host),
    ];
    if let Some((id, email, roles)) = caller.known.as_ref().filter(|_| caller.is_named_at(kind)) {
        let permissions = if roles.is_empty() { "" } else { "pages:edit" };
        said.extend(match preset {
            "portcullis" => vec![
                ("x-auth-user-id", &**id),
                ("x-auth-email", email),
                ("x-auth-name", email),
                ("x-auth-roles", roles),
                ("x-auth-permissions", permissions),
                ("x-auth-email-verified", "true"),
            ],
            "remote-user" => vec![
                ("remote-user", &**email),
                ("x-remote-user", email),
                ("remote-email", email),
                ("remote-name", email),
                ("remote-groups", roles),
            ],
            "x-forwarded" => vec![
                ("x-forwarded-user", &**email),
                ("x-forwarded-email", email),
                ("x-forwarded-groups", roles),
            ],
            "x-webauth" => vec![
                ("x-webauth-user", &**email),
                ("x-webauth-email", email),
                ("x-webauth-name", email),
                ("x-webauth-groups", roles),
            ],
            _ => vec![
                ("x-auth-request-user", &**email),
                ("x-auth-request-email", email),
                ("x-auth-request-groups", roles),
            ],
        });
    }
    said.into_iter().map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).collect()
}

/// Everything an application received that it may believe: folded name, values.
pub fn believed(seen: &Seen) -> BTreeMap<String, Vec<String>> {
    let known: Vec<_> = IDENTITY.iter().chain(&BELIEVED).map(|name| fold(name)).collect();
    let families = [
        "x-auth-",
        "remote-",
        "x-remote-",
        "x-webauth-",
        "x-forwarded-",
        "x-original-",
        "x-rewrite-",
        "x-envoy-original-",
    ];
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in seen.headers() {
        let folded = fold(&name);
        let is_of_family = families.iter().any(|family| folded.starts_with(family));
        if is_of_family || known.contains(&folded) || name.contains(['_', '.']) {
            found.entry(folded).or_default().push(value);
        }
    }
    found
}

/// Forged lines, in portions that a head has room for twice.
fn forged_portions() -> Vec<Vec<String>> {
    let values = ["forged", "forged,admin", "forged; admin", "", "\u{e9}forged"];
    let names = IDENTITY.iter().chain(&BELIEVED).flat_map(|name| spellings(name));
    let line = |(at, name): (usize, String)| format!("{name}: {}", values[at % values.len()]);
    let lines: Vec<_> = names.enumerate().map(line).collect();
    lines.chunks(40).map(<[String]>::to_vec).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_01_nobody_but_the_gateway_names_a_caller_on_any_kind_of_route() {
    let (upstream, gateway) = start().await;
    let host = gateway.address.to_string();
    let ann = gateway.person("ann").role("editor").sign_in().await;
    let bob = gateway.person("bob").sign_in_with_bearer().await;
    let callers = [
        Caller::nobody(&gateway),
        Caller::of(ann, "ann", "editor").await,
        Caller::of(bob, "bob", "").await,
    ];
    let portions = forged_portions();
    let mut tried = 0;
    for (preset, kind) in PRESETS.iter().flat_map(|preset| {
        ["public", "optional", "editors-named", "in", "editors"].map(|kind| (*preset, kind))
    }) {
        for caller in &callers {
            let mut raw = Raw::connect(gateway.address).await;
            let expected = expected(preset, kind, caller, &host);
            for (at, forged) in portions.iter().enumerate() {
                tried += 1;
                let method = METHODS[(at + tried) % METHODS.len()];
                let place = Place::ALL[tried % 4];
                let lines = place.arrange(&caller.lines(&host), forged);
                let before = upstream.count();
                raw.send(request(method, &format!("/{preset}/{kind}"), &lines)).await;
                let answer = raw.response(method).await;
                let case = format!("{method} {preset} {kind} {place:?} {forged:?}");
                assert_eq!(answer.status, caller.status_at(kind), "{case}");
                if answer.status != 200 {
                    assert_eq!(upstream.count(), before, "{case}");
                    break;
                }
                let seen = upstream.last();
                assert_eq!(believed(&seen), expected, "{case}\n{}", seen.text());
                assert!(!seen.text().contains("forged"), "{case}\n{}", seen.text());
                assert_eq!(seen.all("x-kept"), ["yes"], "{case}");
                assert_eq!(seen.all("x-authority"), ["kept"], "{case}");
            }
        }
    }
    assert!(portions.len() > 15 && tried > 600, "{} portions, {tried} requests", portions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_02_no_name_with_an_underscore_or_a_dot_stands_beside_the_real_one() {
    let (upstream, gateway) = start().await;
    let client = gateway.person("ann").role("editor").sign_in().await;
    let ann = Caller::of(client, "ann", "editor").await;
    let host = gateway.address.to_string();
    let mut names: Vec<_> = ["Some-Header", "Content-Length", "Transfer-Encoding", "X-Legacy"]
        .iter()
        .chain(&["Cookie-", "Host-", "A-B-C-D", "Authorization-", "X-Auth-Token"])
        .flat_map(|name| separators(name).into_iter().skip(1))
        .collect();
    names.extend([".", "_", "a.", "_a", "x.auth-user-id-", "-_-"].map(str::to_owned));
    let forged: Vec<_> = names.iter().map(|name| format!("{name}: forged")).collect();
    let own = expected("portcullis", "in", &ann, &host);
    let mut raw = Raw::connect(gateway.address).await;
    for forged in forged.chunks(20) {
        for place in Place::ALL {
            for (target, may_stay) in [("/portcullis/in", &[][..]), ("/legacy", &["x_legacy"])] {
                let lines = place.arrange(&ann.lines(&host), forged);
                raw.send(request("GET", target, &lines)).await;
                raw.response("GET").await.expect(200);
                let seen = upstream.last();
                let stays = |name: &str| may_stay.contains(&name) || !name.contains(['_', '.']);
                let odd: Vec<_> = seen.names().into_iter().filter(|name| !stays(name)).collect();
                assert!(odd.is_empty(), "{target} {place:?} {odd:?}");
                let mut believed = believed(&seen);
                believed.remove("x-legacy");
                assert_eq!(believed, own, "{target} {place:?} {forged:?}");
            }
        }
    }
    let call = ann.client.get("/legacy").header("X_LEGACY", "1").header("x-auth-token", "2");
    call.send().await.expect(200);
    assert_eq!(upstream.last().all("x_legacy"), ["1"], "what the file lets through, in any case");
    assert_eq!(upstream.last().all("x-auth-token"), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_05_a_name_sent_many_times_arrives_once_with_the_gateways_value() {
    let (upstream, gateway) = start().await;
    let host = gateway.address.to_string();
    let client = gateway.person("bob").sign_in().await;
    let bob = Caller::of(client, "bob", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    for name in IDENTITY.iter().chain(&BELIEVED) {
        let mut forged = Vec::new();
        for spelling in spellings(name).iter().take(8) {
            for value in ["user", "user, editor", "editor", "", "editor;q=1", "user\teditor"] {
                forged.push(format!("{spelling}: {value}"));
            }
        }
        for place in [Place::First, Place::Between, Place::Last] {
            for preset in ["portcullis", "remote-user"] {
                let lines = place.arrange(&bob.lines(&host), &forged);
                raw.send(request("GET", &format!("/{preset}/in"), &lines)).await;
                raw.response("GET").await.expect(200);
                let seen = upstream.last();
                assert_eq!(
                    believed(&seen),
                    expected(preset, "in", &bob, &host),
                    "{name} {place:?}"
                );
                assert!(!seen.text().contains("editor"), "{name} {place:?}: {}", seen.text());
                // No rule reads a header.
                let before = upstream.count();
                raw.send(request("GET", &format!("/{preset}/editors"), &lines)).await;
                raw.response("GET").await.expect(403);
                assert_eq!(upstream.count(), before, "{name} {place:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_header_takes_away_nothing_that_the_gateway_says() {
    let (upstream, gateway) = start().await;
    let host = gateway.address.to_string();
    let client = gateway.person("ann").role("editor").sign_in().await;
    let ann = Caller::of(client, "ann", "editor").await;
    let mut raw = Raw::connect(gateway.address).await;
    let own = expected("portcullis", "in", &ann, &host);
    for name in IDENTITY.iter().chain(&BELIEVED) {
        for spelling in spellings(name).into_iter().take(6) {
            for lines in [
                vec![format!("Connection: {spelling}"), format!("{spelling}: forged")],
                vec![format!("connection: close-not, {spelling}"), "Connection: keep-alive".into()],
                vec![format!("Connection: X-Kept-Not,\t{spelling} ,, x")],
            ] {
                let lines = Place::Last.arrange(&ann.lines(&host), &lines);
                raw.send(request("GET", "/portcullis/in", &lines)).await;
                raw.response("GET").await.expect(200);
                assert_eq!(believed(&upstream.last()), own, "{lines:?}");
            }
        }
    }
}
