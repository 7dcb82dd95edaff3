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

use super::page;
use crate::telemetry::log::Causes;

/// An error answer: status, what the client may read, extra headers.
#[derive(Debug)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// The JSON `detail`: a code, a sentence, or a structure.
    pub detail: serde_json::Value,
    /// One sentence for the page, saying what happened and what to do. Empty: the status' own.
    pub explanation: String,
    /// `login_url` of the JSON body, for 401.
    pub login_url: Option<String>,
    /// Links and hints of the page: (text, address) pairs.
    pub links: Vec<(String, String)>,
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
            explanation: String::new(),
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

    /// With a sentence for the page.
    #[must_use]
    pub fn explanation(mut self, explanation: impl Into<String>) -> Self {
        self.explanation = explanation.into();
        self
    }

    /// With a link on the page.
    #[must_use]
    pub fn link(mut self, text: impl Into<String>, address: impl Into<String>) -> Self {
        self.links.push((text.into(), address.into()));
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

    /// The answer: a page for a navigation, else JSON; `Cache-Control: no-store` always; the request
    /// id in the body. HEAD answers keep their headers; the server drops the body.
    #[must_use]
    pub fn answer(self, as_page: bool, request_id: &str) -> Response<Full<Bytes>> {
        let mut response = if as_page { self.page(request_id) } else { self.json(request_id) };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(self.headers);
        response
    }

    fn page(&self, request_id: &str) -> Response<Full<Bytes>> {
        let explanation = if self.explanation.is_empty() {
            explanation_of(self.status)
        } else {
            self.explanation.as_str()
        };
        let links: Vec<_> =
            self.links.iter().map(|(text, address)| Link { text, address }).collect();
        let context = Context {
            status: self.status.as_u16(),
            reason: self.status.canonical_reason().unwrap_or("Error"),
            explanation,
            links,
            command: self.command.as_deref(),
            request_id,
        };
        page::render("error", self.status, context)
    }

    fn json(&self, request_id: &str) -> Response<Full<Bytes>> {
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
        response
    }
}

/// What the error page shows.
#[derive(Serialize)]
struct Context<'a> {
    status: u16,
    reason: &'a str,
    explanation: &'a str,
    links: Vec<Link<'a>>,
    command: Option<&'a str>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Link<'a> {
    text: &'a str,
    address: &'a str,
}

/// What happened and what to do, for a status that came without words of its own.
fn explanation_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request could not be understood. Check the address and try again.",
        401 => "You need to sign in to see this page.",
        403 => {
            "You do not have access to this page. If you think you should, ask an administrator."
        }
        404 => "There is no page at this address. Check it for a typing mistake.",
        405 => "This address does not take that kind of request. Go back and try again.",
        408 => "The request took too long to arrive. Try again.",
        413 => "What was sent is too large.",
        414 => "The address is too long.",
        429 => "There were too many requests. Wait a little and try again.",
        431 => {
            "The request carried too many or too long headers. Deleting the cookies of this site may help."
        }
        502 => "The application behind this address could not be reached. Try again in a moment.",
        503 => "This service is unavailable at the moment. Try again in a moment.",
        504 => {
            "The application behind this address took too long to answer. Try again in a moment."
        }
        _ if status.is_client_error() => "The request could not be answered.",
        _ => {
            "Something went wrong here. Try again, and tell an administrator the request id if it stays."
        }
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
            let response = failure.answer(false, "r1");
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["content-type"], "application/json");
            let found: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(found, body);
        }
    }

    #[tokio::test]
    async fn people_are_answered_with_a_page_that_helps() {
        let mut failure = Failure::new(StatusCode::FORBIDDEN)
            .explanation("You are signed in as <ann>.")
            .link("Use another account", "/auth/login?next=%2Fa&x=\"")
            .header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        failure.command = Some("portcullis user grant ann admin".to_owned());
        let response = failure.answer(true, "r-<1>");
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers().get_all(CACHE_CONTROL).iter().count(), 1);
        let page = text(response).await;
        for part in [
            "<h1>Forbidden</h1>",
            "You are signed in as &lt;ann&gt;.",
            "Use another account</a>",
            "<code>portcullis user grant ann admin</code>",
            "r-&lt;1&gt;",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("x=\"\""), "{page}");
    }

    #[tokio::test]
    async fn every_error_status_has_a_page_with_words_of_its_own() {
        for status in (400..=599).filter_map(|code| StatusCode::from_u16(code).ok()) {
            let response = Failure::new(status).answer(true, "r1");
            assert_eq!(response.status(), status);
            let page = text(response).await;
            assert!(page.contains(explanation_of(status)) && !page.contains("<pre"), "{page}");
        }
    }

    #[tokio::test]
    async fn an_unplanned_error_tells_the_client_nothing() {
        let failure = Failure::from(std::io::Error::other("password=hunter2"));
        for as_page in [true, false] {
            let failure = Failure { headers: HeaderMap::new(), ..Failure::new(failure.status) };
            let body = text(failure.answer(as_page, "r1")).await;
            assert!(!body.contains("hunter2") && body.contains("Internal Server Error"), "{body}");
        }
        assert_eq!(failure.detail, "Internal Server Error");
        assert!(failure.explanation.is_empty() && failure.command.is_none());
    }

    #[test]
    fn headers_of_a_failure_stand_on_its_answer() {
        let response =
            Failure::too_many(std::time::Duration::from_millis(1500)).answer(false, "r1");
        assert_eq!(response.headers()["retry-after"], "2");
        let response = Failure::new(StatusCode::METHOD_NOT_ALLOWED)
            .header(http::header::ALLOW, HeaderValue::from_static("GET"))
            .answer(true, "r1");
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
