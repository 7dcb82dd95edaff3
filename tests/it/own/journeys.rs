//! Each journey from its beginning to its end, in a real Chromium, with the links out of real mails.

use std::time::Duration;

use serde_json::Value;
use thirtyfour::Key;

use super::{NEW, letter_to, letters, link_of, start, with_accounts};
use crate::browser::{Browser, Setting};
use crate::harness::{Gateway, PASSWORD};
use crate::raw::Client;
use crate::upstream::Upstream;

async fn open(gateway: &Gateway, path: &str) -> Browser {
    let browser = Browser::open().await;
    browser.goto(&format!("http://{}{path}", gateway.address)).await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_registers_in_german_opens_the_link_in_the_mail_and_signs_in() {
    let upstream = Upstream::start();
    let accounts = "{ registration: open, require_verified: true }";
    let gateway = with_accounts(&upstream, accounts).start().await;
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open_with(Setting { scripts_blocked: true, ..Setting::default() }).await;
    browser.goto(&format!("{site}/x")).await;
    browser.click("a[hreflang=de]").await;
    browser.wait_for_address(|address| address.contains("/auth/login?next=")).await;
    assert!(browser.text().await.contains("angemeldet bleiben"));
    browser.click("a[href$='/register?next=%2Fx']").await;
    browser.fill("input[name=email]", "ann@example.com").await;
    browser.fill("input[name=password]", "kurz").await;
    browser.click("main form button").await;
    let wrong = browser.find("#password-error").await.text().await.unwrap();
    assert!(wrong.contains("mindestens 8 Zeichen"), "{wrong}");
    browser.fill("input[name=password]", NEW).await;
    browser.click("main form button").await;
    browser.find("main strong").await;
    let said = browser.text().await;
    assert!(said.contains("Sehen Sie in Ihre Post"), "{said}");
    let letter = letters(&gateway, 1).await.remove(0);
    assert!(letter.contains("lang=\"de\""), "{letter}");
    browser.goto(&link_of(&letter)).await;
    assert!(browser.text().await.contains("E-Mail-Adresse bestätigen"));
    browser.click("main form button").await;
    browser.find("main h1").await;
    assert!(browser.text().await.contains("ist bestätigt"));
    browser.goto(&format!("{site}/auth/account")).await;
    browser.fill("input[name=username]", "ann@example.com").await;
    browser.fill("input[name=password]", NEW).await;
    browser.click("main form button").await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    // The choice holds after the sign-in, and until another is made.
    assert!(browser.text().await.contains("Ihr Konto"));
    browser.goto(&format!("{site}/auth/nothing")).await;
    assert!(browser.text().await.contains("Nicht gefunden"));
    browser.click("a[hreflang=en]").await;
    browser.goto(&format!("{site}/auth/account")).await;
    assert!(browser.text().await.contains("Your account"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_changes_profile_e_mail_and_password_and_the_other_browser_is_out() {
    let (_upstream, gateway) = start("{}").await;
    let elsewhere = gateway.person("ann").sign_in().await;
    let browser = open(&gateway, "/auth/account").await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    browser.click("a[href$='/account/profile']").await;
    browser.fill("input[name=first_name]", "Ann").await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.ends_with("done=profile")).await;
    let text = browser.text().await;
    assert!(text.contains("Your profile is changed") && text.contains("Ann"), "{text}");
    elsewhere.get("/x").send().await.expect(200);
    browser.click("a[href$='/account/password']").await;
    browser.fill("input[name=current_password]", PASSWORD).await;
    browser.fill("input[name=password]", NEW).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.ends_with("done=password")).await;
    elsewhere.get("/x").send().await.expect(401);
    browser.click("a[href$='/account/email']").await;
    browser.fill("input[name=email]", "ann@example.org").await;
    browser.fill("input[name=current_password]", NEW).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.ends_with("done=email")).await;
    assert!(browser.text().await.contains("ann@example.org (not verified)"));
    let letter = letter_to("ann@example.org", letters(&gateway, 3).await);
    browser.goto(&link_of(&letter)).await;
    browser.click("main form button").await;
    browser.goto(&format!("http://{}/auth/account", gateway.address)).await;
    let text = browser.text().await;
    assert!(text.contains("ann@example.org") && !text.contains("not verified"), "{text}");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_devices_out_takes_their_data_and_deletes_the_account() {
    let (_upstream, gateway) = start("{}").await;
    let others = [gateway.person("ann").sign_in().await, gateway.sign_in("ann").await];
    let browser = open(&gateway, "/auth/account/devices").await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    browser.click("a[href$='/account/devices']").await;
    let text = browser.text().await;
    assert!(text.contains("This device") && text.contains("HeadlessChrome"), "{text}");
    // One of the two, then all the others, then this one.
    browser.click("button[aria-label='Sign out device 2']").await;
    browser.wait_for_address(|address| address.ends_with("devices?done=1")).await;
    let mut left = 0;
    for client in &others {
        left += u8::from(client.get("/x").send().await.status == 200);
    }
    assert_eq!(left, 1);
    browser.click("form:has(input[name=others]) button").await;
    browser.find("main:not(:has(input[name=others]))").await;
    for client in &others {
        client.get("/x").send().await.expect(401);
    }
    let mine = client_of(&browser, &gateway).await;
    mine.get("/x").send().await.expect(200);
    browser.click("form[action$='/logout'] button").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    mine.get("/x").send().await.expect(401);
    browser.goto(&format!("http://{}/auth/account", gateway.address)).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    let mine = client_of(&browser, &gateway).await;
    let data = downloaded(&browser).await;
    assert_eq!(data["account"]["email"], "ann@example.com");
    assert_eq!(data["sessions"].as_array().unwrap().len(), 1, "{data}");
    browser.goto(&format!("http://{}/auth/account/delete", gateway.address)).await;
    assert_eq!(downloaded(&browser).await["account"], data["account"]);
    browser.click("main form button").await;
    browser.fill("input[name=current_password]", PASSWORD).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.contains("account=deleted")).await;
    assert!(browser.text().await.contains("Your account is deleted"));
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.find("[role=alert]").await;
    mine.get("/x").send().await.expect(401);
    browser.quit().await;
}

/// A client with the session of a browser.
async fn client_of(browser: &Browser, gateway: &Gateway) -> Client {
    let cookie = browser.driver.get_named_cookie("portcullis").await.unwrap().value;
    let client = gateway.client();
    client.set_cookie("portcullis", &cookie);
    client
}

/// Downloads one's data by the link of the page, and reads the file that the browser has made.
async fn downloaded(browser: &Browser) -> Value {
    let directory = tempfile::tempdir().unwrap();
    browser.download_to(directory.path()).await;
    browser.click("a[href$='/account/data']").await;
    let file = directory.path().join("account.json");
    for _ in 0..500 {
        if let Some(data) =
            std::fs::read(&file).ok().and_then(|read| serde_json::from_slice(&read).ok())
        {
            return data;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    panic!("no file but {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_these_pages_in_either_language() {
    let (_upstream, gateway) = start("{ registration: open }").await;
    gateway.person("ann").unverified().create().await;
    gateway.sign_in("ann").await;
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open().await;
    for language in ["de", "en"] {
        browser.goto(&format!("{site}/auth/language?choose={language}&next=%2F")).await;
        for path in ["register", "request-verify-token", "login?another=1&account=deleted"] {
            browser.goto(&format!("{site}/auth/{path}")).await;
            browser.check_page(&format!("{path} in {language}")).await;
        }
    }
    browser.set_width(1280).await;
    browser.goto(&format!("{site}/auth/register")).await;
    browser.fill("input[name=email]", "new@example.com").await;
    browser.fill("input[name=password]", "short").await;
    browser.press(Key::Enter + "").await;
    browser.find("#password-error").await;
    browser.check_page("register with a mistake").await;
    browser.goto(&format!("{site}/auth/account")).await;
    browser.set_width(1280).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    for language in ["de", "en"] {
        browser.goto(&format!("{site}/auth/language?choose={language}&next=%2F")).await;
        for path in ["?done=email", "/profile", "/email", "/password", "/devices?done=1", "/delete"]
        {
            browser.goto(&format!("{site}/auth/account{path}")).await;
            browser.check_page(&format!("account{path} in {language}")).await;
        }
        browser.click("main form button").await;
        browser.find("input[name=current_password]").await;
        browser.check_page(&format!("delete for good in {language}")).await;
    }
    browser.quit().await;
}
