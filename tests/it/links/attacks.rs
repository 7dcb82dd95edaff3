//! Attacks on links, named by their ids in `docs/attack-cases.md`.

use std::time::Duration;

use portcullis::accounts::LinkKind;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{NEW, PASSWORD, YAML, reset, send, send_form, signs_in, start, token, verify};
use crate::harness::Gateway;
use crate::raw::Client;
use crate::upstream::Upstream;

/// A gateway whose superusers may invite.
async fn start_with_invitations() -> (Upstream, Gateway) {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("accounts", "{ registration: invite }").start().await;
    (upstream, gateway)
}

async fn set_up_link(gateway: &Gateway) -> String {
    let link = gateway.running.set_up_link().await.unwrap().expect("there is a superuser");
    format!("/auth/setup?token={}", link.token.expose_secret())
}

/// Sends ten requests, each on a connection of its own, before any answer is read; their statuses.
async fn at_once(client: &Client, to: &str, body: &str) -> Vec<u16> {
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(client.post(to).body("application/json", body).open().await);
    }
    let mut statuses = Vec::new();
    for mut raw in open {
        statuses.push(raw.response("POST").await.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_01_a_link_used_by_many_at_once_has_one_winner() {
    let upstream = Upstream::start();
    // Every request is to reach the database: none is sent away by the hashing queue.
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("hashing", "{ concurrent: 2, queue: 400 }").start().await;
    gateway.person("ann").unverified().create().await;
    let client = gateway.client();
    let good = token(&gateway, "ann", LinkKind::Reset).await;
    let body = json!({ "token": good, "password": NEW }).to_string();
    let statuses = at_once(&client, "/auth/reset-password", &body).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 9, "{statuses:?}");
    let good = token(&gateway, "ann", LinkKind::Verify).await;
    let body = json!({ "token": good }).to_string();
    let statuses = at_once(&client, "/auth/verify", &body).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 9, "{statuses:?}");
    let events = gateway.running.store().list_events(None, 50).await.unwrap();
    for kind in ["reset", "verify"] {
        assert_eq!(events.iter().filter(|event| event.kind == kind).count(), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_01_no_header_chooses_where_a_link_leads() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("public_url", "\"http://auth.example.com\"").start().await;
    gateway.person("ann").create().await;
    // The harness takes the site off and fails if it is another than `public_url`.
    let link = gateway.link("ann", LinkKind::Reset).await;
    let page = gateway.client().with_host("auth.example.com").visit(&link).follow().await;
    let page = page.expect(200);
    assert!(page.text().contains("ann@example.com"));
    for (name, value) in [
        ("X-Forwarded-Host", "evil.example.net"),
        ("Forwarded", "host=evil.example.net"),
        ("X-Original-Host", "evil.example.net"),
    ] {
        let call = gateway.client().with_host("auth.example.com").visit(&link);
        let page = call.header(name, value).follow().await.expect(200);
        assert!(!page.text().contains("evil"), "{name}");
        assert!(!format!("{:?}", page.headers).contains("evil"), "{name}");
    }
    // Routes without a host take any, and the portal is there with them: its pages name none.
    let page = gateway.client().with_host("evil.example.net").visit(&link).follow().await;
    let page = page.expect(200);
    assert!(!page.text().contains("evil") && !format!("{:?}", page.headers).contains("evil"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_02_no_step_is_left_out() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    gateway.person("bob").create().await;
    let link = gateway.link("ann", LinkKind::Reset).await;
    let (browser, other) = (gateway.client(), gateway.client());
    let page = browser.visit(&link).follow().await.expect(200).text();
    let to = "/auth/reset-password";
    // The form counts in the browser it was shown to, and each form for its own page.
    other.visit("/auth/login").send().await.expect(200);
    let refused = send_form(&other, to, &page, &[("password", NEW)]).await.expect(403);
    assert!(refused.text().contains("out of date"));
    let foreign = browser.post(to).form(&[("password", NEW)]).navigating_from("cross-site");
    foreign.with("Origin", "https://evil.example.net").send().await.expect(403);
    let login = browser.visit("/auth/login").send().await.expect(200).text();
    let swapped = send_form(&browser, to, &login, &[("password", NEW), ("token", "x")]).await;
    assert_ne!(swapped.status, 303);
    let own = token(&gateway, "bob", LinkKind::Reset).await;
    let verified = send_form(&browser, "/auth/verify", &page, &[]).await;
    assert!(!verified.text().contains("is verified"));
    // Without the link's token, with another's, with an account named beside it.
    let without = [("token", ""), ("form_token", "x")];
    assert_ne!(browser.post(to).form(&without).send().await.status, 303);
    let named = json!({ "token": own, "password": NEW, "email": "ann@example.com", "id": "ann" });
    send(&gateway.client(), to, &named).await.expect(200);
    assert!(signs_in(&other, "ann", PASSWORD).await && !signs_in(&other, "ann", NEW).await);
    assert!(signs_in(&other, "bob", NEW).await);
    send_form(&browser, to, &page, &[("password", NEW)]).await.expect(303);
    assert!(signs_in(&other, "ann", NEW).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_07_opening_a_link_spends_nothing_and_tells_nobody_its_token() {
    let upstream = Upstream::start();
    let yaml = format!("{YAML}\ntelemetry: {{ level: debug, access_log: on }}\n");
    let process = Gateway::builder(&yaml).with("APP", &upstream.url()).spawn().await;
    process.create_user("ann", &[]);
    let run = process.run(&["user", "reset-link", "ann@example.com"], "");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let link = String::from_utf8(run.stdout).unwrap();
    let token = link.trim().split_once("?token=").unwrap().1.to_owned();
    let path = format!("/auth/reset-password?token={token}");
    assert!(link.contains(&path), "{link}");
    // What a mail program, a scanner or a preview does before the person comes.
    let scanner = process.client();
    for _ in 0..3 {
        scanner.get(&path).send().await.expect(303);
        scanner.get(&path).follow().await.expect(200);
        scanner.call("HEAD", &path).follow().await.expect(200);
        scanner.visit(&path).header("Sec-Purpose", "prefetch").follow().await.expect(200);
        process.client().get("/auth/reset-password").send().await.expect(404);
    }
    scanner.call("OPTIONS", &path).send().await.expect(405);
    let browser = process.client();
    let opened = browser.visit(&path).send().await.expect(303);
    assert_eq!(opened.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(opened.header("cache-control"), Some("no-store"));
    assert_eq!((opened.location(), &*opened.body), ("/auth/reset-password", &[][..]));
    let to = opened.location();
    let page = browser.visit(to).send().await.expect(200);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let page = page.text();
    assert!(!page.contains("<script") && !page.contains("style=\""), "{page}");
    assert_eq!(page.matches(&token).count(), 1, "in the form alone: {page}");
    let again = send_form(&browser, to, &page, &[("password", "short")]).await.expect(422).text();
    assert_eq!(again.matches(&token).count(), 1, "{again}");
    let answer = send_form(&browser, to, &page, &[("password", NEW)]).await.expect(303);
    assert!(!answer.location().contains(&token));
    browser.visit(answer.location()).send().await.expect(200);
    browser.visit(&path).follow().await.expect(404);
    reset(&browser, &token, NEW).await.expect(400);
    // The lines are written ten times a second: the last of them is there.
    for _ in 0..200 {
        if process.stdout().matches("/auth/reset-password").count() >= 32 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = format!("{}{}", process.stdout(), process.stderr());
    assert!(said.matches("/auth/reset-password").count() >= 32, "{said}");
    let listed = process.run(&["events", "list", "--json"], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("\"reset-link\"") && listed.contains("\"reset\""), "{listed}");
    for text in [&said, &listed] {
        assert!(!text.contains(&token) && !text.contains(NEW), "{text}");
    }
    let database = std::fs::read(process.directory().join("portcullis.db")).unwrap();
    assert!(crate::raw::find(&database, token.as_bytes()).is_none());
}

/// A new client that has opened a link; the cookie that this sets.
async fn open(gateway: &Gateway, path: &str) -> (Client, String) {
    let client = gateway.client();
    let opened = client.visit(path).send().await.expect(303);
    assert_eq!(Some(opened.location()), path.split('?').next());
    let set = opened.all("set-cookie").into_iter().find(|set| set.contains("-link-"));
    (client.clone(), set.expect("no cookie").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_07_the_token_is_in_a_short_cookie_of_the_one_page_it_is_for() {
    let (upstream, gateway) = start_with_invitations().await;
    gateway.person("ann").unverified().create().await;
    let links = [
        gateway.link("ann", LinkKind::Reset).await,
        gateway.link("ann", LinkKind::Verify).await,
        set_up_link(&gateway).await,
        gateway.invitation("bob").await,
    ];
    for link in &links {
        let (path, token) = link.split_once("?token=").unwrap();
        let (client, cookie) = open(&gateway, link).await;
        for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=3600"] {
            assert!(cookie.contains(part), "{part} in {cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        let name = cookie.split_once('=').unwrap().0;
        assert_eq!(client.cookie(name).as_deref(), Some(token));
        for other in links.iter().map(|link| link.split_once("?token=").unwrap().0) {
            let page = client.visit(other).send().await;
            assert_eq!(page.status, if other == path { 200 } else { 404 }, "{other} by {path}");
            assert_eq!(page.text().contains(token), other == path, "{other} by {path}");
        }
        // Nothing of it goes to an application.
        client.get("/").send().await.expect(200);
        assert!(!upstream.last().text().contains(token), "{}", upstream.last().text());
        // It can be loaded again, in another language too.
        let chosen = format!("/auth/language?choose=de&next={}", path.replace('/', "%2F"));
        let page = client.visit(&chosen).follow().await.expect(200).text();
        assert!(page.contains("<html lang=\"de\">") && page.contains(token), "{page}");
        // One that is over takes the cookie along, and is no question of cookies.
        let made_up = format!("{path}?token={}", "A".repeat(64));
        let over = client.visit(&made_up).follow().await.expect(404);
        assert!(over.all("set-cookie").join("\n").contains("Max-Age=0"), "{:?}", over.headers);
        assert_eq!(client.cookie(name), None);
        let over = client.visit(path).send().await.expect(404).text();
        assert!(!over.contains("Cookies"), "{over}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_07_what_is_no_token_opens_nothing_and_a_browser_without_cookies_is_told() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let link = gateway.link("ann", LinkKind::Reset).await;
    let long = format!("token={}", "A".repeat(129));
    for query in ["token=", "token=%22", "token=a;b", "token=x&token=y", "token=%ff", &long] {
        let (client, _) = open(&gateway, &link).await;
        let made_up = format!("/auth/reset-password?{query}");
        let page = client.visit(&made_up).follow().await.expect(404).text();
        assert!(page.contains("no longer valid"), "not the link before: {query}: {page}");
        assert!(client.cookie("portcullis-link-reset").is_none(), "{query}");
    }
    // Anything else in the query is nobody's token.
    let (client, _) = open(&gateway, &link).await;
    client.visit("/auth/reset-password?from=mail").send().await.expect(200);
    let without = gateway.client().visit("/auth/reset-password").send().await.expect(404).text();
    assert!(without.contains("cookies are blocked for <strong>127.0.0.1"), "{without}");
    let ann = gateway.sign_in("ann").await;
    let over = ann.visit("/auth/reset-password").send().await.expect(404).text();
    assert!(over.contains("no longer valid"), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_07_links_in_two_tabs_do_each_their_own_and_success_takes_only_its_cookie() {
    let (_upstream, gateway) = start_with_invitations().await;
    gateway.person("ann").unverified().create().await;
    gateway.person("bob").unverified().create().await;
    let browser = gateway.client();
    let to = "/auth/reset-password";
    let [ann, bob] =
        [gateway.link("ann", LinkKind::Reset).await, gateway.link("bob", LinkKind::Reset).await];
    let first = browser.visit(&ann).follow().await.expect(200).text();
    let second = browser.visit(&bob).follow().await.expect(200).text();
    send_form(&browser, to, &first, &[("password", NEW)]).await.expect(303);
    assert!(signs_in(&browser, "ann", NEW).await && signs_in(&browser, "bob", PASSWORD).await);
    let again = browser.visit(to).send().await.expect(200).text();
    assert!(again.contains("bob@example.com"), "{again}");
    send_form(&browser, to, &second, &[("password", NEW)]).await.expect(303);
    assert!(signs_in(&browser, "bob", NEW).await);
    assert!(browser.cookie("portcullis-link-reset").is_none());
    // So it is on the other pages.
    let filled = [("email", "root@example.com"), ("password", NEW)];
    for (link, name, filled) in [
        (gateway.link("ann", LinkKind::Verify).await, "verify", &[][..]),
        (gateway.invitation("cat").await, "invitation", &filled[1..]),
        (set_up_link(&gateway).await, "set-up", &filled),
    ] {
        let name = format!("portcullis-link-{name}");
        let page = browser.visit(&link).follow().await.expect(200).text();
        assert!(browser.cookie(&name).is_some(), "{link}");
        let done = send_form(&browser, link.split('?').next().unwrap(), &page, filled).await;
        assert!(matches!(done.status, 200 | 303), "{link}: {}", done.text());
        assert!(browser.cookie(&name).is_none(), "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_10_guesses_at_links_are_limited_by_address() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("trusted_proxies", "[\"127.0.0.0/8\"]").start().await;
    gateway.person("ann").unverified().create().await;
    let client = gateway.client();
    let good = token(&gateway, "ann", LinkKind::Verify).await;
    let guess = "A".repeat(64);
    let from = |address: &str, body: &serde_json::Value| {
        let call = client.post("/auth/verify").body("application/json", body.to_string());
        call.header("X-Forwarded-For", address)
    };
    for turn in 0..20 {
        if turn % 2 == 0 {
            from("192.0.2.1", &json!({ "token": guess })).send().await.expect(400);
        } else {
            let call = client.post("/auth/reset-password").header("X-Forwarded-For", "192.0.2.1");
            let body = json!({ "token": guess, "password": NEW }).to_string();
            call.body("application/json", body).send().await.expect(400);
        }
    }
    let limited = from("192.0.2.1", &json!({ "token": good })).send().await.expect(429);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=601).contains(&wait), "{wait}");
    // The page is limited with it, and says so as a page.
    let link = gateway.link("ann", LinkKind::Verify).await;
    let page = client.visit(&link).header("X-Forwarded-For", "192.0.2.1").follow().await;
    let fields: Vec<_> = crate::pages::hidden_fields(&page.expect(200).text());
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let call = client.post("/auth/verify").form(&fields).navigating_from("same-origin");
    let limited = call.clone().header("X-Forwarded-For", "192.0.2.1").send().await.expect(429);
    assert!(limited.header("content-type").unwrap().starts_with("text/html"));
    assert!(limited.header("retry-after").is_some());
    // Others are not, nor is signing in.
    let token = link.split_once("?token=").unwrap().1;
    from("192.0.2.2", &json!({ "token": guess })).send().await.expect(400);
    assert!(signs_in(&client, "ann", PASSWORD).await);
    gateway.pass(Duration::from_secs(601)).await;
    from("192.0.2.1", &json!({ "token": token })).send().await.expect(200);
    verify(&client, token).await.expect(400);
}
