//! What people are called, and where they want to go, reaches headers.

use percent_encoding::NON_ALPHANUMERIC;
use portcullis::accounts::Actor;
use sqlx::{ConnectOptions, Connection};

use super::super::ledger;
use crate::harness::{Gateway, PASSWORD};
use crate::raw::Response;
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
identity:
  preset: portcullis
  headers: { X-First: first_name, X-Last: last_name, X-Org: organization, X-Unit: department, X-Phone: phone }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/groups/**", upstream: app, allow: authenticated, identity: { preset: remote-user } }
"#;

const HOSTILE: [&str; 22] = [
    "\r\nX-User: admin",
    "\nX-User: admin",
    "\rX-User: admin",
    "a\r\n\r\nGET /smuggled HTTP/1.1",
    "\0",
    "a\0b",
    "\u{10d}\u{10a}X-User: admin",
    "\u{560d}\u{560a}X-User: admin",
    "\u{85}X-User: admin",
    "\u{2028}X-User: admin",
    "\u{2029}",
    "\u{1f600}",
    "\u{7f}",
    "\u{1}\u{1b}[31m",
    "\t",
    "a,admin",
    "a|admin",
    "%0d%0aX-User: admin",
    "%",
    "a b",
    "\u{200b}admin\u{feff}",
    "caf\u{e9}",
];

const PROFILE: [(&str, &str); 5] = [
    ("x-first", "first_name"),
    ("x-last", "last_name"),
    ("x-org", "organization"),
    ("x-unit", "department"),
    ("x-phone", "phone"),
];

/// A value as an application decodes it.
fn decode(value: &str) -> String {
    percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned()
}

/// Accounts take no control character; the rows are written behind the gateway's back, as an import or
/// a former version might have.
#[tokio::test(flavor = "multi_thread")]
async fn smg_23_no_byte_of_a_name_becomes_a_line_of_the_head() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let people: Vec<_> = (0..HOSTILE.len()).map(|index| format!("p{index}")).collect();
    for (hostile, name) in HOSTILE.into_iter().zip(&people) {
        let mut person = gateway.person(name);
        person.draft.profile.first_name = Some(hostile.to_owned());
        let draft = person.draft.clone();
        let accounts = gateway.running.accounts().people();
        // White space at the ends is cut off.
        let is_control = hostile.trim().chars().any(char::is_control);
        assert_eq!(accounts.create(draft, &Actor::cli()).await.is_err(), is_control, "{hostile:?}");
        if is_control {
            gateway.person(name).create().await;
        }
    }
    let database = gateway.file.parent().unwrap().join("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    for (hostile, name) in HOSTILE.into_iter().zip(&people) {
        sqlx::query(
            "UPDATE users SET first_name = $1, last_name = $1, organization = $1, department = $1, \
             phone = $1 WHERE email = $2",
        )
        .bind(hostile)
        .bind(format!("{name}@example.com"))
        .execute(&mut connection)
        .await
        .unwrap();
    }
    connection.close().await.unwrap();
    for (hostile, name) in HOSTILE.into_iter().zip(&people) {
        let client = gateway.sign_in(name).await;
        for (path, user) in [("/x", "x-auth-user-id"), ("/groups/x", "remote-user")] {
            let target = format!("{path}/{name}");
            client.get(&target).send().await.expect(200);
            let all = ledger::read(&upstream.tapes());
            let received = all.iter().find(|received| received.target == target).unwrap();
            assert!(!received.has("x-user"), "{hostile:?}: {}", received.head);
            assert_eq!(received.all(user).len(), 1, "{hostile:?}: {}", received.head);
            if path == "/x" {
                for (header, field) in PROFILE {
                    let values = received.all(header);
                    let values: Vec<_> = values.iter().map(|value| decode(value)).collect();
                    assert_eq!(values, [hostile], "{field}: {}", received.head);
                }
            }
        }
    }
    assert!(!upstream.seen().iter().any(|seen| seen.target() == "/smuggled"));
}

/// Where somebody wanted to go comes back in `Location`, on the way to the sign-in and from it.
#[tokio::test(flavor = "multi_thread")]
async fn smg_23_no_byte_of_where_somebody_wanted_to_go_becomes_a_line_of_an_answer() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    gateway.person("ann").create().await;
    for hostile in HOSTILE {
        let encoded = percent_encoding::utf8_percent_encode(hostile, NON_ALPHANUMERIC).to_string();
        for target in [
            format!("/x?q={encoded}"),
            format!("/{encoded}"),
            format!("/auth/login?next=%2F{encoded}"),
            format!("/auth/login?next={encoded}"),
            format!("/auth/login?next=%2F{}", encoded.replace('%', "%25")),
        ] {
            let answer = gateway.client().visit(&target).send().await;
            check(&answer, &target);
        }
        for next in [
            hostile.to_owned(),
            format!("/{hostile}"),
            format!("/x?q={encoded}"),
            format!("/{encoded}"),
        ] {
            let client = gateway.client();
            let form = [("username", "ann@example.com"), ("password", PASSWORD), ("next", &*next)];
            check(&client.post("/auth/login").form(&form).send().await, &next);
        }
    }
}

/// One status line, no line that was smuggled in.
fn check(answer: &Response, what: &str) {
    assert!([200, 303, 400, 403, 404].contains(&answer.status), "{what:?}: {}", answer.status);
    assert!(answer.header("x-user").is_none(), "{what:?}: {:?}", answer.headers);
    let is_plain = |value: &str| value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    assert!(is_plain(answer.location()), "{what:?}: {}", answer.location());
}
