//! From the sign-in page over a real mail to a new password, in a real Chromium.

use thirtyfour::Key;

use super::start;
use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_forgot_the_password_follows_the_link_in_the_mail_and_signs_in() {
    const NEW: &str = "nine lanterns by the quay";
    let (server, gateway) = start(&["ann"]).await;
    let site = format!("http://{}", gateway.address);
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/login")).await;
    browser.click("a[href$='forgot-password']").await;
    browser.wait_for_address(|address| address.ends_with("/auth/forgot-password")).await;
    browser.check_page("forgot your password").await;
    browser.fill("input[name=email]", "ann@example.com").await;
    browser.press(Key::Enter + "").await;
    browser.find("main strong").await;
    let said = browser.text().await;
    assert!(said.contains("Check your mail") && said.contains("ann@example.com"), "{said}");
    browser.check_page("check your mail").await;
    let message = &server.wait_for(1).await[0];
    browser.goto(message.link()).await;
    browser.fill("input[name=password]", NEW).await;
    browser.press(Key::Enter + "").await;
    browser.wait_for_address(|address| address.contains("/auth/login")).await;
    browser.sign_in("ann@example.com", NEW).await;
    browser.wait_for_address(|address| address.ends_with("/auth/account")).await;
    assert!(browser.text().await.contains("ann@example.com"));
    browser.quit().await;
}
