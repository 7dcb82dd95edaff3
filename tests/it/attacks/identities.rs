//! Identity headers whose names the file chooses, whose values people choose, and which must never be
//! somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portcullis::accounts::Actor;
use portcullis::identity::access::Interner;
use portcullis::identity::user::RoleGrant;
use portcullis::server::examine::examine;

use super::spelling::{Dice, Place, cases, fold, request, spellings};
use crate::harness::{Gateway, PASSWORD};
use crate::raw::{Client, Raw};
use crate::upstream::Upstream;

/// The mistakes a configuration with this in it has.
fn mistakes(yaml: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.yaml");
    std::fs::write(&file, yaml).unwrap();
    match examine(&file, &BTreeMap::new(), &Interner::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(ToString::to_string).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_04_a_name_of_the_files_own_is_compared_without_regard_to_case() {
    let upstream = Upstream::start();
    let configured = ["x-user", "X-USER", "X-User", "x-UsEr", "Staff", "x-a-user-b"];
    let mut yaml = "upstreams: { app: \"${APP}\" }\nroutes:\n".to_owned();
    for (at, name) in configured.iter().enumerate() {
        for (kind, rule) in
            [("in", "authenticated"), ("optional", "optional"), ("public", "public")]
        {
            writeln!(
                yaml,
                "  - {{ path: \"/{kind}/{at}\", upstream: app, allow: {rule}, \
                 identity: {{ headers: {{ {name}: id }} }} }}"
            )
            .unwrap();
        }
    }
    let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").sign_in().await;
    let me = ann.get("/auth/users/me").send().await.expect(200).json();
    let id = me["id"].as_str().unwrap();
    let mut raw = Raw::connect(gateway.address).await;
    let host = format!("Host: {}", gateway.address);
    let forged: Vec<_> = configured
        .iter()
        .flat_map(|name| spellings(name))
        .map(|name| format!("{name}: forged"))
        .collect();
    for (at, name) in configured.iter().enumerate() {
        for kind in ["in", "optional", "public"] {
            for (place, forged) in
                Place::ALL.iter().flat_map(|place| forged.chunks(40).map(move |part| (place, part)))
            {
                let own = [host.clone(), format!("Cookie: {}", ann.cookies())];
                raw.send(request("GET", &format!("/{kind}/{at}"), &place.arrange(&own, forged)))
                    .await;
                raw.response("GET").await.expect(200);
                let seen = upstream.last();
                let same = |(found, value): (String, String)| {
                    (fold(&found) == fold(name)).then_some(value)
                };
                let values: Vec<_> = seen.headers().into_iter().filter_map(same).collect();
                let expected: &[&str] = if kind == "public" { &[] } else { &[id] };
                assert_eq!(values, expected, "{name} {kind} {place:?}");
                assert!(!seen.text().contains("forged"), "{name} {kind}: {}", seen.text());
            }
        }
    }
}

#[test]
fn hdr_04_two_names_that_are_one_and_names_of_the_gateways_are_mistakes_in_the_file() {
    for pair in
        ["X-User: id, x_user: email", "X-User: id, X-USER: email", "X-User: id, x.user: name"]
    {
        let yaml = format!(
            "upstreams: {{ app: \"http://127.0.0.1:1\" }}\nidentity: {{ headers: {{ {pair} }} }}\n\
             routes: [{{ path: \"/\", upstream: app, allow: public }}]\n"
        );
        assert!(!mistakes(&yaml).is_empty(), "{pair}: two names that are one");
    }
    for name in cases("x-auth-user-id")
        .iter()
        .chain(&["x_auth_user_id".to_owned(), "Remote-User".to_owned()])
    {
        let yaml = format!(
            "upstreams: {{ app: {{ targets: [\"http://127.0.0.1:1\"], permit_headers: [\"{name}\"] }} }}\n\
             routes: [{{ path: \"/\", upstream: app, allow: public }}]\n"
        );
        assert!(!mistakes(&yaml).is_empty(), "{name}: a name the gateway sets is let through");
    }
}

/// What a list header says, read as the documentation tells applications to.
fn read_list(value: &str, separator: char) -> BTreeSet<String> {
    let items = value.split(separator).filter(|item| !item.is_empty());
    let decode = |item: &str| percent_decode(item);
    items.map(decode).collect()
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (*first, after) {
            let digits = [*high, *low];
            let hex = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

const SEPARATED: &str = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/comma", upstream: app, allow: authenticated, identity: { separator: ",", headers: { X-Team: organization, X-First: first_name } } }
  - { path: "/pipe", upstream: app, allow: authenticated, identity: { separator: "|", headers: { X-Team: organization, X-First: first_name } } }
  - { path: "/space", upstream: app, allow: authenticated, identity: { separator: " ", headers: { X-Team: organization, X-First: first_name } } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn hdr_16_what_people_call_themselves_and_their_groups_adds_nothing_to_a_list() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(SEPARATED).with("APP", &upstream.url()).start().await;
    let user = gateway.person("ann").create().await;
    let ann = gateway.sign_in("ann").await;
    let people = gateway.running.accounts().people();
    let glue = [
        ",", "|", " ", ";", "=", "%2c", "%7C", "%20", "%", "%%", "\"", "\\", "'", "ü", "\u{10d}",
        "😀", "\u{2028}", "\u{ff0c}", ".", "_", "-", "\t", "\r\n", "\n", "\0", "\u{85}", "", "/",
        "(", "&",
    ];
    let mut held = BTreeSet::new();
    for sign in glue {
        for role in [format!("a{sign}admin"), format!("{sign}admin"), format!("admin{sign}")] {
            let is_lawful = role.len() <= 50
                && role.starts_with(|c: char| c.is_ascii_alphanumeric())
                && role.bytes().all(|b| b.is_ascii_alphanumeric() || b" ._-".contains(&b));
            let grant = RoleGrant { role: role.clone(), until: None };
            let granted = people.grant(user.id, &grant, &Actor::cli()).await;
            assert_eq!(granted.is_ok(), is_lawful, "{role:?}");
            let yaml = format!(
                "upstreams: {{ app: \"http://127.0.0.1:1\" }}\nroles: {{ {role:?}: {{ permissions: [] }} }}\n\
                 routes: [{{ path: \"/\", upstream: app, allow: public }}]\n"
            );
            if !is_lawful {
                assert!(!mistakes(&yaml).is_empty(), "{role:?}");
            } else if role != "admin" {
                held.insert(role);
            }
        }
    }
    // A name nothing defines is sent nowhere: define what is held.
    let defined: Vec<_> =
        held.iter().map(|role| format!("{role:?}: {{ permissions: [] }}")).collect();
    let roles = format!("roles: {{ {} }}\nroutes:", defined.join(", "));
    gateway.reload("routes:", &roles);
    held.insert("admin".to_owned());
    for (path, separator) in [("/comma", ','), ("/pipe", '|'), ("/space", ' ')] {
        for _ in 0..100 {
            ann.get(path).send().await.expect(200);
            let sent = upstream.last().header("x-auth-roles").unwrap();
            if read_list(&sent, separator) == held {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let sent = upstream.last().header("x-auth-roles").unwrap();
        assert_eq!(read_list(&sent, separator), held, "{path}: {sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_16_a_value_with_a_line_or_a_separator_in_it_stays_one_value() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(SEPARATED).with("APP", &upstream.url()).start().await;
    let values = [
        "alice;role=admin",
        "alice,admin",
        "alice|admin",
        "alice%2cadmin",
        "alice admin",
        "%41dmin",
        "a\"b",
        "x\\,y",
        "ünïcode",
        "\u{10d}\u{10a}X-Auth-Roles: admin",
        "😀",
        "\u{2028}admin",
        "\u{200b}",
        "=?utf-8?q?admin?=",
        "alice\r\nX-Auth-Roles: admin",
        "alice\nX-Auth-Roles: admin",
        "alice\0admin",
        "alice\tadmin",
        "a\u{85}x",
        "\u{7f}x",
    ];
    let mut sent = BTreeMap::new();
    for (at, value) in values.into_iter().enumerate() {
        let name = format!("p{at}");
        let mut person = gateway.person(&name);
        person.draft.profile.organization = Some(value.to_owned());
        person.draft.profile.first_name = Some(value.to_owned());
        // White space at either end is taken off first, some of which are control characters.
        let has_control = value.trim().chars().any(char::is_control);
        let made = gateway.running.accounts().people().create(person.draft, &Actor::cli()).await;
        assert_eq!(made.is_err(), has_control, "{value:?}");
        if has_control {
            continue;
        }
        let client = gateway.sign_in(&name).await;
        for path in ["/comma", "/pipe", "/space"] {
            client.get(path).send().await.expect(200);
            let seen = upstream.last();
            for header in ["x-team", "x-first", "x-auth-name"] {
                let raw = seen.header(header).unwrap();
                assert!(raw.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{value:?}: {raw:?}");
                assert_eq!(percent_decode(&raw), value.trim(), "{path} {header}");
                let before = sent.insert(raw.clone(), value);
                assert!(
                    before.is_none_or(|before| before.trim() == value.trim()),
                    "{raw} is said of two people"
                );
            }
            assert_eq!(seen.header("x-auth-roles").as_deref(), Some(""), "{value:?}");
        }
    }
}

const SHARED: &str = r#"
upstreams: { app: "${APP}" }
roles: { editor: { permissions: [] } }
routes:
  - { path: "/id", upstream: app, allow: optional }
  - { path: "/mail", upstream: app, allow: optional, identity: { preset: remote-user } }
  - { path: "/both", methods: [GET], upstream: app, allow: optional, identity: { preset: x-webauth } }
  - { path: "/both", methods: [PUT], upstream: app, allow: optional, identity: { preset: x-auth-request } }
  - { path: "/editors", upstream: app, allow: { roles: [editor] } }
"#;

/// Asks as one person and another, as it comes, on one connection; each request says whose it is.
async fn interleave(gateway: &Gateway, people: &[(Client, Option<&str>)], mut dice: Dice) {
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..60 {
        let whose = dice.below(people.len());
        let (method, path) = dice.pick(&[
            ("GET", "/id"),
            ("GET", "/mail"),
            ("GET", "/both"),
            ("PUT", "/both"),
            ("GET", "/editors"),
        ]);
        let call = people[whose].0.call(method, path).header("X-Whose", &whose.to_string());
        let answer = call.send_on(&mut raw).await;
        assert!(path == "/editors" || answer.status == 200, "{method} {path}: {}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_17_two_people_on_one_connection_are_never_taken_for_each_other() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(SHARED).with("APP", &upstream.url()).start().await;
    let people = [
        (gateway.person("ann").role("editor").sign_in().await, Some("ann@example.com")),
        (gateway.sign_in_with_bearer("ann").await, Some("ann@example.com")),
        (gateway.person("ann.b").sign_in().await, Some("ann.b@example.com")),
        (gateway.person("ann-b").sign_in_with_bearer().await, Some("ann-b@example.com")),
        (gateway.client(), None),
    ];
    let tasks = (0..6).map(|task| interleave(&gateway, &people, Dice(task)));
    futures_util::future::join_all(tasks).await;
    let mut asked = BTreeSet::new();
    for seen in upstream.seen() {
        let whose: usize = seen.header("x-whose").unwrap().parse().unwrap();
        let expected = people[whose].1;
        let (method, target) = (seen.method(), seen.target());
        let header = match (&*target, &*method) {
            ("/mail", _) => "remote-email",
            ("/both", "GET") => "x-webauth-email",
            ("/both", _) => "x-auth-request-email",
            _ => "x-auth-email",
        };
        assert_eq!(seen.header(header).as_deref(), expected, "{whose}: {}", seen.text());
        let others = people.iter().filter_map(|(_, email)| *email);
        for other in others.filter(|other| Some(*other) != expected) {
            assert!(!seen.text().contains(other), "{whose}: {}", seen.text());
        }
        assert!(target != "/editors" || expected == Some("ann@example.com"));
        asked.insert((whose, method, target));
    }
    assert_eq!(asked.len(), 5 * 4 + 2, "everybody has asked everything: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hdr_17_where_a_name_ends_and_a_password_begins_is_no_matter_of_a_colon() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(SHARED).with("APP", &upstream.url()).start().await;
    let divided = "seven lanterns:on the quay";
    let person = gateway.person("ann").set(|draft| draft.password = Some(divided.into()));
    person.set(|draft| draft.username = Some("ann".into())).create().await;
    for (username, password) in [
        ("ann@example.com:seven lanterns", "on the quay"),
        ("ann:seven lanterns", "on the quay"),
        ("ann", "seven lanterns"),
        ("ann", "on the quay"),
        ("ann:", divided),
        ("ann\0", divided),
        ("ann", "seven lanterns:on the quay\0"),
        ("ann", PASSWORD),
    ] {
        for path in ["/auth/jwt/login", "/auth/cookie/login"] {
            let fields = [("username", username), ("password", password)];
            let answer = gateway.client().post(path).form(&fields).send().await;
            assert!(
                [400, 422].contains(&answer.status),
                "{username:?} {password:?}: {}",
                answer.status
            );
            assert!(answer.all("set-cookie").is_empty() && !answer.text().contains("access_token"));
        }
        gateway.pass(std::time::Duration::from_mins(20)).await;
    }
    let fields = [("username", "ann"), ("password", divided)];
    gateway.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
}
