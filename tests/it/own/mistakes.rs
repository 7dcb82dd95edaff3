//! Every page of an error, and every form with its mistakes shown, in German, whose words are the longest.

use portcullis::accounts::LinkKind;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{letters, link_of};
use crate::browser::Browser;
use crate::harness::{Gateway, PASSWORD};
use crate::upstream::{self, Upstream};

const YAML: &str = r#"
upstreams: { app: "${APP}", gone: "http://127.0.0.1:1" }
accounts: { registration: open }
mail: { from: "Quay <no-reply@example.com>", directory: mail }
providers: { corp: { kind: github, label: "Corp", client_id: a, client_secret: b, who: anyone } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/never", upstream: app, allow: { networks: ["192.0.2.0/24"] } }
  - { path: "/form", methods: [POST], upstream: app, allow: public }
  - { path: "/api", upstream: app, allow: authenticated, unauthenticated: 401 }
  - { path: "/gone", upstream: gone, allow: public }
  - { path: "/silent", upstream: app, allow: public, timeout: 1s }
"#;

/// A gateway, and a browser that has chosen German there.
async fn start() -> (Upstream, Gateway, Browser, String) {
    let upstream = Upstream::start();
    upstream.at("/silent", upstream::silence);
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/language?choose=de&next=%2Fauth%2Flogin")).await;
    (upstream, gateway, browser, site)
}

/// Looks at a page with axe-core, which must be in German.
async fn check(browser: &Browser, name: &str) {
    let language = browser.script("return document.documentElement.lang", Vec::new()).await;
    assert_eq!(language, "de", "{name}");
    browser.check_words(name).await;
}

/// Sends the form of the page as somebody does whose browser checks nothing.
async fn send(browser: &Browser, fields: &[(&str, &str)]) {
    let script = "const fields = arguments[0];
        const form = document.querySelector('main form');
        form.noValidate = true;
        for (const [name, value] of fields) form.elements[name].value = value;
        document.documentElement.dataset.isOld = 'yes';
        setTimeout(() => form.submit(), 0);";
    browser.script(script, vec![json!(fields)]).await;
}

/// The same, and waits for what is wrong.
async fn mistake(browser: &Browser, fields: &[(&str, &str)]) {
    send(browser, fields).await;
    browser.find("html:not([data-is-old]) [role=alert]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_of_an_error_in_german() {
    let (_upstream, gateway, browser, site) = start().await;
    gateway.person("ann").create().await;
    for (name, path, words) in [
        ("400", "/a%5cb", "Ungültige Anfrage"),
        ("401", "/api", "Nicht angemeldet"),
        ("403", "/never", "Kein Zugriff"),
        ("404", "/auth/nothing", "Nicht gefunden"),
        ("405", "/form", "Falsche Methode"),
        ("502", "/gone", "nicht erreichbar"),
        ("504", "/silent", "zu langsam"),
        ("set-up over", "/auth/setup?token=x", "gilt nicht mehr"),
        ("reset over", "/auth/reset-password?token=x", "gilt nicht mehr"),
        ("verify over", "/auth/verify?token=x", "gilt nicht mehr"),
        ("invitation over", "/auth/invitation?token=x", "gilt nicht mehr"),
        ("a lost form", "/auth/login?next=%2Fx&form=lost", "Anmelden"),
    ] {
        browser.goto(&format!("{site}{path}")).await;
        let text = browser.text().await;
        assert!(text.contains(words), "{name}: {text}");
        check(&browser, name).await;
    }
    browser.goto(&format!("{site}/auth/login")).await;
    send(&browser, &[("username", &"x".repeat(70_000))]).await;
    browser.find(".status").await;
    assert!(browser.text().await.contains("413"));
    check(&browser, "413").await;
    browser.goto(&format!("{site}/auth/login")).await;
    let wrong = [("username", "ann@example.com"), ("password", "wrong")];
    for _ in 0..10 {
        mistake(&browser, &wrong).await;
    }
    check(&browser, "sign-in with a mistake").await;
    send(&browser, &wrong).await;
    browser.find(".status").await;
    assert!(browser.text().await.contains("429"));
    check(&browser, "429").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_form_with_its_mistakes_in_german() {
    let (_upstream, gateway, browser, site) = start().await;
    let people = gateway.running.accounts().people();
    let set_up = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
    gateway.person("ann").unverified().create().await;
    let set_up = format!("/auth/setup?token={}", set_up.token.expose_secret());
    let reset = gateway.link("ann", LinkKind::Reset).await;
    let nobody = [("email", "nobody"), ("password", "kurz"), ("first_name", "a\u{7}")];
    for (name, path, fields) in [
        ("set-up", &*set_up, &nobody[..]),
        ("register", "/auth/register", &nobody[..]),
        ("forgot", "/auth/forgot-password", &nobody[..1]),
        ("request-verify", "/auth/request-verify-token", &nobody[..1]),
        ("reset", &reset, &nobody[1..2]),
    ] {
        browser.goto(&format!("{site}{path}")).await;
        mistake(&browser, fields).await;
        check(&browser, &format!("{name} with a mistake")).await;
    }
    let root = gateway.person("root").superuser().sign_in().await;
    let body = json!({ "email": "guest@example.com" }).to_string();
    let call = root.post("/auth/invitations").body("application/json", body);
    call.send().await.expect(201);
    browser.goto(&link_of(&letters(&gateway, 1).await[0])).await;
    mistake(&browser, &nobody[1..]).await;
    check(&browser, "invitation with a mistake").await;
    browser
        .goto(&gateway.link("ann", LinkKind::Verify).await.replacen('/', &format!("{site}/"), 1))
        .await;
    check(&browser, "verify").await;
    mistake(&browser, &[("form_token", "x")]).await;
    check(&browser, "verify out of date").await;
    browser.goto(&format!("{site}/auth/account")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    check(&browser, "account").await;
    let wrong = ("current_password", "falsch");
    for (path, fields) in [
        ("/auth/account/profile", &[("phone", "1\u{7}2")][..]),
        ("/auth/account/email", &[("email", "nobody"), wrong][..]),
        ("/auth/account/password", &[("password", "kurz"), wrong][..]),
        ("/auth/account/password", &[("password", PASSWORD), ("current_password", "")][..]),
        ("/auth/account/delete", &[("form_token", "x")][..]),
        ("/auth/associate/corp/authorize", &[wrong][..]),
        ("/auth/logout", &[("form_token", "x")][..]),
        ("/auth/account/devices", &[("form_token", "x")][..]),
    ] {
        browser.goto(&format!("{site}{path}")).await;
        check(&browser, path).await;
        mistake(&browser, fields).await;
        check(&browser, &format!("{path} with a mistake")).await;
    }
    browser.goto(&format!("{site}/auth/account/delete")).await;
    browser.click("main form button").await;
    browser.find("input[name=current_password]").await;
    mistake(&browser, &[wrong]).await;
    check(&browser, "delete for good with a mistake").await;
    browser.goto(&format!("{site}/admin/x")).await;
    check(&browser, "403 of somebody known").await;
    browser.quit().await;
}
