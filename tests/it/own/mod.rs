//! The pages by which people make an account and look after it.

mod attacks;
mod journeys;
mod look;
mod mistakes;
mod rules;

use std::path::PathBuf;

use crate::harness::{Builder, Gateway};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
mail: { from: "Quay <no-reply@example.com>", directory: mail }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/", upstream: app, allow: public }
"#;

/// A password nobody has yet.
const NEW: &str = "nine herons over the weir";

fn with_accounts(upstream: &Upstream, accounts: &str) -> Builder {
    Gateway::builder(YAML).with("APP", &upstream.url()).key("accounts", accounts)
}

async fn start(accounts: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start();
    let gateway = with_accounts(&upstream, accounts).start().await;
    (upstream, gateway)
}

/// Sends the form of a page, as it was shown, with what somebody fills in.
async fn send(client: &Client, to: &str, page: &str, filled: &[(&str, &str)]) -> Response {
    let hidden = hidden_fields(page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    client.post(to).form(&fields).navigating_from("same-origin").send().await
}

/// Opens a page and sends its form filled in.
async fn fill(client: &Client, at: &str, filled: &[(&str, &str)]) -> Response {
    let page = client.visit(at).send().await.expect(200).text();
    send(client, at, &page, filled).await
}

/// Waits until so many letters have come, and gives what each says, oldest first.
async fn letters(gateway: &Gateway, count: usize) -> Vec<String> {
    let directory = gateway.file.with_file_name("mail");
    for _ in 0..500 {
        let read = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        files.sort_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap());
        assert!(files.len() <= count, "{} letters", files.len());
        if files.len() == count {
            return files
                .iter()
                .map(|path| decoded(&std::fs::read_to_string(path).unwrap()))
                .collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("not {count} letters came");
}

/// The one letter to somebody.
fn letter_to(who: &str, letters: Vec<String>) -> String {
    let is_to = |letter: &String| letter.contains(&format!("To: {who}"));
    let found: Vec<_> = letters.into_iter().filter(is_to).collect();
    let [letter] = <[String; 1]>::try_from(found).unwrap();
    letter
}

/// Undoes quoted-printable.
fn decoded(text: &str) -> String {
    let joined = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let [first, others @ ..] = rest {
        let code = others.get(..2).filter(|_| *first == b'=');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = &others[2..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The link in a letter.
fn link_of(letter: &str) -> String {
    let line = letter.lines().map(str::trim).find(|line| line.starts_with("http"));
    line.unwrap_or_else(|| panic!("no link in {letter}")).to_owned()
}
