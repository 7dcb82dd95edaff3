//! Invitations, from whoever invites to the account that is made: by JSON, as a page, on the command line.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::server::MailServer;
use super::{counted, fill_outbox};
use crate::browser::Browser;
use crate::harness::{Builder, Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};

const INVITATIONS: &str = "/auth/invitations";
const REGISTER: &str = "/auth/register";

const YAML: &str = r#"
upstreams: { app: "http://127.0.0.1:1" }
roles: { editor: { permissions: ["text:write"] }, boss: { permissions: ["*:*"] } }
routes: [{ path: "/app", upstream: app, allow: authenticated }]
trusted_proxies: ["127.0.0.1"]
accounts: { registration: invite, invitation_lifetime: 3d }
"#;

fn by(server: &MailServer) -> Builder {
    let mail = format!("{{ from: \"quay@example.com\", smtp: \"{}\" }}", server.url());
    Gateway::builder(YAML).key("mail", &mail)
}

/// A gateway that sends mail, with a superuser signed in to it.
async fn start() -> (MailServer, Gateway, Client) {
    let server = MailServer::start().await;
    let gateway = by(&server).start().await;
    let root = gateway.person("root").superuser().sign_in().await;
    (server, gateway, root)
}

async fn send(client: &Client, to: &str, body: &Json) -> Response {
    client.post(to).body("application/json", body.to_string()).send().await
}

async fn invite(root: &Client, who: &str, roles: &[&str]) -> Json {
    let body = json!({"email": email(who), "roles": roles});
    send(root, INVITATIONS, &body).await.expect(201).json()
}

fn token_of(link: &str) -> String {
    link.split_once("/auth/invitation?token=").expect("no invitation").1.to_owned()
}

/// Invites somebody and gives the token that came by mail.
async fn invited(server: &MailServer, root: &Client, who: &str, roles: &[&str]) -> String {
    let before = server.messages().len();
    invite(root, who, roles).await;
    token_of(server.wait_for(before + 1).await[before].link())
}

async fn accept(client: &Client, who: &str, token: &str) -> Response {
    let body = json!({"email": email(who), "password": PASSWORD, "invitation": token});
    send(client, REGISTER, &body).await
}

async fn fill_page(client: &Client, link: &str, filled: &[(&str, &str)]) -> Response {
    let page = client.visit(link).follow().await.expect(200).text();
    let hidden = hidden_fields(&page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    let call = client.post("/auth/invitation").form(&fields);
    call.navigating_from("same-origin").send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_opens_the_mailed_link_and_has_an_account_with_the_roles_that_were_meant() {
    let (server, gateway, root) = start().await;
    let call = root.post(INVITATIONS).header("Accept-Language", "de");
    let body = json!({"email": " Ann@EXAMPLE.com", "roles": ["editor"], "first_name": "Ann"});
    let made = call.body("application/json", body.to_string()).send().await.expect(201).json();
    assert_eq!(made["email"], "Ann@example.com");
    assert_eq!(made["roles"], json!(["editor"]));
    assert_eq!(made["invited_by"], "root@example.com");
    let listed = root.get(INVITATIONS).send().await.expect(200).json();
    assert_eq!(listed, json!([made]));
    let message = &server.wait_for(1).await[0];
    assert_eq!(message.to(), "Ann@example.com");
    assert_eq!(message.header("subject"), "Einladung zu 127.0.0.1");
    let link = message.link();
    let path = link.strip_prefix(&gateway.client().origin()).expect("not of this site");
    assert!(!made.to_string().contains(&token_of(link)), "{made}");
    let browser = gateway.client();
    let page = browser.visit(path).follow().await.expect(200).text();
    assert!(page.contains("value=\"Ann@example.com\" readonly"), "{page}");
    assert!(page.contains("name=\"first_name\"") && page.contains("value=\"Ann\""), "{page}");
    assert!(!page.contains("you become"), "nobody is signed in: {page}");
    let page = root.visit(path).follow().await.expect(200).text();
    let whom = "as <strong>root@example.com</strong>; with the button you become \
                <strong>Ann@example.com</strong>.";
    assert!(page.contains(whom), "{page}");
    let weak = fill_page(&browser, path, &[("password", "short")]).await.expect(422).text();
    assert!(weak.contains("id=\"password-error\""), "{weak}");
    let filled = [("password", PASSWORD), ("last_name", "Lee"), ("email", "eve@example.com")];
    fill_page(&browser, path, &filled).await.expect(303);
    let me = browser.get("/auth/users/me").send().await.expect(200).json();
    assert_eq!(me["email"], "Ann@example.com");
    assert_eq!(me["last_name"], "Lee");
    assert_eq!((&me["is_verified"], &me["is_superuser"]), (&json!(true), &json!(false)));
    assert_eq!(me["roles"], json!(["editor"]));
    assert_eq!(root.get(INVITATIONS).send().await.expect(200).json(), json!([]));
    // Once.
    let over = gateway.client().visit(path).follow().await.expect(404).text();
    assert!(over.contains("no longer valid"), "{over}");
    let events = gateway.running.store().list_events(None, 10).await.unwrap();
    let told: Vec<_> = events.iter().rev().map(|e| (&*e.kind, &*e.actor, &*e.detail)).collect();
    assert!(told.contains(&("invite", "root@example.com", "Ann@example.com: editor")), "{told:?}");
    let by = "invited by root@example.com: Ann@example.com: editor";
    assert!(told.contains(&("register", "Ann@example.com", by)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_finds_no_room_in_the_outbox_is_none() {
    let (_server, gateway, root) = start().await;
    fill_outbox(&gateway.file.with_file_name("portcullis.db")).await;
    let body = json!({"email": "ann@example.com", "roles": []});
    send(&root, INVITATIONS, &body).await.expect(429);
    assert_eq!(root.get(INVITATIONS).send().await.expect(200).json(), json!([]));
    counted(&[&gateway], "queued", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_10_an_invitation_works_once_and_gives_what_the_database_says_and_nobody_else_sees_it()
{
    let (server, gateway, root) = start().await;
    let token = invited(&server, &root, "ann", &["editor"]).await;
    // Whoever may invite has the invitation, never its token.
    let listed = root.get(INVITATIONS).send().await.expect(200).text();
    assert!(!listed.contains(&token) && !listed.contains("digest"), "{listed}");
    let events = gateway.running.store().list_events(None, 10).await.unwrap();
    assert!(!format!("{events:?}").contains(&token));
    for name in ["portcullis.db", "portcullis.db-wal"] {
        let file = gateway.file.parent().unwrap().join(name);
        let bytes = std::fs::read(file).unwrap_or_default();
        assert!(crate::raw::find(&bytes, token.as_bytes()).is_none(), "{name}");
    }
    // A request that asks for more gets what the invitation says.
    let body = json!({
        "email": "ann@example.com", "password": PASSWORD, "invitation": token,
        "roles": ["boss"], "is_superuser": true, "is_active": false, "is_verified": false,
        "permissions": ["*:*"], "id": "00000000-0000-0000-0000-000000000001",
    });
    let other = json!({"email": "eve@example.com", "password": PASSWORD, "invitation": token});
    let refused = send(&gateway.client(), REGISTER, &other).await.expect(400);
    assert_eq!(refused.detail(), "INVITATION_BAD_TOKEN");
    let made = send(&gateway.client(), REGISTER, &body).await.expect(201).json();
    assert_eq!((&made["is_superuser"], &made["is_verified"]), (&json!(false), &json!(true)));
    assert_ne!(made["id"], "00000000-0000-0000-0000-000000000001");
    let me = gateway.sign_in("ann").await.get("/auth/users/me").send().await.expect(200).json();
    assert_eq!(me["roles"], json!(["editor"]));
    let again = accept(&gateway.client(), "ann", &token).await.expect(400);
    assert_eq!(again.detail(), "INVITATION_BAD_TOKEN");
    // Nor is a part, another case or somebody else's of any use.
    let other = invited(&server, &root, "bob", &[]).await;
    for bad in [&other[..63], &other.to_lowercase(), &format!("{other}A"), "", &"A".repeat(64)] {
        accept(&gateway.client(), "bob", bad).await.expect(400);
    }
    accept(&gateway.client(), "ann", &other).await.expect(400);
    accept(&gateway.client(), "bob", &other).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_01_an_invitation_used_fifty_times_at_once_makes_one_account() {
    let (server, gateway, root) = start().await;
    let token = invited(&server, &root, "ann", &["editor"]).await;
    let calls: Vec<_> = (0..50)
        .map(|at| {
            let body =
                json!({"email": "ann@example.com", "password": PASSWORD, "invitation": token});
            let call = gateway.client().post(REGISTER).body("application/json", body.to_string());
            // Each from somewhere else: no limit is to be what keeps them apart.
            let call = call.header("X-Forwarded-For", &format!("203.0.113.{at}"));
            tokio::spawn(async move { call.send().await.status })
        })
        .collect();
    let mut made = 0;
    for call in calls {
        match call.await.unwrap() {
            201 => made += 1,
            // Too many wait for their password to be hashed.
            400 | 429 => {}
            status => panic!("{status}"),
        }
    }
    assert_eq!(made, 1);
    let users = gateway.running.store().list_users(None, 10).await.unwrap();
    assert_eq!(users.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_ends_is_taken_back_and_gives_way_to_a_later_one() {
    let (server, gateway, root) = start().await;
    let client = gateway.client();
    let ended = invited(&server, &root, "ann", &[]).await;
    gateway.pass(Duration::from_hours(3 * 24) + Duration::from_mins(1)).await;
    accept(&client, "ann", &ended).await.expect(400);
    let root = gateway.sign_in("root").await;
    assert_eq!(root.get(INVITATIONS).send().await.expect(200).json(), json!([]));
    let first = invited(&server, &root, "ann", &["editor"]).await;
    let second = invited(&server, &root, "ann", &[]).await;
    let listed = root.get(INVITATIONS).send().await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    accept(&client, "ann", &first).await.expect(400);
    let id = listed[0]["id"].as_str().unwrap();
    root.call("DELETE", &format!("{INVITATIONS}/{id}")).send().await.expect(204);
    root.call("DELETE", &format!("{INVITATIONS}/{id}")).send().await.expect(404);
    root.call("DELETE", &format!("{INVITATIONS}/x")).send().await.expect(404);
    accept(&client, "ann", &second).await.expect(400);
    let events = gateway.running.store().list_events(None, 50).await.unwrap();
    let revoked = events.iter().find(|event| event.kind == "invitation-revoked").unwrap();
    assert_eq!((&*revoked.actor, &*revoked.detail), ("root@example.com", "ann@example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_an_account_is_not_invited_and_makes_no_second_one() {
    let (server, gateway, root) = start().await;
    gateway.person("bob").create().await;
    let body = json!({"email": "BOB@example.com"});
    let refused = send(&root, INVITATIONS, &body).await.expect(400);
    assert_eq!(refused.detail(), "REGISTER_USER_ALREADY_EXISTS");
    let token = invited(&server, &root, "ann", &[]).await;
    gateway.person("ann").create().await;
    let refused = accept(&gateway.client(), "ann", &token).await.expect(400);
    assert_eq!(refused.detail(), "REGISTER_USER_ALREADY_EXISTS");
    let path = format!("/auth/invitation?token={token}");
    let page = gateway.client().visit(&path).follow().await.expect(409).text();
    assert!(page.contains("You have an account already"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_superusers_invite_and_are_looked_at_before_what_they_send() {
    let (_server, gateway, root) = start().await;
    let ann = gateway.person("ann").role("boss").sign_in().await;
    let id = format!("{INVITATIONS}/00000000-0000-0000-0000-000000000001");
    for (method, path) in [("GET", INVITATIONS), ("POST", INVITATIONS), ("DELETE", &id)] {
        for (client, status) in [(&gateway.client(), 401), (&ann, 403)] {
            let call = client.call(method, path).header("Origin", &client.origin());
            call.body("application/json", "{").send().await.expect(status);
        }
    }
    for (body, kind) in [
        (json!({}), "missing"),
        (json!({"email": "x"}), "value_error"),
        (json!({"email": "x@example.com", "roles": "editor"}), "list_type"),
        (json!({"email": "x@example.com", "roles": ["editor", 1]}), "string_type"),
        (json!({"email": "x@example.com", "roles": ["a:b"]}), "value_error"),
        (json!({"email": "x@example.com", "first_name": "a\nb"}), "value_error"),
    ] {
        let answer = send(&root, INVITATIONS, &body).await.expect(422);
        assert_eq!(answer.json()["detail"][0]["type"], kind, "{body}");
    }
    root.call("PUT", INVITATIONS).send().await.expect(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_register_decides_whether_an_invitation_counts() {
    let (server, gateway, root) = start().await;
    let client = gateway.client();
    let token = invited(&server, &root, "ann", &[]).await;
    let path = format!("/auth/invitation?token={token}");
    let uninvited = json!({"email": "eve@example.com", "password": PASSWORD});
    send(&client, REGISTER, &uninvited).await.expect(403);
    gateway.reload("registration: invite", "registration: closed");
    accept(&client, "ann", &token).await.expect(403);
    client.visit(&path).follow().await.expect(404);
    send(&root, INVITATIONS, &json!({"email": "bob@example.com"})).await.expect(403);
    gateway.reload("registration: closed", "registration: open");
    send(&client, REGISTER, &uninvited).await.expect(201);
    accept(&client, "ann", &token).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_10_guesses_at_invitations_are_limited_by_address() {
    let (server, gateway, root) = start().await;
    let token = invited(&server, &root, "ann", &[]).await;
    let client = gateway.client();
    let from = |address: &str, token: &str| {
        let body = json!({"email": "ann@example.com", "password": PASSWORD, "invitation": token});
        let call = client.post(REGISTER).header("X-Forwarded-For", address);
        call.body("application/json", body.to_string())
    };
    for _ in 0..20 {
        from("192.0.2.1", &"A".repeat(64)).send().await.expect(400);
    }
    let limited = from("192.0.2.1", &token).send().await.expect(429);
    assert!(limited.header("retry-after").is_some());
    from("192.0.2.2", &token).send().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_invites_by_mail_or_where_none_is_sent_by_a_link() {
    let server = MailServer::start().await;
    let process = by(&server).spawn().await;
    let command = ["user", "invite", "ann@example.com", "--role", "editor", "--language", "de"];
    let output = process.run(&command, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("invited ann@example.com until ") && !said.contains("token"),
        "{said}"
    );
    let message = &server.wait_for(1).await[0];
    assert_eq!(message.header("subject"), "Einladung zu 127.0.0.1");
    accept(&process.client(), "ann", &token_of(message.link())).await.expect(201);
    let refused = process.run(&["user", "invite", "ann@example.com"], "");
    assert_eq!(refused.status.code(), Some(1));
    let odd = process.run(&["user", "invite", "bob@example.com", "--language", "xx"], "");
    assert_eq!(odd.status.code(), Some(2));
    let process = Gateway::builder(YAML).spawn().await;
    let output = process.run(&["user", "invite", "ann@example.com", "--first-name", "Ann"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let link = String::from_utf8(output.stdout).unwrap();
    let made = accept(&process.client(), "ann", &token_of(link.trim())).await.expect(201).json();
    // Who invited knew a name, which the guest was not asked for.
    assert_eq!((&made["email"], &made["first_name"]), (&json!("ann@example.com"), &json!("Ann")));
    let closed = Gateway::builder(&YAML.replace("registration: invite", "registration: closed"));
    let process = closed.spawn().await;
    let refused = process.run(&["user", "invite", "ann@example.com"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("registration is closed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_invitations_and_takes_them_back() {
    let process = Gateway::builder(YAML).spawn().await;
    let print = |arguments: &[&str]| {
        let output = process.run(arguments, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let invite = ["user", "invite", "Ann@example.com", "--role", "editor", "--first-name", "Ann"];
    let link = print(&invite);
    print(&["user", "invite", "bob@example.com"]);
    let listed: Json = serde_json::from_str(&print(&["invitation", "list", "--json"])).unwrap();
    let (bob, ann) = (&listed[0], &listed[1]);
    assert_eq!((&bob["email"], &bob["roles"]), (&json!("bob@example.com"), &json!([])));
    let names = ["email", "first_name", "last_name", "roles", "invited_by"];
    let expected =
        [json!("Ann@example.com"), json!("Ann"), json!(null), json!(["editor"]), json!("cli")];
    assert_eq!(names.map(|name| ann[name].clone()), expected);
    assert!(ann["id"].is_string() && ann["created_at"].as_str() < ann["expires_at"].as_str());
    assert!(!listed.to_string().contains(&token_of(link.trim())));
    let table = print(&["invitation", "list", "--limit", "1"]);
    let cells: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["E-MAIL", "ROLES", "BY", "INVITED", "ENDS"]);
    assert_eq!((cells.len(), &cells[1][..3]), (2, &["bob@example.com", "-", "cli"][..]));
    // In any spelling, like everywhere else.
    let revoke = ["invitation", "revoke", " ann@EXAMPLE.com"];
    assert_eq!(print(&revoke), "took back the invitation of Ann@example.com\n");
    accept(&process.client(), "ann", &token_of(link.trim())).await.expect(400);
    let told = print(&["events", "list", "--kind", "invitation-revoked", "--json"]);
    let told: Json = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told[0]["actor"], &told[0]["detail"]),
        (&json!("cli"), &json!("Ann@example.com: editor"))
    );
    for nobody in ["ann@example.com", "nobody@example.com", "nobody"] {
        let refused = process.run(&["invitation", "revoke", nobody], "");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{nobody} has no open invitation")), "{said}");
    }
    let left: Json = serde_json::from_str(&print(&["invitation", "list", "--json"])).unwrap();
    assert_eq!(left.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mail_the_endpoint_says_so_and_invites_nobody() {
    let gateway = Gateway::builder(YAML).start().await;
    let root = gateway.person("root").superuser().sign_in().await;
    let refused = send(&root, INVITATIONS, &json!({"email": "ann@example.com"})).await.expect(400);
    assert_eq!(refused.detail(), "MAIL_NOT_CONFIGURED");
    assert_eq!(root.get(INVITATIONS).send().await.expect(200).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_follows_the_mailed_link_in_a_browser() {
    const NEW: &str = "nine lanterns by the quay";
    let (server, gateway, root) = start().await;
    invite(&root, "ann", &["editor"]).await;
    let link = server.wait_for(1).await[0].link().to_owned();
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open().await;
    for language in ["de", "en"] {
        browser.goto(&format!("{site}/auth/language?choose={language}&next=%2F")).await;
        browser.goto(&link).await;
        browser.check_page(&format!("invitation in {language}")).await;
    }
    browser.set_width(1280).await;
    assert!(
        browser.text().await.contains("ann@example.com") || browser.has("input[readonly]").await
    );
    browser.fill("input[name=password]", "short").await;
    browser.click("main form button").await;
    browser.find("#password-error").await;
    browser.check_page("invitation with a mistake").await;
    browser.set_width(1280).await;
    browser.fill("input[name=first_name]", "Ann").await;
    browser.fill("input[name=password]", NEW).await;
    browser.click("main form button").await;
    browser.wait_for_address(|address| !address.contains("/auth/invitation")).await;
    browser.goto(&format!("{site}/auth/account")).await;
    let text = browser.text().await;
    assert!(text.contains("ann@example.com") && text.contains("editor"), "{text}");
    browser.goto(&link).await;
    browser.check_page("invitation over").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_of_somebody_who_is_no_superuser_any_more_leads_nowhere() {
    let (server, gateway, root) = start().await;
    let eve = gateway.person("eve").superuser().sign_in().await;
    let of_eve = invited(&server, &eve, "mallory", &["boss"]).await;
    let of_root = invited(&server, &root, "bob", &["editor"]).await;
    let people = gateway.running.accounts().people();
    let account = people.find(&email("eve")).await.unwrap().unwrap();
    let path = format!("/auth/users/{}", account.id);
    let demotion = root.call("PATCH", &path).body("application/json", "{\"is_superuser\": false}");
    demotion.send().await.expect(200);
    let client = gateway.client();
    let refused = accept(&client, "mallory", &of_eve).await.expect(400);
    assert_eq!(refused.detail(), "INVITATION_BAD_TOKEN");
    accept(&client, "bob", &of_root).await.expect(201);
}
