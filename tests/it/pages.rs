//! The gateway's own pages, in a real Chromium.

use std::time::Duration;

use portcullis::accounts::Actor;
use portcullis::store::Flag;
use serde_json::json;
use thirtyfour::Key;

use crate::browser::{Browser, Setting};
use crate::chaos::Chaos;
use crate::harness::{Gateway, PASSWORD};
use crate::postgres::Postgres;
use crate::upstream::{self, Upstream};

const YAML: &str = r#"
upstreams: { app: "${APP}", gone: "${GONE:-http://127.0.0.1:1}" }
portal: { title: "Sign in to the quay" }
roles:
  analyst: { description: "Reads dashboards", permissions: ["dashboard:read"] }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/dashboard", upstream: app, allow: { permissions: ["dashboard:read"] } }
  - { path: "/secret", upstream: app, allow: authenticated, no_store: true }
  - { path: "/never", upstream: app, allow: { networks: ["192.0.2.0/24"] } }
  - { path: "/form", methods: [POST], upstream: app, allow: authenticated }
  - { path: "/api", upstream: app, allow: authenticated, unauthenticated: 401 }
  - { path: "/gone", upstream: gone, allow: public }
  - { path: "/silent", upstream: app, allow: public, timeout: 1s }
"#;

async fn start() -> (Upstream, Gateway, String) {
    let upstream = Upstream::start();
    for path in ["/wiki", "/admin/x", "/secret", "/tab/1", "/tab/2", "/dashboard"] {
        upstream.answers(path, page(path));
    }
    upstream.at("/silent", upstream::silence);
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let site = format!("http://{}", gateway.address);
    (upstream, gateway, site)
}

/// A page of the application that says which it is.
fn page(path: &str) -> String {
    let body = format!("<!doctype html><title>App</title><p>The application at {path}</p>");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Name and value of every hidden field of a page.
pub fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let value = tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
        Some(value.replace("&#x2f;", "/").replace("&amp;", "&"))
    };
    let hidden = page.split('<').filter(|tag| tag.starts_with("input") && tag.contains("hidden"));
    hidden
        .filter_map(|tag| {
            Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
        })
        .collect()
}

impl Browser {
    /// Fills the sign-in form shown and sends it.
    pub async fn sign_in(&self, email: &str, password: &str) {
        self.fill("input[name=username]", email).await;
        self.fill("input[name=password]", password).await;
        self.press(Key::Enter + "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signs_in_and_lands_where_one_wanted_to_go() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/wiki?page=a%20b")).await;
    assert!(browser.address().await.contains("/auth/login?next="));
    assert!(browser.text().await.contains("Sign in to the quay"));
    browser.sign_in("ann@example.com", "not the password").await;
    browser.find("[role=alert], [aria-invalid=true]").await;
    browser.fill("input[name=password]", PASSWORD).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address == format!("{site}/wiki?page=a%20b")).await;
    assert!(browser.text().await.contains("The application at /wiki"));
    // Without anywhere to go, one arrives at the front page, which the file serves.
    browser.goto(&format!("{site}/auth/logout")).await;
    browser.click("main button").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address == format!("{site}/")).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_page_that_helps() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("cat").create().await;
    gateway.person("dan").role("admin").create().await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/admin/x")).await;
    browser.sign_in("cat@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/admin/x")).await;
    let refused = browser.text().await;
    assert!(refused.contains("cat@example.com"), "{refused}");
    assert!(refused.contains("admin"), "it says what is missing: {refused}");
    let link = browser.driver.find(thirtyfour::By::PartialLinkText("another account")).await;
    link.unwrap_or_else(|_| panic!("no way out: {refused}")).click().await.unwrap();
    browser.sign_in("dan@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/admin/x")).await;
    assert!(browser.text().await.contains("The application at /admin/x"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_that_sign_in_at_once_both_succeed() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open().await;
    let first = browser.driver.window().await.unwrap();
    browser.goto(&format!("{site}/tab/1")).await;
    let second = browser.driver.new_tab().await.unwrap();
    browser.driver.switch_to_window(second.clone()).await.unwrap();
    browser.goto(&format!("{site}/tab/2")).await;
    for (tab, number) in [(first.clone(), 1), (second.clone(), 2)] {
        browser.driver.switch_to_window(tab).await.unwrap();
        assert!(browser.address().await.contains("/auth/login"), "tab {number} shows the form");
        browser.fill("input[name=username]", "ann@example.com").await;
        browser.fill("input[name=password]", PASSWORD).await;
    }
    // Both forms are sent before either answer is looked at.
    for tab in [&first, &second] {
        browser.driver.switch_to_window(tab.clone()).await.unwrap();
        let send = "setTimeout(() => document.querySelector('main form').requestSubmit(), 0)";
        browser.script(send, Vec::new()).await;
    }
    for (tab, number) in [(first, 1), (second, 2)] {
        browser.driver.switch_to_window(tab).await.unwrap();
        browser.wait_for_address(|address| address.ends_with(&format!("/tab/{number}"))).await;
        assert!(browser.text().await.contains(&format!("The application at /tab/{number}")));
    }
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_signing_out_the_back_button_shows_nothing() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/secret")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/secret")).await;
    assert!(browser.text().await.contains("The application at /secret"));
    browser.goto(&format!("{site}/auth/logout")).await;
    browser.click("main button").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    for _ in 0..2 {
        browser.driver.back().await.unwrap();
        let shown = browser.driver.source().await.unwrap();
        assert!(!shown.contains("The application at"), "{shown}");
    }
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_store_page_is_asked_for_again_when_a_session_was_ended_elsewhere() {
    let (_upstream, gateway, site) = start().await;
    let ann = gateway.person("ann").create().await;
    // Pages kept alive in memory are the browser's own affair until it asks again.
    let setting = Setting { keeps_no_live_pages: true, ..Setting::default() };
    let browser = Browser::open_with(setting).await;
    browser.goto(&format!("{site}/secret")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/secret")).await;
    browser.goto(&format!("{site}/")).await;
    let people = gateway.running.accounts().people();
    people.set_flag(ann.id, Flag::Active(false), &Actor::cli()).await.unwrap();
    // What the command line changes is in force within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.driver.back().await.unwrap();
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    let shown = browser.driver.source().await.unwrap();
    assert!(!shown.contains("The application at"), "{shown}");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_cookies_is_told_so_and_goes_round_in_no_loop() {
    let (upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open_with(Setting { cookies_blocked: true, ..Setting::default() }).await;
    browser.goto(&format!("{site}/wiki")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.contains("/auth/continue")).await;
    let text = browser.text().await;
    assert!(text.to_lowercase().contains("cookie"), "{text}");
    assert!(!browser.has("input[name=password]").await, "{text}");
    assert_eq!(upstream.count(), 0);
    browser.check_page("diagnosis").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_a_mouse() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/account")).await;
    let focused = "return document.activeElement.matches('input[name=username]')";
    if browser.script(focused, Vec::new()).await != json!(true) {
        browser.tab_to("input[name=username]").await;
    }
    browser.press("ann@example.com").await;
    browser.tab_to("input[name=password]").await;
    browser.press(PASSWORD).await;
    browser.tab_to("input[name=remember]").await;
    browser.press(" ").await;
    browser.tab_to("main form button").await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    assert!(browser.text().await.contains("ann@example.com"));
    let cookies = browser.driver.get_all_cookies().await.unwrap();
    assert!(cookies.iter().any(|cookie| cookie.name == "portcullis" && cookie.expiry.is_some()));
    browser.tab_to("button[name=everywhere]").await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    browser.goto(&format!("{site}/wiki")).await;
    assert!(browser.address().await.contains("/auth/login"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_work_without_scripts() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open_with(Setting { scripts_blocked: true, ..Setting::default() }).await;
    browser.goto(&format!("{site}/wiki")).await;
    browser.fill("input[name=username]", "ann@example.com").await;
    browser.fill("input[name=password]", PASSWORD).await;
    browser.click("main form button").await;
    browser.wait_for_address(|address| address.ends_with("/wiki")).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_page_shows_what_applications_get_to_know() {
    let (_upstream, gateway, site) = start().await;
    let person = gateway.person("ann").role("analyst");
    person.set(|draft| draft.profile.first_name = Some("Ann<b>".to_owned())).create().await;
    let other = gateway.sign_in("ann").await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/account")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    let text = browser.text().await;
    for shown in ["Ann<b>", "ann@example.com", "analyst", "dashboard:read", "X-Auth-Email"] {
        let is_shown = text.to_lowercase().contains(&shown.to_lowercase());
        assert!(is_shown, "{shown} in {text}");
    }
    other.get("/wiki").send().await.expect(200);
    browser.click("button[name=everywhere]").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    other.get("/wiki").send().await.expect(401);
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_before_the_sign_in_says_that_it_was_not_sent() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/")).await;
    let send = "const form = document.createElement('form');
        form.method = 'post'; form.action = '/wiki';
        document.body.append(form); setTimeout(() => form.submit(), 0);";
    browser.script(send, Vec::new()).await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    let text = browser.text().await;
    assert!(text.contains("not sent"), "{text}");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_of_somebody_unknown() {
    let (_upstream, gateway, site) = start().await;
    gateway.person("ann").create().await;
    let browser = Browser::open().await;
    let pages = [
        ("sign-in", "/auth/login?next=%2Fwiki"),
        ("sign-in after a lost form", "/auth/login?next=%2Fwiki&form=lost"),
        ("set-up over", "/auth/setup?token=nonsense"),
        ("400", "/a%5cb"),
        ("401", "/api"),
        ("403", "/never"),
        ("404", "/auth/nothing"),
        ("405", "/form"),
        ("502", "/gone"),
        ("504", "/silent"),
    ];
    for (name, path) in pages {
        browser.goto(&format!("{site}{path}")).await;
        browser.check_page(name).await;
    }
    browser.goto(&format!("{site}/auth/login")).await;
    for _ in 0..11 {
        browser.sign_in("ann@example.com", "wrong").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !browser.has("input[name=password]").await {
            break;
        }
        browser
            .script("document.querySelector('input[name=username]').value = ''", Vec::new())
            .await;
    }
    let text = browser.text().await;
    assert!(text.contains("too many"), "{text}");
    browser.check_page("429").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_of_somebody_signed_in() {
    let (_upstream, gateway, site) = start().await;
    let until = gateway.clock.now().after(Duration::from_hours(1));
    gateway.person("ann").role("analyst").superuser().create().await;
    gateway.grant("ann", "admin", Some(until)).await;
    gateway.revoke("ann", "admin").await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/login")).await;
    browser.sign_in("ann@example.com", "wrong").await;
    browser.find("[role=alert], [aria-invalid=true]").await;
    browser.check_page("sign-in with a mistake").await;
    browser.set_width(1280).await;
    browser.fill("input[name=password]", PASSWORD).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address == format!("{site}/")).await;
    let pages = [
        ("account", "/auth/account"),
        ("sign-out", "/auth/logout"),
        ("sign-in of somebody signed in", "/auth/login?next=%2Fwiki"),
        ("403 with a command", "/admin/x"),
    ];
    for (name, path) in pages {
        browser.goto(&format!("{site}{path}")).await;
        browser.check_page(name).await;
    }
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_steps_lead_from_the_smallest_file_to_the_first_administrator() {
    let upstream = Upstream::start();
    upstream.answers("/admin/x", page("/admin/x"));
    let smallest = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**",           upstream: app, allow: authenticated }
  - { path: "/",             upstream: app, allow: public }
  - { path: "/admin/**",     upstream: app, allow: { roles: [admin] } }
  - { path: "/dashboard/**", upstream: app, allow: { permissions: ["dashboard:read"] } }
"#;
    // Start …
    let process = Gateway::builder(smallest).with("APP", &upstream.url()).spawn().await;
    let link = process.word_with("/auth/setup?token=").await;
    // … open the link …
    let browser = Browser::open().await;
    browser.goto(&link).await;
    browser.check_page("set-up").await;
    browser.set_width(1280).await;
    // … choose a password.
    browser.fill("input[name=email]", "root@example.com").await;
    browser.fill("input[name=password]", "short").await;
    browser.press(Key::Enter + "").await;
    let complaint = browser.find("[role=alert], [aria-invalid=true]").await;
    drop(complaint);
    browser.fill("input[name=password]", PASSWORD).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| !address.contains("/auth/")).await;
    browser.goto(&format!("http://{}/admin/x", process.address)).await;
    assert!(browser.text().await.contains("The application at /admin/x"));
    // The link is spent.
    browser.goto(&link).await;
    assert!(!browser.has("input[name=password]").await);
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_the_pages_of_our_own_failures() {
    let upstream = Upstream::start();
    upstream.answers("/x", page("/x"));
    let chaos = Chaos::start(Postgres::start().address());
    let url = Postgres::start().database().await;
    let url = url.replace(&Postgres::start().address().to_string(), &chaos.address.to_string());
    let permissions: Vec<_> =
        (0..90).map(|number| format!("\"{}:{number:03}\"", "archive.".repeat(6))).collect();
    let yaml = format!(
        r#"
upstreams: {{ app: "${{APP}}" }}
roles: {{ many: {{ permissions: [{}] }} }}
routes:
  - {{ path: "/**", upstream: app, allow: authenticated }}
  - {{ path: "/few", upstream: app, allow: authenticated, identity: {{ preset: remote-user }} }}
"#,
        permissions.join(", ")
    );
    let builder = Gateway::builder(&yaml).with("APP", &upstream.url()).postgres(&url);
    let gateway = builder.start().await;
    gateway.person("ann").role("many").create().await;
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/account")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    // Her permissions are too many to be sent whole.
    browser.goto(&format!("{site}/x")).await;
    let text = browser.text().await;
    assert!(text.contains("500") && text.contains("equest"), "{text}");
    assert!(!text.contains("archive"), "{text}");
    browser.check_page("500").await;
    browser.set_width(1280).await;
    chaos.cut();
    gateway.clock.advance_monotonic(Duration::from_secs(10));
    for path in ["/few", "/auth/account", "/auth/logout", "/auth/login"] {
        browser.goto(&format!("{site}{path}")).await;
        let text = browser.text().await;
        assert!(text.contains("503"), "{path}: {text}");
        browser.check_page("503").await;
        browser.set_width(1280).await;
    }
    browser.quit().await;
}
