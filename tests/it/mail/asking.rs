//! Who gets which letter, and what the one who asks is told.

use std::time::Duration;

use super::{FORGOT, VERIFY, ask, by, counted, promised, resets, start};
use crate::harness::Gateway;
use crate::raw::Client;

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_leads_to_a_new_password_in_the_language_of_whoever_asked() {
    let (server, gateway) = start(&["ann", "bob"]).await;
    promised(&gateway.client(), FORGOT, "  ANN@EXAMPLE.com ").await;
    let body = r#"{"email": "bob@example.com"}"#;
    let call = gateway.client().post(FORGOT).header("Accept-Language", "de-AT, en;q=0.8");
    call.body("application/json", body).send().await.expect(202);
    let mut messages = server.wait_for(2).await;
    // They go out at the same time.
    messages.sort_by_key(|message| message.to().to_owned());
    let (english, german) = (&messages[0], &messages[1]);
    assert_eq!(english.0["from"], "no-reply@example.com");
    assert_eq!(english.to(), "ann@example.com");
    assert_eq!(english.header("from"), "Quay <no-reply@example.com>");
    assert_eq!(english.header("subject"), "Choose a new password for 127.0.0.1");
    assert_eq!(english.header("auto-submitted"), "auto-generated");
    assert_eq!(german.header("subject"), "Neues Passwort für 127.0.0.1");
    assert!(german.html().contains("<html lang=\"de\">"), "{}", german.html());
    assert_ne!(english.header("message-id"), german.header("message-id"));
    for message in &messages {
        let escaped = message.link().replace('/', "&#x2f;");
        assert!(message.html().contains(&format!("<a href=\"{escaped}\">")), "{}", message.html());
        let start = format!("{}/auth/reset-password?token=", gateway.client().origin());
        assert!(message.link().starts_with(&start), "{}", message.link());
    }
    assert!(resets(&gateway.client(), english.link()).await);
    assert!(!resets(&gateway.client(), english.link()).await, "a link works once");
    assert!(resets(&gateway.client(), german.link()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_active_people_get_mail_and_nobody_verifies_twice() {
    let (server, gateway) = start(&["ann"]).await;
    gateway.person("off").set(|draft| draft.is_active = false).create().await;
    gateway.person("new").unverified().create().await;
    let off_and_new = |draft: &mut portcullis::accounts::Draft| {
        draft.is_active = false;
        draft.is_verified = false;
    };
    gateway.person("offnew").set(off_and_new).create().await;
    let client = gateway.client();
    for (endpoint, who) in [
        (FORGOT, "nobody"),
        (FORGOT, "off"),
        (VERIFY, "nobody"),
        (VERIFY, "ann"),
        (VERIFY, "offnew"),
    ] {
        promised(&client, endpoint, who).await;
    }
    promised(&client, VERIFY, "new").await;
    let message = &server.wait_for(1).await[0];
    assert_eq!(message.to(), "new@example.com");
    assert_eq!(message.header("subject"), "Confirm your e-mail for 127.0.0.1");
    let token = message.link().split_once("/auth/verify?token=").unwrap().1;
    let body = serde_json::json!({"token": token}).to_string();
    let verified = client.post("/auth/verify").body("application/json", body).send().await;
    assert_eq!(verified.expect(200).json()["is_verified"], true);
    // Every letter was looked at in turn, so the others have come to nothing.
    counted(&[&gateway], "queued", 6.0).await;
    counted(&[&gateway], "sent", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_name_no_e_mail_are_told_so_before_anything_is_looked_at() {
    let (_server, gateway) = start(&[]).await;
    for endpoint in [FORGOT, VERIFY] {
        for (body, kind) in [
            ("{}", "missing"),
            ("{\"email\": 1}", "string_type"),
            ("{\"email\": \"ann\"}", "value_error"),
            ("{\"email\": \"ann@localhost\"}", "value_error"),
            ("{\"email\": \"a\\u0000b@example.com\"}", "value_error"),
            ("{\"email\": \"ann@example.com\\r\\nBcc: eve@example.com\"}", "value_error"),
            ("{", "json_invalid"),
            ("{\"email\": \"a@example.com\", \"email\": \"b@example.com\"}", "json_invalid"),
        ] {
            let call = gateway.client().post(endpoint).body("application/json", body);
            let answer = call.send().await.expect(422);
            assert_eq!(answer.json()["detail"][0]["type"], kind, "{endpoint} {body}");
        }
        let call =
            gateway.client().post(endpoint).body("text/plain", "{\"email\": \"a@b.example\"}");
        call.send().await.expect(422);
        gateway.client().call("DELETE", endpoint).send().await.expect(405);
    }
}

async fn statuses(client: &Client, endpoint: &str, who: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        let answer = ask(client, endpoint, who).await;
        if answer.status == 429 {
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=3600).contains(&after), "{after}");
        }
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_08_mail_to_one_account_is_asked_for_a_few_times_an_hour_from_wherever() {
    let server = super::MailServer::start().await;
    let gateway = by(&server.url()).key("trusted_proxies", "[127.0.0.1]").start().await;
    gateway.person("ann").create().await;
    for who in ["ann", "nobody"] {
        let mut statuses = Vec::new();
        for number in 0..500 {
            let spelling = if number % 2 == 0 { who.to_owned() } else { who.to_uppercase() };
            let body = format!("{{\"email\": \" {spelling}@example.com\"}}");
            let from = format!("203.0.{}.{}", number / 200, number % 200 + 1);
            let call = gateway.client().post(FORGOT).header("X-Forwarded-For", &from);
            statuses.push(call.body("application/json", body).send().await.status);
        }
        assert_eq!(statuses[..5], [202; 5], "{who}");
        assert!(statuses[5..].iter().all(|status| *status == 429), "{who}");
    }
    assert!(server.messages().len() <= 5);
    gateway.advance(Duration::from_hours(1));
    assert_eq!(statuses(&gateway.client(), FORGOT, "ann", 6).await, [202, 202, 202, 202, 202, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_08_one_client_asks_for_a_bounded_number_of_letters() {
    let (_server, gateway) = start(&[]).await;
    let client = gateway.client();
    for number in 0..20 {
        let endpoint = [FORGOT, VERIFY][number % 2];
        assert_eq!(statuses(&client, endpoint, &format!("p{number}"), 1).await, [202]);
    }
    assert_eq!(statuses(&client, FORGOT, "p20", 1).await, [429]);
    gateway.advance(Duration::from_mins(10));
    assert_eq!(statuses(&client, FORGOT, "p20", 1).await, [202]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_01_a_link_leads_to_the_configured_site_whatever_a_request_says() {
    let server = super::MailServer::start().await;
    let gateway = by(&server.url()).key("public_url", "http://auth.example.org:81").start().await;
    gateway.person("ann").create().await;
    let lies = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Original-URL", "http://evil.example/"),
        ("Referer", "http://auth.example.org:81/"),
    ];
    for (index, (name, value)) in lies.iter().enumerate() {
        let call = gateway.client().with_host("auth.example.org:81").post(FORGOT);
        let call = call.header(name, value);
        call.body("application/json", r#"{"email": "ann@example.com"}"#).send().await.expect(202);
        let messages = server.wait_for(index + 1).await;
        let link = messages[index].link();
        assert!(link.starts_with("http://auth.example.org:81/auth/reset-password?"), "{link}");
        assert!(!messages[index].0.to_string().contains("evil"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_call_the_gateway_by_the_title_of_its_pages() {
    let server = super::MailServer::start().await;
    let gateway = by(&server.url()).key("portal", "{ title: \"Quay & Sons\" }").start().await;
    gateway.person("ann").create().await;
    assert_eq!(statuses(&gateway.client(), FORGOT, "ann", 1).await, [202]);
    let message = &server.wait_for(1).await[0];
    assert_eq!(message.header("subject"), "Choose a new password for Quay & Sons");
    assert!(message.header("message-id").ends_with("@127.0.0.1>"), "{}", message.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_for_a_letter_and_says_the_same_to_everybody() {
    let (server, gateway) = start(&["ann"]).await;
    let page = gateway.client().visit("/auth/login").send().await.expect(200).text();
    assert!(page.contains("forgot-password\">Forgot your password?</a>"), "{page}");
    for (over, asks) in [("reset-password", FORGOT), ("verify", VERIFY)] {
        let page = gateway.client().visit(&format!("/auth/{over}?token=x")).follow().await;
        let page = page.expect(404).text();
        let link = format!("{}\">Ask for another link</a>", asks.trim_start_matches("/auth/"));
        assert!(page.contains(&link), "{page}");
    }
    let mut said = Vec::new();
    for who in ["nobody", "ann"] {
        let client = gateway.client();
        let form = client.visit(FORGOT).send().await.expect(200).text();
        let token = form.split("name=\"form_token\" value=\"").nth(1).unwrap();
        let token = token.split('"').next().unwrap().to_owned();
        let email = format!("{who}@example.com");
        let lost = client.post(FORGOT).form(&[("form_token", "x"), ("email", &email)]);
        lost.send().await.expect(403);
        let wrong = client.post(FORGOT).form(&[("form_token", &token), ("email", who)]);
        let wrong = wrong.send().await.expect(422).text();
        assert!(wrong.contains("Please enter an e-mail address"), "{wrong}");
        let sent = client.post(FORGOT).form(&[("form_token", &token), ("email", &email)]);
        let answer = sent.send().await.expect(200).text();
        assert!(answer.contains("Check your mail"), "{answer}");
        said.push(answer.replace(&email, ""));
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(server.wait_for(1).await[0].to(), "ann@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mail_nothing_offers_it_and_nothing_comes_of_asking() {
    let gateway = Gateway::builder("").start().await;
    gateway.person("ann").create().await;
    let page = gateway.client().visit("/auth/login").send().await.expect(200).text();
    assert!(!page.contains("forgot-password"), "{page}");
    gateway.client().visit(FORGOT).send().await.expect(404);
    gateway.client().post(FORGOT).form(&[("email", "ann@example.com")]).send().await.expect(404);
    promised(&gateway.client(), FORGOT, "ann").await;
    promised(&gateway.client(), VERIFY, "ann").await;
}
