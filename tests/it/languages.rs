//! Pages in the language of whoever reads them.

use crate::harness::{Gateway, PASSWORD};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}", gone: "http://127.0.0.1:1" }
portal: { title: "Kai & Quay" }
accounts: { password: { min_length: 12 } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/admin/**", upstream: app, allow: { roles: [admin] } }
  - { path: "/never", upstream: app, allow: { networks: ["192.0.2.0/24"] } }
  - { path: "/form", methods: [POST], upstream: app, allow: public }
  - { path: "/api", upstream: app, allow: authenticated, unauthenticated: 401 }
  - { path: "/gone", upstream: gone, allow: public }
  - { path: "/open/**", upstream: app, allow: public }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

async fn open(client: &Client, path: &str, language: &str) -> Response {
    client.visit(path).header("Accept-Language", language).follow().await
}

/// Chooses a language as a link of a page does.
async fn choose(client: &Client, language: &str, next: &str) -> Response {
    client.visit(&format!("/auth/language?choose={language}&next={next}")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_in_the_language_that_the_browser_asks_for() {
    let (_upstream, gateway) = start().await;
    let (anybody, ann) = (gateway.client(), gateway.person("ann").sign_in().await);
    for (client, path, status, german, english) in [
        (&anybody, "/auth/login", 200, "Anmelden", "Sign in"),
        (&anybody, "/auth/nothing", 404, "Nicht gefunden", "Not found"),
        (&anybody, "/a%5cb", 400, "Ungültige Anfrage", "Bad request"),
        (&anybody, "/api", 401, "Nicht angemeldet", "Not signed in"),
        (&anybody, "/never", 403, "von dort, wo Sie sind", "open to where you are"),
        (&anybody, "/form", 405, "Falsche Methode", "Wrong method"),
        (&anybody, "/gone", 502, "nicht zu erreichen", "could not be reached"),
        (&anybody, "/auth/reset-password?token=x", 404, "gilt nicht mehr", "no longer valid"),
        (&ann, "/auth/account", 200, "Ihr Konto", "Your account"),
        (&ann, "/auth/logout", 200, "Abmelden", "Sign out"),
        (&ann, "/admin/x", 403, "eine dieser Rollen: admin", "one of these roles: admin"),
    ] {
        for (asked, lang, words) in
            [("de-CH, fr;q=0.9", "de", german), ("fr, en;q=0.5", "en", english)]
        {
            let page = open(client, path, asked).await.expect(status).text();
            assert!(page.contains(&format!("<html lang=\"{lang}\">")), "{path} in {asked}: {page}");
            assert!(page.contains(words), "{words} of {path} in {asked}: {page}");
            assert!(page.contains("Kai &amp; Quay"), "{page}");
        }
    }
    let answer = anybody.get("/auth/users/me").header("Accept-Language", "de").send().await;
    assert_eq!(answer.expect(401).json()["detail"], "Unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_form_is_said_in_the_language_of_the_page() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let link = gateway.running.set_up_link().await.unwrap().expect("nobody is there yet");
    let path = format!("/auth/setup?token={}", secrecy::ExposeSecret::expose_secret(&link.token));
    let browser = gateway.client();
    let page = open(&browser, &path, "de").await.expect(200).text();
    assert!(page.contains("Mindestens 12 Zeichen."), "{page}");
    for (email, password, words) in [
        ("nobody", PASSWORD, "E-Mail-Adresse wie"),
        ("ann@example.com", "kurz", "mindestens 12 Zeichen lang sein"),
        ("ann@example.com", "ann@example.com", "Ihre E-Mail-Adresse nicht enthalten"),
    ] {
        let mut fields = hidden_fields(&page);
        fields.extend([("email".into(), email.into()), ("password".into(), password.into())]);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let call = browser.post("/auth/setup").form(&fields).header("Accept", "text/html");
        let again = call.header("Accept-Language", "de").send().await.expect(422).text();
        assert!(again.contains(words), "{words}: {again}");
        assert!(!again.contains("should"), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_sticks_and_is_nothing_that_applications_see() {
    let (upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let browser = gateway.client();
    let answer = choose(&browser, "de", "%2Fauth%2Flogin%3Fnext%3D%252Fx").await.expect(303);
    assert_eq!(answer.header("location"), Some("/auth/login?next=%2Fx"));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for part in ["portcullis-language=de;", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let page = open(&browser, "/auth/login", "en").await.expect(200).text();
    assert!(page.contains("Auf diesem Gerät angemeldet bleiben"), "{page}");
    let mut fields = hidden_fields(&page);
    fields.extend([
        ("username".into(), "ann@example.com".into()),
        ("password".into(), PASSWORD.into()),
    ]);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    browser.post("/auth/login").form(&fields).send().await.expect(303);
    let account = open(&browser, "/auth/account", "en").await.expect(200).text();
    assert!(account.contains("Ihr Konto"), "{account}");
    let seen = browser.visit("/open/x").send().await.expect(200).text();
    assert!(!seen.contains("portcullis-language"), "{seen}");
    assert_eq!(upstream.count(), 1);
    let back = choose(&browser, "en", "%2Fauth%2Faccount").await.expect(303);
    assert_eq!(back.header("location"), Some("/auth/account"));
    assert!(open(&browser, "/auth/account", "de").await.text().contains("Your account"));
}

#[tokio::test(flavor = "multi_thread")]
async fn out_01_a_choice_of_language_leads_nowhere_else_and_says_nothing_that_was_sent() {
    let (_upstream, gateway) = start().await;
    for next in [
        "https%3A%2F%2Fevil.example.net%2F",
        "%2F%2Fevil.example.net",
        "%2F%5Cevil.example.net",
        "%2Fauth%2F%2Fevil.example.net%2Flogin",
        "%2Fauth%2F..%2F..%2F%2Fevil.example.net",
        "javascript%3Aalert(1)",
        "%2Fauth%2Flogin%0d%0aSet-Cookie%3A%20a%3Db",
    ] {
        let answer = choose(&gateway.client(), "de", next).await.expect(303);
        let to = answer.header("location").unwrap();
        assert!(to == "/auth/account" || to == "/", "{next} leads to {to}");
        assert!(!format!("{:?}", answer.headers).contains("evil"), "{next}");
    }
    // What asking for does something is asked for by nobody but the person.
    for next in ["%2Fauth%2Flogout", "%2Fauth%2Fcontinue%3Fprobe%3D1", "%2Fauth%2Flanguage"] {
        let answer = choose(&gateway.client(), "de", next).await.expect(303);
        assert_eq!(answer.header("location"), Some("/auth/account"), "{next}");
    }
    for language in ["fr", "", "de-DE-1996", "%22%3E%3Cscript%3E", "..%2Fde", "de%0d%0a"] {
        let answer = choose(&gateway.client(), language, "%2F").await.expect(404);
        assert!(answer.header("set-cookie").is_none(), "{language}");
        assert!(!answer.text().contains("<script"), "{language}");
    }
    let foreign = gateway.client().visit("/auth/language?choose=de&next=%2F");
    let foreign = foreign.header("Sec-Fetch-Site", "cross-site").send().await.expect(303);
    assert!(foreign.header("set-cookie").is_none());
    // A cookie and a query that hold markup are shown to nobody as such.
    let call = gateway.client().visit("/auth/nothing?%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    let call = call.header("Cookie", "portcullis-language=\"><script>alert(1)</script>");
    let page = call.header("Referer", "https://evil.example.net/<script>").send().await.text();
    assert!(!page.contains("<script") && page.contains("<html lang=\"en\">"), "{page}");
}
