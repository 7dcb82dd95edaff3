//! Templates and the page shell: server-rendered HTML with the gateway's own small style sheet, no
//! script, a strict Content-Security-Policy.
//!
//! A page's template extends `layout` and fills the blocks `title` and `content`; `fields` holds macros
//! for labels with their inputs. A name that a template uses and its context lacks is an error.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

const STYLE: &str = include_str!("templates/style.css");

/// The shell and what every page may use.
const SHELL: [(&str, &str); 3] = [
    ("layout", include_str!("templates/layout.html")),
    ("fields", include_str!("templates/fields.html")),
    ("error", include_str!("templates/error.html")),
];

/// The Content-Security-Policy of a page: nothing but its own style, by the style's hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(BARE_POLICY)
});

/// The policy of what holds neither style nor form.
const BARE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// A template that does not parse: its name and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("the template {0:?} does not parse")]
pub struct PageError(String, #[source] minijinja::Error);

/// A set of templates over the shell.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
}

impl Pages {
    /// The shell (`layout`, `fields`, `error`) with further templates: (name, source) pairs.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn new(templates: &[(&'static str, &'static str)]) -> Result<Self, PageError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
        for (name, source) in SHELL.iter().chain(templates) {
            environment
                .add_template(name, source)
                .map_err(|error| PageError((*name).to_owned(), error))?;
        }
        Ok(Self { templates: environment })
    }

    /// Renders a template into a whole page with its security headers and `Cache-Control: no-store`.
    ///
    /// Headers: `Content-Type: text/html; charset=utf-8`, a CSP with `default-src 'none'`, the style by
    /// hash, `form-action 'self'`, `frame-ancestors 'none'`, `base-uri 'none'`;
    /// `Referrer-Policy: same-origin`, `X-Content-Type-Options: nosniff`, `X-Frame-Options: DENY`. A
    /// template that fails is logged and answered with a bare 500.
    #[must_use]
    pub fn render(
        &self,
        template: &str,
        status: StatusCode,
        context: impl Serialize,
    ) -> Response<Full<Bytes>> {
        let rendered = self
            .templates
            .get_template(template)
            .and_then(|template| template.render(Value::from(Serde(context))));
        match rendered {
            Ok(page) => answer(status, page, POLICY.clone()),
            Err(error) => {
                // The error alone: its debug form quotes the context.
                tracing::error!(template, error = %error, "a page could not be rendered");
                bare()
            }
        }
    }
}

/// Renders one of the shell's own templates (`error`); see [`Pages::render`].
#[must_use]
pub fn render(
    template: &str,
    status: StatusCode,
    context: impl Serialize,
) -> Response<Full<Bytes>> {
    static SHELL_ALONE: LazyLock<Result<Pages, PageError>> = LazyLock::new(|| Pages::new(&[]));
    match &*SHELL_ALONE {
        Ok(pages) => pages.render(template, status, context),
        Err(error) => {
            tracing::error!(template, error = %error, "a page could not be rendered");
            bare()
        }
    }
}

/// The headers of every page and of what is answered in its place.
fn answer(status: StatusCode, page: String, policy: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn bare() -> Response<Full<Bytes>> {
    let page = "<!doctype html><html lang=\"en\"><title>Internal Server Error</title>\
                <main><h1>Internal Server Error</h1></main></html>";
    answer(StatusCode::INTERNAL_SERVER_ERROR, page.to_owned(), BARE_POLICY)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http_body_util::BodyExt as _;
    use minijinja::context;

    use super::*;

    const FORM: &str = r#"{% extends "layout" %}{% import "fields" as fields %}
{% block title %}{{ title }}{% endblock %}
{% block content %}<h1>{{ title }}</h1>{{ fields.alert(alert) }}<form method="post">
{{ fields.hidden("token", token) }}
{{ fields.input("username", "E-mail", value=username, type="email", autocomplete="username", autofocus=true) }}
{{ fields.password("password", "Password", hint="At least 8", error="Too short") }}
{{ fields.checkbox("remember", "Stay signed in") }}
{{ fields.submit("Sign in") }}</form>{% endblock %}"#;

    async fn text(response: Response<Full<Bytes>>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn sample() -> minijinja::Value {
        context! { title => "Sign <in>", alert => "", token => "t\"t", username => "a'b\"<c>" }
    }

    #[tokio::test]
    async fn a_page_is_the_shell_with_escaped_values() {
        let pages = Pages::new(&[("form", FORM)]).unwrap();
        let page = text(pages.render("form", StatusCode::OK, sample())).await;
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}");
        assert!(page.contains("<title>Sign &lt;in&gt;</title>"), "{page}");
        assert!(page.contains("<main>") && page.contains(STYLE), "{page}");
        assert!(page.contains("value=\"a&#x27;b&quot;&lt;c&gt;\""), "{page}");
        assert!(
            page.contains("<input type=\"hidden\" name=\"token\" value=\"t&quot;t\">"),
            "{page}"
        );
        assert!(page.contains("aria-describedby=\"password-hint password-error\""), "{page}");
        assert!(page.contains("<label for=\"remember\">Stay signed in</label>"), "{page}");
        assert!(!page.contains("<script") && !page.contains("role=\"alert\""), "{page}");
    }

    #[tokio::test]
    async fn ses_19_a_page_carries_its_security_headers() {
        let pages = Pages::new(&[("form", FORM)]).unwrap();
        let response = pages.render("form", StatusCode::CREATED, sample());
        assert_eq!(response.status(), StatusCode::CREATED);
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(response.headers().get(name).unwrap(), value);
        }
        let policy =
            response.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap().to_owned();
        for directive in [
            "default-src 'none'",
            "img-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found == directive), "{policy}");
        }
        // The hash is the one of what stands between the tags, or no browser applies it.
        let page = text(response).await;
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    }

    #[test]
    fn a_template_that_fails_is_a_bare_500() {
        let pages = Pages::new(&[("form", FORM)]).unwrap();
        for response in [
            pages.render("nowhere", StatusCode::OK, context! {}),
            pages.render("form", StatusCode::OK, context! { title => "x" }),
        ] {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
        }
        assert!(Pages::new(&[("broken", "{% if %}")]).is_err());
    }

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    #[test]
    fn colours_have_the_contrast_of_wcag_aa_in_light_and_dark() {
        let themes: Vec<&str> = STYLE.lines().take(2).collect();
        assert!(themes[1].contains("prefers-color-scheme:dark"));
        for theme in themes {
            let colour = |name: &str| {
                let start = theme.split(&format!("--{name}:#")).nth(1).unwrap();
                luminance(&start[..6])
            };
            for (front, ground, least) in [
                ("text", "card", 4.5),
                ("text", "ground", 4.5),
                ("muted", "card", 4.5),
                ("link", "card", 4.5),
                ("on-accent", "accent", 4.5),
                ("text", "code", 4.5),
                ("alert", "card", 4.5),
                ("alert", "alert-ground", 4.5),
                ("note", "note-ground", 4.5),
                ("edge", "card", 3.0),
                ("accent", "card", 3.0),
                ("alert", "card", 3.0),
                ("link", "ground", 3.0),
            ] {
                let (a, b) = (colour(front), colour(ground));
                let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(ratio >= least, "{front} on {ground}: {ratio:.2} in {theme}");
            }
        }
    }
}
