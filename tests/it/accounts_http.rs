//! Signing in and out, pages and endpoints, as clients see them byte by byte.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, Executor};
use uuid::Uuid;

use crate::harness::{Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
origins: ["https://friend.example.org"]
portal: { users_path: /users }
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { host: "other.example.com", path: "/**", upstream: app, allow: authenticated }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Sends the form of a page, as it was shown, with what somebody fills in.
async fn send_form(client: &Client, to: &str, page: &str, filled: &[(&str, &str)]) -> Response {
    let hidden = hidden_fields(page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    client.post(to).form(&fields).navigating_from("same-origin").send().await
}

async fn sign_in_by_page(client: &Client, who: &str, next: &str) -> Response {
    let page = client.visit(&format!("/auth/login?next={next}")).send().await.expect(200).text();
    let email = email(who);
    let filled = [("username", &*email), ("password", PASSWORD)];
    send_form(client, "/auth/login", &page, &filled).await.expect(303)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_opened_at_the_same_moment_can_all_be_sent() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let browser = gateway.client();
    // All are asked for before any has answered with its cookie.
    let calls: Vec<_> = (0..5).map(|_| browser.visit("/auth/login?next=%2Fx")).collect();
    let mut pages = Vec::new();
    for call in calls {
        pages.push(call.send().await.expect(200).text());
    }
    let filled = [("username", "ann@example.com"), ("password", PASSWORD)];
    for page in &pages {
        let answer = send_form(&browser, "/auth/login", page, &filled).await.expect(303);
        browser.visit(answer.location()).send().await.expect(303);
        browser.get("/x").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_bound_to_the_browser_it_was_shown_to() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let (mine, other) = (gateway.client(), gateway.client());
    let page = mine.visit("/auth/login").send().await.expect(200).text();
    other.visit("/auth/login").send().await.expect(200);
    let filled = [("username", "ann@example.com"), ("password", PASSWORD)];
    let answer = send_form(&other, "/auth/login", &page, &filled).await.expect(403);
    assert!(other.cookie("portcullis").is_none());
    assert!(answer.text().contains("out of date"), "{}", answer.text());
    // The token of another form fits no better, nor does none.
    let ann = gateway.sign_in("ann").await;
    let button = ann.visit("/auth/logout").send().await.expect(200).text();
    send_form(&mine, "/auth/login", &button, &filled).await.expect(403);
    mine.post("/auth/login").form(&filled).send().await.expect(403);
    // Headers that do not say where a form comes from leave it to the token.
    let silent = mine.call("POST", "/auth/login").form(&filled);
    silent.send().await.expect(403);
    let hidden = hidden_fields(&page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    mine.call("POST", "/auth/login").form(&fields).send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_sign_in_is_said_on_the_form() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let client = gateway.client();
    let page = client.visit("/auth/login?next=%2Fx").send().await.expect(200).text();
    for (name, password, status) in [
        ("", "", 422),
        ("ann@example.com", "", 422),
        ("ann@example.com", "wrong", 400),
        ("nobody@example.com", PASSWORD, 400),
        ("not an e-mail", PASSWORD, 400),
    ] {
        let filled = [("username", name), ("password", password)];
        let answer = send_form(&client, "/auth/login", &page, &filled).await.expect(status);
        let text = answer.text();
        assert!(text.contains("role=\"alert\""), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(hidden_fields(&text).contains(&("next".to_owned(), "/x".to_owned())));
    }
    let json = client.post("/auth/login").body("application/json", "{}").send().await;
    assert_eq!(json.status, 400);
    client.call("PUT", "/auth/login").send().await.expect(405);
    let answer = client.call("POST", "/auth/account").send().await.expect(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_led_to_where_one_wanted_to_go_and_never_elsewhere() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    for (next, expected) in [
        ("%2Fx%3Fy%3D%2520z", "/x?y=%20z"),
        ("https%3A%2F%2Fevil.example%2F", "/"),
        ("%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
        ("javascript%3Aalert(1)", "/"),
        ("%2Fauth%2Flogout", "/auth/account"),
        ("", "/"),
    ] {
        let client = gateway.client();
        let answer = sign_in_by_page(&client, "ann", next).await;
        assert!(answer.location().starts_with("/auth/continue?"), "{}", answer.location());
        let arrived = client.visit(answer.location()).send().await.expect(303);
        assert_eq!(arrived.location(), expected, "{next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_that_a_route_names_may_be_where_one_wants_to_go() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let port = gateway.address.port();
    let next = format!("http%3A%2F%2Fother.example.com%3A{port}%2Fx");
    let client = gateway.client();
    let page = client.visit(&format!("/auth/login?next={next}")).send().await.expect(200);
    let policy = page.header("content-security-policy").unwrap();
    let target = format!("form-action 'self' http://other.example.com:{port};");
    assert!(policy.contains(&target), "browsers hold redirects after a form to it: {policy}");
    let answer = sign_in_by_page(&client, "ann", &next).await;
    let arrived = client.visit(answer.location()).send().await.expect(303);
    assert_eq!(arrived.location(), format!("http://other.example.com:{port}/x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_keeps_no_cookie_is_told_so() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let page = gateway.client().visit("/auth/login?next=%2Fx").send().await.expect(200).text();
    let filled = [("username", "ann@example.com"), ("password", PASSWORD)];
    let answer = send_form(&gateway.client(), "/auth/login", &page, &filled).await.expect(303);
    let told = gateway.client().visit(answer.location()).send().await.expect(400).text();
    assert!(told.contains("cookies are blocked"), "{told}");
    // One that had lost its cookie, but keeps the new one, gets the form once more.
    let forgetful = gateway.client();
    let answer = send_form(&forgetful, "/auth/login", &page, &filled).await.expect(303);
    let again = forgetful.visit(answer.location()).send().await.expect(303);
    let page = forgetful.visit(again.location()).send().await.expect(200).text();
    assert!(page.contains("not sent"), "{page}");
    let answer = send_form(&forgetful, "/auth/login", &page, &filled).await.expect(303);
    // And one that loses the session's cookie alone learns it on arrival.
    let told = gateway.client().visit(answer.location()).send().await.expect(400).text();
    assert!(told.contains("cookies are blocked"), "{told}");
    forgetful.visit(answer.location()).send().await.expect(303);
    let stale = gateway.client().visit("/auth/continue?next=%2Fx&note=made.up").send().await;
    assert_eq!(stale.expect(303).location(), "/auth/login?next=%2Fx");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_challenge_after_a_sign_in_is_explained() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let client = gateway.client();
    let filled = [("username", "ann@example.com"), ("password", PASSWORD)];
    let mut answer = sign_in_by_page(&client, "ann", "%2Fx").await;
    for round in 1..=3 {
        client.visit(answer.location()).send().await.expect(303);
        // The browser forgets the session, and the application sends it back.
        client.set_cookie("portcullis", "gone");
        let challenged = client.visit("/x").send().await.expect(303);
        let page = client.visit(challenged.location()).send().await;
        if round == 3 {
            assert!(page.expect(400).text().contains("counts as ended"));
            break;
        }
        let page = page.expect(200).text();
        answer = send_form(&client, "/auth/login", &page, &filled).await.expect(303);
    }
    // Half a minute after a success a challenge is an ordinary one.
    for _ in 0..4 {
        let answer = sign_in_by_page(&client, "ann", "%2Fx").await;
        client.visit(answer.location()).send().await.expect(303);
        client.set_cookie("portcullis", "gone");
        gateway.pass(Duration::from_secs(31)).await;
        let challenged = client.visit("/x").send().await.expect(303);
        client.visit(challenged.location()).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_takes_a_link_of_ones_own_or_a_button() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    // Typed, from elsewhere, or without a person: one button, and nothing ends.
    for site in ["none", "same-site", "cross-site"] {
        let page = ann.visit("/auth/logout").navigating_from(site).send().await.expect(200).text();
        assert_eq!(page.matches("<button").count(), 1, "{page}");
    }
    let image = ann.get("/auth/logout").header("Sec-Fetch-Site", "same-origin");
    image.header("Sec-Fetch-Mode", "no-cors").send().await.expect(200);
    ann.call("HEAD", "/auth/logout").navigating_from("same-origin").send().await.expect(200);
    ann.get("/x").send().await.expect(200);
    let answer = ann.visit("/auth/logout").navigating_from("same-origin").send().await.expect(303);
    assert_eq!(answer.location(), "/auth/login");
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\""));
    assert!(ann.cookie("portcullis").is_none());
    // The button is bound to the session.
    let (ann, other) = (gateway.sign_in("ann").await, gateway.sign_in("ann").await);
    let page = ann.visit("/auth/logout?next=%2Fbye").send().await.expect(200).text();
    send_form(&other, "/auth/logout", &page, &[]).await.expect(403);
    other.post("/auth/logout").send().await.expect(400);
    other.get("/x").send().await.expect(200);
    let answer = send_form(&ann, "/auth/logout", &page, &[]).await.expect(303);
    assert_eq!(answer.location(), "/bye");
    ann.get("/x").send().await.expect(401);
    // What carries no cookie clears none.
    let nobody = gateway.client().visit("/auth/logout").navigating_from("cross-site").send().await;
    assert!(nobody.expect(303).all("set-cookie").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_is_told_so_and_can_be_another() {
    let (_upstream, gateway) = start().await;
    gateway.person("bob").create().await;
    let ann = gateway.person("ann").sign_in().await;
    let page = ann.visit("/auth/login?next=%2Fx").send().await.expect(200).text();
    assert!(page.contains("ann@example.com") && !page.contains("name=\"password\""), "{page}");
    let first = ann.cookie("portcullis").unwrap();
    let page = ann.visit("/auth/login?next=%2Fx&another=1").send().await.expect(200).text();
    let filled = [("username", "bob@example.com"), ("password", PASSWORD)];
    send_form(&ann, "/auth/login", &page, &filled).await.expect(303);
    let me = ann.get("/auth/users/me").send().await.expect(200).json();
    assert_eq!(me["email"], "bob@example.com");
    let old = gateway.client();
    old.set_cookie("portcullis", &first);
    old.get("/auth/users/me").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_shown_to_superusers_and_authorization_comes_first() {
    let (upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let root = gateway.person("root").superuser().sign_in().await;
    let id = ann.get("/auth/users/me").send().await.expect(200).json()["id"].clone();
    let id = id.as_str().unwrap().to_owned();
    let unknown = Uuid::from_u128(7).to_string();
    let nobody = gateway.client();
    for path in [&*id, &*unknown, "no-id"] {
        let path = format!("/auth/users/{path}");
        nobody.get(&path).send().await.expect(401);
        assert_eq!(ann.get(&path).send().await.expect(403).detail(), "Forbidden");
    }
    for spelling in [id.clone(), id.to_uppercase(), id.replace('-', "")] {
        for below in ["/auth/users", "/users"] {
            let shown = root.get(&format!("{below}/{spelling}")).send().await.expect(200).json();
            assert_eq!(shown["email"], "ann@example.com");
            assert!(shown.get("roles").is_none(), "{shown}");
        }
    }
    root.get(&format!("/auth/users/{unknown}")).send().await.expect(404);
    for odd in ["no-id", &format!("%7B{id}%7D"), &format!("urn:uuid:{id}")] {
        root.get(&format!("/auth/users/{odd}")).send().await.expect(404);
    }
    for (path, methods) in [("me", "GET, HEAD, PATCH"), (&*id, "GET, HEAD, PATCH, DELETE")] {
        let answer = root.post(&format!("/auth/users/{path}")).send().await.expect(405);
        assert_eq!(answer.header("allow"), Some(methods));
    }
    // Below `users_path` exact shapes alone are the gateway's.
    let before = upstream.count();
    root.get("/users/no-id").send().await.expect(200);
    root.post("/users/me").send().await.expect(200);
    root.post(&format!("/users/{id}")).send().await.expect(200);
    assert_eq!(upstream.count(), before + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_of_one_kind_are_none() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let token = gateway.sign_in_with_bearer("ann").await;
    let cookie = ann.cookie("portcullis").unwrap();
    let twice = format!("portcullis={cookie}; portcullis={cookie}");
    let answer = ann.get("/auth/users/me").with("Cookie", &twice).send().await.expect(401);
    assert!(answer.all("set-cookie").join("\n").contains("Max-Age=0"));
    let call = token.get("/auth/users/me").header("Authorization", "Bearer other");
    call.send().await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_set_up_once() {
    let (_upstream, gateway) = start().await;
    let people = gateway.running.accounts().people();
    let link = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
    let token = link.token.expose_secret();
    let address = format!("/auth/setup?token={token}");
    let (first, second) = (gateway.client(), gateway.client());
    // Opening the link spends nothing.
    let mut pages = Vec::new();
    for client in [&first, &second, &first] {
        pages.push(client.visit(&address).follow().await.expect(200).text());
    }
    let filled = |who| [("email", who), ("password", PASSWORD), ("first_name", " Ann ")];
    let short = [("email", "root@example.com"), ("password", "short")];
    let answer = send_form(&first, "/auth/setup", &pages[0], &short).await.expect(422);
    assert!(answer.text().contains("password should be at least 8 characters"));
    let bad = send_form(&first, "/auth/setup", &pages[0], &filled("root@localhost")).await;
    assert!(bad.expect(422).text().contains("email-error"));
    let (one, two) = (filled("one@example.com"), filled("two@example.com"));
    let (a, b) = tokio::join!(
        send_form(&first, "/auth/setup", &pages[0], &one),
        send_form(&second, "/auth/setup", &pages[1], &two),
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404], "one winner");
    let winner = if a.status == 303 { &first } else { &second };
    let me = winner.get("/auth/users/me").send().await.expect(200).json();
    assert_eq!(me["roles"], serde_json::json!(["admin"]));
    assert_eq!(me["is_superuser"], true);
    assert_eq!(me["is_verified"], true);
    assert_eq!(me["first_name"], "Ann");
    gateway.client().visit(&address).follow().await.expect(404);
    assert!(people.issue_set_up_link().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_link_lives_an_hour() {
    let (_upstream, gateway) = start().await;
    let people = gateway.running.accounts().people();
    let link = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
    let address = format!("/auth/setup?token={}", link.token.expose_secret());
    gateway.client().visit(&address[..address.len() - 1]).follow().await.expect(404);
    gateway.client().visit("/auth/setup").send().await.expect(404);
    gateway.pass(Duration::from_secs(3590)).await;
    gateway.client().visit(&address).follow().await.expect(200);
    gateway.pass(Duration::from_secs(20)).await;
    gateway.client().visit(&address).follow().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_costs_one_verification() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    gateway.person("off").set(|draft| draft.is_active = false).create().await;
    gateway.person("bare").set(|draft| draft.password = None).create().await;
    let verified = || gateway.running.hasher().status().verified;
    for (who, password, status) in [
        ("ann", PASSWORD, 204),
        ("ann", "wrong", 400),
        ("off", PASSWORD, 400),
        ("bare", PASSWORD, 400),
        ("nobody", PASSWORD, 400),
    ] {
        let before = verified();
        let fields = [("username", &*email(who)), ("password", password)];
        let call = gateway.client().post("/auth/cookie/login").form(&fields);
        let answer = call.send().await.expect(status);
        if status == 400 {
            assert_eq!(answer.detail(), "LOGIN_BAD_CREDENTIALS");
        }
        assert_eq!(verified() - before, 1, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_account_was_used_others_failures_do_not_lock_it_out() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").sign_in().await;
    gateway.person("bob").create().await;
    for attempt in 0..20 {
        let who = format!("nobody{attempt}@example.com");
        let call = gateway.client().post("/auth/jwt/login");
        call.form(&[("username", &who), ("password", "x")]).send().await.expect(400);
    }
    let attempt = |who: &str| {
        let fields = [("username", &*email(who)), ("password", PASSWORD)];
        gateway.client().post("/auth/jwt/login").form(&fields)
    };
    attempt("bob").send().await.expect(429);
    attempt("ann").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_hash_is_replaced_after_the_answer() {
    let (_upstream, gateway) = start().await;
    let store = gateway.running.store();
    let id = gateway.bring_cheap_hash("old").await;
    let hash = async || store.find_user(id).await.unwrap().unwrap().password_hash.unwrap();
    let old = hash().await;
    gateway.sign_in("old").await;
    for _ in 0..200 {
        if hash().await != old {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(hash().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash().await);
    gateway.sign_in("old").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_while_their_outdated_hash_is_replaced() {
    let (_upstream, gateway) = start().await;
    let store = gateway.running.store();
    for number in 0..8 {
        let who = format!("old{number}");
        let id = gateway.bring_cheap_hash(&who).await;
        let hash = async || store.find_user(id).await.unwrap().unwrap().password_hash.unwrap();
        let old = hash().await;
        // Somebody is always under way while it is replaced.
        let again = (0..3).map(|_| async {
            while hash().await == old {
                gateway.sign_in(&who).await;
            }
        });
        futures_util::future::join_all(again).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_written_down_without_secrets() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let wrong = [("username", "ann@example.com"), ("password", "my other password")];
    gateway.client().post("/auth/jwt/login").form(&wrong).send().await.expect(400);
    let swapped = [("username", "my secret password"), ("password", "ann@example.com")];
    gateway.client().post("/auth/jwt/login").form(&swapped).send().await.expect(400);
    ann.post("/auth/cookie/logout").send().await.expect(204);
    let store = gateway.running.store();
    let mut events = Vec::new();
    for _ in 0..200 {
        events = store.list_events(None, 100).await.unwrap();
        if events.iter().filter(|event| event.kind == "sign-in-failed").count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let mut kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["sign-in", "sign-in-failed", "sign-in-failed", "sign-out", "user-created"]);
    let text = format!("{events:?}");
    assert!(!text.contains(PASSWORD) && !text.contains("my "), "{text}");
    let user = store.find_user_by_email("ann@example.com").await.unwrap().unwrap();
    assert_eq!((user.login_count, user.failed_login_count), (1, 1));
    assert_eq!(user.last_address, Some(gateway.address.ip()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_the_hashing_queue_full_is_told_when_to_come_again() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let builder = builder.key("trusted_proxies", "[\"127.0.0.0/8\"]");
    let gateway = builder.key("hashing", "{ concurrent: 1, queue: 4 }").start().await;
    gateway.person("ann").create().await;
    let sign_in = |from: &str| {
        let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
        let call = gateway.client().post("/auth/cookie/login").form(&fields);
        call.header("X-Forwarded-For", from)
    };
    let browser = gateway.client();
    // The dearest hash that is verified at all holds the one place there is for a second.
    let dear = "$2a$14$kZBe.7K7DCMpQK3yxbd6red/79Qrf12uoVneRCF5s8jqgRysBwhc.".to_owned();
    let hasher = gateway.running.hasher().clone();
    let holding = tokio::spawn({
        let hasher = hasher.clone();
        async move { hasher.verify("x".to_owned().into(), Some(dear), None).await }
    });
    while hasher.status().running == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut waiting = Vec::new();
    for (number, from) in
        ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::1"].into_iter().enumerate()
    {
        waiting.push(sign_in(from).open().await);
        while hasher.status().waiting <= number {
            assert!(!holding.is_finished(), "too slow to be a test");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if number == 0 {
            // The first has its quarter; others still find a place.
            let answer = sign_in(from).send().await.expect(429);
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
        }
    }
    let answer = sign_in("203.0.113.9").send().await.expect(429);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert!(answer.all("set-cookie").is_empty());
    let page = browser.visit("/auth/login").send().await.expect(200).text();
    let filled = [("username", "ann@example.com"), ("password", PASSWORD)];
    let answer = send_form(&browser, "/auth/login", &page, &filled).await.expect(429);
    assert!(answer.header("retry-after").is_some());
    assert!(answer.header("content-type").unwrap().starts_with("text/html"));
    assert!(!holding.is_finished(), "too slow to be a test");
    // Nobody who waits is forgotten, and whoever was sent away may come again.
    for mut raw in waiting {
        raw.response("POST").await.expect(204);
    }
    for from in ["198.51.100.1", "203.0.113.9"] {
        sign_in(from).send().await.expect(204);
    }
}

/// A policy of passwords, one it refuses with what it says, and one it takes.
const POLICIES: [(&str, &str, &str, &str); 7] = [
    ("min_length: 12", "lanternquay", "at least 12 characters", "lantern quay"),
    ("min_length: 12, deny_common: false", "12345678901", "at least 12 characters", "123456789012"),
    (
        "max_length: 24",
        "seven lanterns on the quay",
        "at most 24 characters",
        "seven lanterns on a quay",
    ),
    ("min_strength: 4", "lantern7quay", "too easy to guess", PASSWORD),
    ("deny_common: true", "Passw0rd", "too common", PASSWORD),
    ("deny_common: false", "Pass7", "at least 8 characters", "Passw0rd"),
    ("deny_profile: false", "1234567", "at least 8 characters", "root@example.com"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_passwords_is_the_files() {
    for (policy, refused, why, taken) in POLICIES {
        let upstream = Upstream::start();
        let builder = Gateway::builder(YAML).with("APP", &upstream.url());
        let policy = format!("{{ password: {{ {policy} }} }}");
        let gateway = builder.key("accounts", &policy).start().await;
        let people = gateway.running.accounts().people();
        let link = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
        let client = gateway.client();
        let address = format!("/auth/setup?token={}", link.token.expose_secret());
        let page = client.visit(&address).follow().await.expect(200).text();
        let filled = |password| [("email", "root@example.com"), ("password", password)];
        let answer = send_form(&client, "/auth/setup", &page, &filled(refused)).await.expect(422);
        assert!(answer.text().contains(why), "{policy}: {}", answer.text());
        assert!(!answer.text().contains(refused), "{policy}: a password comes back");
        client.get("/auth/users/me").send().await.expect(401);
        send_form(&client, "/auth/setup", &page, &filled(taken)).await.expect(303);
        client.get("/auth/users/me").send().await.expect(200);
        // What people sign in with is never judged.
        let fields = [("username", "root@example.com"), ("password", taken)];
        gateway.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_policy_holds_from_its_reload_on_and_on_the_command_line() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let policy = "{ password: { min_length: 12 } }";
    let gateway = builder.key("accounts", policy).start().await;
    let people = gateway.running.accounts().people();
    let link = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
    let client = gateway.client();
    let address = format!("/auth/setup?token={}", link.token.expose_secret());
    let page = client.visit(&address).follow().await.expect(200).text();
    assert!(page.contains("12"), "the page says how long: {page}");
    gateway.reload("min_length: 12", "min_length: 27");
    let filled = [("email", "root@example.com"), ("password", PASSWORD)];
    let answer = send_form(&client, "/auth/setup", &page, &filled).await.expect(422);
    assert!(answer.text().contains("at least 27 characters"), "{}", answer.text());

    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let process = builder.key("accounts", policy).spawn().await;
    let create = ["user", "create", "ann@example.com", "--password-stdin"];
    let output = process.run(&create, "lanternquay");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("at least 12 characters") && !said.contains("lanternquay"), "{said}");
    let output = process.run(&create, "lantern quay");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_02_setting_up_ends_the_session_the_browser_had() {
    let (_upstream, gateway) = start().await;
    let client = gateway.person("ann").sign_in().await;
    let token = gateway.client().post("/auth/jwt/login");
    let token = token.form(&[("username", &email("ann")), ("password", PASSWORD)]).send().await;
    let token = token.expect(200).json()["access_token"].as_str().unwrap().to_owned();
    let people = gateway.running.accounts().people();
    let link = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
    let old = client.cookie("portcullis").unwrap();
    let both = client.clone().with_bearer(&token);
    let address = format!("/auth/setup?token={}", link.token.expose_secret());
    let page = both.visit(&address).follow().await.expect(200).text();
    let filled = [("email", "root@example.com"), ("password", PASSWORD)];
    send_form(&both, "/auth/setup", &page, &filled).await.expect(303);
    let me = client.get("/auth/users/me").send().await.expect(200).json();
    assert_eq!(me["email"], "root@example.com");
    let copy = gateway.client();
    copy.set_cookie("portcullis", &old);
    copy.get("/x").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_is_told_as_on_guarded_routes() {
    let (_upstream, gateway) = start().await;
    let cookie = gateway.person("ann").sign_in().await.cookie("portcullis").unwrap();
    let database = gateway.file.with_file_name("portcullis.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    connection.execute("ALTER TABLE users RENAME TO lost").await.unwrap();
    connection.close().await.unwrap();
    gateway.pass(Duration::from_hours(1)).await;
    let client = gateway.client();
    let fields = [("username", &*email("ann")), ("password", PASSWORD)];
    for path in ["/auth/jwt/login", "/auth/cookie/login"] {
        let answer = client.post(path).form(&fields).send().await.expect(503);
        assert!(answer.header("retry-after").is_some(), "{path}");
        assert!(!answer.text().contains("users"), "{}", answer.text());
    }
    client.visit("/auth/setup?token=x").follow().await.expect(503);
    let page = client.visit("/auth/login").send().await.expect(200).text();
    send_form(&client, "/auth/login", &page, &fields).await.expect(503);
    client.set_cookie("portcullis", &cookie);
    client.get("/x").send().await.expect(503);
}
