//! What people do, in a real Chromium with a real OpenID provider.

use std::time::Duration;

use serde_json::json;

use super::{CLIENT_ID, CLIENT_SECRET, Site, YAML, client_at, corp, person};
use crate::browser::Browser;
use crate::harness::{Gateway, free_port};
use crate::openid_provider::OpenIdProvider;
use crate::raw::Client;
use crate::upstream::Upstream;

/// Signs in at oidc-provider's own forms and agrees, as far as it asks.
async fn agree(browser: &Browser, provider: &OpenIdProvider, login: &str) {
    browser.wait_for_address(|address| address.starts_with(&provider.issuer())).await;
    for _ in 0..4 {
        if !browser.address().await.starts_with(&provider.issuer()) {
            return;
        }
        if browser.has("input[name=login]").await {
            browser.fill("input[name=login]", login).await;
            browser.fill("input[name=password]", "any").await;
        }
        browser.click("button[type=submit]").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until something holds of the page.
async fn wait_for(browser: &Browser, condition: &str) {
    for _ in 0..400 {
        let script = format!("return document.readyState === 'complete' && ({condition})");
        if browser.script(&script, Vec::new()).await == json!(true) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {condition}: {}", browser.text().await);
}

/// What the session behind the browser's cookie says.
async fn session_of(browser: &Browser, gateway: &Gateway) -> serde_json::Value {
    let cookie = browser.driver.get_named_cookie("portcullis").await.unwrap();
    let client = gateway.client();
    client.set_cookie("portcullis", &cookie.value);
    client.get("/auth/session").send().await.expect(200).json()
}

/// A gateway with two providers, `corp` and `club`, in front of a wiki.
async fn two_providers() -> (Upstream, [OpenIdProvider; 2], Gateway, String) {
    let (upstream, port) = (Upstream::start(), free_port());
    let page = "<!doctype html><title>App</title><p>The wiki</p>";
    upstream.answers(
        "/wiki",
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ),
    );
    let (first, second) = (OpenIdProvider::start().await, OpenIdProvider::start().await);
    let users =
        json!({ "ann": person("ann@corp.example", &[]), "ann2": person("a@club.example", &[]) });
    first.set_up_with(json!({ "clients": [client_at(port)], "users": users })).await;
    let site = format!("http://127.0.0.1:{port}");
    let club = json!({
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "redirect_uris": [
            format!("{site}/auth/club/callback"), format!("{site}/auth/associate/club/callback"),
        ],
    });
    second.set_up_with(json!({ "clients": [club], "users": users })).await;
    let open = "who: anyone, register: true";
    let club = corp(&second, open).replace("Corp <b>", "The club");
    let providers = format!("{{ corp: {}, club: {club} }}", corp(&first, open));
    let gateway = Gateway::builder(YAML)
        .with("APP", &upstream.url())
        .with("PORT", &port.to_string())
        .key("providers", &providers)
        .start()
        .await;
    (upstream, [first, second], gateway, site)
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_by_a_provider_links_another_and_signs_out_at_both() {
    let (_upstream, [first, second], gateway, site) = two_providers().await;
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/wiki")).await;
    let buttons: Vec<String> = browser.texts("ul.providers a").await;
    assert_eq!(buttons, ["Sign in with Corp <b>", "Sign in with The club"]);
    assert!(browser.has("input[name=password]").await);
    browser.click("ul.providers a").await;
    agree(&browser, &first, "ann").await;
    browser.wait_for_address(|address| address == format!("{site}/wiki")).await;
    assert!(browser.text().await.contains("The wiki"));
    let session = session_of(&browser, &gateway).await;
    assert_eq!(session["user"]["email"], "ann@corp.example");
    // The second provider is linked on the account page.
    browser.goto(&format!("{site}/auth/account")).await;
    browser.click("a[href*='/auth/associate/club/authorize']").await;
    // Who has no password has signed in just now.
    browser.click("form[action='/auth/associate/club/link'] button").await;
    agree(&browser, &second, "ann2").await;
    browser.wait_for_address(|address| address == format!("{site}/auth/account")).await;
    let text = browser.text().await;
    assert!(
        text.contains("Corp <b> (ann@corp.example)") && text.contains("The club (a@club.example)")
    );
    browser.check_page("account with links").await;
    browser.set_width(1280).await;
    // One is unlinked; the last one stays.
    browser.click("form[action='/auth/associate/club/unlink'] button").await;
    wait_for(&browser, "!!document.querySelector('input[name=sure]')").await;
    browser.check_page("unlinking").await;
    browser.click("form[action='/auth/associate/club/unlink'] button").await;
    wait_for(&browser, "document.querySelectorAll('form[action*=unlink]').length === 1").await;
    assert!(!browser.text().await.contains("a@club.example"));
    browser.click("form[action='/auth/associate/corp/unlink'] button").await;
    wait_for(&browser, "!!document.querySelector('input[name=sure]')").await;
    browser.click("form[action='/auth/associate/corp/unlink'] button").await;
    wait_for(&browser, "document.body.innerText.includes('last way to sign in')").await;
    // Signing out leads to the provider, which asks, and back to the sign-in page.
    browser.goto(&format!("{site}/auth/account")).await;
    browser.click("form[action='/auth/logout'] button").await;
    // Both providers keep their cookies for one host here: the first may not know the browser any more,
    // and then does not ask.
    let away = |address: &str| !address.contains("/auth/account");
    let there = browser.wait_for_address(away).await;
    if there.starts_with(&first.issuer()) {
        browser.click("button[value=yes], button[autofocus]").await;
    }
    browser.wait_for_address(|address| address.starts_with(&format!("{site}/auth/login"))).await;
    assert_eq!(first.requests().await["/session/end"], 1);
    browser.goto(&format!("{site}/wiki")).await;
    assert!(browser.address().await.contains("/auth/login?next="));
    browser.check_page("sign-in with providers").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_at_the_provider_signs_out_here() {
    let site = Site::start(json!({ "ann": person("ann@corp.example", &[]) })).await;
    let home = format!("http://{}", site.gateway.address);
    let browser = Browser::open().await;
    browser.goto(&format!("{home}/auth/login")).await;
    browser.click("ul.providers a").await;
    agree(&browser, &site.provider, "ann").await;
    browser.wait_for_address(|address| address == format!("{home}/")).await;
    let cookie = browser.driver.get_named_cookie("portcullis").await.unwrap();
    let client: Client = site.gateway.client();
    client.set_cookie("portcullis", &cookie.value);
    client.get("/auth/users/me").send().await.expect(200);
    // Another session of the same person, from another session at the provider, lives on.
    let elsewhere = site.sign_in("ann").await;
    browser.goto(&format!("{}/session/end", site.provider.issuer())).await;
    browser.click("button[value=yes], button[autofocus]").await;
    site.gateway.wait_for(&client, "/auth/users/me", 401).await;
    elsewhere.get("/auth/users/me").send().await.expect(200);
    let events = site.events("sign-out").await;
    assert_eq!(events[0].detail, "corp: signed out there");
    browser.quit().await;
}
