//! `examples/front-end` in Chromium: the same page behind the gateway, and from another origin.

use std::time::Duration;

use thirtyfour::prelude::*;

use crate::application::Application;
use crate::browser::Browser;
use crate::harness::{PASSWORD, Process};

/// A password nobody has yet.
const NEW: &str = "nine herons over the weir";

/// The token of the letter that has come.
async fn token_mailed(process: &Process) -> String {
    let directory = process.directory().join("mail");
    for _ in 0..500 {
        for file in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let letter = std::fs::read_to_string(file.path()).unwrap_or_default();
            // Quoted-printable (RFC 2045 section 6.7), as far as it matters to a link.
            let letter = letter.replace("=\r\n", "").replace("=3D", "=");
            if let Some((_, token)) = letter.split_once("?token=") {
                return token.chars().take_while(|c| !c.is_whitespace()).collect();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no letter has come");
}

/// Fills a form and sends it.
async fn send(browser: &Browser, form: &str, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        let field = format!("#{form} [name={name}]");
        let field = browser.driver.find(By::Css(field)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(*value).await.unwrap();
    }
    let button = browser.driver.find(By::Css(format!("#{form} button"))).await.unwrap();
    button.click().await.unwrap();
}

async fn journey(browser: &Browser, process: &Process, address: &str) {
    browser.driver.goto(address).await.unwrap();
    browser.wait_to_show("Register").await;
    let short = [("email", "ann@example.com"), ("password", "short"), ("first_name", "Ann")];
    send(browser, "register", &short).await;
    browser.wait_to_show("Not done: Password should be at least 8 characters").await;
    let registration = [("password", PASSWORD)];
    send(browser, "register", &registration).await;
    browser.wait_to_show("A mail is on its way to ann@example.com").await;
    let sign_in = [("username", "ann@example.com"), ("password", PASSWORD)];
    send(browser, "sign-in", &sign_in).await;
    browser.wait_to_show("Not done: LOGIN_USER_NOT_VERIFIED").await;
    send(browser, "verify", &[("token", &token_mailed(process).await)]).await;
    browser.wait_to_show("ann@example.com is verified").await;
    send(browser, "sign-in", &sign_in).await;
    browser.wait_to_show("Ann (ann@example.com)").await;
    send(browser, "change", &[("password", NEW)]).await;
    browser.wait_to_show("Your password is changed").await;
    // The caller's own session lives on, also when the page is opened anew.
    browser.driver.refresh().await.unwrap();
    browser.wait_to_show("Ann (ann@example.com)").await;
    send(browser, "sign-out", &[]).await;
    browser.wait_to_show("Signed out.").await;
    send(browser, "sign-in", &sign_in).await;
    browser.wait_to_show("Not done: LOGIN_BAD_CREDENTIALS").await;
    send(browser, "sign-in", &[("password", NEW)]).await;
    browser.wait_to_show("Ann (ann@example.com)").await;
}

async fn start() -> (Application, Process) {
    let pages = Application::prepare("front-end", &["-m", "http.server", "--bind", "127.0.0.1"]);
    let pages = pages.argument("{port}").start().await;
    let process = pages.behind_the_gateway().await;
    (pages, process)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_behind_the_gateway_does_all_that_accounts_need() {
    let (_pages, process) = start().await;
    let browser = Browser::open().await;
    journey(&browser, &process, &format!("http://{}/", process.address)).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_of_a_listed_origin_does_the_same() {
    let (pages, process) = start().await;
    let browser = Browser::open().await;
    let address = format!("{}/?api=http://{}", pages.url(), process.address);
    journey(&browser, &process, &address).await;
    browser.quit().await;
}
