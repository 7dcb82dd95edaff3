//! The pages that links open, in a real Chromium.

use portcullis::accounts::LinkKind;
use serde_json::json;
use thirtyfour::Key;

use super::{NEW, PASSWORD, send_form, start};
use crate::browser::{Browser, Setting};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_forgot_a_password_sets_a_new_one_and_signs_in() {
    let (upstream, gateway) = start().await;
    let elsewhere = gateway.person("ann").sign_in().await;
    elsewhere.get("/x").send().await.expect(200);
    let site = format!("http://{}", gateway.address);
    let link = gateway.link("ann", LinkKind::Reset).await;
    let browser = Browser::open_with(Setting { scripts_blocked: true, ..Setting::default() }).await;
    browser.goto(&format!("{site}{link}")).await;
    browser.fill("input[name=password]", "short").await;
    browser.click("main form button").await;
    let wrong = browser.find("#password-error").await.text().await.unwrap();
    assert!(wrong.contains("at least 8 characters"), "{wrong}");
    browser.fill("input[name=password]", NEW).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    let text = browser.text().await;
    assert!(text.contains("new password is set"), "{text}");
    elsewhere.get("/x").send().await.expect(401);
    browser.sign_in("ann@example.com", NEW).await;
    browser.wait_for_address(|address| address == format!("{site}/")).await;
    browser.goto(&format!("{site}{link}")).await;
    let over = browser.text().await;
    assert!(over.contains("no longer valid") && !over.contains("another link"), "{over}");
    assert!(!browser.has("input[name=password]").await);
    // No application was told the address of the page, which holds the token.
    let token = link.split_once("?token=").unwrap().1.as_bytes();
    let tapes = upstream.tapes();
    assert!(tapes.iter().all(|tape| crate::raw::find(tape, token).is_none()));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_07_no_address_no_history_and_no_application_holds_the_token_of_a_link() {
    let (upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let site = format!("http://{}", gateway.address);
    let link = gateway.link("ann", LinkKind::Reset).await;
    let (page, token) = link.split_once("?token=").unwrap();
    // A mail program on the web: another site, whose page has the link.
    let mail = format!("<!doctype html><title>Mail</title><a href=\"{site}{link}\">Reset</a>");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";
    let mail = format!("{head}Content-Length: {}\r\n\r\n{mail}", mail.len());
    upstream.answers("/", mail);
    let browser = Browser::open().await;
    browser.goto(&format!("http://localhost:{}/", gateway.address.port())).await;
    browser.click("a").await;
    browser.find("input[name=password]").await;
    let seen = "return [location.href, document.URL, document.cookie, document.referrer, \
        ...performance.getEntries().map(entry => entry.name), JSON.stringify(history.state), \
        ...Array.from(document.links, link => link.href)]";
    let places = browser.script(seen, Vec::new()).await;
    assert_eq!(places[0], format!("{site}{page}"));
    assert!(!places.to_string().contains(token), "{places}");
    let history = browser.cdp("Page.getNavigationHistory", json!({})).await;
    let entries = history["entries"].as_array().expect("no history").iter();
    let visited: Vec<_> = entries.map(|entry| entry["url"].as_str().unwrap()).collect();
    assert_eq!(visited.last(), Some(&&*format!("{site}{page}")), "{history}");
    assert!(visited.iter().all(|address| !address.contains(token)), "{history}");
    // Loaded again, in another language, and after a mistake, it is at the same address.
    browser.driver.refresh().await.unwrap();
    browser.click("a[hreflang=de]").await;
    browser.find("html[lang=de] input[name=password]").await;
    browser.fill("input[name=password]", "kurz").await;
    browser.press(Key::Enter + "").await;
    browser.find("#password-error").await;
    assert_eq!(browser.address().await, format!("{site}{page}"));
    // On from here to an application, whose page tells what it was told.
    browser.script("location.href = '/?from=there'", Vec::new()).await;
    browser.wait_for_address(|address| address.ends_with("from=there")).await;
    let told = browser.script("return document.referrer", Vec::new()).await;
    assert_eq!(told, format!("{site}{page}"));
    let tapes = upstream.tapes();
    assert!(tapes.iter().any(|tape| crate::raw::find(tape, b"from=there").is_some()));
    assert!(tapes.iter().all(|tape| crate::raw::find(tape, token.as_bytes()).is_none()));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_the_pages_of_links() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").unverified().create().await;
    let site = format!("http://{}", gateway.address);
    let reset = gateway.link("ann", LinkKind::Reset).await;
    let verify = gateway.link("ann", LinkKind::Verify).await;
    let browser = Browser::open().await;
    for (name, path) in [
        ("no link", "/auth/verify"),
        ("reset", &*reset),
        ("verify", &verify),
        ("reset over", "/auth/reset-password?token=x"),
        ("verify over", "/auth/verify?token=x"),
        ("sign-in with a new password", "/auth/login?another=1&password=set"),
    ] {
        browser.goto(&format!("{site}{path}")).await;
        browser.check_page(name).await;
    }
    browser.set_width(1280).await;
    browser.goto(&format!("{site}{reset}")).await;
    browser.fill("input[name=password]", "short").await;
    browser.click("main form button").await;
    browser.find("#password-error").await;
    browser.check_page("reset with a mistake").await;
    browser.set_width(1280).await;
    browser.goto(&format!("{site}{verify}")).await;
    browser.tab_to("main form button").await;
    browser.press(Key::Enter + "").await;
    browser.find("main a").await;
    assert!(browser.text().await.contains("is verified"));
    browser.check_page("verified").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_verifies_by_its_button_and_says_so_again() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").unverified().sign_in().await;
    let link = gateway.link("ann", LinkKind::Verify).await;
    let page = ann.visit(&link).follow().await.expect(200).text();
    let me = async || ann.get("/auth/users/me").send().await.expect(200).json();
    assert_eq!(me().await["is_verified"], false, "opening it verifies nothing");
    let done = send_form(&ann, "/auth/verify", &page, &[]).await.expect(200).text();
    assert!(done.contains("is verified") && done.contains(">Continue</a>"), "{done}");
    assert_eq!(me().await["is_verified"], true);
    // Sent twice, or opened again later: not an error for whoever did it.
    let done = send_form(&ann, "/auth/verify", &page, &[]).await.expect(200).text();
    assert!(done.contains("is verified"), "{done}");
    assert!(ann.visit(&link).follow().await.expect(200).text().contains("is verified"));
    let elsewhere = gateway.client().visit(&link).follow().await.expect(200).text();
    assert!(elsewhere.contains("&#x2f;login\">Sign in</a>"), "{elsewhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_leaves_somebody_else_signed_in_at_the_same_browser_alone() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let browser = gateway.person("bob").sign_in().await;
    let link = gateway.link("ann", LinkKind::Reset).await;
    let page = browser.visit(&link).follow().await.expect(200).text();
    let to = "/auth/reset-password";
    let answer = send_form(&browser, to, &page, &[("password", NEW)]).await.expect(303);
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\""));
    let login = browser.visit(answer.location()).send().await.expect(200).text();
    assert!(login.contains("new password is set") && login.contains("name=\"password\""));
    browser.get("/x").send().await.expect(200);
    // One's own cookie is cleared, since its session has ended.
    let browser = gateway.sign_in("bob").await;
    let link = gateway.link("bob", LinkKind::Reset).await;
    let page = browser.visit(&link).follow().await.expect(200).text();
    send_form(&browser, to, &page, &[("password", NEW)]).await.expect(303);
    assert!(browser.cookie("portcullis").is_none());
    // A browser that keeps no cookies is told, and the link is as good as before.
    let link = gateway.link("ann", LinkKind::Reset).await;
    let page = gateway.client().visit(&link).follow().await.expect(200).text();
    let told = send_form(&gateway.client(), to, &page, &[("password", PASSWORD)]).await;
    assert!(told.expect(400).text().contains("cookies are blocked"));
    gateway.client().visit(&link).follow().await.expect(200);
}
