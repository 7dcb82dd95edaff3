//! A stolen session is no way in for good: what linking and unlinking ask for, and what takes links away.

use std::time::Duration;

use portcullis::accounts::{Actor, LinkKind};
use portcullis::store::LinkRow;
use serde_json::json;

use super::{Site, flow_cookies, me, parameter, path_of, person};
use crate::harness::PASSWORD;
use crate::raw::{Client, Response};

const LINK: &str = "/auth/associate/corp/authorize";
const NEW: &str = "nine herons over the weir";

fn two() -> serde_json::Value {
    json!({ "ann": person("ann@corp.example", &[]), "eve": person("eve@evil.example", &[]) })
}

async fn confirming() -> Site {
    let rules = "{ confirm_changes: true, email_domains: [example.com, corp.example] }";
    let open = "who: anyone, register: true";
    Site::start_with(two(), open, |builder| builder.key("accounts", rules)).await
}

impl Site {
    async fn links_of(&self, who: &str) -> Vec<LinkRow> {
        let people = self.gateway.running.accounts().people();
        let user = people.find(who).await.unwrap().unwrap();
        self.gateway.running.store().list_links(user.id).await.unwrap()
    }

    /// Links somebody's account at the provider as a script does.
    pub(super) async fn link(&self, client: &Client, login: &str) {
        let asked = client.get(LINK).send().await.expect(200).json();
        let back = self.callback(asked["authorization_url"].as_str().unwrap(), login).await;
        client.get(&back).send().await.expect(200);
    }
}

fn is_unconfirmed(answer: &Response) -> bool {
    answer.status == 400 && answer.json()["detail"]["code"] == "UPDATE_USER_INVALID_PASSWORD"
}

async fn change(client: &Client, to: &str, body: serde_json::Value) -> Response {
    client.call("PATCH", to).body("application/json", body.to_string()).send().await
}

/// The token of the form on a page.
fn form_token(page: &str) -> String {
    let after = page.split("name=\"form_token\" value=\"").nth(1).unwrap();
    after.split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_05_a_reset_and_an_operators_new_password_take_away_what_a_stolen_session_linked() {
    let site = Site::start(two()).await;
    let stolen = site.gateway.person("ann").sign_in().await;
    site.link(&stolen, "eve").await;
    assert_eq!(site.links_of("ann@example.com").await.len(), 1);
    let intruder = site.sign_in("eve").await;
    assert_eq!(me(&intruder).await["email"], "ann@example.com");
    let reset = site.gateway.link("ann", LinkKind::Reset).await;
    let body = json!({ "token": parameter(&reset, "token"), "password": NEW }).to_string();
    let owner = site.gateway.client();
    owner.post("/auth/reset-password").body("application/json", body).send().await.expect(200);
    assert_eq!(site.links_of("ann@example.com").await, []);
    intruder.get("/auth/users/me").send().await.expect(401);
    let intruder = site.sign_in("eve").await;
    assert_eq!(me(&intruder).await["email"], "eve@evil.example", "somebody else");
    // The same by an operator's hand.
    let bob = site.gateway.person("bob").sign_in().await;
    site.link(&bob, "ann").await;
    let people = site.gateway.running.accounts().people();
    let user = people.find("bob@example.com").await.unwrap().unwrap();
    people.set_password(&user, NEW.into(), &Actor::cli()).await.unwrap();
    assert_eq!(site.links_of("bob@example.com").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_link_and_unlink_with_the_current_password() {
    let site = Site::start(two()).await;
    let ann = site.gateway.person("ann").sign_in().await;
    let page = ann.visit(LINK).send().await.expect(200).text();
    assert!(page.contains("type=\"password\"") && flow_cookies(&ann).is_empty(), "{page}");
    let token = form_token(&page);
    let send = async |to: &str, fields: &[(&str, &str)]| {
        let token = ("form_token", token.as_str());
        let fields: Vec<_> = fields.iter().copied().chain([token]).collect();
        ann.post(to).form(&fields).navigating_from("same-origin").send().await
    };
    let link = "/auth/associate/corp/link";
    send(link, &[("sure", "1")]).await.expect(422);
    send(link, &[("sure", "1"), ("current_password", "wrong")]).await.expect(422);
    assert!(flow_cookies(&ann).is_empty());
    let gone = send(link, &[("sure", "1"), ("current_password", PASSWORD)]).await.expect(200);
    let url = gone.header("refresh").unwrap().strip_prefix("0; url=").unwrap().to_owned();
    assert!(url.starts_with(&site.provider.issuer()), "{url}");
    let back = site.callback(&url, "ann").await;
    ann.visit(&back).navigating_from("cross-site").send().await.expect(303);
    let links = site.links_of("ann@example.com").await;
    assert_eq!(links.len(), 1);
    let unlink = "/auth/associate/corp/unlink";
    let subject = ("subject", links[0].key.subject.as_str());
    let asked = send(unlink, &[subject]).await.expect(200).text();
    assert!(asked.contains("type=\"password\""), "{asked}");
    send(unlink, &[subject, ("sure", "1"), ("current_password", "wrong")]).await.expect(422);
    assert_eq!(site.links_of("ann@example.com").await.len(), 1);
    send(unlink, &[subject, ("sure", "1"), ("current_password", PASSWORD)]).await.expect(303);
    assert_eq!(site.links_of("ann@example.com").await, []);
    for kind in ["link", "unlink"] {
        site.check_only_event(kind, "ann@example.com").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_link_and_unlink_by_a_recent_session_where_changes_are_confirmed() {
    let site = confirming().await;
    let ann = site.gateway.person("ann").sign_in().await;
    site.link(&ann, "ann").await;
    site.gateway.pass(Duration::from_secs(301)).await;
    assert!(is_unconfirmed(&ann.get(LINK).send().await));
    let unlink = ann.call("DELETE", "/auth/associate/corp").send().await;
    assert!(is_unconfirmed(&unlink), "{}", unlink.text());
    assert_eq!(site.links_of("ann@example.com").await.len(), 1);
    let again = site.gateway.sign_in("ann").await;
    again.call("DELETE", "/auth/associate/corp").send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_unlinks_and_says_so_before_the_last_way_in_goes() {
    let users = json!({ "ann": person("ann@corp.example", &["nights"]) });
    let site = Site::start(users).await;
    let own = site.gateway.person("own").sign_in().await;
    site.link(&own, "ann").await;
    site.gateway.grant("own", "night", None).await;
    let session = site.sign_in("ann").await;
    let run = |arguments: &[&str], code: i32| {
        let output = site.gateway.run(arguments, "");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said:?}");
        said.concat()
    };
    let listed = run(&["user", "list"], 0);
    assert!(listed.contains("night, night by corp"), "{listed}");
    let listed = run(&["user", "list", "--json"], 0);
    assert!(listed.contains("\"provider\": \"corp\""), "{listed}");
    let exported = run(&["user", "export"], 0);
    assert_eq!(exported.matches("night").count(), 1, "{exported}");
    let other = run(&["user", "unlink", "own@example.com", "other"], 1);
    assert!(other.contains("own@example.com is not linked to other"), "{other}");
    run(&["user", "unlink", "own@example.com", "corp"], 0);
    site.gateway.wait_for(&session, "/auth/users/me", 401).await;
    assert_eq!(me(&own).await["roles"], json!(["night"]));
    run(&["user", "unlink", "own@example.com", "corp"], 1);
    let events = site.events("unlink").await;
    assert_eq!((events.len(), &*events[0].actor, &*events[0].detail), (1, "cli", "corp"));
    // Whoever has no other way in loses it only where that is said.
    let ann = site.sign_in("ann").await;
    let unlink = ["user", "unlink", "ann@corp.example", "corp"];
    let told = run(&unlink, 2);
    assert!(told.contains("corp is the last way in to ann@corp.example"), "{told}");
    assert!(told.contains("say --yes"), "{told}");
    me(&ann).await;
    run(&[&unlink[..], &["--yes"]].concat(), 0);
    site.gateway.wait_for(&ann, "/auth/users/me", 401).await;
    assert_eq!(site.links_of("ann@corp.example").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_linked_just_now_proves_nothing() {
    let site = confirming().await;
    let ann = site.sign_in("ann").await;
    site.link(&ann, "eve").await;
    let intruder = site.sign_in("eve").await;
    assert_eq!(me(&intruder).await["email"], "ann@corp.example");
    let refused = change(&intruder, "/auth/users/me", json!({ "password": NEW })).await;
    assert!(is_unconfirmed(&refused), "{}", refused.text());
    site.gateway.pass(Duration::from_secs(301)).await;
    let later = site.sign_in("eve").await;
    change(&later, "/auth/users/me", json!({ "password": NEW })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_changes_their_own_account_by_its_id_as_anybody_does() {
    let site = confirming().await;
    let ann = site.gateway.person("ann").superuser().sign_in().await;
    let bob = site.gateway.person("bob").create().await;
    let own = format!("/auth/users/{}", me(&ann).await["id"].as_str().unwrap());
    assert!(is_unconfirmed(&change(&ann, &own, json!({ "password": NEW })).await));
    assert!(is_unconfirmed(&change(&ann, &own, json!({ "email": "a@corp.example" })).await));
    let wrong = json!({ "password": NEW, "current_password": "wrong" });
    assert!(is_unconfirmed(&change(&ann, &own, wrong).await));
    let elsewhere = json!({ "email": "a@evil.example", "current_password": PASSWORD });
    change(&ann, &own, elsewhere).await.expect(422);
    change(&ann, &own, json!({ "first_name": "Ann" })).await.expect(200);
    let other = format!("/auth/users/{}", bob.id);
    change(&ann, &other, json!({ "email": "bob@evil.example" })).await.expect(200);
    let moved = json!({ "email": "a@corp.example", "current_password": PASSWORD });
    change(&ann, &own, moved).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_codes_are_counted_and_callbacks_that_another_site_sends_keep_nobody_out() {
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    for _ in 0..20 {
        client.get("/auth/corp/callback?code=x&state=x").send().await.expect(400);
    }
    client.get("/auth/corp/callback?code=x&state=x").send().await.expect(429);
    // Neither somebody's own way back nor a link is used up by it.
    let back = site.away(&client, "/auth/corp/authorize", "ann").await;
    client.get(&back).send().await.expect(204);
    let body = json!({ "token": "x", "password": NEW }).to_string();
    let guess = client.post("/auth/reset-password").body("application/json", body);
    guess.send().await.expect(400);
    // A good state with a code of nobody's asks the provider, and is counted.
    for count in 0..=20 {
        let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
        let url = url::Url::parse(gone.location()).unwrap();
        let state = parameter(url.as_str(), "state");
        let issuer = site.provider.issuer();
        let pairs = [("code", "gone"), ("state", &*state), ("iss", &*issuer)];
        let mut made = url::Url::parse("http://x/auth/corp/callback").unwrap();
        made.query_pairs_mut().extend_pairs(pairs);
        let expected = if count < 20 { 400 } else { 429 };
        client.get(&path_of(made.as_str())).send().await.expect(expected);
    }
}
