//! Whoever's e-mail or password becomes another one is told so, at the e-mail they had and had verified.

use std::time::Duration;

use portcullis::accounts::LinkKind;
use serde_json::{Value as Json, json};

use super::server::{MailServer, Message};
use super::{FORGOT, by, counted, fill_outbox, resets, start};
use crate::harness::{Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};

const ME: &str = "/auth/users/me";
const NEW: &str = "nine herons over the weir";

async fn patch(client: &Client, target: &str, body: &Json) -> Response {
    let call = client.call("PATCH", target).header("Origin", &client.origin());
    call.header("Accept-Language", "de").body("application/json", body.to_string()).send().await
}

/// Sends the form of a page of the account, filled in.
async fn fill(client: &Client, at: &str, filled: &[(&str, &str)]) -> Response {
    let page = client.visit(at).follow().await.expect(200).text();
    let hidden = hidden_fields(&page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    let to = at.split('?').next().unwrap();
    client.post(to).form(&fields).navigating_from("same-origin").send().await
}

/// The letters that tell somebody of a change, by their subjects, once so many letters have come.
async fn told(server: &MailServer, count: usize, who: &str) -> Vec<Message> {
    let messages = server.wait_for(count).await.into_iter();
    let is_about = |message: &Message| {
        let subject = message.header("subject");
        ["was changed", "wurde geändert"].iter().any(|words| subject.contains(words))
    };
    let mut told: Vec<_> = messages.filter(|one| is_about(one) && one.to() == email(who)).collect();
    told.sort_by_key(|message| message.header("subject").to_owned());
    told
}

/// The address of somebody's account.
async fn account(gateway: &Gateway, who: &str) -> String {
    let people = gateway.running.accounts().people();
    format!("/auth/users/{}", people.find(&email(who)).await.unwrap().unwrap().id)
}

const EMAIL_DE: &str = "Ihre E-Mail-Adresse bei 127.0.0.1 wurde geändert";
const EMAIL_EN: &str = "Your e-mail at 127.0.0.1 was changed";
const PASSWORD_DE: &str = "Ihr Passwort bei 127.0.0.1 wurde geändert";
const PASSWORD_EN: &str = "Your password at 127.0.0.1 was changed";

#[tokio::test(flavor = "multi_thread")]
async fn another_e_mail_is_told_to_the_one_before_however_it_was_changed() {
    let (server, gateway) = start(&[]).await;
    let root = gateway.person("root").superuser().sign_in().await;
    // As JSON by its owner, as a page, as JSON by a superuser; each but the last sends the link that verifies.
    let ann = gateway.person("ann").sign_in().await;
    patch(&ann, ME, &json!({ "email": "ann@example.org" })).await.expect(200);
    let letters = told(&server, 2, "ann").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("subject"), EMAIL_DE);
    assert!(letters[0].html().contains("<html lang=\"de\">"), "{}", letters[0].html());
    let bob = gateway.person("bob").sign_in().await;
    let form = [("email", "bob@example.org"), ("current_password", PASSWORD)];
    fill(&bob, "/auth/account/email", &form).await.expect(303);
    let letters = told(&server, 4, "bob").await;
    assert_eq!(letters[0].header("subject"), EMAIL_EN);
    gateway.person("cat").create().await;
    let target = account(&gateway, "cat").await;
    patch(&root, &target, &json!({ "email": "cat@example.org" })).await.expect(200);
    let letters = told(&server, 5, "cat").await;
    assert_eq!(letters[0].header("subject"), EMAIL_DE);
    counted(&[&gateway], "queued", 5.0).await;
    counted(&[&gateway], "sent", 5.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_is_told_however_it_was_set() {
    let (server, gateway) = start(&["bob", "cat", "dan"]).await;
    let root = gateway.person("root").superuser().sign_in().await;
    let ann = gateway.person("ann").sign_in().await;
    patch(&ann, ME, &json!({ "password": NEW })).await.expect(200);
    let letters = told(&server, 1, "ann").await;
    assert_eq!(letters[0].header("subject"), PASSWORD_DE);
    let page = format!("{}/auth/forgot-password", ann.origin());
    assert_eq!(letters[0].link(), page);
    let form = [("password", PASSWORD), ("current_password", NEW)];
    fill(&ann, "/auth/account/password", &form).await.expect(303);
    assert_eq!(told(&server, 2, "ann").await[1].header("subject"), PASSWORD_EN);
    // By the link of whoever forgot it, as JSON and as a page.
    let client = gateway.client();
    assert!(resets(&client, &gateway.link("bob", LinkKind::Reset).await).await);
    assert_eq!(told(&server, 3, "bob").await[0].header("subject"), PASSWORD_EN);
    let link = gateway.link("cat", LinkKind::Reset).await;
    fill(&client, &link, &[("password", NEW)]).await.expect(303);
    assert_eq!(told(&server, 4, "cat").await[0].header("subject"), PASSWORD_EN);
    // By a superuser.
    let target = account(&gateway, "dan").await;
    patch(&root, &target, &json!({ "password": NEW })).await.expect(200);
    assert_eq!(told(&server, 5, "dan").await[0].header("subject"), PASSWORD_DE);
    // Both at once are told to the e-mail that was verified.
    let both = json!({ "email": "ann@example.org", "password": NEW });
    patch(&gateway.sign_in("ann").await, ME, &both).await.expect(200);
    assert_eq!(told(&server, 8, "ann").await.len(), 4);
    counted(&[&gateway], "queued", 8.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_of_another_password_too() {
    let server = MailServer::start().await;
    let process = by(&server.url()).spawn().await;
    process.create_user("ann", &[]);
    let set = process.run(&["user", "set-password", "ann@example.com", "--password-stdin"], NEW);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    assert_eq!(told(&server, 1, "ann").await[0].header("subject"), PASSWORD_EN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_or_was_never_verified_is_told_to_nobody() {
    let (server, gateway) = start(&["taken"]).await;
    let ann = gateway.person("ann").sign_in().await;
    for body in [
        json!({ "first_name": "Ann", "phone": "+1" }),
        json!({ "email": "ANN@Example.com" }),
        json!({ "email": "ann@example.com" }),
    ] {
        patch(&ann, ME, &body).await.expect(200);
    }
    patch(&ann, ME, &json!({ "email": "taken@example.com" })).await.expect(400);
    patch(&ann, ME, &json!({ "password": "short" })).await.expect(400);
    let new = gateway.person("new").unverified().sign_in().await;
    patch(&new, ME, &json!({ "password": NEW })).await.expect(200);
    patch(&new, ME, &json!({ "email": "new@example.org" })).await.expect(200);
    // The one that verifies it is all that comes of it.
    let letters = server.wait_for(1).await;
    assert_eq!(letters[0].to(), "new@example.org");
    counted(&[&gateway], "queued", 1.0).await;
    // The other letters, had there been any, would have come before this one.
    patch(&ann, ME, &json!({ "password": NEW })).await.expect(200);
    assert_eq!(told(&server, 2, "ann").await[0].header("subject"), PASSWORD_DE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_a_change_waits_for_the_mail_server_and_goes_where_it_was_meant_to_go() {
    let (server, gateway) = start(&[]).await;
    let ann = gateway.person("ann").sign_in().await;
    server.mode("rcpt 450 later");
    patch(&ann, ME, &json!({ "password": NEW })).await.expect(200);
    patch(&ann, ME, &json!({ "email": "eve@example.org" })).await.expect(200);
    server.wait_until("rcpt 450 later", 3).await;
    server.mode("accept");
    // A gateway that starts again has it still; the account has moved on meanwhile.
    let gateway = gateway.restart_with(&[]).await;
    gateway.advance(Duration::from_mins(20));
    let letters = told(&server, 3, "ann").await;
    let subjects: Vec<_> = letters.iter().map(|letter| letter.header("subject")).collect();
    assert_eq!(subjects, [PASSWORD_DE, EMAIL_DE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_a_change_goes_to_the_e_mail_as_it_is_written_as_a_link_does() {
    let (server, gateway) = start(&[]).await;
    let root = gateway.person("root").superuser().sign_in().await;
    let ann =
        gateway.person("ann").set(|draft| "Ann.Lee@Bücher.example".clone_into(&mut draft.email));
    let target = format!("/auth/users/{}", ann.create().await.id);
    let folded = json!({ "email": "ann.lee@xn--bcher-kva.example" }).to_string();
    root.post(FORGOT).body("application/json", folded).send().await.expect(202);
    server.wait_for(1).await;
    let both = json!({ "email": "ann@example.org", "password": NEW });
    patch(&root, &target, &both).await.expect(200);
    for letter in server.wait_for(3).await {
        assert_eq!(letter.to(), "Ann.Lee@xn--bcher-kva.example");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_a_change_comes_even_if_the_account_is_gone() {
    let (server, gateway) = start(&[]).await;
    let ann = gateway.person("ann").sign_in().await;
    server.mode("rcpt 450 later");
    patch(&ann, ME, &json!({ "email": "eve@example.org", "password": NEW })).await.expect(200);
    server.wait_until("rcpt 450 later", 3).await;
    let form = [("current_password", NEW), ("sure", "1")];
    fill(&ann, "/auth/account/delete", &form).await.expect(303);
    patch(&ann, ME, &json!({})).await.expect(401);
    server.mode("accept");
    gateway.advance(Duration::from_mins(20));
    // The one that verifies the new e-mail has gone with the account.
    let letters = told(&server, 2, "ann").await;
    let subjects: Vec<_> = letters.iter().map(|letter| letter.header("subject")).collect();
    assert_eq!(subjects, [PASSWORD_DE, EMAIL_DE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_finds_no_room_in_the_outbox_is_made_and_the_log_says_who_is_not_told() {
    let server = MailServer::start().await;
    let process = by(&server.url()).spawn().await;
    process.create_user("ann", &[]);
    let ann = process.sign_in("ann").await;
    fill_outbox(&process.directory().join("portcullis.db")).await;
    let answer = patch(&ann, ME, &json!({ "password": NEW })).await.expect(200).json();
    let said = process.word_with("user.id=").await;
    assert_eq!(said, format!("user.id={}", answer["id"].as_str().unwrap()));
    let letter = "a letter that tells of a change is not sent";
    assert_eq!(process.stderr().matches(letter).count(), 1, "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn out_02_what_tells_of_a_change_holds_nothing_that_anybody_typed_and_no_token() {
    let (server, gateway) = start(&[]).await;
    let ann = gateway.person("ann").sign_in().await;
    let markup = "<b>{{ site }}</b>\"'";
    let body = json!({ "first_name": markup, "last_name": markup, "organization": markup });
    patch(&ann, ME, &body).await.expect(200);
    let both = json!({ "email": "canary@example.org", "password": NEW });
    patch(&ann, ME, &both).await.expect(200);
    let letters = told(&server, 3, "ann").await;
    assert_eq!(letters.len(), 2);
    for letter in letters {
        let whole = letter.0.to_string();
        for typed in ["canary", "<b>", "&lt;b&gt;", "{{", "token", NEW, "ann@example.org"] {
            assert!(!whole.contains(typed), "{typed} in {whole}");
        }
    }
}
