//! Attacks on letters, named by their ids in `docs/attack-cases.md`.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis::accounts::{Actor, Draft};
use portcullis::store::Flag;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor};

use super::server::{MailServer, Message};
use super::{FORGOT, VERIFY, by, promised};
use crate::harness::{Gateway, PASSWORD};
use crate::raw::Client;

/// What splits a header or a message, or is taken for markup, for a template or for an encoded word.
const ODD: [&str; 8] = [
    "<script>xss()</script>",
    "\"><a href=\"https://xss.example/\">xss</a>",
    "{{ link }}xss{{ 7 * 7 }}{% raw %}",
    "=?utf-8?q?xss=0D=0ABcc:_xss=40evil.example?=",
    "xss\r\nBcc: xss@evil.example",
    "xss\nContent-Type: text/html\n\n<script>xss()</script>",
    "xss\r\n.\r\nMAIL FROM:<xss@evil.example>",
    "\u{202e}xss\u{2028}",
];

/// An e-mail of every character that one may hold and something else may take for its own.
const EMAIL: &str = "xss{{7*7}}%s'=?|`$&amp#!@example.com";

/// The kinds of letters, by the names of their templates.
const KINDS: [&str; 5] = ["email-changed", "invite", "password-changed", "reset", "verify"];

const HEADERS: [&str; 8] = [
    "auto-submitted",
    "content-type",
    "date",
    "from",
    "message-id",
    "mime-version",
    "subject",
    "to",
];

/// A letter without what is of its recipient alone: its link, and the time until which that is good.
fn common(message: &Message) -> [String; 3] {
    let escaped = message.link().replace('/', "&#x2f;");
    let html = message.html().replace(&escaped, "LINK");
    let text = message.text().replace(message.link(), "LINK");
    [message.header("subject").to_owned(), text, html]
        .map(|part| part.replace(|c: char| c.is_ascii_digit(), "#"))
}

/// Reads a letter as what it has to be, whoever it is for.
fn read(message: &Message, to: &str) {
    let mut names: Vec<&str> =
        message.0["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, HEADERS, "{}", message.0);
    assert_eq!(message.0["parts"], json!(["multipart/alternative", "text/plain", "text/html"]));
    assert_eq!(message.to(), to);
    assert_eq!(message.0["from"], "no-reply@example.com");
    assert_eq!(message.header("from"), "Quay <no-reply@example.com>");
    let mut rest = message.0.clone();
    rest["to"] = json!(null);
    rest["headers"]["to"] = json!(null);
    assert!(!rest.to_string().contains("xss"), "{}", message.0);
}

/// Makes every text that an account has of its owner odd, whatever the rules for it are.
async fn make_odd(gateway: &Gateway, odd: &str) {
    let file = gateway.file.with_file_name("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    let sql = "UPDATE users SET first_name = $1, last_name = $1, organization = $1, \
               department = $1, phone = $1 WHERE email LIKE '%xss%'";
    connection.execute(sqlx::query(sql).bind(odd)).await.unwrap();
    connection.close().await.unwrap();
}

async fn add(gateway: &Gateway, email: &str, is_superuser: bool) {
    let draft = Draft {
        email: email.to_owned(),
        password: Some(PASSWORD.into()),
        is_active: true,
        is_superuser,
        ..Draft::default()
    };
    gateway.running.accounts().people().create(draft, &Actor::cli()).await.unwrap();
}

async fn sign_in(gateway: &Gateway, email: &str) -> Client {
    let client = gateway.client();
    let fields = [("username", email), ("password", PASSWORD)];
    client.post("/auth/cookie/login").form(&fields).send().await.expect(204);
    client
}

/// Asks for a letter with odd text in every header that is read; a line of a request holds no line end.
async fn ask(client: &Client, endpoint: &str, email: &str, odd: &str) {
    let odd = odd.replace(|c: char| c.is_control(), " ");
    let call = client.post(endpoint).header("X-Forwarded-Host", &odd).header("Referer", &odd);
    let call = call.header("User-Agent", &odd).header("Accept-Language", &odd);
    let call = call.header("Cookie", &format!("portcullis-language={odd}"));
    let body = json!({ "email": email, "first_name": odd, "subject": odd }).to_string();
    call.body("application/json", body).send().await.expect(202);
}

/// A gateway that takes registrations and sends its letters to a server.
async fn start() -> (MailServer, Gateway) {
    let server = MailServer::start().await;
    let builder = by(&server.url()).key("accounts", "{ registration: open }");
    (server, builder.key("limits", "off").start().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn out_02_a_letter_is_the_same_for_whoever_it_is_and_whoever_asked() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mail/templates");
    let names = std::fs::read_dir(templates).unwrap().map(|entry| entry.unwrap().file_name());
    let kinds: BTreeSet<String> = names
        .filter_map(|name| Some(name.to_str()?.split_once('.')?.0.to_owned()))
        .filter(|name| name != "layout")
        .collect();
    assert_eq!(kinds.iter().collect::<Vec<_>>(), KINDS, "a kind of letter is missing here");
    let (server, gateway) = start().await;
    for email in ["plain@example.com", EMAIL] {
        add(&gateway, email, false).await;
    }
    add(&gateway, &format!("root{EMAIL}"), true).await;
    add(&gateway, "root@example.com", true).await;
    let client = gateway.client();
    let mut count = 0;
    let mut next = async |to: &str| {
        count += 1;
        let message = server.wait_for(count).await.remove(count - 1);
        read(&message, to);
        common(&message)
    };
    let mut expected = Vec::new();
    for endpoint in [FORGOT, VERIFY] {
        promised(&client, endpoint, "plain").await;
        expected.push(next("plain@example.com").await);
    }
    let root = sign_in(&gateway, "root@example.com").await;
    let body = json!({ "email": "guest@example.com" }).to_string();
    let call = root.post("/auth/invitations").body("application/json", body);
    call.send().await.expect(201);
    let invitation = next("guest@example.com").await;
    for (number, odd) in ODD.iter().enumerate() {
        make_odd(&gateway, odd).await;
        for (endpoint, expected) in [FORGOT, VERIFY].iter().zip(&expected) {
            ask(&client, endpoint, EMAIL, odd).await;
            assert_eq!(next(EMAIL).await, *expected, "{endpoint} {odd:?}");
        }
        let root = sign_in(&gateway, &format!("root{EMAIL}")).await;
        let guest = format!("{number}{EMAIL}");
        let body =
            |name: Option<&str>| json!({ "email": guest, "first_name": name, "last_name": name });
        let invite = async |name: Option<&str>| {
            let call = root.post("/auth/invitations");
            call.body("application/json", body(name).to_string()).send().await.status
        };
        // A name of several lines is none.
        let is_line = !odd.contains(|c: char| c.is_control());
        let status = invite(Some(odd)).await;
        assert_eq!(status, if is_line { 201 } else { 422 }, "{odd:?}");
        if !is_line {
            assert_eq!(invite(None).await, 201);
        }
        assert_eq!(next(&guest).await, invitation, "{odd:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_02_a_letter_that_tells_of_a_change_is_the_same_for_whoever_it_is() {
    let (server, gateway) = start().await;
    let people = gateway.running.accounts().people();
    add(&gateway, "root@example.com", true).await;
    let root = sign_in(&gateway, "root@example.com").await;
    let mut count = 0;
    let mut expected = None;
    for (number, odd) in ["Ann"].iter().chain(&ODD).enumerate() {
        let email = format!("{number}{EMAIL}");
        add(&gateway, &email, false).await;
        make_odd(&gateway, odd).await;
        let id = people.find(&email).await.unwrap().unwrap().id;
        people.set_flag(id, Flag::Verified, &Actor::cli()).await.unwrap();
        let mut told = Vec::new();
        let new = "nine herons over the weir";
        let moved = json!({ "email": format!("moved{email}") });
        for change in [json!({ "password": new }), moved] {
            let call = root.call("PATCH", &format!("/auth/users/{id}"));
            let call = call.header("Origin", &root.origin());
            call.body("application/json", change.to_string()).send().await.expect(200);
            count += 1;
            let message = server.wait_for(count).await.remove(count - 1);
            read(&message, &email);
            told.push(common(&message));
        }
        assert_eq!(told, *expected.get_or_insert_with(|| told.clone()), "{odd:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_02_who_registers_writes_nothing_into_the_letter_that_verifies() {
    let (server, gateway) = start().await;
    let mut letters = Vec::new();
    for (number, odd) in ["Ann"].iter().chain(&ODD).enumerate() {
        let email = format!("{number}{EMAIL}");
        let body = json!({
            "email": email, "password": PASSWORD, "first_name": odd, "last_name": odd,
            "organization": odd, "department": odd, "phone": odd,
        });
        let call = gateway.client().post("/auth/register");
        let answer = call.body("application/json", body.to_string()).send().await;
        if odd.contains(|c: char| c.is_control()) {
            answer.expect(422);
            continue;
        }
        answer.expect(201);
        let message = server.wait_for(letters.len() + 1).await.remove(letters.len());
        read(&message, &email);
        letters.push(common(&message));
    }
    assert!(letters.len() > 4 && letters.iter().all(|letter| *letter == letters[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn out_02_no_address_is_two_and_none_goes_on_in_another_header() {
    let (server, gateway) = start().await;
    add(&gateway, "ann@example.com", false).await;
    let client = gateway.client();
    for email in [
        "ann@example.com, eve@evil.example",
        "ann@example.com;eve@evil.example",
        "ann@example.com eve@evil.example",
        "ann@example.com\r\nBcc: eve@evil.example",
        "ann@example.com\nBcc: eve@evil.example",
        "ann@example.com%0aBcc:eve@evil.example",
        "ann@example.com\u{0}eve@evil.example",
        "Ann <ann@example.com>",
        "\"ann\"@example.com",
        "ann@[127.0.0.1]",
        "ann@example.com@evil.example",
        "<ann@example.com>",
        "ann@example.com> SIZE=1",
    ] {
        for endpoint in [FORGOT, VERIFY] {
            let body = json!({ "email": email }).to_string();
            let call = client.post(endpoint).body("application/json", body);
            call.send().await.expect(422);
        }
        let body = json!({ "email": email, "password": PASSWORD }).to_string();
        let call = client.post("/auth/register").body("application/json", body);
        call.send().await.expect(422);
    }
    promised(&client, FORGOT, "ann").await;
    read(&server.wait_for(1).await[0], "ann@example.com");
}
