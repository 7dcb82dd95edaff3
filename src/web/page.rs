//! Templates and the page shell: server-rendered HTML with the gateway's own small style sheet, no
//! script, a strict Content-Security-Policy, in the language of who reads it.
//!
//! A page's template extends `layout` and fills the blocks `title` and `content`; `fields` holds macros
//! for labels with their inputs. `t("key", name=value)` says a text; the filters `strong`, `code` and
//! `moment` make parts of one. A name that a template uses and its context lacks is an error.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

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
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{AutoEscape, Environment, HtmlEscape, UndefinedBehavior};
use serde::Serialize;

use super::catalog::Catalog;
use super::language::Language;
use super::logo::Logo;
use super::overrides::{Fault, Overrides};
use super::restyle::{self, Restyled};
use super::return_to::encode_query;
use super::templates::{STYLE, TEMPLATES};

/// The policy of what holds neither style nor form.
const BARE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// How the pages look and what they say.
#[derive(Debug)]
pub struct Pages {
    /// One for each language that is offered, English first.
    faces: Vec<Face>,
    /// The Content-Security-Policy of every page.
    policy: HeaderValue,
    look: Look,
    /// What is worth a warning about the overrides.
    warnings: Vec<String>,
}

/// What a configuration says of the pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Shown on every page.
    pub title: Option<String>,
    /// Beside the title.
    pub logo: Option<Logo>,
    /// What stands in for templates, style and texts.
    pub overrides: Option<Arc<Overrides>>,
}

/// The templates with the texts of one language.
#[derive(Debug)]
struct Face {
    language: Language,
    name: String,
    templates: Environment<'static>,
    /// As built in, where `templates` differ: shown instead of one that fails.
    built_in: Option<Environment<'static>>,
}

/// Who a page is shown to, and where it stands.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The pages.
    pub pages: &'a Pages,
    /// The language of who reads it.
    pub language: Language,
    /// Where the portal is: a path, or an absolute URL where it is on another host.
    pub portal: &'a str,
    /// Where the page can be asked for again: path and query, or an absolute URL.
    pub address: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

/// What every template may use besides its own context.
#[derive(Serialize)]
struct Shell<'a, C> {
    language: &'a str,
    languages: Vec<Offered<'a>>,
    brand: Option<&'a str>,
    logo: Option<String>,
    portal: &'a str,
    request_id: &'a str,
    #[serde(flatten)]
    own: C,
}

/// A language of the menu.
#[derive(Serialize)]
struct Offered<'a> {
    code: &'a str,
    name: &'a str,
    address: String,
}

impl Pages {
    /// The pages as they are built in.
    #[must_use]
    pub fn built_in() -> Arc<Self> {
        static BUILT_IN: LazyLock<Arc<Pages>> =
            LazyLock::new(|| Arc::new(Pages::new(Look::default()).0));
        Arc::clone(&BUILT_IN)
    }

    /// The pages with a look of their own, and what is wrong with it: that is left out.
    #[must_use]
    pub fn new(look: Look) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let restyled = look.overrides.as_deref().map(|given| restyle::read(given, &mut faults));
        let Restyled { style, templates, texts, warnings } = restyled.unwrap_or_default();
        let style = style.unwrap_or_else(|| STYLE.to_owned());
        let built_in = environment(&style);
        let mut own = built_in.clone();
        for (name, source) in templates {
            if let Err(error) = own.add_template_owned(name, source) {
                let flaw = format!("does not parse: {error}");
                let given = look.overrides.as_deref();
                let line = error.line().unwrap_or(1);
                faults.extend(given.map(|given| given.fault(&format!("{name}.html"), line, flaw)));
            }
        }
        let is_own = look.overrides.is_some();
        let others = texts.keys().filter(|language| !Language::BUILT_IN.contains(language));
        let faces = Language::BUILT_IN
            .iter()
            .chain(others)
            .map(|language| Face::new(*language, (&own, is_own.then_some(&built_in)), &texts));
        let pages = Self { faces: faces.collect(), policy: policy_of(&style), look, warnings };
        (pages, faults)
    }

    /// What is worth a warning about the overrides, each in a sentence.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The picture on every page.
    #[must_use]
    pub const fn logo(&self) -> Option<&Logo> {
        self.look.logo.as_ref()
    }

    /// What stands in for what is built in; letters have theirs there as well.
    #[must_use]
    pub const fn overrides(&self) -> Option<&Arc<Overrides>> {
        self.look.overrides.as_ref()
    }

    /// The languages that are offered, English first.
    #[must_use]
    pub fn languages(&self) -> Vec<Language> {
        self.faces.iter().map(|face| face.language).collect()
    }

    /// What every page shows as the name of what people sign in to.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.look.title.as_deref()
    }

    fn face(&self, language: Language) -> Option<&Face> {
        self.faces.iter().find(|face| face.language == language).or_else(|| self.faces.first())
    }
}

impl Face {
    fn new(
        language: Language,
        (templates, built_in): (&Environment<'static>, Option<&Environment<'static>>),
        texts: &BTreeMap<Language, String>,
    ) -> Self {
        let catalog = Arc::new(Catalog::new(language, texts));
        let name = catalog.name();
        let speaking = |templates: &Environment<'static>| {
            let (mut templates, catalog) = (templates.clone(), Arc::clone(&catalog));
            let says = move |what: Value, named: Kwargs| catalog.fill(&what, &named);
            templates.add_function("t", says);
            templates
        };
        let (templates, built_in) = (speaking(templates), built_in.map(speaking));
        Self { language, name, templates, built_in }
    }

    /// Renders a template; where one of the overrides fails, as it is built in.
    fn render(&self, template: &str, shell: &Value) -> Result<String, minijinja::Error> {
        let render = |templates: &Environment<'_>| {
            templates.get_template(template).and_then(|template| template.render(shell))
        };
        match (render(&self.templates), &self.built_in) {
            (Err(error), Some(built_in)) => {
                tracing::error!(template, %error, "an overridden template fails; the built-in one is shown");
                render(built_in)
            }
            (rendered, _) => rendered,
        }
    }
}

/// The templates as they are built in, without texts. One that does not parse is missing, which the log
/// says.
fn environment(style: &str) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_global("style", Value::from_safe_string(style.to_owned()));
    environment.add_filter("strong", |words: &Value| element("strong", words));
    environment.add_filter("code", |words: &Value| element("code", words));
    environment.add_filter("moment", |at: &str| moment(at));
    for (name, source) in TEMPLATES {
        if let Err(error) = environment.add_template(name, source) {
            tracing::error!(template = name, %error, "a template does not parse");
        }
    }
    environment
}

fn element(tag: &str, words: &Value) -> Value {
    let words = words.to_string();
    Value::from_safe_string(format!("<{tag}>{}</{tag}>", HtmlEscape(&words)))
}

/// A time (RFC 3339, UTC, whole seconds) as people read it.
fn moment(at: &str) -> Value {
    let shown = match (at.get(..10), at.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        (None | Some(_), None) | (None, Some(_)) => at.to_owned(),
    };
    let (at, shown) = (HtmlEscape(at), HtmlEscape(&shown));
    Value::from_safe_string(format!("<time datetime=\"{at}\">{shown}</time>"))
}

/// The Content-Security-Policy of a page: nothing but its own style, by the style's hash, and pictures of
/// this very origin.
fn policy_of(style: &str) -> HeaderValue {
    let style = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(BARE_POLICY)
}

impl Frame<'_> {
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
        let Some(face) = self.pages.face(self.language) else { return bare() };
        let shell = Value::from(Serde(self.shell(face, context)));
        match face.render(template, &shell) {
            Ok(page) => answer(status, page, self.pages.policy.clone()),
            Err(error) => {
                // The error alone: its debug form quotes the context.
                tracing::error!(template, error = %error, "a page could not be rendered");
                bare()
            }
        }
    }

    fn shell<'a, C>(&'a self, face: &'a Face, own: C) -> Shell<'a, C> {
        let offered = |face: &'a Face| Offered {
            code: face.language.code(),
            name: &face.name,
            address: self.language_address(face.language),
        };
        Shell {
            language: face.language.code(),
            languages: self.pages.faces.iter().map(offered).collect(),
            brand: self.pages.look.title.as_deref(),
            logo: self.logo_address(),
            portal: self.portal,
            request_id: self.request_id,
            own,
        }
    }

    /// Where the picture is. Pages show those of their own origin only.
    fn logo_address(&self) -> Option<String> {
        let logo = self.pages.logo().filter(|_| self.portal.starts_with('/'))?;
        Some(format!("{}/logo?v={}", self.portal, logo.version()))
    }

    /// The link that chooses a language and leads back here.
    fn language_address(&self, language: Language) -> String {
        let (portal, code) = (self.portal, language.code());
        format!("{portal}/language?choose={code}&next={}", encode_query(self.address))
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

    use super::*;
    use crate::web::text::Text;
    use http_body_util::BodyExt as _;

    const FORM: &str = r#"{% extends "layout" %}{% import "fields" as fields %}
{% block title %}{{ title }}{% endblock %}
{% block content %}<h1>{{ title }}</h1>{{ fields.alert(alert) }}{{ t("signed-in-as", who=username|strong) }} {{ "2026-01-02T03:04:05Z"|moment }}<form method="post">
{{ fields.hidden("token", token) }}
{{ fields.input("username", "E-mail", value=username, type="email", autocomplete="username", autofocus=true) }}
{{ fields.password("password", "Password", hint="At least 8", error=wrong) }}
{{ fields.checkbox("remember", "Stay signed in") }}
{{ fields.submit("Sign in") }}</form>{% endblock %}"#;

    async fn text(response: Response<Full<Bytes>>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn sample() -> serde_json::Value {
        let wrong = Text::of("password-too-short").with("count", 8);
        let (token, username) = ("t\"t", "a'b\"<c>");
        serde_json::json!({"title": "Sign <in>", "alert": "", "wrong": wrong, "token": token, "username": username})
    }

    fn with_form() -> Pages {
        let mut pages = Pages::new(Look { title: Some("Quay".to_owned()), ..Look::default() }).0;
        for face in &mut pages.faces {
            face.templates.add_template("form", FORM).unwrap();
        }
        pages
    }

    fn frame(pages: &Pages) -> Frame<'_> {
        let language = Language::ENGLISH;
        Frame { pages, language, portal: "/auth", address: "/a?b&c", request_id: "r1" }
    }

    #[test]
    fn every_template_parses() {
        let environment = environment(STYLE);
        for (name, _) in TEMPLATES {
            environment.get_template(name).unwrap();
        }
    }

    #[tokio::test]
    async fn a_page_is_the_shell_with_escaped_values() {
        let pages = with_form();
        let page = text(frame(&pages).render("form", StatusCode::OK, sample())).await;
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}");
        assert!(page.contains("<title>Sign &lt;in&gt; · Quay</title>"), "{page}");
        assert!(page.contains("<p>Quay</p>"), "{page}");
        assert!(page.contains("as <strong>a&#x27;b&quot;&lt;c&gt;</strong>."), "{page}");
        assert!(
            page.contains("<time datetime=\"2026-01-02T03:04:05Z\">2026-01-02 03:04 UTC</time>")
        );
        assert!(page.contains("at least 8 characters long"), "{page}");
        let link =
            "<a href=\"&#x2f;auth&#x2f;language?choose=de&amp;next=%2Fa%3Fb%26c\" hreflang=\"de\"";
        assert!(page.contains(link), "{page}");
        assert!(page.contains("<main>") && page.contains(STYLE), "{page}");
        assert!(page.contains("value=\"a&#x27;b&quot;&lt;c&gt;\""), "{page}");
        assert!(
            page.contains("<input type=\"hidden\" name=\"token\" value=\"t&quot;t\">"),
            "{page}"
        );
        assert!(page.contains("aria-describedby=\"password-hint password-error\""), "{page}");
        assert!(page.contains("<label for=\"remember\">Stay signed in</label>"), "{page}");
        assert!(!page.contains("<script") && !page.contains("class=\"alert\""), "{page}");
    }

    #[tokio::test]
    async fn ses_19_a_page_carries_its_security_headers() {
        let pages = with_form();
        let response = frame(&pages).render("form", StatusCode::CREATED, sample());
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
        let pages = with_form();
        for response in [
            frame(&pages).render("nowhere", StatusCode::OK, serde_json::json!({})),
            frame(&pages).render("form", StatusCode::OK, serde_json::json!({"title": "x"})),
        ] {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
        }
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
