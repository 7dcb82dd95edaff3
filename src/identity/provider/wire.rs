//! Requests to providers: every wait has an end, every answer a bound, no redirect is followed, and
//! nothing goes over the network unprotected.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::error::ProviderError;
use crate::config::is_protected;
use crate::web::json;

/// For a whole exchange, name look-up and body included.
pub(super) const WHOLE: Duration = Duration::from_secs(10);
/// For a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of an answer's body at most.
const MAX_BODY: usize = 1024 * 1024;
/// Characters of an error's text at most.
const MAX_WORDS: usize = 300;

/// Speaks HTTP to providers. Cloning shares its connections.
#[derive(Clone, Debug)]
pub(super) struct Wire(Client);

/// A JSON answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `None` where an answer that is no success is no JSON.
    pub(super) body: Option<Value>,
}

impl Answer {
    /// The object in a successful answer.
    pub(super) fn object(self) -> Result<Map<String, Value>, ProviderError> {
        match (self.status, self.body) {
            (200..=299, Some(Value::Object(object))) => Ok(object),
            (200..=299, _) => Err(ProviderError::Malformed("it is no JSON object")),
            (status, _) => Err(ProviderError::Status(status)),
        }
    }
}

impl Wire {
    /// With [`WHOLE`] for an exchange; tests do not wait that long.
    pub(super) fn new(whole: Duration) -> Result<Self, ProviderError> {
        Client::builder()
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(whole)
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map(Self)
            .map_err(|error| unreachable(&error))
    }

    /// Asks for a JSON document.
    pub(super) async fn get(
        &self,
        url: &Url,
        token: Option<&SecretString>,
    ) -> Result<Answer, ProviderError> {
        let request = self.0.get(url.clone());
        let request = match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        send(url, request).await
    }

    /// Sends a form, which a JSON document answers.
    pub(super) async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &SecretString)>,
    ) -> Result<Answer, ProviderError> {
        let request = self.0.post(url.clone()).form(form);
        let request = match basic {
            Some((name, secret)) => {
                // RFC 6749 section 2.3.1: both are form-encoded first.
                let encode = |text: &str| -> String {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                request.basic_auth(encode(name), Some(encode(secret.expose_secret())))
            }
            None => request,
        };
        send(url, request).await
    }
}

async fn send(url: &Url, request: RequestBuilder) -> Result<Answer, ProviderError> {
    if !is_protected(url) {
        return Err(ProviderError::Malformed("an address that is not https"));
    }
    let request = request.header(ACCEPT, "application/json");
    let answer = request.send().await.map_err(|error| unreachable(&error))?;
    let status = answer.status().as_u16();
    let is_success = answer.status().is_success();
    let is_json = is_json(&answer);
    // What is no JSON and no success is not looked at; dropping it closes the connection.
    let body = if is_json { Some(body(answer).await?) } else { None };
    let body = body.and_then(|body| json::read(&body).ok());
    match body {
        None if is_success && is_json => Err(ProviderError::Malformed("it is not JSON")),
        None if is_success => Err(ProviderError::Malformed("its content type is not JSON's")),
        body => Ok(Answer { status, body }),
    }
}

/// By its own word; `text/javascript` is what Facebook calls it.
fn is_json(answer: &Response) -> bool {
    let said = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = said.and_then(|said| said.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/javascript")
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(ProviderError::Malformed("it is longer than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes in words, without the address: that may hold a code.
fn unreachable(error: &reqwest::Error) -> ProviderError {
    if error.is_timeout() {
        return ProviderError::Unreachable("no answer in time".to_owned());
    }
    let mut words =
        if error.is_connect() { "no connection" } else { "the connection broke" }.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    let words = words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    ProviderError::Unreachable(words)
}
