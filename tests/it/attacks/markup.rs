//! Markup in everything that a page is made of: what is asked for, who asks, what people say of themselves, what
//! a provider says of them, and the configuration. Every page is read as [`super::reader`] reads.

use std::time::Duration;

use minijinja::HtmlEscape;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis::accounts::LinkKind;
use secrecy::ExposeSecret as _;
use serde_json::{Value as Json, json};

use super::outputs::invitation_in;
use super::reader::{read_error, read_page};
use crate::harness::{Builder, Gateway, PASSWORD};
use crate::raw::{Call, Client, Response};
use crate::upstream::{self, Upstream};

/// What a page, an attribute, an address, a style sheet or a template might take for its own.
const MARKUP: [&str; 7] = [
    "<script>xss()</script>",
    "\"><img src=x onerror=xss()>",
    "\" onmouseover=\"xss()",
    "' onmouseover='xss()",
    "javascript:xss()",
    "</title></style><svg/onload=xss()>",
    "xss{{ 7 * 7 }}{% raw %}${xss}",
];

/// The same where only an e-mail is taken (RFC 5322 lets it hold these).
const EMAIL: &str = "xss{{7*7}}'onload='xss&lt|`@example.com";

const YAML: &str = r#"
upstreams: { app: "${APP}", gone: "http://127.0.0.1:1" }
portal: { title: "<script>xss()</script>\" onload=\"xss()", logo: logo.svg }
accounts: { registration: open }
mail: { from: "quay@example.com", directory: mail }
roles: { editor: { description: "<script>xss()</script>", permissions: ["text:write"] } }
providers:
  corp:
    kind: oauth2
    label: "<img src=x onerror=xss()>"
    authorize: "${PROVIDER}/authorize?x=%3Cscript%3E"
    token: "${PROVIDER}/token"
    userinfo: "${PROVIDER}/me"
    client_id: quay
    client_secret: "a-secret-of-tests"
    fields: { subject: id, first_name: first, last_name: last }
    roles_claim: groups
    who: anyone
    register: true
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/night/**", upstream: app, allow: { permissions: ["night:work"] } }
  - { path: "/never/**", upstream: app, allow: { networks: ["192.0.2.0/24"] } }
  - { path: "/form", methods: [POST], upstream: app, allow: public }
  - { path: "/api/**", upstream: app, allow: authenticated, unauthenticated: 401 }
  - { path: "/gone/**", upstream: gone, allow: public }
  - { path: "/silent/**", upstream: app, allow: public, timeout: 1s }
"#;

/// An application and a provider that says markup of whoever comes, and a gateway between them.
struct Site {
    _app: Upstream,
    provider: Upstream,
    gateway: Gateway,
}

impl Site {
    async fn start(set: impl FnOnce(Builder) -> Builder) -> Self {
        let (app, provider) = (Upstream::start(), Upstream::start());
        app.at("/silent/x", upstream::silence);
        let builder = Gateway::builder(YAML)
            .with("APP", &app.url())
            .with("PROVIDER", &provider.url())
            .file("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
        Self { gateway: set(builder).start().await, _app: app, provider }
    }

    /// Reads a page that must have this status.
    fn read(&self, answer: &Response, status: u16, what: &str) -> String {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        read_page(answer, &self.provider.url(), what);
        let text = answer.text();
        assert!(!text.contains("xss49"), "{what}: {text}");
        text
    }
}

fn json_answer(body: &Json) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn in_path(markup: &str) -> String {
    const KEPT: percent_encoding::AsciiSet = NON_ALPHANUMERIC.remove(b'/');
    utf8_percent_encode(markup, &KEPT).to_string()
}

fn in_query(markup: &str) -> String {
    utf8_percent_encode(markup, NON_ALPHANUMERIC).to_string()
}

/// Puts markup into every header that a page might show or read.
fn dressed(call: Call, markup: &str, language: &str) -> Call {
    call.header("Accept-Language", &format!("{language}, {markup}"))
        .with("User-Agent", markup)
        .header("Referer", markup)
        .header("X-Forwarded-Host", markup)
        .header("X-Forwarded-For", markup)
        .header("X-Request-Id", markup)
        .header("Cookie", &format!("portcullis-language={markup}"))
}

/// Pages of somebody unknown: where, with `P` for markup in a path and `Q` in a query, and with which status.
const OF_ANYBODY: [(&str, u16); 23] = [
    ("/auth/login?next=Q&form=Q&account=Q&error=Q", 200),
    ("/auth/login?next=%2FQ", 200),
    ("/auth/login?next=%2Fx%3FQ&another=Q", 200),
    ("/auth/register?email=Q&error=Q", 200),
    ("/auth/forgot-password?email=Q", 200),
    ("/auth/request-verify-token?email=Q", 200),
    ("/auth/setup?token=Q", 404),
    ("/auth/reset-password?token=Q", 404),
    ("/auth/verify?token=Q", 404),
    ("/auth/invitation?token=Q", 404),
    ("/auth/continue?probe=1&next=Q", 400),
    ("/auth/continue?probe=1&next=%2FQ", 400),
    ("/auth/language?choose=Q&next=Q", 404),
    ("/auth/corp/callback?error=Q&error_description=Q", 400),
    ("/auth/P", 404),
    ("/auth/login?Q=1&Q=2", 400),
    ("/a%5cb?Q", 400),
    ("/%00P?Q", 400),
    ("/api/P?Q", 401),
    ("/never/P?Q", 403),
    ("/form?Q", 405),
    ("/gone/P?Q", 502),
    ("/auth/login?LONG", 414),
];

/// Pages of somebody signed in.
const OF_PEOPLE: [(&str, u16); 13] = [
    ("/auth/account?done=Q", 200),
    ("/auth/account/profile?Q", 200),
    ("/auth/account/email?Q", 200),
    ("/auth/account/password?Q", 200),
    ("/auth/account/devices?done=Q", 200),
    ("/auth/account/delete?Q", 200),
    ("/auth/logout?next=Q", 200),
    ("/auth/logout?next=%2FQ", 200),
    ("/auth/login?next=%2FQ", 200),
    ("/auth/associate/corp/authorize?scopes=Q", 200),
    ("/auth/request-verify-token?Q", 200),
    ("/admin/P?Q", 403),
    ("/night/P?Q", 403),
];

fn target(row: &str, markup: &str) -> String {
    let long = format!("{}{}", in_query(markup), "x".repeat(20_000));
    row.replace("LONG", &long).replace('Q', &in_query(markup)).replace('P', &in_path(markup))
}

/// Asks for each page in both languages, as a person and, where it is an error, as a program.
async fn look_at(site: &Site, client: &dyn Fn() -> Client, rows: &[(&str, u16)], markup: &str) {
    for (row, status) in rows {
        for language in ["en", "de"] {
            let (target, what) = (target(row, markup), format!("{row} {markup} in {language}"));
            let answer = dressed(client().visit(&target), markup, language).follow().await;
            let page = site.read(&answer, *status, &what);
            assert!(page.contains(&format!("<html lang=\"{language}\">")), "{what}: {page}");
            if *status >= 400 && !row.contains("token=") && !row.contains("probe=") {
                let answer = dressed(client().get(&target), markup, language).send().await;
                read_error(&answer, &what);
            }
        }
    }
}

/// Somebody of whom everything is markup, signed in by something that calls itself so.
async fn somebody(site: &Site, who: &str, markup: &str, is_superuser: bool) -> Client {
    let person = site.gateway.person(who).role("editor").unverified();
    let text = || Some(markup.to_owned());
    let person = person.set(|draft| {
        draft.is_superuser = is_superuser;
        draft.profile.first_name = text();
        draft.profile.last_name = text();
        draft.profile.organization = text();
        draft.profile.department = text();
        draft.profile.phone = text();
    });
    let user = person.create().await;
    let fields = [("username", &*user.email), ("password", PASSWORD)];
    let client = site.gateway.client();
    for browser in [&site.gateway.client(), &client] {
        let call = browser.post("/auth/cookie/login").form(&fields);
        call.header("User-Agent", markup).send().await.expect(204);
    }
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn out_01_no_page_takes_what_it_is_asked_for_or_told_for_markup() {
    let site = Site::start(|builder| builder.key("limits", "off")).await;
    for (number, markup) in MARKUP.iter().enumerate() {
        look_at(&site, &|| site.gateway.client(), &OF_ANYBODY, markup).await;
        let ann = somebody(&site, &format!("{number}{EMAIL}"), markup, false).await;
        look_at(&site, &|| ann.clone(), &OF_PEOPLE, markup).await;
        let root = somebody(&site, &format!("root{number}"), markup, true).await;
        look_at(&site, &|| root.clone(), &OF_PEOPLE, markup).await;
        // It was there to be taken for markup.
        let words = HtmlEscape(markup).to_string();
        for (path, times) in
            [("/auth/account", 4), ("/auth/account/profile", 5), ("/auth/account/devices", 2)]
        {
            let page = ann.visit(path).send().await.expect(200).text();
            assert!(page.matches(&words).count() >= times, "{words} on {path}: {page}");
            let title = HtmlEscape("<script>xss()</script>\" onload=\"xss()").to_string();
            assert!(page.contains(&title), "{page}");
        }
        let page = ann.visit("/auth/account").send().await.expect(200).text();
        let address = format!("{number}{EMAIL}");
        assert!(page.contains(&HtmlEscape(&address).to_string()), "{page}");
    }
    let silent = site.gateway.client().visit("/silent/x?%3Cscript%3Exss()").send().await;
    site.read(&silent, 504, "504");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_01_no_page_takes_what_a_provider_says_for_markup() {
    let site = Site::start(|builder| builder.key("limits", "off")).await;
    let token = json!({ "access_token": "an-access-token", "token_type": "Bearer" });
    site.provider.answers("/token", json_answer(&token));
    for (number, markup) in MARKUP.iter().enumerate() {
        let said = json!({
            "id": format!("{number}{markup}"), "email": format!("{number}{EMAIL}"), "login": markup,
            "first": markup, "last": markup, "groups": [markup, "editor"],
        });
        site.provider.answers("/me", json_answer(&said));
        let client = site.gateway.client();
        let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
        let state = gone.location().split("state=").nth(1).unwrap().split('&').next().unwrap();
        let back = format!("/auth/corp/callback?code=x&state={state}");
        client.get(&back).send().await.expect(204);
        look_at(&site, &|| client.clone(), &OF_PEOPLE, markup).await;
        let page = client.visit("/auth/account").send().await.expect(200).text();
        let words = HtmlEscape(markup).to_string();
        assert!(page.matches(&words).count() >= 2, "name and subject: {page}");
        // What it answers for an error is not shown at all.
        let quoted = format!("quoth{markup}");
        let refused = json!({ "error": quoted, "error_description": quoted });
        let refused = json_answer(&refused).replace("200 OK", "400 Bad Request");
        site.provider.answers("/token", refused);
        let client = site.gateway.client();
        let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
        let state = gone.location().split("state=").nth(1).unwrap().split('&').next().unwrap();
        let failed = client.visit(&format!("/auth/corp/callback?code=x&state={state}"));
        let failed = failed.navigating_from("cross-site").send().await;
        let status = failed.status;
        assert!(matches!(status, 400 | 502), "{status}");
        assert!(!site.read(&failed, status, markup).contains("quoth"), "{markup}");
        site.provider.answers("/token", json_answer(&token));
    }
}

/// The names of the fields of a page: those that are hidden with their values, and the others.
fn fields_of(page: &str) -> (Vec<(String, String)>, Vec<String>) {
    let hidden = crate::pages::hidden_fields(page);
    let inputs = page.split("<input").skip(1).filter(|input| !input.contains("type=\"hidden\""));
    let names = inputs.filter_map(|input| {
        let input = input.split('>').next()?;
        Some(input.split(" name=\"").nth(1)?.split('"').next()?.to_owned())
    });
    (hidden, names.collect())
}

/// Sends the form of a page with markup in every field, then in the hidden ones as well; both answers are read
/// where they are pages.
async fn fill(site: &Site, client: &Client, page_at: &str, markup: &str, language: &str) -> usize {
    let call = dressed(client.visit(page_at), markup, language);
    let page = call.follow().await.expect(200).text();
    let (hidden, names) = fields_of(&page);
    let to = page_at.split('?').next().unwrap().replace("authorize", "link");
    let mut shown = 0;
    for is_all in [true, false] {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &hidden {
            let value = if is_all { markup } else { value };
            if fields.iter().all(|(known, _)| known != name) {
                fields.push((name, value));
            }
        }
        fields.extend(names.iter().map(|name| (&**name, markup)));
        let call = dressed(client.post(&to).form(&fields), markup, language);
        let answer = call.navigating_from("same-origin").send().await;
        let what = format!("{to} {markup} {fields:?}");
        if answer.status == 303 {
            assert!(answer.location().starts_with('/'), "{what}: {}", answer.location());
            continue;
        }
        let status = answer.status;
        assert!(status < 500, "{what}: {status}");
        let page = site.read(&answer, status, &what);
        shown += usize::from(page.contains(&HtmlEscape(markup).to_string()));
    }
    shown
}

/// Pages with a form; those of links are made for each.
const FORMS: [(&str, bool); 11] = [
    ("/auth/login", false),
    ("/auth/login?next=%2Fx", false),
    ("/auth/register", false),
    ("/auth/forgot-password", false),
    ("/auth/request-verify-token", false),
    ("/auth/logout", true),
    ("/auth/account/profile", true),
    ("/auth/account/email", true),
    ("/auth/account/password", true),
    ("/auth/account/delete", true),
    ("/auth/associate/corp/authorize", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn out_01_no_form_shows_again_what_was_typed_as_anything_but_words() {
    let site = Site::start(|builder| builder.key("limits", "off")).await;
    let gateway = &site.gateway;
    let people = gateway.running.accounts().people();
    let set_up = people.issue_set_up_link().await.unwrap().expect("there is no superuser");
    let set_up = format!("/auth/setup?token={}", set_up.token.expose_secret());
    let mut shown = 0;
    for markup in MARKUP {
        for language in ["en", "de"] {
            shown += fill(&site, &gateway.client(), &set_up, markup, language).await;
        }
    }
    let root = somebody(&site, "root", MARKUP[0], true).await;
    for (number, markup) in MARKUP.iter().enumerate() {
        let language = ["en", "de"][number % 2];
        let who = format!("p{number}");
        somebody(&site, &who, markup, false).await;
        for (page, is_signed_in) in FORMS {
            let client =
                if is_signed_in { &gateway.sign_in(&who).await } else { &gateway.client() };
            shown += fill(&site, client, page, markup, language).await;
        }
        for kind in [LinkKind::Verify, LinkKind::Reset] {
            let link = gateway.link(&who, kind).await;
            shown += fill(&site, &gateway.client(), &link, markup, language).await;
        }
        let body = json!({ "email": format!("g{number}@example.com"), "first_name": markup });
        let call = root.post("/auth/invitations").body("application/json", body.to_string());
        call.send().await.expect(201);
        let token = invitation_in(&gateway.file.with_file_name("mail")).await;
        let path = format!("/auth/invitation?token={token}");
        shown += fill(&site, &gateway.client(), &path, markup, language).await;
        let typed = [("email", EMAIL)];
        for page in ["/auth/forgot-password", "/auth/request-verify-token"] {
            let client = gateway.client();
            let form = client.visit(page).send().await.expect(200).text();
            let (hidden, _) = fields_of(&form);
            let mut fields: Vec<_> = hidden.iter().map(|(n, v)| (&**n, &**v)).collect();
            fields.extend(typed);
            let call = dressed(client.post(page).form(&fields), markup, language);
            let answer = call.navigating_from("same-origin").send().await;
            let said = site.read(&answer, 200, page);
            assert!(said.contains(&HtmlEscape(EMAIL).to_string()), "{said}");
        }
    }
    assert!(shown >= 8 * MARKUP.len(), "only {shown} pages show what was typed");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_01_pages_of_limits_of_size_and_of_a_database_that_is_gone_show_no_markup() {
    let site = Site::start(|builder| builder).await;
    let ann = somebody(&site, "ann", MARKUP[0], false).await;
    for (number, markup) in MARKUP.iter().enumerate() {
        let language = ["en", "de"][number % 2];
        let client = site.gateway.client();
        let send = async |fields: &[(&str, &str)]| {
            let call = dressed(client.post("/auth/login").form(fields), markup, language);
            call.navigating_from("same-origin").send().await
        };
        let large = markup.repeat(10_000);
        site.read(&send(&[("username", &large)]).await, 413, markup);
        let page = client.visit("/auth/login").send().await.expect(200).text();
        let (hidden, _) = fields_of(&page);
        let mut fields: Vec<_> = hidden.iter().map(|(n, v)| (&**n, &**v)).collect();
        fields.extend([("username", *markup), ("password", "wrong")]);
        let mut answer = send(&fields).await;
        for _ in 0..12 {
            if answer.status == 429 {
                break;
            }
            answer = send(&fields).await;
        }
        site.read(&answer, 429, markup);
        let fields = [("username", *markup), ("password", "wrong")];
        let call = client.post("/auth/jwt/login").form(&fields);
        read_error(&dressed(call, markup, language).send().await.expect(429), markup);
    }
    std::fs::remove_file(site.gateway.file.with_file_name("portcullis.db")).unwrap();
    site.gateway.clock.advance_monotonic(Duration::from_secs(10));
    for markup in MARKUP {
        for (row, status) in [("/auth/account?done=Q", 503), ("/x/P?Q", 503)] {
            for language in ["en", "de"] {
                let target = target(row, markup);
                let answer = dressed(ann.visit(&target), markup, language).send().await;
                site.read(&answer, status, row);
                let answer = dressed(ann.get(&target), markup, language).send().await;
                read_error(&answer.expect(status), row);
            }
        }
    }
}

/// Hosts and whole targets that are no request of ours; whatever answers shows nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn out_01_what_is_refused_before_it_is_understood_shows_nothing_of_it() {
    let site = Site::start(|builder| builder).await;
    let client = site.gateway.client();
    for markup in MARKUP {
        for language in ["en", "de"] {
            let call = dressed(client.visit("/auth/login"), markup, language).with("Host", markup);
            site.read(&call.send().await, 400, markup);
            let call = dressed(client.get("/x"), markup, language).with("Host", markup);
            read_error(&call.send().await.expect(400), markup);
        }
        // With spaces it would be no request line at all.
        let raw = markup.replace(' ', "");
        for target in [format!("/{raw}"), format!("/auth/login?{raw}")] {
            let answer = client.visit(&target).send().await;
            if answer.header("content-type").is_some() && answer.status != 303 {
                let status = answer.status;
                site.read(&answer, status, &target);
            }
        }
    }
}
