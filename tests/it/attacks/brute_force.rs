//! Guessing: who is counted under what, and that nothing makes the gateway forget or look away.

use std::time::Duration;

use portcullis::accounts::LinkKind;
use portcullis::clock::Clock;
use portcullis::config::AuthLimits;
use portcullis::limit::Limits;

use crate::harness::{Gateway, PASSWORD, email};
use crate::pages::hidden_fields;
use crate::raw::Response;

/// The test's own address is a proxy's, so that clients can be told apart.
const YAML: &str = r#"
upstreams: { app: "http://127.0.0.1:1" }
routes: [{ path: "/app", upstream: app, allow: authenticated }]
trusted_proxies: ["127.0.0.1"]
"#;

async fn start(people: &[&str]) -> Gateway {
    let gateway = Gateway::builder(YAML).start().await;
    for who in people {
        gateway.person(who).create().await;
    }
    gateway
}

/// A sign-in from an address, by a name as typed.
async fn attempt(gateway: &Gateway, from: &str, name: &str, password: &str) -> Response {
    let call = gateway.client().post("/auth/jwt/login").header("X-Forwarded-For", from);
    let answer = call.form(&[("username", name), ("password", password)]).send().await;
    if answer.status == 429 {
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3601).contains(&after), "{after}");
    }
    answer
}

/// Fails until refused; how often somebody looked.
async fn failures<S: AsRef<str>>(
    gateway: &Gateway,
    tries: impl IntoIterator<Item = (S, S)>,
) -> usize {
    let mut count = 0;
    for (from, name) in tries {
        match attempt(gateway, from.as_ref(), name.as_ref(), "wrong").await.status {
            400 => count += 1,
            429 => return count,
            status => panic!("{status}"),
        }
    }
    count
}

fn verified(gateway: &Gateway) -> u64 {
    gateway.running.hasher().status().verified
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_01_an_address_is_the_one_a_trusted_proxy_saw_whatever_is_claimed() {
    let gateway = start(&["ann"]).await;
    let guests = |i: usize| format!("guest{i}@example.com");
    // What the client itself wrote stands to the left of what the proxy saw.
    let claimed = (0..40).map(|i| (format!("203.0.113.{i}, 192.0.2.1"), guests(i)));
    assert_eq!(failures(&gateway, claimed).await, 20);
    let mapped = (0..40).map(|i| {
        let spelled = ["::ffff:192.0.2.2", "192.0.2.2", "::FFFF:C000:202", "[::ffff:192.0.2.2]:80"];
        (spelled[i % 4].to_owned(), guests(i))
    });
    assert_eq!(failures(&gateway, mapped).await, 20);
    let rotated = (0..40).map(|i| (format!("2001:db8:0:1:{i:x}::{i:x}"), guests(i)));
    assert_eq!(failures(&gateway, rotated).await, 20);
    // From ever new networks it is the account that is full.
    let spread = (0..150).map(|i| (format!("2001:db8:1:{i:x}::1"), email("ann")));
    assert_eq!(failures(&gateway, spread).await, 100);
    attempt(&gateway, "198.51.100.1", &email("ann"), PASSWORD).await.expect(429);
    let others = [("198.51.100.1", &*email("bob"))];
    assert_eq!(failures(&gateway, others).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_01_a_stranger_is_believed_nothing_about_his_address() {
    let gateway = Gateway::builder(&YAML.replace("\"127.0.0.1\"", "\"10.0.0.1\"")).start().await;
    for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP"]
    {
        for i in 0..4 {
            let from = match name {
                "Forwarded" => format!("for=203.0.113.{i}"),
                _ => format!("203.0.113.{i}"),
            };
            let call = gateway.client().post("/auth/jwt/login").header(name, &from);
            let who = format!("{}{i}@example.com", name.to_lowercase());
            call.form(&[("username", &who), ("password", "x")]).send().await.expect(400);
        }
    }
    attempt(&gateway, "203.0.113.99", "ann@example.com", "x").await.expect(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_02_every_spelling_of_a_name_is_the_same_account() {
    let gateway = start(&[]).await;
    gateway.person("ann").set(|draft| draft.username = Some("ann".to_owned())).create().await;
    let spellings = [
        "ann@example.com",
        "ANN@EXAMPLE.COM",
        " ann@example.com ",
        "Ann@Example.Com\t",
        "ann",
        "ANN",
        " ann ",
    ];
    let tries = (0..40).map(|i| ("192.0.2.1", spellings[i % spellings.len()]));
    assert_eq!(failures(&gateway, tries).await, 10);
    // Where there is no such account, a name is counted alike in every spelling as well.
    let nobody = ["bob@example.com", " BOB@example.com", "Bob@EXAMPLE.com "];
    let tries = (0..40).map(|i| ("192.0.2.2", nobody[i % nobody.len()]));
    assert_eq!(failures(&gateway, tries).await, 10);
    // A look-alike is another name, and nobody's.
    let tries = (0..40).map(|_| ("192.0.2.3", "\u{ff41}nn"));
    assert_eq!(failures(&gateway, tries).await, 10);
}

#[test]
fn bru_04_a_flood_of_names_pushes_nobody_out_who_failed_often() {
    let limits = Limits::new(Clock::adjustable(), &AuthLimits::default(), 1_000);
    let from = |i: u32| Some(std::net::IpAddr::from((0x0a00_0000 + i).to_be_bytes()));
    for i in 0..100 {
        assert!(limits.begin(from(i), "admin@example.com", false).is_ok());
    }
    for i in 0..100_000 {
        drop(limits.begin(from(1000 + i), &format!("user{i}@example.com"), false));
    }
    assert!(limits.begin(from(500), "admin@example.com", false).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_04_a_restart_forgets_no_failure() {
    let gateway = start(&[]).await;
    gateway.person("ann").set(|draft| draft.username = Some("ann".to_owned())).create().await;
    let tries = [("192.0.2.1", "ann"), ("192.0.2.1", "ann@example.com")];
    assert_eq!(failures(&gateway, (0..7).map(|i| tries[i % 2])).await, 7);
    assert_eq!(failures(&gateway, (0..10).map(|_| ("192.0.2.1", "bob@example.com"))).await, 10);
    // What failed is written down after the answer.
    let mut written = 0;
    for _ in 0..250 {
        let events = gateway.running.store().list_events(None, 100).await.unwrap();
        written = events.iter().filter(|event| event.kind == "sign-in-failed").count();
        if written == 17 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(written, 17);
    gateway.advance(Duration::from_mins(4));
    let gateway = gateway.restart_with(&[]).await;
    assert_eq!(failures(&gateway, (0..9).map(|_| ("192.0.2.1", "bob@example.com"))).await, 0);
    assert_eq!(failures(&gateway, (0..9).map(|_| ("192.0.2.1", "ann"))).await, 3);
    assert_eq!(failures(&gateway, [("192.0.2.1", "cleo@example.com")]).await, 0, "20 in all");
    assert_eq!(failures(&gateway, [("192.0.2.2", "cleo@example.com")]).await, 1);
    // They are as old as they are: six minutes later the first have left the window.
    gateway.pass(Duration::from_mins(6)).await;
    assert_eq!(failures(&gateway, (0..9).map(|_| ("192.0.2.1", "ann"))).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_05_attempts_at_once_do_not_pass_the_limit_together() {
    let gateway = start(&["ann"]).await;
    let before = verified(&gateway);
    let calls = (0..200).map(|_| {
        let call = gateway.client().post("/auth/jwt/login").header("X-Forwarded-For", "192.0.2.1");
        let call = call.form(&[("username", "ann@example.com"), ("password", "wrong")]);
        tokio::spawn(async move { call.send().await.status })
    });
    let mut looked_at = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            400 => looked_at += 1,
            429 => {}
            status => panic!("{status}"),
        }
    }
    assert_eq!(looked_at, 10);
    assert_eq!(verified(&gateway) - before, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_08_ones_own_success_takes_nothing_back_of_what_was_tried_at_others() {
    let gateway = start(&["mallory", "ann"]).await;
    let mut guesses = 0;
    for i in 0..40 {
        attempt(&gateway, "192.0.2.1", &email("mallory"), PASSWORD).await.expect(200);
        let who = if i % 2 == 0 { email("ann") } else { format!("guest{i}@example.com") };
        if attempt(&gateway, "192.0.2.1", &who, "wrong").await.status == 400 {
            guesses += 1;
        }
    }
    assert_eq!(guesses, 20);
    // Nor does what was tried at others keep the owner of the address out, who signed in from there.
    attempt(&gateway, "192.0.2.1", &email("mallory"), PASSWORD).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_10_guesses_at_the_set_up_link_are_limited_by_address() {
    let gateway = start(&[]).await;
    let link = gateway.running.set_up_link().await.unwrap().unwrap();
    let token = secrecy::ExposeSecret::expose_secret(&link.token).to_owned();
    let client = gateway.client();
    let page =
        client.visit(&format!("/auth/setup?token={token}")).follow().await.expect(200).text();
    let mut fields = hidden_fields(&page);
    fields.push(("email".to_owned(), "ann@example.com".to_owned()));
    fields.push(("password".to_owned(), PASSWORD.to_owned()));
    let send = |link: &str, from: &str| {
        let filled: Vec<(&str, &str)> = fields
            .iter()
            .map(
                |(name, value)| if *value == token { (&**name, link) } else { (&**name, &**value) },
            )
            .collect();
        let call = client.post("/auth/setup").form(&filled).navigating_from("same-origin");
        call.header("X-Forwarded-For", from)
    };
    for _ in 0..20 {
        send(&"A".repeat(43), "192.0.2.1").send().await.expect(404);
    }
    let limited = send(&token, "192.0.2.1").send().await.expect(429);
    assert!(limited.header("retry-after").is_some());
    send(&token, "192.0.2.2").send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_what_the_file_says_and_a_reload_puts_others_in_force() {
    let few = "{ auth: { failures_per_account_and_address: 3/1m, links_per_address: 2/1m } }";
    let gateway = Gateway::builder(YAML).key("limits", few).start().await;
    gateway.person("ann").unverified().create().await;
    let ann = || (0..30).map(|_| ("192.0.2.1".to_owned(), email("ann")));
    assert_eq!(failures(&gateway, ann()).await, 3);
    gateway.pass(Duration::from_mins(1)).await;
    assert_eq!(failures(&gateway, ann()).await, 3);
    let verify = async |token: &str| {
        let body = serde_json::json!({ "token": token }).to_string();
        gateway.client().post("/auth/verify").body("application/json", body).send().await.status
    };
    let good = gateway.link("ann", LinkKind::Verify).await;
    let good = good.split_once("?token=").unwrap().1;
    let guess = "A".repeat(64);
    let answers = [verify(&guess).await, verify(&guess).await, verify(good).await];
    assert_eq!(answers, [400, 400, 429]);
    gateway.reload("links_per_address: 2/1m", "links_per_address: off");
    assert_eq!(verify(&guess).await, 400);
    assert_eq!(failures(&gateway, ann()).await, 0);
    gateway.reload(&few.replace("2/1m", "off"), "off");
    assert_eq!(failures(&gateway, ann()).await, 30);
    assert_eq!(verify(good).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_nobody_is_sent_away_for_coming_often() {
    const OFTEN: usize = 25;
    let builder =
        Gateway::builder(YAML).key("accounts", "{ registration: open }").key("limits", "off");
    let gateway = builder.key("mail", "{ from: a@example.com, directory: mail }").start().await;
    gateway.person("ann").create().await;
    let client = gateway.client();
    let post = async |path: &str, body: serde_json::Value| {
        let call = client.post(path).body("application/json", body.to_string());
        call.send().await.status
    };
    for number in 0..OFTEN {
        let (who, guess) = (format!("p{number}@example.com"), "A".repeat(64));
        for name in ["ann@example.com", &who] {
            let fields = [("username", name), ("password", "wrong")];
            client.post("/auth/jwt/login").form(&fields).send().await.expect(400);
        }
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            for email in ["ann@example.com", &who] {
                assert_eq!(
                    post(path, serde_json::json!({ "email": email })).await,
                    202,
                    "{number}"
                );
            }
        }
        let short = serde_json::json!({ "email": who, "password": "short" });
        assert_eq!(post("/auth/register", short).await, 400, "{number}");
        for path in ["/auth/verify", "/auth/reset-password"] {
            let body = serde_json::json!({ "token": guess, "password": "short" });
            assert_eq!(post(path, body).await, 400, "{number} {path}");
        }
        let set_up = gateway.client().visit(&format!("/auth/setup?token={guess}"));
        set_up.follow().await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_10_registrations_are_limited_by_address_whatever_comes_of_them() {
    let builder = Gateway::builder(YAML).key("accounts", "{ registration: open }");
    let gateway = builder.key("mail", "{ from: a@example.com, directory: mail }").start().await;
    let register = async |from: &str, who: &str, password: &str| {
        let body = serde_json::json!({ "email": email(who), "password": password }).to_string();
        let call = gateway.client().post("/auth/register").header("X-Forwarded-For", from);
        call.body("application/json", body).send().await
    };
    for number in 0..20 {
        let answer = register("192.0.2.1", &format!("p{number}"), "short").await;
        assert_eq!(answer.status, 400, "{number}");
    }
    let limited = register("192.0.2.1", "ann", PASSWORD).await.expect(429);
    let after: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3601).contains(&after), "{after}");
    let client = gateway.client();
    let page = client.visit("/auth/register").send().await.expect(200).text();
    let mut fields = hidden_fields(&page);
    fields.push(("email".to_owned(), email("ann")));
    fields.push(("password".to_owned(), PASSWORD.to_owned()));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let call = client.post("/auth/register").form(&fields).navigating_from("same-origin");
    let limited = call.header("X-Forwarded-For", "192.0.2.1").send().await.expect(429);
    assert!(limited.header("content-type").unwrap().starts_with("text/html"));
    assert!(limited.header("retry-after").is_some());
    assert!(gateway.running.accounts().people().find(&email("ann")).await.unwrap().is_none());
    register("192.0.2.2", "ann", PASSWORD).await.expect(201);
}
