//! `Failure`: the one place that turns an error into an answer, page or JSON.
//!
//! A failure the client may read is asked for by name; everything else is a 500 that tells the
//! client nothing and the log everything.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::page::Frame;
use super::text::Text;
use crate::telemetry::log::Causes;

/// An error answer: status, what the client may read, extra headers.
#[derive(Debug)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// The JSON `detail`: a code, a sentence, or a structure.
    pub detail: serde_json::Value,
    /// The heading of the page. None: the status' own.
    pub heading: Option<Text>,
    /// Sentences for the page, saying what happened and what to do. None: the status' own.
    pub explanation: Vec<Text>,
    /// For the page, why in technical terms, in English: for who sends requests by hand.
    pub cause: Option<String>,
    /// `login_url` of the JSON body, for 401.
    pub login_url: Option<String>,
    /// Links of the page: (text, address) pairs.
    pub links: Vec<(Text, String)>,
    /// A command an operator could run (shown to superusers only).
    pub command: Option<String>,
    /// Headers added to the answer (`Retry-After`, `Allow`, `WWW-Authenticate`, …).
    pub headers: HeaderMap,
}

impl Failure {
    /// A failure with the status' own words: `{"detail":"Not Found"}`.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            detail: serde_json::Value::String(status.canonical_reason().unwrap_or("Error").into()),
            heading: None,
            explanation: Vec::new(),
            cause: None,
            login_url: None,
            links: Vec::new(),
            command: None,
            headers: HeaderMap::new(),
        }
    }

    /// With another `detail`.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<serde_json::Value>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With a heading of its own for the page, where the status' own says nothing to people.
    #[must_use]
    pub fn heading(mut self, heading: Text) -> Self {
        self.heading = Some(heading);
        self
    }

    /// With a further sentence for the page.
    #[must_use]
    pub fn explanation(mut self, sentence: Text) -> Self {
        self.explanation.push(sentence);
        self
    }

    /// With a cause in technical terms for the page.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// With a link on the page.
    #[must_use]
    pub fn link(mut self, text: Text, address: impl Into<String>) -> Self {
        self.links.push((text, address.into()));
        self
    }

    /// With a header on the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// 429 with `Retry-After` in whole seconds, at least 1.
    #[must_use]
    pub fn too_many(retry_after: std::time::Duration) -> Self {
        let seconds = retry_after.as_secs().saturating_add(1);
        Self::new(StatusCode::TOO_MANY_REQUESTS)
            .header(http::header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 405 with `Allow`; GET brings HEAD along.
    #[must_use]
    pub fn wrong_method(allowed: &[Method]) -> Self {
        let mut names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        if !names.contains(&"HEAD")
            && let Some(at) = names.iter().position(|name| *name == "GET")
        {
            names.insert(at + 1, "HEAD");
        }
        let failure = Self::new(StatusCode::METHOD_NOT_ALLOWED);
        match HeaderValue::from_str(&names.join(", ")) {
            Ok(value) => failure.header(ALLOW, value),
            Err(_) => failure,
        }
    }

    /// The answer for a person: a page; `Cache-Control: no-store`; the request id on it. HEAD answers keep
    /// their headers; the server drops the body.
    #[must_use]
    pub fn as_page(self, frame: &Frame<'_>) -> Response<Full<Bytes>> {
        let (heading, own) = words_of(self.status);
        let explanation =
            if self.explanation.is_empty() { vec![own] } else { self.explanation.clone() };
        let links = self.links.iter().map(|(text, address)| Link { text, address }).collect();
        let context = Context {
            status: self.status.as_u16(),
            heading: self.heading.clone().unwrap_or(heading),
            explanation,
            cause: self.cause.as_deref(),
            links,
            command: self.command.as_deref(),
        };
        let response = frame.render("error", self.status, context);
        self.finish(response)
    }

    /// The answer for a program: JSON; `Cache-Control: no-store`; the request id in the body.
    #[must_use]
    pub fn as_json(self, request_id: &str) -> Response<Full<Bytes>> {
        let mut body = serde_json::Map::new();
        body.insert("detail".to_owned(), self.detail.clone());
        if let Some(login_url) = &self.login_url {
            body.insert("login_url".to_owned(), login_url.as_str().into());
        }
        body.insert("request_id".to_owned(), request_id.into());
        let body = serde_json::Value::Object(body).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.finish(response)
    }

    fn finish(self, mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(self.headers);
        response
    }
}

/// What the error page shows.
#[derive(Serialize)]
struct Context<'a> {
    status: u16,
    heading: Text,
    explanation: Vec<Text>,
    cause: Option<&'a str>,
    links: Vec<Link<'a>>,
    command: Option<&'a str>,
}

#[derive(Serialize)]
struct Link<'a> {
    text: &'a Text,
    address: &'a str,
}

/// The heading of a status, and what happened and what to do where nothing else says it.
fn words_of(status: StatusCode) -> (Text, Text) {
    match status.as_u16() {
        400 => (Text::of("status-400"), Text::of("status-400-what")),
        401 => (Text::of("status-401"), Text::of("status-401-what")),
        403 => (Text::of("status-403"), Text::of("status-403-what")),
        404 => (Text::of("status-404"), Text::of("status-404-what")),
        405 => (Text::of("status-405"), Text::of("status-405-what")),
        408 => (Text::of("status-408"), Text::of("status-408-what")),
        413 => (Text::of("status-413"), Text::of("status-413-what")),
        414 => (Text::of("status-414"), Text::of("status-414-what")),
        429 => (Text::of("status-429"), Text::of("status-429-what")),
        431 => (Text::of("status-431"), Text::of("status-431-what")),
        502 => (Text::of("status-502"), Text::of("status-502-what")),
        503 => (Text::of("status-503"), Text::of("status-503-what")),
        504 => (Text::of("status-504"), Text::of("status-504-what")),
        _ if status.is_client_error() => (Text::of("status-4xx"), Text::of("status-4xx-what")),
        _ => (Text::of("status-5xx"), Text::of("status-5xx-what")),
    }
}

/// An unplanned error: logged whole here, once; the client learns nothing.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        tracing::error!(error = %Causes(&error), "unplanned failure");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::web::language::Language;
    use crate::web::page::Pages;

    async fn text(response: Response<Full<Bytes>>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn programs_are_answered_in_json() {
        let mut unauthorized = Failure::new(StatusCode::UNAUTHORIZED);
        unauthorized.login_url = Some("/auth/login?next=%2F".to_owned());
        for (failure, body) in [
            (
                Failure::new(StatusCode::NOT_FOUND),
                json!({"detail": "Not Found", "request_id": "r1"}),
            ),
            (
                unauthorized,
                json!({"detail": "Unauthorized", "login_url": "/auth/login?next=%2F", "request_id": "r1"}),
            ),
            (
                Failure::new(StatusCode::BAD_REQUEST)
                    .detail(json!({"code": "C", "reason": "\"<é"})),
                json!({"detail": {"code": "C", "reason": "\"<é"}, "request_id": "r1"}),
            ),
        ] {
            let status = failure.status;
            let response = failure.as_json("r1");
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["content-type"], "application/json");
            let found: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(found, body);
        }
    }

    fn frame(pages: &Pages, language: Language) -> Frame<'_> {
        Frame { pages, language, portal: "/auth", address: "/a?b", request_id: "r-<1>" }
    }

    #[tokio::test]
    async fn people_are_answered_with_a_page_that_helps_in_their_language() {
        let pages = Pages::built_in();
        for (language, parts) in [
            (
                Language::ENGLISH,
                ["<h1>No access</h1>", "You are signed in as", "Use another account</a>"],
            ),
            (
                Language::GERMAN,
                ["<h1>Kein Zugriff</h1>", "Sie sind als", "Anderes Konto verwenden</a>"],
            ),
        ] {
            let mut failure = Failure::new(StatusCode::FORBIDDEN)
                .explanation(Text::of("signed-in-as").with("who", "<ann>"))
                .cause("a <cause>")
                .link(Text::of("another-account"), "/auth/login?next=%2Fa&x=\"")
                .header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            failure.command = Some("portcullis user grant ann admin".to_owned());
            let response = failure.as_page(&frame(&pages, language));
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            assert_eq!(response.headers().get_all(CACHE_CONTROL).iter().count(), 1);
            let page = text(response).await;
            let lang = format!("<html lang=\"{}\">", language.code());
            for part in parts.into_iter().chain([
                lang.as_str(),
                "&lt;ann&gt;",
                "<code lang=\"en\">a &lt;cause&gt;</code>",
                "<code>portcullis user grant ann admin</code>",
                "r-&lt;1&gt;",
            ]) {
                assert!(page.contains(part), "{part} in {page}");
            }
            assert!(!page.contains("x=\"\""), "{page}");
        }
    }

    #[tokio::test]
    async fn every_error_status_has_a_page_with_words_in_every_language() {
        let pages = Pages::built_in();
        for status in (400..=599).filter_map(|code| StatusCode::from_u16(code).ok()) {
            let mut said = std::collections::BTreeSet::new();
            for language in pages.languages() {
                let response = Failure::new(status).as_page(&frame(&pages, language));
                assert_eq!(response.status(), status);
                let page = text(response).await;
                let main = page.split("<h1>").nth(1).unwrap().split("</p>").next().unwrap();
                assert!(said.insert(main.to_owned()) && main.contains("<p>"), "{page}");
                assert!(!page.contains("<pre"), "{page}");
            }
        }
    }

    #[tokio::test]
    async fn an_unplanned_error_tells_the_client_nothing() {
        let failure = Failure::from(std::io::Error::other("password=hunter2"));
        let page =
            Failure::new(failure.status).as_page(&frame(&Pages::built_in(), Language::ENGLISH));
        let json = Failure::new(failure.status).as_json("r1");
        for (answer, words) in [(page, "Something went wrong"), (json, "Internal Server Error")] {
            let body = text(answer).await;
            assert!(!body.contains("hunter2") && body.contains(words), "{body}");
        }
        assert_eq!(failure.detail, "Internal Server Error");
        assert!(failure.explanation.is_empty() && failure.command.is_none());
    }

    #[test]
    fn headers_of_a_failure_stand_on_its_answer() {
        let response = Failure::too_many(std::time::Duration::from_millis(1500)).as_json("r1");
        assert_eq!(response.headers()["retry-after"], "2");
        let response = Failure::new(StatusCode::METHOD_NOT_ALLOWED)
            .header(http::header::ALLOW, HeaderValue::from_static("GET"))
            .as_page(&frame(&Pages::built_in(), Language::ENGLISH));
        assert_eq!(response.headers()["allow"], "GET");
    }

    #[test]
    fn a_wrong_method_is_told_which_are_right() {
        let failure = Failure::wrong_method(&[Method::GET, Method::POST]);
        assert_eq!(failure.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(failure.headers.get(ALLOW), Some(&HeaderValue::from_static("GET, HEAD, POST")));
        let failure = Failure::wrong_method(&[Method::POST]);
        assert_eq!(failure.headers.get(ALLOW), Some(&HeaderValue::from_static("POST")));
    }
}
