//! Attacks on these pages, named by their ids in `docs/attack-cases.md`.

use portcullis::accounts::Actor;

use super::{NEW, fill, send, start};
use crate::harness::{PASSWORD, email};
use crate::pages::hidden_fields;

const MARKUP: &str = "\"><script>alert(1)</script><a href=\"javascript:alert(1)\" x='";

#[tokio::test(flavor = "multi_thread")]
async fn out_02_what_people_write_about_themselves_is_shown_as_the_words_it_is() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    let client = gateway.client();
    let form = [
        ("email", "ann@example.com"),
        ("password", NEW),
        ("first_name", MARKUP),
        ("last_name", MARKUP),
    ];
    fill(&client, "/auth/register", &form).await.expect(200);
    let refused = [("email", MARKUP), ("password", NEW), ("first_name", MARKUP)];
    let page = fill(&client, "/auth/register", &refused).await.expect(422).text();
    assert!(!page.contains("<script") && !page.contains("<a href=\"javascript"), "{page}");
    let fields = [("username", &*email("ann")), ("password", NEW)];
    let signed_in = client.post("/auth/cookie/login").form(&fields).header("User-Agent", MARKUP);
    signed_in.send().await.expect(204);
    let everything = [
        ("first_name", MARKUP),
        ("last_name", MARKUP),
        ("organization", MARKUP),
        ("department", MARKUP),
        ("phone", MARKUP),
    ];
    fill(&client, "/auth/account/profile", &everything).await.expect(303);
    for path in [
        "/auth/account",
        "/auth/account/profile",
        "/auth/account/email",
        "/auth/account/password",
        "/auth/account/devices",
        "/auth/account/delete",
        "/auth/login",
        "/auth/logout",
        "/auth/account?done=%22%3E%3Cscript%3E",
    ] {
        let page = client.visit(path).header("Referer", MARKUP).send().await.expect(200);
        let policy = page.header("content-security-policy").unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = page.text();
        assert!(!text.contains("<script"), "{path}: {text}");
        assert!(!text.contains("<a href=\"javascript"), "{path}: {text}");
    }
    let devices = client.visit("/auth/account/devices").send().await.expect(200).text();
    assert!(devices.contains("&lt;script&gt;alert(1)"), "{devices}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_11_no_other_site_sends_the_forms_of_these_pages_and_no_form_stands_in_for_another() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    let ann = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in().await;
    let foreign = bob.visit("/auth/account/password").send().await.expect(200).text();
    let filled = [
        ("current_password", PASSWORD),
        ("password", NEW),
        ("email", "new@example.com"),
        ("first_name", "Mallory"),
        ("others", "1"),
        ("sure", "1"),
    ];
    for page in ["profile", "email", "password", "devices", "delete"] {
        let to = format!("/auth/account/{page}");
        let own = ann.visit(&to).send().await.expect(200).text();
        let mut fields = hidden_fields(&own);
        fields.extend(filled.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        fields.sort();
        fields.dedup_by(|one, other| one.0 == other.0);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let evil = ann.post(&to).form(&fields).navigating_from("cross-site");
        evil.with("Origin", "https://evil.example.net").send().await.expect(403);
        // Without a token, with somebody else's, and with one's own for something else.
        ann.post(&to).form(&filled).navigating_from("same-origin").send().await.expect(403);
        let (_, token) =
            hidden_fields(&foreign).into_iter().find(|(n, _)| n == "form_token").unwrap();
        let stolen: Vec<_> = filled.into_iter().chain([("form_token", &*token)]).collect();
        ann.post(&to).form(&stolen).navigating_from("same-origin").send().await.expect(403);
        let login = ann.visit("/auth/logout").send().await.expect(200).text();
        send(&ann, &to, &login, &filled).await.expect(403);
        // Nobody signed in is led to sign in.
        let nobody = gateway.client();
        let answer = nobody.post(&to).form(&filled).navigating_from("same-origin").send().await;
        assert!(answer.expect(303).location().starts_with("/auth/login?next="), "{page}");
    }
    ann.get("/x").send().await.expect(200);
    let account = ann.visit("/auth/account").send().await.expect(200).text();
    assert!(account.contains("ann@example.com") && !account.contains("Mallory"), "{account}");
    let client = gateway.client();
    let page = client.visit("/auth/register").send().await.expect(200).text();
    let fields = hidden_fields(&page);
    let mut fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend([("email", "eve@example.com"), ("password", NEW)]);
    let evil = client.post("/auth/register").form(&fields).navigating_from("cross-site");
    evil.with("Origin", "https://evil.example.net").send().await.expect(403);
    let other = gateway.client();
    other.visit("/auth/login").send().await.expect(200);
    let stolen = other.post("/auth/register").form(&fields).navigating_from("same-origin");
    stolen.send().await.expect(403);
    let people = gateway.running.accounts().people();
    assert!(people.find("eve@example.com").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_05_a_session_that_ends_before_a_form_is_whole_ends_and_shows_no_other() {
    let (_upstream, gateway) = start("{}").await;
    gateway.person("ann").create().await;
    let people = gateway.running.accounts().people();
    let ann = people.find("ann@example.com").await.unwrap().unwrap();
    let nobodys = "A".repeat(43);
    for (target, which, field) in [
        ("/auth/account/devices", 1, ("others", "1")),
        ("/auth/account/devices", 1, ("device", &*nobodys)),
        ("/auth/logout", 0, ("everywhere", "1")),
    ] {
        let (stolen, _other) = (gateway.sign_in("ann").await, gateway.sign_in("ann").await);
        let page = stolen.visit("/auth/account/devices").send().await.expect(200).text();
        let mut tokens = hidden_fields(&page).into_iter().filter(|(name, _)| name == "form_token");
        let token = tokens.nth(which).unwrap().1;
        let form = stolen.post(target).form(&[("form_token", &token), field]);
        let (mut raw, body) = form.navigating_from("same-origin").send_head().await;
        people.set_password(&ann, PASSWORD.into(), &Actor::cli()).await.unwrap();
        let owner = gateway.sign_in("ann").await;
        raw.send(body).await;
        raw.response("POST").await.expect(303);
        owner.get("/x").send().await.expect(200);
    }
}
