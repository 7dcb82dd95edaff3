//! What the pages do, and what they refuse.

use portcullis::accounts::Actor;

use super::{NEW, fill, letter_to, letters, link_of, send, start, with_accounts};
use crate::harness::{PASSWORD, email};
use crate::raw::Client;
use crate::upstream::Upstream;

/// Whether somebody can sign in with a password.
async fn signs_in(client: &Client, who: &str, password: &str) -> bool {
    let fields = [("username", &*email(who)), ("password", password)];
    client.post("/auth/jwt/login").form(&fields).send().await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_offered_only_where_it_is_open() {
    for (accounts, status, words) in [
        ("{}", 403, "Nobody can create an account here by themselves"),
        ("{ registration: invite }", 403, "You need an invitation"),
        ("{ registration: open }", 200, "Create an account"),
    ] {
        let (_upstream, gateway) = start(accounts).await;
        let client = gateway.client();
        let page = client.visit("/auth/register").send().await.expect(status).text();
        assert!(page.contains(words), "{page}");
        let sign_in = client.visit("/auth/login").send().await.expect(200).text();
        assert_eq!(sign_in.contains("auth&#x2f;register"), status == 200, "{sign_in}");
        let form = [("email", "ann@example.com"), ("password", NEW)];
        let sent = send(&client, "/auth/register", &page, &form).await;
        assert_eq!(sent.status, status, "{accounts}");
    }
}

/// The address in a page's first link that begins with this.
fn link_to(page: &str, start: &str) -> String {
    let page = page.replace("&#x2f;", "/").replace("&amp;", "&");
    let mut links = page.split("href=\"").filter_map(|rest| rest.split('"').next());
    links.find(|link| link.starts_with(start)).expect("no such link").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_on_the_way_to_a_page_comes_there_and_nowhere_else() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    let browser = gateway.client();
    let sign_in = browser.visit("/x?a=b&c").send().await.expect(303);
    let page = browser.visit(sign_in.location()).send().await.expect(200).text();
    let register = link_to(&page, "/auth/register");
    let page = browser.visit(&register).send().await.expect(200).text();
    assert_eq!(link_to(&page, "/auth/login"), sign_in.location());
    let form = |password| [("email", "ann@example.com"), ("password", password)];
    let again = send(&browser, "/auth/register", &page, &form("short")).await.expect(422).text();
    assert_eq!(link_to(&again, "/auth/login"), sign_in.location());
    let sent = send(&browser, "/auth/register", &again, &form(NEW)).await.expect(200).text();
    let sign_in = link_to(&sent, "/auth/login");
    let page = browser.visit(&sign_in).send().await.expect(200).text();
    let form = [("username", "ann@example.com"), ("password", NEW)];
    let answer = send(&browser, "/auth/login", &page, &form).await.expect(303);
    let arrived = browser.visit(answer.location()).send().await.expect(303);
    assert_eq!(arrived.location(), "/x?a=b&c");
    // What a sign-in may not lead to, a registration does not either.
    let browser = gateway.client();
    for next in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:evil"] {
        let encoded: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let address = format!("/auth/register?next={encoded}");
        let page = browser.visit(&address).send().await.expect(200).text();
        let own = page.split("</main>").next().unwrap();
        assert!(!own.contains("evil"), "{own}");
        let form = [("email", "bob"), ("password", NEW), ("next", next)];
        let again = send(&browser, "/auth/register", &page, &form).await.expect(422).text();
        assert!(!again.contains("evil"), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_that_has_an_account_is_answered_as_any_other_and_told_by_mail() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    gateway.person("ann").create().await;
    let answer = async |who: &str| {
        let form = [("email", who), ("password", NEW)];
        let answer = fill(&gateway.client(), "/auth/register", &form).await.expect(200);
        let text = answer.text().replace(who, "WHO");
        // Ids of requests differ in any case.
        text.split("<main>").nth(1).unwrap().split("</main>").next().unwrap().to_owned()
    };
    let (taken, new) = (answer("ann@example.com").await, answer("new@example.com").await);
    assert_eq!(taken, new);
    assert!(taken.contains("Check your mail"), "{taken}");
    let letters = letters(&gateway, 2).await;
    let to = |who: &str| letters.iter().find(|text| text.contains(&format!("To: {who}"))).unwrap();
    assert!(link_of(to("ann@example.com")).contains("/auth/reset-password?"));
    assert!(link_of(to("new@example.com")).contains("/auth/verify?"));
    // Nothing about the account has changed.
    let client = gateway.client();
    assert!(signs_in(&client, "ann", PASSWORD).await && !signs_in(&client, "ann", NEW).await);
    assert!(signs_in(&client, "new", NEW).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_registration_is_said_and_what_was_typed_is_kept() {
    let accounts = "{ registration: open, email_domains: [example.com] }";
    let (_upstream, gateway) = start(accounts).await;
    let long = "x".repeat(201);
    for (mail, password, name, words) in [
        ("nobody", NEW, "Ann", "Please enter an e-mail address"),
        ("ann@example.org", NEW, "Ann", "not admitted here"),
        ("ann@example.com", "short", "Ann", "at least 8 characters long"),
        ("ann@example.com", "password", "Ann", "too common"),
        ("ann@example.com", "ann@example.com", "Ann", "your e-mail"),
        ("ann@example.com", NEW, &long, "at most 200 characters"),
    ] {
        let form = [("email", mail), ("password", password), ("first_name", name)];
        let again = fill(&gateway.client(), "/auth/register", &form).await.expect(422).text();
        assert!(again.contains(words) && again.contains("aria-invalid"), "{words}: {again}");
        assert!(again.contains(&format!("value=\"{mail}\"")), "{again}");
        assert!(!again.contains(&format!("value=\"{password}\"")) || mail == password, "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_verify_the_e_mail_first_is_led_to_the_letter() {
    let upstream = Upstream::start();
    let accounts = "{ registration: open, require_verified: true }";
    let gateway = with_accounts(&upstream, accounts).start().await;
    let client = gateway.client();
    let form = [("email", "ann@example.com"), ("password", NEW)];
    fill(&client, "/auth/register", &form).await.expect(200);
    let first = link_of(&letters(&gateway, 1).await[0]);
    let form = [("username", "ann@example.com"), ("password", "wrong")];
    let refused = fill(&client, "/auth/login", &form).await.expect(400).text();
    assert!(refused.contains("The e-mail, the username or the password is not"), "{refused}");
    let form = [("username", "ann@example.com"), ("password", NEW)];
    let refused = fill(&client, "/auth/login", &form).await.expect(400).text();
    assert!(refused.contains("not verified yet"), "{refused}");
    assert!(refused.contains("request-verify-token"), "{refused}");
    let again = [("email", "ann@example.com")];
    let said = fill(&client, "/auth/request-verify-token", &again).await.expect(200).text();
    assert!(said.contains("Check your mail"), "{said}");
    let letters = letters(&gateway, 2).await;
    let second = letters.iter().map(|text| link_of(text)).find(|link| *link != first).unwrap();
    let path =
        |link: &str| link.split_once("/auth").map(|(_, rest)| format!("/auth{rest}")).unwrap();
    // The later letter has taken the earlier one's place.
    client.visit(&path(&first)).follow().await.expect(404);
    let page = client.visit(&path(&second)).follow().await.expect(200).text();
    send(&client, "/auth/verify", &page, &[]).await.expect(200);
    fill(&client, "/auth/login", &form).await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn e_mail_and_password_ask_for_the_current_one_and_end_what_they_end() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let other = gateway.sign_in("ann").await;
    gateway.person("bob").create().await;
    for (page, field, value, current, words) in [
        ("email", "email", "ann@example.org", "", "enter your current password"),
        ("email", "email", "ann@example.org", "wrong", "not your current password"),
        ("email", "email", "nobody", PASSWORD, "Please enter an e-mail address"),
        ("email", "email", "bob@example.com", PASSWORD, "belongs to another account"),
        ("password", "password", NEW, "", "enter your current password"),
        ("password", "password", NEW, "wrong", "not your current password"),
        ("password", "password", "short", PASSWORD, "at least 8 characters long"),
        ("password", "password", "", PASSWORD, "at least 8 characters long"),
    ] {
        let form = [(field, value), ("current_password", current)];
        let at = format!("/auth/account/{page}");
        let again = fill(&ann, &at, &form).await.expect(422).text();
        assert!(again.contains(words), "{words}: {again}");
        assert!(again.contains("aria-invalid=\"true\""), "{again}");
    }
    other.get("/x").send().await.expect(200);
    let form = [("password", NEW), ("current_password", PASSWORD)];
    let done = fill(&ann, "/auth/account/password", &form).await.expect(303);
    let said = ann.visit(done.location()).send().await.expect(200).text();
    assert!(said.contains("Your password is changed"), "{said}");
    other.get("/x").send().await.expect(401);
    ann.get("/x").send().await.expect(200);
    let form = [("email", "ann@example.org"), ("current_password", NEW)];
    fill(&ann, "/auth/account/email", &form).await.expect(303);
    // Beside those that tell the former address.
    let letter = letter_to("ann@example.org", letters(&gateway, 3).await);
    assert!(link_of(&letter).contains("/auth/verify?"), "{letter}");
    let account = ann.visit("/auth/account").send().await.expect(200).text();
    assert!(account.contains("ann@example.org (not verified)"), "{account}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_is_what_the_form_says() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let form = [("first_name", " Ann "), ("department", "Quays"), ("phone", "+49 1")];
    fill(&ann, "/auth/account/profile", &form).await.expect(303);
    let page = ann.visit("/auth/account/profile").send().await.expect(200).text();
    for part in ["value=\"Ann\"", "value=\"Quays\"", "value=\"+49 1\""] {
        assert!(page.contains(part), "{part} in {page}");
    }
    // A field left empty is emptied.
    fill(&ann, "/auth/account/profile", &[("first_name", "Ann")]).await.expect(303);
    let page = ann.visit("/auth/account/profile").send().await.expect(200).text();
    assert!(page.contains("value=\"Ann\"") && !page.contains("Quays"), "{page}");
    let wrong = [("phone", "1\u{7}2")];
    let again = fill(&ann, "/auth/account/profile", &wrong).await.expect(422).text();
    assert!(again.contains("phone-error"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signs_out_a_device_and_all_others_but_nobody_elses() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in().await;
    let (second, third) = (gateway.sign_in("ann").await, gateway.sign_in("ann").await);
    let devices = "/auth/account/devices";
    let id_of = async |client: &Client| {
        let page = client.visit(devices).send().await.expect(200).text();
        let all: Vec<String> = crate::pages::hidden_fields(&page)
            .into_iter()
            .filter_map(|(name, value)| (name == "device").then_some(value))
            .collect();
        (page, all)
    };
    let (page, ids) = id_of(&ann).await;
    assert_eq!(ids.len(), 2, "{page}");
    assert_eq!(page.matches("This device").count(), 1, "{page}");
    let token = crate::pages::hidden_fields(&page);
    let token = |purpose: usize| {
        let mut tokens = token.iter().filter(|(name, _)| name == "form_token");
        tokens.nth(purpose).unwrap().1.clone()
    };
    let post = async |client: &Client, fields: &[(&str, &str)]| {
        client.post(devices).form(fields).navigating_from("same-origin").send().await
    };
    // Somebody else's id does nothing, nor does what is no id.
    let (_, all) = id_of(&second).await;
    let (page, none) = id_of(&bob).await;
    assert!(none.is_empty(), "{page}");
    let bobs = bob.visit("/auth/account/email").send().await.expect(200).text();
    let foreign = crate::pages::hidden_fields(&bobs)[0].1.clone();
    post(&bob, &[("form_token", &foreign), ("device", &all[0])]).await.expect(403);
    let own = token(1);
    post(&ann, &[("form_token", &own), ("device", &"A".repeat(43))]).await.expect(404);
    post(&ann, &[("form_token", &own), ("device", "x")]).await.expect(404);
    post(&ann, &[("form_token", &own), ("device", &ids[0])]).await.expect(303);
    let mut left = 0;
    for client in [&second, &third] {
        left += u8::from(client.get("/x").send().await.status == 200);
    }
    assert_eq!(left, 1);
    post(&ann, &[("form_token", &own), ("others", "1")]).await.expect(303);
    for client in [&second, &third] {
        client.get("/x").send().await.expect(401);
    }
    ann.get("/x").send().await.expect(200);
    bob.get("/x").send().await.expect(200);
    let (page, _) = id_of(&ann).await;
    assert!(!page.contains("Sign out everywhere else"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_10_what_is_downloaded_is_ones_own_and_holds_no_secret() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").role("admin").sign_in().await;
    gateway.person("bob").sign_in().await;
    let form = [("first_name", "Ann"), ("last_name", "O'Quay")];
    fill(&ann, "/auth/account/profile", &form).await.expect(303);
    let answer = ann.visit("/auth/account/data").send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let disposition = answer.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment"), "{disposition}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let data = answer.json();
    assert_eq!(data["account"]["email"], "ann@example.com");
    assert_eq!(data["account"]["last_name"], "O'Quay");
    assert_eq!(data["roles"][0]["role"], "admin");
    assert_eq!(data["sessions"].as_array().unwrap().len(), 1);
    let kinds: Vec<_> =
        data["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert!(kinds.contains(&"sign-in".into()) && kinds.contains(&"update".into()), "{kinds:?}");
    let cookie = ann.cookie("portcullis").unwrap();
    for secret in ["argon2", "bob@", "password_hash", &*cookie, &cookie[..20]] {
        assert!(!answer.text().contains(secret), "{secret} in {}", answer.text());
    }
    gateway.client().visit("/auth/account/data").send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_10_what_is_downloaded_tells_nothing_of_an_operator() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").sign_in().await;
    let root = gateway.person("root").superuser().sign_in().await;
    let id = ann.get("/auth/users/me").send().await.expect(200).json()["id"].clone();
    let path = format!("/auth/users/{}", id.as_str().unwrap());
    let change = root.call("PATCH", &path).header("User-Agent", "the-operators-browser");
    change.body("application/json", "{\"first_name\": \"Ann\"}").send().await.expect(200);
    let data = ann.visit("/auth/account/data").send().await.expect(200);
    for word in ["root@", "the-operators-browser"] {
        assert!(!data.text().contains(word), "{word} in {}", data.text());
    }
    let data = data.json();
    let events = data["events"].as_array().unwrap();
    let of = |kind: &str| events.iter().find(|event| event["kind"] == kind).unwrap();
    let update = of("update");
    assert!(update["actor"].as_str().unwrap().starts_with("an operator"), "{update}");
    assert!(update["address"].is_null() && update["agent"] == "", "{update}");
    let own = of("sign-in");
    assert_eq!(own["actor"], "ann@example.com");
    assert!(own["address"].is_string(), "{own}");
    // Nor to whoever takes the operator's e-mail once that is free.
    gateway.person("other").superuser().create().await;
    let people = gateway.running.accounts().people();
    let former = people.find("root@example.com").await.unwrap().unwrap();
    people.delete(former.id, &Actor::cli()).await.unwrap();
    let change = ann.call("PATCH", "/auth/users/me");
    let body = "{\"email\": \"root@example.com\"}";
    change.body("application/json", body).send().await.expect(200);
    let data = ann.visit("/auth/account/data").send().await.expect(200);
    for word in ["root@example.com\",\"address\":\"", "the-operators-browser"] {
        assert!(!data.text().contains(word), "{word} in {}", data.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_10_what_a_guest_downloads_does_not_say_who_invited_them() {
    let (_upstream, gateway) = start("{ registration: invite }").await;
    let root = gateway.person("root").superuser().sign_in().await;
    let invite = root.post("/auth/invitations");
    let body = "{\"email\": \"cat@example.com\", \"roles\": [\"reader\"]}";
    invite.body("application/json", body).send().await.expect(201);
    let link = link_of(&letters(&gateway, 1).await[0]);
    let path = link.strip_prefix(&root.origin()).unwrap();
    let cat = gateway.client();
    let page = cat.visit(path).follow().await.expect(200).text();
    send(&cat, "/auth/invitation", &page, &[("password", NEW)]).await.expect(303);
    let data = cat.visit("/auth/account/data").send().await.expect(200);
    assert!(!data.text().contains("root@"), "{}", data.text());
    let data = data.json();
    let mut events = data["events"].as_array().unwrap().iter();
    let registered = events.find(|event| event["kind"] == "register").unwrap();
    assert_eq!(registered["detail"], "invited: cat@example.com: reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_deleted_in_two_steps_and_never_the_last_superusers() {
    let (_upstream, gateway) = start("{}").await;
    let ann = gateway.person("ann").superuser().sign_in().await;
    let other = gateway.sign_in("ann").await;
    let page = "/auth/account/delete";
    let sure = fill(&ann, page, &[]).await.expect(200).text();
    assert!(sure.contains("name=\"sure\""), "{sure}");
    ann.get("/x").send().await.expect(200);
    let wrong = send(&ann, page, &sure, &[("current_password", "wrong")]).await.expect(422).text();
    assert!(wrong.contains("not your current password"), "{wrong}");
    send(&ann, page, &sure, &[("current_password", "")]).await.expect(422);
    let last = send(&ann, page, &sure, &[("current_password", PASSWORD)]).await.expect(409).text();
    assert!(last.contains("last administrator"), "{last}");
    ann.get("/x").send().await.expect(200);
    gateway.person("bob").superuser().create().await;
    let people = gateway.running.accounts().people();
    let gone = send(&ann, page, &sure, &[("current_password", PASSWORD)]).await.expect(303);
    let said = ann.visit(gone.location()).send().await.expect(200).text();
    assert!(said.contains("Your account is deleted"), "{said}");
    other.get("/x").send().await.expect(401);
    assert!(people.find("ann@example.com").await.unwrap().is_none());
}
